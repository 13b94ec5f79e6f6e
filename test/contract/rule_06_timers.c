/* Rule 6, continued: timers. Never early, in order, one-shot and repeating.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

static void contract_06_timers_are_never_early(void **state) {
    (void)state;
    enum { COUNT = 400 };
    struct probe p[COUNT] = {{.calls = 0}};
    uint64_t spans[COUNT], submitted_ns[COUNT];
    ferry_loop *loop = test_loop();
    srand(1);
    for (int i = 0; i < COUNT; i++) {
        spans[i] = (uint64_t)(rand() % 30000) * 1000 + (uint64_t)(rand() % 1000);
        submitted_ns[i] = clock_ns();
        ferry_timer(loop, &p[i].op, spans[i], 0, 0, probe_done);
        if (i % 50 == 49) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], 0);
        if (p[i].called_ns - submitted_ns[i] < spans[i]) {
            fail_msg("a timer of %llu ns ended after %llu ns", (unsigned long long)spans[i],
                     (unsigned long long)(p[i].called_ns - submitted_ns[i]));
        }
    }
    test_close(loop);
}

static int by_order(const void *a, const void *b) {
    const struct probe *first = *(const struct probe *const *)a;
    const struct probe *second = *(const struct probe *const *)b;
    return first->order - second->order;
}

/* Absolute times, so that the order that is right does not depend on when they were submitted. */
static void contract_06_timers_come_in_order(void **state) {
    (void)state;
    enum { COUNT = 500 };
    static struct probe p[COUNT];
    static const struct probe *sorted[COUNT];
    static uint64_t due_ns[COUNT];
    ferry_loop *loop = test_loop();
    uint64_t base_ns = clock_ns() + 5 * MS;
    srand(2);
    for (int i = 0; i < COUNT; i++) {
        uint64_t first_ns = base_ns + (uint64_t)(rand() % 20) * 100000 + (uint64_t)(rand() % 50);
        due_ns[i] = first_ns;
        sorted[i] = &p[i];
        ferry_timer(loop, &p[i].op, first_ns, 0, FERRY_ABSOLUTE, probe_done);
    }
    sleep_ns(10 * MS); /* All of them are due in one turn. */
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], 0);
        assert_true(p[i].called_ns >= due_ns[i]);
    }
    qsort(sorted, COUNT, sizeof sorted[0], by_order);
    for (int i = 1; i < COUNT; i++) {
        assert_true(due_ns[sorted[i - 1] - p] <= due_ns[sorted[i] - p]);
    }
    test_close(loop);
}

/* From a microsecond to centuries, all in flight together. Only the near ones come. */
static void contract_06_timers_of_all_spans(void **state) {
    (void)state;
    enum { COUNT = 64 };
    struct probe p[COUNT] = {{.calls = 0}};
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        ferry_timer(loop, &p[i].op, UINT64_C(1) << i, 0, 0, probe_done);
    }
    /* 2^24 ns are 17 ms; 2^35 ns are more than half a minute. */
    probe_wait_all(loop, p, 25);
    for (int i = 0; i <= 24; i++) {
        probe_check(&p[i], 0);
        if (i > 0) assert_true(p[i].order > p[i - 1].order);
    }
    for (int i = 36; i < COUNT; i++) assert_int_equal(p[i].calls, 0);
    for (int i = 0; i < COUNT; i++) ferry_cancel(loop, &p[i].op);
    run_done(loop);
    for (int i = 36; i < COUNT; i++) probe_check(&p[i], FERRY_ECANCELED);
    test_close(loop);
}

static void contract_06_never_and_at_once(void **state) {
    (void)state;
    struct probe never = {.calls = 0}, at_once = {.calls = 0}, past = {.calls = 0};
    struct probe absolute_never = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_timer(loop, &never.op, UINT64_MAX, 0, 0, probe_done);
    ferry_timer(loop, &absolute_never.op, UINT64_MAX, 5, FERRY_ABSOLUTE, probe_done);
    ferry_timer(loop, &at_once.op, 0, 0, 0, probe_done);
    ferry_timer(loop, &past.op, 1, 0, FERRY_ABSOLUTE, probe_done);
    probe_wait(loop, &at_once);
    probe_wait(loop, &past);
    probe_check(&at_once, 0);
    probe_check(&past, 0);
    run_for(loop, 10 * MS);
    assert_int_equal(never.calls + absolute_never.calls, 0);
    ferry_cancel(loop, &never.op);
    ferry_cancel(loop, &absolute_never.op);
    run_done(loop);
    probe_check(&never, FERRY_ECANCELED);
    probe_check(&absolute_never, FERRY_ECANCELED);
    test_close(loop);
}

/* ---- Repeating
 * ----------------------------------------------------------------------------------- */

static struct {
    ferry_op op;
    uint64_t start_ns, first_ns, every_ns, intervals, late_ns;
    int calls, early, empty, ended;
} beat;

static void beat_done(ferry_op *op) {
    if (!(op->flags & FERRY_MORE)) {
        beat.ended++;
        if (op->result != FERRY_ECANCELED) beat.early++;
        return;
    }
    beat.calls++;
    if (op->result < 1) beat.empty++;
    beat.intervals += (uint64_t)op->result;
    uint64_t passed = clock_ns() - beat.start_ns;
    if (passed < beat.first_ns + (beat.intervals - 1) * beat.every_ns) beat.early++;
    if (beat.late_ns && beat.calls == 2) sleep_ns(beat.late_ns);
    if (beat.calls == 10) ferry_cancel(op->user, op);
}

static void beat_run(uint64_t first_ns, uint64_t every_ns, uint64_t late_ns) {
    memset(&beat, 0, sizeof beat);
    beat.first_ns = first_ns;
    beat.every_ns = every_ns;
    beat.late_ns = late_ns;
    ferry_loop *loop = test_loop();
    beat.op.user = loop;
    beat.start_ns = clock_ns();
    ferry_timer(loop, &beat.op, first_ns, every_ns, 0, beat_done);
    run_done(loop);
    test_close(loop);
    assert_int_equal(beat.early, 0);
    assert_int_equal(beat.empty, 0);
    assert_int_equal(beat.ended, 1);
    assert_int_equal(beat.calls, 10);
}

/* The expiries lie every_ns apart from each other, not from their callbacks: counted together, the
 * intervals never run ahead of the clock. */
static void contract_06_repeating(void **state) {
    (void)state;
    beat_run(7 * MS, 2 * MS, 0);
    beat_run(0, 3 * MS, 0);
    beat_run(1, 1000, 0); /* faster than anybody can call */
}

/* A loop that was late by at least 15 intervals is told so, in one completion. */
static void contract_06_repeating_counts_what_it_missed(void **state) {
    (void)state;
    beat_run(2 * MS, 2 * MS, 32 * MS);
    assert_true(beat.intervals >= 8 + 15);
}

static void contract_06_deadline_of_a_timer(void **state) {
    (void)state;
    struct probe p = {.calls = 0}, early = {.calls = 0};
    ferry_loop *loop = test_loop();
    uint64_t start_ns = clock_ns();
    p.op.deadline_ns = 10 * MS;
    early.op.deadline_ns = 60 * SECOND;
    ferry_timer(loop, &p.op, 60 * SECOND, 0, 0, probe_done);
    ferry_timer(loop, &early.op, 5 * MS, 0, 0, probe_done);
    run_done(loop);
    probe_check(&p, FERRY_ETIMEDOUT);
    assert_true(p.called_ns - start_ns >= 10 * MS);
    probe_check(&early, 0);
    test_close(loop);
}

/* On what completes more than once the deadline is the longest gap between two completions: the
 * first of these repeats within it, for longer than it in all; the other's second expiry lies
 * beyond. */
static void contract_06_deadline_of_a_repeating_timer(void **state) {
    (void)state;
    struct probe often = {.calls = 0}, seldom = {.calls = 0};
    ferry_loop *loop = test_loop();
    uint64_t start_ns = clock_ns();
    often.op.deadline_ns = 400 * MS;
    seldom.op.deadline_ns = 50 * MS;
    ferry_timer(loop, &often.op, 5 * MS, 5 * MS, 0, probe_done);
    ferry_timer(loop, &seldom.op, 20 * MS, 60 * SECOND, 0, probe_done);
    probe_wait(loop, &seldom);
    assert_int_equal(seldom.calls, 2);
    assert_int_equal(seldom.result, FERRY_ETIMEDOUT);
    assert_true(seldom.called_ns - start_ns >= 70 * MS);
    while (clock_ns() - start_ns < 600 * MS) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(often.finals, 0);
    ferry_cancel(loop, &often.op);
    run_done(loop);
    assert_int_equal(often.result, FERRY_ECANCELED);
    test_close(loop);
}

static void contract_06_a_hundred_thousand_timers(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    struct probe *p = calloc(COUNT, sizeof *p);
    assert_non_null(p);
    ferry_loop *loop = test_loop();
    srand(3);
    for (int i = 0; i < COUNT; i++) {
        uint64_t first_ns = i % 10 ? 30 * SECOND + (uint64_t)rand() * 1000 : (uint64_t)rand() % MS;
        ferry_timer(loop, &p[i].op, first_ns, 0, 0, probe_done);
    }
    for (int i = 0; i < COUNT; i += 10) probe_wait(loop, &p[i]);
    for (int i = 0; i < COUNT; i++) {
        if (i % 10 == 0) continue;
        assert_int_equal(p[i].calls, 0);
        ferry_cancel(loop, &p[i].op);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], i % 10 ? FERRY_ECANCELED : 0);
    test_close(loop);
    free(p);
}

/* One clock, monotonic, the system's, read once per turn. */
static uint64_t now_first, now_second, now_clock;

static void now_done(ferry_op *op) {
    now_first = ferry_now(op->user);
    sleep_ns(2 * MS);
    now_second = ferry_now(op->user);
    now_clock = clock_ns();
}

static void contract_06_the_loops_clock(void **state) {
    (void)state;
    ferry_op op;
    memset(&op, 0, sizeof op);
    ferry_loop *loop = test_loop();
    op.user = loop;
    uint64_t before = clock_ns(), last = 0;
    for (int i = 0; i < 20; i++) {
        ferry_nop(loop, &op, 0, now_done);
        run_done(loop);
        assert_int_equal(now_first, now_second);
        assert_true(now_first >= before && now_first >= last);
        assert_true(now_first + 2 * MS <= now_clock);
        last = now_first;
    }
    test_close(loop);
}

const struct contract_test rule_06_timer_tests[] = {
    {"contract_06_timers_are_never_early", contract_06_timers_are_never_early, 0},
    {"contract_06_timers_come_in_order", contract_06_timers_come_in_order, 0},
    {"contract_06_timers_of_all_spans", contract_06_timers_of_all_spans, 0},
    {"contract_06_never_and_at_once", contract_06_never_and_at_once, 0},
    {"contract_06_repeating", contract_06_repeating, 0},
    {"contract_06_repeating_counts_what_it_missed", contract_06_repeating_counts_what_it_missed, 0},
    {"contract_06_deadline_of_a_timer", contract_06_deadline_of_a_timer, 0},
    {"contract_06_deadline_of_a_repeating_timer", contract_06_deadline_of_a_repeating_timer, 0},
    {"contract_06_a_hundred_thousand_timers", contract_06_a_hundred_thousand_timers, 0},
    {"contract_06_the_loops_clock", contract_06_the_loops_clock, 0},
    {NULL, NULL, 0}};
