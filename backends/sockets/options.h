/* options.h - what the options of sockets need of a system: its own calls, each 0 or a negative
 * FERRY_E..., unless it says otherwise.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_SOCKETS_OPTIONS_H
#define FERRY_SOCKETS_OPTIONS_H

#include "ferry.h"
#include "port.h"

#include <stdbool.h>
#include <stddef.h>

FERRY__OWN_BEGIN

/* What a socket is. */
enum {
    IS_INET = 1 << 0,
    IS_INET6 = 1 << 1,
    IS_UNIX = 1 << 2,
    IS_STREAM = 1 << 3,
    IS_MESSAGES = 1 << 4,
    IS_UDP = 1 << 5,
    IS_IP = IS_INET | IS_INET6,
    IS_ANY = IS_STREAM | IS_MESSAGES
};

/* IS_... of fd, or an error. */
int ferry__socket_what(ferry_fd fd);
/* Has it a port already? */
bool ferry__socket_is_bound(ferry_fd fd);

/* What the system does not know, it has not: FERRY_ENOTSUP. is: what fd is, IS_... */
int ferry__socket_put(ferry_fd fd, int is, int level, int name, int value);
int ferry__socket_ask(ferry_fd fd, int is, int level, int name, int *value);
/* Seconds, -1: not set. */
int ferry__socket_linger_put(ferry_fd fd, int seconds);
int ferry__socket_linger_ask(ferry_fd fd, int *seconds);
/* For IPv4; 0: the system's choice. */
int ferry__socket_interface_put(ferry_fd fd, uint32_t interface_index);
/* source: NULL for all. */
int ferry__socket_membership(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                             const ferry_addr *source, bool join);

FERRY__OWN_END

#endif
