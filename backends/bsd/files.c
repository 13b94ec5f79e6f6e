/* files.c - files on the BSDs and macOS: the calls of system.h.
 *
 * Nothing tells what is cached, so that all of it is for workers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "../posix/missing.h"
#include "../posix/system.h"
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int64_t told(int result) {
    return result == 0 ? 0 : ferry__errno();
}

/* ---- Names, space ------------------------------------------------------------------------ */

#ifdef RENAME_EXCL /* macOS */

int64_t ferry__system_rename(const ferry_op *op, int dir, int new_dir) {
    const char *new_path = (const char *)(uintptr_t)op->offset;
    unsigned flags = op->asked & FERRY_NOREPLACE  ? RENAME_EXCL
                     : op->asked & FERRY_EXCHANGE ? RENAME_SWAP
                                                  : 0;
    return told(renameatx_np(dir, op->buf, new_dir, new_path, flags));
}

#else

/* A directory takes the place of an empty one, and nothing else's. */
static int64_t directory_in_new_place(const char *path, int dir, const char *new_path,
                                      int new_dir) {
    if (ferry__file_calls.mkdirat(new_dir, new_path, 0700) != 0) return ferry__errno();
    if (renameat(dir, path, new_dir, new_path) == 0) return 0;
    int64_t error = ferry__errno();
    if (error == FERRY_ENOTEMPTY) return FERRY_EEXIST; /* somebody has filled it already */
    (void)ferry__file_calls.unlinkat(new_dir, new_path, AT_REMOVEDIR);
    return error;
}

/* A name is never given to two files, so that a second name, then the end of the first, replaces
 * nothing. In between there are both. */
static int64_t in_new_place(const char *path, int dir, const char *new_path, int new_dir) {
    struct stat about;
    if (ferry__file_calls.fstatat(dir, path, &about, AT_SYMLINK_NOFOLLOW) != 0) {
        return ferry__errno();
    }
    if (S_ISDIR(about.st_mode)) return directory_in_new_place(path, dir, new_path, new_dir);
    if (ferry__file_calls.linkat(dir, path, new_dir, new_path, 0) != 0) return ferry__errno();
    if (ferry__file_calls.unlinkat(dir, path, 0) == 0) return 0;
    int64_t error = ferry__errno();
    (void)ferry__file_calls.unlinkat(new_dir, new_path, 0);
    return error;
}

int64_t ferry__system_rename(const ferry_op *op, int dir, int new_dir) {
    const char *new_path = (const char *)(uintptr_t)op->offset;
    if (op->asked & FERRY_EXCHANGE) return FERRY_ENOTSUP;
    if (op->asked & FERRY_NOREPLACE) return in_new_place(op->buf, dir, new_path, new_dir);
    return told(renameat(dir, op->buf, new_dir, new_path));
}

#endif

#if FERRY__HAS_POSIX_FALLOCATE

int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len) {
    return ferry_error_from_system(posix_fallocate(fd, (off_t)offset, (off_t)len));
}

#elif defined(F_PREALLOCATE)

/* Room behind the end of the file, which ftruncate(2) then makes part of it. */
int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len) {
    struct stat about;
    if (ferry__calls.fstat(fd, &about) != 0) return ferry__errno();
    int64_t more = (int64_t)(offset + len) - about.st_size;
    if (more <= 0) return 0; /* what is within the file cannot be asked for */
    fstore_t store = {.fst_flags = F_ALLOCATEALL, .fst_posmode = F_PEOFPOSMODE, .fst_length = more};
    if (fcntl(fd, F_PREALLOCATE, &store) != 0) return ferry__errno();
    return told(ferry__calls.ftruncate(fd, (off_t)(offset + len)));
}

#else /* OpenBSD, DragonFly */

int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len) {
    (void)fd, (void)offset, (void)len;
    return FERRY_ENOTSUP;
}

#endif

/* FreeBSD has copy_file_range(2) since 13; here it would be one more way for what reading and
 * writing do as well. */
int64_t ferry__system_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t len) {
    (void)from, (void)from_offset, (void)to_offset, (void)len;
    int flags = ferry__file_calls.status_flags(to);
    /* Every write would go to its end. */
    return flags >= 0 && flags & O_APPEND ? FERRY_EBADF : FERRY_ENOTSUP;
}

/* ---- What is known of a file ------------------------------------------------------------- */

static int64_t time_ns(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

/* Not known to every system, nor to every file system. */
static int64_t created_ns(const struct stat *from) {
#if FERRY__HAS_BIRTHTIME
    return from->st_birthtim.tv_sec == (time_t)-1 ? 0 : time_ns(&from->st_birthtim);
#else
    (void)from;
    return 0;
#endif
}

int64_t ferry__system_stat(int fd, const char *path, bool follows, ferry_file *file) {
    struct stat from;
    int result = path == NULL ? ferry__calls.fstat(fd, &from)
                              : ferry__file_calls.fstatat(fd, path, &from,
                                                          follows ? 0 : AT_SYMLINK_NOFOLLOW);
    if (result != 0) return ferry__errno();
    file->type = ferry__posix_type_of(from.st_mode);
    file->permissions = from.st_mode & 07777u;
    file->user = from.st_uid;
    file->group = from.st_gid;
    file->size = (uint64_t)from.st_size;
    file->allocated = (uint64_t)from.st_blocks * 512;
    file->links = (uint32_t)from.st_nlink;
    file->device = (uint64_t)from.st_dev;
    file->inode = from.st_ino;
    file->accessed_ns = time_ns(&from.st_atim);
    file->modified_ns = time_ns(&from.st_mtim);
    file->changed_ns = time_ns(&from.st_ctim);
    file->created_ns = created_ns(&from);
    return 0;
}

/* ---- Without waiting --------------------------------------------------------------------- */

bool ferry__system_knows_caches(void) {
    return false;
}

int ferry__system_open_cached(int dir, const char *path, int flags, bool beneath) {
    (void)dir, (void)path, (void)flags, (void)beneath;
    return -1;
}

bool ferry__system_stat_cached(int fd, const char *path, bool follows, ferry_file *file) {
    (void)fd, (void)path, (void)follows, (void)file;
    return false;
}

bool ferry__system_close_is_long(int fd) {
    (void)fd;
    return true;
}
