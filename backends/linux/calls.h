/* calls.h - the system calls that only Linux has, as a table that tests can replace, beside those
 * of posix/.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_LINUX_CALLS_H
#define FERRY_LINUX_CALLS_H

#include "port.h"

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

FERRY__OWN_BEGIN

struct epoll_event;
struct open_how;
struct rlimit;
struct statx;

struct ferry__linux_calls {
    int (*locked_limit)(struct rlimit *); /* RLIMIT_MEMLOCK */
    int (*eventfd)(unsigned, int);
    int (*pidfd_open)(pid_t);
    int (*inotify_init)(int);
    int (*inotify_add_watch)(int, const char *, uint32_t);
    int (*inotify_rm_watch)(int, int);
    int (*epoll_create)(int);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *);
    int (*timerfd_create)(int, int);
    int (*timerfd_settime)(int, int, const struct itimerspec *, struct itimerspec *);
    int (*renameat2)(int, const char *, int, const char *, unsigned);
    int (*fallocate)(int, int, off_t, off_t);

    ssize_t (*copy_file_range)(int, off_t *, int, off_t *, size_t, unsigned);
    int (*statx)(int, const char *, int, unsigned, struct statx *);
    int (*openat2)(int, const char *, struct open_how *);
};

extern struct ferry__linux_calls ferry__linux_calls;

FERRY__OWN_END

#endif
