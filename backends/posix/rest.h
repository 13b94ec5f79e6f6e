/* rest.h - what is left of a transfer that goes on after a part of it, for every POSIX backend.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_REST_H
#define FERRY_POSIX_REST_H

#include "core.h"

#include <sys/uio.h>

FERRY__OWN_BEGIN

#define POSIX_CHUNK_MAX 0x7ffff000u /* what Linux moves in one call at most (read(2)) */
#define POSIX_VECS_MAX 1024u        /* UIO_MAXIOV */

/* Where a vectored transfer goes on. */
struct posix_rest {
    const struct iovec *vecs; /* whole pieces */
    unsigned count;
    void *piece; /* or the rest of one that was cut, which goes alone; NULL if none was */
    unsigned piece_len;
};

/* After so many bytes. op->more: how many there are in all. */
static inline struct posix_rest posix_rest_vecs(const ferry_op *op, uint64_t done) {
    const struct iovec *vecs = op->buf;
    uint64_t left = op->len;
    uint64_t skip = done;
    while (left > 0 && skip >= vecs->iov_len && op->more > 0) { /* what is done, and empty pieces */
        skip -= vecs->iov_len;
        vecs++;
        left--;
    }
    struct posix_rest rest = {.vecs = vecs,
                              .count = left < POSIX_VECS_MAX ? (unsigned)left : POSIX_VECS_MAX};
    if (skip > 0 && left > 0) {
        uint64_t piece = vecs->iov_len - skip;
        rest.piece = (char *)vecs->iov_base + skip;
        rest.piece_len = piece < POSIX_CHUNK_MAX ? (unsigned)piece : POSIX_CHUNK_MAX;
    }
    return rest;
}

static inline char *posix_rest_begin(const ferry_op *op, uint64_t done) {
    return (char *)(uintptr_t)op->buf + done;
}

static inline unsigned posix_rest_len(const ferry_op *op, uint64_t done) {
    uint64_t rest = op->len - done;
    return rest < POSIX_CHUNK_MAX ? (unsigned)rest : POSIX_CHUNK_MAX;
}

FERRY__OWN_END

#endif
