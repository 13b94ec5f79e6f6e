/* The fake of kevent under traffic: whoever writes until it would wait and then waits for room, and
 * whoever reads until it would wait and then waits for data, gets on, however the knotes are
 * triggered. A lost event shows as a wait without end, a lost byte as a wrong one.
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
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 8 << 20, CHUNK_MAX = 48 << 10 };

/* ---- One end --------------------------------------------------------------------------------- */

struct end {
    pthread_t thread;
    int kq, fd, filter, flags;
    uint32_t random;
    size_t done;
    unsigned waits;
};

static uint32_t next_random(struct end *end) {
    end->random = end->random * 1664525u + 1013904223u;
    return end->random >> 8;
}

static unsigned char byte_at(size_t position) {
    return (unsigned char)(position * 7 + position / 251);
}

/* So that now one side is slower and now the other. */
static void pause_briefly(struct end *end) {
    struct timespec moment = {0, (long)(next_random(end) % 300000)};
    (void)nanosleep(&moment, NULL);
}

/* What a backend does after EAGAIN, for each way of being triggered. */
static void wait_ready(struct end *end) {
    struct kevent events[EVENTS];
    uintptr_t ident = (uintptr_t)end->fd;
    if (end->flags & EV_ONESHOT) {
        must(change(end->kq, ident, end->filter, EV_ADD | EV_ONESHOT, 0, 0, 0) == 0);
    }
    if (end->flags & EV_DISPATCH) {
        must(change(end->kq, ident, end->filter, EV_ENABLE, 0, 0, 0) == 0);
    }
    must(get(end->kq, events, 30000) == 1);
    must(events[0].ident == ident && events[0].filter == end->filter);
    end->waits++;
}

static ssize_t send_some(struct end *end, unsigned char *buf, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) buf[i] = byte_at(end->done + i);
    return write(end->fd, buf, bytes);
}

static ssize_t receive_some(struct end *end, unsigned char *buf, size_t bytes) {
    ssize_t got = read(end->fd, buf, bytes);
    for (ssize_t i = 0; i < got; i++) must(buf[i] == byte_at(end->done + (size_t)i));
    return got;
}

static void *run_end(void *argument) {
    struct end *end = argument;
    static _Thread_local unsigned char buf[CHUNK_MAX];
    while (end->done < BYTES) {
        size_t bytes = 1 + next_random(end) % CHUNK_MAX;
        if (bytes > BYTES - end->done) bytes = BYTES - end->done;
        ssize_t count = end->filter == EVFILT_READ ? receive_some(end, buf, bytes)
                                                   : send_some(end, buf, bytes);
        if (count < 0) must(errno == EAGAIN);
        if (count < 0) wait_ready(end);
        else end->done += (size_t)count;
        if (count > 0 && next_random(end) % 8 == 0) pause_briefly(end);
    }
    return NULL;
}

static void begin(struct end *end, int kq, int fd, int filter, int flags) {
    *end = (struct end){.kq = kq, .fd = fd, .filter = filter, .flags = flags};
    end->random = (uint32_t)(filter * 77 + flags);
    set_nonblocking(fd);
    int disabled = flags & EV_DISPATCH ? EV_DISABLE : 0;
    if (!(flags & EV_ONESHOT)) {
        must(change(kq, (uintptr_t)fd, filter, EV_ADD | disabled | flags, 0, 0, 0) == 0);
    }
    must(pthread_create(&end->thread, NULL, run_end, end) == 0);
}

/* ---- Both ------------------------------------------------------------------------------------ */

static void transfer(const int ends[2], int flags) {
    int sending = kqueue(), receiving = kqueue();
    struct end sender, receiver;
    begin(&sender, sending, ends[1], EVFILT_WRITE, flags);
    begin(&receiver, receiving, ends[0], EVFILT_READ, flags);
    must(pthread_join(sender.thread, NULL) == 0);
    must(pthread_join(receiver.thread, NULL) == 0);
    assert_int_equal(sender.done, BYTES);
    assert_int_equal(receiver.done, BYTES);
    print_message("flags %x: %u waits to send, %u to receive\n", (unsigned)flags, sender.waits,
                  receiver.waits);
    assert_int_equal(close(sending), 0);
    assert_int_equal(close(receiving), 0);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

static const int ways[] = {0, EV_CLEAR, EV_DISPATCH, EV_CLEAR | EV_DISPATCH, EV_ONESHOT};

static void through_pipes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int ends[2];
        make_pipe(ends);
        transfer(ends, ways[i]);
    }
}

static void through_unix_sockets(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int ends[2];
        make_unix_pair(ends, SOCK_STREAM);
        transfer(ends, ways[i]);
    }
}

/* With the buffers that TCP has by itself nobody would ever wait. */
static void make_small(const int ends[2]) {
    int bytes = 32 << 10;
    for (int i = 0; i < 2; i++) {
        must(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0);
        must(setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0);
    }
}

static void through_tcp(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int ends[2];
        make_tcp_pair(ends);
        make_small(ends);
        transfer(ends, ways[i]);
    }
}

/* ---- Wakes ----------------------------------------------------------------------------------- */

enum { WAKES = 20000 };

struct side {
    int own, other;
};

/* Waits to be triggered, and triggers the other. */
static void *bounce(void *argument) {
    const struct side *side = argument;
    for (int i = 0; i < WAKES; i++) {
        struct kevent events[EVENTS];
        must(get(side->own, events, 30000) == 1);
        must(change(side->other, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0) == 0);
    }
    return NULL;
}

static void user_events_to_and_fro(void **state) {
    (void)state;
    struct side here = {.own = kqueue(), .other = kqueue()};
    struct side there = {.own = here.other, .other = here.own};
    pthread_t thread;
    must(change(here.own, 1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    must(change(here.other, 1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    must(pthread_create(&thread, NULL, bounce, &there) == 0);
    must(change(here.other, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0) == 0);
    (void)bounce(&here);
    must(pthread_join(thread, NULL) == 0);
    assert_int_equal(close(here.own), 0);
    assert_int_equal(close(here.other), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_pipes),
        cmocka_unit_test(through_unix_sockets),
        cmocka_unit_test(through_tcp),
        cmocka_unit_test(user_events_to_and_fro),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
