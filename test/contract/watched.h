/* watched.h - what the tests of watching share: a watch that writes down what it was told
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_WATCHED_H
#define FERRY_TEST_WATCHED_H

#include "trouble_stage.h"

#define TOLD_MAX 64u
#define NAME_MAX_BYTES 255u

struct told {
    enum ferry_change_kind kind;
    int is_directory;
    uint32_t pair;
    char name[NAME_MAX_BYTES + 1];
};

struct watched {
    struct probe probe;
    ferry_watcher watcher;
    char buf[4096], path[512];
    int takes;                  /* 0: its callback takes nothing out of the buffer */
    struct told told[TOLD_MAX]; /* the first of them */
    size_t count, overflows;
};

/* Begins as a watch of path that takes everything, with this much of its buffer in use. */
void watched_submit_small(ferry_loop *loop, struct watched *w, const char *path, size_t bytes,
                          unsigned flags);
void watched_submit(ferry_loop *loop, struct watched *w, const char *path, unsigned flags);
void watched_wait_begun(ferry_loop *loop, struct watched *w);
void watched_begin(ferry_loop *loop, struct watched *w, const char *path);

/* Takes what is in the buffer. */
void watched_take(struct watched *w);

/* Runs the loop until such a change is among those written down. */
void watched_until(ferry_loop *loop, struct watched *w, enum ferry_change_kind kind,
                   const char *name);

/* Cancels and waits for the end. */
void watched_cancel(ferry_loop *loop, struct watched *w);

/* Does the system merge what happens between two looks? So it does where it only tells that a
 * directory has changed (kqueue). */
int watched_merges(void);

/* Asserts how many watches the kernel has for this process, where it tells. */
void check_kernel_watches(size_t count);

/* A directory of the test's own, new; its path is good for the rest of the test. */
char *make_directory(const char *name);

/* The path of an entry; good for the next seven calls too. */
char *in(const char *directory, const char *name);

void write_file(const char *path, const char *text);

#endif
