/* ops_messages.c - datagrams and sequenced packets: UDP and Unix sockets, connected
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two UDP sockets that are connected to each other. 0, or the error where there is no IPv6. */
static int udp_pair(ferry_loop *loop, enum ferry_family family, ferry_fd fds[2]) {
    ferry_addr addr[2];
    for (int i = 0; i < 2; i++) {
        const char *text = family == FERRY_INET ? "127.0.0.1:0" : "[::1]:0";
        int err = ferry_socket(loop, &fds[i], family, FERRY_DATAGRAM);
        if (err < 0) return err;
        assert_int_equal(ferry_addr_parse(&addr[i], text), 0);
        err = ferry_bind(loop, fds[i], &addr[i]);
        if (err < 0) {
            close_near(loop, fds[i]);
            if (i == 1) close_near(loop, fds[0]);
            return err;
        }
        assert_int_equal(ferry_local_addr(loop, fds[i], &addr[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        struct probe connect = {.calls = 0};
        ferry_connect(loop, &connect.op, fds[i], &addr[1 - i], 0, probe_done);
        expect_all(loop, &connect, 0, 0, 0);
    }
    return 0;
}

/* Messages keep their boundaries and their order; each send is one, vectored or not. */
static void messages_on(ferry_loop *loop, ferry_fd near, ferry_fd far) {
    char in[4][16];
    char head[] = "head", tail[] = "tail";
    ferry_vec out_vecs[2] = {VEC(head, 4), VEC(tail, 4)};
    ferry_vec in_vecs[2] = {VEC(in[1], 3), VEC(in[1] + 3, 13)};
    struct probe send[4], recv[4];
    memset(send, 0, sizeof send);
    memset(recv, 0, sizeof recv);
    ferry_recv(loop, &recv[0].op, far, in[0], 16, 0, probe_done);
    ferry_recvv(loop, &recv[1].op, far, in_vecs, 2, 0, probe_done);
    ferry_recv(loop, &recv[2].op, far, in[2], 16, 0, probe_done);
    ferry_recv(loop, &recv[3].op, far, in[3], 2, 0, probe_done);
    ferry_send(loop, &send[0].op, near, "one", 3, 0, probe_done);
    ferry_sendv(loop, &send[1].op, near, out_vecs, 2, 0, probe_done);
    ferry_send(loop, &send[2].op, near, "three", 5, FERRY_SOME, probe_done);
    ferry_send(loop, &send[3].op, near, "cut off", 7, 0, probe_done);
    const int64_t sent[] = {3, 8, 5, 7}, received[] = {3, 8, 5, 2};
    for (int i = 0; i < 4; i++) {
        expect_all(loop, &send[i], sent[i], (uint64_t)sent[i], 0);
        expect_all(loop, &recv[i], received[i], (uint64_t)received[i], 0);
        if (i > 0) assert_true(recv[i - 1].order < recv[i].order);
    }
    assert_memory_equal(in[0], "one", 3);
    assert_memory_equal(in[1], "headtail", 8);
    assert_memory_equal(in[2], "three", 5);
    assert_memory_equal(in[3], "cu", 2);
}

static void ops_udp(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    assert_int_equal(udp_pair(loop, FERRY_INET, fds), 0);
    messages_on(loop, fds[0], fds[1]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    int err = udp_pair(loop, FERRY_INET6, fds);
    if (err == 0) {
        messages_on(loop, fds[1], fds[0]);
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
    } else {
        /* A machine may have no IPv6, and nothing else may be wrong. */
        assert_true(err == FERRY_EAFNOSUPPORT || err == FERRY_EADDRNOTAVAIL);
    }
    finish(loop);
}

static void ops_unix_datagram_and_seqpacket(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const enum ferry_socket_type types[] = {FERRY_DATAGRAM, FERRY_SEQPACKET};
    for (int i = 0; i < 1 + TEST_SEQPACKET; i++) {
        ferry_fd fds[2];
        assert_int_equal(ferry_socketpair(loop, fds, types[i]), 0);
        messages_on(loop, fds[0], fds[1]);
        messages_on(loop, fds[1], fds[0]);
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
    }
    finish(loop);
}

/* Named Unix datagram sockets, connected by address. */
static void ops_unix_datagram_named(void **state) {
    (void)state;
    need_unix(SOCK_DGRAM);
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd server = FERRY_FD_NONE, client = FERRY_FD_NONE;
    char text[400], in[8] = "";
    struct probe connect = {.calls = 0}, send = {.calls = 0}, recv = {.calls = 0};
    snprintf(text, sizeof text, "unix:%s", temp_path("datagrams"));
    assert_int_equal(ferry_addr_parse(&addr, text), 0);
    assert_int_equal(ferry_socket(loop, &server, FERRY_UNIX, FERRY_DATAGRAM), 0);
    assert_int_equal(ferry_bind(loop, server, &addr), 0);
    assert_int_equal(ferry_socket(loop, &client, FERRY_UNIX, FERRY_DATAGRAM), 0);
    ferry_connect(loop, &connect.op, client, &addr, 0, probe_done);
    ferry_send(loop, &send.op, client, "hello", 5, 0, probe_done);
    ferry_recv(loop, &recv.op, server, in, 8, 0, probe_done);
    expect_all(loop, &connect, 0, 0, 0);
    expect_all(loop, &send, 5, 5, 0);
    expect_all(loop, &recv, 5, 5, 0);
    assert_string_equal(in, "hello");
    close_near(loop, client);
    close_near(loop, server);
    finish(loop);
}

/* Other sockets fill what the receiver has room for, so that the sender's own buffer is empty. */
static ferry_fd full_receiver(ferry_loop *loop, ferry_addr *addr, int *fillers) {
    char text[400];
    ferry_fd receiver = FERRY_FD_NONE;
    snprintf(text, sizeof text, "unix:%s", temp_path("full"));
    assert_int_equal(ferry_addr_parse(addr, text), 0);
    (void)unlink(text + 5);
    assert_int_equal(ferry_socket(loop, &receiver, FERRY_UNIX, FERRY_DATAGRAM), 0);
    assert_int_equal(ferry_bind(loop, receiver, addr), 0);
    for (int sent = 1; sent > 0;) {
        ferry_fd filler = plain_socket(AF_UNIX, SOCK_DGRAM);
        set_nonblocking(filler);
        plain_connect(filler, addr);
        for (sent = 0; send(filler, "f", 1, 0) == 1;) sent++;
        *fillers += sent;
        close_far(filler);
    }
    return receiver;
}

/* A message whose receiver has no room waits until there is, and arrives as it is. */
static void contract_08_message_waits_for_its_receiver(void **state) {
    (void)state;
    need_unix(SOCK_DGRAM);
    ferry_loop *loop = test_loop();
    for (int way = 0; way < 4; way++) {
        ferry_addr addr;
        ferry_fd sender = FERRY_FD_NONE;
        struct probe connect = {.calls = 0}, send = {.calls = 0}, recv = {.calls = 0};
        char in[16] = "";
        ferry_vec vecs[2] = {VEC((void *)"one ", 4), VEC((void *)"message", 7)};
        ferry_msg msg = {.vecs = vecs, .count = 2, .addr = way == 3 ? &addr : NULL};
        int fillers = 0;
        ferry_fd receiver = full_receiver(loop, &addr, &fillers);
        assert_int_equal(ferry_socket(loop, &sender, FERRY_UNIX, FERRY_DATAGRAM), 0);
        if (way < 3) {
            ferry_connect(loop, &connect.op, sender, &addr, 0, probe_done);
            expect_all(loop, &connect, 0, 0, 0);
        }
        switch (way) {
        case 0: ferry_send(loop, &send.op, sender, "one message", 11, 0, probe_done); break;
        case 1: ferry_sendv(loop, &send.op, sender, vecs, 2, 0, probe_done); break;
        default: ferry_sendmsg(loop, &send.op, sender, &msg, 0, probe_done); break;
        }
        run_for(loop, 30 * MS);
        assert_int_equal(send.calls, 0);
        while (fillers-- > 0) plain_recv(receiver, in, 1);
        ferry_recv(loop, &recv.op, receiver, in, sizeof in, 0, probe_done);
        expect_all(loop, &send, 11, 11, 0);
        expect_all(loop, &recv, 11, 11, 0);
        assert_string_equal(in, "one message");
        close_near(loop, sender);
        close_near(loop, receiver);
    }
    finish(loop);
}

/* A seqpacket listener accepts like a stream's. */
static void ops_seqpacket_accepts(void **state) {
    (void)state;
    if (!TEST_SEQPACKET) test_skip("no such sockets here");
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = FERRY_FD_NONE, client = FERRY_FD_NONE;
    char text[400];
    struct probe accept = {.calls = 0}, connect = {.calls = 0};
    snprintf(text, sizeof text, "unix:%s", temp_path("packets"));
    assert_int_equal(ferry_addr_parse(&addr, text), 0);
    assert_int_equal(ferry_socket(loop, &listener, FERRY_UNIX, FERRY_SEQPACKET), 0);
    assert_int_equal(ferry_bind(loop, listener, &addr), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(ferry_socket(loop, &client, FERRY_UNIX, FERRY_SEQPACKET), 0);
    ferry_accept(loop, &accept.op, listener, NULL, 0, probe_done);
    ferry_connect(loop, &connect.op, client, &addr, 0, probe_done);
    expect(loop, &connect, 0);
    probe_wait(loop, &accept);
    assert_true(accept.result >= 0);
    messages_on(loop, client, (ferry_fd)accept.result);
    close_near(loop, (ferry_fd)accept.result);
    close_near(loop, client);
    close_near(loop, listener);
    finish(loop);
}

/* Too large to be one message: none of it is sent, and the socket is none the worse. */
static void ops_datagram_too_large(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static char large[70000];
    ferry_fd fds[2];
    struct probe send = {.calls = 0};
    assert_int_equal(udp_pair(loop, FERRY_INET, fds), 0);
    ferry_send(loop, &send.op, fds[0], large, sizeof large, 0, probe_done);
    expect_all(loop, &send, FERRY_EMSGSIZE, 0, 0);
    messages_on(loop, fds[0], fds[1]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* UDP tells that nobody is there when the answer has come; the next send may go out again. */
static void ops_udp_refused(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[4];
    struct probe send = {.calls = 0}, recv = {.calls = 0};
    assert_int_equal(udp_pair(loop, FERRY_INET, fds), 0);
    close_near(loop, fds[1]);
    ferry_recv(loop, &recv.op, fds[0], in, 4, 0, probe_done);
    ferry_send(loop, &send.op, fds[0], "anybody?", 8, 0, probe_done);
    expect_all(loop, &send, 8, 8, 0);
    expect_all(loop, &recv, FERRY_ECONNREFUSED, 0, 0);
    close_near(loop, fds[0]);
    finish(loop);
}

/* What ferry_socket() makes is what was asked for, and not inherited by executed programs. */
static void ops_socket_of_each_kind(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const enum ferry_family of[] = {FERRY_INET, FERRY_UNIX};
    const enum ferry_socket_type types[] = {FERRY_STREAM, FERRY_DATAGRAM, FERRY_SEQPACKET};
    const int system_types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int f = 0; f < 2; f++) {
        for (int t = 0; t < 3; t++) {
            if (of[f] == FERRY_INET && types[t] == FERRY_SEQPACKET) continue;
            ferry_fd fd = FERRY_FD_NONE;
            struct sockaddr_storage name;
            int type = 0;
            socklen_t len = sizeof type, name_len = sizeof name;
            int missing = types[t] == FERRY_SEQPACKET && !TEST_SEQPACKET;
            if (of[f] == FERRY_UNIX && !missing) missing = omits_unix(system_types[t]);
            if (missing) {
                assert_true(ferry_socket(loop, &fd, of[f], types[t]) < 0);
                continue;
            }
            assert_int_equal(ferry_socket(loop, &fd, of[f], types[t]), 0);
            assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len), 0);
            assert_int_equal(type, system_types[t]);
            if (!TEST_WINDOWS) { /* where it has no name before it is bound */
                assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &name_len), 0);
                assert_int_equal(name.ss_family, of[f] == FERRY_INET ? AF_INET : AF_UNIX);
            }
            assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
            close_near(loop, fd);
        }
    }
    finish(loop);
}

const struct contract_test ops_messages_tests[] = {
    {"ops_udp", ops_udp, 0},
    {"ops_unix_datagram_and_seqpacket", ops_unix_datagram_and_seqpacket, 0},
    {"ops_unix_datagram_named", ops_unix_datagram_named, 0},
    {"contract_08_message_waits_for_its_receiver", contract_08_message_waits_for_its_receiver, 0},
    {"ops_seqpacket_accepts", ops_seqpacket_accepts, 0},
    {"ops_datagram_too_large", ops_datagram_too_large, 0},
    {"ops_udp_refused", ops_udp_refused, 0},
    {"ops_socket_of_each_kind", ops_socket_of_each_kind, 0},
    {NULL, NULL, 0},
};
