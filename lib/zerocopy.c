/* zerocopy.c - sends whose memory the system keeps after it has told what came of them.
 *
 * A backend puts down a record of such a send with RECORD_MORE, and later one with RECORD_NOTICE:
 * now the memory is free. With the first the lane goes on to the next send. The operation ends with
 * the last notice, and until then is held in its slot's running list (BIT_NOTICE). So are those
 * behind it that end meanwhile, since completions come in the order of submission (rule 9). Called
 * by op.c, and by lane.c when a descriptor closes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

static bool waits_for_notices(const ferry_op *op) {
    return op->asked & FERRY_ZEROCOPY && op->flags & ZEROCOPY_NOTICES;
}

/* One that was asked to end before it had begun: it completes at once, whatever is before it. */
static bool unbegun(const ferry_op *op) {
    return op->state == OP_LANE && op->bits & (BIT_CANCEL | BIT_EXPIRED) && op->transferred == 0;
}

static void finish(ferry_loop *loop, ferry_op *op) {
    if (op->asked & FERRY_ZEROCOPY) {
        uint32_t told = op->flags & (ZEROCOPY_SPARED | ZEROCOPY_COPIED);
        op->flags = told == ZEROCOPY_SPARED ? FERRY_ZEROCOPY : 0;
    }
    ferry__op_finish(loop, op);
}

bool ferry__zerocopy_holds(ferry_loop *loop, ferry_op *op, uint32_t flags) {
    if (ferry__op_row(op)->checked & ARG_SECOND) return false; /* it is BIT_SECOND that is set */
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    bool waits = waits_for_notices(op);
    if (!waits && (!(slot->flags & SLOT_NOTICE) || unbegun(op))) {
        if (!(op->asked & FERRY_ZEROCOPY)) return false;
        finish(loop, op);
        return true;
    }
    if (!(op->asked & FERRY_ZEROCOPY)) op->flags = flags;
    slot->flags |= SLOT_NOTICE;
    op->bits |= BIT_NOTICE;
    ferry__op_move(op, OP_RUNNING);
    ferry__list_push(&slot->running, op);
    return true;
}

/* Ends those that are held, in order, up to the first that still waits. */
static void release(ferry_loop *loop, struct ferry__slot *slot) {
    ferry_op *next;
    for (ferry_op *op = slot->running.head; op != NULL; op = next) {
        next = ferry__list_next(&slot->running, op);
        if (!(op->bits & BIT_NOTICE)) continue;
        if (waits_for_notices(op)) return;
        ferry__list_remove(&slot->running, op);
        op->bits &= (uint16_t)~BIT_NOTICE;
        finish(loop, op);
    }
    slot->flags &= (uint16_t)~SLOT_NOTICE;
}

bool ferry__zerocopy_land(ferry_loop *loop, const struct ferry__record *record) {
    ferry_op *op = record->op;
    if (!(record->flags & RECORD_NOTICE)) {
        if (record->flags & RECORD_MORE) op->flags++;
        return false;
    }
    FERRY__ASSERT(op->flags & ZEROCOPY_NOTICES);
    op->flags--;
    op->flags |= record->result != 0 ? ZEROCOPY_COPIED : ZEROCOPY_SPARED;
    if (op->bits & BIT_NOTICE) release(loop, ferry__slot(loop, op->fd));
    return true;
}

bool ferry__zerocopy_waits(const struct ferry__slot *slot) {
    const ferry_op *first = slot->lane[WRITE_LANE].head;
    return slot->flags & SLOT_NOTICE || (first != NULL && first->asked & FERRY_ZEROCOPY);
}

void ferry__zerocopy_abandon(ferry_loop *loop, ferry_fd fd) {
    const struct ferry__list *running = &ferry__slot(loop, fd)->running;
    ferry__os_abandon(fd);
    for (ferry_op *op = running->head; op != NULL; op = ferry__list_next(running, op)) {
        if (op->bits & BIT_NOTICE && op->result >= 0) op->result = FERRY_ECANCELED;
    }
}
