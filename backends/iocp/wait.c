/* wait.c - a batch of packets per turn; deadlines; the wake-up.
 *
 * Each packet names a request, whose function makes a record of it or takes another step. A packet
 * without a request is a wake-up.
 *
 * Waits in whole milliseconds end up to a tick of the system's clock late. A timer of high
 * resolution ends them in time where there is one: its expiry is queued to the loop's thread, whose
 * wait it interrupts.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

#define NS_PER_MS 1000000u
#define NS_PER_TIMER_UNIT 100u
/* What is further off is first waited for without the timer, until this much is left. */
#define COARSE_NS 40000000u
#define MS_MAX 0x7ffffff0u

/* ---- Packets ----------------------------------------------------------------------------- */

static ULONG batch_size(const ferry_loop *loop) {
    uint32_t room = iocp_room(loop) / IOCP_PACKET_RECORDS;
    return room < IOCP_BATCH ? room : IOCP_BATCH;
}

static void take(ferry_loop *loop, const OVERLAPPED_ENTRY *entry) {
    struct iocp *iocp = iocp_of(loop);
    struct iocp_request *request = (struct iocp_request *)(void *)entry->lpOverlapped;
    if (request == NULL) {
        /* seq_cst: before the core looks at what the waker wrote before it found this true. */
        atomic_store(&iocp->woken, false);
        return;
    }
    int error = ferry__iocp_status((NTSTATUS)request->overlapped.Internal);
    request->came(loop, request, error, entry->dwNumberOfBytesTransferred);
}

/* ---- Waiting ----------------------------------------------------------------------------- */

DWORD ferry__iocp_ms_until(uint64_t deadline) {
    if (deadline == UINT64_MAX) return INFINITE;
    uint64_t now = ferry__os_clock();
    if (deadline <= now) return 0;
    uint64_t ms = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms < MS_MAX ? (DWORD)ms : MS_MAX;
}

static void CALLBACK expired(void *context, DWORD low, DWORD high) {
    (void)context, (void)low, (void)high; /* that the wait has ended is all */
}

/* Sets the timer for a deadline. False if the wait has to count milliseconds itself. */
static bool timer_set(struct iocp *iocp, uint64_t left) {
    if (iocp->timer == NULL) return false;
    /* Before zero: from now on. One unit more, so that it is not early. */
    LARGE_INTEGER due = {.QuadPart = -(LONGLONG)(left / NS_PER_TIMER_UNIT + 1)};
    iocp->uses[IOCP_HIRES_TIMER]++;
    return SetWaitableTimer(iocp->timer, &due, 0, expired, NULL, FALSE) != 0;
}

/* Looks once, for at most until deadline: how many packets; 0 also if the wait has ended for
 * something else, below 0 an error. */
static int look(ferry_loop *loop, ULONG most, uint64_t deadline) {
    struct iocp *iocp = iocp_of(loop);
    uint64_t now = deadline != 0 && deadline != UINT64_MAX ? ferry__os_clock() : 0;
    uint64_t left = deadline > now ? deadline - now : 0;
    DWORD ms = INFINITE;
    BOOL alertable = FALSE;
    ULONG count = 0;
    if (left == 0) {
        ms = 0;
    } else if (deadline != UINT64_MAX && iocp->timer != NULL && left > COARSE_NS) {
        uint64_t coarse = (left - COARSE_NS / 2) / NS_PER_MS;
        ms = coarse < MS_MAX ? (DWORD)coarse : MS_MAX;
    } else if (deadline != UINT64_MAX) {
        /* The milliseconds end later, and in any case: should the timer's expiry not be told. */
        ms = ferry__iocp_ms_until(deadline);
        alertable = timer_set(iocp, left);
    }
    loop->stats.system_waits++;
    if (GetQueuedCompletionStatusEx(iocp->port, iocp->batch, most, &count, ms, alertable)) {
        return (int)count;
    }
    DWORD code = GetLastError(); /* count says nothing then */
    if (code == WAIT_TIMEOUT || code == WAIT_IO_COMPLETION) return 0;
    return ferry__win_error(code);
}

/* What has come, without waiting, or waiting if nothing has; and the helper's, which came first. */
static int take_some(ferry_loop *loop, ULONG most, uint64_t deadline) {
    struct iocp *iocp = iocp_of(loop);
    int count = 0;
    if (iocp->embed.is_open) {
        count = (int)ferry__iocp_embed_take(iocp, iocp->batch, most);
    }
    if (count == 0) count = look(loop, most, deadline);
    for (int i = 0; i < count; i++) {
        iocp->left = (uint32_t)(count - i - 1);
        take(loop, &iocp->batch[i]);
    }
    return count;
}

static bool is_over(uint64_t deadline) {
    return deadline == 0 || (deadline != UINT64_MAX && ferry__os_clock() >= deadline);
}

int ferry__iocp_wait(ferry_loop *loop, uint64_t deadline) {
    if (ferry__records_any(loop)) deadline = 0; /* done in the very call that issued it */
    ULONG most = batch_size(loop);
    if (most == 0) return 0;
    int count = take_some(loop, most, deadline);
    /* The clock decides whether it is time. */
    while (count == 0 && !is_over(deadline)) count = take_some(loop, most, deadline);
    if (count == (int)most) { /* there may be more */
        most = batch_size(loop);
        if (most > 0) (void)take_some(loop, most, 0);
    }
    return count < 0 ? count : 0;
}

/* Records are put down in the core's words. */
bool ferry__iocp_read(ferry_loop *loop, struct ferry__record *record) {
    (void)loop, (void)record;
    return true;
}

/* ---- The wake-up ------------------------------------------------------------------------- */

void ferry__iocp_post(const struct iocp *iocp, struct iocp_request *request) {
    OVERLAPPED *overlapped = request != NULL ? &request->overlapped : NULL;
    while (!PostQueuedCompletionStatus(iocp->port, 0, 0, overlapped)) Sleep(1); /* no memory */
}

void ferry__iocp_wake(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    DWORD before = GetLastError();
    /* seq_cst: whoever finds it true knows that the loop will look after that packet. */
    if (!atomic_exchange(&iocp->woken, true)) ferry__iocp_post(iocp, NULL);
    SetLastError(before);
}
