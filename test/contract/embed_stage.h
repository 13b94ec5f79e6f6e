/* embed_stage.h - a loop inside another of the system's, for the tests of embedding
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_EMBED_STAGE_H
#define FERRY_TEST_EMBED_STAGE_H

#include "trouble_stage.h"

struct embedded {
    ferry_loop *loop;
    ferry_fd outer; /* outer.h: it watches the loop, and what else a test adds to it */
    ferry_fd fd;
    struct probe probe;
};

/* A loop with a descriptor that an outer epoll watches, edge-triggered or not. */
void embedded_open(struct embedded *e, int edge);
/* The same for e->loop, which is there already. */
void embedded_watch(struct embedded *e, int edge);
void embedded_close(struct embedded *e);

/* Is it readable within ns? Takes no edge from the outer epoll. */
int embedded_readable(const struct embedded *e, uint64_t ns);

/* One turn of the outer loop: waits for the loop's descriptor, and runs the loop if it is readable.
 * 0 if it was not within ns. */
int embedded_turn(struct embedded *e, uint64_t ns);

/* Turns of the outer loop until the final completion of p; fails after 20 seconds. */
void embedded_run_until(struct embedded *e, const struct probe *p);

/* Runs the loop as often as its descriptor is readable, at least once, without waiting. One run is
 * enough where nothing is left; a few where announcements come late. */
void embedded_rest(struct embedded *e);

#endif
