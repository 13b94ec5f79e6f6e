/* post.c - posts from another thread: "post NS", the time from the first to the last per post
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "backend.h"
#include "histogram.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 4000000 };

static ferry_loop *loop;
static ferry_op *ops;
static unsigned arrived_count;
static uint64_t start_ns;

static void on_post(ferry_op *op) {
    (void)op;
    if (++arrived_count == COUNT) ferry_release(loop);
}

static void *post_all(void *unused) {
    start_ns = clock_now_ns();
    for (unsigned i = 0; i < COUNT; i++) {
        if (ferry_post(loop, &ops[i], on_post) < 0) exit(1);
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t poster;
    loop = backend_open(argc > 1 ? argv[1] : NULL);
    ops = calloc(COUNT, sizeof *ops);
    if (ops == NULL) return 1;
    /* The pages are there before it is measured. */
    for (unsigned i = 0; i < COUNT; i++) ops[i].user = &ops[i];
    ferry_hold(loop);
    if (pthread_create(&poster, NULL, post_all, NULL) != 0) return 1;
    int error = ferry_run(loop, FERRY_RUN_DONE);
    uint64_t end_ns = clock_now_ns();
    if (pthread_join(poster, NULL) != 0 || error < 0 || arrived_count != COUNT) return 1;
    if (ferry_loop_close(loop) < 0) return 1;
    printf("post %.1f\n", (double)(end_ns - start_ns) / COUNT);
    free(ops);
    return 0;
}
