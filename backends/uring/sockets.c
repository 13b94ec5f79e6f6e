/* sockets.c - submission entries of operations on sockets.
 *
 * Everything that the kernel reads by address lies in the operation, in the user's memory, or in
 * the scratch of the entry. Whole transfers and vectors go on from op->transferred, so that the
 * same code serves a first try and the rest of one. Plain receives and sends: submit.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../posix/messages.h"

void ferry__uring_prep_recvv(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct posix_rest rest = uring_rest_vecs(op);
    if (uring_is_message(loop, op)) {
        io_uring_prep_recvmsg(sqe, op->fd, uring_msg_of(uring_of(loop), sqe, op->buf, op->len), 0);
    } else if (rest.piece != NULL) {
        io_uring_prep_recv(sqe, op->fd, rest.piece, rest.piece_len, 0);
    } else {
        io_uring_prep_recvmsg(sqe, op->fd, uring_msg_of(uring_of(loop), sqe, rest.vecs, rest.count),
                              0);
    }
    sqe->ioprio |= uring_poll_first(loop, op);
}

void ferry__uring_prep_sendv(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    struct posix_rest rest = uring_rest_vecs(op);
    if (uring_is_message(loop, op)) {
        io_uring_prep_sendmsg(sqe, op->fd, uring_msg_of(uring, sqe, op->buf, op->len),
                              uring_send_flags(op));
    } else if (rest.piece != NULL) {
        io_uring_prep_send(sqe, op->fd, rest.piece, rest.piece_len, MSG_NOSIGNAL);
    } else {
        io_uring_prep_sendmsg(sqe, op->fd, uring_msg_of(uring, sqe, rest.vecs, rest.count),
                              MSG_NOSIGNAL);
    }
}

/* Sets the vectors of a message's header to what is left of it. Those of a piece that was cut lie
 * in the entry's scratch: the kernel copies them when it takes the entry. */
static void msg_rest(ferry_loop *loop, struct io_uring_sqe *sqe, const ferry_op *op,
                     struct msghdr *header) {
    header->msg_iov = (struct iovec *)(uintptr_t)op->buf;
    header->msg_iovlen = op->len;
    if (uring_is_message(loop, op)) return;
    struct posix_rest rest = uring_rest_vecs(op);
    struct iovec *piece = uring_scratch_of(uring_of(loop), sqe)->iov;
    *piece = (struct iovec){rest.piece, rest.piece_len};
    header->msg_iov = rest.piece != NULL ? piece : (struct iovec *)(uintptr_t)rest.vecs;
    header->msg_iovlen = rest.piece != NULL ? 1 : rest.count;
}

/* The kernel writes to the header when the message has come, so that it lies in the message.
 *
 * A Unix stream that has nothing writes the sender's credentials all the same, before it says so
 * (unix_stream_read_generic() in net/unix/af_unix.c, up to Linux 6.18 at least). recvmsg(2) forgets
 * them, but the ring, trying again by itself, goes on behind them: what comes then does not begin
 * where its length is counted from. So with room for control data the ring does not try again
 * itself: it says that there is nothing, and the next try has a header of its own. */
void ferry__uring_prep_recvmsg(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct msghdr *header = ferry__posix_msg_receive(op);
    msg_rest(loop, sqe, op, header);
    io_uring_prep_recvmsg(sqe, op->fd, header, MSG_CMSG_CLOEXEC);
    if (header->msg_controllen > 0 && !uring_is_message(loop, op)) {
        sqe->msg_flags |= MSG_DONTWAIT;
    } else {
        sqe->ioprio |= uring_poll_first(loop, op);
    }
}

void ferry__uring_prep_sendmsg(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct msghdr *header = &uring_scratch_of(uring_of(loop), sqe)->msg;
    ferry__posix_msg_send(op, header);
    msg_rest(loop, sqe, op, header);
    io_uring_prep_sendmsg(sqe, op->fd, header, uring_send_flags(op));
}

void ferry__uring_prep_accept(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    ferry_addr *peer = (ferry_addr *)(uintptr_t)op->buf;
    if (op->asked & FERRY_MULTI && uring_has(uring_of(loop), URING_MULTI_ACCEPT)) {
        uring_of(loop)->uses[URING_MULTI_ACCEPT]++;
        io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
    } else if (peer == NULL) {
        io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
    } else {
        memset(peer, 0, sizeof *peer);
        peer->len = sizeof peer->data.bytes;
        io_uring_prep_accept(sqe, op->fd, (struct sockaddr *)(void *)peer->data.bytes, &peer->len,
                             SOCK_CLOEXEC);
    }
}

void ferry__uring_prep_connect(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    const ferry_addr *addr = op->buf;
    io_uring_prep_connect(sqe, op->fd, (const struct sockaddr *)(const void *)addr->data.bytes,
                          addr->len);
}
