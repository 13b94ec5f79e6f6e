/* Rule 6: a deadline is part of an operation. Past it the operation ends with FERRY_ETIMEDOUT, or
 * with its result if it won the race. Never early.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each kind that waits gets a deadline of its own; none may end before it. */
static void contract_06_every_waiting_kind_times_out(void **state) {
    (void)state;
    enum { RECV, RECVV, ALL, SEND, ACCEPT, PIPE, FIFO, TIMER, COUNT };
    struct probe p[COUNT] = {{.calls = 0}};
    char buf[COUNT][8];
    ferry_vec vec;
    ferry_addr addr;
    ferry_fd fds[2], more[2], pipe_fds[2];
    char *fifo = temp_path("fifo"), *big = calloc(1, 1 << 20);
    assert_non_null(big);
    vec.data = buf[RECVV];
    vec.len = 8;
    if (!TEST_WINDOWS) assert_int_equal(mkfifo(fifo, 0600), 0);
    unix_pair(fds, SOCK_STREAM);
    unix_pair(more, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr);
    assert_int_equal(ferry_pipe(loop, pipe_fds), 0);

    uint64_t start_ns = clock_ns();
    for (int i = 0; i < COUNT; i++) p[i].op.deadline_ns = (uint64_t)(20 - i) * MS + 12345;
    ferry_recv(loop, &p[RECV].op, fds[0], buf[RECV], 8, 0, probe_done);
    ferry_recvv(loop, &p[RECVV].op, fds[1], &vec, 1, 0, probe_done);
    ferry_recv(loop, &p[ALL].op, more[0], buf[ALL], 8, FERRY_ALL, probe_done);
    ferry_send(loop, &p[SEND].op, fds[0], big, 1 << 20, 0, probe_done);
    ferry_accept(loop, &p[ACCEPT].op, listener, NULL, 0, probe_done);
    ferry_read(loop, &p[PIPE].op, pipe_fds[0], buf[PIPE], 8, FERRY_CURRENT, 0, probe_done);
    if (TEST_WINDOWS) ferry_timer(loop, &p[FIFO].op, 60 * SECOND, 0, 0, probe_done);
    else ferry_open(loop, &p[FIFO].op, fifo, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_timer(loop, &p[TIMER].op, 60 * SECOND, 0, 0, probe_done);
    plain_send(more[1], "part", 4);
    /* The other end of the blocked send holds what went through: it must not receive it. */
    ferry_cancel(loop, &p[RECVV].op);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        if (i == RECVV) continue;
        probe_check(&p[i], FERRY_ETIMEDOUT);
        if (p[i].called_ns - start_ns < p[i].op.deadline_ns) {
            fail_msg("%s ended after %llu ns, before its deadline", ferry_op_name(p[i].op.code),
                     (unsigned long long)(p[i].called_ns - start_ns));
        }
    }
    assert_int_equal(p[RECV].transferred, 0);
    assert_int_equal(p[ALL].transferred, 4);
    assert_memory_equal(buf[ALL], "part", 4);
    assert_true(p[SEND].transferred < 1 << 20);
    test_close(loop);
    ferry_fd mine[] = {fds[0], fds[1], more[0], more[1], pipe_fds[0], pipe_fds[1], listener};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) close(mine[i]);
    free(big);
}

/* What is there in time wins, and the deadline that lies ahead then does no harm. */
static void contract_06_a_result_in_time_wins(void **state) {
    (void)state;
    enum { ROUNDS = 200 };
    struct probe p = {.calls = 0};
    char byte;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int round = 0; round < ROUNDS; round++) {
        memset(&p, 0, sizeof p);
        p.op.deadline_ns = 20 * SECOND;
        ferry_recv(loop, &p.op, fds[0], &byte, 1, 0, probe_done);
        if (round % 2) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        plain_send(fds[1], "x", 1);
        run_done(loop);
        probe_check(&p, 1);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* The same race with deadlines that fall at any moment: one of the two, and no byte is lost. */
static void contract_06_races_lose_nothing(void **state) {
    (void)state;
    enum { ROUNDS = 500 };
    uint64_t sent = 0, received = 0;
    char buf[64], out[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int round = 0; round < ROUNDS || received < sent; round++) {
        struct probe p = {.calls = 0};
        p.op.deadline_ns = round < ROUNDS ? (uint64_t)(round % 50) * 2000 + 1 : 10 * SECOND;
        ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, 0, probe_done);
        if (round < ROUNDS && round % 2) {
            fill(out, sizeof out, sent);
            plain_send(fds[1], out, sizeof out);
            sent += sizeof out;
        }
        run_done(loop);
        assert_int_equal(p.calls, 1);
        if (p.result == FERRY_ETIMEDOUT) {
            assert_true(round < ROUNDS);
            continue;
        }
        assert_true(p.result > 0);
        assert_true(is_filled(buf, (size_t)p.result, received));
        received += (uint64_t)p.result;
    }
    assert_int_equal(sent, received);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static void contract_06_waiting_in_a_lane_counts(void **state) {
    (void)state;
    struct probe first = {.calls = 0}, second = {.calls = 0}, third = {.calls = 0};
    char a[4], b[4], c[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    uint64_t start_ns = clock_ns();
    second.op.deadline_ns = 5 * MS;
    ferry_recv(loop, &first.op, fds[0], a, 4, FERRY_ALL, probe_done);
    ferry_recv(loop, &second.op, fds[0], b, 4, FERRY_ALL, probe_done);
    ferry_recv(loop, &third.op, fds[0], c, 4, FERRY_ALL, probe_done);
    probe_wait(loop, &second);
    probe_check(&second, FERRY_ETIMEDOUT);
    assert_true(second.called_ns - start_ns >= 5 * MS);
    assert_int_equal(first.calls + third.calls, 0);
    plain_send(fds[1], "abcdefgh", 8);
    run_done(loop);
    probe_check(&first, 4);
    probe_check(&third, 4);
    assert_memory_equal(a, "abcd", 4);
    assert_memory_equal(c, "efgh", 4);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* Relative deadlines begin when the turn flushes, on a fresh clock: time that the callback spent
 * before submitting does not count against it. */
static struct probe late_recv, late_timer;
static uint64_t late_submitted_ns;
static ferry_fd late_fd;
static char late_byte;

static void late_done(ferry_op *op) {
    ferry_loop *loop = op->user;
    sleep_ns(50 * MS);
    late_submitted_ns = clock_ns();
    late_recv.op.deadline_ns = 20 * MS;
    ferry_recv(loop, &late_recv.op, late_fd, &late_byte, 1, 0, probe_done);
    ferry_timer(loop, &late_timer.op, 20 * MS, 0, 0, probe_done);
}

static void contract_06_submitted_late_in_a_callback(void **state) {
    (void)state;
    ferry_op op;
    ferry_fd fds[2];
    memset(&op, 0, sizeof op);
    unix_pair(fds, SOCK_STREAM);
    late_fd = fds[0];
    ferry_loop *loop = test_loop();
    op.user = loop;
    ferry_nop(loop, &op, 0, late_done);
    run_done(loop);
    probe_check(&late_recv, FERRY_ETIMEDOUT);
    probe_check(&late_timer, 0);
    assert_true(late_recv.called_ns - late_submitted_ns >= 20 * MS);
    assert_true(late_timer.called_ns - late_submitted_ns >= 20 * MS);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static void contract_06_absolute(void **state) {
    (void)state;
    struct probe past = {.calls = 0}, soon = {.calls = 0}, nopped = {.calls = 0};
    char buf[4];
    ferry_fd fds[2], more[2];
    unix_pair(fds, SOCK_STREAM);
    unix_pair(more, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_true(ferry_now(loop) <= clock_ns());
    uint64_t soon_ns = clock_ns() + 20 * MS;
    past.op.deadline_ns = ferry_now(loop) - 1;
    soon.op.deadline_ns = soon_ns;
    nopped.op.deadline_ns = UINT64_MAX;
    ferry_recv(loop, &past.op, fds[0], buf, 4, FERRY_ABSOLUTE, probe_done);
    ferry_recv(loop, &soon.op, more[0], buf, 4, FERRY_ABSOLUTE, probe_done);
    ferry_nop(loop, &nopped.op, FERRY_ABSOLUTE, probe_done);
    probe_wait(loop, &past);
    probe_check(&past, FERRY_ETIMEDOUT);
    run_done(loop);
    probe_check(&soon, FERRY_ETIMEDOUT);
    assert_true(soon.called_ns >= soon_ns);
    assert_int_equal(soon.op.deadline_ns, soon_ns);
    probe_check(&nopped, 0);
    test_close(loop);
    ferry_fd mine[] = {fds[0], fds[1], more[0], more[1]};
    for (size_t i = 0; i < 4; i++) close(mine[i]);
}

static void contract_06_extremes(void **state) {
    (void)state;
    struct probe shortest = {.calls = 0}, longest = {.calls = 0}, nearly = {.calls = 0};
    char buf[3];
    ferry_fd fds[3][2];
    ferry_loop *loop = test_loop();
    for (int i = 0; i < 3; i++) unix_pair(fds[i], SOCK_STREAM);
    shortest.op.deadline_ns = 1;
    longest.op.deadline_ns = UINT64_MAX;
    nearly.op.deadline_ns = UINT64_MAX - 1;
    ferry_recv(loop, &shortest.op, fds[0][0], &buf[0], 1, 0, probe_done);
    ferry_recv(loop, &longest.op, fds[1][0], &buf[1], 1, 0, probe_done);
    ferry_recv(loop, &nearly.op, fds[2][0], &buf[2], 1, FERRY_ABSOLUTE, probe_done);
    probe_wait(loop, &shortest);
    probe_check(&shortest, FERRY_ETIMEDOUT);
    run_for(loop, 20 * MS);
    assert_int_equal(longest.calls + nearly.calls, 0);
    plain_send(fds[1][1], "x", 1);
    plain_send(fds[2][1], "x", 1);
    run_done(loop);
    probe_check(&longest, 1);
    probe_check(&nearly, 1);
    test_close(loop);
    for (int i = 0; i < 6; i++) close(fds[i / 2][i % 2]);
}

/* ferry_again() asks for the same deadline anew. */
static void contract_06_again_begins_anew(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char byte;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    p.op.deadline_ns = 5 * MS;
    uint64_t start_ns = clock_ns();
    ferry_recv(loop, &p.op, fds[0], &byte, 1, 0, probe_done);
    for (int round = 1; round <= 3; round++) {
        run_done(loop);
        assert_int_equal(p.calls, round);
        assert_int_equal(p.result, FERRY_ETIMEDOUT);
        assert_true(p.called_ns - start_ns >= 5 * MS);
        assert_int_equal(p.op.deadline_ns, 5 * MS);
        start_ns = clock_ns();
        if (round < 3) ferry_again(loop, &p.op);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* On a file the deadline is a wish: the operation has begun, and ends with its real result. */
static void contract_06_file_operations_end_once(void **state) {
    (void)state;
    enum { COUNT = 100 };
    struct probe p[COUNT] = {{.calls = 0}};
    char bytes[COUNT], expected[COUNT];
    ferry_fd fd = temp_file("data", COUNT, 2);
    fill(expected, COUNT, 2);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        p[i].op.deadline_ns = (uint64_t)i * 1000 + 1;
        ferry_read(loop, &p[i].op, fd, &bytes[i], 1, (uint64_t)i, 0, probe_done);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].calls, 1);
        if (p[i].result == FERRY_ETIMEDOUT) continue;
        assert_int_equal(p[i].result, 1);
        assert_int_equal(bytes[i], expected[i]);
    }
    test_close(loop);
    close(fd);
}

/* A thousand deadlines that never come due leave nothing behind. */
static void contract_06_unneeded_deadlines_vanish(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    struct probe *p = calloc(COUNT, sizeof *p);
    char *bytes = malloc(COUNT);
    ferry_fd fds[2];
    assert_true(p && bytes);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        p[i].op.deadline_ns = 20 * SECOND + (uint64_t)i;
        ferry_recv(loop, &p[i].op, fds[0], &bytes[i], 1, 0, probe_done);
    }
    char *out = malloc(COUNT);
    assert_non_null(out);
    fill(out, COUNT, 4);
    plain_send(fds[1], out, COUNT);
    run_done(loop); /* returns at once, not when the last deadline has passed */
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], 1);
    assert_true(is_filled(bytes, COUNT, 4));
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(p);
    free(bytes);
    free(out);
}

const struct contract_test rule_06_tests[] = {
    {"contract_06_every_waiting_kind_times_out", contract_06_every_waiting_kind_times_out, 0},
    {"contract_06_a_result_in_time_wins", contract_06_a_result_in_time_wins, 0},
    {"contract_06_races_lose_nothing", contract_06_races_lose_nothing, 0},
    {"contract_06_waiting_in_a_lane_counts", contract_06_waiting_in_a_lane_counts, 0},
    {"contract_06_submitted_late_in_a_callback", contract_06_submitted_late_in_a_callback, 0},
    {"contract_06_absolute", contract_06_absolute, 0},
    {"contract_06_extremes", contract_06_extremes, 0},
    {"contract_06_again_begins_anew", contract_06_again_begins_anew, 0},
    {"contract_06_file_operations_end_once", contract_06_file_operations_end_once, 0},
    {"contract_06_unneeded_deadlines_vanish", contract_06_unneeded_deadlines_vanish, 0},
    {NULL, NULL, 0}};
