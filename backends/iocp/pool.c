/* pool.c - receives into lent buffers.
 *
 * Windows does not pick buffers by itself. So an operation waits until there is something (poll.c:
 * a receive of zero bytes), is assigned a buffer then, and receives into that. Pipes: files.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

/* ---- What has come ------------------------------------------------------------------------- */

/* Nothing was received: an error, unless it is nobody's business here. */
static void put_failed(ferry_loop *loop, ferry_op *op, int error) {
    if (iocp_is_unasked(op, error) || ferry__iocp_is_noise(loop, op->fd, &error)) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED);
    } else if (error == FERRY_EPIPE) {
        iocp_put(loop, op, 0, 0); /* input that was shut down has ended */
    } else {
        ferry__iocp_fail(loop, op, error);
    }
}

static void put_received(ferry_loop *loop, ferry_op *op, uint32_t bytes, uint32_t room) {
    iocp_put(loop, op, (int32_t)bytes, bytes == room ? RECORD_MORE_THERE : 0);
}

/* A datagram that was longer than the buffer is cut, as a receive into plain memory does. */
static void bytes_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    uint32_t size = (uint32_t)ferry__op_pool(op)->size;
    if (error < 0 && bytes == 0) {
        put_failed(loop, op, error);
    } else {
        put_received(loop, op, bytes, size);
    }
}

/* A stream has neither sender nor control data. */
static void message_came(ferry_loop *loop, struct iocp_request *request, int error,
                         uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    ferry_buffer *buffer = ferry__pool_assigned(op);
    bool message = ferry__slot_is_message(ferry__slot(loop, op->fd));
    if (error < 0 && bytes == 0) {
        put_failed(loop, op, error);
        return;
    }
    if (message) ferry__win_msg_finish(&buffer->msg);
    if (message && error == IOCP_CUT) buffer->msg.flags |= FERRY_MSG_TRUNCATED;
    put_received(loop, op, bytes, (uint32_t)buffer->vec.len);
}

/* ---- The way in ---------------------------------------------------------------------------- */

static int socket_bind(ferry_loop *loop, const ferry_op *op) {
    return ferry__iocp_bind(loop, op->fd, ferry__slot(loop, op->fd)->kind == KIND_STREAM);
}

void ferry__iocp_begin_recv_pool(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), bytes_came);
    WSABUF room = {.len = (ULONG)ferry__op_pool(op)->size, .buf = ferry__pool_assigned(op)->data};
    int error = socket_bind(loop, op);
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else {
        ferry__iocp_receive(loop, op->fd, request, &room, 1);
    }
}

void ferry__iocp_begin_recvmsg_pool(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), message_came);
    ferry_buffer *buffer = ferry__pool_assigned(op);
    int error = socket_bind(loop, op);
    ferry__pool_message(buffer);
    WSABUF *room = (WSABUF *)(void *)&buffer->vec;
    if (error != 0) {
        ferry__iocp_fail(loop, op, error);
    } else if (ferry__slot_is_message(ferry__slot(loop, op->fd))) {
        WSAMSG *header = ferry__win_msg_header(&buffer->msg);
        header->lpBuffers = room;
        header->dwBufferCount = 1;
        ferry__iocp_receive_msg(loop, op->fd, request, header);
    } else {
        ferry__iocp_receive(loop, op->fd, request, room, 1);
    }
}

/* A read of a pipe may be with a worker. */
void ferry__iocp_stop_pool(ferry_loop *loop, ferry_op *op) {
    ferry__iocp_stop_file(loop, op);
}
