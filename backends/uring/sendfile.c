/* sendfile.c - files into streams: a chunk is read, sent without waiting, and so on.
 *
 * The kernel has no such operation in its ring, splicing takes two trips through its workers, and
 * sendfile(2) in a worker of ours would keep a thread for each peer that is slow. Reading and
 * sending a chunk waits for the disk and the peer as reads and sends do. Larger chunks cost less a
 * byte, but keep the others waiting for longer: half a MiB is what comes close to sendfile(2).
 *
 * A chunk is never held while a peer is waited for: what the socket does not take at once is read
 * again when it has room (the page cache has it), in smaller pieces. So few chunks do for any
 * number of peers. Those that find no chunk, or no submission entry, wait here in line; op->buf
 * links them. The core sees one record for each chunk, as of a short send.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>

#define PAGE 4096u
#define WINDOW_MAX (URING_LARGE_BYTES / PAGE)

enum step {
    STEP_IDLE,
    STEP_FULL,   /* the next try waits for room first */
    STEP_CHUNK,  /* in line for a chunk */
    STEP_READ,   /* with the kernel: reading */
    STEP_FILLED, /* in line for an entry to send with; op->result bytes were read */
    STEP_SEND,   /* with the kernel: sending */
    STEP_ENDED,  /* with the kernel, as a mere nop that brings the record of a cancelled one */
    STEP_NO_MEMORY
};

/* op->more while it is in flight. */
struct transfer {
    int32_t file;
    uint16_t chunk; /* its number, from 1; 0: none */
    uint8_t step;   /* enum step, or-ed with PLAIN */
    uint8_t window; /* pages that the next chunk may have, 0: all */
};

#define PLAIN                                                                                      \
    0x80u /* a pipe that cannot be written without waiting: small pieces when it is ready */

_Static_assert(sizeof(struct transfer) == sizeof(((ferry_op *)0)->more), "it is kept there");
_Static_assert(WINDOW_MAX - 1 <= UINT8_MAX, "a window is told in pages");

static struct transfer transfer_of(const ferry_op *op) {
    struct transfer transfer;
    memcpy(&transfer, &op->more, sizeof transfer);
    return transfer;
}

static enum step step_of(const ferry_op *op) {
    return (enum step)(transfer_of(op).step & ~PLAIN);
}

static void transfer_set(ferry_op *op, struct transfer transfer) {
    memcpy(&op->more, &transfer, sizeof transfer);
}

static void step_set(ferry_op *op, enum step step) {
    struct transfer transfer = transfer_of(op);
    transfer.step = (uint8_t)((transfer.step & PLAIN) | step);
    transfer_set(op, transfer);
}

/* ---- Chunks ------------------------------------------------------------------------------ */

static size_t chunks_bytes(void) {
    return (size_t)URING_SMALL_COUNT * URING_SMALL_BYTES +
           (size_t)URING_LARGE_COUNT * URING_LARGE_BYTES;
}

static bool chunks_make(struct uring_chunks *chunks) {
    if (chunks->memory != NULL) return true;
    chunks->memory = ferry__os_reserve(chunks_bytes());
    if (chunks->memory == NULL) return false;
    for (uint16_t i = 0; i < URING_SMALL_COUNT; i++) {
        chunks->small[chunks->small_free++] = (uint16_t)(URING_SMALL_COUNT - i);
    }
    for (uint16_t i = 0; i < URING_LARGE_COUNT; i++) {
        chunks->large[chunks->large_free++] = (uint16_t)(URING_CHUNK_COUNT - i);
    }
    return true;
}

void ferry__uring_sendfile_close(struct uring *uring) {
    ferry__os_unreserve(uring->chunks.memory, chunks_bytes());
}

static bool is_small(uint16_t chunk) {
    return chunk <= URING_SMALL_COUNT;
}

/* The fitting size if there is one left, else the other; 0: none is. */
static uint16_t chunk_take(struct uring_chunks *chunks, uint64_t bytes) {
    bool small = chunks->small_free > 0 && (bytes <= URING_SMALL_BYTES || chunks->large_free == 0);
    if (small) return chunks->small[--chunks->small_free];
    return chunks->large_free > 0 ? chunks->large[--chunks->large_free] : 0;
}

static void chunk_put(struct uring_chunks *chunks, ferry_op *op) {
    struct transfer transfer = transfer_of(op);
    if (transfer.chunk == 0) return;
    if (is_small(transfer.chunk)) {
        chunks->small[chunks->small_free++] = transfer.chunk;
    } else {
        chunks->large[chunks->large_free++] = transfer.chunk;
    }
    transfer.chunk = 0;
    transfer_set(op, transfer);
}

static char *chunk_at(const struct uring_chunks *chunks, uint16_t chunk) {
    size_t number = chunk - 1u;
    if (is_small(chunk)) return chunks->memory + number * URING_SMALL_BYTES;
    return chunks->memory + (size_t)URING_SMALL_COUNT * URING_SMALL_BYTES +
           (number - URING_SMALL_COUNT) * URING_LARGE_BYTES;
}

/* ---- The line ---------------------------------------------------------------------------- */

static ferry_op *line_next(const ferry_op *op) {
    return (ferry_op *)(uintptr_t)op->buf;
}

static void line_push(struct uring *uring, ferry_op *op) {
    struct uring_chunks *chunks = &uring->chunks;
    uring->line_empty = false;
    op->buf = NULL;
    if (chunks->last != NULL) {
        chunks->last->buf = op;
    } else {
        chunks->first = op;
    }
    chunks->last = op;
}

static void line_push_first(struct uring *uring, ferry_op *op) {
    struct uring_chunks *chunks = &uring->chunks;
    uring->line_empty = false;
    op->buf = chunks->first;
    chunks->first = op;
    if (chunks->last == NULL) chunks->last = op;
}

static void line_remove(struct uring *uring, const ferry_op *op) {
    struct uring_chunks *chunks = &uring->chunks;
    ferry_op *before = NULL, *at = chunks->first;
    while (at != op) {
        before = at;
        at = line_next(at);
    }
    if (before != NULL) {
        before->buf = op->buf;
    } else {
        chunks->first = line_next(op);
    }
    if (chunks->last == op) chunks->last = before;
    uring->line_empty = chunks->first == NULL;
}

/* ---- The steps --------------------------------------------------------------------------- */

/* How much the next chunk may hold. */
static uint64_t wanted(const ferry_op *op) {
    struct transfer transfer = transfer_of(op);
    uint64_t bytes = op->len - op->transferred;
    uint64_t most = transfer.window == 0 ? URING_LARGE_BYTES : transfer.window * PAGE;
    if (transfer.step & PLAIN) most = PAGE; /* PIPE_BUF: a ready pipe takes that much */
    return bytes < most ? bytes : most;
}

static void entry_finish(struct io_uring_sqe *sqe, ferry_op *op, enum step step) {
    sqe->user_data = (uint64_t)(uintptr_t)op;
    step_set(op, step);
}

static void read_begin(struct uring *uring, struct io_uring_sqe *sqe, ferry_op *op,
                       uint16_t chunk) {
    struct transfer transfer = transfer_of(op);
    uint64_t bytes = wanted(op), size = is_small(chunk) ? URING_SMALL_BYTES : URING_LARGE_BYTES;
    transfer.chunk = chunk;
    transfer_set(op, transfer);
    io_uring_prep_read(sqe, transfer.file, chunk_at(&uring->chunks, chunk),
                       (unsigned)(bytes < size ? bytes : size), op->offset + op->transferred);
    entry_finish(sqe, op, STEP_READ);
    op->bits |= BIT_PUNTED;
    uring->punted++;
}

/* Sends op->result bytes, of none if it has no chunk. */
static void send_begin(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct transfer transfer = transfer_of(op);
    const char *from = NULL;
    if (transfer.chunk != 0) from = chunk_at(&uring_of(loop)->chunks, transfer.chunk);
    if (ferry__slot(loop, op->fd)->kind == KIND_PIPE) {
        io_uring_prep_write(sqe, op->fd, from, (unsigned)op->result, UINT64_MAX);
        if (!(transfer.step & PLAIN)) sqe->rw_flags = RWF_NOWAIT;
    } else {
        io_uring_prep_send(sqe, op->fd, from, (size_t)op->result, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    entry_finish(sqe, op, STEP_SEND);
}

bool ferry__uring_sendfile(ferry_loop *loop, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (op->len == 0) {
        op->result = 0;
        send_begin(loop, uring_next(uring), op);
    } else if (step_of(op) == STEP_FULL) {
        struct io_uring_sqe *sqe = uring_next(uring);
        op->bits |= BIT_POLLING;
        ferry__uring_prep_wait(loop, sqe, op);
        entry_finish(sqe, op, STEP_IDLE);
    } else if (!chunks_make(&uring->chunks)) {
        struct io_uring_sqe *sqe = uring_next(uring);
        io_uring_prep_nop(sqe);
        entry_finish(sqe, op, STEP_NO_MEMORY);
    } else {
        uint16_t chunk = uring->chunks.first == NULL ? chunk_take(&uring->chunks, wanted(op)) : 0;
        if (chunk != 0) {
            read_begin(uring, uring_next(uring), op, chunk);
        } else {
            step_set(op, STEP_CHUNK);
            line_push(uring, op);
        }
    }
    return true;
}

void ferry__uring_sendfile_resume(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    struct uring_chunks *chunks = &uring->chunks;
    while (chunks->first != NULL && uring_has_room(loop, uring)) {
        ferry_op *op = chunks->first;
        bool filled = step_of(op) == STEP_FILLED;
        uint16_t chunk = filled ? 0 : chunk_take(chunks, wanted(op));
        if (!filled && chunk == 0) return;
        line_remove(uring, op);
        if (filled) {
            send_begin(loop, uring_next(uring), op);
        } else {
            read_begin(uring, uring_next(uring), op, chunk);
        }
    }
}

int ferry__uring_sendfile_cancel(ferry_loop *loop, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (step_of(op) != STEP_CHUNK && step_of(op) != STEP_FILLED) return 0;
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return -1;
    line_remove(uring, op);
    chunk_put(&uring->chunks, op);
    io_uring_prep_nop(sqe);
    entry_finish(sqe, op, STEP_ENDED);
    return 1;
}

/* ---- What came of them ------------------------------------------------------------------- */

static bool stops(const ferry_op *op) {
    return (op->bits & (BIT_CANCEL | BIT_EXPIRED)) != 0;
}

/* The file's bytes are there: on to the socket. Else it is the record. */
static bool read_ended(ferry_loop *loop, ferry_op *op, struct ferry__record *record) {
    struct uring *uring = uring_of(loop);
    if (record->result <= 0 || stops(op)) {
        if (record->result == 0) record->flags = RECORD_EOF;
        if (record->result > 0) record->result = -ECANCELED;
        step_set(op, STEP_IDLE);
        chunk_put(&uring->chunks, op);
        ferry__uring_sendfile_resume(loop);
        return true;
    }
    op->result = record->result;
    if (uring_has_room(loop, uring)) {
        send_begin(loop, uring_next(uring), op);
    } else {
        step_set(op, STEP_FILLED);
        line_push_first(uring, op);
    }
    return false;
}

static void send_ended(ferry_loop *loop, ferry_op *op, struct ferry__record *record) {
    struct uring *uring = uring_of(loop);
    chunk_put(&uring->chunks, op);
    struct transfer transfer = transfer_of(op);
    transfer.step &= PLAIN;
    if (record->result == -EOPNOTSUPP && ferry__slot(loop, op->fd)->kind == KIND_PIPE) {
        transfer.step = PLAIN | STEP_FULL;
        record->result = 0;
        record->flags = RECORD_INTERRUPTED;
    } else if (record->result >= 0 && record->result < op->result) {
        transfer.step |= STEP_FULL;
        uint32_t pages = (uint32_t)record->result / PAGE;
        transfer.window = (uint8_t)(pages > 0 ? pages : 1);
    } else if (transfer.window != 0) {
        transfer.window = transfer.window < WINDOW_MAX / 2 ? (uint8_t)(transfer.window * 2) : 0;
    }
    if (transfer.step & PLAIN) transfer.step = PLAIN | STEP_FULL;
    transfer_set(op, transfer);
    ferry__uring_sendfile_resume(loop);
}

bool ferry__uring_sendfile_read(ferry_loop *loop, struct ferry__record *record) {
    ferry_op *op = record->op;
    switch (step_of(op)) {
    case STEP_READ: return read_ended(loop, op, record);
    case STEP_SEND: send_ended(loop, op, record); break;
    case STEP_ENDED:
    case STEP_NO_MEMORY:
        record->result = step_of(op) == STEP_ENDED ? -ECANCELED : -ENOMEM;
        step_set(op, STEP_IDLE);
        break;
    case STEP_IDLE: /* the socket has room */
    case STEP_FULL:
    case STEP_CHUNK:
    case STEP_FILLED: break;
    }
    return true;
}
