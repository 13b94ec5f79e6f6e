/* serve.h - what the echo servers and their load generator share besides their actual subject
 *
 * Each server is the same program from outside: it takes `--port N` (0: the system chooses) and
 * `--connections N` (how many to be ready for), prints "port N", echoes what it receives on
 * 127.0.0.1, and leaves by exit(0) on SIGTERM, so that a profiler gets to write down what it has
 * seen. How it waits and moves bytes is its own business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that one receive of a server may take. The largest message of the runner fits. */
enum { SERVE_BUFFER_BYTES = 65536 };

struct serve_options {
    uint16_t port;
    unsigned connections; /* that it should be ready for; more are served all the same */
    const char *backend;  /* NULL: as it comes; only Ferry's program knows more than one */
    unsigned measure;     /* Ferry's alone: FERRY_MEASURE_... */
};

/* Reads the command line; leaves with a message and status 2 if it is not valid. */
void serve_options_parse(struct serve_options *options, int argc, char **argv);

/* Tells the runner where the server listens. */
void serve_announce(uint16_t port);

/* Makes a listening socket that does not block, announces it, and lets SIGTERM end the program. */
int serve_listen(const struct serve_options *options);

/* What every server does to a new connection: small messages leave at once. */
void serve_accepted(int fd);

/* Memory for a connection, zeroed and aligned to a cache line; all of one size. Given back memory
 * is handed out again, the latest first. Large blocks of malloc() all begin at the same offset in a
 * page, so that the first bytes of all connections would compete for the same few lines of the
 * cache; these are spread over it. */
void *serve_connection_get(size_t bytes);
void serve_connection_put(void *connection);

/* Says what failed and why (error is an errno), and leaves with status 1. */
_Noreturn void serve_fail(const char *what, int error);

#endif
