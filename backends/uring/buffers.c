/* buffers.c - registered memory: the kernel's part, of which there is none with the feature turned
 * off.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

/* 0 or -errno. */
static int tell_kernel(struct uring *uring, const ferry_vec *pieces, size_t count) {
    if (!uring_has(uring, URING_FIXED_BUFFERS)) return 0;
    return uring->calls->register_(uring, IORING_REGISTER_BUFFERS, pieces, (unsigned)count);
}

int ferry__uring_buffers_register(ferry_loop *loop, const ferry_vec *pieces, size_t count) {
    int result = tell_kernel(uring_of(loop), pieces, count);
    return result < 0 ? ferry_error_from_system(-result) : 0;
}

int ferry__uring_buffers_renew(ferry_loop *loop) {
    if (loop->pieces == NULL) return 0;
    return tell_kernel(uring_of(loop), loop->pieces, loop->piece_count);
}

int ferry__uring_buffers_unregister(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    if (!uring_has(uring, URING_FIXED_BUFFERS)) return 0;
    int result = uring->calls->register_(uring, IORING_UNREGISTER_BUFFERS, NULL, 0);
    return result < 0 ? ferry_error_from_system(-result) : 0;
}
