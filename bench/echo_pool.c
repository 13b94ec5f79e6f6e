/* echo_pool.c - the subject with a buffer pool: a connection is one operation, and nothing else
 *
 * One multishot accept, one multishot receive per connection. What arrives is in a buffer that is
 * lent for it and goes back with the send of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "backend.h"
#include "serve.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { POOL_BYTES_MAX = 16 << 20 };

static ferry_loop *loop;
static ferry_pool *pool;

static _Noreturn void fail(const char *what, int64_t error) {
    fprintf(stderr, "%s: %s\n", what, ferry_strerror(error));
    exit(1);
}

static void on_received(ferry_op *receive) {
    ferry_buffer *buffer = ferry_lent(receive);
    if (buffer != NULL) {
        ferry_send(loop, &buffer->op, receive->fd, buffer->data, buffer->len, FERRY_PUT, NULL);
    }
    if (receive->flags & FERRY_MORE) return;
    ferry_close(loop, NULL, receive->fd, 0, NULL);
    serve_connection_put(receive);
}

static void on_accepted(ferry_op *op) {
    if (op->result >= 0) {
        serve_accepted((ferry_fd)op->result);
        ferry_op *receive = serve_connection_get(sizeof *receive);
        ferry_recv_pool(loop, receive, (ferry_fd)op->result, pool, FERRY_MULTI, on_received);
    } else if (op->result != FERRY_ECANCELED) {
        fail("accept", op->result);
    }
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
    signal(SIGTERM, on_signal);

    size_t count = (size_t)options.connections * 2;
    if (count > POOL_BYTES_MAX / SERVE_BUFFER_BYTES) count = POOL_BYTES_MAX / SERVE_BUFFER_BYTES;
    int error = ferry_pool_open(loop, &pool, count, SERVE_BUFFER_BYTES, 0, 0);
    if (error < 0) fail("pool", error);

    ferry_op accept = {0};
    ferry_fd listener = listen_on(options.port);
    ferry_accept(loop, &accept, listener, NULL, FERRY_MULTI, on_accepted);
    error = ferry_run(loop, FERRY_RUN_DONE);
    if (error < 0) fail("run", error);

    ferry_close(loop, NULL, listener, 0, NULL);
    error = ferry_loop_drain(loop, 5000000000u);
    if (error < 0) fail("drain", error);
    error = ferry_pool_close(pool);
    if (error == 0) error = ferry_loop_close(loop);
    if (error < 0) fail("close", error);
    return 0;
}
