/* The poller on kqueue by itself: what it tells of descriptors of many kinds, what cannot be
 * watched, how long it waits, and what a forked child leaves alone. Here it stands on the fake of
 * kevent.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/adapter.h"
#include "kqueue/kqueue.h"
#include "posix/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000u
#define EVENTS 16

extern const struct ferry__poller ferry__poller_kqueue;

static const struct ferry__poller *const poller = &ferry__poller_kqueue;
static struct ferry__poll set;
static struct ferry__event events[EVENTS];

static int opens(void **state) {
    struct ferry__refused why = {0, ""};
    (void)state;
    return poller->open(&set, true, &why);
}

static int closes(void **state) {
    (void)state;
    poller->close(&set, false);
    return 0;
}

/* What is told of fd within ms, of both directions at once; asserts that it is of this generation.
 */
static uint32_t told(int fd, uint32_t generation, unsigned ms) {
    uint32_t ready = 0;
    int count = poller->wait(&set, events, EVENTS, ms > 0 ? ferry__os_clock() + ms * MS : 0);
    assert_in_range(count, 0, EVENTS);
    for (int i = 0; i < count; i++) {
        assert_int_equal(events[i].fd, fd);
        assert_int_equal(events[i].generation, generation);
        ready |= events[i].ready;
    }
    return ready;
}

static bool is_readable(int fd) {
    struct pollfd look = {.fd = fd, .events = POLLIN};
    return poll(&look, 1, 0) == 1;
}

/* ---- Descriptors ------------------------------------------------------------------------- */

static void a_socket(void **state) {
    (void)state;
    char scrap[8];
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(poller->add(&set, ends[0], 0xfffffff0u), 0);
    assert_int_equal(told(ends[0], 0xfffffff0u, 100), READY_OUT); /* what is there already */
    assert_int_equal(told(ends[0], 0xfffffff0u, 0), 0);
    assert_int_equal(write(ends[1], "abc", 3), 3);
    assert_int_equal(told(ends[0], 0xfffffff0u, 100), READY_IN);
    assert_int_equal(told(ends[0], 0xfffffff0u, 0), 0); /* it is left there, but has been told */
    assert_int_equal(read(ends[0], scrap, sizeof scrap), 3);

    /* Added anew: of another generation, and what is there is told again. */
    assert_int_equal(write(ends[1], "abc", 3), 3);
    assert_int_equal(poller->add(&set, ends[0], 7), 0);
    assert_int_equal(told(ends[0], 7, 100), READY_IN | READY_OUT);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    assert_int_equal(told(ends[0], 7, 100) & ~(unsigned)READY_OUT, READY_IN | READY_ENDED);
    assert_int_equal(close(ends[1]), 0);
    assert_true(told(ends[0], 7, 100) & READY_OUT);

    poller->remove(&set, ends[0]);
    poller->remove(&set, ends[0]); /* does no harm */
    assert_int_equal(told(ends[0], 7, 0), 0);
    assert_int_equal(close(ends[0]), 0);
}

static void pipes(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(poller->add(&set, ends[0], 1), 0);
    assert_int_equal(told(ends[0], 1, 0) & READY_IN, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(told(ends[0], 1, 100), READY_IN);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(told(ends[0], 1, 100) & (READY_IN | READY_ENDED), READY_IN | READY_ENDED);
    assert_int_equal(close(ends[0]), 0);

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(poller->add(&set, ends[1], 2), 0);
    assert_int_equal(told(ends[1], 2, 100), READY_OUT);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(told(ends[1], 2, 100), READY_OUT);
    /* Now it cannot be watched any more, and nothing of it stays. */
    assert_int_equal(poller->add(&set, ends[1], 3), -EPERM);
    assert_int_equal(told(ends[1], 3, 0), 0);
    assert_int_equal(close(ends[1]), 0);
}

/* It can be read from alone. */
static void another_queue(void **state) {
    (void)state;
    int queue = kqueue();
    struct kevent change;
    EV_SET(&change, 1, EVFILT_USER, EV_ADD, 0, 0, NULL);
    assert_int_equal(kevent(queue, &change, 1, NULL, 0, NULL), 0);
    assert_int_equal(poller->add(&set, queue, 1), 0);
    assert_int_equal(told(queue, 1, 0), 0);
    EV_SET(&change, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    assert_int_equal(kevent(queue, &change, 1, NULL, 0, NULL), 0);
    assert_int_equal(told(queue, 1, 100), READY_IN);
    assert_int_equal(close(queue), 0);
}

static void what_is_never_watched(void **state) {
    (void)state;
    int file = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    int directory = open("/", O_RDONLY | O_CLOEXEC);
    int device = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(poller->add(&set, file, 1), -EPERM);
    assert_int_equal(poller->add(&set, directory, 1), -EPERM);
    assert_int_equal(poller->add(&set, device, 1), -EPERM);
    assert_int_equal(poller->add(&set, 9999, 1), -EBADF);
    assert_int_equal(poller->wait(&set, events, EVENTS, 0), 0);
    assert_int_equal(close(file), 0);
    assert_int_equal(close(directory), 0);
    assert_int_equal(close(device), 0);
}

/* ---- Waiting ----------------------------------------------------------------------------- */

static void a_wait_is_never_too_short(void **state) {
    (void)state;
    for (unsigned us = 100; us < 20000; us *= 3) {
        uint64_t deadline = ferry__os_clock() + us * (uint64_t)1000;
        assert_int_equal(poller->wait(&set, events, EVENTS, deadline), 0);
        assert_true(ferry__os_clock() >= deadline);
    }
    assert_true(set.fine_waits > 0);
    uint64_t fine = set.fine_waits, deadline = ferry__os_clock() + 1500000;
    set.lacks_nanoseconds = true;
    assert_int_equal(poller->wait(&set, events, EVENTS, deadline), 0);
    assert_true(ferry__os_clock() >= deadline);
    assert_int_equal(set.fine_waits, fine);
    poller->wake(&set);
    assert_int_equal(poller->wait(&set, events, EVENTS, UINT64_MAX - 1), 0); /* in 585 years */
}

static struct timespec span_seen;

static int kevent_interrupted(int queue, const struct kevent *changes, int change_count,
                              struct kevent *raw, int max, const struct timespec *span) {
    (void)queue, (void)changes, (void)change_count, (void)raw, (void)max;
    span_seen = *span;
    errno = EINTR;
    return -1;
}

static void a_wait_of_a_day_at_most_and_interrupted(void **state) {
    (void)state;
    struct ferry__kqueue_calls plain = ferry__kqueue_calls;
    ferry__kqueue_calls.kevent = kevent_interrupted;
    assert_int_equal(poller->wait(&set, events, EVENTS, UINT64_MAX - 1), 0);
    ferry__kqueue_calls = plain;
    assert_int_equal(span_seen.tv_sec, 24 * 3600);
    assert_int_equal(span_seen.tv_nsec, 0);
}

/* ---- Wake and kick ----------------------------------------------------------------------- */

static void wake_and_kick(void **state) {
    (void)state;
    assert_false(is_readable(set.wake_fd));
    for (int i = 0; i < 100000; i++) poller->wake(&set); /* more than a pipe has room for */
    errno = 0;
    poller->wake(&set);
    assert_int_equal(errno, 0);
    for (int i = 0; i < 2; i++) { /* as long as it is not taken */
        set.woke = false;
        assert_int_equal(poller->wait(&set, events, EVENTS, UINT64_MAX), 0);
        assert_true(set.woke);
    }
    assert_true(is_readable(set.fd));
    poller->woken(&set);
    assert_false(is_readable(set.wake_fd));
    set.woke = false;
    assert_int_equal(poller->wait(&set, events, EVENTS, 0), 0);
    assert_false(set.woke);
    assert_false(is_readable(set.fd));
    poller->woken(&set); /* does not wait */

    poller->kick(&set);
    assert_false(is_readable(set.fd));
    assert_true(is_readable(set.kick_fd));
    poller->kicked(&set);
    assert_false(is_readable(set.kick_fd));
    poller->kicked(&set);
}

static void nothing_is_inherited(void **state) {
    (void)state;
    const int fds[] = {set.fd, set.wake_fd, set.wake_to, set.kick_fd, set.kick_to};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
    }
}

/* A child has no queue, and what it has at that number is its own. */
static void a_child_closes_what_it_has(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        int number = set.fd, pipe_fd = set.wake_fd, own = dup2(STDIN_FILENO, number);
        poller->close(&set, true);
        bool right = own == number && fcntl(number, F_GETFD) >= 0 && fcntl(pipe_fd, F_GETFD) < 0;
        _exit(right ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- When calls fail --------------------------------------------------------------------- */

static int fails(void) {
    errno = EMFILE;
    return -1;
}

static int fails_to_set(int fd) {
    (void)fd;
    errno = EACCES;
    return -1;
}

static void it_does_not_open(void **state) {
    (void)state;
    struct ferry__kqueue_calls plain = ferry__kqueue_calls;
    struct ferry__refused why = {0, ""};
    struct ferry__poll other;
    ferry__kqueue_calls.kqueue = fails;
    assert_int_equal(poller->open(&other, true, &why), FERRY_EMFILE);
    ferry__kqueue_calls = plain;
    ferry__kqueue_calls.close_on_exec = fails_to_set;
    assert_int_equal(poller->open(&other, true, &why), FERRY_ENOTSUP);
    ferry__kqueue_calls = plain;
    assert_int_equal(why.error, FERRY_EACCES);
    assert_int_equal(other.fd, -1);
}

static int kevent_fails(int queue, const struct kevent *changes, int change_count,
                        struct kevent *raw, int max, const struct timespec *span) {
    (void)queue, (void)changes, (void)change_count, (void)raw, (void)max, (void)span;
    errno = ENOMEM;
    return -1;
}

static void it_does_not_add(void **state) {
    (void)state;
    struct ferry__kqueue_calls plain = ferry__kqueue_calls;
    ferry__kqueue_calls.kevent = kevent_fails;
    assert_int_equal(poller->add(&set, set.kick_fd, 1), -ENOMEM);
    assert_int_equal(poller->wait(&set, events, EVENTS, 0), -ENOMEM);
    ferry__kqueue_calls = plain;
}

/* ---- The adapter ------------------------------------------------------------------------- */

static int broken_pipe; /* its reading side; -1: closed */

/* Whoever reads goes away just before the pipe is to be watched. */
static int kevent_too_late(int queue, const struct kevent *changes, int change_count,
                           struct kevent *raw, int max, const struct timespec *span) {
    if (change_count == 2 && broken_pipe >= 0) {
        (void)close(broken_pipe);
        broken_pipe = -1;
    }
    return kevent(queue, changes, change_count, raw, max, span);
}

static int64_t result;

static void on_poll(ferry_op *op) {
    result = op->result;
}

static void a_poll_of_a_pipe_that_breaks(void **state) {
    (void)state;
    struct ferry__kqueue_calls plain = ferry__kqueue_calls;
    ferry_config config = {.size = sizeof config, .backend = FERRY_KQUEUE};
    ferry_loop *loop;
    ferry_op op = {.state = 0};
    int ends[2];
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    assert_int_equal(pipe(ends), 0);
    broken_pipe = ends[0];
    ferry__kqueue_calls.kevent = kevent_too_late;
    ferry_poll(loop, &op, ends[1], 0, 0, on_poll); /* for its end alone */
    while (result == 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    ferry__kqueue_calls = plain;
    assert_int_equal(broken_pipe, -1);
    assert_int_equal(result, FERRY_POLL_ERR);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, opens, closes)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_socket),
        TEST(pipes),
        TEST(another_queue),
        TEST(what_is_never_watched),
        TEST(a_wait_is_never_too_short),
        TEST(a_wait_of_a_day_at_most_and_interrupted),
        TEST(wake_and_kick),
        TEST(nothing_is_inherited),
        TEST(a_child_closes_what_it_has),
        cmocka_unit_test(it_does_not_open),
        TEST(it_does_not_add),
        cmocka_unit_test(a_poll_of_a_pipe_that_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
