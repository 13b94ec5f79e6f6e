/* probe.c - answers written down and compared; events as text
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lines ----------------------------------------------------------------------------------- */

enum { LINES = 96, ANSWER = 256 };

static struct {
    const struct probe_line *line;
    char answer[ANSWER];
    int is_told;
} answers[LINES];
static size_t answer_count;

static size_t find(const char *name) {
    for (size_t i = 0; i < answer_count; i++) {
        if (strcmp(answers[i].line->name, name) == 0) return i;
    }
    fprintf(stderr, "no line %s\n", name);
    exit(1);
}

void told(const char *name, const char *format, ...) {
    size_t i = find(name);
    va_list list;
    va_start(list, format);
    (void)vsnprintf(answers[i].answer, ANSWER, format, list);
    va_end(list);
    answers[i].is_told = 1;
}

void told_nothing(const char *name, const char *reason) {
    print_message("%s: nothing found out: %s\n", name, reason);
    told(name, "%s", answers[find(name)].line->freebsd);
}

void must_line(int is_so, const char *what, const char *file, int line) {
    if (is_so) return;
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, strerror(errno));
    exit(1);
}

static const char *expected(const struct probe_line *line) {
#ifdef FERRY_TEST_FAKE_KEVENT
    for (size_t i = 0; i < probe_deviation_count; i++) {
        if (strcmp(probe_deviations[i].name, line->name) == 0) return probe_deviations[i].fake;
    }
#endif
    return line->freebsd;
}

static void compare(void **state) {
    const struct probe_line *line = *state;
    size_t i = find(line->name);
    assert_true(answers[i].is_told);
    assert_string_equal(answers[i].answer, expected(line));
}

int probe_main(const char *group, const struct probe *probes, size_t count) {
    static struct CMUnitTest tests[LINES];
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < probes[i].count; k++) {
            const struct probe_line *line = &probes[i].lines[k];
            must(answer_count < LINES);
            tests[answer_count] = (struct CMUnitTest){.name = line->name, .test_func = compare};
            tests[answer_count].initial_state = (void *)(uintptr_t)line;
            answers[answer_count++].line = line;
        }
    }
    for (size_t i = 0; i < count; i++) probes[i].run();
    return _cmocka_run_group_tests(group, tests, answer_count, NULL, NULL);
}

/* ---- Names ----------------------------------------------------------------------------------- */

#define NAME(value)                                                                                \
    { (value), #value }

const char *error_name(int error) {
    static const struct {
        int value;
        const char *name;
    } names[] = {
        NAME(EAGAIN),      NAME(EBADF),  NAME(ECANCELED), NAME(ECONNABORTED), NAME(ECONNREFUSED),
        NAME(ECONNRESET),  NAME(EINTR),  NAME(EINVAL),    NAME(EIO),          NAME(EMFILE),
        NAME(EINPROGRESS), NAME(ENODEV), NAME(ENOENT),    NAME(ENOMEM),       NAME(ENOTCONN),
        NAME(EOPNOTSUPP),  NAME(EPERM),  NAME(EPIPE),     NAME(ESRCH),        NAME(ETIMEDOUT),
        {0, "no error"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].value == error) return names[i].name;
    }
    return "another error";
}

const char *outcome(int result) {
    return result == 0 ? "0" : error_name(errno);
}

static const char *filter_name(int filter) {
    static const struct {
        int value;
        const char *name;
    } names[] = {
        {EVFILT_READ, "READ"}, {EVFILT_WRITE, "WRITE"},   {EVFILT_VNODE, "VNODE"},
        {EVFILT_PROC, "PROC"}, {EVFILT_SIGNAL, "SIGNAL"}, {EVFILT_TIMER, "TIMER"},
        {EVFILT_USER, "USER"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].value == filter) return names[i].name;
    }
    return "OTHER";
}

/* ---- Events as text -------------------------------------------------------------------------- */

struct text {
    char *bytes;
    size_t used;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int len = vsnprintf(text->bytes + text->used, ANSWER - text->used, format, list);
    va_end(list);
    must(len >= 0 && (size_t)len < ANSWER - text->used);
    text->used += (size_t)len;
}

static void add_flags(struct text *text, unsigned flags) {
    static const struct {
        unsigned value;
        const char *name;
    } names[] = {
        {EV_ONESHOT, "ONESHOT"}, {EV_CLEAR, "CLEAR"}, {EV_DISPATCH, "DISPATCH"},
        {EV_RECEIPT, "RECEIPT"}, {EV_EOF, "EOF"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (flags & names[i].value) add(text, " %s", names[i].name);
    }
}

static void add_notes(struct text *text, const struct kevent *event) {
    int is_descriptor = event->filter == EVFILT_READ || event->filter == EVFILT_WRITE;
    if (event->fflags == 0) return;
    if (is_descriptor) add(text, " %s", error_name((int)event->fflags));
    else if (event->filter == EVFILT_PROC && event->fflags == NOTE_EXIT) add(text, " EXIT");
    else add(text, " fflags=%x", event->fflags);
}

static void add_event(struct text *text, const struct kevent *event) {
    if (event->flags & EV_ERROR) {
        add(text, "ERROR %s", event->data == 0 ? "0" : error_name((int)event->data));
        return;
    }
    add(text, "%s", filter_name(event->filter));
    add_flags(text, event->flags);
    add_notes(text, event);
    int is_size = event->filter == EVFILT_WRITE;
    if (!is_size && (event->data != 0 || event->filter == EVFILT_READ)) {
        add(text, " data=%lld", (long long)event->data);
    }
    uintptr_t udata = (uintptr_t)event->udata;
    if (udata != 0) add(text, " udata=%llx", (unsigned long long)udata);
}

/* By filter, reading first, then by data. Errors are as they came. */
static int compare_events(const void *a, const void *b) {
    const struct kevent *left = a, *right = b;
    if (left->flags & EV_ERROR || right->flags & EV_ERROR) return 0;
    if (left->filter != right->filter) return right->filter - left->filter;
    return (left->data > right->data) - (left->data < right->data);
}

const char *said(int count, const struct kevent *events) {
    static char texts[8][ANSWER];
    static unsigned next;
    if (count < 0) return error_name(errno);
    if (count == 0) return "nothing";
    struct kevent sorted[EVENTS];
    must(count <= EVENTS);
    memcpy(sorted, events, (size_t)count * sizeof *events);
    qsort(sorted, (size_t)count, sizeof *sorted, compare_events);
    struct text text = {.bytes = texts[next++ % 8]};
    for (int i = 0; i < count; i++) {
        if (i > 0) add(&text, ", ");
        add_event(&text, &sorted[i]);
    }
    return text.bytes;
}

const struct kevent *of_filter(int count, const struct kevent *events, int filter) {
    for (int i = 0; i < count; i++) {
        if (events[i].filter == filter) return &events[i];
    }
    return NULL;
}
