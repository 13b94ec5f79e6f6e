/* names.c - submission entries of operations that change names, or the space of files.
 *
 * The kernel hands all of them to workers of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <fcntl.h>
#include <stdio.h>

static const char *second_path(const ferry_op *op) {
    return (const char *)(uintptr_t)op->offset;
}

static int second_dir(const ferry_op *op) {
    ferry_fd dir = ferry__op_second(op);
    return dir == FERRY_FD_NONE ? AT_FDCWD : dir;
}

void ferry__uring_prep_rename(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    unsigned flags = op->asked & FERRY_NOREPLACE  ? RENAME_NOREPLACE
                     : op->asked & FERRY_EXCHANGE ? RENAME_EXCHANGE
                                                  : 0;
    io_uring_prep_renameat(sqe, uring_dir(op), op->buf, second_dir(op), second_path(op), flags);
    uring_of(loop)->uses[URING_FS_OPS]++;
}

void ferry__uring_prep_link(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_linkat(sqe, uring_dir(op), op->buf, second_dir(op), second_path(op), 0);
    uring_of(loop)->uses[URING_FS_OPS]++;
}

void ferry__uring_prep_symlink(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_symlinkat(sqe, op->buf, uring_dir(op), second_path(op));
    uring_of(loop)->uses[URING_FS_OPS]++;
}

void ferry__uring_prep_unlink(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    int flags = op->code == FERRY_OP_RMDIR ? AT_REMOVEDIR : 0;
    io_uring_prep_unlinkat(sqe, uring_dir(op), op->buf, flags);
    uring_of(loop)->uses[URING_FS_OPS]++;
}

void ferry__uring_prep_mkdir(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_mkdirat(sqe, uring_dir(op), op->buf, (mode_t)op->len);
    uring_of(loop)->uses[URING_FS_OPS]++;
}

void ferry__uring_prep_allocate(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_fallocate(sqe, op->fd, 0, (off_t)op->offset, (off_t)op->len);
    uring_of(loop)->uses[URING_FS_OPS]++;
}
