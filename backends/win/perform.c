/* perform.c - operations that a backend leaves to worker threads, as calls that may wait. What the
 * fields of each mean: lib/files.c, lib/paths.c.
 *
 * A call that is asked to end (thread.c) comes to FERRY_ECANCELED; where that was for somebody else
 * it is begun anew. Results are 0 or more, or a negative FERRY_E....
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"
#include "process.h"

#include <stdlib.h>

/* ---- Answers in the caller's memory -------------------------------------------------------- */

static int64_t answer(const ferry_op *op, const wchar_t *wide, size_t units) {
    char *buf = (char *)(uintptr_t)op->more;
    size_t room = op->len < SIZE_MAX ? (size_t)op->len : SIZE_MAX;
    size_t bytes = ferry__win_narrow(wide, units, NULL, 0);
    if (bytes >= room) return FERRY_ENOROOM;
    (void)ferry__win_narrow(wide, units, buf, room);
    buf[bytes] = '\0';
    return (int64_t)bytes;
}

static int64_t read_link(const ferry_op *op) {
    struct ferry__win_path path;
    HANDLE handle = NULL;
    wchar_t *target = NULL;
    bool absolute;
    int64_t result = ferry__win_path_make(&path, op->fd, op->buf);
    if (result != 0) return result;
    NTSTATUS status = ferry__win_open(&path, FILE_READ_ATTRIBUTES, FILE_OPEN,
                                      FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_REPARSE_POINT,
                                      &handle);
    if (status != STATUS_SUCCESS) result = ferry__win_path_error(&path, status);
    ferry__win_path_end(&path);
    if (result != 0) return result;
    result = ferry__win_link_target(handle, &target, &absolute);
    (void)CloseHandle(handle);
    if (result >= 0) result = answer(op, target, (size_t)result);
    free(target);
    return result;
}

/* Without the "\\?\" before it, as programs know paths. */
static int64_t real_path(const ferry_op *op) {
    HANDLE handle = NULL;
    wchar_t *text = NULL;
    int64_t result = ferry__win_open_name(op, FILE_READ_ATTRIBUTES, &handle);
    if (result != 0) return result;
    result = ferry__win_path_of(handle, &text);
    (void)CloseHandle(handle);
    if (result != 0) return result;
    const wchar_t *from = text;
    if (wcsncmp(text, L"\\\\?\\UNC\\", 8) == 0) {
        text[6] = L'\\';
        from = text + 6;
    } else if (wcsncmp(text, L"\\\\?\\", 4) == 0) {
        from = text + 4;
    }
    result = answer(op, from, wcslen(from));
    free(text);
    return result;
}

/* ---- Each in its place --------------------------------------------------------------------- */

static int64_t close_handle(const ferry_op *op) {
    int kind = ferry__os_fd_kind(op->fd);
    HANDLE handle = ferry__win_handle(op->fd);
    ferry__win_list_forget(handle);
    if (kind == KIND_STREAM || kind == KIND_MESSAGE || kind == KIND_SEQPACKET) {
        return closesocket(ferry__win_socket(op->fd)) == 0 ? 0 : ferry__win_socket_error();
    }
    return CloseHandle(handle) ? 0 : ferry__win_last_error();
}

/* Advice is no promise: nobody listens, and it was given all the same. */
static int64_t advise(const ferry_op *op) {
    int kind = ferry__os_fd_kind(op->fd);
    if (kind < 0) return kind;
    bool seeks = kind == KIND_FILE || kind == KIND_OTHER || kind == KIND_CHARACTER;
    return seeks ? 0 : FERRY_ESPIPE;
}

static int64_t perform(ferry_op *op) {
    HANDLE handle = ferry__win_handle(op->fd);
    switch (op->code) {
    case FERRY_OP_OPEN: return ferry__win_open_file(op);
    case FERRY_OP_READ:
    case FERRY_OP_READV: return ferry__win_transfer(op, true);
    case FERRY_OP_WRITE:
    case FERRY_OP_WRITEV: return ferry__win_transfer(op, false);
    case FERRY_OP_SYNC: return ferry__win_sync(handle, op->asked & FERRY_DATA);
    case FERRY_OP_STAT:
    case FERRY_OP_STAT_FD: return ferry__win_stat(op);
    case FERRY_OP_CLOSE: return close_handle(op);
    case FERRY_OP_TRUNCATE: return ferry__win_truncate(handle, op->len);
    case FERRY_OP_SPAWN: return ferry__process_spawn(op);
    case FERRY_OP_CHMOD:
    case FERRY_OP_CHMOD_FD: return ferry__win_chmod(op);
    case FERRY_OP_CHOWN:
    case FERRY_OP_CHOWN_FD: return ferry__win_chown(op);
    case FERRY_OP_TIMES:
    case FERRY_OP_TIMES_FD: return ferry__win_times(op);
    case FERRY_OP_ACCESS: return ferry__win_access(op);
    case FERRY_OP_ALLOCATE: return ferry__win_allocate(handle, op->offset, op->len);
    case FERRY_OP_ADVISE: return advise(op);
    case FERRY_OP_READLINK: return read_link(op);
    case FERRY_OP_REALPATH: return real_path(op);
    case FERRY_OP_TEMP_FILE:
    case FERRY_OP_TEMP_DIR: return ferry__win_make_private(op);
    case FERRY_OP_LIST:
        return ferry__win_list(handle, (char *)(uintptr_t)op->buf, (size_t)op->len,
                               op->asked & FERRY_RESTART);
    case FERRY_OP_COPY: return ferry__win_copy(op);
    case FERRY_OP_RENAME: return ferry__win_rename(op);
    case FERRY_OP_HARD_LINK: return ferry__win_hard_link(op);
    case FERRY_OP_SYMLINK: return ferry__win_symlink(op);
    case FERRY_OP_UNLINK: return ferry__win_remove(op, false);
    case FERRY_OP_RMDIR: return ferry__win_remove(op, true);
    case FERRY_OP_MKDIR: return ferry__win_mkdir(op);
    default: return FERRY_ENOTSUP;
    }
}

int64_t ferry__os_perform(ferry_op *op) {
    int64_t result;
    do {
        result = perform(op);
    } while (result == FERRY_ECANCELED && !ferry__work_stopped());
    return result;
}

/* Opening waits for nobody here. */
void ferry__os_open_abandon(ferry_op *op) {
    (void)op;
}
