/* process.h - children, as the backends of POSIX systems and the worker threads begin and end them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_PROCESS_H
#define FERRY_POSIX_PROCESS_H

#include "calls.h"
#include "ferry.h"

FERRY__OWN_BEGIN

/* Carries out FERRY_OP_SPAWN; may wait. */
int ferry__process_spawn(const ferry_op *op);

/* What the system tells of a child that has ended, in our words. */
void ferry__process_tell(ferry_exit *how, const siginfo_t *info);

FERRY__OWN_END

#endif
