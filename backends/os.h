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

/* NULL if not set, or if the program runs with more rights than its user has. */
const char *ferry__os_environment(const char *name);

/* How many descriptor numbers there can be at most in this process. */
uint32_t ferry__os_fd_limit(void);

/* Ignores SIGPIPE if it is at its default. */
void ferry__os_ignore_sigpipe(void);

/* Counts the forks between this process and the first: a loop remembers in which it was opened. */
extern uint32_t ferry__os_fork_count;
void ferry__os_watch_forks(void);

/* Writes to standard error without allocating. */
void ferry__os_complain(const char *text, size_t len);
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

/* Is this an address that the system could take: 0, or FERRY_EINVAL. */
int ferry__os_addr_check(const ferry_addr *addr);

/* Is this TCP with unread input, which a close would answer with a reset? */
bool ferry__os_unread(ferry_fd fd);
/* Discards input that is there. True when nothing that was sent can be lost any more: the peer has
 * acknowledged all of it and nothing lies unread, or the connection is over. */
bool ferry__os_settled(ferry_fd fd);

/* Carries out op (one that a backend cannot do) by plain system calls that may wait: its result.
 * For worker threads. */
int64_t ferry__os_perform(const ferry_op *op);

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
void ferry__os_lock_init(struct ferry__lock *lock);
void ferry__os_lock_end(struct ferry__lock *lock);
void ferry__os_lock(struct ferry__lock *lock);
void ferry__os_unlock(struct ferry__lock *lock);
void ferry__os_signal_init(struct ferry__signal *signal);
void ferry__os_signal_end(struct ferry__signal *signal);
void ferry__os_signal_wait(struct ferry__signal *signal, struct ferry__lock *lock); /* waits */
void ferry__os_signal_one(struct ferry__signal *signal);
void ferry__os_signal_all(struct ferry__signal *signal);
/* The lock of the process's worker pool. */
struct ferry__lock *ferry__os_process_lock(void);

FERRY__OWN_END

#endif
