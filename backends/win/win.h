/* win.h - the one internal header of the Windows side: the system's headers in the order that they
 * need, and what the files of backends/win and backends/iocp tell each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WIN_H
#define FERRY_WIN_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
/* What newer systems have is declared, too; whether it is there one finds out at run time. */
#ifndef NTDDI_VERSION
#define NTDDI_VERSION 0x0A000008
#endif
/* NTSTATUS codes come from their own header, whole; windows.h has some of them. */
#define WIN32_NO_STATUS
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <mstcpip.h>
#include <windows.h>
#undef WIN32_NO_STATUS
#include <winternl.h>
#include <ntstatus.h>
#include <afunix.h>

#include "ferry.h"
#include "port.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What these headers may be too old for. */
#ifndef ERROR_VIRUS_INFECTED
#define ERROR_VIRUS_INFECTED 225
#define ERROR_VIRUS_DELETED 226
#endif
#ifndef ERROR_DIRECTORY_NOT_SUPPORTED
#define ERROR_DIRECTORY_NOT_SUPPORTED 336
#endif
#ifndef ERROR_NO_SUCH_DEVICE
#define ERROR_NO_SUCH_DEVICE 433
#endif
#ifndef ERROR_FILE_SYSTEM_LIMITATION
#define ERROR_FILE_SYSTEM_LIMITATION 665
#endif
#ifndef ERROR_STOPPED_ON_SYMLINK
#define ERROR_STOPPED_ON_SYMLINK 681
#endif
#ifndef ERROR_ELEVATION_REQUIRED
#define ERROR_ELEVATION_REQUIRED 740
#endif
#ifndef ERROR_DISK_QUOTA_EXCEEDED
#define ERROR_DISK_QUOTA_EXCEEDED 1295
#endif
#ifndef SIO_UDP_NETRESET
#define SIO_UDP_NETRESET _WSAIOW(IOC_VENDOR, 15)
#endif
#ifndef STATUS_REPARSE_POINT_ENCOUNTERED
#define STATUS_REPARSE_POINT_ENCOUNTERED ((NTSTATUS)0xC000050B)
#endif
#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x2 /* Windows 10, 1803 */
#endif

FERRY__OWN_BEGIN

/* ---- Descriptors are handles (sockets are, too) --------------------------------------------- */

static inline HANDLE ferry__win_handle(ferry_fd fd) {
    return (HANDLE)fd;
}

static inline SOCKET ferry__win_socket(ferry_fd fd) {
    return (SOCKET)fd;
}

static inline ferry_fd ferry__win_fd(HANDLE handle) {
    return (ferry_fd)handle;
}

static inline ferry_fd ferry__win_socket_fd(SOCKET socket) {
    return (ferry_fd)socket;
}

/* ---- Errors (errors.c) ---------------------------------------------------------------------- */

/* Our number for a Win32 or WSA code, for an NTSTATUS: 0 for success. A code without a name of ours
 * survives in FERRY_ESYSTEM and below. */
int ferry__win_error(DWORD code);
int ferry__win_status(NTSTATUS status);
/* What the calling thread's last call has left: never 0. */
int ferry__win_last_error(void);
int ferry__win_socket_error(void);
/* The same of a call on this socket. For Winsock what is not open is no socket. */
int ferry__win_error_on(ferry_fd fd);

/* ---- The process (os.c) --------------------------------------------------------- */

/* Once in the process: Winsock, and what is not on every Windows. 0 or an error; what failed is
 * tried again at the next call. To be called before the first socket function and before ferry__win
 * is looked at. */
int ferry__win_start(void);

/* Wait completion packets: any handle that can be waited for tells a port. */
typedef NTSTATUS NTAPI ferry__win_packet_create(HANDLE *packet, ACCESS_MASK access,
                                                OBJECT_ATTRIBUTES *object);
typedef NTSTATUS NTAPI ferry__win_packet_associate(HANDLE packet, HANDLE port, HANDLE target,
                                                   void *key, void *apc, NTSTATUS status,
                                                   ULONG_PTR information, BOOLEAN *already);
typedef NTSTATUS NTAPI ferry__win_packet_cancel(HANDLE packet, BOOLEAN remove_signalled);

/* Functions of newer systems are NULL where they are not. Extensions of Winsock are those of the
 * providers for TCP and UDP: good for every socket that is a handle of the system. */
struct ferry__win_functions {
    LPFN_ACCEPTEX accept_ex;
    LPFN_GETACCEPTEXSOCKADDRS accept_addresses;
    LPFN_CONNECTEX connect_ex;
    LPFN_DISCONNECTEX disconnect_ex;
    LPFN_TRANSMITFILE transmit_file;
    LPFN_WSARECVMSG recv_msg;
    LPFN_WSASENDMSG send_msg;
    /* All three or none. */
    ferry__win_packet_create *packet_create;
    ferry__win_packet_associate *packet_associate;
    ferry__win_packet_cancel *packet_cancel;
    bool wine; /* for what is said about the system, and for nothing else */
};
extern struct ferry__win_functions ferry__win;

/* A waitable timer of high resolution: NULL where there is none. */
HANDLE ferry__win_timer_make(void);

/* A wide text of the system in UTF-8, malloc()ed: NULL for no memory. (os.c) */
char *ferry__win_utf8(const wchar_t *wide);

/* ---- Sockets (net.c) ------------------------------------------------------------------------ */

/* A socket that is overlapped and not inherited: INVALID_SOCKET and WSAGetLastError() if refused.
 * family: AF_...; type: SOCK_... */
SOCKET ferry__win_socket_make(int family, int type, int protocol);
/* The family that a socket was made for, AF_...; AF_UNSPEC if it is no socket. */
int ferry__win_socket_family(SOCKET socket);
/* Does a datagram socket hear of what ICMP says about what it has sent? It is made so that it does
 * not, which is right as long as it is not connected: then nobody could tell what that is about. */
void ferry__win_socket_hears_icmp(SOCKET socket, bool hears);
/* Two ends of a pipe, both overlapped and not inherited, either way: 0 or an error. [0] is the
 * server's end. message: it keeps the borders of what was written. */
int ferry__win_pipe(HANDLE ends[2], bool both_ways, bool message);

/* MIB_TCP_STATE_... of a connection, or 0: nobody can tell (tcp.c). */
int ferry__win_tcp_state(SOCKET socket);

/* ---- Messages (messages.c) ------------------------------------------------------------------ */

/* The header of a call that receives the message, all but its buffers; and, when that has received,
 * what the system wrote into it. It lies in the message (msg->room), since the system writes to it
 * when it completes. */
WSAMSG *ferry__win_msg_header(ferry_msg *msg);
void ferry__win_msg_finish(ferry_msg *msg);
/* The header of the next call that receives for op, all but its buffers. */
WSAMSG *ferry__win_msg_receive(const ferry_op *op);
/* Fills the header of the next call that sends for op, all but its buffers. */
void ferry__win_msg_send(const ferry_op *op, WSAMSG *header);

/* ---- Processes (process.c) ------------------------------------------------------------------ */

/* A handle to wait for a child, to be closed: NULL and *error (FERRY_ECHILD: not one of this
 * process, or waited for already). Children that the program has begun in its own way are found by
 * their number. Any thread. */
HANDLE ferry__win_child_open(int64_t pid, int *error);
/* It has ended, and is taken: 0, and how it ended (how may be NULL), or FERRY_ECHILD: somebody else
 * has taken it. process: the handle from the call above, which stays the caller's. */
int ferry__win_child_take(int64_t pid, HANDLE process, ferry_exit *how);

FERRY__OWN_END

#endif
