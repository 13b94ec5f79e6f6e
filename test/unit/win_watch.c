/* win_watch.c - watches of directories whose file system does not tell what an entry is, as only
 * NTFS does: they are asked in another way, and tell it all the same. Wine has not the call that
 * would be refused there, so that one of ours is found in its place.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "win/win.h"

static FARPROC found_instead(HMODULE module, const char *name);
#define GetProcAddress found_instead
#include "../../backends/win/eyes.c"
#undef GetProcAddress

#include <stdio.h>
#include <string.h>

/* ---- The call, refused ------------------------------------------------------------------------
 */

static unsigned asked;
static DWORD refusal;

static BOOL WINAPI refused(HANDLE handle, LPVOID buf, DWORD len, BOOL tree, DWORD filter,
                           LPDWORD bytes, LPOVERLAPPED overlapped,
                           LPOVERLAPPED_COMPLETION_ROUTINE routine, int class) {
    (void)handle, (void)buf, (void)len, (void)tree, (void)filter;
    (void)bytes, (void)overlapped, (void)routine;
    assert_int_equal(class, EXTENDED);
    asked++;
    SetLastError(refusal);
    return FALSE;
}

static FARPROC found_instead(HMODULE module, const char *name) {
    if (strcmp(name, "ReadDirectoryChangesExW") == 0) return (FARPROC)(void (*)(void))refused;
    return GetProcAddress(module, name);
}

/* ---- A watch of a directory -------------------------------------------------------------------
 */

static struct {
    ferry_op op;
    unsigned calls, finals, files, directories;
    int64_t result;
    ferry_watcher watcher;
    char buf[4096];
} watch;

static void changed(ferry_op *op) {
    ferry_change change;
    watch.calls++;
    watch.result = op->result;
    if (!(op->flags & FERRY_MORE)) watch.finals++;
    while (ferry_watch_next(&watch.watcher, &change) > 0) {
        if (change.kind != FERRY_CHANGE_CREATED) continue;
        watch.files += !change.is_directory && strcmp(change.name, "file") == 0;
        watch.directories += change.is_directory && strcmp(change.name, "directory") == 0;
    }
}

static void directory_make(char *path, size_t room) {
    char temp[MAX_PATH];
    assert_true(GetTempPathA(sizeof temp, temp) > 0);
    (void)snprintf(path, room, "%sferry-watch-%lu-%llx", temp, GetCurrentProcessId(),
                   (unsigned long long)GetTickCount64());
    assert_true(CreateDirectoryA(path, NULL));
}

static void entries_make(const char *directory) {
    char path[2 * MAX_PATH];
    (void)snprintf(path, sizeof path, "%s\\file", directory);
    HANDLE file = CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    assert_ptr_not_equal(file, INVALID_HANDLE_VALUE);
    assert_true(CloseHandle(file));
    (void)snprintf(path, sizeof path, "%s\\directory", directory);
    assert_true(CreateDirectoryA(path, NULL));
}

static void entries_remove(const char *directory) {
    char path[2 * MAX_PATH];
    (void)snprintf(path, sizeof path, "%s\\file", directory);
    assert_true(DeleteFileA(path));
    (void)snprintf(path, sizeof path, "%s\\directory", directory);
    assert_true(RemoveDirectoryA(path));
}

static void watch_begin(ferry_loop *loop, const char *path) {
    memset(&watch, 0, sizeof watch);
    watch.watcher.buf = watch.buf;
    watch.watcher.len = sizeof watch.buf;
    ferry_watch(loop, &watch.op, path, &watch.watcher, 0, changed);
    while (watch.calls == 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
}

static void entries_are_told_apart(void **state) {
    (void)state;
    static const DWORD refusals[] = {ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED,
                                     ERROR_INVALID_PARAMETER};
    char path[2 * MAX_PATH];
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        directory_make(path, sizeof path);
        refusal = refusals[i];
        asked = 0;
        watch_begin(loop, path);
        assert_int_equal(watch.finals, 0);
        assert_true(asked > 0);
        entries_make(path);
        while (watch.files + watch.directories < 2) {
            assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
            assert_int_equal(watch.finals, 0);
        }
        assert_int_equal(watch.files, 1);
        assert_int_equal(watch.directories, 1);
        ferry_cancel(loop, &watch.op);
        while (watch.finals == 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
        assert_int_equal(watch.result, FERRY_ECANCELED);
        entries_remove(path);
        assert_true(RemoveDirectoryA(path));
    }
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* What has nothing to do with the question is told. */
static void other_refusals_end_it(void **state) {
    (void)state;
    char path[2 * MAX_PATH];
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    directory_make(path, sizeof path);
    refusal = ERROR_NOT_ENOUGH_MEMORY;
    watch_begin(loop, path);
    assert_int_equal(watch.finals, 1);
    assert_int_equal(watch.result, FERRY_ENOMEM);
    assert_true(RemoveDirectoryA(path));
    assert_int_equal(ferry_loop_close(loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_told_apart),
        cmocka_unit_test(other_refusals_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
