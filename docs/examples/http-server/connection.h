/* connection.h - connections, and the requests that come on them, one after the other
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "files.h"
#include "http.h"

#include <ferry.h>

enum { EXCHANGE_BYTES = 16384 };

struct connection;

/* A request and its answer. A connection has at most one, and none while it is idle. answer.c and
 * listing.c do with it what they like; when nothing of it is in flight any more it goes back to
 * connection.c by exchange_end(). */
struct exchange {
    struct connection *connection;
    struct http_request request;

    /* ---- answer.c's ---- */
    struct file *file; /* given back by exchange_end(), if there is one */
    struct file_user user;
    bool is_second_try;
    ferry_op op;      /* reads a small file; sends bytes */
    ferry_op body;    /* sends a large file, piece by piece */
    unsigned flying;  /* of the two, how many send */
    bool is_cut;      /* a send failed, or the file has become too short */
    uint64_t offset;  /* of the file: what is to be sent next, */
    uint64_t left;    /* and how much */
    size_t head_len;  /* bytes begin with a head so long, */
    size_t small_len; /* behind which so much of a small file is read */

    struct exchange *next; /* among the spare ones */
    char bytes[EXCHANGE_BYTES];
};

void connections_begin(void);

/* Returns the error with which the pool of buffers would not close; 0: all is gone. */
int connections_end(void);

/* Takes over a socket that was accepted. */
void connection_begin(ferry_fd fd);

/* Where the answer goes; FERRY_FD_NONE once the connection ends: what is submitted then fails. */
ferry_fd exchange_fd(const struct exchange *exchange);

/* The answer was sent, or it was not: then the connection ends, since the client could not tell
 * where the next answer begins. */
void exchange_end(struct exchange *exchange, bool is_sent);

#endif
