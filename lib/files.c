/* files.c - the calls that submit operations on files, names and directories: each fills the
 * operation and hands it to submit.c, which checks it by its row and sends it on its way.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

void ferry_open(ferry_loop *loop, ferry_op *op, const char *path, unsigned how,
                unsigned permissions, unsigned flags, ferry_cb *cb) {
    ferry_open_at(loop, op, FERRY_FD_NONE, path, how, permissions, flags, cb);
}

void ferry_open_at(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, unsigned how,
                   unsigned permissions, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_OPEN, dir, path, permissions, flags, cb);
    op->offset = how;
    op->more = 0;
    ferry__submit(loop, op);
}

void ferry_read(ferry_loop *loop, ferry_op *op, ferry_fd fd, void *buf, size_t len, uint64_t offset,
                unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_READ, fd, buf, len, flags, cb);
    op->offset = offset;
    op->more = 0;
    ferry__submit(loop, op);
}

void ferry_readv(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs, size_t count,
                 uint64_t offset, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_READV, fd, vecs, count, flags, cb);
    op->offset = offset;
    ferry__submit(loop, op);
}

void ferry_write(ferry_loop *loop, ferry_op *op, ferry_fd fd, const void *buf, size_t len,
                 uint64_t offset, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_WRITE, fd, buf, len, flags, cb);
    op->offset = offset;
    op->more = 0;
    ferry__submit(loop, op);
}

void ferry_read_pool(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_pool *pool, unsigned flags,
                     ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_READ_POOL, fd, pool, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_writev(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs, size_t count,
                  uint64_t offset, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_WRITEV, fd, vecs, count, flags, cb);
    op->offset = offset;
    ferry__submit(loop, op);
}

void ferry_sync(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SYNC, fd, NULL, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_truncate(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint64_t length, unsigned flags,
                    ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_TRUNCATE, fd, NULL, length, flags, cb);
    ferry__submit(loop, op);
}

void ferry_stat(ferry_loop *loop, ferry_op *op, const char *path, ferry_file *file, unsigned flags,
                ferry_cb *cb) {
    ferry_stat_at(loop, op, FERRY_FD_NONE, path, file, flags, cb);
}

void ferry_stat_at(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, ferry_file *file,
                   unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_STAT, dir, path, 0, flags, cb);
    op->more = (uint64_t)(uintptr_t)file;
    ferry__submit(loop, op);
}

void ferry_stat_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_file *file, unsigned flags,
                   ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_STAT_FD, fd, NULL, 0, flags, cb);
    op->more = (uint64_t)(uintptr_t)file;
    ferry__submit(loop, op);
}
