/* vnode.c - EVFILT_VNODE: what happens to files and directories, by way of inotify
 *
 * A queue has one inotify instance. It is asked to watch what /proc/self/fd says a descriptor is,
 * for everything, since two knotes may share a watch. Two things it does not tell of a file that is
 * open: that it was unlinked, which shows as a change of attributes and in the number of links; and
 * that a directory was removed, for which its parent is watched as well.
 *
 * EVFILT_READ on a file uses the watch to hear that the file has grown.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Watches --------------------------------------------------------------------------------- */

static int open_inotify(struct fake_queue *queue) {
    if (queue->inotify >= 0) return 0;
    int inotify = fake_own(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (inotify < 0) return errno;
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &queue->inotify}};
    if (epoll_ctl(queue->read_set, EPOLL_CTL_ADD, inotify, &event) != 0) {
        int error = errno;
        fake_own_close(&inotify);
        return error;
    }
    queue->inotify = inotify;
    return 0;
}

/* One who has a watch already for other reasons keeps it with all that is in it. */
static int watch(const struct fake_knote *knote, const char *below, uint32_t mask) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d%s", (int)knote->ident, below);
    return inotify_add_watch(knote->queue->inotify, path, mask | IN_MASK_ADD);
}

static int watch_parent(const struct fake_knote *knote) {
    return watch(knote, "/..", IN_DELETE);
}

static void unwatch(struct fake_queue *queue, int number) {
    if (number < 0) return;
    for (const struct fake_knote *knote = queue->vnodes; knote != NULL; knote = knote->vnode.next) {
        if (knote->vnode.watch == number || knote->vnode.parent_watch == number) return;
    }
    (void)inotify_rm_watch(queue->inotify, number); /* it may be gone with its file */
}

int fake_vnode_watch(struct fake_knote *knote) {
    struct fake_of_vnode *vnode = &knote->vnode;
    struct fake_queue *queue = knote->queue;
    struct stat file;
    if (fstat((int)knote->ident, &file) != 0) return errno;
    if (!S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode)) return EINVAL;
    int error = open_inotify(queue);
    if (error != 0) return error;
    vnode->watch = watch(knote, "", IN_ALL_EVENTS);
    if (vnode->watch < 0) return errno;
    vnode->is_directory = S_ISDIR(file.st_mode);
    if (vnode->is_directory) vnode->parent_watch = watch_parent(knote);
    vnode->links = file.st_nlink;
    vnode->bytes = file.st_size;
    vnode->next = queue->vnodes;
    if (queue->vnodes != NULL) queue->vnodes->vnode.previous = knote;
    queue->vnodes = knote;
    return 0;
}

void fake_vnode_unwatch(struct fake_knote *knote) {
    struct fake_of_vnode *vnode = &knote->vnode;
    struct fake_queue *queue = knote->queue;
    if (vnode->watch < 0) return;
    if (vnode->previous != NULL) vnode->previous->vnode.next = vnode->next;
    else queue->vnodes = vnode->next;
    if (vnode->next != NULL) vnode->next->vnode.previous = vnode->previous;
    unwatch(queue, vnode->watch);
    if (vnode->parent_watch != vnode->watch) unwatch(queue, vnode->parent_watch);
    vnode->watch = vnode->parent_watch = -1;
}

/* ---- What an event means --------------------------------------------------------------------- */

/* Attributes have changed, or may have. */
static unsigned notes_of_attributes(struct fake_knote *knote) {
    struct fake_of_vnode *vnode = &knote->vnode;
    struct stat file;
    if (fstat((int)knote->ident, &file) != 0) return 0;
    nlink_t links = vnode->links;
    vnode->links = file.st_nlink;
    if (file.st_nlink == links || vnode->is_directory) return NOTE_ATTRIB;
    return file.st_nlink < links ? NOTE_DELETE : NOTE_LINK;
}

static unsigned notes_of_write(struct fake_knote *knote) {
    struct stat file;
    if (fstat((int)knote->ident, &file) != 0) return NOTE_WRITE;
    off_t bytes = knote->vnode.bytes;
    knote->vnode.bytes = file.st_size;
    return file.st_size > bytes ? NOTE_WRITE | NOTE_EXTEND : NOTE_WRITE;
}

/* Something is gone from the directory that this one is in: it itself? */
static unsigned notes_of_parent(struct fake_knote *knote) {
    struct stat file;
    if (knote->vnode.is_deleted || fstat((int)knote->ident, &file) != 0) return 0;
    if (file.st_nlink > 0) return 0;
    knote->vnode.is_deleted = true;
    return NOTE_DELETE;
}

static unsigned notes_of_rename(struct fake_knote *knote) {
    if (knote->vnode.is_directory) {
        int before = knote->vnode.parent_watch;
        knote->vnode.parent_watch = watch_parent(knote);
        if (before != knote->vnode.parent_watch) unwatch(knote->queue, before);
    }
    return NOTE_RENAME;
}

/* Entries of a directory: what happens to files in it is said with their names, too. */
static unsigned notes_of_entry(uint32_t mask, bool within) {
    unsigned notes = 0;
    if (mask & (IN_CREATE | IN_DELETE)) notes |= NOTE_WRITE;
    if (mask & (IN_CREATE | IN_DELETE) && mask & IN_ISDIR) notes |= NOTE_LINK;
    if (mask & (IN_MOVED_FROM | IN_MOVED_TO)) notes |= NOTE_WRITE;
    if (mask & (IN_MOVED_FROM | IN_MOVED_TO) && !within) notes |= NOTE_EXTEND;
    return notes;
}

static unsigned notes_of_itself(struct fake_knote *knote, uint32_t mask) {
    unsigned notes = 0;
    if (mask & IN_MODIFY) notes |= notes_of_write(knote);
    if (mask & IN_ATTRIB) notes |= notes_of_attributes(knote);
    if (mask & IN_MOVE_SELF) notes |= notes_of_rename(knote);
    if (mask & IN_DELETE_SELF && !knote->vnode.is_deleted) notes |= NOTE_DELETE;
    if (mask & IN_UNMOUNT) notes |= NOTE_REVOKE;
    if (mask & IN_OPEN) notes |= NOTE_OPEN;
    if (mask & IN_ACCESS) notes |= NOTE_READ;
    if (mask & IN_CLOSE_NOWRITE) notes |= NOTE_CLOSE;
    if (mask & IN_CLOSE_WRITE) notes |= NOTE_CLOSE_WRITE;
    return notes;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void happen(struct fake_knote *knote, const struct inotify_event *event, bool within) {
    unsigned notes = 0;
    if (event->wd == knote->vnode.watch) {
        if (event->len > 0) notes |= notes_of_entry(event->mask, within);
        else notes |= notes_of_itself(knote, event->mask);
    }
    if (event->wd == knote->vnode.parent_watch && event->mask & IN_DELETE) {
        notes |= notes_of_parent(knote);
    }
    if (knote->filter == &fake_read) {
        if (notes != 0) fake_knote_list(knote);
        return;
    }
    knote->vnode.notes |= notes & knote->asked_fflags;
    if (knote->vnode.notes != 0) fake_knote_list(knote);
}

/* Room for some events at once: both halves of a rename are to be among them. */
union events {
    struct inotify_event first;
    char bytes[16384];
};

static const struct inotify_event *event_at(const union events *events, size_t at) {
    return (const void *)(events->bytes + at);
}

/* Is an event one half of a rename within one directory? Both have the same cookie, though others
 * may have come between them. */
static bool is_within(const struct inotify_event *event, const union events *events, size_t bytes) {
    if (event->cookie == 0) return false;
    for (size_t at = 0; at < bytes; at += sizeof *event + event_at(events, at)->len) {
        const struct inotify_event *other = event_at(events, at);
        if (other == event || other->wd != event->wd) continue;
        if (other->cookie == event->cookie) return true;
    }
    return false;
}

void fake_vnode_collect(struct fake_queue *queue) {
    union events events;
    ssize_t count;
    while ((count = read(queue->inotify, events.bytes, sizeof events.bytes)) > 0) {
        for (size_t at = 0; at < (size_t)count;) {
            const struct inotify_event *event = event_at(&events, at);
            bool within = is_within(event, &events, (size_t)count);
            struct fake_knote *knote = queue->vnodes;
            for (; knote != NULL; knote = knote->vnode.next) happen(knote, event, within);
            at += sizeof *event + event->len;
        }
    }
}

/* ---- The filter ------------------------------------------------------------------------------ */

static int touch(struct fake_knote *knote, const struct kevent *change) {
    knote->asked_fflags = change->fflags;
    knote->asked_data = change->data;
    return 0;
}

static bool ready(struct fake_knote *knote) {
    knote->fflags = knote->vnode.notes;
    knote->data = 0;
    return knote->vnode.notes != 0;
}

static void taken(struct fake_knote *knote) {
    knote->vnode.notes = 0;
}

const struct fake_filter fake_vnode = {
    .number = EVFILT_VNODE,
    .is_descriptor = true,
    .attach = fake_vnode_watch,
    .detach = fake_vnode_unwatch,
    .touch = touch,
    .ready = ready,
    .taken = taken,
};
