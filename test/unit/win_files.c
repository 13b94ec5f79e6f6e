/* win_files.c - what only Windows has to do with files: handles that are not overlapped, long
 * paths, names outside the code page, read-only files, what stands open in the way.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "win/win.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_OUTSIDE "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80 \xd8\xa7 \xed\xa0\x80"

static ferry_loop *loop;
static ferry_op op;

static int64_t wait_for_it(void) {
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return op.result;
}

#define EXPECT(call, result)                                                                       \
    do {                                                                                           \
        call;                                                                                      \
        expect(wait_for_it(), result, __LINE__);                                                   \
    } while (0)

static void expect(int64_t is, int64_t should_be, int line) {
    if (is == should_be) return;
    fail_msg("line %d: %lld (%s), not %lld", line, (long long)is, ferry_error_name(is),
             (long long)should_be);
}

static bool on_wine(const char *what) {
    assert_int_equal(ferry__win_start(), 0);
    if (ferry__win.wine) print_message("# on Wine: %s\n", what);
    return ferry__win.wine;
}

static ferry_fd open_file(const char *path, unsigned how) {
    ferry_open(loop, &op, path, how, 0644, 0, NULL);
    int64_t fd = wait_for_it();
    if (fd < 0) fail_msg("%s: %s", path, ferry_error_name(fd));
    return (ferry_fd)fd;
}

static void close_fd(ferry_fd fd) {
    EXPECT(ferry_close(loop, &op, fd, 0, NULL), 0);
}

static void write_file(const char *path, const char *text) {
    ferry_fd fd = open_file(path, FERRY_OPEN_WRITE | FERRY_OPEN_CREATE | FERRY_OPEN_TRUNCATE);
    EXPECT(ferry_write(loop, &op, fd, text, strlen(text), 0, 0, NULL), (int64_t)strlen(text));
    close_fd(fd);
}

static void remove_file(const char *path) {
    EXPECT(ferry_unlink(loop, &op, FERRY_FD_NONE, path, 0, NULL), 0);
}

/* ---- Handles that the program has opened in its own way -------------------------------------- */

static HANDLE open_plain(const char *path) {
    HANDLE handle = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, 7, NULL, CREATE_ALWAYS,
                                FILE_ATTRIBUTE_NORMAL, NULL);
    assert_ptr_not_equal(handle, INVALID_HANDLE_VALUE);
    return handle;
}

static void a_file_that_is_not_overlapped(void **state) {
    (void)state;
    char buf[32], more[4];
    ferry_fd fd = ferry__win_fd(open_plain("plain"));
    ferry_vec vecs[3] = {{.len = 4, .data = buf}, {.len = 0}, {.len = 4, .data = more}};
    EXPECT(ferry_write(loop, &op, fd, "0123", 4, FERRY_CURRENT, 0, NULL), 4);
    EXPECT(ferry_write(loop, &op, fd, "ab", 2, 10, 0, NULL), 2);
    EXPECT(ferry_write(loop, &op, fd, "4567", 4, FERRY_CURRENT, 0, NULL), 4);
    EXPECT(ferry_read(loop, &op, fd, buf, sizeof buf, 0, FERRY_ALL, NULL), 12);
    assert_memory_equal(buf, "01234567\0\0ab", 12);
    EXPECT(ferry_readv(loop, &op, fd, vecs, 3, 1, 0, NULL), 8);
    assert_memory_equal(buf, "1234", 4);
    assert_memory_equal(more, "567", 4);
    EXPECT(ferry_read(loop, &op, fd, buf, sizeof buf, FERRY_CURRENT, 0, NULL), 4);
    EXPECT(ferry_read(loop, &op, fd, buf, sizeof buf, FERRY_CURRENT, 0, NULL), 0);
    assert_true(op.flags & FERRY_EOF);
    EXPECT(ferry_read(loop, &op, fd, buf, sizeof buf, 1000, 0, NULL), 0);
    assert_true(op.flags & FERRY_EOF);
    EXPECT(ferry_truncate(loop, &op, fd, 3, 0, NULL), 0);
    EXPECT(ferry_sync(loop, &op, fd, FERRY_DATA, NULL), 0);
    close_fd(fd);
    remove_file("plain");
}

static void a_pipe_that_is_not_overlapped(void **state) {
    (void)state;
    char buf[32];
    HANDLE reads = NULL, writes = NULL;
    assert_true(CreatePipe(&reads, &writes, NULL, 0));
    EXPECT(ferry_write(loop, &op, ferry__win_fd(writes), "hello", 5, FERRY_CURRENT, 0, NULL), 5);
    EXPECT(ferry_read(loop, &op, ferry__win_fd(reads), buf, sizeof buf, FERRY_CURRENT, 0, NULL), 5);
    close_fd(ferry__win_fd(writes));
    EXPECT(ferry_read(loop, &op, ferry__win_fd(reads), buf, sizeof buf, FERRY_CURRENT, 0, NULL), 0);
    assert_true(op.flags & FERRY_EOF);
    close_fd(ferry__win_fd(reads));
}

static void handles_are_not_inherited(void **state) {
    (void)state;
    DWORD flags = HANDLE_FLAG_INHERIT;
    char name[] = "private-XXXXXX";
    ferry_fd fd = open_file("file", FERRY_OPEN_WRITE | FERRY_OPEN_CREATE);
    assert_true(GetHandleInformation(ferry__win_handle(fd), &flags));
    assert_int_equal(flags & HANDLE_FLAG_INHERIT, 0);
    close_fd(fd);
    remove_file("file");
    ferry_temp_file(loop, &op, FERRY_FD_NONE, name, 0, NULL);
    fd = (ferry_fd)wait_for_it();
    assert_true(GetHandleInformation(ferry__win_handle(fd), &flags));
    assert_int_equal(flags & HANDLE_FLAG_INHERIT, 0);
    close_fd(fd);
    remove_file(name);
}

/* The system refuses the right to append to what is opened past the cache. (Wine does not.) */
static void past_the_cache_without_the_right_to_append(void **state) {
    (void)state;
    const unsigned how = FERRY_OPEN_READ | FERRY_OPEN_WRITE | FERRY_OPEN_CREATE | FERRY_OPEN_DIRECT;
    FILE_ACCESS_INFORMATION granted = {.AccessFlags = FILE_APPEND_DATA};
    IO_STATUS_BLOCK status;
    char *page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    assert_non_null(page);
    ferry_fd fd = open_file("direct", how);
    assert_int_equal(NtQueryInformationFile(ferry__win_handle(fd), &status, &granted,
                                            sizeof granted, FileAccessInformation),
                     STATUS_SUCCESS);
    assert_int_equal(granted.AccessFlags & (FILE_WRITE_DATA | FILE_APPEND_DATA), FILE_WRITE_DATA);
    EXPECT(ferry_write(loop, &op, fd, page, 4096, 0, 0, NULL), 4096);
    EXPECT(ferry_write(loop, &op, fd, page, 4096, FERRY_CURRENT, 0, NULL), 4096);
    EXPECT(ferry_read(loop, &op, fd, page, 4096, 0, 0, NULL), 4096);
    close_fd(fd);
    EXPECT(ferry_open(loop, &op, "direct", how | FERRY_OPEN_APPEND, 0644, 0, NULL), FERRY_EINVAL);
    remove_file("direct");
    assert_true(VirtualFree(page, 0, MEM_RELEASE));
}

/* ---- Names --------------------------------------------------------------------------------- */

/* A path of 300 characters and more, below the current directory. */
static void paths_of_three_hundred_characters(void **state) {
    (void)state;
    char path[600] = "long", part[101];
    ferry_file about;
    memset(part, 'x', 100);
    part[100] = '\0';
    EXPECT(ferry_mkdir(loop, &op, FERRY_FD_NONE, path, 0755, 0, NULL), 0);
    for (int i = 0; i < 4; i++) {
        (void)strcat(strcat(path, "/"), part);
        EXPECT(ferry_mkdir(loop, &op, FERRY_FD_NONE, path, 0755, 0, NULL), 0);
    }
    ferry_fd dir = open_file(path, FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY);
    size_t len = strlen(path);
    (void)strcat(path, "/file");
    write_file(path, "text");
    EXPECT(ferry_stat(loop, &op, path, &about, 0, NULL), 0);
    assert_int_equal(about.size, 4);
    EXPECT(ferry_stat_at(loop, &op, dir, "./file", &about, 0, NULL), 0);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, path, dir, "renamed", 0, NULL), 0);
    EXPECT(ferry_unlink(loop, &op, dir, "renamed", 0, NULL), 0);
    close_fd(dir);
    for (; len > 4; len -= 101) {
        path[len] = '\0';
        EXPECT(ferry_rmdir(loop, &op, FERRY_FD_NONE, path, 0, NULL), 0);
    }
    EXPECT(ferry_rmdir(loop, &op, FERRY_FD_NONE, "long", 0, NULL), 0);
}

static void names_outside_the_code_page(void **state) {
    (void)state;
    char buf[2048];
    ferry_entry entry = {.name = NULL};
    EXPECT(ferry_mkdir(loop, &op, FERRY_FD_NONE, "names", 0755, 0, NULL), 0);
    ferry_fd dir = open_file("names", FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY);
    /* Wine keeps names in UTF-8, where half a pair has no place. */
    char name[] = NAMES_OUTSIDE;
    if (on_wine("halves of pairs are not kept")) name[strlen(name) - 4] = '\0';
    ferry_open_at(loop, &op, dir, name, FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0644, 0, NULL);
    assert_true(wait_for_it() > 0);
    close_fd((ferry_fd)op.result);
    ferry_list(loop, &op, dir, buf, sizeof buf, 0, NULL);
    int64_t bytes = wait_for_it();
    assert_int_equal(ferry_entry_next(buf, bytes, &entry), 1);
    assert_string_equal(entry.name, name);
    assert_int_equal(entry.name_len, strlen(name));
    assert_int_equal(ferry_entry_next(buf, bytes, &entry), 0);
    EXPECT(ferry_unlink(loop, &op, dir, name, 0, NULL), 0);
    close_fd(dir);
    EXPECT(ferry_rmdir(loop, &op, FERRY_FD_NONE, "names", 0, NULL), 0);
}

static void names_regardless_of_case(void **state) {
    (void)state;
    ferry_file about;
    write_file("Case", "1");
    EXPECT(ferry_stat(loop, &op, "cASE", &about, 0, NULL), 0);
    EXPECT(ferry_open(loop, &op, "case",
                      FERRY_OPEN_WRITE | FERRY_OPEN_CREATE | FERRY_OPEN_EXCLUSIVE, 0644, 0, NULL),
           FERRY_EEXIST);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "Case", FERRY_FD_NONE, "cAsE", 0, NULL), 0);
    remove_file("CASE");
}

/* ---- What stands in the way ------------------------------------------------------------------ */

static void read_only_files_are_removed_and_replaced(void **state) {
    (void)state;
    ferry_file about;
    write_file("a", "1");
    write_file("b", "22");
    EXPECT(ferry_chmod(loop, &op, FERRY_FD_NONE, "b", 0444, 0, NULL), 0);
    EXPECT(ferry_stat(loop, &op, "b", &about, 0, NULL), 0);
    assert_int_equal(about.permissions, 0444);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "a", FERRY_FD_NONE, "b", 0, NULL), 0);
    EXPECT(ferry_stat(loop, &op, "b", &about, 0, NULL), 0);
    assert_int_equal(about.size, 1);
    EXPECT(ferry_chmod(loop, &op, FERRY_FD_NONE, "b", 0444, 0, NULL), 0);
    remove_file("b");
    EXPECT(ferry_stat(loop, &op, "b", &about, 0, NULL), FERRY_ENOENT);
}

static void what_is_open_is_renamed_and_removed(void **state) {
    (void)state;
    char buf[8];
    ferry_file about;
    write_file("a", "1");
    write_file("b", "22");
    ferry_fd a = open_file("a", FERRY_OPEN_READ), b = open_file("b", FERRY_OPEN_READ);
    bool differs = on_wine("what is open is not replaced, and has its name until it is closed");
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "a", FERRY_FD_NONE, differs ? "c" : "b", 0, NULL),
           0);
    EXPECT(ferry_read(loop, &op, a, buf, sizeof buf, 0, 0, NULL), 1);
    EXPECT(ferry_read(loop, &op, b, buf, sizeof buf, 0, 0, NULL), 2);
    remove_file("b");
    if (differs) {
        remove_file("c");
    } else {
        EXPECT(ferry_stat(loop, &op, "b", &about, 0, NULL), FERRY_ENOENT);
        write_file("b", "333");
        remove_file("b");
    }
    EXPECT(ferry_read(loop, &op, a, buf, sizeof buf, 0, 0, NULL), 1);
    close_fd(a);
    close_fd(b);
    EXPECT(ferry_stat(loop, &op, "b", &about, 0, NULL), FERRY_ENOENT);
}

static void what_is_open_unshared_is_busy(void **state) {
    (void)state;
    HANDLE handle = CreateFileA("locked", GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS,
                                FILE_ATTRIBUTE_NORMAL, NULL);
    assert_ptr_not_equal(handle, INVALID_HANDLE_VALUE);
    EXPECT(ferry_open(loop, &op, "locked", FERRY_OPEN_READ, 0, 0, NULL), FERRY_EBUSY);
    EXPECT(ferry_unlink(loop, &op, FERRY_FD_NONE, "locked", 0, NULL), FERRY_EBUSY);
    EXPECT(ferry_access(loop, &op, FERRY_FD_NONE, "locked", FERRY_MAY_READ, 0, NULL), 0);
    assert_true(CloseHandle(handle));
    remove_file("locked");
}

/* What did not fit is kept for the next time, and not for who has the number next. */
static void a_listing_ends_with_its_descriptor(void **state) {
    (void)state;
    char buf[20]; /* for one entry of such a name */
    EXPECT(ferry_mkdir(loop, &op, FERRY_FD_NONE, "listed", 0755, 0, NULL), 0);
    write_file("listed/one", "1");
    write_file("listed/two", "2");
    for (int i = 0; i < 3; i++) {
        ferry_fd dir = open_file("listed", FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY);
        ferry_entry entry = {0};
        ferry_list(loop, &op, dir, buf, sizeof buf, 0, NULL);
        assert_true(wait_for_it() > 0);
        assert_int_equal(ferry_entry_next(buf, op.result, &entry), 1);
        assert_string_equal(entry.name, "one");
        close_fd(dir); /* "two" has been taken off the directory */
    }
    remove_file("listed/one");
    remove_file("listed/two");
    EXPECT(ferry_rmdir(loop, &op, FERRY_FD_NONE, "listed", 0, NULL), 0);
}

static void mistakes_are_told_apart(void **state) {
    (void)state;
    ferry_file about;
    EXPECT(ferry_mkdir(loop, &op, FERRY_FD_NONE, "dir", 0755, 0, NULL), 0);
    write_file("file", "1");
    EXPECT(ferry_stat(loop, &op, "file/x", &about, 0, NULL), FERRY_ENOTDIR);
    EXPECT(ferry_stat(loop, &op, "file/x/y", &about, 0, NULL), FERRY_ENOTDIR);
    EXPECT(ferry_stat(loop, &op, "file/", &about, 0, NULL), FERRY_ENOTDIR);
    EXPECT(ferry_stat(loop, &op, "none/x", &about, 0, NULL), FERRY_ENOENT);
    EXPECT(ferry_stat(loop, &op, "a*?", &about, 0, NULL), FERRY_ENOENT);
    EXPECT(ferry_open(loop, &op, "dir", FERRY_OPEN_WRITE, 0, 0, NULL), FERRY_EISDIR);
    EXPECT(ferry_open(loop, &op, "new/", FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0, 0, NULL),
           FERRY_EISDIR);
    EXPECT(ferry_unlink(loop, &op, FERRY_FD_NONE, "dir", 0, NULL), FERRY_EISDIR);
    EXPECT(ferry_rmdir(loop, &op, FERRY_FD_NONE, "file", 0, NULL), FERRY_ENOTDIR);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "file", FERRY_FD_NONE, "dir", 0, NULL),
           FERRY_EISDIR);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "dir", FERRY_FD_NONE, "file", 0, NULL),
           FERRY_ENOTDIR);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "dir", FERRY_FD_NONE, "dir/in", 0, NULL),
           FERRY_EINVAL);
    EXPECT(ferry_rename(loop, &op, FERRY_FD_NONE, "dir", FERRY_FD_NONE, "x", FERRY_EXCHANGE, NULL),
           FERRY_ENOTSUP);
    remove_file("file");
    EXPECT(ferry_rmdir(loop, &op, FERRY_FD_NONE, "dir", 0, NULL), 0);
}

/* ---- All of it in a directory of its own ------------------------------------------------------
 */

static char directory[MAX_PATH];

static int begin(void **state) {
    (void)state;
    char temp[MAX_PATH];
    if (GetTempPathA(sizeof temp, temp) == 0) return -1;
    (void)snprintf(directory, sizeof directory, "%sferry-files-%lu-%llx", temp,
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_not_overlapped),
        cmocka_unit_test(a_pipe_that_is_not_overlapped),
        cmocka_unit_test(handles_are_not_inherited),
        cmocka_unit_test(past_the_cache_without_the_right_to_append),
        cmocka_unit_test(paths_of_three_hundred_characters),
        cmocka_unit_test(names_outside_the_code_page),
        cmocka_unit_test(names_regardless_of_case),
        cmocka_unit_test(read_only_files_are_removed_and_replaced),
        cmocka_unit_test(what_is_open_is_renamed_and_removed),
        cmocka_unit_test(what_is_open_unshared_is_busy),
        cmocka_unit_test(a_listing_ends_with_its_descriptor),
        cmocka_unit_test(mistakes_are_told_apart),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
