/* ferry.h - completion-based input and output
 *
 * You hand an operation and its buffer over, Ferry carries it across, and your callback runs when
 * it has landed. The file is in reading order: errors, the operation, the loop, what never blocks
 * (ordinary functions), what may wait (operations).
 *
 *     static void arrived(ferry_op *op) {
 *         if (op->result < 0) puts(ferry_strerror(op->result));
 *         else printf("%lld bytes\n", (long long)op->result);
 *     }
 *     ...
 *     ferry_loop *loop;
 *     ferry_op op = {0};
 *     char buf[4096];
 *     if (ferry_loop_open(&loop, NULL) < 0) return 1;
 *     ferry_recv(loop, &op, fd, buf, sizeof buf, 0, arrived);
 *     ferry_run(loop, FERRY_RUN_DONE);
 *     ferry_loop_close(loop);
 *
 * The contract, in short (docs/contract.md has it whole, with its fourteen numbered rules):
 *   - Submitting never fails, blocks, calls back or allocates. Every outcome arrives as a
 * completion.
 *   - Each submitted operation has exactly one final completion.
 *   - Callbacks run only inside ferry_run(), ferry_reap() and ferry_loop_drain(), one at a time.
 *   - Operation, buffer, address and vector belong to Ferry from submit to the final completion.
 *
 * Threads: a loop and all that is submitted to it belong to one thread: the one that first runs the
 * loop, before that the one that opened it. Only ferry_post() and ferry_stop() may be called from
 * elsewhere. Functions below say nothing about threads where this is all there is to say.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_H
#define FERRY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(FERRY_BUILD) && defined(__GNUC__) && !defined(_WIN32)
#define FERRY_API __attribute__((visibility("default")))
#else
#define FERRY_API
#endif

/* ---- Version ----------------------------------------------------------------------------- */

#define FERRY_VERSION_MAJOR 0
#define FERRY_VERSION_MINOR 1
#define FERRY_VERSION_PATCH 0
#define FERRY_VERSION_STRING "0.1.0"
#define FERRY_VERSION_NUMBER                                                                       \
    (FERRY_VERSION_MAJOR * 10000 + FERRY_VERSION_MINOR * 100 + FERRY_VERSION_PATCH)

/* The version of the library that is linked, as opposed to the header: "0.1.0". Any thread. */
FERRY_API const char *ferry_version(void);

/* ---- Errors ------------------------------------------------------------------------------ */

/* One set of negative numbers, the same on every system. X(name, number, text) */
#define FERRY_ERROR_LIST(X)                                                                        \
    X(FERRY_ECANCELED, 1, "the operation was cancelled")                                           \
    X(FERRY_ETIMEDOUT, 2, "the deadline passed, or the peer did not answer in time")               \
    X(FERRY_ECLOSED, 3, "the loop is draining or closed")                                          \
    X(FERRY_EBUSY, 4, "busy: operations are in flight, or the call came from inside a callback")   \
    X(FERRY_EFORKED, 5, "the loop belongs to the parent process")                                  \
    X(FERRY_ENOTSUP, 6, "not supported by this system, backend or descriptor")                     \
    X(FERRY_EINVAL, 7, "an argument is not valid")                                                 \
    X(FERRY_EBADF, 8, "not an open descriptor, closed or closing, or not open for this")           \
    X(FERRY_EFAULT, 9, "a bad address was given")                                                  \
    X(FERRY_ENOMEM, 10, "out of memory")                                                           \
    X(FERRY_EMFILE, 11, "this process has too many open descriptors")                              \
    X(FERRY_ENFILE, 12, "the system has too many open descriptors")                                \
    X(FERRY_EACCES, 13, "permission denied")                                                       \
    X(FERRY_EPERM, 14, "operation not permitted")                                                  \
    X(FERRY_ENOENT, 15, "no such file or directory")                                               \
    X(FERRY_EEXIST, 16, "the file exists already")                                                 \
    X(FERRY_EISDIR, 17, "a directory where a file is needed")                                      \
    X(FERRY_ENOTDIR, 18, "not a directory")                                                        \
    X(FERRY_ENOTEMPTY, 19, "the directory is not empty")                                           \
    X(FERRY_ENAMETOOLONG, 20, "the name is too long")                                              \
    X(FERRY_ELOOP, 21, "too many symbolic links")                                                  \
    X(FERRY_EXDEV, 22, "on different file systems, or the path leads out of its directory")        \
    X(FERRY_EROFS, 23, "the file system is read-only")                                             \
    X(FERRY_ENOSPC, 24, "no space left on the device")                                             \
    X(FERRY_EDQUOT, 25, "the disk quota is used up")                                               \
    X(FERRY_EFBIG, 26, "the file would grow too large")                                            \
    X(FERRY_EIO, 27, "the device reported an error")                                               \
    X(FERRY_ESPIPE, 28, "an offset was given but this cannot seek; use FERRY_CURRENT")             \
    X(FERRY_ETXTBSY, 29, "the program file is being executed")                                     \
    X(FERRY_ENXIO, 30, "no such device or address")                                                \
    X(FERRY_ENODEV, 31, "no such device")                                                          \
    X(FERRY_EPIPE, 32, "the other end no longer reads, or an earlier send was cut short")          \
    X(FERRY_ECONNRESET, 33, "the peer reset the connection")                                       \
    X(FERRY_ECONNREFUSED, 34, "nobody listens there")                                              \
    X(FERRY_ECONNABORTED, 35, "the connection was aborted")                                        \
    X(FERRY_ENOTCONN, 36, "the socket is not connected")                                           \
    X(FERRY_EISCONN, 37, "the socket is connected already")                                        \
    X(FERRY_EALREADY, 38, "a connect is already under way")                                        \
    X(FERRY_EADDRINUSE, 39, "the address is in use")                                               \
    X(FERRY_EADDRNOTAVAIL, 40, "the address is not available here")                                \
    X(FERRY_EAFNOSUPPORT, 41, "the address family is not supported here")                          \
    X(FERRY_EDESTADDRREQ, 42, "a destination address is needed; connect the socket first")         \
    X(FERRY_EMSGSIZE, 43, "the message is too large")                                              \
    X(FERRY_ENETUNREACH, 44, "the network is unreachable")                                         \
    X(FERRY_EHOSTUNREACH, 45, "the host is unreachable")                                           \
    X(FERRY_ENETDOWN, 46, "the network is down")                                                   \
    X(FERRY_EHOSTDOWN, 47, "the host is down")                                                     \
    X(FERRY_ENOBUFS, 48, "the system has no buffer space left")                                    \
    X(FERRY_ENOTSOCK, 49, "not a socket")                                                          \
    X(FERRY_EPROTO, 50, "a protocol error")                                                        \
    X(FERRY_EPROTONOSUPPORT, 51, "the protocol is not supported")                                  \
    X(FERRY_EPROTOTYPE, 52, "the protocol does not fit this kind of socket")                       \
    X(FERRY_ENOPROTOOPT, 53, "no such option of the protocol")                                     \
    X(FERRY_EAGAIN, 54, "a resource is used up for the moment")                                    \
    X(FERRY_ENOLCK, 55, "no locks available")                                                      \
    X(FERRY_EOVERFLOW, 56, "a value does not fit")                                                 \
    X(FERRY_ERANGE, 57, "a value is out of range")                                                 \
    X(FERRY_ESTALE, 58, "the file handle is stale")                                                \
    X(FERRY_EILSEQ, 59, "an illegal byte sequence")                                                \
    X(FERRY_EMLINK, 60, "too many links")                                                          \
    X(FERRY_ECHILD, 61, "not a child of this process, or one that was waited for already")         \
    X(FERRY_ESRCH, 62, "no such process")                                                          \
    X(FERRY_ENONAME, 63, "no address is known for this name")                                      \
    X(FERRY_ENAMESERVER, 64, "the name servers gave an answer that is no use")                     \
    X(FERRY_ENOROOM, 65, "the buffer is too small for the answer")                                 \
    X(FERRY_E2BIG, 75, "arguments and environment of a program are too long")                      \
    X(FERRY_ENOEXEC, 76, "not a program that the system can execute")                              \
    X(FERRY_ENOSERVICE, 77, "no such service is known")

enum ferry_error {
    FERRY_ESYSTEM = -100000, /* and below: a system's code without a name of ours */
#define FERRY_ERROR_ENUM(name, number, text) name = -(number),
    FERRY_ERROR_LIST(FERRY_ERROR_ENUM)
#undef FERRY_ERROR_ENUM
};

/* What an error means, in one English sentence: static memory, never NULL. Any thread.
 * error: a negative result; 0 is "success", a system's code without a name of ours is told to be
 * one (ferry_error_format() prints which). */
FERRY_API const char *ferry_strerror(int64_t error);

/* "FERRY_ECONNRESET": static memory, never NULL; "FERRY_OK" for 0 and above. Any thread. */
FERRY_API const char *ferry_error_name(int64_t error);

/* The system's own number for an error (errno, on Windows the Win32 code); 0 if it has none, as for
 * FERRY_ECLOSED. Any thread. */
FERRY_API int ferry_error_system(int64_t error);

/* Our number for one of the system's (errno; on Windows a Win32 code). Numbers without a name of
 * ours survive: ferry_error_system(ferry_error_from_system(n)) == n. Any thread. */
FERRY_API int ferry_error_from_system(int code);

/* Writes name, meaning and the system's number into buf, cut to len bytes with its 0.
 * Returns the length that the whole text has, as snprintf does. Any thread. */
FERRY_API size_t ferry_error_format(int64_t error, char *buf, size_t len);

/* ---- Descriptors, vectors, addresses ----------------------------------------------------- */

/* A socket, file or pipe of the system. On Windows wide enough for a SOCKET or a HANDLE.
 * Descriptors need no registration; what was opened elsewhere works. From its first use with Ferry
 * until ferry_close() or ferry_forget() a descriptor belongs to one loop (rule 7). */
#ifdef _WIN32
typedef intptr_t ferry_fd;
#else
typedef int ferry_fd;
#endif

#define FERRY_FD_NONE ((ferry_fd)-1)

/* A standard stream of this process: 0 input, 1 output, 2 errors. Elsewhere than on Windows that
 * number itself. FERRY_EINVAL: another number; FERRY_EBADF: the process has none (Windows). Any
 * thread. GetStdHandle(). */
FERRY_API ferry_fd ferry_standard_fd(int which);

/* One piece of a vectored transfer: the layout of the system's own (struct iovec, WSABUF), so that
 * an array of those can be handed over as it is. */
typedef struct ferry_vec {
#ifdef _WIN32
    unsigned long len;
    char *data;
#else
    void *data;
    size_t len;
#endif
} ferry_vec;

enum ferry_family { FERRY_INET = 1, FERRY_INET6, FERRY_UNIX };

/* A socket address: IPv4, IPv6 or Unix. bytes hold the system's struct sockaddr_in, _in6 or _un. */
typedef struct ferry_addr {
    uint32_t len; /* bytes in use; 0: no address (an unnamed peer of a Unix socket) */
    uint32_t reserved;
    union {
        unsigned char bytes[128];
        uint64_t align;
    } data;
} ferry_addr;

/* Fills addr from text: "127.0.0.1:80", "[::1]:8080", "[fe80::1%eth0]:80", "unix:/run/x",
 * "unix:@abstract" (Linux). Names are not looked up. Returns 0, or FERRY_EINVAL (not an address),
 * FERRY_ENAMETOOLONG (path of a Unix socket). Any thread. */
FERRY_API int ferry_addr_parse(ferry_addr *addr, const char *text);

/* Writes addr as text that ferry_addr_parse() reads, cut to len bytes with its 0. Returns the
 * length that the whole text has. An empty address gives "". Any thread. */
FERRY_API size_t ferry_addr_format(const ferry_addr *addr, char *buf, size_t len);

/* The port in the host's byte order; 0 if there is none. Any thread. */
FERRY_API unsigned ferry_addr_port(const ferry_addr *addr);

/* ---- Messages and their control data ----------------------------------------------------- */

/* A message as ferry_recvmsg() and ferry_sendmsg() take it: yours, zeroed, then what you need.
 * Receiving, the library owns it with all that it points to until the completion, one operation at
 * a time; what it writes stands below "out". Sending only reads it. */
typedef struct ferry_msg {
    const ferry_vec *vecs; /* where the data is, or goes */
    size_t count;          /* of vectors */
    ferry_addr *addr;      /* to whom, or filled with from whom (len 0: the socket is connected, or
                              the peer has no name). NULL: the connected peer, nobody asks */
    void *control;         /* control data, aligned as uint64_t; NULL for none */
    size_t control_room;   /* bytes at control */
    size_t control_len;    /* bytes in use. Send: in, as ferry_control_add() counts. Receive: out */
    uint32_t flags;        /* receive, out: FERRY_MSG_... */
    uint32_t reserved;
    uint64_t room[8]; /* the library's while a receive is in flight */
} ferry_msg;

/* ferry_msg.flags */
#define FERRY_MSG_TRUNCATED 0x1u /* the message was longer than the vectors: the rest is lost */
/* FERRY_MSG_CONTROL_TRUNCATED: there was more control data than room. Descriptors that did not fit
 * (or for which this process had no number left) are closed by the system. */
#define FERRY_MSG_CONTROL_TRUNCATED 0x2u

/* Kinds of control data. */
enum ferry_control_kind {
    FERRY_CONTROL_OTHER,       /* level, type, data, len as the system has them */
    FERRY_CONTROL_FDS,         /* fds, count: descriptors passed over a Unix socket */
    FERRY_CONTROL_CREDENTIALS, /* pid, user, group of the sender; received with
                                  FERRY_OPT_PASS_CREDENTIALS */
    FERRY_CONTROL_PACKET,      /* interface_index, to, local; FERRY_OPT_RECV_PACKET_INFO. Sending:
                                  the interface to use (0: any) and the own address to send from
                                  (local; len 0: any) */
    FERRY_CONTROL_HOPS,        /* number: hop limit, or time to live; FERRY_OPT_RECV_HOPS */
    FERRY_CONTROL_CLASS,       /* number: traffic class, or type of service, the two bits of ECN
                                  included; FERRY_OPT_RECV_CLASS */
    FERRY_CONTROL_SEGMENT      /* number: UDP. Sending: bytes of each datagram that the system cuts
                                  this message into. Received with FERRY_OPT_UDP_GRO: bytes of each
                                  that it has put together */
};

/* One item of control data. Only the fields of its kind are set. */
typedef struct ferry_control {
    enum ferry_control_kind kind;
    enum ferry_family family; /* PACKET, HOPS, CLASS: FERRY_INET or FERRY_INET6. Sending, 0: as the
                                 addresses say */
    const ferry_fd *fds;
    size_t count;
    int64_t pid;
    uint32_t user, group;
    uint32_t interface_index;
    int32_t number;
    ferry_addr to;    /* received: where the datagram was sent, perhaps a multicast group; port 0 */
    ferry_addr local; /* the own address to answer from, port 0; len 0 if it is not told */
    int level, type;
    const void *data; /* received, of each kind */
    size_t len;
    size_t at; /* of ferry_control_next(): where the next begins */
} ferry_control;

/* How large an array of uint64_t an item of so many bytes needs: a number of elements, to be added
 * up for several items:
 *     uint64_t control[FERRY_CONTROL_WORDS(2 * sizeof(ferry_fd))]; */
#define FERRY_CONTROL_WORDS(bytes) (2 + ((bytes) + 7) / 8)
/* Room for one of each kind but FDS, and to spare. */
#define FERRY_CONTROL_WORDS_ALL 32
#define FERRY_CONTROL_FDS_MAX 253 /* descriptors in one message (Linux) */

/* Appends an item to msg->control, at control_len, which grows. What item points to is copied.
 * Returns 0, or FERRY_EINVAL (no such kind, a number out of range, no or too many descriptors, a
 * family that cannot be told), FERRY_EOVERFLOW (no room, or no control), FERRY_ENOTSUP (this system
 * has no such kind). Descriptors are open in this process until the send has completed, and may be
 * closed then. Any thread. */
FERRY_API int ferry_control_add(ferry_msg *msg, const ferry_control *item);

/* Goes through control data that has been received, len bytes of it:
 *     ferry_control item = {0};
 *     while (ferry_control_next(msg.control, msg.control_len, &item)) { ... }
 * item: zeroed before the first call. Returns 1 and fills it, fds and data pointing into control; 0
 * after the last. Items that were cut so that they say nothing are left out, of cut descriptors
 * those that are there remain. Any thread. */
FERRY_API int ferry_control_next(const void *control, size_t len, ferry_control *item);

/* ---- The operation ----------------------------------------------------------------------- */

typedef struct ferry_op ferry_op;
typedef struct ferry_loop ferry_loop;
typedef struct ferry_pool ferry_pool;
typedef struct ferry_buffer ferry_buffer;

/* Runs at each completion, on the loop's thread. It may submit, cancel, close, stop the loop, and
 * reuse or free its own operation, which is idle again once its final callback starts. */
typedef void ferry_cb(ferry_op *op);

/* Blocking work, run by a worker thread. What it returns becomes op->result. */
typedef int64_t ferry_work_fn(void *arg);

/* An operation: yours, embedded in your own struct, zeroed before its first use. At most 128 bytes,
 * 192 on Windows. The fields above the line are for you. Those the submit functions fill, but for
 * user and deadline_ns, which you set and Ferry never changes. */
struct ferry_op {
    ferry_cb *done;       /* set by the submit call; may be NULL: nobody wants to know */
    uint64_t deadline_ns; /* in: relative to submit, 0 for none; with FERRY_ABSOLUTE on
                             ferry_now()'s clock. Past it the operation ends with FERRY_ETIMEDOUT,
                             never early. */
    int64_t result;       /* out: bytes, a descriptor or 0; a negative FERRY_E...; the library's
                             while the operation is in flight */
    uint64_t transferred; /* out: bytes moved, also when result is an error */
    uint32_t flags;       /* out: FERRY_MORE, FERRY_EOF */
    ferry_fd fd;          /* the descriptor that was given */

    /* ---- below: the library's ---------------------------------------------------------------- */
    const void *buf; /* what was asked: buffer, vector, path, address */
    uint64_t len;    /* bytes, or count of vectors */
    uint32_t asked;  /* submit flags */
    uint8_t code;    /* enum ferry_op_code */
    uint8_t state;   /* 0: idle */
    uint16_t bits;   /* what has happened to it on the way */
    void *user;      /* yours, never touched (here, so that the line above is what I/O touches) */
    uint64_t offset; /* position in a file; first expiry of a timer */
    uint64_t more;   /* a second address or number, by kind */
    struct {
        ferry_op *prev, *next;
    } link; /* the one list that it is on */
    struct {
        uint64_t when; /* ns on the loop's clock */
        ferry_op *prev, *next;
    } timer; /* its deadline, or its expiry if it is a timer */
#ifdef _WIN32
    uint64_t system[7]; /* the OVERLAPPED, and where Windows writes beside it */
#endif
};

/* From an operation back to the struct of yours that holds it:
 *     struct conn *c = ferry_container(op, struct conn, read_op); */
#define ferry_container(op, type, member)                                                          \
    ((type *)(void *)(((char *)(op)) - offsetof(type, member)))

/* Completion flags, in op->flags. */
#define FERRY_MORE 0x1u /* not the final completion: the operation is still in flight */
#define FERRY_EOF 0x2u  /* result 0 because the stream or file ended; sendfile: any result */

/* Submit flags. Those that do not apply to an operation end it with FERRY_EINVAL. */
#define FERRY_SOME 0x1u /* send, write: may end short */
#define FERRY_ALL 0x2u  /* recv, read, copy: ends when all has come, or with what cut it short */
#define FERRY_BACKGROUND 0x4u  /* any: does not keep ferry_run() going */
#define FERRY_ABSOLUTE 0x8u    /* any: times are points on ferry_now()'s clock, not spans */
#define FERRY_DATA 0x10u       /* sync: the data and what is needed to read it, no other metadata */
#define FERRY_MULTI 0x20u      /* goes on after each result, which comes with FERRY_MORE */
#define FERRY_PUT 0x40u        /* send of a lent buffer: its pool has it back at the completion */
#define FERRY_NOFOLLOW 0x100u  /* names: a symbolic link itself, not what it leads to */
#define FERRY_BENEATH 0x200u   /* open: nothing outside the directory: FERRY_EXDEV */
#define FERRY_NOREPLACE 0x400u /* rename: FERRY_EEXIST if the new name is there already */
#define FERRY_EXCHANGE 0x800u  /* rename: the two change places */
#define FERRY_RESTART 0x1000u  /* list: from the beginning again */

/* send: without copying, if the system can. A send of less than FERRY_ZEROCOPY_MIN bytes is an
 * ordinary one: beneath that, pinning memory and a second message from the kernel cost more than a
 * copy (measured: even between 8 and 16 KiB on Linux 6.18). Also a completion flag: set if the
 * system did without a copy, as far as it tells. */
#define FERRY_ZEROCOPY 0x80u
#define FERRY_ZEROCOPY_MIN 16384u

/* In the place of a callback: completions are for ferry_reap(). */
#define FERRY_PULL ((ferry_cb *)1)

/* The kinds of operation, for ferry_supports() and ferry_op_name(). */
enum ferry_op_code {
    FERRY_OP_NONE,
    FERRY_OP_NOP,
    FERRY_OP_TIMER,
    FERRY_OP_POST,
    FERRY_OP_WORK,
    FERRY_OP_SIGNAL,
    FERRY_OP_WATCH,
    FERRY_OP_RESOLVE,
    FERRY_OP_ACCEPT,
    FERRY_OP_CONNECT,
    FERRY_OP_RECV,
    FERRY_OP_RECVV,
    FERRY_OP_RECVMSG,
    FERRY_OP_RECVMSG_POOL,
    FERRY_OP_RECV_POOL,
    FERRY_OP_SEND,
    FERRY_OP_SENDV,
    FERRY_OP_SENDMSG,
    FERRY_OP_SENDFILE,
    FERRY_OP_SHUTDOWN,
    FERRY_OP_OPEN,
    FERRY_OP_READ,
    FERRY_OP_READV,
    FERRY_OP_READ_POOL,
    FERRY_OP_WRITE,
    FERRY_OP_WRITEV,
    FERRY_OP_SYNC,
    FERRY_OP_TRUNCATE,
    FERRY_OP_STAT,
    FERRY_OP_STAT_FD,
    FERRY_OP_CHMOD,
    FERRY_OP_CHMOD_FD,
    FERRY_OP_CHOWN,
    FERRY_OP_CHOWN_FD,
    FERRY_OP_TIMES,
    FERRY_OP_TIMES_FD,
    FERRY_OP_ACCESS,
    FERRY_OP_ALLOCATE,
    FERRY_OP_ADVISE,
    FERRY_OP_RENAME,
    FERRY_OP_HARD_LINK,
    FERRY_OP_SYMLINK,
    FERRY_OP_UNLINK,
    FERRY_OP_MKDIR,
    FERRY_OP_RMDIR,
    FERRY_OP_READLINK,
    FERRY_OP_REALPATH,
    FERRY_OP_TEMP_FILE,
    FERRY_OP_TEMP_DIR,
    FERRY_OP_LIST,
    FERRY_OP_COPY,
    FERRY_OP_POLL,
    FERRY_OP_PROCESS,
    FERRY_OP_SPAWN,
    FERRY_OP_CLOSE,
    FERRY_OP_COUNT
};

/* "recv", "timer", ...: static memory, never NULL ("?" for no such code). Any thread. */
FERRY_API const char *ferry_op_name(unsigned code);

/* ---- The loop ---------------------------------------------------------------------------- */

enum ferry_backend { FERRY_AUTO, FERRY_URING, FERRY_EPOLL, FERRY_KQUEUE, FERRY_IOCP, FERRY_NONE };

/* Where the system says no more than that a descriptor is ready (epoll, kqueue), an adapter makes
 * completions of that: who does its work? */
enum ferry_adapter {
    /* The loop's thread, when it would only wait; a thread of the adapter's takes over while the
     * loop is away: in a callback that takes long, or in the hands of an outer loop that does
     * something else. Costs nothing while the loop keeps up. */
    FERRY_ADAPTER_AUTO,
    /* The adapter's thread, always: for programs that have a processor to spare. */
    FERRY_ADAPTER_DEDICATED,
    /* The loop's thread, without another: nothing moves while it is elsewhere. */
    FERRY_ADAPTER_INLINE
};

/* config.flags */
/* FERRY_KEEP_SIGPIPE: leave SIGPIPE alone; else it is set to be ignored if it was at its default,
 * since a write to a broken pipe would end the process. */
#define FERRY_KEEP_SIGPIPE 0x1u
/* FERRY_OWN_WORKERS: a worker pool for this loop alone; else one serves the whole process. */
#define FERRY_OWN_WORKERS 0x2u

/* How to open a loop. Zero it, set size, then what you need. */
typedef struct ferry_config {
    size_t size;                 /* sizeof(ferry_config): tells which fields there are */
    enum ferry_backend backend;  /* FERRY_AUTO tries the best first. The environment's FERRY_BACKEND
                                    (auto, uring, epoll, kqueue, iocp, none) overrides, not in
                                    privileged programs. */
    uint32_t flags;              /* FERRY_KEEP_SIGPIPE, ... */
    uint32_t submission_entries; /* size of the submission queue, 0: 256. Bounds nothing. */
    uint32_t completion_entries; /* size of the completion queue, 0: 8192. Bounds nothing. */
    const char *disable;     /* features not to use, as ferry_loop_describe() names them, separated
                                by commas; "all" for each optional one. FERRY_DISABLE in the
                                environment adds to them, not in privileged programs. */
    uint32_t worker_threads; /* of the pool for ferry_work(), 0: 4; for a pool of the loop's own, or
                                if this loop is the first to use the process's */
    uint32_t worker_queue_max; /* work of this loop handed to the pool at once, 0: 256; more waits
                                  in the loop and is counted in ferry_stats.work_waited */
    void *(*allocate)(size_t bytes, void *context); /* NULL: malloc. Called while a loop opens, */
    void (*release)(void *memory, void *context);   /* never while submitting; aligned as malloc */
    void *allocator_context;
    char *why;                  /* where to tell why no loop could be opened, may be NULL */
    size_t why_len;             /* its bytes, the 0 included */
    uint32_t resolver_threads;  /* that look up names at once, 0: 8, at most 64; for the process, if
                                   this loop is the first to look one up */
    uint32_t file_threads;      /* of the pool for operations on files and names that the backend
                                   cannot do without waiting, 0: 4; as worker_threads otherwise */
    enum ferry_adapter adapter; /* of a backend that has one; the environment's FERRY_ADAPTER (auto,
                                   dedicated, inline) overrides, not in privileged programs */
    int cancel_signal;          /* a signal with which a worker thread for files is told to leave a
                                   system call that waits, when its operation is to end (rule 5 of
                                   the contract lists the calls); 0: SIGURG, below 0: none. Sent to
                                   those threads alone. Its handler does nothing, and is there from
                                   the first of them until the last has ended; if the program has
                                   one of its own, or ignores the signal, that stays, and such calls
                                   are waited for. worker_threads tells whose number counts */
} ferry_config;

/* Opens a loop. config may be NULL. Returns 0 and sets *loop; else *loop is NULL and it returns
 * FERRY_ENOTSUP (every backend was refused; config.why tells the reasons), FERRY_EINVAL (config:
 * a NULL loop, a size that does not fit, one allocator function without the other, an unknown
 * feature or backend), FERRY_ENOMEM, or FERRY_EMFILE/FERRY_ENFILE: full descriptor tables are
 * reported, not worked around. Any thread; that thread owns the loop until another runs it. */
FERRY_API int ferry_loop_open(ferry_loop **loop, const ferry_config *config);

/* Closes a loop that has nothing in flight: memory, descriptors and threads are gone when it
 * returns 0. Else FERRY_EBUSY: operations are in flight (ferry_loop_drain() ends them), or the call
 * came from inside a callback. The loop stays usable then. In a forked child it frees the memory
 * and touches nothing that the parent uses. NULL is fine. No post may be under way. */
FERRY_API int ferry_loop_close(ferry_loop *loop);

/* Cancels all that is in flight, runs the callbacks, ends new submits with FERRY_ECLOSED (but still
 * carries out ferry_close(), so that callbacks can let go of what they hold) and refuses posts.
 * timeout_ns: how long to wait for it all. Returns 0: nothing is in flight, FERRY_EBUSY: time is up
 * (call it again), or it was called inside a callback, FERRY_EFORKED. */
FERRY_API int ferry_loop_drain(ferry_loop *loop, uint64_t timeout_ns);

enum ferry_run_mode {
    FERRY_RUN_DONE,  /* until nothing in flight keeps it going, or ferry_stop() */
    FERRY_RUN_ONCE,  /* one turn: waits for at least one completion, and delivers what there is */
    FERRY_RUN_NOWAIT /* one turn without waiting */
};

/* Runs the loop: submits what was queued, waits, delivers completions. The thread that calls it
 * first owns the loop from then on. Returns 0: nothing is in flight that keeps it going, 1:
 * something is (after ferry_stop(), or one turn), FERRY_EBUSY: called inside a callback,
 * FERRY_EFORKED: in a forked child, FERRY_EINVAL: no such mode, or the error with which the system
 * refused to wait. */
FERRY_API int ferry_run(ferry_loop *loop, enum ferry_run_mode mode);

/* A completion as ferry_reap() hands it over: what the operation's fields were. Only the last of an
 * operation, the one without FERRY_MORE, makes it idle again; several may come in one call. */
typedef struct ferry_completion {
    ferry_op *op;
    int64_t result;
    uint64_t transferred;
    uint32_t flags;
    ferry_buffer *buffer; /* as ferry_lent() tells */
} ferry_completion;

/* Runs the loop as ferry_run() does, and puts the completions of operations that were submitted
 * with FERRY_PULL in the place of a callback into an array, in the order in which callbacks would
 * run. Callbacks of other operations run inside.
 * Returns when the turn that brought the first of them is over or max are there, after timeout_ns
 * (0: one turn without waiting, UINT64_MAX: no limit), when nothing keeps the loop going, or after
 * ferry_stop(): with how many there are, 0 to max; or FERRY_EINVAL (no array, max 0) and the errors
 * of ferry_run().
 * An operation whose final completion is in the array is idle, but do not free or submit it before
 * you have looked at that: in callbacks that run inside, too.
 * ferry_run() and ferry_loop_drain() leave such completions, and all that has come after them,
 * where they are: they return (1, or FERRY_EBUSY) when one is next, so that nothing is lost when
 * both ways are used in turn. To drain: while (ferry_loop_drain(...) == FERRY_EBUSY)
 * ferry_reap(...). Posts and closes may be pulled as well. */
FERRY_API int64_t ferry_reap(ferry_loop *loop, ferry_completion *completions, size_t max,
                             uint64_t timeout_ns);

/* A descriptor that an outer event loop can watch for input (epoll, poll, GLib, another
 * ferry_loop): it is readable when the loop has something to do, and then the outer loop calls
 * ferry_run(loop, FERRY_RUN_NOWAIT), or ferry_reap() with a timeout of 0. After that it is readable
 * if there is more to do, else not until a completion, a post, a worker's result or ferry_stop()
 * comes, a timer or deadline is due, or something is submitted or cancelled outside a run. Now and
 * then it may be so for nothing. It may be watched level-triggered or edge-triggered: each time
 * that there is something new, and each run that leaves something, is an edge. Made by the first
 * call, later ones return the same. The loop's: do not read or close it, stop watching it before
 * the loop is closed. Not inherited by executed programs. A run of a loop that has one ends with a
 * system call or two more, that of others with none. Returns the descriptor, or FERRY_ENOTSUP (the
 * backend has none), FERRY_EMFILE, FERRY_ENFILE, FERRY_ENOMEM, FERRY_EFORKED. */
FERRY_API ferry_fd ferry_loop_fd(ferry_loop *loop);

/* Makes ferry_run(), or ferry_reap(), return after the callback that runs, or the turn that waits;
 * called while the loop is not running, the next one returns at once. Any thread, signal handlers
 * too. */
FERRY_API void ferry_stop(ferry_loop *loop);

/* The loop's clock in nanoseconds: monotonic, read once per turn, and at the first submission
 * between two runs (CLOCK_MONOTONIC on Linux). */
FERRY_API uint64_t ferry_now(const ferry_loop *loop);

/* Keep ferry_run() going although nothing is in flight, as while posts are expected; and no longer.
 * They count. A release without a hold stops the program. */
FERRY_API void ferry_hold(ferry_loop *loop);
FERRY_API void ferry_release(ferry_loop *loop);

enum ferry_feature_state {
    FERRY_FEATURE_MISSING, /* the system does not have it */
    FERRY_FEATURE_MASKED,  /* turned off by config.disable or the environment */
    FERRY_FEATURE_FOUND
};

typedef struct ferry_feature {
    const char *name;
    enum ferry_feature_state state;
    uint64_t uses; /* how often it was used so far */
} ferry_feature;

typedef struct ferry_refusal {
    const char *backend;
    int error;          /* a FERRY_E... */
    const char *reason; /* a sentence */
} ferry_refusal;

typedef struct ferry_description {
    const char *backend;           /* the one in use */
    const ferry_feature *features; /* the optional ones */
    size_t feature_count;
    const ferry_refusal *refusals; /* better ones that could not be used */
    size_t refusal_count;
    uint32_t submission_entries; /* sizes as they turned out, 0 where there are none */
    uint32_t completion_entries;
} ferry_description;

/* What the loop runs on and why. Valid until the loop is closed; each call refreshes it. */
FERRY_API const ferry_description *ferry_loop_describe(ferry_loop *loop);

/* Threads of one class that wait in the system's stead of a loop, and what waits for them. Those of
 * the process serve all loops that have none of their own. */
typedef struct ferry_worker_stats {
    uint64_t in_loop; /* in this loop, for config.worker_queue_max; names never are */
    uint64_t queued;  /* in the threads' queue, of all loops */
    uint64_t busy; /* threads that are at work; lookups that nobody waits for any more included */
    uint64_t threads;
} ferry_worker_stats;

typedef struct ferry_stats {
    uint64_t submitted; /* operations handed over */
    uint64_t completed; /* final completions delivered */
    uint64_t in_flight; /* the difference */
    uint64_t turns;
    uint64_t system_waits;    /* calls that submit to the system and wait */
    uint64_t system_submits;  /* calls in between, because a submission queue was full */
    uint64_t overflows;       /* turns that found the completion queue overflown */
    uint64_t busy_retries;    /* submits that the system put off */
    uint64_t wakeups;         /* by other threads */
    uint64_t accept_pauses;   /* accepts that waited because descriptors had run out */
    uint64_t accept_attempts; /* accepts tried again for it */
    uint64_t work_waited;     /* work that found config.worker_queue_max reached */
    uint64_t sends_gathered;  /* sends that shared one call with others of their stream */
    uint64_t pool_dry;        /* receives that had data and waited for a buffer of their pool */
    uint64_t pool_pauses;     /* multishot receives that had used up their credit of buffers */
    uint64_t allocations;     /* calls of config.allocate */
    uint64_t names_waited;    /* lookups that found all resolver threads busy */
    uint64_t system_others;   /* times that it asked the system something outside the ring: what a
                                 descriptor is, at its first use; shutdown; while a close lingers */
    uint64_t callback_longest_ns; /* with FERRY_MEASURE_CALLBACKS, since it was last reset */
    uint64_t background;          /* of in_flight, those that do not keep ferry_run() going */
    uint64_t holds;               /* ferry_hold() less ferry_release() */
    uint64_t timed;               /* timers and deadlines that tick */
    uint64_t work_in_loop;        /* work that waits in this loop for config.worker_queue_max */
    uint64_t work_out;            /* work of this loop that is with the worker pools, or back */
    uint64_t workers_queued;      /* work that waits in the pools' queues, of all their loops */
    uint64_t workers_busy;        /* threads of the pools that are at work */
    uint64_t workers;             /* threads of the pools: functions and files together */
    uint64_t interrupts;          /* signals sent to workers, so that a call ends */
    ferry_worker_stats functions; /* the pool for ferry_work() */
    ferry_worker_stats files;     /* that for what a backend cannot do itself, on files and names */
    ferry_worker_stats names;     /* those that look up hosts */
} ferry_stats;

/* Copies the counters; len is sizeof(ferry_stats), so that it can grow. */
FERRY_API void ferry_loop_stats(const ferry_loop *loop, ferry_stats *stats, size_t len);

/* What ferry_loop_measure() turns on, and the histograms of which the functions below tell. */
/* FERRY_MEASURE_LATENCY: from submit to the delivery of the completion; for completions with
 * FERRY_MORE from the one before. On the loop's clock, which is read once per turn: from the
 * beginning of the turn in which it was submitted to that of the turn in which it was delivered. No
 * look at the clock is made for it, but by ferry_post(), whose thread has no such clock. */
#define FERRY_MEASURE_LATENCY 0x1u
/* FERRY_MEASURE_CALLBACKS: how long each callback ran, by the kind of its operation, and
 * ferry_stats.callback_longest_ns: two looks at the clock for each. */
#define FERRY_MEASURE_CALLBACKS 0x2u

/* Measures what is given from now on (0: nothing, as at first). What is turned on begins empty,
 * what is turned off is forgotten, what stays on goes on. Memory for it, fixed, is address space of
 * which each kind of operation that occurs takes 8 KiB or two; given back with 0. May be called
 * from a callback. Returns 0, FERRY_EINVAL (unknown bits), FERRY_ENOMEM, FERRY_EFORKED. */
FERRY_API int ferry_loop_measure(ferry_loop *loop, unsigned what);

typedef struct ferry_histogram {
    uint64_t count, sum_ns;
    uint64_t min_ns, max_ns, mean_ns; /* 0 if count is */
} ferry_histogram;

/* Sums up a histogram. what: FERRY_MEASURE_LATENCY or FERRY_MEASURE_CALLBACKS. code: enum
 * ferry_op_code; FERRY_OP_NONE for all kinds together. len is sizeof(ferry_histogram). What is not
 * measured is empty. Returns 0, FERRY_EINVAL (no such what or code), FERRY_EFAULT (histogram is
 * NULL). */
FERRY_API int ferry_histogram_read(const ferry_loop *loop, unsigned what, unsigned code,
                                   ferry_histogram *histogram, size_t len);

/* The ns that so many per cent (0 to 100) of the values do not exceed: the upper end of its bucket,
 * so that it is too high by 6.25 % at most, never too low; 0 if there is no value. */
FERRY_API uint64_t ferry_histogram_percentile(const ferry_loop *loop, unsigned what, unsigned code,
                                              double percent);

/* A bucket: so many values from from_ns to to_ns, both included. */
typedef struct ferry_bucket {
    uint64_t from_ns, to_ns, count;
} ferry_bucket;

/* Writes the buckets that are not empty, at most max of them, in ascending order. Returns how many
 * there are. Buckets have a width of 1 ns up to 32, then of a 16th of the power of two below; there
 * are 976. */
FERRY_API size_t ferry_histogram_buckets(const ferry_loop *loop, unsigned what, unsigned code,
                                         ferry_bucket *buckets, size_t max);

/* Empties a histogram, or with FERRY_OP_NONE those of all kinds (and then, for
 * FERRY_MEASURE_CALLBACKS, ferry_stats.callback_longest_ns). Returns 0 or FERRY_EINVAL. */
FERRY_API int ferry_histogram_reset(ferry_loop *loop, unsigned what, unsigned code);

/* ferry_dump_entry.flags */
#define FERRY_DUMP_BACKGROUND 0x1u /* does not keep ferry_run() going */
#define FERRY_DUMP_MULTI 0x2u      /* goes on after a completion: multishot, repeating timer */
#define FERRY_DUMP_STOPPING 0x4u   /* asked to end, by a cancel or its deadline */

/* An operation in flight, as ferry_dump() shows it. */
typedef struct ferry_dump_entry {
    const ferry_op *op;
    const char *kind;   /* ferry_op_name() */
    const char *state;  /* where it is, in a few words: static memory */
    const char *target; /* what it is about: a path, an address, what fd is; "" if that is all; good
                           until fn returns */
    uint64_t age_ns;    /* since submit or the last completion with FERRY_MORE; 0: not known (a post
                           that has not arrived) */
    uint64_t left_ns;   /* until its deadline, or until a timer expires; UINT64_MAX: none */
    ferry_fd fd;        /* FERRY_FD_NONE: none */
    uint32_t code;      /* enum ferry_op_code */
    uint32_t flags;     /* FERRY_DUMP_... */
} ferry_dump_entry;

typedef void ferry_dump_fn(const ferry_dump_entry *entry, void *context);

/* Calls fn for each operation in flight, and for each post that has not yet arrived, in no
 * particular order. fn may only look: what it could call on the loop are ferry_now(),
 * ferry_loop_stats(), ferry_loop_describe(), ferry_supports() and those that read histograms; to
 * submit or cancel stops the program with a message. May be called from a callback. Makes no system
 * call but for a look at the clock, and for memory for the time of the call if other threads have
 * more than a few. Returns how many there were, FERRY_EFAULT (fn is NULL), FERRY_EBUSY (from inside
 * fn), FERRY_ENOMEM, FERRY_EFORKED. */
FERRY_API int64_t ferry_dump(ferry_loop *loop, ferry_dump_fn *fn, void *context);

/* Writes an entry as a line, cut to len bytes with its 0. Returns the length that the whole text
 * has. Any thread. */
FERRY_API size_t ferry_dump_format(const ferry_dump_entry *entry, char *buf, size_t len);

/* Writes a headline and a line for each operation in flight, cut to len bytes with its 0. Returns
 * the length that the whole text has; as ferry_dump() otherwise. */
FERRY_API int64_t ferry_dump_text(ferry_loop *loop, char *buf, size_t len);

/* The same to a descriptor (2: standard error), which is written to with plain calls that may
 * block. Returns how many operations there were, or as ferry_dump(). */
FERRY_API int64_t ferry_dump_print(ferry_loop *loop, ferry_fd fd);

/* Whether the loop can carry out a kind of operation (enum ferry_op_code): 1 or 0. One that it
 * cannot completes with FERRY_ENOTSUP. */
FERRY_API int ferry_supports(const ferry_loop *loop, unsigned code);

/* ---- Ordinary functions: these never wait ------------------------------------------------ */

enum ferry_socket_type { FERRY_STREAM = 1, FERRY_DATAGRAM, FERRY_SEQPACKET };

/* Makes a socket, not inherited by programs that are executed. Returns 0 and sets *fd, or an error
 * (FERRY_EINVAL, FERRY_EMFILE, FERRY_EAFNOSUPPORT, FERRY_EPROTONOSUPPORT, ...; see socket(2)). */
FERRY_API int ferry_socket(ferry_loop *loop, ferry_fd *fd, enum ferry_family family,
                           enum ferry_socket_type type);

/* Binds to an address; port 0 lets the system choose. Returns 0 or an error (FERRY_EADDRINUSE,
 * FERRY_EACCES, FERRY_EINVAL, ...; see bind(2)). */
FERRY_API int ferry_bind(ferry_loop *loop, ferry_fd fd, const ferry_addr *addr);

/* Makes a stream socket, binds it and listens: for IPv4 and IPv6 with SO_REUSEADDR, for IPv6 alone
 * with IPV6_V6ONLY (a second listener takes IPv4). backlog: connections waiting to be accepted, 0
 * for the system's maximum. Returns 0 and sets *fd, or an error. */
FERRY_API int ferry_listen(ferry_loop *loop, ferry_fd *fd, const ferry_addr *addr, int backlog);

/* Makes a socket listen that ferry_socket() made and ferry_bind() bound, for those who set options
 * in between (FERRY_OPT_REUSE_PORT: several listeners on one port share what comes). backlog as
 * above. Returns 0 or an error (FERRY_EADDRINUSE, FERRY_ENOTSUP: datagrams, FERRY_ENOTSOCK, ...).
 */
FERRY_API int ferry_listen_fd(ferry_loop *loop, ferry_fd fd, int backlog);

/* The socket's own address (with the port that the system chose), and its peer's. Return 0 or an
 * error (FERRY_ENOTCONN, FERRY_ENOTSOCK, FERRY_EBADF, ...). */
FERRY_API int ferry_local_addr(ferry_loop *loop, ferry_fd fd, ferry_addr *addr);
FERRY_API int ferry_peer_addr(ferry_loop *loop, ferry_fd fd, ferry_addr *addr);

/* Options of sockets: whole numbers in the unit that the name ends with, 0 or 1 where it has none.
 * In brackets the sockets that have the option. */
enum ferry_option {
    FERRY_OPT_REUSE_ADDR = 1,       /* [IP] before it is bound */
    FERRY_OPT_REUSE_PORT,           /* [IP] before it is bound, by each that shares the port */
    FERRY_OPT_V6ONLY,               /* [IPv6] no IPv4; before it is bound */
    FERRY_OPT_SEND_BUFFER_BYTES,    /* [all] a wish: the system has limits, and Linux doubles it and
                                       tells the double; ferry_socket_get() says what it became */
    FERRY_OPT_RECV_BUFFER_BYTES,    /* [all] the same */
    FERRY_OPT_KEEPALIVE,            /* [TCP] asks whether an idle peer is still there */
    FERRY_OPT_KEEPALIVE_IDLE_S,     /* [TCP] idle for so long: first question */
    FERRY_OPT_KEEPALIVE_INTERVAL_S, /* [TCP] between questions */
    FERRY_OPT_KEEPALIVE_COUNT,      /* [TCP] unanswered questions until the connection ends */
    FERRY_OPT_NODELAY,              /* [TCP] small segments go out at once */
    FERRY_OPT_LINGER_S,            /* [TCP] what a close does with data unsent: -1 it goes on in the
                                      background; 0 the connection is reset; else the close waits
                                      for so long, and the loop with it */
    FERRY_OPT_BROADCAST,           /* [IP datagrams] may send to broadcast addresses */
    FERRY_OPT_HOPS,                /* [IP] hop limit, time to live; -1 for the system's */
    FERRY_OPT_CLASS,               /* [IP] traffic class, type of service: 0 to 255 */
    FERRY_OPT_RECV_PACKET_INFO,    /* [IP datagrams] receive FERRY_CONTROL_PACKET */
    FERRY_OPT_RECV_HOPS,           /* [IP datagrams] receive FERRY_CONTROL_HOPS */
    FERRY_OPT_RECV_CLASS,          /* [IP datagrams] receive FERRY_CONTROL_CLASS */
    FERRY_OPT_MULTICAST_HOPS,      /* [IP datagrams] hop limit for groups: 0 to 255; -1 for 1 */
    FERRY_OPT_MULTICAST_LOOP,      /* [IP datagrams] this host gets what it sends to groups */
    FERRY_OPT_MULTICAST_INTERFACE, /* [IP datagrams] interface's index to send to groups through, 0
                                      for the system's choice. Get: IPv6, else FERRY_ENOTSUP */
    FERRY_OPT_UDP_SEGMENT_BYTES,   /* [UDP] each message is cut into datagrams of so many bytes, 0:
                                      not; FERRY_CONTROL_SEGMENT does it for one message. A send
                                      of more pieces than the system takes (64 on older Linux, 128)
                                      ends with FERRY_EINVAL */
    FERRY_OPT_UDP_GRO,             /* [UDP] receive several datagrams of one sender as one message,
                                      FERRY_CONTROL_SEGMENT says how long each is */
    FERRY_OPT_PASS_CREDENTIALS     /* [Unix] receive FERRY_CONTROL_CREDENTIALS */
};

/* Sets an option, and tells what it is. Return 0 or: FERRY_ENOPROTOOPT (this kind of socket has no
 * such option), FERRY_ENOTSUP (this system has it not), FERRY_EINVAL (no such option, a value out
 * of range; bound already), FERRY_ENOTSOCK, FERRY_EBADF, FERRY_EPERM, ...; see setsockopt(2),
 * ip(7), ipv6(7), tcp(7), udp(7), unix(7). */
FERRY_API int ferry_socket_set(ferry_loop *loop, ferry_fd fd, enum ferry_option option,
                               int64_t value);
FERRY_API int ferry_socket_get(ferry_loop *loop, ferry_fd fd, enum ferry_option option,
                               int64_t *value);

/* Lets a datagram socket receive what is sent to a multicast group, and no longer. group: its
 * address, the port does not count. interface_index: on which interface, 0 for the system's choice.
 * source: only what is sent from this address; several sources take several calls; NULL for all.
 * Return 0 or: FERRY_EINVAL (not a group's address, or families that differ), FERRY_EADDRINUSE
 * (joined already), FERRY_EADDRNOTAVAIL (not joined), FERRY_ENODEV (no such interface),
 * FERRY_ENOBUFS (too many groups), FERRY_ENOPROTOOPT (no datagram socket of that family); RFC 3678.
 */
FERRY_API int ferry_multicast_join(ferry_loop *loop, ferry_fd fd, const ferry_addr *group,
                                   uint32_t interface_index, const ferry_addr *source);
FERRY_API int ferry_multicast_leave(ferry_loop *loop, ferry_fd fd, const ferry_addr *group,
                                    uint32_t interface_index, const ferry_addr *source);

/* Makes a pipe: fds[0] is read, fds[1] written. Returns 0 or FERRY_EMFILE, FERRY_ENFILE. */
FERRY_API int ferry_pipe(ferry_loop *loop, ferry_fd fds[2]);

/* Makes a pair of connected Unix sockets. Returns 0 or an error. */
FERRY_API int ferry_socketpair(ferry_loop *loop, ferry_fd fds[2], enum ferry_socket_type type);

/* The loop lets go of a descriptor without closing it, which may then be used anywhere. Returns 0,
 * or FERRY_EBUSY while operations on it are in flight, FERRY_EBADF (negative, or closing). */
FERRY_API int ferry_forget(ferry_loop *loop, ferry_fd fd);

/* Sends a signal: its number is the system's, as SIGTERM of <signal.h>; 0 only tests. pid: above 0
 * a process, below -1 the process group -pid; what kill(2) means by 0 and -1, this group and
 * everybody, is refused. A child's number stays its own until somebody has waited for it. Returns 0
 * or an error (FERRY_ESRCH, FERRY_EPERM, FERRY_EINVAL: no such signal, 0 or -1). */
FERRY_API int ferry_kill(ferry_loop *loop, int64_t pid, int signal);

/* Asks that an operation end. The completion is the answer (rule 5): its result if it won the race,
 * else FERRY_ECANCELED. Idle operations, and second requests, are no-ops. When each kind can still
 * be cancelled: always (nop, timer, resolve, accept, connect, recv, send, reads and writes of
 * pipes, opening a FIFO, poll, waiting for a process, signal, watch once it has begun); until
 * started (files, work, spawn); never (close, post). */
FERRY_API void ferry_cancel(ferry_loop *loop, ferry_op *op);

/* Asks that all operations on a descriptor end, but for a close. */
FERRY_API void ferry_cancel_fd(ferry_loop *loop, ferry_fd fd);

/* Links an idle operation to one that is in flight: then starts when first has succeeded (a result
 * of 0 or above; fewer bytes than asked are success, too, but not with FERRY_ALL), and ends with
 * FERRY_ECANCELED otherwise. Call this, then submit then in the ordinary way, as any kind
 * of operation but a post. It is checked at once (what is not valid ends at once), and waits until
 * first's final callback has returned, or its completion has been handed to ferry_reap(); with its
 * lane's others it is in order from there on. It is in flight meanwhile: its deadline counts from
 * its own submit, cancel, drain and the closing of its descriptor end it, and others can be linked
 * to it. Several linked to the same one start in the order in which they were linked.
 * A then that is not submitted after all belongs to the link until first's end: ferry_cancel()
 * makes it idle again at once. Submitted after first's end it starts, or ends with FERRY_ECANCELED.
 * Returns 0, or FERRY_EINVAL: first is not in flight, then is not idle (in flight, linked already),
 * or they are the same; so that no circle can come about. Both are of this loop. */
FERRY_API int ferry_link(ferry_loop *loop, ferry_op *first, ferry_op *then);

/* Submits an idle operation again, as it was: same call, arguments and callback. */
FERRY_API void ferry_again(ferry_loop *loop, ferry_op *op);

/* Runs cb(op) on the loop's thread, in the next turn. Any thread; posts of one thread arrive in
 * order. op: idle, the library's until its callback. Wakes a loop that sleeps, and costs no system
 * call otherwise. Returns 0, or FERRY_ECLOSED when the loop drains, FERRY_EFORKED: then op is still
 * yours. The poster sees to it that the loop is not closed meanwhile (ferry_hold() keeps it
 * running). */
FERRY_API int ferry_post(ferry_loop *loop, ferry_op *op, ferry_cb *cb);

/* ---- Buffer pools ------------------------------------------------------------------------ */

/* Buffers of one size, lent to receives at the moment when data is there: what waits holds none. A
 * lent buffer is the program's until it is given back. One that is never given back is missing from
 * then on. When all are out receives wait, first come, first served (rule 10). */

/* A buffer that is lent. */
struct ferry_buffer {
    ferry_op op; /* idle, yours: ready to send the data, say. Its user is yours too. */
    void *data;
    size_t len;       /* bytes that have come */
    ferry_pool *pool; /* where it belongs */
    ferry_msg msg; /* of ferry_recvmsg_pool(): these bytes, the sender and control data; ready to be
                      sent back by ferry_sendmsg() once control_len is 0 */

    /* ---- below: the library's ---------------------------------------------------------------- */
    uint32_t index;
    uint32_t generation;
    ferry_fd from;
    uint32_t state;
    ferry_vec vec;
};

/* ferry_pool_open(): ferry_pool_put() may be called by any thread. */
#define FERRY_SHARED 0x1u

/* Opens a pool of count buffers (1 to 32,768) of size bytes (1 to 1 GiB) for operations of this
 * loop. Memory is taken as buffers are first used. credit: how many unreturned buffers of one
 * descriptor pause a multishot receive on it, so that a peer that does not read cannot take all; 0
 * for an eighth of count, 1 at least. flags: FERRY_SHARED. Returns 0 and sets *pool, or
 * FERRY_EINVAL, FERRY_ENOMEM. */
FERRY_API int ferry_pool_open(ferry_loop *loop, ferry_pool **pool, size_t count, size_t size,
                              size_t credit, unsigned flags);

/* Closes a pool: its memory is gone when it returns 0. Else FERRY_EBUSY: buffers are lent, or
 * operations use it. A loop closes only after its pools. NULL is fine. */
FERRY_API int ferry_pool_close(ferry_pool *pool);

/* Gives a buffer back. Who waits for one has it at once, else it is the next to be lent, still
 * warm. Giving back what is not lent, belongs to another pool, or is being sent, stops the program
 * with a message. Any thread, if the pool is FERRY_SHARED. */
FERRY_API void ferry_pool_put(ferry_pool *pool, ferry_buffer *buffer);

/* The buffer that a completion of a pooled receive brought; NULL if it brought none (an error, the
 * end, an empty datagram). To be asked in its callback, or before op is submitted again. */
FERRY_API ferry_buffer *ferry_lent(const ferry_op *op);

/* ---- Operations ------------------------------------------------------------------------------ *
 *
 * Always in this order: loop, operation, target, data, flags, callback. All may end with:
 *   FERRY_ECANCELED  it was cancelled, or its descriptor closed
 *   FERRY_ETIMEDOUT  its deadline passed
 *   FERRY_ECLOSED    the loop drains
 *   FERRY_EINVAL     a flag that does not apply, a bad argument, more bytes than a result can tell
 *   FERRY_EBADF      the descriptor is negative, closed, closing, or not open for this
 *   FERRY_EMFILE     the descriptor's number is beyond what the loop was opened for (the hard limit
 *                    RLIMIT_NOFILE at that time, 65,536 at least)
 *   FERRY_ENOTSUP    the backend cannot do it: ferry_supports()
 *   FERRY_EFAULT     NULL where something is needed, or memory that the system could not use
 * Submitting an operation that is in flight stops the program with a message that names it.
 */

/* Completes with 0 in the next turn. */
FERRY_API void ferry_nop(ferry_loop *loop, ferry_op *op, unsigned flags, ferry_cb *cb);

/* Completes with 0 once first_ns have passed (a point in time with FERRY_ABSOLUTE). If every_ns is
 * not 0 it repeats, each expiry every_ns after the one before, with FERRY_MORE, until cancelled:
 * result is the number of intervals that have passed since the last completion, 1 unless the loop
 * was late. first_ns of UINT64_MAX never expires. Never early; several due in one turn come in
 * order. */
FERRY_API void ferry_timer(ferry_loop *loop, ferry_op *op, uint64_t first_ns, uint64_t every_ns,
                           unsigned flags, ferry_cb *cb);

/* Runs fn(arg) on a worker thread; completes with what it returned. Can be cancelled until a worker
 * has taken it. FERRY_EAGAIN if no worker thread could be started. */
FERRY_API void ferry_work(ferry_loop *loop, ferry_op *op, ferry_work_fn *fn, void *arg,
                          unsigned flags, ferry_cb *cb);

/* ferry_query.how */
#define FERRY_RESOLVE_PASSIVE 0x1u /* for ferry_bind(): host NULL is every address of this host */
#define FERRY_RESOLVE_NUMERIC 0x2u /* host is an address in figures; nobody is asked */
#define FERRY_RESOLVE_CONFIGURED 0x4u /* only families of which this host has an address */

/* A canonical name has room in this many bytes, its 0 included. */
#define FERRY_CANONICAL_MAX 1025

/* What to look up. Zero it, then set what you need. */
typedef struct ferry_query {
    const char *host;    /* a name, or an address in figures ("::1", "fe80::1%eth0"), 0-terminated;
                            NULL: this host. Neither spaces nor control characters. */
    const char *service; /* a port, "0" to "65535", or a name such as "https"; NULL: none, port 0 */
    enum ferry_family family;    /* FERRY_INET or FERRY_INET6; 0: both */
    enum ferry_socket_type type; /* whose services are meant, 0: FERRY_STREAM */
    unsigned how;                /* FERRY_RESOLVE_... */
    char *canonical;             /* where to put the host's canonical name, may be NULL */
    size_t canonical_len;        /* its bytes, the 0 included */
} ferry_query;

/* Looks up the addresses of a host with the port of a service, as getaddrinfo(3) does: in the order
 * in which to try them, ready for ferry_connect(). Completes with the number written to addrs, 1 to
 * max; op->transferred tells how many there were. query, what it points to, and addrs are the
 * library's until then. An address in figures with a port in figures completes in the next turn.
 * The others go to threads for this purpose alone, config.resolver_threads of them, and wait while
 * all are busy (counted in ferry_stats.names_waited). Cancelled, past its deadline or drained it
 * ends at once: its thread works on memory of its own and is left to itself until the system
 * returns, beside those that may work. There are at most 64 with these; at that limit lookups wait.
 * Threads that are idle end after 10 s, or when the last loop that has resolved something closes;
 * one at such an abandoned lookup outlives that loop, with the descriptor on which it waits: the
 * library must not be unloaded then.
 * Errors:
 *   FERRY_ENONAME       there is no such name, or it has no address of this family
 *   FERRY_ENOSERVICE    there is no such service for this type
 *   FERRY_EAGAIN        no name server has answered, or one had a problem for the moment; or no
 *                       thread could be started
 *   FERRY_ENAMESERVER   a name server failed for good, where the system tells it from the first
 *   FERRY_ENAMETOOLONG  host or service is longer than the system takes (1,024, 31 bytes); or host
 *                       is longer than names can be (253), and in no file
 *   FERRY_EINVAL        host or service is empty or has spaces or control characters in it, or
 *                       both are NULL; max is 0; a field of query is out of its range
 *   FERRY_ERANGE        a port above 65535
 *   FERRY_EOVERFLOW     the canonical name does not fit; the addresses are there
 *   FERRY_EAFNOSUPPORT, FERRY_EPROTOTYPE (family, type), FERRY_ENOMEM, FERRY_EMFILE, ... */
FERRY_API void ferry_resolve(ferry_loop *loop, ferry_op *op, const ferry_query *query,
                             ferry_addr *addrs, size_t max, unsigned flags, ferry_cb *cb);

/* Completes with the descriptor of a new connection: yours, not inherited by executed programs.
 * peer: filled with its address, NULL if nobody wants to know. Several may wait on one listener.
 * With FERRY_MULTI it goes on, each completion with FERRY_MORE brings a connection, until it is
 * cancelled or fails; peer is NULL then, ferry_peer_addr() tells.
 * When descriptors run out it waits inside the library (5 ms doubling to 500 ms, or until this loop
 * closes one) and is counted. A connection accepted although a cancel was asked for is delivered
 * (rule 5).
 * Errors: FERRY_EINVAL (does not listen), FERRY_ENOTSOCK, FERRY_ECONNABORTED, ...; see accept(2).
 */
FERRY_API void ferry_accept(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_addr *peer,
                            unsigned flags, ferry_cb *cb);

/* Completes with 0 once connected. addr: read until the completion. Sends and receives may be
 * submitted behind it and wait; if it fails they end with FERRY_ECANCELED.
 * Errors: FERRY_ECONNREFUSED, FERRY_ENETUNREACH, FERRY_EISCONN, FERRY_EAFNOSUPPORT, ...;
 * connect(2). */
FERRY_API void ferry_connect(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_addr *addr,
                             unsigned flags, ferry_cb *cb);

/* Receives into buf, or into count vectors: completes with the bytes received, at least one, at
 * most len; with FERRY_ALL with len unless the stream ends (fewer) or an error cuts it short (the
 * error; op->transferred tells the bytes). The end of a stream is 0 with FERRY_EOF; an empty
 * datagram, and a len of 0, are 0 without. A datagram longer than len is cut. One call moves at
 * most 2 GiB - 4 KiB. Receives on one stream complete in the order of their submission (rule 9).
 * Errors: FERRY_ECONNRESET, FERRY_ENOTCONN, FERRY_ENOTSOCK, ...; see recv(2). */
FERRY_API void ferry_recv(ferry_loop *loop, ferry_op *op, ferry_fd fd, void *buf, size_t len,
                          unsigned flags, ferry_cb *cb);
FERRY_API void ferry_recvv(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs,
                           size_t count, unsigned flags, ferry_cb *cb);

/* Receives into a buffer of a pool, which is lent when there is something to receive: completes
 * with the bytes received, ferry_lent(op) is the buffer, yours until ferry_pool_put(). With
 * FERRY_MULTI it goes on, each completion with FERRY_MORE, until the stream ends (0 with
 * FERRY_EOF), it fails or is cancelled; its deadline is the longest gap. When the pool is dry it
 * waits for a buffer, when `credit` buffers of this descriptor have not been given back a multishot
 * pauses, both unseen but for ferry_stats. An echo server:
 *
 *     static void received(ferry_op *op) {
 *         struct client *c = ferry_container(op, struct client, recv_op);
 *         ferry_buffer *b = ferry_lent(op);
 *         if (b != NULL) ferry_send(loop, &b->op, op->fd, b->data, b->len, FERRY_PUT, NULL);
 *         if (!(op->flags & FERRY_MORE)) ferry_close(loop, &c->close_op, op->fd, 0, closed);
 *     }
 *
 * Errors: as ferry_recv(); FERRY_EFAULT (no pool), FERRY_EINVAL (a pool of another loop). */
FERRY_API void ferry_recv_pool(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_pool *pool,
                               unsigned flags, ferry_cb *cb);

/* The same with the sender's address and control data: ferry_lent(op)->msg is the message. It needs
 * buffers of more than FERRY_MSG_ROOM bytes, which hold addr and control (240 bytes at most) as
 * well, else FERRY_EINVAL; what of a message does not fit behind them is lost, as ferry_msg.flags
 * tells. Meant for datagrams. With FERRY_MULTI on datagrams an empty one comes with a buffer, too:
 * its sender is in there. In a pool that also serves other receives it may take only from the half
 * that is not offered to the system. Received descriptors are yours; see ferry_control_next(). */
#define FERRY_MSG_ROOM 384u
FERRY_API void ferry_recvmsg_pool(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_pool *pool,
                                  unsigned flags, ferry_cb *cb);

/* Sends buf, or count vectors: on a stream all of it, unless FERRY_SOME; on other sockets one
 * message. Completes with the bytes sent. What is cut short ends with the error that cut it,
 * op->transferred tells the bytes; then the sends waiting behind it end with FERRY_ECANCELED and
 * later ones with FERRY_EPIPE, so that the peer never sees a stream with a hole. Never raises
 * SIGPIPE.
 * With FERRY_ZEROCOPY, also on ferry_sendmsg(), the system sends from your memory itself where it
 * can (Linux 6.1, TCP and UDP); elsewhere this is an ordinary send. The completion, the only one,
 * comes when the memory is yours again: with TCP when the peer has acknowledged it, so that a peer
 * that does not read holds it up. The sends behind it start without waiting for that, but complete
 * after it (rule 9). Its completion flag FERRY_ZEROCOPY tells that nothing was copied; loopback
 * always copies. Once the system has its bytes, a cancel or a deadline hastens nothing;
 * ferry_close() waits for the memory up to 2 s, or its own deadline, then resets the connection and
 * ends such sends with FERRY_ECANCELED.
 * Errors: FERRY_EPIPE, FERRY_ECONNRESET, FERRY_EMSGSIZE (also a message of more vectors than the
 * system takes: 1,024 on Linux), FERRY_EDESTADDRREQ, ...; see send(2).
 * FERRY_PUT, when op is the one in a lent buffer: the buffer goes back to its pool once the
 * callback, if there is one, has returned; also if the send fails. A callback that submits op again
 * keeps it. */
FERRY_API void ferry_send(ferry_loop *loop, ferry_op *op, ferry_fd fd, const void *buf, size_t len,
                          unsigned flags, ferry_cb *cb);
FERRY_API void ferry_sendv(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs,
                           size_t count, unsigned flags, ferry_cb *cb);

/* Receives one message with its sender's address and its control data into msg, or from a stream
 * what is there: completes as ferry_recvv() does. msg is filled in as its fields say. A datagram
 * longer than the vectors sets FERRY_MSG_TRUNCATED, control data beyond the room
 * FERRY_MSG_CONTROL_TRUNCATED; neither is an error. With FERRY_ALL on a stream the control data of
 * all pieces is gathered, as far as there is room. Descriptors that come are not inherited by
 * executed programs, and are yours to close: also those that came before an error cut a FERRY_ALL
 * short, so look at control_len then.
 * Errors: those of ferry_recvv(), and FERRY_EINVAL if control is not aligned. See recvmsg(2). */
FERRY_API void ferry_recvmsg(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_msg *msg,
                             unsigned flags, ferry_cb *cb);

/* Sends msg: the data as ferry_sendv() does, to msg->addr, with its control data. On a stream the
 * control data goes with the first byte, once, though the rest follows in other calls; with no data
 * to go with it is refused: FERRY_EINVAL. Linux ignores control data of another kind of socket, as
 * descriptors over UDP. FERRY_PUT as above.
 * Errors: those of ferry_sendv(), and FERRY_EBADF (of a descriptor that is passed, too),
 * FERRY_EPERM (credentials that are not the process's own), FERRY_EINVAL (a value in it that is
 * not valid), FERRY_EMFILE (too many descriptors are under way), FERRY_EISCONN,
 * FERRY_ENOTSUP (an address, and the socket is connected), FERRY_ENETUNREACH, FERRY_EACCES
 * (broadcast), ...; see sendmsg(2), unix(7). */
FERRY_API void ferry_sendmsg(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_msg *msg,
                             unsigned flags, ferry_cb *cb);

/* Sends len bytes of a file from offset (bytes; not FERRY_CURRENT) into a connected stream socket
 * or a pipe, in order with the sends there, and like them whole unless FERRY_SOME. Completes with
 * the bytes sent; if the file ends before, with how many that were, and FERRY_EOF, so that a len of
 * INT64_MAX means all that there is. What is cut short ends as a send does (above).
 * file: a regular file or a block device, open for reading. It is the file that was open at submit,
 * whatever becomes of its name; its content is read piece by piece as the peer takes it, so that
 * changes may be seen. Closing either descriptor ends it.
 * Errors: FERRY_EINVAL (fd is neither stream nor pipe, file has no content to be read at an offset,
 * such as a directory or a terminal), FERRY_ESPIPE (file is a pipe or a socket), FERRY_EBADF
 * (either of them), FERRY_EIO (reading), and those of ferry_send(). */
FERRY_API void ferry_sendfile(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_fd file,
                              uint64_t offset, size_t len, unsigned flags, ferry_cb *cb);

enum ferry_shutdown_how { FERRY_SHUT_READ = 1, FERRY_SHUT_WRITE, FERRY_SHUT_BOTH };

/* Ends one or both directions of a connection, after the sends submitted before it. Completes with
 * 0 or an error (FERRY_ENOTCONN, FERRY_ENOTSOCK, ...; see shutdown(2)). */
FERRY_API void ferry_shutdown(ferry_loop *loop, ferry_op *op, ferry_fd fd,
                              enum ferry_shutdown_how how, unsigned flags, ferry_cb *cb);

/* Closes a descriptor. Ends all that is in flight on it with FERRY_ECANCELED, waits for the last of
 * those callbacks, hands the number back to the system, completes with 0. op may be NULL when
 * nobody wants to know. What completed sends have moved reaches a TCP peer even if input lies
 * unread: then the close goes on reading and discarding for up to 2 s, or op->deadline_ns, before
 * it resets the connection (an error then: FERRY_ETIMEDOUT; the descriptor is closed nevertheless).
 * A socket on which the program has set SO_LINGER makes the loop wait as close(2) does.
 * Errors: FERRY_EBADF (not open, or closing already), FERRY_EIO, ...; see close(2): closed all the
 * same. */
FERRY_API void ferry_close(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags,
                           ferry_cb *cb);

/* How to open a file; access first, the rest or-ed to it. */
#define FERRY_OPEN_READ 0x1u
#define FERRY_OPEN_WRITE 0x2u
#define FERRY_OPEN_CREATE 0x4u    /* make it if it is not there */
#define FERRY_OPEN_EXCLUSIVE 0x8u /* with CREATE: FERRY_EEXIST if it is there */
#define FERRY_OPEN_TRUNCATE 0x10u
#define FERRY_OPEN_APPEND 0x20u
#define FERRY_OPEN_DIRECTORY 0x40u /* FERRY_ENOTDIR if it is something else */
#define FERRY_OPEN_NOFOLLOW 0x80u  /* FERRY_ELOOP if it is a symbolic link */
#define FERRY_OPEN_DIRECT                                                                          \
    0x100u                      /* past the page cache: the system's alignment rules apply;        \
                                   FERRY_EINVAL or FERRY_ENOTSUP where there is no way */
#define FERRY_OPEN_DSYNC 0x200u /* each write waits for the data to be on the device */

/* Opens a file: completes with its descriptor, not inherited by executed programs. path:
 * 0-terminated, read until the completion. permissions: for a file that is made, less the process's
 * umask. Opening a FIFO waits for the other end as open(2) does, and can be cancelled.
 * Errors: FERRY_ENOENT, FERRY_EACCES, FERRY_EISDIR, FERRY_EMFILE, ...; see open(2). */
FERRY_API void ferry_open(ferry_loop *loop, ferry_op *op, const char *path, unsigned how,
                          unsigned permissions, unsigned flags, ferry_cb *cb);

/* The same, relative to a directory: dir is a descriptor of one, or FERRY_FD_NONE for the current
 * directory; a path that begins with "/" needs neither. With FERRY_BENEATH the path is confined to
 * what lies beneath dir: an absolute one, a ".." or a symbolic link that leads out, also in
 * between, end with FERRY_EXDEV, whatever is renamed meanwhile, and links of /proc to open files
 * with FERRY_ELOOP. Where the system cannot promise that (Linux before 5.6) it ends with
 * FERRY_ENOTSUP. See openat(2), openat2(2). */
FERRY_API void ferry_open_at(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                             unsigned how, unsigned permissions, unsigned flags, ferry_cb *cb);

/* As the offset of a read or write: at the file's current position, which moves; and the only one
 * for what cannot seek (pipes, terminals, sockets). Operations at the current position go one after
 * the other, in order; those at an offset run concurrently. */
#define FERRY_CURRENT UINT64_MAX

/* Reads into buf, or into count vectors, from offset (bytes): completes with the bytes read; with
 * FERRY_ALL with len unless the end comes first. At or past the end: 0 with FERRY_EOF; len 0: 0.
 * Errors: FERRY_EISDIR, FERRY_ESPIPE, FERRY_EIO, ...; see read(2). */
FERRY_API void ferry_read(ferry_loop *loop, ferry_op *op, ferry_fd fd, void *buf, size_t len,
                          uint64_t offset, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_readv(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs,
                           size_t count, uint64_t offset, unsigned flags, ferry_cb *cb);

/* Reads from a pipe or terminal into a buffer of a pool, as ferry_recv_pool() does from a socket.
 * FERRY_EINVAL on files, whose data does not have to be waited for: ferry_read() them. */
FERRY_API void ferry_read_pool(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_pool *pool,
                               unsigned flags, ferry_cb *cb);

/* Writes buf, or count vectors, at offset (bytes): all of it unless FERRY_SOME. Completes with the
 * bytes written; what is cut short ends with the error that cut it, op->transferred tells the
 * bytes. Behind a write cut short on a pipe or terminal it is as behind such a send.
 * Errors: FERRY_EPIPE (no signal, unless FERRY_KEEP_SIGPIPE), FERRY_ENOSPC, FERRY_EFBIG, FERRY_EIO,
 * FERRY_ESPIPE, ...; see write(2). */
FERRY_API void ferry_write(ferry_loop *loop, ferry_op *op, ferry_fd fd, const void *buf, size_t len,
                           uint64_t offset, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_writev(ferry_loop *loop, ferry_op *op, ferry_fd fd, const ferry_vec *vecs,
                            size_t count, uint64_t offset, unsigned flags, ferry_cb *cb);

/* Registers memory with the loop, count pieces that do not overlap: ferry_read() and ferry_write()
 * of files whose buffer lies within one of them then spare the system looking it up and holding it
 * each time, which direct I/O (FERRY_OPEN_DIRECT) profits from. Nothing else changes. The memory
 * stays yours, and mapped, until ferry_buffers_unregister() or the loop's end. Ordinary functions,
 * also before the loop's first run.
 * They return 0, or FERRY_EBUSY (register: something is registered already; unregister: reads or
 * writes in flight use the memory), FERRY_EINVAL (no pieces, more than 16,384, an empty one, one
 * over 1 GiB, an overlap), FERRY_EFAULT (not memory of yours, or not writable), FERRY_ENOMEM (out
 * of memory, or more than the user may lock: ulimit -l, RLIMIT_MEMLOCK), FERRY_ENOTSUP (memory that
 * cannot be held, such as a file's mapping; a backend without it), FERRY_ENOENT (unregister:
 * nothing is registered), FERRY_EFORKED. */
FERRY_API int ferry_buffers_register(ferry_loop *loop, const ferry_vec *pieces, size_t count);
FERRY_API int ferry_buffers_unregister(ferry_loop *loop);

/* Waits until what was written is on the device; with FERRY_DATA without metadata that is not
 * needed to read it back. Covers the writes that have completed, not those in flight. See fsync(2).
 */
FERRY_API void ferry_sync(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags,
                          ferry_cb *cb);

/* Makes a file exactly length bytes long.
 * Errors: FERRY_EINVAL (not open for writing, not a regular file, a length over 2^63), FERRY_EFBIG,
 * ...; see ftruncate(2). */
FERRY_API void ferry_truncate(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint64_t length,
                              unsigned flags, ferry_cb *cb);

enum ferry_file_type {
    FERRY_FILE_OTHER,
    FERRY_FILE_REGULAR,
    FERRY_FILE_DIRECTORY,
    FERRY_FILE_SYMLINK,
    FERRY_FILE_FIFO,
    FERRY_FILE_SOCKET,
    FERRY_FILE_CHARACTER,
    FERRY_FILE_BLOCK
};

/* What ferry_stat() tells. Times are nanoseconds since 1970 in UTC. */
typedef struct ferry_file {
    enum ferry_file_type type;
    uint32_t permissions; /* the lower twelve bits of the mode */
    uint32_t user, group; /* ids of the owner */
    uint64_t size;        /* bytes */
    uint64_t allocated;   /* bytes on the device */
    uint64_t links;
    uint64_t device, inode;
    int64_t accessed_ns, modified_ns, changed_ns, created_ns; /* created: 0 where unknown */
    uint64_t room[32]; /* the library's while the operation is in flight */
} ferry_file;

/* Fills *file for path (0-terminated; links are followed unless FERRY_NOFOLLOW): completes with 0,
 * or FERRY_ENOENT, FERRY_EACCES, FERRY_ENOTDIR, FERRY_ELOOP, ...; see stat(2). ferry_stat_at():
 * relative to a directory, as ferry_open_at(); ferry_stat_fd(): of what is open. */
FERRY_API void ferry_stat(ferry_loop *loop, ferry_op *op, const char *path, ferry_file *file,
                          unsigned flags, ferry_cb *cb);
FERRY_API void ferry_stat_at(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                             ferry_file *file, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_stat_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, ferry_file *file,
                             unsigned flags, ferry_cb *cb);

/* ---- Files by name ----------------------------------------------------------------------------
 *
 * Each takes dir, to which the path is relative: a directory's descriptor, or FERRY_FD_NONE for the
 * current directory. Paths are 0-terminated and read until the completion. All complete with 0
 * unless they say otherwise, or with FERRY_ENOENT, FERRY_ENOTDIR, FERRY_EACCES, FERRY_EPERM,
 * FERRY_ELOOP, FERRY_ENAMETOOLONG, FERRY_EROFS, FERRY_EBADF (dir is not open) and what their man
 * page in section 2 has besides. Those that change a directory are done when they complete, but on
 * the device only after a ferry_sync() of the directory. */

/* Sets the permissions: the lower twelve bits of a mode, others are FERRY_EINVAL. With
 * FERRY_NOFOLLOW a symbolic link ends with FERRY_ENOTSUP where links have none. See chmod(2). */
FERRY_API void ferry_chmod(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                           unsigned permissions, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_chmod_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned permissions,
                              unsigned flags, ferry_cb *cb);

/* Sets the owner and the group, by their ids; FERRY_ID_LEAVE leaves one as it is. May take
 * set-user-id bits away. See chown(2). */
#define FERRY_ID_LEAVE UINT32_MAX
FERRY_API void ferry_chown(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                           uint32_t user, uint32_t group, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_chown_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint32_t user,
                              uint32_t group, unsigned flags, ferry_cb *cb);

/* Sets the times of the last access and the last change of the content: nanoseconds since 1970 in
 * UTC, FERRY_TIME_NOW, or FERRY_TIME_LEAVE for as it is. File systems round them to what they keep.
 * See utimensat(2). */
#define FERRY_TIME_NOW INT64_MAX
#define FERRY_TIME_LEAVE INT64_MIN
FERRY_API void ferry_times(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                           int64_t accessed_ns, int64_t modified_ns, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_times_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, int64_t accessed_ns,
                              int64_t modified_ns, unsigned flags, ferry_cb *cb);

/* Is it there (wanted 0), and may this process, with the ids that count when it opens files, do all
 * that is wanted? 0, else FERRY_EACCES. Only a hint: what opens a file finds out for itself. */
#define FERRY_MAY_EXECUTE 0x1u
#define FERRY_MAY_WRITE 0x2u
#define FERRY_MAY_READ 0x4u
FERRY_API void ferry_access(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                            unsigned wanted, unsigned flags, ferry_cb *cb);

/* Gives a file another name, in one step: what had the new name is replaced, and whoever opens it
 * finds the one or the other. FERRY_NOREPLACE, FERRY_EXCHANGE: FERRY_EINVAL where the file system
 * cannot do that; FERRY_EXCHANGE: FERRY_ENOTSUP where the system cannot, and there FERRY_NOREPLACE
 * takes two steps, between which there are both names (docs/systems.md). Both directories stay open
 * until the completion: a close waits for it. Errors: FERRY_EXDEV (another file system),
 * FERRY_EISDIR, FERRY_ENOTDIR, FERRY_ENOTEMPTY, FERRY_EINVAL (a directory into itself), ...; see
 * rename(2). */
FERRY_API void ferry_rename(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                            ferry_fd new_dir, const char *new_path, unsigned flags, ferry_cb *cb);

/* Gives a file a second name. A symbolic link is itself given one, not what it leads to. Errors:
 * FERRY_EEXIST, FERRY_EXDEV, FERRY_EMLINK, FERRY_EPERM (a directory), ...; see link(2). */
FERRY_API void ferry_hard_link(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                               ferry_fd new_dir, const char *new_path, unsigned flags,
                               ferry_cb *cb);

/* Makes a symbolic link at path that holds target. Errors: FERRY_EEXIST, ...; see symlink(2). */
FERRY_API void ferry_symlink(ferry_loop *loop, ferry_op *op, const char *target, ferry_fd dir,
                             const char *path, unsigned flags, ferry_cb *cb);

/* Removes a name, and the file with its last. FERRY_EISDIR for a directory. See unlink(2). */
FERRY_API void ferry_unlink(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                            unsigned flags, ferry_cb *cb);

/* Makes a directory, with permissions less the umask. Removes one: FERRY_ENOTEMPTY, FERRY_EBUSY.
 * See mkdir(2), rmdir(2). */
FERRY_API void ferry_mkdir(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                           unsigned permissions, unsigned flags, ferry_cb *cb);
FERRY_API void ferry_rmdir(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                           unsigned flags, ferry_cb *cb);

/* Puts what a symbolic link holds into buf, with a 0 behind it: completes with its length without
 * the 0. Never cut: FERRY_ENOROOM if that does not fit into len bytes. FERRY_EINVAL if it is no
 * link. See readlink(2). */
FERRY_API void ferry_readlink(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                              char *buf, size_t len, unsigned flags, ferry_cb *cb);

/* Puts the absolute path without links, "." and ".." into buf, as ferry_readlink() does. All of it
 * has to be there. See realpath(3). */
FERRY_API void ferry_realpath(ferry_loop *loop, ferry_op *op, const char *path, char *buf,
                              size_t len, unsigned flags, ferry_cb *cb);

/* Makes a file of a name that nobody has, and opens it to read and write: completes with the
 * descriptor, not inherited by executed programs. name ends with "XXXXXX" (else FERRY_EINVAL),
 * which is overwritten with what was chosen, and left as it was if it fails. Only this user may
 * open the file, and nobody but you removes it. ferry_temp_dir() makes a directory, and completes
 * with 0. */
FERRY_API void ferry_temp_file(ferry_loop *loop, ferry_op *op, ferry_fd dir, char *name,
                               unsigned flags, ferry_cb *cb);
FERRY_API void ferry_temp_dir(ferry_loop *loop, ferry_op *op, ferry_fd dir, char *name,
                              unsigned flags, ferry_cb *cb);

/* ---- Files that are open --------------------------------------------------------------- */

/* Sees to it that len bytes from offset on have their place on the device, so that writing them
 * cannot fail for want of space; the file grows to offset + len if it is shorter. Never done by
 * writing zeros: FERRY_ENOTSUP where the file system cannot.
 * Errors: FERRY_EINVAL (len 0), FERRY_ENOSPC, FERRY_EFBIG, FERRY_ENODEV (not a regular file), ...;
 * see fallocate(2). */
FERRY_API void ferry_allocate(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint64_t offset,
                              uint64_t len, unsigned flags, ferry_cb *cb);

enum ferry_advice {
    FERRY_ADVICE_NORMAL,
    FERRY_ADVICE_SEQUENTIAL, /* will be read from front to back: read further ahead */
    FERRY_ADVICE_RANDOM,     /* will be read here and there: do not read ahead */
    FERRY_ADVICE_WILL_NEED,  /* begin to read it in */
    FERRY_ADVICE_DONT_NEED,  /* let go of what is cached and was written back */
    FERRY_ADVICE_ONCE        /* will be used once */
};

/* Tells how len bytes from offset on will be used, all that follow if len is 0. See
 * posix_fadvise(2). */
FERRY_API void ferry_advise(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint64_t offset,
                            uint64_t len, enum ferry_advice advice, unsigned flags, ferry_cb *cb);

/* Copies len bytes from one file into another, without them passing through this process where the
 * systems of files can do that between themselves: completes with the bytes copied, at least one;
 * with FERRY_ALL with len unless the end of `from` comes first. At or past the end: 0 with
 * FERRY_EOF. Offsets in bytes; FERRY_CURRENT is FERRY_EINVAL, and so are ranges of one file that
 * overlap. With FERRY_ALL it goes in pieces, between which it can be cancelled: what had been
 * copied by then, or by an error, is told by op->transferred. Both files stay open until the
 * completion: a close waits for it, and ends it after the piece that is under way.
 * Errors: FERRY_EBADF (not open for this, or `to` only for appending), FERRY_EISDIR, FERRY_ESPIPE,
 * FERRY_ENOSPC, FERRY_EFBIG, ...; see copy_file_range(2). */
FERRY_API void ferry_copy(ferry_loop *loop, ferry_op *op, ferry_fd from, uint64_t from_offset,
                          ferry_fd to, uint64_t to_offset, uint64_t len, unsigned flags,
                          ferry_cb *cb);

/* Lists a directory that was opened with FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY, as many entries at
 * a time as fit into buf: completes with the bytes of buf in use, for ferry_entry_next(), or 0 with
 * FERRY_EOF when there are no more. "." and ".." are left out. With FERRY_RESTART from the first
 * entry on, else from where the last listing through this descriptor ended. 4 KiB or more are
 * sensible, and 1 KiB enough for any name. What is made or removed meanwhile may appear or not;
 * everything else appears once. len bytes at buf: read and written until the completion.
 * Errors: FERRY_ENOROOM (the next name does not fit), FERRY_ENOTDIR, FERRY_ENOENT (the directory
 * was removed), FERRY_EBADF, FERRY_EIO; see getdents(2). */
FERRY_API void ferry_list(ferry_loop *loop, ferry_op *op, ferry_fd fd, void *buf, size_t len,
                          unsigned flags, ferry_cb *cb);

/* One entry of a directory. */
typedef struct ferry_entry {
    const char *name; /* 0-terminated, in the listing's buf */
    size_t name_len;  /* bytes, without the 0 */
    uint64_t inode;
    enum ferry_file_type type; /* of the entry itself: links are not followed */
    uint64_t next;             /* the library's */
} ferry_entry;

/* Goes through what ferry_list() has put into buf; bytes is its result. *entry is zeroed before the
 * first call. Returns 1, or 0 if there are no more entries:
 *     ferry_entry entry = {0};
 *     while (ferry_entry_next(buf, op->result, &entry)) puts(entry.name);
 * Never waits. Any thread. */
FERRY_API int ferry_entry_next(const void *buf, int64_t bytes, ferry_entry *entry);

/* ---- Waiting for other things ------------------------------------------------------------ */

/* Events of ferry_poll(). */
#define FERRY_POLL_IN 0x1u       /* a read or accept would not wait */
#define FERRY_POLL_OUT 0x2u      /* a write would not wait; a connect has come to its end */
#define FERRY_POLL_PRIORITY 0x4u /* something out of the ordinary, as out-of-band data */
#define FERRY_POLL_RDHUP 0x8u    /* the peer of a stream socket sends no more (where it is told) */
#define FERRY_POLL_ERR 0x10u     /* an error, or nobody reads the other end of a pipe */
#define FERRY_POLL_HUP 0x20u     /* hung up, both ways */

/* Waits until a descriptor is ready, as poll(2) does: for what does its reading and writing itself
 * (curl, libpq, hiredis, another loop). events: FERRY_POLL_... or-ed together; ERR and HUP are
 * waited for in any case, 0 waits for them alone. Completes with those that are there, at least
 * one; they are hints, what was ready may have been taken by somebody else since.
 * With FERRY_MULTI it goes on and is level-triggered: in each turn that finds the descriptor ready
 * there is one result, with FERRY_MORE, and what was not taken is told again in the next. A result
 * with ERR, HUP or RDHUP, which would be told for ever, is the last (without FERRY_MORE): submit it
 * again if something is left to be read. The deadline is the longest gap between two results.
 * Any kind of descriptor, of any loop or none, several at once on one: a poll is exempt from the
 * rule that a descriptor belongs to one loop, and nothing is remembered of it between two. Regular
 * files are always ready for IN and OUT. ferry_close() by this loop ends it. Whoever closes
 * otherwise cancels it first, or later: until then it waits for what the number stood for when it
 * was submitted, and keeps that alive in the system; a later poll of the number is none the worse.
 * Errors: FERRY_EINVAL (other events; none that could ever come on such a file). */
FERRY_API void ferry_poll(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned events,
                          unsigned flags, ferry_cb *cb);

/* How a process ended. */
typedef struct ferry_exit {
    int32_t status;    /* what it returned or gave to exit(), 0 to 255; -1: a signal ended it */
    int32_t signal;    /* which, the system's number; 0: none */
    int32_t core;      /* 1: and the memory it had was dumped, 0: not */
    int32_t reserved;  /* 0 */
    uint64_t room[16]; /* the library's while the operation is in flight */
} ferry_exit;

/* Waits until a child of this process has ended, and takes it from the system's table: that one and
 * no other. Completes with 0; *how (NULL: nobody wants to know) tells how it ended. A child of any
 * thread, begun in any way; it may have ended before. Of several waits for one child one succeeds.
 * When it is cancelled or its deadline passes the child stays to be waited for.
 * Errors: FERRY_ECHILD (no child of this process, or waited for already; or the program ignores
 * SIGCHLD, or has set SA_NOCLDWAIT, so that the system keeps nothing of children that end: then
 * once it has ended), FERRY_EINVAL (pid is 0 or below, or no number of a process can be that high),
 * FERRY_EMFILE, FERRY_ENFILE (where the system waits through a descriptor: Linux before 6.7). */
FERRY_API void ferry_wait_process(ferry_loop *loop, ferry_op *op, int64_t pid, ferry_exit *how,
                                  unsigned flags, ferry_cb *cb);

/* What a child has in the place of one of its three streams. */
enum ferry_stdio_kind {
    FERRY_STDIO_INHERIT, /* ours; closed if ours is */
    FERRY_STDIO_NULL,    /* nothing: reads end, writes vanish */
    FERRY_STDIO_PIPE,    /* a pipe: fd becomes our end */
    FERRY_STDIO_FD,      /* fd, one of our descriptors, which stays ours as well */
    FERRY_STDIO_SAME     /* the same as the child's stream fd (0, 1, 2), which is not SAME itself */
};

typedef struct ferry_stdio {
    enum ferry_stdio_kind kind;
    ferry_fd fd;
} ferry_stdio;

/* ferry_child.how */
#define FERRY_CHILD_GROUP 0x1u   /* leads a process group of its own */
#define FERRY_CHILD_SESSION 0x2u /* leads a session of its own, without terminal; and a group */

/* A program to be executed. Zero it, then set what you need. It and all it points to belong to the
 * library while the operation is in flight. */
typedef struct ferry_child {
    const char *program;     /* a path; without a slash it is looked for in our PATH */
    const char *const *argv; /* its arguments, the first its name; ends with NULL. NULL: program */
    const char *const *envp; /* "NAME=value", ends with NULL. NULL: ours, as it is then */
    const char *directory;   /* where it runs, a relative program is looked for from there; NULL:
                                where we do */
    ferry_stdio stdio[3];    /* input, output, errors */
    uint32_t how;            /* FERRY_CHILD_... */
    uint32_t reserved;       /* 0 */
    int64_t pid;             /* out */
} ferry_child;

/* Executes a program in a process of its own. Completes with 0 once it is executed: pid is set, and
 * fd of each stream that is a pipe to our end (not inherited by programs that are executed, the
 * loop's as what ferry_pipe() makes). Close these with ferry_close() and take the child with
 * ferry_wait_process(). In the child all signals have their default meaning, SIGPIPE included, none
 * is blocked, and no descriptor but 0, 1 and 2 is open (where the C library lacks closefrom, as
 * glibc before 2.34 and musl, those of the program's own that were opened without close-on-exec
 * are, too). It can be cancelled until a worker has taken it. Errors, which leave no process and no
 * pipe behind: FERRY_ENOENT, FERRY_ENOTDIR, FERRY_EACCES (the program is not there or cannot be
 * executed, or the directory is not there or closed), FERRY_ENOEXEC (not a format that can be),
 * FERRY_E2BIG (arguments and environment too long), FERRY_EBADF (a descriptor given as stream),
 * FERRY_EINVAL (how, a kind of stream, SAME as itself or another SAME, no first argument),
 * FERRY_EAGAIN (too many processes, or no worker could be started), FERRY_EMFILE, FERRY_ENFILE,
 * FERRY_ENOMEM; execve(2), fork(2). */
FERRY_API void ferry_spawn(ferry_loop *loop, ferry_op *op, ferry_child *child, unsigned flags,
                           ferry_cb *cb);
/* ---- Waiting for signals ----------------------------------------------------------------- */

/* Completes when the process is sent a signal: result is how often its handler has run since the
 * wait began, 1 or more; with FERRY_MULTI since the completion before, and it goes on until it is
 * cancelled. Systems merge a signal that is sent again before its handler has run. number: SIGTERM,
 * SIGCHLD, ... of <signal.h>. Any number of operations, in any number of loops and threads, may
 * wait for the same signal: all of them are told of each delivery.
 *
 * While anybody in the process waits, the signal's disposition is Ferry's: a handler that
 * interrupts no system call that can be restarted (SA_RESTART), and that runs on the alternate
 * stack where a thread has one. What was there before (a handler, SIG_IGN, SIG_DFL) is not called
 * meanwhile, and is back at the end of the turn that has delivered the last wait's final
 * completion. So a one-shot wait that its callback submits again keeps the signal, but a delivery
 * in between is not told: FERRY_MULTI loses none. A disposition that the program sets itself
 * meanwhile is left alone, then and at the end: signals go there until Ferry's last wait for this
 * signal has ended. In a forked child nobody waits, so that all is as before the first wait; so it
 * is in a program that the child executes. Ferry changes the signal mask of none of your threads:
 * one of them must have the signal unblocked.
 *
 * Waiting for SIGCHLD reaps no child; if SIGCHLD was ignored, children that end meanwhile remain
 * until they are waited for.
 *
 * Errors: FERRY_EINVAL: no such number, one that cannot be caught (SIGKILL, SIGSTOP), one that the
 * C library keeps for itself, or SIGSEGV, SIGBUS, SIGFPE, SIGILL: these mean that the instruction
 * at hand cannot be carried out, and to come back from their handler, as one must before a callback
 * can run, would only fault again, for ever. */
FERRY_API void ferry_signal(ferry_loop *loop, ferry_op *op, int number, unsigned flags,
                            ferry_cb *cb);

/* ---- Waiting for changes of files -------------------------------------------------------- */

/* The least that a watcher's buffer must hold: the longest change is shorter. */
#define FERRY_WATCH_BYTES_MIN 512u

/* What a watch keeps its changes in. Zero it, set the first two, then leave it alone until the
 * final completion; the buffer can be read by ferry_watch_next() after it, too. */
typedef struct ferry_watcher {
    void *buf;         /* yours */
    size_t len;        /* bytes, FERRY_WATCH_BYTES_MIN at least; a change takes 12 and its name */
    uint64_t room[12]; /* the library's */
} ferry_watcher;

enum ferry_change_kind {
    FERRY_CHANGE_CREATED = 1, /* an entry was made, or linked to, in the watched directory */
    FERRY_CHANGE_DELETED,     /* an entry was deleted */
    FERRY_CHANGE_MODIFIED,    /* the content of an entry, or of the watched file, was changed */
    FERRY_CHANGE_ATTRIBUTES,  /* permissions, owner, times, number of links */
    FERRY_CHANGE_MOVED_FROM,  /* an entry has lost this name: pair tells which one it has now, if
                                 that is watched by this loop, too */
    FERRY_CHANGE_MOVED_TO,    /* an entry has got this name */
    FERRY_CHANGE_MOVED,       /* the watched thing itself was renamed; the watch goes with it */
    FERRY_CHANGE_REMOVED,     /* the watched thing itself is gone: the watch ends */
    FERRY_CHANGE_UNMOUNTED,   /* its file system is gone: the watch ends */
    FERRY_CHANGE_OVERFLOW     /* here changes are missing: the buffer, or the system's queue, was
                                 full. Look for yourself, as after beginning. */
};

typedef struct ferry_change {
    enum ferry_change_kind kind;
    int is_directory;
    uint32_t pair;    /* the same number, not 0, in the FROM and the TO of one rename; else 0 */
    const char *name; /* of the entry, 0-terminated; "" for the watched thing itself. In the
                         watcher's buffer: good until the callback ends or the loop runs again. */
    size_t name_len;
} ferry_change;

/* Watches a directory (itself and its entries, not what is below them) or a file. The first
 * completion tells that watching has begun: what changes from then on will be told. Each completion
 * with FERRY_MORE, its result, tells how many changes lie in the watcher's buffer, for
 * ferry_watch_next(). Those that are not taken stay there; when one does not fit, what follows is
 * dropped until all before it has been taken, and a FERRY_CHANGE_OVERFLOW stands for it. Whoever
 * takes them all in each callback loses none to a small buffer. The same file may be watched
 * several times. Changes made by this process are told, too. Symbolic links are followed. A
 * relative deadline is the longest gap between two completions.
 *
 * path: 0-terminated. path and watcher: the library's until the final completion.
 *
 * Linux uses one inotify instance per loop, made at the first watch, whose inotify(7) has the small
 * print: nothing is told of changes by mmap, or on a network file system by other machines; a file
 * is REMOVED once nobody has it open any more and it has no other name; entries that were deleted
 * while open are told of no more.
 *
 * kqueue tells that a directory has changed, and not in what: it is compared with what it was. Two
 * changes of one entry between two looks are one, by name and not in order; and each entry takes a
 * descriptor (docs/systems.md).
 *
 * Errors: FERRY_ENOENT (there is no such file, or after a REMOVED), FERRY_ENODEV (after an
 * UNMOUNTED), FERRY_EACCES (not readable), FERRY_ENOTDIR, FERRY_ELOOP, FERRY_ENAMETOOLONG,
 * FERRY_ENOSPC (this user watches too much: fs.inotify.max_user_watches), FERRY_EMFILE (this user
 * has too many instances, fs.inotify.max_user_instances, or this process too many descriptors),
 * FERRY_EINVAL (a buffer too small), FERRY_EAGAIN (no worker thread could be started),
 * FERRY_ENOMEM; see inotify_add_watch(2). */
FERRY_API void ferry_watch(ferry_loop *loop, ferry_op *op, const char *path, ferry_watcher *watcher,
                           unsigned flags, ferry_cb *cb);

/* Takes the next change out of the watcher's buffer, oldest first: 1, or 0 if there is none. On the
 * loop's thread, at any time from the first completion on. */
FERRY_API int ferry_watch_next(ferry_watcher *watcher, ferry_change *change);

#ifdef __cplusplus
}
#endif

#endif
