/* portable.h - one name for what systems name differently, and a neutral value for what they lack
 *
 * All conditionals on a system that the tests need, but for the files that meson.build chooses by
 * system (support/linux.c and its like) and the list of tables (tables.h). What is 0 here has no
 * effect where it is given, and is asked for in vain.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_PORTABLE_H
#define FERRY_TEST_PORTABLE_H

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifdef __APPLE__
#define st_atim st_atimespec
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#define TCP_KEEPIDLE TCP_KEEPALIVE
#endif

/* Whether there are Unix sockets for messages in order. */
#if defined(__APPLE__) || defined(_WIN32)
#define TEST_SEQPACKET 0
#else
#define TEST_SEQPACKET 1
#endif

/* Whether a Unix socket may have a name that is no path; whether symbolic links have permissions;
 * the loopback interface, and whether all of 127/8 is this machine; with what the opening of a
 * socket's path ends; a flag with which what is received on TCP is not copied; whether kqueue is
 * what the tests bring. */
#ifdef _WIN32
#define TEST_ABSTRACT 0
#define TEST_LINK_MODES 0
#define TEST_LOOPBACK posix_loopback()
#define TEST_LOOPBACK_IS_NET 1
#define TEST_OPENED_SOCKET FERRY_EACCES
#define TEST_MSG_DISCARD 0
#define TEST_KQUEUE_IS_FAKE 0
#elif defined(__linux__)
#define TEST_ABSTRACT 1
#define TEST_LINK_MODES 0
#define TEST_LOOPBACK "lo"
#define TEST_LOOPBACK_IS_NET 1
#define TEST_OPENED_SOCKET FERRY_ENXIO
#define TEST_MSG_DISCARD MSG_TRUNC
#define TEST_KQUEUE_IS_FAKE 1
#else
#define TEST_ABSTRACT 0
#define TEST_LINK_MODES 1
#define TEST_LOOPBACK "lo0"
#define TEST_LOOPBACK_IS_NET 0
#define TEST_OPENED_SOCKET FERRY_ENOTSUP
#define TEST_MSG_DISCARD 0
#define TEST_KQUEUE_IS_FAKE 0
#endif

/* Two signals that a program can send to itself and wait for. */
#ifdef _WIN32
#define SIGNAL_ONE SIGINT
#define SIGNAL_OTHER SIGTERM
#else
#define SIGNAL_ONE SIGUSR1
#define SIGNAL_OTHER SIGUSR2
#endif

/* What names the place of temporary files; whether this is Windows; how large an operation may be;
 * what is kept of permissions. */
#ifdef _WIN32
#define TEST_TEMP_VARIABLE "TEMP"
#define TEST_WINDOWS 1
#define TEST_OP_BYTES 192
#define TEST_MODE(mode) ((mode)&0200 ? 0666 : 0444)
#else
#define TEST_TEMP_VARIABLE "TMPDIR"
#define TEST_WINDOWS 0
#define TEST_OP_BYTES 128
#define TEST_MODE(mode) (mode)
#endif

#ifndef O_DIRECT
#define O_DIRECT 0
#endif

#ifndef O_DSYNC /* as FreeBSD 12 has not */
#define O_DSYNC O_SYNC
#endif

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

#endif
