/* watched_linux.c - watches as inotify has them: how many, and what comes of its full queue
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"
#include "watched.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the kernel tells of a descriptor has a line for each watch. */
static size_t watches_of(int fd) {
    char path[64], line[512];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file)) count += strncmp(line, "inotify ", 8) == 0;
    fclose(file);
    return count;
}

void check_kernel_watches(size_t count) {
    static int fds[4096];
    size_t found = 0, open = list_fds(fds, 4096);
    for (size_t i = 0; i < open && i < 4096; i++) found += watches_of(fds[i]);
    /* The fake of kevent has its own, by file: nothing is to be left of them. */
    if (count == 0 || !watched_merges()) assert_int_equal(found, count);
}

static long queue_max(void) {
    long events = 16384;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    if (file != NULL) {
        if (fscanf(file, "%ld", &events) != 1) events = 16384;
        fclose(file);
    }
    return events;
}

/* The system's own queue: all watches are told, and go on. */
static void trouble_watch_full_queue_is_told(void **state) {
    (void)state;
    static struct watched busy, idle, gone;
    if (watched_merges()) test_skip("the system keeps no queue of changes that could be full");
    ferry_loop *loop = test_loop();
    char *d = make_directory("d"), *e = make_directory("e"), *f = make_directory("f");
    watched_begin(loop, &busy, d);
    watched_begin(loop, &idle, e);
    watched_begin(loop, &gone, f);
    long events = queue_max();
    write_file(in(d, "entry 0"), "0"); /* the same again and again would be merged */
    write_file(in(d, "entry 1"), "1");
    for (long i = 0; i < events; i++) {
        assert_int_equal(chmod(in(d, i % 2 ? "entry 0" : "entry 1"), 0640), 0);
    }
    assert_int_equal(rmdir(f), 0); /* what would tell of it finds no room */
    while (busy.overflows == 0 || idle.overflows == 0) {
        assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    }
    probe_wait(loop, &gone.probe);
    assert_int_equal(gone.probe.result, FERRY_ENOENT);
    busy.count = idle.count = 0;
    write_file(in(d, "after"), "1");
    write_file(in(e, "after"), "1");
    watched_until(loop, &busy, FERRY_CHANGE_MODIFIED, "after");
    watched_until(loop, &idle, FERRY_CHANGE_MODIFIED, "after");
    watched_cancel(loop, &busy);
    watched_cancel(loop, &idle);
    finish(loop);
}

const struct contract_test watched_linux_tests[] = {
    {"trouble_watch_full_queue_is_told", trouble_watch_full_queue_is_told, 60},
    {NULL, NULL, 0},
};
