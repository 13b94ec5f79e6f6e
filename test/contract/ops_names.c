/* ops_names.c - what is known of files, and their names: each operation against the plain calls
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NONE FERRY_FD_NONE

/* A directory of the test's own, open, and the current one. */
static ferry_fd enter(void) {
    char path[320];
    snprintf(path, sizeof path, "%s", temp_path("here"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chdir(path), 0);
    ferry_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    return dir;
}

static void leave(ferry_loop *loop, ferry_fd dir) {
    close_near(loop, dir);
    assert_int_equal(chdir("/"), 0);
    finish(loop);
}

static void make(const char *name) {
    close_far(make_file(name, "data", 4));
}

static struct stat look(const char *name) {
    struct stat about;
    assert_int_equal(lstat(name, &about), 0);
    return about;
}

static int is_there(const char *name) {
    struct stat about;
    return lstat(name, &about) == 0;
}

/* ---- What is known --------------------------------------------------------------------- */

static void ops_stat_of_links_and_descriptors(void **state) {
    (void)state;
    int links = !omits_links();
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter(), fds[2];
    struct probe p[8];
    ferry_file file[8];
    memset(p, 0, sizeof p);
    make("file");
    if (links) assert_int_equal(symlink("file", "link"), 0);
    if (links) assert_int_equal(symlink("none", "dangling"), 0);
    ferry_fd fd = open("file", O_RDWR | O_CLOEXEC);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_stat_at(loop, &p[0].op, dir, "file", &file[0], 0, probe_done);
    ferry_stat_fd(loop, &p[1].op, fd, &file[1], 0, probe_done);
    ferry_stat_fd(loop, &p[2].op, fds[0], &file[2], 0, probe_done);
    ferry_stat_fd(loop, &p[3].op, dir, &file[3], 0, probe_done);
    ferry_stat_at(loop, &p[4].op, dir, "link", &file[4], 0, probe_done);
    ferry_stat_at(loop, &p[5].op, dir, "link", &file[5], FERRY_NOFOLLOW, probe_done);
    ferry_stat(loop, &p[6].op, "dangling", &file[6], FERRY_NOFOLLOW, probe_done);
    ferry_stat(loop, &p[7].op, "dangling", &file[7], 0, probe_done);
    for (int i = 0; i < 8; i++) {
        int there = links ? i < 7 : i < 4;
        expect_all(loop, &p[i], there ? 0 : FERRY_ENOENT, 0, 0);
    }
    const enum ferry_file_type types[8] = {
        FERRY_FILE_REGULAR, FERRY_FILE_REGULAR, FERRY_FILE_FIFO,    FERRY_FILE_DIRECTORY,
        FERRY_FILE_REGULAR, FERRY_FILE_SYMLINK, FERRY_FILE_SYMLINK, FERRY_FILE_OTHER};
    for (int i = 0; i < (links ? 7 : 4); i++) assert_int_equal(file[i].type, types[i]);
    assert_int_equal(file[0].inode, look("file").st_ino);
    assert_int_equal(file[1].inode, file[0].inode);
    assert_int_equal(file[1].size, 4);
    if (links) {
        assert_int_equal(file[4].inode, file[0].inode);
        assert_int_equal(file[5].inode, look("link").st_ino);
    }

    /* What has just been written is seen. */
    assert_int_equal(pwrite(fd, "more", 4, 100), 4);
    struct probe again = {.calls = 0};
    ferry_stat_fd(loop, &again.op, fd, &file[5], 0, probe_done);
    expect(loop, &again, 0);
    assert_int_equal(file[5].size, 104);
    /* A file without a name is still something. */
    assert_int_equal(unlink("file"), 0);
    memset(&again, 0, sizeof again);
    ferry_stat_fd(loop, &again.op, fd, &file[5], 0, probe_done);
    expect(loop, &again, 0);
    assert_int_equal(file[5].size, 104);
    if (!omits_on_wine("Wine keeps what was removed until its last handle is closed")) {
        assert_int_equal(file[5].links, 0);
    }
    close_near(loop, fd);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    leave(loop, dir);
}

static void ops_chmod(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[6];
    memset(p, 0, sizeof p);
    make("file");
    ferry_chmod(loop, &p[0].op, dir, "file", 04551, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    assert_int_equal(look("file").st_mode & 07777, TEST_MODE(04551));
    ferry_chmod(loop, &p[1].op, NONE, "file", 04751, 0, probe_done);
    expect_all(loop, &p[1], 0, 0, 0);
    assert_int_equal(look("file").st_mode & 07777, TEST_MODE(04751));
    if (!omits_links()) {
        assert_int_equal(symlink("file", "link"), 0);
        ferry_chmod(loop, &p[2].op, NONE, "link", 0440, 0, probe_done);
        expect_all(loop, &p[2], 0, 0, 0);
        assert_int_equal(look("file").st_mode & 07777, TEST_MODE(0440));
        ferry_chmod(loop, &p[3].op, dir, "link", 0600, FERRY_NOFOLLOW, probe_done);
        expect_all(loop, &p[3], TEST_LINK_MODES ? 0 : FERRY_ENOTSUP, 0, 0);
        assert_int_equal(look("file").st_mode & 07777, TEST_MODE(0440));
    }
    ferry_fd fd = open("file", O_RDONLY | O_CLOEXEC);
    ferry_chmod_fd(loop, &p[4].op, fd, 0404, 0, probe_done);
    expect_all(loop, &p[4], 0, 0, 0);
    assert_int_equal(look("file").st_mode & 07777, TEST_MODE(0404));
    ferry_chmod(loop, &p[5].op, dir, "none", 0600, 0, probe_done);
    expect_all(loop, &p[5], FERRY_ENOENT, 0, 0);
    close_near(loop, fd);
    leave(loop, dir);
}

static void ops_chown(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[3], left[3];
    memset(p, 0, sizeof p);
    memset(left, 0, sizeof left);
    make("file");
    ferry_fd fd = open("file", O_RDONLY | O_CLOEXEC);
    ferry_chown(loop, &left[0].op, dir, "file", FERRY_ID_LEAVE, FERRY_ID_LEAVE, 0, probe_done);
    ferry_chown_fd(loop, &left[1].op, fd, FERRY_ID_LEAVE, FERRY_ID_LEAVE, 0, probe_done);
    ferry_chown(loop, &left[2].op, dir, "none", FERRY_ID_LEAVE, FERRY_ID_LEAVE, 0, probe_done);
    for (int i = 0; i < 3; i++) expect_all(loop, &left[i], i < 2 ? 0 : FERRY_ENOENT, 0, 0);
    if (TEST_WINDOWS) { /* owners are no numbers there */
        ferry_chown(loop, &p[0].op, dir, "file", 1234, 4321, 0, probe_done);
        ferry_chown_fd(loop, &p[1].op, fd, FERRY_ID_LEAVE, 99, 0, probe_done);
        for (int i = 0; i < 2; i++) expect_all(loop, &p[i], FERRY_ENOTSUP, 0, 0);
        close_near(loop, fd);
        leave(loop, dir);
        return;
    }
    assert_int_equal(symlink("file", "link"), 0);
    /* To what they are anyway: that is allowed to everybody. */
    ferry_chown(loop, &p[0].op, dir, "file", getuid(), FERRY_ID_LEAVE, 0, probe_done);
    ferry_chown(loop, &p[1].op, dir, "link", FERRY_ID_LEAVE, getgid(), FERRY_NOFOLLOW, probe_done);
    ferry_chown_fd(loop, &p[2].op, fd, FERRY_ID_LEAVE, FERRY_ID_LEAVE, 0, probe_done);
    for (int i = 0; i < 3; i++) expect_all(loop, &p[i], 0, 0, 0);
    if (geteuid() == 0) {
        struct probe root[3];
        memset(root, 0, sizeof root);
        ferry_chown(loop, &root[0].op, dir, "file", 1234, 4321, 0, probe_done);
        ferry_chown(loop, &root[1].op, dir, "link", 77, 78, FERRY_NOFOLLOW, probe_done);
        expect_all(loop, &root[0], 0, 0, 0);
        expect_all(loop, &root[1], 0, 0, 0);
        ferry_chown_fd(loop, &root[2].op, fd, FERRY_ID_LEAVE, 99, 0, probe_done);
        expect_all(loop, &root[2], 0, 0, 0);
        assert_int_equal(look("file").st_uid, 1234);
        assert_int_equal(look("file").st_gid, 99);
        assert_int_equal(look("link").st_uid, 77);
        assert_int_equal(look("link").st_gid, 78);
    }
    close_near(loop, fd);
    leave(loop, dir);
}

static int64_t ns_of(struct timespec at) {
    return (int64_t)at.tv_sec * (int64_t)SECOND + at.tv_nsec;
}

static void ops_times(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[5];
    struct timespec now;
    int accesses = !omits_on_wine("what was set as time of access does not stay on Wine");
    memset(p, 0, sizeof p);
    make("file");
    const int64_t then = 1234567890123456700 + 89 * !TEST_WINDOWS; /* there: units of 100 ns */
    const int64_t before = -123456789987654300 - 21 * !TEST_WINDOWS, five = TEST_WINDOWS ? 500 : 5;
    ferry_times(loop, &p[0].op, dir, "file", then, before, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    struct stat about = look("file");
    if (accesses) assert_int_equal(ns_of(about.st_atim), then);
    assert_int_equal(ns_of(about.st_mtim), before);
    const char *link_or_file = "file";
    if (!omits_links()) {
        assert_int_equal(symlink("file", "link"), 0);
        link_or_file = "link";
    }
    ferry_times(loop, &p[1].op, NONE, link_or_file, FERRY_TIME_LEAVE, five, 0, probe_done);
    expect_all(loop, &p[1], 0, 0, 0);
    about = look("file");
    if (accesses) assert_int_equal(ns_of(about.st_atim), then);
    assert_int_equal(ns_of(about.st_mtim), five);
    if (strcmp(link_or_file, "link") == 0) {
        ferry_times(loop, &p[2].op, dir, "link", 700, 800, FERRY_NOFOLLOW, probe_done);
        expect_all(loop, &p[2], 0, 0, 0);
        about = look("link");
        assert_int_equal(ns_of(about.st_mtim), 800);
        assert_int_equal(ns_of(look("file").st_mtim), five);
    }
    ferry_fd fd = open("file", (TEST_WINDOWS ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    clock_gettime(CLOCK_REALTIME, &now);
    ferry_times_fd(loop, &p[3].op, fd, FERRY_TIME_NOW, FERRY_TIME_LEAVE, 0, probe_done);
    expect_all(loop, &p[3], 0, 0, 0);
    about = look("file");
    assert_int_equal(ns_of(about.st_mtim), five);
    assert_true(ns_of(about.st_atim) > ns_of(now) - (int64_t)(60 * SECOND));
    ferry_times_fd(loop, &p[4].op, fd, 0, TEST_WINDOWS ? -100 : -1, 0, probe_done);
    expect_all(loop, &p[4], 0, 0, 0);
    assert_int_equal(ns_of(look("file").st_mtim), TEST_WINDOWS ? -100 : -1);
    close_near(loop, fd);
    leave(loop, dir);
}

static void ops_access(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[5];
    memset(p, 0, sizeof p);
    int links = !omits_links();
    make("file");
    if (links) assert_int_equal(symlink("none", "dangling"), 0);
    assert_int_equal(chmod("file", 0600), 0);
    ferry_access(loop, &p[0].op, dir, "file", FERRY_MAY_READ | FERRY_MAY_WRITE, 0, probe_done);
    ferry_access(loop, &p[1].op, NONE, "file", FERRY_MAY_EXECUTE, 0, probe_done);
    ferry_access(loop, &p[2].op, dir, "none", 0, 0, probe_done);
    ferry_access(loop, &p[3].op, dir, "dangling", 0, 0, probe_done);
    ferry_access(loop, &p[4].op, dir, "dangling", 0, FERRY_NOFOLLOW, probe_done);
    const int64_t results[] = {0, TEST_WINDOWS ? 0 : FERRY_EACCES, FERRY_ENOENT, FERRY_ENOENT,
                               links ? 0 : FERRY_ENOENT};
    for (int i = 0; i < 5; i++) expect_all(loop, &p[i], results[i], 0, 0);
    leave(loop, dir);
}

/* ---- Names ----------------------------------------------------------------------------- */

static void ops_rename(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[7];
    memset(p, 0, sizeof p);
    make("a");
    make("b");
    assert_int_equal(mkdir("sub", 0700), 0);
    ferry_fd sub = open("sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ino_t a = look("a").st_ino, b = look("b").st_ino;
    ferry_rename(loop, &p[0].op, dir, "a", dir, "b", FERRY_NOREPLACE, probe_done);
    expect_all(loop, &p[0], FERRY_EEXIST, 0, 0);
    assert_int_equal(look("a").st_ino, a);
    assert_int_equal(look("b").st_ino, b);
    ferry_rename(loop, &p[1].op, dir, "sub", dir, "b", FERRY_NOREPLACE, probe_done);
    expect_all(loop, &p[1], FERRY_EEXIST, 0, 0);
    ferry_rename(loop, &p[2].op, dir, "a", sub, "c", FERRY_NOREPLACE, probe_done);
    expect_all(loop, &p[2], 0, 0, 0);
    assert_int_equal(look("sub/c").st_ino, a);
    assert_false(is_there("a"));
    ferry_rename(loop, &p[3].op, sub, "c", NONE, "b", 0, probe_done); /* replaces */
    expect_all(loop, &p[3], 0, 0, 0);
    assert_int_equal(look("b").st_ino, a);
    ferry_rename(loop, &p[4].op, dir, "none", dir, "x", 0, probe_done);
    expect_all(loop, &p[4], FERRY_ENOENT, 0, 0);
    ferry_rename(loop, &p[5].op, dir, "sub", dir, "sub/below", 0, probe_done);
    expect_all(loop, &p[5], FERRY_EINVAL, 0, 0);
    ferry_rename(loop, &p[6].op, dir, "b", dir, "sub", 0, probe_done);
    expect_all(loop, &p[6], FERRY_EISDIR, 0, 0);
    close_near(loop, sub);
    leave(loop, dir);
}

static void ops_rename_noreplace_of_each_kind(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    static const char *const names[] = {"file", "sub", "link"};
    struct probe p[6];
    memset(p, 0, sizeof p);
    make("file");
    assert_int_equal(mkdir("sub", 0700), 0);
    make("sub/inside");
    int links = !omits_links();
    if (links) assert_int_equal(symlink("nowhere", "link"), 0);
    assert_int_equal(mkdir("taken", 0700), 0);
    for (int i = 0; i < 2 + links; i++) {
        struct stat before, after;
        assert_int_equal(lstat(names[i], &before), 0);
        ferry_rename(loop, &p[i].op, dir, names[i], dir, "taken", FERRY_NOREPLACE, probe_done);
        expect_all(loop, &p[i], FERRY_EEXIST, 0, 0);
        ferry_rename(loop, &p[i + 3].op, dir, names[i], dir, "new", FERRY_NOREPLACE, probe_done);
        expect_all(loop, &p[i + 3], 0, 0, 0);
        assert_int_equal(lstat("new", &after), 0);
        assert_int_equal(after.st_ino, before.st_ino);
        assert_int_equal(lstat(names[i], &before), -1);
        assert_int_equal(rename("new", names[i]), 0);
    }
    assert_true(is_there("sub/inside"));
    leave(loop, dir);
}

static void ops_rename_exchange(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p = {.calls = 0};
    make("a");
    assert_int_equal(mkdir("b", 0700), 0);
    ino_t a = look("a").st_ino, b = look("b").st_ino;
    ferry_rename(loop, &p.op, NONE, "a", dir, "b", FERRY_EXCHANGE, probe_done);
    probe_wait(loop, &p);
    int has = p.result == 0;
    if (!has) expect_all(loop, &p, FERRY_ENOTSUP, 0, 0);
    assert_int_equal(look("b").st_ino, has ? a : b);
    assert_int_equal(look("a").st_ino, has ? b : a);
    leave(loop, dir);
    if (!has) test_skip("the system exchanges no names");
}

static void ops_link_and_unlink(void **state) {
    (void)state;
    int links = !omits_links();
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[8];
    memset(p, 0, sizeof p);
    make("file");
    if (links) assert_int_equal(symlink("file", "link"), 0);
    else make("link");
    assert_int_equal(mkdir("sub", 0700), 0);
    ferry_hard_link(loop, &p[0].op, dir, "file", NONE, "sub/second", 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    assert_int_equal(look("sub/second").st_ino, look("file").st_ino);
    ferry_hard_link(loop, &p[1].op, NONE, "link", dir, "link2", 0, probe_done);
    expect_all(loop, &p[1], 0, 0, 0);
    if (links) assert_true(S_ISLNK(look("link2").st_mode));
    ferry_hard_link(loop, &p[2].op, dir, "file", dir, "link", 0, probe_done);
    expect_all(loop, &p[2], FERRY_EEXIST, 0, 0);
    ferry_hard_link(loop, &p[3].op, dir, "sub", dir, "sub2", 0, probe_done);
    expect_all(loop, &p[3], FERRY_EPERM, 0, 0);
    ferry_unlink(loop, &p[4].op, dir, "file", 0, probe_done);
    expect_all(loop, &p[4], 0, 0, 0);
    assert_false(is_there("file"));
    assert_int_equal(look("sub/second").st_nlink, 1);
    ferry_unlink(loop, &p[5].op, NONE, "link", 0, probe_done);
    expect_all(loop, &p[5], 0, 0, 0);
    assert_false(is_there("link"));
    ferry_unlink(loop, &p[6].op, dir, "sub", 0, probe_done);
    expect_all(loop, &p[6], FERRY_EISDIR, 0, 0);
    ferry_unlink(loop, &p[7].op, dir, "file", 0, probe_done);
    expect_all(loop, &p[7], FERRY_ENOENT, 0, 0);
    leave(loop, dir);
}

static void ops_mkdir_and_rmdir(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[7];
    memset(p, 0, sizeof p);
    mode_t before = umask(027);
    ferry_mkdir(loop, &p[0].op, dir, "sub", 0777, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    umask(before);
    if (!TEST_WINDOWS) assert_int_equal(look("sub").st_mode & 07777, 0750);
    ferry_mkdir(loop, &p[1].op, NONE, "sub/below", 01700, 0, probe_done);
    expect_all(loop, &p[1], 0, 0, 0);
    ferry_mkdir(loop, &p[2].op, dir, "sub", 0700, 0, probe_done);
    expect_all(loop, &p[2], FERRY_EEXIST, 0, 0);
    ferry_mkdir(loop, &p[3].op, dir, "none/sub", 0700, 0, probe_done);
    expect_all(loop, &p[3], FERRY_ENOENT, 0, 0);
    ferry_rmdir(loop, &p[4].op, dir, "sub", 0, probe_done);
    expect_all(loop, &p[4], FERRY_ENOTEMPTY, 0, 0);
    ferry_rmdir(loop, &p[5].op, dir, "sub/below", 0, probe_done);
    expect_all(loop, &p[5], 0, 0, 0);
    make("file");
    ferry_rmdir(loop, &p[6].op, NONE, "file", 0, probe_done);
    expect_all(loop, &p[6], FERRY_ENOTDIR, 0, 0);
    assert_true(is_there("sub") && !is_there("sub/below"));
    leave(loop, dir);
}

static void ops_symlink_and_readlink(void **state) {
    (void)state;
    need_links();
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[8];
    static char target[3001], got[4096];
    memset(p, 0, sizeof p);
    memset(target, 't', 3000);
    for (int i = 100; i < 3000; i += 100) target[i] = '/';
    ferry_symlink(loop, &p[0].op, "somewhere", dir, "link", 0, probe_done);
    ferry_symlink(loop, &p[1].op, target, NONE, "long", 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    expect_all(loop, &p[1], 0, 0, 0);
    ferry_symlink(loop, &p[2].op, "elsewhere", dir, "link", 0, probe_done);
    expect_all(loop, &p[2], FERRY_EEXIST, 0, 0);
    memset(got, '!', sizeof got);
    ferry_readlink(loop, &p[3].op, dir, "link", got, 10, 0, probe_done); /* exactly, with its 0 */
    expect(loop, &p[3], 9);
    assert_string_equal(got, "somewhere");
    assert_int_equal(got[10], '!');
    ferry_readlink(loop, &p[4].op, dir, "link", got, 9, 0, probe_done);
    expect_all(loop, &p[4], FERRY_ENOROOM, 0, 0);
    ferry_readlink(loop, &p[5].op, NONE, "long", got, sizeof got, 0, probe_done);
    expect(loop, &p[5], 3000);
    assert_string_equal(got, target);
    make("file");
    ferry_readlink(loop, &p[6].op, dir, "file", got, sizeof got, 0, probe_done);
    expect_all(loop, &p[6], FERRY_EINVAL, 0, 0);
    ferry_readlink(loop, &p[7].op, dir, "none", got, sizeof got, 0, probe_done);
    expect_all(loop, &p[7], FERRY_ENOENT, 0, 0);
    leave(loop, dir);
}

static void ops_realpath(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[5];
    char got[PATH_MAX], expected[PATH_MAX];
    const char *way = "sub/.././sub//../file";
    memset(p, 0, sizeof p);
    make("file");
    assert_int_equal(mkdir("sub", 0700), 0);
    if (!omits_links()) {
        assert_int_equal(symlink("../file", "sub/link"), 0);
        way = "sub/.././sub//link";
    }
    assert_true(realpath("file", expected) != NULL);
    size_t len = strlen(expected);
    ferry_realpath(loop, &p[0].op, way, got, sizeof got, 0, probe_done);
    expect(loop, &p[0], (int64_t)len);
    assert_string_equal(got, expected);
    memset(got, 0, sizeof got);
    ferry_realpath(loop, &p[1].op, "file", got, len + 1, 0, probe_done);
    expect(loop, &p[1], (int64_t)len);
    assert_string_equal(got, expected);
    ferry_realpath(loop, &p[2].op, "file", got, len, 0, probe_done);
    expect_all(loop, &p[2], FERRY_ENOROOM, 0, 0);
    ferry_realpath(loop, &p[3].op, "none", got, sizeof got, 0, probe_done);
    expect_all(loop, &p[3], FERRY_ENOENT, 0, 0);
    ferry_realpath(loop, &p[4].op, "file/none", got, sizeof got, 0, probe_done);
    expect_all(loop, &p[4], FERRY_ENOTDIR, 0, 0);
    leave(loop, dir);
}

/* ---- Temporary files ------------------------------------------------------------------- */

static void ops_temp_file(void **state) {
    (void)state;
    enum { COUNT = 40 };
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[COUNT];
    char name[COUNT][24];
    memset(p, 0, sizeof p);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name[i], sizeof name[i], "%s", i % 2 ? "prefix-XXXXXX" : "XXXXXX");
        ferry_temp_file(loop, &p[i].op, i % 3 ? dir : NONE, name[i], 0, probe_done);
    }
    for (int i = 0; i < COUNT; i++) {
        probe_wait(loop, &p[i]);
        assert_true(p[i].result >= 0);
        ferry_fd fd = (ferry_fd)p[i].result;
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
        assert_null(strstr(name[i], "XXXXXX"));
        struct stat about;
        assert_int_equal(fstat(fd, &about), 0);
        if (!TEST_WINDOWS) assert_int_equal(about.st_mode & 07777, 0600);
        assert_int_equal(about.st_ino, look(name[i]).st_ino);
        for (int k = 0; k < i; k++) assert_string_not_equal(name[i], name[k]);
        /* It is known what it is: operations at its position go in order. */
        struct probe w[2];
        memset(w, 0, sizeof w);
        ferry_write(loop, &w[0].op, fd, "one", 3, FERRY_CURRENT, 0, probe_done);
        ferry_write(loop, &w[1].op, fd, "two", 3, FERRY_CURRENT, 0, probe_done);
        expect(loop, &w[0], 3);
        expect(loop, &w[1], 3);
        assert_int_equal(look(name[i]).st_size, 6);
    }
    for (int i = 0; i < COUNT; i++) close_near(loop, (ferry_fd)p[i].result);
    leave(loop, dir);
}

static void ops_temp_dir(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter();
    struct probe p[3];
    char name[] = "a-XXXXXX", other[] = "none/XXXXXX", third[] = "none/XXXXXX";
    memset(p, 0, sizeof p);
    ferry_temp_dir(loop, &p[0].op, dir, name, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    assert_true(S_ISDIR(look(name).st_mode));
    if (!TEST_WINDOWS) assert_int_equal(look(name).st_mode & 07777, 0700);
    ferry_temp_dir(loop, &p[1].op, dir, other, 0, probe_done);
    ferry_temp_file(loop, &p[2].op, dir, third, 0, probe_done);
    expect_all(loop, &p[1], FERRY_ENOENT, 0, 0);
    expect_all(loop, &p[2], FERRY_ENOENT, 0, 0);
    assert_string_equal(other, "none/XXXXXX"); /* as it was */
    assert_string_equal(third, "none/XXXXXX");
    leave(loop, dir);
}

/* ---- Space and advice ------------------------------------------------------------------ */

static void ops_allocate(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter(), fds[2];
    struct probe p[6];
    char buf[4];
    memset(p, 0, sizeof p);
    ferry_fd fd = make_file("file", "data", 4);
    ferry_allocate(loop, &p[0].op, fd, 1000, 5 * MIB, 0, probe_done);
    probe_wait(loop, &p[0]);
    if (p[0].result != FERRY_ENOTSUP) { /* a real error, or a real success */
        expect_all(loop, &p[0], 0, 0, 0);
        assert_int_equal(look("file").st_size, 1000 + 5 * MIB);
        assert_true((size_t)look("file").st_blocks * 512 >= 5 * MIB);
        assert_int_equal(pread(fd, buf, 4, 0), 4);
        assert_memory_equal(buf, "data", 4);
        ferry_allocate(loop, &p[1].op, fd, 0, 10, 0, probe_done); /* never shorter */
        expect_all(loop, &p[1], 0, 0, 0);
        assert_int_equal(look("file").st_size, 1000 + 5 * MIB);
    }
    ferry_fd reads = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_allocate(loop, &p[2].op, reads, 0, 10, 0, probe_done);
    ferry_allocate(loop, &p[3].op, fds[1], 0, 10, 0, probe_done);
    ferry_allocate(loop, &p[4].op, fd, 0, 0, 0, probe_done);
    ferry_allocate(loop, &p[5].op, fd, INT64_MAX - 10, 11, 0, probe_done);
    const int64_t results[] = {FERRY_EBADF, FERRY_ESPIPE, FERRY_EINVAL, FERRY_EFBIG};
    for (int i = 0; i < 4; i++) {
        probe_wait(loop, &p[2 + i]);
        /* A system that has nothing of the kind need not look at what it is asked for. */
        int lacks = p[0].result == FERRY_ENOTSUP && p[2 + i].result == FERRY_ENOTSUP;
        expect_all(loop, &p[2 + i], lacks ? FERRY_ENOTSUP : results[i], 0, 0);
    }
    close_near(loop, reads);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    close_near(loop, fd);
    leave(loop, dir);
}

static void ops_advise(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd dir = enter(), fds[2];
    struct probe p[10];
    memset(p, 0, sizeof p);
    ferry_fd fd = make_file("file", "data", 4);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    for (unsigned i = 0; i <= FERRY_ADVICE_ONCE; i++) {
        ferry_advise(loop, &p[i].op, fd, 0, i % 2 ? 0 : 6 * GIB, (enum ferry_advice)i, 0,
                     probe_done);
    }
    for (unsigned i = 0; i <= FERRY_ADVICE_ONCE; i++) expect_all(loop, &p[i], 0, 0, 0);
    ferry_advise(loop, &p[6].op, fds[0], 0, 0, FERRY_ADVICE_RANDOM, 0, probe_done);
    expect_all(loop, &p[6], FERRY_ESPIPE, 0, 0);
    ferry_advise(loop, &p[7].op, fd, 0, 0, (enum ferry_advice)6, 0, probe_done);
    expect_all(loop, &p[7], FERRY_EINVAL, 0, 0);
    ferry_advise(loop, &p[8].op, fd, UINT64_MAX, 0, FERRY_ADVICE_RANDOM, 0, probe_done);
    expect_all(loop, &p[8], FERRY_EINVAL, 0, 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    close_near(loop, fd);
    leave(loop, dir);
}

const struct contract_test ops_names_tests[] = {
    {"ops_stat_of_links_and_descriptors", ops_stat_of_links_and_descriptors, 0},
    {"ops_chmod", ops_chmod, 0},
    {"ops_chown", ops_chown, 0},
    {"ops_times", ops_times, 0},
    {"ops_access", ops_access, 0},
    {"ops_rename", ops_rename, 0},
    {"ops_rename_noreplace_of_each_kind", ops_rename_noreplace_of_each_kind, 0},
    {"ops_rename_exchange", ops_rename_exchange, 0},
    {"ops_link_and_unlink", ops_link_and_unlink, 0},
    {"ops_mkdir_and_rmdir", ops_mkdir_and_rmdir, 0},
    {"ops_symlink_and_readlink", ops_symlink_and_readlink, 0},
    {"ops_realpath", ops_realpath, 0},
    {"ops_temp_file", ops_temp_file, 0},
    {"ops_temp_dir", ops_temp_dir, 0},
    {"ops_allocate", ops_allocate, 0},
    {"ops_advise", ops_advise, 0},
    {NULL, NULL, 0},
};
