/* files.c - opening, and what is known of files: at once if caches hold it, else by a worker.
 *
 * A FIFO that has nobody at its other end is tried again after a while: a thread that waited in
 * open(2) could not be called back. In between its operation is on adapter->opens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../linux/files.h"
#include "../posix/calls.h"
#include "../posix/file_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>

static int dir_of(const ferry_op *op) {
    return op->fd == FERRY_FD_NONE ? AT_FDCWD : op->fd;
}

static bool glance(struct adapter *adapter, const ferry_op *op, int flags, uint64_t resolve,
                   struct statx *about) {
    if (!adapter_has(adapter, ADAPTER_CACHED_FILES) ||
        !ferry__linux_glance(dir_of(op), op->buf, flags, resolve, about)) {
        return false;
    }
    adapter_used(adapter, ADAPTER_CACHED_FILES);
    return true;
}

/* ---- Opening ----------------------------------------------------------------------------- */

/* A descriptor, or -1: a worker has to see to it. */
static int open_cached(struct adapter *adapter, const ferry_op *op) {
    struct statx about;
    int flags = ferry__posix_open_flags((unsigned)op->offset);
    uint64_t resolve = op->asked & FERRY_BENEATH ? RESOLVE_BENEATH : 0;
    if (flags & (O_CREAT | O_TRUNC)) return -1;
    if (!glance(adapter, op, flags & (O_NOFOLLOW | O_DIRECTORY), resolve, &about)) return -1;
    if (!S_ISREG(about.stx_mode) && !S_ISDIR(about.stx_mode)) return -1;
    /* Another may have taken its place: then it must not wait for that, nor be that. */
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_NONBLOCK),
                           .resolve = resolve | RESOLVE_CACHED};
    int fd = ferry__file_calls.openat2(dir_of(op), op->buf, &how);
    struct stat opened;
    if (fd < 0) return -1;
    if (ferry__calls.fstat(fd, &opened) == 0 &&
        (S_ISREG(opened.st_mode) || S_ISDIR(opened.st_mode)) &&
        ferry__calls.set_blocking(fd, 1) >= 0) {
        return fd;
    }
    (void)ferry__calls.close(fd);
    return -1;
}

void ferry__adapter_start_open(struct adapter *adapter, ferry_op *op) {
    int fd = op->more == 0 ? open_cached(adapter, op) : -1;
    adapter_put(&adapter->to_loop, op, fd >= 0 ? fd : 0, fd >= 0 ? 0 : RECORD_BLOCKS);
}

void ferry__adapter_open_pause(struct adapter *adapter, ferry_op *op) {
    if (adapter->opens == NULL) adapter->opens_until = ferry__os_clock() + ADAPTER_PAUSE_NS;
    op->transferred = (uint64_t)(uintptr_t)adapter->opens;
    adapter->opens = op;
}

void ferry__adapter_opens_resume(struct adapter *adapter) {
    if (adapter->opens == NULL || ferry__os_clock() < adapter->opens_until) return;
    while (adapter->opens != NULL && adapter_out_room(&adapter->to_loop) >= ADAPTER_ROOM_MIN) {
        ferry_op *op = adapter->opens;
        adapter->opens = (ferry_op *)(uintptr_t)op->transferred;
        op->transferred = 0;
        adapter_put(&adapter->to_loop, op, 0, 0);
    }
}

void ferry__adapter_open_cancel(struct adapter *adapter, ferry_op *op) {
    ferry_op *before = NULL, *at = adapter->opens;
    while (at != NULL && at != op) {
        before = at;
        at = (ferry_op *)(uintptr_t)at->transferred;
    }
    if (at == NULL) return; /* its record is on its way, or it is with a worker */
    if (before != NULL) {
        before->transferred = op->transferred;
    } else {
        adapter->opens = (ferry_op *)(uintptr_t)op->transferred;
    }
    op->transferred = 0;
    ferry__os_open_abandon(op);
    adapter_put(&adapter->to_loop, op, -ECANCELED, 0);
}

/* ---- What is known of a file ------------------------------------------------------------- */

void ferry__adapter_start_stat(struct adapter *adapter, ferry_op *op) {
    struct statx about;
    bool known;
    if (op->code == FERRY_OP_STAT_FD) {
        known = adapter_has(adapter, ADAPTER_CACHED_FILES) &&
                ferry__linux_glance_fd(op->fd, &about);
        if (known) adapter_used(adapter, ADAPTER_CACHED_FILES);
    } else {
        known = glance(adapter, op, op->asked & FERRY_NOFOLLOW ? O_NOFOLLOW : 0, 0, &about);
    }
    if (known) ferry__linux_tell_file(&about, (ferry_file *)(uintptr_t)op->more);
    adapter_put(&adapter->to_loop, op, 0, known ? 0 : RECORD_BLOCKS);
}
