/* embed.h - one descriptor for all that may give a loop something to do: an epoll on Linux, a
 * kqueue on the BSDs and macOS.
 *
 * In it are an event (completions, and whatever else the loop wants to tell), a timer and what else
 * has to be watched, all edge-triggered: to ask it once without waiting makes it unreadable.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_EMBED_H
#define FERRY_POSIX_EMBED_H

#include "port.h"

#include <stdbool.h>
#include <stdint.h>

FERRY__OWN_BEGIN

struct ferry__embed {
    bool is_open;      /* zeroed: no */
    int fd;            /* what the outer loop watches */
    int event_fd;      /* for the backend: what is written to event_to makes fd readable */
    int event_to;      /* the same descriptor, or another */
    int timer_fd;      /* Linux */
    uint64_t alarm_ns; /* for when the timer is set; UINT64_MAX: not at all */
};

/* 0, or an error with nothing left. */
int ferry__embed_open(struct ferry__embed *embed);
/* Input on fd makes the embedded one readable, too, or whatever else happens to it; until fd is
 * closed. 0 or an error. */
int ferry__embed_watch(const struct ferry__embed *embed, int fd, bool input_alone);
/* forked: in a child, which need not have all of it. */
void ferry__embed_close(struct ferry__embed *embed, bool forked);

void ferry__embed_clear(struct ferry__embed *embed);
void ferry__embed_raise(const struct ferry__embed *embed);
/* A timer that is set for an earlier time is left alone: it comes for nothing then, once, which is
 * cheaper than setting it anew in each turn. */
void ferry__embed_alarm(struct ferry__embed *embed, uint64_t deadline_ns);

FERRY__OWN_END

#endif
