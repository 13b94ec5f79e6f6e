/* Watches and signals at their seam of system calls: limits that are reached, a file system that is
 * unmounted, a source that breaks, numbers that end while a worker brings them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core.h"

#include "linux/calls.h"
#include "posix/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* A struct inotify_event without a name: that one cannot be an element of an array. */
struct event {
    int32_t wd;
    uint32_t mask, cookie, len;
};

_Static_assert(sizeof(struct event) == sizeof(struct inotify_event), "one is the other");

/* ---- A kernel of our own ----------------------------------------------------------------- */

static struct ferry__calls plain;
static struct ferry__linux_calls plain_linux;

static struct {
    int init_error, add_error, sigaction_error;
    int source;         /* the real inotify instance */
    int next;           /* the number that the next add gives; 0: the real one */
    int adds, removals; /* calls */
    int removed;        /* the last number that was taken away */
    bool blind;         /* nothing tells which numbers there are */
    const void *events; /* what the next read of the source gives instead of what is there */
    size_t bytes;
    int read_error;
} seam;

/* While an add is under way the test holds it. */
static pthread_mutex_t add_lock = PTHREAD_MUTEX_INITIALIZER;

static int seam_init(int flags) {
    if (seam.init_error != 0) {
        errno = seam.init_error;
        return -1;
    }
    return seam.source = plain_linux.inotify_init(flags);
}

static int seam_add(int fd, const char *path, uint32_t mask) {
    pthread_mutex_lock(&add_lock);
    seam.adds++;
    int number = seam.next != 0 ? seam.next : plain_linux.inotify_add_watch(fd, path, mask);
    if (seam.add_error != 0) {
        errno = seam.add_error;
        number = -1;
    }
    pthread_mutex_unlock(&add_lock);
    return number;
}

static int seam_remove(int fd, int number) {
    seam.removals++;
    seam.removed = number;
    return plain_linux.inotify_rm_watch(fd, number);
}

static ssize_t seam_read(int fd, void *buf, size_t len) {
    if (fd != seam.source || (seam.bytes == 0 && seam.read_error == 0)) {
        return plain.read(fd, buf, len);
    }
    char aside[4096];
    (void)plain.read(fd, aside, sizeof aside);
    if (seam.read_error != 0) {
        errno = seam.read_error;
        return -1;
    }
    size_t bytes = seam.bytes;
    assert_true(bytes <= len);
    memcpy(buf, seam.events, bytes);
    seam.bytes = 0;
    return (ssize_t)bytes;
}

static int seam_open(const char *path) {
    if (!seam.blind) return plain.open_to_read(path);
    errno = ENOENT;
    return -1;
}

static int seam_sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    if (seam.sigaction_error != 0) {
        errno = seam.sigaction_error;
        return -1;
    }
    return plain.sigaction(number, action, before);
}

static int seam_begin(void **state) {
    (void)state;
    memset(&seam, 0, sizeof seam);
    seam.source = -1;
    plain = ferry__calls;
    plain_linux = ferry__linux_calls;
    ferry__linux_calls.inotify_init = seam_init;
    ferry__linux_calls.inotify_add_watch = seam_add;
    ferry__linux_calls.inotify_rm_watch = seam_remove;
    ferry__calls.read = seam_read;
    ferry__calls.open_to_read = seam_open;
    ferry__calls.sigaction = seam_sigaction;
    return 0;
}

static int seam_end(void **state) {
    (void)state;
    ferry__calls = plain;
    ferry__linux_calls = plain_linux;
    return 0;
}

/* ---- A watch ----------------------------------------------------------------------------- */

struct watching {
    ferry_op op;
    ferry_watcher watcher;
    char buf[FERRY_WATCH_BYTES_MIN], path[32];
    int calls, finals;
    int64_t result;
    enum ferry_change_kind kinds[16];
    int count;
};

static void on_change(ferry_op *op) {
    struct watching *w = ferry_container(op, struct watching, op);
    ferry_change change;
    w->calls++;
    w->result = op->result;
    if (!(op->flags & FERRY_MORE)) w->finals++;
    while (ferry_watch_next(&w->watcher, &change)) {
        assert_true(w->count < 16);
        w->kinds[w->count++] = change.kind;
    }
}

static void watch(ferry_loop *loop, struct watching *w) {
    w->calls = w->finals = w->count = 0;
    w->watcher.buf = w->buf;
    w->watcher.len = sizeof w->buf;
    if (w->path[0] == '\0') {
        strcpy(w->path, "/tmp/ferry-seam-XXXXXX");
        assert_non_null(mkdtemp(w->path));
    }
    ferry_watch(loop, &w->op, w->path, &w->watcher, 0, on_change);
}

static void run_until(ferry_loop *loop, const int *count, int least) {
    uint64_t limit = ferry__os_clock() + 20 * UINT64_C(1000000000);
    while (*count < least) {
        assert_true(ferry__os_clock() < limit);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
}

static void begin(ferry_loop *loop, struct watching *w) {
    watch(loop, w);
    run_until(loop, &w->calls, 1);
    assert_int_equal(w->finals, 0);
}

static void end_all(ferry_loop *loop, struct watching *w) {
    if (w->finals == 0) {
        ferry_cancel(loop, &w->op);
        run_until(loop, &w->finals, 1);
        assert_int_equal(w->result, FERRY_ECANCELED);
    }
    assert_int_equal(rmdir(w->path), 0);
    w->path[0] = '\0';
}

static ferry_loop *open_loop(void) {
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    return loop;
}

static void must_end_with(ferry_loop *loop, struct watching *w, int error) {
    run_until(loop, &w->finals, 1);
    assert_int_equal(w->finals, 1);
    assert_int_equal(w->result, error);
}

/* The source becomes readable, and this is what is read. */
static void feed(const struct event *events, size_t count, const struct watching *w) {
    char path[64] = "";
    seam.events = events;
    seam.bytes = count * sizeof *events;
    strcat(strcpy(path, w->path), "/x");
    int fd = creat(path, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

/* ---- Tests ------------------------------------------------------------------------------- */

static void limits_have_errors_of_their_own(void **state) {
    (void)state;
    static struct watching w;
    ferry_loop *loop = open_loop();
    seam.init_error = EMFILE;
    watch(loop, &w);
    must_end_with(loop, &w, FERRY_EMFILE);
    seam.init_error = ENOMEM;
    watch(loop, &w);
    must_end_with(loop, &w, FERRY_ENOMEM);
    seam.init_error = 0;
    seam.add_error = ENOSPC;
    watch(loop, &w);
    must_end_with(loop, &w, FERRY_ENOSPC);
    seam.add_error = EACCES;
    watch(loop, &w);
    must_end_with(loop, &w, FERRY_EACCES);
    seam.add_error = 0;
    begin(loop, &w);
    end_all(loop, &w);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void an_unmount_is_told(void **state) {
    (void)state;
    static struct watching w;
    ferry_loop *loop = open_loop();
    begin(loop, &w);
    int number = (int)w.op.offset - 1;
    const struct event events[] = {{.wd = number, .mask = IN_UNMOUNT},
                                   {.wd = number, .mask = IN_IGNORED}};
    feed(events, 2, &w);
    must_end_with(loop, &w, FERRY_ENODEV);
    assert_int_equal(w.count, 1);
    assert_int_equal(w.kinds[0], FERRY_CHANGE_UNMOUNTED);
    end_all(loop, &w);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* An end of which nothing else was told, and numbers that nobody knows. */
static void ends_come_alone_and_strangers_are_passed_over(void **state) {
    (void)state;
    static struct watching w;
    ferry_loop *loop = open_loop();
    begin(loop, &w);
    const struct event strangers[] = {{.wd = 4711, .mask = IN_MODIFY},
                                      {.wd = 4711, .mask = IN_IGNORED},
                                      {.wd = INT32_MAX, .mask = IN_IGNORED}};
    feed(strangers, 3, &w);
    while (seam.bytes > 0) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(w.finals, 0);
    const struct event end = {.wd = (int)w.op.offset - 1, .mask = IN_IGNORED};
    feed(&end, 1, &w);
    must_end_with(loop, &w, FERRY_ENOENT);
    end_all(loop, &w);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void a_source_that_breaks_ends_all(void **state) {
    (void)state;
    static struct watching w[2];
    ferry_loop *loop = open_loop();
    begin(loop, &w[0]);
    begin(loop, &w[1]);
    seam.read_error = EIO;
    feed(NULL, 0, &w[0]);
    must_end_with(loop, &w[0], FERRY_EIO);
    must_end_with(loop, &w[1], FERRY_EIO);
    end_all(loop, &w[0]);
    end_all(loop, &w[1]);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* Where the system does not tell which watches live (no /proc), all are taken to. */
static void an_overflow_without_proc(void **state) {
    (void)state;
    static struct watching w;
    ferry_loop *loop = open_loop();
    begin(loop, &w);
    seam.blind = true;
    const struct event overflow = {.wd = -1, .mask = IN_Q_OVERFLOW};
    feed(&overflow, 1, &w);
    run_until(loop, &w.count, 1);
    assert_int_equal(w.kinds[0], FERRY_CHANGE_OVERFLOW);
    assert_int_equal(w.finals, 0);
    end_all(loop, &w);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* A worker brings a number that has ended meanwhile: it is asked again. */
static void a_number_that_has_ended_is_asked_for_again(void **state) {
    (void)state;
    static struct watching first, second;
    ferry_loop *loop = open_loop();
    begin(loop, &first);
    int number = (int)first.op.offset - 1;
    strcpy(second.path, first.path);
    pthread_mutex_lock(&add_lock);
    seam.next = number; /* as the kernel would say while the first is there */
    watch(loop, &second);
    ferry_cancel(loop, &first.op);
    run_until(loop, &first.finals, 1);
    assert_int_equal(seam.removals, 1);
    assert_int_equal(seam.removed, number);
    pthread_mutex_unlock(&add_lock);
    for (bool held = true; held;) {
        pthread_mutex_lock(&add_lock);
        held = seam.adds < 2;
        if (!held) seam.next = 0;
        pthread_mutex_unlock(&add_lock);
    }
    run_until(loop, &second.calls, 1);
    assert_int_equal(second.finals, 0);
    assert_int_equal(seam.adds, 3);
    assert_int_not_equal(second.op.offset - 1, number);
    end_all(loop, &second);
    assert_int_equal(seam.removals, 2);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void a_signal_that_cannot_be_caught(void **state) {
    (void)state;
    static ferry_op op;
    ferry_loop *loop = open_loop();
    seam.sigaction_error = EINVAL;
    ferry_signal(loop, &op, SIGUSR1, 0, NULL);
    seam.sigaction_error = 0;
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(op.result, FERRY_EINVAL);
    assert_int_equal(ferry_loop_close(loop), 0);
}

int main(void) {
#define SEAM(name) cmocka_unit_test_setup_teardown(name, seam_begin, seam_end)
    const struct CMUnitTest tests[] = {
        SEAM(limits_have_errors_of_their_own),
        SEAM(an_unmount_is_told),
        SEAM(ends_come_alone_and_strangers_are_passed_over),
        SEAM(a_source_that_breaks_ends_all),
        SEAM(an_overflow_without_proc),
        SEAM(a_number_that_has_ended_is_asked_for_again),
        SEAM(a_signal_that_cannot_be_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
