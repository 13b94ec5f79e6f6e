/* paths.c - the calls that submit operations on names: each fills the operation and hands it to
 * submit.c. What its fields mean by kind:
 *
 *     dir is fd, the path is buf, but for a symbolic link: there buf is what it holds
 *     a second path is offset, its directory more
 *     what is given besides is len, then offset and more
 *     memory for an answer is more, its size len
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

static uint64_t address(const void *at) {
    return (uint64_t)(uintptr_t)at;
}

/* ---- What is known of a file ------------------------------------------------------------- */

void ferry_chmod(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                 unsigned permissions, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_CHMOD, dir, path, permissions, flags, cb);
    ferry__submit(loop, op);
}

void ferry_chmod_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned permissions,
                    unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_CHMOD_FD, fd, NULL, permissions, flags, cb);
    ferry__submit(loop, op);
}

void ferry_chown(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, uint32_t user,
                 uint32_t group, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_CHOWN, dir, path, user, flags, cb);
    op->offset = group;
    ferry__submit(loop, op);
}

void ferry_chown_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint32_t user, uint32_t group,
                    unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_CHOWN_FD, fd, NULL, user, flags, cb);
    op->offset = group;
    ferry__submit(loop, op);
}

void ferry_times(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                 int64_t accessed_ns, int64_t modified_ns, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_TIMES, dir, path, 0, flags, cb);
    op->offset = (uint64_t)accessed_ns;
    op->more = (uint64_t)modified_ns;
    ferry__submit(loop, op);
}

void ferry_times_fd(ferry_loop *loop, ferry_op *op, ferry_fd fd, int64_t accessed_ns,
                    int64_t modified_ns, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_TIMES_FD, fd, NULL, 0, flags, cb);
    op->offset = (uint64_t)accessed_ns;
    op->more = (uint64_t)modified_ns;
    ferry__submit(loop, op);
}

void ferry_access(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, unsigned wanted,
                  unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_ACCESS, dir, path, wanted, flags, cb);
    ferry__submit(loop, op);
}

/* ---- Names ------------------------------------------------------------------------------- */

static void submit_two(ferry_loop *loop, ferry_op *op, ferry_fd new_dir, const char *new_path) {
    op->offset = address(new_path);
    op->more = (uint64_t)(int64_t)new_dir;
    ferry__submit(loop, op);
}

void ferry_rename(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, ferry_fd new_dir,
                  const char *new_path, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RENAME, dir, path, 0, flags, cb);
    submit_two(loop, op, new_dir, new_path);
}

void ferry_hard_link(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                     ferry_fd new_dir, const char *new_path, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_HARD_LINK, dir, path, 0, flags, cb);
    submit_two(loop, op, new_dir, new_path);
}

void ferry_symlink(ferry_loop *loop, ferry_op *op, const char *target, ferry_fd dir,
                   const char *path, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_SYMLINK, dir, target, 0, flags, cb);
    op->offset = address(path);
    ferry__submit(loop, op);
}

void ferry_unlink(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, unsigned flags,
                  ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_UNLINK, dir, path, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_mkdir(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path,
                 unsigned permissions, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_MKDIR, dir, path, permissions, flags, cb);
    ferry__submit(loop, op);
}

void ferry_rmdir(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, unsigned flags,
                 ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RMDIR, dir, path, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_readlink(ferry_loop *loop, ferry_op *op, ferry_fd dir, const char *path, char *buf,
                    size_t len, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_READLINK, dir, path, len, flags, cb);
    op->more = address(buf);
    ferry__submit(loop, op);
}

void ferry_realpath(ferry_loop *loop, ferry_op *op, const char *path, char *buf, size_t len,
                    unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_REALPATH, FERRY_FD_NONE, path, len, flags, cb);
    op->more = address(buf);
    ferry__submit(loop, op);
}

void ferry_temp_file(ferry_loop *loop, ferry_op *op, ferry_fd dir, char *name, unsigned flags,
                     ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_TEMP_FILE, dir, name, 0, flags, cb);
    ferry__submit(loop, op);
}

void ferry_temp_dir(ferry_loop *loop, ferry_op *op, ferry_fd dir, char *name, unsigned flags,
                    ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_TEMP_DIR, dir, name, 0, flags, cb);
    ferry__submit(loop, op);
}

/* ---- Files that are open ----------------------------------------------------------------- */

void ferry_allocate(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint64_t offset, uint64_t len,
                    unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_ALLOCATE, fd, NULL, len, flags, cb);
    op->offset = offset;
    ferry__submit(loop, op);
}

void ferry_advise(ferry_loop *loop, ferry_op *op, ferry_fd fd, uint64_t offset, uint64_t len,
                  enum ferry_advice advice, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_ADVISE, fd, NULL, len, flags, cb);
    op->offset = offset;
    op->more = (uint64_t)advice;
    ferry__submit(loop, op);
}

void ferry_copy(ferry_loop *loop, ferry_op *op, ferry_fd from, uint64_t from_offset, ferry_fd to,
                uint64_t to_offset, uint64_t len, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_COPY, from, (const void *)(intptr_t)to, len, flags, cb);
    op->offset = from_offset;
    op->more = to_offset;
    ferry__submit(loop, op);
}

void ferry_list(ferry_loop *loop, ferry_op *op, ferry_fd fd, void *buf, size_t len, unsigned flags,
                ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_LIST, fd, buf, len, flags, cb);
    ferry__submit(loop, op);
}

/* ---- Going through a listing ------------------------------------------------------------- */

int ferry_entry_next(const void *entries, int64_t bytes, ferry_entry *entry) {
    if (bytes <= 0 || entry->next >= (uint64_t)bytes) return 0;
    const char *at = (const char *)entries + entry->next;
    uint16_t size;
    memcpy(&entry->inode, at + offsetof(struct ferry__entry, inode), sizeof entry->inode);
    memcpy(&size, at + offsetof(struct ferry__entry, size), sizeof size);
    entry->type = (enum ferry_file_type)at[offsetof(struct ferry__entry, type)];
    entry->name = at + FERRY__ENTRY_HEAD;
    entry->name_len = strlen(entry->name);
    entry->next += size;
    return 1;
}
