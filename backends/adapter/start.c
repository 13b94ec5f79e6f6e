/* start.c - the way in: an operation is tried, or parked at its descriptor; and the way to end it.
 *
 * What may succeed is tried at once, in the same call: sends, receives when something may have
 * come, files that are cached. The rest is parked. All on the loop's thread, with the baton.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../posix/system.h"
#include "../posix/calls.h"
#include "../posix/readiness.h"

#include <errno.h>

/* ---- Slots ------------------------------------------------------------------------------- */

void ferry__adapter_claimed(ferry_loop *loop, ferry_fd fd) {
    struct adapter *adapter = adapter_of(loop);
    adapter_take(adapter);
    adapter_reset(adapter_slot(adapter, fd));
    adapter_release(adapter);
}

/* A descriptor that the adapter has made for itself, where one operation waits. */
static void own_park(struct adapter *adapter, ferry_op *op, int fd) {
    if ((uint64_t)fd >= adapter->loop->slot_count) {
        (void)ferry__calls.close(fd);
        adapter_put(&adapter->to_loop, op, -EMFILE, 0);
        return;
    }
    struct adapter_slot *slot = adapter_slot(adapter, fd);
    adapter_reset(slot);
    slot->is_own = true;
    op->offset = (uint64_t)(int64_t)fd;
    int error = ferry__adapter_register(adapter, fd);
    if (error != 0) {
        /* It may have become ready since, and just that may keep it from being watched. */
        bool polls = op->code == FERRY_OP_POLL && error == -EPERM;
        unsigned events = polls ? ferry__posix_look(fd, (unsigned)op->len) : 0;
        (void)ferry__calls.close(fd);
        adapter_reset(slot);
        if (events != 0) {
            adapter_put(&adapter->to_loop, op, (int32_t)events, 0);
            return;
        }
        /* No event of those that are asked for can come on such a file. */
        adapter_put(&adapter->to_loop, op, error == -EPERM ? -EINVAL : error, 0);
        return;
    }
    slot->side[READ_LANE].op = op;
    ferry__adapter_go_on(adapter, slot, &adapter->to_loop);
}

/* ---- Parking ----------------------------------------------------------------------------- */

static unsigned side_of(const ferry_op *op) {
    bool out = ferry__op_row(op)->result == RESULT_OUT || op->code == FERRY_OP_CONNECT;
    return out ? WRITE_LANE : READ_LANE;
}

static void start_parked(struct adapter *adapter, ferry_op *op, uint8_t flags) {
    struct adapter_slot *slot = adapter_slot(adapter, op->fd);
    struct adapter_side *side = &slot->side[side_of(op)];
    if (side->op != NULL && side->op->code == FERRY_OP_ACCEPT) { /* a listener receives nothing */
        adapter_put(&adapter->to_loop, op, -ENOTCONN, 0);
        return;
    }
    FERRY__ASSERT(side->op == NULL);
    side->op = op;
    side->flags |= flags;
    /* Tried in the wait that ends this turn's submits: once a turn, however often a callback
     * submits again (rule 14). Parked as it is, the ordinary case needs no look. */
    if (side->flags & SIDE_TRIED && slot->is_registered) return;
    if (op->code == FERRY_OP_RECV) {
        ferry__adapter_speculate(adapter, slot);
    } else {
        ferry__adapter_queue(adapter, slot);
    }
}

/* ---- Each kind --------------------------------------------------------------------------- */

/* Before it is known whether it is ready. Regular files and the like always are. */
static void start_waiting(struct adapter *adapter, ferry_op *op) {
    if (op->code == FERRY_OP_OPEN) {
        ferry__adapter_open_pause(adapter, op);
        return;
    }
    if (op->code == FERRY_OP_CONNECT) { /* not a descriptor, but a queue without one: see connect */
        adapter_put(&adapter->to_loop, op, 0, 0);
        return;
    }
    unsigned wanted = side_of(op) == WRITE_LANE ? FERRY_POLL_OUT : FERRY_POLL_IN;
    struct adapter_slot *slot = adapter_slot(adapter, op->fd);
    if (!slot->is_registered && ferry__posix_look(op->fd, wanted) != 0) {
        adapter_put(&adapter->to_loop, op, 0, 0);
        return;
    }
    /* The poller tells if it is ready by the time that it is watched. */
    start_parked(adapter, op, slot->is_registered ? SIDE_WAITS : SIDE_WAITS | SIDE_TRIED);
}

static void start_accept(struct adapter *adapter, ferry_op *op) {
    struct adapter_slot *slot = adapter_slot(adapter, op->fd);
    struct adapter_side *side = &slot->side[READ_LANE];
    if (!slot->accepts) { /* the call knows no "without waiting" of its own */
        slot->was_blocking = ferry__calls.set_blocking(op->fd, 0) == 1;
        slot->accepts = true;
    }
    /* A receive that may not have been tried yet: a listener's ends at once. */
    if (side->op != NULL && side->op->code != FERRY_OP_ACCEPT) {
        ferry__adapter_go_on(adapter, slot, &adapter->to_loop);
    }
    if (side->op != NULL && side->op->code != FERRY_OP_ACCEPT) { /* it waits: no listener */
        adapter_put(&adapter->to_loop, op, -EINVAL, 0);
        return;
    }
    ferry_op **last = &side->op;
    while (*last != NULL) last = (ferry_op **)(void *)&(*last)->more;
    op->more = 0;
    *last = op;
    if (side->op == op) ferry__adapter_queue(adapter, slot);
}

int ferry__adapter_connect(const ferry_op *op) {
    const ferry_addr *addr = op->buf;
    const struct sockaddr *to = (const struct sockaddr *)(const void *)addr->data.bytes;
    int was_blocking = ferry__calls.set_blocking(op->fd, 0);
    int error = ferry__calls.connect(op->fd, to, addr->len) == 0 ? 0 : errno;
    if (was_blocking == 1) (void)ferry__calls.set_blocking(op->fd, 1);
    return error;
}

static void start_connect(struct adapter *adapter, ferry_op *op) {
    int error = ferry__adapter_connect(op);
    struct adapter_slot *slot = adapter_slot(adapter, op->fd);
    struct adapter_side *side = &slot->side[WRITE_LANE];
    if (error == EAGAIN) { /* the queue of a Unix listener is full, and nothing tells when it is not
                            */
        side->op = op;
        ferry__adapter_pause(adapter, slot);
    } else if (error == EINPROGRESS || error == EINTR || error == EALREADY) {
        side->flags = (uint8_t)((side->flags | SIDE_TRIED) & ~SIDE_ENDED);
        start_parked(adapter, op, 0);
    } else {
        adapter_put(&adapter->to_loop, op, -error, 0);
    }
}

static void start_poll(struct adapter *adapter, ferry_op *op) {
    unsigned events = ferry__posix_look(op->fd, (unsigned)op->len);
    op->offset = (uint64_t)(int64_t)-1;
    if (events != 0) {
        adapter_put(&adapter->to_loop, op, (int32_t)events, 0);
        return;
    }
    /* A number of its own: what it stands for stays what it was, whoever closes the other, and the
     * poller knows it from what else is watched there. */
    int fd = ferry__calls.duplicate(op->fd, 0);
    if (fd < 0) {
        adapter_put(&adapter->to_loop, op, -errno, 0);
    } else {
        own_park(adapter, op, fd);
    }
}

static void start_process(struct adapter *adapter, ferry_op *op) {
    int fd = ferry__system_child_open((int64_t)op->len);
    if (fd < 0) {
        adapter_put(&adapter->to_loop, op, -ferry_error_system(fd), 0);
    } else {
        own_park(adapter, op, fd);
    }
}

static void deregister(struct adapter *adapter, ferry_fd fd) {
    struct adapter_slot *slot = adapter_slot(adapter, fd);
    if (slot->is_registered) adapter->poller->remove(&adapter->poll, fd);
    if (slot->was_blocking) (void)ferry__calls.set_blocking(fd, 1); /* others may have it, too */
    adapter_reset(slot);
}

/* What writes back or frees a lot a worker closes. */
static bool closes_long(const struct adapter *adapter, const ferry_op *op) {
    if (ferry__slot(adapter->loop, op->fd)->kind != KIND_FILE) return false;
    return !adapter_has(adapter, ADAPTER_CACHED_FILES) || ferry__system_close_is_long(op->fd);
}

static void start_close(struct adapter *adapter, ferry_op *op) {
    deregister(adapter, op->fd);
    if (closes_long(adapter, op)) {
        adapter_put(&adapter->to_loop, op, 0, RECORD_BLOCKS);
    } else {
        adapter_put(&adapter->to_loop, op, ferry__calls.close(op->fd) == 0 ? 0 : -errno, 0);
    }
}

/* At a place in a file, concurrently with others: nothing to wait for but a disk. */
static void start_positioned(struct adapter *adapter, ferry_op *op) {
    if (op->code == FERRY_OP_READ || op->code == FERRY_OP_WRITE) {
        (void)ferry__pieces_find(adapter->loop, op); /* it counts as used, that is all */
    }
    bool reads = ferry__op_row(op)->result == RESULT_IN;
    uint64_t wanted = ferry__adapter_wanted(op), moved = 0;
    int64_t n = reads ? 0 : -EBUSY;
    if (reads) {
        do {
            n = ferry__adapter_call(adapter, op, moved);
            if (n > 0) moved += (uint64_t)n;
        } while (n == -EINTR || (n > 0 && moved < wanted));
    }
    if (n == -EBUSY) {
        adapter_put(&adapter->to_loop, op, 0, RECORD_BLOCKS);
    } else {
        adapter_put(&adapter->to_loop, op, n < 0 && moved == 0 ? (int32_t)n : (int32_t)moved, 0);
    }
}

static FERRY__NOINLINE void start(struct adapter *adapter, ferry_op *op) {
    if (op->bits & BIT_POLLING) {
        start_waiting(adapter, op);
        return;
    }
    switch (op->code) {
    case FERRY_OP_ACCEPT: start_accept(adapter, op); return;
    case FERRY_OP_CONNECT: start_connect(adapter, op); return;
    case FERRY_OP_POLL: start_poll(adapter, op); return;
    case FERRY_OP_PROCESS: start_process(adapter, op); return;
    case FERRY_OP_CLOSE: start_close(adapter, op); return;
    case FERRY_OP_OPEN: ferry__adapter_start_open(adapter, op); return;
    case FERRY_OP_STAT:
    case FERRY_OP_STAT_FD: ferry__adapter_start_stat(adapter, op); return;
    case FERRY_OP_READ:
    case FERRY_OP_READV:
    case FERRY_OP_WRITE:
    case FERRY_OP_WRITEV:
        if (op->offset != FERRY_CURRENT) {
            start_positioned(adapter, op);
            return;
        }
        break;
    default: break;
    }
    start_parked(adapter, op, 0);
}

/* False if there is no room. */
static FERRY__NOINLINE bool start_and_release(struct adapter *adapter, ferry_op *op) {
    bool taken = adapter_has_room(&adapter->to_loop);
    if (taken) start(adapter, op);
    adapter_release(adapter);
    return taken;
}

static FERRY__NOINLINE bool take_and_start(struct adapter *adapter, ferry_op *op) {
    adapter_take(adapter);
    return start_and_release(adapter, op);
}

/* At a descriptor that is watched and has nothing there is nothing to do but to park it: most of
 * what servers receive begins like that. Nothing is called in between, for the registers' sake. */
bool ferry__adapter_submit_receive(ferry_loop *loop, ferry_op *op) {
    struct adapter *adapter = adapter_of(loop);
    struct adapter_slot *slot = adapter_slot(adapter, op->fd);
    struct adapter_side *side = &slot->side[READ_LANE];
    if (!adapter_try_take(adapter)) return take_and_start(adapter, op);
    if (!slot->is_registered || side->op != NULL || !adapter_side_is_drained(side)) {
        return start_and_release(adapter, op);
    }
    side->op = op;
    adapter_release(adapter);
    return true;
}

/* What a send comes to that is not whole at once: sent is what the call returned. */
static FERRY__NOINLINE void sent_otherwise(struct adapter *adapter, ferry_op *op, ssize_t sent) {
    if (sent < 0 && errno != EAGAIN && errno != EINTR) { /* the system tells an error once */
        adapter_put(&adapter->to_loop, op, -errno, 0);
    } else if (sent >= 0 && op->asked & FERRY_SOME) {
        adapter_put(&adapter->to_loop, op, (int32_t)sent, 0);
    } else {
        if (sent > 0) adapter_slot(adapter, op->fd)->side[WRITE_LANE].moved = (uint32_t)sent;
        start(adapter, op);
    }
}

/* Most sends are whole at once. With the baton. */
static inline bool send_at_once(struct adapter *adapter, ferry_op *op) {
    const struct adapter_side *side = &adapter_slot(adapter, op->fd)->side[WRITE_LANE];
    size_t len = (size_t)(op->len - op->transferred);
    if (!adapter_has_room(&adapter->to_loop)) return false;
    if (!adapter_side_is_fresh(side) || len > INT32_MAX) {
        start(adapter, op);
        return true;
    }
    ssize_t sent = ferry__calls.send(op->fd, (const char *)op->buf + op->transferred, len,
                                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (FERRY__LIKELY(sent == (ssize_t)len)) {
        adapter_put(&adapter->to_loop, op, (int32_t)sent, 0);
    } else {
        sent_otherwise(adapter, op, sent);
    }
    return true;
}

bool ferry__adapter_submit_send(ferry_loop *loop, ferry_op *op) {
    struct adapter *adapter = adapter_of(loop);
    if (FERRY__DEBUG) FERRY__ASSERT(adapter->alone); /* the turn has begun */
    return send_at_once(adapter, op);
}

bool ferry__adapter_submit(ferry_loop *loop, ferry_op *op) {
    struct adapter *adapter = adapter_of(loop);
    if (op->code != FERRY_OP_SEND || op->bits & BIT_POLLING) return take_and_start(adapter, op);
    adapter_take(adapter);
    bool taken = send_at_once(adapter, op);
    adapter_release(adapter);
    return taken;
}

bool ferry__adapter_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count) {
    struct adapter *adapter = adapter_of(loop);
    if (!adapter_has_room(&adapter->to_loop)) return false;
    adapter_take(adapter);
    adapter_slot(adapter, first->fd)->side[WRITE_LANE].gathered = (uint8_t)count;
    start_parked(adapter, first, 0);
    adapter_release(adapter);
    return true;
}

/* ---- Cancelling -------------------------------------------------------------------------- */

static bool accept_remove(struct adapter_side *side, const ferry_op *op) {
    ferry_op **at = &side->op;
    while (*at != NULL && *at != op) at = (ferry_op **)(void *)&(*at)->more;
    if (*at == NULL) return false;
    *at = (ferry_op *)(uintptr_t)op->more;
    return true;
}

static void cancel(struct adapter *adapter, ferry_op *op) {
    bool own = op->code == FERRY_OP_POLL || op->code == FERRY_OP_PROCESS;
    if (op->code == FERRY_OP_OPEN) {
        ferry__adapter_open_cancel(adapter, op);
        return;
    }
    ferry_fd fd = own ? (ferry_fd)(int64_t)op->offset : op->fd;
    if (fd < 0) return;
    struct adapter_slot *slot = adapter_slot(adapter, fd);
    struct adapter_side *side = &slot->side[own ? READ_LANE : side_of(op)];
    if (op->code == FERRY_OP_ACCEPT && !(op->bits & BIT_POLLING)) {
        if (accept_remove(side, op)) adapter_put(&adapter->to_loop, op, -ECANCELED, 0);
        return;
    }
    if (side->op != op) return; /* its record is on its way */
    if (side->flags & SIDE_WORKS && !(side->flags & SIDE_CAME)) {
        unsigned which = (unsigned)(side - slot->side);
        struct adapter_carrier *carrier = &adapter->carriers[2 * (size_t)fd + which];
        if (!ferry__work_cancel(adapter->loop, &carrier->op)) return;
    }
    ferry__adapter_end(side, ECANCELED, &adapter->to_loop);
    if (own) ferry__adapter_close_own(adapter, slot);
}

bool ferry__adapter_cancel(ferry_loop *loop, ferry_op *op) {
    struct adapter *adapter = adapter_of(loop);
    if (!adapter_has_room(&adapter->to_loop)) return false;
    adapter_take(adapter);
    /* What the thread has put down for it came first. */
    ferry__adapter_collect(adapter);
    bool room = adapter->landed_head == adapter->landed_tail && adapter_has_room(&adapter->to_loop);
    if (room) cancel(adapter, op);
    adapter_release(adapter);
    return room;
}

void ferry__adapter_forget(ferry_loop *loop, ferry_fd fd) {
    struct adapter *adapter = adapter_of(loop);
    adapter_take(adapter);
    deregister(adapter, fd);
    adapter_release(adapter);
}

/* ---- Workers ----------------------------------------------------------------------------- */

static int64_t carry(void *arg) {
    const struct adapter_carrier *carrier = arg;
    return ferry__adapter_blocking_call(carrier->real, carrier->moved);
}

void ferry__adapter_hand_to_worker(struct adapter *adapter, struct adapter_slot *slot,
                                   unsigned which) {
    struct adapter_side *side = &slot->side[which];
    struct adapter_carrier *carrier =
        &adapter->carriers[2 * (size_t)(slot - adapter->slots) + which];
    *carrier = (struct adapter_carrier){.op = {.code = FERRY_OP_WORK,
                                               .state = OP_OWN,
                                               .fd = FERRY_FD_NONE,
                                               .buf = carrier,
                                               .offset = (uint64_t)(uintptr_t)carry},
                                        .adapter = adapter,
                                        .real = side->op,
                                        .moved = side->moved};
    side->flags |= SIDE_WORKS | SIDE_TRIED; /* an event that comes meanwhile is not forgotten */
    if (!ferry__work_own(adapter->loop, &carrier->op)) {
        /* No thread to be had: an end, and not one that readiness could help with. */
        ferry_op *op = side->op;
        ferry__adapter_drop(side);
        adapter_put(&adapter->to_loop, op, -EAGAIN, RECORD_BLOCKS);
    }
}

/* What came of it; false if it goes on here. */
static bool carried(struct adapter_side *side, int64_t result) {
    const ferry_op *op = side->op;
    if (result < 0) side->error = (uint16_t)-result;
    if (result > 0) side->moved += (uint32_t)result;
    if (op->code != FERRY_OP_SENDFILE || side->moved >= ferry__adapter_wanted(op)) return true;
    if (result == 0) side->flags |= SIDE_EOF;
    return result <= 0 || op->asked & FERRY_SOME || side->moved >= ADAPTER_SHARE_BYTES;
}

void ferry__adapter_worked(ferry_loop *loop, ferry_op *op, int64_t result) {
    struct adapter *adapter = adapter_of(loop);
    struct adapter_carrier *carrier = ferry_container(op, struct adapter_carrier, op);
    size_t number = (size_t)(carrier - adapter->carriers);
    struct adapter_slot *slot = &adapter->slots[number / 2];
    struct adapter_side *side = &slot->side[number % 2];
    adapter_take(adapter);
    side->flags &= (uint8_t)~SIDE_WORKS;
    if (result != -EAGAIN) side->flags &= (uint8_t)~SIDE_TRIED;
    if (result == -EAGAIN) {
        /* It waits, unless an event has come since before the worker's try. */
    } else if (result != -EINTR && carried(side, result)) {
        side->flags |= SIDE_CAME;
    }
    /* One that was asked to end meanwhile does not go on. */
    if (!(side->flags & SIDE_CAME) && ferry__op_stopped(side->op) != 0) {
        if (side->moved == 0) side->error = ECANCELED;
        side->flags |= SIDE_CAME;
    }
    ferry__adapter_queue(adapter, slot);
    adapter_release(adapter);
}
