/* op.c - the life of an operation between the way in (submit.c, lane.c) and the callback (loop.c).
 *
 * Backends report with records. ferry__op_land() makes a record the operation's end or the start of
 * its next step (the rest of a whole send, another try); ferry__op_stop() asks it to end early;
 * ferry__op_end() is the only way out. All on the loop's thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

/* ---- Words for the end of the program ---------------------------------------------------- */

static void complain(const char *text) {
    size_t len = 0;
    while (text[len] != '\0') len++;
    ferry__os_complain(text, len);
}

static const char *const state_names[OP_STATE_COUNT] = {
    [OP_IDLE] = "idle",
    [OP_LANE] = "waiting in its lane",
    [OP_BACKLOG] = "waiting for room with the system",
    [OP_PAUSED] = "waiting for descriptors",
    [OP_WORK_WAIT] = "waiting for room with the workers",
    [OP_CLOSING] = "closing",
    [OP_DRY] = "waiting for a buffer of its pool",
    [OP_SPENT] = "waiting for buffers to be given back",
    [OP_IN_LANE] = "with the system",
    [OP_RUNNING] = "with the system",
    [OP_WORKING] = "with a worker",
    [OP_TIMER] = "ticking",
    [OP_POSTED] = "posted",
    [OP_RETURNED] = "given back with its buffer",
    [OP_SERVED] = "waiting for its event",
    [OP_OWN] = "the library's own",
    [OP_LOOKUP] = "being looked up",
    [OP_LINKED] = "linked, not yet submitted",
    [OP_LINK_WAIT] = "waiting for the one that it is linked to",
    [OP_DONE] = "ended, its callback is next",
};

const char *ferry__op_state_name(unsigned state) {
    return state < OP_STATE_COUNT ? state_names[state] : "garbage; was it zeroed?";
}

void ferry__op_fatal(const ferry_op *op, const char *what) {
    complain("ferry: operation ");
    complain(ferry_op_name(op->code));
    complain(" ");
    complain(what);
    if (op->state != OP_IDLE) {
        complain(" (state: ");
        complain(ferry__op_state_name(op->state));
        complain(")");
    }
    complain("\n");
    ferry__trace_dump();
    ferry__os_abort();
}

void ferry__assert_failed(const char *condition, const char *file, int line) {
    char number[12];
    size_t at = sizeof number;
    number[--at] = '\0';
    for (unsigned rest = (unsigned)line; rest > 0; rest /= 10) {
        number[--at] = (char)('0' + rest % 10);
    }
    complain("ferry: broken invariant: ");
    complain(condition);
    complain(" (");
    complain(file);
    complain(":");
    complain(&number[at]);
    complain(")\n");
    ferry__trace_dump();
    ferry__os_abort();
}

/* ---- Deadlines --------------------------------------------------------------------------- */

void ferry__op_stamp_later(ferry_loop *loop, ferry_op *op) {
    op->bits |= BIT_STAMP;
    op->timer.prev = NULL;
    op->timer.next = loop->to_stamp;
    if (loop->to_stamp != NULL) loop->to_stamp->timer.prev = op;
    loop->to_stamp = op;
}

static void stamp_forget(ferry_loop *loop, ferry_op *op) {
    if (op->timer.prev != NULL) {
        op->timer.prev->timer.next = op->timer.next;
    } else {
        loop->to_stamp = op->timer.next;
    }
    if (op->timer.next != NULL) op->timer.next->timer.prev = op->timer.prev;
    op->bits &= (uint16_t)~BIT_STAMP;
}

/* Into the wheel with the earlier of a timer's expiry (op->more) and its deadline. */
void ferry__timer_arm(ferry_loop *loop, ferry_op *op, uint64_t deadline) {
    op->timer.when = deadline != 0 && deadline < op->more ? deadline : op->more;
    op->bits |= BIT_TIMED;
    ferry__wheel_add(&loop->wheel, op);
}

void ferry__op_stamp(ferry_loop *loop) {
    if (loop->to_stamp == NULL) return;
    /* A fresh clock: what was submitted late in a long callback must not end early. */
    uint64_t now = ferry__os_clock();
    /* The list is newest first; from its far end, timers of the same span keep their order. */
    ferry_op *op = loop->to_stamp;
    while (op->timer.next != NULL) op = op->timer.next;
    loop->to_stamp = NULL;
    while (op != NULL) {
        ferry_op *later = op->timer.prev;
        op->bits &= (uint16_t)~BIT_STAMP;
        uint64_t deadline = op->deadline_ns ? ferry__time_add(now, op->deadline_ns) : 0;
        if (op->code == FERRY_OP_TIMER && op->state == OP_TIMER) {
            op->more = ferry__time_add(now, op->offset);
            ferry__timer_arm(loop, op, deadline);
        } else {
            op->timer.when = deadline;
            op->bits |= BIT_TIMED;
            ferry__wheel_add(&loop->wheel, op);
        }
        op = later;
    }
}

void ferry__op_due(ferry_loop *loop, ferry_op *op) {
    op->bits &= (uint16_t)~BIT_TIMED;
    if (op->state == OP_CLOSING) {
        ferry__slot_linger(loop, op);
    } else if (op->state != OP_TIMER || op->timer.when < op->more) {
        ferry__op_stop(loop, op, true);
    } else if (op->len == 0) {
        ferry__op_end(loop, op, 0, 0);
    } else {
        uint64_t intervals = 1 + (loop->now - op->more) / op->len;
        ferry__latency_add(loop, op->code, ferry__op_began(loop, op));
        op->more = ferry__time_add(op->more, intervals * op->len);
        op->result = (int64_t)intervals;
        op->flags = FERRY_MORE;
        ferry__op_move(op, OP_DONE);
        ferry__list_push(loop->ending, op);
    }
}

/* A timer's deadline is then the longest gap. */
void ferry__op_continue(ferry_loop *loop, ferry_op *op) {
    if (op->code != FERRY_OP_TIMER) {
        ferry__served_continue(loop, op);
        return;
    }
    uint64_t deadline = op->deadline_ns;
    if (deadline != 0 && !(op->asked & FERRY_ABSOLUTE)) {
        deadline = ferry__time_add(loop->now, deadline);
    }
    ferry__op_move(op, OP_TIMER);
    ferry__timer_arm(loop, op, deadline);
}

void ferry__op_next_gap(ferry_loop *loop, ferry_op *op) {
    if (op->deadline_ns == 0 || op->asked & FERRY_ABSOLUTE) return;
    if (op->bits & BIT_TIMED) ferry__wheel_remove(&loop->wheel, op);
    op->bits &= (uint16_t)~BIT_TIMED;
    if (!(op->bits & BIT_STAMP)) ferry__op_stamp_later(loop, op);
}

/* ---- The end ----------------------------------------------------------------------------- */

void ferry__op_look_at_memory(const ferry_op *op) {
    unsigned checked = ferry__op_row(op)->checked;
    if (op->result == FERRY_EFAULT || op->buf == NULL) return;
    if ((checked & ARG_BUFFER) && op->len > 0 && FERRY__POISONED(op->buf, op->len)) {
        ferry__op_fatal(op, "ended, but its buffer is no longer the caller's memory");
    }
    if (!(checked & ARG_VECTORS) || op->len == 0) return;
    if (checked & ARG_MSG && FERRY__POISONED(ferry__msg(op), sizeof(ferry_msg))) {
        ferry__op_fatal(op, "ended, but its message is no longer the caller's memory");
    }
    if (FERRY__POISONED(op->buf, op->len * sizeof(ferry_vec))) {
        ferry__op_fatal(op, "ended, but its vectors are no longer the caller's memory");
    }
    const ferry_vec *vecs = op->buf;
    for (uint64_t i = 0; i < op->len; i++) {
        if (vecs[i].len > 0 && FERRY__POISONED(vecs[i].data, vecs[i].len)) {
            ferry__op_fatal(op, "ended, but one of its buffers is no longer the caller's memory");
        }
    }
}

void ferry__op_end(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t flags) {
    FERRY__ASSERT(op->state != OP_DONE);
    if (op->bits & BIT_TIMED) {
        ferry__wheel_remove(&loop->wheel, op);
        op->bits &= (uint16_t)~BIT_TIMED;
    }
    if (op->bits & BIT_STAMP) stamp_forget(loop, op);
    if (op->bits & BIT_CANCEL_OWED) loop->cancels_owed--;
    if (op->bits & BIT_STOPPING) loop->stopping--;
    if (op->code == FERRY_OP_OPEN && result < 0) ferry__os_open_abandon(op);
    if (op->code == FERRY_OP_READ || op->code == FERRY_OP_WRITE) ferry__pieces_let_go(loop, op);
    if (ferry__op_row(op)->result == RESULT_LENT) ferry__pool_leave(op, result);
    op->bits &= (uint16_t) ~(BIT_CANCEL_OWED | BIT_STOPPING);
    op->timer.when = ferry__op_began(loop, op);
    op->result = result;
    if (op->bits & BIT_WRITE_LANE && ferry__zerocopy_holds(loop, op, flags)) return;
    op->flags = flags;
    ferry__op_finish(loop, op);
}

void ferry__op_finish(ferry_loop *loop, ferry_op *op) {
    /* Only what the system had in its hands: arguments that were refused may be anything. */
    if (op->state == OP_IN_LANE || op->state == OP_RUNNING) ferry__op_check_memory(op);
    ferry__op_move(op, OP_DONE);
    ferry__list_push(loop->ending, op);
}

static bool stop_wanted(const ferry_op *op) {
    return (op->bits & (BIT_CANCEL | BIT_EXPIRED)) != 0;
}

static int stop_error(const ferry_op *op) {
    return op->bits & BIT_EXPIRED ? FERRY_ETIMEDOUT : FERRY_ECANCELED;
}

int ferry__op_stopped(const ferry_op *op) {
    return stop_wanted(op) ? stop_error(op) : 0;
}

/* ---- Starting what needs no lane --------------------------------------------------------- */

static struct ferry__list *running_list(ferry_loop *loop, const ferry_op *op) {
    return op->bits & BIT_SLOT ? &ferry__slot(loop, op->fd)->running : &loop->running_free;
}

void ferry__op_start(ferry_loop *loop, ferry_op *op) {
    if (loop->support[op->code] == SUPPORT_BLOCKING) {
        op->bits |= BIT_BLOCKING;
        ferry__work_submit(loop, op);
    } else if (loop->gate & GATE_NEW || loop->backlog.head != NULL ||
               !loop->backend->submit(loop, op)) {
        ferry__op_move(op, OP_BACKLOG);
        ferry__list_push(&loop->backlog, op);
    } else {
        ferry__op_move(op, OP_RUNNING);
        ferry__list_push(running_list(loop, op), op);
    }
}

void ferry__op_flush_backlog(ferry_loop *loop) {
    while (loop->backlog.head != NULL && loop->backend->submit(loop, loop->backlog.head)) {
        ferry_op *op = loop->backlog.head;
        ferry__list_remove(&loop->backlog, op);
        ferry__op_move(op, OP_RUNNING);
        ferry__list_push(running_list(loop, op), op);
    }
}

/* ---- Asking it to end early -------------------------------------------------------------- */

void ferry__op_interrupt(ferry_loop *loop, ferry_op *op) {
    (void)loop->backend->cancel(loop, op);
}

static void cancel_in_backend(ferry_loop *loop, ferry_op *op) {
    /* Gathered sends are one request, which the backend knows by its first. */
    ferry_op *known = op;
    if (op->state == OP_IN_LANE) {
        struct ferry__slot *slot = ferry__slot(loop, op->fd);
        known = slot->lane[op->bits & BIT_WRITE_LANE ? WRITE_LANE : READ_LANE].head;
    }
    if (!loop->backend->cancel(loop, known) && !(op->bits & BIT_CANCEL_OWED)) {
        op->bits |= BIT_CANCEL_OWED;
        loop->cancels_owed++;
    }
}

static void cancel_owed(ferry_loop *loop, ferry_op *op) {
    if (!(op->bits & BIT_CANCEL_OWED)) return;
    op->bits &= (uint16_t)~BIT_CANCEL_OWED;
    loop->cancels_owed--;
    cancel_in_backend(loop, op);
}

static void cancel_again(ferry_loop *loop, ferry_op *op) {
    if (op->bits & BIT_STOPPING && !(op->bits & BIT_CANCEL_OWED)) cancel_in_backend(loop, op);
}

void ferry__op_flush_cancels(ferry_loop *loop) {
    if (loop->cancels_owed > 0) ferry__each_running(loop, cancel_owed);
    if (loop->cancel_missed && loop->stopping > 0) ferry__each_running(loop, cancel_again);
    loop->cancel_missed = false;
}

/* On its way to the system, and nothing ends it early: a close. */
static bool is_past_stopping(const ferry_op *op) {
    return ferry__op_row(op)->cancel == CANCEL_NEVER &&
           (op->state == OP_BACKLOG || op->state == OP_WORK_WAIT || op->state == OP_WORKING);
}

void ferry__op_stop(ferry_loop *loop, ferry_op *op, bool expired) {
    int error = expired ? FERRY_ETIMEDOUT : FERRY_ECANCELED;
    if (is_past_stopping(op)) return;
    if (op->state != OP_IDLE) FERRY__PROBE3(stop, loop, op, expired);
    switch ((enum ferry__op_state)op->state) {
    case OP_IDLE:
    case OP_POSTED:
    case OP_RETURNED:
    case OP_CLOSING:
    case OP_OWN:
    case OP_STATE_COUNT: return;
    case OP_DONE: /* what goes on after this completion remembers it */
        if (op->flags & FERRY_MORE && !stop_wanted(op)) {
            op->bits |= expired ? BIT_EXPIRED : BIT_CANCEL;
        }
        return;
    case OP_DRY:
    case OP_SPENT:
        ferry__pool_unwait(loop, op);
        ferry__lane_end(loop, op, error);
        return;
    case OP_SERVED: ferry__served_stop(loop, op, expired); return;
    case OP_LINKED: ferry__link_withdraw(loop, op); return;
    case OP_LINK_WAIT: ferry__link_leave(loop, op); break;
    case OP_LANE:
        op->bits |= expired ? BIT_EXPIRED : BIT_CANCEL;
        ferry__lane_end(loop, op, error);
        return;
    case OP_BACKLOG: ferry__list_remove(&loop->backlog, op); break;
    case OP_PAUSED: ferry__list_remove(&loop->paused, op); break;
    case OP_WORK_WAIT:
        ferry__list_remove(&loop->work_waiting[ferry__work_class(op)], op);
        loop->work_in_loop[ferry__work_class(op)]--;
        break;
    case OP_TIMER: break;
    case OP_WORKING:
        if (!ferry__work_cancel(loop, op)) {
            /* It is remembered: for what takes another step, for a watch, since what a worker does
             * for that may be undone, and for a call that ends for it. */
            if (op->code != FERRY_OP_WORK && op->code != FERRY_OP_SPAWN && !stop_wanted(op)) {
                op->bits |= expired ? BIT_EXPIRED : BIT_CANCEL;
            }
            return;
        }
        break;
    case OP_LOOKUP:
        if (!ferry__names_cancel(loop, op)) return;
        break;
    case OP_IN_LANE:
    case OP_RUNNING:
        if (ferry__op_row(op)->cancel == CANCEL_NEVER || stop_wanted(op)) return;
        if (op->bits & BIT_NOTICE) return; /* it has ended */
        op->bits |= BIT_STOPPING | (expired ? BIT_EXPIRED : BIT_CANCEL);
        loop->stopping++;
        cancel_in_backend(loop, op);
        return;
    }
    ferry__op_end(loop, op, error, 0);
}

void ferry__op_continued(ferry_loop *loop, ferry_op *op) {
    if (op->state != OP_TIMER && op->state != OP_SERVED) return; /* the callback ended it */
    if (stop_wanted(op)) {
        ferry__op_stop(loop, op, (op->bits & BIT_EXPIRED) != 0);
    } else if (op->code == FERRY_OP_WATCH) {
        ferry__watch_continued(loop, op);
    }
}

void ferry_cancel(ferry_loop *loop, ferry_op *op) {
    ferry__loop_check(loop, op);
    ferry__loop_touch(loop);
    ferry__op_stop(loop, op, false);
}

/* ---- Records: the next step, or the end -------------------------------------------------- */

static uint64_t total_bytes(const ferry_op *op) {
    return ferry__op_row(op)->checked & ARG_VECTORS ? op->more : op->len;
}

/* Once more, where it was. */
static void again(ferry_loop *loop, ferry_op *op) {
    if (op->state == OP_IN_LANE) {
        ferry__lane_restart(loop, op);
    } else {
        ferry__list_remove(running_list(loop, op), op);
        ferry__op_start(loop, op);
    }
}

/* Off its list, ended, and on with what waited behind it. */
static void leave(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t flags) {
    if (op->state == OP_IN_LANE) {
        ferry_fd fd = op->fd;
        ferry__lane_leave(loop, op);
        ferry__op_end(loop, op, result, flags);
        ferry__lane_next(loop, fd);
    } else {
        ferry__list_remove(running_list(loop, op), op);
        ferry__op_end(loop, op, result, flags);
    }
}

void ferry__op_leave(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t flags) {
    leave(loop, op, result, flags);
}

static void transfer_failed(ferry_loop *loop, ferry_op *op, int error) {
    if (error == FERRY_ECANCELED && stop_wanted(op)) error = stop_error(op);
    if (op->state == OP_IN_LANE) {
        ferry__lane_end(loop, op, error);
    } else {
        leave(loop, op, error, 0);
    }
}

/* Once more, when all callbacks of this turn have run: what one of them takes away must not be told
 * again. */
static void again_next_turn(ferry_loop *loop, ferry_op *op) {
    ferry__list_remove(running_list(loop, op), op);
    ferry__op_move(op, OP_BACKLOG);
    ferry__list_push(&loop->backlog, op);
}

/* A multishot operation has a result and goes on: with the backend (record->flags has RECORD_MORE),
 * or as another try. One that was asked to end does so after its callback. */
ferry_op *ferry__op_more(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t record_flags) {
    ferry__op_next_gap(loop, op);
    if (!(record_flags & RECORD_MORE)) {
        if (stop_wanted(op)) {
            op->bits |= BIT_LAST;
        } else if (op->code == FERRY_OP_POLL) {
            again_next_turn(loop, op);
        } else {
            again(loop, op);
        }
    }
    ferry__latency_add(loop, op->code, ferry__op_began(loop, op));
    op->result = result;
    op->flags = FERRY_MORE;
    FERRY__PROBE5(complete, loop, op, op->code, result, FERRY_MORE);
    return op;
}

void ferry__op_last(ferry_loop *loop, ferry_op *op) {
    loop->ending = &loop->landed;
    leave(loop, op, stop_error(op), 0);
    loop->ending = &loop->finished;
}

static void land_in(ferry_loop *loop, ferry_op *op, const struct ferry__record *record) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    if (record->flags & RECORD_MORE_THERE) {
        slot->flags &= (uint16_t)~SLOT_DRAINED;
    } else {
        slot->flags |= SLOT_DRAINED;
    }
    bool message = ferry__slot_is_message(slot);
    if (record->result > 0 && (op->asked & FERRY_ALL) && !message &&
        op->transferred < total_bytes(op)) {
        if (stop_wanted(op)) {
            transfer_failed(loop, op, stop_error(op));
        } else {
            again(loop, op);
        }
        return;
    }
    bool ended = record->result == 0 && op->transferred == 0 && slot->kind != KIND_MESSAGE &&
                 total_bytes(op) > 0;
    leave(loop, op, (int64_t)op->transferred, ended ? FERRY_EOF : 0);
}

static void land_out(ferry_loop *loop, ferry_op *op, int64_t moved) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    if (moved > 0) slot->flags |= SLOT_SENT;
    if (op->transferred >= total_bytes(op) || op->asked & FERRY_SOME ||
        ferry__slot_is_message(slot)) {
        leave(loop, op, (int64_t)op->transferred, 0);
    } else if (stop_wanted(op)) {
        transfer_failed(loop, op, stop_error(op));
    } else if (moved == 0) {
        transfer_failed(loop, op, FERRY_EIO); /* no progress and no error: do not try for ever */
    } else {
        again(loop, op);
    }
}

/* The sends that shared one call: deals out what it moved, and ends those that are whole. */
static void gathered_deal(ferry_loop *loop, struct ferry__slot *slot, uint64_t moved) {
    while (slot->gathered > 0) {
        ferry_op *op = slot->lane[WRITE_LANE].head;
        uint64_t rest = op->len - op->transferred;
        if (moved < rest) {
            op->transferred += moved;
            return;
        }
        op->transferred = op->len;
        moved -= rest;
        slot->gathered--;
        ferry__lane_leave(loop, op);
        ferry__op_end(loop, op, (int64_t)op->transferred, 0);
    }
}

/* They are no longer with the backend, those that are left, but waiting again. */
static unsigned gathered_dissolve(struct ferry__slot *slot, bool *stops) {
    unsigned left = slot->gathered;
    slot->gathered = 0;
    ferry_op *op = slot->lane[WRITE_LANE].head;
    for (unsigned i = 0; i < left; i++, op = ferry__list_next(&slot->lane[WRITE_LANE], op)) {
        *stops |= stop_wanted(op);
        ferry__op_move(op, OP_LANE);
    }
    return left;
}

static void land_gathered(ferry_loop *loop, const struct ferry__record *record) {
    ferry_fd fd = record->op->fd;
    struct ferry__slot *slot = ferry__slot(loop, fd);
    int error = record->result < 0 ? record->result : 0;
    unsigned before = slot->gathered;
    if (error == 0 && !(record->flags & (RECORD_INTERRUPTED | RECORD_NOT_READY))) {
        if (record->result > 0) slot->flags |= SLOT_SENT;
        gathered_deal(loop, slot, (uint64_t)record->result);
        /* No progress and no error: do not try for ever. */
        if (record->result == 0 && slot->gathered == before) error = FERRY_EIO;
    }
    bool stops = false;
    unsigned left = gathered_dissolve(slot, &stops);
    if (stops && error == FERRY_ECANCELED) error = 0;
    if (error == FERRY_EFAULT) { /* whose memory was it? They are asked one by one. */
        slot->flags |= SLOT_ALONE;
        error = 0;
    }
    ferry_op *op = slot->lane[WRITE_LANE].head;
    if (left > 0 && record->flags & RECORD_NOT_READY) op->bits |= BIT_POLLING;
    /* The first meets the error, the others find out for themselves. Those asked to end do so. If
     * one of these had begun, all behind it have ended with it. */
    for (ferry_op *next; left > 0 && op != NULL && op->state == OP_LANE; op = next, left--) {
        next = ferry__list_next(&slot->lane[WRITE_LANE], op);
        if (error != 0 || stop_wanted(op)) {
            ferry__lane_end(loop, op, error != 0 ? error : stop_error(op));
        }
        error = 0;
    }
    ferry__lane_next(loop, fd);
}

static ferry_op *land_fd(ferry_loop *loop, ferry_op *op, const struct ferry__record *record) {
    enum ferry__fd_kind kind = KIND_UNKNOWN;
    /* What a listener accepts is of its own kind: no need to ask the system. */
    if (op->code == FERRY_OP_ACCEPT) kind = ferry__slot(loop, op->fd)->kind;
    if (op->code == FERRY_OP_OPEN) kind = record->flags >> RECORD_KIND_SHIFT;
    ferry__slot_claim(loop, (ferry_fd)record->result, kind);
    if (op->code == FERRY_OP_ACCEPT) ferry__accept_succeeded(loop);
    if (op->asked & FERRY_MULTI) return ferry__op_more(loop, op, record->result, record->flags);
    leave(loop, op, record->result, 0);
    return NULL;
}

/* What does not go away again would be told for ever: it is the last. */
static ferry_op *land_poll(ferry_loop *loop, ferry_op *op, int64_t events) {
    bool over = events & (FERRY_POLL_ERR | FERRY_POLL_HUP | FERRY_POLL_RDHUP);
    if (op->asked & FERRY_MULTI && !over) return ferry__op_more(loop, op, events, 0);
    leave(loop, op, events, 0);
    return NULL;
}

static bool is_shortage(int64_t result) {
    return result == FERRY_EMFILE || result == FERRY_ENFILE || result == FERRY_ENOBUFS ||
           result == FERRY_ENOMEM;
}

static void land_failed(ferry_loop *loop, ferry_op *op, int error) {
    if (op->code == FERRY_OP_ACCEPT && is_shortage(error) && !stop_wanted(op)) {
        ferry__list_remove(running_list(loop, op), op);
        ferry__accept_pause(loop, op);
        return;
    }
    if (error == FERRY_ECANCELED && stop_wanted(op)) error = stop_error(op);
    if (op->code == FERRY_OP_CONNECT) {
        ferry__lane_end(loop, op, error);
    } else {
        leave(loop, op, error, 0);
    }
}

/* Nothing came of it: another try, unless it was asked to end. */
static void land_again(ferry_loop *loop, ferry_op *op, uint32_t flags) {
    if (stop_wanted(op)) {
        if (op->state == OP_IN_LANE && op->code != FERRY_OP_CONNECT) {
            transfer_failed(loop, op, stop_error(op));
        } else {
            land_failed(loop, op, stop_error(op));
        }
        return;
    }
    if (flags & RECORD_NOT_READY) op->bits |= BIT_POLLING;
    again(loop, op);
}

/* The backend leaves it to a worker, from where it comes back through the inbox. */
static void land_blocks(ferry_loop *loop, ferry_op *op) {
    if (stop_wanted(op)) {
        ferry__op_end(loop, op, stop_error(op), 0);
    } else {
        op->bits |= BIT_BLOCKING;
        ferry__work_submit(loop, op);
    }
}

static ferry_op *land_one(ferry_loop *loop, ferry_op *op, const struct ferry__record *record) {
    enum ferry__result kind = ferry__op_row(op)->result;
    if (op->bits & BIT_CANCEL_OWED) {
        op->bits &= (uint16_t)~BIT_CANCEL_OWED;
        loop->cancels_owed--;
    }
    if (record->flags & RECORD_BLOCKS) {
        ferry__list_remove(running_list(loop, op), op);
        land_blocks(loop, op);
    } else if (op->code == FERRY_OP_CLOSE) {
        ferry__list_remove(&loop->running_free, op);
        if (record->flags & RECORD_INTERRUPTED) {
            ferry__op_start(loop, op);
        } else {
            ferry__slot_closed(loop, op, record->result);
        }
    } else if (op->bits & BIT_POLLING && record->result >= 0) {
        op->bits &= (uint16_t)~BIT_POLLING;
        if (kind == RESULT_LENT) ferry__pool_ready(op);
        land_again(loop, op, 0);
    } else if (record->flags & (RECORD_INTERRUPTED | RECORD_NOT_READY | RECORD_NO_BUFFER)) {
        if (kind == RESULT_LENT) ferry__pool_retry(op, record->flags);
        land_again(loop, op, record->flags);
    } else if (kind == RESULT_LENT && record->result >= 0) {
        return ferry__pool_land(loop, op, record);
    } else if (kind == RESULT_IN || kind == RESULT_OUT || kind == RESULT_LENT) {
        if (record->result < 0) {
            transfer_failed(loop, op, record->result);
            return NULL;
        }
        op->transferred += (uint64_t)record->result;
        if (record->flags & RECORD_EOF) {
            leave(loop, op, (int64_t)op->transferred, FERRY_EOF);
        } else if (kind == RESULT_IN) {
            land_in(loop, op, record);
        } else {
            land_out(loop, op, record->result);
        }
    } else if (record->result < 0) {
        land_failed(loop, op, record->result);
    } else if (kind == RESULT_FD) {
        return land_fd(loop, op, record);
    } else if (op->code == FERRY_OP_POLL) {
        return land_poll(loop, op, record->result);
    } else {
        leave(loop, op, record->result, 0);
    }
    return NULL;
}

ferry_op *ferry__op_land(ferry_loop *loop, const struct ferry__record *record) {
    ferry_op *op = record->op, *goes_on = NULL;
    if (FERRY__UNLIKELY(op->state == OP_OWN)) {
        ferry__watch_ready(loop, record);
        return NULL;
    }
    loop->ending = &loop->landed;
    if (op->state == OP_IN_LANE && op->bits & BIT_WRITE_LANE &&
        ferry__slot(loop, op->fd)->gathered > 0) {
        land_gathered(loop, record);
    } else if (!(op->asked & FERRY_ZEROCOPY) || !ferry__zerocopy_land(loop, record)) {
        goes_on = land_one(loop, op, record);
    }
    loop->ending = &loop->finished;
    return goes_on;
}

/* What came back through the inbox: a post, a lookup or work done. */
void ferry__op_arrived(ferry_loop *loop, ferry_op *op) {
    if (op->state == OP_RETURNED) {
        ferry__pool_returned(op);
    } else if (op->state == OP_POSTED) {
        loop->in_flight++;
        ferry__op_end(loop, op, 0, 0);
    } else if (op->state == OP_LOOKUP) {
        loop->lookups--;
        ferry__op_end(loop, op, ferry__names_outcome(op), 0);
    } else if (op->state == OP_OWN) {
        int64_t outcome = ferry__work_outcome(op);
        ferry__work_back(loop, op);
        loop->backend->worked(loop, op, outcome);
    } else {
        int64_t result = ferry__work_outcome(op);
        ferry__work_back(loop, op);
        if (op->code == FERRY_OP_SPAWN && result == 0) ferry__spawn_done(loop, op);
        if (op->code == FERRY_OP_WATCH) {
            ferry__watch_arrived(loop, op, result);
        } else {
            ferry__files_land(loop, op, result);
        }
    }
}
