/* recv_send.c - recv(2) and send(2) as the C library has them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"

ssize_t ferry__recv(int fd, void *buf, size_t len, int flags) {
    return recv(fd, buf, len, flags);
}

ssize_t ferry__send(int fd, const void *buf, size_t len, int flags) {
    return send(fd, buf, len, flags);
}
