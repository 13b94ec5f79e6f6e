/* zerocopy.c - submission entries of sends from the program's own memory.
 *
 * Such an entry has two completions: what came of it (RECORD_MORE, even of some that failed), and
 * the notice that the memory is free (RECORD_NOTICE). Where the system has no way to do without a
 * copy, or no memory to lock for it, the send is tried again as an ordinary one: the same results.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>

bool ferry__uring_zerocopy_tries(const ferry_loop *loop, ferry_op *op) {
    if (!(op->asked & FERRY_ZEROCOPY)) return false;
    uint64_t bytes = op->code == FERRY_OP_SEND ? op->len : op->more;
    op->flags &= ~(uint32_t)ZEROCOPY_TRIED;
    if (!uring_has(uring_of(loop), URING_SEND_ZC) || bytes < FERRY_ZEROCOPY_MIN ||
        op->flags & ZEROCOPY_REFUSED || ferry__slot(loop, op->fd)->flags & SLOT_COPIES) {
        op->flags |= ZEROCOPY_COPIED;
        return false;
    }
    op->flags |= ZEROCOPY_TRIED;
    return true;
}

void ferry__uring_prep_zerocopy(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    ferry__uring_kinds[op->code].prep(loop, sqe, op);
    sqe->opcode = sqe->opcode == IORING_OP_SEND ? IORING_OP_SEND_ZC : IORING_OP_SENDMSG_ZC;
    if (op->asked & ASKED_MESSAGE) {
        sqe->msg_flags = uring_send_flags(op);
    } else if (!(op->asked & FERRY_SOME)) {
        /* The kernel goes on with what is left of a short one: one notice, not many. */
        sqe->msg_flags |= MSG_WAITALL;
    }
    uring->uses[URING_SEND_ZC]++;
    if (uring_has(uring, URING_ZC_USAGE)) {
        sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
        uring->uses[URING_ZC_USAGE]++;
    }
}

bool ferry__uring_zerocopy_refused(ferry_loop *loop, ferry_op *op, int error) {
    if (!(op->asked & FERRY_ZEROCOPY) || !(op->flags & ZEROCOPY_TRIED)) return false;
    op->flags &= ~(uint32_t)ZEROCOPY_TRIED;
    switch (error) {
    case EOPNOTSUPP: ferry__slot(loop, op->fd)->flags |= SLOT_COPIES; break;
    case ENOMEM: /* RLIMIT_MEMLOCK */
    case ENOBUFS:
    case EINVAL:
    case EFAULT: break; /* memory that can be read but not held; or none: the other try tells */
    default: return false;
    }
    op->flags |= ZEROCOPY_REFUSED;
    return true;
}
