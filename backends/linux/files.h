/* files.h - what Linux can do with files beyond POSIX.
 *
 * Results are 0 or more, or a negative FERRY_E.... Another system brings the same functions in a
 * file of its own, as far as perform.c uses them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_LINUX_FILES_H
#define FERRY_LINUX_FILES_H

#include "os.h"

#include <sys/stat.h>

FERRY__OWN_BEGIN

/* ---- For worker threads: these may wait (perform.c) --------------------------------------- */

int64_t ferry__system_rename(const ferry_op *op, int dir, int new_dir);
int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len);
/* Fills buf with entries (struct ferry__entry): bytes, 0 at the end. */
int64_t ferry__system_list(int fd, char *buf, size_t len, bool restart);
/* Copies within the system, at most len bytes: what was copied. */
int64_t ferry__system_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t len);

/* Opens what lies beneath dir: a descriptor, or -1 and errno. */
int ferry__system_open_beneath(int dir, const char *path, int flags, mode_t mode);
/* Does anybody have this FIFO open for writing? fd: opened for reading. */
bool ferry__system_has_writer(int fd);
/* path: NULL for what fd is. */
int64_t ferry__system_stat(int fd, const char *path, bool follows, ferry_file *file);

#define FERRY__STAT_MASK (STATX_BASIC_STATS | STATX_BTIME)

/* What the kernel knows of a file, in our words. */
void ferry__linux_tell_file(const struct statx *from, ferry_file *file);

/* ---- For the loop's thread: what caches hold, so that none of these waits ------------------- */

/* Can the kernel look up a name without waiting for a device? */
bool ferry__linux_can_glance(void);
/* Fills *about for a name, if all of it is cached and the file system is a local one. resolve and
 * flags: as for openat2(2), flags of O_NOFOLLOW and O_DIRECTORY only. */
bool ferry__linux_glance(int dir, const char *path, int flags, uint64_t resolve,
                         struct statx *about);
/* The same for a descriptor. */
bool ferry__linux_glance_fd(int fd, struct statx *about);
/* Could closing fd, a file, take long? Not if nothing was written through it and its name stays. */
bool ferry__linux_close_is_long(int fd);

FERRY__OWN_END

#endif
