/* sockets.c - sockets as the tests know them
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include <iphlpapi.h>
#include <netioapi.h>

#define DONTWAIT 0x1000000

struct posix_pollfd {
    posix_fd fd;
    short events, revents;
};
struct pollfd; /* the tests' one is as above */

posix_fd posix_socket(int family, int type, int protocol);
int posix_socketpair(int family, int type, int protocol, posix_fd fds[2]);
int posix_bind(posix_fd fd, const struct sockaddr *addr, unsigned len);
int posix_listen(posix_fd fd, int backlog);
posix_fd posix_accept(posix_fd fd, struct sockaddr *addr, unsigned *len);
int posix_connect(posix_fd fd, const struct sockaddr *addr, unsigned len);
int posix_shutdown(posix_fd fd, int how);
int posix_getsockname(posix_fd fd, struct sockaddr *addr, unsigned *len);
int posix_getpeername(posix_fd fd, struct sockaddr *addr, unsigned *len);
int posix_getsockopt(posix_fd fd, int level, int name, void *value, unsigned *len);
int posix_setsockopt(posix_fd fd, int level, int name, const void *value, unsigned len);
intptr_t posix_send(posix_fd fd, const void *buf, size_t len, int flags);
intptr_t posix_recv(posix_fd fd, void *buf, size_t len, int flags);
intptr_t posix_sendto(posix_fd fd, const void *buf, size_t len, int flags,
                      const struct sockaddr *addr, unsigned addr_len);
intptr_t posix_recvfrom(posix_fd fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                        unsigned *addr_len);
int posix_poll(struct posix_pollfd *fds, unsigned long count, int ms);
int posix_ioctl(posix_fd fd, long what, void *value);
int posix_inet_pton(int family, const char *text, void *addr);
unsigned posix_if_nametoindex(const char *name);
const char *posix_loopback(void);
size_t unsent_bytes(posix_fd fd);

/* ---- Making --------------------------------------------------------------------------------- */

int has_unix(int type);

int has_unix(int type) {
    SOCKET fd = INVALID_SOCKET;
    sockets_start();
    if (type == SOCK_STREAM) fd = socket(AF_UNIX, type, 0);
    if (fd != INVALID_SOCKET) closesocket(fd);
    return fd != INVALID_SOCKET;
}

posix_fd posix_socket(int family, int type, int protocol) {
    sockets_start();
    SOCKET made = WSASocketW(family, type, protocol, NULL, 0,
                             WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (made == INVALID_SOCKET) {
        if (family == AF_UNIX) return missing("no Unix sockets (of this kind) here");
        return failed();
    }
    mark_open((posix_fd)made, 2);
    return (posix_fd)made;
}

static int loopback_bind(SOCKET s, struct sockaddr_in *addr) {
    int len = sizeof *addr;
    memset(addr, 0, sizeof *addr);
    addr->sin_family = AF_INET;
    addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return bind(s, (struct sockaddr *)addr, len) == 0 &&
                   getsockname(s, (struct sockaddr *)addr, &len) == 0
               ? 0
               : -1;
}

/* Two datagram sockets, each bound and connected to the other. */
static int datagram_pair(posix_fd fds[2]) {
    struct sockaddr_in addrs[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = posix_socket(AF_INET, SOCK_DGRAM, 0);
        if (fds[i] < 0 || loopback_bind((SOCKET)fds[i], &addrs[i]) < 0) return failed();
    }
    for (int i = 0; i < 2; i++) {
        if (connect((SOCKET)fds[i], (struct sockaddr *)&addrs[1 - i], sizeof addrs[0]) != 0) {
            return failed();
        }
    }
    return 0;
}

/* Others may connect to our port: it is the peer's that counts. The room of a Unix socket. */
static int stream_pair(posix_fd fds[2]) {
    struct sockaddr_in addr, here, there;
    int one = 1, room = 65536;
    SOCKET listener = (SOCKET)posix_socket(AF_INET, SOCK_STREAM, 0);
    fds[0] = posix_socket(AF_INET, SOCK_STREAM, 0);
    if (loopback_bind(listener, &addr) < 0 || listen(listener, 8) != 0 ||
        connect((SOCKET)fds[0], (struct sockaddr *)&addr, sizeof addr) != 0) {
        return failed();
    }
    for (;;) {
        int here_len = sizeof here, there_len = sizeof there;
        fds[1] = posix_accept((posix_fd)listener, NULL, NULL);
        if (fds[1] < 0) return -1;
        getsockname((SOCKET)fds[0], (struct sockaddr *)&here, &here_len);
        getpeername((SOCKET)fds[1], (struct sockaddr *)&there, &there_len);
        if (here.sin_port == there.sin_port) break;
        closesocket((SOCKET)fds[1]);
    }
    for (int i = 0; i < 2; i++) {
        setsockopt((SOCKET)fds[i], IPPROTO_TCP, TCP_NODELAY, (char *)&one, sizeof one);
        setsockopt((SOCKET)fds[i], SOL_SOCKET, SO_SNDBUF, (char *)&room, sizeof room);
        setsockopt((SOCKET)fds[i], SOL_SOCKET, SO_RCVBUF, (char *)&room, sizeof room);
    }
    closesocket(listener);
    return 0;
}

/* Windows has no pairs of Unix sockets: what comes nearest is the loopback interface. */
int posix_socketpair(int family, int type, int protocol, posix_fd fds[2]) {
    (void)family;
    (void)protocol;
    sockets_start();
    if (type == SOCK_STREAM) return stream_pair(fds);
    if (type == SOCK_DGRAM) return datagram_pair(fds);
    return missing("no sockets for messages in order on Windows");
}

/* ---- One call after the other --------------------------------------------------------------- */

int posix_bind(posix_fd fd, const struct sockaddr *addr, unsigned len) {
    return bind((SOCKET)fd, addr, (int)len) == 0 ? 0 : failed();
}

int posix_listen(posix_fd fd, int backlog) {
    return listen((SOCKET)fd, backlog) == 0 ? 0 : failed();
}

posix_fd posix_accept(posix_fd fd, struct sockaddr *addr, unsigned *len) {
    SOCKET came = accept((SOCKET)fd, addr, (int *)len);
    if (came == INVALID_SOCKET) return failed();
    SetHandleInformation((HANDLE)came, HANDLE_FLAG_INHERIT, 0);
    mark_open((posix_fd)came, 2);
    mark_of((posix_fd)came)->flags |= mark_of(fd)->flags & FLAG_NONBLOCK;
    return (posix_fd)came;
}

int posix_connect(posix_fd fd, const struct sockaddr *addr, unsigned len) {
    if (connect((SOCKET)fd, addr, (int)len) == 0) return 0;
    if (WSAGetLastError() != WSAEWOULDBLOCK) return failed();
    errno = WSAEINPROGRESS;
    return -1;
}

int posix_shutdown(posix_fd fd, int how) {
    return shutdown((SOCKET)fd, how) == 0 ? 0 : failed();
}

int posix_getsockname(posix_fd fd, struct sockaddr *addr, unsigned *len) {
    return getsockname((SOCKET)fd, addr, (int *)len) == 0 ? 0 : failed();
}

int posix_getpeername(posix_fd fd, struct sockaddr *addr, unsigned *len) {
    return getpeername((SOCKET)fd, addr, (int *)len) == 0 ? 0 : failed();
}

int posix_getsockopt(posix_fd fd, int level, int name, void *value, unsigned *len) {
    if (getsockopt((SOCKET)fd, level, name, value, (int *)len) != 0) return failed();
    if (level == SOL_SOCKET && name == SO_ERROR && *(int *)value != 0) {
        failed_with(*(DWORD *)value);
        *(int *)value = errno;
    }
    return 0;
}

int posix_setsockopt(posix_fd fd, int level, int name, const void *value, unsigned len) {
    return setsockopt((SOCKET)fd, level, name, value, (int)len) == 0 ? 0 : failed();
}

/* For one call, without waiting. */
static void impatient(posix_fd fd, int flags, u_long on) {
    if (!(flags & DONTWAIT) || mark_of(fd)->flags & FLAG_NONBLOCK) return;
    DWORD error = GetLastError();
    ioctlsocket((SOCKET)fd, (long)FIONBIO, &on);
    SetLastError(error);
}

static int most(size_t len) {
    return len > INT_MAX ? INT_MAX : (int)len;
}

intptr_t posix_sendto(posix_fd fd, const void *buf, size_t len, int flags,
                      const struct sockaddr *addr, unsigned addr_len) {
    impatient(fd, flags, 1);
    int n = sendto((SOCKET)fd, buf, most(len), flags & ~DONTWAIT, addr, (int)addr_len);
    impatient(fd, flags, 0);
    return n < 0 ? failed() : n;
}

intptr_t posix_send(posix_fd fd, const void *buf, size_t len, int flags) {
    impatient(fd, flags, 1);
    int n = send((SOCKET)fd, buf, most(len), flags & ~DONTWAIT);
    impatient(fd, flags, 0);
    return n < 0 ? failed() : n;
}

intptr_t posix_recvfrom(posix_fd fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                        unsigned *addr_len) {
    impatient(fd, flags, 1);
    int n = recvfrom((SOCKET)fd, buf, most(len), flags & ~DONTWAIT, addr, (int *)addr_len);
    impatient(fd, flags, 0);
    if (n < 0 && WSAGetLastError() == WSAEMSGSIZE) return most(len);
    return n < 0 ? failed() : n;
}

intptr_t posix_recv(posix_fd fd, void *buf, size_t len, int flags) {
    return posix_recvfrom(fd, buf, len, flags, NULL, NULL);
}

int posix_ioctl(posix_fd fd, long what, void *value) {
    return ioctlsocket((SOCKET)fd, what, value) == 0 ? 0 : failed();
}

int posix_inet_pton(int family, const char *text, void *addr) {
    sockets_start();
    return inet_pton(family, text, addr);
}

unsigned posix_if_nametoindex(const char *name) {
    return if_nametoindex(name);
}

/* What it is called depends on the system's version; its number does not. */
const char *posix_loopback(void) {
    static char name[NDIS_IF_MAX_STRING_SIZE + 1];
    return if_indextoname(1, name) ? name : "";
}

/* TCP_INFO would tell on newer systems alone. */
size_t unsent_bytes(posix_fd fd) {
    (void)fd;
    missing("no way to ask what a peer has not acknowledged");
    return 0;
}

/* ---- Waiting -------------------------------------------------------------------------------- */

static short look_at_socket(const struct posix_pollfd *asked) {
    WSAPOLLFD one = {.fd = (SOCKET)asked->fd, .events = asked->events & ~(POLLPRI | POLLRDBAND)};
    if (WSAPoll(&one, 1, 0) < 0) return POLLNVAL;
    return one.revents;
}

static short look_at_other(const struct posix_pollfd *asked) {
    DWORD there = 0;
    HANDLE handle = handle_of(asked->fd);
    if (GetFileType(handle) != FILE_TYPE_PIPE) {
        if (GetFileType(handle) != FILE_TYPE_UNKNOWN) return asked->events;
        return WaitForSingleObject(handle, 0) == WAIT_OBJECT_0 ? asked->events & POLLIN : 0;
    }
    if (asked->events & POLLOUT) return POLLOUT;
    if (PeekNamedPipe(handle, NULL, 0, NULL, &there, NULL)) return there ? POLLIN : 0;
    return POLLHUP;
}

int posix_poll(struct posix_pollfd *fds, unsigned long count, int ms) {
    ULONGLONG until = GetTickCount64() + (ULONGLONG)(ms < 0 ? 1000000000 : ms);
    for (;;) {
        int ready = 0;
        for (unsigned long i = 0; i < count; i++) {
            struct posix_pollfd *one = &fds[i];
            one->revents = 0;
            if (one->fd < 0) continue;
            one->revents = is_socket(one->fd) ? look_at_socket(one) : look_at_other(one);
            if (one->revents != 0) ready++;
        }
        if (ready > 0 || GetTickCount64() >= until) return ready;
        Sleep(1);
    }
}
