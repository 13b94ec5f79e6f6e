/* ops_recvmsg.c - messages with addresses, over each kind of socket
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"
#include "portable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Datagrams ------------------------------------------------------------------------- */

static void there_and_back(ferry_loop *loop, const char *text) {
    ferry_addr client_addr, server_addr;
    struct letter out, in;
    ferry_fd server = udp_at(loop, text, &server_addr), client = udp_at(loop, text, &client_addr);
    if (server == FERRY_FD_NONE) return; /* no IPv6 here */
    letter_write(&out, "is anybody there?");
    letter_blank(&in, 100);
    out.addr = server_addr;
    letter_pass(loop, &out, client, &in, server, "is anybody there?");
    assert_same_addr(&in.addr, &client_addr);
    assert_int_equal(in.msg.control_len, 0);
    assert_int_equal(in.msg.flags, 0);

    /* What came goes back as it is, to where it came from. */
    struct letter reply;
    letter_blank(&reply, 100);
    in.vecs[1].len = (unsigned long)in.p.result - in.vecs[0].len;
    letter_pass(loop, &in, server, &reply, client, "is anybody there?");
    assert_same_addr(&reply.addr, &server_addr);
    close_near(loop, server);
    close_near(loop, client);
}

static void ops_recvmsg_tells_who_sent_it(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    there_and_back(loop, "127.0.0.1:0");
    there_and_back(loop, "[::1]:0");
    finish(loop);
}

/* Without an address, and with an empty one, a connected socket's peer is meant. */
static void ops_sendmsg_to_the_connected_peer(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, client_addr;
    ferry_fd server = udp_at(loop, "127.0.0.1:0", &addr);
    ferry_fd client = udp_at(loop, "127.0.0.1:0", &client_addr);
    struct probe connect = {.calls = 0};
    struct letter out, in;
    letter_write(&out, "to whom?");
    letter_send(loop, &out, client, 0);
    const char *differs = "Wine has another error for a datagram without a destination";
    expect_all(loop, &out.p, omits_on_wine(differs) ? FERRY_EINVAL : FERRY_EDESTADDRREQ, 0, 0);
    ferry_connect(loop, &connect.op, client, &addr, 0, probe_done);
    expect(loop, &connect, 0);
    for (int i = 0; i < 2; i++) {
        letter_write(&out, "to you");
        letter_blank(&in, 100);
        out.msg.addr = i == 0 ? NULL : &out.addr;
        in.msg.addr = i == 0 ? &in.addr : NULL; /* and nobody has to ask */
        letter_pass(loop, &out, client, &in, server, "to you");
        if (i == 0) assert_same_addr(&in.addr, &client_addr);
    }
    close_near(loop, server);
    close_near(loop, client);
    finish(loop);
}

static void ops_recvmsg_tells_truncation(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 1 + TEST_SEQPACKET; i++) {
        ferry_fd fds[2];
        struct letter out, in;
        unix_pair(fds, types[i]);
        letter_write(&out, "longer than the room");
        letter_blank(&in, 6);
        letter_send(loop, &out, fds[0], 0);
        letter_recv(loop, &in, fds[1], 0);
        expect_all(loop, &out.p, 20, 20, 0);
        expect_all(loop, &in.p, 6, 6, 0);
        assert_memory_equal(in.data, "longer", 6);
        assert_int_equal(in.msg.flags, FERRY_MSG_TRUNCATED);
        letter_write(&out, "fits"); /* and of the next it is not said */
        letter_pass(loop, &out, fds[0], &in, fds[1], "fits");
        assert_int_equal(in.msg.flags, 0);
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
    }
    finish(loop);
}

/* An empty datagram has a sender too, and is no end of anything. */
static void ops_recvmsg_empty_datagram(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, client_addr;
    ferry_fd server = udp_at(loop, "127.0.0.1:0", &addr);
    ferry_fd client = udp_at(loop, "127.0.0.1:0", &client_addr);
    struct letter out, in;
    letter_write(&out, "");
    letter_blank(&in, 100);
    out.addr = addr;
    letter_pass(loop, &out, client, &in, server, "");
    assert_same_addr(&in.addr, &client_addr);
    out.msg.count = 0; /* no vectors at all */
    out.msg.vecs = NULL;
    letter_pass(loop, &out, client, &in, server, "");
    close_near(loop, server);
    close_near(loop, client);
    finish(loop);
}

static void ops_recvmsg_unix_names(void **state) {
    (void)state;
    need_unix(SOCK_DGRAM);
    ferry_loop *loop = test_loop();
    ferry_addr addr, client_addr;
    ferry_fd server = FERRY_FD_NONE, client = FERRY_FD_NONE;
    struct letter out, in;
    char text[400];
    snprintf(text, sizeof text, "unix:%s", temp_path("server"));
    assert_int_equal(ferry_addr_parse(&addr, text), 0);
    assert_int_equal(ferry_socket(loop, &server, FERRY_UNIX, FERRY_DATAGRAM), 0);
    assert_int_equal(ferry_bind(loop, server, &addr), 0);
    assert_int_equal(ferry_socket(loop, &client, FERRY_UNIX, FERRY_DATAGRAM), 0);
    letter_write(&out, "no name");
    letter_blank(&in, 100);
    out.addr = addr;
    letter_pass(loop, &out, client, &in, server, "no name");
    assert_int_equal(in.addr.len, 0);

    snprintf(text, sizeof text, "unix:%s", temp_path("client"));
    assert_int_equal(ferry_addr_parse(&client_addr, text), 0);
    assert_int_equal(ferry_bind(loop, client, &client_addr), 0);
    letter_write(&out, "a name");
    out.addr = addr;
    letter_pass(loop, &out, client, &in, server, "a name");
    char from[400];
    (void)ferry_addr_format(&in.addr, from, sizeof from);
    assert_string_equal(from, text);
    close_near(loop, server);
    close_near(loop, client);
    finish(loop);
}

/* ---- Streams --------------------------------------------------------------------------- */

static void ops_recvmsg_on_streams(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (int unix_too = 0; unix_too < 2; unix_too++) {
        ferry_fd fds[2];
        struct letter out, in;
        if (unix_too) unix_pair(fds, SOCK_STREAM);
        else tcp_pair(loop, fds);
        letter_write(&out, "a stream has no ends of messages");
        letter_blank(&in, 8);
        letter_send(loop, &out, fds[0], 0);
        expect_all(loop, &out.p, 32, 32, 0);
        for (int i = 0; i < 4; i++) {
            letter_recv(loop, &in, fds[1], FERRY_ALL);
            expect_all(loop, &in.p, 8, 8, 0);
            assert_memory_equal(in.data, out.data + i * 8, 8);
            assert_int_equal(in.msg.flags, 0); /* the rest is not lost */
            assert_int_equal(in.addr.len, 0);
        }
        letter_blank(&in, 0); /* of nothing, and it does not wait */
        letter_recv(loop, &in, fds[1], 0);
        expect_all(loop, &in.p, 0, 0, 0);
        letter_blank(&in, 8);
        letter_recv(loop, &in, fds[1], 0);
        close_near(loop, fds[0]);
        expect_all(loop, &in.p, 0, 0, FERRY_EOF);
        close_near(loop, fds[1]);
    }
    finish(loop);
}

static void ops_recvmsg_seqpacket_ends(void **state) {
    (void)state;
    if (!TEST_SEQPACKET) test_skip("no such sockets here");
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter out, in;
    unix_pair(fds, SOCK_SEQPACKET);
    letter_write(&out, "packet");
    letter_blank(&in, 100);
    letter_pass(loop, &out, fds[0], &in, fds[1], "packet");
    letter_recv(loop, &in, fds[1], 0);
    close_near(loop, fds[0]);
    expect_all(loop, &in.p, 0, 0, FERRY_EOF);
    close_near(loop, fds[1]);
    finish(loop);
}

/* Data followed by the end is the count; a receive cut short by its deadline is the error. */
static void contract_08_recvmsg_all(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter in;
    unix_pair(fds, SOCK_STREAM);
    letter_blank(&in, 100);
    letter_recv(loop, &in, fds[1], FERRY_ALL);
    plain_send(fds[0], "1234", 4);
    run_for(loop, 5 * MS);
    plain_send(fds[0], "5678", 4);
    run_for(loop, 5 * MS);
    assert_int_equal(in.p.calls, 0);
    close_far(fds[0]);
    expect_all(loop, &in.p, 8, 8, 0);
    assert_memory_equal(in.data, "12345678", 8);
    close_near(loop, fds[1]);

    unix_pair(fds, SOCK_STREAM);
    letter_blank(&in, 100);
    memset(&in.p, 0, sizeof in.p);
    in.p.op.deadline_ns = 50 * MS;
    ferry_recvmsg(loop, &in.p.op, fds[1], &in.msg, FERRY_ALL, probe_done);
    plain_send(fds[0], "1234", 4);
    expect_all(loop, &in.p, FERRY_ETIMEDOUT, 4, 0);
    close_near(loop, fds[1]);
    close_far(fds[0]);
    finish(loop);
}

#define PIECES 1500 /* more than the system takes in a call */
#define BYTES (3 * MIB + 11)

static void contract_08_sendmsg_is_whole(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char *out = malloc(BYTES), *in = calloc(1, BYTES);
    static ferry_vec vecs[PIECES];
    struct probe send = {.calls = 0};
    assert_true(out && in);
    fill(out, BYTES, 3);
    for (size_t i = 0, at = 0; i < PIECES; i++) {
        size_t len = i == PIECES - 1 ? BYTES - at : (i % 5) * (BYTES / PIECES / 3);
        vecs[i] = (ferry_vec)VEC(out + at, len);
        at += len;
    }
    tcp_pair(loop, fds);
    const ferry_msg msg = {.vecs = vecs, .count = PIECES};
    ferry_sendmsg(loop, &send.op, fds[0], &msg, 0, probe_done);
    far_expect(loop, fds[1], in, BYTES);
    expect_all(loop, &send, (int64_t)BYTES, BYTES, 0);
    assert_true(is_filled(in, BYTES, 3));

    memset(&send, 0, sizeof send);
    ferry_sendmsg(loop, &send.op, fds[0], &msg, FERRY_SOME, probe_done);
    probe_wait(loop, &send);
    assert_true(send.result > 0 && send.result < (int64_t)BYTES);
    far_expect(loop, fds[1], in, (size_t)send.result);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    free(in);
    finish(loop);
}

static void contract_09_sendmsg_keeps_its_place(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[40] = "";
    ferry_vec vec = VEC((char[]){"<sendv>"}, 7);
    struct probe p[4];
    struct letter one, two;
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    letter_write(&one, "<one>");
    letter_write(&two, "<two>");
    one.msg.addr = two.msg.addr = NULL;
    ferry_send(loop, &p[0].op, fds[0], "<send>", 6, 0, probe_done);
    letter_send(loop, &one, fds[0], 0);
    ferry_sendv(loop, &p[1].op, fds[0], &vec, 1, 0, probe_done);
    letter_send(loop, &two, fds[0], 0);
    ferry_send(loop, &p[2].op, fds[0], "<last>", 6, 0, probe_done);
    expect(loop, &p[2], 6);
    assert_true(p[0].order < one.p.order && one.p.order < p[1].order);
    assert_true(p[1].order < two.p.order && two.p.order < p[2].order);
    far_expect(loop, fds[1], in, 29);
    assert_string_equal(in, "<send><one><sendv><two><last>");
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Again ----------------------------------------------------------------------------- */

struct echo {
    ferry_loop *loop;
    struct letter in, out;
    ferry_fd fd;
    unsigned count, most;
};

/* The same message is received into again and again: nothing of the one before stays. */
static void on_echo(ferry_op *op) {
    struct echo *e = ferry_container(op, struct echo, in.p.op);
    probe_done(op);
    if (op->result < 0) return;
    assert_int_equal(op->result, sizeof e->count);
    assert_int_equal(e->in.msg.flags, 0);
    unsigned number;
    memcpy(&number, e->in.data, sizeof number);
    assert_int_equal(number, e->count);
    e->count++;
    if (e->count < e->most) ferry_again(e->loop, op);
}

static void ops_recvmsg_again_in_its_callback(void **state) {
    (void)state;
    static struct echo e;
    ferry_loop *loop = test_loop();
    ferry_addr addr, from;
    memset(&e, 0, sizeof e);
    e.loop = loop;
    e.most = 200;
    e.fd = udp_at(loop, "127.0.0.1:0", &addr);
    ferry_fd client = udp_at(loop, "127.0.0.1:0", &from);
    letter_blank(&e.in, 100);
    memset(&e.in.p, 0, sizeof e.in.p);
    ferry_recvmsg(loop, &e.in.p.op, e.fd, &e.in.msg, 0, on_echo);
    for (unsigned i = 0; i < e.most; i++) {
        struct letter out;
        letter_write(&out, "four");
        memcpy(out.data, &i, sizeof i);
        out.addr = addr;
        letter_send(loop, &out, client, 0);
        expect(loop, &out.p, 4);
    }
    while (e.count < e.most) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(e.in.p.finals, e.most);
    close_near(loop, e.fd);
    close_near(loop, client);
    finish(loop);
}

/* A lent buffer goes out as a message, to an address, and is back in its pool then; and if it was
 * not one, FERRY_PUT is refused. */
static void contract_10_message_of_a_lent_buffer(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_pool *pool = NULL;
    ferry_addr addr, client_addr;
    struct probe recv = {.calls = 0};
    struct letter out, in;
    ferry_fd server = udp_at(loop, "127.0.0.1:0", &addr);
    ferry_fd client = udp_at(loop, "127.0.0.1:0", &client_addr);
    assert_int_equal(ferry_pool_open(loop, &pool, 4, 256, 0, 0), 0);
    letter_write(&out, "lent");
    out.addr = addr;
    ferry_recv_pool(loop, &recv.op, server, pool, 0, probe_done);
    letter_send(loop, &out, client, 0);
    expect(loop, &recv, 4);
    ferry_buffer *buffer = ferry_lent(&recv.op);
    assert_non_null(buffer);
    assert_int_equal(ferry_pool_close(pool), FERRY_EBUSY);
    const ferry_vec vec = VEC(buffer->data, buffer->len);
    const ferry_msg msg = {.vecs = &vec, .count = 1, .addr = &client_addr};
    letter_blank(&in, 100);
    letter_recv(loop, &in, client, 0);
    ferry_sendmsg(loop, &buffer->op, server, &msg, FERRY_PUT, NULL);
    expect(loop, &in.p, 4);
    letter_reads(&in, "lent");
    run_done(loop);
    assert_int_equal(ferry_pool_close(pool), 0);
    letter_send(loop, &out, client, FERRY_PUT);
    expect_all(loop, &out.p, FERRY_EINVAL, 0, 0);
    close_near(loop, server);
    close_near(loop, client);
    finish(loop);
}

const struct contract_test ops_recvmsg_tests[] = {
    {"ops_recvmsg_tells_who_sent_it", ops_recvmsg_tells_who_sent_it, 0},
    {"ops_sendmsg_to_the_connected_peer", ops_sendmsg_to_the_connected_peer, 0},
    {"ops_recvmsg_tells_truncation", ops_recvmsg_tells_truncation, 0},
    {"ops_recvmsg_empty_datagram", ops_recvmsg_empty_datagram, 0},
    {"ops_recvmsg_unix_names", ops_recvmsg_unix_names, 0},
    {"ops_recvmsg_on_streams", ops_recvmsg_on_streams, 0},
    {"ops_recvmsg_seqpacket_ends", ops_recvmsg_seqpacket_ends, 0},
    {"contract_08_recvmsg_all", contract_08_recvmsg_all, 0},
    {"contract_08_sendmsg_is_whole", contract_08_sendmsg_is_whole, 0},
    {"contract_09_sendmsg_keeps_its_place", contract_09_sendmsg_keeps_its_place, 0},
    {"ops_recvmsg_again_in_its_callback", ops_recvmsg_again_in_its_callback, 0},
    {"contract_10_message_of_a_lent_buffer", contract_10_message_of_a_lent_buffer, 0},
    {NULL, NULL, 0},
};
