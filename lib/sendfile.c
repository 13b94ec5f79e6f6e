/* sendfile.c - the call that sends a file, and what it means to the slots of its two descriptors.
 *
 * The operation stands in the write lane of the descriptor that it sends to, and is counted as busy
 * in the slot of its file as well: so closing either of them ends it and waits for it (rule 7).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

void ferry_sendfile(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_fd file, uint64_t offset,
                    size_t len, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SENDFILE, fd, NULL, len, flags, cb);
    op->offset = offset;
    op->more = (uint32_t)file;
    ferry__submit(loop, op);
}

int ferry__sendfile_check(ferry_loop *loop, const ferry_op *op) {
    ferry_fd file = ferry__source(op);
    if (op->len > (uint64_t)INT64_MAX || op->offset > (uint64_t)INT64_MAX) return FERRY_EINVAL;
    if (file < 0) return FERRY_EBADF;
    int error = ferry__slot_provide(loop, file);
    if (error != 0) return error;
    int from = ferry__slot_kind(loop, file, true), to = ferry__slot_kind(loop, op->fd, true);
    if (to < 0) return to;
    if (from < 0) return from;
    if (to != KIND_STREAM && to != KIND_PIPE) return FERRY_EINVAL;
    switch ((enum ferry__fd_kind)from) {
    case KIND_FILE: return 0;
    case KIND_STREAM:
    case KIND_MESSAGE:
    case KIND_SEQPACKET:
    case KIND_PIPE: return FERRY_ESPIPE;
    case KIND_UNKNOWN:
    case KIND_CHARACTER:
    case KIND_OTHER: break;
    }
    return FERRY_EINVAL;
}

void ferry__sendfile_hold(ferry_loop *loop, const ferry_op *op) {
    ferry__slot(loop, ferry__source(op))->busy++;
    loop->sendfiles++;
}

void ferry__sendfile_release(ferry_loop *loop, const ferry_op *op) {
    struct ferry__slot *slot = ferry__slot(loop, ferry__source(op));
    loop->sendfiles--;
    if (--slot->busy == 0 && slot->flags & SLOT_CLOSING) ferry__slot_dirty(loop, slot);
}

/* The first in a lane that reads from file and was not yet asked to end. */
static ferry_op *find(const struct ferry__list *lane, ferry_fd file) {
    for (ferry_op *op = lane->head; op != NULL; op = ferry__list_next(lane, op)) {
        if (op->code == FERRY_OP_SENDFILE && ferry__source(op) == file &&
            !(op->bits & (BIT_CANCEL | BIT_EXPIRED))) {
            return op;
        }
    }
    return NULL;
}

void ferry__sendfile_cancel(ferry_loop *loop, ferry_fd file) {
    for (int64_t i = 0; i <= loop->slot_top; i++) {
        const struct ferry__list *lane = &loop->slots[i].lane[WRITE_LANE];
        for (ferry_op *op = find(lane, file); op != NULL; op = find(lane, file)) {
            ferry__op_stop(loop, op, false);
        }
    }
}
