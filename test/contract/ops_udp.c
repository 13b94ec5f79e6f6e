/* ops_udp.c - what comes with a datagram, datagrams in bulk, and an echo for a program that knows
 * nothing of us
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"

#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Packet information ---------------------------------------------------------------- */

static void same_host(const ferry_addr *addr, const char *text) {
    char is[64];
    (void)ferry_addr_format(addr, is, sizeof is);
    assert_string_equal(is, text);
}

/* A socket on all addresses learns to which a datagram was sent, and answers from there. */
static void packet_info_on(ferry_loop *loop, const char *any, const char *own, const char *shown) {
    ferry_addr addr, client_addr, to;
    struct letter out, in, reply;
    ferry_control item;
    ferry_fd server = udp_at(loop, any, &addr), client = udp_at(loop, own, &client_addr);
    if (client == FERRY_FD_NONE) {
        if (server != FERRY_FD_NONE) close_near(loop, server);
        return; /* no IPv6 here */
    }
    char text[80];
    snprintf(text, sizeof text, "%.*s%u", (int)strlen(own) - 1, own, ferry_addr_port(&addr));
    assert_int_equal(ferry_addr_parse(&to, text), 0);
    letter_write(&out, "where?");
    out.addr = to;
    letter_blank(&in, 100);
    letter_pass(loop, &out, client, &in, server, "where?");
    assert_int_equal(letter_count(&in, FERRY_CONTROL_PACKET), 0);
    assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_RECV_PACKET_INFO, 1), 0);
    letter_pass(loop, &out, client, &in, server, "where?");
    assert_true(letter_find(&in, FERRY_CONTROL_PACKET, &item));
    assert_true(item.interface_index > 0);
    same_host(&item.to, shown);
    same_host(&item.local, shown);
    if (omits_on_wine("Wine sends no control data")) {
        close_near(loop, server);
        close_near(loop, client);
        return;
    }

    letter_write(&out, "here!"); /* what came is what is answered with */
    out.addr = in.addr;
    assert_int_equal(ferry_control_add(&out.msg, &item), 0);
    letter_blank(&reply, 100);
    letter_pass(loop, &out, server, &reply, client, "here!");
    assert_same_addr(&reply.addr, &to);
    close_near(loop, server);
    close_near(loop, client);
}

static void ops_udp_packet_info(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    packet_info_on(loop, "0.0.0.0:0", "127.0.0.1:0", "127.0.0.1:0");
    packet_info_on(loop, "0.0.0.0:0", "127.0.0.2:0", "127.0.0.2:0"); /* not the first it has */
    packet_info_on(loop, "[::]:0", "[::1]:0", "[::1]:0");
    finish(loop);
}

/* Sending from an address that is chosen for one datagram, and from one that is not ours. */
static void ops_udp_chosen_source(void **state) {
    (void)state;
    differs_on_wine("Wine sends no control data");
    ferry_loop *loop = test_loop();
    ferry_addr any, addr;
    struct letter out, in;
    ferry_control item = {.kind = FERRY_CONTROL_PACKET};
    ferry_fd client = udp_at(loop, "0.0.0.0:0", &any), server = udp_at(loop, "127.0.0.1:0", &addr);
    assert_int_equal(ferry_addr_parse(&item.local, "127.9.9.9:0"), 0);
    letter_write(&out, "from");
    letter_blank(&in, 100);
    out.addr = addr;
    assert_int_equal(ferry_control_add(&out.msg, &item), 0);
    letter_pass(loop, &out, client, &in, server, "from");
    char text[64], expected[64];
    (void)ferry_addr_format(&in.addr, text, sizeof text);
    snprintf(expected, sizeof expected, "127.9.9.9:%u", ferry_addr_port(&any));
    assert_string_equal(text, expected);

    assert_int_equal(ferry_addr_parse(&item.local, "203.0.113.9:0"), 0);
    out.msg.control_len = 0;
    assert_int_equal(ferry_control_add(&out.msg, &item), 0);
    letter_send(loop, &out, client, 0);
    probe_wait(loop, &out.p);
    assert_true(out.p.result == FERRY_EINVAL || out.p.result == FERRY_ENETUNREACH ||
                out.p.result == FERRY_EADDRNOTAVAIL);
    close_near(loop, server);
    close_near(loop, client);
    finish(loop);
}

/* The header's numbers, set for the socket or for one datagram. */
static void hops_and_class_on(ferry_loop *loop, const char *own) {
    ferry_addr addr, client_addr;
    struct letter out, in;
    ferry_control item;
    ferry_fd server = udp_at(loop, own, &addr), client = udp_at(loop, own, &client_addr);
    if (server == FERRY_FD_NONE) return;
    assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_RECV_HOPS, 1), 0);
    assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_RECV_CLASS, 1), 0);
    assert_int_equal(ferry_socket_set(loop, client, FERRY_OPT_HOPS, 33), 0);
    int classes = !omits_on_windows("packets are marked by policies on Windows");
    int error = ferry_socket_set(loop, client, FERRY_OPT_CLASS, 0x28);
    assert_int_equal(error, classes ? 0 : FERRY_ENOTSUP);
    for (int one = 0; one < 2; one++) {
        if (one && omits_on_wine("Wine sends no control data")) break;
        letter_write(&out, "numbers");
        letter_blank(&in, 100);
        out.addr = addr;
        if (one) {
            item = (ferry_control){.kind = FERRY_CONTROL_HOPS, .number = 44};
            assert_int_equal(ferry_control_add(&out.msg, &item), 0);
            item = (ferry_control){.kind = FERRY_CONTROL_CLASS, .number = 0x49};
            if (classes) assert_int_equal(ferry_control_add(&out.msg, &item), 0);
        }
        letter_pass(loop, &out, client, &in, server, "numbers");
        assert_true(letter_find(&in, FERRY_CONTROL_HOPS, &item));
        assert_int_equal(item.number, one ? 44 : 33);
        if (!classes) continue;
        assert_true(letter_find(&in, FERRY_CONTROL_CLASS, &item));
        assert_int_equal(item.number, one ? 0x49 : 0x28); /* the bits of ECN too */
    }
    close_near(loop, server);
    close_near(loop, client);
}

static void ops_udp_hops_and_class(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    hops_and_class_on(loop, "127.0.0.1:0");
    hops_and_class_on(loop, "[::1]:0");
    finish(loop);
}

/* A socket for both protocols: what IPv4 brings is told as well, and the answer finds back. */
static void ops_udp_both_protocols(void **state) {
    (void)state;
    int classes = !omits_on_windows("packets are marked by policies on Windows");
    int sends = !omits_on_wine("Wine sends no control data");
    ferry_loop *loop = test_loop();
    ferry_addr addr, client_addr, to;
    struct letter out, in, reply;
    ferry_control hops, class, packet;
    char text[64];
    ferry_fd server = FERRY_FD_NONE, client = udp_at(loop, "127.0.0.1:0", &client_addr);
    if (ferry_socket(loop, &server, FERRY_INET6, FERRY_DATAGRAM) == 0) {
        assert_int_equal(ferry_addr_parse(&addr, "[::]:0"), 0);
        assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_V6ONLY, 0), 0);
        assert_int_equal(ferry_bind(loop, server, &addr), 0);
        assert_int_equal(ferry_local_addr(loop, server, &addr), 0);
        assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_RECV_PACKET_INFO, 1), 0);
        assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_RECV_HOPS, 1), 0);
        assert_int_equal(ferry_socket_set(loop, server, FERRY_OPT_RECV_CLASS, 1), 0);
        assert_int_equal(ferry_socket_set(loop, client, FERRY_OPT_HOPS, 21), 0);
        int error = ferry_socket_set(loop, client, FERRY_OPT_CLASS, 0x28);
        assert_int_equal(error, classes ? 0 : FERRY_ENOTSUP);
        snprintf(text, sizeof text, "127.0.0.1:%u", ferry_addr_port(&addr));
        assert_int_equal(ferry_addr_parse(&to, text), 0);
        letter_write(&out, "over IPv4");
        letter_blank(&in, 100);
        out.addr = to;
        letter_pass(loop, &out, client, &in, server, "over IPv4");
        assert_true(letter_find(&in, FERRY_CONTROL_HOPS, &hops));
        assert_int_equal(hops.number, 21);
        if (classes) {
            assert_true(letter_find(&in, FERRY_CONTROL_CLASS, &class));
            assert_int_equal(class.number, 0x28);
        }
        assert_true(letter_find(&in, FERRY_CONTROL_PACKET, &packet));
        same_host(&packet.local, "[::ffff:127.0.0.1]:0");

        assert_int_equal(ferry_socket_set(loop, client, FERRY_OPT_RECV_HOPS, 1), 0);
        letter_write(&out, "and back");
        letter_blank(&reply, 100);
        out.addr = in.addr;
        hops = (ferry_control){.kind = FERRY_CONTROL_HOPS, .number = 22};
        if (sends) assert_int_equal(ferry_control_add(&out.msg, &packet), 0);
        if (sends) assert_int_equal(ferry_control_add(&out.msg, &hops), 0);
        letter_pass(loop, &out, server, &reply, client, "and back");
        assert_true(letter_find(&reply, FERRY_CONTROL_HOPS, &hops));
        if (sends) assert_int_equal(hops.number, 22);
        close_near(loop, server);
    }
    close_near(loop, client);
    finish(loop);
}

/* ---- In bulk --------------------------------------------------------------------------- */

#define PIECE 1000
#define PIECES 10

struct bulk {
    ferry_loop *loop;
    ferry_fd server, client;
    ferry_addr addr, client_addr;
    struct letter out, in;
    char data[PIECE * PIECES], got[PIECE * PIECES];
};

static void bulk_open(struct bulk *b, ferry_loop *loop, const char *own) {
    b->loop = loop;
    b->server = udp_at(loop, own, &b->addr);
    b->client = udp_at(loop, own, &b->client_addr);
}

static void bulk_close(struct bulk *b) {
    close_near(b->loop, b->server);
    close_near(b->loop, b->client);
}

/* Sends all, the last 300 bytes short of whole pieces. */
static void bulk_send(struct bulk *b, int per_message, int64_t result) {
    fill(b->data, sizeof b->data, 5);
    letter_write(&b->out, "");
    b->out.addr = b->addr;
    b->out.vecs[0] = (ferry_vec)VEC(b->data, 4000);
    b->out.vecs[1] = (ferry_vec)VEC(b->data + 4000, sizeof b->data - 4300);
    if (per_message) {
        const ferry_control item = {.kind = FERRY_CONTROL_SEGMENT, .number = PIECE};
        assert_int_equal(ferry_control_add(&b->out.msg, &item), 0);
    }
    letter_send(b->loop, &b->out, b->client, 0);
    expect(b->loop, &b->out.p, result);
}

/* Receives `count` datagrams: of a piece each, the last of them shorter. */
static void bulk_recv_pieces(struct bulk *b) {
    for (size_t i = 0; i < PIECES; i++) {
        letter_blank(&b->in, sizeof b->in.data);
        letter_recv(b->loop, &b->in, b->server, 0);
        expect(b->loop, &b->in.p, i == PIECES - 1 ? PIECE - 300 : PIECE);
        assert_true(is_filled(b->in.data, (size_t)b->in.p.result, 5 + i * PIECE));
        assert_int_equal(letter_count(&b->in, FERRY_CONTROL_SEGMENT), 0);
    }
}

static void ops_udp_segments(void **state) {
    (void)state;
    differs_on_wine("Wine sends no control data");
    static struct bulk b;
    ferry_loop *loop = test_loop();
    const char *own[] = {"127.0.0.1:0", "[::1]:0"};
    for (int i = 0; i < 2; i++) {
        bulk_open(&b, loop, own[i]);
        if (b.server == FERRY_FD_NONE) continue;
        bulk_send(&b, 1, PIECE * PIECES - 300); /* for this message */
        bulk_recv_pieces(&b);
        assert_int_equal(ferry_socket_set(loop, b.client, FERRY_OPT_UDP_SEGMENT_BYTES, PIECE), 0);
        bulk_send(&b, 0, PIECE * PIECES - 300); /* for all of the socket */
        bulk_recv_pieces(&b);
        assert_int_equal(ferry_socket_set(loop, b.client, FERRY_OPT_UDP_SEGMENT_BYTES, 1), 0);
        bulk_send(&b, 0, FERRY_EINVAL); /* too many of them */
        assert_int_equal(ferry_socket_set(loop, b.client, FERRY_OPT_UDP_SEGMENT_BYTES, 0), 0);
        bulk_send(&b, 0, PIECE * PIECES - 300); /* one again */
        letter_blank(&b.in, 10);
        letter_recv(loop, &b.in, b.server, 0);
        expect(loop, &b.in.p, 10);
        assert_int_equal(b.in.msg.flags, FERRY_MSG_TRUNCATED);
        bulk_close(&b);
    }
    finish(loop);
}

static void ops_udp_receive_offload(void **state) {
    (void)state;
    differs_on_wine("Wine sends no control data");
    static struct bulk b;
    ferry_loop *loop = test_loop();
    ferry_control item;
    const char *own[] = {"127.0.0.1:0", "[::1]:0"};
    for (int i = 0; i < 2; i++) {
        bulk_open(&b, loop, own[i]);
        if (b.server == FERRY_FD_NONE) continue;
        assert_int_equal(ferry_socket_set(loop, b.server, FERRY_OPT_UDP_GRO, 1), 0);
        bulk_send(&b, 1, PIECE * PIECES - 300);
        letter_blank(&b.in, 0);
        b.in.vecs[0] = (ferry_vec)VEC(b.got, 333);
        b.in.vecs[1] = (ferry_vec)VEC(b.got + 333, sizeof b.got - 333);
        letter_recv(loop, &b.in, b.server, 0);
        expect(loop, &b.in.p, PIECE * PIECES - 300);
        assert_true(is_filled(b.got, PIECE * PIECES - 300, 5));
        assert_true(letter_find(&b.in, FERRY_CONTROL_SEGMENT, &item));
        assert_int_equal(item.number, PIECE);
        assert_same_addr(&b.in.addr, &b.client_addr);
        assert_int_equal(ferry_socket_set(loop, b.server, FERRY_OPT_UDP_GRO, 0), 0);
        bulk_send(&b, 1, PIECE * PIECES - 300);
        bulk_recv_pieces(&b);
        bulk_close(&b);
    }
    finish(loop);
}

/* ---- An echo for socat ----------------------------------------------------------------- */

struct server {
    ferry_loop *loop;
    ferry_fd fd;
    struct letter letter;
    unsigned echoed;
};

static void on_sent(ferry_op *op);

static void on_received(ferry_op *op) {
    struct server *s = ferry_container(op, struct server, letter.p.op);
    if (op->result < 0) return;
    s->letter.vecs[1].len = (unsigned long)op->result - s->letter.vecs[0].len;
    ferry_sendmsg(s->loop, op, s->fd, &s->letter.msg, 0, on_sent);
}

static void on_sent(ferry_op *op) {
    struct server *s = ferry_container(op, struct server, letter.p.op);
    assert_true(op->result > 0);
    s->echoed++;
    s->letter.vecs[1].len = 100;
    ferry_recvmsg(s->loop, op, s->fd, &s->letter.msg, 0, on_received);
}

/* Says lines to its socket, which socat is, and says to us whether each came back as it was. */
static const char script[] = "for i in 1 2 3 4 5 6 7 8 9; do\n"
                             "    said=\"line $i of them\"\n"
                             "    echo \"$said\"\n"
                             "    read -r heard\n"
                             "    [ \"$heard\" = \"$said\" ] || { echo \"$heard\" >&2; exit 1; }\n"
                             "done\n"
                             "echo well >&2\n";

/* socat between the script and port: the descriptor that tells what the script says. */
static pid_t socat_start(unsigned port, ferry_fd *output) {
    extern char **environ;
    char to[64], command[400];
    const char *path = temp_path("script");
    close_far(make_file(path, script, sizeof script - 1));
    snprintf(to, sizeof to, "UDP4:127.0.0.1:%u", port);
    snprintf(command, sizeof command, "EXEC:sh %s", path);
    char *const argv[] = {(char[]){"env"}, (char[]){"socat"}, to, command, NULL};
    return process_start("/usr/bin/env", argv, environ, output);
}

static void ops_udp_echo_for_socat(void **state) {
    (void)state;
    differs_on_windows("no program of this system");
    static struct server s;
    ferry_addr addr;
    ferry_fd output = FERRY_FD_NONE;
    int status = 0, ended = 0;
    char text[400] = "";
    memset(&s, 0, sizeof s);
    s.loop = test_loop();
    s.fd = udp_at(s.loop, "127.0.0.1:0", &addr);
    letter_blank(&s.letter, 103);
    memset(&s.letter.p, 0, sizeof s.letter.p);
    ferry_recvmsg(s.loop, &s.letter.p.op, s.fd, &s.letter.msg, 0, on_received);
    pid_t pid = socat_start(ferry_addr_port(&addr), &output);
    assert_true(pid > 0);
    size_t len = far_take_all(s.loop, output, text, sizeof text - 1, &ended);
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    close_far(output);
    assert_true(len > 0);
    assert_string_equal(text, "well\n");
    assert_int_equal(s.echoed, 9);
    close_near(s.loop, s.fd);
    finish(s.loop);
}

const struct contract_test ops_udp_tests[] = {
    {"ops_udp_packet_info", ops_udp_packet_info, 0},
    {"ops_udp_chosen_source", ops_udp_chosen_source, 0},
    {"ops_udp_hops_and_class", ops_udp_hops_and_class, 0},
    {"ops_udp_both_protocols", ops_udp_both_protocols, 0},
    {"ops_udp_segments", ops_udp_segments, 0},
    {"ops_udp_receive_offload", ops_udp_receive_offload, 0},
    {"ops_udp_echo_for_socat", ops_udp_echo_for_socat, 0},
    {NULL, NULL, 0},
};
