/* files.c - opening, and what is known of files: at once if caches hold it, else by a worker.
 *
 * A FIFO that has nobody at its other end is tried again after a while: a thread that waited in
 * open(2) could not be called back. In between its operation is on adapter->opens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../posix/file_calls.h"
#include "../posix/system.h"

#include <errno.h>
#include <fcntl.h>

static int dir_of(const ferry_op *op) {
    return op->fd == FERRY_FD_NONE ? AT_FDCWD : op->fd;
}

/* ---- Opening ----------------------------------------------------------------------------- */

static int open_cached(struct adapter *adapter, const ferry_op *op) {
    int flags = ferry__posix_open_flags((unsigned)op->offset);
    if (!adapter_has(adapter, ADAPTER_CACHED_FILES) || flags & (O_CREAT | O_TRUNC)) return -1;
    int fd = ferry__system_open_cached(dir_of(op), op->buf, flags, op->asked & FERRY_BENEATH);
    if (fd >= 0) adapter_used(adapter, ADAPTER_CACHED_FILES);
    return fd;
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
    while (adapter->opens != NULL && adapter_has_room(&adapter->to_loop)) {
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
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    bool is_open = op->code == FERRY_OP_STAT_FD;
    bool known = adapter_has(adapter, ADAPTER_CACHED_FILES) &&
                 ferry__system_stat_cached(is_open ? op->fd : dir_of(op), is_open ? NULL : op->buf,
                                           !(op->asked & FERRY_NOFOLLOW), file);
    if (known) adapter_used(adapter, ADAPTER_CACHED_FILES);
    adapter_put(&adapter->to_loop, op, 0, known ? 0 : RECORD_BLOCKS);
}
