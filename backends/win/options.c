/* options.c - options of sockets, and membership of multicast groups, by the calls of Winsock;
 * which there are, backends/sockets/options.c knows.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sockets/options.h"

#include "os.h"
#include "socket_names.h"

#include <string.h>

/* ---- What a socket is -------------------------------------------------------------------- */

int ferry__socket_what(ferry_fd fd) {
    WSAPROTOCOL_INFOW about;
    int len = sizeof about, is = 0;
    if (getsockopt(ferry__win_socket(fd), SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&about, &len)) {
        return ferry__win_error_on(fd);
    }
    if (about.iAddressFamily == AF_INET) is |= IS_INET;
    if (about.iAddressFamily == AF_INET6) is |= IS_INET6;
    if (about.iAddressFamily == AF_UNIX) is |= IS_UNIX;
    is |= about.iSocketType == SOCK_STREAM ? IS_STREAM : IS_MESSAGES;
    bool udp = about.iSocketType == SOCK_DGRAM && about.iProtocol == IPPROTO_UDP;
    return is & IS_IP && udp ? is | IS_UDP : is;
}

bool ferry__socket_is_bound(ferry_fd fd) {
    ferry_addr addr = {.len = sizeof addr.data.bytes};
    int len = sizeof addr.data.bytes;
    struct sockaddr *name = (struct sockaddr *)(void *)addr.data.bytes;
    if (getsockname(ferry__win_socket(fd), name, &len) != 0) return false; /* it has no name */
    addr.len = (uint32_t)len;
    return ferry_addr_port(&addr) != 0;
}

/* ---- Options ----------------------------------------------------------------------------- */

/* The kind of socket is right: what the system does not know, it has not. */
static int failure(void) {
    int error = ferry__win_socket_error();
    return error == FERRY_ENOPROTOOPT ? FERRY_ENOTSUP : error;
}

static int put(ferry_fd fd, int level, int name, const void *value, size_t len) {
    return setsockopt(ferry__win_socket(fd), level, name, value, (int)len) == 0 ? 0 : failure();
}

/* Nothing about the question can be wrong but that nobody knows the option, or its level. */
static int ask(SOCKET socket, int level, int name, int *value) {
    int len = sizeof *value;
    *value = 0; /* of some it writes less */
    if (getsockopt(socket, level, name, (char *)value, &len) == 0) return 0;
    int error = failure();
    return error == FERRY_EINVAL ? FERRY_ENOTSUP : error;
}

static bool is_option(int level, int name, int wanted_level, int wanted_name) {
    return level == wanted_level && name == wanted_name;
}

/* What this option does elsewhere, every TCP socket has here; what it does here, other programs'
 * taking of our port, nobody can want. */
static bool is_reuse_of_tcp(int is, int level, int name) {
    return is & IS_STREAM && is_option(level, name, SOL_SOCKET, SO_REUSEADDR);
}

/* The system's own number of hops is what a new socket has. */
static int hops_default(int is, int level, int name, int *value) {
    SOCKET fresh = ferry__win_socket_make(is & IS_INET6 ? AF_INET6 : AF_INET,
                                          is & IS_STREAM ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (fresh == INVALID_SOCKET) return ferry__win_socket_error();
    int error = ask(fresh, level, name, value);
    (void)closesocket(fresh);
    return error;
}

static bool is_hops(int level, int name) {
    return is_option(level, name, IPPROTO_IP, IP_TTL) ||
           is_option(level, name, IPPROTO_IPV6, IPV6_UNICAST_HOPS) ||
           is_option(level, name, IPPROTO_IP, IP_MULTICAST_TTL) ||
           is_option(level, name, IPPROTO_IPV6, IPV6_MULTICAST_HOPS);
}

/* Limits of the protocol's options: the system takes some values beyond, and does not keep them. */
static bool is_possible(int level, int name, int value) {
    if (level != IPPROTO_TCP) return true;
    if (name == TCP_KEEPIDLE || name == TCP_KEEPINTVL) return value >= 1 && value <= 32767;
    return name != TCP_KEEPCNT || (value >= 1 && value <= 255);
}

int ferry__socket_put(ferry_fd fd, int is, int level, int name, int value) {
    if (is_reuse_of_tcp(is, level, name)) return 0;
    if (!is_possible(level, name, value)) return FERRY_EINVAL;
    if (value < 0 && is_hops(level, name)) {
        int error = hops_default(is, level, name, &value);
        if (error != 0) return error;
    }
    /* Not a switch here, but how long the whole may become. */
    if (is_option(level, name, OFFLOAD_LEVEL, UDP_GRO) && value != 0) value = UINT16_MAX;
    int error = put(fd, level, name, &value, sizeof value), is_known = 0;
    if (error != FERRY_EINVAL) return error;
    int asked = ask(ferry__win_socket(fd), level, name, &is_known);
    return asked == FERRY_ENOTSUP ? FERRY_ENOTSUP : error;
}

int ferry__socket_ask(ferry_fd fd, int is, int level, int name, int *value) {
    if (is_reuse_of_tcp(is, level, name)) {
        *value = 1;
        return 0;
    }
    return ask(ferry__win_socket(fd), level, name, value);
}

int ferry__socket_linger_put(ferry_fd fd, int seconds) {
    if (seconds > UINT16_MAX) return FERRY_EINVAL;
    struct linger linger = {.l_onoff = seconds >= 0,
                            .l_linger = seconds >= 0 ? (u_short)seconds : 0};
    return put(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int ferry__socket_linger_ask(ferry_fd fd, int *seconds) {
    struct linger linger = {.l_onoff = 0};
    int len = sizeof linger;
    if (getsockopt(ferry__win_socket(fd), SOL_SOCKET, SO_LINGER, (char *)&linger, &len) != 0) {
        return failure();
    }
    *seconds = linger.l_onoff ? linger.l_linger : -1;
    return 0;
}

/* ---- Multicast --------------------------------------------------------------------------- */

/* An index goes as an address of the network 0.0.0.0/8. */
int ferry__socket_interface_put(ferry_fd fd, uint32_t interface_index) {
    if (interface_index > 0xffffff) return FERRY_ENODEV;
    const DWORD by = htonl(interface_index);
    return put(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by);
}

/* RFC 3678 has a name for each thing that can be wrong, Winsock two codes for all of them. */
static int membership_error(int error, uint32_t interface_index, bool join) {
    char name[IF_NAMESIZE];
    if (error != FERRY_EINVAL && error != FERRY_EADDRNOTAVAIL) return error;
    if (interface_index != 0 && if_indextoname(interface_index, name) == NULL) return FERRY_ENODEV;
    return join ? FERRY_EADDRINUSE : FERRY_EADDRNOTAVAIL;
}

/* Interfaces of IPv4 as above. All of these are as good as the newer MCAST_JOIN_GROUP, which takes
 * addresses of either family. */
static int membership_inet(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                           const ferry_addr *source, bool join) {
    struct sockaddr_in in, from;
    memcpy(&in, group->data.bytes, sizeof in);
    if (interface_index > 0xffffff) return FERRY_EADDRNOTAVAIL;
    if (source == NULL) {
        struct ip_mreq request = {.imr_multiaddr = in.sin_addr};
        request.imr_interface.s_addr = htonl(interface_index);
        return put(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &request,
                   sizeof request);
    }
    memcpy(&from, source->data.bytes, sizeof from);
    struct ip_mreq_source request = {.imr_multiaddr = in.sin_addr, .imr_sourceaddr = from.sin_addr};
    request.imr_interface.s_addr = htonl(interface_index);
    return put(fd, IPPROTO_IP, join ? IP_ADD_SOURCE_MEMBERSHIP : IP_DROP_SOURCE_MEMBERSHIP,
               &request, sizeof request);
}

static int membership_inet6(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                            const ferry_addr *source, bool join) {
    if (source == NULL) {
        struct sockaddr_in6 in6;
        memcpy(&in6, group->data.bytes, sizeof in6);
        struct ipv6_mreq request = {.ipv6mr_multiaddr = in6.sin6_addr,
                                    .ipv6mr_interface = interface_index};
        return put(fd, IPPROTO_IPV6, join ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP, &request,
                   sizeof request);
    }
    GROUP_SOURCE_REQ request = {.gsr_interface = interface_index};
    memcpy(&request.gsr_group, group->data.bytes, sizeof(struct sockaddr_in6));
    memcpy(&request.gsr_source, source->data.bytes, sizeof(struct sockaddr_in6));
    return put(fd, IPPROTO_IPV6, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP,
               &request, sizeof request);
}

int ferry__socket_membership(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                             const ferry_addr *source, bool join) {
    const struct sockaddr *name = (const struct sockaddr *)(const void *)group->data.bytes;
    int error = name->sa_family == AF_INET
                    ? membership_inet(fd, group, interface_index, source, join)
                    : membership_inet6(fd, group, interface_index, source, join);
    return membership_error(error, interface_index, join);
}
