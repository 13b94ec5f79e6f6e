/* control.c - control data of messages: what a program says of it, and the system's cmsghdr.
 *
 * Ordinary functions on memory of the caller's, which know neither loop nor operation: what came
 * with a pooled receive is gone through like anything else. Headers are copied out, never looked at
 * in place: lengths come from elsewhere and are believed only as far as there is memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ferry.h"

#include "control_values.h"
#include "socket_names.h"

#include <stdbool.h>
#include <string.h>

#define HEAD CMSG_LEN(0)
#define UNIT (CMSG_SPACE(1) - HEAD) /* to which items are aligned: 8 bytes, 4 on macOS */

_Static_assert(FERRY_CONTROL_WORDS(1) * 8 >= CMSG_SPACE(1), "room for one byte");
_Static_assert(FERRY_CONTROL_WORDS(9) * 8 >= CMSG_SPACE(9), "room for what is not aligned");
_Static_assert(FERRY_CONTROL_WORDS_ALL * 8 >= CMSG_SPACE(CREDENTIALS_BYTES) +
                                                  CMSG_SPACE(sizeof(struct in6_pktinfo)) +
                                                  3 * CMSG_SPACE(sizeof(int)),
               "room for one of each kind");
_Static_assert(sizeof(ferry_fd) == sizeof(int) || FDS_LEVEL == NO_LEVEL,
               "descriptors lie there as the system has them");
_Static_assert(UNIT % sizeof(int) == 0, "what follows an item is aligned for descriptors");

/* ---- What came --------------------------------------------------------------------------- */

/* Numbers come as a byte, two or four: by kind and by system. */
static bool number_read(ferry_control *item) {
    uint8_t one;
    uint16_t two;
    if (item->len >= sizeof item->number) {
        memcpy(&item->number, item->data, sizeof item->number);
    } else if (item->len >= sizeof two) {
        memcpy(&two, item->data, sizeof two);
        item->number = two;
    } else if (item->len == sizeof one) {
        memcpy(&one, item->data, sizeof one);
        item->number = one;
    }
    return item->len > 0;
}

static bool fds_read(ferry_control *item) {
    item->fds = item->data;
    item->count = item->len / sizeof(ferry_fd);
    return item->count > 0;
}

static bool credentials_read(ferry_control *item) {
    ferry__credentials from;
    if (item->len < sizeof from) return false;
    memcpy(&from, item->data, sizeof from);
    ferry__credentials_tell(&from, item);
    return true;
}

static void addr_set(ferry_addr *addr, const void *from, size_t len) {
    addr->len = (uint32_t)len;
    addr->reserved = 0;
    memcpy(addr->data.bytes, from, len);
}

static bool packet_read(ferry_control *item) {
    ferry__packet from;
    struct sockaddr_in to = {.sin_family = AF_INET}, local = to;
    if (item->len < sizeof from) return false;
    memcpy(&from, item->data, sizeof from);
    bool told = ferry__packet_tell(&from, &item->interface_index, &to.sin_addr, &local.sin_addr);
    addr_set(&item->to, &to, sizeof to);
    addr_set(&item->local, &local, told ? sizeof local : 0);
    return true;
}

static bool packet6_read(ferry_control *item) {
    struct in6_pktinfo from;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6};
    if (item->len < sizeof from) return false;
    memcpy(&from, item->data, sizeof from);
    item->interface_index = (uint32_t)from.ipi6_ifindex;
    to.sin6_addr = from.ipi6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&to.sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&to.sin6_addr)) {
        to.sin6_scope_id = item->interface_index;
    }
    addr_set(&item->to, &to, sizeof to);
    addr_set(&item->local, &to, IN6_IS_ADDR_MULTICAST(&to.sin6_addr) ? 0 : sizeof to);
    return true;
}

static bool other_read(ferry_control *item) {
    (void)item;
    return true;
}

struct known {
    int level, type;
    enum ferry_control_kind kind;
    int family; /* enum ferry_family, 0: none */
    bool (*read)(ferry_control *item);
};

static const struct known *known_of(int level, int type) {
    static const struct known known[] = {
        {FDS_LEVEL, SCM_RIGHTS, FERRY_CONTROL_FDS, 0, fds_read},
        {SOL_SOCKET, CREDENTIALS_CAME, FERRY_CONTROL_CREDENTIALS, 0, credentials_read},
        {IPPROTO_IP, PACKET_CAME, FERRY_CONTROL_PACKET, FERRY_INET, packet_read},
        {IPPROTO_IPV6, IPV6_PKTINFO, FERRY_CONTROL_PACKET, FERRY_INET6, packet6_read},
        {IPPROTO_IP, IP_TTL, FERRY_CONTROL_HOPS, FERRY_INET, number_read},
        {IPPROTO_IPV6, IPV6_HOPLIMIT, FERRY_CONTROL_HOPS, FERRY_INET6, number_read},
        {IPPROTO_IP, IP_TOS, FERRY_CONTROL_CLASS, FERRY_INET, number_read},
        {IPPROTO_IPV6, IPV6_TCLASS, FERRY_CONTROL_CLASS, FERRY_INET6, number_read},
        /* The BSDs and macOS name what came after what was asked for. */
        {IPPROTO_IP, IP_RECVTTL, FERRY_CONTROL_HOPS, FERRY_INET, number_read},
        {IPPROTO_IP, IP_RECVTOS, FERRY_CONTROL_CLASS, FERRY_INET, number_read},
        {OFFLOAD_LEVEL, UDP_GRO, FERRY_CONTROL_SEGMENT, 0, number_read},
        {OFFLOAD_LEVEL, UDP_SEGMENT, FERRY_CONTROL_SEGMENT, 0, number_read},
    };
    static const struct known other = {0, 0, FERRY_CONTROL_OTHER, 0, other_read};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].level == level && known[i].type == type) return &known[i];
    }
    return &other;
}

int ferry_control_next(const void *control, size_t len, ferry_control *item) {
    if (control == NULL || item == NULL) return 0;
    while (item->at < len && len - item->at >= HEAD) {
        const char *at = (const char *)control + item->at;
        size_t left = len - item->at;
        struct cmsghdr head;
        memcpy(&head, at, sizeof head);
        if (head.cmsg_len < HEAD) break;
        size_t whole = head.cmsg_len < left ? head.cmsg_len : left;
        size_t space = CMSG_SPACE(whole - HEAD);
        item->at += space < left ? space : left;
        item->data = at + HEAD;
        item->len = whole - HEAD;
        item->level = head.cmsg_level;
        item->type = head.cmsg_type;
        const struct known *known = known_of(item->level, item->type);
        item->kind = known->kind;
        item->family = (enum ferry_family)known->family;
        if (known->read(item)) return 1;
    }
    item->at = len;
    return 0;
}

/* ---- What is to be sent ------------------------------------------------------------------ */

struct piece {
    int level, type;
    const void *data;
    size_t len;
    union {
        int number;
        ferry__segment segment;
        ferry__credentials credentials;
        ferry__packet packet;
        struct in6_pktinfo packet6;
    } value;
};

static void piece_set(struct piece *piece, int level, int type, const void *data, size_t len) {
    piece->level = level;
    piece->type = type;
    piece->data = data;
    piece->len = len;
}

/* FERRY_INET, FERRY_INET6, or 0. */
static int family_of(const ferry_addr *addr) {
    struct sockaddr any;
    size_t head = offsetof(struct sockaddr, sa_data);
    if (addr == NULL || addr->len < head) return 0;
    memcpy(&any, addr->data.bytes, head);
    if (any.sa_family == AF_INET && addr->len >= sizeof(struct sockaddr_in)) return FERRY_INET;
    return any.sa_family == AF_INET6 && addr->len >= sizeof(struct sockaddr_in6) ? FERRY_INET6 : 0;
}

/* The protocol that a message to addr goes out with: to a mapped address it is IPv4. */
static int protocol_of(const ferry_addr *addr) {
    struct sockaddr_in6 to;
    if (family_of(addr) != FERRY_INET6) return family_of(addr);
    memcpy(&to, addr->data.bytes, sizeof to);
    return IN6_IS_ADDR_V4MAPPED(&to.sin6_addr) ? FERRY_INET : FERRY_INET6;
}

static int fds_make(struct piece *piece, const ferry_control *item) {
    if (item->fds == NULL || item->count == 0) return FERRY_EINVAL;
    if (item->count > FERRY_CONTROL_FDS_MAX) return FERRY_EINVAL;
    if (FDS_LEVEL == NO_LEVEL) return FERRY_ENOTSUP;
    piece_set(piece, FDS_LEVEL, SCM_RIGHTS, item->fds, item->count * sizeof(ferry_fd));
    return 0;
}

static int credentials_make(struct piece *piece, const ferry_control *item) {
    if (item->pid < 0 || item->pid > INT32_MAX) return FERRY_EINVAL;
    if (CREDENTIALS_GO == NO_LEVEL) return FERRY_ENOTSUP;
    piece->value.credentials = ferry__credentials_make(item);
    piece_set(piece, SOL_SOCKET, CREDENTIALS_GO, &piece->value.credentials,
              sizeof piece->value.credentials);
    return 0;
}

static void packet_set(struct piece *piece, const ferry_control *item, struct in_addr from) {
    piece->value.packet = ferry__packet_make(item->interface_index, from);
    piece_set(piece, IPPROTO_IP, PACKET_GOES, &piece->value.packet, sizeof piece->value.packet);
}

static int packet_make(struct piece *piece, const ferry_msg *msg, const ferry_control *item) {
    int family = (int)item->family, local = family_of(&item->local);
    if (family == 0) family = local != 0 ? local : family_of(msg->addr);
    if (item->local.len > 0 && local != family) return FERRY_EINVAL;
    if (item->interface_index > INT32_MAX) return FERRY_EINVAL;
    if (family == FERRY_INET) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        if (local != 0) memcpy(&from, item->local.data.bytes, sizeof from);
        packet_set(piece, item, from.sin_addr);
    } else if (family == FERRY_INET6) {
        struct sockaddr_in6 from = {.sin6_family = AF_INET6};
        if (local != 0) memcpy(&from, item->local.data.bytes, sizeof from);
        piece->value.packet6 = (struct in6_pktinfo){.ipi6_ifindex = item->interface_index,
                                                    .ipi6_addr = from.sin6_addr};
        piece_set(piece, IPPROTO_IPV6, IPV6_PKTINFO, &piece->value.packet6,
                  sizeof(struct in6_pktinfo));
    } else {
        return FERRY_EINVAL;
    }
    return 0;
}

/* HOPS and CLASS: a number from 0 to 255 at the level of the protocol. */
static int octet_make(struct piece *piece, const ferry_msg *msg, const ferry_control *item) {
    bool hops = item->kind == FERRY_CONTROL_HOPS;
    int family = item->family != 0 ? (int)item->family : protocol_of(msg->addr);
    if (item->number < 0 || item->number > 255) return FERRY_EINVAL;
    if (family != FERRY_INET && family != FERRY_INET6) return FERRY_EINVAL;
    if (!hops && CLASS_LEVEL == NO_LEVEL) return FERRY_ENOTSUP;
    piece->value.number = item->number;
    int level = family == FERRY_INET ? IPPROTO_IP : IPPROTO_IPV6;
    int type = hops ? IP_TTL : IP_TOS;
    if (family == FERRY_INET6) type = hops ? IPV6_HOPLIMIT : IPV6_TCLASS;
    piece_set(piece, level, type, &piece->value.number, sizeof(int));
    return 0;
}

static int segment_make(struct piece *piece, const ferry_control *item) {
    if (item->number < 0 || item->number > UINT16_MAX) return FERRY_EINVAL;
    if (OFFLOAD_LEVEL == NO_LEVEL) return FERRY_ENOTSUP;
    piece->value.segment = (ferry__segment)item->number;
    piece_set(piece, OFFLOAD_LEVEL, UDP_SEGMENT, &piece->value.segment,
              sizeof piece->value.segment);
    return 0;
}

static int piece_make(struct piece *piece, const ferry_msg *msg, const ferry_control *item) {
    switch (item->kind) {
    case FERRY_CONTROL_OTHER:
        if (item->data == NULL && item->len > 0) return FERRY_EINVAL;
        piece_set(piece, item->level, item->type, item->data, item->len);
        return 0;
    case FERRY_CONTROL_FDS: return fds_make(piece, item);
    case FERRY_CONTROL_CREDENTIALS: return credentials_make(piece, item);
    case FERRY_CONTROL_PACKET: return packet_make(piece, msg, item);
    case FERRY_CONTROL_HOPS:
    case FERRY_CONTROL_CLASS: return octet_make(piece, msg, item);
    case FERRY_CONTROL_SEGMENT: return segment_make(piece, item);
    }
    return FERRY_EINVAL;
}

static int piece_append(ferry_msg *msg, const struct piece *piece) {
    size_t used = msg->control_len;
    if (used % UNIT != 0) return FERRY_EINVAL;
    if (msg->control == NULL || used > msg->control_room || piece->len > msg->control_room ||
        CMSG_SPACE(piece->len) > msg->control_room - used) {
        return FERRY_EOVERFLOW;
    }
    struct cmsghdr head;
    char *at = (char *)msg->control + used;
    memset(&head, 0, sizeof head);
    memset(at, 0, CMSG_SPACE(piece->len));
    head.cmsg_level = piece->level;
    head.cmsg_type = piece->type;
    head.cmsg_len = (__typeof__(head.cmsg_len))CMSG_LEN(piece->len);
    memcpy(at, &head, sizeof head);
    if (piece->len > 0) memcpy(at + HEAD, piece->data, piece->len);
    msg->control_len = used + CMSG_SPACE(piece->len);
    return 0;
}

int ferry_control_add(ferry_msg *msg, const ferry_control *item) {
    struct piece piece;
    if (msg == NULL || item == NULL) return FERRY_EINVAL;
    int error = piece_make(&piece, msg, item);
    return error != 0 ? error : piece_append(msg, &piece);
}
