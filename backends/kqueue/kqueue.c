/* kqueue.c - the poller on FreeBSD, macOS, NetBSD, OpenBSD and DragonFly, and the backend that
 * stands on it.
 *
 * A descriptor has two knotes, EVFILT_READ and EVFILT_WRITE, both with EV_CLEAR: each is told when
 * something happens, not as long as it holds. ident is the descriptor, udata the generation.
 * close(2) drops both; a forked child gets no queue at all.
 *
 * Only what all of these systems have is used. EVFILT_USER is missing on NetBSD before 10 and on
 * OpenBSD, and poll(2) could not watch it: wake and kick are pipes. EVFILT_TIMER differs in
 * everything: timers are the core's, and the time to wait is kevent's own, in nanoseconds, never
 * too short, and cut off at a day. Counts in data are hints at best, and nobody looks at them.
 *
 * Nothing is done yet about these: macOS does not tell that the last writer of a FIFO has gone;
 * some serial ports tell of room to write again and again, EV_CLEAR or not; and FreeBSD tells of it
 * at each acknowledgement that a busy socket gets, to no harm but the event's own cost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kqueue.h"

#include "../adapter/adapter.h"

#include "../posix/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u
#define WAIT_MAX_NS (24u * 3600u * (uint64_t)NS_PER_S)
#define EVENTS_MAX 256

#ifdef __NetBSD__ /* counts in a type of its own */
#define COUNT(number) ((size_t)(number))
#else
#define COUNT(number) (number)
#endif

static int kevent_plain(int queue, const struct kevent *changes, int change_count,
                        struct kevent *events, int max, const struct timespec *span) {
    return kevent(queue, changes, COUNT(change_count), events, COUNT(max), span);
}

static int close_on_exec(int fd) {
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

struct ferry__kqueue_calls ferry__kqueue_calls = {
    .kqueue = kqueue,
    .kevent = kevent_plain,
    .close_on_exec = close_on_exec,
};

/* ---- Changes ----------------------------------------------------------------------------- */

/* udata is a pointer, but an integer on NetBSD before 10. */
static void change_set(struct kevent *change, int fd, int filter, unsigned flags,
                       uint32_t generation) {
    EV_SET(change, (uintptr_t)fd, filter, flags, 0, 0,
           (__typeof__(change->udata))(uintptr_t)generation);
}

static uint32_t generation_of(const struct kevent *event) {
    return (uint32_t)(uintptr_t)event->udata;
}

/* Makes both changes, whatever comes of the first: with EV_RECEIPT each is answered for itself, and
 * nothing else is told in such a call. Without it a change that fails would keep the next one from
 * being made if there is no room for the error, and events would lie among the answers if there is.
 * Which flags come back beside EV_ERROR differs from system to system. 0 or -errno for the call
 * itself; errors[]: 0 or an errno for each. */
static int change_both(const struct ferry__poll *poll, int fd, unsigned flags, uint32_t generation,
                       int errors[2]) {
    const struct timespec none = {0, 0};
    struct kevent changes[2], receipts[2];
    change_set(&changes[0], fd, EVFILT_READ, flags | EV_RECEIPT, generation);
    change_set(&changes[1], fd, EVFILT_WRITE, flags | EV_RECEIPT, generation);
    errors[0] = errors[1] = 0;
    int count = ferry__kqueue_calls.kevent(poll->fd, changes, 2, receipts, 2, &none);
    if (count < 0) return errno == EINTR ? 0 : -errno; /* EINTR: they were made */
    for (int i = 0; i < count; i++) {
        if (receipts[i].flags & EV_ERROR) {
            errors[receipts[i].filter == EVFILT_WRITE] = (int)receipts[i].data;
        }
    }
    return 0;
}

/* ---- Open, close ------------------------------------------------------------------------- */

/* A child has no part in its parent's queue, and its number may be another's by now. */
static void kqueue_close(struct ferry__poll *poll, bool forked) {
    int *fds[] = {&poll->kick_to, &poll->kick_fd, &poll->wake_to, &poll->wake_fd, &poll->fd};
    if (forked) poll->fd = -1;
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0) (void)ferry__calls.close(*fds[i]);
        *fds[i] = -1;
    }
}

/* What is written at *to makes *from readable. 0 or -1. */
static int open_pipe(int *from, int *to) {
    int fds[2];
    if (ferry__calls.pipe(fds) != 0) return -1;
    *from = fds[0];
    *to = fds[1];
    return ferry__calls.set_blocking(fds[0], 0) < 0 || ferry__calls.set_blocking(fds[1], 0) < 0 ? -1
                                                                                                : 0;
}

/* All of them, or an error and those that there are. */
static int make(struct ferry__poll *poll, bool has_wake) {
    poll->fd = ferry__kqueue_calls.kqueue();
    if (poll->fd < 0 || ferry__kqueue_calls.close_on_exec(poll->fd) < 0) return ferry__errno();
    if (open_pipe(&poll->wake_fd, &poll->wake_to) != 0) return ferry__errno();
    if (open_pipe(&poll->kick_fd, &poll->kick_to) != 0) return ferry__errno();
    if (!has_wake) return 0;
    /* Level-triggered, and read by the loop alone: who else looks leaves it as it is. */
    struct kevent change;
    change_set(&change, poll->wake_fd, EVFILT_READ, EV_ADD, 0);
    return ferry__kqueue_calls.kevent(poll->fd, &change, 1, NULL, 0, NULL) == 0 ? 0
                                                                                : ferry__errno();
}

static int kqueue_open(struct ferry__poll *poll, bool has_wake, struct ferry__refused *why) {
    *poll = (struct ferry__poll){
        .fd = -1, .wake_fd = -1, .wake_to = -1, .kick_fd = -1, .kick_to = -1};
    int error = make(poll, has_wake);
    if (error == 0) return 0;
    kqueue_close(poll, false);
    if (error == FERRY_EMFILE || error == FERRY_ENFILE || error == FERRY_ENOMEM) return error;
    why->error = error;
    why->reason = "kqueue(2), kevent(2) or pipe(2) failed";
    return FERRY_ENOTSUP;
}

/* ---- Descriptors ------------------------------------------------------------------------- */

/* Files have filters, but with a meaning of their own: readable before their end only, and always
 * writable. */
static bool is_file(int fd) {
    struct stat about;
    return ferry__calls.fstat(fd, &about) == 0 &&
           (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode));
}

/* There is nothing to be told, in this direction at least. ENODEV: /dev/null and its like, on
 * FreeBSD; macOS says EINVAL of these and of /dev/tty. */
static bool lacks_filter(int error) {
    return error == EINVAL || error == ENODEV || error == EOPNOTSUPP;
}

/* A pipe that nobody reads from any more, as its write side is asked for: EPIPE on FreeBSD, OpenBSD
 * and DragonFly, EBADF on NetBSD, EPERM on macOS at times. */
static bool is_broken(int error) {
    return error == EPIPE || error == EBADF || error == EPERM;
}

static void kqueue_remove(struct ferry__poll *poll, ferry_fd fd) {
    int ignored[2]; /* what was told for the last time is gone: ENOENT */
    (void)change_both(poll, fd, EV_DELETE, 0, ignored);
}

/* To add what is there already changes its udata and tells of what is ready: so it is if somebody
 * has closed and reopened the number behind our back, and what lies there is the same file.
 *
 * A queue within a queue, and some devices, know one direction alone, and that will do. A broken
 * pipe is not watched, since no event would come; a try tells. */
static int kqueue_add(struct ferry__poll *poll, ferry_fd fd, uint32_t generation) {
    int errors[2];
    if (is_file(fd)) return -EPERM;
    int error = change_both(poll, fd, EV_ADD | EV_CLEAR, generation, errors);
    if (error != 0) return error;
    bool fails_both = errors[0] != 0 && errors[1] != 0;
    int first = errors[0] != 0 ? errors[0] : errors[1];
    if (first == 0 || (lacks_filter(first) && !fails_both)) return 0;
    kqueue_remove(poll, fd);
    if (fails_both && first == EBADF) return -EBADF; /* no pipe, but nothing at all */
    return lacks_filter(first) || is_broken(first) ? -EPERM : -first;
}

/* ---- Waiting ----------------------------------------------------------------------------- */

static int wait_some(struct ferry__poll *poll, struct kevent *events, int max, uint64_t left) {
    poll->waits++;
    if (left == UINT64_MAX) {
        return ferry__kqueue_calls.kevent(poll->fd, NULL, 0, events, max, NULL);
    }
    if (left > WAIT_MAX_NS) left = WAIT_MAX_NS; /* some refuse more, some wait for a day only */
    if (poll->lacks_nanoseconds) {
        left = (left + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS; /* down would mean to spin */
    } else if (left != 0) {
        poll->fine_waits++;
    }
    const struct timespec span = {.tv_sec = (time_t)(left / NS_PER_S),
                                  .tv_nsec = (long)(left % NS_PER_S)};
    return ferry__kqueue_calls.kevent(poll->fd, NULL, 0, events, max, &span);
}

/* EV_EOF on READ: the other side writes no more, or an error has come; there may be bytes to read
 * before that. On WRITE: it reads no more, or we have shut that down ourselves; there a try tells,
 * and goes on telling. Nothing was changed, so that EV_ERROR should not come: a try tells, again.
 */
static uint32_t ready_of(const struct kevent *event) {
    if (event->flags & EV_ERROR) return READY_IN | READY_OUT | READY_ENDED;
    if (event->filter == EVFILT_WRITE) return READY_OUT;
    return event->flags & EV_EOF ? READY_IN | READY_ENDED : READY_IN;
}

static int kqueue_wait_for(struct ferry__poll *poll, struct ferry__event *events, int max,
                           uint64_t deadline) {
    struct kevent raw[EVENTS_MAX];
    uint64_t left = deadline;
    if (deadline != 0 && deadline != UINT64_MAX) {
        uint64_t now = ferry__os_clock();
        left = deadline > now ? deadline - now : 0;
    }
    int got = wait_some(poll, raw, max < EVENTS_MAX ? max : EVENTS_MAX, left);
    if (got < 0) return errno == EINTR ? 0 : -errno;
    int count = 0;
    for (int i = 0; i < got; i++) {
        if (raw[i].ident == (uintptr_t)poll->wake_fd) {
            poll->woke = true;
            continue;
        }
        events[count++] = (struct ferry__event){.fd = (ferry_fd)raw[i].ident,
                                                .generation = generation_of(&raw[i]),
                                                .ready = ready_of(&raw[i])};
    }
    return count;
}

/* ---- The wake-up ------------------------------------------------------------------------- */

static void pipe_write(int fd) {
    int before = errno; /* may run in a signal handler */
    ssize_t wrote = ferry__calls.write(fd, "", 1);
    (void)wrote; /* it fails only when the pipe is full, and then it wakes all the same */
    errno = before;
}

static void pipe_drain(int fd) {
    char bytes[512];
    ssize_t got;
    do {
        got = ferry__calls.read(fd, bytes, sizeof bytes);
    } while (got == (ssize_t)sizeof bytes); /* nobody may have written */
}

static void kqueue_wake(const struct ferry__poll *poll) {
    pipe_write(poll->wake_to);
}

static void kqueue_kick(const struct ferry__poll *poll) {
    pipe_write(poll->kick_to);
}

static void kqueue_woken(const struct ferry__poll *poll) {
    pipe_drain(poll->wake_fd);
}

static void kqueue_kicked(const struct ferry__poll *poll) {
    pipe_drain(poll->kick_fd);
}

const struct ferry__poller ferry__poller_kqueue = {
    .name = "kqueue",
    .lacks_priority = true, /* macOS, OpenBSD and DragonFly have EVFILT_EXCEPT for it, others
                               nothing */
    .open = kqueue_open,
    .close = kqueue_close,
    .add = kqueue_add,
    .remove = kqueue_remove,
    .wait = kqueue_wait_for,
    .wake = kqueue_wake,
    .kick = kqueue_kick,
    .woken = kqueue_woken,
    .kicked = kqueue_kicked,
};

static int open_on_kqueue(ferry_loop *loop, const struct ferry__options *options,
                          struct ferry__refused *why) {
    return ferry__adapter_open(loop, &ferry__poller_kqueue, options, why);
}

const struct ferry__backend ferry__backend_kqueue = FERRY__ADAPTER_BACKEND("kqueue",
                                                                           open_on_kqueue);
