/* echo_epoll.c - the peer: a TCP echo server written by hand on epoll
 *
 * One thread, level triggered, one receive per event and the answer sent at once out of the same
 * buffer, which stays in the cache because all connections share it. That is as little as epoll
 * needs. Only an answer that the socket does not take goes to a buffer of the connection's own,
 * which then waits to be writable and reads no more until it is.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_PER_TURN = 512 };

struct connection {
    int fd;
    size_t pending; /* bytes that wait in rest; 0: reading */
    size_t done;    /* of those, bytes that have gone */
    char rest[SERVE_BUFFER_BYTES];
};

static int epoll_fd;
static char shared[SERVE_BUFFER_BYTES];

static void watch(int operation, int fd, uint32_t events, void *owner) {
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) serve_fail("epoll_ctl", errno);
}

static void drop(struct connection *connection) {
    close(connection->fd);
    serve_connection_put(connection);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        serve_accepted(fd);
        struct connection *connection = serve_connection_get(sizeof *connection);
        connection->fd = fd;
        connection->pending = 0;
        watch(EPOLL_CTL_ADD, fd, EPOLLIN, connection);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) serve_fail("accept", errno);
}

static void on_readable(struct connection *connection) {
    ssize_t got = recv(connection->fd, connection->rest, sizeof shared, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        drop(connection);
        return;
    }
    ssize_t sent = send(connection->fd, connection->rest, (size_t)got, MSG_NOSIGNAL);
    if (sent == got) return;
    if (sent < 0) {
        if (errno != EAGAIN) {
            drop(connection);
            return;
        }
        sent = 0;
    }
    connection->pending = (size_t)(got - sent);
    connection->done = 0;
    memcpy(connection->rest, shared + sent, connection->pending);
    watch(EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
}

static void on_writable(struct connection *connection) {
    size_t left = connection->pending - connection->done;
    ssize_t sent = send(connection->fd, connection->rest + connection->done, left, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) drop(connection);
        return;
    }
    connection->done += (size_t)sent;
    if (connection->done < connection->pending) return;
    connection->pending = 0;
    watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
}

int main(int argc, char **argv) {
    struct serve_options options;
    serve_options_parse(&options, argc, argv);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) serve_fail("epoll_create1", errno);
    int listener = serve_listen(&options);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);

    static struct epoll_event events[EVENTS_PER_TURN];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
        if (count < 0 && errno != EINTR) serve_fail("epoll_wait", errno);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) {
                accept_all(listener);
            } else if (connection->pending != 0) {
                on_writable(connection);
            } else {
                on_readable(connection);
            }
        }
    }
}
