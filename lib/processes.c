/* processes.c - the calls that submit operations on processes, and what is checked of them.
 *
 * A wait is the backend's; a child is begun by a worker, since fork and exec may take their time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define STREAMS 3

void ferry_wait_process(ferry_loop *loop, ferry_op *op, int64_t pid, ferry_exit *how,
                        unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_PROCESS, FERRY_FD_NONE, how, (uint64_t)pid, flags, cb);
    ferry__submit(loop, op);
}

void ferry_spawn(ferry_loop *loop, ferry_op *op, ferry_child *child, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SPAWN, FERRY_FD_NONE, child, 0, flags, cb);
    ferry__submit(loop, op);
}

/* ---- Checks ------------------------------------------------------------------------------ */

static int stdio_check(const ferry_child *child, unsigned which) {
    const ferry_stdio *stdio = &child->stdio[which];
    switch (stdio->kind) {
    case FERRY_STDIO_INHERIT:
    case FERRY_STDIO_NULL:
    case FERRY_STDIO_PIPE: return 0;
    case FERRY_STDIO_FD: return stdio->fd < 0 ? FERRY_EBADF : 0;
    case FERRY_STDIO_SAME:
        if (stdio->fd < 0 || stdio->fd >= STREAMS) return FERRY_EINVAL;
        return child->stdio[stdio->fd].kind == FERRY_STDIO_SAME ? FERRY_EINVAL : 0;
    }
    return FERRY_EINVAL;
}

static int child_check(const ferry_child *child) {
    if (child == NULL || child->program == NULL) return FERRY_EFAULT;
    if (child->argv != NULL && child->argv[0] == NULL) return FERRY_EINVAL;
    if (child->how & ~(FERRY_CHILD_GROUP | FERRY_CHILD_SESSION)) return FERRY_EINVAL;
    int error = 0;
    for (unsigned i = 0; i < STREAMS && error == 0; i++) error = stdio_check(child, i);
    return error;
}

int ferry__wait_check(const ferry_op *op) {
    const unsigned events = FERRY_POLL_IN | FERRY_POLL_OUT | FERRY_POLL_PRIORITY |
                            FERRY_POLL_RDHUP | FERRY_POLL_ERR | FERRY_POLL_HUP;
    if (op->code == FERRY_OP_POLL) return op->len & ~(uint64_t)events ? FERRY_EINVAL : 0;
    if (op->code == FERRY_OP_SPAWN) return child_check(op->buf);
    return op->len == 0 || op->len > INT32_MAX ? FERRY_EINVAL : 0; /* below 0 is large, too */
}

/* ---- Begun ------------------------------------------------------------------------------- */

void ferry__spawn_done(ferry_loop *loop, const ferry_op *op) {
    const ferry_child *child = op->buf;
    for (unsigned i = 0; i < STREAMS; i++) {
        if (child->stdio[i].kind != FERRY_STDIO_PIPE) continue;
        ferry__slot_claim(loop, child->stdio[i].fd, KIND_PIPE);
    }
}
