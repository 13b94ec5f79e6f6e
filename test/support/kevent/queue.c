/* queue.c - kqueue() and kevent(): changes first, then what there is to tell, then waiting
 *
 * Whoever waits does so in poll() on the queue's read set, which takes nothing from it; the edges
 * are collected with the lock held, and so a knote that is named by one exists. What is in the list
 * after a call rings the bell, for those who wait in other threads or in sets around this one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define TIMEOUT_NS_MAX (24 * 3600 * NS_PER_SECOND)

/* ---- Queues ---------------------------------------------------------------------------------- */

static int add_to_set(int set, int fd, void *what) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = what}};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

/* Opens what a queue consists of, but for the lock. 0, or -1 with errno. */
static int open_parts(struct fake_queue *queue, int number) {
    queue->read_set = fake_own(dup(number));
    queue->write_set = fake_own(epoll_create1(EPOLL_CLOEXEC));
    queue->bell = fake_own(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (queue->read_set < 0 || queue->write_set < 0 || queue->bell < 0) return -1;
    if (add_to_set(queue->read_set, queue->write_set, &queue->write_set) != 0) return -1;
    if (add_to_set(queue->read_set, queue->bell, &queue->bell) != 0) return -1;
    int error = fake_table_add(queue, number);
    if (error != 0) errno = error;
    return error != 0 ? -1 : 0;
}

int kqueue(void) {
    struct fake_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) return -1;
    pthread_mutex_init(&queue->lock, NULL);
    queue->timer = queue->inotify = queue->signal_bell = -1;
    queue->read_set = queue->write_set = queue->bell = -1;
    int number = epoll_create1(0); /* not close-on-exec, as on FreeBSD */
    if (number >= 0 && open_parts(queue, number) == 0) return number;
    int error = errno;
    if (number >= 0) __real_close(number);
    fake_queue_destroy(queue);
    errno = error;
    return -1;
}

void fake_queue_destroy(struct fake_queue *queue) {
    fake_knote_drop_all(queue);
    fake_own_close(&queue->timer);
    fake_own_close(&queue->inotify);
    fake_own_close(&queue->signal_bell);
    fake_own_close(&queue->bell);
    fake_own_close(&queue->write_set);
    fake_own_close(&queue->read_set);
    pthread_mutex_destroy(&queue->lock);
    free(queue->buckets);
    free(queue->heap);
    free(queue);
}

/* ---- Edges ----------------------------------------------------------------------------------- */

enum { AT_ONCE = 64 };

static void collect_writable(struct fake_queue *queue) {
    struct epoll_event events[AT_ONCE];
    int count;
    do {
        count = epoll_wait(queue->write_set, events, AT_ONCE, 0);
        for (int i = 0; i < count; i++) fake_knote_list(events[i].data.ptr);
    } while (count == AT_ONCE);
}

static void collect_one(struct fake_queue *queue, void *what) {
    if (what == &queue->write_set) collect_writable(queue);
    else if (what == &queue->inotify) fake_vnode_collect(queue);
    else if (what != &queue->bell && what != &queue->timer && what != &queue->signal_bell) {
        fake_knote_list(what);
    }
}

void fake_queue_collect(struct fake_queue *queue) {
    struct epoll_event events[AT_ONCE];
    int count;
    do {
        count = epoll_wait(queue->read_set, events, AT_ONCE, 0);
        for (int i = 0; i < count; i++) collect_one(queue, events[i].data.ptr);
    } while (count == AT_ONCE);
    fake_timer_expire(queue);
    fake_signal_collect(queue);
}

/* Leaves bell and timer as they have to be while nobody is in the queue. */
static void settle(struct fake_queue *queue) {
    if (queue->first != NULL && (queue->is_news || !queue->is_rung)) {
        const uint64_t one = 1;
        (void)!write(queue->bell, &one, sizeof one);
        queue->is_rung = true;
    } else if (queue->first == NULL && queue->is_rung) {
        uint64_t all;
        (void)!read(queue->bell, &all, sizeof all);
        queue->is_rung = false;
    }
    queue->is_news = false;
    fake_timer_arm(queue);
}

static void settle_alone(struct fake_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    settle(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- What there is to tell ------------------------------------------------------------------- */

static void tell(const struct fake_knote *knote, struct kevent *event) {
    event->ident = knote->ident;
    event->filter = knote->filter->number;
    event->flags = knote->flags | knote->state_flags;
    event->fflags = knote->fflags;
    event->data = knote->data;
    event->udata = knote->udata;
    memcpy(event->ext, knote->ext, sizeof event->ext);
}

/* As long as it holds it is told, but the bell has been rung for it. */
static void list_again(struct fake_knote *knote) {
    bool is_news = knote->queue->is_news;
    fake_knote_list(knote);
    knote->queue->is_news = is_news;
}

/* Asks each knote of the list once, in turn, until max events are there. */
static int take(struct fake_queue *queue, struct kevent *events, int max) {
    int count = 0;
    for (size_t left = queue->listed_count; left > 0 && count < max; left--) {
        struct fake_knote *knote = queue->first;
        fake_knote_unlist(knote);
        if (!knote->filter->ready(knote)) continue;
        tell(knote, &events[count++]);
        if ((knote->flags | knote->state_flags) & EV_ONESHOT) {
            fake_knote_drop(knote);
            continue;
        }
        if (knote->flags & EV_CLEAR && knote->filter->taken != NULL) knote->filter->taken(knote);
        if (knote->flags & EV_DISPATCH) knote->is_disabled = true;
        else if (!(knote->flags & EV_CLEAR)) list_again(knote);
    }
    return count;
}

size_t fake_queue_count(struct fake_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    fake_queue_collect(queue);
    for (struct fake_knote *knote = queue->first; knote != NULL;) {
        struct fake_knote *next = knote->next;
        if (!knote->filter->ready(knote)) fake_knote_unlist(knote);
        knote = next;
    }
    size_t count = queue->listed_count;
    settle(queue);
    pthread_mutex_unlock(&queue->lock);
    return count;
}

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Until something has happened, or until then (-1: for ever). 0, or -1 if a signal interrupted. */
static int wait_until(const struct fake_queue *queue, int64_t until_ns) {
    struct pollfd set = {.fd = queue->read_set, .events = POLLIN};
    unsigned ignored = fake_signal_ignored();
    struct timespec left = {0, 0};
    if (until_ns >= 0) {
        int64_t ns = until_ns - fake_now_ns();
        if (ns < 0) ns = 0;
        left.tv_sec = (time_t)(ns / NS_PER_SECOND);
        left.tv_nsec = (long)(ns % NS_PER_SECOND);
    }
    int result = ppoll(&set, 1, until_ns >= 0 ? &left : NULL, NULL);
    if (result >= 0 || errno != EINTR) return 0;
    return fake_signal_ignored() == ignored ? -1 : 0;
}

/* The number of events, at least one unless the time is over, or -1 with errno. */
static int take_or_wait(struct fake_queue *queue, struct kevent *events, int max,
                        int64_t until_ns) {
    while (true) {
        bool is_over = until_ns >= 0 && fake_now_ns() >= until_ns;
        pthread_mutex_lock(&queue->lock);
        fake_queue_collect(queue);
        int count = take(queue, events, max);
        settle(queue);
        pthread_mutex_unlock(&queue->lock);
        if (count > 0 || is_over) return count;
        if (wait_until(queue, until_ns) != 0) {
            errno = EINTR;
            return -1;
        }
    }
}

/* ---- Changes --------------------------------------------------------------------------------- */

static int change_one(struct fake_queue *queue, const struct kevent *change) {
    struct fake_queue *inner = NULL;
    if (change->filter == EVFILT_READ && change->ident <= INT_MAX) {
        inner = fake_table_lock_if((int)change->ident);
    }
    if (inner == queue) { /* one cannot be in itself */
        fake_table_unlock();
        return EINVAL;
    }
    pthread_mutex_lock(&queue->lock);
    int error = fake_knote_change(queue, change, inner);
    pthread_mutex_unlock(&queue->lock);
    if (inner != NULL) fake_table_unlock();
    return error;
}

/* How many entries the changes made in events. If one that has to be told finds no room the rest is
 * not applied, and *error is what there was to tell. */
static int change_all(struct fake_queue *queue, const struct kevent *changes, int count,
                      struct kevent *events, int max, int *error) {
    int told = 0;
    for (int i = 0; i < count; i++) {
        struct kevent change = changes[i]; /* the arrays may be one */
        int outcome = change_one(queue, &change);
        if (outcome == 0 && !(change.flags & EV_RECEIPT)) continue;
        if (told == max) {
            *error = outcome;
            return told;
        }
        change.flags = EV_ERROR;
        change.data = outcome;
        events[told++] = change;
    }
    return told;
}

static int deadline(const struct timespec *timeout, int64_t *until_ns) {
    *until_ns = -1;
    if (timeout == NULL) return 0;
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= NS_PER_SECOND) {
        return EINVAL;
    }
    int64_t ns = TIMEOUT_NS_MAX;
    if (timeout->tv_sec < TIMEOUT_NS_MAX / NS_PER_SECOND) {
        ns = (int64_t)timeout->tv_sec * NS_PER_SECOND + timeout->tv_nsec;
    }
    *until_ns = ns == 0 ? 0 : fake_now_ns() + ns;
    return 0;
}

int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout) {
    int64_t until_ns;
    int error = deadline(timeout, &until_ns);
    struct fake_queue *queue = fake_table_hold(kq);
    if (queue == NULL) error = EBADF;
    int count = 0;
    if (error == 0) {
        count = change_all(queue, changelist, nchanges, eventlist, nevents, &error);
        if (error == 0 && count == 0 && nevents > 0) {
            count = take_or_wait(queue, eventlist, nevents, until_ns);
            if (count < 0) error = errno;
        } else {
            settle_alone(queue);
        }
    }
    if (queue != NULL) fake_table_release(queue);
    if (error == 0) return count;
    errno = error;
    return -1;
}
