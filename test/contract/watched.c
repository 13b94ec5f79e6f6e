/* watched.c - a watch that writes down what it was told
 *
 * SPDX-License-Identifier: MIT
 */
#include "watched.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE (20 * SECOND * TEST_STRETCH)

void watched_take(struct watched *w) {
    ferry_change change;
    while (ferry_watch_next(&w->watcher, &change)) {
        assert_int_equal(strlen(change.name), change.name_len);
        if (change.kind == FERRY_CHANGE_OVERFLOW) w->overflows++;
        if (w->count < TOLD_MAX) {
            struct told *told = &w->told[w->count];
            told->kind = change.kind;
            told->is_directory = change.is_directory;
            told->pair = change.pair;
            snprintf(told->name, sizeof told->name, "%s", change.name);
        }
        w->count++;
    }
}

static void on_change(ferry_op *op) {
    struct watched *w = ferry_container(op, struct watched, probe.op);
    probe_done(op);
    if (op->flags & FERRY_MORE) assert_true(op->result >= (w->probe.calls > 1));
    if (w->takes) watched_take(w);
}

void watched_submit_small(ferry_loop *loop, struct watched *w, const char *path, size_t bytes,
                          unsigned flags) {
    w->probe.calls = w->probe.finals = 0;
    w->probe.flags = 0;
    w->count = w->overflows = 0;
    w->takes = 1;
    w->watcher.buf = w->buf;
    w->watcher.len = bytes;
    ferry_watch(loop, &w->probe.op, path, &w->watcher, flags, on_change);
}

void watched_submit(ferry_loop *loop, struct watched *w, const char *path, unsigned flags) {
    watched_submit_small(loop, w, path, sizeof w->buf, flags);
}

void watched_wait_begun(ferry_loop *loop, struct watched *w) {
    uint64_t start_ns = clock_ns();
    while (w->probe.calls == 0) {
        assert_true(clock_ns() - start_ns < PATIENCE);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
    if (w->probe.finals > 0) fail_msg("did not begin: %s", ferry_error_name(w->probe.result));
}

void watched_begin(ferry_loop *loop, struct watched *w, const char *path) {
    watched_submit(loop, w, path, 0);
    watched_wait_begun(loop, w);
}

void watched_until(ferry_loop *loop, struct watched *w, enum ferry_change_kind kind,
                   const char *name) {
    uint64_t start_ns = clock_ns();
    for (size_t seen = 0;;) {
        for (; seen < w->count; seen++) {
            assert_true(seen < TOLD_MAX);
            if (w->told[seen].kind == kind && strcmp(w->told[seen].name, name) == 0) return;
        }
        if (clock_ns() - start_ns > PATIENCE) fail_msg("was not told of %s: %d", name, (int)kind);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
}

void watched_cancel(ferry_loop *loop, struct watched *w) {
    ferry_cancel(loop, &w->probe.op);
    probe_wait(loop, &w->probe);
    assert_int_equal(w->probe.result, FERRY_ECANCELED);
}

int watched_merges(void) {
    return strncmp(test_backend(), "kqueue", 6) == 0;
}

char *make_directory(const char *name) {
    static char paths[8][320];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s", temp_path(name));
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

char *in(const char *directory, const char *name) {
    static char paths[8][768];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

void write_file(const char *path, const char *text) {
    ferry_fd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}
