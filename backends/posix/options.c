/* options.c - options of sockets, and membership of multicast groups: ordinary functions.
 *
 * A table says which sockets have an option and what the system calls it. The kind of socket is
 * looked at here, since systems take options silently that mean nothing, or refuse them each in
 * words of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "core.h"
#include "missing.h"
#include "socket_names.h"

#include <netinet/in.h>
#include <string.h>

/* ---- What a socket is -------------------------------------------------------------------- */

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

/* IS_... of fd, or an error. */
static int what_is(ferry_fd fd) {
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

/* Has it a port already? */
static bool is_bound(ferry_fd fd) {
    ferry_addr addr = {.len = sizeof addr.data.bytes};
    struct sockaddr *name = (struct sockaddr *)(void *)addr.data.bytes;
    socklen_t len = sizeof addr.data.bytes;
    if (ferry__calls.getsockname(fd, name, &len) != 0) return false;
    addr.len = len;
    return ferry_addr_port(&addr) != 0;
}

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
    [FERRY_OPT_REUSE_PORT] = {IS_IP, IS_ANY, SWITCH | EARLY, SOL_SOCKET, SO_REUSEPORT, 0, 0, 1},
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
    [FERRY_OPT_CLASS] = {IS_IP, IS_ANY, BOTH, 0, IP_TOS, IPV6_TCLASS, OCTET},
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
    *is = what_is(fd);
    if (*is < 0) return *is;
    if ((*option)->level == NO_LEVEL) return FERRY_ENOTSUP;
    bool has = (*is & (*option)->sort) && ((*option)->family == IS_ANY || *is & (*option)->family);
    return has ? 0 : FERRY_ENOPROTOOPT;
}

/* The kind of socket is right: what the system does not know, it has not. */
static int failure(void) {
    int error = ferry__errno();
    return error == FERRY_ENOPROTOOPT ? FERRY_ENOTSUP : error;
}

static int put(ferry_fd fd, int level, int name, const void *value, socklen_t len) {
    return ferry__calls.setsockopt(fd, level, name, value, len) == 0 ? 0 : failure();
}

static int level_of(const struct option *option, int is) {
    if (option->level != 0) return option->level;
    return is & IS_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

static int name_of(const struct option *option, int is) {
    return option->level == 0 && is & IS_INET6 ? option->name6 : option->name;
}

static int multicast_interface_set(ferry_fd fd, int index) {
#if defined(__NetBSD__) || defined(__OpenBSD__) /* by an address of the interface alone */
    (void)fd, (void)index;
    return FERRY_ENOTSUP;
#else
    struct ip_mreqn by = {.imr_ifindex = index};
    return put(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by);
#endif
}

static int option_set(ferry_fd fd, enum ferry_option which, const struct option *option, int is,
                      int value) {
    if (which == FERRY_OPT_LINGER_S) {
        struct linger linger = {.l_onoff = value >= 0, .l_linger = value >= 0 ? value : 0};
        return put(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    if (which == FERRY_OPT_MULTICAST_INTERFACE && is & IS_INET) {
        return multicast_interface_set(fd, value);
    }
    int error = put(fd, level_of(option, is), name_of(option, is), &value, sizeof value);
    if (error == 0 && option->flags & BOTH && is & IS_INET6) {
        /* Where a socket is for IPv6 alone, or the system keeps them apart, there is no need. */
        (void)put(fd, IPPROTO_IP, option->name, &value, sizeof value);
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
    if (option->flags & EARLY && is_bound(fd)) return FERRY_EINVAL;
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
    if (which == FERRY_OPT_LINGER_S) {
        struct linger linger = {.l_onoff = 0};
        socklen_t len = sizeof linger;
        if (ferry__calls.getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) != 0) {
            return failure();
        }
        *value = linger.l_onoff ? linger.l_linger : -1;
        return 0;
    }
    socklen_t len = sizeof number;
    if (ferry__calls.getsockopt(fd, level_of(option, is), name_of(option, is), &number, &len)) {
        return failure();
    }
    *value = option->flags & SWITCH ? number != 0 : number;
    return 0;
}

/* ---- Multicast --------------------------------------------------------------------------- */

static const struct sockaddr *sockaddr_of(const ferry_addr *addr) {
    return (const struct sockaddr *)(const void *)addr->data.bytes;
}

static bool is_group(const ferry_addr *addr) {
    if (addr == NULL || ferry__os_addr_check(addr) != 0) return false;
    if (sockaddr_of(addr)->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr->data.bytes, sizeof in);
        return IN_MULTICAST(ntohl(in.sin_addr.s_addr));
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, addr->data.bytes, sizeof in6);
    return in6.sin6_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&in6.sin6_addr);
}

#ifdef MCAST_JOIN_GROUP

static void addr_put(struct sockaddr_storage *to, const ferry_addr *addr) {
    memcpy(to, addr->data.bytes, addr->len);
#ifndef __linux__ /* where an address knows its length, and the system looks at it here */
    to->ss_len = (uint8_t)addr->len;
#endif
}

static int membership_set(ferry_fd fd, int level, const ferry_addr *group, uint32_t interface_index,
                          const ferry_addr *source, bool join) {
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

static int membership_set(ferry_fd fd, int level, const ferry_addr *group, uint32_t interface_index,
                          const ferry_addr *source, bool join) {
    (void)fd, (void)level, (void)group, (void)interface_index, (void)source, (void)join;
    return FERRY_ENOTSUP;
}

#endif

static int membership(ferry_fd fd, const ferry_addr *group, uint32_t interface_index,
                      const ferry_addr *source, bool join) {
    if (!is_group(group)) return FERRY_EINVAL;
    int family = sockaddr_of(group)->sa_family;
    if (source != NULL && (ferry__os_addr_check(source) != 0 ||
                           sockaddr_of(source)->sa_family != family || is_group(source))) {
        return FERRY_EINVAL;
    }
    int is = what_is(fd);
    if (is < 0) return is;
    int wanted = family == AF_INET ? IS_INET : IS_INET6;
    if (!(is & wanted) || !(is & IS_MESSAGES)) return FERRY_ENOPROTOOPT;
    int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    return membership_set(fd, level, group, interface_index, source, join);
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
