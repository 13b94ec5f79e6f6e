/* ops_watch.c - waiting for changes of directories and files
 *
 * SPDX-License-Identifier: MIT
 */
#include "watched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What is told ---------------------------------------------------------------------- */

static void ops_watch_tells_that_it_has_begun(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    watched_begin(loop, &w, make_directory("d"));
    assert_int_equal(w.probe.calls, 1);
    assert_int_equal(w.probe.result, 0);
    assert_int_equal(w.probe.flags, FERRY_MORE);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1); /* it keeps the loop going */
    assert_int_equal(w.count, 0);
    watched_cancel(loop, &w);
    finish(loop);
}

/* What is told of these, whoever looks when. */
static const struct told each_kind[] = {
    {FERRY_CHANGE_CREATED, 0, 0, "a"},    {FERRY_CHANGE_MODIFIED, 0, 0, "a"},
    {FERRY_CHANGE_ATTRIBUTES, 0, 0, "a"}, {FERRY_CHANGE_MOVED_FROM, 0, 1, "a"},
    {FERRY_CHANGE_MOVED_TO, 0, 1, "b"},   {FERRY_CHANGE_CREATED, 1, 0, "sub"},
    {FERRY_CHANGE_DELETED, 0, 0, "b"},    {FERRY_CHANGE_DELETED, 1, 0, "sub"},
};

static void expect_each_kind(const struct watched *w) {
    size_t count = sizeof each_kind / sizeof each_kind[0];
    assert_int_equal(w->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(w->told[i].kind, each_kind[i].kind);
        assert_int_equal(w->told[i].is_directory, each_kind[i].is_directory);
        assert_int_equal(w->told[i].pair != 0, each_kind[i].pair != 0);
        assert_string_equal(w->told[i].name, each_kind[i].name);
    }
    assert_int_equal(w->told[3].pair, w->told[4].pair);
}

static void ops_watch_each_kind_of_change(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_begin(loop, &w, d);
    write_file(in(d, "a"), "1");
    watched_until(loop, &w, FERRY_CHANGE_MODIFIED, "a");
    assert_int_equal(chmod(in(d, "a"), 0640), 0);
    watched_until(loop, &w, FERRY_CHANGE_ATTRIBUTES, "a");
    assert_int_equal(rename(in(d, "a"), in(d, "b")), 0);
    watched_until(loop, &w, FERRY_CHANGE_MOVED_TO, "b");
    assert_int_equal(mkdir(in(d, "sub"), 0700), 0);
    watched_until(loop, &w, FERRY_CHANGE_CREATED, "sub");
    assert_int_equal(unlink(in(d, "b")), 0);
    watched_until(loop, &w, FERRY_CHANGE_DELETED, "b");
    assert_int_equal(rmdir(in(d, "sub")), 0);
    watched_until(loop, &w, FERRY_CHANGE_DELETED, "sub");
    expect_each_kind(&w);
    watched_cancel(loop, &w);
    finish(loop);
}

/* The same, seen afterwards. */
static void ops_watch_keeps_the_order(void **state) {
    (void)state;
    differs_on_windows("changes of different kinds are not told in order");
    static struct watched w;
    if (watched_merges())
        test_skip("the system tells that a directory has changed, and not in what");
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_begin(loop, &w, d);
    write_file(in(d, "a"), "1");
    assert_int_equal(chmod(in(d, "a"), 0640), 0);
    assert_int_equal(rename(in(d, "a"), in(d, "b")), 0);
    assert_int_equal(mkdir(in(d, "sub"), 0700), 0);
    assert_int_equal(unlink(in(d, "b")), 0);
    assert_int_equal(rmdir(in(d, "sub")), 0);
    watched_until(loop, &w, FERRY_CHANGE_DELETED, "sub");
    expect_each_kind(&w);
    watched_cancel(loop, &w);
    finish(loop);
}

static void ops_watch_pairs_a_rename_between_directories(void **state) {
    (void)state;
    differs_on_windows("changes of different kinds are not told in order");
    static struct watched from, to;
    ferry_loop *loop = test_loop();
    char *a = make_directory("a"), *b = make_directory("b");
    write_file(in(a, "x"), "1");
    watched_begin(loop, &from, a);
    watched_begin(loop, &to, b);
    assert_int_equal(rename(in(a, "x"), in(b, "y")), 0);
    watched_until(loop, &from, FERRY_CHANGE_MOVED_FROM, "x");
    watched_until(loop, &to, FERRY_CHANGE_MOVED_TO, "y");
    assert_true(from.told[0].pair != 0);
    assert_int_equal(from.told[0].pair, to.told[0].pair);
    watched_cancel(loop, &from);
    watched_cancel(loop, &to);
    finish(loop);
}

static void ops_watch_a_directory_that_is_removed(void **state) {
    (void)state;
    differs_on_wine("Wine keeps what was removed until its last handle is closed");
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_begin(loop, &w, d);
    assert_int_equal(rmdir(d), 0);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ENOENT);
    assert_int_equal(w.told[w.count - 1].kind, FERRY_CHANGE_REMOVED);
    assert_string_equal(w.told[w.count - 1].name, "");
    check_kernel_watches(0);
    assert_int_equal(mkdir(d, 0700), 0); /* another of that name can be watched anew */
    watched_begin(loop, &w, d);
    write_file(in(d, "a"), "1");
    watched_until(loop, &w, FERRY_CHANGE_MODIFIED, "a");
    watched_cancel(loop, &w);
    finish(loop);
}

static void ops_watch_goes_with_what_is_moved(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), *e = temp_path("e");
    watched_begin(loop, &w, d);
    assert_int_equal(rename(d, e), 0);
    watched_until(loop, &w, FERRY_CHANGE_MOVED, "");
    assert_int_equal(w.probe.finals, 0);
    write_file(in(e, "a"), "1");
    watched_until(loop, &w, FERRY_CHANGE_CREATED, "a");
    watched_cancel(loop, &w);
    finish(loop);
}

static void ops_watch_a_file(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *path = temp_path("file");
    write_file(path, "1");
    watched_begin(loop, &w, path);
    write_file(path, "2");
    watched_until(loop, &w, FERRY_CHANGE_MODIFIED, "");
    assert_int_equal(chmod(path, 0600), 0);
    watched_until(loop, &w, FERRY_CHANGE_ATTRIBUTES, "");
    assert_int_equal(unlink(path), 0);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ENOENT);
    assert_int_equal(w.told[w.count - 1].kind, FERRY_CHANGE_REMOVED);

    /* Replaced by another, as editors do. */
    char *other = temp_path("other");
    write_file(path, "1");
    write_file(other, "2");
    watched_begin(loop, &w, path);
    assert_int_equal(rename(other, path), 0);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ENOENT);
    finish(loop);
}

static void ops_watch_follows_a_symbolic_link(void **state) {
    (void)state;
    need_links();
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), *link = temp_path("link");
    assert_int_equal(symlink(d, link), 0);
    watched_begin(loop, &w, link);
    write_file(in(d, "a"), "1");
    watched_until(loop, &w, FERRY_CHANGE_CREATED, "a");
    watched_cancel(loop, &w);
    finish(loop);
}

static void ops_watch_long_names(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), name[NAME_MAX_BYTES + 1];
    watched_begin(loop, &w, d);
    for (size_t len = 1; len <= NAME_MAX_BYTES; len++) {
        memset(name, 'n', len);
        name[len] = '\0';
        w.count = 0;
        assert_int_equal(mkdir(in(d, name), 0700), 0);
        watched_until(loop, &w, FERRY_CHANGE_CREATED, name);
        assert_int_equal(rmdir(in(d, name)), 0);
        watched_until(loop, &w, FERRY_CHANGE_DELETED, name);
    }
    watched_cancel(loop, &w);
    finish(loop);
}

/* ---- Several --------------------------------------------------------------------------- */

static void ops_watch_the_same_path_twice(void **state) {
    (void)state;
    static struct watched w[3];
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    for (int i = 0; i < 3; i++) watched_begin(loop, &w[i], d);
    check_kernel_watches(1);
    write_file(in(d, "a"), "1");
    for (int i = 0; i < 3; i++) watched_until(loop, &w[i], FERRY_CHANGE_MODIFIED, "a");
    watched_cancel(loop, &w[1]);
    write_file(in(d, "b"), "1");
    watched_until(loop, &w[0], FERRY_CHANGE_MODIFIED, "b");
    watched_until(loop, &w[2], FERRY_CHANGE_MODIFIED, "b");
    watched_cancel(loop, &w[0]);
    check_kernel_watches(1);
    watched_cancel(loop, &w[2]);
    check_kernel_watches(0);
    for (int i = 0; i < 3; i++) watched_begin(loop, &w[i], d);
    assert_int_equal(rmdir(d), -1);
    assert_int_equal(unlink(in(d, "a")), 0);
    assert_int_equal(unlink(in(d, "b")), 0);
    assert_int_equal(rmdir(d), 0);
    int ends = !omits_on_wine("Wine keeps what was removed until its last handle is closed");
    for (int i = 0; i < 3; i++) {
        if (!ends) {
            watched_until(loop, &w[i], FERRY_CHANGE_DELETED, "b");
            watched_cancel(loop, &w[i]);
            continue;
        }
        probe_wait(loop, &w[i].probe);
        assert_int_equal(w[i].probe.result, FERRY_ENOENT);
        assert_int_equal(w[i].told[w[i].count - 1].kind, FERRY_CHANGE_REMOVED);
    }
    finish(loop);
}

static void ops_watch_many_directories(void **state) {
    (void)state;
    enum { MANY = 500 };
    struct watched *w = calloc(MANY, sizeof *w);
    assert_non_null(w);
    ferry_loop *loop = test_loop();
    char *top = make_directory("top"), name[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%d", i);
        snprintf(w[i].path, sizeof w[i].path, "%s", in(top, name));
        assert_int_equal(mkdir(w[i].path, 0700), 0);
        watched_submit(loop, &w[i], w[i].path, 0);
    }
    for (int i = 0; i < MANY; i++) watched_wait_begun(loop, &w[i]);
    check_kernel_watches(MANY);
    for (int i = 0; i < MANY; i += 7) assert_int_equal(mkdir(in(w[i].path, "x"), 0700), 0);
    for (int i = 0; i < MANY; i++) {
        if (i % 7 == 0) {
            watched_until(loop, &w[i], FERRY_CHANGE_CREATED, "x");
        } else {
            assert_int_equal(w[i].count, 0);
        }
    }
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < MANY; i++) assert_int_equal(w[i].probe.result, FERRY_ECANCELED);
    check_kernel_watches(0);
    test_close(loop);
    free(w);
}

static void ops_watch_in_two_loops(void **state) {
    (void)state;
    static struct watched w[2];
    ferry_loop *loops[2] = {test_loop(), test_loop()};
    char *d = make_directory("d");
    for (int i = 0; i < 2; i++) watched_begin(loops[i], &w[i], d);
    write_file(in(d, "a"), "1");
    for (int i = 0; i < 2; i++) watched_until(loops[i], &w[i], FERRY_CHANGE_CREATED, "a");
    for (int i = 0; i < 2; i++) watched_cancel(loops[i], &w[i]);
    for (int i = 0; i < 2; i++) finish(loops[i]);
}

/* ---- Taking them ----------------------------------------------------------------------- */

static void ops_watch_in_the_background(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_submit(loop, &w, d, FERRY_BACKGROUND);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    watched_wait_begun(loop, &w);
    assert_int_equal(loop_stats(loop).in_flight, 1);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    write_file(in(d, "a"), "1");
    watched_until(loop, &w, FERRY_CHANGE_CREATED, "a");
    watched_cancel(loop, &w);
    finish(loop);
}

static void ops_watch_wakes_a_loop_that_sleeps(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_begin(loop, &w, d);
    const char *const argv[] = {"contract", "--child", "pause", "20", "make", in(d, "x"), NULL};
    pid_t pid = plain_child(argv, NULL);
    while (w.count == 0) assert_int_equal(ferry_run(loop, FERRY_RUN_ONCE), 1);
    assert_int_equal(w.told[0].kind, FERRY_CHANGE_CREATED);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_int_equal(status, 0);
    watched_cancel(loop, &w);
    finish(loop);
}

static void ops_watch_reaped(void **state) {
    (void)state;
    static char buf[4096];
    ferry_watcher watcher = {.buf = buf, .len = sizeof buf};
    ferry_op op = {.done = NULL};
    ferry_completion c;
    ferry_change change;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    ferry_watch(loop, &op, d, &watcher, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, &c, 1, 10 * SECOND), 1);
    assert_int_equal(c.result, 0);
    assert_int_equal(c.flags, FERRY_MORE);
    assert_int_equal(ferry_watch_next(&watcher, &change), 0);
    assert_int_equal(mkdir(in(d, "x"), 0700), 0);
    assert_int_equal(mkdir(in(d, "y"), 0700), 0);
    do { /* each by itself, where the system has told of the first before the second was made */
        assert_int_equal(ferry_reap(loop, &c, 1, 10 * SECOND), 1);
    } while (c.result == 1);
    assert_int_equal(c.result, 2);
    assert_int_equal(ferry_watch_next(&watcher, &change), 1);
    assert_string_equal(change.name, "x");
    assert_int_equal(change.name_len, 1);
    ferry_cancel(loop, &op);
    assert_int_equal(ferry_reap(loop, &c, 1, 10 * SECOND), 1);
    assert_int_equal(c.result, FERRY_ECANCELED);
    assert_int_equal(ferry_watch_next(&watcher, &change), 1); /* still there */
    assert_string_equal(change.name, "y");
    assert_int_equal(ferry_watch_next(&watcher, &change), 0);
    finish(loop);
}

/* A child that closes its copy of the loop takes nothing from the parent. */
static void ops_watch_and_a_forked_child(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_begin(loop, &w, d);
    pid_t pid = test_fork();
    if (pid == 0) _exit(ferry_loop_close(loop));
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_int_equal(status, 0);
    write_file(in(d, "a"), "1");
    watched_until(loop, &w, FERRY_CHANGE_CREATED, "a");
    watched_cancel(loop, &w);
    finish(loop);
}

const struct contract_test ops_watch_tests[] = {
    {"ops_watch_tells_that_it_has_begun", ops_watch_tells_that_it_has_begun, 0},
    {"ops_watch_each_kind_of_change", ops_watch_each_kind_of_change, 0},
    {"ops_watch_keeps_the_order", ops_watch_keeps_the_order, 0},
    {"ops_watch_pairs_a_rename_between_directories", ops_watch_pairs_a_rename_between_directories,
     0},
    {"ops_watch_a_directory_that_is_removed", ops_watch_a_directory_that_is_removed, 0},
    {"ops_watch_goes_with_what_is_moved", ops_watch_goes_with_what_is_moved, 0},
    {"ops_watch_a_file", ops_watch_a_file, 0},
    {"ops_watch_follows_a_symbolic_link", ops_watch_follows_a_symbolic_link, 0},
    {"ops_watch_long_names", ops_watch_long_names, 0},
    {"ops_watch_the_same_path_twice", ops_watch_the_same_path_twice, 0},
    {"ops_watch_many_directories", ops_watch_many_directories, 0},
    {"ops_watch_in_two_loops", ops_watch_in_two_loops, 0},
    {"ops_watch_in_the_background", ops_watch_in_the_background, 0},
    {"ops_watch_wakes_a_loop_that_sleeps", ops_watch_wakes_a_loop_that_sleeps, 0},
    {"ops_watch_reaped", ops_watch_reaped, 0},
    {"ops_watch_and_a_forked_child", ops_watch_and_a_forked_child, 0},
    {NULL, NULL, 0},
};
