/* macos.c - what the tests ask macOS about this process
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <libproc.h>
#include <mach-o/dyld.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int program_find(char *path, size_t size) {
    uint32_t len = (uint32_t)size;
    return _NSGetExecutablePath(path, &len);
}

size_t list_fds(ferry_fd *list, size_t max) {
    static struct proc_fdinfo found[16384];
    int bytes = proc_pidinfo(getpid(), PROC_PIDLISTFDS, 0, found, (int)sizeof found);
    assert_true(bytes > 0 && (size_t)bytes < sizeof found);
    size_t count = (size_t)bytes / sizeof found[0];
    for (size_t i = 0; i < count && i < max && list; i++) list[i] = found[i].proc_fd;
    return count;
}

size_t unsent_bytes(ferry_fd fd) {
    int unsent = 0;
    socklen_t len = sizeof unsent;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NWRITE, &unsent, &len), 0);
    return (size_t)unsent;
}

static struct proc_taskinfo task(void) {
    struct proc_taskinfo about;
    int bytes = proc_pidinfo(getpid(), PROC_PIDTASKINFO, 0, &about, (int)sizeof about);
    assert_int_equal(bytes, sizeof about);
    return about;
}

size_t count_threads(void) {
    return (size_t)task().pti_threadnum;
}

uint64_t address_space(void) {
    return task().pti_virtual_size;
}

/* Only of all threads together, of which this is one. */
uint64_t count_sleeps(const long *but, size_t but_count) {
    (void)but;
    (void)but_count;
    return COUNT_UNKNOWN;
}
