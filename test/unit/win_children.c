/* win_children.c - children on Windows: this program executes itself, as what the first argument
 * says.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "win/win.h"

#include <shellapi.h>

#include <fcntl.h>
#include <io.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define KILL 9
#define COUNT(of) (sizeof of / sizeof of[0])

static ferry_loop *loop;
static ferry_op op;
static char self[4 * MAX_PATH];

/* ---- What a child does ------------------------------------------------------------------------
 */

/* Its arguments and the environment variable FERRY_TEST come back as UTF-8, one a line. */
static int tell_arguments(int argc, wchar_t **argv) {
    char text[1024];
    (void)_setmode(1, _O_BINARY);
    for (int i = 2; i <= argc; i++) {
        const wchar_t *from = i < argc ? argv[i] : _wgetenv(L"FERRY_TEST");
        if (from == NULL) from = L"(none)";
        (void)WideCharToMultiByte(CP_UTF8, 0, from, -1, text, sizeof text, NULL, NULL);
        (void)printf("%s\n", text);
    }
    return 7;
}

static int tell_directory(void) {
    wchar_t path[MAX_PATH];
    if (GetCurrentDirectoryW(MAX_PATH, path) == 0) return 1;
    const wchar_t *last = wcsrchr(path, L'\\');
    (void)printf("%ls", last + 1);
    return 0;
}

static int copy_input(void) {
    char buf[64];
    for (int got; (got = _read(0, buf, sizeof buf)) > 0;) {
        if (_write(1, buf, (unsigned)got) != got) return 1;
        (void)_write(2, "!", 1);
    }
    return 0;
}

static int crash(void) {
    int *volatile nowhere = (int *)8;
    (void)SetErrorMode(SEM_NOGPFAULTERRORBOX);
    return *nowhere;
}

/* How many of the handles named are open here: none should be. */
static int count_handles(int argc, wchar_t **argv) {
    int count = 0;
    DWORD flags;
    for (int i = 2; i < argc; i++) {
        HANDLE handle = (HANDLE)(uintptr_t)_wcstoui64(argv[i], NULL, 10);
        if (GetFileType(handle) == FILE_TYPE_DISK && GetHandleInformation(handle, &flags)) count++;
    }
    return count;
}

static int be_child(int argc, wchar_t **argv) {
    if (wcscmp(argv[1], L"tell") == 0) return tell_arguments(argc, argv);
    if (wcscmp(argv[1], L"directory") == 0) return tell_directory();
    if (wcscmp(argv[1], L"copy") == 0) return copy_input();
    if (wcscmp(argv[1], L"crash") == 0) return crash();
    if (wcscmp(argv[1], L"handles") == 0) return count_handles(argc, argv);
    if (wcscmp(argv[1], L"minus") == 0) return -1;
    if (wcscmp(argv[1], L"large") == 0) return 70000;
    if (wcscmp(argv[1], L"sleep") == 0) Sleep(60000);
    return 99;
}

/* ---- Around it ---------------------------------------------------------------------------------
 */

static int64_t wait_for_it(void) {
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return op.result;
}

static void spawn(ferry_child *child, int64_t result) {
    ferry_spawn(loop, &op, child, 0, NULL);
    int64_t is = wait_for_it();
    if (is != result) {
        fail_msg("%s: %s, not %s", child->program, ferry_error_name(is), ferry_error_name(result));
    }
}

static ferry_exit wait_for(int64_t pid) {
    ferry_exit how = {.status = 12345};
    ferry_wait_process(loop, &op, pid, &how, 0, NULL);
    assert_int_equal(wait_for_it(), 0);
    return how;
}

static void expect_status(int64_t pid, int status, int signal) {
    ferry_exit how = wait_for(pid);
    assert_int_equal(how.status, status);
    assert_int_equal(how.signal, signal);
}

static void close_fd(ferry_fd fd) {
    ferry_close(loop, &op, fd, 0, NULL);
    assert_int_equal(wait_for_it(), 0);
}

/* All that comes out of a pipe, which is closed then. */
static void read_all(ferry_fd fd, char *text, size_t room) {
    size_t len = 0;
    do {
        ferry_read(loop, &op, fd, text + len, room - 1 - len, FERRY_CURRENT, 0, NULL);
        assert_true(wait_for_it() >= 0);
        len += (size_t)op.result;
    } while (op.result > 0);
    assert_true(op.flags & FERRY_EOF);
    text[len] = '\0';
    close_fd(fd);
}

static ferry_child silent(const char *const *argv) {
    ferry_child child = {.program = self, .argv = argv};
    for (int i = 0; i < 3; i++) child.stdio[i].kind = FERRY_STDIO_NULL;
    return child;
}

/* ---- The tests
 * ----------------------------------------------------------------------------------- */

static void arguments_and_environment(void **state) {
    (void)state;
    static const char expected[] =
        "a b\nq\"uote\nback\\slash\\\n\nsp \\\"x\n\xe6\x97\xa5\xf0\x9f\x98\x80\n"
        "b\xc3\xa4r\n";
    const char *argv[] = {"child",
                          "tell",
                          "a b",
                          "q\"uote",
                          "back\\slash\\",
                          "",
                          "sp \\\"x",
                          "\xe6\x97\xa5\xf0\x9f\x98\x80",
                          NULL};
    const char *envp[] = {"FERRY_OTHER=", "", "FERRY_TEST=b\xc3\xa4r", NULL};
    char text[1024];
    ferry_child child = silent(argv);
    child.envp = envp;
    child.stdio[1].kind = FERRY_STDIO_PIPE;
    spawn(&child, 0);
    read_all(child.stdio[1].fd, text, sizeof text);
    assert_string_equal(text, expected);
    expect_status(child.pid, 7, 0);
    ferry_wait_process(loop, &op, child.pid, NULL, 0, NULL);
    assert_int_equal(wait_for_it(), FERRY_ECHILD);
}

static void streams_through_pipes(void **state) {
    (void)state;
    const char *argv[] = {"child", "copy", NULL};
    char text[256];
    for (int same = 0; same < 2; same++) {
        ferry_child child = silent(argv);
        for (int i = 0; i < 3; i++) child.stdio[i].kind = FERRY_STDIO_PIPE;
        if (same) child.stdio[2] = (ferry_stdio){.kind = FERRY_STDIO_SAME, .fd = 1};
        spawn(&child, 0);
        ferry_write(loop, &op, child.stdio[0].fd, "hello", 5, FERRY_CURRENT, 0, NULL);
        assert_int_equal(wait_for_it(), 5);
        close_fd(child.stdio[0].fd);
        read_all(child.stdio[1].fd, text, sizeof text);
        assert_string_equal(text, same ? "hello!" : "hello");
        if (!same) {
            read_all(child.stdio[2].fd, text, sizeof text);
            assert_string_equal(text, "!");
        }
        expect_status(child.pid, 0, 0);
    }
}

static ferry_fd open_file(const char *path, unsigned how) {
    ferry_open(loop, &op, path, how, 0600, 0, NULL);
    assert_true(wait_for_it() > 0);
    return (ferry_fd)op.result;
}

/* Ours are overlapped, and the child's calls wait. */
static void streams_from_and_to_files(void **state) {
    (void)state;
    const char *argv[] = {"child", "copy", NULL};
    char text[256];
    ferry_fd from = open_file("from", FERRY_OPEN_READ | FERRY_OPEN_WRITE | FERRY_OPEN_CREATE);
    ferry_fd to = open_file("to", FERRY_OPEN_READ | FERRY_OPEN_WRITE | FERRY_OPEN_CREATE);
    ferry_write(loop, &op, from, "hello", 5, 0, 0, NULL);
    assert_int_equal(wait_for_it(), 5);
    ferry_child child = silent(argv);
    child.stdio[0] = (ferry_stdio){.kind = FERRY_STDIO_FD, .fd = from};
    child.stdio[1] = (ferry_stdio){.kind = FERRY_STDIO_FD, .fd = to};
    spawn(&child, 0);
    expect_status(child.pid, 0, 0);
    ferry_read(loop, &op, to, text, sizeof text, 0, 0, NULL);
    assert_int_equal(wait_for_it(), 5);
    assert_memory_equal(text, "hello", 5);
    close_fd(from);
    close_fd(to);
    assert_int_equal(remove("from"), 0);
    assert_int_equal(remove("to"), 0);
}

static void nothing_else_is_inherited(void **state) {
    (void)state;
    char number[24];
    SECURITY_ATTRIBUTES inherits = {.nLength = sizeof inherits, .bInheritHandle = TRUE};
    HANDLE handle = CreateFileA("inherited", GENERIC_READ, 7, &inherits, CREATE_ALWAYS, 0, NULL);
    assert_ptr_not_equal(handle, INVALID_HANDLE_VALUE);
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)(uintptr_t)handle);
    const char *argv[] = {"child", "handles", number, NULL};
    ferry_child child = silent(argv);
    spawn(&child, 0);
    expect_status(child.pid, 0, 0);
    assert_true(CloseHandle(handle));
    assert_int_equal(remove("inherited"), 0);
}

static void where_it_runs(void **state) {
    (void)state;
    const char *argv[] = {"child", "directory", NULL};
    char text[256];
    assert_true(CreateDirectoryA("below", NULL));
    ferry_child child = silent(argv);
    child.directory = "below";
    child.stdio[1].kind = FERRY_STDIO_PIPE;
    spawn(&child, 0);
    read_all(child.stdio[1].fd, text, sizeof text);
    assert_string_equal(text, "below");
    expect_status(child.pid, 0, 0);
    child.stdio[1].kind = FERRY_STDIO_NULL;
    child.directory = "none";
    spawn(&child, FERRY_ENOENT);
    assert_true(RemoveDirectoryA("below"));
}

static void write_text(const char *path) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("not a program\n", file);
    assert_int_equal(fclose(file), 0);
}

static void what_cannot_be_executed(void **state) {
    (void)state;
    static const struct {
        const char *program;
        int error;
    } programs[] = {
        {"ferry-no-such-program", FERRY_ENOENT},
        {"./none", FERRY_ENOENT},
        {"", FERRY_ENOENT},
        {"./text.txt/x", FERRY_ENOTDIR},
        {".", FERRY_EACCES},
        {"./text.txt", FERRY_ENOEXEC},
        {"./text.bat", FERRY_ENOEXEC},
        {"\xff", FERRY_EILSEQ},
    };
    const char *argv[] = {"child", NULL};
    write_text("text.txt");
    write_text("text.bat");
    for (size_t i = 0; i < COUNT(programs); i++) {
        ferry_child child = silent(argv);
        child.program = programs[i].program;
        child.stdio[0].kind = FERRY_STDIO_PIPE;
        spawn(&child, programs[i].error);
        assert_int_equal(child.pid, 0);
        assert_int_equal(child.stdio[0].fd, FERRY_FD_NONE);
    }
    assert_int_equal(remove("text.txt"), 0);
    assert_int_equal(remove("text.bat"), 0);
    ferry_child child = silent(argv);
    child.stdio[1] = (ferry_stdio){.kind = FERRY_STDIO_FD, .fd = 0x7ffffff4};
    spawn(&child, FERRY_EBADF);
}

static void how_it_ended(void **state) {
    (void)state;
    static const struct {
        const char *what;
        int status, signal;
    } ends[] = {{"minus", 255, 0}, {"large", 70000, 0}, {"crash", -1, SIGSEGV}, {"other", 99, 0}};
    for (size_t i = 0; i < COUNT(ends); i++) {
        const char *argv[] = {"child", ends[i].what, NULL};
        ferry_child child = silent(argv);
        spawn(&child, 0);
        expect_status(child.pid, ends[i].status, ends[i].signal);
    }
}

static void killed(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, KILL};
    const char *argv[] = {"child", "sleep", NULL};
    for (size_t i = 0; i < COUNT(signals); i++) {
        ferry_child child = silent(argv);
        spawn(&child, 0);
        assert_int_equal(ferry_kill(loop, child.pid, 0), 0);
        assert_int_equal(ferry_kill(loop, child.pid, SIGFPE), FERRY_ENOTSUP);
        /* It leads no group; a Ctrl-Break would come to us; and nobody else is meant. */
        assert_int_equal(ferry_kill(loop, -child.pid, SIGTERM), FERRY_ESRCH);
        assert_int_equal(ferry_kill(loop, child.pid, SIGBREAK), FERRY_ENOTSUP);
        assert_int_equal(ferry_kill(loop, child.pid + 1, KILL), FERRY_ESRCH);
        assert_int_equal(ferry_kill(loop, child.pid, signals[i]), 0);
        expect_status(child.pid, -1, signals[i]);
        assert_int_equal(ferry_kill(loop, child.pid, 0), FERRY_ESRCH);
    }
    assert_int_equal(ferry_kill(loop, 0, SIGTERM), FERRY_EINVAL);
    assert_int_equal(ferry_kill(loop, (int64_t)GetCurrentProcessId(), 0), 0);
}

static void groups_are_killed(void **state) {
    (void)state;
    const char *argv[] = {"child", "sleep", NULL};
    for (uint32_t how = FERRY_CHILD_GROUP; how <= FERRY_CHILD_SESSION; how++) {
        ferry_child child = silent(argv);
        child.how = how;
        spawn(&child, 0);
        assert_int_equal(ferry_kill(loop, -child.pid, 0), 0);
        assert_int_equal(ferry_kill(loop, -child.pid, KILL), 0);
        expect_status(child.pid, -1, KILL);
        assert_int_equal(ferry_kill(loop, -child.pid, 0), FERRY_ESRCH);
    }
}

/* Begun by the program in its own way. */
static void foreign_children(void **state) {
    (void)state;
    wchar_t program[MAX_PATH], command[] = L"child minus";
    STARTUPINFOW start = {.cb = sizeof start};
    PROCESS_INFORMATION made;
    assert_true(GetModuleFileNameW(NULL, program, MAX_PATH) > 0);
    assert_true(CreateProcessW(program, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &made));
    expect_status((int64_t)made.dwProcessId, 255, 0);
    ferry_wait_process(loop, &op, (int64_t)made.dwProcessId, NULL, 0, NULL);
    assert_int_equal(wait_for_it(), FERRY_ECHILD); /* although the system still has it */
    assert_true(CloseHandle(made.hThread));
    assert_true(CloseHandle(made.hProcess));
    ferry_wait_process(loop, &op, (int64_t)GetCurrentProcessId(), NULL, 0, NULL);
    assert_int_equal(wait_for_it(), FERRY_ECHILD);
}

/* ---- All of it in a directory of its own --------------------------------------------------------
 */

static char directory[MAX_PATH];

static int begin(void **state) {
    (void)state;
    char temp[MAX_PATH];
    wchar_t program[MAX_PATH];
    if (GetTempPathA(sizeof temp, temp) == 0) return -1;
    if (GetModuleFileNameW(NULL, program, MAX_PATH) == 0) return -1;
    (void)WideCharToMultiByte(CP_UTF8, 0, program, -1, self, sizeof self, NULL, NULL);
    (void)snprintf(directory, sizeof directory, "%sferry-children-%lu-%llx", temp,
                   GetCurrentProcessId(), (unsigned long long)GetTickCount64());
    if (!CreateDirectoryA(directory, NULL) || !SetCurrentDirectoryA(directory)) return -1;
    return ferry_loop_open(&loop, NULL);
}

static int end(void **state) {
    (void)state;
    int error = ferry_loop_close(loop);
    (void)SetCurrentDirectoryA("..");
    return error == 0 && RemoveDirectoryA(directory) ? 0 : -1;
}

int main(void) {
    int argc = 0;
    wchar_t **argv = CommandLineToArgvW(GetCommandLineW(), &argc);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_and_environment),
        cmocka_unit_test(streams_through_pipes),
        cmocka_unit_test(streams_from_and_to_files),
        cmocka_unit_test(nothing_else_is_inherited),
        cmocka_unit_test(where_it_runs),
        cmocka_unit_test(what_cannot_be_executed),
        cmocka_unit_test(how_it_ended),
        cmocka_unit_test(killed),
        cmocka_unit_test(groups_are_killed),
        cmocka_unit_test(foreign_children),
    };
    if (argv != NULL && argc > 1 && wcscmp(argv[0], L"child") == 0) return be_child(argc, argv);
    return cmocka_run_group_tests(tests, begin, end);
}
