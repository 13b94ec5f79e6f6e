/* held_windows.c - a worker of the library that waits until the test lets it go
 *
 * What it is asked for is a path, and where it is to be written is a page of memory that nobody may
 * touch until then (support/windows/fault.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <string.h>

#define PATIENCE (30 * SECOND)
#define HELD_BYTES 4096u

void *fault_page(void);
int fault_page_is_touched(void);
void fault_page_open(void);
void fault_page_end(void);

void worker_hold(ferry_loop *loop, struct held_worker *held) {
    memset(held, 0, sizeof *held);
    held->page = fault_page();
    ferry_realpath(loop, &held->p.op, temp_path("."), held->page, HELD_BYTES, 0, probe_done);
    uint64_t start_ns = clock_ns();
    while (!fault_page_is_touched()) {
        run_for(loop, MS / 4);
        assert_true(clock_ns() - start_ns < PATIENCE);
    }
    assert_int_equal(held->p.calls, 0);
}

void worker_let_go(struct held_worker *held) {
    (void)held;
    fault_page_open();
}

void worker_end(ferry_loop *loop, struct held_worker *held) {
    char *is = realpath(temp_path("."), NULL);
    assert_non_null(is);
    expect(loop, &held->p, (int64_t)strlen(is));
    assert_string_equal(held->page, is);
    free(is);
    fault_page_end();
}
