/* baton.c - who may touch the adapter, and its own thread.
 *
 * docs/adapter-protocol.md has the protocol, and test/model/ the models that it was proven with.
 *
 * auto: the thread sleeps for a tick, and if the loop has not turned meanwhile and has left the
 * baton, it takes that and does the adapter's step in the loop's stead. While the loop keeps up it
 * does nothing, and when the loop sleeps it sleeps, too, without ticks. dedicated: the thread waits
 * in the poller, takes the baton for what comes, and wakes the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "adapter.h"

#include "../posix/calls.h"

#include <errno.h>

#define EVENTS_MAX 256
#define TICK_MIN_NS 4000000u
#define TICK_MAX_NS 16000000u
#define STILL_MAX                                                                                  \
    8u /* ticks in which the loop sits in the poller, until the thread sleeps, too                 \
        */

/* ---- The loop's side --------------------------------------------------------------------- */

/* Waits while the word says so. */
static void wait_while(struct adapter *adapter, _Atomic uint32_t *word, uint32_t value) {
    ferry__os_lock(&adapter->lock);
    while (atomic_load_explicit(word, memory_order_acquire) == value) {
        ferry__os_signal_wait(&adapter->changed, &adapter->lock);
    }
    ferry__os_unlock(&adapter->lock);
}

/* Changes a word that the other thread may be waiting for. */
static void tell(struct adapter *adapter, _Atomic uint32_t *word, uint32_t value) {
    ferry__os_lock(&adapter->lock);
    atomic_store_explicit(word, value, memory_order_seq_cst);
    ferry__os_signal_all(&adapter->changed);
    ferry__os_unlock(&adapter->lock);
}

/* Takes the baton, or marks that it is wanted and waits until it is handed over. */
static void take(struct adapter *adapter, uint32_t mine, uint32_t theirs) {
    for (;;) {
        uint32_t seen = BATON_FREE;
        if (atomic_compare_exchange_strong_explicit(&adapter->baton, &seen, mine,
                                                    memory_order_acquire, memory_order_relaxed)) {
            return;
        }
        seen = theirs;
        if (atomic_compare_exchange_strong_explicit(&adapter->baton, &seen, theirs | BATON_WANTED,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            wait_while(adapter, &adapter->baton, theirs | BATON_WANTED);
            return; /* it was handed over */
        }
    }
}

void ferry__adapter_take_slowly(struct adapter *adapter) {
    take(adapter, BATON_LOOP, BATON_THREAD);
}

void ferry__adapter_release_slowly(struct adapter *adapter) {
    uint32_t mine = BATON_LOOP;
    /* The poller does not show what has been taken from it: a thread that watches that is told. */
    if (adapter->watching && adapter->ready.first != 0) {
        adapter->watching = false;
        adapter->poller->kick(&adapter->poll);
    }
    /* seq_cst: before the look at parked, whose writer looks at the baton after that. */
    if (!atomic_compare_exchange_strong_explicit(&adapter->baton, &mine, BATON_FREE,
                                                 memory_order_seq_cst, memory_order_relaxed)) {
        tell(adapter, &adapter->baton, BATON_THREAD);
    }
    if (atomic_load_explicit(&adapter->parked, memory_order_seq_cst) != 0) {
        ferry__adapter_unpark(adapter);
    }
}

void ferry__adapter_unpark(struct adapter *adapter) {
    if (atomic_exchange_explicit(&adapter->parked, 0, memory_order_seq_cst) == 0) return;
    ferry__os_lock(&adapter->lock);
    ferry__os_signal_all(&adapter->changed);
    ferry__os_unlock(&adapter->lock);
}

/* ---- The thread's side ------------------------------------------------------------------- */

static bool is_stopped(struct adapter *adapter) {
    /* acquire: with the release in thread_end, though nothing but the flag is handed over. */
    return atomic_load_explicit(&adapter->stop, memory_order_acquire);
}

static void release(struct adapter *adapter) {
    uint32_t mine = BATON_THREAD;
    /* release: what was done with it. */
    if (!atomic_compare_exchange_strong_explicit(&adapter->baton, &mine, BATON_FREE,
                                                 memory_order_seq_cst, memory_order_relaxed)) {
        tell(adapter, &adapter->baton, BATON_LOOP);
    }
}

static bool has_landed(const struct adapter *adapter, uint32_t before) {
    return adapter->landed_tail != before;
}

/* The loop's part, in its stead: notes the events, goes on with what is ready. True if something
 * has come of it. */
static bool step(struct adapter *adapter, const struct ferry__event *events, int count) {
    uint32_t before = adapter->landed_tail;
    bool paused = adapter->paused.first != 0;
    adapter->yielded = false;
    ferry__adapter_note(adapter, events, count);
    ferry__adapter_go_on_all(adapter, &adapter->to_land);
    /* The pause has begun here: whoever sleeps does not know when it ends. */
    bool tells = has_landed(adapter, before) || (!paused && adapter->paused.first != 0);
    if (tells && adapter->outside) ferry__adapter_raise(adapter);
    return tells;
}

static void tick(struct adapter *adapter, uint64_t ns) {
    uint64_t until = ferry__os_clock() + ns;
    ferry__os_lock(&adapter->lock);
    while (!is_stopped(adapter) && ferry__os_clock() < until &&
           ferry__os_signal_wait_until(&adapter->changed, &adapter->lock, until)) {
    }
    ferry__os_unlock(&adapter->lock);
}

/* Waits for the poller, without taking anything from it. */
static void watch(struct adapter *adapter) {
    struct pollfd fds[] = {{.fd = adapter->poll.fd, .events = POLLIN},
                           {.fd = adapter->poll.kick_fd, .events = POLLIN}};
    (void)ferry__calls.poll(fds, 2, -1);
    if (fds[1].revents != 0) adapter->poller->kicked(&adapter->poll);
}

/* The loop has been away for a tick. */
static bool stand_in(struct adapter *adapter, bool *watches) {
    struct ferry__event events[EVENTS_MAX];
    uint32_t seen = BATON_FREE;
    bool moved;
    *watches = false;
    do {
        if (!atomic_compare_exchange_strong_explicit(&adapter->baton, &seen, BATON_THREAD,
                                                     memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
        int count = adapter->poller->wait(&adapter->poll, events, EVENTS_MAX, 0);
        moved = step(adapter, events, count);
        /* Nothing to do until the poller tells, or the loop leaves something behind. */
        adapter->watching = !moved && adapter->ready.first == 0 && adapter->paused.first == 0;
        *watches = adapter->watching;
        /* What needs the loop's thread, or room that it makes, is its business. */
        if (adapter->outside && !moved && !adapter->yielded && adapter->ready.first != 0) {
            ferry__adapter_raise(adapter);
        }
        release(adapter);
    } while (moved && !is_stopped(adapter));
    return false;
}

static void park(struct adapter *adapter) {
    atomic_store_explicit(&adapter->parked, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&adapter->baton, memory_order_seq_cst) == BATON_LOOP &&
        !is_stopped(adapter)) {
        wait_while(adapter, &adapter->parked, 1);
    }
    atomic_store_explicit(&adapter->parked, 0, memory_order_seq_cst);
}

static void *run_auto(void *arg) {
    struct adapter *adapter = arg;
    uint64_t span = TICK_MIN_NS;
    unsigned still = 0;
    bool watches = false;
    while (!is_stopped(adapter)) {
        if (watches) watch(adapter); /* an outer loop is told, too, and goes first */
        uint32_t turn = atomic_load_explicit(&adapter->turn, memory_order_relaxed);
        tick(adapter, span);
        watches = false;
        if (atomic_load_explicit(&adapter->turn, memory_order_relaxed) != turn) {
            still = 0;
            if (span < TICK_MAX_NS) span *= 2;
        } else if (atomic_load_explicit(&adapter->baton, memory_order_relaxed) == BATON_LOOP) {
            if (++still < STILL_MAX) continue;
            park(adapter);
            still = 0;
            span = TICK_MIN_NS;
        } else {
            still = 0;
            span = TICK_MIN_NS;
            (void)stand_in(adapter, &watches);
        }
    }
    return NULL;
}

/* Nothing is taken from the poller without the baton: else it would be in the hands of a thread
 * that may not get to run for long, while the loop goes round and round. */
static void *run_dedicated(void *arg) {
    struct adapter *adapter = arg;
    struct ferry__event events[EVENTS_MAX];
    bool more = false;
    while (!is_stopped(adapter)) {
        if (!more) watch(adapter);
        take(adapter, BATON_THREAD, BATON_LOOP);
        int count = adapter->poller->wait(&adapter->poll, events, EVENTS_MAX, 0);
        bool moved = step(adapter, events, count);
        bool left = adapter->ready.first != 0;
        bool outside = adapter->outside; /* an outer loop is told, and nobody sleeps */
        more = left && (moved || adapter->yielded);
        if (outside && left && !moved) ferry__adapter_raise(adapter);
        release(adapter);
        /* What needs the loop's thread, or room that it makes, is its business. */
        if (!outside && (moved || left)) ferry__inbox_wake(adapter->loop);
    }
    return NULL;
}

/* ---- Its beginning and end --------------------------------------------------------------- */

int ferry__adapter_thread_start(struct adapter *adapter) {
    ferry__os_lock_init(&adapter->lock);
    ferry__os_signal_init(&adapter->changed);
    adapter->has_thread = true;
    adapter->alone = false;
    bool dedicated = adapter->mode == FERRY_ADAPTER_DEDICATED;
    int error = ferry__os_thread_start(&adapter->thread, dedicated ? run_dedicated : run_auto,
                                       adapter);
    if (error == 0) return 0;
    adapter->has_thread = false;
    adapter->alone = true;
    ferry__os_signal_end(&adapter->changed);
    ferry__os_lock_end(&adapter->lock);
    return error;
}

void ferry__adapter_thread_end(struct adapter *adapter) {
    if (!adapter->has_thread) return;
    ferry__os_lock(&adapter->lock);
    atomic_store_explicit(&adapter->stop, true, memory_order_release);
    atomic_store_explicit(&adapter->parked, 0, memory_order_seq_cst);
    ferry__os_signal_all(&adapter->changed);
    ferry__os_unlock(&adapter->lock);
    adapter->poller->kick(&adapter->poll);
    ferry__os_thread_join(&adapter->thread);
    adapter->has_thread = false;
    adapter->alone = true;
    ferry__os_signal_end(&adapter->changed);
    ferry__os_lock_end(&adapter->lock);
}
