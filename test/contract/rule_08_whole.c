/* Rule 8: sends and writes on streams are whole unless FERRY_SOME; recv and read are short unless
 * FERRY_ALL.
 *
 * op->transferred always tells the bytes. A whole operation that is cut short ends with the error
 * that cut it; data followed by the end of the stream with the count.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG (4u << 20)

static char *buffer(size_t len, uint64_t seed) {
    char *buf = malloc(len);
    assert_non_null(buf);
    fill(buf, len, seed);
    return buf;
}

/* Runs the loop and takes what arrives at fd, a little at a time, until p has ended; then the rest.
 * Returns the bytes, all of which must be as fill() made them. */
static size_t slow_reader(ferry_loop *loop, struct probe *p, ferry_fd fd, uint64_t seed,
                          size_t expected) {
    static char buf[40000];
    size_t got = 0;
    uint64_t start_ns = clock_ns();
    while (p->finals == 0 || got < expected) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fd, buf, sizeof buf);
        if (n < 0) break;
        assert_true(is_filled(buf, (size_t)n, seed + got));
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    return got;
}

static void whole_send(ferry_fd fds[2], ferry_loop *loop, int vectored) {
    enum { PIECES = 1500 }; /* more than the system takes at once */
    struct probe p = {.calls = 0};
    char *out = buffer(BIG, 7);
    ferry_vec *vecs = calloc(PIECES, sizeof *vecs);
    assert_non_null(vecs);
    size_t at = 0;
    for (size_t i = 0; i < PIECES; i++) {
        size_t len = i == PIECES - 1 ? BIG - at : i % 7 * 700; /* some are empty */
        vecs[i].data = out + at;
        vecs[i].len = (unsigned long)len;
        at += len;
    }
    if (vectored) ferry_sendv(loop, &p.op, fds[0], vecs, PIECES, 0, probe_done);
    else ferry_send(loop, &p.op, fds[0], out, BIG, 0, probe_done);
    assert_int_equal(slow_reader(loop, &p, fds[1], 7, BIG), BIG);
    probe_check(&p, BIG);
    assert_int_equal(p.transferred, BIG);
    free(vecs);
    free(out);
}

static void contract_08_sends_are_whole(void **state) {
    (void)state;
    ferry_fd fds[2], locals[2];
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    unix_pair(locals, SOCK_STREAM);
    for (int vectored = 0; vectored < 2; vectored++) {
        whole_send(fds, loop, vectored);
        whole_send(locals, loop, vectored);
    }
    test_close(loop);
    ferry_fd mine[] = {fds[0], fds[1], locals[0], locals[1]};
    for (size_t i = 0; i < 4; i++) close(mine[i]);
}

static void contract_08_some_ends_short(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char *out = buffer(BIG, 9), *in = malloc(BIG);
    ferry_vec vecs[2];
    ferry_fd fds[2];
    assert_non_null(in);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int vectored = 0; vectored < 2; vectored++) {
        memset(&p, 0, sizeof p);
        vecs[0].data = out;
        vecs[0].len = BIG / 2;
        vecs[1].data = out + BIG / 2;
        vecs[1].len = BIG / 2;
        if (vectored) ferry_sendv(loop, &p.op, fds[0], vecs, 2, FERRY_SOME, probe_done);
        else ferry_send(loop, &p.op, fds[0], out, BIG, FERRY_SOME, probe_done);
        run_done(loop); /* nobody reads: what fits is sent, and that is all */
        assert_int_equal(p.calls, 1);
        assert_true(p.result > 0 && p.result < BIG);
        assert_int_equal(p.transferred, p.result);
        plain_recv(fds[1], in, (size_t)p.result);
        assert_true(is_filled(in, (size_t)p.result, 9));
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
    free(in);
}

static void contract_08_receives_are_short(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char buf[1000], *out = buffer(1000, 2);
    ferry_vec vecs[3] = {VEC(buf, 10), VEC(NULL, 0), VEC(buf + 10, 990)};
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int vectored = 0; vectored < 2; vectored++) {
        memset(&p, 0, sizeof p);
        plain_send(fds[1], out, 100);
        if (vectored) ferry_recvv(loop, &p.op, fds[0], vecs, 3, 0, probe_done);
        else ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, 0, probe_done);
        run_done(loop);
        probe_check(&p, 100);
        assert_int_equal(p.transferred, 100);
        assert_int_equal(p.flags, 0);
        assert_true(is_filled(buf, 100, 2));
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
}

/* Bytes trickle in; only the last of them completes it. */
static void contract_08_all_fills_the_buffer(void **state) {
    (void)state;
    struct probe p[2] = {{.calls = 0}};
    char buf[2000], *out = buffer(2000, 6);
    ferry_vec vecs[4] = {VEC(buf + 1000, 1), VEC(NULL, 0), VEC(buf + 1001, 600),
                         VEC(buf + 1601, 399)};
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &p[0].op, fds[0], buf, 1000, FERRY_ALL, probe_done);
    ferry_recvv(loop, &p[1].op, fds[0], vecs, 4, FERRY_ALL, probe_done);
    for (int i = 0; i < 20; i++) {
        if (i > 10) assert_int_equal(p[0].calls, 1);
        assert_int_equal(p[1].calls, 0);
        plain_send(fds[1], out + (ptrdiff_t)i * 100, 100);
        run_for(loop, MS / 2);
        if (i < 9) assert_int_equal(p[0].calls, 0);
    }
    run_done(loop);
    for (int i = 0; i < 2; i++) {
        probe_check(&p[i], 1000);
        assert_int_equal(p[i].transferred, 1000);
    }
    assert_true(is_filled(buf, 2000, 6));
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
}

/* ---- The end of a stream --------------------------------------------------------------- */

static void contract_08_data_then_the_end(void **state) {
    (void)state;
    struct probe all = {.calls = 0}, end = {.calls = 0}, again = {.calls = 0};
    char buf[100];
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_recv(loop, &all.op, fds[0], buf, sizeof buf, FERRY_ALL, probe_done);
    ferry_recv(loop, &end.op, fds[0], buf, sizeof buf, 0, probe_done);
    ferry_recv(loop, &again.op, fds[0], buf, sizeof buf, FERRY_ALL, probe_done);
    plain_send(fds[1], "before the end", 14);
    run_for(loop, 2 * MS);
    assert_int_equal(all.calls, 0);
    close(fds[1]);
    run_done(loop);
    probe_check(&all, 14);
    assert_int_equal(all.transferred, 14);
    assert_int_equal(all.flags & FERRY_MORE, 0);
    probe_check(&end, 0);
    assert_int_equal(end.flags, FERRY_EOF);
    assert_int_equal(end.transferred, 0);
    probe_check(&again, 0);
    assert_int_equal(again.flags, FERRY_EOF);
    test_close(loop);
    close(fds[0]);
}

static void contract_08_nothing_is_not_the_end(void **state) {
    (void)state;
    enum { STREAM, VECTORS, NO_VECTORS, SEND, SENDV, UNIX, UDP, FILE_READ, FILE_WRITE, COUNT };
    struct probe p[COUNT] = {{.calls = 0}};
    char buf[8] = "";
    ferry_vec empty[2] = {VEC(buf, 0), VEC(NULL, 0)};
    ferry_fd fds[2], local[2], udp[2];
    ferry_addr addr;
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    unix_pair(local, SOCK_DGRAM);
    ferry_fd file = temp_file("data", 10, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ferry_socket(loop, &udp[i], FERRY_INET, FERRY_DATAGRAM), 0);
    }
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_bind(loop, udp[0], &addr), 0);
    assert_int_equal(ferry_local_addr(loop, udp[0], &addr), 0);
    const struct sockaddr *to = (const struct sockaddr *)(const void *)addr.data.bytes;
    assert_int_equal(sendto(udp[1], "", 0, 0, to, (socklen_t)addr.len), 0);
    assert_int_equal(send(local[1], "", 0, 0), 0);

    ferry_recv(loop, &p[STREAM].op, fds[0], buf, 0, 0, probe_done);
    ferry_recvv(loop, &p[VECTORS].op, fds[0], empty, 2, FERRY_ALL, probe_done);
    ferry_recvv(loop, &p[NO_VECTORS].op, fds[0], NULL, 0, 0, probe_done);
    ferry_send(loop, &p[SEND].op, fds[0], NULL, 0, 0, probe_done);
    ferry_sendv(loop, &p[SENDV].op, fds[0], empty, 2, 0, probe_done);
    ferry_recv(loop, &p[UNIX].op, local[0], buf, sizeof buf, 0, probe_done);
    ferry_recv(loop, &p[UDP].op, udp[0], buf, sizeof buf, 0, probe_done);
    ferry_read(loop, &p[FILE_READ].op, file, buf, 0, 0, 0, probe_done);
    ferry_write(loop, &p[FILE_WRITE].op, file, buf, 0, 0, 0, probe_done);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], 0);
        if (p[i].flags) fail_msg("case %d: flags %u", i, p[i].flags);
    }
    test_close(loop);
    ferry_fd mine[] = {fds[0], fds[1], local[0], local[1], udp[0], udp[1], file};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) close(mine[i]);
}

/* ---- Cut short
 * ----------------------------------------------------------------------------------- */

/* A peer that resets: an error, not an end. */
static void reset(ferry_fd fd) {
    struct linger now = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    assert_int_equal(close(fd), 0);
}

static void contract_08_all_cut_by_a_reset(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char buf[100];
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, FERRY_ALL, probe_done);
    plain_send(fds[1], "part", 4);
    run_for(loop, 20 * MS);
    reset(fds[1]);
    run_done(loop);
    probe_check(&p, FERRY_ECONNRESET);
    assert_int_equal(p.transferred, 4);
    assert_int_equal(p.flags, 0);
    assert_memory_equal(buf, "part", 4);
    test_close(loop);
    close(fds[0]);
}

static void contract_08_send_cut_by_a_reset(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char *out = buffer(64u << 20, 3);
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_send(loop, &p.op, fds[0], out, 64u << 20, 0, probe_done);
    run_for(loop, 10 * MS);
    assert_int_equal(p.calls, 0);
    reset(fds[1]);
    run_done(loop);
    assert_int_equal(p.calls, 1);
    assert_true(p.result == FERRY_ECONNRESET || p.result == FERRY_EPIPE);
    assert_true(p.transferred > 0 && p.transferred < 64u << 20);
    test_close(loop);
    close(fds[0]);
    free(out);
}

const struct contract_test rule_08_tests[] = {
    {"contract_08_sends_are_whole", contract_08_sends_are_whole, 60},
    {"contract_08_some_ends_short", contract_08_some_ends_short, 0},
    {"contract_08_receives_are_short", contract_08_receives_are_short, 0},
    {"contract_08_all_fills_the_buffer", contract_08_all_fills_the_buffer, 0},
    {"contract_08_data_then_the_end", contract_08_data_then_the_end, 0},
    {"contract_08_nothing_is_not_the_end", contract_08_nothing_is_not_the_end, 0},
    {"contract_08_all_cut_by_a_reset", contract_08_all_cut_by_a_reset, 0},
    {"contract_08_send_cut_by_a_reset", contract_08_send_cut_by_a_reset, 0},
    {NULL, NULL, 0}};
