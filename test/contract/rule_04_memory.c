/* Rule 4: memory belongs to the library from submit until the final completion, and not after it.
 *
 * What was handed over is overwritten with a pattern in the final callback; whoever writes to it
 * afterwards leaves a mark. Sanitizer builds besides see reads of what was freed (rule 3's tests).
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATTERN 0xc7

static int is_pattern(const void *memory, size_t len) {
    const unsigned char *at = memory;
    for (size_t i = 0; i < len; i++) {
        if (at[i] != PATTERN) return 0;
    }
    return 1;
}

/* An operation with all the memory that it may need, returned to nobody: overwritten. */
struct lent {
    ferry_op op;
    char buf[64];
    ferry_vec vecs[2];
    ferry_addr addr;
    ferry_file file;
    char path[200];
};

static int returned;
static int64_t returned_results[32];
static ferry_fd accepted = FERRY_FD_NONE;

static void pattern_done(ferry_op *op) {
    struct lent *lent = ferry_container(op, struct lent, op);
    returned_results[returned++] = op->result;
    if (op->code == FERRY_OP_ACCEPT) accepted = (ferry_fd)op->result;
    memset(lent, PATTERN, sizeof *lent);
}

static struct lent *lend(struct lent *lent) {
    memset(lent, 0, sizeof *lent);
    lent->vecs[0].data = lent->buf;
    lent->vecs[0].len = 10;
    lent->vecs[1].data = lent->buf + 20;
    lent->vecs[1].len = 10;
    return lent;
}

static int64_t work_nothing(void *arg) {
    (void)arg;
    return 0;
}

static void contract_04_nothing_is_touched_after_completion(void **state) {
    (void)state;
    enum { COUNT = 11 };
    static struct lent lent[COUNT];
    ferry_addr addr;
    ferry_fd fds[2], client;
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr), data = temp_file("data", 100, 1);
    unix_pair(fds, SOCK_STREAM);
    client = plain_socket(AF_INET, SOCK_STREAM);
    for (int i = 0; i < COUNT; i++) {
        lend(&lent[i]);
        strcpy(lent[i].path, temp_path("data"));
    }
    ferry_nop(loop, &lent[0].op, 0, pattern_done);
    ferry_timer(loop, &lent[1].op, MS, 0, 0, pattern_done);
    ferry_work(loop, &lent[2].op, work_nothing, &lent[2].buf, 0, pattern_done);
    ferry_send(loop, &lent[3].op, fds[0], lent[3].buf, 20, 0, pattern_done);
    ferry_sendv(loop, &lent[4].op, fds[0], lent[4].vecs, 2, 0, pattern_done);
    ferry_recvv(loop, &lent[5].op, fds[1], lent[5].vecs, 2, FERRY_ALL, pattern_done);
    ferry_recv(loop, &lent[6].op, fds[1], lent[6].buf, 20, FERRY_ALL, pattern_done);
    ferry_readv(loop, &lent[7].op, data, lent[7].vecs, 2, 30, 0, pattern_done);
    ferry_stat(loop, &lent[8].op, lent[8].path, &lent[8].file, 0, pattern_done);
    lent[9].addr = addr;
    ferry_connect(loop, &lent[9].op, client, &lent[9].addr, 0, pattern_done);
    ferry_accept(loop, &lent[10].op, listener, &lent[10].addr, 0, pattern_done);
    run_done(loop);
    assert_int_equal(returned, COUNT);
    run_for(loop, 10 * MS);
    plain_send(fds[0], "more", 4);
    run_for(loop, 2 * MS);
    for (int i = 0; i < COUNT; i++) assert_true(is_pattern(&lent[i], sizeof lent[i]));
    test_close(loop);
    for (int i = 0; i < COUNT; i++) assert_true(is_pattern(&lent[i], sizeof lent[i]));
    for (int i = 0; i < COUNT; i++) assert_true(returned_results[i] >= 0);
    ferry_fd mine[] = {fds[0], fds[1], client, listener, data, accepted};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) assert_int_equal(close(mine[i]), 0);
}

/* Ended from outside: by a cancel, a deadline, a close. Data that comes later goes elsewhere. */
static void contract_04_nothing_is_touched_after_ending_early(void **state) {
    (void)state;
    enum { COUNT = 3 };
    static struct lent lent[COUNT];
    static struct probe closed;
    ferry_fd fds[COUNT][2];
    char in[16];
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        unix_pair(fds[i], SOCK_STREAM);
        lend(&lent[i]);
        if (i == 1) lent[i].op.deadline_ns = 5 * MS;
        ferry_recvv(loop, &lent[i].op, fds[i][0], lent[i].vecs, 2, FERRY_ALL, pattern_done);
    }
    run_for(loop, 2 * MS);
    ferry_cancel(loop, &lent[0].op);
    ferry_close(loop, &closed.op, fds[2][0], 0, probe_done);
    run_done(loop);
    assert_int_equal(returned, COUNT);
    for (int i = 0; i < COUNT; i++) {
        int64_t result = returned_results[i];
        assert_true(result == FERRY_ECANCELED || result == FERRY_ETIMEDOUT);
    }
    plain_send(fds[0][1], "for the next", 12);
    plain_send(fds[1][1], "for the next", 12);
    run_for(loop, 5 * MS);
    for (int i = 0; i < COUNT; i++) assert_true(is_pattern(&lent[i], sizeof lent[i]));
    for (int i = 0; i < 2; i++) {
        plain_recv(fds[i][0], in, 12);
        assert_memory_equal(in, "for the next", 12);
        close(fds[i][0]);
    }
    for (int i = 0; i < COUNT; i++) close(fds[i][1]);
    test_close(loop);
}

/* A whole vectored transfer goes on in pieces, yet the caller's vectors stay as they were. */
static void contract_04_vectors_are_not_changed(void **state) {
    (void)state;
    enum { COUNT = 9, PIECE = 300001 };
    size_t all = (size_t)COUNT * PIECE;
    struct probe sender = {.calls = 0}, receiver = {.calls = 0};
    ferry_vec out[COUNT], in[COUNT], out_copy[COUNT], in_copy[COUNT];
    char *sent = malloc(all), *received = calloc(1, all);
    ferry_fd fds[2];
    assert_true(sent && received);
    fill(sent, all, 5);
    for (size_t i = 0; i < COUNT; i++) {
        out[i].data = sent + i * PIECE;
        in[i].data = received + i * PIECE;
        out[i].len = in[i].len = PIECE;
    }
    memcpy(out_copy, out, sizeof out);
    memcpy(in_copy, in, sizeof in);
    ferry_loop *loop = test_loop();
    tcp_pair(loop, fds);
    ferry_sendv(loop, &sender.op, fds[0], out, COUNT, 0, probe_done);
    ferry_recvv(loop, &receiver.op, fds[1], in, COUNT, FERRY_ALL, probe_done);
    run_done(loop);
    probe_check(&sender, (int64_t)all);
    probe_check(&receiver, (int64_t)all);
    assert_true(is_filled(received, all, 5));
    assert_memory_equal(out, out_copy, sizeof out);
    assert_memory_equal(in, in_copy, sizeof in);
    assert_true(is_filled(sent, all, 5));
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
    free(sent);
    free(received);
}

/* The config, and what it points to, is read while the loop opens and never again. */
static void contract_04_config_is_not_kept(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    char *why = malloc(100);
    ferry_config *config = calloc(1, sizeof *config);
    assert_true(why && config);
    config->why = why;
    config->why_len = 100;
    config->worker_threads = 1;
    ferry_loop *loop = test_loop_with(config);
    memset(config, PATTERN, sizeof *config);
    free(config);
    free(why);
    ferry_work(loop, &p.op, work_nothing, NULL, 0, probe_done);
    run_done(loop);
    probe_check(&p, 0);
    assert_non_null(ferry_loop_describe(loop)->backend);
    test_close(loop);
}

/* The buffer lies in memory that is given back to the system right after the completion: a late
 * write by the kernel would not go unnoticed in a later use of that memory. */
static void contract_04_buffers_come_and_go(void **state) {
    (void)state;
    enum { ROUNDS = 200, SIZE = 200000 };
    ferry_fd fds[2];
    ferry_loop *loop = test_loop();
    unix_pair(fds, SOCK_STREAM);
    for (int round = 0; round < ROUNDS; round++) {
        struct probe p = {.calls = 0};
        char *buf = malloc(SIZE), *next;
        assert_non_null(buf);
        ferry_recv(loop, &p.op, fds[0], buf, SIZE, FERRY_ALL, probe_done);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        plain_send(fds[1], "part", 4);
        if (round % 2) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        ferry_cancel(loop, &p.op);
        run_done(loop);
        probe_check(&p, FERRY_ECANCELED);
        assert_true(p.transferred <= 4);
        if (p.transferred) assert_memory_equal(buf, "part", p.transferred);
        free(buf);

        next = malloc(SIZE);
        assert_non_null(next);
        memset(next, PATTERN, SIZE);
        plain_send(fds[1], "late", 4);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        assert_true(is_pattern(next, SIZE));
        free(next);
        static const char all[] = "partlate";
        char rest[8];
        plain_recv(fds[0], rest, 8 - (size_t)p.transferred);
        assert_memory_equal(rest, &all[p.transferred], 8 - (size_t)p.transferred);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

#ifdef TEST_ASAN
/* ---- The kernel's writes ----------------------------------------------------------------- */

/* Sanitizers do not see what the kernel writes into memory that was freed: the library looks. */
static int helper_free_in_flight(void) {
    static struct probe recv[3];
    const char *what = getenv("FERRY_TEST_FREED");
    ferry_fd fds[2];
    char *buf = malloc(64);
    ferry_vec vec = {buf, 64};
    if (!what || !buf) return 1;
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    if (strcmp(what, "recv") == 0) ferry_recv(loop, &recv[0].op, fds[0], buf, 64, 0, probe_done);
    if (strcmp(what, "read") == 0) {
        ferry_read(loop, &recv[1].op, fds[0], buf, 64, FERRY_CURRENT, 0, probe_done);
    }
    if (strcmp(what, "recvv") == 0) ferry_recvv(loop, &recv[2].op, fds[0], &vec, 1, 0, probe_done);
    if (ferry_run(loop, FERRY_RUN_NOWAIT) < 0) return 1;
    free(buf);
    plain_send(fds[1], "into what is no longer there", 28);
    (void)ferry_run(loop, FERRY_RUN_DONE);
    return 0;
}

static void contract_04_freed_while_in_flight_stops_the_program(void **state) {
    (void)state;
    static const char *const kinds[] = {"recv", "read", "recvv"};
    static struct helper_result result;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char freed[32];
        snprintf(freed, sizeof freed, "FERRY_TEST_FREED=%s", kinds[i]);
        const char *const env[] = {freed, NULL};
        helper_run("free_in_flight", env, &result);
        int library_says = strstr(result.output, kinds[i]) &&
                           strstr(result.output, "no longer the caller's memory");
        /* A call that the library makes itself the sanitizer sees before it does. */
        int sanitizer_says = strcmp(test_backend(), "uring") != 0 &&
                             strstr(result.output, "AddressSanitizer: heap-use-after-free");
        if (result.exited || result.signal != SIGABRT || (!library_says && !sanitizer_says)) {
            fail_msg("%s: exited %d, status %d, signal %d:\n%s", kinds[i], result.exited,
                     result.status, result.signal, result.output);
        }
    }
}
#endif

const struct contract_helper rule_04_helpers[] = {
#ifdef TEST_ASAN
    {"free_in_flight", helper_free_in_flight},
#endif
    {NULL, NULL}};

const struct contract_test rule_04_tests[] = {
#ifdef TEST_ASAN
    {"contract_04_freed_while_in_flight_stops_the_program",
     contract_04_freed_while_in_flight_stops_the_program, 0},
#endif
    {"contract_04_nothing_is_touched_after_completion",
     contract_04_nothing_is_touched_after_completion, 0},
    {"contract_04_nothing_is_touched_after_ending_early",
     contract_04_nothing_is_touched_after_ending_early, 0},
    {"contract_04_vectors_are_not_changed", contract_04_vectors_are_not_changed, 0},
    {"contract_04_config_is_not_kept", contract_04_config_is_not_kept, 0},
    {"contract_04_buffers_come_and_go", contract_04_buffers_come_and_go, 0},
    {NULL, NULL, 0}};
