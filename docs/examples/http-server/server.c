/* server.c - a server of static files
 *
 *     http-server [ADDRESS [DIRECTORY]]     (127.0.0.1:8080 and the current one; port 0 lets the
 *                                            system choose)
 *
 * GET and HEAD, keep-alive and pipelining, ranges, conditional requests; a directory's index.html,
 * or a list of what is in it. Ctrl-C ends the server.
 *
 *     server.c       listens, accepts, ends
 *     connection.c   receives, and finds the requests in what has come
 *     http_parse.c   what a client asks for
 *     files.c        opens files beneath the root, and keeps them open for a second
 *     answer.c       heads and files, to the client
 *     listing.c      directories, to the client
 *     http_words.c   dates, tags, media types
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"
#include "connection.h"
#include "files.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAIN_NS 20000000000u /* much more than the end should take */

ferry_loop *loop;
static bool is_ending; /* what is in flight is meant to fail now */

void fail(const char *what, int64_t error) {
    fprintf(stderr, "http-server: %s: %s\n", what, ferry_strerror(error));
    exit(1);
}

void *need(void *memory) {
    if (memory == NULL) fail("memory", FERRY_ENOMEM);
    return memory;
}

static void on_accepted(ferry_op *op) {
    if (op->result >= 0) connection_begin((ferry_fd)op->result);
    if (op->flags & FERRY_MORE || is_ending) return;
    /* A peer that gave up before it was accepted is no reason to stop. Nor is a lack of
     * descriptors: that never comes here, the accept waits inside the library. */
    if (op->result < 0 && op->result != FERRY_ECONNABORTED) fail("accept", op->result);
    ferry_again(loop, op);
}

static void on_signal(ferry_op *op) {
    (void)op;
    ferry_stop(loop);
}

static void on_root(ferry_op *op) {
    if (op->result < 0) fail("the directory", op->result);
    files_begin((ferry_fd)op->result);
}

static ferry_fd listen_on(const char *address) {
    ferry_addr addr;
    ferry_fd listener;
    char text[128];
    int error = ferry_addr_parse(&addr, address);
    if (error == 0) error = ferry_listen(loop, &listener, &addr, 0);
    if (error == 0) error = ferry_local_addr(loop, listener, &addr);
    if (error < 0) fail(address, error);
    ferry_addr_format(&addr, text, sizeof text);
    printf("serving on %s\n", text);
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    static ferry_op accept, open, interrupt, terminate;
    int error = ferry_loop_open(&loop, NULL);
    if (error < 0) fail("no loop", error);
    connections_begin();
    ferry_open(loop, &open, argc > 2 ? argv[2] : ".", FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY, 0, 0,
               on_root);
    ferry_run(loop, FERRY_RUN_DONE);

    ferry_signal(loop, &interrupt, SIGINT, 0, on_signal);
    ferry_signal(loop, &terminate, SIGTERM, 0, on_signal);
    ferry_fd listener = listen_on(argc > 1 ? argv[1] : "127.0.0.1:8080");
    ferry_accept(loop, &accept, listener, NULL, FERRY_MULTI, on_accepted);
    error = ferry_run(loop, FERRY_RUN_DONE);
    if (error < 0) fail("the loop", error);

    /* All that is in flight ends with FERRY_ECANCELED, and each callback lets go of what it has.
     * Then nobody asks for files any more; to close them is still possible. */
    is_ending = true;
    ferry_close(loop, NULL, listener, 0, NULL);
    error = ferry_loop_drain(loop, DRAIN_NS);
    files_end();
    ferry_close(loop, NULL, (ferry_fd)open.result, 0, NULL);
    if (error == 0) error = ferry_loop_drain(loop, DRAIN_NS);
    if (error == 0) error = connections_end();
    if (error == 0) error = ferry_loop_close(loop);
    if (error < 0) fail("the end", error);
    return 0;
}
