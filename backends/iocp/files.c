/* files.c - reads and writes of files, pipes and consoles.
 *
 * Overlapped handles go to the port. They have no current position, so that one lives in the slot.
 * Windows reads and writes one piece of memory at a time: a vectored transfer is several requests,
 * one after the other, that end with the first which is not filled, and give one record.
 *
 * Handles that are not overlapped (consoles, what other programs have opened) wait in the call that
 * moves the bytes, so that a worker makes it. To the rest of the backend a worker's result is a
 * request that has come.
 *
 * A write into a pipe that has to wait is read piece by piece, and Windows does not tell how much
 * of it was, if it is cancelled then. So pieces are small, and after such a one nothing may follow.
 *
 * The end of a file is an error to Windows (END_OF_FILE), and so is the end of a pipe
 * (BROKEN_PIPE): in the call or in the packet. Both are 0 bytes here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

/* iocp_slot.more */
enum {
    MAY_READ = 1 << 0,
    MAY_WRITE = 1 << 1,
    APPENDS = 1 << 2,    /* it is open for appending alone: Windows takes no other position */
    IS_MESSAGES = 1 << 3 /* a pipe that keeps the borders of messages */
};

/* ---- Workers ------------------------------------------------------------------------------- */

#define CARRIERS_MORE 64u

/* What goes to a worker for a request. */
struct carrier {
    ferry_op op; /* OP_OWN */
    struct iocp_request *request;
    iocp_blocking *call;
    int64_t outcome;
    struct iocp_request late; /* the packet for an outcome that had to wait for room */
    struct carrier *next;     /* free ones; the first of a block: the block before it */
};

struct carriers {
    struct carrier *blocks, *free;
};

static struct carriers *carriers_of(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    if (iocp->files == NULL) iocp->files = ferry__os_reserve(sizeof(struct carriers));
    return iocp->files;
}

static struct carrier *carrier_take(ferry_loop *loop) {
    struct carriers *all = carriers_of(loop);
    if (all == NULL) return NULL;
    if (all->free == NULL) {
        struct carrier *block = ferry__os_reserve(CARRIERS_MORE * sizeof *block);
        if (block == NULL) return NULL;
        block->next = all->blocks;
        all->blocks = block;
        for (unsigned i = 1; i < CARRIERS_MORE; i++) {
            block[i].next = all->free;
            all->free = &block[i];
        }
    }
    struct carrier *carrier = all->free;
    all->free = carrier->next;
    return carrier;
}

static void carrier_put(ferry_loop *loop, struct carrier *carrier) {
    struct carriers *all = iocp_of(loop)->files;
    carrier->next = all->free;
    all->free = carrier;
}

void ferry__iocp_files_close(ferry_loop *loop) {
    struct carriers *all = iocp_of(loop)->files;
    if (all == NULL) return;
    for (struct carrier *block = all->blocks, *before; block != NULL; block = before) {
        before = block->next;
        ferry__os_unreserve(block, CARRIERS_MORE * sizeof *block);
    }
    ferry__os_unreserve(all, sizeof *all);
    iocp_of(loop)->files = NULL;
}

static int64_t carry_out(void *arg) {
    struct carrier *carrier = arg;
    return carrier->call(iocp_op(carrier->request));
}

void ferry__iocp_work(ferry_loop *loop, struct iocp_request *request, iocp_blocking *call) {
    struct carrier *carrier = carrier_take(loop);
    if (carrier == NULL) {
        request->came(loop, request, FERRY_ENOMEM, 0);
        return;
    }
    request->overlapped.Pointer = carrier;
    request->flags = IOCP_WITH_WORKER;
    carrier->request = request;
    carrier->call = call;
    carrier->op = (ferry_op){.code = FERRY_OP_WORK,
                             .state = OP_OWN,
                             .fd = FERRY_FD_NONE,
                             .buf = carrier,
                             .offset = (uint64_t)(uintptr_t)carry_out};
    if (ferry__work_own(loop, &carrier->op)) return;
    carrier_put(loop, carrier);
    request->flags = 0;
    request->came(loop, request, FERRY_EAGAIN, 0);
}

static void deliver(ferry_loop *loop, struct carrier *carrier) {
    struct iocp_request *request = carrier->request;
    int64_t outcome = carrier->outcome;
    carrier_put(loop, carrier);
    request->flags = 0;
    if (outcome < 0) {
        request->came(loop, request, (int)outcome, 0);
    } else {
        request->came(loop, request, 0, outcome < INT32_MAX ? (uint32_t)outcome : INT32_MAX);
    }
}

static void late_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    (void)error, (void)bytes;
    deliver(loop, ferry_container(request, struct carrier, late));
}

/* If there is no room for a record it comes as a packet, when there is. */
void ferry__iocp_worked(ferry_loop *loop, ferry_op *op, int64_t outcome) {
    struct carrier *carrier = ferry_container(op, struct carrier, op);
    carrier->outcome = outcome;
    if (iocp_room(loop) >= IOCP_ROOM_MIN) {
        deliver(loop, carrier);
    } else {
        ferry__iocp_post(iocp_of(loop), iocp_prepare(&carrier->late, late_came));
    }
}

/* If no worker has it yet it has come, else it is told to leave the call that it waits in. */
void ferry__iocp_work_stop(ferry_loop *loop, struct iocp_request *request) {
    struct carrier *carrier = request->overlapped.Pointer;
    if (!ferry__work_cancel(loop, &carrier->op)) return;
    carrier->outcome = FERRY_ECANCELED;
    deliver(loop, carrier);
}

/* ---- Handles ------------------------------------------------------------------------------- */

/* Numbers of information classes that not every header has. */
#define INFORMATION_ACCESS 8
#define INFORMATION_MODE 16

/* FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT: each call waits. */
#define MODE_WAITS 0x30u

static NTSTATUS ask(HANDLE handle, int class, ULONG *answer) {
    IO_STATUS_BLOCK io;
    return NtQueryInformationFile(handle, &io, answer, sizeof *answer,
                                  (FILE_INFORMATION_CLASS) class);
}

static int look(ferry_loop *loop, ferry_fd fd, struct iocp_slot *slot) {
    HANDLE handle = ferry__win_handle(fd);
    const ULONG writes = FILE_WRITE_DATA | FILE_APPEND_DATA;
    ULONG mode = 0, access = FILE_READ_DATA | FILE_WRITE_DATA;
    DWORD type = 0;
    NTSTATUS status = ask(handle, INFORMATION_MODE, &mode);
    if (status == STATUS_INVALID_HANDLE || status == STATUS_OBJECT_TYPE_MISMATCH) {
        return FERRY_EBADF;
    }
    bool is_file = ferry__slot(loop, fd)->kind == KIND_FILE;
    (void)ask(handle, INFORMATION_ACCESS, &access); /* else a try tells */
    if (NT_SUCCESS(status) && mode & MODE_WAITS) slot->flags |= HANDLE_WAITS;
    slot->more = 0;
    if (access & FILE_READ_DATA) slot->more |= MAY_READ;
    if (access & (is_file ? writes : FILE_WRITE_DATA)) slot->more |= MAY_WRITE;
    if (is_file && (access & writes) == FILE_APPEND_DATA) slot->more |= APPENDS;
    if (ferry__slot(loop, fd)->kind == KIND_PIPE &&
        GetNamedPipeInfo(handle, &type, NULL, NULL, NULL) && type & PIPE_TYPE_MESSAGE) {
        slot->more |= IS_MESSAGES;
    }
    slot->flags |= HANDLE_LOOKED;
    return 0;
}

void ferry__iocp_files_forget(ferry_loop *loop, ferry_fd fd, struct iocp_slot *slot) {
    (void)loop, (void)fd;
    slot->position = 0;
    slot->more = 0;
}

int ferry__iocp_file_ready(ferry_loop *loop, ferry_fd fd, bool reads, bool *waits) {
    struct iocp_slot *slot = iocp_slot(loop, fd);
    int error = slot->flags & HANDLE_LOOKED ? 0 : look(loop, fd, slot);
    if (error != 0) return error;
    if (!(slot->more & (reads ? MAY_READ : MAY_WRITE))) return FERRY_EBADF;
    *waits = (slot->flags & HANDLE_WAITS) != 0;
    return *waits ? 0 : ferry__iocp_bind(loop, fd, true);
}

/* ---- Pieces -------------------------------------------------------------------------------- */

#define PIPE_PIECE_MAX 65536u                         /* written in one call */
#define FILE_BYTES_MAX ((uint64_t)INT64_MAX - 65535u) /* whole clusters */

/* What a transfer has moved in this try, and how it is with the request. */
struct progress {
    uint32_t moved;
    bool is_calling; /* the call is being made: what comes of it waits, in bytes and flags */
    bool has_come;
};

_Static_assert(sizeof(struct progress) <= sizeof(((struct iocp_request *)0)->own), "room for it");
_Static_assert(offsetof(struct iocp_request, own) % alignof(struct progress) == 0, "aligned");

static struct progress *progress_of(struct iocp_request *request) {
    return (struct progress *)(void *)&request->own;
}

static bool reads(const ferry_op *op) {
    return ferry__op_row(op)->result != RESULT_OUT;
}

static enum ferry__fd_kind kind_of(const ferry_loop *loop, const ferry_op *op) {
    return (enum ferry__fd_kind)ferry__slot(loop, op->fd)->kind;
}

/* How much of a transfer is done, this try included. A lent buffer is filled from its beginning,
 * whatever the completions before have brought. */
static uint64_t done_by(const ferry_op *op, uint32_t moved) {
    return ferry__op_row(op)->result == RESULT_LENT ? moved : op->transferred + moved;
}

/* The piece that comes after so many bytes; its length is 0 behind the last. */
static WSABUF piece_after(const ferry_op *op, uint64_t done) {
    WSABUF piece = {.len = 0, .buf = NULL};
    uint64_t left;
    if (ferry__op_row(op)->result == RESULT_LENT) {
        const ferry_buffer *buffer = ferry__pool_assigned(op);
        left = ferry__op_pool(op)->size - done;
        piece.buf = (char *)buffer->data + done;
    } else if (ferry__op_row(op)->checked & ARG_VECTORS) {
        const ferry_vec *vec = op->buf, *end = vec + op->len;
        for (; vec != end && done >= vec->len; vec++) done -= vec->len;
        if (vec == end) return piece;
        left = vec->len - done;
        piece.buf = vec->data + done;
    } else {
        left = op->len - done;
        piece.buf = (char *)(uintptr_t)op->buf + done;
    }
    piece.len = left < IOCP_CHUNK_MAX ? (ULONG)left : IOCP_CHUNK_MAX;
    return piece;
}

/* Is it a write of bytes, not of messages, into a pipe? */
static bool pours(const ferry_loop *loop, const ferry_op *op) {
    return !reads(op) && kind_of(loop, op) == KIND_PIPE &&
           !(iocp_slot(loop, op->fd)->more & IS_MESSAGES);
}

/* What the next call moves. */
static WSABUF next_piece(const ferry_loop *loop, ferry_op *op) {
    WSABUF piece = piece_after(op, done_by(op, progress_of(iocp_request(op))->moved));
    if (pours(loop, op) && piece.len > PIPE_PIECE_MAX) piece.len = PIPE_PIECE_MAX;
    return piece;
}

static bool is_current(const ferry_loop *loop, const ferry_op *op) {
    return op->offset == FERRY_CURRENT && kind_of(loop, op) == KIND_FILE;
}

static void place(const ferry_loop *loop, const ferry_op *op, OVERLAPPED *overlapped) {
    const struct iocp_slot *slot = iocp_slot(loop, op->fd);
    uint64_t moved = progress_of(iocp_request((ferry_op *)(uintptr_t)op))->moved;
    uint64_t at = 0;
    if (slot->more & APPENDS && !reads(op)) {
        at = UINT64_MAX; /* the end, wherever that is then */
    } else if (is_current(loop, op)) {
        at = slot->position + moved;
    } else if (kind_of(loop, op) != KIND_PIPE && op->offset != FERRY_CURRENT) {
        at = op->offset + op->transferred + moved;
    }
    *overlapped = (OVERLAPPED){.Internal = 0};
    overlapped->Offset = (DWORD)at;
    overlapped->OffsetHigh = (DWORD)(at >> 32);
}

static void issue(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_request(op);
    HANDLE handle = ferry__win_handle(op->fd);
    WSABUF piece = next_piece(loop, op);
    place(loop, op, &request->overlapped);
    request->bytes = 0;
    BOOL done = reads(op)
                    ? ReadFile(handle, piece.buf, piece.len, &request->bytes, &request->overlapped)
                    : WriteFile(handle, piece.buf, piece.len, &request->bytes,
                                &request->overlapped);
    ferry__iocp_issued(loop, op->fd, request, done ? ERROR_SUCCESS : GetLastError());
}

/* ---- What has come of one ------------------------------------------------------------------ */

/* The position after a transfer at the current one. */
static void move_on(ferry_loop *loop, const ferry_op *op, uint32_t moved) {
    struct iocp_slot *slot = iocp_slot(loop, op->fd);
    LARGE_INTEGER size;
    if (!is_current(loop, op)) return;
    if (slot->more & APPENDS && !reads(op) && GetFileSizeEx(ferry__win_handle(op->fd), &size)) {
        slot->position = (uint64_t)size.QuadPart;
    } else {
        slot->position += moved;
    }
}

static void put_moved(ferry_loop *loop, ferry_op *op, uint32_t moved, bool more) {
    move_on(loop, op, moved);
    iocp_put(loop, op, (int32_t)moved, more ? RECORD_MORE_THERE : 0);
}

/* May the next piece follow? A read must not wait for more than there is. */
static bool may_go_on(const ferry_loop *loop, const ferry_op *op, uint32_t moved) {
    DWORD there = 0;
    if (op->bits & (BIT_CANCEL | BIT_EXPIRED) || moved >= IOCP_CHUNK_MAX / 2) return false;
    if (piece_after(op, done_by(op, moved)).len == 0) return false;
    if (kind_of(loop, op) == KIND_FILE) return true;
    if (!reads(op)) return !(op->asked & FERRY_SOME);
    if (kind_of(loop, op) != KIND_PIPE || iocp_slot(loop, op->fd)->more & IS_MESSAGES) return false;
    return PeekNamedPipe(ferry__win_handle(op->fd), NULL, 0, NULL, &there, NULL) && there > 0;
}

/* Did a read begin at the end of a file, or behind it? One with FERRY_OPEN_DIRECT is refused there,
 * unless it is at the beginning of a sector, before Windows looks where the end is. */
static bool is_past_end(const ferry_loop *loop, ferry_op *op) {
    const OVERLAPPED *place = &iocp_request(op)->overlapped;
    uint64_t at = (uint64_t)place->OffsetHigh << 32 | place->Offset;
    LARGE_INTEGER size;
    return reads(op) && kind_of(loop, op) == KIND_FILE &&
           GetFileSizeEx(ferry__win_handle(op->fd), &size) && at >= (uint64_t)size.QuadPart;
}

/* One request has come. True: on with the next piece; else there is a record. */
static bool advance(ferry_loop *loop, ferry_op *op, int error, uint32_t bytes) {
    struct progress *progress = progress_of(iocp_request(op));
    bool is_pipe = kind_of(loop, op) == KIND_PIPE;
    bool filled = bytes == next_piece(loop, op).len;
    bool end = error == IOCP_END || (reads(op) && is_pipe && error == FERRY_EPIPE) ||
               (error == FERRY_EINVAL && is_past_end(loop, op));
    bool cut = error == IOCP_CUT; /* the rest of the message comes with the next read */
    progress->moved += bytes;
    if (error == 0 && filled && may_go_on(loop, op, progress->moved)) return true;
    if (reads(op) && iocp_is_unasked(op, error) && progress->moved == 0) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED);
    } else if (error < 0 && !end && progress->moved == 0) {
        if (error == FERRY_ECANCELED && pours(loop, op)) {
            ferry__slot(loop, op->fd)->flags |= SLOT_BROKEN;
        }
        ferry__iocp_fail(loop, op, error);
    } else if (progress->moved == 0 && !end && !cut && reads(op) && is_pipe) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED); /* an empty message is not the end */
    } else {
        put_moved(loop, op, progress->moved, cut);
    }
    return false;
}

/* Issues one piece after the other for as long as they end within the call: no recursion. */
static void drive(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_request(op);
    struct progress *progress = progress_of(request);
    int error;
    do {
        progress->is_calling = true;
        progress->has_come = false;
        issue(loop, op);
        progress->is_calling = false;
        if (!progress->has_come) return;
        error = (int)request->flags;
        request->flags = 0;
    } while (advance(loop, op, error, request->bytes));
}

static void piece_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    struct progress *progress = progress_of(request);
    if (progress->is_calling) {
        progress->has_come = true;
        request->flags = (DWORD)error;
        request->bytes = bytes;
    } else if (advance(loop, iocp_op(request), error, bytes)) {
        drive(loop, iocp_op(request));
    }
}

/* ---- The way in ---------------------------------------------------------------------------- */

static uint64_t total(const ferry_op *op) {
    return ferry__op_row(op)->checked & ARG_VECTORS ? op->more : op->len;
}

/* A worker has carried out the whole try. */
static void work_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    if (reads(op) && error == FERRY_EPIPE) error = 0;
    if (error < 0) {
        ferry__iocp_fail(loop, op, error);
    } else {
        iocp_put(loop, op, (int32_t)bytes, 0);
    }
}

/* Of a pooled read as of a plain one into its buffer. */
static int64_t perform(ferry_op *op) {
    if (ferry__op_row(op)->result != RESULT_LENT) return ferry__os_perform(op);
    const WSABUF piece = piece_after(op, 0);
    ferry_op plain = {.code = FERRY_OP_READ,
                      .fd = op->fd,
                      .buf = piece.buf,
                      .len = piece.len,
                      .offset = FERRY_CURRENT};
    return ferry__os_perform(&plain);
}

static bool is_directory(const ferry_loop *loop, const ferry_op *op) {
    return kind_of(loop, op) == KIND_OTHER &&
           GetFileType(ferry__win_handle(op->fd)) == FILE_TYPE_DISK;
}

/* No file can have what is so far off; some systems take it for a write of nothing. */
static bool is_too_far(const ferry_loop *loop, const ferry_op *op) {
    if (reads(op) || kind_of(loop, op) != KIND_FILE) return false;
    const struct iocp_slot *slot = iocp_slot(loop, op->fd);
    if (slot->more & APPENDS) return false;
    uint64_t at = op->offset == FERRY_CURRENT ? slot->position : op->offset + op->transferred;
    return at > FILE_BYTES_MAX || total(op) - op->transferred > FILE_BYTES_MAX - at;
}

static void begin(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), piece_came);
    bool waits = false;
    int error = ferry__iocp_file_ready(loop, op->fd, reads(op), &waits);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else if (is_directory(loop, op)) {
        ferry__iocp_fail(loop, op, FERRY_EISDIR);
    } else if (ferry__op_row(op)->result != RESULT_LENT && total(op) == 0) {
        iocp_put(loop, op, 0, 0); /* to Windows it would be an empty message, or a wait for data */
    } else if (is_too_far(loop, op)) {
        ferry__iocp_fail(loop, op, FERRY_EFBIG);
    } else if (waits) {
        request->came = work_came;
        ferry__iocp_work(loop, request, perform);
    } else {
        drive(loop, op);
    }
}

static bool is_socket(const ferry_loop *loop, const ferry_op *op) {
    enum ferry__fd_kind kind = kind_of(loop, op);
    return kind == KIND_STREAM || kind == KIND_MESSAGE || kind == KIND_SEQPACKET;
}

void ferry__iocp_begin_read(ferry_loop *loop, ferry_op *op) {
    if (is_socket(loop, op)) {
        ferry__iocp_begin_recv(loop, op);
    } else {
        begin(loop, op);
    }
}

void ferry__iocp_begin_write(ferry_loop *loop, ferry_op *op) {
    if (is_socket(loop, op)) {
        ferry__iocp_begin_send(loop, op);
    } else {
        begin(loop, op);
    }
}

void ferry__iocp_begin_read_pool(ferry_loop *loop, ferry_op *op) {
    if (is_socket(loop, op)) {
        ferry__iocp_begin_recv_pool(loop, op);
    } else {
        begin(loop, op);
    }
}

void ferry__iocp_stop_file(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_request(op);
    if (request->flags == IOCP_WITH_WORKER) {
        ferry__iocp_work_stop(loop, request);
    } else {
        ferry__iocp_cancel_request(op->fd, request);
    }
}

/* ---- Until a pipe has something ---------------------------------------------------------------
 */

static void empty_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    (void)bytes;
    if (error == FERRY_ECANCELED) {
        ferry__iocp_fail(loop, op, error);
    } else {
        iocp_put(loop, op, 0, 0); /* whatever it is, a read learns it */
    }
}

static int64_t empty_perform(ferry_op *op) {
    char none;
    DWORD got;
    if (ReadFile(ferry__win_handle(op->fd), &none, 0, &got, NULL)) return 0;
    return ferry__work_stopped() ? FERRY_ECANCELED : 0;
}

void ferry__iocp_empty_read(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), empty_came);
    bool waits = false;
    int error = ferry__iocp_file_ready(loop, op->fd, true, &waits);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else if (waits) {
        ferry__iocp_work(loop, request, empty_perform);
    } else {
        static char none;
        BOOL done = ReadFile(ferry__win_handle(op->fd), &none, 0, &request->bytes,
                             &request->overlapped);
        ferry__iocp_issued(loop, op->fd, request, done ? ERROR_SUCCESS : GetLastError());
    }
}

bool ferry__iocp_stop_empty_read(ferry_loop *loop, ferry_op *op) {
    if (iocp_request(op)->came != empty_came) return false;
    ferry__iocp_stop_file(loop, op);
    return true;
}
