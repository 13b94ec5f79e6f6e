/* ops_embed.c - a loop inside another: what makes its descriptor readable, each alone
 *
 * SPDX-License-Identifier: MIT
 */
#include "embed_stage.h"
#include "portable.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- One thing that wakes it ----------------------------------------------------------------- */

static void ops_embed_completion(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    char buf[8];
    ferry_fd fds[2];
    embedded_open(&e, 0);
    unix_pair(fds, SOCK_STREAM);
    for (int round = 0; round < 5; round++) {
        memset(&p, 0, sizeof p);
        ferry_recv(e.loop, &p.op, fds[0], buf, 8, 0, probe_done);
        embedded_rest(&e);
        assert_false(embedded_readable(&e, 20 * MS));
        plain_send(fds[1], "ab", 2);
        assert_true(embedded_readable(&e, SECOND));
        embedded_rest(&e);
        probe_check(&p, 2);
        assert_false(embedded_readable(&e, 20 * MS));
    }
    close_near(e.loop, fds[0]);
    close(fds[1]);
    embedded_close(&e);
}

static void *post_it(void *arg) {
    struct embedded *e = arg;
    sleep_ns(20 * MS);
    assert_int_equal(ferry_post(e->loop, &e->probe.op, probe_done), 0);
    return NULL;
}

static void ops_embed_post(void **state) {
    (void)state;
    struct embedded e;
    embedded_open(&e, 0);
    embedded_rest(&e);
    for (int round = 0; round < 5; round++) {
        pthread_t thread;
        memset(&e.probe, 0, sizeof e.probe);
        assert_false(embedded_readable(&e, 5 * MS));
        assert_int_equal(pthread_create(&thread, NULL, post_it, &e), 0);
        assert_true(embedded_readable(&e, 20 * SECOND * TEST_STRETCH));
        assert_int_equal(pthread_join(thread, NULL), 0);
        embedded_rest(&e);
        probe_check(&e.probe, 0);
    }
    assert_false(embedded_readable(&e, 20 * MS));
    embedded_close(&e);
}

static int64_t slow(void *arg) {
    (void)arg;
    sleep_ns(30 * MS);
    return 7;
}

static void ops_embed_work(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    embedded_open(&e, 0);
    ferry_work(e.loop, &p.op, slow, NULL, 0, probe_done);
    embedded_rest(&e);
    if (p.calls == 0) {
        assert_true(embedded_readable(&e, 20 * SECOND * TEST_STRETCH));
        embedded_rest(&e);
    }
    probe_check(&p, 7);
    assert_false(embedded_readable(&e, 20 * MS));
    embedded_close(&e);
}

/* Timers one after the other, never early, and nothing in between. Returns whether all of them were
 * submitted before the order of their ends could become another. */
static int timers_in_order(struct embedded *e, uint64_t step_ns) {
    struct probe p[3] = {{.calls = 0}};
    const uint64_t spans[3] = {3 * step_ns, step_ns, 2 * step_ns}; /* the first is not the next */
    uint64_t start_ns = clock_ns();
    for (int i = 0; i < 3; i++) {
        ferry_timer(e->loop, &p[i].op, spans[i], 0, 0, probe_done);
        embedded_rest(e);
    }
    int in_time = clock_ns() - start_ns < step_ns;
    int runs = 0;
    while (p[0].calls == 0 || p[1].calls == 0 || p[2].calls == 0) {
        assert_true(embedded_readable(e, 20 * SECOND * TEST_STRETCH));
        assert_true(ferry_run(e->loop, FERRY_RUN_NOWAIT) >= 0);
        runs++;
    }
    for (int i = 0; i < 3; i++) {
        probe_check(&p[i], 0);
        assert_true(p[i].called_ns - start_ns >= spans[i]);
    }
    if (in_time) assert_true(p[1].order < p[2].order && p[2].order < p[0].order);
    assert_true(runs < 20);
    return in_time;
}

static void ops_embed_timer(void **state) {
    (void)state;
    struct embedded e;
    uint64_t step_ns = 100 * MS;
    embedded_open(&e, 0);
    while (!timers_in_order(&e, step_ns)) step_ns *= 2;
    embedded_rest(&e);
    assert_false(embedded_readable(&e, 20 * MS));
    embedded_close(&e);
}

static void ops_embed_deadline(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.op = {.deadline_ns = 50 * MS}};
    char buf[8];
    ferry_fd fds[2];
    embedded_open(&e, 0);
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(e.loop, &p.op, fds[0], buf, 8, 0, probe_done);
    embedded_run_until(&e, &p);
    probe_check(&p, FERRY_ETIMEDOUT);
    close_near(e.loop, fds[0]);
    close(fds[1]);
    embedded_close(&e);
}

/* The timer that is nearest is cancelled, a later one still comes. On a busy machine the cancel may
 * be too late: then with more time. */
static void ops_embed_timer_behind_a_cancelled_one(void **state) {
    (void)state;
    struct embedded e;
    struct probe near, far;
    int in_time = 0;
    embedded_open(&e, 0);
    for (uint64_t span_ns = 50 * MS; !in_time; span_ns *= 2) {
        uint64_t start_ns = clock_ns();
        assert_true(span_ns < 10 * SECOND);
        memset(&near, 0, sizeof near);
        memset(&far, 0, sizeof far);
        ferry_timer(e.loop, &near.op, span_ns, 0, 0, probe_done);
        ferry_timer(e.loop, &far.op, 3 * span_ns, 0, 0, probe_done);
        embedded_rest(&e);
        ferry_cancel(e.loop, &near.op);
        in_time = clock_ns() - start_ns < span_ns;
        embedded_run_until(&e, &far);
        probe_check(&far, 0);
        assert_int_equal(near.calls, 1);
    }
    probe_check(&near, FERRY_ECANCELED);
    embedded_close(&e);
}

/* ---- Submitted, cancelled, stopped outside a run --------------------------------------- */

static void check_outside(struct embedded *e, struct probe *p, int64_t result) {
    assert_true(embedded_readable(e, SECOND));
    embedded_run_until(e, p);
    probe_check(p, result);
    assert_false(embedded_readable(e, 5 * MS));
    memset(p, 0, sizeof *p);
}

static void ops_embed_submit_outside(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    char buf[8] = "abcdefg";
    ferry_fd fds[2];
    embedded_open(&e, 0);
    unix_pair(fds, SOCK_STREAM);
    embedded_rest(&e);
    for (int round = 0; round < 3; round++) {
        ferry_nop(e.loop, &p.op, 0, probe_done);
        check_outside(&e, &p, 0);
        ferry_timer(e.loop, &p.op, 1, 0, 0, probe_done);
        check_outside(&e, &p, 0);
        ferry_send(e.loop, &p.op, fds[0], buf, 8, 0, probe_done);
        check_outside(&e, &p, 8);
        ferry_send(e.loop, &p.op, fds[0], buf, 8, 0, probe_done);
        check_outside(&e, &p, 8);
        ferry_recv(e.loop, &p.op, fds[1], buf, 8, 0, probe_done);
        check_outside(&e, &p, 8);
        ferry_recv(e.loop, &p.op, fds[1], buf, 8, FERRY_ALL, probe_done);
        check_outside(&e, &p, 8);
        ferry_recv(e.loop, &p.op, -1, buf, 8, 0, probe_done);
        check_outside(&e, &p, FERRY_EBADF);
        ferry_nop(e.loop, &p.op, 0, probe_done);
        check_outside(&e, &p, 0);
    }
    ferry_close(e.loop, &p.op, fds[0], 0, probe_done);
    check_outside(&e, &p, 0);
    ferry_close(e.loop, NULL, fds[1], 0, NULL);
    assert_true(embedded_readable(&e, SECOND));
    embedded_rest(&e);
    while (loop_stats(e.loop).in_flight > 0) embedded_turn(&e, 20 * SECOND * TEST_STRETCH);
    assert_false(is_open(fds[1]));
    embedded_close(&e);
}

static void ops_embed_cancel_outside(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    char buf[8];
    ferry_fd fds[2];
    embedded_open(&e, 0);
    unix_pair(fds, SOCK_STREAM);
    for (int way = 0; way < 2; way++) {
        ferry_recv(e.loop, &p.op, fds[0], buf, 8, 0, probe_done);
        embedded_rest(&e);
        assert_false(embedded_readable(&e, 5 * MS));
        if (way == 0) ferry_cancel(e.loop, &p.op);
        if (way == 1) ferry_cancel_fd(e.loop, fds[0]);
        check_outside(&e, &p, FERRY_ECANCELED);
    }
    ferry_timer(e.loop, &p.op, UINT64_MAX, 0, 0, probe_done);
    embedded_rest(&e);
    ferry_cancel(e.loop, &p.op);
    check_outside(&e, &p, FERRY_ECANCELED);
    close_near(e.loop, fds[0]);
    close(fds[1]);
    embedded_close(&e);
}

/* The outer loop may have much to do between two runs; ferry_stop() does not get lost. */
static void ops_embed_stop(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    embedded_open(&e, 0);
    embedded_rest(&e);
    ferry_stop(e.loop);
    assert_true(embedded_readable(&e, SECOND));
    embedded_rest(&e);
    ferry_nop(e.loop, &p.op, 0, probe_done);
    ferry_stop(e.loop);
    assert_int_equal(ferry_run(e.loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(p.calls, 0);
    assert_true(embedded_readable(&e, SECOND)); /* there is a result left */
    embedded_rest(&e);
    probe_check(&p, 0);
    embedded_close(&e);
}

/* ---- What is left ---------------------------------------------------------------------- */

#define MANY 3000

static struct probe many[MANY];

static unsigned count_done(void) {
    unsigned done = 0;
    for (size_t i = 0; i < MANY; i++) done += many[i].calls > 0;
    return done;
}

/* More than one turn delivers, whichever way the outer loop watches: each run that leaves something
 * is an edge. */
static void ops_embed_left_over(void **state) {
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct embedded e;
        embedded_open(&e, edge);
        embedded_rest(&e);
        memset(many, 0, sizeof many);
        for (size_t i = 0; i < MANY; i++) ferry_nop(e.loop, &many[i].op, 0, probe_done);
        for (unsigned turn = 1; turn <= 3; turn++) {
            assert_true(embedded_turn(&e, SECOND));
            assert_int_equal(count_done(), turn * 1024 < MANY ? turn * 1024 : MANY);
        }
        embedded_rest(&e);
        assert_false(embedded_turn(&e, 20 * MS));
        embedded_close(&e);
    }
}

/* The same with completions of the system, of which each turn brings more. */
static void ops_embed_left_over_records(void **state) {
    (void)state;
    static char bytes[MANY];
    for (int edge = 0; edge < 2; edge++) {
        struct embedded e;
        ferry_fd file = temp_file("records", MANY, 5);
        embedded_open(&e, edge);
        embedded_rest(&e);
        memset(many, 0, sizeof many);
        for (size_t i = 0; i < MANY; i++) {
            ferry_read(e.loop, &many[i].op, file, &bytes[i], 1, i, 0, probe_done);
        }
        for (unsigned turns = 0; count_done() < MANY; turns++) {
            assert_true(turns < 10000);
            assert_true(embedded_turn(&e, 20 * SECOND * TEST_STRETCH));
        }
        assert_true(is_filled(bytes, MANY, 5));
        close_near(e.loop, file);
        embedded_close(&e);
    }
}

static void ops_embed_pulled(void **state) {
    (void)state;
    struct embedded e;
    ferry_op op = {.state = 0};
    ferry_completion got[4];
    embedded_open(&e, 0);
    embedded_rest(&e);
    ferry_nop(e.loop, &op, 0, FERRY_PULL);
    for (int i = 0; i < 3; i++) { /* waits for ferry_reap(), however often the loop runs */
        assert_true(embedded_readable(&e, SECOND));
        assert_int_equal(ferry_run(e.loop, FERRY_RUN_NOWAIT), 1);
    }
    assert_true(embedded_readable(&e, SECOND));
    assert_int_equal(ferry_reap(e.loop, got, 4, 0), 1);
    assert_ptr_equal(got[0].op, &op);
    embedded_rest(&e);
    assert_false(embedded_readable(&e, 20 * MS));
    embedded_close(&e);
}

/* An accept that waits for descriptors is tried again in time. */
static void ops_embed_paused_accept(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr), client = plain_socket(AF_INET, SOCK_STREAM);
    embedded_open(&e, 0);
    embedded_rest(&e);
    ferry_fd unused = dup(0);
    assert_true(unused >= 0);
    close(unused);
    assert_int_equal(set_fd_limit((unsigned)unused), 0);
    plain_connect(client, &addr);
    ferry_accept(e.loop, &p.op, listener, NULL, 0, probe_done);
    while (loop_stats(e.loop).accept_attempts < 2) {
        assert_true(embedded_turn(&e, 20 * SECOND * TEST_STRETCH));
        assert_int_equal(p.calls, 0);
    }
    assert_int_equal(set_fd_limit((unsigned)unused + 16), 0);
    embedded_run_until(&e, &p);
    assert_true(p.result >= 0);
    close_near(e.loop, (ferry_fd)p.result);
    close_near(e.loop, listener);
    close(client);
    embedded_close(&e);
}

static ferry_buffer *lent_now;

static void keep_lent(ferry_op *op) {
    probe_done(op);
    lent_now = ferry_lent(op);
}

static void *put_it(void *arg) {
    ferry_pool_put(arg, lent_now);
    return NULL;
}

/* A signal, and a change in a directory, which the library waits for by ways of its own. */
static void ops_embed_signal_and_watch(void **state) {
    (void)state;
    const int number = SIGNAL_ONE;
    struct embedded e;
    struct probe got_signal = {.calls = 0}, watch = {.calls = 0};
    static char changes[4096];
    struct ferry_watcher watcher = {.buf = changes, .len = sizeof changes};
    char *path = temp_path("new");
    embedded_open(&e, 0);
    ferry_signal(e.loop, &got_signal.op, number, 0, probe_done);
    embedded_rest(&e);
    assert_int_equal(ferry_kill(e.loop, getpid(), number), 0);
    embedded_run_until(&e, &got_signal);
    probe_check(&got_signal, 1);
    ferry_watch(e.loop, &watch.op, temp_path("."), &watcher, 0, probe_done);
    while (watch.calls < 1) assert_true(embedded_turn(&e, 20 * SECOND * TEST_STRETCH));
    embedded_rest(&e);
    int before = watch.calls;
    ferry_fd fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    while (watch.calls == before) assert_true(embedded_turn(&e, 20 * SECOND * TEST_STRETCH));
    ferry_cancel(e.loop, &watch.op);
    embedded_run_until(&e, &watch);
    embedded_close(&e);
}

/* A receive waits for the only buffer, which is given back outside a run, or by another thread. */
static void ops_embed_buffer_given_back(void **state) {
    (void)state;
    struct embedded e;
    struct probe p = {.calls = 0};
    ferry_pool *pool = NULL;
    ferry_fd fds[2];
    embedded_open(&e, 0);
    unix_pair(fds, SOCK_STREAM);
    assert_int_equal(ferry_pool_open(e.loop, &pool, 1, 16, 0, FERRY_SHARED), 0);
    ferry_recv_pool(e.loop, &p.op, fds[0], pool, FERRY_MULTI, keep_lent);
    plain_send(fds[1], "a", 1);
    while (p.calls < 1) assert_true(embedded_turn(&e, 20 * SECOND * TEST_STRETCH));
    for (int round = 1; round <= 6; round++) {
        pthread_t thread;
        plain_send(fds[1], "b", 1);
        for (int i = 0; i < 3; i++) embedded_rest(&e); /* it may be told to wait first */
        assert_int_equal(p.calls, round);
        if (round % 2) {
            ferry_pool_put(pool, lent_now);
        } else {
            assert_int_equal(pthread_create(&thread, NULL, put_it, pool), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
        }
        while (p.calls == round) assert_true(embedded_turn(&e, 20 * SECOND * TEST_STRETCH));
    }
    ferry_pool_put(pool, lent_now);
    ferry_cancel(e.loop, &p.op);
    embedded_run_until(&e, &p);
    close_near(e.loop, fds[0]);
    close(fds[1]);
    assert_int_equal(ferry_pool_close(pool), 0);
    embedded_close(&e);
}

/* What the kernel gives to its workers: the loop does nothing between the runs. */
static void ops_embed_files(void **state) {
    (void)state;
    struct embedded e;
    embedded_open(&e, 0);
    for (int i = 0; i < 20; i++) {
        struct probe open = {.calls = 0}, sync = {.calls = 0}, close_op = {.calls = 0};
        ferry_open(e.loop, &open.op, temp_path("f"), FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0600, 0,
                   probe_done);
        embedded_run_until(&e, &open);
        assert_true(open.result >= 0);
        ferry_sync(e.loop, &sync.op, (ferry_fd)open.result, 0, probe_done);
        embedded_run_until(&e, &sync);
        ferry_close(e.loop, &close_op.op, (ferry_fd)open.result, 0, probe_done);
        embedded_run_until(&e, &close_op);
        probe_check(&close_op, 0);
    }
    embedded_close(&e);
}

/* ---- When the descriptor is asked for -------------------------------------------------- */

static void ops_embed_is_one_descriptor(void **state) {
    (void)state;
    ferry_fd before[512], after[512];
    size_t had = list_fds(before, 512);
    ferry_loop *loop = test_loop();
    size_t plain = list_fds(NULL, 0);
    ferry_fd fd = ferry_loop_fd(loop);
    assert_true(fd >= 0);
    assert_int_equal(ferry_loop_fd(loop), fd);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    assert_int_equal(ferry_loop_fd(loop), fd);
    size_t has = list_fds(after, 512);
    assert_true(has > plain && has <= 512);
    for (size_t i = 0; i < has; i++) {
        int mine = 1;
        for (size_t k = 0; k < had; k++) mine &= after[i] != before[k];
        if (mine) assert_int_equal(fcntl(after[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    test_close(loop);
    has = list_fds(NULL, 0);
    if (!TEST_WINDOWS || has > had) assert_int_equal(has, had); /* its pools give back */
}

static void ops_embed_without_descriptors(void **state) {
    (void)state;
    for (int adopted = 0; adopted < 2; adopted++) {
        ferry_loop *loop = test_loop();
        struct probe p = {.calls = 0};
        if (adopted) assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
        size_t had = list_fds(NULL, 0);
        ferry_fd unused = dup(0);
        assert_true(unused >= 0);
        close(unused);
        for (int room = 0; room < 3; room++) {
            assert_int_equal(set_fd_limit((unsigned)(unused + room)), 0);
            assert_int_equal(ferry_loop_fd(loop), FERRY_EMFILE);
            assert_int_equal(set_fd_limit((unsigned)unused + 64), 0);
            assert_int_equal(list_fds(NULL, 0), had);
            memset(&p, 0, sizeof p);
            ferry_nop(loop, &p.op, 0, probe_done); /* it is as good as before */
            probe_wait(loop, &p);
        }
        assert_true(ferry_loop_fd(loop) >= 0);
        test_close(loop);
    }
}

/* Before the first run, with and without something that waits for it. */
static void ops_embed_a_new_loop(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct embedded e = {.loop = test_loop()};
        struct probe p = {.calls = 0};
        if (way == 0) ferry_nop(e.loop, &p.op, 0, probe_done);
        if (way == 1) assert_int_equal(ferry_post(e.loop, &p.op, probe_done), 0);
        embedded_watch(&e, 0);
        if (way >= 2) assert_false(embedded_readable(&e, 20 * MS));
        if (way == 2) ferry_timer(e.loop, &p.op, 1, 0, 0, probe_done);
        if (way == 3) assert_int_equal(ferry_post(e.loop, &p.op, probe_done), 0);
        check_outside(&e, &p, 0);
        embedded_close(&e);
    }
}

static void *run_elsewhere(void *arg) {
    struct embedded *e = arg;
    char buf[4];
    struct probe recv = {.calls = 0}, send = {.calls = 0};
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    embedded_run_until(e, &e->probe);
    ferry_recv(e->loop, &recv.op, fds[0], buf, 4, 0, probe_done);
    ferry_send(e->loop, &send.op, fds[1], "abcd", 4, 0, probe_done);
    embedded_run_until(e, &recv);
    close_near(e->loop, fds[0]);
    close_near(e->loop, fds[1]);
    return NULL;
}

/* Another thread adopts it, which may make the ring anew. */
static void ops_embed_adopted_by_another_thread(void **state) {
    (void)state;
    struct embedded e;
    pthread_t thread;
    embedded_open(&e, 0);
    ferry_timer(e.loop, &e.probe.op, MS, 0, 0, probe_done);
    assert_int_equal(pthread_create(&thread, NULL, run_elsewhere, &e), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    probe_check(&e.probe, 0);
    close(e.outer);
    assert_int_equal(ferry_loop_close(e.loop), 0);
}

static struct embedded *asks;

static void ask(ferry_op *op) {
    probe_done(op);
    embedded_watch(asks, 0);
    ferry_timer(asks->loop, &asks->probe.op, 20 * MS, 0, 0, probe_done);
}

static void ops_embed_asked_for_in_a_callback(void **state) {
    (void)state;
    struct embedded e = {.loop = test_loop()};
    struct probe p = {.calls = 0};
    asks = &e;
    ferry_nop(e.loop, &p.op, 0, ask);
    assert_int_equal(ferry_run(e.loop, FERRY_RUN_NOWAIT), 1);
    embedded_run_until(&e, &e.probe);
    probe_check(&e.probe, 0);
    embedded_close(&e);
}

/* It may be run like any other, too, and drained. */
static void ops_embed_runs_and_drains(void **state) {
    (void)state;
    struct embedded e;
    struct probe p[3] = {{.calls = 0}};
    pthread_t thread;
    embedded_open(&e, 0);
    ferry_timer(e.loop, &p[0].op, 5 * MS, 0, 0, probe_done);
    run_done(e.loop);
    probe_check(&p[0], 0);
    ferry_hold(e.loop);
    assert_int_equal(pthread_create(&thread, NULL, post_it, &e), 0);
    assert_int_equal(ferry_run(e.loop, FERRY_RUN_ONCE), 1); /* waits for the post */
    assert_int_equal(pthread_join(thread, NULL), 0);
    probe_check(&e.probe, 0);
    ferry_release(e.loop);
    embedded_rest(&e);
    ferry_timer(e.loop, &p[1].op, 20 * MS, 0, 0, probe_done);
    ferry_timer(e.loop, &p[2].op, SECOND * 100, 0, 0, probe_done);
    embedded_run_until(&e, &p[1]);
    assert_int_equal(ferry_loop_drain(e.loop, SECOND), 0);
    probe_check(&p[2], FERRY_ECANCELED);
    embedded_rest(&e);
    memset(&p[0], 0, sizeof p[0]);
    ferry_nop(e.loop, &p[0].op, 0, probe_done);
    embedded_run_until(&e, &p[0]);
    probe_check(&p[0], FERRY_ECLOSED);
    close(e.outer);
    test_close(e.loop);
}

const struct contract_test ops_embed_tests[] = {
    {"ops_embed_completion", ops_embed_completion, 0},
    {"ops_embed_post", ops_embed_post, 0},
    {"ops_embed_work", ops_embed_work, 0},
    {"ops_embed_timer", ops_embed_timer, 0},
    {"ops_embed_deadline", ops_embed_deadline, 0},
    {"ops_embed_timer_behind_a_cancelled_one", ops_embed_timer_behind_a_cancelled_one, 0},
    {"ops_embed_submit_outside", ops_embed_submit_outside, 0},
    {"ops_embed_cancel_outside", ops_embed_cancel_outside, 0},
    {"ops_embed_stop", ops_embed_stop, 0},
    {"ops_embed_left_over", ops_embed_left_over, 0},
    {"ops_embed_left_over_records", ops_embed_left_over_records, 0},
    {"ops_embed_pulled", ops_embed_pulled, 0},
    {"ops_embed_paused_accept", ops_embed_paused_accept, 0},
    {"ops_embed_signal_and_watch", ops_embed_signal_and_watch, 0},
    {"ops_embed_buffer_given_back", ops_embed_buffer_given_back, 0},
    {"ops_embed_files", ops_embed_files, 0},
    {"ops_embed_is_one_descriptor", ops_embed_is_one_descriptor, 0},
    {"ops_embed_without_descriptors", ops_embed_without_descriptors, 0},
    {"ops_embed_a_new_loop", ops_embed_a_new_loop, 0},
    {"ops_embed_adopted_by_another_thread", ops_embed_adopted_by_another_thread, 0},
    {"ops_embed_asked_for_in_a_callback", ops_embed_asked_for_in_a_callback, 0},
    {"ops_embed_runs_and_drains", ops_embed_runs_and_drains, 0},
    {NULL, NULL, 0}};
