/* kinds.h - families and types of sockets, ours and a system's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_SOCKETS_KINDS_H
#define FERRY_SOCKETS_KINDS_H

#include "os.h"

#include "socket_names.h"

FERRY__OWN_BEGIN

_Static_assert(sizeof(struct sockaddr_un) <= sizeof(((ferry_addr *)0)->data), "addresses fit");

static inline const struct sockaddr *ferry__sockaddr(const ferry_addr *addr) {
    return (const struct sockaddr *)(const void *)addr->data.bytes;
}

/* -1: there is none such. */
static inline int ferry__system_family(enum ferry_family family) {
    switch (family) {
    case FERRY_INET: return AF_INET;
    case FERRY_INET6: return AF_INET6;
    case FERRY_UNIX: return AF_UNIX;
    }
    return -1;
}

static inline int ferry__system_type(enum ferry_socket_type type) {
    switch (type) {
    case FERRY_STREAM: return SOCK_STREAM;
    case FERRY_DATAGRAM: return SOCK_DGRAM;
    case FERRY_SEQPACKET: return SOCK_SEQPACKET;
    }
    return -1;
}

static inline enum ferry__fd_kind ferry__kind_of_type(int type) {
    if (type == SOCK_STREAM) return KIND_STREAM;
    return type == SOCK_SEQPACKET ? KIND_SEQPACKET : KIND_MESSAGE;
}

FERRY__OWN_END

#endif
