/* support.h - what every contract test stands on
 *
 * The tests of the contract know ferry.h and this header, nothing else. A test gets its loop from
 * test_loop(), which opens it on the backend and with the masked features that the runner chose,
 * so that each test is written once and runs everywhere. One process runs one test (runner.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_SUPPORT_H
#define FERRY_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "ferry.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* Sanitizers cost a factor, and so does Wine, whose server does one thing after the other for all:
 * whoever waits for something waits longer there. */
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN
#define TEST_STRETCH 5
#elif defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN
#define TEST_STRETCH 5
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN
#define TEST_STRETCH 5
#elif __has_feature(address_sanitizer)
#define TEST_ASAN
#define TEST_STRETCH 5
#endif
#endif
#ifndef TEST_STRETCH
#ifdef _WIN32
#define TEST_STRETCH 4
#else
#define TEST_STRETCH 1
#endif
#endif

/* Threads of a process in which nobody has started one: ThreadSanitizer has one of its own. */
#ifdef TEST_TSAN
#define THREADS_ALONE 2
#else
#define THREADS_ALONE 1
#endif

/* An initializer of a ferry_vec, the order of whose members is the system's. */
#define VEC(at, bytes)                                                                             \
    { .data = (at), .len = (unsigned long)(bytes) }

/* One test. A table of them ends with {NULL, NULL, 0}; tables.h declares the tables. */
struct contract_test {
    const char *name;
    void (*run)(void **state);
    unsigned seconds_max; /* 0: 30; times TEST_STRETCH */
};

/* A program within this program: run in a process of its own by helper_run(), for what ends a
 * process or depends on its environment. What run() returns becomes the exit status. A table of
 * them ends with {NULL, NULL}. */
struct contract_helper {
    const char *name;
    int (*run)(void);
};

/* ---- The loop under test -------------------------------------------------------------------- */

ferry_loop *test_loop(void);                      /* asserts success */
ferry_loop *test_loop_with(ferry_config *config); /* on top of the caller's size, entries, ... */
const char *test_backend(void);
const char *test_masked(void); /* names as in ferry_config.disable, "" when nothing is masked */

/* Asserts that closing returns 0, and that what is masked was never used. */
void test_close(ferry_loop *loop);

/* Opens as test_loop_with() does, but hands the outcome back. */
int test_open(ferry_loop **loop, ferry_config *config);

/* Ends the test as skipped; the reason is shown. A skip that test/skips does not name is a failure.
 */
void test_skip(const char *reason);

/* Ends the test as skipped on Windows, or on Wine alone; says how it differs. */
void differs_on_windows(const char *how);
void differs_on_wine(const char *how);
int is_wine(void);

/* Whether a part of a test has to be left out, and only that: the same, and where the system has no
 * Unix sockets of that type, no symbolic links. What is left out is told in the test's output. */
int omits_on_windows(const char *how);
int omits_on_wine(const char *how);
int omits_unix(int type);
int omits_links(void);

/* End the test as skipped where the system has no Unix sockets of that type, no symbolic links, no
 * signals, no passing of descriptors through sockets, no bits of permission. */
void need_unix(int type);
void need_links(void);
void need_signals(void);
void need_passing(void);
void need_modes(void);

/* How often a feature of the loop was used, as ferry_loop_describe() tells; 0 if it has no such. */
uint64_t feature_uses(ferry_loop *loop, const char *feature);

/* ---- Probes: operations that write down what happened to them -------------------------- */

struct probe {
    ferry_op op;
    int calls;      /* callbacks */
    int finals;     /* those without FERRY_MORE */
    int64_t result; /* of the last callback, as the next three */
    uint64_t transferred;
    uint32_t flags;
    uint64_t called_ns; /* clock_ns() of the last callback */
    int order;          /* place of the last callback among all probes' of the process, from 1 */
};

void probe_done(ferry_op *op);

/* Run the loop, one turn after the other, until the final completion of p, or of each of count, and
 * fail the test after 20 seconds without it. */
void probe_wait(ferry_loop *loop, struct probe *p);
void probe_wait_all(ferry_loop *loop, struct probe *p, size_t count);

/* Asserts exactly one callback, with this result. */
void probe_check(const struct probe *p, int64_t result);

/* Runs turns until ns have passed. */
void run_for(ferry_loop *loop, uint64_t ns);

/* Runs until nothing is in flight that keeps the loop going, and asserts that it is so. */
void run_done(ferry_loop *loop);

/* The loop's counters. */
ferry_stats loop_stats(const ferry_loop *loop);

/* ---- Time, limits, descriptors --------------------------------------------------------- */

uint64_t clock_ns(void); /* CLOCK_MONOTONIC */
void sleep_ns(uint64_t ns);

/* Sets the soft limit RLIMIT_NOFILE; 0, or -1 if the hard limit is below. */
int set_fd_limit(unsigned n);

/* Open descriptors of this process; the first max of them are put into list if it is not NULL. */
size_t list_fds(ferry_fd *list, size_t max);

/* Threads of this process, without those that the kernel runs on its behalf. */
size_t count_threads(void);

/* Address space of this process in bytes. */
uint64_t address_space(void);

/* After a change of user: may this process be looked at again, as sanitizers do? */
void allow_tracing(void);

/* All made with plain system calls, blocking, close-on-exec, and asserted to work. */
ferry_fd plain_socket(int family, int type);
void plain_pipe(ferry_fd fds[2]);   /* read from the first, write to the second */
void waiting_pipe(ferry_fd fds[2]); /* the same; on Windows the reader's calls wait, whoever makes
                                       them, so that a worker has to */
ferry_fd plain_accept(ferry_fd listener); /* -1, with errno, if none waits on a non-blocking one */
void tcp_pair(ferry_loop *loop, ferry_fd fds[2]);
void unix_pair(ferry_fd fds[2], int type); /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
ferry_fd tcp_listener(ferry_addr *addr);   /* 127.0.0.1, a port that the system chose */

void set_nonblocking(ferry_fd fd);

/* Connects, though signals interrupt it. */
void plain_connect(ferry_fd fd, const ferry_addr *addr);

/* Plain and whole: assert that all len bytes went or came. */
void plain_send(ferry_fd fd, const void *buf, size_t len);
void plain_recv(ferry_fd fd, void *buf, size_t len);

/* Takes what is there without waiting: the bytes, 0 if there is nothing now, -1 at the end of the
 * stream, -2 on an error such as a reset. Pipes too. */
long plain_take(ferry_fd fd, void *buf, size_t len);

/* Sends zeros until no more fits; returns how many bytes did. From then on a send has to wait. */
size_t plain_stuff(ferry_fd fd);

/* A file in the test's directory, len bytes long, as fill() makes them; opened for both. */
ferry_fd temp_file(const char *name, size_t len, uint64_t seed);

/* Bytes that a TCP socket has been given and that its peer has not acknowledged. */
size_t unsent_bytes(ferry_fd fd);

/* Asserts that what is at FERRY_CURRENT stands at this offset of a file. Where the system keeps no
 * position it is read on for that; then it is at another. */
void position_check(ferry_loop *loop, ferry_fd fd, uint64_t at);

/* The file, at its beginning: the same descriptor, or where the system keeps no position another,
 * opened by its path to be read. */
ferry_fd rewound(ferry_fd fd, const char *path);

/* Tests whether a number is an open descriptor. */
int is_open(ferry_fd fd);

/* A path in a directory that is this test's own and that the runner removes with all in it. Static
 * memory, good for the next 7 calls too. */
char *temp_path(const char *name);

/* ---- Data ------------------------------------------------------------------------------ */

/* The same len and seed always give the same bytes; byte i depends on seed + i alone, so that
 * pieces can be checked with seed + offset. */
void fill(void *buf, size_t len, uint64_t seed);
int is_filled(const void *buf, size_t len, uint64_t seed);

/* ---- Processes ------------------------------------------------------------------------- */

struct helper_result {
    int exited; /* 1: ended by itself with status; 0: by signal */
    int status;
    int signal;
    char output[8192]; /* stdout and stderr, 0-terminated, cut */
};

/* Runs this program again as the helper of that name, on the same configuration. env: more
 * environment, "NAME=value", ends with NULL; may be NULL. Fails the test after 20 seconds. */
void helper_run(const char *name, const char *const *env, struct helper_result *result);
/* The same with a copy of this program. */
void helper_run_copy(const char *program, const char *name, const char *const *env,
                     struct helper_result *result);

/* Begins this program as a plain child of ours, of which Ferry knows nothing: argv (NULL-ended) as
 * child.c has it. streams: its input, output and errors, FERRY_FD_NONE for what ours is; NULL: all
 * ours. Returns the process, asserted to be there. */
pid_t plain_child(const char *const argv[], const ferry_fd streams[3]);

/* Asserts that this process has no child that has not been waited for; where the system keeps none
 * of those that have ended, none that is alive. */
void no_child_left(void);

/* fork(), asserted to work. AddressSanitizer's allocator stays locked in a child that was born
 * while another thread was in it, so there the other threads are let go to sleep first: a loop's
 * own have then begun, or done, what they allocate for. */
pid_t test_fork(void);

/* ---- For the runner
 * ------------------------------------------------------------------------------ */

struct test_setup {
    const char *program; /* this program, to be run again */
    const char *config;  /* "uring", "uring-no-name", "uring-no-all", "uring+alarm" */
    const char *directory;
};

/* Tells this process what it tests. 0, or -1 if there is no such configuration. */
int test_setup(const struct test_setup *setup);

/* Why the test was skipped; NULL if it did not say. */
const char *test_skip_reason(void);

#endif
