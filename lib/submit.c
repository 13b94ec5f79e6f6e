/* submit.c - the way in: the public calls fill the operation, its row says what to check, and it
 * goes where its kind belongs: a lane, the backend, the wheel, the workers.
 *
 * Nothing here fails, blocks, calls back or allocates (rule 1): what is wrong becomes the
 * operation's completion. Next station: lane.c for what has a descriptor, op.c for what has none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define LENGTH_MAX ((uint64_t)INT64_MAX)
#define ORDINARY_BYTES_MAX 0x40000000u /* what every system moves in one call */

/* ---- Checks ------------------------------------------------------------------------------ */

/* Sets op->more to the bytes that the vectors hold. */
static int vectors_check(ferry_op *op) {
    const ferry_vec *vecs = op->buf;
    op->more = 0;
    if (op->len > 0 && vecs == NULL) return FERRY_EFAULT;
    for (uint64_t i = 0; i < op->len; i++) {
        if (vecs[i].data == NULL && vecs[i].len > 0) return FERRY_EFAULT;
        if (vecs[i].len > LENGTH_MAX - op->more) return FERRY_EINVAL;
        op->more += vecs[i].len;
    }
    return 0;
}

static int rare_check(const ferry_loop *loop, ferry_op *op, unsigned checked) {
    if (checked & ARG_POOL) {
        if (op->buf == NULL) return FERRY_EFAULT;
        op->len = 0;
        op->offset = op->more = 0;
        if (ferry__op_pool(op)->loop != loop) return FERRY_EINVAL;
        bool fits = ferry__op_pool(op)->size > FERRY_MSG_ROOM;
        return op->code != FERRY_OP_RECVMSG_POOL || fits ? 0 : FERRY_EINVAL;
    }
    if (checked & ARG_MSG) {
        int error = ferry__msg_check(op);
        if (error != 0) return error;
    }
    if (checked & ARG_VECTORS) return vectors_check(op);
    if (checked & ARG_ADDR) return op->buf ? ferry__os_addr_check(op->buf) : FERRY_EFAULT;
    if (checked & ARG_QUERY) return ferry__names_check(op);
    if ((checked & ARG_PATH) && op->buf == NULL) return FERRY_EFAULT;
    if (checked & ARG_WAIT) return ferry__wait_check(op);
    if ((checked & ARG_FILE) && op->more == 0) return FERRY_EFAULT;
    if (checked & ARG_FILES) return ferry__files_check(op);
    if ((checked & ARG_CALL) && op->offset == 0) return FERRY_EFAULT;
    if ((checked & ARG_LENGTH) && op->len > LENGTH_MAX) return FERRY_EINVAL;
    if (op->code == FERRY_OP_ACCEPT && op->asked & FERRY_MULTI && op->buf != NULL) {
        return FERRY_EINVAL; /* one address for many */
    }
    if ((checked & ARG_HOW) && (op->len < FERRY_SHUT_READ || op->len > FERRY_SHUT_BOTH)) {
        return FERRY_EINVAL;
    }
    return 0;
}

static int fd_check(ferry_loop *loop, ferry_fd fd) {
    return fd < 0 ? FERRY_EBADF : ferry__slot_provide(loop, fd);
}

/* Descriptors that may be the current directory instead, and second ones. */
static int dirs_check(ferry_loop *loop, const ferry_op *op, unsigned checked) {
    int error = 0;
    if (checked & ARG_DIR && op->fd != FERRY_FD_NONE) error = fd_check(loop, op->fd);
    if (error != 0 || !(checked & ARG_SECOND)) return error;
    ferry_fd second = ferry__op_second(op);
    return checked & ARG_DIR && second == FERRY_FD_NONE ? 0 : fd_check(loop, second);
}

static int op_check(ferry_loop *loop, ferry_op *op, const struct ferry__op_row *row) {
    if (op->asked & FERRY_PUT && !ferry__pool_owns(loop, op)) {
        op->asked &= ~FERRY_PUT;
        return FERRY_EINVAL;
    }
    if (op->asked & ~row->flags) return FERRY_EINVAL;
    if (loop->support[op->code] == SUPPORT_NONE) return FERRY_ENOTSUP;
    if (row->checked & ARG_FD) {
        int error = fd_check(loop, op->fd);
        if (error != 0) return error;
    }
    if (row->checked & (ARG_DIR | ARG_SECOND)) {
        int error = dirs_check(loop, op, row->checked);
        if (error != 0) return error;
    }
    if (row->checked & ARG_BUFFER) {
        if (op->buf == NULL && op->len > 0) return FERRY_EFAULT;
        return op->len > LENGTH_MAX ? FERRY_EINVAL : 0;
    }
    if (op->code == FERRY_OP_SENDFILE) return ferry__sendfile_check(loop, op);
    return rare_check(loop, op, row->checked & ~(unsigned)ARG_FD);
}

/* ---- Letting in -------------------------------------------------------------------------- */

static void deadline_begin(ferry_loop *loop, ferry_op *op) {
    if (op->asked & FERRY_ABSOLUTE) {
        op->timer.when = op->deadline_ns;
        op->bits |= BIT_TIMED;
        ferry__wheel_add(&loop->wheel, op);
    } else {
        ferry__op_stamp_later(loop, op);
    }
}

static void timer_begin(ferry_loop *loop, ferry_op *op) {
    ferry__op_move(op, OP_TIMER);
    if (op->asked & FERRY_ABSOLUTE) {
        op->more = op->offset;
        ferry__timer_arm(loop, op, op->deadline_ns);
    } else {
        ferry__op_stamp_later(loop, op);
    }
}

static void route(ferry_loop *loop, ferry_op *op, const struct ferry__op_row *row) {
    if (row->checked & ARG_SECOND) {
        ferry__pair_submit(loop, op);
    } else if (row->checked & ARG_FD || (row->checked & ARG_DIR && op->fd != FERRY_FD_NONE)) {
        if (row->lane == LANE_CLOSE) {
            ferry__slot_close(loop, op);
        } else {
            ferry__lane_submit(loop, op);
        }
    } else if (op->code == FERRY_OP_WORK) {
        ferry__work_submit(loop, op);
    } else if (row->lane == LANE_SERVED) {
        ferry__served_submit(loop, op);
    } else if (op->code == FERRY_OP_RESOLVE) {
        ferry__names_submit(loop, op);
    } else {
        ferry__op_start(loop, op);
    }
}

/* Counts the operation in and sends it on its way. Its fields say what was asked. */
void ferry__submit(ferry_loop *loop, ferry_op *op) {
    const struct ferry__op_row *row = ferry__op_row(op);
    ferry__loop_check(loop, op);
    ferry__loop_touch(loop);
    if (FERRY__UNLIKELY(loop->gate & GATE_STALE)) ferry__loop_look_at_clock(loop);
    if (FERRY__UNLIKELY(op->state == OP_LINKED)) {
        op->asked &= ~ASKED_LINKED;
    } else {
        op->transferred = 0; /* else it says for whom it waits */
    }
    FERRY__PROBE5(submit, loop, op, op->code, op->fd, op->len);
    ferry__op_begins(loop, op);
    op->bits = 0;
    loop->in_flight++;
    if (op->asked & FERRY_BACKGROUND) {
        op->bits = BIT_BACKGROUND;
        loop->background++;
    }

    if (op->asked & FERRY_ZEROCOPY) op->flags = 0;
    int error = op_check(loop, op, row);
    if (FERRY__UNLIKELY(loop->gate & GATE_DRAIN) && op->code != FERRY_OP_CLOSE) {
        error = FERRY_ECLOSED;
    }
    if (FERRY__UNLIKELY(op->state == OP_LINKED) && ferry__link_waits(loop, op, &error)) {
        if (op->deadline_ns != 0) deadline_begin(loop, op);
        return;
    }
    if (FERRY__UNLIKELY(error != 0) || op->code == FERRY_OP_NOP) {
        ferry__op_end(loop, op, error, 0);
    } else if (op->code == FERRY_OP_TIMER) {
        timer_begin(loop, op);
    } else {
        if (op->deadline_ns != 0) deadline_begin(loop, op);
        route(loop, op, row);
    }
}

/* A timer's own time begins now; its deadline, if it has one, began when it was submitted. */
static void timer_begin_waited(ferry_loop *loop, ferry_op *op) {
    if (op->bits & BIT_STAMP) { /* in this very turn: both begin at the flush */
        ferry__op_move(op, OP_TIMER);
    } else if (op->bits & BIT_TIMED) {
        uint64_t deadline = op->timer.when;
        uint64_t begin = op->asked & FERRY_ABSOLUTE ? 0 : ferry__os_clock();
        ferry__wheel_remove(&loop->wheel, op);
        op->more = ferry__time_add(begin, op->offset);
        ferry__op_move(op, OP_TIMER);
        ferry__timer_arm(loop, op, deadline);
    } else {
        timer_begin(loop, op);
    }
}

void ferry__submit_waited(ferry_loop *loop, ferry_op *op) {
    if (op->code == FERRY_OP_NOP) {
        ferry__op_end(loop, op, 0, 0);
    } else if (op->code == FERRY_OP_TIMER) {
        timer_begin_waited(loop, op);
    } else {
        route(loop, op, ferry__op_row(op));
    }
}

/* A plain receive or send with nothing out of the ordinary about it, alone in its lane on a stream:
 * most of what servers do, so that it has a short way in. allowed: flags that make no difference to
 * that. False, with nothing changed, if it is not one. Its way out is land_ordinary() in loop.c. */
static FERRY__ALWAYS_INLINE bool submit_ordinary(ferry_loop *loop, ferry_op *op, unsigned which,
                                                 uint32_t allowed, ferry_fd fd, const void *buf,
                                                 uint64_t len, unsigned flags, ferry_cb *cb) {
    uint32_t unusual = (flags & ~allowed) | loop->gate | op->state;
    if (unusual != OP_IDLE || loop->fork_count != ferry__os_fork_count || op->deadline_ns != 0 ||
        buf == NULL || len - 1 >= ORDINARY_BYTES_MAX || !ferry__slot_is_there(loop, fd)) {
        return false;
    }
    struct ferry__slot *slot = ferry__slot(loop, fd);
    struct ferry__list *lane = &slot->lane[which];
    if (lane->head != NULL || !ferry__slot_is_ordinary(slot)) return false;
    op->done = cb;
    op->fd = fd;
    op->buf = buf;
    op->len = len;
    op->transferred = 0;
    ferry__op_begins(loop, op);
    op->asked = allowed == 0 ? 0 : flags;
    op->code = which == WRITE_LANE ? FERRY_OP_SEND : FERRY_OP_RECV;
    op->bits = which == WRITE_LANE ? BIT_SLOT | BIT_WRITE_LANE : BIT_SLOT;
    if (FERRY__DEBUG) ferry__loop_check(loop, op);
    ferry__op_move(op, OP_LANE);
    FERRY__PROBE5(submit, loop, op, which == WRITE_LANE ? FERRY_OP_SEND : FERRY_OP_RECV, fd, len);
    loop->in_flight++;
    slot->busy++;
    lane->head = op;
    lane->tail = op;
    if (which == WRITE_LANE) {
        ferry__slot_dirty(loop, slot);
    } else if (FERRY__LIKELY(loop->backend->submit_receive(loop, op))) {
        ferry__op_move(op, OP_IN_LANE);
    } else {
        ferry__slot_dirty(loop, ferry__slot(loop, op->fd));
    }
    return true;
}

void ferry_again(ferry_loop *loop, ferry_op *op) {
    if (op->state != OP_IDLE && op->state != OP_LINKED) {
        ferry__op_fatal(op, "was submitted again while it is in flight");
    }
    if (op->code == FERRY_OP_NONE || op->code >= FERRY_OP_COUNT || op->code == FERRY_OP_POST) {
        ferry__op_fatal(op, "cannot be submitted again: it was never submitted, or is a post");
    }
    ferry__submit(loop, op);
}

/* ---- What needs no descriptor, and what everybody does -------------------------------------- */

void ferry_nop(ferry_loop *loop, ferry_op *op, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_NOP, FERRY_FD_NONE, NULL, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_timer(ferry_loop *loop, ferry_op *op, uint64_t first_ns, uint64_t every_ns,
                 unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_TIMER, FERRY_FD_NONE, NULL, every_ns, flags, cb);
    op->offset = first_ns;
    ferry__submit(loop, op);
}

void ferry_work(ferry_loop *loop, ferry_op *op, ferry_work_fn *fn, void *arg, unsigned flags,
                ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_WORK, FERRY_FD_NONE, arg, 0, flags, cb);
    op->offset = (uint64_t)(uintptr_t)fn;
    ferry__submit(loop, op);
}

void ferry_recv(ferry_loop *loop, ferry_op *op, ferry_fd fd, void *buf, size_t len, unsigned flags,
                ferry_cb *cb) {
    if (submit_ordinary(loop, op, READ_LANE, 0, fd, buf, len, flags, cb)) return;
    ferry__fill(op, FERRY_OP_RECV, fd, buf, len, flags, cb);
    ferry__submit(loop, op);
}

/* With FERRY_PUT, which only the operations of lent buffers may have. It is filled already. */
static FERRY__NOINLINE void send_put(ferry_loop *loop, ferry_op *op) {
    if (!ferry__pool_owns(loop, op) || !submit_ordinary(loop, op, WRITE_LANE, FERRY_PUT, op->fd,
                                                        op->buf, op->len, op->asked, op->done)) {
        ferry__submit(loop, op);
    }
}

void ferry_send(ferry_loop *loop, ferry_op *op, ferry_fd fd, const void *buf, size_t len,
                unsigned flags, ferry_cb *cb) {
    if (flags & FERRY_PUT) {
        ferry__fill(op, FERRY_OP_SEND, fd, buf, len, flags, cb);
        send_put(loop, op);
    } else if (!submit_ordinary(loop, op, WRITE_LANE, 0, fd, buf, len, flags, cb)) {
        ferry__fill(op, FERRY_OP_SEND, fd, buf, len, flags, cb);
        ferry__submit(loop, op);
    }
}

/* A close that nobody wants to hear of has an operation of the loop's own: one of a reserve as
 * large as the table of slots, of which only what was ever needed at once takes memory. */
static void spare_done(ferry_op *op) {
    ferry_loop *loop = op->user;
    op->link.next = loop->spare;
    loop->spare = op;
}

static ferry_op *spare_take(ferry_loop *loop) {
    ferry_op *op = loop->spare;
    if (op != NULL) {
        loop->spare = op->link.next;
    } else if (loop->spares_used < loop->slot_count) {
        op = &loop->spares[loop->spares_used++];
        op->user = loop;
    }
    return op;
}

void ferry_close(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags, ferry_cb *cb) {
    if (op == NULL) {
        /* Also what keeps the reserve sufficient: at most one of them for each slot. */
        if (fd < 0 || ferry__slot_provide(loop, fd) != 0) return;
        if (ferry__slot(loop, fd)->flags & SLOT_CLOSING) return;
        op = spare_take(loop);
        if (op == NULL) return;
        op->deadline_ns = 0;
        cb = spare_done;
    }
    ferry__fill(op, FERRY_OP_CLOSE, fd, NULL, 0, flags, cb);
    ferry__submit(loop, op);
}
