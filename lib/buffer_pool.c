/* buffer_pool.c - buffers lent to receives at the moment when data is there.
 *
 * Where the system can pick a buffer by itself (io_uring's provided rings, and the adapter) it is
 * offered a few, no more than it needs between two turns: a ring takes the coldest first, and what
 * a system has cannot go elsewhere. The others are in a reserve, of which the warmest goes next. An
 * operation that found none, or one that the system does not pick for, waits for readiness first:
 * what then has data takes a buffer from the reserve, or waits in the pool's queue for one to be
 * given back. So idle operations hold none, nothing waits while one is free, and who came first is
 * served first (rule 10).
 *
 * A pooled operation keeps its own affairs in fields that it does not need otherwise:
 *   len     0, or DATA_IS_THERE, or the buffer that is assigned to it
 *   offset  the buffer that its completion brings; in OP_DRY the one before it in the queue
 *   more    in OP_DRY the next in the queue; else the turn in which it was last interrupted
 *
 * All of it belongs to the loop's thread. Buffers that come from others arrive through the inbox.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define COUNT_MAX 32768u
#define SIZE_MAX_BYTES 0x40000000u
#define OFFERS_AT_FIRST 16u
#define DATA_IS_THERE 1u

/* ---- Open and close ---------------------------------------------------------------------- */

/* Transfers begin at addresses that suit any data. */
static size_t stride(const ferry_pool *pool) {
    return (pool->size + 63) / 64 * 64;
}

static void pool_free(ferry_pool *pool) {
    ferry_loop *loop = pool->loop;
    ferry__os_unreserve(pool->memory, pool->count * stride(pool));
    ferry__os_unreserve(pool->buffers, pool->count * sizeof *pool->buffers);
    loop->release(pool, loop->allocator_context);
}

static ferry_pool *pool_make(ferry_loop *loop, size_t count, size_t size) {
    ferry_pool *pool = loop->allocate(sizeof *pool, loop->allocator_context);
    if (pool == NULL) return NULL;
    loop->stats.allocations++;
    *pool = (ferry_pool){.loop = loop, .size = size, .count = (uint32_t)count};
    pool->free = pool->count;
    pool->memory = ferry__os_reserve(count * stride(pool));
    pool->buffers = ferry__os_reserve(count * sizeof *pool->buffers);
    if (pool->memory != NULL && pool->buffers != NULL) return pool;
    pool_free(pool);
    return NULL;
}

static void aim_at(ferry_pool *pool, uint32_t wanted);
static void offer_some(ferry_pool *pool);

int ferry_pool_open(ferry_loop *loop, ferry_pool **pool, size_t count, size_t size, size_t credit,
                    unsigned flags) {
    ferry__loop_check(loop, NULL);
    if (pool == NULL) return FERRY_EINVAL;
    *pool = NULL;
    if (count == 0 || count > COUNT_MAX || size == 0 || size > SIZE_MAX_BYTES ||
        flags & ~FERRY_SHARED) {
        return FERRY_EINVAL;
    }
    ferry_pool *made = pool_make(loop, count, size);
    if (made == NULL) return FERRY_ENOMEM;
    made->shared = (flags & FERRY_SHARED) != 0;
    made->credit = (uint32_t)(credit == 0 ? count / 8 : credit < count ? credit : count);
    if (made->credit == 0) made->credit = 1;
    if (loop->backend->pool_open != NULL) loop->backend->pool_open(loop, made);
    aim_at(made, OFFERS_AT_FIRST);
    made->next = loop->pools;
    loop->pools = made;
    *pool = made;
    return 0;
}

int ferry_pool_close(ferry_pool *pool) {
    if (pool == NULL) return 0;
    ferry_loop *loop = pool->loop;
    bool forked = loop->fork_count != ferry__os_fork_count;
    if (!forked) {
        ferry__loop_check(loop, NULL);
        ferry__inbox_arrive(loop);
        if (pool->users > 0 || pool->free + pool->offered < pool->count) return FERRY_EBUSY;
    }
    ferry_pool **at = &loop->pools;
    while (*at != pool) at = &(*at)->next;
    *at = pool->next;
    if (pool->offer_max > 0) loop->backend->pool_close(loop, pool, forked);
    pool_free(pool);
    return 0;
}

/* ---- The reserve ------------------------------------------------------------------------- */

/* The warmest, or one that was never used. */
static ferry_buffer *take(ferry_pool *pool) {
    ferry_buffer *buffer = pool->warmest;
    if (pool->free == 0) return NULL;
    pool->free--;
    if (buffer != NULL) {
        pool->warmest = (ferry_buffer *)(void *)buffer->op.link.next;
        return buffer;
    }
    uint32_t index = pool->fresh++;
    buffer = &pool->buffers[index];
    buffer->pool = pool;
    buffer->index = index;
    buffer->data = pool->memory + index * stride(pool);
    return buffer;
}

static void keep(ferry_pool *pool, ferry_buffer *buffer) {
    buffer->state = BUFFER_FREE;
    buffer->op.link.next = pool->warmest != NULL ? &pool->warmest->op : NULL;
    pool->warmest = buffer;
    pool->free++;
}

/* Half of the pool at most: the system must not let one peer have them all before we see it. */
static void aim_at(ferry_pool *pool, uint32_t wanted) {
    uint32_t most = pool->count > 1 ? pool->count / 2 : 1;
    if (most > pool->offer_max) most = pool->offer_max;
    pool->offer_aim = wanted < most ? wanted : most;
}

static void offer(ferry_pool *pool, ferry_buffer *buffer) {
    buffer->state = BUFFER_OFFERED;
    pool->offered++;
    pool->loop->backend->pool_offer(pool, buffer);
}

static void offer_some(ferry_pool *pool) {
    if (!pool->picked) return;
    while (pool->offered < pool->offer_aim && pool->free > 0) offer(pool, take(pool));
}

/* ---- Who waits --------------------------------------------------------------------------- */

static ferry_op *link_of(uint64_t field) {
    return (ferry_op *)(uintptr_t)field;
}

static void dry_push(ferry_pool *pool, ferry_op *op) {
    op->offset = (uint64_t)(uintptr_t)pool->dry_last;
    op->more = 0;
    if (pool->dry_last != NULL) {
        pool->dry_last->more = (uint64_t)(uintptr_t)op;
    } else {
        pool->dry_first = op;
    }
    pool->dry_last = op;
}

static void dry_remove(ferry_pool *pool, ferry_op *op) {
    ferry_op *prev = link_of(op->offset), *next = link_of(op->more);
    if (prev != NULL) {
        prev->more = op->more;
    } else {
        pool->dry_first = next;
    }
    if (next != NULL) {
        next->offset = op->offset;
    } else {
        pool->dry_last = prev;
    }
    op->offset = op->more = 0;
}

/* A buffer is free: to the first who waits for one, to the system, or into the reserve. */
static void free_one(ferry_pool *pool, ferry_buffer *buffer) {
    buffer->data = pool->memory + buffer->index * stride(pool); /* a message's begins further on */
    ferry_op *op = pool->dry_first;
    if (FERRY__UNLIKELY(op != NULL)) {
        dry_remove(pool, op);
        buffer->state = BUFFER_TAKEN;
        op->len = (uint64_t)(uintptr_t)buffer;
        ferry__lane_restart(pool->loop, op);
    } else if (pool->offered < pool->offer_aim && pool->picked) {
        offer(pool, buffer);
    } else {
        keep(pool, buffer);
    }
}

static void unassign(ferry_op *op) {
    ferry_buffer *buffer = ferry__pool_assigned(op);
    op->len = 0;
    if (buffer != NULL) free_one(ferry__op_pool(op), buffer);
}

static void suspend(ferry_loop *loop, ferry_op *op) {
    ferry__op_move(op, OP_SPENT);
    ferry__slot(loop, op->fd)->flags |= SLOT_PAUSED;
    loop->stats.pool_pauses++;
    FERRY__PROBE3(pool_pause, loop, op, op->fd);
}

bool ferry__pool_offer_one(ferry_pool *pool) {
    if (pool->free == 0) return false;
    aim_at(pool, pool->offer_aim * 2);
    offer(pool, take(pool));
    return true;
}

static bool is_spent(const ferry_loop *loop, const ferry_op *op) {
    return op->asked & FERRY_MULTI && ferry__slot(loop, op->fd)->lent >= ferry__op_pool(op)->credit;
}

static bool system_picks(const ferry_loop *loop, const ferry_op *op) {
    return ferry__op_pool(op)->offer_max > 0 && loop->backend->pool_picks(loop, op);
}

bool ferry__pool_prepare(ferry_loop *loop, ferry_op *op) {
    ferry_pool *pool = ferry__op_pool(op);
    op->offset = 0;
    if (ferry__pool_assigned(op) != NULL) return true;
    if (is_spent(loop, op)) {
        suspend(loop, op);
        return false;
    }
    if (op->len == DATA_IS_THERE) {
        ferry_buffer *buffer = take(pool);
        op->len = (uint64_t)(uintptr_t)buffer;
        if (buffer != NULL) {
            buffer->state = BUFFER_TAKEN;
        } else if (pool->offered == 0 || !system_picks(loop, op)) {
            ferry__op_move(op, OP_DRY);
            dry_push(pool, op);
            loop->stats.pool_dry++;
            FERRY__PROBE3(pool_dry, loop, op, op->fd);
            return false;
        }
    } else if (!system_picks(loop, op)) {
        op->bits |= BIT_POLLING;
    } else if (!pool->picked) {
        pool->picked = true;
        offer_some(pool);
    }
    if (op->len == 0 && pool->offered == 0) op->bits |= BIT_POLLING;
    return true;
}

void ferry__pool_ready(ferry_op *op) {
    op->len = DATA_IS_THERE;
}

void ferry__pool_unwait(ferry_loop *loop, ferry_op *op) {
    if (op->state == OP_DRY) {
        dry_remove(ferry__op_pool(op), op);
    } else {
        ferry__slot(loop, op->fd)->flags &= (uint16_t)~SLOT_PAUSED;
    }
    ferry__op_move(op, OP_LANE);
}

void ferry__pool_retry(ferry_op *op, uint32_t flags) {
    ferry_pool *pool = ferry__op_pool(op);
    unassign(op);
    if (!(flags & RECORD_NO_BUFFER)) return;
    if (pool->free > 0) aim_at(pool, pool->offer_aim * 2);
    offer_some(pool);
}

void ferry__pool_leave(ferry_op *op, int64_t result) {
    if (result < 0) op->offset = 0;       /* the last completion's */
    if (result <= 0) op->transferred = 0; /* that, too */
    if (!(op->bits & BIT_SLOT)) return;   /* it was refused before it could use the pool */
    unassign(op);
    ferry__op_pool(op)->users--;
}

/* ---- Messages ---------------------------------------------------------------------------- */

/* What lies before a message's bytes: room as io_uring wants it, in which the address's own length
 * takes the place of two numbers of the kernel's that are read before. */
struct message_head {
    uint64_t kernel;
    ferry_addr addr;
    uint64_t control[30];
};

_Static_assert(sizeof(struct message_head) == FERRY_MSG_ROOM, "as the header says");

void ferry__pool_message(ferry_buffer *buffer) {
    struct message_head *head = buffer->data;
    head->addr.len = 0;
    buffer->vec = ferry__vec((char *)buffer->data + FERRY_MSG_ROOM,
                             buffer->pool->size - FERRY_MSG_ROOM);
    buffer->msg = (ferry_msg){.vecs = &buffer->vec,
                              .count = 1,
                              .addr = &head->addr,
                              .control = head->control,
                              .control_room = sizeof head->control};
}

static void message_lend(ferry_buffer *buffer, uint64_t len) {
    buffer->vec = ferry__vec(buffer->vec.data, (size_t)len);
    buffer->data = buffer->vec.data;
}

/* ---- Lending ----------------------------------------------------------------------------- */

/* The buffer in which the system put the data, no longer counted as offered or assigned. */
static ferry_buffer *landed_in(ferry_op *op, const struct ferry__record *record) {
    ferry_pool *pool = ferry__op_pool(op);
    ferry_buffer *buffer = ferry__pool_assigned(op);
    /* Not without need: the adapter's thread may look whether one that goes on has a buffer. */
    if (buffer != NULL) op->len = 0;
    if (record->flags & RECORD_BUFFER) {
        uint32_t index = record->flags >> RECORD_BUFFER_SHIFT;
        FERRY__ASSERT(index < pool->fresh && pool->buffers[index].state == BUFFER_OFFERED);
        buffer = &pool->buffers[index];
        pool->offered--;
        /* What is given back goes there first: to fill it up each time would only move more. */
        if (pool->offered < pool->offer_aim / 2 + 1) offer_some(pool);
    }
    return buffer;
}

static void lend(ferry_loop *loop, ferry_op *op, ferry_buffer *buffer, uint64_t len) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    op->offset = (uint64_t)(uintptr_t)buffer;
    buffer->len = (size_t)len;
    if (op->code == FERRY_OP_RECVMSG_POOL) message_lend(buffer, len);
    buffer->state = BUFFER_LENT;
    buffer->from = FERRY_FD_NONE;
    if (slot->lent == UINT16_MAX) return; /* not counted: more than any credit */
    slot->lent++;
    buffer->from = op->fd;
    buffer->generation = slot->generation;
}

/* The system goes on by itself although the credit is used up. It is asked once a turn, which it
 * may miss while it is about to go on. */
static void interrupt(ferry_loop *loop, ferry_op *op) {
    if (op->more == loop->stats.turns) return;
    op->more = loop->stats.turns;
    ferry__op_interrupt(loop, op);
}

ferry_op *ferry__pool_land_ordinary(ferry_loop *loop, const struct ferry__record *record) {
    const ferry_op usual = {
        .asked = FERRY_MULTI, .code = FERRY_OP_RECV_POOL, .state = OP_IN_LANE, .bits = BIT_SLOT};
    ferry_op *op = record->op;
    ferry_pool *pool = ferry__op_pool(op);
    if (ferry__op_shape(op) != ferry__op_shape(&usual) || record->result <= 0 ||
        (record->flags & (RECORD_BUFFER | RECORD_MORE)) != (RECORD_BUFFER | RECORD_MORE) ||
        ferry__slot(loop, op->fd)->lent + 1u >= pool->credit) {
        return NULL;
    }
    ferry__latency_add(loop, FERRY_OP_RECV_POOL, (uint64_t)op->result);
    op->result = record->result;
    op->transferred = (uint64_t)record->result;
    op->flags = FERRY_MORE;
    FERRY__PROBE5(complete, loop, op, FERRY_OP_RECV_POOL, record->result, FERRY_MORE);
    lend(loop, op, landed_in(op, record), (uint64_t)record->result);
    return op;
}

ferry_op *ferry__pool_land(ferry_loop *loop, ferry_op *op, const struct ferry__record *record) {
    struct ferry__slot *slot = ferry__slot(loop, op->fd);
    ferry_buffer *buffer = landed_in(op, record);
    op->offset = 0;
    op->transferred = (uint64_t)record->result;
    if (record->flags & RECORD_MORE_THERE) {
        slot->flags &= (uint16_t)~SLOT_DRAINED;
    } else {
        slot->flags |= SLOT_DRAINED;
    }
    bool ended = record->result == 0 && slot->kind != KIND_MESSAGE;
    if (record->result > 0 || (op->code == FERRY_OP_RECVMSG_POOL && !ended && buffer != NULL)) {
        lend(loop, op, buffer, (uint64_t)record->result);
        if (record->flags & RECORD_MORE && is_spent(loop, op)) interrupt(loop, op);
    } else if (buffer != NULL) {
        free_one(ferry__op_pool(op), buffer);
    }
    if (op->asked & FERRY_MULTI && !ended) {
        return ferry__op_more(loop, op, record->result, record->flags);
    }
    ferry__op_leave(loop, op, record->result, ended ? FERRY_EOF : 0);
    return NULL;
}

ferry_buffer *ferry_lent(const ferry_op *op) {
    if (op->code >= FERRY_OP_COUNT || ferry__op_row(op)->result != RESULT_LENT) return NULL;
    return (ferry_buffer *)(uintptr_t)op->offset;
}

/* ---- Giving back ------------------------------------------------------------------------- */

static void give_back(ferry_pool *pool, ferry_buffer *buffer) {
    ferry_loop *loop = pool->loop;
    if (buffer->from != FERRY_FD_NONE) {
        struct ferry__slot *slot = ferry__slot(loop, buffer->from);
        if (slot->generation == buffer->generation) {
            slot->lent--;
            if (slot->flags & SLOT_PAUSED && slot->lent < pool->credit) {
                slot->flags &= (uint16_t)~SLOT_PAUSED;
                ferry__lane_restart(loop, slot->lane[READ_LANE].head);
            }
        }
    }
    free_one(pool, buffer);
}

void ferry_pool_put(ferry_pool *pool, ferry_buffer *buffer) {
    if (buffer->pool != pool) ferry__op_fatal(&buffer->op, "is in a buffer of another pool");
    if (buffer->op.state == OP_RETURNED || buffer->state != BUFFER_LENT) {
        ferry__op_fatal(&buffer->op, "is in a buffer that was given back already");
    }
    if (buffer->op.state != OP_IDLE) {
        ferry__op_fatal(&buffer->op, "is in flight, and its buffer was given back");
    }
    if (!pool->shared || ferry__loop_runs_here(pool->loop)) {
        ferry__loop_check(pool->loop, &buffer->op);
        give_back(pool, buffer);
        if (pool->loop->dirty_first != NULL) ferry__loop_touch(pool->loop);
    } else {
        ferry__op_move(&buffer->op, OP_RETURNED);
        ferry__inbox_push(pool->loop, &buffer->op);
    }
}

void ferry__pool_returned(ferry_op *op) {
    ferry_buffer *buffer = ferry_container(op, ferry_buffer, op);
    ferry__op_move(op, OP_IDLE);
    give_back(buffer->pool, buffer);
}

bool ferry__pool_owns(const ferry_loop *loop, const ferry_op *op) {
    for (const ferry_pool *pool = loop->pools; pool != NULL; pool = pool->next) {
        uintptr_t at = (uintptr_t)op - (uintptr_t)pool->buffers;
        if (at < pool->fresh * sizeof *pool->buffers) {
            return ((const ferry_buffer *)(const void *)op)->state == BUFFER_LENT;
        }
    }
    return false;
}

void ferry__pool_sent(ferry_op *op) {
    /* Its callback may have given it back already, or sent it on. */
    ferry_buffer *buffer = ferry_container(op, ferry_buffer, op);
    if (buffer->state != BUFFER_LENT || op->state != OP_IDLE) return;
    give_back(buffer->pool, buffer);
}
