/* rule_10_pools.c - a dry buffer pool is backpressure, not an error; and what a pool does at all
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEERS 20

/* One side of a connection, with a pooled receive on it. */
struct side {
    struct probe probe;
    ferry_loop *loop;
    ferry_pool *pool;
    ferry_fd fds[2];
    ferry_buffer *kept[64]; /* what was lent and not yet given back */
    size_t kept_count, bytes;
    int echoes; /* sends it back, and the buffer with it */
    int resubmits;
};

static void on_data(ferry_op *op) {
    struct side *s = ferry_container(op, struct side, probe.op);
    ferry_buffer *buffer = ferry_lent(op);
    probe_done(op);
    assert_true((op->result > 0) == (buffer != NULL));
    if (buffer != NULL) {
        assert_ptr_equal(buffer->pool, s->pool);
        assert_int_equal(buffer->len, op->result);
        assert_int_equal(op->transferred, op->result);
        s->bytes += buffer->len;
        if (s->echoes) {
            ferry_send(s->loop, &buffer->op, op->fd, buffer->data, buffer->len, FERRY_PUT, NULL);
        } else {
            assert_true(s->kept_count < 64);
            s->kept[s->kept_count++] = buffer;
        }
    }
    if (s->resubmits && op->result > 0 && !(op->flags & FERRY_MORE)) ferry_again(s->loop, op);
}

static void side_open(struct side *s, ferry_loop *loop, ferry_pool *pool) {
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->pool = pool;
    tcp_pair(loop, s->fds);
}

static void side_close(struct side *s) {
    while (s->kept_count > 0) ferry_pool_put(s->pool, s->kept[--s->kept_count]);
    close_far(s->fds[1]);
    close_near(s->loop, s->fds[0]);
}

static void listen_to(struct side *s, unsigned flags) {
    s->probe.calls = s->probe.finals = 0;
    ferry_recv_pool(s->loop, &s->probe.op, s->fds[0], s->pool, flags, on_data);
}

static ferry_pool *pool_open(ferry_loop *loop, size_t count, size_t size, size_t credit) {
    ferry_pool *pool = NULL;
    assert_int_equal(ferry_pool_open(loop, &pool, count, size, credit, 0), 0);
    assert_non_null(pool);
    return pool;
}

static void pool_finish(ferry_loop *loop, ferry_pool *pool) {
    assert_int_equal(ferry_pool_close(pool), 0);
    finish(loop);
}

/* Runs until so many completions have been delivered, or fails after 20 s. */
static void wait_calls(struct side *s, int calls) {
    uint64_t limit_ns = clock_ns() + 20 * SECOND * TEST_STRETCH;
    while (s->probe.calls < calls) {
        assert_true(clock_ns() < limit_ns);
        run_for(s->loop, MS);
    }
}

/* ---- What it does ------------------------------------------------------------------------ */

static void echo_with(unsigned flags) {
    ferry_loop *loop = test_loop();
    ferry_pool *pool = pool_open(loop, 8, 256, 0);
    struct side s;
    side_open(&s, loop, pool);
    s.echoes = 1;
    s.resubmits = !(flags & FERRY_MULTI);
    listen_to(&s, flags);
    char out[1000], in[1000];
    for (unsigned round = 0; round < 100; round++) {
        size_t len = 1 + round * 9;
        fill(out, len, round);
        plain_send(s.fds[1], out, len);
        far_expect(loop, s.fds[1], in, len);
        assert_true(is_filled(in, len, round));
    }
    assert_int_equal(s.probe.finals == 0, (flags & FERRY_MULTI) != 0);
    shutdown(s.fds[1], SHUT_WR);
    while (s.probe.finals == 0 || !(s.probe.flags & FERRY_EOF)) run_for(loop, MS);
    assert_int_equal(s.probe.result, 0);
    assert_int_equal(s.probe.flags, FERRY_EOF);
    side_close(&s);
    pool_finish(loop, pool);
}

static void ops_pool_echo_multi(void **state) {
    (void)state;
    echo_with(FERRY_MULTI);
}

static void ops_pool_echo_single(void **state) {
    (void)state;
    echo_with(0);
}

static void ops_pool_pipe(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 4, 100, 4);
        struct side s = {.loop = loop, .pool = pool, .resubmits = flags == 0};
        assert_int_equal(ferry_pipe(loop, s.fds), 0);
        ferry_read_pool(loop, &s.probe.op, s.fds[0], pool, flags, on_data);
        run_for(loop, MS);
        assert_int_equal(write(s.fds[1], "hello", 5), 5);
        wait_calls(&s, 1);
        assert_memory_equal(s.kept[0]->data, "hello", 5);
        assert_int_equal(write(s.fds[1], "again", 5), 5);
        wait_calls(&s, 2);
        assert_memory_equal(s.kept[1]->data, "again", 5);
        close(s.fds[1]);
        wait_calls(&s, 3);
        assert_int_equal(s.probe.result, 0);
        assert_int_equal(s.probe.flags, FERRY_EOF);
        while (s.kept_count > 0) ferry_pool_put(pool, s.kept[--s.kept_count]);
        close_near(loop, s.fds[0]);
        pool_finish(loop, pool);
    }
}

static void ops_pool_datagrams(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 16, 8, 0);
        struct side s = {.loop = loop, .pool = pool};
        unix_pair(s.fds, SOCK_DGRAM);
        for (int i = 0; i < 3; i++) { /* the second is empty, the third too long */
            assert_true(send(s.fds[1], "0123456789", i == 0 ? 4 : i == 1 ? 0 : 10, 0) >= 0);
            if (i == 0 || flags == 0) {
                ferry_recv_pool(loop, &s.probe.op, s.fds[0], pool, flags, on_data);
            }
            wait_calls(&s, i + 1);
            assert_int_equal(s.probe.result, i == 0 ? 4 : i == 1 ? 0 : 8);
            assert_int_equal(s.probe.flags, flags ? FERRY_MORE : 0);
        }
        assert_int_equal(s.kept_count, 2);
        side_close(&s);
        pool_finish(loop, pool);
    }
}

static void ops_pool_cancelled_and_timed_out(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 2, 16, 0);
        struct side s;
        side_open(&s, loop, pool);
        listen_to(&s, flags);
        run_for(loop, MS);
        ferry_cancel(loop, &s.probe.op);
        expect(loop, &s.probe, FERRY_ECANCELED);
        s.probe.op.deadline_ns = 5 * MS;
        listen_to(&s, flags);
        expect(loop, &s.probe, FERRY_ETIMEDOUT);
        s.probe.op.deadline_ns = 0;
        listen_to(&s, flags);
        ferry_cancel(loop, &s.probe.op);
        expect(loop, &s.probe, FERRY_ECANCELED);
        listen_to(&s, flags); /* and one that its close ends */
        run_for(loop, MS);
        assert_int_equal(ferry_pool_close(pool), FERRY_EBUSY);
        assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
        side_close(&s);
        pool_finish(loop, pool);
    }
}

static void ops_pool_refuses(void **state) {
    (void)state;
    ferry_loop *loop = test_loop(), *other = test_loop();
    ferry_pool *pool = pool_open(loop, 2, 16, 0), *none = NULL;
    assert_int_equal(ferry_pool_open(loop, NULL, 1, 1, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_pool_open(loop, &none, 0, 1, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_pool_open(loop, &none, 1, 0, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_pool_open(loop, &none, 32769, 1, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_pool_open(loop, &none, 1, SIZE_MAX, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_pool_open(loop, &none, 1, 1, 0, 2), FERRY_EINVAL);
    assert_null(none);
    assert_int_equal(ferry_pool_close(NULL), 0);
    struct side s;
    side_open(&s, other, pool);
    listen_to(&s, 0);
    expect(other, &s.probe, FERRY_EINVAL);
    struct probe p = {.calls = 0}, q = {.calls = 0}, r = {.calls = 0};
    ferry_recv_pool(other, &q.op, s.fds[0], NULL, 0, probe_done);
    expect(other, &q, FERRY_EFAULT);
    char data[4] = "abc";
    ferry_send(other, &p.op, s.fds[0], data, sizeof data, FERRY_PUT, probe_done);
    expect(other, &p, FERRY_EINVAL); /* not the operation of a lent buffer */
    side_close(&s);
    ferry_fd file = temp_file("file", 10, 1);
    ferry_read_pool(loop, &r.op, file, pool, 0, probe_done);
    expect(loop, &r, FERRY_EINVAL);
    close_near(loop, file);
    finish(other);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY); /* the pool is still open */
    pool_finish(loop, pool);
}

/* ---- Backpressure ------------------------------------------------------------------------ */

static void contract_10_a_dry_pool_is_backpressure(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 3, 16, 3);
        static struct side s[PEERS];
        for (int i = 0; i < PEERS; i++) {
            side_open(&s[i], loop, pool);
            listen_to(&s[i], flags);
        }
        run_for(loop, MS);
        for (int i = 0; i < PEERS; i++) plain_send(s[i].fds[1], "0123456789", 10);
        /* Three are lent; each put serves one more, until all have had theirs. */
        for (int served = 0; served < PEERS;) {
            uint64_t limit_ns = clock_ns() + 20 * SECOND * TEST_STRETCH;
            int holds = 0, calls = 0;
            while (holds < 3 && calls < PEERS) {
                assert_true(clock_ns() < limit_ns);
                run_for(loop, MS);
                holds = calls = 0;
                for (int i = 0; i < PEERS; i++) {
                    holds += (int)s[i].kept_count;
                    calls += s[i].probe.calls;
                }
            }
            assert_true(holds <= 3);
            for (int i = 0; i < PEERS; i++) {
                if (s[i].kept_count == 0) continue;
                assert_int_equal(s[i].kept_count, 1);
                assert_memory_equal(s[i].kept[0]->data, "0123456789", 10);
                ferry_pool_put(pool, s[i].kept[--s[i].kept_count]);
                served++;
                break;
            }
        }
        assert_true(loop_stats(loop).pool_dry > 0);
        for (int i = 0; i < PEERS; i++) {
            assert_int_equal(s[i].probe.calls, 1);
            assert_int_equal(s[i].bytes, 10);
            side_close(&s[i]);
        }
        pool_finish(loop, pool);
    }
}

/* Idle operations hold no buffer: with one buffer for many, who has data gets it. */
static void contract_10_nothing_waits_while_a_buffer_is_free(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 1, 16, 0);
        static struct side s[PEERS];
        for (int i = 0; i < PEERS; i++) {
            side_open(&s[i], loop, pool);
            s[i].resubmits = flags == 0;
            listen_to(&s[i], flags);
        }
        for (int round = 0; round < 3 * PEERS; round++) {
            int i = round * 7 % PEERS;
            plain_send(s[i].fds[1], "x", 1);
            wait_calls(&s[i], round / PEERS + 1);
            assert_int_equal(s[i].kept_count, 1);
            ferry_pool_put(pool, s[i].kept[--s[i].kept_count]);
        }
        for (int i = 0; i < PEERS; i++) side_close(&s[i]);
        pool_finish(loop, pool);
    }
}

static void contract_10_first_come_first_served(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 1, 16, 0);
        static struct side s[PEERS];
        for (int i = 0; i < PEERS; i++) {
            side_open(&s[i], loop, pool);
            listen_to(&s[i], flags);
            run_for(loop, MS);
            plain_send(s[i].fds[1], "x", 1);
            run_for(loop, 5 * MS);
        }
        for (int i = 0; i < PEERS; i++) {
            wait_calls(&s[i], 1);
            if (i + 1 < PEERS) assert_int_equal(s[i + 1].probe.calls, 0);
            ferry_pool_put(pool, s[i].kept[--s[i].kept_count]);
        }
        for (int i = 0; i < PEERS; i++) side_close(&s[i]);
        pool_finish(loop, pool);
    }
}

/* A peer that sends much and whose buffers do not come back takes its credit, and some that were on
 * their way; not all. */
static void contract_10_one_peer_cannot_take_all(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_pool *pool = pool_open(loop, 64, 1000, 4);
    struct side greedy, modest;
    side_open(&greedy, loop, pool);
    side_open(&modest, loop, pool);
    listen_to(&greedy, FERRY_MULTI);
    listen_to(&modest, FERRY_MULTI);
    stuff(greedy.fds[1]);
    uint64_t limit_ns = clock_ns() + 20 * SECOND * TEST_STRETCH;
    while (loop_stats(loop).pool_pauses == 0 && clock_ns() < limit_ns) run_for(loop, MS);
    run_for(loop, 50 * MS);
    assert_true(greedy.kept_count >= 4);
    assert_true(greedy.kept_count < 60);
    size_t held = greedy.kept_count;
    assert_true(loop_stats(loop).pool_pauses > 0);
    plain_send(modest.fds[1], "me too", 6);
    wait_calls(&modest, 1);
    assert_memory_equal(modest.kept[0]->data, "me too", 6);
    run_for(loop, 10 * MS);
    assert_int_equal(greedy.kept_count, held);
    /* With its buffers it goes on. */
    int calls = greedy.probe.calls;
    while (greedy.kept_count > 0) ferry_pool_put(pool, greedy.kept[--greedy.kept_count]);
    wait_calls(&greedy, calls + 1);
    assert_int_equal(greedy.probe.finals, 0);
    side_close(&modest);
    side_close(&greedy);
    pool_finish(loop, pool);
}

static void contract_10_cancelled_while_it_waits_for_a_buffer(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= FERRY_MULTI; flags += FERRY_MULTI) {
        ferry_loop *loop = test_loop();
        ferry_pool *pool = pool_open(loop, 1, 16, 0);
        static struct side s[6];
        for (int i = 0; i < 6; i++) {
            side_open(&s[i], loop, pool);
            if (i == 2) s[i].probe.op.deadline_ns = 60 * MS;
            listen_to(&s[i], flags);
            run_for(loop, MS);
            plain_send(s[i].fds[1], "x", 1);
            run_for(loop, 5 * MS);
        }
        ferry_cancel(loop, &s[1].probe.op);
        expect(loop, &s[1].probe, FERRY_ECANCELED);
        probe_wait(loop, &s[2].probe);
        assert_int_equal(s[2].probe.result, FERRY_ETIMEDOUT);
        close_near(loop, s[3].fds[0]);
        assert_int_equal(s[3].probe.result, FERRY_ECANCELED);
        ferry_pool_put(pool, s[0].kept[--s[0].kept_count]);
        wait_calls(&s[4], 1); /* the next that is still waiting */
        ferry_pool_put(pool, s[4].kept[--s[4].kept_count]);
        wait_calls(&s[5], 1);
        close_far(s[3].fds[1]);
        for (int i = 0; i < 6; i++) {
            if (i != 3) side_close(&s[i]);
        }
        pool_finish(loop, pool);
    }
}

/* ---- From other threads ------------------------------------------------------------------ */

struct returner {
    ferry_pool *pool;
    ferry_buffer *buffers[PEERS];
    size_t count;
};

static void *give_back(void *arg) {
    struct returner *r = arg;
    sleep_ns(10 * MS);
    for (size_t i = 0; i < r->count; i++) ferry_pool_put(r->pool, r->buffers[i]);
    return NULL;
}

static void contract_13_buffers_come_back_from_another_thread(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct returner r = {.count = 2};
    assert_int_equal(ferry_pool_open(loop, &r.pool, 2, 16, 0, FERRY_SHARED), 0);
    static struct side s[PEERS];
    for (int i = 0; i < PEERS; i++) {
        side_open(&s[i], loop, r.pool);
        listen_to(&s[i], 0);
        plain_send(s[i].fds[1], "x", 1);
    }
    for (int served = 0; served < PEERS; served += 2) {
        r.count = 0;
        while (r.count < 2) {
            for (int i = 0; i < PEERS; i++) {
                if (s[i].kept_count > 0) r.buffers[r.count++] = s[i].kept[--s[i].kept_count];
            }
            if (r.count < 2) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
        }
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, give_back, &r), 0);
        if (served + 2 < PEERS) ferry_run(loop, FERRY_RUN_ONCE); /* asleep until they are back */
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    for (int i = 0; i < PEERS; i++) side_close(&s[i]);
    pool_finish(loop, r.pool);
}

/* ---- Misuse ------------------------------------------------------------------------------ */

static int helper_put_wrongly(void) {
    const char *how = getenv("HOW");
    ferry_loop *loop = test_loop();
    ferry_pool *pool = pool_open(loop, 4, 16, 0), *other = pool_open(loop, 4, 16, 0);
    struct side s;
    side_open(&s, loop, pool);
    listen_to(&s, 0);
    plain_send(s.fds[1], "x", 1);
    wait_calls(&s, 1);
    ferry_buffer *buffer = s.kept[0];
    if (strcmp(how, "other") == 0) {
        ferry_pool_put(other, buffer);
    } else if (strcmp(how, "sending") == 0) {
        ferry_send(loop, &buffer->op, s.fds[0], buffer->data, buffer->len, 0, NULL);
        ferry_pool_put(pool, buffer);
    } else {
        ferry_pool_put(pool, buffer);
        ferry_pool_put(pool, buffer);
    }
    return 0;
}

static void ops_pool_put_wrongly_stops_the_program(void **state) {
    (void)state;
    const char *const hows[][2] = {{"HOW=other", "another pool"},
                                   {"HOW=sending", "in flight"},
                                   {"HOW=twice", "given back already"}};
    for (int i = 0; i < 3; i++) {
        struct helper_result result;
        helper_run("put_wrongly", (const char *const[]){hows[i][0], NULL}, &result);
        assert_int_equal(result.exited, 0);
        assert_int_equal(result.signal, SIGABRT);
        assert_non_null(strstr(result.output, hows[i][1]));
    }
}

const struct contract_helper rule_10_helpers[] = {{"put_wrongly", helper_put_wrongly},
                                                  {NULL, NULL}};

const struct contract_test rule_10_tests[] = {
    {"ops_pool_echo_multi", ops_pool_echo_multi, 0},
    {"ops_pool_echo_single", ops_pool_echo_single, 0},
    {"ops_pool_pipe", ops_pool_pipe, 0},
    {"ops_pool_datagrams", ops_pool_datagrams, 0},
    {"ops_pool_cancelled_and_timed_out", ops_pool_cancelled_and_timed_out, 0},
    {"ops_pool_refuses", ops_pool_refuses, 0},
    {"contract_10_a_dry_pool_is_backpressure", contract_10_a_dry_pool_is_backpressure, 60},
    {"contract_10_nothing_waits_while_a_buffer_is_free",
     contract_10_nothing_waits_while_a_buffer_is_free, 0},
    {"contract_10_first_come_first_served", contract_10_first_come_first_served, 0},
    {"contract_10_one_peer_cannot_take_all", contract_10_one_peer_cannot_take_all, 0},
    {"contract_10_cancelled_while_it_waits_for_a_buffer",
     contract_10_cancelled_while_it_waits_for_a_buffer, 0},
    {"contract_13_buffers_come_back_from_another_thread",
     contract_13_buffers_come_back_from_another_thread, 0},
    {"ops_pool_put_wrongly_stops_the_program", ops_pool_put_wrongly_stops_the_program, 0},
    {NULL, NULL, 0}};
