/* ops_streams.c - accept, connect, send, receive and shutdown on TCP and Unix streams
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const enum ferry_family families[] = {FERRY_INET, FERRY_INET6, FERRY_UNIX};

/* A listener of a family on an address that the system chose, which goes into *addr. */
static ferry_fd listen_on(ferry_loop *loop, enum ferry_family family, ferry_addr *addr) {
    static unsigned count;
    char text[400], name[32];
    ferry_fd fd = FERRY_FD_NONE;
    snprintf(name, sizeof name, "listener%u", count++);
    if (family == FERRY_INET) snprintf(text, sizeof text, "127.0.0.1:0");
    else if (family == FERRY_INET6) snprintf(text, sizeof text, "[::1]:0");
    else snprintf(text, sizeof text, "unix:%s", temp_path(name));
    assert_int_equal(ferry_addr_parse(addr, text), 0);
    int err = ferry_listen(loop, &fd, addr, 0);
    if (err == FERRY_EAFNOSUPPORT || err == FERRY_EADDRNOTAVAIL) return FERRY_FD_NONE;
    assert_int_equal(err, 0);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(ferry_local_addr(loop, fd, addr), 0);
    return fd;
}

struct connection {
    ferry_fd client, server;
    ferry_addr peer; /* as the accept told it */
};

/* Through Ferry on both sides. */
static void connection_make(ferry_loop *loop, enum ferry_family family, ferry_fd listener,
                            const ferry_addr *addr, struct connection *c) {
    struct probe accept = {.calls = 0}, connect = {.calls = 0};
    memset(&c->peer, 0xa5, sizeof c->peer);
    assert_int_equal(ferry_socket(loop, &c->client, family, FERRY_STREAM), 0);
    assert_int_equal(fcntl(c->client, F_GETFD), FD_CLOEXEC);
    ferry_accept(loop, &accept.op, listener, &c->peer, 0, probe_done);
    ferry_connect(loop, &connect.op, c->client, addr, 0, probe_done);
    expect_all(loop, &connect, 0, 0, 0);
    probe_wait(loop, &accept);
    assert_int_equal(accept.calls, 1);
    assert_true(accept.result >= 0);
    assert_int_equal(accept.flags, 0);
    c->server = (ferry_fd)accept.result;
    assert_int_equal(fcntl(c->server, F_GETFD), FD_CLOEXEC);
}

static void echo(ferry_loop *loop, const struct connection *c) {
    char out[2000], mid[2000], in[2000] = "";
    struct probe p[4];
    ferry_vec out_vecs[2] = {VEC(out, 700), VEC(out + 700, 1300)};
    ferry_vec in_vecs[3] = {VEC(in, 1), VEC(in + 1, 1000), VEC(in + 1001, 999)};
    memset(p, 0, sizeof p);
    fill(out, sizeof out, 5);
    ferry_sendv(loop, &p[0].op, c->client, out_vecs, 2, 0, probe_done);
    ferry_recv(loop, &p[1].op, c->server, mid, sizeof mid, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], 2000, 2000, 0);
    expect_all(loop, &p[1], 2000, 2000, 0);
    ferry_recvv(loop, &p[3].op, c->client, in_vecs, 3, FERRY_ALL, probe_done);
    ferry_send(loop, &p[2].op, c->server, mid, sizeof mid, 0, probe_done);
    expect_all(loop, &p[2], 2000, 2000, 0);
    expect_all(loop, &p[3], 2000, 2000, 0);
    assert_memory_equal(in, out, sizeof in);
}

static void ops_stream_of_each_family(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (size_t i = 0; i < 3; i++) {
        if (families[i] == FERRY_UNIX && omits_unix(SOCK_STREAM)) continue;
        ferry_addr addr, own;
        struct connection c;
        ferry_fd listener = listen_on(loop, families[i], &addr);
        if (listener == FERRY_FD_NONE) {
            /* Only IPv6 may be missing from a machine. */
            assert_int_equal(families[i], FERRY_INET6);
            continue;
        }
        connection_make(loop, families[i], listener, &addr, &c);
        assert_int_equal(ferry_local_addr(loop, c.client, &own), 0);
        if (families[i] == FERRY_UNIX) {
            /* Nobody gave the client a name. */
            char text[8];
            assert_int_equal(ferry_addr_format(&c.peer, text, sizeof text), 0);
        } else {
            assert_int_equal(c.peer.len, own.len);
            assert_memory_equal(c.peer.data.bytes, own.data.bytes, own.len);
        }
        echo(loop, &c);
        close_near(loop, c.client);
        close_near(loop, c.server);
        close_near(loop, listener);
    }
    finish(loop);
}

static void ops_accept_peer_with_a_name(void **state) {
    (void)state;
    need_unix(SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_addr addr, name;
    char text[400], told[400];
    struct probe accept = {.calls = 0}, connect = {.calls = 0};
    ferry_addr peer;
    ferry_fd listener = listen_on(loop, FERRY_UNIX, &addr), client = FERRY_FD_NONE;
    snprintf(text, sizeof text, "unix:%s", temp_path("client"));
    assert_int_equal(ferry_addr_parse(&name, text), 0);
    assert_int_equal(ferry_socket(loop, &client, FERRY_UNIX, FERRY_STREAM), 0);
    assert_int_equal(ferry_bind(loop, client, &name), 0);
    ferry_accept(loop, &accept.op, listener, &peer, 0, probe_done);
    ferry_connect(loop, &connect.op, client, &addr, 0, probe_done);
    expect(loop, &connect, 0);
    probe_wait(loop, &accept);
    assert_true(accept.result >= 0);
    ferry_addr_format(&peer, told, sizeof told);
    assert_string_equal(told, text);
    close_near(loop, (ferry_fd)accept.result);
    close_near(loop, client);
    close_near(loop, listener);
    finish(loop);
}

/* Several wait on one listener: each gets a connection of its own, with its own peer. */
static void ops_accept_several(void **state) {
    (void)state;
    enum { COUNT = 8 };
    ferry_loop *loop = test_loop();
    ferry_addr addr, peers[COUNT], own;
    struct probe accept[COUNT], connect[COUNT];
    ferry_fd clients[COUNT];
    memset(accept, 0, sizeof accept);
    memset(connect, 0, sizeof connect);
    ferry_fd listener = listen_on(loop, FERRY_INET, &addr);
    for (int i = 0; i < COUNT; i++) {
        ferry_accept(loop, &accept[i].op, listener, i % 2 ? &peers[i] : NULL, 0, probe_done);
    }
    run_for(loop, MS);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(ferry_socket(loop, &clients[i], FERRY_INET, FERRY_STREAM), 0);
        ferry_connect(loop, &connect[i].op, clients[i], &addr, 0, probe_done);
    }
    probe_wait_all(loop, connect, COUNT);
    probe_wait_all(loop, accept, COUNT);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&connect[i], 0);
        assert_true(accept[i].result >= 0);
        for (int k = 0; k < i; k++) assert_int_not_equal(accept[i].result, accept[k].result);
        assert_int_equal(ferry_peer_addr(loop, (ferry_fd)accept[i].result, &own), 0);
        if (i % 2) assert_memory_equal(peers[i].data.bytes, own.data.bytes, own.len);
    }
    for (int i = 0; i < COUNT; i++) {
        close_near(loop, (ferry_fd)accept[i].result);
        close_near(loop, clients[i]);
    }
    close_near(loop, listener);
    finish(loop);
}

/* One after the other: an accept that is submitted again and again, with none lost in between. */
static void ops_accept_in_turn(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = listen_on(loop, FERRY_INET, &addr);
    for (int i = 0; i < 20; i++) {
        struct connection c;
        connection_make(loop, FERRY_INET, listener, &addr, &c);
        echo(loop, &c);
        close_near(loop, i % 2 ? c.client : c.server);
        close_near(loop, i % 2 ? c.server : c.client);
    }
    close_near(loop, listener);
    finish(loop);
}

/* A listener for IPv6 leaves IPv4 to another one on the same port, unless somebody else has that
 * port already, as may happen to a few of those that the system chooses. */
static void ops_listen_ipv6_alone(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    int both = 0;
    for (int round = 0; round < 10 && !both; round++) {
        ferry_addr addr, four;
        char text[64];
        ferry_fd six = FERRY_FD_NONE, other = FERRY_FD_NONE;
        assert_int_equal(ferry_addr_parse(&addr, "[::]:0"), 0);
        int err = ferry_listen(loop, &six, &addr, 16);
        if (err == FERRY_EAFNOSUPPORT) {
            test_close(loop);
            test_skip("no IPv6 on this machine");
        }
        assert_int_equal(err, 0);
        assert_int_equal(ferry_local_addr(loop, six, &addr), 0);
        snprintf(text, sizeof text, "0.0.0.0:%u", ferry_addr_port(&addr));
        assert_int_equal(ferry_addr_parse(&four, text), 0);
        err = ferry_listen(loop, &other, &four, 16);
        if (err != 0) assert_int_equal(err, FERRY_EADDRINUSE);
        both = err == 0;
        close_near(loop, six);
        if (both) close_near(loop, other);
    }
    assert_true(both);
    finish(loop);
}

/* ---- Receiving short and whole
 * ------------------------------------------------------------------- */

static void contract_08_recv_short_and_whole(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[16] = "";
    struct probe part = {.calls = 0}, all = {.calls = 0}, rest = {.calls = 0};
    tcp_pair(loop, fds);
    plain_send(fds[1], "abc", 3);
    ferry_recv(loop, &part.op, fds[0], in, 16, 0, probe_done);
    expect_all(loop, &part, 3, 3, 0);
    ferry_recv(loop, &all.op, fds[0], in, 6, FERRY_ALL, probe_done);
    for (int i = 0; i < 5; i++) {
        plain_send(fds[1], &"123456"[i], 1);
        run_for(loop, MS);
        assert_int_equal(all.calls, 0);
    }
    plain_send(fds[1], "678", 3);
    expect_all(loop, &all, 6, 6, 0);
    assert_memory_equal(in, "123456", 6);
    ferry_recv(loop, &rest.op, fds[0], in, 16, 0, probe_done);
    expect_all(loop, &rest, 2, 2, 0);
    assert_memory_equal(in, "78", 2);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* Many sends and receives without waiting, with everything in its order. */
static void contract_09_many_in_order(void **state) {
    (void)state;
    enum { COUNT = 200, EACH = 1000 };
    ferry_loop *loop = test_loop();
    static struct probe send[COUNT], recv[COUNT];
    static char out[COUNT * EACH], in[COUNT * EACH];
    ferry_fd fds[2];
    fill(out, sizeof out, 17);
    tcp_pair(loop, fds);
    for (size_t i = 0; i < COUNT; i++) {
        ferry_recv(loop, &recv[i].op, fds[1], in + i * EACH, EACH, FERRY_ALL, probe_done);
        ferry_send(loop, &send[i].op, fds[0], out + i * EACH, EACH, 0, probe_done);
    }
    for (size_t i = 0; i < COUNT; i++) {
        expect_all(loop, &send[i], EACH, EACH, 0);
        expect_all(loop, &recv[i], EACH, EACH, 0);
        if (i == 0) continue;
        assert_true(send[i - 1].order < send[i].order);
        assert_true(recv[i - 1].order < recv[i].order);
    }
    assert_true(is_filled(in, sizeof in, 17));
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- Shutdown
 * ------------------------------------------------------------------------------------ */

static void ops_shutdown_write(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[8];
    struct probe shut = {.calls = 0}, eof = {.calls = 0}, send = {.calls = 0}, back = {.calls = 0};
    struct probe recv = {.calls = 0};
    tcp_pair(loop, fds);
    ferry_shutdown(loop, &shut.op, fds[0], FERRY_SHUT_WRITE, 0, probe_done);
    expect_all(loop, &shut, 0, 0, 0);
    ferry_recv(loop, &eof.op, fds[1], in, 8, 0, probe_done);
    expect_all(loop, &eof, 0, 0, FERRY_EOF);
    ferry_send(loop, &send.op, fds[0], "x", 1, 0, probe_done);
    expect_all(loop, &send, FERRY_EPIPE, 0, 0);
    ferry_send(loop, &back.op, fds[1], "back", 4, 0, probe_done);
    ferry_recv(loop, &recv.op, fds[0], in, 8, 0, probe_done);
    expect_all(loop, &back, 4, 4, 0);
    expect_all(loop, &recv, 4, 4, 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

static void ops_shutdown_read(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[8];
    struct probe recv = {.calls = 0}, shut = {.calls = 0}, send = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &recv.op, fds[0], in, 8, 0, probe_done);
    run_for(loop, MS);
    ferry_shutdown(loop, &shut.op, fds[0], FERRY_SHUT_READ, 0, probe_done);
    expect_all(loop, &shut, 0, 0, 0);
    expect_all(loop, &recv, 0, 0, FERRY_EOF);
    ferry_send(loop, &send.op, fds[0], "still", 5, 0, probe_done);
    expect_all(loop, &send, 5, 5, 0);
    far_expect(loop, fds[1], in, 5);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void ops_shutdown_both(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[8];
    struct probe p[3];
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    ferry_shutdown(loop, &p[0].op, fds[0], FERRY_SHUT_BOTH, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    ferry_recv(loop, &p[1].op, fds[0], in, 8, 0, probe_done);
    expect_all(loop, &p[1], 0, 0, FERRY_EOF);
    ferry_send(loop, &p[2].op, fds[0], "x", 1, 0, probe_done);
    expect_all(loop, &p[2], FERRY_EPIPE, 0, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* It waits for the sends before it: the peer gets everything, then the end. */
static void contract_09_shutdown_waits_for_sends(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    int ended;
    size_t len = 2 * MIB;
    char *out = malloc(len), *got = malloc(len);
    struct probe send = {.calls = 0}, shut = {.calls = 0};
    assert_true(out && got);
    fill(out, len, 9);
    tcp_pair(loop, fds);
    set_buffers(fds[0], 32 * 1024);
    set_buffers(fds[1], 32 * 1024);
    ferry_send(loop, &send.op, fds[0], out, len, 0, probe_done);
    ferry_shutdown(loop, &shut.op, fds[0], FERRY_SHUT_WRITE, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(send.calls + shut.calls, 0);
    assert_int_equal(far_take_all(loop, fds[1], got, len, &ended), len);
    assert_int_equal(ended, -1);
    assert_true(is_filled(got, len, 9));
    expect_all(loop, &send, (int64_t)len, len, 0);
    expect_all(loop, &shut, 0, 0, 0);
    assert_true(send.order < shut.order);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    free(got);
    finish(loop);
}

const struct contract_test ops_streams_tests[] = {
    {"ops_stream_of_each_family", ops_stream_of_each_family, 0},
    {"ops_accept_peer_with_a_name", ops_accept_peer_with_a_name, 0},
    {"ops_accept_several", ops_accept_several, 0},
    {"ops_accept_in_turn", ops_accept_in_turn, 0},
    {"ops_listen_ipv6_alone", ops_listen_ipv6_alone, 0},
    {"contract_08_recv_short_and_whole", contract_08_recv_short_and_whole, 0},
    {"contract_09_many_in_order", contract_09_many_in_order, 0},
    {"ops_shutdown_write", ops_shutdown_write, 0},
    {"ops_shutdown_read", ops_shutdown_read, 0},
    {"ops_shutdown_both", ops_shutdown_both, 0},
    {"contract_09_shutdown_waits_for_sends", contract_09_shutdown_waits_for_sends, 0},
    {NULL, NULL, 0},
};
