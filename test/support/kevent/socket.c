/* socket.c - when sockets are ready, as FreeBSD sees it
 *
 * EV_EOF for reading: nothing more can arrive, though there may be bytes left. EV_EOF for writing:
 * nothing more can be sent, but not because the peer has merely stopped sending. A socket that is
 * not connected yet is neither. Linux says all that in poll() only in part; the rest is TCP's
 * state, or how the system takes an attempt to send nothing.
 *
 * The error of a connection that is gone is told in fflags. Linux forgets an error once it has told
 * it, and the program is to find it there: it is deduced.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ---- What is known of it --------------------------------------------------------------------- */

static int option(int fd, int name) {
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : 0;
}

enum fake_kind fake_socket_kind(int fd) {
    if (option(fd, SO_TYPE) != SOCK_STREAM) return FAKE_MESSAGES;
    if (option(fd, SO_PROTOCOL) == IPPROTO_TCP) return FAKE_TCP;
    return option(fd, SO_DOMAIN) == AF_UNIX ? FAKE_UNIX_STREAM : FAKE_OTHER;
}

static short poll_socket(int fd, short events) {
    struct pollfd socket = {.fd = fd, .events = events};
    return (short)(poll(&socket, 1, 0) == 1 ? socket.revents : 0);
}

enum way {
    WAY_NONE,   /* not connected (yet) */
    WAY_OPEN,   /* for sending; of receiving, poll() tells */
    WAY_CLOSED, /* for sending */
};

/* TCP's states, as tcpi_state has them. */
enum { FIN_WAIT1 = 4, FIN_WAIT2 = 5, TIME_WAIT = 6, CLOSE = 7, LAST_ACK = 9, CLOSING = 11 };

static bool tcp_info(int fd, struct tcp_info *info) {
    socklen_t len = sizeof *info;
    memset(info, 0, sizeof *info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) == 0;
}

static enum way tcp_way(const struct fake_knote *knote, bool has_error, unsigned *error) {
    struct tcp_info info;
    if (!tcp_info((int)knote->ident, &info)) return WAY_NONE;
    switch (info.tcpi_state) {
    case FIN_WAIT1:
    case FIN_WAIT2:
    case TIME_WAIT:
    case LAST_ACK:
    case CLOSING: return WAY_CLOSED;
    case CLOSE: break;
    default: return WAY_OPEN;
    }
    if (!has_error) return info.tcpi_segs_out == 0 ? WAY_NONE : WAY_CLOSED;
    bool was_connected = info.tcpi_min_rtt != UINT32_MAX;
    if (info.tcpi_segs_in == 0) *error = ETIMEDOUT;
    else *error = was_connected ? ECONNRESET : ECONNREFUSED;
    return WAY_CLOSED;
}

/* Sending nothing to a stream does nothing, but is refused for the same reasons. */
static enum way unix_way(const struct fake_knote *knote) {
    if (send((int)knote->ident, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) == 0) return WAY_OPEN;
    return errno == EPIPE ? WAY_CLOSED : errno == EAGAIN ? WAY_OPEN : WAY_NONE;
}

static enum way way_of(const struct fake_knote *knote, short revents, unsigned *error) {
    bool is_over = (revents & (POLLHUP | POLLERR)) != 0;
    *error = 0;
    switch (knote->of.descriptor.kind) {
    case FAKE_TCP: return tcp_way(knote, (revents & POLLERR) != 0, error);
    case FAKE_UNIX_STREAM: return unix_way(knote);
    case FAKE_MESSAGES: return revents & POLLHUP ? WAY_CLOSED : WAY_OPEN;
    case FAKE_REGULAR:
    case FAKE_DIRECTORY:
    case FAKE_PIPE:
    case FAKE_FIFO:
    case FAKE_TERMINAL:
    case FAKE_QUEUE:
    case FAKE_OTHER: break;
    }
    return is_over ? WAY_CLOSED : WAY_OPEN;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int64_t backlog(int fd) {
    struct tcp_info info;
    if (!tcp_info(fd, &info)) return 1; /* there is no easy way to know, but poll() has said so */
    return info.tcpi_unacked;
}

bool fake_socket_readable(struct fake_knote *knote) {
    int fd = (int)knote->ident, bytes = 0;
    short revents = poll_socket(fd, POLLIN | POLLRDHUP);
    if (revents == 0) return false;
    bool is_listening = ioctl(fd, FIONREAD, &bytes) != 0;
    knote->data = is_listening ? backlog(fd) : bytes;
    if (is_listening) return (revents & POLLIN) != 0;

    unsigned error = 0;
    bool is_ended = (revents & POLLRDHUP) != 0;
    bool is_messages = knote->of.descriptor.kind == FAKE_MESSAGES;
    if (revents & (POLLHUP | POLLERR) && !is_messages) {
        enum way way = way_of(knote, revents, &error);
        if (way == WAY_NONE) return false;
        is_ended = true;
    }
    knote->fflags = error;
    if (is_ended) knote->state_flags |= EV_EOF;
    int64_t low_water = knote->asked_fflags & NOTE_LOWAT ? knote->asked_data : 0;
    if (is_messages) low_water = 0;
    return is_ended || knote->data >= low_water;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int64_t room(int fd) {
    int queued = 0;
    if (ioctl(fd, TIOCOUTQ, &queued) != 0) queued = 0; /* SIOCOUTQ is the same */
    int64_t left = option(fd, SO_SNDBUF) - queued;
    return left > 0 ? left : 1;
}

bool fake_socket_writable(struct fake_knote *knote) {
    int fd = (int)knote->ident;
    unsigned error;
    short revents = poll_socket(fd, POLLOUT);
    if (revents == 0) return false;
    enum way way = way_of(knote, revents, &error);
    if (way == WAY_NONE) return false;
    knote->data = room(fd);
    knote->fflags = error;
    if (way == WAY_CLOSED) knote->state_flags |= EV_EOF;
    return way == WAY_CLOSED || revents & (POLLOUT | POLLERR);
}
