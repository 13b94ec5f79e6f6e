/* closefrom.c - for C libraries that have posix_spawn_file_actions_addclosefrom_np (glibc 2.34).
 *
 * SPDX-License-Identifier: MIT
 */
#include "process.h"

int ferry__process_close_others(posix_spawn_file_actions_t *actions) {
    return posix_spawn_file_actions_addclosefrom_np(actions, 3);
}
