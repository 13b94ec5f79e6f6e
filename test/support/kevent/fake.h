/* fake.h - a fake of kevent, after FreeBSD 12: what its files know of each other
 *
 * Written from FreeBSD's manual pages and from what test/kqueue/ found out on a FreeBSD kernel. It
 * is made as the kernel's is: one knote for each (ident, filter); a knote to which something has
 * happened goes to the end of its queue's list; whoever calls kevent() takes them from the front,
 * and each is asked once more whether there is something to tell. Level-triggered ones go back to
 * the end. What happens to descriptors comes from epoll, registered edge-triggered: an edge says
 * no more than that a knote is to be asked.
 *
 *   queue.c       kqueue(), kevent(): changes, collecting edges, handing out events, waiting
 *   knote.c       the table of knotes, what a change does, the list of those to be asked
 *   table.c       which numbers are queues; close(), dup(), fork() and what they do to knotes
 *   descriptor.c  EVFILT_READ, EVFILT_WRITE; what sockets say is in socket.c
 *   timer.c  user.c  process.c  signal.c  vnode.c    a filter each
 *
 * A queue has two epoll sets, since a descriptor can be in one of them once only and since reading
 * and writing have edges of their own. The one for reading contains the one for writing and all
 * else that wakes. The number that kqueue() returns is a duplicate of it, hence poll(), epoll and
 * other queues can wait for it; the queue works with its own number, which nobody can close.
 *
 * Not faked: EVFILT_AIO, PROCDESC, FS, LIO, SENDFILE, EMPTY (EINVAL); of EVFILT_PROC all but
 * NOTE_EXIT; NOTE_LOWAT for writing; a NOTE_ABSTIME timer does not see that the clock is set; a
 * blocked signal counts when it is delivered, not when it is sent; descriptors that are closed
 * without close() or dup2() (fclose(), closedir(), close_range()) keep their knotes, which say
 * nothing, until the number is registered anew; the backlog of a listener that is not TCP is 1; a
 * socket's error, which Linux tells only once, is guessed from its state and left where it is.
 * EVFILT_WRITE with EV_CLEAR tells of room again after there was none, where FreeBSD may do so at
 * each acknowledgement. A child made by posix_spawn() inherits the number unless it is FD_CLOEXEC.
 *
 * Linking: -Wl,--wrap for each of close, dup, dup2, dup3, fcntl, fcntl64, sigaction, signal, in
 * whatever contains calls to them (test/support/kevent/meson.build has it as a dependency).
 *
 * Locks: the table's, then a queue's, then those of the queues in it. Everything about a knote is
 * guarded by its queue's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_FAKE_H
#define FERRY_TEST_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sys/event.h"

struct fake_queue;
struct fake_knote;

/* ---- Filters ------------------------------------------------------------------------------- */

/* What the filters differ in. Called with the queue's lock held; an int is 0 or an errno. */
struct fake_filter {
    short number;
    bool is_descriptor; /* ident is one */

    int (*attach)(struct fake_knote *knote);
    void (*detach)(struct fake_knote *knote);

    /* A change to a knote that exists. */
    int (*touch)(struct fake_knote *knote, const struct kevent *change);

    /* Is there something to tell? Fills in fflags, data and state_flags if so. */
    bool (*ready)(struct fake_knote *knote);

    /* An EV_CLEAR knote was told. May be NULL. */
    void (*taken)(struct fake_knote *knote);
};

extern const struct fake_filter fake_read, fake_write, fake_vnode, fake_process, fake_signal,
    fake_timer, fake_user;

const struct fake_filter *fake_filter_find(short number); /* NULL: there is no such */

/* What a descriptor is, as far as readiness is concerned. */
enum fake_kind {
    FAKE_REGULAR,
    FAKE_DIRECTORY,
    FAKE_PIPE,
    FAKE_FIFO,
    FAKE_TERMINAL,
    FAKE_TCP,
    FAKE_UNIX_STREAM,
    FAKE_MESSAGES, /* datagrams, and packets in sequence */
    FAKE_QUEUE,
    FAKE_OTHER, /* eventfd, timerfd, ...: pollable */
};

struct fake_of_descriptor {
    enum fake_kind kind;
    struct fake_queue *inner; /* FAKE_QUEUE: it exists while its number is open */
    bool is_in_set;           /* registered with epoll */
    bool is_ended;            /* the end of the connection was told */
};

struct fake_of_vnode {
    struct fake_knote *next, *previous; /* in the queue's list */
    int watch, parent_watch;            /* -1: none */
    bool is_directory;
    bool is_deleted;
    nlink_t links;
    off_t bytes;
    unsigned notes; /* what has happened since it was last told */
};

struct fake_of_timer {
    int64_t due_ns;    /* on the monotonic clock */
    int64_t period_ns; /* 0: once */
    size_t place;      /* in the heap, from 1; 0: not there */
    int64_t count;     /* expirations that were not told yet */
};

struct fake_of_process {
    int pidfd; /* -1: it has been told */
};

struct fake_of_signal {
    struct fake_knote *next, *previous; /* in the queue's list */
    uint64_t seen;                      /* of all that came, the number that was told */
};

struct fake_of_user {
    bool is_triggered;
    unsigned fflags; /* the user's */
    int64_t data;
};

/* ---- Knotes -------------------------------------------------------------------------------- */

struct fake_knote {
    struct fake_queue *queue;
    const struct fake_filter *filter;
    struct fake_knote *next_in_bucket;
    struct fake_knote *next, *previous; /* in the list of those to be asked, if is_listed */
    uintptr_t ident;
    unsigned short flags; /* those of the first EV_ADD that events show */
    bool is_listed;
    bool is_disabled;

    /* What was asked for. */
    unsigned asked_fflags;
    int64_t asked_data;
    void *udata;
    uint64_t ext[4];

    /* What there is to tell. */
    unsigned fflags;
    int64_t data;
    unsigned short state_flags; /* EV_EOF, EV_ONESHOT */

    union {
        struct fake_of_descriptor descriptor;
        struct fake_of_timer timer;
        struct fake_of_process process;
        struct fake_of_signal signal;
        struct fake_of_user user;
    } of;
    struct fake_of_vnode vnode; /* EVFILT_VNODE, and EVFILT_READ on a file, which grows */
};

/* Applies a change: 0 or an errno. inner: the queue whose number ident is, if it is one. */
int fake_knote_change(struct fake_queue *queue, const struct kevent *change,
                      struct fake_queue *inner);

struct fake_knote *fake_knote_find(struct fake_queue *queue, uintptr_t ident, short filter);

/* Removes the knotes of a descriptor that is about to be closed. */
void fake_knote_forget(struct fake_queue *queue, int fd);

/* Removes it, or all of them. */
void fake_knote_drop(struct fake_knote *knote);
void fake_knote_drop_all(struct fake_queue *queue);

/* It is to be asked: puts it at the end of the list unless it is there, or disabled. */
void fake_knote_list(struct fake_knote *knote);
void fake_knote_unlist(struct fake_knote *knote);

/* ---- Queues -------------------------------------------------------------------------------- */

struct fake_queue {
    /* Guarded by the table's lock. */
    struct fake_queue *next_queue, *previous_queue;
    unsigned numbers; /* descriptors that it is known by */
    unsigned calls;   /* of kevent() that are under way */

    pthread_mutex_t lock; /* guards all that follows */
    int read_set;         /* its own duplicate of what kqueue() returned */
    int write_set;
    int bell;  /* an eventfd that is readable while the list is not empty */
    int timer; /* these three are -1 until they are needed */
    int inotify;
    int signal_bell; /* an eventfd that handlers write to */
    bool is_rung;    /* the bell is */
    bool is_news;    /* something was listed since the bell was last rung */

    struct fake_knote **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t knote_count;
    struct fake_knote *first, *last;
    size_t listed_count;

    struct fake_knote **heap; /* of timers, the next one first */
    size_t heap_count, heap_room;
    int64_t armed_ns; /* when the timer wakes; 0: never */

    struct fake_knote *vnodes, *signals; /* first of a list */
};

/* Lists all knotes to which something has happened. */
void fake_queue_collect(struct fake_queue *queue);

/* How many knotes have something to tell. Takes the lock. */
size_t fake_queue_count(struct fake_queue *queue);

/* Frees one that nobody knows any more. */
void fake_queue_destroy(struct fake_queue *queue);

/* ---- The table of queues ------------------------------------------------------------------- */

/* The queue of a number, held until it is let go; NULL: there is none. */
struct fake_queue *fake_table_hold(int number);
void fake_table_release(struct fake_queue *queue);

/* Adds a number to a queue: 0 or an errno. */
int fake_table_add(struct fake_queue *queue, int number);

/* Tells which queue has the number, and if one has, leaves the table locked. */
struct fake_queue *fake_table_lock_if(int number);
void fake_table_unlock(void);

/* ---- Descriptors of the fake's own --------------------------------------------------------- */

/* They are close-on-exec, out of the way of what a program opens, and a forked child closes them.
 * Takes a descriptor, or -1 with errno, and returns the one to use, or -1 with errno. */
int fake_own(int fd);
void fake_own_close(int *fd); /* and sets it to -1 */

int __real_close(int fd);

/* ---- Of one filter, used by others --------------------------------------------------------- */

int64_t fake_now_ns(void);
void fake_timer_expire(struct fake_queue *queue); /* lists those that are due */
void fake_timer_arm(struct fake_queue *queue);    /* for the next one */

int fake_vnode_watch(struct fake_knote *knote);
void fake_vnode_unwatch(struct fake_knote *knote);
void fake_vnode_collect(struct fake_queue *queue);

void fake_signal_collect(struct fake_queue *queue);
void fake_signal_forget(void); /* in a forked child */

/* How many signals this thread was interrupted by although it ignores them. */
unsigned fake_signal_ignored(void);

/* Sockets: what kind, and whether ready; data, fflags and EV_EOF are filled in. */
enum fake_kind fake_socket_kind(int fd);
bool fake_socket_readable(struct fake_knote *knote);
bool fake_socket_writable(struct fake_knote *knote);

#endif
