/* The timer wheel against a naive model: what comes out, when, and in which order.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES 512u

struct entry {
    ferry_op op;
    bool in;
    uint64_t order; /* of insertion */
};

struct model {
    struct ferry__wheel wheel;
    struct entry entries[ENTRIES];
    uint64_t now, orders, state;
    size_t count;
};

static uint64_t random_next(struct model *model) {
    model->state ^= model->state << 13;
    model->state ^= model->state >> 7;
    model->state ^= model->state << 17;
    return model->state;
}

/* Spans from nothing to centuries: each magnitude as likely as the others. */
static uint64_t random_span(struct model *model) {
    return random_next(model) >> (random_next(model) % 64);
}

static void model_add(struct model *model, struct entry *entry, uint64_t when) {
    entry->op.timer.when = when;
    entry->in = true;
    entry->order = model->orders++;
    ferry__wheel_add(&model->wheel, &entry->op);
    model->count++;
}

static void model_remove(struct model *model, struct entry *entry) {
    ferry__wheel_remove(&model->wheel, &entry->op);
    entry->in = false;
    model->count--;
}

static uint64_t model_nearest(const struct model *model) {
    uint64_t nearest = UINT64_MAX;
    for (size_t i = 0; i < ENTRIES; i++) {
        const struct entry *entry = &model->entries[i];
        if (entry->in && entry->op.timer.when < nearest) nearest = entry->op.timer.when;
    }
    return nearest;
}

static size_t model_due(const struct model *model) {
    size_t due = 0;
    for (size_t i = 0; i < ENTRIES; i++) {
        due += model->entries[i].in && model->entries[i].op.timer.when <= model->now;
    }
    return due;
}

/* All that is due, a bin at a time, as one list. */
static ferry_op *expire_all(struct ferry__wheel *wheel, uint64_t now) {
    ferry_op *all = NULL, **tail = &all;
    while ((*tail = ferry__wheel_expire(wheel, now)) != NULL) {
        while (*tail != NULL) tail = &(*tail)->timer.next;
    }
    return all;
}

static void model_expire(struct model *model) {
    size_t due = model_due(model);
    uint64_t when = 0;
    ferry_op *next;
    for (ferry_op *op = expire_all(&model->wheel, model->now); op != NULL; op = next) {
        struct entry *entry = ferry_container(op, struct entry, op);
        next = op->timer.next;
        assert_true(entry->in);
        assert_true(op->timer.when <= model->now); /* never early */
        assert_true(op->timer.when >= when);       /* in order */
        when = op->timer.when;
        entry->in = false;
        model->count--;
        assert_true(due > 0);
        due--;
    }
    assert_int_equal(due, 0); /* none left behind */
    assert_int_equal(model->wheel.count, model->count);
}

static void model_step(struct model *model) {
    struct entry *entry = &model->entries[random_next(model) % ENTRIES];
    uint64_t what = random_next(model) % 8;
    if (what == 0) {
        model->now = ferry__time_add(model->now, random_span(model) >> 4);
        model_expire(model);
    } else if (what == 1) {
        model->now = ferry__time_add(model->now, random_next(model) % 4000000);
        model_expire(model);
    } else if (entry->in) {
        model_remove(model, entry);
    } else {
        model_add(model, entry, ferry__time_add(model->now, random_span(model)));
    }
    assert_true(ferry__wheel_nearest(&model->wheel) <= model_nearest(model));
}

static void wheel_keeps_to_the_model(void **state) {
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        memset(model, 0, sizeof *model);
        model->state = seed * 0x9e3779b97f4a7c15u;
        model->now = random_span(model) >> 8;
        ferry__wheel_init(&model->wheel, model->now);
        for (int i = 0; i < 10000; i++) model_step(model);
        model->now = UINT64_MAX;
        model_expire(model);
        assert_int_equal(model->wheel.count, 0);
        assert_int_equal(ferry__wheel_nearest(&model->wheel), UINT64_MAX);
    }
    free(model);
}

/* One that sleeps until the nearest entry each time must come to every entry, exactly in time. */
static void wheel_wakes_in_time(void **state) {
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    model->state = 88172645463325252u;
    model->now = 1000000000;
    ferry__wheel_init(&model->wheel, model->now);
    for (size_t i = 0; i < ENTRIES; i++) {
        model_add(model, &model->entries[i], ferry__time_add(model->now, random_span(model)));
    }
    int wakes = 0;
    while (model->count > 0) {
        uint64_t nearest = ferry__wheel_nearest(&model->wheel);
        assert_true(nearest <= model_nearest(model));
        model->now = nearest;
        model_expire(model);
        assert_true(model_nearest(model) > model->now); /* none late */
        wakes++;
    }
    /* Each entry at most once itself and once for each level that it moves down. */
    assert_in_range(wakes, 1, ENTRIES * WHEEL_LEVELS);
    free(model);
}

static void wheel_orders_equals_by_insertion(void **state) {
    (void)state;
    struct ferry__wheel *wheel = malloc(sizeof *wheel);
    ferry_op ops[100];
    memset(ops, 0, sizeof ops);
    uint64_t spans[] = {0, 1000, 70000000, 5000000000u, UINT64_MAX / 2};
    for (size_t s = 0; s < sizeof spans / sizeof spans[0]; s++) {
        ferry__wheel_init(wheel, 123456789);
        for (size_t i = 0; i < 100; i++) {
            ops[i].timer.when = 123456789 + spans[s];
            ferry__wheel_add(wheel, &ops[i]);
        }
        uint64_t now = 0;
        ferry_op *due = NULL;
        while (due == NULL) {
            now = ferry__wheel_nearest(wheel);
            due = expire_all(wheel, now);
        }
        for (size_t i = 0; i < 100; i++, due = due->timer.next) assert_ptr_equal(due, &ops[i]);
        assert_null(due);
    }
    free(wheel);
}

static void time_saturates(void **state) {
    (void)state;
    assert_int_equal(ferry__time_add(1, 2), 3);
    assert_true(ferry__time_add(UINT64_MAX, 1) == UINT64_MAX);
    assert_true(ferry__time_add(UINT64_MAX - 1, 1) == UINT64_MAX);
    assert_true(ferry__time_add(1, UINT64_MAX) == UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wheel_keeps_to_the_model),
        cmocka_unit_test(wheel_wakes_in_time),
        cmocka_unit_test(wheel_orders_equals_by_insertion),
        cmocka_unit_test(time_saturates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
