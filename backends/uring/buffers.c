/* buffers.c - memory that was registered with the ring, and which operations use it.
 *
 * With the feature turned off all is as with it but for the kernel's part.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>

/* 0 or -errno. */
static int tell_kernel(struct uring *uring, const ferry_vec *pieces, size_t count) {
    if (!uring_has(uring, URING_FIXED_BUFFERS)) return 0;
    return uring->calls->register_(uring, IORING_REGISTER_BUFFERS, pieces, (unsigned)count);
}

int ferry__uring_buffers_register(ferry_loop *loop, const ferry_vec *pieces, size_t count) {
    struct uring *uring = uring_of(loop);
    if (uring->pieces != NULL) return FERRY_EBUSY;
    int result = tell_kernel(uring, pieces, count);
    if (result < 0) return ferry_error_from_system(-result);
    uring->pieces = (ferry_vec *)(uintptr_t)pieces;
    uring->piece_count = count;
    return 0;
}

int ferry__uring_buffers_renew(struct uring *uring) {
    return uring->pieces == NULL ? 0 : tell_kernel(uring, uring->pieces, uring->piece_count);
}

int ferry__uring_buffers_unregister(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    if (uring->pieces == NULL) return FERRY_ENOENT;
    if (uring->pieces_used > 0) return FERRY_EBUSY;
    if (uring_has(uring, URING_FIXED_BUFFERS)) {
        int result = uring->calls->register_(uring, IORING_UNREGISTER_BUFFERS, NULL, 0);
        if (result < 0) return ferry_error_from_system(-result);
    }
    loop->release(uring->pieces, loop->allocator_context);
    uring->pieces = NULL;
    return 0;
}

/* The last piece that begins at or before the address; -1: none does. */
static int piece_before(const struct uring *uring, uintptr_t address) {
    size_t from = 0, to = uring->piece_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if ((uintptr_t)uring->pieces[middle].data <= address) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return (int)from - 1;
}

int ferry__uring_buffers_find(ferry_loop *loop, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    uintptr_t begin = (uintptr_t)op->buf;
    int piece = piece_before(uring, begin);
    op->more = 0;
    if (piece < 0) return -1;
    size_t skipped = begin - (uintptr_t)uring->pieces[piece].data, len = uring->pieces[piece].len;
    if (skipped > len || op->len > len - skipped) return -1;
    op->more = 1;
    uring->pieces_used++;
    return piece;
}

void ferry__uring_buffers_let_go(struct uring *uring, ferry_op *op) {
    if ((op->code != FERRY_OP_READ && op->code != FERRY_OP_WRITE) || op->more == 0) return;
    op->more = 0;
    uring->pieces_used--;
}
