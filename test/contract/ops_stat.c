/* ops_stat.c - what ferry_stat() tells, against what stat(2) does
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t ns_of(const struct timespec *at) {
    return (int64_t)at->tv_sec * (int64_t)SECOND + at->tv_nsec;
}

static enum ferry_file_type type_of(mode_t mode) {
    if (S_ISREG(mode)) return FERRY_FILE_REGULAR;
    if (S_ISDIR(mode)) return FERRY_FILE_DIRECTORY;
    if (S_ISLNK(mode)) return FERRY_FILE_SYMLINK;
    if (S_ISFIFO(mode)) return FERRY_FILE_FIFO;
    if (S_ISSOCK(mode)) return FERRY_FILE_SOCKET;
    if (S_ISCHR(mode)) return FERRY_FILE_CHARACTER;
    if (S_ISBLK(mode)) return FERRY_FILE_BLOCK;
    return FERRY_FILE_OTHER;
}

/* Compares all fields. Times of things that others use may move between the two looks. */
static void same_as_system(ferry_loop *loop, const char *path, int is_ours) {
    struct stat expected;
    struct probe p = {.calls = 0};
    ferry_file file;
    memset(&file, 0xa5, sizeof file);
    assert_int_equal(stat(path, &expected), 0);
    ferry_stat(loop, &p.op, path, &file, 0, probe_done);
    expect_all(loop, &p, 0, 0, 0);
    assert_int_equal(file.type, type_of(expected.st_mode));
    assert_int_equal(file.permissions, expected.st_mode & 07777);
    assert_int_equal(file.user, expected.st_uid);
    assert_int_equal(file.group, expected.st_gid);
    assert_int_equal(file.device, expected.st_dev);
    assert_int_equal(file.inode, expected.st_ino);
    if (!is_ours) return;
    assert_int_equal(file.size, expected.st_size);
    assert_int_equal(file.allocated, (uint64_t)expected.st_blocks * 512);
    assert_int_equal(file.links, expected.st_nlink);
    assert_int_equal(file.accessed_ns, ns_of(&expected.st_atim));
    assert_int_equal(file.modified_ns, ns_of(&expected.st_mtim));
    assert_int_equal(file.changed_ns, ns_of(&expected.st_ctim));
    if (is_wine()) return; /* which takes the last change for the creation */
    assert_true(file.created_ns >= 0 && file.created_ns <= file.changed_ns);
}

static void ops_stat_of_each_type(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], other[340];
    snprintf(path, sizeof path, "%s", temp_path("file"));
    close_far(make_file(path, "some data", 9));
    same_as_system(loop, path, 1);

    /* More links, odd permissions, and times before 1970. */
    snprintf(other, sizeof other, "%s.link", path);
    assert_int_equal(link(path, other), 0);
    assert_int_equal(chmod(path, 04751), 0);
    const struct timespec times[2] = {{-1000, 250000000}, {-86400, TEST_WINDOWS ? 100 : 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    same_as_system(loop, path, 1);

    assert_int_equal(chmod(path, 0444), 0);
    same_as_system(loop, path, 1);
    if (!omits_links()) {
        snprintf(other, sizeof other, "%s.symlink", path);
        assert_int_equal(symlink(path, other), 0);
        same_as_system(loop, other, 1); /* followed */
    }

    snprintf(path, sizeof path, "%s", temp_path("dir"));
    assert_int_equal(mkdir(path, 01777), 0);
    same_as_system(loop, path, 1);
    if (!omits_on_windows("no FIFOs, and no files that are sockets to a look by path")) {
        snprintf(path, sizeof path, "%s", temp_path("fifo"));
        assert_int_equal(mkfifo(path, 0600), 0);
        same_as_system(loop, path, 1);
        snprintf(path, sizeof path, "unix:%s", temp_path("socket"));
        ferry_addr addr;
        ferry_fd fd = FERRY_FD_NONE;
        assert_int_equal(ferry_addr_parse(&addr, path), 0);
        assert_int_equal(ferry_listen(loop, &fd, &addr, 0), 0);
        same_as_system(loop, path + 5, 1);
        close_near(loop, fd);
    }
    same_as_system(loop, "/dev/null", 0);
    same_as_system(loop, TEST_WINDOWS ? "C:/" : "/", 0);
    finish(loop);
}

static void ops_stat_of_a_sparse_file(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    struct probe p = {.calls = 0};
    ferry_file file;
    snprintf(path, sizeof path, "%s", temp_path("sparse"));
    ferry_fd fd = make_file(path, "", 0);
    assert_int_equal(ftruncate(fd, (off_t)(5 * GIB)), 0);
    close_far(fd);
    ferry_stat(loop, &p.op, path, &file, 0, probe_done);
    expect(loop, &p, 0);
    assert_int_equal(file.size, 5 * GIB);
    assert_true(file.allocated < MIB);
    same_as_system(loop, path, 1);
    finish(loop);
}

static void ops_stat_errors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_file file;
    char path[320], below[340], circle[320];
    static char longest[6000];
    memset(longest, 'n', sizeof longest - 1);
    snprintf(path, sizeof path, "%s", temp_path("file"));
    snprintf(below, sizeof below, "%s/below", path);
    snprintf(circle, sizeof circle, "%s", temp_path("circle"));
    close_far(make_file(path, "", 0));
    int links = !omits_links();
    if (links) assert_int_equal(symlink(circle, circle), 0);
    const struct {
        const char *path;
        int64_t error;
    } cases[] = {{"", FERRY_ENOENT},
                 {temp_path("none"), FERRY_ENOENT},
                 {below, FERRY_ENOTDIR},
                 {circle, links ? FERRY_ELOOP : FERRY_ENOENT},
                 {longest, FERRY_ENAMETOOLONG}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct probe p = {.calls = 0};
        ferry_stat(loop, &p.op, cases[i].path, &file, 0, probe_done);
        expect_all(loop, &p, cases[i].error, 0, 0);
    }
    finish(loop);
}

/* Several into files of their own, at once. */
static void ops_stat_many(void **state) {
    (void)state;
    enum { COUNT = 50 };
    ferry_loop *loop = test_loop();
    static ferry_file files[COUNT];
    static struct probe p[COUNT];
    static char paths[COUNT][320];
    char data[COUNT] = "";
    for (size_t i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "file%zu", i);
        snprintf(paths[i], sizeof paths[i], "%s", temp_path(name));
        close_far(make_file(paths[i], data, i));
        ferry_stat(loop, &p[i].op, paths[i], &files[i], 0, probe_done);
    }
    probe_wait_all(loop, p, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        probe_check(&p[i], 0);
        assert_int_equal(files[i].size, i);
    }
    finish(loop);
}

const struct contract_test ops_stat_tests[] = {
    {"ops_stat_of_each_type", ops_stat_of_each_type, 0},
    {"ops_stat_of_a_sparse_file", ops_stat_of_a_sparse_file, 0},
    {"ops_stat_errors", ops_stat_errors, 0},
    {"ops_stat_many", ops_stat_many, 0},
    {NULL, NULL, 0},
};
