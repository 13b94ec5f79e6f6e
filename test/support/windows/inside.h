/* inside.h - what the files of this directory share, which see windows.h as the tests do not
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_WINDOWS_INSIDE_H
#define FERRY_TEST_WINDOWS_INSIDE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <windows.h>
#include <afunix.h>

typedef intptr_t posix_fd;
typedef int64_t posix_off;

/* Sets errno from the system's code for this thread; returns -1. */
int failed(void);
int failed_with(DWORD code);

/* The handle of a descriptor: 0, 1 and 2 are the standard ones. */
HANDLE handle_of(posix_fd fd);
bool is_socket(posix_fd fd);

/* What a descriptor was told with F_SETFL, and where its current position is: a table by number, of
 * which an entry is fresh after mark_open(). */
struct mark {
    unsigned flags;
    posix_off position;
};
struct mark *mark_of(posix_fd fd);
void mark_open(posix_fd fd, unsigned flags);

/* Whether it is one by which a child that was begun by plain_child() is known. */
bool is_child_handle(HANDLE handle);

/* A path in UTF-16, in one of a few static places; NULL and errno if it cannot be. */
const wchar_t *wide(const char *path);

/* Winsock is started, once. */
void sockets_start(void);

/* Ends the test as skipped. */
int missing(const char *what);

/* The flags of posix.h that are looked at here. */
enum {
    FLAG_WRONLY = 0x1,
    FLAG_RDWR = 0x2,
    FLAG_ACCESS = 0x3,
    FLAG_APPEND = 0x8,
    FLAG_CREAT = 0x100,
    FLAG_TRUNC = 0x200,
    FLAG_EXCL = 0x400,
    FLAG_NONBLOCK = 0x1000,
    FLAG_DIRECTORY = 0x2000,
    FLAG_DSYNC = 0x4000,
    FLAG_DIRECT = 0x8000,
    FLAG_NOFOLLOW = 0x20000
};

#endif
