/* embed.h - one descriptor for all that may give a loop something to do, on Linux.
 *
 * An epoll over an event (completions, and whatever else the loop wants to tell), a timer and what
 * else has to be watched, all edge-triggered: a single epoll_wait() that does not wait makes the
 * epoll unreadable, and none of them has to be read.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_LINUX_EMBED_H
#define FERRY_LINUX_EMBED_H

#include "port.h"

#include <stdbool.h>
#include <stdint.h>

FERRY__OWN_BEGIN

struct ferry__embed {
    bool is_open; /* zeroed: no */
    int epoll_fd; /* what the outer loop watches */
    int event_fd; /* for the backend: a write makes epoll_fd readable */
    int timer_fd;
    uint64_t alarm_ns; /* for when the timer is set; UINT64_MAX: not at all */
};

/* 0, or an error with nothing left. */
int ferry__embed_open(struct ferry__embed *embed);
/* Input on fd makes epoll_fd readable, too, or whatever else happens to it; until fd is closed. 0
 * or an error. */
int ferry__embed_watch(const struct ferry__embed *embed, int fd, bool input_alone);
void ferry__embed_close(struct ferry__embed *embed);

void ferry__embed_clear(struct ferry__embed *embed);
void ferry__embed_raise(const struct ferry__embed *embed);
/* A timer that is set for an earlier time is left alone: it comes for nothing then, once, which is
 * cheaper than setting it anew in each turn. */
void ferry__embed_alarm(struct ferry__embed *embed, uint64_t deadline_ns);

FERRY__OWN_END

#endif
