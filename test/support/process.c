/* process.c - this program, started again
 *
 * Every test runs in a fresh process, and so does what ends a process or depends on its
 * environment. All of it is posix_spawn: a fork would carry over state that a fresh process does
 * not have, and other systems have nothing like it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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

pid_t process_start(const char *program, char *const argv[], char *const env[], int *output) {
    int ends[2];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, piped;
    pid_t pid = -1;

    if (pipe(ends) < 0) return -1;
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);

    /* A loop that this process opened may have set SIGPIPE to be ignored, which a program that is
     * executed would inherit. */
    sigemptyset(&none);
    sigemptyset(&piped);
    sigaddset(&piped, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &piped);

    int err = posix_spawn(&pid, program, &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (err != 0) {
        close(ends[0]);
        return -1;
    }
    *output = ends[0];
    return pid;
}

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
static int output_read(int fd, char *text, size_t size, uint64_t until_ns) {
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
    int output = -1, status = 0;

    memset(result, 0, sizeof *result);
    pid_t pid = process_start(program, argv, all, &output);
    assert_true(pid > 0);
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
