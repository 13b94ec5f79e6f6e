/* delay_server.c - an HTTP server that takes its time: GET /300 is answered after 300 ms
 *
 *     delay_server [ADDRESS]        (127.0.0.1:8080; port 0 lets the system choose)
 *
 * A connection goes through four steps, each one operation and the callback that starts the next:
 * receive the request, wait, send the answer, close. One struct, one operation for all of them, and
 * a thousand connections wait side by side on one thread. Ctrl-C ends the server.
 */
#include <ferry.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000u

enum { DELAY_MAX_MS = 60000, REQUEST_TIME_MS = 10000 };

struct conn {
    ferry_op op;
    ferry_fd fd;
    size_t len; /* of the request so far, then of the answer */
    char buf[4096];
};

static ferry_loop *loop;
static int ending; /* what is in flight is meant to fail now */

static void conn_closed(ferry_op *op) {
    free(ferry_container(op, struct conn, op));
}

static void conn_close(struct conn *conn) {
    conn->op.deadline_ns = 0; /* the library's own patience with unread input will do */
    ferry_close(loop, &conn->op, conn->fd, 0, conn_closed);
}

static void answer_sent(ferry_op *op) {
    conn_close(ferry_container(op, struct conn, op));
}

static void answer_send(struct conn *conn, const char *status, const char *body) {
    int len = snprintf(conn->buf, sizeof conn->buf,
                       "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                       "Connection: close\r\n\r\n%s",
                       status, strlen(body), body);

    conn->len = (size_t)len;
    conn->op.deadline_ns = (uint64_t)REQUEST_TIME_MS * NS_PER_MS;
    ferry_send(loop, &conn->op, conn->fd, conn->buf, conn->len, 0, answer_sent);
}

static void waited(ferry_op *op) {
    struct conn *conn = ferry_container(op, struct conn, op);
    char body[64];

    if (op->result < 0) {
        conn_close(conn); /* the loop drains */
        return;
    }
    /* The request is still in buf: nothing was copied. */
    snprintf(body, sizeof body, "after %lu ms\n", strtoul(conn->buf + 5, NULL, 10));
    answer_send(conn, "200 OK", body);
}

/* "GET /300 HTTP/1.1": the milliseconds, or -1 if it is something else. */
static long request_delay_ms(const char *request) {
    char *end;
    unsigned long ms;

    if (strncmp(request, "GET /", 5) != 0 || request[5] < '0' || request[5] > '9') return -1;
    ms = strtoul(request + 5, &end, 10);
    if (*end != ' ' || ms > DELAY_MAX_MS) return -1;
    return (long)ms;
}

static void request_received(ferry_op *op) {
    struct conn *conn = ferry_container(op, struct conn, op);
    long ms;

    if (op->result <= 0) {
        conn_close(conn);
        return;
    }
    conn->len += (size_t)op->result;
    conn->buf[conn->len] = '\0';
    if (!strstr(conn->buf, "\r\n\r\n")) {
        size_t room = sizeof conn->buf - 1 - conn->len;

        if (room == 0) answer_send(conn, "431 Request Header Fields Too Large", "too long\n");
        else
            ferry_recv(loop, op, conn->fd, conn->buf + conn->len, room, op->asked,
                       request_received);
        return;
    }
    ms = request_delay_ms(conn->buf);
    if (ms < 0) {
        answer_send(conn, "400 Bad Request", "GET /<milliseconds up to 60000>, please\n");
        return;
    }
    conn->op.deadline_ns = 0; /* else the timer itself would end with FERRY_ETIMEDOUT */
    ferry_timer(loop, op, (uint64_t)ms * NS_PER_MS, 0, 0, waited);
}

static void accepted(ferry_op *op) {
    if (op->result >= 0) {
        struct conn *conn = calloc(1, sizeof *conn);

        if (conn) {
            conn->fd = (ferry_fd)op->result;
            /* A point in time, so that a peer cannot stretch it by sending a byte now and then. */
            conn->op.deadline_ns = ferry_now(loop) + (uint64_t)REQUEST_TIME_MS * NS_PER_MS;
            ferry_recv(loop, &conn->op, conn->fd, conn->buf, sizeof conn->buf - 1, FERRY_ABSOLUTE,
                       request_received);
        } else {
            ferry_close(loop, NULL, (ferry_fd)op->result, 0, NULL);
        }
    }
    if (op->result >= 0 || op->result == FERRY_ECONNABORTED) ferry_again(loop, op);
    else if (!ending) fprintf(stderr, "%s\n", ferry_strerror(op->result));
}

static void interrupted(int number) {
    (void)number;
    ferry_stop(loop); /* safe in a signal handler */
}

static int serve(ferry_fd listener) {
    static ferry_op accept; /* static, so that it outlives a drain that did not get everything */
    ferry_addr addr;
    char text[128];
    int error;

    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
    error = ferry_local_addr(loop, listener, &addr);
    if (error < 0) return error;
    ferry_addr_format(&addr, text, sizeof text);
    printf("delaying on %s\n", text);
    fflush(stdout);

    ferry_accept(loop, &accept, listener, NULL, 0, accepted);
    error = ferry_run(loop, FERRY_RUN_DONE);
    ending = 1;
    ferry_close(loop, NULL, listener, 0, NULL);
    /* Everything under way ends with FERRY_ECANCELED, and its callback closes. */
    if (ferry_loop_drain(loop, (uint64_t)REQUEST_TIME_MS * NS_PER_MS) < 0) {
        fprintf(stderr, "some connections did not end\n");
    }
    return error;
}

int main(int argc, char **argv) {
    ferry_addr addr;
    ferry_fd listener;
    int error = ferry_loop_open(&loop, NULL);

    if (error == 0) error = ferry_addr_parse(&addr, argc > 1 ? argv[1] : "127.0.0.1:8080");
    if (error == 0) error = ferry_listen(loop, &listener, &addr, 0);
    if (error == 0) error = serve(listener);
    if (error < 0) fprintf(stderr, "delay_server: %s\n", ferry_strerror(error));
    ferry_loop_close(loop);
    return error < 0;
}
