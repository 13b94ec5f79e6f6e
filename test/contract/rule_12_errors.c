/* Rule 12: errors are one set of negative numbers, the same values and names on every system.
 *
 * A reset is not an end of stream; a timeout is not a cancel; unknown system codes survive.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void contract_12_numbers_names_and_texts(void **state) {
    (void)state;
    int seen[100] = {0};
    static const struct {
        int value, number;
        const char *name, *text;
    } all[] = {
#define ROW(name, number, text) {name, number, #name, text},
        FERRY_ERROR_LIST(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(all[i].value, -all[i].number);
        assert_true(all[i].number > 0 && all[i].number < 100);
        assert_int_equal(seen[all[i].number]++, 0);
        assert_string_equal(ferry_error_name(all[i].value), all[i].name);
        assert_string_equal(ferry_strerror(all[i].value), all[i].text);
    }
    /* Once given, a number is never given another meaning. */
    assert_int_equal(FERRY_ECANCELED, -1);
    assert_int_equal(FERRY_ETIMEDOUT, -2);
    assert_int_equal(FERRY_ECONNRESET, -33);
    assert_int_equal(FERRY_EMLINK, -60);
    assert_string_equal(ferry_error_name(0), "FERRY_OK");
    assert_string_equal(ferry_error_name(1234), "FERRY_OK");
    assert_string_equal(ferry_strerror(0), "success");
}

static void contract_12_errno_there_and_back(void **state) {
    (void)state;
    static const struct {
        int system, ours;
    } known[] = {{ECONNRESET, FERRY_ECONNRESET}, {EPIPE, FERRY_EPIPE},
                 {ENOENT, FERRY_ENOENT},         {EAGAIN, FERRY_EAGAIN},
                 {ETIMEDOUT, FERRY_ETIMEDOUT},   {ECANCELED, FERRY_ECANCELED},
                 {EBADF, FERRY_EBADF},           {EMFILE, FERRY_EMFILE},
                 {ENOSPC, FERRY_ENOSPC},         {EADDRINUSE, FERRY_EADDRINUSE},
                 {EOPNOTSUPP, FERRY_ENOTSUP},    {EINVAL, FERRY_EINVAL},
                 {EFAULT, FERRY_EFAULT},         {ENOMEM, FERRY_ENOMEM},
                 {ELOOP, FERRY_ELOOP},           {ENAMETOOLONG, FERRY_ENAMETOOLONG}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(ferry_error_from_system(known[i].system), known[i].ours);
        assert_int_equal(ferry_error_system(known[i].ours), known[i].system);
    }
    /* Every code without a name of ours comes back as it was. Two of the system's may share a name
     * (ENOSYS and EOPNOTSUPP), which then keeps its meaning. */
    for (int code = 1; code < 5000; code++) {
        int ours = ferry_error_from_system(code);
        assert_true(ours < 0);
        if (ours <= FERRY_ESYSTEM) assert_int_equal(ferry_error_system(ours), code);
        assert_int_equal(ferry_error_from_system(ferry_error_system(ours)), ours);
        assert_true(*ferry_error_name(ours) != 0);
        assert_true(*ferry_strerror(ours) != 0);
    }
    assert_true(ferry_error_from_system(4321) <= FERRY_ESYSTEM);
    assert_int_equal(ferry_error_system(0), 0);
    assert_int_equal(ferry_error_system(FERRY_ECLOSED), 0);
    assert_int_equal(ferry_error_system(FERRY_EFORKED), 0);
}

static void contract_12_anything_can_be_printed(void **state) {
    (void)state;
    static const int64_t odd[] = {0,       1,       -61,       -99,       -999,      -99999,
                                  -100000, -100001, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX};
    char buf[200];
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_non_null(ferry_strerror(odd[i]));
        assert_non_null(ferry_error_name(odd[i]));
        assert_true(ferry_error_format(odd[i], buf, sizeof buf) > 0);
    }
    ferry_error_format(ferry_error_from_system(4321), buf, sizeof buf);
    assert_non_null(strstr(buf, "4321")); /* survives and can be printed */
    size_t len = ferry_error_format(FERRY_ECONNRESET, buf, sizeof buf);
    assert_int_equal(len, strlen(buf));
    assert_non_null(strstr(buf, "FERRY_ECONNRESET"));
    assert_non_null(strstr(buf, ferry_strerror(FERRY_ECONNRESET)));
    char number[16];
    snprintf(number, sizeof number, "%d", ECONNRESET);
    assert_non_null(strstr(buf, number));
}

static void contract_12_formatting_cuts(void **state) {
    (void)state;
    char whole[200], cut[200];
    size_t len = ferry_error_format(FERRY_ENOENT, whole, sizeof whole);
    for (size_t room = 0; room <= len + 2; room++) {
        memset(cut, 'x', sizeof cut);
        assert_int_equal(ferry_error_format(FERRY_ENOENT, cut, room), len);
        if (room == 0) {
            assert_int_equal(cut[0], 'x');
            continue;
        }
        size_t kept = room <= len ? room - 1 : len;
        assert_memory_equal(cut, whole, kept);
        assert_int_equal(cut[kept], 0);
        assert_int_equal(cut[room], 'x');
    }
    assert_int_equal(ferry_error_format(FERRY_ENOENT, NULL, 0), len);
}

/* Four ways to end a receive, four outcomes. */
static void contract_12_outcomes_are_told_apart(void **state) {
    (void)state;
    enum { RESET, END, TIMEOUT, CANCEL, CLOSE, COUNT };
    static const int64_t expected[COUNT] = {FERRY_ECONNRESET, 0, FERRY_ETIMEDOUT, FERRY_ECANCELED,
                                            FERRY_ECANCELED};
    struct probe p[COUNT] = {{.calls = 0}};
    struct linger now = {1, 0};
    char buf[COUNT];
    ferry_fd fds[COUNT][2];
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        tcp_pair(loop, fds[i]);
        if (i == TIMEOUT) p[i].op.deadline_ns = 5 * MS;
        ferry_recv(loop, &p[i].op, fds[i][0], &buf[i], 1, 0, probe_done);
    }
    run_for(loop, 2 * MS);
    assert_int_equal(setsockopt(fds[RESET][1], SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fds[RESET][1]);
    close(fds[END][1]);
    ferry_cancel(loop, &p[CANCEL].op);
    ferry_close(loop, NULL, fds[CLOSE][0], 0, NULL);
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&p[i], expected[i]);
        assert_int_equal(p[i].flags, i == END ? FERRY_EOF : 0);
        if (i != CLOSE) close(fds[i][0]);
        if (i > END) close(fds[i][1]);
    }
    test_close(loop);
}

static void contract_12_operations_have_names(void **state) {
    (void)state;
    for (unsigned a = 1; a < FERRY_OP_COUNT; a++) {
        assert_true(*ferry_op_name(a) != 0);
        assert_string_not_equal(ferry_op_name(a), "?");
        for (unsigned b = 1; b < a; b++) {
            assert_string_not_equal(ferry_op_name(a), ferry_op_name(b));
        }
    }
    assert_string_equal(ferry_op_name(FERRY_OP_RECV), "recv");
    assert_string_equal(ferry_op_name(FERRY_OP_TIMER), "timer");
    assert_string_equal(ferry_op_name(FERRY_OP_COUNT), "?");
    assert_string_equal(ferry_op_name(FERRY_OP_NONE), "?");
    assert_string_equal(ferry_op_name(0xffffffffu), "?");
    assert_string_equal(ferry_version(), FERRY_VERSION_STRING);
}

const struct contract_test rule_12_tests[] = {
    {"contract_12_numbers_names_and_texts", contract_12_numbers_names_and_texts, 0},
    {"contract_12_errno_there_and_back", contract_12_errno_there_and_back, 0},
    {"contract_12_anything_can_be_printed", contract_12_anything_can_be_printed, 0},
    {"contract_12_formatting_cuts", contract_12_formatting_cuts, 0},
    {"contract_12_outcomes_are_told_apart", contract_12_outcomes_are_told_apart, 0},
    {"contract_12_operations_have_names", contract_12_operations_have_names, 0},
    {NULL, NULL, 0}};
