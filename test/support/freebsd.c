/* freebsd.c - what the tests ask FreeBSD about this process
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/user.h>

#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/filio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

int program_find(char *path, size_t size) {
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PATHNAME, -1};
    path[0] = 0;
    return sysctl(name, 4, path, &size, NULL, 0);
}

/* One after the other: /dev/fd has them all only where fdescfs is mounted. Those above the limit
 * stay open when a test lowers it, so the highest that there was is how far to look. */
size_t list_fds(ferry_fd *list, size_t max) {
    static int range;
    size_t count = 0;
    if (getdtablesize() > range) range = getdtablesize();
    for (int fd = 0; fd < range; fd++) {
        if (fcntl(fd, F_GETFD) < 0) continue;
        if (list && count < max) list[count] = fd;
        count++;
    }
    return count;
}

size_t unsent_bytes(ferry_fd fd) {
    int unsent = 0;
    assert_int_equal(ioctl(fd, FIONWRITE, &unsent), 0);
    return (size_t)unsent;
}

static struct kinfo_proc process(void) {
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, getpid()};
    struct kinfo_proc about;
    size_t size = sizeof about;
    memset(&about, 0, sizeof about);
    assert_int_equal(sysctl(name, 4, &about, &size, NULL, 0), 0);
    return about;
}

size_t count_threads(void) {
    return (size_t)process().ki_numthreads;
}

uint64_t address_space(void) {
    return (uint64_t)process().ki_size;
}

uint64_t count_sleeps(const long *but, size_t but_count) {
    struct rusage all, own;
    (void)but;
    (void)but_count;
    assert_int_equal(getrusage(RUSAGE_SELF, &all), 0);
    assert_int_equal(getrusage(RUSAGE_THREAD, &own), 0);
    return (uint64_t)(all.ru_nvcsw - own.ru_nvcsw);
}
