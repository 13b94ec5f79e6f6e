/* sockets.c - room, low water, listening and connecting, datagrams, one's own shutdown
 *
 * Of kqt: sock-write (its notes of sizes are whether there is an event: more_read), connect (its
 * notes are begun and unconnected); of kqt2: the lines with "udp" and "unix dgram", "READ and WRITE
 * are separate events", "own SHUT_WR", "own SHUT_RD".
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Room ------------------------------------------------------------------------------------ */

static const struct probe_line sock_write_lines[] = {
    {"sock_write.room", "WRITE"},
    {"sock_write.full", "nothing"},
    {"sock_write.more_read", "WRITE"},
    {"sock_write.low_water_add", "0"},
    {"sock_write.below_low_water", "nothing"},
    {"sock_write.above_low_water", "READ data=12"},
};

/* Until no more fits, not even after a while. */
static void stuff(int fd) {
    static const char block[65536];
    for (int i = 0; i < 50; i++) {
        while (write(fd, block, sizeof block) > 0) continue;
        sleep_ms(2);
    }
}

static void sock_write(void) {
    int kq = kqueue(), ends[2], count = 0;
    struct kevent events[EVENTS];
    make_tcp_pair(ends);
    set_nonblocking(ends[0]);
    set_nonblocking(ends[1]);
    must(change(kq, (uintptr_t)ends[0], EVFILT_WRITE, EV_ADD, 0, 0, 0) == 0);
    told("sock_write.room", "%s", said(get(kq, events, 100), events));
    stuff(ends[0]);
    told("sock_write.full", "%s", said(get(kq, events, 50), events));
    for (double until = now_ms() + 10000; count == 0 && now_ms() < until;) {
        if (take(ends[1], 65536) <= 0) sleep_ms(1);
        count = get(kq, events, 0);
    }
    told("sock_write.more_read", "%s", said(count, events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);

    make_tcp_pair(ends);
    int result = change(kq, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, NOTE_LOWAT, 10, 0);
    told("sock_write.low_water_add", "%s", outcome(result));
    put(ends[1], "12345");
    sleep_ms(20);
    told("sock_write.below_low_water", "%s", said(get(kq, events, 20), events));
    put(ends[1], "1234567");
    sleep_ms(20);
    told("sock_write.above_low_water", "%s", said(get(kq, events, 50), events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

/* ---- Connecting ------------------------------------------------------------------------------ */

static const struct probe_line connecting_lines[] = {
    {"connect.begun", "done or in progress"},
    {"connect.backlog", "READ data=2 udata=1"},
    {"connect.connected", "WRITE ONESHOT udata=2"},
    {"connect.unconnected", "nothing"},
    {"connect.refused", "refused"},
};

static int tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0);
    return fd;
}

/* FreeBSD refuses on the loopback at once, others may do so by an event. */
static void refused(int kq, uint16_t port) {
    struct kevent events[EVENTS];
    int fd = tcp_socket();
    set_nonblocking(fd);
    must(change(kq, (uintptr_t)fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0, 3) == 0);
    told("connect.unconnected", "%s", said(get(kq, events, 20), events));
    int is_refused = connect_to(fd, port) != 0 && errno == ECONNREFUSED;
    int count = get(kq, events, 500);
    if (count > 0 && events[0].flags & EV_EOF) is_refused = 1;
    told("connect.refused", "%s", is_refused ? "refused" : said(count, events));
    must(close(fd) == 0);
}

static void connecting(void) {
    int kq = kqueue();
    uint16_t port;
    struct kevent events[EVENTS];
    int listener = make_listener(&port), one = tcp_socket(), two = tcp_socket();
    must(change(kq, (uintptr_t)listener, EVFILT_READ, EV_ADD, 0, 0, 1) == 0);
    set_nonblocking(one);
    set_nonblocking(two);
    int is_begun = connect_to(one, port) == 0 || errno == EINPROGRESS;
    told("connect.begun", "%s", is_begun ? "done or in progress" : error_name(errno));
    must(connect_to(two, port) == 0 || errno == EINPROGRESS);
    must(change(kq, (uintptr_t)one, EVFILT_WRITE, EV_ADD | EV_ONESHOT, 0, 0, 2) == 0);
    sleep_ms(20);
    int count = collect(kq, events, 2, 500);
    const struct kevent *reading = of_filter(count, events, EVFILT_READ);
    const struct kevent *writing = of_filter(count, events, EVFILT_WRITE);
    told("connect.backlog", "%s", said(reading != NULL, reading));
    told("connect.connected", "%s", said(writing != NULL, writing));
    must(close(listener) == 0);
    refused(kq, port);
    must(close(one) == 0 && close(two) == 0);
    must(close(kq) == 0);
}

/* ---- Datagrams ------------------------------------------------------------------------------- */

static const struct probe_line datagrams_lines[] = {
    {"udp.port_unreachable", "READ data=0"},
    {"udp.recv", "ECONNREFUSED"},
    {"unix_dgram.zero_length", "READ data=0"},
};

static void datagrams(void) {
    int kq = kqueue(), ends[2];
    uint16_t port;
    char byte;
    struct kevent events[EVENTS];
    must(close(make_listener(&port)) == 0); /* a port that nobody has, for UDP neither */
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    must(udp >= 0 && connect_to(udp, port) == 0);
    must(change(kq, (uintptr_t)udp, EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    must(send(udp, "x", 1, 0) == 1);
    told("udp.port_unreachable", "%s", said(get(kq, events, 100), events));
    ssize_t result = recv(udp, &byte, 1, MSG_DONTWAIT);
    told("udp.recv", "%s", result >= 0 ? "bytes" : error_name(errno));
    must(close(udp) == 0);

    make_unix_pair(ends, SOCK_DGRAM);
    must(change(kq, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    must(send(ends[1], "", 0, 0) == 0);
    told("unix_dgram.zero_length", "%s", said(get(kq, events, 50), events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

/* ---- Both sides of one socket ---------------------------------------------------------------- */

static const struct probe_line own_shutdown_lines[] = {
    {"own_shutdown.separate_events", "READ CLEAR data=1, WRITE CLEAR"},
    {"own_shutdown.write_side", "WRITE CLEAR EOF"},
    {"own_shutdown.read_side", "READ CLEAR EOF data=0"},
};

static void own_shutdown(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_unix_pair(ends, SOCK_STREAM);
    must(change(kq, (uintptr_t)ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    must(change(kq, (uintptr_t)ends[0], EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0, 0) == 0);
    put(ends[1], "a");
    told("own_shutdown.separate_events", "%s", said(get(kq, events, 20), events));
    must(shutdown(ends[0], SHUT_WR) == 0);
    told("own_shutdown.write_side", "%s", said(get(kq, events, 20), events));
    must(shutdown(ends[0], SHUT_RD) == 0);
    told("own_shutdown.read_side", "%s", said(get(kq, events, 20), events));
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

int main(void) {
    const struct probe probes[] = {PROBE(sock_write), PROBE(connecting), PROBE(datagrams),
                                   PROBE(own_shutdown)};
    return probe_main("sockets", probes, sizeof probes / sizeof probes[0]);
}
