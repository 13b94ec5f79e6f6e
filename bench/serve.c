/* serve.c - the frame around the echo servers: command line, listening socket, leaving
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void serve_fail(const char *what, int error) {
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static _Noreturn void usage(const char *program) {
    fprintf(stderr, "usage: %s [--port N] [--connections N] [--backend NAME] [--measure N]\n",
            program);
    exit(2);
}

void serve_options_parse(struct serve_options *options, int argc, char **argv) {
    *options = (struct serve_options){.connections = 64};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) usage(argv[0]);
        const char *value = argv[i + 1];
        char *end;
        unsigned long number = strtoul(value, &end, 10);
        bool valid = *value != '\0' && *end == '\0' && number <= UINT16_MAX;
        if (strcmp(argv[i], "--backend") == 0) {
            options->backend = value;
        } else if (strcmp(argv[i], "--port") == 0 && valid) {
            options->port = (uint16_t)number;
        } else if (strcmp(argv[i], "--connections") == 0 && valid) {
            options->connections = (unsigned)number;
        } else if (strcmp(argv[i], "--measure") == 0 && valid) {
            options->measure = (unsigned)number;
        } else {
            usage(argv[0]);
        }
    }
}

void serve_announce(uint16_t port) {
    if (printf("port %u\n", port) < 0 || fflush(stdout) != 0) serve_fail("stdout", errno);
}

/* A loop that had to notice a flag would need one more descriptor to wait for, each peer another
 * kind. There is nothing to put in order, and _exit() is safe in a signal handler. */
static void leave(int number) {
    (void)number;
    _exit(0);
}

int serve_listen(const struct serve_options *options) {
    struct sigaction on_term = {.sa_handler = leave};
    if (sigaction(SIGTERM, &on_term, NULL) < 0) serve_fail("sigaction", errno);

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) serve_fail("socket", errno);
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
        serve_fail("SO_REUSEADDR", errno);
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(options->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, len) < 0) serve_fail("bind", errno);
    if (listen(fd, SOMAXCONN) < 0) serve_fail("listen", errno);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0) serve_fail("getsockname", errno);
    serve_announce(ntohs(address.sin_port));
    return fd;
}

void serve_accepted(int fd) {
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
        serve_fail("TCP_NODELAY", errno);
    }
}

static struct unused { struct unused *next; } * unused_first;

void *serve_connection_get(size_t bytes) {
    enum { LINE = 64, CHUNK = 16 << 20 };
    static char *chunk;
    static size_t chunk_left;

    if (unused_first != NULL) {
        struct unused *unused = unused_first;
        unused_first = unused->next;
        return memset(unused, 0, bytes);
    }
    /* An odd number of lines from one to the next: no offset in a page is used more than others. */
    size_t stride = (bytes + LINE - 1) / LINE * LINE;
    if (stride / LINE % 2 == 0) stride += LINE;
    if (chunk_left < stride) {
        chunk = aligned_alloc(LINE, CHUNK);
        if (chunk == NULL) serve_fail("aligned_alloc", ENOMEM);
        chunk_left = CHUNK;
    }
    void *block = chunk;
    chunk += stride;
    chunk_left -= stride;
    return memset(block, 0, bytes);
}

void serve_connection_put(void *connection) {
    struct unused *unused = connection;
    unused->next = unused_first;
    unused_first = unused;
}
