/* files.c - submission entries of operations on files, names and directories.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

_Static_assert(sizeof(struct statx) <= sizeof(((ferry_file *)0)->room), "room for a statx");

/* ---- Transfers --------------------------------------------------------------------------- */

void ferry__uring_prep_read(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    io_uring_prep_read(sqe, op->fd, uring_rest_begin(op), uring_rest_len(op), uring_position(op));
}

void ferry__uring_prep_write(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    io_uring_prep_write(sqe, op->fd, uring_rest_begin(op), uring_rest_len(op), uring_position(op));
}

void ferry__uring_prep_vectored(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    struct uring_rest rest = uring_rest_vecs(op);
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

static int open_flags(unsigned how) {
    int flags = O_CLOEXEC | O_NOCTTY;
    if (how & FERRY_OPEN_READ && how & FERRY_OPEN_WRITE) {
        flags |= O_RDWR;
    } else if (how & FERRY_OPEN_WRITE) {
        flags |= O_WRONLY;
    }
    if (how & FERRY_OPEN_CREATE) flags |= O_CREAT;
    if (how & FERRY_OPEN_EXCLUSIVE) flags |= O_EXCL;
    if (how & FERRY_OPEN_TRUNCATE) flags |= O_TRUNC;
    if (how & FERRY_OPEN_APPEND) flags |= O_APPEND;
    if (how & FERRY_OPEN_DIRECTORY) flags |= O_DIRECTORY;
    if (how & FERRY_OPEN_NOFOLLOW) flags |= O_NOFOLLOW;
    if (how & FERRY_OPEN_DIRECT) flags |= O_DIRECT;
    if (how & FERRY_OPEN_DSYNC) flags |= O_DSYNC;
    return flags;
}

void ferry__uring_prep_open(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    io_uring_prep_openat(sqe, AT_FDCWD, op->buf, open_flags((unsigned)op->offset),
                         (mode_t)(op->len & 07777u));
    /* The kernel's first try is a nonblocking open(2), which does not wait for a FIFO's other end
     * but succeeds or fails at once. A worker of its own opens as open(2) does. */
    sqe->flags |= IOSQE_ASYNC;
}

void ferry__uring_prep_close(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_close(sqe, op->fd);
    /* The last close of a file may write back or free a lot; others are quick. */
    if (loop->slots[op->fd].kind == KIND_FILE) sqe->flags |= IOSQE_ASYNC;
}

void ferry__uring_prep_stat(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    io_uring_prep_statx(sqe, AT_FDCWD, op->buf, 0, STATX_BASIC_STATS | STATX_BTIME,
                        (struct statx *)(void *)file->room);
}

void ferry__uring_prep_truncate(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    io_uring_prep_rw(URING_OP_FTRUNCATE, sqe, op->fd, NULL, 0, op->len);
    uring_of(loop)->uses[URING_FTRUNCATE]++;
}

/* ---- What the kernel filled in ----------------------------------------------------------- */

static int64_t time_ns(const struct statx_timestamp *time) {
    return time->tv_sec * 1000000000 + time->tv_nsec;
}

static enum ferry_file_type file_type(unsigned mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return FERRY_FILE_REGULAR;
    case S_IFDIR: return FERRY_FILE_DIRECTORY;
    case S_IFLNK: return FERRY_FILE_SYMLINK;
    case S_IFIFO: return FERRY_FILE_FIFO;
    case S_IFSOCK: return FERRY_FILE_SOCKET;
    case S_IFCHR: return FERRY_FILE_CHARACTER;
    case S_IFBLK: return FERRY_FILE_BLOCK;
    default: return FERRY_FILE_OTHER;
    }
}

void ferry__uring_finish_stat(const ferry_op *op) {
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    struct statx from;
    memcpy(&from, file->room, sizeof from);
    file->type = file_type(from.stx_mode);
    file->permissions = from.stx_mode & 07777u;
    file->user = from.stx_uid;
    file->group = from.stx_gid;
    file->size = from.stx_size;
    file->allocated = from.stx_blocks * 512;
    file->links = from.stx_nlink;
    file->device = makedev(from.stx_dev_major, from.stx_dev_minor);
    file->inode = from.stx_ino;
    file->accessed_ns = time_ns(&from.stx_atime);
    file->modified_ns = time_ns(&from.stx_mtime);
    file->changed_ns = time_ns(&from.stx_ctime);
    file->created_ns = from.stx_mask & STATX_BTIME ? time_ns(&from.stx_btime) : 0;
}
