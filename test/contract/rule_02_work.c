/* Rules 2, 5 and 11 for blocking work: results, cancelling until started, the threads' end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Work that stands still until the test lets it go. */
struct gate {
    atomic_int entered, open;
};

static int64_t work_gate(void *arg) {
    struct gate *gate = arg;
    atomic_fetch_add(&gate->entered, 1);
    while (!atomic_load(&gate->open)) sleep_ns(MS / 5);
    return 42;
}

static void gate_wait_entered(struct gate *gate, int count) {
    uint64_t start_ns = clock_ns();
    while (atomic_load(&gate->entered) < count) {
        sleep_ns(MS / 5);
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
    }
}

static int64_t work_square(void *arg) {
    int64_t number = (int64_t)(intptr_t)arg;
    return number * number;
}

static ferry_loop *own_workers(uint32_t threads, uint32_t queue_max) {
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.flags = FERRY_OWN_WORKERS;
    config.worker_threads = threads;
    config.worker_queue_max = queue_max;
    return test_loop_with(&config);
}

static void squares(ferry_loop *loop) {
    enum { COUNT = 2000 };
    struct probe *p = calloc(COUNT, sizeof *p);
    assert_non_null(p);
    for (int i = 0; i < COUNT; i++) {
        ferry_work(loop, &p[i].op, work_square, (void *)(intptr_t)(i - 1000), 0, probe_done);
    }
    for (int i = 0; i < COUNT; i++) assert_int_equal(p[i].calls, 0);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], (int64_t)(i - 1000) * (i - 1000));
    free(p);
}

static void contract_02_work_hands_back_what_it_returned(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    squares(loop);
    test_close(loop);
}

static void contract_02_work_on_workers_of_its_own(void **state) {
    (void)state;
    ferry_loop *loop = own_workers(3, 0);
    squares(loop);
    test_close(loop);
}

static int64_t work_fails(void *arg) {
    (void)arg;
    return FERRY_EIO;
}

static int64_t work_largest(void *arg) {
    (void)arg;
    return INT64_MAX;
}

static void contract_02_work_results_of_any_value(void **state) {
    (void)state;
    struct probe p[2] = {{.calls = 0}};
    ferry_loop *loop = test_loop();
    ferry_work(loop, &p[0].op, work_fails, NULL, 0, probe_done);
    ferry_work(loop, &p[1].op, work_largest, NULL, 0, probe_done);
    run_done(loop);
    probe_check(&p[0], FERRY_EIO);
    probe_check(&p[1], INT64_MAX);
    test_close(loop);
}

/* Work runs elsewhere, the callback on the loop's thread; and the loop goes on meanwhile. */
static pthread_t worked_on;

static int64_t work_where(void *arg) {
    worked_on = pthread_self();
    return work_gate(arg);
}

static void contract_02_work_does_not_hold_up_the_loop(void **state) {
    (void)state;
    struct gate gate = {0, 0};
    struct probe work = {.calls = 0}, timer = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_work(loop, &work.op, work_where, &gate, 0, probe_done);
    ferry_timer(loop, &timer.op, 2 * MS, 0, 0, probe_done);
    probe_wait(loop, &timer);
    assert_int_equal(work.calls, 0);
    atomic_store(&gate.open, 1);
    probe_wait(loop, &work);
    probe_check(&work, 42);
    assert_false(pthread_equal(worked_on, pthread_self()));
    test_close(loop);
}

/* Two workers stand still, the third work passes them by: work completes in any order. */
static void contract_02_work_completes_in_any_order(void **state) {
    (void)state;
    struct gate gate = {0, 0};
    struct probe slow = {.calls = 0}, quick = {.calls = 0};
    ferry_loop *loop = own_workers(2, 0);
    ferry_work(loop, &slow.op, work_gate, &gate, 0, probe_done);
    ferry_work(loop, &quick.op, work_square, (void *)(intptr_t)3, 0, probe_done);
    probe_wait(loop, &quick);
    probe_check(&quick, 9);
    assert_int_equal(slow.calls, 0);
    atomic_store(&gate.open, 1);
    run_done(loop);
    probe_check(&slow, 42);
    test_close(loop);
}

static void contract_05_work_is_cancelled_until_it_started(void **state) {
    (void)state;
    struct gate gate = {0, 0}, never = {0, 1};
    struct probe running = {.calls = 0}, waiting = {.calls = 0};
    ferry_loop *loop = own_workers(1, 0);
    ferry_work(loop, &running.op, work_gate, &gate, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    gate_wait_entered(&gate, 1);
    ferry_work(loop, &waiting.op, work_gate, &never, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    ferry_cancel(loop, &waiting.op);
    ferry_cancel(loop, &running.op);
    probe_wait(loop, &waiting);
    probe_check(&waiting, FERRY_ECANCELED);
    assert_int_equal(running.calls, 0);
    atomic_store(&gate.open, 1);
    run_done(loop);
    probe_check(&running, 42);
    assert_int_equal(atomic_load(&never.entered), 0);
    test_close(loop);
}

static void contract_06_deadline_of_work_holds_until_it_started(void **state) {
    (void)state;
    struct gate gate = {0, 0}, never = {0, 1};
    struct probe running = {.calls = 0}, waiting = {.calls = 0};
    ferry_loop *loop = own_workers(1, 0);
    running.op.deadline_ns = 50 * MS;
    ferry_work(loop, &running.op, work_gate, &gate, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    gate_wait_entered(&gate, 1);
    uint64_t start_ns = clock_ns();
    waiting.op.deadline_ns = 10 * MS;
    ferry_work(loop, &waiting.op, work_gate, &never, 0, probe_done);
    probe_wait(loop, &waiting);
    probe_check(&waiting, FERRY_ETIMEDOUT);
    assert_true(waiting.called_ns - start_ns >= 10 * MS);
    run_for(loop, 60 * MS); /* past the deadline of what runs, which keeps its real result */
    assert_int_equal(running.calls, 0);
    atomic_store(&gate.open, 1);
    run_done(loop);
    probe_check(&running, 42);
    assert_int_equal(atomic_load(&never.entered), 0);
    test_close(loop);
}

/* A full queue makes work wait in the loop, where it is counted; nothing fails. */
static void contract_01_full_worker_queue_waits_in_the_loop(void **state) {
    (void)state;
    enum { COUNT = 50, QUEUE = 4 };
    struct probe p[COUNT] = {{.calls = 0}};
    struct gate gate = {0, 0};
    ferry_loop *loop = own_workers(1, QUEUE);
    for (int i = 0; i < COUNT; i++) {
        ferry_work(loop, &p[i].op, work_gate, &gate, 0, probe_done);
    }
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(loop_stats(loop).work_waited, COUNT - QUEUE);
    /* What waits in the loop can be cancelled as well. */
    ferry_cancel(loop, &p[COUNT - 1].op);
    probe_wait(loop, &p[COUNT - 1]);
    probe_check(&p[COUNT - 1], FERRY_ECANCELED);
    atomic_store(&gate.open, 1);
    run_done(loop);
    for (int i = 0; i < COUNT - 1; i++) probe_check(&p[i], 42);
    assert_int_equal(atomic_load(&gate.entered), COUNT - 1);
    test_close(loop);
}

/* The process's workers serve all loops that have none of their own, and end with the last. */
static void contract_11_worker_threads_are_gone_after_close(void **state) {
    (void)state;
    enum { THREADS = 3 };
    struct probe p[2 * THREADS] = {{.calls = 0}};
    struct gate gate = {0, 0};
    ferry_config config;
    size_t before = count_threads();
    memset(&config, 0, sizeof config);
    config.worker_threads = THREADS;
    ferry_loop *first = test_loop_with(&config), *second = test_loop_with(&config);
    ferry_loop *own = own_workers(2, 0);
    for (int i = 0; i < THREADS; i++) {
        ferry_work(first, &p[i].op, work_gate, &gate, 0, probe_done);
        ferry_work(second, &p[THREADS + i].op, work_gate, &gate, 0, probe_done);
    }
    assert_int_equal(ferry_run(first, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(ferry_run(second, FERRY_RUN_NOWAIT), 1);
    gate_wait_entered(&gate, THREADS);
    sleep_ns(5 * MS);
    assert_int_equal(atomic_load(&gate.entered), THREADS); /* shared: no more than these at once */
    size_t adapters = count_threads() - before - THREADS;  /* some backends have a thread a loop */
    assert_true(adapters == 0 || adapters == 2);

    struct probe mine = {.calls = 0};
    ferry_work(own, &mine.op, work_square, (void *)(intptr_t)5, 0, probe_done);
    run_done(own); /* its own workers do not wait for those */
    probe_check(&mine, 25);
    test_close(own);

    atomic_store(&gate.open, 1);
    run_done(first);
    test_close(first);
    run_done(second);
    squares(second); /* the pool outlives the loop that began it */
    test_close(second);
    for (int i = 0; i < 2 * THREADS; i++) probe_check(&p[i], 42);
    uint64_t start_ns = clock_ns();
    while (count_threads() != before && clock_ns() - start_ns < 2 * SECOND) sleep_ns(MS);
    assert_int_equal(count_threads(), before);
}

static int64_t work_signals(void *arg) {
    sigset_t blocked;
    (void)arg;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    static const int asked[] = {SIGINT,  SIGTERM, SIGALRM, SIGCHLD,
                                SIGUSR1, SIGUSR2, SIGPIPE, SIGHUP};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        if (!sigismember(&blocked, asked[i])) return asked[i];
    }
    return 0;
}

static void contract_13_worker_threads_take_no_signals(void **state) {
    (void)state;
    need_signals();
    struct probe p[2] = {{.calls = 0}};
    ferry_loop *loop = test_loop(), *own = own_workers(1, 0);
    ferry_work(loop, &p[0].op, work_signals, NULL, 0, probe_done);
    ferry_work(own, &p[1].op, work_signals, NULL, 0, probe_done);
    run_done(loop);
    run_done(own);
    probe_check(&p[0], 0);
    probe_check(&p[1], 0);
    test_close(own);
    test_close(loop);
}

const struct contract_test rule_02_work_tests[] = {
    {"contract_02_work_hands_back_what_it_returned", contract_02_work_hands_back_what_it_returned,
     0},
    {"contract_02_work_on_workers_of_its_own", contract_02_work_on_workers_of_its_own, 0},
    {"contract_02_work_results_of_any_value", contract_02_work_results_of_any_value, 0},
    {"contract_02_work_does_not_hold_up_the_loop", contract_02_work_does_not_hold_up_the_loop, 0},
    {"contract_02_work_completes_in_any_order", contract_02_work_completes_in_any_order, 0},
    {"contract_05_work_is_cancelled_until_it_started",
     contract_05_work_is_cancelled_until_it_started, 0},
    {"contract_06_deadline_of_work_holds_until_it_started",
     contract_06_deadline_of_work_holds_until_it_started, 0},
    {"contract_01_full_worker_queue_waits_in_the_loop",
     contract_01_full_worker_queue_waits_in_the_loop, 0},
    {"contract_11_worker_threads_are_gone_after_close",
     contract_11_worker_threads_are_gone_after_close, 0},
    {"contract_13_worker_threads_take_no_signals", contract_13_worker_threads_take_no_signals, 0},
    {NULL, NULL, 0}};
