/* copy.c - the frame around the programs that copy a file
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void copy_fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static _Noreturn void usage(const char *program) {
    fprintf(stderr, "usage: %s [--block BYTES] [--depth N] [--backend NAME] SOURCE TARGET\n",
            program);
    exit(2);
}

void copy_options_parse(struct copy_options *options, int argc, char **argv) {
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        char *end = argv[i + 1];
        if (strcmp(argv[i], "--block") == 0) {
            options->block_bytes = strtoul(argv[i + 1], &end, 10);
        } else if (strcmp(argv[i], "--depth") == 0) {
            options->depth = (unsigned)strtoul(argv[i + 1], &end, 10);
        } else if (strcmp(argv[i], "--backend") == 0) {
            options->backend = argv[i + 1];
            end += strlen(end);
        } else {
            usage(argv[0]);
        }
        if (*end != '\0') usage(argv[0]);
    }
    if (i + 2 != argc || options->block_bytes == 0 || options->block_bytes > 1u << 30 ||
        options->depth == 0 || options->depth > COPY_DEPTH_MAX) {
        usage(argv[0]);
    }
    options->source = argv[i];
    options->target = argv[i + 1];
}

void *copy_buffer(const struct copy_options *options) {
    enum { PAGE = 4096 };
    void *buffer = aligned_alloc(PAGE, (options->block_bytes + PAGE - 1) / PAGE * PAGE);
    if (buffer == NULL) copy_fail("aligned_alloc", strerror(ENOMEM));
    return buffer;
}

void copy_open(const struct copy_options *options, int *source, int *target, uint64_t *size) {
    struct stat status;
    *source = open(options->source, O_RDONLY | O_CLOEXEC);
    if (*source < 0 || fstat(*source, &status) < 0) copy_fail(options->source, strerror(errno));
    *size = (uint64_t)status.st_size;
    *target = open(options->target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*target < 0) copy_fail(options->target, strerror(errno));
}

void copy_report(const struct histogram *histogram) {
    if (printf("blocks %llu %llu %llu\n", (unsigned long long)histogram->total,
               (unsigned long long)histogram_at(histogram, 500),
               (unsigned long long)histogram_at(histogram, 990)) < 0 ||
        fflush(stdout) != 0) {
        copy_fail("stdout", strerror(errno));
    }
}
