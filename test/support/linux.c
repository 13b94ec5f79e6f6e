/* linux.c - what the tests ask Linux about this process: /proc knows
 *
 * bsd.c with macos.c or freebsd.c have the same functions for others.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <dirent.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int program_find(char *path, size_t size) {
    ssize_t len = readlink("/proc/self/exe", path, size - 1);
    path[len > 0 ? len : 0] = 0;
    return len > 0 ? 0 : -1;
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

size_t list_fds(ferry_fd *list, size_t max) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') continue;
        int fd = atoi(entry->d_name);
        if (fd == dirfd(dir)) continue;
        if (list && count < max) list[count] = fd;
        count++;
    }
    closedir(dir);
    return count;
}

void fd_describe(ferry_fd fd, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, text, size - 1);
    text[len > 0 ? len : 0] = 0;
}

size_t unsent_bytes(ferry_fd fd) {
    int unsent = 0;
    assert_int_equal(ioctl(fd, SIOCOUTQ, &unsent), 0);
    return (size_t)unsent;
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* The kernel's helpers for a ring stay for a while after the ring is closed, and show up beside our
 * threads under a name of their own. */
static int is_kernel_thread(const char *task) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", task);
    FILE *file = fopen(path, "re");
    if (!file) return 1; /* It ended just now. */
    if (!fgets(name, sizeof name, file)) name[0] = 0;
    fclose(file);
    return strncmp(name, "iou-", 4) == 0;
}

size_t count_threads(void) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] != '.' && !is_kernel_thread(entry->d_name)) count++;
    }
    closedir(dir);
    return count;
}

size_t list_threads(long *list, size_t max) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        long thread = atol(entry->d_name);
        if (thread != 0 && count < max) list[count++] = thread;
    }
    closedir(dir);
    return count;
}

static uint64_t sleeps_of(long thread) {
    char path[64], line[200];
    unsigned long long sleeps = 0;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", thread);
    FILE *status = fopen(path, "re");
    if (!status) return 0; /* It ended just now. */
    while (fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "voluntary_ctxt_switches: %llu", &sleeps) == 1) break;
    }
    fclose(status);
    return sleeps;
}

uint64_t count_sleeps(const long *but, size_t but_count) {
    long threads[64];
    uint64_t sum = 0;
    size_t count = list_threads(threads, 64);
    for (size_t i = 0; i < count; i++) {
        int is_left_out = threads[i] == syscall(SYS_gettid);
        for (size_t k = 0; k < but_count; k++) {
            is_left_out |= but[k] == threads[i] && threads[i] != getpid();
        }
        if (!is_left_out) sum += sleeps_of(threads[i]);
    }
    return sum;
}

/* Whether a thread other than this one is at something, or about to be. */
static int is_any_busy(void) {
    int busy = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char path[64], line[512] = "";
        if (atol(entry->d_name) == 0 || atol(entry->d_name) == syscall(SYS_gettid)) continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file) continue; /* It ended just now. */
        const char *state = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        busy |= state && state[1] == ' ' && !strchr("SXZ", state[2]);
        fclose(file);
    }
    closedir(dir);
    return busy;
}

void threads_settle(void) {
    for (int i = 0; i < 1000 && is_any_busy(); i++) sleep_ns(MS); /* one may be meant to be */
}

/* ---- The process ----------------------------------------------------------------------------- */

uint64_t address_space(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    if (fscanf(file, "%llu", &pages) != 1) pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void allow_tracing(void) {
    (void)prctl(PR_SET_DUMPABLE, 1);
}
