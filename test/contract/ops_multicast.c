/* ops_multicast.c - groups: joining, leaving, sources, and how far what is sent to them goes
 *
 * In a network of the test's own, whose interface leads nowhere: a host hears itself. Where it may
 * not be made the machine's loopback interface serves for IPv4; for IPv6 it has no way to groups.
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"
#include "network.h"
#include "portable.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct stand {
    ferry_loop *loop;
    ferry_fd sender, member;
    ferry_addr group, sender_addr; /* the group with the member's port */
    struct letter out, in;
};

static struct {
    uint32_t index;             /* of the interface */
    const char *own[2], *other; /* addresses on it, by protocol; another of IPv4 */
    int protocols;
} network = {0, {"127.0.0.1:0", NULL}, "127.0.0.2:0", 1};

/* Before the first loop. */
static void network_find(void) {
    if (network_make()) {
        network.own[0] = "10.7.7.1:0";
        network.own[1] = "[fd77::1]:0";
        network.other = "10.7.7.2:0";
        network.index = if_nametoindex("site");
        /* A machine may have no IPv6. */
        if (system("ip address add fd77::1/64 dev site nodad 2>/dev/null") == 0) {
            network.protocols = 2;
        }
    } else {
        network.index = if_nametoindex(TEST_LOOPBACK);
        if (!TEST_LOOPBACK_IS_NET) network.other = NULL;
    }
    assert_true(network.index > 0);
    if (omits_on_wine("Wine takes no numbers of interfaces")) network.index = 0;
}

static void stand_open(struct stand *s, ferry_loop *loop, int inet6) {
    ferry_addr any;
    char text[80];
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->sender = udp_at(loop, network.own[inet6], &s->sender_addr);
    s->member = udp_at(loop, inet6 ? "[::]:0" : "0.0.0.0:0", &any);
    snprintf(text, sizeof text, inet6 ? "[ff15::7:%u]:%u" : "239.255.7.%u:%u",
             (unsigned)getpid() % 250 + 1, ferry_addr_port(&any));
    assert_int_equal(ferry_addr_parse(&s->group, text), 0);
    int error = ferry_socket_set(loop, s->sender, FERRY_OPT_MULTICAST_INTERFACE, network.index);
    if (network.index != 0) assert_int_equal(error, 0);
}

static void stand_close(struct stand *s) {
    close_near(s->loop, s->sender);
    close_near(s->loop, s->member);
}

static void say(struct stand *s, ferry_fd from, const char *text) {
    letter_write(&s->out, text);
    s->out.addr = s->group;
    letter_send(s->loop, &s->out, from, 0);
    expect(s->loop, &s->out.p, (int64_t)strlen(text));
}

/* The next that the member gets is this, whatever was said before. */
static void hears(struct stand *s, const char *text) {
    letter_blank(&s->in, 100);
    letter_recv(s->loop, &s->in, s->member, 0);
    probe_wait(s->loop, &s->in.p);
    letter_reads(&s->in, text);
}

static int join(struct stand *s, const ferry_addr *source) {
    return ferry_multicast_join(s->loop, s->member, &s->group, network.index, source);
}

static int leave(struct stand *s, const ferry_addr *source) {
    return ferry_multicast_leave(s->loop, s->member, &s->group, network.index, source);
}

/* To the member itself, which does not have to be in the group for it. By way of the loopback
 * interface: the kernel takes a moment until it knows a new address of IPv6 for its own. */
static void say_to_member(struct stand *s, int inet6, const char *text) {
    ferry_addr addr;
    char to[80];
    ferry_fd fd = udp_at(s->loop, inet6 ? "[::1]:0" : "127.0.0.1:0", &addr);
    snprintf(to, sizeof to, "%s:%u", inet6 ? "[::1]" : "127.0.0.1", ferry_addr_port(&s->group));
    letter_write(&s->out, text);
    assert_int_equal(ferry_addr_parse(&s->out.addr, to), 0);
    letter_send(s->loop, &s->out, fd, 0);
    expect(s->loop, &s->out.p, (int64_t)strlen(text));
    close_near(s->loop, fd);
}

static void ops_multicast_join_and_leave(void **state) {
    (void)state;
    differs_on_wine("Wine takes no numbers of interfaces");
    static struct stand s;
    network_find();
    ferry_loop *loop = test_loop();
    for (int inet6 = 0; inet6 < network.protocols; inet6++) {
        stand_open(&s, loop, inet6);
        assert_int_equal(leave(&s, NULL), FERRY_EADDRNOTAVAIL);
        assert_int_equal(join(&s, NULL), 0);
        assert_int_equal(join(&s, NULL), FERRY_EADDRINUSE);
        assert_int_equal(ferry_socket_set(loop, s.member, FERRY_OPT_RECV_PACKET_INFO, 1), 0);
        say(&s, s.sender, "to the group");
        hears(&s, "to the group");
        assert_same_addr(&s.in.addr, &s.sender_addr);
        ferry_control item;
        char group[64], to[64];
        assert_true(letter_find(&s.in, FERRY_CONTROL_PACKET, &item));
        (void)ferry_addr_format(&item.to, to, sizeof to);
        (void)ferry_addr_format(&s.group, group, sizeof group);
        strcpy(strrchr(group, ':'), ":0");
        assert_string_equal(to, group); /* the group, from which nobody answers */
        if (network.index != 0) assert_int_equal(item.interface_index, network.index);
        if (inet6) assert_int_equal(item.local.len, 0);

        assert_int_equal(leave(&s, NULL), 0);
        assert_int_equal(leave(&s, NULL), FERRY_EADDRNOTAVAIL);
        say(&s, s.sender, "nobody is there");
        say_to_member(&s, inet6, "but now");
        hears(&s, "but now");
        stand_close(&s);
    }
    finish(loop);
}

/* Only what is sent from one address. */
static void ops_multicast_of_one_source(void **state) {
    (void)state;
    differs_on_wine("Wine takes no numbers of interfaces");
    static struct stand s;
    network_find();
    if (network.other == NULL) test_skip("the interface has no second address");
    ferry_loop *loop = test_loop();
    ferry_addr source, other_addr;
    stand_open(&s, loop, 0);
    ferry_fd other = udp_at(loop, network.other, &other_addr);
    assert_int_equal(ferry_socket_set(loop, other, FERRY_OPT_MULTICAST_INTERFACE, network.index),
                     0);
    assert_int_equal(ferry_addr_parse(&source, network.other), 0);
    assert_int_equal(join(&s, &source), 0);
    say(&s, s.sender, "not from here");
    say(&s, other, "from there");
    hears(&s, "from there");
    assert_same_addr(&s.in.addr, &other_addr);
    assert_int_equal(join(&s, &s.sender_addr), 0);
    say(&s, s.sender, "from here too");
    hears(&s, "from here too");
    assert_int_equal(leave(&s, &source), 0);
    assert_int_equal(leave(&s, &source), FERRY_EADDRNOTAVAIL);
    say(&s, other, "no more");
    say(&s, s.sender, "still");
    hears(&s, "still");
    close_near(loop, other);
    stand_close(&s);
    finish(loop);
}

static void ops_multicast_options(void **state) {
    (void)state;
    differs_on_wine("Wine takes no numbers of interfaces");
    static struct stand s;
    network_find();
    ferry_loop *loop = test_loop();
    for (int inet6 = 0; inet6 < network.protocols; inet6++) {
        ferry_control item;
        int64_t value = 0;
        stand_open(&s, loop, inet6);
        int error = ferry_socket_get(loop, s.sender, FERRY_OPT_MULTICAST_INTERFACE, &value);
        assert_int_equal(error, inet6 ? 0 : FERRY_ENOTSUP);
        if (inet6) assert_int_equal(value, network.index);
        error = ferry_socket_set(loop, s.sender, FERRY_OPT_MULTICAST_INTERFACE, 999999);
        assert_true(error == FERRY_ENODEV || error == FERRY_EADDRNOTAVAIL);
        assert_int_equal(
            ferry_socket_set(loop, s.sender, FERRY_OPT_MULTICAST_INTERFACE, UINT32_MAX),
            FERRY_EINVAL);

        assert_int_equal(join(&s, NULL), 0);
        assert_int_equal(ferry_socket_set(loop, s.member, FERRY_OPT_RECV_HOPS, 1), 0);
        say(&s, s.sender, "one hop");
        hears(&s, "one hop");
        assert_true(letter_find(&s.in, FERRY_CONTROL_HOPS, &item));
        assert_int_equal(item.number, 1);
        assert_int_equal(ferry_socket_set(loop, s.sender, FERRY_OPT_MULTICAST_HOPS, 7), 0);
        say(&s, s.sender, "seven");
        hears(&s, "seven");
        assert_true(letter_find(&s.in, FERRY_CONTROL_HOPS, &item));
        assert_int_equal(item.number, 7);
        stand_close(&s);
    }
    finish(loop);
}

static void ops_multicast_bad_input(void **state) {
    (void)state;
    static struct stand s;
    network_find();
    ferry_loop *loop = test_loop();
    ferry_addr single, group6, unix_addr, small = {.len = 1};
    ferry_fd tcp[2], file = make_file(temp_path("file"), "", 0);
    stand_open(&s, loop, 0);
    tcp_pair(loop, tcp);
    assert_int_equal(ferry_addr_parse(&single, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_addr_parse(&group6, "[ff15::1]:0"), 0);
    assert_int_equal(ferry_addr_parse(&unix_addr, "unix:/nowhere"), 0);
    const ferry_addr *groups[] = {NULL, &small, &single, &unix_addr};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ferry_multicast_join(loop, s.member, groups[i], network.index, NULL),
                         FERRY_EINVAL);
        assert_int_equal(ferry_multicast_leave(loop, s.member, groups[i], network.index, NULL),
                         FERRY_EINVAL);
    }
    const ferry_addr *sources[] = {&small, &group6, &unix_addr, &s.group};
    for (int i = 0; i < 4; i++) assert_int_equal(join(&s, sources[i]), FERRY_EINVAL);
    assert_int_equal(ferry_multicast_join(loop, s.member, &group6, network.index, NULL),
                     FERRY_ENOPROTOOPT);
    assert_int_equal(ferry_multicast_join(loop, s.member, &s.group, 999999, NULL), FERRY_ENODEV);
    assert_int_equal(ferry_multicast_join(loop, tcp[0], &s.group, network.index, NULL),
                     FERRY_ENOPROTOOPT);
    assert_int_equal(ferry_multicast_join(loop, file, &s.group, network.index, NULL),
                     FERRY_ENOTSOCK);
    assert_int_equal(ferry_multicast_join(loop, closed_fd(), &s.group, network.index, NULL),
                     FERRY_EBADF);
    close_near(loop, tcp[0]);
    close_near(loop, tcp[1]);
    close_near(loop, file);
    stand_close(&s);
    finish(loop);
}

const struct contract_test ops_multicast_tests[] = {
    {"ops_multicast_join_and_leave", ops_multicast_join_and_leave, 0},
    {"ops_multicast_of_one_source", ops_multicast_of_one_source, 0},
    {"ops_multicast_options", ops_multicast_options, 0},
    {"ops_multicast_bad_input", ops_multicast_bad_input, 0},
    {NULL, NULL, 0},
};
