/* signals.c - one handler in the process, and every loop that waits for a signal is told.
 *
 * The handler runs on any thread, at any moment, perhaps in the middle of what is written here. So
 * it takes no lock and touches atomics alone: it counts the delivery, walks the list of loops, and
 * wakes those that want this signal. A loop compares the count with the one that each of its
 * operations was last told. Counts only grow, so nothing is lost between two looks.
 *
 * Two hand-shakes, both in the single total order of sequentially consistent operations:
 *
 *   A wait begins.  The loop lists itself, says that it wants the signal, then reads the count; the
 *   handler counts, then reads the list, then who wants it. So a delivery is in the count from
 *   which the wait begins, or its handler sees the loop: never neither.
 *
 *   A loop goes.  It unlinks itself, then waits until no handler runs; a handler says that it runs,
 *   then reads the list. So one that could have seen the loop is waited for. What it does last,
 *   leaving, is a release that pairs with the acquire of who waits: its last touch of the loop lies
 *   before the loop's memory is given back. Handlers take a microsecond; none waits for anything.
 *
 * A loop stays listed from its first wait until it is closed, so that waiting costs no hand-shake.
 * The list and the number of loops that want a signal are changed under the process's lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define HANDLER_NS 10000u /* between two looks whether a handler has left */

static _Atomic uint32_t came[FERRY__SIGNALS]; /* deliveries so far, by number */
static _Atomic(ferry_loop *) first;           /* the list, through signals.next */
static _Atomic uint32_t handlers;             /* that run at this moment */
static uint32_t wanting[FERRY__SIGNALS];      /* loops, by number; guarded by the process's lock */

/* ---- The handler's side ------------------------------------------------------------------ */

void ferry__signal_came(int number) {
    /* seq_cst: before the list and wanted, against signal_submit(). */
    atomic_fetch_add_explicit(&came[number], 1, memory_order_seq_cst);
    /* seq_cst: before the list, against unlist(). */
    atomic_fetch_add_explicit(&handlers, 1, memory_order_seq_cst);
    ferry_loop *loop = atomic_load_explicit(&first, memory_order_seq_cst);
    while (loop != NULL) {
        if (atomic_load_explicit(&loop->signals.wanted[number], memory_order_seq_cst)) {
            /* seq_cst: before the look at asleep (post.c); as a release it hands over the count. */
            atomic_store_explicit(&loop->inbox.signalled, true, memory_order_seq_cst);
            ferry__inbox_wake(loop);
        }
        loop = atomic_load_explicit(&loop->signals.next, memory_order_seq_cst);
    }
    /* release: all of that before the acquire in unlist(). */
    atomic_fetch_sub_explicit(&handlers, 1, memory_order_release);
}

/* ---- Loops come and go ------------------------------------------------------------------- */

static void list(ferry_loop *loop) {
    ferry_loop *next = atomic_load_explicit(&first, memory_order_relaxed); /* under the lock */
    atomic_store_explicit(&loop->signals.next, next, memory_order_relaxed);
    /* seq_cst: before the count is read; as a release it hands the loop to handlers. */
    atomic_store_explicit(&first, loop, memory_order_seq_cst);
    loop->signals.listed = true;
}

static void unlist(ferry_loop *loop) {
    _Atomic(ferry_loop *) *link = &first;
    ferry_loop *at = atomic_load_explicit(link, memory_order_relaxed);
    while (at != loop) {
        link = &at->signals.next;
        at = atomic_load_explicit(link, memory_order_relaxed);
    }
    ferry_loop *next = atomic_load_explicit(&loop->signals.next, memory_order_relaxed);
    /* seq_cst: before the look at handlers, against a handler's coming before its look here. */
    atomic_store_explicit(link, next, memory_order_seq_cst);
    /* seq_cst, with the acquire in it: pairs with the release of handlers that leave. */
    while (atomic_load_explicit(&handlers, memory_order_seq_cst) != 0) {
        ferry__os_sleep(HANDLER_NS);
    }
    loop->signals.listed = false;
}

static int want(ferry_loop *loop, int number) {
    int error = 0;
    ferry__os_lock(ferry__os_process_lock());
    if (!loop->signals.listed) list(loop);
    if (wanting[number] == 0) error = ferry__os_catch(number);
    if (error == 0) {
        wanting[number]++;
        /* seq_cst: before the count is read, against signal_came(). */
        atomic_store_explicit(&loop->signals.wanted[number], true, memory_order_seq_cst);
    }
    ferry__os_unlock(ferry__os_process_lock());
    return error;
}

static bool wants(const ferry_loop *loop, int number) {
    /* relaxed: only this thread writes it. */
    return atomic_load_explicit(&loop->signals.wanted[number], memory_order_relaxed);
}

static void unwant(ferry_loop *loop, int number) {
    ferry__os_lock(ferry__os_process_lock());
    /* relaxed: a handler that still sees it set wakes the loop once for nothing. */
    atomic_store_explicit(&loop->signals.wanted[number], false, memory_order_relaxed);
    if (--wanting[number] == 0) ferry__os_uncatch(number);
    ferry__os_unlock(ferry__os_process_lock());
}

void ferry__signals_release(ferry_loop *loop) {
    loop->signals.changed = false;
    for (int number = 1; number < FERRY__SIGNALS; number++) {
        if (loop->signals.waits[number] == 0 && wants(loop, number)) unwant(loop, number);
    }
}

void ferry__signals_close(ferry_loop *loop) {
    if (!loop->signals.listed) return;
    ferry__signals_release(loop);
    ferry__os_lock(ferry__os_process_lock());
    unlist(loop);
    ferry__os_unlock(ferry__os_process_lock());
}

void ferry__signals_forked(void) {
    /* One thread, and only what a handler may do. A handler that another thread of the parent was
     * in will never leave here. */
    atomic_store_explicit(&first, NULL, memory_order_relaxed);
    atomic_store_explicit(&handlers, 0, memory_order_relaxed);
    for (int number = 1; number < FERRY__SIGNALS; number++) {
        if (wanting[number] > 0) ferry__os_uncatch(number);
        wanting[number] = 0;
    }
}

/* ---- Operations -------------------------------------------------------------------------- */

/* The last count that op was told of is in op->more; its signal in op->offset, 0 until it is known
 * to be one. */

void ferry__signal_submit(ferry_loop *loop, ferry_op *op) {
    int error = ferry__os_catchable(op->len);
    int number = error == 0 ? (int)op->len : 0;
    if (error == 0 && !wants(loop, number)) error = want(loop, number);
    if (error != 0) {
        ferry__op_end(loop, op, error, 0);
        return;
    }
    loop->signals.waits[number]++;
    op->offset = (uint64_t)number;
    /* seq_cst: after want(), against signal_came(). */
    op->more = atomic_load_explicit(&came[number], memory_order_seq_cst);
    ferry__served_wait(loop, op);
}

int64_t ferry__signal_take(ferry_op *op) {
    /* relaxed: behind the exchange in signals_look(), or told at the next look. */
    uint32_t now = atomic_load_explicit(&came[op->offset], memory_order_relaxed);
    uint32_t new = now - (uint32_t)op->more; /* they may wrap around */
    op->more = now;
    return new;
}

void ferry__signals_look(ferry_loop *loop) {
    /* acquire: the counts. Cleared first: what comes now sets it again. */
    (void)atomic_exchange_explicit(&loop->inbox.signalled, false, memory_order_acquire);
    struct ferry__list *waiting = &loop->served[SERVICE_SIGNALS];
    ferry_op *next;
    for (ferry_op *op = waiting->head; op != NULL; op = next) {
        next = ferry__list_next(waiting, op);
        int64_t new = ferry__signal_take(op);
        if (new > 0) ferry__served_result(loop, op, new, (op->asked & FERRY_MULTI) != 0);
    }
}

/* While its callback was due it was not on the list that looks go through. */
void ferry__signal_continue(ferry_loop *loop, const ferry_op *op) {
    if (atomic_load_explicit(&came[op->offset], memory_order_relaxed) != (uint32_t)op->more) {
        atomic_store_explicit(&loop->inbox.signalled, true, memory_order_relaxed);
    }
}

void ferry__signal_over(ferry_loop *loop, ferry_op *op) {
    if (op->offset == 0) return; /* it was refused */
    if (--loop->signals.waits[op->offset] == 0) loop->signals.changed = true;
    op->offset = 0;
}

void ferry_signal(ferry_loop *loop, ferry_op *op, int number, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SIGNAL, FERRY_FD_NONE, NULL, (uint64_t)number, flags, cb);
    op->offset = 0;
    ferry__submit(loop, op);
}
