/* help.c - the short forms of the probes
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- kevent ---------------------------------------------------------------------------------- */

int get(int kq, struct kevent *events, int ms) {
    struct timespec timeout = {ms / 1000, (ms % 1000) * 1000000L};
    return kevent(kq, NULL, 0, events, EVENTS, &timeout);
}

/* The place of its like among the first count, or count. */
static int place_of(const struct kevent *event, const struct kevent *events, int count) {
    int i = 0;
    while (i < count && (events[i].ident != event->ident || events[i].filter != event->filter)) i++;
    return i;
}

int collect(int kq, struct kevent *events, int wanted, int ms) {
    double until = now_ms() + ms;
    int count = 0;
    while (count < wanted && now_ms() < until) {
        struct kevent some[EVENTS];
        int got = get(kq, some, (int)(until - now_ms()) + 1);
        if (got < 0) return got;
        for (int i = 0; i < got; i++) {
            int place = place_of(&some[i], events, count);
            must(place < EVENTS);
            events[place] = some[i];
            if (place == count) count++;
        }
    }
    return count;
}

int change(int kq, uintptr_t ident, int filter, int flags, unsigned fflags, int64_t data,
           uintptr_t udata) {
    struct kevent one;
    EV_SET(&one, ident, (short)filter, (unsigned short)flags, fflags, data, (void *)udata);
    return kevent(kq, &one, 1, NULL, 0, NULL);
}

/* ---- Time ------------------------------------------------------------------------------------ */

double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

void sleep_ms(int ms) {
    struct timespec left = {ms / 1000, (ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

int open_descriptors(void) {
    struct rlimit limit;
    int count = 0;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int fd = 0; fd < (int)limit.rlim_cur; fd++) count += fcntl(fd, F_GETFD) != -1;
    return count;
}

void set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    must(flags != -1 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

void put(int fd, const char *text) {
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

int take(int fd, int bytes) {
    char buf[65536];
    must((size_t)bytes <= sizeof buf);
    return (int)read(fd, buf, (size_t)bytes);
}

void make_pipe(int ends[2]) {
    must(pipe(ends) == 0);
}

void make_unix_pair(int ends[2], int type) {
    must(socketpair(AF_UNIX, type, 0, ends) == 0);
}

static struct sockaddr_in loopback(uint16_t port) {
    struct sockaddr_in addr;
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons(port);
    return addr;
}

int make_listener(uint16_t *port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof addr;
    must(fd >= 0);
    must(bind(fd, (const void *)&addr, sizeof addr) == 0 && listen(fd, 8) == 0);
    must(getsockname(fd, (void *)&addr, &len) == 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

int connect_to(int fd, uint16_t port) {
    struct sockaddr_in addr = loopback(port);
    return connect(fd, (const void *)&addr, sizeof addr);
}

void make_tcp_pair(int ends[2]) {
    uint16_t port;
    int listener = make_listener(&port);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(ends[0] >= 0 && connect_to(ends[0], port) == 0);
    ends[1] = accept(listener, NULL, NULL);
    must(ends[1] >= 0);
    must(close(listener) == 0);
}

const char *temp_name(void) {
    static char name[256];
    static int count;
    const char *directory = getenv("TMPDIR");
    if (directory == NULL) directory = "/tmp";
    int len = snprintf(name, sizeof name, "%s/kqueue-%ld-%d", directory, (long)getpid(), count++);
    must(len > 0 && (size_t)len < sizeof name);
    return name;
}
