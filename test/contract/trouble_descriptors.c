/* trouble_descriptors.c - descriptors that are not open, or not of the kind that is needed
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Submits one of each kind on fd and asserts that it ends with error. */
static void each_ends_with(ferry_fd fd, int64_t error) {
    ferry_loop *loop = test_loop();
    for (const struct fd_kind *kind = fd_kinds; kind->name; kind++) {
        struct probe p = {.calls = 0};
        kind->submit(loop, &p.op, fd, 0);
        probe_wait(loop, &p);
        assert_int_equal(p.calls, 1);
        if (p.result != error) {
            fail_msg("%s on descriptor %d ended with %lld (%s)", kind->name, (int)fd,
                     (long long)p.result, ferry_error_name(p.result));
        }
        assert_int_equal(p.transferred, 0);
        assert_int_equal(p.flags, 0);
    }
    finish(loop);
}

static void trouble_descriptor_minus_one(void **state) {
    (void)state;
    each_ends_with(FERRY_FD_NONE, FERRY_EBADF);
}

static void trouble_descriptor_very_negative(void **state) {
    (void)state;
    each_ends_with(INT_MIN, FERRY_EBADF);
}

static void trouble_descriptor_never_opened(void **state) {
    (void)state;
    each_ends_with(closed_fd(), FERRY_EBADF);
}

/* No slot was reserved for such a number when the loop was opened. */
static void trouble_descriptor_beyond_limit(void **state) {
    (void)state;
    each_ends_with(INT_MAX, FERRY_EMFILE);
}

static void trouble_descriptor_closed_by_ferry(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd low = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(low >= 0);
    for (const struct fd_kind *kind = fd_kinds; kind->name; kind++) {
        /* A number that nothing else takes while it is closed. */
        ferry_fd fd = fcntl(low, F_DUPFD_CLOEXEC, 1000);
        assert_true(fd >= 1000);
        struct probe p = {.calls = 0};
        close_near(loop, fd);
        kind->submit(loop, &p.op, fd, 0);
        expect_all(loop, &p, FERRY_EBADF, 0, 0);
    }
    close_far(low);
    finish(loop);
}

/* Many at once: each has its own completion, none disturbs the others. */
static void trouble_descriptor_bad_beside_good(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe bad[32], good = {.calls = 0};
    ferry_fd fds[2];
    char buf[4];
    size_t count = 0;
    memset(bad, 0, sizeof bad);
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &good.op, fds[0], buf, sizeof buf, 0, probe_done);
    for (const struct fd_kind *kind = fd_kinds; kind->name && count < 32; kind++) {
        kind->submit(loop, &bad[count++].op, FERRY_FD_NONE, 0);
    }
    probe_wait_all(loop, bad, count);
    for (size_t i = 0; i < count; i++) probe_check(&bad[i], FERRY_EBADF);
    assert_int_equal(good.calls, 0);
    plain_send(fds[1], "abcd", 4);
    expect_all(loop, &good, 4, 4, 0);
    assert_memory_equal(buf, "abcd", 4);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Not open for this ----------------------------------------------------------------- */

static void trouble_descriptor_wrong_access(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *path = temp_path("file");
    char buf[4] = "abc";
    close_far(make_file(path, "data", 4));
    ferry_fd reads = open(path, O_RDONLY | O_CLOEXEC);
    ferry_fd writes = open(path, O_WRONLY | O_CLOEXEC);
    struct probe p[5];
    memset(p, 0, sizeof p);
    ferry_write(loop, &p[0].op, reads, buf, 3, 0, 0, probe_done);
    ferry_write(loop, &p[1].op, reads, buf, 3, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &p[2].op, writes, buf, 3, 0, 0, probe_done);
    ferry_read(loop, &p[3].op, writes, buf, 3, FERRY_CURRENT, 0, probe_done);
    ferry_truncate(loop, &p[4].op, reads, 0, 0, probe_done);
    for (int i = 0; i < 4; i++) expect_all(loop, &p[i], FERRY_EBADF, 0, 0);
    expect_all(loop, &p[4], FERRY_EINVAL, 0, 0);
    close_near(loop, reads);
    close_near(loop, writes);
    finish(loop);
}

static void trouble_pipe_wrong_end(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[2];
    ferry_fd fds[2];
    char buf[4] = "abc";
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_write(loop, &p[0].op, fds[0], buf, 3, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &p[1].op, fds[1], buf, 3, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[0], FERRY_EBADF, 0, 0);
    expect_all(loop, &p[1], FERRY_EBADF, 0, 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- Not of the kind ------------------------------------------------------------------- */

static void socket_operations_end(ferry_loop *loop, ferry_fd fd, int64_t error) {
    for (const struct fd_kind *kind = fd_kinds; kind->name; kind++) {
        static const char *const of_sockets[] = {"accept", "connect", "recv",
                                                 "recvv",  "recvmsg", "send",
                                                 "sendv",  "sendmsg", "shutdown"};
        struct probe p = {.calls = 0};
        for (size_t i = 0; i < sizeof of_sockets / sizeof *of_sockets; i++) {
            if (strcmp(kind->name, of_sockets[i]) != 0) continue;
            if (is_wine() && strcmp(kind->name, "shutdown") == 0) continue; /* has another error */
            kind->submit(loop, &p.op, fd, 0);
            expect_all(loop, &p, error, 0, 0);
        }
    }
}

static void trouble_not_a_socket(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], file = make_file(temp_path("file"), "data", 4);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    socket_operations_end(loop, file, FERRY_ENOTSOCK);
    socket_operations_end(loop, fds[0], FERRY_ENOTSOCK);
    socket_operations_end(loop, fds[1], FERRY_ENOTSOCK);
    ferry_addr addr;
    int error = ferry_local_addr(loop, file, &addr);
    if (omits_on_wine("Wine has another error for what is no socket")) assert_true(error < 0);
    else assert_int_equal(error, FERRY_ENOTSOCK);
    assert_int_equal(ferry_peer_addr(loop, file, &addr), FERRY_ENOTSOCK);
    close_near(loop, file);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* An offset means nothing to what cannot seek; the current position is where all of it happens. */
static void trouble_offset_where_none_is(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], pair[2];
    char buf[4] = "abc", got[4] = "";
    struct probe p[6];
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    unix_pair(pair, SOCK_STREAM);
    ferry_read(loop, &p[0].op, fds[0], got, 3, 0, 0, probe_done);
    ferry_write(loop, &p[1].op, fds[1], buf, 3, 5, 0, probe_done);
    ferry_read(loop, &p[2].op, pair[0], got, 3, 0, 0, probe_done);
    ferry_write(loop, &p[3].op, pair[1], buf, 3, 5, 0, probe_done);
    for (int i = 0; i < 4; i++) expect_all(loop, &p[i], FERRY_ESPIPE, 0, 0);
    ferry_write(loop, &p[4].op, fds[1], buf, 3, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &p[5].op, fds[0], got, 3, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[4], 3, 3, 0);
    expect_all(loop, &p[5], 3, 3, 0);
    assert_string_equal(got, "abc");
    for (int i = 0; i < 2; i++) {
        close_near(loop, fds[i]);
        close_near(loop, pair[i]);
    }
    finish(loop);
}

static void trouble_file_operations_on_socket(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd pair[2];
    struct probe p[2];
    memset(p, 0, sizeof p);
    unix_pair(pair, SOCK_STREAM);
    ferry_sync(loop, &p[0].op, pair[0], 0, probe_done);
    ferry_truncate(loop, &p[1].op, pair[0], 0, 0, probe_done);
    expect_all(loop, &p[0], FERRY_EINVAL, 0, 0);
    expect_all(loop, &p[1], FERRY_EINVAL, 0, 0);
    close_near(loop, pair[0]);
    close_far(pair[1]);
    finish(loop);
}

/* ---- Directories ----------------------------------------------------------------------- */

static void trouble_directory_where_file_is_meant(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], below[340], buf[16];
    struct probe p[8];
    memset(p, 0, sizeof p);
    snprintf(path, sizeof path, "%s", temp_path("dir"));
    assert_int_equal(mkdir(path, 0700), 0);
    ferry_open(loop, &p[0].op, path, FERRY_OPEN_WRITE, 0, 0, probe_done);
    ferry_open(loop, &p[1].op, path, FERRY_OPEN_READ | FERRY_OPEN_WRITE, 0, 0, probe_done);
    expect_all(loop, &p[0], FERRY_EISDIR, 0, 0);
    expect_all(loop, &p[1], FERRY_EISDIR, 0, 0);

    ferry_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    ferry_read(loop, &p[2].op, dir, buf, sizeof buf, 0, 0, probe_done);
    ferry_read(loop, &p[3].op, dir, buf, sizeof buf, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[4].op, dir, buf, sizeof buf, 0, 0, probe_done);
    ferry_truncate(loop, &p[5].op, dir, 0, 0, probe_done);
    expect_all(loop, &p[2], FERRY_EISDIR, 0, 0);
    expect_all(loop, &p[3], FERRY_EISDIR, 0, 0);
    expect_all(loop, &p[4], FERRY_EBADF, 0, 0);
    expect_all(loop, &p[5], FERRY_EINVAL, 0, 0);
    socket_operations_end(loop, dir, FERRY_ENOTSOCK);
    close_near(loop, dir);

    /* And a file where a directory is meant. */
    snprintf(path, sizeof path, "%s", temp_path("file"));
    snprintf(below, sizeof below, "%s/below", path);
    close_far(make_file(path, "data", 4));
    ferry_open(loop, &p[6].op, path, FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY, 0, 0, probe_done);
    ferry_open(loop, &p[7].op, below, FERRY_OPEN_READ, 0, 0, probe_done);
    expect_all(loop, &p[6], FERRY_ENOTDIR, 0, 0);
    expect_all(loop, &p[7], FERRY_ENOTDIR, 0, 0);
    finish(loop);
}

/* ---- Ordinary functions ---------------------------------------------------------------- */

static void trouble_descriptor_ordinary_functions(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd bad[] = {FERRY_FD_NONE, INT_MIN, closed_fd()};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
        assert_int_equal(ferry_bind(loop, bad[i], &addr), FERRY_EBADF);
        assert_int_equal(ferry_local_addr(loop, bad[i], &addr), FERRY_EBADF);
        assert_int_equal(ferry_peer_addr(loop, bad[i], &addr), FERRY_EBADF);
        ferry_cancel_fd(loop, bad[i]);
    }
    assert_int_equal(ferry_forget(loop, FERRY_FD_NONE), FERRY_EBADF);
    assert_int_equal(ferry_forget(loop, INT_MIN), FERRY_EBADF);
    finish(loop);
}

const struct contract_test trouble_descriptors_tests[] = {
    {"trouble_descriptor_minus_one", trouble_descriptor_minus_one, 0},
    {"trouble_descriptor_very_negative", trouble_descriptor_very_negative, 0},
    {"trouble_descriptor_never_opened", trouble_descriptor_never_opened, 0},
    {"trouble_descriptor_beyond_limit", trouble_descriptor_beyond_limit, 0},
    {"trouble_descriptor_closed_by_ferry", trouble_descriptor_closed_by_ferry, 0},
    {"trouble_descriptor_bad_beside_good", trouble_descriptor_bad_beside_good, 0},
    {"trouble_descriptor_wrong_access", trouble_descriptor_wrong_access, 0},
    {"trouble_pipe_wrong_end", trouble_pipe_wrong_end, 0},
    {"trouble_not_a_socket", trouble_not_a_socket, 0},
    {"trouble_offset_where_none_is", trouble_offset_where_none_is, 0},
    {"trouble_file_operations_on_socket", trouble_file_operations_on_socket, 0},
    {"trouble_directory_where_file_is_meant", trouble_directory_where_file_is_meant, 0},
    {"trouble_descriptor_ordinary_functions", trouble_descriptor_ordinary_functions, 0},
    {NULL, NULL, 0},
};
