/* submit.c - operations to submission entries: one case per kind.
 *
 * Everything that the kernel reads by address lies in the operation, in the user's memory, or in
 * the scratch of the entry. Whole transfers and vectors go on from op->transferred, so that the
 * same code serves a first try and the rest of one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define CHUNK_MAX 0x7ffff000u /* what Linux moves in one call at most (read(2)) */
#define CONNECT_PAUSE_NS 10000000
#define VECS_MAX 1024u /* UIO_MAXIOV */

_Static_assert(sizeof(ferry_vec) == sizeof(struct iovec), "a vector is the system's");
_Static_assert(offsetof(ferry_vec, data) == offsetof(struct iovec, iov_base), "a vector's start");
_Static_assert(offsetof(ferry_vec, len) == offsetof(struct iovec, iov_len), "a vector's length");
_Static_assert(sizeof(struct statx) <= sizeof(((ferry_file *)0)->room), "room for a statx");

/* ---- What is left of a transfer ---------------------------------------------------------- */

static char *rest_begin(const ferry_op *op) {
    return (char *)(uintptr_t)op->buf + op->transferred;
}

static unsigned rest_len(const ferry_op *op) {
    uint64_t rest = op->len - op->transferred;
    return rest < CHUNK_MAX ? (unsigned)rest : CHUNK_MAX;
}

/* Where a vectored transfer goes on. */
struct rest {
    const struct iovec *vecs; /* whole pieces */
    unsigned count;
    void *piece; /* or the rest of one that was cut, which goes alone; NULL if none was */
    unsigned piece_len;
};

static struct rest rest_vecs(const ferry_op *op) {
    const struct iovec *vecs = op->buf;
    uint64_t left = op->len;
    uint64_t skip = op->transferred;
    while (left > 0 && skip >= vecs->iov_len && op->more > 0) { /* what is done, and empty pieces */
        skip -= vecs->iov_len;
        vecs++;
        left--;
    }
    struct rest rest = {.vecs = vecs, .count = left < VECS_MAX ? (unsigned)left : VECS_MAX};
    if (skip > 0 && left > 0) {
        uint64_t piece = vecs->iov_len - skip;
        rest.piece = (char *)vecs->iov_base + skip;
        rest.piece_len = piece < CHUNK_MAX ? (unsigned)piece : CHUNK_MAX;
    }
    return rest;
}

static uint64_t position(const ferry_op *op) {
    return op->offset == FERRY_CURRENT ? UINT64_MAX : op->offset + op->transferred;
}

/* ---- Cases ------------------------------------------------------------------------------- */

static struct uring_scratch *scratch_of(struct uring *uring, const struct io_uring_sqe *sqe) {
    return &uring->scratch[sqe - uring->ring.sq.sqes];
}

static struct msghdr *msg_of(struct uring *uring, const struct io_uring_sqe *sqe,
                             const struct iovec *vecs, size_t count) {
    struct msghdr *msg = &scratch_of(uring, sqe)->msg;
    *msg = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)vecs, .msg_iovlen = count};
    return msg;
}

/* After a receive that took all there was, the next would find nothing: it waits first. */
static uint16_t poll_first(const ferry_loop *loop, const ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (!(ferry__slot(loop, op->fd)->flags & SLOT_DRAINED) || !uring_has(uring, URING_POLL_FIRST)) {
        return 0;
    }
    uring->uses[URING_POLL_FIRST]++;
    return IORING_RECVSEND_POLL_FIRST;
}

/* Written out, since these two are most of what servers do. */
static void prep_recv(const ferry_loop *loop, struct io_uring_sqe *sqe, const ferry_op *op) {
    *sqe = (struct io_uring_sqe){.opcode = IORING_OP_RECV,
                                 .fd = op->fd,
                                 .ioprio = poll_first(loop, op),
                                 .addr = (uint64_t)(uintptr_t)rest_begin(op),
                                 .len = rest_len(op)};
}

static void prep_send(struct io_uring_sqe *sqe, const ferry_op *op) {
    *sqe = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                 .fd = op->fd,
                                 .addr = (uint64_t)(uintptr_t)rest_begin(op),
                                 .len = rest_len(op),
                                 .msg_flags = MSG_NOSIGNAL};
}

/* A message cannot be taken in pieces: the kernel says if there are too many. */
static bool is_message(const ferry_loop *loop, const ferry_op *op) {
    uint8_t kind = ferry__slot(loop, op->fd)->kind;
    return kind == KIND_MESSAGE || kind == KIND_SEQPACKET;
}

static void prep_recvv(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct rest rest = rest_vecs(op);
    if (is_message(loop, op)) {
        io_uring_prep_recvmsg(sqe, op->fd, msg_of(uring_of(loop), sqe, op->buf, op->len), 0);
    } else if (rest.piece != NULL) {
        io_uring_prep_recv(sqe, op->fd, rest.piece, rest.piece_len, 0);
    } else {
        io_uring_prep_recvmsg(sqe, op->fd, msg_of(uring_of(loop), sqe, rest.vecs, rest.count), 0);
    }
    sqe->ioprio |= poll_first(loop, op);
}

static void prep_sendv(ferry_loop *loop, struct io_uring_sqe *sqe, const ferry_op *op) {
    struct uring *uring = uring_of(loop);
    struct rest rest = rest_vecs(op);
    if (is_message(loop, op)) {
        io_uring_prep_sendmsg(sqe, op->fd, msg_of(uring, sqe, op->buf, op->len), MSG_NOSIGNAL);
    } else if (rest.piece != NULL) {
        io_uring_prep_send(sqe, op->fd, rest.piece, rest.piece_len, MSG_NOSIGNAL);
    } else {
        io_uring_prep_sendmsg(sqe, op->fd, msg_of(uring, sqe, rest.vecs, rest.count), MSG_NOSIGNAL);
    }
}

static void prep_vectored_file(struct io_uring_sqe *sqe, const ferry_op *op) {
    struct rest rest = rest_vecs(op);
    bool reads = op->code == FERRY_OP_READV;
    if (rest.piece != NULL && reads) {
        io_uring_prep_read(sqe, op->fd, rest.piece, rest.piece_len, position(op));
    } else if (rest.piece != NULL) {
        io_uring_prep_write(sqe, op->fd, rest.piece, rest.piece_len, position(op));
    } else if (reads) {
        io_uring_prep_readv(sqe, op->fd, rest.vecs, rest.count, position(op));
    } else {
        io_uring_prep_writev(sqe, op->fd, rest.vecs, rest.count, position(op));
    }
}

static void prep_accept(struct io_uring_sqe *sqe, const ferry_op *op) {
    ferry_addr *peer = (ferry_addr *)(uintptr_t)op->buf;
    if (peer == NULL) {
        io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
        return;
    }
    memset(peer, 0, sizeof *peer);
    peer->len = sizeof peer->data.bytes;
    io_uring_prep_accept(sqe, op->fd, (struct sockaddr *)(void *)peer->data.bytes, &peer->len,
                         SOCK_CLOEXEC);
}

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

static void prep_open(struct io_uring_sqe *sqe, const ferry_op *op) {
    io_uring_prep_openat(sqe, AT_FDCWD, op->buf, open_flags((unsigned)op->offset),
                         (mode_t)(op->len & 07777u));
    /* The kernel's first try is a nonblocking open(2), which does not wait for a FIFO's other end
     * but succeeds or fails at once. A worker of its own opens as open(2) does. */
    sqe->flags |= IOSQE_ASYNC;
}

static void prep_close(const ferry_loop *loop, struct io_uring_sqe *sqe, const ferry_op *op) {
    io_uring_prep_close(sqe, op->fd);
    /* The last close of a file may write back or free a lot; others are quick. */
    if (loop->slots[op->fd].kind == KIND_FILE) sqe->flags |= IOSQE_ASYNC;
}

static void prep_stat(struct io_uring_sqe *sqe, const ferry_op *op) {
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    io_uring_prep_statx(sqe, AT_FDCWD, op->buf, 0, STATX_BASIC_STATS | STATX_BTIME,
                        (struct statx *)(void *)file->room);
}

static void prep_truncate(struct uring *uring, struct io_uring_sqe *sqe, const ferry_op *op) {
    io_uring_prep_rw(URING_OP_FTRUNCATE, sqe, op->fd, NULL, 0, op->len);
    uring->uses[URING_FTRUNCATE]++;
}

unsigned ferry__uring_poll_events(const ferry_op *op) {
    switch (ferry__op_row(op)->result) {
    case RESULT_IN: return POLLIN;
    case RESULT_OUT: return POLLOUT;
    default: break;
    }
    if (op->code == FERRY_OP_ACCEPT) return POLLIN;
    return op->code == FERRY_OP_CONNECT ? POLLOUT : 0;
}

static void prep(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    switch ((enum ferry_op_code)op->code) {
    case FERRY_OP_RECV: prep_recv(loop, sqe, op); break;
    case FERRY_OP_RECVV: prep_recvv(loop, sqe, op); break;
    case FERRY_OP_SEND: prep_send(sqe, op); break;
    case FERRY_OP_SENDV: prep_sendv(loop, sqe, op); break;
    case FERRY_OP_READ:
        io_uring_prep_read(sqe, op->fd, rest_begin(op), rest_len(op), position(op));
        break;
    case FERRY_OP_WRITE:
        io_uring_prep_write(sqe, op->fd, rest_begin(op), rest_len(op), position(op));
        break;
    case FERRY_OP_READV:
    case FERRY_OP_WRITEV: prep_vectored_file(sqe, op); break;
    case FERRY_OP_ACCEPT: prep_accept(sqe, op); break;
    case FERRY_OP_CONNECT: {
        const ferry_addr *addr = op->buf;
        io_uring_prep_connect(sqe, op->fd, (const struct sockaddr *)(const void *)addr->data.bytes,
                              addr->len);
        break;
    }
    case FERRY_OP_OPEN: prep_open(sqe, op); break;
    case FERRY_OP_SYNC:
        io_uring_prep_fsync(sqe, op->fd, op->asked & FERRY_DATA ? IORING_FSYNC_DATASYNC : 0);
        break;
    case FERRY_OP_TRUNCATE: prep_truncate(uring, sqe, op); break;
    case FERRY_OP_STAT: prep_stat(sqe, op); break;
    case FERRY_OP_CLOSE: prep_close(loop, sqe, op); break;
    case FERRY_OP_NONE:
    case FERRY_OP_NOP:
    case FERRY_OP_TIMER:
    case FERRY_OP_POST:
    case FERRY_OP_WORK:
    case FERRY_OP_SHUTDOWN:
    case FERRY_OP_COUNT: ferry__op_fatal(op, "came to io_uring, which has no part in it");
    }
}

/* Before another try of what the ring does not wait for itself: until the descriptor is ready. An
 * unconnected Unix socket is always ready, though its listener's queue is full: then just a while.
 */
static void prep_wait(struct uring *uring, struct io_uring_sqe *sqe, const ferry_op *op) {
    if (op->code == FERRY_OP_CONNECT) {
        uring->connect_pause = (struct __kernel_timespec){.tv_nsec = CONNECT_PAUSE_NS};
        io_uring_prep_timeout(sqe, &uring->connect_pause, 0, 0);
    } else {
        io_uring_prep_poll_add(sqe, op->fd, ferry__uring_poll_events(op));
    }
}

#define KIND_BIT(code) (UINT32_C(1) << FERRY_OP_##code)

/* May the kernel hand it to one of its workers? What waits for readiness it keeps. */
static bool may_punt(const ferry_loop *loop, const ferry_op *op) {
    const uint32_t always = KIND_BIT(OPEN) | KIND_BIT(SYNC) | KIND_BIT(TRUNCATE) | KIND_BIT(STAT);
    const uint32_t on_files = KIND_BIT(READ) | KIND_BIT(READV) | KIND_BIT(WRITE) |
                              KIND_BIT(WRITEV) | KIND_BIT(CLOSE);
    uint32_t code = UINT32_C(1) << op->code;
    return code & always || (code & on_files && ferry__slot(loop, op->fd)->kind == KIND_FILE);
}

/* The others: everything that is not a plain transfer. */
static void submit_rare(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    prep(loop, sqe, op);
    if (may_punt(loop, op)) {
        op->bits |= BIT_PUNTED;
        uring->punted++;
    }
}

bool ferry__uring_submit(ferry_loop *loop, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (!uring_has_room(loop, uring)) return false;
    struct io_uring_sqe *sqe = uring_next(uring);
    if (FERRY__UNLIKELY(op->bits & BIT_POLLING)) {
        prep_wait(uring, sqe, op);
    } else if (op->code == FERRY_OP_RECV) {
        prep_recv(loop, sqe, op);
    } else if (op->code == FERRY_OP_SEND) {
        prep_send(sqe, op);
    } else {
        submit_rare(loop, sqe, op);
    }
    sqe->user_data = (uint64_t)(uintptr_t)op;
    return true;
}

bool ferry__uring_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count) {
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return false;
    struct iovec *iov = scratch_of(uring, sqe)->iov;
    ferry_op *op = first;
    for (unsigned i = 0; i < count; i++, op = op->link.next) {
        iov[i] = (struct iovec){rest_begin(op), (size_t)(op->len - op->transferred)};
    }
    io_uring_prep_sendmsg(sqe, first->fd, msg_of(uring, sqe, iov, count), MSG_NOSIGNAL);
    sqe->user_data = (uint64_t)(uintptr_t)first;
    return true;
}

bool ferry__uring_cancel(ferry_loop *loop, ferry_op *op) {
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return false;
    /* What comes of it is told by the operation's own completion. */
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->user_data = (uint64_t)(uintptr_t)&uring_of(loop)->cancels;
    return true;
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
