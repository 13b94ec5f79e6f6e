/* embed.c - a loop inside another: the descriptor that says when to run it.
 *
 * The backend has the descriptor (struct ferry__embedding). loop.c sets it right at the end of each
 * run, and here is what happens between runs, when anything that is submitted has to tell the outer
 * loop. A loop that nobody embeds pays a bit of loop->gate, which submits look at anyway.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

void ferry__loop_raise(ferry_loop *loop) {
    loop->gate &= ~(uint32_t)GATE_QUIET;
    loop->backend->embed->raise(loop);
}

ferry_fd ferry_loop_fd(ferry_loop *loop) {
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    ferry__loop_check(loop, NULL);
    if (loop->backend->embed == NULL) return FERRY_ENOTSUP;
    ferry_fd fd = loop->backend->embed->open(loop);
    if (fd < 0 || loop->embedded) return fd;
    loop->embedded = true;
    if (loop->running) return fd; /* the end of the run says what is left */
    if (loop->in_flight == 0 && ferry__inbox_sleep(loop)) {
        loop->gate |= GATE_QUIET;
    } else {
        loop->backend->embed->raise(loop); /* the first run finds out */
    }
    return fd;
}
