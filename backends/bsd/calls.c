/* calls.c - the tables of calls.h and file_calls.h on the BSDs and macOS.
 *
 * FERRY__HAS_...: what meson.build has found in the C library. What is close-on-exec from the
 * beginning on most of them is made so a moment later where there is no call for that (macOS): a
 * thread that forks and executes in between hands it on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/calls_common.h"

#include <dirent.h>
#include <errno.h>

#if FERRY__HAS_ACCEPT4
#define MAKE_CLOSED SOCK_CLOEXEC
#else
#define MAKE_CLOSED 0
#endif

/* fd, -1 or made close-on-exec; or -1, and then it is closed. */
static int closed_on_exec(int fd) {
    if (MAKE_CLOSED != 0 || fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static int both_closed_on_exec(int *fds) {
    if (closed_on_exec(fds[0]) < 0) {
        (void)close(fds[1]);
        return -1;
    }
    if (closed_on_exec(fds[1]) >= 0) return 0;
    (void)close(fds[0]);
    return -1;
}

static int accept_plain(int fd, struct sockaddr *addr, socklen_t *len) {
#if FERRY__HAS_ACCEPT4
    return accept4(fd, addr, len, MAKE_CLOSED);
#else
    /* What a listener does, its children do as well on these systems, and should not. */
    int made = closed_on_exec(accept(fd, addr, len));
    if (made >= 0) (void)set_blocking(made, 1);
    return made;
#endif
}

static int socket_plain(int domain, int type, int protocol) {
    return closed_on_exec(socket(domain, type | MAKE_CLOSED, protocol));
}

static int socketpair_plain(int domain, int type, int protocol, int *fds) {
    if (socketpair(domain, type | MAKE_CLOSED, protocol, fds) != 0) return -1;
    return both_closed_on_exec(fds);
}

static int pipe_plain(int *fds) {
#if FERRY__HAS_PIPE2
    return pipe2(fds, O_CLOEXEC);
#else
    if (pipe(fds) != 0) return -1;
    if (fcntl(fds[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(fds[1], F_SETFD, FD_CLOEXEC) == 0) {
        return 0;
    }
    int error = errno;
    (void)close(fds[0]);
    (void)close(fds[1]);
    errno = error;
    return -1;
#endif
}

/* In milliseconds, and rather too long than too short, where there is nothing finer. */
static int poll_ns(struct pollfd *fds, nfds_t count, const struct timespec *span) {
#if FERRY__HAS_PPOLL
    return ppoll(fds, count, span, NULL);
#else
    if (span == NULL) return poll(fds, count, -1);
    int64_t left = (int64_t)span->tv_sec * 1000 + (span->tv_nsec + 999999) / 1000000;
    return poll(fds, count, left < INT32_MAX ? (int)left : INT32_MAX);
#endif
}

static ssize_t preadv_nowait(int fd, const struct iovec *vecs, int count, off_t offset) {
    (void)fd, (void)vecs, (void)count, (void)offset;
    errno = EOPNOTSUPP;
    return -1;
}

static ssize_t pwritev_nowait(int fd, const struct iovec *vecs, int count, off_t offset) {
    return preadv_nowait(fd, vecs, count, offset);
}

struct ferry__calls ferry__calls = {FERRY__CALLS_ALL};

/* ---- Files ------------------------------------------------------------------------------- */

/* fsync(2) leaves it in the disk's own cache on macOS. */
static int sync_all(int fd) {
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
#endif
    return fsync(fd);
}

static int sync_data(int fd) {
#if FERRY__HAS_FDATASYNC
    return fdatasync(fd);
#else
    return sync_all(fd);
#endif
}

/* Advice is no promise: where nobody listens it was given all the same. */
static int fadvise(int fd, off_t offset, off_t len, int advice) {
#if FERRY__HAS_POSIX_FADVISE
    return posix_fadvise(fd, offset, len, advice);
#else
    struct stat about;
    (void)offset, (void)len, (void)advice;
    if (fstat(fd, &about) != 0) return errno;
    return S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode) ? ESPIPE : 0;
#endif
}

/* What readdir(3) is made of. macOS has nothing like it: see list_macos.c. */
static ssize_t getdents_plain(int fd, void *buf, size_t len) {
#if FERRY__HAS_GETDENTS64 /* under the tests' kevent */
    return getdents64(fd, buf, len);
#elif FERRY__HAS_GETDENTS      /* NetBSD, OpenBSD */
    return getdents(fd, buf, len);
#elif FERRY__HAS_GETDIRENTRIES /* FreeBSD, DragonFly */
    off_t place;
    return getdirentries(fd, buf, len, &place);
#else
    (void)fd, (void)buf, (void)len;
    errno = ENOSYS;
    return -1;
#endif
}

struct ferry__file_calls ferry__file_calls = {FERRY__FILE_CALLS_ALL};
