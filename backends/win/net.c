/* net.c - sockets, pairs and pipes: the ordinary functions of ferry.h that never wait.
 *
 * No handle made here is inherited by a child, not for a moment either.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"
#include "sockets/kinds.h"

#include "win.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#define TRIES 8 /* before somebody else who is quicker is believed */

static bool addr_valid(const ferry_addr *addr) {
    return addr != NULL && ferry__os_addr_check(addr) == 0;
}

/* ---- Sockets ----------------------------------------------------------------------------- */

SOCKET ferry__win_socket_make(int family, int type, int protocol) {
    return WSASocketW(family, type, protocol, NULL, 0,
                      WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
}

int ferry__win_socket_family(SOCKET socket) {
    WSAPROTOCOL_INFOW about;
    int len = sizeof about;
    if (getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&about, &len) != 0) {
        return AF_UNSPEC;
    }
    return about.iAddressFamily;
}

void ferry__win_socket_hears_icmp(SOCKET socket, bool hears) {
    static const DWORD controls[] = {SIO_UDP_CONNRESET, SIO_UDP_NETRESET};
    BOOL value = hears;
    DWORD got;
    for (unsigned i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        /* Where the second is not known, what it is about does not come either. */
        (void)WSAIoctl(socket, controls[i], &value, sizeof value, NULL, 0, &got, NULL, NULL);
    }
}

/* 0 or an error. */
static int socket_make(SOCKET *socket, int family, int type) {
    *socket = ferry__win_socket_make(family, type, 0);
    if (*socket == INVALID_SOCKET) return ferry__win_socket_error();
    if (type == SOCK_DGRAM && family != AF_UNIX) ferry__win_socket_hears_icmp(*socket, false);
    return 0;
}

int ferry_socket(ferry_loop *loop, ferry_fd *fd, enum ferry_family family,
                 enum ferry_socket_type type) {
    ferry__loop_check(loop, NULL);
    int domain = ferry__system_family(family), kind = ferry__system_type(type);
    if (fd == NULL || domain < 0 || kind < 0) return FERRY_EINVAL;
    SOCKET socket;
    int error = socket_make(&socket, domain, kind);
    *fd = error == 0 ? ferry__win_socket_fd(socket) : FERRY_FD_NONE;
    if (error == 0) ferry__slot_claim(loop, *fd, ferry__kind_of_type(kind));
    return error;
}

int ferry_bind(ferry_loop *loop, ferry_fd fd, const ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    if (!addr_valid(addr)) return FERRY_EINVAL;
    int failed = bind(ferry__win_socket(fd), ferry__sockaddr(addr), (int)addr->len);
    return failed ? ferry__win_error_on(fd) : 0;
}

static int listen_on(SOCKET socket, int backlog) {
    if (listen(socket, backlog > 0 ? backlog : SOMAXCONN) == 0) return 0;
    return ferry__win_error_on(ferry__win_socket_fd(socket));
}

/* Without SO_REUSEADDR: here a port can be bound again at once as it is, and that option would let
 * every other program take it. */
static int listen_prepare(SOCKET socket, const ferry_addr *addr, int backlog) {
    const DWORD on = 1;
    if (ferry__sockaddr(addr)->sa_family == AF_INET6 &&
        setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, (const char *)&on, sizeof on) != 0) {
        return ferry__win_socket_error();
    }
    if (bind(socket, ferry__sockaddr(addr), (int)addr->len) != 0) return ferry__win_socket_error();
    return listen_on(socket, backlog);
}

int ferry_listen(ferry_loop *loop, ferry_fd *fd, const ferry_addr *addr, int backlog) {
    ferry__loop_check(loop, NULL);
    if (fd == NULL || !addr_valid(addr) || backlog < 0) return FERRY_EINVAL;
    *fd = FERRY_FD_NONE;
    SOCKET socket;
    int error = socket_make(&socket, ferry__sockaddr(addr)->sa_family, SOCK_STREAM);
    if (error != 0) return error;
    error = listen_prepare(socket, addr, backlog);
    if (error != 0) {
        (void)closesocket(socket);
        return error;
    }
    *fd = ferry__win_socket_fd(socket);
    ferry__slot_claim(loop, *fd, KIND_STREAM);
    return 0;
}

int ferry_listen_fd(ferry_loop *loop, ferry_fd fd, int backlog) {
    ferry__loop_check(loop, NULL);
    return backlog < 0 ? FERRY_EINVAL : listen_on(ferry__win_socket(fd), backlog);
}

/* ---- Names of sockets ---------------------------------------------------------------------- */

/* What a socket without a name has elsewhere: its family, and nothing. */
static int nameless(SOCKET socket, ferry_addr *addr) {
    int family = ferry__win_socket_family(socket);
    if (family == AF_UNSPEC) return FERRY_EINVAL;
    struct sockaddr empty = {.sa_family = (ADDRESS_FAMILY)family};
    memcpy(addr->data.bytes, &empty, sizeof empty.sa_family);
    if (family == AF_INET) addr->len = sizeof(struct sockaddr_in);
    if (family == AF_INET6) addr->len = sizeof(struct sockaddr_in6);
    if (family == AF_UNIX) addr->len = sizeof empty.sa_family;
    return 0;
}

int ferry_local_addr(ferry_loop *loop, ferry_fd fd, ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    if (addr == NULL) return FERRY_EINVAL;
    memset(addr, 0, sizeof *addr);
    int len = sizeof addr->data.bytes;
    SOCKET socket = ferry__win_socket(fd);
    if (getsockname(socket, (struct sockaddr *)(void *)addr->data.bytes, &len) != 0) {
        return WSAGetLastError() == WSAEINVAL ? nameless(socket, addr) : ferry__win_error_on(fd);
    }
    addr->len = (uint32_t)len;
    return 0;
}

int ferry_peer_addr(ferry_loop *loop, ferry_fd fd, ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    if (addr == NULL) return FERRY_EINVAL;
    memset(addr, 0, sizeof *addr);
    int len = sizeof addr->data.bytes;
    struct sockaddr *name = (struct sockaddr *)(void *)addr->data.bytes;
    if (getpeername(ferry__win_socket(fd), name, &len) != 0) return ferry__win_error_on(fd);
    addr->len = (uint32_t)len;
    return 0;
}

/* ---- Pairs: connections over the loopback interface ------------------------------------------ */

static const struct sockaddr_in loopback = {.sin_family = AF_INET,
                                            .sin_addr.S_un.S_un_b = {127, 0, 0, 1}};

static bool bind_loopback(SOCKET socket, struct sockaddr_in *name) {
    int len = sizeof *name;
    return bind(socket, (const struct sockaddr *)&loopback, sizeof loopback) == 0 &&
           getsockname(socket, (struct sockaddr *)name, &len) == 0;
}

static bool connect_to(SOCKET socket, const struct sockaddr_in *name) {
    return connect(socket, (const struct sockaddr *)name, sizeof *name) == 0;
}

static bool is_name(const struct sockaddr_in *name, const struct sockaddr_in *other) {
    return name->sin_port == other->sin_port && name->sin_addr.s_addr == other->sin_addr.s_addr;
}

/* Takes the connection that to makes into from. accept() would give a socket that is inherited.
 * False if it fails, or if somebody else has come first. */
static bool pair_accept(SOCKET listener, SOCKET from, SOCKET to, HANDLE event) {
    struct {
        struct sockaddr_in name;
        char more[16];
    } names[2];
    struct sockaddr_in port, ours, theirs;
    int len = sizeof ours;
    OVERLAPPED overlapped = {.hEvent = event};
    DWORD got, flags;
    if (!bind_loopback(listener, &port) || listen(listener, 1) != 0) return false;
    if (!ferry__win.accept_ex(listener, from, names, 0, sizeof names[0], sizeof names[1], &got,
                              &overlapped) &&
        WSAGetLastError() != ERROR_IO_PENDING) {
        return false;
    }
    bool connected = connect_to(to, &port);
    int error = WSAGetLastError();
    if (!connected) (void)CancelIoEx((HANDLE)listener, &overlapped);
    bool accepted = WSAGetOverlappedResult(listener, &overlapped, &got, TRUE, &flags);
    if (!connected) WSASetLastError(error);
    if (!connected || !accepted) return false;
    bool known = setsockopt(from, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&listener,
                            sizeof listener) == 0 &&
                 getsockname(to, (struct sockaddr *)&ours, &len) == 0 &&
                 getpeername(from, (struct sockaddr *)&theirs, &len) == 0;
    if (known && is_name(&ours, &theirs)) return true;
    if (known) WSASetLastError(WSAECONNABORTED);
    return false;
}

static bool pair_streams(SOCKET sockets[2]) {
    const DWORD on = 1;
    SOCKET listener = ferry__win_socket_make(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    bool done = listener != INVALID_SOCKET && event != NULL &&
                pair_accept(listener, sockets[1], sockets[0], event);
    int error = WSAGetLastError();
    for (int i = 0; done && i < 2; i++) { /* as pairs are elsewhere: nothing is held back */
        (void)setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof on);
    }
    if (listener != INVALID_SOCKET) (void)closesocket(listener);
    if (event != NULL) (void)CloseHandle(event);
    WSASetLastError(error);
    return done;
}

static bool pair_datagrams(SOCKET sockets[2]) {
    struct sockaddr_in names[2];
    return bind_loopback(sockets[0], &names[0]) && bind_loopback(sockets[1], &names[1]) &&
           connect_to(sockets[0], &names[1]) && connect_to(sockets[1], &names[0]);
}

static void close_both(SOCKET sockets[2]) {
    for (int i = 0; i < 2; i++) {
        if (sockets[i] != INVALID_SOCKET) (void)closesocket(sockets[i]);
    }
}

/* 0 or an error. */
static int pair_make(SOCKET sockets[2], int type) {
    sockets[1] = INVALID_SOCKET;
    int error = socket_make(&sockets[0], AF_INET, type);
    if (error == 0) error = socket_make(&sockets[1], AF_INET, type);
    if (error == 0 && !(type == SOCK_STREAM ? pair_streams(sockets) : pair_datagrams(sockets))) {
        error = ferry__win_socket_error();
    }
    if (error != 0) close_both(sockets);
    return error;
}

int ferry_socketpair(ferry_loop *loop, ferry_fd fds[2], enum ferry_socket_type type) {
    ferry__loop_check(loop, NULL);
    int kind = ferry__system_type(type), error = FERRY_ECONNABORTED;
    SOCKET sockets[2];
    if (fds == NULL || kind < 0) return FERRY_EINVAL;
    if (kind == SOCK_SEQPACKET) return FERRY_EPROTONOSUPPORT;
    for (int i = 0; i < TRIES && error == FERRY_ECONNABORTED; i++) {
        error = pair_make(sockets, kind);
    }
    if (error != 0) return error;
    for (int i = 0; i < 2; i++) {
        fds[i] = ferry__win_socket_fd(sockets[i]);
        ferry__slot_claim(loop, fds[i], ferry__kind_of_type(kind));
    }
    return 0;
}

/* ---- Pipes ------------------------------------------------------------------------------- */

#define PIPE_BYTES 65536

/* Overlapped pipes have names. One that nobody has had before: whoever guesses it nevertheless can
 * only keep us from using it. */
static void pipe_name(wchar_t *name, size_t len) {
    static _Atomic uint32_t count; /* relaxed: just different ones */
    unsigned number = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    (void)_snwprintf(name, len, L"\\\\.\\pipe\\ferry-%lx-%x-%llx", GetCurrentProcessId(), number,
                     (unsigned long long)ferry__os_clock());
}

static DWORD pipe_open(HANDLE ends[2], bool both_ways, bool message) {
    wchar_t name[80];
    DWORD access = both_ways ? PIPE_ACCESS_DUPLEX : PIPE_ACCESS_INBOUND;
    DWORD mode = message ? PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE : PIPE_TYPE_BYTE;
    pipe_name(name, sizeof name / sizeof name[0]);
    ends[0] = CreateNamedPipeW(name, access | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
                               mode | PIPE_REJECT_REMOTE_CLIENTS, 1, PIPE_BYTES, PIPE_BYTES, 0,
                               NULL);
    if (ends[0] == INVALID_HANDLE_VALUE) return GetLastError();
    /* FILE_WRITE_ATTRIBUTES: to read by messages, should it be one that has them. */
    access = GENERIC_WRITE | (both_ways ? GENERIC_READ : 0) | FILE_WRITE_ATTRIBUTES;
    ends[1] = CreateFileW(name, access, 0, NULL, OPEN_EXISTING,
                          FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS, NULL);
    if (ends[1] == INVALID_HANDLE_VALUE) {
        DWORD error = GetLastError();
        (void)CloseHandle(ends[0]);
        return error;
    }
    DWORD by_messages = PIPE_READMODE_MESSAGE;
    if (message) (void)SetNamedPipeHandleState(ends[1], &by_messages, NULL, NULL);
    return 0;
}

int ferry__win_pipe(HANDLE ends[2], bool both_ways, bool message) {
    DWORD error = ERROR_PIPE_BUSY;
    for (int i = 0; i < TRIES && (error == ERROR_PIPE_BUSY || error == ERROR_ACCESS_DENIED); i++) {
        error = pipe_open(ends, both_ways, message);
    }
    return ferry__win_error(error);
}

int ferry_pipe(ferry_loop *loop, ferry_fd fds[2]) {
    ferry__loop_check(loop, NULL);
    HANDLE ends[2];
    if (fds == NULL) return FERRY_EINVAL;
    int error = ferry__win_pipe(ends, false, false);
    if (error != 0) return error;
    for (int i = 0; i < 2; i++) {
        fds[i] = ferry__win_fd(ends[i]);
        ferry__slot_claim(loop, fds[i], KIND_PIPE);
    }
    return 0;
}
