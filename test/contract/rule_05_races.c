/* Rule 5, continued: races. What was achieved is delivered, never lost; what cannot be cancelled
 * ends with its real result.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "tables.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The outcomes that a cancel may have; none of the kernel's own codes is among them. */
static int is_cancelled_or(const struct probe *p, int64_t result) {
    return p->calls == 1 && (p->result == FERRY_ECANCELED || p->result == result);
}

static void contract_05_nops_and_timers(void **state) {
    (void)state;
    enum { COUNT = 200 };
    struct probe p[COUNT] = {{.calls = 0}};
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        if (i % 2) ferry_nop(loop, &p[i].op, 0, probe_done);
        else ferry_timer(loop, &p[i].op, (uint64_t)(i % 7) * 1000, 0, 0, probe_done);
        if (i % 3 == 0) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        ferry_cancel(loop, &p[i].op);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) assert_true(is_cancelled_or(&p[i], 0));
    test_close(loop);
}

/* A receive that was cut in two: what it got is told, and is not given to the next as well. */
static void contract_05_half_a_receive(void **state) {
    (void)state;
    struct probe p = {.calls = 0}, next = {.calls = 0};
    char buf[100], rest[10];
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_recv(loop, &p.op, fds[0], buf, sizeof buf, FERRY_ALL, probe_done);
    fill(buf, sizeof buf, 0);
    char half[50];
    fill(half, sizeof half, 3);
    plain_send(fds[1], half, sizeof half);
    run_for(loop, 20 * MS);
    assert_int_equal(p.calls, 0);
    ferry_cancel(loop, &p.op);
    run_done(loop);
    probe_check(&p, FERRY_ECANCELED);
    assert_int_equal(p.transferred, sizeof half);
    assert_true(is_filled(buf, sizeof half, 3));
    plain_send(fds[1], "afterwards", 10);
    ferry_recv(loop, &next.op, fds[0], rest, 10, FERRY_ALL, probe_done);
    run_done(loop);
    probe_check(&next, 10);
    assert_memory_equal(rest, "afterwards", 10);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* Connections come in while accepts are cancelled. Each is accepted by somebody, once. */
static void contract_05_no_connection_is_lost(void **state) {
    (void)state;
    enum { ROUNDS = 200 };
    static ferry_fd clients[ROUNDS];
    ferry_addr addr;
    int accepted = 0;
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr);
    struct sockaddr *to = (struct sockaddr *)(void *)addr.data.bytes;
    for (int round = 0; round < ROUNDS; round++) {
        struct probe p = {.calls = 0};
        clients[round] = plain_socket(AF_INET, SOCK_STREAM);
        set_nonblocking(clients[round]);
        ferry_accept(loop, &p.op, listener, NULL, 0, probe_done);
        if (round % 4) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        if (connect(clients[round], to, (socklen_t)addr.len) < 0 && round % 8 == 7) sleep_ns(MS);
        if (round % 3 == 0) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        ferry_cancel(loop, &p.op);
        run_done(loop);
        assert_int_equal(p.calls, 1);
        if (p.result == FERRY_ECANCELED) continue;
        assert_true(p.result >= 0);
        close((int)p.result);
        accepted++;
    }
    for (; accepted < ROUNDS; accepted++) {
        struct probe p = {.calls = 0};
        p.op.deadline_ns = 10 * SECOND;
        ferry_accept(loop, &p.op, listener, NULL, 0, probe_done);
        probe_wait(loop, &p);
        if (p.result < 0) fail_msg("only %d of %d connections were accepted", accepted, ROUNDS);
        close((int)p.result);
    }
    test_close(loop);
    for (int i = 0; i < ROUNDS; i++) close(clients[i]);
    close(listener);
}

/* Sends that are cancelled while the reader reads: the peer gets a prefix of what was sent, of
 * exactly the length that the completions tell. */
static void contract_05_sends_tell_what_was_moved(void **state) {
    (void)state;
    enum { SIZE = 1 << 20, ROUNDS = 20 };
    char *out = malloc(SIZE), *in = malloc(SIZE);
    assert_true(out && in);
    fill(out, SIZE, 11);
    ferry_loop *loop = test_loop();
    for (int round = 0; round < ROUNDS; round++) {
        struct probe p = {.calls = 0};
        size_t got = 0;
        ssize_t n = 0;
        ferry_fd fds[2];
        tcp_pair(loop, fds);
        ferry_send(loop, &p.op, fds[0], out, SIZE, 0, probe_done);
        for (int i = 0; i < round; i++) {
            assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
            n = plain_take(fds[1], in, 10000);
            assert_true(n >= 0);
            assert_true(is_filled(in, (size_t)n, 11 + got));
            got += (size_t)n;
        }
        ferry_cancel(loop, &p.op);
        probe_wait(loop, &p);
        assert_true(is_cancelled_or(&p, SIZE));
        if (p.result == SIZE) assert_int_equal(p.transferred, SIZE);
        assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
        while ((n = recv(fds[1], in, SIZE, MSG_WAITALL)) != 0) {
            if (n < 0) continue; /* interrupted */
            assert_true(is_filled(in, (size_t)n, 11 + got));
            got += (size_t)n;
        }
        assert_int_equal(got, p.transferred);
        assert_int_equal(ferry_forget(loop, fds[0]), 0);
        close(fds[0]);
        close(fds[1]);
    }
    test_close(loop);
    free(out);
    free(in);
}

static void contract_05_waiting_in_a_lane_ends_at_once(void **state) {
    (void)state;
    struct probe first = {.calls = 0}, second = {.calls = 0}, third = {.calls = 0};
    char a[4], b[4], c[4];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &first.op, fds[0], a, 4, FERRY_ALL, probe_done);
    ferry_recv(loop, &second.op, fds[0], b, 4, FERRY_ALL, probe_done);
    ferry_recv(loop, &third.op, fds[0], c, 4, FERRY_ALL, probe_done);
    run_for(loop, 2 * MS);
    ferry_cancel(loop, &second.op);
    probe_wait(loop, &second);
    probe_check(&second, FERRY_ECANCELED);
    assert_int_equal(first.calls + third.calls, 0);
    plain_send(fds[1], "abcdefgh", 8);
    run_done(loop);
    probe_check(&first, 4);
    probe_check(&third, 4);
    assert_memory_equal(a, "abcd", 4);
    assert_memory_equal(c, "efgh", 4);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static void contract_05_close_and_post_are_never_cancelled(void **state) {
    (void)state;
    struct probe closed = {.calls = 0}, posted = {.calls = 0};
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_close(loop, &closed.op, fds[0], 0, probe_done);
    assert_int_equal(ferry_post(loop, &posted.op, probe_done), 0);
    ferry_cancel(loop, &closed.op);
    ferry_cancel(loop, &posted.op);
    ferry_cancel_fd(loop, fds[0]);
    run_done(loop);
    probe_check(&closed, 0);
    probe_check(&posted, 0);
    assert_false(is_open(fds[0]));
    test_close(loop);
    close(fds[1]);
}

/* Until started: a file operation ends with its real result or with FERRY_ECANCELED, and then it
 * has left the file alone. */
static void contract_05_file_operations(void **state) {
    (void)state;
    enum { COUNT = 100 };
    struct probe p[COUNT] = {{.calls = 0}};
    char out[COUNT], in[COUNT];
    ferry_fd fd = temp_file("data", 0, 0);
    assert_int_equal(ftruncate(fd, COUNT), 0);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        out[i] = (char)(i + 1);
        ferry_write(loop, &p[i].op, fd, &out[i], 1, (uint64_t)i, 0, probe_done);
    }
    for (int i = 0; i < COUNT; i += 2) ferry_cancel(loop, &p[i].op);
    run_done(loop);
    assert_int_equal(pread(fd, in, COUNT, 0), COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (i % 2) probe_check(&p[i], 1);
        assert_true(is_cancelled_or(&p[i], 1));
        assert_int_equal(in[i], p[i].result == 1 ? out[i] : 0);
    }
    test_close(loop);
    close(fd);
}

static struct probe ticks;

static void cancels_itself_done(ferry_op *op) {
    probe_done(op);
    ferry_cancel(op->user, op); /* the second time it is idle */
}

static void contract_05_in_its_own_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ticks.op.user = loop;
    ferry_timer(loop, &ticks.op, MS, MS, 0, cancels_itself_done);
    run_done(loop);
    assert_int_equal(ticks.calls, 2);
    assert_int_equal(ticks.finals, 1);
    assert_int_equal(ticks.result, FERRY_ECANCELED);
    test_close(loop);
}

/* ---- A cancel against what comes ------------------------------------------------------------- */

#define TRIES 10000
#define WAIT_MAX (1u << 20)

static struct {
    ferry_loop *loop;
    ferry_fd fds[2];   /* ours, the peer's */
    atomic_uint asked; /* how many bytes the peer is to have sent */
    unsigned wait;
    unsigned data, cancels; /* how often either was first */
} race;

static void *peer_runs(void *arg) {
    (void)arg;
    for (unsigned sent = 0; sent < TRIES; sent++) {
        char byte = (char)sent;
        while (atomic_load(&race.asked) == sent) sched_yield();
        plain_send(race.fds[1], &byte, 1);
    }
    return NULL;
}

/* The wait before the cancel finds by itself where either may win: a little less after the byte was
 * first, a little more after the cancel was. */
static void count_winner(int came) {
    unsigned step = race.wait / 8 + 1;
    if (came) {
        race.data++;
        race.wait -= race.wait > step ? step : race.wait;
    } else {
        race.cancels++;
        if (race.wait < WAIT_MAX) race.wait += step;
    }
}

/* The loop's own thread looks for the byte meanwhile. */
static void turns_then_cancel(struct probe *p) {
    atomic_fetch_add(&race.asked, 1);
    for (unsigned i = 0; i < race.wait && p->calls == 0; i++) {
        assert_true(ferry_run(race.loop, FERRY_RUN_NOWAIT) >= 0);
    }
    ferry_cancel(race.loop, &p->op);
}

/* The loop is away meanwhile. */
static void spin_then_cancel(ferry_op *op) {
    struct probe *p = op->user;
    atomic_fetch_add(&race.asked, 1);
    for (unsigned i = 0; i < race.wait; i++) atomic_thread_fence(memory_order_seq_cst);
    ferry_cancel(race.loop, &p->op);
}

/* Each byte is received once, by the receive that was to be cancelled or by the one after it. */
static void race_once(int in_callback, char expected) {
    struct probe p = {.calls = 0}, next = {.calls = 0};
    ferry_op nop = {.user = &p};
    char byte = 0;
    ferry_recv(race.loop, &p.op, race.fds[0], &byte, 1, 0, probe_done);
    assert_true(ferry_run(race.loop, FERRY_RUN_NOWAIT) >= 0);
    if (in_callback) ferry_nop(race.loop, &nop, 0, spin_then_cancel);
    else turns_then_cancel(&p);
    run_done(race.loop);
    assert_true(is_cancelled_or(&p, 1));
    assert_int_equal(p.transferred, p.result == 1);
    count_winner(p.result == 1);
    if (p.result != 1) {
        ferry_recv(race.loop, &next.op, race.fds[0], &byte, 1, 0, probe_done);
        run_done(race.loop);
        probe_check(&next, 1);
    }
    assert_int_equal(byte, expected);
}

static void race_often(int in_callback) {
    pthread_t thread;
    memset(&race, 0, sizeof race);
    race.loop = test_loop();
    tcp_pair(race.loop, race.fds);
    assert_int_equal(pthread_create(&thread, NULL, peer_runs, NULL), 0);
    for (unsigned try = 0; try < TRIES; try++) race_once(in_callback, (char)try);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(race.data, TRIES / 100, TRIES);
    assert_in_range(race.cancels, TRIES / 100, TRIES);
    test_close(race.loop);
    for (int i = 0; i < 2; i++) close(race.fds[i]);
}

static void contract_05_either_the_cancel_or_the_data(void **state) {
    (void)state;
    race_often(0);
}

/* Where a thread of the library's receives all the time. */
static void contract_05_a_cancel_while_another_thread_receives(void **state) {
    (void)state;
    if (strstr(test_config(), "dedicated")) race_often(1);
}

/* ---- The same with a thread that stands in --------------------------------------------------- */

/* It comes when the loop has been away for some milliseconds: so a callback waits for that, and
 * then the peer writes to many sockets one after the other, each a try of its own. */
#define GROUP 50
#define GROUPS (TRIES / GROUP)

static struct {
    ferry_fd first[2]; /* whose byte is gone when the thread has come */
    ferry_fd fds[GROUP][2];
    struct probe sentinel, p[GROUP];
    char byte[GROUP], sentinel_byte;
    atomic_uint asked; /* groups */
    int came;
} group;

static void *group_peer_runs(void *arg) {
    (void)arg;
    for (unsigned sent = 0; sent < GROUPS; sent++) {
        char byte = (char)sent;
        while (atomic_load(&group.asked) == sent) sched_yield();
        for (int i = 0; i < GROUP; i++) plain_send(group.fds[i][1], &byte, 1);
    }
    return NULL;
}

static size_t unread_bytes(ferry_fd fd) {
    char bytes[16];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

static void group_cancel(ferry_op *op) {
    uint64_t start_ns = clock_ns();
    (void)op;
    plain_send(group.first[1], "x", 1);
    while (unread_bytes(group.first[0]) > 0 && clock_ns() - start_ns < 5 * SECOND) {
        sleep_ns(MS / 10);
    }
    group.came = unread_bytes(group.first[0]) == 0;
    atomic_fetch_add(&group.asked, 1);
    for (unsigned i = 0; i < race.wait; i++) atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < GROUP; i++) ferry_cancel(race.loop, &group.p[i].op);
}

static void group_once(char expected) {
    ferry_op nop = {.user = NULL};
    unsigned data = 0;
    memset(group.p, 0, sizeof group.p);
    memset(&group.sentinel, 0, sizeof group.sentinel);
    ferry_recv(race.loop, &group.sentinel.op, group.first[0], &group.sentinel_byte, 1, 0,
               probe_done);
    for (int i = 0; i < GROUP; i++) {
        ferry_recv(race.loop, &group.p[i].op, group.fds[i][0], &group.byte[i], 1, 0, probe_done);
    }
    assert_true(ferry_run(race.loop, FERRY_RUN_NOWAIT) >= 0);
    ferry_nop(race.loop, &nop, 0, group_cancel);
    run_done(race.loop);
    probe_check(&group.sentinel, 1);
    assert_true(group.came);
    for (int i = 0; i < GROUP; i++) {
        assert_true(is_cancelled_or(&group.p[i], 1));
        assert_int_equal(group.p[i].transferred, group.p[i].result == 1);
        data += group.p[i].result == 1;
        if (group.p[i].result == 1) continue;
        struct probe next = {.calls = 0};
        ferry_recv(race.loop, &next.op, group.fds[i][0], &group.byte[i], 1, 0, probe_done);
        run_done(race.loop);
        probe_check(&next, 1);
    }
    for (int i = 0; i < GROUP; i++) assert_int_equal(group.byte[i], expected);
    race.data += data;
    race.cancels += GROUP - data;
    if (data > GROUP / 2) race.wait -= race.wait / 8;
    else if (race.wait < WAIT_MAX) race.wait += race.wait / 8 + 10;
}

static void contract_05_a_cancel_while_a_thread_stands_in(void **state) {
    (void)state;
    pthread_t thread;
    int reads = strncmp(test_config(), "epoll", 5) == 0 || strncmp(test_config(), "kqueue", 6) == 0;
    if (!reads || strstr(test_config(), "dedicated") || strstr(test_config(), "inline")) return;
    memset(&race, 0, sizeof race);
    memset(&group, 0, sizeof group);
    race.loop = test_loop();
    tcp_pair(race.loop, group.first);
    for (int i = 0; i < GROUP; i++) tcp_pair(race.loop, group.fds[i]);
    assert_int_equal(pthread_create(&thread, NULL, group_peer_runs, NULL), 0);
    for (unsigned i = 0; i < GROUPS; i++) group_once((char)i);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(race.data, TRIES / 100, TRIES);
    assert_in_range(race.cancels, TRIES / 100, TRIES);
    test_close(race.loop);
    for (int i = 0; i < 2; i++) {
        close(group.first[i]);
        for (int k = 0; k < GROUP; k++) close(group.fds[k][i]);
    }
}

const struct contract_test rule_05_race_tests[] = {
    {"contract_05_nops_and_timers", contract_05_nops_and_timers, 0},
    {"contract_05_half_a_receive", contract_05_half_a_receive, 0},
    {"contract_05_no_connection_is_lost", contract_05_no_connection_is_lost, 0},
    {"contract_05_sends_tell_what_was_moved", contract_05_sends_tell_what_was_moved, 0},
    {"contract_05_waiting_in_a_lane_ends_at_once", contract_05_waiting_in_a_lane_ends_at_once, 0},
    {"contract_05_close_and_post_are_never_cancelled",
     contract_05_close_and_post_are_never_cancelled, 0},
    {"contract_05_file_operations", contract_05_file_operations, 0},
    {"contract_05_in_its_own_callback", contract_05_in_its_own_callback, 0},
    {"contract_05_either_the_cancel_or_the_data", contract_05_either_the_cancel_or_the_data, 120},
    {"contract_05_a_cancel_while_another_thread_receives",
     contract_05_a_cancel_while_another_thread_receives, 120},
    {"contract_05_a_cancel_while_a_thread_stands_in", contract_05_a_cancel_while_a_thread_stands_in,
     120},
    {NULL, NULL, 0}};
