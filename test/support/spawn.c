/* spawn.c - a process, by posix_spawn: a fork would carry over state that a fresh process does not
 * have, and other systems have nothing like it
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* A program that is executed inherits what is ignored: SIGPIPE by a loop that this process opened,
 * SIGINT and SIGQUIT by a shell that has begun the tests in the background. */
static void signals_as_fresh(posix_spawnattr_t *attributes) {
    sigset_t none, ignored;
    sigemptyset(&none);
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    sigaddset(&ignored, SIGINT);
    sigaddset(&ignored, SIGQUIT);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &ignored);
}

/* Returns 0 or errno. */
static int begin(pid_t *pid, const char *program, const posix_spawn_file_actions_t *actions,
                 char *const argv[], char *const env[]) {
    posix_spawnattr_t attributes;
    signals_as_fresh(&attributes);
    int err = posix_spawn(pid, program, actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    return err;
}

pid_t process_start(const char *program, char *const argv[], char *const env[], ferry_fd *output) {
    ferry_fd ends[2];
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;

    if (pipe(ends) < 0) return -1;
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    int err = begin(&pid, program, &actions, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (err != 0) {
        close(ends[0]);
        return -1;
    }
    *output = ends[0];
    return pid;
}

pid_t plain_child(const char *const argv[], const ferry_fd streams[3]) {
    posix_spawn_file_actions_t actions;
    char program[4096];
    pid_t pid = -1;
    assert_int_equal(program_find(program, sizeof program), 0);
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; streams && i < 3; i++) {
        if (streams[i] < 0) continue;
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, streams[i], i), 0);
    }
    int err = begin(&pid, program, &actions, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(err, 0);
    return pid;
}

void no_child_left(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* A sanitizer would make a report of it, and an exit; of NULL even before it is touched. */
void process_crash(void) {
    volatile int *volatile nowhere = (volatile int *)(uintptr_t)64;
    (void)signal(SIGSEGV, SIG_DFL);
    *nowhere = 1;
}
