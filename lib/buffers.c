/* buffers.c - memory that a loop has registered with its backend.
 *
 * The pieces are checked and handed over in the order of their addresses, so that a backend finds
 * the one that holds a buffer by halving. What is registered it remembers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <stdlib.h>

#define PIECES_MAX 16384u
#define PIECE_BYTES_MAX (1u << 30)

static int by_address(const void *a, const void *b) {
    uintptr_t first = (uintptr_t)((const ferry_vec *)a)->data;
    uintptr_t second = (uintptr_t)((const ferry_vec *)b)->data;
    return (first > second) - (first < second);
}

static int sort_and_check(ferry_vec *pieces, size_t count) {
    qsort(pieces, count, sizeof *pieces, by_address);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].data == NULL) return FERRY_EFAULT;
        if (pieces[i].len == 0 || pieces[i].len > PIECE_BYTES_MAX) return FERRY_EINVAL;
        uintptr_t begin = (uintptr_t)pieces[i].data;
        if (pieces[i].len > UINTPTR_MAX - begin) return FERRY_EFAULT;
        if (i > 0 && begin - (uintptr_t)pieces[i - 1].data < pieces[i - 1].len) return FERRY_EINVAL;
    }
    return 0;
}

int ferry_buffers_register(ferry_loop *loop, const ferry_vec *pieces, size_t count) {
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    ferry__loop_check(loop, NULL);
    if (count == 0 || count > PIECES_MAX) return FERRY_EINVAL;
    if (pieces == NULL) return FERRY_EFAULT;
    ferry_vec *sorted = loop->allocate(count * sizeof *sorted, loop->allocator_context);
    loop->stats.allocations++;
    if (sorted == NULL) return FERRY_ENOMEM;
    memcpy(sorted, pieces, count * sizeof *sorted);
    int error = sort_and_check(sorted, count);
    if (error == 0 && loop->pieces != NULL) error = FERRY_EBUSY;
    if (error == 0 && loop->backend->buffers_register != NULL) {
        error = loop->backend->buffers_register(loop, sorted, count);
    }
    if (error != 0) {
        loop->release(sorted, loop->allocator_context);
        return error;
    }
    loop->pieces = sorted;
    loop->piece_count = count;
    return 0;
}

int ferry_buffers_unregister(ferry_loop *loop) {
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    ferry__loop_check(loop, NULL);
    if (loop->pieces == NULL) return FERRY_ENOENT;
    if (loop->pieces_used > 0) return FERRY_EBUSY;
    int error = 0;
    if (loop->backend->buffers_unregister != NULL) error = loop->backend->buffers_unregister(loop);
    if (error != 0) return error;
    ferry__pieces_free(loop);
    return 0;
}

void ferry__pieces_free(ferry_loop *loop) {
    if (loop->pieces != NULL) loop->release(loop->pieces, loop->allocator_context);
    loop->pieces = NULL;
}

/* ---- Who uses them ----------------------------------------------------------------------- */

/* The last piece that begins at or before the address; -1: none does. */
static int piece_before(const ferry_loop *loop, uintptr_t address) {
    size_t from = 0, to = loop->piece_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if ((uintptr_t)loop->pieces[middle].data <= address) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return (int)from - 1;
}

int ferry__pieces_find(ferry_loop *loop, ferry_op *op) {
    if (loop->pieces == NULL || ferry__slot(loop, op->fd)->kind != KIND_FILE) return -1;
    uintptr_t begin = (uintptr_t)op->buf;
    int piece = piece_before(loop, begin);
    if (piece < 0) return -1;
    size_t skipped = begin - (uintptr_t)loop->pieces[piece].data, len = loop->pieces[piece].len;
    if (skipped > len || op->len > len - skipped) return -1;
    if (op->more == 0) loop->pieces_used++;
    op->more = 1;
    return piece;
}

void ferry__pieces_let_go(ferry_loop *loop, ferry_op *op) {
    if (op->more == 0) return;
    op->more = 0;
    loop->pieces_used--;
}
