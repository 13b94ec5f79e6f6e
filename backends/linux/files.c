/* files.c - the calls of files.h on Linux.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "core.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
    int result = ferry__file_calls.renameat2(dir, op->buf, new_dir, new_path, flags);
    return result == 0 ? 0 : ferry__errno();
}

int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len) {
    int result;
    do {
        result = ferry__file_calls.fallocate(fd, 0, (off_t)offset, (off_t)len);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : ferry__errno();
}

/* ---- Directories ------------------------------------------------------------------------- */

/* What getdents64(2) fills in. */
struct entry64 {
    uint64_t inode;
    int64_t position;
    uint16_t size;
    uint8_t type;
};
#define ENTRY64_HEAD 19u /* bytes before the name */

_Static_assert(offsetof(struct entry64, type) + 1 == ENTRY64_HEAD, "the kernel's layout");
_Static_assert(offsetof(struct ferry__entry, type) + 1 == FERRY__ENTRY_HEAD, "our layout");
_Static_assert(FERRY__ENTRY_HEAD <= ENTRY64_HEAD, "an entry of ours takes the place of one");

static enum ferry_file_type type_of_mode(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return FERRY_FILE_REGULAR;
    case S_IFDIR: return FERRY_FILE_DIRECTORY;
    case S_IFLNK: return FERRY_FILE_SYMLINK;
    case S_IFIFO: return FERRY_FILE_FIFO;
    case S_IFSOCK: return FERRY_FILE_SOCKET;
    case S_IFCHR: return FERRY_FILE_CHARACTER;
    case S_IFBLK: return FERRY_FILE_BLOCK;
    default: return FERRY_FILE_OTHER;
    }
}

/* Not every file system tells the type in passing: then it is asked for. */
static enum ferry_file_type type_of(int fd, const char *name, uint8_t type) {
    struct stat about;
    if (type != DT_UNKNOWN) return type_of_mode((mode_t)DTTOIF(type));
    if (ferry__file_calls.fstatat(fd, name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
        return FERRY_FILE_OTHER; /* it has gone meanwhile */
    }
    return type_of_mode(about.st_mode);
}

static bool is_dots(const char *name) {
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Makes the kernel's entries ours, in place: their bytes. */
static size_t entries_convert(int fd, char *buf, size_t bytes) {
    size_t at = 0, end = 0;
    while (at < bytes) {
        struct entry64 from;
        memcpy(&from, buf + at, ENTRY64_HEAD);
        char *name = buf + at + ENTRY64_HEAD;
        at += from.size;
        if (is_dots(name)) continue;
        size_t name_len = strlen(name) + 1;
        struct ferry__entry to = {.inode = from.inode,
                                  .size = (uint16_t)(FERRY__ENTRY_HEAD + name_len),
                                  .type = (uint8_t)type_of(fd, name, from.type)};
        memcpy(buf + end, &to, FERRY__ENTRY_HEAD);
        memmove(buf + end + FERRY__ENTRY_HEAD, name, name_len);
        end += to.size;
    }
    return end;
}

int64_t ferry__system_list(int fd, char *buf, size_t len, bool restart) {
    if (len > INT_MAX) len = INT_MAX;
    if (restart && ferry__file_calls.lseek(fd, 0, SEEK_SET) < 0) {
        return errno == ESPIPE ? FERRY_ENOTDIR : ferry__errno();
    }
    for (;;) {
        ssize_t got = ferry__file_calls.getdents(fd, buf, len);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno == EINVAL ? FERRY_ENOROOM : ferry__errno();
        size_t bytes = entries_convert(fd, buf, (size_t)got);
        if (got == 0 || bytes > 0) return (int64_t)bytes; /* else there were only "." and ".." */
    }
}

/* ---- Copying ----------------------------------------------------------------------------- */

int64_t ferry__system_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t len) {
    off_t in = (off_t)from_offset, out = (off_t)to_offset;
    ssize_t moved;
    do {
        moved = ferry__file_calls.copy_file_range(from, &in, to, &out, len, 0);
    } while (moved < 0 && errno == EINTR);
    return moved >= 0 ? moved : ferry__errno();
}

/* ---- What is known of a file ------------------------------------------------------------- */

static int64_t time_ns(const struct statx_timestamp *time) {
    return time->tv_sec * 1000000000 + time->tv_nsec;
}

void ferry__linux_tell_file(const struct statx *from, ferry_file *file) {
    file->type = type_of_mode(from->stx_mode);
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
    if (ferry__file_calls.statx(fd, name, flags, FERRY__STAT_MASK, &about) != 0) {
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
        fd = ferry__file_calls.openat2(dir, path, &how);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    if (fd < 0 && errno == ENOSYS) errno = EOPNOTSUPP;
    return fd;
}

/* With nothing to be read, a pipe without writers is at its end, and one with writers is not:
 * tee(2) tells, and takes nothing. */
bool ferry__system_has_writer(int fd) {
    int fds[2];
    struct pollfd look = {.fd = fd, .events = POLLIN};
    /* There is something, or one has come and gone since we opened (POLLHUP tells just that). */
    if (ferry__calls.poll(&look, 1, 0) > 0) return true;
    if (ferry__calls.pipe(fds, O_CLOEXEC) != 0) return true; /* it is found out by reading, then */
    ssize_t got = tee(fd, fds[1], 1, SPLICE_F_NONBLOCK);
    (void)ferry__calls.close(fds[0]);
    (void)ferry__calls.close(fds[1]);
    return got != 0;
}

/* ---- Without waiting --------------------------------------------------------------------- */

bool ferry__linux_can_glance(void) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
    int fd = ferry__file_calls.openat2(AT_FDCWD, "/", &how);
    if (fd >= 0) (void)ferry__calls.close(fd);
    return fd >= 0 || errno == EAGAIN;
}

/* A file system without a device of its own may be on the network, or a program: even what it has
 * cached may have to be asked for. */
bool ferry__linux_glance_fd(int fd, struct statx *about) {
    int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    return ferry__file_calls.statx(fd, "", flags, FERRY__STAT_MASK, about) == 0 &&
           about->stx_dev_major != 0;
}

bool ferry__linux_glance(int dir, const char *path, int flags, uint64_t resolve,
                         struct statx *about) {
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_PATH | O_CLOEXEC),
                           .resolve = resolve | RESOLVE_CACHED};
    int fd = ferry__file_calls.openat2(dir, path, &how);
    if (fd < 0) return false;
    bool seen = ferry__linux_glance_fd(fd, about);
    (void)ferry__calls.close(fd);
    return seen;
}

bool ferry__linux_close_is_long(int fd) {
    struct statx about;
    int flags = ferry__file_calls.status_flags(fd);
    if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY) return true;
    /* The last close of a file without a name frees all that it held. */
    return !ferry__linux_glance_fd(fd, &about) || about.stx_nlink == 0;
}
