/* trouble_connect.c - bad addresses, bad lengths of addresses, and connects that fail
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static ferry_fd new_socket(ferry_loop *loop, enum ferry_family family) {
    ferry_fd fd = FERRY_FD_NONE;
    assert_int_equal(ferry_socket(loop, &fd, family, FERRY_STREAM), 0);
    return fd;
}

/* Connects a new socket to addr and asserts how that ends; the socket stays open for the caller. */
static ferry_fd connect_ends(ferry_loop *loop, enum ferry_family family, const ferry_addr *addr,
                             int64_t result) {
    ferry_fd fd = new_socket(loop, family);
    struct probe p = {.calls = 0};
    ferry_connect(loop, &p.op, fd, addr, 0, probe_done);
    expect_all(loop, &p, result, 0, 0);
    return fd;
}

static void trouble_connect_refused(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, live;
    ferry_fd dead = dead_address(&addr);
    ferry_fd fd = connect_ends(loop, FERRY_INET, &addr, FERRY_ECONNREFUSED);

    /* The same socket may try again, and finds somebody this time. */
    ferry_fd listener = tcp_listener(&live);
    struct probe again = {.calls = 0};
    ferry_connect(loop, &again.op, fd, &live, 0, probe_done);
    if (omits_on_wine("Wine connects no socket again that was refused")) probe_wait(loop, &again);
    else expect_all(loop, &again, 0, 0, 0);
    close_near(loop, fd);
    close_far(dead);
    close_far(listener);
    finish(loop);
}

static void trouble_connect_refused_unix(void **state) {
    (void)state;
    need_unix(SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    char text[360];
    snprintf(text, sizeof text, "unix:%s", temp_path("nobody"));
    assert_int_equal(ferry_addr_parse(&addr, text), 0);
    close_near(loop, connect_ends(loop, FERRY_UNIX, &addr, FERRY_ENOENT));

    ferry_fd bound = new_socket(loop, FERRY_UNIX);
    assert_int_equal(ferry_bind(loop, bound, &addr), 0);
    close_near(loop, connect_ends(loop, FERRY_UNIX, &addr, FERRY_ECONNREFUSED));
    close_near(loop, bound);
    finish(loop);
}

/* What was submitted behind a connect that fails never had a connection to run on. */
static void contract_09_connect_fails_with_others_behind(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    struct probe p[5];
    char byte = 'x', in[4];
    ferry_fd fd = new_socket(loop, FERRY_INET);
    memset(p, 0, sizeof p);
    ferry_fd dead = dead_address(&addr);
    ferry_connect(loop, &p[0].op, fd, &addr, 0, probe_done);
    ferry_send(loop, &p[1].op, fd, &byte, 1, 0, probe_done);
    ferry_recv(loop, &p[2].op, fd, in, 4, 0, probe_done);
    ferry_send(loop, &p[3].op, fd, &byte, 1, 0, probe_done);
    ferry_shutdown(loop, &p[4].op, fd, FERRY_SHUT_WRITE, 0, probe_done);
    expect_all(loop, &p[0], FERRY_ECONNREFUSED, 0, 0);
    for (int i = 1; i < 5; i++) {
        expect_all(loop, &p[i], FERRY_ECANCELED, 0, 0);
        assert_true(p[i].order > p[0].order);
    }
    close_near(loop, fd);
    close_far(dead);
    finish(loop);
}

static void contract_09_connect_succeeds_with_others_behind(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    struct probe p[3], accepted = {.calls = 0};
    char in[5] = "", far_in[5] = "";
    ferry_fd fd = new_socket(loop, FERRY_INET), listener = tcp_listener(&addr);
    memset(p, 0, sizeof p);
    ferry_accept(loop, &accepted.op, listener, NULL, 0, probe_done);
    ferry_connect(loop, &p[0].op, fd, &addr, 0, probe_done);
    ferry_send(loop, &p[1].op, fd, "ping", 4, 0, probe_done);
    ferry_recv(loop, &p[2].op, fd, in, 4, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    expect_all(loop, &p[1], 4, 4, 0);
    probe_wait(loop, &accepted);
    assert_true(accepted.result >= 0);
    ferry_fd far = (ferry_fd)accepted.result;
    far_expect(loop, far, far_in, 4);
    assert_string_equal(far_in, "ping");
    far_send(loop, far, "pong", 4);
    expect_all(loop, &p[2], 4, 4, 0);
    assert_string_equal(in, "pong");
    assert_true(p[0].order < p[1].order && p[1].order < p[2].order);
    close_near(loop, far);
    close_near(loop, fd);
    close_near(loop, listener);
    finish(loop);
}

/* ---- Addresses that are none ----------------------------------------------------------- */

static void trouble_address_lengths(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr good, bad;
    ferry_fd listener = tcp_listener(&good);
    const uint32_t lengths[] = {0, 1, 2, 7, 15, 129, 4096, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        bad = good;
        bad.len = lengths[i];
        close_near(loop, connect_ends(loop, FERRY_INET, &bad, FERRY_EINVAL));
        ferry_fd fd = new_socket(loop, FERRY_INET);
        assert_int_equal(ferry_bind(loop, fd, &bad), FERRY_EINVAL);
        close_near(loop, fd);
        fd = FERRY_FD_NONE;
        assert_int_equal(ferry_listen(loop, &fd, &bad, 0), FERRY_EINVAL);
        assert_int_equal(fd, FERRY_FD_NONE);
    }
    close_far(listener);
    finish(loop);
}

static void trouble_address_families(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, strange;
    ferry_fd listener = tcp_listener(&addr), fd = FERRY_FD_NONE;
    struct sockaddr unknown;
    memset(&unknown, 0, sizeof unknown);
    unknown.sa_family = 250;
    memset(&strange, 0, sizeof strange);
    strange.len = sizeof unknown;
    memcpy(strange.data.bytes, &unknown, sizeof unknown);
    int64_t unknown_family = FERRY_EAFNOSUPPORT;
    if (omits_on_wine("Wine has another error for a family that does not fit")) {
        unknown_family = FERRY_EADDRNOTAVAIL;
    }
    close_near(loop, connect_ends(loop, FERRY_INET, &strange, unknown_family));
    assert_int_equal(ferry_listen(loop, &fd, &strange, 0), FERRY_EAFNOSUPPORT);
    /* An address of one family for a socket of another. */
    if (!omits_unix(SOCK_STREAM)) {
        close_near(loop, connect_ends(loop, FERRY_UNIX, &addr, FERRY_EINVAL));
    }
    close_far(listener);
    finish(loop);
}

static void trouble_address_unreachable(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    /* A stream to a group of receivers: the system knows without asking the network. */
    assert_int_equal(ferry_addr_parse(&addr, "224.0.0.1:80"), 0);
    close_near(loop, connect_ends(loop, FERRY_INET, &addr, FERRY_ENETUNREACH));
    assert_int_equal(ferry_addr_parse(&addr, "255.255.255.255:80"), 0);
    close_near(loop, connect_ends(loop, FERRY_INET, &addr, FERRY_ENETUNREACH));
    finish(loop);
}

/* ---- Sockets in the wrong condition ---------------------------------------------------- */

static void trouble_connect_twice(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr);
    ferry_fd fd = connect_ends(loop, FERRY_INET, &addr, 0);
    struct probe again = {.calls = 0}, listening = {.calls = 0};
    ferry_connect(loop, &again.op, fd, &addr, 0, probe_done);
    expect_all(loop, &again, FERRY_EISCONN, 0, 0);
    ferry_connect(loop, &listening.op, listener, &addr, 0, probe_done);
    expect_all(loop, &listening, FERRY_EISCONN, 0, 0);
    close_near(loop, fd);
    close_near(loop, listener);
    finish(loop);
}

static void trouble_not_connected(void **state) {
    (void)state;
    int told = !omits_on_wine("Wine tells of a socket that was never connected as of a reset");
    ferry_loop *loop = test_loop();
    struct probe p[6];
    char buf[4] = "abc";
    ferry_addr addr;
    ferry_fd fd = new_socket(loop, FERRY_INET), udp = FERRY_FD_NONE;
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_socket(loop, &udp, FERRY_INET, FERRY_DATAGRAM), 0);
    ferry_recv(loop, &p[0].op, fd, buf, 3, 0, probe_done);
    expect_all(loop, &p[0], FERRY_ENOTCONN, 0, 0);
    ferry_shutdown(loop, &p[1].op, fd, FERRY_SHUT_WRITE, 0, probe_done);
    expect_all(loop, &p[1], FERRY_ENOTCONN, 0, 0);
    ferry_send(loop, &p[2].op, fd, buf, 3, 0, probe_done);
    expect_all(loop, &p[2], told ? FERRY_EPIPE : FERRY_ECONNRESET, 0, 0);
    ferry_accept(loop, &p[3].op, fd, NULL, 0, probe_done);
    expect_all(loop, &p[3], FERRY_EINVAL, 0, 0);
    ferry_send(loop, &p[4].op, udp, buf, 3, 0, probe_done);
    expect_all(loop, &p[4], told ? FERRY_EDESTADDRREQ : FERRY_EINVAL, 0, 0);
    ferry_accept(loop, &p[5].op, udp, NULL, 0, probe_done);
    expect_all(loop, &p[5], FERRY_ENOTSUP, 0, 0);
    assert_int_equal(ferry_peer_addr(loop, fd, &addr), FERRY_ENOTCONN);
    close_near(loop, fd);
    close_near(loop, udp);
    finish(loop);
}

static void trouble_bind_and_listen(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr taken, elsewhere;
    ferry_fd listener = tcp_listener(&taken), fd = FERRY_FD_NONE;
    assert_int_equal(ferry_listen(loop, &fd, &taken, 0), FERRY_EADDRINUSE);
    assert_int_equal(ferry_addr_parse(&elsewhere, "192.0.2.1:80"), 0);
    assert_int_equal(ferry_listen(loop, &fd, &elsewhere, 0), FERRY_EADDRNOTAVAIL);
    assert_int_equal(fd, FERRY_FD_NONE);

    fd = new_socket(loop, FERRY_INET);
    assert_int_equal(ferry_bind(loop, fd, &taken), FERRY_EADDRINUSE);
    assert_int_equal(ferry_bind(loop, fd, &elsewhere), FERRY_EADDRNOTAVAIL);
    close_near(loop, fd);

    if (omits_unix(SOCK_STREAM)) {
        close_far(listener);
        finish(loop);
        return;
    }
    /* A path that is taken, and one whose directory is not there. */
    char text[360];
    snprintf(text, sizeof text, "unix:%s", temp_path("taken"));
    assert_int_equal(ferry_addr_parse(&taken, text), 0);
    assert_int_equal(ferry_listen(loop, &fd, &taken, 0), 0);
    ferry_fd second = FERRY_FD_NONE;
    assert_int_equal(ferry_listen(loop, &second, &taken, 0), FERRY_EADDRINUSE);
    snprintf(text, sizeof text, "unix:%s", temp_path("none/below"));
    assert_int_equal(ferry_addr_parse(&taken, text), 0);
    assert_int_equal(ferry_listen(loop, &second, &taken, 0), FERRY_ENOENT);
    assert_int_equal(second, FERRY_FD_NONE);
    close_near(loop, fd);
    close_far(listener);
    finish(loop);
}

const struct contract_test trouble_connect_tests[] = {
    {"trouble_connect_refused", trouble_connect_refused, 0},
    {"trouble_connect_refused_unix", trouble_connect_refused_unix, 0},
    {"contract_09_connect_fails_with_others_behind", contract_09_connect_fails_with_others_behind,
     0},
    {"contract_09_connect_succeeds_with_others_behind",
     contract_09_connect_succeeds_with_others_behind, 0},
    {"trouble_address_lengths", trouble_address_lengths, 0},
    {"trouble_address_families", trouble_address_families, 0},
    {"trouble_address_unreachable", trouble_address_unreachable, 0},
    {"trouble_connect_twice", trouble_connect_twice, 0},
    {"trouble_not_connected", trouble_not_connected, 0},
    {"trouble_bind_and_listen", trouble_bind_and_listen, 0},
    {NULL, NULL, 0},
};
