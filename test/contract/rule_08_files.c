/* Rule 8, continued: files, pipes and datagrams.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG (3u << 20)

static char *buffer(size_t len, uint64_t seed) {
    char *buf = malloc(len);
    assert_non_null(buf);
    fill(buf, len, seed);
    return buf;
}

static void contract_08_file_writes_are_whole(void **state) {
    (void)state;
    struct probe p[2] = {{.calls = 0}};
    char *out = buffer(BIG, 1), *in = calloc(1, BIG);
    assert_non_null(in);
    ferry_vec vecs[3];
    ferry_fd fd = temp_file("data", 0, 0);
    ferry_loop *loop = test_loop();
    vecs[0].data = out + BIG / 2;
    vecs[0].len = 1;
    vecs[1].data = NULL;
    vecs[1].len = 0;
    vecs[2].data = out + BIG / 2 + 1;
    vecs[2].len = BIG / 2 - 1;
    ferry_write(loop, &p[0].op, fd, out, BIG / 2, 0, 0, probe_done);
    ferry_writev(loop, &p[1].op, fd, vecs, 3, BIG / 2, 0, probe_done);
    run_done(loop);
    for (int i = 0; i < 2; i++) {
        probe_check(&p[i], BIG / 2);
        assert_int_equal(p[i].transferred, BIG / 2);
    }
    assert_int_equal(pread(fd, in, BIG, 0), BIG);
    assert_true(is_filled(in, BIG, 1));
    test_close(loop);
    close(fd);
    free(out);
    free(in);
}

static void contract_08_reading_to_the_end_of_a_file(void **state) {
    (void)state;
    enum { SHORT, ALL, VECTORS, AT_END, PAST_END, ALL_AT_END, COUNT };
    struct probe p[COUNT] = {{.calls = 0}};
    char bufs[COUNT][200];
    ferry_vec vecs[2] = {VEC(bufs[VECTORS], 30), VEC(bufs[VECTORS] + 30, 170)};
    ferry_fd fd = temp_file("data", 100, 8);
    ferry_loop *loop = test_loop();
    ferry_read(loop, &p[SHORT].op, fd, bufs[SHORT], 200, 60, 0, probe_done);
    ferry_read(loop, &p[ALL].op, fd, bufs[ALL], 200, 10, FERRY_ALL, probe_done);
    ferry_readv(loop, &p[VECTORS].op, fd, vecs, 2, 20, FERRY_ALL, probe_done);
    ferry_read(loop, &p[AT_END].op, fd, bufs[AT_END], 200, 100, 0, probe_done);
    ferry_read(loop, &p[PAST_END].op, fd, bufs[PAST_END], 200, 5000, 0, probe_done);
    ferry_read(loop, &p[ALL_AT_END].op, fd, bufs[ALL_AT_END], 200, 100, FERRY_ALL, probe_done);
    run_done(loop);
    static const int64_t counts[COUNT] = {40, 90, 80, 0, 0, 0};
    static const uint64_t offsets[COUNT] = {60, 10, 20, 0, 0, 0};
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], counts[i]);
        assert_int_equal(p[i].transferred, counts[i]);
        assert_int_equal(p[i].flags, counts[i] ? 0 : FERRY_EOF);
        assert_true(is_filled(bufs[i], (size_t)counts[i], 8 + offsets[i]));
    }
    test_close(loop);
    close(fd);
}

/* Runs the loop and takes what arrives, until p has ended and nothing more is to come. */
static size_t reader(ferry_loop *loop, struct probe *p, ferry_fd fd, uint64_t seed, size_t len) {
    static char buf[30000];
    size_t got = 0;
    uint64_t start_ns = clock_ns();
    while (p->finals == 0 || got < len) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        long n = plain_take(fd, buf, sizeof buf);
        if (n < 0) break;
        assert_true(is_filled(buf, (size_t)n, seed + got));
        got += (size_t)n;
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    return got;
}

static void contract_08_pipe_writes_are_whole(void **state) {
    (void)state;
    struct probe whole = {.calls = 0}, vectors = {.calls = 0}, some = {.calls = 0};
    char *out = buffer(BIG, 5);
    ferry_vec vecs[2] = {VEC(out, 100001), VEC(out + 100001, BIG - 100001)};
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_write(loop, &whole.op, fds[1], out, BIG, FERRY_CURRENT, 0, probe_done);
    assert_int_equal(reader(loop, &whole, fds[0], 5, BIG), BIG);
    probe_check(&whole, BIG);
    ferry_writev(loop, &vectors.op, fds[1], vecs, 2, FERRY_CURRENT, 0, probe_done);
    assert_int_equal(reader(loop, &vectors, fds[0], 5, BIG), BIG);
    probe_check(&vectors, BIG);
    ferry_write(loop, &some.op, fds[1], out, BIG, FERRY_CURRENT, FERRY_SOME, probe_done);
    run_done(loop);
    assert_true(some.result > 0 && some.result < BIG);
    assert_int_equal(some.transferred, some.result);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(out);
}

static void contract_08_pipe_reads(void **state) {
    (void)state;
    struct probe some = {.calls = 0}, all = {.calls = 0}, last = {.calls = 0}, end = {.calls = 0};
    char a[100], b[100], c[100];
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_read(loop, &some.op, fds[0], a, sizeof a, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &all.op, fds[0], b, sizeof b, FERRY_CURRENT, FERRY_ALL, probe_done);
    ferry_read(loop, &last.op, fds[0], c, sizeof c, FERRY_CURRENT, FERRY_ALL, probe_done);
    ferry_read(loop, &end.op, fds[0], a, sizeof a, FERRY_CURRENT, 0, probe_done);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    probe_wait(loop, &some);
    probe_check(&some, 3);
    assert_memory_equal(a, "abc", 3);
    char out[110];
    fill(out, sizeof out, 4);
    assert_int_equal(write(fds[1], out, 60), 60);
    run_for(loop, 5 * MS);
    assert_int_equal(all.calls, 0);
    assert_int_equal(write(fds[1], out + 60, 50), 50);
    probe_wait(loop, &all);
    probe_check(&all, 100);
    assert_true(is_filled(b, 100, 4));
    close(fds[1]);
    run_done(loop);
    probe_check(&last, 10);
    assert_true(is_filled(c, 10, 104));
    probe_check(&end, 0);
    assert_int_equal(end.flags, FERRY_EOF);
    test_close(loop);
    close(fds[0]);
}

static void contract_08_pipe_write_cut_short(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char *out = buffer(BIG, 5);
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_write(loop, &p.op, fds[1], out, BIG, FERRY_CURRENT, 0, probe_done);
    run_for(loop, 10 * MS);
    assert_int_equal(p.calls, 0);
    close(fds[0]);
    run_done(loop);
    probe_check(&p, FERRY_EPIPE);
    assert_true(p.transferred > 0 && p.transferred < BIG);
    test_close(loop);
    close(fds[1]);
    free(out);
}

/* Datagrams keep their bounds: one send is one message, and what does not fit is cut. */
static void contract_08_datagrams_keep_their_bounds(void **state) {
    (void)state;
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    for (int t = 0; t < 1 + TEST_SEQPACKET; t++) {
        struct probe out[3] = {{.calls = 0}}, in[3] = {{.calls = 0}};
        char bufs[3][100];
        ferry_vec vecs[2] = {VEC((char *)(uintptr_t) "second ", 7),
                             VEC((char *)(uintptr_t) "message", 7)};
        ferry_fd fds[2];
        unix_pair(fds, types[t]);
        ferry_loop *loop = test_loop();
        ferry_recv(loop, &in[0].op, fds[1], bufs[0], 100, 0, probe_done);
        ferry_recv(loop, &in[1].op, fds[1], bufs[1], 100, 0, probe_done);
        ferry_recv(loop, &in[2].op, fds[1], bufs[2], 5, 0, probe_done);
        ferry_send(loop, &out[0].op, fds[0], "first", 5, 0, probe_done);
        ferry_sendv(loop, &out[1].op, fds[0], vecs, 2, 0, probe_done);
        ferry_send(loop, &out[2].op, fds[0], "third, too long", 15, 0, probe_done);
        run_done(loop);
        probe_check(&out[0], 5);
        probe_check(&out[1], 14);
        probe_check(&out[2], 15);
        probe_check(&in[0], 5);
        probe_check(&in[1], 14);
        probe_check(&in[2], 5);
        assert_memory_equal(bufs[0], "first", 5);
        assert_memory_equal(bufs[1], "second message", 14);
        assert_memory_equal(bufs[2], "third", 5);
        assert_int_equal(in[2].transferred, 5);
        test_close(loop);
        close(fds[0]);
        close(fds[1]);
    }
}

/* What operations on files say besides: sizes, metadata, descriptors. */
static void contract_08_the_life_of_a_file(void **state) {
    (void)state;
    struct probe p = {.calls = 0}, q = {.calls = 0}, stat_probe = {.calls = 0};
    ferry_file file;
    struct stat plain;
    char *path = temp_path("made"), buf[20];
    ferry_loop *loop = test_loop();
    ferry_open(loop, &p.op, path, FERRY_OPEN_READ | FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0640, 0,
               probe_done);
    run_done(loop);
    assert_true(p.result >= 0);
    ferry_fd fd = (ferry_fd)p.result;
    assert_int_equal(p.transferred, 0);
    ferry_write(loop, &q.op, fd, "0123456789", 10, 5, 0, probe_done);
    run_done(loop);
    probe_check(&q, 10);
    memset(&q, 0, sizeof q);
    ferry_sync(loop, &q.op, fd, 0, probe_done);
    run_done(loop);
    probe_check(&q, 0);
    memset(&q, 0, sizeof q);
    ferry_truncate(loop, &q.op, fd, 12, 0, probe_done);
    run_done(loop);
    probe_check(&q, 0);
    ferry_stat(loop, &stat_probe.op, path, &file, 0, probe_done);
    run_done(loop);
    probe_check(&stat_probe, 0);
    assert_int_equal(stat(path, &plain), 0);
    assert_int_equal(file.type, FERRY_FILE_REGULAR);
    assert_int_equal(file.size, 12);
    assert_int_equal(file.permissions, plain.st_mode & 07777);
    assert_int_equal(file.user, plain.st_uid);
    assert_int_equal(file.group, plain.st_gid);
    assert_int_equal(file.links, 1);
    assert_int_equal(file.inode, plain.st_ino);
    assert_int_equal(file.allocated, (uint64_t)plain.st_blocks * 512);
    assert_int_equal(file.modified_ns,
                     (int64_t)plain.st_mtim.tv_sec * 1000000000 + plain.st_mtim.tv_nsec);
    assert_int_equal(pread(fd, buf, sizeof buf, 0), 12);
    assert_memory_equal(buf,
                        "\0\0\0\0\0"
                        "0123456",
                        12);
    ferry_close(loop, NULL, fd, 0, NULL);
    run_done(loop);
    test_close(loop);
}

const struct contract_test rule_08_file_tests[] = {
    {"contract_08_file_writes_are_whole", contract_08_file_writes_are_whole, 0},
    {"contract_08_reading_to_the_end_of_a_file", contract_08_reading_to_the_end_of_a_file, 0},
    {"contract_08_pipe_writes_are_whole", contract_08_pipe_writes_are_whole, 0},
    {"contract_08_pipe_reads", contract_08_pipe_reads, 0},
    {"contract_08_pipe_write_cut_short", contract_08_pipe_write_cut_short, 0},
    {"contract_08_datagrams_keep_their_bounds", contract_08_datagrams_keep_their_bounds, 0},
    {"contract_08_the_life_of_a_file", contract_08_the_life_of_a_file, 0},
    {NULL, NULL, 0}};
