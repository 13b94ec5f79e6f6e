/* ops_accepts.c - accepting again and again with one operation
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS 100

struct listener {
    struct probe probe;
    ferry_loop *loop;
    ferry_fd fd, guests[GUESTS];
    size_t count, enough; /* cancels itself when there are enough, 0: never */
};

static void on_guest(ferry_op *op) {
    struct listener *l = ferry_container(op, struct listener, probe.op);
    probe_done(op);
    if (op->result < 0) return;
    assert_int_equal(op->flags, FERRY_MORE);
    assert_true(l->count < GUESTS);
    l->guests[l->count++] = (ferry_fd)op->result;
    if (l->count == l->enough) ferry_cancel(l->loop, op);
}

static ferry_fd visit(const ferry_addr *addr) {
    ferry_fd fd = plain_socket(AF_INET, SOCK_STREAM);
    plain_connect(fd, addr);
    return fd;
}

static void leave_all(const ferry_fd *fds, size_t count) {
    for (size_t i = 0; i < count; i++) close(fds[i]);
}

static void leave(ferry_loop *loop, struct listener *l) {
    for (size_t i = 0; i < l->count; i++) ferry_close(loop, NULL, l->guests[i], 0, NULL);
    ferry_close(loop, NULL, l->fd, 0, NULL);
    run_done(loop);
}

static void ops_accept_multi(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, peer;
    struct listener l = {.loop = loop, .fd = tcp_listener(&addr)};
    ferry_fd visitors[GUESTS];
    ferry_accept(loop, &l.probe.op, l.fd, NULL, FERRY_MULTI, on_guest);
    for (size_t i = 0; i < GUESTS; i++) {
        visitors[i] = visit(&addr);
        if (i % 7 == 0) ferry_run(loop, FERRY_RUN_NOWAIT);
    }
    while (l.count < GUESTS) ferry_run(loop, FERRY_RUN_ONCE);
    assert_int_equal(l.probe.finals, 0);
    assert_int_equal(loop_stats(loop).in_flight, 1);
    assert_int_equal(ferry_peer_addr(loop, l.guests[0], &peer), 0);
    for (size_t i = 0; i < GUESTS; i++) { /* each is a connection of its own */
        struct probe p = {.calls = 0};
        uint64_t seen = 0;
        plain_send(visitors[i], &i, sizeof i);
        ferry_recv(loop, &p.op, l.guests[i], &seen, sizeof seen, FERRY_ALL, probe_done);
        probe_wait(loop, &p);
        assert_int_equal(seen, i);
    }
    ferry_cancel(loop, &l.probe.op);
    probe_wait(loop, &l.probe);
    assert_int_equal(l.probe.result, FERRY_ECANCELED);
    assert_int_equal(l.probe.calls, GUESTS + 1);
    leave_all(visitors, GUESTS);
    leave(loop, &l);
    finish(loop);
}

static void ops_accept_multi_cancelled_by_its_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    struct listener l = {.loop = loop, .fd = tcp_listener(&addr), .enough = 1};
    ferry_fd visitors[3];
    for (size_t i = 0; i < 3; i++) visitors[i] = visit(&addr);
    ferry_accept(loop, &l.probe.op, l.fd, NULL, FERRY_MULTI, on_guest);
    probe_wait(loop, &l.probe);
    assert_int_equal(l.probe.result, FERRY_ECANCELED);
    assert_int_equal(l.probe.finals, 1);
    assert_true(l.count >= 1); /* those that had been accepted by then are not lost */
    leave_all(visitors, 3);
    leave(loop, &l);
    finish(loop);
}

/* The deadline is the longest gap between two results. */
static void contract_06_deadline_of_a_multishot_is_its_longest_gap(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    struct listener l = {.loop = loop, .fd = tcp_listener(&addr)};
    ferry_fd visitors[4];
    l.probe.op.deadline_ns = SECOND;
    uint64_t start_ns = clock_ns(), last_ns = 0;
    ferry_accept(loop, &l.probe.op, l.fd, NULL, FERRY_MULTI, on_guest);
    for (size_t i = 0; i < 4; i++) {
        run_for(loop, 300 * MS);
        last_ns = clock_ns();
        visitors[i] = visit(&addr);
        while (l.count <= i && l.probe.finals == 0) ferry_run(loop, FERRY_RUN_ONCE);
    }
    probe_wait(loop, &l.probe);
    assert_int_equal(l.probe.result, FERRY_ETIMEDOUT);
    assert_true(l.probe.called_ns - last_ns >= SECOND);
    assert_true(l.probe.called_ns - start_ns >= SECOND * 22 / 10);
    leave_all(visitors, 4);
    leave(loop, &l);
    finish(loop);
}

static void ops_accept_multi_refuses_an_address(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, peer;
    struct listener l = {.loop = loop, .fd = tcp_listener(&addr)};
    ferry_accept(loop, &l.probe.op, l.fd, &peer, FERRY_MULTI, on_guest);
    expect(loop, &l.probe, FERRY_EINVAL);
    leave(loop, &l);
    finish(loop);
}

const struct contract_test ops_accepts_tests[] = {
    {"ops_accept_multi", ops_accept_multi, 0},
    {"ops_accept_multi_cancelled_by_its_callback", ops_accept_multi_cancelled_by_its_callback, 0},
    {"ops_accept_multi_refuses_an_address", ops_accept_multi_refuses_an_address, 0},
    {"contract_06_deadline_of_a_multishot_is_its_longest_gap",
     contract_06_deadline_of_a_multishot_is_its_longest_gap, 0},
    {NULL, NULL, 0}};
