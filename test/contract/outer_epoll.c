/* outer_epoll.c - the outer loop of the tests of embedding, on Linux
 *
 * SPDX-License-Identifier: MIT
 */
#include "outer.h"

#include <errno.h>
#include <sys/epoll.h>

ferry_fd outer_open(void) {
    ferry_fd outer = epoll_create1(EPOLL_CLOEXEC);
    assert_true(outer >= 0);
    return outer;
}

void outer_watch(ferry_fd outer, ferry_fd fd, int edge) {
    struct epoll_event event = {.events = EPOLLIN | (edge ? (unsigned)EPOLLET : 0u), .data.fd = fd};
    assert_int_equal(epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event), 0);
}

ferry_fd outer_wait(ferry_fd outer, int ms) {
    struct epoll_event event;
    int n = epoll_wait(outer, &event, 1, ms);
    if (n < 0) assert_int_equal(errno, EINTR);
    return n < 0 ? OUTER_INTERRUPTED : n == 0 ? FERRY_FD_NONE : event.data.fd;
}
