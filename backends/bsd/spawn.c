/* spawn.c - beginning a child with fork(2), on the BSDs: their posix_spawn(3) is not for another
 * directory or a session of its own, and closes nothing, or has learned to only lately.
 *
 * The child does what may be done after a fork in a process with threads. Why it came to no program
 * it writes into a pipe, which is closed when there is one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT PROCESS_STREAMS /* the pipe's number in the child, above which all is closed */

/* ---- The child's side: 0 or an errno ----------------------------------------------------- */

static int stream(const ferry_stdio *stdio, int theirs, int which) {
    if (theirs >= 0) return dup2(theirs, which) < 0 ? errno : 0;
    if (stdio->kind != FERRY_STDIO_NULL) return 0;
    int fd = open("/dev/null", which == 0 ? O_RDONLY : O_WRONLY);
    if (fd < 0) return errno;
    if (fd == which) return 0;
    int error = dup2(fd, which) < 0 ? errno : 0;
    (void)close(fd);
    return error;
}

static int streams(const ferry_child *child, const struct ferry__process_ends *ends) {
    int error = 0;
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        error = stream(&child->stdio[i], ends->theirs[i], i);
    }
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        if (child->stdio[i].kind != FERRY_STDIO_SAME) continue;
        if (dup2((int)child->stdio[i].fd, i) < 0) error = errno;
    }
    return error;
}

/* Signals are as a program begins with them, and the child in the group that it is to be in. */
static int surroundings(const ferry_child *child) {
    sigset_t none;
    struct sigaction as_usual = {.sa_handler = SIG_DFL};
    sigemptyset(&as_usual.sa_mask);
    for (int i = 1; i < NSIG; i++) (void)sigaction(i, &as_usual, NULL); /* some cannot be set */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (child->how & FERRY_CHILD_SESSION) {
        if (setsid() < 0) return errno;
    } else if (child->how & FERRY_CHILD_GROUP) {
        if (setpgid(0, 0) != 0) return errno;
    }
    return child->directory != NULL && chdir(child->directory) != 0 ? errno : 0;
}

/* As execvp(3) does, with the search path that was ours and the environment that is to be. */
static int execute(const char *program, const char *search, char *const *argv, char *const *envp) {
    char path[PATH_MAX];
    bool denied = false;
    size_t len = strlen(program);
    if (strchr(program, '/') != NULL || len == 0) {
        (void)execve(program, argv, envp);
        return errno;
    }
    while (search != NULL) {
        const char *end = strchr(search, ':');
        size_t prefix = end != NULL ? (size_t)(end - search) : strlen(search);
        if (prefix + 1 + len < sizeof path) {
            memcpy(path, search, prefix);
            path[prefix] = '/';
            memcpy(path + prefix + (prefix > 0), program, len + 1); /* nothing means here */
            (void)execve(path, argv, envp);
            denied |= errno == EACCES;
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return errno;
        }
        search = end != NULL ? end + 1 : NULL;
    }
    return denied ? EACCES : ENOENT;
}

/* ---- Begin ------------------------------------------------------------------------------- */

int ferry__process_begin(const ferry_child *child, const struct ferry__process_ends *ends,
                         char *const *argv, char *const *envp, pid_t *pid) {
    int report[2], told = 0;
    const char *search = getenv("PATH");
    if (search == NULL) search = "/usr/bin:/bin";
    if (ferry__calls.pipe(report) != 0) return errno;
    *pid = fork();
    if (*pid == 0) {
        int error = streams(child, ends);
        if (dup2(report[1], REPORT) < 0 || fcntl(REPORT, F_SETFD, FD_CLOEXEC) != 0) _exit(127);
        closefrom(REPORT + 1);
        if (error == 0) error = surroundings(child);
        if (error == 0) error = execute(child->program, search, argv, envp);
        ssize_t wrote = write(REPORT, &error, sizeof error);
        (void)wrote; /* nobody else could be told */
        _exit(127);
    }
    int error = *pid < 0 ? errno : 0;
    (void)ferry__calls.close(report[1]);
    if (error == 0) {
        ssize_t got;
        do {
            got = ferry__calls.read(report[0], &told, sizeof told);
        } while (got < 0 && errno == EINTR);
        if (got == (ssize_t)sizeof told) {
            error = told;
            while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
            }
        }
    }
    (void)ferry__calls.close(report[0]);
    return error;
}
