/* knote.c - the knotes of a queue: the table, what a change does, the list of those to be asked
 *
 * A knote is found by (ident, filter). It is made by a change with EV_ADD and goes with EV_DELETE,
 * after it was told if it is EV_ONESHOT, or silently when its descriptor is closed. FreeBSD's ways
 * that surprise are here on purpose: every change of a knote overwrites its udata, keeps the flags
 * of the first EV_ADD (level, EV_CLEAR, EV_DISPATCH, ...), and asks the filter again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- The filters there are ----------------------------------------------------------------- */

const struct fake_filter *fake_filter_find(short number) {
    static const struct fake_filter *const filters[] = {
        &fake_read, &fake_write, &fake_vnode, &fake_process, &fake_signal, &fake_timer, &fake_user,
    };
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        if (filters[i]->number == number) return filters[i];
    }
    return NULL;
}

/* ---- The table ------------------------------------------------------------------------------- */

static size_t bucket_of(const struct fake_queue *queue, uintptr_t ident, short filter) {
    uint64_t hash = (uint64_t)ident * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)(-filter);
    return (size_t)((hash ^ (hash >> 32)) & (queue->bucket_count - 1));
}

struct fake_knote *fake_knote_find(struct fake_queue *queue, uintptr_t ident, short filter) {
    if (queue->knote_count == 0) return NULL;
    struct fake_knote *knote = queue->buckets[bucket_of(queue, ident, filter)];
    while (knote != NULL && (knote->ident != ident || knote->filter->number != filter)) {
        knote = knote->next_in_bucket;
    }
    return knote;
}

static int grow(struct fake_queue *queue) {
    if (queue->knote_count < queue->bucket_count) return 0;
    size_t old_count = queue->bucket_count;
    struct fake_knote **old = queue->buckets;
    size_t count = old_count == 0 ? 16 : 2 * old_count;
    struct fake_knote **buckets = calloc(count, sizeof(struct fake_knote *));
    if (buckets == NULL) return ENOMEM;
    queue->buckets = buckets;
    queue->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct fake_knote *knote = old[i]; knote != NULL;) {
            struct fake_knote *next = knote->next_in_bucket;
            size_t bucket = bucket_of(queue, knote->ident, knote->filter->number);
            knote->next_in_bucket = buckets[bucket];
            buckets[bucket] = knote;
            knote = next;
        }
    }
    free(old);
    return 0;
}

static void insert(struct fake_knote *knote) {
    struct fake_queue *queue = knote->queue;
    size_t bucket = bucket_of(queue, knote->ident, knote->filter->number);
    knote->next_in_bucket = queue->buckets[bucket];
    queue->buckets[bucket] = knote;
    queue->knote_count++;
}

static void take_out(struct fake_knote *knote) {
    struct fake_queue *queue = knote->queue;
    struct fake_knote **link =
        &queue->buckets[bucket_of(queue, knote->ident, knote->filter->number)];
    while (*link != knote) link = &(*link)->next_in_bucket;
    *link = knote->next_in_bucket;
    queue->knote_count--;
}

void fake_knote_drop(struct fake_knote *knote) {
    fake_knote_unlist(knote);
    knote->filter->detach(knote);
    take_out(knote);
    free(knote);
}

void fake_knote_drop_all(struct fake_queue *queue) {
    for (size_t i = 0; i < queue->bucket_count; i++) {
        while (queue->buckets[i] != NULL) fake_knote_drop(queue->buckets[i]);
    }
}

void fake_knote_forget(struct fake_queue *queue, int fd) {
    static const short filters[] = {EVFILT_READ, EVFILT_WRITE, EVFILT_VNODE};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        struct fake_knote *knote = fake_knote_find(queue, (uintptr_t)fd, filters[i]);
        if (knote != NULL) fake_knote_drop(knote);
    }
}

/* ---- The list of those to be asked ----------------------------------------------------------- */

void fake_knote_list(struct fake_knote *knote) {
    if (knote->is_listed || knote->is_disabled) return;
    struct fake_queue *queue = knote->queue;
    knote->next = NULL;
    knote->previous = queue->last;
    if (queue->last != NULL) queue->last->next = knote;
    else queue->first = knote;
    queue->last = knote;
    queue->listed_count++;
    queue->is_news = true;
    knote->is_listed = true;
}

void fake_knote_unlist(struct fake_knote *knote) {
    if (!knote->is_listed) return;
    struct fake_queue *queue = knote->queue;
    if (knote->previous != NULL) knote->previous->next = knote->next;
    else queue->first = knote->next;
    if (knote->next != NULL) knote->next->previous = knote->previous;
    else queue->last = knote->previous;
    queue->listed_count--;
    knote->is_listed = false;
}

/* ---- Changes --------------------------------------------------------------------------------- */

static bool is_open(uintptr_t ident) {
    return ident <= INT_MAX && fcntl((int)ident, F_GETFD) != -1;
}

static int add(struct fake_queue *queue, const struct fake_filter *filter,
               const struct kevent *change, struct fake_queue *inner) {
    int error = grow(queue);
    if (error != 0) return error;
    struct fake_knote *knote = calloc(1, sizeof *knote);
    if (knote == NULL) return ENOMEM;
    knote->queue = queue;
    knote->filter = filter;
    knote->ident = change->ident;
    knote->flags = change->flags &
                   (unsigned short)~(EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_ERROR);
    knote->is_disabled = (change->flags & EV_DISABLE) != 0;
    knote->asked_fflags = change->fflags;
    knote->asked_data = change->data;
    knote->udata = change->udata;
    memcpy(knote->ext, change->ext, sizeof knote->ext);
    knote->vnode.watch = -1;
    knote->vnode.parent_watch = -1;
    if (filter->is_descriptor) knote->of.descriptor.inner = inner;
    error = filter->attach(knote);
    if (error != 0) {
        free(knote);
        return error;
    }
    insert(knote);
    if (!knote->is_disabled && filter->ready(knote)) fake_knote_list(knote);
    return 0;
}

static int modify(struct fake_knote *knote, const struct kevent *change) {
    knote->udata = change->udata;
    int error = knote->filter->touch(knote, change);
    if (error != 0) return error;
    if (change->flags & EV_DISABLE) {
        knote->is_disabled = true;
        fake_knote_unlist(knote);
    } else if (change->flags & (EV_ENABLE | EV_ADD)) {
        knote->is_disabled = false;
    }
    if (!knote->is_disabled && knote->filter->ready(knote)) fake_knote_list(knote);
    return 0;
}

int fake_knote_change(struct fake_queue *queue, const struct kevent *change,
                      struct fake_queue *inner) {
    const struct fake_filter *filter = fake_filter_find(change->filter);
    if (filter == NULL) return EINVAL;
    if (filter->is_descriptor && !is_open(change->ident)) return EBADF;
    struct fake_knote *knote = fake_knote_find(queue, change->ident, change->filter);
    if (knote == NULL && (change->flags & EV_ADD)) return add(queue, filter, change, inner);
    if (knote == NULL) return ENOENT;
    if (change->flags & EV_DELETE) {
        fake_knote_drop(knote);
        return 0;
    }
    if (filter->is_descriptor) knote->of.descriptor.inner = inner;
    return modify(knote, change);
}
