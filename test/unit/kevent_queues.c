/* The fake of kevent as a queue: threads, queues within queues and within epoll, numbers that are
 * used again, forks, many knotes. What a kernel answers is tested in test/kqueue/; this is what our
 * backend needs of the fake beyond that.
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
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Short forms ------------------------------------------------------------------------- */

static int descriptors_before;

static int count_before(void **state) {
    (void)state;
    descriptors_before = open_descriptors();
    return 0;
}

static int count_after(void **state) {
    (void)state;
    return open_descriptors() == descriptors_before ? 0 : -1;
}

static void add(int kq, int fd, int filter, int flags, uintptr_t udata) {
    assert_int_equal(change(kq, (uintptr_t)fd, filter, EV_ADD | flags, 0, 0, udata), 0);
}

static void add_user(int kq, uintptr_t ident, int flags) {
    assert_int_equal(change(kq, ident, EVFILT_USER, EV_ADD | flags, 0, 0, ident), 0);
}

static void trigger(int kq, uintptr_t ident) {
    assert_int_equal(change(kq, ident, EVFILT_USER, 0, NOTE_TRIGGER, 0, ident), 0);
}

static bool is_readable(int fd) {
    struct pollfd descriptor = {.fd = fd, .events = POLLIN};
    return poll(&descriptor, 1, 0) == 1;
}

static void close_both(int ends[2]) {
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

/* ---- Threads ----------------------------------------------------------------------------- */

struct waiter {
    pthread_t thread;
    int kq, result;
    double took_ms;
    struct kevent events[EVENTS];
};

static void *wait_there(void *argument) {
    struct waiter *waiter = argument;
    double began = now_ms();
    waiter->result = get(waiter->kq, waiter->events, 20000);
    waiter->took_ms = now_ms() - began;
    return NULL;
}

static void wait_begin(struct waiter *waiter, int kq) {
    *waiter = (struct waiter){.kq = kq};
    must(pthread_create(&waiter->thread, NULL, wait_there, waiter) == 0);
    sleep_ms(30);
}

static const char *wait_end(struct waiter *waiter) {
    must(pthread_join(waiter->thread, NULL) == 0);
    if (waiter->took_ms > 10000) return "too late"; /* nobody woke it */
    return said(waiter->result, waiter->events);
}

static void a_waiter_sees_what_others_add(void **state) {
    (void)state;
    int kq = kqueue(), ends[2];
    struct waiter waiter;
    make_pipe(ends);
    put(ends[1], "x");
    wait_begin(&waiter, kq);
    add(kq, ends[0], EVFILT_READ, EV_CLEAR, 3);
    assert_string_equal(wait_end(&waiter), "READ CLEAR data=1 udata=3");

    wait_begin(&waiter, kq);
    add(kq, ends[1], EVFILT_WRITE, EV_ONESHOT, 0);
    assert_string_equal(wait_end(&waiter), "WRITE ONESHOT");

    wait_begin(&waiter, kq);
    assert_int_equal(change(kq, 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 10, 0), 0);
    assert_string_equal(wait_end(&waiter), "TIMER ONESHOT CLEAR data=1");

    add_user(kq, 1, EV_CLEAR);
    wait_begin(&waiter, kq);
    trigger(kq, 1);
    assert_string_equal(wait_end(&waiter), "USER CLEAR udata=1");
    close_both(ends);
    assert_int_equal(close(kq), 0);
}

/* Closing wakes nobody, but what was triggered before gets through. */
static void triggered_then_closed(void **state) {
    (void)state;
    int kq = kqueue();
    struct waiter waiter;
    add_user(kq, 1, EV_CLEAR);
    wait_begin(&waiter, kq);
    trigger(kq, 1);
    assert_int_equal(close(kq), 0);
    assert_string_equal(wait_end(&waiter), "USER CLEAR udata=1");
}

enum { TAKERS = 3, ROUNDS = 3000 };

struct taker {
    pthread_t thread;
    int kq;
    unsigned taken;
    bool is_stopped;
};

static void *take_some(void *argument) {
    struct taker *taker = argument;
    while (!taker->is_stopped) {
        struct kevent events[EVENTS];
        int count = get(taker->kq, events, 20000);
        must(count > 0);
        for (int i = 0; i < count; i++) {
            if (events[i].ident == 0) taker->is_stopped = true;
            else taker->taken++;
        }
    }
    return NULL;
}

/* Each event is one thread's. */
static void several_threads_take(void **state) {
    (void)state;
    int kq = kqueue();
    unsigned taken = 0;
    struct taker takers[TAKERS];
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = (struct taker){.kq = kq};
        must(pthread_create(&takers[i].thread, NULL, take_some, &takers[i]) == 0);
    }
    for (uintptr_t i = 1; i <= ROUNDS; i++) {
        add_user(kq, i, EV_ONESHOT);
        trigger(kq, i);
    }
    add_user(kq, 0, 0);
    trigger(kq, 0); /* level: all of them see it */
    for (int i = 0; i < TAKERS; i++) {
        must(pthread_join(takers[i].thread, NULL) == 0);
        taken += takers[i].taken;
    }
    assert_int_equal(taken, ROUNDS);
    assert_int_equal(close(kq), 0);
}

static void *open_and_close(void *argument) {
    int kq = *(int *)argument;
    for (int i = 0; i < 500; i++) {
        int ends[2], own = kqueue();
        make_unix_pair(ends, SOCK_STREAM);
        add(kq, ends[0], EVFILT_READ, EV_CLEAR, 1);
        add(kq, ends[0], EVFILT_WRITE, EV_CLEAR, 2);
        add(own, ends[0], EVFILT_READ, 0, 3);
        put(ends[1], "x");
        struct kevent events[EVENTS];
        must(get(own, events, 20000) == 1);
        must(close(ends[0]) == 0 && close(ends[1]) == 0);
        must(close(own) == 0);
    }
    return NULL;
}

/* Descriptors come and go under a queue in which somebody waits. */
static void threads_close_what_is_watched(void **state) {
    (void)state;
    int kq = kqueue();
    pthread_t threads[2];
    struct kevent events[EVENTS];
    add_user(kq, 1, EV_CLEAR);
    for (int i = 0; i < 2; i++) {
        must(pthread_create(&threads[i], NULL, open_and_close, &kq) == 0);
    }
    for (int i = 0; i < 200; i++) assert_true(get(kq, events, 1) >= 0);
    for (int i = 0; i < 2; i++) must(pthread_join(threads[i], NULL) == 0);
    assert_string_equal(said(get(kq, events, 0), events), "nothing");
    assert_int_equal(close(kq), 0);
}

/* ---- Queues as descriptors --------------------------------------------------------------- */

static void a_queue_can_be_polled(void **state) {
    (void)state;
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_pipe(ends);
    add(kq, ends[0], EVFILT_READ, 0, 0);
    assert_false(is_readable(kq));
    put(ends[1], "x");
    assert_true(is_readable(kq));
    assert_int_equal(get(kq, events, 0), 1);
    assert_true(is_readable(kq)); /* level-triggered */
    assert_int_equal(take(ends[0], 1), 1);
    assert_int_equal(get(kq, events, 0), 0);
    assert_false(is_readable(kq));

    add_user(kq, 1, EV_CLEAR);
    trigger(kq, 1);
    assert_true(is_readable(kq));
    assert_int_equal(get(kq, events, 0), 1);
    assert_false(is_readable(kq));

    assert_int_equal(change(kq, 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 10, 0), 0);
    struct pollfd queue = {.fd = kq, .events = POLLIN};
    assert_int_equal(poll(&queue, 1, 20000), 1);
    assert_int_equal(get(kq, events, 0), 1);
    assert_false(is_readable(kq));

    add(kq, ends[1], EVFILT_WRITE, EV_CLEAR, 0);
    assert_true(is_readable(kq)); /* what is there already counts, too */
    close_both(ends);
    assert_int_equal(close(kq), 0);
}

static void a_queue_in_epoll(void **state) {
    (void)state;
    int kq = kqueue(), set = epoll_create1(0);
    struct kevent events[EVENTS];
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = kq}};
    add_user(kq, 1, EV_CLEAR);
    add_user(kq, 2, 0);
    trigger(kq, 2);
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, kq, &event), 0);
    assert_int_equal(epoll_wait(set, &event, 1, 1000), 1);
    assert_int_equal(get(kq, events, 0), 1);
    assert_int_equal(epoll_wait(set, &event, 1, 0), 0);
    trigger(kq, 1); /* beside one that is ready all the time */
    assert_int_equal(epoll_wait(set, &event, 1, 1000), 1);
    assert_int_equal(get(kq, events, 0), 2);
    assert_int_equal(close(kq), 0);
    assert_int_equal(epoll_wait(set, &event, 1, 0), 0);
    assert_int_equal(close(set), 0);
}

static void queues_in_queues(void **state) {
    (void)state;
    int outer = kqueue(), middle = kqueue(), inner = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_pipe(ends);
    add(inner, ends[0], EVFILT_READ, 0, 0);
    add(middle, inner, EVFILT_READ, 0, 0);
    add(outer, middle, EVFILT_READ, EV_CLEAR, 5);
    assert_int_equal(get(outer, events, 20), 0);
    put(ends[1], "x");
    assert_string_equal(said(get(outer, events, 1000), events), "READ CLEAR data=1 udata=5");
    assert_int_equal(get(outer, events, 20), 0);
    assert_int_equal(get(middle, events, 0), 1);
    assert_int_equal(take(ends[0], 1), 1);
    assert_int_equal(get(middle, events, 0), 0);
    put(ends[1], "y");
    assert_int_equal(get(outer, events, 1000), 1);
    close_both(ends);
    assert_int_equal(get(middle, events, 0), 0); /* nothing is left in the inner one */

    /* Not in itself, not in a circle. */
    assert_int_equal(change(outer, (uintptr_t)outer, EVFILT_READ, EV_ADD, 0, 0, 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(change(inner, (uintptr_t)outer, EVFILT_READ, EV_ADD, 0, 0, 0), -1);
    assert_int_equal(errno, EINVAL);

    assert_int_equal(close(middle), 0);
    assert_int_equal(get(outer, events, 0), 0);
    assert_int_equal(change(outer, (uintptr_t)middle, EVFILT_READ, EV_DELETE, 0, 0, 0), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(close(inner), 0);
    assert_int_equal(close(outer), 0);
}

/* ---- Numbers ----------------------------------------------------------------------------- */

static void a_number_is_used_again(void **state) {
    (void)state;
    int kq = kqueue(), old[2], new[2];
    struct kevent events[EVENTS];
    make_pipe(old);
    add(kq, old[0], EVFILT_READ, 0, 1);
    put(old[1], "old");
    int copy = dup(old[0]);
    assert_int_equal(close(old[0]), 0);
    make_pipe(new);
    assert_int_equal(new[0], old[0]);
    add(kq, new[0], EVFILT_READ, EV_CLEAR, 2);
    assert_int_equal(get(kq, events, 20), 0);
    put(old[1], "er");
    assert_int_equal(get(kq, events, 20), 0);
    put(new[1], "new!");
    assert_string_equal(said(get(kq, events, 1000), events), "READ CLEAR data=4 udata=2");
    assert_int_equal(dup2(copy, new[0]), new[0]); /* closes it, too */
    assert_int_equal(get(kq, events, 20), 0);
    assert_int_equal(change(kq, (uintptr_t) new[0], EVFILT_READ, EV_DELETE, 0, 0, 0), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(close(copy), 0);
    assert_int_equal(close(old[1]), 0);
    close_both(new);
    assert_int_equal(close(kq), 0);
}

/* Whatever closed it: a new registration is for what has the number now. */
static void closed_unnoticed(void **state) {
    (void)state;
    int kq = kqueue(), old[2], new[2];
    struct kevent events[EVENTS];
    make_pipe(old);
    add(kq, old[0], EVFILT_READ, 0, 1);
    assert_int_equal(close_range((unsigned)old[0], (unsigned)old[1], 0), 0);
    assert_int_equal(get(kq, events, 0), 0);
    make_pipe(new);
    assert_int_equal(new[0], old[0]);
    put(new[1], "x");
    add(kq, new[0], EVFILT_READ, 0, 2);
    assert_string_equal(said(get(kq, events, 1000), events), "READ data=1 udata=2");
    close_both(new);
    assert_int_equal(close(kq), 0);
}

static void a_queue_by_two_numbers(void **state) {
    (void)state;
    int kq = kqueue(), copy = fcntl(kq, F_DUPFD_CLOEXEC, 100);
    struct kevent events[EVENTS];
    assert_true(copy >= 100);
    add_user(kq, 1, EV_CLEAR);
    assert_int_equal(close(kq), 0);
    trigger(copy, 1);
    assert_int_equal(get(copy, events, 0), 1);
    assert_int_equal(get(kq, events, 0), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(close(copy), 0);
    assert_int_equal(get(copy, events, 0), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(get(0, events, 0), -1); /* something else than a queue */
    assert_int_equal(errno, EBADF);
}

/* ---- Forks ------------------------------------------------------------------------------- */

static void a_child_has_no_queue(void **state) {
    (void)state;
    int before = open_descriptors(), kq = kqueue(), ends[2], status;
    struct kevent events[EVENTS];
    make_pipe(ends);
    add(kq, ends[0], EVFILT_READ, 0, 0);
    assert_int_equal(change(kq, 1, EVFILT_TIMER, EV_ADD, 0, 60000, 0), 0);
    assert_int_equal(change(kq, SIGUSR2, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        must(open_descriptors() == before + 2);
        must(get(kq, events, 0) == -1 && errno == EBADF);
        int own = kqueue();
        must(own >= 0 && change(own, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
        put(ends[1], "x");
        must(get(own, events, 20000) == 1);
        must(close(own) == 0 && close(ends[0]) == 0);
        _exit(42);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_string_equal(said(get(kq, events, 1000), events), "READ data=1");
    close_both(ends);
    assert_int_equal(close(kq), 0);
}

/* ---- Many -------------------------------------------------------------------------------- */

enum { MANY = 10000 };

/* Half of them user events and timers, half of them descriptors as far as the limit goes. */
static void ten_thousand_knotes(void **state) {
    (void)state;
    struct rlimit limit, before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int room = limit.rlim_cur > MANY ? MANY / 2 : (int)limit.rlim_cur / 2;
    int kq = kqueue(), ends[2], *copies = calloc((size_t)room, sizeof *copies);
    struct kevent events[EVENTS];
    assert_non_null(copies);
    make_pipe(ends);
    for (int i = 0; i < room; i++) {
        copies[i] = dup(ends[0]);
        assert_true(copies[i] >= 0);
        add(kq, copies[i], EVFILT_READ, EV_CLEAR, (uintptr_t)copies[i]);
    }
    for (uintptr_t i = 0; i < MANY - (uintptr_t)room; i++) {
        if (i % 2 == 0) add_user(kq, i, EV_CLEAR);
        else assert_int_equal(change(kq, i, EVFILT_TIMER, EV_ADD, 0, 3600000, 0), 0);
    }

    /* One among them costs what one alone costs, nearly. */
    double began = now_ms();
    for (uintptr_t i = 0; i < MANY; i++) {
        trigger(kq, i % 1000 * 2);
        assert_int_equal(get(kq, events, 0), 1);
        assert_int_equal(events[0].ident, i % 1000 * 2);
    }
    assert_true(now_ms() - began < 5000);

    /* All of them at once, in portions, each once. */
    put(ends[1], "x");
    int seen = 0, count;
    while ((count = get(kq, events, 0)) > 0) seen += count;
    assert_int_equal(seen, room);
    for (int i = 0; i < room; i++) assert_int_equal(close(copies[i]), 0);
    free(copies);
    close_both(ends);
    assert_int_equal(get(kq, events, 0), 0);
    assert_int_equal(close(kq), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void no_descriptors_left(void **state) {
    (void)state;
    struct rlimit limit, before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int before_all = open_descriptors(), last = -1;
    for (int more = 0; more < 12; more++) {
        int lowest = dup(0);
        assert_int_equal(close(lowest), 0);
        limit = before;
        limit.rlim_cur = (rlim_t)(lowest + more);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        last = kqueue();
        int error = errno;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (last >= 0) break;
        assert_int_equal(error, EMFILE);
        assert_int_equal(open_descriptors(), before_all);
    }
    assert_true(last >= 0);
    assert_int_equal(close(last), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, count_before, count_after)
    const struct CMUnitTest tests[] = {
        TEST(a_waiter_sees_what_others_add),
        TEST(triggered_then_closed),
        TEST(several_threads_take),
        TEST(threads_close_what_is_watched),
        TEST(a_queue_can_be_polled),
        TEST(a_queue_in_epoll),
        TEST(queues_in_queues),
        TEST(a_number_is_used_again),
        TEST(closed_unnoticed),
        TEST(a_queue_by_two_numbers),
        TEST(a_child_has_no_queue),
        TEST(ten_thousand_knotes),
        TEST(no_descriptors_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
