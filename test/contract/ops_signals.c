/* ops_signals.c - waiting for signals
 *
 * raise() is what most of these tests send: the handler has run on this very thread when it
 * returns, so that deliveries can be counted exactly.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void deliver(int number, int times) {
    for (int i = 0; i < times; i++) assert_int_equal(raise(number), 0);
}

static struct sigaction disposition(int number) {
    struct sigaction action;
    assert_int_equal(sigaction(number, NULL, &action), 0);
    return action;
}

static void (*handler_of(int number))(int) {
    return disposition(number).sa_handler;
}

static void handler_set(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    assert_int_equal(sigaction(number, &action, NULL), 0);
}

static volatile sig_atomic_t handled;

/* Windows puts the default back before it calls it. */
static void on_handled(int number) {
    if (TEST_WINDOWS) handler_set(number, on_handled);
    handled++;
}

static void on_handled_too(int number) {
    (void)number;
    handled += 100;
}

/* ---- Completions ----------------------------------------------------------------------- */

struct sum {
    struct probe probe;
    ferry_loop *loop;
    int64_t total, enough; /* cancels itself when there are enough, 0: never */
};

static void on_some(ferry_op *op) {
    struct sum *sum = ferry_container(op, struct sum, probe.op);
    probe_done(op);
    if (op->result < 0) return;
    assert_true(op->result >= 1);
    sum->total += op->result;
    if (sum->total == sum->enough) ferry_cancel(sum->loop, op);
}

static void ops_signal(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1); /* it keeps the loop going */
    assert_int_equal(p.calls, 0);
    deliver(SIGNAL_ONE, 1);
    expect_all(loop, &p, 1, 0, 0);
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    finish(loop);
}

static void ops_signal_counts(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    struct sum sum = {.loop = loop};
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    ferry_signal(loop, &sum.probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
    deliver(SIGNAL_ONE, 3); /* before the loop has run at all */
    expect_all(loop, &p, 3, 0, 0);
    assert_int_equal(sum.probe.result, 3);
    assert_int_equal(sum.probe.flags, FERRY_MORE);
    for (int i = 0; i < 1000; i++) {
        deliver(SIGNAL_ONE, 1);
        if (i % 10 == 0) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
    while (sum.total < 1003) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    run_for(loop, 5 * MS);
    assert_int_equal(sum.total, 1003);
    assert_int_equal(sum.probe.finals, 0);
    ferry_cancel(loop, &sum.probe.op);
    probe_wait(loop, &sum.probe);
    assert_int_equal(sum.probe.result, FERRY_ECANCELED);
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    finish(loop);
}

static void *send_to_process(void *arg) {
    sleep_ns(20 * MS);
    (void)arg;
    assert_int_equal(kill(getpid(), SIGNAL_ONE), 0);
    return NULL;
}

static void ops_signal_wakes_a_loop_that_sleeps(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    pthread_t thread;
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    assert_int_equal(pthread_create(&thread, NULL, send_to_process, NULL), 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    probe_check(&p, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    finish(loop);
}

static void ops_signal_of_a_child(void **state) {
    (void)state;
    differs_on_windows("no signals of POSIX on Windows");
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_signal(loop, &p.op, SIGCHLD, 0, probe_done);
    pid_t pid = test_fork();
    if (pid == 0) _exit(3);
    probe_wait(loop, &p);
    assert_true(p.result >= 1);
    int status = 0; /* it was not reaped */
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_int_equal(WEXITSTATUS(status), 3);
    finish(loop);
}

static void ops_signal_in_the_background(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct sum sum = {.loop = loop};
    ferry_signal(loop, &sum.probe.op, SIGNAL_ONE, FERRY_MULTI | FERRY_BACKGROUND, on_some);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    deliver(SIGNAL_ONE, 2);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    assert_int_equal(sum.total, 2);
    ferry_cancel(loop, &sum.probe.op);
    probe_wait(loop, &sum.probe);
    finish(loop);
}

static void ops_signal_reaped(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op op = {.done = NULL};
    ferry_completion c[4];
    ferry_signal(loop, &op, SIGNAL_ONE, FERRY_MULTI, FERRY_PULL);
    deliver(SIGNAL_ONE, 2);
    assert_int_equal(ferry_reap(loop, c, 4, SECOND), 1);
    assert_true(c[0].op == &op);
    assert_int_equal(c[0].result, 2);
    assert_int_equal(c[0].flags, FERRY_MORE);
    deliver(SIGNAL_ONE, 1);
    ferry_cancel(loop, &op); /* what has come by then is told of first */
    assert_int_equal(ferry_reap(loop, c, 4, SECOND), 2);
    assert_int_equal(c[0].result, 1);
    assert_int_equal(c[1].result, FERRY_ECANCELED);
    assert_int_equal(c[1].flags, 0);
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    finish(loop);
}

/* ---- Several loops, several threads ---------------------------------------------------- */

enum { LISTENERS = 4, SIGNALS_SENT = 1000 };

static void *listen_for_signals(void *arg) {
    struct sum *sum = arg;
    assert_int_equal(ferry_run(sum->loop, FERRY_RUN_DONE), 0);
    return NULL;
}

static void ops_signal_reaches_every_loop(void **state) {
    (void)state;
    static struct sum sums[LISTENERS];
    static struct sum twins[LISTENERS];
    pthread_t threads[LISTENERS];
    for (int i = 0; i < LISTENERS; i++) {
        sums[i] = (struct sum){.loop = test_loop(), .enough = SIGNALS_SENT};
        twins[i] = (struct sum){.loop = sums[i].loop, .enough = SIGNALS_SENT};
        ferry_signal(sums[i].loop, &sums[i].probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
        ferry_signal(sums[i].loop, &twins[i].probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
        assert_int_equal(pthread_create(&threads[i], NULL, listen_for_signals, &sums[i]), 0);
    }
    for (int i = 0; i < SIGNALS_SENT; i++) {
        deliver(SIGNAL_ONE, 1);
        if (i % 100 == 0) sleep_ns(MS);
    }
    for (int i = 0; i < LISTENERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(sums[i].total, SIGNALS_SENT);
        assert_int_equal(twins[i].total, SIGNALS_SENT);
        assert_int_equal(sums[i].probe.result, FERRY_ECANCELED);
    }
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    for (int i = 0; i < LISTENERS; i++) test_close(sums[i].loop);
}

static _Atomic int storm_ends;
static _Atomic int storm_sent;

static void *storm(void *arg) {
    (void)arg;
    while (!atomic_load(&storm_ends)) {
        (void)raise(SIGNAL_OTHER);
        atomic_fetch_add(&storm_sent, 1);
    }
    return NULL;
}

/* Loops come and go while handlers run on other threads. The test's own wait keeps the handler in
 * place throughout. */
static void trouble_signal_storm_over_closing_loops(void **state) {
    (void)state;
    differs_on_windows("two threads that raise() at a time end the process on Windows");
    enum { ROUNDS = 200, STORMS = 2 };
    pthread_t threads[STORMS];
    ferry_loop *keeper = test_loop();
    struct sum all = {.loop = keeper};
    ferry_signal(keeper, &all.probe.op, SIGNAL_OTHER, FERRY_MULTI, on_some);
    for (int i = 0; i < STORMS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, storm, NULL), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        ferry_loop *loop = test_loop();
        struct probe once = {.calls = 0};
        struct sum sum = {.loop = loop};
        ferry_signal(loop, &once.op, SIGNAL_OTHER, 0, probe_done);
        ferry_signal(loop, &sum.probe.op, SIGNAL_OTHER, FERRY_MULTI, on_some);
        probe_wait(loop, &once);
        assert_true(once.result >= 1);
        ferry_cancel(loop, &sum.probe.op);
        probe_wait(loop, &sum.probe); /* although signals keep coming */
        assert_int_equal(sum.probe.result, FERRY_ECANCELED);
        test_close(loop);
    }
    atomic_store(&storm_ends, 1);
    for (int i = 0; i < STORMS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    while (all.total < atomic_load(&storm_sent)) {
        assert_true(ferry_run(keeper, FERRY_RUN_ONCE) >= 0);
    }
    assert_int_equal(all.total, atomic_load(&storm_sent));
    ferry_cancel(keeper, &all.probe.op);
    probe_wait(keeper, &all.probe);
    finish(keeper);
}

/* ---- The disposition ------------------------------------------------------------------- */

static void wait_once(ferry_loop *loop, int number) {
    struct probe p = {.calls = 0};
    ferry_signal(loop, &p.op, number, 0, probe_done);
    deliver(number, 1);
    expect(loop, &p, 1);
}

static void ops_signal_puts_back_what_was_there(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct sigaction theirs, now;
    handler_set(SIGNAL_ONE, SIG_IGN);
    wait_once(loop, SIGNAL_ONE);
    assert_true(handler_of(SIGNAL_ONE) == SIG_IGN);

    memset(&theirs, 0, sizeof theirs);
    theirs.sa_handler = on_handled;
    if (!TEST_WINDOWS) { /* where a handler is all there is */
        theirs.sa_flags = SA_NODEFER;
        sigaddset(&theirs.sa_mask, SIGHUP);
    }
    assert_int_equal(sigaction(SIGNAL_ONE, &theirs, NULL), 0);
    wait_once(loop, SIGNAL_ONE);
    wait_once(loop, SIGNAL_ONE);
    now = disposition(SIGNAL_ONE);
    assert_true(now.sa_handler == on_handled);
    if (!TEST_WINDOWS) {
        assert_true(now.sa_flags & SA_NODEFER);
        assert_true(sigismember(&now.sa_mask, SIGHUP));
    }
    assert_int_equal(handled, 0); /* not called while Ferry had it */
    deliver(SIGNAL_ONE, 1);
    assert_int_equal(handled, 1);
    handler_set(SIGNAL_ONE, SIG_DFL);

    /* One that a loop ignores (ferry_loop_open) can be waited for. */
    if (!omits_on_windows("no SIGPIPE on Windows")) {
        assert_true(handler_of(SIGPIPE) == SIG_IGN);
        wait_once(loop, SIGPIPE);
        assert_true(handler_of(SIGPIPE) == SIG_IGN);
    }
    finish(loop);
}

static void ops_signal_is_kept_until_the_last_wait_has_ended(void **state) {
    (void)state;
    ferry_loop *loops[2] = {test_loop(), test_loop()};
    struct probe p[3] = {{.calls = 0}};
    handler_set(SIGNAL_ONE, on_handled);
    for (int i = 0; i < 3; i++) ferry_signal(loops[i % 2], &p[i].op, SIGNAL_ONE, 0, probe_done);
    ferry_cancel(loops[0], &p[0].op);
    expect(loops[0], &p[0], FERRY_ECANCELED);
    assert_true(handler_of(SIGNAL_ONE) != on_handled);
    ferry_cancel(loops[0], &p[2].op);
    expect(loops[0], &p[2], FERRY_ECANCELED);
    assert_true(handler_of(SIGNAL_ONE) != on_handled);
    deliver(SIGNAL_ONE, 1);
    expect(loops[1], &p[1], 1);
    assert_true(handler_of(SIGNAL_ONE) == on_handled);
    assert_int_equal(handled, 0);
    handler_set(SIGNAL_ONE, SIG_DFL);
    finish(loops[0]);
    finish(loops[1]);
}

/* What the program sets meanwhile is the program's affair. */
static void ops_signal_leaves_a_new_disposition_alone(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0}, second = {.calls = 0};
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    struct sigaction ours = disposition(SIGNAL_ONE);
    handler_set(SIGNAL_ONE, on_handled);
    ferry_signal(loop, &second.op, SIGNAL_ONE, 0, probe_done);
    assert_true(handler_of(SIGNAL_ONE) == on_handled); /* not taken by another wait either */
    deliver(SIGNAL_ONE, 1);
    assert_int_equal(handled, 1);
    ferry_cancel(loop, &p.op);
    ferry_cancel(loop, &second.op);
    expect(loop, &p, FERRY_ECANCELED);
    expect(loop, &second, FERRY_ECANCELED);
    assert_true(handler_of(SIGNAL_ONE) == on_handled);

    wait_once(loop, SIGNAL_ONE); /* a first wait takes it, and gives back what it found */
    assert_true(handler_of(SIGNAL_ONE) == on_handled);

    /* Ours, put back when nobody waited: it does no harm, and is not taken for the program's. */
    assert_int_equal(sigaction(SIGNAL_ONE, &ours, NULL), 0);
    deliver(SIGNAL_ONE, 1);
    wait_once(loop, SIGNAL_ONE);
    assert_true(handler_of(SIGNAL_ONE) == on_handled);
    assert_int_equal(handled, 1);
    handler_set(SIGNAL_ONE, SIG_DFL);
    finish(loop);
}

struct repeat {
    struct probe probe;
    ferry_loop *loop;
    int left;
};

static void on_repeat(ferry_op *op) {
    struct repeat *r = ferry_container(op, struct repeat, probe.op);
    probe_done(op);
    assert_true(handler_of(SIGNAL_ONE) != SIG_DFL);
    if (--r->left > 0) ferry_again(r->loop, op);
}

/* Were the default back in between, the test would end here. */
static void ops_signal_is_kept_by_a_callback_that_waits_again(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct repeat r = {.loop = loop, .left = 10};
    ferry_signal(loop, &r.probe.op, SIGNAL_ONE, 0, on_repeat);
    for (int i = 0; i < 10; i++) {
        deliver(SIGNAL_ONE, 1);
        while (r.probe.calls <= i) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
        assert_int_equal(r.probe.result, 1);
    }
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    finish(loop);
}

static void ops_signal_keeps_errno(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    errno = 12345;
    (void)raise(SIGNAL_ONE);
    assert_int_equal(errno, 12345);
    expect(loop, &p, 1);
    finish(loop);
}

static void ops_signal_changes_no_mask(void **state) {
    (void)state;
    differs_on_windows("no masks of signals on Windows");
    sigset_t before, now;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
    for (int i = 1; i < 32; i++) assert_int_equal(sigismember(&before, i), sigismember(&now, i));
    deliver(SIGNAL_ONE, 1);
    expect(loop, &p, 1);
    finish(loop);
}

/* ---- Bad input and trouble ------------------------------------------------------------- */

static void trouble_signal_numbers(void **state) {
    (void)state;
    const int bad[] = {0,    -1,  -65, SIGKILL, SIGSTOP,   SIGSEGV,     SIGBUS, SIGFPE,   SIGILL,
                       NSIG, 128, 129, 1 << 20, INT32_MAX, -SIGNAL_ONE, 32,     INT32_MIN};
    ferry_loop *loop = test_loop();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct probe p = {.calls = 0};
        ferry_signal(loop, &p.op, bad[i], 0, probe_done);
        expect_all(loop, &p, FERRY_EINVAL, 0, 0);
        p.calls = p.finals = 0;
        ferry_again(loop, &p.op); /* refused again, and counted nowhere */
        expect_all(loop, &p, FERRY_EINVAL, 0, 0);
    }
#ifdef SIGRTMIN
    wait_once(loop, SIGRTMAX);
    wait_once(loop, SIGRTMIN);
#endif
    struct probe p = {.calls = 0};
    ferry_signal(loop, &p.op, SIGNAL_ONE, FERRY_ALL, probe_done);
    expect(loop, &p, FERRY_EINVAL);
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    finish(loop);
}

static void trouble_signal_cancel(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    struct sum sum = {.loop = loop};
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    ferry_cancel(loop, &p.op);
    ferry_cancel(loop, &p.op);
    expect_all(loop, &p, FERRY_ECANCELED, 0, 0);
    ferry_cancel(loop, &p.op); /* idle: nothing */

    memset(&p, 0, sizeof p); /* what had come by then won the race (rule 5) */
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    ferry_signal(loop, &sum.probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
    deliver(SIGNAL_ONE, 2);
    ferry_cancel(loop, &p.op);
    ferry_cancel(loop, &sum.probe.op);
    ferry_cancel(loop, &sum.probe.op);
    expect_all(loop, &p, 2, 0, 0);
    probe_wait(loop, &sum.probe);
    assert_int_equal(sum.total, 2);
    assert_int_equal(sum.probe.calls, 2);
    assert_int_equal(sum.probe.result, FERRY_ECANCELED);
    finish(loop);
}

static void trouble_signal_deadlines(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.op = {.deadline_ns = 20 * MS}};
    struct sum sum = {.loop = loop, .probe = {.op = {.deadline_ns = SECOND}}};
    uint64_t start_ns = clock_ns();
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    expect(loop, &p, FERRY_ETIMEDOUT);
    assert_true(p.called_ns - start_ns >= 20 * MS);

    /* The longest gap. */
    uint64_t last_ns = 0;
    start_ns = clock_ns();
    ferry_signal(loop, &sum.probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
    for (int i = 0; i < 4 && sum.probe.finals == 0; i++) {
        run_for(loop, 300 * MS);
        last_ns = clock_ns();
        deliver(SIGNAL_ONE, 1);
        while (sum.total <= i) ferry_run(loop, FERRY_RUN_ONCE);
    }
    probe_wait(loop, &sum.probe);
    assert_int_equal(sum.total, 4);
    assert_int_equal(sum.probe.result, FERRY_ETIMEDOUT);
    assert_true(sum.probe.called_ns - last_ns >= SECOND);

    /* A point in time stays where it is. */
    sum = (struct sum){.loop = loop};
    sum.probe.op.deadline_ns = clock_ns() + SECOND / 2;
    ferry_signal(loop, &sum.probe.op, SIGNAL_ONE, FERRY_MULTI | FERRY_ABSOLUTE, on_some);
    deliver(SIGNAL_ONE, 1);
    probe_wait(loop, &sum.probe);
    assert_int_equal(sum.total, 1);
    assert_int_equal(sum.probe.result, FERRY_ETIMEDOUT);
    assert_true(sum.probe.called_ns >= sum.probe.op.deadline_ns);
    finish(loop);
}

static void trouble_signal_drain_and_close(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0}, late = {.calls = 0};
    struct sum sum = {.loop = loop};
    ferry_signal(loop, &p.op, SIGNAL_ONE, 0, probe_done);
    ferry_signal(loop, &sum.probe.op, SIGNAL_OTHER, FERRY_MULTI, on_some);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    deliver(SIGNAL_OTHER, 1);
    assert_int_equal(ferry_loop_drain(loop, 5 * SECOND), 0);
    probe_check(&p, FERRY_ECANCELED);
    assert_int_equal(sum.total, 1);
    assert_int_equal(sum.probe.finals, 1);
    assert_int_equal(sum.probe.result, FERRY_ECANCELED);
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    assert_true(handler_of(SIGNAL_OTHER) == SIG_DFL);
    ferry_signal(loop, &late.op, SIGNAL_ONE, 0, probe_done);
    expect(loop, &late, FERRY_ECLOSED);
    assert_true(handler_of(SIGNAL_ONE) == SIG_DFL);
    test_close(loop);
}

/* More than a turn delivers are due at once, and more signals come meanwhile: nothing is lost. */
static void trouble_signal_many_waits(void **state) {
    (void)state;
    enum { WAITS = 3000 };
    struct sum *sums = calloc(WAITS, sizeof *sums);
    assert_non_null(sums);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < WAITS; i++) {
        sums[i].loop = loop;
        sums[i].enough = 5;
        ferry_signal(loop, &sums[i].probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
    }
    for (int i = 0; i < 5; i++) {
        deliver(SIGNAL_ONE, 1);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
    run_done(loop);
    for (int i = 0; i < WAITS; i++) {
        assert_int_equal(sums[i].total, 5);
        assert_int_equal(sums[i].probe.finals, 1);
    }
    free(sums);
    finish(loop);
}

static void on_freed(ferry_op *op) {
    free(ferry_container(op, struct probe, op));
}

static void trouble_signal_freed_in_its_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (int i = 0; i < 3; i++) {
        struct probe *p = calloc(1, sizeof *p);
        assert_non_null(p);
        ferry_signal(loop, &p->op, SIGNAL_ONE, 0, on_freed);
        if (i == 0) ferry_cancel(loop, &p->op);
        if (i == 1) deliver(SIGNAL_ONE, 1);
        if (i == 2) assert_int_equal(ferry_loop_drain(loop, SECOND), 0);
        run_done(loop);
    }
    test_close(loop);
}

/* ---- Forks ----------------------------------------------------------------------------- */

enum { CHILD_GOOD, CHILD_HANDLER, CHILD_CLOSE, CHILD_OWN };

static int child_main(ferry_loop *inherited) {
    static struct probe p;
    ferry_loop *own = NULL;
    handled = 0;
    (void)raise(SIGNAL_ONE); /* as it was before the parent waited */
    if (handled != 1) return CHILD_HANDLER;
    if (ferry_loop_open(&own, NULL) != 0) return CHILD_OWN;
    ferry_signal(own, &p.op, SIGNAL_ONE, 0, probe_done);
    (void)raise(SIGNAL_ONE);
    if (ferry_run(own, FERRY_RUN_DONE) != 0 || p.result != 1) return CHILD_OWN;
    if (ferry_loop_close(inherited) != 0 || ferry_loop_close(own) != 0) return CHILD_CLOSE;
    (void)raise(SIGNAL_ONE);
    return handled == 2 ? CHILD_GOOD : CHILD_HANDLER;
}

static void ops_signal_in_a_forked_child(void **state) {
    (void)state;
    differs_on_windows("no fork on Windows");
    handler_set(SIGNAL_ONE, on_handled);
    ferry_loop *loop = test_loop();
    struct sum sum = {.loop = loop};
    ferry_signal(loop, &sum.probe.op, SIGNAL_ONE, FERRY_MULTI, on_some);
    for (int round = 0; round < 5; round++) {
        pid_t pid = test_fork();
        if (pid == 0) _exit(child_main(loop));
        int status = 0;
        while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), CHILD_GOOD);
    }
    run_for(loop, 5 * MS);
    assert_int_equal(sum.total, 0); /* the children's signals are not ours */
    deliver(SIGNAL_ONE, 1);
    while (sum.total == 0) ferry_run(loop, FERRY_RUN_ONCE);
    ferry_cancel(loop, &sum.probe.op);
    probe_wait(loop, &sum.probe);
    assert_true(handler_of(SIGNAL_ONE) == on_handled);
    handler_set(SIGNAL_ONE, on_handled_too);
    deliver(SIGNAL_ONE, 1);
    assert_int_equal(handled, 100);
    handler_set(SIGNAL_ONE, SIG_DFL);
    finish(loop);
}

const struct contract_test ops_signals_tests[] = {
    {"ops_signal", ops_signal, 0},
    {"ops_signal_counts", ops_signal_counts, 0},
    {"ops_signal_wakes_a_loop_that_sleeps", ops_signal_wakes_a_loop_that_sleeps, 0},
    {"ops_signal_of_a_child", ops_signal_of_a_child, 0},
    {"ops_signal_in_the_background", ops_signal_in_the_background, 0},
    {"ops_signal_reaped", ops_signal_reaped, 0},
    {"ops_signal_reaches_every_loop", ops_signal_reaches_every_loop, 0},
    {"ops_signal_puts_back_what_was_there", ops_signal_puts_back_what_was_there, 0},
    {"ops_signal_is_kept_until_the_last_wait_has_ended",
     ops_signal_is_kept_until_the_last_wait_has_ended, 0},
    {"ops_signal_leaves_a_new_disposition_alone", ops_signal_leaves_a_new_disposition_alone, 0},
    {"ops_signal_is_kept_by_a_callback_that_waits_again",
     ops_signal_is_kept_by_a_callback_that_waits_again, 0},
    {"ops_signal_keeps_errno", ops_signal_keeps_errno, 0},
    {"ops_signal_changes_no_mask", ops_signal_changes_no_mask, 0},
    {"ops_signal_in_a_forked_child", ops_signal_in_a_forked_child, 0},
    {"trouble_signal_storm_over_closing_loops", trouble_signal_storm_over_closing_loops, 60},
    {"trouble_signal_numbers", trouble_signal_numbers, 0},
    {"trouble_signal_cancel", trouble_signal_cancel, 0},
    {"trouble_signal_deadlines", trouble_signal_deadlines, 0},
    {"trouble_signal_drain_and_close", trouble_signal_drain_and_close, 0},
    {"trouble_signal_many_waits", trouble_signal_many_waits, 0},
    {"trouble_signal_freed_in_its_callback", trouble_signal_freed_in_its_callback, 0},
    {NULL, NULL, 0},
};
