/* served.c - operations that wait in a service of the library instead of with the backend: for a
 * signal (signals.c), for changes of files (watch.c).
 *
 * Such an operation is on its service's list in loop->served while it waits. A result that is not
 * its last is delivered as that of a repeating timer is: it goes through loop->due marked
 * FERRY_MORE, and back to its list just before its callback (loop.c, deliver()).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

static struct ferry__list *list_of(ferry_loop *loop, const ferry_op *op) {
    return &loop->served[op->code == FERRY_OP_SIGNAL ? SERVICE_SIGNALS : SERVICE_WATCHES];
}

void ferry__served_submit(ferry_loop *loop, ferry_op *op) {
    if (op->code == FERRY_OP_SIGNAL) {
        ferry__signal_submit(loop, op);
    } else {
        ferry__watch_submit(loop, op);
    }
}

void ferry__served_wait(ferry_loop *loop, ferry_op *op) {
    ferry__op_move(op, OP_SERVED);
    ferry__list_push(list_of(loop, op), op);
}

void ferry__served_end(ferry_loop *loop, ferry_op *op, int64_t result) {
    ferry__list_remove(list_of(loop, op), op);
    if (op->code == FERRY_OP_WATCH) ferry__watch_leave(loop, op);
    ferry__op_end(loop, op, result, 0);
}

void ferry__served_result(ferry_loop *loop, ferry_op *op, int64_t result, bool more) {
    if (!more) {
        ferry__served_end(loop, op, result);
        return;
    }
    ferry__list_remove(list_of(loop, op), op);
    if (op->bits & BIT_TIMED && !(op->asked & FERRY_ABSOLUTE)) { /* the gap is over */
        ferry__wheel_remove(&loop->wheel, op);
        op->bits &= (uint16_t)~BIT_TIMED;
    }
    ferry__latency_add(loop, op->code, ferry__op_began(loop, op));
    op->result = result;
    op->flags = FERRY_MORE;
    ferry__op_move(op, OP_DONE);
    ferry__list_push(loop->ending, op);
}

void ferry__served_continue(ferry_loop *loop, ferry_op *op) {
    if (op->code == FERRY_OP_WATCH) op->result = ferry__watch_count(op);
    ferry__served_wait(loop, op);
    ferry__op_next_gap(loop, op);
    if (op->code == FERRY_OP_SIGNAL) ferry__signal_continue(loop, op);
}

void ferry__served_stop(ferry_loop *loop, ferry_op *op, bool expired) {
    if (!(op->bits & (BIT_CANCEL | BIT_EXPIRED))) {
        op->bits |= expired ? BIT_EXPIRED : BIT_CANCEL;
        /* Signals that have come are told of first (rule 5), once: they could come without end. */
        int64_t came = op->code == FERRY_OP_SIGNAL ? ferry__signal_take(op) : 0;
        if (came > 0) {
            ferry__served_result(loop, op, came, (op->asked & FERRY_MULTI) != 0);
            return;
        }
    }
    ferry__served_end(loop, op, expired ? FERRY_ETIMEDOUT : FERRY_ECANCELED);
}

void ferry__served_over(ferry_loop *loop, ferry_op *op) {
    if (op->code == FERRY_OP_SIGNAL) {
        ferry__signal_over(loop, op);
    } else {
        ferry__watch_over(loop, op);
    }
}
