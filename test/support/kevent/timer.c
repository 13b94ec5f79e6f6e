/* timer.c - EVFILT_TIMER: a heap of timers for each queue, and one timerfd that wakes for the next
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#define NS_PER_SECOND INT64_C(1000000000)

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t fake_now_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- The heap -------------------------------------------------------------------------------- */

static void put_at(struct fake_queue *queue, size_t place, struct fake_knote *knote) {
    queue->heap[place - 1] = knote;
    knote->of.timer.place = place;
}

static bool is_before(const struct fake_knote *a, const struct fake_knote *b) {
    return a->of.timer.due_ns < b->of.timer.due_ns;
}

/* Puts a knote where it belongs, from a place that is free. */
static void sift(struct fake_queue *queue, size_t place, struct fake_knote *knote) {
    while (place > 1 && is_before(knote, queue->heap[place / 2 - 1])) {
        put_at(queue, place, queue->heap[place / 2 - 1]);
        place /= 2;
    }
    while (2 * place <= queue->heap_count) {
        size_t child = 2 * place;
        if (child < queue->heap_count && is_before(queue->heap[child], queue->heap[child - 1])) {
            child++;
        }
        if (!is_before(queue->heap[child - 1], knote)) break;
        put_at(queue, place, queue->heap[child - 1]);
        place = child;
    }
    put_at(queue, place, knote);
}

static int heap_add(struct fake_knote *knote) {
    struct fake_queue *queue = knote->queue;
    if (queue->heap_count == queue->heap_room) {
        size_t room = queue->heap_room == 0 ? 16 : 2 * queue->heap_room;
        struct fake_knote **heap = realloc(queue->heap, room * sizeof(struct fake_knote *));
        if (heap == NULL) return ENOMEM;
        queue->heap = heap;
        queue->heap_room = room;
    }
    queue->heap_count++;
    sift(queue, queue->heap_count, knote);
    return 0;
}

static void heap_remove(struct fake_knote *knote) {
    struct fake_queue *queue = knote->queue;
    size_t place = knote->of.timer.place;
    if (place == 0) return;
    knote->of.timer.place = 0;
    struct fake_knote *last = queue->heap[--queue->heap_count];
    if (last != knote) sift(queue, place, last);
}

/* ---- Waking ---------------------------------------------------------------------------------- */

static int open_timer(struct fake_queue *queue) {
    if (queue->timer >= 0) return 0;
    int timer = fake_own(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    if (timer < 0) return errno;
    /* An edge for each time that it goes off: nobody reads it. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.ptr = &queue->timer}};
    if (epoll_ctl(queue->read_set, EPOLL_CTL_ADD, timer, &event) != 0) {
        int error = errno;
        fake_own_close(&timer);
        return error;
    }
    queue->timer = timer;
    return 0;
}

void fake_timer_arm(struct fake_queue *queue) {
    int64_t due_ns = queue->heap_count == 0 ? 0 : queue->heap[0]->of.timer.due_ns;
    if (queue->timer < 0 || queue->armed_ns == due_ns) return;
    queue->armed_ns = due_ns;
    struct itimerspec when = {
        .it_value = {(time_t)(due_ns / NS_PER_SECOND), (long)(due_ns % NS_PER_SECOND)}};
    (void)timerfd_settime(queue->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* One that is due counts, and is due again after its period. */
static void expire(struct fake_knote *knote, int64_t now_ns) {
    struct fake_of_timer *timer = &knote->of.timer;
    heap_remove(knote);
    int64_t times = 1;
    if (timer->period_ns > 0) {
        times += (now_ns - timer->due_ns) / timer->period_ns;
        timer->due_ns += times * timer->period_ns;
        (void)heap_add(knote); /* there is room: it was in it */
    }
    timer->count += times;
    fake_knote_list(knote);
}

void fake_timer_expire(struct fake_queue *queue) {
    if (queue->heap_count == 0) return;
    int64_t now_ns = fake_now_ns();
    while (queue->heap_count > 0 && queue->heap[0]->of.timer.due_ns <= now_ns) {
        expire(queue->heap[0], now_ns);
    }
}

/* ---- The filter ------------------------------------------------------------------------------ */

static int to_ns(unsigned fflags, int64_t data, int64_t *ns) {
    int64_t unit = 0;
    switch (fflags & ~NOTE_ABSTIME) {
    case 0:
    case NOTE_MSECONDS: unit = 1000000; break;
    case NOTE_SECONDS: unit = NS_PER_SECOND; break;
    case NOTE_USECONDS: unit = 1000; break;
    case NOTE_NSECONDS: unit = 1; break;
    }
    if (unit == 0 || data < 0) return EINVAL;
    *ns = data > INT64_MAX / 4 / unit ? INT64_MAX / 4 : data * unit;
    return 0;
}

/* (Re)starts it with what was asked for. */
static int start(struct fake_knote *knote, unsigned fflags, int64_t data) {
    struct fake_of_timer *timer = &knote->of.timer;
    int64_t ns, now_ns = fake_now_ns();
    int error = to_ns(fflags, data, &ns);
    if (error == 0) error = open_timer(knote->queue);
    if (error != 0) return error;
    heap_remove(knote);
    timer->count = 0;
    timer->period_ns = 0;
    if (fflags & NOTE_ABSTIME) {
        timer->due_ns = now_ns + ns - clock_ns(CLOCK_REALTIME);
        if (timer->due_ns < now_ns) timer->due_ns = now_ns;
    } else {
        if (ns == 0 && !(knote->flags & EV_ONESHOT)) ns = 1000000;
        if (!(knote->flags & EV_ONESHOT)) timer->period_ns = ns;
        timer->due_ns = now_ns + ns;
        knote->flags |= EV_CLEAR;
    }
    knote->asked_fflags = fflags;
    knote->asked_data = data;
    return heap_add(knote);
}

static int attach(struct fake_knote *knote) {
    return start(knote, knote->asked_fflags, knote->asked_data);
}

static void detach(struct fake_knote *knote) {
    heap_remove(knote);
}

static int touch(struct fake_knote *knote, const struct kevent *change) {
    if (!(change->flags & EV_ADD)) return 0;
    fake_knote_unlist(knote);
    return start(knote, change->fflags, change->data);
}

static bool ready(struct fake_knote *knote) {
    knote->fflags = 0;
    knote->data = knote->of.timer.count;
    return knote->of.timer.count > 0;
}

static void taken(struct fake_knote *knote) {
    knote->of.timer.count = 0;
}

const struct fake_filter fake_timer = {
    .number = EVFILT_TIMER,
    .attach = attach,
    .detach = detach,
    .touch = touch,
    .ready = ready,
    .taken = taken,
};
