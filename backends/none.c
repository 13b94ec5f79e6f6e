/* none.c - the backend that refuses everything, so that a new port compiles on its first day.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

static int none_open(ferry_loop *loop, const struct ferry__options *options,
                     struct ferry__refused *why) {
    (void)loop, (void)options;
    why->error = FERRY_ENOTSUP;
    why->reason = "it refuses everything; this build has, or was asked to use, no other backend";
    return FERRY_ENOTSUP;
}

const struct ferry__backend ferry__backend_none = {.name = "none", .open = none_open};
