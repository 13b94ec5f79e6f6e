/* ring.h - an io_uring with all that the running kernel offers, for the hand-written peers
 *
 * Used by echo_uring.c and copy_uring.c. liburing sets the ring up. Entries and completions are
 * taken and handed over here: liburing before 2.4 does not publish the tail rightly on a ring
 * without an SQ array, and its calls do more than is needed in a program that enters once a turn.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <liburing.h>
#include <stdint.h>

struct ring {
    struct io_uring_sqe *entries;
    unsigned entry_mask;
    unsigned entry_tail;
    unsigned queued; /* entries that the kernel has not taken yet */
    struct io_uring_cqe *completions;
    unsigned completion_mask;
    unsigned *completion_head;
    unsigned *completion_tail;
    unsigned *entry_tail_shared;
    unsigned enter_fd;
    unsigned enter_flags;
    struct io_uring uring;
};

/* Opens it; leaves with a message if the kernel refuses. */
void ring_open(struct ring *ring, unsigned entries, unsigned completions);

/* Submits what is queued and waits until wait_count completions are there. */
void ring_enter(struct ring *ring, unsigned wait_count);

/* The place of the next entry, which the caller fills as a whole. When the queue is full it is
 * handed over first. */
static inline struct io_uring_sqe *ring_entry(struct ring *ring) {
    while (__builtin_expect(ring->queued > ring->entry_mask, 0)) ring_enter(ring, 0);
    ring->queued++;
    return &ring->entries[ring->entry_tail++ & ring->entry_mask];
}

/* The completions that are there: from *first, so many. They stay until ring_seen(). */
static inline unsigned ring_ready(const struct ring *ring, unsigned *first) {
    *first = *ring->completion_head;
    return io_uring_smp_load_acquire(ring->completion_tail) - *first;
}

static inline const struct io_uring_cqe *ring_completion(const struct ring *ring, unsigned at) {
    return &ring->completions[at & ring->completion_mask];
}

static inline void ring_seen(struct ring *ring, unsigned count) {
    io_uring_smp_store_release(ring->completion_head, *ring->completion_head + count);
}

#endif
