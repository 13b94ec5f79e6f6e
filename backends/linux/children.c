/* children.c - children by descriptor: pidfd (Linux 5.3; as an argument of waitid 5.4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "../posix/process.h"
#include "../posix/system.h"

#include <errno.h>

int ferry__system_child_open(int64_t pid) {
    siginfo_t info;
    int fd = ferry__linux_calls.pidfd_open((pid_t)pid);
    if (fd < 0) { /* the others: the number of a thread */
        bool none = errno == ESRCH || errno == EINVAL || errno == ENOENT;
        return none ? FERRY_ECHILD : ferry__errno();
    }
    /* There is one for any process, and somebody else's would be told to have ended. */
    if (ferry__calls.waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        int error = ferry__errno();
        (void)ferry__calls.close(fd);
        return error;
    }
    return fd;
}

int ferry__system_child_take(int fd, int64_t pid, ferry_exit *how) {
    siginfo_t info = {.si_pid = 0};
    (void)pid;
    if (ferry__calls.waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) != 0) {
        return ferry__errno();
    }
    if (info.si_pid == 0) return 1;
    if (how != NULL) ferry__process_tell(how, &info);
    return 0;
}
