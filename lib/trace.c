/* trace.c - the last changes of state on this thread, told when an assertion fails. Debug builds
 * only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#if FERRY__DEBUG

#include <stdio.h>

#define TRACE_MAX 128u /* a power of two */

struct change {
    const ferry_op *op;
    uint8_t code, from, to;
};

static _Thread_local struct change changes[TRACE_MAX];
static _Thread_local uint32_t changes_made;

void ferry__trace(const ferry_op *op, unsigned from, unsigned to) {
    changes[changes_made++ % TRACE_MAX] = (struct change){op, op->code, (uint8_t)from, (uint8_t)to};
}

void ferry__trace_dump(void) {
    uint32_t first = changes_made > TRACE_MAX ? changes_made - TRACE_MAX : 0;
    for (uint32_t i = first; i != changes_made; i++) {
        const struct change *change = &changes[i % TRACE_MAX];
        char line[96];
        int len = snprintf(line, sizeof line, "ferry: %u %-8s %p %s -> %s\n", i,
                           ferry_op_name(change->code), (const void *)change->op,
                           ferry__op_state_name(change->from), ferry__op_state_name(change->to));
        if (len > 0)
            ferry__os_complain(line, (size_t)len < sizeof line ? (size_t)len : sizeof line);
    }
}

#else
typedef int ferry__trace_is_off; /* a translation unit must not be empty */
#endif
