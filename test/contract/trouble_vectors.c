/* trouble_vectors.c - vectors of no, of empty and of very many pieces, and progress within them
 *
 * A vector belongs to the caller and may be constant: each test checks that it stays as it was.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECES ((size_t)3000) /* the system takes 1,024 in a call */

/* Cuts len bytes into count pieces of uneven lengths, many of them empty. */
static void cut(ferry_vec *vecs, size_t count, char *data, size_t len) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = i % 3 == 1 ? 0 : (i * 7) % (3 * len / count + 2);
        if (n > len - at || i == count - 1) n = len - at;
        vecs[i] = (ferry_vec)VEC(n ? data + at : NULL, n);
        at += n;
    }
    assert_int_equal(at, len);
}

static void trouble_vectors_with_empty_pieces(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char out[] = "abcdefgh", in[9] = "";
    const ferry_vec send_vecs[] = {VEC(NULL, 0), VEC(out, 3), VEC(NULL, 0), VEC(out + 3, 0),
                                   VEC(out + 3, 5)};
    const ferry_vec recv_vecs[] = {VEC(in, 1), VEC(NULL, 0), VEC(in + 1, 2), VEC(in + 3, 5),
                                   VEC(NULL, 0)};
    ferry_fd fds[2], file = make_file(temp_path("file"), "", 0);
    struct probe p[4];
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    ferry_sendv(loop, &p[0].op, fds[0], send_vecs, 5, 0, probe_done);
    ferry_recvv(loop, &p[1].op, fds[1], recv_vecs, 5, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], 8, 8, 0);
    expect_all(loop, &p[1], 8, 8, 0);
    assert_string_equal(in, out);
    memset(in, 0, sizeof in);
    ferry_writev(loop, &p[2].op, file, send_vecs, 5, 0, 0, probe_done);
    expect_all(loop, &p[2], 8, 8, 0);
    ferry_readv(loop, &p[3].op, file, recv_vecs, 5, 0, 0, probe_done);
    expect_all(loop, &p[3], 8, 8, 0);
    assert_string_equal(in, out);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    close_near(loop, file);
    finish(loop);
}

static void trouble_vectors_of_one(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char out[] = "alone", in[6] = "";
    const ferry_vec send_vec = VEC(out, 5), recv_vec = VEC(in, 5);
    ferry_fd fds[2];
    struct probe p[2];
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    ferry_recvv(loop, &p[1].op, fds[1], &recv_vec, 1, FERRY_ALL, probe_done);
    ferry_sendv(loop, &p[0].op, fds[0], &send_vec, 1, 0, probe_done);
    expect_all(loop, &p[0], 5, 5, 0);
    expect_all(loop, &p[1], 5, 5, 0);
    assert_string_equal(in, out);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

struct many {
    char *out, *in;
    ferry_vec *send, *recv, *kept;
    size_t len;
};

static void many_make(struct many *m, size_t len) {
    m->len = len;
    m->out = malloc(len);
    m->in = calloc(1, len);
    m->send = calloc(PIECES, sizeof *m->send);
    m->recv = calloc(PIECES, sizeof *m->recv);
    m->kept = calloc(PIECES, sizeof *m->kept);
    assert_true(m->out && m->in && m->send && m->recv && m->kept);
    fill(m->out, len, 42);
    cut(m->send, PIECES, m->out, len);
    /* The other side is cut otherwise, so that no two ends of pieces coincide. */
    cut(m->recv, PIECES - 500, m->in, len);
    memcpy(m->kept, m->send, PIECES * sizeof *m->kept);
}

static void many_check(struct many *m) {
    assert_true(is_filled(m->in, m->len, 42));
    assert_memory_equal(m->send, m->kept, PIECES * sizeof *m->kept);
    memset(m->in, 0, m->len);
}

static void many_free(struct many *m) {
    free(m->out);
    free(m->in);
    free(m->send);
    free(m->recv);
    free(m->kept);
}

static void trouble_vectors_beyond_the_systems_count(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct many m;
    ferry_fd fds[2], file = make_file(temp_path("file"), "", 0), pipe[2];
    struct probe p[6];
    memset(p, 0, sizeof p);
    many_make(&m, 50 * KIB);
    tcp_pair(loop, fds);
    assert_int_equal(ferry_pipe(loop, pipe), 0);

    ferry_sendv(loop, &p[0].op, fds[0], m.send, PIECES, 0, probe_done);
    ferry_recvv(loop, &p[1].op, fds[1], m.recv, PIECES - 500, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], (int64_t)m.len, m.len, 0);
    expect_all(loop, &p[1], (int64_t)m.len, m.len, 0);
    many_check(&m);

    ferry_writev(loop, &p[2].op, file, m.send, PIECES, 0, 0, probe_done);
    expect_all(loop, &p[2], (int64_t)m.len, m.len, 0);
    ferry_readv(loop, &p[3].op, file, m.recv, PIECES - 500, 0, FERRY_ALL, probe_done);
    expect_all(loop, &p[3], (int64_t)m.len, m.len, 0);
    many_check(&m);

    ferry_writev(loop, &p[4].op, pipe[1], m.send, PIECES, FERRY_CURRENT, 0, probe_done);
    ferry_readv(loop, &p[5].op, pipe[0], m.recv, PIECES - 500, FERRY_CURRENT, FERRY_ALL,
                probe_done);
    expect_all(loop, &p[4], (int64_t)m.len, m.len, 0);
    expect_all(loop, &p[5], (int64_t)m.len, m.len, 0);
    many_check(&m);
    for (int i = 0; i < 2; i++) {
        close_near(loop, fds[i]);
        close_near(loop, pipe[i]);
    }
    close_near(loop, file);
    many_free(&m);
    finish(loop);
}

/* Receiving short, it is at least something of what is there and it fills the pieces in order. */
static void trouble_vectors_beyond_the_count_short(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct many m;
    ferry_fd fds[2];
    struct probe p = {.calls = 0};
    many_make(&m, 40 * KIB);
    unix_pair(fds, SOCK_STREAM);
    plain_send(fds[1], m.out, 1000);
    ferry_recvv(loop, &p.op, fds[0], m.recv, PIECES - 500, 0, probe_done);
    probe_wait(loop, &p);
    assert_in_range(p.result, 1, 1000);
    assert_int_equal(p.transferred, p.result);
    assert_true(is_filled(m.in, (size_t)p.result, 42));
    close_near(loop, fds[0]);
    close_far(fds[1]);
    many_free(&m);
    finish(loop);
}

/* A message goes out in one call or not at all. */
static void trouble_vectors_beyond_the_count_datagram(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static char byte[1100] = "";
    static ferry_vec vecs[1100];
    ferry_fd fds[2];
    struct probe p[2];
    char buf[8];
    int ended = 0;
    for (size_t i = 0; i < 1100; i++) vecs[i] = (ferry_vec)VEC(byte + i, 1);
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_DGRAM);
    ferry_sendv(loop, &p[0].op, fds[0], vecs, 1100, 0, probe_done);
    expect_all(loop, &p[0], FERRY_EMSGSIZE, 0, 0);
    assert_int_equal(far_take(fds[1], buf, sizeof buf, &ended), 0);
    ferry_sendv(loop, &p[1].op, fds[0], vecs, 4, 0, probe_done);
    expect_all(loop, &p[1], 4, 4, 0);
    assert_int_equal(far_take(fds[1], buf, sizeof buf, &ended), 4);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* The far side takes odd pieces of what the system's small buffer holds: each call that goes on
 * begins somewhere within the vector. */
static void progress_on(ferry_loop *loop, ferry_fd near, ferry_fd far, int is_pipe) {
    struct many m;
    struct probe p = {.calls = 0};
    many_make(&m, 400 * KIB);
    if (is_pipe) {
        ferry_writev(loop, &p.op, near, m.send, PIECES, FERRY_CURRENT, 0, probe_done);
    } else {
        ferry_sendv(loop, &p.op, near, m.send, PIECES, 0, probe_done);
    }
    for (size_t at = 0, step = 1; at < m.len; step = step * 5 % 10007 + 1) {
        size_t n = step < m.len - at ? step : m.len - at;
        far_expect(loop, far, m.in + at, n);
        at += n;
        if (at < m.len / 2) assert_int_equal(p.calls, 0);
    }
    expect_all(loop, &p, (int64_t)m.len, m.len, 0);
    many_check(&m);
    many_free(&m);
}

static void trouble_vectors_partial_progress(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    set_buffers(fds[0], 4096);
    progress_on(loop, fds[0], fds[1], 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);

    assert_int_equal(ferry_pipe(loop, fds), 0);
    progress_on(loop, fds[1], fds[0], 1);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* And receiving: the far side sends odd pieces. */
static void trouble_vectors_partial_receive(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct many m;
    ferry_fd fds[2];
    struct probe p = {.calls = 0};
    many_make(&m, 200 * KIB);
    tcp_pair(loop, fds);
    ferry_recvv(loop, &p.op, fds[0], m.recv, PIECES - 500, FERRY_ALL, probe_done);
    for (size_t at = 0, step = 1; at < m.len; step = step * 5 % 10007 + 1) {
        size_t n = step < m.len - at ? step : m.len - at;
        assert_int_equal(p.calls, 0);
        far_send(loop, fds[1], m.out + at, n);
        at += n;
    }
    expect_all(loop, &p, (int64_t)m.len, m.len, 0);
    many_check(&m);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    many_free(&m);
    finish(loop);
}

/* More than a result can tell. */
static void trouble_vectors_total_out_of_range(void **state) {
    (void)state;
    differs_on_windows("lengths of vectors have 32 bits");
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], file = make_file(temp_path("file"), "data", 4);
    char buf[8] = "";
    const ferry_vec vecs[3] = {VEC(buf, SIZE_MAX / 2), VEC(buf, SIZE_MAX / 2), VEC(buf, 8)};
    struct probe p[4];
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    ferry_sendv(loop, &p[0].op, fds[0], vecs, 3, 0, probe_done);
    ferry_recvv(loop, &p[1].op, fds[0], vecs, 3, 0, probe_done);
    ferry_readv(loop, &p[2].op, file, vecs, 3, 0, 0, probe_done);
    ferry_writev(loop, &p[3].op, file, vecs, 3, 0, 0, probe_done);
    for (int i = 0; i < 4; i++) expect_all(loop, &p[i], FERRY_EINVAL, 0, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    close_near(loop, file);
    finish(loop);
}

const struct contract_test trouble_vectors_tests[] = {
    {"trouble_vectors_with_empty_pieces", trouble_vectors_with_empty_pieces, 0},
    {"trouble_vectors_of_one", trouble_vectors_of_one, 0},
    {"trouble_vectors_beyond_the_systems_count", trouble_vectors_beyond_the_systems_count, 0},
    {"trouble_vectors_beyond_the_count_short", trouble_vectors_beyond_the_count_short, 0},
    {"trouble_vectors_beyond_the_count_datagram", trouble_vectors_beyond_the_count_datagram, 0},
    {"contract_08_vectors_partial_progress", trouble_vectors_partial_progress, 0},
    {"contract_08_vectors_partial_receive", trouble_vectors_partial_receive, 0},
    {"trouble_vectors_total_out_of_range", trouble_vectors_total_out_of_range, 0},
    {NULL, NULL, 0},
};
