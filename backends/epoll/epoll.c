/* epoll.c - the poller on Linux, and the backend that stands on it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../adapter/adapter.h"

#include "../linux/calls.h"
#include "../posix/calls.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u
#define EVENTS_MAX 256

/* ---- Open, close ------------------------------------------------------------------------- */

/* A child has all of them. */
static void epoll_close(struct ferry__poll *poll, bool forked) {
    (void)forked;
    int *fds[] = {&poll->kick_fd, &poll->wake_fd, &poll->fd};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0) (void)ferry__calls.close(*fds[i]);
        *fds[i] = -1;
    }
}

static int event_fd(void) {
    return ferry__linux_calls.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* All three, or an error and those that there are. */
static int make(struct ferry__poll *poll, bool has_wake) {
    poll->fd = ferry__linux_calls.epoll_create(EPOLL_CLOEXEC);
    if (poll->fd >= 0) poll->wake_fd = event_fd();
    if (poll->wake_fd >= 0) poll->kick_fd = event_fd();
    if (poll->kick_fd < 0) return ferry__errno();
    if (!has_wake) return 0;
    /* Level-triggered, and read by the loop alone: who else looks leaves it as it is. */
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    int added = ferry__linux_calls.epoll_ctl(poll->fd, EPOLL_CTL_ADD, poll->wake_fd, &event);
    return added == 0 ? 0 : ferry__errno();
}

static int epoll_open(struct ferry__poll *poll, bool has_wake, struct ferry__refused *why) {
    *poll = (struct ferry__poll){.fd = -1, .wake_fd = -1, .kick_fd = -1};
    int error = make(poll, has_wake);
    if (error == 0) return 0;
    epoll_close(poll, false);
    if (error == FERRY_EMFILE || error == FERRY_ENFILE || error == FERRY_ENOMEM) return error;
    why->error = error;
    why->reason = "epoll_create1(2) or eventfd(2) failed";
    return FERRY_ENOTSUP;
}

/* ---- Descriptors ------------------------------------------------------------------------- */

static int epoll_add(struct ferry__poll *poll, ferry_fd fd, uint32_t generation) {
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd,
    };
    if (ferry__linux_calls.epoll_ctl(poll->fd, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
    if (errno != EEXIST) return -errno;
    /* Somebody closed and reopened the number behind our back; what lies there is the same file. */
    return ferry__linux_calls.epoll_ctl(poll->fd, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
}

static void epoll_remove(struct ferry__poll *poll, ferry_fd fd) {
    struct epoll_event event = {.events = 0}; /* for kernels before 2.6.9 it must not be NULL */
    (void)ferry__linux_calls.epoll_ctl(poll->fd, EPOLL_CTL_DEL, fd, &event);
}

/* ---- Waiting ----------------------------------------------------------------------------- */

static int wait_rounded(const struct ferry__poll *poll, struct epoll_event *events, int max,
                        uint64_t left) {
    uint64_t ms = left / NS_PER_MS + (left % NS_PER_MS != 0); /* down would mean to spin */
    int timeout = left == UINT64_MAX ? -1 : ms > INT32_MAX ? INT32_MAX : (int)ms;
    return ferry__linux_calls.epoll_wait(poll->fd, events, max, timeout);
}

static int wait_some(struct ferry__poll *poll, struct epoll_event *events, int max, uint64_t left) {
    poll->waits++;
    if (left != 0 && left != UINT64_MAX && !poll->lacks_nanoseconds) {
        const struct timespec span = {.tv_sec = (time_t)(left / NS_PER_S),
                                      .tv_nsec = (long)(left % NS_PER_S)};
        int count = ferry__linux_calls.epoll_pwait2(poll->fd, events, max, &span);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) { /* EPERM: seccomp */
            poll->fine_waits++;
            return count;
        }
        poll->lacks_nanoseconds = true;
    }
    return wait_rounded(poll, events, max, left);
}

static uint32_t ready_of(uint32_t events) {
    uint32_t ready = 0;
    _Static_assert(EPOLLIN == (int)READY_IN && EPOLLOUT == (int)READY_OUT, "the same bits");
    if (FERRY__LIKELY((events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) == 0)) return events;
    if (events & (EPOLLIN | EPOLLPRI)) ready |= READY_IN;
    if (events & EPOLLPRI) ready |= READY_ENDED; /* a receive stops short at urgent data */
    if (events & EPOLLOUT) ready |= READY_OUT;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ready |= READY_ENDED | READY_IN;
    if (events & (EPOLLHUP | EPOLLERR)) ready |= READY_OUT;
    return ready;
}

static int epoll_wait_for(struct ferry__poll *poll, struct ferry__event *events, int max,
                          uint64_t deadline) {
    struct epoll_event raw[EVENTS_MAX];
    uint64_t left = deadline;
    if (deadline != 0 && deadline != UINT64_MAX) {
        uint64_t now = ferry__os_clock();
        left = deadline > now ? deadline - now : 0;
    }
    int got = wait_some(poll, raw, max < EVENTS_MAX ? max : EVENTS_MAX, left);
    if (got < 0) return errno == EINTR ? 0 : -errno;
    struct ferry__event *event = events;
    for (int i = 0; i < got; i++) {
        if (raw[i].data.u64 == UINT64_MAX) {
            poll->woke = true;
            continue;
        }
        *event++ = (struct ferry__event){.fd = (ferry_fd)(uint32_t)raw[i].data.u64,
                                         .generation = (uint32_t)(raw[i].data.u64 >> 32),
                                         .ready = ready_of(raw[i].events)};
    }
    return (int)(event - events);
}

/* ---- The wake-up ------------------------------------------------------------------------- */

static void event_write(int fd) {
    uint64_t one = 1;
    int before = errno; /* may run in a signal handler */
    ssize_t wrote = ferry__calls.write(fd, &one, sizeof one);
    (void)wrote; /* it fails only when the counter is full, and then it wakes all the same */
    errno = before;
}

static void event_read(int fd) {
    uint64_t count;
    ssize_t got = ferry__calls.read(fd, &count, sizeof count);
    (void)got; /* nobody may have written */
}

static void epoll_wake(const struct ferry__poll *poll) {
    event_write(poll->wake_fd);
}

static void epoll_kick(const struct ferry__poll *poll) {
    event_write(poll->kick_fd);
}

static void epoll_woken(const struct ferry__poll *poll) {
    event_read(poll->wake_fd);
}

static void epoll_kicked(const struct ferry__poll *poll) {
    event_read(poll->kick_fd);
}

const struct ferry__poller ferry__poller_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .close = epoll_close,
    .add = epoll_add,
    .remove = epoll_remove,
    .wait = epoll_wait_for,
    .wake = epoll_wake,
    .kick = epoll_kick,
    .woken = epoll_woken,
    .kicked = epoll_kicked,
};

static int open_on_epoll(ferry_loop *loop, const struct ferry__options *options,
                         struct ferry__refused *why) {
    return ferry__adapter_open(loop, &ferry__poller_epoll, options, why);
}

const struct ferry__backend ferry__backend_epoll = FERRY__ADAPTER_BACKEND("epoll", open_on_epoll);
