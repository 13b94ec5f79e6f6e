/* Rule 11: closing a loop with operations in flight is refused; draining ends them all. After a
 * close no memory, descriptor or thread is left behind.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t work_nothing(void *arg) {
    (void)arg;
    return 0;
}

static void contract_11_close_in_flight_is_refused(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char buf[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &p.op, fds[0], buf, 4, 0, probe_done);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY); /* before it ever ran */
    run_for(loop, 2 * MS);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    assert_int_equal(p.calls, 0);
    plain_send(fds[1], "ab", 2); /* the loop is usable as before */
    run_done(loop);
    probe_check(&p, 2);
    test_close(loop);
    assert_int_equal(ferry_loop_close(NULL), 0);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Draining -------------------------------------------------------------------------- */

/* What callbacks do while the loop drains: whatever they submit ends with FERRY_ECLOSED, but a
 * close is carried out, so that they can let go of what they hold. */
static struct {
    ferry_loop *loop;
    struct probe late[4], closed;
    ferry_op post;
    ferry_fd fd;
    int post_result, calls;
    char buf[4];
    ferry_file file;
} drain;

static void drained_done(ferry_op *op) {
    probe_done(op);
    if (drain.calls++ > 0) return;
    ferry_nop(drain.loop, &drain.late[0].op, 0, probe_done);
    ferry_recv(drain.loop, &drain.late[1].op, drain.fd, drain.buf, 4, 0, probe_done);
    ferry_stat(drain.loop, &drain.late[2].op, "/", &drain.file, 0, probe_done);
    ferry_work(drain.loop, &drain.late[3].op, work_nothing, NULL, 0, probe_done);
    ferry_close(drain.loop, &drain.closed.op, drain.fd, 0, probe_done);
    drain.post_result = ferry_post(drain.loop, &drain.post, probe_done);
}

static void contract_11_drain_ends_everything(void **state) {
    (void)state;
    enum { COUNT = 5 };
    struct probe p[COUNT] = {{.calls = 0}};
    static char big[1 << 20];
    char buf[4];
    ferry_fd fds[2], others[2];
    ferry_addr addr;
    memset(&drain, 0, sizeof drain);
    unix_pair(fds, SOCK_STREAM);
    unix_pair(others, SOCK_STREAM);
    ferry_loop *loop = drain.loop = test_loop();
    ferry_fd listener = tcp_listener(&addr);
    drain.fd = fds[0];
    ferry_recv(loop, &p[0].op, fds[0], buf, 4, 0, drained_done);
    ferry_send(loop, &p[1].op, others[0], big, sizeof big, 0, drained_done);
    ferry_accept(loop, &p[2].op, listener, NULL, 0, drained_done);
    ferry_timer(loop, &p[3].op, 60 * SECOND, SECOND, 0, drained_done);
    ferry_timer(loop, &p[4].op, 60 * SECOND, 0, FERRY_BACKGROUND, drained_done);
    run_for(loop, 5 * MS);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], FERRY_ECANCELED);
    for (int i = 0; i < 4; i++) probe_check(&drain.late[i], FERRY_ECLOSED);
    assert_int_equal(drain.post_result, FERRY_ECLOSED);
    probe_check(&drain.closed, 0);
    assert_false(is_open(fds[0]));
    assert_int_equal(loop_stats(loop).in_flight, 0);
    assert_int_equal(ferry_loop_drain(loop, 0), 0); /* nothing is left to wait for */
    test_close(loop);
    ferry_fd mine[] = {fds[1], others[0], others[1], listener};
    for (int i = 0; i < 4; i++) close(mine[i]);
}

static void contract_11_a_drained_loop_is_closed_to_all_else(void **state) {
    (void)state;
    struct probe nop = {.calls = 0}, closed = {.calls = 0};
    static ferry_op post;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_loop_drain(loop, SECOND), 0);
    ferry_nop(loop, &nop.op, 0, probe_done);
    ferry_close(loop, &closed.op, fds[0], 0, probe_done);
    assert_int_equal(ferry_post(loop, &post, probe_done), FERRY_ECLOSED);
    assert_int_equal(nop.calls + closed.calls, 0);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    probe_check(&nop, FERRY_ECLOSED);
    probe_check(&closed, 0);
    assert_false(is_open(fds[0]));
    test_close(loop);
    close(fds[1]);
}

static atomic_int let_go;

static int64_t work_until_let_go(void *arg) {
    (void)arg;
    while (!atomic_load(&let_go)) sleep_ns(MS / 5);
    return 5;
}

/* Work that has begun cannot be cancelled: the drain gives up in time, and goes on when called
 * again. */
static void contract_11_drain_gives_up(void **state) {
    (void)state;
    struct probe work = {.calls = 0}, timer = {.calls = 0}, started = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_work(loop, &work.op, work_until_let_go, NULL, 0, probe_done);
    ferry_timer(loop, &timer.op, 60 * SECOND, 0, 0, probe_done);
    ferry_work(loop, &started.op, work_nothing, NULL, 0, probe_done);
    probe_wait(loop, &started);
    run_for(loop, 10 * MS); /* by now a worker has taken the first */
    uint64_t start_ns = clock_ns();
    assert_int_equal(ferry_loop_drain(loop, 20 * MS), FERRY_EBUSY);
    assert_true(clock_ns() - start_ns >= 20 * MS);
    probe_check(&timer, FERRY_ECANCELED);
    assert_int_equal(work.calls, 0);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    assert_int_equal(ferry_loop_drain(loop, 0), FERRY_EBUSY);
    atomic_store(&let_go, 1);
    assert_int_equal(ferry_loop_drain(loop, UINT64_MAX), 0);
    probe_check(&work, 5);
    test_close(loop);
}

/* What resubmits itself for ever stops with the drain. */
static struct {
    ferry_loop *loop;
    int calls, closed;
} restless;

static void restless_done(ferry_op *op) {
    restless.calls++;
    if (op->result == FERRY_ECLOSED) restless.closed++;
    else ferry_again(restless.loop, op);
}

static void contract_11_drain_ends_what_begins_again(void **state) {
    (void)state;
    static ferry_op ops[20];
    ferry_loop *loop = restless.loop = test_loop();
    for (int i = 0; i < 20; i++) {
        if (i % 2) ferry_nop(loop, &ops[i], 0, restless_done);
        else ferry_timer(loop, &ops[i], MS, 0, 0, restless_done);
    }
    run_for(loop, 10 * MS);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    assert_int_equal(restless.closed, 20);
    assert_true(restless.calls > 40);
    test_close(loop);
}

/* ---- Nothing is left behind ------------------------------------------------------------ */

struct ledger {
    unsigned long long allocated, released;
    int count, fail_at; /* the allocation that fails, from 1; 0: none */
};

static void *ledger_allocate(size_t bytes, void *context) {
    struct ledger *ledger = context;
    if (++ledger->count == ledger->fail_at) return NULL;
    ledger->allocated++;
    return malloc(bytes);
}

static void ledger_release(void *memory, void *context) {
    struct ledger *ledger = context;
    if (memory) ledger->released++;
    free(memory);
}

/* Uses a loop for a bit of everything. */
static void exercise(ferry_loop *loop) {
    struct probe p[4] = {{.calls = 0}};
    char buf[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_send(loop, &p[0].op, fds[0], "abcd", 4, 0, probe_done);
    ferry_recv(loop, &p[1].op, fds[1], buf, 4, FERRY_ALL, probe_done);
    ferry_timer(loop, &p[2].op, 1000, 0, 0, probe_done);
    ferry_work(loop, &p[3].op, work_nothing, NULL, 0, probe_done);
    run_done(loop);
    probe_check(&p[0], 4);
    probe_check(&p[1], 4);
    ferry_close(loop, NULL, fds[0], 0, NULL);
    ferry_close(loop, NULL, fds[1], 0, NULL);
    run_done(loop);
}

static void contract_11_open_and_close_again_and_again(void **state) {
    (void)state;
    struct ledger ledger = {0, 0, 0, 0};
    size_t fds = list_fds(NULL, 0), threads = count_threads();
    ferry_config config;
    for (int i = 0; i < 60; i++) {
        memset(&config, 0, sizeof config);
        config.flags = i % 3 ? FERRY_OWN_WORKERS : 0;
        config.allocate = ledger_allocate;
        config.release = ledger_release;
        config.allocator_context = &ledger;
        ferry_loop *loop = test_loop_with(&config);
        if (i % 5) exercise(loop);
        assert_int_equal(loop_stats(loop).allocations, (unsigned)ledger.count);
        ledger.count = 0;
        test_close(loop);
        assert_int_equal(ledger.allocated, ledger.released);
        /* The pools of Windows give back what they have no use for. */
        if (TEST_WINDOWS) assert_true(list_fds(NULL, 0) <= fds);
        else assert_int_equal(list_fds(NULL, 0), fds);
    }
    uint64_t start_ns = clock_ns();
    while (count_threads() != threads && clock_ns() - start_ns < 2 * SECOND) sleep_ns(MS);
    assert_int_equal(count_threads(), threads);
}

/* Each allocation fails once: that is an error, which leaves nothing behind. */
static void contract_11_opening_without_memory(void **state) {
    (void)state;
    size_t fds = list_fds(NULL, 0);
    ferry_config config;
    int opened = 0;
    for (int fail_at = 1; !opened; fail_at++) {
        struct ledger ledger = {0, 0, 0, fail_at};
        ferry_loop *loop = (ferry_loop *)&ledger; /* to see that it is set */
        memset(&config, 0, sizeof config);
        config.allocate = ledger_allocate;
        config.release = ledger_release;
        config.allocator_context = &ledger;
        int err = test_open(&loop, &config);
        if (ledger.count < fail_at) {
            assert_int_equal(err, 0);
            assert_true(fail_at > 1); /* at least one allocation was seen to fail */
            exercise(loop);
            test_close(loop);
            opened = 1;
        } else {
            assert_int_equal(err, FERRY_ENOMEM);
            assert_null(loop);
        }
        assert_int_equal(ledger.allocated, ledger.released);
        if (TEST_WINDOWS) assert_true(list_fds(NULL, 0) <= fds);
        else assert_int_equal(list_fds(NULL, 0), fds);
        assert_true(fail_at < 1000);
    }
}

/* Several loops in one thread do not get in each other's way. */
static void contract_11_many_loops(void **state) {
    (void)state;
    enum { COUNT = 8 };
    ferry_loop *loops[COUNT];
    struct probe timers[COUNT] = {{.calls = 0}};
    for (int i = 0; i < COUNT; i++) {
        loops[i] = test_loop();
        ferry_timer(loops[i], &timers[i].op, 60 * SECOND, 0, 0, probe_done);
    }
    for (int i = 0; i < COUNT; i++) {
        struct probe nop = {.calls = 0};
        ferry_nop(loops[i], &nop.op, 0, probe_done);
        probe_wait(loops[i], &nop);
        ferry_cancel(loops[i], &timers[i].op);
        exercise(loops[i]);
        probe_check(&timers[i], FERRY_ECANCELED);
    }
    for (int i = COUNT - 1; i >= 0; i--) test_close(loops[i]);
}

const struct contract_test rule_11_tests[] = {
    {"contract_11_close_in_flight_is_refused", contract_11_close_in_flight_is_refused, 0},
    {"contract_11_drain_ends_everything", contract_11_drain_ends_everything, 0},
    {"contract_11_a_drained_loop_is_closed_to_all_else",
     contract_11_a_drained_loop_is_closed_to_all_else, 0},
    {"contract_11_drain_gives_up", contract_11_drain_gives_up, 0},
    {"contract_11_drain_ends_what_begins_again", contract_11_drain_ends_what_begins_again, 0},
    {"contract_11_open_and_close_again_and_again", contract_11_open_and_close_again_and_again, 0},
    {"contract_11_opening_without_memory", contract_11_opening_without_memory, 0},
    {"contract_11_many_loops", contract_11_many_loops, 0},
    {NULL, NULL, 0}};
