/* bsd.c - what the tests ask macOS and FreeBSD about this process, where both answer alike
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <stdio.h>
#include <sys/stat.h>

void fd_describe(ferry_fd fd, char *text, size_t size) {
    struct stat about;
    const char *kind = "of an unknown kind";
    if (fstat(fd, &about) == 0) {
        if (S_ISREG(about.st_mode)) kind = "a file";
        if (S_ISDIR(about.st_mode)) kind = "a directory";
        if (S_ISCHR(about.st_mode)) kind = "a device";
        if (S_ISFIFO(about.st_mode)) kind = "a pipe or a queue";
        if (S_ISSOCK(about.st_mode)) kind = "a socket";
    }
    snprintf(text, size, "%s", kind);
}

size_t list_threads(long *list, size_t max) {
    (void)list;
    (void)max;
    return 0;
}

/* Sanitizers have other ways there. */
void threads_settle(void) {}

void allow_tracing(void) {}
