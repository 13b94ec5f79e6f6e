/* options.c - options of sockets, and membership of multicast groups, by the calls of POSIX; which
 * there are, backends/sockets/options.c knows.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "missing.h"
#include "os.h"
#include "sockets/options.h"
#include "socket_names.h"

#include <netinet/in.h>
#include <string.h>

/* ---- What a socket is -------------------------------------------------------------------- */

static int ask(ferry_fd fd, int name, int *value) {
    socklen_t len = sizeof *value;
    *value = 0;
    return ferry__calls.getsockopt(fd, SOL_SOCKET, name, value, &len) == 0 ? 0 : ferry__errno();
}

/* A name has it, also that of a socket without one. */
static int family_of(ferry_fd fd) {
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof name;
    (void)ferry__calls.getsockname(fd, (struct sockaddr *)&name, &len);
    return name.ss_family;
}

static bool is_udp(ferry_fd fd, int type) {
#ifdef SO_PROTOCOL
    int protocol;
    return type == SOCK_DGRAM && ask(fd, SO_PROTOCOL, &protocol) == 0 && protocol == IPPROTO_UDP;
#else
    (void)fd;
    return type == SOCK_DGRAM; /* there are hardly others (macOS: ICMP without rights) */
#endif
}

int ferry__socket_what(ferry_fd fd) {
    int type, is = 0;
    int error = ask(fd, SO_TYPE, &type);
    if (error != 0) return error;
    int family = family_of(fd);
    if (family == AF_INET) is |= IS_INET;
    if (family == AF_INET6) is |= IS_INET6;
    if (family == AF_UNIX) is |= IS_UNIX;
    is |= type == SOCK_STREAM ? IS_STREAM : IS_MESSAGES;
    return is & IS_IP && is_udp(fd, type) ? is | IS_UDP : is;
}

bool ferry__socket_is_bound(ferry_fd fd) {
    ferry_addr addr = {.len = sizeof addr.data.bytes};
    struct sockaddr *name = (struct sockaddr *)(void *)addr.data.bytes;
    socklen_t len = sizeof addr.data.bytes;
    if (ferry__calls.getsockname(fd, name, &len) != 0) return false;
    addr.len = len;
    return ferry_addr_port(&addr) != 0;
}

/* ---- Options ----------------------------------------------------------------------------- */

/* The kind of socket is right: what the system does not know, it has not. */
static int failure(void) {
    int error = ferry__errno();
    return error == FERRY_ENOPROTOOPT ? FERRY_ENOTSUP : error;
}

static int put(ferry_fd fd, int level, int name, const void *value, socklen_t len) {
    return ferry__calls.setsockopt(fd, level, name, value, len) == 0 ? 0 : failure();
}

int ferry__socket_put(ferry_fd fd, int is, int level, int name, int value) {
    (void)is;
    return put(fd, level, name, &value, sizeof value);
}

int ferry__socket_ask(ferry_fd fd, int is, int level, int name, int *value) {
    socklen_t len = sizeof *value;
    (void)is;
    return ferry__calls.getsockopt(fd, level, name, value, &len) == 0 ? 0 : failure();
}

int ferry__socket_linger_put(ferry_fd fd, int seconds) {
    struct linger linger = {.l_onoff = seconds >= 0, .l_linger = seconds >= 0 ? seconds : 0};
    return put(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int ferry__socket_linger_ask(ferry_fd fd, int *seconds) {
    struct linger linger = {.l_onoff = 0};
    socklen_t len = sizeof linger;
    if (ferry__calls.getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) != 0) return failure();
    *seconds = linger.l_onoff ? linger.l_linger : -1;
    return 0;
}

/* ---- Multicast --------------------------------------------------------------------------- */

int ferry__socket_interface_put(ferry_fd fd, uint32_t interface_index) {
#if defined(__NetBSD__) || defined(__OpenBSD__) /* by an address of the interface alone */
    (void)fd, (void)interface_index;
    return FERRY_ENOTSUP;
#else
    struct ip_mreqn by = {.imr_ifindex = (int)interface_index};
    return put(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by);
#endif
}

#ifdef MCAST_JOIN_GROUP

static void addr_put(struct sockaddr_storage *to, const ferry_addr *addr) {
    memcpy(to, addr->data.bytes, addr->len);
#ifndef __linux__ /* where an address knows its length, and the system looks at it here */
    to->ss_len = (uint8_t)addr->len;
#endif
}

int ferry__socket_membership(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                             const ferry_addr *source, bool join) {
    const struct sockaddr *name = (const struct sockaddr *)(const void *)group->data.bytes;
    int level = name->sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    if (source == NULL) {
        struct group_req request = {.gr_interface = interface_index};
        addr_put(&request.gr_group, group);
        return put(fd, level, join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &request,
                   sizeof request);
    }
    struct group_source_req request = {.gsr_interface = interface_index};
    addr_put(&request.gsr_group, group);
    addr_put(&request.gsr_source, source);
    return put(fd, level, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP, &request,
               sizeof request);
}

#else /* NetBSD, OpenBSD */

int ferry__socket_membership(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                             const ferry_addr *source, bool join) {
    (void)fd, (void)group, (void)interface_index, (void)source, (void)join;
    return FERRY_ENOTSUP;
}

#endif
