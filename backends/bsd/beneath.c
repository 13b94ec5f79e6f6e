/* beneath.c - opening what lies beneath a directory and nowhere else, name by name.
 *
 * Linux has openat2(2) for it, FreeBSD 13 O_RESOLVE_BENEATH, the others nothing. Here every
 * directory on the way is opened by itself and without following a link; a link's target takes its
 * place in the path; ".." goes back to the directory that we came from, and not to where it may
 * have been moved to. What would lead out is EXDEV, as on Linux.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "../posix/system.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 128 /* directories below the first */
#define LINKS_MAX 40

#ifdef O_SEARCH
#define O_PASS O_SEARCH
#else
#define O_PASS O_RDONLY
#endif

struct walk {
    int open[DEPTH_MAX]; /* on the way */
    int depth, links;
    int base;
    char rest[PATH_MAX]; /* of the path */
};

static int here(const struct walk *walk) {
    return walk->depth > 0 ? walk->open[walk->depth - 1] : walk->base;
}

static int fail(int error) {
    errno = error;
    return -1;
}

static void leave(struct walk *walk) {
    (void)ferry__calls.close(walk->open[--walk->depth]);
}

/* Takes the next name off the path: its length, 0 at the end. *last: nothing but slashes follows.
 */
static size_t name_take(struct walk *walk, char name[NAME_MAX + 1], bool *last, bool *slashes) {
    size_t from = strspn(walk->rest, "/"), len = strcspn(walk->rest + from, "/");
    if (len > NAME_MAX) len = NAME_MAX + 1;
    if (len <= NAME_MAX) {
        memcpy(name, walk->rest + from, len);
        name[len] = '\0';
    }
    size_t next = from + len;
    size_t after = strspn(walk->rest + next, "/");
    *last = walk->rest[next + after] == '\0';
    *slashes = after > 0;
    if (len <= NAME_MAX) memmove(walk->rest, walk->rest + next, strlen(walk->rest + next) + 1);
    return len;
}

/* Is it a link? Then its target is put before the rest of the path. 1: it was, 0: not, or -1. */
static int link_follow(struct walk *walk, const char *name) {
    char target[PATH_MAX];
    size_t rest = strlen(walk->rest);
    ssize_t len = ferry__file_calls.readlinkat(here(walk), name, target, sizeof target);
    if (len < 0) return errno == EINVAL ? 0 : -1;
    if (++walk->links > LINKS_MAX) return fail(ELOOP);
    if (len == 0) return fail(ENOENT);
    if (target[0] == '/') return fail(EXDEV);
    if ((size_t)len + rest >= sizeof walk->rest) return fail(ENAMETOOLONG);
    memmove(walk->rest + len, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)len);
    return 1;
}

static int enter(struct walk *walk, const char *name) {
    if (walk->depth == DEPTH_MAX) return fail(ENAMETOOLONG);
    int flags = O_PASS | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = ferry__file_calls.openat(here(walk), name, flags, 0);
    if (fd < 0) return -1;
    walk->open[walk->depth++] = fd;
    return 0;
}

/* Goes through one name that is not the last. */
static int pass(struct walk *walk, const char *name) {
    if (strcmp(name, ".") == 0) return 0;
    if (strcmp(name, "..") == 0) {
        if (walk->depth == 0) return fail(EXDEV);
        leave(walk);
        return 0;
    }
    int followed = link_follow(walk, name);
    return followed == 0 ? enter(walk, name) : followed < 0 ? -1 : 0;
}

static int open_last(const struct walk *walk, const char *name, int flags, mode_t mode) {
    return ferry__file_calls.openat(here(walk), name, flags | O_NOFOLLOW, mode);
}

/* A descriptor; -1 and errno; -2: there is more of the path now. */
static int finish(struct walk *walk, const char *name, bool slashes, int flags, mode_t mode) {
    if (strcmp(name, "..") == 0) {
        if (walk->depth == 0) return fail(EXDEV);
        leave(walk);
        name = ".";
    }
    /* A link with a slash behind it is followed in any case, and is to be a directory. */
    if (strcmp(name, ".") != 0 && (slashes || !(flags & O_NOFOLLOW)) &&
        (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL)) {
        int followed = link_follow(walk, name);
        if (followed > 0) return -2;
        if (followed < 0 && (errno != ENOENT || !(flags & O_CREAT))) return -1;
    }
    if (slashes && flags & O_CREAT && !(flags & O_DIRECTORY)) return fail(EISDIR);
    return open_last(walk, name, slashes ? flags | O_DIRECTORY : flags, mode);
}

static int walk_on(struct walk *walk, int flags, mode_t mode) {
    char name[NAME_MAX + 1];
    bool last, slashes;
    for (;;) {
        size_t len = name_take(walk, name, &last, &slashes);
        if (len > NAME_MAX) return fail(ENAMETOOLONG);
        if (len == 0) return fail(ENOENT);
        if (last) {
            int fd = finish(walk, name, slashes, flags, mode);
            if (fd != -2) return fd;
        } else if (pass(walk, name) != 0) {
            return -1;
        }
    }
}

int ferry__system_open_beneath(int dir, const char *path, int flags, mode_t mode) {
    struct walk walk;
    size_t len = strlen(path);
    if (len >= sizeof walk.rest) return fail(ENAMETOOLONG);
    if (path[0] == '/') return fail(EXDEV);
    walk.depth = walk.links = 0;
    walk.base = dir;
    memcpy(walk.rest, path, len + 1);
    int fd = walk_on(&walk, flags, mode);
    int error = errno;
    while (walk.depth > 0) leave(&walk);
    errno = error;
    return fd;
}
