/* readiness.h - poll(2)'s events in our words, for every POSIX backend.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_READINESS_H
#define FERRY_POSIX_READINESS_H

#include "calls.h"
#include "ferry.h"
#include "missing.h"
#include "system.h"

#include <errno.h>
#include <stddef.h>

FERRY__OWN_BEGIN

static const struct {
    unsigned ours, theirs;
} ferry__posix_events[] = {
    {FERRY_POLL_IN, POLLIN},   {FERRY_POLL_OUT, POLLOUT},     {FERRY_POLL_PRIORITY, POLLPRI},
    {FERRY_POLL_ERR, POLLERR}, {FERRY_POLL_RDHUP, POLLRDHUP}, {FERRY_POLL_HUP, POLLHUP},
};

static inline unsigned ferry__posix_events_to(unsigned ours) {
    unsigned theirs = 0;
    for (size_t i = 0; i < sizeof ferry__posix_events / sizeof ferry__posix_events[0]; i++) {
        if (ours & ferry__posix_events[i].ours) theirs |= ferry__posix_events[i].theirs;
    }
    return theirs;
}

static inline unsigned ferry__posix_events_from(unsigned theirs) {
    unsigned ours = 0;
    for (size_t i = 0; i < sizeof ferry__posix_events / sizeof ferry__posix_events[0]; i++) {
        if (theirs & ferry__posix_events[i].theirs) ours |= ferry__posix_events[i].ours;
    }
    return ours;
}

/* What a descriptor is ready for, of what is wanted, and errors in any case: 0 if for nothing. */
static inline unsigned ferry__posix_look(ptrdiff_t fd, unsigned wanted) {
    struct pollfd look = {.fd = (int)fd, .events = (short)ferry__posix_events_to(wanted)};
    int count;
    do {
        count = ferry__calls.poll(&look, 1, 0);
    } while (count < 0 && errno == EINTR);
    unsigned ready = count > 0 ? ferry__posix_events_from((unsigned)look.revents) : 0;
    if (POLLRDHUP == 0 && wanted & FERRY_POLL_RDHUP && ferry__system_hung_up((int)fd)) {
        ready |= FERRY_POLL_RDHUP;
    }
    return ready;
}

FERRY__OWN_END

#endif
