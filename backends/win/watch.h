/* watch.h - between the two halves of watching: watch.c, which knows what is watched, and eyes.c,
 * which looks.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WIN_WATCH_H
#define FERRY_WIN_WATCH_H

#include "files.h"

FERRY__OWN_BEGIN

/* What a file is known by. */
struct ferry__identity {
    DWORD volume;
    uint64_t number;
};

/* What one handle is asked for. */
enum ferry__subject { SUBJECT_ALL, SUBJECT_FILES, SUBJECT_DIRECTORIES, SUBJECT_ATTRIBUTES };

struct ferry__node;

struct ferry__watching {
    struct ferry__watching *next;
    HANDLE event; /* set while something was found that nobody has read */
    SRWLOCK lock; /* guards all of it, but next */
    CONDITION_VARIABLE quiet;
    unsigned users; /* eyes that there are, and the core */
    int32_t last_number;
    uint32_t last_pair;
    bool lost; /* there was no memory for a change */
    struct ferry__eye *eyes;
    struct ferry__node *nodes;
    unsigned char *found; /* records, from found_at on */
    size_t found_at, found_bytes, found_room, last_at;
};

/* Looks at the entries of one directory. */
struct ferry__eye;

int ferry__identify(HANDLE handle, struct ferry__identity *identity, bool *is_directory);
static inline bool ferry__is_same(const struct ferry__identity *a,
                                  const struct ferry__identity *b) {
    return a->volume == b->volume && a->number == b->number;
}

/* For a directory that is open, overlapped; takes the handle. NULL and *error. */
struct ferry__eye *ferry__eye_make(HANDLE handle, int *error);
/* One that was made and has not begun. */
void ferry__eye_drop(struct ferry__eye *eye);
/* Its directory, to open what is in it. */
HANDLE ferry__eye_directory(const struct ferry__eye *eye);

/* Under the lock: ---- */

/* Takes a new eye; gives one that looks at the same already, if there is, else begins that. NULL
 * and *error. */
struct ferry__eye *ferry__eye_join(struct ferry__watching *source, struct ferry__eye *made,
                                   int *error);
/* When the last has left, the directory is closed. */
void ferry__eye_leave(struct ferry__eye *eye);

/* watch.c is told, on a thread of the system's: records, */
void ferry__eye_told(struct ferry__watching *source, const struct ferry__eye *eye,
                     enum ferry__subject subject, const unsigned char *records);
/* that more has changed than there was room for, */
void ferry__eye_overflowed(struct ferry__watching *source, const struct ferry__eye *eye);
/* that the directory is gone, */
void ferry__eye_gone(struct ferry__watching *source, const struct ferry__eye *eye);
/* and behind each of these that this was it. */
void ferry__eye_done(struct ferry__watching *source);

FERRY__OWN_END

#endif
