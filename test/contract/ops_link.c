/* ops_link.c - one operation after another
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A receive that stays until the test says so, and what hangs on it. */
struct pair {
    ferry_loop *loop;
    ferry_fd fds[2];
    struct probe first, then;
    char byte;
};

static void pair_open(struct pair *p) {
    memset(p, 0, sizeof *p);
    p->loop = test_loop();
    unix_pair(p->fds, SOCK_STREAM);
    ferry_recv(p->loop, &p->first.op, p->fds[0], &p->byte, 1, 0, probe_done);
    assert_int_equal(ferry_link(p->loop, &p->first.op, &p->then.op), 0);
}

static void pair_close(struct pair *p) {
    if (is_open(p->fds[0])) close_near(p->loop, p->fds[0]);
    close_far(p->fds[1]);
    finish(p->loop);
}

static void pair_let(struct pair *p) {
    plain_send(p->fds[1], "x", 1);
}

static void pair_fail(struct pair *p) {
    ferry_cancel(p->loop, &p->first.op);
}

/* first has ended with this, and then after it with that. */
static void pair_expect(struct pair *p, int64_t first, int64_t then) {
    expect(p->loop, &p->first, first);
    expect(p->loop, &p->then, then);
    assert_true(p->first.order < p->then.order);
}

/* ---- Success and failure --------------------------------------------------------------- */

static void ops_link_starts_after_success(void **state) {
    (void)state;
    struct pair p;
    char got;
    pair_open(&p);
    ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
    run_for(p.loop, 5 * MS);
    assert_int_equal(p.then.calls, 0);
    assert_int_equal(plain_take(p.fds[1], &got, 1), 0); /* not on its way either */
    assert_int_equal(loop_stats(p.loop).in_flight, 2);
    pair_let(&p);
    pair_expect(&p, 1, 1);
    plain_recv(p.fds[1], &got, 1);
    assert_int_equal(got, 'y');
    pair_close(&p);
}

static void ops_link_ends_after_failure(void **state) {
    (void)state;
    struct pair p;
    char got;
    pair_open(&p);
    ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
    pair_fail(&p);
    pair_expect(&p, FERRY_ECANCELED, FERRY_ECANCELED);
    assert_int_equal(p.then.transferred, 0);
    assert_int_equal(plain_take(p.fds[1], &got, 1), 0);
    pair_close(&p);
}

static int64_t work_seven(void *arg) {
    (void)arg;
    return 7;
}

/* Whatever kind it is. */
static void ops_link_every_kind(void **state) {
    (void)state;
    enum { NOP, TIMER, WORK, OPEN, STAT, READ, WRITE, SYNC, SHUTDOWN, RESOLVE, CLOSE, COUNT };
    static const int64_t good[COUNT] = {[WORK] = 7, [READ] = 4, [WRITE] = 4, [RESOLVE] = 1};
    for (int fails = 0; fails <= 1; fails++) {
        struct pair p;
        struct probe then[COUNT];
        char data[4] = {'a', 'b', 'c', 'd'};
        ferry_file about;
        ferry_addr addr;
        ferry_query query = {.host = "127.1"}; /* in figures, but for the resolver threads */
        char path[] = "/";
        ferry_fd extra[2];
        pair_open(&p);
        unix_pair(extra, SOCK_STREAM);
        ferry_fd file = temp_file("linked", 64, 1);
        memset(then, 0, sizeof then);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(ferry_link(p.loop, &p.first.op, &then[i].op), 0);
        }
        ferry_loop *loop = p.loop;
        ferry_nop(loop, &then[NOP].op, 0, probe_done);
        ferry_timer(loop, &then[TIMER].op, MS, 0, 0, probe_done);
        ferry_work(loop, &then[WORK].op, work_seven, NULL, 0, probe_done);
        ferry_open(loop, &then[OPEN].op, path, FERRY_OPEN_READ, 0, 0, probe_done);
        ferry_stat(loop, &then[STAT].op, path, &about, 0, probe_done);
        ferry_read(loop, &then[READ].op, file, data, 4, 0, 0, probe_done);
        ferry_write(loop, &then[WRITE].op, file, "wxyz", 4, 8, 0, probe_done);
        ferry_sync(loop, &then[SYNC].op, file, 0, probe_done);
        ferry_shutdown(loop, &then[SHUTDOWN].op, extra[0], FERRY_SHUT_WRITE, 0, probe_done);
        ferry_resolve(loop, &then[RESOLVE].op, &query, &addr, 1, 0, probe_done);
        ferry_close(loop, &then[CLOSE].op, extra[1], 0, probe_done);
        run_for(loop, 5 * MS);
        for (int i = 0; i < COUNT; i++) assert_int_equal(then[i].calls, 0);
        if (fails) {
            pair_fail(&p);
        } else {
            pair_let(&p);
        }
        probe_wait_all(loop, then, COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_true(then[i].order > p.first.order);
            if (fails) {
                probe_check(&then[i], FERRY_ECANCELED);
            } else if (i == OPEN) {
                assert_true(then[i].result >= 0);
                close_near(loop, (ferry_fd)then[i].result);
            } else {
                probe_check(&then[i], good[i]);
            }
        }
        assert_int_equal(is_open(extra[1]), fails);
        ferry_cancel(loop, &p.then.op); /* linked, and never submitted */
        if (fails) close_near(loop, extra[1]);
        close_near(loop, extra[0]);
        close_near(loop, file);
        pair_close(&p);
    }
}

/* Fewer bytes than asked are success, unless all were asked for. */
static void ops_link_short_transfers(void **state) {
    (void)state;
    for (int all = 0; all <= 1; all++) {
        ferry_loop *loop = test_loop();
        struct probe read = {.calls = 0}, then = {.calls = 0};
        char buf[100];
        ferry_fd file = temp_file("short", 10, 1);
        ferry_read(loop, &read.op, file, buf, sizeof buf, 0, all ? FERRY_ALL : 0, probe_done);
        assert_int_equal(ferry_link(loop, &read.op, &then.op), 0);
        ferry_nop(loop, &then.op, 0, probe_done);
        expect(loop, &read, 10);
        expect(loop, &then, all ? FERRY_ECANCELED : 0);
        close_near(loop, file);
        finish(loop);
    }
}

/* What a chain is for: on the disk when the last completes, none of it if the first fails. */
static void ops_link_write_then_sync(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe write = {.calls = 0}, sync = {.calls = 0}, closed = {.calls = 0};
    char data[5000], back[5000];
    fill(data, sizeof data, 3);
    ferry_fd file = temp_file("written", 0, 0);
    ferry_write(loop, &write.op, file, data, sizeof data, 0, 0, probe_done);
    assert_int_equal(ferry_link(loop, &write.op, &sync.op), 0);
    ferry_sync(loop, &sync.op, file, 0, probe_done);
    assert_int_equal(ferry_link(loop, &sync.op, &closed.op), 0);
    ferry_close(loop, &closed.op, file, 0, probe_done);
    expect(loop, &closed, 0);
    probe_check(&write, sizeof data);
    probe_check(&sync, 0);
    assert_true(write.order < sync.order && sync.order < closed.order);
    assert_false(is_open(file));
    file = open(temp_path("written"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(file, back, sizeof back), sizeof back);
    assert_memory_equal(data, back, sizeof back);
    close_far(file);
    /* The same for a file that is open for reading only. */
    file = open(temp_path("written"), O_RDONLY | O_CLOEXEC);
    memset(&write, 0, sizeof write);
    memset(&sync, 0, sizeof sync);
    ferry_write(loop, &write.op, file, data, sizeof data, 0, 0, probe_done);
    assert_int_equal(ferry_link(loop, &write.op, &sync.op), 0);
    ferry_sync(loop, &sync.op, file, 0, probe_done);
    expect(loop, &write, FERRY_EBADF);
    expect(loop, &sync, FERRY_ECANCELED);
    close_near(loop, file);
    finish(loop);
}

/* A copy, each piece read and then written from the same buffer, several pieces at a time. */
static void ops_link_read_then_write(void **state) {
    (void)state;
    enum { PIECES = 32, PIECE = 4096 };
    static char buf[PIECES][PIECE], back[PIECES * PIECE];
    ferry_loop *loop = test_loop();
    struct probe reads[PIECES], writes[PIECES];
    memset(reads, 0, sizeof reads);
    memset(writes, 0, sizeof writes);
    ferry_fd from = temp_file("from", sizeof back, 9), to = temp_file("to", 0, 0);
    for (size_t i = 0; i < PIECES; i++) {
        ferry_read(loop, &reads[i].op, from, buf[i], PIECE, i * PIECE, FERRY_ALL, probe_done);
        assert_int_equal(ferry_link(loop, &reads[i].op, &writes[i].op), 0);
        ferry_write(loop, &writes[i].op, to, buf[i], PIECE, i * PIECE, 0, probe_done);
    }
    probe_wait_all(loop, writes, PIECES);
    for (size_t i = 0; i < PIECES; i++) {
        probe_check(&reads[i], PIECE);
        probe_check(&writes[i], PIECE);
    }
    assert_int_equal(pread(to, back, sizeof back, 0), sizeof back);
    assert_true(is_filled(back, sizeof back, 9));
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

/* ---- Chains, and several on one -------------------------------------------------------- */

#define CHAIN 1000

static void chain(int fails) {
    static struct probe links[CHAIN];
    struct pair p;
    memset(links, 0, sizeof links);
    pair_open(&p);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    ferry_op *last = &p.then.op;
    for (size_t i = 0; i < CHAIN; i++) {
        assert_int_equal(ferry_link(p.loop, last, &links[i].op), 0);
        ferry_nop(p.loop, &links[i].op, 0, probe_done);
        last = &links[i].op;
    }
    run_for(p.loop, 2 * MS);
    assert_int_equal(p.then.calls, 0);
    if (fails) {
        pair_fail(&p);
    } else {
        pair_let(&p);
    }
    probe_wait_all(p.loop, links, CHAIN);
    for (size_t i = 0; i < CHAIN; i++) {
        probe_check(&links[i], fails ? FERRY_ECANCELED : 0);
        assert_int_equal(links[i].order, links[0].order + (int)i);
    }
    pair_close(&p);
}

static void ops_link_chain_of_a_thousand(void **state) {
    (void)state;
    chain(0);
}

static void ops_link_chain_that_breaks(void **state) {
    (void)state;
    chain(1);
}

static void ops_link_several_to_one(void **state) {
    (void)state;
    static struct probe many[CHAIN];
    struct pair p;
    memset(many, 0, sizeof many);
    pair_open(&p);
    for (size_t i = 0; i < CHAIN; i++) {
        assert_int_equal(ferry_link(p.loop, &p.first.op, &many[i].op), 0);
        ferry_nop(p.loop, &many[i].op, 0, probe_done);
    }
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    ferry_cancel(p.loop, &many[500].op);
    expect(p.loop, &many[500], FERRY_ECANCELED);
    pair_let(&p);
    probe_wait_all(p.loop, many, CHAIN);
    pair_expect(&p, 1, 0);
    for (size_t i = 1; i < CHAIN; i++) {
        if (i != 500) probe_check(&many[i], 0);
        if (i != 500 && i != 501) assert_int_equal(many[i].order, many[i - 1].order + 1);
    }
    pair_close(&p);
}

/* ---- What is refused ------------------------------------------------------------------- */

static void ops_link_refuses(void **state) {
    (void)state;
    struct pair p;
    struct probe other = {.calls = 0};
    pair_open(&p);
    ferry_op *first = &p.first.op, *then = &p.then.op;
    assert_int_equal(ferry_link(NULL, first, &other.op), FERRY_EINVAL);
    assert_int_equal(ferry_link(p.loop, NULL, &other.op), FERRY_EINVAL);
    assert_int_equal(ferry_link(p.loop, first, NULL), FERRY_EINVAL);
    assert_int_equal(ferry_link(p.loop, first, first), FERRY_EINVAL);
    assert_int_equal(ferry_link(p.loop, &other.op, &other.op), FERRY_EINVAL);
    assert_int_equal(ferry_link(p.loop, &other.op, first), FERRY_EINVAL); /* idle */
    assert_int_equal(ferry_link(p.loop, first, then), FERRY_EINVAL);      /* twice */
    assert_int_equal(ferry_link(p.loop, then, &other.op), FERRY_EINVAL);  /* not yet submitted */
    ferry_nop(p.loop, then, 0, probe_done);
    assert_int_equal(ferry_link(p.loop, then, first), FERRY_EINVAL); /* a circle */
    assert_int_equal(ferry_link(p.loop, then, &other.op), 0);
    ferry_nop(p.loop, &other.op, 0, probe_done);
    assert_int_equal(ferry_link(p.loop, &other.op, first), FERRY_EINVAL);
    pair_let(&p);
    pair_expect(&p, 1, 0);
    expect(p.loop, &other, 0);
    pair_close(&p);
}

/* What is not valid ends at once, and the other goes on. */
static void ops_link_bad_arguments(void **state) {
    (void)state;
    enum { FLAGS, BUFFER, NEGATIVE, CLOSED, CLOSING, PRIVATE, COUNT };
    static const int64_t error[COUNT] = {FERRY_EINVAL, FERRY_EFAULT, FERRY_EBADF,
                                         FERRY_EBADF,  FERRY_EBADF,  FERRY_EINVAL};
    struct pair p;
    struct probe bad[COUNT], closing = {.calls = 0};
    ferry_fd extra[2];
    pair_open(&p);
    memset(bad, 0, sizeof bad);
    unix_pair(extra, SOCK_STREAM);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(ferry_link(p.loop, &p.first.op, &bad[i].op), 0);
    }
    ferry_close(p.loop, &closing.op, extra[0], 0, probe_done);
    ferry_send(p.loop, &bad[FLAGS].op, p.fds[0], "x", 1, FERRY_ALL, probe_done);
    ferry_send(p.loop, &bad[BUFFER].op, p.fds[0], NULL, 1, 0, probe_done);
    ferry_recv(p.loop, &bad[NEGATIVE].op, -1, &p.byte, 1, 0, probe_done);
    ferry_recv(p.loop, &bad[CLOSED].op, closed_fd(), &p.byte, 1, 0, probe_done);
    ferry_recv(p.loop, &bad[CLOSING].op, extra[0], &p.byte, 1, 0, probe_done);
    ferry_send(p.loop, &bad[PRIVATE].op, p.fds[0], "x", 1, 0x80000000u, probe_done);
    probe_wait_all(p.loop, bad, COUNT);
    for (int i = 0; i < COUNT; i++) probe_check(&bad[i], error[i]);
    assert_int_equal(p.first.calls, 0);
    expect(p.loop, &closing, 0);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    pair_let(&p);
    pair_expect(&p, 1, 0);
    close_far(extra[1]);
    pair_close(&p);
}

static int helper_link_submitted_twice(void) {
    struct pair p;
    pair_open(&p);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    return 0;
}

static int helper_link_other_loop(void) {
    struct pair p;
    ferry_loop *other = test_loop();
    pair_open(&p);
    ferry_nop(other, &p.then.op, 0, probe_done);
    return 0;
}

static void ops_link_misuse_stops(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"link_submitted_twice", "operation nop was submitted while it is in flight"},
        {"link_other_loop", "operation nop was linked on another loop"},
    };
    for (size_t i = 0; i < 2; i++) {
        static struct helper_result result;
        helper_run(names[i][0], NULL, &result);
        assert_false(result.exited);
        assert_int_equal(result.signal, SIGABRT);
        if (!strstr(result.output, names[i][1])) fail_msg("it said: %s", result.output);
    }
}

/* ---- Ending early ---------------------------------------------------------------------- */

static void ops_link_cancelled_while_waiting(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
    run_for(p.loop, MS);
    ferry_cancel(p.loop, &p.then.op);
    ferry_cancel(p.loop, &p.then.op);
    expect(p.loop, &p.then, FERRY_ECANCELED);
    assert_int_equal(p.first.calls, 0);
    pair_let(&p);
    expect(p.loop, &p.first, 1);
    pair_close(&p);
}

static void contract_06_deadline_counts_while_linked(void **state) {
    (void)state;
    for (int absolute = 0; absolute <= 1; absolute++) {
        struct pair p;
        struct probe timer = {.calls = 0}, closes = {.calls = 0};
        unsigned flags = absolute ? FERRY_ABSOLUTE : 0;
        pair_open(&p);
        uint64_t begin = clock_ns(), deadline = 20 * MS + (absolute ? begin : 0);
        assert_int_equal(ferry_link(p.loop, &p.first.op, &timer.op), 0);
        assert_int_equal(ferry_link(p.loop, &p.first.op, &closes.op), 0);
        p.then.op.deadline_ns = timer.op.deadline_ns = closes.op.deadline_ns = deadline;
        ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, flags, probe_done);
        ferry_timer(p.loop, &timer.op, 1, 0, flags, probe_done);
        ferry_close(p.loop, &closes.op, p.fds[0], flags, probe_done);
        expect(p.loop, &p.then, FERRY_ETIMEDOUT);
        expect(p.loop, &timer, FERRY_ETIMEDOUT);
        expect(p.loop, &closes, FERRY_ETIMEDOUT);
        assert_true(p.then.called_ns - begin >= 20 * MS);
        assert_true(timer.called_ns - begin >= 20 * MS);
        assert_int_equal(p.first.calls, 0);
        assert_true(is_open(p.fds[0]));
        pair_let(&p);
        expect(p.loop, &p.first, 1);
        pair_close(&p);
    }
}

/* Its own time begins with its start, its deadline goes on. */
static void contract_06_timer_begins_when_it_starts(void **state) {
    (void)state;
    struct pair p;
    struct probe late = {.calls = 0}, plain = {.calls = 0};
    pair_open(&p);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &late.op), 0);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &plain.op), 0);
    p.then.op.deadline_ns = 60 * SECOND;
    late.op.deadline_ns = 60 * MS;
    uint64_t begin = clock_ns();
    ferry_timer(p.loop, &p.then.op, 30 * MS, 0, 0, probe_done);
    ferry_timer(p.loop, &late.op, 60 * SECOND, 0, 0, probe_done);
    ferry_timer(p.loop, &plain.op, 30 * MS, 0, 0, probe_done);
    run_for(p.loop, 20 * MS);
    pair_let(&p);
    expect(p.loop, &p.first, 1);
    expect(p.loop, &p.then, 0);
    expect(p.loop, &plain, 0);
    expect(p.loop, &late, FERRY_ETIMEDOUT);
    assert_true(p.then.called_ns - p.first.called_ns >= 30 * MS);
    assert_true(plain.called_ns - p.first.called_ns >= 30 * MS);
    assert_true(late.called_ns - begin >= 60 * MS);
    assert_true(late.called_ns - begin < 30 * SECOND);
    pair_close(&p);
}

/* Linked and let go in the very turn in which it was submitted. */
static void contract_06_timer_linked_to_a_nop(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe nop = {.calls = 0}, timer = {.calls = 0}, capped = {.calls = 0};
    ferry_nop(loop, &nop.op, 0, probe_done);
    assert_int_equal(ferry_link(loop, &nop.op, &timer.op), 0);
    assert_int_equal(ferry_link(loop, &nop.op, &capped.op), 0);
    capped.op.deadline_ns = 10 * MS;
    uint64_t begin = clock_ns();
    ferry_timer(loop, &timer.op, 10 * MS, 0, 0, probe_done);
    ferry_timer(loop, &capped.op, 60 * SECOND, 0, 0, probe_done);
    expect(loop, &timer, 0);
    expect(loop, &capped, FERRY_ETIMEDOUT);
    probe_check(&nop, 0);
    assert_true(timer.called_ns - begin >= 10 * MS);
    assert_true(capped.called_ns - begin >= 10 * MS);
    finish(loop);
}

static void ops_link_drained(void **state) {
    (void)state;
    struct pair p;
    struct probe unsubmitted = {.calls = 0}, late = {.calls = 0};
    pair_open(&p);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &unsubmitted.op), 0);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &late.op), 0);
    ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
    assert_int_equal(ferry_loop_close(p.loop), FERRY_EBUSY);
    assert_int_equal(ferry_loop_drain(p.loop, 10 * SECOND), 0);
    probe_check(&p.first, FERRY_ECANCELED);
    probe_check(&p.then, FERRY_ECANCELED);
    ferry_nop(p.loop, &late.op, 0, probe_done);
    assert_int_equal(ferry_loop_drain(p.loop, 10 * SECOND), 0);
    probe_check(&late, FERRY_ECLOSED);
    /* What was never submitted keeps no loop from closing, and is the user's. */
    test_close(p.loop);
    assert_int_equal(unsubmitted.calls, 0);
    close(p.fds[0]);
    close(p.fds[1]);
}

/* Closing a descriptor ends what waits to use it, before its number can be anybody else's. */
static void contract_07_close_ends_what_is_linked(void **state) {
    (void)state;
    struct pair p;
    struct probe more[3], closing = {.calls = 0};
    ferry_fd extra[2];
    char got;
    pair_open(&p);
    memset(more, 0, sizeof more);
    unix_pair(extra, SOCK_STREAM);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ferry_link(p.loop, &p.first.op, &more[i].op), 0);
    }
    ferry_send(p.loop, &p.then.op, extra[0], "y", 1, 0, probe_done);
    ferry_send(p.loop, &more[0].op, extra[0], "y", 1, 0, probe_done);
    ferry_close(p.loop, &more[1].op, extra[0], 0, probe_done);
    ferry_send(p.loop, &more[2].op, extra[1], "z", 1, 0, probe_done); /* the other end stays */
    assert_int_equal(ferry_forget(p.loop, extra[0]), FERRY_EBUSY);
    run_for(p.loop, MS);
    ferry_close(p.loop, &closing.op, extra[0], 0, probe_done);
    expect(p.loop, &closing, 0);
    probe_check(&p.then, FERRY_ECANCELED);
    probe_check(&more[0], FERRY_ECANCELED);
    probe_check(&more[1], FERRY_ECANCELED);
    assert_true(closing.order > p.then.order && closing.order > more[1].order);
    assert_int_equal(more[2].calls, 0);
    /* The number is somebody else's now. */
    ferry_fd again[2];
    unix_pair(again, SOCK_STREAM);
    if (!omits_on_windows("the numbers of handles are not reused at once")) {
        assert_true(again[0] == extra[0] || again[1] == extra[0]);
    }
    pair_let(&p);
    expect(p.loop, &p.first, 1);
    /* TCP takes what is sent first, and then hears that nobody is there. */
    expect(p.loop, &more[2], TEST_WINDOWS ? 1 : FERRY_EPIPE);
    assert_int_equal(plain_take(again[0], &got, 1), 0);
    assert_int_equal(plain_take(again[1], &got, 1), 0);
    close_far(again[0]);
    close_far(again[1]);
    close_near(p.loop, extra[1]);
    pair_close(&p);
}

/* A second descriptor is held as the first is. */
static void contract_07_close_ends_what_is_linked_with_two(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct pair p;
        struct probe closing = {.calls = 0};
        ferry_fd files[2] = {temp_file("from", 100, 1), temp_file("to", 0, 0)};
        pair_open(&p);
        ferry_copy(p.loop, &p.then.op, files[0], 0, files[1], 0, 100, FERRY_ALL, probe_done);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(ferry_forget(p.loop, files[i]), FERRY_EBUSY);
        }
        ferry_close(p.loop, &closing.op, files[which], 0, probe_done);
        expect(p.loop, &closing, 0);
        probe_check(&p.then, FERRY_ECANCELED);
        assert_true(p.then.order < closing.order);
        /* And then it goes. */
        struct probe then = {.calls = 0};
        files[which] = which == 0 ? temp_file("from", 100, 1) : temp_file("to", 0, 0);
        assert_int_equal(ferry_link(p.loop, &p.first.op, &then.op), 0);
        ferry_copy(p.loop, &then.op, files[0], 0, files[1], 0, 200, FERRY_ALL, probe_done);
        struct probe last_one = {.calls = 0};
        assert_int_equal(ferry_link(p.loop, &then.op, &last_one.op), 0);
        ferry_nop(p.loop, &last_one.op, 0, probe_done);
        pair_let(&p);
        expect(p.loop, &then, 100);
        expect(p.loop, &last_one, FERRY_ECANCELED); /* not all of it */
        close_near(p.loop, files[0]);
        close_near(p.loop, files[1]);
        pair_close(&p);
    }
}

/* A pool stays as long as anything waits to use it. */
static void ops_link_with_a_pool(void **state) {
    (void)state;
    struct pair p;
    struct probe early = {.calls = 0};
    ferry_pool *pool = NULL;
    ferry_fd extra[2];
    pair_open(&p);
    unix_pair(extra, SOCK_STREAM);
    assert_int_equal(ferry_pool_open(p.loop, &pool, 4, 256, 0, 0), 0);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &early.op), 0);
    ferry_recv_pool(p.loop, &p.then.op, extra[0], pool, 0, probe_done);
    ferry_recv_pool(p.loop, &early.op, extra[0], pool, 0, probe_done);
    assert_int_equal(ferry_pool_close(pool), FERRY_EBUSY);
    ferry_cancel(p.loop, &early.op);
    expect(p.loop, &early, FERRY_ECANCELED);
    assert_int_equal(ferry_pool_close(pool), FERRY_EBUSY);
    plain_send(extra[1], "hello", 5);
    run_for(p.loop, MS);
    assert_int_equal(p.then.calls, 0);
    pair_let(&p);
    pair_expect(&p, 1, 5);
    ferry_pool_put(pool, ferry_lent(&p.then.op));
    assert_int_equal(ferry_pool_close(pool), 0);
    close_near(p.loop, extra[0]);
    close_far(extra[1]);
    pair_close(&p);
}

/* What waits in a service of the library, or for readiness. */
static void ops_link_waits(void **state) {
    (void)state;
    enum { SIGNAL, WATCH, POLL, COUNT };
    for (int fails = 0; fails <= 1; fails++) {
        struct pair p;
        struct probe then[COUNT];
        static char changes[FERRY_WATCH_BYTES_MIN];
        ferry_watcher watcher = {.buf = changes, .len = sizeof changes};
        ferry_fd extra[2];
        pair_open(&p);
        ferry_cancel(p.loop, &p.then.op);
        unix_pair(extra, SOCK_STREAM);
        memset(then, 0, sizeof then);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(ferry_link(p.loop, &p.first.op, &then[i].op), 0);
        }
        ferry_signal(p.loop, &then[SIGNAL].op, SIGNAL_ONE, 0, probe_done);
        ferry_watch(p.loop, &then[WATCH].op, temp_path("."), &watcher, 0, probe_done);
        ferry_poll(p.loop, &then[POLL].op, extra[0], FERRY_POLL_IN, FERRY_MULTI, probe_done);
        run_for(p.loop, MS);
        for (int i = 0; i < COUNT; i++) assert_int_equal(then[i].calls, 0);
        if (fails) {
            pair_fail(&p);
        } else {
            pair_let(&p);
            expect(p.loop, &p.first, 1);
            run_for(p.loop, MS);
            for (int i = 0; i < COUNT; i++) ferry_cancel(p.loop, &then[i].op);
        }
        probe_wait_all(p.loop, then, COUNT);
        for (int i = 0; i < COUNT; i++) { /* a watch may have seen something before */
            assert_int_equal(then[i].finals, 1);
            assert_int_equal(then[i].result, FERRY_ECANCELED);
        }
        close_near(p.loop, extra[0]);
        close_far(extra[1]);
        pair_close(&p);
    }
}

/* All on a descriptor, but for a close. */
static void ops_link_cancel_fd(void **state) {
    (void)state;
    struct pair p;
    struct probe closes = {.calls = 0};
    ferry_fd extra[2];
    pair_open(&p);
    unix_pair(extra, SOCK_STREAM);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &closes.op), 0);
    ferry_send(p.loop, &p.then.op, extra[0], "y", 1, 0, probe_done);
    ferry_close(p.loop, &closes.op, extra[0], 0, probe_done);
    ferry_cancel_fd(p.loop, extra[0]);
    expect(p.loop, &p.then, FERRY_ECANCELED);
    assert_int_equal(closes.calls, 0);
    pair_let(&p);
    expect(p.loop, &closes, 0);
    assert_false(is_open(extra[0]));
    close_far(extra[1]);
    pair_close(&p);
}

/* ---- Not submitted --------------------------------------------------------------------- */

static void ops_link_submitted_later(void **state) {
    (void)state;
    for (int fails = 0; fails <= 1; fails++) {
        struct pair p;
        pair_open(&p);
        if (fails) {
            pair_fail(&p);
        } else {
            pair_let(&p);
        }
        expect(p.loop, &p.first, fails ? FERRY_ECANCELED : 1);
        assert_int_equal(loop_stats(p.loop).in_flight, 0);
        ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
        expect(p.loop, &p.then, fails ? FERRY_ECANCELED : 1);
        /* Once, not for ever. */
        memset(&p.then, 0, sizeof p.then);
        ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
        expect(p.loop, &p.then, 1);
        pair_close(&p);
    }
}

static void ops_link_withdrawn(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    ferry_cancel(p.loop, &p.then.op);
    assert_int_equal(p.then.calls, 0);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    expect(p.loop, &p.then, 0);
    assert_int_equal(p.first.calls, 0);
    /* Also when the failure is known already. */
    memset(&p.then, 0, sizeof p.then);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &p.then.op), 0);
    pair_fail(&p);
    expect(p.loop, &p.first, FERRY_ECANCELED);
    ferry_cancel(p.loop, &p.then.op);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    expect(p.loop, &p.then, 0);
    pair_close(&p);
}

static void ops_link_again(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    pair_let(&p);
    ferry_send(p.loop, &p.then.op, p.fds[0], "y", 1, 0, probe_done);
    pair_expect(&p, 1, 1);
    memset(&p.first, 0, sizeof p.first);
    p.then.calls = p.then.finals = 0;
    ferry_recv(p.loop, &p.first.op, p.fds[0], &p.byte, 1, 0, probe_done);
    assert_int_equal(ferry_link(p.loop, &p.first.op, &p.then.op), 0);
    ferry_again(p.loop, &p.then.op);
    run_for(p.loop, MS);
    assert_int_equal(p.then.calls, 0);
    pair_let(&p);
    pair_expect(&p, 1, 1);
    pair_close(&p);
}

/* ---- In callbacks ---------------------------------------------------------------------- */

struct round {
    ferry_op first, then;
    ferry_loop *loop;
    int rounds, firsts;
};

static struct probe last;

static void on_freed(ferry_op *op) {
    free(ferry_container(op, struct round, first));
}

/* The one that is waited for is gone when the other starts. */
static void contract_04_linked_to_one_that_is_freed(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe then[2] = {{.calls = 0}};
    for (int i = 0; i < 2; i++) {
        struct round *r = calloc(1, sizeof *r);
        assert_non_null(r);
        ferry_timer(loop, &r->first, MS, 0, 0, on_freed);
        assert_int_equal(ferry_link(loop, &r->first, &then[i].op), 0);
        if (i == 1) ferry_cancel(loop, &r->first);
        ferry_nop(loop, &then[i].op, 0, probe_done);
    }
    expect(loop, &then[0], 0);
    expect(loop, &then[1], FERRY_ECANCELED);
    finish(loop);
}

static void on_round_then(ferry_op *op);

/* Goes on with the same two, the other way round at each step. */
static void on_round_first(ferry_op *op) {
    struct round *r = ferry_container(op, struct round, first);
    assert_int_equal(op->result, 0);
    r->firsts++;
}

static void round_start(struct round *r) {
    ferry_timer(r->loop, &r->first, 1, 0, 0, on_round_first);
    assert_int_equal(ferry_link(r->loop, &r->first, &r->then), 0);
    ferry_nop(r->loop, &r->then, 0, on_round_then);
}

static void on_round_then(ferry_op *op) {
    struct round *r = ferry_container(op, struct round, then);
    assert_int_equal(op->result, 0);
    assert_int_equal(r->firsts, ++r->rounds);
    if (r->rounds < 100) round_start(r);
}

static void ops_link_again_and_again(void **state) {
    (void)state;
    struct round r = {.loop = test_loop()};
    round_start(&r);
    run_done(r.loop);
    assert_int_equal(r.rounds, 100);
    finish(r.loop);
}

/* first's callback cancels the one that is about to start, or closes what it would use. */
static void on_cancel_other(ferry_op *op) {
    struct round *r = ferry_container(op, struct round, first);
    ferry_cancel(r->loop, &r->then);
}

static void on_then_last(ferry_op *op) {
    last.op.result = op->result;
    last.calls++;
}

static void ops_link_cancelled_in_the_callback(void **state) {
    (void)state;
    struct round r = {.loop = test_loop()};
    last = (struct probe){.calls = 0};
    ferry_nop(r.loop, &r.first, 0, on_cancel_other);
    assert_int_equal(ferry_link(r.loop, &r.first, &r.then), 0);
    ferry_timer(r.loop, &r.then, MS, 0, 0, on_then_last);
    run_done(r.loop);
    assert_int_equal(last.calls, 1);
    assert_int_equal(last.op.result, FERRY_ECANCELED);
    finish(r.loop);
}

static void on_close_other(ferry_op *op) {
    struct round *r = ferry_container(op, struct round, first);
    ferry_close(r->loop, NULL, r->then.fd, 0, NULL);
}

static void ops_link_closed_in_the_callback(void **state) {
    (void)state;
    struct round r = {.loop = test_loop()};
    ferry_fd fds[2];
    char got;
    last = (struct probe){.calls = 0};
    unix_pair(fds, SOCK_STREAM);
    ferry_nop(r.loop, &r.first, 0, on_close_other);
    assert_int_equal(ferry_link(r.loop, &r.first, &r.then), 0);
    ferry_send(r.loop, &r.then, fds[0], "y", 1, 0, on_then_last);
    run_done(r.loop);
    assert_int_equal(last.calls, 1);
    assert_int_equal(last.op.result, FERRY_ECANCELED);
    assert_int_equal(plain_take(fds[1], &got, 1), -1);
    close_far(fds[1]);
    finish(r.loop);
}

/* ---- With posts, multishots, ferry_reap() and the background
 * -------------------------------------
 */

static void ops_link_to_a_post(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe post = {.calls = 0}, then = {.calls = 0};
    assert_int_equal(ferry_post(loop, &post.op, probe_done), 0);
    assert_int_equal(ferry_link(loop, &post.op, &then.op), 0);
    ferry_nop(loop, &then.op, 0, probe_done);
    expect(loop, &then, 0);
    probe_check(&post, 0);
    assert_true(post.order < then.order);
    finish(loop);
}

/* The last completion counts, not one with FERRY_MORE. */
static void ops_link_to_a_multishot(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe timer = {.calls = 0}, then = {.calls = 0};
    ferry_timer(loop, &timer.op, MS, MS, 0, probe_done);
    assert_int_equal(ferry_link(loop, &timer.op, &then.op), 0);
    ferry_nop(loop, &then.op, 0, probe_done);
    while (timer.calls < 3) ferry_run(loop, FERRY_RUN_ONCE);
    assert_int_equal(then.calls, 0);
    ferry_cancel(loop, &timer.op);
    expect(loop, &then, FERRY_ECANCELED);
    assert_int_equal(timer.finals, 1);
    finish(loop);
}

static void ops_link_with_reap(void **state) {
    (void)state;
    enum { COUNT = 4 };
    ferry_loop *loop = test_loop();
    ferry_op ops[COUNT];
    ferry_completion got[COUNT];
    memset(ops, 0, sizeof ops);
    for (size_t i = 0; i < COUNT; i++) {
        if (i > 0) assert_int_equal(ferry_link(loop, &ops[i - 1], &ops[i]), 0);
        ferry_nop(loop, &ops[i], 0, FERRY_PULL);
    }
    /* One at a time: what comes after one that is not yet reaped has not begun. */
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(loop_stats(loop).in_flight, COUNT - i);
        assert_int_equal(ferry_reap(loop, got, 1, SECOND), 1);
        assert_ptr_equal(got[0].op, &ops[i]);
        assert_int_equal(got[0].result, 0);
    }
    finish(loop);
}

static void ops_link_in_the_background(void **state) {
    (void)state;
    struct pair p;
    pair_open(&p);
    struct probe first = {.calls = 0}, then = {.calls = 0};
    ferry_timer(p.loop, &first.op, 60 * SECOND, 0, FERRY_BACKGROUND, probe_done);
    assert_int_equal(ferry_link(p.loop, &first.op, &then.op), 0);
    ferry_nop(p.loop, &then.op, FERRY_BACKGROUND, probe_done);
    pair_let(&p);
    ferry_nop(p.loop, &p.then.op, 0, probe_done);
    run_done(p.loop);
    probe_check(&p.then, 0);
    assert_int_equal(then.calls, 0);
    ferry_cancel(p.loop, &first.op);
    expect(p.loop, &then, FERRY_ECANCELED);
    pair_close(&p);
}

/* Connect, send, receive, close: each on its own. */
static void ops_link_behind_a_connect(void **state) {
    (void)state;
    for (int fails = 0; fails <= 1; fails++) {
        ferry_loop *loop = test_loop();
        struct probe connect = {.calls = 0}, work = {.calls = 0};
        ferry_addr addr;
        ferry_fd fd, far = fails ? dead_address(&addr) : tcp_listener(&addr);
        assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
        ferry_connect(loop, &connect.op, fd, &addr, 0, probe_done);
        assert_int_equal(ferry_link(loop, &connect.op, &work.op), 0);
        ferry_work(loop, &work.op, work_seven, NULL, 0, probe_done);
        expect(loop, &connect, fails ? FERRY_ECONNREFUSED : 0);
        expect(loop, &work, fails ? FERRY_ECANCELED : 7);
        close_near(loop, fd);
        close_far(far);
        finish(loop);
    }
}

const struct contract_helper ops_link_helpers[] = {
    {"link_submitted_twice", helper_link_submitted_twice},
    {"link_other_loop", helper_link_other_loop},
    {NULL, NULL}};

const struct contract_test ops_link_tests[] = {
    {"ops_link_starts_after_success", ops_link_starts_after_success, 0},
    {"ops_link_ends_after_failure", ops_link_ends_after_failure, 0},
    {"ops_link_every_kind", ops_link_every_kind, 0},
    {"ops_link_short_transfers", ops_link_short_transfers, 0},
    {"ops_link_write_then_sync", ops_link_write_then_sync, 0},
    {"ops_link_read_then_write", ops_link_read_then_write, 0},
    {"ops_link_chain_of_a_thousand", ops_link_chain_of_a_thousand, 0},
    {"ops_link_chain_that_breaks", ops_link_chain_that_breaks, 0},
    {"ops_link_several_to_one", ops_link_several_to_one, 0},
    {"ops_link_refuses", ops_link_refuses, 0},
    {"ops_link_bad_arguments", ops_link_bad_arguments, 0},
    {"ops_link_misuse_stops", ops_link_misuse_stops, 0},
    {"ops_link_cancelled_while_waiting", ops_link_cancelled_while_waiting, 0},
    {"contract_06_deadline_counts_while_linked", contract_06_deadline_counts_while_linked, 0},
    {"contract_06_timer_begins_when_it_starts", contract_06_timer_begins_when_it_starts, 0},
    {"contract_06_timer_linked_to_a_nop", contract_06_timer_linked_to_a_nop, 0},
    {"ops_link_drained", ops_link_drained, 0},
    {"contract_07_close_ends_what_is_linked", contract_07_close_ends_what_is_linked, 0},
    {"contract_07_close_ends_what_is_linked_with_two",
     contract_07_close_ends_what_is_linked_with_two, 0},
    {"ops_link_with_a_pool", ops_link_with_a_pool, 0},
    {"ops_link_waits", ops_link_waits, 0},
    {"ops_link_cancel_fd", ops_link_cancel_fd, 0},
    {"ops_link_submitted_later", ops_link_submitted_later, 0},
    {"ops_link_withdrawn", ops_link_withdrawn, 0},
    {"ops_link_again", ops_link_again, 0},
    {"contract_04_linked_to_one_that_is_freed", contract_04_linked_to_one_that_is_freed, 0},
    {"ops_link_again_and_again", ops_link_again_and_again, 0},
    {"ops_link_cancelled_in_the_callback", ops_link_cancelled_in_the_callback, 0},
    {"ops_link_closed_in_the_callback", ops_link_closed_in_the_callback, 0},
    {"ops_link_to_a_post", ops_link_to_a_post, 0},
    {"ops_link_to_a_multishot", ops_link_to_a_multishot, 0},
    {"ops_link_with_reap", ops_link_with_reap, 0},
    {"ops_link_in_the_background", ops_link_in_the_background, 0},
    {"ops_link_behind_a_connect", ops_link_behind_a_connect, 0},
    {NULL, NULL, 0}};
