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

/* Why what goes on in several steps must not take the next; 0 if it may. */
static int stopped(const ferry_loop *loop, const ferry_op *op) {
    bool second = op->code == FERRY_OP_COPY && closes(loop, ferry__op_second(op));
    if (loop->gate & GATE_DRAIN || second || (op->fd >= 0 && closes(loop, op->fd))) {
        return FERRY_ECANCELED;
    }
    return ferry__op_stopped(op);
}

/* More of it, by a worker, unless it was asked to end. */
static void go_on(ferry_loop *loop, ferry_op *op) {
    int error = stopped(loop, op);
    if (error != 0) {
        ferry__op_end(loop, op, error, 0);
    } else {
        ferry__work_submit(loop, op);
    }
}

static void land_copy(ferry_loop *loop, ferry_op *op, int64_t moved) {
    op->transferred += (uint64_t)moved;
    if (moved == 0 || op->transferred >= op->len || !(op->asked & FERRY_ALL)) {
        bool ended = op->transferred == 0 && op->len > 0;
        ferry__op_end(loop, op, (int64_t)op->transferred, ended ? FERRY_EOF : 0);
    } else {
        go_on(loop, op);
    }
}

static void land_read(ferry_loop *loop, ferry_op *op, int64_t moved) {
    uint64_t total = ferry__op_row(op)->checked & ARG_VECTORS ? op->more : op->len;
    op->transferred += (uint64_t)moved;
    if (moved == 0 || op->transferred >= total || !(op->asked & FERRY_ALL)) {
        bool ended = op->transferred == 0 && total > 0;
        ferry__op_end(loop, op, (int64_t)op->transferred, ended ? FERRY_EOF : 0);
    } else {
        go_on(loop, op);
    }
}

static void land_write(ferry_loop *loop, ferry_op *op, int64_t moved) {
    uint64_t total = ferry__op_row(op)->checked & ARG_VECTORS ? op->more : op->len;
    op->transferred += (uint64_t)moved;
    if (op->transferred >= total || op->asked & FERRY_SOME) {
        ferry__op_end(loop, op, (int64_t)op->transferred, 0);
    } else if (moved == 0) {
        ferry__op_end(loop, op, FERRY_EIO, 0); /* no progress and no error: not for ever */
    } else {
        go_on(loop, op);
    }
}

static void land_open(ferry_loop *loop, ferry_op *op, int64_t result) {
    int error = result == FERRY__NOT_YET ? stopped(loop, op) : 0;
    if (result == FERRY__NOT_YET && error == 0) {
        op->bits |= BIT_POLLING;
        ferry__op_start(loop, op);
        return;
    }
    if (error != 0) ferry__os_open_abandon(op);
    if (result >= 0) ferry__slot_claim(loop, (ferry_fd)result, KIND_UNKNOWN);
    ferry__op_end(loop, op, error != 0 ? error : result, 0);
}

static void land_moved(ferry_loop *loop, ferry_op *op, int64_t moved) {
    if (op->code == FERRY_OP_COPY) {
        land_copy(loop, op, moved);
    } else if (ferry__op_row(op)->result == RESULT_IN) {
        land_read(loop, op, moved);
    } else {
        land_write(loop, op, moved);
    }
}

void ferry__files_land(ferry_loop *loop, ferry_op *op, int64_t result) {
    uint32_t flags = 0;
    enum ferry__result kind = ferry__op_row(op)->result;
    bool moves = kind == RESULT_IN || kind == RESULT_OUT || op->code == FERRY_OP_COPY;
    op->bits &= (uint16_t)~BIT_BLOCKING;
    if (result == FERRY_ECANCELED && op->code != FERRY_OP_WORK && ferry__op_stopped(op) != 0) {
        result = ferry__op_stopped(op); /* a deadline, perhaps */
    }
    if (moves && result >= 0) {
        land_moved(loop, op, result);
        return;
    }
    if (op->code == FERRY_OP_OPEN) {
        land_open(loop, op, result);
        return;
    }
    if (op->code == FERRY_OP_CLOSE) {
        ferry__slot_closed(loop, op, result);
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
