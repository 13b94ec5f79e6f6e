/* calls.h - every system call that the library makes outside the rings, as a table that tests can
 * replace: to make a call fail, or to see that it was made.
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

struct epoll_event;
struct itimerspec; /* not on macOS */

struct ferry__calls {
    int (*clock_gettime)(clockid_t, struct timespec *);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*munmap)(void *, size_t);
    int (*getrlimit)(int, struct rlimit *);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    int (*fstat)(int, struct stat *);
    int (*getsockopt)(int, int, int, void *, socklen_t *);
    int (*setsockopt)(int, int, int, const void *, socklen_t);
    int (*ioctl)(int, unsigned long, int *);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*recvmsg)(int, struct msghdr *, int);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*accept)(int, struct sockaddr *, socklen_t *, int);
    int (*poll)(struct pollfd *, nfds_t, int);
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *);
    int (*shutdown)(int, int);
    int (*socket)(int, int, int);
    int (*socketpair)(int, int, int, int *);
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*bind)(int, const struct sockaddr *, socklen_t);
    int (*listen)(int, int);
    int (*getsockname)(int, struct sockaddr *, socklen_t *);
    int (*getpeername)(int, struct sockaddr *, socklen_t *);
    int (*pipe)(int *, int);
    int (*open_to_read)(const char *);
    int (*close)(int);
    int (*ftruncate)(int, off_t);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*preadv)(int, const struct iovec *, int, off_t);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    ssize_t (*preadv2)(int, const struct iovec *, int, off_t, int);  /* Linux */
    ssize_t (*pwritev2)(int, const struct iovec *, int, off_t, int); /* Linux */
    int (*set_blocking)(int, int);                                   /* 0: not; was it, or -1 */
    int (*eventfd)(unsigned, int);
    int (*duplicate)(int, int); /* not below the second number, close-on-exec */
    int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                 const posix_spawnattr_t *, char *const *, char *const *);
    int (*waitid)(idtype_t, id_t, siginfo_t *, int);
    int (*pidfd_open)(pid_t); /* Linux */
    int (*kill)(pid_t, int);
    int (*inotify_init)(int);
    int (*inotify_add_watch)(int, const char *, uint32_t);
    int (*inotify_rm_watch)(int, int);
    int (*epoll_create)(int);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *);
    int (*timerfd_create)(int, int);
    int (*timerfd_settime)(int, int, const struct itimerspec *, struct itimerspec *);
    int (*getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void (*freeaddrinfo)(struct addrinfo *);
    int (*thread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
};

extern struct ferry__calls ferry__calls;

/* Our number for errno. */
int ferry__errno(void);

FERRY__OWN_END

#endif
