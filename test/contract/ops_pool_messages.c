/* ops_pool_messages.c - datagrams into lent buffers, with their senders and control data
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS 8

struct server {
    struct probe probe;
    ferry_loop *loop;
    ferry_pool *pool;
    ferry_fd fd;
    ferry_addr addr;
    int answers; /* sends each back to where it came from, and the buffer with it */
    ferry_buffer *kept[16];
    size_t kept_count;
    int packets; /* that told where they were sent */
};

static void look_at_control(struct server *s, const ferry_msg *msg) {
    ferry_control item = {.at = 0};
    while (ferry_control_next(msg->control, msg->control_len, &item)) {
        if (item.kind != FERRY_CONTROL_PACKET) continue;
        assert_true(item.interface_index > 0);
        s->packets++;
    }
}

static void on_message(ferry_op *op) {
    struct server *s = ferry_container(op, struct server, probe.op);
    ferry_buffer *buffer = ferry_lent(op);
    probe_done(op);
    if (op->result < 0) {
        assert_null(buffer);
        return;
    }
    assert_non_null(buffer); /* an empty one has a sender, too */
    assert_int_equal(buffer->len, op->result);
    assert_ptr_equal(buffer->msg.vecs->data, buffer->data);
    assert_int_equal(buffer->msg.vecs->len, buffer->len);
    look_at_control(s, &buffer->msg);
    buffer->msg.control_len = 0;
    if (s->answers) {
        ferry_sendmsg(s->loop, &buffer->op, op->fd, &buffer->msg, FERRY_PUT, NULL);
    } else {
        assert_true(s->kept_count < 16);
        s->kept[s->kept_count++] = buffer;
    }
    if (!(op->flags & FERRY_MORE)) ferry_again(s->loop, op);
}

static void server_open(struct server *s, size_t count, size_t bytes, unsigned flags) {
    memset(s, 0, sizeof *s);
    s->loop = test_loop();
    assert_int_equal(ferry_pool_open(s->loop, &s->pool, count, FERRY_MSG_ROOM + bytes, count, 0),
                     0);
    assert_int_equal(ferry_socket(s->loop, &s->fd, FERRY_INET, FERRY_DATAGRAM), 0);
    assert_int_equal(ferry_addr_parse(&s->addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_bind(s->loop, s->fd, &s->addr), 0);
    assert_int_equal(ferry_local_addr(s->loop, s->fd, &s->addr), 0);
    assert_int_equal(ferry_socket_set(s->loop, s->fd, FERRY_OPT_RECV_PACKET_INFO, 1), 0);
    ferry_recvmsg_pool(s->loop, &s->probe.op, s->fd, s->pool, flags, on_message);
}

static void server_close(struct server *s) {
    while (s->kept_count > 0) ferry_pool_put(s->pool, s->kept[--s->kept_count]);
    close_near(s->loop, s->fd);
    assert_int_equal(s->probe.result, FERRY_ECANCELED);
    assert_int_equal(s->probe.finals > 0, 1);
    assert_int_equal(ferry_pool_close(s->pool), 0);
    finish(s->loop);
}

static ferry_fd guest(const struct server *s) {
    ferry_fd fd = plain_socket(AF_INET, SOCK_DGRAM);
    plain_connect(fd, &s->addr);
    return fd;
}

/* Runs the loop until a datagram has come, which is checked. */
static void guest_expect(const struct server *s, ferry_fd fd, size_t len, uint64_t seed) {
    char in[2000];
    uint64_t limit_ns = clock_ns() + 20 * SECOND * TEST_STRETCH;
    ssize_t got;
    while ((got = recv(fd, in, sizeof in, MSG_DONTWAIT)) < 0) {
        assert_true(clock_ns() < limit_ns);
        run_for(s->loop, MS);
    }
    assert_int_equal(got, len);
    assert_true(is_filled(in, len, seed));
}

static void echo_with(unsigned flags) {
    struct server s;
    ferry_fd guests[GUESTS];
    char out[1500];
    server_open(&s, 4, 1500, flags); /* fewer buffers than guests: some wait for one */
    s.answers = 1;
    for (int i = 0; i < GUESTS; i++) guests[i] = guest(&s);
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < GUESTS; i++) {
            size_t len = round * 50 + i * (round > 0);
            fill(out, len, round * 100 + i);
            assert_int_equal(send(guests[i], out, len, 0), len);
        }
        for (unsigned i = 0; i < GUESTS; i++) {
            guest_expect(&s, guests[i], round * 50 + i * (round > 0), round * 100 + i);
        }
    }
    assert_int_equal(s.packets, 30 * GUESTS);
    for (int i = 0; i < GUESTS; i++) close(guests[i]);
    server_close(&s);
}

static void ops_pool_messages_echo_multi(void **state) {
    (void)state;
    echo_with(FERRY_MULTI);
}

static void ops_pool_messages_echo_single(void **state) {
    (void)state;
    echo_with(0);
}

static void ops_pool_messages_cut(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        struct server s;
        server_open(&s, 4, 10, flags);
        ferry_fd fd = guest(&s);
        assert_int_equal(send(fd, "0123456789abc", 13, 0), 13);
        assert_int_equal(send(fd, "0123456789", 10, 0), 10);
        while (s.kept_count < 2) run_for(s.loop, MS);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(s.kept[i]->len, 10);
            assert_memory_equal(s.kept[i]->data, "0123456789", 10);
            assert_int_equal(s.kept[i]->msg.flags, i == 0 ? FERRY_MSG_TRUNCATED : 0);
            assert_int_equal(ferry_addr_port(s.kept[i]->msg.addr) > 0, 1);
        }
        close(fd);
        server_close(&s);
    }
}

static void ops_pool_messages_need_room(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_pool *pool;
    ferry_fd fds[2];
    struct probe p = {.calls = 0};
    unix_pair(fds, SOCK_DGRAM);
    assert_int_equal(ferry_pool_open(loop, &pool, 4, FERRY_MSG_ROOM, 0, 0), 0);
    ferry_recvmsg_pool(loop, &p.op, fds[0], pool, 0, probe_done);
    expect(loop, &p, FERRY_EINVAL);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    assert_int_equal(ferry_pool_close(pool), 0);
    finish(loop);
}

/* One pool for receives that the system picks buffers for, and for such that it does not. */
static void ops_pool_messages_beside_streams(void **state) {
    (void)state;
    struct server s;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    server_open(&s, 4, 100, 0);
    tcp_pair(s.loop, fds);
    ferry_recv_pool(s.loop, &p.op, fds[0], s.pool, 0, probe_done);
    run_for(s.loop, MS);
    ferry_fd fd = guest(&s);
    for (int i = 0; i < 2; i++) assert_int_equal(send(fd, "dgram", 5, 0), 5);
    while (s.kept_count < 2) run_for(s.loop, MS);
    plain_send(fds[1], "stream", 6);
    probe_wait(s.loop, &p);
    assert_int_equal(p.result, 6);
    assert_memory_equal(ferry_lent(&p.op)->data, "stream", 6);
    ferry_pool_put(s.pool, ferry_lent(&p.op));
    close(fd);
    close_far(fds[1]);
    close_near(s.loop, fds[0]);
    server_close(&s);
}

const struct contract_test ops_pool_messages_tests[] = {
    {"ops_pool_messages_echo_multi", ops_pool_messages_echo_multi, 0},
    {"ops_pool_messages_echo_single", ops_pool_messages_echo_single, 0},
    {"ops_pool_messages_cut", ops_pool_messages_cut, 0},
    {"ops_pool_messages_need_room", ops_pool_messages_need_room, 0},
    {"ops_pool_messages_beside_streams", ops_pool_messages_beside_streams, 0},
    {NULL, NULL, 0}};
