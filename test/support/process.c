/* process.c - this program, started again
 *
 * Every test runs in a fresh process, and so does what ends a process or depends on its
 * environment. How it is started depends on the system: spawn.c, windows/processes.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER_MAX (20 * SECOND * TEST_STRETCH)
#define ENV_MAX 512

extern char **environ;

#ifdef TEST_TSAN
/* Read by the sanitizer before main. The tests of forking begin threads in the child, which it
 * would otherwise refuse. */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void) {
    return "die_after_fork=0";
}
#endif

/* Our environment with more at its end, where a name that we have already is left out. */
static char **env_with(const char *const *more) {
    static char *all[ENV_MAX];
    size_t count = 0;
    for (char **at = environ; *at; at++) {
        int replaced = 0;
        for (const char *const *add = more; add && *add; add++) {
            size_t name = (size_t)(strchr(*add, '=') - *add) + 1;
            if (strncmp(*at, *add, name) == 0) replaced = 1;
        }
        assert_true(count < ENV_MAX - 1);
        if (!replaced) all[count++] = *at;
    }
    for (const char *const *add = more; add && *add; add++) {
        assert_true(count < ENV_MAX - 1);
        all[count++] = strdup(*add);
    }
    all[count] = NULL;
    return all;
}

/* Reads until the end, keeps what fits. Returns 0, or -1 when time is up. */
static int output_read(ferry_fd fd, char *text, size_t size, uint64_t until_ns) {
    size_t len = 0;
    for (;;) {
        char scrap[512];
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        uint64_t now = clock_ns();
        if (now >= until_ns) return -1;
        int n = poll(&ready, 1, (int)((until_ns - now) / MS) + 1);
        if (n <= 0) continue; /* Interrupted, or the time is looked at again. */
        int fits = len < size - 1;
        ssize_t got = fits ? read(fd, text + len, size - 1 - len) : read(fd, scrap, sizeof scrap);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (fits) len += (size_t)got;
        text[len] = 0;
    }
    return 0;
}

void helper_run(const char *name, const char *const *env, struct helper_result *result) {
    helper_run_copy(test_program(), name, env, result);
}

void helper_run_copy(const char *program, const char *name, const char *const *env,
                     struct helper_result *result) {
    char *const argv[] = {(char *)(uintptr_t)program,
                          (char *)(uintptr_t) "--helper",
                          (char *)(uintptr_t)name,
                          (char *)(uintptr_t) "--config",
                          (char *)(uintptr_t)test_config(),
                          (char *)(uintptr_t) "--directory",
                          (char *)(uintptr_t)test_directory(),
                          NULL};
    char **all = env_with(env);
    ferry_fd output = FERRY_FD_NONE;
    int status = 0;

    memset(result, 0, sizeof *result);
    pid_t pid = process_start(program, argv, all, &output);
    if (pid <= 0) fail_msg("helper %s was not started: error %d", name, errno);
    int late = output_read(output, result->output, sizeof result->output, clock_ns() + HELPER_MAX);
    close(output);
    if (late) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    size_t added = 0;
    for (const char *const *add = env; add && *add; add++) added++;
    size_t count = 0;
    while (all[count]) count++;
    for (size_t i = count - added; i < count; i++) free(all[i]);
    if (late) fail_msg("helper %s did not end in time; its output:\n%s", name, result->output);
    result->exited = WIFEXITED(status) ? 1 : 0;
    result->status = result->exited ? WEXITSTATUS(status) : 0;
    result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}
