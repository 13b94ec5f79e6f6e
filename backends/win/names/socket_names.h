/* socket_names.h - options and control data of sockets, by the names that Windows has for them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WIN_SOCKET_NAMES_H
#define FERRY_WIN_SOCKET_NAMES_H

#include "../win.h"

#include <iphlpapi.h>

#define NO_LEVEL (-1) /* the system has no such option */

#define HAS_ABSTRACT_NAMES 0 /* Unix sockets without a file */

#ifndef IF_NAMESIZE
#define IF_NAMESIZE 256
#endif

/* ---- Control data: headers and values are aligned as addresses are ------------------------ */

#define cmsghdr _WSACMSGHDR
#undef CMSG_LEN
#undef CMSG_SPACE
#define CMSG_LEN(len) (sizeof(WSACMSGHDR) + (len))
#define CMSG_SPACE(len) (CMSG_LEN(len) + (sizeof(void *) - (len) % sizeof(void *)) % sizeof(void *))

/* ---- TCP --------------------------------------------------------------------------------- */

/* Windows 10, 1709 and 1703. */
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE 3
#endif
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT 16
#endif
#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL 17
#endif
#define IDLE_LEVEL IPPROTO_TCP
#define KEEP_LEVEL IPPROTO_TCP

/* ---- Sharing ports: not among several sockets that each get a part of what comes ------------- */

#define SHARE_LEVEL NO_LEVEL
#ifndef SO_REUSEPORT
#define SO_REUSEPORT 0
#endif

/* ---- Class of traffic: told of what comes; what goes is a matter of policies (QoS) ----------- */

#define CLASS_LEVEL NO_LEVEL

#ifndef IPV6_RECVPKTINFO
#define IPV6_RECVPKTINFO IPV6_PKTINFO
#endif
#ifndef IPV6_RECVHOPLIMIT
#define IPV6_RECVHOPLIMIT IPV6_HOPLIMIT
#endif

/* ---- Where a packet was sent to, and is sent from ---------------------------------------- */

#define PACKET_INFO IP_PKTINFO
#define PACKET_CAME IP_PKTINFO
#define PACKET_GOES IP_PKTINFO

/* ---- Several datagrams in one: Windows 10, 2004 ------------------------------------------- */

#ifndef UDP_SEND_MSG_SIZE
#define UDP_SEND_MSG_SIZE 2
#define UDP_RECV_MAX_COALESCED_SIZE 3
#endif
#define UDP_SEGMENT UDP_SEND_MSG_SIZE
#define UDP_GRO UDP_RECV_MAX_COALESCED_SIZE /* and what comes with it: UDP_COALESCED_INFO */
#define OFFLOAD_LEVEL IPPROTO_UDP

/* ---- Descriptors and credentials do not travel --------------------------------------------- */

#define FDS_LEVEL NO_LEVEL
#define SCM_RIGHTS (-1)
#define CREDENTIALS NO_LEVEL, 0
#define CREDENTIALS_CAME (-1)
#define CREDENTIALS_GO (-1)
#define CREDENTIALS_BYTES 0

#endif
