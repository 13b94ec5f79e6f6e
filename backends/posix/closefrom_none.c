/* closefrom_none.c - for C libraries without posix_spawn_file_actions_addclosefrom_np: what the
 * library opened is closed all the same, having been opened so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "process.h"

int ferry__process_close_others(posix_spawn_file_actions_t *actions) {
    (void)actions;
    return 0;
}
