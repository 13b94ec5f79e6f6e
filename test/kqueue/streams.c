/* streams.c - pipes, FIFOs and connections: data, room, and the end
 *
 * Of kqt: pipe-read, pipe-write, eof-*; of kqt2: the lines with "fifo". In kqt's pipe-write the two
 * notes are the lines one_byte_read and more_read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Pipes ----------------------------------------------------------------------------------- */

static const struct probe_line pipe_read_lines[] = {
    {"pipe_read.empty", "nothing"},
    {"pipe_read.three_bytes", "READ data=3 udata=11"},
    {"pipe_read.level_repeats", "READ data=3 udata=11"},
    {"pipe_read.data_grows", "READ data=5 udata=11"},
    {"pipe_read.eof_with_data", "READ EOF data=5 udata=11"},
    {"pipe_read.eof_drained", "READ EOF data=0 udata=11"},
    {"pipe_read.close_drops", "nothing"},
};

static void pipe_read(void) {
    int kq = kqueue(), ends[2];
    struct kevent events[EVENTS];
    make_pipe(ends);
    must(change(kq, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0, 0, 0x11) == 0);
    told("pipe_read.empty", "%s", said(get(kq, events, 0), events));
    put(ends[1], "abc");
    told("pipe_read.three_bytes", "%s", said(get(kq, events, 1000), events));
    told("pipe_read.level_repeats", "%s", said(get(kq, events, 0), events));
    put(ends[1], "de");
    told("pipe_read.data_grows", "%s", said(get(kq, events, 0), events));
    must(close(ends[1]) == 0);
    told("pipe_read.eof_with_data", "%s", said(get(kq, events, 100), events));
    must(take(ends[0], 16) == 5);
    told("pipe_read.eof_drained", "%s", said(get(kq, events, 100), events));
    must(close(ends[0]) == 0);
    told("pipe_read.close_drops", "%s", said(get(kq, events, 0), events));
    must(close(kq) == 0);
}

static const struct probe_line pipe_write_lines[] = {
    {"pipe_write.room", "WRITE"},
    {"pipe_write.full", "nothing"},
    {"pipe_write.one_byte_read", "nothing"},
    {"pipe_write.more_read", "WRITE"},
    {"pipe_write.reader_closed", "WRITE ONESHOT EOF"},
    {"pipe_write.gone_after_that", "ENOENT"},
};

static void pipe_write(void) {
    int kq = kqueue(), ends[2], count;
    struct kevent events[EVENTS];
    char block[4096];
    memset(block, 1, sizeof block);
    make_pipe(ends);
    set_nonblocking(ends[1]);
    must(change(kq, (uintptr_t)ends[1], EVFILT_WRITE, EV_ADD, 0, 0, 0) == 0);
    told("pipe_write.room", "%s", said(get(kq, events, 100), events));
    while (write(ends[1], block, sizeof block) > 0) continue;
    told("pipe_write.full", "%s", said(get(kq, events, 50), events));
    must(take(ends[0], 1) == 1);
    told("pipe_write.one_byte_read", "%s", said(get(kq, events, 50), events));
    do {
        must(take(ends[0], 512) > 0);
        count = get(kq, events, 0);
    } while (count == 0);
    told("pipe_write.more_read", "%s", said(count, events));
    must(close(ends[0]) == 0);
    told("pipe_write.reader_closed", "%s", said(get(kq, events, 100), events));
    int result = change(kq, (uintptr_t)ends[1], EVFILT_WRITE, EV_DELETE, 0, 0, 0);
    told("pipe_write.gone_after_that", "%s", outcome(result));
    must(close(ends[1]) == 0);
    must(close(kq) == 0);
}

static const struct probe_line fifo_lines[] = {
    {"fifo.no_writer_yet", "nothing"},
    {"fifo.writer_opened", "nothing"},
    {"fifo.data", "READ data=1"},
    {"fifo.writer_closed_with_data", "READ EOF data=1"},
};

static void fifo(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    const char *name = temp_name();
    must(mkfifo(name, 0600) == 0);
    int reader = open(name, O_RDONLY | O_NONBLOCK);
    must(change(kq, (uintptr_t)reader, EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    told("fifo.no_writer_yet", "%s", said(get(kq, events, 20), events));
    int writer = open(name, O_WRONLY | O_NONBLOCK);
    must(writer >= 0);
    told("fifo.writer_opened", "%s", said(get(kq, events, 20), events));
    put(writer, "x");
    told("fifo.data", "%s", said(get(kq, events, 20), events));
    must(close(writer) == 0);
    told("fifo.writer_closed_with_data", "%s", said(get(kq, events, 20), events));
    must(close(reader) == 0);
    must(unlink(name) == 0);
    must(close(kq) == 0);
}

/* ---- The end of a connection ----------------------------------------------------------------- */

enum end { CLOSE, SHUTDOWN, RESET };

static void end_it(int fd, enum end how) {
    if (how == SHUTDOWN) {
        must(shutdown(fd, SHUT_WR) == 0);
        return;
    }
    struct linger at_once = {1, 0};
    if (how == RESET) {
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    }
    must(close(fd) == 0);
}

/* The lines' names: with the end and data, drained, of EVFILT_WRITE, of what can be sent still. */
struct eof_names {
    const char *with_data, *drained, *write_side, *sending;
};

/* Not whether there is an event for writing: FreeBSD has one more often than Linux or less often,
 * depending on what was acknowledged. */
static const char *write_side(int count, const struct kevent *events) {
    const struct kevent *event = of_filter(count, events, EVFILT_WRITE);
    if (event == NULL || !(event->flags & EV_EOF)) return "no EOF";
    return said(1, event);
}

static void end_of(int ends[2], enum end how, const struct eof_names *names) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    must(change(kq, (uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0, 0, 1) == 0);
    must(change(kq, (uintptr_t)ends[0], EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0, 2) == 0);
    must(get(kq, events, 100) == 1);
    put(ends[1], "hello");
    sleep_ms(20);
    end_it(ends[1], how);
    sleep_ms(50);
    int count = get(kq, events, 200);
    const struct kevent *reading = of_filter(count, events, EVFILT_READ);
    told(names->with_data, "%s", said(reading != NULL, reading));
    told(names->write_side, "%s", write_side(count, events));
    must(take(ends[0], 16) == 5); /* after a reset, too */
    count = get(kq, events, 100);
    reading = of_filter(count, events, EVFILT_READ);
    if (how != RESET) told(names->drained, "%s", said(reading != NULL, reading));
    if (how == SHUTDOWN) {
        told(names->sending, "%s", write(ends[0], "x", 1) == 1 ? "works" : error_name(errno));
        must(close(ends[1]) == 0);
    }
    must(close(ends[0]) == 0);
    must(close(kq) == 0);
}

static const struct probe_line end_lines[] = {
    {"eof_tcp_close.with_data", "READ EOF data=5 udata=1"},
    {"eof_tcp_close.write_side", "no EOF"},
    {"eof_tcp_close.drained", "READ EOF data=0 udata=1"},
    {"eof_tcp_shutdown.with_data", "READ EOF data=5 udata=1"},
    {"eof_tcp_shutdown.write_side", "no EOF"},
    {"eof_tcp_shutdown.drained", "READ EOF data=0 udata=1"},
    {"eof_tcp_shutdown.sending", "works"},
    {"eof_tcp_rst.with_data", "READ EOF ECONNRESET data=5 udata=1"},
    {"eof_tcp_rst.write_side", "WRITE CLEAR EOF ECONNRESET udata=2"},
    {"eof_unix_close.with_data", "READ EOF data=5 udata=1"},
    {"eof_unix_close.write_side", "WRITE CLEAR EOF udata=2"},
    {"eof_unix_close.drained", "READ EOF data=0 udata=1"},
    {"eof_unix_shutdown.with_data", "READ EOF data=5 udata=1"},
    {"eof_unix_shutdown.write_side", "no EOF"},
    {"eof_unix_shutdown.drained", "READ EOF data=0 udata=1"},
    {"eof_unix_shutdown.sending", "works"},
};

#define NAMES(of)                                                                                  \
    { of ".with_data", of ".drained", of ".write_side", of ".sending" }

static void end(void) {
    static const struct {
        int is_tcp;
        enum end how;
        struct eof_names names;
    } rows[] = {
        {1, CLOSE, NAMES("eof_tcp_close")},        {1, SHUTDOWN, NAMES("eof_tcp_shutdown")},
        {1, RESET, NAMES("eof_tcp_rst")},          {0, CLOSE, NAMES("eof_unix_close")},
        {0, SHUTDOWN, NAMES("eof_unix_shutdown")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int ends[2];
        if (rows[i].is_tcp) make_tcp_pair(ends);
        else make_unix_pair(ends, SOCK_STREAM);
        end_of(ends, rows[i].how, &rows[i].names);
    }
}

int main(void) {
    const struct probe probes[] = {PROBE(pipe_read), PROBE(pipe_write), PROBE(fifo), PROBE(end)};
    return probe_main("streams", probes, sizeof probes / sizeof probes[0]);
}
