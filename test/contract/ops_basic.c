/* ops_basic.c - nop, timer, work, post, submitting again, and what a loop tells about itself
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Nop
 * ----------------------------------------------------------------------------------------- */

static void ops_nop(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[100];
    memset(p, 0, sizeof p);
    for (int i = 0; i < 100; i++) ferry_nop(loop, &p[i].op, 0, probe_done);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i].calls, 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    for (int i = 0; i < 100; i++) expect_all(loop, &p[i], 0, 0, 0);
    /* Nobody wants to know. */
    ferry_op quiet = {0};
    ferry_nop(loop, &quiet, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    finish(loop);
}

/* ---- Timers
 * -------------------------------------------------------------------------------------- */

static void ops_timer_once(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const uint64_t spans[] = {0, 1, MS / 2, 3 * MS, 30 * MS};
    for (size_t i = 0; i < 5; i++) {
        struct probe p = {.calls = 0};
        uint64_t start_ns = clock_ns();
        ferry_timer(loop, &p.op, spans[i], 0, 0, probe_done);
        expect_all(loop, &p, 0, 0, 0);
        assert_true(p.called_ns - start_ns >= spans[i]);
    }
    finish(loop);
}

static void ops_timer_absolute(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe past = {.calls = 0}, soon = {.calls = 0}, never = {.calls = 0};
    uint64_t at_ns = clock_ns() + 20 * MS;
    assert_true(ferry_now(loop) <= clock_ns());
    ferry_timer(loop, &past.op, 1, 0, FERRY_ABSOLUTE, probe_done);
    ferry_timer(loop, &soon.op, at_ns, 0, FERRY_ABSOLUTE, probe_done);
    ferry_timer(loop, &never.op, UINT64_MAX, 0, FERRY_ABSOLUTE, probe_done);
    expect_all(loop, &past, 0, 0, 0);
    expect_all(loop, &soon, 0, 0, 0);
    assert_true(past.order < soon.order);
    assert_true(soon.called_ns >= at_ns);
    assert_int_equal(never.calls, 0);
    ferry_cancel(loop, &never.op);
    expect(loop, &never, FERRY_ECANCELED);
    finish(loop);
}

/* Expiries lie on the grid that the first one began, whatever the lateness of a callback. */
struct repeating {
    struct probe probe;
    ferry_loop *loop;
    uint64_t start_ns, first_ns, every_ns;
    int64_t intervals;
    int calls_max;
};

static void on_repeat(ferry_op *op) {
    struct repeating *r = ferry_container(op, struct repeating, probe.op);
    probe_done(op);
    if (!(op->flags & FERRY_MORE)) return;
    assert_true(op->result >= 1);
    r->intervals += op->result;
    uint64_t due_ns = r->first_ns + r->every_ns * (uint64_t)(r->intervals - 1);
    assert_true(r->probe.called_ns - r->start_ns >= due_ns);
    if (r->probe.calls == 2) sleep_ns(15 * MS); /* Late once: several intervals in one. */
    if (r->probe.calls == r->calls_max) ferry_cancel(r->loop, op);
}

static void ops_timer_repeats(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct repeating r = {.first_ns = 5 * MS, .every_ns = 3 * MS, .calls_max = 6};
    r.loop = loop;
    r.start_ns = clock_ns();
    ferry_timer(loop, &r.probe.op, r.first_ns, r.every_ns, 0, on_repeat);
    probe_wait(loop, &r.probe);
    assert_int_equal(r.probe.calls, 7);
    assert_int_equal(r.probe.finals, 1);
    assert_int_equal(r.probe.result, FERRY_ECANCELED);
    assert_true(r.intervals >= 6 + 3);
    finish(loop);
}

/* Several that are due in one turn come in the order of their times; equal ones as submitted. */
static void ops_timer_order(void **state) {
    (void)state;
    enum { COUNT = 40 };
    ferry_loop *loop = test_loop();
    struct probe p[COUNT];
    memset(p, 0, sizeof p);
    uint64_t base_ns = clock_ns() + 5 * MS;
    for (size_t i = 0; i < COUNT; i++) {
        /* 17 and 40 have no common divisor: every place comes up once. */
        uint64_t at_ns = base_ns + (i * 17 % COUNT) * 1000;
        ferry_timer(loop, &p[i].op, at_ns, 0, FERRY_ABSOLUTE, probe_done);
    }
    sleep_ns(20 * MS);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    int by_place[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        probe_check(&p[i], 0);
        by_place[i * 17 % COUNT] = p[i].order;
    }
    for (size_t i = 1; i < COUNT; i++) assert_true(by_place[i - 1] < by_place[i]);
    finish(loop);
}

/* Apart in time, they also come in order when the loop is in time. */
static void ops_timer_order_apart(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[4];
    const uint64_t spans[] = {24 * MS, 6 * MS, 18 * MS, 12 * MS};
    memset(p, 0, sizeof p);
    for (int i = 0; i < 4; i++) ferry_timer(loop, &p[i].op, spans[i], 0, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_true(p[1].order < p[3].order && p[3].order < p[2].order && p[2].order < p[0].order);
    finish(loop);
}

/* ---- Work
 * ---------------------------------------------------------------------------------------- */

static int64_t twice(void *arg) {
    return *(int64_t *)arg * 2;
}

static void ops_work(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    int64_t numbers[50];
    struct probe p[50];
    memset(p, 0, sizeof p);
    for (int i = 0; i < 50; i++) {
        numbers[i] = i - 25 + ((int64_t)i << 40);
        ferry_work(loop, &p[i].op, twice, &numbers[i], 0, probe_done);
    }
    for (int i = 0; i < 50; i++) {
        expect(loop, &p[i], numbers[i] * 2);
        assert_int_equal(p[i].flags, 0);
    }
    finish(loop);
}

/* More than the queue takes waits in the loop, and is counted. */
static void ops_work_beyond_the_queue(void **state) {
    (void)state;
    ferry_config config;
    ferry_stats stats;
    memset(&config, 0, sizeof config);
    config.flags = FERRY_OWN_WORKERS;
    config.worker_threads = 2;
    config.worker_queue_max = 3;
    ferry_loop *loop = test_loop_with(&config);
    static struct probe p[200];
    int64_t number = 21;
    for (int i = 0; i < 200; i++) ferry_work(loop, &p[i].op, twice, &number, 0, probe_done);
    for (int i = 0; i < 200; i++) expect(loop, &p[i], 42);
    memset(&stats, 0, sizeof stats);
    ferry_loop_stats(loop, &stats, sizeof stats);
    assert_true(stats.work_waited > 0);
    finish(loop);
}

static int64_t note_thread(void *arg) {
    *(pthread_t *)arg = pthread_self();
    return 0;
}

static void ops_work_on_another_thread(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    pthread_t thread = pthread_self();
    struct probe p = {.calls = 0};
    ferry_work(loop, &p.op, note_thread, &thread, 0, probe_done);
    expect(loop, &p, 0);
    assert_false(pthread_equal(thread, pthread_self()));
    finish(loop);
}

/* ---- Post
 * ---------------------------------------------------------------------------------------- */

struct poster {
    ferry_loop *loop;
    struct probe p[500];
};

static void *post_all(void *arg) {
    struct poster *poster = arg;
    for (int i = 0; i < 500; i++) {
        if (ferry_post(poster->loop, &poster->p[i].op, probe_done) != 0) return arg;
    }
    return NULL;
}

static void ops_post_from_a_thread(void **state) {
    (void)state;
    static struct poster poster;
    ferry_loop *loop = test_loop();
    pthread_t thread;
    void *failed = NULL;
    memset(&poster, 0, sizeof poster);
    poster.loop = loop;
    ferry_hold(loop);
    assert_int_equal(pthread_create(&thread, NULL, post_all, &poster), 0);
    for (int i = 0; i < 500; i++) {
        expect_all(loop, &poster.p[i], 0, 0, 0);
        if (i > 0) assert_true(poster.p[i - 1].order < poster.p[i].order);
    }
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    ferry_release(loop);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    finish(loop);
}

static void ops_post_from_the_loops_own_thread(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    assert_int_equal(ferry_post(loop, &p.op, probe_done), 0);
    assert_int_equal(p.calls, 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    expect_all(loop, &p, 0, 0, 0);
    finish(loop);
}

/* ---- Again, forget, background
 * -------------------------------------------------------------------- */

struct again {
    struct probe probe;
    ferry_loop *loop;
    int rounds;
    char seen[64];
    size_t len;
    char buf[4];
};

static void on_again(ferry_op *op) {
    struct again *a = ferry_container(op, struct again, probe.op);
    probe_done(op);
    assert_true(op->result > 0 && a->len + (size_t)op->result <= sizeof a->seen);
    memcpy(a->seen + a->len, a->buf, (size_t)op->result);
    a->len += (size_t)op->result;
    if (--a->rounds > 0) ferry_again(a->loop, op);
}

static void ops_again(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct again a = {.rounds = 5};
    struct probe nop = {.calls = 0};
    a.loop = loop;
    tcp_pair(loop, fds);
    ferry_recv(loop, &a.probe.op, fds[0], a.buf, 4, FERRY_ALL, on_again);
    plain_send(fds[1], "0123456789abcdefghij", 20);
    for (int i = 0; i < 2000 && a.rounds > 0; i++) run_for(loop, MS);
    assert_int_equal(a.probe.calls, 5);
    assert_int_equal(a.len, 20);
    assert_memory_equal(a.seen, "0123456789abcdefghij", 20);
    ferry_nop(loop, &nop.op, 0, probe_done);
    expect(loop, &nop, 0);
    ferry_again(loop, &nop.op);
    probe_wait(loop, &nop);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(nop.calls, 2);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void ops_forget(void **state) {
    (void)state;
    ferry_loop *loop = test_loop(), *other = test_loop();
    ferry_fd fds[2];
    char buf[4];
    struct probe p = {.calls = 0}, q = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &p.op, fds[0], buf, 4, 0, probe_done);
    assert_int_equal(ferry_forget(loop, fds[0]), FERRY_EBUSY);
    plain_send(fds[1], "one", 3);
    expect(loop, &p, 3);
    assert_int_equal(ferry_forget(loop, fds[0]), 0);
    assert_int_equal(ferry_forget(loop, fds[0]), 0); /* nothing is known of it, and it is open */
    /* Open still, and any loop's now. */
    if (omits_on_wine("Wine cannot take a handle off its port")) {
        close_far(fds[0]);
    } else {
        ferry_recv(other, &q.op, fds[0], buf, 4, 0, probe_done);
        plain_send(fds[1], "two", 3);
        expect(other, &q, 3);
        close_near(other, fds[0]);
    }
    close_far(fds[1]);
    finish(other);
    finish(loop);
}

static void ops_background_keeps_nothing_going(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[4];
    struct probe recv = {.calls = 0}, timer = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &recv.op, fds[0], buf, 4, FERRY_BACKGROUND, probe_done);
    ferry_timer(loop, &timer.op, 3600 * SECOND, 0, FERRY_BACKGROUND, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(recv.calls + timer.calls, 0);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    plain_send(fds[1], "here", 4);
    expect(loop, &recv, 4);
    ferry_cancel(loop, &timer.op);
    expect(loop, &timer, FERRY_ECANCELED);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- What a loop tells
 * ---------------------------------------------------------------------------- */

static void ops_supports_and_names(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_COUNT; code++) {
        assert_int_equal(ferry_supports(loop, code), 1);
        const char *name = ferry_op_name(code);
        assert_non_null(name);
        assert_true(strlen(name) > 1);
        for (unsigned other = FERRY_OP_NOP; other < code; other++) {
            assert_string_not_equal(name, ferry_op_name(other));
        }
    }
    assert_int_equal(ferry_supports(loop, FERRY_OP_NONE), 0);
    assert_int_equal(ferry_supports(loop, FERRY_OP_COUNT), 0);
    assert_int_equal(ferry_supports(loop, 4000000000u), 0);
    assert_string_equal(ferry_op_name(FERRY_OP_NONE), "?");
    assert_string_equal(ferry_op_name(FERRY_OP_COUNT), "?");
    assert_string_equal(ferry_op_name(4000000000u), "?");
    assert_string_equal(ferry_op_name(FERRY_OP_RECV), "recv");
    assert_string_equal(ferry_op_name(FERRY_OP_TIMER), "timer");
    finish(loop);
}

static void ops_version(void **state) {
    (void)state;
    assert_string_equal(ferry_version(), FERRY_VERSION_STRING);
    assert_int_equal(FERRY_VERSION_NUMBER, 100);
    assert_true(sizeof(ferry_op) <= TEST_OP_BYTES);
}

/* The process's own streams, by whatever numbers the system has for them. */
static void ops_standard_streams(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[3] = {0};
    assert_int_equal(ferry_standard_fd(-1), FERRY_EINVAL);
    assert_int_equal(ferry_standard_fd(3), FERRY_EINVAL);
    for (int which = 1; which <= 2; which++) {
        ferry_fd fd = ferry_standard_fd(which);
        assert_true(is_open(fd));
        ferry_write(loop, &p[which].op, fd, "standard\n", 9, FERRY_CURRENT, 0, probe_done);
        probe_wait(loop, &p[which]);
        probe_check(&p[which], 9);
    }
    test_close(loop);
}

const struct contract_test ops_basic_tests[] = {
    {"ops_standard_streams", ops_standard_streams, 0},
    {"ops_nop", ops_nop, 0},
    {"ops_timer_once", ops_timer_once, 0},
    {"ops_timer_absolute", ops_timer_absolute, 0},
    {"ops_timer_repeats", ops_timer_repeats, 0},
    {"ops_timer_order", ops_timer_order, 0},
    {"ops_timer_order_apart", ops_timer_order_apart, 0},
    {"ops_work", ops_work, 0},
    {"ops_work_beyond_the_queue", ops_work_beyond_the_queue, 0},
    {"ops_work_on_another_thread", ops_work_on_another_thread, 0},
    {"ops_post_from_a_thread", ops_post_from_a_thread, 0},
    {"ops_post_from_the_loops_own_thread", ops_post_from_the_loops_own_thread, 0},
    {"ops_again", ops_again, 0},
    {"ops_forget", ops_forget, 0},
    {"ops_background_keeps_nothing_going", ops_background_keeps_nothing_going, 0},
    {"ops_supports_and_names", ops_supports_and_names, 0},
    {"ops_version", ops_version, 0},
    {NULL, NULL, 0},
};
