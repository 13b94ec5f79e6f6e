/* Rule 1, continued: a full queue is the library's business, and operations are kept as they are.
 *
 * Sizes of queues bound nothing: what does not fit waits inside the library. What the caller wrote
 * into an operation stays, and an operation can be repeated as it was.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ferry_loop *small_loop(uint32_t submission_entries, uint32_t completion_entries) {
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.submission_entries = submission_entries;
    config.completion_entries = completion_entries;
    return test_loop_with(&config);
}

static void contract_01_a_hundred_thousand_nops_on_a_small_queue(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    struct probe *p = calloc(COUNT, sizeof *p);
    assert_non_null(p);
    ferry_loop *loop = small_loop(64, 0);
    for (int i = 0; i < COUNT; i++) ferry_nop(loop, &p[i].op, 0, probe_done);
    for (int i = 0; i < COUNT; i++) assert_int_equal(p[i].calls, 0);
    assert_int_equal(loop_stats(loop).in_flight, COUNT);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], 0);
    ferry_stats stats = loop_stats(loop);
    assert_int_equal(stats.submitted, COUNT);
    assert_int_equal(stats.completed, COUNT);
    assert_int_equal(stats.in_flight, 0);
    test_close(loop);
    free(p);
}

static void contract_01_a_hundred_thousand_reads_on_a_small_queue(void **state) {
    (void)state;
    enum { COUNT = 100000, SIZE = 4096 };
    struct probe *p = calloc(COUNT, sizeof *p);
    char *bytes = malloc(COUNT), expected[SIZE];
    assert_non_null(p);
    assert_non_null(bytes);
    fill(expected, SIZE, 1);
    ferry_fd fd = temp_file("data", SIZE, 1);
    ferry_loop *loop = small_loop(64, 64);
    for (int i = 0; i < COUNT; i++) {
        ferry_read(loop, &p[i].op, fd, &bytes[i], 1, (uint64_t)(i % SIZE), 0, probe_done);
    }
    for (int i = 0; i < COUNT; i++) assert_int_equal(p[i].calls, 0);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], 1);
        assert_int_equal(bytes[i], expected[i % SIZE]);
    }
    test_close(loop);
    close(fd);
    free(p);
    free(bytes);
}

/* Sends of one stream share a lane, so 20,000 of them queue in the library whatever the ring's
 * size. */
static void contract_01_a_lane_bounds_nothing(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    struct probe *p = calloc(COUNT, sizeof *p);
    char *out = malloc(COUNT), *in = malloc(COUNT);
    ferry_fd fds[2];
    assert_true(p && out && in);
    fill(out, COUNT, 3);
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = small_loop(64, 64);
    struct probe reader = {.calls = 0};
    ferry_recv(loop, &reader.op, fds[1], in, COUNT, FERRY_ALL, probe_done);
    for (int i = 0; i < COUNT; i++) ferry_send(loop, &p[i].op, fds[0], &out[i], 1, 0, probe_done);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], 1);
        if (i > 0) assert_true(p[i].order > p[i - 1].order);
    }
    probe_check(&reader, COUNT);
    assert_true(is_filled(in, COUNT, 3));
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(p);
    free(out);
    free(in);
}

static void contract_01_again_repeats_it_as_it_was(void **state) {
    (void)state;
    struct probe recv_probe = {.calls = 0}, timer_probe = {.calls = 0}, nop_probe = {.calls = 0};
    char buf[8] = "";
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &recv_probe.op, fds[0], buf, 4, FERRY_ALL, probe_done);
    ferry_timer(loop, &timer_probe.op, 3 * MS, 0, 0, probe_done);
    ferry_nop(loop, &nop_probe.op, 0, probe_done);
    plain_send(fds[1], "abcdefgh", 8);
    run_done(loop);
    assert_memory_equal(buf, "abcd", 4);

    uint64_t start_ns = clock_ns();
    ferry_again(loop, &recv_probe.op);
    ferry_again(loop, &timer_probe.op);
    ferry_again(loop, &nop_probe.op);
    run_done(loop);
    assert_int_equal(recv_probe.calls, 2);
    assert_int_equal(recv_probe.result, 4);
    assert_memory_equal(buf, "efgh", 4);
    assert_int_equal(timer_probe.calls, 2);
    assert_true(timer_probe.called_ns - start_ns >= 3 * MS);
    assert_int_equal(nop_probe.calls, 2);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* A repeated vectored, positioned operation keeps its vector, offset and deadline. */
static void contract_01_again_keeps_vector_offset_and_deadline(void **state) {
    (void)state;
    char a[5], b[7];
    ferry_vec vecs[2];
    struct probe p = {.calls = 0};
    vecs[0].data = a;
    vecs[0].len = sizeof a;
    vecs[1].data = b;
    vecs[1].len = sizeof b;
    ferry_fd fd = temp_file("data", 100, 9);
    ferry_loop *loop = test_loop();
    p.op.deadline_ns = 15 * SECOND;
    ferry_readv(loop, &p.op, fd, vecs, 2, 50, FERRY_ALL, probe_done);
    for (int round = 1; round <= 3; round++) {
        probe_wait(loop, &p);
        assert_int_equal(p.calls, round);
        assert_int_equal(p.result, 12);
        assert_true(is_filled(a, sizeof a, 9 + 50));
        assert_true(is_filled(b, sizeof b, 9 + 55));
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        p.finals = 0;
        if (round < 3) ferry_again(loop, &p.op);
    }
    assert_int_equal(p.op.deadline_ns, 15 * SECOND);
    test_close(loop);
    close(fd);
}

static void contract_01_fields_of_the_caller_stay(void **state) {
    (void)state;
    int mark = 0;
    ferry_fd fds[2];
    char buf[4];
    ferry_op op;
    memset(&op, 0, sizeof op);
    op.user = &mark;
    op.deadline_ns = 7 * SECOND;
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &op, fds[0], buf, sizeof buf, 0, NULL);
    plain_send(fds[1], "xy", 2);
    run_done(loop);
    assert_int_equal(op.result, 2);
    assert_int_equal(op.transferred, 2);
    assert_int_equal(op.fd, fds[0]);
    assert_ptr_equal(op.user, &mark);
    assert_int_equal(op.deadline_ns, 7 * SECOND);
    assert_null(op.done);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* What an earlier use left in the operation does not show in the next. */
static void contract_01_outcomes_are_fresh_each_time(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char buf[16];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    plain_send(fds[1], "hello", 5);
    ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, 0, probe_done);
    run_done(loop);
    assert_int_equal(p.transferred, 5);
    close(fds[1]);
    ferry_again(loop, &p.op);
    run_done(loop);
    assert_int_equal(p.result, 0);
    assert_int_equal(p.transferred, 0);
    assert_int_equal(p.flags, FERRY_EOF);
    ferry_nop(loop, &p.op, 0, probe_done);
    run_done(loop);
    assert_int_equal(p.result, 0);
    assert_int_equal(p.flags, 0);
    ferry_recv(loop, &p.op, FERRY_FD_NONE, buf, sizeof buf, 0, probe_done);
    run_done(loop);
    assert_int_equal(p.result, FERRY_EBADF);
    assert_int_equal(p.flags, 0);
    assert_int_equal(p.calls, 4);
    test_close(loop);
    close(fds[0]);
}

static void contract_01_the_operation_is_small(void **state) {
    (void)state;
    assert_true(sizeof(ferry_op) <= TEST_OP_BYTES);
}

const struct contract_test rule_01_queue_tests[] = {
    {"contract_01_a_hundred_thousand_nops_on_a_small_queue",
     contract_01_a_hundred_thousand_nops_on_a_small_queue, 0},
    {"contract_01_a_hundred_thousand_reads_on_a_small_queue",
     contract_01_a_hundred_thousand_reads_on_a_small_queue, 0},
    {"contract_01_a_lane_bounds_nothing", contract_01_a_lane_bounds_nothing, 0},
    {"contract_01_again_repeats_it_as_it_was", contract_01_again_repeats_it_as_it_was, 0},
    {"contract_01_again_keeps_vector_offset_and_deadline",
     contract_01_again_keeps_vector_offset_and_deadline, 0},
    {"contract_01_fields_of_the_caller_stay", contract_01_fields_of_the_caller_stay, 0},
    {"contract_01_outcomes_are_fresh_each_time", contract_01_outcomes_are_fresh_each_time, 0},
    {"contract_01_the_operation_is_small", contract_01_the_operation_is_small, 0},
    {NULL, NULL, 0}};
