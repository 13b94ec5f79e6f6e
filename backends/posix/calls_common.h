/* calls_common.h - what goes into the tables of calls.h and file_calls.h on every system.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_CALLS_COMMON_H
#define FERRY_POSIX_CALLS_COMMON_H

#include "calls.h"
#include "file_calls.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __APPLE__ /* getentropy() is in the one before elsewhere */
#include <sys/random.h>
#endif

/* The C library's own types for these are not plain. */
static inline int ioctl_int(int fd, unsigned long request, int *value) {
    return ioctl(fd, request, value);
}

static inline int bind_plain(int fd, const struct sockaddr *addr, socklen_t len) {
    return bind(fd, addr, len);
}

static inline int connect_plain(int fd, const struct sockaddr *addr, socklen_t len) {
    return connect(fd, addr, len);
}

static inline int getsockname_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return getsockname(fd, addr, len);
}

static inline int getpeername_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return getpeername(fd, addr, len);
}

static inline int fd_limit(struct rlimit *limit) {
    return getrlimit(RLIMIT_NOFILE, limit);
}

static inline ssize_t sendmsg_plain(int fd, const struct msghdr *header, int flags) {
    return sendmsg(fd, header, flags);
}

static inline int duplicate(int fd, int lowest) {
    return fcntl(fd, F_DUPFD_CLOEXEC, lowest);
}

static inline int open_to_read(const char *path) {
    return open(path, O_RDONLY | O_CLOEXEC);
}

static inline int set_blocking(int fd, int blocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    int was = !(flags & O_NONBLOCK);
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return wanted == flags || fcntl(fd, F_SETFL, wanted) == 0 ? was : -1;
}

static inline int openat_mode(int dir, const char *path, int flags, mode_t mode) {
    return openat(dir, path, flags, mode);
}

static inline int status_flags(int fd) {
    return fcntl(fd, F_GETFL);
}

/* The tables, whole. What is not the C library's own, or above, the system brings under these
 * names. */
#define FERRY__CALLS_ALL                                                                           \
    .clock_gettime = clock_gettime, .mmap = mmap, .munmap = munmap, .fd_limit = fd_limit,          \
    .sigaction = sigaction, .fstat = fstat, .getsockopt = getsockopt, .setsockopt = setsockopt,    \
    .ioctl = ioctl_int, .recv = ferry__recv, .recvmsg = recvmsg, .send = ferry__send,              \
    .sendmsg = sendmsg_plain, .poll = poll, .shutdown = shutdown, .connect = connect_plain,        \
    .bind = bind_plain, .listen = listen, .getsockname = getsockname_plain,                        \
    .getpeername = getpeername_plain, .open_to_read = open_to_read, .close = close,                \
    .ftruncate = ftruncate, .read = read, .write = write, .readv = readv, .writev = writev,        \
    .preadv = preadv, .pwritev = pwritev, .set_blocking = set_blocking, .duplicate = duplicate,    \
    .spawn = posix_spawnp, .waitid = waitid, .kill = kill, .getaddrinfo = getaddrinfo,             \
    .freeaddrinfo = freeaddrinfo, .thread_create = pthread_create, .accept = accept_plain,         \
    .poll_ns = poll_ns, .socket = socket_plain, .socketpair = socketpair_plain,                    \
    .pipe = pipe_plain, .preadv_nowait = preadv_nowait, .pwritev_nowait = pwritev_nowait

#define FERRY__FILE_CALLS_ALL                                                                      \
    .openat = openat_mode, .mkdirat = mkdirat, .unlinkat = unlinkat, .linkat = linkat,             \
    .symlinkat = symlinkat, .readlinkat = readlinkat, .fchmod = fchmod, .fchmodat = fchmodat,      \
    .fchown = fchown, .fchownat = fchownat, .futimens = futimens, .utimensat = utimensat,          \
    .faccessat = faccessat, .fstatat = fstatat, .realpath = realpath, .pread = pread,              \
    .pwrite = pwrite, .sync_all = sync_all, .sync_data = sync_data, .fadvise = fadvise,            \
    .getdents = getdents_plain, .lseek = lseek, .status_flags = status_flags,                      \
    .getentropy = getentropy

#endif
