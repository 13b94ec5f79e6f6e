/* That latencies are measured without a look at the clock.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core.h"
#include "posix/calls.h"

static unsigned looks;
static int (*look_really)(clockid_t, struct timespec *);

static int look(clockid_t clock, struct timespec *time) {
    looks++;
    return look_really(clock, time);
}

static void nothing(ferry_op *op) {
    (void)op;
}

/* Looks at the clock that a run of 500 operations makes. */
static unsigned looks_of_run(ferry_loop *loop) {
    static ferry_op ops[500];
    looks = 0;
    for (unsigned i = 0; i < 500; i++) ferry_nop(loop, &ops[i], 0, nothing);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return looks;
}

static void latencies_cost_no_look_at_the_clock(void **state) {
    (void)state;
    ferry_loop *loop;
    const ferry_config config = {.size = sizeof config, .adapter = FERRY_ADAPTER_INLINE};
    if (ferry_loop_open(&loop, &config) != 0) skip(); /* without a thread that looks as well */
    look_really = ferry__calls.clock_gettime;
    ferry__calls.clock_gettime = look;
    (void)looks_of_run(loop);
    unsigned off = looks_of_run(loop);
    assert_true(off >= 1 && off < 10);
    assert_int_equal(ferry_loop_measure(loop, FERRY_MEASURE_LATENCY), 0);
    assert_int_equal(looks_of_run(loop), off);
    assert_int_equal(ferry_loop_measure(loop, FERRY_MEASURE_CALLBACKS), 0);
    assert_int_equal(looks_of_run(loop), off + 1000);
    ferry__calls.clock_gettime = look_really;
    assert_int_equal(ferry_loop_close(loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latencies_cost_no_look_at_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
