/* histogram.h - how long things took: counts in logarithmic buckets, 64 to each doubling
 *
 * A percentile is therefore right to 1.6 per cent, and recording costs a few instructions, so that
 * measuring does not change what is measured.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <string.h>
#include <time.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS
};

struct histogram {
    uint64_t total;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline uint64_t clock_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void histogram_clear(struct histogram *histogram) {
    memset(histogram, 0, sizeof *histogram);
}

/* Values below 64 have a bucket each; above, the top seven bits choose it. */
static inline void histogram_add(struct histogram *histogram, uint64_t value_ns) {
    uint64_t index = value_ns;
    if (value_ns >> HISTOGRAM_SUB_BITS != 0) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(value_ns) - HISTOGRAM_SUB_BITS;
        index = ((uint64_t)shift << HISTOGRAM_SUB_BITS) + (value_ns >> shift);
    }
    histogram->counts[index]++;
    histogram->total++;
}

/* The value that per_mille of the recorded ones do not exceed (the lower end of its bucket); 0 when
 * nothing was recorded. */
static inline uint64_t histogram_at(const struct histogram *histogram, unsigned per_mille) {
    uint64_t wanted = (histogram->total * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (uint64_t index = 0; index < HISTOGRAM_BUCKETS && wanted > 0; index++) {
        seen += histogram->counts[index];
        if (seen < wanted) continue;
        if (index >> HISTOGRAM_SUB_BITS == 0) return index;
        unsigned shift = (unsigned)(index >> HISTOGRAM_SUB_BITS) - 1u;
        return ((index & ((1u << HISTOGRAM_SUB_BITS) - 1)) + (1u << HISTOGRAM_SUB_BITS)) << shift;
    }
    return 0;
}

#endif
