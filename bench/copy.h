/* copy.h - what the programs that copy a file share besides their actual subject
 *
 * Each takes `[--block BYTES] [--depth N] [--backend NAME] SOURCE TARGET`, makes TARGET, which must
 * not exist, and prints "blocks N P50_NS P99_NS": how long one block took from the start of its
 * read to the end of its write. How the bytes move is its own business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_COPY_H
#define BENCH_COPY_H

#include "histogram.h"

#include <stddef.h>
#include <stdint.h>

enum { COPY_DEPTH_MAX = 64 };

struct copy_options {
    size_t block_bytes;
    unsigned depth;      /* blocks in flight at once */
    const char *backend; /* NULL: as it comes; only Ferry's program knows more than one */
    const char *source;
    const char *target;
};

/* Reads the command line over the defaults that options hold; leaves with status 2 if it is not
 * valid. */
void copy_options_parse(struct copy_options *options, int argc, char **argv);

/* A buffer for a block, aligned to a page. */
void *copy_buffer(const struct copy_options *options);

/* Opens both files, for programs to which that is no operation of its own. */
void copy_open(const struct copy_options *options, int *source, int *target, uint64_t *size);

/* Prints what the runner wants to know. */
void copy_report(const struct histogram *histogram);

/* Says what failed and why, and leaves with status 1. */
_Noreturn void copy_fail(const char *what, const char *why);

#endif
