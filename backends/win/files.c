/* files.c - what is known of files, and how it is changed; what is done to files that are open.
 *
 * Of a mode's twelve bits Windows has one: whether a file may be written (its read-only attribute).
 * Owners are no numbers there (docs/windows.md).
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>

#define EPOCH_TICKS INT64_C(116444736000000000) /* from 1601 to 1970, in 100 ns */
#define MAY_WRITE 0222u
#define MAY_READ 0444u
#define MAY_PASS 0111u
#define FLUSH_DATA 4ul /* the data, and what is needed to read it */

/* ---- What is known ------------------------------------------------------------------------- */

static int64_t time_ns(LARGE_INTEGER time) {
    return (time.QuadPart - EPOCH_TICKS) * 100;
}

static uint64_t whole(DWORD high, DWORD low) {
    return (uint64_t)high << 32 | low;
}

static uint32_t permissions_of(DWORD attributes, enum ferry_file_type type) {
    bool passes = type == FERRY_FILE_DIRECTORY || type == FERRY_FILE_SYMLINK;
    if (passes) return MAY_READ | MAY_WRITE | MAY_PASS; /* the attribute means something else */
    return attributes & FILE_ATTRIBUTE_READONLY ? MAY_READ : MAY_READ | MAY_WRITE;
}

/* A link is as long as what it holds. */
static uint64_t link_size(HANDLE handle) {
    wchar_t *target = NULL;
    bool absolute;
    int64_t len = ferry__win_link_target(handle, &target, &absolute);
    if (len < 0) return 0;
    size_t bytes = ferry__win_narrow(target, (size_t)len, NULL, 0);
    free(target);
    return bytes;
}

bool ferry__win_is_on_disk(HANDLE handle) {
    return GetFileType(handle) == FILE_TYPE_DISK;
}

/* Pipes, sockets, consoles: that is all there is to know. */
static int64_t tell_device(HANDLE handle, ferry_file *file) {
    DWORD type = GetFileType(handle);
    file->permissions = MAY_READ | MAY_WRITE;
    file->links = 1;
    if (type == FILE_TYPE_CHAR) {
        file->type = FERRY_FILE_CHARACTER;
    } else if (type == FILE_TYPE_PIPE) {
        int kind = ferry__os_fd_kind(ferry__win_fd(handle));
        file->type = kind == KIND_PIPE ? FERRY_FILE_FIFO : FERRY_FILE_SOCKET;
    } else if (type == FILE_TYPE_UNKNOWN && GetLastError() != NO_ERROR) {
        return ferry__win_last_error();
    }
    return 0;
}

static int64_t tell(HANDLE handle, ferry_file *file) {
    BY_HANDLE_FILE_INFORMATION about;
    FILE_BASIC_INFO times;
    FILE_STANDARD_INFO size;
    FILE_ATTRIBUTE_TAG_INFO tag;
    memset(file, 0, offsetof(ferry_file, room));
    if (!GetFileInformationByHandle(handle, &about)) {
        int refused = ferry__win_last_error();
        return ferry__win_is_on_disk(handle) ? refused : tell_device(handle, file);
    }
    int error = ferry__win_tag(handle, &tag);
    if (error != 0) return error;
    if (!GetFileInformationByHandleEx(handle, FileBasicInfo, &times, sizeof times) ||
        !GetFileInformationByHandleEx(handle, FileStandardInfo, &size, sizeof size)) {
        return ferry__win_last_error();
    }
    file->type = ferry__win_type(tag.FileAttributes, tag.ReparseTag);
    file->permissions = permissions_of(tag.FileAttributes, file->type);
    file->size = file->type == FERRY_FILE_SYMLINK ? link_size(handle)
                                                  : (uint64_t)size.EndOfFile.QuadPart;
    file->allocated = (uint64_t)size.AllocationSize.QuadPart;
    file->links = size.NumberOfLinks;
    file->device = about.dwVolumeSerialNumber;
    file->inode = whole(about.nFileIndexHigh, about.nFileIndexLow);
    file->accessed_ns = time_ns(times.LastAccessTime);
    file->modified_ns = time_ns(times.LastWriteTime);
    file->changed_ns = time_ns(times.ChangeTime);
    file->created_ns = time_ns(times.CreationTime);
    return 0;
}

int64_t ferry__win_stat(const ferry_op *op) {
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    if (op->code == FERRY_OP_STAT_FD) return tell(ferry__win_handle(op->fd), file);
    HANDLE handle = NULL;
    int64_t result = ferry__win_open_name(op, FILE_READ_ATTRIBUTES, &handle);
    if (result != 0) return result;
    result = tell(handle, file);
    (void)CloseHandle(handle);
    return result;
}

/* What one would open it for, it is opened for. Who has it open without sharing it stands in the
 * way of that, and not of the permission. */
int64_t ferry__win_access(const ferry_op *op) {
    HANDLE handle = NULL;
    ACCESS_MASK access = FILE_READ_ATTRIBUTES;
    if (op->len & FERRY_MAY_READ) access |= FILE_READ_DATA;
    if (op->len & FERRY_MAY_WRITE) access |= FILE_WRITE_DATA;
    if (op->len & FERRY_MAY_EXECUTE) access |= FILE_EXECUTE;
    int error = ferry__win_open_name(op, access, &handle);
    if (error == 0) (void)CloseHandle(handle);
    return error == ferry__win_status(STATUS_SHARING_VIOLATION) ? 0 : error;
}

/* ---- Changing it --------------------------------------------------------------------------- */

/* A handle for it: of what the name means, or again of what is open. */
static int open_to_change(const ferry_op *op, bool by_name, HANDLE *handle) {
    ACCESS_MASK access = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES;
    if (by_name) return ferry__win_open_name(op, access, handle);
    HANDLE open = ferry__win_handle(op->fd);
    if (!ferry__win_is_on_disk(open)) {
        int kind = ferry__os_fd_kind(op->fd);
        return kind < 0 ? kind : FERRY_EINVAL;
    }
    return ferry__win_reopen(open, access, handle);
}

static int64_t set_basic(HANDLE handle, FILE_BASIC_INFO *basic) {
    return SetFileInformationByHandle(handle, FileBasicInfo, basic, sizeof *basic)
               ? 0
               : ferry__win_last_error();
}

/* False: before 1601. A time of 0 is left as it is. */
static bool time_of(uint64_t given, LARGE_INTEGER *time) {
    int64_t ns = (int64_t)given;
    FILETIME now;
    time->QuadPart = 0;
    if (ns == FERRY_TIME_LEAVE) return true;
    if (ns == FERRY_TIME_NOW) {
        GetSystemTimePreciseAsFileTime(&now);
        time->QuadPart = (LONGLONG)whole(now.dwHighDateTime, now.dwLowDateTime);
        return true;
    }
    int64_t ticks = ns / 100;
    if (ns % 100 < 0) ticks--;
    time->QuadPart = ticks + EPOCH_TICKS;
    return time->QuadPart > 0;
}

int64_t ferry__win_times(const ferry_op *op) {
    HANDLE handle = NULL;
    FILE_BASIC_INFO basic = {.FileAttributes = 0};
    if (!time_of(op->offset, &basic.LastAccessTime) || !time_of(op->more, &basic.LastWriteTime)) {
        return FERRY_EINVAL;
    }
    int64_t result = open_to_change(op, op->code == FERRY_OP_TIMES, &handle);
    if (result != 0) return result;
    result = set_basic(handle, &basic);
    (void)CloseHandle(handle);
    return result;
}

static int64_t set_mode(HANDLE handle, bool may_be_written) {
    FILE_ATTRIBUTE_TAG_INFO about;
    FILE_BASIC_INFO basic = {.FileAttributes = 0};
    int error = ferry__win_tag(handle, &about);
    if (error != 0) return error;
    if (ferry__win_is_link(about.FileAttributes, about.ReparseTag)) return FERRY_ENOTSUP;
    /* A directory's attribute means something else: there is no way to keep it as it is. */
    if (about.FileAttributes & FILE_ATTRIBUTE_DIRECTORY) return may_be_written ? 0 : FERRY_ENOTSUP;
    basic.FileAttributes = about.FileAttributes & ~(DWORD)FILE_ATTRIBUTE_READONLY;
    if (!may_be_written) basic.FileAttributes |= FILE_ATTRIBUTE_READONLY;
    if (basic.FileAttributes == 0) basic.FileAttributes = FILE_ATTRIBUTE_NORMAL;
    return set_basic(handle, &basic);
}

int64_t ferry__win_chmod(const ferry_op *op) {
    HANDLE handle = NULL;
    int64_t result = open_to_change(op, op->code == FERRY_OP_CHMOD, &handle);
    if (result != 0) return result;
    result = set_mode(handle, op->len & 0200u);
    (void)CloseHandle(handle);
    return result;
}

int64_t ferry__win_chown(const ferry_op *op) {
    HANDLE handle = NULL;
    bool leaves = (uint32_t)op->len == FERRY_ID_LEAVE && (uint32_t)op->offset == FERRY_ID_LEAVE;
    int64_t result = open_to_change(op, op->code == FERRY_OP_CHOWN, &handle);
    if (result != 0) return result;
    (void)CloseHandle(handle);
    return leaves ? 0 : FERRY_ENOTSUP;
}

/* ---- Length and place ---------------------------------------------------------------------- */

/* A handle by which a file's length can be set: itself, or (open for appending) another. If it is
 * open for reading only that comes to the error. */
static int writable(HANDLE handle, int refused, HANDLE *found) {
    FILE_ACCESS_INFORMATION granted = {.AccessFlags = FILE_WRITE_DATA};
    IO_STATUS_BLOCK status;
    NTSTATUS result = NtQueryInformationFile(handle, &status, &granted, sizeof granted,
                                             FileAccessInformation);
    if (result == STATUS_INVALID_HANDLE) return FERRY_EBADF;
    *found = handle;
    if (granted.AccessFlags & FILE_WRITE_DATA) return 0;
    if (!(granted.AccessFlags & FILE_APPEND_DATA)) return refused;
    return ferry__win_reopen(handle, FILE_WRITE_DATA | FILE_READ_ATTRIBUTES, found);
}

static int set_end(HANDLE handle, uint64_t length) {
    FILE_END_OF_FILE_INFO end = {.EndOfFile.QuadPart = (LONGLONG)length};
    if (SetFileInformationByHandle(handle, FileEndOfFileInfo, &end, sizeof end)) return 0;
    DWORD code = GetLastError();
    /* Further than the file system goes. */
    return code == ERROR_INVALID_PARAMETER ? FERRY_EFBIG : ferry__win_error(code);
}

static bool is_directory(HANDLE handle) {
    FILE_STANDARD_INFO about = {.Directory = FALSE};
    (void)GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about);
    return about.Directory;
}

int64_t ferry__win_truncate(HANDLE handle, uint64_t length) {
    HANDLE file = NULL;
    if (!ferry__win_is_on_disk(handle) || is_directory(handle)) return FERRY_EINVAL;
    int error = writable(handle, FERRY_EINVAL, &file);
    if (error != 0) return error;
    error = set_end(file, length);
    if (file != handle) (void)CloseHandle(file);
    return error;
}

/* Clusters are given to files as a whole: as many as that length takes. In files with holes, or
 * compressed ones, they are not kept for what will be written. */
static int allocate(HANDLE file, uint64_t end) {
    FILE_STANDARD_INFO about;
    FILE_BASIC_INFO basic;
    FILE_ALLOCATION_INFO place = {.AllocationSize.QuadPart = (LONGLONG)end};
    const DWORD without = FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_COMPRESSED;
    if (!GetFileInformationByHandleEx(file, FileStandardInfo, &about, sizeof about) ||
        !GetFileInformationByHandleEx(file, FileBasicInfo, &basic, sizeof basic)) {
        return ferry__win_last_error();
    }
    if (basic.FileAttributes & without) return FERRY_ENOTSUP;
    if (end > (uint64_t)about.AllocationSize.QuadPart &&
        !SetFileInformationByHandle(file, FileAllocationInfo, &place, sizeof place)) {
        return ferry__win_last_error();
    }
    return end > (uint64_t)about.EndOfFile.QuadPart ? set_end(file, end) : 0;
}

int64_t ferry__win_allocate(HANDLE handle, uint64_t offset, uint64_t len) {
    HANDLE file = NULL;
    int kind = ferry__os_fd_kind(ferry__win_fd(handle));
    if (kind < 0) return kind;
    if (kind == KIND_PIPE || kind == KIND_STREAM || kind == KIND_MESSAGE) return FERRY_ESPIPE;
    if (!ferry__win_is_on_disk(handle) || is_directory(handle)) return FERRY_ENODEV;
    int error = writable(handle, FERRY_EBADF, &file);
    if (error != 0) return error;
    error = allocate(file, offset + len);
    if (file != handle) (void)CloseHandle(file);
    return error;
}

/* ---- On the device ------------------------------------------------------------------------- */

/* Older systems, and some file systems, know no data without the rest. */
static int flush(HANDLE file, bool data_only) {
    static const char name[] = "NtFlushBuffersFileEx";
    typedef NTSTATUS NTAPI flush_fn(HANDLE, ULONG, PVOID, ULONG, PIO_STATUS_BLOCK);
    union {
        FARPROC found;
        flush_fn *call;
    } flushes = {.found = NULL};
    IO_STATUS_BLOCK status;
    if (data_only) flushes.found = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name);
    if (flushes.found != NULL &&
        flushes.call(file, FLUSH_DATA, NULL, 0, &status) == STATUS_SUCCESS) {
        return 0;
    }
    return FlushFileBuffers(file) ? 0 : ferry__win_last_error();
}

/* The system flushes what is open for writing; so what is open for reading is opened once more. */
int64_t ferry__win_sync(HANDLE handle, bool data_only) {
    HANDLE file = NULL;
    int kind = ferry__os_fd_kind(ferry__win_fd(handle));
    if (kind < 0) return kind;
    if (!ferry__win_is_on_disk(handle)) return FERRY_EINVAL; /* it would wait for the reader */
    if (!is_directory(handle) && writable(handle, FERRY_EACCES, &file) == 0) {
        if (file != handle) (void)CloseHandle(file);
        return flush(handle, data_only);
    }
    ACCESS_MASK access = is_directory(handle) ? FILE_ADD_FILE : FILE_WRITE_DATA;
    int error = ferry__win_reopen(handle, access, &file);
    if (error != 0) return error;
    error = flush(file, data_only);
    (void)CloseHandle(file);
    return error;
}
