/* spawn.c - beginning a child with posix_spawn(3), on Linux and macOS: it copies no memory, runs
 * nobody's fork handlers, and tells why the program could not be executed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "process.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- The streams ------------------------------------------------------------------------- */

/* All but its streams are closed when its program starts. 0 or an errno. */
static int close_others(posix_spawn_file_actions_t *actions) {
#ifdef POSIX_SPAWN_CLOEXEC_DEFAULT /* macOS: a flag does it */
    (void)actions;
    return 0;
#elif FERRY__HAS_POSIX_SPAWN_FILE_ACTIONS_ADDCLOSEFROM_NP
    return posix_spawn_file_actions_addclosefrom_np(actions, PROCESS_STREAMS);
#else /* older C libraries: what the library opened is, having been opened so */
    (void)actions;
    return 0;
#endif
}

/* macOS closes those, too, that nothing is said of. */
static int inherit(posix_spawn_file_actions_t *actions, int which) {
#ifdef POSIX_SPAWN_CLOEXEC_DEFAULT
    return posix_spawn_file_actions_addinherit_np(actions, which);
#else
    (void)actions, (void)which;
    return 0;
#endif
}

static int stream_action(posix_spawn_file_actions_t *actions,
                         const struct ferry__process_ends *ends, const ferry_stdio *stdio,
                         int which) {
    if (ends->theirs[which] >= 0) {
        return posix_spawn_file_actions_adddup2(actions, ends->theirs[which], which);
    }
    if (stdio->kind == FERRY_STDIO_INHERIT) return inherit(actions, which);
    if (stdio->kind != FERRY_STDIO_NULL) return 0;
    return posix_spawn_file_actions_addopen(actions, which, "/dev/null",
                                            which == 0 ? O_RDONLY : O_WRONLY, 0);
}

/* 0 or an errno. */
static int actions_fill(posix_spawn_file_actions_t *actions, const ferry_child *child,
                        const struct ferry__process_ends *ends) {
    int error = 0;
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        error = stream_action(actions, ends, &child->stdio[i], i);
    }
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        const ferry_stdio *stdio = &child->stdio[i];
        if (stdio->kind != FERRY_STDIO_SAME) continue;
        error = posix_spawn_file_actions_adddup2(actions, stdio->fd, i);
    }
    if (error == 0) error = close_others(actions);
    if (error == 0 && child->directory != NULL)
        error = posix_spawn_file_actions_addchdir_np(actions, child->directory);
    return error;
}

/* ---- Signals and groups ------------------------------------------------------------------ */

/* 0 or an errno. */
static int attributes_fill(posix_spawnattr_t *attributes, unsigned how) {
    sigset_t none, all;
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
#ifdef POSIX_SPAWN_CLOEXEC_DEFAULT
    flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
#endif
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL); /* never other than at their default */
    sigdelset(&all, SIGSTOP);
    if (how & FERRY_CHILD_SESSION) {
        flags |= POSIX_SPAWN_SETSID;
    } else if (how & FERRY_CHILD_GROUP) {
        flags |= POSIX_SPAWN_SETPGROUP; /* its number is 0 until set: the child's own */
    }
    int error = posix_spawnattr_setsigmask(attributes, &none);
    if (error == 0) error = posix_spawnattr_setsigdefault(attributes, &all);
    if (error == 0) error = posix_spawnattr_setflags(attributes, (short)flags);
    return error;
}

/* ---- Begin ------------------------------------------------------------------------------- */

int ferry__process_begin(const ferry_child *child, const struct ferry__process_ends *ends,
                         char *const *argv, char *const *envp, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = actions_fill(&actions, child, ends);
        if (error == 0) error = attributes_fill(&attributes, child->how);
        if (error == 0) {
            error = ferry__calls.spawn(pid, child->program, &actions, &attributes, argv, envp);
        }
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}
