/* mask.c - the seam of system calls, plain and masked.
 *
 * A feature that was turned off (ferry_config.disable) is also refused here, as a kernel without it
 * would: its setup flag, enter flag, registration or submission entry is answered with EINVAL. So a
 * loop that used it all the same would fail, and the tests would see it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* ---- Plain ------------------------------------------------------------------------------- */

static int plain_setup(struct uring *uring, unsigned entries, struct io_uring_params *params) {
    (void)uring;
    return io_uring_setup(entries, params);
}

static int plain_enter(struct uring *uring, unsigned submit, unsigned wait, unsigned flags,
                       struct io_uring_getevents_arg *arg) {
    return io_uring_enter2((unsigned)uring->enter_fd, submit, wait, flags, (sigset_t *)(void *)arg,
                           arg != NULL ? sizeof *arg : _NSIG / 8);
}

static int plain_register(struct uring *uring, unsigned opcode, const void *arg, unsigned count) {
    return io_uring_register((unsigned)uring->ring.ring_fd, opcode, arg, count);
}

const struct uring_calls ferry__uring_calls_plain = {plain_setup, plain_enter, plain_register};
const struct uring_calls *ferry__uring_calls = &ferry__uring_calls_plain;

/* ---- Masked ------------------------------------------------------------------------------ */

static bool masked(const struct uring *uring, enum uring_feature feature) {
    return uring->found[feature] == FERRY_FEATURE_MASKED;
}

static int masked_setup(struct uring *uring, unsigned entries, struct io_uring_params *params) {
    for (unsigned i = 0; i < URING_FEATURES; i++) {
        if (masked(uring, i) && params->flags & ferry__uring_setup_flag(i)) return -EINVAL;
    }
    return plain_setup(uring, entries, params);
}

static const uint8_t fs_opcodes[] = URING_FS_OPCODES;

static bool is_fs_op(uint8_t opcode) {
    return memchr(fs_opcodes, opcode, sizeof fs_opcodes) != NULL;
}

static bool refused(const struct uring *uring, const struct io_uring_sqe *sqe) {
    bool multi = sqe->opcode == IORING_OP_RECV && sqe->ioprio & IORING_RECV_MULTISHOT;
    bool receives = sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_RECVMSG;
    bool sends = sqe->opcode == IORING_OP_SEND_ZC || sqe->opcode == IORING_OP_SENDMSG_ZC;
    bool fixed = sqe->opcode == IORING_OP_READ_FIXED || sqe->opcode == IORING_OP_WRITE_FIXED;
    return (masked(uring, URING_MULTI_RECV) && multi) ||
           (masked(uring, URING_BUFFER_RING) && sqe->flags & IOSQE_BUFFER_SELECT && !multi) ||
           (masked(uring, URING_FTRUNCATE) && sqe->opcode == URING_OP_FTRUNCATE) ||
           (masked(uring, URING_WAITID) && sqe->opcode == URING_OP_WAITID) ||
           (masked(uring, URING_FS_OPS) && is_fs_op(sqe->opcode)) ||
           (masked(uring, URING_SEND_ZC) && sends) ||
           (masked(uring, URING_ZC_USAGE) && sends && sqe->ioprio & IORING_SEND_ZC_REPORT_USAGE) ||
           (masked(uring, URING_FIXED_BUFFERS) && fixed) ||
           (masked(uring, URING_MULTI_ACCEPT) && sqe->opcode == IORING_OP_ACCEPT &&
            sqe->ioprio & IORING_ACCEPT_MULTISHOT) ||
           (masked(uring, URING_POLL_FIRST) && receives &&
            sqe->ioprio & IORING_RECVSEND_POLL_FIRST);
}

static int masked_enter(struct uring *uring, unsigned submit, unsigned wait, unsigned flags,
                        struct io_uring_getevents_arg *arg) {
    if ((masked(uring, URING_REGISTERED_RING) && flags & IORING_ENTER_REGISTERED_RING) ||
        (masked(uring, URING_NO_IOWAIT) && flags & IORING_ENTER_NO_IOWAIT)) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < submit; i++) {
        struct io_uring_sqe *sqe =
            &uring->ring.sq.sqes[(uring->sq_tail - submit + i) & uring->sq_mask];
        if (refused(uring, sqe)) sqe->opcode = URING_OP_INVALID;
    }
    return plain_enter(uring, submit, wait, flags, arg);
}

static int masked_register(struct uring *uring, unsigned opcode, const void *arg, unsigned count) {
    if (masked(uring, URING_REGISTERED_RING) && opcode == IORING_REGISTER_RING_FDS) return -EINVAL;
    if (masked(uring, URING_BUFFER_RING) && opcode == IORING_REGISTER_PBUF_RING) return -EINVAL;
    if (masked(uring, URING_FIXED_BUFFERS) && opcode == IORING_REGISTER_BUFFERS) return -EINVAL;
    int result = plain_register(uring, opcode, arg, count);
    if (result >= 0 && opcode == IORING_REGISTER_PROBE) {
        struct io_uring_probe *probe = (struct io_uring_probe *)(uintptr_t)arg;
        if (masked(uring, URING_FTRUNCATE)) probe->ops[URING_OP_FTRUNCATE].flags = 0;
        if (masked(uring, URING_WAITID)) probe->ops[URING_OP_WAITID].flags = 0;
        for (unsigned i = 0; masked(uring, URING_FS_OPS) && i < sizeof fs_opcodes; i++) {
            probe->ops[fs_opcodes[i]].flags = 0;
        }
    }
    return result;
}

const struct uring_calls ferry__uring_calls_masked = {masked_setup, masked_enter, masked_register};
