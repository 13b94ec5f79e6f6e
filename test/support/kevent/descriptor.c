/* descriptor.c - EVFILT_READ and EVFILT_WRITE: what descriptors are, and when they are ready
 *
 * An edge from epoll lists the knote; when it is its turn the descriptor itself is asked, with
 * poll() and what its kind has beyond that. Where FreeBSD's kinds differ from Linux's, theirs hold:
 * files are readable before their end only, and always writable; devices without readiness are
 * ENODEV; the write side of a pipe that nobody reads from is told once and is EPIPE thereafter.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- Kinds ----------------------------------------------------------------------------------- */

enum { MEMORY_DEVICES = 1 }; /* the major number of /dev/null, zero, random and their like */

/* One that was made by pipe() has no name in a file system. */
static bool is_named(int fd) {
    char path[64], target[8] = "";
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof target - 1) < 0 || strncmp(target, "pipe:", 5) != 0;
}

static int find_kind(struct fake_knote *knote) {
    struct fake_of_descriptor *of = &knote->of.descriptor;
    int fd = (int)knote->ident;
    struct stat file;
    if (of->inner != NULL) {
        of->kind = FAKE_QUEUE;
        return 0;
    }
    if (fstat(fd, &file) != 0) return errno;
    switch (file.st_mode & S_IFMT) {
    case S_IFREG: of->kind = FAKE_REGULAR; return 0;
    case S_IFDIR: of->kind = FAKE_DIRECTORY; return 0;
    case S_IFIFO: of->kind = is_named(fd) ? FAKE_FIFO : FAKE_PIPE; return 0;
    case S_IFSOCK: of->kind = fake_socket_kind(fd); return 0;
    case S_IFCHR:
        if (major(file.st_rdev) == MEMORY_DEVICES) return ENODEV;
        of->kind = isatty(fd) ? FAKE_TERMINAL : FAKE_OTHER;
        return 0;
    }
    of->kind = FAKE_OTHER;
    return 0;
}

static bool is_file(const struct fake_knote *knote) {
    enum fake_kind kind = knote->of.descriptor.kind;
    return kind == FAKE_REGULAR || kind == FAKE_DIRECTORY;
}

/* ---- Registration ---------------------------------------------------------------------------- */

static int poll_now(const struct fake_knote *knote, short events) {
    struct pollfd descriptor = {.fd = (int)knote->ident, .events = events};
    return poll(&descriptor, 1, 0) == 1 ? descriptor.revents : 0;
}

static int add_to_set(struct fake_knote *knote, int set, unsigned events) {
    struct epoll_event event = {.events = events | EPOLLET, .data = {.ptr = knote}};
    int fd = (int)knote->ident;
    int result = epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    if (result != 0 && errno == EEXIST) result = epoll_ctl(set, EPOLL_CTL_MOD, fd, &event);
    if (result == 0) {
        knote->of.descriptor.is_in_set = true;
        return 0;
    }
    if (errno == EPERM) return ENODEV; /* it has no readiness */
    return errno == ELOOP ? EINVAL : errno;
}

static void remove_from_set(struct fake_knote *knote, int set) {
    struct epoll_event none = {.events = 0};
    if (knote->of.descriptor.is_in_set) {
        (void)epoll_ctl(set, EPOLL_CTL_DEL, (int)knote->ident, &none);
    }
    knote->of.descriptor.is_in_set = false;
}

static int attach_read(struct fake_knote *knote) {
    int error = find_kind(knote);
    if (error != 0) return error;
    if (!is_file(knote)) return add_to_set(knote, knote->queue->read_set, EPOLLIN | EPOLLRDHUP);
    (void)fake_vnode_watch(knote); /* without it nobody hears of growth, that is all */
    return 0;
}

static void detach_read(struct fake_knote *knote) {
    remove_from_set(knote, knote->queue->read_set);
    fake_vnode_unwatch(knote);
}

static int attach_write(struct fake_knote *knote) {
    int error = find_kind(knote);
    if (error != 0) return error;
    if (is_file(knote)) return 0;
    if (knote->of.descriptor.kind == FAKE_PIPE && poll_now(knote, POLLOUT) & POLLERR) return EPIPE;
    if (knote->of.descriptor.kind == FAKE_QUEUE) return EINVAL;
    return add_to_set(knote, knote->queue->write_set, EPOLLOUT);
}

static void detach_write(struct fake_knote *knote) {
    remove_from_set(knote, knote->queue->write_set);
}

/* What has been told is told again if asked for anew. The number may have got another meaning
 * unnoticed: then a set does not have it any more. */
static int touch(struct fake_knote *knote, const struct kevent *change) {
    knote->asked_fflags = change->fflags;
    knote->asked_data = change->data;
    knote->of.descriptor.is_ended = false;
    if (!(change->flags & EV_ADD)) return 0;
    knote->filter->detach(knote);
    return knote->filter->attach(knote);
}

/* A connection ends once: an edge after that is none. (A pipe begins again with a new writer, and a
 * socket whose connection failed may be tried again.) */
static bool ends_connection(const struct fake_knote *knote) {
    enum fake_kind kind = knote->of.descriptor.kind;
    if (kind != FAKE_TCP && kind != FAKE_UNIX_STREAM) return false;
    return knote->state_flags & EV_EOF && knote->fflags == 0;
}

static bool is_news(const struct fake_knote *knote) {
    return !knote->of.descriptor.is_ended || !ends_connection(knote);
}

/* To count what is in a queue may ring its bell. An edge until now is none: whoever is told that
 * there is something in it has yet to look. */
static void taken(struct fake_knote *knote) {
    knote->of.descriptor.is_ended = ends_connection(knote);
    if (knote->of.descriptor.kind == FAKE_QUEUE) {
        fake_queue_collect(knote->queue);
        fake_knote_unlist(knote);
    }
}

/* ---- Readable? ------------------------------------------------------------------------------- */

static int64_t bytes_to_read(const struct fake_knote *knote, int64_t otherwise) {
    int bytes = 0;
    return ioctl((int)knote->ident, FIONREAD, &bytes) == 0 ? bytes : otherwise;
}

static int64_t low_water(const struct fake_knote *knote) {
    return knote->asked_fflags & NOTE_LOWAT ? knote->asked_data : 0;
}

/* "May be negative", says the manual of data. */
static bool file_readable(struct fake_knote *knote) {
    struct stat file;
    int fd = (int)knote->ident;
    if (fstat(fd, &file) != 0) return false;
    knote->data = file.st_size - lseek(fd, 0, SEEK_CUR);
    return knote->data != 0 || knote->asked_fflags & NOTE_FILE_POLL;
}

static bool pipe_readable(struct fake_knote *knote) {
    int revents = poll_now(knote, POLLIN);
    knote->data = bytes_to_read(knote, 0);
    if (revents & POLLHUP) knote->state_flags |= EV_EOF;
    return revents & POLLHUP || (revents & POLLIN && knote->data >= low_water(knote));
}

/* What a terminal's other side had written is lost as it hangs up. */
static bool terminal_readable(struct fake_knote *knote) {
    int revents = poll_now(knote, POLLIN);
    if (revents & POLLHUP) knote->state_flags |= EV_EOF;
    knote->data = revents & POLLHUP ? 0 : bytes_to_read(knote, 1);
    return revents != 0;
}

static bool other_readable(struct fake_knote *knote) {
    knote->data = bytes_to_read(knote, 1);
    return poll_now(knote, POLLIN) != 0;
}

static bool readable(struct fake_knote *knote) {
    switch (knote->of.descriptor.kind) {
    case FAKE_REGULAR: return file_readable(knote);
    case FAKE_DIRECTORY: return false;
    case FAKE_PIPE:
    case FAKE_FIFO: return pipe_readable(knote);
    case FAKE_TERMINAL: return terminal_readable(knote);
    case FAKE_TCP:
    case FAKE_UNIX_STREAM:
    case FAKE_MESSAGES: return fake_socket_readable(knote);
    case FAKE_QUEUE:
        knote->data = (int64_t)fake_queue_count(knote->of.descriptor.inner);
        return knote->data > 0;
    case FAKE_OTHER: return other_readable(knote);
    }
    return false;
}

static bool ready_read(struct fake_knote *knote) {
    knote->fflags = 0;
    knote->state_flags = 0;
    return readable(knote) && is_news(knote);
}

/* ---- Writable? ------------------------------------------------------------------------------- */

static bool pipe_writable(struct fake_knote *knote) {
    int revents = poll_now(knote, POLLOUT);
    knote->data = fcntl((int)knote->ident, F_GETPIPE_SZ) - bytes_to_read(knote, 0);
    if (revents & POLLERR) knote->state_flags |= EV_EOF;
    if (revents & POLLERR && knote->of.descriptor.kind == FAKE_PIPE) {
        knote->state_flags |= EV_ONESHOT;
    }
    return revents != 0;
}

static bool other_writable(struct fake_knote *knote) {
    int revents = poll_now(knote, POLLOUT);
    knote->data = 1;
    if (revents & POLLHUP) knote->state_flags |= EV_EOF;
    return revents != 0;
}

static bool writable(struct fake_knote *knote) {
    switch (knote->of.descriptor.kind) {
    case FAKE_REGULAR:
    case FAKE_DIRECTORY: knote->data = 0; return true;
    case FAKE_PIPE:
    case FAKE_FIFO: return pipe_writable(knote);
    case FAKE_TCP:
    case FAKE_UNIX_STREAM:
    case FAKE_MESSAGES: return fake_socket_writable(knote);
    case FAKE_QUEUE: return false;
    case FAKE_TERMINAL:
    case FAKE_OTHER: return other_writable(knote);
    }
    return false;
}

static bool ready_write(struct fake_knote *knote) {
    knote->fflags = 0;
    knote->state_flags = 0;
    return writable(knote) && is_news(knote);
}

const struct fake_filter fake_read = {
    .number = EVFILT_READ,
    .is_descriptor = true,
    .attach = attach_read,
    .detach = detach_read,
    .touch = touch,
    .ready = ready_read,
    .taken = taken,
};

const struct fake_filter fake_write = {
    .number = EVFILT_WRITE,
    .is_descriptor = true,
    .attach = attach_write,
    .detach = detach_write,
    .touch = touch,
    .ready = ready_write,
    .taken = taken,
};
