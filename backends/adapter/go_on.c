/* go_on.c - what is parked at a descriptor that may be ready: the adapter's one step.
 *
 * Called with the baton by either thread; out tells which of them takes the records. A turn's share
 * of one descriptor is bounded, in calls and in bytes; what is left is on adapter->ready and needs
 * no event. So is what the loop receives in a turn from all of them, so that it is still in the
 * processor's cache when its callback looks at it or sends it on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../posix/system.h"
#include "../posix/calls.h"
#include "../posix/readiness.h"

#include <errno.h>
#include <netinet/in.h>

#define EVENTS_MAX 256
#define CALLS_MAX 16u
#define LOOKS_MAX 64u
#define RECORD_MAX (1u << 30) /* and in one record: its length is a signed number */
#define ACCEPTS_MAX 16u
#define MESSAGES_MAX 16u

enum went {
    WENT_DONE,  /* its record is put down */
    WENT_WAITS, /* for an event */
    WENT_TIRED, /* it has had its share */
    WENT_WORKS, /* for a worker, which the loop's thread hands it to */
    WENT_PAUSES /* for a while, since no event would tell */
};

/* ---- Lists, the poller ------------------------------------------------------------------- */

void ferry__adapter_queue(struct adapter *adapter, struct adapter_slot *slot) {
    slot->is_speculative = false;
    if (!slot->is_queued) adapter_push(adapter, &adapter->ready, slot);
}

void ferry__adapter_pause(struct adapter *adapter, struct adapter_slot *slot) {
    if (slot->is_queued) return; /* it is tried at once, and then pauses */
    if (adapter->paused.first == 0) adapter->pause_until = ferry__os_clock() + ADAPTER_PAUSE_NS;
    adapter_push(adapter, &adapter->paused, slot);
}

int ferry__adapter_register(struct adapter *adapter, ferry_fd fd) {
    struct adapter_slot *slot = adapter_slot(adapter, fd);
    if (slot->is_registered) return 0;
    int error = adapter->poller->add(&adapter->poll, fd, ++slot->generation);
    if (error != 0) return error;
    slot->is_registered = true;
    slot->short_is_all = !adapter->poller->lacks_priority &&
                         ferry__slot(adapter->loop, fd)->kind == KIND_STREAM &&
                         ferry__posix_is_tcp(fd);
    return 0;
}

/* ---- The end ----------------------------------------------------------------------------- */

static ferry_op *side_clear(struct adapter_side *side) {
    ferry_op *op = side->op;
    side->op = NULL;
    side->moved = 0;
    side->gathered = 0;
    if (side->flags & SIDE_WORKS) side->flags &= (uint8_t)~SIDE_TRIED;
    side->flags &= (uint8_t) ~(SIDE_WAITS | SIDE_WORKS | SIDE_CAME | SIDE_EOF);
    return op;
}

static enum went finish(struct adapter_side *side, int64_t result, uint32_t flags,
                        struct adapter_out *out) {
    adapter_put(out, side_clear(side), (int32_t)result, flags);
    return WENT_DONE;
}

/* An error of a socket that comes behind some bytes is told by the next try: the system tells it
 * once. Files and pipes meet theirs again, if it is still so then. */
static enum went finish_failed(const struct adapter *adapter, struct adapter_side *side,
                               int64_t error, struct adapter_out *out) {
    enum ferry__fd_kind kind = ferry__slot(adapter->loop, side->op->fd)->kind;
    bool is_socket = kind == KIND_STREAM || kind == KIND_MESSAGE || kind == KIND_SEQPACKET;
    if (side->moved == 0) return finish(side, error, 0, out);
    /* A bad address is of this memory alone. */
    if (is_socket && error != -EFAULT) side->error = (uint16_t)-error;
    return finish(side, side->moved, 0, out);
}

void ferry__adapter_drop(struct adapter_side *side) {
    (void)side_clear(side);
}

void ferry__adapter_end(struct adapter_side *side, int error, struct adapter_out *out) {
    if (side->flags & SIDE_CAME) side->error = 0; /* it was of this operation */
    (void)finish(side, side->moved > 0 ? (int64_t)side->moved : -error, 0, out);
}

/* ---- Transfers --------------------------------------------------------------------------- */

/* Is it over with this call, which has moved n bytes? */
static bool is_over(const struct adapter *adapter, const struct adapter_side *side, int64_t n,
                    bool sends) {
    const ferry_op *op = side->op;
    if (n == 0 || adapter_is_lent(op) || side->gathered > 0) return true;
    if (op->code == FERRY_OP_RECVMSG || op->code == FERRY_OP_SENDMSG) return true;
    if (side->moved >= ferry__adapter_wanted(op) || side->moved >= RECORD_MAX) return true;
    if (ferry__slot_is_message(ferry__slot(adapter->loop, op->fd))) return true;
    if (ferry__slot(adapter->loop, op->fd)->kind == KIND_FILE && !sends) return false;
    return sends ? op->asked & FERRY_SOME : !(op->asked & FERRY_ALL);
}

/* A datagram that finds its receiver full, on a socket that is ready for others. */
static bool is_ready_for_others(const struct adapter *adapter, const ferry_op *op, bool sends) {
    return sends && ferry__slot_is_message(ferry__slot(adapter->loop, op->fd)) &&
           ferry__posix_look(op->fd, FERRY_POLL_OUT) != 0;
}

/* It would wait: from here on an event tells. */
static void side_tried(struct adapter_side *side) {
    side->flags = (uint8_t)((side->flags | SIDE_TRIED) & ~SIDE_ENDED);
}

static enum went would_wait(struct adapter *adapter, struct adapter_side *side, bool sends,
                            struct adapter_out *out) {
    ferry_op *op = side->op;
    side_tried(side);
    if (adapter_is_lent(op)) return finish(side, -EAGAIN, 0, out); /* a buffer is not for waiting */
    return is_ready_for_others(adapter, op, sends) ? WENT_PAUSES : WENT_WAITS;
}

static int64_t call(struct adapter *adapter, const struct adapter_side *side) {
    int64_t n;
    do {
        n = side->gathered > 0 ? ferry__adapter_call_gathered(side->op, side->gathered)
                               : ferry__adapter_call(adapter, side->op, side->moved);
    } while (n == -EINTR);
    return n;
}

/* Has a call that moved n bytes taken all there was? Only if it asked for all that is wanted: of
 * vectors it may have been a piece, of a message's buffer the part behind its head. */
static bool took_all(const struct adapter_slot *slot, const struct adapter_side *side, int64_t n,
                     uint64_t wanted) {
    bool plain = side->op->code == FERRY_OP_RECV || side->op->code == FERRY_OP_READ ||
                 side->op->code == FERRY_OP_RECV_POOL;
    return slot->short_is_all && plain && (uint64_t)n < wanted && !(side->flags & SIDE_ENDED);
}

static uint32_t flags_of(const struct adapter_side *side, int64_t n, bool sends) {
    if (side->op->code == FERRY_OP_SENDFILE) {
        return n == 0 && ferry__adapter_wanted(side->op) > side->moved ? RECORD_EOF : 0;
    }
    return sends || side->flags & SIDE_TRIED ? 0 : RECORD_MORE_THERE;
}

static enum went transfer(struct adapter *adapter, struct adapter_slot *slot,
                          struct adapter_side *side, struct adapter_out *out) {
    bool sends = side == &slot->side[WRITE_LANE];
    if (side->error != 0) {
        int error = side->error;
        side->error = 0;
        return finish(side, -error, 0, out);
    }
    uint64_t share = side->moved + ADAPTER_SHARE_BYTES;
    for (unsigned i = 0; i < CALLS_MAX && side->moved < share; i++) {
        uint64_t wanted = ferry__adapter_wanted(side->op) - side->moved;
        if (side->moved > 0 && wanted > RECORD_MAX - side->moved) { /* more than a record can tell
                                                                     */
            return finish(side, side->moved, flags_of(side, 1, sends), out);
        }
        int64_t n = call(adapter, side);
        if (n == -EAGAIN) return would_wait(adapter, side, sends, out);
        if (n == -EBUSY) return WENT_WORKS;
        if (n < 0) return finish_failed(adapter, side, n, out);
        side->moved += (uint32_t)n;
        if (!sends) adapter->turn_bytes -= n;
        if (!sends && took_all(slot, side, n, wanted)) side->flags |= SIDE_TRIED;
        if (is_over(adapter, side, n, sends)) {
            return finish(side, side->moved, flags_of(side, n, sends), out);
        }
    }
    return WENT_TIRED;
}

/* There may be more than was received: to be tried without an event, behind what is ready. */
void ferry__adapter_speculate(struct adapter *adapter, struct adapter_slot *slot) {
    if (slot->is_queued) return;
    ferry__adapter_queue(adapter, slot);
    slot->is_speculative = slot->is_registered;
}

/* Into buffers that the pool offers; what goes on stays where it is. Of a stream one a turn: the
 * loop has to see what comes of it, and to say stop. Datagrams come one by one: so many at most. */
static FERRY__NOINLINE enum went receive_picked(struct adapter *adapter, struct adapter_slot *slot,
                                                unsigned most, struct adapter_out *out) {
    struct adapter_side *side = &slot->side[READ_LANE];
    ferry_op *op = side->op;
    bool messages = ferry__slot_is_message(ferry__slot(adapter->loop, op->fd));
    /* On the loop's thread, the pool's own, and with nobody else at the baton. */
    bool may_ask = out == &adapter->to_loop && adapter->alone;
    for (unsigned i = 0; i < (messages ? most : 1); i++) {
        uint32_t flags;
        int64_t got = ferry__adapter_receive_picked(adapter, op, may_ask, &flags);
        if (got == -EAGAIN) {
            side_tried(side);
            return i > 0 && slot->is_registered ? WENT_DONE : WENT_WAITS;
        }
        if (!(flags & RECORD_BUFFER)) return finish(side, got, flags, out);
        adapter->turn_bytes -= got;
        if (took_all(slot, side, got, ferry__op_pool(op)->size)) {
            side->flags |= SIDE_TRIED;
        } else {
            flags |= RECORD_MORE_THERE;
        }
        if (!(op->asked & FERRY_MULTI)) return finish(side, got, flags, out);
        adapter_put(out, op, (int32_t)got, flags | RECORD_MORE);
    }
    if (!(side->flags & SIDE_TRIED)) ferry__adapter_speculate(adapter, slot);
    return WENT_DONE;
}

/* Does the adapter pick its buffer? */
static inline bool is_picked(const ferry_op *op) {
    return (op->code == FERRY_OP_RECV_POOL || op->code == FERRY_OP_RECVMSG_POOL) &&
           ferry__pool_assigned(op) == NULL;
}

/* ---- Accept, connect --------------------------------------------------------------------- */

static int accept_one(ferry_op *op) {
    ferry_addr *peer = (ferry_addr *)(uintptr_t)op->buf;
    int fd;
    do {
        if (peer == NULL) {
            fd = ferry__calls.accept(op->fd, NULL, NULL);
        } else {
            memset(peer, 0, sizeof *peer);
            peer->len = sizeof peer->data.bytes;
            fd = ferry__calls.accept(op->fd, (struct sockaddr *)(void *)peer->data.bytes,
                                     &peer->len);
        }
    } while (fd < 0 && errno == EINTR);
    return fd >= 0 ? fd : -errno;
}

static enum went accepts(struct adapter_side *side, struct adapter_out *out) {
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        ferry_op *op = side->op;
        if (op == NULL) return WENT_DONE;
        int fd = accept_one(op);
        if (fd == -EAGAIN) {
            side_tried(side);
            return WENT_WAITS;
        }
        if (fd >= 0 && op->asked & FERRY_MULTI) {
            adapter_put(out, op, fd, RECORD_MORE);
        } else {
            side->op = (ferry_op *)(uintptr_t)op->more;
            adapter_put(out, op, fd, 0);
        }
    }
    return WENT_TIRED;
}

/* connect(2) once more tells what has come of the first; SO_ERROR would leave the socket between
 * two states. On a Unix socket whose listener had no room it is another try. */
static enum went connects(struct adapter_side *side, struct adapter_out *out) {
    int error = ferry__adapter_connect(side->op);
    if (error == EAGAIN) return WENT_PAUSES;
    if (error == EALREADY || error == EINPROGRESS || error == EINTR) {
        side->flags |= SIDE_TRIED;
        return WENT_WAITS;
    }
    side->flags &= (uint8_t) ~(SIDE_TRIED | SIDE_ENDED);
    return finish(side, error == EISCONN ? 0 : -error, 0, out);
}

/* ---- Readiness, processes: on descriptors of our own --------------------------------------- */

void ferry__adapter_close_own(struct adapter *adapter, struct adapter_slot *slot) {
    ferry_fd fd = (ferry_fd)(slot - adapter->slots);
    adapter->poller->remove(&adapter->poll, fd);
    adapter_reset(slot);
    (void)ferry__calls.close(fd);
}

static enum went finish_own(struct adapter *adapter, struct adapter_slot *slot, int64_t result,
                            struct adapter_out *out) {
    (void)finish(&slot->side[READ_LANE], result, 0, out);
    ferry__adapter_close_own(adapter, slot);
    return WENT_DONE;
}

static enum went polls(struct adapter *adapter, struct adapter_slot *slot,
                       struct adapter_side *side, struct adapter_out *out) {
    unsigned events = ferry__posix_look(slot - adapter->slots, (unsigned)side->op->len);
    side->flags |= SIDE_TRIED;
    if (events != 0) return finish_own(adapter, slot, events, out);
    return side->op->len & FERRY_POLL_PRIORITY && adapter->poller->lacks_priority ? WENT_PAUSES
                                                                                  : WENT_WAITS;
}

/* One that is traced belongs to the tracer first, and nothing tells when that lets go. */
static enum went reaps(struct adapter *adapter, struct adapter_slot *slot,
                       struct adapter_side *side, struct adapter_out *out) {
    ferry_exit *how = (ferry_exit *)(uintptr_t)side->op->buf;
    ptrdiff_t fd = slot - adapter->slots;
    int taken = ferry__system_child_take((int)fd, (int64_t)side->op->len, how);
    side->flags |= SIDE_TRIED;
    if (taken == 1) return ferry__posix_look(fd, FERRY_POLL_IN) != 0 ? WENT_PAUSES : WENT_WAITS;
    return finish_own(adapter, slot, taken < 0 ? -ferry_error_system(taken) : 0, out);
}

/* ---- A step ------------------------------------------------------------------------------ */

static enum went side_go_on(struct adapter *adapter, struct adapter_slot *slot,
                            struct adapter_side *side, struct adapter_out *out) {
    if (side->flags & SIDE_CAME) {
        if (side->error != 0) {
            int error = side->error;
            side->error = 0;
            return finish_failed(adapter, side, -error, out);
        }
        return finish(side, side->moved, side->flags & SIDE_EOF ? RECORD_EOF : 0, out);
    }
    if (side->flags & SIDE_WORKS) return WENT_WAITS;
    if (side->flags & SIDE_TRIED) return WENT_WAITS;
    if (side->flags & SIDE_WAITS) return finish(side, 0, 0, out);
    switch (side->op->code) {
    case FERRY_OP_ACCEPT: return accepts(side, out);
    case FERRY_OP_CONNECT: return connects(side, out);
    case FERRY_OP_POLL: return polls(adapter, slot, side, out);
    case FERRY_OP_PROCESS: return reaps(adapter, slot, side, out);
    default:
        if (is_picked(side->op)) return receive_picked(adapter, slot, MESSAGES_MAX, out);
        return transfer(adapter, slot, side, out);
    }
}

/* It would have to wait: the poller has to know, and tells of what is ready by then. */
static void watch(struct adapter *adapter, struct adapter_slot *slot, struct adapter_side *side,
                  struct adapter_out *out) {
    if (slot->is_registered || side->op == NULL || side->flags & SIDE_WORKS) return;
    int error = ferry__adapter_register(adapter, (ferry_fd)(slot - adapter->slots));
    if (error == 0) return;
    if (error == -EPERM) { /* what nobody waits for that way: some devices never say so */
        side->flags &= (uint8_t)~SIDE_TRIED;
        ferry__adapter_pause(adapter, slot);
    } else if (side->op->code == FERRY_OP_ACCEPT) {
        ferry_op *op = side->op;
        side->op = (ferry_op *)(uintptr_t)op->more;
        adapter_put(out, op, error, 0);
        ferry__adapter_queue(adapter, slot);
    } else {
        ferry__adapter_end(side, -error, out);
    }
}

void ferry__adapter_go_on(struct adapter *adapter, struct adapter_slot *slot,
                          struct adapter_out *out) {
    for (unsigned which = READ_LANE; which <= WRITE_LANE; which++) {
        struct adapter_side *side = &slot->side[which];
        if (side->op == NULL) continue;
        switch (side_go_on(adapter, slot, side, out)) {
        case WENT_DONE: break;
        case WENT_WAITS: watch(adapter, slot, side, out); break;
        case WENT_TIRED: ferry__adapter_queue(adapter, slot); break;
        case WENT_PAUSES:
            side->flags &= (uint8_t)~SIDE_TRIED;
            ferry__adapter_pause(adapter, slot);
            break;
        case WENT_WORKS:
            if (out == &adapter->to_loop) {
                ferry__adapter_hand_to_worker(adapter, slot, which);
            } else {
                ferry__adapter_queue(adapter, slot); /* for the loop's thread */
            }
            break;
        }
    }
}

static bool is_wanted(const struct adapter *adapter) {
    /* relaxed: a hint; the release finds out. */
    return atomic_load_explicit(&adapter->baton, memory_order_relaxed) ==
           (BATON_THREAD | BATON_WANTED);
}

/* A plain receive into its own buffer, or one of its pool: most of what servers wait for, written
 * out for that. False if it is something else, or nothing has come of it, which is noted. */
static FERRY__ALWAYS_INLINE bool receive_plain(struct adapter *adapter, struct adapter_slot *slot,
                                               unsigned messages, struct adapter_out *out) {
    struct adapter_side *side = &slot->side[READ_LANE];
    ferry_op *op = side->op;
    if (op == NULL || !adapter_side_is_fresh(side)) return false;
    if (is_picked(op)) return receive_picked(adapter, slot, messages, out) == WENT_DONE;
    if (op->code != FERRY_OP_RECV || op->asked & FERRY_ALL || op->len > ADAPTER_SHARE_BYTES) {
        return false;
    }
    size_t len = (size_t)op->len; /* one that may be short ends with the first bytes */
    ssize_t got = ferry__calls.recv(op->fd, (void *)(uintptr_t)op->buf, len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) side->flags = SIDE_TRIED; /* it was fresh: else SIDE_ENDED */
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    uint32_t flags = RECORD_MORE_THERE;
    if (got < 0) { /* the system tells an error once */
        got = -errno;
    } else if (slot->short_is_all && (size_t)got < len && !(side->flags & SIDE_ENDED)) {
        side->flags |= SIDE_TRIED;
        flags = 0;
    }
    side->op = NULL;
    adapter->turn_bytes -= got;
    adapter_put(out, op, (int32_t)got, flags);
    return true;
}

static bool is_unlikely(const struct adapter *adapter, uint32_t number) {
    return number != 0 && adapter->slots[number - 1].is_speculative &&
           adapter->slots[number - 1].has_missed;
}

/* Where messages just fill their buffers, or a receive that was not filled tells nothing, the next
 * is tried for nothing each time; one look at many costs less. Takes those that begin the list, up
 * to number `last`, off it if there is nothing for them, else behind it. The last of them. */
static uint32_t sift(struct adapter *adapter, uint32_t last) {
    struct adapter_list *ready = &adapter->ready;
    struct pollfd looks[LOOKS_MAX];
    uint32_t number = 0;
    nfds_t count = 0;
    for (uint32_t next = ready->first;
         count < LOOKS_MAX && number != last && is_unlikely(adapter, next);
         next = adapter->slots[next - 1].next) {
        number = next;
        looks[count++] = (struct pollfd){.fd = (int)(number - 1), .events = POLLIN};
    }
    bool failed = ferry__calls.poll(looks, count, 0) < 0; /* a signal: nothing is known then */
    for (nfds_t i = 0; i < count; i++) {
        struct adapter_slot *slot = adapter_first(adapter, ready);
        adapter_pop(ready, slot);
        if (failed || looks[i].revents != 0) {
            ferry__adapter_queue(adapter, slot);
            slot->has_missed = false;
        } else {
            side_tried(&slot->side[READ_LANE]);
        }
    }
    return number;
}

void ferry__adapter_go_on_all(struct adapter *adapter, struct adapter_out *out) {
    struct adapter_list *ready = &adapter->ready;
    uint32_t last = ready->last, number = 0;
    bool is_thread = out == &adapter->to_land;
    while (ready->first != 0 && number != last && adapter_has_room(out) &&
           (is_thread || adapter->turn_bytes > 0)) {
        number = ready->first;
        struct adapter_slot *slot = &adapter->slots[number - 1];
        if (is_thread && is_wanted(adapter)) {
            adapter->yielded = true;
            return;
        }
        if (!is_thread && number != last && is_unlikely(adapter, number) &&
            is_unlikely(adapter, slot->next)) {
            number = sift(adapter, last);
            continue;
        }
        adapter_pop(ready, slot);
        bool speculative = slot->is_speculative;
        bool received = receive_plain(adapter, slot, MESSAGES_MAX, out);
        if (speculative) slot->has_missed = !received;
        if (!received || slot->side[WRITE_LANE].op != NULL) {
            ferry__adapter_go_on(adapter, slot, out);
        }
    }
}

/* ---- Events ------------------------------------------------------------------------------ */

/* True if something waits for it. */
static inline bool side_note(struct adapter_side *side, uint32_t ready) {
    _Static_assert((int)SIDE_ENDED == (int)READY_ENDED, "the same bit");
    side->flags = (uint8_t)((side->flags & ~(uint32_t)SIDE_TRIED) | (ready & READY_ENDED));
    return side->op != NULL;
}

/* Notes events in their slots. receives: plain receives are made on the way, without going through
 * the list: for the loop, which lets go of the baton for nobody meanwhile. */
static FERRY__ALWAYS_INLINE void note(struct adapter *adapter, const struct ferry__event *events,
                                      int count, bool receives) {
    for (int i = 0; i < count; i++) {
        struct adapter_slot *slot = adapter_slot(adapter, events[i].fd);
        uint32_t ready = events[i].ready;
        if (slot->generation != events[i].generation) continue; /* stale */
        if (ready & READY_OUT && side_note(&slot->side[WRITE_LANE], 0)) {
            ferry__adapter_queue(adapter, slot);
        }
        if ((ready & READY_IN || slot->is_own) && side_note(&slot->side[READ_LANE], ready) &&
            !(receives && adapter->turn_bytes > 0 &&
              receive_plain(adapter, slot, 1, &adapter->to_loop))) {
            ferry__adapter_queue(adapter, slot);
        }
    }
}

void ferry__adapter_note(struct adapter *adapter, const struct ferry__event *events, int count) {
    note(adapter, events, count, false);
}

int ferry__adapter_look(struct adapter *adapter, uint64_t deadline) {
    struct ferry__event events[EVENTS_MAX];
    adapter->unpolled = 0;
    adapter->loop->stats.system_waits++;
    int count = adapter->poller->wait(&adapter->poll, events, EVENTS_MAX, deadline);
    if (count < 0) return ferry_error_from_system(-count);
    const struct adapter_out *out = &adapter->to_loop;
    if (*out->tail - *out->head + (uint32_t)count <= out->most) { /* a record for each */
        note(adapter, events, count, true);
    } else {
        note(adapter, events, count, false);
    }
    if (adapter->poll.woke) {
        adapter->poll.woke = false;
        adapter->poller->woken(&adapter->poll);
    }
    return 0;
}
