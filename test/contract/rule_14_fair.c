/* Rule 14: fair. One busy descriptor cannot starve the others, nor the timers: work per turn is
 * bounded to 32 results per descriptor and 1,024 callbacks, then clock, timers and posts.
 *
 * Nothing here measures time against a limit. What is counted is how many callbacks of the busy
 * ones run between the moment that something is due and its own callback.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A turn that had begun already, and one more. */
#define CALLBACKS_MAX (2 * 1024 + 64)

static struct {
    ferry_loop *loop;
    uint64_t due_ns; /* from when on callbacks of the busy ones count against the quiet one */
    long calls, since_due;
    int stop;
    ferry_fd fds[2];   /* of the busy ones */
    ferry_fd quiet_fd; /* where the quiet one is sent something after a while; -1: nowhere */
    int is_post;
} busy;

/* Begins again for ever, until the quiet one was called. */
static void busy_done(ferry_op *op) {
    busy.calls++;
    if (!busy.stop && busy.due_ns && clock_ns() >= busy.due_ns) busy.since_due++;
    if (busy.calls == 5000 && busy.quiet_fd >= 0) {
        plain_send(busy.quiet_fd, "x", 1);
        busy.due_ns = 1;
    }
    if (busy.stop) return;
    if (busy.is_post) {
        if (ferry_post(busy.loop, op, busy_done) != 0) busy.stop = -1;
    } else {
        ferry_again(busy.loop, op);
    }
}

static void quiet_done(ferry_op *op) {
    probe_done(op);
    busy.stop = 1;
}

static void busy_begin(void) {
    memset(&busy, 0, sizeof busy);
    busy.quiet_fd = -1;
    busy.loop = test_loop();
}

static void busy_end(const struct probe *quiet, int64_t result) {
    assert_int_equal(busy.stop, 1);
    probe_check(quiet, result);
    if (busy.since_due > CALLBACKS_MAX) {
        fail_msg("%ld callbacks of %ld ran before one that was due", busy.since_due, busy.calls);
    }
    test_close(busy.loop);
}

static void contract_14_timers_among_endless_nops(void **state) {
    (void)state;
    static const int counts[] = {1, 100, 3000};
    static ferry_op nops[3000];
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct probe timer = {.calls = 0};
        busy_begin();
        memset(nops, 0, sizeof nops);
        for (int k = 0; k < counts[i]; k++) ferry_nop(busy.loop, &nops[k], 0, busy_done);
        busy.due_ns = clock_ns() + 10 * MS;
        ferry_timer(busy.loop, &timer.op, busy.due_ns, 0, FERRY_ABSOLUTE, quiet_done);
        run_done(busy.loop);
        busy_end(&timer, 0);
    }
}

static void contract_14_timers_among_endless_posts(void **state) {
    (void)state;
    static ferry_op posts[500];
    struct probe timer = {.calls = 0};
    busy_begin();
    busy.is_post = 1;
    for (int k = 0; k < 500; k++) {
        assert_int_equal(ferry_post(busy.loop, &posts[k], busy_done), 0);
    }
    busy.due_ns = clock_ns() + 10 * MS;
    ferry_timer(busy.loop, &timer.op, busy.due_ns, 0, FERRY_ABSOLUTE, quiet_done);
    run_done(busy.loop);
    busy_end(&timer, 0);
}

static void contract_14_deadlines_among_endless_nops(void **state) {
    (void)state;
    static ferry_op nops[100];
    struct probe reader = {.calls = 0};
    char byte;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    busy_begin();
    for (int k = 0; k < 100; k++) ferry_nop(busy.loop, &nops[k], 0, busy_done);
    busy.due_ns = clock_ns() + 10 * MS;
    reader.op.deadline_ns = busy.due_ns;
    ferry_recv(busy.loop, &reader.op, fds[0], &byte, 1, FERRY_ABSOLUTE, quiet_done);
    run_done(busy.loop);
    busy_end(&reader, FERRY_ETIMEDOUT);
    close(fds[0]);
    close(fds[1]);
}

/* Something arrives on a quiet socket while others go on for ever. */
static void quiet_socket(void (*begin)(void)) {
    struct probe reader = {.calls = 0};
    char byte;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    busy_begin();
    ferry_recv(busy.loop, &reader.op, fds[0], &byte, 1, 0, quiet_done);
    assert_int_equal(ferry_run(busy.loop, FERRY_RUN_NOWAIT), 1);
    busy.quiet_fd = fds[1];
    begin();
    run_done(busy.loop);
    busy_end(&reader, 1);
    close(fds[0]);
    close(fds[1]);
}

static ferry_op busy_ops[64];

static void begin_nops(void) {
    memset(busy_ops, 0, sizeof busy_ops);
    for (int k = 0; k < 64; k++) ferry_nop(busy.loop, &busy_ops[k], 0, busy_done);
}

static void begin_timers(void) {
    memset(busy_ops, 0, sizeof busy_ops);
    for (int k = 0; k < 64; k++) ferry_timer(busy.loop, &busy_ops[k], 0, 0, 0, busy_done);
}

static void begin_posts(void) {
    memset(busy_ops, 0, sizeof busy_ops);
    busy.is_post = 1;
    for (int k = 0; k < 64; k++) {
        assert_int_equal(ferry_post(busy.loop, &busy_ops[k], busy_done), 0);
    }
}

static void begin_errors(void) {
    static char byte;
    memset(busy_ops, 0, sizeof busy_ops);
    for (int k = 0; k < 64; k++) {
        ferry_recv(busy.loop, &busy_ops[k], FERRY_FD_NONE, &byte, 1, 0, busy_done);
    }
}

static void contract_14_a_quiet_socket_among_endless_others(void **state) {
    (void)state;
    quiet_socket(begin_nops);
    quiet_socket(begin_timers);
    quiet_socket(begin_posts);
    quiet_socket(begin_errors);
}

/* A descriptor that always has more: datagrams sent to itself, received one by one, for ever. */
static void begin_descriptor(void) {
    static char byte = 'b';
    memset(busy_ops, 0, sizeof busy_ops);
    unix_pair(busy.fds, SOCK_STREAM);
    for (int k = 0; k < 32; k++) {
        ferry_send(busy.loop, &busy_ops[2 * k], busy.fds[0], &byte, 1, 0, busy_done);
        ferry_recv(busy.loop, &busy_ops[2 * k + 1], busy.fds[1], &byte, 0, 0, busy_done);
    }
}

static void contract_14_a_quiet_socket_beside_a_busy_one(void **state) {
    (void)state;
    struct probe reader = {.calls = 0};
    char byte;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    busy_begin();
    ferry_recv(busy.loop, &reader.op, fds[0], &byte, 1, 0, quiet_done);
    busy.quiet_fd = fds[1];
    begin_descriptor();
    while (reader.calls == 0) {
        static char sink[4096];
        assert_true(ferry_run(busy.loop, FERRY_RUN_NOWAIT) >= 0);
        while (plain_take(busy.fds[1], sink, sizeof sink) > 0) {
        }
    }
    run_done(busy.loop);
    busy_end(&reader, 1);
    ferry_fd mine[] = {fds[0], fds[1], busy.fds[0], busy.fds[1]};
    for (int i = 0; i < 4; i++) close(mine[i]);
}

/* One turn calls back 1,024 times at most, however many have ended. */
static void contract_14_work_per_turn_is_bounded(void **state) {
    (void)state;
    enum { COUNT = 10000 };
    struct probe *p = calloc(COUNT, sizeof *p);
    int done = 0;
    assert_non_null(p);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) ferry_nop(loop, &p[i].op, 0, probe_done);
    while (done < COUNT) {
        int now = done;
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        while (now < COUNT && p[now].calls) now++;
        assert_true(now - done <= 1024);
        assert_true(now > done);
        done = now;
    }
    test_close(loop);
    free(p);
}

/* All descriptors that are ready move on together: none is many rounds ahead of another. */
static struct runner_up {
    struct probe probe;
    ferry_fd fd;
    int rounds;
    char byte;
} runners[50];

static int rounds_least, rounds_most, rounds_spread;

static void runner_done(ferry_op *op) {
    struct runner_up *me = ferry_container(op, struct runner_up, probe.op);
    me->rounds++;
    rounds_least = rounds_most = me->rounds;
    for (int i = 0; i < 50; i++) {
        if (runners[i].rounds < rounds_least) rounds_least = runners[i].rounds;
        if (runners[i].rounds > rounds_most) rounds_most = runners[i].rounds;
    }
    if (rounds_most - rounds_least > rounds_spread) rounds_spread = rounds_most - rounds_least;
    if (me->rounds < 400) ferry_again(busy.loop, op);
}

static void contract_14_ready_descriptors_take_turns(void **state) {
    (void)state;
    char out[400];
    ferry_fd fds[50][2];
    fill(out, sizeof out, 1);
    busy_begin();
    for (int i = 0; i < 50; i++) {
        unix_pair(fds[i], SOCK_STREAM);
        plain_send(fds[i][1], out, sizeof out);
        ferry_recv(busy.loop, &runners[i].probe.op, fds[i][0], &runners[i].byte, 1, 0, runner_done);
    }
    run_done(busy.loop);
    for (int i = 0; i < 50; i++) assert_int_equal(runners[i].rounds, 400);
    assert_true(rounds_spread <= 2 * 32);
    test_close(busy.loop);
    for (int i = 0; i < 100; i++) close(fds[i / 2][i % 2]);
}

const struct contract_test rule_14_tests[] = {
    {"contract_14_timers_among_endless_nops", contract_14_timers_among_endless_nops, 0},
    {"contract_14_timers_among_endless_posts", contract_14_timers_among_endless_posts, 0},
    {"contract_14_deadlines_among_endless_nops", contract_14_deadlines_among_endless_nops, 0},
    {"contract_14_a_quiet_socket_among_endless_others",
     contract_14_a_quiet_socket_among_endless_others, 0},
    {"contract_14_a_quiet_socket_beside_a_busy_one", contract_14_a_quiet_socket_beside_a_busy_one,
     0},
    {"contract_14_work_per_turn_is_bounded", contract_14_work_per_turn_is_bounded, 0},
    {"contract_14_ready_descriptors_take_turns", contract_14_ready_descriptors_take_turns, 0},
    {NULL, NULL, 0}};
