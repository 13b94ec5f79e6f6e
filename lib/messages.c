/* messages.c - messages with an address and control data: their submission and their checks.
 *
 * The operation keeps the message in offset, and its vectors where those of other vectored
 * transfers are, so that what is said of them (whole sends, rests, memory that is looked at) holds
 * here too. Called through the table of kinds by submit.c, and by lane.c. Next station: a backend,
 * which fills in what has come.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

static int receive_check(ferry_msg *msg) {
    msg->control_len = 0;
    msg->flags = 0;
    if (msg->addr != NULL) msg->addr->len = 0;
    return 0;
}

static int send_check(const ferry_msg *msg) {
    if (msg->control_len > msg->control_room) return FERRY_EINVAL;
    return msg->addr != NULL && msg->addr->len > 0 ? ferry__os_addr_check(msg->addr) : 0;
}

int ferry__msg_check(ferry_op *op) {
    ferry_msg *msg = ferry__msg(op);
    if (msg == NULL) return FERRY_EFAULT;
    if (msg->control == NULL && msg->control_room > 0) return FERRY_EFAULT;
    if ((uintptr_t)msg->control % sizeof(uint64_t) != 0) return FERRY_EINVAL;
    op->buf = msg->vecs;
    op->len = msg->count;
    return op->code == FERRY_OP_SENDMSG ? send_check(msg) : receive_check(msg);
}

bool ferry__msg_is_hollow(const ferry_op *op) {
    return op->more == 0 && ferry__msg(op)->control_len > 0;
}

void ferry_recvmsg(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_msg *msg, unsigned flags,
                   ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RECVMSG, fd, NULL, 0, flags, cb);
    op->offset = (uint64_t)(uintptr_t)msg;
    ferry__submit(loop, op);
}

void ferry_recvmsg_pool(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_pool *pool,
                        unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RECVMSG_POOL, fd, pool, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_sendmsg(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_msg *msg,
                   unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SENDMSG, fd, NULL, 0, flags, cb);
    op->offset = (uint64_t)(uintptr_t)msg;
    ferry__submit(loop, op);
}
