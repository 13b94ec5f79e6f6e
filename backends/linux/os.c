/* os.c - what os.h asks of Linux alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "../posix/calls.h"
#include "../posix/system.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *ferry__os_environment(const char *name) {
    return secure_getenv(name);
}

/* ---- Threads ----------------------------------------------------------------------------- */

struct ferry__thread_id ferry__os_thread_self(void) {
    return (struct ferry__thread_id){(uint64_t)syscall(SYS_gettid)};
}

bool ferry__os_thread_ended(struct ferry__thread_id thread) {
    for (int i = 0; i < 1000; i++) {
        if (syscall(SYS_tgkill, getpid(), (pid_t)thread.id, 0) != 0) return true;
        ferry__os_sleep(1000000);
    }
    return false;
}

/* ---- Sockets ----------------------------------------------------------------------------- */

void ferry__os_abandon(ferry_fd fd) {
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    (void)ferry__calls.connect(fd, &nowhere, sizeof nowhere); /* connect(2): dissolves it */
}

bool ferry__os_settled(ferry_fd fd) {
    /* MSG_TRUNC discards on TCP without copying (tcp(7)). Bounded, for the others' sake. */
    for (int i = 0; i < 32; i++) {
        ssize_t got = ferry__calls.recv(fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);
        if (got == 0) return true;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno != EAGAIN) return true;
        if (got < 0) break;
    }
    int unsent = 0;
    bool acknowledged = ferry__calls.ioctl(fd, SIOCOUTQ, &unsent) != 0 || unsent == 0;
    return acknowledged && ferry__posix_unread(fd) == 0;
}

bool ferry__system_hung_up(int fd) {
    (void)fd;
    return false; /* POLLRDHUP tells */
}
