/* process.h - beginning a child, and what is remembered of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WIN_PROCESS_H
#define FERRY_WIN_PROCESS_H

#include "ferry.h"
#include "win.h"

FERRY__OWN_BEGIN

#define PROCESS_STREAMS 3

/* A child, until somebody has waited for it. */
struct ferry__child {
    struct ferry__child *next;
    int64_t pid;
    HANDLE process; /* keeps the number its own */
    HANDLE job;     /* of one that leads a group: all that is in it; else NULL */
    bool killed;    /* by us: its exit code tells with which signal */
};

/* Carries out FERRY_OP_SPAWN; may wait. */
int ferry__process_spawn(const ferry_op *op);

/* A text that grows. */
struct ferry__text {
    wchar_t *units;
    size_t len, room;
    bool failed; /* no memory: nothing is added any more */
};

void ferry__text_add(struct ferry__text *text, const wchar_t *units, size_t count);
void ferry__text_end(struct ferry__text *text);

/* What CreateProcessW() is to be given, each zeroed before: 0 and a text, to be ended in any case,
 * or an error. (command.c) */
int ferry__process_command(const ferry_child *asked, struct ferry__text *text);
/* Nothing at all if it is to be ours. */
int ferry__process_environment(const ferry_child *asked, struct ferry__text *block);

/* Executes the program with those handles as its streams, which can be inherited (NULL: none): 0,
 * and child's number and handles, or an error. (spawn.c) */
int ferry__process_begin(const ferry_child *asked, HANDLE streams[PROCESS_STREAMS],
                         struct ferry__child *child);

FERRY__OWN_END

#endif
