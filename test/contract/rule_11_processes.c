/* Rule 11, continued: what other processes see of a loop. A forked child is refused and does no
 * harm; a program that is executed inherits nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What went wrong in a child, as its exit status: an assertion there would speak for the parent. */
enum {
    CHILD_GOOD,
    CHILD_RUN,
    CHILD_POST,
    CHILD_DRAIN,
    CHILD_CALLED,
    CHILD_CLOSE,
    CHILD_OWN,
    CHILD_FD
};

static int own_loop_works(void) {
    ferry_loop *loop = NULL;
    ferry_config config = {.size = 0};
    struct probe p = {.calls = 0};
    if (test_open(&loop, &config) != 0) return 0;
    ferry_timer(loop, &p.op, 1000, 0, 0, probe_done);
    return ferry_run(loop, FERRY_RUN_DONE) == 0 && p.calls == 1 && p.result == 0 &&
           ferry_loop_close(loop) == 0;
}

static int child_main(ferry_loop *loop, const struct probe *pending) {
    static struct probe post;
    for (int mode = FERRY_RUN_DONE; mode <= FERRY_RUN_NOWAIT; mode++) {
        if (ferry_run(loop, (enum ferry_run_mode)mode) != FERRY_EFORKED) return CHILD_RUN;
    }
    if (ferry_post(loop, &post.op, probe_done) != FERRY_EFORKED) return CHILD_POST;
    if (ferry_loop_drain(loop, SECOND) != FERRY_EFORKED) return CHILD_DRAIN;
    if (ferry_loop_fd(loop) != FERRY_EFORKED) return CHILD_FD;
    if (pending->calls != 0 || post.calls != 0) return CHILD_CALLED;
    if (ferry_loop_close(loop) != 0) return CHILD_CLOSE;
    return own_loop_works() ? CHILD_GOOD : CHILD_OWN;
}

static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    return status;
}

/* The child closes its copy while the parent's operations are in flight; the parent loses nothing.
 */
static void contract_11_forked_child_is_refused(void **state) {
    (void)state;
    char buf[8];
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    for (int round = 0; round < 10; round++) {
        struct probe p = {.calls = 0}, timer = {.calls = 0};
        ferry_recv(loop, &p.op, fds[0], buf, 8, FERRY_ALL, probe_done);
        ferry_timer(loop, &timer.op, 5 * MS, 0, 0, probe_done);
        if (round % 2) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        plain_send(fds[1], "abcd", 4);
        pid_t pid = test_fork();
        if (pid == 0) _exit(child_main(loop, &p));
        int status = wait_for(pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != CHILD_GOOD) {
            fail_msg("the child found fault %d (wait status %x)", WEXITSTATUS(status), status);
        }
        plain_send(fds[1], "efgh", 4);
        run_done(loop);
        probe_check(&p, 8);
        assert_memory_equal(buf, "abcdefgh", 8);
        probe_check(&timer, 0);
    }
    test_close(loop);
    close(fds[0]);
    close(fds[1]);
}

static int64_t work_nothing(void *arg) {
    (void)arg;
    return 3;
}

#ifndef TEST_TSAN
/* The process's worker threads are not in the child. Its own loops begin a new pool. (Nothing for
 * ThreadSanitizer: it takes the child's threads for the parent's and ends the child.) */
static void contract_11_workers_after_a_fork(void **state) {
    (void)state;
    struct probe before = {.calls = 0}, after = {.calls = 0};
    ferry_loop *loop = test_loop();
    ferry_work(loop, &before.op, work_nothing, NULL, 0, probe_done);
    run_done(loop);
    pid_t pid = test_fork();
    if (pid == 0) {
        static struct probe p;
        ferry_config config = {.size = 0};
        ferry_loop *own = NULL;
        if (ferry_loop_close(loop) != 0) _exit(CHILD_CLOSE);
        if (test_open(&own, &config) != 0) _exit(CHILD_OWN);
        ferry_work(own, &p.op, work_nothing, NULL, 0, probe_done);
        if (ferry_run(own, FERRY_RUN_DONE) != 0 || p.result != 3) _exit(CHILD_OWN);
        _exit(ferry_loop_close(own) == 0 ? CHILD_GOOD : CHILD_CLOSE);
    }
    int status = wait_for(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_GOOD);
    ferry_work(loop, &after.op, work_nothing, NULL, 0, probe_done);
    run_done(loop);
    probe_check(&before, 3);
    probe_check(&after, 3);
    test_close(loop);
}
#endif

/* A submit cannot be refused by a return value, so it stops the child. */
static void contract_11_submit_in_a_child_stops_it(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_loop *loop = test_loop();
    pid_t pid = test_fork();
    if (pid == 0) {
        ferry_nop(loop, &p.op, 0, probe_done);
        _exit(CHILD_GOOD);
    }
    int status = wait_for(pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    ferry_nop(loop, &p.op, 0, probe_done);
    run_done(loop);
    probe_check(&p, 0);
    test_close(loop);
}

/* ---- Executed programs
 * ---------------------------------------------------------------------------- */

static int helper_list_fds(void) {
    static ferry_fd fds[4096];
    size_t count = list_fds(fds, 4096);
    for (size_t i = 0; i < count && i < 4096; i++)
        printf("fd %*d\n", TEST_WINDOWS ? 8 : 0, (int)fds[i]);
    return 0;
}

static void contract_11_nothing_is_inherited_by_exec(void **state) {
    (void)state;
    enum { ACCEPT, CONNECT, OPEN, WORK, COUNT };
    static struct helper_result before, after;
    struct probe p[COUNT] = {{.calls = 0}};
    ferry_fd pipe_fds[2], pair[2], listener, client;
    ferry_addr addr;
    char *path = temp_path("file");
    helper_run("list_fds", NULL, &before);
    assert_int_equal(before.status, 0);
    if (!TEST_WINDOWS) assert_non_null(strstr(before.output, "fd 1\n"));

    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_pipe(loop, pipe_fds), 0);
    assert_int_equal(ferry_socketpair(loop, pair, FERRY_STREAM), 0);
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_listen(loop, &listener, &addr, 0), 0);
    assert_int_equal(ferry_local_addr(loop, listener, &addr), 0);
    assert_int_equal(ferry_socket(loop, &client, FERRY_INET, FERRY_STREAM), 0);
    ferry_accept(loop, &p[ACCEPT].op, listener, NULL, 0, probe_done);
    ferry_connect(loop, &p[CONNECT].op, client, &addr, 0, probe_done);
    ferry_open(loop, &p[OPEN].op, path, FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0600, 0, probe_done);
    ferry_work(loop, &p[WORK].op, work_nothing, NULL, 0, probe_done);
    run_done(loop);
    assert_true(p[ACCEPT].result >= 0 && p[OPEN].result >= 0);
    assert_true(ferry_loop_fd(loop) >= 0); /* with all that comes with it */
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    ferry_fd mine[] = {
        pipe_fds[0],           pipe_fds[1],        pair[0], pair[1], listener, client,
        (int)p[ACCEPT].result, (int)p[OPEN].result};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
        assert_int_equal(fcntl(mine[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    helper_run("list_fds", NULL, &after);
    /* The numbers of handles are not the same each time: there are as many of them. */
    if (TEST_WINDOWS) assert_int_equal(strlen(after.output), strlen(before.output));
    else assert_string_equal(after.output, before.output);
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
        ferry_close(loop, NULL, mine[i], 0, NULL);
    }
    run_done(loop);
    test_close(loop);
}

/* ---- SIGPIPE
 * -------------------------------------------------------------------------------------- */

static int sigpipe_is(void (*handler)(int)) {
    struct sigaction action;
    return sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == handler;
}

static void on_pipe(int number) {
    (void)number;
}

static void contract_11_sigpipe(void **state) {
    (void)state;
    ferry_config config;
    memset(&config, 0, sizeof config);
    assert_true(sigpipe_is(SIG_DFL)); /* as the runner starts every test */
    config.flags = FERRY_KEEP_SIGPIPE;
    test_close(test_loop_with(&config));
    assert_true(sigpipe_is(SIG_DFL));
    assert_true(signal(SIGPIPE, on_pipe) != SIG_ERR);
    test_close(test_loop());
    assert_true(sigpipe_is(on_pipe)); /* somebody's own decision stays */
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    test_close(test_loop());
    assert_true(sigpipe_is(SIG_IGN));
}

const struct contract_helper rule_11_helpers[] = {{"list_fds", helper_list_fds}, {NULL, NULL}};

const struct contract_test rule_11_process_tests[] = {
    {"contract_11_forked_child_is_refused", contract_11_forked_child_is_refused, 0},
#ifndef TEST_TSAN
    {"contract_11_workers_after_a_fork", contract_11_workers_after_a_fork, 0},
#endif
    {"contract_11_submit_in_a_child_stops_it", contract_11_submit_in_a_child_stops_it, 0},
    {"contract_11_nothing_is_inherited_by_exec", contract_11_nothing_is_inherited_by_exec, 0},
    {"contract_11_sigpipe", contract_11_sigpipe, 0},
    {NULL, NULL, 0}};
