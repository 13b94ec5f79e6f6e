/* copy_ferry.c - the subject: a file copied on Ferry
 *
 * Several blocks are in flight. Each is an operation and a buffer: it takes the next part of the
 * file that nobody has taken, reads it, writes it at the same offset, and takes another, until a
 * read finds the end.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "backend.h"
#include "copy.h"

struct block {
    ferry_op op;
    char *buffer;
    uint64_t offset;
    uint64_t start_ns;
};

static ferry_loop *loop;
static struct histogram histogram;
static struct copy_options options = {.block_bytes = 512 * 1024, .depth = 4};
static struct block blocks[COPY_DEPTH_MAX];
static ferry_fd source, target;
static uint64_t next_offset;
static unsigned busy_count;

static void on_read(ferry_op *op);
static void on_written(ferry_op *op);

static int64_t checked(int64_t result, const char *what) {
    if (result < 0) copy_fail(what, ferry_strerror(result));
    return result;
}

static void block_start(struct block *block) {
    block->offset = next_offset;
    block->start_ns = clock_now_ns();
    next_offset += options.block_bytes;
    ferry_read(loop, &block->op, source, block->buffer, options.block_bytes, block->offset,
               FERRY_ALL, on_read);
}

static void on_target_closed(ferry_op *op) {
    checked(op->result, options.target);
}

static void on_read(ferry_op *op) {
    struct block *block = ferry_container(op, struct block, op);
    int64_t got = checked(op->result, options.source);
    if (got > 0) {
        ferry_write(loop, op, target, block->buffer, (size_t)got, block->offset, 0, on_written);
    } else if (--busy_count == 0) {
        ferry_close(loop, NULL, source, 0, NULL);
        ferry_close(loop, op, target, 0, on_target_closed);
    }
}

static void on_written(ferry_op *op) {
    struct block *block = ferry_container(op, struct block, op);
    checked(op->result, options.target);
    histogram_add(&histogram, clock_now_ns() - block->start_ns);
    block_start(block);
}

static void on_target_opened(ferry_op *op) {
    target = (ferry_fd)checked(op->result, options.target);
    for (unsigned i = 0; i < options.depth; i++) {
        blocks[i].buffer = copy_buffer(&options);
        busy_count++;
        block_start(&blocks[i]);
    }
}

static void on_source_opened(ferry_op *op) {
    source = (ferry_fd)checked(op->result, options.source);
    ferry_open(loop, op, options.target,
               FERRY_OPEN_WRITE | FERRY_OPEN_CREATE | FERRY_OPEN_EXCLUSIVE, 0666, 0,
               on_target_opened);
}

int main(int argc, char **argv) {
    ferry_op op = {0};
    copy_options_parse(&options, argc, argv);
    loop = backend_open(options.backend);
    ferry_open(loop, &op, options.source, FERRY_OPEN_READ, 0, 0, on_source_opened);
    checked(ferry_run(loop, FERRY_RUN_DONE), "run");
    checked(ferry_loop_close(loop), "close");
    copy_report(&histogram);
    return 0;
}
