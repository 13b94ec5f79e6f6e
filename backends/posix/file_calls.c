/* file_calls.c - the table of file_calls.h, filled with the system's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "file_calls.h"

#include "ferry.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int openat_mode(int dir, const char *path, int flags, mode_t mode) {
    return openat(dir, path, flags, mode);
}

static int status_flags(int fd) {
    return fcntl(fd, F_GETFL);
}

/* The C library has none of these two, or not everywhere. */
static ssize_t getdents_raw(int fd, void *buf, size_t len) {
    return syscall(SYS_getdents64, fd, buf, len);
}

static int openat2_raw(int dir, const char *path, struct open_how *how) {
    return (int)syscall(SYS_openat2, dir, path, how, sizeof *how);
}

/* Its type in the C library says that the pointers are not NULL, which the kernel says itself. */
static int statx_plain(int dir, const char *path, int flags, unsigned mask, struct statx *about) {
    return statx(dir, path, flags, mask, about);
}

struct ferry__file_calls ferry__file_calls = {
    .openat = openat_mode,
    .mkdirat = mkdirat,
    .unlinkat = unlinkat,
    .linkat = linkat,
    .symlinkat = symlinkat,
    .readlinkat = readlinkat,
    .fchmod = fchmod,
    .fchmodat = fchmodat,
    .fchown = fchown,
    .fchownat = fchownat,
    .futimens = futimens,
    .utimensat = utimensat,
    .faccessat = faccessat,
    .fstatat = fstatat,
    .realpath = realpath,
    .pread = pread,
    .pwrite = pwrite,
    .fsync = fsync,
    .fdatasync = fdatasync,
    .fadvise = posix_fadvise,
    .lseek = lseek,
    .status_flags = status_flags,
    .getentropy = getentropy,
    .renameat2 = renameat2,
    .fallocate = fallocate,
    .getdents = getdents_raw,
    .copy_file_range = copy_file_range,
    .statx = statx_plain,
    .openat2 = openat2_raw,
};

int ferry__posix_open_flags(unsigned how) {
    int flags = O_CLOEXEC | O_NOCTTY;
    if (how & FERRY_OPEN_READ && how & FERRY_OPEN_WRITE) {
        flags |= O_RDWR;
    } else if (how & FERRY_OPEN_WRITE) {
        flags |= O_WRONLY;
    }
    if (how & FERRY_OPEN_CREATE) flags |= O_CREAT;
    if (how & FERRY_OPEN_EXCLUSIVE) flags |= O_EXCL;
    if (how & FERRY_OPEN_TRUNCATE) flags |= O_TRUNC;
    if (how & FERRY_OPEN_APPEND) flags |= O_APPEND;
    if (how & FERRY_OPEN_DIRECTORY) flags |= O_DIRECTORY;
    if (how & FERRY_OPEN_NOFOLLOW) flags |= O_NOFOLLOW;
    if (how & FERRY_OPEN_DIRECT) flags |= O_DIRECT;
    if (how & FERRY_OPEN_DSYNC) flags |= O_DSYNC;
    return flags;
}
