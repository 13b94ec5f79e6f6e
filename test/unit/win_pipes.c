/* win_pipes.c - what only pipes of Windows have: how much fits, messages, both ways, and processes
 * that die with an end open.
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

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPE_BYTES 65536u
#define MANY (1u << 20)
#define S 1000000000u

static char program[1024]; /* this one */

static ferry_loop *loop_open(void) {
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    return loop;
}

static void loop_close(ferry_loop *loop) {
    assert_true(ferry_run(loop, FERRY_RUN_DONE) >= 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void run_until(ferry_loop *loop, const ferry_op *op) {
    while (op->state != 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
}

static int64_t read_now(ferry_loop *loop, ferry_fd fd, void *buf, size_t len, unsigned flags,
                        uint32_t *out) {
    ferry_op op = {.deadline_ns = 10ull * S};
    ferry_read(loop, &op, fd, buf, len, FERRY_CURRENT, flags, NULL);
    run_until(loop, &op);
    if (out != NULL) *out = op.flags;
    return op.result;
}

static int64_t write_now(ferry_loop *loop, ferry_fd fd, const void *buf, size_t len) {
    ferry_op op = {.deadline_ns = 10ull * S};
    ferry_write(loop, &op, fd, buf, len, FERRY_CURRENT, 0, NULL);
    run_until(loop, &op);
    return op.result;
}

static void close_now(ferry_loop *loop, ferry_fd fd) {
    ferry_op op = {0};
    ferry_close(loop, &op, fd, 0, NULL);
    run_until(loop, &op);
    assert_int_equal(op.result, 0);
}

/* ---- One process --------------------------------------------------------------------------- */

/* What fits is taken without anybody's reading; what does not waits, and is whole in the end. */
static void win_pipes_hold_64_kib(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    char *data = malloc(MANY), *got = malloc(PIPE_BYTES + MANY);
    for (size_t i = 0; i < MANY; i++) data[i] = (char)(i * 7 + i / 251);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    assert_int_equal(write_now(loop, fds[1], data, PIPE_BYTES), PIPE_BYTES);
    ferry_op more = {0};
    ferry_write(loop, &more, fds[1], data, MANY, FERRY_CURRENT, 0, NULL);
    for (int i = 0; i < 10; i++) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_true(more.state != 0);
    assert_int_equal(read_now(loop, fds[0], got, PIPE_BYTES + MANY, FERRY_ALL, NULL),
                     PIPE_BYTES + MANY);
    run_until(loop, &more);
    assert_int_equal(more.result, MANY);
    assert_memory_equal(got, data, PIPE_BYTES);
    assert_memory_equal(got + PIPE_BYTES, data, MANY);
    close_now(loop, fds[1]);
    uint32_t flags = 0;
    assert_int_equal(read_now(loop, fds[0], got, 1, 0, &flags), 0);
    assert_true(flags & FERRY_EOF);
    close_now(loop, fds[0]);
    loop_close(loop);
    free(data);
    free(got);
}

/* What was written before the close can still be read. */
static void win_pipes_keep_what_was_written(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    char got[8];
    uint32_t flags = 0;
    assert_int_equal(ferry_pipe(loop, fds), 0);
    assert_int_equal(write_now(loop, fds[1], "letters", 7), 7);
    close_now(loop, fds[1]);
    assert_int_equal(read_now(loop, fds[0], got, 7, 0, NULL), 7);
    assert_memory_equal(got, "letters", 7);
    assert_int_equal(read_now(loop, fds[0], got, 7, 0, &flags), 0);
    assert_true(flags & FERRY_EOF);
    close_now(loop, fds[0]);
    loop_close(loop);
}

static void win_pipes_without_reader(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    assert_int_equal(ferry_pipe(loop, fds), 0);
    close_now(loop, fds[0]);
    assert_int_equal(write_now(loop, fds[1], "x", 1), FERRY_EPIPE);
    close_now(loop, fds[1]);
    /* One that waits at the time. */
    char *data = calloc(MANY, 1);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_op op = {0};
    ferry_write(loop, &op, fds[1], data, MANY, FERRY_CURRENT, 0, NULL);
    for (int i = 0; i < 10; i++) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    close_now(loop, fds[0]);
    run_until(loop, &op);
    assert_int_equal(op.result, FERRY_EPIPE);
    close_now(loop, fds[1]);
    loop_close(loop);
    free(data);
}

/* Each read takes from one message; what it has no room for the next one gets. */
static void win_pipes_of_messages(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    HANDLE ends[2];
    char got[16];
    assert_int_equal(ferry__win_pipe(ends, true, true), 0);
    for (int i = 0; i < 2; i++) { /* both ways */
        ferry_fd from = ferry__win_fd(ends[i]), to = ferry__win_fd(ends[!i]);
        assert_int_equal(write_now(loop, from, "one", 3), 3);
        assert_int_equal(write_now(loop, from, "three", 5), 5);
        assert_int_equal(read_now(loop, to, got, sizeof got, 0, NULL), 3);
        assert_memory_equal(got, "one", 3);
        assert_int_equal(read_now(loop, to, got, 2, 0, NULL), 2);
        assert_memory_equal(got, "th", 2);
        assert_int_equal(read_now(loop, to, got, sizeof got, 0, NULL), 3);
        assert_memory_equal(got, "ree", 3);
    }
    for (int i = 0; i < 2; i++) close_now(loop, ferry__win_fd(ends[i]));
    loop_close(loop);
}

/* A look at what a worker reads would wait until that has read, and the loop with it. (Not on Wine,
 * which makes no such calls wait for each other.) */
static void win_pipes_are_not_looked_at_while_read(void **state) {
    (void)state;
    HANDLE reads, writes;
    char in[2];
    DWORD put;
    ferry_op read = {0}, poll = {0};
    ferry_loop *loop = loop_open();
    assert_true(CreatePipe(&reads, &writes, NULL, 0));
    ferry_read(loop, &read, ferry__win_fd(reads), in, 1, FERRY_CURRENT, 0, NULL);
    for (int i = 0; i < 3; i++) { /* it is with a worker */
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        Sleep(20);
    }
    ferry_poll(loop, &poll, ferry__win_fd(reads), FERRY_POLL_IN, 0, NULL);
    for (int i = 0; i < 3; i++) {
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        Sleep(20);
    }
    assert_true(poll.state != 0 && read.state != 0);
    assert_true(WriteFile(writes, "xy", 2, &put, NULL));
    run_until(loop, &poll);
    assert_int_equal(poll.result, FERRY_POLL_IN);
    assert_int_equal(read.state, 0);
    assert_int_equal(read.result, 1);
    close_now(loop, ferry__win_fd(reads));
    assert_true(CloseHandle(writes));
    loop_close(loop);
}

/* Both directions of one handle at once: neither waits for the other. */
static void win_pipes_both_ways(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    HANDLE ends[2];
    char got[8] = "";
    ferry_op op = {0};
    assert_int_equal(ferry__win_pipe(ends, true, false), 0);
    ferry_fd one = ferry__win_fd(ends[0]), other = ferry__win_fd(ends[1]);
    ferry_read(loop, &op, one, got, sizeof got, FERRY_CURRENT, 0, NULL);
    assert_int_equal(write_now(loop, one, "there", 5), 5);
    assert_true(op.state != 0);
    assert_int_equal(read_now(loop, other, got + 4, 1, 0, NULL), 1);
    assert_int_equal(write_now(loop, other, "here", 4), 4);
    run_until(loop, &op);
    assert_int_equal(op.result, 4);
    assert_memory_equal(got, "here", 4);
    close_now(loop, one);
    close_now(loop, other);
    loop_close(loop);
}

/* ---- Two processes ------------------------------------------------------------------------- */

static void spawn(ferry_loop *loop, ferry_child *child, const char *what) {
    static const char *argv[] = {"child", NULL, NULL};
    ferry_op op = {0};
    argv[1] = what;
    *child = (ferry_child){
        .program = program, .argv = argv, .stdio = {{FERRY_STDIO_PIPE, 0}, {FERRY_STDIO_PIPE, 0}}};
    ferry_spawn(loop, &op, child, 0, NULL);
    run_until(loop, &op);
    assert_int_equal(op.result, 0);
}

static void wait_for(ferry_loop *loop, const ferry_child *child, ferry_exit *how) {
    ferry_op op = {.deadline_ns = 20ull * S};
    ferry_wait_process(loop, &op, child->pid, how, 0, NULL);
    run_until(loop, &op);
    assert_int_equal(op.result, 0);
}

/* It writes, and is gone from one moment to the next: what it has written comes, then the end. */
static void win_pipes_of_one_that_dies(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_child child;
    ferry_exit how;
    char got[32];
    uint32_t flags = 0;
    spawn(loop, &child, "die");
    assert_int_equal(read_now(loop, child.stdio[1].fd, got, 10, FERRY_ALL, NULL), 10);
    assert_memory_equal(got, "last words", 10);
    assert_int_equal(read_now(loop, child.stdio[1].fd, got, 1, 0, &flags), 0);
    assert_true(flags & FERRY_EOF);
    assert_int_equal(write_now(loop, child.stdio[0].fd, "x", 1), FERRY_EPIPE);
    wait_for(loop, &child, &how);
    assert_int_equal(how.status, 7);
    close_now(loop, child.stdio[0].fd);
    close_now(loop, child.stdio[1].fd);
    loop_close(loop);
}

/* The same with a read and a write that wait at the time. */
static void win_pipes_of_one_that_is_killed(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_child child;
    char *data = calloc(MANY, 1), got[32];
    ferry_op reads = {0}, writes = {0};
    spawn(loop, &child, "wait");
    assert_int_equal(read_now(loop, child.stdio[1].fd, got, 5, FERRY_ALL, NULL), 5);
    ferry_read(loop, &reads, child.stdio[1].fd, got, sizeof got, FERRY_CURRENT, 0, NULL);
    ferry_write(loop, &writes, child.stdio[0].fd, data, MANY, FERRY_CURRENT, 0, NULL);
    for (int i = 0; i < 10; i++) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_true(reads.state != 0 && writes.state != 0);
    assert_int_equal(ferry_kill(loop, child.pid, 9), 0);
    run_until(loop, &reads);
    run_until(loop, &writes);
    assert_int_equal(reads.result, 0);
    assert_true(reads.flags & FERRY_EOF);
    assert_int_equal(writes.result, FERRY_EPIPE);
    wait_for(loop, &child, NULL);
    close_now(loop, child.stdio[0].fd);
    close_now(loop, child.stdio[1].fd);
    loop_close(loop);
    free(data);
}

static int be_child(const char *what) {
    HANDLE output = GetStdHandle(STD_OUTPUT_HANDLE);
    if (strcmp(what, "die") == 0) {
        if (ferry__os_write(ferry__win_fd(output), "last words", 10) != 0) return 8;
        (void)TerminateProcess(GetCurrentProcess(), 7);
    }
    if (ferry__os_write(ferry__win_fd(output), "ready", 5) != 0) return 8;
    Sleep(60000);
    return 9;
}

int main(int argc, char **argv) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(win_pipes_hold_64_kib),
        cmocka_unit_test(win_pipes_keep_what_was_written),
        cmocka_unit_test(win_pipes_without_reader),
        cmocka_unit_test(win_pipes_of_messages),
        cmocka_unit_test(win_pipes_are_not_looked_at_while_read),
        cmocka_unit_test(win_pipes_both_ways),
        cmocka_unit_test(win_pipes_of_one_that_dies),
        cmocka_unit_test(win_pipes_of_one_that_is_killed),
    };
    wchar_t wide[512];
    if (argc > 1) return be_child(argv[1]);
    (void)GetModuleFileNameW(NULL, wide, 512);
    char *text = ferry__win_utf8(wide);
    (void)snprintf(program, sizeof program, "%s", text);
    free(text);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
