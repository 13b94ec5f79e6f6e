/* The system calls on files at their seam: file systems that refuse, tell less, or are interrupted.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "linux/calls.h"
#include "posix/file_calls.h"

#include "core.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ferry__file_calls plain;
static struct ferry__linux_calls plain_linux;
static char directory[64];

static int begin(void **state) {
    (void)state;
    plain = ferry__file_calls;
    plain_linux = ferry__linux_calls;
    snprintf(directory, sizeof directory, "/tmp/ferry-unit-XXXXXX");
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) return -1;
    return 0;
}

static int end(void **state) {
    (void)state;
    ferry__file_calls = plain;
    ferry__linux_calls = plain_linux;
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static ferry_loop *open_loop(const char *disable) {
    ferry_config config = {.size = sizeof config, .disable = disable};
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    return loop;
}

static int64_t wait_for(ferry_loop *loop, const ferry_op *op) {
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return op->result;
}

static int file(const char *name, const char *data) {
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, strlen(data)), strlen(data));
    return fd;
}

/* ---- Copying ----------------------------------------------------------------------------- */

static int copy_errno, writes_left;

static ssize_t no_copy(int from, off_t *in, int to, off_t *out, size_t len, unsigned flags) {
    (void)from, (void)in, (void)to, (void)out, (void)len, (void)flags;
    errno = copy_errno;
    return -1;
}

static ssize_t few_writes(int fd, const void *buf, size_t len, off_t offset) {
    static int interrupted;
    if (interrupted++ % 2) {
        errno = EINTR;
        return -1;
    }
    if (writes_left == 0) {
        errno = ENOSPC;
        return -1;
    }
    writes_left--;
    return plain.pwrite(fd, buf, len < 3 ? len : 3, offset); /* short ones */
}

static void a_copy_goes_by_hand_where_the_system_cannot(void **state) {
    (void)state;
    static const int errors[] = {EXDEV, ENOSYS, EINVAL, EOPNOTSUPP};
    ferry_loop *loop = open_loop(NULL);
    int from = file("from", "0123456789"), to = file("to", "");
    char got[16] = "";
    ferry__linux_calls.copy_file_range = no_copy;
    for (int i = 0; i < 4; i++) {
        ferry_op op = {.state = 0};
        copy_errno = errors[i];
        assert_int_equal(ftruncate(to, 0), 0);
        ferry_copy(loop, &op, from, 2, to, 1, 100, FERRY_ALL, NULL);
        assert_int_equal(wait_for(loop, &op), 8);
        assert_int_equal(pread(to, got, sizeof got, 0), 9);
        assert_memory_equal(got,
                            "\0"
                            "23456789",
                            9);
    }
    ferry_op op = {.state = 0};
    copy_errno = EIO; /* says something about the files */
    ferry_copy(loop, &op, from, 0, to, 0, 100, FERRY_ALL, NULL);
    assert_int_equal(wait_for(loop, &op), FERRY_EIO);
    close(from);
    close(to);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void a_copy_cut_short_tells_what_it_moved(void **state) {
    (void)state;
    ferry_loop *loop = open_loop(NULL);
    ferry_op all = {.state = 0}, some = {.state = 0};
    int from = file("from", "0123456789"), to = file("to", "");
    ferry__linux_calls.copy_file_range = no_copy;
    ferry__file_calls.pwrite = few_writes;
    copy_errno = EXDEV;
    writes_left = 2;
    ferry_copy(loop, &all, from, 0, to, 0, 10, FERRY_ALL, NULL);
    assert_int_equal(wait_for(loop, &all), FERRY_ENOSPC);
    assert_int_equal(all.transferred, 6);
    writes_left = 2;
    ferry_copy(loop, &some, from, 0, to, 0, 10, 0, NULL);
    assert_int_equal(wait_for(loop, &some), 6);
    writes_left = 100;
    ferry_copy(loop, &all, from, 0, to, 0, 10, FERRY_ALL, NULL);
    assert_int_equal(wait_for(loop, &all), 10);
    close(from);
    close(to);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- Listing ----------------------------------------------------------------------------- */

static ssize_t getdents_without_types(int fd, void *buf, size_t len) {
    static int interrupted;
    if (interrupted++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    ssize_t got = plain.getdents(fd, buf, len);
    for (ssize_t at = 0; at < got;) {
        char *entry = (char *)buf + at;
        uint16_t size;
        memcpy(&size, entry + 16, sizeof size);
        entry[18] = DT_UNKNOWN;
        at += size;
    }
    return got;
}

static void types_are_asked_for_where_a_listing_has_none(void **state) {
    (void)state;
    ferry_loop *loop = open_loop(NULL);
    ferry_op op = {.state = 0};
    char buf[1024];
    int seen = 0, dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(file("file", ""));
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(symlink("sub", "link"), 0);
    ferry__file_calls.getdents = getdents_without_types;
    ferry_list(loop, &op, dir, buf, sizeof buf, 0, NULL);
    assert_true(wait_for(loop, &op) > 0);
    ferry_entry entry = {0};
    while (ferry_entry_next(buf, op.result, &entry)) {
        enum ferry_file_type type = strcmp(entry.name, "file") == 0  ? FERRY_FILE_REGULAR
                                    : strcmp(entry.name, "sub") == 0 ? FERRY_FILE_DIRECTORY
                                                                     : FERRY_FILE_SYMLINK;
        assert_int_equal(entry.type, type);
        seen++;
    }
    assert_int_equal(seen, 3);
    close(dir);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- Temporary files --------------------------------------------------------------------- */

static int tries;

static int openat_taken(int dir, const char *path, int flags, mode_t mode) {
    if (tries-- > 0) {
        errno = EEXIST;
        return -1;
    }
    return plain.openat(dir, path, flags, mode);
}

static int no_entropy(void *buf, size_t len) {
    (void)buf, (void)len;
    errno = ENOSYS;
    return -1;
}

static void a_temporary_name_that_is_taken_is_tried_again(void **state) {
    (void)state;
    ferry_loop *loop = open_loop(NULL);
    ferry_op op = {.state = 0};
    char name[] = "a-XXXXXX";
    ferry__file_calls.openat = openat_taken;
    ferry__file_calls.getentropy = no_entropy;
    tries = 7;
    ferry_temp_file(loop, &op, FERRY_FD_NONE, name, 0, NULL);
    assert_true(wait_for(loop, &op) >= 0);
    assert_int_equal(access(name, F_OK), 0);
    close((int)op.result);
    tries = 1000000; /* all of them are */
    snprintf(name, sizeof name, "a-XXXXXX");
    ferry_temp_file(loop, &op, FERRY_FD_NONE, name, 0, NULL);
    assert_int_equal(wait_for(loop, &op), FERRY_EEXIST);
    assert_string_equal(name, "a-XXXXXX");
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- Space ------------------------------------------------------------------------------- */

static int no_fallocate(int fd, int mode, off_t offset, off_t len) {
    (void)fd, (void)mode, (void)offset, (void)len;
    errno = EOPNOTSUPP;
    return -1;
}

static void a_file_system_that_cannot_allocate_says_so(void **state) {
    (void)state;
    ferry_loop *loop = open_loop("all");
    ferry_op op = {.state = 0};
    int fd = file("file", "data");
    ferry__linux_calls.fallocate = no_fallocate;
    ferry_allocate(loop, &op, fd, 0, 1000, 0, NULL);
    assert_int_equal(wait_for(loop, &op), FERRY_ENOTSUP);
    assert_int_equal(lseek(fd, 0, SEEK_END), 4); /* and nothing was written instead */
    close(fd);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- Looking before opening ---------------------------------------------------------------- */

static int openat2_errno, lies;

static int no_openat2(int dir, const char *path, struct open_how *how) {
    (void)dir, (void)path, (void)how;
    errno = openat2_errno;
    return -1;
}

/* Says of the first what was a file that it still is one. */
static int statx_of_before(int dir, const char *path, int flags, unsigned mask,
                           struct statx *about) {
    int result = plain_linux.statx(dir, path, flags, mask, about);
    if (result == 0 && lies > 0) {
        lies--;
        about->stx_mode = S_IFREG | 0600;
        about->stx_dev_major = 8;
    }
    return result;
}

static int is_found(ferry_loop *loop, const char *name) {
    const ferry_description *about = ferry_loop_describe(loop);
    for (size_t i = 0; i < about->feature_count; i++) {
        if (strcmp(about->features[i].name, name) != 0) continue;
        return about->features[i].state == FERRY_FEATURE_FOUND;
    }
    return -1;
}

static void a_kernel_that_cannot_look_is_not_asked(void **state) {
    (void)state;
    static const int errors[] = {ENOSYS, EINVAL, EPERM};
    close(file("file", "data"));
    ferry__linux_calls.openat2 = no_openat2;
    for (int i = 0; i < 3; i++) {
        openat2_errno = errors[i];
        ferry_loop *loop = open_loop(NULL);
        ferry_op op = {.state = 0};
        if (is_found(loop, "cached_files") >= 0)
            assert_int_equal(is_found(loop, "cached_files"), 0);
        ferry_open(loop, &op, "file", FERRY_OPEN_READ, 0, 0, NULL);
        assert_true(wait_for(loop, &op) >= 0);
        ferry_close(loop, NULL, (ferry_fd)op.result, 0, NULL);
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        assert_int_equal(ferry_loop_close(loop), 0);
    }
}

static void a_fifo_taken_for_a_file_is_waited_for(void **state) {
    (void)state;
    ferry_loop *loop = open_loop(NULL);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    ferry__linux_calls.statx = statx_of_before;
    for (int i = 0; i < 2; i++) {
        ferry_op op = {.state = 0};
        lies = 1;
        ferry_open(loop, &op, "fifo", i ? FERRY_OPEN_WRITE : FERRY_OPEN_READ, 0, 0, NULL);
        for (int k = 0; k < 20; k++) {
            assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
            usleep(1000);
        }
        int other = open("fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC);
        assert_true(wait_for(loop, &op) >= 0);
        assert_int_equal(fcntl((int)op.result, F_GETFL) & O_NONBLOCK, 0);
        close((int)op.result);
        assert_int_equal(ferry_forget(loop, (ferry_fd)op.result), 0);
        close(other);
    }
    assert_int_equal(ferry_loop_close(loop), 0);
}

int main(void) {
#define SEAM_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        SEAM_TEST(a_copy_goes_by_hand_where_the_system_cannot),
        SEAM_TEST(a_copy_cut_short_tells_what_it_moved),
        SEAM_TEST(types_are_asked_for_where_a_listing_has_none),
        SEAM_TEST(a_temporary_name_that_is_taken_is_tried_again),
        SEAM_TEST(a_file_system_that_cannot_allocate_says_so),
        SEAM_TEST(a_kernel_that_cannot_look_is_not_asked),
        SEAM_TEST(a_fifo_taken_for_a_file_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
