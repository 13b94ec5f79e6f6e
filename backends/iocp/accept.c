/* accept.c - connections. AcceptEx() wants a socket made beforehand, and room for two addresses.
 *
 * That room and the requests belong to the listener: a number of blocks that are made with its
 * first accept. An accept takes one, a multishot several, so that connections that come at the same
 * time find each a socket ready; what finds no block waits in line for one. A block is in use until
 * its packet has come, whatever becomes of its operation.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

#define BLOCKS 64u
#define MULTI_BLOCKS 8u /* that a multishot has outstanding */
/* "The size of the address plus 16", each. */
#define ADDRESS_ROOM (sizeof(struct sockaddr_storage) + 16u)

struct accept {
    struct iocp_request request;
    ferry_op *op; /* NULL: free */
    struct iocp_listener *listener;
    SOCKET socket;
    struct accept *next; /* free ones */
    char addresses[2 * ADDRESS_ROOM];
};

struct iocp_listener {
    ferry_fd fd;
    int family;
    unsigned out; /* blocks in use */
    struct accept *free;
    ferry_op *first, *last; /* that wait for a block; through op->more */
    struct accept blocks[BLOCKS];
};

/* An operation's own request is never issued: it keeps account. */
enum {
    ACCEPT_WAITS = 1 << 0, /* in line */
    ACCEPT_ENDS = 1 << 1   /* with own, once its blocks are back */
};

static DWORD *blocks_of(ferry_op *op) {
    return &iocp_request(op)->bytes;
}

static DWORD *state_of(ferry_op *op) {
    return &iocp_request(op)->flags;
}

static bool is_multi(const ferry_op *op) {
    return (op->asked & FERRY_MULTI) != 0;
}

/* ---- Listeners --------------------------------------------------------------------------- */

bool ferry__iocp_listens(ferry_fd fd) {
    BOOL yes = FALSE;
    int len = sizeof yes;
    return getsockopt(ferry__win_socket(fd), SOL_SOCKET, SO_ACCEPTCONN, (char *)&yes, &len) == 0 &&
           yes;
}

static struct iocp_listener *listener_make(ferry_fd fd) {
    struct iocp_listener *listener = ferry__os_reserve(sizeof *listener);
    if (listener == NULL) return NULL;
    listener->fd = fd;
    listener->family = ferry__win_socket_family(ferry__win_socket(fd));
    for (unsigned i = BLOCKS; i-- > 0;) {
        listener->blocks[i].listener = listener;
        listener->blocks[i].next = listener->free;
        listener->free = &listener->blocks[i];
    }
    return listener;
}

/* What the system still has of it stays: somebody has closed the socket behind our back. */
void ferry__iocp_listener_free(struct iocp_slot *slot) {
    struct iocp_listener *listener = slot->listener;
    slot->listener = NULL;
    if (listener != NULL && listener->out == 0) ferry__os_unreserve(listener, sizeof *listener);
}

static void line_push(struct iocp_listener *listener, ferry_op *op) {
    *state_of(op) |= ACCEPT_WAITS;
    op->more = 0;
    if (listener->last != NULL) {
        listener->last->more = (uint64_t)(uintptr_t)op;
    } else {
        listener->first = op;
    }
    listener->last = op;
}

static ferry_op *after(const ferry_op *op) {
    return (ferry_op *)(uintptr_t)op->more;
}

static void line_remove(struct iocp_listener *listener, ferry_op *op) {
    ferry_op *before = NULL;
    for (ferry_op *at = listener->first; at != op; at = after(at)) before = at;
    if (before != NULL) {
        before->more = op->more;
    } else {
        listener->first = after(op);
    }
    if (listener->last == op) listener->last = before;
    *state_of(op) &= ~(DWORD)ACCEPT_WAITS;
}

/* ---- Blocks ------------------------------------------------------------------------------ */

static iocp_came came_accept;

/* The block is free again. */
static void block_free(struct iocp_listener *listener, struct accept *block) {
    block->op = NULL;
    block->socket = INVALID_SOCKET;
    block->next = listener->free;
    listener->free = block;
}

/* Issues one more request for op: 0 or an error. Its packet comes, by us if need be: what has come
 * at once is not to be told from within a submit. */
static int issue(ferry_loop *loop, struct iocp_listener *listener, ferry_op *op) {
    struct accept *block = listener->free;
    SOCKET socket = ferry__win_socket_make(listener->family, SOCK_STREAM, 0);
    if (socket == INVALID_SOCKET) return ferry__win_socket_error();
    struct iocp_request *request = iocp_prepare(&block->request, came_accept);
    /* Nothing is received with it: a client that says nothing would not be accepted. */
    BOOL done = ferry__win.accept_ex(ferry__win_socket(listener->fd), socket, block->addresses, 0,
                                     ADDRESS_ROOM, ADDRESS_ROOM, &request->bytes,
                                     &request->overlapped);
    if (!done && WSAGetLastError() != WSA_IO_PENDING) {
        int error = ferry__win_socket_error();
        (void)closesocket(socket);
        return error;
    }
    listener->free = block->next;
    block->op = op;
    block->socket = socket;
    listener->out++;
    ++*blocks_of(op);
    if (done && iocp_slot(loop, listener->fd)->flags & HANDLE_SKIPS) {
        ferry__iocp_post(iocp_of(loop), request);
    }
    return 0;
}

/* A client that left before it was accepted: nobody has to know. */
static bool is_gone(int error) {
    return error == FERRY_ECONNRESET || error == FERRY_ECONNABORTED || error == FERRY_ETIMEDOUT;
}

/* Issues as many as op shall have. With one of them all is well. */
static void issue_all(ferry_loop *loop, struct iocp_listener *listener, ferry_op *op) {
    DWORD wanted = is_multi(op) ? MULTI_BLOCKS : 1;
    int error = 0;
    while (error == 0 && *blocks_of(op) < wanted && listener->free != NULL) {
        error = issue(loop, listener, op);
    }
    if (error == 0 || *blocks_of(op) > 0) return;
    if (is_gone(error)) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED); /* there may be many of them: one a try */
    } else {
        ferry__iocp_fail(loop, op, error);
    }
}

/* Goes on with those in line. (What fails for want of descriptors is submitted again, and so those
 * that are left here are looked at again.) */
static void line_serve(ferry_loop *loop, struct iocp_listener *listener) {
    while (listener->first != NULL && listener->free != NULL && iocp_spare(loop) > 2) {
        ferry_op *op = listener->first;
        line_remove(listener, op);
        issue_all(loop, listener, op);
    }
}

static void blocks_cancel(struct iocp_listener *listener, const ferry_op *op) {
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct accept *block = &listener->blocks[i];
        if (block->op == op) ferry__iocp_cancel_request(listener->fd, &block->request);
    }
}

/* op ends, with this error unless it does for another already, when its blocks are back. */
static void end(ferry_loop *loop, struct iocp_listener *listener, ferry_op *op, int error) {
    if (!(*state_of(op) & ACCEPT_ENDS)) {
        *state_of(op) |= ACCEPT_ENDS;
        iocp_request(op)->own = (uint64_t)(int64_t)error;
        blocks_cancel(listener, op);
    }
    if (*blocks_of(op) > 0) return;
    ferry__iocp_fail(loop, op, (int)(int64_t)iocp_request(op)->own);
}

/* ---- What has come ------------------------------------------------------------------------- */

static void peer_copy(struct accept *block, ferry_addr *peer) {
    struct sockaddr *local = NULL, *remote = NULL;
    int local_len = 0, remote_len = 0;
    ferry__win.accept_addresses(block->addresses, 0, ADDRESS_ROOM, ADDRESS_ROOM, &local, &local_len,
                                &remote, &remote_len);
    peer->len = 0;
    if (remote == NULL || remote_len <= 0) return;
    peer->len = (uint32_t)remote_len;
    if (peer->len > sizeof peer->data.bytes) peer->len = sizeof peer->data.bytes;
    memcpy(peer->data.bytes, remote, peer->len);
}

/* Makes the socket what accept() would have given. False: its client is gone. */
static bool accepted(const struct iocp_listener *listener, struct accept *block) {
    SOCKET from = ferry__win_socket(listener->fd);
    if (setsockopt(block->socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&from,
                   sizeof from) != 0) {
        return false;
    }
    if (block->op->buf != NULL) peer_copy(block, (ferry_addr *)(uintptr_t)block->op->buf);
    return true;
}

static void came_accept(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    (void)bytes;
    struct accept *block = (struct accept *)(void *)request;
    ferry_op *op = block->op;
    struct iocp_listener *listener = block->listener;
    bool came = error == 0 && accepted(listener, block), ends = *state_of(op) & ACCEPT_ENDS;
    SOCKET socket = block->socket;
    listener->out--;
    --*blocks_of(op);
    block_free(listener, block);
    if (!came) (void)closesocket(socket);
    if (came && !is_multi(op)) {
        iocp_put(loop, op, (int32_t)ferry__win_socket_fd(socket), 0);
    } else {
        if (came) iocp_put(loop, op, (int32_t)ferry__win_socket_fd(socket), RECORD_MORE);
        if (ends) {
            end(loop, listener, op, error);
        } else if (came || error >= 0 || is_gone(error)) {
            issue_all(loop, listener, op);
        } else {
            end(loop, listener, op, error);
        }
    }
    line_serve(loop, listener);
}

/* ---- The backend's calls ------------------------------------------------------------------- */

static int prepare(ferry_loop *loop, const ferry_op *op) {
    enum ferry__fd_kind kind = (enum ferry__fd_kind)ferry__slot(loop, op->fd)->kind;
    struct iocp_slot *slot = iocp_slot(loop, op->fd);
    if (kind == KIND_MESSAGE) return FERRY_ENOTSUP;
    if (kind != KIND_STREAM && kind != KIND_SEQPACKET) return FERRY_ENOTSOCK;
    int error = ferry__iocp_bind(loop, op->fd, false);
    if (error != 0) return error;
    if (slot->listener != NULL) return 0;
    if (!ferry__iocp_listens(op->fd)) return FERRY_EINVAL;
    slot->listener = listener_make(op->fd);
    return slot->listener == NULL ? FERRY_ENOMEM : 0;
}

void ferry__iocp_begin_accept(ferry_loop *loop, ferry_op *op) {
    int error = prepare(loop, op);
    (void)iocp_prepare(iocp_request(op), NULL);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
        return;
    }
    struct iocp_listener *listener = iocp_slot(loop, op->fd)->listener;
    line_push(listener, op);
    line_serve(loop, listener);
}

void ferry__iocp_stop_accept(ferry_loop *loop, ferry_op *op) {
    struct iocp_listener *listener = iocp_slot(loop, op->fd)->listener;
    if (*state_of(op) & ACCEPT_WAITS) {
        line_remove(listener, op);
        ferry__iocp_fail(loop, op, FERRY_ECANCELED);
    } else if (*blocks_of(op) > 0) { /* else its record is on its way */
        end(loop, listener, op, FERRY_ECANCELED);
    }
}
