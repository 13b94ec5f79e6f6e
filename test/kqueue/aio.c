/* aio.c - EVFILT_AIO: asynchronous reads and writes that end as events
 *
 * Of kqt: aio, which only FreeBSD has; the fake has not, nor is this compiled elsewhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 8192 };

static char block[BLOCK];

static struct aiocb prepared(int kq, int fd, size_t bytes) {
    struct aiocb call;
    memset(&call, 0, sizeof call);
    call.aio_fildes = fd;
    call.aio_buf = block;
    call.aio_nbytes = bytes;
    call.aio_sigevent.sigev_notify = SIGEV_KEVENT;
    call.aio_sigevent.sigev_notify_kqueue = kq;
    return call;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static const struct probe_line file_lines[] = {
    {"aio.write", "0"},
    {"aio.write_event", "an event with its udata"},
    {"aio.write_return", "8192"},
    {"aio.short_read_oneshot", "1 event, 4096"},
    {"aio.listio", "0, 3 events"},
    {"aio.fsync", "0, 1 event"},
};

static void write_block(int kq, int fd) {
    struct kevent events[EVENTS];
    struct aiocb call = prepared(kq, fd, BLOCK);
    call.aio_sigevent.sigev_value.sival_ptr = (void *)0xa10;
    int result = aio_write(&call);
    told("aio.write", "%s", outcome(result));
    must(result == 0);
    int count = get(kq, events, 2000);
    int is_right = count == 1 && events[0].filter == EVFILT_AIO &&
                   events[0].ident == (uintptr_t)&call && events[0].udata == (void *)0xa10;
    told("aio.write_event", "%s", is_right ? "an event with its udata" : said(count, events));
    told("aio.write_return", "%ld", (long)aio_return(&call));
}

static void read_list(int kq, int fd) {
    struct kevent events[EVENTS];
    struct aiocb calls[3], *list[3];
    int count, total = 0;
    for (int i = 0; i < 3; i++) {
        calls[i] = prepared(kq, fd, 100);
        calls[i].aio_buf = block + i * 100;
        calls[i].aio_offset = i * 100;
        calls[i].aio_lio_opcode = LIO_READ;
        list[i] = &calls[i];
    }
    int result = lio_listio(LIO_NOWAIT, list, 3, NULL);
    while ((count = get(kq, events, 500)) > 0) {
        for (int i = 0; i < count; i++) (void)aio_return((struct aiocb *)events[i].ident);
        total += count;
    }
    told("aio.listio", "%s, %d events", outcome(result), total);
}

static void file(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    const char *name = temp_name();
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    must(fd >= 0);
    write_block(kq, fd);

    struct aiocb call = prepared(kq, fd, BLOCK);
    call.aio_offset = BLOCK / 2;
    call.aio_sigevent.sigev_notify_kevent_flags = EV_ONESHOT;
    must(aio_read(&call) == 0);
    int count = get(kq, events, 2000);
    told("aio.short_read_oneshot", "%d event, %ld", count, (long)aio_return(&call));
    read_list(kq, fd);

    call = prepared(kq, fd, 0);
    int result = aio_fsync(O_SYNC, &call);
    told("aio.fsync", "%s, %d event", outcome(result), result != 0 ? 0 : get(kq, events, 2000));
    (void)aio_return(&call);
    must(unlink(name) == 0);
    must(close(fd) == 0);
    must(close(kq) == 0);
}

/* ---- Sockets --------------------------------------------------------------------------------- */

static const struct probe_line sockets_lines[] = {
    {"aio.socket_read", "nothing, then 1 event, 3"},
    {"aio.socket_cancel", "cancelled, ECANCELED"},
};

static void sockets(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_tcp_pair(ends);
    struct aiocb call = prepared(kq, ends[0], 100);
    must(aio_read(&call) == 0);
    int before = get(kq, events, 50);
    put(ends[1], "hey");
    int count = get(kq, events, 1000);
    told("aio.socket_read", "%s, then %d event, %ld", before == 0 ? "nothing" : "something", count,
         (long)aio_return(&call));
    call = prepared(kq, ends[0], 100);
    must(aio_read(&call) == 0);
    int result = aio_cancel(ends[0], &call);
    (void)get(kq, events, 200);
    told("aio.socket_cancel", "%s, %s", result == AIO_CANCELED ? "cancelled" : "not cancelled",
         error_name(aio_error(&call)));
    (void)aio_return(&call);
    must(close(ends[0]) == 0 && close(ends[1]) == 0);
    must(close(kq) == 0);
}

int main(void) {
    const struct probe probes[] = {PROBE(file), PROBE(sockets)};
    return probe_main("aio", probes, sizeof probes / sizeof probes[0]);
}
