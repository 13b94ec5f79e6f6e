/* ops_processes.c - waiting for children, and signals to them
 *
 * The children here are begun without Ferry, as those of somebody who knows nothing of it;
 * ops_spawns.c has those that Ferry begins.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Children -------------------------------------------------------------------------- */

/* A child that waits until `hold` is written to or closed by all others, then exits with status. */
static pid_t child_begin(const ferry_fd hold[2], int status) {
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    const char *const waits[] = {"contract", "--child", "wait", "exit", text, NULL};
    const char *const ends[] = {"contract", "--child", "exit", text, NULL};
    const ferry_fd streams[] = {hold ? hold[0] : FERRY_FD_NONE, FERRY_FD_NONE, FERRY_FD_NONE};
    return plain_child(hold ? waits : ends, streams);
}

/* Waits until a child has ended, and leaves it where it is. */
static void child_ended(pid_t pid) {
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0) assert_int_equal(errno, EINTR);
}

/* The same while a wait is in flight, which some rings carry on with in any system call: false if
 * it has the child already, and then it has to tell. */
static int child_ended_and_kept(pid_t pid) {
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0) {
        if (errno == ECHILD) return 0;
        assert_int_equal(errno, EINTR);
    }
    return 1;
}

static int take_plainly(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    return status;
}

static int exit_plainly(pid_t pid) {
    int status = take_plainly(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What a child says that was asked for its number. */
static pid_t number_told(ferry_fd tell) {
    char text[13] = "";
    for (size_t len = 0; len < 12;) {
        ssize_t got = read(tell, text + len, 12 - len);
        if (got < 0) assert_int_equal(errno, EINTR);
        else len += (size_t)got;
    }
    assert_true(atol(text) > 1);
    return (pid_t)atol(text);
}

static void hold_open(ferry_fd hold[2]) {
    plain_pipe(hold);
}

static void hold_end(ferry_fd hold[2]) {
    close_far(hold[1]);
    close_far(hold[0]);
}

/* Waits for pid, asserts how it ended. */
static void wait_expect(ferry_loop *loop, int64_t pid, int status, int signal) {
    struct probe p = {.calls = 0};
    ferry_exit how;
    memset(&how, 0xff, sizeof how);
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    expect_all(loop, &p, 0, 0, 0);
    assert_int_equal(how.status, status);
    assert_int_equal(how.signal, signal);
    assert_int_equal(how.reserved, 0);
}

static void wait_fails(ferry_loop *loop, int64_t pid, int64_t error) {
    struct probe p = {.calls = 0};
    ferry_exit how;
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    expect_all(loop, &p, error, 0, 0);
}

/* A wait that did not succeed has left it. */
static void is_left(ferry_loop *loop, pid_t pid, int status) {
    if (TEST_WINDOWS) wait_expect(loop, pid, status, 0); /* a plain call always can */
    else assert_int_equal(exit_plainly(pid), status);
}

static void is_taken(ferry_loop *loop, pid_t pid) {
    wait_fails(loop, pid, FERRY_ECHILD);
    if (!TEST_WINDOWS) assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
}

/* ---- How it ended ---------------------------------------------------------------------- */

static void ops_process_status(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const int statuses[] = {0, 1, 42, 127, 255};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        wait_expect(loop, child_begin(NULL, statuses[i]), statuses[i], 0);
        pid_t before = child_begin(NULL, statuses[i]); /* ended before anybody waits */
        child_ended(before);
        wait_expect(loop, before, statuses[i], 0);
        ferry_fd hold[2]; /* ends while somebody waits */
        struct probe p = {.calls = 0};
        ferry_exit how;
        hold_open(hold);
        pid_t after = child_begin(hold, statuses[i]);
        ferry_wait_process(loop, &p.op, after, &how, 0, probe_done);
        run_for(loop, 2 * MS);
        assert_int_equal(p.calls, 0);
        close_far(hold[1]);
        expect_all(loop, &p, 0, 0, 0);
        assert_int_equal(how.status, statuses[i]);
        assert_int_equal(how.core, 0);
        close_far(hold[0]);
    }
    no_child_left();
    finish(loop);
}

static void ops_process_signal(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const int signals[] = {SIGKILL, SIGTERM, SIGINT, SIGPIPE, SIGUSR1};
    ferry_fd hold[2];
    hold_open(hold);
    for (size_t i = 0; i < (TEST_WINDOWS ? 3 : 5); i++) {
        pid_t pid = child_begin(hold, 0);
        assert_int_equal(ferry_kill(loop, pid, signals[i]), 0);
        wait_expect(loop, pid, -1, signals[i]);
    }
    hold_end(hold);
    finish(loop);
}

static pid_t child_crashes(void) {
    struct rlimit limit, most;
    const char *const argv[] = {"contract", "--child", "crash", NULL};
    assert_int_equal(chdir(temp_path("")), 0);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    most = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (!TEST_WINDOWS) assert_int_equal(setrlimit(RLIMIT_CORE, &most), 0);
    pid_t pid = plain_child(argv, NULL);
    if (!TEST_WINDOWS) assert_int_equal(setrlimit(RLIMIT_CORE, &limit), 0);
    return pid;
}

/* Whether there is a core dump is the system's business: it tells a plain wait the same. */
static void ops_process_core(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_exit how;
    int plainly = take_plainly(child_crashes());
    assert_true(WIFSIGNALED(plainly));
    ferry_wait_process(loop, &p.op, child_crashes(), &how, 0, probe_done);
    expect_all(loop, &p, 0, 0, 0);
    assert_int_equal(how.status, -1);
    assert_int_equal(how.signal, SIGSEGV);
    assert_int_equal(how.core, WCOREDUMP(plainly) ? 1 : 0);
    assert_int_equal(how.reserved, 0);
    no_child_left();
    finish(loop);
}

/* Being stopped is no end. */
static void ops_process_stopped(void **state) {
    (void)state;
    differs_on_windows("processes are not stopped by signals on Windows");
    ferry_loop *loop = test_loop();
    ferry_fd hold[2];
    struct probe p = {.calls = 0};
    ferry_exit how;
    hold_open(hold);
    pid_t pid = child_begin(hold, 5);
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ferry_kill(loop, pid, SIGSTOP), 0);
        run_for(loop, 5 * MS);
        assert_int_equal(ferry_kill(loop, pid, SIGCONT), 0);
        run_for(loop, 5 * MS);
    }
    assert_int_equal(p.calls, 0);
    close_far(hold[1]);
    expect_all(loop, &p, 0, 0, 0);
    assert_int_equal(how.status, 5);
    close_far(hold[0]);
    finish(loop);
}

static void ops_process_nobody_wants_to_know(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    pid_t pid = child_begin(NULL, 3);
    ferry_wait_process(loop, &p.op, pid, NULL, 0, probe_done);
    expect_all(loop, &p, 0, 0, 0);
    ferry_again(loop, &p.op);
    p.calls = p.finals = 0;
    expect_all(loop, &p, FERRY_ECHILD, 0, 0);
    no_child_left();
    finish(loop);
}

/* ---- Many, and whose ------------------------------------------------------------------- */

static void ops_process_hundred(void **state) {
    (void)state;
    /* More at a time would make Windows begin another thread of its pool, which stays a while. */
    enum { COUNT = TEST_WINDOWS ? 60 : 100 };
    static struct probe p[COUNT];
    static ferry_exit how[COUNT];
    ferry_loop *loop = test_loop();
    ferry_fd hold[2];
    hold_open(hold);
    for (int i = 0; i < COUNT; i++) {
        /* Every third has ended before, every third ends at once, the others all together. */
        pid_t pid = child_begin(i % 3 == 2 ? hold : NULL, i);
        if (i % 3 == 0) child_ended(pid);
        ferry_wait_process(loop, &p[i].op, pid, &how[i], 0, probe_done);
    }
    for (int i = 0; i < COUNT; i++) {
        if (i % 3 != 2) probe_wait(loop, &p[i]);
    }
    for (int i = 2; i < COUNT; i += 3) assert_int_equal(p[i].calls, 0);
    close_far(hold[1]);
    for (int i = 0; i < COUNT; i++) {
        expect_all(loop, &p[i], 0, 0, 0);
        assert_int_equal(how[i].status, i);
        assert_int_equal(how[i].signal, 0);
    }
    close_far(hold[0]);
    no_child_left();
    finish(loop);
}

static void ops_process_takes_no_other(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd hold[2];
    struct probe p = {.calls = 0};
    ferry_exit how;
    hold_open(hold);
    pid_t ours = child_begin(hold, 1), others[4];
    ferry_wait_process(loop, &p.op, ours, &how, 0, probe_done);
    run_for(loop, 2 * MS);
    for (int i = 0; i < 4; i++) {
        others[i] = child_begin(NULL, 10 + i);
        child_ended(others[i]);
        run_for(loop, 2 * MS);
    }
    assert_int_equal(p.calls, 0);
    close_far(hold[1]);
    expect_all(loop, &p, 0, 0, 0);
    assert_int_equal(how.status, 1);
    for (int i = 0; i < 4; i++) assert_int_equal(exit_plainly(others[i]), 10 + i);
    close_far(hold[0]);
    finish(loop);
}

/* One of them gets it, the other hears that it is gone. */
static void ops_process_waited_for_twice(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (int early = 0; early < 2; early++) {
        ferry_fd hold[2];
        struct probe p[2] = {{.calls = 0}};
        ferry_exit how[2] = {{.status = 99}, {.status = 99}};
        hold_open(hold);
        pid_t pid = child_begin(hold, 7);
        if (early) {
            close_far(hold[1]);
            child_ended(pid);
        }
        for (int i = 0; i < 2; i++) {
            ferry_wait_process(loop, &p[i].op, pid, &how[i], 0, probe_done);
        }
        if (!early) {
            run_for(loop, 2 * MS);
            close_far(hold[1]);
        }
        probe_wait_all(loop, p, 2);
        int first = p[0].result == 0 ? 0 : 1;
        probe_check(&p[first], 0);
        probe_check(&p[!first], FERRY_ECHILD);
        assert_int_equal(how[first].status, 7);
        assert_int_equal(how[!first].status, 99);
        close_far(hold[0]);
    }
    finish(loop);
}

/* Or somebody else is faster: exactly one of the two has it. */
static void ops_process_taken_by_somebody_else(void **state) {
    (void)state;
    differs_on_windows("nobody takes a child from anybody on Windows");
    ferry_loop *loop = test_loop();
    ferry_fd hold[2];
    struct probe p = {.calls = 0};
    ferry_exit how;
    hold_open(hold);
    pid_t pid = child_begin(hold, 7);
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    run_for(loop, 2 * MS);
    close_far(hold[1]);
    int status = 0;
    pid_t taken;
    do {
        taken = waitpid(pid, &status, 0);
    } while (taken < 0 && errno == EINTR);
    if (taken == pid) {
        assert_int_equal(WEXITSTATUS(status), 7);
        expect_all(loop, &p, FERRY_ECHILD, 0, 0);
    } else { /* the wait was faster after all */
        assert_int_equal(errno, ECHILD);
        expect_all(loop, &p, 0, 0, 0);
        assert_int_equal(how.status, 7);
    }
    no_child_left();
    close_far(hold[0]);
    finish(loop);
}

static void trouble_process_that_is_no_child(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    pid_t gone = child_begin(NULL, 0);
    is_left(loop, gone, 0);
    wait_fails(loop, gone, FERRY_ECHILD);
    wait_fails(loop, getpid(), FERRY_ECHILD);
    wait_fails(loop, getppid(), FERRY_ECHILD);
    wait_fails(loop, 1, FERRY_ECHILD);
    wait_fails(loop, INT32_MAX, FERRY_ECHILD);
    const int64_t none[] = {0, -1, -getpid(), INT64_MIN, INT64_MAX, (int64_t)INT32_MAX + 1};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) wait_fails(loop, none[i], FERRY_EINVAL);
    finish(loop);
}

/* A child's child is not ours, and does not keep its parent alive. */
static void ops_process_grandchild(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd hold[2], tell[2];
    const char *const argv[] = {"contract", "--child", "leave", "9", "pid", "wait", NULL};
    hold_open(hold);
    hold_open(tell);
    pid_t pid = plain_child(argv, (const ferry_fd[]){hold[0], tell[1], FERRY_FD_NONE});
    pid_t grandchild = number_told(tell[0]);
    wait_fails(loop, grandchild, FERRY_ECHILD);
    wait_expect(loop, pid, 9, 0);
    wait_fails(loop, grandchild, FERRY_ECHILD); /* it lives on */
    assert_int_equal(ferry_kill(loop, grandchild, 0), 0);
    hold_end(hold);
    hold_end(tell);
    finish(loop);
}

static void *thread_begins(void *arg) {
    *(pid_t *)arg = child_begin(NULL, 6);
    return NULL;
}

static void ops_process_of_another_thread(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    pthread_t thread;
    pid_t pid = 0;
    assert_int_equal(pthread_create(&thread, NULL, thread_begins, &pid), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    wait_expect(loop, pid, 6, 0);
    finish(loop);
}

/* ---- SIGCHLD --------------------------------------------------------------------------- */

/* The system keeps nothing of children then. */
static void sigchld_keeps_nothing(const struct sigaction *action) {
    struct sigaction before;
    ferry_loop *loop = test_loop();
    ferry_fd hold[2];
    struct probe p = {.calls = 0};
    ferry_exit how;
    hold_open(hold);
    assert_int_equal(sigaction(SIGCHLD, action, &before), 0);
    pid_t pid = child_begin(hold, 0);
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(p.calls, 0);
    close_far(hold[1]);
    expect_all(loop, &p, FERRY_ECHILD, 0, 0);
    wait_fails(loop, pid, FERRY_ECHILD);
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
    close_far(hold[0]);
    finish(loop);
}

static void on_child(int number) {
    (void)number;
}

static void trouble_process_while_sigchld_is_ignored(void **state) {
    (void)state;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction no_wait = {.sa_handler = on_child, .sa_flags = SA_NOCLDWAIT | SA_RESTART};
    sigchld_keeps_nothing(&ignore);
    sigchld_keeps_nothing(&no_wait);
}

/* A handler of the program's own goes on being called, and disturbs nothing. */
static volatile sig_atomic_t heard;

static void on_child_heard(int number) {
    (void)number;
    heard++;
}

static void ops_process_beside_a_handler(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct sigaction action = {.sa_handler = on_child_heard};
    heard = 0;
    assert_int_equal(sigaction(SIGCHLD, &action, NULL), 0);
    for (int i = 0; i < 5; i++) wait_expect(loop, child_begin(NULL, i), i, 0);
    assert_true(heard >= 1);
    finish(loop);
}

/* ---- Asked to end ---------------------------------------------------------------------- */

static void contract_05_cancelled_wait_takes_no_child(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd hold[2];
    struct probe p = {.calls = 0}, late = {.calls = 0, .op = {.deadline_ns = 5 * MS}};
    ferry_exit how;
    hold_open(hold);
    pid_t pid = child_begin(hold, 11);
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    ferry_wait_process(loop, &late.op, pid, &how, 0, probe_done);
    run_for(loop, 2 * MS);
    ferry_cancel(loop, &p.op);
    expect_all(loop, &p, FERRY_ECANCELED, 0, 0);
    expect_all(loop, &late, FERRY_ETIMEDOUT, 0, 0);
    close_far(hold[1]);
    child_ended(pid);
    run_for(loop, 5 * MS);
    is_left(loop, pid, 11);
    close_far(hold[0]);
    finish(loop);
}

/* Either the wait has the child, or it is still there. */
static void contract_05_cancel_races_with_the_end_of_a_child(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    for (int i = 0; i < 60; i++) {
        ferry_fd hold[2];
        struct probe p = {.calls = 0};
        ferry_exit how;
        hold_open(hold);
        pid_t pid = child_begin(hold, 13);
        ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
        run_for(loop, MS / 4);
        close_far(hold[1]);
        int kept = i % 3 == 0 ? child_ended_and_kept(pid) : 1;
        if (i % 3 == 1) sleep_ns((uint64_t)i * 10000);
        ferry_cancel(loop, &p.op);
        probe_wait(loop, &p);
        if (!kept) probe_check(&p, 0); /* nobody else can have it */
        if (p.result == 0) {
            probe_check(&p, 0);
            assert_int_equal(how.status, 13);
            is_taken(loop, pid);
        } else {
            probe_check(&p, FERRY_ECANCELED);
            is_left(loop, pid, 13);
        }
        close_far(hold[0]);
    }
    finish(loop);
}

static void contract_11_drain_ends_waits_for_processes(void **state) {
    (void)state;
    enum { COUNT = 10 };
    struct probe p[COUNT] = {{.calls = 0}}, late = {.calls = 0};
    ferry_exit how[COUNT];
    pid_t pid[COUNT];
    ferry_fd hold[2];
    ferry_loop *loop = test_loop();
    hold_open(hold);
    for (int i = 0; i < COUNT; i++) {
        pid[i] = child_begin(hold, 10 + i);
        ferry_wait_process(loop, &p[i].op, pid[i], &how[i], 0, probe_done);
    }
    run_for(loop, 2 * MS);
    assert_int_equal(ferry_loop_close(loop), FERRY_EBUSY);
    assert_int_equal(ferry_loop_drain(loop, 5 * SECOND), 0);
    for (int i = 0; i < COUNT; i++) probe_check(&p[i], FERRY_ECANCELED);
    ferry_wait_process(loop, &late.op, pid[0], &how[0], 0, probe_done);
    assert_int_equal(ferry_loop_drain(loop, SECOND), 0);
    probe_check(&late, FERRY_ECLOSED);
    test_close(loop);
    hold_end(hold);
    for (int i = 0; i < COUNT; i++) assert_int_equal(exit_plainly(pid[i]), 10 + i);
}

/* ---- Shortage -------------------------------------------------------------------------- */

/* Where the system waits through a descriptor there may be none: an error, and the child stays. */
static void trouble_process_without_descriptors(void **state) {
    (void)state;
    differs_on_windows("no limits to what a process may have on Windows");
    ferry_loop *loop = test_loop();
    struct rlimit limit;
    struct probe p = {.calls = 0};
    ferry_exit how;
    run_for(loop, 1);
    uint64_t ways = feature_uses(loop, "waitid");
    pid_t pid = child_begin(NULL, 17);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(set_fd_limit(3), 0); /* three are open, and more */
    ferry_wait_process(loop, &p.op, pid, &how, 0, probe_done);
    probe_wait(loop, &p);
    assert_int_equal(set_fd_limit((unsigned)limit.rlim_cur), 0);
    if (feature_uses(loop, "waitid") > ways) {
        probe_check(&p, 0);
        assert_int_equal(how.status, 17);
    } else {
        probe_check(&p, FERRY_EMFILE);
        wait_expect(loop, pid, 17, 0);
    }
    finish(loop);
}

/* ---- Signals --------------------------------------------------------------------------- */

static void ops_kill(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd hold[2], tell[2];
    const char *const leads[] = {"contract", "--child", "group", "pid", "wait", NULL};
    const char *const waits[] = {"contract", "--child", "pid", "wait", NULL};
    hold_open(hold);
    hold_open(tell);
    pid_t pid = plain_child(TEST_WINDOWS ? waits : leads,
                            (const ferry_fd[]){hold[0], tell[1], FERRY_FD_NONE});
    assert_int_equal(number_told(tell[0]), pid);
    assert_int_equal(ferry_kill(loop, pid, 0), 0);
    assert_int_equal(ferry_kill(loop, pid, 100000), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, pid, -1), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, 0, 0), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, -1, 0), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, INT64_MAX, 0), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, INT64_MIN, 0), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, (INT64_C(1) << 32) + pid, SIGKILL), FERRY_EINVAL);
    if (TEST_WINDOWS) {
        assert_int_equal(ferry_kill(loop, -pid, 0), FERRY_ESRCH); /* Ferry makes groups there */
        assert_int_equal(ferry_kill(loop, pid, SIGUSR1), FERRY_ENOTSUP);
        assert_int_equal(ferry_kill(loop, pid, SIGTERM), 0);
    } else {
        assert_int_equal(ferry_kill(loop, -pid, SIGTERM), 0); /* its group */
    }
    wait_expect(loop, pid, -1, SIGTERM);
    (void)waitpid(pid, NULL, WNOHANG); /* where a plain call still can, it lets go of it */
    assert_int_equal(ferry_kill(loop, pid, 0), FERRY_ESRCH);
    assert_int_equal(ferry_kill(loop, -pid, 0), FERRY_ESRCH);
    hold_end(hold);
    hold_end(tell);
    finish(loop);
}

const struct contract_test ops_processes_tests[] = {
    {"ops_process_status", ops_process_status, 0},
    {"ops_process_signal", ops_process_signal, 0},
    {"ops_process_core", ops_process_core, 0},
    {"ops_process_stopped", ops_process_stopped, 0},
    {"ops_process_nobody_wants_to_know", ops_process_nobody_wants_to_know, 0},
    {"ops_process_hundred", ops_process_hundred, 120},
    {"ops_process_takes_no_other", ops_process_takes_no_other, 0},
    {"ops_process_waited_for_twice", ops_process_waited_for_twice, 0},
    {"ops_process_taken_by_somebody_else", ops_process_taken_by_somebody_else, 0},
    {"trouble_process_that_is_no_child", trouble_process_that_is_no_child, 0},
    {"ops_process_grandchild", ops_process_grandchild, 0},
    {"ops_process_of_another_thread", ops_process_of_another_thread, 0},
    {"trouble_process_while_sigchld_is_ignored", trouble_process_while_sigchld_is_ignored, 0},
    {"ops_process_beside_a_handler", ops_process_beside_a_handler, 0},
    {"contract_05_cancelled_wait_takes_no_child", contract_05_cancelled_wait_takes_no_child, 0},
    {"contract_05_cancel_races_with_the_end_of_a_child",
     contract_05_cancel_races_with_the_end_of_a_child, 120},
    {"contract_11_drain_ends_waits_for_processes", contract_11_drain_ends_waits_for_processes, 0},
    {"trouble_process_without_descriptors", trouble_process_without_descriptors, 0},
    {"ops_kill", ops_kill, 0},
    {NULL, NULL, 0},
};
