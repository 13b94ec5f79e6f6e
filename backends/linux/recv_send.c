/* recv_send.c - recv(2) and send(2) without the C library's detour.
 *
 * Its own are points of cancellation: as soon as a process has two threads each call turns that on
 * and off again, with an atomic exchange for either. The library's calls never wait, so that nobody
 * needs to be cancelled in them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "linux/system_call.h"
#include "posix/calls.h"

/* Out of the way, so that the calls themselves save no registers. */
static FERRY__NOINLINE ssize_t failed(long result) {
    errno = (int)-result;
    return -1;
}

static inline ssize_t told(long result) {
    return FERRY__LIKELY(result >= 0) ? result : failed(result);
}

ssize_t ferry__recv(int fd, void *buf, size_t len, int flags) {
    return told(ferry__system_call(SYS_recvfrom, fd, (long)buf, (long)len, flags, 0, 0));
}

ssize_t ferry__send(int fd, const void *buf, size_t len, int flags) {
    return told(ferry__system_call(SYS_sendto, fd, (long)buf, (long)len, flags, 0, 0));
}
