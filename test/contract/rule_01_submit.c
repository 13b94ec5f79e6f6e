/* Rule 1: submitting cannot fail, block, call back, or allocate per operation.
 *
 * Errors, bad arguments included, arrive as completions like every other result. Handing over an
 * operation that is in flight already stops the program.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "file_kinds.h"
#include "tables.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Every kind of operation, on a descriptor of the test's choice --------------------- */

struct target {
    ferry_fd fd;
    char buf[64];
    ferry_vec vec;
    ferry_msg msg;
    ferry_addr addr;
    ferry_query query;
    ferry_file file;
    ferry_child child;
    ferry_watcher watcher;
    char changes[FERRY_WATCH_BYTES_MIN];
    struct file_target on_files;
};

/* For the loop at hand: opened before anything is submitted, closed before the loop is. */
static ferry_pool *pool;

static ferry_loop *with_pool(ferry_loop *loop) {
    assert_int_equal(ferry_pool_open(loop, &pool, 2, FERRY_MSG_ROOM + 64, 0, 0), 0);
    return loop;
}

static void close_with_pool(ferry_loop *loop) {
    assert_int_equal(ferry_pool_close(pool), 0);
    test_close(loop);
}

static int64_t work_nothing(void *arg) {
    (void)arg;
    return 0;
}

/* Submits a kind of operation. What does not take a descriptor ignores target->fd. */
static void submit(ferry_loop *loop, unsigned code, ferry_op *op, struct target *t,
                   unsigned flags) {
    t->vec.data = t->buf;
    t->vec.len = sizeof t->buf;
    t->child.program = "/dev/null"; /* cannot be executed */
    t->msg = (ferry_msg){.vecs = &t->vec, .count = 1};
    switch (code) {
    case FERRY_OP_NOP: ferry_nop(loop, op, flags, probe_done); break;
    case FERRY_OP_TIMER: ferry_timer(loop, op, 1, 0, flags, probe_done); break;
    case FERRY_OP_WORK: ferry_work(loop, op, work_nothing, NULL, flags, probe_done); break;
    case FERRY_OP_SIGNAL: ferry_signal(loop, op, SIGUSR1, flags, probe_done); break;
    case FERRY_OP_WATCH:
        t->watcher.buf = t->changes;
        t->watcher.len = sizeof t->changes;
        ferry_watch(loop, op, "/", &t->watcher, flags, probe_done);
        break;
    case FERRY_OP_RESOLVE:
        t->query.host = "127.0.0.1";
        ferry_resolve(loop, op, &t->query, &t->addr, 1, flags, probe_done);
        break;
    case FERRY_OP_ACCEPT: ferry_accept(loop, op, t->fd, NULL, flags, probe_done); break;
    case FERRY_OP_CONNECT: ferry_connect(loop, op, t->fd, &t->addr, flags, probe_done); break;
    case FERRY_OP_RECV: ferry_recv(loop, op, t->fd, t->buf, 64, flags, probe_done); break;
    case FERRY_OP_RECVV: ferry_recvv(loop, op, t->fd, &t->vec, 1, flags, probe_done); break;
    case FERRY_OP_RECVMSG: ferry_recvmsg(loop, op, t->fd, &t->msg, flags, probe_done); break;
    case FERRY_OP_RECV_POOL: ferry_recv_pool(loop, op, t->fd, pool, flags, probe_done); break;
    case FERRY_OP_RECVMSG_POOL: ferry_recvmsg_pool(loop, op, t->fd, pool, flags, probe_done); break;
    case FERRY_OP_READ_POOL: ferry_read_pool(loop, op, t->fd, pool, flags, probe_done); break;
    case FERRY_OP_SEND: ferry_send(loop, op, t->fd, t->buf, 64, flags, probe_done); break;
    case FERRY_OP_SENDV: ferry_sendv(loop, op, t->fd, &t->vec, 1, flags, probe_done); break;
    case FERRY_OP_SENDMSG: ferry_sendmsg(loop, op, t->fd, &t->msg, flags, probe_done); break;
    case FERRY_OP_SENDFILE: ferry_sendfile(loop, op, t->fd, t->fd, 0, 64, flags, probe_done); break;
    case FERRY_OP_SHUTDOWN:
        ferry_shutdown(loop, op, t->fd, FERRY_SHUT_BOTH, flags, probe_done);
        break;
    case FERRY_OP_OPEN: ferry_open(loop, op, "/", FERRY_OPEN_READ, 0, flags, probe_done); break;
    case FERRY_OP_READ: ferry_read(loop, op, t->fd, t->buf, 64, 0, flags, probe_done); break;
    case FERRY_OP_READV: ferry_readv(loop, op, t->fd, &t->vec, 1, 0, flags, probe_done); break;
    case FERRY_OP_WRITE: ferry_write(loop, op, t->fd, t->buf, 64, 0, flags, probe_done); break;
    case FERRY_OP_WRITEV: ferry_writev(loop, op, t->fd, &t->vec, 1, 0, flags, probe_done); break;
    case FERRY_OP_SYNC: ferry_sync(loop, op, t->fd, flags, probe_done); break;
    case FERRY_OP_TRUNCATE: ferry_truncate(loop, op, t->fd, 0, flags, probe_done); break;
    case FERRY_OP_STAT: ferry_stat(loop, op, "/", &t->file, flags, probe_done); break;
    case FERRY_OP_POLL: ferry_poll(loop, op, t->fd, FERRY_POLL_IN, flags, probe_done); break;
    case FERRY_OP_PROCESS: ferry_wait_process(loop, op, 1, NULL, flags, probe_done); break;
    case FERRY_OP_SPAWN: ferry_spawn(loop, op, &t->child, flags, probe_done); break;
    case FERRY_OP_CLOSE: ferry_close(loop, op, t->fd, flags, probe_done); break;
    default:
        t->on_files.fd = t->fd;
        if (file_kind_submit(loop, code, op, &t->on_files, flags)) break;
        fail_msg("no way to submit a %s", ferry_op_name(code));
    }
}

static int takes_descriptor(unsigned code) {
    return code >= FERRY_OP_ACCEPT && code != FERRY_OP_OPEN && code != FERRY_OP_STAT &&
           code != FERRY_OP_PROCESS && code != FERRY_OP_SPAWN && !file_kind_is_named(code);
}

/* Submits each kind, but for posts, and checks that nothing has called back; then that each ends
 * with the result. */
static void each_ends_with(ferry_fd fd, unsigned flags, int only_descriptors, int64_t result) {
    static struct probe probes[FERRY_OP_COUNT];
    static struct target targets[FERRY_OP_COUNT];
    ferry_loop *loop = with_pool(test_loop());
    memset(probes, 0, sizeof probes);
    for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_COUNT; code++) {
        if (code == FERRY_OP_POST || (only_descriptors && !takes_descriptor(code))) continue;
        targets[code].fd = fd;
        assert_int_equal(ferry_addr_parse(&targets[code].addr, "127.0.0.1:9"), 0);
        submit(loop, code, &probes[code].op, &targets[code], flags);
    }
    for (unsigned code = 0; code < FERRY_OP_COUNT; code++) assert_int_equal(probes[code].calls, 0);
    run_done(loop);
    for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_COUNT; code++) {
        if (code == FERRY_OP_POST || (only_descriptors && !takes_descriptor(code))) continue;
        probe_check(&probes[code], result);
        assert_int_equal(probes[code].transferred, 0);
    }
    close_with_pool(loop);
}

static void contract_01_bad_flags_arrive_as_completions(void **state) {
    (void)state;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    each_ends_with(fds[0], 0x80000000u, 0, FERRY_EINVAL);
    assert_true(is_open(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

static void contract_01_bad_descriptors_arrive_as_completions(void **state) {
    (void)state;
    each_ends_with(FERRY_FD_NONE, 0, 1, FERRY_EBADF);
    each_ends_with(-7, 0, 1, FERRY_EBADF);
    each_ends_with(4000, 0, 1, FERRY_EBADF); /* a number that nothing has open */
}

/* Flags that exist, but not for this operation. */
static void contract_01_flags_that_do_not_apply(void **state) {
    (void)state;
    struct probe p[5] = {{.calls = 0}};
    char buf[8] = "";
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_send(loop, &p[0].op, fds[0], buf, 1, FERRY_ALL, probe_done);
    ferry_recv(loop, &p[1].op, fds[0], buf, 1, FERRY_SOME, probe_done);
    ferry_nop(loop, &p[2].op, FERRY_DATA, probe_done);
    ferry_timer(loop, &p[3].op, 1, 0, FERRY_ALL, probe_done);
    ferry_recv(loop, &p[4].op, fds[0], buf, 1, FERRY_DATA, probe_done);
    for (int i = 0; i < 5; i++) assert_int_equal(p[i].calls, 0);
    run_done(loop);
    for (int i = 0; i < 5; i++) probe_check(&p[i], FERRY_EINVAL);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static void contract_01_bad_memory_arrives_as_completions(void **state) {
    (void)state;
    struct probe p[8] = {{.calls = 0}};
    ferry_file file;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &p[0].op, fds[0], NULL, 4, 0, probe_done);
    ferry_send(loop, &p[1].op, fds[0], NULL, 4, 0, probe_done);
    ferry_recvv(loop, &p[2].op, fds[0], NULL, 1, 0, probe_done);
    ferry_sendv(loop, &p[3].op, fds[0], NULL, 1, 0, probe_done);
    ferry_open(loop, &p[4].op, NULL, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_stat(loop, &p[5].op, NULL, &file, 0, probe_done);
    ferry_stat(loop, &p[6].op, "/", NULL, 0, probe_done);
    ferry_connect(loop, &p[7].op, fds[0], NULL, 0, probe_done);
    for (int i = 0; i < 8; i++) assert_int_equal(p[i].calls, 0);
    run_done(loop);
    for (int i = 0; i < 8; i++) probe_check(&p[i], FERRY_EFAULT);
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

/* A blocking submit would hang here for good: nothing that these wait for ever happens. */
static void contract_01_never_blocks(void **state) {
    (void)state;
    static char big[8 << 20];
    struct probe p[6] = {{.calls = 0}};
    char buf[16];
    ferry_fd fds[2], pipe_fds[2];
    ferry_addr addr;
    char *fifo = temp_path("fifo");
    if (!TEST_WINDOWS) assert_int_equal(mkfifo(fifo, 0600), 0);
    ferry_loop *loop = test_loop();
    ferry_fd listener = tcp_listener(&addr);
    tcp_pair(loop, fds);
    assert_int_equal(ferry_pipe(loop, pipe_fds), 0);

    ferry_recv(loop, &p[0].op, fds[0], buf, sizeof buf, 0, probe_done);
    ferry_send(loop, &p[1].op, fds[0], big, sizeof big, 0, probe_done);
    ferry_accept(loop, &p[2].op, listener, NULL, 0, probe_done);
    if (TEST_WINDOWS) ferry_timer(loop, &p[3].op, 60 * SECOND, 0, 0, probe_done);
    else ferry_open(loop, &p[3].op, fifo, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_read(loop, &p[4].op, pipe_fds[0], buf, sizeof buf, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &p[5].op, pipe_fds[1], big, sizeof big, FERRY_CURRENT, 0, probe_done);
    run_for(loop, 5 * MS);
    /* The pipe's two ends serve each other; all the others wait. */
    for (int i = 0; i < 4; i++) assert_int_equal(p[i].calls, 0);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < 6; i++) assert_int_equal(p[i].finals, 1);
    test_close(loop);
    ferry_fd mine[] = {fds[0], fds[1], pipe_fds[0], pipe_fds[1], listener};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) close(mine[i]);
}

/* ---- Allocation ------------------------------------------------------------------------ */

struct ledger {
    unsigned long long allocations, releases;
    int inside_submit, allocated_inside;
};

static void *ledger_allocate(size_t bytes, void *context) {
    struct ledger *ledger = context;
    ledger->allocations++;
    if (ledger->inside_submit) ledger->allocated_inside++;
    return malloc(bytes);
}

static void ledger_release(void *memory, void *context) {
    struct ledger *ledger = context;
    if (memory) ledger->releases++;
    free(memory);
}

static ferry_loop *ledger_loop(struct ledger *ledger) {
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.allocate = ledger_allocate;
    config.release = ledger_release;
    config.allocator_context = ledger;
    ferry_loop *loop = test_loop_with(&config);
    assert_true(ledger->allocations > 0);
    return loop;
}

static void contract_01_first_use_of_descriptors_allocates_nothing(void **state) {
    (void)state;
    enum { COUNT = 10000 };
    static ferry_fd fds[COUNT];
    static char bufs[COUNT];
    struct ledger ledger = {0, 0, 0, 0};
    ferry_fd pair[2];
    if (set_fd_limit(COUNT + 200) < 0) test_skip("the hard limit RLIMIT_NOFILE is below 10,200");
    struct probe *p = calloc(COUNT, sizeof *p);
    assert_non_null(p);
    unix_pair(pair, SOCK_STREAM);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dup(pair[0]);
        assert_true(fds[i] >= 0);
    }
    ferry_loop *loop = ledger_loop(&ledger);
    unsigned long long before = ledger.allocations;
    ledger.inside_submit = 1;
    for (int i = 0; i < COUNT; i++) {
        ferry_recv(loop, &p[i].op, fds[i], &bufs[i], 1, 0, probe_done);
    }
    ledger.inside_submit = 0;
    assert_int_equal(ledger.allocated_inside, 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(ledger.allocations, before);
    assert_int_equal(loop_stats(loop).allocations, before);
    assert_int_equal(ferry_loop_drain(loop, 20 * SECOND * TEST_STRETCH), 0);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], FERRY_ECANCELED);
    test_close(loop);
    assert_int_equal(ledger.allocations, ledger.releases);
    for (int i = 0; i < COUNT; i++) close(fds[i]);
    close(pair[0]);
    close(pair[1]);
    free(p);
}

static void contract_01_no_kind_allocates(void **state) {
    (void)state;
    static struct probe probes[FERRY_OP_COUNT];
    static struct target targets[FERRY_OP_COUNT];
    struct ledger ledger = {0, 0, 0, 0};
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = with_pool(ledger_loop(&ledger));
    for (int round = 0; round < 2; round++) {
        for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_CLOSE; code++) {
            if (code == FERRY_OP_POST) continue;
            targets[code].fd = fds[0];
            assert_int_equal(ferry_addr_parse(&targets[code].addr, "unix:/nowhere"), 0);
            ledger.inside_submit = 1;
            submit(loop, code, &probes[code].op, &targets[code], 0);
            ledger.inside_submit = 0;
        }
        for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_CLOSE; code++) {
            ferry_cancel(loop, &probes[code].op);
        }
        run_done(loop);
        ferry_fd opened = (ferry_fd)probes[FERRY_OP_OPEN].result;
        if (opened >= 0) close(opened);
        assert_int_equal(ledger.allocated_inside, 0);
    }
    close_with_pool(loop);
    assert_int_equal(ledger.allocations, ledger.releases);
    close(fds[0]);
    close(fds[1]);
}

/* ---- An operation that is in flight ---------------------------------------------------- */

static unsigned code_of(const char *name) {
    for (unsigned code = 1; code < FERRY_OP_COUNT; code++) {
        if (strcmp(ferry_op_name(code), name) == 0) return code;
    }
    return FERRY_OP_NONE;
}

/* Submits the kind that the environment names, twice. On a socket that nothing arrives at, so that
 * the first stays in flight. */
static int helper_submit_twice(void) {
    static struct probe probe;
    static struct target target;
    const char *name = getenv("FERRY_TEST_KIND");
    unsigned code = code_of(name ? name : "");
    if (code == FERRY_OP_NONE) return 1;
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    target.fd = fds[0];
    ferry_addr_parse(&target.addr, "unix:/nowhere");
    ferry_loop *loop = with_pool(test_loop());
    submit(loop, code, &probe.op, &target, 0);
    if (getenv("FERRY_TEST_AGAIN")) {
        ferry_again(loop, &probe.op);
    } else {
        submit(loop, code, &probe.op, &target, 0);
    }
    return 0;
}

static int helper_post_twice(void) {
    static struct probe probe;
    ferry_loop *loop = test_loop();
    if (ferry_post(loop, &probe.op, probe_done) != 0) return 1;
    ferry_post(loop, &probe.op, probe_done);
    return 0;
}

static void stopped_with(const struct helper_result *result, const char *name) {
    if (result->exited || result->signal != SIGABRT) {
        fail_msg("submitting a %s twice did not abort (exited %d, status %d, signal %d):\n%s", name,
                 result->exited, result->status, result->signal, result->output);
    }
    if (!strstr(result->output, name)) {
        fail_msg("the message does not name the %s:\n%s", name, result->output);
    }
}

static void contract_01_in_flight_twice_stops_the_program(void **state) {
    (void)state;
    struct helper_result result;
    for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_COUNT; code++) {
        if (code == FERRY_OP_POST) continue;
        char kind[64];
        snprintf(kind, sizeof kind, "FERRY_TEST_KIND=%s", ferry_op_name(code));
        const char *const env[] = {kind, NULL};
        helper_run("submit_twice", env, &result);
        stopped_with(&result, ferry_op_name(code));
    }
    helper_run("post_twice", NULL, &result);
    stopped_with(&result, "post");
}

static void contract_01_again_in_flight_stops_the_program(void **state) {
    (void)state;
    struct helper_result result;
    const char *const env[] = {"FERRY_TEST_KIND=recv", "FERRY_TEST_AGAIN=1", NULL};
    helper_run("submit_twice", env, &result);
    stopped_with(&result, "recv");
}

const struct contract_helper rule_01_helpers[] = {
    {"submit_twice", helper_submit_twice}, {"post_twice", helper_post_twice}, {NULL, NULL}};

const struct contract_test rule_01_tests[] = {
    {"contract_01_bad_flags_arrive_as_completions", contract_01_bad_flags_arrive_as_completions, 0},
    {"contract_01_bad_descriptors_arrive_as_completions",
     contract_01_bad_descriptors_arrive_as_completions, 0},
    {"contract_01_flags_that_do_not_apply", contract_01_flags_that_do_not_apply, 0},
    {"contract_01_bad_memory_arrives_as_completions", contract_01_bad_memory_arrives_as_completions,
     0},
    {"contract_01_never_blocks", contract_01_never_blocks, 0},
    {"contract_01_first_use_of_descriptors_allocates_nothing",
     contract_01_first_use_of_descriptors_allocates_nothing, 0},
    {"contract_01_no_kind_allocates", contract_01_no_kind_allocates, 0},
    {"contract_01_in_flight_twice_stops_the_program", contract_01_in_flight_twice_stops_the_program,
     60},
    {"contract_01_again_in_flight_stops_the_program", contract_01_again_in_flight_stops_the_program,
     0},
    {NULL, NULL, 0}};
