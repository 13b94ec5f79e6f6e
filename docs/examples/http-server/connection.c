/* connection.c - see connection.h
 *
 * A connection waits in one multishot receive, and holds no buffer: the pool lends one when there
 * is something to receive. A request that lies whole in a buffer is parsed there. Of one that comes
 * in pieces, the pieces are put together in memory of the connection's own, so that a slow client
 * keeps no buffer from the others. Answers go out in the order of the requests: what comes while
 * one is being answered waits, and a client that sends more than it reads is not read any more when
 * it has CREDIT buffers.
 *
 * A connection is freed when its socket is closed, which comes after all callbacks of operations on
 * it, and the exchange has ended, which may be waiting for a file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "connection.h"
#include "answer.h"
#include "server.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUFFER_BYTES = 2048,  /* most requests fit */
    BUFFER_COUNT = 32768, /* for 16,384 clients that do not read; never lent, no memory */
    CREDIT = 2,
    SPARE_MAX = 256
};

#define IDLE_NS 65000000000u /* how long a connection may be silent */
/* How long a request may take to come, once it has begun: looked at when more of it comes. */
#define HEAD_NS 20000000000u

struct connection {
    ferry_op receive, close;
    ferry_fd fd;                /* FERRY_FD_NONE once it is closing */
    ferry_buffer *first, *last; /* what has come and is not parsed yet; op.user links them */
    size_t parsed;              /* bytes of the first */
    char *partial;              /* a head that comes in pieces, else NULL */
    size_t partial_len;
    uint64_t partial_since_ns;
    struct exchange *exchange;
    bool is_ended; /* the client sends no more */
    bool is_closed;
};

static ferry_pool *pool;
static struct exchange *spare;
static unsigned spare_count;

/* ---- Exchanges ------------------------------------------------------------------------- */

static struct exchange *exchange_begin(struct connection *c) {
    struct exchange *x = spare;
    if (x != NULL) {
        spare = x->next;
        spare_count--;
    } else {
        x = need(malloc(sizeof *x));
        x->op = x->body = (ferry_op){0};
    }
    x->connection = c;
    x->file = NULL;
    x->is_second_try = x->is_cut = false;
    x->flying = 0;
    x->left = 0;
    c->exchange = x;
    return x;
}

static void exchange_free(struct exchange *x) {
    x->connection->exchange = NULL;
    if (spare_count == SPARE_MAX) {
        free(x);
    } else {
        x->next = spare;
        spare = x;
        spare_count++;
    }
}

/* ---- The end of a connection ----------------------------------------------------------- */

static void buffer_done(struct connection *c) {
    ferry_buffer *buffer = c->first;
    c->first = buffer->op.user;
    c->parsed = 0;
    ferry_pool_put(pool, buffer);
}

static void on_closed(ferry_op *op) {
    struct connection *c = ferry_container(op, struct connection, close);
    c->is_closed = true;
    if (c->exchange == NULL) free(c);
}

/* What was sent still reaches the client: ferry_close() sees to that. */
static void connection_close(struct connection *c) {
    if (c->fd == FERRY_FD_NONE) return;
    ferry_close(loop, &c->close, c->fd, 0, on_closed);
    c->fd = FERRY_FD_NONE;
    while (c->first != NULL) buffer_done(c);
    free(c->partial);
    c->partial = NULL;
}

/* ---- Finding requests ------------------------------------------------------------------ */

/* In a buffer, where it lies. Leaves the beginning of one that goes on in the next buffer. */
static enum http_parsed find_in_place(struct connection *c, struct http_request *request) {
    size_t used;
    const char *at = (char *)c->first->data + c->parsed;
    enum http_parsed parsed = http_parse(at, c->first->len - c->parsed, request, &used);
    c->parsed += used;
    if (parsed == HTTP_INCOMPLETE && c->parsed < c->first->len) {
        c->partial = need(malloc(HTTP_HEAD_MAX));
        c->partial_len = 0;
        c->partial_since_ns = ferry_now(loop);
    }
    return parsed;
}

/* With what has come before. */
static enum http_parsed find_in_pieces(struct connection *c, struct http_request *request) {
    size_t used, before = c->partial_len, room = HTTP_HEAD_MAX - before;
    size_t len = c->first->len - c->parsed;
    if (len > room) len = room;
    memcpy(c->partial + before, (char *)c->first->data + c->parsed, len);
    c->partial_len += len;
    enum http_parsed parsed = http_parse(c->partial, c->partial_len, request, &used);
    c->parsed += parsed == HTTP_REQUEST ? used - before : len; /* what is BAD is the last */
    if (parsed != HTTP_INCOMPLETE) {
        free(c->partial);
        c->partial = NULL;
    }
    return parsed;
}

static enum http_parsed request_find(struct connection *c, struct http_request *request) {
    enum http_parsed parsed = HTTP_INCOMPLETE;
    while (c->first != NULL && parsed == HTTP_INCOMPLETE) {
        parsed = c->partial == NULL ? find_in_place(c, request) : find_in_pieces(c, request);
        if (c->parsed == c->first->len) buffer_done(c);
    }
    return parsed;
}

/* Has the next request answered, if there is one and the one before is done. */
static void serve(struct connection *c) {
    if (c->exchange != NULL) return;
    struct exchange *x = exchange_begin(c);
    switch (request_find(c, &x->request)) {
    case HTTP_REQUEST: answer(x); return;
    case HTTP_BAD: answer_status(x, x->request.status, ""); return;
    case HTTP_INCOMPLETE: break;
    }
    exchange_free(x);
    bool is_late = c->partial != NULL && ferry_now(loop) - c->partial_since_ns > HEAD_NS;
    if (c->is_ended || is_late) connection_close(c);
}

/* ---- Events ---------------------------------------------------------------------------- */

static void buffer_add(struct connection *c, ferry_buffer *buffer) {
    buffer->op.user = NULL;
    if (c->first != NULL) {
        c->last->op.user = buffer;
    } else {
        c->first = buffer;
    }
    c->last = buffer;
}

static void on_received(ferry_op *op) {
    struct connection *c = ferry_container(op, struct connection, receive);
    ferry_buffer *buffer = ferry_lent(op);
    if (c->fd == FERRY_FD_NONE) { /* this was under way when the close began */
        if (buffer != NULL) ferry_pool_put(pool, buffer);
        return;
    }
    if (op->result == FERRY_ETIMEDOUT && c->exchange != NULL) {
        ferry_again(loop, op); /* it is we who are slow, or it is a large file */
        return;
    }
    if (op->result < 0) {
        connection_close(c);
        return;
    }
    if (buffer != NULL) buffer_add(c, buffer);
    if (!(op->flags & FERRY_MORE)) c->is_ended = true; /* it may still read answers */
    serve(c);
}

void connection_begin(ferry_fd fd) {
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        ferry_close(loop, NULL, fd, 0, NULL);
        return;
    }
    /* Else the last piece of an answer may wait for the client to confirm the one before. */
    ferry_socket_set(loop, fd, FERRY_OPT_NODELAY, 1);
    c->fd = fd;
    c->receive.deadline_ns = IDLE_NS;
    ferry_recv_pool(loop, &c->receive, fd, pool, FERRY_MULTI, on_received);
}

ferry_fd exchange_fd(const struct exchange *x) {
    return x->connection->fd;
}

void exchange_end(struct exchange *x, bool is_sent) {
    struct connection *c = x->connection;
    bool goes_on = is_sent && x->request.keep_alive;
    if (x->file != NULL) file_put(x->file);
    exchange_free(x);
    if (c->is_closed) {
        free(c);
    } else if (!goes_on) {
        connection_close(c);
    } else if (c->fd != FERRY_FD_NONE && (c->first != NULL || c->is_ended)) {
        serve(c);
    }
}

void connections_begin(void) {
    int error = ferry_pool_open(loop, &pool, BUFFER_COUNT, BUFFER_BYTES, CREDIT, 0);
    if (error < 0) fail("the pool", error);
}

int connections_end(void) {
    while (spare != NULL) {
        struct exchange *next = spare->next;
        free(spare);
        spare = next;
    }
    return ferry_pool_close(pool);
}
