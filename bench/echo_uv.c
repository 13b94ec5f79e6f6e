/* echo_uv.c - the peer: a TCP echo server on libuv
 *
 * Written as its users write it when they care: the receive buffer is one static block that
 * alloc_cb hands out again and again, the answer goes out with uv_try_write(), which needs no
 * request, and only what the socket does not take at once is copied and queued with uv_write().
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct queued_write {
    uv_write_t request;
    char bytes[];
};

static char shared[SERVE_BUFFER_BYTES];

static _Noreturn void fail(const char *what, int error) {
    fprintf(stderr, "%s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)handle;
    (void)suggested;
    buf->base = shared;
    buf->len = sizeof shared;
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void drop(uv_stream_t *stream) {
    if (!uv_is_closing((uv_handle_t *)stream)) uv_close((uv_handle_t *)stream, on_closed);
}

static void on_written(uv_write_t *request, int status) {
    if (status < 0) drop(request->handle);
    free(request);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
    if (got == 0) return;
    if (got < 0) {
        drop(stream);
        return;
    }
    uv_buf_t answer = uv_buf_init(buf->base, (unsigned)got);
    int sent = uv_try_write(stream, &answer, 1);
    if (sent == (int)got) return;
    if (sent < 0) {
        if (sent != UV_EAGAIN) {
            drop(stream);
            return;
        }
        sent = 0;
    }
    size_t left = (size_t)got - (size_t)sent;
    struct queued_write *write = malloc(sizeof *write + left);
    if (write == NULL) serve_fail("malloc", ENOMEM);
    memcpy(write->bytes, buf->base + sent, left);
    uv_buf_t rest = uv_buf_init(write->bytes, (unsigned)left);
    int error = uv_write(&write->request, stream, &rest, 1, on_written);
    if (error < 0) {
        free(write);
        drop(stream);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) fail("listen", status);
    uv_tcp_t *connection = malloc(sizeof *connection);
    if (connection == NULL) serve_fail("malloc", ENOMEM);
    int error = uv_tcp_init(listener->loop, connection);
    if (error < 0) fail("uv_tcp_init", error);
    error = uv_accept(listener, (uv_stream_t *)connection);
    if (error < 0) fail("uv_accept", error);
    uv_tcp_nodelay(connection, 1);
    error = uv_read_start((uv_stream_t *)connection, on_alloc, on_read);
    if (error < 0) fail("uv_read_start", error);
}

int main(int argc, char **argv) {
    struct serve_options options;
    serve_options_parse(&options, argc, argv);
    uv_loop_t loop;
    uv_tcp_t listener;
    int error = uv_loop_init(&loop);
    if (error < 0) fail("uv_loop_init", error);
    error = uv_tcp_init(&loop, &listener);
    if (error < 0) fail("uv_tcp_init", error);
    int fd = serve_listen(&options);
    error = uv_tcp_open(&listener, fd);
    if (error < 0) fail("uv_tcp_open", error);
    error = uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection);
    if (error < 0) fail("uv_listen", error);
    return uv_run(&loop, UV_RUN_DEFAULT);
}
