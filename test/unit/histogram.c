/* The buckets of histograms.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core.h"

static void bucket_check(uint64_t value) {
    uint64_t index = ferry__bucket_of(value);
    assert_true(index < HISTOGRAM_BUCKETS);
    uint64_t floor = ferry__bucket_floor((unsigned)index);
    assert_true(floor <= value);
    assert_true(value - floor <= value / 16);
    if (index + 1 < HISTOGRAM_BUCKETS) {
        uint64_t next = ferry__bucket_floor((unsigned)index + 1);
        assert_true(value < next);
        assert_true(next - 1 - value <= value / 16);
    }
}

static void buckets_hold_what_they_say(void **state) {
    (void)state;
    for (uint64_t value = 0; value < 100000; value++) bucket_check(value);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t off = 0; off < 40; off++) {
            bucket_check((UINT64_C(1) << bit) + off);
            bucket_check((UINT64_C(1) << bit) - off);
        }
    }
    bucket_check(UINT64_MAX);
    assert_int_equal(ferry__bucket_of(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    /* Each is reached by its own floor. */
    for (unsigned index = 0; index < HISTOGRAM_BUCKETS; index++) {
        assert_int_equal(ferry__bucket_of(ferry__bucket_floor(index)), index);
    }
}

static void values_are_summed_up(void **state) {
    (void)state;
    static struct ferry__histogram h;
    static const uint64_t values[] = {7, 1000000, 3, 0, 77};
    uint64_t count = 0;
    for (unsigned i = 0; i < 3; i++) ferry__histogram_add(&h, values[i]);
    assert_int_equal(~h.below, 3);
    for (unsigned i = 3; i < 5; i++) ferry__histogram_add(&h, values[i]);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) count += h.bucket[i];
    assert_int_equal(count, 5);
    assert_int_equal(h.sum, 1000087);
    assert_int_equal(h.max, 1000000);
    assert_int_equal(~h.below, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_hold_what_they_say),
        cmocka_unit_test(values_are_summed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
