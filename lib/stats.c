/* stats.c - seeing inside: counters, and what the loop runs on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <string.h>

static void workers_read(const ferry_loop *loop, ferry_stats *now) {
    now->functions = ferry__work_load(loop, WORK_USER);
    now->files = ferry__work_load(loop, WORK_FILES);
    now->names = ferry__names_load(loop);
    now->work_in_loop = now->functions.in_loop + now->files.in_loop;
    now->workers_queued = now->functions.queued + now->files.queued;
    now->workers_busy = now->functions.busy + now->files.busy;
    now->workers = now->functions.threads + now->files.threads;
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
