/* held_none.c - where nothing can make a worker of the library wait
 *
 * A page of memory that is not there yet would (held_linux.c); no such thing is known elsewhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

void worker_hold(ferry_loop *loop, struct held_worker *held) {
    (void)loop;
    (void)held;
    test_skip("no way to have a worker wait");
}

void worker_let_go(struct held_worker *held) {
    (void)held;
}

void worker_end(ferry_loop *loop, struct held_worker *held) {
    (void)loop;
    (void)held;
}
