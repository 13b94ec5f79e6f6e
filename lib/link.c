/* link.c - one operation after another: `then` starts when `first` has succeeded, else it ends.
 *
 * Done in user space, for all kinds alike. An operation that is linked and not yet submitted is in
 * OP_LINKED, from its submit on in OP_LINK_WAIT; it remembers in transferred, which nobody reads
 * meanwhile, whom it waits for. Both are on a list found through the address of that one, since an
 * operation has no room to remember who waits for it: it has but a mark, BIT_LINKED, which makes
 * its delivery look here. Before its callback those that wait are told the outcome, as it may be
 * gone after it; after its callback they start, or end.
 *
 * Called by submit.c on the way in, by loop.c around the final callback, by op.c and lane.c for
 * what is to end early.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

/* In the place of whom it waits for: the outcome. No operation lies at such an address. */
enum { OUTCOME_BAD = 0, OUTCOME_GOOD = 1 };

static struct ferry__list *bucket_of(ferry_loop *loop, uint64_t first) {
    /* The upper bits of a multiplication by an odd number with well-mixed bits. */
    uint64_t hash = first * UINT64_C(0x9e3779b97f4a7c15);
    return &loop->linked[hash >> (64 - LINK_BUCKETS_SHIFT)];
}

static struct ferry__list *list_of(ferry_loop *loop, const ferry_op *then) {
    return then->transferred <= OUTCOME_GOOD ? &loop->link_settled
                                             : bucket_of(loop, then->transferred);
}

int ferry_link(ferry_loop *loop, ferry_op *first, ferry_op *then) {
    if (loop == NULL || first == NULL || then == NULL || first == then) return FERRY_EINVAL;
    ferry__loop_check(loop, then);
    bool in_flight = first->state != OP_IDLE && first->state != OP_LINKED &&
                     first->state != OP_RETURNED && first->state < OP_STATE_COUNT;
    if (!in_flight || then->state != OP_IDLE) return FERRY_EINVAL;
    first->bits |= BIT_LINKED;
    then->transferred = (uint64_t)(uintptr_t)first;
    ferry__op_move(then, OP_LINKED);
    ferry__list_push(bucket_of(loop, then->transferred), then);
    loop->linked_count++;
    return 0;
}

/* ---- On the way in ----------------------------------------------------------------------- */

/* An operation knows no loop of its own, and the user may err. */
static void check_loop(ferry_loop *loop, const ferry_op *then) {
    const struct ferry__list *list = list_of(loop, then);
    const ferry_op *found = list->head;
    while (found != NULL && found != then) found = ferry__list_next(list, found);
    if (found == NULL) ferry__op_fatal(then, "was linked on another loop");
}

static void take_out(ferry_loop *loop, ferry_op *then) {
    ferry__list_remove(list_of(loop, then), then);
    then->transferred = 0;
    loop->linked_count--;
}

static int enter_slot(ferry_loop *loop, ferry_op *then, ferry_fd fd, uint16_t bit) {
    struct ferry__slot *slot = ferry__slot(loop, fd);
    int kind = ferry__slot_kind(loop, fd, ferry__op_row(then)->lane != LANE_ALOOF);
    if (kind < 0) return kind;
    then->bits |= bit;
    slot->busy++;
    slot->flags |= SLOT_LINKED;
    return 0;
}

static void leave_slots(ferry_loop *loop, ferry_op *then) {
    if (then->code == FERRY_OP_SENDFILE && then->bits & BIT_SLOT) {
        ferry__sendfile_release(loop, then);
    }
    if (then->bits & BIT_SLOT) ferry__slot(loop, then->fd)->busy--;
    if (then->bits & BIT_SECOND) ferry__slot(loop, ferry__op_second(then))->busy--;
    then->bits &= (uint16_t) ~(BIT_SLOT | BIT_SECOND);
}

/* What has a descriptor, or two, counts there while it waits, so that the number can neither be
 * forgotten nor given back under it. Nor its pool. */
static int enter_slots(ferry_loop *loop, ferry_op *then) {
    const struct ferry__op_row *row = ferry__op_row(then);
    int error = 0;
    if (row->checked & (ARG_FD | ARG_DIR | ARG_SECOND) && then->fd != FERRY_FD_NONE) {
        error = enter_slot(loop, then, then->fd, BIT_SLOT);
    }
    if (error == 0 && row->checked & ARG_SECOND && ferry__op_second(then) != FERRY_FD_NONE) {
        error = enter_slot(loop, then, ferry__op_second(then), BIT_SECOND);
    }
    if (error != 0) leave_slots(loop, then);
    if (error == 0 && then->code == FERRY_OP_SENDFILE) {
        ferry__sendfile_hold(loop, then);
        ferry__slot(loop, ferry__source(then))->flags |= SLOT_LINKED;
    }
    if (error == 0 && row->result == RESULT_LENT) ferry__op_pool(then)->users++;
    return error;
}

bool ferry__link_waits(ferry_loop *loop, ferry_op *then, int *error) {
    if (then->transferred == OUTCOME_BAD) {
        if (*error == 0) *error = FERRY_ECANCELED;
        return false;
    }
    check_loop(loop, then);
    if (*error == 0) *error = enter_slots(loop, then);
    if (*error != 0) {
        take_out(loop, then);
        return false;
    }
    ferry__op_move(then, OP_LINK_WAIT);
    return true;
}

/* ---- Around the final callback ----------------------------------------------------------- */

static void settle(ferry_loop *loop, ferry_op *then, bool good) {
    then->transferred = good ? OUTCOME_GOOD : OUTCOME_BAD;
    if (then->state == OP_LINK_WAIT) {
        ferry__list_push(&loop->link_settled, then);
    } else {
        loop->linked_count--;
        if (good) ferry__op_move(then, OP_IDLE);
    }
}

/* Short is good, unless all was asked for. */
static bool is_good(const ferry_op *first) {
    bool vectored = ferry__op_row(first)->checked & ARG_VECTORS;
    if (first->result < 0) return false;
    if (!(first->asked & FERRY_ALL)) return true;
    return first->transferred >= (vectored ? first->more : first->len);
}

void ferry__link_settle(ferry_loop *loop, const ferry_op *first) {
    uint64_t known_as = (uint64_t)(uintptr_t)first;
    struct ferry__list *bucket = bucket_of(loop, known_as);
    ferry_op *next;
    for (ferry_op *then = bucket->head; then != NULL; then = next) {
        next = ferry__list_next(bucket, then);
        if (then->transferred != known_as) continue;
        ferry__list_remove(bucket, then);
        settle(loop, then, is_good(first));
    }
}

void ferry__link_release(ferry_loop *loop) {
    while (loop->link_settled.head != NULL) {
        ferry_op *then = loop->link_settled.head;
        bool good = then->transferred == OUTCOME_GOOD;
        take_out(loop, then);
        if (good) {
            leave_slots(loop, then);
            if (ferry__op_row(then)->result == RESULT_LENT) ferry__op_pool(then)->users--;
            ferry__submit_waited(loop, then);
        } else {
            ferry__op_end(loop, then, FERRY_ECANCELED, 0);
        }
    }
}

/* ---- Ending early ------------------------------------------------------------------------ */

void ferry__link_withdraw(ferry_loop *loop, ferry_op *then) {
    if (then->transferred != OUTCOME_BAD) {
        check_loop(loop, then);
        take_out(loop, then);
    }
    ferry__op_move(then, OP_IDLE);
}

void ferry__link_leave(ferry_loop *loop, ferry_op *then) {
    take_out(loop, then);
}

static void list_stop(ferry_loop *loop, struct ferry__list *list, ferry_fd fd, bool closes) {
    ferry_op *next;
    for (ferry_op *then = list->head; then != NULL; then = next) {
        next = ferry__list_next(list, then);
        if (then->state != OP_LINK_WAIT) continue;
        bool meant = fd == FERRY_FD_NONE ||
                     (then->bits & (BIT_SLOT | BIT_SECOND) && ferry__op_uses(then, fd));
        if (meant && (closes || then->code != FERRY_OP_CLOSE)) ferry__op_stop(loop, then, false);
    }
}

void ferry__link_stop_all(ferry_loop *loop, ferry_fd fd, bool closes) {
    if (loop->linked_count == 0) return;
    for (unsigned i = 0; i < LINK_BUCKETS; i++) list_stop(loop, &loop->linked[i], fd, closes);
    list_stop(loop, &loop->link_settled, fd, closes);
}

static uint32_t length(const struct ferry__list *list) {
    uint32_t count = 0;
    for (const ferry_op *op = list->head; op != NULL; op = ferry__list_next(list, op)) count++;
    return count;
}

void ferry__link_stop_fd(ferry_loop *loop, ferry_fd fd, bool closes) {
    struct ferry__slot *slot = ferry__slot(loop, fd);
    if (loop->linked_count == 0 || !(slot->flags & SLOT_LINKED)) return;
    /* Most have come and gone, and all that is counted is in the slot's own lists. */
    uint32_t known = length(&slot->lane[READ_LANE]) + length(&slot->lane[WRITE_LANE]) +
                     length(&slot->running);
    if (slot->busy > known) ferry__link_stop_all(loop, fd, closes);
}
