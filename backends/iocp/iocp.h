/* iocp.h - what the files of the completion port backend share.
 *
 *   setup.c   opens and closes the port; handles and the port: the table of them; features
 *   submit.c  operations to requests: the table of kinds, cancels, what an issuing call returned
 *   sockets.c connect, receives, sends, closes
 *   accept.c  connections: blocks of memory that belong to the listener
 *   wait.c    packets to records; deadlines; the wake-up
 *   files.c   reads and writes of files, pipes, consoles
 *   sendfile.c  files into streams
 *   pool.c    receives into lent buffers
 *   poll.c    readiness
 *   processes.c  waits for processes and other handles
 *   embed.c   the handle for an outer loop
 *
 * A request is what the system has in its hands: an OVERLAPPED and what Windows writes beside it.
 * That of an operation lies in the operation. The system answers each with one packet at the port,
 * or at once, in the call that issues it; either way its function `came` is called once, by the
 * loop's thread, and puts down a record or takes another step. Only the loop's thread issues and
 * only it looks at packets (what the helper thread of an embedded loop takes off the port it leaves
 * lying for the loop), so that no packet can be seen before the call that issued it has returned.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_IOCP_H
#define FERRY_IOCP_H

#include "../win/win.h"

#include "core.h"

FERRY__OWN_BEGIN

#define IOCP_GATHER_MAX 16u
#define IOCP_CHUNK_MAX 0x7ffff000u /* bytes of one call */
#define IOCP_VECS_MAX 1024u        /* vectors of one call */
/* A send of this size the system takes as a whole, or it waits as a whole: so that the bytes that
 * have gone are known when it is cancelled. */
#define IOCP_SEND_MAX 65536u
/* The system holds all of a receive's memory while that waits, and refuses too much of it. */
#define IOCP_RECV_MAX 0x100000u
#define IOCP_BATCH 128u   /* packets taken at once */
#define IOCP_ROOM_MIN 32u /* records that must fit before anything is begun */
/* What a packet may give: a result, and the end of what it is the last result of. */
#define IOCP_PACKET_RECORDS 2u

enum iocp_feature {
    IOCP_SKIP,         /* what is done at once brings no packet */
    IOCP_AFD,          /* readiness of sockets without a thread */
    IOCP_WAIT_PACKETS, /* handles that are signalled put a packet at the port */
    IOCP_HIRES_TIMER,  /* deadlines are met to better than a millisecond */
    IOCP_TRANSMIT,     /* files are sent without a copy: TransmitFile() */
    IOCP_FEATURES
};

/* ---- Requests ---------------------------------------------------------------------------- */

struct iocp_request;

/* What has come of a request. error: 0, a FERRY_E..., or one of these. bytes: that were moved, also
 * with an error. */
typedef void iocp_came(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes);

enum {
    IOCP_END = 1, /* the file ends here */
    IOCP_CUT = 2  /* the buffer is full, and the message was longer */
};

struct iocp_request {
    OVERLAPPED overlapped;
    DWORD bytes, flags; /* the out-parameters of the issuing call: written when it completes */
    uint64_t own;       /* by kind */
    iocp_came *came;    /* last: poll.c needs all between here and the first two words */
};

_Static_assert(sizeof(struct iocp_request) <= sizeof(((ferry_op *)0)->system), "it fits into one");

/* The request in an operation, and back. */
static inline struct iocp_request *iocp_request(ferry_op *op) {
    return (struct iocp_request *)(void *)op->system;
}

static inline ferry_op *iocp_op(struct iocp_request *request) {
    return (ferry_op *)(void *)((char *)request - offsetof(ferry_op, system));
}

/* Makes it ready to be issued, anew. */
static inline struct iocp_request *iocp_prepare(struct iocp_request *request, iocp_came *came) {
    *request = (struct iocp_request){.came = came};
    return request;
}

/* ---- Handles ----------------------------------------------------------------------------- */

struct iocp_listener;

enum {
    HANDLE_BOUND = 1 << 0,     /* to the loop's port */
    HANDLE_SKIPS = 1 << 1,     /* what is done at once brings no packet */
    HANDLE_LOOKED = 1 << 2,    /* files.c has asked what it can do, */
    HANDLE_WAITS = 1 << 3,     /* and found that it is not overlapped: workers */
    HANDLE_WAS_BOUND = 1 << 4, /* to the loop's port, before it was forgotten, and may be still */
    HANDLE_SHARED = 1 << 5,    /* there was a duplicate, which is bound as well */
    HANDLE_RESET = 1 << 6      /* a stream: that its peer has reset it was told */
};

/* One per descriptor number. Zero: never used. */
struct iocp_slot {
    struct iocp_listener *listener; /* accept.c; NULL: none */
    uint64_t position;              /* of a file: overlapped handles have none (files.c) */
    uint32_t flags;                 /* HANDLE_... */
    uint32_t more;                  /* whatever files.c, pool.c or poll.c need */
};

/* ---- The backend ------------------------------------------------------------------------- */

#define IOCP_EMBED_BATCH 32u

/* A loop inside another (embed.c). */
struct iocp_embed {
    bool is_open;
    bool is_off; /* the loop has sent the helper to the port, and not called it back */
    HANDLE port, event;
    struct ferry__thread thread;

    /* Shared, under the lock. */
    struct ferry__lock lock;
    struct ferry__signal changed;
    bool stands_in; /* the helper shall wait at the port, */
    bool waits;     /* and does */
    bool ends;
    uint64_t deadline; /* when it sets the event in any case; UINT64_MAX: never */

    /* The helper's while it waits, else the loop's: what it has taken off the port. */
    ULONG count, taken;
    OVERLAPPED_ENTRY entries[IOCP_EMBED_BATCH];
};

struct iocp {
    HANDLE port;
    struct ferry__record *records; /* loop->records.at, to be written */
    struct iocp_slot *slots;       /* usable: as many as slot_count */
    uint32_t slot_count, slot_limit;
    uint8_t found[IOCP_FEATURES]; /* enum ferry_feature_state */
    uint64_t uses[IOCP_FEATURES];
    ferry_feature features[IOCP_FEATURES];
    HANDLE timer; /* of high resolution; NULL: none */
    bool timer_set;
    struct iocp_embed embed;
    void *poll;           /* of poll.c; NULL until the first is needed, */
    void *files, *chunks; /* as these, of files.c and sendfile.c */
    _Atomic bool woken;   /* shared: a packet is on its way to end a wait */
    uint32_t left;        /* packets in batch that have not been looked at */
    OVERLAPPED_ENTRY batch[IOCP_BATCH];
};

static inline struct iocp *iocp_of(const ferry_loop *loop) {
    return loop->system;
}

static inline bool iocp_has(const struct iocp *iocp, enum iocp_feature feature) {
    return iocp->found[feature] == FERRY_FEATURE_FOUND;
}

/* A descriptor's, which submit.c has seen to for op->fd. */
static inline struct iocp_slot *iocp_slot(const ferry_loop *loop, ferry_fd fd) {
    return &iocp_of(loop)->slots[ferry__fd_number(fd)];
}

/* ---- Records ----------------------------------------------------------------------------- */

/* How many records fit. */
static inline uint32_t iocp_room(const ferry_loop *loop) {
    return loop->records.mask + 1 - (loop->records.tail - loop->records.head);
}

/* How many fit beside those of the packets that have been taken: for more of them than its own,
 * from one packet. */
static inline uint32_t iocp_spare(const ferry_loop *loop) {
    uint32_t room = iocp_room(loop), kept = iocp_of(loop)->left * IOCP_PACKET_RECORDS;
    return room > kept ? room - kept : 0;
}

/* Puts down a record, in the core's words. */
static inline void iocp_put(ferry_loop *loop, ferry_op *op, int32_t result, uint32_t flags) {
    FERRY__ASSERT(iocp_room(loop) > 0);
    iocp_of(loop)->records[loop->records.tail++ & loop->records.mask] = (struct ferry__record){
        .op = op, .result = result, .flags = flags};
}

/* ---- setup.c ----------------------------------------------------------------------------- */

/* Sees to it that there is a slot for a descriptor that the core has one for: 0 or an error. */
int ferry__iocp_slot_provide(ferry_loop *loop, ferry_fd fd);
/* Binds a handle to the port if it is not yet. skip: what is done at once may come without a
 * packet, if the handle's provider keeps to that (streams and files, nothing else). 0 or an error:
 * FERRY_EINVAL for one that is not overlapped, or is bound to another port. */
int ferry__iocp_bind(ferry_loop *loop, ferry_fd fd, bool skip);
/* The handle is closed: its number may come back as anything. */
void ferry__iocp_closed(ferry_loop *loop, ferry_fd fd);

/* ---- submit.c ---------------------------------------------------------------------------- */

/* Takes an operation: its record has been put down when it returns, or comes later. There is room
 * for IOCP_ROOM_MIN records, and op->fd, if it has one, has a slot. */
typedef void iocp_begin(ferry_loop *loop, ferry_op *op);
/* One that is with the system shall end: what comes of it is told by its record. */
typedef void iocp_stop(ferry_loop *loop, ferry_op *op);

struct iocp_kind {
    iocp_begin *begin; /* NULL: the core's, or a worker's */
    iocp_stop *stop;   /* NULL: its own request is cancelled, on op->fd */
    uint8_t otherwise; /* enum ferry__support, without begin */
};

extern const struct iocp_kind ferry__iocp_kinds[FERRY_OP_COUNT];

bool ferry__iocp_submit(ferry_loop *loop, ferry_op *op);
bool ferry__iocp_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count);
bool ferry__iocp_cancel(ferry_loop *loop, ferry_op *op);

/* To be called with what an issuing call has come to: 0 if it succeeded, else what GetLastError()
 * or WSAGetLastError() says. Calls request->came if no packet will. fd: on which it was issued. */
void ferry__iocp_issued(ferry_loop *loop, ferry_fd fd, struct iocp_request *request, DWORD code);
/* Our word for a Win32 or Winsock code, and for a status: as iocp_came has it. */
int ferry__iocp_error(DWORD code);
int ferry__iocp_status(NTSTATUS status);
/* Cancels a request on a handle; its packet comes in any case. */
void ferry__iocp_cancel_request(ferry_fd fd, struct iocp_request *request);

/* A record of an error. */
void ferry__iocp_fail(ferry_loop *loop, ferry_op *op, int error);
/* It was cancelled, though nobody has asked that of op: a receive when its direction is shut down
 * (ferry__os_shutdown()). To be tried again. */
static inline bool iocp_is_unasked(const ferry_op *op, int error) {
    return error == FERRY_ECANCELED && ferry__op_stopped(op) == 0;
}
/* For `came` of a transfer: puts the record that belongs to this. A send that was cut short tells
 * the bytes, and the next try meets the error. */
void ferry__iocp_came_in(ferry_loop *loop, struct iocp_request *request, int error, uint32_t bytes);
void ferry__iocp_came_out(ferry_loop *loop, struct iocp_request *request, int error,
                          uint32_t bytes);

/* What is left of a transfer, as vectors for one call: its number. one: room for a piece. */
struct iocp_rest {
    WSABUF *vecs;
    DWORD count;
    WSABUF one;
};
void ferry__iocp_rest(const ferry_op *op, struct iocp_rest *rest);

/* ---- sockets.c --------------------------------------------------------------------------- */

iocp_begin ferry__iocp_begin_connect, ferry__iocp_begin_recv, ferry__iocp_begin_recvmsg;
iocp_begin ferry__iocp_begin_send, ferry__iocp_begin_sendmsg, ferry__iocp_begin_close;
void ferry__iocp_send_gathered(ferry_loop *loop, ferry_op *first, unsigned count);
/* A datagram socket receives into vectors, after which `came` is called. For pool.c, too. */
void ferry__iocp_receive(ferry_loop *loop, ferry_fd fd, struct iocp_request *request, WSABUF *vecs,
                         DWORD count);
/* The same with WSARecvMsg; header lies where it stays until then. */
void ferry__iocp_receive_msg(ferry_loop *loop, ferry_fd fd, struct iocp_request *request,
                             WSAMSG *header);
/* A transfer on this socket ended so, which is noted if it is a stream. Of datagrams: is it an ICMP
 * message about something that was sent, that is nobody's business here? Then it is to be tried
 * again. Else *error is as it is told. */
bool ferry__iocp_is_noise(const ferry_loop *loop, ferry_fd fd, int *error);
/* Binds a socket to any address of its family, if it has none: 0 or an error. */
int ferry__iocp_bind_any(SOCKET socket, int family);

/* ---- accept.c ---------------------------------------------------------------------------- */

iocp_begin ferry__iocp_begin_accept;
iocp_stop ferry__iocp_stop_accept;
bool ferry__iocp_listens(ferry_fd fd);
/* The slot stands for something else from here on. */
void ferry__iocp_listener_free(struct iocp_slot *slot);

/* ---- wait.c ------------------------------------------------------------------------------ */

int ferry__iocp_wait(ferry_loop *loop, uint64_t deadline);
bool ferry__iocp_read(ferry_loop *loop, struct ferry__record *record);
void ferry__iocp_wake(ferry_loop *loop);
/* Puts a packet at the port: request->came is called for it, with the status that stands in the
 * OVERLAPPED and 0 bytes. Any thread. NULL: nothing but a wait that ends. */
void ferry__iocp_post(const struct iocp *iocp, struct iocp_request *request);
/* How long until deadline, in ms for a wait that ends not before it; INFINITE for UINT64_MAX. */
DWORD ferry__iocp_ms_until(uint64_t deadline);

/* ---- files.c, sendfile.c, pool.c, processes.c ---------------------------------------------- */

iocp_begin ferry__iocp_begin_read, ferry__iocp_begin_write; /* and their vectored forms */
iocp_stop ferry__iocp_stop_file;
/* A handle's slot is about to stand for something else: what files.c and the others keep there. */
void ferry__iocp_files_forget(ferry_loop *loop, ferry_fd fd, struct iocp_slot *slot);
void ferry__iocp_worked(ferry_loop *loop, ferry_op *op, int64_t outcome);
/* Frees iocp->files. Nothing is in flight. */
void ferry__iocp_files_close(ferry_loop *loop);
/* Sees to it that a handle can be read, or written, and is bound: 0 or an error. *waits: its calls
 * wait, and a worker has to make them. */
int ferry__iocp_file_ready(ferry_loop *loop, ferry_fd fd, bool reads, bool *waits);
/* A worker makes a call that may wait, for the operation of a request, and that has come then. */
typedef int64_t iocp_blocking(ferry_op *op);
void ferry__iocp_work(ferry_loop *loop, struct iocp_request *request, iocp_blocking *call);
/* request->flags: it is with a worker, and this asks it to end. */
#define IOCP_WITH_WORKER 0x40000000u
void ferry__iocp_work_stop(ferry_loop *loop, struct iocp_request *request);
/* A record with 0 once a pipe has something to be read. Stop: false if it is not that. */
iocp_begin ferry__iocp_empty_read;
bool ferry__iocp_stop_empty_read(ferry_loop *loop, ferry_op *op);
iocp_begin ferry__iocp_begin_sendfile;
iocp_stop ferry__iocp_stop_sendfile;
/* Does this edition of Windows carry out any number of TransmitFile() at once? */
bool ferry__iocp_transmits(void);
/* Frees iocp->chunks. Nothing is in flight. */
void ferry__iocp_sendfile_close(ferry_loop *loop);
iocp_begin ferry__iocp_begin_recv_pool, ferry__iocp_begin_read_pool;
iocp_begin ferry__iocp_begin_recvmsg_pool;
iocp_stop ferry__iocp_stop_pool;
iocp_begin ferry__iocp_begin_process;
iocp_stop ferry__iocp_stop_process;
/* A request whose packet comes when target is signalled: 0, or an error, and none comes. `came`
 * ends it. owned: a handle to be closed then; NULL: none. */
int ferry__iocp_wait_begin(ferry_loop *loop, struct iocp_request *request, iocp_came *came,
                           HANDLE target, HANDLE owned);
void ferry__iocp_wait_end(struct iocp_request *request);
/* Its packet shall come soon: with FERRY_ECANCELED, unless it was on its way. */
void ferry__iocp_wait_stop(struct iocp_request *request);

/* ---- poll.c ------------------------------------------------------------------------------ */

iocp_begin ferry__iocp_begin_poll;
iocp_stop ferry__iocp_stop_poll;
/* Operations with BIT_POLLING, whatever they are: a record with 0 once op->fd is ready for op. */
iocp_begin ferry__iocp_begin_ready;
iocp_stop ferry__iocp_stop_ready;
/* Frees iocp->poll. Nothing is in flight. */
void ferry__iocp_poll_close(ferry_loop *loop);

/* ---- embed.c ----------------------------------------------------------------------------- */

extern const struct ferry__embedding ferry__iocp_embedding;
/* If a helper thread waits at the port: what it has taken off, at most so many; it stays away from
 * the port until the loop says clear once more. */
unsigned ferry__iocp_embed_take(struct iocp *iocp, OVERLAPPED_ENTRY *entries, unsigned max);
void ferry__iocp_embed_close(ferry_loop *loop);

FERRY__OWN_END

#endif
