/* trouble_files_linux.c - a file system that may not be written to, in a name space of its own
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"
#include "trouble_stage.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int helper_read_only(void) {
    struct probe p[8];
    char pattern[] = "XXXXXX";
    memset(p, 0, sizeof p);
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", temp_path("mount"), "tmpfs", 0, NULL) != 0) {
        return 0; /* not here, then */
    }
    char path[340];
    snprintf(path, sizeof path, "%s/file", temp_path("mount"));
    close_far(make_file(path, "data", 4));
    if (mount("none", temp_path("mount"), NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0) return 1;
    ferry_fd dir = open(temp_path("mount"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ferry_loop *loop = test_loop();
    ferry_open_at(loop, &p[0].op, dir, "file", FERRY_OPEN_WRITE, 0, 0, probe_done);
    ferry_chmod(loop, &p[1].op, dir, "file", 0666, 0, probe_done);
    ferry_times(loop, &p[2].op, dir, "file", 1, 1, 0, probe_done);
    ferry_unlink(loop, &p[3].op, dir, "file", 0, probe_done);
    ferry_mkdir(loop, &p[4].op, dir, "sub", 0700, 0, probe_done);
    ferry_rename(loop, &p[5].op, dir, "file", dir, "other", 0, probe_done);
    ferry_temp_file(loop, &p[6].op, dir, pattern, 0, probe_done);
    ferry_rename(loop, &p[7].op, dir, "file", FERRY_FD_NONE, "/nowhere", 0, probe_done);
    probe_wait_all(loop, p, 8);
    int errors = 0;
    for (int i = 0; i < 8; i++) {
        int64_t expected = i == 7 ? FERRY_EXDEV : FERRY_EROFS;
        if (p[i].result == expected) continue;
        printf("%s ended with %s instead of %s\n", ferry_op_name(p[i].op.code),
               ferry_error_name(p[i].result), ferry_error_name(expected));
        errors++;
    }
    close_near(loop, dir);
    test_close(loop);
    return errors;
}

static void trouble_files_read_only(void **state) {
    (void)state;
    assert_int_equal(mkdir(temp_path("mount"), 0700), 0);
    struct helper_result result;
    helper_run("files_read_only", NULL, &result);
    if (!result.exited || result.status != 0) {
        fail_msg("exited %d, status %d, signal %d:\n%s", result.exited, result.status,
                 result.signal, result.output);
    }
}

const struct contract_helper trouble_files_linux_helpers[] = {
    {"files_read_only", helper_read_only},
    {NULL, NULL},
};

const struct contract_test trouble_files_linux_tests[] = {
    {"trouble_files_read_only", trouble_files_read_only, 0},
    {NULL, NULL, 0},
};
