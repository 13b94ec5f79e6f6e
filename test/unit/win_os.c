/* win_os.c - what os.h asks of Windows, and the ordinary functions of ferry.h there: descriptors
 * and that none is inherited, pipes, pairs, clock and waits, threads and the end of calls that they
 * wait in, the environment, signals.
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
#include <stdlib.h>
#include <string.h>

#define MS 1000000u

static ferry_loop *loop_open(void) {
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    return loop;
}

static void loop_close(ferry_loop *loop) {
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void assert_own(ferry_fd fd) {
    DWORD flags = HANDLE_FLAG_INHERIT;
    assert_true(GetHandleInformation(ferry__win_handle(fd), &flags));
    assert_int_equal(flags & HANDLE_FLAG_INHERIT, 0);
}

static void handle_close(ferry_loop *loop, ferry_fd fd) {
    assert_int_equal(ferry_forget(loop, fd), 0);
    assert_true(CloseHandle(ferry__win_handle(fd)));
}

static void socket_close(ferry_loop *loop, ferry_fd fd) {
    assert_int_equal(ferry_forget(loop, fd), 0);
    assert_int_equal(closesocket(ferry__win_socket(fd)), 0);
}

/* ---- Descriptors --------------------------------------------------------------------------- */

static void win_os_kinds(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fd, fds[2];
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    assert_int_equal(ferry__os_fd_kind(fd), KIND_STREAM);
    assert_own(fd);
    socket_close(loop, fd);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_DATAGRAM), 0);
    assert_int_equal(ferry__os_fd_kind(fd), KIND_MESSAGE);
    assert_own(fd);
    socket_close(loop, fd);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ferry__os_fd_kind(fds[i]), KIND_PIPE);
        assert_own(fds[i]);
        handle_close(loop, fds[i]);
        assert_int_equal(ferry__os_fd_kind(fds[i]), FERRY_EBADF);
    }
    assert_int_equal(ferry__os_fd_kind(FERRY_FD_NONE), FERRY_EBADF);
    assert_int_equal(ferry__os_fd_kind(0), FERRY_EBADF);
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    assert_int_equal(ferry__os_fd_kind(ferry__win_fd(event)), KIND_OTHER);
    assert_true(CloseHandle(event));
    HANDLE nul = CreateFileW(L"NUL", GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    assert_int_equal(ferry__os_fd_kind(ferry__win_fd(nul)), KIND_CHARACTER);
    assert_true(CloseHandle(nul));
    HANDLE here = CreateFileW(L".", 0, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS, NULL);
    assert_int_equal(ferry__os_fd_kind(ferry__win_fd(here)), KIND_OTHER);
    assert_true(CloseHandle(here));
    loop_close(loop);
}

/* Both ways in one turn each: what goes in at one end comes out at the other. */
static void win_os_pipes(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    char got[8] = "";
    DWORD moved = 0;
    assert_int_equal(ferry_pipe(loop, fds), 0);
    assert_int_equal(ferry__os_write(fds[1], "letters", 7), 0);
    OVERLAPPED overlapped = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
    (void)ReadFile(ferry__win_handle(fds[0]), got, sizeof got, NULL, &overlapped);
    assert_true(GetOverlappedResult(ferry__win_handle(fds[0]), &overlapped, &moved, TRUE));
    assert_int_equal(moved, 7);
    assert_memory_equal(got, "letters", 7);
    handle_close(loop, fds[0]);
    assert_int_equal(ferry__os_write(fds[1], "more", 4), FERRY_EPIPE);
    handle_close(loop, fds[1]);
    assert_true(CloseHandle(overlapped.hEvent));
    loop_close(loop);
}

static void win_os_pipe_of_messages(void **state) {
    (void)state;
    HANDLE ends[2];
    char got[16];
    DWORD moved = 0;
    assert_int_equal(ferry__win_pipe(ends, true, true), 0);
    assert_int_equal(ferry__os_write(ferry__win_fd(ends[0]), "one", 3), 0);
    assert_int_equal(ferry__os_write(ferry__win_fd(ends[0]), "three", 5), 0);
    OVERLAPPED overlapped = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
    (void)ReadFile(ends[1], got, sizeof got, NULL, &overlapped);
    assert_true(GetOverlappedResult(ends[1], &overlapped, &moved, TRUE));
    assert_int_equal(moved, 3);
    for (int i = 0; i < 2; i++) assert_true(CloseHandle(ends[i]));
    assert_true(CloseHandle(overlapped.hEvent));
}

static void win_os_pairs(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    char got[8];
    static const enum ferry_socket_type types[] = {FERRY_STREAM, FERRY_DATAGRAM};
    for (int t = 0; t < 2; t++) {
        ferry_fd fds[2];
        assert_int_equal(ferry_socketpair(loop, fds, types[t]), 0);
        for (int i = 0; i < 2; i++) {
            assert_own(fds[i]);
            assert_int_equal(send(ferry__win_socket(fds[i]), "abc", 3, 0), 3);
            assert_int_equal(recv(ferry__win_socket(fds[!i]), got, sizeof got, 0), 3);
        }
        socket_close(loop, fds[0]);
        socket_close(loop, fds[1]);
    }
    ferry_fd none[2];
    assert_int_equal(ferry_socketpair(loop, none, FERRY_SEQPACKET), FERRY_EPROTONOSUPPORT);
    assert_int_equal(ferry_socketpair(loop, none, (enum ferry_socket_type)9), FERRY_EINVAL);
    loop_close(loop);
}

/* A close with input that lies unread: known, read away, and over once the peer has it all. */
static void win_os_settles(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    char got[8];
    assert_int_equal(ferry_socketpair(loop, fds, FERRY_STREAM), 0);
    assert_false(ferry__os_unread(fds[0]));
    assert_int_equal(send(ferry__win_socket(fds[1]), "unread", 6, 0), 6);
    for (int i = 0; i < 1000 && !ferry__os_unread(fds[0]); i++) ferry__os_sleep(MS);
    assert_true(ferry__os_unread(fds[0]));
    assert_int_equal(send(ferry__win_socket(fds[0]), "last", 4, 0), 4);
    assert_int_equal(ferry__os_shutdown(fds[0], FERRY_SHUT_WRITE), 0);
    bool settled = false;
    for (int i = 0; i < 1000 && !settled; i++) {
        settled = ferry__os_settled(fds[0]);
        if (!settled) ferry__os_sleep(MS);
    }
    assert_true(settled);
    assert_false(ferry__os_unread(fds[0]));
    socket_close(loop, fds[0]);
    assert_int_equal(recv(ferry__win_socket(fds[1]), got, sizeof got, 0), 4);
    assert_int_equal(recv(ferry__win_socket(fds[1]), got, sizeof got, 0), 0);
    socket_close(loop, fds[1]);
    loop_close(loop);
}

static void win_os_names_of_sockets(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fd, other;
    ferry_addr addr;
    char text[64];
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    assert_int_equal(ferry_local_addr(loop, fd, &addr), 0);
    (void)ferry_addr_format(&addr, text, sizeof text);
    assert_string_equal(text, "0.0.0.0:0");
    assert_int_equal(ferry_peer_addr(loop, fd, &addr), FERRY_ENOTCONN);
    socket_close(loop, fd);
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_listen(loop, &fd, &addr, 0), 0);
    assert_own(fd);
    assert_int_equal(ferry_local_addr(loop, fd, &addr), 0);
    assert_int_not_equal(ferry_addr_port(&addr), 0);
    assert_int_equal(ferry_listen(loop, &other, &addr, 0), FERRY_EADDRINUSE);
    assert_int_equal(other, FERRY_FD_NONE);
    socket_close(loop, fd);
    loop_close(loop);
}

/* ---- Clock, waits, threads ----------------------------------------------------------------- */

static void win_os_clock(void **state) {
    (void)state;
    uint64_t before = ferry__os_clock(), last = before;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = ferry__os_clock();
        assert_true(now >= last);
        last = now;
    }
    before = ferry__os_clock();
    ferry__os_sleep(5 * MS);
    uint64_t slept = ferry__os_clock() - before;
    assert_true(slept >= 4 * MS && slept < 1000 * MS);
    struct ferry__lock lock;
    struct ferry__signal signal;
    ferry__os_lock_init(&lock);
    ferry__os_signal_init(&signal);
    ferry__os_lock(&lock);
    uint64_t until = ferry__os_clock() + 3 * MS + 123;
    while (ferry__os_signal_wait_until(&signal, &lock, until)) continue;
    assert_true(ferry__os_clock() >= until);
    ferry__os_unlock(&lock);
    ferry__os_signal_end(&signal);
    ferry__os_lock_end(&lock);
}

static void *tell_self(void *arg) {
    *(struct ferry__thread_id *)arg = ferry__os_thread_self();
    return NULL;
}

static void win_os_threads(void **state) {
    (void)state;
    struct ferry__thread thread;
    struct ferry__thread_id id = {0}, self = ferry__os_thread_self();
    assert_int_equal(ferry__os_thread_start(&thread, tell_self, &id), 0);
    ferry__os_thread_join(&thread);
    assert_true(id.id != 0 && id.id != self.id);
    assert_true(ferry__os_thread_ended(id));
    self.id += (uint64_t)1 << 32; /* the same number, of a thread that began at another time */
    assert_true(ferry__os_thread_ended(self));
}

static HANDLE waiting_pipe;

static void *wait_in_read(void *arg) {
    char byte;
    DWORD got = 0;
    DWORD *error = arg;
    *error = ReadFile(waiting_pipe, &byte, 1, &got, NULL) ? 0 : GetLastError();
    return NULL;
}

/* A read of a pipe that is not overlapped, where nothing comes. */
static void win_os_interrupts(void **state) {
    (void)state;
    HANDLE writer;
    struct ferry__thread thread;
    DWORD error = 0;
    assert_true(CreatePipe(&waiting_pipe, &writer, NULL, 0));
    assert_int_equal(ferry__os_thread_start(&thread, wait_in_read, &error), 0);
    HANDLE handle; /* what a thread begins with */
    memcpy(&handle, &thread, sizeof(handle));
    for (int i = 0; i < 2000 && WaitForSingleObject(handle, 1) != WAIT_OBJECT_0; i++) {
        assert_true(ferry__os_interrupt(&thread, ferry__os_interrupts_default()));
    }
    if (WaitForSingleObject(handle, 0) != WAIT_OBJECT_0) { /* Wine 8 */
        print_message("SKIP: CancelSynchronousIo does not end a read of a pipe here\n");
        assert_true(CloseHandle(writer));
        ferry__os_thread_join(&thread);
        assert_true(CloseHandle(waiting_pipe));
        skip();
    }
    ferry__os_thread_join(&thread);
    assert_int_equal(ferry__win_error(error), FERRY_ECANCELED);
    assert_true(CloseHandle(writer));
    assert_true(CloseHandle(waiting_pipe));
}

/* ---- Environment, signals ------------------------------------------------------------------ */

static void win_os_environment(void **state) {
    (void)state;
    assert_null(ferry__os_environment("FERRY_TEST_NOT_THERE"));
    assert_true(SetEnvironmentVariableW(L"FERRY_TEST", L"\x00e4\x4e2d\xd83d\xde00"));
    const char *first = ferry__os_environment("FERRY_TEST");
    assert_string_equal(first, "\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80");
    assert_true(SetEnvironmentVariableW(L"FERRY_TEST", L"other"));
    assert_string_equal(ferry__os_environment("FERRY_TEST"), "other");
    assert_string_equal(first, "\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80");
    assert_true(SetEnvironmentVariableW(L"FERRY_TEST", L""));
    assert_string_equal(ferry__os_environment("FERRY_TEST"), "");
    assert_true(SetEnvironmentVariableW(L"FERRY_TEST", NULL));
    assert_null(ferry__os_environment("FERRY_TEST"));
}

static int handled;

static void handle(int number) {
    handled = number;
}

static int64_t came_most;

static void count(ferry_op *op) {
    if (op->result > 0) came_most += op->result;
}

static void win_os_signals(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_op op = {0}, bad = {0};
    came_most = 0;
    assert_true(signal(SIGTERM, handle) != SIG_ERR);
    ferry_signal(loop, &op, SIGTERM, FERRY_MULTI, count);
    ferry_signal(loop, &bad, SIGSEGV, 0, NULL);
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(bad.result, FERRY_EINVAL);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(raise(SIGTERM), 0); /* the C library's default is not back */
    while (came_most < 2) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(handled, 0);
    ferry_cancel(loop, &op);
    assert_true(ferry_run(loop, FERRY_RUN_DONE) >= 0);
    assert_int_equal(op.result, FERRY_ECANCELED);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(handled, SIGTERM);
    assert_true(signal(SIGTERM, SIG_DFL) != SIG_ERR);
    loop_close(loop);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(win_os_kinds),
        cmocka_unit_test(win_os_pipes),
        cmocka_unit_test(win_os_pipe_of_messages),
        cmocka_unit_test(win_os_pairs),
        cmocka_unit_test(win_os_settles),
        cmocka_unit_test(win_os_names_of_sockets),
        cmocka_unit_test(win_os_clock),
        cmocka_unit_test(win_os_threads),
        cmocka_unit_test(win_os_interrupts),
        cmocka_unit_test(win_os_environment),
        cmocka_unit_test(win_os_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
