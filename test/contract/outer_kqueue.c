/* outer_kqueue.c - the outer loop of the tests of embedding, on macOS and FreeBSD
 *
 * SPDX-License-Identifier: MIT
 */
#include "outer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>
#include <sys/time.h>

ferry_fd outer_open(void) {
    ferry_fd outer = kqueue();
    assert_true(outer >= 0);
    assert_int_equal(fcntl(outer, F_SETFD, FD_CLOEXEC), 0);
    return outer;
}

void outer_watch(ferry_fd outer, ferry_fd fd, int edge) {
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, EVFILT_READ, (unsigned short)(EV_ADD | (edge ? EV_CLEAR : 0)), 0,
           0, NULL);
    assert_int_equal(kevent(outer, &change, 1, NULL, 0, NULL), 0);
}

ferry_fd outer_wait(ferry_fd outer, int ms) {
    struct kevent event;
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
    int n = kevent(outer, NULL, 0, &event, 1, ms < 0 ? NULL : &limit);
    if (n < 0) assert_int_equal(errno, EINTR);
    return n < 0 ? OUTER_INTERRUPTED : n == 0 ? FERRY_FD_NONE : (ferry_fd)event.ident;
}
