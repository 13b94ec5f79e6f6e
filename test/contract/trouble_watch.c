/* trouble_watch.c - watches: bad input, full buffers and queues, and ends at every moment
 *
 * SPDX-License-Identifier: MIT
 */
#include "watched.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Bad input ------------------------------------------------------------------------- */

static void refused(ferry_loop *loop, const char *path, ferry_watcher *watcher, unsigned flags,
                    int64_t error) {
    struct probe p = {.calls = 0};
    ferry_watch(loop, &p.op, path, watcher, flags, probe_done);
    expect_all(loop, &p, error, 0, 0);
}

static void trouble_watch_arguments(void **state) {
    (void)state;
    static char buf[FERRY_WATCH_BYTES_MIN], endless[40000], name[512];
    ferry_watcher good = {.buf = buf, .len = sizeof buf}, none = {.buf = NULL, .len = 4096};
    ferry_watcher tiny = {.buf = buf, .len = FERRY_WATCH_BYTES_MIN - 1};
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    for (size_t i = 0; i < sizeof endless - 1; i++) endless[i] = i % 2 ? 'x' : '/';
    memset(name, 'n', sizeof name - 1);
    write_file(in(d, "file"), "1");
    refused(loop, NULL, &good, 0, FERRY_EFAULT);
    refused(loop, d, NULL, 0, FERRY_EFAULT);
    refused(loop, d, &none, 0, FERRY_EFAULT);
    refused(loop, d, &tiny, 0, FERRY_EINVAL);
    refused(loop, d, &good, FERRY_MULTI, FERRY_EINVAL);
    refused(loop, d, &good, 0x40000000u, FERRY_EINVAL);
    refused(loop, "", &good, 0, FERRY_ENOENT);
    refused(loop, in(d, "none"), &good, 0, FERRY_ENOENT);
    refused(loop, in(d, "file/below"), &good, 0, FERRY_ENOTDIR);
    refused(loop, in(d, name), &good, 0, FERRY_ENAMETOOLONG);
    refused(loop, endless, &good, 0, FERRY_ENAMETOOLONG);
    if (!omits_links()) {
        assert_int_equal(symlink("loop", in(d, "loop")), 0);
        refused(loop, in(d, "loop"), &good, 0, FERRY_ELOOP);
    }
    check_kernel_watches(0);
    finish(loop);
}

static void trouble_watch_without_descriptors(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    ferry_fd fds[64];
    int count = 0;
    assert_int_equal(set_fd_limit(64), 0);
    while (count < 64 && (fds[count] = dup(1)) >= 0) count++;
    watched_submit(loop, &w, d, 0);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_EMFILE);
    while (count > 0) close(fds[--count]);
    watched_begin(loop, &w, d); /* and then there are some */
    watched_cancel(loop, &w);
    finish(loop);
}

/* ---- Full ------------------------------------------------------------------------------ */

static void make_entries(const char *directory, int count) {
    char name[32];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "entry %04d", i);
        ferry_fd fd = open(in(directory, name), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
}

/* Whoever takes what comes loses nothing, however small the buffer. */
static void trouble_watch_small_buffer_loses_nothing(void **state) {
    (void)state;
    enum { ENTRIES = 2000 };
    static struct watched small, large;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_submit_small(loop, &small, d, FERRY_WATCH_BYTES_MIN, 0);
    watched_wait_begun(loop, &small);
    watched_begin(loop, &large, d);
    make_entries(d, ENTRIES);
    while (small.count < ENTRIES || large.count < ENTRIES) {
        assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    }
    assert_int_equal(small.count, ENTRIES);
    assert_int_equal(large.count, ENTRIES);
    assert_int_equal(small.overflows + large.overflows, 0);
    watched_cancel(loop, &small);
    watched_cancel(loop, &large);
    finish(loop);
}

/* Whoever does not is told that something is missing, in its place; and goes on. */
static void trouble_watch_full_buffer_is_told(void **state) {
    (void)state;
    static struct watched lazy, eager;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_submit_small(loop, &lazy, d, FERRY_WATCH_BYTES_MIN, 0);
    lazy.takes = 0;
    watched_wait_begun(loop, &lazy);
    watched_begin(loop, &eager, d);
    make_entries(d, 300);
    while (eager.count < 300) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(eager.overflows, 0);
    int64_t waiting = lazy.probe.result;
    assert_true(waiting > 1 && waiting < 300);
    watched_take(&lazy);
    assert_int_equal(lazy.count, waiting);
    assert_int_equal(lazy.overflows, 1);
    assert_int_equal(lazy.told[waiting - 1].kind, FERRY_CHANGE_OVERFLOW);
    for (int i = 0; i < waiting - 1; i++) {
        char name[32];
        snprintf(name, sizeof name, "entry %04d", i);
        assert_string_equal(lazy.told[i].name, name);
    }
    lazy.count = 0;
    lazy.takes = 1;
    write_file(in(d, "later"), "1");
    watched_until(loop, &lazy, FERRY_CHANGE_MODIFIED, "later");
    assert_int_equal(lazy.overflows, 1);
    watched_cancel(loop, &lazy);
    watched_cancel(loop, &eager);
    finish(loop);
}

/* Taking one at a time leaves the rest where it is, through every place of the buffer. */
static void trouble_watch_taking_one_at_a_time(void **state) {
    (void)state;
    enum { ENTRIES = 500, AHEAD = 10 };
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), name[32];
    int made = 0;
    watched_submit_small(loop, &w, d, FERRY_WATCH_BYTES_MIN, 0);
    w.takes = 0;
    watched_wait_begun(loop, &w);
    for (int i = 0; i < ENTRIES; i++) {
        ferry_change change;
        for (; made < ENTRIES && made < i + AHEAD; made++) {
            int calls = w.probe.calls;
            snprintf(name, sizeof name, "%0*d", 1 + made % 20, made);
            assert_int_equal(mkdir(in(d, name), 0700), 0);
            while (w.probe.calls == calls) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
            assert_int_equal(w.probe.result, made + 1 - i);
        }
        assert_int_equal(ferry_watch_next(&w.watcher, &change), 1);
        snprintf(name, sizeof name, "%0*d", 1 + i % 20, i);
        assert_string_equal(change.name, name);
        assert_int_equal(change.kind, FERRY_CHANGE_CREATED);
    }
    watched_cancel(loop, &w);
    finish(loop);
}

/* ---- Ends ------------------------------------------------------------------------------ */

static void trouble_watch_cancel(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_submit(loop, &w, d, 0); /* before a worker is back */
    ferry_cancel(loop, &w.probe.op);
    ferry_cancel(loop, &w.probe.op);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ECANCELED);
    assert_int_equal(w.probe.calls, 1);
    watched_submit(loop, &w, d, 0); /* while one is at it, or back */
    sleep_ns(5 * MS);
    ferry_cancel(loop, &w.probe.op);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ECANCELED);
    watched_begin(loop, &w, d);
    watched_cancel(loop, &w);
    ferry_cancel(loop, &w.probe.op); /* idle: nothing */
    check_kernel_watches(0);
    finish(loop);
}

struct quitter {
    struct watched watched;
    ferry_loop *loop;
};

static void on_quit(ferry_op *op) {
    struct quitter *q = ferry_container(op, struct quitter, watched.probe.op);
    probe_done(op);
    if (op->flags & FERRY_MORE) ferry_cancel(q->loop, op);
}

static void trouble_watch_cancelled_by_its_callback(void **state) {
    (void)state;
    static struct quitter q;
    q.loop = test_loop();
    q.watched.watcher.buf = q.watched.buf;
    q.watched.watcher.len = sizeof q.watched.buf;
    char *d = make_directory("d");
    ferry_watch(q.loop, &q.watched.probe.op, d, &q.watched.watcher, 0, on_quit);
    probe_wait(q.loop, &q.watched.probe);
    assert_int_equal(q.watched.probe.calls, 2);
    assert_int_equal(q.watched.probe.result, FERRY_ECANCELED);
    finish(q.loop);
}

static void trouble_watch_deadlines(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), name[16];
    uint64_t last_ns = 0;
    w.probe.op.deadline_ns = SECOND; /* the longest gap */
    watched_begin(loop, &w, d);
    for (int i = 0; i < 4 && w.probe.finals == 0; i++) {
        run_for(loop, 300 * MS);
        last_ns = clock_ns();
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(mkdir(in(d, name), 0700), 0);
        watched_until(loop, &w, FERRY_CHANGE_CREATED, name);
    }
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ETIMEDOUT);
    assert_int_equal(w.count, 4);
    assert_true(w.probe.called_ns - last_ns >= SECOND);

    w.probe.op.deadline_ns = 1; /* over before it has begun */
    watched_submit(loop, &w, d, 0);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ETIMEDOUT);
    w.probe.op.deadline_ns = 0;
    check_kernel_watches(0);
    finish(loop);
}

static void trouble_watch_drain_and_close(void **state) {
    (void)state;
    static struct watched w[3];
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    watched_begin(loop, &w[0], d);
    watched_begin(loop, &w[1], d);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    watched_submit(loop, &w[2], d, 0);
    write_file(in(d, "a"), "1");
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w[i].probe.finals, 1);
        assert_int_equal(w[i].probe.result, FERRY_ECANCELED);
    }
    check_kernel_watches(0);
    watched_submit(loop, &w[0], d, 0);
    probe_wait(loop, &w[0].probe);
    assert_int_equal(w[0].probe.result, FERRY_ECLOSED);
    test_close(loop);
}

/* Never run at all: what a worker brings back is still waited for. */
static void trouble_watch_drained_before_it_has_run(void **state) {
    (void)state;
    static struct watched w;
    ferry_loop *loop = test_loop();
    watched_submit(loop, &w, make_directory("d"), 0);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    assert_int_equal(w.probe.result, FERRY_ECANCELED);
    test_close(loop);
}

static void on_freed(ferry_op *op) {
    struct watched *w = ferry_container(op, struct watched, probe.op);
    if (op->flags & FERRY_MORE) {
        watched_take(w);
    } else {
        free(w);
    }
}

static void trouble_watch_freed_in_its_callback(void **state) {
    (void)state;
    int ends = !omits_on_wine("Wine keeps what was removed until its last handle is closed");
    ferry_loop *loop = test_loop();
    char *d = make_directory("d");
    for (int i = 0; i < 4; i++) {
        struct watched *w = calloc(1, sizeof *w);
        assert_non_null(w);
        w->watcher.buf = w->buf;
        w->watcher.len = sizeof w->buf;
        ferry_watch(loop, &w->probe.op, d, &w->watcher, 0, on_freed);
        if (i > 0) run_for(loop, 5 * MS);
        if (i == 2) {
            assert_int_equal(mkdir(in(d, "x"), 0700), 0);
            run_for(loop, 5 * MS);
        }
        if (i == 3 && ends) {
            assert_int_equal(rmdir(in(d, "x")), 0);
            assert_int_equal(rmdir(d), 0);
        } else {
            ferry_cancel(loop, &w->probe.op);
        }
        run_done(loop);
    }
    finish(loop);
}

/* ---- Races ----------------------------------------------------------------------------- */

/* The last watch of a path ends while another one of it begins: that must not be left with a number
 * that is void. */
static void trouble_watch_one_ends_as_another_begins(void **state) {
    (void)state;
    enum { ROUNDS = 300 };
    static struct watched w[2];
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), name[16];
    watched_begin(loop, &w[0], d);
    for (int i = 0; i < ROUNDS; i++) {
        struct watched *old = &w[i % 2], *new = &w[(i + 1) % 2];
        watched_submit(loop, new, d, 0);
        if (i % 3 == 1) sleep_ns(MS / 5);
        ferry_cancel(loop, &old->probe.op);
        probe_wait(loop, &old->probe);
        watched_wait_begun(loop, new);
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(mkdir(in(d, name), 0700), 0);
        watched_until(loop, new, FERRY_CHANGE_CREATED, name);
        check_kernel_watches(1);
    }
    watched_cancel(loop, &w[ROUNDS % 2]);
    check_kernel_watches(0);
    finish(loop);
}

/* Removed before, while and after the watch begins: it ends in any case. */
static void trouble_watch_removed_as_it_begins(void **state) {
    (void)state;
    differs_on_wine("Wine keeps what was removed until its last handle is closed");
    enum { ROUNDS = 200 };
    static struct watched w, other;
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), *e = make_directory("e");
    watched_begin(loop, &other, e); /* keeps the loop reading */
    for (int i = 0; i < ROUNDS; i++) {
        watched_submit(loop, &w, d, 0);
        if (i % 4 == 1) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        if (i % 4 == 2) sleep_ns(MS / 5);
        assert_int_equal(rmdir(d), 0);
        if (i % 4 == 3) sleep_ns(MS / 5);
        probe_wait(loop, &w.probe);
        assert_int_equal(w.probe.result, FERRY_ENOENT);
        assert_int_equal(mkdir(d, 0700), 0);
    }
    watched_cancel(loop, &other);
    check_kernel_watches(0);
    finish(loop);
}

const struct contract_test trouble_watch_tests[] = {
    {"trouble_watch_arguments", trouble_watch_arguments, 0},
    {"trouble_watch_without_descriptors", trouble_watch_without_descriptors, 0},
    {"trouble_watch_small_buffer_loses_nothing", trouble_watch_small_buffer_loses_nothing, 0},
    {"trouble_watch_full_buffer_is_told", trouble_watch_full_buffer_is_told, 0},
    {"trouble_watch_taking_one_at_a_time", trouble_watch_taking_one_at_a_time, 0},
    {"trouble_watch_cancel", trouble_watch_cancel, 0},
    {"trouble_watch_cancelled_by_its_callback", trouble_watch_cancelled_by_its_callback, 0},
    {"trouble_watch_deadlines", trouble_watch_deadlines, 0},
    {"trouble_watch_drain_and_close", trouble_watch_drain_and_close, 0},
    {"trouble_watch_drained_before_it_has_run", trouble_watch_drained_before_it_has_run, 0},
    {"trouble_watch_freed_in_its_callback", trouble_watch_freed_in_its_callback, 0},
    {"trouble_watch_one_ends_as_another_begins", trouble_watch_one_ends_as_another_begins, 0},
    {"trouble_watch_removed_as_it_begins", trouble_watch_removed_as_it_begins, 0},
    {NULL, NULL, 0},
};
