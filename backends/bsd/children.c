/* children.c - children by descriptor: a queue that waits for nothing else.
 *
 * To the poller such a queue is what a pidfd is on Linux: a descriptor that becomes readable. It
 * costs as much, and leaves the poller with descriptors alone. One that has ended already is a pipe
 * that is at its end.
 *
 * NOTE_EXIT comes a moment before the child can be taken on macOS, so that who has it may wait. To
 * watch a child that has ended fires at once on FreeBSD, and is ESRCH on macOS and NetBSD.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/process.h"
#include "../posix/system.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>

/* 1: it can be taken, 0: not yet, or an error. Takes it if *info is wanted. */
static int look(int64_t pid, int flags, siginfo_t *info) {
    *info = (siginfo_t){.si_pid = 0};
    int result;
    do {
        result = ferry__calls.waitid(P_PID, (id_t)pid, info, WEXITED | flags);
    } while (result != 0 && errno == EINTR);
    return result != 0 ? ferry__errno() : info->si_pid != 0;
}

static int at_its_end(void) {
    int fds[2];
    if (ferry__calls.pipe(fds) != 0) return ferry__errno();
    (void)ferry__calls.close(fds[1]);
    return fds[0];
}

int ferry__system_child_open(int64_t pid) {
    siginfo_t info;
    int ended = look(pid, WNOHANG | WNOWAIT, &info);
    if (ended < 0) return ended;
    if (ended) return at_its_end();
    struct kevent change;
    int fd = kqueue();
    if (fd < 0) return ferry__errno();
    EV_SET(&change, (uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0);
    bool watched = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
                   kevent(fd, &change, 1, NULL, 0, NULL) == 0;
    int error = watched || errno == ESRCH ? 0 : ferry__errno();
    /* It may have ended in between, on the systems that say nothing of that. */
    ended = error == 0 ? look(pid, WNOHANG | WNOWAIT, &info) : error;
    if (watched && ended == 0) return fd;
    (void)ferry__calls.close(fd);
    if (ended < 0) return ended;
    return ended ? at_its_end() : FERRY_ECHILD;
}

int ferry__system_child_take(int fd, int64_t pid, ferry_exit *how) {
    const struct timespec none = {0, 0};
    struct kevent event;
    siginfo_t info;
    bool told = kevent(fd, NULL, 0, &event, 1, &none) == 1;
    int taken = look(pid, told ? 0 : WNOHANG, &info);
    if (taken < 0) return taken;
    if (taken == 0) return 1;
    if (how != NULL) ferry__process_tell(how, &info);
    return 0;
}
