/* system.c - descriptors that are closed, forks, processes, signals, threads, SIGPIPE
 *
 * Of kqt: close-drops (its note is close_drops.number_reused), misc (its note is misc.cloexec),
 * threads (its note is threads.close_of_the_queue), sigpipe.
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Closed descriptors ---------------------------------------------------------------------- */

static const struct probe_line close_drops_lines[] = {
    {"close_drops.with_a_duplicate", "nothing"},
    {"close_drops.number_reused", "the same number"},
    {"close_drops.reuse_inherits_nothing", "nothing"},
    {"close_drops.delete_after_reuse", "ENOENT"},
    {"close_drops.delete_closed", "EBADF"},
};

static void close_drops(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_pipe(ends);
    uintptr_t ident = (uintptr_t)ends[0];
    must(change(kq, ident, EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    put(ends[1], "x");
    int copy = dup(ends[0]);
    must(copy >= 0 && close(ends[0]) == 0);
    told("close_drops.with_a_duplicate", "%s", said(get(kq, events, 20), events));
    int other = open("/dev/null", O_RDWR);
    told("close_drops.number_reused", "%s", other == ends[0] ? "the same number" : "another");
    told("close_drops.reuse_inherits_nothing", "%s", said(get(kq, events, 20), events));
    int result = change(kq, ident, EVFILT_READ, EV_DELETE, 0, 0, 0);
    told("close_drops.delete_after_reuse", "%s", outcome(result));
    must(close(other) == 0);
    result = change(kq, ident, EVFILT_READ, EV_DELETE, 0, 0, 0);
    told("close_drops.delete_closed", "%s", outcome(result));
    must(close(copy) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

/* ---- A queue by itself ----------------------------------------------------------------------- */

static const struct probe_line misc_lines[] = {
    {"misc.unknown_filter", "EINVAL"},  {"misc.no_room_for_events", "nothing"},
    {"misc.queue_in_queue", "nothing"}, {"misc.queue_in_queue_ready", "READ data=1"},
    {"misc.not_inherited", "EBADF"},    {"misc.cloexec", "not set"},
};

static void misc(void) {
    int kq = kqueue(), inner = kqueue(), ends[2], status;
    struct kevent events[EVENTS];
    told("misc.unknown_filter", "%s", outcome(change(kq, 0, -99, EV_ADD, 0, 0, 0)));
    told("misc.no_room_for_events", "%s", said(kevent(kq, NULL, 0, NULL, 0, NULL), events));
    make_pipe(ends);
    must(change(inner, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    must(change(kq, (uintptr_t)inner, EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    told("misc.queue_in_queue", "%s", said(get(kq, events, 10), events));
    put(ends[1], "x");
    told("misc.queue_in_queue_ready", "%s", said(get(kq, events, 100), events));
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) _exit(get(kq, events, 0) == -1 && errno == EBADF ? 42 : 1);
    must(waitpid(child, &status, 0) == child && WIFEXITED(status));
    told("misc.not_inherited", "%s", WEXITSTATUS(status) == 42 ? "EBADF" : "something else");
    told("misc.cloexec", "%s", fcntl(kq, F_GETFD) == 0 ? "not set" : "set");
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(inner) == 0);
    must(close(kq) == 0);
}

/* ---- Processes and signals ------------------------------------------------------------------- */

static const struct probe_line others_lines[] = {
    {"process.add", "0"},
    {"process.exit", "PROC ONESHOT CLEAR EOF EXIT data=1792 udata=1"}, /* 7 << 8 */
    {"signal.ignored_are_counted", "SIGNAL CLEAR data=2"},
};

static void others(void) {
    int kq = kqueue(), status;
    struct kevent events[EVENTS];
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        sleep_ms(30);
        _exit(7);
    }
    int result = change(kq, (uintptr_t)child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 1);
    told("process.add", "%s", outcome(result));
    told("process.exit", "%s", said(get(kq, events, 10000), events));
    must(waitpid(child, &status, 0) == child);

    must(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    must(change(kq, SIGUSR1, EVFILT_SIGNAL, EV_ADD, 0, 0, 0) == 0);
    must(kill(getpid(), SIGUSR1) == 0 && kill(getpid(), SIGUSR1) == 0);
    told("signal.ignored_are_counted", "%s", said(get(kq, events, 100), events));
    must(close(kq) == 0);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static const struct probe_line threads_lines[] = {
    {"threads.change_is_seen_by_waiter", "READ data=1"},
    {"threads.close_while_waiting", "nothing"},
    {"threads.close_of_the_queue", "nothing, at the end of its time"},
};

struct waiter {
    pthread_t thread;
    int kq, ms;
    char answer[64];
    double took_ms;
};

static void *wait_there(void *argument) {
    struct waiter *waiter = argument;
    struct kevent events[EVENTS];
    double began = now_ms();
    const char *answer = said(get(waiter->kq, events, waiter->ms), events);
    for (size_t i = 0; i < sizeof waiter->answer - 1 && answer[i] != '\0'; i++) {
        waiter->answer[i] = answer[i];
    }
    waiter->took_ms = now_ms() - began;
    return NULL;
}

static void wait_begin(struct waiter *waiter, int kq, int ms) {
    *waiter = (struct waiter){.kq = kq, .ms = ms};
    must(pthread_create(&waiter->thread, NULL, wait_there, waiter) == 0);
    sleep_ms(50);
}

static void wait_end(struct waiter *waiter) {
    must(pthread_join(waiter->thread, NULL) == 0);
}

static void threads(void) {
    int kq = kqueue(), ends[2];
    struct waiter waiter;
    make_pipe(ends);
    wait_begin(&waiter, kq, 20000);
    must(change(kq, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    put(ends[1], "x");
    wait_end(&waiter);
    told("threads.change_is_seen_by_waiter", "%s",
         waiter.took_ms < 10000 ? waiter.answer : "too late");
    must(take(ends[0], 1) == 1);

    wait_begin(&waiter, kq, 500);
    must(close(ends[0]) == 0);
    wait_end(&waiter);
    told("threads.close_while_waiting", "%s", waiter.answer);

    wait_begin(&waiter, kq, 500);
    must(close(kq) == 0);
    wait_end(&waiter);
    told("threads.close_of_the_queue", "%s, %s", waiter.answer,
         waiter.took_ms >= 499 ? "at the end of its time" : "early");
    must(close(ends[1]) == 0);
}

/* ---- SIGPIPE --------------------------------------------------------------------------------- */

static const struct probe_line sigpipe_lines[] = {
    {"sigpipe.ignored", "EPIPE"},
    {"sigpipe.so_nosigpipe", "works, or is not there"},
    {"sigpipe.msg_nosignal", "works, or is not there"},
};

static int with_option(int fd) {
#ifdef SO_NOSIGPIPE
    int on = 1;
    must(setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) == 0);
    return write(fd, "x", 1) == -1 && errno == EPIPE;
#else
    (void)fd;
    return 1;
#endif
}

static int with_flag(int fd) {
#ifdef MSG_NOSIGNAL
    return send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE;
#else
    (void)fd;
    return 1;
#endif
}

/* In a child, which SIGPIPE may kill. */
static const char *survives(int (*does)(int fd)) {
    int status;
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        int ends[2];
        (void)signal(SIGPIPE, SIG_DFL);
        make_unix_pair(ends, SOCK_STREAM);
        must(close(ends[1]) == 0);
        _exit(does(ends[0]) ? 42 : 1);
    }
    must(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status)) return "it was killed";
    return WEXITSTATUS(status) == 42 ? "works, or is not there" : "something else";
}

static void sigpipe(void) {
    int ends[2];
    must(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    make_unix_pair(ends, SOCK_STREAM);
    must(close(ends[1]) == 0);
    told("sigpipe.ignored", "%s", write(ends[0], "x", 1) < 0 ? error_name(errno) : "bytes");
    must(close(ends[0]) == 0);
    told("sigpipe.so_nosigpipe", "%s", survives(with_option));
    told("sigpipe.msg_nosignal", "%s", survives(with_flag));
}

int main(void) {
    const struct probe probes[] = {PROBE(close_drops), PROBE(misc), PROBE(others), PROBE(threads),
                                   PROBE(sigpipe)};
    return probe_main("system", probes, sizeof probes / sizeof probes[0]);
}
