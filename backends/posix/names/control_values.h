/* control_values.h - items of control data as each POSIX system lays them out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_CONTROL_VALUES_H
#define FERRY_POSIX_CONTROL_VALUES_H

#include "ferry.h"

#include "socket_names.h"

#include <stdbool.h>

typedef uint16_t ferry__segment; /* bytes of each datagram that a message is cut into */

/* ---- Where a packet was sent to, and is sent from ---------------------------------------- */

#ifdef IP_PKTINFO

typedef struct in_pktinfo ferry__packet;

/* Returns whether the own address is told. */
static inline bool ferry__packet_tell(const ferry__packet *packet, uint32_t *interface_index,
                                      struct in_addr *to, struct in_addr *local) {
    *interface_index = (uint32_t)packet->ipi_ifindex;
    *to = packet->ipi_addr;
    *local = packet->ipi_spec_dst;
    return true;
}

static inline ferry__packet ferry__packet_make(uint32_t interface_index, struct in_addr from) {
    ferry__packet packet = {.ipi_spec_dst = from};
    packet.ipi_ifindex = (__typeof__(packet.ipi_ifindex))interface_index;
    return packet;
}

#else /* the address alone */

typedef struct in_addr ferry__packet;

static inline bool ferry__packet_tell(const ferry__packet *packet, uint32_t *interface_index,
                                      struct in_addr *to, struct in_addr *local) {
    *interface_index = 0;
    *to = *local = *packet;
    return !IN_MULTICAST(ntohl(to->s_addr));
}

static inline ferry__packet ferry__packet_make(uint32_t interface_index, struct in_addr from) {
    (void)interface_index;
    return from;
}

#endif

/* ---- Credentials ------------------------------------------------------------------------- */

#if defined(SCM_CREDENTIALS)

typedef struct ucred ferry__credentials;

static inline void ferry__credentials_tell(const ferry__credentials *from, ferry_control *item) {
    item->pid = from->pid;
    item->user = from->uid;
    item->group = from->gid;
}

static inline ferry__credentials ferry__credentials_make(const ferry_control *item) {
    return (ferry__credentials){(pid_t)item->pid, item->user, item->group};
}

#elif defined(FERRY__CMSGCRED)

typedef struct cmsgcred ferry__credentials;

static inline void ferry__credentials_tell(const ferry__credentials *from, ferry_control *item) {
    item->pid = from->cmcred_pid;
    item->user = from->cmcred_euid;
    item->group = from->cmcred_gid;
}

/* The system fills them in. */
static inline ferry__credentials ferry__credentials_make(const ferry_control *item) {
    (void)item;
    return (ferry__credentials){.cmcred_pid = 0};
}

#else

typedef char ferry__credentials;

static inline void ferry__credentials_tell(const ferry__credentials *from, ferry_control *item) {
    (void)from, (void)item;
}

static inline ferry__credentials ferry__credentials_make(const ferry_control *item) {
    (void)item;
    return 0;
}

#endif

#endif
