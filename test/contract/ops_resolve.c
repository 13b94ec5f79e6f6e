/* ops_resolve.c - host names, without a network
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"
#include "portable.h"
#include "trouble_stage.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not what inet_pton() knows, so that it goes to the resolver threads; and nobody is asked. */
#define FIGURES_FOR_THREADS "127.1"

static void text_is(const ferry_addr *addr, const char *want) {
    char text[128];
    ferry_addr_format(addr, text, sizeof text);
    assert_string_equal(text, want);
}

static int64_t resolve(ferry_loop *loop, const ferry_query *query, ferry_addr *addrs, size_t max) {
    struct probe p = {.calls = 0};
    ferry_resolve(loop, &p.op, query, addrs, max, 0, probe_done);
    probe_wait(loop, &p);
    assert_int_equal(p.calls, 1);
    if (p.result > 0) assert_true(p.transferred >= (uint64_t)p.result);
    return p.result;
}

static void ops_resolve_figures(void **state) {
    (void)state;
    int differs = omits_on_wine("Wine has another answer for what is no such address");
    char scoped[60], want[64];
    snprintf(scoped, sizeof scoped, "fe80::1%%%s", TEST_LOOPBACK);
    snprintf(want, sizeof want, "[%s]:1", scoped);
    const struct {
        const char *host, *service;
        enum ferry_family family;
        const char *want; /* NULL: no address */
    } cases[] = {
        {"127.0.0.1", "80", FERRY_INET, "127.0.0.1:80"},
        {"127.0.0.1", "00080", (enum ferry_family)0, "127.0.0.1:80"},
        {"127.0.0.1", NULL, FERRY_INET, "127.0.0.1:0"},
        {"::1", "65535", FERRY_INET6, "[::1]:65535"},
        {"::1", NULL, (enum ferry_family)0, "[::1]:0"},
        {scoped, "1", (enum ferry_family)0, want},
        {"::ffff:1.2.3.4", "1", (enum ferry_family)0, "[::ffff:1.2.3.4]:1"},
        {FIGURES_FOR_THREADS, "7", (enum ferry_family)0, "127.0.0.1:7"},
        {"0x7f.1", "7", (enum ferry_family)0, "127.0.0.1:7"},
        {"::1", "80", FERRY_INET, NULL},
        {"127.0.0.1", "80", FERRY_INET6, NULL},
        {"[::1]", "80", (enum ferry_family)0, NULL},
        {"unix", "80", (enum ferry_family)0, NULL},
        {"unix:/x", "80", (enum ferry_family)0, NULL},
        {"1.2.3.4.5", "80", (enum ferry_family)0, NULL},
        {"fe80::1%no-such-interface", "80", (enum ferry_family)0, NULL},
    };
    ferry_loop *loop = test_loop();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ferry_addr addrs[3];
        memset(addrs, 0xff, sizeof addrs);
        ferry_query query = {.host = cases[i].host,
                             .service = cases[i].service,
                             .family = cases[i].family,
                             .how = FERRY_RESOLVE_NUMERIC};
        int64_t result = resolve(loop, &query, addrs, 3);
        if (cases[i].want != NULL) {
            assert_int_equal(result, 1);
            text_is(&addrs[0], cases[i].want);
        } else if (!differs && result != FERRY_ENONAME) {
            fail_msg("%s: %s", cases[i].host, ferry_error_name(result));
        }
        assert_int_equal(addrs[1].len, UINT32_MAX);
    }
    finish(loop);
}

/* This host: where to connect to, and where to bind. */
static void ops_resolve_this_host(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_query query = {.service = "8080", .family = FERRY_INET};
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    text_is(&addr, "127.0.0.1:8080");
    query.how = FERRY_RESOLVE_PASSIVE;
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    text_is(&addr, "0.0.0.0:8080");
    query.family = FERRY_INET6;
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    text_is(&addr, "[::]:8080");
    char canonical[FERRY_CANONICAL_MAX] = "#";
    query.canonical = canonical;
    query.canonical_len = sizeof canonical;
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    assert_string_equal(canonical, "");
    finish(loop);
}

static void ops_resolve_bad_input(void **state) {
    (void)state;
    static const enum ferry_family none = (enum ferry_family)0;
    static const enum ferry_socket_type any = (enum ferry_socket_type)0;
    static char canonical[8];
    static const struct {
        ferry_query query;
        int64_t error;
    } cases[] = {
        {{NULL, NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"", "80", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"localhost", "", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{" localhost", NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"local host", NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"localhost\n", NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"local\001host", NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"local\177host", NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"\t", NULL, none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1\r", "80", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "65536", none, any, 0, NULL, 0}, FERRY_ERANGE},
        {{"127.0.0.1", "99999", none, any, 0, NULL, 0}, FERRY_ERANGE},
        {{"127.0.0.1", "4294967376", none, any, 0, NULL, 0}, FERRY_ERANGE}, /* 80 in 32 bits */
        {{"127.0.0.1", "18446744073709551696", none, any, 0, NULL, 0}, FERRY_ERANGE},
        {{"127.0.0.1", "-80", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "+80", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "-4294967216", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", " 80", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "80 ", none, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "80x", none, any, 0, NULL, 0}, FERRY_ENOSERVICE},
        {{"127.0.0.1", "no-such-service", none, any, 0, NULL, 0}, FERRY_ENOSERVICE},
        {{"127.0.0.1", "00000000000000000000000000000000", none, any, 0, NULL, 0},
         FERRY_ENAMETOOLONG}, /* 32 */
        {{"127.0.0.1", "80", FERRY_UNIX, any, 0, NULL, 0}, FERRY_EAFNOSUPPORT},
        {{"127.0.0.1", "80", (enum ferry_family)4, any, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "80", none, (enum ferry_socket_type)4, 0, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "80", none, any, 8, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "80", none, any, 0x80000000u, NULL, 0}, FERRY_EINVAL},
        {{"127.0.0.1", "80", none, any, 0, canonical, 0}, FERRY_EINVAL},
        {{"localhost", NULL, none, any, FERRY_RESOLVE_NUMERIC, NULL, 0}, FERRY_ENONAME},
    };
    ferry_loop *loop = test_loop();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ferry_addr addr;
        int64_t result = resolve(loop, &cases[i].query, &addr, 1);
        if (result != cases[i].error) {
            fail_msg("case %zu ended with %lld (%s)", i, (long long)result,
                     ferry_error_name(result));
        }
    }
    ferry_addr addr;
    ferry_query query = {.host = "127.0.0.1"};
    assert_int_equal(resolve(loop, NULL, &addr, 1), FERRY_EFAULT);
    assert_int_equal(resolve(loop, &query, NULL, 1), FERRY_EFAULT);
    assert_int_equal(resolve(loop, &query, &addr, 0), FERRY_EINVAL);
    struct probe p = {.calls = 0};
    ferry_resolve(loop, &p.op, &query, &addr, 1, FERRY_ALL, probe_done);
    expect(loop, &p, FERRY_EINVAL);
    finish(loop);
}

/* Never cut to a name that somebody else has. */
static void ops_resolve_long_names(void **state) {
    (void)state;
    static const size_t lengths[] = {1025, 1026, 2000, 10000, 1000000};
    static char host[1000001];
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_query query = {.host = host};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memset(host, 'a', sizeof host);
        memcpy(host, "127.0.0.1", 9);
        host[lengths[i]] = '\0';
        assert_int_equal(resolve(loop, &query, &addr, 1), FERRY_ENAMETOOLONG);
    }
    query = (ferry_query){.host = "127.0.0.1", .service = host};
    assert_int_equal(resolve(loop, &query, &addr, 1), FERRY_ENAMETOOLONG);
    finish(loop);
}

/* ---- As any operation ------------------------------------------------------------------ */

static void ops_resolve_many(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    static struct probe p[COUNT];
    static ferry_addr addrs[COUNT];
    ferry_loop *loop = test_loop();
    ferry_query query = {.host = FIGURES_FOR_THREADS, .service = "1"};
    memset(p, 0, sizeof p);
    for (size_t i = 0; i < COUNT; i++) {
        ferry_resolve(loop, &p[i].op, &query, &addrs[i], 1, 0, probe_done);
    }
    for (size_t i = 0; i < COUNT; i += 3) ferry_cancel(loop, &p[i].op);
    probe_wait_all(loop, p, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].calls, 1);
        if (i % 3 != 0 || p[i].result == 1) {
            assert_int_equal(p[i].result, 1);
            assert_int_equal(p[i].transferred, 1);
            text_is(&addrs[i], "127.0.0.1:1");
        } else {
            assert_int_equal(p[i].result, FERRY_ECANCELED);
            assert_int_equal(p[i].transferred, 0);
        }
    }
    assert_true(loop_stats(loop).names_waited > 0);
    assert_true(count_threads() <= THREADS_ALONE + 64); /* those that were cancelled included */
    finish(loop);
    uint64_t start_ns = clock_ns(); /* one that was joined may be seen a moment longer */
    while (count_threads() != THREADS_ALONE) assert_true(clock_ns() - start_ns < 5 * SECOND);
}

struct held {
    ferry_op op;
    ferry_loop *loop;
    ferry_query query;
    ferry_addr addr;
    int left;
};

static int held_results;

static void on_held(ferry_op *op) {
    struct held *h = ferry_container(op, struct held, op);
    assert_int_equal(op->result, 1);
    text_is(&h->addr, "127.0.0.1:9");
    held_results++;
    if (h->left-- > 0) {
        ferry_again(h->loop, op);
    } else {
        free(h);
    }
}

static void contract_03_resolve_again_and_freed_in_its_callback(void **state) {
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", FIGURES_FOR_THREADS};
    ferry_loop *loop = test_loop();
    held_results = 0;
    for (size_t i = 0; i < 2; i++) {
        struct held *h = calloc(1, sizeof *h);
        assert_non_null(h);
        h->loop = loop;
        h->query = (ferry_query){.host = hosts[i], .service = "9"};
        h->left = 50;
        ferry_resolve(loop, &h->op, &h->query, &h->addr, 1, 0, on_held);
    }
    assert_int_equal(held_results, 0);
    run_done(loop);
    assert_int_equal(held_results, 102);
    finish(loop);
}

static void ops_resolve_reaped(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_completion got;
    ferry_op op = {.state = 0};
    ferry_addr addr;
    ferry_query query = {.host = FIGURES_FOR_THREADS};
    ferry_resolve(loop, &op, &query, &addr, 1, 0, FERRY_PULL);
    assert_int_equal(ferry_reap(loop, &got, 1, 20 * SECOND), 1);
    assert_ptr_equal(got.op, &op);
    assert_int_equal(got.result, 1);
    assert_int_equal(got.transferred, 1);
    finish(loop);
}

static atomic_int gate;

static int64_t work_gate(void *arg) {
    (void)arg;
    while (!atomic_load(&gate)) sleep_ns(MS);
    return 0;
}

/* All workers stand still: names do not wait for them. */
static void ops_resolve_beside_blocking_work(void **state) {
    (void)state;
    enum { COUNT = 100 };
    static struct probe work[COUNT];
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_query query = {.host = FIGURES_FOR_THREADS};
    atomic_store(&gate, 0);
    memset(work, 0, sizeof work);
    for (size_t i = 0; i < COUNT; i++) {
        ferry_work(loop, &work[i].op, work_gate, NULL, 0, probe_done);
    }
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(work[i].calls, 0);
    atomic_store(&gate, 1);
    probe_wait_all(loop, work, COUNT);
    finish(loop);
}

/* (A forked child that starts threads is more than ThreadSanitizer follows.) */
#ifndef TEST_TSAN
static int child_resolves(void) {
    static struct probe p;
    static ferry_addr addr;
    ferry_loop *loop = NULL;
    ferry_query query = {.host = FIGURES_FOR_THREADS};
    if (ferry_loop_open(&loop, NULL) != 0) return 2;
    ferry_resolve(loop, &p.op, &query, &addr, 1, 0, probe_done);
    if (ferry_run(loop, FERRY_RUN_DONE) != 0 || p.result != 1) return 3;
    return ferry_loop_close(loop) == 0 ? 0 : 4;
}

static void contract_11_resolver_threads_after_a_fork(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_query query = {.host = FIGURES_FOR_THREADS};
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    pid_t pid = test_fork();
    if (pid == 0) _exit(ferry_loop_close(loop) == 0 ? child_resolves() : 1);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(resolve(loop, &query, &addr, 1), 1);
    finish(loop);
}
#endif

const struct contract_test ops_resolve_tests[] = {
    {"ops_resolve_figures", ops_resolve_figures, 0},
    {"ops_resolve_this_host", ops_resolve_this_host, 0},
    {"ops_resolve_bad_input", ops_resolve_bad_input, 0},
    {"ops_resolve_long_names", ops_resolve_long_names, 0},
    {"ops_resolve_many", ops_resolve_many, 0},
    {"contract_03_resolve_again_and_freed_in_its_callback",
     contract_03_resolve_again_and_freed_in_its_callback, 0},
    {"ops_resolve_reaped", ops_resolve_reaped, 0},
    {"ops_resolve_beside_blocking_work", ops_resolve_beside_blocking_work, 0},
#ifndef TEST_TSAN
    {"contract_11_resolver_threads_after_a_fork", contract_11_resolver_threads_after_a_fork, 0},
#endif
    {NULL, NULL, 0}};
