/* Rule 5: cancelling is a request, the completion is the answer.
 *
 * The target ends with its result if it won the race, else with FERRY_ECANCELED; what was achieved
 * is delivered. Cancelling twice, or something idle, does nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void contract_05_idle_is_a_no_op(void **state) {
    (void)state;
    struct probe never = {.calls = 0}, done = {.calls = 0}, other = {.calls = 0};
    ferry_fd fds[2];
    char buf[4];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_cancel(loop, &never.op);
    ferry_nop(loop, &done.op, 0, probe_done);
    run_done(loop);
    ferry_recv(loop, &other.op, fds[0], buf, sizeof buf, 0, probe_done);
    ferry_cancel(loop, &done.op);
    ferry_cancel(loop, &never.op);
    ferry_cancel_fd(loop, fds[1]); /* open, but never used here */
    ferry_cancel_fd(loop, FERRY_FD_NONE);
    ferry_cancel_fd(loop, 1 << 20);
    run_for(loop, 5 * MS);
    assert_int_equal(never.calls, 0);
    probe_check(&done, 0);
    assert_int_equal(other.calls, 0);
    /* An operation that was cancelled while idle is as good as new. */
    ferry_nop(loop, &never.op, 0, probe_done);
    probe_wait(loop, &never);
    probe_check(&never, 0);
    ferry_cancel(loop, &other.op);
    run_done(loop);
    probe_check(&other, FERRY_ECANCELED);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Every kind that can always be cancelled ------------------------------------------- */

enum {
    ACCEPT,
    CONNECT,
    RECV,
    RECVV,
    RECV_ALL,
    SEND,
    SENDV,
    PIPE_READ,
    PIPE_WRITE,
    FIFO,
    TIMER,
    FAR_TIMER,
    KINDS
};

struct stage {
    ferry_loop *loop;
    struct probe p[KINDS];
    ferry_fd listener, full, connecting, queued[8], recv[2], send[2], pipe[2], full_pipe[2];
    int queued_count;
    ferry_addr addr, full_addr;
    char buf[KINDS][16];
    ferry_vec in, out;
    char *big;
    char *fifo;
};

/* A listener whose queue is full answers no more connects: they stay pending. */
static void stage_full_listener(struct stage *s) {
    s->full = tcp_listener(&s->full_addr);
    assert_int_equal(listen(s->full, 1), 0);
    struct sockaddr *to = (struct sockaddr *)(void *)s->full_addr.data.bytes;
    for (s->queued_count = 0; s->queued_count < 8; s->queued_count++) {
        ferry_fd fd = plain_socket(AF_INET, SOCK_STREAM);
        set_nonblocking(fd);
        if (connect(fd, to, (socklen_t)s->full_addr.len) < 0) assert_int_equal(errno, EINPROGRESS);
        s->queued[s->queued_count] = fd;
    }
    sleep_ns(2 * MS);
}

static void stage_open(struct stage *s) {
    memset(s, 0, sizeof *s);
    s->loop = test_loop();
    s->listener = tcp_listener(&s->addr);
    stage_full_listener(s);
    s->connecting = plain_socket(AF_INET, SOCK_STREAM);
    tcp_pair(s->loop, s->recv);
    unix_pair(s->send, SOCK_STREAM);
    plain_stuff(s->send[0]);
    plain_pipe(s->pipe);
    plain_pipe(s->full_pipe);
    set_nonblocking(s->full_pipe[0]);
    set_nonblocking(s->full_pipe[1]);
    s->big = calloc(1, 1 << 20);
    assert_non_null(s->big);
    while (write(s->full_pipe[1], s->big, 4096) > 0) {
    }
    assert_int_equal(fcntl(s->full_pipe[1], F_SETFL, 0), 0);
    s->fifo = temp_path("fifo");
    unlink(s->fifo);
    if (!TEST_WINDOWS) assert_int_equal(mkfifo(s->fifo, 0600), 0);
    s->in.data = s->buf[RECVV];
    s->in.len = s->out.len = 16;
    s->out.data = s->buf[SENDV];
}

static void stage_submit(struct stage *s) {
    ferry_loop *loop = s->loop;
    struct probe *p = s->p;
    ferry_accept(loop, &p[ACCEPT].op, s->listener, NULL, 0, probe_done);
    ferry_connect(loop, &p[CONNECT].op, s->connecting, &s->full_addr, 0, probe_done);
    ferry_recv(loop, &p[RECV].op, s->recv[0], s->buf[RECV], 16, 0, probe_done);
    ferry_recvv(loop, &p[RECVV].op, s->recv[0], &s->in, 1, 0, probe_done);
    ferry_recv(loop, &p[RECV_ALL].op, s->recv[1], s->buf[RECV_ALL], 16, FERRY_ALL, probe_done);
    ferry_send(loop, &p[SEND].op, s->send[0], s->big, 1 << 20, 0, probe_done);
    ferry_sendv(loop, &p[SENDV].op, s->send[0], &s->out, 1, 0, probe_done);
    ferry_read(loop, &p[PIPE_READ].op, s->pipe[0], s->buf[PIPE_READ], 16, FERRY_CURRENT, 0,
               probe_done);
    ferry_write(loop, &p[PIPE_WRITE].op, s->full_pipe[1], s->big, 1 << 20, FERRY_CURRENT, 0,
                probe_done);
    if (TEST_WINDOWS) ferry_timer(loop, &p[FIFO].op, 60 * SECOND, 0, 0, probe_done);
    else ferry_open(loop, &p[FIFO].op, s->fifo, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_timer(loop, &p[TIMER].op, 60 * SECOND, SECOND, 0, probe_done);
    ferry_timer(loop, &p[FAR_TIMER].op, UINT64_MAX, 0, 0, probe_done);
}

static void stage_close(struct stage *s) {
    test_close(s->loop);
    ferry_fd mine[] = {s->listener, s->full,         s->connecting,  s->recv[0],
                       s->recv[1],  s->send[0],      s->send[1],     s->pipe[0],
                       s->pipe[1],  s->full_pipe[0], s->full_pipe[1]};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) close(mine[i]);
    for (int i = 0; i < s->queued_count; i++) close(s->queued[i]);
    free(s->big);
}

static void stage_check(struct stage *s) {
    for (int i = 0; i < KINDS; i++) {
        probe_check(&s->p[i], FERRY_ECANCELED);
        assert_int_equal(s->p[i].transferred, 0);
    }
}

static void contract_05_cancelled_in_flight(void **state) {
    (void)state;
    static struct stage s;
    stage_open(&s);
    stage_submit(&s);
    run_for(s.loop, 10 * MS);
    for (int i = 0; i < KINDS; i++) assert_int_equal(s.p[i].calls, 0);
    for (int i = 0; i < KINDS; i++) ferry_cancel(s.loop, &s.p[i].op);
    for (int i = 0; i < KINDS; i++) assert_int_equal(s.p[i].calls, 0); /* never inside the call */
    for (int i = 0; i < KINDS; i++) ferry_cancel(s.loop, &s.p[i].op);
    run_done(s.loop);
    stage_check(&s);
    stage_close(&s);
}

/* Before the system has heard of them; some before the loop has ever run. */
static void contract_05_cancelled_before_the_flush(void **state) {
    (void)state;
    static struct stage s;
    stage_open(&s);
    for (int round = 0; round < 2; round++) {
        memset(s.p, 0, sizeof s.p);
        stage_submit(&s);
        for (int i = KINDS - 1; i >= 0; i--) ferry_cancel(s.loop, &s.p[i].op);
        run_done(s.loop);
        stage_check(&s);
    }
    stage_close(&s);
}

/* By descriptor: all but the two timers, the FIFO and what others do. */
static void contract_05_cancel_fd_ends_all_on_it(void **state) {
    (void)state;
    static struct stage s;
    stage_open(&s);
    stage_submit(&s);
    run_for(s.loop, 5 * MS);
    ferry_cancel_fd(s.loop, s.recv[0]);
    ferry_cancel_fd(s.loop, s.recv[0]);
    probe_wait(s.loop, &s.p[RECV]);
    probe_wait(s.loop, &s.p[RECVV]);
    run_for(s.loop, 5 * MS);
    for (int i = 0; i < KINDS; i++) {
        assert_int_equal(s.p[i].calls, i == RECV || i == RECVV ? 1 : 0);
    }
    ferry_fd others[] = {s.listener, s.connecting, s.recv[1], s.send[0], s.pipe[0], s.full_pipe[1]};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ferry_cancel_fd(s.loop, others[i]);
    }
    probe_wait_all(s.loop, s.p, FIFO);
    for (int i = FIFO; i < KINDS; i++) {
        assert_int_equal(s.p[i].calls, 0);
        ferry_cancel(s.loop, &s.p[i].op);
    }
    run_done(s.loop);
    stage_check(&s);
    stage_close(&s);
}

/* Afterwards the descriptor works as before: nothing of the cancelled operations is left on it. */
static void contract_05_descriptor_lives_on(void **state) {
    (void)state;
    static struct stage s;
    struct probe in = {.calls = 0}, accepted = {.calls = 0}, connected = {.calls = 0};
    char buf[4];
    stage_open(&s);
    stage_submit(&s);
    run_for(s.loop, 5 * MS);
    for (int i = 0; i < KINDS; i++) ferry_cancel(s.loop, &s.p[i].op);
    run_done(s.loop);

    ferry_fd client = plain_socket(AF_INET, SOCK_STREAM);
    plain_send(s.recv[1], "next", 4);
    ferry_recv(s.loop, &in.op, s.recv[0], buf, 4, FERRY_ALL, probe_done);
    ferry_accept(s.loop, &accepted.op, s.listener, NULL, 0, probe_done);
    ferry_connect(s.loop, &connected.op, client, &s.addr, 0, probe_done);
    run_done(s.loop);
    probe_check(&in, 4);
    assert_memory_equal(buf, "next", 4);
    probe_check(&connected, 0);
    assert_true(accepted.result >= 0);
    close((int)accepted.result);
    close(client);
    stage_close(&s);
}

const struct contract_test rule_05_tests[] = {
    {"contract_05_idle_is_a_no_op", contract_05_idle_is_a_no_op, 0},
    {"contract_05_cancelled_in_flight", contract_05_cancelled_in_flight, 0},
    {"contract_05_cancelled_before_the_flush", contract_05_cancelled_before_the_flush, 0},
    {"contract_05_cancel_fd_ends_all_on_it", contract_05_cancel_fd_ends_all_on_it, 0},
    {"contract_05_descriptor_lives_on", contract_05_descriptor_lives_on, 0},
    {NULL, NULL, 0}};
