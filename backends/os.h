/* os.h - what the core needs of an operating system besides a backend.
 *
 * Functions that return int give 0 or a negative FERRY_E..., unless they say otherwise. None of
 * them waits, but for those that say so.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_OS_H
#define FERRY_OS_H

#include "ferry.h"
#include "port.h"

#include <stdbool.h>

FERRY__OWN_BEGIN

/* ---- Time, memory, environment ----------------------------------------------------------- */

uint64_t ferry__os_clock(void);    /* monotonic, ns */
void ferry__os_sleep(uint64_t ns); /* waits, or less if a signal comes in */

/* Zeroed address space that costs memory only where it is touched; NULL if refused. */
void *ferry__os_reserve(size_t bytes);
void ferry__os_unreserve(void *memory, size_t bytes);
/* The same for a table of which most is never touched: usable only where it was committed, on
 * systems that count what could be touched; elsewhere committing does nothing. False: out of
 * memory. */
void *ferry__os_reserve_table(size_t bytes);
bool ferry__os_commit(void *memory, size_t bytes);

/* NULL if not set, or if the program runs with more rights than its user has. */
const char *ferry__os_environment(const char *name);

/* How many descriptor numbers (ferry__fd_number()) there can be at most in this process. */
uint32_t ferry__os_fd_limit(void);

/* Ignores SIGPIPE if it is at its default. */
void ferry__os_ignore_sigpipe(void);

/* Counts the forks between this process and the first: a loop remembers in which it was opened. */
extern uint32_t ferry__os_fork_count;
void ferry__os_watch_forks(void);

/* Writes to standard error without allocating. */
void ferry__os_complain(const char *text, size_t len);
/* Writes all of it to a descriptor; may block. 0 or an error. */
int ferry__os_write(ferry_fd fd, const char *text, size_t len);
_Noreturn void ferry__os_abort(void);

/* ---- Descriptors ------------------------------------------------------------------------- */

enum ferry__fd_kind {
    KIND_UNKNOWN,
    KIND_STREAM,    /* a stream socket */
    KIND_MESSAGE,   /* a datagram socket */
    KIND_SEQPACKET, /* messages, with an end of stream */
    KIND_PIPE,
    KIND_CHARACTER, /* terminals and other devices without a position of their own */
    KIND_FILE,      /* seekable: regular files, block devices */
    KIND_OTHER      /* directories, eventfds, ... */
};

/* What a descriptor is; a negative FERRY_E... if it is not one. */
int ferry__os_fd_kind(ferry_fd fd);
int ferry__os_shutdown(ferry_fd fd, int how);

/* Ends a connection at once, with a reset, and throws away what it has to send. */
void ferry__os_abandon(ferry_fd fd);

/* Is this an address that the system could take: 0, or FERRY_EINVAL. */
int ferry__os_addr_check(const ferry_addr *addr);

/* Is this TCP with unread input, which a close would answer with a reset that nobody asked for? */
bool ferry__os_unread(ferry_fd fd);
/* Discards input that is there. True when nothing that was sent can be lost any more: the peer has
 * acknowledged all of it and nothing lies unread, or the connection is over. */
bool ferry__os_settled(ferry_fd fd);

/* Carries out op (one that a backend cannot do) by plain system calls that may wait: its result;
 * FERRY_ECANCELED if one was ended early, since ferry__work_stopped(). For worker threads. */
int64_t ferry__os_perform(ferry_op *op);
/* What it comes to when a FIFO has nobody at its other end yet: the upper half of op->more
 * holds, one too high, the descriptor that is open meanwhile, 0 if none is. To be tried again after
 * a while. */
#define FERRY__NOT_YET INT64_MIN
/* Lets go of that, if there is one. */
void ferry__os_open_abandon(ferry_op *op);

/* ---- Names ------------------------------------------------------------------------------- */

#define FERRY__HOST_MAX 1024 /* characters, as many as the system takes */
#define FERRY__SERVICE_MAX 31

/* What is asked, in memory of its own: whoever asked may be gone before the answer is there. */
struct ferry__lookup {
    enum ferry_family family;    /* 0: any */
    enum ferry_socket_type type; /* 0: stream */
    unsigned how;                /* FERRY_RESOLVE_... */
    bool has_host, has_service, service_is_number, wants_canonical;
    void *found; /* the system's, until ferry__os_lookup_free() */
    char host[FERRY__HOST_MAX + 1];
    char service[FERRY__SERVICE_MAX + 1];
};

/* Asks the system, and waits, for half a minute if need be: for threads of its own. */
int ferry__os_lookup(struct ferry__lookup *lookup);
/* Copies what was found: the number of addresses written, 1 to max, or an error. *count: how many
 * there were. */
int64_t ferry__os_lookup_copy(const struct ferry__lookup *lookup, const ferry_query *query,
                              ferry_addr *addrs, size_t max, uint64_t *count);
void ferry__os_lookup_free(struct ferry__lookup *lookup);
/* Our number for the resolver's; system_error is for the one that says "see errno". */
int ferry__os_lookup_error(int code, int system_error);

/* ---- Threads: all signals are blocked in those started here ------------------------------ */

struct ferry__thread_id {
    uint64_t id; /* 0: none */
};
struct ferry__thread_id ferry__os_thread_self(void);
/* Has it ended? A thread that was joined may take a moment to be gone: waits for that, up to a
 * second.
 */
bool ferry__os_thread_ended(struct ferry__thread_id thread);

struct ferry__thread {
    uint64_t room[2];
};
struct ferry__lock {
    uint64_t room[8];
};
struct ferry__signal {
    uint64_t room[8];
};

int ferry__os_thread_start(struct ferry__thread *thread, void *(*fn)(void *), void *arg);
void ferry__os_thread_join(struct ferry__thread *thread); /* waits */
void ferry__os_thread_detach(struct ferry__thread *thread);
void ferry__os_lock_init(struct ferry__lock *lock);
void ferry__os_lock_end(struct ferry__lock *lock);
void ferry__os_lock(struct ferry__lock *lock);
void ferry__os_unlock(struct ferry__lock *lock);
void ferry__os_signal_init(struct ferry__signal *signal);
void ferry__os_signal_end(struct ferry__signal *signal);
void ferry__os_signal_wait(struct ferry__signal *signal, struct ferry__lock *lock); /* waits */
/* The same until a point on ferry__os_clock(): false once that is over. */
bool ferry__os_signal_wait_until(struct ferry__signal *signal, struct ferry__lock *lock,
                                 uint64_t until_ns);
void ferry__os_signal_one(struct ferry__signal *signal);
void ferry__os_signal_all(struct ferry__signal *signal);
/* The lock of what a process has once: its worker pool, its resolver threads, its signals. Held
 * over a fork. */
struct ferry__lock *ferry__os_process_lock(void);

/* ---- Ending a system call that a thread of ours waits in ----------------------------------- */

/* By a signal whose handler does nothing. Its number, if the program does not choose one. */
int ferry__os_interrupts_default(void);
/* From here on the signal's handler is that one, if nobody has one there; and no longer. False if
 * somebody has. Both under the process's lock. They count. */
bool ferry__os_interrupts_begin(int number);
void ferry__os_interrupts_end(int number);
/* The calling thread takes the signal from here on. */
void ferry__os_interrupts_allow(int number);
/* Has the call that a thread is in end with EINTR; or the one that it is about to make, or none:
 * nobody knows. False, and nothing done, if the program has changed what the signal does. The
 * thread has not been joined. */
bool ferry__os_interrupt(const struct ferry__thread *thread, int number);
/* What was sent to the calling thread has come. */
void ferry__os_interrupts_settle(void);
/* This process is a child that was just forked. Under the lock. */
void ferry__os_interrupts_forked(void);

/* ---- Signals of the process, in the sense of <signal.h> ------------------------------------ */

#define FERRY__SIGNALS 129 /* numbers are below */

/* 0, or FERRY_EINVAL for a number that cannot be waited for. */
int ferry__os_catchable(uint64_t number);
/* From here on ferry__signal_came() is called for each delivery of a signal; and no longer. What
 * happened to the signal before is put back, unless the program has changed it meanwhile. Both
 * under the process's lock; uncatch also in a child that was just forked. */
int ferry__os_catch(int number);
void ferry__os_uncatch(int number);

/* Called by the system's side, in a signal handler on any thread. */
void ferry__signal_came(int number);
/* This process is a child that was just forked: nobody waits for signals. Under the lock. */
void ferry__signals_forked(void);

/* ---- Changes of files ---------------------------------------------------------------------- */

struct ferry__change {
    int32_t watch;      /* which, as ferry__os_watch_add() named it; -1: all of them */
    int32_t ends;       /* 0, or with what error the watch has ended: no change comes with that */
    ferry_change about; /* name: in the bytes that were read */
};

/* A descriptor that becomes readable when anything watched changes, or an error. */
ferry_fd ferry__os_watch_open(void);
void ferry__os_watch_close(ferry_fd source);
/* Watches one more file: its number, the same if it is watched already, or an error. Looks the path
 * up, so that it may wait. Any thread. */
int64_t ferry__os_watch_add(ferry_fd source, const char *path);
void ferry__os_watch_remove(ferry_fd source, int32_t watch);
/* Calls fn for each number that is being watched. 0, or an error: the system does not tell. */
int ferry__os_watch_each(ferry_fd source, void (*fn)(void *context, int32_t watch), void *context);
/* Reads what has changed: bytes, 0 if nothing has, or an error. buf: aligned for anything. */
int64_t ferry__os_watch_read(ferry_fd source, void *buf, size_t len);
/* The change that begins at a place in what was read, and where the next begins. */
size_t ferry__os_watch_parse(const void *buf, size_t at, struct ferry__change *change);

FERRY__OWN_END

#endif
