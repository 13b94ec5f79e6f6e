/* each.c - all that is in flight, wherever it is: for the dump, the invariants and the drain.
 *
 * Who adds a list to the loop adds a row to the table; who keeps operations elsewhere (in a slot,
 * with threads, in a service) adds a few lines to ferry__each(). Invariant 7 (verify.c) tells those
 * who forget. On the loop's thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

const struct ferry__place ferry__places[] = {
    {offsetof(ferry_loop, backlog), OP_BACKLOG},
    {offsetof(ferry_loop, paused), OP_PAUSED},
    {offsetof(ferry_loop, work_waiting[WORK_FILES]), OP_WORK_WAIT},
    {offsetof(ferry_loop, work_waiting[WORK_USER]), OP_WORK_WAIT},
    {offsetof(ferry_loop, running_free), OP_RUNNING},
    {offsetof(ferry_loop, served[SERVICE_SIGNALS]), OP_SERVED},
    {offsetof(ferry_loop, served[SERVICE_WATCHES]), OP_SERVED},
    {offsetof(ferry_loop, link_settled), OP_LINK_WAIT},
    {offsetof(ferry_loop, landed), OP_DONE},
    {offsetof(ferry_loop, due), OP_DONE},
    {offsetof(ferry_loop, finished), OP_DONE},
    {0, OP_IDLE},
};

_Static_assert(SERVICES == 2, "each service has its row above");

struct visitor {
    ferry__visit *fn;
    void *context;
};

static void visit(const struct visitor *visitor, ferry_op *op) {
    visitor->fn(visitor->context, op, ferry__op_state_name(op->state));
}

static void each_of_list(const struct visitor *visitor, const struct ferry__list *list) {
    for (ferry_op *op = list->head; op != NULL; op = ferry__list_next(list, op)) visit(visitor, op);
}

static void each_of_slot(const struct visitor *visitor, const struct ferry__slot *slot) {
    each_of_list(visitor, &slot->lane[READ_LANE]);
    each_of_list(visitor, &slot->lane[WRITE_LANE]);
    each_of_list(visitor, &slot->running);
    if (slot->closer != NULL) visit(visitor, slot->closer);
}

/* The wheel holds deadlines as well, of operations that are elsewhere. */
static void each_timer(const struct visitor *visitor, ferry_op *first) {
    for (ferry_op *op = first; op != NULL; op = op->timer.next) {
        if (op->state == OP_TIMER) visit(visitor, op);
    }
}

/* ---- What other threads have ------------------------------------------------------------- */

void ferry__found_add(struct ferry__found *found, ferry_op *op, const char *where) {
    FERRY__ASSERT(found->count < found->max);
    found->at[found->count].op = op;
    found->at[found->count++].where = where;
}

/* Both locks at once, so that each operation is in one place; and written down first, so that
 * nobody is called under them. What lies in the inbox stays there until this thread takes it. */
static ferry_op *find(ferry_loop *loop, struct ferry__found *found) {
    bool looks_up = loop->lookups > 0, works = ferry__work_out(loop) > 0;
    if (looks_up) ferry__os_lock(ferry__os_process_lock());
    if (works) ferry__work_lock(loop);
    if (looks_up) ferry__names_find(loop, found);
    if (works) ferry__work_find(loop, found);
    ferry_op *in_inbox = ferry__inbox_top(loop);
    if (works) ferry__work_unlock(loop);
    if (looks_up) ferry__os_unlock(ferry__os_process_lock());
    return in_inbox;
}

static void each_in_inbox(const struct visitor *visitor, ferry_op *op) {
    for (; op != NULL; op = op->link.next) {
        /* A buffer's, or the library's own, which are not in flight. */
        if (op->state == OP_RETURNED || op->state == OP_OWN) continue;
        const char *where = op->state == OP_WORKING ? "back from a worker" : "looked up";
        if (op->state == OP_POSTED) where = "posted";
        visitor->fn(visitor->context, op, where);
    }
}

static bool each_elsewhere(const struct visitor *visitor, ferry_loop *loop) {
    enum { FEW = 64 };
    struct ferry__whereabouts few[FEW];
    struct ferry__found found = {.at = few, .max = (size_t)(ferry__work_out(loop) + loop->lookups)};
    size_t bytes = found.max * sizeof *found.at;
    if (found.max > FEW) found.at = ferry__os_reserve(bytes);
    if (found.at == NULL) return false;
    ferry_op *in_inbox = find(loop, &found);
    for (size_t i = 0; i < found.count; i++) {
        visitor->fn(visitor->context, found.at[i].op, found.at[i].where);
    }
    each_in_inbox(visitor, in_inbox);
    if (found.max > FEW) ferry__os_unreserve(found.at, bytes);
    return true;
}

/* ---- All --------------------------------------------------------------------------------- */

/* Those that are linked and not yet submitted are not in flight. */
static void each_linked(const struct visitor *visitor, const ferry_loop *loop) {
    for (unsigned i = 0; loop->linked_count > 0 && i < LINK_BUCKETS; i++) {
        const struct ferry__list *list = &loop->linked[i];
        for (ferry_op *op = list->head; op != NULL; op = ferry__list_next(list, op)) {
            if (op->state == OP_LINK_WAIT) visit(visitor, op);
        }
    }
}

static void each_in_wheel(const struct visitor *visitor, const struct ferry__wheel *wheel) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned bin = 0; wheel->used[level] != 0 && bin < WHEEL_BINS; bin++) {
            each_timer(visitor, wheel->bin[level][bin]);
        }
    }
}

bool ferry__each(ferry_loop *loop, ferry__visit *fn, void *context) {
    const struct visitor visitor = {fn, context};
    if (!each_elsewhere(&visitor, loop)) return false;
    for (const struct ferry__place *place = ferry__places; place->state != OP_IDLE; place++) {
        each_of_list(&visitor, ferry__place_list(loop, place));
    }
    for (int64_t i = 0; i <= loop->slot_top; i++) each_of_slot(&visitor, &loop->slots[i]);
    each_in_wheel(&visitor, &loop->wheel);
    each_timer(&visitor, loop->to_stamp);
    each_linked(&visitor, loop);
    return true;
}
