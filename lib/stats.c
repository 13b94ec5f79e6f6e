/* stats.c - seeing inside: counters, and what the loop runs on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <string.h>

static void workers_read(const ferry_loop *loop, ferry_stats *now) {
    const struct ferry__work_load load = ferry__work_load(loop);
    now->workers_queued = load.queued;
    now->workers_busy = load.busy;
    now->workers = load.threads;
}

void ferry_loop_stats(const ferry_loop *loop, ferry_stats *stats, size_t len) {
    ferry_stats now = loop->stats;
    now.in_flight = loop->in_flight;
    now.submitted = now.completed + now.in_flight;
    now.background = loop->background;
    now.holds = loop->holds;
    now.timed = loop->wheel.count;
    now.work_out = ferry__work_out(loop);
    workers_read(loop, &now);
    now.wakeups = atomic_load_explicit(&loop->inbox.wakeups, memory_order_relaxed);
    memset(stats, 0, len);
    memcpy(stats, &now, len < sizeof now ? len : sizeof now);
}

const ferry_description *ferry_loop_describe(ferry_loop *loop) {
    loop->backend->describe(loop);
    return &loop->description;
}
