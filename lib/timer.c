/* timer.c - the wheel: timers and deadlines, intrusive, without allocation, for millions of them.
 *
 * Eight levels of 64 bins. An entry lies on the level of the highest digit (in base 64) in which
 * its tick differs from the wheel's, in the bin that this digit names; when the wheel reaches the
 * bin the entries move down. Bins are about a millisecond wide at the bottom and only sort roughly:
 * entries keep exact nanoseconds, those of the present bin that are not yet due stay, those that
 * are due come out in order. Insertion and removal touch a bin and two neighbours. (Varghese and
 * Lauck, 1987.)
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

struct place {
    unsigned level, bin;
};

static struct place place_of(const struct ferry__wheel *wheel, uint64_t when) {
    uint64_t tick = when >> WHEEL_SHIFT;
    if (tick <= wheel->tick) return (struct place){0, wheel->tick % WHEEL_BINS};
    unsigned level = FERRY__HIGHEST_BIT(tick ^ wheel->tick) / 6;
    return (struct place){level, (tick >> (6 * level)) % WHEEL_BINS};
}

void ferry__wheel_init(struct ferry__wheel *wheel, uint64_t now) {
    *wheel = (struct ferry__wheel){.tick = now >> WHEEL_SHIFT, .nearest = UINT64_MAX};
    wheel->nearest_known = true;
}

static void link_in(struct ferry__wheel *wheel, ferry_op *op) {
    struct place at = place_of(wheel, op->timer.when);
    ferry_op *head = wheel->bin[at.level][at.bin];
    op->timer.prev = NULL;
    op->timer.next = head;
    if (head != NULL) head->timer.prev = op;
    wheel->bin[at.level][at.bin] = op;
    wheel->used[at.level] |= UINT64_C(1) << at.bin;
}

void ferry__wheel_add(struct ferry__wheel *wheel, ferry_op *op) {
    link_in(wheel, op);
    wheel->count++;
    if (op->timer.when < wheel->nearest) wheel->nearest = op->timer.when;
}

void ferry__wheel_remove(struct ferry__wheel *wheel, ferry_op *op) {
    if (op->timer.next != NULL) op->timer.next->timer.prev = op->timer.prev;
    if (op->timer.prev != NULL) {
        op->timer.prev->timer.next = op->timer.next;
    } else {
        struct place at = place_of(wheel, op->timer.when);
        wheel->bin[at.level][at.bin] = op->timer.next;
        if (op->timer.next == NULL) wheel->used[at.level] &= ~(UINT64_C(1) << at.bin);
    }
    wheel->count--;
    /* An earlier estimate than needed only costs a wake-up: look again when somebody asks. */
    if (op->timer.when == wheel->nearest) wheel->nearest_known = false;
}

/* The first bin that is not empty, in time; level WHEEL_LEVELS if all are. */
static struct place first_used(const struct ferry__wheel *wheel) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->used[level]) {
            return (struct place){level, FERRY__LOWEST_BIT(wheel->used[level])};
        }
    }
    return (struct place){WHEEL_LEVELS, 0};
}

/* The tick at which a bin of a level begins, seen from where the wheel stands. */
static uint64_t bin_tick(const struct ferry__wheel *wheel, struct place at) {
    unsigned shift = 6 * at.level;
    uint64_t above = shift + 6 < 64 ? wheel->tick >> (shift + 6) << (shift + 6) : 0;
    return above | (uint64_t)at.bin << shift;
}

uint64_t ferry__wheel_nearest(struct ferry__wheel *wheel) {
    if (wheel->nearest_known) return wheel->nearest;
    struct place at = first_used(wheel);
    uint64_t nearest = UINT64_MAX;
    if (at.level == 0) {
        for (ferry_op *op = wheel->bin[0][at.bin]; op != NULL; op = op->timer.next) {
            if (op->timer.when < nearest) nearest = op->timer.when;
        }
    } else if (at.level < WHEEL_LEVELS) {
        nearest = bin_tick(wheel, at) << WHEEL_SHIFT; /* when its entries must move down */
    }
    wheel->nearest = nearest;
    wheel->nearest_known = true;
    return nearest;
}

/* Merges two sorted lists; equals keep the order first, second. */
static ferry_op *merge(ferry_op *first, ferry_op *second) {
    ferry_op *head = NULL;
    ferry_op **tail = &head;
    while (first != NULL && second != NULL) {
        ferry_op **from = second->timer.when < first->timer.when ? &second : &first;
        *tail = *from;
        tail = &(*from)->timer.next;
        *from = (*from)->timer.next;
    }
    *tail = first != NULL ? first : second;
    return head;
}

/* Sorts what came out of a bin, which holds the newest first, so that equals come oldest first. */
static ferry_op *sort(ferry_op *list) {
    ferry_op *runs[64] = {NULL}; /* run i holds 2^i entries or none */
    while (list != NULL) {
        ferry_op *run = list;
        list = list->timer.next;
        run->timer.next = NULL;
        unsigned i = 0;
        for (; runs[i] != NULL; i++) {
            run = merge(run, runs[i]);
            runs[i] = NULL;
        }
        runs[i] = run;
    }
    ferry_op *all = NULL;
    for (unsigned i = 0; i < 64; i++) {
        if (runs[i] != NULL) all = all == NULL ? runs[i] : merge(all, runs[i]);
    }
    return all;
}

static ferry_op *take_bin(struct ferry__wheel *wheel, struct place at) {
    ferry_op *list = wheel->bin[at.level][at.bin];
    wheel->bin[at.level][at.bin] = NULL;
    wheel->used[at.level] &= ~(UINT64_C(1) << at.bin);
    return list;
}

/* Takes what is due out of a bin of the lowest level, in order. */
static ferry_op *expire_bin(struct ferry__wheel *wheel, unsigned bin, uint64_t now) {
    ferry_op *due = NULL, **due_tail = &due;
    ferry_op *stays = NULL, *next;
    for (ferry_op *op = take_bin(wheel, (struct place){0, bin}); op != NULL; op = next) {
        next = op->timer.next;
        if (op->timer.when <= now) {
            *due_tail = op;
            due_tail = &op->timer.next;
            wheel->count--;
        } else {
            op->timer.next = stays;
            stays = op;
        }
    }
    *due_tail = NULL;
    for (; stays != NULL; stays = next) { /* reversed twice: as they were */
        next = stays->timer.next;
        link_in(wheel, stays);
    }
    return sort(due);
}

/* Moves the entries of a bin of a higher level down, oldest first, as they were put in. */
static void cascade(struct ferry__wheel *wheel, struct place at) {
    ferry_op *oldest = NULL, *next;
    for (ferry_op *op = take_bin(wheel, at); op != NULL; op = next) {
        next = op->timer.next;
        op->timer.next = oldest;
        oldest = op;
    }
    for (; oldest != NULL; oldest = next) {
        next = oldest->timer.next;
        link_in(wheel, oldest);
    }
}

ferry_op *ferry__wheel_expire(struct ferry__wheel *wheel, uint64_t now) {
    ferry_op *due = NULL;
    uint64_t target = now >> WHEEL_SHIFT;
    if (ferry__wheel_nearest(wheel) > now) return NULL;
    wheel->nearest_known = false;
    while (due == NULL) {
        struct place at = first_used(wheel);
        if (at.level == WHEEL_LEVELS || bin_tick(wheel, at) > target) {
            wheel->tick = target;
            return NULL;
        }
        wheel->tick = bin_tick(wheel, at);
        if (at.level > 0) {
            cascade(wheel, at);
        } else {
            due = expire_bin(wheel, at.bin, now);
            if (wheel->tick == target) return due; /* what stays is the nearest */
        }
    }
    return due;
}

void ferry__wheel_each(struct ferry__wheel *wheel, ferry_loop *loop,
                       void (*fn)(ferry_loop *, ferry_op *)) {
    ferry_op *next;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned bin = 0; bin < WHEEL_BINS; bin++) {
            for (ferry_op *op = wheel->bin[level][bin]; op != NULL; op = next) {
                next = op->timer.next;
                fn(loop, op);
            }
        }
    }
}
