/* ops_open_at.c - opening relative to a directory, confined beneath it, and what is not a file
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_DIR (FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY)

static ferry_fd open_dir(ferry_loop *loop, const char *path) {
    struct probe p = {.calls = 0};
    ferry_open(loop, &p.op, path, READ_DIR, 0, 0, probe_done);
    probe_wait(loop, &p);
    assert_true(p.result >= 0);
    return (ferry_fd)p.result;
}

/* Opens dir/path to read it, and tells how that ended; what was opened is closed again. */
static int64_t try_at(ferry_loop *loop, ferry_fd dir, const char *path, unsigned flags) {
    struct probe p = {.calls = 0};
    ferry_open_at(loop, &p.op, dir, path, FERRY_OPEN_READ, 0, flags, probe_done);
    probe_wait(loop, &p);
    assert_int_equal(p.calls, 1);
    if (p.result < 0) return p.result;
    assert_int_equal(fcntl((ferry_fd)p.result, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl((ferry_fd)p.result, F_GETFL) & O_NONBLOCK, 0);
    close_near(loop, (ferry_fd)p.result);
    return 0;
}

/* A directory "in" with a file and a directory, and beside it what must not be reached. */
struct tree {
    ferry_fd dir;
    char in[320], outside[340], link[340];
};

static void make_at(const char *dir, const char *name) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    close_far(make_file(path, "data", 4));
}

static void link_at(const char *dir, const char *name, const char *target) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(symlink(target, path), 0);
}

static void tree_make(ferry_loop *loop, struct tree *t) {
    snprintf(t->in, sizeof t->in, "%s", temp_path("in"));
    snprintf(t->outside, sizeof t->outside, "%s", temp_path("outside"));
    snprintf(t->link, sizeof t->link, "%s/sub", t->in);
    assert_int_equal(mkdir(t->in, 0700), 0);
    assert_int_equal(mkdir(t->link, 0700), 0);
    close_far(make_file(t->outside, "secret", 6));
    make_at(t->in, "file");
    make_at(t->link, "file");
    t->dir = open_dir(loop, t->in);
}

static void ops_open_at_relative(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct tree t;
    struct probe p[2];
    char buf[8] = "";
    memset(p, 0, sizeof p);
    tree_make(loop, &t);
    assert_int_equal(try_at(loop, t.dir, "file", 0), 0);
    assert_int_equal(try_at(loop, t.dir, "sub/file", 0), 0);
    assert_int_equal(try_at(loop, t.dir, "../outside", 0), 0);
    assert_int_equal(try_at(loop, t.dir, t.outside, 0), 0);
    assert_int_equal(try_at(loop, t.dir, "none", 0), FERRY_ENOENT);
    ferry_open_at(loop, &p[0].op, t.dir, "new", FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0600, 0,
                  probe_done);
    probe_wait(loop, &p[0]);
    assert_true(p[0].result >= 0);
    ferry_write(loop, &p[1].op, (ferry_fd)p[0].result, "hello", 5, 0, 0, probe_done);
    expect(loop, &p[1], 5);
    close_near(loop, (ferry_fd)p[0].result);
    ferry_fd fd = openat(t.dir, "new", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, buf, sizeof buf), 5);
    assert_string_equal(buf, "hello");
    close_far(fd);
    close_near(loop, t.dir);
    finish(loop);
}

/* FERRY_FD_NONE is the current directory. */
static void ops_open_at_current_directory(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct tree t;
    tree_make(loop, &t);
    assert_int_equal(chdir(t.in), 0);
    assert_int_equal(try_at(loop, FERRY_FD_NONE, "file", 0), 0);
    assert_int_equal(try_at(loop, FERRY_FD_NONE, "sub/file", FERRY_BENEATH), 0);
    assert_int_equal(try_at(loop, FERRY_FD_NONE, "../outside", FERRY_BENEATH), FERRY_EXDEV);
    assert_int_equal(chdir("/"), 0);
    close_near(loop, t.dir);
    finish(loop);
}

static void ops_open_beneath(void **state) {
    (void)state;
    int links = !omits_links();
    ferry_loop *loop = test_loop();
    struct tree t;
    tree_make(loop, &t);
    if (links) {
        link_at(t.in, "good", "sub/file");
        link_at(t.link, "up", "../file");
        link_at(t.in, "out", "../outside");
        link_at(t.in, "absolute", t.outside);
        link_at(t.in, "inside_absolute", t.in);
        link_at(t.in, "through", "sub/../../in");
        link_at(t.in, "to_root", "/");
    }
    const struct {
        const char *path;
        int64_t result;
        int through_a_link;
    } cases[] = {
        {"file", 0, 0},
        {"sub/file", 0, 0},
        {"sub/../file", 0, 0},
        {".", 0, 0},
        {"good", 0, 1},
        {"sub/up", 0, 1},
        {"..", FERRY_EXDEV, 0},
        {"../outside", FERRY_EXDEV, 0},
        {"sub/../../outside", FERRY_EXDEV, 0},
        {"../in/file", FERRY_EXDEV, 0},
        {t.outside, FERRY_EXDEV, 0},
        {"/", FERRY_EXDEV, 0},
        {"out", FERRY_EXDEV, 1},
        {"absolute", FERRY_EXDEV, 1},
        {"inside_absolute/file", FERRY_EXDEV, 1},
        {"through/file", FERRY_EXDEV, 1},
        {"to_root/etc/passwd", FERRY_EXDEV, 1},
        {"none", FERRY_ENOENT, 0},
        {"file/none", FERRY_ENOTDIR, 0},
        {"", FERRY_ENOENT, 0},
    };
    for (int again = 0; again < 2; again++) { /* also with all of it cached */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (cases[i].through_a_link && !links) continue;
            int64_t result = try_at(loop, t.dir, cases[i].path, FERRY_BENEATH);
            if (result != cases[i].result) {
                fail_msg("\"%s\" ended with %s", cases[i].path, ferry_error_name(result));
            }
        }
    }
    close_near(loop, t.dir);
    finish(loop);
}

/* Making a file through a link that leads out makes none. */
static void ops_open_beneath_creates_nothing_outside(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct tree t;
    struct probe p[3];
    char made[340];
    unsigned how = FERRY_OPEN_WRITE | FERRY_OPEN_CREATE | FERRY_OPEN_TRUNCATE;
    memset(p, 0, sizeof p);
    tree_make(loop, &t);
    snprintf(made, sizeof made, "%s", temp_path("made"));
    const char *trap = "../made", *overwrite = "../outside";
    if (!omits_links()) {
        link_at(t.in, "trap", made);
        link_at(t.in, "overwrite", "../outside");
        trap = "trap";
        overwrite = "overwrite";
    }
    ferry_open_at(loop, &p[0].op, t.dir, trap, how, 0600, FERRY_BENEATH, probe_done);
    ferry_open_at(loop, &p[1].op, t.dir, overwrite, how, 0600, FERRY_BENEATH, probe_done);
    expect_all(loop, &p[0], FERRY_EXDEV, 0, 0);
    expect_all(loop, &p[1], FERRY_EXDEV, 0, 0);
    assert_int_equal(access(made, F_OK), -1);
    struct stat about;
    assert_int_equal(stat(t.outside, &about), 0);
    assert_int_equal(about.st_size, 6);
    ferry_open_at(loop, &p[2].op, t.dir, "sub/made", how, 0640, FERRY_BENEATH, probe_done);
    probe_wait(loop, &p[2]);
    assert_true(p[2].result >= 0);
    assert_int_equal(fstat((ferry_fd)p[2].result, &about), 0);
    assert_int_equal(about.st_mode & 07777, TEST_MODE(0640 & ~022));
    close_near(loop, (ferry_fd)p[2].result);
    close_near(loop, t.dir);
    finish(loop);
}

/* While directories are renamed it never leads out, and never fails for that reason alone. */
static void ops_open_beneath_while_renaming(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct tree t;
    char other[340];
    tree_make(loop, &t);
    snprintf(other, sizeof other, "%s/other", t.in);
    for (int i = 0; i < 100; i++) {
        struct probe p[8];
        memset(p, 0, sizeof p);
        for (int k = 0; k < 8; k++) {
            ferry_open_at(loop, &p[k].op, t.dir, "sub/../sub/../file", FERRY_OPEN_READ, 0,
                          FERRY_BENEATH, probe_done);
        }
        ferry_run(loop, FERRY_RUN_NOWAIT);
        assert_int_equal(rename(t.link, other), 0);
        assert_int_equal(rename(other, t.link), 0);
        probe_wait_all(loop, p, 8); /* or a number that is closed may be opened again at once */
        for (int k = 0; k < 8; k++) {
            if (p[k].result >= 0) close_near(loop, (ferry_fd)p[k].result);
            else assert_int_equal(p[k].result, FERRY_ENOENT); /* it was not there just then */
        }
    }
    close_near(loop, t.dir);
    finish(loop);
}

static void ops_open_at_bad_directories(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct tree t;
    tree_make(loop, &t);
    ferry_fd file = make_file(temp_path("plain"), "data", 4);
    assert_int_equal(try_at(loop, -2, "file", 0), FERRY_EBADF);
    assert_int_equal(try_at(loop, closed_fd(), "file", 0), FERRY_EBADF);
    assert_int_equal(try_at(loop, file, "file", 0), FERRY_ENOTDIR);
    assert_int_equal(try_at(loop, file, "file", FERRY_BENEATH), FERRY_ENOTDIR);
    assert_int_equal(try_at(loop, INT32_MAX, "file", 0), FERRY_EMFILE);
    /* A directory that was removed has no names. */
    char gone[320];
    snprintf(gone, sizeof gone, "%s", temp_path("gone"));
    assert_int_equal(mkdir(gone, 0700), 0);
    ferry_fd removed = open_dir(loop, gone);
    assert_int_equal(rmdir(gone), 0);
    assert_int_equal(try_at(loop, removed, "file", 0), FERRY_ENOENT);
    close_near(loop, removed);
    close_near(loop, file);
    close_near(loop, t.dir);
    finish(loop);
}

/* Closing the directory waits for what opens through it, and ends it or lets it succeed. */
static void contract_07_open_at_and_close_of_the_directory(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct tree t;
    struct probe p[8], closed = {.calls = 0}, late = {.calls = 0};
    memset(p, 0, sizeof p);
    tree_make(loop, &t);
    for (int i = 0; i < 8; i++) {
        ferry_open_at(loop, &p[i].op, t.dir, "file", FERRY_OPEN_READ, 0, 0, probe_done);
    }
    ferry_close(loop, &closed.op, t.dir, 0, probe_done);
    ferry_open_at(loop, &late.op, t.dir, "file", FERRY_OPEN_READ, 0, 0, probe_done);
    expect(loop, &closed, 0);
    expect(loop, &late, FERRY_EBADF);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(p[i].calls, 1);
        assert_true(p[i].order < closed.order);
        if (p[i].result >= 0) close_near(loop, (ferry_fd)p[i].result);
        else assert_int_equal(p[i].result, FERRY_ECANCELED);
    }
    finish(loop);
}

/* The same file again and again is opened without help of other threads where that is known, and a
 * FIFO that takes its place is waited for nevertheless. */
static void ops_open_of_what_was_a_file(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    snprintf(path, sizeof path, "%s", temp_path("file"));
    for (int i = 0; i < 5; i++) {
        close_far(make_file(path, "data", 4));
        assert_int_equal(try_at(loop, FERRY_FD_NONE, path, 0), 0);
        assert_int_equal(try_at(loop, FERRY_FD_NONE, path, 0), 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        struct probe p = {.calls = 0}, w = {.calls = 0};
        unsigned how = i % 2 ? FERRY_OPEN_READ : FERRY_OPEN_WRITE;
        ferry_open(loop, &p.op, path, how, 0, 0, probe_done);
        run_for(loop, 5 * MS);
        assert_int_equal(p.calls, 0);
        ferry_open(loop, &w.op, path, FERRY_OPEN_READ | FERRY_OPEN_WRITE, 0, 0, probe_done);
        probe_wait(loop, &w);
        probe_wait(loop, &p);
        assert_true(p.result >= 0 && w.result >= 0);
        close_near(loop, (ferry_fd)p.result);
        close_near(loop, (ferry_fd)w.result);
        assert_int_equal(unlink(path), 0);
    }
    finish(loop);
}

/* Before the open is carried out, and after it was looked at. */
static void ops_open_of_a_fifo_that_takes_the_place_of_a_file(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], fifo[340];
    struct probe p = {.calls = 0};
    snprintf(path, sizeof path, "%s", temp_path("file"));
    snprintf(fifo, sizeof fifo, "%s.fifo", path);
    close_far(make_file(path, "data", 4));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(try_at(loop, FERRY_FD_NONE, path, 0), 0);
    ferry_open(loop, &p.op, path, FERRY_OPEN_READ, 0, 0, probe_done);
    assert_int_equal(rename(fifo, path), 0);
    run_for(loop, 20 * MS);
    struct stat about;
    int was_quick = p.calls == 1 && p.result >= 0 && fstat((int)p.result, &about) == 0 &&
                    S_ISREG(about.st_mode); /* the file was open before that */
    if (!was_quick) {
        assert_int_equal(p.calls, 0);
        ferry_fd other = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(other >= 0);
        probe_wait(loop, &p);
        assert_true(p.result >= 0);
        close_far(other);
    }
    close_near(loop, (ferry_fd)p.result);
    finish(loop);
}

static void ops_open_of_devices(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char byte = 'x';
    struct probe p[2];
    memset(p, 0, sizeof p);
    ferry_open(loop, &p[0].op, "/dev/zero", FERRY_OPEN_READ, 0, 0, probe_done);
    probe_wait(loop, &p[0]);
    assert_true(p[0].result >= 0);
    ferry_read(loop, &p[1].op, (ferry_fd)p[0].result, &byte, 1, FERRY_CURRENT, 0, probe_done);
    expect(loop, &p[1], 1);
    assert_int_equal(byte, 0);
    close_near(loop, (ferry_fd)p[0].result);
    finish(loop);
}

const struct contract_test ops_open_at_tests[] = {
    {"ops_open_at_relative", ops_open_at_relative, 0},
    {"ops_open_at_current_directory", ops_open_at_current_directory, 0},
    {"ops_open_beneath", ops_open_beneath, 0},
    {"ops_open_beneath_creates_nothing_outside", ops_open_beneath_creates_nothing_outside, 0},
    {"ops_open_beneath_while_renaming", ops_open_beneath_while_renaming, 0},
    {"ops_open_at_bad_directories", ops_open_at_bad_directories, 0},
    {"contract_07_open_at_and_close_of_the_directory",
     contract_07_open_at_and_close_of_the_directory, 0},
    {"ops_open_of_what_was_a_file", ops_open_of_what_was_a_file, 0},
    {"ops_open_of_a_fifo_that_takes_the_place_of_a_file",
     ops_open_of_a_fifo_that_takes_the_place_of_a_file, 0},
    {"ops_open_of_devices", ops_open_of_devices, 0},
    {NULL, NULL, 0},
};
