/* common.c - errors, descriptors and paths for the rest of this directory
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include "support.h"

/* ---- Errors --------------------------------------------------------------------------------- */

/* Several codes of the system have one number in posix.h, which is one of them; the rest stay what
 * they are. */
static const struct {
    DWORD code, number;
} numbers[] = {
    {ERROR_PATH_NOT_FOUND, ERROR_FILE_NOT_FOUND},
    {ERROR_BAD_NETPATH, ERROR_FILE_NOT_FOUND},
    {ERROR_INVALID_NAME, ERROR_FILE_NOT_FOUND},
    {ERROR_BAD_PATHNAME, ERROR_FILE_NOT_FOUND},
    {ERROR_SHARING_VIOLATION, ERROR_ACCESS_DENIED},
    {ERROR_FILE_EXISTS, ERROR_ALREADY_EXISTS},
    {ERROR_NO_DATA, ERROR_BROKEN_PIPE},
    {WSAESHUTDOWN, ERROR_BROKEN_PIPE},
    {ERROR_NETNAME_DELETED, WSAECONNRESET},
    {WSAECONNABORTED, WSAECONNRESET},
    {WSAEOPNOTSUPP, ERROR_NOT_SUPPORTED},
    {WSAEINVAL, ERROR_INVALID_PARAMETER},
    {WSAEBADF, ERROR_INVALID_HANDLE},
};

int failed_with(DWORD code) {
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].code == code) code = numbers[i].number;
    }
    errno = (int)code;
    return -1;
}

int failed(void) {
    return failed_with(GetLastError()); /* WSAGetLastError() is the same */
}

int missing(const char *what) {
    test_skip(what);
    return -1;
}

/* ---- Descriptors ---------------------------------------------------------------------------- */

HANDLE handle_of(posix_fd fd) {
    if (fd == 0) return GetStdHandle(STD_INPUT_HANDLE);
    if (fd == 1) return GetStdHandle(STD_OUTPUT_HANDLE);
    if (fd == 2) return GetStdHandle(STD_ERROR_HANDLE);
    return (HANDLE)fd;
}

static BOOL CALLBACK started(PINIT_ONCE once, void *arg, void **context) {
    WSADATA data;
    (void)once;
    (void)arg;
    (void)context;
    return WSAStartup(MAKEWORD(2, 2), &data) == 0;
}

void sockets_start(void) {
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    InitOnceExecuteOnce(&once, started, NULL, NULL);
}

bool is_socket(posix_fd fd) {
    int type = 0, len = sizeof type;
    if (GetFileType(handle_of(fd)) != FILE_TYPE_PIPE) return false;
    sockets_start();
    return getsockopt((SOCKET)fd, SOL_SOCKET, SO_TYPE, (char *)&type, &len) == 0;
}

#define MARKS 65536

struct mark *mark_of(posix_fd fd) {
    static struct mark marks[MARKS];
    return &marks[(uintptr_t)handle_of(fd) / 4 % MARKS];
}

void mark_open(posix_fd fd, unsigned flags) {
    *mark_of(fd) = (struct mark){.flags = flags};
}

/* ---- Paths ---------------------------------------------------------------------------------- */

const wchar_t *wide(const char *path) {
    static __thread wchar_t texts[4][1024];
    static __thread unsigned next;
    wchar_t *text = texts[next++ % 4];
    if (strcmp(path, "/dev/null") == 0) path = "NUL";
    if (strcmp(path, "/") == 0) path = "C:/";
    if (MultiByteToWideChar(CP_UTF8, 0, path, -1, text, 1024) == 0) {
        errno = ERROR_FILENAME_EXCED_RANGE;
        return NULL;
    }
    for (wchar_t *at = text; *at; at++) {
        if (*at == L'/') *at = L'\\';
    }
    return text;
}
