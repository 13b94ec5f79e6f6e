/* ops_adapter.c - what moves while nobody runs the loop
 *
 * Where the system only tells of readiness, a thread of the library's does the work of a loop that
 * is away. It is the peer that says so: all of what it had to send is gone, or all that it wanted
 * has come, before the callback that keeps the loop's thread has returned.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "tables.h"
#include "trouble_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES ((size_t)8 << 20)
#define BUFFER_BYTES (64 << 10) /* of the sockets: far from all of it fits */
#define SEED 77

struct peer {
    ferry_fd fd;
    char *bytes;
    atomic_int has_ended;
};

struct away {
    ferry_op timer;
    struct peer *peer;
    int saw_the_end; /* of the peer, while the callback had not returned */
};

static void *peer_sends(void *arg) {
    struct peer *peer = arg;
    plain_send(peer->fd, peer->bytes, BYTES);
    atomic_store(&peer->has_ended, 1);
    return NULL;
}

static void *peer_receives(void *arg) {
    struct peer *peer = arg;
    plain_recv(peer->fd, peer->bytes, BYTES);
    atomic_store(&peer->has_ended, 1);
    return NULL;
}

/* A callback that takes its time. */
static void stay_away(ferry_op *op) {
    struct away *away = ferry_container(op, struct away, timer);
    uint64_t start_ns = clock_ns();
    while (!atomic_load(&away->peer->has_ended) && clock_ns() - start_ns < 20 * SECOND) {
        sleep_ns(MS);
    }
    away->saw_the_end = atomic_load(&away->peer->has_ended);
}

static void small_buffers(ferry_fd fd) {
    int bytes = BUFFER_BYTES;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

static int has_thread(void) {
    return strcmp(test_backend(), "uring") != 0 && strcmp(test_backend(), "iocp") != 0 &&
           !strstr(test_config(), "inline");
}

static void moves_while_away(int receives) {
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    pthread_t thread;
    char *mine = malloc(BYTES);
    struct peer peer = {.bytes = malloc(BYTES)};
    struct probe p = {.calls = 0};
    struct away away = {.peer = &peer};
    assert_true(mine && peer.bytes);
    tcp_pair(loop, fds);
    small_buffers(fds[0]);
    small_buffers(fds[1]);
    peer.fd = fds[1];
    fill(receives ? peer.bytes : mine, BYTES, SEED);
    if (receives) {
        ferry_recv(loop, &p.op, fds[0], mine, BYTES, FERRY_ALL, probe_done);
    } else {
        ferry_send(loop, &p.op, fds[0], mine, BYTES, 0, probe_done);
    }
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(pthread_create(&thread, NULL, receives ? peer_sends : peer_receives, &peer),
                     0);
    if (has_thread()) {
        ferry_timer(loop, &away.timer, 0, 0, 0, stay_away);
        while (!atomic_load(&peer.has_ended)) ferry_run(loop, FERRY_RUN_ONCE);
        assert_int_equal(away.saw_the_end, 1);
    }
    expect_all(loop, &p, (int64_t)BYTES, BYTES, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(is_filled(receives ? mine : peer.bytes, BYTES, SEED));
    close_near(loop, fds[0]);
    close_far(fds[1]);
    free(mine);
    free(peer.bytes);
    finish(loop);
}

static void ops_adapter_receives_while_a_callback_sleeps(void **state) {
    (void)state;
    moves_while_away(1);
}

static void ops_adapter_sends_while_a_callback_sleeps(void **state) {
    (void)state;
    moves_while_away(0);
}

#define MESSAGES 8
#define MESSAGE_BYTES 64

/* A receive with a pool that goes on: what has come, one after the other, and how much of it had
 * been taken from the socket while a callback slept. */
struct pooled {
    ferry_op receive;
    ferry_op timer;
    ferry_pool *pool;
    ferry_fd fds[2];
    int taken_early, ended;
    int came; /* bytes */
};

static void on_pooled(ferry_op *op) {
    struct pooled *p = ferry_container(op, struct pooled, receive);
    ferry_buffer *buffer = ferry_lent(op);
    if (buffer == NULL) {
        assert_int_equal(op->result, 0);
        p->ended = 1;
        return;
    }
    for (size_t i = 0; i < buffer->len; i++) {
        assert_int_equal(((const char *)buffer->data)[i], 'a' + p->came++ / MESSAGE_BYTES);
    }
    ferry_pool_put(p->pool, buffer);
}

static int is_taken(ferry_fd fd) {
    char byte;
    uint64_t start_ns = clock_ns();
    while (clock_ns() - start_ns < 20 * SECOND) {
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) return 1;
        sleep_ns(MS);
    }
    return 0;
}

static void send_and_sleep(ferry_op *op) {
    struct pooled *p = ferry_container(op, struct pooled, timer);
    char message[MESSAGE_BYTES];
    for (int i = 0; i < MESSAGES; i++) {
        memset(message, 'a' + i, sizeof message);
        plain_send(p->fds[1], message, sizeof message);
        if (has_thread()) p->taken_early += is_taken(p->fds[0]);
    }
}

static void ops_adapter_fills_buffers_of_a_pool_while_a_callback_sleeps(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct pooled p = {.came = 0};
    assert_int_equal(ferry_pool_open(loop, &p.pool, 4 * MESSAGES, MESSAGE_BYTES, 2 * MESSAGES, 0),
                     0);
    tcp_pair(loop, p.fds);
    ferry_recv_pool(loop, &p.receive, p.fds[0], p.pool, FERRY_MULTI, on_pooled);
    ferry_run(loop, FERRY_RUN_NOWAIT);
    ferry_timer(loop, &p.timer, 0, 0, 0, send_and_sleep);
    while (p.came < MESSAGES * MESSAGE_BYTES) ferry_run(loop, FERRY_RUN_ONCE);
    if (has_thread()) assert_int_equal(p.taken_early, MESSAGES);
    close_far(p.fds[1]);
    while (!p.ended) ferry_run(loop, FERRY_RUN_ONCE);
    close_near(loop, p.fds[0]);
    assert_int_equal(ferry_pool_close(p.pool), 0);
    finish(loop);
}

const struct contract_test ops_adapter_tests[] = {
    {"ops_adapter_receives_while_a_callback_sleeps", ops_adapter_receives_while_a_callback_sleeps,
     60},
    {"ops_adapter_sends_while_a_callback_sleeps", ops_adapter_sends_while_a_callback_sleeps, 60},
    {"ops_adapter_fills_buffers_of_a_pool_while_a_callback_sleeps",
     ops_adapter_fills_buffers_of_a_pool_while_a_callback_sleeps, 200},
    {NULL, NULL, 0},
};
