/* ops_directories.c - listing directories: small and large memory, many entries, changes meanwhile
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static ferry_fd make_dir(char path[320], const char *name) {
    snprintf(path, 320, "%s", temp_path(name));
    assert_int_equal(mkdir(path, 0700), 0);
    ferry_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    return dir;
}

static void touch(ferry_fd dir, const char *name) {
    ferry_fd fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close_far(fd);
}

/* One batch: what the operation ended with. */
static int64_t list(ferry_loop *loop, ferry_fd dir, void *buf, size_t len, unsigned flags) {
    struct probe p = {.calls = 0};
    ferry_list(loop, &p.op, dir, buf, len, flags, probe_done);
    probe_wait(loop, &p);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.transferred, p.result > 0 ? p.result : 0);
    assert_int_equal(p.flags, p.result == 0 ? FERRY_EOF : 0);
    return p.result;
}

static void ops_list_nothing(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], buf[1024];
    ferry_fd dir = make_dir(path, "dir");
    ferry_entry entry = {0};
    assert_int_equal(list(loop, dir, buf, sizeof buf, 0), 0);
    assert_int_equal(list(loop, dir, buf, sizeof buf, 0), 0);
    assert_int_equal(ferry_entry_next(buf, 0, &entry), 0);
    assert_int_equal(ferry_entry_next(buf, FERRY_EBADF, &entry), 0);
    close_near(loop, dir);
    finish(loop);
}

/* All that is told of an entry, for each type. */
static void ops_list_types(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], fifo[340], buf[4096];
    ferry_fd dir = make_dir(path, "dir");
    touch(dir, "file");
    snprintf(fifo, sizeof fifo, "%s/fifo", path);
    assert_int_equal(mkdirat(dir, "sub", 0700), 0);
    int links = !omits_links(), fifos = !omits_on_windows("no FIFOs on Windows");
    if (links) assert_int_equal(symlinkat("file", dir, "link"), 0);
    if (fifos) assert_int_equal(mkfifo(fifo, 0600), 0);
    touch(dir, "..."); /* neither of those that are left out */
    touch(dir, ".hidden");
    int64_t bytes = list(loop, dir, buf, sizeof buf, 0);
    assert_true(bytes > 0);
    const struct {
        const char *name;
        enum ferry_file_type type;
    } expected[] = {{"file", FERRY_FILE_REGULAR}, {"sub", FERRY_FILE_DIRECTORY},
                    {"...", FERRY_FILE_REGULAR},  {".hidden", FERRY_FILE_REGULAR},
                    {"link", FERRY_FILE_SYMLINK}, {"fifo", FERRY_FILE_FIFO}};
    int seen[6] = {0}, count = 0;
    ferry_entry entry = {0};
    while (ferry_entry_next(buf, bytes, &entry)) {
        struct stat about;
        count++;
        assert_int_equal(entry.name_len, strlen(entry.name));
        assert_int_equal(fstatat(dir, entry.name, &about, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(entry.inode, about.st_ino);
        for (int i = 0; i < 6; i++) {
            if (strcmp(entry.name, expected[i].name) != 0) continue;
            assert_int_equal(entry.type, expected[i].type);
            seen[i]++;
        }
    }
    assert_int_equal(count, 4 + links + fifos);
    for (int i = 0; i < 6; i++) {
        int is_there = i < 4 || (i == 4 && links) || (i == 5 && fifos);
        assert_int_equal(seen[i], is_there);
    }
    assert_int_equal(list(loop, dir, buf, sizeof buf, 0), 0);
    /* And once more from the beginning. */
    assert_int_equal(list(loop, dir, buf, sizeof buf, FERRY_RESTART), bytes);
    close_near(loop, dir);
    finish(loop);
}

/* Goes through all of it in batches; marks what has a number. */
static size_t list_all(ferry_loop *loop, ferry_fd dir, size_t len, unsigned char *seen,
                       size_t seen_max, unsigned flags) {
    char *buf = malloc(len);
    size_t count = 0;
    int64_t bytes;
    assert_non_null(buf);
    for (; (bytes = list(loop, dir, buf, len, flags)) > 0; flags = 0) {
        ferry_entry entry = {0};
        while (ferry_entry_next(buf, bytes, &entry)) {
            char *end;
            size_t number = strtoul(entry.name + strcspn(entry.name, "0123456789"), &end, 10);
            assert_true(number < seen_max);
            seen[number]++;
            count++;
        }
    }
    assert_int_equal(bytes, 0);
    free(buf);
    return count;
}

static void ops_list_many(void **state) {
    (void)state;
    enum { COUNT = 6000 };
    ferry_loop *loop = test_loop();
    static unsigned char seen[COUNT];
    char path[320], name[32];
    ferry_fd dir = make_dir(path, "dir");
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "entry-%d", i);
        touch(dir, name);
    }
    const size_t lens[] = {64 * KIB, 300, 4 * MIB};
    for (int i = 0; i < 3; i++) {
        memset(seen, 0, sizeof seen);
        assert_int_equal(list_all(loop, dir, lens[i], seen, COUNT, FERRY_RESTART), COUNT);
        for (int k = 0; k < COUNT; k++) assert_int_equal(seen[k], 1);
    }
    close_near(loop, dir);
    finish(loop);
}

/* Names as long as they can be, in memory that holds just one of them. */
static void ops_list_longest_names(void **state) {
    (void)state;
    enum { COUNT = 12 };
    ferry_loop *loop = test_loop();
    static unsigned char seen[COUNT];
    char path[320], name[256], buf[64];
    ferry_fd dir = make_dir(path, "dir");
    for (int i = 0; i < COUNT; i++) {
        memset(name, 'n', 255);
        name[255] = '\0';
        char digits[8];
        int len = snprintf(digits, sizeof digits, "%d", i);
        memcpy(name + 255 - len, digits, (size_t)len);
        touch(dir, name);
    }
    assert_int_equal(list(loop, dir, buf, sizeof buf, 0), FERRY_ENOROOM);
    assert_int_equal(list(loop, dir, buf, 0, 0), FERRY_ENOROOM);
    assert_int_equal(list(loop, dir, buf, 1, 0), FERRY_ENOROOM);
    assert_int_equal(list_all(loop, dir, 280, seen, COUNT, FERRY_RESTART), COUNT);
    for (int k = 0; k < COUNT; k++) assert_int_equal(seen[k], 1);
    close_near(loop, dir);
    finish(loop);
}

/* What stays is seen exactly once, whatever comes and goes. */
static void ops_list_while_it_changes(void **state) {
    (void)state;
    enum { COUNT = 400 };
    ferry_loop *loop = test_loop();
    static unsigned char seen[10 * COUNT];
    char path[320], name[32], buf[1024];
    ferry_fd dir = make_dir(path, "dir");
    for (int i = 0; i < 2 * COUNT; i++) {
        snprintf(name, sizeof name, "%d", i);
        touch(dir, name);
    }
    int64_t bytes;
    int batch = 0;
    while ((bytes = list(loop, dir, buf, sizeof buf, 0)) > 0) {
        ferry_entry entry = {0};
        while (ferry_entry_next(buf, bytes, &entry)) seen[atoi(entry.name)]++;
        if (batch < COUNT) {
            snprintf(name, sizeof name, "%d", COUNT + batch); /* the second half goes */
            (void)unlinkat(dir, name, 0);
            snprintf(name, sizeof name, "%d", 2 * COUNT + batch); /* others come */
            touch(dir, name);
        }
        batch++;
    }
    assert_int_equal(bytes, 0);
    for (int k = 0; k < COUNT; k++) assert_int_equal(seen[k], 1);
    close_near(loop, dir);
    finish(loop);
}

static void ops_list_errors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], buf[1024];
    ferry_fd fds[2], dir = make_dir(path, "gone");
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    unix_pair(fds, SOCK_STREAM);
    if (!omits_on_wine("Wine keeps what was removed until its last handle is closed")) {
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(list(loop, dir, buf, sizeof buf, 0), FERRY_ENOENT);
    }
    assert_int_equal(list(loop, file, buf, sizeof buf, 0), FERRY_ENOTDIR);
    assert_int_equal(list(loop, file, buf, sizeof buf, FERRY_RESTART), FERRY_ENOTDIR);
    assert_int_equal(list(loop, fds[0], buf, sizeof buf, FERRY_RESTART), FERRY_ENOTDIR);
    assert_int_equal(list(loop, dir, NULL, 100, 0), FERRY_EFAULT);
#ifdef O_PATH
    if (!TEST_WINDOWS) { /* all directories can be read there */
        ferry_fd paths = open("/", O_PATH | O_CLOEXEC);
        assert_int_equal(list(loop, paths, buf, sizeof buf, 0), FERRY_EBADF);
        close_near(loop, paths);
    }
#endif
    close_near(loop, dir);
    close_near(loop, file);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* Several at once through one descriptor: each entry goes to one of them. */
static void ops_list_at_once(void **state) {
    (void)state;
    enum { COUNT = 200, LISTS = 6 };
    ferry_loop *loop = test_loop();
    static char bufs[LISTS][512];
    unsigned char seen[COUNT] = {0};
    char path[320], name[32];
    ferry_fd dir = make_dir(path, "dir");
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%d", i);
        touch(dir, name);
    }
    for (int ended = 0; ended == 0;) {
        struct probe p[LISTS];
        memset(p, 0, sizeof p);
        for (int i = 0; i < LISTS; i++) {
            ferry_list(loop, &p[i].op, dir, bufs[i], sizeof bufs[i], 0, probe_done);
        }
        probe_wait_all(loop, p, LISTS);
        for (int i = 0; i < LISTS; i++) {
            assert_true(p[i].result >= 0);
            if (p[i].result == 0) ended++;
            ferry_entry entry = {0};
            while (ferry_entry_next(bufs[i], p[i].result, &entry)) seen[atoi(entry.name)]++;
        }
    }
    for (int k = 0; k < COUNT; k++) assert_int_equal(seen[k], 1);
    close_near(loop, dir);
    finish(loop);
}

const struct contract_test ops_directories_tests[] = {
    {"ops_list_nothing", ops_list_nothing, 0},
    {"ops_list_types", ops_list_types, 0},
    {"ops_list_many", ops_list_many, 0},
    {"ops_list_longest_names", ops_list_longest_names, 0},
    {"ops_list_while_it_changes", ops_list_while_it_changes, 0},
    {"ops_list_errors", ops_list_errors, 0},
    {"ops_list_at_once", ops_list_at_once, 0},
    {NULL, NULL, 0},
};
