/* trouble_arguments.c - NULL pointers with a length, flags that do not apply, numbers out of range
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket, a file and the ends of a pipe, so that nothing but the argument is wrong. */
struct targets {
    ferry_fd pair[2], file, pipe[2];
};

static void targets_open(ferry_loop *loop, struct targets *t) {
    unix_pair(t->pair, SOCK_STREAM);
    t->file = make_file(temp_path("file"), "0123456789", 10);
    assert_int_equal(ferry_pipe(loop, t->pipe), 0);
}

static void targets_close(ferry_loop *loop, struct targets *t) {
    close_near(loop, t->file);
    for (int i = 0; i < 2; i++) {
        close_near(loop, t->pair[i]);
        close_near(loop, t->pipe[i]);
    }
}

/* ---- Memory that is not there ---------------------------------------------------------- */

static void trouble_null_buffer(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct targets t;
    struct probe p[8];
    size_t n = 0;
    memset(p, 0, sizeof p);
    targets_open(loop, &t);
    ferry_recv(loop, &p[n++].op, t.pair[0], NULL, 5, 0, probe_done);
    ferry_recv(loop, &p[n++].op, t.pair[0], NULL, 5, FERRY_ALL, probe_done);
    ferry_send(loop, &p[n++].op, t.pair[0], NULL, 5, 0, probe_done);
    ferry_read(loop, &p[n++].op, t.file, NULL, 5, 0, 0, probe_done);
    ferry_read(loop, &p[n++].op, t.pipe[0], NULL, 5, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[n++].op, t.file, NULL, 5, 0, 0, probe_done);
    ferry_write(loop, &p[n++].op, t.file, NULL, 5, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[n++].op, t.pipe[1], NULL, 5, FERRY_CURRENT, 0, probe_done);
    probe_wait_all(loop, p, n);
    for (size_t i = 0; i < n; i++) expect_all(loop, &p[i], FERRY_EFAULT, 0, 0);
    targets_close(loop, &t);
    finish(loop);
}

static void each_vectored(ferry_loop *loop, struct targets *t, const ferry_vec *vecs,
                          size_t count) {
    struct probe p[6];
    memset(p, 0, sizeof p);
    ferry_recvv(loop, &p[0].op, t->pair[0], vecs, count, 0, probe_done);
    ferry_sendv(loop, &p[1].op, t->pair[0], vecs, count, 0, probe_done);
    ferry_readv(loop, &p[2].op, t->file, vecs, count, 0, 0, probe_done);
    ferry_writev(loop, &p[3].op, t->file, vecs, count, 0, 0, probe_done);
    ferry_readv(loop, &p[4].op, t->pipe[0], vecs, count, FERRY_CURRENT, 0, probe_done);
    ferry_writev(loop, &p[5].op, t->pipe[1], vecs, count, FERRY_CURRENT, 0, probe_done);
    probe_wait_all(loop, p, 6);
    for (size_t i = 0; i < 6; i++) expect_all(loop, &p[i], FERRY_EFAULT, 0, 0);
}

static void trouble_null_vectors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct targets t;
    ferry_vec piece = VEC(NULL, 5);
    targets_open(loop, &t);
    each_vectored(loop, &t, NULL, 2);
    each_vectored(loop, &t, &piece, 1);
    targets_close(loop, &t);
    finish(loop);
}

static void trouble_null_path_and_address(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fd;
    ferry_file file;
    struct probe p[5];
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    ferry_open(loop, &p[0].op, NULL, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_stat(loop, &p[1].op, NULL, &file, 0, probe_done);
    ferry_stat(loop, &p[2].op, "/", NULL, 0, probe_done);
    ferry_connect(loop, &p[3].op, fd, NULL, 0, probe_done);
    ferry_work(loop, &p[4].op, NULL, NULL, 0, probe_done);
    for (int i = 0; i < 5; i++) expect_all(loop, &p[i], FERRY_EFAULT, 0, 0);
    close_near(loop, fd);
    finish(loop);
}

/* Memory that was there once: the system finds out, the program goes on. */
static void trouble_unmapped_buffer(void **state) {
    (void)state;
    if (strstr(test_masked(), "skip") || strstr(test_masked(), "all")) {
        differs_on_wine("Wine tells of a write that it refused twice");
    }
    ferry_loop *loop = test_loop();
    struct targets t;
    struct probe p[4];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *gone = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(gone != MAP_FAILED);
    memset(p, 0, sizeof p);
    targets_open(loop, &t);
    plain_send(t.pair[1], "hello", 5);
    ferry_recv(loop, &p[0].op, t.pair[0], gone, 5, 0, probe_done);
    ferry_send(loop, &p[1].op, t.pair[0], gone, 5, 0, probe_done);
    ferry_read(loop, &p[2].op, t.file, gone, 5, 0, 0, probe_done);
    ferry_write(loop, &p[3].op, t.file, gone, 5, 0, 0, probe_done);
    probe_wait_all(loop, p, 4);
    for (size_t i = 0; i < 4; i++) expect_all(loop, &p[i], FERRY_EFAULT, 0, 0);
    vast_unmap(gone, page);
    targets_close(loop, &t);
    finish(loop);
}

/* ---- Flags ----------------------------------------------------------------------------- */

static const unsigned all_flags[] = {FERRY_SOME, FERRY_ALL, FERRY_DATA,  0x20u,      FERRY_ZEROCOPY,
                                     0x8000u,    0x10000u,  0x40000000u, 0x80000000u};

static void trouble_flags_that_do_not_apply(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    for (const struct fd_kind *kind = fd_kinds; kind->name; kind++) {
        for (size_t i = 0; i < sizeof all_flags / sizeof *all_flags; i++) {
            if (kind->flags & all_flags[i]) continue;
            struct probe p = {.calls = 0};
            kind->submit(loop, &p.op, fds[0], all_flags[i]);
            probe_wait(loop, &p);
            if (p.result != FERRY_EINVAL) {
                fail_msg("%s with flag 0x%x ended with %lld (%s)", kind->name, all_flags[i],
                         (long long)p.result, ferry_error_name(p.result));
            }
            probe_check(&p, FERRY_EINVAL);
        }
    }
    /* A close that was refused closes nothing. */
    assert_true(fcntl(fds[0], F_GETFD) >= 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static int64_t never(void *arg) {
    *(int *)arg = 1;
    return 0;
}

static void trouble_flags_without_descriptor(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static ferry_file file;
    static int called;
    for (size_t i = 0; i < sizeof all_flags / sizeof *all_flags; i++) {
        struct probe p[5];
        unsigned flags = all_flags[i];
        memset(p, 0, sizeof p);
        ferry_nop(loop, &p[0].op, flags, probe_done);
        ferry_timer(loop, &p[1].op, 1, 0, flags, probe_done);
        ferry_work(loop, &p[2].op, never, &called, flags, probe_done);
        ferry_open(loop, &p[3].op, "/dev/null", FERRY_OPEN_READ, 0, flags, probe_done);
        ferry_stat(loop, &p[4].op, "/dev/null", &file, flags, probe_done);
        for (int k = 0; k < 5; k++) expect_all(loop, &p[k], FERRY_EINVAL, 0, 0);
    }
    assert_int_equal(called, 0);
    finish(loop);
}

static void trouble_open_how(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    snprintf(path, sizeof path, "%s", temp_path("none"));
    const unsigned how[] = {0, FERRY_OPEN_CREATE, FERRY_OPEN_TRUNCATE, FERRY_OPEN_READ | 0x400u,
                            FERRY_OPEN_READ | 0x80000000u};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        struct probe p = {.calls = 0};
        ferry_open(loop, &p.op, path, how[i], 0600, 0, probe_done);
        expect_all(loop, &p, FERRY_EINVAL, 0, 0);
    }
    assert_int_equal(access(path, F_OK), -1);
    finish(loop);
}

static void trouble_shutdown_how(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe p[3];
    char byte = 'x';
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    ferry_shutdown(loop, &p[0].op, fds[0], (enum ferry_shutdown_how)0, 0, probe_done);
    ferry_shutdown(loop, &p[1].op, fds[0], (enum ferry_shutdown_how)4, 0, probe_done);
    expect_all(loop, &p[0], FERRY_EINVAL, 0, 0);
    expect_all(loop, &p[1], FERRY_EINVAL, 0, 0);
    ferry_send(loop, &p[2].op, fds[0], &byte, 1, 0, probe_done);
    expect_all(loop, &p[2], 1, 1, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Numbers --------------------------------------------------------------------------- */

static void trouble_offsets_out_of_range(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct targets t;
    char buf[8] = "";
    const uint64_t high[] = {UINT64_C(1) << 63, (UINT64_C(1) << 63) + 5, UINT64_MAX - 1};
    targets_open(loop, &t);
    for (size_t i = 0; i < 3; i++) {
        struct probe p[3];
        memset(p, 0, sizeof p);
        ferry_read(loop, &p[0].op, t.file, buf, 8, high[i], 0, probe_done);
        ferry_write(loop, &p[1].op, t.file, buf, 8, high[i], 0, probe_done);
        ferry_truncate(loop, &p[2].op, t.file, high[i] + 1, 0, probe_done);
        for (int k = 0; k < 3; k++) expect_all(loop, &p[k], FERRY_EINVAL, 0, 0);
    }
    /* The last offset that there is lies past the end of every file, and nothing can be put there.
     */
    struct probe at_end[2];
    memset(at_end, 0, sizeof at_end);
    ferry_read(loop, &at_end[0].op, t.file, buf, 8, INT64_MAX - 8, 0, probe_done);
    expect_all(loop, &at_end[0], 0, 0, FERRY_EOF);
    ferry_write(loop, &at_end[1].op, t.file, buf, 8, INT64_MAX - 8, 0, probe_done);
    expect_all(loop, &at_end[1], FERRY_EFBIG, 0, 0);
    targets_close(loop, &t);
    finish(loop);
}

static void trouble_ordinary_arguments(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fd = FERRY_FD_NONE, fds[2];
    assert_int_equal(ferry_socket(loop, &fd, (enum ferry_family)0, FERRY_STREAM), FERRY_EINVAL);
    assert_int_equal(ferry_socket(loop, &fd, (enum ferry_family)9, FERRY_STREAM), FERRY_EINVAL);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, (enum ferry_socket_type)0), FERRY_EINVAL);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, (enum ferry_socket_type)9), FERRY_EINVAL);
    assert_true(ferry_socket(loop, &fd, FERRY_INET, FERRY_SEQPACKET) < 0);
    assert_int_equal(ferry_socketpair(loop, fds, (enum ferry_socket_type)0), FERRY_EINVAL);
    assert_int_equal(ferry_run(loop, (enum ferry_run_mode)17), FERRY_EINVAL);
    finish(loop);
}

const struct contract_test trouble_arguments_tests[] = {
    {"trouble_null_buffer", trouble_null_buffer, 0},
    {"trouble_null_vectors", trouble_null_vectors, 0},
    {"trouble_null_path_and_address", trouble_null_path_and_address, 0},
    {"trouble_unmapped_buffer", trouble_unmapped_buffer, 0},
    {"trouble_flags_that_do_not_apply", trouble_flags_that_do_not_apply, 0},
    {"trouble_flags_without_descriptor", trouble_flags_without_descriptor, 0},
    {"trouble_open_how", trouble_open_how, 0},
    {"trouble_shutdown_how", trouble_shutdown_how, 0},
    {"trouble_offsets_out_of_range", trouble_offsets_out_of_range, 0},
    {"trouble_ordinary_arguments", trouble_ordinary_arguments, 0},
    {NULL, NULL, 0},
};
