/* ops_sendfile.c - files into streams and pipes
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEED 11
#define BIG (3 * MIB + 12345)
#define MANY 400 /* more than the library sends by way of at once */

/* Takes what comes until all have ended and fd has given len bytes of the file from offset. */
static void take(ferry_loop *loop, struct probe *p, ferry_fd fd, uint64_t offset, size_t len) {
    static char buf[70000];
    uint64_t start_ns = clock_ns();
    size_t got = 0;
    while (got < len || (p != NULL && p->finals == 0)) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fd, buf, sizeof buf);
        assert_true(n >= 0);
        assert_true(is_filled(buf, (size_t)n, SEED + offset + got));
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    assert_int_equal(got, len);
    assert_int_equal(plain_take(fd, buf, sizeof buf), 0);
}

/* Runs the loop until something has come at fd. */
static void begins(ferry_loop *loop, ferry_fd fd) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint64_t start_ns = clock_ns();
    while (poll(&ready, 1, 0) <= 0) {
        run_for(loop, MS);
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    run_for(loop, MS);
}

static void pair_make(ferry_loop *loop, int kind, ferry_fd fds[2]) {
    if (kind == 0) {
        tcp_pair(loop, fds);
    } else if (kind == 1) {
        unix_pair(fds, SOCK_STREAM);
    } else {
        ferry_fd ends[2];
        plain_pipe(ends);
        fds[0] = ends[1];
        fds[1] = ends[0];
    }
}

/* ---- What comes of it ------------------------------------------------------------------ */

static void contract_08_sendfile_is_whole(void **state) {
    (void)state;
    static const size_t lens[] = {1,      4095,      4096,          16 * KIB, 16 * KIB + 1,
                                  100000, 256 * KIB, 256 * KIB + 1, 1 * MIB,  BIG - 7777};
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    for (int kind = 0; kind < 3; kind++) {
        ferry_fd fds[2];
        pair_make(loop, kind, fds);
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            struct probe p = {.calls = 0};
            uint64_t offset = i % 2 ? 7777 : 0;
            ferry_sendfile(loop, &p.op, fds[0], file, offset, lens[i], 0, probe_done);
            take(loop, &p, fds[1], offset, lens[i]);
            probe_check(&p, (int64_t)lens[i]);
            assert_int_equal(p.transferred, lens[i]);
            assert_int_equal(p.flags, 0);
        }
        struct probe none = {.calls = 0};
        ferry_sendfile(loop, &none.op, fds[0], file, 5, 0, 0, probe_done);
        expect_all(loop, &none, 0, 0, 0);
        close_near(loop, fds[0]);
        close_far(fds[1]);
    }
    close_near(loop, file);
    finish(loop);
}

static void ops_sendfile_to_the_end(void **state) {
    (void)state;
    struct probe p[4] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", 300000, SEED), empty = temp_file("empty", 0, 0);
    tcp_pair(loop, fds);
    ferry_sendfile(loop, &p[0].op, fds[0], file, 1000, INT64_MAX, 0, probe_done);
    take(loop, &p[0], fds[1], 1000, 299000);
    expect_all(loop, &p[0], 299000, 299000, FERRY_EOF);
    ferry_sendfile(loop, &p[1].op, fds[0], file, 300000, 1, 0, probe_done);
    expect_all(loop, &p[1], 0, 0, FERRY_EOF);
    ferry_sendfile(loop, &p[2].op, fds[0], empty, 0, 10, 0, probe_done);
    expect_all(loop, &p[2], 0, 0, FERRY_EOF);
    ferry_sendfile(loop, &p[3].op, fds[0], file, 1 << 20, 10, 0, probe_done);
    expect_all(loop, &p[3], 0, 0, FERRY_EOF);
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_near(loop, empty);
    close_far(fds[1]);
    finish(loop);
}

static void contract_08_sendfile_of_some_may_be_short(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    unix_pair(fds, SOCK_STREAM);
    ferry_sendfile(loop, &p.op, fds[0], file, 0, BIG, FERRY_SOME, probe_done);
    probe_wait(loop, &p); /* nobody reads */
    assert_true(p.result > 0 && p.result < (int64_t)BIG);
    assert_int_equal(p.transferred, p.result);
    take(loop, NULL, fds[1], 0, (size_t)p.result);
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_far(fds[1]);
    finish(loop);
}

static void contract_09_sendfile_keeps_its_place(void **state) {
    (void)state;
    struct probe p[5] = {{.calls = 0}};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    char *out = malloc(BIG);
    assert_non_null(out);
    fill(out, BIG, SEED);
    ferry_vec vec = VEC(out + 1600000, 400000);
    for (int kind = 0; kind < 2; kind++) {
        memset(p, 0, sizeof p);
        pair_make(loop, kind, fds);
        ferry_send(loop, &p[0].op, fds[0], out, 10, 0, probe_done);
        ferry_sendfile(loop, &p[1].op, fds[0], file, 10, 1599980, 0, probe_done);
        ferry_send(loop, &p[2].op, fds[0], out + 1599990, 10, 0, probe_done);
        ferry_sendv(loop, &p[3].op, fds[0], &vec, 1, 0, probe_done);
        ferry_sendfile(loop, &p[4].op, fds[0], file, 2000000, BIG - 2000000, 0, probe_done);
        take(loop, &p[4], fds[1], 0, BIG);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(p[i].calls, 1);
            assert_true(p[i].result > 0);
            if (i > 0) assert_true(p[i].order > p[i - 1].order);
        }
        close_near(loop, fds[0]);
        close_far(fds[1]);
    }
    close_near(loop, file);
    free(out);
    finish(loop);
}

/* ---- Files that change meanwhile
 * -----------------------------------------------------------------
 */

static void ops_sendfile_of_a_file_that_is_replaced(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    unix_pair(fds, SOCK_STREAM);
    ferry_sendfile(loop, &p.op, fds[0], file, 0, BIG, 0, probe_done);
    begins(loop, fds[1]);
    close_far(temp_file("other", BIG, SEED + 5));
    if (!omits_on_wine("Wine replaces no file that is open")) {
        assert_int_equal(rename(temp_path("other"), temp_path("file")), 0);
    }
    assert_int_equal(unlink(temp_path("file")), 0);
    take(loop, &p, fds[1], 0, BIG);
    probe_check(&p, (int64_t)BIG);
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_far(fds[1]);
    finish(loop);
}

static void ops_sendfile_of_a_file_that_is_truncated(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    unix_pair(fds, SOCK_STREAM);
    ferry_sendfile(loop, &p.op, fds[0], file, 0, BIG, 0, probe_done);
    begins(loop, fds[1]);
    assert_int_equal(p.calls, 0);
    assert_int_equal(ftruncate(file, 2000000), 0);
    take(loop, &p, fds[1], 0, 2000000);
    probe_check(&p, 2000000);
    assert_int_equal(p.flags, FERRY_EOF);
    /* The stream is in order, and the program may say more. */
    struct probe next = {.calls = 0};
    ferry_send(loop, &next.op, fds[0], "x", 1, 0, probe_done);
    expect(loop, &next, 1);
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Many
 * ------------------------------------------------------------------------------------------
 */

struct crowd {
    struct probe p[MANY];
    ferry_fd fds[MANY][2];
};

static struct crowd *crowd_make(ferry_loop *loop, ferry_fd file, size_t len) {
    struct crowd *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; i < MANY; i++) {
        unix_pair(c->fds[i], SOCK_STREAM);
        ferry_sendfile(loop, &c->p[i].op, c->fds[i][0], file, i, len, 0, probe_done);
    }
    return c;
}

static void crowd_end(ferry_loop *loop, struct crowd *c) {
    for (size_t i = 0; i < MANY; i++) {
        close_near(loop, c->fds[i][0]);
        close_far(c->fds[i][1]);
    }
    free(c);
}

static void ops_sendfile_many_at_once(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", MIB, SEED);
    for (int size = 0; size < 2; size++) {
        size_t len = size ? 40000 : 1000;
        struct crowd *c = crowd_make(loop, file, len);
        run_done(loop);
        for (size_t i = 0; i < MANY; i++) {
            probe_check(&c->p[i], (int64_t)len);
            take(loop, NULL, c->fds[i][1], i, len);
        }
        crowd_end(loop, c);
    }
    close_near(loop, file);
    finish(loop);
}

/* Peers that do not read hold up nobody else. */
static void contract_10_sendfile_to_peers_that_do_not_read(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    struct crowd *c = crowd_make(loop, file, BIG - MANY);
    for (size_t i = 0; i < MANY; i++) begins(loop, c->fds[i][1]);
    for (size_t i = 0; i < MANY; i++) assert_int_equal(c->p[i].calls, 0);
    tcp_pair(loop, fds);
    ferry_sendfile(loop, &p.op, fds[0], file, 0, BIG, 0, probe_done);
    take(loop, &p, fds[1], 0, BIG);
    probe_check(&p, (int64_t)BIG);
    for (size_t i = 0; i < MANY; i++) ferry_cancel(loop, &c->p[i].op);
    probe_wait_all(loop, c->p, MANY);
    for (size_t i = 0; i < MANY; i++) {
        probe_check(&c->p[i], FERRY_ECANCELED);
        assert_true(c->p[i].transferred > 0);
    }
    crowd_end(loop, c);
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_far(fds[1]);
    finish(loop);
}

/* Ends at every point: before the first turn, and after each of the first few. */
static void contract_05_sendfile_cancelled_at_every_step(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    for (int turns = 0; turns < 6; turns++) {
        struct crowd *c = crowd_make(loop, file, BIG - MANY);
        for (int i = 0; i < turns; i++) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        for (size_t i = 0; i < MANY; i += 2) ferry_cancel(loop, &c->p[i].op);
        for (size_t i = 1; i < MANY; i += 2) {
            if (i % 4 == 1) ferry_cancel_fd(loop, c->fds[i][0]);
            if (i % 4 == 3) ferry_close(loop, NULL, c->fds[i][0], 0, NULL);
        }
        probe_wait_all(loop, c->p, MANY);
        for (size_t i = 0; i < MANY; i++) {
            probe_check(&c->p[i], FERRY_ECANCELED);
            if (i % 4 != 3) close_near(loop, c->fds[i][0]);
            close_far(c->fds[i][1]);
        }
        run_done(loop);
        free(c);
    }
    close_near(loop, file);
    finish(loop);
}

/* ---- Ended early
 * -----------------------------------------------------------------------------------
 */

static void contract_09_sendfile_that_is_cut_breaks_the_stream(void **state) {
    (void)state;
    for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
        struct probe p[3] = {{.calls = 0}};
        ferry_fd fds[2];
        ferry_loop *loop = test_loop();
        ferry_fd file = temp_file("file", BIG, SEED);
        unix_pair(fds, SOCK_STREAM);
        if (by_deadline) p[0].op.deadline_ns = SECOND / 4;
        ferry_sendfile(loop, &p[0].op, fds[0], file, 0, BIG, 0, probe_done);
        ferry_sendfile(loop, &p[1].op, fds[0], file, 0, 10, 0, probe_done);
        if (!by_deadline) {
            begins(loop, fds[1]);
            ferry_cancel(loop, &p[0].op);
        }
        probe_wait_all(loop, p, 2);
        probe_check(&p[0], by_deadline ? FERRY_ETIMEDOUT : FERRY_ECANCELED);
        assert_true(p[0].transferred > 0 && p[0].transferred < BIG);
        probe_check(&p[1], FERRY_ECANCELED);
        ferry_sendfile(loop, &p[2].op, fds[0], file, 0, 10, 0, probe_done);
        expect_all(loop, &p[2], FERRY_EPIPE, 0, 0);
        take(loop, NULL, fds[1], 0, p[0].transferred);
        close_near(loop, fds[0]);
        close_near(loop, file);
        close_far(fds[1]);
        finish(loop);
    }
}

static void ops_sendfile_to_a_peer_that_goes_away(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct probe p = {.calls = 0};
        ferry_fd fds[2];
        ferry_loop *loop = test_loop();
        ferry_fd file = temp_file("file", 16 * MIB, SEED);
        pair_make(loop, kind, fds);
        ferry_sendfile(loop, &p.op, fds[0], file, 0, 16 * MIB, 0, probe_done);
        begins(loop, fds[1]);
        assert_int_equal(p.calls, 0);
        if (kind == 0) {
            reset_far(fds[1]);
        } else {
            close_far(fds[1]);
        }
        probe_wait(loop, &p);
        assert_true(p.result == FERRY_EPIPE || p.result == FERRY_ECONNRESET);
        assert_true(p.transferred > 0 && p.transferred < 16 * MIB);
        close_near(loop, fds[0]);
        close_near(loop, file);
        finish(loop);
    }
}

/* ---- Closing either end
 * -----------------------------------------------------------------------------
 */

static void contract_07_closing_the_file_ends_its_sendfiles(void **state) {
    (void)state;
    struct probe p[4] = {{.calls = 0}}, closed = {.calls = 0}, late = {.calls = 0};
    ferry_fd a[2], b[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED), other = temp_file("other", BIG, SEED);
    unix_pair(a, SOCK_STREAM);
    unix_pair(b, SOCK_STREAM);
    ferry_sendfile(loop, &p[0].op, a[0], file, 0, BIG, 0, probe_done);
    ferry_sendfile(loop, &p[1].op, b[0], other, 0, BIG - 10, 0, probe_done);
    ferry_sendfile(loop, &p[2].op, b[0], file, 0, 10, 0, probe_done); /* waits behind it */
    ferry_sendfile(loop, &p[3].op, b[0], other, BIG - 10, 10, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(ferry_forget(loop, file), FERRY_EBUSY);
    ferry_close(loop, &closed.op, file, 0, probe_done);
    ferry_sendfile(loop, &late.op, a[0], file, 0, 10, 0, probe_done);
    expect(loop, &closed, 0);
    expect(loop, &late, FERRY_EBADF);
    probe_check(&p[0], FERRY_ECANCELED);
    probe_check(&p[2], FERRY_ECANCELED);
    assert_true(p[0].order < closed.order && p[2].order < closed.order);
    assert_false(is_open(file));
    assert_int_equal(p[1].calls, 0);
    ferry_fd reused = temp_file("third", BIG, SEED + 99); /* the same number, most likely */
    take(loop, &p[3], b[1], 0, BIG);
    probe_check(&p[1], (int64_t)BIG - 10);
    probe_check(&p[3], 10);
    close_near(loop, a[0]);
    close_near(loop, b[0]);
    close_near(loop, other);
    close_far(a[1]);
    close_far(b[1]);
    close_far(reused);
    finish(loop);
}

static void contract_07_closing_the_socket_ends_its_sendfile(void **state) {
    (void)state;
    struct probe p[2] = {{.calls = 0}}, closed = {.calls = 0};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    unix_pair(fds, SOCK_STREAM);
    ferry_sendfile(loop, &p[0].op, fds[0], file, 0, BIG, 0, probe_done);
    ferry_sendfile(loop, &p[1].op, fds[0], file, 0, BIG, 0, probe_done);
    run_for(loop, 5 * MS);
    ferry_close(loop, &closed.op, fds[0], 0, probe_done);
    expect(loop, &closed, 0);
    for (int i = 0; i < 2; i++) {
        probe_check(&p[i], FERRY_ECANCELED);
        assert_true(p[i].order < closed.order);
    }
    close_near(loop, file);
    close_far(fds[1]);
    finish(loop);
}

/* One that is linked counts on its file while it waits to be started. */
static void contract_07_closing_the_file_ends_a_linked_sendfile(void **state) {
    (void)state;
    struct probe first = {.calls = 0}, then = {.calls = 0}, closed = {.calls = 0};
    ferry_fd fds[2];
    char buf[10];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", 1000, SEED);
    unix_pair(fds, SOCK_STREAM);
    for (int closes = 0; closes < 2; closes++) {
        memset(&first, 0, sizeof first);
        memset(&then, 0, sizeof then);
        ferry_recv(loop, &first.op, fds[0], buf, sizeof buf, 0, probe_done);
        assert_int_equal(ferry_link(loop, &first.op, &then.op), 0);
        ferry_sendfile(loop, &then.op, fds[0], file, 0, 1000, 0, probe_done);
        run_for(loop, 2 * MS);
        assert_int_equal(ferry_forget(loop, file), FERRY_EBUSY);
        if (closes) ferry_close(loop, &closed.op, file, 0, probe_done);
        if (closes) expect(loop, &closed, 0);
        plain_send(fds[1], "x", 1);
        probe_wait(loop, &then);
        probe_check(&then, closes ? FERRY_ECANCELED : 1000);
        if (!closes) take(loop, NULL, fds[1], 0, 1000);
        probe_wait(loop, &first);
        probe_check(&first, 1);
    }
    assert_true(then.order < closed.order);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void contract_11_drain_ends_sendfiles(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", BIG, SEED);
    struct crowd *c = crowd_make(loop, file, BIG - MANY);
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (size_t i = 0; i < MANY; i++) {
        probe_check(&c->p[i], FERRY_ECANCELED);
        close_far(c->fds[i][0]);
        close_far(c->fds[i][1]);
    }
    test_close(loop);
    close_far(file);
    free(c);
}

/* ---- Bad input
 * -----------------------------------------------------------------------------------------
 */

static void wants(ferry_loop *loop, ferry_fd fd, ferry_fd file, uint64_t offset, size_t len,
                  int64_t error) {
    struct probe p = {.calls = 0};
    ferry_sendfile(loop, &p.op, fd, file, offset, len, 0, probe_done);
    probe_wait(loop, &p);
    if (p.result != error) {
        fail_msg("sendfile of %d into %d: %s, not %s", (int)file, (int)fd,
                 ferry_error_name(p.result), ferry_error_name(error));
    }
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.transferred, 0);
}

static void ops_sendfile_bad_input(void **state) {
    (void)state;
    ferry_fd fds[2], packets[2], datagrams[2], ends[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", 100, SEED), gone = closed_fd();
    ferry_fd writes = open(temp_path("file"), O_WRONLY | O_CLOEXEC);
    ferry_fd directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ferry_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(writes >= 0 && directory >= 0 && null >= 0);
    unix_pair(fds, SOCK_STREAM);
    unix_pair(packets, TEST_SEQPACKET ? SOCK_SEQPACKET : SOCK_DGRAM);
    unix_pair(datagrams, SOCK_DGRAM);
    assert_int_equal(ferry_pipe(loop, ends), 0);
    wants(loop, fds[0], gone, 0, 10, FERRY_EBADF);
    wants(loop, fds[0], -1, 0, 10, FERRY_EBADF);
    wants(loop, fds[0], INT32_MAX, 0, 10, FERRY_EMFILE);
    wants(loop, fds[0], writes, 0, 10, FERRY_EBADF);
    wants(loop, fds[0], ends[0], 0, 10, FERRY_ESPIPE);
    wants(loop, fds[0], fds[0], 0, 10, FERRY_ESPIPE);
    wants(loop, fds[0], datagrams[0], 0, 10, FERRY_ESPIPE);
    wants(loop, fds[0], directory, 0, 10, FERRY_EINVAL);
    wants(loop, fds[0], null, 0, 10, FERRY_EINVAL);
    wants(loop, fds[0], file, FERRY_CURRENT, 10, FERRY_EINVAL);
    wants(loop, fds[0], file, (uint64_t)INT64_MAX + 1, 10, FERRY_EINVAL);
    wants(loop, fds[0], file, 0, SIZE_MAX, FERRY_EINVAL);
    wants(loop, gone, file, 0, 10, FERRY_EBADF);
    wants(loop, -1, file, 0, 10, FERRY_EBADF);
    wants(loop, packets[0], file, 0, 10, FERRY_EINVAL);
    wants(loop, datagrams[0], file, 0, 10, FERRY_EINVAL);
    wants(loop, null, file, 0, 10, FERRY_EINVAL);
    wants(loop, file, file, 0, 10, FERRY_EINVAL);
    wants(loop, directory, file, 0, 10, FERRY_EINVAL);
    wants(loop, ends[0], file, 0, 10, FERRY_EBADF); /* the end that is read */
    ferry_fd mine[] = {fds[0],  packets[0], packets[1], datagrams[0], datagrams[1], ends[0],
                       ends[1], file,       writes,     directory,    null};
    /* The stream was harmed by none of them. */
    struct probe p = {.calls = 0};
    ferry_sendfile(loop, &p.op, fds[0], file, 0, 100, 0, probe_done);
    take(loop, &p, fds[1], 0, 100);
    probe_check(&p, 100);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) close_near(loop, mine[i]);
    close_far(fds[1]);
    finish(loop);
}

static void ops_sendfile_not_connected(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fd;
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", 100, SEED);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    ferry_sendfile(loop, &p.op, fd, file, 0, 100, 0, probe_done);
    probe_wait(loop, &p);
    if (omits_on_wine("Wine tells of a socket that was never connected as of a reset"))
        assert_int_equal(p.result, FERRY_ECONNRESET);
    else assert_true(p.result == FERRY_ENOTCONN || p.result == FERRY_EPIPE);
    assert_int_equal(p.transferred, 0);
    close_near(loop, fd);
    close_near(loop, file);
    finish(loop);
}

/* ---- Its callback
 * -----------------------------------------------------------------------------------
 */

struct repeated {
    struct probe probe;
    ferry_loop *loop;
    int left;
};

static void on_sent(ferry_op *op) {
    struct repeated *r = ferry_container(op, struct repeated, probe.op);
    assert_int_equal(op->result, 100);
    if (--r->left > 0) {
        ferry_again(r->loop, op);
    } else {
        free(r);
    }
}

static void ops_sendfile_again_and_freed_in_its_callback(void **state) {
    (void)state;
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", 100, SEED);
    struct repeated *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->loop = loop;
    r->left = 10;
    unix_pair(fds, SOCK_STREAM);
    ferry_sendfile(loop, &r->probe.op, fds[0], file, 0, 100, 0, on_sent);
    run_done(loop);
    for (int i = 0; i < 10; i++) {
        char buf[100];
        plain_recv(fds[1], buf, sizeof buf);
        assert_true(is_filled(buf, sizeof buf, SEED));
    }
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_far(fds[1]);
    finish(loop);
}

const struct contract_test ops_sendfile_tests[] = {
    {"contract_08_sendfile_is_whole", contract_08_sendfile_is_whole, 0},
    {"ops_sendfile_to_the_end", ops_sendfile_to_the_end, 0},
    {"contract_08_sendfile_of_some_may_be_short", contract_08_sendfile_of_some_may_be_short, 0},
    {"contract_09_sendfile_keeps_its_place", contract_09_sendfile_keeps_its_place, 0},
    {"ops_sendfile_of_a_file_that_is_replaced", ops_sendfile_of_a_file_that_is_replaced, 0},
    {"ops_sendfile_of_a_file_that_is_truncated", ops_sendfile_of_a_file_that_is_truncated, 0},
    {"ops_sendfile_many_at_once", ops_sendfile_many_at_once, 0},
    {"contract_10_sendfile_to_peers_that_do_not_read",
     contract_10_sendfile_to_peers_that_do_not_read, 60},
    {"contract_05_sendfile_cancelled_at_every_step", contract_05_sendfile_cancelled_at_every_step,
     60},
    {"contract_09_sendfile_that_is_cut_breaks_the_stream",
     contract_09_sendfile_that_is_cut_breaks_the_stream, 0},
    {"ops_sendfile_to_a_peer_that_goes_away", ops_sendfile_to_a_peer_that_goes_away, 0},
    {"contract_07_closing_the_file_ends_its_sendfiles",
     contract_07_closing_the_file_ends_its_sendfiles, 0},
    {"contract_07_closing_the_socket_ends_its_sendfile",
     contract_07_closing_the_socket_ends_its_sendfile, 0},
    {"contract_07_closing_the_file_ends_a_linked_sendfile",
     contract_07_closing_the_file_ends_a_linked_sendfile, 0},
    {"contract_11_drain_ends_sendfiles", contract_11_drain_ends_sendfiles, 0},
    {"ops_sendfile_bad_input", ops_sendfile_bad_input, 0},
    {"ops_sendfile_not_connected", ops_sendfile_not_connected, 0},
    {"ops_sendfile_again_and_freed_in_its_callback", ops_sendfile_again_and_freed_in_its_callback,
     0},
    {NULL, NULL, 0}};
