/* copy_uv.c - the peer: a file copied on libuv
 *
 * Several blocks are in flight, each read and then written by libuv's worker threads.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "copy.h"

#include <unistd.h>
#include <uv.h>

struct block {
    uv_fs_t request;
    uv_buf_t buf;
    char *buffer;
    uint64_t offset;
    uint64_t start_ns;
};

static uv_loop_t loop;
static struct histogram histogram;
static struct copy_options options = {.block_bytes = 1024 * 1024, .depth = 4};
static int source, target;
static uint64_t size, next_offset;

static void on_read(uv_fs_t *request);
static void on_written(uv_fs_t *request);

static void check(ssize_t result, const char *what) {
    if (result < 0) copy_fail(what, uv_strerror((int)result));
}

static void block_start(struct block *block) {
    uint64_t left = size - next_offset;
    uint64_t len = left < options.block_bytes ? left : options.block_bytes;
    if (left == 0) return;
    block->buf = uv_buf_init(block->buffer, (unsigned)len);
    block->offset = next_offset;
    block->start_ns = clock_now_ns();
    next_offset += len;
    check(
        uv_fs_read(&loop, &block->request, source, &block->buf, 1, (int64_t)block->offset, on_read),
        "read");
}

static void on_read(uv_fs_t *request) {
    struct block *block = request->data;
    check(request->result, "read");
    if ((size_t)request->result != block->buf.len) copy_fail("read", "cut short");
    uv_fs_req_cleanup(request);
    check(uv_fs_write(&loop, request, target, &block->buf, 1, (int64_t)block->offset, on_written),
          "write");
}

static void on_written(uv_fs_t *request) {
    struct block *block = request->data;
    check(request->result, "write");
    if ((size_t)request->result != block->buf.len) copy_fail("write", "cut short");
    uv_fs_req_cleanup(request);
    histogram_add(&histogram, clock_now_ns() - block->start_ns);
    block_start(block);
}

int main(int argc, char **argv) {
    static struct block blocks[COPY_DEPTH_MAX];
    copy_options_parse(&options, argc, argv);
    copy_open(&options, &source, &target, &size);
    check(uv_loop_init(&loop), "uv_loop_init");
    for (unsigned i = 0; i < options.depth; i++) {
        blocks[i].request.data = &blocks[i];
        blocks[i].buffer = copy_buffer(&options);
        block_start(&blocks[i]);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    check(uv_loop_close(&loop), "uv_loop_close");
    if (close(target) < 0) copy_fail(options.target, "close");
    copy_report(&histogram);
    return 0;
}
