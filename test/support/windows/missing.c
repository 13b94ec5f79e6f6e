/* missing.c - what Windows has not: whoever asks for it ends the test as skipped
 *
 * The list of such tests is test/skips-windows, the reasons are in docs/windows.md.
 *
 * SPDX-License-Identifier: MIT
 */
#include "posix.h"
#include "support.h"

static int without(const char *what) {
    test_skip(what);
    return -1;
}

pid_t posix_fork(void) {
    return without("no fork on Windows");
}

int posix_mkfifo(const char *path, unsigned mode) {
    (void)path;
    (void)mode;
    return without("no FIFOs on Windows");
}

int posix_execv(const char *program, char *const argv[]) {
    (void)program;
    (void)argv;
    return without("no exec on Windows");
}

int posix_execvp(const char *program, char *const argv[]) {
    return posix_execv(program, argv);
}

int posix_execlp(const char *program, const char *arg, ...) {
    (void)program;
    (void)arg;
    return without("no exec on Windows");
}

int posix_system(const char *command) {
    (void)command;
    return without("no shell of POSIX on Windows");
}

int posix_setuid(uid_t user) {
    (void)user;
    return without("no change of user on Windows");
}

int posix_setgroups(size_t count, const gid_t *groups) {
    (void)count;
    (void)groups;
    return without("no change of user on Windows");
}

int posix_setreuid(uid_t real, uid_t effective) {
    (void)real;
    (void)effective;
    return without("no change of user on Windows");
}

pid_t posix_getpgid(pid_t pid) {
    (void)pid;
    return without("no process groups on Windows");
}

pid_t posix_getsid(pid_t pid) {
    (void)pid;
    return without("no sessions on Windows");
}

int posix_setpgid(pid_t pid, pid_t group) {
    (void)pid;
    (void)group;
    return without("no process groups on Windows");
}

int posix_sigprocmask(int how, const sigset_t *to, sigset_t *before) {
    (void)how;
    (void)to;
    (void)before;
    return without("no masks of signals on Windows");
}

int posix_thread_kill(pthread_t thread, int number) {
    (void)thread;
    (void)number;
    return without("no signals for threads on Windows");
}

int posix_setitimer(int which, const struct itimerval *to, struct itimerval *before) {
    (void)which;
    (void)to;
    (void)before;
    return without("no timers that send signals on Windows");
}

int posix_getitimer(int which, struct itimerval *now) {
    (void)which;
    *now = (struct itimerval){{0, 0}, {0, 0}};
    return 0;
}

int posix_getrlimit(int which, struct rlimit *limit) {
    (void)which;
    *limit = (struct rlimit){1u << 20, 1u << 20};
    return 0;
}

/* Whoever wants many may have them. */
int posix_setrlimit(int which, const struct rlimit *limit) {
    if (which == RLIMIT_NOFILE && limit->rlim_cur >= 1000) return 0;
    return without("no limits to what a process may have on Windows");
}

int posix_pause(void) {
    return without("no signals of POSIX on Windows");
}

posix_fd posix_openpt(int flags) {
    (void)flags;
    return without("no terminals of POSIX on Windows");
}

int posix_grantpt(posix_fd fd) {
    (void)fd;
    return -1;
}

char *posix_ptsname(posix_fd fd) {
    (void)fd;
    return NULL;
}

int posix_tcgetattr(posix_fd fd, struct termios *terminal) {
    (void)fd;
    (void)terminal;
    return -1;
}

int posix_mkostemp(char *name, int flags) {
    (void)name;
    (void)flags;
    return without("no other file system to count on");
}
