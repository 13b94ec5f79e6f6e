/* recv_send.c - recv(2) and send(2) without the C library's detour.
 *
 * Its own are points of cancellation: as soon as a process has two threads each call turns that on
 * and off again, with an atomic exchange for either. The library's calls never wait, so that nobody
 * needs to be cancelled in them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "posix/calls.h"

#include <sys/syscall.h>
#include <unistd.h>

ssize_t ferry__recv(int fd, void *buf, size_t len, int flags) {
    return syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}

ssize_t ferry__send(int fd, const void *buf, size_t len, int flags) {
    return syscall(SYS_sendto, fd, buf, len, flags, NULL, 0);
}
