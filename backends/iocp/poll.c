/* poll.c - readiness.
 *
 * Of sockets: the driver behind Winsock, AFD, has a request that completes when one is ready, and
 * it comes back through the port. (select() and WSAPoll() are made of it.) It asks for the socket
 * of the base provider, in case that something is layered above that. Nothing is remembered of a
 * socket between two polls.
 *
 * Of handles that can be waited for, such as events: processes.c. Of pipes nobody tells: they are
 * looked at every few milliseconds, as sockets are without AFD. Files are always ready.
 *
 * An operation that only waits until it may be tried (BIT_POLLING) receives nothing: a receive of
 * zero bytes completes when there is something, and pins no memory until then. A datagram would be
 * lost to it, hence MSG_PEEK.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

#include <stdlib.h>

#define LOOK_MS 10
#define SIO_BSP_HANDLE_POLL_CODE 0x4800001du /* not in every SDK */

/* ---- AFD ----------------------------------------------------------------------------------- */

#define AFD_POLL_CODE 0x00012024u

enum {
    AFD_RECEIVE = 1 << 0,
    AFD_EXPEDITED = 1 << 1,
    AFD_SEND = 1 << 2,
    AFD_DISCONNECT = 1 << 3, /* the peer sends no more */
    AFD_ABORT = 1 << 4,
    AFD_LOCAL_CLOSE = 1 << 5,
    AFD_ACCEPT = 1 << 7,
    AFD_CONNECT_FAIL = 1 << 8
};

struct afd_info {
    LARGE_INTEGER timeout;
    ULONG count, exclusive;
    HANDLE socket;
    ULONG events;
    NTSTATUS status;
};

/* A request of this kind: the driver writes to the first two. */
struct afd_request {
    IO_STATUS_BLOCK status;
    struct afd_info info;
};

_Static_assert(sizeof(struct afd_request) <= offsetof(struct iocp_request, came), "room for it");
_Static_assert(offsetof(OVERLAPPED, Internal) == offsetof(IO_STATUS_BLOCK, Status), "the same");

/* ---- What a loop has that polls ------------------------------------------------------------ */

struct polls {
    HANDLE afd;      /* NULL: not opened */
    HANDLE timer;    /* NULL: nothing was ever looked at */
    ferry_op *looks; /* that are looked at when it ticks, through request->own */
    bool ticks;      /* it is set, and somebody waits for it: */
    struct iocp_request tick;
};

static struct polls *polls_of(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    if (iocp->poll == NULL) iocp->poll = ferry__os_reserve(sizeof(struct polls));
    return iocp->poll;
}

void ferry__iocp_poll_close(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    struct polls *polls = iocp->poll;
    if (polls == NULL) return;
    if (polls->ticks) ferry__iocp_wait_end(&polls->tick);
    if (polls->timer != NULL) (void)CloseHandle(polls->timer);
    if (polls->afd != NULL) (void)CloseHandle(polls->afd);
    ferry__os_unreserve(polls, sizeof *polls);
    iocp->poll = NULL;
}

/* ---- Ready, or not ------------------------------------------------------------------------- */

/* What is told of all that was found: what was asked for, and errors in any case. */
static unsigned told(const ferry_op *op, unsigned found) {
    unsigned always = FERRY_POLL_ERR | FERRY_POLL_HUP;
    return found & ((unsigned)op->len | always);
}

/* The record of a poll, or of one that only waits to be tried. */
static void put_ready(ferry_loop *loop, ferry_op *op, unsigned found) {
    bool polls = op->code == FERRY_OP_POLL;
    iocp_request(op)->came = NULL;
    iocp_put(loop, op, polls ? (int32_t)told(op, found) : 0, 0);
}

static void put_error(ferry_loop *loop, ferry_op *op, int error) {
    iocp_request(op)->came = NULL;
    ferry__iocp_fail(loop, op, error);
}

/* What op waits for. */
static unsigned wanted(const ferry_op *op) {
    if (op->code == FERRY_OP_POLL) return (unsigned)op->len;
    return ferry__op_row(op)->result == RESULT_OUT ? FERRY_POLL_OUT : FERRY_POLL_IN;
}

/* ---- Sockets, by AFD ----------------------------------------------------------------------- */

static HANDLE base_of(SOCKET socket) {
    SOCKET base = INVALID_SOCKET;
    DWORD got;
    if (WSAIoctl(socket, SIO_BASE_HANDLE, NULL, 0, &base, sizeof base, &got, NULL, NULL) == 0) {
        return (HANDLE)base;
    }
    /* Some providers hide the one and not the other. */
    if (WSAIoctl(socket, SIO_BSP_HANDLE_POLL_CODE, NULL, 0, &base, sizeof base, &got, NULL, NULL) ==
        0) {
        return (HANDLE)base;
    }
    return (HANDLE)socket;
}

static ULONG afd_events(unsigned events) {
    ULONG asked = AFD_ABORT | AFD_LOCAL_CLOSE | AFD_CONNECT_FAIL;
    if (events & FERRY_POLL_IN) asked |= AFD_RECEIVE | AFD_ACCEPT | AFD_DISCONNECT;
    if (events & FERRY_POLL_OUT) asked |= AFD_SEND;
    if (events & FERRY_POLL_PRIORITY) asked |= AFD_EXPEDITED;
    if (events & FERRY_POLL_RDHUP) asked |= AFD_DISCONNECT;
    return asked;
}

static unsigned afd_found(ULONG events) {
    const unsigned any = FERRY_POLL_IN | FERRY_POLL_OUT | FERRY_POLL_RDHUP;
    unsigned found = 0;
    if (events & (AFD_RECEIVE | AFD_ACCEPT)) found |= FERRY_POLL_IN;
    if (events & AFD_DISCONNECT) found |= FERRY_POLL_IN | FERRY_POLL_RDHUP;
    if (events & AFD_SEND) found |= FERRY_POLL_OUT;
    if (events & AFD_EXPEDITED) found |= FERRY_POLL_PRIORITY;
    if (events & AFD_ABORT) found |= any | FERRY_POLL_ERR | FERRY_POLL_HUP;
    if (events & AFD_CONNECT_FAIL) found |= FERRY_POLL_OUT | FERRY_POLL_ERR | FERRY_POLL_HUP;
    if (events & AFD_LOCAL_CLOSE) found |= FERRY_POLL_HUP;
    return found;
}

static void afd_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    struct afd_info info;
    memcpy(&info, &((struct afd_request *)(void *)request)->info, sizeof info);
    (void)bytes;
    if (error != 0) {
        put_error(loop, op, error);
    } else {
        put_ready(loop, op, info.count > 0 ? afd_found(info.events) : 0);
    }
}

static NTSTATUS afd_open(const struct iocp *iocp, HANDLE *afd) {
    static const wchar_t text[] = L"\\Device\\Afd\\Ferry";
    wchar_t path[sizeof text / sizeof text[0]];
    memcpy(path, text, sizeof text);
    UNICODE_STRING name = {
        .Buffer = path, .Length = sizeof text - sizeof text[0], .MaximumLength = sizeof text};
    OBJECT_ATTRIBUTES object = {.Length = sizeof object, .ObjectName = &name};
    IO_STATUS_BLOCK io;
    NTSTATUS status = NtCreateFile(afd, SYNCHRONIZE, &object, &io, NULL, 0,
                                   FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN, 0, NULL, 0);
    if (status < 0) return status;
    if (CreateIoCompletionPort(*afd, iocp->port, 0, 0) != NULL) {
        (void)SetFileCompletionNotificationModes(*afd, FILE_SKIP_SET_EVENT_ON_HANDLE);
        return 0;
    }
    (void)CloseHandle(*afd);
    return STATUS_INSUFFICIENT_RESOURCES;
}

/* False if there is no such driver, or it does not know this socket, as it may be with those of
 * layered providers: then it has to be looked at. */
static bool afd_begin(ferry_loop *loop, struct polls *polls, ferry_op *op) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), afd_came);
    struct afd_request *afd = (struct afd_request *)(void *)request;
    struct iocp *iocp = iocp_of(loop);
    if (polls->afd == NULL && afd_open(iocp, &polls->afd) < 0) {
        polls->afd = NULL;
        iocp->found[IOCP_AFD] = FERRY_FEATURE_MISSING;
        return false;
    }
    afd->info.timeout.QuadPart = INT64_MAX;
    afd->info.count = 1;
    afd->info.socket = base_of(ferry__win_socket(op->fd));
    afd->info.events = afd_events(wanted(op));
    afd->status.Status = STATUS_PENDING;
    NTSTATUS status = NtDeviceIoControlFile(polls->afd, NULL, NULL, request, &afd->status,
                                            AFD_POLL_CODE, &afd->info, sizeof afd->info, &afd->info,
                                            sizeof afd->info);
    if (status == STATUS_INVALID_HANDLE) {
        put_error(loop, op, FERRY_EBADF);
        return true;
    }
    if (status >= 0) iocp->uses[IOCP_AFD]++; /* a packet comes */
    return status >= 0;
}

/* ---- What is looked at every now and then --------------------------------------------------- */

/* FILE_PIPE_LOCAL_INFORMATION's number. */
#define PIPE_LOCAL 24

enum { PIPE_CLOSING = 4 }; /* NamedPipeState: the other end is closed */

/* What cannot be asked, as this end is not open for it, is ready: a try tells more. */
static unsigned look_at_pipe(HANDLE pipe, unsigned events) {
    FILE_PIPE_LOCAL_INFORMATION about = {.WriteQuotaAvailable = 1};
    IO_STATUS_BLOCK io;
    DWORD there = 0;
    unsigned found = 0;
    bool known = NtQueryInformationFile(pipe, &io, &about, sizeof about,
                                        (FILE_INFORMATION_CLASS)PIPE_LOCAL) >= 0;
    /* Inbound 0, outbound 1; the client's end 0, the server's 1: this end does not read then. */
    bool reads = !known || about.NamedPipeConfiguration != about.NamedPipeEnd;
    if (reads && events & FERRY_POLL_IN && PeekNamedPipe(pipe, NULL, 0, NULL, &there, NULL)) {
        if (there > 0) found |= FERRY_POLL_IN;
    } else if (reads && events & FERRY_POLL_IN) {
        found |= FERRY_POLL_IN; /* broken: a read says so */
    }
    if (known && about.NamedPipeState == PIPE_CLOSING) {
        found |= reads ? FERRY_POLL_HUP : FERRY_POLL_ERR;
        found |= FERRY_POLL_OUT;
    }
    if (about.WriteQuotaAvailable > 0) found |= FERRY_POLL_OUT;
    return found;
}

static unsigned look_at_socket(SOCKET socket, unsigned events) {
    WSAPOLLFD look = {.fd = socket};
    unsigned found = 0;
    if (events & FERRY_POLL_IN) look.events |= POLLRDNORM;
    if (events & FERRY_POLL_OUT) look.events |= POLLWRNORM;
    if (events & FERRY_POLL_PRIORITY) look.events |= POLLRDBAND;
    if (WSAPoll(&look, 1, 0) <= 0) return 0;
    if (look.revents & POLLRDNORM) found |= FERRY_POLL_IN;
    if (look.revents & POLLWRNORM) found |= FERRY_POLL_OUT;
    if (look.revents & POLLRDBAND) found |= FERRY_POLL_PRIORITY;
    if (look.revents & POLLHUP) found |= FERRY_POLL_IN | FERRY_POLL_RDHUP;
    if (look.revents & (POLLERR | POLLNVAL)) found |= FERRY_POLL_ERR;
    return found;
}

static bool is_pipe(ferry_fd fd) {
    return GetFileType(ferry__win_handle(fd)) == FILE_TYPE_PIPE &&
           ferry__win_socket_family(ferry__win_socket(fd)) == AF_UNSPEC;
}

/* Calls on a handle that is not overlapped are made one after the other: while a worker waits in
 * one a look would wait as well, and the loop with it. */
static bool is_held(const ferry_loop *loop, ferry_fd fd) {
    if (!(iocp_slot(loop, fd)->flags & HANDLE_WAITS)) return false;
    const struct ferry__slot *slot = ferry__slot(loop, fd);
    return slot->lane[READ_LANE].head != NULL || slot->lane[WRITE_LANE].head != NULL;
}

/* What op's descriptor is ready for, of what op waits for: 0 if for nothing. */
static unsigned look(const ferry_loop *loop, const ferry_op *op) {
    unsigned events = wanted(op);
    if (is_held(loop, op->fd)) return 0;
    unsigned found = is_pipe(op->fd) ? look_at_pipe(ferry__win_handle(op->fd), events)
                                     : look_at_socket(ferry__win_socket(op->fd), events);
    return found & (events | FERRY_POLL_ERR | FERRY_POLL_HUP);
}

/* A mark: nobody calls it, since nothing is with the system. */
static void looked_at(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    (void)loop, (void)request, (void)error, (void)bytes;
}

static ferry_op *next_of(ferry_op *op) {
    return (ferry_op *)(uintptr_t)iocp_request(op)->own;
}

static void tick_begin(ferry_loop *loop, struct polls *polls);

static void ticked(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    struct polls *polls = iocp_of(loop)->poll;
    ferry_op *op = polls->looks;
    (void)error, (void)bytes;
    ferry__iocp_wait_end(request);
    polls->ticks = false;
    polls->looks = NULL;
    for (ferry_op *next; op != NULL; op = next) {
        next = next_of(op);
        unsigned found = iocp_spare(loop) > IOCP_ROOM_MIN ? look(loop, op) : 0;
        if (found != 0) {
            put_ready(loop, op, found);
        } else {
            iocp_request(op)->own = (uint64_t)(uintptr_t)polls->looks;
            polls->looks = op;
        }
    }
    if (polls->looks != NULL) tick_begin(loop, polls);
}

static int tick_set(ferry_loop *loop, struct polls *polls) {
    LARGE_INTEGER when = {.QuadPart = -10000 * LOOK_MS};
    if (polls->timer == NULL) polls->timer = CreateWaitableTimerW(NULL, FALSE, NULL);
    if (polls->timer == NULL || !SetWaitableTimer(polls->timer, &when, 0, NULL, NULL, FALSE)) {
        return ferry__win_last_error();
    }
    return ferry__iocp_wait_begin(loop, &polls->tick, ticked, polls->timer, NULL);
}

/* If that is refused, those that wait are told so. */
static void tick_begin(ferry_loop *loop, struct polls *polls) {
    int error = tick_set(loop, polls);
    polls->ticks = error == 0;
    while (!polls->ticks && polls->looks != NULL) {
        ferry_op *op = polls->looks;
        polls->looks = next_of(op);
        put_error(loop, op, error);
    }
}

static void look_begin(ferry_loop *loop, struct polls *polls, ferry_op *op) {
    unsigned found = look(loop, op);
    if (found != 0) {
        put_ready(loop, op, found);
        return;
    }
    struct iocp_request *request = iocp_prepare(iocp_request(op), looked_at);
    request->own = (uint64_t)(uintptr_t)polls->looks;
    polls->looks = op;
    if (!polls->ticks) tick_begin(loop, polls);
}

static void look_stop(ferry_loop *loop, ferry_op *op) {
    struct polls *polls = iocp_of(loop)->poll;
    ferry_op *before = NULL, *at = polls->looks;
    while (at != op) {
        before = at;
        at = next_of(at);
    }
    if (before != NULL) {
        iocp_request(before)->own = iocp_request(op)->own;
    } else {
        polls->looks = next_of(op);
    }
    put_error(loop, op, FERRY_ECANCELED);
}

/* ---- Handles that are signalled ---------------------------------------------------------------
 */

static void signal_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    (void)bytes;
    ferry__iocp_wait_end(request);
    if (error != 0) {
        put_error(loop, op, error);
    } else {
        put_ready(loop, op, FERRY_POLL_IN);
    }
}

static void signal_begin(ferry_loop *loop, ferry_op *op) {
    int error = FERRY_EINVAL;
    if (wanted(op) & FERRY_POLL_IN) {
        error = ferry__iocp_wait_begin(loop, iocp_request(op), signal_came,
                                       ferry__win_handle(op->fd), NULL);
    }
    if (error != 0) put_error(loop, op, error);
}

/* ---- By what it is -----------------------------------------------------------------------------
 */

/* A file, or a device of which nobody tells. */
static void always_ready(ferry_loop *loop, ferry_op *op) {
    unsigned found = wanted(op) & (FERRY_POLL_IN | FERRY_POLL_OUT);
    if (found != 0) {
        put_ready(loop, op, found);
    } else {
        put_error(loop, op, FERRY_EINVAL);
    }
}

static bool is_console_input(HANDLE handle) {
    DWORD count;
    return GetNumberOfConsoleInputEvents(handle, &count);
}

static void other_begin(ferry_loop *loop, ferry_op *op, enum ferry__fd_kind kind) {
    HANDLE handle = ferry__win_handle(op->fd);
    DWORD type = GetFileType(handle);
    if (type == FILE_TYPE_DISK || (kind == KIND_CHARACTER && !is_console_input(handle))) {
        always_ready(loop, op);
    } else if (type == FILE_TYPE_CHAR && !(wanted(op) & FERRY_POLL_IN)) {
        always_ready(loop, op);
    } else {
        signal_begin(loop, op);
    }
}

static int kind_of(const ferry_loop *loop, const ferry_op *op) {
    int kind = ferry__slot(loop, op->fd)->kind;
    if (kind == KIND_STREAM || kind == KIND_MESSAGE || kind == KIND_PIPE) return kind;
    return ferry__os_fd_kind(op->fd);
}

void ferry__iocp_begin_poll(ferry_loop *loop, ferry_op *op) {
    struct polls *polls = polls_of(loop);
    int kind = kind_of(loop, op);
    (void)iocp_prepare(iocp_request(op), NULL);
    if (polls == NULL || kind < 0) {
        put_error(loop, op, kind < 0 ? kind : FERRY_ENOMEM);
        return;
    }
    switch ((enum ferry__fd_kind)kind) {
    case KIND_STREAM:
    case KIND_MESSAGE:
    case KIND_SEQPACKET:
        if (!iocp_has(iocp_of(loop), IOCP_AFD) || !afd_begin(loop, polls, op)) {
            look_begin(loop, polls, op);
        }
        return;
    case KIND_PIPE: look_begin(loop, polls, op); return;
    case KIND_FILE: always_ready(loop, op); return;
    case KIND_UNKNOWN:
    case KIND_CHARACTER:
    case KIND_OTHER: break;
    }
    other_begin(loop, op, (enum ferry__fd_kind)kind);
}

void ferry__iocp_stop_poll(ferry_loop *loop, ferry_op *op) {
    struct iocp_request *request = iocp_request(op);
    struct polls *polls = iocp_of(loop)->poll;
    if (request->came == afd_came) {
        ferry__iocp_cancel_request(ferry__win_fd(polls->afd), request);
    } else if (request->came == looked_at) {
        look_stop(loop, op);
    } else if (request->came == signal_came) {
        ferry__iocp_wait_stop(request);
    } else if (request->came != NULL) {
        ferry__iocp_cancel_request(op->fd, request);
    }
}

/* ---- Until an operation may be tried ----------------------------------------------------------
 */

/* Whatever there is to learn, the next try learns it. */
static void empty_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes) {
    ferry_op *op = iocp_op(request);
    (void)bytes;
    request->came = NULL;
    if (error == FERRY_EPIPE || iocp_is_unasked(op, error)) error = 0;
    if (error < 0 && ferry__slot(loop, op->fd)->kind == KIND_MESSAGE &&
        ferry__iocp_is_noise(loop, op->fd, &error)) {
        iocp_put(loop, op, 0, RECORD_INTERRUPTED);
    } else if (error < 0) {
        ferry__iocp_fail(loop, op, error);
    } else {
        iocp_put(loop, op, 0, 0);
    }
}

static void empty_receive(ferry_loop *loop, ferry_op *op, bool message) {
    struct iocp_request *request = iocp_prepare(iocp_request(op), empty_came);
    int error = ferry__iocp_bind(loop, op->fd, !message);
    if (error != 0) {
        put_error(loop, op, error);
        return;
    }
    WSABUF none = {.len = 0, .buf = NULL};
    request->flags = message ? MSG_PEEK : 0;
    int failed = WSARecv(ferry__win_socket(op->fd), &none, 1, &request->bytes, &request->flags,
                         &request->overlapped, NULL);
    ferry__iocp_issued(loop, op->fd, request, failed != 0 ? (DWORD)WSAGetLastError() : 0);
}

void ferry__iocp_begin_ready(ferry_loop *loop, ferry_op *op) {
    int kind = op->fd >= 0 ? kind_of(loop, op) : FERRY_EBADF;
    bool socket = kind == KIND_STREAM || kind == KIND_MESSAGE;
    if (socket && wanted(op) == FERRY_POLL_IN && op->code != FERRY_OP_ACCEPT) {
        empty_receive(loop, op, kind == KIND_MESSAGE);
    } else if (kind == KIND_PIPE && ferry__op_row(op)->result == RESULT_LENT) {
        ferry__iocp_empty_read(loop, op);
    } else {
        ferry__iocp_begin_poll(loop, op);
    }
}

void ferry__iocp_stop_ready(ferry_loop *loop, ferry_op *op) {
    if (!ferry__iocp_stop_empty_read(loop, op)) ferry__iocp_stop_poll(loop, op);
}
