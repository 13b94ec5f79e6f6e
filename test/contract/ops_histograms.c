/* ops_histograms.c - how long operations and callbacks take, as the histograms tell
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATENCY FERRY_MEASURE_LATENCY
#define CALLBACKS FERRY_MEASURE_CALLBACKS

static ferry_histogram read_of(const ferry_loop *loop, unsigned what, unsigned code) {
    ferry_histogram h;
    memset(&h, 0xff, sizeof h);
    assert_int_equal(ferry_histogram_read(loop, what, code, &h, sizeof h), 0);
    return h;
}

static uint64_t count_of(const ferry_loop *loop, unsigned what, unsigned code) {
    return read_of(loop, what, code).count;
}

/* What must hold of any histogram. */
static void check(const ferry_loop *loop, unsigned what, unsigned code) {
    static ferry_bucket buckets[1000];
    ferry_histogram h = read_of(loop, what, code);
    size_t used = ferry_histogram_buckets(loop, what, code, buckets, 1000);
    uint64_t total = 0;
    assert_true(used <= 976);
    for (size_t i = 0; i < used; i++) {
        assert_true(buckets[i].count > 0);
        assert_true(buckets[i].from_ns <= buckets[i].to_ns);
        assert_true(buckets[i].to_ns - buckets[i].from_ns <= buckets[i].from_ns / 16);
        if (i > 0) assert_true(buckets[i - 1].to_ns < buckets[i].from_ns);
        total += buckets[i].count;
    }
    assert_int_equal(total, h.count);
    if (h.count == 0) {
        assert_int_equal(h.sum_ns + h.min_ns + h.max_ns + h.mean_ns, 0);
        return;
    }
    assert_true(h.min_ns >= buckets[0].from_ns && h.min_ns <= buckets[0].to_ns);
    assert_true(h.max_ns >= buckets[used - 1].from_ns && h.max_ns <= buckets[used - 1].to_ns);
    assert_true(h.min_ns <= h.mean_ns && h.mean_ns <= h.max_ns);
    assert_int_equal(h.mean_ns, h.sum_ns / h.count);
    assert_int_equal(ferry_histogram_percentile(loop, what, code, 0), h.min_ns);
    assert_int_equal(ferry_histogram_percentile(loop, what, code, 100), h.max_ns);
    uint64_t before = h.min_ns;
    for (double percent = 0; percent <= 100; percent += 12.5) {
        uint64_t value = ferry_histogram_percentile(loop, what, code, percent);
        assert_true(value >= before && value <= h.max_ns);
        before = value;
    }
}

static void ops_histograms_are_off_at_first(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_nop(loop, &p.op, 0, probe_done);
    run_done(loop);
    check(loop, LATENCY, FERRY_OP_NOP);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 0);
    assert_int_equal(count_of(loop, CALLBACKS, FERRY_OP_NONE), 0);
    assert_int_equal(ferry_histogram_percentile(loop, LATENCY, FERRY_OP_NOP, 50), 0);
    assert_int_equal(ferry_histogram_reset(loop, LATENCY, FERRY_OP_NONE), 0);
    assert_int_equal(loop_stats(loop).callback_longest_ns, 0);
    finish(loop);
}

static void ops_histograms_refuse(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_histogram h;
    assert_int_equal(ferry_loop_measure(loop, 4), FERRY_EINVAL);
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0);
    assert_int_equal(ferry_histogram_read(loop, LATENCY, FERRY_OP_COUNT, &h, sizeof h),
                     FERRY_EINVAL);
    assert_int_equal(ferry_histogram_read(loop, 0, FERRY_OP_NOP, &h, sizeof h), FERRY_EINVAL);
    assert_int_equal(ferry_histogram_read(loop, LATENCY | CALLBACKS, FERRY_OP_NOP, &h, sizeof h),
                     FERRY_EINVAL);
    assert_int_equal(ferry_histogram_read(loop, LATENCY, FERRY_OP_NOP, NULL, sizeof h),
                     FERRY_EFAULT);
    assert_int_equal(ferry_histogram_reset(loop, 3, FERRY_OP_NOP), FERRY_EINVAL);
    assert_int_equal(ferry_histogram_reset(loop, LATENCY, 10000), FERRY_EINVAL);
    assert_int_equal(ferry_histogram_buckets(loop, LATENCY, 10000, NULL, 0), 0);
    assert_int_equal(ferry_histogram_percentile(loop, 7, FERRY_OP_NOP, 50), 0);
    finish(loop);
}

/* Spans that are known from below: a timer's. */
static void ops_histograms_latency(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[10] = {{.calls = 0}}, nop = {.calls = 0};
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0);
    uint64_t start_ns = clock_ns();
    for (unsigned i = 0; i < 10; i++) {
        ferry_timer(loop, &p[i].op, (i + 1) * 20 * MS, 0, 0, probe_done);
    }
    ferry_nop(loop, &nop.op, 0, probe_done);
    run_done(loop);
    uint64_t took_ns = clock_ns() - start_ns;
    check(loop, LATENCY, FERRY_OP_TIMER);
    check(loop, LATENCY, FERRY_OP_NOP);
    check(loop, LATENCY, FERRY_OP_NONE);
    ferry_histogram h = read_of(loop, LATENCY, FERRY_OP_TIMER);
    assert_int_equal(h.count, 10);
    assert_true(h.min_ns >= 20 * MS && h.max_ns >= 200 * MS && h.max_ns <= took_ns);
    assert_true(h.mean_ns >= 110 * MS);
    assert_true(ferry_histogram_percentile(loop, LATENCY, FERRY_OP_TIMER, 50) >= 100 * MS);
    assert_true(ferry_histogram_percentile(loop, LATENCY, FERRY_OP_TIMER, 90) >= 180 * MS);
    assert_int_equal(ferry_histogram_percentile(loop, LATENCY, FERRY_OP_TIMER, -1), h.min_ns);
    assert_int_equal(ferry_histogram_percentile(loop, LATENCY, FERRY_OP_TIMER, (double)NAN),
                     h.min_ns);
    assert_int_equal(ferry_histogram_percentile(loop, LATENCY, FERRY_OP_TIMER, 1e9), h.max_ns);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NOP), 1);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 11);
    assert_int_equal(count_of(loop, CALLBACKS, FERRY_OP_NONE), 0);
    assert_int_equal(ferry_histogram_reset(loop, LATENCY, FERRY_OP_TIMER), 0);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 1);
    assert_int_equal(ferry_histogram_reset(loop, LATENCY, FERRY_OP_NONE), 0);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 0);
    finish(loop);
}

/* Every completion of an echo counts, on the short ways in and out and on the others. */
static void ops_histograms_count_every_completion(void **state) {
    (void)state;
    enum { ROUNDS = 500 };
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char out[16] = "0123456789abcde", in[16];
    tcp_pair(loop, fds);
    assert_int_equal(ferry_loop_measure(loop, LATENCY | CALLBACKS), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct probe sends = {.calls = 0}, receives = {.calls = 0};
        unsigned flags = i % 2 ? FERRY_ALL : 0; /* not ordinary */
        ferry_recv(loop, &receives.op, fds[1], in, 16, flags, probe_done);
        ferry_send(loop, &sends.op, fds[0], out, 16, 0, probe_done);
        probe_wait(loop, &sends);
        probe_wait(loop, &receives);
        probe_check(&sends, 16);
        assert_true(receives.result > 0);
    }
    static const unsigned codes[] = {FERRY_OP_RECV, FERRY_OP_SEND};
    for (unsigned i = 0; i < 2; i++) {
        check(loop, LATENCY, codes[i]);
        check(loop, CALLBACKS, codes[i]);
        assert_int_equal(count_of(loop, LATENCY, codes[i]), ROUNDS);
        assert_int_equal(count_of(loop, CALLBACKS, codes[i]), ROUNDS);
        assert_true(read_of(loop, LATENCY, codes[i]).max_ns < 60 * SECOND);
    }
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* A receive that waited says so, on the short way and on the long one, to a callback and to those
 * who reap; with errors as well. */
static void ops_histograms_how_long_it_waited(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[16];
    ferry_completion completion;
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0);
    tcp_pair(loop, fds);
    for (unsigned i = 0; i < 4; i++) {
        struct probe p = {.calls = 0};
        assert_int_equal(ferry_histogram_reset(loop, LATENCY, FERRY_OP_RECV), 0);
        ferry_recv(loop, &p.op, fds[1], in, 16, i == 1 ? FERRY_ALL : 0,
                   i == 2 ? FERRY_PULL : probe_done);
        run_for(loop, 50 * MS);
        if (i == 3) {
            ferry_cancel(loop, &p.op);
            probe_wait(loop, &p);
        } else {
            plain_send(fds[0], "0123456789abcdef", 16);
            if (i == 2) {
                assert_int_equal(ferry_reap(loop, &completion, 1, 20 * SECOND), 1);
                assert_int_equal(completion.result, 16);
            } else {
                probe_wait(loop, &p);
                probe_check(&p, 16);
            }
        }
        ferry_histogram h = read_of(loop, LATENCY, FERRY_OP_RECV);
        assert_int_equal(h.count, 1);
        assert_true(h.min_ns >= 40 * MS && h.min_ns < 60 * SECOND);
    }
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- What goes on ---------------------------------------------------------------------- */

struct guests {
    struct probe p;
    ferry_loop *loop;
    ferry_fd fds[4];
    size_t count;
};

static void on_guest(ferry_op *op) {
    struct guests *g = ferry_container(op, struct guests, p.op);
    probe_done(op);
    if (op->result >= 0) g->fds[g->count++] = (ferry_fd)op->result;
}

/* From one completion to the next. */
static void ops_histograms_of_what_goes_on(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct guests g = {.loop = loop};
    struct probe timer = {.calls = 0};
    ferry_addr addr;
    ferry_fd visitors[4];
    ferry_fd listener = tcp_listener(&addr);
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0);
    uint64_t start_ns = clock_ns();
    ferry_accept(loop, &g.p.op, listener, NULL, FERRY_MULTI, on_guest);
    for (size_t i = 0; i < 4; i++) {
        run_for(loop, 50 * MS);
        visitors[i] = plain_socket(AF_INET, SOCK_STREAM);
        plain_connect(visitors[i], &addr);
        while (g.count == i) ferry_run(loop, FERRY_RUN_ONCE);
    }
    uint64_t took_ns = clock_ns() - start_ns;
    ferry_histogram h = read_of(loop, LATENCY, FERRY_OP_ACCEPT);
    assert_int_equal(h.count, 4);
    assert_true(h.min_ns >= 40 * MS);
    assert_true(h.sum_ns <= took_ns); /* the spans lie side by side */

    assert_int_equal(ferry_histogram_reset(loop, LATENCY, FERRY_OP_NONE), 0);
    start_ns = clock_ns();
    ferry_timer(loop, &timer.op, 20 * MS, 20 * MS, 0, probe_done);
    while (timer.calls < 5) ferry_run(loop, FERRY_RUN_ONCE);
    ferry_cancel(loop, &timer.op);
    while (timer.finals == 0) ferry_run(loop, FERRY_RUN_ONCE); /* probe_wait() has a timer, too */
    took_ns = clock_ns() - start_ns;
    h = read_of(loop, LATENCY, FERRY_OP_TIMER);
    assert_int_equal(h.count, timer.calls);
    assert_true(h.max_ns >= 20 * MS && h.sum_ns >= 90 * MS && h.sum_ns <= took_ns);
    check(loop, LATENCY, FERRY_OP_TIMER);

    for (size_t i = 0; i < 4; i++) {
        close_near(loop, g.fds[i]);
        close(visitors[i]);
    }
    close_near(loop, listener);
    run_done(loop);
    assert_int_equal(g.p.result, FERRY_ECANCELED);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_ACCEPT), 1);
    finish(loop);
}

static void on_lent(ferry_op *op) {
    ferry_buffer *buffer = ferry_lent(op);
    probe_done(op);
    if (buffer != NULL) ferry_pool_put(op->user, buffer);
}

static void ops_histograms_of_pooled_receives(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_pool *pool;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    tcp_pair(loop, fds);
    assert_int_equal(ferry_pool_open(loop, &pool, 8, 64, 4, 0), 0);
    assert_int_equal(ferry_loop_measure(loop, LATENCY | CALLBACKS), 0);
    p.op.user = pool;
    uint64_t start_ns = clock_ns();
    ferry_recv_pool(loop, &p.op, fds[0], pool, FERRY_MULTI, on_lent);
    for (int i = 0; i < 5; i++) {
        run_for(loop, 40 * MS);
        plain_send(fds[1], "abcd", 4);
        while (p.calls == i) ferry_run(loop, FERRY_RUN_ONCE);
    }
    uint64_t took_ns = clock_ns() - start_ns;
    ferry_histogram h = read_of(loop, LATENCY, FERRY_OP_RECV_POOL);
    assert_int_equal(h.count, 5);
    assert_true(h.min_ns >= 30 * MS && h.sum_ns <= took_ns);
    assert_int_equal(count_of(loop, CALLBACKS, FERRY_OP_RECV_POOL), 5);
    close_near(loop, fds[0]);
    assert_int_equal(p.finals, 1);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_RECV_POOL), 6);
    assert_int_equal(ferry_pool_close(pool), 0);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- Threads --------------------------------------------------------------------------- */

static int64_t work_slow(void *arg) {
    sleep_ns(60 * MS);
    return (int64_t)(intptr_t)arg;
}

static void ops_histograms_of_work(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[3] = {{.calls = 0}};
    ferry_work(loop, &p[0].op, work_slow, (void *)(intptr_t)-7, 0, probe_done);
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0); /* after the submit: it counts */
    ferry_work(loop, &p[1].op, work_slow, (void *)INTPTR_MAX, 0, probe_done);
    ferry_work(loop, &p[2].op, work_slow, NULL, 0, probe_done);
    run_done(loop);
    probe_check(&p[0], -7);
    probe_check(&p[1], INTPTR_MAX);
    probe_check(&p[2], 0);
    for (int i = 0; i < 3; i++) assert_int_equal(p[i].transferred, 0);
    ferry_histogram h = read_of(loop, LATENCY, FERRY_OP_WORK);
    assert_int_equal(h.count, 3);
    assert_true(h.min_ns >= 50 * MS && h.max_ns < 60 * SECOND);
    finish(loop);
}

struct poster {
    ferry_loop *loop;
    struct probe p;
};

static void *post_later(void *arg) {
    struct poster *poster = arg;
    sleep_ns(300 * MS);
    assert_int_equal(ferry_post(poster->loop, &poster->p.op, probe_done), 0);
    return NULL;
}

/* The loop has slept for long when the post comes: that is no time of the post's. */
static void ops_histograms_of_posts(void **state) {
    (void)state;
    struct poster poster = {.loop = test_loop()};
    struct probe before = {.calls = 0}, kept = {.calls = 0};
    pthread_t thread;
    assert_int_equal(ferry_post(poster.loop, &before.op, probe_done), 0);
    assert_int_equal(ferry_loop_measure(poster.loop, LATENCY), 0);
    assert_int_equal(ferry_post(poster.loop, &kept.op, probe_done), 0);
    sleep_ns(50 * MS);
    run_done(poster.loop);
    ferry_histogram h = read_of(poster.loop, LATENCY, FERRY_OP_POST);
    assert_int_equal(h.count, 1); /* when the other was posted nobody looked at a clock */
    assert_true(h.min_ns >= 50 * MS && h.min_ns < 60 * SECOND);
    assert_int_equal(pthread_create(&thread, NULL, post_later, &poster), 0);
    ferry_hold(poster.loop);
    probe_wait(poster.loop, &poster.p);
    ferry_release(poster.loop);
    pthread_join(thread, NULL);
    h = read_of(poster.loop, LATENCY, FERRY_OP_POST);
    assert_int_equal(h.count, 2);
    finish(poster.loop);
}

/* A loop that does not run has an old clock; what is submitted then begins all the same. */
static void ops_histograms_between_two_runs(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct probe p[2] = {{.calls = 0}};
        sleep_ns(2 * SECOND);
        ferry_nop(loop, &p[0].op, 0, probe_done);
        ferry_nop(loop, &p[1].op, 0, probe_done);
        run_done(loop);
    }
    ferry_histogram h = read_of(loop, LATENCY, FERRY_OP_NOP);
    assert_int_equal(h.count, 4);
    assert_true(h.max_ns < 2 * SECOND);
    finish(loop);
}

/* ---- Callbacks ------------------------------------------------------------------------- */

struct slow {
    ferry_op op;
    ferry_loop *loop;
    uint64_t takes_ns;
    int measures; /* turned on or off in the callback, -1: left alone */
    int *calls;
};

static void on_slow(ferry_op *op) {
    struct slow *slow = ferry_container(op, struct slow, op);
    sleep_ns(slow->takes_ns);
    ++*slow->calls;
    if (slow->measures >= 0) {
        assert_int_equal(ferry_loop_measure(slow->loop, (unsigned)slow->measures), 0);
    }
    free(slow); /* an operation may go in its callback, also while that is measured */
}

static void slow_nop(ferry_loop *loop, uint64_t takes_ns, int measures, int *calls) {
    struct slow *slow = calloc(1, sizeof *slow);
    assert_non_null(slow);
    *slow = (struct slow){.loop = loop, .takes_ns = takes_ns, .measures = measures, .calls = calls};
    ferry_nop(loop, &slow->op, 0, on_slow);
}

static void ops_histograms_of_callbacks(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    int calls = 0;
    assert_int_equal(ferry_loop_measure(loop, LATENCY), 0);
    slow_nop(loop, 30 * MS, -1, &calls);
    run_done(loop);
    assert_int_equal(loop_stats(loop).callback_longest_ns, 0); /* not asked for */
    assert_int_equal(ferry_loop_measure(loop, CALLBACKS), 0);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 0); /* forgotten */
    for (unsigned i = 1; i <= 4; i++) slow_nop(loop, i * 20 * MS, -1, &calls);
    run_done(loop);
    ferry_histogram h = read_of(loop, CALLBACKS, FERRY_OP_NOP);
    check(loop, CALLBACKS, FERRY_OP_NOP);
    assert_int_equal(h.count, 4);
    assert_true(h.min_ns >= 20 * MS && h.max_ns >= 80 * MS && h.sum_ns >= 200 * MS);
    assert_int_equal(loop_stats(loop).callback_longest_ns, h.max_ns);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 0);
    assert_int_equal(ferry_histogram_reset(loop, CALLBACKS, FERRY_OP_NONE), 0);
    assert_int_equal(loop_stats(loop).callback_longest_ns, 0);
    assert_int_equal(calls, 5);
    finish(loop);
}

static void switch_of(ferry_op *op) {
    struct probe *p = ferry_container(op, struct probe, op);
    ferry_loop *loop = op->user;
    static unsigned what;
    probe_done(op);
    what = (what + 1) % 4;
    assert_int_equal(ferry_loop_measure(loop, what), 0);
    assert_int_equal(p->calls, 1);
}

/* On, off and on again by callbacks, in the midst of a batch of records. */
static void ops_histograms_switched_in_callbacks(void **state) {
    (void)state;
    enum { PAIRS = 40 };
    ferry_loop *loop = test_loop();
    ferry_fd fds[PAIRS][2];
    char in[PAIRS][4];
    int calls = 0;
    for (unsigned i = 0; i < PAIRS; i++) unix_pair(fds[i], SOCK_STREAM);
    for (unsigned round = 0; round < 5; round++) {
        struct probe p[PAIRS] = {{.calls = 0}};
        for (unsigned i = 0; i < PAIRS; i++) {
            p[i].op.user = loop;
            ferry_recv(loop, &p[i].op, fds[i][0], in[i], 4, 0, switch_of);
            plain_send(fds[i][1], "abcd", 4);
        }
        probe_wait_all(loop, p, PAIRS);
        for (unsigned i = 0; i < PAIRS; i++) probe_check(&p[i], 4);
        slow_nop(loop, 0, (int)round % 4, &calls);
        run_done(loop);
    }
    for (unsigned i = 0; i < PAIRS; i++) {
        close_near(loop, fds[i][0]);
        close(fds[i][1]);
    }
    assert_int_equal(ferry_loop_measure(loop, 0), 0);
    assert_int_equal(count_of(loop, LATENCY, FERRY_OP_NONE), 0);
    finish(loop);
}

const struct contract_test ops_histograms_tests[] = {
    {"ops_histograms_are_off_at_first", ops_histograms_are_off_at_first, 0},
    {"ops_histograms_refuse", ops_histograms_refuse, 0},
    {"ops_histograms_latency", ops_histograms_latency, 0},
    {"ops_histograms_count_every_completion", ops_histograms_count_every_completion, 0},
    {"ops_histograms_how_long_it_waited", ops_histograms_how_long_it_waited, 0},
    {"ops_histograms_of_what_goes_on", ops_histograms_of_what_goes_on, 0},
    {"ops_histograms_of_pooled_receives", ops_histograms_of_pooled_receives, 0},
    {"ops_histograms_of_work", ops_histograms_of_work, 0},
    {"ops_histograms_of_posts", ops_histograms_of_posts, 0},
    {"ops_histograms_between_two_runs", ops_histograms_between_two_runs, 0},
    {"ops_histograms_of_callbacks", ops_histograms_of_callbacks, 0},
    {"ops_histograms_switched_in_callbacks", ops_histograms_switched_in_callbacks, 0},
    {NULL, NULL, 0}};
