/* processes.c - waits for what Windows signals: processes, and any other handle that can be waited
 * for, such as the event of an embedded loop.
 *
 * The port is told by a wait completion packet where the system has them (Windows 8 and later),
 * else by a thread of the system's own pool, which posts to the port and does no more. Either way
 * what comes is the packet of a request like any other.
 *
 * A wait that is to end early is taken back. That may come too late, and then its packet is on its
 * way and tells what came of it; else one is posted in its stead: exactly one in any case.
 *
 * The pool's thread is given a number, not an address: whoever takes the wait of that number out of
 * a list first, it or the loop, decides which of the two it is. So a thread that comes when the
 * wait is over and its memory somebody else's, as Wine's may just after a wait was taken back,
 * finds nothing and leaves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

/* What a request keeps where the system would write, if it did more with it than hand back its
 * address. */
struct wait {
    ULONG_PTR status; /* as in an OVERLAPPED */
    uint32_t number;  /* by a thread: in the list */
    bool is_packet;
    HANDLE port;
    HANDLE waits;      /* the packet, or the registered wait; NULL: it was taken back */
    HANDLE owned;      /* to be closed in the end; NULL: none */
    struct wait *next; /* in the list */
};

_Static_assert(sizeof(struct wait) <= offsetof(struct iocp_request, came), "room for a wait");
_Static_assert(offsetof(struct wait, number) == offsetof(OVERLAPPED, InternalHigh), "as there");

static struct wait *wait_of(struct iocp_request *request) {
    return (struct wait *)(void *)request;
}

/* ---- Those that a thread is to tell of ------------------------------------------------------- */

/* Of all loops, by their numbers' last bits. */
static struct {
    struct ferry__lock lock; /* zeroed is unlocked */
    uint32_t last;
    struct wait *waits[64];
} listed;

static void list_in(struct wait *wait) {
    ferry__os_lock(&listed.lock);
    wait->number = ++listed.last;
    struct wait **place = &listed.waits[wait->number % 64];
    wait->next = *place;
    *place = wait;
    ferry__os_unlock(&listed.lock);
}

/* The wait of that number, which is in the list no more; NULL if it was not. */
static struct wait *list_out(uint32_t number) {
    ferry__os_lock(&listed.lock);
    struct wait **place = &listed.waits[number % 64];
    while (*place != NULL && (*place)->number != number) place = &(*place)->next;
    struct wait *found = *place;
    if (found != NULL) *place = found->next;
    ferry__os_unlock(&listed.lock);
    return found;
}

/* ---- Waiting for a handle ------------------------------------------------------------------ */

/* By a thread of the system's pool. Once it is posted the operation may be gone. */
static void CALLBACK signalled(void *context, BOOLEAN timed_out) {
    struct wait *wait = list_out((uint32_t)(uintptr_t)context);
    (void)timed_out;
    if (wait == NULL) return;
    /* It fails for want of memory in the system alone, and there is nobody to tell. */
    (void)PostQueuedCompletionStatus(wait->port, 0, 0, (OVERLAPPED *)(void *)wait);
}

static int wait_by_packet(struct iocp_request *request, HANDLE target) {
    struct wait *wait = wait_of(request);
    BOOLEAN already;
    NTSTATUS status = ferry__win.packet_create(&wait->waits, MAXIMUM_ALLOWED, NULL);
    if (status < 0) return ferry__win_status(status);
    status = ferry__win.packet_associate(wait->waits, wait->port, target, NULL,
                                         &request->overlapped, 0, 0, &already);
    if (status >= 0) return 0;
    (void)CloseHandle(wait->waits);
    return ferry__win_status(status);
}

static int wait_by_thread(struct iocp_request *request, HANDLE target) {
    const ULONG how = WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD;
    struct wait *wait = wait_of(request);
    list_in(wait);
    if (RegisterWaitForSingleObject(&wait->waits, target, signalled,
                                    (void *)(uintptr_t)wait->number, INFINITE, how)) {
        return 0;
    }
    int error = ferry__win_last_error();
    (void)list_out(wait->number);
    return error;
}

int ferry__iocp_wait_begin(ferry_loop *loop, struct iocp_request *request, iocp_came *came,
                           HANDLE target, HANDLE owned) {
    struct iocp *iocp = iocp_of(loop);
    struct wait *wait = wait_of(iocp_prepare(request, came));
    wait->port = iocp->port;
    wait->owned = owned;
    wait->is_packet = iocp_has(iocp, IOCP_WAIT_PACKETS);
    if (!wait->is_packet) return wait_by_thread(request, target);
    iocp->uses[IOCP_WAIT_PACKETS]++;
    return wait_by_packet(request, target);
}

/* Waits until the pool's thread has left its call, which takes a moment at most. */
static void let_go(struct wait *wait) {
    if (wait->waits == NULL) return;
    if (wait->is_packet) {
        (void)CloseHandle(wait->waits);
    } else {
        (void)list_out(wait->number);
        (void)UnregisterWaitEx(wait->waits, INVALID_HANDLE_VALUE);
    }
    wait->waits = NULL;
}

void ferry__iocp_wait_end(struct iocp_request *request) {
    struct wait *wait = wait_of(request);
    let_go(wait);
    if (wait->owned != NULL) (void)CloseHandle(wait->owned);
    wait->owned = NULL;
}

/* Will no packet come of it any more? */
static bool taken_back(struct wait *wait) {
    if (wait->waits == NULL) return false; /* it was, and another packet comes */
    if (wait->is_packet) {
        if (ferry__win.packet_cancel(wait->waits, FALSE) != 0) return false;
    } else if (list_out(wait->number) == NULL) {
        return false; /* the thread was first */
    }
    let_go(wait);
    return true;
}

void ferry__iocp_wait_stop(struct iocp_request *request) {
    struct wait *wait = wait_of(request);
    if (!taken_back(wait)) return;
    request->overlapped.Internal = (ULONG_PTR)STATUS_CANCELLED;
    (void)PostQueuedCompletionStatus(wait->port, 0, 0, &request->overlapped);
}

/* ---- Processes ----------------------------------------------------------------------------- */

static void process_came(ferry_loop *loop, struct iocp_request *request, int error,
                         uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    (void)bytes;
    if (error == 0) {
        error = ferry__win_child_take((int64_t)op->len, wait_of(request)->owned,
                                      (ferry_exit *)(uintptr_t)op->buf);
    }
    ferry__iocp_wait_end(request);
    iocp_put(loop, op, error, 0);
}

void ferry__iocp_begin_process(ferry_loop *loop, ferry_op *op) {
    int error = 0;
    (void)iocp_prepare(iocp_request(op), process_came); /* it may be asked to end all the same */
    HANDLE process = ferry__win_child_open((int64_t)op->len, &error);
    if (process != NULL) {
        error = ferry__iocp_wait_begin(loop, iocp_request(op), process_came, process, process);
        if (error == 0) return;
        (void)CloseHandle(process);
    }
    ferry__iocp_fail(loop, op, error);
}

void ferry__iocp_stop_process(ferry_loop *loop, ferry_op *op) {
    (void)loop;
    ferry__iocp_wait_stop(iocp_request(op));
}
