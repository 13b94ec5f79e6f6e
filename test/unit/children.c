/* Children, at the seam of system calls: what the system refuses while one is begun, and a wait
 * that is told too early.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ferry.h"
#include "linux/calls.h"
#include "posix/calls.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- A seam that fails ------------------------------------------------------------------- */

static struct ferry__calls plain;
static struct ferry__linux_calls plain_linux;

static struct {
    int spawn_error;
    int duplicates_good; /* before they fail with EMFILE, -1: all are */
    int not_yet;         /* how many waits find nothing although the child has ended */
    int pidfd_error;
    int wait_error;
    unsigned waits;
} seam;

static int seam_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attributes, char *const *argv, char *const *envp) {
    if (seam.spawn_error != 0) return seam.spawn_error;
    return plain.spawn(pid, path, actions, attributes, argv, envp);
}

static int seam_duplicate(int fd, int lowest) {
    if (seam.duplicates_good == 0) {
        errno = EMFILE;
        return -1;
    }
    seam.duplicates_good--;
    return plain.duplicate(fd, lowest);
}

static int seam_waitid(idtype_t type, id_t id, siginfo_t *info, int options) {
    if (options & WNOWAIT) return plain.waitid(type, id, info, options);
    seam.waits++;
    if (seam.wait_error != 0) {
        errno = seam.wait_error;
        return -1;
    }
    if (seam.not_yet == 0) return plain.waitid(type, id, info, options);
    seam.not_yet--;
    info->si_pid = 0;
    return 0;
}

static int seam_pidfd_open(pid_t pid) {
    if (seam.pidfd_error == 0) return plain_linux.pidfd_open(pid);
    errno = seam.pidfd_error;
    return -1;
}

static int seam_begin(void **state) {
    (void)state;
    plain = ferry__calls;
    plain_linux = ferry__linux_calls;
    memset(&seam, 0, sizeof seam);
    seam.duplicates_good = -1;
    ferry__calls.spawn = seam_spawn;
    ferry__calls.duplicate = seam_duplicate;
    ferry__calls.waitid = seam_waitid;
    ferry__linux_calls.pidfd_open = seam_pidfd_open;
    return 0;
}

static int seam_end(void **state) {
    (void)state;
    ferry__calls = plain;
    ferry__linux_calls = plain_linux;
    return 0;
}

/* ---- Short forms ------------------------------------------------------------------------- */

static ferry_loop *loop_open(const char *disable) {
    ferry_config config = {.size = sizeof config, .backend = FERRY_URING, .disable = disable};
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    return loop;
}

static size_t open_fds(void) {
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) count++;
    assert_int_equal(closedir(directory), 0);
    return count;
}

static int64_t spawn(ferry_loop *loop, ferry_child *child) {
    ferry_op op = {.state = 0};
    ferry_spawn(loop, &op, child, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return op.result;
}

static int64_t wait_for(ferry_loop *loop, int64_t pid, ferry_exit *how) {
    ferry_op op = {.state = 0};
    ferry_wait_process(loop, &op, pid, how, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return op.result;
}

/* ---- Beginning one ----------------------------------------------------------------------- */

static void refusals_leave_nothing(void **state) {
    (void)state;
    ferry_loop *loop = loop_open(NULL);
    ferry_child child = {.program = "true"};
    for (int i = 0; i < 3; i++) child.stdio[i].kind = FERRY_STDIO_PIPE;
    const struct {
        int error;
        int64_t result;
    } rows[] = {{EAGAIN, FERRY_EAGAIN},   {ENOMEM, FERRY_ENOMEM},  {E2BIG, FERRY_E2BIG},
                {ETXTBSY, FERRY_ETXTBSY}, {ELOOP, FERRY_ELOOP},    {EIO, FERRY_EIO},
                {EPERM, FERRY_EPERM},     {ENOEXEC, FERRY_ENOEXEC}};
    size_t before = open_fds();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        seam.spawn_error = rows[i].error;
        child.pid = 5;
        assert_int_equal(spawn(loop, &child), rows[i].result);
        assert_int_equal(child.pid, 0);
        for (int k = 0; k < 3; k++) assert_int_equal(child.stdio[k].fd, -1);
        assert_int_equal(open_fds(), before);
    }
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void descriptors_run_out_in_between(void **state) {
    (void)state;
    ferry_loop *loop = loop_open(NULL);
    ferry_child child = {.program = "true"};
    for (int i = 0; i < 3; i++) child.stdio[i] = (ferry_stdio){FERRY_STDIO_FD, 2};
    size_t before = open_fds();
    for (int good = 0; good < 3; good++) {
        seam.duplicates_good = good;
        assert_int_equal(spawn(loop, &child), FERRY_EMFILE);
        assert_int_equal(open_fds(), before);
    }
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* Pipes take the numbers of the streams if those are free, and are moved from there. */
static void pipes_that_cannot_be_moved(void **state) {
    (void)state;
    ferry_loop *loop = loop_open(NULL);
    ferry_child child = {.program = "true"};
    for (int i = 0; i < 3; i++) child.stdio[i].kind = FERRY_STDIO_PIPE;
    int saved = dup(0);
    assert_true(saved > 2);
    assert_int_equal(close(0), 0);
    size_t before = open_fds();
    seam.duplicates_good = 0;
    int64_t result = spawn(loop, &child);
    size_t after = open_fds();
    assert_int_equal(dup2(saved, 0), 0);
    assert_int_equal(close(saved), 0);
    assert_int_equal(result, FERRY_EMFILE);
    assert_int_equal(after, before);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- Waiting for one --------------------------------------------------------------------- */

/* One that is traced has ended, and is its tracer's for a while: no reason to ask all the time. */
static void told_too_early(void **state) {
    (void)state;
    ferry_loop *loop = loop_open("waitid");
    ferry_child child = {.program = "true"};
    ferry_exit how;
    size_t before = open_fds();
    assert_int_equal(spawn(loop, &child), 0);
    seam.not_yet = 3;
    uint64_t start = ferry_now(loop);
    assert_int_equal(wait_for(loop, child.pid, &how), 0);
    assert_int_equal(how.status, 0);
    assert_int_equal(seam.waits, 4);
    assert_true(ferry_now(loop) - start >= 3 * 9000000u);
    assert_true(open_fds() <= before);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void cancelled_while_told_too_early(void **state) {
    (void)state;
    ferry_loop *loop = loop_open("waitid");
    ferry_child child = {.program = "true"};
    ferry_exit how;
    ferry_op op = {.state = 0};
    assert_int_equal(spawn(loop, &child), 0);
    size_t before = open_fds();
    seam.not_yet = 1000000;
    ferry_wait_process(loop, &op, child.pid, &how, FERRY_BACKGROUND, NULL);
    while (seam.waits < 2) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    ferry_cancel(loop, &op);
    while (op.state != 0) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(op.result, FERRY_ECANCELED);
    assert_int_equal(open_fds(), before);
    seam.not_yet = 0;
    assert_int_equal(wait_for(loop, child.pid, &how), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void waits_that_are_refused(void **state) {
    (void)state;
    ferry_loop *loop = loop_open("waitid");
    ferry_child child = {.program = "true"};
    const struct {
        int error;
        int64_t result;
    } rows[] = {{ESRCH, FERRY_ECHILD},  {EINVAL, FERRY_ECHILD}, {EMFILE, FERRY_EMFILE},
                {ENFILE, FERRY_ENFILE}, {ENOMEM, FERRY_ENOMEM}, {ENOSYS, FERRY_ENOTSUP}};
    assert_int_equal(spawn(loop, &child), 0);
    size_t before = open_fds();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        seam.pidfd_error = rows[i].error;
        assert_int_equal(wait_for(loop, child.pid, NULL), rows[i].result);
    }
    seam.pidfd_error = 0;
    seam.wait_error = ECHILD;
    assert_int_equal(wait_for(loop, child.pid, NULL), FERRY_ECHILD);
    seam.wait_error = 0;
    assert_int_equal(open_fds(), before);
    assert_int_equal(wait_for(loop, child.pid, NULL), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refusals_leave_nothing, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(descriptors_run_out_in_between, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(pipes_that_cannot_be_moved, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(told_too_early, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(cancelled_while_told_too_early, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(waits_that_are_refused, seam_begin, seam_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
