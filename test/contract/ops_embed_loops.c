/* ops_embed_loops.c - a loop inside others at work: nothing is missed, and nothing is done for
 * nothing
 *
 * SPDX-License-Identifier: MIT
 */
#include "embed_stage.h"
#include "internal.h"
#include "outer.h"
#include "portable.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Much of everything ---------------------------------------------------------------- */

#define PAIRS 20
#define ROUNDS 200
#define POSTERS 2
#define POSTS 2000

struct player {
    ferry_op op;
    ferry_loop *loop;
    ferry_fd fd;
    uint64_t ball;
    unsigned *over;
};

static void play_sent(ferry_op *op);

static void play_received(ferry_op *op) {
    struct player *p = ferry_container(op, struct player, op);
    assert_int_equal(op->result, sizeof p->ball);
    p->ball++;
    ferry_send(p->loop, op, p->fd, &p->ball, sizeof p->ball, 0, play_sent);
}

static void play_sent(ferry_op *op) {
    struct player *p = ferry_container(op, struct player, op);
    assert_int_equal(op->result, sizeof p->ball);
    if (p->ball >= ROUNDS) {
        ++*p->over;
    } else {
        ferry_recv(p->loop, op, p->fd, &p->ball, sizeof p->ball, FERRY_ALL, play_received);
    }
}

static ferry_op posted[POSTERS][POSTS];
static unsigned arrived, expired, worked;
static ferry_loop *busy;

static void on_post(ferry_op *op) {
    (void)op;
    arrived++;
}

static void on_timer(ferry_op *op) {
    (void)op;
    expired++;
}

static int64_t work(void *arg) {
    (void)arg;
    return 1;
}

static void on_work(ferry_op *op) {
    worked += op->result == 1;
    if (worked < 100) ferry_again(busy, op);
}

static void *poster(void *arg) {
    ferry_op *ops = arg;
    for (size_t i = 0; i < POSTS; i++) {
        assert_int_equal(ferry_post(busy, &ops[i], on_post), 0);
        if (i % 97 == 0) sleep_ns(MS / 10);
    }
    return NULL;
}

/* What is around the loop. */
struct around {
    int edge;
    void (*begin)(struct around *a, ferry_loop *inner);
    int (*turn)(struct around *a); /* 0 if nothing came within 20 s */
    void (*end)(struct around *a);
    struct embedded *e;
    struct embedded outer; /* its loop is between the system's and the inner loop */
    struct probe poll;
};

/* Sockets, posts, timers and work at once; the outer loop waits without limit, so that one
 * announcement that is missed is a test that hangs. */
static void play(struct around *a) {
    static struct player players[PAIRS][2];
    struct embedded e;
    pthread_t threads[POSTERS];
    ferry_op timer = {.state = 0}, job = {.state = 0};
    unsigned over = 0;
    embedded_open(&e, a->edge);
    a->e = &e;
    if (a->begin != NULL) a->begin(a, e.loop);
    busy = e.loop;
    arrived = expired = worked = 0;
    memset(posted, 0, sizeof posted);
    for (size_t i = 0; i < PAIRS; i++) {
        ferry_fd fds[2];
        if (i % 2) tcp_pair(e.loop, fds);
        if (i % 2 == 0) unix_pair(fds, SOCK_STREAM);
        for (size_t k = 0; k < 2; k++) {
            players[i][k] = (struct player){.loop = e.loop, .fd = fds[k], .over = &over};
        }
        struct player *p = players[i];
        ferry_recv(e.loop, &p[0].op, p[0].fd, &p[0].ball, sizeof p[0].ball, FERRY_ALL,
                   play_received);
        ferry_send(e.loop, &p[1].op, p[1].fd, &p[1].ball, sizeof p[1].ball, 0, play_sent);
    }
    ferry_timer(e.loop, &timer, MS, MS, 0, on_timer);
    ferry_work(e.loop, &job, work, NULL, 0, on_work);
    for (size_t i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, poster, posted[i]), 0);
    }
    while (over < 2 * PAIRS || arrived < POSTERS * POSTS || expired < 20 || worked < 100) {
        if (!a->turn(a)) {
            fail_msg("%u games, %u posts, %u expiries, %u jobs", over, arrived, expired, worked);
        }
    }
    for (size_t i = 0; i < POSTERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < PAIRS * 2; i++) {
        ferry_close(e.loop, NULL, players[i / 2][i % 2].fd, 0, NULL);
    }
    ferry_cancel(e.loop, &timer);
    while (loop_stats(e.loop).in_flight > 0) assert_true(a->turn(a));
    if (a->end != NULL) a->end(a);
    embedded_rest(&e);
    embedded_close(&e);
}

static int system_turn(struct around *a) {
    return embedded_turn(a->e, 20 * SECOND * TEST_STRETCH);
}

static void ops_embed_in_a_level_triggered_queue(void **state) {
    (void)state;
    struct around a = {.turn = system_turn};
    play(&a);
}

static void ops_embed_in_an_edge_triggered_queue(void **state) {
    (void)state;
    struct around a = {.turn = system_turn, .edge = 1};
    play(&a);
}

/* ---- Ferry inside Ferry ---------------------------------------------------------------- */

static void run_inner(ferry_op *op) {
    struct around *a = ferry_container(op, struct around, poll.op);
    probe_done(op);
    if (op->result < 0) return;
    assert_int_equal(op->result, FERRY_POLL_IN);
    assert_true(ferry_run(a->e->loop, FERRY_RUN_NOWAIT) >= 0);
}

/* Linux nests five epolls at most, and each queue of the fake of kevent is two, where it is in the
 * loop's descriptor. */
static void skip_if_too_deep(void) {
    if (TEST_KQUEUE_IS_FAKE && strcmp(test_backend(), "kqueue") == 0 &&
        strstr(test_config(), "dedicated") == NULL) {
        test_skip("queues of the fake of kevent cannot be nested as deep");
    }
}

static void outer_begin(struct around *a, ferry_loop *inner) {
    embedded_open(&a->outer, 0);
    ferry_poll(a->outer.loop, &a->poll.op, ferry_loop_fd(inner), FERRY_POLL_IN, FERRY_MULTI,
               run_inner);
}

static int outer_turn(struct around *a) {
    struct probe guard = {.calls = 0};
    ferry_timer(a->outer.loop, &guard.op, 20 * SECOND * TEST_STRETCH, 0, 0, probe_done);
    assert_int_equal(ferry_run(a->outer.loop, FERRY_RUN_ONCE), 1);
    int in_time = guard.calls == 0;
    ferry_cancel(a->outer.loop, &guard.op);
    while (guard.calls == 0) assert_true(ferry_run(a->outer.loop, FERRY_RUN_ONCE) >= 0);
    return in_time;
}

static int outer_embedded_turn(struct around *a) {
    return embedded_turn(&a->outer, 20 * SECOND * TEST_STRETCH);
}

static void outer_end(struct around *a) {
    ferry_cancel(a->outer.loop, &a->poll.op);
    embedded_run_until(&a->outer, &a->poll);
    assert_int_equal(a->poll.result, FERRY_ECANCELED);
    embedded_close(&a->outer);
}

static void ops_embed_in_another_loop(void **state) {
    (void)state;
    skip_if_too_deep();
    struct around a = {.begin = outer_begin, .turn = outer_turn, .end = outer_end};
    play(&a);
}

/* And that one in a queue of the system's. */
static void ops_embed_in_an_embedded_loop(void **state) {
    (void)state;
    skip_if_too_deep();
    struct around a = {.begin = outer_begin, .turn = outer_embedded_turn, .end = outer_end};
    play(&a);
}

/* Two loops in one outer loop, each the other's peer, and a descriptor of the outer loop's own. */
static void ops_embed_two_loops(void **state) {
    (void)state;
    struct embedded a, b;
    struct probe pa = {.calls = 0}, pb = {.calls = 0};
    char in[4], byte;
    ferry_fd fds[2], own[2];
    embedded_open(&a, 0);
    embedded_open(&b, 0);
    unix_pair(fds, SOCK_STREAM);
    unix_pair(own, SOCK_STREAM);
    outer_watch(a.outer, b.fd, 0);
    outer_watch(a.outer, own[0], 0);
    ferry_recv(a.loop, &pa.op, fds[0], in, 4, FERRY_ALL, probe_done);
    ferry_send(b.loop, &pb.op, fds[1], "abcd", 4, 0, probe_done);
    plain_send(own[1], "x", 1);
    int own_seen = 0;
    for (int turns = 0; pa.calls == 0 || pb.calls == 0 || !own_seen; turns++) {
        assert_true(turns < 100000);
        ferry_fd fd = outer_wait(a.outer, 20000);
        if (fd == OUTER_INTERRUPTED) continue;
        assert_int_not_equal(fd, FERRY_FD_NONE);
        if (fd == a.fd) assert_true(ferry_run(a.loop, FERRY_RUN_NOWAIT) >= 0);
        if (fd == b.fd) assert_true(ferry_run(b.loop, FERRY_RUN_NOWAIT) >= 0);
        if (fd == own[0]) plain_recv(own[0], &byte, 1), own_seen++;
    }
    probe_check(&pa, 4);
    probe_check(&pb, 4);
    close_near(a.loop, fds[0]);
    close_near(b.loop, fds[1]);
    close(own[0]);
    close(own[1]);
    embedded_close(&b);
    embedded_close(&a);
}

const struct contract_test ops_embed_loops_tests[] = {
    {"ops_embed_in_a_level_triggered_queue", ops_embed_in_a_level_triggered_queue, 60},
    {"ops_embed_in_an_edge_triggered_queue", ops_embed_in_an_edge_triggered_queue, 60},
    {"ops_embed_in_another_loop", ops_embed_in_another_loop, 60},
    {"ops_embed_in_an_embedded_loop", ops_embed_in_an_embedded_loop, 60},
    {"ops_embed_two_loops", ops_embed_two_loops, 0},
    {NULL, NULL, 0}};
