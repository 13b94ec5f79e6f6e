/* iocp_files.c - what only Windows has of files, pipes and waits: handles that are not overlapped
 * or that have another port, positions that the library keeps, handles that are signalled, loops
 * inside others by an event.
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
#include <string.h>
#include <tlhelp32.h>

#define MS 1000000u
#define SECONDS_5 5000000000u

/* ---- A loop, and one operation at a time --------------------------------------------------- */

static ferry_loop *loop_open(void) {
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    return loop;
}

static void loop_close(ferry_loop *loop) {
    assert_int_equal(ferry_loop_close(loop), 0);
}

static unsigned completions;

static void ended(ferry_op *op) {
    (void)op;
    completions++;
}

static int64_t finish(ferry_loop *loop, ferry_op *op) {
    while (op->state != 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    return op->result;
}

static int64_t read_at(ferry_loop *loop, ferry_fd fd, void *buf, size_t len, uint64_t offset) {
    ferry_op op = {.deadline_ns = SECONDS_5};
    ferry_read(loop, &op, fd, buf, len, offset, 0, ended);
    return finish(loop, &op);
}

static int64_t write_at(ferry_loop *loop, ferry_fd fd, const void *buf, size_t len,
                        uint64_t offset) {
    ferry_op op = {.deadline_ns = SECONDS_5};
    ferry_write(loop, &op, fd, buf, len, offset, 0, ended);
    return finish(loop, &op);
}

static void close_fd(ferry_loop *loop, ferry_fd fd) {
    ferry_op op = {.done = NULL};
    ferry_close(loop, &op, fd, 0, ended);
    assert_int_equal(finish(loop, &op), 0);
}

static int64_t poll_fd(ferry_loop *loop, ferry_fd fd, unsigned events, uint64_t deadline_ns) {
    ferry_op op = {.deadline_ns = deadline_ns};
    ferry_poll(loop, &op, fd, events, 0, ended);
    return finish(loop, &op);
}

/* Opened by somebody else, with what flags he likes. */
static ferry_fd file_open(wchar_t *path, DWORD access, DWORD flags) {
    wchar_t dir[MAX_PATH];
    if (path[0] == L'\0') {
        assert_true(GetTempPathW(MAX_PATH, dir) > 0);
        assert_true(GetTempFileNameW(dir, L"fer", 0, path) > 0);
    }
    HANDLE file = CreateFileW(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                              NULL, OPEN_EXISTING, flags, NULL);
    assert_true(file != INVALID_HANDLE_VALUE);
    return ferry__win_fd(file);
}

/* ---- Not overlapped ------------------------------------------------------------------------ */

static void iocp_files_not_overlapped(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    wchar_t path[MAX_PATH] = L"";
    char buf[16];
    ferry_fd fd = file_open(path, GENERIC_READ | GENERIC_WRITE, 0);
    assert_int_equal(write_at(loop, fd, "0123456789", 10, 0), 10);
    assert_int_equal(read_at(loop, fd, buf, 4, 3), 4);
    assert_memory_equal(buf, "3456", 4);
    assert_int_equal(read_at(loop, fd, buf, 4, 100), 0);
    assert_int_equal(read_at(loop, fd, buf, sizeof buf, 8), 2);
    ferry_vec vecs[2] = {{.data = buf, .len = 3}, {.data = buf + 8, .len = 4}};
    ferry_op op = {.done = NULL};
    ferry_readv(loop, &op, fd, vecs, 2, 1, FERRY_ALL, ended);
    assert_int_equal(finish(loop, &op), 7);
    assert_memory_equal(buf, "123", 3);
    assert_memory_equal(buf + 8, "4567", 4);
    close_fd(loop, fd);
    assert_true(DeleteFileW(path));
    loop_close(loop);
}

static void pipe_not_overlapped(ferry_fd fds[2]) {
    HANDLE from, to;
    assert_true(CreatePipe(&from, &to, NULL, 0));
    fds[0] = ferry__win_fd(from);
    fds[1] = ferry__win_fd(to);
}

static void iocp_files_pipe_not_overlapped(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    char buf[16];
    pipe_not_overlapped(fds);
    ferry_op op = {.done = NULL};
    ferry_read(loop, &op, fds[0], buf, sizeof buf, FERRY_CURRENT, 0, ended);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    unsigned before = completions;
    assert_int_equal(write_at(loop, fds[1], "waits", 5, FERRY_CURRENT), 5);
    while (completions < before + 2) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(op.result, 5);
    assert_memory_equal(buf, "waits", 5);

    /* A worker that waits is called back, wherever it is by then. */
    for (unsigned i = 0; i < 20; i++) {
        ferry_read(loop, &op, fds[0], buf, sizeof buf, FERRY_CURRENT, 0, ended);
        assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
        if (i % 2 == 0) ferry__os_sleep(2 * MS);
        ferry_cancel(loop, &op);
        assert_int_equal(finish(loop, &op), FERRY_ECANCELED);
    }
    close_fd(loop, fds[1]);
    assert_int_equal(read_at(loop, fds[0], buf, 1, FERRY_CURRENT), 0);
    close_fd(loop, fds[0]);
    loop_close(loop);
}

static void iocp_files_pool_not_overlapped(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_pool *pool;
    ferry_fd fds[2];
    pipe_not_overlapped(fds);
    assert_int_equal(ferry_pool_open(loop, &pool, 2, 64, 0, 0), 0);
    ferry_op op = {.done = NULL}, write = {.done = NULL};
    ferry_read_pool(loop, &op, fds[0], pool, 0, ended);
    ferry_write(loop, &write, fds[1], "lent", 4, FERRY_CURRENT, 0, NULL);
    assert_int_equal(finish(loop, &op), 4);
    assert_memory_equal(ferry_lent(&op)->data, "lent", 4);
    ferry_pool_put(pool, ferry_lent(&op));
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(ferry_pool_close(pool), 0);
    close_fd(loop, fds[0]);
    close_fd(loop, fds[1]);
    loop_close(loop);
}

/* ---- Another port -------------------------------------------------------------------------- */

static void iocp_files_bound_elsewhere(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    wchar_t path[MAX_PATH] = L"";
    char buf[4];
    ferry_fd fd = file_open(path, GENERIC_READ | GENERIC_WRITE, FILE_FLAG_OVERLAPPED);
    HANDLE port = CreateIoCompletionPort(ferry__win_handle(fd), NULL, 1, 0);
    assert_non_null(port);
    assert_int_equal(read_at(loop, fd, buf, sizeof buf, 0), FERRY_EINVAL);
    assert_int_equal(write_at(loop, fd, buf, sizeof buf, FERRY_CURRENT), FERRY_EINVAL);
    close_fd(loop, fd);
    assert_true(CloseHandle(port));
    assert_true(DeleteFileW(path));
    loop_close(loop);
}

/* ---- Positions ----------------------------------------------------------------------------- */

static void iocp_files_positions(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    wchar_t path[MAX_PATH] = L"";
    char buf[16];
    ferry_fd one = file_open(path, GENERIC_READ | GENERIC_WRITE, FILE_FLAG_OVERLAPPED);
    ferry_fd two = file_open(path, GENERIC_READ, FILE_FLAG_OVERLAPPED);
    assert_int_equal(write_at(loop, one, "abcdef", 6, FERRY_CURRENT), 6);
    assert_int_equal(write_at(loop, one, "ghi", 3, FERRY_CURRENT), 3);
    assert_int_equal(read_at(loop, one, buf, 1, FERRY_CURRENT), 0); /* the end */
    assert_int_equal(read_at(loop, two, buf, 4, FERRY_CURRENT), 4);
    assert_memory_equal(buf, "abcd", 4);
    assert_int_equal(read_at(loop, two, buf, 2, 7), 2); /* moves nothing */
    assert_int_equal(read_at(loop, two, buf, sizeof buf, FERRY_CURRENT), 5);
    assert_memory_equal(buf, "efghi", 5);
    assert_int_equal(write_at(loop, two, "x", 1, 0), FERRY_EBADF); /* not open for that */
    close_fd(loop, one);
    close_fd(loop, two);

    /* Appending, the position is where the file ends. */
    one = file_open(path, FILE_APPEND_DATA | FILE_READ_DATA | SYNCHRONIZE, FILE_FLAG_OVERLAPPED);
    assert_int_equal(write_at(loop, one, "jk", 2, FERRY_CURRENT), 2);
    assert_int_equal(write_at(loop, one, "l", 1, 0), 1);
    assert_int_equal(read_at(loop, one, buf, 16, 8), 4);
    assert_memory_equal(buf, "ijkl", 4);
    close_fd(loop, one);
    assert_true(DeleteFileW(path));
    loop_close(loop);
}

/* ---- What is signalled --------------------------------------------------------------------- */

static void iocp_polls_events(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    ferry_fd fd = ferry__win_fd(event);
    assert_non_null(event);
    assert_int_equal(poll_fd(loop, fd, FERRY_POLL_IN, 20 * MS), FERRY_ETIMEDOUT);
    ferry_op op = {.done = NULL};
    ferry_poll(loop, &op, fd, FERRY_POLL_IN, 0, ended);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_true(SetEvent(event));
    assert_int_equal(finish(loop, &op), FERRY_POLL_IN);
    assert_int_equal(poll_fd(loop, fd, FERRY_POLL_IN, SECONDS_5), FERRY_POLL_IN);
    assert_int_equal(poll_fd(loop, fd, FERRY_POLL_OUT, SECONDS_5), FERRY_EINVAL);
    assert_true(CloseHandle(event));
    assert_int_equal(poll_fd(loop, fd, FERRY_POLL_IN, SECONDS_5), FERRY_EBADF);
    loop_close(loop);
}

#define RACES 2000u
#define RACES_ENOUGH (RACES / 100)

static HANDLE race_event;
static _Atomic unsigned race_go, race_done; /* the round that is to be set, and that was */
static _Atomic bool race_over;

static void *race_setter(void *arg) {
    (void)arg;
    while (!race_over) {
        unsigned round = race_go;
        if (race_done != round) {
            SetEvent(race_event);
            race_done = round;
        } else {
            Sleep(0);
        }
    }
    return NULL;
}

/* A wait that is taken back at the moment when its handle is signalled ends once, one way or the
 * other. Who is first is up to the machine, so that it goes on until each was often enough. */
static void iocp_polls_race(void **state) {
    (void)state;
    unsigned came = 0, cancelled = 0;
    ferry_loop *loop = loop_open();
    struct ferry__thread thread;
    race_event = CreateEventW(NULL, TRUE, FALSE, NULL);
    assert_non_null(race_event);
    assert_int_equal(ferry__os_thread_start(&thread, race_setter, NULL), 0);
    for (unsigned i = 1; i <= RACES || came < RACES_ENOUGH || cancelled < RACES_ENOUGH; i++) {
        assert_true(i < 20 * RACES);
        ferry_op op = {.done = NULL};
        unsigned before = completions;
        assert_true(ResetEvent(race_event));
        ferry_poll(loop, &op, ferry__win_fd(race_event), FERRY_POLL_IN, 0, ended);
        assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
        race_go = i;
        for (unsigned spin = i % 16 * 500; spin > 0; spin--) YieldProcessor();
        if (i % 16 == 15) ferry__os_sleep(MS);
        ferry_cancel(loop, &op);
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        assert_int_equal(completions, before + 1);
        if (op.result == FERRY_POLL_IN) {
            came++;
        } else {
            assert_int_equal(op.result, FERRY_ECANCELED);
            cancelled++;
        }
        while (race_done != i) Sleep(0);
    }
    race_over = true;
    ferry__os_thread_join(&thread);
    assert_true(CloseHandle(race_event));
    loop_close(loop);
    print_message("%u came, %u were cancelled\n", came, cancelled);
}

static void iocp_polls_pipes(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    char buf[4];
    assert_int_equal(ferry_pipe(loop, fds), 0);
    assert_int_equal(poll_fd(loop, fds[0], FERRY_POLL_IN, 30 * MS), FERRY_ETIMEDOUT);
    ferry_op op = {.done = NULL};
    ferry_poll(loop, &op, fds[0], FERRY_POLL_IN, 0, ended);
    unsigned before = completions;
    assert_int_equal(write_at(loop, fds[1], "x", 1, FERRY_CURRENT), 1);
    while (completions < before + 2) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(op.result, FERRY_POLL_IN);
    close_fd(loop, fds[1]);
    assert_int_equal(read_at(loop, fds[0], buf, 4, FERRY_CURRENT), 1);
    int64_t events = poll_fd(loop, fds[0], FERRY_POLL_IN, SECONDS_5);
    assert_int_equal(events, FERRY_POLL_IN | FERRY_POLL_HUP);
    close_fd(loop, fds[0]);
    loop_close(loop);
}

/* ---- Inside another loop ------------------------------------------------------------------- */

#define THREADS_MAX 64u

/* The threads of this process, by their numbers. */
static unsigned threads_now(DWORD ids[THREADS_MAX]) {
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry = {.dwSize = sizeof entry};
    unsigned count = 0;
    assert_true(snapshot != INVALID_HANDLE_VALUE);
    for (BOOL more = Thread32First(snapshot, &entry); more; more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID != GetCurrentProcessId()) continue;
        assert_true(count < THREADS_MAX);
        ids[count++] = entry.th32ThreadID;
    }
    assert_true(CloseHandle(snapshot));
    return count;
}

/* How many there are that are not among the others. Those of the system's pools, which the tests
 * before this one had, come to their ends meanwhile. */
static unsigned threads_beside(const DWORD *others, unsigned other_count) {
    DWORD ids[THREADS_MAX];
    unsigned count = threads_now(ids), beside = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = 0;
        while (at < other_count && others[at] != ids[i]) at++;
        beside += at == other_count;
    }
    return beside;
}

static void iocp_embeds(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd pair[2];
    char buf[4];
    assert_int_equal(ferry_socketpair(loop, pair, FERRY_STREAM), 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    DWORD threads[THREADS_MAX];
    unsigned thread_count = threads_now(threads);
    HANDLE event = ferry__win_handle(ferry_loop_fd(loop));
    assert_int_equal(threads_beside(threads, thread_count), 1);
    for (unsigned i = 0; i < 200; i++) {
        ferry_op receive = {.done = NULL}, send = {.done = NULL};
        unsigned before = completions;
        ferry_recv(loop, &receive, pair[0], buf, 1, 0, ended);
        assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
        assert_int_equal(WaitForSingleObject(event, 0), WAIT_TIMEOUT);
        ferry_send(loop, &send, pair[1], "x", 1, 0, ended);
        while (completions < before + 2) {
            assert_int_equal(WaitForSingleObject(event, 5000), WAIT_OBJECT_0);
            assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        }
    }
    assert_int_equal(WaitForSingleObject(event, 0), WAIT_TIMEOUT);
    ferry_op timer = {.done = NULL};
    uint64_t begun = ferry__os_clock();
    unsigned before = completions;
    ferry_timer(loop, &timer, 30 * MS, 0, 0, ended);
    while (completions == before) {
        assert_int_equal(WaitForSingleObject(event, 5000), WAIT_OBJECT_0);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    }
    assert_true(ferry__os_clock() - begun >= 30 * MS);
    close_fd(loop, pair[0]);
    close_fd(loop, pair[1]);
    loop_close(loop);
    /* One that was waited for may be listed for a moment still. */
    for (unsigned i = 0; i < 2000 && threads_beside(threads, thread_count) > 0; i++) Sleep(1);
    assert_int_equal(threads_beside(threads, thread_count), 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(iocp_files_not_overlapped),
        cmocka_unit_test(iocp_files_pipe_not_overlapped),
        cmocka_unit_test(iocp_files_pool_not_overlapped),
        cmocka_unit_test(iocp_files_bound_elsewhere),
        cmocka_unit_test(iocp_files_positions),
        cmocka_unit_test(iocp_polls_events),
        cmocka_unit_test(iocp_polls_race),
        cmocka_unit_test(iocp_polls_pipes),
        cmocka_unit_test(iocp_embeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
