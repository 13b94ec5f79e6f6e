/* files.c - files and pipes, as the tests know them, over handles that are overlapped
 *
 * Each transfer waits for its end by an event of its own, whose lowest bit is set: so nothing of it
 * comes to a completion port that the handle is bound to. A handle that is overlapped has no
 * current position; it is kept here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <winioctl.h>
#include <winternl.h>

#include "support.h"

#define SHARED (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

posix_fd posix_open(const char *path, int how, ...);
posix_fd posix_openat(posix_fd dir, const char *path, int how, ...);
int posix_close(posix_fd fd);
posix_fd posix_dup(posix_fd fd);
posix_fd posix_dup2(posix_fd fd, posix_fd number);
int posix_pipe(posix_fd fds[2]);
int posix_fcntl(posix_fd fd, int command, ...);
intptr_t posix_read(posix_fd fd, void *buf, size_t len);
intptr_t posix_write(posix_fd fd, const void *buf, size_t len);
intptr_t posix_pread(posix_fd fd, void *buf, size_t len, posix_off at);
intptr_t posix_pwrite(posix_fd fd, const void *buf, size_t len, posix_off at);
posix_off posix_lseek(posix_fd fd, posix_off to, int from);
int posix_ftruncate(posix_fd fd, posix_off len);
FILE *posix_fopen(const char *path, const char *how);

/* ---- Opening and closing -------------------------------------------------------------------- */

static DWORD access_of(unsigned how) {
    DWORD writes = how & FLAG_APPEND ? FILE_GENERIC_WRITE & ~(DWORD)FILE_WRITE_DATA : GENERIC_WRITE;
    switch (how & FLAG_ACCESS) {
    case FLAG_WRONLY: return writes | FILE_READ_ATTRIBUTES | DELETE;
    case FLAG_RDWR: return GENERIC_READ | writes | DELETE;
    default: return GENERIC_READ;
    }
}

static DWORD disposition_of(unsigned how) {
    if (!(how & FLAG_CREAT)) return how & FLAG_TRUNC ? TRUNCATE_EXISTING : OPEN_EXISTING;
    if (how & FLAG_EXCL) return CREATE_NEW;
    return how & FLAG_TRUNC ? CREATE_ALWAYS : OPEN_ALWAYS;
}

static posix_fd open_path(const char *path, unsigned how) {
    const wchar_t *name = wide(path);
    if (!name) return -1;
    DWORD flags = FILE_FLAG_OVERLAPPED | FILE_FLAG_BACKUP_SEMANTICS;
    if (how & FLAG_DSYNC) flags |= FILE_FLAG_WRITE_THROUGH;
    if (how & FLAG_DIRECT) flags |= FILE_FLAG_NO_BUFFERING;
    if (how & FLAG_NOFOLLOW) flags |= FILE_FLAG_OPEN_REPARSE_POINT;
    HANDLE handle = CreateFileW(name, access_of(how), SHARED, NULL, disposition_of(how), flags,
                                NULL);
    if (handle == INVALID_HANDLE_VALUE && GetLastError() == ERROR_ACCESS_DENIED) {
        handle = CreateFileW(name, access_of(how) & ~(DWORD)DELETE, SHARED, NULL,
                             disposition_of(how), flags, NULL);
    }
    if (handle == INVALID_HANDLE_VALUE) return failed();
    BY_HANDLE_FILE_INFORMATION about;
    if (how & FLAG_DIRECTORY && GetFileInformationByHandle(handle, &about) &&
        !(about.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)) {
        CloseHandle(handle);
        errno = ERROR_DIRECTORY;
        return -1;
    }
    mark_open((posix_fd)handle, how);
    return (posix_fd)handle;
}

posix_fd posix_open(const char *path, int how, ...) {
    return open_path(path, (unsigned)how);
}

/* The path of what a handle has open, to put a name behind it. */
static int path_behind(posix_fd dir, const char *path, char *whole, size_t size) {
    wchar_t at[1024];
    char text[1024] = "";
    if (dir == -100) {
        snprintf(whole, size, "%s", path);
        return 0;
    }
    DWORD len = GetFinalPathNameByHandleW(handle_of(dir), at, 1024, 0);
    if (len == 0 || len >= 1024) return failed();
    WideCharToMultiByte(CP_UTF8, 0, at, -1, text, sizeof text, NULL, NULL);
    snprintf(whole, size, "%s\\%s", text, path);
    return 0;
}

posix_fd posix_openat(posix_fd dir, const char *path, int how, ...) {
    char whole[2048];
    if (path_behind(dir, path, whole, sizeof whole) < 0) return -1;
    return open_path(whole, (unsigned)how);
}

int posix_close(posix_fd fd) {
    DWORD flags;
    if (fd == -1 || !GetHandleInformation(handle_of(fd), &flags)) {
        errno = ERROR_INVALID_HANDLE;
        return -1;
    }
    if (is_socket(fd)) return closesocket((SOCKET)fd) == 0 ? 0 : failed();
    return CloseHandle(handle_of(fd)) ? 0 : failed();
}

posix_fd posix_dup(posix_fd fd) {
    HANDLE copy = NULL;
    if (is_socket(fd)) {
        WSAPROTOCOL_INFOW about;
        if (WSADuplicateSocketW((SOCKET)fd, GetCurrentProcessId(), &about) != 0) return failed();
        SOCKET other = WSASocketW(about.iAddressFamily, about.iSocketType, about.iProtocol, &about,
                                  0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
        if (other == INVALID_SOCKET) return failed();
        mark_open((posix_fd)other, mark_of(fd)->flags);
        return (posix_fd)other;
    }
    if (!DuplicateHandle(GetCurrentProcess(), handle_of(fd), GetCurrentProcess(), &copy, 0, FALSE,
                         DUPLICATE_SAME_ACCESS)) {
        return failed();
    }
    *mark_of((posix_fd)copy) = *mark_of(fd);
    return (posix_fd)copy;
}

posix_fd posix_dup2(posix_fd fd, posix_fd number) {
    (void)fd;
    (void)number;
    return missing("no descriptor of a chosen number on Windows");
}

/* As many bytes as a pipe of Linux holds. */
static int pipe_open(posix_fd fds[2], DWORD reader) {
    static LONG count;
    wchar_t name[80];
    /* Numbers of processes come again, while somebody who is left over may have such a pipe. */
    swprintf(name, 80, L"\\\\.\\pipe\\ferry-test-%lu-%ld-%llx",
             (unsigned long)GetCurrentProcessId(), InterlockedIncrement(&count),
             (unsigned long long)GetTickCount64());
    HANDLE reads = CreateNamedPipeW(
        name, PIPE_ACCESS_INBOUND | reader | FILE_FLAG_FIRST_PIPE_INSTANCE,
        PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS, 1, 65536, 65536, 0, NULL);
    if (reads == INVALID_HANDLE_VALUE) return failed();
    HANDLE writes = CreateFileW(name, GENERIC_WRITE | FILE_READ_ATTRIBUTES, 0, NULL, OPEN_EXISTING,
                                FILE_FLAG_OVERLAPPED, NULL);
    if (writes == INVALID_HANDLE_VALUE) {
        int result = failed();
        CloseHandle(reads);
        return result;
    }
    fds[0] = (posix_fd)reads;
    fds[1] = (posix_fd)writes;
    mark_open(fds[0], 0);
    mark_open(fds[1], FLAG_WRONLY);
    return 0;
}

int posix_pipe(posix_fd fds[2]) {
    return pipe_open(fds, FILE_FLAG_OVERLAPPED);
}

void waiting_pipe(posix_fd fds[2]) {
    if (pipe_open(fds, 0) != 0) fail_msg("making a pipe: error %d", errno);
}

/* A copy with a number from which on nothing else is likely to be: as many copies as it takes. */
static posix_fd dup_above(posix_fd fd, posix_fd least) {
    posix_fd copies[1024], copy = -1;
    size_t count = 0;
    while (count < 1024 && (copy = posix_dup(fd)) >= 0 && copy < least) copies[count++] = copy;
    while (count > 0) posix_close(copies[--count]);
    return copy;
}

/* What it was opened for, as the system tells. */
static int mode_of(posix_fd fd) {
    IO_STATUS_BLOCK io;
    ULONG access = 0, mode = 0;
    int flags = (int)mark_of(fd)->flags & FLAG_NONBLOCK;
    if (is_socket(fd)) return flags | FLAG_RDWR;
    NtQueryInformationFile(handle_of(fd), &io, &access, sizeof access, FileAccessInformation);
    NtQueryInformationFile(handle_of(fd), &io, &mode, sizeof mode, FileModeInformation);
    bool writes = access & (FILE_WRITE_DATA | FILE_APPEND_DATA);
    if (writes) flags |= access & FILE_READ_DATA ? FLAG_RDWR : FLAG_WRONLY;
    if (writes && !(access & FILE_WRITE_DATA)) flags |= FLAG_APPEND;
    if (mode & FILE_WRITE_THROUGH) flags |= FLAG_DSYNC;
    if (mode & FILE_NO_INTERMEDIATE_BUFFERING) flags |= FLAG_DIRECT;
    return flags;
}

/* The commands of posix.h: F_DUPFD_CLOEXEC 1, F_GETFD 2, F_SETFD 3, F_GETFL 4, F_SETFL 5 */
int posix_fcntl(posix_fd fd, int command, ...) {
    DWORD flags;
    va_list rest;
    va_start(rest, command);
    unsigned value = command != 2 && command != 4 ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    if (fd == -1 || !GetHandleInformation(handle_of(fd), &flags)) {
        errno = ERROR_INVALID_HANDLE;
        return -1;
    }
    switch (command) {
    case 1: return (int)dup_above(fd, (posix_fd)value);
    case 2: return flags & HANDLE_FLAG_INHERIT ? 0 : 1;
    case 3:
        flags = value & 1 ? 0 : HANDLE_FLAG_INHERIT;
        return SetHandleInformation(handle_of(fd), HANDLE_FLAG_INHERIT, flags) ? 0 : failed();
    case 4: return mode_of(fd);
    case 5: {
        u_long on = (value & FLAG_NONBLOCK) != 0;
        mark_of(fd)->flags = value;
        if (!is_socket(fd)) return 0;
        return ioctlsocket((SOCKET)fd, (long)FIONBIO, &on) == 0 ? 0 : failed();
    }
    default: return missing("no leases on Windows");
    }
}

/* ---- Reading and writing -------------------------------------------------------------------- */

/* One transfer, waited for; of one that a non-blocking pipe would wait for, what has gone when it
 * is taken back. */
static intptr_t transfer(posix_fd fd, void *in, const void *out, size_t len, posix_off at) {
    OVERLAPPED overlapped = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
    HANDLE event = overlapped.hEvent, handle = handle_of(fd);
    DWORD size = len > 1u << 30 ? 1u << 30 : (DWORD)len, done = 0;
    overlapped.Offset = (DWORD)at;
    overlapped.OffsetHigh = (DWORD)((uint64_t)at >> 32);
    overlapped.hEvent = (HANDLE)((uintptr_t)event | 1);
    BOOL ok = in ? ReadFile(handle, in, size, NULL, &overlapped)
                 : WriteFile(handle, out, size, NULL, &overlapped);
    DWORD error = ok ? 0 : GetLastError();
    if (error == ERROR_IO_PENDING) error = 0;
    if (error == 0) {
        bool impatient = mark_of(fd)->flags & FLAG_NONBLOCK;
        if (impatient && WaitForSingleObject(event, 20) == WAIT_TIMEOUT)
            CancelIoEx(handle, &overlapped);
        WaitForSingleObject(event, INFINITE);
        if (!GetOverlappedResult(handle, &overlapped, &done, FALSE)) error = GetLastError();
    }
    CloseHandle(event);
    if (error == ERROR_OPERATION_ABORTED && done == 0) {
        errno = WSAEWOULDBLOCK;
        return -1;
    }
    if (in && (error == ERROR_HANDLE_EOF || error == ERROR_BROKEN_PIPE)) return 0;
    if (error != 0 && error != ERROR_OPERATION_ABORTED && error != ERROR_MORE_DATA) {
        return failed_with(error);
    }
    return (intptr_t)done;
}

static bool is_file(posix_fd fd) {
    return GetFileType(handle_of(fd)) == FILE_TYPE_DISK;
}

static posix_off size_of(posix_fd fd) {
    LARGE_INTEGER size = {.QuadPart = 0};
    GetFileSizeEx(handle_of(fd), &size);
    return size.QuadPart;
}

intptr_t posix_read(posix_fd fd, void *buf, size_t len) {
    if (is_socket(fd)) {
        int n = recv((SOCKET)fd, buf, (int)len, 0);
        return n < 0 ? failed() : n;
    }
    posix_off at = is_file(fd) ? mark_of(fd)->position : 0;
    intptr_t n = transfer(fd, buf, NULL, len, at);
    if (n > 0) mark_of(fd)->position += n;
    return n;
}

intptr_t posix_write(posix_fd fd, const void *buf, size_t len) {
    if (is_socket(fd)) {
        int n = send((SOCKET)fd, buf, (int)len, 0);
        return n < 0 ? failed() : n;
    }
    bool is_at_end = mark_of(fd)->flags & FLAG_APPEND;
    posix_off at = !is_file(fd) ? 0 : is_at_end ? size_of(fd) : mark_of(fd)->position;
    intptr_t n = transfer(fd, NULL, buf, len, at);
    if (n > 0) mark_of(fd)->position = at + n;
    return n;
}

intptr_t posix_pread(posix_fd fd, void *buf, size_t len, posix_off at) {
    return transfer(fd, buf, NULL, len, at);
}

intptr_t posix_pwrite(posix_fd fd, const void *buf, size_t len, posix_off at) {
    return transfer(fd, NULL, buf, len, at);
}

posix_off posix_lseek(posix_fd fd, posix_off to, int from) {
    (void)fd;
    (void)to;
    (void)from;
    return missing("the current position of a file that is overlapped is the loop's alone");
}

int posix_ftruncate(posix_fd fd, posix_off len) {
    FILE_END_OF_FILE_INFO end = {.EndOfFile = {.QuadPart = len}};
    return SetFileInformationByHandle(handle_of(fd), FileEndOfFileInfo, &end, sizeof end)
               ? 0
               : failed();
}

FILE *posix_fopen(const char *path, const char *how) {
    wchar_t mode[4] = {(wchar_t)how[0], L'b', 0, 0};
    const wchar_t *name = wide(path);
    return name ? _wfopen(name, mode) : NULL;
}
