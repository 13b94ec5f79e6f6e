/* embed.c - a loop inside somebody else's: an event, and the thread that sets it.
 *
 * A port cannot be waited for together with other things. So while the loop is away a helper thread
 * waits at the port in its stead, until something comes or the deadline of the loop's next wait has
 * passed; then it sets the event. What it has taken off the port lies here until the loop runs and
 * takes it first. It is away from the port for as long as the loop runs: the loop calls it back
 * with a packet of its own kind, and waits until it has left. Loops that nobody embeds have neither
 * event nor thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

/* The key of the packet that calls the helper back; others have 0. */
#define KEY_BACK 1u

/* ---- The helper ---------------------------------------------------------------------------- */

/* Without the packets that were for the helper. */
static ULONG sift(OVERLAPPED_ENTRY *entries, ULONG count) {
    ULONG kept = 0;
    for (ULONG i = 0; i < count; i++) {
        if (entries[i].lpCompletionKey != KEY_BACK) entries[kept++] = entries[i];
    }
    return kept;
}

/* Under the lock, but not while it waits. */
static void stand_in(struct iocp_embed *embed) {
    ULONG count = 0;
    DWORD ms = ferry__iocp_ms_until(embed->deadline);
    embed->waits = true;
    ferry__os_unlock(&embed->lock);
    BOOL some = GetQueuedCompletionStatusEx(embed->port, embed->entries, IOCP_EMBED_BATCH, &count,
                                            ms, FALSE);
    if (!some) count = 0;
    count = sift(embed->entries, count);
    ferry__os_lock(&embed->lock);
    embed->waits = false;
    embed->count = count;
    embed->taken = 0;
    bool late = embed->deadline != UINT64_MAX && ferry__os_clock() >= embed->deadline;
    if (count > 0 || late) {
        embed->stands_in = false;
        (void)SetEvent(embed->event);
    }
    ferry__os_signal_all(&embed->changed);
}

static void *helper_run(void *arg) {
    struct iocp_embed *embed = arg;
    ferry__os_lock(&embed->lock);
    while (!embed->ends) {
        if (embed->stands_in) {
            stand_in(embed);
        } else {
            ferry__os_signal_wait(&embed->changed, &embed->lock);
        }
    }
    ferry__os_unlock(&embed->lock);
    return NULL;
}

/* Under the lock: it leaves the port, and stays away. */
static void call_back(struct iocp_embed *embed) {
    embed->stands_in = false;
    if (!embed->waits) return;
    while (!PostQueuedCompletionStatus(embed->port, 0, KEY_BACK, NULL)) Sleep(1); /* no memory */
    while (embed->waits) ferry__os_signal_wait(&embed->changed, &embed->lock);
}

/* To the port, until then. */
static void send_off(struct iocp_embed *embed, uint64_t deadline) {
    ferry__os_lock(&embed->lock);
    embed->deadline = deadline;
    embed->stands_in = true;
    embed->is_off = true;
    ferry__os_signal_all(&embed->changed);
    ferry__os_unlock(&embed->lock);
}

/* ---- The loop's thread --------------------------------------------------------------------- */

unsigned ferry__iocp_embed_take(struct iocp *iocp, OVERLAPPED_ENTRY *entries, unsigned max) {
    struct iocp_embed *embed = &iocp->embed;
    if (embed->is_off) {
        ferry__os_lock(&embed->lock);
        call_back(embed);
        ferry__os_unlock(&embed->lock);
        embed->is_off = false;
    }
    unsigned count = 0;
    while (count < max && embed->taken < embed->count) {
        entries[count++] = embed->entries[embed->taken++];
    }
    return count;
}

static int embed_make(struct iocp *iocp) {
    struct iocp_embed *embed = &iocp->embed;
    *embed = (struct iocp_embed){.port = iocp->port, .deadline = UINT64_MAX};
    embed->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (embed->event == NULL) return ferry__win_last_error();
    ferry__os_lock_init(&embed->lock);
    ferry__os_signal_init(&embed->changed);
    int error = ferry__os_thread_start(&embed->thread, helper_run, embed);
    embed->is_open = error == 0;
    if (error == 0) return 0;
    ferry__os_signal_end(&embed->changed);
    ferry__os_lock_end(&embed->lock);
    (void)CloseHandle(embed->event);
    return error;
}

void ferry__iocp_embed_close(ferry_loop *loop) {
    struct iocp_embed *embed = &iocp_of(loop)->embed;
    if (!embed->is_open) return;
    ferry__os_lock(&embed->lock);
    embed->ends = true;
    call_back(embed);
    ferry__os_signal_all(&embed->changed);
    ferry__os_unlock(&embed->lock);
    ferry__os_thread_join(&embed->thread);
    ferry__os_signal_end(&embed->changed);
    ferry__os_lock_end(&embed->lock);
    (void)CloseHandle(embed->event);
    embed->is_open = false;
}

static ferry_fd embed_open(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    if (!iocp->embed.is_open) {
        int error = embed_make(iocp);
        if (error != 0) return error;
        if (!loop->running) send_off(&iocp->embed, UINT64_MAX); /* else the end of the run does */
    }
    return ferry__win_fd(iocp->embed.event);
}

static bool embed_clear(ferry_loop *loop) {
    uint32_t tail = loop->records.tail;
    (void)ResetEvent(iocp_of(loop)->embed.event);
    return ferry__iocp_wait(loop, 0) == 0 && loop->records.tail == tail;
}

static void embed_raise(ferry_loop *loop) {
    (void)SetEvent(iocp_of(loop)->embed.event);
}

static void embed_alarm(ferry_loop *loop, uint64_t deadline) {
    struct iocp_embed *embed = &iocp_of(loop)->embed;
    if (deadline == 0) {
        (void)SetEvent(embed->event);
    } else {
        send_off(embed, deadline);
    }
}

const struct ferry__embedding ferry__iocp_embedding = {
    .open = embed_open,
    .clear = embed_clear,
    .raise = embed_raise,
    .alarm = embed_alarm,
};
