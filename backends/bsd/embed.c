/* embed.c - the descriptor of an embedded loop: a queue, with a pipe and a timer in it.
 *
 * Timers are the most different of the filters: only one-shot ones in milliseconds are the same
 * everywhere. Nanoseconds are asked for where there is a name for them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/embed.h"

#include "../posix/calls.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>

#define EVENTS 16
#define TIMER 1 /* its ident */

#ifdef NOTE_NSECONDS
#define UNIT NOTE_NSECONDS
#define UNIT_NS 1u
#else
#define UNIT 0
#define UNIT_NS 1000000u
#endif
#define SPAN_MAX_NS (3600u * UINT64_C(1000000000)) /* then it is set again */

static int change(const struct ferry__embed *embed, int fd, int filter) {
    struct kevent event;
    EV_SET(&event, (uintptr_t)fd, filter, EV_ADD | EV_CLEAR, 0, 0, 0);
    return kevent(embed->fd, &event, 1, NULL, 0, NULL) == 0 ? 0 : ferry__errno();
}

int ferry__embed_watch(const struct ferry__embed *embed, int fd, bool input_alone) {
    int error = change(embed, fd, EVFILT_READ);
    if (error == 0 && !input_alone) (void)change(embed, fd, EVFILT_WRITE); /* not all have it */
    return error;
}

static int make(struct ferry__embed *embed) {
    int fds[2];
    embed->fd = kqueue();
    if (embed->fd < 0 || fcntl(embed->fd, F_SETFD, FD_CLOEXEC) < 0) return ferry__errno();
    if (ferry__calls.pipe(fds) != 0) return ferry__errno();
    embed->event_fd = fds[0];
    embed->event_to = fds[1];
    if (ferry__calls.set_blocking(fds[0], 0) < 0 || ferry__calls.set_blocking(fds[1], 0) < 0) {
        return ferry__errno();
    }
    return ferry__embed_watch(embed, embed->event_fd, true);
}

int ferry__embed_open(struct ferry__embed *embed) {
    *embed = (struct ferry__embed){
        .is_open = true, .fd = -1, .event_fd = -1, .event_to = -1, .alarm_ns = UINT64_MAX};
    int error = make(embed);
    if (error != 0) ferry__embed_close(embed, false);
    return error;
}

/* A child inherits the pipe, but no queue: its number may be another's there. */
void ferry__embed_close(struct ferry__embed *embed, bool forked) {
    if (!embed->is_open) return;
    if (embed->event_to >= 0) (void)ferry__calls.close(embed->event_to);
    if (embed->event_fd >= 0) (void)ferry__calls.close(embed->event_fd);
    if (embed->fd >= 0 && !forked) (void)ferry__calls.close(embed->fd);
    *embed = (struct ferry__embed){.is_open = false};
}

void ferry__embed_clear(struct ferry__embed *embed) {
    const struct timespec none = {0, 0};
    struct kevent events[EVENTS];
    char bytes[64];
    int count;
    do {
        count = kevent(embed->fd, NULL, 0, events, EVENTS, &none);
        for (int i = 0; i < count; i++) {
            if (events[i].filter == EVFILT_TIMER) embed->alarm_ns = UINT64_MAX;
            if (events[i].filter != EVFILT_READ || (int)events[i].ident != embed->event_fd)
                continue;
            while (ferry__calls.read(embed->event_fd, bytes, sizeof bytes) > 0) {
            }
        }
    } while (count == EVENTS);
}

void ferry__embed_raise(const struct ferry__embed *embed) {
    ssize_t wrote = ferry__calls.write(embed->event_to, "", 1);
    (void)wrote; /* it fails only when the pipe is full, and then it is readable */
}

void ferry__embed_alarm(struct ferry__embed *embed, uint64_t deadline_ns) {
    if (deadline_ns >= embed->alarm_ns) return;
    uint64_t now = ferry__os_clock();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    if (left > SPAN_MAX_NS) left = SPAN_MAX_NS;
    uint64_t units = (left + UNIT_NS - 1) / UNIT_NS;
    struct kevent timer;
    EV_SET(&timer, TIMER, EVFILT_TIMER, EV_ADD | EV_ONESHOT, UNIT, units > 0 ? units : 1, 0);
    if (kevent(embed->fd, &timer, 1, NULL, 0, NULL) == 0) {
        embed->alarm_ns = deadline_ns;
    } else {
        ferry__embed_raise(embed); /* rather too often than never */
    }
}
