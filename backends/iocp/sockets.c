/* sockets.c - connects, receives, sends, closes.
 *
 * Vectors, addresses and what a WSASendMsg() points to are read by the system before the call
 * returns; buffers, control data and the header of a WSARecvMsg() when it completes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

#include "../win/files.h"

#include <mstcpip.h>

static bool is_socket(enum ferry__fd_kind kind) {
    return kind == KIND_STREAM || kind == KIND_MESSAGE || kind == KIND_SEQPACKET;
}

static enum ferry__fd_kind kind_of(const ferry_loop *loop, ferry_fd fd) {
    return (enum ferry__fd_kind)ferry__slot(loop, fd)->kind;
}

static bool is_message(const ferry_loop *loop, ferry_fd fd) {
    return ferry__slot_is_message(ferry__slot(loop, fd));
}

/* Sees to it that packets of op's socket come here: 0 or an error. Datagrams never skip the port:
 * some systems break that rule for them. */
static int socket_bind(ferry_loop *loop, const ferry_op *op) {
    if (!is_socket(kind_of(loop, op->fd))) return FERRY_ENOTSOCK;
    return ferry__iocp_bind(loop, op->fd, kind_of(loop, op->fd) == KIND_STREAM);
}

static DWORD outcome_of(int result) {
    return result == 0 ? ERROR_SUCCESS : (DWORD)WSAGetLastError();
}

/* ---- ICMP -------------------------------------------------------------------------------- */

static bool is_connected(ferry_fd fd) {
    struct sockaddr_storage peer;
    int len = sizeof peer;
    return getpeername(ferry__win_socket(fd), (struct sockaddr *)&peer, &len) == 0;
}

/* Windows lets a datagram socket know that one of its datagrams did not arrive, though nobody can
 * tell which. With a peer that is worth knowing; with many it is none of this receive's business.
 */
bool ferry__iocp_is_noise(const ferry_loop *loop, ferry_fd fd, int *error) {
    if (!is_message(loop, fd)) {
        if (*error == FERRY_ECONNRESET) iocp_slot(loop, fd)->flags |= HANDLE_RESET;
        return false;
    }
    bool refused = *error == FERRY_ECONNRESET || *error == FERRY_ECONNREFUSED;
    if (!refused && *error != FERRY_EHOSTUNREACH && *error != FERRY_ENETUNREACH) return false;
    if (!is_connected(fd)) return true;
    if (refused) *error = FERRY_ECONNREFUSED;
    return false;
}

/* ---- Receives ---------------------------------------------------------------------------- */

/* Input that was shut down has ended. */
static void came_in(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    if (bytes == 0 &&
        (iocp_is_unasked(op, error) || (error < 0 && ferry__iocp_is_noise(loop, op->fd, &error)))) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED);
    } else {
        if (error == FERRY_EPIPE) error = 0;
        ferry__iocp_came_in(loop, request, error, bytes);
    }
}

/* One that has no address yet cannot receive, says Windows; it just does not receive anything
 * until it has one. */
static bool needs_address(DWORD code, SOCKET socket) {
    struct sockaddr_storage own;
    int len = sizeof own;
    if (code != WSAEINVAL) return false;
    if (getsockname(socket, (struct sockaddr *)&own, &len) == 0) return false;
    return ferry__iocp_bind_any(socket, ferry__win_socket_family(socket)) == 0;
}

static DWORD receive(SOCKET socket, struct iocp_request *request, WSABUF *vecs, DWORD count) {
    request->flags = 0;
    return outcome_of(
        WSARecv(socket, vecs, count, &request->bytes, &request->flags, &request->overlapped, NULL));
}

void ferry__iocp_receive(ferry_loop *loop, ferry_fd fd, struct iocp_request *request, WSABUF *vecs,
                         DWORD count) {
    SOCKET socket = ferry__win_socket(fd);
    DWORD code = receive(socket, request, vecs, count);
    if (FERRY__UNLIKELY(code == WSAEINVAL) && is_message(loop, fd) && needs_address(code, socket)) {
        code = receive(socket, request, vecs, count);
    }
    ferry__iocp_issued(loop, fd, request, code);
}

static DWORD receive_msg(SOCKET socket, struct iocp_request *request, WSAMSG *header) {
    return outcome_of(
        ferry__win.recv_msg(socket, header, &request->bytes, &request->overlapped, NULL));
}

void ferry__iocp_receive_msg(ferry_loop *loop, ferry_fd fd, struct iocp_request *request,
                             WSAMSG *header) {
    SOCKET socket = ferry__win_socket(fd);
    DWORD code = receive_msg(socket, request, header);
    if (FERRY__UNLIKELY(code == WSAEINVAL) && needs_address(code, socket)) {
        code = receive_msg(socket, request, header);
    }
    ferry__iocp_issued(loop, fd, request, code);
}

/* A message is received into all of the vectors at once. */
static void rest_of(const ferry_loop *loop, const ferry_op *op, struct iocp_rest *rest) {
    if (is_message(loop, op->fd) && ferry__op_row(op)->checked & ARG_VECTORS) {
        rest->vecs = (WSABUF *)(uintptr_t)op->buf;
        rest->count = op->len < UINT32_MAX ? (DWORD)op->len : UINT32_MAX;
        rest->one = (WSABUF){.len = 0};
        if (rest->count > 0) return;
        rest->vecs = &rest->one; /* a message of nothing */
        rest->count = 1;
    } else {
        ferry__iocp_rest(op, rest);
    }
}

/* Streams take a piece at a time. */
static void rest_trim(struct iocp_rest *rest, DWORD most) {
    DWORD bytes = 0, count = 0;
    while (count < rest->count && rest->vecs[count].len <= most - bytes) {
        bytes += rest->vecs[count++].len;
    }
    if (count == 0) {
        rest->one = rest->vecs[0];
        rest->one.len = most;
        rest->vecs = &rest->one;
        count = 1;
    }
    rest->count = count;
}

/* What is next to be moved, of a stream so much at most. False: it has ended with an error. */
static bool rest_begin(ferry_loop *loop, ferry_op *op, DWORD most, struct iocp_rest *rest) {
    int error = socket_bind(loop, op);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
        return false;
    }
    rest_of(loop, op, rest);
    if (!is_message(loop, op->fd)) rest_trim(rest, most);
    return true;
}

void ferry__iocp_begin_recv(ferry_loop *loop, ferry_op *op) {
    struct iocp_rest rest;
    if (!rest_begin(loop, op, IOCP_RECV_MAX, &rest)) return;
    ferry__iocp_receive(loop, op->fd, iocp_prepare(iocp_request(op), came_in), rest.vecs,
                        rest.count);
}

static void came_message(ferry_loop *loop, struct iocp_request *request, int error,
                         uint32_t bytes) {
    if (error >= 0) {
        ferry_msg *msg = ferry__msg(iocp_op(request));
        ferry__win_msg_finish(msg);
        if (error == IOCP_CUT) msg->flags |= FERRY_MSG_TRUNCATED;
    }
    came_in(loop, request, error, bytes);
}

/* Windows knows messages on datagram sockets only; a stream has neither sender nor control data. */
void ferry__iocp_begin_recvmsg(ferry_loop *loop, ferry_op *op) {
    int error = socket_bind(loop, op);
    if (error == 0 && is_message(loop, op->fd)) {
        struct iocp_rest rest;
        WSAMSG *header = ferry__win_msg_receive(op);
        rest_of(loop, op, &rest);
        /* What is pointed to is read at once, but for what must stay until the completion. */
        header->lpBuffers = rest.vecs;
        header->dwBufferCount = rest.count;
        ferry__iocp_receive_msg(loop, op->fd, iocp_prepare(iocp_request(op), came_message), header);
    } else if (error == 0) {
        ferry__iocp_begin_recv(loop, op);
    } else {
        ferry__iocp_fail(loop, op, error);
    }
}

/* ---- Sends ------------------------------------------------------------------------------- */

static void came_out(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    bool message = is_message(loop, op->fd);
    /* A reset is told once; who goes on sending writes to nobody. */
    if (error == FERRY_ECONNRESET && iocp_slot(loop, op->fd)->flags & HANDLE_RESET) {
        error = FERRY_EPIPE;
    }
    if (bytes == 0 &&
        (iocp_is_unasked(op, error) || (error < 0 && ferry__iocp_is_noise(loop, op->fd, &error)))) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED); /* or about one that was sent before */
        return;
    }
    if (message && error == FERRY_ENOTCONN) error = FERRY_EDESTADDRREQ;
    ferry__iocp_came_out(loop, request, error, bytes);
}

static void send_vecs(ferry_loop *loop, ferry_op *op, WSABUF *vecs, DWORD count) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), came_out);
    int result = WSASend(ferry__win_socket(op->fd), vecs, count, &request->bytes, 0,
                         &request->overlapped, NULL);
    ferry__iocp_issued(loop, op->fd, request, outcome_of(result));
}

void ferry__iocp_begin_send(ferry_loop *loop, ferry_op *op) {
    struct iocp_rest rest;
    if (rest_begin(loop, op, IOCP_SEND_MAX, &rest)) send_vecs(loop, op, rest.vecs, rest.count);
}

void ferry__iocp_send_gathered(ferry_loop *loop, ferry_op *first, unsigned count) {
    WSABUF vecs[IOCP_GATHER_MAX];
    int error = socket_bind(loop, first);
    if (error != 0) {
        ferry__iocp_fail(loop, first, error);
        return;
    }
    ferry_op *op = first;
    DWORD used = 0;
    for (uint64_t left = IOCP_SEND_MAX; used < count && left > 0; op = op->link.next) {
        uint64_t len = op->len - op->transferred;
        if (len > left) len = left;
        vecs[used].buf = (char *)(uintptr_t)op->buf + op->transferred;
        vecs[used].len = (ULONG)len;
        left -= len;
        used++;
    }
    send_vecs(loop, first, vecs, used);
}

static int send_message(const ferry_op *op, struct iocp_request *request, struct iocp_rest *rest) {
    const ferry_msg *msg = ferry__msg(op);
    SOCKET socket = ferry__win_socket(op->fd);
    if (msg->control_len > 0) {
        WSAMSG header;
        ferry__win_msg_send(op, &header);
        header.lpBuffers = rest->vecs;
        header.dwBufferCount = rest->count;
        return ferry__win.send_msg(socket, &header, 0, &request->bytes, &request->overlapped, NULL);
    }
    const struct sockaddr *to = NULL;
    int len = 0;
    if (msg->addr != NULL && msg->addr->len > 0) {
        to = (const struct sockaddr *)(const void *)msg->addr->data.bytes;
        len = (int)msg->addr->len;
    }
    return WSASendTo(socket, rest->vecs, rest->count, &request->bytes, 0, to, len,
                     &request->overlapped, NULL);
}

void ferry__iocp_begin_sendmsg(ferry_loop *loop, ferry_op *op) {
    struct iocp_rest rest;
    int error = socket_bind(loop, op);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else if (!is_message(loop, op->fd)) {
        ferry__iocp_begin_send(loop, op);
    } else {
        struct iocp_request *request = iocp_prepare(iocp_request(op), came_out);
        rest_of(loop, op, &rest);
        ferry__iocp_issued(loop, op->fd, request, outcome_of(send_message(op, request, &rest)));
    }
}

/* ---- Connects ---------------------------------------------------------------------------- */

int ferry__iocp_bind_any(SOCKET socket, int family) {
    const struct sockaddr_in any = {.sin_family = AF_INET};
    const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    int result = family == AF_INET6 ? bind(socket, (const struct sockaddr *)&any6, sizeof any6)
                                    : bind(socket, (const struct sockaddr *)&any, sizeof any);
    if (result == 0) return 0;
    /* It has one already. */
    return WSAGetLastError() == WSAEINVAL ? 0 : ferry__win_error((DWORD)WSAGetLastError());
}

/* The address to connect to. "Any" means this host, as elsewhere; Windows knows no such thing. */
static int target_of(const ferry_op *op, struct sockaddr_storage *to) {
    const ferry_addr *addr = op->buf;
    size_t len = addr->len < sizeof *to ? addr->len : sizeof *to;
    memset(to, 0, sizeof *to);
    memcpy(to, addr->data.bytes, len);
    if (to->ss_family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)to;
        if (in->sin_addr.s_addr == htonl(INADDR_ANY)) in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (to->ss_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)to;
        if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) in6->sin6_addr = in6addr_loopback;
    }
    return (int)len;
}

static bool is_loopback(const struct sockaddr_storage *to) {
    if (to->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)to;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)to;
    return to->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* A port of this host where nobody listens says so at once; Windows asks for two seconds more.
 * Windows 10 1709 and later can be told not to. */
static void refusal_hurry(SOCKET socket) {
    TCP_INITIAL_RTO_PARAMETERS quick = {
        .Rtt = TCP_INITIAL_RTO_UNSPECIFIED_RTT,
        .MaxSynRetransmissions = TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS};
    DWORD bytes;
    (void)WSAIoctl(socket, SIO_TCP_INITIAL_RTO, &quick, sizeof quick, NULL, 0, &bytes, NULL, NULL);
}

/* Until it is told, the socket does not know that it is connected: no names, no shutdown. */
static void came_connect(ferry_loop *loop, struct iocp_request *request, int error,
                         uint32_t bytes) {
    (void)bytes;
    ferry_op *op = iocp_op(request);
    if (error == 0 && setsockopt(ferry__win_socket(op->fd), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT,
                                 NULL, 0) != 0) {
        error = ferry__win_socket_error();
    }
    /* "A parameter is wrong", says Windows of a socket that listens. */
    if (error == FERRY_EINVAL && ferry__iocp_listens(op->fd)) error = FERRY_EISCONN;
    iocp_put(loop, op, error < 0 ? error : 0, 0);
}

static void connect_stream(ferry_loop *loop, ferry_op *op, const struct sockaddr_storage *to,
                           int len) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), came_connect);
    SOCKET socket = ferry__win_socket(op->fd);
    int error = ferry__iocp_bind_any(socket, ferry__win_socket_family(socket));
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
        return;
    }
    if (is_loopback(to)) refusal_hurry(socket);
    BOOL done = ferry__win.connect_ex(socket, (const struct sockaddr *)to, len, NULL, 0,
                                      &request->bytes, &request->overlapped);
    ferry__iocp_issued(loop, op->fd, request, outcome_of(done ? 0 : SOCKET_ERROR));
}

/* What is no connection over a network is made at once: a peer for datagrams, and a Unix socket's
 * (which cannot be bound to just any address, as ConnectEx() would have it). */
static void connect_at_once(ferry_loop *loop, ferry_op *op, const struct sockaddr_storage *to,
                            int len) {
    SOCKET socket = ferry__win_socket(op->fd);
    int error = 0;
    if (connect(socket, (const struct sockaddr *)to, len) != 0) error = ferry__win_socket_error();
    if (error == 0 && is_message(loop, op->fd)) ferry__win_socket_hears_icmp(socket, true);
    iocp_put(loop, op, error, 0);
}

void ferry__iocp_begin_connect(ferry_loop *loop, ferry_op *op) {
    struct sockaddr_storage to;
    int error = socket_bind(loop, op);
    int len = target_of(op, &to);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else if (kind_of(loop, op->fd) != KIND_STREAM || to.ss_family == AF_UNIX) {
        connect_at_once(loop, op, &to, len);
    } else {
        connect_stream(loop, op, &to, len);
    }
}

/* ---- Closes ------------------------------------------------------------------------------ */

/* Nothing is in flight on it any more: what was sent goes on its way, in the background. */
void ferry__iocp_begin_close(ferry_loop *loop, ferry_op *op) {
    bool socket = is_socket(kind_of(loop, op->fd));
    int error = 0;
    ferry__iocp_closed(loop, op->fd);
    if (socket) {
        if (closesocket(ferry__win_socket(op->fd)) != 0) error = ferry__win_socket_error();
    } else {
        ferry__win_list_forget(ferry__win_handle(op->fd));
        if (!CloseHandle(ferry__win_handle(op->fd))) error = ferry__win_last_error();
    }
    iocp_put(loop, op, error, 0);
}
