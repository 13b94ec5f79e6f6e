/* verify.c - the loop's invariants, written down once, walked by one function.
 *
 * Debug builds walk them every turn, tests whenever they like. Numbers are for the tests and for
 * those who read a failure:
 *
 *   1  An operation in a list has the state that this list stands for.
 *   2  In a lane only the first is with the backend, or the first `gathered`; the others wait, but
 *      not for a descriptor that closes.
 *   3  slot->connects counts the connects in the write lane.
 *   4  slot->busy is at least the operations in its lists; zero if it was reset.
 *   5  The dirty list holds exactly the slots flagged so.
 *   6  Each entry of the wheel is marked, lies in the bin that its time names, and is counted.
 *   7  in_flight counts all that the lists, the wheel, the workers and the resolvers hold, which is
 *      all that ferry__each() finds.
 *   8  background counts those of them that are marked so.
 *   9  cancels_owed and stopping count the operations marked so.
 *  10  No more records than the ring holds; no more work out than allowed.
 *  11  signals.waits counts, over all numbers, the waits for signals that have begun.
 *  12  A linked operation lies where whom it waits for says; that one is in flight and marked so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

struct tally {
    uint64_t operations, background, owed, stopping, signals;
};

/* Posts count from their arrival on. */
static void count(void *context, ferry_op *op, const char *where) {
    struct tally *tally = context;
    (void)where;
    if (op->state == OP_POSTED) return;
    tally->operations++;
    tally->background += (op->bits & BIT_BACKGROUND) != 0;
    tally->owed += (op->bits & BIT_CANCEL_OWED) != 0;
    tally->signals += op->code == FERRY_OP_SIGNAL && op->offset != 0;
    tally->stopping += op->state != OP_DONE && op->bits & BIT_STOPPING;
}

static uint32_t verify_list(const struct ferry__list *list, enum ferry__op_state state) {
    uint32_t length = 0;
    for (const ferry_op *op = list->head; op != NULL; op = ferry__list_next(list, op)) {
        FERRY__ASSERT(op->state == state); /* 1 */
        length++;
    }
    return length;
}

static uint32_t verify_lane(const struct ferry__slot *slot, unsigned which) {
    const struct ferry__list *lane = &slot->lane[which];
    uint32_t length = 0, connects = 0;
    uint32_t started_max = which == WRITE_LANE && slot->gathered > 1 ? slot->gathered : 1;
    for (const ferry_op *op = lane->head; op != NULL; op = ferry__list_next(lane, op)) {
        bool held = op->state == OP_DRY || op->state == OP_SPENT;
        FERRY__ASSERT(held || op->state == OP_LANE || op->state == OP_IN_LANE);     /* 1 */
        FERRY__ASSERT(op->state == OP_LANE || length < started_max);                /* 2 */
        FERRY__ASSERT(((op->bits & BIT_WRITE_LANE) != 0) == (which == WRITE_LANE)); /* 1 */
        FERRY__ASSERT(op->state != OP_LANE || !(slot->flags & SLOT_CLOSING));       /* 2 */
        connects += op->code == FERRY_OP_CONNECT;
        length++;
    }
    FERRY__ASSERT(connects == (which == WRITE_LANE ? slot->connects : 0)); /* 3 */
    FERRY__ASSERT(length >= (which == WRITE_LANE ? slot->gathered : 0u));  /* 2 */
    return length;
}

static uint32_t verify_slot(const struct ferry__slot *slot) {
    uint32_t held = verify_lane(slot, READ_LANE);
    held += verify_lane(slot, WRITE_LANE);
    held += verify_list(&slot->running, OP_RUNNING);
    FERRY__ASSERT(slot->busy >= held);                                            /* 4 */
    FERRY__ASSERT((slot->closer != NULL) == ((slot->flags & SLOT_CLOSING) != 0)); /* 1 */
    FERRY__ASSERT(slot->closer == NULL || slot->closer->state == OP_CLOSING);     /* 1 */
    return (slot->flags & SLOT_DIRTY) != 0;
}

static void verify_slots(const ferry_loop *loop) {
    uint32_t dirty = 0, listed = 0;
    for (int64_t i = 0; i <= loop->slot_top; i++) dirty += verify_slot(&loop->slots[i]);
    for (const struct ferry__slot *slot = loop->dirty_first; slot != NULL;
         slot = slot->next_dirty) {
        FERRY__ASSERT(slot->flags & SLOT_DIRTY); /* 5 */
        listed++;
    }
    FERRY__ASSERT(dirty == listed); /* 5 */
}

static void verify_wheel(const ferry_loop *loop) {
    const struct ferry__wheel *wheel = &loop->wheel;
    size_t entries = 0;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned bin = 0; bin < WHEEL_BINS; bin++) {
            const ferry_op *op = wheel->bin[level][bin];
            FERRY__ASSERT((op != NULL) == (wheel->used[level] >> bin & 1)); /* 6 */
            for (; op != NULL; op = op->timer.next) {
                uint64_t tick = op->timer.when >> WHEEL_SHIFT;
                FERRY__ASSERT(op->bits & BIT_TIMED);                                     /* 6 */
                FERRY__ASSERT(tick <= wheel->tick || (tick >> (6 * level)) % 64 == bin); /* 6 */
                entries++;
            }
        }
    }
    FERRY__ASSERT(entries == wheel->count); /* 6 */
    for (const ferry_op *op = loop->to_stamp; op != NULL; op = op->timer.next) {
        FERRY__ASSERT(op->bits & BIT_STAMP); /* 6 */
    }
}

static void verify_links(const ferry_loop *loop) {
    uint64_t linked = 0;
    for (unsigned i = 0; i < LINK_BUCKETS; i++) {
        const struct ferry__list *list = &loop->linked[i];
        for (const ferry_op *op = list->head; op != NULL; op = ferry__list_next(list, op)) {
            const ferry_op *first = (const ferry_op *)(uintptr_t)op->transferred;
            FERRY__ASSERT(op->state == OP_LINKED || op->state == OP_LINK_WAIT);  /* 1 */
            FERRY__ASSERT(first->state != OP_IDLE && first->state != OP_LINKED); /* 12 */
            FERRY__ASSERT(first->bits & BIT_LINKED);                             /* 12 */
            linked++;
        }
    }
    FERRY__ASSERT(loop->link_settled.head == NULL); /* 12 */
    FERRY__ASSERT(linked == loop->linked_count);    /* 12 */
}

void ferry__verify(ferry_loop *loop) {
    struct tally tally = {0, 0, 0, 0, 0};
    uint64_t waits = 0;
    verify_slots(loop);
    verify_wheel(loop);
    verify_links(loop);
    for (const struct ferry__place *place = ferry__places; place->state != OP_IDLE; place++) {
        verify_list(ferry__place_list(loop, place), place->state);
    }
    if (!ferry__each(loop, count, &tally)) return;
    FERRY__ASSERT(tally.operations == loop->in_flight);                               /* 7 */
    FERRY__ASSERT(tally.background == loop->background);                              /* 8 */
    FERRY__ASSERT(tally.owed == loop->cancels_owed);                                  /* 9 */
    FERRY__ASSERT(tally.stopping == loop->stopping);                                  /* 9 */
    FERRY__ASSERT(loop->records.tail - loop->records.head <= loop->records.mask + 1); /* 10 */
    FERRY__ASSERT(loop->later.tail - loop->later.head <= loop->later.mask + 1);       /* 10 */
    FERRY__ASSERT(loop->work_out[WORK_USER] <= loop->work_max);                       /* 10 */
    for (unsigned i = 0; i < FERRY__SIGNALS; i++) waits += loop->signals.waits[i];
    FERRY__ASSERT(tally.signals == waits); /* 11 */
}

static void each(ferry_loop *loop, const struct ferry__list *list,
                 void (*fn)(ferry_loop *, ferry_op *)) {
    for (ferry_op *op = list->head; op != NULL; op = ferry__list_next(list, op)) {
        if (op->state == OP_IN_LANE || op->state == OP_RUNNING) fn(loop, op);
    }
}

void ferry__each_running(ferry_loop *loop, void (*fn)(ferry_loop *, ferry_op *)) {
    each(loop, &loop->running_free, fn);
    for (int64_t i = 0; i <= loop->slot_top; i++) {
        struct ferry__slot *slot = &loop->slots[i];
        each(loop, &slot->lane[READ_LANE], fn);
        each(loop, &slot->lane[WRITE_LANE], fn);
        each(loop, &slot->running, fn);
    }
}
