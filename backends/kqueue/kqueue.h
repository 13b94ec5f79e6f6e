/* kqueue.h - the calls of kqueue(2) that the library makes: a table that tests can replace, beside
 * the one of posix/calls.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_KQUEUE_H
#define FERRY_KQUEUE_H

#include "port.h"

FERRY__OWN_BEGIN

struct kevent;
struct timespec;

struct ferry__kqueue_calls {
    int (*kqueue)(void);
    int (*kevent)(int, const struct kevent *, int, struct kevent *, int, const struct timespec *);
    int (*close_on_exec)(int); /* fcntl(F_SETFD, FD_CLOEXEC) */
};

extern struct ferry__kqueue_calls ferry__kqueue_calls;

FERRY__OWN_END

#endif
