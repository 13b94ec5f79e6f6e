/* embed_stage.c - a loop inside another of the system's, for the tests of embedding
 *
 * SPDX-License-Identifier: MIT
 */
#include "embed_stage.h"

#include "outer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void embedded_watch(struct embedded *e, int edge) {
    e->fd = ferry_loop_fd(e->loop);
    assert_true(e->fd >= 0);
    e->outer = outer_open();
    outer_watch(e->outer, e->fd, edge);
}

void embedded_open(struct embedded *e, int edge) {
    memset(e, 0, sizeof *e);
    e->loop = test_loop();
    embedded_watch(e, edge);
}

void embedded_close(struct embedded *e) {
    close(e->outer);
    finish(e->loop);
}

int embedded_readable(const struct embedded *e, uint64_t ns) {
    uint64_t until = clock_ns() + ns;
    for (;;) {
        struct pollfd ready = {.fd = e->fd, .events = POLLIN};
        uint64_t now = clock_ns();
        int n = poll(&ready, 1, now < until ? (int)((until - now + MS - 1) / MS) : 0);
        if (n > 0) return 1;
        if (n == 0) return 0;
        assert_int_equal(errno, EINTR);
    }
}

int embedded_turn(struct embedded *e, uint64_t ns) {
    uint64_t until = clock_ns() + ns;
    for (;;) {
        uint64_t now = clock_ns();
        int wait_ms = now < until ? (int)((until - now + MS - 1) / MS) : 0;
        ferry_fd fd = outer_wait(e->outer, wait_ms);
        if (fd == FERRY_FD_NONE) return 0;
        if (fd == OUTER_INTERRUPTED) continue;
        assert_int_equal(fd, e->fd);
        int more = ferry_run(e->loop, FERRY_RUN_NOWAIT);
        if (more < 0) fail_msg("ferry_run: %s", ferry_strerror(more));
        return 1;
    }
}

void embedded_run_until(struct embedded *e, const struct probe *p) {
    uint64_t until = clock_ns() + 20 * SECOND * TEST_STRETCH;
    while (p->finals == 0) {
        uint64_t now = clock_ns();
        if (now >= until || !embedded_turn(e, until - now)) {
            fail_msg("the loop's descriptor did not tell of a %s (%d callbacks)",
                     ferry_op_name(p->op.code), p->calls);
        }
    }
}

void embedded_rest(struct embedded *e) {
    int runs = 0;
    do {
        assert_true(ferry_run(e->loop, FERRY_RUN_NOWAIT) >= 0);
        if (++runs > 1000) fail_msg("the loop's descriptor stays readable");
    } while (embedded_readable(e, 0));
}
