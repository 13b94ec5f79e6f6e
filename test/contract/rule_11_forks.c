/* Rule 11, continued: forks while operations are in flight. The parent loses nothing, and the child
 * gives back what it has inherited.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"
#include "trouble_stage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What went wrong in a child, as its exit status. */
enum { CHILD_GOOD, CHILD_REAP, CHILD_FD, CHILD_RUN, CHILD_CLOSE, CHILD_MEMORY, CHILD_OPEN };

static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    return status;
}

static void expect_good(pid_t pid) {
    int status = wait_for(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != CHILD_GOOD) {
        fail_msg("the child found fault %d (wait status %x)", WEXITSTATUS(status),
                 (unsigned)status);
    }
}

/* ---- A thousand forks ------------------------------------------------------------------ */

#define FORKS 1000
#define MESSAGE 64

struct echo {
    ferry_op recv, send;
    ferry_loop *loop;
    ferry_fd fd;
    char in[MESSAGE];
    int echoes;
};

static void echo_sent(ferry_op *op) {
    struct echo *e = ferry_container(op, struct echo, send);
    assert_int_equal(op->result, MESSAGE);
    e->echoes++;
    ferry_again(e->loop, &e->recv);
}

static void echo_received(ferry_op *op) {
    struct echo *e = ferry_container(op, struct echo, recv);
    if (op->result <= 0) return;
    assert_int_equal(op->result, MESSAGE);
    ferry_send(e->loop, &e->send, e->fd, e->in, MESSAGE, 0, echo_sent);
}

/* Whatever the child does, and however it ends. */
static void child(ferry_loop *loop, int number) {
    ferry_completion record;
    if (number % 4 == 0) _exit(CHILD_GOOD);
    if (ferry_run(loop, FERRY_RUN_ONCE) != FERRY_EFORKED) _exit(CHILD_RUN);
    if (ferry_reap(loop, &record, 1, UINT64_MAX) != FERRY_EFORKED) _exit(CHILD_REAP);
    if (number % 4 == 1) _exit(CHILD_GOOD);
    if (ferry_loop_close(loop) != 0) _exit(CHILD_CLOSE);
    _exit(CHILD_GOOD);
}

/* Between each fork and the child's end a message goes there and back, with a receive in the
 * kernel, a completion not yet looked at, or a send not yet handed over when the fork happens. */
static void contract_11_a_thousand_forks(void **state) {
    (void)state;
    static struct echo e;
    struct probe timer = {.calls = 0}, post = {.calls = 0};
    char message[MESSAGE], answer[MESSAGE];
    int fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    memset(&e, 0, sizeof e);
    e.loop = loop;
    e.fd = fds[0];
    ferry_recv(loop, &e.recv, fds[0], e.in, MESSAGE, FERRY_ALL, echo_received);
    ferry_timer(loop, &timer.op, MS, MS, 0, probe_done);
    for (int i = 0; i < FORKS; i++) {
        fill(message, MESSAGE, (uint64_t)i);
        if (i % 3 == 0) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        if (i % 2) plain_send(fds[1], message, MESSAGE);
        if (i % 100 == 0) assert_int_equal(ferry_post(loop, &post.op, probe_done), 0);
        pid_t pid = test_fork();
        if (pid == 0) child(loop, i);
        if (i % 2 == 0) plain_send(fds[1], message, MESSAGE);
        while (e.echoes <= i) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
        plain_recv(fds[1], answer, MESSAGE);
        assert_memory_equal(answer, message, MESSAGE);
        expect_good(pid);
    }
    assert_int_equal(post.calls, FORKS / 100);
    ferry_cancel(loop, &timer.op);
    probe_wait(loop, &timer);
    close(fds[1]);
    close_near(loop, fds[0]);
    finish(loop);
}

/* ---- What the child may do ------------------------------------------------------------- */

static long outstanding;

static void *counted_allocate(size_t bytes, void *context) {
    outstanding++;
    return context == &outstanding ? malloc(bytes) : NULL;
}

static void counted_release(void *memory, void *context) {
    (void)context;
    outstanding--;
    free(memory);
}

static int64_t work_nothing(void *arg) {
    (void)arg;
    return 3;
}

/* All that a loop can have: a descriptor for an outer loop, workers of its own, things in flight.
 */
static void child_gives_back(ferry_loop *loop) {
    ferry_completion record;
    uint64_t before = address_space();
    size_t fds = list_fds(NULL, 0);
    if (ferry_loop_fd(loop) != FERRY_EFORKED) _exit(CHILD_FD);
    if (ferry_reap(loop, &record, 1, 0) != FERRY_EFORKED) _exit(CHILD_REAP);
    ferry_stop(loop); /* does nothing, and wakes nobody */
    if (ferry_loop_close(loop) != 0) _exit(CHILD_CLOSE);
    if (outstanding != 0) _exit(CHILD_MEMORY);
    /* The slots are reserved for 65,536 descriptors at least, of 64 bytes or more. */
    if (before - address_space() < 65536 * 64) _exit(CHILD_MEMORY);
    if (list_fds(NULL, 0) >= fds) _exit(CHILD_OPEN);
    _exit(CHILD_GOOD);
}

static void contract_11_forked_child_gives_everything_back(void **state) {
    (void)state;
    ferry_config config = {.flags = FERRY_OWN_WORKERS,
                           .allocate = counted_allocate,
                           .release = counted_release,
                           .allocator_context = &outstanding};
    struct probe work = {.calls = 0}, recv = {.calls = 0}, post = {.calls = 0};
    ferry_op pulled = {.state = 0};
    ferry_completion record;
    char buf[4];
    int fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop_with(&config);
    assert_true(ferry_loop_fd(loop) >= 0);
    ferry_work(loop, &work.op, work_nothing, NULL, 0, probe_done);
    run_done(loop);
    ferry_recv(loop, &recv.op, fds[0], buf, 4, FERRY_ALL, probe_done);
    ferry_nop(loop, &pulled, 0, FERRY_PULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(ferry_post(loop, &post.op, probe_done), 0);
    size_t had = list_fds(NULL, 0);
    pid_t pid = test_fork();
    if (pid == 0) child_gives_back(loop);
    expect_good(pid);
    assert_int_equal(list_fds(NULL, 0), had);
    assert_true(outstanding > 0);
    /* The parent goes on where it was. */
    assert_int_equal(ferry_reap(loop, &record, 1, UINT64_MAX), 1);
    assert_ptr_equal(record.op, &pulled);
    plain_send(fds[1], "abcd", 4);
    run_done(loop);
    probe_check(&recv, 4);
    probe_check(&post, 0);
    close_near(loop, fds[0]);
    close(fds[1]);
    finish(loop);
    assert_int_equal(outstanding, 0);
}

/* A submit stops the child, and says what is wrong. */
static int helper_submit_in_a_child(void) {
    ferry_loop *loop = test_loop();
    ferry_op op = {.state = 0};
    char buf[4];
    int fds[2];
    unix_pair(fds, SOCK_STREAM);
    pid_t pid = test_fork();
    if (pid == 0) {
        ferry_recv(loop, &op, fds[0], buf, 4, 0, NULL);
        _exit(CHILD_GOOD);
    }
    int status = wait_for(pid);
    assert_int_equal(ferry_loop_close(loop), 0);
    return WIFSIGNALED(status) ? 0 : 1;
}

static void contract_11_submit_in_a_child_says_why(void **state) {
    (void)state;
    static struct helper_result result;
    helper_run("submit_in_a_child", NULL, &result);
    assert_true(result.exited);
    assert_int_equal(result.status, 0);
    assert_non_null(strstr(result.output, "operation recv"));
    assert_non_null(strstr(result.output, "parent process"));
}

/* ---- Processes that are no forks ------------------------------------------------------- */

/* system() and posix_spawn() borrow this process's memory for a moment, and do no harm. */
static void contract_11_system_does_no_harm(void **state) {
    (void)state;
    struct probe p = {.calls = 0}, timer = {.calls = 0};
    char buf[8];
    int fds[2];
    unix_pair(fds, SOCK_STREAM);
    ferry_loop *loop = test_loop();
    ferry_recv(loop, &p.op, fds[0], buf, 8, FERRY_ALL, probe_done);
    ferry_timer(loop, &timer.op, MS, MS, 0, probe_done);
    for (int i = 0; i < 8; i++) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        plain_send(fds[1], &"abcdefgh"[i], 1);
        assert_int_equal(system("true"), 0);
    }
    probe_wait(loop, &p);
    probe_check(&p, 8);
    assert_memory_equal(buf, "abcdefgh", 8);
    ferry_cancel(loop, &timer.op);
    probe_wait(loop, &timer);
    close_near(loop, fds[0]);
    close(fds[1]);
    finish(loop);
}

const struct contract_helper rule_11_fork_helpers[] = {
    {"submit_in_a_child", helper_submit_in_a_child}, {NULL, NULL}};

const struct contract_test rule_11_fork_tests[] = {
    {"contract_11_a_thousand_forks", contract_11_a_thousand_forks, 120},
    {"contract_11_forked_child_gives_everything_back",
     contract_11_forked_child_gives_everything_back, 0},
    {"contract_11_submit_in_a_child_says_why", contract_11_submit_in_a_child_says_why, 0},
    {"contract_11_system_does_no_harm", contract_11_system_does_no_harm, 0},
    {NULL, NULL, 0}};
