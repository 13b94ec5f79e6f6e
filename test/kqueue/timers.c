/* timers.c - EVFILT_TIMER, the timeout of kevent(), and signals that interrupt it
 *
 * Of kqt: timer (its notes are timer.negative and timeout.one_ns); of kqt2: "EINTR with
 * SA_RESTART", "1000 oneshot timers", and "empty poll" (that it comes back with nothing).
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Timers ---------------------------------------------------------------------------------- */

static const struct probe_line timer_lines[] = {
    {"timer.default_ms", "TIMER data=1 udata=1, not early"},
    {"timer.nseconds", "TIMER data=1, not early"},
    {"timer.useconds", "TIMER data=1, not early"},
    {"timer.absolute", "TIMER data=1, not early"},
    {"timer.absolute_past", "TIMER data=1, not early"},
    {"timer.periodic", "4 or more"},
    {"timer.delete", "0"},
    {"timer.zero", "TIMER data=1, not early"},
    {"timer.negative", "EINVAL"},
    {"timer.added_again", "TIMER data=1, not early"},
};

/* Starts a timer and waits for it, which is to take least_ms. Its flags were not printed then. */
static void one_timer(const char *name, int kq, uintptr_t ident, unsigned fflags, int64_t data,
                      double least_ms) {
    struct kevent events[EVENTS];
    uintptr_t udata = strcmp(name, "timer.default_ms") == 0;
    double began = now_ms();
    int result = change(kq, ident, EVFILT_TIMER, EV_ADD | EV_ONESHOT, fflags, data, udata);
    int count = result != 0 ? -1 : get(kq, events, 10000);
    for (int i = 0; i < count; i++) events[i].flags = 0;
    told(name, "%s, %s", said(count, events), now_ms() - began >= least_ms ? "not early" : "early");
}

static int64_t wall_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void periodic(int kq) {
    struct kevent events[EVENTS];
    must(change(kq, 6, EVFILT_TIMER, EV_ADD, 0, 10, 0) == 0);
    sleep_ms(55);
    int count = get(kq, events, 0);
    int is_right = count == 1 && events[0].data >= 4;
    told("timer.periodic", "%s", is_right ? "4 or more" : said(count, events));
    told("timer.delete", "%s", outcome(change(kq, 6, EVFILT_TIMER, EV_DELETE, 0, 0, 0)));
}

static void timer(void) {
    int kq = kqueue();
    one_timer("timer.default_ms", kq, 1, 0, 30, 29);
    one_timer("timer.nseconds", kq, 2, NOTE_NSECONDS, 20000000, 19.9);
    one_timer("timer.useconds", kq, 3, NOTE_USECONDS, 500, 0.49);
    int64_t soon_ns = wall_clock_ns() + 25000000;
    one_timer("timer.absolute", kq, 4, NOTE_ABSTIME | NOTE_NSECONDS, soon_ns, 20);
    one_timer("timer.absolute_past", kq, 5, NOTE_ABSTIME | NOTE_NSECONDS, soon_ns, 0);
    periodic(kq);
    one_timer("timer.zero", kq, 7, 0, 0, 0);
    int result = change(kq, 8, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, -5, 0);
    told("timer.negative", "%s", outcome(result));
    must(change(kq, 9, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 60000, 0) == 0);
    one_timer("timer.added_again", kq, 9, 0, 20, 19);
    must(close(kq) == 0);
}

static const struct probe_line many_timers_lines[] = {
    {"many_timers.fired", "1000"},
};

static void many_timers(void) {
    int kq = kqueue(), fired = 0, count;
    struct kevent events[EVENTS];
    for (uintptr_t i = 0; i < 1000; i++) {
        must(change(kq, 1000 + i, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 20, 0) == 0);
    }
    while ((count = get(kq, events, 200)) > 0) fired += count;
    told("many_timers.fired", "%d", fired);
    must(close(kq) == 0);
}

/* ---- kevent()'s own timeout ------------------------------------------------------------------ */

static const struct probe_line timeout_lines[] = {
    {"timeout.one_ns", "nothing"},
    {"timeout.two_ms", "nothing, never early"},
    {"timeout.zero", "nothing"},
};

static void timeout(void) {
    int kq = kqueue(), is_early = 0, count = 0;
    struct kevent events[EVENTS];
    struct timespec one_ns = {0, 1}, two_ms = {0, 2000000};
    told("timeout.one_ns", "%s", said(kevent(kq, NULL, 0, events, EVENTS, &one_ns), events));
    for (int i = 0; i < 10 && count == 0; i++) {
        double began = now_ms();
        count = kevent(kq, NULL, 0, events, EVENTS, &two_ms);
        if (now_ms() - began < 2) is_early = 1;
    }
    told("timeout.two_ms", "%s, %s", said(count, events), is_early ? "early" : "never early");
    for (int i = 0; i < 2000 && count == 0; i++) count = get(kq, events, 0);
    told("timeout.zero", "%s", said(count, events));
    must(close(kq) == 0);
}

/* ---- Interrupted ----------------------------------------------------------------------------- */

static const struct probe_line interrupted_lines[] = {
    {"interrupted.with_sa_restart", "EINTR"},
    {"interrupted.handler", "1 signal"},
};

static volatile sig_atomic_t signals;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void *signal_later(void *argument) {
    sleep_ms(50);
    must(pthread_kill(*(pthread_t *)argument, SIGUSR2) == 0);
    return NULL;
}

static void interrupted(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    struct sigaction action;
    pthread_t self = pthread_self(), thread;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    must(sigaction(SIGUSR2, &action, NULL) == 0);
    must(pthread_create(&thread, NULL, signal_later, &self) == 0);
    told("interrupted.with_sa_restart", "%s", said(get(kq, events, 10000), events));
    must(pthread_join(thread, NULL) == 0);
    told("interrupted.handler", "%d signal", (int)signals);
    must(close(kq) == 0);
}

int main(void) {
    const struct probe probes[] = {PROBE(timer), PROBE(many_timers), PROBE(timeout),
                                   PROBE(interrupted)};
    return probe_main("timers", probes, sizeof probes / sizeof probes[0]);
}
