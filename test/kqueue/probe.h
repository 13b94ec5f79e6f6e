/* probe.h - what a kqueue answers, line by line, against what FreeBSD's answered
 *
 * The programs of test/kqueue/ do things to a kqueue and write down the answers, a line each;
 * beside them stand, in tables, the answers of a FreeBSD 12.3 kernel. Each line is a test. They
 * need nothing but POSIX, <sys/event.h> and cmocka, so that they run on a real system; on Linux
 * they judge the fake of test/support/kevent.
 *
 * They came out of two earlier probes, kqt and kqt2, whose output on FreeBSD the tables repeat:
 * each file says which of their parts it has. Where those printed a time, a number of
 * descriptors or the size of a buffer, here is whether there was an event; numbers of errors, which
 * differ, are names.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_PROBE_H
#define FERRY_TEST_PROBE_H

#include <sys/types.h>
#include <sys/event.h>
#include <stddef.h>
#include <stdint.h>

#ifndef NOTE_ABSTIME /* macOS has another name for it */
#define NOTE_ABSTIME NOTE_ABSOLUTE
#endif

struct probe_line {
    const char *name;
    const char *freebsd; /* the answer */
};

/* A few lines that are found out together. */
struct probe {
    void (*run)(void);
    const struct probe_line *lines;
    size_t count;
};

#define PROBE(name)                                                                                \
    { name, name##_lines, sizeof name##_lines / sizeof name##_lines[0] }

/* Where the fake answers otherwise: deviations.c. */
struct probe_deviation {
    const char *name;
    const char *fake; /* its answer */
    const char *reason;
};

extern const struct probe_deviation probe_deviations[];
extern const size_t probe_deviation_count;

/* Runs all of them and tests each line: what main() returns. */
int probe_main(const char *group, const struct probe *probes, size_t count);

/* Writes down an answer. */
void told(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The answer is FreeBSD's for want of what it takes to find out. */
void told_nothing(const char *name, const char *reason);

/* Ends the program: something without which there is nothing to find out does not work. */
#define must(condition) must_line((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
void must_line(int is_so, const char *what, const char *file, int line);

/* ---- Events as text ------------------------------------------------------------------------ */

/* What a call of kevent() gave: "nothing", the name of an error, or the events, sorted and
 * separated by ", ": filter, flags but EV_ADD, error or notes, data= (not for writing: room is a
 * size), udata= if there is one. Static memory, good for the next 7 calls too. */
const char *said(int count, const struct kevent *events);

/* "0" or the name of the error of a call that gives 0 or -1. */
const char *outcome(int result);

const char *error_name(int error);

/* The one among them of this filter; NULL: there is none. */
const struct kevent *of_filter(int count, const struct kevent *events, int filter);

/* ---- Short forms --------------------------------------------------------------------------- */

enum { EVENTS = 8 };

/* Waits ms at most for events; events has room for EVENTS. */
int get(int kq, struct kevent *events, int ms);

/* As get(), but goes on until wanted different ones are there or the time is over, and keeps the
 * latest of each: for what a system does not do at once. */
int collect(int kq, struct kevent *events, int wanted, int ms);

/* One change, no events. */
int change(int kq, uintptr_t ident, int filter, int flags, unsigned fflags, int64_t data,
           uintptr_t udata);

double now_ms(void);
void sleep_ms(int ms);

int open_descriptors(void); /* how many this process has */
void set_nonblocking(int fd);
void put(int fd, const char *text); /* all of it */
int take(int fd, int bytes);        /* what one read gives, -1 for an error */
void make_pipe(int ends[2]);
void make_unix_pair(int ends[2], int type);
void make_tcp_pair(int ends[2]); /* connected, accepted */
int make_listener(uint16_t *port);
int connect_to(int fd, uint16_t port);

/* A new name in a directory for temporary files. Static memory. */
const char *temp_name(void);

#endif
