/* ops_reap.c - completions that are pulled: batches, waiting, mixing with callbacks
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 64

static ferry_completion got[4096];

/* Asserts what a record says. */
static void record_check(const ferry_completion *record, const ferry_op *op, int64_t result,
                         uint64_t transferred, uint32_t flags) {
    assert_ptr_equal(record->op, op);
    assert_int_equal(record->result, result);
    assert_int_equal(record->transferred, transferred);
    assert_int_equal(record->flags, flags);
}

/* ---- Batches --------------------------------------------------------------------------- */

static void ops_reap_batches(void **state) {
    (void)state;
    static ferry_op ops[3000];
    ferry_loop *loop = test_loop();
    for (size_t i = 0; i < 3000; i++) ferry_nop(loop, &ops[i], 0, FERRY_PULL);
    size_t done = 0;
    for (int64_t n; done < 3000; done += (size_t)n) {
        n = ferry_reap(loop, got, done % 2 ? 700 : 1, UINT64_MAX);
        assert_true(n > 0 && n <= 700);
        for (int64_t i = 0; i < n; i++) {
            record_check(&got[i], &ops[done + (size_t)i], 0, 0, 0); /* in their order */
        }
    }
    assert_int_equal(ferry_reap(loop, got, 1, UINT64_MAX), 0); /* nothing keeps it going */
    finish(loop);
}

/* A turn is bounded, whatever the array could take. */
static void ops_reap_is_bounded(void **state) {
    (void)state;
    static ferry_op ops[3000];
    ferry_loop *loop = test_loop();
    for (size_t i = 0; i < 3000; i++) ferry_nop(loop, &ops[i], 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, 4096, UINT64_MAX), 1024);
    assert_int_equal(ferry_reap(loop, got, 4096, 0), 1024);
    assert_int_equal(ferry_reap(loop, got, 4096, 0), 952);
    finish(loop);
}

static void ops_reap_transfers(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op recv = {.user = got}, send = {.state = 0}, more = {.state = 0}, end = {.state = 0};
    char in[8];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &recv, fds[0], in, 8, FERRY_ALL, FERRY_PULL);
    ferry_send(loop, &send, fds[1], "abc", 3, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &send, 3, 3, 0);
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 0); /* half of it is no completion */
    ferry_send(loop, &more, fds[1], "defgh", 5, 0, NULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &recv, 8, 8, 0);
    assert_memory_equal(in, "abcdefgh", 8);
    assert_ptr_equal(recv.user, got);
    ferry_again(loop, &recv); /* to be pulled again */
    ferry_shutdown(loop, &end, fds[1], FERRY_SHUT_WRITE, 0, FERRY_PULL);
    size_t count = 0;
    while (count < 2) count += (size_t)ferry_reap(loop, got + count, BATCH, UINT64_MAX);
    for (size_t i = 0; i < 2; i++) {
        record_check(&got[i], got[i].op == &end ? &end : &recv, 0, 0,
                     got[i].op == &end ? 0 : FERRY_EOF);
    }
    ferry_close(loop, &recv, fds[0], 0, FERRY_PULL);
    ferry_close(loop, &send, fds[1], 0, FERRY_PULL);
    for (count = 0; count < 2;) count += (size_t)ferry_reap(loop, got, BATCH, UINT64_MAX);
    finish(loop);
}

static void ops_reap_errors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op bad = {.state = 0}, late = {.deadline_ns = 10 * MS}, cancelled = {.state = 0};
    char buf[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &bad, -1, buf, 4, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &bad, FERRY_EBADF, 0, 0);
    ferry_recv(loop, &late, fds[0], buf, 4, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &late, FERRY_ETIMEDOUT, 0, 0);
    late.deadline_ns = 0;
    ferry_recv(loop, &late, fds[0], buf, 4, 0, FERRY_PULL);
    ferry_recv(loop, &cancelled, fds[0], buf, 4, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 0);
    ferry_cancel(loop, &cancelled);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &cancelled, FERRY_ECANCELED, 0, 0);
    close(fds[1]);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &late, 0, 0, FERRY_EOF);
    close_near(loop, fds[0]);
    /* The call's own. */
    assert_int_equal(ferry_reap(loop, NULL, 1, 0), FERRY_EINVAL);
    assert_int_equal(ferry_reap(loop, got, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_reap(loop, got, SIZE_MAX, 0), FERRY_EINVAL);
    finish(loop);
}

/* ---- Waiting --------------------------------------------------------------------------- */

static void ops_reap_waits(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op timer = {.state = 0}, far = {.state = 0};
    uint64_t start_ns = clock_ns();
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 0); /* nothing to wait for */
    assert_int_equal(ferry_reap(loop, got, BATCH, 3600 * SECOND), 0);
    ferry_timer(loop, &far, 3600 * SECOND, 0, FERRY_BACKGROUND, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 0); /* nor is that */
    assert_true(clock_ns() - start_ns < 600 * SECOND);
    ferry_timer(loop, &timer, 100 * MS, 0, 0, FERRY_PULL);
    start_ns = clock_ns();
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 0);
    assert_int_equal(ferry_reap(loop, got, BATCH, 20 * MS), 0);
    assert_true(clock_ns() - start_ns >= 20 * MS);
    while (ferry_reap(loop, got, BATCH, 10 * MS) == 0) {
    }
    record_check(&got[0], &timer, 0, 0, 0);
    assert_true(clock_ns() - start_ns >= 100 * MS);
    ferry_timer(loop, &timer, 50 * MS, 0, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    ferry_cancel(loop, &far);
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 1);
    record_check(&got[0], &far, FERRY_ECANCELED, 0, 0);
    finish(loop);
}

static ferry_loop *posted_to;
static ferry_op posts[100];

static void *post_all(void *arg) {
    (void)arg;
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(ferry_post(posted_to, &posts[i], FERRY_PULL), 0);
        if (i % 10 == 0) sleep_ns(MS);
    }
    return NULL;
}

static void ops_reap_posts(void **state) {
    (void)state;
    pthread_t thread;
    ferry_loop *loop = posted_to = test_loop();
    ferry_hold(loop);
    assert_int_equal(pthread_create(&thread, NULL, post_all, NULL), 0);
    for (size_t done = 0; done < 100;) {
        int64_t n = ferry_reap(loop, got, 3, UINT64_MAX);
        assert_true(n >= 1 && n <= 3);
        for (int64_t i = 0; i < n; i++) record_check(&got[i], &posts[done++], 0, 0, 0);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    ferry_release(loop);
    finish(loop);
}

static void *stop_it(void *arg) {
    sleep_ns(20 * MS);
    ferry_stop(arg);
    return NULL;
}

static void stop_here(ferry_op *op) {
    ferry_stop(op->user);
}

static void ops_reap_stops(void **state) {
    (void)state;
    pthread_t thread;
    ferry_loop *loop = test_loop();
    ferry_op nop[3] = {{.user = loop}, {.user = loop}, {.user = loop}};
    ferry_hold(loop);
    assert_int_equal(pthread_create(&thread, NULL, stop_it, loop), 0);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    ferry_release(loop);
    ferry_nop(loop, &nop[0], 0, FERRY_PULL);
    ferry_stop(loop); /* the next returns at once */
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 0);
    ferry_nop(loop, &nop[1], 0, stop_here);
    ferry_nop(loop, &nop[2], 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1); /* up to the callback */
    record_check(&got[0], &nop[0], 0, 0, 0);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &nop[2], 0, 0, 0);
    finish(loop);
}

/* ---- Several times in a batch ---------------------------------------------------------- */

static void ops_reap_multishot(void **state) {
    (void)state;
    enum { GUESTS = 10 };
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_op accept = {.state = 0};
    ferry_fd listener = tcp_listener(&addr), visitors[GUESTS];
    ferry_fd guests[GUESTS];
    size_t count = 0;
    for (size_t i = 0; i < GUESTS; i++) {
        visitors[i] = plain_socket(AF_INET, SOCK_STREAM);
        plain_connect(visitors[i], &addr);
    }
    ferry_accept(loop, &accept, listener, NULL, FERRY_MULTI, FERRY_PULL);
    for (size_t calls = 0; count < GUESTS; calls++) {
        assert_true(calls < 100000);
        int64_t n = ferry_reap(loop, got, count == 0 ? 3 : BATCH, UINT64_MAX);
        assert_true(n > 0);
        for (int64_t i = 0; i < n; i++) {
            assert_true(got[i].result >= 0);
            record_check(&got[i], &accept, got[i].result, 0, FERRY_MORE);
            guests[count++] = (ferry_fd)got[i].result; /* a different one each time */
        }
    }
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 0);
    ferry_cancel(loop, &accept);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &accept, FERRY_ECANCELED, 0, 0);
    for (size_t i = 0; i < GUESTS; i++) {
        for (size_t k = 0; k < i; k++) assert_true(guests[i] != guests[k]);
        close_near(loop, guests[i]);
        close(visitors[i]);
    }
    close_near(loop, listener);
    finish(loop);
}

/* Each record has its own buffer, though they are of one operation. */
static void ops_reap_buffers(void **state) {
    (void)state;
    enum { MESSAGES = 10 };
    ferry_loop *loop = test_loop();
    ferry_pool *pool = NULL;
    ferry_op recv = {.state = 0};
    char message[2] = "0";
    ferry_fd fds[2];
    size_t count = 0, most = 0;
    unix_pair(fds, SOCK_DGRAM);
    assert_int_equal(ferry_pool_open(loop, &pool, 64, 16, 64, 0), 0);
    ferry_recv_pool(loop, &recv, fds[0], pool, FERRY_MULTI, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 0);
    for (int i = 0; i < MESSAGES; i++, message[0]++) plain_send(fds[1], message, 1);
    while (count < MESSAGES) {
        int64_t n = ferry_reap(loop, got + count, BATCH, UINT64_MAX);
        assert_true(n > 0);
        if ((size_t)n > most) most = (size_t)n;
        count += (size_t)n;
    }
    assert_int_equal(count, MESSAGES);
    for (size_t i = 0; i < MESSAGES; i++) {
        record_check(&got[i], &recv, 1, 1, FERRY_MORE);
        assert_int_equal(got[i].buffer->len, 1);
        assert_int_equal(*(char *)got[i].buffer->data, '0' + (int)i);
    }
    if (feature_uses(loop, "multi_recv") > 0) assert_true(most > 1); /* several in one batch */
    for (size_t i = 0; i < MESSAGES; i++) ferry_pool_put(pool, got[i].buffer);
    ferry_cancel(loop, &recv);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &recv, FERRY_ECANCELED, 0, 0);
    assert_null(got[0].buffer);
    close_near(loop, fds[0]);
    close(fds[1]);
    assert_int_equal(ferry_pool_close(pool), 0);
    finish(loop);
}

/* A repeating timer waits for who pulls, and tells how many intervals that took. */
static void ops_reap_repeating_timer(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op timer = {.state = 0};
    ferry_timer(loop, &timer, MS, MS, 0, FERRY_PULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 1);
    sleep_ns(20 * MS);
    assert_int_equal(ferry_reap(loop, got, BATCH, 0), 1);
    record_check(&got[0], &timer, got[0].result, 0, FERRY_MORE);
    int64_t before = got[0].result;
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    assert_true(before + got[0].result >= 20);
    assert_int_equal(got[0].flags, FERRY_MORE);
    ferry_cancel(loop, &timer);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &timer, FERRY_ECANCELED, 0, 0);
    finish(loop);
}

/* ---- Mixed with callbacks -------------------------------------------------------------- */

static void ops_reap_mixes_with_callbacks(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe called[4] = {{.calls = 0}};
    ferry_op pulled[4] = {{.state = 0}};
    for (size_t i = 0; i < 4; i++) {
        ferry_nop(loop, &called[i].op, 0, probe_done);
        ferry_nop(loop, &pulled[i], 0, FERRY_PULL);
    }
    /* ferry_run() goes as far as the first that is not for it, and says so. */
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 1);
    assert_int_equal(called[0].calls, 1);
    assert_int_equal(called[1].calls, 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_ONCE), 1);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(called[1].calls, 0);
    /* One at a time; callbacks run as far as the next that has no room. */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ferry_reap(loop, got, 1, UINT64_MAX), 1);
        record_check(&got[0], &pulled[i], 0, 0, 0);
        for (size_t k = 0; k < 4; k++) assert_int_equal(called[k].calls, k <= i + 1);
    }
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    finish(loop);
}

/* In the background it keeps nothing going, but is not forgotten either. */
static void ops_reap_background(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_op op = {.state = 0};
    ferry_nop(loop, &op, FERRY_BACKGROUND, FERRY_PULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 1);
    record_check(&got[0], &op, 0, 0, 0);
    finish(loop);
}

static ferry_loop *inner;
static int64_t refused;

static void reap_inside(ferry_op *op) {
    refused = ferry_reap(inner, got + 1, 1, 0);
    ferry_nop(inner, op->user, 0, FERRY_PULL);
}

static void contract_03_reaping_in_a_callback_is_refused(void **state) {
    (void)state;
    ferry_loop *loop = inner = test_loop();
    ferry_op pulled = {.state = 0}, again = {.state = 0}, op = {.user = &again};
    ferry_nop(loop, &op, 0, reap_inside);
    ferry_nop(loop, &pulled, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, got, BATCH, UINT64_MAX), 2);
    assert_int_equal(refused, FERRY_EBUSY);
    record_check(&got[0], &pulled, 0, 0, 0);
    record_check(&got[1], &again, 0, 0, 0);
    ferry_nop(loop, &op, 0, reap_inside);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 1);
    assert_int_equal(refused, FERRY_EBUSY);
    assert_int_equal(ferry_reap(loop, got, 1, 0), 1);
    finish(loop);
}

static void ops_reap_drains(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe called = {.calls = 0};
    ferry_op pulled[4] = {{.state = 0}}, late = {.state = 0};
    char buf[4];
    ferry_fd fds[2];
    int drained, calls = 0;
    size_t count = 0;
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &pulled[0], fds[0], buf, 4, 0, FERRY_PULL);
    ferry_recv(loop, &pulled[1], fds[0], buf, 4, 0, FERRY_PULL);
    ferry_timer(loop, &pulled[2], SECOND * 1000, 0, 0, FERRY_PULL);
    ferry_timer(loop, &pulled[3], MS, MS, 0, FERRY_PULL);
    ferry_timer(loop, &called.op, SECOND * 1000, 0, 0, probe_done);
    while (ferry_reap(loop, got, 1, UINT64_MAX) == 0) {
    }
    while ((drained = ferry_loop_drain(loop, 20 * SECOND)) == FERRY_EBUSY) {
        assert_true(++calls < 100);
        int64_t n = ferry_reap(loop, got + count, 1, 0);
        if (count == 0) ferry_nop(loop, &late, 0, FERRY_PULL);
        count += (size_t)n;
    }
    assert_int_equal(drained, 0);
    probe_check(&called, FERRY_ECANCELED);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i].result, got[i].op == &late ? FERRY_ECLOSED : FERRY_ECANCELED);
        assert_int_equal(got[i].flags, 0);
    }
    assert_int_equal(ferry_post(loop, &late, FERRY_PULL), FERRY_ECLOSED);
    ferry_close(loop, NULL, fds[0], 0, NULL);
    assert_int_equal(ferry_loop_drain(loop, 20 * SECOND), 0);
    close(fds[1]);
    test_close(loop);
}

/* ---- Fairness -------------------------------------------------------------------------- */

/* Who takes one at a time, of several that are always there, still gets to the timers, the posts
 * and the callbacks. */
static void contract_14_reaping_one_at_a_time_is_fair(void **state) {
    (void)state;
    enum { SOCKETS = 4 };
    ferry_loop *loop = test_loop();
    ferry_op recv[SOCKETS] = {{.state = 0}}, timer = {.state = 0}, post = {.state = 0};
    ferry_op nops[SOCKETS] = {{.state = 0}};
    struct probe called = {.calls = 0};
    static char bytes[65536], in[SOCKETS];
    ferry_fd fds[SOCKETS][2];
    int timers = 0, posts_seen = 0, nops_seen = 0;
    for (size_t i = 0; i < SOCKETS; i++) {
        unix_pair(fds[i], SOCK_STREAM);
        plain_send(fds[i][1], bytes, sizeof bytes / 2);
        ferry_recv(loop, &recv[i], fds[i][0], &in[i], 1, 0, FERRY_PULL);
        ferry_nop(loop, &nops[i], 0, FERRY_PULL);
    }
    ferry_timer(loop, &timer, MS, MS, 0, FERRY_PULL);
    ferry_timer(loop, &called.op, 2 * MS, 2 * MS, 0, probe_done);
    assert_int_equal(ferry_post(loop, &post, FERRY_PULL), 0);
    int turns = 0;
    while (timers < 3 || posts_seen < 3 || called.calls < 3) {
        if (++turns > 20000) {
            fail_msg("%d timers, %d posts, %d callbacks", timers, posts_seen, called.calls);
        }
        if (turns % 100 == 0) sleep_ns(MS); /* or all of it is over before a timer is due */
        assert_int_equal(ferry_reap(loop, got, 1, UINT64_MAX), 1);
        ferry_op *op = got[0].op;
        timers += op == &timer;
        if (op == &post) {
            posts_seen++;
            assert_int_equal(ferry_post(loop, &post, FERRY_PULL), 0);
        } else if (op != &timer) {
            nops_seen += op->fd == FERRY_FD_NONE;
            ferry_again(loop, op);
        }
    }
    assert_true(nops_seen > SOCKETS);
    while (ferry_loop_drain(loop, 20 * SECOND) == FERRY_EBUSY) {
        (void)ferry_reap(loop, got, BATCH, 0);
    }
    for (size_t i = 0; i < SOCKETS; i++) {
        ferry_close(loop, NULL, fds[i][0], 0, NULL);
        close(fds[i][1]);
    }
    assert_int_equal(ferry_loop_drain(loop, 20 * SECOND), 0);
    test_close(loop);
}

const struct contract_test ops_reap_tests[] = {
    {"ops_reap_batches", ops_reap_batches, 0},
    {"ops_reap_is_bounded", ops_reap_is_bounded, 0},
    {"ops_reap_transfers", ops_reap_transfers, 0},
    {"ops_reap_errors", ops_reap_errors, 0},
    {"ops_reap_waits", ops_reap_waits, 0},
    {"ops_reap_posts", ops_reap_posts, 0},
    {"ops_reap_stops", ops_reap_stops, 0},
    {"ops_reap_multishot", ops_reap_multishot, 0},
    {"ops_reap_buffers", ops_reap_buffers, 0},
    {"ops_reap_repeating_timer", ops_reap_repeating_timer, 0},
    {"ops_reap_mixes_with_callbacks", ops_reap_mixes_with_callbacks, 0},
    {"ops_reap_background", ops_reap_background, 0},
    {"ops_reap_drains", ops_reap_drains, 0},
    {"contract_03_reaping_in_a_callback_is_refused", contract_03_reaping_in_a_callback_is_refused,
     0},
    {"contract_14_reaping_one_at_a_time_is_fair", contract_14_reaping_one_at_a_time_is_fair, 0},
    {NULL, NULL, 0}};
