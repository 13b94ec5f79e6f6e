/* process.h - children, as the backends of POSIX systems and the worker threads begin and end them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_PROCESS_H
#define FERRY_POSIX_PROCESS_H

#include "calls.h"
#include "ferry.h"

FERRY__OWN_BEGIN

#define PROCESS_STREAMS 3

/* What is open while a child begins: descriptors, -1 for none. */
struct ferry__process_ends {
    int theirs[PROCESS_STREAMS]; /* above the streams, closed at the end */
    int ours[PROCESS_STREAMS];   /* of pipes: kept if all goes well */
};

/* Executes the child's program with those as its streams (spawn.c, by system): 0 and its number, or
 * an errno. */
int ferry__process_begin(const ferry_child *child, const struct ferry__process_ends *ends,
                         char *const *argv, char *const *envp, pid_t *pid);

/* Carries out FERRY_OP_SPAWN; may wait. */
int ferry__process_spawn(const ferry_op *op);

/* What the system tells of a child that has ended, in our words. */
void ferry__process_tell(ferry_exit *how, const siginfo_t *info);

FERRY__OWN_END

#endif
