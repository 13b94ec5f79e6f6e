/* trouble_signals.c - a hail of signals while operations need the system's own threads
 *
 * A signal that is pending may keep the kernel from making a thread for what has to block. Whatever
 * it does then, the user's operations wait, go on, and end only for reasons of their own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define EVERY_US 100

static struct itimerval timer_before;
static struct sigaction action_before;

static void on_signal(int number) {
    (void)number;
}

static void hail_begin(void) {
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval every = {{0, EVERY_US}, {0, EVERY_US}};
    assert_int_equal(sigaction(SIGALRM, &action, &action_before), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &every, &timer_before), 0);
}

/* First the timer: with the action back at its default a late signal would end the process. */
static void hail_end(void) {
    struct itimerval never = {{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &action_before, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer_before, NULL), 0);
}

/* Each kind that waits goes on waiting, and then succeeds. */
static void contract_05_signals_cancel_nothing(void **state) {
    (void)state;
    enum { STAGES_MAX = 40 };
    static struct stage s[STAGES_MAX];
    size_t count = 0;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        assert_true(count < STAGES_MAX);
        stage_open(&s[count++], kind, loop);
    }
    hail_begin();
    for (size_t i = 0; i < count; i++) stage_submit(&s[i], 0);
    run_for(loop, 100 * MS);
    for (size_t i = 0; i < count; i++) stage_waits(&s[i]);
    hail_end();
    for (size_t i = 0; i < count; i++) {
        if (s[i].kind->let) {
            stage_let(&s[i]);
        } else {
            ferry_cancel(loop, &s[i].p.op);
            stage_expect(&s[i], FERRY_ECANCELED);
        }
        stage_close(&s[i]);
    }
    finish(loop);
}

/* Some wait for ever, each with a thread of its own; what comes after them is carried out. */
static void trouble_signals_hold_up_nothing(void **state) {
    (void)state;
    enum { FIFOS = 24, SYNCS = 12 };
    ferry_loop *loop = test_loop();
    static struct probe open[FIFOS], sync[SYNCS];
    static char path[FIFOS][320];
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    for (int i = 0; i < FIFOS; i++) {
        char name[16];
        snprintf(name, sizeof name, "fifo%d", i);
        snprintf(path[i], sizeof path[i], "%s", temp_path(name));
        assert_int_equal(mkfifo(path[i], 0600), 0);
    }
    hail_begin();
    for (int i = 0; i < FIFOS; i++) {
        ferry_open(loop, &open[i].op, path[i], FERRY_OPEN_READ, 0, 0, probe_done);
    }
    run_for(loop, 10 * MS);
    for (int i = 0; i < SYNCS; i++) {
        ferry_sync(loop, &sync[i].op, file, 0, probe_done);
        expect_all(loop, &sync[i], 0, 0, 0);
    }
    for (int i = 0; i < FIFOS; i++) assert_int_equal(open[i].calls, 0);
    hail_end();
    for (int i = 0; i < FIFOS; i++) ferry_cancel(loop, &open[i].op);
    for (int i = 0; i < FIFOS; i++) expect_all(loop, &open[i], FERRY_ECANCELED, 0, 0);
    close_near(loop, file);
    finish(loop);
}

const struct contract_test trouble_signals_tests[] = {
    {"contract_05_signals_cancel_nothing", contract_05_signals_cancel_nothing, 0},
    {"trouble_signals_hold_up_nothing", trouble_signals_hold_up_nothing, 0},
    {NULL, NULL, 0},
};
