/* pool.c - rings of provided buffers: the kernel picks one when data is there.
 *
 * A ring has room for the whole pool, so that an offer never meets a full one. Where the kernel has
 * no such rings, or refuses one more, the core picks (lib/buffer_pool.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../posix/messages.h"

#include <string.h>

static size_t ring_bytes(const ferry_pool *pool) {
    return pool->offer_max * sizeof(struct io_uring_buf);
}

static uint16_t free_group(const ferry_loop *loop) {
    uint16_t group = 0;
    for (const ferry_pool *pool = loop->pools; pool != NULL;) {
        if (pool->offer_max > 0 && pool->group == group) {
            group++;
            pool = loop->pools;
        } else {
            pool = pool->next;
        }
    }
    return group;
}

static bool ring_register(struct uring *uring, const ferry_pool *pool) {
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)pool->ring,
        .ring_entries = pool->offer_max,
        .bgid = pool->group,
    };
    return uring->calls->register_(uring, IORING_REGISTER_PBUF_RING, &reg, 1) == 0;
}

void ferry__uring_pool_open(ferry_loop *loop, ferry_pool *pool) {
    struct uring *uring = uring_of(loop);
    if (uring->found[URING_BUFFER_RING] == FERRY_FEATURE_MASKED) return;
    pool->group = free_group(loop);
    pool->offer_max = 1;
    while (pool->offer_max < pool->count) pool->offer_max *= 2;
    pool->ring = ferry__os_reserve(ring_bytes(pool));
    if (pool->ring == NULL || !ring_register(uring, pool)) {
        ferry__os_unreserve(pool->ring, ring_bytes(pool));
        pool->offer_max = 0;
        return;
    }
    uring->uses[URING_BUFFER_RING]++;
}

bool ferry__uring_pools_again(ferry_loop *loop) {
    for (ferry_pool *pool = loop->pools; pool != NULL; pool = pool->next) {
        if (pool->offer_max > 0 && !ring_register(uring_of(loop), pool)) return false;
    }
    return true;
}

void ferry__uring_pool_offer(ferry_pool *pool, const ferry_buffer *buffer) {
    struct io_uring_buf_ring *ring = pool->ring;
    uint16_t tail = ring->tail;
    struct io_uring_buf *entry = &ring->bufs[tail & (pool->offer_max - 1)];
    /* Not the whole entry: the ring's tail lies in the first one. */
    entry->addr = (uint64_t)(uintptr_t)buffer->data;
    entry->len = (uint32_t)pool->size;
    entry->bid = (uint16_t)buffer->index;
    io_uring_smp_store_release(&ring->tail, (uint16_t)(tail + 1));
}

void ferry__uring_pool_close(ferry_loop *loop, ferry_pool *pool, bool forked) {
    struct uring *uring = uring_of(loop);
    struct io_uring_buf_reg reg = {.bgid = pool->group};
    if (!forked) (void)uring->calls->register_(uring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
    ferry__os_unreserve(pool->ring, ring_bytes(pool));
}

bool ferry__uring_pool_picks(const ferry_loop *loop, const ferry_op *op) {
    /* One that receives a message once would not put the address beside the bytes. */
    return op->code != FERRY_OP_RECVMSG_POOL ||
           (op->asked & FERRY_MULTI && uring_has(uring_of(loop), URING_MULTI_RECV));
}

/* ---- Entries ----------------------------------------------------------------------------- */

void ferry__uring_prep_recv_pool(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    const ferry_pool *pool = ferry__op_pool(op);
    const ferry_buffer *assigned = ferry__pool_assigned(op);
    if (assigned != NULL) { /* a buffer is not for waiting: there is data, or it goes back */
        io_uring_prep_recv(sqe, op->fd, assigned->data, pool->size, MSG_DONTWAIT);
        return;
    }
    io_uring_prep_recv(sqe, op->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = pool->group;
    if (op->asked & FERRY_MULTI && uring_has(uring, URING_MULTI_RECV)) {
        sqe->ioprio |= IORING_RECV_MULTISHOT;
        uring->uses[URING_MULTI_RECV]++;
    } else {
        sqe->ioprio |= uring_poll_first(loop, op);
    }
}

/* What the kernel puts before a message that it picked the buffer for. */
#define NAME_BYTES sizeof(((ferry_addr *)0)->data.bytes)

void ferry__uring_prep_recvmsg_pool(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    const ferry_pool *pool = ferry__op_pool(op);
    ferry_buffer *assigned = ferry__pool_assigned(op);
    if (assigned != NULL) {
        ferry__pool_message(assigned);
        struct msghdr *header = ferry__posix_msg_header(&assigned->msg);
        header->msg_iov = (struct iovec *)(void *)&assigned->vec;
        header->msg_iovlen = 1;
        io_uring_prep_recvmsg(sqe, op->fd, header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        return;
    }
    struct msghdr *sizes = uring_msg_of(uring, sqe, NULL, 0);
    sizes->msg_namelen = NAME_BYTES;
    sizes->msg_controllen = FERRY_MSG_ROOM - sizeof(struct io_uring_recvmsg_out) - NAME_BYTES;
    io_uring_prep_recvmsg_multishot(sqe, op->fd, sizes, MSG_CMSG_CLOEXEC);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = pool->group;
    uring->uses[URING_MULTI_RECV]++;
}

/* Makes of what the kernel told what a receive into an assigned buffer tells: how many bytes of the
 * message there are, and buffer->msg. */
void ferry__uring_finish_recvmsg_pool(ferry_loop *loop, struct ferry__record *record) {
    const ferry_pool *pool = ferry__op_pool(record->op);
    ferry_buffer *buffer = ferry__pool_assigned(record->op);
    if (buffer != NULL) {
        ferry__posix_msg_finish(loop, &buffer->msg);
        return;
    }
    if (!(record->flags & RECORD_BUFFER)) return;
    buffer = &pool->buffers[record->flags >> RECORD_BUFFER_SHIFT];
    struct io_uring_recvmsg_out out;
    memcpy(&out, buffer->data, sizeof out);
    ferry__pool_message(buffer);
    struct msghdr *header = ferry__posix_msg_header(&buffer->msg);
    header->msg_namelen = out.namelen;
    header->msg_controllen = out.controllen;
    header->msg_flags = (int)out.flags;
    ferry__posix_msg_finish(loop, &buffer->msg);
    uint32_t room = (uint32_t)pool->size - FERRY_MSG_ROOM;
    record->result = (int32_t)(out.payloadlen < room ? out.payloadlen : room);
}

void ferry__uring_prep_read_pool(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op) {
    (void)loop;
    const ferry_pool *pool = ferry__op_pool(op);
    const ferry_buffer *assigned = ferry__pool_assigned(op);
    if (assigned != NULL) {
        io_uring_prep_read(sqe, op->fd, assigned->data, (unsigned)pool->size, UINT64_MAX);
        return;
    }
    io_uring_prep_read(sqe, op->fd, NULL, 0, UINT64_MAX);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = pool->group;
}
