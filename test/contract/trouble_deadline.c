/* trouble_deadline.c - deadlines: past, next to nothing, for ever, and never early (rule 6)
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STAGES_MAX 40

/* Opens all stages on one loop, so that all of their deadlines pass at once. */
static size_t stages_open(struct stage s[STAGES_MAX], ferry_loop *loop) {
    size_t count = 0;
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        assert_true(count < STAGES_MAX);
        stage_open(&s[count++], kind, loop);
    }
    return count;
}

/* All with this deadline: all of them time out, none before its time, and each can be submitted
 * again without a deadline and succeed. */
static void all_time_out(uint64_t deadline_ns, unsigned flags, uint64_t span_ns) {
    static struct stage s[STAGES_MAX];
    ferry_loop *loop = stage_loop();
    size_t count = stages_open(s, loop);
    uint64_t start_ns = clock_ns();
    for (size_t i = 0; i < count; i++) {
        s[i].p.op.deadline_ns = deadline_ns;
        stage_submit(&s[i], flags);
    }
    for (size_t i = 0; i < count; i++) {
        stage_expect(&s[i], FERRY_ETIMEDOUT);
        assert_int_equal(s[i].p.transferred, 0);
        assert_int_equal(s[i].p.op.deadline_ns, deadline_ns);
        if (s[i].p.called_ns - start_ns < span_ns) fail_msg("%s: early", s[i].kind->name);
    }
    for (size_t i = 0; i < count; i++) {
        memset(&s[i].p, 0, sizeof s[i].p);
        if (!s[i].kind->let || !stage_goes_on(&s[i])) continue;
        stage_submit(&s[i], 0);
        stage_let(&s[i]);
    }
    for (size_t i = 0; i < count; i++) stage_close(&s[i]);
    finish(loop);
}

static void contract_06_deadline_passes(void **state) {
    (void)state;
    all_time_out(25 * MS, 0, 25 * MS);
}

static void contract_06_deadline_of_one_nanosecond(void **state) {
    (void)state;
    all_time_out(1, 0, 1);
}

static void contract_06_deadline_already_past(void **state) {
    (void)state;
    all_time_out(1, FERRY_ABSOLUTE, 0);
}

static void contract_06_deadline_just_past(void **state) {
    (void)state;
    all_time_out(clock_ns() - 1, FERRY_ABSOLUTE, 0);
}

static void contract_06_deadline_absolute(void **state) {
    (void)state;
    /* Preparing takes a while; what matters is that none ends before the point in time. */
    uint64_t at_ns = clock_ns() + 150 * MS;
    static struct stage s[STAGES_MAX];
    ferry_loop *loop = stage_loop();
    size_t count = stages_open(s, loop);
    for (size_t i = 0; i < count; i++) {
        s[i].p.op.deadline_ns = at_ns;
        stage_submit(&s[i], FERRY_ABSOLUTE);
    }
    for (size_t i = 0; i < count; i++) {
        stage_expect(&s[i], FERRY_ETIMEDOUT);
        if (s[i].p.called_ns < at_ns) fail_msg("%s: early", s[i].kind->name);
        stage_close(&s[i]);
    }
    finish(loop);
}

/* For ever, whether as a span or as a point in time. */
static void never_passes(unsigned flags) {
    static struct stage s[STAGES_MAX];
    ferry_loop *loop = stage_loop();
    size_t count = stages_open(s, loop);
    for (size_t i = 0; i < count; i++) {
        s[i].p.op.deadline_ns = UINT64_MAX;
        stage_submit(&s[i], flags);
    }
    run_for(loop, 20 * MS);
    for (size_t i = 0; i < count; i++) stage_waits(&s[i]);
    for (size_t i = 0; i < count; i++) {
        if (s[i].kind->let) {
            stage_let(&s[i]);
        } else {
            ferry_cancel(loop, &s[i].p.op);
            stage_expect(&s[i], FERRY_ECANCELED);
        }
        stage_close(&s[i]);
    }
    finish(loop);
}

static void contract_06_deadline_of_for_ever(void **state) {
    (void)state;
    never_passes(0);
}

static void contract_06_deadline_at_the_end_of_time(void **state) {
    (void)state;
    never_passes(FERRY_ABSOLUTE);
}

/* A deadline and success at once: one completion. */
static void contract_06_deadline_races_with_success(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        if (!kind->let) continue;
        for (int round = 0; round < 3; round++) {
            struct stage s;
            stage_open(&s, kind, loop);
            s.p.op.deadline_ns = 2 * MS;
            stage_submit(&s, 0);
            assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
            sleep_ns(MS + (uint64_t)round * MS);
            kind->let(&s);
            stage_expect_or_success(&s, FERRY_ETIMEDOUT);
            stage_close(&s);
        }
    }
    finish(loop);
}

/* ---- Never early
 * --------------------------------------------------------------------------------- */

struct late {
    struct probe recv, timer;
    uint64_t recv_ns, timer_ns; /* when they were submitted */
    ferry_loop *loop;
    ferry_fd fd;
    char buf[4];
};

static struct late late;

static void compute_then_submit(ferry_op *op) {
    (void)op;
    uint64_t start_ns = clock_ns();
    while (clock_ns() - start_ns < 50 * MS) {
    }
    late.recv.op.deadline_ns = 30 * MS;
    late.recv_ns = clock_ns();
    ferry_recv(late.loop, &late.recv.op, late.fd, late.buf, 4, 0, probe_done);
    late.timer_ns = clock_ns();
    ferry_timer(late.loop, &late.timer.op, 30 * MS, 0, 0, probe_done);
}

/* The turn's clock is 50 ms old by then; spans must not begin there. */
static void contract_06_deadline_submitted_late_in_a_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe nop = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    memset(&late, 0, sizeof late);
    late.loop = loop;
    late.fd = fds[0];
    ferry_nop(loop, &nop.op, 0, compute_then_submit);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    probe_check(&late.recv, FERRY_ETIMEDOUT);
    probe_check(&late.timer, 0);
    assert_true(late.recv.called_ns - late.recv_ns >= 30 * MS);
    assert_true(late.timer.called_ns - late.timer_ns >= 30 * MS);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* Waiting in a lane counts: the second's time passes while the first is with the system. */
static void contract_06_deadline_counts_in_the_lane(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[3][8];
    struct probe p[3];
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    p[1].op.deadline_ns = 20 * MS;
    for (int i = 0; i < 3; i++) ferry_recv(loop, &p[i].op, fds[0], buf[i], 4, 0, probe_done);
    expect_all(loop, &p[1], FERRY_ETIMEDOUT, 0, 0);
    assert_int_equal(p[0].calls, 0);
    assert_int_equal(p[2].calls, 0);
    plain_send(fds[1], "firsthird", 8);
    expect_all(loop, &p[0], 4, 4, 0);
    expect_all(loop, &p[2], 4, 4, 0);
    assert_memory_equal(buf[0], "firs", 4);
    assert_memory_equal(buf[2], "thir", 4);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- What has ended has no deadline left
 * --------------------------------------------------------- */

static void contract_06_deadline_ends_with_its_operation(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[4];
    struct probe p = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    p.op.deadline_ns = 20 * MS;
    plain_send(fds[1], "one", 3);
    ferry_recv(loop, &p.op, fds[0], buf, 4, 0, probe_done);
    expect_all(loop, &p, 3, 3, 0);
    p.op.deadline_ns = 0;
    p.calls = p.finals = 0;
    ferry_recv(loop, &p.op, fds[0], buf, 4, 0, probe_done);
    run_for(loop, 50 * MS);
    assert_int_equal(p.calls, 0);
    plain_send(fds[1], "two", 3);
    expect_all(loop, &p, 3, 3, 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void contract_06_deadline_with_room_to_spare(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    ferry_file about;
    char buf[4];
    struct probe p[6];
    memset(p, 0, sizeof p);
    for (int i = 0; i < 6; i++) p[i].op.deadline_ns = 20 * SECOND;
    ferry_nop(loop, &p[0].op, 0, probe_done);
    ferry_timer(loop, &p[1].op, MS, 0, 0, probe_done);
    ferry_read(loop, &p[2].op, file, buf, 4, 0, 0, probe_done);
    ferry_sync(loop, &p[3].op, file, 0, probe_done);
    ferry_stat(loop, &p[4].op, "/", &about, 0, probe_done);
    for (int i = 0; i < 5; i++) expect(loop, &p[i], i == 2 ? 4 : 0);
    ferry_close(loop, &p[5].op, file, 0, probe_done);
    expect(loop, &p[5], 0);
    /* None of them keeps the loop waiting for its deadline. */
    uint64_t start_ns = clock_ns();
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_true(clock_ns() - start_ns < 10 * SECOND);
    finish(loop);
}

/* Already past, on what needs no waiting: either outcome, once. */
static void contract_06_deadline_past_on_quick_ones(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    ferry_file about;
    char buf[4];
    struct probe p[5];
    memset(p, 0, sizeof p);
    for (int i = 0; i < 5; i++) p[i].op.deadline_ns = 1;
    ferry_nop(loop, &p[0].op, FERRY_ABSOLUTE, probe_done);
    ferry_read(loop, &p[1].op, file, buf, 4, 0, FERRY_ABSOLUTE, probe_done);
    ferry_write(loop, &p[2].op, file, "data", 4, 0, FERRY_ABSOLUTE, probe_done);
    ferry_sync(loop, &p[3].op, file, FERRY_ABSOLUTE, probe_done);
    ferry_stat(loop, &p[4].op, "/", &about, FERRY_ABSOLUTE, probe_done);
    probe_wait_all(loop, p, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(p[i].calls, 1);
        int64_t success = i == 1 || i == 2 ? 4 : 0;
        assert_true(p[i].result == FERRY_ETIMEDOUT || p[i].result == success);
    }
    close_near(loop, file);
    finish(loop);
}

/* ---- Work
 * ---------------------------------------------------------------------------------------- */

/* Runs until the far side lets it. */
static int64_t take_byte(void *arg) {
    char byte;
    ssize_t n;
    do {
        n = recv(*(ferry_fd *)arg, &byte, 1, 0);
    } while (n < 0 && errno == EINTR);
    return n == 1 ? 5 : n;
}

static int64_t note(void *arg) {
    *(int *)arg = 1;
    return 1;
}

/* What runs ends with its own result, late; what waits behind it times out and never runs. */
static void contract_06_deadline_of_work(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct probe runs = {.calls = 0}, waits = {.calls = 0};
    ferry_fd fds[2];
    int ran = 0;
    unix_pair(fds, SOCK_STREAM);
    ferry_work(loop, &runs.op, take_byte, &fds[0], 0, probe_done);
    run_for(loop, 20 * MS);
    waits.op.deadline_ns = 10 * MS;
    ferry_work(loop, &waits.op, note, &ran, 0, probe_done);
    expect(loop, &waits, FERRY_ETIMEDOUT);
    assert_int_equal(runs.calls, 0);
    plain_send(fds[1], "x", 1);
    expect(loop, &runs, 5);
    assert_int_equal(ran, 0);
    close_far(fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* A deadline that passes while a worker carries it out changes nothing. */
static void contract_06_deadline_of_started_work(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct probe runs = {.calls = 0};
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    runs.op.deadline_ns = 300 * MS;
    uint64_t start_ns = clock_ns();
    ferry_work(loop, &runs.op, take_byte, &fds[0], 0, probe_done);
    while (clock_ns() - start_ns < 350 * MS) run_for(loop, 10 * MS);
    assert_int_equal(runs.calls, 0);
    plain_send(fds[1], "x", 1);
    expect(loop, &runs, 5);
    close_far(fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Half done
 * ----------------------------------------------------------------------------------- */

/* A whole receive that got half when its time passed, or when it was cancelled. */
static void half_a_recv(int vectored, int cancel) {
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char out[1000], in[1000] = "";
    struct probe p = {.calls = 0}, rest = {.calls = 0};
    ferry_vec vecs[2] = {VEC(in, 300), VEC(in + 300, 700)};
    fill(out, sizeof out, 11);
    tcp_pair(loop, fds);
    plain_send(fds[1], out, 500);
    if (!cancel) p.op.deadline_ns = 60 * MS;
    if (vectored) ferry_recvv(loop, &p.op, fds[0], vecs, 2, FERRY_ALL, probe_done);
    else ferry_recv(loop, &p.op, fds[0], in, 1000, FERRY_ALL, probe_done);
    run_for(loop, 20 * MS);
    if (cancel) {
        assert_int_equal(p.calls, 0);
        ferry_cancel(loop, &p.op);
    }
    expect_all(loop, &p, cancel ? FERRY_ECANCELED : FERRY_ETIMEDOUT, 500, 0);
    assert_memory_equal(in, out, 500);
    /* The stream goes on where it was left. */
    plain_send(fds[1], out + 500, 500);
    ferry_recv(loop, &rest.op, fds[0], in + 500, 500, FERRY_ALL, probe_done);
    expect_all(loop, &rest, 500, 500, 0);
    assert_memory_equal(in, out, 1000);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void contract_08_half_a_recv_cancelled(void **state) {
    (void)state;
    half_a_recv(0, 1);
}

static void contract_08_half_a_recvv_cancelled(void **state) {
    (void)state;
    half_a_recv(1, 1);
}

static void contract_08_half_a_recv_timed_out(void **state) {
    (void)state;
    half_a_recv(0, 0);
}

static void contract_08_half_a_recvv_timed_out(void **state) {
    (void)state;
    half_a_recv(1, 0);
}

static void contract_08_half_a_pipe_read_cancelled(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char in[8] = "";
    struct probe p = {.calls = 0};
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_read(loop, &p.op, fds[0], in, 8, FERRY_CURRENT, FERRY_ALL, probe_done);
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(write(fds[1], "half", 4), 4);
    run_for(loop, 20 * MS);
    assert_int_equal(p.calls, 0);
    ferry_cancel(loop, &p.op);
    expect_all(loop, &p, FERRY_ECANCELED, 4, 0);
    assert_memory_equal(in, "half", 4);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

const struct contract_test trouble_deadline_tests[] = {
    {"contract_06_deadline_passes", contract_06_deadline_passes, 0},
    {"contract_06_deadline_of_one_nanosecond", contract_06_deadline_of_one_nanosecond, 0},
    {"contract_06_deadline_already_past", contract_06_deadline_already_past, 0},
    {"contract_06_deadline_just_past", contract_06_deadline_just_past, 0},
    {"contract_06_deadline_absolute", contract_06_deadline_absolute, 0},
    {"contract_06_deadline_of_for_ever", contract_06_deadline_of_for_ever, 0},
    {"contract_06_deadline_at_the_end_of_time", contract_06_deadline_at_the_end_of_time, 0},
    {"contract_06_deadline_races_with_success", contract_06_deadline_races_with_success, 0},
    {"contract_06_deadline_submitted_late_in_a_callback",
     contract_06_deadline_submitted_late_in_a_callback, 0},
    {"contract_06_deadline_counts_in_the_lane", contract_06_deadline_counts_in_the_lane, 0},
    {"contract_06_deadline_ends_with_its_operation", contract_06_deadline_ends_with_its_operation,
     0},
    {"contract_06_deadline_with_room_to_spare", contract_06_deadline_with_room_to_spare, 0},
    {"contract_06_deadline_past_on_quick_ones", contract_06_deadline_past_on_quick_ones, 0},
    {"contract_06_deadline_of_work", contract_06_deadline_of_work, 0},
    {"contract_06_deadline_of_started_work", contract_06_deadline_of_started_work, 0},
    {"contract_08_half_a_recv_cancelled", contract_08_half_a_recv_cancelled, 0},
    {"contract_08_half_a_recvv_cancelled", contract_08_half_a_recvv_cancelled, 0},
    {"contract_08_half_a_recv_timed_out", contract_08_half_a_recv_timed_out, 0},
    {"contract_08_half_a_recvv_timed_out", contract_08_half_a_recvv_timed_out, 0},
    {"contract_08_half_a_pipe_read_cancelled", contract_08_half_a_pipe_read_cancelled, 0},
    {NULL, NULL, 0},
};
