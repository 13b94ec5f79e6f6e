/* tcp.c - in what state a TCP connection is: from the socket, or, before Windows 10, 1703, from the
 * system's table of all connections.
 *
 * SPDX-License-Identifier: MIT
 */
#include "win.h"

#include <iphlpapi.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)MIB_TCP_STATE_CLOSED == (int)TCPSTATE_CLOSED + 1 &&
                   (int)MIB_TCP_STATE_TIME_WAIT == (int)TCPSTATE_TIME_WAIT + 1,
               "the same states, counted from 1 and from 0");

/* Both ends of a connection, as the tables have them: IPv4 in an IPv6 socket is IPv4. */
struct ends {
    bool is_inet6;
    struct in6_addr local, remote; /* IPv4: the last four bytes */
    DWORD local_port, remote_port; /* in the network's order */
};

static bool end_of(const struct sockaddr_in6 *name, struct in6_addr *addr, DWORD *port,
                   bool *is_inet6) {
    struct sockaddr_in in;
    *is_inet6 = name->sin6_family == AF_INET6;
    if (*is_inet6) {
        *addr = name->sin6_addr;
        *port = name->sin6_port;
        if (IN6_IS_ADDR_V4MAPPED(&name->sin6_addr)) *is_inet6 = false;
        return true;
    }
    memcpy(&in, name, sizeof in);
    memcpy(addr->u.Byte + 12, &in.sin_addr, sizeof in.sin_addr);
    *port = in.sin_port;
    return in.sin_family == AF_INET;
}

static bool ends_of(SOCKET socket, struct ends *ends) {
    struct sockaddr_in6 local, remote;
    int len = sizeof local, remote_len = sizeof remote;
    memset(ends, 0, sizeof *ends);
    return getsockname(socket, (struct sockaddr *)&local, &len) == 0 &&
           getpeername(socket, (struct sockaddr *)&remote, &remote_len) == 0 &&
           end_of(&local, &ends->local, &ends->local_port, &ends->is_inet6) &&
           end_of(&remote, &ends->remote, &ends->remote_port, &ends->is_inet6);
}

static DWORD last_four(const struct in6_addr *addr) {
    DWORD four;
    memcpy(&four, addr->u.Byte + 12, sizeof four);
    return four;
}

static int find_inet(const MIB_TCPTABLE *table, const struct ends *ends) {
    for (DWORD i = 0; i < table->dwNumEntries; i++) {
        const MIB_TCPROW *row = &table->table[i];
        if (row->dwLocalPort == ends->local_port && row->dwRemotePort == ends->remote_port &&
            row->dwLocalAddr == last_four(&ends->local) &&
            row->dwRemoteAddr == last_four(&ends->remote)) {
            return (int)row->dwState;
        }
    }
    return MIB_TCP_STATE_CLOSED;
}

static int find_inet6(const MIB_TCP6TABLE *table, const struct ends *ends) {
    for (DWORD i = 0; i < table->dwNumEntries; i++) {
        const MIB_TCP6ROW *row = &table->table[i];
        if (row->dwLocalPort == ends->local_port && row->dwRemotePort == ends->remote_port &&
            memcmp(&row->LocalAddr, &ends->local, sizeof ends->local) == 0 &&
            memcmp(&row->RemoteAddr, &ends->remote, sizeof ends->remote) == 0) {
            return (int)row->State;
        }
    }
    return MIB_TCP_STATE_CLOSED;
}

/* It grows while one looks how large it is. */
static void *table_get(bool is_inet6) {
    ULONG bytes = 1 << 15;
    for (int i = 0; i < 4; i++) {
        void *table = malloc(bytes);
        if (table == NULL) return NULL;
        ULONG error = is_inet6 ? GetTcp6Table(table, &bytes, FALSE)
                               : GetTcpTable(table, &bytes, FALSE);
        if (error == NO_ERROR) return table;
        free(table);
        if (error != ERROR_INSUFFICIENT_BUFFER) return NULL;
        bytes += bytes / 4;
    }
    return NULL;
}

static int state_from_table(SOCKET socket) {
    struct ends ends;
    if (!ends_of(socket, &ends)) {
        return WSAGetLastError() == WSAENOTCONN ? MIB_TCP_STATE_CLOSED : 0;
    }
    void *table = table_get(ends.is_inet6);
    if (table == NULL) return 0;
    int state = ends.is_inet6 ? find_inet6(table, &ends) : find_inet(table, &ends);
    free(table);
    return state;
}

int ferry__win_tcp_state(SOCKET socket) {
    TCP_INFO_v0 about;
    DWORD version = 0, got = 0;
    if (WSAIoctl(socket, SIO_TCP_INFO, &version, sizeof version, &about, sizeof about, &got, NULL,
                 NULL) == 0) {
        return (int)about.State + 1;
    }
    return state_from_table(socket);
}
