/* file_rules.c - what the core knows of operations on files: which arguments make sense, and what
 * comes after a worker's result.
 *
 * Called by submit.c on the way in (fields: files.c, paths.c) and by op.c on the way out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define LENGTH_MAX ((uint64_t)INT64_MAX)
#define PERMISSIONS 07777u
#define NAME_PATTERN "XXXXXX"

/* ---- The way in -------------------------------------------------------------------------- */

static int open_check(const ferry_op *op) {
    uint64_t known = FERRY_OPEN_DSYNC * 2 - 1; /* DSYNC is the highest */
    unsigned access = FERRY_OPEN_READ | FERRY_OPEN_WRITE;
    return op->offset & ~known || !(op->offset & access) ? FERRY_EINVAL : 0;
}

static int answer_check(const ferry_op *op) {
    if (op->more == 0) return FERRY_EFAULT;
    return op->len == 0 ? FERRY_ENOROOM : 0;
}

static int rename_check(const ferry_op *op) {
    if (op->offset == 0) return FERRY_EFAULT;
    const unsigned both = FERRY_NOREPLACE | FERRY_EXCHANGE;
    return (op->asked & both) == both ? FERRY_EINVAL : 0;
}

static int pattern_check(const ferry_op *op) {
    const char *name = op->buf;
    size_t len = strlen(name), pattern_len = sizeof NAME_PATTERN - 1;
    if (len < pattern_len) return FERRY_EINVAL;
    return memcmp(name + len - pattern_len, NAME_PATTERN, pattern_len) == 0 ? 0 : FERRY_EINVAL;
}

static int allocate_check(const ferry_op *op) {
    if (op->len == 0) return FERRY_EINVAL;
    return op->offset > LENGTH_MAX || op->len > LENGTH_MAX - op->offset ? FERRY_EFBIG : 0;
}

static int advise_check(const ferry_op *op) {
    if (op->offset > LENGTH_MAX || op->len > LENGTH_MAX) return FERRY_EINVAL;
    return op->more > FERRY_ADVICE_ONCE ? FERRY_EINVAL : 0;
}

static int copy_check(const ferry_op *op) {
    if (op->offset > LENGTH_MAX || op->more > LENGTH_MAX) return FERRY_EINVAL;
    return op->len > LENGTH_MAX ? FERRY_EINVAL : 0;
}

int ferry__files_check(const ferry_op *op) {
    switch (op->code) {
    case FERRY_OP_OPEN: return open_check(op);
    case FERRY_OP_READLINK:
    case FERRY_OP_REALPATH: return answer_check(op);
    case FERRY_OP_RENAME: return rename_check(op);
    case FERRY_OP_HARD_LINK:
    case FERRY_OP_SYMLINK: return op->offset == 0 ? FERRY_EFAULT : 0;
    case FERRY_OP_CHMOD:
    case FERRY_OP_CHMOD_FD:
    case FERRY_OP_MKDIR: return op->len > PERMISSIONS ? FERRY_EINVAL : 0;
    case FERRY_OP_ACCESS: {
        unsigned all = FERRY_MAY_EXECUTE | FERRY_MAY_WRITE | FERRY_MAY_READ;
        return op->len & ~(uint64_t)all ? FERRY_EINVAL : 0;
    }
    case FERRY_OP_TEMP_FILE:
    case FERRY_OP_TEMP_DIR: return pattern_check(op);
    case FERRY_OP_ALLOCATE: return allocate_check(op);
    case FERRY_OP_ADVISE: return advise_check(op);
    case FERRY_OP_COPY: return copy_check(op);
    default: return 0;
    }
}

/* ---- The way out ------------------------------------------------------------------------- */

static bool closes(const ferry_loop *loop, ferry_fd fd) {
    return ferry__slot(loop, fd)->flags & SLOT_CLOSING;
}

/* Why a copy must not go on with its next piece; 0 if it may. */
static int copy_stopped(const ferry_loop *loop, const ferry_op *op) {
    if (loop->gate & GATE_DRAIN || closes(loop, op->fd) || closes(loop, ferry__op_second(op))) {
        return FERRY_ECANCELED;
    }
    return ferry__op_stopped(op);
}

static void land_copy(ferry_loop *loop, ferry_op *op, int64_t moved) {
    if (moved < 0) {
        ferry__op_end(loop, op, moved, 0);
        return;
    }
    op->transferred += (uint64_t)moved;
    if (moved == 0 || op->transferred >= op->len || !(op->asked & FERRY_ALL)) {
        bool ended = op->transferred == 0 && op->len > 0;
        ferry__op_end(loop, op, (int64_t)op->transferred, ended ? FERRY_EOF : 0);
        return;
    }
    int stopped = copy_stopped(loop, op);
    if (stopped != 0) {
        ferry__op_end(loop, op, stopped, 0);
    } else {
        ferry__work_submit(loop, op);
    }
}

void ferry__files_land(ferry_loop *loop, ferry_op *op, int64_t result) {
    uint32_t flags = 0;
    if (op->code == FERRY_OP_COPY) {
        land_copy(loop, op, result);
        return;
    }
    if (op->code == FERRY_OP_TEMP_FILE && result >= 0) {
        ferry__slot_claim(loop, (ferry_fd)result, KIND_FILE);
    }
    if (op->code == FERRY_OP_LIST && result >= 0) {
        op->transferred = (uint64_t)result;
        flags = result == 0 ? FERRY_EOF : 0;
    }
    ferry__op_end(loop, op, result, flags);
}
