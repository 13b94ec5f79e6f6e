/* files.h - what the kernel has cached of files, for those who look at it themselves: the ring.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_LINUX_FILES_H
#define FERRY_LINUX_FILES_H

#include "ferry.h"
#include "port.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

FERRY__OWN_BEGIN

#define FERRY__STAT_MASK (STATX_BASIC_STATS | STATX_BTIME)

/* What the kernel knows of a file, in our words. */
void ferry__linux_tell_file(const struct statx *from, ferry_file *file);

/* Fills *about for a name, if all of it is cached and the file system is a local one. resolve and
 * flags: as for openat2(2), flags of O_NOFOLLOW and O_DIRECTORY only. */
bool ferry__linux_glance(int dir, const char *path, int flags, uint64_t resolve,
                         struct statx *about);
/* The same for a descriptor. */
bool ferry__linux_glance_fd(int fd, struct statx *about);

FERRY__OWN_END

#endif
