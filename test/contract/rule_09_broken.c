/* Rule 9, continued: what a failure means for those behind it, so that no stream is ever corrupted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Soon: after the first turn that moved something, when the library may be between two tries. */
enum cut { BY_CANCEL, BY_CANCEL_SOON, BY_CANCEL_FD, BY_CANCEL_FD_SOON, BY_DEADLINE, CUTS };

/* Takes everything up to the end of the stream. */
static size_t take_rest(ferry_fd fd, uint64_t seed) {
    static char buf[100000];
    size_t got = 0;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n < 0) continue; /* interrupted */
        if (n == 0) return got;
        assert_true(is_filled(buf, (size_t)n, seed + got));
        got += (size_t)n;
    }
}

static void run_until_moved(ferry_loop *loop, ferry_fd peer) {
    struct pollfd ready = {.fd = peer, .events = POLLIN};
    uint64_t start_ns = clock_ns();
    do {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
    } while (poll(&ready, 1, 0) <= 0);
}

/* A send is cut after some of its bytes. Those behind it end with FERRY_ECANCELED, later ones with
 * FERRY_EPIPE, and the peer gets a prefix of exactly the length that was told. */
static void send_is_cut(enum cut cut, int is_tcp) {
    enum { LEN = 16 << 20, BEHIND = 5 };
    struct probe p = {.calls = 0}, behind[BEHIND] = {{.calls = 0}}, later = {.calls = 0};
    struct probe receiver = {.calls = 0};
    char *out = malloc(LEN), byte = 'x', in;
    ferry_vec vec = VEC(&byte, 1);
    ferry_fd fds[2];
    assert_non_null(out);
    fill(out, LEN, 13);
    ferry_loop *loop = test_loop();
    if (is_tcp) tcp_pair(loop, fds);
    else unix_pair(fds, SOCK_STREAM);
    if (cut == BY_DEADLINE) p.op.deadline_ns = 30 * MS;
    ferry_send(loop, &p.op, fds[0], out, LEN, 0, probe_done);
    for (int i = 0; i < BEHIND; i++) {
        if (i == 2) {
            ferry_shutdown(loop, &behind[i].op, fds[0], FERRY_SHUT_WRITE, 0, probe_done);
        } else if (i % 2) {
            ferry_send(loop, &behind[i].op, fds[0], &byte, 1, 0, probe_done);
        } else {
            ferry_sendv(loop, &behind[i].op, fds[0], &vec, 1, 0, probe_done);
        }
    }
    if (cut == BY_CANCEL_SOON || cut == BY_CANCEL_FD_SOON) {
        run_until_moved(loop, fds[1]);
    } else {
        run_for(loop, 10 * MS);
    }
    if (cut == BY_CANCEL || cut == BY_CANCEL_SOON) ferry_cancel(loop, &p.op);
    if (cut == BY_CANCEL_FD || cut == BY_CANCEL_FD_SOON) ferry_cancel_fd(loop, fds[0]);
    probe_wait(loop, &p);
    probe_check(&p, cut == BY_DEADLINE ? FERRY_ETIMEDOUT : FERRY_ECANCELED);
    assert_true(p.transferred > 0 && p.transferred < LEN);
    probe_wait_all(loop, behind, BEHIND);
    for (int i = 0; i < BEHIND; i++) {
        if (i == 2) continue; /* a shutdown sends nothing: it may take place, or be cancelled */
        probe_check(&behind[i], FERRY_ECANCELED);
        assert_int_equal(behind[i].transferred, 0);
    }
    assert_int_equal(behind[2].calls, 1);
    ferry_send(loop, &later.op, fds[0], &byte, 1, 0, probe_done);
    run_done(loop);
    probe_check(&later, FERRY_EPIPE);

    /* The other direction is whole. */
    plain_send(fds[1], "y", 1);
    ferry_recv(loop, &receiver.op, fds[0], &in, 1, 0, probe_done);
    run_done(loop);
    probe_check(&receiver, 1);
    assert_int_equal(in, 'y');
    shutdown(fds[0], SHUT_WR);
    assert_int_equal(take_rest(fds[1], 13), p.transferred);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
}

static void contract_09_a_send_that_is_cut_breaks_the_stream(void **state) {
    (void)state;
    for (enum cut cut = BY_CANCEL; cut < CUTS; cut++) {
        send_is_cut(cut, 0);
        send_is_cut(cut, 1);
    }
}

/* A send that ended without having moved a byte does no harm to those behind it. */
static void contract_09_an_unbegun_send_breaks_nothing(void **state) {
    (void)state;
    struct probe p = {.calls = 0}, behind = {.calls = 0};
    char *out = calloc(1, 1 << 20), byte = 'x';
    ferry_fd fds[2];
    assert_non_null(out);
    unix_pair(fds, SOCK_STREAM);
    size_t stuffed = plain_stuff(fds[0]);
    ferry_loop *loop = test_loop();
    ferry_send(loop, &p.op, fds[0], out, 1 << 20, 0, probe_done);
    ferry_send(loop, &behind.op, fds[0], &byte, 1, 0, probe_done);
    run_for(loop, 5 * MS);
    ferry_cancel(loop, &p.op);
    probe_wait(loop, &p);
    probe_check(&p, FERRY_ECANCELED);
    assert_int_equal(p.transferred, 0);
    assert_int_equal(behind.calls, 0);
    char *in = malloc(stuffed + 1);
    assert_non_null(in);
    plain_recv(fds[1], in, stuffed);
    run_done(loop);
    probe_check(&behind, 1);
    plain_recv(fds[1], in, 1);
    assert_int_equal(in[0], 'x');
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
    free(in);
}

/* ---- Connecting ------------------------------------------------------------------------ */

/* Everything is submitted at once: the connect holds both lanes until it is through. */
static void contract_09_connect_holds_both_lanes(void **state) {
    (void)state;
    struct probe connect_probe = {.calls = 0}, accepted = {.calls = 0}, sends[3] = {{.calls = 0}};
    struct probe receiver = {.calls = 0}, shut = {.calls = 0}, server = {.calls = 0};
    char in[10], server_in[12];
    ferry_addr addr, peer, local;
    ferry_fd fd;
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    ferry_connect(loop, &connect_probe.op, fd, &addr, 0, probe_done);
    ferry_send(loop, &sends[0].op, fd, "abcd", 4, 0, probe_done);
    ferry_send(loop, &sends[1].op, fd, "efgh", 4, 0, probe_done);
    ferry_send(loop, &sends[2].op, fd, "ijkl", 4, 0, probe_done);
    ferry_shutdown(loop, &shut.op, fd, FERRY_SHUT_WRITE, 0, probe_done);
    ferry_recv(loop, &receiver.op, fd, in, 5, FERRY_ALL, probe_done);
    ferry_accept(loop, &accepted.op, listener, &peer, 0, probe_done);
    probe_wait(loop, &accepted);
    assert_true(accepted.result >= 0);
    ferry_fd served = (ferry_fd)accepted.result;
    ferry_recv(loop, &server.op, served, server_in, 12, FERRY_ALL, probe_done);
    probe_wait(loop, &server);
    probe_check(&server, 12);
    assert_memory_equal(server_in, "abcdefghijkl", 12);
    plain_send(served, "hello", 5);
    run_done(loop);
    probe_check(&connect_probe, 0);
    for (int i = 0; i < 3; i++) probe_check(&sends[i], 4);
    in[5] = 0;
    probe_check(&shut, 0);
    probe_check(&receiver, 5);
    assert_string_equal(in, "hello");
    assert_true(connect_probe.order < sends[0].order && sends[0].order < sends[1].order);
    assert_true(sends[1].order < sends[2].order && sends[2].order < shut.order);
    assert_true(connect_probe.order < receiver.order);
    assert_int_equal(ferry_local_addr(loop, fd, &local), 0);
    assert_int_equal(ferry_addr_port(&local), ferry_addr_port(&peer));
    test_close(loop);
    ferry_fd mine[] = {fd, served, listener};
    for (int i = 0; i < 3; i++) close(mine[i]);
}

static void contract_09_failed_connect_ends_what_waits(void **state) {
    (void)state;
    struct probe p = {.calls = 0}, waiting[4] = {{.calls = 0}}, second = {.calls = 0};
    char buf[4] = "abc";
    ferry_addr nobody, addr;
    ferry_fd fd;
    ferry_loop *loop = test_loop();
    ferry_fd gone = tcp_listener(&nobody), listener = tcp_listener(&addr);
    close(gone);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    ferry_connect(loop, &p.op, fd, &nobody, 0, probe_done);
    ferry_send(loop, &waiting[0].op, fd, buf, 3, 0, probe_done);
    ferry_recv(loop, &waiting[1].op, fd, buf, 3, 0, probe_done);
    ferry_send(loop, &waiting[2].op, fd, buf, 3, 0, probe_done);
    ferry_recv(loop, &waiting[3].op, fd, buf, 3, 0, probe_done);
    run_done(loop);
    probe_check(&p, FERRY_ECONNREFUSED);
    for (int i = 0; i < 4; i++) {
        probe_check(&waiting[i], FERRY_ECANCELED);
        assert_true(p.order < waiting[i].order);
    }
    /* The socket is not spoilt by it: it may be connected to somebody else. */
    if (!omits_on_wine("Wine connects no socket again that was refused")) {
        ferry_connect(loop, &second.op, fd, &addr, 0, probe_done);
        run_done(loop);
        probe_check(&second, 0);
        memset(&p, 0, sizeof p);
        ferry_send(loop, &p.op, fd, buf, 3, 0, probe_done);
        run_done(loop);
        probe_check(&p, 3);
    }
    test_close(loop);
    close(fd);
    close(listener);
}

/* Shutdown waits in the write lane: the peer has everything before the end. */
static void contract_09_shutdown_waits_for_the_sends(void **state) {
    (void)state;
    enum { LEN = 16 << 20 }; /* more than the system buffers */
    struct probe p = {.calls = 0}, shut = {.calls = 0}, late = {.calls = 0};
    char *out = malloc(LEN);
    size_t got = 0;
    ferry_fd fds[2];
    assert_non_null(out);
    fill(out, LEN, 2);
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_send(loop, &p.op, fds[0], out, LEN, 0, probe_done);
    ferry_shutdown(loop, &shut.op, fds[0], FERRY_SHUT_WRITE, 0, probe_done);
    ferry_send(loop, &late.op, fds[0], out, 1, 0, probe_done);
    run_for(loop, 10 * MS);
    assert_int_equal(shut.calls, 0);
    uint64_t start_ns = clock_ns();
    for (;;) {
        static char buf[100000];
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fds[1], buf, sizeof buf);
        if (n == -1) break;
        assert_true(n >= 0);
        assert_true(is_filled(buf, (size_t)n, 2 + got));
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    run_done(loop);
    assert_int_equal(got, LEN);
    probe_check(&p, LEN);
    probe_check(&shut, 0);
    probe_check(&late, FERRY_EPIPE);
    assert_true(p.order < shut.order);
    assert_true(shut.order < late.order);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
}

const struct contract_test rule_09_broken_tests[] = {
    {"contract_09_a_send_that_is_cut_breaks_the_stream",
     contract_09_a_send_that_is_cut_breaks_the_stream, 60},
    {"contract_09_an_unbegun_send_breaks_nothing", contract_09_an_unbegun_send_breaks_nothing, 0},
    {"contract_09_connect_holds_both_lanes", contract_09_connect_holds_both_lanes, 0},
    {"contract_09_failed_connect_ends_what_waits", contract_09_failed_connect_ends_what_waits, 0},
    {"contract_09_shutdown_waits_for_the_sends", contract_09_shutdown_waits_for_the_sends, 0},
    {NULL, NULL, 0}};
