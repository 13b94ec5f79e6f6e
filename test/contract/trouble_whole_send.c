/* trouble_whole_send.c - 64 MiB for a peer that stops reading
 *
 * The send is cut short by a cancel, a deadline, a reset or a close while others wait behind it.
 * What was moved is told to the byte, what waited ends with FERRY_ECANCELED, what comes later with
 * FERRY_EPIPE, and the peer never sees anything but a prefix of what was meant (rules 8 and 9).
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WHOLE (64 * MIB)
#define MOVED_MAX (8 * MIB) /* more than the system's buffers hold, as they are set below */
#define SEED 1234

enum cut_by { BY_CANCEL, BY_DEADLINE };

struct whole {
    ferry_loop *loop;
    ferry_fd near, far;
    char *data; /* filled as far as anything can get */
    char *got;
    size_t taken;
    ferry_vec vecs[3];
    struct probe big, behind[3], later[2];
};

static void whole_open(struct whole *w, int is_unix) {
    ferry_fd fds[2];
    memset(w, 0, sizeof *w);
    w->loop = test_loop();
    if (is_unix) unix_pair(fds, SOCK_STREAM);
    else tcp_pair(w->loop, fds);
    w->near = fds[0];
    w->far = fds[1];
    set_buffers(w->near, 64 * 1024);
    set_buffers(w->far, 64 * 1024);
    w->data = vast_map(WHOLE);
    w->got = malloc(MOVED_MAX);
    assert_non_null(w->got);
    fill(w->data, MOVED_MAX, SEED);
}

static void whole_close(struct whole *w) {
    vast_unmap(w->data, WHOLE);
    free(w->got);
    finish(w->loop);
}

/* Submits the big one with others behind it, and has the peer take a little and then no more. */
static void whole_start(struct whole *w, int vectored, uint64_t deadline_ns) {
    w->big.op.deadline_ns = deadline_ns;
    if (vectored) {
        w->vecs[0] = (ferry_vec)VEC(w->data, 33333);
        w->vecs[1] = (ferry_vec)VEC(w->data + 33333, MIB);
        w->vecs[2] = (ferry_vec)VEC(w->data + 33333 + MIB, WHOLE - MIB - 33333);
        ferry_sendv(w->loop, &w->big.op, w->near, w->vecs, 3, 0, probe_done);
    } else {
        ferry_send(w->loop, &w->big.op, w->near, w->data, WHOLE, 0, probe_done);
    }
    ferry_send(w->loop, &w->behind[0].op, w->near, "behind", 6, 0, probe_done);
    ferry_send(w->loop, &w->behind[1].op, w->near, "behind", 6, FERRY_SOME, probe_done);
    ferry_shutdown(w->loop, &w->behind[2].op, w->near, FERRY_SHUT_WRITE, 0, probe_done);
    w->taken = 200 * KIB;
    far_expect(w->loop, w->far, w->got, w->taken);
    run_for(w->loop, 15 * MS);
    assert_int_equal(w->big.calls, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(w->behind[i].calls, 0);
}

static void cut_check(struct whole *w, int64_t error) {
    expect(w->loop, &w->big, error);
    assert_in_range(w->big.transferred, w->taken, MOVED_MAX);
    assert_int_equal(w->big.flags, 0);
    for (int i = 0; i < 2; i++) expect_all(w->loop, &w->behind[i], FERRY_ECANCELED, 0, 0);
}

/* Cut by its own fault, the first is told first; a close ends what has not begun at once. */
static void order_check(const struct whole *w) {
    for (int i = 0; i < 2; i++) assert_true(w->behind[i].order > w->big.order);
}

static void later_ones_fail(struct whole *w) {
    ferry_send(w->loop, &w->later[0].op, w->near, "later", 5, 0, probe_done);
    expect_all(w->loop, &w->later[0], FERRY_EPIPE, 0, 0);
    ferry_send(w->loop, &w->later[1].op, w->near, "later", 5, FERRY_SOME, probe_done);
    expect_all(w->loop, &w->later[1], FERRY_EPIPE, 0, 0);
}

/* The peer takes the rest: exactly what was told, byte for byte, and then the end. */
static void peer_has_what_was_told(struct whole *w) {
    int ended;
    size_t more = far_take_all(w->loop, w->far, w->got + w->taken, MOVED_MAX - w->taken, &ended);
    assert_int_equal(ended, -1);
    assert_int_equal(w->taken + more, w->big.transferred);
    assert_true(is_filled(w->got, w->taken + more, SEED));
}

static void whole_cut(enum cut_by by, int vectored, int is_unix) {
    struct whole w;
    whole_open(&w, is_unix);
    uint64_t start_ns = clock_ns();
    whole_start(&w, vectored, by == BY_DEADLINE ? 500 * MS : 0);
    if (by == BY_CANCEL) ferry_cancel(w.loop, &w.big.op);
    cut_check(&w, by == BY_CANCEL ? FERRY_ECANCELED : FERRY_ETIMEDOUT);
    order_check(&w);
    if (by == BY_DEADLINE) assert_true(w.big.called_ns - start_ns >= 500 * MS);
    /* A shutdown moves no bytes, but it waited behind one that was cut short. */
    probe_wait(w.loop, &w.behind[2]);
    assert_true(w.behind[2].result == FERRY_ECANCELED || w.behind[2].result == 0);
    later_ones_fail(&w);

    /* The other direction is whole. */
    struct probe recv = {.calls = 0}, shut = {.calls = 0};
    char in[4];
    ferry_recv(w.loop, &recv.op, w.near, in, 4, FERRY_ALL, probe_done);
    far_send(w.loop, w.far, "back", 4);
    expect_all(w.loop, &recv, 4, 4, 0);
    ferry_shutdown(w.loop, &shut.op, w.near, FERRY_SHUT_WRITE, 0, probe_done);
    expect(w.loop, &shut, 0);
    peer_has_what_was_told(&w);
    close_far(w.far);
    close_near(w.loop, w.near);
    whole_close(&w);
}

static void contract_08_whole_send_cancelled(void **state) {
    (void)state;
    whole_cut(BY_CANCEL, 0, 0);
}

static void contract_08_whole_sendv_cancelled(void **state) {
    (void)state;
    whole_cut(BY_CANCEL, 1, 0);
}

static void contract_08_whole_send_cancelled_unix(void **state) {
    (void)state;
    whole_cut(BY_CANCEL, 0, 1);
}

static void contract_08_whole_send_timed_out(void **state) {
    (void)state;
    whole_cut(BY_DEADLINE, 0, 0);
}

static void contract_08_whole_sendv_timed_out(void **state) {
    (void)state;
    whole_cut(BY_DEADLINE, 1, 1);
}

/* The system may have told the reset with the bytes that went before it, and then says that nobody
 * reads: either is an error of the peer's making. */
static void whole_reset(int vectored) {
    struct whole w;
    whole_open(&w, 0);
    whole_start(&w, vectored, 0);
    reset_far(w.far);
    probe_wait(w.loop, &w.big);
    cut_check(&w, w.big.result == FERRY_EPIPE ? FERRY_EPIPE : FERRY_ECONNRESET);
    order_check(&w);
    assert_true(is_filled(w.got, w.taken, SEED));
    probe_wait(w.loop, &w.behind[2]);
    assert_true(w.behind[2].result < 0);
    later_ones_fail(&w);
    close_near(w.loop, w.near);
    whole_close(&w);
}

static void contract_08_whole_send_reset(void **state) {
    (void)state;
    whole_reset(0);
}

static void contract_08_whole_sendv_reset(void **state) {
    (void)state;
    whole_reset(1);
}

/* Closing cuts it as well; what had been moved still arrives, and then the end of the stream. */
static void contract_07_whole_send_closed(void **state) {
    (void)state;
    struct whole w;
    struct probe close = {.calls = 0};
    whole_open(&w, 0);
    whole_start(&w, 0, 0);
    ferry_close(w.loop, &close.op, w.near, 0, probe_done);
    cut_check(&w, FERRY_ECANCELED);
    probe_wait(w.loop, &w.behind[2]);
    probe_check(&w.behind[2], FERRY_ECANCELED);
    peer_has_what_was_told(&w);
    close_far(w.far);
    expect(w.loop, &close, 0);
    assert_true(close.order > w.behind[2].order);
    whole_close(&w);
}

/* ---- What waits, and what has not begun
 * ---------------------------------------------------------- */

/* One that waits in the lane ends alone; those around it are carried out, in order. */
static void contract_09_cancel_in_the_middle_of_the_lane(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    size_t len = 600 * KIB;
    char *data = malloc(len), *got = malloc(len + 6);
    struct probe p[4];
    assert_true(data && got);
    fill(data, len, SEED);
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    set_buffers(fds[0], 32 * 1024);
    ferry_send(loop, &p[0].op, fds[0], data, len, 0, probe_done);
    ferry_send(loop, &p[1].op, fds[0], "not me", 6, 0, probe_done);
    p[2].op.deadline_ns = 10 * MS;
    ferry_send(loop, &p[2].op, fds[0], "nor me", 6, 0, probe_done);
    ferry_send(loop, &p[3].op, fds[0], "but me", 6, 0, probe_done);
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    ferry_cancel(loop, &p[1].op);
    expect_all(loop, &p[1], FERRY_ECANCELED, 0, 0);
    expect_all(loop, &p[2], FERRY_ETIMEDOUT, 0, 0);
    assert_int_equal(p[0].calls, 0);
    assert_int_equal(p[3].calls, 0);
    far_expect(loop, fds[1], got, len + 6);
    expect_all(loop, &p[0], (int64_t)len, len, 0);
    expect_all(loop, &p[3], 6, 6, 0);
    assert_true(p[0].order < p[3].order);
    assert_true(is_filled(got, len, SEED));
    assert_memory_equal(got + len, "but me", 6);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(data);
    free(got);
    finish(loop);
}

/* Cut short before its first byte, a send leaves no hole: those behind it are carried out. */
static void contract_09_cancel_before_the_first_byte(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    static char got[1 << 20];
    struct probe p[2];
    memset(p, 0, sizeof p);
    unix_pair(fds, SOCK_STREAM);
    set_buffers(fds[0], 32 * 1024);
    size_t stuffed = stuff(fds[0]);
    assert_true(stuffed + 6 <= sizeof got);
    ferry_send(loop, &p[0].op, fds[0], "not me", 6, 0, probe_done);
    ferry_send(loop, &p[1].op, fds[0], "but me", 6, 0, probe_done);
    run_for(loop, 5 * MS);
    ferry_cancel(loop, &p[0].op);
    expect_all(loop, &p[0], FERRY_ECANCELED, 0, 0);
    assert_int_equal(p[1].calls, 0);
    far_expect(loop, fds[1], got, stuffed + 6);
    expect_all(loop, &p[1], 6, 6, 0);
    assert_memory_equal(got + stuffed, "but me", 6);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* A short send that ends short cuts nothing: its result is what it moved, and the lane goes on. */
static void contract_08_some_of_a_send(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    size_t len = 4 * MIB;
    char *data = malloc(len), *got = malloc(len);
    struct probe some = {.calls = 0}, next = {.calls = 0};
    assert_true(data && got);
    fill(data, len, SEED);
    unix_pair(fds, SOCK_STREAM);
    set_buffers(fds[0], 32 * 1024);
    ferry_send(loop, &some.op, fds[0], data, len, FERRY_SOME, probe_done);
    probe_wait(loop, &some);
    assert_in_range(some.result, 1, len - 1);
    assert_int_equal(some.transferred, some.result);
    size_t moved = (size_t)some.result;
    ferry_send(loop, &next.op, fds[0], data + moved, 7, 0, probe_done);
    far_expect(loop, fds[1], got, moved + 7);
    expect_all(loop, &next, 7, 7, 0);
    assert_true(is_filled(got, moved + 7, SEED));
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(data);
    free(got);
    finish(loop);
}

/* A pipe is a stream like any other. */
static void contract_08_whole_pipe_write_cut(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    size_t len = MIB;
    char *data = malloc(len), *got = malloc(len);
    assert_true(data && got);
    fill(data, len, SEED);
    for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
        ferry_fd fds[2];
        int ended;
        struct probe p = {.calls = 0}, behind = {.calls = 0};
        assert_int_equal(ferry_pipe(loop, fds), 0);
        if (by_deadline) p.op.deadline_ns = 300 * MS;
        ferry_write(loop, &p.op, fds[1], data, len, FERRY_CURRENT, 0, probe_done);
        ferry_write(loop, &behind.op, fds[1], "behind", 6, FERRY_CURRENT, 0, probe_done);
        far_expect(loop, fds[0], got, 100 * KIB);
        run_for(loop, 10 * MS);
        if (!by_deadline) ferry_cancel(loop, &p.op);
        expect(loop, &p, by_deadline ? FERRY_ETIMEDOUT : FERRY_ECANCELED);
        assert_in_range(p.transferred, 100 * KIB, len - 1);
        expect_all(loop, &behind, FERRY_ECANCELED, 0, 0);
        close_near(loop, fds[1]);
        size_t rest = far_take_all(loop, fds[0], got + 100 * KIB, len - 100 * KIB, &ended);
        assert_int_equal(100 * KIB + rest, p.transferred);
        assert_true(is_filled(got, 100 * KIB + rest, SEED));
        close_far(fds[0]);
    }
    free(data);
    free(got);
    finish(loop);
}

const struct contract_test trouble_whole_send_tests[] = {
    {"contract_08_whole_send_cancelled", contract_08_whole_send_cancelled, 0},
    {"contract_08_whole_sendv_cancelled", contract_08_whole_sendv_cancelled, 0},
    {"contract_08_whole_send_cancelled_unix", contract_08_whole_send_cancelled_unix, 0},
    {"contract_08_whole_send_timed_out", contract_08_whole_send_timed_out, 0},
    {"contract_08_whole_sendv_timed_out", contract_08_whole_sendv_timed_out, 0},
    {"contract_08_whole_send_reset", contract_08_whole_send_reset, 0},
    {"contract_08_whole_sendv_reset", contract_08_whole_sendv_reset, 0},
    {"contract_07_whole_send_closed", contract_07_whole_send_closed, 0},
    {"contract_09_cancel_in_the_middle_of_the_lane", contract_09_cancel_in_the_middle_of_the_lane,
     0},
    {"contract_09_cancel_before_the_first_byte", contract_09_cancel_before_the_first_byte, 0},
    {"contract_08_some_of_a_send", contract_08_some_of_a_send, 0},
    {"contract_08_whole_pipe_write_cut", contract_08_whole_pipe_write_cut, 0},
    {NULL, NULL, 0},
};
