/* file_calls.h - the system calls on files and names that the library makes outside the rings: a
 * table that tests can replace, beside the one of calls.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_FILE_CALLS_H
#define FERRY_POSIX_FILE_CALLS_H

#include "ferry.h"
#include "port.h"

#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

FERRY__OWN_BEGIN

struct ferry__file_calls {
    int (*openat)(int, const char *, int, mode_t);
    int (*mkdirat)(int, const char *, mode_t);
    int (*unlinkat)(int, const char *, int);
    int (*linkat)(int, const char *, int, const char *, int);
    int (*symlinkat)(const char *, int, const char *);
    ssize_t (*readlinkat)(int, const char *, char *, size_t);
    int (*fchmod)(int, mode_t);
    int (*fchmodat)(int, const char *, mode_t, int);
    int (*fchown)(int, uid_t, gid_t);
    int (*fchownat)(int, const char *, uid_t, gid_t, int);
    int (*futimens)(int, const struct timespec *);
    int (*utimensat)(int, const char *, const struct timespec *, int);
    int (*faccessat)(int, const char *, int, int);
    int (*fstatat)(int, const char *, struct stat *, int);
    char *(*realpath)(const char *, char *);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    int (*sync_all)(int);
    int (*sync_data)(int);                  /* as much as is needed to read it again */
    int (*fadvise)(int, off_t, off_t, int); /* returns the error */
    off_t (*lseek)(int, off_t, int);
    int (*status_flags)(int); /* fcntl(F_GETFL) */
    int (*getentropy)(void *, size_t);
    ssize_t (*getdents)(int, void *, size_t); /* fills in struct dirent; not on macOS */
};

extern struct ferry__file_calls ferry__file_calls;

/* What a file is, by st_mode. */
enum ferry_file_type ferry__posix_type_of(mode_t mode);

/* FERRY_OPEN_... as flags of open(2): the descriptor is not inherited, and no terminal is taken. */
int ferry__posix_open_flags(unsigned how);

FERRY__OWN_END

#endif
