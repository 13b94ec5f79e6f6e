/* socket_names.h - options and control data of sockets, by the names that a system has for them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_SOCKET_NAMES_H
#define FERRY_POSIX_SOCKET_NAMES_H

#include "../missing.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NO_LEVEL (-1) /* the system has no such option */

#ifdef __linux__ /* Unix sockets without a file */
#define HAS_ABSTRACT_NAMES 1
#else
#define HAS_ABSTRACT_NAMES 0
#endif

/* ---- TCP --------------------------------------------------------------------------------- */

#if defined(TCP_KEEPIDLE)
#define IDLE_LEVEL IPPROTO_TCP
#elif defined(TCP_KEEPALIVE) /* macOS */
#define TCP_KEEPIDLE TCP_KEEPALIVE
#define IDLE_LEVEL IPPROTO_TCP
#else /* OpenBSD: one for the whole system */
#define TCP_KEEPIDLE 0
#define IDLE_LEVEL NO_LEVEL
#endif

#ifdef TCP_KEEPINTVL
#define KEEP_LEVEL IPPROTO_TCP
#else
#define TCP_KEEPINTVL 0
#define TCP_KEEPCNT 0
#define KEEP_LEVEL NO_LEVEL
#endif

/* ---- Levels that other systems do not have ------------------------------------------------- */

#define SHARE_LEVEL SOL_SOCKET /* of SO_REUSEPORT */
#define CLASS_LEVEL 0          /* by family: IP_TOS, IPV6_TCLASS */
#define FDS_LEVEL SOL_SOCKET   /* of SCM_RIGHTS */

/* ---- Where a packet was sent to, and is sent from ---------------------------------------- */

#if defined(IP_RECVPKTINFO) /* NetBSD, macOS */
#define PACKET_INFO IP_RECVPKTINFO
#define PACKET_CAME IP_PKTINFO
#define PACKET_GOES IP_PKTINFO
#elif defined(IP_PKTINFO)
#define PACKET_INFO IP_PKTINFO
#define PACKET_CAME IP_PKTINFO
#define PACKET_GOES IP_PKTINFO
#else /* FreeBSD, OpenBSD, DragonFly: the address, without the interface */
#define PACKET_INFO IP_RECVDSTADDR
#define PACKET_CAME IP_RECVDSTADDR
#define PACKET_GOES IP_SENDSRCADDR
#endif

#ifndef IP_RECVTOS /* NetBSD, OpenBSD: asked for in vain */
#define IP_RECVTOS (-1)
#endif

/* ---- Several datagrams in one ------------------------------------------------------------ */

#ifdef UDP_SEGMENT
#define OFFLOAD_LEVEL IPPROTO_UDP
#else
#define UDP_SEGMENT 0
#define UDP_GRO 0
#define OFFLOAD_LEVEL NO_LEVEL
#endif

/* ---- Credentials ------------------------------------------------------------------------- */

/* Whoever sends asks for them on FreeBSD and DragonFly, and the system fills them in; whoever
 * receives does on Linux. NetBSD has others, macOS and OpenBSD tell only who has connected. */
#if defined(SCM_CREDENTIALS)
#define CREDENTIALS SOL_SOCKET, SO_PASSCRED
#define CREDENTIALS_CAME SCM_CREDENTIALS
#define CREDENTIALS_GO SCM_CREDENTIALS
#define CREDENTIALS_BYTES sizeof(struct ucred)
#elif defined(__FreeBSD__) || defined(__DragonFly__)
#define FERRY__CMSGCRED 1
#define CREDENTIALS NO_LEVEL, 0
#define CREDENTIALS_CAME SCM_CREDS
#define CREDENTIALS_GO SCM_CREDS
#define CREDENTIALS_BYTES sizeof(struct cmsgcred)
#else
#define CREDENTIALS NO_LEVEL, 0
#define CREDENTIALS_CAME (-1)
#define CREDENTIALS_GO NO_LEVEL
#define CREDENTIALS_BYTES 0
#endif

#endif
