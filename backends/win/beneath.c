/* beneath.c - opening what lies beneath a directory and nowhere else, name by name.
 *
 * Every directory on the way is opened relative to the one before and without following a link; a
 * link's target takes its place in the path; ".." goes back to the directory that we came from, and
 * not to where it may have been moved to. What would lead out is FERRY_EXDEV, and so is a link to
 * an absolute path, which all mount points (junctions) are.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>
#include <wchar.h>

#define DEPTH_MAX 128u /* directories below the first */
#define LINKS_MAX 40u
#define REST_MAX 32768u /* units of a path */
#define NAME_MAX_UNITS 255u

struct walk {
    HANDLE open[DEPTH_MAX]; /* on the way */
    unsigned depth, links;
    HANDLE base;
    bool follows; /* a link in the last place */
    struct ferry__win_opening *opening;
    wchar_t rest[REST_MAX]; /* of the path */
};

struct name {
    wchar_t text[NAME_MAX_UNITS + 1];
    size_t len;
    bool last, slashes; /* nothing but slashes follows; some do */
};

static HANDLE here(const struct walk *walk) {
    return walk->depth > 0 ? walk->open[walk->depth - 1] : walk->base;
}

static void leave(struct walk *walk) {
    (void)CloseHandle(walk->open[--walk->depth]);
}

static bool is(const struct name *name, const wchar_t *text) {
    return wcscmp(name->text, text) == 0;
}

/* Takes the next name off the path: 0 or an error. */
static int name_take(struct walk *walk, struct name *name) {
    const wchar_t *from = walk->rest + wcsspn(walk->rest, L"\\/");
    name->len = wcscspn(from, L"\\/");
    const wchar_t *next = from + name->len, *after = next + wcsspn(next, L"\\/");
    if (name->len == 0) return FERRY_ENOENT;
    if (name->len > NAME_MAX_UNITS) return FERRY_ENAMETOOLONG;
    memcpy(name->text, from, name->len * sizeof *from);
    name->text[name->len] = L'\0';
    name->slashes = after > next;
    name->last = *after == L'\0';
    memmove(walk->rest, next, (wcslen(next) + 1) * sizeof *next);
    return 0;
}

static struct ferry__win_path path_of(const struct walk *walk, struct name *name) {
    return (struct ferry__win_path){
        .dir = here(walk), .name = name->text, .len = is(name, L".") ? 0 : name->len};
}

/* Puts a link's target before the rest of the path. */
static int link_follow(struct walk *walk, HANDLE link) {
    wchar_t *target = NULL;
    bool absolute = true;
    int64_t len = ferry__win_link_target(link, &target, &absolute);
    size_t rest = wcslen(walk->rest);
    int error = 0;
    if (len < 0) return (int)len;
    if (++walk->links > LINKS_MAX) {
        error = FERRY_ELOOP;
    } else if (absolute || target[0] == L'\\' || target[0] == L'/') {
        error = FERRY_EXDEV;
    } else if ((size_t)len + rest + 1 >= REST_MAX) {
        error = FERRY_ENAMETOOLONG;
    } else {
        memmove(walk->rest + len, walk->rest, (rest + 1) * sizeof *target);
        memcpy(walk->rest, target, (size_t)len * sizeof *target);
    }
    free(target);
    return error;
}

/* Goes through one name that is not the last. */
static int pass(struct walk *walk, struct name *name) {
    FILE_ATTRIBUTE_TAG_INFO about;
    HANDLE handle = NULL;
    if (is(name, L".")) return 0;
    if (is(name, L"..")) {
        if (walk->depth == 0) return FERRY_EXDEV;
        leave(walk);
        return 0;
    }
    if (walk->depth == DEPTH_MAX) return FERRY_ENAMETOOLONG;
    struct ferry__win_path path = path_of(walk, name);
    NTSTATUS result = ferry__win_open(&path, FILE_READ_ATTRIBUTES, FILE_OPEN,
                                      FILE_OPEN_REPARSE_POINT | FILE_SYNCHRONOUS_IO_NONALERT,
                                      &handle);
    if (result != STATUS_SUCCESS) return ferry__win_status(result);
    int error = ferry__win_tag(handle, &about);
    if (error == 0 && ferry__win_is_link(about.FileAttributes, about.ReparseTag)) {
        error = link_follow(walk, handle);
    } else if (error == 0 && !(about.FileAttributes & FILE_ATTRIBUTE_DIRECTORY)) {
        error = FERRY_ENOTDIR;
    } else if (error == 0) {
        walk->open[walk->depth++] = handle;
        return 0;
    }
    (void)CloseHandle(handle);
    return error;
}

/* A file that is kept elsewhere, or compressed, stands there like a link: it is to be opened as
 * itself, if it is still the same. */
static int open_whole(const struct ferry__win_path *path, struct ferry__win_opening *opening) {
    BY_HANDLE_FILE_INFORMATION before, after;
    HANDLE first = opening->handle;
    opening->options &= ~(ULONG)FILE_OPEN_REPARSE_POINT;
    NTSTATUS result = ferry__win_open_as(path, opening);
    int error = result == STATUS_SUCCESS ? 0 : ferry__win_status(result);
    if (error == 0 && !(GetFileInformationByHandle(first, &before) &&
                        GetFileInformationByHandle(opening->handle, &after) &&
                        before.dwVolumeSerialNumber == after.dwVolumeSerialNumber &&
                        before.nFileIndexHigh == after.nFileIndexHigh &&
                        before.nFileIndexLow == after.nFileIndexLow)) {
        (void)CloseHandle(opening->handle);
        error = FERRY_EXDEV;
    }
    (void)CloseHandle(first);
    return error;
}

#define MORE 1 /* of the path is to be gone through now */

/* The last name. */
static int finish(struct walk *walk, struct name *name) {
    FILE_ATTRIBUTE_TAG_INFO about;
    struct ferry__win_opening *opening = walk->opening;
    if (is(name, L"..")) {
        if (walk->depth == 0) return FERRY_EXDEV;
        leave(walk);
        (void)wcscpy(name->text, L".");
    }
    if (name->slashes && opening->disposition != FILE_OPEN) return FERRY_EISDIR;
    struct ferry__win_path path = path_of(walk, name);
    struct ferry__win_opening asked = *opening;
    asked.options |= FILE_OPEN_REPARSE_POINT;
    /* A link to a file is not a directory, and one to a directory is: both are to be seen. */
    ULONG kinds = FILE_DIRECTORY_FILE | FILE_NON_DIRECTORY_FILE;
    NTSTATUS result = ferry__win_open_as(&path, &asked);
    if (result == STATUS_NOT_A_DIRECTORY || result == STATUS_FILE_IS_A_DIRECTORY) {
        struct ferry__win_opening look = asked;
        look.access = FILE_READ_ATTRIBUTES;
        look.disposition = FILE_OPEN;
        look.options = (look.options & ~kinds) | FILE_SYNCHRONOUS_IO_NONALERT;
        if (ferry__win_open_as(&path, &look) != STATUS_SUCCESS) return ferry__win_status(result);
        asked.handle = look.handle;
    } else if (result != STATUS_SUCCESS) {
        return ferry__win_status(result);
    }
    int error = ferry__win_tag(asked.handle, &about);
    bool is_link = error == 0 && ferry__win_is_link(about.FileAttributes, about.ReparseTag);
    if (is_link && (walk->follows || name->slashes)) {
        error = link_follow(walk, asked.handle);
        if (error == 0) error = MORE;
        if (error == MORE && name->slashes) (void)wcscat(walk->rest, L"\\");
    } else if (is_link) {
        error = FERRY_ELOOP;
    } else if (error == 0 && result != STATUS_SUCCESS) {
        error = ferry__win_status(result);
    } else if (error == 0 && name->slashes && !(about.FileAttributes & FILE_ATTRIBUTE_DIRECTORY)) {
        error = FERRY_ENOTDIR;
    } else if (error == 0) {
        opening->handle = asked.handle;
        opening->existed = asked.existed;
        bool whole = about.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT;
        return whole ? open_whole(&path, opening) : 0;
    }
    (void)CloseHandle(asked.handle);
    return error;
}

static int walk_on(struct walk *walk) {
    struct name name;
    for (;;) {
        int error = name_take(walk, &name);
        if (error == 0) error = name.last ? finish(walk, &name) : pass(walk, &name);
        if (error == MORE) continue;
        if (error != 0 || name.last) return error;
    }
}

static int begin(struct walk *walk, const char *path) {
    wchar_t *wide = NULL;
    int64_t len = ferry__win_wide(path, &wide);
    if (len < 0) return (int)len;
    int error = 0;
    if ((size_t)len + 1 >= REST_MAX) {
        error = FERRY_ENAMETOOLONG;
    } else if (wide[0] == L'\\' || wide[0] == L'/' || wcschr(wide, L':') != NULL) {
        error = FERRY_EXDEV; /* of a drive, or a stream: neither is beneath */
    } else {
        memcpy(walk->rest, wide, ((size_t)len + 1) * sizeof *wide);
    }
    free(wide);
    return error;
}

int ferry__win_open_beneath(HANDLE dir, const char *path, bool follows,
                            struct ferry__win_opening *opening) {
    FILE_STANDARD_INFO about;
    if (!GetFileInformationByHandleEx(dir, FileStandardInfo, &about, sizeof about)) {
        return ferry__win_last_error();
    }
    if (!about.Directory) return FERRY_ENOTDIR;
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) return FERRY_ENOMEM;
    walk->base = dir;
    walk->follows = follows;
    walk->opening = opening;
    int error = begin(walk, path);
    if (error == 0) error = walk_on(walk);
    while (walk->depth > 0) leave(walk);
    free(walk);
    return error;
}
