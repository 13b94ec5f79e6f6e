/* choice_linux.c - what happens when the system refuses rings: Linux alone has them
 *
 * SPDX-License-Identifier: MIT
 */
#include "choice.h"
#include "internal.h"
#include "tables.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Refusal by the system
 * -------------------------------------------------------------------------- */

/* The backend that takes the place of a ring. */
#if FERRY_TEST_EPOLL
#define READINESS "epoll"
#else
#define READINESS "kqueue"
#endif

/* From here on the system answers like that who wants a ring, as a sandbox does. */
static int refuse_rings(unsigned answer) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int helper_open_refused(void) {
    const char *error = getenv("FERRY_TEST_ERRNO");
    if (!error || refuse_rings(SECCOMP_RET_ERRNO | (unsigned)atoi(error)) != 0) {
        printf("no sandbox\n");
        return 1;
    }
    uint64_t start_ns = clock_ns();
    int status = helper_open_auto();
    printf("took %llu us\n", (unsigned long long)(clock_ns() - start_ns) / 1000);
    return status;
}

static int helper_open_or_be_killed(void) {
    if (refuse_rings(SECCOMP_RET_KILL_PROCESS) != 0) {
        printf("no sandbox\n");
        return 1;
    }
    return helper_open_auto();
}

/* A sandbox that kills who asks for a ring: who names another backend does not ask. */
static void contract_00_a_forced_backend_asks_for_no_ring(void **state) {
    (void)state;
    static struct helper_result result;
    const char *const env[] = {"FERRY_BACKEND=" READINESS, NULL};
    helper_run("open_or_be_killed", env, &result);
    if (strstr(result.output, "no sandbox")) test_skip("seccomp filters cannot be installed");
    if (!result.exited || result.status != 0 || !strstr(result.output, "backend " READINESS "\n")) {
        fail_msg("signal %d, status %d:\n%s", result.signal, result.status, result.output);
    }
#if FERRY_TEST_URING
    helper_run("open_or_be_killed", NULL, &result); /* else this would prove nothing */
    assert_int_equal(result.exited, 0);
    assert_int_equal(result.signal, SIGSYS);
#endif
}

/* Opens where rings are refused with an errno: how long that took, in us. */
static unsigned long long refused_with(int error) {
    static struct helper_result result;
    unsigned long long took_us = 0;
    char number[32];
    snprintf(number, sizeof number, "FERRY_TEST_ERRNO=%d", error);
    const char *const env[] = {number, NULL};
    helper_run("open_refused", env, &result);
    if (strstr(result.output, "no sandbox")) test_skip("seccomp filters cannot be installed");
    if (result.status != 0 || !strstr(result.output, "outcome FERRY_OK") ||
        !strstr(result.output, FERRY_TEST_URING ? "backend " READINESS "\nrefused uring"
                                                : "backend " READINESS "\n")) {
        fail_msg("refused with errno %d (status %d):\n%s", error, result.status, result.output);
    }
    const char *took = strstr(result.output, "took ");
    assert_true(took && sscanf(took, "took %llu us", &took_us) == 1);
    return took_us;
}

/* The next best is used, at once, and the reason told. A machine that is busy may be slow each time
 * but one. */
static void contract_00_a_refused_backend_is_told(void **state) {
    (void)state;
    static const int errors[] = {EPERM, ENOSYS, ENOMEM, EINVAL, EACCES};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        unsigned tries = 0;
        while (refused_with(errors[i]) >= 10000) assert_true(++tries < 100);
    }
}

/* A user of its own, since the limit counts what all programs of a user have locked. */
static int helper_open_short_of_memory(void) {
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) return 1;
    if (geteuid() == 0 && (setgid(TEST_UID_ALONE) != 0 || setuid(TEST_UID_ALONE) != 0)) return 1;
    return helper_open_auto();
}

static void contract_00_no_memory_for_a_ring_is_told(void **state) {
    (void)state;
    static struct helper_result result;
    helper_run("open_short_of_memory", NULL, &result);
    if (result.status != 0 || !strstr(result.output, "outcome FERRY_OK") ||
        !strstr(result.output, FERRY_TEST_URING ? "backend " READINESS "\nrefused uring"
                                                : "backend " READINESS "\n")) {
        fail_msg("status %d:\n%s", result.status, result.output);
    }
}

const struct contract_helper choice_linux_helpers[] = {
    {"open_refused", helper_open_refused},
    {"open_or_be_killed", helper_open_or_be_killed},
    {"open_short_of_memory", helper_open_short_of_memory},
    {NULL, NULL}};

const struct contract_test choice_linux_tests[] = {
    {"contract_00_a_refused_backend_is_told", contract_00_a_refused_backend_is_told, 0},
    {"contract_00_a_forced_backend_asks_for_no_ring", contract_00_a_forced_backend_asks_for_no_ring,
     0},
    {"contract_00_no_memory_for_a_ring_is_told", contract_00_no_memory_for_a_ring_is_told, 0},
    {NULL, NULL, 0}};
