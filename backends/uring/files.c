/* files.c - submission entries of operations on files, names and directories.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../linux/files.h"
#include "../linux/calls.h"
#include "../posix/system.h"
#include "../posix/calls.h"
#include "../posix/file_calls.h"

#include <string.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct statx) <= sizeof(((ferry_file *)0)->room), "room for a statx");

/* ---- Transfers --------------------------------------------------------------------------- */

/* If the buffer lies in registered memory. Other kinds of descriptors have no use for it. */
static void prep_fixed(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op, uint8_t opcode) {
    struct uring *uring = uring_of(loop);
    if (loop->pieces == NULL) return;
    int piece = ferry__pieces_find(loop, op);
    if (piece < 0 || !uring_has(uring, URING_FIXED_BUFFERS)) return;
    sqe->opcode = opcode;
    sqe->buf_index = (uint16_t)piece;
    uring->uses[URING_FIXED_BUFFERS]++;
}

void ferry__uring_prep_read(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_read(sqe, op->fd, uring_rest_begin(op), uring_rest_len(op), uring_position(op));
    prep_fixed(loop, sqe, op, IORING_OP_READ_FIXED);
}

void ferry__uring_prep_write(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_write(sqe, op->fd, uring_rest_begin(op), uring_rest_len(op), uring_position(op));
    prep_fixed(loop, sqe, op, IORING_OP_WRITE_FIXED);
}

void ferry__uring_prep_vectored(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    struct posix_rest rest = uring_rest_vecs(op);
    bool reads = op->code == FERRY_OP_READV;
    if (rest.piece != NULL && reads) {
        io_uring_prep_read(sqe, op->fd, rest.piece, rest.piece_len, uring_position(op));
    } else if (rest.piece != NULL) {
        io_uring_prep_write(sqe, op->fd, rest.piece, rest.piece_len, uring_position(op));
    } else if (reads) {
        io_uring_prep_readv(sqe, op->fd, rest.vecs, rest.count, uring_position(op));
    } else {
        io_uring_prep_writev(sqe, op->fd, rest.vecs, rest.count, uring_position(op));
    }
}

void ferry__uring_prep_sync(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    io_uring_prep_fsync(sqe, op->fd, op->asked & FERRY_DATA ? IORING_FSYNC_DATASYNC : 0);
}

/* ---- Opening, closing, and what is known of a file ----------------------------------------- */

static bool glance(ferry_loop *loop, const ferry_op *op, int flags, uint64_t resolve,
                   struct statx *about) {
    struct uring *uring = uring_of(loop);
    if (!uring_has(uring, URING_CACHED_FILES) ||
        !ferry__linux_glance(uring_dir(op), op->buf, flags, resolve, about)) {
        return false;
    }
    uring->uses[URING_CACHED_FILES]++;
    return true;
}

/* The kernel's first try is a nonblocking open(2), on this thread: quick, and right for a file or a
 * directory that is there and cached. It does not wait for a FIFO's other end, though, but succeeds
 * or fails at once, and devices are free to take it differently, too. So one must know beforehand.
 * What has to be made goes to the kernel's workers anyway. */
static bool opens_at_once(ferry_loop *loop, const ferry_op *op, int flags, uint64_t resolve) {
    struct statx about;
    if (flags & (O_CREAT | O_TRUNC)) return false;
    return glance(loop, op, flags & (O_NOFOLLOW | O_DIRECTORY), resolve, &about) &&
           (S_ISREG(about.stx_mode) || S_ISDIR(about.stx_mode));
}

void ferry__uring_prep_open(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct open_how *how = &uring_scratch_of(uring_of(loop), sqe)->how;
    int flags = ferry__posix_open_flags((unsigned)op->offset);
    uint64_t resolve = op->asked & FERRY_BENEATH ? RESOLVE_BENEATH : 0;
    uint64_t mode = flags & O_CREAT ? op->len & 07777u : 0;
    *how = (struct open_how){.flags = (uint64_t)(unsigned)flags, .mode = mode, .resolve = resolve};
    io_uring_prep_openat2(sqe, uring_dir(op), op->buf, how);
    op->more = opens_at_once(loop, op, flags, resolve);
    if (op->more == 0) sqe->flags |= IOSQE_ASYNC;
}

/* Has another file taken the place of the one that was seen? Then again, and with a worker. */
void ferry__uring_finish_open(struct ferry__record *record) {
    struct statx about;
    int fd = record->result;
    if (record->op->more == 0) return;
    int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    if (ferry__linux_calls.statx(fd, "", flags, STATX_TYPE, &about) != 0) return;
    if (S_ISREG(about.stx_mode)) {
        record->flags = (uint32_t)KIND_FILE << RECORD_KIND_SHIFT;
    } else if (S_ISDIR(about.stx_mode)) {
        record->flags = (uint32_t)KIND_OTHER << RECORD_KIND_SHIFT;
    } else {
        (void)ferry__calls.close(fd);
        record->result = 0;
        record->flags = RECORD_INTERRUPTED;
    }
}

void ferry__uring_prep_close(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    io_uring_prep_close(sqe, op->fd);
    if (loop->slots[op->fd].kind != KIND_FILE) return; /* quick */
    /* The last close of a file may write back or free a lot. */
    if (!uring_has(uring, URING_CACHED_FILES) || ferry__system_close_is_long(op->fd)) {
        sqe->flags |= IOSQE_ASYNC;
    } else {
        uring->uses[URING_CACHED_FILES]++;
    }
}

static struct statx *statx_of(const ferry_op *op) {
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    return (struct statx *)(void *)file->room;
}

/* The ring hands each statx to a worker. What is cached is known without, and then all that the
 * ring does is to say so in its turn. */
void ferry__uring_prep_stat(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    bool link = op->asked & FERRY_NOFOLLOW;
    if (glance(loop, op, link ? O_NOFOLLOW : 0, 0, statx_of(op))) {
        io_uring_prep_nop(sqe);
    } else {
        io_uring_prep_statx(sqe, uring_dir(op), op->buf, link ? AT_SYMLINK_NOFOLLOW : 0,
                            FERRY__STAT_MASK, statx_of(op));
    }
}

void ferry__uring_prep_stat_fd(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (uring_has(uring, URING_CACHED_FILES) && ferry__linux_glance_fd(op->fd, statx_of(op))) {
        uring->uses[URING_CACHED_FILES]++;
        io_uring_prep_nop(sqe);
    } else {
        io_uring_prep_statx(sqe, op->fd, "", AT_EMPTY_PATH, FERRY__STAT_MASK, statx_of(op));
    }
}

void ferry__uring_prep_truncate(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_rw(URING_OP_FTRUNCATE, sqe, op->fd, NULL, 0, op->len);
    uring_of(loop)->uses[URING_FTRUNCATE]++;
}

/* ---- What the kernel filled in ----------------------------------------------------------- */

void ferry__uring_finish_stat(const ferry_op *op) {
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    struct statx from;
    memcpy(&from, file->room, sizeof from);
    ferry__linux_tell_file(&from, file);
}
