/* ops_addresses.c - socket addresses to and from text
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Texts and the form that they come back in. */
static const char *const round_trips[][2] = {
    {"127.0.0.1:80", "127.0.0.1:80"},
    {"0.0.0.0:0", "0.0.0.0:0"},
    {"255.255.255.255:65535", "255.255.255.255:65535"},
    {"[::1]:8080", "[::1]:8080"},
    {"[::]:0", "[::]:0"},
    {"[2001:db8::7:0:0:1]:443", "[2001:db8::7:0:0:1]:443"},
    {"[2001:0DB8:0000:0000:0000:0000:0000:0001]:1", "[2001:db8::1]:1"},
    {"[::ffff:192.0.2.1]:9", "[::ffff:192.0.2.1]:9"},
    {"unix:/run/x", "unix:/run/x"},
    {"unix:relative/path.sock", "unix:relative/path.sock"},
    {"unix:/with spaces: and [brackets]", "unix:/with spaces: and [brackets]"},
};

static void round_trip(const char *there, const char *back) {
    ferry_addr addr, again;
    char text[160], second[160];
    memset(&addr, 0xa5, sizeof addr);
    int err = ferry_addr_parse(&addr, there);
    if (err != 0) fail_msg("%s: %s", there, ferry_error_name(err));
    size_t len = ferry_addr_format(&addr, text, sizeof text);
    assert_string_equal(text, back);
    assert_int_equal(len, strlen(text));
    assert_int_equal(ferry_addr_parse(&again, text), 0);
    assert_int_equal(again.len, addr.len);
    assert_memory_equal(again.data.bytes, addr.data.bytes, addr.len);
    ferry_addr_format(&again, second, sizeof second);
    assert_string_equal(text, second);
}

static void ops_address_round_trips(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof round_trips / sizeof *round_trips; i++) {
        round_trip(round_trips[i][0], round_trips[i][1]);
    }
    char scoped[100];
    snprintf(scoped, sizeof scoped, "[fe80::1%%%s]:80", TEST_LOOPBACK);
    round_trip(scoped, scoped);
}

static void ops_address_bytes(void **state) {
    (void)state;
    ferry_addr addr;
    char scoped[100];
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    assert_int_equal(ferry_addr_parse(&addr, "192.0.2.33:4660"), 0);
    assert_int_equal(addr.len, sizeof in);
    memcpy(&in, addr.data.bytes, sizeof in);
    assert_int_equal(in.sin_family, AF_INET);
    assert_int_equal(ntohl(in.sin_addr.s_addr), 0xc0000221);
    assert_int_equal(ntohs(in.sin_port), 0x1234);
    assert_int_equal(ferry_addr_port(&addr), 0x1234);

    snprintf(scoped, sizeof scoped, "[fe80::a%%%s]:443", TEST_LOOPBACK);
    assert_int_equal(ferry_addr_parse(&addr, scoped), 0);
    assert_int_equal(addr.len, sizeof in6);
    memcpy(&in6, addr.data.bytes, sizeof in6);
    assert_int_equal(in6.sin6_family, AF_INET6);
    assert_int_equal(in6.sin6_addr.s6_addr[0], 0xfe);
    assert_int_equal(in6.sin6_addr.s6_addr[15], 0x0a);
    assert_int_equal(in6.sin6_scope_id, if_nametoindex(TEST_LOOPBACK));
    assert_int_equal(in6.sin6_flowinfo, 0);
    assert_int_equal(ferry_addr_port(&addr), 443);

    assert_int_equal(ferry_addr_parse(&addr, "unix:/run/x"), 0);
    memset(&un, 0, sizeof un);
    memcpy(&un, addr.data.bytes, addr.len);
    assert_int_equal(un.sun_family, AF_UNIX);
    assert_string_equal(un.sun_path, "/run/x");
    assert_int_equal(ferry_addr_port(&addr), 0);
}

static void ops_address_abstract(void **state) {
    (void)state;
    ferry_addr addr;
    struct sockaddr_un un;
    char text[200];
    if (!TEST_ABSTRACT) {
        assert_int_equal(ferry_addr_parse(&addr, "unix:@name"), FERRY_EINVAL);
        return;
    }
    round_trip("unix:@abstract", "unix:@abstract");
    /* Such a name has no end but its length. */
    assert_int_equal(ferry_addr_parse(&addr, "unix:@name"), 0);
    assert_int_equal(addr.len, offsetof(struct sockaddr_un, sun_path) + 5);
    memcpy(&un, addr.data.bytes, addr.len);
    assert_memory_equal(un.sun_path, "\0name", 5);
    memset(text, 'n', sizeof text);
    memcpy(text, "unix:@", 6);
    text[5 + sizeof un.sun_path + 1] = 0;
    assert_int_equal(ferry_addr_parse(&addr, text), FERRY_ENAMETOOLONG);
}

static const char *const invalid[] = {
    "",
    ":",
    ":80",
    "80",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:x",
    "127.0.0.1:80x",
    "127.0.0.1: 80",
    " 127.0.0.1:80",
    "127.0.0.1:80 ",
    "127.0.0.1:+80",
    "127.0.0.1:-1",
    "127.0.0.1:65536",
    "127.0.0.1:99999999999999999999",
    "127.0.0.1:4294967376",
    "127.0.0:80",
    "127.0.0.1.1:80",
    "127.0.0.256:80",
    "127.0.0.-1:80",
    "1e3.0.0.1:80",
    "localhost:80",
    "example:http",
    "::1",
    "::1:80",
    "[::1]",
    "[::1]:",
    "[::1]80",
    "[::1]:65536",
    "[::1:80",
    "::1]:80",
    "[]:80",
    "[:::1]:80",
    "[1:2:3:4:5:6:7:8:9]:80",
    "[12345::]:80",
    "[127.0.0.1]:80",
    "[fe80::1%]:80",
    "[fe80::1%no-such-interface]:80",
    "[::1]:80]",
    "unix",
    "unix:",
    "unix:@",
    "UNIX:/run/x",
};

static void ops_address_invalid_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        ferry_addr addr;
        int err = ferry_addr_parse(&addr, invalid[i]);
        if (err != FERRY_EINVAL)
            fail_msg("\"%s\": %d (%s)", invalid[i], err, ferry_error_name(err));
    }
}

/* A path fits with its ending 0 or is refused whole: cut, it would be another file's. */
static void ops_address_unix_path_too_long(void **state) {
    (void)state;
    ferry_addr addr;
    struct sockaddr_un un;
    char text[400], back[400];
    for (size_t path = sizeof un.sun_path - 3; path < 300; path++) {
        int fits = path <= sizeof un.sun_path - 1;
        memset(text, 'p', sizeof text);
        memcpy(text, "unix:/", 6);
        text[5 + path] = 0;
        assert_int_equal(ferry_addr_parse(&addr, text), fits ? 0 : FERRY_ENAMETOOLONG);
        if (!fits) continue;
        ferry_addr_format(&addr, back, sizeof back);
        assert_string_equal(back, text);
    }
}

static void ops_address_format_is_cut(void **state) {
    (void)state;
    ferry_addr addr;
    char whole[160], text[170];
    const char *const of[] = {"127.0.0.1:80", "[2001:db8::7]:443", "unix:/run/some/path"};
    for (size_t a = 0; a < 3; a++) {
        assert_int_equal(ferry_addr_parse(&addr, of[a]), 0);
        size_t len = ferry_addr_format(&addr, whole, sizeof whole);
        for (size_t room = 0; room <= len + 2; room++) {
            memset(text, '#', sizeof text);
            assert_int_equal(ferry_addr_format(&addr, text, room), len);
            size_t kept = room == 0 ? 0 : (room - 1 < len ? room - 1 : len);
            assert_memory_equal(text, whole, kept);
            if (room > 0) assert_int_equal(text[kept], 0);
            for (size_t i = room; i < sizeof text; i++) assert_int_equal(text[i], '#');
        }
        assert_int_equal(ferry_addr_format(&addr, NULL, 0), len);
    }
}

/* What may come from elsewhere: nothing, too short, a family that is not ours. */
static void ops_address_format_of_strange_ones(void **state) {
    (void)state;
    ferry_addr addr;
    char text[160] = "x";
    memset(&addr, 0, sizeof addr);
    assert_int_equal(ferry_addr_format(&addr, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(ferry_addr_port(&addr), 0);
    for (uint32_t len = 0; len <= 140; len++) {
        for (unsigned char family = 0; family < 12; family++) {
            memset(addr.data.bytes, 0xff, sizeof addr.data.bytes);
            sa_family_t of = family;
            memcpy(addr.data.bytes, &of, sizeof of);
            addr.len = len;
            size_t n = ferry_addr_format(&addr, text, sizeof text);
            assert_true(n < sizeof text);
            assert_int_equal(n, strlen(text));
            (void)ferry_addr_port(&addr);
        }
    }
}

/* The system's own addresses: of sockets of all families, named or not. */
static void ops_address_of_sockets(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, local, peer;
    ferry_fd fds[2], listener = FERRY_FD_NONE;
    char text[400], back[400];
    tcp_pair(loop, fds);
    assert_int_equal(ferry_local_addr(loop, fds[0], &local), 0);
    assert_int_equal(ferry_peer_addr(loop, fds[1], &peer), 0);
    assert_int_equal(local.len, peer.len);
    assert_memory_equal(local.data.bytes, peer.data.bytes, local.len);
    assert_true(ferry_addr_port(&local) > 0);
    close_far(fds[0]);
    close_far(fds[1]);

    unix_pair(fds, SOCK_STREAM);
    assert_int_equal(ferry_peer_addr(loop, fds[0], &peer), 0);
    /* Nobody gave it a name, but where a pair is TCP. */
    if (!TEST_WINDOWS) assert_int_equal(ferry_addr_format(&peer, text, sizeof text), 0);
    close_far(fds[0]);
    close_far(fds[1]);

    if (!omits_unix(SOCK_STREAM)) {
        snprintf(text, sizeof text, "unix:%s", temp_path("named"));
        assert_int_equal(ferry_addr_parse(&addr, text), 0);
        assert_int_equal(ferry_listen(loop, &listener, &addr, 0), 0);
        assert_int_equal(ferry_local_addr(loop, listener, &local), 0);
        ferry_addr_format(&local, back, sizeof back);
        assert_string_equal(text, back);
        close_near(loop, listener);
    }
    finish(loop);
}

const struct contract_test ops_addresses_tests[] = {
    {"ops_address_round_trips", ops_address_round_trips, 0},
    {"ops_address_bytes", ops_address_bytes, 0},
    {"ops_address_abstract", ops_address_abstract, 0},
    {"ops_address_invalid_texts", ops_address_invalid_texts, 0},
    {"ops_address_unix_path_too_long", ops_address_unix_path_too_long, 0},
    {"ops_address_format_is_cut", ops_address_format_is_cut, 0},
    {"ops_address_format_of_strange_ones", ops_address_format_of_strange_ones, 0},
    {"ops_address_of_sockets", ops_address_of_sockets, 0},
    {NULL, NULL, 0},
};
