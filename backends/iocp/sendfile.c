/* sendfile.c - files into streams.
 *
 * By way of a chunk of memory: a read, then a write. A chunk is held while its write waits, so that
 * there are as many as ever wrote at the same time; they are kept for the next.
 *
 * TransmitFile() spares the copy, into connections of a network. But editions for clients carry out
 * two of them at a time in the whole system, so that two peers that do not read would hold up all
 * others for ever: it is for servers alone. It takes a MiB at a time, since nobody tells how much
 * has gone of one that is cancelled; more than the file has it does not take.
 *
 * The core sees one record for each piece, as of a short send.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

#define TRANSMIT_MAX 0x100000u
#define CHUNK_BYTES 65536u

/* iocp_slot.more: TransmitFile() has refused it. */
#define CANNOT_TRANSMIT 0x100u

struct chunk {
    struct chunk *next_free, *next;
    uint64_t filled; /* bytes */
    char data[CHUNK_BYTES];
};

struct chunks {
    struct chunk *all, *free;
};

/* ---- Chunks -------------------------------------------------------------------------------- */

static struct chunk *chunk_take(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    if (iocp->chunks == NULL) iocp->chunks = ferry__os_reserve(sizeof(struct chunks));
    struct chunks *chunks = iocp->chunks;
    if (chunks == NULL) return NULL;
    struct chunk *chunk = chunks->free;
    if (chunk != NULL) {
        chunks->free = chunk->next_free;
        return chunk;
    }
    chunk = ferry__os_reserve(sizeof *chunk);
    if (chunk == NULL) return NULL;
    chunk->next = chunks->all;
    chunks->all = chunk;
    return chunk;
}

static struct chunk *chunk_of(struct iocp_request *request) {
    return (struct chunk *)(uintptr_t)request->own;
}

static void chunk_put(ferry_loop *loop, struct iocp_request *request) {
    struct chunks *chunks = iocp_of(loop)->chunks;
    struct chunk *chunk = chunk_of(request);
    request->own = 0;
    chunk->next_free = chunks->free;
    chunks->free = chunk;
}

void ferry__iocp_sendfile_close(ferry_loop *loop) {
    struct chunks *chunks = iocp_of(loop)->chunks;
    if (chunks == NULL) return;
    for (struct chunk *chunk = chunks->all, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        ferry__os_unreserve(chunk, sizeof *chunk);
    }
    ferry__os_unreserve(chunks, sizeof *chunks);
    iocp_of(loop)->chunks = NULL;
}

/* ---- By way of one ------------------------------------------------------------------------- */

static uint64_t place(const ferry_op *op) {
    return op->offset + op->transferred;
}

static void place_set(const ferry_op *op, OVERLAPPED *overlapped) {
    overlapped->Offset = (DWORD)place(op);
    overlapped->OffsetHigh = (DWORD)(place(op) >> 32);
}

static DWORD piece_len(const ferry_op *op, DWORD most) {
    uint64_t left = op->len - op->transferred;
    return left < most ? (DWORD)left : most;
}

static void write_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    chunk_put(loop, request);
    ferry__iocp_came_out(loop, request, error, bytes);
}

static int64_t told(BOOL done, DWORD bytes) {
    if (done) return bytes;
    DWORD code = GetLastError();
    if (code == ERROR_HANDLE_EOF) return 0;
    return ferry__win_error(code);
}

static int64_t write_blocking(ferry_op *op) {
    struct chunk *chunk = chunk_of(iocp_request(op));
    DWORD put = 0;
    BOOL done = WriteFile(ferry__win_handle(op->fd), chunk->data, (DWORD)chunk->filled, &put, NULL);
    return told(done, put);
}

static DWORD write_issue(const ferry_loop *loop, ferry_op *op, struct chunk *chunk) {
    struct iocp_request *request = iocp_request(op);
    if (ferry__slot(loop, op->fd)->kind == KIND_STREAM) {
        WSABUF vec = {.len = (ULONG)chunk->filled, .buf = chunk->data};
        int failed = WSASend(ferry__win_socket(op->fd), &vec, 1, &request->bytes, 0,
                             &request->overlapped, NULL);
        return failed ? (DWORD)WSAGetLastError() : ERROR_SUCCESS;
    }
    BOOL done = WriteFile(ferry__win_handle(op->fd), chunk->data, (DWORD)chunk->filled,
                          &request->bytes, &request->overlapped);
    return done ? ERROR_SUCCESS : GetLastError();
}

static int target_ready(ferry_loop *loop, const ferry_op *op, bool *waits) {
    *waits = false;
    if (ferry__slot(loop, op->fd)->kind == KIND_STREAM) return ferry__iocp_bind(loop, op->fd, true);
    return ferry__iocp_file_ready(loop, op->fd, false, waits);
}

static void write_begin(ferry_loop *loop, ferry_op *op, struct chunk *chunk) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), write_came);
    bool waits = false;
    request->own = (uint64_t)(uintptr_t)chunk;
    int error = target_ready(loop, op, &waits);
    if (error != 0) {
        write_came(loop, request, error, 0);
    } else if (waits) {
        ferry__iocp_work(loop, request, write_blocking);
    } else {
        ferry__iocp_issued(loop, op->fd, request, write_issue(loop, op, chunk));
    }
}

static bool stops(const ferry_op *op) {
    return (op->bits & (BIT_CANCEL | BIT_EXPIRED)) != 0;
}

static void read_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    if (error == 0 && bytes > 0 && stops(op)) error = FERRY_ECANCELED;
    if (error == 0 && bytes > 0) {
        chunk_of(request)->filled = bytes;
        write_begin(loop, op, chunk_of(request));
        return;
    }
    chunk_put(loop, request);
    iocp_put(loop, op, error < 0 ? error : 0, error < 0 ? 0 : RECORD_EOF);
}

static int64_t read_blocking(ferry_op *op) {
    struct chunk *chunk = chunk_of(iocp_request(op));
    OVERLAPPED at = {.Internal = 0};
    DWORD got = 0;
    place_set(op, &at);
    BOOL done = ReadFile(ferry__win_handle(ferry__source(op)), chunk->data,
                         piece_len(op, CHUNK_BYTES), &got, &at);
    return told(done, got);
}

static void read_begin(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), read_came);
    struct chunk *chunk = chunk_take(loop);
    bool waits = false;
    int error = chunk != NULL ? ferry__iocp_slot_provide(loop, ferry__source(op)) : FERRY_ENOMEM;
    request->own = (uint64_t)(uintptr_t)chunk;
    if (error == 0) error = ferry__iocp_file_ready(loop, ferry__source(op), true, &waits);
    if (error != 0) {
        if (chunk != NULL) chunk_put(loop, request);
        ferry__iocp_fail(loop, op, error);
    } else if (waits) {
        ferry__iocp_work(loop, request, read_blocking);
    } else {
        place_set(op, &request->overlapped);
        BOOL done = ReadFile(ferry__win_handle(ferry__source(op)), chunk->data,
                             piece_len(op, CHUNK_BYTES), &request->bytes, &request->overlapped);
        ferry__iocp_issued(loop, ferry__source(op), request, done ? ERROR_SUCCESS : GetLastError());
    }
}

/* ---- By TransmitFile() --------------------------------------------------------------------- */

bool ferry__iocp_transmits(void) {
    OSVERSIONINFOEXW client = {.dwOSVersionInfoSize = sizeof client,
                               .wProductType = VER_NT_WORKSTATION};
    return !VerifyVersionInfoW(&client, VER_PRODUCT_TYPE,
                               VerSetConditionMask(0, VER_PRODUCT_TYPE, VER_EQUAL));
}

/* One that was cancelled may have sent some of it without telling how much: nothing may follow. */
static void transmit_came(ferry_loop *loop, struct iocp_request *request, int error,
                          uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    if (bytes == 0 && (error == FERRY_ENOTSUP || error == FERRY_EINVAL) && !stops(op)) {
        iocp_slot(loop, op->fd)->more |= CANNOT_TRANSMIT;
        iocp_put(loop, op, 0, RECORD_INTERRUPTED);
    } else if (error == IOCP_END && bytes == 0) {
        iocp_put(loop, op, 0, RECORD_EOF); /* it has become shorter */
    } else {
        if (error == FERRY_ECANCELED && bytes == 0) ferry__slot(loop, op->fd)->flags |= SLOT_BROKEN;
        ferry__iocp_came_out(loop, request, error, bytes);
    }
}

static void transmit_begin(ferry_loop *loop, ferry_op *op, DWORD len) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), transmit_came);
    int error = ferry__iocp_bind(loop, op->fd, true);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
        return;
    }
    iocp_of(loop)->uses[IOCP_TRANSMIT]++;
    place_set(op, &request->overlapped);
    request->bytes = len; /* should it be done at once: it has no number to return */
    BOOL done = ferry__win.transmit_file(ferry__win_socket(op->fd),
                                         ferry__win_handle(ferry__source(op)), len, 0,
                                         &request->overlapped, NULL, 0);
    ferry__iocp_issued(loop, op->fd, request, done ? ERROR_SUCCESS : (DWORD)WSAGetLastError());
}

/* ---- The way in ---------------------------------------------------------------------------- */

/* What TransmitFile() would not find out itself. */
static int source_check(ferry_loop *loop, const ferry_op *op) {
    bool waits;
    int error = ferry__iocp_slot_provide(loop, ferry__source(op));
    return error != 0 ? error : ferry__iocp_file_ready(loop, ferry__source(op), true, &waits);
}

void ferry__iocp_begin_sendfile(ferry_loop *loop, ferry_op *op) {
    LARGE_INTEGER size;
    bool transmits = iocp_has(iocp_of(loop), IOCP_TRANSMIT) &&
                     ferry__slot(loop, op->fd)->kind == KIND_STREAM &&
                     !(iocp_slot(loop, op->fd)->more & CANNOT_TRANSMIT);
    (void)iocp_prepare(iocp_request(op), transmit_came);
    int error = source_check(loop, op);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else if (op->len == op->transferred) {
        iocp_put(loop, op, 0, 0);
    } else if (!transmits || !GetFileSizeEx(ferry__win_handle(ferry__source(op)), &size)) {
        read_begin(loop, op);
    } else if (place(op) >= (uint64_t)size.QuadPart) {
        iocp_put(loop, op, 0, RECORD_EOF);
    } else {
        uint64_t there = (uint64_t)size.QuadPart - place(op);
        DWORD len = piece_len(op, TRANSMIT_MAX);
        transmit_begin(loop, op, there < len ? (DWORD)there : len);
    }
}

void ferry__iocp_stop_sendfile(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_request(op);
    if (request->flags == IOCP_WITH_WORKER) {
        ferry__iocp_work_stop(loop, request);
    } else {
        bool is_read = request->came == read_came;
        ferry__iocp_cancel_request(is_read ? ferry__source(op) : op->fd, request);
    }
}
