/* ops_options.c - options of sockets: which has which, and that each does what it says
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"
#include "portable.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TCP4 = 1, TCP6 = 2, UDP4 = 4, UDP6 = 8, UNIX_STREAM = 16, UNIX_MESSAGES = 32 };

#define AT_LEAST INT64_MAX /* the value, or more */
#define TCP (TCP4 | TCP6)
#define UDP (UDP4 | UDP6)
#define UNIX (UNIX_STREAM | UNIX_MESSAGES)

static const struct {
    enum ferry_option option;
    int has;             /* the sockets that have it */
    int64_t value, says; /* that is set, and what is told then */
    int64_t wrong;       /* a value that it does not take */
} rows[] = {
    {FERRY_OPT_REUSE_ADDR, TCP | UDP, 1, 1, 2},
    {FERRY_OPT_REUSE_PORT, TCP | UDP, 1, 1, -1},
    {FERRY_OPT_V6ONLY, TCP6 | UDP6, 1, 1, 2},
    {FERRY_OPT_SEND_BUFFER_BYTES, TCP | UDP | UNIX, 20000, AT_LEAST, -1},
    {FERRY_OPT_RECV_BUFFER_BYTES, TCP | UDP | UNIX, 20000, AT_LEAST, INT64_MAX},
    {FERRY_OPT_KEEPALIVE, TCP, 1, 1, 2},
    {FERRY_OPT_KEEPALIVE_IDLE_S, TCP, 77, 77, 0},
    {FERRY_OPT_KEEPALIVE_INTERVAL_S, TCP, 7, 7, 1000000},
    {FERRY_OPT_KEEPALIVE_COUNT, TCP, 5, 5, 1000},
    {FERRY_OPT_NODELAY, TCP, 1, 1, 3},
    {FERRY_OPT_LINGER_S, TCP, 9, 9, -2},
    {FERRY_OPT_LINGER_S, TCP, 0, 0, INT64_MIN},
    {FERRY_OPT_LINGER_S, TCP, -1, -1, -2},
    {FERRY_OPT_BROADCAST, UDP, 1, 1, 2},
    {FERRY_OPT_HOPS, TCP | UDP, 9, 9, 256},
    {FERRY_OPT_HOPS, TCP | UDP, 255, 255, -2},
    {FERRY_OPT_CLASS, TCP | UDP, 0x20, 0x20, 256},
    {FERRY_OPT_RECV_PACKET_INFO, UDP, 1, 1, 2},
    {FERRY_OPT_RECV_HOPS, UDP, 1, 1, 2},
    {FERRY_OPT_RECV_CLASS, UDP, 1, 1, 2},
    {FERRY_OPT_MULTICAST_HOPS, UDP, 3, 3, 256},
    {FERRY_OPT_MULTICAST_LOOP, UDP, 0, 0, 2},
    {FERRY_OPT_UDP_SEGMENT_BYTES, UDP, 1200, 1200, 65536},
    {FERRY_OPT_UDP_GRO, UDP, 1, 1, 2},
    {FERRY_OPT_PASS_CREDENTIALS, UNIX, 1, 1, 2},
};

#define ROWS (sizeof rows / sizeof rows[0])

/* Those that Windows has not at all, or not in all its versions. */
static int may_be_missing(enum ferry_option option) {
    static const enum ferry_option missing[] = {
        FERRY_OPT_REUSE_PORT,       FERRY_OPT_CLASS,
        FERRY_OPT_KEEPALIVE_IDLE_S, FERRY_OPT_KEEPALIVE_INTERVAL_S,
        FERRY_OPT_KEEPALIVE_COUNT,  FERRY_OPT_UDP_SEGMENT_BYTES,
        FERRY_OPT_UDP_GRO,          FERRY_OPT_PASS_CREDENTIALS};
    for (size_t i = 0; TEST_WINDOWS && i < sizeof missing / sizeof missing[0]; i++) {
        if (missing[i] == option) return 1;
    }
    return 0;
}

static void row_check(ferry_loop *loop, ferry_fd fd, int sort, size_t i) {
    int64_t value = 0;
    int set = ferry_socket_set(loop, fd, rows[i].option, rows[i].value);
    int get = ferry_socket_get(loop, fd, rows[i].option, &value);
    int wrong = ferry_socket_set(loop, fd, rows[i].option, rows[i].wrong);
    if (set == FERRY_ENOTSUP && may_be_missing(rows[i].option)) {
        assert_int_equal(get, FERRY_ENOTSUP);
        return;
    }
    if (!(rows[i].has & sort)) {
        if (set != FERRY_ENOPROTOOPT || get != FERRY_ENOPROTOOPT || wrong != FERRY_ENOPROTOOPT) {
            fail_msg("row %zu, socket %d: %s, %s", i, sort, ferry_error_name(set),
                     ferry_error_name(get));
        }
        return;
    }
    if (set != 0 || get != 0) {
        fail_msg("row %zu, socket %d: %s, %s", i, sort, ferry_error_name(set),
                 ferry_error_name(get));
    }
    if (rows[i].says == AT_LEAST ? value < rows[i].value : value != rows[i].says) {
        fail_msg("row %zu, socket %d: says %lld", i, sort, (long long)value);
    }
    if (wrong != FERRY_EINVAL) {
        fail_msg("row %zu, socket %d: %s", i, sort, ferry_error_name(wrong));
    }
}

static void ops_options_on_every_socket(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static const struct {
        enum ferry_family family;
        enum ferry_socket_type type;
        int sort;
    } sockets[] = {{FERRY_INET, FERRY_STREAM, TCP4},
                   {FERRY_INET6, FERRY_STREAM, TCP6},
                   {FERRY_INET, FERRY_DATAGRAM, UDP4},
                   {FERRY_INET6, FERRY_DATAGRAM, UDP6},
                   {FERRY_UNIX, FERRY_STREAM, UNIX_STREAM},
                   {FERRY_UNIX, FERRY_DATAGRAM, UNIX_MESSAGES},
                   {FERRY_UNIX, FERRY_SEQPACKET, UNIX_MESSAGES}};
    for (size_t s = 0; s < sizeof sockets / sizeof sockets[0]; s++) {
        if (sockets[s].type == FERRY_SEQPACKET && !TEST_SEQPACKET) continue;
        int type = sockets[s].type == FERRY_STREAM ? SOCK_STREAM : SOCK_DGRAM;
        if (sockets[s].family == FERRY_UNIX && omits_unix(type)) continue;
        ferry_fd fd = FERRY_FD_NONE;
        int error = ferry_socket(loop, &fd, sockets[s].family, sockets[s].type);
        if (error == FERRY_EAFNOSUPPORT && sockets[s].family == FERRY_INET6) continue;
        assert_int_equal(error, 0);
        for (size_t i = 0; i < ROWS; i++) row_check(loop, fd, sockets[s].sort, i);
        close_near(loop, fd);
    }
    finish(loop);
}

/* None is missing from the table above but the one that has a test of its own. */
static void ops_options_are_all_tested(void **state) {
    (void)state;
    for (int option = FERRY_OPT_REUSE_ADDR; option <= FERRY_OPT_PASS_CREDENTIALS; option++) {
        int found = option == FERRY_OPT_MULTICAST_INTERFACE;
        for (size_t i = 0; i < ROWS; i++) found |= (int)rows[i].option == option;
        if (!found) fail_msg("option %d", option);
    }
}

static void ops_options_bad_input(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = make_file(temp_path("file"), "", 0), fds[2];
    int64_t value = 5;
    tcp_pair(loop, fds);
    const int options[] = {0, -1, FERRY_OPT_PASS_CREDENTIALS + 1, 1000000};
    for (int i = 0; i < 4; i++) {
        enum ferry_option option = (enum ferry_option)options[i];
        assert_int_equal(ferry_socket_set(loop, fds[0], option, 1), FERRY_EINVAL);
        assert_int_equal(ferry_socket_get(loop, fds[0], option, &value), FERRY_EINVAL);
    }
    for (size_t i = 0; i < ROWS; i++) {
        enum ferry_option option = rows[i].option;
        assert_int_equal(ferry_socket_set(loop, file, option, 1), FERRY_ENOTSOCK);
        assert_int_equal(ferry_socket_get(loop, file, option, &value), FERRY_ENOTSOCK);
        assert_int_equal(ferry_socket_set(loop, closed_fd(), option, 1), FERRY_EBADF);
        assert_int_equal(ferry_socket_get(loop, FERRY_FD_NONE, option, &value), FERRY_EBADF);
        assert_int_equal(ferry_socket_get(loop, fds[0], option, NULL), FERRY_EINVAL);
    }
    assert_int_equal(value, 5);
    if (!is_wine()) assert_int_equal(ferry_listen_fd(loop, file, 0), FERRY_ENOTSOCK);
    assert_int_equal(ferry_listen_fd(loop, FERRY_FD_NONE, 0), FERRY_EBADF);
    assert_int_equal(ferry_listen_fd(loop, fds[0], -1), FERRY_EINVAL);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    close_near(loop, file);
    finish(loop);
}

/* The system knows them by the names that one would look for. */
static void ops_options_reach_the_system(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fd = FERRY_FD_NONE;
    static const struct {
        enum ferry_option option;
        int level, name;
    } known[] = {
        {FERRY_OPT_REUSE_PORT, SOL_SOCKET, SO_REUSEPORT},
        {FERRY_OPT_REUSE_ADDR, SOL_SOCKET, SO_REUSEADDR},
        {FERRY_OPT_KEEPALIVE, SOL_SOCKET, SO_KEEPALIVE},
        {FERRY_OPT_KEEPALIVE_IDLE_S, IPPROTO_TCP, TCP_KEEPIDLE},
        {FERRY_OPT_KEEPALIVE_INTERVAL_S, IPPROTO_TCP, TCP_KEEPINTVL},
        {FERRY_OPT_KEEPALIVE_COUNT, IPPROTO_TCP, TCP_KEEPCNT},
        {FERRY_OPT_NODELAY, IPPROTO_TCP, TCP_NODELAY},
        {FERRY_OPT_HOPS, IPPROTO_IP, IP_TTL},
    };
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int value = 0;
        socklen_t len = sizeof value;
        if (TEST_WINDOWS && i < 2) continue; /* docs/windows.md says why */
        int error = ferry_socket_set(loop, fd, known[i].option, 1);
        if (TEST_WINDOWS && error == FERRY_ENOTSUP) continue; /* not on older ones */
        assert_int_equal(error, 0);
        assert_int_equal(getsockopt(fd, known[i].level, known[i].name, &value, &len), 0);
        assert_int_equal(value, 1);
    }
    close_near(loop, fd);
    finish(loop);
}

/* ---- What they do ---------------------------------------------------------------------- */

static ferry_fd stream_at(ferry_loop *loop, const ferry_addr *addr, int shared, int *error) {
    ferry_fd fd = FERRY_FD_NONE;
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    if (shared) assert_int_equal(ferry_socket_set(loop, fd, FERRY_OPT_REUSE_PORT, 1), 0);
    *error = ferry_bind(loop, fd, addr);
    if (*error == 0) *error = ferry_listen_fd(loop, fd, 64);
    return fd;
}

/* Two listeners on one port, each of which gets some; a third that does not share gets none. */
static void ops_options_reuse_port(void **state) {
    (void)state;
    differs_on_windows("several sockets of one port do not share what comes");
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd fds[3], guests[64];
    unsigned got[2] = {0, 0};
    int error;
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    fds[0] = stream_at(loop, &addr, 1, &error);
    assert_int_equal(error, 0);
    assert_int_equal(ferry_local_addr(loop, fds[0], &addr), 0);
    fds[1] = stream_at(loop, &addr, 1, &error);
    assert_int_equal(error, 0);
    fds[2] = stream_at(loop, &addr, 0, &error);
    assert_int_equal(error, FERRY_EADDRINUSE);
    /* Bound, it is too late to say so. */
    assert_int_equal(ferry_socket_set(loop, fds[0], FERRY_OPT_REUSE_PORT, 0), FERRY_EINVAL);
    assert_int_equal(ferry_socket_set(loop, fds[0], FERRY_OPT_REUSE_ADDR, 1), FERRY_EINVAL);
    for (unsigned i = 0; i < 64; i++) {
        guests[i] = plain_socket(AF_INET, SOCK_STREAM);
        plain_connect(guests[i], &addr);
    }
    for (unsigned i = 0; i < 2; i++) {
        ferry_fd fd;
        set_nonblocking(fds[i]);
        while ((fd = plain_accept(fds[i])) >= 0) {
            got[i]++;
            close(fd);
        }
    }
    assert_int_equal(got[0] + got[1], 64);
    assert_true(got[0] > 0 && got[1] > 0);
    for (unsigned i = 0; i < 64; i++) close(guests[i]);
    for (unsigned i = 0; i < 3; i++) close_near(loop, fds[i]);
    finish(loop);
}

/* A listener that ferry_listen_fd() made accepts; for datagrams there is none. */
static void ops_listen_fd(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    struct probe accept = {.calls = 0};
    int error;
    ferry_addr_parse(&addr, "127.0.0.1:0");
    ferry_fd listener = stream_at(loop, &addr, 0, &error), guest;
    assert_int_equal(error, 0);
    assert_int_equal(ferry_local_addr(loop, listener, &addr), 0);
    ferry_accept(loop, &accept.op, listener, NULL, 0, probe_done);
    guest = plain_socket(AF_INET, SOCK_STREAM);
    plain_connect(guest, &addr);
    probe_wait(loop, &accept);
    assert_true(accept.result >= 0);
    close_near(loop, (ferry_fd)accept.result);
    close_near(loop, listener);
    close_far(guest);
    ferry_fd udp = udp_at(loop, "127.0.0.1:0", &addr);
    assert_int_equal(ferry_listen_fd(loop, udp, 0), FERRY_ENOTSUP);
    close_near(loop, udp);
    finish(loop);
}

/* Without V6ONLY a listener on IPv6 takes IPv4 as well. */
static void ops_options_v6only(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (int only = 0; only < 2; only++) {
        ferry_fd fd = FERRY_FD_NONE;
        ferry_addr addr, to;
        assert_int_equal(ferry_addr_parse(&addr, "[::]:0"), 0);
        if (ferry_socket(loop, &fd, FERRY_INET6, FERRY_STREAM) != 0) break; /* no IPv6 here */
        assert_int_equal(ferry_socket_set(loop, fd, FERRY_OPT_V6ONLY, only), 0);
        assert_int_equal(ferry_bind(loop, fd, &addr), 0);
        assert_int_equal(ferry_socket_set(loop, fd, FERRY_OPT_V6ONLY, only), FERRY_EINVAL);
        assert_int_equal(ferry_listen_fd(loop, fd, 0), 0);
        assert_int_equal(ferry_local_addr(loop, fd, &addr), 0);
        /* Others listen on 127.0.0.1, perhaps on this very port: not here. */
        assert_int_equal(ferry_addr_parse(&to, "127.0.0.6:1"), 0);
        struct sockaddr_in in;
        memcpy(&in, to.data.bytes, sizeof in);
        in.sin_port = htons((uint16_t)ferry_addr_port(&addr));
        memcpy(to.data.bytes, &in, sizeof in);
        struct probe connect = {.calls = 0};
        ferry_fd guest = FERRY_FD_NONE;
        assert_int_equal(ferry_socket(loop, &guest, FERRY_INET, FERRY_STREAM), 0);
        ferry_connect(loop, &connect.op, guest, &to, 0, probe_done);
        expect(loop, &connect, only ? FERRY_ECONNREFUSED : 0);
        close_near(loop, guest);
        close_near(loop, fd);
    }
    finish(loop);
}

/* A linger of 0 means a reset, and it is not held up by input that lies unread. */
static void ops_options_linger_of_0_resets(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    int told = !omits_on_wine("Wine takes a reset before the receive for the end of the stream");
    for (int unread = 0; unread < 2; unread++) {
        ferry_fd fds[2];
        char buf[8];
        struct probe send = {.calls = 0};
        int ended = 0;
        tcp_pair(loop, fds);
        ferry_send(loop, &send.op, fds[0], "sent", 4, 0, probe_done);
        expect(loop, &send, 4);
        if (unread) plain_send(fds[1], "unread", 6);
        assert_int_equal(ferry_socket_set(loop, fds[0], FERRY_OPT_LINGER_S, 0), 0);
        uint64_t start_ns = clock_ns();
        close_near(loop, fds[0]);
        assert_true(clock_ns() - start_ns < SECOND * TEST_STRETCH);
        while (far_take(fds[1], buf, sizeof buf, &ended) > 0) {
        }
        if (told) assert_int_equal(ended, ECONNRESET);
        close_far(fds[1]);
    }
    finish(loop);
}

/* A buffer that is larger holds more. */
static void ops_options_buffers(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t held[2];
    for (int i = 0; i < 2; i++) {
        ferry_fd fds[2];
        unix_pair(fds, SOCK_STREAM);
        int64_t bytes = i == 0 ? 8192 : 100000;
        assert_int_equal(ferry_socket_set(loop, fds[0], FERRY_OPT_SEND_BUFFER_BYTES, bytes), 0);
        assert_true(option_of(loop, fds[0], FERRY_OPT_SEND_BUFFER_BYTES) >= bytes);
        held[i] = plain_stuff(fds[0]);
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
    }
    /* With what has moved on to the other end, where a pair is TCP. */
    assert_true(held[1] > held[0] * (TEST_WINDOWS ? 1 : 3));
    finish(loop);
}

static void ops_options_broadcast(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd fd = udp_at(loop, "127.0.0.1:0", &addr);
    struct letter out;
    letter_write(&out, "to all");
    assert_int_equal(ferry_addr_parse(&out.addr, "127.255.255.255:9"), 0);
    letter_send(loop, &out, fd, 0);
    expect(loop, &out.p, FERRY_EACCES);
    assert_int_equal(ferry_socket_set(loop, fd, FERRY_OPT_BROADCAST, 1), 0);
    letter_send(loop, &out, fd, 0);
    expect(loop, &out.p, 6);
    close_near(loop, fd);
    finish(loop);
}

const struct contract_test ops_options_tests[] = {
    {"ops_options_on_every_socket", ops_options_on_every_socket, 0},
    {"ops_options_are_all_tested", ops_options_are_all_tested, 0},
    {"ops_options_bad_input", ops_options_bad_input, 0},
    {"ops_options_reach_the_system", ops_options_reach_the_system, 0},
    {"ops_options_reuse_port", ops_options_reuse_port, 0},
    {"ops_listen_fd", ops_listen_fd, 0},
    {"ops_options_v6only", ops_options_v6only, 0},
    {"ops_options_linger_of_0_resets", ops_options_linger_of_0_resets, 0},
    {"ops_options_buffers", ops_options_buffers, 0},
    {"ops_options_broadcast", ops_options_broadcast, 0},
    {NULL, NULL, 0},
};
