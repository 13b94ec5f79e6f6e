/* process.c - EVFILT_PROC: the end of a process, by way of a descriptor for it
 *
 * NOTE_EXIT is all. One that has ended and that nobody has waited for is told at once; one that is
 * not there is ESRCH. The status is known of children only, and 0 of others.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int attach(struct fake_knote *knote) {
    if (knote->ident == 0 || knote->ident > INT_MAX) return ESRCH;
    int pidfd = fake_own((int)syscall(SYS_pidfd_open, (pid_t)knote->ident, 0));
    if (pidfd < 0) return errno == EINVAL ? ESRCH : errno; /* EINVAL: it is a thread */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.ptr = knote}};
    if (epoll_ctl(knote->queue->read_set, EPOLL_CTL_ADD, pidfd, &event) != 0) {
        int error = errno;
        fake_own_close(&pidfd);
        return error;
    }
    knote->flags |= EV_CLEAR;
    knote->of.process.pidfd = pidfd;
    return 0;
}

static void detach(struct fake_knote *knote) {
    fake_own_close(&knote->of.process.pidfd);
}

static int touch(struct fake_knote *knote, const struct kevent *change) {
    knote->asked_fflags = change->fflags;
    return 0;
}

/* As waitpid() would tell it. */
static int64_t exit_status(struct fake_knote *knote) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    id_t id = (id_t)knote->ident;
    if (waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return 0;
    if (info.si_pid != (pid_t)id) return 0;
    if (info.si_code == CLD_EXITED) return (info.si_status & 0xff) << 8;
    return info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}

static bool ready(struct fake_knote *knote) {
    struct pollfd process = {.fd = knote->of.process.pidfd, .events = POLLIN};
    if (poll(&process, 1, 0) != 1 || !(knote->asked_fflags & NOTE_EXIT)) return false;
    knote->fflags = NOTE_EXIT;
    knote->data = exit_status(knote);
    knote->state_flags = EV_EOF | EV_ONESHOT;
    return true;
}

const struct fake_filter fake_process = {
    .number = EVFILT_PROC,
    .attach = attach,
    .detach = detach,
    .touch = touch,
    .ready = ready,
};
