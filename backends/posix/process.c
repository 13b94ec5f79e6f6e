/* process.c - beginning a child (a worker does it), sending it a signal, and how it ended.
 *
 * What the child does to its streams comes one after the other, so each stream's descriptor is
 * first brought above the streams here, where none can overwrite another (the child's output may be
 * our errors, and its errors our output).
 *
 * SPDX-License-Identifier: MIT
 */
#include "process.h"

#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

extern char **environ; /* where no header has it */

static void close_all(int fds[PROCESS_STREAMS]) {
    for (int i = 0; i < PROCESS_STREAMS; i++) {
        if (fds[i] >= 0) (void)ferry__calls.close(fds[i]);
        fds[i] = -1;
    }
}

/* ---- The streams ------------------------------------------------------------------------- */

/* Takes fd, gives one above the streams: fd itself if it is. A program without streams of its own
 * gets their numbers from the system. 0 or an error. */
static int lift(int fd, int *lifted) {
    int error = 0;
    *lifted = fd;
    if (fd >= PROCESS_STREAMS) return 0;
    *lifted = ferry__calls.duplicate(fd, PROCESS_STREAMS);
    if (*lifted < 0) error = ferry__errno();
    (void)ferry__calls.close(fd);
    return error;
}

static int pipe_open(struct ferry__process_ends *ends, int which) {
    int fds[2];
    if (ferry__calls.pipe(fds) != 0) return ferry__errno();
    int theirs = which == 0 ? 0 : 1; /* the child reads its input and writes the others */
    int error = lift(fds[theirs], &ends->theirs[which]);
    int error_of_ours = lift(fds[!theirs], &ends->ours[which]);
    return error != 0 ? error : error_of_ours;
}

static int stream_open(const ferry_stdio *stdio, struct ferry__process_ends *ends, int which) {
    if (stdio->kind == FERRY_STDIO_PIPE) return pipe_open(ends, which);
    if (stdio->kind != FERRY_STDIO_FD) return 0;
    ends->theirs[which] = ferry__calls.duplicate(stdio->fd, PROCESS_STREAMS);
    return ends->theirs[which] < 0 ? ferry__errno() : 0;
}

/* ---- Begin ------------------------------------------------------------------------------- */

/* 0 or an errno. */
static int begin(const ferry_child *child, const struct ferry__process_ends *ends, pid_t *pid) {
    const char *const alone[] = {child->program, NULL};
    const char *const *argv = child->argv != NULL ? child->argv : alone;
    char *const *envp = child->envp != NULL ? (char *const *)(uintptr_t)child->envp : environ;
    return ferry__process_begin(child, ends, (char *const *)(uintptr_t)argv, envp, pid);
}

int ferry__process_spawn(const ferry_op *op) {
    ferry_child *child = (ferry_child *)(uintptr_t)op->buf;
    struct ferry__process_ends ends = {.theirs = {-1, -1, -1}, .ours = {-1, -1, -1}};
    pid_t pid = 0;
    int error = 0;
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        error = stream_open(&child->stdio[i], &ends, i);
    }
    if (error == 0) error = ferry_error_from_system(begin(child, &ends, &pid));
    close_all(ends.theirs);
    if (error != 0) close_all(ends.ours);
    child->pid = error == 0 ? pid : 0;
    for (int i = 0; i < PROCESS_STREAMS; i++) {
        if (child->stdio[i].kind == FERRY_STDIO_PIPE) child->stdio[i].fd = ends.ours[i];
    }
    return error;
}

/* ---- Signals and the end ----------------------------------------------------------------- */

int ferry_kill(ferry_loop *loop, int64_t pid, int signal) {
    ferry__loop_check(loop, NULL);
    if (pid == 0 || pid == -1 || pid > INT32_MAX || pid < -INT32_MAX) return FERRY_EINVAL;
    return ferry__calls.kill((pid_t)pid, signal) == 0 ? 0 : ferry__errno();
}

void ferry__process_tell(ferry_exit *how, const siginfo_t *info) {
    bool exited = info->si_code == CLD_EXITED;
    how->status = exited ? info->si_status : -1;
    how->signal = exited ? 0 : info->si_status;
    how->core = info->si_code == CLD_DUMPED;
    how->reserved = 0;
}
