/* core.h - what the files of the core share: the loop, its descriptor slots, its records.
 *
 * Data flows one way (docs/how-it-works.md): op.c checks and routes what was submitted, lane.c
 * keeps it in order, a backend carries it out and puts a record on the loop's ring, op.c makes the
 * record the operation's end, loop.c delivers it. All of it belongs to the loop's thread, but for
 * what is marked "shared" below.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_CORE_H
#define FERRY_CORE_H

#include "backend.h"
#include "ferry.h"
#include "os.h"
#include "port.h"
#include "probe.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

FERRY__OWN_BEGIN

/* ---- Operations -------------------------------------------------------------------------- */

/* Where an operation is. Except for those marked otherwise it is on exactly one list, and the state
 * says which (invariants: verify.c). Written by ferry__op_move() alone. */
enum ferry__op_state {
    OP_IDLE,      /* the user's; on no list */
    OP_LANE,      /* waits in a lane of its slot */
    OP_BACKLOG,   /* loop->backlog: waits for room with the backend */
    OP_PAUSED,    /* loop->paused: an accept that waits for descriptors */
    OP_WORK_WAIT, /* loop->work_waiting: waits for room in the worker pool */
    OP_CLOSING,   /* slot->closer: a close that waits for the others, or lingers; on no list */
    OP_DRY,       /* first in its lane, has data, waits in its pool's queue for a buffer */
    OP_SPENT,     /* first in its lane, waits until buffers of its descriptor are given back */
    OP_IN_LANE,   /* with the backend, first in its lane */
    OP_RUNNING,   /* with the backend; on its slot's running list, or the loop's */
    OP_WORKING,   /* with the worker pool, or back from it in the inbox: ferry__work_outcome() */
    OP_TIMER,     /* in the timer wheel and nowhere else */
    OP_POSTED,    /* in the inbox: the poster's thread put it there */
    OP_RETURNED,  /* a buffer's: in the inbox, given back by another thread */
    OP_SERVED,    /* loop->served: waits in a service of the library */
    OP_OWN,       /* the library's own, with the backend; on no list and counted nowhere */
    OP_LOOKUP,    /* with the resolver threads, or back from them in the inbox */
    OP_LINKED,    /* loop->linked: linked and not yet submitted; on no list if that failed */
    OP_LINK_WAIT, /* loop->linked, loop->link_settled: submitted, waits for another's end */
    OP_DONE,      /* loop->landed or loop->finished: ended, its callback is next */
    OP_STATE_COUNT
};

/* op->bits: what has happened to it on the way. */
enum {
    BIT_SLOT = 1 << 0,       /* counted in its slot's busy */
    BIT_WRITE_LANE = 1 << 1, /* its lane is the write lane, else the read lane */
    BIT_SECOND = 1 << 1,     /* no lane: counted in busy of its second descriptor's slot, too */
    BIT_STAMP = 1 << 2,      /* on loop->to_stamp: its relative deadline begins at the next flush */
    BIT_TIMED = 1 << 3,      /* in the timer wheel */
    BIT_CANCEL = 1 << 4,     /* asked to end */
    BIT_CANCEL_OWED = 1 << 5, /* and the backend had no room to be told */
    BIT_EXPIRED = 1 << 6,     /* its deadline passed */
    BIT_POLLING = 1 << 7,     /* waits for readiness before it is tried again */
    BIT_HANDED = 1 << 8,      /* a close: the descriptor is with the system */
    BIT_BLOCKING = 1 << 9,    /* carried out by a worker, in the backend's stead */
    BIT_BACKGROUND = 1 << 10, /* does not keep ferry_run() going */
    BIT_STOPPING = 1 << 11,   /* the backend was asked to end it: counted in loop->stopping */
    BIT_PUNTED = 1 << 12,     /* the backend's: counted as being with threads of the system */
    BIT_LAST = 1 << 13,       /* a multishot that ends after the callback that is under way */
    BIT_LINKED = 1 << 14,     /* others wait for its end, or did: loop->linked */
    BIT_NOTICE = 1 << 15 /* ended, and held: the system has its memory, or that of a send before */
};

/* op->asked, beside the submit flags: ferry__fill() found it in OP_LINKED, so that it does not take
 * the short way in. ferry__submit() takes the mark away. */
#define ASKED_LINKED 0x80000000u
/* The same of a send of one message, so that a backend need not look at the slot of each send. */
#define ASKED_MESSAGE 0x40000000u

/* What an operation's result is. */
enum ferry__result { RESULT_NONE, RESULT_IN, RESULT_OUT, RESULT_FD, RESULT_LENT };

/* The direction that keeps it in order, if any. */
enum ferry__lane_rule {
    LANE_FREE,     /* runs concurrently with all others */
    LANE_ALOOF,    /* so does this, and nothing is remembered of the descriptor: it may be anybody's
                    */
    LANE_READ,     /* the read lane */
    LANE_WRITE,    /* the write lane */
    LANE_POSITION, /* by the descriptor: a lane, or concurrently if an offset is given */
    LANE_BOTH,     /* the write lane, and nothing starts in the read lane meanwhile */
    LANE_SERVED,   /* waits in a service of the library */
    LANE_CLOSE
};

/* When it can be cancelled: EARLY is until it has started. */
enum ferry__cancel_rule { CANCEL_ALWAYS, CANCEL_EARLY, CANCEL_NEVER };

/* Which arguments are checked before it is let in. */
enum {
    ARG_FD = 1 << 0,
    ARG_BUFFER = 1 << 1,  /* buf, unless len is 0 */
    ARG_VECTORS = 1 << 2, /* buf holds len vectors */
    ARG_PATH = 1 << 3,
    ARG_ADDR = 1 << 4,
    ARG_FILE = 1 << 5,   /* a struct ferry_file in more */
    ARG_LENGTH = 1 << 6, /* len is a length of a file */
    ARG_CALL = 1 << 7,
    ARG_HOW = 1 << 8,
    ARG_POOL = 1 << 9,    /* buf is a pool of this loop */
    ARG_WAIT = 1 << 10,   /* ferry__wait_check() */
    ARG_MSG = 1 << 11,    /* a struct ferry_msg in offset; its vectors become buf and len */
    ARG_DIR = 1 << 12,    /* fd is a directory, or FERRY_FD_NONE */
    ARG_SECOND = 1 << 13, /* ferry__op_second() is a descriptor, too */
    ARG_FILES = 1 << 14,  /* ferry__files_check() */
    ARG_QUERY = 1 << 15   /* buf is a ferry_query */
};

/* One row per operation: all that the core knows about a kind. */
struct ferry__op_row {
    const char *name;
    uint32_t flags;   /* submit flags that apply */
    uint8_t lane;     /* enum ferry__lane_rule */
    uint8_t result;   /* enum ferry__result */
    uint8_t cancel;   /* enum ferry__cancel_rule */
    uint16_t checked; /* ARG_... */
};

extern const struct ferry__op_row ferry__op_table[FERRY_OP_COUNT];

/* What is called for each of many; where: where it is, in a few words (static). */
typedef void ferry__visit(void *context, ferry_op *op, const char *where);

struct ferry__found;

static inline const struct ferry__op_row *ferry__op_row(const ferry_op *op) {
    return &ferry__op_table[op->code];
}

/* The other descriptor of an operation that has two (ARG_SECOND). */
static inline ferry_fd ferry__op_second(const ferry_op *op) {
    if (op->code == FERRY_OP_COPY) return (ferry_fd)(intptr_t)op->buf;
    return (ferry_fd)(int64_t)op->more;
}

/* The file of a sendfile. */
static inline ferry_fd ferry__source(const ferry_op *op) {
    return (ferry_fd)(int32_t)(uint32_t)op->more; /* the rest of op->more is the backend's */
}

static inline bool ferry__op_uses(const ferry_op *op, ferry_fd fd) {
    return op->fd == fd ||
           (ferry__op_row(op)->checked & ARG_SECOND && ferry__op_second(op) == fd) ||
           (op->code == FERRY_OP_SENDFILE && ferry__source(op) == fd);
}

/* What was asked, what kind it is, where it is and what happened to it: eight bytes that lie side
 * by side, so that the ordinary case is told by one comparison. */
static inline uint64_t ferry__op_shape(const ferry_op *op) {
    uint64_t shape;
    memcpy(&shape, &op->asked, sizeof shape);
    return shape;
}

static inline uint64_t ferry__shape(uint8_t code, uint8_t state, uint16_t bits) {
    const ferry_op op = {.asked = 0, .code = code, .state = state, .bits = bits};
    return ferry__op_shape(&op);
}

/* The shape of a plain send; FERRY_PUT makes no difference until its delivery. */
static inline bool ferry__op_is_plain_send(const ferry_op *op, uint8_t state) {
    const ferry_op put = {.asked = FERRY_PUT};
    return (ferry__op_shape(op) & ~ferry__op_shape(&put)) ==
           ferry__shape(FERRY_OP_SEND, state, BIT_SLOT | BIT_WRITE_LANE);
}

_Static_assert(offsetof(ferry_op, bits) + sizeof(uint16_t) - offsetof(ferry_op, asked) == 8,
               "the shape of an operation has no holes");

/* ---- Lists: doubly linked through op->link, the ends in a struct ------------------------- */

struct ferry__list {
    ferry_op *head, *tail;
};

/* A lone element's link is neither written nor read, so that the common case, an operation alone in
 * its lane, stays within its first 64 bytes. */
static inline void ferry__list_push(struct ferry__list *list, ferry_op *op) {
    if (list->tail != NULL) {
        list->tail->link.next = op;
        op->link.prev = list->tail;
        list->tail = op;
    } else {
        list->head = list->tail = op;
    }
}

static inline void ferry__list_remove(struct ferry__list *list, ferry_op *op) {
    if (list->head == list->tail) {
        list->head = list->tail = NULL;
    } else if (list->head == op) {
        list->head = op->link.next;
    } else if (list->tail == op) {
        list->tail = op->link.prev;
    } else {
        op->link.prev->link.next = op->link.next;
        op->link.next->link.prev = op->link.prev;
    }
}

static inline ferry_op *ferry__list_next(const struct ferry__list *list, const ferry_op *op) {
    return op == list->tail ? NULL : op->link.next;
}

/* A vector; its length fits, as no buffer of a pool or of one try is longer than 32 bits can tell.
 */
static inline ferry_vec ferry__vec(void *data, size_t len) {
    ferry_vec vec = {.data = data};
    vec.len = (unsigned long)len;
    return vec;
}

/* ---- Descriptors ------------------------------------------------------------------------- */

/* Where a descriptor stands in tables, and back. */
static inline uint64_t ferry__fd_number(ferry_fd fd) {
    return (uint64_t)fd >> FERRY__FD_SHIFT;
}

static inline ferry_fd ferry__fd_of(int64_t number) {
    return (ferry_fd)(number * (1 << FERRY__FD_SHIFT));
}

enum {
    SLOT_CLOSING = 1 << 0, /* a close was submitted and not yet handed to the system */
    SLOT_LEAVING = 1 << 1, /* handed: the number may be anybody's, so nothing is remembered of it */
    SLOT_DIRTY = 1 << 2,   /* on loop->dirty: something to start at the flush */
    SLOT_BROKEN = 1 << 3,  /* a send was cut short: later ones end with FERRY_EPIPE */
    SLOT_SENT = 1 << 4,    /* bytes were sent: a close must not lose them */
    SLOT_DRAINED = 1 << 5, /* the last receive took all there was: the next waits for more first */
    SLOT_ALONE = 1 << 7,   /* the next send shares no call: one that did met bad memory */
    SLOT_PAUSED = 1 << 9,  /* the first of the read lane is OP_SPENT */
    SLOT_LINKED = 1 << 10, /* a linked operation has waited here before it started */
    SLOT_NOTICE = 1 << 8,  /* sends that have ended are held: BIT_NOTICE */
    SLOT_COPIES = 1 << 11, /* the system refused a zero-copy send: the others are ordinary ones */
    SLOT_LINGERING = 1 << 6 /* the close reads and discards until the peer has what was sent */
};

/* One per descriptor number. Zero means: never used. */
struct ferry__slot {
    struct ferry__list lane[2];     /* 0 read, 1 write; the first may be with the backend */
    struct ferry__list running;     /* concurrent operations with the backend */
    ferry_op *closer;               /* the close that waits */
    struct ferry__slot *next_dirty; /* next on loop->dirty */
    uint32_t busy;                  /* operations that a close waits for */
    uint32_t generation;            /* of the number: counts closes and forgets */
    uint8_t gathered;  /* sends at the head of the write lane that share one call; 0: one */
    uint8_t kind;      /* enum ferry__fd_kind */
    uint16_t connects; /* connects in the write lane: the read lane waits */
    uint16_t flags;    /* SLOT_... */
    uint16_t lent;     /* pool buffers that hold what came from here and are not yet given back */
    uint16_t turn;     /* the last in which results of multishot operations were delivered, and */
    uint16_t results;  /* how many it were */
};

_Static_assert(offsetof(struct ferry__slot, lent) + 2 - offsetof(struct ferry__slot, gathered) == 8,
               "what makes a slot ordinary lies side by side");

enum { READ_LANE, WRITE_LANE };

/* ---- Time -------------------------------------------------------------------------------- */

#define WHEEL_LEVELS 8
#define WHEEL_BINS 64
#define WHEEL_SHIFT 20 /* a bin of the lowest level is 2^20 ns, about a millisecond, wide */

/* A hierarchical wheel: bins only sort roughly, entries keep exact nanoseconds (timer.c). */
struct ferry__wheel {
    uint64_t tick;    /* where the wheel stands: ns >> WHEEL_SHIFT */
    uint64_t nearest; /* not later than the nearest entry, if known */
    size_t count;
    bool nearest_known;
    uint64_t used[WHEEL_LEVELS]; /* a bit for each bin that is not empty */
    ferry_op *bin[WHEEL_LEVELS][WHEEL_BINS];
};

/* ---- Completions ------------------------------------------------------------------------- */

#define TURN_CALLBACKS 1024u
#define TURN_RESULTS 32u /* of multishot operations on one descriptor */

/* Records put off to the next turn, for the others' sake: as if they were still with the backend.
 */
struct ferry__later {
    struct ferry__record *at;
    uint32_t mask, head, tail;
};

/* ---- Links ------------------------------------------------------------------------------- */

#define LINK_BUCKETS_SHIFT 8
#define LINK_BUCKETS (1u << LINK_BUCKETS_SHIFT)

/* ---- Threads ----------------------------------------------------------------------------- */

struct ferry__workers;

/* Classes of blocking work, each with threads of its own, so that neither waits behind the other.
 * (Host names have theirs, too: names.c.) */
enum ferry__work_class {
    WORK_FILES, /* operations that the backend cannot do without waiting */
    WORK_USER,  /* functions of the program's */
    WORK_CLASSES
};

/* What other threads reach: alone in its cache lines. */
struct ferry__inbox {
    alignas(64) _Atomic(ferry_op *) top; /* posts and finished work, newest first */
    _Atomic bool asleep;    /* the loop waits in the backend, or is about to: wake it */
    _Atomic bool stop;      /* ferry_stop() was called */
    _Atomic bool refuses;   /* the loop drains: no more posts */
    _Atomic bool signalled; /* a signal that the loop waits for has come */
    _Atomic bool measures;  /* latencies are measured: posters look at the clock */
    _Atomic uint64_t wakeups;
};

/* ---- Services: what operations wait for without the backend ------------------------------ */

enum ferry__service { SERVICE_SIGNALS, SERVICE_WATCHES, SERVICES };

/* A loop's share in the process's signals (signals.c). */
struct ferry__signals {
    _Atomic(ferry_loop *) next;          /* shared: the list that the handler walks */
    _Atomic bool wanted[FERRY__SIGNALS]; /* shared: by number, whether to wake this loop */
    uint32_t waits[FERRY__SIGNALS];      /* operations that wait, from submit to delivery */
    bool listed;                         /* on the list */
    bool changed;                        /* a number may be wanted that nobody waits for */
};

struct ferry__watches;

/* ---- The loop ---------------------------------------------------------------------------- */

enum {
    GATE_NEW = 1 << 0,   /* nobody has run it yet: keep what is submitted */
    GATE_DRAIN = 1 << 1, /* it drains: end what is submitted */
    GATE_STALE = 1 << 2, /* it does not run, and its clock is as old as its last turn */
    GATE_DUMP = 1 << 3,  /* ferry_dump() shows what is in flight: nothing may change */
    GATE_QUIET = 1 << 4  /* embedded, and nothing to do: what is submitted must tell the outer loop
                          */
};

struct ferry_loop {
    const struct ferry__backend *backend;
    void *system; /* the backend's own */
    struct ferry__slot *slots;
    uint32_t slot_count;                          /* usable so far, and */
    uint32_t slot_limit;                          /* how many there can be */
    uint32_t gate;                                /* GATE_... */
    uint32_t fork_count;                          /* ferry__os_fork_count when it was opened */
    struct ferry__slot *dirty_first, *dirty_last; /* slots to start something in */
    uint64_t now;                                 /* ns */
    uint64_t in_flight;                           /* submitted and not yet delivered */
    uint64_t background; /* of those, the ones that do not keep ferry_run() going */
    struct ferry__records records;
    struct ferry__later later;
    uint32_t delivered; /* completions delivered in this turn */
    bool running;
    bool embedded;                 /* somebody has its descriptor: ferry_loop_fd() */
    const ferry_loop *runs_inside; /* the loop in whose callback this one is run */
    bool reap_due;               /* the next completion is for ferry_reap(), which is not running */
    ferry_completion *reaped;    /* where ferry_reap() puts the next */
    size_t reap_room;            /* and how many more */
    unsigned place_first;        /* of the places where completions wait, 0 to 2: served first */
    struct ferry__list landed;   /* ended by the record at hand */
    struct ferry__list due;      /* ended by the clock or by another thread */
    struct ferry__list finished; /* ended otherwise: nops, errors, cancels */
    struct ferry__list backlog;
    struct ferry__list running_free; /* OP_RUNNING without a descriptor */
    struct ferry__list paused;
    struct ferry__list work_waiting[WORK_CLASSES];
    struct ferry__list served[SERVICES];
    struct ferry__list *ending; /* which of these what ends goes to */
    ferry_op *to_stamp;         /* relative deadlines not yet begun, newest first; through timer */
    uint8_t support[FERRY_OP_COUNT]; /* enum ferry__support, filled by the backend */
    uint32_t sendfiles;              /* in flight */
    uint32_t cancels_owed;
    uint32_t stopping;  /* operations that the backend was asked to end and that have not */
    bool cancel_missed; /* a cancel did not find its operation: ask again for those */
    int64_t slot_top;   /* highest slot in use so far, -1 none */

    uint64_t pause_ns;    /* how long accepts pause now */
    uint64_t pause_until; /* when the first of paused is tried again; UINT64_MAX: none */
    uint64_t pause_last;  /* when an accept last met full descriptor tables */

    ferry_pool *pools; /* buffer pools, through next */
    ferry_vec *pieces; /* registered memory, by address; NULL: none */
    size_t piece_count;
    uint64_t pieces_used; /* reads and writes in flight whose buffer lies within */
    struct ferry__workers *workers[WORK_CLASSES]; /* NULL until the first work */
    uint32_t work_out[WORK_CLASSES];              /* handed to the pool */
    uint64_t work_in_loop[WORK_CLASSES];          /* in work_waiting */
    uint32_t work_max, work_threads[WORK_CLASSES];
    bool own_workers;
    int cancel_signal;     /* for its workers; 0: none */
    uint64_t interrupt_at; /* when workers are told once more to end; UINT64_MAX: none is */
    uint64_t interrupt_ns; /* after the time before */

    struct ferry__watches *watches; /* NULL until the first watch */
    struct ferry__signals signals;
    uint64_t linked_count; /* in linked and link_settled */
    uint64_t lookups;      /* OP_LOOKUP */
    uint32_t resolver_threads;
    bool resolves; /* it keeps the process's resolver threads */

    ferry_op *spare;  /* free ones, through link.next */
    ferry_op *spares; /* address space for them, one per slot at most */
    uint32_t spares_used;
    uint64_t holds;

    struct ferry__thread_id owner;
    struct ferry__wheel wheel;
    ferry_stats stats;
    uint32_t measures;                  /* FERRY_MEASURE_...: what is measured */
    struct ferry__histogram *latencies; /* by kind; NULL: they are not measured */
    struct ferry__measures *measured;   /* NULL: nothing is */
    ferry_description description;
    ferry_refusal refusals[4];
    void *(*allocate)(size_t, void *);
    void (*release)(void *, void *);
    void *allocator_context;
    struct ferry__list linked[LINK_BUCKETS]; /* linked operations, by whom they wait for */
    struct ferry__list link_settled;         /* those of the callback that is under way */
    void *raw;                 /* what allocate gave: the loop itself is aligned within */
    struct ferry__inbox inbox; /* shared */
};

/* ---- op.c -------------------------------------------------------------------------------- */

/* The only writer of an operation's state. */
static inline void ferry__op_move(ferry_op *op, enum ferry__op_state state);
/* Makes a record its operation's end, or the start of its next step. Returns a multishot operation
 * that has a result and stays in flight: its callback is next, and after it, with BIT_LAST, the
 * end: ferry__op_last(). */
ferry_op *ferry__op_land(ferry_loop *loop, const struct ferry__record *record);
void ferry__op_last(ferry_loop *loop, ferry_op *op);
/* A multishot operation has a result and goes on: with the backend (record_flags has RECORD_MORE),
 * or as another try. */
ferry_op *ferry__op_more(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t record_flags);
/* Off its list, ended, and on with what waited behind it. */
void ferry__op_leave(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t flags);
/* Asks the backend that what op waits for end: it will be tried again. */
void ferry__op_interrupt(ferry_loop *loop, ferry_op *op);
/* Begins the relative deadlines of what was submitted since the last call. */
void ferry__op_stamp(ferry_loop *loop);
/* op's deadline has passed, or it is a timer that is due. */
void ferry__op_due(ferry_loop *loop, ferry_op *op);
/* A delivered completion had FERRY_MORE: on to the next. */
void ferry__op_continue(ferry_loop *loop, ferry_op *op);
/* Its callback has run: ends it if that was asked for meanwhile. */
void ferry__op_continued(ferry_loop *loop, ferry_op *op);
/* A multishot has a result: its deadline, unless absolute, is the longest gap and begins anew. */
void ferry__op_next_gap(ferry_loop *loop, ferry_op *op);
/* op has come in from another thread: a post, or work done. */
void ferry__op_arrived(ferry_loop *loop, ferry_op *op);
/* Its relative deadline, or a timer's span, begins at the next flush. */
void ferry__op_stamp_later(ferry_loop *loop, ferry_op *op);
void ferry__timer_arm(ferry_loop *loop, ferry_op *op, uint64_t deadline);
void ferry__op_flush_backlog(ferry_loop *loop);
void ferry__op_flush_cancels(ferry_loop *loop);

/* ---- poll.c, processes.c ----------------------------------------------------------------- */

/* Are the arguments of a poll, a wait for a process or a spawn what they should be? 0 or an error.
 */
int ferry__wait_check(const ferry_op *op);
/* A worker has begun a child: its pipes are the loop's. */
void ferry__spawn_done(ferry_loop *loop, const ferry_op *op);

/* ---- accept.c ---------------------------------------------------------------------------- */

/* Descriptors have run out: op waits inside the library. */
void ferry__accept_pause(ferry_loop *loop, ferry_op *op);
void ferry__accept_succeeded(ferry_loop *loop);
/* Tries the next one that waits, if it is time. */
void ferry__accept_retry(ferry_loop *loop);
/* A descriptor has become free. */
void ferry__accept_hurry(ferry_loop *loop);
/* Ends an operation: the only way out, exactly once. It must be on no list but the wheel's. */
void ferry__op_end(ferry_loop *loop, ferry_op *op, int64_t result, uint32_t flags);
/* The last step of that, for one that was held. */
void ferry__op_finish(ferry_loop *loop, ferry_op *op);
/* Asks one operation to end, with FERRY_ETIMEDOUT if expired. */
void ferry__op_stop(ferry_loop *loop, ferry_op *op, bool expired);
/* The error with which op was asked to end, 0 if it was not. */
int ferry__op_stopped(const ferry_op *op);
/* Gives the backend an operation that runs concurrently, or puts it on the backlog. */
void ferry__op_start(ferry_loop *loop, ferry_op *op);
const char *ferry__op_state_name(unsigned state);
/* Prints the message and the trace, and ends the program. */
FERRY__NORETURN void ferry__op_fatal(const ferry_op *op, const char *what);

/* ---- loop.c ------------------------------------------------------------------------------ */

/* Stops the program if op is handed to a loop in a forked child, from inside ferry_dump(), or in
 * debug builds from a thread that does not own the loop. */
void ferry__loop_misused(const ferry_loop *loop, const ferry_op *op);

/* Does the calling thread run this loop just now? */
bool ferry__loop_runs_here(const ferry_loop *loop);

/* The first submission since the last run: the time that has passed is none of the operation's. */
void ferry__loop_look_at_clock(ferry_loop *loop);

static inline void ferry__loop_check(const ferry_loop *loop, const ferry_op *op) {
    if (FERRY__DEBUG || FERRY__UNLIKELY(loop->fork_count != ferry__os_fork_count) ||
        FERRY__UNLIKELY(loop->gate & GATE_DUMP)) {
        ferry__loop_misused(loop, op);
    }
}

/* ---- embed.c ----------------------------------------------------------------------------- */

void ferry__loop_raise(ferry_loop *loop);

/* To be called by whatever gives the loop something to do, on its thread and perhaps outside a run:
 * an outer loop has to know. */
static inline void ferry__loop_touch(ferry_loop *loop) {
    if (FERRY__UNLIKELY(loop->gate & GATE_QUIET)) ferry__loop_raise(loop);
}

/* ---- submit.c ---------------------------------------------------------------------------- */

/* What each call of ferry.h begins with. The state is looked at first: an operation in flight must
 * not be overwritten. */
static inline void ferry__fill(ferry_op *op, enum ferry_op_code code, ferry_fd fd, const void *buf,
                               uint64_t len, unsigned flags, ferry_cb *cb) {
    if (FERRY__UNLIKELY(op->state != OP_IDLE)) {
        if (op->state != OP_LINKED) ferry__op_fatal(op, "was submitted while it is in flight");
        /* What the caller set by mistake must not get lost under the mark. */
        flags = flags & ASKED_LINKED ? ~0u : flags | ASKED_LINKED;
    }
    op->done = cb;
    op->fd = fd;
    op->buf = buf;
    op->len = len;
    op->asked = flags;
    op->code = (uint8_t)code;
}

/* Counts the operation in and sends it on its way. Its fields say what was asked. */
void ferry__submit(ferry_loop *loop, ferry_op *op);
/* A linked operation's turn has come: sends it on its way. */
void ferry__submit_waited(ferry_loop *loop, ferry_op *op);

/* ---- link.c ------------------------------------------------------------------------------ */

/* A linked operation is submitted. True: it waits; else it is on no list, and ends with *error if
 * that is not 0. */
bool ferry__link_waits(ferry_loop *loop, ferry_op *then, int *error);
/* first's final callback is next: those that wait for it learn the outcome. */
void ferry__link_settle(ferry_loop *loop, const ferry_op *first);
/* That callback is over: they start, or end. */
void ferry__link_release(ferry_loop *loop);
/* Makes one that is linked and not yet submitted what it was before. */
void ferry__link_withdraw(ferry_loop *loop, ferry_op *then);
/* Takes one that waits off its list. */
void ferry__link_leave(ferry_loop *loop, ferry_op *then);
/* Asks those that wait to end: all, or those of one descriptor, closes or not. */
void ferry__link_stop_all(ferry_loop *loop, ferry_fd fd, bool closes);
void ferry__link_stop_fd(ferry_loop *loop, ferry_fd fd, bool closes);

/* ---- file_rules.c ------------------------------------------------------------------------ */

/* What is wrong with the arguments of an operation on files: 0 or an error. */
int ferry__files_check(const ferry_op *op);
/* A worker has carried it out. */
void ferry__files_land(ferry_loop *loop, ferry_op *op, int64_t result);

/* An entry of a directory in the memory of ferry_list(); its name follows, and a 0. Packed one
 * behind the other, without regard to alignment. */
struct ferry__entry {
    uint64_t inode;
    uint16_t size; /* bytes from this entry to the next */
    uint8_t type;  /* enum ferry_file_type */
};
#define FERRY__ENTRY_HEAD 11u /* bytes before the name: the three above without padding */

/* ---- lane.c ------------------------------------------------------------------------------ */

void ferry__lane_submit(ferry_loop *loop, ferry_op *op);
/* For an operation with two descriptors, each of which may be FERRY_FD_NONE. */
void ferry__pair_submit(ferry_loop *loop, ferry_op *op);
/* Takes an operation out of its lane. What comes next is started by ferry__lane_next(). */
void ferry__lane_leave(ferry_loop *loop, ferry_op *op);
void ferry__lane_next(ferry_loop *loop, ferry_fd fd);
/* Ends an operation that failed in its lane. What waits behind it goes on, unless it was a connect,
 * or a write that had moved a part of its bytes into a stream: then that ends with FERRY_ECANCELED.
 */
void ferry__lane_end(ferry_loop *loop, ferry_op *op, int error);
/* op is first in its lane and with nobody: gives it to the backend (again). */
void ferry__lane_restart(ferry_loop *loop, ferry_op *op);
/* Starts all that waits for the flush. */
void ferry__lane_flush(ferry_loop *loop);
/* The system handed this number out: whatever was known of it is void. */
void ferry__slot_claim(ferry_loop *loop, ferry_fd fd, enum ferry__fd_kind kind);
/* Makes a slot for a descriptor if there can be one: 0, FERRY_EMFILE, or FERRY_ENOMEM. */
int ferry__slot_provide(ferry_loop *loop, ferry_fd fd);
/* It has been used. */
static inline void ferry__slot_used(ferry_loop *loop, ferry_fd fd) {
    int64_t number = (int64_t)ferry__fd_number(fd);
    if (number > loop->slot_top) loop->slot_top = number;
}
/* What a descriptor is (enum ferry__fd_kind), or the error with which a submit on it ends. ask: the
 * system, if that is not known. */
int ferry__slot_kind(ferry_loop *loop, ferry_fd fd, bool ask);
void ferry__slot_close(ferry_loop *loop, ferry_op *op);
void ferry__slot_linger(ferry_loop *loop, ferry_op *op);
void ferry__slot_closed(ferry_loop *loop, ferry_op *op, int64_t result);
/* Asks all operations on a descriptor to end, but for its close. */
void ferry__slot_cancel(ferry_loop *loop, ferry_fd fd);

/* A stream on which nothing unusual goes on: connects, kind and the flags that matter, at once. */
static inline bool ferry__slot_is_ordinary(const struct ferry__slot *slot) {
    const struct ferry__slot usual = {.kind = KIND_STREAM};
    const struct ferry__slot looked_at = {
        .kind = UINT8_MAX,
        .connects = UINT16_MAX,
        .flags = SLOT_CLOSING | SLOT_LEAVING | SLOT_BROKEN,
    };
    uint64_t is, want, mask;
    memcpy(&is, &slot->gathered, sizeof is);
    memcpy(&want, &usual.gathered, sizeof want);
    memcpy(&mask, &looked_at.gathered, sizeof mask);
    return (is & mask) == want;
}

/* Is there a slot for it by now? Only then may it be asked for. */
static inline bool ferry__slot_is_there(const ferry_loop *loop, ferry_fd fd) {
    return ferry__fd_number(fd) < loop->slot_count;
}

static inline struct ferry__slot *ferry__slot(const ferry_loop *loop, ferry_fd fd) {
    return &loop->slots[ferry__fd_number(fd)];
}

/* A message cannot be taken in pieces. */
static inline bool ferry__slot_is_message(const struct ferry__slot *slot) {
    return slot->kind == KIND_MESSAGE || slot->kind == KIND_SEQPACKET;
}

/* The slot has something to start at the flush. */
static inline void ferry__slot_dirty(ferry_loop *loop, struct ferry__slot *slot) {
    if (slot->flags & SLOT_DIRTY) return;
    slot->flags |= SLOT_DIRTY;
    slot->next_dirty = NULL;
    if (loop->dirty_last != NULL) {
        loop->dirty_last->next_dirty = slot;
    } else {
        loop->dirty_first = slot;
    }
    loop->dirty_last = slot;
}

/* ---- buffer_pool.c ----------------------------------------------------------------------- */

enum ferry__buffer_state {
    BUFFER_FREE,    /* in the reserve */
    BUFFER_OFFERED, /* with the system, which takes the next when data is there */
    BUFFER_TAKEN,   /* assigned to an operation that has data to receive */
    BUFFER_LENT     /* the program's */
};

struct ferry_pool {
    ferry_loop *loop;
    ferry_pool *next;
    ferry_buffer *buffers;
    unsigned char *memory;
    size_t size; /* bytes of each */
    uint32_t count;
    uint32_t fresh;        /* from this one on they have never been used, and take no memory */
    uint32_t free;         /* in the reserve, fresh ones included */
    ferry_buffer *warmest; /* of the reserve; through op.link.next */
    uint32_t offered;      /* with the system */
    uint32_t offer_aim;    /* how many it shall have */
    uint32_t offer_max;    /* 0: it takes none */
    uint32_t credit;
    uint32_t users;                 /* operations in flight */
    ferry_op *dry_first, *dry_last; /* those in OP_DRY */
    bool shared;
    bool picked;    /* an operation has let the system pick: buffers are offered from then on */
    uint16_t group; /* the backend's number for it */
    void *ring;     /* the backend's */
};

static inline ferry_pool *ferry__op_pool(const ferry_op *op) {
    return (ferry_pool *)(uintptr_t)op->buf;
}

/* The buffer assigned to an operation before it receives; NULL if none is. */
static inline ferry_buffer *ferry__pool_assigned(const ferry_op *op) {
    return op->len > 1 ? (ferry_buffer *)(uintptr_t)op->len : NULL;
}

/* The first of its lane is to be submitted: false if it has to wait for a buffer, or its peer. */
bool ferry__pool_prepare(ferry_loop *loop, ferry_op *op);
/* A plain result of a multishot that goes on with the system, the ordinary case: op, ready for its
 * callback, or NULL with nothing changed. */
ferry_op *ferry__pool_land_ordinary(ferry_loop *loop, const struct ferry__record *record);
/* What has come of it. */
ferry_op *ferry__pool_land(ferry_loop *loop, ferry_op *op, const struct ferry__record *record);
/* There is data and no buffer with the system: one more, if there is one. */
bool ferry__pool_offer_one(ferry_pool *pool);
/* op was waiting for a buffer and waits in its lane only, from now on. */
void ferry__pool_unwait(ferry_loop *loop, ferry_op *op);
/* It has data to receive. */
void ferry__pool_ready(ferry_op *op);
/* Nothing came of it: it will be tried again. */
void ferry__pool_retry(ferry_op *op, uint32_t record_flags);
/* op ends. */
void ferry__pool_leave(ferry_op *op, int64_t result);
/* A message's: addr, control data, and where what follows them begins. Puts these into buffer->msg
 * as they are before a receive into it; sizes are what has come. */
void ferry__pool_message(ferry_buffer *buffer);
/* Is this the operation of a lent buffer? */
bool ferry__pool_owns(const ferry_loop *loop, const ferry_op *op);
/* A send with FERRY_PUT has been delivered; it was let in only if ferry__pool_owns() said so. */
void ferry__pool_sent(ferry_op *op);
/* A buffer has come back through the inbox. */
void ferry__pool_returned(ferry_op *op);

/* ---- buffers.c --------------------------------------------------------------------------- */

/* The number of the registered piece that all of op's buffer lies in, which then counts as used
 * until op ends; -1: none. op: a plain read or write, op->more of which is for this. */
int ferry__pieces_find(ferry_loop *loop, ferry_op *op);
void ferry__pieces_let_go(ferry_loop *loop, ferry_op *op);
void ferry__pieces_free(ferry_loop *loop);

/* ---- sendfile.c -------------------------------------------------------------------------- */

int ferry__sendfile_check(ferry_loop *loop, const ferry_op *op);
/* Counts op in and out of its file's slot, so that closing the file waits for it. */
void ferry__sendfile_hold(ferry_loop *loop, const ferry_op *op);
void ferry__sendfile_release(ferry_loop *loop, const ferry_op *op);
/* Asks those to end that read from fd. */
void ferry__sendfile_cancel(ferry_loop *loop, ferry_fd fd);

/* ---- zerocopy.c -------------------------------------------------------------------------- */

/* What a zero-copy send keeps in op->flags until it ends: the notices that it waits for, and
 * below. */
enum {
    ZEROCOPY_NOTICES = 0xffff,
    ZEROCOPY_COPIED = 1 << 16, /* some of it was copied */
    ZEROCOPY_SPARED = 1 << 17, /* some of it was not */
    ZEROCOPY_TRIED = 1 << 18,  /* the backend's: this try is without copying */
    ZEROCOPY_REFUSED = 1 << 19 /* the backend's: no more such tries */
};

/* A record of a zero-copy send. True if there is nothing more to it. */
bool ferry__zerocopy_land(ferry_loop *loop, const struct ferry__record *record);
/* op has ended: must its completion wait? Then it is held. */
bool ferry__zerocopy_holds(ferry_loop *loop, ferry_op *op, uint32_t flags);
/* May sends on this descriptor be waiting for notices, or come to that? */
bool ferry__zerocopy_waits(const struct ferry__slot *slot);
/* The peer takes too long: has the system throw away what it has of them. */
void ferry__zerocopy_abandon(ferry_loop *loop, ferry_fd fd);

/* ---- messages.c -------------------------------------------------------------------------- */

/* Is op's message one that the system could take? Takes its vectors over into op. */
int ferry__msg_check(ferry_op *op);
/* Has the message control data and no bytes that it could go with on a stream? */
bool ferry__msg_is_hollow(const ferry_op *op);

static inline ferry_msg *ferry__msg(const ferry_op *op) {
    return (ferry_msg *)(uintptr_t)op->offset;
}

/* ---- timer.c ----------------------------------------------------------------------------- */

void ferry__wheel_init(struct ferry__wheel *wheel, uint64_t now);
void ferry__wheel_add(struct ferry__wheel *wheel, ferry_op *op);
void ferry__wheel_remove(struct ferry__wheel *wheel, ferry_op *op);
/* Not later than the nearest entry; UINT64_MAX if there is none. */
uint64_t ferry__wheel_nearest(struct ferry__wheel *wheel);
/* Takes out the next entries that are due by now, in order, a bin at a time; a list through
 * timer.next, NULL at its end. NULL if none is left: to be called until then, sooner or later. */
ferry_op *ferry__wheel_expire(struct ferry__wheel *wheel, uint64_t now);

/* Calls fn for each entry. fn may remove it. */
void ferry__wheel_each(struct ferry__wheel *wheel, ferry_loop *loop,
                       void (*fn)(ferry_loop *, ferry_op *));

static inline uint64_t ferry__time_add(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- post.c ------------------------------------------------------------------------------ */

/* Any thread. Puts op into the inbox and wakes the loop if it sleeps. */
void ferry__inbox_push(ferry_loop *loop, ferry_op *op);
/* The first half of it, after which ferry__inbox_wake() is owed. */
void ferry__inbox_put(ferry_loop *loop, ferry_op *op);
/* The newest operation that lies in the inbox; through link.next, NULL at its end. */
ferry_op *ferry__inbox_top(const ferry_loop *loop);
/* What has come in, oldest first; through link.next, NULL at its end. */
ferry_op *ferry__inbox_take(ferry_loop *loop);
/* What has come in begins to end. */
void ferry__inbox_arrive(ferry_loop *loop);
/* The loop is about to wait: false if it must not, because something has come in. */
bool ferry__inbox_sleep(ferry_loop *loop);
void ferry__inbox_awake(ferry_loop *loop);
/* Any thread, signal handlers too. */
void ferry__inbox_wake(ferry_loop *loop);

/* ---- worker.c ---------------------------------------------------------------------------- */

/* Hands op to the worker pool, or lets it wait in the loop. */
void ferry__work_submit(ferry_loop *loop, ferry_op *op);
/* Hands over one of the library's own (OP_OWN, of kind FERRY_OP_WORK), at once: there are few of
 * them. Back it goes to the backend: worked. False if there is no worker. */
bool ferry__work_own(ferry_loop *loop, ferry_op *op);
/* What came of op, which has come back through the inbox. */
int64_t ferry__work_outcome(const ferry_op *op);
/* op has come back through the inbox. */
void ferry__work_back(ferry_loop *loop, const ferry_op *op);
/* Takes op back if no worker has it yet. False: one has, and if the call that it waits in can be
 * ended, it is told to. */
bool ferry__work_cancel(ferry_loop *loop, ferry_op *op);
/* Takes one back that no worker has yet, and ends it; false if there is none: then those that
 * workers have are told to end. fd: only of this descriptor, unless it is FERRY_FD_NONE. */
bool ferry__work_cancel_any(ferry_loop *loop, ferry_fd fd);
/* Some that workers have were told to end and may not have noticed: once more. To be called when
 * the clock says loop->interrupt_at. */
void ferry__work_interrupt(ferry_loop *loop);
/* For who carries out an operation on a worker's thread: is it told to end? A call that ends with
 * EINTR is made once more unless it is. */
bool ferry__work_stopped(void);
void ferry__work_close(ferry_loop *loop);
/* In a forked child, where the pool has no threads. */
void ferry__work_abandon(ferry_loop *loop);

/* How one of the loop's pools is occupied; all zero if it has none of this class. */
ferry_worker_stats ferry__work_load(const ferry_loop *loop, enum ferry__work_class class);
/* Writes down the loop's operations that no worker has taken, and those that are being worked at.
 * Under the pool's lock; there is work out. */
void ferry__work_find(const ferry_loop *loop, struct ferry__found *found);
/* All of the loop's pools. */
void ferry__work_lock(const ferry_loop *loop);
void ferry__work_unlock(const ferry_loop *loop);
static inline uint32_t ferry__work_out(const ferry_loop *loop) {
    return loop->work_out[WORK_FILES] + loop->work_out[WORK_USER];
}
enum ferry__work_class ferry__work_class(const ferry_op *op);

/* ---- each.c: all that is in flight ----------------------------------------------------------- */

/* The lists of the loop itself, and the state that each stands for. Ends with OP_IDLE. */
struct ferry__place {
    size_t list; /* offset of a struct ferry__list in the loop */
    enum ferry__op_state state;
};
extern const struct ferry__place ferry__places[];

static inline struct ferry__list *ferry__place_list(ferry_loop *loop,
                                                    const struct ferry__place *place) {
    return (struct ferry__list *)(void *)((char *)loop + place->list);
}

/* Calls fn once for each operation in flight, wherever it is, and for posts that have not arrived.
 * fn must not end any, nor touch what threads write that have some: op->link, op->more,
 * op->transferred. False if memory was wanting for what other threads have; fn was not called. */
bool ferry__each(ferry_loop *loop, ferry__visit *fn, void *context);

/* What other threads have, as one moment has it. */
struct ferry__whereabouts {
    ferry_op *op;
    const char *where;
};
struct ferry__found {
    struct ferry__whereabouts *at;
    size_t max, count;
};
void ferry__found_add(struct ferry__found *found, ferry_op *op, const char *where);

/* ---- measure.c ------------------------------------------------------------------------------- */

#define HISTOGRAM_BITS 4 /* buckets of a power of two: 2^4, so that each is within 6.25 % */
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/* Log-linear: numbers below 16 have a bucket each, then each power of two has 16. All zero when
 * empty; a power of two in size, for the sake of the index into an array of them. */
struct ferry__histogram {
    uint64_t sum, max;
    uint64_t below; /* UINT64_MAX less the smallest; 0: none was added */
    uint64_t bucket[HISTOGRAM_BUCKETS];
    uint64_t unused[1024 - 3 - HISTOGRAM_BUCKETS];
};

_Static_assert(sizeof(struct ferry__histogram) == 8192, "an index is a shift");

enum { MEASURED_LATENCY, MEASURED_CALLBACKS, MEASURED_KINDS };

struct ferry__measures {
    struct ferry__histogram of[MEASURED_KINDS][FERRY_OP_COUNT];
};

static inline uint64_t ferry__bucket_of(uint64_t value) {
    uint64_t shift = FERRY__HIGHEST_BIT(value | 1u << HISTOGRAM_BITS) - HISTOGRAM_BITS;
    return (shift << HISTOGRAM_BITS) + (value >> shift);
}

/* The smallest value of a bucket. */
uint64_t ferry__bucket_floor(unsigned index);

static inline void ferry__histogram_add(struct ferry__histogram *histogram, uint64_t value) {
    histogram->bucket[ferry__bucket_of(value)]++;
    histogram->sum += value;
    if (value > histogram->max) histogram->max = value;
    if (~value > histogram->below) histogram->below = ~value;
}

/* While an operation is in flight its result holds when it began, on the loop's clock; when it has
 * ended and its callback is next, timer.when does. Between a completion with FERRY_MORE and the end
 * of its callback the result is the user's: what follows then begins now. 0: not known. */
static inline void ferry__op_begins(const ferry_loop *loop, ferry_op *op) {
    op->result = (int64_t)loop->now;
}

static inline uint64_t ferry__op_began(const ferry_loop *loop, const ferry_op *op) {
    if (op->flags & FERRY_MORE) return loop->now;
    return op->state == OP_DONE ? op->timer.when : (uint64_t)op->result;
}

/* A completion with FERRY_MORE has been handed over: the next span begins, if op has not ended. */
static inline void ferry__op_begins_again(const ferry_loop *loop, ferry_op *op) {
    if (op->state == OP_DONE) return;
    op->flags = 0;
    ferry__op_begins(loop, op);
}

void ferry__latency_measured(const ferry_loop *loop, unsigned code, uint64_t began);

/* Adds a completion of an operation that began then, if latencies are measured. */
static inline void ferry__latency_add(const ferry_loop *loop, unsigned code, uint64_t began) {
    if (FERRY__UNLIKELY(loop->latencies != NULL)) ferry__latency_measured(loop, code, began);
}

void ferry__callback_add(ferry_loop *loop, unsigned code, uint64_t ns);
void ferry__measures_free(ferry_loop *loop);

/* ---- served.c ---------------------------------------------------------------------------- */

static inline bool ferry__is_served(const ferry_op *op) {
    return ferry__op_row(op)->lane == LANE_SERVED;
}

/* Hands it to its service. */
void ferry__served_submit(ferry_loop *loop, ferry_op *op);
/* It waits from here on. */
void ferry__served_wait(ferry_loop *loop, ferry_op *op);
/* What it waited for has come: its end, or a result with more to come. */
void ferry__served_result(ferry_loop *loop, ferry_op *op, int64_t result, bool more);
/* A result with FERRY_MORE is about to be delivered: back to waiting. */
void ferry__served_continue(ferry_loop *loop, ferry_op *op);
/* It is asked to end while it waits. */
void ferry__served_stop(ferry_loop *loop, ferry_op *op, bool expired);
/* Takes it off its list and ends it. */
void ferry__served_end(ferry_loop *loop, ferry_op *op, int64_t result);
/* Its final completion is about to be delivered. */
void ferry__served_over(ferry_loop *loop, ferry_op *op);

/* ---- signals.c ------------------------------------------------------------------------------ */

void ferry__signal_submit(ferry_loop *loop, ferry_op *op);
void ferry__signal_continue(ferry_loop *loop, const ferry_op *op);
/* How many deliveries it has not been told of; it has been then. */
int64_t ferry__signal_take(ferry_op *op);
void ferry__signal_over(ferry_loop *loop, ferry_op *op);
/* Some have come: tells those who wait. */
void ferry__signals_look(ferry_loop *loop);
/* Lets go of the numbers that nobody in this loop waits for any more. */
void ferry__signals_release(ferry_loop *loop);
void ferry__signals_close(ferry_loop *loop);

/* ---- watch.c -------------------------------------------------------------------------------- */

void ferry__watch_submit(ferry_loop *loop, ferry_op *op);
/* The part that may wait, for a worker thread: its result. */
int64_t ferry__watch_add(const ferry_op *op);
/* A worker has done so. */
void ferry__watch_arrived(ferry_loop *loop, ferry_op *op, int64_t result);
/* How many changes are to be told of. */
int64_t ferry__watch_count(const ferry_op *op);
/* Its result has been delivered: ends it if there is nothing more to come. */
void ferry__watch_continued(ferry_loop *loop, ferry_op *op);
void ferry__watch_leave(ferry_loop *loop, ferry_op *op);
void ferry__watch_over(ferry_loop *loop, ferry_op *op);
/* Deals out what was left over, and sees to it that changes wake the loop. */
void ferry__watch_flush(ferry_loop *loop);
/* Must the loop not wait, because there is something left over or nothing would wake it? */
bool ferry__watch_is_due(const ferry_loop *loop);
/* The loop's own operation has come back: there are changes. */
void ferry__watch_ready(ferry_loop *loop, const struct ferry__record *record);
/* Takes the loop's own operation back from the backend. */
void ferry__watch_quiet(ferry_loop *loop);
void ferry__watch_close(ferry_loop *loop);
/* ---- names.c ----------------------------------------------------------------------------- */

int ferry__names_check(const ferry_op *op);
void ferry__names_submit(ferry_loop *loop, ferry_op *op);
/* What came of op, which has come back through the inbox. */
int64_t ferry__names_outcome(const ferry_op *op);
/* Writes down the loop's lookups that are not back, under the process's lock; there are some. */
void ferry__names_find(const ferry_loop *loop, struct ferry__found *found);
/* How its threads are occupied; all zero if the loop has not looked up any. */
ferry_worker_stats ferry__names_load(const ferry_loop *loop);
/* Takes op back if it has no result yet: whoever looks for one works for nobody then. */
bool ferry__names_cancel(ferry_loop *loop, ferry_op *op);
/* Takes all of the loop's back and ends them. */
void ferry__names_cancel_all(ferry_loop *loop);
void ferry__names_close(ferry_loop *loop);
extern uint64_t ferry__names_idle_ns; /* after which a thread with nothing to do ends */

/* ---- pick.c, stats.c, verify.c, trace.c -------------------------------------------------- */

int ferry__pick(ferry_loop *loop, const struct ferry__options *options, enum ferry_backend backend,
                char *why, size_t why_len);

/* Calls fn for each operation that is with the backend. fn must not end any. */
void ferry__each_running(ferry_loop *loop, void (*fn)(ferry_loop *, ferry_op *));

/* Walks every numbered invariant; stops the program at the first that does not hold. */
void ferry__verify(ferry_loop *loop);

#if FERRY__DEBUG
void ferry__trace(const ferry_op *op, unsigned from, unsigned to);
void ferry__trace_dump(void);
#else
static inline void ferry__trace(const ferry_op *op, unsigned from, unsigned to) {
    (void)op, (void)from, (void)to;
}
static inline void ferry__trace_dump(void) {}
#endif

static inline void ferry__op_move(ferry_op *op, enum ferry__op_state state) {
    ferry__trace(op, op->state, state);
    op->state = (uint8_t)state;
}

/* Sanitizers do not see what the kernel writes, so the library looks itself whether op's buffers
 * are still the caller's memory. */
void ferry__op_look_at_memory(const ferry_op *op);

static inline void ferry__op_check_memory(const ferry_op *op) {
    if (FERRY__ASAN) ferry__op_look_at_memory(op);
}

#define FERRY__ASSERT(condition)                                                                   \
    ((condition) ? (void)0 : ferry__assert_failed(#condition, __FILE__, __LINE__))
FERRY__NORETURN void ferry__assert_failed(const char *condition, const char *file, int line);

/* Has a multishot operation on this descriptor had its share of this turn? Counts it in, if not. */
static inline bool ferry__slot_had_share(const ferry_loop *loop, struct ferry__slot *slot) {
    if (slot->turn != (uint16_t)loop->stats.turns) {
        slot->turn = (uint16_t)loop->stats.turns;
        slot->results = 0;
    }
    if (slot->results == TURN_RESULTS) return true;
    slot->results++;
    return false;
}

/* Is a record waiting? */
static inline bool ferry__records_any(const ferry_loop *loop) {
    return loop->records.head != loop->records.tail;
}

FERRY__OWN_END

#endif
