/* ops_copy.c - copying a range from file to file
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t size_of(ferry_fd fd) {
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    return about.st_size;
}

static void check_filled(ferry_fd fd, uint64_t offset, size_t len, uint64_t seed) {
    char *buf = malloc(len);
    assert_non_null(buf);
    assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
    assert_true(is_filled(buf, len, seed));
    free(buf);
}

static void ops_copy_range(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = 300 * KIB;
    struct probe p[5];
    memset(p, 0, sizeof p);
    ferry_fd from = temp_file("from", len, 5), to = make_file(temp_path("to"), "head", 4);
    ferry_copy(loop, &p[0].op, from, 1000, to, 4, 5000, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], 5000, 5000, 0);
    assert_int_equal(size_of(to), 5004);
    check_filled(to, 4, 5000, 5 + 1000);
    /* More than there is: to the end. */
    ferry_copy(loop, &p[1].op, from, 100, to, 0, INT64_MAX, FERRY_ALL, probe_done);
    expect_all(loop, &p[1], (int64_t)len - 100, len - 100, 0);
    check_filled(to, 0, len - 100, 5 + 100);
    /* At the end, past it, and nothing. */
    ferry_copy(loop, &p[2].op, from, len, to, 0, 10, FERRY_ALL, probe_done);
    ferry_copy(loop, &p[3].op, from, INT64_MAX - 5, to, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[4].op, from, 0, to, 0, 0, 0, probe_done);
    expect_all(loop, &p[2], 0, 0, FERRY_EOF);
    expect_all(loop, &p[3], 0, 0, FERRY_EOF);
    expect_all(loop, &p[4], 0, 0, 0);
    /* Their positions stay where they were. */
    position_check(loop, to, 0);
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

/* Larger than a piece, by way of the short result and with FERRY_ALL. */
static void ops_copy_large(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = 40 * MIB + 12345;
    ferry_fd from = temp_file("from", len, 77), to = temp_file("to", 0, 0);
    struct probe all = {.calls = 0};
    ferry_copy(loop, &all.op, from, 0, to, 0, UINT64_C(1) << 40, FERRY_ALL, probe_done);
    expect_all(loop, &all, (int64_t)len, len, 0);
    check_filled(to, 0, len, 77);
    assert_int_equal(ftruncate(to, 0), 0);
    size_t done = 0;
    for (;;) {
        struct probe p = {.calls = 0};
        ferry_copy(loop, &p.op, from, done, to, done, len, 0, probe_done);
        probe_wait(loop, &p);
        probe_check(&p, p.result);
        if (p.result <= 0) break;
        assert_int_equal(p.transferred, p.result);
        done += (size_t)p.result;
    }
    assert_int_equal(done, len);
    check_filled(to, 0, len, 77);
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

static ferry_fd elsewhere(void) {
    char name[] = "/dev/shm/ferry-test-XXXXXX";
    ferry_fd fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0) assert_int_equal(unlink(name), 0);
    return fd;
}

/* From one file system to another the kernel may refuse: then it goes through the process. */
static void ops_copy_to_another_file_system(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = 17 * MIB + 3;
    struct probe p[2];
    memset(p, 0, sizeof p);
    ferry_fd from = temp_file("from", len, 3), to = elsewhere(), back = temp_file("back", 0, 0);
    if (to < 0) to = temp_file("to", 0, 0); /* no such place on this machine */
    ferry_copy(loop, &p[0].op, from, 0, to, 0, len, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], (int64_t)len, len, 0);
    check_filled(to, 0, len, 3);
    ferry_copy(loop, &p[1].op, to, 5, back, 0, UINT64_C(1) << 50, FERRY_ALL, probe_done);
    expect_all(loop, &p[1], (int64_t)len - 5, len - 5, 0);
    check_filled(back, 0, len - 5, 3 + 5);
    close_near(loop, from);
    close_near(loop, to);
    close_near(loop, back);
    finish(loop);
}

/* Within one file: apart they are copied, overlapping they are refused and nothing is touched. */
static void ops_copy_within_a_file(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[5];
    memset(p, 0, sizeof p);
    ferry_fd fd = temp_file("file", 1000, 9), other = open(temp_path("file"), O_RDWR | O_CLOEXEC);
    ferry_copy(loop, &p[0].op, fd, 0, other, 1000, 1000, FERRY_ALL, probe_done);
    expect_all(loop, &p[0], 1000, 1000, 0);
    check_filled(fd, 1000, 1000, 9);
    ferry_copy(loop, &p[1].op, fd, 0, fd, 999, 1000, FERRY_ALL, probe_done);
    ferry_copy(loop, &p[2].op, fd, 999, other, 0, 1000, FERRY_ALL, probe_done);
    ferry_copy(loop, &p[3].op, fd, 0, fd, 0, 1000, 0, probe_done);
    ferry_copy(loop, &p[4].op, fd, 0, fd, 1000, INT64_MAX, FERRY_ALL, probe_done);
    for (int i = 1; i < 5; i++) expect_all(loop, &p[i], FERRY_EINVAL, 0, 0);
    check_filled(fd, 0, 1000, 9);
    assert_int_equal(size_of(fd), 2000);
    close_near(loop, fd);
    close_near(loop, other);
    finish(loop);
}

static void ops_copy_errors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[11];
    ferry_fd fds[2];
    memset(p, 0, sizeof p);
    ferry_fd file = temp_file("file", 100, 1), to = temp_file("to", 0, 0);
    ferry_fd reads = open(temp_path("to"), O_RDONLY | O_CLOEXEC);
    ferry_fd writes = open(temp_path("file"), O_WRONLY | O_CLOEXEC);
    ferry_fd appends = open(temp_path("to"), O_WRONLY | O_APPEND | O_CLOEXEC);
    ferry_fd dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_copy(loop, &p[0].op, file, 0, reads, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[1].op, writes, 0, to, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[2].op, file, 0, appends, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[3].op, dir, 0, to, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[4].op, fds[0], 0, to, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[5].op, file, 0, fds[1], 0, 10, 0, probe_done);
    ferry_copy(loop, &p[6].op, file, FERRY_CURRENT, to, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[7].op, file, 0, to, FERRY_CURRENT, 10, 0, probe_done);
    ferry_copy(loop, &p[8].op, file, 0, FERRY_FD_NONE, 0, 10, 0, probe_done);
    ferry_copy(loop, &p[9].op, file, 0, closed_fd(), 0, 10, 0, probe_done);
    ferry_copy(loop, &p[10].op, file, 0, INT32_MAX, 0, 10, 0, probe_done);
    const int64_t results[] = {FERRY_EBADF,  FERRY_EBADF,  FERRY_EBADF,  FERRY_EISDIR,
                               FERRY_ESPIPE, FERRY_ESPIPE, FERRY_EINVAL, FERRY_EINVAL,
                               FERRY_EBADF,  FERRY_EBADF,  FERRY_EMFILE};
    for (int i = 0; i < 11; i++) {
        probe_wait(loop, &p[i]);
        if (p[i].result != results[i]) {
            fail_msg("%d ended with %s", i, ferry_error_name(p[i].result));
        }
        expect_all(loop, &p[i], results[i], 0, 0);
    }
    assert_int_equal(size_of(to), 0);
    const ferry_fd all[] = {file, to, reads, writes, appends, dir, fds[0], fds[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) close_near(loop, all[i]);
    finish(loop);
}

/* Between two pieces it can be cancelled, timed out and drained; what was copied is told. */
static void contract_05_copy_between_pieces(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    uint64_t len = 8 * GIB;
    struct probe p[2];
    memset(p, 0, sizeof p);
    ferry_fd from = temp_file("from", 0, 0), to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(from, (off_t)len), 0);
    ferry_copy(loop, &p[0].op, from, 0, to, 0, len, FERRY_ALL, probe_done);
    run_for(loop, MS);
    ferry_cancel(loop, &p[0].op);
    expect(loop, &p[0], FERRY_ECANCELED);
    assert_true(p[0].transferred < len);
    p[1].op.deadline_ns = MS;
    ferry_copy(loop, &p[1].op, from, 0, to, 0, len, FERRY_ALL, probe_done);
    expect(loop, &p[1], FERRY_ETIMEDOUT);
    assert_true(p[1].transferred < len);
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

/* Closing either of the two waits for the piece that is under way, and ends the copy. */
static void contract_07_copy_and_close(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    uint64_t len = 8 * GIB;
    for (int which = 0; which < 2; which++) {
        struct probe p = {.calls = 0}, closed = {.calls = 0}, late = {.calls = 0};
        ferry_fd fds[2] = {temp_file("from", 0, 0), open("/dev/null", O_WRONLY | O_CLOEXEC)};
        assert_int_equal(ftruncate(fds[0], (off_t)len), 0);
        ferry_copy(loop, &p.op, fds[0], 0, fds[1], 0, len, FERRY_ALL, probe_done);
        run_for(loop, MS);
        assert_int_equal(p.calls, 0);
        assert_int_equal(ferry_forget(loop, fds[which]), FERRY_EBUSY);
        ferry_close(loop, &closed.op, fds[which], 0, probe_done);
        ferry_copy(loop, &late.op, fds[0], 0, fds[1], 0, len, FERRY_ALL, probe_done);
        expect(loop, &closed, 0);
        expect(loop, &p, FERRY_ECANCELED);
        expect(loop, &late, FERRY_EBADF);
        assert_true(p.order < closed.order);
        assert_false(is_open(fds[which]));
        close_near(loop, fds[1 - which]);
    }
    finish(loop);
}

static void ops_copy_drained(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    uint64_t len = 8 * GIB;
    struct probe p = {.calls = 0};
    ferry_fd from = temp_file("from", 0, 0), to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(from, (off_t)len), 0);
    ferry_copy(loop, &p.op, from, 0, to, 0, len, FERRY_ALL, probe_done);
    run_for(loop, MS);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    probe_check(&p, FERRY_ECANCELED);
    test_close(loop);
    close_far(from);
    close_far(to);
}

/* Again from its own callback: what was asked is still there. */
static int rounds;
static ferry_loop *again_loop;

static void copy_again(ferry_op *op) {
    if (++rounds < 4) ferry_again(again_loop, op);
}

static void ops_copy_again(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op op;
    memset(&op, 0, sizeof op);
    ferry_fd from = temp_file("from", 5000, 4), to = temp_file("to", 0, 0);
    again_loop = loop;
    ferry_copy(loop, &op, from, 10, to, 20, 4000, FERRY_ALL, copy_again);
    run_done(loop);
    assert_int_equal(rounds, 4);
    assert_int_equal(op.result, 4000);
    check_filled(to, 20, 4000, 14);
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

const struct contract_test ops_copy_tests[] = {
    {"ops_copy_range", ops_copy_range, 0},
    {"ops_copy_large", ops_copy_large, 0},
    {"ops_copy_to_another_file_system", ops_copy_to_another_file_system, 0},
    {"ops_copy_within_a_file", ops_copy_within_a_file, 0},
    {"ops_copy_errors", ops_copy_errors, 0},
    {"contract_05_copy_between_pieces", contract_05_copy_between_pieces, 0},
    {"contract_07_copy_and_close", contract_07_copy_and_close, 0},
    {"ops_copy_drained", ops_copy_drained, 0},
    {"ops_copy_again", ops_copy_again, 0},
    {NULL, NULL, 0},
};
