/* embed.c - the descriptor of an embedded loop: an epoll, an eventfd, a timerfd.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "../posix/calls.h"
#include "../posix/embed.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#define NS_PER_S 1000000000u
#define EVENTS 16

int ferry__embed_watch(const struct ferry__embed *embed, int fd, bool input_alone) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    if (!input_alone) event.events |= EPOLLOUT;
    if (ferry__linux_calls.epoll_ctl(embed->fd, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
    return errno == EEXIST ? 0 : ferry__errno();
}

static int make(struct ferry__embed *embed) {
    embed->fd = ferry__linux_calls.epoll_create(EPOLL_CLOEXEC);
    if (embed->fd < 0) return ferry__errno();
    embed->event_fd = ferry__linux_calls.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (embed->event_fd < 0) return ferry__errno();
    embed->event_to = embed->event_fd;
    embed->timer_fd = ferry__linux_calls.timerfd_create(CLOCK_MONOTONIC,
                                                        TFD_CLOEXEC | TFD_NONBLOCK);
    if (embed->timer_fd < 0) return ferry__errno();
    int error = ferry__embed_watch(embed, embed->event_fd, true);
    return error != 0 ? error : ferry__embed_watch(embed, embed->timer_fd, true);
}

int ferry__embed_open(struct ferry__embed *embed) {
    *embed = (struct ferry__embed){
        .is_open = true, .fd = -1, .event_fd = -1, .timer_fd = -1, .alarm_ns = UINT64_MAX};
    int error = make(embed);
    if (error != 0) ferry__embed_close(embed, false);
    return error;
}

void ferry__embed_close(struct ferry__embed *embed, bool forked) {
    (void)forked; /* all of it is inherited */
    if (!embed->is_open) return;
    if (embed->timer_fd >= 0) (void)ferry__calls.close(embed->timer_fd);
    if (embed->event_fd >= 0) (void)ferry__calls.close(embed->event_fd);
    if (embed->fd >= 0) (void)ferry__calls.close(embed->fd);
    *embed = (struct ferry__embed){.is_open = false};
}

void ferry__embed_clear(struct ferry__embed *embed) {
    struct epoll_event events[EVENTS];
    int count;
    do {
        count = ferry__linux_calls.epoll_wait(embed->fd, events, EVENTS, 0);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == embed->timer_fd) embed->alarm_ns = UINT64_MAX;
        }
    } while (count == EVENTS);
}

void ferry__embed_raise(const struct ferry__embed *embed) {
    uint64_t one = 1;
    ssize_t wrote = ferry__calls.write(embed->event_fd, &one, sizeof one);
    (void)wrote; /* it fails only when the counter is full, and it is never read: in 500 years */
}

void ferry__embed_alarm(struct ferry__embed *embed, uint64_t deadline_ns) {
    if (deadline_ns >= embed->alarm_ns) return;
    uint64_t at = deadline_ns > 0 ? deadline_ns : 1; /* 0 would mean never */
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)}};
    if (ferry__linux_calls.timerfd_settime(embed->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0) {
        embed->alarm_ns = deadline_ns;
    } else {
        ferry__embed_raise(embed); /* rather too often than never */
    }
}
