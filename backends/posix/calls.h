/* calls.h - every system call that the library makes outside the rings, as a table that tests can
 * replace: to make a call fail, or to see that it was made. Each system fills it (linux/calls.c,
 * bsd/calls.c). What makes descriptors makes them close-on-exec.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_CALLS_H
#define FERRY_POSIX_CALLS_H

#include "port.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

FERRY__OWN_BEGIN

struct ferry__calls {
    int (*clock_gettime)(clockid_t, struct timespec *);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*munmap)(void *, size_t);
    int (*fd_limit)(struct rlimit *);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    int (*fstat)(int, struct stat *);
    int (*getsockopt)(int, int, int, void *, socklen_t *);
    int (*setsockopt)(int, int, int, const void *, socklen_t);
    int (*ioctl)(int, unsigned long, int *);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*recvmsg)(int, struct msghdr *, int);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*accept)(int, struct sockaddr *, socklen_t *);
    int (*poll)(struct pollfd *, nfds_t, int);
    int (*poll_ns)(struct pollfd *, nfds_t, const struct timespec *);
    int (*shutdown)(int, int);
    int (*socket)(int, int, int);
    int (*socketpair)(int, int, int, int *);
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*bind)(int, const struct sockaddr *, socklen_t);
    int (*listen)(int, int);
    int (*getsockname)(int, struct sockaddr *, socklen_t *);
    int (*getpeername)(int, struct sockaddr *, socklen_t *);
    int (*pipe)(int *);
    int (*open_to_read)(const char *);
    int (*close)(int);
    int (*ftruncate)(int, off_t);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*preadv)(int, const struct iovec *, int, off_t);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    /* EAGAIN rather than wait for anything, a disk too; EOPNOTSUPP where there is no such call. At
     * the current position: offset -1. */
    ssize_t (*preadv_nowait)(int, const struct iovec *, int, off_t);
    ssize_t (*pwritev_nowait)(int, const struct iovec *, int, off_t);
    int (*set_blocking)(int, int); /* 0: not; was it, or -1 */
    int (*duplicate)(int, int);    /* not below the second number, close-on-exec */
    int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                 const posix_spawnattr_t *, char *const *, char *const *);
    int (*waitid)(idtype_t, id_t, siginfo_t *, int);
    int (*kill)(pid_t, int);
    int (*getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void (*freeaddrinfo)(struct addrinfo *);
    int (*thread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
};

extern struct ferry__calls ferry__calls;

/* recv(2) and send(2), for the table. */
ssize_t ferry__recv(int fd, void *buf, size_t len, int flags);
ssize_t ferry__send(int fd, const void *buf, size_t len, int flags);

/* Our number for errno. */
int ferry__errno(void);

FERRY__OWN_END

#endif
