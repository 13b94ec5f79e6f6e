/* win_texts.c - what Windows is given as text: paths, arguments, environments; and what of it comes
 * back.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "win/files.h"
#include "win/process.h"

#include <shellapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

/* ---- UTF-8 --------------------------------------------------------------------------------- */

static const struct {
    const char *narrow;
    const wchar_t *wide;
} texts[] = {
    {"", L""},
    {"a/b", L"a/b"},
    {"\x7f\xc2\x80\xdf\xbf", L"\x7f\x80\x7ff"},
    {"\xe0\xa0\x80\xef\xbf\xbf", L"\x800\xffff"},
    {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", L"\xd800\xdc00\xdbff\xdfff"},
    {"\xed\xa0\x80", L"\xd800"}, /* halves alone */
    {"\xed\xbf\xbfx", L"\xdfffx"},
    {"\xed\xa0\x80x", L"\xd800\x78"},
};

static const char *const wrong[] = {
    "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc2",
    "\xe0\x80\x80", "\xe0\x9f\xbf",     "\xe1\x80",         "\xf0\x80\x80\x80",
    "\xf5",         "\xf4\x90\x80\x80", "\xf1\x80\x80\x41", "\xff",
};

static void utf8_is_utf16_and_back(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        wchar_t *wide = NULL;
        char narrow[32];
        int64_t len = ferry__win_wide(texts[i].narrow, &wide);
        assert_int_equal(len, wcslen(texts[i].wide));
        assert_int_equal(wcscmp(wide, texts[i].wide), 0);
        size_t bytes = ferry__win_narrow(wide, (size_t)len, narrow, sizeof narrow);
        assert_int_equal(bytes, strlen(texts[i].narrow));
        assert_memory_equal(narrow, texts[i].narrow, bytes);
        free(wide);
    }
}

static void what_is_not_utf8_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wchar_t *wide = NULL;
        assert_int_equal(ferry__win_wide(wrong[i], &wide), FERRY_EILSEQ);
    }
}

static void whole_characters_fit_or_do_not(void **state) {
    (void)state;
    char buf[8] = "........";
    assert_int_equal(ferry__win_narrow(L"a\x20ac\xd83d\xde00", 4, buf, 5), 8);
    assert_memory_equal(buf, "a\xe2\x82\xac....", 8);
    assert_int_equal(ferry__win_narrow(L"a\x20ac\xd83d\xde00", 4, NULL, 0), 8);
}

/* ---- Paths --------------------------------------------------------------------------------- */

static const struct {
    const char *given;
    const wchar_t *name;
    bool is_directory;
} absolute[] = {
    {"C:\\", L"\\??\\C:\\", true},
    {"c:/a/./b//../c", L"\\??\\c:\\a\\c", false},
    {"C:/a/", L"\\??\\C:\\a", true},
    {"C:/../..", L"\\??\\C:\\", false},
    {"C:\\a.\\b. ", L"\\??\\C:\\a\\b", false},
    {"//server/share/a/../b", L"\\??\\UNC\\server\\share\\b", false},
    {"\\\\?\\C:\\a\\..\\b.", L"\\??\\C:\\a\\..\\b.", false},
    {"\\\\?\\UNC\\server\\share", L"\\??\\UNC\\server\\share", false},
    {"\\\\.\\pipe\\x", L"\\??\\pipe\\x", false},
    {"nul", L"\\??\\nul", false},
};

static void absolute_paths(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof absolute / sizeof absolute[0]; i++) {
        struct ferry__win_path path;
        assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, absolute[i].given), 0);
        if (_wcsicmp(path.name, absolute[i].name) != 0) {
            fail_msg("%s became %ls", absolute[i].given, path.name);
        }
        assert_int_equal(path.len, wcslen(path.name));
        assert_int_equal(path.is_directory, absolute[i].is_directory);
        assert_null(path.dir);
        ferry__win_path_end(&path);
    }
}

static HANDLE open_here(void) {
    struct ferry__win_path path;
    HANDLE here = NULL;
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, "."), 0);
    assert_int_equal(ferry__win_open(&path, FILE_LIST_DIRECTORY, FILE_OPEN,
                                     FILE_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT, &here),
                     STATUS_SUCCESS);
    ferry__win_path_end(&path);
    return here;
}

static const struct {
    const char *given;
    const wchar_t *name;
} relative[] = {
    {"a", L"a"},   {".", L""},           {"./a//b/./c/", L"a\\b\\c"}, {"a\\b/../../c", L"c"},
    {"a/..", L""}, {"a./b. .", L"a\\b"},
};

static void paths_relative_to_a_directory(void **state) {
    (void)state;
    HANDLE here = open_here();
    struct ferry__win_path path;
    for (size_t i = 0; i < sizeof relative / sizeof relative[0]; i++) {
        assert_int_equal(ferry__win_path_make(&path, ferry__win_fd(here), relative[i].given), 0);
        if (wcscmp(path.name, relative[i].name) != 0) {
            fail_msg("%s became %ls", relative[i].given, path.name);
        }
        assert_ptr_equal(path.dir, here);
        ferry__win_path_end(&path);
    }
    assert_int_equal(ferry__win_path_make(&path, ferry__win_fd(here), "C:/x"), 0);
    assert_null(path.dir); /* needs none */
    ferry__win_path_end(&path);
    assert_int_equal(ferry__win_path_make(&path, ferry__win_fd(here), "../../../../../../.."), 0);
    assert_null(path.dir);
    assert_int_equal(wcsncmp(path.name, L"\\??\\", 4), 0);
    ferry__win_path_end(&path);
    (void)CloseHandle(here);
    assert_int_equal(ferry__win_path_make(&path, ferry__win_fd(here), "a"), FERRY_EBADF);
}

static void paths_that_are_none(void **state) {
    (void)state;
    struct ferry__win_path path;
    char *text = malloc(40001);
    assert_non_null(text);
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, ""), FERRY_ENOENT);
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, "a\xff"), FERRY_EILSEQ);
    memset(text, 'n', 256);
    text[256] = '\0';
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, text), FERRY_ENAMETOOLONG);
    text[255] = '\0';
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, text), 0);
    ferry__win_path_end(&path);
    for (int i = 0; i < 40000; i++) text[i] = i % 100 == 0 ? '\\' : 'n';
    text[40000] = '\0';
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, text), FERRY_ENAMETOOLONG);
    text[30000] = '\0';
    assert_int_equal(ferry__win_path_make(&path, FERRY_FD_NONE, text), 0);
    ferry__win_path_end(&path);
    free(text);
}

/* ---- Arguments and environment ------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t chance(uint32_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* Those characters that mean something, and some that do not. */
static void argument_make(char *to, size_t max) {
    static const char letters[] = "\\\\\\\"\"  \tab";
    size_t len = chance((uint32_t)max);
    for (size_t i = 0; i < len; i++) to[i] = letters[chance(sizeof letters - 1)];
    to[len] = '\0';
}

static void expect_taken_apart(const char *const *argv, int argc) {
    const ferry_child asked = {.program = "p", .argv = argv};
    struct ferry__text text = {.units = NULL};
    assert_int_equal(ferry__process_command(&asked, &text), 0);
    int count = 0;
    wchar_t **taken = CommandLineToArgvW(text.units, &count);
    assert_non_null(taken);
    assert_int_equal(count, argc);
    for (int i = 0; i < argc; i++) {
        char narrow[64] = "";
        (void)ferry__win_narrow(taken[i], wcslen(taken[i]) + 1, narrow, sizeof narrow);
        assert_string_equal(narrow, argv[i]);
    }
    (void)LocalFree(taken);
    ferry__text_end(&text);
}

static void arguments_come_as_they_were_given(void **state) {
    (void)state;
    char arguments[5][16];
    for (int i = 0; i < 20000; i++) {
        const char *argv[7] = {i % 2 == 0 ? "p" : "a program\\"};
        int argc = 1 + (int)chance(6);
        for (int k = 1; k < argc; k++) {
            argument_make(arguments[k - 1], sizeof arguments[0]);
            argv[k] = arguments[k - 1];
        }
        expect_taken_apart(argv, argc);
    }
}

static void arguments_that_cannot_be_given(void **state) {
    (void)state;
    char *text = malloc(40001);
    assert_non_null(text);
    memset(text, 'a', 40000);
    text[40000] = '\0';
    const char *argv[] = {"p", text, NULL};
    const ferry_child asked = {.program = "p", .argv = argv};
    static const struct {
        size_t len;
        int error;
    } lengths[] = {{40000, FERRY_E2BIG}, {32765, FERRY_E2BIG}, {32764, 0}};
    for (size_t i = 0; i < 3; i++) {
        struct ferry__text command = {.units = NULL};
        text[lengths[i].len] = '\0';
        assert_int_equal(ferry__process_command(&asked, &command), lengths[i].error);
        ferry__text_end(&command);
    }
    free(text);
    struct ferry__text command = {.units = NULL};
    const char *quote[] = {"p\"", NULL}, *not_utf8[] = {"p", "\xff", NULL};
    const ferry_child first = {.program = "p", .argv = quote};
    assert_int_equal(ferry__process_command(&first, &command), FERRY_EINVAL);
    const ferry_child second = {.program = "p", .argv = not_utf8};
    assert_int_equal(ferry__process_command(&second, &command), FERRY_EILSEQ);
    ferry__text_end(&command);
}

static void environments_are_in_order(void **state) {
    (void)state;
    static const wchar_t expected[] = L"=C:=C:\\x\0a=1\0B=2\0b2=\0ZZ=\x20ac\0";
    const char *envp[] = {"ZZ=\xe2\x82\xac", "b2=", "B=2", "a=1", "=C:=C:\\x", NULL};
    const char *none[] = {NULL};
    ferry_child asked = {.program = "p", .envp = envp};
    struct ferry__text block = {.units = NULL};
    assert_int_equal(ferry__process_environment(&asked, &block), 0);
    assert_int_equal(block.len, sizeof expected / sizeof expected[0]);
    assert_memory_equal(block.units, expected, sizeof expected);
    ferry__text_end(&block);
    block = (struct ferry__text){.units = NULL};
    asked.envp = none;
    assert_int_equal(ferry__process_environment(&asked, &block), 0);
    assert_int_equal(block.len, 2);
    assert_memory_equal(block.units, L"\0", 2 * sizeof(wchar_t));
    ferry__text_end(&block);
    block = (struct ferry__text){.units = NULL};
    asked.envp = NULL;
    assert_int_equal(ferry__process_environment(&asked, &block), 0);
    assert_null(block.units);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_utf16_and_back),
        cmocka_unit_test(what_is_not_utf8_is_refused),
        cmocka_unit_test(whole_characters_fit_or_do_not),
        cmocka_unit_test(absolute_paths),
        cmocka_unit_test(paths_relative_to_a_directory),
        cmocka_unit_test(paths_that_are_none),
        cmocka_unit_test(arguments_come_as_they_were_given),
        cmocka_unit_test(arguments_that_cannot_be_given),
        cmocka_unit_test(environments_are_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
