/* outer.h - the outer loop of the tests of embedding: the system's own queue, an epoll or a kqueue
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_OUTER_H
#define FERRY_TEST_OUTER_H

#include "support.h"

/* A descriptor, to be closed with close(2). */
ferry_fd outer_open(void);

/* Tells when fd is readable: for as long as it is, or each time anew (edge). */
void outer_watch(ferry_fd outer, ferry_fd fd, int edge);

/* Waits for one of them, without a limit if ms is -1. Returns it, FERRY_FD_NONE if none was
 * readable in time, or OUTER_INTERRUPTED by a signal. One system call. */
ferry_fd outer_wait(ferry_fd outer, int ms);
#define OUTER_INTERRUPTED ((ferry_fd)-2)

#endif
