/* loop.c - the loop: open, turn, drain, close. The file to read first.
 *
 * A turn: start what was submitted, wait in the backend, look at the clock, and deliver what has
 * ended: records of the backend, timers, posts, finished work. Delivery is in one place, on the
 * loop's thread, one callback at a time, and bounded: after TURN_CALLBACKS of them the clock,
 * timers and posts have their turn again (rule 14).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>

#define AT_ONCE 32u /* callbacks of one kind before the other kinds have their turn */

/* ---- Open -------------------------------------------------------------------------------- */

static void *allocate_default(size_t bytes, void *context) {
    (void)context;
    return malloc(bytes);
}

static void release_default(void *memory, void *context) {
    (void)context;
    free(memory);
}

/* Copies what the caller's version of the struct has, and fills in the defaults. */
static int config_read(ferry_config *config, const ferry_config *given) {
    *config = (ferry_config){.size = sizeof *config};
    if (given != NULL) {
        if (given->size < offsetof(ferry_config, flags) || given->size > 4096) return FERRY_EINVAL;
        memcpy(config, given, given->size < sizeof *config ? given->size : sizeof *config);
    }
    if ((config->allocate == NULL) != (config->release == NULL)) return FERRY_EINVAL;
    if (config->flags & ~(FERRY_KEEP_SIGPIPE | FERRY_OWN_WORKERS)) return FERRY_EINVAL;
    if (config->cancel_signal == 0) config->cancel_signal = ferry__os_interrupts_default();
    if (config->cancel_signal > 0 && ferry__os_catchable((uint64_t)config->cancel_signal) != 0) {
        return FERRY_EINVAL;
    }
    if (config->allocate == NULL) {
        config->allocate = allocate_default;
        config->release = release_default;
    }
    return 0;
}

static const char *const backend_names[] = {[FERRY_AUTO] = "auto",
                                            [FERRY_URING] = "uring",
                                            [FERRY_EPOLL] = "epoll",
                                            [FERRY_KQUEUE] = "kqueue",
                                            [FERRY_IOCP] = "iocp",
                                            [FERRY_NONE] = "none",
                                            NULL};
static const char *const adapter_names[] = {[FERRY_ADAPTER_AUTO] = "auto",
                                            [FERRY_ADAPTER_DEDICATED] = "dedicated",
                                            [FERRY_ADAPTER_INLINE] = "inline",
                                            NULL};

/* The number of what a variable of the environment names, else given, or FERRY_EINVAL. */
static int chosen(const char *variable, const char *const *names, int given) {
    const char *name = ferry__os_environment(variable);
    if (name == NULL) return given;
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(name, names[i]) == 0) return i;
    }
    return FERRY_EINVAL;
}

static void loop_init(ferry_loop *loop, const ferry_config *config) {
    memset(loop, 0, sizeof *loop);
    loop->allocate = config->allocate;
    loop->release = config->release;
    loop->allocator_context = config->allocator_context;
    loop->stats.allocations = 1;
    loop->gate = GATE_NEW | GATE_STALE;
    loop->fork_count = ferry__os_fork_count;
    loop->ending = &loop->finished;
    loop->slot_top = -1;
    loop->pause_until = UINT64_MAX;
    loop->interrupt_at = UINT64_MAX;
    loop->work_max = config->worker_queue_max ? config->worker_queue_max : 256;
    loop->work_threads[WORK_USER] = config->worker_threads ? config->worker_threads : 4;
    loop->work_threads[WORK_FILES] = config->file_threads ? config->file_threads : 4;
    loop->resolver_threads = config->resolver_threads ? config->resolver_threads : 8;
    loop->own_workers = (config->flags & FERRY_OWN_WORKERS) != 0;
    loop->cancel_signal = config->cancel_signal > 0 ? config->cancel_signal : 0;
    loop->owner = ferry__os_thread_self();
    loop->now = ferry__os_clock();
    ferry__wheel_init(&loop->wheel, loop->now);
    atomic_init(&loop->inbox.top, NULL);
    atomic_init(&loop->inbox.asleep, false);
    atomic_init(&loop->inbox.stop, false);
    atomic_init(&loop->inbox.refuses, false);
    atomic_init(&loop->inbox.signalled, false);
    atomic_init(&loop->inbox.measures, false);
    atomic_init(&loop->inbox.wakeups, 0);
}

static size_t slots_bytes(uint32_t count) {
    return count * sizeof(struct ferry__slot);
}

static size_t spares_bytes(uint32_t count) {
    return count * sizeof(ferry_op);
}

static int tables_reserve(ferry_loop *loop) {
    loop->slot_limit = ferry__os_fd_limit();
    loop->slots = ferry__os_reserve_table(slots_bytes(loop->slot_limit));
    loop->spares = ferry__os_reserve_table(spares_bytes(loop->slot_limit));
    if (loop->slots == NULL || loop->spares == NULL) return FERRY_ENOMEM;
    return ferry__slot_provide(loop, 0);
}

static int later_reserve(ferry_loop *loop) {
    loop->later.mask = loop->records.mask;
    loop->later.at = ferry__os_reserve((loop->later.mask + 1u) * sizeof *loop->later.at);
    return loop->later.at == NULL ? FERRY_ENOMEM : 0;
}

static void loop_free(ferry_loop *loop) {
    ferry__os_unreserve(loop->later.at, (loop->later.mask + 1u) * sizeof *loop->later.at);
    ferry__os_unreserve(loop->slots, slots_bytes(loop->slot_limit));
    ferry__os_unreserve(loop->spares, spares_bytes(loop->slot_limit));
    ferry__measures_free(loop);
    ferry__pieces_free(loop);
    loop->release(loop->raw, loop->allocator_context);
}

/* The loop has members that want cache lines of their own; allocators align less than that. */
static ferry_loop *loop_allocate(const ferry_config *config) {
    char *raw = config->allocate(sizeof(ferry_loop) + alignof(ferry_loop),
                                 config->allocator_context);
    if (raw == NULL) return NULL;
    size_t over = (uintptr_t)raw % alignof(ferry_loop);
    ferry_loop *loop = (void *)(raw + (over ? alignof(ferry_loop) - over : 0));
    loop_init(loop, config);
    loop->raw = raw;
    return loop;
}

static int loop_make(ferry_loop **made, const ferry_config *config,
                     const struct ferry__options *options) {
    ferry_loop *loop = loop_allocate(config);
    if (loop == NULL) return FERRY_ENOMEM;
    int error = tables_reserve(loop);
    if (error == 0) {
        error = ferry__pick(loop, options, config->backend, config->why, config->why_len);
    }
    if (error == 0 && (error = later_reserve(loop)) != 0) loop->backend->close(loop, false);
    if (error != 0) {
        loop_free(loop);
        return error;
    }
    *made = loop;
    FERRY__PROBE2(loop_open, loop, loop->backend->name);
    return 0;
}

int ferry_loop_open(ferry_loop **loop, const ferry_config *given) {
    ferry_config config;
    if (loop == NULL) return FERRY_EINVAL;
    *loop = NULL;
    int error = config_read(&config, given);
    if (error != 0) return error;
    int backend = chosen("FERRY_BACKEND", backend_names, (int)config.backend);
    int adapter = chosen("FERRY_ADAPTER", adapter_names, (int)config.adapter);
    if (backend < 0 || adapter < 0 || adapter > FERRY_ADAPTER_INLINE) return FERRY_EINVAL;
    config.backend = (enum ferry_backend)backend;
    struct ferry__options options = {
        .submission_entries = config.submission_entries ? config.submission_entries : 256,
        .completion_entries = config.completion_entries ? config.completion_entries : 8192,
        .disable = {config.disable, ferry__os_environment("FERRY_DISABLE")},
        .adapter = (enum ferry_adapter)adapter,
        .has_alternative = backend == FERRY_AUTO,
    };
    ferry__os_watch_forks();
    error = loop_make(loop, &config, &options);
    if (error == 0 && !(config.flags & FERRY_KEEP_SIGPIPE)) ferry__os_ignore_sigpipe();
    return error;
}

/* ---- Who may call ------------------------------------------------------------------------ */

static bool is_forked(const ferry_loop *loop) {
    return loop->fork_count != ferry__os_fork_count;
}

static bool is_owner(const ferry_loop *loop) {
    return loop->owner.id == ferry__os_thread_self().id;
}

void ferry__loop_misused(const ferry_loop *loop, const ferry_op *op) {
    static const ferry_op unnamed;
    if (op == NULL) op = &unnamed;
    if (is_forked(loop)) {
        ferry__op_fatal(op, "was handed to a loop of the parent process; open one in the child");
    }
    if (loop->gate & GATE_DUMP) {
        ferry__op_fatal(op, "was handed to a loop from inside ferry_dump(), which may only look");
    }
    if (!is_owner(loop)) {
        ferry__op_fatal(op, "was handed to a loop by a thread that does not own it; "
                            "use ferry_post() from other threads");
    }
}

void ferry__loop_look_at_clock(ferry_loop *loop) {
    loop->now = ferry__os_clock();
    loop->gate &= ~(uint32_t)GATE_STALE;
}

/* ---- Delivery ---------------------------------------------------------------------------- */

/* Hands a completion to whom it is for: a callback, or who calls ferry_reap(). */
static inline void hand_over(ferry_loop *loop, ferry_op *op, ferry_cb *done) {
    if (FERRY__LIKELY((uintptr_t)done > (uintptr_t)FERRY_PULL)) {
        done(op);
    } else if (done == FERRY_PULL) {
        *loop->reaped++ = (ferry_completion){.op = op,
                                             .result = op->result,
                                             .transferred = op->transferred,
                                             .flags = op->flags,
                                             .buffer = ferry_lent(op)};
        loop->reap_room--;
    }
}

/* May this completion be handed over now? Those for ferry_reap() wait for it, and what has come
 * after them waits behind them. */
static inline bool may_hand_over(ferry_loop *loop, const ferry_op *op) {
    if (FERRY__LIKELY(op->done != FERRY_PULL) || loop->reap_room > 0) return true;
    loop->reap_due = true;
    return false;
}

/* The same, with a look at the clock before and after a callback. */
static FERRY__NOINLINE void hand_over_timed(ferry_loop *loop, ferry_op *op, ferry_cb *done) {
    unsigned code = op->code; /* op may be gone afterwards */
    uint64_t start = ferry__os_clock();
    hand_over(loop, op, done);
    if ((uintptr_t)done > (uintptr_t)FERRY_PULL) {
        ferry__callback_add(loop, code, ferry__os_clock() - start);
    }
}

static inline void hand_over_measured(ferry_loop *loop, ferry_op *op, ferry_cb *done) {
    if (FERRY__UNLIKELY(loop->measures & FERRY_MEASURE_CALLBACKS)) {
        hand_over_timed(loop, op, done);
    } else {
        hand_over(loop, op, done);
    }
}

static void complete(ferry_loop *loop, ferry_op *op, ferry_cb *done) {
    FERRY__PROBE5(complete, loop, op, op->code, op->result, op->flags);
    hand_over_measured(loop, op, done);
}

/* Calls back. The operation is idle before its final callback, which may free it: nothing of it is
 * read afterwards. */
static void slot_leave(ferry_loop *loop, ferry_fd fd) {
    struct ferry__slot *slot = ferry__slot(loop, fd);
    if (--slot->busy == 0 && slot->flags & SLOT_CLOSING) ferry__slot_dirty(loop, slot);
}

static void deliver(ferry_loop *loop, ferry_op *op) {
    ferry_cb *done = op->done;
    if (FERRY__UNLIKELY(op->flags & FERRY_MORE)) {
        ferry__op_continue(loop, op);
        complete(loop, op, done);
        ferry__op_begins_again(loop, op);
        ferry__op_continued(loop, op);
    } else {
        if (op->bits & BIT_SLOT) slot_leave(loop, op->fd);
        if (FERRY__UNLIKELY(op->bits & BIT_SECOND) && ferry__op_row(op)->checked & ARG_SECOND) {
            slot_leave(loop, ferry__op_second(op));
        }
        if (FERRY__UNLIKELY(op->code == FERRY_OP_SENDFILE) && op->bits & BIT_SLOT) {
            ferry__sendfile_release(loop, op);
        }
        if (FERRY__UNLIKELY(op->bits & BIT_BACKGROUND)) loop->background--;
        uint32_t puts = op->asked & FERRY_PUT;
        if (FERRY__UNLIKELY(ferry__is_served(op))) ferry__served_over(loop, op);
        bool linked = op->bits & BIT_LINKED;
        if (FERRY__UNLIKELY(linked)) ferry__link_settle(loop, op);
        loop->in_flight--;
        loop->stats.completed++;
        ferry__latency_add(loop, op->code, op->timer.when);
        ferry__op_move(op, OP_IDLE);
        complete(loop, op, done);
        if (puts) ferry__pool_sent(op);
        if (FERRY__UNLIKELY(linked)) ferry__link_release(loop);
    }
}

static bool later_is_full(const ferry_loop *loop) {
    return loop->later.tail - loop->later.head > loop->later.mask;
}

/* Has anything ended that was not put off? */
static bool has_new(const ferry_loop *loop) {
    return loop->finished.head != NULL || loop->due.head != NULL || loop->landed.head != NULL ||
           (ferry__records_any(loop) && !later_is_full(loop));
}

static bool has_results(const ferry_loop *loop) {
    return loop->later.head != loop->later.tail || has_new(loop);
}

/* For those who look; a code that the compiler knows costs nothing. */
static FERRY__ALWAYS_INLINE void note_ordinary(const ferry_loop *loop,
                                               const struct ferry__record *record,
                                               enum ferry_op_code code, bool measured) {
    FERRY__PROBE5(complete, loop, record->op, code, record->result, 0);
    if (measured && loop->latencies != NULL) { /* a callback may have turned them off */
        ferry__histogram_add(&loop->latencies[code], loop->now - (uint64_t)record->op->result);
    }
}

/* Takes the only operation of a lane out of it. False, with nothing changed, if it is not alone or
 * something is up with its descriptor. */
static FERRY__ALWAYS_INLINE bool leave_ordinary(struct ferry__slot *slot, unsigned which) {
    struct ferry__list *lane = &slot->lane[which];
    if (lane->head != lane->tail || slot->flags & (SLOT_CLOSING | SLOT_NOTICE)) return false;
    lane->head = lane->tail = NULL;
    slot->busy--;
    return true;
}

/* The short way out for what came the short way in (submit.c): a plain transfer that is whole, not
 * asked to end, alone in its lane. NULL, with nothing changed, if the record is something else. */
static FERRY__ALWAYS_INLINE ferry_op *land_ordinary(ferry_loop *loop,
                                                    const struct ferry__record *record,
                                                    bool measured) {
    ferry_op *op = record->op;
    if (ferry__op_is_plain_send(op, OP_IN_LANE)) {
        struct ferry__slot *slot = ferry__slot(loop, op->fd);
        if ((uint64_t)record->result != op->len || !leave_ordinary(slot, WRITE_LANE)) return NULL;
        slot->flags |= SLOT_SENT;
        note_ordinary(loop, record, FERRY_OP_SEND, measured);
    } else if (ferry__op_shape(op) == ferry__shape(FERRY_OP_RECV, OP_IN_LANE, BIT_SLOT)) {
        struct ferry__slot *slot = ferry__slot(loop, op->fd);
        if (record->result <= 0 || !leave_ordinary(slot, READ_LANE)) return NULL;
        if (record->flags & RECORD_MORE_THERE) {
            slot->flags &= (uint16_t)~SLOT_DRAINED;
        } else {
            slot->flags |= SLOT_DRAINED;
        }
        note_ordinary(loop, record, FERRY_OP_RECV, measured);
    } else {
        return NULL;
    }
    op->result = record->result;
    op->transferred = (uint64_t)record->result;
    op->flags = 0;
    ferry__op_check_memory(op);
    return op;
}

static inline bool stop_called(ferry_loop *loop) {
    /* relaxed: what the stopper wrote before is handed over by posts, not by this. */
    return atomic_load_explicit(&loop->inbox.stop, memory_order_relaxed);
}

static bool stop_asked(ferry_loop *loop) {
    return loop->reap_due || stop_called(loop);
}

static FERRY__NOINLINE ferry_op *land(ferry_loop *loop, const struct ferry__record *record) {
    struct ferry__record copy = *record;
    return loop->backend->read(loop, &copy) ? ferry__op_land(loop, &copy) : NULL;
}

/* A record that is no plain transfer: 1 if a callback came of it at once, 0 if the lists have what
 * did. */
static unsigned deliver_rare(ferry_loop *loop, const struct ferry__record *record) {
    ferry_op *op = record->op;
    if (op->asked & FERRY_MULTI && op->bits & BIT_SLOT &&
        ferry__slot_had_share(loop, ferry__slot(loop, op->fd))) {
        loop->later.at[loop->later.tail++ & loop->later.mask] = *record;
        return 0;
    }
    op = ferry__pool_land_ordinary(loop, record);
    if (op == NULL) op = land(loop, record);
    if (op == NULL) return 0;
    hand_over_measured(loop, op, op->done);
    ferry__op_begins_again(loop, op);
    if (FERRY__UNLIKELY(op->bits & BIT_LAST)) ferry__op_last(loop, op);
    return 1;
}

/* What was put off in turns before, up to end. */
static unsigned deliver_later(ferry_loop *loop, unsigned left, uint32_t end) {
    while (left > 0 && loop->later.head != end && loop->landed.head == NULL && !stop_asked(loop)) {
        const struct ferry__record record = loop->later.at[loop->later.head & loop->later.mask];
        if (!may_hand_over(loop, record.op)) break;
        loop->later.head++;
        left -= deliver_rare(loop, &record);
    }
    return left;
}

/* Those that were not reached go behind those that were put off again, as they were before. */
static void later_turn_over(ferry_loop *loop, uint32_t end) {
    struct ferry__later *later = &loop->later;
    while (later->head != end) {
        later->at[later->tail++ & later->mask] = later->at[later->head++ & later->mask];
    }
}

/* Records, some at a time; as many as there are of the ordinary kind. */
static FERRY__ALWAYS_INLINE unsigned deliver_some(ferry_loop *loop, unsigned left, bool measured) {
    unsigned until = left > AT_ONCE ? left - AT_ONCE : 0;
    while (left != until && ferry__records_any(loop) && !stop_called(loop)) {
        const struct ferry__record *record =
            &loop->records.at[loop->records.head & loop->records.mask];
        if (!may_hand_over(loop, record->op)) break;
        loop->records.head++;
        ferry_op *op = land_ordinary(loop, record, measured);
        if (FERRY__UNLIKELY(op == NULL)) {
            left -= deliver_rare(loop, record);
            if (loop->landed.head != NULL || later_is_full(loop)) break;
            continue;
        }
        left--;
        ferry_cb *done = op->done;
        uint32_t puts = op->asked & FERRY_PUT;
        loop->in_flight--;
        loop->stats.completed++;
        ferry__op_move(op, OP_IDLE);
        if (measured) {
            hand_over_measured(loop, op, done);
        } else {
            hand_over(loop, op, done);
        }
        if (puts) ferry__pool_sent(op);
    }
    return left;
}

/* Written out twice, so that what is not measured costs nothing. */
static unsigned deliver_records(ferry_loop *loop, unsigned left) {
    return deliver_some(loop, left, false);
}

static unsigned deliver_records_measured(ferry_loop *loop, unsigned left) {
    return deliver_some(loop, left, true);
}

static unsigned deliver_list(ferry_loop *loop, struct ferry__list *list, unsigned left,
                             unsigned most) {
    for (; left > 0 && most > 0 && list->head != NULL && !stop_asked(loop); most--) {
        ferry_op *op = list->head;
        if (!may_hand_over(loop, op)) break;
        ferry__list_remove(list, op);
        deliver(loop, op);
        left--;
    }
    return left;
}

/* Some of what is in one of the places where completions wait. later: the end of what was put off
 * in turns before. */
static unsigned deliver_from(ferry_loop *loop, unsigned place, unsigned left, uint32_t later) {
    if (place == 1) return deliver_list(loop, &loop->due, left, AT_ONCE);
    if (place == 2) return deliver_list(loop, &loop->finished, left, AT_ONCE);
    if (FERRY__UNLIKELY(loop->later.head != later)) {
        left = deliver_later(loop, left, later);
    } else if (loop->landed.head == NULL) {
        left = FERRY__UNLIKELY(loop->measures != 0) ? deliver_records_measured(loop, left)
                                                    : deliver_records(loop, left);
    }
    return loop->landed.head ? deliver_list(loop, &loop->landed, left, TURN_CALLBACKS) : left;
}

/* The next place that has something, or the records. */
static unsigned place_after(const ferry_loop *loop, unsigned place) {
    if (place == 0 && loop->due.head != NULL) return 1;
    return place < 2 && loop->finished.head != NULL ? 2 : 0;
}

/* Some records, then some of the others, and so on: neither kind can hold up the other. Not from
 * one turn to the next either: if the array of ferry_reap() is full, the next turn begins with the
 * place after the one that filled it. */
static void deliver_turn(ferry_loop *loop) {
    unsigned left = TURN_CALLBACKS, place = loop->place_first;
    uint32_t later = loop->later.tail;
    loop->reap_due = false;
    loop->place_first = 0;
    while (left > 0 && (loop->later.head != later || has_new(loop)) && !stop_asked(loop)) {
        size_t room = loop->reap_room;
        left = deliver_from(loop, place, left, later);
        place = place_after(loop, place);
        if (room > 0 && loop->reap_room == 0) loop->place_first = place;
    }
    later_turn_over(loop, later);
    loop->delivered = TURN_CALLBACKS - left;
}

/* ---- A turn ------------------------------------------------------------------------------ */

/* When the wait must end: 0 at once, UINT64_MAX never. */
static uint64_t wait_deadline(ferry_loop *loop, bool may_wait, uint64_t limit) {
    if (!may_wait || has_results(loop)) return 0;
    /* The backend had no room for all of it: what it has must move on first. */
    if (loop->dirty_first != NULL || loop->backlog.head != NULL || loop->cancels_owed > 0) return 0;
    if (loop->watches != NULL && ferry__watch_is_due(loop)) return 0;
    uint64_t nearest = ferry__wheel_nearest(&loop->wheel);
    if (loop->paused.head != NULL && loop->pause_until < nearest) nearest = loop->pause_until;
    if (loop->interrupt_at < nearest) nearest = loop->interrupt_at;
    return nearest < limit ? nearest : limit;
}

void ferry__inbox_arrive(ferry_loop *loop) {
    ferry_op *next;
    for (ferry_op *op = ferry__inbox_take(loop); op != NULL; op = next) {
        next = op->link.next;
        ferry__op_arrived(loop, op);
    }
}

/* One bin of the wheel: how many were due. */
static unsigned expire_some(ferry_loop *loop) {
    unsigned count = 0;
    ferry_op *due = ferry__wheel_expire(&loop->wheel, loop->now);
    /* All are marked first: one that is due may end another, which must not look for itself in the
     * wheel then. */
    for (ferry_op *op = due; op != NULL; op = op->timer.next) op->bits &= (uint16_t)~BIT_TIMED;
    ferry_op *next;
    for (ferry_op *op = due; op != NULL; op = next) {
        next = op->timer.next;
        ferry__op_due(loop, op);
        count++;
    }
    return count;
}

/* As many as a turn can deliver. The others stay, and keep the next turn from waiting. */
static void expire(ferry_loop *loop) {
    unsigned some, count = 0;
    while (count < TURN_CALLBACKS && (some = expire_some(loop)) > 0) count += some;
}

/* Starts all that was submitted since the last time. */
static void flush(ferry_loop *loop) {
    if (loop->backend->begin != NULL) loop->backend->begin(loop);
    ferry__op_stamp(loop);
    if (loop->dirty_first != NULL) ferry__lane_flush(loop);
    if (loop->backlog.head != NULL) ferry__op_flush_backlog(loop);
    if (loop->cancels_owed > 0 || loop->cancel_missed) ferry__op_flush_cancels(loop);
    if (loop->watches != NULL) ferry__watch_flush(loop);
}

static int turn(ferry_loop *loop, bool may_wait, uint64_t limit) {
    loop->stats.turns++;
    FERRY__PROBE2(turn, loop, loop->in_flight);
    flush(loop);
    uint64_t deadline = wait_deadline(loop, may_wait, limit);
    if (deadline != 0 && !ferry__inbox_sleep(loop)) deadline = 0;
    FERRY__PROBE2(wait_begin, loop, deadline);
    int error = loop->backend->wait(loop, deadline);
    FERRY__PROBE3(wait_end, loop, error, loop->records.tail - loop->records.head);
    ferry__inbox_awake(loop);
    loop->now = ferry__os_clock();
    loop->ending = &loop->due;
    expire(loop);
    ferry__inbox_arrive(loop);
    if (FERRY__UNLIKELY(atomic_load_explicit(&loop->inbox.signalled, memory_order_relaxed))) {
        ferry__signals_look(loop);
    }
    if (FERRY__UNLIKELY(loop->interrupt_at <= loop->now)) ferry__work_interrupt(loop);
    loop->ending = &loop->finished;
    ferry__accept_retry(loop);
    deliver_turn(loop);
    if (loop->signals.changed) ferry__signals_release(loop);
    if (FERRY__DEBUG) ferry__verify(loop);
    return error;
}

/* The thread that runs it first owns the loop from then on. */
static int adopt(ferry_loop *loop) {
    int error = loop->backend->adopt(loop);
    if (error != 0) return error;
    loop->owner = ferry__os_thread_self();
    loop->gate &= ~(uint32_t)GATE_NEW;
    return 0;
}

/* The loop that this thread runs: the innermost, if one is run in a callback of another. */
static _Thread_local const ferry_loop *runs_here;

bool ferry__loop_runs_here(const ferry_loop *loop) {
    return runs_here == loop;
}

static int enter(ferry_loop *loop) {
    if (is_forked(loop)) return FERRY_EFORKED;
    if (loop->running || loop->gate & GATE_DUMP) return FERRY_EBUSY;
    if (loop->gate & GATE_NEW) {
        int error = adopt(loop);
        if (error != 0) return error;
    }
    ferry__loop_check(loop, NULL);
    loop->gate &= ~(uint32_t)(GATE_STALE | GATE_QUIET);
    return 0;
}

static bool posts_wait(ferry_loop *loop) {
    return atomic_load_explicit(&loop->inbox.top, memory_order_relaxed) != NULL;
}

static bool goes_on(ferry_loop *loop) {
    return loop->in_flight > loop->background || loop->holds > 0 || posts_wait(loop);
}

/* Is there nothing that the next turn could do before something comes? */
static bool is_quiet(const ferry_loop *loop) {
    return !has_results(loop) && loop->dirty_first == NULL && loop->backlog.head == NULL &&
           loop->to_stamp == NULL && loop->cancels_owed == 0 && !loop->cancel_missed;
}

/* An embedded loop gives the thread back to the outer one: the system gets what the callbacks have
 * submitted, and the descriptor says whether there is more to do. It is cleared before the last
 * look, so that what comes in between is either seen or makes it readable again. */
static void settle(ferry_loop *loop) {
    const struct ferry__embedding *embed = loop->backend->embed;
    flush(loop);
    uint32_t tail = loop->records.tail;
    (void)loop->backend->wait(loop, 0); /* an error will come again in the next turn */
    if (!is_quiet(loop)) {
        if (loop->records.tail == tail) embed->raise(loop); /* else new records have done it */
    } else if (embed->clear(loop) && is_quiet(loop) && ferry__inbox_sleep(loop)) {
        loop->gate |= GATE_QUIET;
        embed->alarm(loop, wait_deadline(loop, true, UINT64_MAX));
    } else {
        embed->raise(loop);
    }
}

/* Around each call that runs turns. */
static void begin(ferry_loop *loop) {
    loop->running = true;
    loop->reap_due = false;
    loop->runs_inside = runs_here;
    runs_here = loop;
}

static void end(ferry_loop *loop) {
    runs_here = loop->runs_inside;
    loop->running = false;
    loop->gate |= GATE_STALE;
}

static int left_over(ferry_loop *loop, int error) {
    end(loop);
    atomic_store_explicit(&loop->inbox.stop, false, memory_order_relaxed);
    if (FERRY__UNLIKELY(loop->embedded)) settle(loop);
    return error != 0 ? error : goes_on(loop) || loop->reap_due;
}

int ferry_run(ferry_loop *loop, enum ferry_run_mode mode) {
    if ((unsigned)mode > FERRY_RUN_NOWAIT) return FERRY_EINVAL;
    int error = enter(loop);
    if (error != 0) return error;
    begin(loop);
    if (mode == FERRY_RUN_DONE) {
        while (error == 0 && goes_on(loop) && !stop_asked(loop)) {
            error = turn(loop, true, UINT64_MAX);
        }
    } else if (mode == FERRY_RUN_NOWAIT) {
        if (!stop_asked(loop)) error = turn(loop, false, UINT64_MAX);
    } else {
        /* A signal, or a look at far-off timers, may end a wait before anything has ended. */
        loop->delivered = 0;
        while (error == 0 && loop->delivered == 0 && goes_on(loop) && !stop_asked(loop)) {
            error = turn(loop, true, UINT64_MAX);
        }
    }
    return left_over(loop, error);
}

int64_t ferry_reap(ferry_loop *loop, ferry_completion *completions, size_t max,
                   uint64_t timeout_ns) {
    if (completions == NULL || max == 0 || max > PTRDIFF_MAX) return FERRY_EINVAL;
    int error = enter(loop);
    if (error != 0) return error;
    bool waits = timeout_ns > 0;
    uint64_t limit = ferry__time_add(ferry__os_clock(), timeout_ns);
    begin(loop);
    loop->reaped = completions;
    loop->reap_room = max;
    do {
        if (stop_asked(loop)) break;
        error = turn(loop, waits && goes_on(loop), limit);
    } while (error == 0 && waits && loop->reap_room == max && goes_on(loop) &&
             (limit == UINT64_MAX || loop->now < limit));
    size_t reaped = max - loop->reap_room;
    loop->reap_room = 0;
    error = left_over(loop, error);
    return reaped > 0 || error >= 0 ? (int64_t)reaped : error;
}

void ferry_hold(ferry_loop *loop) {
    ferry__loop_check(loop, NULL);
    loop->holds++;
}

void ferry_release(ferry_loop *loop) {
    ferry__loop_check(loop, NULL);
    FERRY__ASSERT(loop->holds > 0);
    loop->holds--;
}

uint64_t ferry_now(const ferry_loop *loop) {
    return loop->now;
}

int ferry_supports(const ferry_loop *loop, unsigned code) {
    return code < FERRY_OP_COUNT && loop->support[code] != SUPPORT_NONE;
}

/* ---- Drain and close --------------------------------------------------------------------- */

static void stop_timer(ferry_loop *loop, ferry_op *op) {
    if (op->state == OP_TIMER) ferry__op_stop(loop, op, false);
}

static void stop_list(ferry_loop *loop, struct ferry__list *list) {
    ferry_op *next;
    for (ferry_op *op = list->head; op != NULL; op = next) {
        next = ferry__list_next(list, op);
        ferry__op_stop(loop, op, false);
    }
}

/* What goes on after the callback that is next, in one of these lists, is asked to end after it. */
static void stop_all(ferry_loop *loop) {
    ferry__link_stop_all(loop, FERRY_FD_NONE, true);
    for (const struct ferry__place *place = ferry__places; place->state != OP_IDLE; place++) {
        stop_list(loop, ferry__place_list(loop, place));
    }
    while (ferry__work_cancel_any(loop, FERRY_FD_NONE)) {
    }
    ferry__names_cancel_all(loop);
    ferry__op_stamp(loop); /* timers that have not begun are in the wheel then, too */
    ferry__wheel_each(&loop->wheel, loop, stop_timer);
    for (int64_t i = 0; i <= loop->slot_top; i++) {
        if (loop->slots[i].busy > 0) ferry__slot_cancel(loop, ferry__fd_of(i));
    }
}

int ferry_loop_drain(ferry_loop *loop, uint64_t timeout_ns) {
    int error = enter(loop);
    if (error != 0) return error;
    uint64_t limit = ferry__time_add(ferry__os_clock(), timeout_ns);
    atomic_store_explicit(&loop->inbox.refuses, true, memory_order_relaxed);
    atomic_store_explicit(&loop->inbox.stop, false, memory_order_relaxed);
    loop->gate |= GATE_DRAIN;
    begin(loop);
    FERRY__PROBE2(drain, loop, loop->in_flight);
    stop_all(loop);
    bool first = true;
    while (error == 0 && (loop->in_flight > 0 || posts_wait(loop))) {
        if (loop->reap_due || (!first && ferry__os_clock() >= limit)) {
            error = FERRY_EBUSY;
            break;
        }
        first = false;
        error = turn(loop, true, limit);
        atomic_store_explicit(&loop->inbox.stop, false, memory_order_relaxed);
    }
    end(loop);
    if (loop->embedded) settle(loop);
    return error;
}

int ferry_loop_close(ferry_loop *loop) {
    if (loop == NULL) return 0;
    bool forked = is_forked(loop);
    if (!forked) {
        /* Whoever started the loop's thread may close it, once that thread has ended. */
        if (!is_owner(loop) && !ferry__os_thread_ended(loop->owner)) ferry__loop_check(loop, NULL);
        if (loop->running || loop->in_flight > 0 || loop->pools != NULL || posts_wait(loop) ||
            loop->gate & GATE_DUMP) {
            return FERRY_EBUSY;
        }
        ferry__work_close(loop);
        ferry__names_close(loop);
        ferry__signals_close(loop);
        if (loop->watches != NULL && is_owner(loop)) ferry__watch_quiet(loop);
    } else {
        ferry__work_abandon(loop);
    }
    FERRY__PROBE1(loop_close, loop);
    loop->backend->close(loop, forked);
    if (loop->watches != NULL) ferry__watch_close(loop);
    loop_free(loop);
    return 0;
}
