/* uring.h - what the files of the io_uring backend share.
 *
 *   setup.c   opens and closes the ring: the ladder of flags, the probe, the features
 *   submit.c  operations to submission entries: the table of kinds, plain transfers, cancels
 *   sockets.c, files.c, names.c, processes.c  the entries of the other kinds, by family
 *   zerocopy.c  sends without copying
 *   sendfile.c  files into streams, by way of chunks of memory of its own
 *   buffers.c   registered memory
 *   wait.c    one io_uring_enter per turn; completion entries to records; the wake-up
 *   embed.c   the descriptor for an outer loop
 *   mask.c    refuses features at the seam of system calls, for those who turn them off
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_URING_H
#define FERRY_URING_H

#include "../posix/embed.h"
#include "../posix/rest.h"
#include "abi.h"
#include "core.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/uio.h>

FERRY__OWN_BEGIN

/* The optional features, in the order in which kernels got them: the ladder drops from the end. */
enum uring_feature {
    URING_R_DISABLED,      /* setup: begin disabled, enabled by the thread that runs the loop */
    URING_SUBMIT_ALL,      /* setup: one bad entry does not stop the others */
    URING_COOP_TASKRUN,    /* setup: completions do not interrupt the program */
    URING_TASKRUN_FLAG,    /* setup: tells when entering would bring something */
    URING_REGISTERED_RING, /* the ring's descriptor is looked up once */
    URING_BUFFER_RING,     /* the kernel picks the buffers of a pool */
    URING_CACHED_FILES,    /* what is cached of a file is looked at without a worker thread */
    URING_FS_OPS,          /* names and space are changed without a worker thread of ours */
    URING_MULTI_ACCEPT,    /* one entry accepts again and again */
    URING_MULTI_RECV,      /* one entry receives again and again */
    URING_POLL_FIRST,      /* a receive waits for data before it tries */
    URING_SINGLE_ISSUER,   /* setup: one thread submits */
    URING_DEFER_TASKRUN,   /* setup: completions are worked out when the loop waits */
    URING_NO_SQARRAY,      /* setup: no indirection of submission entries */
    URING_WAITID,          /* waits for a process without a descriptor of it */
    URING_FTRUNCATE,       /* truncate without a worker thread */
    URING_SEND_ZC,         /* sends from the program's own memory */
    URING_ZC_USAGE,        /* tells whether it was so */
    URING_FIXED_BUFFERS,   /* reads and writes of registered memory */
    URING_NO_IOWAIT,       /* waiting in the ring is not charged as waiting for a disk */
    URING_FEATURES
};

#define URING_GATHER_MAX 16u
#define URING_WORKERS 64u /* that the kernel may make for files, as long as they get on */
#define URING_KICK_NS 25000000u
#define URING_KICK_MAX_NS 400000000u

/* What a submission entry points to: lives as long as the entry may be looked at. The kernel copies
 * it when it takes the entry (FEAT_SUBMIT_STABLE), and only then is the entry used again. */
struct uring_scratch {
    struct msghdr msg;
    struct iovec iov[URING_GATHER_MAX];
    struct open_how how;
};

/* The memory by way of which files are sent: of two sizes, so that many small files can be under
 * way at once. A chunk is held while the file is read, never while a peer is waited for. */
enum {
    URING_SMALL_BYTES = 16384,
    URING_LARGE_BYTES = 524288,
    URING_SMALL_COUNT = 256,
    URING_LARGE_COUNT = 8,
    URING_CHUNK_COUNT = URING_SMALL_COUNT + URING_LARGE_COUNT
};

struct uring_chunks {
    char *memory; /* NULL until the first is needed */
    uint32_t small_free, large_free;
    uint16_t small[URING_SMALL_COUNT], large[URING_LARGE_COUNT]; /* numbers, the warmest last */
    ferry_op *first, *last; /* sendfiles that wait for a chunk or an entry; through op->buf */
};

struct uring;

/* The three system calls: the seam at which mask.c refuses. Results as the kernel's: -errno. */
struct uring_calls {
    int (*setup)(struct uring *uring, unsigned entries, struct io_uring_params *params);
    int (*enter)(struct uring *uring, unsigned submit, unsigned wait, unsigned flags,
                 struct io_uring_getevents_arg *arg);
    int (*register_)(struct uring *uring, unsigned opcode, const void *arg, unsigned count);
};

extern const struct uring_calls ferry__uring_calls_plain, ferry__uring_calls_masked;
/* What rings without masked features use: the plain ones, unless a test puts others here. */
extern const struct uring_calls *ferry__uring_calls;

struct uring {
    struct io_uring ring; /* as liburing lays it out; entered by wait.c alone */
    unsigned sq_tail;     /* entries written; published at the flush */
    unsigned sq_mask, sq_entries;
    int enter_fd; /* the ring's descriptor or its registered number */
    unsigned enter_flags;
    const struct uring_calls *calls;
    struct uring_scratch *scratch; /* one for each submission entry */
    uint8_t found[URING_FEATURES]; /* enum ferry_feature_state */
    uint64_t uses[URING_FEATURES];
    struct __kernel_timespec timeout; /* of the wait */
    struct __kernel_timespec pause;   /* before what no readiness announces is tried again */
    struct io_uring_getevents_arg wait_arg;

    unsigned punted;     /* operations that are, or may be, with the kernel's workers */
    uint64_t kick_after; /* ns: how long they may be silent before the workers are looked after */
    uint64_t kick_at;    /* when that will be; 0: to be set at the next wait */

    struct ferry__embed embed;
    struct uring_chunks chunks;

    int wake_fd;
    bool wake_armed;
    bool line_empty; /* no sendfile waits in chunks; beside wake_armed: both are asked at once */
    bool adopted;
    bool has_alternative; /* to be refused is no great harm */
    uint64_t wake_value;  /* read from wake_fd, never looked at */
    int probe_result;
    ferry_op cancels, wakes, probes; /* whose entries are the ring's own: user_data is an operation
                                      */

    struct ferry__thread_id opener;
    unsigned setup_flags;
    ferry_feature features[URING_FEATURES];
};

static inline struct uring *uring_of(const ferry_loop *loop) {
    return loop->system;
}

static inline bool uring_has(const struct uring *uring, enum uring_feature feature) {
    return uring->found[feature] == FERRY_FEATURE_FOUND;
}

/* The submission entries of URING_FS_OPS. */
#define URING_FS_OPCODES                                                                           \
    {                                                                                              \
        IORING_OP_FALLOCATE, IORING_OP_RENAMEAT, IORING_OP_UNLINKAT, IORING_OP_MKDIRAT,            \
            IORING_OP_SYMLINKAT, IORING_OP_LINKAT                                                  \
    }

_Static_assert(offsetof(struct uring, line_empty) == offsetof(struct uring, wake_armed) + 1, "so");

/* Nothing of the ring's own to see to before a wait? */
static inline bool uring_is_settled(const struct uring *uring) {
    const bool wanted[2] = {true, true};
    return memcmp(&uring->wake_armed, wanted, sizeof wanted) == 0;
}

/* The setup flag of a feature, 0 if it is of another kind. */
unsigned ferry__uring_setup_flag(enum uring_feature feature);

/* setup.c */
int ferry__uring_open(ferry_loop *loop, const struct ferry__options *options,
                      struct ferry__refused *why);
void ferry__uring_close(ferry_loop *loop, bool forked);
int ferry__uring_adopt(ferry_loop *loop);
void ferry__uring_describe(ferry_loop *loop);

/* submit.c */

/* May the kernel hand an operation to one of its workers? What waits for readiness it keeps. */
enum uring_punts { PUNTS_NEVER, PUNTS_ALWAYS, PUNTS_FILES };

typedef void uring_prep(ferry_loop *loop, struct io_uring_sqe *sqe, ferry_op *op);

/* How the ring carries out a kind of operation. */
struct uring_kind {
    uring_prep *prep;  /* fills its entry, all but user_data; NULL: the ring has no part in it */
    uint8_t opcode;    /* that the kernel must have for it; 0: one of those required anyway */
    uint8_t otherwise; /* enum ferry__support, without prep or without the opcode */
    uint8_t punts;     /* enum uring_punts */
};

extern const struct uring_kind ferry__uring_kinds[FERRY_OP_COUNT];

bool ferry__uring_submit(ferry_loop *loop, ferry_op *op);
bool ferry__uring_submit_receive(ferry_loop *loop, ferry_op *op);
bool ferry__uring_submit_send(ferry_loop *loop, ferry_op *op);
bool ferry__uring_submit_gathered(ferry_loop *loop, ferry_op *first, unsigned count);
bool ferry__uring_cancel(ferry_loop *loop, ferry_op *op);
/* Which readiness op waits for; 0: none could help. */
unsigned ferry__uring_poll_events(const ferry_op *op);

/* pool.c */
void ferry__uring_pool_open(ferry_loop *loop, ferry_pool *pool);
bool ferry__uring_pool_picks(const ferry_loop *loop, const ferry_op *op);
void ferry__uring_pool_offer(ferry_pool *pool, const ferry_buffer *buffer);
void ferry__uring_pool_close(ferry_loop *loop, ferry_pool *pool, bool forked);
/* The rings of all pools, for a ring that was made anew. */
bool ferry__uring_pools_again(ferry_loop *loop);
uring_prep ferry__uring_prep_recv_pool, ferry__uring_prep_read_pool, ferry__uring_prep_recvmsg_pool;
/* Turns what the kernel filled in into the message of the buffer. */
void ferry__uring_finish_recvmsg_pool(ferry_loop *loop, struct ferry__record *record);
/* Fills the entry of a wait for readiness. */
void ferry__uring_prep_wait(ferry_loop *loop, struct io_uring_sqe *sqe, const ferry_op *op);

/* zerocopy.c */
/* Is this try of a send to be one without copying? Notes it in the operation. */
bool ferry__uring_zerocopy_tries(const ferry_loop *loop, ferry_op *op);
uring_prep ferry__uring_prep_zerocopy;
/* The system refused, but a copying send may do: it is to be tried. */
bool ferry__uring_zerocopy_refused(ferry_loop *loop, ferry_op *op, int error);

/* sendfile.c */
/* As ferry__uring_submit(), of which it is a part. */
bool ferry__uring_sendfile(ferry_loop *loop, ferry_op *op);
/* A record of a step: false if there is another, and nothing for the core yet. */
bool ferry__uring_sendfile_read(ferry_loop *loop, struct ferry__record *record);
/* One that waits within the backend is to end: 1 it will, 0 it does not wait, -1 no room. */
int ferry__uring_sendfile_cancel(ferry_loop *loop, ferry_op *op);
/* Goes on with what waits for a chunk or an entry. */
void ferry__uring_sendfile_resume(ferry_loop *loop);
void ferry__uring_sendfile_close(struct uring *uring);

/* buffers.c */
int ferry__uring_buffers_register(ferry_loop *loop, const ferry_vec *pieces, size_t count);
int ferry__uring_buffers_unregister(ferry_loop *loop);
/* Again, on a new ring: 0 or -errno. */
int ferry__uring_buffers_renew(ferry_loop *loop);

/* sockets.c */
uring_prep ferry__uring_prep_recvv;
uring_prep ferry__uring_prep_sendv;
uring_prep ferry__uring_prep_recvmsg;
uring_prep ferry__uring_prep_sendmsg;
uring_prep ferry__uring_prep_accept;
uring_prep ferry__uring_prep_connect;

/* files.c */
uring_prep ferry__uring_prep_read;
uring_prep ferry__uring_prep_write;
uring_prep ferry__uring_prep_vectored;
uring_prep ferry__uring_prep_open;
uring_prep ferry__uring_prep_close;
uring_prep ferry__uring_prep_sync;
uring_prep ferry__uring_prep_stat;
uring_prep ferry__uring_prep_truncate;
uring_prep ferry__uring_prep_stat_fd;
/* Turns what the kernel filled in into what the user asked for. */
void ferry__uring_finish_stat(const ferry_op *op);
/* Looks at what was opened. */
void ferry__uring_finish_open(struct ferry__record *record);

/* names.c */
uring_prep ferry__uring_prep_rename;
uring_prep ferry__uring_prep_link;
uring_prep ferry__uring_prep_symlink;
uring_prep ferry__uring_prep_unlink;
uring_prep ferry__uring_prep_mkdir;
uring_prep ferry__uring_prep_allocate;

/* The directory that a name is relative to. */
static inline int uring_dir(const ferry_op *op) {
    return op->fd == FERRY_FD_NONE ? AT_FDCWD : op->fd;
}

/* processes.c */
uring_prep ferry__uring_prep_poll;
uring_prep ferry__uring_prep_process;
/* Put what has come of them into the core's words. */
void ferry__uring_finish_poll(struct ferry__record *record);
void ferry__uring_finish_process(const struct uring *uring, struct ferry__record *record);

/* embed.c */
extern const struct ferry__embedding ferry__uring_embedding;
/* Tells the ring, whose thread this is from now on, where completions are to be announced. */
int ferry__uring_embed_register(struct uring *uring);
/* Sees to it that what op waits for reaches the outer loop. */
void ferry__uring_embed_watch(ferry_loop *loop, ferry_op *op);

/* wait.c */
/* Hands over what was written, to make room: is there any now? */
bool ferry__uring_make_room(ferry_loop *loop);

/* Entries written and not yet taken by the kernel. */
static inline unsigned uring_unsubmitted(const struct uring *uring) {
    return uring->sq_tail - io_uring_smp_load_acquire(uring->ring.sq.khead);
}

static inline bool uring_is_full(const struct uring *uring) {
    return uring_unsubmitted(uring) == uring->sq_entries;
}

/* Is there a free submission entry, or could one be made? */
static inline bool uring_has_room(ferry_loop *loop, const struct uring *uring) {
    return FERRY__LIKELY(!uring_is_full(uring)) || ferry__uring_make_room(loop);
}

/* The next free submission entry. */
static inline struct io_uring_sqe *uring_next(struct uring *uring) {
    return &uring->ring.sq.sqes[uring->sq_tail++ & uring->sq_mask];
}

static inline struct io_uring_sqe *uring_sqe(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    return uring_has_room(loop, uring) ? uring_next(uring) : NULL;
}

/* ---- What is left of a transfer ---------------------------------------------------------- */

static inline char *uring_rest_begin(const ferry_op *op) {
    return posix_rest_begin(op, op->transferred);
}

static inline unsigned uring_rest_len(const ferry_op *op) {
    return posix_rest_len(op, op->transferred);
}

static inline struct posix_rest uring_rest_vecs(const ferry_op *op) {
    return posix_rest_vecs(op, op->transferred);
}

static inline uint64_t uring_position(const ferry_op *op) {
    return op->offset == FERRY_CURRENT ? UINT64_MAX : op->offset + op->transferred;
}

static inline struct uring_scratch *uring_scratch_of(struct uring *uring,
                                                     const struct io_uring_sqe *sqe) {
    return &uring->scratch[sqe - uring->ring.sq.sqes];
}

static inline struct msghdr *uring_msg_of(struct uring *uring, const struct io_uring_sqe *sqe,
                                          const struct iovec *vecs, size_t count) {
    struct msghdr *msg = &uring_scratch_of(uring, sqe)->msg;
    *msg = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)vecs, .msg_iovlen = count};
    return msg;
}

/* A message cannot be taken in pieces: the kernel says if there are too many. */
static inline bool uring_is_message(const ferry_loop *loop, const ferry_op *op) {
    return ferry__slot_is_message(ferry__slot(loop, op->fd));
}

/* A message goes out at the first try, or the ring says that it does not, and the next try begins
 * anew: of its own tries the second would begin where the first one left off. A Unix socket takes
 * the bytes before it looks whether its receiver has room, so that what the ring sends then is an
 * empty message, with success (unix_dgram_sendmsg() in net/unix/af_unix.c, Linux 6.18). */
static inline uint32_t uring_send_flags(const ferry_op *op) {
    return MSG_NOSIGNAL | (op->asked & ASKED_MESSAGE ? MSG_DONTWAIT : 0);
}

/* After a receive that took all there was, the next would find nothing: it waits first. */
static inline uint16_t uring_poll_first(const ferry_loop *loop, const ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (!(ferry__slot(loop, op->fd)->flags & SLOT_DRAINED) || !uring_has(uring, URING_POLL_FIRST)) {
        return 0;
    }
    uring->uses[URING_POLL_FIRST]++;
    return IORING_RECVSEND_POLL_FIRST;
}

int ferry__uring_wait(ferry_loop *loop, uint64_t deadline);
bool ferry__uring_read(ferry_loop *loop, struct ferry__record *record);
void ferry__uring_wake(ferry_loop *loop);
/* When to look after the kernel's workers next. Does it if that is now. */
uint64_t ferry__uring_kick_time(ferry_loop *loop);
/* Waits until the wake-up's read has ended, and until nothing else is in the ring. */
void ferry__uring_wake_end(ferry_loop *loop);
/* Does the kernel know the flags of the entry that prep fills, for a descriptor that is no socket?
 */
bool ferry__uring_probe(ferry_loop *loop, void (*prep)(struct io_uring_sqe *sqe, int fd));

FERRY__OWN_END

#endif
