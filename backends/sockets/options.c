/* options.c - options of sockets, and membership of multicast groups: ordinary functions.
 *
 * A table says which sockets have an option and what the system calls it. The kind of socket is
 * looked at here, since systems take options silently that mean nothing, or refuse them each in
 * words of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "options.h"

#include "core.h"
#include "socket_names.h"

#include <string.h>

/* ---- The options ------------------------------------------------------------------------- */

enum {
    SWITCH = 1 << 0, /* 0 or 1 */
    EARLY = 1 << 1,  /* before it is bound */
    BOTH = 1 << 2    /* on an IPv6 socket also for the IPv4 that it may carry */
};

struct option {
    uint8_t family, sort; /* IS_...: one of each must be there */
    uint8_t flags;
    int level, name; /* level 0: by family: name is that of IPv4 */
    int name6;       /* and this that of IPv6 */
    int32_t least, most;
};

#define TCP IS_IP, IS_STREAM
#define MESSAGES IS_IP, IS_MESSAGES
#define WHOLE 0, INT32_MAX
#define OCTET 0, 255

static const struct option options[] = {
    [FERRY_OPT_REUSE_ADDR] = {IS_IP, IS_ANY, SWITCH | EARLY, SOL_SOCKET, SO_REUSEADDR, 0, 0, 1},
    [FERRY_OPT_REUSE_PORT] = {IS_IP, IS_ANY, SWITCH | EARLY, SHARE_LEVEL, SO_REUSEPORT, 0, 0, 1},
    [FERRY_OPT_V6ONLY] = {IS_INET6, IS_ANY, SWITCH | EARLY, IPPROTO_IPV6, IPV6_V6ONLY, 0, 0, 1},
    [FERRY_OPT_SEND_BUFFER_BYTES] = {IS_ANY, IS_ANY, 0, SOL_SOCKET, SO_SNDBUF, 0, WHOLE},
    [FERRY_OPT_RECV_BUFFER_BYTES] = {IS_ANY, IS_ANY, 0, SOL_SOCKET, SO_RCVBUF, 0, WHOLE},
    [FERRY_OPT_KEEPALIVE] = {TCP, SWITCH, SOL_SOCKET, SO_KEEPALIVE, 0, 0, 1},
    [FERRY_OPT_KEEPALIVE_IDLE_S] = {TCP, 0, IDLE_LEVEL, TCP_KEEPIDLE, 0, WHOLE},
    [FERRY_OPT_KEEPALIVE_INTERVAL_S] = {TCP, 0, KEEP_LEVEL, TCP_KEEPINTVL, 0, WHOLE},
    [FERRY_OPT_KEEPALIVE_COUNT] = {TCP, 0, KEEP_LEVEL, TCP_KEEPCNT, 0, WHOLE},
    [FERRY_OPT_NODELAY] = {TCP, SWITCH, IPPROTO_TCP, TCP_NODELAY, 0, 0, 1},
    [FERRY_OPT_LINGER_S] = {TCP, 0, SOL_SOCKET, SO_LINGER, 0, -1, INT32_MAX},
    [FERRY_OPT_BROADCAST] = {MESSAGES, SWITCH, SOL_SOCKET, SO_BROADCAST, 0, 0, 1},
    [FERRY_OPT_HOPS] = {IS_IP, IS_ANY, BOTH, 0, IP_TTL, IPV6_UNICAST_HOPS, -1, 255},
    [FERRY_OPT_CLASS] = {IS_IP, IS_ANY, BOTH, CLASS_LEVEL, IP_TOS, IPV6_TCLASS, OCTET},
    [FERRY_OPT_RECV_PACKET_INFO] = {MESSAGES, SWITCH, 0, PACKET_INFO, IPV6_RECVPKTINFO, 0, 1},
    [FERRY_OPT_RECV_HOPS] = {MESSAGES, SWITCH | BOTH, 0, IP_RECVTTL, IPV6_RECVHOPLIMIT, 0, 1},
    [FERRY_OPT_RECV_CLASS] = {MESSAGES, SWITCH | BOTH, 0, IP_RECVTOS, IPV6_RECVTCLASS, 0, 1},
    [FERRY_OPT_MULTICAST_HOPS] = {MESSAGES, 0, 0, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, -1, 255},
    [FERRY_OPT_MULTICAST_LOOP] = {MESSAGES, SWITCH, 0, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, 0,
                                  1},
    [FERRY_OPT_MULTICAST_INTERFACE] = {MESSAGES, 0, 0, IP_MULTICAST_IF, IPV6_MULTICAST_IF, WHOLE},
    [FERRY_OPT_UDP_SEGMENT_BYTES] = {IS_IP, IS_UDP, 0, OFFLOAD_LEVEL, UDP_SEGMENT, 0, 0,
                                     UINT16_MAX},
    [FERRY_OPT_UDP_GRO] = {IS_IP, IS_UDP, SWITCH, OFFLOAD_LEVEL, UDP_GRO, 0, 0, 1},
    [FERRY_OPT_PASS_CREDENTIALS] = {IS_UNIX, IS_ANY, SWITCH, CREDENTIALS, 0, 0, 1},
};

/* The option for this socket, or an error; *is: what the socket is. */
static int option_find(ferry_fd fd, enum ferry_option which, const struct option **option,
                       int *is) {
    if (which < FERRY_OPT_REUSE_ADDR || which > FERRY_OPT_PASS_CREDENTIALS) return FERRY_EINVAL;
    *option = &options[which];
    *is = ferry__socket_what(fd);
    if (*is < 0) return *is;
    if ((*option)->level == NO_LEVEL) return FERRY_ENOTSUP;
    bool has = (*is & (*option)->sort) && ((*option)->family == IS_ANY || *is & (*option)->family);
    return has ? 0 : FERRY_ENOPROTOOPT;
}

static int level_of(const struct option *option, int is) {
    if (option->level != 0) return option->level;
    return is & IS_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

static int name_of(const struct option *option, int is) {
    return option->level == 0 && is & IS_INET6 ? option->name6 : option->name;
}

static int option_set(ferry_fd fd, enum ferry_option which, const struct option *option, int is,
                      int value) {
    if (which == FERRY_OPT_LINGER_S) return ferry__socket_linger_put(fd, value);
    if (which == FERRY_OPT_MULTICAST_INTERFACE && is & IS_INET) {
        return ferry__socket_interface_put(fd, (uint32_t)value);
    }
    int error = ferry__socket_put(fd, is, level_of(option, is), name_of(option, is), value);
    if (error == 0 && option->flags & BOTH && is & IS_INET6) {
        /* Where a socket is for IPv6 alone, or the system keeps them apart, there is no need. */
        (void)ferry__socket_put(fd, is, IPPROTO_IP, option->name, value);
    }
    return error;
}

int ferry_socket_set(ferry_loop *loop, ferry_fd fd, enum ferry_option which, int64_t value) {
    ferry__loop_check(loop, NULL);
    const struct option *option;
    int is;
    int error = option_find(fd, which, &option, &is);
    if (error != 0) return error;
    if (value < option->least || value > option->most) return FERRY_EINVAL;
    if (option->flags & EARLY && ferry__socket_is_bound(fd)) return FERRY_EINVAL;
    return option_set(fd, which, option, is, (int)value);
}

int ferry_socket_get(ferry_loop *loop, ferry_fd fd, enum ferry_option which, int64_t *value) {
    ferry__loop_check(loop, NULL);
    const struct option *option;
    int is, number = 0;
    if (value == NULL) return FERRY_EINVAL;
    int error = option_find(fd, which, &option, &is);
    if (error != 0) return error;
    if (which == FERRY_OPT_MULTICAST_INTERFACE && is & IS_INET) return FERRY_ENOTSUP;
    error = which == FERRY_OPT_LINGER_S
                ? ferry__socket_linger_ask(fd, &number)
                : ferry__socket_ask(fd, is, level_of(option, is), name_of(option, is), &number);
    if (error != 0) return error;
    *value = option->flags & SWITCH ? number != 0 : number;
    return 0;
}

/* ---- Multicast --------------------------------------------------------------------------- */

/* AF_... */
static int family_of(const ferry_addr *addr) {
    struct sockaddr any;
    memcpy(&any, addr->data.bytes, offsetof(struct sockaddr, sa_data));
    return any.sa_family;
}

static bool is_group(const ferry_addr *addr) {
    if (addr == NULL || ferry__os_addr_check(addr) != 0) return false;
    if (family_of(addr) == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr->data.bytes, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 28 == 0xe;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, addr->data.bytes, sizeof in6);
    return in6.sin6_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&in6.sin6_addr);
}

static int membership(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                      const ferry_addr *source, bool join) {
    if (!is_group(group)) return FERRY_EINVAL;
    int family = family_of(group);
    if (source != NULL &&
        (ferry__os_addr_check(source) != 0 || family_of(source) != family || is_group(source))) {
        return FERRY_EINVAL;
    }
    int is = ferry__socket_what(fd);
    if (is < 0) return is;
    int wanted = family == AF_INET ? IS_INET : IS_INET6;
    if (!(is & wanted) || !(is & IS_MESSAGES)) return FERRY_ENOPROTOOPT;
    return ferry__socket_membership(fd, group, interface_index, source, join);
}

int ferry_multicast_join(ferry_loop *loop, ferry_fd fd, const ferry_addr *group,
                         uint32_t interface_index, const ferry_addr *source) {
    ferry__loop_check(loop, NULL);
    return membership(fd, group, interface_index, source, true);
}

int ferry_multicast_leave(ferry_loop *loop, ferry_fd fd, const ferry_addr *group,
                          uint32_t interface_index, const ferry_addr *source) {
    ferry__loop_check(loop, NULL);
    return membership(fd, group, interface_index, source, false);
}
