/* spawn.c - a process, by posix_spawn: a fork would carry over state that a fresh process does not
 * have, and other systems have nothing like it
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

pid_t process_start(const char *program, char *const argv[], char *const env[], ferry_fd *output) {
    ferry_fd ends[2];
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
