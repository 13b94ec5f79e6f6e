/* trouble_edges.c - where an edge is easily missed, or taken for another
 *
 * Found by reading the adapter with this question in mind; all backends have to pass.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void tcp_pair_nodelay(ferry_loop *loop, ferry_fd fds[2]) {
    int one = 1;
    tcp_pair(loop, fds);
    assert_int_equal(setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
}

/* ---- A receive that was not filled --------------------------------------------------------------
 */

/* A vector that is cut: its piece is filled, and there is more. what is received after it as well.
 */
static void vectors_in_pieces(int message) {
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char first[10], second[10], rest[100];
    ferry_vec vecs[2] = {VEC(first, sizeof first), VEC(second, sizeof second)};
    ferry_msg msg = {.vecs = vecs, .count = 2};
    struct probe p = {.calls = 0}, after = {.calls = 0};
    tcp_pair_nodelay(loop, fds);
    if (message) {
        ferry_recvmsg(loop, &p.op, fds[0], &msg, FERRY_ALL, probe_done);
    } else {
        ferry_recvv(loop, &p.op, fds[0], vecs, 2, FERRY_ALL, probe_done);
    }
    ferry_recv(loop, &after.op, fds[0], rest, sizeof rest, 0, probe_done);
    run_for(loop, 5 * MS);
    plain_send(fds[1], "12345", 5);
    run_for(loop, 5 * MS);
    plain_send(fds[1], "67890abcdefghijABCDEFGHIJKLMNO", 30);
    expect_all(loop, &p, 20, 20, 0);
    expect_all(loop, &after, 15, 15, 0);
    assert_memory_equal(first, "1234567890", 10);
    assert_memory_equal(second, "abcdefghij", 10);
    assert_memory_equal(rest, "ABCDEFGHIJKLMNO", 15);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void trouble_edge_of_a_cut_vector(void **state) {
    (void)state;
    vectors_in_pieces(0);
    vectors_in_pieces(1);
}

static size_t lent_bytes;
static ferry_pool *lent_from;

static void on_lent(ferry_op *op) {
    ferry_buffer *buffer = ferry_lent(op);
    if (buffer == NULL) return;
    lent_bytes += buffer->len;
    ferry_pool_put(lent_from, buffer);
}

/* What comes does not fit into one buffer of a message, part of which is for its head. */
static void trouble_edge_of_a_pooled_message(void **state) {
    (void)state;
    static char bytes[3000];
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    ferry_op receive = {.state = 0};
    tcp_pair_nodelay(loop, fds);
    lent_bytes = 0;
    assert_int_equal(ferry_pool_open(loop, &lent_from, 16, 1024, 0, 0), 0);
    ferry_recvmsg_pool(loop, &receive, fds[0], lent_from, FERRY_MULTI, on_lent);
    run_for(loop, 5 * MS);
    plain_send(fds[1], bytes, sizeof bytes);
    uint64_t start_ns = clock_ns();
    while (lent_bytes < sizeof bytes) {
        run_for(loop, MS);
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
    }
    assert_int_equal(lent_bytes, sizeof bytes);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    assert_int_equal(ferry_pool_close(lent_from), 0);
    finish(loop);
}

static void send_around_urgent(ferry_op *op) {
    ferry_fd fd = *(ferry_fd *)op->user;
    plain_send(fd, "abc", 3);
    assert_int_equal(send(fd, "d", 1, MSG_OOB), 1);
    plain_send(fd, "efg", 3);
    sleep_ns(20 * MS); /* so that all of it is there when the loop looks */
}

/* A receive stops short at urgent data, and what is behind it is there already. */
static void trouble_edge_of_urgent_data(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char got[8];
    struct probe p = {.calls = 0};
    size_t len = 0;
    tcp_pair_nodelay(loop, fds);
    ferry_op timer = {.user = &fds[1]};
    ferry_recv(loop, &p.op, fds[0], got, sizeof got, 0, probe_done);
    run_for(loop, 5 * MS);
    ferry_timer(loop, &timer, 0, 0, 0, send_around_urgent);
    while (len < 6) {
        probe_wait(loop, &p);
        assert_true(p.result > 0);
        len += (size_t)p.result;
        memset(&p, 0, sizeof p);
        if (len == 6) break;
        ferry_recv(loop, &p.op, fds[0], got + len, sizeof got - len, 0, probe_done);
    }
    assert_memory_equal(got, "abcefg", 6);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- What does not go together
 * ------------------------------------------------------------------- */

/* An accept and a receive on one descriptor, which can be at most one of the two: the other ends.
 */
static void trouble_accept_beside_a_receive(void **state) {
    (void)state;
    int waits = omits_on_wine("Wine lets a receive on a listener wait");
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd fds[2], listener = tcp_listener(&addr);
    char byte;
    ferry_vec vec = VEC(&byte, 1);
    struct probe accept = {.calls = 0}, recv = {.calls = 0};
    ferry_accept(loop, &accept.op, listener, NULL, 0, probe_done);
    ferry_recv(loop, &recv.op, listener, &byte, 1, 0, probe_done);
    if (waits) {
        run_for(loop, 5 * MS);
        ferry_cancel(loop, &recv.op);
    }
    expect(loop, &recv, waits ? FERRY_ECANCELED : FERRY_ENOTCONN);
    assert_int_equal(accept.calls, 0);
    ferry_cancel(loop, &accept.op);
    expect(loop, &accept, FERRY_ECANCELED);
    close_near(loop, listener);

    tcp_pair(loop, fds);
    for (int vectored = 0; vectored < 2; vectored++) {
        memset(&accept, 0, sizeof accept);
        memset(&recv, 0, sizeof recv);
        if (vectored) {
            ferry_recvv(loop, &recv.op, fds[0], &vec, 1, 0, probe_done);
        } else {
            ferry_recv(loop, &recv.op, fds[0], &byte, 1, 0, probe_done);
        }
        ferry_accept(loop, &accept.op, fds[0], NULL, 0, probe_done);
        expect(loop, &accept, FERRY_EINVAL);
        assert_int_equal(recv.calls, 0);
        plain_send(fds[1], "x", 1);
        expect(loop, &recv, 1);
    }
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- While the loop is away
 * ---------------------------------------------------------------------- */

static struct {
    ferry_loop *loop;
    ferry_op accepts;
    ferry_addr addr;
    ferry_fd clients[4];
    int accepted, finals, after_the_final;
} away;

static void on_accepted(ferry_op *op) {
    away.after_the_final += away.finals > 0;
    if (!(op->flags & FERRY_MORE)) away.finals++;
    if (op->result < 0) return;
    away.accepted++;
    ferry_close(away.loop, NULL, (ferry_fd)op->result, 0, NULL);
}

/* Connections come in a callback that takes long enough for others to accept them; then it cancels.
 */
static void connect_and_cancel(ferry_op *op) {
    (void)op;
    for (int i = 0; i < 4; i++) {
        away.clients[i] = plain_socket(AF_INET, SOCK_STREAM);
        plain_connect(away.clients[i], &away.addr);
    }
    sleep_ns(100 * MS);
    ferry_cancel(away.loop, &away.accepts);
}

static void contract_02_final_is_the_last_though_the_loop_was_away(void **state) {
    (void)state;
    memset(&away, 0, sizeof away);
    away.loop = test_loop();
    ferry_fd listener = tcp_listener(&away.addr);
    ferry_op timer = {.state = 0};
    ferry_accept(away.loop, &away.accepts, listener, NULL, FERRY_MULTI, on_accepted);
    run_for(away.loop, 5 * MS);
    ferry_timer(away.loop, &timer, 0, 0, 0, connect_and_cancel);
    run_done(away.loop);
    assert_int_equal(away.finals, 1);
    assert_int_equal(away.after_the_final, 0);
    for (int i = 0; i < 4; i++) close_far(away.clients[i]);
    close_near(away.loop, listener);
    finish(away.loop);
}

/* ---- A FIFO
 * -------------------------------------------------------------------------------------- */

/* Whoever opens a FIFO to write and goes without a word has been there: open(2) would have
 * returned. */
static void trouble_fifo_whose_writer_comes_and_goes(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char *path = temp_path("fifo"), byte;
    struct probe opens = {.calls = 0}, reads = {.calls = 0};
    assert_int_equal(mkfifo(path, 0600), 0);
    ferry_open(loop, &opens.op, path, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_fd writer = FERRY_FD_NONE;
    uint64_t start_ns = clock_ns();
    while (writer < 0) { /* somebody waits there, as soon as that is known to the system */
        run_for(loop, MS);
        writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
    }
    close_far(writer);
    probe_wait(loop, &opens);
    assert_true(opens.result >= 0);
    ferry_read(loop, &reads.op, (ferry_fd)opens.result, &byte, 1, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &reads, 0, 0, FERRY_EOF);
    close_near(loop, (ferry_fd)opens.result);
    finish(loop);
}

const struct contract_test trouble_edges_tests[] = {
    {"trouble_edge_of_a_cut_vector", trouble_edge_of_a_cut_vector, 0},
    {"trouble_edge_of_a_pooled_message", trouble_edge_of_a_pooled_message, 0},
    {"trouble_edge_of_urgent_data", trouble_edge_of_urgent_data, 0},
    {"trouble_accept_beside_a_receive", trouble_accept_beside_a_receive, 0},
    {"contract_02_final_is_the_last_though_the_loop_was_away",
     contract_02_final_is_the_last_though_the_loop_was_away, 0},
    {"trouble_fifo_whose_writer_comes_and_goes", trouble_fifo_whose_writer_comes_and_goes, 0},
    {NULL, NULL, 0},
};
