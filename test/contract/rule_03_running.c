/* Rule 3, continued: how the loop runs, stops, starts again, and what keeps it going.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void contract_03_run_modes(void **state) {
    (void)state;
    struct probe nop = {.calls = 0}, timer = {.calls = 0};
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_ONCE), 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    assert_int_equal(ferry_run(loop, (enum ferry_run_mode)77), FERRY_EINVAL);

    ferry_timer(loop, &timer.op, 20 * MS, 0, 0, probe_done);
    uint64_t start_ns = clock_ns();
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    if (clock_ns() - start_ns < 20 * MS) assert_int_equal(timer.calls, 0);
    ferry_nop(loop, &nop.op, 0, probe_done);
    while (nop.calls == 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    /* Waits for the timer, in one turn: nothing else completes. A signal may end a turn early. */
    while (timer.calls == 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_true(clock_ns() - start_ns >= 20 * MS);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    test_close(loop);
}

/* One turn delivers what there is, not only one completion. */
static void contract_03_one_turn_delivers_what_there_is(void **state) {
    (void)state;
    struct probe p[10] = {{.calls = 0}};
    ferry_loop *loop = test_loop();
    for (int i = 0; i < 10; i++) ferry_nop(loop, &p[i].op, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_ONCE), 0);
    for (int i = 0; i < 10; i++) probe_check(&p[i], 0);
    test_close(loop);
}

/* ---- Stopping -------------------------------------------------------------------------- */

static ferry_loop *stop_loop;
static int stop_calls;

static void stop_done(ferry_op *op) {
    (void)op;
    stop_calls++;
    ferry_stop(stop_loop);
}

static void contract_03_stop_after_the_callback_that_runs(void **state) {
    (void)state;
    enum { COUNT = 10 };
    static ferry_op ops[COUNT];
    stop_loop = test_loop();
    for (int i = 0; i < COUNT; i++) ferry_nop(stop_loop, &ops[i], 0, stop_done);
    for (int i = 1; i < COUNT; i++) {
        assert_int_equal(ferry_run(stop_loop, FERRY_RUN_DONE), 1);
        assert_int_equal(stop_calls, i);
    }
    assert_int_equal(ferry_run(stop_loop, FERRY_RUN_DONE), 0); /* the last: nothing is left */
    assert_int_equal(stop_calls, COUNT);
    test_close(stop_loop);
}

static void contract_03_stop_before_running(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_nop(loop, &p.op, 0, probe_done);
    ferry_stop(loop);
    ferry_stop(loop);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 1);
    assert_int_equal(p.calls, 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0); /* both stops were that one */
    probe_check(&p, 0);
    ferry_stop(loop);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0); /* nothing is in flight */
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    test_close(loop);
}

/* Stopped and restarted with an operation in flight all the time, which loses nothing by it. */
static void contract_03_stopping_and_restarting(void **state) {
    (void)state;
    struct probe reader = {.calls = 0};
    static ferry_op nop;
    char buf[4] = "";
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    stop_loop = test_loop();
    ferry_recv(stop_loop, &reader.op, fds[0], buf, 4, FERRY_ALL, probe_done);
    stop_calls = 0;
    for (int i = 0; i < 100; i++) {
        ferry_nop(stop_loop, &nop, 0, stop_done);
        if (i == 30) plain_send(fds[1], "ab", 2);
        assert_int_equal(ferry_run(stop_loop, FERRY_RUN_DONE), 1);
        assert_int_equal(stop_calls, i + 1);
        assert_int_equal(reader.calls, 0);
    }
    plain_send(fds[1], "cd", 2);
    run_done(stop_loop);
    probe_check(&reader, 4);
    assert_memory_equal(buf, "abcd", 4);
    test_close(stop_loop);
    close(fds[0]);
    close(fds[1]);
}

static void *stop_from_elsewhere(void *arg) {
    sleep_ns(5 * MS);
    ferry_stop(arg);
    return NULL;
}

static void contract_03_stop_from_another_thread(void **state) {
    (void)state;
    struct probe timer = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_timer(loop, &timer.op, 60 * SECOND, 0, 0, probe_done);
    for (int i = 0; i < 10; i++) {
        pthread_t other;
        assert_int_equal(pthread_create(&other, NULL, stop_from_elsewhere, loop), 0);
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 1);
        assert_int_equal(timer.calls, 0);
        assert_int_equal(pthread_join(other, NULL), 0);
    }
    ferry_cancel(loop, &timer.op);
    run_done(loop);
    test_close(loop);
}

static ferry_loop *signalled_loop;

/* Windows puts the default back before it calls it. */
static void on_signal(int number) {
    if (TEST_WINDOWS) (void)signal(number, on_signal);
    ferry_stop(signalled_loop);
}

static void *signal_soon(void *arg) {
    sleep_ns(5 * MS);
    if (TEST_WINDOWS) (void)raise(SIGNAL_ONE); /* whose handlers run where it is raised */
    else pthread_kill(*(pthread_t *)arg, SIGNAL_ONE);
    return NULL;
}

static void contract_03_stop_from_a_signal_handler(void **state) {
    (void)state;
    struct probe timer = {.calls = 0};
    struct sigaction action, old;
    pthread_t self = pthread_self(), other;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    ferry_loop *loop = signalled_loop = test_loop();
    ferry_timer(loop, &timer.op, 60 * SECOND, 0, 0, probe_done);
    for (int restart = 0; restart < 2; restart++) {
        action.sa_flags = restart ? SA_RESTART : 0;
        assert_int_equal(sigaction(SIGNAL_ONE, &action, &old), 0);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(pthread_create(&other, NULL, signal_soon, &self), 0);
            assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 1);
            assert_int_equal(timer.calls, 0);
            assert_int_equal(pthread_join(other, NULL), 0);
        }
        assert_int_equal(sigaction(SIGNAL_ONE, &old, NULL), 0);
    }
    ferry_cancel(loop, &timer.op);
    run_done(loop);
    test_close(loop);
}

/* A signal whose handler does nothing ends no operation and no run. */
static void on_nothing(int number) {
    (void)number;
}

static void contract_03_signals_go_unnoticed(void **state) {
    (void)state;
    struct probe timer = {.calls = 0}, reader = {.calls = 0};
    struct sigaction action, old;
    struct itimerval often = {{0, 500}, {0, 500}}, previous;
    char buf[4];
    ferry_fd fds[2];
    memset(&action, 0, sizeof action);
    action.sa_handler = on_nothing;
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, &previous), 0);
    ferry_timer(loop, &timer.op, 30 * MS, 0, 0, probe_done);
    reader.op.deadline_ns = 20 * MS;
    ferry_recv(loop, &reader.op, fds[0], buf, sizeof buf, 0, probe_done);
    uint64_t start_ns = clock_ns();
    run_done(loop);
    assert_int_equal(setitimer(ITIMER_REAL, &previous, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    probe_check(&timer, 0);
    probe_check(&reader, FERRY_ETIMEDOUT);
    assert_true(timer.called_ns - start_ns >= 30 * MS);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* ---- What keeps the loop going
 * -------------------------------------------------------------------- */

static void contract_03_background_does_not_keep_it_going(void **state) {
    (void)state;
    struct probe back = {.calls = 0}, reader = {.calls = 0}, front = {.calls = 0};
    char buf[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_timer(loop, &back.op, 5 * MS, 5 * MS, FERRY_BACKGROUND, probe_done);
    ferry_recv(loop, &reader.op, fds[0], buf, sizeof buf, FERRY_BACKGROUND, probe_done);
    uint64_t start_ns = clock_ns();
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_true(clock_ns() - start_ns < 10 * SECOND);
    assert_int_equal(loop_stats(loop).in_flight, 2);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY); /* yet they are in flight */

    /* While something else keeps the loop going they complete like all others. */
    plain_send(fds[1], "ab", 2);
    ferry_timer(loop, &front.op, 30 * MS, 0, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    probe_check(&front, 0);
    probe_check(&reader, 2);
    assert_true(back.calls >= 1);
    assert_int_equal(back.finals, 0);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    assert_int_equal(back.finals, 1);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static ferry_loop *held_loop;

static void release_done(ferry_op *op) {
    probe_done(op);
    ferry_release(held_loop);
}

static void *post_later(void *arg) {
    sleep_ns(5 * MS);
    if (ferry_post(held_loop, arg, release_done) != 0) return arg;
    return NULL;
}

/* Holds count: the loop goes on until the last post has released the last of them. */
static void contract_03_hold_keeps_it_going(void **state) {
    (void)state;
    struct probe p[2] = {{.calls = 0}};
    pthread_t threads[2];
    held_loop = test_loop();
    ferry_hold(held_loop);
    ferry_hold(held_loop);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_later, &p[i].op), 0);
    }
    assert_int_equal(ferry_run(held_loop, FERRY_RUN_DONE), 0);
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        probe_check(&p[i], 0);
    }
    assert_int_equal(ferry_run(held_loop, FERRY_RUN_DONE), 0);
    test_close(held_loop);
}

static int helper_release_without_hold(void) {
    ferry_loop *loop = test_loop();
    ferry_hold(loop);
    ferry_release(loop);
    printf("so far so good\n");
    ferry_release(loop);
    return 0;
}

static void contract_03_release_without_hold_stops_the_program(void **state) {
    (void)state;
    static struct helper_result result;
    helper_run("release_without_hold", NULL, &result);
    assert_non_null(strstr(result.output, "so far so good"));
    assert_false(result.exited);
    assert_int_equal(result.signal, SIGABRT);
}

const struct contract_helper rule_03_helpers[] = {
    {"release_without_hold", helper_release_without_hold}, {NULL, NULL}};

const struct contract_test rule_03_running_tests[] = {
    {"contract_03_run_modes", contract_03_run_modes, 0},
    {"contract_03_one_turn_delivers_what_there_is", contract_03_one_turn_delivers_what_there_is, 0},
    {"contract_03_stop_after_the_callback_that_runs", contract_03_stop_after_the_callback_that_runs,
     0},
    {"contract_03_stop_before_running", contract_03_stop_before_running, 0},
    {"contract_03_stopping_and_restarting", contract_03_stopping_and_restarting, 0},
    {"contract_03_stop_from_another_thread", contract_03_stop_from_another_thread, 0},
    {"contract_03_stop_from_a_signal_handler", contract_03_stop_from_a_signal_handler, 0},
    {"contract_03_signals_go_unnoticed", contract_03_signals_go_unnoticed, 0},
    {"contract_03_background_does_not_keep_it_going", contract_03_background_does_not_keep_it_going,
     0},
    {"contract_03_hold_keeps_it_going", contract_03_hold_keeps_it_going, 0},
    {"contract_03_release_without_hold_stops_the_program",
     contract_03_release_without_hold_stops_the_program, 0},
    {NULL, NULL, 0}};
