/* file_kinds.c - one way to submit each operation on files and names
 *
 * SPDX-License-Identifier: MIT
 */
#include "file_kinds.h"

#include <stdio.h>

static int submit_open(ferry_loop *loop, unsigned code, ferry_op *op, struct file_target *t,
                       unsigned flags) {
    switch (code) {
    case FERRY_OP_STAT_FD: ferry_stat_fd(loop, op, t->fd, &t->file, flags, probe_done); break;
    case FERRY_OP_CHMOD_FD: ferry_chmod_fd(loop, op, t->fd, 0600, flags, probe_done); break;
    case FERRY_OP_CHOWN_FD:
        ferry_chown_fd(loop, op, t->fd, FERRY_ID_LEAVE, FERRY_ID_LEAVE, flags, probe_done);
        break;
    case FERRY_OP_TIMES_FD:
        ferry_times_fd(loop, op, t->fd, FERRY_TIME_NOW, FERRY_TIME_LEAVE, flags, probe_done);
        break;
    case FERRY_OP_ALLOCATE: ferry_allocate(loop, op, t->fd, 0, 1, flags, probe_done); break;
    case FERRY_OP_ADVISE:
        ferry_advise(loop, op, t->fd, 0, 0, FERRY_ADVICE_NORMAL, flags, probe_done);
        break;
    case FERRY_OP_LIST:
        ferry_list(loop, op, t->fd, t->answer, sizeof t->answer, flags, probe_done);
        break;
    case FERRY_OP_COPY: ferry_copy(loop, op, t->fd, 0, t->fd, 100, 1, flags, probe_done); break;
    default: return 0;
    }
    return 1;
}

int file_kind_submit(ferry_loop *loop, unsigned code, ferry_op *op, struct file_target *t,
                     unsigned flags) {
    ferry_fd dir = t->dir ? t->dir : FERRY_FD_NONE;
    char *name = t->name;
    snprintf(name, sizeof t->name, "nowhere/none/XXXXXX");
    switch (code) {
    case FERRY_OP_CHMOD: ferry_chmod(loop, op, dir, name, 0600, flags, probe_done); break;
    case FERRY_OP_CHOWN: ferry_chown(loop, op, dir, name, 0, 0, flags, probe_done); break;
    case FERRY_OP_TIMES: ferry_times(loop, op, dir, name, 0, 0, flags, probe_done); break;
    case FERRY_OP_ACCESS: ferry_access(loop, op, dir, name, 0, flags, probe_done); break;
    case FERRY_OP_RENAME: ferry_rename(loop, op, dir, name, dir, name, flags, probe_done); break;
    case FERRY_OP_HARD_LINK:
        ferry_hard_link(loop, op, dir, name, dir, name, flags, probe_done);
        break;
    case FERRY_OP_SYMLINK: ferry_symlink(loop, op, name, dir, name, flags, probe_done); break;
    case FERRY_OP_UNLINK: ferry_unlink(loop, op, dir, name, flags, probe_done); break;
    case FERRY_OP_MKDIR: ferry_mkdir(loop, op, dir, name, 0700, flags, probe_done); break;
    case FERRY_OP_RMDIR: ferry_rmdir(loop, op, dir, name, flags, probe_done); break;
    case FERRY_OP_READLINK:
        ferry_readlink(loop, op, dir, name, t->answer, sizeof t->answer, flags, probe_done);
        break;
    case FERRY_OP_REALPATH:
        ferry_realpath(loop, op, name, t->answer, sizeof t->answer, flags, probe_done);
        break;
    case FERRY_OP_TEMP_FILE: ferry_temp_file(loop, op, dir, name, flags, probe_done); break;
    case FERRY_OP_TEMP_DIR: ferry_temp_dir(loop, op, dir, name, flags, probe_done); break;
    default: return submit_open(loop, code, op, t, flags);
    }
    return 1;
}

int file_kind_is_named(unsigned code) {
    switch (code) {
    case FERRY_OP_CHMOD:
    case FERRY_OP_CHOWN:
    case FERRY_OP_TIMES:
    case FERRY_OP_ACCESS:
    case FERRY_OP_RENAME:
    case FERRY_OP_HARD_LINK:
    case FERRY_OP_SYMLINK:
    case FERRY_OP_UNLINK:
    case FERRY_OP_MKDIR:
    case FERRY_OP_RMDIR:
    case FERRY_OP_READLINK:
    case FERRY_OP_REALPATH:
    case FERRY_OP_TEMP_FILE:
    case FERRY_OP_TEMP_DIR: return 1;
    default: return 0;
    }
}
