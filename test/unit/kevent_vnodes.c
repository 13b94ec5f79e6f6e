/* The fake of kevent for files and directories: EVFILT_VNODE, and EVFILT_READ as a file grows.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kqueue/probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Short forms ------------------------------------------------------------------------- */

static int kq, descriptors_before;
static char directory[256];

static int begin(void **state) {
    (void)state;
    (void)snprintf(directory, sizeof directory, "%s", temp_name());
    if (mkdir(directory, 0700) != 0) return -1;
    descriptors_before = open_descriptors();
    kq = kqueue();
    return kq >= 0 ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    if (rmdir(directory) != 0 || close(kq) != 0) return -1;
    return open_descriptors() == descriptors_before ? 0 : -1;
}

/* What is there within a second, or, if nothing is to be, within a moment. */
static const char *answer(void) {
    struct kevent events[EVENTS];
    return said(get(kq, events, 1000), events);
}

static const char *answer_soon(void) {
    struct kevent events[EVENTS];
    return said(get(kq, events, 20), events);
}

static int add(uintptr_t ident, int filter, int flags, unsigned fflags) {
    return change(kq, ident, filter, EV_ADD | flags, fflags, 0, 0);
}

static char *path_of(const char *name) {
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static int make_file(const char *name) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    return fd;
}

/* Opens it and asks for all that changes it. */
static int watch(const char *path) {
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    unsigned notes = NOTE_WRITE | NOTE_DELETE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_LINK | NOTE_RENAME;
    assert_int_equal(add((uintptr_t)fd, EVFILT_VNODE, EV_CLEAR, notes), 0);
    return fd;
}

static unsigned notes_within(int ms) {
    struct kevent events[EVENTS];
    unsigned notes = 0;
    for (int count; (count = get(kq, events, notes == 0 ? ms : 0)) > 0;) {
        for (int i = 0; i < count; i++) notes |= events[i].fflags;
    }
    return notes;
}

/* ---- The tests ---------------------------------------------------------------------------- */

static void entries_of_a_directory(void **state) {
    (void)state;
    int fd = watch(directory);
    assert_int_equal(notes_within(20), 0);
    int file = make_file("a");
    assert_int_equal(notes_within(1000), NOTE_WRITE);
    put(file, "x"); /* is no change of the directory */
    assert_int_equal(notes_within(20), 0);
    assert_int_equal(rename(path_of("a"), path_of("b")), 0);
    assert_int_equal(notes_within(1000), NOTE_WRITE);
    assert_int_equal(unlink(path_of("b")), 0);
    assert_int_equal(notes_within(1000), NOTE_WRITE);
    assert_int_equal(mkdir(path_of("c"), 0700), 0);
    assert_int_equal(notes_within(1000), NOTE_WRITE | NOTE_LINK);
    assert_int_equal(rmdir(path_of("c")), 0);
    assert_int_equal(notes_within(1000), NOTE_WRITE | NOTE_LINK);
    assert_int_equal(close(file), 0);
    assert_int_equal(close(fd), 0);
}

static void a_directory_is_removed(void **state) {
    (void)state;
    assert_int_equal(mkdir(path_of("a"), 0700), 0);
    int fd = watch(path_of("a"));
    assert_int_equal(rmdir(path_of("a")), 0);
    assert_int_equal(notes_within(1000) & NOTE_DELETE, NOTE_DELETE);
    assert_int_equal(notes_within(20), 0);
    assert_int_equal(close(fd), 0);
}

static void a_directory_itself(void **state) {
    (void)state;
    assert_int_equal(mkdir(path_of("a"), 0700), 0);
    assert_int_equal(mkdir(path_of("d"), 0700), 0);
    int fd = watch(path_of("a"));
    assert_int_equal(chmod(path_of("a"), 0755), 0);
    assert_int_equal(notes_within(1000), NOTE_ATTRIB);
    assert_int_equal(rename(path_of("a"), path_of("d/b")), 0);
    assert_int_equal(notes_within(1000), NOTE_RENAME);
    assert_int_equal(rmdir(path_of("d/b")), 0);
    assert_int_equal(notes_within(1000) & NOTE_DELETE, NOTE_DELETE);
    assert_int_equal(rmdir(path_of("d")), 0);
    assert_int_equal(notes_within(20), 0);
    assert_int_equal(close(fd), 0);
}

static void a_file_itself(void **state) {
    (void)state;
    int file = make_file("a"), fd = watch(path_of("a"));
    put(file, "x");
    assert_int_equal(notes_within(1000), NOTE_WRITE | NOTE_EXTEND);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    put(file, "y");
    assert_int_equal(notes_within(1000), NOTE_WRITE);
    assert_int_equal(link(path_of("a"), path_of("b")), 0);
    assert_int_equal(notes_within(1000), NOTE_LINK);
    assert_int_equal(rename(path_of("a"), path_of("c")), 0);
    assert_int_equal(notes_within(1000), NOTE_RENAME);
    assert_int_equal(unlink(path_of("b")), 0);
    assert_int_equal(notes_within(1000), NOTE_DELETE);
    assert_int_equal(unlink(path_of("c")), 0);
    assert_int_equal(notes_within(1000), NOTE_DELETE);
    assert_int_equal(close(file), 0);
    assert_int_equal(close(fd), 0);
}

/* Two descriptors of one thing, and only what was asked for. */
static void watched_twice(void **state) {
    (void)state;
    struct kevent events[EVENTS];
    int all = watch(directory), few = open(directory, O_RDONLY);
    assert_int_equal(add((uintptr_t)few, EVFILT_VNODE, 0, NOTE_DELETE), 0);
    assert_int_equal(close(make_file("a")), 0);
    assert_int_equal(get(kq, events, 1000), 1);
    assert_int_equal(events[0].ident, all);
    assert_int_equal(close(all), 0);
    assert_int_equal(add((uintptr_t)few, EVFILT_VNODE, 0, NOTE_WRITE), 0);
    assert_int_equal(unlink(path_of("a")), 0);
    for (int i = 0; i < 2; i++) { /* level-triggered, for what was asked when it happened */
        assert_int_equal(get(kq, events, 1000), 1);
        assert_int_equal(events[0].fflags, NOTE_WRITE);
    }
    assert_int_equal(close(few), 0);
}

/* EVFILT_READ waits for a file to grow. */
static void a_file_that_grows(void **state) {
    (void)state;
    int file = make_file("a"), fd = open(path_of("a"), O_RDONLY);
    assert_int_equal(add((uintptr_t)fd, EVFILT_READ, 0, 0), 0);
    assert_string_equal(answer_soon(), "nothing");
    put(file, "abc");
    assert_string_equal(answer(), "READ data=3");
    assert_int_equal(take(fd, 3), 3);
    assert_string_equal(answer_soon(), "nothing");
    assert_int_equal(unlink(path_of("a")), 0);
    assert_int_equal(close(file), 0);
    assert_int_equal(close(fd), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(entries_of_a_directory), TEST(a_directory_is_removed), TEST(a_directory_itself),
        TEST(a_file_itself),          TEST(watched_twice),          TEST(a_file_that_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
