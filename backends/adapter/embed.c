/* embed.c - the descriptor of a loop inside somebody else's: over the poller's own.
 *
 * What the poller watches makes it readable by itself, edge-triggered; so does the wake-up, which
 * lies in the poller or beside it. What the adapter's thread has taken from the poller no longer
 * does: whoever puts down records while the loop is outside raises it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

static int make(struct adapter *adapter) {
    int error = ferry__embed_open(&adapter->embed);
    if (error == 0 && adapter->mode != FERRY_ADAPTER_DEDICATED) {
        error = ferry__embed_watch(&adapter->embed, adapter->poll.fd, true);
    }
    if (error == 0) error = ferry__embed_watch(&adapter->embed, adapter->poll.wake_fd, true);
    if (error != 0) ferry__embed_close(&adapter->embed, false);
    return error;
}

static ferry_fd embed_open(ferry_loop *loop) {
    struct adapter *adapter = adapter_of(loop);
    if (adapter->embed.is_open) return adapter->embed.fd;
    adapter_take(adapter);
    int error = make(adapter);
    adapter->outside = !loop->running;
    adapter_release(adapter);
    return error != 0 ? error : adapter->embed.fd;
}

/* Cleared first, then looked at: what comes in between is either seen or makes it readable. */
static bool embed_clear(ferry_loop *loop) {
    struct adapter *adapter = adapter_of(loop);
    uint32_t before = loop->records.tail;
    adapter_take(adapter);
    ferry__embed_clear(&adapter->embed);
    (void)ferry__adapter_look(adapter, 0);
    ferry__adapter_collect(adapter);
    ferry__adapter_go_on_all(adapter, &adapter->to_loop);
    bool quiet = loop->records.tail == before && adapter->ready.first == 0;
    if (quiet) adapter->outside = true;
    adapter_release(adapter);
    return quiet;
}

void ferry__adapter_raise(struct adapter *adapter) {
    ferry__embed_raise(&adapter->embed);
}

static void embed_raise(ferry_loop *loop) {
    ferry__adapter_raise(adapter_of(loop));
}

static void embed_alarm(ferry_loop *loop, uint64_t deadline) {
    struct adapter *adapter = adapter_of(loop);
    adapter_take(adapter);
    deadline = ferry__adapter_deadline(adapter, deadline);
    adapter_release(adapter);
    ferry__embed_alarm(&adapter->embed, deadline);
}

const struct ferry__embedding ferry__adapter_embedding = {
    .open = embed_open,
    .clear = embed_clear,
    .raise = embed_raise,
    .alarm = embed_alarm,
};
