/* ops_files.c - open, read, write, sync, truncate, stat; and pipes
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens through the loop and asserts that it succeeds. */
static ferry_fd open_near(ferry_loop *loop, const char *path, unsigned how, unsigned permissions) {
    struct probe p = {.calls = 0};
    ferry_open(loop, &p.op, path, how, permissions, 0, probe_done);
    probe_wait(loop, &p);
    assert_int_equal(p.calls, 1);
    if (p.result < 0) fail_msg("%s: %s", path, ferry_error_name(p.result));
    assert_int_equal(fcntl((ferry_fd)p.result, F_GETFD), FD_CLOEXEC);
    return (ferry_fd)p.result;
}

static void open_fails(ferry_loop *loop, const char *path, unsigned how, int64_t error) {
    struct probe p = {.calls = 0};
    ferry_open(loop, &p.op, path, how, 0600, 0, probe_done);
    expect_all(loop, &p, error, 0, 0);
}

static long long size_of(const char *path) {
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    return (long long)about.st_size;
}

/* ---- Open
 * ---------------------------------------------------------------------------------------- */

static void ops_open_access(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    snprintf(path, sizeof path, "%s", temp_path("file"));
    close_far(make_file(path, "data", 4));
    const struct {
        unsigned how;
        int mode;
    } kinds[] = {{FERRY_OPEN_READ, O_RDONLY},
                 {FERRY_OPEN_WRITE, O_WRONLY},
                 {FERRY_OPEN_READ | FERRY_OPEN_WRITE, O_RDWR}};
    for (int i = 0; i < 3; i++) {
        ferry_fd fd = open_near(loop, path, kinds[i].how, 0);
        assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, kinds[i].mode);
        assert_int_equal(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND), 0);
        close_near(loop, fd);
    }
    assert_int_equal(size_of(path), 4);
    finish(loop);
}

static void ops_open_create(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    struct stat about;
    unsigned how = FERRY_OPEN_WRITE | FERRY_OPEN_CREATE;
    snprintf(path, sizeof path, "%s", temp_path("new"));
    open_fails(loop, path, FERRY_OPEN_WRITE, FERRY_ENOENT);
    mode_t before = umask(022);
    close_near(loop, open_near(loop, path, how | FERRY_OPEN_EXCLUSIVE, 0666));
    umask(before);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, TEST_MODE(0644));
    open_fails(loop, path, how | FERRY_OPEN_EXCLUSIVE, FERRY_EEXIST);
    close_near(loop, open_near(loop, path, how, 0)); /* is there: left as it is */
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, TEST_MODE(0644));
    /* One that only lets itself be read is open to its maker all the same. */
    snprintf(path, sizeof path, "%s", temp_path("closed"));
    close_near(loop, open_near(loop, path, how, 0400));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, TEST_MODE(0400));
    finish(loop);
}

static void ops_open_truncate_and_append(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], got[16] = "";
    struct probe p[2];
    memset(p, 0, sizeof p);
    snprintf(path, sizeof path, "%s", temp_path("file"));
    close_far(make_file(path, "data", 4));
    ferry_fd fd = open_near(loop, path, FERRY_OPEN_WRITE | FERRY_OPEN_APPEND, 0);
    ferry_write(loop, &p[0].op, fd, "more", 4, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[0], 4, 4, 0);
    close_near(loop, fd);
    assert_int_equal(size_of(path), 8);
    fd = open_near(loop, path, FERRY_OPEN_READ, 0);
    ferry_read(loop, &p[1].op, fd, got, 16, 0, FERRY_ALL, probe_done);
    expect_all(loop, &p[1], 8, 8, 0);
    assert_string_equal(got, "datamore");
    close_near(loop, fd);
    close_near(loop, open_near(loop, path, FERRY_OPEN_WRITE | FERRY_OPEN_TRUNCATE, 0));
    assert_int_equal(size_of(path), 0);
    finish(loop);
}

static void ops_open_directory_and_links(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char dir[320], file[320], link[320], circle[320];
    snprintf(dir, sizeof dir, "%s", temp_path("dir"));
    snprintf(file, sizeof file, "%s", temp_path("file"));
    snprintf(link, sizeof link, "%s", temp_path("link"));
    snprintf(circle, sizeof circle, "%s", temp_path("circle"));
    assert_int_equal(mkdir(dir, 0700), 0);
    close_far(make_file(file, "data", 4));
    struct probe sync = {.calls = 0};
    ferry_fd fd = open_near(loop, dir, FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY, 0);
    ferry_sync(loop, &sync.op, fd, 0, probe_done);
    expect_all(loop, &sync, 0, 0, 0);
    close_near(loop, fd);
    open_fails(loop, file, FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY, FERRY_ENOTDIR);
    close_near(loop, open_near(loop, file, FERRY_OPEN_READ | FERRY_OPEN_NOFOLLOW, 0));
    if (omits_links()) {
        finish(loop);
        return;
    }
    assert_int_equal(symlink(file, link), 0);
    assert_int_equal(symlink(circle, circle), 0);
    close_near(loop, open_near(loop, link, FERRY_OPEN_READ, 0));
    open_fails(loop, link, FERRY_OPEN_READ | FERRY_OPEN_NOFOLLOW, FERRY_ELOOP);
    open_fails(loop, circle, FERRY_OPEN_READ, FERRY_ELOOP);
    finish(loop);
}

static void ops_open_direct_and_dsync(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    void *block = NULL;
    struct probe p[3];
    memset(p, 0, sizeof p);
    snprintf(path, sizeof path, "%s", temp_path("file"));
    assert_int_equal(posix_memalign(&block, 4096, 4096), 0);
    fill(block, 4096, 1);
    unsigned how = FERRY_OPEN_READ | FERRY_OPEN_WRITE | FERRY_OPEN_CREATE;
    ferry_fd fd = open_near(loop, path, how | FERRY_OPEN_DSYNC, 0600);
    assert_true(fcntl(fd, F_GETFL) & O_DSYNC);
    ferry_write(loop, &p[0].op, fd, block, 4096, 0, 0, probe_done);
    expect_all(loop, &p[0], 4096, 4096, 0);
    close_near(loop, fd);

    /* Not every file system can go past its cache, nor every system: it may say so, and with
     * nothing else. */
    ferry_open(loop, &p[1].op, path, FERRY_OPEN_READ | FERRY_OPEN_DIRECT, 0, 0, probe_done);
    probe_wait(loop, &p[1]);
    if (p[1].result >= 0) {
        assert_int_equal(fcntl((ferry_fd)p[1].result, F_GETFL) & O_DIRECT, O_DIRECT);
        memset(block, 0, 4096);
        ferry_read(loop, &p[2].op, (ferry_fd)p[1].result, block, 4096, 0, 0, probe_done);
        expect_all(loop, &p[2], 4096, 4096, 0);
        assert_true(is_filled(block, 4096, 1));
        close_near(loop, (ferry_fd)p[1].result);
    } else {
        assert_true(p[1].result == FERRY_EINVAL || p[1].result == FERRY_ENOTSUP);
    }
    free(block);
    finish(loop);
}

static void ops_open_errors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static char longest[6000];
    memset(longest, 'n', sizeof longest - 1);
    longest[0] = '/';
    open_fails(loop, longest, FERRY_OPEN_READ, FERRY_ENAMETOOLONG);
    open_fails(loop, "", FERRY_OPEN_READ, FERRY_ENOENT);
    open_fails(loop, temp_path("no/such"), FERRY_OPEN_READ | FERRY_OPEN_WRITE, FERRY_ENOENT);
    char path[320];
    snprintf(path, sizeof path, "unix:%s", temp_path("socket"));
    ferry_addr addr;
    ferry_fd fd = FERRY_FD_NONE;
    if (!omits_unix(SOCK_STREAM)) {
        assert_int_equal(ferry_addr_parse(&addr, path), 0);
        assert_int_equal(ferry_listen(loop, &fd, &addr, 0), 0);
        open_fails(loop, path + 5, FERRY_OPEN_READ, TEST_OPENED_SOCKET);
        close_near(loop, fd);
    }
    finish(loop);
}

/* ---- Read and write
 * ------------------------------------------------------------------------------ */

static void ops_read_and_write_at_offsets(void **state) {
    (void)state;
    enum { COUNT = 64, EACH = 3000 };
    ferry_loop *loop = test_loop();
    static char out[COUNT * EACH], in[COUNT * EACH];
    static struct probe p[COUNT];
    ferry_fd fd = make_file(temp_path("file"), "", 0);
    fill(out, sizeof out, 99);
    for (size_t i = 0; i < COUNT; i++) {
        size_t at = (i * 29 % COUNT) * EACH;
        ferry_write(loop, &p[i].op, fd, out + at, EACH, at, 0, probe_done);
    }
    for (size_t i = 0; i < COUNT; i++) expect_all(loop, &p[i], EACH, EACH, 0);
    memset(p, 0, sizeof p);
    for (size_t i = 0; i < COUNT; i++) {
        size_t at = (i * 23 % COUNT) * EACH;
        ferry_read(loop, &p[i].op, fd, in + at, EACH, at, FERRY_ALL, probe_done);
    }
    for (size_t i = 0; i < COUNT; i++) expect_all(loop, &p[i], EACH, EACH, 0);
    assert_true(is_filled(in, sizeof in, 99));
    position_check(loop, fd, 0); /* the current position stayed where it was */
    close_near(loop, fd);
    finish(loop);
}

/* At the current position all of them go one after the other, whatever their kind. */
static void contract_09_current_position(void **state) {
    (void)state;
    enum { COUNT = 60 };
    ferry_loop *loop = test_loop();
    static char out[COUNT * 101], in[COUNT * 101];
    static struct probe p[COUNT];
    ferry_vec vecs[COUNT][2];
    ferry_fd fd = make_file(temp_path("file"), "", 0);
    fill(out, sizeof out, 5);
    for (size_t i = 0; i < COUNT; i++) {
        char *at = out + i * 101;
        vecs[i][0] = (ferry_vec)VEC(at, 50);
        vecs[i][1] = (ferry_vec)VEC(at + 50, 51);
        if (i % 2) ferry_writev(loop, &p[i].op, fd, vecs[i], 2, FERRY_CURRENT, 0, probe_done);
        else ferry_write(loop, &p[i].op, fd, at, 101, FERRY_CURRENT, 0, probe_done);
    }
    for (size_t i = 0; i < COUNT; i++) {
        expect_all(loop, &p[i], 101, 101, 0);
        if (i > 0) assert_true(p[i - 1].order < p[i].order);
    }
    position_check(loop, fd, sizeof out);
    ferry_fd reads = rewound(fd, temp_path("file"));
    memset(p, 0, sizeof p);
    for (size_t i = 0; i < COUNT; i++) {
        char *at = in + i * 101;
        vecs[i][0] = (ferry_vec)VEC(at, 7);
        vecs[i][1] = (ferry_vec)VEC(at + 7, 94);
        if (i % 2) ferry_read(loop, &p[i].op, reads, at, 101, FERRY_CURRENT, FERRY_ALL, probe_done);
        else {
            ferry_readv(loop, &p[i].op, reads, vecs[i], 2, FERRY_CURRENT, FERRY_ALL, probe_done);
        }
    }
    for (size_t i = 0; i < COUNT; i++) expect_all(loop, &p[i], 101, 101, 0);
    assert_true(is_filled(in, sizeof in, 5));
    struct probe end = {.calls = 0};
    ferry_read(loop, &end.op, reads, in, 5, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &end, 0, 0, FERRY_EOF);
    if (reads != fd) close_near(loop, reads);
    close_near(loop, fd);
    finish(loop);
}

static void ops_vectors_at_offsets(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char out[] = "0123456789", in[8] = {0};
    ferry_vec out_vecs[3] = {VEC(out + 5, 5), VEC(out, 2), VEC(out + 2, 3)};
    ferry_vec in_vecs[2] = {VEC(in + 4, 4), VEC(in, 4)};
    struct probe p[2];
    memset(p, 0, sizeof p);
    ferry_fd fd = make_file(temp_path("file"), "", 0);
    ferry_writev(loop, &p[0].op, fd, out_vecs, 3, 100, 0, probe_done);
    expect_all(loop, &p[0], 10, 10, 0);
    ferry_readv(loop, &p[1].op, fd, in_vecs, 2, 101, 0, probe_done);
    expect_all(loop, &p[1], 8, 8, 0);
    assert_memory_equal(in, "01236789", 8);
    close_near(loop, fd);
    finish(loop);
}

/* A file that grows no further: what was written is told with the error. */
static void ops_write_to_a_full_device(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_fd fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        test_close(loop);
        test_skip("no /dev/full on this machine");
    }
    ferry_write(loop, &p.op, fd, "data", 4, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p, FERRY_ENOSPC, 0, 0);
    close_near(loop, fd);
    finish(loop);
}

static void ops_sync(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[3];
    memset(p, 0, sizeof p);
    ferry_fd fd = make_file(temp_path("file"), "data", 4);
    ferry_write(loop, &p[0].op, fd, "more", 4, 4, 0, probe_done);
    expect(loop, &p[0], 4);
    ferry_sync(loop, &p[1].op, fd, 0, probe_done);
    ferry_sync(loop, &p[2].op, fd, FERRY_DATA, probe_done);
    expect_all(loop, &p[1], 0, 0, 0);
    expect_all(loop, &p[2], 0, 0, 0);
    close_near(loop, fd);
    finish(loop);
}

static void ops_truncate(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], in[8];
    struct probe p = {.calls = 0};
    snprintf(path, sizeof path, "%s", temp_path("file"));
    ferry_fd fd = make_file(path, "data", 4);
    const uint64_t lengths[] = {2, 0, 3 * GIB * 2, 5};
    for (int i = 0; i < 4; i++) {
        memset(&p, 0, sizeof p);
        ferry_truncate(loop, &p.op, fd, lengths[i], 0, probe_done);
        expect_all(loop, &p, 0, 0, 0);
        assert_int_equal(size_of(path), lengths[i]);
    }
    /* What it grew by reads as zeros, what it lost is gone. */
    memset(&p, 0, sizeof p);
    ferry_read(loop, &p.op, fd, in, 8, 0, 0, probe_done);
    expect_all(loop, &p, 5, 5, 0);
    assert_memory_equal(in, "\0\0\0\0\0", 5);
    close_near(loop, fd);
    finish(loop);
}

/* ---- Pipes
 * --------------------------------------------------------------------------------------- */

static void ops_pipe(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    size_t len = 300 * KIB;
    char *out = malloc(len), *in = malloc(len);
    struct probe write = {.calls = 0}, read = {.calls = 0}, end = {.calls = 0};
    assert_true(out && in);
    fill(out, len, 31);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    /* More than it holds: both sides go on in turns. */
    ferry_write(loop, &write.op, fds[1], out, len, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &read.op, fds[0], in, len, FERRY_CURRENT, FERRY_ALL, probe_done);
    expect_all(loop, &write, (int64_t)len, len, 0);
    expect_all(loop, &read, (int64_t)len, len, 0);
    assert_true(is_filled(in, len, 31));
    ferry_read(loop, &end.op, fds[0], in, len, FERRY_CURRENT, 0, probe_done);
    run_for(loop, 2 * MS);
    assert_int_equal(end.calls, 0);
    close_near(loop, fds[1]);
    expect_all(loop, &end, 0, 0, FERRY_EOF);
    close_near(loop, fds[0]);
    free(out);
    free(in);
    finish(loop);
}

static void ops_socketpair(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    assert_int_equal(ferry_socketpair(loop, fds, FERRY_STREAM), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        close_near(loop, fds[i]);
    }
    finish(loop);
}

const struct contract_test ops_files_tests[] = {
    {"ops_open_access", ops_open_access, 0},
    {"ops_open_create", ops_open_create, 0},
    {"ops_open_truncate_and_append", ops_open_truncate_and_append, 0},
    {"ops_open_directory_and_links", ops_open_directory_and_links, 0},
    {"ops_open_direct_and_dsync", ops_open_direct_and_dsync, 0},
    {"ops_open_errors", ops_open_errors, 0},
    {"ops_read_and_write_at_offsets", ops_read_and_write_at_offsets, 0},
    {"contract_09_current_position", contract_09_current_position, 0},
    {"ops_vectors_at_offsets", ops_vectors_at_offsets, 0},
    {"ops_write_to_a_full_device", ops_write_to_a_full_device, 0},
    {"ops_sync", ops_sync, 0},
    {"ops_truncate", ops_truncate, 0},
    {"ops_pipe", ops_pipe, 0},
    {"ops_socketpair", ops_socketpair, 0},
    {NULL, NULL, 0},
};
