/* measure.c - how long things take: histograms per kind of operation, off until asked for.
 *
 * Two of them for each kind: from submit to delivery, on the turns' clock, and how long callbacks
 * ran, with a clock of their own. loop.c and op.c add to them on the way out; the memory is address
 * space of which only the kinds that occur take pages.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define MEASURES_ALL (FERRY_MEASURE_LATENCY | FERRY_MEASURE_CALLBACKS)

void ferry__measures_free(ferry_loop *loop) {
    ferry__os_unreserve(loop->measured, sizeof *loop->measured);
    loop->measured = NULL;
    loop->latencies = NULL;
    loop->measures = 0;
}

void ferry__latency_measured(const ferry_loop *loop, unsigned code, uint64_t began) {
    if (began == 0) return; /* a post from before it was measured */
    ferry__histogram_add(&loop->latencies[code], loop->now > began ? loop->now - began : 0);
}

void ferry__callback_add(ferry_loop *loop, unsigned code, uint64_t ns) {
    if (ns > loop->stats.callback_longest_ns) loop->stats.callback_longest_ns = ns;
    /* The callback itself may have turned it off. */
    if (!(loop->measures & FERRY_MEASURE_CALLBACKS)) return;
    ferry__histogram_add(&loop->measured->of[MEASURED_CALLBACKS][code], ns);
}

static void forget(struct ferry__histogram *histogram) {
    if (histogram->below != 0) memset(histogram, 0, sizeof *histogram); /* else nobody touched it */
}

static void forget_all(ferry_loop *loop, unsigned which) {
    for (unsigned code = 0; code < FERRY_OP_COUNT; code++) {
        forget(&loop->measured->of[which][code]);
    }
}

int ferry_loop_measure(ferry_loop *loop, unsigned what) {
    if (what & ~MEASURES_ALL) return FERRY_EINVAL;
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    ferry__loop_check(loop, NULL);
    if (what != 0 && loop->measured == NULL) {
        loop->measured = ferry__os_reserve(sizeof *loop->measured);
        if (loop->measured == NULL) return FERRY_ENOMEM;
    }
    unsigned ends = loop->measures & ~what;
    if (what == 0) {
        ferry__measures_free(loop);
    } else {
        if (ends & FERRY_MEASURE_LATENCY) forget_all(loop, MEASURED_LATENCY);
        if (ends & FERRY_MEASURE_CALLBACKS) forget_all(loop, MEASURED_CALLBACKS);
    }
    loop->measures = what;
    loop->latencies = what & FERRY_MEASURE_LATENCY ? loop->measured->of[MEASURED_LATENCY] : NULL;
    /* relaxed: posts of this moment are measured or not. */
    atomic_store_explicit(&loop->inbox.measures, (what & FERRY_MEASURE_LATENCY) != 0,
                          memory_order_relaxed);
    return 0;
}

/* ---- Reading ----------------------------------------------------------------------------- */

uint64_t ferry__bucket_floor(unsigned index) {
    if (index < 2u << HISTOGRAM_BITS) return index;
    unsigned within = index & ((1u << HISTOGRAM_BITS) - 1);
    return ((uint64_t)within + (1u << HISTOGRAM_BITS)) << ((index >> HISTOGRAM_BITS) - 1);
}

static uint64_t bucket_end(unsigned index) {
    return index + 1 < HISTOGRAM_BUCKETS ? ferry__bucket_floor(index + 1) - 1 : UINT64_MAX;
}

/* The histograms that are meant: of one kind, or of all. */
struct range {
    const struct ferry__histogram *of;
    unsigned first, end;
};

static int range_of(const ferry_loop *loop, unsigned what, unsigned code, struct range *range) {
    if ((what != FERRY_MEASURE_LATENCY && what != FERRY_MEASURE_CALLBACKS) ||
        code >= FERRY_OP_COUNT) {
        return FERRY_EINVAL;
    }
    ferry__loop_check(loop, NULL);
    *range = (struct range){.first = code, .end = code + 1};
    if (code == FERRY_OP_NONE) range->end = FERRY_OP_COUNT;
    if (loop->measured == NULL) {
        range->end = range->first;
    } else {
        range->of = loop->measured
                        ->of[what == FERRY_MEASURE_LATENCY ? MEASURED_LATENCY : MEASURED_CALLBACKS];
    }
    return 0;
}

static uint64_t bucket_count(const struct range *range, unsigned index) {
    uint64_t count = 0;
    for (unsigned i = range->first; i < range->end; i++) count += range->of[i].bucket[index];
    return count;
}

static ferry_histogram summary(const struct range *range) {
    ferry_histogram summed = {.count = 0};
    uint64_t below = 0;
    for (unsigned i = range->first; i < range->end; i++) {
        const struct ferry__histogram *one = &range->of[i];
        if (one->below > below) below = one->below;
        if (one->max > summed.max_ns) summed.max_ns = one->max;
        summed.sum_ns += one->sum;
    }
    for (unsigned index = 0; below != 0 && index < HISTOGRAM_BUCKETS; index++) {
        summed.count += bucket_count(range, index);
    }
    if (summed.count > 0) {
        summed.min_ns = ~below;
        summed.mean_ns = summed.sum_ns / summed.count;
    }
    return summed;
}

int ferry_histogram_read(const ferry_loop *loop, unsigned what, unsigned code,
                         ferry_histogram *histogram, size_t len) {
    struct range range;
    if (histogram == NULL) return FERRY_EFAULT;
    memset(histogram, 0, len);
    int error = range_of(loop, what, code, &range);
    if (error != 0) return error;
    ferry_histogram summed = summary(&range);
    memcpy(histogram, &summed, len < sizeof summed ? len : sizeof summed);
    return 0;
}

/* The place, from 1, of the value that so many per cent do not exceed. */
static uint64_t rank_of(double percent, uint64_t count) {
    double exact = percent / 100 * (double)count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact) rank++;
    return rank < 1 ? 1 : rank;
}

uint64_t ferry_histogram_percentile(const ferry_loop *loop, unsigned what, unsigned code,
                                    double percent) {
    struct range range;
    if (range_of(loop, what, code, &range) != 0) return 0;
    ferry_histogram all = summary(&range);
    if (all.count == 0 || !(percent > 0)) return all.min_ns; /* what is no number, too */
    if (percent >= 100) return all.max_ns;
    uint64_t rank = rank_of(percent, all.count), seen = 0;
    for (unsigned index = 0; index < HISTOGRAM_BUCKETS; index++) {
        seen += bucket_count(&range, index);
        if (seen < rank) continue;
        uint64_t end = bucket_end(index);
        return end < all.max_ns ? end : all.max_ns;
    }
    return all.max_ns;
}

size_t ferry_histogram_buckets(const ferry_loop *loop, unsigned what, unsigned code,
                               ferry_bucket *buckets, size_t max) {
    struct range range;
    size_t used = 0;
    if (range_of(loop, what, code, &range) != 0) return 0;
    for (unsigned index = 0; index < HISTOGRAM_BUCKETS; index++) {
        uint64_t count = bucket_count(&range, index);
        if (count == 0) continue;
        if (used < max) {
            buckets[used] = (ferry_bucket){
                .from_ns = ferry__bucket_floor(index), .to_ns = bucket_end(index), .count = count};
        }
        used++;
    }
    return used;
}

int ferry_histogram_reset(ferry_loop *loop, unsigned what, unsigned code) {
    struct range range;
    int error = range_of(loop, what, code, &range);
    if (error != 0) return error;
    unsigned which = what == FERRY_MEASURE_LATENCY ? MEASURED_LATENCY : MEASURED_CALLBACKS;
    for (unsigned i = range.first; i < range.end; i++) forget(&loop->measured->of[which][i]);
    if (what == FERRY_MEASURE_CALLBACKS && code == FERRY_OP_NONE) {
        loop->stats.callback_longest_ns = 0;
    }
    return 0;
}
