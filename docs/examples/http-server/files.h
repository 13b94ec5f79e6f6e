/* files.h - open files, kept for a second in case they are asked for again
 *
 * What is kept are descriptors, and what is told of the files: never what is in them. Nothing
 * outside the root is opened, whatever a path or symbolic links in it say: the system confines each
 * open (FERRY_BENEATH), so there is no path to be checked, and no moment between check and use.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FILES_H
#define FILES_H

#include "http.h"

#include <ferry.h>

struct file_user;

struct file {
    int status; /* 200: it is open; else why not */
    bool is_directory;
    ferry_fd fd;
    uint64_t size;
    int64_t modified; /* seconds since 1970 */
    char modified_date[HTTP_DATE_BYTES];
    char tag[HTTP_TAG_BYTES];
    /* Fields of an answer's head, formatted once: which state of the file it is, then, if all of it
     * is sent, what and how much, and the empty line. */
    size_t state_len, fields_len;
    char fields[320];

    /* ---- below: files.c's ---- */
    unsigned uses; /* by who was given it, by who waits for it, by the table */
    bool is_ready, is_listed;
    uint64_t good_until_ns; /* on ferry_now()'s clock */
    struct file_user *waiting;
    struct file *bin_next;      /* of those with the same hash */
    struct file *older, *newer; /* in the order in which they were opened */
    ferry_op op;
    ferry_file about;
    char path[]; /* relative to the root */
};

/* Whoever wants a file embeds one, and leaves it alone until ready is called. */
struct file_user {
    void (*ready)(struct file_user *user, struct file *file);
    struct file_user *next;
};

/* root: an open directory. */
void files_begin(ferry_fd root);
void files_end(void);

/* Calls user->ready() with the file, at once or later. It is to be given back with file_put(). */
void file_get(const char *path, struct file_user *user);
void file_put(struct file *file);

/* What is kept of the file has turned out to be wrong: whoever asks next has it opened anew. */
void file_forget(struct file *file);

/* The media type, of the file's path. */
const char *file_type(const struct file *file);

#endif
