/* ops_zerocopy.c - sends from the program's own memory (FERRY_ZEROCOPY)
 *
 * The system keeps what it has not brought to the peer yet. A peer that does not read thus holds
 * such a send up for as long as a test wants. Where it cannot be done the same sends are ordinary
 * ones, with the same results; those ends do not wait for the peer then, which is all that differs.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEN (32 * KIB)
#define BEGIN 500000

static char *filled(size_t len, uint64_t seed) {
    char *buf = malloc(len);
    assert_non_null(buf);
    fill(buf, len, seed);
    return buf;
}

/* Runs the loop until all of them have ended, while taking what comes at fd, at least len bytes, as
 * fill() made them. */
static void take_until_ended(ferry_loop *loop, struct probe *p, size_t count, ferry_fd fd,
                             size_t len, uint64_t seed) {
    static char buf[50000];
    uint64_t start_ns = clock_ns();
    size_t got = 0, ended = 0;
    while (got < len || ended < count) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fd, buf, sizeof buf);
        assert_int_not_equal(n, -2);
        if (n > 0) assert_true(is_filled(buf, (size_t)n, seed + got));
        if (n > 0) got += (size_t)n;
        ended = 0;
        for (size_t i = 0; i < count; i++) ended += p[i].finals > 0;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    assert_int_equal(got, len);
}

/* ---- A connection whose peer does not read --------------------------------------------- */

struct full {
    ferry_loop *loop;
    ferry_fd near, far;
    size_t lies; /* bytes on their way when the test begins, filled from seed 0 */
    bool holds;  /* the loop sends without copying */
};

/* The window is closed, and the near side has room for a while yet. */
static void full_open(struct full *f) {
    ferry_fd fds[2];
    memset(f, 0, sizeof *f);
    f->loop = test_loop();
    assert_true(ferry_run(f->loop, FERRY_RUN_NOWAIT) >= 0);
    tcp_pair(f->loop, fds);
    f->near = fds[0];
    f->far = fds[1];
    char *begin = filled(BEGIN, 0); /* more than the far side takes unread */
    plain_send(f->near, begin, BEGIN);
    f->lies = BEGIN;
    free(begin);
    for (int i = 0; i < 4; i++) { /* until what can go has gone */
        sleep_ns(5 * MS);
        assert_true(unsent_bytes(f->near) > 0);
    }
}

static void full_send(struct full *f, struct probe *p, const char *buf, size_t len) {
    uint64_t before = feature_uses(f->loop, "send_zc");
    ferry_send(f->loop, &p->op, f->near, buf, len, FERRY_ZEROCOPY, probe_done);
    run_for(f->loop, 5 * MS);
    f->holds = feature_uses(f->loop, "send_zc") > before;
    assert_int_equal(p->calls, !f->holds);
}

static void full_close(struct full *f) {
    if (f->near != FERRY_FD_NONE) close_near(f->loop, f->near);
    if (f->far != FERRY_FD_NONE) close_far(f->far);
    finish(f->loop);
}

/* ---- What comes of them ---------------------------------------------------------------- */

static void ops_zerocopy_over_loopback_is_copied(void **state) {
    (void)state;
    enum { COUNT = 20 };
    struct probe p[COUNT] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    char *out = filled(COUNT * LEN, 3);
    tcp_pair(loop, fds);
    for (size_t i = 0; i < COUNT; i++) {
        ferry_vec vecs[2] = {VEC(out + i * LEN, 1000), VEC(out + i * LEN + 1000, LEN - 1000)};
        if (i % 2) {
            ferry_send(loop, &p[i].op, fds[0], out + i * LEN, LEN, FERRY_ZEROCOPY, probe_done);
        } else {
            ferry_sendv(loop, &p[i].op, fds[0], vecs, 2, FERRY_ZEROCOPY, probe_done);
        }
        take_until_ended(loop, &p[i], 1, fds[1], LEN, 3 + i * LEN);
    }
    for (size_t i = 0; i < COUNT; i++) {
        probe_check(&p[i], LEN);
        assert_int_equal(p[i].transferred, LEN);
        assert_int_equal(p[i].flags, 0);
    }
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    finish(loop);
}

static void ops_zerocopy_of_little_is_an_ordinary_send(void **state) {
    (void)state;
    struct probe p[3] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    char *out = filled(LEN, 4);
    ferry_vec vecs[2] = {VEC(out, 10), VEC(out + 10, FERRY_ZEROCOPY_MIN - 11)};
    tcp_pair(loop, fds);
    ferry_send(loop, &p[0].op, fds[0], out, FERRY_ZEROCOPY_MIN - 1, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[0], FERRY_ZEROCOPY_MIN - 1, FERRY_ZEROCOPY_MIN - 1, 0);
    ferry_sendv(loop, &p[1].op, fds[0], vecs, 2, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[1], FERRY_ZEROCOPY_MIN - 1, FERRY_ZEROCOPY_MIN - 1, 0);
    ferry_send(loop, &p[2].op, fds[0], NULL, 0, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[2], 0, 0, 0);
    assert_int_equal(feature_uses(loop, "send_zc"), 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    finish(loop);
}

/* Unix sockets cannot do it: that is found out once for each of them. */
static void ops_zerocopy_where_the_socket_cannot(void **state) {
    (void)state;
    struct probe p[3] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    char *out = filled(LEN, 5), *in = malloc(LEN);
    assert_non_null(in);
    unix_pair(fds, SOCK_STREAM);
    for (size_t i = 0; i < 3; i++) {
        ferry_send(loop, &p[i].op, fds[0], out, LEN, FERRY_ZEROCOPY, probe_done);
        expect_all(loop, &p[i], LEN, LEN, 0);
        plain_recv(fds[1], in, LEN);
        assert_true(is_filled(in, LEN, 5));
    }
    assert_true(feature_uses(loop, "send_zc") <= 1);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    free(in);
    finish(loop);
}

static void ops_zerocopy_of_a_datagram(void **state) {
    (void)state;
    struct probe p[3] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_addr addr;
    ferry_loop *loop = test_loop();
    char *out = filled(LEN, 6), *in = malloc(2 * LEN);
    ferry_vec vecs[3] = {VEC(out, 1), VEC(NULL, 0), VEC(out + 1, LEN - 1)};
    assert_non_null(in);
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ferry_socket(loop, &fds[i], FERRY_INET, FERRY_DATAGRAM), 0);
    }
    assert_int_equal(ferry_bind(loop, fds[1], &addr), 0);
    assert_int_equal(ferry_local_addr(loop, fds[1], &addr), 0);
    plain_connect(fds[0], &addr);
    ferry_send(loop, &p[0].op, fds[0], out, LEN, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[0], LEN, LEN, 0);
    ferry_sendv(loop, &p[1].op, fds[0], vecs, 3, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[1], LEN, LEN, 0);
    ferry_fd loose;
    ferry_msg msg = {.vecs = vecs, .count = 3, .addr = &addr};
    assert_int_equal(ferry_socket(loop, &loose, FERRY_INET, FERRY_DATAGRAM), 0);
    ferry_sendmsg(loop, &p[2].op, loose, &msg, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[2], LEN, LEN, 0);
    close_near(loop, loose);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(recv(fds[1], in, 2 * LEN, 0), LEN);
        assert_true(is_filled(in, LEN, 6));
    }
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    free(out);
    free(in);
    finish(loop);
}

static void contract_08_zero_copy_sends_are_whole(void **state) {
    (void)state;
    enum { BIG = 6 << 20, PIECES = 1500 };
    struct probe p[3] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    char *out = filled(3 * (size_t)BIG, 7);
    ferry_vec *vecs = calloc(PIECES, sizeof *vecs);
    assert_non_null(vecs);
    size_t at = BIG;
    for (size_t i = 0; i < PIECES; i++) {
        size_t len = i == PIECES - 1 ? 2 * (size_t)BIG - at : i % 7 * 700;
        vecs[i] = (ferry_vec)VEC(out + at, len);
        at += len;
    }
    tcp_pair(loop, fds);
    ferry_send(loop, &p[0].op, fds[0], out, BIG, FERRY_ZEROCOPY, probe_done);
    ferry_sendv(loop, &p[1].op, fds[0], vecs, PIECES, FERRY_ZEROCOPY, probe_done);
    ferry_vec halves[2] = {VEC(out + 2 * (size_t)BIG, 1), VEC(out + 2 * (size_t)BIG + 1, BIG - 1)};
    ferry_msg msg = {.vecs = halves, .count = 2};
    ferry_sendmsg(loop, &p[2].op, fds[0], &msg, FERRY_ZEROCOPY, probe_done);
    take_until_ended(loop, p, 3, fds[1], 3 * (size_t)BIG, 7);
    for (int i = 0; i < 3; i++) {
        probe_check(&p[i], BIG);
        assert_int_equal(p[i].transferred, BIG);
        assert_int_equal(p[i].order, i + 1);
    }
    /* And with FERRY_SOME it may be short. */
    struct probe some = {.calls = 0};
    ferry_send(loop, &some.op, fds[0], out, 3 * (size_t)BIG, FERRY_ZEROCOPY | FERRY_SOME,
               probe_done);
    uint64_t start_ns = clock_ns();
    static char in[50000];
    for (size_t got = 0; some.finals == 0 || got < some.transferred;) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fds[1], in, sizeof in);
        assert_true(n >= 0);
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    assert_true(some.result > 0 && some.result < 3 * (int64_t)BIG);
    assert_int_equal(some.result, some.transferred);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(vecs);
    free(out);
    finish(loop);
}

/* ---- The memory is the system's until the end
 * ----------------------------------------------------
 */

static void contract_04_zero_copy_memory_is_kept_until_the_peer_has_it(void **state) {
    (void)state;
    struct full f;
    struct probe p = {.calls = 0};
    char *out = filled(LEN, BEGIN);
    full_open(&f);
    p.op.deadline_ns = 20 * MS;
    full_send(&f, &p, out, LEN);
    ferry_cancel(f.loop, &p.op);
    ferry_cancel_fd(f.loop, f.near);
    run_for(f.loop, 40 * MS);
    assert_int_equal(p.calls, !f.holds); /* neither a cancel nor a deadline can give it back */
    take_until_ended(f.loop, &p, 1, f.far, f.lies + LEN, 0);
    probe_check(&p, LEN);
    assert_int_equal(p.transferred, LEN);
    memset(out, 0, LEN);
    free(out);
    full_close(&f);
}

static void contract_09_order_with_zero_copy(void **state) {
    (void)state;
    enum { ZERO, PLAIN, SECOND_ZERO, VECTORS, SHUTDOWN, LATE, COUNT };
    struct full f;
    struct probe p[COUNT] = {{.calls = 0}};
    char *out = filled(3 * LEN, BEGIN);
    ferry_vec vecs[2] = {VEC(out + 2 * LEN + 100, 100), VEC(out + 2 * LEN + 200, 200)};
    full_open(&f);
    full_send(&f, &p[ZERO], out, LEN);
    ferry_send(f.loop, &p[PLAIN].op, f.near, out + LEN, 100, 0, probe_done);
    ferry_send(f.loop, &p[SECOND_ZERO].op, f.near, out + LEN + 100, LEN, FERRY_ZEROCOPY,
               probe_done);
    ferry_sendv(f.loop, &p[VECTORS].op, f.near, vecs, 2, 0, probe_done);
    ferry_shutdown(f.loop, &p[SHUTDOWN].op, f.near, FERRY_SHUT_WRITE, 0, probe_done);
    ferry_send(f.loop, &p[LATE].op, f.near, out, 1, 0, probe_done);
    run_for(f.loop, 10 * MS);
    /* Those behind have started: the last is refused, since the stream was ended before it. */
    for (int i = 0; i < COUNT; i++) assert_true(!f.holds || p[i].calls == 0);
    assert_true(f.holds || p[PLAIN].calls == 1);
    take_until_ended(f.loop, p, COUNT, f.far, f.lies + 2 * LEN + 400, 0);
    probe_check(&p[ZERO], LEN);
    probe_check(&p[PLAIN], 100);
    probe_check(&p[SECOND_ZERO], LEN);
    probe_check(&p[VECTORS], 300);
    probe_check(&p[SHUTDOWN], 0);
    probe_check(&p[LATE], FERRY_EPIPE);
    for (int i = 1; i < COUNT; i++) assert_true(p[i].order > p[i - 1].order);
    free(out);
    full_close(&f);
}

/* One that has not begun is nobody's, so that a cancel ends it at once. */
static void contract_09_unbegun_sends_do_not_wait_for_zero_copy(void **state) {
    (void)state;
    struct full f;
    struct probe p[4] = {{.calls = 0}};
    size_t lots = 16 * MIB;
    char *out = filled(LEN + lots, BEGIN);
    full_open(&f);
    full_send(&f, &p[0], out, LEN);
    ferry_send(f.loop, &p[1].op, f.near, out + LEN, lots, 0, probe_done);
    ferry_send(f.loop, &p[2].op, f.near, out, LEN, FERRY_ZEROCOPY, probe_done);
    p[3].op.deadline_ns = 5 * MS;
    ferry_send(f.loop, &p[3].op, f.near, out, 10, 0, probe_done);
    run_for(f.loop, 20 * MS);
    assert_int_equal(p[1].calls, 0);
    ferry_cancel(f.loop, &p[2].op);
    expect(f.loop, &p[3], FERRY_ETIMEDOUT);
    expect(f.loop, &p[2], FERRY_ECANCELED);
    assert_int_equal(p[0].calls, !f.holds);
    take_until_ended(f.loop, p, 2, f.far, f.lies + LEN + lots, 0);
    probe_check(&p[0], LEN);
    probe_check(&p[1], (int64_t)lots);
    assert_true(p[0].order < p[1].order);
    free(out);
    full_close(&f);
}

/* A whole send that is cut: those behind it end with it, and after it. */
static void contract_09_zero_copy_that_is_cut_breaks_the_stream(void **state) {
    (void)state;
    struct full f;
    struct probe p[3] = {{.calls = 0}};
    size_t lots = 16 * MIB;
    char *out = filled(lots, BEGIN);
    full_open(&f);
    ferry_send(f.loop, &p[0].op, f.near, out, lots, FERRY_ZEROCOPY, probe_done);
    ferry_send(f.loop, &p[1].op, f.near, out, 10, 0, probe_done);
    run_for(f.loop, 10 * MS);
    ferry_cancel(f.loop, &p[0].op);
    ferry_send(f.loop, &p[2].op, f.near, out, 10, 0, probe_done);
    run_for(f.loop, 10 * MS);
    uint64_t start_ns = clock_ns();
    static char in[50000];
    for (size_t got = 0; p[2].finals == 0 || got < f.lies + p[0].transferred;) {
        assert_true(ferry_run(f.loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(f.far, in, sizeof in);
        assert_true(n >= 0 && is_filled(in, (size_t)n, got));
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    probe_check(&p[0], FERRY_ECANCELED);
    assert_true(p[0].transferred > 0 && p[0].transferred < lots);
    probe_check(&p[1], FERRY_ECANCELED);
    assert_true(p[2].result == FERRY_ECANCELED || p[2].result == FERRY_EPIPE);
    for (int i = 1; i < 3; i++) assert_true(p[i].order > p[i - 1].order);
    free(out);
    full_close(&f);
}

/* ---- Closing meanwhile ----------------------------------------------------------------- */

static void contract_07_close_waits_for_zero_copy_memory(void **state) {
    (void)state;
    struct full f;
    struct probe p[2] = {{.calls = 0}};
    char *out = filled(LEN, BEGIN);
    full_open(&f);
    full_send(&f, &p[0], out, LEN);
    ferry_close(f.loop, &p[1].op, f.near, 0, probe_done);
    run_for(f.loop, 20 * MS);
    assert_int_equal(p[1].calls, !f.holds);
    take_until_ended(f.loop, p, 2, f.far, f.lies + LEN, 0);
    probe_check(&p[0], LEN);
    probe_check(&p[1], 0);
    assert_true(p[0].order < p[1].order);
    assert_false(is_open(f.near));
    f.near = FERRY_FD_NONE;
    free(out);
    full_close(&f);
}

/* A peer that never reads cannot hold up a close for good. */
static void close_gives_up(uint64_t deadline_ns, uint64_t least_ns) {
    struct full f;
    struct probe p[3] = {{.calls = 0}};
    char *out = filled(LEN, BEGIN);
    full_open(&f);
    full_send(&f, &p[0], out, LEN);
    ferry_send(f.loop, &p[1].op, f.near, out, 10, 0, probe_done);
    run_for(f.loop, 5 * MS);
    p[2].op.deadline_ns = deadline_ns;
    uint64_t start_ns = clock_ns();
    ferry_close(f.loop, &p[2].op, f.near, 0, probe_done);
    probe_wait(f.loop, &p[2]);
    probe_check(&p[0], f.holds ? FERRY_ECANCELED : (int64_t)LEN);
    probe_check(&p[1], f.holds ? FERRY_ECANCELED : 10);
    probe_check(&p[2], f.holds ? FERRY_ETIMEDOUT : 0);
    if (f.holds) assert_true(p[2].called_ns - start_ns >= least_ns);
    assert_false(is_open(f.near));
    f.near = FERRY_FD_NONE;
    free(out);
    full_close(&f);
}

static void contract_07_close_gives_up_on_zero_copy_memory(void **state) {
    (void)state;
    close_gives_up(50 * MS, 50 * MS);
    close_gives_up(0, SECOND);
}

/* A loop that drains does not take the memory away, either; closing the descriptor does. */
static void contract_11_drain_with_zero_copy_memory(void **state) {
    (void)state;
    struct full f;
    struct probe p[2] = {{.calls = 0}};
    char *out = filled(LEN, BEGIN);
    full_open(&f);
    full_send(&f, &p[0], out, LEN);
    assert_int_equal(ferry_loop_drain(f.loop, 20 * MS), f.holds ? FERRY_EBUSY : 0);
    p[1].op.deadline_ns = MS;
    ferry_close(f.loop, &p[1].op, f.near, 0, probe_done);
    assert_int_equal(ferry_loop_drain(f.loop, 10 * SECOND), 0);
    assert_int_equal(p[0].calls, 1);
    assert_int_equal(p[1].calls, 1);
    test_close(f.loop);
    close_far(f.far);
    free(out);
}

/* ---- Trouble
 * -------------------------------------------------------------------------------------
 */

static void ops_zerocopy_errors(void **state) {
    (void)state;
    struct probe p[6] = {{.calls = 0}};
    ferry_fd fds[2], lone, file = temp_file("file", 10, 1);
    ferry_loop *loop = test_loop();
    char *out = filled(LEN, 5);
    char *gone = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ferry_vec bad[2] = {VEC(out, LEN), VEC(gone, LEN)};
    assert_true(gone != MAP_FAILED);
    tcp_pair(loop, fds);
    assert_int_equal(ferry_socket(loop, &lone, FERRY_INET, FERRY_STREAM), 0);
    ferry_send(loop, &p[0].op, lone, out, LEN, FERRY_ZEROCOPY, probe_done);
    probe_wait(loop, &p[0]);
    if (omits_on_wine("Wine tells of a socket that was never connected as of a reset"))
        assert_int_equal(p[0].result, FERRY_ECONNRESET);
    else assert_true(p[0].result == FERRY_ENOTCONN || p[0].result == FERRY_EPIPE);
    ferry_send(loop, &p[1].op, file, out, LEN, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[1], FERRY_ENOTSOCK, 0, 0);
    ferry_send(loop, &p[2].op, fds[0], gone, LEN, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[2], FERRY_EFAULT, 0, 0);
    ferry_send(loop, &p[3].op, fds[0], NULL, LEN, FERRY_ZEROCOPY, probe_done);
    expect_all(loop, &p[3], FERRY_EFAULT, 0, 0);
    reset_far(fds[1]);
    ferry_send(loop, &p[4].op, fds[0], out, LEN, FERRY_ZEROCOPY, probe_done);
    probe_wait(loop, &p[4]);
    assert_true(p[4].result == FERRY_ECONNRESET || p[4].result == FERRY_EPIPE);
    ferry_sendv(loop, &p[5].op, fds[0], bad, 2, FERRY_ZEROCOPY, probe_done);
    probe_wait(loop, &p[5]);
    assert_true(p[5].result < 0);
    close_near(loop, fds[0]);
    close_near(loop, lone);
    close_near(loop, file);
    assert_int_equal(munmap(gone, LEN), 0);
    free(out);
    finish(loop);
}

/* The peer goes away while the system has the memory. */
static void ops_zerocopy_reset_by_the_peer(void **state) {
    (void)state;
    struct full f;
    struct probe p[2] = {{.calls = 0}};
    char *out = filled(LEN, BEGIN);
    full_open(&f);
    full_send(&f, &p[0], out, LEN);
    reset_far(f.far);
    f.far = FERRY_FD_NONE;
    probe_wait(f.loop, &p[0]);
    probe_check(&p[0], LEN); /* it had been handed over, as with any send */
    ferry_send(f.loop, &p[1].op, f.near, out, LEN, FERRY_ZEROCOPY, probe_done);
    probe_wait(f.loop, &p[1]);
    assert_true(p[1].result == FERRY_ECONNRESET || p[1].result == FERRY_EPIPE);
    free(out);
    full_close(&f);
}

/* Who may lock little memory sends by copying. */
static void ops_zerocopy_beyond_the_memory_that_may_be_locked(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    size_t len = 2 * MIB;
    char *out = filled(len, 9);
    limit_memlock();
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_send(loop, &p.op, fds[0], out, len, FERRY_ZEROCOPY, probe_done);
    take_until_ended(loop, &p, 1, fds[1], len, 9);
    probe_check(&p, (int64_t)len);
    assert_int_equal(p.flags, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    finish(loop);
    unlimit_memlock();
}

/* ---- Its callback
 * ---------------------------------------------------------------------------------
 */

struct repeated {
    struct probe probe;
    ferry_loop *loop;
    int left;
};

static void on_sent(ferry_op *op) {
    struct repeated *r = ferry_container(op, struct repeated, probe.op);
    assert_int_equal(op->result, LEN);
    if (--r->left > 0) {
        ferry_again(r->loop, op);
    } else {
        free(r);
    }
}

static void ops_zerocopy_again_and_freed_in_its_callback(void **state) {
    (void)state;
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    struct repeated *r = calloc(1, sizeof *r);
    char *out = filled(LEN, 0), *in = malloc(10 * LEN);
    assert_true(r != NULL && in != NULL);
    r->loop = loop;
    r->left = 10;
    tcp_pair(loop, fds);
    ferry_send(loop, &r->probe.op, fds[0], out, LEN, FERRY_ZEROCOPY, on_sent);
    far_expect(loop, fds[1], in, 10 * LEN);
    run_done(loop);
    for (size_t i = 0; i < 10; i++) assert_true(is_filled(in + i * LEN, LEN, 0));
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(out);
    free(in);
    finish(loop);
}

const struct contract_test ops_zerocopy_tests[] = {
    {"ops_zerocopy_over_loopback_is_copied", ops_zerocopy_over_loopback_is_copied, 0},
    {"ops_zerocopy_of_little_is_an_ordinary_send", ops_zerocopy_of_little_is_an_ordinary_send, 0},
    {"ops_zerocopy_where_the_socket_cannot", ops_zerocopy_where_the_socket_cannot, 0},
    {"ops_zerocopy_of_a_datagram", ops_zerocopy_of_a_datagram, 0},
    {"contract_08_zero_copy_sends_are_whole", contract_08_zero_copy_sends_are_whole, 60},
    {"contract_04_zero_copy_memory_is_kept_until_the_peer_has_it",
     contract_04_zero_copy_memory_is_kept_until_the_peer_has_it, 0},
    {"contract_09_order_with_zero_copy", contract_09_order_with_zero_copy, 0},
    {"contract_09_unbegun_sends_do_not_wait_for_zero_copy",
     contract_09_unbegun_sends_do_not_wait_for_zero_copy, 0},
    {"contract_09_zero_copy_that_is_cut_breaks_the_stream",
     contract_09_zero_copy_that_is_cut_breaks_the_stream, 0},
    {"contract_07_close_waits_for_zero_copy_memory", contract_07_close_waits_for_zero_copy_memory,
     0},
    {"contract_07_close_gives_up_on_zero_copy_memory",
     contract_07_close_gives_up_on_zero_copy_memory, 0},
    {"contract_11_drain_with_zero_copy_memory", contract_11_drain_with_zero_copy_memory, 0},
    {"ops_zerocopy_errors", ops_zerocopy_errors, 0},
    {"ops_zerocopy_reset_by_the_peer", ops_zerocopy_reset_by_the_peer, 0},
    {"ops_zerocopy_beyond_the_memory_that_may_be_locked",
     ops_zerocopy_beyond_the_memory_that_may_be_locked, 0},
    {"ops_zerocopy_again_and_freed_in_its_callback", ops_zerocopy_again_and_freed_in_its_callback,
     0},
    {NULL, NULL, 0}};
