/* copy_plain.c - the peer: a file copied with read(2) and write(2)
 *
 * It stands for a program on epoll as well: to epoll files are never ready or always, so that such
 * a program reads and writes them in place, as this one does.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "copy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct histogram histogram;

static void write_whole(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t written = write(fd, data, len);
        if (written < 0 && errno != EINTR) copy_fail("write", strerror(errno));
        if (written < 0) continue;
        data += written;
        len -= (size_t)written;
    }
}

int main(int argc, char **argv) {
    struct copy_options options = {.block_bytes = 256 * 1024, .depth = 1};
    int source, target;
    uint64_t size;
    copy_options_parse(&options, argc, argv);
    copy_open(&options, &source, &target, &size);
    char *buffer = copy_buffer(&options);
    for (;;) {
        uint64_t start_ns = clock_now_ns();
        ssize_t got = read(source, buffer, options.block_bytes);
        if (got < 0 && errno != EINTR) copy_fail("read", strerror(errno));
        if (got == 0) break;
        if (got > 0) write_whole(target, buffer, (size_t)got);
        histogram_add(&histogram, clock_now_ns() - start_ns);
    }
    if (close(target) < 0) copy_fail("close", strerror(errno));
    copy_report(&histogram);
    return 0;
}
