/* load.c - the load generator of the echo measurements, driven by the runner through pipes
 *
 * It keeps connections open to several servers at once and loads one at a time for a short slice,
 * so that servers can be compared within the same second. Every byte that comes back is compared
 * with what was sent. Commands come on stdin, one answer each goes to stdout:
 *
 *   open PORT CONNECTIONS BYTES DEPTH   "opened INDEX": messages of BYTES, DEPTH in flight each
 *   slice INDEX MILLISECONDS            "slice MESSAGES NS P50_NS P99_NS"
 *   count INDEX MESSAGES                the same, for so many messages
 *   close INDEX                         "closed INDEX"
 *
 * A slice ends when all that was sent has come back: the server is idle then, and its CPU time can
 * be read. It uses io_uring to cost less than the servers, as far as that goes.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "histogram.h"
#include "ring.h"
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TARGETS_MAX = 32,
    DEPTH_MAX = 64,
    IN_FLIGHT_BYTES_MAX = 1 << 20,
    PERIOD = 4093, /* a prime: no message length divides it, so that shifted data is noticed */
    ENTRIES = 2048,
    COMPLETIONS = 4096,
    STALLED_S = 30
};

/* In the low bit of user_data, beside the connection's address. */
enum { RECEIVED, SENT };

struct connection {
    struct target *target;
    int fd;
    bool sending;
    bool receiving;
    unsigned char *arrived; /* as much as can be in flight */
    uint64_t phase; /* where in the pattern this connection began, so that no two send the same */
    uint64_t sent;  /* bytes */
    uint64_t received;            /* bytes */
    uint64_t asked;               /* messages handed to send so far */
    uint64_t answered;            /* messages that have come back */
    uint64_t asked_ns[DEPTH_MAX]; /* when each message in flight was sent, by its number */
};

struct target {
    unsigned count;
    unsigned depth;
    bool closing;
    uint64_t message_bytes;
    struct connection *connections;
};

struct slice {
    uint64_t end_ns;   /* no new messages after this */
    uint64_t quota;    /* messages that may still be asked */
    uint64_t busy;     /* connections that wait for an answer */
    uint64_t answered; /* messages */
    struct histogram latency;
};

static struct target targets[TARGETS_MAX];
static unsigned char pattern[PERIOD + IN_FLIGHT_BYTES_MAX];
static struct ring ring;
static struct slice slice;
static unsigned sends_queued; /* since the last turn */

static _Noreturn void complain(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static void pattern_fill(void) {
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < sizeof pattern; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        pattern[i] = i < PERIOD ? (unsigned char)(state >> 32) : pattern[i - PERIOD];
    }
}

static const unsigned char *pattern_at(const struct connection *connection, uint64_t offset) {
    return pattern + (connection->phase + offset) % PERIOD;
}

static void connection_open(struct connection *connection, uint16_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) serve_fail("load: socket", errno);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        serve_fail("load: connect", errno);
    }
    serve_accepted(connection->fd);
}

static void connection_receive(struct connection *connection) {
    const struct target *target = connection->target;
    connection->receiving = true;
    *ring_entry(&ring) = (struct io_uring_sqe){
        .opcode = IORING_OP_RECV,
        .fd = connection->fd,
        .ioprio = IORING_RECVSEND_POLL_FIRST,
        .addr = (uintptr_t)connection->arrived,
        .len = (unsigned)target->message_bytes * target->depth,
        .user_data = (uintptr_t)connection | RECEIVED,
    };
}

/* Sends what has been asked for and has not left yet. */
static void connection_send(struct connection *connection) {
    uint64_t due = connection->asked * connection->target->message_bytes;
    if (connection->sending || connection->sent == due) return;
    connection->sending = true;
    sends_queued++;
    *ring_entry(&ring) = (struct io_uring_sqe){
        .opcode = IORING_OP_SEND,
        .fd = connection->fd,
        .addr = (uintptr_t)pattern_at(connection, connection->sent),
        .len = (unsigned)(due - connection->sent),
        .msg_flags = MSG_NOSIGNAL | MSG_WAITALL,
        .user_data = (uintptr_t)connection | SENT,
    };
}

/* Asks for as many messages as may be in flight, unless the slice is over. */
static void connection_ask(struct connection *connection, uint64_t now_ns) {
    bool busy = connection->asked > connection->answered;
    if (now_ns >= slice.end_ns) return;
    while (connection->asked - connection->answered < connection->target->depth &&
           slice.quota > 0) {
        connection->asked_ns[connection->asked % DEPTH_MAX] = now_ns;
        connection->asked++;
        slice.quota--;
    }
    if (!busy && connection->asked > connection->answered) slice.busy++;
}

static void on_received(struct connection *connection, int result, uint64_t now_ns) {
    connection->receiving = false;
    if (connection->target->closing) return;
    if (result < 0) serve_fail("load: recv", -result);
    if (result == 0) complain("the server closed a connection");
    uint64_t bytes = (uint64_t)result;
    uint64_t message_bytes = connection->target->message_bytes;
    if (connection->received + bytes > connection->asked * message_bytes) {
        complain("more came back than was sent");
    }
    if (memcmp(connection->arrived, pattern_at(connection, connection->received), bytes) != 0) {
        complain("the echo differs from what was sent");
    }
    connection->received += bytes;
    while ((connection->answered + 1) * message_bytes <= connection->received) {
        uint64_t asked_ns = connection->asked_ns[connection->answered % DEPTH_MAX];
        histogram_add(&slice.latency, now_ns - asked_ns);
        connection->answered++;
        slice.answered++;
    }
    if (connection->asked == connection->answered) slice.busy--;
    connection_ask(connection, now_ns);
    connection_receive(connection);
    connection_send(connection);
}

static void on_sent(struct connection *connection, int result) {
    connection->sending = false;
    if (result < 0) serve_fail("load: send", -result);
    connection->sent += (uint64_t)result;
    connection_send(connection);
}

/* One turn: hands over what is queued, waits for so many completions, takes what has come. */
static void turn(unsigned wait_count) {
    unsigned first;
    alarm(STALLED_S);
    sends_queued = 0;
    ring_enter(&ring, wait_count);
    uint64_t now_ns = clock_now_ns();
    unsigned count = ring_ready(&ring, &first);
    for (unsigned i = 0; i < count; i++) {
        const struct io_uring_cqe *cqe = ring_completion(&ring, first + i);
        uintptr_t kind = (uintptr_t)cqe->user_data & SENT;
        struct connection *connection = (void *)((uintptr_t)cqe->user_data - kind);
        if (kind == RECEIVED) {
            on_received(connection, cqe->res, now_ns);
        } else {
            on_sent(connection, cqe->res);
        }
    }
    ring_seen(&ring, count);
}

/* The memory for what arrives at the connection of this number, of every target: one is loaded at a
 * time, and so none has luckier memory than another. */
static unsigned char *arrived_get(unsigned number, size_t bytes) {
    static struct place {
        size_t bytes;
        unsigned char *memory;
    } * places;
    static unsigned count;
    if (number >= count) {
        places = realloc(places, (number + 1) * sizeof *places);
        if (places == NULL) serve_fail("load: realloc", ENOMEM);
        memset(&places[count], 0, (number + 1 - count) * sizeof *places);
        count = number + 1;
    }
    struct place *place = &places[number];
    if (place->bytes < bytes) { /* older targets keep what they have */
        place->memory = serve_connection_get(bytes);
        place->bytes = bytes;
    }
    return place->memory;
}

static unsigned target_open(uint16_t port, unsigned count, uint64_t message_bytes, unsigned depth) {
    unsigned index = 0;
    while (index < TARGETS_MAX && targets[index].count != 0) index++;
    if (index == TARGETS_MAX) complain("too many targets");
    if (depth == 0 || depth > DEPTH_MAX || count == 0 || message_bytes == 0 ||
        message_bytes * depth > IN_FLIGHT_BYTES_MAX) {
        complain("open: number out of range");
    }
    struct target *target = &targets[index];
    *target = (struct target){.count = count, .depth = depth, .message_bytes = message_bytes};
    target->connections = calloc(count, sizeof *target->connections);
    if (target->connections == NULL) serve_fail("load: calloc", ENOMEM);
    for (unsigned i = 0; i < count; i++) {
        struct connection *connection = &target->connections[i];
        connection->target = target;
        connection->phase = i * 61u;
        connection->arrived = arrived_get(i, message_bytes * depth);
        connection_open(connection, port);
        connection_receive(connection);
    }
    ring_enter(&ring, 0);
    return index;
}

static void target_close(struct target *target) {
    target->closing = true;
    for (unsigned i = 0; i < target->count; i++) {
        struct connection *connection = &target->connections[i];
        if (shutdown(connection->fd, SHUT_RDWR) < 0 && errno != ENOTCONN) {
            serve_fail("load: shutdown", errno);
        }
        while (connection->receiving) turn(1);
        close(connection->fd);
    }
    free(target->connections);
    *target = (struct target){0};
}

static void slice_run(struct target *target, uint64_t duration_ns, uint64_t quota) {
    uint64_t start_ns = clock_now_ns();
    slice.end_ns = duration_ns > UINT64_MAX - start_ns ? UINT64_MAX : start_ns + duration_ns;
    slice.quota = quota;
    slice.busy = 0;
    slice.answered = 0;
    histogram_clear(&slice.latency);
    for (unsigned i = 0; i < target->count; i++) {
        connection_ask(&target->connections[i], start_ns);
        connection_send(&target->connections[i]);
    }
    while (slice.busy > 0) {
        /* Each send completes, and a busy connection has more to receive. */
        turn(sends_queued + 1);
    }
    alarm(0);
    printf("slice %llu %llu %llu %llu\n", (unsigned long long)slice.answered,
           (unsigned long long)(clock_now_ns() - start_ns),
           (unsigned long long)histogram_at(&slice.latency, 500),
           (unsigned long long)histogram_at(&slice.latency, 990));
}

static struct target *target_at(unsigned index) {
    if (index >= TARGETS_MAX || targets[index].count == 0) complain("no such target");
    return &targets[index];
}

static void command_run(const char *line) {
    unsigned index, count, depth;
    unsigned short port;
    unsigned long long number;
    if (sscanf(line, "open %hu %u %llu %u", &port, &count, &number, &depth) == 4) {
        printf("opened %u\n", target_open(port, count, number, depth));
    } else if (sscanf(line, "slice %u %llu", &index, &number) == 2) {
        slice_run(target_at(index), number * 1000000u, UINT64_MAX);
    } else if (sscanf(line, "count %u %llu", &index, &number) == 2) {
        slice_run(target_at(index), UINT64_MAX, number);
    } else if (sscanf(line, "close %u", &index) == 1) {
        target_close(target_at(index));
        printf("closed %u\n", index);
    } else {
        complain("a command that it does not know");
    }
    if (fflush(stdout) != 0) serve_fail("load: stdout", errno);
}

static void on_stalled(int number) {
    static const char text[] = "load: nothing came for 30 seconds\n";
    (void)number;
    /* Whether it could be told or not. */
    _exit(write(STDERR_FILENO, text, sizeof text - 1) > 0 ? 1 : 3);
}

int main(void) {
    signal(SIGALRM, on_stalled);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) serve_fail("load: RLIMIT_NOFILE", errno);
    }
    pattern_fill();
    ring_open(&ring, ENTRIES, COMPLETIONS);
    char line[256];
    while (fgets(line, sizeof line, stdin) != NULL) command_run(line);
    return 0;
}
