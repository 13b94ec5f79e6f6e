/* echo_server.c - sends back what it receives, to any number of peers, on one thread
 *
 *     echo_server [ADDRESS]        (127.0.0.1:7000; port 0 lets the system choose)
 *
 * A connection has one operation, which is either receiving or sending. Ctrl-C ends the server.
 */
#include <ferry.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct conn {
    ferry_op op;
    char buf[4096];
};

static ferry_loop *loop;
static int ending; /* what is in flight is meant to fail now */

static void conn_closed(ferry_op *op) {
    free(ferry_container(op, struct conn, op));
}

static void conn_received(ferry_op *op);

static void conn_sent(ferry_op *op) {
    struct conn *conn = ferry_container(op, struct conn, op);

    if (op->result < 0) ferry_close(loop, op, op->fd, 0, conn_closed);
    else ferry_recv(loop, op, op->fd, conn->buf, sizeof conn->buf, 0, conn_received);
}

static void conn_received(ferry_op *op) {
    struct conn *conn = ferry_container(op, struct conn, op);

    /* 0 is the end of the stream, below 0 an error: the loop drains, the peer has reset it, ... */
    if (op->result <= 0) ferry_close(loop, op, op->fd, 0, conn_closed);
    else ferry_send(loop, op, op->fd, conn->buf, (size_t)op->result, 0, conn_sent);
}

static void accepted(ferry_op *op) {
    if (op->result >= 0) {
        ferry_fd fd = (ferry_fd)op->result;
        struct conn *conn = calloc(1, sizeof *conn);

        if (conn) ferry_recv(loop, &conn->op, fd, conn->buf, sizeof conn->buf, 0, conn_received);
        else ferry_close(loop, NULL, fd, 0, NULL);
    }
    /* A peer that gave up before it was accepted is no reason to stop. Nor is a lack of
     * descriptors: that never comes here, the accept waits inside the library. */
    if (op->result >= 0 || op->result == FERRY_ECONNABORTED) ferry_again(loop, op);
    else if (!ending) fprintf(stderr, "%s\n", ferry_strerror(op->result));
}

static void interrupted(int number) {
    (void)number;
    ferry_stop(loop); /* safe in a signal handler */
}

int main(int argc, char **argv) {
    ferry_addr addr;
    ferry_fd listener;
    ferry_op accept = {0};
    char text[128];
    int error = ferry_loop_open(&loop, NULL);

    if (error == 0) error = ferry_addr_parse(&addr, argc > 1 ? argv[1] : "127.0.0.1:7000");
    if (error == 0) error = ferry_listen(loop, &listener, &addr, 0);
    if (error == 0) {
        signal(SIGINT, interrupted);
        signal(SIGTERM, interrupted);
        if (ferry_local_addr(loop, listener, &addr) == 0) {
            ferry_addr_format(&addr, text, sizeof text);
            printf("echoing on %s\n", text);
            fflush(stdout);
        }
        ferry_accept(loop, &accept, listener, NULL, 0, accepted);
        error = ferry_run(loop, FERRY_RUN_DONE);
        ending = 1;
        ferry_close(loop, NULL, listener, 0, NULL);
        /* Every receive and send ends with FERRY_ECANCELED, and its callback closes. */
        if (ferry_loop_drain(loop, 5000000000u) < 0) fprintf(stderr, "some did not end\n");
    }
    if (error < 0) fprintf(stderr, "echo_server: %s\n", ferry_strerror(error));
    ferry_loop_close(loop);
    return error < 0;
}
