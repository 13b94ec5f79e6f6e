/* Rule 7: closing is an operation. It ends all that is in flight on the descriptor, hands the
 * number back after the last of those callbacks, and completes then.
 *
 * No completion ever reaches an operation on a number that was reused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- The order of things --------------------------------------------------------------- */

static struct {
    struct probe probes[6];
    int open_in_callback, closed_in_close;
} ending;

static void ended_done(ferry_op *op) {
    probe_done(op);
    if (is_open(op->fd)) ending.open_in_callback++;
}

static void closed_done(ferry_op *op) {
    probe_done(op);
    if (!is_open(op->fd)) ending.closed_in_close++;
}

static void contract_07_ends_all_then_hands_the_number_back(void **state) {
    (void)state;
    static char bufs[6][8], big[1 << 20];
    for (int flushed = 0; flushed < 2; flushed++) {
        struct probe closed = {.calls = 0};
        struct probe *p = ending.probes;
        ferry_fd fds[2];
        memset(&ending, 0, sizeof ending);
        unix_pair(fds, SOCK_STREAM);
        ferry_loop *loop = test_loop();
        for (int i = 0; i < 3; i++) ferry_recv(loop, &p[i].op, fds[0], bufs[i], 8, 0, ended_done);
        ferry_send(loop, &p[3].op, fds[0], big, sizeof big, 0, ended_done);
        ferry_send(loop, &p[4].op, fds[0], big, 8, 0, ended_done);
        ferry_shutdown(loop, &p[5].op, fds[0], FERRY_SHUT_WRITE, 0, ended_done);
        if (flushed) run_for(loop, 5 * MS);
        ferry_close(loop, &closed.op, fds[0], 0, closed_done);
        assert_true(is_open(fds[0]));
        run_done(loop);
        for (int i = 0; i < 6; i++) {
            probe_check(&p[i], FERRY_ECANCELED);
            assert_true(p[i].order < closed.order);
        }
        assert_int_equal(ending.open_in_callback, 6);
        probe_check(&closed, 0);
        assert_int_equal(ending.closed_in_close, 1);
        assert_false(is_open(fds[0]));
        test_close(loop);
        close(fds[1]);
    }
}

/* Listener with accepts, pipe with a blocked write, file with reads, socket that connects. */
static void contract_07_every_kind_of_descriptor(void **state) {
    (void)state;
    enum { COUNT = 6 };
    static char buf[64], big[1 << 20];
    struct probe p[COUNT] = {{.calls = 0}}, closed[5] = {{.calls = 0}};
    ferry_fd pipe_fds[2];
    ferry_addr addr;
    ferry_fd client;
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr), file = temp_file("data", 64, 1);
    assert_int_equal(ferry_pipe(loop, pipe_fds), 0);
    assert_int_equal(ferry_socket(loop, &client, FERRY_INET, FERRY_STREAM), 0);
    ferry_accept(loop, &p[0].op, listener, NULL, 0, probe_done);
    ferry_accept(loop, &p[1].op, listener, NULL, 0, probe_done);
    ferry_write(loop, &p[2].op, pipe_fds[1], big, sizeof big, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &p[3].op, file, buf, 64, 0, 0, probe_done);
    probe_wait(loop, &p[3]);
    run_for(loop, 2 * MS);
    ferry_close(loop, &closed[0].op, listener, 0, probe_done);
    ferry_close(loop, &closed[1].op, pipe_fds[1], 0, probe_done);
    ferry_close(loop, &closed[2].op, file, 0, probe_done);
    ferry_connect(loop, &p[4].op, client, &addr, 0, probe_done);
    ferry_recv(loop, &p[5].op, client, buf, 8, 0, probe_done);
    ferry_close(loop, &closed[3].op, client, 0, probe_done);
    ferry_close(loop, &closed[4].op, pipe_fds[0], 0, probe_done);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) assert_int_equal(p[i].calls, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(p[i].result, FERRY_ECANCELED);
    assert_int_equal(p[3].result, 64);
    assert_true(is_filled(buf, 64, 1));
    assert_int_equal(p[5].result, FERRY_ECANCELED);
    for (int i = 0; i < 5; i++) probe_check(&closed[i], 0);
    ferry_fd fds[] = {listener, pipe_fds[0], pipe_fds[1], file, client};
    for (int i = 0; i < 5; i++) assert_false(is_open(fds[i]));
    test_close(loop);
}

/* ---- What is submitted to a closing descriptor
 * ---------------------------------------------------- */

static void contract_07_submits_while_closing(void **state) {
    (void)state;
    struct probe closed = {.calls = 0}, again = {.calls = 0}, p[3] = {{.calls = 0}};
    char buf[8] = "";
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &p[0].op, fds[0], buf, 8, 0, probe_done);
    ferry_close(loop, &closed.op, fds[0], 0, probe_done);
    ferry_recv(loop, &p[1].op, fds[0], buf, 8, 0, probe_done);
    ferry_send(loop, &p[2].op, fds[0], buf, 8, 0, probe_done);
    ferry_close(loop, &again.op, fds[0], 0, probe_done);
    assert_int_equal(ferry_forget(loop, fds[0]), FERRY_EBADF);
    run_done(loop);
    probe_check(&p[0], FERRY_ECANCELED);
    probe_check(&p[1], FERRY_EBADF);
    probe_check(&p[2], FERRY_EBADF);
    probe_check(&again, FERRY_EBADF);
    probe_check(&closed, 0);
    test_close(loop);
    close(fds[1]);
}

static void contract_07_bad_descriptors(void **state) {
    (void)state;
    struct probe p[3] = {{.calls = 0}};
    ferry_loop *loop = test_loop();
    ferry_close(loop, &p[0].op, FERRY_FD_NONE, 0, probe_done);
    ferry_close(loop, &p[1].op, 3000, 0, probe_done); /* nothing has it open */
    run_done(loop);
    for (int i = 0; i < 2; i++) probe_check(&p[i], FERRY_EBADF);
    ferry_close(loop, NULL, FERRY_FD_NONE, 0, NULL); /* nobody wants to know */
    ferry_close(loop, NULL, 3000, 0, NULL);
    run_done(loop);
    assert_int_equal(ferry_forget(loop, FERRY_FD_NONE), FERRY_EBADF);
    test_close(loop);
}

static void contract_07_without_an_operation(void **state) {
    (void)state;
    enum { COUNT = 500 };
    struct probe readers[COUNT] = {{.calls = 0}};
    static ferry_fd fds[COUNT][2];
    char buf[COUNT];
    if (set_fd_limit(COUNT * 2 + 200) < 0) test_skip("the hard limit RLIMIT_NOFILE is below 1,200");
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        unix_pair(fds[i], SOCK_STREAM);
        ferry_recv(loop, &readers[i].op, fds[i][0], &buf[i], 1, 0, probe_done);
        ferry_close(loop, NULL, fds[i][0], 0, NULL);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&readers[i], FERRY_ECANCELED);
        assert_false(is_open(fds[i][0]));
        assert_int_equal(plain_take(fds[i][1], buf, 1), -1); /* the peer sees the end */
        close(fds[i][1]);
    }
    test_close(loop);
}

/* ---- Reuse of the number
 * --------------------------------------------------------------------------- */

/* An old peer sends after its receive has been closed away; the number belongs to somebody else by
 * then, who must not see a byte of it. */
static void contract_07_number_is_reused(void **state) {
    (void)state;
    enum { ROUNDS = 100 };
    int reused = 0;
    ferry_loop *loop = test_loop();
    for (int round = 0; round < ROUNDS; round++) {
        struct probe old = {.calls = 0}, new = {.calls = 0};
        char old_buf[8] = "", new_buf[8] = "";
        ferry_fd fds[2], extra, next[2];
        unix_pair(fds, SOCK_STREAM);
        extra = dup(fds[0]); /* so that the old connection outlives the number */
        ferry_recv(loop, &old.op, fds[0], old_buf, 8, 0, probe_done);
        if (round % 2) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        ferry_close(loop, NULL, fds[0], 0, NULL);
        run_done(loop);
        probe_check(&old, FERRY_ECANCELED);
        unix_pair(next, SOCK_STREAM);
        /* The lowest free number, unless the system has opened something meanwhile. */
        if (!TEST_WINDOWS) assert_int_equal(next[0], fds[0]);
        reused += next[0] == fds[0];
        ferry_recv(loop, &new.op, next[0], new_buf, 8, 0, probe_done);
        plain_send(fds[1], "old", 3);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        plain_send(next[1], "new", 3);
        run_done(loop);
        probe_check(&new, 3);
        assert_memory_equal(new_buf, "new", 3);
        assert_memory_equal(old_buf, "\0\0\0", 3);
        assert_int_equal(old.calls, 1);
        ferry_close(loop, NULL, next[0], 0, NULL);
        run_done(loop);
        close(next[1]);
        close(fds[1]);
        close(extra);
    }
    assert_true(reused > 0);
    test_close(loop);
}

/* The callback of a close opens the next socket, which gets the number at once. */
static struct {
    ferry_loop *loop;
    struct probe reader;
    ferry_op closer;
    ferry_fd fds[2];
    int rounds, wrong;
    char buf[4];
} reuse;

static void reuse_next(void) {
    unix_pair(reuse.fds, SOCK_STREAM);
    ferry_recv(reuse.loop, &reuse.reader.op, reuse.fds[0], reuse.buf, 4, 0, probe_done);
}

static void reuse_closed(ferry_op *op) {
    if (op->result != 0 || reuse.reader.result != FERRY_ECANCELED) reuse.wrong++;
    close(reuse.fds[1]);
    if (++reuse.rounds == 300) return;
    reuse_next();
    ferry_close(reuse.loop, &reuse.closer, reuse.fds[0], 0, reuse_closed);
}

static void contract_07_number_is_reused_in_the_callback(void **state) {
    (void)state;
    memset(&reuse, 0, sizeof reuse);
    reuse.loop = test_loop();
    reuse_next();
    ferry_close(reuse.loop, &reuse.closer, reuse.fds[0], 0, reuse_closed);
    run_done(reuse.loop);
    assert_int_equal(reuse.rounds, 300);
    assert_int_equal(reuse.wrong, 0);
    assert_int_equal(reuse.reader.calls, 300);
    test_close(reuse.loop);
}

/* ---- Forgetting
 * ---------------------------------------------------------------------------------- */

static void contract_07_forget_lets_go(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char buf[8];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *first = test_loop(), *second = test_loop();
    ferry_recv(first, &p.op, fds[0], buf, 8, 0, probe_done);
    assert_int_equal(ferry_forget(first, fds[0]), FERRY_EBUSY);
    plain_send(fds[1], "one", 3);
    run_done(first);
    probe_check(&p, 3);
    assert_int_equal(ferry_forget(first, fds[0]), 0);
    assert_int_equal(ferry_forget(first, fds[0]), 0);
    assert_int_equal(ferry_forget(first, fds[1]), 0); /* it was never this loop's */
    assert_true(is_open(fds[0]));

    memset(&p, 0, sizeof p);
    plain_send(fds[1], "two", 3);
    if (!omits_on_wine("Wine cannot take a handle off its port")) {
        ferry_recv(second, &p.op, fds[0], buf, 8, 0, probe_done);
        run_done(second);
        probe_check(&p, 3);
        assert_memory_equal(buf, "two", 3);
        assert_int_equal(ferry_forget(second, fds[0]), 0);
    }
    close(fds[0]);
    close(fds[1]);
    test_close(first);
    test_close(second);
}

/* Descriptors that are forgotten and closed by hand leave nothing that troubles the next owner of
 * the number, not even that a send on it was cut short. */
static void contract_07_forgotten_numbers_start_afresh(void **state) {
    (void)state;
    static char big[1 << 20];
    ferry_loop *loop = test_loop();
    ferry_fd number = -1;
    int reused = 0;
    for (int round = 0; round < 50; round++) {
        struct probe cut = {.calls = 0}, whole = {.calls = 0};
        ferry_fd fds[2];
        unix_pair(fds, SOCK_STREAM);
        if (number >= 0 && !TEST_WINDOWS) assert_int_equal(fds[0], number);
        reused += fds[0] == number;
        number = fds[0];
        ferry_send(loop, &whole.op, fds[0], "abc", 3, 0, probe_done);
        run_done(loop);
        probe_check(&whole, 3);
        ferry_send(loop, &cut.op, fds[0], big, sizeof big, 0, probe_done);
        run_for(loop, MS);
        ferry_cancel(loop, &cut.op);
        run_done(loop);
        probe_check(&cut, FERRY_ECANCELED);
        assert_true(cut.transferred > 0);
        memset(&whole, 0, sizeof whole);
        ferry_send(loop, &whole.op, fds[0], "abc", 3, 0, probe_done);
        run_done(loop);
        probe_check(&whole, FERRY_EPIPE);
        assert_int_equal(ferry_forget(loop, fds[0]), 0);
        close(fds[0]);
        close(fds[1]);
    }
    assert_true(reused > 0);
    test_close(loop);
}

static void contract_07_a_dup_is_another_descriptor(void **state) {
    (void)state;
    struct probe first = {.calls = 0}, second = {.calls = 0};
    char a[4], b[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_fd copy = dup(fds[0]);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &first.op, fds[0], a, 4, 0, probe_done);
    ferry_recv(loop, &second.op, copy, b, 4, 0, probe_done);
    run_for(loop, 2 * MS);
    ferry_close(loop, NULL, fds[0], 0, NULL);
    probe_wait(loop, &first);
    probe_check(&first, FERRY_ECANCELED);
    assert_int_equal(second.calls, 0);
    plain_send(fds[1], "ab", 2);
    run_done(loop);
    probe_check(&second, 2);
    assert_memory_equal(b, "ab", 2);
    test_close(loop);
    close(copy);
    close(fds[1]);
}

const struct contract_test rule_07_tests[] = {
    {"contract_07_ends_all_then_hands_the_number_back",
     contract_07_ends_all_then_hands_the_number_back, 0},
    {"contract_07_every_kind_of_descriptor", contract_07_every_kind_of_descriptor, 0},
    {"contract_07_submits_while_closing", contract_07_submits_while_closing, 0},
    {"contract_07_bad_descriptors", contract_07_bad_descriptors, 0},
    {"contract_07_without_an_operation", contract_07_without_an_operation, 0},
    {"contract_07_number_is_reused", contract_07_number_is_reused, 0},
    {"contract_07_number_is_reused_in_the_callback", contract_07_number_is_reused_in_the_callback,
     0},
    {"contract_07_forget_lets_go", contract_07_forget_lets_go, 0},
    {"contract_07_forgotten_numbers_start_afresh", contract_07_forgotten_numbers_start_afresh, 0},
    {"contract_07_a_dup_is_another_descriptor", contract_07_a_dup_is_another_descriptor, 0},
    {NULL, NULL, 0}};
