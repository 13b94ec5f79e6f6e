/* lane.c - one slot per descriptor: the order of its two directions, closing and forgetting it.
 *
 * Systems reorder several sends or receives in flight on one stream. So the first of a lane is with
 * the backend and the others wait behind it. Sends on streams start at the turn's flush, when all
 * that a callback wanted to say is known: those that wait in one lane then share one call.
 *
 * Called by submit.c on the way in, by op.c on the way out, by loop.c at the flush.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define LINGER_NS 2000000000u     /* how long a close sees to it that nothing sent is lost */
#define LINGER_TICK_NS 1000000u   /* first look after a millisecond, */
#define LINGER_TICK_MAX 50000000u /* the later ones less and less often */
#define GATHER_BYTES_MAX 0x40000000u

/* ---- Starting the first of a lane -------------------------------------------------------- */

static bool is_send(const ferry_op *op) {
    return ferry__op_row(op)->result == RESULT_OUT;
}

/* How many sends at the head of the lane can share one call. */
static unsigned gatherable(const ferry_loop *loop, const struct ferry__list *lane) {
    unsigned count = 0;
    uint64_t bytes = 0;
    for (ferry_op *op = lane->head; op != NULL; op = ferry__list_next(lane, op)) {
        if (op->code != FERRY_OP_SEND || op->asked & FERRY_SOME || op->bits & BIT_POLLING) break;
        if (op->asked & FERRY_ZEROCOPY && op->len >= FERRY_ZEROCOPY_MIN) break;
        bytes += op->len - op->transferred;
        if (count == loop->backend->gather_max || bytes > GATHER_BYTES_MAX) break;
        count++;
    }
    return count;
}

static bool start_gathered(ferry_loop *loop, struct ferry__slot *slot) {
    struct ferry__list *lane = &slot->lane[WRITE_LANE];
    if (slot->kind != KIND_STREAM || lane->head == lane->tail) return false;
    if (slot->flags & SLOT_ALONE) {
        slot->flags &= (uint16_t)~SLOT_ALONE;
        return false;
    }
    unsigned count = gatherable(loop, lane);
    if (count < 2 || !loop->backend->submit_gathered(loop, lane->head, count)) return false;
    slot->gathered = (uint8_t)count;
    loop->stats.sends_gathered += count;
    ferry_op *op = lane->head;
    for (unsigned i = 0; i < count; i++, op = op->link.next) ferry__op_move(op, OP_IN_LANE);
    return true;
}

/* What needs no backend. */
static bool ends_here(const struct ferry__slot *slot, const ferry_op *op) {
    if (op->code == FERRY_OP_SHUTDOWN) return true;
    if (slot->flags & SLOT_BROKEN && is_send(op) && op->bits & BIT_WRITE_LANE) return true;
    bool vectored = ferry__op_row(op)->checked & ARG_VECTORS;
    /* A receive of nothing: some systems would wait for bytes that nobody wants. */
    return slot->kind == KIND_STREAM && ferry__op_row(op)->result == RESULT_IN &&
           (vectored ? op->more : op->len) == 0;
}

static void end_here(ferry_loop *loop, ferry_op *op) {
    int result = is_send(op) ? FERRY_EPIPE : 0;
    if (op->code == FERRY_OP_SHUTDOWN) {
        loop->stats.system_others++;
        result = ferry__os_shutdown(op->fd, (int)op->len);
    }
    ferry__lane_leave(loop, op);
    ferry__op_end(loop, op, result, 0);
}

/* Starts the first of a lane if it waits. */
static void lane_start(ferry_loop *loop, struct ferry__slot *slot, unsigned which) {
    struct ferry__list *lane = &slot->lane[which];
    while (lane->head != NULL && lane->head->state == OP_LANE) {
        ferry_op *op = lane->head;
        if (slot->flags & SLOT_CLOSING || (which == READ_LANE && slot->connects > 0)) return;
        if (loop->gate & GATE_NEW) {
            ferry__slot_dirty(loop, slot);
            return;
        }
        if (ends_here(slot, op)) {
            /* In order with what the backend ends, hence onto the same list; and not while it is
             * being submitted, or a chain of such operations would hold up all others. */
            if (loop->ending != &loop->landed) {
                ferry__slot_dirty(loop, slot);
                return;
            }
            end_here(loop, op);
            continue;
        }
        if (which == WRITE_LANE && start_gathered(loop, slot)) return;
        if (ferry__op_row(op)->result == RESULT_LENT && !ferry__pool_prepare(loop, op)) return;
        if (loop->backend->submit(loop, op)) {
            ferry__op_move(op, OP_IN_LANE);
        } else {
            ferry__slot_dirty(loop, slot);
        }
        return;
    }
}

/* Sends on streams wait for the flush, everything else goes at once. */
static void lane_begin(ferry_loop *loop, struct ferry__slot *slot, unsigned which) {
    if (which == WRITE_LANE && slot->kind == KIND_STREAM && slot->lane[which].head != NULL) {
        if (slot->lane[which].head->state == OP_LANE) ferry__slot_dirty(loop, slot);
    } else {
        lane_start(loop, slot, which);
    }
}

void ferry__lane_next(ferry_loop *loop, ferry_fd fd) {
    struct ferry__slot *slot = ferry__slot(loop, fd);
    lane_begin(loop, slot, WRITE_LANE);
    lane_begin(loop, slot, READ_LANE);
}

void ferry__lane_restart(ferry_loop *loop, ferry_op *op) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    ferry__op_move(op, OP_LANE);
    ferry__slot_dirty(loop, slot);
}

/* ---- Into a lane and out of it ----------------------------------------------------------- */

static void lane_push(ferry_loop *loop, struct ferry__slot *slot, ferry_op *op, unsigned which) {
    if (which == WRITE_LANE) op->bits |= BIT_WRITE_LANE;
    if (op->code == FERRY_OP_CONNECT) slot->connects++;
    ferry__op_move(op, OP_LANE);
    ferry__list_push(&slot->lane[which], op);
    if (slot->lane[which].head == op) lane_begin(loop, slot, which);
}

void ferry__lane_leave(ferry_loop *loop, ferry_op *op) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    ferry__list_remove(&slot->lane[op->bits & BIT_WRITE_LANE ? WRITE_LANE : READ_LANE], op);
    if (op->code == FERRY_OP_CONNECT) slot->connects--;
}

/* The first that waits behind those that are with the backend. */
static ferry_op *first_waiting(const struct ferry__list *lane) {
    ferry_op *op = lane->head;
    while (op != NULL && op->state != OP_LANE) op = ferry__list_next(lane, op);
    return op;
}

/* Ends op and all behind it in its lane; none of them is with the backend. */
static void end_from(ferry_loop *loop, struct ferry__list *lane, ferry_op *op) {
    for (ferry_op *next; op != NULL; op = next) {
        next = ferry__list_next(lane, op);
        ferry__lane_leave(loop, op);
        ferry__op_end(loop, op, FERRY_ECANCELED, 0);
    }
}

/* Does a write that stops here leave a hole in its stream, after which nothing may follow? */
static bool is_cut(const struct ferry__slot *slot, const ferry_op *op) {
    bool stream = slot->kind == KIND_STREAM || slot->kind == KIND_PIPE ||
                  slot->kind == KIND_CHARACTER;
    return stream && is_send(op) && op->transferred > 0;
}

/* Ends op without what waits behind it going on: true if that was broken. */
static bool end_and_break(ferry_loop *loop, ferry_op *op, int error) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    struct ferry__list *reads = &slot->lane[READ_LANE], *writes = &slot->lane[WRITE_LANE];
    bool connects = op->code == FERRY_OP_CONNECT, cut = is_cut(slot, op);
    ferry_op *behind = connects || cut ? ferry__list_next(writes, op) : NULL;
    ferry__lane_leave(loop, op);
    ferry__op_end(loop, op, error, 0);
    if (cut) slot->flags |= SLOT_BROKEN;
    end_from(loop, writes, behind);
    /* Receives that wait behind one that is with the system were there before the connect. */
    if (connects && reads->head != NULL && reads->head->state == OP_LANE) {
        end_from(loop, reads, reads->head);
    }
    return cut || connects;
}

void ferry__lane_end(ferry_loop *loop, ferry_op *op, int error) {
    ferry_fd fd = op->fd;
    if (!end_and_break(loop, op, error)) ferry__lane_next(loop, fd);
}

/* Which lane op belongs into: READ_LANE, WRITE_LANE, -1 for none, or an error. */
static int lane_of(const ferry_op *op, enum ferry__fd_kind kind) {
    const struct ferry__op_row *row = ferry__op_row(op);
    bool takes = row->result == RESULT_IN || row->result == RESULT_LENT;
    int direction = takes ? READ_LANE : WRITE_LANE;
    if (row->lane == LANE_FREE || row->lane == LANE_ALOOF) return -1;
    if (op->code == FERRY_OP_READ_POOL && (kind == KIND_FILE || kind == KIND_OTHER)) {
        return FERRY_EINVAL;
    }
    if (op->code == FERRY_OP_SENDMSG && kind == KIND_STREAM && ferry__msg_is_hollow(op)) {
        return FERRY_EINVAL;
    }
    if (row->lane != LANE_POSITION) return direction;
    bool current = op->offset == FERRY_CURRENT;
    if (!current && op->offset > (uint64_t)INT64_MAX) return FERRY_EINVAL;
    switch (kind) {
    case KIND_FILE: return current ? WRITE_LANE : -1; /* both directions move one position */
    case KIND_STREAM:
    case KIND_MESSAGE:
    case KIND_SEQPACKET:
    case KIND_PIPE: return current ? direction : FERRY_ESPIPE;
    case KIND_UNKNOWN:
    case KIND_CHARACTER:
    case KIND_OTHER: return current ? direction : -1;
    }
    return -1;
}

int ferry__slot_provide(ferry_loop *loop, ferry_fd fd) {
    uint64_t number = ferry__fd_number(fd);
    if (FERRY__LIKELY(number < loop->slot_count)) return 0;
    if (number >= loop->slot_limit) return FERRY_EMFILE;
    uint64_t count = (number / FERRY__SLOTS_MORE + 1) * FERRY__SLOTS_MORE;
    if (count > loop->slot_limit) count = loop->slot_limit;
    size_t more = (size_t)count - loop->slot_count;
    if (!ferry__os_commit(&loop->slots[loop->slot_count], more * sizeof *loop->slots) ||
        !ferry__os_commit(&loop->spares[loop->slot_count], more * sizeof *loop->spares)) {
        return FERRY_ENOMEM;
    }
    loop->slot_count = (uint32_t)count;
    return 0;
}

static int ask_kind(ferry_loop *loop, ferry_fd fd) {
    loop->stats.system_others++;
    return ferry__os_fd_kind(fd);
}

int ferry__slot_kind(ferry_loop *loop, ferry_fd fd, bool ask) {
    struct ferry__slot *slot = ferry__slot(loop, fd);
    int kind = slot->kind;
    if (FERRY__UNLIKELY(slot->flags & SLOT_CLOSING)) return FERRY_EBADF;
    if (kind == KIND_UNKNOWN) {
        if (ask) {
            kind = ask_kind(loop, fd);
            if (kind > 0 && !(slot->flags & SLOT_LEAVING)) slot->kind = (uint8_t)kind;
        }
        ferry__slot_used(loop, fd);
    }
    return kind;
}

void ferry__lane_submit(ferry_loop *loop, ferry_op *op) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    int kind = ferry__slot_kind(loop, op->fd, ferry__op_row(op)->lane != LANE_ALOOF);
    int lane = kind < 0 ? kind : lane_of(op, (enum ferry__fd_kind)kind);
    if (lane < -1) {
        ferry__op_end(loop, op, lane, 0);
        return;
    }
    op->bits |= BIT_SLOT;
    slot->busy++;
    if (is_send(op) && ferry__slot_is_message(slot)) op->asked |= ASKED_MESSAGE;
    if (ferry__op_row(op)->result == RESULT_LENT) ferry__op_pool(op)->users++;
    if (op->code == FERRY_OP_SENDFILE) ferry__sendfile_hold(loop, op);
    if (lane >= 0) {
        lane_push(loop, slot, op, (unsigned)lane);
    } else {
        ferry__op_start(loop, op);
    }
}

void ferry__pair_submit(ferry_loop *loop, ferry_op *op) {
    ferry_fd second = ferry__op_second(op);
    if (second != FERRY_FD_NONE) {
        int kind = ferry__slot_kind(loop, second, true);
        if (kind < 0) {
            ferry__op_end(loop, op, kind, 0);
            return;
        }
        ferry__slot(loop, second)->busy++;
        op->bits |= BIT_SECOND;
    }
    if (op->fd != FERRY_FD_NONE) {
        ferry__lane_submit(loop, op);
    } else {
        ferry__op_start(loop, op);
    }
}

/* ---- The flush --------------------------------------------------------------------------- */

static void close_begin(ferry_loop *loop, struct ferry__slot *slot);

/* One plain send alone in its lane, and nothing else to do in the slot: the ordinary case. */
static bool flush_ordinary(ferry_loop *loop, struct ferry__slot *slot) {
    struct ferry__list *lane = &slot->lane[WRITE_LANE];
    ferry_op *op = lane->head;
    if (op == NULL || op != lane->tail || !ferry__slot_is_ordinary(slot) ||
        !ferry__op_is_plain_send(op, OP_LANE) ||
        (slot->lane[READ_LANE].head != NULL && slot->lane[READ_LANE].head->state == OP_LANE) ||
        !loop->backend->submit_send(loop, op)) {
        return false;
    }
    ferry__op_move(op, OP_IN_LANE);
    return true;
}

void ferry__lane_flush(ferry_loop *loop) {
    struct ferry__slot *slot = loop->dirty_first;
    loop->dirty_first = loop->dirty_last = NULL;
    loop->ending = &loop->landed;
    while (slot != NULL) {
        struct ferry__slot *next = slot->next_dirty;
        slot->flags &= (uint16_t)~SLOT_DIRTY;
        if (flush_ordinary(loop, slot)) {
            slot = next;
            continue;
        }
        if (slot->flags & SLOT_CLOSING) {
            if (slot->busy == 0 && !(slot->flags & SLOT_LINGERING)) close_begin(loop, slot);
        } else {
            lane_start(loop, slot, WRITE_LANE);
            lane_start(loop, slot, READ_LANE);
        }
        slot = next;
    }
    loop->ending = &loop->finished;
}

/* ---- Cancelling all, forgetting, claiming ------------------------------------------------ */

static void list_stop(ferry_loop *loop, struct ferry__list *list, ferry_fd fd) {
    ferry_op *next;
    for (ferry_op *op = list->head; op != NULL; op = next) {
        next = ferry__list_next(list, op);
        if (ferry__op_uses(op, fd)) ferry__op_stop(loop, op, false);
    }
}

void ferry__slot_cancel(ferry_loop *loop, ferry_fd fd) {
    struct ferry__slot *slot = ferry__slot(loop, fd);
    for (unsigned which = READ_LANE; which <= WRITE_LANE; which++) {
        struct ferry__list *lane = &slot->lane[which];
        ferry_op *op = lane->head;
        if (op != NULL && (op->state == OP_DRY || op->state == OP_SPENT)) {
            ferry__pool_unwait(loop, op);
        }
        while (op != NULL && op->state == OP_IN_LANE) {
            ferry__op_stop(loop, op, false);
            op = ferry__list_next(lane, op);
        }
        while ((op = first_waiting(lane)) != NULL) {
            op->bits |= BIT_CANCEL;
            end_and_break(loop, op, FERRY_ECANCELED);
        }
    }
    list_stop(loop, &slot->running, fd);
    list_stop(loop, &loop->backlog, fd);
    list_stop(loop, &loop->paused, fd);
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        list_stop(loop, &loop->work_waiting[class], fd);
    }
    while (slot->busy > 0 && ferry__work_cancel_any(loop, fd)) {
    }
    if (slot->busy > 0 && loop->sendfiles > 0) ferry__sendfile_cancel(loop, fd);
}

void ferry_cancel_fd(ferry_loop *loop, ferry_fd fd) {
    ferry__loop_check(loop, NULL);
    if (fd < 0 || !ferry__slot_is_there(loop, fd)) return;
    ferry__loop_touch(loop);
    ferry__link_stop_fd(loop, fd, false);
    ferry__slot_cancel(loop, fd);
}

/* As if the number had never been used. */
static void slot_reset(struct ferry__slot *slot, uint16_t flags) {
    slot->generation++;
    slot->kind = KIND_UNKNOWN;
    slot->flags = (uint16_t)((slot->flags & SLOT_DIRTY) | flags);
    slot->lent = 0;
}

int ferry_forget(ferry_loop *loop, ferry_fd fd) {
    ferry__loop_check(loop, NULL);
    if (fd < 0 || ferry__slot_provide(loop, fd) != 0) return FERRY_EBADF;
    struct ferry__slot *slot = ferry__slot(loop, fd);
    if (slot->flags & SLOT_CLOSING) return FERRY_EBADF;
    if (slot->busy > 0) return FERRY_EBUSY;
    if (loop->backend->forget != NULL) loop->backend->forget(loop, fd);
    slot_reset(slot, 0);
    return 0;
}

void ferry__slot_claim(ferry_loop *loop, ferry_fd fd, enum ferry__fd_kind kind) {
    if (ferry__slot_provide(loop, fd) != 0) return;
    struct ferry__slot *slot = ferry__slot(loop, fd);
    if (slot->busy == 0 && !(slot->flags & SLOT_CLOSING)) {
        if (loop->backend->claimed != NULL) loop->backend->claimed(loop, fd);
        slot_reset(slot, 0);
    }
    slot->kind = (uint8_t)kind;
    ferry__slot_used(loop, fd);
}

/* ---- Closing ----------------------------------------------------------------------------- */

void ferry__slot_close(ferry_loop *loop, ferry_op *op) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    int kind = slot->kind;
    if (kind == KIND_UNKNOWN) kind = ask_kind(loop, op->fd);
    if (kind < 0 || slot->flags & SLOT_CLOSING) {
        ferry__op_end(loop, op, FERRY_EBADF, 0);
        return;
    }
    ferry__slot_used(loop, op->fd);
    /* Not without need: what is in flight may be with a thread that looks at it. */
    if (slot->kind == KIND_UNKNOWN) slot->kind = (uint8_t)kind;
    ferry__link_stop_fd(loop, op->fd, true);
    ferry__slot_cancel(loop, op->fd);
    slot->flags |= SLOT_CLOSING;
    slot->closer = op;
    ferry__op_move(op, OP_CLOSING);
    if (slot->busy == 0) ferry__slot_dirty(loop, slot);
    if (ferry__zerocopy_waits(slot) && !(op->bits & (BIT_TIMED | BIT_STAMP))) {
        op->timer.when = ferry__time_add(loop->now, LINGER_NS);
        op->bits |= BIT_TIMED;
        ferry__wheel_add(&loop->wheel, op);
    }
}

/* To the system: from here on the number may come back as anybody's. */
static void close_hand_over(ferry_loop *loop, struct ferry__slot *slot) {
    ferry_op *op = slot->closer;
    if (!loop->backend->submit(loop, op)) {
        ferry__slot_dirty(loop, slot);
        return;
    }
    op->bits |= BIT_HANDED;
    ferry__op_move(op, OP_RUNNING);
    ferry__list_push(&loop->running_free, op);
    slot->closer = NULL;
    slot_reset(slot, SLOT_LEAVING);
}

/* Input that lies unread makes TCP answer a close with a reset, and a reset overtakes and destroys
 * what was sent before it. So: end our side, then read and discard until the peer has it all. */
static void linger_begin(ferry_loop *loop, struct ferry__slot *slot) {
    ferry_op *op = slot->closer;
    uint64_t limit = ferry__time_add(loop->now, LINGER_NS);
    if (op->bits & BIT_TIMED) {
        limit = op->timer.when;
        ferry__wheel_remove(&loop->wheel, op);
        op->bits &= (uint16_t)~BIT_TIMED;
    }
    slot->flags |= SLOT_LINGERING;
    op->more = limit;
    op->len = LINGER_TICK_NS;
    loop->stats.system_others++;
    (void)ferry__os_shutdown(op->fd, FERRY_SHUT_WRITE);
    ferry__slot_linger(loop, op);
}

void ferry__slot_linger(ferry_loop *loop, ferry_op *op) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    if (!(slot->flags & SLOT_LINGERING)) { /* the others are still ending: no time to linger then */
        op->bits |= BIT_EXPIRED;
        if (slot->flags & SLOT_NOTICE) ferry__zerocopy_abandon(loop, op->fd);
        return;
    }
    loop->stats.system_others++;
    uint64_t began = ferry__os_clock();
    bool settled = ferry__os_settled(op->fd);
    if (!settled && loop->now < op->more) {
        /* Where a look takes long (Windows before 1703 goes through all connections), that is not
         * held against the peer, which has as long again until the next. */
        uint64_t took = ferry__os_clock() - began;
        uint64_t pause = op->len > took ? op->len : took;
        op->more = ferry__time_add(op->more, took);
        op->timer.when = ferry__time_add(ferry__time_add(loop->now, took), pause);
        if (op->timer.when > op->more) op->timer.when = op->more;
        if (op->len < LINGER_TICK_MAX) op->len *= 2;
        op->bits |= BIT_TIMED;
        ferry__wheel_add(&loop->wheel, op);
        return;
    }
    if (!settled) op->bits |= BIT_EXPIRED;
    slot->flags &= (uint16_t)~SLOT_LINGERING;
    slot->flags &= (uint16_t)~SLOT_SENT; /* done with that, should the hand-over need a second try
                                          */
    close_hand_over(loop, slot);
}

static void close_begin(ferry_loop *loop, struct ferry__slot *slot) {
    ferry_op *op = slot->closer;
    bool lingers = false;
    if (slot->kind == KIND_STREAM && slot->flags & SLOT_SENT) {
        loop->stats.system_others++;
        lingers = ferry__os_unread(op->fd);
    }
    if (lingers && !(op->bits & BIT_EXPIRED)) {
        linger_begin(loop, slot);
    } else {
        if (lingers) op->bits |= BIT_EXPIRED;
        close_hand_over(loop, slot);
    }
}

void ferry__slot_closed(ferry_loop *loop, ferry_op *op, int64_t result) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    slot->flags &= (uint16_t)~SLOT_LEAVING;
    if (result == 0 && op->bits & BIT_EXPIRED) result = FERRY_ETIMEDOUT;
    ferry__op_end(loop, op, result, 0);
    ferry__accept_hurry(loop);
}
