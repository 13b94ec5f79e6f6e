/* adapter.h - from readiness to completion: what the files of the adapter share.
 *
 *   adapter.c  opens and closes it; a turn of the loop; records in the core's words
 *   start.c    takes operations from the core, cancels them; closes descriptors
 *   go_on.c    what is parked, when its descriptor may be ready: one function with no thread in it
 *   calls.c    the system calls of transfers
 *   files.c    opening, and what is known of files
 *   pool.c     buffers of a pool for what may be ready
 *   baton.c    who may touch all this, and the adapter's own thread
 *   embed.c    the descriptor for an outer loop
 *
 * An operation is tried when it is submitted, if that may succeed; else it is parked at its
 * descriptor until the poller has an event for that. A try that moves a part of a whole transfer
 * goes on here, so that it needs no turn of the loop for each piece.
 *
 * Everything below belongs to who has the baton (docs/adapter-protocol.md), unless it says
 * otherwise. Of a parked operation the adapter's thread reads what was asked, and nothing that the
 * core writes meanwhile (bits, state, link, timer); what it has to remember lies in the slot.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_ADAPTER_H
#define FERRY_ADAPTER_H

#include "core.h"
#include "../posix/embed.h"
#include "poller.h"

#include <stdatomic.h>

FERRY__OWN_BEGIN

#define ADAPTER_GATHER_MAX 16u
#define ADAPTER_PAUSE_NS 10000000u     /* before what no event announces is tried again */
#define ADAPTER_SHARE_BYTES (1u << 20) /* of one transfer in a turn */
#define ADAPTER_TURN_BYTES (1 << 18)   /* received, until callbacks have seen them */
#define ADAPTER_ROOM_MIN 32u           /* for records of one descriptor */

/* How one direction of a descriptor is. */
struct adapter_side {
    ferry_op *op; /* that waits here; NULL: none. Of several accepts the first; through op->more */
    uint32_t moved;   /* bytes, since it was submitted */
    uint16_t error;   /* an errno that came behind those: what the next try comes to */
    uint8_t gathered; /* sends that share the call; 0: one */
    uint8_t flags;    /* SIDE_... */
};

enum {
    SIDE_TRIED = 1 << 0, /* the last try would have waited, and no event has come since */
    SIDE_ENDED = 1 << 1, /* it will not become less ready: one event may stand for two */
    SIDE_WAITS = 1 << 2, /* op only wants to know that it is ready */
    SIDE_WORKS = 1 << 3, /* op is with a worker */
    SIDE_CAME = 1 << 4,  /* and back: moved and error tell what came of it, */
    SIDE_EOF = 1 << 5    /* and this that the file to be sent has ended */
};

_Static_assert(offsetof(struct adapter_side, flags) + 1 - offsetof(struct adapter_side, moved) == 8,
               "what has become of its operation lies side by side");

/* One per descriptor number. Zero: never used. */
struct adapter_slot {
    struct adapter_side side[2]; /* READ_LANE, WRITE_LANE */
    uint32_t generation;         /* of what is registered: events tell it */
    uint32_t next;               /* on adapter->ready or adapter->paused */
    bool is_queued : 1;          /* it is on one of these, perhaps for nothing by now */
    bool is_registered : 1;
    bool is_speculative : 1; /* on ready without an event: there may be more than was received */
    bool has_missed : 1;     /* the last time that it was so there was not */
    /* A receive that was not filled has taken all there was: of TCP, and if the poller tells of
     * urgent data, before which a receive stops short. */
    bool short_is_all : 1;
    bool accepts : 1; /* accepting does not wait: it was seen to that */
    bool was_blocking : 1;
    bool knows_direct : 1, is_direct : 1; /* reads of it wait for a disk, whatever is asked */
    bool is_own : 1; /* a number that the adapter has made: one operation waits, in side[0], for any
                        event */
};

_Static_assert(sizeof(void *) != 8 || sizeof(struct adapter_slot) <= 48,
               "idle connections are cheap");

/* What goes to a worker for one side of a descriptor: in address space of which only what is used
 * takes memory. */
struct adapter_carrier {
    ferry_op op; /* OP_OWN */
    struct adapter *adapter;
    ferry_op *real;
    uint64_t moved;
};

struct adapter_list {
    uint32_t first, last; /* slots' numbers, one too high, through next; 0: none */
};

/* Records on their way: loop->records, or what the thread has put down. */
struct adapter_out {
    struct ferry__record *at;
    uint32_t mask, most; /* so many at most before anything is begun */
    uint32_t *tail;
    const uint32_t *head;
};

enum adapter_feature {
    ADAPTER_FINE_WAIT,    /* waits in nanoseconds: epoll_pwait2 */
    ADAPTER_NOWAIT,       /* tries of pipes and cached files that never wait: RWF_NOWAIT */
    ADAPTER_CACHED_FILES, /* what is cached of a file is looked at without a worker thread */
    ADAPTER_FEATURES
};

enum { BATON_FREE = 0, BATON_LOOP = 1, BATON_THREAD = 2, BATON_WANTED = 4 };

struct adapter {
    ferry_loop *loop;
    const struct ferry__poller *poller;
    struct ferry__poll poll;
    struct adapter_slot *slots;
    struct adapter_carrier *carriers; /* two to a slot */
    struct adapter_list ready;        /* to be gone on with, without another event */
    struct adapter_list paused;       /* what no event announces: after pause_until */
    uint64_t pause_until;
    ferry_op *opens; /* of FIFOs that wait for their other end; through op->transferred */
    uint64_t opens_until;
    struct adapter_out to_loop, to_land;
    uint32_t landed_head, landed_tail;
    int64_t turn_bytes;  /* that the loop may still receive in this turn, if more than 0 */
    size_t cached_bytes; /* read from files in this turn */
    unsigned unpolled;   /* turns in a row that have not looked at the poller */
    bool outside;        /* embedded, and the loop does not run */
    bool alone;          /* there is no thread, or the loop keeps the baton: from flush to wait */
    bool yielded;        /* the thread has left something on ready, for the loop's sake */
    bool watching;       /* the thread waits for the poller without taking anything from it */
    enum ferry_adapter mode;

    /* Shared. */
    _Atomic uint32_t baton, turn, parked;
    _Atomic bool stop;
    struct ferry__lock lock;
    struct ferry__signal changed; /* the baton was handed over; parked is 0; stop */
    struct ferry__thread thread;
    bool has_thread;
    bool adopted;

    struct ferry__embed embed;
    uint8_t found[ADAPTER_FEATURES];
    _Atomic uint64_t uses[ADAPTER_FEATURES]; /* relaxed: counters */
    ferry_feature features[ADAPTER_FEATURES];
};

static inline struct adapter *adapter_of(const ferry_loop *loop) {
    return loop->system;
}

static inline bool adapter_has(const struct adapter *adapter, enum adapter_feature feature) {
    return adapter->found[feature] == FERRY_FEATURE_FOUND;
}

static inline void adapter_used(struct adapter *adapter, enum adapter_feature feature) {
    atomic_fetch_add_explicit(&adapter->uses[feature], 1, memory_order_relaxed);
}

/* What has become of its operation, as one number. */
static inline uint64_t adapter_side_state(const struct adapter_side *side) {
    uint64_t state;
    memcpy(&state, &side->moved, sizeof state);
    return state;
}

/* May its operation be tried, and has nothing become of it yet? */
static inline bool adapter_side_is_fresh(const struct adapter_side *side) {
    const struct adapter_side ended = {.flags = SIDE_ENDED};
    return (adapter_side_state(side) & ~adapter_side_state(&ended)) == 0;
}

/* Would its operation wait, as the last did, and has nothing become of it yet? */
static inline bool adapter_side_is_drained(const struct adapter_side *side) {
    const struct adapter_side tried = {.flags = SIDE_TRIED};
    return adapter_side_state(side) == adapter_side_state(&tried);
}

/* Does it receive into a buffer of a pool? */
static inline bool adapter_is_lent(const ferry_op *op) {
    return ferry__op_row(op)->result == RESULT_LENT;
}

static inline struct adapter_slot *adapter_slot(const struct adapter *adapter, ferry_fd fd) {
    return &adapter->slots[fd];
}

/* As if the number had never been used; it may lie on a list for nothing: that does no harm. */
static inline void adapter_reset(struct adapter_slot *slot) {
    *slot = (struct adapter_slot){
        .next = slot->next, .is_queued = slot->is_queued, .generation = slot->generation + 1};
}

/* Is there room for whatever may come of one descriptor? */
static inline bool adapter_has_room(const struct adapter_out *out) {
    return *out->tail - *out->head <= out->most;
}

/* result: 0 or more, or -errno. */
static inline void adapter_put(struct adapter_out *out, ferry_op *op, int32_t result,
                               uint32_t flags) {
    out->at[(*out->tail)++ & out->mask] = (struct ferry__record){
        .op = op, .result = result, .flags = flags};
}

/* The first of a list; NULL if it is empty. */
static inline struct adapter_slot *adapter_first(const struct adapter *adapter,
                                                 const struct adapter_list *list) {
    return list->first != 0 ? &adapter->slots[list->first - 1] : NULL;
}

static inline void adapter_push(const struct adapter *adapter, struct adapter_list *list,
                                struct adapter_slot *slot) {
    uint32_t number = (uint32_t)(slot - adapter->slots) + 1;
    slot->is_queued = true;
    slot->next = 0;
    if (list->last != 0) {
        adapter->slots[list->last - 1].next = number;
    } else {
        list->first = number;
    }
    list->last = number;
}

static inline void adapter_pop(struct adapter_list *list, struct adapter_slot *first) {
    list->first = first->next;
    if (list->first == 0) list->last = 0;
    first->is_queued = false;
}

/* ---- adapter.c --------------------------------------------------------------------------- */

int ferry__adapter_open(ferry_loop *loop, const struct ferry__poller *poller,
                        const struct ferry__options *options, struct ferry__refused *why);
void ferry__adapter_close(ferry_loop *loop, bool forked);
int ferry__adapter_adopt(ferry_loop *loop);
const char *ferry__adapter_feature(unsigned index);
int ferry__adapter_wait(ferry_loop *loop, uint64_t deadline);
bool ferry__adapter_read(ferry_loop *loop, struct ferry__record *record);
void ferry__adapter_begin(ferry_loop *loop);
void ferry__adapter_wake(ferry_loop *loop);
void ferry__adapter_describe(ferry_loop *loop);
/* Moves what the thread has put down to the loop's records, as far as there is room. */
void ferry__adapter_collect(struct adapter *adapter);
/* The deadline, or when what pauses is tried again. */
uint64_t ferry__adapter_deadline(const struct adapter *adapter, uint64_t deadline);

/* ---- start.c ----------------------------------------------------------------------------- */

bool ferry__adapter_submit(ferry_loop *loop, ferry_op *op);
bool ferry__adapter_submit_receive(ferry_loop *loop, ferry_op *op);
bool ferry__adapter_submit_send(ferry_loop *loop, ferry_op *op);
bool ferry__adapter_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count);
bool ferry__adapter_cancel(ferry_loop *loop, ferry_op *op);
void ferry__adapter_forget(ferry_loop *loop, ferry_fd fd);
void ferry__adapter_claimed(ferry_loop *loop, ferry_fd fd);
/* Connects without waiting: 0 or an errno. */
int ferry__adapter_connect(const ferry_op *op);
/* A worker is done with the library's own operation. */
void ferry__adapter_worked(ferry_loop *loop, ferry_op *op, int64_t result);
/* Hands what waits at a side to a worker. The loop's thread. */
void ferry__adapter_hand_to_worker(struct adapter *adapter, struct adapter_slot *slot,
                                   unsigned which);
/* For a worker: what a transfer comes to that may wait. */
int64_t ferry__adapter_blocking_call(const ferry_op *op, uint64_t moved);

/* ---- files.c ----------------------------------------------------------------------------- */

void ferry__adapter_start_open(struct adapter *adapter, ferry_op *op);
void ferry__adapter_start_stat(struct adapter *adapter, ferry_op *op);
void ferry__adapter_open_pause(struct adapter *adapter, ferry_op *op);
void ferry__adapter_open_cancel(struct adapter *adapter, ferry_op *op);
void ferry__adapter_opens_resume(struct adapter *adapter);

/* ---- go_on.c ----------------------------------------------------------------------------- */

/* Goes on with what waits in a slot: until it would wait, or has had its share. */
void ferry__adapter_go_on(struct adapter *adapter, struct adapter_slot *slot,
                          struct adapter_out *out);
/* Has the slot gone on with soon, or after a pause. */
void ferry__adapter_queue(struct adapter *adapter, struct adapter_slot *slot);
void ferry__adapter_pause(struct adapter *adapter, struct adapter_slot *slot);
void ferry__adapter_speculate(struct adapter *adapter, struct adapter_slot *slot);
/* Goes on with those on the list, once each, while there is room; the thread stops if the loop
 * wants the baton. */
void ferry__adapter_go_on_all(struct adapter *adapter, struct adapter_out *out);
/* For the thread: notes events in their slots. */
void ferry__adapter_note(struct adapter *adapter, const struct ferry__event *events, int count);
/* For the loop: waits in the poller until deadline, and notes what it tells. 0 or an error. */
int ferry__adapter_look(struct adapter *adapter, uint64_t deadline);
/* Has the poller watch the descriptor. 0 or -errno. */
int ferry__adapter_register(struct adapter *adapter, ferry_fd fd);
/* Lets go of a number of the adapter's own, at which nothing waits any more. */
void ferry__adapter_close_own(struct adapter *adapter, struct adapter_slot *slot);
/* Takes what waits at a side off it. */
void ferry__adapter_drop(struct adapter_side *side);
/* Ends what waits at a side, with what it has achieved, else with -error. */
void ferry__adapter_end(struct adapter_side *side, int error, struct adapter_out *out);

/* ---- calls.c ----------------------------------------------------------------------------- */

/* One call for a transfer, after `moved` bytes: bytes or -errno. EAGAIN: it would wait; EBUSY: a
 * worker has to do it. */
int64_t ferry__adapter_call(struct adapter *adapter, ferry_op *op, uint64_t moved);
int64_t ferry__adapter_call_gathered(ferry_op *first, unsigned count);
/* The same for a receive from a socket into a buffer of its pool. */
int64_t ferry__adapter_receive_lent(const ferry_op *op, ferry_buffer *buffer);
/* What is left of what a single submission is to move; and is it over before that? */
uint64_t ferry__adapter_wanted(const ferry_op *op);

/* ---- pool.c ------------------------------------------------------------------------------- */

void ferry__adapter_pool_open(ferry_loop *loop, ferry_pool *pool);
void ferry__adapter_pool_close(ferry_loop *loop, ferry_pool *pool, bool forked);
bool ferry__adapter_pool_picks(const ferry_loop *loop, const ferry_op *op);
void ferry__adapter_pool_offer(ferry_pool *pool, const ferry_buffer *buffer);
/* Receives into a buffer that was offered: bytes or -errno, and flags for the record; without
 * RECORD_BUFFER none was filled. may_ask: for one more if there is none. */
int64_t ferry__adapter_receive_picked(struct adapter *adapter, const ferry_op *op, bool may_ask,
                                      uint32_t *flags);

/* ---- baton.c ----------------------------------------------------------------------------- */

/* The loop's thread. */
void ferry__adapter_take_slowly(struct adapter *adapter);
void ferry__adapter_release_slowly(struct adapter *adapter);
void ferry__adapter_unpark(struct adapter *adapter);
int ferry__adapter_thread_start(struct adapter *adapter);
void ferry__adapter_thread_end(struct adapter *adapter);

/* False: the thread has it. */
static inline bool adapter_try_take(struct adapter *adapter) {
    uint32_t free = BATON_FREE;
    /* acquire: what the thread did with the baton. */
    return adapter->alone ||
           FERRY__LIKELY(atomic_compare_exchange_strong_explicit(
               &adapter->baton, &free, BATON_LOOP, memory_order_acquire, memory_order_relaxed));
}

static inline void adapter_take(struct adapter *adapter) {
    if (!adapter_try_take(adapter)) ferry__adapter_take_slowly(adapter);
}

static inline void adapter_release(struct adapter *adapter) {
    uint32_t mine = BATON_LOOP;
    if (adapter->alone) return;
    /* seq_cst: before the look at parked, whose writer looks at the baton after that. */
    if (FERRY__UNLIKELY(adapter->watching) ||
        FERRY__UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &adapter->baton, &mine, BATON_FREE, memory_order_seq_cst, memory_order_relaxed))) {
        ferry__adapter_release_slowly(adapter);
    } else if (FERRY__UNLIKELY(atomic_load_explicit(&adapter->parked, memory_order_seq_cst) != 0)) {
        ferry__adapter_unpark(adapter);
    }
}

/* ---- embed.c ----------------------------------------------------------------------------- */

extern const struct ferry__embedding ferry__adapter_embedding;
void ferry__adapter_raise(struct adapter *adapter);

/* What a poller's file says of its backend. */
#define FERRY__ADAPTER_BACKEND(its_name, opens)                                                    \
    {                                                                                              \
        .name = its_name, .open = opens, .close = ferry__adapter_close,                            \
        .adopt = ferry__adapter_adopt, .submit = ferry__adapter_submit,                            \
        .submit_receive = ferry__adapter_submit_receive,                                           \
        .submit_send = ferry__adapter_submit_send,                                                 \
        .submit_gathered = ferry__adapter_submit_gathered, .cancel = ferry__adapter_cancel,        \
        .begin = ferry__adapter_begin, .wait = ferry__adapter_wait, .read = ferry__adapter_read,   \
        .wake = ferry__adapter_wake, .describe = ferry__adapter_describe,                          \
        .forget = ferry__adapter_forget, .claimed = ferry__adapter_claimed,                        \
        .worked = ferry__adapter_worked, .feature = ferry__adapter_feature,                        \
        .pool_open = ferry__adapter_pool_open, .pool_close = ferry__adapter_pool_close,            \
        .pool_picks = ferry__adapter_pool_picks, .pool_offer = ferry__adapter_pool_offer,          \
        .gather_max = ADAPTER_GATHER_MAX, .embed = &ferry__adapter_embedding,                      \
    }

FERRY__OWN_END

#endif
