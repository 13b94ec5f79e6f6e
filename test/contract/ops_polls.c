/* ops_polls.c - waiting for the readiness of a descriptor
 *
 * SPDX-License-Identifier: MIT
 */
#include "outer.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t cpu_ns(void) {
    struct timespec used;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (uint64_t)used.tv_sec * SECOND + (uint64_t)used.tv_nsec;
}

/* Polls once, asserts that it ends with these events. */
static void poll_expect(ferry_loop *loop, ferry_fd fd, unsigned events, int64_t result) {
    struct probe p = {.calls = 0};
    ferry_poll(loop, &p.op, fd, events, 0, probe_done);
    expect_all(loop, &p, result, 0, 0);
}

/* ---- One result ------------------------------------------------------------------------ */

static void ops_poll_tells_what_is_there(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    tcp_pair(loop, fds);
    poll_expect(loop, fds[0], FERRY_POLL_OUT, FERRY_POLL_OUT);
    poll_expect(loop, fds[0], FERRY_POLL_IN | FERRY_POLL_OUT, FERRY_POLL_OUT);
    plain_send(fds[1], "x", 1);
    poll_expect(loop, fds[0], FERRY_POLL_IN, FERRY_POLL_IN);
    poll_expect(loop, fds[0], FERRY_POLL_IN, FERRY_POLL_IN); /* it takes nothing */
    poll_expect(loop, fds[0], FERRY_POLL_IN | FERRY_POLL_OUT, FERRY_POLL_IN | FERRY_POLL_OUT);
    assert_int_equal(send(fds[1], "!", 1, MSG_OOB), 1);
    poll_expect(loop, fds[0], FERRY_POLL_PRIORITY, FERRY_POLL_PRIORITY);
    for (int i = 0; i < 2; i++) close_near(loop, fds[i]);
    finish(loop);
}

/* After the poll has begun. */
static void ops_poll_waits_for_urgent_data(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe p = {.calls = 0};
    tcp_pair(loop, fds);
    ferry_poll(loop, &p.op, fds[0], FERRY_POLL_PRIORITY, 0, probe_done);
    run_for(loop, 20 * MS);
    plain_send(fds[1], "x", 1);
    run_for(loop, 20 * MS);
    assert_int_equal(p.calls, 0);
    assert_int_equal(send(fds[1], "!", 1, MSG_OOB), 1);
    expect_all(loop, &p, FERRY_POLL_PRIORITY, 0, 0);
    for (int i = 0; i < 2; i++) close_near(loop, fds[i]);
    finish(loop);
}

static void ops_poll_waits(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe in = {.calls = 0}, out = {.calls = 0};
    char scrap[4096];
    unix_pair(fds, SOCK_STREAM);
    plain_stuff(fds[0]);
    ferry_poll(loop, &in.op, fds[0], FERRY_POLL_IN, 0, probe_done);
    ferry_poll(loop, &out.op, fds[0], FERRY_POLL_OUT, 0, probe_done);
    run_for(loop, 10 * MS);
    assert_int_equal(in.calls + out.calls, 0);
    while (plain_take(fds[1], scrap, sizeof scrap) > 0) continue;
    expect_all(loop, &out, FERRY_POLL_OUT, 0, 0);
    assert_int_equal(in.calls, 0);
    plain_send(fds[1], "x", 1);
    expect_all(loop, &in, FERRY_POLL_IN, 0, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void ops_poll_tells_of_the_end(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd reads[2], writes[2], fds[2];
    plain_pipe(reads);
    plain_pipe(writes);
    struct probe hung_up = {.calls = 0};
    ferry_poll(loop, &hung_up.op, reads[0], 0, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(hung_up.calls, 0);
    close_far(reads[1]);
    expect_all(loop, &hung_up, FERRY_POLL_HUP, 0, 0);
    close_far(writes[0]);
    poll_expect(loop, writes[1], FERRY_POLL_OUT, FERRY_POLL_OUT | FERRY_POLL_ERR);
    unix_pair(fds, SOCK_STREAM);
    plain_send(fds[1], "x", 1);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    poll_expect(loop, fds[0], FERRY_POLL_IN, FERRY_POLL_IN);
    if (omits_on_wine("Wine tells of the end once all that came before it is read")) {
        char byte;
        plain_recv(fds[0], &byte, 1);
    }
    poll_expect(loop, fds[0], FERRY_POLL_IN | FERRY_POLL_RDHUP, FERRY_POLL_IN | FERRY_POLL_RDHUP);
    close_far(fds[1]);
    if (!omits_on_windows("a pair of streams is TCP, which has an end and no hang-up")) {
        poll_expect(loop, fds[0], FERRY_POLL_HUP | FERRY_POLL_ERR, FERRY_POLL_HUP);
    }
    close_far(fds[0]);
    close_far(reads[0]);
    close_far(writes[1]);
    finish(loop);
}

static void ops_poll_of_a_connect(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr), fd = plain_socket(AF_INET, SOCK_STREAM);
    set_nonblocking(fd);
    if (connect(fd, (const struct sockaddr *)(const void *)addr.data.bytes, addr.len) != 0) {
        assert_int_equal(errno, EINPROGRESS);
    }
    poll_expect(loop, fd, FERRY_POLL_OUT, FERRY_POLL_OUT);
    poll_expect(loop, listener, FERRY_POLL_IN, FERRY_POLL_IN);
    close_far(fd);
    close_far(listener);
    finish(loop);
}

/* What has no readiness is always ready, as with poll(2). */
static void ops_poll_of_files(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const unsigned both = FERRY_POLL_IN | FERRY_POLL_OUT;
    ferry_fd file = temp_file("file", 10, 1);
    ferry_fd fds[] = {file, open("/dev/null", O_RDWR | O_CLOEXEC), open("/", O_RDONLY | O_CLOEXEC)};
    for (int i = 0; i < 3; i++) {
        assert_true(fds[i] >= 0);
        poll_expect(loop, fds[i], both, both);
        poll_expect(loop, fds[i], FERRY_POLL_IN, FERRY_POLL_IN);
        poll_expect(loop, fds[i], FERRY_POLL_PRIORITY, FERRY_EINVAL);
        close_far(fds[i]);
    }
    finish(loop);
}

/* A queue of the system's. */
static void ops_poll_of_an_outer_loop(void **state) {
    (void)state;
    differs_on_windows("there is no queue of events that is itself waited for");
    ferry_loop *loop = test_loop();
    ferry_fd ends[2], queue = outer_open();
    struct probe p = {.calls = 0};
    plain_pipe(ends);
    outer_watch(queue, ends[0], 0);
    ferry_poll(loop, &p.op, queue, FERRY_POLL_IN, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(p.calls, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    expect_all(loop, &p, FERRY_POLL_IN, 0, 0);
    close_far(queue);
    close_far(ends[0]);
    close_far(ends[1]);
    finish(loop);
}

static void ops_poll_several_on_one(void **state) {
    (void)state;
    enum { COUNT = 20 };
    ferry_loop *loop = test_loop();
    struct probe p[COUNT] = {{.calls = 0}}, recv = {.calls = 0};
    ferry_fd fds[2];
    char buf[4];
    tcp_pair(loop, fds);
    for (int i = 0; i < COUNT; i++) {
        ferry_poll(loop, &p[i].op, fds[0], FERRY_POLL_IN, 0, probe_done);
    }
    run_for(loop, 5 * MS);
    ferry_cancel(loop, &p[3].op);
    expect_all(loop, &p[3], FERRY_ECANCELED, 0, 0);
    plain_send(fds[1], "abcd", 4);
    for (int i = 0; i < COUNT; i++) {
        if (i != 3) expect_all(loop, &p[i], FERRY_POLL_IN, 0, 0);
    }
    /* They stand in no lane, and nothing is lost to them. */
    ferry_recv(loop, &recv.op, fds[0], buf, 4, 0, probe_done);
    expect_all(loop, &recv, 4, 4, 0);
    for (int i = 0; i < 2; i++) close_near(loop, fds[i]);
    finish(loop);
}

static void trouble_poll_events(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    poll_expect(loop, fds[0], 0x40u, FERRY_EINVAL);
    poll_expect(loop, fds[0], FERRY_POLL_OUT | 0x80000000u, FERRY_EINVAL);
    close_far(fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Many results ---------------------------------------------------------------------- */

struct watcher {
    struct probe probe;
    ferry_loop *loop;
    ferry_fd fd;
    size_t takes;        /* bytes at each result, 0: none */
    size_t taken, empty; /* bytes so far; results that found nothing */
    int64_t told;        /* all events so far */
    int stop_at;         /* cancels itself at this result, 0: never */
    int close_at;        /* closes the descriptor */
};

static void on_ready(ferry_op *op) {
    struct watcher *w = ferry_container(op, struct watcher, probe.op);
    char scrap[4096];
    probe_done(op);
    if (op->result < 0) return;
    w->told |= op->result;
    if (w->takes > 0) {
        long got = plain_take(w->fd, scrap, w->takes);
        if (got > 0) w->taken += (size_t)got;
        if (got == 0) w->empty++;
    }
    if (w->probe.calls == w->stop_at) ferry_cancel(w->loop, op);
    if (w->probe.calls == w->close_at) ferry_close(w->loop, NULL, w->fd, 0, NULL);
}

static void watch(struct watcher *w, unsigned events) {
    ferry_poll(w->loop, &w->probe.op, w->fd, events, FERRY_MULTI, on_ready);
}

static void watch_end(struct watcher *w) {
    ferry_cancel(w->loop, &w->probe.op);
    probe_wait(w->loop, &w->probe);
    assert_int_equal(w->probe.result, FERRY_ECANCELED);
    assert_int_equal(w->probe.flags, 0);
    assert_int_equal(w->probe.finals, 1);
}

/* Each arrival is told, and nothing is told where nothing is left. */
static void ops_poll_multi(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0], .takes = 4096};
    watch(&w, FERRY_POLL_IN);
    for (int i = 1; i <= 50; i++) {
        plain_send(fds[1], "abc", 3);
        while (w.probe.calls < i) ferry_run(loop, FERRY_RUN_ONCE);
        assert_int_equal(w.probe.flags, FERRY_MORE);
        assert_int_equal(w.probe.result, FERRY_POLL_IN);
        assert_int_equal(w.probe.transferred, 0);
        if (i % 10 == 0) run_for(loop, 2 * MS);
    }
    assert_int_equal(w.probe.calls, 50);
    assert_int_equal(w.taken, 150);
    assert_int_equal(w.empty, 0);
    watch_end(&w);
    assert_int_equal(w.probe.calls, 51);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* It is level-triggered: what is left is told again in each turn, and once in a turn. */
static void ops_poll_multi_is_level_triggered(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char scrap[8];
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0], .takes = 1};
    watch(&w, FERRY_POLL_IN);
    plain_send(fds[1], "abcdefgh", 8);
    while (w.taken < 8) ferry_run(loop, FERRY_RUN_ONCE); /* from one arrival */
    run_for(loop, 5 * MS);
    assert_int_equal(w.probe.calls, 8);
    w.takes = 0;
    plain_send(fds[1], "abcdefgh", 8);
    for (int i = 1; i <= 30; i++) {
        ferry_run(loop, FERRY_RUN_ONCE);
        assert_int_equal(w.probe.calls, 8 + i);
    }
    assert_int_equal(plain_take(fds[0], scrap, 8), 8); /* by somebody else */
    ferry_run(loop, FERRY_RUN_NOWAIT);
    int calls = w.probe.calls;
    uint64_t used_ns = cpu_ns();
    run_for(loop, 100 * MS);
    assert_true(cpu_ns() - used_ns < 50 * MS);
    assert_int_equal(w.probe.calls, calls);
    watch_end(&w);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* What the callback takes is not told again, although so much is submitted in it that the system
 * gets to see it in between. */
struct crowd {
    struct watcher watcher;
    struct probe idle[40];
    ferry_fd quiet;
};

static void on_ready_with_crowd(ferry_op *op) {
    struct crowd *c = ferry_container(op, struct crowd, watcher.probe.op);
    for (int i = 0; i < 40 && c->idle[i].op.done == NULL; i++) {
        ferry_poll(c->watcher.loop, &c->idle[i].op, c->quiet, FERRY_POLL_IN, 0, probe_done);
    }
    on_ready(op);
}

static void ops_poll_multi_looks_after_the_callback(void **state) {
    (void)state;
    ferry_config config;
    ferry_fd fds[2], quiet[2];
    memset(&config, 0, sizeof config);
    config.submission_entries = 4;
    ferry_loop *loop = test_loop_with(&config);
    unix_pair(fds, SOCK_STREAM);
    unix_pair(quiet, SOCK_STREAM);
    struct crowd c = {.watcher = {.loop = loop, .fd = fds[0], .takes = 8}, .quiet = quiet[0]};
    ferry_poll(loop, &c.watcher.probe.op, fds[0], FERRY_POLL_IN, FERRY_MULTI, on_ready_with_crowd);
    plain_send(fds[1], "x", 1);
    run_for(loop, 20 * MS);
    assert_int_equal(c.watcher.taken, 1);
    assert_int_equal(c.watcher.empty, 0);
    assert_int_equal(c.watcher.probe.calls, 1);
    watch_end(&c.watcher);
    close_near(loop, quiet[0]);
    for (int i = 0; i < 40; i++) probe_check(&c.idle[i], FERRY_ECANCELED);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    close_far(quiet[1]);
    finish(loop);
}

/* Others have their turn, however ready it is. */
static void contract_14_poll_that_is_always_ready(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe timer = {.calls = 0}, recv = {.calls = 0};
    char buf[1];
    unix_pair(fds, SOCK_STREAM);
    struct watcher out = {.loop = loop, .fd = fds[0]}, other = {.loop = loop, .fd = fds[1]};
    watch(&out, FERRY_POLL_OUT);
    watch(&other, FERRY_POLL_OUT);
    ferry_timer(loop, &timer.op, 5 * MS, 0, 0, probe_done);
    ferry_recv(loop, &recv.op, fds[1], buf, 1, 0, probe_done);
    plain_send(fds[0], "x", 1);
    expect(loop, &timer, 0);
    expect(loop, &recv, 1);
    assert_true(out.probe.calls > 1);
    int apart = out.probe.calls - other.probe.calls;
    assert_true(apart >= -1 && apart <= 1);
    watch_end(&out);
    watch_end(&other);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* What would be told for ever is the last. */
static void ops_poll_multi_ends_with_what_stays(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const struct {
        unsigned events;
        int64_t last;
        int how; /* shutdown's, -1: close */
    } rows[] = {
        {FERRY_POLL_IN | FERRY_POLL_RDHUP, FERRY_POLL_IN | FERRY_POLL_RDHUP, SHUT_WR},
        {FERRY_POLL_RDHUP, FERRY_POLL_RDHUP, SHUT_WR},
        {FERRY_POLL_IN, FERRY_POLL_IN | FERRY_POLL_HUP, -1},
        {FERRY_POLL_PRIORITY, FERRY_POLL_HUP, -1},
        {0, FERRY_POLL_HUP, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].how < 0 &&
            omits_on_windows("a pair of streams is TCP, which has an end and no hang-up"))
            break;
        ferry_fd fds[2];
        unix_pair(fds, SOCK_STREAM);
        struct watcher w = {.loop = loop, .fd = fds[0]};
        watch(&w, rows[i].events);
        run_for(loop, 2 * MS);
        assert_int_equal(w.probe.calls, 0);
        if (rows[i].how >= 0) assert_int_equal(shutdown(fds[1], rows[i].how), 0);
        if (rows[i].how < 0) close_far(fds[1]);
        expect_all(loop, &w.probe, rows[i].last, 0, 0);
        run_for(loop, 2 * MS);
        assert_int_equal(w.probe.calls, 1);
        close_near(loop, fds[0]);
        if (rows[i].how >= 0) close_far(fds[1]);
    }
    finish(loop);
}

/* Linux tells of a peer that sends no more although it was not asked. Who waits to write to it is
 * not told of that, does not spin, and is told when he can write. */
static void half_closed(ferry_loop *loop, unsigned events, unsigned flags) {
    ferry_fd fds[2];
    char scrap[4096];
    unix_pair(fds, SOCK_STREAM);
    plain_stuff(fds[0]);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    struct watcher w = {.loop = loop, .fd = fds[0]};
    ferry_poll(loop, &w.probe.op, fds[0], events, flags, on_ready);
    uint64_t used_ns = cpu_ns();
    run_for(loop, 200 * MS);
    assert_true(cpu_ns() - used_ns < 100 * MS);
    assert_int_equal(w.probe.calls, 0);
    while (plain_take(fds[1], scrap, sizeof scrap) > 0) continue;
    while (w.probe.calls == 0) ferry_run(loop, FERRY_RUN_ONCE);
    assert_int_equal(w.probe.result, FERRY_POLL_OUT);
    if (flags & FERRY_MULTI) {
        assert_int_equal(w.probe.flags, FERRY_MORE);
        watch_end(&w);
    }
    assert_int_equal(w.probe.finals, 1);
    close_near(loop, fds[0]);
    close_far(fds[1]);
}

static void ops_poll_of_what_is_half_closed(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    half_closed(loop, FERRY_POLL_OUT, 0);
    half_closed(loop, FERRY_POLL_OUT | FERRY_POLL_PRIORITY, FERRY_MULTI);
    /* And can be cancelled in between. */
    ferry_fd fds[2];
    struct probe p = {.calls = 0}, late = {.calls = 0, .op = {.deadline_ns = 30 * MS}};
    unix_pair(fds, SOCK_STREAM);
    plain_stuff(fds[0]);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    ferry_poll(loop, &p.op, fds[0], FERRY_POLL_OUT, 0, probe_done);
    ferry_poll(loop, &late.op, fds[0], FERRY_POLL_OUT, 0, probe_done);
    run_for(loop, 5 * MS);
    ferry_cancel(loop, &p.op);
    expect_all(loop, &p, FERRY_ECANCELED, 0, 0);
    expect_all(loop, &late, FERRY_ETIMEDOUT, 0, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void ops_poll_multi_cancelled_by_its_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0], .stop_at = 3};
    watch(&w, FERRY_POLL_OUT);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ECANCELED);
    assert_int_equal(w.probe.calls, 4);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void ops_poll_multi_closed_by_its_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0], .close_at = 2};
    watch(&w, FERRY_POLL_OUT);
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ECANCELED);
    assert_int_equal(w.probe.calls, 3);
    run_done(loop);
    assert_false(is_open(fds[0]));
    close_far(fds[1]);
    finish(loop);
}

static void contract_06_deadline_of_a_poll_is_its_longest_gap(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0], .takes = 8};
    w.probe.op.deadline_ns = SECOND;
    uint64_t last_ns = 0;
    watch(&w, FERRY_POLL_IN);
    for (int i = 0; i < 4; i++) {
        run_for(loop, 300 * MS);
        last_ns = clock_ns();
        plain_send(fds[1], "x", 1);
        while (w.probe.calls <= i && w.probe.finals == 0) ferry_run(loop, FERRY_RUN_ONCE);
    }
    probe_wait(loop, &w.probe);
    assert_int_equal(w.probe.result, FERRY_ETIMEDOUT);
    assert_int_equal(w.probe.calls, 5);
    assert_true(w.probe.called_ns - last_ns >= SECOND);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* Through ferry_reap(): one record of each turn, the operation in flight meanwhile. */
static void ops_poll_multi_reaped(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    ferry_op op = {.done = NULL};
    ferry_completion got[4];
    unix_pair(fds, SOCK_STREAM);
    ferry_poll(loop, &op, fds[0], FERRY_POLL_OUT, FERRY_MULTI, FERRY_PULL);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ferry_reap(loop, got, 4, SECOND), 1);
        assert_ptr_equal(got[0].op, &op);
        assert_int_equal(got[0].result, FERRY_POLL_OUT);
        assert_int_equal(got[0].flags, FERRY_MORE);
    }
    ferry_cancel(loop, &op);
    assert_int_equal(ferry_reap(loop, got, 4, SECOND), 1);
    assert_int_equal(got[0].result, FERRY_ECANCELED);
    assert_int_equal(got[0].flags, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void on_ready_again(ferry_op *op) {
    struct watcher *w = ferry_container(op, struct watcher, probe.op);
    probe_done(op);
    if (op->result > 0 && w->probe.calls < 10) ferry_again(w->loop, op);
}

static void ops_poll_again(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0]};
    ferry_poll(loop, &w.probe.op, fds[0], FERRY_POLL_OUT, 0, on_ready_again);
    run_done(loop);
    assert_int_equal(w.probe.finals, 10);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Whose descriptor ------------------------------------------------------------------ */

static void contract_07_close_ends_polls(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe one = {.calls = 0}, second = {.calls = 0}, close = {.calls = 0};
    for (int by_close = 0; by_close < 2; by_close++) {
        unix_pair(fds, SOCK_STREAM);
        struct watcher w = {.loop = loop, .fd = fds[0]}, idle = {.loop = loop, .fd = fds[0]};
        memset(&one, 0, sizeof one);
        ferry_poll(loop, &one.op, fds[0], FERRY_POLL_IN, 0, probe_done);
        watch(&w, FERRY_POLL_OUT);
        watch(&idle, FERRY_POLL_IN);
        while (w.probe.calls < 3) ferry_run(loop, FERRY_RUN_ONCE);
        assert_int_equal(ferry_forget(loop, fds[0]), FERRY_EBUSY);
        if (by_close) {
            ferry_close(loop, &close.op, fds[0], 0, probe_done);
            ferry_poll(loop, &second.op, fds[0], FERRY_POLL_OUT, 0, probe_done);
            expect_all(loop, &second, FERRY_EBADF, 0, 0);
            expect_all(loop, &close, 0, 0, 0);
            assert_true(one.order < close.order && w.probe.order < close.order);
        } else {
            ferry_cancel_fd(loop, fds[0]);
            run_done(loop);
            close_near(loop, fds[0]);
        }
        probe_check(&one, FERRY_ECANCELED);
        assert_int_equal(w.probe.result, FERRY_ECANCELED);
        assert_int_equal(w.probe.finals, 1);
        probe_check(&idle.probe, FERRY_ECANCELED);
        close_far(fds[1]);
    }
    finish(loop);
}

/* A number that is in use becomes that of another file; what it was is closed. */
static void take_number(ferry_fd of, ferry_fd number) {
    assert_int_equal(dup2(of, number), number);
    assert_int_equal(fcntl(number, F_SETFD, FD_CLOEXEC), 0);
}

/* A poll is exempt from the rule that a descriptor belongs to one loop, and remembers nothing. */
static void contract_07_poll_of_another_loops_descriptor(void **state) {
    (void)state;
    ferry_loop *mine = test_loop(), *watching = test_loop();
    ferry_fd fds[2];
    struct probe recv = {.calls = 0}, poll = {.calls = 0}, read = {.calls = 0};
    char buf[8];
    unix_pair(fds, SOCK_STREAM);
    ferry_poll(watching, &poll.op, fds[0], FERRY_POLL_IN, 0, probe_done);
    run_for(watching, 2 * MS);
    plain_send(fds[1], "ab", 2);
    expect_all(watching, &poll, FERRY_POLL_IN, 0, 0);
    ferry_recv(mine, &recv.op, fds[0], buf, 8, 0, probe_done);
    expect_all(mine, &recv, 2, 2, 0);
    close_near(mine, fds[0]);
    /* The number comes back as something of another kind, which the watching loop uses. */
    ferry_fd file = temp_file("file", 8, 1);
    if (file != fds[0]) {
        take_number(file, fds[0]);
        close_far(file);
    }
    ferry_read(watching, &read.op, fds[0], buf, 8, 0, 0, probe_done);
    expect_all(watching, &read, 8, 8, 0);
    assert_true(is_filled(buf, 8, 1));
    close_near(watching, fds[0]);
    close_far(fds[1]);
    finish(mine);
    finish(watching);
}

/* Closed behind our back, and the number taken by something else: the next poll is of that. */
static void trouble_poll_closed_elsewhere(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd old[2], fresh[2];
    struct probe p = {.calls = 0}, q = {.calls = 0};
    unix_pair(old, SOCK_STREAM);
    unix_pair(fresh, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = old[0]};
    ferry_poll(loop, &p.op, old[0], FERRY_POLL_IN, 0, probe_done);
    watch(&w, FERRY_POLL_IN);
    run_for(loop, 2 * MS);
    take_number(fresh[0], old[0]);
    ferry_poll(loop, &q.op, old[0], FERRY_POLL_IN, 0, probe_done);
    run_for(loop, 2 * MS);
    assert_int_equal(p.calls + q.calls + w.probe.calls, 0);
    plain_send(fresh[1], "x", 1);
    expect_all(loop, &q, FERRY_POLL_IN, 0, 0);
    assert_int_equal(p.calls + w.probe.calls, 0);
    ferry_cancel(loop, &p.op);
    expect_all(loop, &p, FERRY_ECANCELED, 0, 0);
    watch_end(&w);
    close_far(old[0]);
    close_far(old[1]);
    close_far(fresh[0]);
    close_far(fresh[1]);
    finish(loop);
}

static void contract_11_drain_ends_polls(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe p = {.calls = 0}, late = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    struct watcher w = {.loop = loop, .fd = fds[0]};
    ferry_poll(loop, &p.op, fds[0], FERRY_POLL_IN, 0, probe_done);
    watch(&w, FERRY_POLL_OUT);
    while (w.probe.calls < 3) ferry_run(loop, FERRY_RUN_ONCE);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    assert_int_equal(ferry_loop_drain(loop, 5 * SECOND), 0);
    probe_check(&p, FERRY_ECANCELED);
    assert_int_equal(w.probe.result, FERRY_ECANCELED);
    ferry_poll(loop, &late.op, fds[0], FERRY_POLL_OUT, 0, probe_done);
    assert_int_equal(ferry_loop_drain(loop, SECOND), 0);
    probe_check(&late, FERRY_ECLOSED);
    test_close(loop);
    close_far(fds[0]);
    close_far(fds[1]);
}

const struct contract_test ops_polls_tests[] = {
    {"ops_poll_tells_what_is_there", ops_poll_tells_what_is_there, 0},
    {"ops_poll_waits_for_urgent_data", ops_poll_waits_for_urgent_data, 0},
    {"ops_poll_waits", ops_poll_waits, 0},
    {"ops_poll_tells_of_the_end", ops_poll_tells_of_the_end, 0},
    {"ops_poll_of_a_connect", ops_poll_of_a_connect, 0},
    {"ops_poll_of_files", ops_poll_of_files, 0},
    {"ops_poll_of_an_outer_loop", ops_poll_of_an_outer_loop, 0},
    {"ops_poll_several_on_one", ops_poll_several_on_one, 0},
    {"trouble_poll_events", trouble_poll_events, 0},
    {"ops_poll_multi", ops_poll_multi, 0},
    {"ops_poll_multi_is_level_triggered", ops_poll_multi_is_level_triggered, 0},
    {"ops_poll_multi_looks_after_the_callback", ops_poll_multi_looks_after_the_callback, 0},
    {"contract_14_poll_that_is_always_ready", contract_14_poll_that_is_always_ready, 0},
    {"ops_poll_multi_ends_with_what_stays", ops_poll_multi_ends_with_what_stays, 0},
    {"ops_poll_of_what_is_half_closed", ops_poll_of_what_is_half_closed, 0},
    {"ops_poll_multi_cancelled_by_its_callback", ops_poll_multi_cancelled_by_its_callback, 0},
    {"ops_poll_multi_closed_by_its_callback", ops_poll_multi_closed_by_its_callback, 0},
    {"contract_06_deadline_of_a_poll_is_its_longest_gap",
     contract_06_deadline_of_a_poll_is_its_longest_gap, 0},
    {"ops_poll_multi_reaped", ops_poll_multi_reaped, 0},
    {"ops_poll_again", ops_poll_again, 0},
    {"contract_07_close_ends_polls", contract_07_close_ends_polls, 0},
    {"contract_07_poll_of_another_loops_descriptor", contract_07_poll_of_another_loops_descriptor,
     0},
    {"trouble_poll_closed_elsewhere", trouble_poll_closed_elsewhere, 0},
    {"contract_11_drain_ends_polls", contract_11_drain_ends_polls, 0},
    {NULL, NULL, 0},
};
