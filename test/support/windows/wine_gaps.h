/* wine_gaps.h - what Windows' own headers declare and those of Wine 8 do not: included first in the
 * syntax check of MSVC's dialect (.ci/run), and never compiled into anything.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WINE_GAPS_H
#define FERRY_WINE_GAPS_H

#include "../../../backends/win/win.h"

#include <iphlpapi.h>

/* winbase.h, ntstatus.h */
#define PIPE_REJECT_REMOTE_CLIENTS 0x8
#define SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE 0x2
#define STATUS_HOPLIMIT_EXCEEDED ((NTSTATUS)0xC000A012)
WINBASEAPI HANDLE WINAPI OpenFileById(HANDLE, LPFILE_ID_DESCRIPTOR, DWORD, DWORD,
                                      LPSECURITY_ATTRIBUTES, DWORD);

/* winsock2.h */
int WINAPI WSASendMsg(SOCKET, LPWSAMSG, DWORD, LPDWORD, LPWSAOVERLAPPED,
                      LPWSAOVERLAPPED_COMPLETION_ROUTINE);

/* ws2ipdef.h, ws2tcpip.h, netioapi.h */
#define MCAST_JOIN_SOURCE_GROUP 45
#define MCAST_LEAVE_SOURCE_GROUP 46
typedef struct group_source_req {
    ULONG gsr_interface;
    SOCKADDR_STORAGE gsr_group;
    SOCKADDR_STORAGE gsr_source;
} GROUP_SOURCE_REQ;
BOOLEAN IN6_IS_ADDR_V4MAPPED(const IN6_ADDR *);
BOOLEAN IN6_IS_ADDR_MC_LINKLOCAL(const IN6_ADDR *);
PCHAR WINAPI if_indextoname(ULONG, PCHAR);
ULONG WINAPI if_nametoindex(PCSTR);

/* mstcpip.h */
#define SIO_TCP_INITIAL_RTO _WSAIOW(IOC_VENDOR, 17)
#define SIO_TCP_INFO _WSAIORW(IOC_VENDOR, 39)
#define TCP_INITIAL_RTO_UNSPECIFIED_RTT ((USHORT)-1)
#define TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS ((UCHAR)-2)
typedef struct {
    USHORT Rtt;
    UCHAR MaxSynRetransmissions;
} TCP_INITIAL_RTO_PARAMETERS;
typedef enum {
    TCPSTATE_CLOSED,
    TCPSTATE_LISTEN,
    TCPSTATE_SYN_SENT,
    TCPSTATE_SYN_RCVD,
    TCPSTATE_ESTABLISHED,
    TCPSTATE_FIN_WAIT_1,
    TCPSTATE_FIN_WAIT_2,
    TCPSTATE_CLOSE_WAIT,
    TCPSTATE_CLOSING,
    TCPSTATE_LAST_ACK,
    TCPSTATE_TIME_WAIT,
    TCPSTATE_MAX
} TCPSTATE;
typedef struct {
    TCPSTATE State;
    ULONG Mss;
    ULONG64 ConnectionTimeMs;
    BOOLEAN TimestampsEnabled;
    ULONG RttUs, MinRttUs, BytesInFlight, Cwnd, SndWnd, RcvWnd, RcvBuf;
    ULONG64 BytesOut, BytesIn;
    ULONG BytesReordered, BytesRetrans, FastRetrans, DupAcksIn, TimeoutEpisodes;
    UCHAR SynRetrans;
} TCP_INFO_v0;

/* iphlpapi.h */
ULONG WINAPI GetTcp6Table(PMIB_TCP6TABLE, PULONG, BOOL);

#endif
