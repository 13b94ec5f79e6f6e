/* backend.h - the narrow waist between the core and a system.
 *
 * A backend takes operations, carries them out and puts records on the loop's ring. Its rules, each
 * with a test: one final record per accepted operation; no user code runs inside; after the final
 * record neither the operation nor its buffer is touched; results are in our error numbers;
 * everything that the kernel reads by address lives in the operation, in the user's memory or in
 * scratch that outlives the call; no queue of its own that can outgrow its limit.
 *
 * All members are called by the loop's thread but for wake.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_BACKEND_H
#define FERRY_BACKEND_H

#include "ferry.h"
#include "port.h"

#include <stdbool.h>

FERRY__OWN_BEGIN

/* What a backend has to say about an operation. The layout is that of io_uring's completion entry,
 * so that the kernel's own queue can be the loop's ring. */
struct ferry__record {
    ferry_op *op;
    int32_t result; /* bytes, a descriptor or 0; below 0 an error: only read() knows which */
    uint32_t flags; /* RECORD_... and whatever the backend keeps there for itself */
};

enum {
    RECORD_BUFFER = 1u << 0,       /* the data is in a pool's buffer: RECORD_BUFFER_SHIFT */
    RECORD_MORE = 1u << 1,         /* a multishot operation is still with the backend */
    RECORD_MORE_THERE = 1u << 2,   /* a receive left something behind */
    RECORD_NOTICE = 1u << 3,       /* of a zero-copy send, for each record of it with RECORD_MORE:
                                      its memory is free again; result 0: nothing was copied */
    RECORD_INTERRUPTED = 1u << 12, /* by read(): nothing happened, to be tried again */
    RECORD_NO_BUFFER = 1u << 14,   /* by read(): the same, for want of a buffer of its pool */
    RECORD_NOT_READY = 1u << 13,   /* by read(): the same, and it has to wait for readiness first */
    RECORD_EOF = 1u << 15,         /* a sendfile's file has ended */
    RECORD_BLOCKS = 1u << 11,      /* nothing happened: a worker has to do it */
    RECORD_BUFFER_SHIFT = 16,      /* from here on: the buffer's number in its pool, */
    RECORD_KIND_SHIFT = 16         /* or by read(), of an open: enum ferry__fd_kind, 0 unknown */
};

/* The ring of records: the backend moves the tail, the loop the head. */
struct ferry__records {
    const struct ferry__record *at;
    uint32_t mask, head, tail;
};

/* How a loop was asked to be opened, as far as backends care. */
struct ferry__options {
    uint32_t submission_entries, completion_entries;
    const char *disable[2]; /* comma separated lists of features, NULL none */
    enum ferry_adapter adapter;
    bool has_alternative; /* if it is refused another backend is tried: no reason to wait */
};

/* Why a backend cannot be used here; open() gives FERRY_ENOTSUP then, whatever the error was. */
struct ferry__refused {
    int error;          /* FERRY_E... */
    const char *reason; /* a sentence, static */
};

/* What a backend can do with a kind of operation. */
enum ferry__support {
    SUPPORT_NONE,
    SUPPORT_NATIVE,  /* submit takes it */
    SUPPORT_BLOCKING /* a worker has to do it: ferry__os_perform() */
};

/* How a loop lives inside another: one descriptor, readable when there is something to do. By the
 * loop's thread, between runs. */
struct ferry__embedding {
    /* Makes the descriptor at the first call. Its number, or an error. */
    ferry_fd (*open)(ferry_loop *loop);
    /* Makes it unreadable. Records that come from here on make it readable, and so does wake. False
     * if something has come meanwhile. */
    bool (*clear)(ferry_loop *loop);
    /* Makes it readable, once more if it is: each time is an edge. */
    void (*raise)(ferry_loop *loop);
    /* It has been cleared: makes it readable at deadline, or earlier. UINT64_MAX: never. */
    void (*alarm)(ferry_loop *loop, uint64_t deadline);
};

struct ferry__backend {
    const char *name;
    /* Sets loop->system, loop->support and loop->records. 0 or an error, *why says which and why.
     * Makes all it needs. */
    int (*open)(ferry_loop *loop, const struct ferry__options *options, struct ferry__refused *why);
    /* Nothing is in flight. In a forked child (forked) only memory is freed. */
    void (*close)(ferry_loop *loop, bool forked);
    /* The thread that calls this will make all later calls. 0 or an error. */
    int (*adopt)(ferry_loop *loop);
    /* Takes one operation: true, or false if there is no room just now. */
    bool (*submit)(ferry_loop *loop, ferry_op *op);
    /* The same for a plain receive, and for a plain send after begin: most of what servers do, and
     * there is nothing about them to find out. */
    bool (*submit_receive)(ferry_loop *loop, ferry_op *op);
    bool (*submit_send)(ferry_loop *loop, ferry_op *op);
    /* Takes the first `count` sends of a lane, to be sent in one call; the record names the first.
     */
    bool (*submit_gathered)(ferry_loop *loop, ferry_op *first, unsigned count);
    /* Asks that an accepted operation end soon: a hint. False if there was no room to say so. */
    bool (*cancel)(ferry_loop *loop, ferry_op *op);
    /* Optional: a turn begins to hand over what was submitted: submit and cancel, then wait. */
    void (*begin)(ferry_loop *loop);
    /* Hands over what was taken, waits until the loop's clock says deadline (0: not at all,
     * UINT64_MAX: for ever) or something has come, and puts down records. 0 or an error. */
    int (*wait)(ferry_loop *loop, uint64_t deadline);
    /* Puts a record that is not plain success into the core's words, our error numbers above all.
     * False if it concerns none of the loop's operations. */
    bool (*read)(ferry_loop *loop, struct ferry__record *record);
    /* Makes a wait return. Any thread, signal handlers too; cannot fail; may coalesce. */
    void (*wake)(ferry_loop *loop);
    /* The names of the optional features, NULL after the last. */
    const char *(*feature)(unsigned index);
    /* Refreshes loop->description. */
    void (*describe)(ferry_loop *loop);
    /* Optional: the loop lets go of an idle descriptor, which stays open. */
    void (*forget)(ferry_loop *loop, ferry_fd fd);
    /* Optional: a number has come from the system, and stands for something new. */
    void (*claimed)(ferry_loop *loop, ferry_fd fd);
    /* Optional: a worker is done with what ferry__work_own() was given. */
    void (*worked)(ferry_loop *loop, ferry_op *op, int64_t outcome);
    /* Optional: the system picks buffers of a pool by itself. Opening sets offer_max, group and
     * ring, or leaves them at 0; offer gives it one more. */
    void (*pool_open)(ferry_loop *loop, ferry_pool *pool);
    bool (*pool_picks)(const ferry_loop *loop, const ferry_op *op); /* for this operation, too? */
    void (*pool_offer)(ferry_pool *pool, const ferry_buffer *buffer);
    void (*pool_close)(ferry_loop *loop, ferry_pool *pool, bool forked);
    unsigned gather_max;                  /* most sends that submit_gathered takes, 0: none */
    const struct ferry__embedding *embed; /* NULL: cannot be embedded */
    /* Registers count pieces of memory, in the order of their addresses; lets go of them. NULL: it
     * cannot. 0 or an error. */
    int (*buffers_register)(ferry_loop *loop, const ferry_vec *pieces, size_t count);
    int (*buffers_unregister)(ferry_loop *loop);
};

/* In order of preference; ends with NULL. Written by the build. */
extern const struct ferry__backend *const ferry__backends[];

/* Is feature `name` named in one of the lists (or "all")? */
bool ferry__disabled(const struct ferry__options *options, const char *name);

FERRY__OWN_END

#endif
