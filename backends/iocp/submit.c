/* submit.c - operations to requests: the table of kinds, what an issuing call came to, cancels.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

_Static_assert(sizeof(ferry_vec) == sizeof(WSABUF), "a vector is the system's");
_Static_assert(offsetof(ferry_vec, len) == offsetof(WSABUF, len), "a vector's length");
_Static_assert(offsetof(ferry_vec, data) == offsetof(WSABUF, buf), "a vector's start");

/* ---- The kinds --------------------------------------------------------------------------- */

#define CORE                                                                                       \
    { .otherwise = SUPPORT_NATIVE } /* done without the port */
#define WORKER                                                                                     \
    { .otherwise = SUPPORT_BLOCKING }
#define PORT(name)                                                                                 \
    { .begin = ferry__iocp_begin_##name }
#define PORT_STOP(name, how)                                                                       \
    { .begin = ferry__iocp_begin_##name, .stop = ferry__iocp_stop_##how }

const struct iocp_kind ferry__iocp_kinds[FERRY_OP_COUNT] = {
    [FERRY_OP_NOP] = CORE,
    [FERRY_OP_TIMER] = CORE,
    [FERRY_OP_POST] = CORE,
    [FERRY_OP_WORK] = CORE,
    [FERRY_OP_SIGNAL] = CORE,
    [FERRY_OP_WATCH] = CORE,
    [FERRY_OP_RESOLVE] = CORE,

    /* Sockets. */
    [FERRY_OP_ACCEPT] = PORT_STOP(accept, accept),
    [FERRY_OP_CONNECT] = PORT(connect),
    [FERRY_OP_RECV] = PORT(recv),
    [FERRY_OP_RECVV] = PORT(recv),
    [FERRY_OP_RECVMSG] = PORT(recvmsg),
    [FERRY_OP_RECV_POOL] = PORT_STOP(recv_pool, pool),
    [FERRY_OP_RECVMSG_POOL] = PORT_STOP(recvmsg_pool, pool),
    [FERRY_OP_SEND] = PORT(send),
    [FERRY_OP_SENDV] = PORT(send),
    [FERRY_OP_SENDMSG] = PORT(sendmsg),
    [FERRY_OP_SENDFILE] = PORT_STOP(sendfile, sendfile),
    [FERRY_OP_SHUTDOWN] = CORE,

    /* Files: what moves bytes goes to the port, the rest to workers. */
    [FERRY_OP_OPEN] = WORKER,
    [FERRY_OP_READ] = PORT_STOP(read, file),
    [FERRY_OP_READV] = PORT_STOP(read, file),
    [FERRY_OP_READ_POOL] = PORT_STOP(read_pool, pool),
    [FERRY_OP_WRITE] = PORT_STOP(write, file),
    [FERRY_OP_WRITEV] = PORT_STOP(write, file),
    [FERRY_OP_SYNC] = WORKER,
    [FERRY_OP_TRUNCATE] = WORKER,
    [FERRY_OP_STAT] = WORKER,
    [FERRY_OP_STAT_FD] = WORKER,
    [FERRY_OP_CHMOD] = WORKER,
    [FERRY_OP_CHMOD_FD] = WORKER,
    [FERRY_OP_CHOWN] = WORKER,
    [FERRY_OP_CHOWN_FD] = WORKER,
    [FERRY_OP_TIMES] = WORKER,
    [FERRY_OP_TIMES_FD] = WORKER,
    [FERRY_OP_ACCESS] = WORKER,
    [FERRY_OP_ALLOCATE] = WORKER,
    [FERRY_OP_ADVISE] = WORKER,
    [FERRY_OP_RENAME] = WORKER,
    [FERRY_OP_HARD_LINK] = WORKER,
    [FERRY_OP_SYMLINK] = WORKER,
    [FERRY_OP_UNLINK] = WORKER,
    [FERRY_OP_MKDIR] = WORKER,
    [FERRY_OP_RMDIR] = WORKER,
    [FERRY_OP_READLINK] = WORKER,
    [FERRY_OP_REALPATH] = WORKER,
    [FERRY_OP_TEMP_FILE] = WORKER,
    [FERRY_OP_TEMP_DIR] = WORKER,
    [FERRY_OP_LIST] = WORKER,
    [FERRY_OP_COPY] = WORKER,
    [FERRY_OP_CLOSE] = PORT(close),

    /* Waiting. */
    [FERRY_OP_POLL] = PORT_STOP(poll, poll),
    [FERRY_OP_PROCESS] = PORT_STOP(process, process),
    [FERRY_OP_SPAWN] = WORKER,
};

/* ---- What an issuing call came to ---------------------------------------------------------- */

int ferry__iocp_error(DWORD code) {
    switch (code) {
    case ERROR_SUCCESS: return 0;
    case ERROR_HANDLE_EOF: return IOCP_END;
    case ERROR_MORE_DATA:
    case WSAEMSGSIZE: return IOCP_CUT;
    default: return ferry__win_error(code);
    }
}

int ferry__iocp_status(NTSTATUS status) {
    if (FERRY__LIKELY(status == STATUS_SUCCESS)) return 0;
    if (status == STATUS_END_OF_FILE) return IOCP_END;
    if (status == STATUS_BUFFER_OVERFLOW || status == STATUS_RECEIVE_PARTIAL ||
        status == STATUS_RECEIVE_PARTIAL_EXPEDITED) {
        return IOCP_CUT;
    }
    return NT_SUCCESS(status) ? 0 : ferry__win_status(status);
}

/* A warning ends a request as success does, although the call says that it has failed: the system
 * has filled in the status, and a packet is on its way unless success brings none. */
static bool is_warned(const struct iocp_request *request) {
    NTSTATUS status = (NTSTATUS)request->overlapped.Internal;
    return NT_WARNING(status);
}

static void done_at_once(ferry_loop *loop, ferry_fd fd, struct iocp_request *request) {
    if (!(iocp_slot(loop, fd)->flags & HANDLE_SKIPS)) return; /* there is a packet all the same */
    iocp_of(loop)->uses[IOCP_SKIP]++;
    request->came(loop, request, 0, request->bytes);
}

void ferry__iocp_issued(ferry_loop *loop, ferry_fd fd, struct iocp_request *request, DWORD code) {
    if (code == ERROR_IO_PENDING) return; /* WSA_IO_PENDING is the same */
    if (code == ERROR_SUCCESS) {
        done_at_once(loop, fd, request);
    } else if (!is_warned(request)) {
        request->came(loop, request, ferry__iocp_error(code), 0);
    } else if (iocp_slot(loop, fd)->flags & HANDLE_SKIPS) {
        request->came(loop, request, ferry__iocp_error(code),
                      (uint32_t)request->overlapped.InternalHigh);
    }
}

/* ---- Records ----------------------------------------------------------------------------- */

void ferry__iocp_fail(ferry_loop *loop, ferry_op *op, int error) {
    iocp_put(loop, op, error, 0);
}

void ferry__iocp_came_in(ferry_loop *loop, struct iocp_request *request, int error,
                         uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    if (error >= 0 || bytes > 0) { /* what has come is told, whatever came after it */
        iocp_put(loop, op, (int32_t)bytes, 0);
    } else {
        iocp_put(loop, op, error, 0);
    }
}

void ferry__iocp_came_out(ferry_loop *loop, struct iocp_request *request, int error,
                          uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    if (error == IOCP_CUT || error == IOCP_END) error = bytes > 0 ? 0 : FERRY_EMSGSIZE;
    if (error == 0 || bytes > 0) {
        iocp_put(loop, op, (int32_t)bytes, 0);
    } else {
        iocp_put(loop, op, error, 0);
    }
}

/* ---- What is left of a transfer ------------------------------------------------------------ */

/* As many vectors as one call takes. */
static DWORD count_of(const WSABUF *vecs, uint64_t left) {
    uint64_t bytes = 0;
    DWORD count = 0;
    while (count < left && count < IOCP_VECS_MAX) {
        bytes += vecs[count].len;
        if (bytes > IOCP_CHUNK_MAX) break;
        count++;
    }
    return count;
}

void ferry__iocp_rest(const ferry_op *op, struct iocp_rest *rest) {
    uint64_t skip = op->transferred;
    *rest = (struct iocp_rest){.vecs = &rest->one, .count = 1};
    if (!(ferry__op_row(op)->checked & ARG_VECTORS)) {
        uint64_t left = op->len - skip;
        rest->one.buf = (char *)(uintptr_t)op->buf + skip;
        rest->one.len = left < IOCP_CHUNK_MAX ? (ULONG)left : IOCP_CHUNK_MAX;
        return;
    }
    WSABUF *vecs = (WSABUF *)(uintptr_t)op->buf;
    uint64_t left = op->len;
    while (left > 0 && skip >= vecs->len && op->more > 0) { /* what is done, and empty pieces */
        skip -= vecs->len;
        vecs++;
        left--;
    }
    DWORD count = skip == 0 ? count_of(vecs, left) : 0;
    if (count > 0) {
        rest->vecs = vecs;
        rest->count = count;
    } else if (left > 0) { /* a piece that was cut, or is too long, goes alone */
        uint64_t piece = vecs->len - skip;
        rest->one.buf = vecs->buf + skip;
        rest->one.len = piece < IOCP_CHUNK_MAX ? (ULONG)piece : IOCP_CHUNK_MAX;
    }
}

/* ---- The backend's calls --------------------------------------------------------------------- */

static void begin(ferry_loop *loop, ferry_op *op) {
    if (op->fd != FERRY_FD_NONE) {
        int error = ferry__iocp_slot_provide(loop, op->fd);
        if (error != 0) {
            ferry__iocp_fail(loop, op, error);
            return;
        }
    }
    if (op->bits & BIT_POLLING) {
        ferry__iocp_begin_ready(loop, op);
    } else {
        ferry__iocp_kinds[op->code].begin(loop, op);
    }
}

bool ferry__iocp_submit(ferry_loop *loop, ferry_op *op) {
    if (iocp_room(loop) < IOCP_ROOM_MIN) return false;
    begin(loop, op);
    return true;
}

bool ferry__iocp_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count) {
    if (iocp_room(loop) < IOCP_ROOM_MIN) return false;
    int error = ferry__iocp_slot_provide(loop, first->fd);
    if (error != 0) {
        ferry__iocp_fail(loop, first, error);
    } else {
        ferry__iocp_send_gathered(loop, first, count);
    }
    return true;
}

void ferry__iocp_cancel_request(ferry_fd fd, struct iocp_request *request) {
    /* Not found: it has ended, and its packet is on its way. */
    (void)CancelIoEx(ferry__win_handle(fd), &request->overlapped);
}

/* Some ends are told at once, by a record. */
bool ferry__iocp_cancel(ferry_loop *loop, ferry_op *op) {
    const struct iocp_kind *kind = &ferry__iocp_kinds[op->code];
    if (iocp_room(loop) < IOCP_ROOM_MIN) return false;
    if (op->bits & BIT_POLLING) {
        ferry__iocp_stop_ready(loop, op);
    } else if (kind->stop != NULL) {
        kind->stop(loop, op);
    } else if (kind->begin != NULL) {
        ferry__iocp_cancel_request(op->fd, iocp_request(op));
    }
    return true;
}
