/* ops_errors.c - one set of errors: names, texts and the system's numbers (rule 12)
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct named {
    int64_t error;
    const char *name, *text;
};

static const struct named all[] = {
#define ROW(name, number, text) {name, #name, text},
    FERRY_ERROR_LIST(ROW)
#undef ROW
};

#define COUNT (sizeof all / sizeof *all)

static void contract_12_names_and_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(ferry_error_name(all[i].error), all[i].name);
        assert_string_equal(ferry_strerror(all[i].error), all[i].text);
        assert_true(strlen(ferry_strerror(all[i].error)) > 4);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(all[i].error, all[k].error);
            assert_string_not_equal(ferry_error_name(all[i].error), ferry_error_name(all[k].error));
            assert_string_not_equal(ferry_strerror(all[i].error), ferry_strerror(all[k].error));
        }
    }
}

static void contract_12_names_of_what_is_none(void **state) {
    (void)state;
    const int64_t strange[] = {-61, -1000, FERRY_ESYSTEM + 1, FERRY_ESYSTEM, INT_MIN, INT64_MIN};
    assert_string_equal(ferry_strerror(0), "success");
    assert_string_equal(ferry_error_name(0), "FERRY_OK");
    assert_string_equal(ferry_error_name(1), "FERRY_OK");
    assert_string_equal(ferry_error_name(INT64_MAX), "FERRY_OK");
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        assert_non_null(ferry_strerror(strange[i]));
        assert_true(strlen(ferry_strerror(strange[i])) > 4);
        assert_string_not_equal(ferry_strerror(strange[i]), "success");
        assert_non_null(ferry_error_name(strange[i]));
        assert_string_not_equal(ferry_error_name(strange[i]), "FERRY_OK");
    }
}

/* Every number of the system survives the way here and back, named or not. */
static void contract_12_system_numbers_survive(void **state) {
    (void)state;
    assert_int_equal(ferry_error_from_system(0), 0);
    assert_int_equal(ferry_error_system(0), 0);
    for (int code = 1; code <= 4200; code++) {
        int error = ferry_error_from_system(code);
        assert_true(error < 0);
        int back = ferry_error_system(error);
        /* Two numbers of the system may be one of ours (EDEADLK and its like have none). */
        if (back != code) assert_int_equal(ferry_error_from_system(back), error);
        if (error <= FERRY_ESYSTEM) assert_int_equal(back, code);
    }
    int far = ferry_error_from_system(1000000);
    assert_true(far <= FERRY_ESYSTEM);
    assert_int_equal(ferry_error_system(far), 1000000);
}

static void contract_12_system_numbers_of_ours(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        int code = ferry_error_system(all[i].error);
        assert_true(code >= 0);
        if (code != 0) assert_int_equal(ferry_error_from_system(code), all[i].error);
    }
    assert_int_equal(ferry_error_system(FERRY_ECLOSED), 0);
    assert_int_equal(ferry_error_system(5), 0);
    const struct {
        int code;
        int64_t error;
    } known[] = {
        {ECANCELED, FERRY_ECANCELED},
        {ETIMEDOUT, FERRY_ETIMEDOUT},
        {EBADF, FERRY_EBADF},
        {EFAULT, FERRY_EFAULT},
        {EMFILE, FERRY_EMFILE},
        {ENOENT, FERRY_ENOENT},
        {EISDIR, FERRY_EISDIR},
        {EPIPE, FERRY_EPIPE},
        {ECONNRESET, FERRY_ECONNRESET},
        {ECONNREFUSED, FERRY_ECONNREFUSED},
        {EADDRINUSE, FERRY_EADDRINUSE},
        {ENOTSOCK, FERRY_ENOTSOCK},
        {EAGAIN, FERRY_EAGAIN},
        {EOPNOTSUPP, FERRY_ENOTSUP},
        {EDESTADDRREQ, FERRY_EDESTADDRREQ},
        {ENAMETOOLONG, FERRY_ENAMETOOLONG},
        {ENOSPC, FERRY_ENOSPC},
        {EIO, FERRY_EIO},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(ferry_error_from_system(known[i].code), known[i].error);
    }
}

static void contract_12_format(void **state) {
    (void)state;
    char text[256], number[16];
    size_t len = ferry_error_format(FERRY_ECONNRESET, text, sizeof text);
    snprintf(number, sizeof number, "%d", ECONNRESET);
    assert_int_equal(len, strlen(text));
    assert_non_null(strstr(text, "FERRY_ECONNRESET"));
    assert_non_null(strstr(text, ferry_strerror(FERRY_ECONNRESET)));
    assert_non_null(strstr(text, number));
    /* One without a name of ours is told by its number. */
    len = ferry_error_format(ferry_error_from_system(4095), text, sizeof text);
    assert_int_equal(len, strlen(text));
    assert_non_null(strstr(text, "4095"));
    len = ferry_error_format(0, text, sizeof text);
    assert_int_equal(len, strlen(text));
    assert_non_null(strstr(text, "success"));
}

/* Cut to every length there is, always ended with 0, and nothing touched behind it. */
static void contract_12_format_is_cut(void **state) {
    (void)state;
    char whole[256], text[260];
    const int64_t errors[] = {FERRY_EBADF, FERRY_ECLOSED, ferry_error_from_system(4095), INT64_MIN};
    for (size_t e = 0; e < 4; e++) {
        size_t len = ferry_error_format(errors[e], whole, sizeof whole);
        assert_in_range(len, 5, sizeof whole - 1);
        for (size_t room = 0; room <= len + 2; room++) {
            memset(text, '#', sizeof text);
            assert_int_equal(ferry_error_format(errors[e], text, room), len);
            size_t kept = room == 0 ? 0 : (room - 1 < len ? room - 1 : len);
            assert_memory_equal(text, whole, kept);
            if (room > 0) assert_int_equal(text[kept], 0);
            for (size_t i = room; i < sizeof text; i++) assert_int_equal(text[i], '#');
        }
        assert_int_equal(ferry_error_format(errors[e], NULL, 0), len);
    }
}

const struct contract_test ops_errors_tests[] = {
    {"contract_12_names_and_texts", contract_12_names_and_texts, 0},
    {"contract_12_names_of_what_is_none", contract_12_names_of_what_is_none, 0},
    {"contract_12_system_numbers_survive", contract_12_system_numbers_survive, 0},
    {"contract_12_system_numbers_of_ours", contract_12_system_numbers_of_ours, 0},
    {"contract_12_format", contract_12_format, 0},
    {"contract_12_format_is_cut", contract_12_format_is_cut, 0},
    {NULL, NULL, 0},
};
