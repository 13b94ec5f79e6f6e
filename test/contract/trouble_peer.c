/* trouble_peer.c - peers that reset, go away, or stop reading
 *
 * A reset is not an end of stream (rule 12), and neither ends the process: writing to what nobody
 * reads is an error like any other, without SIGPIPE.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void contract_12_reset_while_recv_waits(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[2][8];
    struct probe p[2];
    for (int vectored = 0; vectored < 2; vectored++) {
        ferry_vec vec = VEC(buf[0], 8);
        memset(p, 0, sizeof p);
        tcp_pair(loop, fds);
        if (vectored) ferry_recvv(loop, &p[0].op, fds[0], &vec, 1, 0, probe_done);
        else ferry_recv(loop, &p[0].op, fds[0], buf[0], 8, 0, probe_done);
        ferry_recv(loop, &p[1].op, fds[0], buf[1], 8, 0, probe_done);
        run_for(loop, 5 * MS);
        assert_int_equal(p[0].calls, 0);
        reset_far(fds[1]);
        expect_all(loop, &p[0], FERRY_ECONNRESET, 0, 0);
        /* The system tells a reset once. The one behind is told the end, or the reset again. */
        probe_wait(loop, &p[1]);
        assert_true(p[1].result == FERRY_ECONNRESET ||
                    (p[1].result == 0 && p[1].flags == FERRY_EOF));
        close_near(loop, fds[0]);
    }
    finish(loop);
}

static void contract_12_reset_before_recv(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[8];
    struct probe p = {.calls = 0};
    tcp_pair(loop, fds);
    reset_far(fds[1]);
    ferry_recv(loop, &p.op, fds[0], buf, 8, 0, probe_done);
    if (omits_on_wine("Wine takes a reset before the receive for the end of the stream")) {
        probe_wait(loop, &p);
        assert_true(p.result == 0 || p.result == FERRY_ECONNRESET);
    } else {
        expect_all(loop, &p, FERRY_ECONNRESET, 0, 0);
    }
    close_near(loop, fds[0]);
    finish(loop);
}

/* The bytes that came before are in the buffer, and told with the error. */
static void contract_12_reset_within_whole_recv(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[8];
    struct probe p = {.calls = 0};
    tcp_pair(loop, fds);
    ferry_recv(loop, &p.op, fds[0], buf, 8, FERRY_ALL, probe_done);
    plain_send(fds[1], "part", 4);
    run_for(loop, 20 * MS);
    assert_int_equal(p.calls, 0);
    reset_far(fds[1]);
    expect_all(loop, &p, FERRY_ECONNRESET, 4, 0);
    assert_memory_equal(buf, "part", 4);
    close_near(loop, fds[0]);
    finish(loop);
}

static void contract_12_reset_before_send(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe p[2];
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    reset_far(fds[1]);
    ferry_send(loop, &p[0].op, fds[0], "data", 4, 0, probe_done);
    expect_all(loop, &p[0], FERRY_ECONNRESET, 0, 0);
    ferry_send(loop, &p[1].op, fds[0], "data", 4, 0, probe_done);
    expect_all(loop, &p[1], FERRY_EPIPE, 0, 0);
    close_near(loop, fds[0]);
    finish(loop);
}

/* ---- The end of a stream --------------------------------------------------------------- */

static void contract_08_end_of_stream(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[4][8];
    for (int kind = 0; kind < 2 + TEST_SEQPACKET; kind++) {
        struct probe p[4];
        memset(p, 0, sizeof p);
        if (kind == 0) tcp_pair(loop, fds);
        else unix_pair(fds, kind == 1 ? SOCK_STREAM : SOCK_SEQPACKET);
        for (int i = 0; i < 4; i++) {
            ferry_recv(loop, &p[i].op, fds[0], buf[i], 4, 0, probe_done);
        }
        plain_send(fds[1], "last", 4);
        close_far(fds[1]);
        expect_all(loop, &p[0], 4, 4, 0);
        /* And whoever asks again is told again. */
        for (int i = 1; i < 4; i++) expect_all(loop, &p[i], 0, 0, FERRY_EOF);
        close_near(loop, fds[0]);
    }
    finish(loop);
}

static void contract_08_end_within_whole_recv(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[8];
    ferry_vec vecs[2] = {VEC(buf, 3), VEC(buf + 3, 5)};
    for (int vectored = 0; vectored < 2; vectored++) {
        struct probe p = {.calls = 0}, end = {.calls = 0};
        tcp_pair(loop, fds);
        if (vectored) ferry_recvv(loop, &p.op, fds[0], vecs, 2, FERRY_ALL, probe_done);
        else ferry_recv(loop, &p.op, fds[0], buf, 8, FERRY_ALL, probe_done);
        plain_send(fds[1], "half!", 5);
        run_for(loop, 5 * MS);
        assert_int_equal(p.calls, 0);
        close_far(fds[1]);
        expect_all(loop, &p, 5, 5, 0);
        assert_memory_equal(buf, "half!", 5);
        ferry_recv(loop, &end.op, fds[0], buf, 8, FERRY_ALL, probe_done);
        expect_all(loop, &end, 0, 0, FERRY_EOF);
        close_near(loop, fds[0]);
    }
    finish(loop);
}

static void contract_08_end_of_pipe_within_whole_read(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[8];
    struct probe p = {.calls = 0}, end = {.calls = 0};
    assert_int_equal(pipe(fds), 0);
    ferry_read(loop, &p.op, fds[0], buf, 8, FERRY_CURRENT, FERRY_ALL, probe_done);
    assert_int_equal(write(fds[1], "half!", 5), 5);
    run_for(loop, 5 * MS);
    assert_int_equal(p.calls, 0);
    close_far(fds[1]);
    expect_all(loop, &p, 5, 5, 0);
    assert_memory_equal(buf, "half!", 5);
    ferry_read(loop, &end.op, fds[0], buf, 8, FERRY_CURRENT, FERRY_ALL, probe_done);
    expect_all(loop, &end, 0, 0, FERRY_EOF);
    close_near(loop, fds[0]);
    finish(loop);
}

/* Our own end of a direction is an end as well. */
static void trouble_shutdown_ends_waiting_recv(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[8];
    struct probe recv = {.calls = 0}, shut = {.calls = 0}, send = {.calls = 0};
    tcp_pair(loop, fds);
    ferry_recv(loop, &recv.op, fds[0], buf, 8, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(recv.calls, 0);
    ferry_shutdown(loop, &shut.op, fds[0], FERRY_SHUT_BOTH, 0, probe_done);
    expect_all(loop, &shut, 0, 0, 0);
    expect_all(loop, &recv, 0, 0, FERRY_EOF);
    ferry_send(loop, &send.op, fds[0], "x", 1, 0, probe_done);
    expect_all(loop, &send, FERRY_EPIPE, 0, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Writing to what nobody reads ------------------------------------------------------ */

static void each_broken_write(ferry_loop *loop) {
    ferry_fd fds[2];
    char data[8] = "nobody";
    ferry_vec vec = VEC(data, 6);
    struct probe p[8];
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    close_near(loop, fds[0]);
    ferry_write(loop, &p[0].op, fds[1], data, 6, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[1].op, fds[1], data, 6, FERRY_CURRENT, FERRY_SOME, probe_done);
    ferry_writev(loop, &p[2].op, fds[1], &vec, 1, FERRY_CURRENT, 0, probe_done);
    for (int i = 0; i < 3; i++) expect_all(loop, &p[i], FERRY_EPIPE, 0, 0);
    close_near(loop, fds[1]);

    if (TEST_WINDOWS) return; /* A pair is TCP, where the first send succeeds. */
    unix_pair(fds, SOCK_STREAM);
    close_far(fds[1]);
    ferry_send(loop, &p[3].op, fds[0], data, 6, 0, probe_done);
    ferry_sendv(loop, &p[4].op, fds[0], &vec, 1, 0, probe_done);
    ferry_write(loop, &p[5].op, fds[0], data, 6, FERRY_CURRENT, 0, probe_done);
    for (int i = 3; i < 6; i++) expect_all(loop, &p[i], FERRY_EPIPE, 0, 0);
    close_near(loop, fds[0]);
}

static void trouble_closed_pipe(void **state) {
    (void)state;
    /* A default SIGPIPE would end this process here. */
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    ferry_loop *loop = test_loop();
    each_broken_write(loop);
    finish(loop);
}

static volatile sig_atomic_t pipe_signals;

static void on_pipe_signal(int number) {
    (void)number;
    pipe_signals++;
}

/* A handler of the program's own stays in place, and sends to sockets never call it. */
static void trouble_closed_socket_with_own_handler(void **state) {
    (void)state;
    struct sigaction ours = {.sa_handler = on_pipe_signal}, seen;
    assert_int_equal(sigaction(SIGPIPE, &ours, NULL), 0);
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char data[4] = "abc";
    ferry_vec vec = VEC(data, 3);
    struct probe p[2];
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    close_far(fds[1]);
    ferry_send(loop, &p[0].op, fds[0], data, 3, 0, probe_done);
    ferry_sendv(loop, &p[1].op, fds[0], &vec, 1, 0, probe_done);
    expect_all(loop, &p[0], FERRY_EPIPE, 0, 0);
    expect_all(loop, &p[1], FERRY_EPIPE, 0, 0);
    assert_int_equal(pipe_signals, 0);
    close_near(loop, fds[0]);
    finish(loop);
    assert_int_equal(sigaction(SIGPIPE, NULL, &seen), 0);
    assert_true(seen.sa_handler == on_pipe_signal);
}

/* The reader goes away while a write waits for room. */
static void contract_08_pipe_closed_within_whole_write(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    static char data[1 << 20], got[1 << 20];
    struct probe p = {.calls = 0};
    fill(data, sizeof data, 3);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_write(loop, &p.op, fds[1], data, sizeof data, FERRY_CURRENT, 0, probe_done);
    far_expect(loop, fds[0], got, 100 * KIB);
    run_for(loop, 20 * MS);
    assert_int_equal(p.calls, 0);
    close_far(fds[0]);
    expect(loop, &p, FERRY_EPIPE);
    assert_in_range(p.transferred, 100 * KIB, sizeof data - 1);
    assert_true(is_filled(got, 100 * KIB, 3));
    close_near(loop, fds[1]);
    finish(loop);
}

const struct contract_test trouble_peer_tests[] = {
    {"contract_12_reset_while_recv_waits", contract_12_reset_while_recv_waits, 0},
    {"contract_12_reset_before_recv", contract_12_reset_before_recv, 0},
    {"contract_12_reset_within_whole_recv", contract_12_reset_within_whole_recv, 0},
    {"contract_12_reset_before_send", contract_12_reset_before_send, 0},
    {"contract_08_end_of_stream", contract_08_end_of_stream, 0},
    {"contract_08_end_within_whole_recv", contract_08_end_within_whole_recv, 0},
    {"contract_08_end_of_pipe_within_whole_read", contract_08_end_of_pipe_within_whole_read, 0},
    {"trouble_shutdown_ends_waiting_recv", trouble_shutdown_ends_waiting_recv, 0},
    {"trouble_closed_pipe", trouble_closed_pipe, 0},
    {"trouble_closed_socket_with_own_handler", trouble_closed_socket_with_own_handler, 0},
    {"contract_08_pipe_closed_within_whole_write", contract_08_pipe_closed_within_whole_write, 0},
    {NULL, NULL, 0},
};
