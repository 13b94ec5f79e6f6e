/* trouble_files.c - files and names: bad arguments, hopeless names, no permission, cancel and close
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include "file_kinds.h"
#include "portable.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NONE FERRY_FD_NONE

static struct file_target targets[FERRY_OP_COUNT];
static struct probe probes[FERRY_OP_COUNT];

/* Submits each kind of operation on files that goes by name. */
static void submit_named(ferry_loop *loop, ferry_fd dir) {
    memset(probes, 0, sizeof probes);
    for (unsigned code = 0; code < FERRY_OP_COUNT; code++) {
        if (!file_kind_is_named(code)) continue;
        targets[code].dir = dir;
        assert_true(file_kind_submit(loop, code, &probes[code].op, &targets[code], 0));
    }
}

/* ---- Arguments ------------------------------------------------------------------------- */

static void trouble_files_null(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[24];
    ferry_file file;
    char buf[64] = "";
    size_t n = 0;
    memset(p, 0, sizeof p);
    ferry_open_at(loop, &p[n++].op, NONE, NULL, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_stat_at(loop, &p[n++].op, NONE, NULL, &file, 0, probe_done);
    ferry_stat_at(loop, &p[n++].op, NONE, "/", NULL, 0, probe_done);
    ferry_stat_fd(loop, &p[n++].op, 0, NULL, 0, probe_done);
    ferry_chmod(loop, &p[n++].op, NONE, NULL, 0, 0, probe_done);
    ferry_chown(loop, &p[n++].op, NONE, NULL, 0, 0, 0, probe_done);
    ferry_times(loop, &p[n++].op, NONE, NULL, 0, 0, 0, probe_done);
    ferry_access(loop, &p[n++].op, NONE, NULL, 0, 0, probe_done);
    ferry_rename(loop, &p[n++].op, NONE, NULL, NONE, "x", 0, probe_done);
    ferry_rename(loop, &p[n++].op, NONE, "x", NONE, NULL, 0, probe_done);
    ferry_hard_link(loop, &p[n++].op, NONE, NULL, NONE, "x", 0, probe_done);
    ferry_hard_link(loop, &p[n++].op, NONE, "x", NONE, NULL, 0, probe_done);
    ferry_symlink(loop, &p[n++].op, NULL, NONE, "x", 0, probe_done);
    ferry_symlink(loop, &p[n++].op, "x", NONE, NULL, 0, probe_done);
    ferry_unlink(loop, &p[n++].op, NONE, NULL, 0, probe_done);
    ferry_mkdir(loop, &p[n++].op, NONE, NULL, 0, 0, probe_done);
    ferry_rmdir(loop, &p[n++].op, NONE, NULL, 0, probe_done);
    ferry_readlink(loop, &p[n++].op, NONE, NULL, buf, sizeof buf, 0, probe_done);
    ferry_readlink(loop, &p[n++].op, NONE, "x", NULL, sizeof buf, 0, probe_done);
    ferry_realpath(loop, &p[n++].op, NULL, buf, sizeof buf, 0, probe_done);
    ferry_realpath(loop, &p[n++].op, "/", NULL, sizeof buf, 0, probe_done);
    ferry_temp_file(loop, &p[n++].op, NONE, NULL, 0, probe_done);
    ferry_temp_dir(loop, &p[n++].op, NONE, NULL, 0, probe_done);
    ferry_list(loop, &p[n++].op, 0, NULL, 100, 0, probe_done);
    assert_int_equal(n, 24);
    for (size_t i = 0; i < n; i++) expect_all(loop, &p[i], FERRY_EFAULT, 0, 0);
    finish(loop);
}

static void trouble_files_numbers(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[9];
    char buf[64] = "", name[4][16] = {"XXXXX", "XXXXXXa", "", "aXXXXX"};
    memset(p, 0, sizeof p);
    ferry_chmod(loop, &p[0].op, NONE, "/", 010000, 0, probe_done);
    ferry_mkdir(loop, &p[1].op, NONE, "/", 0x80000000u, 0, probe_done);
    ferry_access(loop, &p[2].op, NONE, "/", 8, 0, probe_done);
    ferry_rename(loop, &p[3].op, NONE, "x", NONE, "y", FERRY_NOREPLACE | FERRY_EXCHANGE,
                 probe_done);
    for (int i = 0; i < 4; i++) {
        ferry_temp_file(loop, &p[4 + i].op, NONE, name[i], 0, probe_done);
    }
    for (int i = 0; i < 8; i++) expect_all(loop, &p[i], FERRY_EINVAL, 0, 0);
    assert_string_equal(name[1], "XXXXXXa");
    ferry_realpath(loop, &p[8].op, "/", buf, 0, 0, probe_done);
    expect_all(loop, &p[8], FERRY_ENOROOM, 0, 0);
    finish(loop);
}

/* Each flag on each operation to which it does not apply. */
static void trouble_files_flags(void **state) {
    (void)state;
    static const struct {
        unsigned flag;
        unsigned codes[6];
    } allowed[] = {
        {FERRY_NOFOLLOW, {FERRY_OP_CHMOD, FERRY_OP_CHOWN, FERRY_OP_TIMES, FERRY_OP_ACCESS}},
        {FERRY_BENEATH, {0}},
        {FERRY_NOREPLACE, {FERRY_OP_RENAME}},
        {FERRY_EXCHANGE, {FERRY_OP_RENAME}},
        {FERRY_RESTART, {FERRY_OP_LIST}},
        {FERRY_ALL, {FERRY_OP_COPY}},
        {FERRY_SOME, {0}},
        {FERRY_DATA, {0}},
        {FERRY_MULTI, {0}},
    };
    ferry_loop *loop = test_loop();
    for (size_t f = 0; f < sizeof allowed / sizeof *allowed; f++) {
        for (unsigned code = 0; code < FERRY_OP_COUNT; code++) {
            struct probe p = {.calls = 0};
            int applies = 0;
            for (int i = 0; i < 6; i++) applies |= code != 0 && allowed[f].codes[i] == code;
            if (applies) continue;
            if (!file_kind_submit(loop, code, &p.op, &targets[code], allowed[f].flag)) continue;
            probe_wait(loop, &p);
            if (p.result == FERRY_EINVAL) continue;
            fail_msg("%s with flag 0x%x ended with %s", ferry_op_name(code), allowed[f].flag,
                     ferry_error_name(p.result));
        }
    }
    finish(loop);
}

/* ---- Directories that are none --------------------------------------------------------- */

static void named_end_with(ferry_loop *loop, ferry_fd dir, int64_t error) {
    int links = !omits_links(); /* or the system says that it has made one, whatever the name */
    submit_named(loop, dir);
    for (unsigned code = 0; code < FERRY_OP_COUNT; code++) {
        /* realpath takes no directory: there is nothing of that name below the current one. */
        if (!file_kind_is_named(code) || code == FERRY_OP_REALPATH) continue;
        probe_wait(loop, &probes[code]);
        if (code == FERRY_OP_SYMLINK && !links) continue;
        if (probes[code].result != error) {
            fail_msg("%s ended with %s", ferry_op_name(code),
                     ferry_error_name(probes[code].result));
        }
    }
    probe_wait(loop, &probes[FERRY_OP_REALPATH]);
}

static void trouble_files_bad_directories(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], file = make_file(temp_path("file"), "data", 4);
    assert_int_equal(ferry_pipe(loop, fds), 0);
    ferry_fd root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    named_end_with(loop, NONE, FERRY_ENOENT);
    named_end_with(loop, root, FERRY_ENOENT);
    named_end_with(loop, -2, FERRY_EBADF);
    named_end_with(loop, INT32_MIN, FERRY_EBADF);
    named_end_with(loop, INT32_MAX, FERRY_EMFILE);
    named_end_with(loop, closed_fd(), FERRY_EBADF);
    named_end_with(loop, file, FERRY_ENOTDIR);
    named_end_with(loop, fds[0], FERRY_ENOTDIR);
    close_near(loop, root);
    close_near(loop, file);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* The second directory of two is checked as the first is. */
static void trouble_files_bad_second_directory(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const ferry_fd bad[] = {-2, INT32_MAX, closed_fd()};
    const int64_t errors[] = {FERRY_EBADF, FERRY_EMFILE, FERRY_EBADF};
    for (int i = 0; i < 3; i++) {
        struct probe p[2];
        memset(p, 0, sizeof p);
        ferry_rename(loop, &p[0].op, NONE, "none", bad[i], "x", 0, probe_done);
        ferry_hard_link(loop, &p[1].op, NONE, "/etc/passwd", bad[i], "x", 0, probe_done);
        expect_all(loop, &p[0], errors[i], 0, 0);
        expect_all(loop, &p[1], errors[i], 0, 0);
    }
    finish(loop);
}

/* ---- Names ----------------------------------------------------------------------------- */

static void each_name_ends_with(ferry_loop *loop, const char *name, int64_t error) {
    int links = !omits_links();
    struct probe p[13];
    char buf[64], pattern[6100];
    ferry_file file;
    memset(p, 0, sizeof p);
    snprintf(pattern, sizeof pattern, "%s/XXXXXX", name);
    ferry_open_at(loop, &p[0].op, NONE, name, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_stat_at(loop, &p[1].op, NONE, name, &file, 0, probe_done);
    ferry_chmod(loop, &p[2].op, NONE, name, 0700, 0, probe_done);
    ferry_chown(loop, &p[3].op, NONE, name, FERRY_ID_LEAVE, FERRY_ID_LEAVE, 0, probe_done);
    ferry_times(loop, &p[4].op, NONE, name, 0, 0, 0, probe_done);
    ferry_access(loop, &p[5].op, NONE, name, 0, 0, probe_done);
    ferry_rename(loop, &p[6].op, NONE, name, NONE, name, FERRY_NOREPLACE, probe_done);
    ferry_hard_link(loop, &p[7].op, NONE, name, NONE, name, 0, probe_done);
    ferry_symlink(loop, &p[8].op, "target", NONE, name, 0, probe_done);
    ferry_unlink(loop, &p[9].op, NONE, name, 0, probe_done);
    ferry_mkdir(loop, &p[10].op, NONE, name, 0700, 0, probe_done);
    ferry_rmdir(loop, &p[11].op, NONE, name, 0, probe_done);
    ferry_readlink(loop, &p[12].op, NONE, name, buf, sizeof buf, 0, probe_done);
    for (int i = 0; i < 13; i++) {
        probe_wait(loop, &p[i]);
        if (i == 8 && !links) continue; /* which says that it has made one, whatever the name */
        if (p[i].result != error) {
            fail_msg("%s of \"%.20s\" ended with %s", ferry_op_name(p[i].op.code), name,
                     ferry_error_name(p[i].result));
        }
    }
    if (*name == '\0') return;
    struct probe more[2];
    memset(more, 0, sizeof more);
    ferry_realpath(loop, &more[0].op, name, buf, sizeof buf, 0, probe_done);
    ferry_temp_file(loop, &more[1].op, NONE, pattern, 0, probe_done);
    expect_all(loop, &more[0], error, 0, 0);
    expect_all(loop, &more[1], error, 0, 0);
}

static void trouble_files_names(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static char longest[6000], part[400];
    char path[340], circle[340];
    memset(longest, 'n', sizeof longest - 1);
    memset(part, 'n', 300);
    snprintf(path, sizeof path, "%s/below/more", temp_path("file"));
    close_far(make_file(temp_path("file"), "", 0));
    int links = !omits_links();
    snprintf(circle, sizeof circle, "%s", temp_path("circle"));
    if (links) assert_int_equal(symlink(circle, circle), 0);
    snprintf(circle, sizeof circle, "%s/below", temp_path("circle"));
    each_name_ends_with(loop, "", FERRY_ENOENT);
    each_name_ends_with(loop, longest, FERRY_ENAMETOOLONG);
    each_name_ends_with(loop, part, FERRY_ENAMETOOLONG);
    each_name_ends_with(loop, "none/below", FERRY_ENOENT);
    each_name_ends_with(loop, path, FERRY_ENOTDIR);
    if (links) each_name_ends_with(loop, circle, FERRY_ELOOP);
    finish(loop);
}

/* Memory that is not there: the system finds out. */
static void trouble_files_unmapped(void **state) {
    (void)state;
    differs_on_windows("a bad address crashes who gives it");
    ferry_loop *loop = test_loop();
    struct probe p[5];
    ferry_file file;
    char *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(gone != MAP_FAILED);
    memset(p, 0, sizeof p);
    ferry_open(loop, &p[0].op, gone, FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_stat(loop, &p[1].op, gone, &file, 0, probe_done);
    ferry_unlink(loop, &p[2].op, NONE, gone, 0, probe_done);
    ferry_mkdir(loop, &p[3].op, NONE, gone, 0700, 0, probe_done);
    ferry_rename(loop, &p[4].op, NONE, gone, NONE, "x", 0, probe_done);
    for (int i = 0; i < 5; i++) expect_all(loop, &p[i], FERRY_EFAULT, 0, 0);
    vast_unmap(gone, 4096);
    finish(loop);
}

/* ---- Not started yet ------------------------------------------------------------------- */

/* What waits for a worker: on names below dir, and on what is open. */
static size_t submit_waiting(ferry_loop *loop, struct probe *p, ferry_fd dir, ferry_fd file,
                             char name[2][16]) {
    static char target[4096], entries[4096];
    size_t n = 0;
    strcpy(name[0], "aXXXXXX");
    strcpy(name[1], "bXXXXXX");
    ferry_temp_file(loop, &p[n++].op, dir, name[0], 0, probe_done);
    ferry_temp_dir(loop, &p[n++].op, dir, name[1], 0, probe_done);
    ferry_chmod(loop, &p[n++].op, dir, "file", 0, 0, probe_done);
    ferry_readlink(loop, &p[n++].op, dir, "link", target, sizeof target, 0, probe_done);
    ferry_list(loop, &p[n++].op, dir, entries, sizeof entries, 0, probe_done);
    ferry_copy(loop, &p[n++].op, dir, 0, file, 0, 4, FERRY_ALL, probe_done);
    ferry_copy(loop, &p[n++].op, file, 0, dir, 100, 4, FERRY_ALL, probe_done);
    return n;
}

static void nothing_happened(ferry_loop *loop, struct probe *p, size_t n, int64_t error,
                             char name[2][16]) {
    for (size_t i = 0; i < n; i++) expect_all(loop, &p[i], error, 0, 0);
    assert_string_equal(name[0], "aXXXXXX");
    assert_string_equal(name[1], "bXXXXXX");
}

static void waiting_prepare(char path[320], ferry_fd *dir, ferry_fd *file) {
    snprintf(path, 320, "%s", temp_path("dir"));
    assert_int_equal(mkdir(path, 0700), 0);
    *dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *file = openat(*dir, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(*dir >= 0 && *file >= 0);
    if (!is_wine()) assert_int_equal(symlinkat("file", *dir, "link"), 0);
}

static void contract_05_files_cancelled_before_they_start(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct held_worker held;
    struct probe p[8];
    struct stat about;
    char path[320], name[2][16];
    ferry_fd dir, file;
    memset(p, 0, sizeof p);
    waiting_prepare(path, &dir, &file);
    worker_hold(loop, &held);
    size_t n = submit_waiting(loop, p, dir, file, name);
    for (size_t i = 0; i < n; i++) ferry_cancel(loop, &p[i].op);
    nothing_happened(loop, p, n, FERRY_ECANCELED, name);
    worker_let_go(&held);
    worker_end(loop, &held);
    assert_int_equal(fstat(file, &about), 0);
    assert_int_equal(about.st_mode & 07777, TEST_MODE(0600));
    close_near(loop, dir);
    close_near(loop, file);
    finish(loop);
}

static void contract_06_files_deadline_before_they_start(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct held_worker held;
    struct probe p[8];
    char path[320], name[2][16];
    ferry_fd dir, file;
    memset(p, 0, sizeof p);
    waiting_prepare(path, &dir, &file);
    worker_hold(loop, &held);
    for (size_t i = 0; i < 8; i++) p[i].op.deadline_ns = 5 * MS;
    size_t n = submit_waiting(loop, p, dir, file, name);
    nothing_happened(loop, p, n, FERRY_ETIMEDOUT, name);
    worker_let_go(&held);
    worker_end(loop, &held);
    close_near(loop, dir);
    close_near(loop, file);
    finish(loop);
}

/* Also those to which it is the second of two descriptors. */
static void contract_07_files_close_before_they_start(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct held_worker held;
    struct probe p[8], closed = {.calls = 0};
    char path[320], name[2][16];
    ferry_fd dir, file;
    memset(p, 0, sizeof p);
    waiting_prepare(path, &dir, &file);
    worker_hold(loop, &held);
    size_t n = submit_waiting(loop, p, dir, file, name);
    ferry_close(loop, &closed.op, dir, 0, probe_done);
    nothing_happened(loop, p, n, FERRY_ECANCELED, name);
    expect(loop, &closed, 0);
    for (size_t i = 0; i < n; i++) assert_true(p[i].order < closed.order);
    worker_let_go(&held);
    worker_end(loop, &held);
    close_near(loop, file);
    finish(loop);
}

static void contract_11_files_drained_before_they_start(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct held_worker held;
    struct probe p[8];
    char path[320], name[2][16];
    ferry_fd dir, file;
    memset(p, 0, sizeof p);
    waiting_prepare(path, &dir, &file);
    worker_hold(loop, &held);
    size_t n = submit_waiting(loop, p, dir, file, name);
    assert_int_equal(ferry_loop_drain(loop, 0), FERRY_EBUSY);
    worker_let_go(&held);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (size_t i = 0; i < n; i++) probe_check(&p[i], FERRY_ECANCELED);
    worker_end(loop, &held);
    test_close(loop);
    close_far(dir);
    close_far(file);
}

/* Cancelled right after the submit: with its result or without, but once, and no descriptor lost
 * (the runner looks). */
static void contract_05_files_cancel_race(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    ferry_fd dir, file;
    waiting_prepare(path, &dir, &file);
    for (int i = 0; i < 60; i++) {
        struct probe p[8];
        char name[2][16];
        memset(p, 0, sizeof p);
        size_t n = submit_waiting(loop, p, dir, file, name);
        ferry_open_at(loop, &p[n++].op, dir, "file", FERRY_OPEN_READ, 0, 0, probe_done);
        if (i % 3) ferry_run(loop, FERRY_RUN_NOWAIT);
        for (size_t k = 0; k < n; k++) ferry_cancel(loop, &p[k].op);
        probe_wait_all(loop, p, n);
        for (size_t k = 0; k < n; k++) assert_int_equal(p[k].calls, 1);
        if (p[0].result >= 0) close_near(loop, (ferry_fd)p[0].result);
        if (p[n - 1].result >= 0) close_near(loop, (ferry_fd)p[n - 1].result);
    }
    close_near(loop, dir);
    close_near(loop, file);
    finish(loop);
}

/* ---- In the callback ------------------------------------------------------------------- */

static ferry_loop *again_loop;
static int again_rounds[FERRY_OP_COUNT];
static int64_t again_results[FERRY_OP_COUNT];

static void done_again(ferry_op *op) {
    int round = again_rounds[op->code]++;
    if (round == 0) again_results[op->code] = op->result;
    assert_int_equal(op->result, again_results[op->code]);
    if (round < 2) ferry_again(again_loop, op);
}

static void ops_files_again_in_their_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static ferry_op ops[FERRY_OP_COUNT];
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    again_loop = loop;
    int kinds = 0;
    for (unsigned code = 0; code < FERRY_OP_COUNT; code++) {
        targets[code].fd = file;
        targets[code].dir = 0;
        if (!file_kind_submit(loop, code, &ops[code], &targets[code], 0)) continue;
        ops[code].done = done_again;
        kinds++;
    }
    run_done(loop);
    int done = 0;
    for (unsigned code = 0; code < FERRY_OP_COUNT; code++) done += again_rounds[code] == 3;
    assert_int_equal(done, kinds);
    close_near(loop, file);
    finish(loop);
}

/* ---- Permissions ----------------------------------------------------------------------- */

static int wrong(const struct probe *p, int64_t expected) {
    if (p->result == expected) return 0;
    printf("%s ended with %s instead of %s\n", ferry_op_name(p->op.code),
           ferry_error_name(p->result), ferry_error_name(expected));
    return 1;
}

/* What a directory and files of others forbid. In a process that is nobody; where this one is not
 * root, it is nobody already, and makes do with what belongs to root. */
static int helper_without_permission(void) {
    struct probe p[12];
    char buf[1024], pattern[] = "XXXXXX";
    memset(p, 0, sizeof p);
    if (geteuid() != 0) return 0;
    ferry_fd dir = open(temp_path("theirs"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
        return 1;
    }
    ferry_loop *loop = test_loop();
    ferry_open_at(loop, &p[0].op, dir, "file", FERRY_OPEN_READ, 0, 0, probe_done);
    ferry_open_at(loop, &p[1].op, dir, "new", FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0600, 0,
                  probe_done);
    ferry_chmod(loop, &p[2].op, dir, "file", 0666, 0, probe_done);
    ferry_chown(loop, &p[3].op, dir, "file", 65534, FERRY_ID_LEAVE, 0, probe_done);
    ferry_times(loop, &p[4].op, dir, "file", 1, 1, 0, probe_done);
    ferry_access(loop, &p[5].op, dir, "file", FERRY_MAY_READ, 0, probe_done);
    ferry_unlink(loop, &p[6].op, dir, "file", 0, probe_done);
    ferry_mkdir(loop, &p[7].op, dir, "sub", 0700, 0, probe_done);
    ferry_rename(loop, &p[8].op, dir, "file", dir, "other", 0, probe_done);
    ferry_temp_file(loop, &p[9].op, dir, pattern, 0, probe_done);
    ferry_open_at(loop, &p[10].op, dir, "closed/file", FERRY_OPEN_READ, 0, FERRY_BENEATH,
                  probe_done);
    ferry_stat_at(loop, &p[11].op, dir, "closed/file", (ferry_file *)(void *)buf, 0, probe_done);
    probe_wait_all(loop, p, 12);
    const int64_t expected[] = {FERRY_EACCES, FERRY_EACCES, FERRY_EPERM,  FERRY_EPERM,
                                FERRY_EPERM,  FERRY_EACCES, FERRY_EACCES, FERRY_EACCES,
                                FERRY_EACCES, FERRY_EACCES, FERRY_EACCES, FERRY_EACCES};
    int errors = 0;
    for (int i = 0; i < 12; i++) errors += wrong(&p[i], expected[i]);
    test_close(loop);
    return errors;
}

static void make_below(const char *dir, const char *name) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ferry_fd fd = make_file(path, "data", 4);
    assert_int_equal(fchmod(fd, 0600), 0);
    close_far(fd);
}

static void helper_succeeds(const char *name) {
    struct helper_result result;
    helper_run(name, NULL, &result);
    if (!result.exited || result.status != 0) {
        fail_msg("%s: exited %d, status %d, signal %d:\n%s", name, result.exited, result.status,
                 result.signal, result.output);
    }
}

static void trouble_files_without_permission(void **state) {
    (void)state;
    differs_on_windows("no change of user on Windows");
    char path[320], closed[340];
    snprintf(path, sizeof path, "%s", temp_path("theirs"));
    snprintf(closed, sizeof closed, "%s/closed", path);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(mkdir(closed, 0700), 0);
    make_below(path, "file");
    make_below(closed, "file");
    helper_succeeds("files_without_permission");
}

/* ---- What disappears meanwhile --------------------------------------------------------- */

static void trouble_files_removed_meanwhile(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], name[340];
    ferry_file file;
    snprintf(path, sizeof path, "%s", temp_path("dir"));
    snprintf(name, sizeof name, "%s/file", path);
    for (int i = 0; i < 20; i++) {
        struct probe p[6];
        memset(p, 0, sizeof p);
        assert_int_equal(mkdir(path, 0700), 0);
        close_far(make_file(name, "data", 4));
        ferry_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ferry_open_at(loop, &p[0].op, dir, "file", FERRY_OPEN_READ, 0, 0, probe_done);
        ferry_stat_at(loop, &p[1].op, dir, "file", &file, 0, probe_done);
        ferry_chmod(loop, &p[2].op, dir, "file", 0640, 0, probe_done);
        ferry_unlink(loop, &p[3].op, dir, "file", 0, probe_done);
        ferry_rename(loop, &p[4].op, dir, "file", dir, "other", 0, probe_done);
        ferry_mkdir(loop, &p[5].op, dir, "sub", 0700, 0, probe_done);
        if (i % 2) ferry_run(loop, FERRY_RUN_NOWAIT);
        (void)unlink(name);
        (void)rmdir(path);
        probe_wait_all(loop, p, 6);
        if (p[0].result >= 0) close_near(loop, (ferry_fd)p[0].result);
        for (int k = 0; k < 6; k++) {
            assert_int_equal(p[k].calls, 1);
            if (p[k].result < 0) assert_int_equal(p[k].result, FERRY_ENOENT);
        }
        (void)unlinkat(dir, "file", 0);
        (void)unlinkat(dir, "other", 0);
        (void)unlinkat(dir, "sub", AT_REMOVEDIR);
        close_near(loop, dir);
        (void)rmdir(path);
    }
    finish(loop);
}

const struct contract_helper trouble_files_helpers[] = {
    {"files_without_permission", helper_without_permission},
    {NULL, NULL},
};

const struct contract_test trouble_files_tests[] = {
    {"trouble_files_null", trouble_files_null, 0},
    {"trouble_files_numbers", trouble_files_numbers, 0},
    {"trouble_files_flags", trouble_files_flags, 0},
    {"trouble_files_bad_directories", trouble_files_bad_directories, 0},
    {"trouble_files_bad_second_directory", trouble_files_bad_second_directory, 0},
    {"trouble_files_names", trouble_files_names, 0},
    {"trouble_files_unmapped", trouble_files_unmapped, 0},
    {"contract_05_files_cancelled_before_they_start", contract_05_files_cancelled_before_they_start,
     0},
    {"contract_06_files_deadline_before_they_start", contract_06_files_deadline_before_they_start,
     0},
    {"contract_07_files_close_before_they_start", contract_07_files_close_before_they_start, 0},
    {"contract_11_files_drained_before_they_start", contract_11_files_drained_before_they_start, 0},
    {"contract_05_files_cancel_race", contract_05_files_cancel_race, 0},
    {"ops_files_again_in_their_callback", ops_files_again_in_their_callback, 0},
    {"trouble_files_without_permission", trouble_files_without_permission, 0},
    {"trouble_files_removed_meanwhile", trouble_files_removed_meanwhile, 0},
    {NULL, NULL, 0},
};
