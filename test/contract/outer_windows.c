/* outer_windows.c - the outer loop of the tests of embedding, on Windows: a wait for some handles
 *
 * Windows tells of no edges: a loop's handle is an event, which is waited for as long as it is set.
 *
 * SPDX-License-Identifier: MIT
 */
#include "outer.h"

#include <fcntl.h>
#include <poll.h>

#define WATCHED_MAX 8

struct outer {
    ferry_fd handle; /* that stands for it: to be closed as others are */
    struct pollfd watched[WATCHED_MAX];
    unsigned count;
};

static struct outer outers[8];

ferry_fd outer_open(void) {
    for (size_t i = 0; i < 8; i++) {
        if (outers[i].handle != 0 && is_open(outers[i].handle)) continue;
        outers[i] = (struct outer){.handle = open("/dev/null", O_RDONLY)};
        assert_true(outers[i].handle > 0);
        return outers[i].handle;
    }
    fail_msg("eight outer loops are open");
    return FERRY_FD_NONE;
}

static struct outer *outer_of(ferry_fd handle) {
    size_t i = 0;
    while (i < 7 && outers[i].handle != handle) i++;
    assert_true(outers[i].handle == handle);
    return &outers[i];
}

void outer_watch(ferry_fd handle, ferry_fd fd, int edge) {
    struct outer *outer = outer_of(handle);
    (void)edge;
    assert_true(outer->count < WATCHED_MAX);
    outer->watched[outer->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

ferry_fd outer_wait(ferry_fd handle, int ms) {
    struct outer *outer = outer_of(handle);
    if (poll(outer->watched, outer->count, ms) <= 0) return FERRY_FD_NONE;
    for (unsigned i = 0; i < outer->count; i++) {
        if (outer->watched[i].revents) return outer->watched[i].fd;
    }
    return FERRY_FD_NONE;
}
