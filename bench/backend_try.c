/* backend_try.c - tells the runner whether one of Ferry's backends can be used here
 *
 * `backend_try NAME` ends with 0 if a loop can be opened on it, else with 1 and the reason.
 *
 * SPDX-License-Identifier: MIT
 */
#include "backend.h"

#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s NAME\n", argv[0]);
        return 2;
    }
    return ferry_loop_close(backend_open(argv[1])) < 0;
}
