/* calls.c - the tables of calls.h and file_calls.h, filled with Linux's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/calls.h"

#include "../posix/file_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The C library's own types for these are not plain. */
static int ioctl_int(int fd, unsigned long request, int *value) {
    return ioctl(fd, request, value);
}

static int bind_plain(int fd, const struct sockaddr *addr, socklen_t len) {
    return bind(fd, addr, len);
}

static int connect_plain(int fd, const struct sockaddr *addr, socklen_t len) {
    return connect(fd, addr, len);
}

static int getsockname_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return getsockname(fd, addr, len);
}

static int getpeername_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return getpeername(fd, addr, len);
}

static int getrlimit_plain(int which, struct rlimit *limit) {
    return getrlimit((__rlimit_resource_t)which, limit);
}

static ssize_t sendmsg_plain(int fd, const struct msghdr *header, int flags) {
    return sendmsg(fd, header, flags);
}

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

static int duplicate(int fd, int lowest) {
    return fcntl(fd, F_DUPFD_CLOEXEC, lowest);
}

static int open_to_read(const char *path) {
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int eventfd_int(unsigned count, int flags) {
    return eventfd(count, flags);
}

static int pidfd_open_plain(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Without the mask of signals. */
static int ppoll_plain(struct pollfd *fds, nfds_t count, const struct timespec *span) {
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

static int set_blocking(int fd, int blocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    int was = !(flags & O_NONBLOCK);
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return wanted == flags || fcntl(fd, F_SETFL, wanted) == 0 ? was : -1;
}

struct ferry__calls ferry__calls = {
    FERRY__CALLS_COMMON,
    .getrlimit = getrlimit_plain,
    .ioctl = ioctl_int,
    .sendmsg = sendmsg_plain,
    .accept = accept_plain,
    .ppoll = ppoll_plain,
    .socket = socket_plain,
    .socketpair = socketpair_plain,
    .connect = connect_plain,
    .bind = bind_plain,
    .getsockname = getsockname_plain,
    .getpeername = getpeername_plain,
    .pipe = pipe_plain,
    .open_to_read = open_to_read,
    .preadv_nowait = preadv_nowait,
    .pwritev_nowait = pwritev_nowait,
    .set_blocking = set_blocking,
    .eventfd = eventfd_int,
    .duplicate = duplicate,
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
};

/* ---- Files ------------------------------------------------------------------------------- */

static int openat_mode(int dir, const char *path, int flags, mode_t mode) {
    return openat(dir, path, flags, mode);
}

static int status_flags(int fd) {
    return fcntl(fd, F_GETFL);
}

/* Some C libraries have none of these two. */
static ssize_t getdents_raw(int fd, void *buf, size_t len) {
    return syscall(SYS_getdents64, fd, buf, len);
}

static int openat2_raw(int dir, const char *path, struct open_how *how) {
    return (int)syscall(SYS_openat2, dir, path, how, sizeof *how);
}

/* Its type in the C library says that the pointers are not NULL, which the kernel says itself. */
static int statx_plain(int dir, const char *path, int flags, unsigned mask, struct statx *about) {
    return statx(dir, path, flags, mask, about);
}

struct ferry__file_calls ferry__file_calls = {
    FERRY__FILE_CALLS_COMMON, .openat = openat_mode,        .fdatasync = fdatasync,
    .fadvise = posix_fadvise, .status_flags = status_flags, .getdents = getdents_raw,
    .renameat2 = renameat2,   .fallocate = fallocate,       .copy_file_range = copy_file_range,
    .statx = statx_plain,     .openat2 = openat2_raw,
};
