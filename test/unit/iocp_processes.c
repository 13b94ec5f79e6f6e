/* iocp_processes.c - waits for children on Windows: which the tests of the contract, whose children
 * are forked, do not reach.
 *
 * The children are this program: "child STATUS [MS]" returns STATUS after so many milliseconds.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os.h"
#include "win/win.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000u
#define LONG_MS "20000"

static char self[1024];

static ferry_loop *loop_open(void) {
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    return loop;
}

static void loop_close(ferry_loop *loop) {
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void ended(ferry_op *op) {
    (void)op; /* its state says so */
}

static int64_t finish(ferry_loop *loop, ferry_op *op) {
    while (op->state != 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    return op->result;
}

static int64_t child_begin(ferry_loop *loop, const char *status, const char *ms) {
    const char *argv[] = {self, "child", status, ms, NULL};
    ferry_child child = {.program = self, .argv = argv};
    ferry_op op = {.done = NULL};
    ferry_spawn(loop, &op, &child, 0, ended);
    assert_int_equal(finish(loop, &op), 0);
    assert_true(child.pid > 0);
    return child.pid;
}

static void wait_expect(ferry_loop *loop, int64_t pid, int64_t result, int status, int number) {
    ferry_exit how;
    ferry_op op = {.done = NULL};
    memset(&how, 0xff, sizeof how);
    ferry_wait_process(loop, &op, pid, &how, 0, ended);
    assert_int_equal(finish(loop, &op), result);
    if (result != 0) return;
    assert_int_equal(how.status, status);
    assert_int_equal(how.signal, number);
    assert_int_equal(how.core, 0);
    assert_int_equal(how.reserved, 0);
}

/* Has it ended? Looks from outside, and leaves it to be waited for. */
static void child_ended(int64_t pid) {
    HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, (DWORD)pid);
    assert_non_null(process);
    assert_int_equal(WaitForSingleObject(process, 10000), WAIT_OBJECT_0);
    assert_true(CloseHandle(process));
}

static void iocp_process_status(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    static const char *const texts[] = {"0", "1", "42", "255"};
    static const int statuses[] = {0, 1, 42, 255};
    for (size_t i = 0; i < 4; i++) {
        wait_expect(loop, child_begin(loop, texts[i], "0"), 0, statuses[i], 0);
        int64_t before = child_begin(loop, texts[i], "0"); /* ended before anybody waits */
        child_ended(before);
        wait_expect(loop, before, 0, statuses[i], 0);
        wait_expect(loop, before, FERRY_ECHILD, 0, 0); /* it was taken */
        wait_expect(loop, child_begin(loop, texts[i], "20"), 0, statuses[i], 0);
    }
    loop_close(loop);
}

static void iocp_process_killed(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    const int signals[] = {9, SIGTERM, SIGINT};
    for (size_t i = 0; i < 3; i++) {
        int64_t pid = child_begin(loop, "0", LONG_MS);
        assert_int_equal(ferry_kill(loop, pid, 0), 0);
        assert_int_equal(ferry_kill(loop, pid, signals[i]), 0);
        wait_expect(loop, pid, 0, -1, signals[i]);
        assert_int_equal(ferry_kill(loop, pid, 0), FERRY_ESRCH);
    }
    loop_close(loop);
}

static void iocp_process_nobody_wants_to_know(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_op op = {.done = NULL};
    ferry_wait_process(loop, &op, child_begin(loop, "3", "0"), NULL, 0, ended);
    assert_int_equal(finish(loop, &op), 0);
    ferry_again(loop, &op);
    assert_int_equal(finish(loop, &op), FERRY_ECHILD);
    loop_close(loop);
}

static void iocp_process_no_child(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    wait_expect(loop, (int64_t)GetCurrentProcessId(), FERRY_ECHILD, 0, 0);
    wait_expect(loop, 0x7ffffff0, FERRY_ECHILD, 0, 0);
    wait_expect(loop, 0, FERRY_EINVAL, 0, 0);
    wait_expect(loop, -1, FERRY_EINVAL, 0, 0);
    loop_close(loop);
}

/* Begun by somebody who knows nothing of Ferry. */
static void iocp_process_foreign(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    STARTUPINFOA startup = {.cb = sizeof startup};
    PROCESS_INFORMATION child;
    char line[1100];
    snprintf(line, sizeof line, "\"%s\" child 17 30", self);
    assert_true(CreateProcessA(self, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child));
    wait_expect(loop, child.dwProcessId, 0, 17, 0);
    assert_true(CloseHandle(child.hThread));
    assert_true(CloseHandle(child.hProcess));
    loop_close(loop);
}

/* Of several waits for one child one succeeds. */
static void iocp_process_waited_for_twice(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_op ops[3] = {{.done = NULL}};
    ferry_exit how[3];
    int64_t pid = child_begin(loop, "5", "50");
    for (int i = 0; i < 3; i++) ferry_wait_process(loop, &ops[i], pid, &how[i], 0, ended);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    unsigned succeeded = 0;
    for (int i = 0; i < 3; i++) {
        if (ops[i].result == 0) {
            succeeded++;
            assert_int_equal(how[i].status, 5);
        } else {
            assert_int_equal(ops[i].result, FERRY_ECHILD);
        }
    }
    assert_int_equal(succeeded, 1);
    loop_close(loop);
}

/* A wait that ends early takes no child. */
static void iocp_process_cancelled(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_op op = {.done = NULL}, late = {.deadline_ns = 20 * MS};
    int64_t pid = child_begin(loop, "0", LONG_MS);
    ferry_wait_process(loop, &op, pid, NULL, 0, ended);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    ferry_cancel(loop, &op);
    assert_int_equal(finish(loop, &op), FERRY_ECANCELED);
    ferry_wait_process(loop, &late, pid, NULL, 0, ended);
    assert_int_equal(finish(loop, &late), FERRY_ETIMEDOUT);
    ferry_wait_process(loop, &op, pid, NULL, 0, ended);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(ferry_loop_drain(loop, 5000 * (uint64_t)MS), 0);
    assert_int_equal(op.result, FERRY_ECANCELED);
    loop_close(loop);

    loop = loop_open(); /* it is still there for another loop */
    assert_int_equal(ferry_kill(loop, pid, SIGTERM), 0);
    wait_expect(loop, pid, 0, -1, SIGTERM);
    loop_close(loop);
}

/* More than the 63 for which one thread of the system's pool waits. */
static void iocp_process_many(void **state) {
    (void)state;
    enum { COUNT = 80 };
    static ferry_op ops[COUNT];
    static ferry_exit how[COUNT];
    ferry_loop *loop = loop_open();
    memset(ops, 0, sizeof ops);
    for (int i = 0; i < COUNT; i++) {
        char status[8];
        snprintf(status, sizeof status, "%d", i);
        int64_t pid = child_begin(loop, status, i % 2 ? "300" : "0");
        ferry_wait_process(loop, &ops[i], pid, &how[i], 0, ended);
    }
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(ops[i].result, 0);
        assert_int_equal(how[i].status, i);
    }
    loop_close(loop);
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "child") == 0) {
        Sleep(argc > 3 ? (DWORD)atoi(argv[3]) : 0);
        return atoi(argv[2]);
    }
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(iocp_process_status),
        cmocka_unit_test(iocp_process_killed),
        cmocka_unit_test(iocp_process_nobody_wants_to_know),
        cmocka_unit_test(iocp_process_no_child),
        cmocka_unit_test(iocp_process_foreign),
        cmocka_unit_test(iocp_process_waited_for_twice),
        cmocka_unit_test(iocp_process_cancelled),
        cmocka_unit_test(iocp_process_many),
    };
    GetModuleFileNameA(NULL, self, sizeof self);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
