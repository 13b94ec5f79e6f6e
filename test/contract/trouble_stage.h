/* trouble_stage.h - what the tests of trouble_*.c and ops_*.c share beyond support.h
 *
 * Two tables carry most of them. fd_kinds has a row for each operation that takes a descriptor, so
 * that "for each" in a test is a loop that no operation can be missing from. stages has a row for
 * each way in which an operation can wait: it brings the operation to the point where it waits for
 * ever, and can let it go on, so that cancel, deadline and close are proven on all of them alike.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_TROUBLE_STAGE_H
#define FERRY_TEST_TROUBLE_STAGE_H

#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* ---- Short forms ----------------------------------------------------------------------- */

/* Waits for the final completion of p, asserts that it came once and with this result. */
void expect(ferry_loop *loop, struct probe *p, int64_t result);

/* The same, with the flags and the bytes that it tells. */
void expect_all(ferry_loop *loop, struct probe *p, int64_t result, uint64_t transferred,
                uint32_t flags);

/* Closes a descriptor through the loop, asserts success. */
void close_near(ferry_loop *loop, ferry_fd fd);

/* Closes a descriptor that the loop never saw. */
void close_far(ferry_fd fd);

/* Has TCP answer what comes for this socket with a reset instead of an end of stream. */
void reset_far(ferry_fd fd);

/* Asserts that nothing is in flight, that the loop still carries data, and that it closes. */
void finish(ferry_loop *loop);

/* ---- The far side: plain system calls, nothing that blocks ----------------------------- */

/* Sends single bytes until not one more fits; returns how many went. */
size_t stuff(ferry_fd fd);

/* Reads what is there, at most len bytes; 0 when nothing is. *ended, 0 before, becomes -1 at the
 * end of the stream and the errno at a failure. */
size_t far_take(ferry_fd fd, void *buf, size_t len, int *ended);

/* Runs the loop while reading into buf until the stream ends; returns the bytes. *ended as above.
 */
size_t far_take_all(ferry_loop *loop, ferry_fd fd, void *buf, size_t len, int *ended);

/* Runs the loop until len bytes have come, asserts that they do. */
void far_expect(ferry_loop *loop, ferry_fd fd, void *buf, size_t len);

/* Sends everything, running the loop while the other side is full. */
void far_send(ferry_loop *loop, ferry_fd fd, const void *buf, size_t len);

/* A terminal, which passes on bytes as they are, and what is at its other end. */
void terminal_pair(ferry_fd *near, ferry_fd *far);

/* Writes single bytes until not one more fits; returns how many went. */
size_t terminal_stuff(ferry_fd near, ferry_fd far);

void set_buffers(ferry_fd fd, int bytes); /* SO_SNDBUF and SO_RCVBUF */

/* Makes a file with these bytes and opens it for reading and writing, unknown to the loop. */
ferry_fd make_file(const char *path, const void *data, size_t len);

/* A number that is no open descriptor and that no open will get by chance. */
ferry_fd closed_fd(void);

/* A socket with an address of its own on which nobody listens, for as long as it is open. */
ferry_fd dead_address(ferry_addr *addr);

/* len bytes of address space, zeros when read, without memory behind them. */
void *vast_map(size_t len);
void vast_unmap(void *map, size_t len);

/* Makes this process one that may lock 64 KiB of memory; for root no limit would hold, so that it
 * acts as somebody else until unlimit_memlock(). */
void limit_memlock(void);
void unlimit_memlock(void);

/* ---- Every operation that takes a descriptor ------------------------------------------- */

struct fd_kind {
    const char *name;
    void (*submit)(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags);
    unsigned flags; /* those that apply to it besides FERRY_BACKGROUND and FERRY_ABSOLUTE */
};

extern const struct fd_kind fd_kinds[]; /* ends with a NULL name */

/* ---- Every way to wait ----------------------------------------------------------------- */

struct stage {
    const struct stage_kind *kind;
    ferry_loop *loop;
    struct probe p;     /* waits */
    struct probe first; /* in the lane before it, where the kind says so */
    ferry_fd fd, far;   /* the descriptor that it waits on, and the other end */
    ferry_fd extra;     /* a connection that keeps a listener busy */
    char path[320];     /* of a FIFO */
    char buf[64];
    ferry_vec vecs[2];
    ferry_msg msg;
    uint64_t control[8];
    ferry_addr addr;
    int64_t pid; /* of a child, 0: none */
    ferry_exit how;
};

struct stage_kind {
    const char *name;
    void (*prepare)(struct stage *s);
    void (*submit)(struct stage *s, unsigned flags);
    void (*let)(struct stage *s); /* makes it succeed; NULL where only time does */
    int64_t result;               /* with what it ends then; -1: with a new descriptor */
    int posix_only;               /* 1: signals, FIFOs, terminals, forks, Unix sockets' own ways */
};

extern const struct stage_kind stages[]; /* ends with a NULL name */

/* Whether the system has nothing of the kind: it is passed over. */
int stage_is_absent(const struct stage_kind *kind);

/* A loop for stages: the stage of work needs a pool with a single thread. */
ferry_loop *stage_loop(void);

/* The one worker for files and names of such a loop, held: it waits for a page of memory that the
 * test has not filled in yet (userfaultfd(2), or an exception of Windows). Where there is no such
 * thing the test is skipped. */
struct held_worker {
    ferry_fd fault_fd;
    char *page;
    struct probe p;
};

void worker_hold(ferry_loop *loop, struct held_worker *held);
/* Lets it go; its own operation, the first of its class, may still have to be delivered. */
void worker_let_go(struct held_worker *held);
/* Waits for that, and gives all back. */
void worker_end(ferry_loop *loop, struct held_worker *held);

/* Prepares it, without submitting. */
void stage_open(struct stage *s, const struct stage_kind *kind, ferry_loop *loop);

void stage_submit(struct stage *s, unsigned flags);

/* Runs the loop for a moment and asserts that the operation still waits. */
void stage_waits(struct stage *s);

/* Waits for the end and asserts one completion with this result; the message names the stage. */
void stage_expect(struct stage *s, int64_t result);

/* Lets the operation go on, and asserts that it succeeds. */
void stage_let(struct stage *s);

/* Asserts a completion with error, or that the operation won the race and succeeded. */
void stage_expect_or_success(struct stage *s, int64_t error);

/* Whether it can be asked for again when it was ended: Windows does not tell how much of a write
 * into a pipe the reader has, so that no other may follow. */
int stage_goes_on(const struct stage *s);

/* Closes what the stage holds. */
void stage_close(struct stage *s);

#endif
