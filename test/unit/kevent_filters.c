/* The fake of kevent, filter by filter: processes, signals, descriptors (files: kevent_vnodes.c).
 * What a kernel answers is tested in test/kqueue/; this is what our backend needs of the fake
 * beyond that.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kqueue/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Short forms ------------------------------------------------------------------------- */

static int kq, descriptors_before;

static int open_queue(void **state) {
    (void)state;
    descriptors_before = open_descriptors();
    kq = kqueue();
    return kq >= 0 ? 0 : -1;
}

static int close_queue(void **state) {
    (void)state;
    if (close(kq) != 0) return -1;
    return open_descriptors() == descriptors_before ? 0 : -1;
}

/* What is there within a second, or, if nothing is to be, within a moment. */
static const char *answer(void) {
    struct kevent events[EVENTS];
    return said(get(kq, events, 1000), events);
}

static const char *answer_soon(void) {
    struct kevent events[EVENTS];
    return said(get(kq, events, 20), events);
}

static int add(uintptr_t ident, int filter, int flags, unsigned fflags) {
    return change(kq, ident, filter, EV_ADD | flags, fflags, 0, 0);
}

/* ---- Processes --------------------------------------------------------------------------- */

static pid_t start_child(int status) {
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) _exit(status);
    return child;
}

static void end_child(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void a_dead_child(void **state) {
    (void)state;
    pid_t child = start_child(3);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(add((uintptr_t)child, EVFILT_PROC, 0, NOTE_EXIT), 0);
    assert_string_equal(answer(), "PROC ONESHOT CLEAR EOF EXIT data=768");
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(change(kq, (uintptr_t)child, EVFILT_PROC, EV_DELETE, 0, 0, 0), -1);
    assert_int_equal(errno, ENOENT);
    end_child(child);
}

static void no_such_process(void **state) {
    (void)state;
    pid_t child = start_child(0);
    end_child(child);
    assert_int_equal(add((uintptr_t)child, EVFILT_PROC, 0, NOTE_EXIT), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(add(UINTPTR_MAX, EVFILT_PROC, 0, NOTE_EXIT), -1);
    assert_int_equal(errno, ESRCH);
}

static void a_killed_child(void **state) {
    (void)state;
    pid_t child = fork();
    must(child >= 0);
    while (child == 0) pause();
    assert_int_equal(add((uintptr_t)child, EVFILT_PROC, 0, NOTE_EXIT), 0);
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_string_equal(answer(), "PROC ONESHOT CLEAR EOF EXIT data=9");
    end_child(child);
}

/* ---- Signals ----------------------------------------------------------------------------- */

static volatile sig_atomic_t handled, informed;

static void on_signal(int number) {
    handled += number == SIGUSR1;
}

static void on_informed(int number, siginfo_t *info, void *context) {
    (void)context;
    informed += number == SIGUSR1 && info->si_pid == getpid();
}

static void raise_here(int number) {
    assert_int_equal(kill(getpid(), number), 0);
}

static void set_handler(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    assert_int_equal(sigaction(number, &action, NULL), 0);
}

static void (*handler_of(int number))(int) {
    struct sigaction action;
    assert_int_equal(sigaction(number, NULL, &action), 0);
    return action.sa_handler;
}

static void signals_beside_handlers(void **state) {
    (void)state;
    handled = informed = 0;
    set_handler(SIGUSR1, on_signal);
    assert_int_equal(add(SIGUSR1, EVFILT_SIGNAL, 0, 0), 0);
    assert_true(handler_of(SIGUSR1) == on_signal);
    for (int i = 0; i < 3; i++) raise_here(SIGUSR1);
    assert_string_equal(answer(), "SIGNAL CLEAR data=3");
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(handled, 3);

    /* Another handler, while it is watched. */
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_informed;
    action.sa_flags = SA_SIGINFO;
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    assert_true(old.sa_handler == on_signal);
    raise_here(SIGUSR1);
    assert_string_equal(answer(), "SIGNAL CLEAR data=1");
    assert_int_equal(handled, 3);
    assert_int_equal(informed, 1);

    assert_true(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    raise_here(SIGUSR1);
    assert_string_equal(answer(), "SIGNAL CLEAR data=1");
    set_handler(SIGUSR1, on_signal);
    assert_int_equal(change(kq, SIGUSR1, EVFILT_SIGNAL, EV_DELETE, 0, 0, 0), 0);
    assert_true(handler_of(SIGUSR1) == on_signal);
    raise_here(SIGUSR1);
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(handled, 4);
    assert_true(signal(SIGUSR1, SIG_DFL) == on_signal);
}

static void signals_for_two_queues(void **state) {
    (void)state;
    int other = kqueue();
    struct kevent events[EVENTS];
    set_handler(SIGUSR1, on_signal);
    assert_int_equal(add(SIGUSR1, EVFILT_SIGNAL, 0, 0), 0);
    raise_here(SIGUSR1);
    assert_int_equal(change(other, SIGUSR1, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), 0);
    raise_here(SIGUSR1);
    assert_string_equal(answer(), "SIGNAL CLEAR data=2");
    assert_string_equal(said(get(other, events, 1000), events), "SIGNAL CLEAR data=1");
    assert_int_equal(close(other), 0);
    raise_here(SIGUSR1);
    assert_string_equal(answer(), "SIGNAL CLEAR data=1");
    assert_true(signal(SIGUSR1, SIG_DFL) == on_signal);
    assert_int_equal(change(kq, 0, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), -1);
    assert_int_equal(errno, EINVAL);
}

static void *wait_blocked(void *argument) {
    struct kevent events[EVENTS];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    must(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    double began = now_ms();
    const char *found = said(get(kq, events, 20000), events);
    *(const char **)argument = now_ms() - began < 10000 ? found : "too late";
    return NULL;
}

/* One thread handles it, another one is told. */
static void a_signal_wakes(void **state) {
    (void)state;
    pthread_t thread;
    const char *found;
    set_handler(SIGUSR1, on_signal);
    assert_int_equal(add(SIGUSR1, EVFILT_SIGNAL, 0, 0), 0);
    must(pthread_create(&thread, NULL, wait_blocked, &found) == 0);
    sleep_ms(30);
    raise_here(SIGUSR1);
    must(pthread_join(thread, NULL) == 0);
    assert_string_equal(found, "SIGNAL CLEAR data=1");
    assert_true(signal(SIGUSR1, SIG_DFL) == on_signal);
}

/* The death of a child, of which nobody takes notice by default. */
static void sigchld_by_default(void **state) {
    (void)state;
    assert_true(handler_of(SIGCHLD) == SIG_DFL);
    assert_int_equal(add(SIGCHLD, EVFILT_SIGNAL, 0, 0), 0);
    assert_true(handler_of(SIGCHLD) == SIG_DFL);
    pid_t child = start_child(0);
    assert_string_equal(answer(), "SIGNAL CLEAR data=1");
    end_child(child);
}

/* ---- Descriptors ------------------------------------------------------------------------- */

/* What the backend does: write until it would wait, and wait. */
static void room_after_none(void **state) {
    (void)state;
    static const char block[65536];
    int ends[2];
    make_unix_pair(ends, SOCK_STREAM);
    set_nonblocking(ends[0]);
    set_nonblocking(ends[1]);
    assert_int_equal(add((uintptr_t)ends[0], EVFILT_WRITE, EV_CLEAR, 0), 0);
    assert_string_equal(answer(), "WRITE CLEAR");
    for (int i = 0; i < 3; i++) {
        while (write(ends[0], block, sizeof block) > 0) continue;
        assert_string_equal(answer_soon(), "nothing");
        while (take(ends[1], sizeof block) > 0) continue;
        assert_string_equal(answer(), "WRITE CLEAR");
    }
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

static void disabled_for_a_while(void **state) {
    (void)state;
    int ends[2];
    make_pipe(ends);
    uintptr_t ident = (uintptr_t)ends[0];
    assert_int_equal(add(ident, EVFILT_READ, EV_CLEAR | EV_DISABLE, 0), 0);
    put(ends[1], "x");
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(change(kq, ident, EVFILT_READ, EV_ENABLE, 0, 0, 8), 0);
    assert_string_equal(answer(), "READ CLEAR data=1 udata=8");
    assert_int_equal(change(kq, ident, EVFILT_READ, EV_DISABLE, 0, 0, 8), 0);
    put(ends[1], "y");
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(add(ident, EVFILT_READ, EV_CLEAR, 0), 0); /* enables it as well */
    assert_string_equal(answer(), "READ CLEAR data=2");
    assert_int_equal(change(kq, ident, EVFILT_READ, EV_DELETE, 0, 0, 0), 0);
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

static void refused_changes(void **state) {
    (void)state;
    int ends[2];
    make_pipe(ends);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(add((uintptr_t)ends[1], EVFILT_WRITE, 0, 0), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(change(kq, (uintptr_t)ends[1], EVFILT_WRITE, EV_ENABLE, 0, 0, 0), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(add((uintptr_t)ends[1], EVFILT_VNODE, 0, NOTE_WRITE), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(add(1, EVFILT_AIO, 0, 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(add(1, EVFILT_TIMER, 0, NOTE_SECONDS | NOTE_MSECONDS), -1);
    assert_int_equal(errno, EINVAL);
    struct timespec wrong = {0, 1000000000};
    struct kevent events[EVENTS];
    assert_int_equal(kevent(kq, NULL, 0, events, EVENTS, &wrong), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(close(ends[1]), 0);
}

/* A reset is told, and left for the program to find. */
static void a_reset_is_left_in_place(void **state) {
    (void)state;
    int ends[2], error = 0;
    socklen_t len = sizeof error;
    struct linger at_once = {1, 0};
    make_tcp_pair(ends);
    assert_int_equal(add((uintptr_t)ends[0], EVFILT_READ, EV_CLEAR, 0), 0);
    assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    assert_int_equal(close(ends[1]), 0);
    assert_string_equal(answer(), "READ CLEAR EOF ECONNRESET data=0");
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(getsockopt(ends[0], SOL_SOCKET, SO_ERROR, &error, &len), 0);
    assert_int_equal(error, ECONNRESET);
    assert_int_equal(close(ends[0]), 0);
}

/* A socket that was refused may be tried again, and is refused again. */
static void refused_twice(void **state) {
    (void)state;
    uint16_t port;
    assert_int_equal(close(make_listener(&port)), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0), error;
    socklen_t len = sizeof error;
    set_nonblocking(fd);
    assert_int_equal(add((uintptr_t)fd, EVFILT_WRITE, EV_CLEAR, 0), 0);
    for (int i = 0; i < 2; i++) {
        int result = connect_to(fd, port);
        if (result != 0 && errno == ECONNABORTED) result = connect_to(fd, port); /* the last one */
        assert_int_equal(result, -1);
        assert_int_equal(errno, EINPROGRESS);
        assert_string_equal(answer(), "WRITE CLEAR EOF ECONNREFUSED");
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
        assert_int_equal(error, ECONNREFUSED);
        (void)answer_soon(); /* that it is gone may be told, or not */
    }
    assert_int_equal(close(fd), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)
    const struct CMUnitTest tests[] = {
        TEST(a_dead_child),
        TEST(no_such_process),
        TEST(a_killed_child),
        TEST(signals_beside_handlers),
        TEST(signals_for_two_queues),
        TEST(a_signal_wakes),
        TEST(sigchld_by_default),
        TEST(room_after_none),
        TEST(disabled_for_a_while),
        TEST(refused_changes),
        TEST(a_reset_is_left_in_place),
        TEST(refused_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
