/* post.c - what comes in from other threads: posts, and work that is done.
 *
 * A stack that any thread pushes to and the loop takes whole: one compare-and-swap for a poster,
 * one exchange for the loop, no lock. The loop is woken only when it sleeps: it announces that it
 * is about to, then looks at the stack once more; a poster pushes, then looks whether it sleeps.
 * Both in the single total order of sequentially consistent operations, so that at least one of the
 * two sees the other, and a post is never left lying beside a sleeping loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

void ferry__inbox_wake(ferry_loop *loop) {
    struct ferry__inbox *inbox = &loop->inbox;
    /* seq_cst: after the caller's push or stop, which the loop looks at after announcing its sleep
     * (ferry__inbox_sleep). The exchange lets one of several posters do the waking. */
    if (atomic_load_explicit(&inbox->asleep, memory_order_seq_cst) &&
        atomic_exchange_explicit(&inbox->asleep, false, memory_order_seq_cst)) {
        atomic_fetch_add_explicit(&inbox->wakeups, 1, memory_order_relaxed);
        FERRY__PROBE1(wake, loop);
        loop->backend->wake(loop);
    }
}

void ferry__inbox_put(ferry_loop *loop, ferry_op *op) {
    struct ferry__inbox *inbox = &loop->inbox;
    ferry_op *top = atomic_load_explicit(&inbox->top, memory_order_relaxed);
    do {
        op->link.next = top;
        /* seq_cst: before the look at asleep; as a release it hands op's fields to inbox_take. */
    } while (!atomic_compare_exchange_weak_explicit(&inbox->top, &top, op, memory_order_seq_cst,
                                                    memory_order_relaxed));
}

void ferry__inbox_push(ferry_loop *loop, ferry_op *op) {
    ferry__inbox_put(loop, op);
    ferry__inbox_wake(loop);
}

ferry_op *ferry__inbox_top(const ferry_loop *loop) {
    /* acquire: as in inbox_take. What lies here stays as it is until the loop takes it. */
    return atomic_load_explicit(&loop->inbox.top, memory_order_acquire);
}

ferry_op *ferry__inbox_take(ferry_loop *loop) {
    struct ferry__inbox *inbox = &loop->inbox;
    if (atomic_load_explicit(&inbox->top, memory_order_relaxed) == NULL) return NULL;
    /* acquire: what the pushers wrote into their operations. */
    ferry_op *op = atomic_exchange_explicit(&inbox->top, NULL, memory_order_acquire);
    ferry_op *oldest = NULL;
    while (op != NULL) {
        ferry_op *next = op->link.next;
        op->link.next = oldest;
        oldest = op;
        op = next;
    }
    return oldest;
}

bool ferry__inbox_sleep(ferry_loop *loop) {
    struct ferry__inbox *inbox = &loop->inbox;
    /* seq_cst: the announcement before the looks, against push, stop or signal before the look at
     * asleep. */
    atomic_store_explicit(&inbox->asleep, true, memory_order_seq_cst);
    if (atomic_load_explicit(&inbox->top, memory_order_seq_cst) == NULL &&
        !atomic_load_explicit(&inbox->stop, memory_order_seq_cst) &&
        !atomic_load_explicit(&inbox->signalled, memory_order_seq_cst)) {
        return true;
    }
    ferry__inbox_awake(loop);
    return false;
}

void ferry__inbox_awake(ferry_loop *loop) {
    /* relaxed: a poster that still sees it set wakes once for nothing. */
    atomic_store_explicit(&loop->inbox.asleep, false, memory_order_relaxed);
}

int ferry_post(ferry_loop *loop, ferry_op *op, ferry_cb *cb) {
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    if (op->state != OP_IDLE) ferry__op_fatal(op, "was posted while it is in flight");
    /* relaxed: a post that races with the start of a drain may go either way. */
    if (atomic_load_explicit(&loop->inbox.refuses, memory_order_relaxed)) return FERRY_ECLOSED;
    op->done = cb;
    op->code = FERRY_OP_POST;
    op->fd = FERRY_FD_NONE;
    op->asked = 0;
    op->bits = 0;
    op->transferred = 0;
    /* relaxed: on its own. The loop's clock is its thread's, hence a look at the system's. */
    bool measures = atomic_load_explicit(&loop->inbox.measures, memory_order_relaxed);
    op->result = measures ? (int64_t)ferry__os_clock() : 0;
    FERRY__PROBE2(post, loop, op);
    ferry__op_move(op, OP_POSTED);
    ferry__inbox_push(loop, op);
    return 0;
}

void ferry_stop(ferry_loop *loop) {
    if (loop->fork_count != ferry__os_fork_count) return;
    atomic_store_explicit(&loop->inbox.stop, true, memory_order_seq_cst);
    ferry__inbox_wake(loop);
}
