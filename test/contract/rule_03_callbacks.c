/* Rule 3: callbacks run only while the loop runs, on its thread, one at a time, on a flat stack.
 *
 * Inside one everything may be done but running or closing the loop. The operation is its owner's
 * again from the moment its final callback starts.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t work_nothing(void *arg) {
    (void)arg;
    return 0;
}

/* All of these could be answered at once. None may be, by any function but those that run the loop.
 */
static void contract_03_callbacks_never_inside_submit(void **state) {
    (void)state;
    enum { COUNT = 9 };
    struct probe p[COUNT] = {{.calls = 0}};
    char buf[8] = "";
    ferry_fd fds[2];
    ferry_addr addr;
    unix_pair(fds, SOCK_STREAM);
    plain_send(fds[1], "ready", 5);
    ferry_loop *loop = test_loop();
    for (int before_first_run = 1; before_first_run >= 0; before_first_run--) {
        memset(p, 0, sizeof p);
        ferry_nop(loop, &p[0].op, 0, probe_done);
        ferry_timer(loop, &p[1].op, 0, 0, 0, probe_done);
        ferry_work(loop, &p[2].op, work_nothing, NULL, 0, probe_done);
        ferry_send(loop, &p[3].op, fds[0], buf, 1, 0, probe_done);
        ferry_recv(loop, &p[4].op, fds[0], buf, 1, 0, probe_done);
        ferry_recv(loop, &p[5].op, FERRY_FD_NONE, buf, 1, 0, probe_done);
        ferry_send(loop, &p[6].op, fds[0], NULL, 0, 0, probe_done);
        assert_int_equal(ferry_post(loop, &p[7].op, probe_done), 0);
        p[8].op.deadline_ns = 1;
        ferry_recv(loop, &p[8].op, fds[1], buf, 1, FERRY_ABSOLUTE, probe_done);
        sleep_ns(2 * MS);
        ferry_cancel(loop, &p[1].op);
        ferry_cancel_fd(loop, fds[1]);
        ferry_hold(loop);
        ferry_release(loop);
        assert_non_null(ferry_loop_describe(loop));
        assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
        assert_int_equal(ferry_local_addr(loop, fds[0], &addr), 0);
        for (int i = 0; i < COUNT; i++) assert_int_equal(p[i].calls, 0);
        run_done(loop);
        for (int i = 0; i < COUNT; i++) assert_int_equal(p[i].calls, 1);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* ---- The thread, and one at a time
 * ---------------------------------------------------------------- */

static struct {
    ferry_loop *loop;
    pthread_t thread;
    int inside, most_inside, elsewhere, calls;
    ferry_op others[64];
    int other_count;
} watch;

static void watched_done(ferry_op *op) {
    (void)op;
    watch.inside++;
    if (watch.inside > watch.most_inside) watch.most_inside = watch.inside;
    if (!pthread_equal(pthread_self(), watch.thread)) watch.elsewhere++;
    watch.calls++;
    /* Every function that might be tempted to complete something on the spot. */
    if (watch.other_count < 60) {
        ferry_op *next = &watch.others[watch.other_count];
        watch.other_count += 3;
        ferry_nop(watch.loop, &next[0], 0, watched_done);
        ferry_recv(watch.loop, &next[1], FERRY_FD_NONE, NULL, 0, 0, watched_done);
        if (ferry_post(watch.loop, &next[2], watched_done) != 0) watch.elsewhere++;
        ferry_cancel(watch.loop, &next[0]);
    }
    watch.inside--;
}

static void *post_from_elsewhere(void *arg) {
    for (int i = 0; i < 3; i++) {
        if (ferry_post(watch.loop, (ferry_op *)arg + i, watched_done) != 0) return arg;
    }
    return NULL;
}

static void contract_03_on_the_loops_thread_one_at_a_time(void **state) {
    (void)state;
    static ferry_op posts[3], work[10];
    pthread_t other;
    void *failed = NULL;
    memset(&watch, 0, sizeof watch);
    watch.loop = test_loop();
    watch.thread = pthread_self();
    ferry_hold(watch.loop);
    assert_int_equal(pthread_create(&other, NULL, post_from_elsewhere, posts), 0);
    for (int i = 0; i < 10; i++) {
        ferry_work(watch.loop, &work[i], work_nothing, NULL, 0, watched_done);
    }
    assert_int_equal(pthread_join(other, &failed), 0);
    assert_null(failed);
    assert_int_equal(watch.calls, 0);
    ferry_release(watch.loop);
    run_done(watch.loop);
    assert_int_equal(watch.calls, 13 + 60);
    assert_int_equal(watch.most_inside, 1);
    assert_int_equal(watch.elsewhere, 0);
    test_close(watch.loop);
}

/* ---- The stack
 * ------------------------------------------------------------------------------------ */

static struct {
    ferry_loop *loop;
    uintptr_t lowest, highest;
    long left;
} stack;

static void stack_look(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (stack.lowest == 0 || here < stack.lowest) stack.lowest = here;
    if (here > stack.highest) stack.highest = here;
}

static void chain_done(ferry_op *op) {
    stack_look();
    if (stack.left-- > 0) ferry_again(stack.loop, op);
}

/* Nops, receives and posts that each begin the next in their callback. Were it done by calling, the
 * frames would lie tens of bytes apart, 100,000 times. */
static void contract_03_stack_does_not_grow(void **state) {
    (void)state;
    static ferry_op ops[100], empty[10];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    memset(&stack, 0, sizeof stack);
    stack.loop = test_loop();
    stack.left = 100000;
    for (int i = 0; i < 100; i++) ferry_nop(stack.loop, &ops[i], 0, chain_done);
    for (int i = 0; i < 10; i++) {
        ferry_recv(stack.loop, &empty[i], fds[0], NULL, 0, 0, chain_done);
    }
    run_done(stack.loop);
    assert_true(stack.left < 0);
    assert_true(stack.highest - stack.lowest < 1024);
    test_close(stack.loop);
    close(fds[0]);
    close(fds[1]);
}

/* ---- What a callback may do
 * ------------------------------------------------------------------------- */

static struct {
    ferry_loop *loop;
    int calls, run_results[3], close_result, drain_result;
} inner;

static void running_inside_done(ferry_op *op) {
    (void)op;
    inner.calls++;
    inner.run_results[0] = ferry_run(inner.loop, FERRY_RUN_DONE);
    inner.run_results[1] = ferry_run(inner.loop, FERRY_RUN_ONCE);
    inner.run_results[2] = ferry_run(inner.loop, FERRY_RUN_NOWAIT);
    inner.close_result = ferry_loop_close(inner.loop);
    inner.drain_result = ferry_loop_drain(inner.loop, SECOND);
}

static void contract_03_running_or_closing_inside_is_refused(void **state) {
    (void)state;
    ferry_op op;
    struct probe other = {.calls = 0}, later = {.calls = 0};
    memset(&op, 0, sizeof op);
    memset(&inner, 0, sizeof inner);
    inner.loop = test_loop();
    ferry_nop(inner.loop, &op, 0, running_inside_done);
    ferry_timer(inner.loop, &other.op, MS, 0, 0, probe_done);
    run_done(inner.loop);
    assert_int_equal(inner.calls, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(inner.run_results[i], FERRY_EBUSY);
    assert_int_equal(inner.close_result, FERRY_EBUSY);
    assert_int_equal(inner.drain_result, FERRY_EBUSY);
    /* A refused drain has begun nothing: the loop goes on as before. */
    probe_check(&other, 0);
    ferry_nop(inner.loop, &later.op, 0, probe_done);
    run_done(inner.loop);
    probe_check(&later, 0);

    /* The same in the callbacks of a drain. */
    memset(&inner.run_results, 0, sizeof inner.run_results);
    ferry_timer(inner.loop, &op, 60 * SECOND, 0, 0, running_inside_done);
    assert_int_equal(ferry_loop_drain(inner.loop, 10 * SECOND), 0);
    assert_int_equal(inner.calls, 2);
    for (int i = 0; i < 3; i++) assert_int_equal(inner.run_results[i], FERRY_EBUSY);
    assert_int_equal(inner.close_result, FERRY_EBUSY);
    test_close(inner.loop);
}

static ferry_loop *free_loop;
static int freed;

static void free_done(ferry_op *op) {
    freed++;
    memset(op, 0xa5, sizeof *op);
    free(op);
}

static ferry_op *fresh_op(void) {
    ferry_op *op = calloc(1, sizeof *op);
    assert_non_null(op);
    return op;
}

/* Each kind's callback frees its own operation, and what it worked on. Sanitizer builds see whoever
 * looks at one afterwards; here the pattern would send a library that does astray. */
static void contract_03_operation_may_be_freed_in_its_callback(void **state) {
    (void)state;
    ferry_fd fds[2];
    char buf[5][4] = {""}, *path = temp_path("data"); /* one for each that may be in flight */
    ferry_addr addr;
    ferry_file file;
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = free_loop = test_loop();
    ferry_fd listener = tcp_listener(&addr), data = temp_file("data", 10, 1);
    freed = 0;
    for (int round = 0; round < 3; round++) {
        ferry_nop(loop, fresh_op(), 0, free_done);
        ferry_timer(loop, fresh_op(), MS, 0, 0, free_done);
        ferry_work(loop, fresh_op(), work_nothing, NULL, 0, free_done);
        assert_int_equal(ferry_post(loop, fresh_op(), free_done), 0);
        ferry_send(loop, fresh_op(), fds[0], "ab", 2, 0, free_done);
        ferry_send(loop, fresh_op(), fds[0], "cd", 2, 0, free_done);
        ferry_recv(loop, fresh_op(), fds[1], buf[0], 2, 0, free_done);
        ferry_recv(loop, fresh_op(), fds[1], buf[1], 2, 0, free_done);
        ferry_read(loop, fresh_op(), data, buf[2], 4, FERRY_CURRENT, 0, free_done);
        ferry_read(loop, fresh_op(), data, buf[3], 4, FERRY_CURRENT, 0, free_done);
        ferry_stat(loop, fresh_op(), path, &file, 0, free_done);
        ferry_recv(loop, fresh_op(), FERRY_FD_NONE, buf[4], 4, 0, free_done);
        ferry_op *timed = fresh_op(), *cancelled = fresh_op();
        timed->deadline_ns = 1;
        ferry_accept(loop, timed, listener, NULL, 0, free_done);
        ferry_accept(loop, cancelled, listener, NULL, 0, free_done);
        ferry_cancel(loop, cancelled);
        run_done(loop);
        assert_int_equal(freed, 14 * (round + 1));
    }
    ferry_recv(loop, fresh_op(), fds[0], buf[0], 4, 0, free_done);
    ferry_close(loop, fresh_op(), fds[0], 0, free_done);
    ferry_close(loop, fresh_op(), fds[0], 0, free_done); /* FERRY_EBADF: closing already */
    run_done(loop);
    assert_int_equal(freed, 14 * 3 + 3);
    test_close(loop);
    close(fds[1]);
    close(listener);
    close(data);
}

static ferry_loop *reuse_loop;
static int reuse_step;
static ferry_fd reuse_fd;
static char reuse_buf[4];
static int64_t reuse_results[4];

/* One operation is one kind after another, each begun in the callback of the one before. */
static void reuse_done(ferry_op *op) {
    reuse_results[reuse_step] = op->result;
    switch (reuse_step++) {
    case 0: ferry_timer(reuse_loop, op, 1, 0, 0, reuse_done); break;
    case 1: ferry_recv(reuse_loop, op, reuse_fd, reuse_buf, 4, FERRY_ALL, reuse_done); break;
    case 2: ferry_work(reuse_loop, op, work_nothing, NULL, 0, reuse_done); break;
    }
}

static void contract_03_operation_may_be_reused_in_its_callback(void **state) {
    (void)state;
    ferry_op op;
    ferry_fd fds[2];
    memset(&op, 0, sizeof op);
    unix_pair(fds, SOCK_STREAM);
    reuse_loop = test_loop();
    reuse_fd = fds[0];
    plain_send(fds[1], "abcd", 4);
    ferry_nop(reuse_loop, &op, 0, reuse_done);
    run_done(reuse_loop);
    assert_int_equal(reuse_step, 4);
    assert_int_equal(reuse_results[0], 0);
    assert_int_equal(reuse_results[1], 0);
    assert_int_equal(reuse_results[2], 4);
    assert_int_equal(reuse_results[3], 0);
    assert_memory_equal(reuse_buf, "abcd", 4);
    test_close(reuse_loop);
    close(fds[0]);
    close(fds[1]);
}

/* A callback cancels and closes others, of which some have ended in the same turn already. */
static struct probe victims[20];
static struct probe victim_close;
static ferry_fd victim_fd;

static void ends_others_done(ferry_op *op) {
    ferry_loop *loop = op->user;
    for (int i = 0; i < 20; i++) ferry_cancel(loop, &victims[i].op);
    ferry_close(loop, &victim_close.op, victim_fd, 0, probe_done);
}

static void contract_03_callback_may_cancel_and_close(void **state) {
    (void)state;
    ferry_op op;
    static char bufs[10];
    ferry_fd fds[2];
    memset(&op, 0, sizeof op);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    op.user = loop;
    victim_fd = fds[0];
    plain_send(fds[1], "abc", 3);
    ferry_nop(loop, &op, 0, ends_others_done);
    for (int i = 0; i < 10; i++) {
        ferry_nop(loop, &victims[i].op, 0, probe_done);
        ferry_recv(loop, &victims[10 + i].op, fds[0], &bufs[i], 1, 0, probe_done);
    }
    run_done(loop);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(victims[i].calls, 1);
        assert_true(victims[i].result == FERRY_ECANCELED || victims[i].result == i / 10);
        assert_true(victims[i].order < victim_close.order || i < 10);
    }
    probe_check(&victim_close, 0);
    test_close(loop);
    close(fds[1]);
}

const struct contract_test rule_03_tests[] = {
    {"contract_03_callbacks_never_inside_submit", contract_03_callbacks_never_inside_submit, 0},
    {"contract_03_on_the_loops_thread_one_at_a_time", contract_03_on_the_loops_thread_one_at_a_time,
     0},
    {"contract_03_stack_does_not_grow", contract_03_stack_does_not_grow, 0},
    {"contract_03_running_or_closing_inside_is_refused",
     contract_03_running_or_closing_inside_is_refused, 0},
    {"contract_03_operation_may_be_freed_in_its_callback",
     contract_03_operation_may_be_freed_in_its_callback, 0},
    {"contract_03_operation_may_be_reused_in_its_callback",
     contract_03_operation_may_be_reused_in_its_callback, 0},
    {"contract_03_callback_may_cancel_and_close", contract_03_callback_may_cancel_and_close, 0},
    {NULL, NULL, 0}};
