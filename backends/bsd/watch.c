/* watch.c - changes of files on the BSDs and macOS: a queue with EVFILT_VNODE in it.
 *
 * The system says that a directory has changed, and not in what: what it holds is remembered, and
 * compared with what it holds by then. It says nothing of what is written to the files in it, so
 * that each of them is open and watched as well: a descriptor for each, where inotify has one for
 * all. A file that cannot be opened for reading is told of when it comes and goes, and not when it
 * changes. When descriptors run out a watch begins with FERRY_EMFILE, or goes on with an overflow.
 *
 * Changes are told as they are found: moved, deleted, created, each by name. Two changes of one
 * file between two looks are one, and what was made and deleted in between never was. A file that
 * is new and not empty has been modified. One that comes from a directory that is not watched is
 * new.
 *
 * A source is known by its queue's number. A worker adds watches, the loop's thread does the rest;
 * the source's lock guards all of it but the list of sources. Memory is the C library's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <unistd.h>

#ifdef O_EVTONLY /* macOS: does not keep a volume from being unmounted */
#define OPEN_FLAGS (O_EVTONLY | O_CLOEXEC)
#else
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#endif

#define CHANGED (NOTE_WRITE | NOTE_EXTEND)
#define SELF (CHANGED | NOTE_ATTRIB | NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE | NOTE_LINK)
#define HALVES 64
#define REST 1 /* the ident of a timer: more has been found than was read */

/* What a directory holds, by name. */
struct entry {
    char *name;
    ino_t inode;
    int fd; /* -1: not watched */
    bool is_directory;
    bool is_known; /* in the other of two lists */
};

struct entries {
    struct entry *at;
    size_t count, room;
};

struct node { /* what is watched */
    struct node *next;
    int32_t number;
    int fd;
    dev_t device;
    ino_t inode;
    bool is_directory;
    struct entries entries;
};

struct source {
    struct source *next;
    int queue;
    uint32_t fork_count;
    int32_t last_number;
    uint32_t last_pair;
    struct half { /* a rename of which one name was told */
        dev_t device;
        ino_t inode;
        uint32_t pair; /* 0: none */
        bool is_new;   /* which */
    } halves[HALVES];
    unsigned next_half;
    struct node *nodes;
    char *found; /* records that nobody has read yet, from found_at */
    size_t found_at, found_bytes, found_room;
    pthread_mutex_t lock;
};

/* How a change lies in what is read; its name follows, with a 0. */
struct record {
    int32_t watch, ends;
    uint32_t pair;
    uint16_t name_len;
    uint8_t kind, is_directory;
};

static pthread_mutex_t sources_lock = PTHREAD_MUTEX_INITIALIZER;
static struct source *sources;

static void lock(struct source *source) {
    (void)pthread_mutex_lock(&source->lock);
}

static void unlock(struct source *source) {
    (void)pthread_mutex_unlock(&source->lock);
}

static struct source *source_of(ferry_fd queue) {
    (void)pthread_mutex_lock(&sources_lock);
    struct source *source = sources;
    while (source->queue != queue) source = source->next;
    (void)pthread_mutex_unlock(&sources_lock);
    return source;
}

/* ---- What is found ----------------------------------------------------------------------- */

static bool found_reserve(struct source *source, size_t bytes) {
    if (source->found_room - source->found_bytes >= bytes) return true;
    size_t room = source->found_room * 2 + bytes + 1024;
    char *more = realloc(source->found, room);
    if (more == NULL) return false;
    source->found = more;
    source->found_room = room;
    return true;
}

static void found_put(struct source *source, struct record record, const char *name) {
    static const char zeros[8] = "";
    size_t len = strlen(name) + 1, padded = (len + 7) / 8 * 8;
    record.name_len = (uint16_t)(len - 1);
    char *at = source->found + source->found_bytes;
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, name, len);
    memcpy(at + sizeof record + len, zeros, padded - len);
    source->found_bytes += sizeof record + padded;
}

/* Room for one that says that others are missing is kept at any time. */
#define LAST_BYTES (sizeof(struct record) + 8)

static void found(struct source *source, struct record record, const char *name) {
    if (found_reserve(source, sizeof record + strlen(name) + 8 + LAST_BYTES)) {
        found_put(source, record, name);
    } else if (source->found_room - source->found_bytes >= LAST_BYTES) {
        found_put(source, (struct record){.watch = -1, .kind = FERRY_CHANGE_OVERFLOW}, "");
    }
}

static void tell(struct source *source, const struct node *node, enum ferry_change_kind kind,
                 const struct entry *entry, uint32_t pair) {
    found(source,
          (struct record){.watch = node->number,
                          .pair = pair,
                          .kind = (uint8_t)kind,
                          .is_directory = entry != NULL ? entry->is_directory : node->is_directory},
          entry != NULL ? entry->name : "");
}

/* ---- Watching one file ------------------------------------------------------------------- */

static int note(const struct source *source, int fd, unsigned notes, int32_t number) {
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, notes, 0,
           (__typeof__(change.udata))(uintptr_t)(uint32_t)number);
    return kevent(source->queue, &change, 1, NULL, 0, NULL);
}

/* 0, or FERRY_EMFILE and its like. One that may not be opened is not watched, nor is what does
 * something when it is opened. */
static int entry_watch(const struct source *source, const struct node *node, struct entry *entry,
                       bool *is_empty) {
    struct stat about;
    *is_empty = true;
    if (ferry__file_calls.fstatat(node->fd, entry->name, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    entry->is_directory = S_ISDIR(about.st_mode);
    if (!S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) return 0;
    *is_empty = S_ISDIR(about.st_mode) || about.st_size == 0;
    entry->fd = ferry__file_calls.openat(node->fd, entry->name, OPEN_FLAGS | O_NOFOLLOW, 0);
    if (entry->fd < 0) return errno == EMFILE || errno == ENFILE ? ferry__errno() : 0;
    unsigned notes = entry->is_directory ? NOTE_ATTRIB : NOTE_ATTRIB | CHANGED;
    if (note(source, entry->fd, notes, node->number) == 0) return 0;
    (void)ferry__calls.close(entry->fd);
    entry->fd = -1;
    return errno == ENOMEM ? FERRY_ENOMEM : 0;
}

static void entry_drop(struct entry *entry) {
    if (entry->fd >= 0) (void)ferry__calls.close(entry->fd);
    free(entry->name);
}

static void entries_drop(struct entries *entries) {
    for (size_t i = 0; i < entries->count; i++) entry_drop(&entries->at[i]);
    free(entries->at);
    *entries = (struct entries){.at = NULL};
}

/* ---- What a directory holds -------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static bool entries_add(struct entries *entries, const struct dirent *from) {
    if (entries->count == entries->room) {
        size_t room = entries->room * 2 + 16;
        struct entry *more = realloc(entries->at, room * sizeof *more);
        if (more == NULL) return false;
        entries->at = more;
        entries->room = room;
    }
    char *name = strdup(from->d_name);
    if (name == NULL) return false;
    entries->at[entries->count++] = (struct entry){.name = name, .inode = from->d_ino, .fd = -1};
    return true;
}

/* 0 or an error. A directory that has been removed is empty. */
static int entries_read(int dir, struct entries *entries) {
    *entries = (struct entries){.at = NULL};
    int fd = ferry__file_calls.openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) return errno == ENOENT ? 0 : ferry__errno();
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int error = ferry__errno();
        (void)ferry__calls.close(fd);
        return error;
    }
    const struct dirent *from;
    bool whole = true;
    while (whole && (from = readdir(stream)) != NULL) {
        if (strcmp(from->d_name, ".") != 0 && strcmp(from->d_name, "..") != 0) {
            whole = entries_add(entries, from);
        }
    }
    (void)closedir(stream);
    if (!whole) {
        entries_drop(entries);
        return FERRY_ENOMEM;
    }
    if (entries->count > 0) qsort(entries->at, entries->count, sizeof *entries->at, by_name);
    return 0;
}

/* ---- What has changed in it -------------------------------------------------------------- */

/* Marks what is in both lists, under one name; those go on being watched by what they were. */
static void match(struct entries *before, struct entries *now) {
    size_t b = 0, n = 0;
    while (b < before->count && n < now->count) {
        int order = by_name(&before->at[b], &now->at[n]);
        if (order == 0 && before->at[b].inode == now->at[n].inode) {
            now->at[n].fd = before->at[b].fd;
            now->at[n].is_directory = before->at[b].is_directory;
            before->at[b].fd = -1;
            before->at[b].is_known = now->at[n].is_known = true;
        }
        b += order <= 0;
        n += order >= 0;
    }
}

static struct entry *find(struct entries *entries, const char *name) {
    struct entry wanted = {.name = (char *)(uintptr_t)name};
    return entries->count == 0
               ? NULL
               : bsearch(&wanted, entries->at, entries->count, sizeof wanted, by_name);
}

/* A rename to another directory shows as two changes, seen one after the other. For the first of
 * them a number is thought of, which the second is to have. */
static uint32_t half_keep(struct source *source, const struct node *node, ino_t inode,
                          bool is_new) {
    source->halves[source->next_half++ % HALVES] = (struct half){node->device, inode,
                                                                 ++source->last_pair, is_new};
    return source->last_pair;
}

/* The number of its other half, if that was told; 0. */
static uint32_t half_take(struct source *source, const struct node *node, ino_t inode,
                          bool is_new) {
    for (unsigned i = 0; i < HALVES; i++) {
        struct half *half = &source->halves[i];
        if (half->pair == 0 || half->is_new == is_new || half->inode != inode ||
            half->device != node->device) {
            continue;
        }
        uint32_t pair = half->pair;
        half->pair = 0;
        return pair;
    }
    return 0;
}

/* Is a name that another directory had no longer that of this file? */
static bool was_in(const struct node *other, ino_t inode) {
    for (size_t i = 0; i < other->entries.count; i++) {
        const struct entry *entry = &other->entries.at[i];
        struct stat about;
        if (entry->inode != inode) continue;
        if (ferry__file_calls.fstatat(other->fd, entry->name, &about, AT_SYMLINK_NOFOLLOW) != 0 ||
            about.st_ino != inode) {
            return true;
        }
    }
    return false;
}

/* Has a file that is new here come from another directory that is watched? Then the pair's number,
 * else 0. */
static uint32_t came_from(struct source *source, const struct node *node, ino_t inode) {
    uint32_t pair = half_take(source, node, inode, true);
    for (const struct node *at = source->nodes; pair == 0 && at != NULL; at = at->next) {
        if (at == node || at->device != node->device || !was_in(at, inode)) continue;
        pair = half_keep(source, node, inode, true);
    }
    return pair;
}

/* What has a new name, and is the same file. */
static void tell_moved(struct source *source, const struct node *node, struct entries *before,
                       struct entries *now) {
    for (size_t n = 0; n < now->count; n++) {
        struct entry *to = &now->at[n];
        for (size_t b = 0; !to->is_known && b < before->count; b++) {
            struct entry *from = &before->at[b];
            if (from->is_known || from->inode != to->inode) continue;
            uint32_t pair = ++source->last_pair;
            to->fd = from->fd;
            to->is_directory = from->is_directory;
            from->fd = -1;
            from->is_known = to->is_known = true;
            tell(source, node, FERRY_CHANGE_MOVED_FROM, from, pair);
            tell(source, node, FERRY_CHANGE_MOVED_TO, to, pair);
            struct entry *replaced = find(before, to->name);
            if (replaced != NULL) replaced->is_known = true;
        }
    }
}

/* A file that is gone and still has a name is somewhere else. */
static bool has_name(const struct entry *entry) {
    struct stat about;
    if (entry->fd < 0 || ferry__calls.fstat(entry->fd, &about) != 0) return false;
    return entry->is_directory ? about.st_nlink > 1 : about.st_nlink > 0;
}

static void tell_gone(struct source *source, const struct node *node, struct entries *before) {
    for (size_t b = 0; b < before->count; b++) {
        struct entry *entry = &before->at[b];
        if (entry->is_known) continue;
        uint32_t pair = half_take(source, node, entry->inode, false);
        if (pair == 0 && has_name(entry)) pair = half_keep(source, node, entry->inode, false);
        tell(source, node, pair != 0 ? FERRY_CHANGE_MOVED_FROM : FERRY_CHANGE_DELETED, entry, pair);
    }
}

static void tell_new(struct source *source, const struct node *node, struct entries *now) {
    for (size_t n = 0; n < now->count; n++) {
        struct entry *entry = &now->at[n];
        bool is_empty;
        if (entry->is_known) continue;
        int error = entry_watch(source, node, entry, &is_empty);
        uint32_t pair = came_from(source, node, entry->inode);
        tell(source, node, pair != 0 ? FERRY_CHANGE_MOVED_TO : FERRY_CHANGE_CREATED, entry, pair);
        if (error != 0) tell(source, node, FERRY_CHANGE_OVERFLOW, NULL, 0);
        if (pair == 0 && !is_empty) tell(source, node, FERRY_CHANGE_MODIFIED, entry, 0);
    }
}

static void compare(struct source *source, struct node *node) {
    struct entries now;
    if (entries_read(node->fd, &now) != 0) {
        tell(source, node, FERRY_CHANGE_OVERFLOW, NULL, 0);
        return;
    }
    match(&node->entries, &now);
    tell_moved(source, node, &node->entries, &now);
    tell_gone(source, node, &node->entries);
    entries_drop(&node->entries);
    tell_new(source, node, &now);
    for (size_t i = 0; i < now.count; i++) now.at[i].is_known = false;
    node->entries = now;
}

/* ---- Nodes ------------------------------------------------------------------------------- */

static struct node **node_at(struct source *source, int32_t number) {
    struct node **at = &source->nodes;
    while (*at != NULL && (*at)->number != number) at = &(*at)->next;
    return at;
}

static void node_free(struct node *node) {
    entries_drop(&node->entries);
    (void)ferry__calls.close(node->fd);
    free(node);
}

static void node_drop(struct node **at) {
    struct node *node = *at;
    *at = node->next;
    node_free(node);
}

static bool has_ended(const struct node *node, const struct kevent *event) {
    struct stat about;
    if (!(event->fflags & (NOTE_DELETE | NOTE_REVOKE))) return false;
    if (event->fflags & NOTE_REVOKE || node->is_directory) return true;
    return ferry__calls.fstat(node->fd, &about) != 0 || about.st_nlink == 0;
}

static void self_changed(struct source *source, struct node **at, const struct kevent *event) {
    struct node *node = *at;
    bool ended = has_ended(node, event);
    if (event->fflags & (CHANGED | NOTE_LINK) && node->is_directory) compare(source, node);
    if (event->fflags & CHANGED && !node->is_directory) {
        tell(source, node, FERRY_CHANGE_MODIFIED, NULL, 0);
    }
    if (event->fflags & NOTE_ATTRIB || (event->fflags & NOTE_DELETE && !ended)) {
        tell(source, node, FERRY_CHANGE_ATTRIBUTES, NULL, 0);
    }
    if (event->fflags & NOTE_RENAME) tell(source, node, FERRY_CHANGE_MOVED, NULL, 0);
    if (!ended) return;
    bool unmounted = event->fflags & NOTE_REVOKE;
    tell(source, node, unmounted ? FERRY_CHANGE_UNMOUNTED : FERRY_CHANGE_REMOVED, NULL, 0);
    found(source, (struct record){.watch = node->number, .ends = FERRY_ENOENT}, "");
    node_drop(at);
}

static void entry_changed(struct source *source, struct node *node, const struct kevent *event) {
    for (size_t i = 0; i < node->entries.count; i++) {
        const struct entry *entry = &node->entries.at[i];
        if (entry->fd != (int)event->ident) continue;
        if (event->fflags & CHANGED && !entry->is_directory) {
            tell(source, node, FERRY_CHANGE_MODIFIED, entry, 0);
        }
        if (event->fflags & NOTE_ATTRIB) tell(source, node, FERRY_CHANGE_ATTRIBUTES, entry, 0);
        return;
    }
}

/* ---- A source ---------------------------------------------------------------------------- */

ferry_fd ferry__os_watch_open(void) {
    struct source *source = calloc(1, sizeof *source);
    if (source == NULL) return FERRY_ENOMEM;
    source->queue = kqueue();
    if (source->queue < 0 || fcntl(source->queue, F_SETFD, FD_CLOEXEC) < 0 ||
        !found_reserve(source, LAST_BYTES)) {
        int error = ferry__errno();
        if (source->queue >= 0) (void)ferry__calls.close(source->queue);
        free(source);
        return error;
    }
    (void)pthread_mutex_init(&source->lock, NULL);
    source->fork_count = ferry__os_fork_count;
    (void)pthread_mutex_lock(&sources_lock);
    source->next = sources;
    sources = source;
    (void)pthread_mutex_unlock(&sources_lock);
    return source->queue;
}

/* A child has the files, and no queue: its number may be another's there. */
void ferry__os_watch_close(ferry_fd queue) {
    (void)pthread_mutex_lock(&sources_lock);
    struct source **at = &sources;
    while ((*at)->queue != queue) at = &(*at)->next;
    struct source *source = *at;
    *at = source->next;
    (void)pthread_mutex_unlock(&sources_lock);
    while (source->nodes != NULL) node_drop(&source->nodes);
    if (source->fork_count == ferry__os_fork_count) {
        (void)ferry__calls.close(source->queue);
        (void)pthread_mutex_destroy(&source->lock);
    }
    free(source->found);
    free(source);
}

static const struct node *node_of(const struct source *source, const struct stat *about) {
    const struct node *at = source->nodes;
    while (at != NULL && (at->device != about->st_dev || at->inode != about->st_ino)) at = at->next;
    return at;
}

/* Watches it and what is in it: 0 or an error. It is watched before it is looked at, but what comes
 * of that belongs to nobody yet: see node_add(). */
static int node_begin(const struct source *source, struct node *node) {
    struct stat now;
    int error = note(source, node->fd, SELF, node->number) == 0 ? 0 : ferry__errno();
    if (error == 0 && ferry__calls.fstat(node->fd, &now) == 0 && now.st_nlink == 0) {
        error = FERRY_ENOENT; /* it has gone since it was opened, and nobody will tell */
    }
    if (error == 0 && node->is_directory) error = entries_read(node->fd, &node->entries);
    for (size_t i = 0; error == 0 && i < node->entries.count; i++) {
        bool is_empty;
        error = entry_watch(source, node, &node->entries.at[i], &is_empty);
    }
    return error;
}

/* Takes the node: its number, or that of another for the same file, or an error. To look at what is
 * in it may take a while, so that it happens without the lock; what has changed meanwhile is found
 * by another look, and one that has gone by its number of links. */
static int64_t node_add(struct source *source, struct node *node, const struct stat *about) {
    int error = node_begin(source, node);
    struct stat now = {.st_nlink = 0};
    lock(source);
    const struct node *same = error == 0 ? node_of(source, about) : NULL;
    int64_t number = error != 0 ? error : same != NULL ? same->number : node->number;
    if (error == 0 && same == NULL) {
        node->next = source->nodes;
        source->nodes = node;
        if (node->is_directory) compare(source, node);
        if (ferry__calls.fstat(node->fd, &now) != 0 || now.st_nlink == 0) {
            number = FERRY_ENOENT;
            node_drop(&source->nodes);
        }
    }
    unlock(source);
    if (error != 0 || same != NULL) node_free(node);
    return number;
}

int64_t ferry__os_watch_add(ferry_fd queue, const char *path) {
    struct source *source = source_of(queue);
    struct stat about;
    int fd = ferry__file_calls.openat(AT_FDCWD, path, OPEN_FLAGS, 0);
    if (fd < 0) return ferry__errno();
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL || ferry__calls.fstat(fd, &about) != 0) {
        int error = node == NULL ? FERRY_ENOMEM : ferry__errno();
        (void)ferry__calls.close(fd);
        free(node);
        return error;
    }
    lock(source);
    const struct node *same = node_of(source, &about);
    int64_t number = same != NULL ? same->number : 0;
    *node = (struct node){.number = same != NULL ? 0 : ++source->last_number,
                          .fd = fd,
                          .device = about.st_dev,
                          .inode = about.st_ino,
                          .is_directory = S_ISDIR(about.st_mode)};
    unlock(source);
    if (same == NULL) return node_add(source, node, &about);
    node_free(node);
    return number;
}

void ferry__os_watch_remove(ferry_fd queue, int32_t watch) {
    struct source *source = source_of(queue);
    if (source->fork_count != ferry__os_fork_count) return; /* all of it goes with the source */
    lock(source);
    struct node **at = node_at(source, watch);
    if (*at != NULL) node_drop(at);
    unlock(source);
}

int ferry__os_watch_each(ferry_fd queue, void (*fn)(void *, int32_t), void *context) {
    struct source *source = source_of(queue);
    lock(source);
    for (const struct node *at = source->nodes; at != NULL; at = at->next) fn(context, at->number);
    unlock(source);
    return 0;
}

/* ---- Reading ----------------------------------------------------------------------------- */

/* Takes one event at a time: one that was waiting for a file that is closed meanwhile is gone with
 * it, before its number is another's. False if there is none. */
static bool look(struct source *source) {
    const struct timespec none = {0, 0};
    struct kevent event;
    if (kevent(source->queue, NULL, 0, &event, 1, &none) <= 0) return false;
    if (event.filter != EVFILT_VNODE) return true;
    struct node **at = node_at(source, (int32_t)(uint32_t)(uintptr_t)event.udata);
    if (*at == NULL) return true;
    if ((int)event.ident == (*at)->fd) {
        self_changed(source, at, &event);
    } else {
        entry_changed(source, *at, &event);
    }
    return true;
}

static size_t record_bytes(const char *at) {
    struct record record;
    memcpy(&record, at, sizeof record);
    return sizeof record + (record.name_len + 8u) / 8 * 8;
}

/* Whole records, as many as have room. */
static size_t found_take(struct source *source, char *buf, size_t len) {
    size_t bytes = 0;
    const char *from = source->found + source->found_at;
    size_t left = source->found_bytes - source->found_at;
    while (bytes < left && record_bytes(from + bytes) <= len - bytes) {
        bytes += record_bytes(from + bytes);
    }
    memcpy(buf, from, bytes);
    source->found_at += bytes;
    if (source->found_at < source->found_bytes) {
        struct kevent timer; /* so that there is something to be read */
        EV_SET(&timer, REST, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 1, 0);
        (void)kevent(source->queue, &timer, 1, NULL, 0, NULL);
    } else {
        source->found_at = source->found_bytes = 0;
    }
    return bytes;
}

int64_t ferry__os_watch_read(ferry_fd queue, void *buf, size_t len) {
    struct source *source = source_of(queue);
    lock(source);
    while (source->found_bytes - source->found_at < len && look(source)) {
    }
    size_t bytes = found_take(source, buf, len);
    unlock(source);
    return (int64_t)bytes;
}

size_t ferry__os_watch_parse(const void *buf, size_t at, struct ferry__change *change) {
    const char *place = (const char *)buf + at;
    struct record record;
    memcpy(&record, place, sizeof record);
    *change = (struct ferry__change){.watch = record.watch, .ends = record.ends};
    change->about.kind = (enum ferry_change_kind)record.kind;
    change->about.is_directory = record.is_directory;
    change->about.pair = record.pair;
    change->about.name = place + sizeof record;
    change->about.name_len = record.name_len;
    return at + record_bytes(place);
}
