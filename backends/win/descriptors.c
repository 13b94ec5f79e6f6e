/* descriptors.c - what a handle is, and how TCP ends so that nothing is lost: os.h's descriptors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "win.h"

#include <iphlpapi.h>

/* ---- Kinds --------------------------------------------------------------------------------- */

static int option(SOCKET socket, int name, void *value, int bytes) {
    return getsockopt(socket, SOL_SOCKET, name, value, &bytes);
}

/* A kind; KIND_UNKNOWN if it is no socket. */
static int socket_kind(SOCKET socket) {
    DWORD type = 0;
    if (ferry__win_start() != 0 || option(socket, SO_TYPE, &type, sizeof type) != 0) {
        return KIND_UNKNOWN;
    }
    if (type == SOCK_STREAM) return KIND_STREAM;
    return type == SOCK_SEQPACKET ? KIND_SEQPACKET : KIND_MESSAGE;
}

static int disk_kind(HANDLE handle) {
    FILE_STANDARD_INFO about;
    if (GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about) &&
        about.Directory) {
        return KIND_OTHER;
    }
    return KIND_FILE;
}

/* No file at all (an event, a process, a thread, ...), or no handle. */
static int other_kind(ferry_fd fd) {
    DWORD flags;
    int kind = socket_kind(ferry__win_socket(fd)); /* of a provider that makes them from nothing */
    if (kind != KIND_UNKNOWN) return kind;
    return GetHandleInformation(ferry__win_handle(fd), &flags) ? KIND_OTHER : FERRY_EBADF;
}

ferry_fd ferry_standard_fd(int which) {
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    if (which < 0 || which > 2) return FERRY_EINVAL;
    HANDLE handle = GetStdHandle(names[which]);
    return handle != NULL && handle != INVALID_HANDLE_VALUE ? ferry__win_fd(handle) : FERRY_EBADF;
}

int ferry__os_fd_kind(ferry_fd fd) {
    HANDLE handle = ferry__win_handle(fd);
    if (fd <= 0) return FERRY_EBADF; /* those below 0 mean this process, this thread */
    switch (GetFileType(handle)) {
    case FILE_TYPE_DISK: return disk_kind(handle);
    case FILE_TYPE_CHAR: return KIND_CHARACTER;
    case FILE_TYPE_PIPE: break;
    default: return other_kind(fd);
    }
    int kind = socket_kind(ferry__win_socket(fd));
    return kind != KIND_UNKNOWN ? kind : KIND_PIPE;
}

/* ---- Ends of connections ------------------------------------------------------------------- */

int ferry__os_shutdown(ferry_fd fd, int how) {
    static const int hows[] = {
        [FERRY_SHUT_READ] = SD_RECEIVE, [FERRY_SHUT_WRITE] = SD_SEND, [FERRY_SHUT_BOTH] = SD_BOTH};
    if (shutdown(ferry__win_socket(fd), hows[how]) != 0) return ferry__win_error_on(fd);
    /* Receives that wait would go on waiting: they are to find out, each with another try. */
    if (how != FERRY_SHUT_WRITE) (void)CancelIoEx(ferry__win_handle(fd), NULL);
    return 0;
}

/* The close that follows sends the reset. */
void ferry__os_abandon(ferry_fd fd) {
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(ferry__win_socket(fd), SOL_SOCKET, SO_LINGER, (const char *)&none,
                     sizeof none);
    (void)CancelIoEx(ferry__win_handle(fd), NULL);
}

static unsigned long unread_bytes(SOCKET socket) {
    unsigned long bytes = 0;
    return ioctlsocket(socket, FIONREAD, &bytes) == 0 ? bytes : 0;
}

static bool is_tcp(SOCKET socket) {
    WSAPROTOCOL_INFOW about;
    return option(socket, SO_PROTOCOL_INFOW, &about, sizeof about) == 0 &&
           about.iProtocol == IPPROTO_TCP;
}

/* Has the program asked for a reset (FERRY_OPT_LINGER_S of 0)? */
static bool reset_wanted(SOCKET socket) {
    struct linger linger = {.l_onoff = 0};
    return option(socket, SO_LINGER, &linger, sizeof linger) == 0 && linger.l_onoff != 0 &&
           linger.l_linger == 0;
}

bool ferry__os_unread(ferry_fd fd) {
    SOCKET socket = ferry__win_socket(fd);
    return unread_bytes(socket) > 0 && !reset_wanted(socket) && is_tcp(socket);
}

/* Is there something to be read, be it the end or an error? */
static bool is_readable(SOCKET socket) {
    WSAPOLLFD poll = {.fd = socket, .events = POLLRDNORM};
    return WSAPoll(&poll, 1, 0) > 0;
}

/* Our side has been ended before: the peer's acknowledgement of that end is one of all that was
 * sent before it, and then the state is another. */
static bool is_acknowledged(SOCKET socket) {
    int state = ferry__win_tcp_state(socket);
    return state == MIB_TCP_STATE_FIN_WAIT2 || state == MIB_TCP_STATE_TIME_WAIT ||
           state == MIB_TCP_STATE_CLOSED;
}

bool ferry__os_settled(ferry_fd fd) {
    SOCKET socket = ferry__win_socket(fd);
    char rest[8192];
    /* Bounded, for the others' sake. What is readable does not let recv() wait. */
    for (int i = 0; i < 128 && is_readable(socket); i++) {
        if (recv(socket, rest, sizeof rest, 0) <= 0) return true;
    }
    return is_acknowledged(socket) && unread_bytes(socket) == 0;
}
