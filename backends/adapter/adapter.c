/* adapter.c - opens and closes the adapter; a turn of the loop; records in the core's words.
 *
 * A turn takes the baton before it hands over what was submitted. A wait collects what the
 * adapter's thread has put down, goes on with what is ready, looks at the poller, and goes on with
 * what that brings. It sleeps in the poller with the baton in its hand, so that a loop that keeps
 * up never meets the thread; callbacks run without it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../posix/system.h"
#include "../posix/calls.h"
#include "../posix/messages.h"

#include <errno.h>
#include <fcntl.h>

#define RECORDS_MAX 32768u
#define UNPOLLED_MAX 1u /* turns in a row without a look at the poller */

static const char *const feature_names[ADAPTER_FEATURES] = {
    [ADAPTER_FINE_WAIT] = "fine_wait",
    [ADAPTER_NOWAIT] = "nowait",
    [ADAPTER_CACHED_FILES] = "cached_files",
};

const char *ferry__adapter_feature(unsigned index) {
    return index < ADAPTER_FEATURES ? feature_names[index] : NULL;
}

/* ---- Open -------------------------------------------------------------------------------- */

static const uint8_t support[FERRY_OP_COUNT] = {
    [FERRY_OP_NOP] = SUPPORT_NATIVE,          [FERRY_OP_TIMER] = SUPPORT_NATIVE,
    [FERRY_OP_POST] = SUPPORT_NATIVE,         [FERRY_OP_WORK] = SUPPORT_NATIVE,
    [FERRY_OP_SIGNAL] = SUPPORT_NATIVE,       [FERRY_OP_WATCH] = SUPPORT_NATIVE,
    [FERRY_OP_RESOLVE] = SUPPORT_NATIVE,      [FERRY_OP_ACCEPT] = SUPPORT_NATIVE,
    [FERRY_OP_CONNECT] = SUPPORT_NATIVE,      [FERRY_OP_RECV] = SUPPORT_NATIVE,
    [FERRY_OP_RECVV] = SUPPORT_NATIVE,        [FERRY_OP_RECVMSG] = SUPPORT_NATIVE,
    [FERRY_OP_RECVMSG_POOL] = SUPPORT_NATIVE, [FERRY_OP_RECV_POOL] = SUPPORT_NATIVE,
    [FERRY_OP_SEND] = SUPPORT_NATIVE,         [FERRY_OP_SENDV] = SUPPORT_NATIVE,
    [FERRY_OP_SENDMSG] = SUPPORT_NATIVE,      [FERRY_OP_SENDFILE] = SUPPORT_NATIVE,
    [FERRY_OP_SHUTDOWN] = SUPPORT_NATIVE,     [FERRY_OP_READ] = SUPPORT_NATIVE,
    [FERRY_OP_READV] = SUPPORT_NATIVE,        [FERRY_OP_READ_POOL] = SUPPORT_NATIVE,
    [FERRY_OP_WRITE] = SUPPORT_NATIVE,        [FERRY_OP_WRITEV] = SUPPORT_NATIVE,
    [FERRY_OP_POLL] = SUPPORT_NATIVE,         [FERRY_OP_PROCESS] = SUPPORT_NATIVE,
    [FERRY_OP_CLOSE] = SUPPORT_NATIVE,        [FERRY_OP_OPEN] = SUPPORT_NATIVE,
    [FERRY_OP_STAT] = SUPPORT_NATIVE,         [FERRY_OP_STAT_FD] = SUPPORT_NATIVE,
};

static uint32_t power_of_two(uint32_t wanted) {
    uint32_t size = 2 * ADAPTER_ROOM_MIN;
    while (size < wanted && size < RECORDS_MAX) size *= 2;
    return size;
}

static size_t slots_bytes(const ferry_loop *loop) {
    return loop->slot_count * sizeof(struct adapter_slot);
}

static size_t carriers_bytes(const ferry_loop *loop) {
    return 2 * (size_t)loop->slot_count * sizeof(struct adapter_carrier);
}

static size_t records_bytes(const struct adapter_out *out) {
    return (out->mask + 1u) * sizeof *out->at;
}

static void adapter_free(ferry_loop *loop, struct adapter *adapter) {
    ferry__os_unreserve(adapter->slots, slots_bytes(loop));
    ferry__os_unreserve(adapter->carriers, carriers_bytes(loop));
    ferry__os_unreserve(adapter->to_loop.at, records_bytes(&adapter->to_loop));
    ferry__os_unreserve(adapter->to_land.at, records_bytes(&adapter->to_land));
    loop->release(adapter, loop->allocator_context);
    loop->system = NULL;
}

static bool memory_reserve(ferry_loop *loop, struct adapter *adapter, uint32_t records) {
    adapter->to_loop = (struct adapter_out){.mask = records - 1,
                                            .most = records - ADAPTER_ROOM_MIN,
                                            .tail = &loop->records.tail,
                                            .head = &loop->records.head};
    adapter->to_land = (struct adapter_out){.mask = records - 1,
                                            .most = records - ADAPTER_ROOM_MIN,
                                            .tail = &adapter->landed_tail,
                                            .head = &adapter->landed_head};
    adapter->to_loop.at = ferry__os_reserve(records_bytes(&adapter->to_loop));
    adapter->to_land.at = ferry__os_reserve(records_bytes(&adapter->to_land));
    adapter->slots = ferry__os_reserve(slots_bytes(loop));
    adapter->carriers = ferry__os_reserve(carriers_bytes(loop));
    return adapter->to_loop.at != NULL && adapter->to_land.at != NULL && adapter->slots != NULL &&
           adapter->carriers != NULL;
}

/* Can pipes be read without waiting? Files can for longer. */
static bool has_nowait(void) {
    int fds[2];
    char byte;
    struct iovec vec = {&byte, 1};
    if (ferry__calls.pipe(fds) != 0) return false;
    bool has = ferry__calls.preadv_nowait(fds[0], &vec, 1, -1) < 0 && errno == EAGAIN;
    (void)ferry__calls.close(fds[0]);
    (void)ferry__calls.close(fds[1]);
    return has;
}

static void find(struct adapter *adapter, const struct ferry__options *options) {
    const bool there[ADAPTER_FEATURES] = {
        [ADAPTER_FINE_WAIT] = true,
        [ADAPTER_NOWAIT] = has_nowait(),
        [ADAPTER_CACHED_FILES] = ferry__system_knows_caches(),
    };
    for (unsigned i = 0; i < ADAPTER_FEATURES; i++) {
        adapter->features[i].name = feature_names[i];
        adapter->found[i] = there[i] ? FERRY_FEATURE_FOUND : FERRY_FEATURE_MISSING;
        if (ferry__disabled(options, feature_names[i])) adapter->found[i] = FERRY_FEATURE_MASKED;
    }
    adapter->poll.lacks_nanoseconds = !adapter_has(adapter, ADAPTER_FINE_WAIT);
}

static struct adapter *adapter_make(ferry_loop *loop, const struct ferry__options *options) {
    struct adapter *adapter = loop->allocate(sizeof *adapter, loop->allocator_context);
    if (adapter == NULL) return NULL;
    loop->stats.allocations++;
    memset(adapter, 0, sizeof *adapter);
    adapter->loop = loop;
    adapter->mode = options->adapter;
    adapter->alone = true;
    loop->system = adapter;
    if (memory_reserve(loop, adapter, power_of_two(options->completion_entries))) return adapter;
    adapter_free(loop, adapter);
    return NULL;
}

int ferry__adapter_open(ferry_loop *loop, const struct ferry__poller *poller,
                        const struct ferry__options *options, struct ferry__refused *why) {
    struct adapter *adapter = adapter_make(loop, options);
    if (adapter == NULL) return FERRY_ENOMEM;
    adapter->poller = poller;
    int error = poller->open(&adapter->poll, adapter->mode != FERRY_ADAPTER_DEDICATED, why);
    if (error != 0) {
        adapter_free(loop, adapter);
        return error;
    }
    find(adapter, options);
    memcpy(loop->support, support, sizeof support);
    for (unsigned i = FERRY_OP_NONE + 1; i < FERRY_OP_COUNT; i++) {
        if (loop->support[i] == SUPPORT_NONE) loop->support[i] = SUPPORT_BLOCKING;
    }
    loop->records = (struct ferry__records){.at = adapter->to_loop.at,
                                            .mask = adapter->to_loop.mask};
    return 0;
}

int ferry__adapter_adopt(ferry_loop *loop) {
    struct adapter *adapter = adapter_of(loop);
    if (adapter->adopted) return 0;
    int error = adapter->mode == FERRY_ADAPTER_INLINE ? 0 : ferry__adapter_thread_start(adapter);
    /* Without a thread nothing moves while callbacks run, and that is all. */
    if (error != 0 && adapter->mode == FERRY_ADAPTER_DEDICATED) return error;
    adapter->adopted = true;
    return 0;
}

/* ---- Close, describe --------------------------------------------------------------------- */

void ferry__adapter_close(ferry_loop *loop, bool forked) {
    struct adapter *adapter = adapter_of(loop);
    if (!forked) ferry__adapter_thread_end(adapter);
    ferry__embed_close(&adapter->embed, forked);
    adapter->poller->close(&adapter->poll, forked);
    adapter_free(loop, adapter);
}

void ferry__adapter_describe(ferry_loop *loop) {
    struct adapter *adapter = adapter_of(loop);
    for (unsigned i = 0; i < ADAPTER_FEATURES; i++) {
        adapter->features[i].state = (enum ferry_feature_state)adapter->found[i];
        adapter->features[i].uses = atomic_load_explicit(&adapter->uses[i], memory_order_relaxed);
    }
    adapter->features[ADAPTER_FINE_WAIT].uses = adapter->poll.fine_waits;
    if (adapter->poll.lacks_nanoseconds && adapter_has(adapter, ADAPTER_FINE_WAIT)) {
        adapter->features[ADAPTER_FINE_WAIT].state = FERRY_FEATURE_MISSING;
    }
    loop->description.features = adapter->features;
    loop->description.feature_count = ADAPTER_FEATURES;
    loop->description.submission_entries = 0;
    loop->description.completion_entries = adapter->to_loop.mask + 1;
}

/* ---- A turn ------------------------------------------------------------------------------ */

void ferry__adapter_collect(struct adapter *adapter) {
    const struct adapter_out *to = &adapter->to_loop;
    while (adapter->landed_head != adapter->landed_tail && *to->tail - *to->head <= to->mask) {
        const struct ferry__record *record =
            &adapter->to_land.at[adapter->landed_head++ & adapter->to_land.mask];
        adapter_put(&adapter->to_loop, record->op, record->result, record->flags);
    }
}

/* What pauses is tried again, all of it. */
static void resume(struct adapter *adapter) {
    struct adapter_slot *slot = adapter_first(adapter, &adapter->paused);
    if (slot == NULL || ferry__os_clock() < adapter->pause_until) return;
    for (; slot != NULL; slot = adapter_first(adapter, &adapter->paused)) {
        adapter_pop(&adapter->paused, slot);
        ferry__adapter_queue(adapter, slot);
    }
}

/* Dedicated: the thread has the poller, and wakes the loop as posters do. */
static int sleep_alone(struct adapter *adapter, uint64_t deadline) {
    adapter->loop->stats.system_waits++;
    struct pollfd wake = {.fd = adapter->poll.wake_fd, .events = POLLIN};
    struct timespec left = {0, 0};
    if (deadline != UINT64_MAX) {
        adapter->poll.fine_waits++;
        uint64_t now = ferry__os_clock();
        uint64_t ns = deadline > now ? deadline - now : 0;
        left = (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                                 .tv_nsec = (long)(ns % 1000000000u)};
    }
    int count = ferry__calls.poll_ns(&wake, 1, deadline != UINT64_MAX ? &left : NULL);
    if (count > 0) adapter->poller->woken(&adapter->poll);
    return count >= 0 || errno == EINTR ? 0 : ferry__errno();
}

static bool has_records(const struct adapter *adapter) {
    return *adapter->to_loop.head != *adapter->to_loop.tail;
}

static void go_on(struct adapter *adapter) {
    adapter->cached_bytes = 0;
    ferry__adapter_collect(adapter);
    resume(adapter);
    ferry__adapter_opens_resume(adapter);
    ferry__adapter_go_on_all(adapter, &adapter->to_loop);
}

uint64_t ferry__adapter_deadline(const struct adapter *adapter, uint64_t deadline) {
    if (adapter->paused.first != 0 && adapter->pause_until < deadline) {
        deadline = adapter->pause_until;
    }
    return adapter->opens != NULL && adapter->opens_until < deadline ? adapter->opens_until
                                                                     : deadline;
}

/* Until when to sleep; 0: not at all. */
static uint64_t until(const struct adapter *adapter, uint64_t deadline) {
    if (has_records(adapter) || adapter->ready.first != 0) return 0;
    return ferry__adapter_deadline(adapter, deadline);
}

/* With results in hand the poller can wait for a turn; it is looked at in every other one. */
static int look_and_go_on(struct adapter *adapter, uint64_t deadline) {
    if (deadline == 0 && has_records(adapter) && adapter->unpolled < UNPOLLED_MAX) {
        adapter->unpolled++;
        return 0;
    }
    int error = ferry__adapter_look(adapter, deadline);
    go_on(adapter);
    return error;
}

void ferry__adapter_begin(ferry_loop *loop) {
    struct adapter *adapter = adapter_of(loop);
    adapter_take(adapter);
    adapter->alone = true;
}

static void finish(struct adapter *adapter) {
    FERRY__ASSERT(adapter->alone); /* the turn has begun */
    adapter->alone = !adapter->has_thread;
    adapter_release(adapter);
}

static int wait_polling(struct adapter *adapter, uint64_t deadline) {
    adapter->outside = false;
    adapter->turn_bytes = ADAPTER_TURN_BYTES;
    go_on(adapter);
    int error = look_and_go_on(adapter, until(adapter, deadline));
    /* relaxed: a hint to the thread, whose reading decides nothing by itself. */
    atomic_fetch_add_explicit(&adapter->turn, 1, memory_order_relaxed);
    finish(adapter);
    return error;
}

/* While the loop is busy the thread may be long in coming: then it looks for itself. */
static int wait_dedicated(struct adapter *adapter, uint64_t deadline) {
    int error = 0;
    adapter->outside = false;
    adapter->turn_bytes = ADAPTER_TURN_BYTES;
    go_on(adapter);
    deadline = until(adapter, deadline);
    if (deadline != UINT64_MAX && deadline <= ferry__os_clock()) deadline = 0;
    if (deadline == 0) error = look_and_go_on(adapter, 0);
    finish(adapter);
    if (deadline == 0) return error;
    error = sleep_alone(adapter, deadline);
    adapter_take(adapter);
    go_on(adapter);
    adapter_release(adapter);
    return error;
}

int ferry__adapter_wait(ferry_loop *loop, uint64_t deadline) {
    struct adapter *adapter = adapter_of(loop);
    uint32_t before = loop->records.tail;
    bool dedicated = adapter->has_thread && adapter->mode == FERRY_ADAPTER_DEDICATED;
    int error = dedicated ? wait_dedicated(adapter, deadline) : wait_polling(adapter, deadline);
    /* The core takes it that new records tell an outer loop by themselves. */
    if (FERRY__UNLIKELY(loop->embedded) && !loop->running && loop->records.tail != before) {
        ferry__adapter_raise(adapter);
    }
    return error;
}

void ferry__adapter_wake(ferry_loop *loop) {
    const struct adapter *adapter = adapter_of(loop);
    adapter->poller->wake(&adapter->poll);
}

/* ---- Records in the core's words --------------------------------------------------------- */

static bool waits_for_readiness(const ferry_op *op) {
    enum ferry__result kind = ferry__op_row(op)->result;
    return kind == RESULT_IN || kind == RESULT_OUT || kind == RESULT_LENT ||
           op->code == FERRY_OP_ACCEPT || op->code == FERRY_OP_CONNECT;
}

static void read_error(struct ferry__record *record) {
    int error = -record->result;
    if (record->flags & RECORD_BLOCKS) { /* and no worker to do it */
        record->result = ferry_error_from_system(error);
        record->flags = 0;
    } else if (error == EINTR) {
        /* Closed all the same (close(2)); else nothing has happened. */
        record->flags = record->op->code == FERRY_OP_CLOSE ? 0 : RECORD_INTERRUPTED;
        record->result = 0;
    } else if (error == ECANCELED && ferry__op_stopped(record->op) == 0 &&
               adapter_is_lent(record->op)) {
        record->result = 0;
        record->flags = RECORD_INTERRUPTED; /* its peer's credit was used up */
    } else if (error == EAGAIN && waits_for_readiness(record->op) && record->op->state != OP_OWN) {
        record->result = 0;
        record->flags = RECORD_NOT_READY;
    } else {
        record->result = ferry_error_from_system(error);
        record->flags = 0;
    }
}

bool ferry__adapter_read(ferry_loop *loop, struct ferry__record *record) {
    ferry_op *op = record->op;
    if (record->result < 0) {
        read_error(record);
        return true;
    }
    if (op->bits & BIT_POLLING || record->flags & RECORD_BLOCKS) return true;
    if (op->code == FERRY_OP_RECVMSG) {
        ferry__posix_msg_received(loop, op);
    } else if (op->code == FERRY_OP_RECVMSG_POOL) {
        ferry_buffer *buffer =
            record->flags & RECORD_BUFFER
                ? &ferry__op_pool(op)->buffers[record->flags >> RECORD_BUFFER_SHIFT]
                : ferry__pool_assigned(op);
        if (buffer != NULL) ferry__posix_msg_finish(loop, &buffer->msg);
    }
    return true;
}
