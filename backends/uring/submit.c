/* submit.c - operations to submission entries: the table of kinds, plain transfers, cancels.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../posix/readiness.h"

#include <poll.h>
#include <string.h>

#define PAUSE_NS 10000000

_Static_assert(sizeof(ferry_vec) == sizeof(struct iovec), "a vector is the system's");
_Static_assert(offsetof(ferry_vec, data) == offsetof(struct iovec, iov_base), "a vector's start");
_Static_assert(offsetof(ferry_vec, len) == offsetof(struct iovec, iov_len), "a vector's length");

/* ---- The kinds --------------------------------------------------------------------------- */

#define CORE                                                                                       \
    { .otherwise = SUPPORT_NATIVE } /* done without the ring */
#define RING(name)                                                                                 \
    { .prep = ferry__uring_prep_##name }
#define PUNTED(name, when)                                                                         \
    { .prep = ferry__uring_prep_##name, .punts = PUNTS_##when }

#define WORKER                                                                                     \
    { .otherwise = SUPPORT_BLOCKING }
#define FS_OP(name, op)                                                                            \
    {                                                                                              \
        .prep = ferry__uring_prep_##name, .opcode = IORING_OP_##op, .otherwise = SUPPORT_BLOCKING, \
        .punts = PUNTS_ALWAYS                                                                      \
    }

static uring_prep prep_recv, prep_send;

const struct uring_kind ferry__uring_kinds[FERRY_OP_COUNT] = {
    [FERRY_OP_NOP] = CORE,
    [FERRY_OP_TIMER] = CORE,
    [FERRY_OP_POST] = CORE,
    [FERRY_OP_WORK] = CORE,
    [FERRY_OP_SIGNAL] = CORE,
    [FERRY_OP_WATCH] = CORE,
    [FERRY_OP_RESOLVE] = CORE,

    /* Sockets. */
    [FERRY_OP_ACCEPT] = RING(accept),
    [FERRY_OP_CONNECT] = RING(connect),
    [FERRY_OP_RECV] = {.prep = prep_recv},
    [FERRY_OP_RECVV] = RING(recvv),
    [FERRY_OP_RECVMSG] = RING(recvmsg),
    [FERRY_OP_RECV_POOL] = RING(recv_pool),
    [FERRY_OP_RECVMSG_POOL] = RING(recvmsg_pool),
    [FERRY_OP_SEND] = {.prep = prep_send},
    [FERRY_OP_SENDV] = RING(sendv),
    [FERRY_OP_SENDMSG] = RING(sendmsg),
    [FERRY_OP_SENDFILE] = CORE, /* of several entries: sendfile.c */
    [FERRY_OP_SHUTDOWN] = CORE,

    /* Files. */
    [FERRY_OP_OPEN] = PUNTED(open, ALWAYS),
    [FERRY_OP_READ] = PUNTED(read, FILES),
    [FERRY_OP_READV] = PUNTED(vectored, FILES),
    [FERRY_OP_READ_POOL] = RING(read_pool),
    [FERRY_OP_WRITE] = PUNTED(write, FILES),
    [FERRY_OP_WRITEV] = PUNTED(vectored, FILES),
    [FERRY_OP_SYNC] = PUNTED(sync, ALWAYS),
    [FERRY_OP_TRUNCATE] = {.prep = ferry__uring_prep_truncate,
                           .opcode = URING_OP_FTRUNCATE,
                           .otherwise = SUPPORT_BLOCKING,
                           .punts = PUNTS_ALWAYS},
    [FERRY_OP_STAT] = PUNTED(stat, ALWAYS),
    [FERRY_OP_STAT_FD] = PUNTED(stat_fd, ALWAYS),
    [FERRY_OP_CHMOD] = WORKER,
    [FERRY_OP_CHMOD_FD] = WORKER,
    [FERRY_OP_CHOWN] = WORKER,
    [FERRY_OP_CHOWN_FD] = WORKER,
    [FERRY_OP_TIMES] = WORKER,
    [FERRY_OP_TIMES_FD] = WORKER,
    [FERRY_OP_ACCESS] = WORKER,
    [FERRY_OP_ALLOCATE] = FS_OP(allocate, FALLOCATE),
    [FERRY_OP_ADVISE] = WORKER, /* the ring's has no more than 32 bits for a length */
    [FERRY_OP_RENAME] = FS_OP(rename, RENAMEAT),
    [FERRY_OP_HARD_LINK] = FS_OP(link, LINKAT),
    [FERRY_OP_SYMLINK] = FS_OP(symlink, SYMLINKAT),
    [FERRY_OP_UNLINK] = FS_OP(unlink, UNLINKAT),
    [FERRY_OP_MKDIR] = FS_OP(mkdir, MKDIRAT),
    [FERRY_OP_RMDIR] = FS_OP(unlink, UNLINKAT),
    [FERRY_OP_READLINK] = WORKER,
    [FERRY_OP_REALPATH] = WORKER,
    [FERRY_OP_TEMP_FILE] = WORKER,
    [FERRY_OP_TEMP_DIR] = WORKER,
    [FERRY_OP_LIST] = WORKER,
    [FERRY_OP_COPY] = WORKER,
    [FERRY_OP_CLOSE] = PUNTED(close, FILES),

    /* Waiting. */
    [FERRY_OP_POLL] = RING(poll),
    [FERRY_OP_PROCESS] = RING(process),
    [FERRY_OP_SPAWN] = {.otherwise = SUPPORT_BLOCKING},
};

/* ---- Plain transfers: written out, since these are most of what servers do ------------------- */

static inline void prep_recv(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    *sqe = (struct io_uring_sqe){.opcode = IORING_OP_RECV,
                                 .fd = op->fd,
                                 .ioprio = uring_poll_first(loop, op),
                                 .addr = (uint64_t)(uintptr_t)uring_rest_begin(op),
                                 .len = uring_rest_len(op)};
}

static inline void prep_send(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    *sqe = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                 .fd = op->fd,
                                 .addr = (uint64_t)(uintptr_t)uring_rest_begin(op),
                                 .len = uring_rest_len(op),
                                 .msg_flags = MSG_NOSIGNAL};
}

/* ---- Waiting for readiness ----------------------------------------------------------------- */

unsigned ferry__uring_poll_events(const ferry_op *op) {
    switch (ferry__op_row(op)->result) {
    case RESULT_IN:
    case RESULT_LENT: return POLLIN;
    case RESULT_OUT: return POLLOUT;
    default: break;
    }
    if (op->code == FERRY_OP_ACCEPT) return POLLIN;
    return op->code == FERRY_OP_CONNECT ? POLLOUT : 0;
}

/* Before another try of what the ring does not wait for itself: until the descriptor is ready. An
 * unconnected Unix socket is always ready, though its listener's queue is full, or its receiver's,
 * and so is what meets unasked events or a traced process (processes.c): then just a while. */
void ferry__uring_prep_wait(ferry_loop *loop, struct io_uring_sqe *sqe, const ferry_op *op) {
    struct uring *uring = uring_of(loop);
    unsigned events = ferry__uring_poll_events(op);
    if (op->code == FERRY_OP_CONNECT || events == 0 ||
        (op->asked & ASKED_MESSAGE && ferry__posix_look(op->fd, FERRY_POLL_OUT) != 0)) {
        uring->pause = (struct __kernel_timespec){.tv_nsec = PAUSE_NS};
        io_uring_prep_timeout(sqe, &uring->pause, 0, 0);
    } else {
        io_uring_prep_poll_add(sqe, op->fd, events);
    }
}

/* ---- The backend's calls --------------------------------------------------------------------- */

/* Everything that is not a plain transfer. */
static void submit_rare(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    const struct uring_kind *kind = &ferry__uring_kinds[op->code];
    kind->prep(loop, sqe, op);
    if (kind->punts == PUNTS_ALWAYS ||
        (kind->punts == PUNTS_FILES && ferry__slot(loop, op->fd)->kind == KIND_FILE)) {
        op->bits |= BIT_PUNTED;
        uring_of(loop)->punted++;
    }
    if (uring_of(loop)->embed.is_open) ferry__uring_embed_watch(loop, op);
}

/* What is to wait for readiness first, messages, and sends without copying. */
static void submit_unusual(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    if (op->bits & BIT_POLLING) {
        ferry__uring_prep_wait(loop, sqe, op);
    } else if (ferry__uring_zerocopy_tries(loop, op)) {
        ferry__uring_prep_zerocopy(loop, sqe, op);
    } else if (op->code == FERRY_OP_SEND) {
        prep_send(loop, sqe, op);
        sqe->msg_flags = uring_send_flags(op);
    } else {
        submit_rare(loop, sqe, op);
    }
}

bool ferry__uring_submit(ferry_loop *loop, ferry_op *op) {
    const ferry_op unusual = {.asked = FERRY_ZEROCOPY | ASKED_MESSAGE, .bits = BIT_POLLING};
    bool is_unusual = (ferry__op_shape(op) & ferry__op_shape(&unusual)) != 0;
    if (!uring_has_room(loop, uring_of(loop))) return false;
    if (!is_unusual && op->code == FERRY_OP_SENDFILE) return ferry__uring_sendfile(loop, op);
    struct io_uring_sqe *sqe = uring_next(uring_of(loop));
    if (is_unusual) {
        submit_unusual(loop, sqe, op);
    } else if (op->code == FERRY_OP_RECV) {
        prep_recv(loop, sqe, op);
    } else if (op->code == FERRY_OP_SEND) {
        prep_send(loop, sqe, op);
    } else {
        submit_rare(loop, sqe, op);
    }
    sqe->user_data = (uint64_t)(uintptr_t)op;
    return true;
}

/* These two call nothing while there is room, for the registers' sake. */
bool ferry__uring_submit_receive(ferry_loop *loop, ferry_op *op) {
    if (FERRY__UNLIKELY(uring_is_full(uring_of(loop)))) return ferry__uring_submit(loop, op);
    struct io_uring_sqe *sqe = uring_next(uring_of(loop));
    prep_recv(loop, sqe, op);
    sqe->user_data = (uint64_t)(uintptr_t)op;
    return true;
}

bool ferry__uring_submit_send(ferry_loop *loop, ferry_op *op) {
    if (FERRY__UNLIKELY(uring_is_full(uring_of(loop)))) return ferry__uring_submit(loop, op);
    struct io_uring_sqe *sqe = uring_next(uring_of(loop));
    prep_send(loop, sqe, op);
    sqe->user_data = (uint64_t)(uintptr_t)op;
    return true;
}

bool ferry__uring_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count) {
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return false;
    struct iovec *iov = uring_scratch_of(uring, sqe)->iov;
    ferry_op *op = first;
    for (unsigned i = 0; i < count; i++, op = op->link.next) {
        iov[i] = (struct iovec){uring_rest_begin(op), (size_t)(op->len - op->transferred)};
    }
    io_uring_prep_sendmsg(sqe, first->fd, uring_msg_of(uring, sqe, iov, count), MSG_NOSIGNAL);
    sqe->user_data = (uint64_t)(uintptr_t)first;
    return true;
}

bool ferry__uring_cancel(ferry_loop *loop, ferry_op *op) {
    if (op->code == FERRY_OP_SENDFILE) {
        int waits = ferry__uring_sendfile_cancel(loop, op);
        if (waits != 0) return waits > 0;
    }
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return false;
    /* What comes of it is told by the operation's own completion. */
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->user_data = (uint64_t)(uintptr_t)&uring_of(loop)->cancels;
    return true;
}
