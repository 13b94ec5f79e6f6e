/* timers.c - a million timers: "timers INSERT_NS CANCEL_NS FIRE_NS", each per timer
 *
 * Inserted with spans from a millisecond to a minute, cancelled in another order; then inserted
 * again with spans of up to 100 ms, and fired all together after those have passed.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "backend.h"
#include "histogram.h"

#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1000000, STRIDE = 999983 /* a prime: i * STRIDE % COUNT meets every i once */ };

static ferry_loop *loop;
static unsigned fired_count, cancelled_count;

static void on_timer(ferry_op *op) {
    if (op->result == 0) {
        fired_count++;
    } else {
        cancelled_count++;
    }
}

static uint64_t span_next(uint64_t at_most_ns) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return 1000000 + state % at_most_ns;
}

/* The turn at the end is part of it: what was submitted is handed over there. */
static double insert_all(ferry_op *ops, uint64_t at_most_ns) {
    uint64_t start_ns = clock_now_ns();
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_timer(loop, &ops[i], span_next(at_most_ns), 0, 0, on_timer);
    }
    ferry_run(loop, FERRY_RUN_NOWAIT);
    return (double)(clock_now_ns() - start_ns) / COUNT;
}

int main(int argc, char **argv) {
    loop = backend_open(argc > 1 ? argv[1] : NULL);
    ferry_op *ops = calloc(COUNT, sizeof *ops);
    if (ops == NULL) return 1;
    /* The pages are there before it is measured. */
    for (unsigned i = 0; i < COUNT; i++) ops[i].user = &ops[i];

    double insert_ns = insert_all(ops, 60000000000u);
    uint64_t start_ns = clock_now_ns();
    for (uint64_t i = 0; i < COUNT; i++) ferry_cancel(loop, &ops[i * STRIDE % COUNT]);
    ferry_run(loop, FERRY_RUN_DONE);
    double cancel_ns = (double)(clock_now_ns() - start_ns) / COUNT;
    unsigned fired_early = fired_count;

    insert_all(ops, 100000000u);
    unsigned fired_before = fired_count;
    struct timespec pause = {.tv_nsec = 150000000};
    nanosleep(&pause, NULL);
    start_ns = clock_now_ns();
    ferry_run(loop, FERRY_RUN_DONE);
    double fire_ns = (double)(clock_now_ns() - start_ns) / (fired_count - fired_before);

    if (cancelled_count + fired_count != 2 * COUNT || ferry_loop_close(loop) < 0) return 1;
    if (fired_early > COUNT / 10) return 1; /* too slow for the spans: these are no figures */
    printf("timers %.1f %.1f %.1f\n", insert_ns, cancel_ns, fire_ns);
    free(ops);
    return 0;
}
