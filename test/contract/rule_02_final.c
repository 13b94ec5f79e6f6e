/* Rule 2: exactly one final completion for each submitted operation, whatever happens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t work_seven(void *arg) {
    (void)arg;
    return 7;
}

/* Every kind that succeeds, then a few turns in which a second completion would show. */
static void contract_02_success_completes_once(void **state) {
    (void)state;
    enum {
        NOP,
        TIMER,
        WORK,
        POST,
        ACCEPT,
        CONNECT,
        STAT,
        OPEN,
        READ,
        WRITE,
        SYNC,
        TRUNCATE,
        COUNT
    };
    struct probe p[COUNT] = {{.calls = 0}};
    ferry_addr addr;
    ferry_file file;
    char buf[10], out[4] = {'a', 'b', 'c', 'd'};
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr), data = temp_file("data", 100, 1), client;
    char *path = temp_path("data");
    assert_int_equal(ferry_socket(loop, &client, FERRY_INET, FERRY_STREAM), 0);

    ferry_nop(loop, &p[NOP].op, 0, probe_done);
    ferry_timer(loop, &p[TIMER].op, 1, 0, 0, probe_done);
    ferry_work(loop, &p[WORK].op, work_seven, NULL, 0, probe_done);
    assert_int_equal(ferry_post(loop, &p[POST].op, probe_done), 0);
    ferry_accept(loop, &p[ACCEPT].op, listener, NULL, 0, probe_done);
    ferry_connect(loop, &p[CONNECT].op, client, &addr, 0, probe_done);
    ferry_stat(loop, &p[STAT].op, path, &file, 0, probe_done);
    ferry_open(loop, &p[OPEN].op, path, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_read(loop, &p[READ].op, data, buf, sizeof buf, 90, 0, probe_done);
    ferry_write(loop, &p[WRITE].op, data, out, sizeof out, 10, 0, probe_done);
    probe_wait_all(loop, p, COUNT - 2);
    ferry_sync(loop, &p[SYNC].op, data, FERRY_DATA, probe_done);
    ferry_truncate(loop, &p[TRUNCATE].op, data, 50, 0, probe_done);
    probe_wait_all(loop, p, COUNT);
    run_for(loop, 5 * MS);

    static const int64_t expected[COUNT] = {[WORK] = 7, [READ] = 10, [WRITE] = 4};
    for (int i = 0; i < COUNT; i++) {
        if (i != ACCEPT && i != OPEN) probe_check(&p[i], expected[i]);
        assert_int_equal(p[i].calls, 1);
    }
    assert_true(p[ACCEPT].result >= 0);
    assert_true(p[OPEN].result >= 0);
    assert_int_equal(loop_stats(loop).in_flight, 0);
    test_close(loop);
    ferry_fd mine[] = {listener, data, client, (int)p[ACCEPT].result, (int)p[OPEN].result};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) close(mine[i]);
}

/* Data, a cancel, a deadline and a close all come at once. Whatever wins, there is one completion.
 */
static void contract_02_everything_at_once_completes_once(void **state) {
    (void)state;
    enum { ROUNDS = 100 };
    char buf[8];
    ferry_loop *loop = test_loop();
    for (int round = 0; round < ROUNDS; round++) {
        struct probe p = {.calls = 0}, closed = {.calls = 0};
        ferry_fd fds[2];
        unix_pair(fds, SOCK_STREAM);
        p.op.deadline_ns = 1 * MS;
        ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, 0, probe_done);
        if (round & 1) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        if (round & 2) sleep_ns(1 * MS);
        plain_send(fds[1], "x", 1);
        ferry_cancel(loop, &p.op);
        ferry_close(loop, &closed.op, fds[0], 0, probe_done);
        ferry_cancel_fd(loop, fds[0]);
        run_done(loop);
        assert_int_equal(p.calls, 1);
        assert_int_equal(p.finals, 1);
        assert_true(p.result == 1 || p.result == FERRY_ECANCELED || p.result == FERRY_ETIMEDOUT);
        probe_check(&closed, 0);
        close(fds[1]);
    }
    ferry_stats stats = loop_stats(loop);
    assert_int_equal(stats.submitted, stats.completed);
    test_close(loop);
}

/* A cancel races with data, again and again: one completion each, and no byte is lost. */
static void contract_02_cancel_against_data(void **state) {
    (void)state;
    enum { ROUNDS = 1000 };
    ferry_fd fds[2];
    int cancelled = 0;
    uint64_t sent = 0, received = 0;
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int round = 0; round < ROUNDS; round++) {
        struct probe p = {.calls = 0};
        char buf[16], out[4];
        ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, 0, probe_done);
        if (round % 3) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        if (round % 2) {
            fill(out, sizeof out, sent);
            plain_send(fds[1], out, sizeof out);
            sent += sizeof out;
        }
        ferry_cancel(loop, &p.op);
        run_done(loop);
        assert_int_equal(p.calls, 1);
        if (p.result == FERRY_ECANCELED) {
            cancelled++;
            assert_int_equal(p.transferred, 0);
        } else {
            assert_true(p.result > 0);
            assert_true(is_filled(buf, (size_t)p.result, received));
            received += (uint64_t)p.result;
        }
    }
    assert_true(cancelled >= ROUNDS / 3);
    while (received < sent) {
        struct probe p = {.calls = 0};
        char buf[512];
        ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, 0, probe_done);
        probe_wait(loop, &p);
        assert_true(p.result > 0);
        assert_true(is_filled(buf, (size_t)p.result, received));
        received += (uint64_t)p.result;
    }
    assert_int_equal(received, sent);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static void contract_02_repeating_timer_ends_once(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_timer(loop, &p.op, 1 * MS, 1 * MS, 0, probe_done);
    while (p.calls < 5) {
        assert_int_equal(ferry_run(loop, FERRY_RUN_ONCE), 1);
        if (p.calls) {
            assert_int_equal(p.flags, FERRY_MORE);
            assert_true(p.result >= 1);
        }
    }
    assert_int_equal(p.finals, 0);
    ferry_cancel(loop, &p.op);
    run_done(loop);
    assert_int_equal(p.finals, 1);
    assert_int_equal(p.result, FERRY_ECANCELED);
    assert_int_equal(p.flags, 0);
    int calls = p.calls;
    run_for(loop, 5 * MS);
    assert_int_equal(p.calls, calls);
    test_close(loop);
}

static void contract_02_drain_completes_each_once(void **state) {
    (void)state;
    enum { COUNT = 300 };
    struct probe *p = calloc(COUNT, sizeof *p);
    static char buf[COUNT];
    ferry_fd fds[2];
    assert_non_null(p);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        p[i].op.deadline_ns = i % 2 ? SECOND : 0;
        if (i % 3 == 0) ferry_timer(loop, &p[i].op, 60 * SECOND, i % 2 ? MS : 0, 0, probe_done);
        if (i % 3 == 1) ferry_recv(loop, &p[i].op, fds[0], &buf[i], 1, 0, probe_done);
        if (i % 3 == 2) ferry_nop(loop, &p[i].op, 0, probe_done);
    }
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].calls, 1);
        assert_int_equal(p[i].finals, 1);
        assert_true(p[i].result == FERRY_ECANCELED || (i % 3 == 2 && p[i].result == 0));
    }
    assert_int_equal(loop_stats(loop).in_flight, 0);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(p);
}

/* All of them become ready at once, thirty times as many as the completion queue holds. */
static void contract_02_two_thousand_receives_on_a_small_completion_queue(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static ferry_fd fds[COUNT][2];
    static char bufs[COUNT];
    struct probe *p = calloc(COUNT, sizeof *p);
    ferry_config config;
    assert_non_null(p);
    if (set_fd_limit(COUNT * 2 + 200) < 0) test_skip("the hard limit RLIMIT_NOFILE is below 4,200");
    memset(&config, 0, sizeof config);
    config.completion_entries = 64;
    config.submission_entries = 32;
    ferry_loop *loop = test_loop_with(&config);
    for (int i = 0; i < COUNT; i++) {
        unix_pair(fds[i], SOCK_STREAM);
        ferry_recv(loop, &p[i].op, fds[i][0], &bufs[i], 1, 0, probe_done);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    for (int i = 0; i < COUNT; i++) {
        char byte = (char)i;
        assert_int_equal(p[i].calls, 0);
        plain_send(fds[i][1], &byte, 1);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], 1);
        assert_int_equal(bufs[i], (char)i);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    test_close(loop);
    free(p);
}

/* The counters agree with what was called back, at every moment. */
static void contract_02_counters_balance(void **state) {
    (void)state;
    enum { COUNT = 50 };
    struct probe p[COUNT] = {{.calls = 0}};
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        ferry_timer(loop, &p[i].op, (uint64_t)i * MS / 5, 0, 0, probe_done);
    }
    for (int more = 1; more > 0;) {
        uint64_t called = 0;
        more = ferry_run(loop, FERRY_RUN_ONCE);
        assert_true(more >= 0);
        for (int i = 0; i < COUNT; i++) called += (uint64_t)p[i].finals;
        ferry_stats stats = loop_stats(loop);
        assert_int_equal(stats.submitted, COUNT);
        assert_int_equal(stats.completed, called);
        assert_int_equal(stats.in_flight, COUNT - called);
    }
    assert_int_equal(loop_stats(loop).completed, COUNT);
    test_close(loop);
}

/* An older program's struct is shorter: what lies behind it stays as it was. */
static void contract_02_counters_can_grow(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    union {
        ferry_stats stats;
        unsigned char bytes[sizeof(ferry_stats) + 64];
    } room;
    ferry_loop *loop = test_loop();
    ferry_nop(loop, &p.op, 0, probe_done);
    run_done(loop);
    memset(&room, 0x5a, sizeof room);
    ferry_loop_stats(loop, &room.stats, offsetof(ferry_stats, in_flight));
    assert_int_equal(room.stats.submitted, 1);
    assert_int_equal(room.stats.completed, 1);
    for (size_t i = offsetof(ferry_stats, in_flight); i < sizeof room; i++) {
        assert_int_equal(room.bytes[i], 0x5a);
    }
    /* A newer program's is longer: what the library does not know is 0. */
    memset(&room, 0x5a, sizeof room);
    ferry_loop_stats(loop, &room.stats, sizeof room);
    assert_int_equal(room.stats.completed, 1);
    for (size_t i = sizeof(ferry_stats); i < sizeof room; i++) assert_int_equal(room.bytes[i], 0);
    test_close(loop);
}

/* Nobody wants to know, yet they take place and are counted. */
static void contract_02_without_a_callback(void **state) {
    (void)state;
    ferry_op nop, recv_op, bad;
    char buf[4] = "";
    ferry_fd fds[2];
    memset(&nop, 0, sizeof nop);
    memset(&recv_op, 0, sizeof recv_op);
    memset(&bad, 0, sizeof bad);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    nop.result = -1;
    ferry_nop(loop, &nop, 0, NULL);
    ferry_recv(loop, &recv_op, fds[0], buf, sizeof buf, 0, NULL);
    ferry_recv(loop, &bad, FERRY_FD_NONE, buf, sizeof buf, 0, NULL);
    plain_send(fds[1], "ab", 2);
    run_done(loop);
    assert_int_equal(nop.result, 0);
    assert_int_equal(recv_op.result, 2);
    assert_int_equal(bad.result, FERRY_EBADF);
    assert_memory_equal(buf, "ab", 2);
    assert_int_equal(loop_stats(loop).completed, 3);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

const struct contract_test rule_02_tests[] = {
    {"contract_02_success_completes_once", contract_02_success_completes_once, 0},
    {"contract_02_everything_at_once_completes_once", contract_02_everything_at_once_completes_once,
     0},
    {"contract_02_cancel_against_data", contract_02_cancel_against_data, 0},
    {"contract_02_repeating_timer_ends_once", contract_02_repeating_timer_ends_once, 0},
    {"contract_02_drain_completes_each_once", contract_02_drain_completes_each_once, 0},
    {"contract_02_two_thousand_receives_on_a_small_completion_queue",
     contract_02_two_thousand_receives_on_a_small_completion_queue, 0},
    {"contract_02_counters_balance", contract_02_counters_balance, 0},
    {"contract_02_counters_can_grow", contract_02_counters_can_grow, 0},
    {"contract_02_without_a_callback", contract_02_without_a_callback, 0},
    {NULL, NULL, 0}};
