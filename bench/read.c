/* read.c - what a cached read costs beside a plain pread: read BACKEND FILE
 *
 * 4 KiB each, one at a time: the next is submitted by the callback of the one before. Rounds of
 * both take turns. Prints for each round the CPU time of a pread and of a ferry_read in ns, all
 * threads of the process counted.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 4096, BLOCKS = 1024, READS = 10240, ROUNDS = 41 };

static ferry_loop *loop;
static int fd;
static char buf[READ_BYTES];
static unsigned done_count;

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static double cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint64_t offset_of(unsigned number) {
    return (uint64_t)(number % BLOCKS) * READ_BYTES;
}

/* Each block begins with its number. */
static void compare(unsigned number) {
    unsigned found;
    memcpy(&found, buf, sizeof found);
    if (found != number % BLOCKS) fail("read", "another block's bytes");
}

static void file_fill(const char *path) {
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) fail(path, strerror(errno));
    for (unsigned i = 0; i < BLOCKS; i++) {
        memcpy(buf, &i, sizeof i);
        if (write(fd, buf, sizeof buf) != READ_BYTES) fail("write", strerror(errno));
    }
}

static void on_read(ferry_op *op) {
    if (op->result != READ_BYTES) fail("ferry_read", ferry_strerror(op->result));
    compare(done_count);
    if (++done_count == READS) return;
    ferry_read(loop, op, fd, buf, READ_BYTES, offset_of(done_count), 0, on_read);
}

static void plain_round(void) {
    for (unsigned i = 0; i < READS; i++) {
        if (pread(fd, buf, READ_BYTES, (off_t)offset_of(i)) != READ_BYTES) {
            fail("pread", strerror(errno));
        }
        compare(i);
    }
}

static void ferry_round(void) {
    ferry_op op = {.state = 0};
    done_count = 0;
    ferry_read(loop, &op, fd, buf, READ_BYTES, 0, 0, on_read);
    int error = ferry_run(loop, FERRY_RUN_DONE);
    if (error < 0) fail("ferry_run", ferry_strerror(error));
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s BACKEND FILE\n", argv[0]);
        return 2;
    }
    file_fill(argv[2]);
    loop = backend_open(argv[1]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double begin_ns = cpu_ns();
        plain_round();
        double between_ns = cpu_ns();
        ferry_round();
        printf("%.1f %.1f\n", (between_ns - begin_ns) / READS, (cpu_ns() - between_ns) / READS);
    }
    close(fd);
    return ferry_loop_close(loop) < 0;
}
