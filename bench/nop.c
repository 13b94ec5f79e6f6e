/* nop.c - what one operation costs that does nothing, in batches: "nop NS"
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "backend.h"
#include "histogram.h"

#include <stdio.h>

enum { BATCH = 256, BATCHES = 20000 };

static ferry_loop *loop;
static ferry_op ops[BATCH];
static unsigned done_count, batch_count;

static void on_done(ferry_op *op);

static void batch_start(void) {
    done_count = 0;
    batch_count++;
    for (unsigned i = 0; i < BATCH; i++) ferry_nop(loop, &ops[i], 0, on_done);
}

static void on_done(ferry_op *op) {
    (void)op;
    if (++done_count == BATCH && batch_count < BATCHES) batch_start();
}

int main(int argc, char **argv) {
    loop = backend_open(argc > 1 ? argv[1] : NULL);
    uint64_t start_ns = clock_now_ns();
    batch_start();
    int error = ferry_run(loop, FERRY_RUN_DONE);
    uint64_t took_ns = clock_now_ns() - start_ns;
    if (error < 0 || ferry_loop_close(loop) < 0 || batch_count != BATCHES) return 1;
    printf("nop %.1f\n", (double)took_ns / BATCH / BATCHES);
    return 0;
}
