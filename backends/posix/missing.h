/* missing.h - names that not every POSIX system has, with a value that does nothing where there are
 * none. Comes after the system's headers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_MISSING_H
#define FERRY_POSIX_MISSING_H

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#if FERRY__PLAIN /* the build that has nothing but what all have (meson.build) */
#undef MAP_NORESERVE
#undef MSG_CMSG_CLOEXEC
#undef O_DIRECT
#undef O_DSYNC
#undef POLLRDHUP
#undef SO_DOMAIN
#undef SO_PROTOCOL
#endif

#ifndef MAP_NORESERVE /* FreeBSD and DragonFly never reserve */
#define MAP_NORESERVE 0
#endif
#ifndef MSG_CMSG_CLOEXEC /* macOS: descriptors are made so when they have come */
#define MSG_CMSG_CLOEXEC 0
#endif
#ifndef O_DIRECT /* macOS, OpenBSD */
#define O_DIRECT 0
#endif
#ifndef O_DSYNC /* FreeBSD before 13, DragonFly */
#define O_DSYNC O_SYNC
#endif
#ifndef POSIX_FADV_NORMAL /* macOS, OpenBSD: nobody listens */
#define POSIX_FADV_NORMAL 0
#define POSIX_FADV_SEQUENTIAL 0
#define POSIX_FADV_RANDOM 0
#define POSIX_FADV_WILLNEED 0
#define POSIX_FADV_DONTNEED 0
#define POSIX_FADV_NOREUSE 0
#endif
#ifdef __APPLE__ /* the same under names of its own */
#define st_atim st_atimespec
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#define st_birthtim st_birthtimespec
#endif
#ifndef POLLRDHUP /* the BSDs and macOS: ferry__system_hung_up() */
#define POLLRDHUP 0
#endif

#endif
