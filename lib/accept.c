/* accept.c - accepts that meet full descriptor tables.
 *
 * Trying again at once would spin, giving up would stop a server for good. So they wait here, in
 * order, and one of them is tried after a pause that doubles from 5 to 500 ms, or soon after this
 * loop closed a descriptor; never more than a hundred a second. The first success lets the others
 * follow, one after the other. Called by op.c and by each turn of the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define PAUSE_MIN_NS 5000000u
#define PAUSE_MAX_NS 500000000u
#define ATTEMPT_GAP_NS 10000000u

static void plan(ferry_loop *loop, uint64_t when) {
    uint64_t earliest = ferry__time_add(loop->pause_last, ATTEMPT_GAP_NS);
    loop->pause_until = when > earliest ? when : earliest;
}

void ferry__accept_pause(ferry_loop *loop, ferry_op *op) {
    bool alone = loop->paused.head == NULL;
    ferry__op_move(op, OP_PAUSED);
    ferry__list_push(&loop->paused, op);
    loop->stats.accept_pauses++;
    FERRY__PROBE3(accept_pause, loop, op, op->fd);
    if (!alone && loop->now < loop->pause_until) return; /* others found the same in this turn */
    uint64_t pause = loop->pause_ns * 2;
    if (pause < PAUSE_MIN_NS) pause = PAUSE_MIN_NS;
    loop->pause_ns = pause > PAUSE_MAX_NS ? PAUSE_MAX_NS : pause;
    plan(loop, ferry__time_add(loop->now, loop->pause_ns));
}

void ferry__accept_succeeded(ferry_loop *loop) {
    loop->pause_ns = 0;
    if (loop->paused.head != NULL) plan(loop, loop->now);
}

void ferry__accept_hurry(ferry_loop *loop) {
    if (loop->paused.head != NULL) plan(loop, loop->now);
}

void ferry__accept_retry(ferry_loop *loop) {
    ferry_op *op = loop->paused.head;
    if (op == NULL || loop->now < loop->pause_until) return;
    ferry__list_remove(&loop->paused, op);
    loop->stats.accept_attempts++;
    loop->pause_last = loop->now;
    /* The next is tried after another pause, whatever becomes of this one: it may belong to another
     * listener, and this one may just wait for a connection. */
    plan(loop, ferry__time_add(loop->now, loop->pause_ns));
    ferry__op_start(loop, op);
}
