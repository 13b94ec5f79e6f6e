/* Rule 13: thread-safe are only ferry_post() and ferry_stop(). A loop belongs to the thread that
 * first runs it, before that to the one that opened it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a thread found wrong: a string, or NULL. Assertions work in the main thread only. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) return (void *)(uintptr_t) #condition;                                   \
    } while (0)

static void thread_join(pthread_t thread) {
    void *wrong = NULL;
    assert_int_equal(pthread_join(thread, &wrong), 0);
    if (wrong) fail_msg("in a thread: %s does not hold", (const char *)wrong);
}

/* ---- Which thread owns a loop
 * ---------------------------------------------------------------------- */

static struct {
    ferry_loop *loop;
    struct probe recv, timer, nop, stat, work;
    ferry_file file;
    char buf[4];
    pthread_t ran_on;
} given;

static int64_t work_six(void *arg) {
    (void)arg;
    return 6;
}

static void where_done(ferry_op *op) {
    given.ran_on = pthread_self();
    probe_done(op);
}

static void *run_given(void *arg) {
    (void)arg;
    CHECK(ferry_run(given.loop, FERRY_RUN_DONE) == 0);
    CHECK(given.nop.calls == 1);
    ferry_nop(given.loop, &given.nop.op, 0, probe_done);
    CHECK(ferry_run(given.loop, FERRY_RUN_DONE) == 0);
    CHECK(given.nop.calls == 2);
    CHECK(pthread_equal(given.ran_on, pthread_self()));
    CHECK(ferry_loop_close(given.loop) == 0);
    return NULL;
}

/* Opened and submitted to here, run and closed there. */
static void contract_13_open_here_run_there(void **state) {
    (void)state;
    for (int round = 0; round < 5; round++) {
        pthread_t thread;
        ferry_fd fds[2];
        memset(&given, 0, sizeof given);
        unix_pair(fds, SOCK_STREAM);
        given.loop = test_loop();
        given.recv.op.deadline_ns = 15 * SECOND;
        ferry_recv(given.loop, &given.recv.op, fds[0], given.buf, 4, FERRY_ALL, probe_done);
        ferry_timer(given.loop, &given.timer.op, MS, 0, 0, probe_done);
        ferry_nop(given.loop, &given.nop.op, 0, where_done);
        ferry_stat(given.loop, &given.stat.op, "/", &given.file, 0, probe_done);
        ferry_work(given.loop, &given.work.op, work_six, NULL, 0, probe_done);
        plain_send(fds[1], "abcd", 4);
        assert_int_equal(pthread_create(&thread, NULL, run_given, NULL), 0);
        thread_join(thread);
        assert_int_equal(given.recv.result, 4);
        assert_memory_equal(given.buf, "abcd", 4);
        assert_int_equal(given.timer.calls, 1);
        assert_int_equal(given.stat.result, 0);
        assert_int_equal(given.file.type, FERRY_FILE_DIRECTORY);
        assert_int_equal(given.work.result, 6);
        close(fds[0]);
        close(fds[1]);
    }
}

/* Until somebody runs it, the thread that opened it may close it or take back what it submitted. */
static void contract_13_opened_and_never_run(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char buf[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    test_close(test_loop());
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &p.op, fds[0], buf, 4, 0, probe_done);
    ferry_cancel(loop, &p.op);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    probe_check(&p, FERRY_ECANCELED);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

#ifdef FERRY_TEST_DEBUG
/* ---- The wrong thread, which builds with checks stop at
 * --------------------------------------------- */

static struct {
    ferry_loop *loop;
    struct probe probe;
    const char *call;
    char buf[4];
    ferry_fd fds[2];
} wrong;

static void *call_from_wrong_thread(void *arg) {
    const char *call = wrong.call;
    ferry_op *op = &wrong.probe.op;
    (void)arg;
    if (strcmp(call, "nop") == 0) ferry_nop(wrong.loop, op, 0, probe_done);
    if (strcmp(call, "recv") == 0) {
        ferry_recv(wrong.loop, op, wrong.fds[0], wrong.buf, 4, 0, probe_done);
    }
    if (strcmp(call, "cancel") == 0) ferry_cancel(wrong.loop, op);
    if (strcmp(call, "cancel_fd") == 0) ferry_cancel_fd(wrong.loop, wrong.fds[0]);
    if (strcmp(call, "close") == 0) ferry_close(wrong.loop, NULL, wrong.fds[0], 0, NULL);
    if (strcmp(call, "hold") == 0) ferry_hold(wrong.loop);
    if (strcmp(call, "run") == 0) ferry_run(wrong.loop, FERRY_RUN_NOWAIT);
    if (strcmp(call, "drain") == 0) ferry_loop_drain(wrong.loop, 0);
    if (strcmp(call, "loop_close") == 0) ferry_loop_close(wrong.loop);
    if (strcmp(call, "forget") == 0) ferry_forget(wrong.loop, wrong.fds[0]);
    return NULL;
}

static int helper_wrong_thread(void) {
    pthread_t thread;
    wrong.call = getenv("FERRY_TEST_CALL");
    if (!wrong.call) return 1;
    unix_pair(wrong.fds, SOCK_STREAM);
    wrong.loop = test_loop();
    if (ferry_run(wrong.loop, FERRY_RUN_NOWAIT) < 0) return 1; /* from now on it is this thread's */
    if (pthread_create(&thread, NULL, call_from_wrong_thread, NULL) != 0) return 1;
    pthread_join(thread, NULL);
    return 0;
}

static void contract_13_wrong_thread_stops_the_program(void **state) {
    (void)state;
    static const char *const calls[] = {"nop",  "recv", "cancel", "cancel_fd",  "close",
                                        "hold", "run",  "drain",  "loop_close", "forget"};
    static struct helper_result result;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        char call[64];
        snprintf(call, sizeof call, "FERRY_TEST_CALL=%s", calls[i]);
        const char *const env[] = {call, NULL};
        helper_run("wrong_thread", env, &result);
        if (result.exited || result.signal != SIGABRT || !strstr(result.output, "thread")) {
            fail_msg("%s: exited %d, status %d, signal %d:\n%s", calls[i], result.exited,
                     result.status, result.signal, result.output);
        }
    }
}
#endif

/* ---- Posting
 * --------------------------------------------------------------------------------------- */

enum { POSTS = 100000, RING = 64 };

/* Each of two loops posts to the other until 100,000 have come; operations go back and forth. */
struct player {
    ferry_loop *loop;
    struct player *other;
    ferry_op ops[RING];
    long received, sent;
    int failed;
};

static void ping_done(ferry_op *op);

static void ping_send(struct player *from, ferry_op *op) {
    from->sent++;
    op->user = from->other;
    if (ferry_post(from->other->loop, op, ping_done) != 0) from->failed++;
}

/* Runs in the loop of the player that op->user names: it sends the operation back. */
static void ping_done(ferry_op *op) {
    struct player *me = op->user;
    me->received++;
    if (me->sent < POSTS) ping_send(me, op);
    if (me->received == POSTS) ferry_release(me->loop);
}

static atomic_int done_count;

static void *play(void *arg) {
    struct player *me = arg;
    CHECK(ferry_run(me->loop, FERRY_RUN_DONE) == 0);
    CHECK(me->received == POSTS);
    CHECK(me->failed == 0);
    CHECK(loop_stats(me->loop).completed == POSTS);
    /* The other's last post to this loop has arrived, but need not have returned. */
    atomic_fetch_add(&done_count, 1);
    while (atomic_load(&done_count) < 2) sleep_ns(MS / 10);
    test_close(me->loop);
    return NULL;
}

static void contract_13_two_loops_post_to_each_other(void **state) {
    (void)state;
    static struct player players[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        players[i].loop = test_loop();
        players[i].other = &players[1 - i];
        ferry_hold(players[i].loop);
    }
    /* Posts reach a loop that nobody has run yet. */
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < RING / 2; k++) ping_send(&players[i], &players[i].ops[k]);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (int i = 0; i < 2; i++) thread_join(threads[i]);
    for (int i = 0; i < 2; i++) assert_int_equal(players[i].received, POSTS);
}

enum { POSTERS = 4, EACH = 20000 };

struct poster {
    ferry_loop *loop;
    ferry_op ops[EACH];
    int next, disordered;
};

static int posters_left;

static void ordered_done(ferry_op *op) {
    struct poster *poster = op->user;
    if (op != &poster->ops[poster->next]) poster->disordered++;
    if (++poster->next == EACH && --posters_left == 0) ferry_release(poster->loop);
}

static void *post_all(void *arg) {
    struct poster *poster = arg;
    for (int i = 0; i < EACH; i++) {
        poster->ops[i].user = poster;
        CHECK(ferry_post(poster->loop, &poster->ops[i], ordered_done) == 0);
        if (i % 4096 == 0) sleep_ns(MS); /* lets the loop fall asleep now and then */
    }
    return NULL;
}

static void contract_13_posts_of_a_thread_arrive_in_order(void **state) {
    (void)state;
    struct poster *posters = calloc(POSTERS, sizeof *posters);
    pthread_t threads[POSTERS];
    assert_non_null(posters);
    ferry_loop *loop = test_loop();
    ferry_hold(loop);
    posters_left = POSTERS;
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = loop;
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    run_done(loop);
    for (int i = 0; i < POSTERS; i++) {
        thread_join(threads[i]);
        assert_int_equal(posters[i].next, EACH);
        assert_int_equal(posters[i].disordered, 0);
    }
    test_close(loop);
    free(posters);
}

static void *post_once(void *arg) {
    sleep_ns(10 * MS);
    CHECK(ferry_post(given.loop, arg, probe_done) == 0);
    return NULL;
}

/* The loop sleeps, with nothing due for a minute; the post wakes it. */
static void contract_13_a_post_wakes_a_sleeping_loop(void **state) {
    (void)state;
    struct probe far = {.calls = 0};
    given.loop = test_loop();
    ferry_timer(given.loop, &far.op, 60 * SECOND, 0, 0, probe_done);
    for (int i = 0; i < 10; i++) {
        struct probe p = {.calls = 0};
        pthread_t thread;
        uint64_t start_ns = clock_ns();
        assert_int_equal(pthread_create(&thread, NULL, post_once, &p.op), 0);
        while (p.calls == 0) assert_int_equal(ferry_run(given.loop, FERRY_RUN_ONCE), 1);
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
        thread_join(thread);
        probe_check(&p, 0);
    }
    assert_int_equal(far.calls, 0);
    ferry_cancel(given.loop, &far.op);
    run_done(given.loop);
    test_close(given.loop);
}

/* A post from the loop's own thread arrives in the next turn, and costs no wake-up. */
static struct {
    ferry_loop *loop;
    struct probe posted;
    int calls_when_posted;
} self;

static void posts_done(ferry_op *op) {
    (void)op;
    if (ferry_post(self.loop, &self.posted.op, probe_done) != 0) self.calls_when_posted = -1;
    self.calls_when_posted += self.posted.calls;
}

static void contract_13_a_post_to_an_awake_loop_is_cheap(void **state) {
    (void)state;
    ferry_op op;
    memset(&op, 0, sizeof op);
    self.loop = test_loop();
    uint64_t before = loop_stats(self.loop).wakeups;
    for (int i = 1; i <= 100; i++) {
        ferry_nop(self.loop, &op, 0, posts_done);
        run_done(self.loop);
        assert_int_equal(self.posted.calls, i);
    }
    assert_int_equal(self.calls_when_posted, 99 * 100 / 2);
    assert_int_equal(loop_stats(self.loop).wakeups, before);
    test_close(self.loop);
}

static void contract_13_a_refused_post_leaves_the_operation_idle(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_loop *closing = test_loop(), *open = test_loop();
    assert_int_equal(ferry_loop_drain(closing, SECOND), 0);
    assert_int_equal(ferry_post(closing, &p.op, probe_done), FERRY_ECLOSED);
    assert_int_equal(ferry_post(open, &p.op, probe_done), 0); /* still its owner's */
    run_done(open);
    probe_check(&p, 0);
    test_close(closing);
    test_close(open);
}

/* ---- Loops side by side
 * ----------------------------------------------------------------------------- */

/* Each thread has a loop of its own, which moves bytes through a socket to the other's and back. */
struct side {
    ferry_loop *loop;
    ferry_fd fd;
    struct probe in, out;
    char buf[512];
};

enum { TRIPS = 2000 };

static void *ping_pong(void *arg) {
    struct side *side = arg;
    CHECK(ferry_run(side->loop, FERRY_RUN_NOWAIT) == 0); /* from now on it is this thread's */
    for (int i = 0; i < TRIPS; i++) {
        memset(&side->in, 0, sizeof side->in);
        memset(&side->out, 0, sizeof side->out);
        ferry_send(side->loop, &side->out.op, side->fd, side->buf, 100, 0, probe_done);
        CHECK(ferry_run(side->loop, FERRY_RUN_DONE) == 0);
        CHECK(side->out.result == 100);
        ferry_recv(side->loop, &side->in.op, side->fd, side->buf, 100, FERRY_ALL, probe_done);
        CHECK(ferry_run(side->loop, FERRY_RUN_DONE) == 0);
        CHECK(side->in.result == 100);
        CHECK(is_filled(side->buf, 100, 31));
    }
    test_close(side->loop);
    return NULL;
}

static void contract_13_loops_in_two_threads(void **state) {
    (void)state;
    static struct side sides[2];
    pthread_t threads[2];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    for (int i = 0; i < 2; i++) {
        sides[i].loop = test_loop();
        sides[i].fd = fds[i];
        fill(sides[i].buf, 100, 31);
        assert_int_equal(pthread_create(&threads[i], NULL, ping_pong, &sides[i]), 0);
    }
    for (int i = 0; i < 2; i++) thread_join(threads[i]);
    close(fds[0]);
    close(fds[1]);
}

const struct contract_helper rule_13_helpers[] = {
#ifdef FERRY_TEST_DEBUG
    {"wrong_thread", helper_wrong_thread},
#endif
    {NULL, NULL}};

const struct contract_test rule_13_tests[] = {
    {"contract_13_open_here_run_there", contract_13_open_here_run_there, 0},
    {"contract_13_opened_and_never_run", contract_13_opened_and_never_run, 0},
#ifdef FERRY_TEST_DEBUG
    {"contract_13_wrong_thread_stops_the_program", contract_13_wrong_thread_stops_the_program, 60},
#endif
    {"contract_13_two_loops_post_to_each_other", contract_13_two_loops_post_to_each_other, 0},
    {"contract_13_posts_of_a_thread_arrive_in_order", contract_13_posts_of_a_thread_arrive_in_order,
     0},
    {"contract_13_a_post_wakes_a_sleeping_loop", contract_13_a_post_wakes_a_sleeping_loop, 0},
    {"contract_13_a_post_to_an_awake_loop_is_cheap", contract_13_a_post_to_an_awake_loop_is_cheap,
     0},
    {"contract_13_a_refused_post_leaves_the_operation_idle",
     contract_13_a_refused_post_leaves_the_operation_idle, 0},
    {"contract_13_loops_in_two_threads", contract_13_loops_in_two_threads, 0},
    {NULL, NULL, 0}};
