/* poller.h - the second, smaller waist: how the adapter learns that a descriptor may be ready.
 *
 * Each descriptor is added once, edge-triggered, for both directions, and told with what it was
 * added with: a number and its generation, never a pointer, so that a stale event is recognised.
 * An event is a hint: whoever gets one tries.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POLLER_H
#define FERRY_POLLER_H

#include "ferry.h"
#include "port.h"

#include <stdbool.h>

FERRY__OWN_BEGIN

struct ferry__refused;

enum {
    READY_IN = 1 << 0,
    READY_OUT = 1 << 2,
    READY_ENDED = 1 << 1 /* hung up or failed: a try will tell, this time and the next */
};

struct ferry__event {
    ferry_fd fd;
    uint32_t generation;
    uint32_t ready; /* READY_... */
};

/* A poller's own room in the adapter. */
struct ferry__poll {
    int fd; /* what an outer poller can watch */
    /* Made readable by wake(): lies in the poller, level-triggered, and is read by the loop alone;
     * or stands beside it, and the loop waits for that alone. */
    int wake_fd;
    int kick_fd;          /* made readable by kick(), beside the poller; for the adapter's thread */
    int wake_to, kick_to; /* where they are written, if that is another descriptor */
    bool woke;            /* a wait has seen wake_fd readable */
    bool lacks_nanoseconds;
    uint64_t waits, fine_waits;
};

struct ferry__poller {
    const char *name;
    bool lacks_priority; /* tells nothing of urgent data */
    /* 0 or an error; FERRY_ENOTSUP with *why if it cannot be used here. has_wake: wake_fd lies
     * in the poller. */
    int (*open)(struct ferry__poll *poll, bool has_wake, struct ferry__refused *why);
    /* forked: in a child, which need not have all of it. */
    void (*close)(struct ferry__poll *poll, bool forked);
    /* 0 or -errno; EPERM: this kind of file is never waited for. Tells of what is ready already. */
    int (*add)(struct ferry__poll *poll, ferry_fd fd, uint32_t generation);
    void (*remove)(struct ferry__poll *poll, ferry_fd fd);
    /* Waits until the monotonic clock says deadline (0: not at all, UINT64_MAX: for ever): how many
     * events, 0 also for a signal and for a wake-up alone, or -errno. */
    int (*wait)(struct ferry__poll *poll, struct ferry__event *events, int max, uint64_t deadline);
    /* Any thread, signal handlers too. */
    void (*wake)(const struct ferry__poll *poll);
    void (*kick)(const struct ferry__poll *poll);
    /* Make them unreadable again. */
    void (*woken)(const struct ferry__poll *poll);
    void (*kicked)(const struct ferry__poll *poll);
};

FERRY__OWN_END

#endif
