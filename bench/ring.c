/* ring.c - setting up and entering the ring of the hand-written peers
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "ring.h"
#include "serve.h"

#include <errno.h>

/* Newer than the header that comes with liburing 2.3. The numbers are the kernel's. */
enum {
    RING_SETUP_NO_SQARRAY = 1 << 16,
    RING_FEATURE_NO_IOWAIT = 1 << 17,
    RING_ENTER_NO_IOWAIT = 1 << 7
};

void ring_open(struct ring *ring, unsigned entries, unsigned completions) {
    static const unsigned ladder[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
            RING_SETUP_NO_SQARRAY,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    struct io_uring *uring = &ring->uring;
    struct io_uring_params params;
    int fd = -EINVAL;
    for (size_t i = 0; i < sizeof ladder / sizeof *ladder && fd == -EINVAL; i++) {
        params = (struct io_uring_params){.flags = ladder[i] | IORING_SETUP_CQSIZE,
                                          .cq_entries = completions};
        fd = io_uring_setup(entries, &params);
    }
    if (fd < 0) serve_fail("io_uring_setup", -fd);
    /* Not io_uring_queue_init_params(), which in liburing 2.3 fills the SQ array whether there is
     * one or not, and so writes over the ring. */
    int error = io_uring_queue_mmap(fd, &params, uring);
    if (error < 0) serve_fail("io_uring_queue_mmap", -error);

    /* With an SQ array each slot of it names the entry of the same number, once and for all. */
    if ((params.flags & RING_SETUP_NO_SQARRAY) == 0) {
        for (unsigned i = 0; i < params.sq_entries; i++) uring->sq.array[i] = i;
    }
    ring->entries = uring->sq.sqes;
    ring->entry_mask = params.sq_entries - 1;
    ring->entry_tail = *uring->sq.ktail;
    ring->entry_tail_shared = uring->sq.ktail;
    ring->queued = 0;
    ring->completions = uring->cq.cqes;
    ring->completion_mask = params.cq_entries - 1;
    ring->completion_head = uring->cq.khead;
    ring->completion_tail = uring->cq.ktail;
    ring->enter_fd = (unsigned)uring->ring_fd;
    ring->enter_flags = IORING_ENTER_GETEVENTS;
    if (io_uring_register_ring_fd(uring) == 1) {
        ring->enter_fd = (unsigned)uring->enter_ring_fd;
        ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    }
    if ((params.features & RING_FEATURE_NO_IOWAIT) != 0) ring->enter_flags |= RING_ENTER_NO_IOWAIT;
}

void ring_enter(struct ring *ring, unsigned wait_count) {
    io_uring_smp_store_release(ring->entry_tail_shared, ring->entry_tail);
    for (;;) {
        int got = io_uring_enter(ring->enter_fd, ring->queued, wait_count, ring->enter_flags, NULL);
        if (got >= 0) {
            ring->queued -= (unsigned)got;
            return;
        }
        /* Completions have to be reaped first, which the caller does. */
        if (got == -EBUSY || got == -EAGAIN) return;
        if (got != -EINTR) serve_fail("io_uring_enter", -got);
    }
}
