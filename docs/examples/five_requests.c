/* five_requests.c - five HTTP requests, all in flight on one thread
 *
 *     five_requests [ADDRESS]        (127.0.0.1:8080, where delay_server listens)
 *
 * The slowest request leaves first, and each callback says when its own answer has landed: they
 * land in the order of their delays, and all of them take no longer than the slowest alone.
 */
#include <ferry.h>

#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000u

enum { REQUEST_COUNT = 5, PATIENCE_MS = 30000 };

struct request {
    ferry_op connect, send, recv; /* all three are submitted at once */
    ferry_loop *loop;
    ferry_fd fd;
    unsigned delay_ms;
    uint64_t started_ns;
    const char *failed; /* the step that failed first, NULL so far */
    int64_t error;
    size_t len;
    char text[128];
    char answer[1024];
};

static unsigned answered_count;

static void fail(struct request *request, const char *step, int64_t error) {
    if (request->failed) return;
    request->failed = step;
    request->error = error;
}

static void connected(ferry_op *op) {
    struct request *request = ferry_container(op, struct request, connect);

    if (op->result < 0) fail(request, "connecting", op->result);
}

static void sent(ferry_op *op) {
    struct request *request = ferry_container(op, struct request, send);

    if (op->result < 0) fail(request, "sending", op->result);
}

/* Comes last: if connecting fails, the send and this one end with FERRY_ECANCELED after it. */
static void received(ferry_op *op) {
    struct request *request = ferry_container(op, struct request, recv);
    uint64_t ms = (ferry_now(request->loop) - request->started_ns) / NS_PER_MS;
    const char *body;

    if (op->result < 0) fail(request, "receiving", op->result);
    ferry_close(request->loop, NULL, request->fd, 0, NULL);
    if (request->failed) {
        printf("the %u ms one failed %s: %s\n", request->delay_ms, request->failed,
               ferry_strerror(request->error));
        return;
    }
    request->answer[op->result] = '\0';
    body = strstr(request->answer, "\r\n\r\n");
    if (strncmp(request->answer, "HTTP/1.1 200 ", 13) != 0 || !body) {
        printf("the %u ms one was refused: %s\n", request->delay_ms, request->answer);
        return;
    }
    answered_count++;
    printf("the %u ms one landed after %llu ms: %s", request->delay_ms, (unsigned long long)ms,
           body + 4);
}

/* Sends and receives may be handed over behind a connect: they wait for it in order. So the whole
 * exchange is three calls and no waiting. */
static int request_start(struct request *request, ferry_loop *loop, const ferry_addr *addr) {
    uint64_t patience_ns = (uint64_t)PATIENCE_MS * NS_PER_MS;
    int error = ferry_socket(loop, &request->fd, FERRY_INET, FERRY_STREAM);

    if (error < 0) return error;
    request->loop = loop;
    request->started_ns = ferry_now(loop);
    request->len = (size_t)snprintf(request->text, sizeof request->text,
                                    "GET /%u HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                    request->delay_ms);
    request->connect.deadline_ns = patience_ns;
    request->send.deadline_ns = patience_ns;
    request->recv.deadline_ns = patience_ns;
    ferry_connect(loop, &request->connect, request->fd, addr, 0, connected);
    ferry_send(loop, &request->send, request->fd, request->text, request->len, 0, sent);
    /* The server closes when it has answered: FERRY_ALL receives until then. */
    ferry_recv(loop, &request->recv, request->fd, request->answer, sizeof request->answer - 1,
               FERRY_ALL, received);
    return 0;
}

int main(int argc, char **argv) {
    static struct request requests[REQUEST_COUNT] = {
        {.delay_ms = 500}, {.delay_ms = 400}, {.delay_ms = 300},
        {.delay_ms = 200}, {.delay_ms = 100},
    };
    ferry_loop *loop;
    ferry_addr addr;
    int error = ferry_loop_open(&loop, NULL);

    if (error == 0) error = ferry_addr_parse(&addr, argc > 1 ? argv[1] : "127.0.0.1:8080");
    for (int i = 0; i < REQUEST_COUNT && error == 0; i++)
        error = request_start(&requests[i], loop, &addr);
    if (error == 0) {
        ferry_stats stats;

        ferry_loop_stats(loop, &stats, sizeof stats);
        printf("%llu operations in flight\n", (unsigned long long)stats.in_flight);
        error = ferry_run(loop, FERRY_RUN_DONE);
    }
    if (error < 0) fprintf(stderr, "five_requests: %s\n", ferry_strerror(error));
    /* Nothing is in flight any more, unless something went wrong above. */
    if (ferry_loop_close(loop) < 0) {
        ferry_loop_drain(loop, (uint64_t)PATIENCE_MS * NS_PER_MS);
        ferry_loop_close(loop);
    }
    return error < 0 || answered_count < REQUEST_COUNT;
}
