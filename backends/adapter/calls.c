/* calls.c - the system calls of transfers, none of which waits.
 *
 * Sockets are asked not to wait call by call, so that their flags stay as their owner set them. A
 * pipe or a file is read and written with RWF_NOWAIT; where the system has no such thing for it, a
 * look whether it is ready precedes the call, and a write is small enough to fit then, or is left
 * to a worker. Called with the baton, by either thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "../posix/messages.h"
#include "../posix/missing.h"
#include "../posix/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define CACHED_MAX (1u << 20) /* of a file, in one call on the loop's thread */

static bool is_vectored(const ferry_op *op) {
    return ferry__op_row(op)->checked & ARG_VECTORS;
}

uint64_t ferry__adapter_wanted(const ferry_op *op) {
    if (adapter_is_lent(op)) return ferry__op_pool(op)->size;
    return (is_vectored(op) ? op->more : op->len) - op->transferred;
}

static int64_t told(ssize_t result) {
    return result >= 0 ? result : -errno;
}

/* ---- Sockets ----------------------------------------------------------------------------- */

/* The vectors of a call. piece: room for one that was cut. */
static void header_fill(const ferry_loop *loop, const ferry_op *op, uint64_t moved,
                        struct msghdr *header, struct iovec *piece) {
    if (ferry__slot_is_message(ferry__slot(loop, op->fd))) { /* it cannot be taken in pieces */
        ferry__posix_msg_vectors(header, (struct iovec *)(uintptr_t)op->buf, (size_t)op->len);
        return;
    }
    struct posix_rest rest = posix_rest_vecs(op, op->transferred + moved);
    *piece = (struct iovec){rest.piece, rest.piece_len};
    if (rest.piece != NULL) {
        ferry__posix_msg_vectors(header, piece, 1);
    } else {
        ferry__posix_msg_vectors(header, (struct iovec *)(uintptr_t)rest.vecs, rest.count);
    }
}

static int64_t receive(const ferry_op *op, uint64_t moved) {
    uint64_t done = op->transferred + moved;
    return told(ferry__calls.recv(op->fd, posix_rest_begin(op, done), posix_rest_len(op, done),
                                  MSG_DONTWAIT));
}

static int64_t send_rest(const ferry_op *op, uint64_t moved) {
    uint64_t done = op->transferred + moved;
    return told(ferry__calls.send(op->fd, posix_rest_begin(op, done), posix_rest_len(op, done),
                                  MSG_DONTWAIT | MSG_NOSIGNAL));
}

static int64_t receive_vectors(const ferry_loop *loop, const ferry_op *op, uint64_t moved) {
    struct msghdr header = {.msg_name = NULL};
    struct iovec piece;
    header_fill(loop, op, moved, &header, &piece);
    return told(ferry__calls.recvmsg(op->fd, &header, MSG_DONTWAIT));
}

static int64_t send_vectors(const ferry_loop *loop, const ferry_op *op, uint64_t moved) {
    struct msghdr header = {.msg_name = NULL};
    struct iovec piece;
    header_fill(loop, op, moved, &header, &piece);
    return told(ferry__calls.sendmsg(op->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static int64_t receive_message(const ferry_loop *loop, const ferry_op *op) {
    struct msghdr *header = ferry__posix_msg_receive(op);
    struct iovec piece;
    header_fill(loop, op, 0, header, &piece);
    return told(ferry__calls.recvmsg(op->fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
}

static int64_t send_message(const ferry_loop *loop, const ferry_op *op) {
    struct msghdr header;
    struct iovec piece;
    ferry__posix_msg_send(op, &header);
    header_fill(loop, op, 0, &header, &piece);
    return told(ferry__calls.sendmsg(op->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int64_t ferry__adapter_call_gathered(ferry_op *first, unsigned count) {
    struct iovec vecs[ADAPTER_GATHER_MAX];
    ferry_op *op = first;
    for (unsigned i = 0; i < count; i++) {
        vecs[i] = (struct iovec){posix_rest_begin(op, op->transferred),
                                 (size_t)(op->len - op->transferred)};
        if (i + 1 < count) op = op->link.next;
    }
    struct msghdr header = {.msg_name = NULL};
    ferry__posix_msg_vectors(&header, vecs, count);
    return told(ferry__calls.sendmsg(first->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* ---- Buffers of a pool ------------------------------------------------------------------- */

int64_t ferry__adapter_receive_lent(const ferry_op *op, ferry_buffer *buffer) {
    if (op->code == FERRY_OP_RECV_POOL) {
        return told(
            ferry__calls.recv(op->fd, buffer->data, ferry__op_pool(op)->size, MSG_DONTWAIT));
    }
    ferry__pool_message(buffer);
    struct msghdr *header = ferry__posix_msg_header(&buffer->msg);
    ferry__posix_msg_vectors(header, (struct iovec *)(void *)&buffer->vec, 1);
    return told(ferry__calls.recvmsg(op->fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
}

/* ---- Files, pipes, terminals ------------------------------------------------------------- */

/* Never ready is what is not open for this. */
static int64_t not_ready(int fd, int other_mode) {
    int flags = ferry__file_calls.status_flags(fd);
    return flags >= 0 && (flags & O_ACCMODE) == other_mode ? -EBADF : -EAGAIN;
}

static bool is_ready(int fd, short events) {
    struct pollfd look = {.fd = fd, .events = events};
    return ferry__calls.poll(&look, 1, 0) > 0;
}

/* What goes with one call: bytes of a plain transfer, or vectors. */
static struct posix_rest rest_of(const ferry_op *op, uint64_t moved, struct iovec *one) {
    uint64_t done = op->transferred + moved;
    if (!is_vectored(op)) {
        *one = (struct iovec){posix_rest_begin(op, done), posix_rest_len(op, done)};
        return (struct posix_rest){.vecs = one, .count = 1};
    }
    struct posix_rest rest = posix_rest_vecs(op, done);
    if (rest.piece == NULL) return rest;
    *one = (struct iovec){rest.piece, rest.piece_len};
    return (struct posix_rest){.vecs = one, .count = 1};
}

static off_t position(const ferry_op *op, uint64_t moved) {
    if (op->offset == FERRY_CURRENT) return -1;
    return (off_t)(op->offset + op->transferred + moved);
}

/* Not with RWF_NOWAIT: the look and the call are two, but whoever shares this descriptor with
 * others that read it has to expect as much. */
static int64_t read_looking(const ferry_op *op, const struct posix_rest *rest) {
    if (ferry__adapter_wanted(op) > 0 && !is_ready(op->fd, POLLIN)) {
        return not_ready(op->fd, O_WRONLY);
    }
    return told(ferry__calls.readv(op->fd, rest->vecs, (int)rest->count));
}

static int64_t write_looking(const ferry_op *op, const struct posix_rest *rest, bool is_pipe) {
    if (!is_pipe) return -EBUSY;
    if (ferry__adapter_wanted(op) > 0 && !is_ready(op->fd, POLLOUT)) {
        return not_ready(op->fd, O_RDONLY);
    }
    /* So many bytes fit into a pipe that is ready (pipe(7)). */
    size_t len = rest->vecs->iov_len < PIPE_BUF ? rest->vecs->iov_len : PIPE_BUF;
    return told(ferry__calls.write(op->fd, rest->vecs->iov_base, len));
}

static bool refuses_nowait(int64_t result) {
    return result == -EOPNOTSUPP || result == -EINVAL || result == -ESPIPE || result == -ENOSYS;
}

static int64_t read_file(struct adapter *adapter, const ferry_op *op, uint64_t moved) {
    struct iovec one;
    struct posix_rest rest = rest_of(op, moved, &one);
    if (!adapter_has(adapter, ADAPTER_NOWAIT) || ferry__adapter_wanted(op) > CACHED_MAX) {
        return -EBUSY;
    }
    int64_t got = told(
        ferry__calls.preadv_nowait(op->fd, rest.vecs, (int)rest.count, position(op, moved)));
    if (got == -EAGAIN || refuses_nowait(got)) return -EBUSY;
    adapter_used(adapter, ADAPTER_NOWAIT);
    return got;
}

static int64_t read_other(struct adapter *adapter, const ferry_op *op, uint64_t moved,
                          enum ferry__fd_kind kind) {
    struct iovec one;
    struct posix_rest rest = rest_of(op, moved, &one);
    if (op->offset != FERRY_CURRENT) return -EBUSY; /* what neither seeks nor refuses to */
    if (kind == KIND_PIPE && adapter_has(adapter, ADAPTER_NOWAIT)) {
        int64_t got = told(ferry__calls.preadv_nowait(op->fd, rest.vecs, (int)rest.count, -1));
        adapter_used(adapter, ADAPTER_NOWAIT);
        if (!refuses_nowait(got)) return got;
    }
    return read_looking(op, &rest);
}

static int64_t write_other(struct adapter *adapter, const ferry_op *op, uint64_t moved,
                           enum ferry__fd_kind kind) {
    struct iovec one;
    struct posix_rest rest = rest_of(op, moved, &one);
    if (op->offset != FERRY_CURRENT) return -EBUSY;
    if (kind == KIND_PIPE && adapter_has(adapter, ADAPTER_NOWAIT)) {
        int64_t put = told(ferry__calls.pwritev_nowait(op->fd, rest.vecs, (int)rest.count, -1));
        if (!refuses_nowait(put)) return put;
    }
    return write_looking(op, &rest, kind == KIND_PIPE);
}

static int64_t transfer(struct adapter *adapter, const ferry_op *op, uint64_t moved, bool reads) {
    enum ferry__fd_kind kind = ferry__slot(adapter->loop, op->fd)->kind;
    switch (kind) {
    case KIND_STREAM:
    case KIND_MESSAGE:
    case KIND_SEQPACKET:
        if (is_vectored(op)) {
            return reads ? receive_vectors(adapter->loop, op, moved)
                         : send_vectors(adapter->loop, op, moved);
        }
        return reads ? receive(op, moved) : send_rest(op, moved);
    case KIND_FILE: return reads ? read_file(adapter, op, moved) : -EBUSY;
    case KIND_PIPE:
    case KIND_UNKNOWN:
    case KIND_CHARACTER:
    case KIND_OTHER: break;
    }
    return reads ? read_other(adapter, op, moved, kind) : write_other(adapter, op, moved, kind);
}

static int64_t read_lent(struct adapter *adapter, const ferry_op *op) {
    const ferry_buffer *buffer = ferry__pool_assigned(op);
    const ferry_op plain = {.code = FERRY_OP_READ,
                            .fd = op->fd,
                            .buf = buffer->data,
                            .len = ferry__op_pool(op)->size,
                            .offset = FERRY_CURRENT};
    return transfer(adapter, &plain, 0, true);
}

/* ---- A file into a stream ---------------------------------------------------------------- */

#define PIECE_BYTES 65536u

/* By way of the stack: what is cached is copied out of the cache and into the socket. What is not
 * has to be read in first, by a worker; what the socket does not take is read again. */
static int64_t send_file(struct adapter *adapter, const ferry_op *op, uint64_t moved) {
    char piece[PIECE_BYTES];
    uint64_t done = op->transferred + moved, rest = op->len - done;
    struct iovec vec = {piece, rest < sizeof piece ? (size_t)rest : sizeof piece};
    int flags = ferry__file_calls.status_flags(ferry__source(op));
    if (!adapter_has(adapter, ADAPTER_NOWAIT) || (flags >= 0 && flags & O_DIRECT)) return -EBUSY;
    int64_t got = told(
        ferry__calls.preadv_nowait(ferry__source(op), &vec, 1, (off_t)(op->offset + done)));
    if (got == -EAGAIN || refuses_nowait(got)) return -EBUSY;
    if (got <= 0) return got;
    const ferry_op sends = {.code = FERRY_OP_WRITE,
                            .fd = op->fd,
                            .buf = piece,
                            .len = (uint64_t)got,
                            .offset = FERRY_CURRENT};
    return transfer(adapter, &sends, 0, false);
}

/* ---- For a worker ------------------------------------------------------------------------- */

/* What is not cached, read in and sent as far as the other end takes it without waiting. */
static int64_t send_file_blocking(const ferry_op *op, uint64_t moved) {
    char piece[PIECE_BYTES];
    uint64_t done = op->transferred + moved, rest = op->len - done;
    size_t len = rest < sizeof piece ? (size_t)rest : sizeof piece;
    struct iovec vec = {piece, len};
    int64_t got = told(ferry__calls.preadv(ferry__source(op), &vec, 1, (off_t)(op->offset + done)));
    if (got <= 0) return got;
    int64_t put = told(ferry__calls.send(op->fd, piece, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (put != -ENOTSOCK) return put;
    if (!is_ready(op->fd, POLLOUT)) return not_ready(op->fd, O_RDONLY);
    return told(ferry__calls.write(op->fd, piece, got < PIPE_BUF ? (size_t)got : PIPE_BUF));
}

int64_t ferry__adapter_blocking_call(const ferry_op *op, uint64_t moved) {
    struct iovec one;
    if (op->code == FERRY_OP_SENDFILE) return send_file_blocking(op, moved);
    struct posix_rest rest = rest_of(op, moved, &one);
    bool reads = ferry__op_row(op)->result == RESULT_IN;
    int64_t n = reads ? told(ferry__calls.readv(op->fd, rest.vecs, (int)rest.count))
                      : told(ferry__calls.writev(op->fd, rest.vecs, (int)rest.count));
    return n;
}

/* ---- Each in its place ------------------------------------------------------------------- */

int64_t ferry__adapter_call(struct adapter *adapter, ferry_op *op, uint64_t moved) {
    switch (op->code) {
    case FERRY_OP_RECV: return receive(op, moved);
    case FERRY_OP_SEND: return send_rest(op, moved);
    case FERRY_OP_RECVV: return receive_vectors(adapter->loop, op, moved);
    case FERRY_OP_SENDV: return send_vectors(adapter->loop, op, moved);
    case FERRY_OP_RECVMSG: return receive_message(adapter->loop, op);
    case FERRY_OP_SENDMSG: return send_message(adapter->loop, op);
    case FERRY_OP_RECV_POOL:
    case FERRY_OP_RECVMSG_POOL: return ferry__adapter_receive_lent(op, ferry__pool_assigned(op));
    case FERRY_OP_READ_POOL: return read_lent(adapter, op);
    case FERRY_OP_READ:
    case FERRY_OP_READV: return transfer(adapter, op, moved, true);
    case FERRY_OP_WRITE:
    case FERRY_OP_WRITEV: return transfer(adapter, op, moved, false);
    case FERRY_OP_SENDFILE: return send_file(adapter, op, moved);
    default: return -ENOSYS;
    }
}
