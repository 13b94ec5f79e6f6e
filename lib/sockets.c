/* sockets.c - the calls that submit operations on sockets: each fills the operation and hands it to
 * submit.c, which checks it by its row and sends it on its way.
 *
 * Plain ferry_recv() and ferry_send() are in submit.c, for their short way in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

void ferry_accept(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_addr *peer, unsigned flags,
                  ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_ACCEPT, fd, peer, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_connect(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_addr *addr,
                   unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_CONNECT, fd, addr, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_recvv(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs, size_t count,
                 unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RECVV, fd, vecs, count, flags, cb);
    ferry__submit(loop, op);
}

void ferry_recv_pool(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_pool *pool, unsigned flags,
                     ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RECV_POOL, fd, pool, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_sendv(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs, size_t count,
                 unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SENDV, fd, vecs, count, flags, cb);
    ferry__submit(loop, op);
}

void ferry_shutdown(ferry_loop *loop, ferry_op *op, ferry_fd fd, enum ferry_shutdown_how how,
                    unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SHUTDOWN, fd, NULL, (uint64_t)how, flags, cb);
    ferry__submit(loop, op);
}
