/* echo_ferry.c - the subject: a TCP echo server on Ferry
 *
 * A connection has one operation that receives and one that sends, and a buffer: as soon as that is
 * filled the receive goes on into another, and the answer is sent. What arrives while an
 * answer is still under way waits until that has gone, so that a peer that does not read is read
 * from no more.
 *
 * SPDX-License-Identifier: MIT
 */
#include "backend.h"
#include "serve.h"

#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct buffer {
    struct buffer *next; /* unused, too */
    alignas(64) char bytes[SERVE_BUFFER_BYTES];
};

struct connection {
    ferry_op receive;
    ferry_op send;
    struct buffer *filling; /* that is filled, or was filled last */
    struct buffer *sending; /* NULL: nothing is being sent */
    size_t waiting;         /* bytes in filling that wait for the send before */
    bool closing;
};

static ferry_loop *loop;
static bool ending; /* what is in flight is meant to fail now */

static _Noreturn void fail(const char *what, int64_t error) {
    fprintf(stderr, "%s: %s\n", what, ferry_strerror(error));
    exit(1);
}

static struct buffer *unused; /* the latest first: it is in the cache */

static struct buffer *buffer_get(void) {
    struct buffer *buffer = unused;
    if (buffer == NULL) return serve_connection_get(sizeof *buffer);
    unused = buffer->next;
    return buffer;
}

static void buffer_put(struct buffer *buffer) {
    buffer->next = unused;
    unused = buffer;
}

static void on_closed(ferry_op *op) {
    struct connection *connection = op->user;
    buffer_put(connection->filling);
    free(connection);
}

/* The operation whose callback runs is idle, and carries the close. The other one ends before it
 * completes. */
static void drop(struct connection *connection, ferry_op *op) {
    if (connection->closing) return;
    connection->closing = true;
    op->user = connection;
    ferry_close(loop, op, op->fd, 0, on_closed);
}

static void on_received(ferry_op *op);
static void on_sent(ferry_op *op);

static void turn_over(struct connection *connection, ferry_fd fd, size_t bytes) {
    connection->sending = connection->filling;
    connection->filling = buffer_get();
    ferry_recv(loop, &connection->receive, fd, connection->filling->bytes, SERVE_BUFFER_BYTES, 0,
               on_received);
    ferry_send(loop, &connection->send, fd, connection->sending->bytes, bytes, 0, on_sent);
}

static void on_received(ferry_op *op) {
    struct connection *connection = ferry_container(op, struct connection, receive);
    if (op->result <= 0) {
        drop(connection, op);
    } else if (connection->sending != NULL) {
        connection->waiting = (size_t)op->result;
    } else {
        turn_over(connection, op->fd, (size_t)op->result);
    }
}

static void on_sent(ferry_op *op) {
    struct connection *connection = ferry_container(op, struct connection, send);
    size_t waiting = connection->waiting;
    buffer_put(connection->sending);
    connection->sending = NULL;
    if (op->result < 0) {
        drop(connection, op);
    } else if (waiting != 0 && !connection->closing) {
        connection->waiting = 0;
        turn_over(connection, op->fd, waiting);
    }
}

static void on_accepted(ferry_op *op) {
    if (op->result >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        ferry_fd fd = (ferry_fd)op->result;
        if (connection == NULL) serve_fail("calloc", ENOMEM);
        serve_accepted(fd);
        connection->filling = buffer_get();
        ferry_recv(loop, &connection->receive, fd, connection->filling->bytes, SERVE_BUFFER_BYTES,
                   0, on_received);
    } else if (ending) {
        return;
    } else if (op->result != FERRY_ECONNABORTED) {
        fail("accept", op->result);
    }
    ferry_again(loop, op);
}

static void on_signal(int number) {
    (void)number;
    ferry_stop(loop);
}

static ferry_fd listen_on(uint16_t port) {
    ferry_addr addr;
    ferry_fd listener;
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    int error = ferry_addr_parse(&addr, text);
    if (error == 0) error = ferry_listen(loop, &listener, &addr, 0);
    if (error == 0) error = ferry_local_addr(loop, listener, &addr);
    if (error < 0) fail("listen", error);
    serve_announce((uint16_t)ferry_addr_port(&addr));
    return listener;
}

int main(int argc, char **argv) {
    struct serve_options options;
    serve_options_parse(&options, argc, argv);
    loop = backend_open(options.backend);
    int measuring = ferry_loop_measure(loop, options.measure);
    if (measuring < 0) fail("measure", measuring);
    signal(SIGTERM, on_signal);

    ferry_op accept = {0};
    ferry_fd listener = listen_on(options.port);
    ferry_accept(loop, &accept, listener, NULL, 0, on_accepted);
    int error = ferry_run(loop, FERRY_RUN_DONE);
    if (error < 0) fail("run", error);

    ending = true;
    ferry_close(loop, NULL, listener, 0, NULL);
    error = ferry_loop_drain(loop, 5000000000u);
    if (error < 0) fail("drain", error);
    error = ferry_loop_close(loop);
    if (error < 0) fail("close", error);
    return 0;
}
