/* transfer.c - reading, writing and copying by calls that wait, for handles that the loop cannot
 * have wait for it, and for copies.
 *
 * Whatever the handle, a call at an offset is overlapped and its end is waited for; at the file's
 * position, which only a handle that is not overlapped has, it is a plain one. There the system
 * moves the position with calls at an offset, too: it is put back, under a lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>

#define CALL_MAX ((size_t)1 << 30)
#define COPY_PIECE ((size_t)16 << 20) /* between two looks whether it is to end */
#define COPY_BUFFER ((size_t)256 << 10)
#define LOOK_MS 20u /* whether to end, while something takes its time */
#define LOCKS 16u

/* ---- The position -------------------------------------------------------------------------- */

static SRWLOCK position_locks[LOCKS];

static SRWLOCK *lock_of(HANDLE handle) {
    return &position_locks[((uintptr_t)handle >> 2) % LOCKS];
}

static bool has_position(HANDLE handle) {
    FILE_MODE_INFORMATION mode = {.Mode = 0};
    IO_STATUS_BLOCK status;
    const ULONG waits = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    return ferry__win_is_on_disk(handle) &&
           NtQueryInformationFile(handle, &status, &mode, sizeof mode, FileModeInformation) ==
               STATUS_SUCCESS &&
           mode.Mode & waits;
}

/* ---- One call ------------------------------------------------------------------------------ */

struct call {
    HANDLE handle;
    void *buf;
    DWORD len;
    bool reads;
    uint64_t offset; /* FERRY_CURRENT: at the position, or there is none */
};

static bool issue(const struct call *call, DWORD *moved, OVERLAPPED *overlapped) {
    return call->reads ? ReadFile(call->handle, call->buf, call->len, moved, overlapped)
                       : WriteFile(call->handle, call->buf, call->len, moved, overlapped);
}

/* The code of Windows that it comes to. */
static DWORD issue_and_wait(const struct call *call, DWORD *moved) {
    OVERLAPPED overlapped = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
    HANDLE event = overlapped.hEvent;
    uint64_t offset = call->offset == FERRY_CURRENT ? 0 : call->offset;
    DWORD code = NO_ERROR;
    if (event == NULL) return GetLastError();
    overlapped.Offset = (DWORD)offset;
    overlapped.OffsetHigh = (DWORD)(offset >> 32);
    overlapped.hEvent = (HANDLE)((uintptr_t)event | 1u); /* nobody is told of it at a port */
    if (!issue(call, moved, &overlapped)) code = GetLastError();
    if (code == ERROR_IO_PENDING) {
        while (WaitForSingleObject(event, LOOK_MS) == WAIT_TIMEOUT) {
            if (!ferry__work_stopped()) continue;
            (void)CancelIoEx(call->handle, &overlapped);
            (void)WaitForSingleObject(event, INFINITE);
            break;
        }
        code = GetOverlappedResult(call->handle, &overlapped, moved, FALSE) ? NO_ERROR
                                                                            : GetLastError();
    }
    (void)CloseHandle(event);
    return code;
}

static DWORD call_positioned(const struct call *call, DWORD *moved) {
    LARGE_INTEGER nowhere = {.QuadPart = 0}, before;
    bool known = SetFilePointerEx(call->handle, nowhere, &before, FILE_CURRENT);
    DWORD code = issue_and_wait(call, moved);
    if (known) (void)SetFilePointerEx(call->handle, before, NULL, FILE_BEGIN);
    return code;
}

static DWORD call_once(const struct call *call, DWORD *moved) {
    DWORD code = NO_ERROR;
    *moved = 0;
    if (!has_position(call->handle)) return issue_and_wait(call, moved);
    AcquireSRWLockExclusive(lock_of(call->handle));
    if (call->offset != FERRY_CURRENT) {
        code = call_positioned(call, moved);
    } else if (!issue(call, moved, NULL)) {
        code = GetLastError();
    }
    ReleaseSRWLockExclusive(lock_of(call->handle));
    return code;
}

static int error_of(const struct call *call, DWORD code) {
    FILE_STANDARD_INFO about = {.Directory = FALSE};
    (void)GetFileInformationByHandleEx(call->handle, FileStandardInfo, &about, sizeof about);
    if (about.Directory) return call->reads ? FERRY_EISDIR : FERRY_EBADF;
    if (code == ERROR_ACCESS_DENIED) return FERRY_EBADF; /* not open for this */
    return ferry__win_error(code);
}

static int64_t outcome(const struct call *call, DWORD code, DWORD moved) {
    switch (code) {
    case NO_ERROR:
    case ERROR_MORE_DATA: return moved; /* the rest of a message is read by the next */
    case ERROR_HANDLE_EOF: return 0;
    case ERROR_BROKEN_PIPE:
    case ERROR_PIPE_NOT_CONNECTED: return call->reads ? 0 : FERRY_EPIPE;
    default: return error_of(call, code);
    }
}

static int64_t move(HANDLE handle, void *buf, size_t len, uint64_t offset, bool reads) {
    DWORD moved = 0;
    const struct call call = {.handle = handle,
                              .buf = buf,
                              .len = (DWORD)(len < CALL_MAX ? len : CALL_MAX),
                              .reads = reads,
                              .offset = offset};
    DWORD code = call_once(&call, &moved);
    return outcome(&call, code, moved);
}

int64_t ferry__win_read_at(HANDLE handle, void *buf, size_t len, uint64_t offset) {
    return move(handle, buf, len, offset, true);
}

int64_t ferry__win_write_at(HANDLE handle, const void *buf, size_t len, uint64_t offset) {
    return move(handle, (void *)(uintptr_t)buf, len, offset, false);
}

/* ---- An operation -------------------------------------------------------------------------- */

struct piece {
    char *data;
    size_t len;
};

/* What is left of it from done on, or of its first vector that has some left; len 0: nothing. */
static struct piece piece_at(const ferry_op *op, uint64_t done) {
    const ferry_vec *vecs = op->buf;
    if (!(ferry__op_row(op)->checked & ARG_VECTORS)) {
        return (struct piece){(char *)(uintptr_t)op->buf + done, (size_t)(op->len - done)};
    }
    for (uint64_t i = 0; i < op->len; i++) {
        if (done < vecs[i].len) {
            return (struct piece){vecs[i].data + done, (size_t)(vecs[i].len - done)};
        }
        done -= vecs[i].len;
    }
    return (struct piece){NULL, 0};
}

static int64_t piece_move(const ferry_op *op, const struct piece *piece, uint64_t done, bool reads,
                          bool console) {
    HANDLE handle = ferry__win_handle(op->fd);
    uint64_t offset = op->offset == FERRY_CURRENT ? FERRY_CURRENT : op->offset + done;
    if (!console) return move(handle, piece->data, piece->len, offset, reads);
    return reads ? ferry__win_console_read(handle, piece->data, piece->len)
                 : ferry__win_console_write(handle, piece->data, piece->len);
}

int64_t ferry__win_transfer(const ferry_op *op, bool reads) {
    HANDLE handle = ferry__win_handle(op->fd);
    bool disk = ferry__win_is_on_disk(handle);
    DWORD mode;
    bool console = !disk && GetConsoleMode(handle, &mode);
    int64_t total = 0;
    for (;;) {
        uint64_t done = op->transferred + (uint64_t)total;
        struct piece piece = piece_at(op, done);
        if (piece.len == 0) return total;
        int64_t moved = piece_move(op, &piece, done, reads, console);
        if (moved < 0) return total > 0 ? total : moved;
        total += moved;
        /* What else could be read there may have to be waited for. */
        if ((uint64_t)moved < piece.len || (reads && !disk)) return total;
        if (ferry__work_stopped()) return total;
    }
}

/* ---- Copying a range ----------------------------------------------------------------------- */

static int copyable(HANDLE handle, ACCESS_MASK needed) {
    FILE_ACCESS_INFORMATION granted = {.AccessFlags = needed};
    FILE_STANDARD_INFO about = {.Directory = FALSE};
    IO_STATUS_BLOCK status;
    if (!ferry__win_is_on_disk(handle)) {
        int kind = ferry__os_fd_kind(ferry__win_fd(handle));
        if (kind == KIND_CHARACTER) return needed == FILE_WRITE_DATA ? 0 : FERRY_EINVAL;
        return kind < 0 ? kind : FERRY_ESPIPE;
    }
    if (!GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about)) {
        return ferry__win_last_error();
    }
    if (about.Directory) return FERRY_EISDIR;
    (void)NtQueryInformationFile(handle, &status, &granted, sizeof granted, FileAccessInformation);
    return granted.AccessFlags & needed ? 0 : FERRY_EBADF;
}

/* Two ranges of one file that overlap: a copy in pieces would read what it has written. */
static bool overlaps(const ferry_op *op, HANDLE from, HANDLE to) {
    BY_HANDLE_FILE_INFORMATION a, b;
    uint64_t apart = op->offset > op->more ? op->offset - op->more : op->more - op->offset;
    if (apart >= op->len) return false;
    return GetFileInformationByHandle(from, &a) && GetFileInformationByHandle(to, &b) &&
           a.dwVolumeSerialNumber == b.dwVolumeSerialNumber &&
           a.nFileIndexHigh == b.nFileIndexHigh && a.nFileIndexLow == b.nFileIndexLow;
}

/* 0, or an error; *written tells how much was. */
static int write_all(HANDLE to, const char *buf, size_t len, uint64_t offset, size_t *written) {
    for (*written = 0; *written < len;) {
        int64_t put = ferry__win_write_at(to, buf + *written, len - *written, offset + *written);
        if (put < 0) return (int)put;
        if (put == 0) return FERRY_EIO;
        *written += (size_t)put;
    }
    return 0;
}

/* An error after some of it is met again by the next try. */
static int64_t copy_by_hand(HANDLE from, uint64_t from_at, HANDLE to, uint64_t to_at, size_t len,
                            char *buf) {
    size_t done = 0;
    while (done < len && !(done > 0 && ferry__work_stopped())) {
        size_t piece = len - done < COPY_BUFFER ? len - done : COPY_BUFFER, written;
        int64_t got = ferry__win_read_at(from, buf, piece, from_at + done);
        if (got == 0) break;
        if (got < 0) return done > 0 ? (int64_t)done : got;
        int error = write_all(to, buf, (size_t)got, to_at + done, &written);
        done += written;
        if (error != 0) return done > 0 ? (int64_t)done : error;
    }
    return (int64_t)done;
}

int64_t ferry__win_copy(const ferry_op *op) {
    HANDLE from = ferry__win_handle(op->fd), to = ferry__win_handle(ferry__op_second(op));
    uint64_t rest = op->len - op->transferred;
    size_t len = rest < COPY_PIECE ? (size_t)rest : COPY_PIECE;
    uint64_t from_at = op->offset + op->transferred, to_at = op->more + op->transferred;
    int error = copyable(from, FILE_READ_DATA);
    if (error == 0) error = copyable(to, FILE_WRITE_DATA);
    if (error != 0) return error;
    if (len == 0) return 0;
    if (op->transferred == 0 && overlaps(op, from, to)) return FERRY_EINVAL;
    if (from_at > (uint64_t)INT64_MAX - len)
        len = (size_t)(INT64_MAX - from_at); /* no file goes further */
    if (to_at > (uint64_t)INT64_MAX - len) return FERRY_EFBIG;
    char *buf = malloc(COPY_BUFFER);
    if (buf == NULL) return FERRY_ENOMEM;
    int64_t moved = copy_by_hand(from, from_at, to, to_at, len, buf);
    free(buf);
    return moved;
}
