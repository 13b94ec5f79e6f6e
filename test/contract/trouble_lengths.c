/* trouble_lengths.c - length 0, lengths over 2 GiB, and the end of files and streams
 *
 * Zero bytes are told apart by FERRY_EOF: only the end of a stream or file has it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL_MAX ((int64_t)(2 * GIB - 4 * KIB)) /* what one call of the system moves at most */

/* ---- Zero ------------------------------------------------------------------------------ */

static void zero_on(ferry_loop *loop, ferry_fd fd, void *buf, uint64_t offset) {
    struct probe p[8];
    ferry_vec empty[2] = {VEC(buf, 0), VEC(NULL, 0)};
    memset(p, 0, sizeof p);
    ferry_read(loop, &p[0].op, fd, buf, 0, offset, 0, probe_done);
    ferry_read(loop, &p[1].op, fd, buf, 0, offset, FERRY_ALL, probe_done);
    ferry_readv(loop, &p[2].op, fd, empty, 2, offset, 0, probe_done);
    ferry_readv(loop, &p[3].op, fd, NULL, 0, offset, 0, probe_done);
    ferry_write(loop, &p[4].op, fd, buf, 0, offset, 0, probe_done);
    ferry_write(loop, &p[5].op, fd, buf, 0, offset, FERRY_SOME, probe_done);
    ferry_writev(loop, &p[6].op, fd, empty, 2, offset, 0, probe_done);
    ferry_writev(loop, &p[7].op, fd, NULL, 0, offset, 0, probe_done);
    for (int i = 0; i < 8; i++) expect_all(loop, &p[i], 0, 0, 0);
}

static void trouble_length_zero_of_files(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char buf[4] = "";
    ferry_fd fd = make_file(temp_path("file"), "data", 4);
    zero_on(loop, fd, buf, 0);
    zero_on(loop, fd, NULL, 0);
    zero_on(loop, fd, buf, FERRY_CURRENT);
    zero_on(loop, fd, buf, 4);    /* at the end, and past it: still nothing was asked for */
    zero_on(loop, fd, buf, 1000); /* and a write of nothing makes no file longer */
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    assert_int_equal(about.st_size, 4);
    close_near(loop, fd);
    finish(loop);
}

/* Nothing is there to receive, and nobody waits for it. */
static void zero_on_stream(ferry_loop *loop, ferry_fd fd, void *buf) {
    struct probe p[8];
    ferry_vec empty[2] = {VEC(NULL, 0), VEC(buf, 0)};
    memset(p, 0, sizeof p);
    ferry_recv(loop, &p[0].op, fd, buf, 0, 0, probe_done);
    ferry_recv(loop, &p[1].op, fd, buf, 0, FERRY_ALL, probe_done);
    ferry_recvv(loop, &p[2].op, fd, empty, 2, 0, probe_done);
    ferry_recvv(loop, &p[3].op, fd, NULL, 0, 0, probe_done);
    ferry_send(loop, &p[4].op, fd, buf, 0, 0, probe_done);
    ferry_send(loop, &p[5].op, fd, buf, 0, FERRY_SOME, probe_done);
    ferry_sendv(loop, &p[6].op, fd, empty, 2, 0, probe_done);
    ferry_sendv(loop, &p[7].op, fd, NULL, 0, 0, probe_done);
    for (int i = 0; i < 8; i++) expect_all(loop, &p[i], 0, 0, 0);
}

static void trouble_length_zero_of_streams(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe p = {.calls = 0};
    char buf[8];
    for (int unix_too = 0; unix_too < 2; unix_too++) {
        if (unix_too) unix_pair(fds, SOCK_STREAM);
        else tcp_pair(loop, fds);
        zero_on_stream(loop, fds[0], buf);
        zero_on_stream(loop, fds[0], NULL);
        /* Nothing was taken and nothing was sent by all that. */
        plain_send(fds[1], "after", 5);
        memset(&p, 0, sizeof p);
        ferry_recv(loop, &p.op, fds[0], buf, 5, FERRY_ALL, probe_done);
        expect_all(loop, &p, 5, 5, 0);
        assert_memory_equal(buf, "after", 5);
        int ended = 0;
        assert_int_equal(far_take(fds[1], buf, 8, &ended), 0);
        assert_int_equal(ended, 0);

        /* At the end of the stream nothing is still nothing, and the end is told to who asks. */
        close_far(fds[1]);
        struct probe zero = {.calls = 0}, end = {.calls = 0};
        ferry_recv(loop, &zero.op, fds[0], buf, 0, 0, probe_done);
        expect_all(loop, &zero, 0, 0, 0);
        ferry_recv(loop, &end.op, fds[0], buf, 1, 0, probe_done);
        expect_all(loop, &end, 0, 0, FERRY_EOF);
        close_near(loop, fds[0]);
    }
    finish(loop);
}

static void trouble_length_zero_of_pipes(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe p[3];
    char buf[4];
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_read(loop, &p[0].op, fds[0], buf, 0, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[1].op, fds[1], buf, 0, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    expect_all(loop, &p[1], 0, 0, 0);
    close_near(loop, fds[1]);
    ferry_read(loop, &p[2].op, fds[0], buf, 4, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[2], 0, 0, FERRY_EOF);
    close_near(loop, fds[0]);
    finish(loop);
}

/* An empty datagram is a message like any other: it arrives, in its place, and ends nothing. */
static void trouble_empty_datagram(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe send[3], recv[3];
    char buf[3][8];
    memset(send, 0, sizeof send);
    memset(recv, 0, sizeof recv);
    unix_pair(fds, SOCK_DGRAM);
    for (int i = 0; i < 3; i++) {
        ferry_recv(loop, &recv[i].op, fds[1], buf[i], sizeof buf[i], 0, probe_done);
    }
    ferry_send(loop, &send[0].op, fds[0], "one", 3, 0, probe_done);
    ferry_send(loop, &send[1].op, fds[0], NULL, 0, 0, probe_done);
    ferry_send(loop, &send[2].op, fds[0], "three", 5, 0, probe_done);
    expect_all(loop, &send[0], 3, 3, 0);
    expect_all(loop, &send[1], 0, 0, 0);
    expect_all(loop, &send[2], 5, 5, 0);
    expect_all(loop, &recv[0], 3, 3, 0);
    expect_all(loop, &recv[1], 0, 0, 0);
    expect_all(loop, &recv[2], 5, 5, 0);
    assert_memory_equal(buf[0], "one", 3);
    assert_memory_equal(buf[2], "three", 5);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- The end --------------------------------------------------------------------------- */

static void trouble_read_past_the_end(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[6];
    char buf[8];
    ferry_vec vec = VEC(buf, sizeof buf);
    ferry_fd fd = make_file(temp_path("file"), "data", 4);
    memset(p, 0, sizeof p);
    ferry_read(loop, &p[0].op, fd, buf, 8, 4, 0, probe_done);
    ferry_read(loop, &p[1].op, fd, buf, 8, UINT64_C(1) << 40, 0, probe_done);
    ferry_read(loop, &p[2].op, fd, buf, 8, 4, FERRY_ALL, probe_done);
    ferry_readv(loop, &p[3].op, fd, &vec, 1, 4, 0, probe_done);
    for (int i = 0; i < 4; i++) expect_all(loop, &p[i], 0, 0, FERRY_EOF);
    /* Across the end: what there is, and no end told with it. */
    ferry_read(loop, &p[4].op, fd, buf, 8, 1, 0, probe_done);
    expect_all(loop, &p[4], 3, 3, 0);
    assert_memory_equal(buf, "ata", 3);
    ferry_read(loop, &p[5].op, fd, buf, 8, 1, FERRY_ALL, probe_done);
    expect_all(loop, &p[5], 3, 3, 0);
    close_near(loop, fd);
    finish(loop);
}

/* ---- Over 2 GiB ------------------------------------------------------------------------ */

/* A range of addresses as long as asked with two megabytes of memory behind all of it, so that
 * gigabytes can be read without having them. */
static char *folded_map(size_t len) {
    if (TEST_WINDOWS) return vast_map(len); /* which may be read without being there */
    size_t fold = 2 * MIB;
    ferry_fd fd = temp_file("fold", 0, 0);
    assert_int_equal(ftruncate(fd, (off_t)fold), 0);
    char *map = vast_map(len);
    for (size_t at = 0; at < len; at += fold) {
        size_t n = len - at < fold ? len - at : fold;
        void *got = mmap(map + at, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        assert_true(got == map + at);
    }
    assert_int_equal(close(fd), 0);
    return map;
}

static void trouble_length_vast_is_short(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = 5 * GIB; /* does not fit 32 bits */
    char *vast = vast_map(len);
    ferry_fd fds[2], file = make_file(temp_path("file"), "file data", 9), pipe[2];
    struct probe p[5];
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    assert_int_equal(ferry_pipe(loop, pipe), 0);
    plain_send(fds[1], "hello", 5);
    ferry_recv(loop, &p[0].op, fds[0], vast, len, 0, probe_done);
    expect_all(loop, &p[0], 5, 5, 0);
    assert_memory_equal(vast, "hello", 5);
    ferry_read(loop, &p[1].op, file, vast, len, 0, 0, probe_done);
    expect_all(loop, &p[1], 9, 9, 0);
    assert_memory_equal(vast, "file data", 9);
    ferry_read(loop, &p[2].op, file, vast, len, 5, FERRY_ALL, probe_done);
    expect_all(loop, &p[2], 4, 4, 0);
    assert_int_equal(write(pipe[1], "piped", 5), 5);
    ferry_read(loop, &p[3].op, pipe[0], vast, len, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[3], 5, 5, 0);
    /* Whole receives end with the stream, however much more was asked for. */
    ferry_recv(loop, &p[4].op, fds[0], vast, len, FERRY_ALL, probe_done);
    plain_send(fds[1], "bye", 3);
    close_far(fds[1]);
    expect_all(loop, &p[4], 3, 3, 0);
    close_near(loop, fds[0]);
    close_near(loop, file);
    close_near(loop, pipe[0]);
    close_near(loop, pipe[1]);
    vast_unmap(vast, len);
    finish(loop);
}

static void trouble_length_vast_read(void **state) {
    (void)state;
    differs_on_windows("no file without an end on Windows");
    ferry_loop *loop = test_loop();
    size_t len = 2 * GIB + MIB + 123;
    char *folded = folded_map(len);
    ferry_fd zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct probe once = {.calls = 0}, all = {.calls = 0};
    assert_true(zeros >= 0);
    ferry_read(loop, &once.op, zeros, folded, len, FERRY_CURRENT, 0, probe_done);
    probe_wait(loop, &once);
    assert_in_range(once.result, 1, CALL_MAX);
    assert_int_equal(once.transferred, once.result);
    ferry_read(loop, &all.op, zeros, folded, len, FERRY_CURRENT, FERRY_ALL, probe_done);
    expect_all(loop, &all, (int64_t)len, len, 0);
    close_near(loop, zeros);
    vast_unmap(folded, len);
    finish(loop);
}

static void trouble_length_vast_write(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = 5 * GIB + 7;
    char *vast = vast_map(len);
    ferry_vec vecs[3] = {VEC(vast, 3 * GIB), VEC(vast, 1), VEC(vast, len)};
    ferry_fd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct probe p[3];
    assert_true(null >= 0);
    memset(p, 0, sizeof p);
    ferry_write(loop, &p[0].op, null, vast, len, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p[0], (int64_t)len, len, 0);
    ferry_write(loop, &p[1].op, null, vast, len, FERRY_CURRENT, FERRY_SOME, probe_done);
    probe_wait(loop, &p[1]);
    assert_in_range(p[1].result, 1, CALL_MAX);
    if (sizeof vecs[0].len == sizeof len) {
        ferry_writev(loop, &p[2].op, null, vecs, 3, FERRY_CURRENT, 0, probe_done);
        expect_all(loop, &p[2], (int64_t)(8 * GIB + 8), 8 * GIB + 8, 0);
    }
    close_near(loop, null);
    vast_unmap(vast, len);
    finish(loop);
}

/* A far end that takes all and keeps nothing. */
struct drain {
    ferry_fd fd;
    uint64_t total;
};

static void *drain_run(void *arg) {
    static char scrap[MIB];
    struct drain *d = arg;
    for (;;) {
        ssize_t n = recv(d->fd, scrap, sizeof scrap, TEST_MSG_DISCARD);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return NULL;
        d->total += (uint64_t)n;
    }
}

static void trouble_length_vast_send(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = 2 * GIB + 12345;
    char *folded = folded_map(len);
    ferry_fd fds[2];
    struct probe p = {.calls = 0};
    pthread_t thread;
    tcp_pair(loop, fds);
    struct drain drain = {.fd = fds[1]};
    assert_int_equal(pthread_create(&thread, NULL, drain_run, &drain), 0);
    ferry_send(loop, &p.op, fds[0], folded, len, 0, probe_done);
    expect_all(loop, &p, (int64_t)len, len, 0);
    close_near(loop, fds[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(drain.total, len);
    close_far(fds[1]);
    vast_unmap(folded, len);
    finish(loop);
}

const struct contract_test trouble_lengths_tests[] = {
    {"trouble_length_zero_of_files", trouble_length_zero_of_files, 0},
    {"trouble_length_zero_of_streams", trouble_length_zero_of_streams, 0},
    {"trouble_length_zero_of_pipes", trouble_length_zero_of_pipes, 0},
    {"trouble_empty_datagram", trouble_empty_datagram, 0},
    {"trouble_read_past_the_end", trouble_read_past_the_end, 0},
    {"trouble_length_vast_is_short", trouble_length_vast_is_short, 0},
    {"trouble_length_vast_read", trouble_length_vast_read, 0},
    {"trouble_length_vast_write", trouble_length_vast_write, 0},
    {"trouble_length_vast_send", trouble_length_vast_send, 120},
    {NULL, NULL, 0},
};
