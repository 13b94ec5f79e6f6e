/* idle.c - what an idle connection costs in memory: idle BACKEND [CONNECTIONS]
 *
 * A server that echoes through a buffer pool, with one multishot receive per connection; a client
 * in a process of its own opens all the connections, has one message echoed on each, compares it,
 * and leaves them open. Then the growth of the server's RssAnon since its loop and its pool were
 * open is divided by the connections: operations, the library's own, and whatever the allocator
 * took. (VmRSS would count pages of programs and libraries as well, which the kernel maps by the
 * dozen when one of them is first executed.)
 *
 * Prints "idle", the bytes per connection, and how many connections there were.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "backend.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 64, POOL_COUNT = 64, POOL_BUFFER_BYTES = 4096, SPARE_DESCRIPTORS = 64 };

static ferry_loop *loop;
static ferry_pool *pool;
static ferry_op *receives;
static unsigned connections, accepted;
static long before_bytes;

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void must(const char *what, int64_t error) {
    if (error < 0) fail(what, ferry_strerror(error));
}

/* ---- The client ------------------------------------------------------------------------ */

static void send_and_compare(int fd, unsigned number) {
    char out[MESSAGE_BYTES], in[MESSAGE_BYTES];
    memset(out, (int)(number % 251), sizeof out);
    if (send(fd, out, sizeof out, 0) != sizeof out) fail("send", strerror(errno));
    if (recv(fd, in, sizeof in, MSG_WAITALL) != sizeof in) fail("recv", strerror(errno));
    if (memcmp(in, out, sizeof in) != 0) fail("echo", "other bytes came back");
}

/* Tells through done that all are idle, and leaves when leave is closed. */
static _Noreturn void client(const ferry_addr *addr, int done, int leave) {
    for (unsigned i = 0; i < connections; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        const struct sockaddr *to = (const struct sockaddr *)(const void *)addr->data.bytes;
        if (fd < 0 || connect(fd, to, addr->len) < 0) fail("connect", strerror(errno));
        send_and_compare(fd, i);
    }
    char byte = 0;
    if (write(done, &byte, 1) != 1) fail("write", strerror(errno));
    _exit(read(leave, &byte, 1) != 0);
}

/* ---- The server ------------------------------------------------------------------------ */

static long resident_bytes(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "RssAnon: %ld kB", &kib) == 1) break;
    }
    if (kib < 0) fail("/proc/self/status", "no RssAnon there");
    fclose(file);
    return kib * 1024;
}

static void on_received(ferry_op *receive) {
    ferry_buffer *buffer = ferry_lent(receive);
    if (buffer != NULL) {
        ferry_send(loop, &buffer->op, receive->fd, buffer->data, buffer->len, FERRY_PUT, NULL);
    }
    if (!(receive->flags & FERRY_MORE)) ferry_close(loop, NULL, receive->fd, 0, NULL);
}

static void on_accepted(ferry_op *op) {
    if (op->result == FERRY_ECANCELED) return;
    must("accept", op->result);
    if (accepted == connections) fail("accept", "more connections than were asked for");
    ferry_recv_pool(loop, &receives[accepted++], (ferry_fd)op->result, pool, FERRY_MULTI,
                    on_received);
}

/* The client has told that all of its connections are idle. */
static void on_idle(ferry_op *op) {
    if (op->result != 1) fail("client", "gave up");
    if (accepted != connections) fail("accept", "connections are missing");
    printf("idle %.1f %u\n", (double)(resident_bytes() - before_bytes) / connections, connections);
    ferry_stop(loop);
}

static void end(ferry_fd listener) {
    ferry_close(loop, NULL, listener, 0, NULL);
    for (unsigned i = 0; i < accepted; i++) ferry_close(loop, NULL, receives[i].fd, 0, NULL);
    must("run", ferry_run(loop, FERRY_RUN_DONE));
    must("pool", ferry_pool_close(pool));
    must("close", ferry_loop_close(loop));
}

static void descriptors_allow(unsigned count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) fail("getrlimit", strerror(errno));
    limit.rlim_cur = limit.rlim_max < count ? limit.rlim_max : count;
    if (limit.rlim_cur < count) fail("RLIMIT_NOFILE", "too few descriptors are allowed here");
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) fail("setrlimit", strerror(errno));
}

int main(int argc, char **argv) {
    connections = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10000;
    if (argc < 2 || connections == 0) fail("usage", "idle BACKEND [CONNECTIONS]");
    descriptors_allow(connections + SPARE_DESCRIPTORS);

    ferry_addr addr;
    ferry_fd listener;
    loop = backend_open(argv[1]);
    must("pool", ferry_pool_open(loop, &pool, POOL_COUNT, POOL_BUFFER_BYTES, 0, 0));
    must("address", ferry_addr_parse(&addr, "127.0.0.1:0"));
    must("listen", ferry_listen(loop, &listener, &addr, 0));
    must("address", ferry_local_addr(loop, listener, &addr));

    int done[2], leave[2];
    if (pipe(done) < 0 || pipe(leave) < 0) fail("pipe", strerror(errno));
    pid_t child = fork();
    if (child < 0) fail("fork", strerror(errno));
    if (child == 0) {
        close(leave[1]);
        client(&addr, done[1], leave[0]);
    }
    close(done[1]);

    before_bytes = resident_bytes();
    receives = calloc(connections, sizeof *receives);
    if (receives == NULL) fail("calloc", strerror(errno));
    static ferry_op accept, idle;
    static char byte;
    ferry_accept(loop, &accept, listener, NULL, FERRY_MULTI, on_accepted);
    ferry_read(loop, &idle, done[0], &byte, 1, FERRY_CURRENT, 0, on_idle);
    must("run", ferry_run(loop, FERRY_RUN_DONE));

    close(leave[1]);
    int status = 0;
    if (waitpid(child, &status, 0) < 0 || status != 0) fail("client", "did not end well");
    end(listener);
    free(receives);
    return 0;
}
