/* events.c - the flags of a knote, user events, errors of changes, turns, duplicates
 *
 * Of kqt: user (its notes are user.udata_overwritten, within woken, and user.trigger_in_add),
 * oneshot, dispatch, clear, receipt (its note is receipt.with_room). Of kqt2: the lines with
 * "USER", "fairness", "3 deletes", "trigger cost" and "2000 cross-thread triggers" (that none is
 * lost), "dup(kq)".
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- User events ----------------------------------------------------------------------------- */

static const struct probe_line user_lines[] = {
    {"user.add", "0"},
    {"user.not_triggered", "nothing"},
    {"user.woken_udata_overwritten", "USER CLEAR"},
    {"user.clear_resets", "nothing"},
    {"user.triggers_coalesce", "USER CLEAR udata=88"},
    {"user.oneshot_tells_no_fflags", "USER ONESHOT udata=9"},
    {"user.trigger_of_fired_oneshot", "ENOENT"},
    {"user.level", "USER"},
    {"user.level_again", "USER"},
    {"user.trigger_in_add", "nothing"},
    {"user.trigger_and_wait", "USER CLEAR"},
};

static int trigger(int kq, uintptr_t ident, uintptr_t udata) {
    return change(kq, ident, EVFILT_USER, 0, NOTE_TRIGGER, 0, udata);
}

static void *trigger_later(void *argument) {
    sleep_ms(50);
    must(trigger(*(int *)argument, 7, 0) == 0);
    return NULL;
}

static void user_in_one_call(void) {
    int kq = kqueue();
    struct kevent events[EVENTS], one;
    struct timespec timeout = {0, 100000000};
    EV_SET(&one, 1, EVFILT_USER, EV_ADD | EV_CLEAR, NOTE_TRIGGER, 0, NULL);
    told("user.trigger_in_add", "%s", said(kevent(kq, &one, 1, events, EVENTS, &timeout), events));
    EV_SET(&one, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    told("user.trigger_and_wait", "%s",
         said(kevent(kq, &one, 1, events, EVENTS, &timeout), events));
    must(close(kq) == 0);
}

static void user(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    pthread_t thread;
    told("user.add", "%s", outcome(change(kq, 7, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0x77)));
    told("user.not_triggered", "%s", said(get(kq, events, 0), events));
    must(pthread_create(&thread, NULL, trigger_later, &kq) == 0);
    double began = now_ms();
    const char *answer = said(get(kq, events, 20000), events);
    told("user.woken_udata_overwritten", "%s", now_ms() - began < 10000 ? answer : "too late");
    must(pthread_join(thread, NULL) == 0);
    told("user.clear_resets", "%s", said(get(kq, events, 0), events));
    for (int i = 0; i < 3; i++) must(trigger(kq, 7, 0x88) == 0);
    told("user.triggers_coalesce", "%s", said(get(kq, events, 0), events));
    must(change(kq, 9, EVFILT_USER, EV_ADD | EV_ONESHOT, 0, 0, 9) == 0);
    must(change(kq, 9, EVFILT_USER, 0, NOTE_FFCOPY | NOTE_TRIGGER | 0x123, 55, 9) == 0);
    told("user.oneshot_tells_no_fflags", "%s", said(get(kq, events, 0), events));
    told("user.trigger_of_fired_oneshot", "%s", outcome(trigger(kq, 9, 0)));
    must(change(kq, 8, EVFILT_USER, EV_ADD, 0, 0, 0) == 0);
    must(trigger(kq, 8, 0) == 0);
    told("user.level", "%s", said(get(kq, events, 0), events));
    told("user.level_again", "%s", said(get(kq, events, 0), events));
    must(close(kq) == 0);
    user_in_one_call();
}

static const struct probe_line user_flags_lines[] = {
    {"user_flags.add_clear_and_trigger", "nothing"},
    {"user_flags.clear_and_trigger", "nothing"},
    {"user_flags.trigger_alone", "USER CLEAR"},
    {"user_flags.enable_and_trigger", "USER CLEAR"},
    {"user_flags.dispatch", "USER DISPATCH"},
    {"user_flags.trigger_while_disabled", "nothing"},
    {"user_flags.then_enabled", "USER DISPATCH"},
};

static void user_flags(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    must(change(kq, 1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    must(change(kq, 1, EVFILT_USER, EV_ADD | EV_CLEAR, NOTE_TRIGGER, 0, 0) == 0);
    told("user_flags.add_clear_and_trigger", "%s", said(get(kq, events, 20), events));
    must(change(kq, 1, EVFILT_USER, EV_CLEAR, NOTE_TRIGGER, 0, 0) == 0);
    told("user_flags.clear_and_trigger", "%s", said(get(kq, events, 20), events));
    must(trigger(kq, 1, 0) == 0);
    told("user_flags.trigger_alone", "%s", said(get(kq, events, 20), events));
    must(change(kq, 1, EVFILT_USER, EV_ENABLE, NOTE_TRIGGER, 0, 0) == 0);
    told("user_flags.enable_and_trigger", "%s", said(get(kq, events, 20), events));
    must(change(kq, 2, EVFILT_USER, EV_ADD | EV_DISPATCH, 0, 0, 0) == 0);
    must(trigger(kq, 2, 0) == 0);
    told("user_flags.dispatch", "%s", said(get(kq, events, 20), events));
    must(trigger(kq, 2, 0) == 0);
    told("user_flags.trigger_while_disabled", "%s", said(get(kq, events, 20), events));
    must(change(kq, 2, EVFILT_USER, EV_ENABLE, 0, 0, 0) == 0);
    told("user_flags.then_enabled", "%s", said(get(kq, events, 20), events));
    must(close(kq) == 0);
}

static const struct probe_line many_triggers_lines[] = {
    {"many_triggers.one_thread", "one event"},
    {"many_triggers.another_thread", "some events, nothing left, the last one seen"},
};

enum { TRIGGERS = 2000 };

/* The last one is told apart by its udata. */
static void *trigger_often(void *argument) {
    for (int i = 1; i <= TRIGGERS; i++) must(trigger(*(int *)argument, 1, (uintptr_t)i) == 0);
    return NULL;
}

static void many_triggers(void) {
    int kq = kqueue(), count, total = 0;
    uintptr_t last = 0;
    struct kevent events[EVENTS];
    pthread_t thread;
    must(change(kq, 1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    for (int i = 0; i < 10 * TRIGGERS; i++) must(trigger(kq, 1, 0) == 0);
    count = get(kq, events, 0);
    told("many_triggers.one_thread", "%s", count == 1 ? "one event" : "another number");
    must(pthread_create(&thread, NULL, trigger_often, &kq) == 0);
    while (last != TRIGGERS && (count = get(kq, events, 10000)) > 0) {
        last = (uintptr_t)events[0].udata;
        total += count;
    }
    must(pthread_join(thread, NULL) == 0);
    count = get(kq, events, 0);
    int is_right = total > 0 && total <= TRIGGERS && count == 0;
    told("many_triggers.another_thread", "%s, %s", is_right ? "some events, nothing left" : "no",
         last == TRIGGERS ? "the last one seen" : "the last one lost");
    must(close(kq) == 0);
}

/* ---- Flags ----------------------------------------------------------------------------------- */

static const struct probe_line oneshot_lines[] = {
    {"oneshot.fires", "READ ONESHOT data=1"},
    {"oneshot.then_gone", "nothing"},
    {"oneshot.delete", "ENOENT"},
    {"oneshot.added_again_readable", "READ ONESHOT data=1"},
};

static void oneshot(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_pipe(ends);
    uintptr_t ident = (uintptr_t)ends[0];
    must(change(kq, ident, EVFILT_READ, EV_ADD | EV_ONESHOT, 0, 0, 0) == 0);
    put(ends[1], "a");
    told("oneshot.fires", "%s", said(get(kq, events, 100), events));
    told("oneshot.then_gone", "%s", said(get(kq, events, 20), events));
    told("oneshot.delete", "%s", outcome(change(kq, ident, EVFILT_READ, EV_DELETE, 0, 0, 0)));
    must(change(kq, ident, EVFILT_READ, EV_ADD | EV_ONESHOT, 0, 0, 0) == 0);
    told("oneshot.added_again_readable", "%s", said(get(kq, events, 20), events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

static const struct probe_line dispatch_lines[] = {
    {"dispatch.fires", "READ DISPATCH data=1 udata=5"},
    {"dispatch.then_disabled", "nothing"},
    {"dispatch.enabled_without_udata", "READ DISPATCH data=1"},
    {"dispatch.enable_keeps_it", "nothing"},
    {"dispatch.enabled_with_udata", "READ DISPATCH data=1 udata=6"},
    {"dispatch.then_disabled_again", "nothing"},
    {"dispatch.added_and_enabled", "READ DISPATCH data=1 udata=7"},
};

static void dispatch(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_pipe(ends);
    uintptr_t ident = (uintptr_t)ends[0];
    must(change(kq, ident, EVFILT_READ, EV_ADD | EV_DISPATCH, 0, 0, 5) == 0);
    put(ends[1], "a");
    told("dispatch.fires", "%s", said(get(kq, events, 100), events));
    told("dispatch.then_disabled", "%s", said(get(kq, events, 20), events));
    must(change(kq, ident, EVFILT_READ, EV_ENABLE, 0, 0, 0) == 0);
    told("dispatch.enabled_without_udata", "%s", said(get(kq, events, 20), events));
    told("dispatch.enable_keeps_it", "%s", said(get(kq, events, 20), events));
    must(change(kq, ident, EVFILT_READ, EV_ENABLE | EV_DISPATCH, 0, 0, 6) == 0);
    told("dispatch.enabled_with_udata", "%s", said(get(kq, events, 20), events));
    told("dispatch.then_disabled_again", "%s", said(get(kq, events, 20), events));
    must(change(kq, ident, EVFILT_READ, EV_ADD | EV_ENABLE | EV_DISPATCH, 0, 0, 7) == 0);
    told("dispatch.added_and_enabled", "%s", said(get(kq, events, 20), events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

static const struct probe_line clear_lines[] = {
    {"clear.edge", "READ CLEAR data=2"},        {"clear.no_repeat", "nothing"},
    {"clear.new_data", "READ CLEAR data=3"},    {"clear.partial_read", "nothing"},
    {"clear.added_again", "READ CLEAR data=2"},
};

static void clear(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_unix_pair(ends, SOCK_STREAM);
    uintptr_t ident = (uintptr_t)ends[0];
    must(change(kq, ident, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    put(ends[1], "ab");
    told("clear.edge", "%s", said(get(kq, events, 100), events));
    told("clear.no_repeat", "%s", said(get(kq, events, 20), events));
    put(ends[1], "c");
    told("clear.new_data", "%s", said(get(kq, events, 100), events));
    must(take(ends[0], 1) == 1);
    told("clear.partial_read", "%s", said(get(kq, events, 20), events));
    must(change(kq, ident, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    told("clear.added_again", "%s", said(get(kq, events, 20), events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

/* ---- Errors of changes ----------------------------------------------------------------------- */

static const struct probe_line receipt_lines[] = {
    {"receipt.of_two", "ERROR 0, ERROR EBADF"},
    {"receipt.event_is_pending", "READ RECEIPT data=1 udata=3"},
    {"receipt.no_room", "EBADF"},
    {"receipt.later_not_applied", "not applied"},
    {"receipt.with_room", "ERROR EBADF"},
    {"receipt.later_applied", "WRITE udata=4"},
};

enum { NO_DESCRIPTOR = 9999 };

static void receipt(void) {
    int kq = kqueue(), ends[2], count;
    struct kevent changes[2], events[EVENTS];
    struct timespec zero = {0, 0};
    make_pipe(ends);
    put(ends[1], "x");
    EV_SET(&changes[0], (uintptr_t)ends[0], EVFILT_READ, EV_ADD | EV_RECEIPT, 0, 0, (void *)3);
    EV_SET(&changes[1], NO_DESCRIPTOR, EVFILT_READ, EV_ADD | EV_RECEIPT, 0, 0, NULL);
    told("receipt.of_two", "%s", said(kevent(kq, changes, 2, events, 2, &zero), events));
    /* Whether the flag shows in the event differs among systems, and was not printed then. */
    count = get(kq, events, 0);
    for (int i = 0; i < count; i++) events[i].flags |= EV_RECEIPT;
    told("receipt.event_is_pending", "%s", said(count, events));

    EV_SET(&changes[0], NO_DESCRIPTOR, EVFILT_READ, EV_ADD, 0, 0, NULL);
    EV_SET(&changes[1], (uintptr_t)ends[1], EVFILT_WRITE, EV_ADD, 0, 0, (void *)4);
    told("receipt.no_room", "%s", said(kevent(kq, changes, 2, NULL, 0, NULL), events));
    count = get(kq, events, 0);
    told("receipt.later_not_applied", "%s",
         of_filter(count, events, EVFILT_WRITE) == NULL ? "not applied" : "applied");
    told("receipt.with_room", "%s", said(kevent(kq, changes, 2, events, 4, &zero), events));
    count = get(kq, events, 0);
    const struct kevent *writing = of_filter(count, events, EVFILT_WRITE);
    told("receipt.later_applied", "%s", said(writing != NULL, writing));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

/* ---- Turns, and duplicates ------------------------------------------------------------------- */

static const struct probe_line turns_lines[] = {
    {"turns.one_at_a_time", "1 2 3 1 2 3"},
    {"turns.deleted_in_the_same_call", "nothing"},
};

static void turns(void) {
    int kq = kqueue(), ends[3][2];
    unsigned seen[6];
    struct kevent changes[3], events[EVENTS];
    struct timespec zero = {0, 0};
    for (int i = 0; i < 3; i++) {
        make_pipe(ends[i]);
        must(change(kq, (uintptr_t)ends[i][0], EVFILT_READ, EV_ADD, 0, 0, (uintptr_t)i + 1) == 0);
        put(ends[i][1], "x");
    }
    for (int i = 0; i < 6; i++) {
        must(kevent(kq, NULL, 0, events, 1, &zero) == 1);
        seen[i] = (unsigned)(uintptr_t)events[0].udata;
    }
    told("turns.one_at_a_time", "%u %u %u %u %u %u", seen[0], seen[1], seen[2], seen[3], seen[4],
         seen[5]);
    for (int i = 0; i < 3; i++)
        EV_SET(&changes[i], (uintptr_t)ends[i][0], EVFILT_READ, EV_DELETE, 0, 0, NULL);
    told("turns.deleted_in_the_same_call", "%s",
         said(kevent(kq, changes, 3, events, EVENTS, &zero), events));
    for (int i = 0; i < 3; i++) must(close(ends[i][0]) == 0 && close(ends[i][1]) == 0);
    must(close(kq) == 0);
}

static const struct probe_line duplicate_lines[] = {
    {"duplicate.dup", "works"},
    {"duplicate.shares_knotes", "USER CLEAR"},
};

static void duplicate(void) {
    int kq = kqueue(), copy = dup(kq);
    struct kevent events[EVENTS];
    told("duplicate.dup", "%s", copy >= 0 ? "works" : error_name(errno));
    must(change(copy, 5, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    must(trigger(kq, 5, 0) == 0);
    told("duplicate.shares_knotes", "%s", said(get(copy, events, 20), events));
    must(close(copy) == 0);
    must(close(kq) == 0);
}

int main(void) {
    const struct probe probes[] = {
        PROBE(user),  PROBE(user_flags), PROBE(many_triggers), PROBE(oneshot),   PROBE(dispatch),
        PROBE(clear), PROBE(receipt),    PROBE(turns),         PROBE(duplicate),
    };
    return probe_main("events", probes, sizeof probes / sizeof probes[0]);
}
