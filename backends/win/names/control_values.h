/* control_values.h - items of control data as Windows lays them out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WIN_CONTROL_VALUES_H
#define FERRY_WIN_CONTROL_VALUES_H

#include "ferry.h"

#include "socket_names.h"

typedef DWORD ferry__segment; /* bytes of each datagram that a message is cut into */
typedef struct in_pktinfo ferry__packet;
typedef char ferry__credentials; /* nobody sends any */

/* One address for both: what a packet was sent to, which is our own unless that is a group.
 * Returns whether the own address is told. */
static inline bool ferry__packet_tell(const ferry__packet *packet, uint32_t *interface_index,
                                      struct in_addr *to, struct in_addr *local) {
    *interface_index = (uint32_t)packet->ipi_ifindex;
    *to = *local = packet->ipi_addr;
    return (ntohl(to->s_addr) & 0xf0000000u) != 0xe0000000u && to->s_addr != INADDR_NONE;
}

static inline ferry__packet ferry__packet_make(uint32_t interface_index, struct in_addr from) {
    return (ferry__packet){.ipi_addr = from, .ipi_ifindex = interface_index};
}

static inline void ferry__credentials_tell(const ferry__credentials *from, ferry_control *item) {
    (void)from, (void)item;
}

static inline ferry__credentials ferry__credentials_make(const ferry_control *item) {
    (void)item;
    return 0;
}

#endif
