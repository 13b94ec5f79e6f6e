/* file_kinds.h - one way to submit each operation on files and names, for tests that go through all
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_FILE_KINDS_H
#define FERRY_TEST_FILE_KINDS_H

#include "support.h"

struct file_target {
    ferry_fd fd;   /* for those that need one */
    ferry_fd dir;  /* to which names are relative; 0 is taken for the current directory */
    char name[64]; /* filled in: nothing of that name is there */
    char answer[256];
    ferry_file file;
};

/* Submits it, with probe_done. 0, and nothing done, if code is none of these. */
int file_kind_submit(ferry_loop *loop, unsigned code, ferry_op *op, struct file_target *t,
                     unsigned flags);

/* Does it go by name, not by descriptor? */
int file_kind_is_named(unsigned code);

#endif
