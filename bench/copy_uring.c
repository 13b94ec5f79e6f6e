/* copy_uring.c - the peer: a file copied by hand on io_uring
 *
 * Several blocks are in flight, each a read with the write of the same bytes linked behind it, so
 * that the kernel goes on with the write by itself; one io_uring_enter() a turn.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "copy.h"
#include "ring.h"

#include <string.h>
#include <unistd.h>

enum { ENTRIES = 2 * COPY_DEPTH_MAX, COMPLETIONS = 4 * COPY_DEPTH_MAX };

/* In the low bit of user_data, beside the block's address. */
enum { READ, WRITTEN };

struct block {
    char *buffer;
    uint64_t offset;
    uint64_t start_ns;
    unsigned len;
};

static struct ring ring;
static struct histogram histogram;
static struct copy_options options = {.block_bytes = 512 * 1024, .depth = 4};
static int source, target;
static uint64_t size, next_offset;
static unsigned busy_count;

static void block_start(struct block *block) {
    uint64_t left = size - next_offset;
    if (left == 0) return;
    block->offset = next_offset;
    block->len = (unsigned)(left < options.block_bytes ? left : options.block_bytes);
    block->start_ns = clock_now_ns();
    next_offset += block->len;
    busy_count++;
    *ring_entry(&ring) = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                               .flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS,
                                               .fd = source,
                                               .off = block->offset,
                                               .addr = (uintptr_t)block->buffer,
                                               .len = block->len,
                                               .user_data = (uintptr_t)block | READ};
    *ring_entry(&ring) = (struct io_uring_sqe){.opcode = IORING_OP_WRITE,
                                               .fd = target,
                                               .off = block->offset,
                                               .addr = (uintptr_t)block->buffer,
                                               .len = block->len,
                                               .user_data = (uintptr_t)block | WRITTEN};
}

/* A read that brings less than was asked breaks its link: the file has been cut meanwhile. */
static void on_completion(const struct io_uring_cqe *cqe) {
    uintptr_t kind = (uintptr_t)cqe->user_data & WRITTEN;
    struct block *block = (void *)((uintptr_t)cqe->user_data - kind);
    const char *what = kind == READ ? "read" : "write";
    if (cqe->res < 0) copy_fail(what, strerror(-cqe->res));
    if ((unsigned)cqe->res != block->len) copy_fail(what, "cut short");
    if (kind == READ) return;
    histogram_add(&histogram, clock_now_ns() - block->start_ns);
    busy_count--;
    block_start(block);
}

int main(int argc, char **argv) {
    static struct block blocks[COPY_DEPTH_MAX];
    copy_options_parse(&options, argc, argv);
    copy_open(&options, &source, &target, &size);
    ring_open(&ring, ENTRIES, COMPLETIONS);
    for (unsigned i = 0; i < options.depth; i++) {
        blocks[i].buffer = copy_buffer(&options);
        block_start(&blocks[i]);
    }
    while (busy_count > 0) {
        unsigned first;
        ring_enter(&ring, 1);
        unsigned count = ring_ready(&ring, &first);
        for (unsigned i = 0; i < count; i++) on_completion(ring_completion(&ring, first + i));
        ring_seen(&ring, count);
    }
    if (close(target) < 0) copy_fail(options.target, "close");
    copy_report(&histogram);
    return 0;
}
