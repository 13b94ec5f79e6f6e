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
#ifndef POLLRDHUP /* the BSDs and macOS: ferry__system_hung_up() */
#define POLLRDHUP 0
#endif

#endif
