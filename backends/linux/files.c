/* files.c - files on Linux: the calls of system.h, and of files.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include "calls.h"
#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "../posix/system.h"
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- Names, space ------------------------------------------------------------------------ */

int64_t ferry__system_rename(const ferry_op *op, int dir, int new_dir) {
    const char *new_path = (const char *)(uintptr_t)op->offset;
    unsigned flags = op->asked & FERRY_NOREPLACE  ? RENAME_NOREPLACE
                     : op->asked & FERRY_EXCHANGE ? RENAME_EXCHANGE
                                                  : 0;
    int result = ferry__linux_calls.renameat2(dir, op->buf, new_dir, new_path, flags);
    return result == 0 ? 0 : ferry__errno();
}

int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len) {
    int result = ferry__linux_calls.fallocate(fd, 0, (off_t)offset, (off_t)len);
    return result == 0 ? 0 : ferry__errno();
}

/* ---- Copying ----------------------------------------------------------------------------- */

int64_t ferry__system_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t len) {
    off_t in = (off_t)from_offset, out = (off_t)to_offset;
    ssize_t moved = ferry__linux_calls.copy_file_range(from, &in, to, &out, len, 0);
    return moved >= 0 ? moved : ferry__errno();
}

/* ---- What is known of a file ------------------------------------------------------------- */

static int64_t time_ns(const struct statx_timestamp *time) {
    return time->tv_sec * 1000000000 + time->tv_nsec;
}

void ferry__linux_tell_file(const struct statx *from, ferry_file *file) {
    file->type = ferry__posix_type_of(from->stx_mode);
    file->permissions = from->stx_mode & 07777u;
    file->user = from->stx_uid;
    file->group = from->stx_gid;
    file->size = from->stx_size;
    file->allocated = from->stx_blocks * 512;
    file->links = from->stx_nlink;
    file->device = makedev(from->stx_dev_major, from->stx_dev_minor);
    file->inode = from->stx_ino;
    file->accessed_ns = time_ns(&from->stx_atime);
    file->modified_ns = time_ns(&from->stx_mtime);
    file->changed_ns = time_ns(&from->stx_ctime);
    file->created_ns = from->stx_mask & STATX_BTIME ? time_ns(&from->stx_btime) : 0;
}

int64_t ferry__system_stat(int fd, const char *path, bool follows, ferry_file *file) {
    struct statx about;
    int flags = path == NULL ? AT_EMPTY_PATH : follows ? 0 : AT_SYMLINK_NOFOLLOW;
    const char *name = path == NULL ? "" : path;
    if (ferry__linux_calls.statx(fd, name, flags, FERRY__STAT_MASK, &about) != 0) {
        return ferry__errno();
    }
    ferry__linux_tell_file(&about, file);
    return 0;
}

/* ---- Opening ----------------------------------------------------------------------------- */

#define RACES_MAX 64

/* The kernel says EAGAIN when something was renamed while it looked where ".." leads. */
int ferry__system_open_beneath(int dir, const char *path, int flags, mode_t mode) {
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags, .mode = mode, .resolve = RESOLVE_BENEATH};
    int fd = -1;
    for (int i = 0; i < RACES_MAX; i++) {
        fd = ferry__linux_calls.openat2(dir, path, &how);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    if (fd < 0 && errno == ENOSYS) errno = EOPNOTSUPP;
    return fd;
}

/* ---- Without waiting --------------------------------------------------------------------- */

bool ferry__system_knows_caches(void) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
    int fd = ferry__linux_calls.openat2(AT_FDCWD, "/", &how);
    if (fd >= 0) (void)ferry__calls.close(fd);
    return fd >= 0 || errno == EAGAIN;
}

/* A file system without a device of its own may be on the network, or a program: even what it has
 * cached may have to be asked for. */
bool ferry__linux_glance_fd(int fd, struct statx *about) {
    int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    return ferry__linux_calls.statx(fd, "", flags, FERRY__STAT_MASK, about) == 0 &&
           about->stx_dev_major != 0;
}

bool ferry__linux_glance(int dir, const char *path, int flags, uint64_t resolve,
                         struct statx *about) {
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_PATH | O_CLOEXEC),
                           .resolve = resolve | RESOLVE_CACHED};
    int fd = ferry__linux_calls.openat2(dir, path, &how);
    if (fd < 0) return false;
    bool seen = ferry__linux_glance_fd(fd, about);
    (void)ferry__calls.close(fd);
    return seen;
}

int ferry__system_open_cached(int dir, const char *path, int flags, bool beneath) {
    uint64_t resolve = beneath ? RESOLVE_BENEATH : 0;
    struct statx about;
    if (!ferry__linux_glance(dir, path, flags & (O_NOFOLLOW | O_DIRECTORY), resolve, &about) ||
        (!S_ISREG(about.stx_mode) && !S_ISDIR(about.stx_mode))) {
        return -1;
    }
    /* Another may have taken its place: then it must not wait for that, nor be that. */
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_NONBLOCK),
                           .resolve = resolve | RESOLVE_CACHED};
    int fd = ferry__linux_calls.openat2(dir, path, &how);
    struct stat opened;
    if (fd < 0) return -1;
    if (ferry__calls.fstat(fd, &opened) == 0 &&
        (S_ISREG(opened.st_mode) || S_ISDIR(opened.st_mode)) &&
        ferry__calls.set_blocking(fd, 1) >= 0) {
        return fd;
    }
    (void)ferry__calls.close(fd);
    return -1;
}

bool ferry__system_stat_cached(int fd, const char *path, bool follows, ferry_file *file) {
    struct statx about;
    bool known = path == NULL ? ferry__linux_glance_fd(fd, &about)
                              : ferry__linux_glance(fd, path, follows ? 0 : O_NOFOLLOW, 0, &about);
    if (known) ferry__linux_tell_file(&about, file);
    return known;
}

bool ferry__system_close_is_long(int fd) {
    struct statx about;
    int flags = ferry__file_calls.status_flags(fd);
    if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY) return true;
    /* The last close of a file without a name frees all that it held. */
    return !ferry__linux_glance_fd(fd, &about) || about.stx_nlink == 0;
}
