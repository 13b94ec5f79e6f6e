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
    if (loop->backend->buffers_register == NULL) return FERRY_ENOTSUP;
    ferry_vec *sorted = loop->allocate(count * sizeof *sorted, loop->allocator_context);
    loop->stats.allocations++;
    if (sorted == NULL) return FERRY_ENOMEM;
    memcpy(sorted, pieces, count * sizeof *sorted);
    int error = sort_and_check(sorted, count);
    if (error == 0) error = loop->backend->buffers_register(loop, sorted, count);
    if (error != 0) loop->release(sorted, loop->allocator_context); /* else it is the backend's */
    return error;
}

int ferry_buffers_unregister(ferry_loop *loop) {
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    ferry__loop_check(loop, NULL);
    if (loop->backend->buffers_unregister == NULL) return FERRY_ENOTSUP;
    return loop->backend->buffers_unregister(loop);
}
