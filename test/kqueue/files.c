/* files.c - files, devices, terminals
 *
 * Of kqt: file (its note is file.write); of kqt2: the lines with "pty", "/dev/..." and "/tmp".
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Files ----------------------------------------------------------------------------------- */

static const struct probe_line file_lines[] = {
    {"file.read_before_the_end", "READ data=11"},
    {"file.read_at_the_end", "nothing"},
    {"file.write", "WRITE"},
    {"file.vnode_add", "0"},
    {"file.vnode_write", "NOTE_WRITE"},
};

static void file(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    const char *name = temp_name();
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    uintptr_t ident = (uintptr_t)fd;
    must(fd >= 0);
    put(fd, "hello world");
    must(lseek(fd, 0, SEEK_SET) == 0);
    must(change(kq, ident, EVFILT_READ, EV_ADD, 0, 0, 0) == 0);
    told("file.read_before_the_end", "%s", said(get(kq, events, 50), events));
    must(lseek(fd, 0, SEEK_END) == 11);
    told("file.read_at_the_end", "%s", said(get(kq, events, 20), events));
    must(change(kq, ident, EVFILT_WRITE, EV_ADD, 0, 0, 0) == 0);
    told("file.write", "%s", said(get(kq, events, 20), events));

    int result = change(kq, ident, EVFILT_VNODE, EV_ADD | EV_CLEAR,
                        NOTE_WRITE | NOTE_DELETE | NOTE_EXTEND, 0, 0);
    told("file.vnode_add", "%s", outcome(result));
    must(get(kq, events, 10) >= 0);
    put(fd, "z");
    int count = get(kq, events, 100);
    const struct kevent *event = of_filter(count, events, EVFILT_VNODE);
    told("file.vnode_write", "%s",
         event != NULL && event->fflags & NOTE_WRITE ? "NOTE_WRITE" : said(count, events));
    must(unlink(name) == 0);
    must(close(fd) == 0);
    must(close(kq) == 0);
}

/* ---- Devices --------------------------------------------------------------------------------- */

static const struct probe_line devices_lines[] = {
    {"device.null", "ENODEV"},     {"device.zero", "ENODEV"},       {"device.random", "ENODEV"},
    {"device.console", "nothing"}, {"device.directory", "nothing"},
};

static void device(const char *name, const char *path) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        told_nothing(name, "it cannot be opened here");
    } else {
        int result = change(kq, (uintptr_t)fd, EVFILT_READ, EV_ADD | EV_ONESHOT, 0, 0, 0);
        told(name, "%s", result != 0 ? outcome(result) : said(get(kq, events, 20), events));
        must(close(fd) == 0);
    }
    must(close(kq) == 0);
}

static void devices(void) {
    device("device.null", "/dev/null");
    device("device.zero", "/dev/zero");
    device("device.random", "/dev/random");
    device("device.console", "/dev/console");
    device("device.directory", "/tmp");
}

/* ---- Terminals ------------------------------------------------------------------------------- */

static const struct probe_line pty_lines[] = {
    {"pty.master_read_add", "0"},
    {"pty.slave_read_add", "0"},
    {"pty.master_write_add", "0"},
    {"pty.idle", "WRITE CLEAR"},
    {"pty.master_wrote", "READ CLEAR data=3, READ CLEAR data=4"},
    {"pty.slave_wrote", "READ CLEAR data=7"},
    {"pty.slave_closed", "READ CLEAR EOF data=0, WRITE CLEAR EOF"},
};

/* What one side writes the other has not at once everywhere: all that comes within a while. */
static void pty(void) {
    int kq = kqueue();
    struct kevent events[EVENTS];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    must(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    must(slave >= 0);
    int result = change(kq, (uintptr_t)master, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 0);
    told("pty.master_read_add", "%s", outcome(result));
    result = change(kq, (uintptr_t)slave, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 0);
    told("pty.slave_read_add", "%s", outcome(result));
    result = change(kq, (uintptr_t)master, EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0, 0);
    told("pty.master_write_add", "%s", outcome(result));
    told("pty.idle", "%s", said(get(kq, events, 20), events));
    put(master, "hi\n");
    told("pty.master_wrote", "%s", said(collect(kq, events, EVENTS, 200), events));
    put(slave, "out");
    told("pty.slave_wrote", "%s", said(collect(kq, events, EVENTS, 200), events));
    must(close(slave) == 0);
    told("pty.slave_closed", "%s", said(collect(kq, events, EVENTS, 200), events));
    must(close(master) == 0);
    must(close(kq) == 0);
}

int main(void) {
    const struct probe probes[] = {PROBE(file), PROBE(devices), PROBE(pty)};
    return probe_main("files", probes, sizeof probes / sizeof probes[0]);
}
