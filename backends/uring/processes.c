/* processes.c - submission entries of what waits for readiness, or for a process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../posix/system.h"
#include "../posix/process.h"
#include "../posix/readiness.h"

#include <poll.h>

_Static_assert(sizeof(siginfo_t) <= sizeof(((ferry_exit *)0)->room), "room for a siginfo");

/* ---- Readiness --------------------------------------------------------------------------- */

/* The kernel does not count POLLPRI when it looks whether somebody waits for what happens to a
 * socket (io_poll_wake() in io_uring/poll.c, Linux 6.18), but sockets tell of POLLRDBAND beside it.
 */
void ferry__uring_prep_poll(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    unsigned events = ferry__posix_events_to((unsigned)op->len);
    io_uring_prep_poll_add(sqe, op->fd, events & POLLPRI ? events | POLLRDBAND : events);
}

/* The kernel ends a poll for RDHUP also if that was not asked for. Who waits to write to a peer
 * that sends no more would be told again and again, so that such a poll tries again after a pause,
 * until there is something to tell. What a socket tells of as urgent may be any data: it is asked.
 */
void ferry__uring_finish_poll(struct ferry__record *record) {
    uint64_t told = ferry__posix_events_from((unsigned)record->result);
    if (told & FERRY_POLL_PRIORITY) {
        told = ferry__posix_look(record->op->fd, (unsigned)record->op->len);
    }
    told &= record->op->len | FERRY_POLL_ERR | FERRY_POLL_HUP;
    record->result = (int32_t)told;
    record->flags = told == 0 ? RECORD_NOT_READY : 0;
}

/* ---- Processes --------------------------------------------------------------------------- */

void ferry__uring_prep_process(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    ferry_exit *how = (ferry_exit *)(uintptr_t)op->buf;
    if (uring_has(uring, URING_WAITID)) {
        io_uring_prep_rw(URING_OP_WAITID, sqe, (int)op->len, NULL, P_PID, 0);
        sqe->file_index = WEXITED;
        sqe->addr2 = how != NULL ? (uint64_t)(uintptr_t)how->room : 0;
        uring->uses[URING_WAITID]++;
        return;
    }
    /* Kept in op->offset. An error meets the kernel's answer to -1 at the other end. */
    int fd = ferry__system_child_open((int64_t)op->len);
    op->offset = (uint64_t)(int64_t)fd;
    io_uring_prep_poll_add(sqe, fd < 0 ? -1 : fd, POLLIN);
}

static void finish_pidfd(struct ferry__record *record) {
    int fd = (int)(int64_t)record->op->offset;
    if (fd < 0) {
        record->result = fd;
        record->flags = 0;
        return;
    }
    if (record->result >= 0 && !(record->flags & RECORD_INTERRUPTED)) {
        /* One that is traced belongs to the tracer first, and nothing tells when that lets go. */
        int taken = ferry__system_child_take(fd, (int64_t)record->op->len,
                                             (ferry_exit *)(uintptr_t)record->op->buf);
        record->flags = taken == 1 ? RECORD_NOT_READY : 0;
        record->result = taken < 0 ? taken : 0;
    }
    (void)ferry__calls.close(fd);
}

void ferry__uring_finish_process(const struct uring *uring, struct ferry__record *record) {
    const ferry_op *op = record->op;
    if (op->bits & BIT_POLLING) return; /* the pause between two tries */
    if (!uring_has(uring, URING_WAITID)) {
        finish_pidfd(record);
    } else if (record->result >= 0 && record->flags == 0 && op->buf != NULL) {
        ferry_exit *how = (ferry_exit *)(uintptr_t)op->buf;
        siginfo_t info;
        memcpy(&info, how->room, sizeof info);
        ferry__process_tell(how, &info);
    }
}
