/* trouble_close.c - closing a descriptor that is in use (rule 7)
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whatever waits on it ends before the close does; what comes meanwhile is refused. */
static void contract_07_close_ends_what_waits(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        struct stage s;
        struct probe close = {.calls = 0}, later = {.calls = 0}, twice = {.calls = 0};
        stage_open(&s, kind, loop);
        stage_submit(&s, 0);
        if (s.p.op.fd != s.fd || s.fd == FERRY_FD_NONE || s.p.op.code == FERRY_OP_WORK) {
            /* It waits on no descriptor. */
            ferry_cancel(loop, &s.p.op);
            stage_expect(&s, FERRY_ECANCELED);
            stage_close(&s);
            continue;
        }
        stage_waits(&s);
        ferry_close(loop, &close.op, s.fd, 0, probe_done);
        ferry_recv(loop, &later.op, s.fd, s.buf, 8, 0, probe_done);
        ferry_close(loop, &twice.op, s.fd, 0, probe_done);
        assert_int_equal(s.p.calls, 0);
        stage_expect(&s, FERRY_ECANCELED);
        expect_all(loop, &later, FERRY_EBADF, 0, 0);
        expect_all(loop, &twice, FERRY_EBADF, 0, 0);
        expect(loop, &close, 0);
        assert_true(s.p.order < close.order);
        assert_int_equal(fcntl(s.fd, F_GETFD), -1);
        s.fd = FERRY_FD_NONE;
        stage_close(&s);
    }
    finish(loop);
}

struct reopener {
    struct probe probe;
    ferry_loop *loop;
    struct probe again;
    char buf[4];
};

/* Within the callback of what the close ended, the descriptor is closing still. */
static void submit_on_the_same(ferry_op *op) {
    struct reopener *r = ferry_container(op, struct reopener, probe.op);
    probe_done(op);
    ferry_recv(r->loop, &r->again.op, op->fd, r->buf, 4, 0, probe_done);
}

static void contract_07_submit_while_closing(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct reopener r;
    struct probe close = {.calls = 0};
    memset(&r, 0, sizeof r);
    r.loop = loop;
    tcp_pair(loop, fds);
    ferry_recv(loop, &r.probe.op, fds[0], r.buf, 4, 0, submit_on_the_same);
    run_for(loop, 2 * MS);
    ferry_close(loop, &close.op, fds[0], 0, probe_done);
    assert_int_equal(ferry_forget(loop, fds[0]), FERRY_EBADF);
    expect(loop, &close, 0);
    probe_check(&r.probe, FERRY_ECANCELED);
    probe_wait(loop, &r.again);
    probe_check(&r.again, FERRY_EBADF);
    close_far(fds[1]);
    finish(loop);
}

static void contract_07_close_with_many_in_flight(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct probe recv[20], send[20], close = {.calls = 0};
    char buf[20];
    memset(recv, 0, sizeof recv);
    memset(send, 0, sizeof send);
    unix_pair(fds, SOCK_STREAM);
    stuff(fds[0]);
    for (int i = 0; i < 20; i++) {
        ferry_recv(loop, &recv[i].op, fds[0], &buf[i], 1, 0, probe_done);
        ferry_send(loop, &send[i].op, fds[0], "x", 1, 0, probe_done);
    }
    run_for(loop, 2 * MS);
    ferry_close(loop, &close.op, fds[0], 0, probe_done);
    expect(loop, &close, 0);
    for (int i = 0; i < 20; i++) {
        probe_check(&recv[i], FERRY_ECANCELED);
        probe_check(&send[i], FERRY_ECANCELED);
        assert_true(recv[i].order < close.order && send[i].order < close.order);
    }
    close_far(fds[1]);
    finish(loop);
}

static void contract_07_close_without_an_operation(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char buf[4];
    int ended = 0;
    struct probe recv = {.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_recv(loop, &recv.op, fds[0], buf, 4, 0, probe_done);
    ferry_close(loop, NULL, fds[0], 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    probe_check(&recv, FERRY_ECANCELED);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    assert_int_equal(far_take(fds[1], buf, 4, &ended), 0);
    assert_int_equal(ended, -1);
    /* One that fails has nobody to tell, and does no harm. */
    ferry_close(loop, NULL, FERRY_FD_NONE, 0, NULL);
    ferry_close(loop, NULL, closed_fd(), 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    close_far(fds[1]);
    finish(loop);
}

/* The number's next owner sees nothing of the one before. */
static void contract_07_number_is_reused(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    int reused = 0;
    for (int round = 0; round < 20; round++) {
        ferry_fd old[2], new[2];
        char old_buf[8] = "", new_buf[8] = "";
        struct probe before = {.calls = 0}, after = {.calls = 0}, close = {.calls = 0};
        tcp_pair(loop, old);
        ferry_recv(loop, &before.op, old[0], old_buf, 8, 0, probe_done);
        if (round & 1) run_for(loop, MS);
        ferry_close(loop, &close.op, old[0], 0, probe_done);
        /* Data for the old owner comes at the last moment. */
        plain_send(old[1], "old", 3);
        expect(loop, &close, 0);
        assert_int_equal(before.calls, 1);
        assert_true(before.result == FERRY_ECANCELED || before.result == 3);
        tcp_pair(loop, new);
        reused += new[0] == old[0] || new[1] == old[0];
        ferry_fd same = new[1] == old[0] ? new[1] : new[0];
        ferry_fd far = same == new[1] ? new[0] : new[1];
        ferry_recv(loop, &after.op, same, new_buf, 8, 0, probe_done);
        run_for(loop, MS);
        assert_int_equal(after.calls, 0);
        plain_send(far, "new!", 4);
        expect_all(loop, &after, 4, 4, 0);
        assert_memory_equal(new_buf, "new!", 4);
        assert_int_equal(before.calls, 1);
        close_near(loop, same);
        close_far(far);
        close_far(old[1]);
    }
    assert_true(reused > 0);
    finish(loop);
}

/* ---- What was sent arrives
 * ----------------------------------------------------------------------- */

/* Input that nobody read turns a plain close into a reset, which takes away what the peer has not
 * read yet. Not so here: the peer, slow as it is, gets all of it, and then the end. */
static void sent_data_arrives(int with_operation) {
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    size_t len = MIB, at = 0;
    char *data = malloc(len), *got = malloc(len), unread[4096] = "unread";
    struct probe send = {.calls = 0}, close = {.calls = 0};
    int ended = 0;
    assert_true(data && got);
    fill(data, len, 77);
    tcp_pair(loop, fds);
    plain_send(fds[1], unread, sizeof unread);
    ferry_send(loop, &send.op, fds[0], data, len, 0, probe_done);
    /* Take just enough for the send to complete. */
    while (send.calls == 0) {
        run_for(loop, 2 * MS);
        if (send.calls == 0) at += far_take(fds[1], got + at, 64 * KIB, &ended);
    }
    probe_check(&send, (int64_t)len);
    if (with_operation) ferry_close(loop, &close.op, fds[0], 0, probe_done);
    else ferry_close(loop, NULL, fds[0], 0, NULL);
    run_for(loop, 10 * MS);
    /* More that nobody will read comes while the close is under way. */
    plain_send(fds[1], unread, sizeof unread);
    run_for(loop, 10 * MS);
    at += far_take_all(loop, fds[1], got + at, len - at, &ended);
    assert_int_equal(ended, -1);
    assert_int_equal(at, len);
    assert_true(is_filled(got, len, 77));
    close_far(fds[1]);
    if (with_operation) expect(loop, &close, 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    free(data);
    free(got);
    finish(loop);
}

static void contract_07_sent_data_arrives(void **state) {
    (void)state;
    sent_data_arrives(1);
}

static void contract_07_sent_data_arrives_without_an_operation(void **state) {
    (void)state;
    sent_data_arrives(0);
}

/* A peer that neither reads nor goes away is given up after a while, its descriptor closed. */
static void contract_07_close_gives_up(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    static char data[64 * 1024];
    struct probe send = {.calls = 0}, close = {.calls = 0};
    tcp_pair(loop, fds);
    set_buffers(fds[1], 4096);
    plain_send(fds[1], "unread", 6);
    /* More than the peer's system takes, so that some stays with ours. */
    do {
        memset(&send, 0, sizeof send);
        send.op.deadline_ns = 50 * MS;
        ferry_send(loop, &send.op, fds[0], data, sizeof data, 0, probe_done);
        probe_wait(loop, &send);
    } while (send.result > 0);
    assert_int_equal(send.result, FERRY_ETIMEDOUT);
    close.op.deadline_ns = 100 * MS;
    uint64_t start_ns = clock_ns();
    ferry_close(loop, &close.op, fds[0], 0, probe_done);
    expect(loop, &close, FERRY_ETIMEDOUT);
    assert_true(close.called_ns - start_ns >= 100 * MS);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    close_far(fds[1]);
    finish(loop);
}

/* Nothing unread: nothing to wait for, though the peer keeps its end open. */
static void contract_07_close_is_prompt(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char got[4];
    int ended;
    struct probe send = {.calls = 0}, close = {.calls = 0};
    tcp_pair(loop, fds);
    ferry_send(loop, &send.op, fds[0], "sent", 4, 0, probe_done);
    expect(loop, &send, 4);
    uint64_t start_ns = clock_ns();
    ferry_close(loop, &close.op, fds[0], 0, probe_done);
    expect(loop, &close, 0);
    assert_true(close.called_ns - start_ns < 1500 * MS);
    assert_int_equal(far_take_all(loop, fds[1], got, 4, &ended), 4);
    assert_int_equal(ended, -1);
    assert_memory_equal(got, "sent", 4);
    close_far(fds[1]);
    finish(loop);
}

/* Sends that were submitted but did not complete have no claim; those that did, do. */
static void contract_07_close_right_after_send(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char got[64];
    int ended;
    struct probe send = {.calls = 0}, close = {.calls = 0};
    tcp_pair(loop, fds);
    ferry_send(loop, &send.op, fds[0], "hurry", 5, 0, probe_done);
    ferry_close(loop, &close.op, fds[0], 0, probe_done);
    size_t n = far_take_all(loop, fds[1], got, sizeof got, &ended);
    assert_int_equal(ended, -1);
    close_far(fds[1]);
    expect(loop, &close, 0);
    probe_wait(loop, &send);
    assert_int_equal(send.calls, 1);
    assert_true(send.result == 5 || send.result == FERRY_ECANCELED);
    assert_int_equal(n, send.transferred);
    finish(loop);
}

const struct contract_test trouble_close_tests[] = {
    {"contract_07_close_ends_what_waits", contract_07_close_ends_what_waits, 0},
    {"contract_07_submit_while_closing", contract_07_submit_while_closing, 0},
    {"contract_07_close_with_many_in_flight", contract_07_close_with_many_in_flight, 0},
    {"contract_07_close_without_an_operation", contract_07_close_without_an_operation, 0},
    {"contract_07_number_is_reused", contract_07_number_is_reused, 0},
    {"contract_07_sent_data_arrives", contract_07_sent_data_arrives, 0},
    {"contract_07_sent_data_arrives_without_an_operation",
     contract_07_sent_data_arrives_without_an_operation, 0},
    {"contract_07_close_gives_up", contract_07_close_gives_up, 0},
    {"contract_07_close_is_prompt", contract_07_close_is_prompt, 0},
    {"contract_07_close_right_after_send", contract_07_close_right_after_send, 0},
    {NULL, NULL, 0},
};
