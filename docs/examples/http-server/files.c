/* files.c - see files.h
 *
 * A file is opened, then asked what it is; who wants it meanwhile waits with the first. A second
 * later it is opened anew for the next who asks, so that a file that was replaced is seen; those
 * who still send the old one keep it. A timer closes what nobody has asked for again, as
 * descriptors are scarce, and a deleted file that is open takes its place on the disk.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"
#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BIN_COUNT = 1024, FILES_MAX = 512 };

#define GOOD_NS 1000000000u
#define OPEN_NS 2000000000u /* a FIFO that nobody writes to never opens */

static ferry_fd root;
static struct file *bins[BIN_COUNT];
static struct file *oldest, *newest;
static unsigned count;
static ferry_op sweep;
static bool sweep_waits;

/* ---- The table ------------------------------------------------------------------------- */

static struct file **bin_of(const char *path) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *path != '\0'; path++) hash = (hash ^ (unsigned char)*path) * 16777619u;
    return &bins[hash % BIN_COUNT];
}

static void on_sweep(ferry_op *op);

static void list(struct file *file, struct file **bin) {
    file->is_listed = true;
    file->uses++;
    file->bin_next = *bin;
    *bin = file;
    file->older = newest;
    if (newest != NULL) {
        newest->newer = file;
    } else {
        oldest = file;
    }
    newest = file;
    count++;
    if (!sweep_waits) {
        sweep_waits = true;
        ferry_timer(loop, &sweep, GOOD_NS, 0, FERRY_BACKGROUND, on_sweep);
    }
}

void file_forget(struct file *file) {
    if (!file->is_listed) return;
    struct file **at = bin_of(file->path);
    while (*at != file) at = &(*at)->bin_next;
    *at = file->bin_next;
    if (file->older != NULL) {
        file->older->newer = file->newer;
    } else {
        oldest = file->newer;
    }
    if (file->newer != NULL) {
        file->newer->older = file->older;
    } else {
        newest = file->older;
    }
    count--;
    file->is_listed = false;
    file_put(file);
}

static bool is_stale(const struct file *file) {
    return file->is_ready && ferry_now(loop) >= file->good_until_ns;
}

/* One that is slow to open may keep younger ones that are stale for a while. */
static void on_sweep(ferry_op *op) {
    sweep_waits = false;
    if (op->result < 0) return;
    while (oldest != NULL && is_stale(oldest)) file_forget(oldest);
    if (oldest != NULL) {
        sweep_waits = true;
        ferry_again(loop, op);
    }
}

/* ---- Opening --------------------------------------------------------------------------- */

static int status_of(int64_t error) {
    switch (error) {
    case FERRY_ENOENT:
    case FERRY_ENOTDIR:
    case FERRY_ENAMETOOLONG: return 404;
    case FERRY_EACCES:
    case FERRY_EPERM:
    case FERRY_ENXIO: /* a socket */
    case FERRY_ENODEV:
    case FERRY_ELOOP: /* a link that leads to itself, or into /proc */
    case FERRY_EXDEV: /* out of the root */ return 403;
    case FERRY_EMFILE:
    case FERRY_ENFILE:
    case FERRY_ETIMEDOUT: return 503;
    default: return 500;
    }
}

static void tell_all(struct file *file, int status) {
    struct file_user *user = file->waiting, *next;
    file->status = status;
    file->is_ready = true;
    file->waiting = NULL;
    file->good_until_ns = ferry_now(loop) + GOOD_NS;
    for (; user != NULL; user = next) {
        next = user->next; /* it may be gone after its call, and so may the file after the last */
        user->ready(user, file);
    }
}

static void fields_format(struct file *file) {
    file->state_len = (size_t)snprintf(file->fields, sizeof file->fields,
                                       "Last-Modified: %s\r\nETag: %s\r\nAccept-Ranges: bytes\r\n",
                                       file->modified_date, file->tag);
    size_t room = sizeof file->fields - file->state_len;
    file->fields_len = file->state_len +
                       (size_t)snprintf(file->fields + file->state_len, room,
                                        "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n\r\n",
                                        file_type(file), file->size);
}

static void on_known(ferry_op *op) {
    struct file *file = ferry_container(op, struct file, op);
    const ferry_file *about = &file->about;
    if (op->result < 0) {
        tell_all(file, status_of(op->result));
        return;
    }
    file->is_directory = about->type == FERRY_FILE_DIRECTORY;
    file->size = about->size;
    file->modified = about->modified_ns / 1000000000;
    if (file->modified > time(NULL)) file->modified = time(NULL); /* RFC 9110, 8.8.2.1 */
    http_date(file->modified, file->modified_date);
    http_tag(about->inode, about->size, about->modified_ns, file->tag);
    fields_format(file);
    tell_all(file, file->is_directory || about->type == FERRY_FILE_REGULAR ? 200 : 403);
}

static void on_opened(ferry_op *op) {
    struct file *file = ferry_container(op, struct file, op);
    if (op->result < 0) {
        tell_all(file, status_of(op->result));
        return;
    }
    file->fd = (ferry_fd)op->result;
    ferry_stat_fd(loop, &file->op, file->fd, &file->about, 0, on_known);
}

static struct file *file_open(const char *path, struct file **bin) {
    /* Those that are in use, or about to be opened, stay with who has them. */
    while (count >= FILES_MAX) file_forget(oldest);
    size_t bytes = strlen(path) + 1;
    struct file *file = need(calloc(1, sizeof *file + bytes));
    memcpy(file->path, path, bytes);
    file->fd = FERRY_FD_NONE;
    file->op.deadline_ns = OPEN_NS;
    list(file, bin);
    ferry_open_at(loop, &file->op, root, bytes > 1 ? file->path : ".", FERRY_OPEN_READ, 0,
                  FERRY_BENEATH, on_opened);
    return file;
}

/* ---- The rest of files.h --------------------------------------------------------------- */

void file_get(const char *path, struct file_user *user) {
    struct file **bin = bin_of(path), *file = *bin;
    while (file != NULL && strcmp(file->path, path) != 0) file = file->bin_next;
    if (file != NULL && is_stale(file)) {
        file_forget(file);
        file = NULL;
    }
    if (file == NULL) file = file_open(path, bin);
    file->uses++;
    if (file->is_ready) {
        user->ready(user, file);
    } else {
        user->next = file->waiting;
        file->waiting = user;
    }
}

void file_put(struct file *file) {
    if (--file->uses > 0) return;
    if (file->fd != FERRY_FD_NONE) ferry_close(loop, NULL, file->fd, 0, NULL);
    free(file);
}

const char *file_type(const struct file *file) {
    return http_type(file->path);
}

void files_begin(ferry_fd directory) {
    root = directory;
}

void files_end(void) {
    while (oldest != NULL) file_forget(oldest);
}
