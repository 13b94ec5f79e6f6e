/* echo_uring.c - the peer: a TCP echo server written by hand on io_uring
 *
 * One thread, one io_uring_enter() a turn, which submits all that the turn's completions led to and
 * waits for more. Each connection has a multishot receive that takes its buffers from a ring, and
 * at most one send under way; descriptors are registered. Of the ways that were tried (single
 * receives with and without POLL_FIRST, before or after the send or linked behind it; registered
 * descriptors or not) this one cost least. Entries are copied whole from templates that each
 * connection keeps.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "ring.h"
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENTRIES = 256, COMPLETIONS = 4096, REGISTERED_FDS = 4096, BUFFERS_MAX = 4096 };
enum { NONE = -1 };

/* In the low bits of user_data, beside the connection's address. */
enum { RECEIVED, SENT, ACCEPTED, LEAVING, KIND_MASK = 3 };

struct connection {
    struct io_uring_sqe receive;
    struct io_uring_sqe send;
    struct connection *starved_next;
    int fd;
    int first, last; /* the buffers that wait to be sent, the first is being sent; or NONE */
    bool receiving;  /* the multishot is in place */
    bool starved;    /* it has ended for want of a buffer */
    bool ended;      /* nothing more will be received */
};

/* What a buffer holds while it is with a connection. */
static struct filled {
    unsigned len;
    int next;
} filled[BUFFERS_MAX];

static struct ring ring;
static struct io_uring_buf_ring *buffer_ring;
static char *buffers;
static unsigned buffer_count;
static int returned_count; /* buffers put on their ring, but not shown to the kernel yet */
static struct connection *starved_first;

static uint64_t address_of(const void *memory) {
    return (uint64_t)(uintptr_t)memory;
}

/* One line more than the size, so that not all buffers begin at the same offset in a page. */
static char *buffer_at(unsigned index) {
    return buffers + (size_t)index * (SERVE_BUFFER_BYTES + 64);
}

static void buffer_return(unsigned index) {
    io_uring_buf_ring_add(buffer_ring, buffer_at(index), SERVE_BUFFER_BYTES, (unsigned short)index,
                          (int)buffer_count - 1, returned_count++);
}

static void buffers_open(unsigned connections) {
    enum { PAGE = 4096 };
    buffer_count = 64;
    while (buffer_count < 2 * connections && buffer_count < BUFFERS_MAX) buffer_count *= 2;
    size_t ring_bytes = (buffer_count * sizeof(struct io_uring_buf) + PAGE - 1) / PAGE * PAGE;
    buffer_ring = aligned_alloc(PAGE, ring_bytes);
    buffers = malloc((size_t)buffer_count * (SERVE_BUFFER_BYTES + 64));
    if (buffer_ring == NULL || buffers == NULL) serve_fail("buffers", ENOMEM);
    io_uring_buf_ring_init(buffer_ring);
    struct io_uring_buf_reg reg = {.ring_addr = address_of(buffer_ring),
                                   .ring_entries = buffer_count};
    int error = io_uring_register_buf_ring(&ring.uring, &reg, 0);
    if (error < 0) serve_fail("io_uring_register_buf_ring", -error);
    for (unsigned i = 0; i < buffer_count; i++) buffer_return(i);
}

static void accept_start(int listener) {
    *ring_entry(&ring) = (struct io_uring_sqe){.opcode = IORING_OP_ACCEPT,
                                               .fd = listener,
                                               .ioprio = IORING_ACCEPT_MULTISHOT,
                                               .accept_flags = SOCK_CLOEXEC,
                                               .user_data = ACCEPTED};
}

static void receive_start(struct connection *connection) {
    connection->receiving = true;
    *ring_entry(&ring) = connection->receive;
}

static void connection_open(int fd) {
    struct connection *connection = serve_connection_get(sizeof *connection);
    int error = io_uring_register_files_update(&ring.uring, (unsigned)fd, &fd, 1);
    if (error < 0) serve_fail("io_uring_register_files_update", -error);
    serve_accepted(fd);
    connection->fd = fd;
    connection->first = NONE;
    connection->receive = (struct io_uring_sqe){.opcode = IORING_OP_RECV,
                                                .flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT,
                                                .ioprio = IORING_RECV_MULTISHOT,
                                                .fd = fd,
                                                .user_data = address_of(connection) | RECEIVED};
    /* MSG_WAITALL: the kernel goes on until all of it is sent. */
    connection->send = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                             .flags = IOSQE_FIXED_FILE,
                                             .fd = fd,
                                             .msg_flags = MSG_NOSIGNAL | MSG_WAITALL,
                                             .user_data = address_of(connection) | SENT};
    receive_start(connection);
}

static void on_accepted(const struct io_uring_cqe *cqe, int listener) {
    if (cqe->res >= 0) {
        connection_open(cqe->res);
    } else if (cqe->res != -ECONNABORTED) {
        serve_fail("accept", -cqe->res);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) accept_start(listener);
}

static void drop_if_over(struct connection *connection) {
    int none = -1;
    if (!connection->ended || connection->receiving || connection->starved ||
        connection->first != NONE) {
        return;
    }
    io_uring_register_files_update(&ring.uring, (unsigned)connection->fd, &none, 1);
    close(connection->fd);
    serve_connection_put(connection);
}

static void send_first(struct connection *connection) {
    unsigned index = (unsigned)connection->first;
    connection->send.addr = address_of(buffer_at(index));
    connection->send.len = filled[index].len;
    *ring_entry(&ring) = connection->send;
}

static void on_received(struct connection *connection, const struct io_uring_cqe *cqe) {
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) connection->receiving = false;
    if (__builtin_expect(cqe->res > 0, 1)) {
        int index = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        filled[index] = (struct filled){.len = (unsigned)cqe->res, .next = NONE};
        if (connection->first == NONE) {
            connection->first = connection->last = index;
            send_first(connection);
        } else {
            filled[connection->last].next = index;
            connection->last = index;
        }
        if (!connection->receiving && !connection->ended) receive_start(connection);
    } else if (cqe->res == -ENOBUFS) {
        connection->starved = true;
        connection->starved_next = starved_first;
        starved_first = connection;
    } else {
        connection->ended = true;
    }
    if (__builtin_expect(connection->ended, 0)) drop_if_over(connection);
}

static void on_sent(struct connection *connection, int result) {
    unsigned index = (unsigned)connection->first;
    connection->first = filled[index].next;
    buffer_return(index);
    if (__builtin_expect((unsigned)result != filled[index].len, 0)) {
        while (connection->first != NONE) {
            buffer_return((unsigned)connection->first);
            connection->first = filled[connection->first].next;
        }
        connection->ended = true;
        shutdown(connection->fd, SHUT_RDWR); /* which ends the receive */
    } else if (connection->first != NONE) {
        send_first(connection);
    }
    if (__builtin_expect(connection->ended, 0)) drop_if_over(connection);
}

/* Shows the kernel what has come back, and lets those go on that waited for it. */
static void buffers_hand_over(void) {
    struct connection *connection = starved_first;
    if (returned_count == 0) return;
    io_uring_buf_ring_advance(buffer_ring, returned_count);
    returned_count = 0;
    starved_first = NULL;
    while (connection != NULL) {
        struct connection *next = connection->starved_next;
        connection->starved = false;
        if (!connection->ended) receive_start(connection);
        drop_if_over(connection);
        connection = next;
    }
}

/* SIGTERM as a completion: a signal handler may be held up for long while the program waits in
 * io_uring_enter() under valgrind. */
static void leave_start(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (fd < 0) serve_fail("signalfd", errno);
    *ring_entry(&ring) = (struct io_uring_sqe){
        .opcode = IORING_OP_POLL_ADD, .fd = fd, .poll32_events = POLLIN, .user_data = LEAVING};
}

int main(int argc, char **argv) {
    struct serve_options options;
    serve_options_parse(&options, argc, argv);
    ring_open(&ring, ENTRIES, COMPLETIONS);
    int error = io_uring_register_files_sparse(&ring.uring, REGISTERED_FDS);
    if (error < 0) serve_fail("io_uring_register_files_sparse", -error);
    buffers_open(options.connections);
    int listener = serve_listen(&options);
    accept_start(listener);
    leave_start();

    for (;;) {
        buffers_hand_over();
        ring_enter(&ring, 1);
        unsigned first;
        unsigned count = ring_ready(&ring, &first);
        for (unsigned i = 0; i < count; i++) {
            const struct io_uring_cqe *cqe = ring_completion(&ring, first + i);
            uintptr_t kind = (uintptr_t)cqe->user_data & KIND_MASK;
            struct connection *connection = (void *)((uintptr_t)cqe->user_data - kind);
            if (kind == RECEIVED) {
                on_received(connection, cqe);
            } else if (kind == SENT) {
                on_sent(connection, cqe->res);
            } else if (kind == ACCEPTED) {
                on_accepted(cqe, listener);
            } else {
                return 0;
            }
        }
        ring_seen(&ring, count);
    }
}
