/* win_errors.c - the system's codes and ours, all of them: by number, as the system's documents
 * have them, so that the table is compared with something else than itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "win/win.h"

#define CODES_MOST 15
#define COUNT(of) (sizeof of / sizeof of[0])

struct row {
    int ours;
    DWORD codes[CODES_MOST]; /* 0 behind the last */
};

/* Win32, and Winsock's from 10000 on. */
static const struct row codes[] = {
    {FERRY_ECANCELED, {995, 1223, 1235, 10004, 10103, 10111}},
    {FERRY_ETIMEDOUT, {121, 258, 1460, 10060}},
    {FERRY_EBUSY, {16, 32, 33, 54, 108, 148, 170, 212, 220, 231, 303, 1224, 2404}},
    {FERRY_ENOTSUP, {1, 50, 117, 120, 10045, 10092}},
    {FERRY_EINVAL, {13, 24, 87, 124, 131, 160, 1004, 4390, 4392, 4393, 4394, 10022}},
    {FERRY_EBADF, {6, 114, 10009}},
    {FERRY_EFAULT, {487, 998, 1784, 10014}},
    {FERRY_ENOMEM, {8, 14, 1453, 1454, 1455, 1816}},
    {FERRY_EMFILE, {4, 10024, 10059}},
    {FERRY_ENFILE, {36}},
    {FERRY_EACCES, {5, 12, 65, 82, 225, 740, 1260, 1920, 6009, 10013}},
    {FERRY_EPERM, {288, 1307, 1314}},
    {FERRY_ENOENT, {2, 3, 15, 53, 67, 123, 126, 161, 203, 226, 1168}},
    {FERRY_EEXIST, {80, 183}},
    {FERRY_EISDIR, {336}},
    {FERRY_ENOTDIR, {267}},
    {FERRY_ENOTEMPTY, {145, 10066}},
    {FERRY_ENAMETOOLONG, {111, 206, 10063}},
    {FERRY_ELOOP, {681, 1921, 10062}},
    {FERRY_EXDEV, {17}},
    {FERRY_EROFS, {19}},
    {FERRY_ENOSPC, {39, 112, 1100}},
    {FERRY_EDQUOT, {1295, 10069}},
    {FERRY_EFBIG, {223, 665}},
    {FERRY_EIO, {23, 25, 26, 27, 29, 30, 31, 59, 107, 110, 1117, 1127, 1392, 1393, 4350}},
    {FERRY_ESPIPE, {132}},
    {FERRY_ENXIO, {21, 1112}},
    {FERRY_ENODEV, {20, 55, 433, 1005, 1167, 1617}},
    {FERRY_EPIPE, {109, 230, 232, 233, 1226, 10058, 10101}},
    {FERRY_ECONNRESET, {64, 10052, 10054}},
    {FERRY_ECONNREFUSED, {1225, 1234, 10061}},
    {FERRY_ECONNABORTED, {1236, 10053}},
    {FERRY_ENOTCONN, {536, 1229, 10057}},
    {FERRY_EISCONN, {535, 1230, 10056}},
    {FERRY_EALREADY, {10036, 10037}},
    {FERRY_EADDRINUSE, {1227, 10048}},
    {FERRY_EADDRNOTAVAIL, {1228, 1241, 10049}},
    {FERRY_EAFNOSUPPORT, {10046, 10047}},
    {FERRY_EDESTADDRREQ, {10039}},
    {FERRY_EMSGSIZE, {234, 10040}},
    {FERRY_ENETUNREACH, {1231, 10051}},
    {FERRY_EHOSTUNREACH, {51, 1232, 10065}},
    {FERRY_ENETDOWN, {10050, 10091}},
    {FERRY_EHOSTDOWN, {10064}},
    {FERRY_ENOBUFS, {1450, 10055}},
    {FERRY_ENOTSOCK, {10038}},
    {FERRY_ENOPROTOOPT, {1233, 10042}},
    {FERRY_EPROTONOSUPPORT, {10043, 10044}},
    {FERRY_EPROTOTYPE, {10041}},
    {FERRY_EAGAIN, {89, 164, 996, 1237, 1238, 10035, 10067, 11002}},
    {FERRY_ENOLCK, {167}},
    {FERRY_EOVERFLOW, {534, 1022}},
    {FERRY_ESTALE, {1006, 10070}},
    {FERRY_EILSEQ, {1113}},
    {FERRY_EMLINK, {1142}},
    {FERRY_ECHILD, {128}},
    {FERRY_ENONAME, {11001, 11004}},
    {FERRY_ENAMESERVER, {11003}},
    {FERRY_ENOROOM, {122}},
    {FERRY_E2BIG, {10}},
    {FERRY_ENOEXEC, {11, 191, 193, 216}},
    {FERRY_ENOSERVICE, {10108, 10109}},
};

/* NTSTATUS */
static const struct row statuses[] = {
    {FERRY_ECANCELED, {0xc0000120, 0xc0000240, 0xc0000703}},
    {FERRY_ETIMEDOUT, {0xc00000b5, 0xc000013f}},
    {FERRY_EBUSY, {0xc0000043, 0xc0000056, 0xc00000ab, 0xc00000ac, 0xc00000ae}},
    {FERRY_ENOTSUP, {0xc0000002, 0xc0000010, 0xc00000bb}},
    {FERRY_EINVAL, {0xc000000d, 0xc0000275}},
    {FERRY_EBADF, {0xc0000008, 0xc0000024, 0xc0000128}},
    {FERRY_EFAULT, {0xc0000005}},
    {FERRY_ENOMEM, {0xc0000017, 0xc0000044, 0xc000012d}},
    {FERRY_EMFILE, {0xc000011f}},
    {FERRY_EACCES, {0xc0000022, 0xc0000121}},
    {FERRY_EPERM, {0xc0000061}},
    {FERRY_ENOENT, {0xc000000f, 0xc0000033, 0xc0000034, 0xc000003a, 0xc000003b}},
    {FERRY_EEXIST, {0xc0000035}},
    {FERRY_EISDIR, {0xc00000ba}},
    {FERRY_ENOTDIR, {0xc0000103}},
    {FERRY_ENOTEMPTY, {0xc0000101}},
    {FERRY_ENAMETOOLONG, {0xc0000106}},
    {FERRY_ELOOP, {0x8000002d, 0xc000050b}},
    {FERRY_EXDEV, {0xc00000d4}},
    {FERRY_EROFS, {0xc00000a2}},
    {FERRY_ENOSPC, {0xc000007f}},
    {FERRY_EFBIG, {0xc0000904}},
    {FERRY_EMLINK, {0xc0000265}},
    {FERRY_EIO, {0xc00000e9}},
    {FERRY_EPIPE, {0xc00000b0, 0xc00000b1, 0xc000014b, 0xc0000237}},
    {FERRY_EAGAIN, {0xc00000d0, 0xc00000d9}},
    {FERRY_ECONNRESET, {0xc000013c, 0xc000013e, 0xc000020c, 0xc000020d}},
    {FERRY_ECONNREFUSED, {0xc00000bc, 0xc0000236, 0xc000023f}},
    {FERRY_ECONNABORTED, {0xc000013b, 0xc000020f, 0xc0000241}},
    {FERRY_ENOTCONN, {0xc00000b3, 0xc0000140, 0xc000023a}},
    {FERRY_EISCONN, {0xc00000b2, 0xc000023b}},
    {FERRY_EADDRINUSE, {0xc0000209, 0xc000020a, 0xc0000238}},
    {FERRY_EADDRNOTAVAIL, {0xc0000018, 0xc0000141, 0xc0000207}},
    {FERRY_EMSGSIZE, {0x80000005, 0xc0000206}},
    {FERRY_ENETUNREACH, {0xc000023c}},
    {FERRY_ENOPROTOOPT, {0xc000023e}},
    {FERRY_EHOSTUNREACH, {0xc000023d, 0xc000a012}},
    {FERRY_ENOBUFS, {0xc000009a, 0xc000013d}},
};

/* 0 if none of the rows has it. */
static int expected(const struct row *rows, size_t count, DWORD code) {
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < CODES_MOST && rows[r].codes[i] != 0; i++) {
            if (rows[r].codes[i] == code) return rows[r].ours;
        }
    }
    return 0;
}

/* Each number that there could be: those with a name of ours, and those that survive. */
static void win_errors_win32(void **state) {
    (void)state;
    assert_int_equal(ferry__win_error(0), 0);
    assert_int_equal(ferry_error_from_system(0), 0);
    assert_int_equal(ferry_error_system(0), 0);
    for (DWORD code = 1; code < 20000; code++) {
        int ours = expected(codes, COUNT(codes), code), is = ferry__win_error(code);
        if (ours == 0) ours = FERRY_ESYSTEM - (int)code;
        if (is != ours) fail_msg("%lu is %s", code, ferry_error_name(is));
        assert_int_equal(ferry_error_from_system((int)code), ours);
        if (ours < FERRY_ESYSTEM) assert_int_equal(ferry_error_system(ours), code);
    }
}

/* A status is what it is by itself, or what its Win32 code is, or it survives: an error always. */
static void win_errors_status(void **state) {
    (void)state;
    assert_int_equal(ferry__win_status(STATUS_SUCCESS), 0);
    assert_int_equal(ferry__win_status(STATUS_PENDING), 0);
    assert_int_equal(ferry__win_status(STATUS_TIMEOUT), 0);
    for (DWORD i = 0; i < 2 * 0xb000; i++) {
        DWORD status = i % 2 == 0 ? 0xc0000000 + i / 2 : 0x80000000 + i / 2;
        int ours = expected(statuses, COUNT(statuses), status);
        DWORD code = RtlNtStatusToDosError((NTSTATUS)status);
        if (ours == 0 && code != ERROR_MR_MID_NOT_FOUND && (LONG)code > 0) {
            ours = ferry__win_error(code);
        }
        int is = ferry__win_status((NTSTATUS)status);
        assert_true(is < 0);
        if (ours == 0) {
            assert_true(is < FERRY_ESYSTEM);
            assert_int_equal(ferry_error_system(is), (status & 0x0fffffff) | 0x10000000);
        } else if (is != ours) {
            fail_msg("%08lx is %s", status, ferry_error_name(is));
        }
    }
    /* In the place of a Win32 code, too: some functions give either. */
    assert_int_equal(ferry__win_error((DWORD)STATUS_PORT_UNREACHABLE), FERRY_ECONNREFUSED);
    assert_int_equal(ferry_error_from_system((int)STATUS_CONNECTION_RESET), FERRY_ECONNRESET);
}

/* Rows that the test above cannot tell from what the system makes of them. */
static void win_errors_statuses_listed(void **state) {
    (void)state;
    for (size_t r = 0; r < COUNT(statuses); r++) {
        for (size_t i = 0; i < CODES_MOST && statuses[r].codes[i] != 0; i++) {
            int is = ferry__win_status((NTSTATUS)statuses[r].codes[i]);
            assert_int_equal(is, statuses[r].ours);
        }
    }
}

/* What has a code of the system comes back from there. */
static void win_errors_back(void **state) {
    (void)state;
    int without = 0;
#define BACK(name, number, text)                                                                   \
    without += ferry_error_system(name) == 0;                                                      \
    if (ferry_error_system(name) != 0) {                                                           \
        assert_int_equal(ferry_error_from_system(ferry_error_system(name)), name);                 \
    }
    FERRY_ERROR_LIST(BACK)
#undef BACK
    /* ECLOSED, EFORKED, which are ours alone; ETXTBSY, EPROTO, ERANGE, ESRCH, which Windows has
     * under other names. */
    assert_int_equal(without, 6);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(win_errors_win32),
        cmocka_unit_test(win_errors_status),
        cmocka_unit_test(win_errors_statuses_listed),
        cmocka_unit_test(win_errors_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
