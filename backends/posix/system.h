/* system.h - what every POSIX system can do beyond POSIX, each in its own way: backends/linux, and
 * backends/bsd for the BSDs and macOS.
 *
 * Results are 0 or more, or a negative FERRY_E..., unless they say otherwise.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_SYSTEM_H
#define FERRY_POSIX_SYSTEM_H

#include "os.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

FERRY__OWN_BEGIN

/* ---- Files, for worker threads: these may wait (perform.c) --------------------------------- */

int64_t ferry__system_rename(const ferry_op *op, int dir, int new_dir);
int64_t ferry__system_allocate(int fd, uint64_t offset, uint64_t len);
/* Fills buf with entries (struct ferry__entry): bytes, 0 at the end. */
int64_t ferry__system_list(int fd, char *buf, size_t len, bool restart);
/* Copies within the system, at most len bytes: what was copied. FERRY_ENOTSUP: not here. */
int64_t ferry__system_copy(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t len);
/* Opens what lies beneath dir: a descriptor, or -1 and errno. */
int ferry__system_open_beneath(int dir, const char *path, int flags, mode_t mode);
/* path: NULL for what fd is. */
int64_t ferry__system_stat(int fd, const char *path, bool follows, ferry_file *file);

/* ---- Files, for the loop's thread: what caches hold, so that none of these waits ------------- */

/* Can the system tell what is cached? If not, the others say that nothing is. */
bool ferry__system_knows_caches(void);
/* A descriptor of a file or a directory; -1: a worker has to see to it. flags: as for open(2). */
int ferry__system_open_cached(int dir, const char *path, int flags, bool beneath);
/* Fills *file if it can. path: NULL for what fd is. */
bool ferry__system_stat_cached(int fd, const char *path, bool follows, ferry_file *file);
/* Could closing fd, a file, take long? Not if nothing was written through it and its name stays. */
bool ferry__system_close_is_long(int fd);

/* ---- Children ------------------------------------------------------------------------------ */

/* A descriptor that is readable once this child has ended; or FERRY_ECHILD, FERRY_EMFILE, ... */
int ferry__system_child_open(int64_t pid);
/* Takes the child from the system's table: 0; 1 if it is not there to be taken yet; or an error.
 * how: NULL if nobody wants to know. */
int ferry__system_child_take(int fd, int64_t pid, ferry_exit *how);

/* ---- Descriptors, by plain calls (os.c) -------------------------------------------------------
 */

int ferry__posix_unread(int fd); /* bytes that can be read now */
bool ferry__posix_is_tcp(int fd);

/* ---- Sockets --------------------------------------------------------------------------------- */

/* Has the other end said that it writes no more, though there may be something to read before
 * that? Where poll(2) does not tell. */
bool ferry__system_hung_up(int fd);

FERRY__OWN_END

#endif
