/* poll.c - waiting for the readiness of a descriptor.
 *
 * One-shot at the system, whatever was asked: a multishot is submitted again at the next flush
 * (op.c), when the callbacks have run. So it is level-triggered on every backend, which is what the
 * libraries expect that it is there for (some read a part of what there is, and wait again), and
 * costs no system call: the ring takes it with the rest of the turn. A backend's own multishot
 * would tell of arrivals alone, and leave those waiting who had not taken everything.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

void ferry_poll(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned events, unsigned flags,
                ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_POLL, fd, NULL, events, flags, cb);
    ferry__submit(loop, op);
}
