/* trouble_cancel.c - cancel before, while and after an operation is carried out, for each kind
 *
 * The completion is the answer: the result if it won the race, else FERRY_ECANCELED, and nothing
 * else, least of all what the kernel uses among its own (ERESTARTSYS and its like).
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- All that wait --------------------------------------------------------------------- */

static void contract_05_cancel_before_the_loop_runs(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        stage_submit(&s, 0);
        ferry_cancel(loop, &s.p.op);
        assert_int_equal(s.p.calls, 0);
        stage_expect(&s, FERRY_ECANCELED);
        assert_int_equal(s.p.transferred, 0);
        stage_close(&s);
    }
    finish(loop);
}

/* And what was cancelled can be asked for again, on a descriptor that is as it was before. */
static void contract_05_cancel_while_waiting(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        stage_submit(&s, 0);
        stage_waits(&s);
        ferry_cancel(loop, &s.p.op);
        assert_int_equal(s.p.calls, 0);
        stage_expect(&s, FERRY_ECANCELED);
        assert_int_equal(s.p.transferred, 0);
        if (kind->let && stage_goes_on(&s)) {
            memset(&s.p, 0, sizeof s.p);
            stage_submit(&s, 0);
            stage_waits(&s);
            stage_let(&s);
        }
        stage_close(&s);
    }
    finish(loop);
}

static void contract_05_cancel_twice(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        stage_submit(&s, 0);
        stage_waits(&s);
        ferry_cancel(loop, &s.p.op);
        ferry_cancel(loop, &s.p.op);
        ferry_run(loop, FERRY_RUN_NOWAIT);
        ferry_cancel(loop, &s.p.op);
        stage_expect(&s, FERRY_ECANCELED);
        ferry_cancel(loop, &s.p.op);
        run_for(loop, MS);
        assert_int_equal(s.p.calls, 1);
        stage_close(&s);
    }
    finish(loop);
}

/* A cancel that comes too late is forgotten: it does not hit the operation's next life. */
static void contract_05_cancel_after_completion(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        if (!kind->let) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        stage_submit(&s, 0);
        stage_waits(&s);
        stage_let(&s);
        ferry_cancel(loop, &s.p.op);
        stage_close(&s);

        struct probe again = s.p;
        ferry_fd fds[2];
        again.calls = again.finals = 0;
        unix_pair(fds, SOCK_STREAM);
        ferry_recv(loop, &again.op, fds[0], s.buf, 8, 0, probe_done);
        run_for(loop, 2 * MS);
        assert_int_equal(again.calls, 0);
        plain_send(fds[1], "x", 1);
        expect_all(loop, &again, 1, 1, 0);
        close_near(loop, fds[0]);
        close_far(fds[1]);
    }
    finish(loop);
}

/* Both at once: one completion, success or FERRY_ECANCELED, and never a lost descriptor. */
static void contract_05_cancel_races_with_success(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        if (!kind->let) continue;
        for (int round = 0; round < 4; round++) {
            struct stage s;
            stage_open(&s, kind, loop);
            stage_submit(&s, 0);
            if (round & 1) stage_waits(&s);
            if (round & 2) ferry_cancel(loop, &s.p.op);
            kind->let(&s);
            if (!(round & 2)) ferry_cancel(loop, &s.p.op);
            stage_expect_or_success(&s, FERRY_ECANCELED);
            stage_close(&s);
        }
    }
    finish(loop);
}

/* ---- All that do not ------------------------------------------------------------------- */

static int64_t nine(void *arg) {
    (void)arg;
    return 9;
}

/* Submits one of each that ends by itself; returns their count. */
static size_t submit_quick(ferry_loop *loop, struct probe p[12], ferry_fd file, ferry_file *about) {
    static char in[2][64], out[64] = "written";
    size_t n = 0;
    ferry_nop(loop, &p[n++].op, 0, probe_done);
    ferry_timer(loop, &p[n++].op, 0, 0, 0, probe_done);
    ferry_work(loop, &p[n++].op, nine, NULL, 0, probe_done);
    ferry_read(loop, &p[n++].op, file, in[0], 64, 0, 0, probe_done);
    ferry_read(loop, &p[n++].op, file, in[1], 64, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[n++].op, file, out, 64, 0, 0, probe_done);
    ferry_sync(loop, &p[n++].op, file, 0, probe_done);
    ferry_truncate(loop, &p[n++].op, file, 64, 0, probe_done);
    ferry_stat(loop, &p[n++].op, "/dev/null", about, 0, probe_done);
    ferry_open(loop, &p[n++].op, "/dev/null", FERRY_OPEN_READ, 0, 0, probe_done);
    return n;
}

static const int64_t quick_results[] = {0, 0, 9, 64, 64, 64, 0, 0, 0, -1};

static void contract_05_cancel_of_what_ends_by_itself(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char data[64] = "";
    ferry_file about;
    for (int round = 0; round < 6; round++) {
        struct probe p[12];
        ferry_fd file = make_file(temp_path("file"), data, sizeof data);
        memset(p, 0, sizeof p);
        size_t n = submit_quick(loop, p, file, &about);
        if (round & 1) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        if (round & 2) sleep_ns(MS / 5);
        for (size_t i = 0; i < n; i++) ferry_cancel(loop, &p[i].op);
        probe_wait_all(loop, p, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(p[i].calls, 1);
            if (p[i].result == FERRY_ECANCELED) continue;
            if (quick_results[i] >= 0) assert_int_equal(p[i].result, quick_results[i]);
            else close_near(loop, (ferry_fd)p[i].result);
        }
        close_near(loop, file);
    }
    finish(loop);
}

static void contract_05_close_is_never_cancelled(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[4];
    struct probe close = {.calls = 0}, recv = {.calls = 0}, post = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &recv.op, fds[0], buf, 4, 0, probe_done);
    run_for(loop, 2 * MS);
    ferry_close(loop, &close.op, fds[0], 0, probe_done);
    ferry_cancel(loop, &close.op);
    ferry_cancel_fd(loop, fds[0]);
    expect_all(loop, &close, 0, 0, 0);
    probe_check(&recv, FERRY_ECANCELED);
    assert_int_equal(far_take(fds[1], buf, 4, &(int){0}), 0);

    assert_int_equal(ferry_post(loop, &post.op, probe_done), 0);
    ferry_cancel(loop, &post.op);
    expect(loop, &post, 0);
    close_far(fds[1]);
    finish(loop);
}

/* Work that a worker has taken ends with what it returns. */
static int64_t slow_seven(void *arg) {
    __atomic_store_n((int *)arg, 1, __ATOMIC_RELEASE);
    sleep_ns(60 * MS);
    return 7;
}

static void contract_05_started_work_is_not_cancelled(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    int started = 0;
    struct probe work = {.calls = 0};
    ferry_work(loop, &work.op, slow_seven, &started, 0, probe_done);
    for (int i = 0; i < 2000 && !__atomic_load_n(&started, __ATOMIC_ACQUIRE); i++)
        run_for(loop, MS);
    assert_int_equal(started, 1);
    ferry_cancel(loop, &work.op);
    expect(loop, &work, 7);
    finish(loop);
}

/* ---- Within callbacks ------------------------------------------------------------------ */

static struct probe *victim;
static ferry_loop *victim_loop;

static void cancel_the_other(ferry_op *op) {
    probe_done(op);
    ferry_cancel(victim_loop, &victim->op);
}

/* Both have ended with the system when the first is called back. What the second has received is
 * delivered, or it is still there for the next receive. */
static void contract_05_cancel_of_what_has_landed(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (int round = 0; round < 8; round++) {
        ferry_fd a[2], b[2];
        char buf_a[4], buf_b[4] = "";
        struct probe first = {.calls = 0}, second = {.calls = 0}, more = {.calls = 0};
        unix_pair(a, SOCK_STREAM);
        unix_pair(b, SOCK_STREAM);
        victim = round & 1 ? &first : &second;
        victim_loop = loop;
        ferry_recv(loop, &first.op, a[0], buf_a, 4, 0, round & 1 ? probe_done : cancel_the_other);
        ferry_recv(loop, &second.op, b[0], buf_b, 4, 0, round & 1 ? cancel_the_other : probe_done);
        if (round & 2) run_for(loop, MS);
        plain_send(a[1], "aaa", 3);
        plain_send(b[1], "bbb", 3);
        probe_wait(loop, &first);
        probe_wait(loop, &second);
        assert_int_equal(first.calls + second.calls, 2);
        ferry_fd near = round & 1 ? a[0] : b[0];
        if (victim->result == FERRY_ECANCELED) {
            ferry_recv(loop, &more.op, near, buf_b, 4, 0, probe_done);
            expect_all(loop, &more, 3, 3, 0);
        } else {
            assert_int_equal(victim->result, 3);
        }
        close_near(loop, a[0]);
        close_near(loop, b[0]);
        close_far(a[1]);
        close_far(b[1]);
    }
    finish(loop);
}

static void cancel_itself_and_go_on(ferry_op *op) {
    struct probe *p = ferry_container(op, struct probe, op);
    probe_done(op);
    ferry_cancel(victim_loop, op);
    if (p->calls < 3) ferry_nop(victim_loop, op, 0, cancel_itself_and_go_on);
    ferry_cancel_fd(victim_loop, op->fd);
}

static void contract_05_cancel_in_its_own_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0}, idle = {.calls = 0};
    victim_loop = loop;
    ferry_cancel(loop, &idle.op); /* never submitted */
    ferry_nop(loop, &p.op, 0, cancel_itself_and_go_on);
    for (int i = 0; i < 20 && p.calls < 3; i++) run_for(loop, MS);
    assert_int_equal(p.calls, 3);
    assert_int_equal(p.finals, 3);
    assert_int_equal(p.result, 0);
    assert_int_equal(idle.calls, 0);
    finish(loop);
}

static void cancel_itself_on_third(ferry_op *op) {
    struct probe *p = ferry_container(op, struct probe, op);
    probe_done(op);
    if (p->calls == 3) ferry_cancel(victim_loop, op);
}

static void contract_05_cancel_of_repeating_timer(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    victim_loop = loop;
    ferry_timer(loop, &p.op, MS, MS, 0, cancel_itself_on_third);
    probe_wait(loop, &p);
    assert_int_equal(p.calls, 4);
    assert_int_equal(p.finals, 1);
    assert_int_equal(p.result, FERRY_ECANCELED);
    assert_int_equal(p.flags, 0);
    run_for(loop, 5 * MS);
    assert_int_equal(p.calls, 4);
    finish(loop);
}

/* ---- Several at once ------------------------------------------------------------------- */

static void contract_05_cancel_of_a_descriptor(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], other[2];
    char buf[5][4], out[4] = "out";
    struct probe p[5], untouched = {.calls = 0}, after = {.calls = 0};
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    unix_pair(other, SOCK_STREAM);
    stuff(fds[0]);
    for (int i = 0; i < 3; i++) ferry_recv(loop, &p[i].op, fds[0], buf[i], 4, 0, probe_done);
    for (int i = 3; i < 5; i++) ferry_send(loop, &p[i].op, fds[0], out, 3, 0, probe_done);
    ferry_recv(loop, &untouched.op, other[0], buf[3], 4, 0, probe_done);
    run_for(loop, 2 * MS);
    ferry_cancel_fd(loop, fds[0]);
    probe_wait_all(loop, p, 5);
    for (int i = 0; i < 5; i++) expect_all(loop, &p[i], FERRY_ECANCELED, 0, 0);
    assert_int_equal(untouched.calls, 0);
    plain_send(other[1], "abc", 3);
    expect_all(loop, &untouched, 3, 3, 0);
    plain_send(fds[1], "abc", 3);
    ferry_recv(loop, &after.op, fds[0], buf[0], 4, 0, probe_done);
    expect_all(loop, &after, 3, 3, 0);
    ferry_cancel_fd(loop, fds[0]); /* nothing is in flight on it */
    close_near(loop, fds[0]);
    close_near(loop, other[0]);
    close_far(fds[1]);
    close_far(other[1]);
    finish(loop);
}

static void contract_05_cancel_of_many(void **state) {
    (void)state;
    enum { COUNT = 300 };
    ferry_loop *loop = test_loop();
    static struct probe p[COUNT];
    static ferry_fd fds[COUNT][2];
    static char buf[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        unix_pair(fds[i], SOCK_STREAM);
        ferry_recv(loop, &p[i].op, fds[i][0], &buf[i], 1, 0, probe_done);
    }
    run_for(loop, 2 * MS);
    for (size_t i = 0; i < COUNT; i++) ferry_cancel(loop, &p[i].op);
    probe_wait_all(loop, p, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        probe_check(&p[i], FERRY_ECANCELED);
        ferry_close(loop, NULL, fds[i][0], 0, NULL);
        close_far(fds[i][1]);
    }
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    finish(loop);
}

const struct contract_test trouble_cancel_tests[] = {
    {"contract_05_cancel_before_the_loop_runs", contract_05_cancel_before_the_loop_runs, 0},
    {"contract_05_cancel_while_waiting", contract_05_cancel_while_waiting, 0},
    {"contract_05_cancel_twice", contract_05_cancel_twice, 0},
    {"contract_05_cancel_after_completion", contract_05_cancel_after_completion, 0},
    {"contract_05_cancel_races_with_success", contract_05_cancel_races_with_success, 120},
    {"contract_05_cancel_of_what_ends_by_itself", contract_05_cancel_of_what_ends_by_itself, 0},
    {"contract_05_close_is_never_cancelled", contract_05_close_is_never_cancelled, 0},
    {"contract_05_started_work_is_not_cancelled", contract_05_started_work_is_not_cancelled, 0},
    {"contract_05_cancel_of_what_has_landed", contract_05_cancel_of_what_has_landed, 0},
    {"contract_05_cancel_in_its_own_callback", contract_05_cancel_in_its_own_callback, 0},
    {"contract_05_cancel_of_repeating_timer", contract_05_cancel_of_repeating_timer, 0},
    {"contract_05_cancel_of_a_descriptor", contract_05_cancel_of_a_descriptor, 0},
    {"contract_05_cancel_of_many", contract_05_cancel_of_many, 0},
    {NULL, NULL, 0},
};
