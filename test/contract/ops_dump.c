/* ops_dump.c - what is in flight, as ferry_dump() shows it
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEN_MAX 512

struct seen {
    ferry_dump_entry entries[SEEN_MAX];
    char targets[SEEN_MAX][64];
    size_t count;
};

static struct seen seen; /* of the last look() */

static void note(const ferry_dump_entry *entry, void *context) {
    struct seen *into = context;
    assert_true(into->count < SEEN_MAX);
    assert_string_equal(entry->kind, ferry_op_name(entry->code));
    snprintf(into->targets[into->count], sizeof into->targets[0], "%s", entry->target);
    into->entries[into->count++] = *entry;
}

/* Each operation once; the count is what is returned. */
static int64_t look(ferry_loop *loop) {
    seen.count = 0;
    int64_t count = ferry_dump(loop, note, &seen);
    assert_int_equal(count, seen.count);
    for (size_t i = 0; i < seen.count; i++) {
        for (size_t j = 0; j < i; j++) assert_ptr_not_equal(seen.entries[i].op, seen.entries[j].op);
    }
    return count;
}

static const ferry_dump_entry *found(const ferry_op *op) {
    for (size_t i = 0; i < seen.count; i++) {
        if (seen.entries[i].op == op) return &seen.entries[i];
    }
    fail_msg("an operation in flight was not shown");
    return NULL;
}

static void check(const ferry_op *op, unsigned code, ferry_fd fd, const char *state) {
    const ferry_dump_entry *entry = found(op);
    assert_int_equal(entry->code, code);
    assert_int_equal(entry->fd, fd);
    assert_string_equal(entry->state, state);
}

static void check_target(const ferry_op *op, const char *target) {
    const ferry_dump_entry *entry = found(op);
    assert_string_equal(seen.targets[entry - seen.entries], target);
}

static void dump_check_all(ferry_loop *loop) {
    assert_int_equal(look(loop), loop_stats(loop).in_flight);
}

/* ---- Each place ------------------------------------------------------------------------------ */

static void ops_dump_nothing(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    assert_int_equal(look(loop), 0);
    finish(loop);
}

static void ops_dump_lanes(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[8];
    struct probe first = {.calls = 0}, second = {.calls = 0}, closing = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &first.op, fds[0], buf, 4, 0, probe_done);
    second.op.deadline_ns = 100 * SECOND;
    ferry_recv(loop, &second.op, fds[0], buf + 4, 4, FERRY_BACKGROUND, probe_done);
    look(loop); /* before the first run all of it waits */
    check(&first.op, FERRY_OP_RECV, fds[0], "waiting in its lane");
    assert_int_equal(found(&second.op)->left_ns, 100 * SECOND); /* it has not begun */
    ferry_run(loop, FERRY_RUN_NOWAIT);
    dump_check_all(loop);
    check(&first.op, FERRY_OP_RECV, fds[0], "with the system");
    check(&second.op, FERRY_OP_RECV, fds[0], "waiting in its lane");
    check_target(&first.op, "stream socket");
    assert_int_equal(found(&first.op)->flags, 0);
    assert_int_equal(found(&first.op)->left_ns, UINT64_MAX);
    assert_int_equal(found(&second.op)->flags, FERRY_DUMP_BACKGROUND);
    assert_true(found(&second.op)->left_ns < 100 * SECOND);
    assert_true(found(&second.op)->left_ns > 50 * SECOND);

    ferry_close(loop, &closing.op, fds[0], 0, probe_done);
    dump_check_all(loop);
    check(&closing.op, FERRY_OP_CLOSE, fds[0], "closing");
    check(&second.op, FERRY_OP_RECV, fds[0], "ended, its callback is next");
    assert_int_equal(found(&first.op)->flags, FERRY_DUMP_STOPPING);
    run_done(loop);
    assert_int_equal(look(loop), 0);
    probe_check(&closing, 0);
    close(fds[1]);
    finish(loop);
}

static void ops_dump_timers_and_what_has_ended(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe once = {.calls = 0}, repeats = {.calls = 0}, nop = {.calls = 0},
                 bad = {.calls = 0};
    ferry_timer(loop, &once.op, 60 * SECOND, 0, 0, probe_done);
    ferry_timer(loop, &repeats.op, 70 * SECOND, SECOND, 0, probe_done);
    look(loop);
    assert_int_equal(found(&once.op)->left_ns, 60 * SECOND); /* it begins with the next turn */
    ferry_run(loop, FERRY_RUN_NOWAIT);
    ferry_nop(loop, &nop.op, 0, probe_done);
    ferry_open(loop, &bad.op, (const char *)(uintptr_t)8, 0, 0, 0, probe_done); /* refused: how */
    dump_check_all(loop);
    check(&once.op, FERRY_OP_TIMER, FERRY_FD_NONE, "ticking");
    check(&nop.op, FERRY_OP_NOP, FERRY_FD_NONE, "ended, its callback is next");
    check(&bad.op, FERRY_OP_OPEN, FERRY_FD_NONE, "ended, its callback is next");
    check_target(&bad.op, "");
    check_target(&once.op, "");
    check_target(&repeats.op, "every 1000.000 ms");
    assert_true(found(&once.op)->left_ns <= 60 * SECOND);
    assert_true(found(&once.op)->left_ns > 10 * SECOND);
    assert_int_equal(found(&once.op)->flags, 0);
    assert_int_equal(found(&repeats.op)->flags, FERRY_DUMP_MULTI);
    ferry_cancel(loop, &once.op);
    ferry_cancel(loop, &repeats.op);
    run_done(loop);
    probe_check(&bad, FERRY_EINVAL);
    finish(loop);
}

static void ops_dump_targets(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    int fifos = !omits_on_windows("no FIFOs on Windows");
    char text[64], *path = temp_path("fifo\nof two lines");
    struct probe opens = {.calls = 0}, accepts = {.calls = 0}, connects = {.calls = 0};
    ferry_fd listener = tcp_listener(&addr), fd;
    if (fifos) assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    assert_true(ferry_addr_format(&addr, text, sizeof text) < sizeof text);
    if (fifos) ferry_open(loop, &opens.op, path, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_connect(loop, &connects.op, fd, &addr, 0, probe_done);
    look(loop); /* nothing has started */
    if (fifos) check(&opens.op, FERRY_OP_OPEN, FERRY_FD_NONE, "waiting for room with the system");
    check_target(&connects.op, text);
    probe_wait(loop, &connects);
    ferry_accept(loop, &accepts.op, listener, NULL, FERRY_MULTI, probe_done);
    while (accepts.calls == 0) ferry_run(loop, FERRY_RUN_ONCE);
    ferry_run(loop, FERRY_RUN_NOWAIT);
    dump_check_all(loop);
    check(&accepts.op, FERRY_OP_ACCEPT, listener, "with the system");
    check_target(&accepts.op, "stream socket");
    assert_int_equal(found(&accepts.op)->flags, FERRY_DUMP_MULTI);
    if (fifos) {
        const ferry_dump_entry *entry = found(&opens.op);
        assert_int_equal(entry->code, FERRY_OP_OPEN);            /* who waits for a FIFO differs */
        const char *target = seen.targets[entry - seen.entries]; /* cut by note() */
        assert_int_equal(strncmp(target, path, strlen(target) < 20 ? strlen(target) : 20), 0);
        assert_null(strchr(target, '\n'));
        char line[1024], whole[400];
        ferry_dump_text(loop, line, sizeof line);
        snprintf(whole, sizeof whole, "%s", path);
        *strchr(whole, '\n') = '?';
        if (strlen(whole) < 150) assert_non_null(strstr(line, whole));
        ferry_cancel(loop, &opens.op);
    }
    close_near(loop, (ferry_fd)accepts.result);
    close_near(loop, listener);
    close_near(loop, fd);
    run_done(loop);
    finish(loop);
}

static void ops_dump_pool(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd a[2], b[2];
    ferry_pool *pool;
    struct probe lucky = {.calls = 0}, dry = {.calls = 0};
    unix_pair(a, SOCK_STREAM);
    unix_pair(b, SOCK_STREAM);
    assert_int_equal(ferry_pool_open(loop, &pool, 1, 64, 0, 0), 0);
    plain_send(a[1], "a", 1);
    ferry_recv_pool(loop, &lucky.op, a[0], pool, 0, probe_done);
    probe_wait(loop, &lucky);
    ferry_buffer *buffer = ferry_lent(&lucky.op);
    assert_non_null(buffer);
    plain_send(b[1], "b", 1);
    ferry_recv_pool(loop, &dry.op, b[0], pool, 0, probe_done);
    while (loop_stats(loop).pool_dry == 0) ferry_run(loop, FERRY_RUN_NOWAIT);
    dump_check_all(loop);
    check(&dry.op, FERRY_OP_RECV_POOL, b[0], "waiting for a buffer of its pool");
    ferry_pool_put(pool, buffer);
    probe_wait(loop, &dry);
    probe_check(&dry, 1);
    ferry_pool_put(pool, ferry_lent(&dry.op));
    assert_int_equal(ferry_pool_close(pool), 0);
    close_near(loop, a[0]);
    close_near(loop, b[0]);
    close(a[1]);
    close(b[1]);
    finish(loop);
}

static void ops_dump_services(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe signals = {.calls = 0}, watches = {.calls = 0}, child = {.calls = 0};
    char *path = temp_path("watched"), text[32];
    static char changes[FERRY_WATCH_BYTES_MIN];
    ferry_watcher watcher = {.buf = changes, .len = sizeof changes};
    ferry_exit how;
    const int number = SIGNAL_ONE;
    const char *const waits[] = {"contract", "--child", "wait", NULL};
    ferry_fd hold[2];
    plain_pipe(hold);
    assert_int_equal(mkdir(path, 0700), 0);
    pid_t pid = plain_child(waits, (const ferry_fd[]){hold[0], FERRY_FD_NONE, FERRY_FD_NONE});
    assert_int_equal(ferry_loop_measure(loop, FERRY_MEASURE_LATENCY), 0);
    ferry_signal(loop, &signals.op, number, FERRY_MULTI, probe_done);
    ferry_watch(loop, &watches.op, path, &watcher, 0, probe_done);
    ferry_wait_process(loop, &child.op, pid, &how, 0, probe_done);
    while (watches.calls == 0) ferry_run(loop, FERRY_RUN_ONCE);
    dump_check_all(loop);
    check(&signals.op, FERRY_OP_SIGNAL, FERRY_FD_NONE, "waiting for its event");
    check(&watches.op, FERRY_OP_WATCH, FERRY_FD_NONE, "waiting for its event");
    assert_int_equal(found(&child.op)->code, FERRY_OP_PROCESS);
    snprintf(text, sizeof text, "signal %d", number);
    check_target(&signals.op, text);
    snprintf(text, sizeof text, "process %d", (int)pid);
    check_target(&child.op, text);
    assert_int_equal(found(&signals.op)->flags, FERRY_DUMP_MULTI);
    assert_int_equal(found(&watches.op)->flags, FERRY_DUMP_MULTI);
    assert_non_null(strstr(path, "/"));
    assert_int_equal(strncmp(seen.targets[found(&watches.op) - seen.entries], path, 30), 0);

    sleep_ns(50 * MS);
    for (int i = 0; i < 3; i++) {
        int calls = signals.calls;
        assert_int_equal(ferry_kill(loop, getpid(), number), 0);
        while (signals.calls == calls) ferry_run(loop, FERRY_RUN_ONCE);
        dump_check_all(loop);
        assert_true(found(&signals.op)->age_ns < 100 * SECOND);
    }
    ferry_histogram h;
    assert_int_equal(
        ferry_histogram_read(loop, FERRY_MEASURE_LATENCY, FERRY_OP_SIGNAL, &h, sizeof h), 0);
    assert_int_equal(h.count, signals.calls);
    assert_true(h.max_ns >= 50 * MS && h.max_ns < 100 * SECOND);
    ferry_cancel(loop, &signals.op);
    ferry_cancel(loop, &watches.op);
    assert_int_equal(kill(pid, SIGKILL), 0);
    probe_wait(loop, &child);
    run_done(loop);
    assert_int_equal(look(loop), 0);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    for (int i = 0; i < 2; i++) close_far(hold[i]);
    finish(loop);
}

/* ---- With other threads ---------------------------------------------------------------- */

struct gate {
    atomic_int entered, open;
};

static int64_t work_gate(void *arg) {
    struct gate *gate = arg;
    atomic_fetch_add(&gate->entered, 1);
    while (!atomic_load(&gate->open)) sleep_ns(MS / 5);
    return 42;
}

static int64_t work_quick(void *arg) {
    return (int64_t)(intptr_t)arg;
}

static ferry_loop *one_worker(uint32_t queue_max) {
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.flags = FERRY_OWN_WORKERS;
    config.worker_threads = config.file_threads = 1;
    config.worker_queue_max = queue_max;
    return test_loop_with(&config);
}

static void check_workers(const ferry_worker_stats *workers, uint64_t in_loop, uint64_t queued,
                          uint64_t busy, uint64_t threads) {
    assert_int_equal(workers->in_loop, in_loop);
    assert_int_equal(workers->queued, queued);
    assert_int_equal(workers->busy, busy);
    assert_int_equal(workers->threads, threads);
}

static void ops_dump_work(void **state) {
    (void)state;
    ferry_loop *loop = one_worker(2);
    struct gate gate = {0, 0};
    struct probe p[3] = {{.calls = 0}}, post = {.calls = 0};
    char target[40];
    for (int i = 0; i < 3; i++) ferry_work(loop, &p[i].op, work_gate, &gate, 0, probe_done);
    ferry_run(loop, FERRY_RUN_NOWAIT);
    while (atomic_load(&gate.entered) == 0) sleep_ns(MS / 5);
    dump_check_all(loop);
    check(&p[0].op, FERRY_OP_WORK, FERRY_FD_NONE, "with a worker");
    check(&p[1].op, FERRY_OP_WORK, FERRY_FD_NONE, "waiting for a worker");
    check(&p[2].op, FERRY_OP_WORK, FERRY_FD_NONE, "waiting for room with the workers");
    snprintf(target, sizeof target, "function 0x%llx", (unsigned long long)(uintptr_t)work_gate);
    check_target(&p[0].op, target);
    ferry_stats stats = loop_stats(loop);
    assert_int_equal(stats.work_in_loop, 1);
    assert_int_equal(stats.work_out, 2);
    assert_int_equal(stats.workers, 1);
    assert_int_equal(stats.workers_busy, 1);
    assert_int_equal(stats.workers_queued, 1);
    check_workers(&stats.functions, 1, 1, 1, 1);
    check_workers(&stats.files, 0, 0, 0, 0);
    check_workers(&stats.names, 0, 0, 0, 0);

    assert_int_equal(ferry_post(loop, &post.op, probe_done), 0);
    assert_int_equal(look(loop), 4); /* the post is not yet counted as in flight */
    check(&post.op, FERRY_OP_POST, FERRY_FD_NONE, "posted");
    atomic_store(&gate.open, 1);
    while (loop_stats(loop).workers_busy + loop_stats(loop).workers_queued > 0) sleep_ns(MS / 5);
    assert_int_equal(look(loop), 4);
    check(&p[0].op, FERRY_OP_WORK, FERRY_FD_NONE, "back from a worker");
    check(&p[1].op, FERRY_OP_WORK, FERRY_FD_NONE, "back from a worker");
    run_done(loop);
    for (int i = 0; i < 3; i++) probe_check(&p[i], 42);
    assert_int_equal(loop_stats(loop).work_in_loop, 0);
    finish(loop);
}

/* What a worker does in several pieces is one operation, as old as its submit. */
static void ops_dump_files(void **state) {
    (void)state;
    enum { BYTES = 40 << 20 };
    ferry_loop *loop = one_worker(0);
    struct held_worker held;
    struct probe link = {.calls = 0}, temp = {.calls = 0}, copy = {.calls = 0};
    char *path = temp_path("link"), *name = temp_path("temp-XXXXXX"), target[400];
    ferry_fd from = temp_file("from", BYTES, 7), to = temp_file("to", 0, 0);
    assert_int_equal(ferry_loop_measure(loop, FERRY_MEASURE_LATENCY), 0);
    worker_hold(loop, &held);
    ferry_symlink(loop, &link.op, "to", FERRY_FD_NONE, path, 0, probe_done);
    ferry_temp_dir(loop, &temp.op, FERRY_FD_NONE, name, 0, probe_done);
    ferry_copy(loop, &copy.op, from, 0, to, 0, BYTES, FERRY_ALL, probe_done);
    dump_check_all(loop); /* some of them wait for the first run, the others for the worker */
    snprintf(target, 50, "to -> %s", path);
    assert_int_equal(strncmp(seen.targets[found(&link.op) - seen.entries], target, 49), 0);
    run_for(loop, 50 * MS);
    dump_check_all(loop);
    check(&copy.op, FERRY_OP_COPY, from, "waiting for a worker");
    ferry_stats stats = loop_stats(loop);
    assert_in_range(stats.files.queued, 2, 3); /* a ring makes the link itself */
    check_workers(&stats.files, 0, stats.work_out - 1, 1, 1);
    check_workers(&stats.functions, 0, 0, 0, 0);
    snprintf(target, sizeof target, "to fd %d", (int)to);
    check_target(&copy.op, target);
    check_target(&temp.op, "");
    worker_let_go(&held);
    while (copy.calls == 0) {
        ferry_run(loop, FERRY_RUN_NOWAIT);
        dump_check_all(loop);
        if (copy.calls == 0) assert_true(found(&copy.op)->age_ns >= 50 * MS);
    }
    worker_end(loop, &held);
    run_done(loop);
    expect_all(loop, &copy, BYTES, BYTES, 0);
    expect(loop, &temp, 0);
    ferry_histogram h;
    assert_int_equal(ferry_histogram_read(loop, FERRY_MEASURE_LATENCY, FERRY_OP_COPY, &h, sizeof h),
                     0);
    assert_int_equal(h.count, 1);
    assert_true(h.min_ns >= 50 * MS && h.max_ns < 60 * SECOND);
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

/* What is linked is in flight from its submit on, and as old. */
static void ops_dump_linked(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe first = {.calls = 0}, then = {.calls = 0}, last = {.calls = 0};
    ferry_timer(loop, &first.op, SECOND, 0, 0, probe_done);
    assert_int_equal(ferry_link(loop, &first.op, &then.op), 0);
    assert_int_equal(look(loop), 1); /* it is not submitted */
    ferry_timer(loop, &then.op, SECOND / 2, 0, 0, probe_done);
    assert_int_equal(ferry_link(loop, &then.op, &last.op), 0);
    ferry_nop(loop, &last.op, FERRY_BACKGROUND, probe_done);
    run_for(loop, 50 * MS);
    dump_check_all(loop);
    check(&then.op, FERRY_OP_TIMER, FERRY_FD_NONE, "waiting for the one that it is linked to");
    check(&last.op, FERRY_OP_NOP, FERRY_FD_NONE, "waiting for the one that it is linked to");
    assert_int_equal(found(&last.op)->flags, FERRY_DUMP_BACKGROUND);
    assert_true(found(&then.op)->age_ns >= 40 * MS && found(&then.op)->age_ns < 100 * SECOND);
    probe_wait(loop, &first);
    dump_check_all(loop);
    check(&then.op, FERRY_OP_TIMER, FERRY_FD_NONE, "ticking");
    assert_true(found(&then.op)->age_ns >= 150 * MS && found(&then.op)->age_ns < 100 * SECOND);
    assert_int_equal(ferry_loop_measure(loop, FERRY_MEASURE_LATENCY), 0);
    probe_wait(loop, &then);
    probe_wait(loop, &last);
    probe_check(&then, 0);
    probe_check(&last, 0);
    assert_int_equal(last.transferred, 0);
    ferry_histogram h;
    assert_int_equal(ferry_histogram_read(loop, FERRY_MEASURE_LATENCY, FERRY_OP_NOP, &h, sizeof h),
                     0);
    assert_int_equal(h.count, 1);
    assert_true(h.min_ns >= 200 * MS && h.max_ns < 100 * SECOND); /* the wait is in it */
    finish(loop);
}

static void ops_dump_lookups(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_addr addrs[4];
    const ferry_query query = {.host = "localhost", .service = "80", .type = FERRY_STREAM};
    sleep_ns(20 * MS);
    assert_int_equal(ferry_loop_measure(loop, FERRY_MEASURE_LATENCY), 0);
    ferry_resolve(loop, &p.op, &query, addrs, 4, 0, probe_done);
    dump_check_all(loop);
    const ferry_dump_entry *entry = found(&p.op);
    assert_int_equal(entry->code, FERRY_OP_RESOLVE);
    assert_non_null(strstr("waiting for a resolver being looked up", entry->state));
    check_target(&p.op, "localhost:80");
    while (strcmp(found(&p.op)->state, "looked up") != 0) dump_check_all(loop);
    assert_true(found(&p.op)->age_ns < 100 * SECOND);
    probe_wait(loop, &p);
    ferry_stats stats = loop_stats(loop);
    check_workers(&stats.names, 0, 0, 0, 1);
    check_workers(&stats.files, 0, 0, 0, 0);
    ferry_histogram h;
    assert_int_equal(
        ferry_histogram_read(loop, FERRY_MEASURE_LATENCY, FERRY_OP_RESOLVE, &h, sizeof h), 0);
    assert_int_equal(h.count, 1);
    assert_true(h.max_ns < 100 * SECOND);
    finish(loop);
}

enum { BUSY = 100 };

struct busy {
    ferry_loop *loop;
    struct probe p[BUSY];
    int left;
};

static void busy_done(ferry_op *op) {
    struct probe *p = ferry_container(op, struct probe, op);
    struct busy *busy = op->user;
    p->calls++;
    assert_int_equal(op->result, p - busy->p);
    dump_check_all(busy->loop);
    if (busy->left-- > 0) ferry_again(busy->loop, op);
}

/* Whatever the workers are doing at the moment, each operation is in one place. */
static void ops_dump_while_workers_work(void **state) {
    (void)state;
    static struct busy busy;
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.worker_queue_max = 80; /* more than a dump holds without asking for memory */
    busy.loop = test_loop_with(&config);
    busy.left = 3000;
    for (intptr_t i = 0; i < BUSY; i++) {
        busy.p[i].op.user = &busy;
        ferry_work(busy.loop, &busy.p[i].op, work_quick, (void *)i, 0, busy_done);
    }
    dump_check_all(busy.loop);
    run_done(busy.loop);
    assert_int_equal(look(busy.loop), 0);
    finish(busy.loop);
}

/* ---- Ages ------------------------------------------------------------------------------ */

static void ops_dump_ages(void **state) {
    (void)state;
    ferry_loop *loop = one_worker(0);
    struct gate gate = {0, 0};
    ferry_fd fds[2];
    char buf[4];
    struct probe old = {.calls = 0}, work = {.calls = 0}, young = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    sleep_ns(SECOND); /* the loop's clock is that of its opening, but for the first submit */
    uint64_t start_ns = clock_ns();
    ferry_recv(loop, &old.op, fds[0], buf, 4, 0, probe_done);
    ferry_work(loop, &work.op, work_gate, &gate, 0, probe_done);
    run_for(loop, 200 * MS);
    ferry_timer(loop, &young.op, 100 * SECOND, 0, 0, probe_done);
    sleep_ns(100 * MS);
    uint64_t before_ns = clock_ns();
    dump_check_all(loop);
    uint64_t after_ns = clock_ns();
    assert_true(found(&old.op)->age_ns <= after_ns - start_ns);
    assert_true(found(&old.op)->age_ns >= before_ns - start_ns - 10 * MS);
    assert_true(found(&work.op)->age_ns <= after_ns - start_ns);
    assert_true(found(&work.op)->age_ns >= 300 * MS);
    assert_true(found(&young.op)->age_ns >= 100 * MS);
    assert_true(found(&young.op)->age_ns < found(&old.op)->age_ns);
    ferry_cancel(loop, &old.op);
    look(loop); /* asked to end, or ended already: as old as it was */
    assert_true(found(&old.op)->age_ns >= 300 * MS);
    assert_true(found(&old.op)->age_ns < 100 * SECOND);
    ferry_cancel(loop, &young.op);
    atomic_store(&gate.open, 1);
    run_done(loop);
    probe_check(&work, 42);
    close_near(loop, fds[0]);
    close(fds[1]);
    finish(loop);
}

struct repeat {
    struct probe p;
    ferry_loop *loop;
    uint64_t last_ns;
    unsigned round;
};

/* What goes on is as old as its last completion: nothing in the callback itself. */
static void on_repeat(ferry_op *op) {
    struct repeat *r = ferry_container(op, struct repeat, p.op);
    probe_done(op);
    if (!(op->flags & FERRY_MORE)) return;
    int64_t result = op->result;
    dump_check_all(r->loop);
    assert_int_equal(op->result, result);
    assert_true(found(op)->age_ns <= clock_ns() - r->last_ns);
    assert_true(found(op)->age_ns < 100 * SECOND);
    r->last_ns = clock_ns();
    if (++r->round == 5) ferry_cancel(r->loop, op);
}

static void ops_dump_age_of_what_goes_on(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct repeat timer = {.loop = loop, .last_ns = clock_ns()};
    struct repeat accept = {.loop = loop, .last_ns = timer.last_ns};
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr), guest;
    ferry_timer(loop, &timer.p.op, 50 * MS, 50 * MS, 0, on_repeat);
    ferry_accept(loop, &accept.p.op, listener, NULL, FERRY_MULTI, on_repeat);
    run_for(loop, 20 * MS);
    ferry_fd fd = plain_socket(AF_INET, SOCK_STREAM);
    plain_connect(fd, &addr);
    while (accept.p.calls == 0) ferry_run(loop, FERRY_RUN_ONCE);
    guest = (ferry_fd)accept.p.result;
    uint64_t start_ns = clock_ns();
    while (timer.p.finals == 0) {
        ferry_run(loop, FERRY_RUN_ONCE);
        if (timer.p.finals > 0) break;
        dump_check_all(loop);
        assert_true(found(&timer.p.op)->age_ns <= clock_ns() - start_ns + SECOND);
        assert_true(found(&accept.p.op)->age_ns < 100 * SECOND);
    }
    assert_int_equal(timer.p.result, FERRY_ECANCELED);
    close_near(loop, guest);
    close_near(loop, listener);
    run_done(loop);
    close(fd);
    finish(loop);
}

/* ---- Text ------------------------------------------------------------------------------ */

static void ops_dump_text(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], outs[2];
    char buf[4], whole[1024], cut[40], piped[1024];
    struct probe p = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    assert_int_equal(pipe(outs), 0);
    ferry_recv(loop, &p.op, fds[0], buf, 4, FERRY_BACKGROUND, probe_done);
    ferry_run(loop, FERRY_RUN_NOWAIT);
    int64_t len = ferry_dump_text(loop, whole, sizeof whole);
    assert_int_equal(len, strlen(whole));
    assert_non_null(strstr(whole, "1 in flight"));
    assert_non_null(strstr(whole, "\nrecv "));
    assert_non_null(strstr(whole, "with the system, background: stream socket\n"));
    memset(cut, 'x', sizeof cut);
    assert_true(ferry_dump_text(loop, cut, 20) > 60);
    assert_int_equal(strlen(cut), 19);
    assert_int_equal(cut[20], 'x');
    assert_int_equal(strncmp(cut, whole, 19), 0);
    assert_true(ferry_dump_text(loop, NULL, 0) > 60);
    assert_int_equal(ferry_dump_print(loop, outs[1]), 1);
    ssize_t got = read(outs[0], piped, sizeof piped - 1);
    assert_true(got > 60);
    piped[got] = '\0';
    assert_int_equal(strncmp(piped, whole, 20), 0);
    assert_non_null(strstr(piped, "with the system, background: stream socket\n"));
    assert_int_equal(ferry_dump_print(loop, closed_fd()), FERRY_EBADF);
    ferry_dump_entry entry = {.kind = "send",
                              .state = "here",
                              .target = "",
                              .fd = 7,
                              .age_ns = 1500000,
                              .left_ns = 2000,
                              .flags = FERRY_DUMP_MULTI | FERRY_DUMP_STOPPING};
    assert_int_equal(ferry_dump_format(&entry, cut, 10), ferry_dump_format(&entry, NULL, 0));
    assert_int_equal(strlen(cut), 9);
    ferry_dump_format(&entry, whole, sizeof whole);
    assert_string_equal(whole, "send       fd 7         1.500 ms  here, goes on, asked to end, "
                               "left   2.000 us\n");
    ferry_cancel(loop, &p.op);
    probe_wait(loop, &p);
    close_near(loop, fds[0]);
    close(fds[1]);
    close(outs[0]);
    close(outs[1]);
    finish(loop);
}

/* ---- What is refused ------------------------------------------------------------------- */

struct inside {
    ferry_loop *loop;
    struct probe p;
    int calls;
};

static void tries(const ferry_dump_entry *entry, void *context) {
    struct inside *in = context;
    ferry_completion completion;
    (void)entry;
    in->calls++;
    assert_int_equal(ferry_run(in->loop, FERRY_RUN_NOWAIT), FERRY_EBUSY);
    assert_int_equal(ferry_reap(in->loop, &completion, 1, 0), FERRY_EBUSY);
    assert_int_equal(ferry_loop_drain(in->loop, 0), FERRY_EBUSY);
    assert_int_equal(ferry_loop_close(in->loop), FERRY_EBUSY);
    assert_int_equal(ferry_dump(in->loop, tries, in), FERRY_EBUSY);
    assert_int_equal(ferry_dump_print(in->loop, 2), FERRY_EBUSY);
    assert_true(loop_stats(in->loop).in_flight > 0);
    assert_true(ferry_now(in->loop) > 0);
    assert_non_null(ferry_loop_describe(in->loop));
}

static void ops_dump_refuses(void **state) {
    (void)state;
    struct inside in = {.loop = test_loop()};
    struct gate gate = {0, 0};
    assert_int_equal(ferry_dump(in.loop, NULL, NULL), FERRY_EFAULT);
    ferry_work(in.loop, &in.p.op, work_gate, &gate, 0, probe_done); /* shown under a lock */
    assert_int_equal(ferry_dump(in.loop, tries, &in), 1);
    assert_int_equal(in.calls, 1);
    atomic_store(&gate.open, 1);
    run_done(in.loop);
    if (omits_on_windows("no fork on Windows")) {
        finish(in.loop);
        return;
    }
    pid_t pid = test_fork();
    if (pid == 0) {
        _exit(ferry_dump(in.loop, tries, &in) == FERRY_EFORKED &&
                      ferry_dump_print(in.loop, 2) == FERRY_EFORKED &&
                      ferry_dump_text(in.loop, NULL, 0) == FERRY_EFORKED
                  ? 0
                  : 1);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) != pid) assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    finish(in.loop);
}

static void submits(const ferry_dump_entry *entry, void *context) {
    static struct probe p;
    (void)entry;
    ferry_nop(context, &p.op, 0, probe_done);
}

static int submit_inside(void) {
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_nop(loop, &p.op, 0, probe_done);
    ferry_dump(loop, submits, loop);
    return 0;
}

static void ops_dump_only_looks(void **state) {
    (void)state;
    struct helper_result result;
    helper_run("dump_submit_inside", NULL, &result);
    assert_false(result.exited);
    assert_int_equal(result.signal, SIGABRT);
    assert_non_null(strstr(result.output, "operation nop was handed to a loop from inside "
                                          "ferry_dump()"));
}

const struct contract_helper ops_dump_helpers[] = {{"dump_submit_inside", submit_inside},
                                                   {NULL, NULL}};

const struct contract_test ops_dump_tests[] = {
    {"ops_dump_nothing", ops_dump_nothing, 0},
    {"ops_dump_lanes", ops_dump_lanes, 0},
    {"ops_dump_timers_and_what_has_ended", ops_dump_timers_and_what_has_ended, 0},
    {"ops_dump_targets", ops_dump_targets, 0},
    {"ops_dump_pool", ops_dump_pool, 0},
    {"ops_dump_services", ops_dump_services, 0},
    {"ops_dump_work", ops_dump_work, 0},
    {"ops_dump_files", ops_dump_files, 0},
    {"ops_dump_linked", ops_dump_linked, 0},
    {"ops_dump_lookups", ops_dump_lookups, 0},
    {"ops_dump_while_workers_work", ops_dump_while_workers_work, 0},
    {"ops_dump_ages", ops_dump_ages, 0},
    {"ops_dump_age_of_what_goes_on", ops_dump_age_of_what_goes_on, 0},
    {"ops_dump_text", ops_dump_text, 0},
    {"ops_dump_refuses", ops_dump_refuses, 0},
    {"ops_dump_only_looks", ops_dump_only_looks, 0},
    {NULL, NULL, 0}};
