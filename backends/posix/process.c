/* process.c - beginning a child (a worker does it), sending it a signal, and how it ended.
 *
 * posix_spawn and not fork: it copies no memory, runs nobody's fork handlers, and tells why the
 * program could not be executed. In the child its actions come one after the other, so each
 * stream's descriptor is first brought above the streams here, where none can overwrite another
 * (the child's output may be our errors, and its errors our output).
 *
 * SPDX-License-Identifier: MIT
 */
#include "process.h"

#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ; /* where no header has it */

#define STREAMS 3

_Static_assert(sizeof(siginfo_t) <= sizeof(((ferry_exit *)0)->room), "room for a siginfo");

/* What is open while a child begins: descriptors, -1 for none. */
struct ends {
    int theirs[STREAMS]; /* above the streams, closed at the end */
    int ours[STREAMS];   /* of pipes: kept if all goes well */
};

static void close_all(int fds[STREAMS]) {
    for (int i = 0; i < STREAMS; i++) {
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
    if (fd >= STREAMS) return 0;
    *lifted = ferry__calls.duplicate(fd, STREAMS);
    if (*lifted < 0) error = ferry__errno();
    (void)ferry__calls.close(fd);
    return error;
}

static int pipe_open(struct ends *ends, int which) {
    int fds[2];
    if (ferry__calls.pipe(fds) != 0) return ferry__errno();
    int theirs = which == 0 ? 0 : 1; /* the child reads its input and writes the others */
    int error = lift(fds[theirs], &ends->theirs[which]);
    int error_of_ours = lift(fds[!theirs], &ends->ours[which]);
    return error != 0 ? error : error_of_ours;
}

static int stream_open(const ferry_stdio *stdio, struct ends *ends, int which) {
    if (stdio->kind == FERRY_STDIO_PIPE) return pipe_open(ends, which);
    if (stdio->kind != FERRY_STDIO_FD) return 0;
    ends->theirs[which] = ferry__calls.duplicate(stdio->fd, STREAMS);
    return ends->theirs[which] < 0 ? ferry__errno() : 0;
}

static int stream_action(posix_spawn_file_actions_t *actions, const struct ends *ends,
                         const ferry_stdio *stdio, int which) {
    if (ends->theirs[which] >= 0) {
        return posix_spawn_file_actions_adddup2(actions, ends->theirs[which], which);
    }
    if (stdio->kind != FERRY_STDIO_NULL) return 0;
    return posix_spawn_file_actions_addopen(actions, which, "/dev/null",
                                            which == 0 ? O_RDONLY : O_WRONLY, 0);
}

/* All but its streams are closed when its program starts, where the C library can. Elsewhere what
 * the library opened is, having been opened so. 0 or an errno. */
static int close_others(posix_spawn_file_actions_t *actions) {
#if FERRY__HAS_POSIX_SPAWN_FILE_ACTIONS_ADDCLOSEFROM_NP
    return posix_spawn_file_actions_addclosefrom_np(actions, STREAMS);
#else
    (void)actions;
    return 0;
#endif
}

static int change_directory(posix_spawn_file_actions_t *actions, const char *directory) {
#if FERRY__HAS_POSIX_SPAWN_FILE_ACTIONS_ADDCHDIR_NP
    return posix_spawn_file_actions_addchdir_np(actions, directory);
#else /* FreeBSD before 13.1, OpenBSD */
    (void)actions, (void)directory;
    return ENOTSUP;
#endif
}

/* 0 or an errno. */
static int actions_fill(posix_spawn_file_actions_t *actions, const ferry_child *child,
                        const struct ends *ends) {
    int error = 0;
    for (int i = 0; i < STREAMS && error == 0; i++) {
        error = stream_action(actions, ends, &child->stdio[i], i);
    }
    for (int i = 0; i < STREAMS && error == 0; i++) {
        const ferry_stdio *stdio = &child->stdio[i];
        if (stdio->kind != FERRY_STDIO_SAME) continue;
        error = posix_spawn_file_actions_adddup2(actions, stdio->fd, i);
    }
    if (error == 0) error = close_others(actions);
    if (error == 0 && child->directory != NULL) error = change_directory(actions, child->directory);
    return error;
}

/* ---- Signals and groups ------------------------------------------------------------------ */

/* 0 or an errno. */
static int attributes_fill(posix_spawnattr_t *attributes, unsigned how) {
    sigset_t none, all;
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL); /* never other than at their default */
    sigdelset(&all, SIGSTOP);
    if (how & FERRY_CHILD_SESSION) {
#ifdef POSIX_SPAWN_SETSID
        flags |= POSIX_SPAWN_SETSID;
#else
        return ENOTSUP; /* FreeBSD, OpenBSD */
#endif
    } else if (how & FERRY_CHILD_GROUP) {
        flags |= POSIX_SPAWN_SETPGROUP; /* its number is 0 until set: the child's own */
    }
    int error = posix_spawnattr_setsigmask(attributes, &none);
    if (error == 0) error = posix_spawnattr_setsigdefault(attributes, &all);
    if (error == 0) error = posix_spawnattr_setflags(attributes, (short)flags);
    return error;
}

/* ---- Begin ------------------------------------------------------------------------------- */

/* 0 or an errno. */
static int execute(const ferry_child *child, const posix_spawn_file_actions_t *actions,
                   const posix_spawnattr_t *attributes, pid_t *pid) {
    const char *const alone[] = {child->program, NULL};
    const char *const *argv = child->argv != NULL ? child->argv : alone;
    char *const *envp = child->envp != NULL ? (char *const *)(uintptr_t)child->envp : environ;
    return ferry__calls.spawn(pid, child->program, actions, attributes,
                              (char *const *)(uintptr_t)argv, envp);
}

/* 0 or an errno. */
static int spawn(const ferry_child *child, const struct ends *ends, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = actions_fill(&actions, child, ends);
        if (error == 0) error = attributes_fill(&attributes, child->how);
        if (error == 0) error = execute(child, &actions, &attributes, pid);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}

int ferry__process_spawn(const ferry_op *op) {
    ferry_child *child = (ferry_child *)(uintptr_t)op->buf;
    struct ends ends = {.theirs = {-1, -1, -1}, .ours = {-1, -1, -1}};
    pid_t pid = 0;
    int error = 0;
    for (int i = 0; i < STREAMS && error == 0; i++) {
        error = stream_open(&child->stdio[i], &ends, i);
    }
    if (error == 0) error = ferry_error_from_system(spawn(child, &ends, &pid));
    close_all(ends.theirs);
    if (error != 0) close_all(ends.ours);
    child->pid = error == 0 ? pid : 0;
    for (int i = 0; i < STREAMS; i++) {
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
