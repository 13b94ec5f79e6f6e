/* watch.c - changes of files on Linux: an inotify instance.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "../posix/calls.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

/* Entries that were deleted while open would be told of under names that are others' by then. */
#define MASK                                                                                       \
    (IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO |                 \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_EXCL_UNLINK)

static const struct {
    uint32_t bit;
    enum ferry_change_kind kind;
} kinds[] = {
    {IN_CREATE, FERRY_CHANGE_CREATED},        {IN_DELETE, FERRY_CHANGE_DELETED},
    {IN_MODIFY, FERRY_CHANGE_MODIFIED},       {IN_ATTRIB, FERRY_CHANGE_ATTRIBUTES},
    {IN_MOVED_FROM, FERRY_CHANGE_MOVED_FROM}, {IN_MOVED_TO, FERRY_CHANGE_MOVED_TO},
    {IN_MOVE_SELF, FERRY_CHANGE_MOVED},       {IN_DELETE_SELF, FERRY_CHANGE_REMOVED},
    {IN_UNMOUNT, FERRY_CHANGE_UNMOUNTED},     {IN_Q_OVERFLOW, FERRY_CHANGE_OVERFLOW},
};

ferry_fd ferry__os_watch_open(void) {
    int source = ferry__linux_calls.inotify_init(IN_CLOEXEC | IN_NONBLOCK);
    return source >= 0 ? source : ferry__errno();
}

void ferry__os_watch_close(ferry_fd source) {
    (void)ferry__calls.close(source);
}

int64_t ferry__os_watch_add(ferry_fd source, const char *path) {
    int watch = ferry__linux_calls.inotify_add_watch(source, path, MASK);
    return watch >= 0 ? watch : ferry__errno();
}

void ferry__os_watch_remove(ferry_fd source, int32_t watch) {
    /* It fails if the system has removed it already. */
    (void)ferry__linux_calls.inotify_rm_watch(source, watch);
}

/* A line of what the kernel tells of the descriptor (proc(5)): "inotify wd:2 ino:...". */
static void line_read(const char *line, void (*fn)(void *, int32_t), void *context) {
    static const char begins[] = "inotify wd:";
    if (strncmp(line, begins, sizeof begins - 1) != 0) return;
    fn(context, (int32_t)strtol(line + sizeof begins - 1, NULL, 16));
}

/* Tells fn of the whole lines in text; returns the bytes that they had. */
static size_t lines_read(char *text, void (*fn)(void *, int32_t), void *context) {
    char *line = text;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        line_read(line, fn, context);
    }
    return (size_t)(line - text);
}

int ferry__os_watch_each(ferry_fd source, void (*fn)(void *, int32_t), void *context) {
    char text[4096];
    size_t held = 0;
    (void)snprintf(text, sizeof text, "/proc/thread-self/fdinfo/%d", (int)source);
    int fd = ferry__calls.open_to_read(text);
    if (fd < 0) return ferry__errno();
    int64_t got;
    while ((got = ferry__os_watch_read(fd, text + held, sizeof text - 1 - held)) > 0) {
        held += (size_t)got;
        text[held] = '\0';
        size_t read = lines_read(text, fn, context);
        held -= read;
        memmove(text, text + read, held);
    }
    (void)ferry__calls.close(fd);
    return got < 0 ? (int)got : 0;
}

int64_t ferry__os_watch_read(ferry_fd source, void *buf, size_t len) {
    ssize_t got;
    do {
        got = ferry__calls.read(source, buf, len);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) return 0;
    return got >= 0 ? got : ferry__errno();
}

size_t ferry__os_watch_parse(const void *buf, size_t at, struct ferry__change *change) {
    const char *place = (const char *)buf + at;
    struct inotify_event event;
    memcpy(&event, place, sizeof event);
    *change = (struct ferry__change){.watch = event.wd};
    change->about.name = event.len > 0 ? place + sizeof event : "";
    change->about.name_len = strnlen(change->about.name, event.len);
    change->about.is_directory = (event.mask & IN_ISDIR) != 0;
    change->about.pair = event.cookie;
    if (event.mask & IN_IGNORED) change->ends = FERRY_ENOENT;
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (event.mask & kinds[i].bit) change->about.kind = kinds[i].kind;
    }
    return at + sizeof event + event.len;
}
