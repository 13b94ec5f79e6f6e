/* calls.c - the tables of calls.h and file_calls.h, filled with Linux's own, and
 * that of Linux alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"

#include "../posix/calls_common.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The C library's own type is not a plain one. */
static int timerfd_create_plain(int clock, int flags) {
    return timerfd_create((__clockid_t)clock, flags);
}

/* Close-on-exec. */
static int accept_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return accept4(fd, addr, len, SOCK_CLOEXEC);
}

static int socket_plain(int domain, int type, int protocol) {
    return socket(domain, type | SOCK_CLOEXEC, protocol);
}

static int socketpair_plain(int domain, int type, int protocol, int *fds) {
    return socketpair(domain, type | SOCK_CLOEXEC, protocol, fds);
}

static int pipe_plain(int *fds) {
    return pipe2(fds, O_CLOEXEC);
}

static int eventfd_int(unsigned count, int flags) {
    return eventfd(count, flags);
}

static int pidfd_open_plain(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Without the mask of signals. */
static int poll_ns(struct pollfd *fds, nfds_t count, const struct timespec *span) {
    return ppoll(fds, count, span, NULL);
}

static int epoll_pwait2_plain(int fd, struct epoll_event *events, int max,
                              const struct timespec *span) {
    return epoll_pwait2(fd, events, max, span, NULL);
}

static ssize_t preadv_nowait(int fd, const struct iovec *vecs, int count, off_t offset) {
    return preadv2(fd, vecs, count, offset, RWF_NOWAIT);
}

static ssize_t pwritev_nowait(int fd, const struct iovec *vecs, int count, off_t offset) {
    return pwritev2(fd, vecs, count, offset, RWF_NOWAIT);
}

struct ferry__calls ferry__calls = {FERRY__CALLS_ALL};

/* ---- Files ------------------------------------------------------------------------------- */

/* Some C libraries have none of these two. */
static ssize_t getdents_plain(int fd, void *buf, size_t len) {
    return syscall(SYS_getdents64, fd, buf, len);
}

static int openat2_raw(int dir, const char *path, struct open_how *how) {
    return (int)syscall(SYS_openat2, dir, path, how, sizeof *how);
}

/* Its type in the C library says that the pointers are not NULL, which the kernel says itself. */
static int statx_plain(int dir, const char *path, int flags, unsigned mask, struct statx *about) {
    return statx(dir, path, flags, mask, about);
}

static int sync_all(int fd) {
    return fsync(fd);
}

static int sync_data(int fd) {
    return fdatasync(fd);
}

static int fadvise(int fd, off_t offset, off_t len, int advice) {
    return posix_fadvise(fd, offset, len, advice);
}

struct ferry__file_calls ferry__file_calls = {FERRY__FILE_CALLS_ALL};

static int locked_limit(struct rlimit *limit) {
    return getrlimit(RLIMIT_MEMLOCK, limit);
}

struct ferry__linux_calls ferry__linux_calls = {
    .locked_limit = locked_limit,
    .eventfd = eventfd_int,
    .pidfd_open = pidfd_open_plain,
    .inotify_init = inotify_init1,
    .inotify_add_watch = inotify_add_watch,
    .inotify_rm_watch = inotify_rm_watch,
    .epoll_create = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .epoll_wait = epoll_wait,
    .epoll_pwait2 = epoll_pwait2_plain,
    .timerfd_create = timerfd_create_plain,
    .timerfd_settime = timerfd_settime,
    .renameat2 = renameat2,
    .fallocate = fallocate,
    .copy_file_range = copy_file_range,
    .statx = statx_plain,
    .openat2 = openat2_raw,
};
