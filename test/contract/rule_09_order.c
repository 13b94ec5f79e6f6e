/* Rule 9: operations on one direction of one stream take effect and complete in the order of their
 * submission. The others wait in their lane.
 *
 * Except one that ends before it started: that one completes at once, and the rest keep their
 * order.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void in_order(const struct probe *p, int count) {
    for (int i = 1; i < count; i++) {
        if (p[i].order <= p[i - 1].order) fail_msg("operation %d completed before %d", i, i - 1);
    }
}

static void contract_09_receives_in_order(void **state) {
    (void)state;
    enum { COUNT = 300 };
    static struct probe p[COUNT];
    static char bufs[COUNT][60];
    static ferry_vec vecs[COUNT][2];
    char *out = malloc(COUNT * 60);
    ferry_fd fds[2];
    size_t at = 0;
    assert_non_null(out);
    fill(out, COUNT * 60, 1);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        size_t len = (size_t)(i % 50) + 1;
        vecs[i][0].data = bufs[i];
        vecs[i][0].len = (unsigned long)len / 2;
        vecs[i][1].data = bufs[i] + len / 2;
        vecs[i][1].len = (unsigned long)(len - len / 2);
        if (i % 2) ferry_recv(loop, &p[i].op, fds[0], bufs[i], len, FERRY_ALL, probe_done);
        else ferry_recvv(loop, &p[i].op, fds[0], vecs[i], 2, FERRY_ALL, probe_done);
        if (i == COUNT / 3) {
            plain_send(fds[1], out, 500);
            assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        }
    }
    plain_send(fds[1], out + 500, COUNT * 60 - 500);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        size_t len = (size_t)(i % 50) + 1;
        probe_check(&p[i], (int64_t)len);
        assert_true(is_filled(bufs[i], len, 1 + at));
        at += len;
    }
    in_order(p, COUNT);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
}

/* Runs the loop and takes what arrives, until len bytes have come, all as fill() made them. */
static void reader(ferry_loop *loop, ferry_fd fd, uint64_t seed, size_t len) {
    static char buf[50000];
    uint64_t start_ns = clock_ns();
    for (size_t got = 0; got < len;) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fd, buf, sizeof buf);
        assert_true(n >= 0);
        assert_true(is_filled(buf, (size_t)n, seed + got));
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
}

/* Plain and vectored, one byte to 70,000, all queued at once, some more while it goes on. */
static void sends_in_order(ferry_loop *loop, ferry_fd fds[2]) {
    enum { COUNT = 200, MAX = 70000 };
    static struct probe p[COUNT];
    static ferry_vec vecs[COUNT][3];
    size_t lens[COUNT], all = 0, at = 0;
    memset(p, 0, sizeof p);
    srand(5);
    for (int i = 0; i < COUNT; i++) {
        lens[i] = i % 5 ? (size_t)rand() % 300 + 1 : (size_t)rand() % MAX + 1;
        all += lens[i];
    }
    char *out = malloc(all);
    assert_non_null(out);
    fill(out, all, 77);
    for (int i = 0; i < COUNT; i++) {
        size_t len = lens[i];
        vecs[i][0].data = out + at;
        vecs[i][0].len = (unsigned long)len / 3;
        vecs[i][1].data = out + at;
        vecs[i][1].len = 0;
        vecs[i][2].data = out + at + len / 3;
        vecs[i][2].len = (unsigned long)(len - len / 3);
        if (i % 3) ferry_send(loop, &p[i].op, fds[0], out + at, len, 0, probe_done);
        else ferry_sendv(loop, &p[i].op, fds[0], vecs[i], 3, 0, probe_done);
        at += len;
        if (i % 70 == 69) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
    reader(loop, fds[1], 77, all);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], (int64_t)lens[i]);
    in_order(p, COUNT);
    free(out);
}

static void contract_09_sends_in_order(void **state) {
    (void)state;
    ferry_fd fds[2], local[2];
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    unix_pair(local, SOCK_STREAM);
    sends_in_order(loop, fds);
    sends_in_order(loop, local);
    test_close(loop);
    ferry_fd mine[] = {fds[0], fds[1], local[0], local[1]};
    for (size_t i = 0; i < 4; i++) close(mine[i]);
}

static void contract_09_datagrams_in_order(void **state) {
    (void)state;
    enum { COUNT = 200 };
    static struct probe in[COUNT], out[COUNT];
    int numbers[COUNT], got[COUNT];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_DGRAM);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        numbers[i] = i;
        ferry_recv(loop, &in[i].op, fds[1], &got[i], sizeof got[i], 0, probe_done);
    }
    for (int i = 0; i < COUNT; i++) {
        ferry_send(loop, &out[i].op, fds[0], &numbers[i], sizeof numbers[i], 0, probe_done);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&in[i], sizeof got[i]);
        probe_check(&out[i], sizeof got[i]);
        assert_int_equal(got[i], i);
    }
    in_order(in, COUNT);
    in_order(out, COUNT);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* Pipes, and files at their current position, have lanes as streams have. */
static void contract_09_current_position_in_order(void **state) {
    (void)state;
    enum { COUNT = 100, PIECE = 137 };
    static struct probe out[COUNT], in[COUNT];
    static char data[COUNT * PIECE], back[COUNT * PIECE], file_bytes[COUNT * PIECE];
    ferry_fd pipe_fds[2];
    fill(data, sizeof data, 21);
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("data", 0, 0);
    assert_int_equal(ferry_pipe(loop, pipe_fds), 0);
    ferry_fd mine[] = {pipe_fds[0], pipe_fds[1], file, FERRY_FD_NONE};
    for (int on_file = 0; on_file < 2; on_file++) {
        ferry_fd from = on_file ? file : pipe_fds[0], to = on_file ? file : pipe_fds[1];
        memset(out, 0, sizeof out);
        memset(in, 0, sizeof in);
        memset(back, 0, sizeof back);
        for (int i = 0; i < COUNT; i++) {
            ferry_write(loop, &out[i].op, to, data + (ptrdiff_t)i * PIECE, PIECE, FERRY_CURRENT, 0,
                        probe_done);
        }
        if (on_file) {
            run_done(loop);
            position_check(loop, file, COUNT * PIECE);
            from = rewound(file, temp_path("data"));
        }
        for (int i = 0; i < COUNT; i++) {
            ferry_read(loop, &in[i].op, from, back + (ptrdiff_t)i * PIECE, PIECE, FERRY_CURRENT,
                       FERRY_ALL, probe_done);
        }
        run_done(loop);
        for (int i = 0; i < COUNT; i++) {
            probe_check(&out[i], PIECE);
            probe_check(&in[i], PIECE);
        }
        in_order(out, COUNT);
        in_order(in, COUNT);
        assert_memory_equal(back, data, sizeof data);
        if (on_file && from != file) mine[3] = from;
    }
    assert_int_equal(pread(file, file_bytes, sizeof file_bytes, 0), COUNT * PIECE);
    assert_memory_equal(file_bytes, data, sizeof data);
    test_close(loop);
    for (int i = 0; i < 4 && mine[i] != FERRY_FD_NONE; i++) close(mine[i]);
}

/* What the library can end without the system keeps its place among what the system does. */
static void contract_09_empty_transfers_keep_their_place(void **state) {
    (void)state;
    enum { COUNT = 40 };
    static struct probe in[COUNT], out[COUNT];
    static char bufs[COUNT], byte = 'z';
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    for (int round = 0; round < 2; round++) {
        memset(in, 0, sizeof in);
        memset(out, 0, sizeof out);
        unix_pair(fds, SOCK_STREAM);
        if (round) plain_send(fds[1], "0123456789", 10);
        for (int i = 0; i < COUNT; i++) {
            size_t len = i % 3 == 0 ? 0 : 1;
            ferry_recv(loop, &in[i].op, fds[0], &bufs[i], len, 0, probe_done);
            ferry_send(loop, &out[i].op, fds[1], &byte, i % 4 == 0 ? 0 : 1, 0, probe_done);
        }
        run_done(loop);
        for (int i = 0; i < COUNT; i++) {
            probe_check(&in[i], i % 3 == 0 ? 0 : 1);
            probe_check(&out[i], i % 4 == 0 ? 0 : 1);
            assert_int_equal(in[i].flags, 0);
        }
        in_order(in, COUNT);
        in_order(out, COUNT);
        ferry_close(loop, NULL, fds[0], 0, NULL);
        ferry_close(loop, NULL, fds[1], 0, NULL);
        run_done(loop);
    }
    test_close(loop);
}

/* ---- What ends before it started ------------------------------------------------------- */

static void contract_09_bad_arguments_do_not_wait(void **state) {
    (void)state;
    struct probe first = {.calls = 0}, bad = {.calls = 0}, last = {.calls = 0};
    char a[2], b[2];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &first.op, fds[0], a, 2, FERRY_ALL, probe_done);
    ferry_recv(loop, &bad.op, fds[0], NULL, 2, 0, probe_done);
    ferry_recv(loop, &last.op, fds[0], b, 2, FERRY_ALL, probe_done);
    probe_wait(loop, &bad);
    probe_check(&bad, FERRY_EFAULT);
    assert_int_equal(first.calls + last.calls, 0);
    plain_send(fds[1], "abcd", 4);
    run_done(loop);
    probe_check(&first, 2);
    probe_check(&last, 2);
    assert_memory_equal(a, "ab", 2);
    assert_memory_equal(b, "cd", 2);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* Cancelled sends that had not begun leave no gap and no trace: the rest arrives in order. */
static void contract_09_sends_cancelled_while_waiting(void **state) {
    (void)state;
    enum { COUNT = 60, LEN = 30000 };
    static struct probe p[COUNT];
    static char out[COUNT][LEN], in[LEN];
    ferry_fd fds[2];
    int left = 0;
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        fill(out[i], LEN, (uint64_t)i * 1000003);
        ferry_send(loop, &p[i].op, fds[0], out[i], LEN, 0, probe_done);
    }
    run_for(loop, 5 * MS);
    while (p[left].finals > 0) left++;
    /* left is the one that is with the system, the next may share a call with it; those far behind
     * have not begun. */
    assert_true(left + 20 < COUNT);
    for (int i = COUNT - 1; i >= COUNT / 2; i -= 2) ferry_cancel(loop, &p[i].op);
    for (int i = COUNT - 1; i >= COUNT / 2; i -= 2) probe_wait(loop, &p[i]);
    uint64_t start_ns = clock_ns();
    for (int i = 0; i < COUNT; i++) {
        if (p[i].finals > 0 && p[i].result == FERRY_ECANCELED) {
            assert_int_equal(p[i].transferred, 0);
            continue;
        }
        for (size_t got = 0; got < LEN;) {
            assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
            long n = plain_take(fds[1], in + got, LEN - got);
            assert_true(n >= 0);
            got += (size_t)n;
            assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
        }
        assert_true(is_filled(in, LEN, (uint64_t)i * 1000003));
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        int cancelled = i >= COUNT / 2 && i % 2;
        probe_check(&p[i], cancelled ? FERRY_ECANCELED : LEN);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Lanes are of one direction
 * ------------------------------------------------------------------ */

static void contract_09_directions_are_independent(void **state) {
    (void)state;
    static char big[4 << 20];
    struct probe blocked = {.calls = 0}, reader_probe = {.calls = 0}, other = {.calls = 0};
    char buf[4];
    ferry_fd fds[2], others[2];
    unix_pair(fds, SOCK_STREAM);
    unix_pair(others, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_send(loop, &blocked.op, fds[0], big, sizeof big, 0, probe_done);
    ferry_recv(loop, &reader_probe.op, fds[0], buf, 4, FERRY_ALL, probe_done);
    ferry_send(loop, &other.op, others[0], big, 100, 0, probe_done);
    plain_send(fds[1], "abcd", 4);
    probe_wait(loop, &reader_probe);
    probe_check(&reader_probe, 4);
    probe_wait(loop, &other);
    probe_check(&other, 100);
    assert_int_equal(blocked.calls, 0);
    ferry_close(loop, NULL, fds[0], 0, NULL);
    run_done(loop);
    probe_check(&blocked, FERRY_ECANCELED);
    test_close(loop);
    ferry_fd mine[] = {fds[1], others[0], others[1]};
    for (int i = 0; i < 3; i++) close(mine[i]);
}

/* Several accepts wait on one listener, several reads run on one file. */
static void contract_09_some_kinds_run_concurrently(void **state) {
    (void)state;
    enum { COUNT = 20 };
    struct probe accepts[COUNT] = {{.calls = 0}}, reads[COUNT] = {{.calls = 0}};
    static char bufs[COUNT][100];
    ferry_fd clients[COUNT];
    ferry_addr addr;
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr), file = temp_file("data", 4096, 5);
    for (int i = 0; i < COUNT; i++) {
        ferry_accept(loop, &accepts[i].op, listener, NULL, 0, probe_done);
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        ferry_read(loop, &reads[i].op, file, bufs[i], 100, (uint64_t)i * 100, 0, probe_done);
    }
    ferry_cancel(loop, &accepts[3].op);
    for (int i = 0; i < COUNT - 1; i++) {
        struct probe p = {.calls = 0};
        assert_int_equal(ferry_socket(loop, &clients[i], FERRY_INET, FERRY_STREAM), 0);
        ferry_connect(loop, &p.op, clients[i], &addr, 0, probe_done);
        probe_wait(loop, &p);
        probe_check(&p, 0);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(accepts[i].calls, 1);
        if (i == 3) probe_check(&accepts[i], FERRY_ECANCELED);
        else assert_true(accepts[i].result >= 0);
        probe_check(&reads[i], 100);
        assert_true(is_filled(bufs[i], 100, 5 + (uint64_t)i * 100));
    }
    test_close(loop);
    for (int i = 0; i < COUNT; i++) {
        if (i != 3) close((int)accepts[i].result);
        if (i < COUNT - 1) close(clients[i]);
    }
    close(listener);
    close(file);
}

/* Sends that wait together may share one call, also when there is nothing in them. */
static void contract_09_sends_of_nothing_together(void **state) {
    (void)state;
    enum { MOST = 6 };
    static const size_t lengths[][MOST] = {
        {0, 0, 0, 0, 0, 0}, {3, 0, 2, 0, 0, 1}, {0, 0, 0, 0, 0, 5}, {4, 0, 0, 0, 0, 0}};
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    tcp_pair(loop, fds);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct probe p[MOST];
        char in[64];
        size_t total = 0;
        memset(p, 0, sizeof p);
        for (int k = 0; k < MOST; k++) {
            ferry_send(loop, &p[k].op, fds[0], &"abcdefgh"[total], lengths[i][k], 0, probe_done);
            total += lengths[i][k];
        }
        for (int k = 0; k < MOST; k++) {
            probe_wait(loop, &p[k]);
            probe_check(&p[k], (int64_t)lengths[i][k]);
            if (k > 0) assert_true(p[k].order > p[k - 1].order);
        }
        plain_recv(fds[1], in, total);
        assert_memory_equal(in, "abcdefgh", total);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

const struct contract_test rule_09_tests[] = {
    {"contract_09_sends_of_nothing_together", contract_09_sends_of_nothing_together, 0},
    {"contract_09_receives_in_order", contract_09_receives_in_order, 0},
    {"contract_09_sends_in_order", contract_09_sends_in_order, 0},
    {"contract_09_datagrams_in_order", contract_09_datagrams_in_order, 0},
    {"contract_09_current_position_in_order", contract_09_current_position_in_order, 0},
    {"contract_09_empty_transfers_keep_their_place", contract_09_empty_transfers_keep_their_place,
     0},
    {"contract_09_bad_arguments_do_not_wait", contract_09_bad_arguments_do_not_wait, 0},
    {"contract_09_sends_cancelled_while_waiting", contract_09_sends_cancelled_while_waiting, 0},
    {"contract_09_directions_are_independent", contract_09_directions_are_independent, 0},
    {"contract_09_some_kinds_run_concurrently", contract_09_some_kinds_run_concurrently, 0},
    {NULL, NULL, 0}};
