/* pool.c - buffers of a pool for receives that may be ready: the adapter picks, as a kernel would.
 *
 * The core offers some of a pool's buffers (lib/buffer_pool.c), and a receive that waits holds
 * none: the one that was offered last goes to the next that has data, since it is the one that is
 * still in the processor's cache. So the ring of a kernel is a stack here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include <errno.h>

/* Whoever has the baton. */
struct adapter_offers {
    uint32_t count;
    uint16_t index[]; /* in the pool */
};

static size_t offers_bytes(const ferry_pool *pool) {
    return sizeof(struct adapter_offers) + pool->offer_max * sizeof(uint16_t);
}

void ferry__adapter_pool_open(ferry_loop *loop, ferry_pool *pool) {
    (void)loop;
    pool->offer_max = pool->count;
    pool->ring = ferry__os_reserve(offers_bytes(pool));
    if (pool->ring == NULL) pool->offer_max = 0;
}

void ferry__adapter_pool_close(ferry_loop *loop, ferry_pool *pool, bool forked) {
    (void)loop;
    (void)forked;
    ferry__os_unreserve(pool->ring, offers_bytes(pool));
}

/* Pipes have more than one way to be read. */
bool ferry__adapter_pool_picks(const ferry_loop *loop, const ferry_op *op) {
    (void)loop;
    return op->code != FERRY_OP_READ_POOL;
}

void ferry__adapter_pool_offer(ferry_pool *pool, const ferry_buffer *buffer) {
    struct adapter *adapter = adapter_of(pool->loop);
    struct adapter_offers *offers = pool->ring;
    adapter_take(adapter);
    offers->index[offers->count++] = (uint16_t)buffer->index;
    adapter_release(adapter);
}

/* Is a message of 0 bytes that is one, and not the end. */
static bool is_empty_message(const struct adapter *adapter, const ferry_op *op, int64_t got) {
    return got == 0 && op->code == FERRY_OP_RECVMSG_POOL &&
           ferry__slot(adapter->loop, op->fd)->kind == KIND_MESSAGE;
}

int64_t ferry__adapter_receive_picked(struct adapter *adapter, const ferry_op *op, bool may_ask,
                                      uint32_t *flags) {
    ferry_pool *pool = ferry__op_pool(op);
    struct adapter_offers *offers = pool->ring;
    if (offers->count == 0 && !(may_ask && ferry__pool_offer_one(pool))) {
        *flags = RECORD_NO_BUFFER;
        return 0;
    }
    uint32_t index = offers->index[offers->count - 1];
    int64_t got;
    do {
        got = ferry__adapter_receive_lent(op, &pool->buffers[index]);
    } while (got == -EINTR);
    *flags = 0;
    if (got > 0 || is_empty_message(adapter, op, got)) { /* else the buffer stays where it was */
        offers->count--;
        *flags = RECORD_BUFFER | index << RECORD_BUFFER_SHIFT;
    }
    return got;
}
