/* watch.c - changes of files: what is watched, and what is told of it.
 *
 * What is watched (a node) has an eye on its own entries, if it is a directory, and one on those of
 * the directory that it lies in, which tells of itself. Eyes are shared (eyes.c); what they see
 * comes on threads of the system's, is dealt with there, and waits for the loop as records, with
 * the source's event set.
 *
 * A worker adds watches, the system's threads tell, the loop's thread does the rest; the source's
 * lock guards all of it but the list of sources. Memory is the C library's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "watch.h"

#include <stdlib.h>
#include <wchar.h>

#define NAME_BYTES (255u * 3u)
#define FOUND_MAX ((size_t)1 << 20) /* bytes that wait: more is an overflow */
#define PATIENCE 1000               /* ms, for calls that were cancelled */

/* What newer systems tell: FILE_NOTIFY_EXTENDED_INFORMATION. */
struct extended {
    DWORD next, action;
    LARGE_INTEGER created, modified, changed, accessed, allocated, size;
    DWORD attributes, tag;
    LARGE_INTEGER id, directory_id;
    DWORD name_bytes;
    wchar_t name[1];
};

struct ferry__node {
    struct ferry__node *next;
    int32_t number;
    struct ferry__identity identity;
    bool is_directory, moves, over;
    struct ferry__eye *inside, *above; /* NULL: there is none */
    wchar_t *name;                     /* above */
};

/* How a change lies in what is read; its name follows, with a 0. */
struct record {
    int32_t watch, ends;
    uint32_t pair;
    uint16_t name_len;
    uint8_t kind, is_directory;
};

static SRWLOCK sources_lock = SRWLOCK_INIT;
static struct ferry__watching *sources;

static struct ferry__watching *source_of(ferry_fd event) {
    AcquireSRWLockShared(&sources_lock);
    struct ferry__watching *source = sources;
    while (source->event != ferry__win_handle(event)) source = source->next;
    ReleaseSRWLockShared(&sources_lock);
    return source;
}

static bool same_name(const wchar_t *a, size_t a_len, const wchar_t *b) {
    return CompareStringOrdinal(a, (int)a_len, b, -1, TRUE) == CSTR_EQUAL;
}

/* ---- What was found ------------------------------------------------------------------------ */

static bool make_room(struct ferry__watching *source, size_t bytes) {
    if (source->found_at > 0) {
        source->found_bytes -= source->found_at;
        memmove(source->found, source->found + source->found_at, source->found_bytes);
        source->found_at = 0;
        source->last_at = SIZE_MAX;
    }
    if (source->found_room - source->found_bytes >= bytes) return true;
    size_t room = (source->found_bytes + bytes) * 2;
    unsigned char *more = realloc(source->found, room);
    if (more == NULL) return false;
    source->found = more;
    source->found_room = room;
    return true;
}

static size_t record_bytes(const struct record *record) {
    return (sizeof *record + record->name_len + 1u + 3u) & ~(size_t)3;
}

/* A file that is written to is told of for its size and for its time: once is enough. */
static bool is_last_again(const struct ferry__watching *source, const struct record *record,
                          const char *name) {
    if (source->last_at == SIZE_MAX || record->kind != FERRY_CHANGE_MODIFIED) return false;
    const unsigned char *last = source->found + source->last_at;
    return memcmp(last, record, sizeof *record) == 0 &&
           memcmp(last + sizeof *record, name, record->name_len) == 0;
}

static void put(struct ferry__watching *source, const struct record *record, const char *name) {
    size_t bytes = record_bytes(record);
    if (is_last_again(source, record, name)) return;
    if (source->found_bytes - source->found_at > FOUND_MAX || !make_room(source, bytes)) {
        source->lost = true;
        return;
    }
    unsigned char *to = source->found + source->found_bytes;
    memset(to, 0, bytes);
    memcpy(to, record, sizeof *record);
    memcpy(to + sizeof *record, name, record->name_len);
    source->last_at = source->found_bytes;
    source->found_bytes += bytes;
}

/* Of the watched thing itself. */
static void tell_self(struct ferry__watching *source, const struct ferry__node *node,
                      enum ferry_change_kind kind) {
    const struct record record = {
        .watch = node->number, .kind = (uint8_t)kind, .is_directory = node->is_directory};
    put(source, &record, "");
}

static void node_end(struct ferry__watching *source, struct ferry__node *node) {
    if (node->over) return;
    tell_self(source, node, FERRY_CHANGE_REMOVED);
    const struct record record = {.watch = node->number, .ends = FERRY_ENOENT};
    put(source, &record, "");
    node->over = true;
}

/* ---- Nodes --------------------------------------------------------------------------------- */

static void node_free(struct ferry__node *node) {
    if (node->inside != NULL) ferry__eye_leave(node->inside);
    if (node->above != NULL) ferry__eye_leave(node->above);
    free(node->name);
    free(node);
}

static struct ferry__node *node_find(const struct ferry__watching *source,
                                     const struct ferry__identity *identity) {
    struct ferry__node *node = source->nodes;
    while (node != NULL && (node->over || !ferry__is_same(&node->identity, identity)))
        node = node->next;
    return node;
}

/* The directory that something open lies in, open overlapped, and what it is called there,
 * malloc()ed. FERRY_ENOENT: it lies in none. */
static int above_open(HANDLE handle, HANDLE *above, wchar_t **name) {
    wchar_t *text = NULL;
    int error = ferry__win_path_of(handle, &text);
    if (error != 0) return error;
    wchar_t *slash = wcsrchr(text, L'\\');
    if (slash == NULL || slash[1] == L'\0') {
        free(text);
        return FERRY_ENOENT;
    }
    *name = _wcsdup(slash + 1);
    slash[slash > text && slash[-1] == L':' ? 1 : 0] = L'\0';
    text[1] = L'?'; /* "\??\" is the kernel's for "\\?\" */
    struct ferry__win_path path = {.name = text, .len = wcslen(text)};
    NTSTATUS status = ferry__win_open(&path, FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES, FILE_OPEN,
                                      FILE_DIRECTORY_FILE, above);
    free(text);
    error = status != STATUS_SUCCESS ? ferry__win_status(status) : *name == NULL ? FERRY_ENOMEM : 0;
    if (error == 0) return 0;
    if (status == STATUS_SUCCESS) (void)CloseHandle(*above);
    free(*name);
    *name = NULL;
    return error;
}

/* Its eyes, made and not begun. Takes the handle. */
static int node_look(HANDLE handle, struct ferry__node *node, struct ferry__eye **inside,
                     struct ferry__eye **above) {
    HANDLE dir = NULL;
    *inside = *above = NULL;
    int error = above_open(handle, &dir, &node->name);
    if (error == 0) *above = ferry__eye_make(dir, &error);
    if (error != 0 && node->is_directory) error = 0; /* told only of its entries */
    if (error != 0 || !node->is_directory) {
        (void)CloseHandle(handle);
        return error;
    }
    *inside = ferry__eye_make(handle, &error);
    if (error != 0 && *above != NULL) ferry__eye_drop(*above);
    return error;
}

/* Its number, or an error. Takes the eyes. */
static int64_t node_add(struct ferry__watching *source, struct ferry__node *node,
                        struct ferry__eye *inside, struct ferry__eye *above) {
    int error = 0;
    AcquireSRWLockExclusive(&source->lock);
    const struct ferry__node *known = node_find(source, &node->identity);
    int64_t result = known != NULL ? known->number : 0;
    if (known != NULL) {
        if (inside != NULL) ferry__eye_drop(inside);
        if (above != NULL) ferry__eye_drop(above);
    } else {
        if (above != NULL) node->above = ferry__eye_join(source, above, &error);
        if (node->is_directory) error = 0;
        if (error == 0 && inside != NULL) {
            node->inside = ferry__eye_join(source, inside, &error);
        } else if (inside != NULL) {
            ferry__eye_drop(inside);
        }
    }
    if (known != NULL || error != 0) {
        node_free(node);
    } else {
        node->number = ++source->last_number;
        node->next = source->nodes;
        source->nodes = node;
        result = node->number;
    }
    ReleaseSRWLockExclusive(&source->lock);
    return error != 0 ? error : result;
}

/* ---- What the system tells ----------------------------------------------------------------- */

/* What is called that in the directory of an eye, if anything is. */
static bool entry_identify(const struct ferry__eye *eye, const wchar_t *name, size_t len,
                           struct ferry__identity *identity, bool *is_directory) {
    HANDLE handle = NULL;
    struct ferry__win_path path = {
        .dir = ferry__eye_directory(eye), .name = (wchar_t *)(uintptr_t)name, .len = len};
    if (ferry__win_open(&path, FILE_READ_ATTRIBUTES, FILE_OPEN,
                        FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_REPARSE_POINT,
                        &handle) != STATUS_SUCCESS) {
        return false;
    }
    bool found = ferry__identify(handle, identity, is_directory) == 0;
    (void)CloseHandle(handle);
    return found;
}

static bool node_is_there(const struct ferry__node *node) {
    struct ferry__identity identity;
    bool is_directory;
    return entry_identify(node->above, node->name, wcslen(node->name), &identity, &is_directory) &&
           ferry__is_same(&identity, &node->identity);
}

/* A handle of something that has gone from where it was, if it lives elsewhere. */
static HANDLE node_open(const struct ferry__node *node) {
    FILE_STANDARD_INFO about;
    HANDLE handle = NULL;
    FILE_ID_DESCRIPTOR id = {.dwSize = sizeof id, .Type = FileIdType};
    if (node->inside != NULL) {
        if (ferry__win_reopen(ferry__eye_directory(node->inside), FILE_READ_ATTRIBUTES, &handle) !=
            0) {
            return NULL;
        }
    } else {
        id.FileId.QuadPart = (LONGLONG)node->identity.number;
        handle = OpenFileById(ferry__eye_directory(node->above), &id, FILE_READ_ATTRIBUTES,
                              FERRY__WIN_SHARED, NULL, FILE_FLAG_BACKUP_SEMANTICS);
        if (handle == INVALID_HANDLE_VALUE) return NULL;
    }
    if (GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about) &&
        !about.DeletePending && about.NumberOfLinks > 0) {
        return handle;
    }
    (void)CloseHandle(handle);
    return NULL;
}

/* It goes by another name: it has been moved, and the eye above goes with it, or it is gone. */
static void node_follow(struct ferry__watching *source, struct ferry__node *node) {
    HANDLE dir = NULL, handle = node_open(node);
    wchar_t *name = NULL;
    struct ferry__eye *above = NULL;
    if (handle == NULL) {
        node_end(source, node);
        return;
    }
    int error = above_open(handle, &dir, &name);
    (void)CloseHandle(handle);
    if (error == 0) above = ferry__eye_make(dir, &error);
    if (error == 0) above = ferry__eye_join(source, above, &error);
    if (error != 0) {
        free(name);
        if (!node->is_directory) node_end(source, node);
        return;
    }
    if (node->above != NULL) ferry__eye_leave(node->above);
    free(node->name);
    node->above = above;
    node->name = name;
    tell_self(source, node, FERRY_CHANGE_MOVED);
}

/* One change, as an eye sees it. */
struct seen {
    const struct ferry__eye *eye;
    enum ferry__subject subject;
    DWORD action;
    const wchar_t *name;
    size_t name_len;
    bool knows_kind, is_directory;
    uint32_t pair;
};

static void rename_self(struct ferry__watching *source, struct ferry__node *node,
                        const struct seen *seen) {
    wchar_t *name = calloc(seen->name_len + 1, sizeof *name);
    node->moves = false;
    if (name == NULL) {
        source->lost = true;
        return;
    }
    memcpy(name, seen->name, seen->name_len * sizeof *name);
    free(node->name);
    node->name = name;
    tell_self(source, node, FERRY_CHANGE_MOVED);
}

/* Of a node, by the eye above it. */
static void seen_above(struct ferry__watching *source, struct ferry__node *node,
                       const struct seen *seen) {
    if (node->moves && seen->action == FILE_ACTION_RENAMED_NEW_NAME) {
        rename_self(source, node, seen);
        return;
    }
    if (!same_name(seen->name, seen->name_len, node->name)) return;
    switch (seen->action) {
    case FILE_ACTION_MODIFIED:
        if (seen->subject == SUBJECT_ATTRIBUTES) {
            tell_self(source, node, FERRY_CHANGE_ATTRIBUTES);
        } else if (!node->is_directory) {
            tell_self(source, node, FERRY_CHANGE_MODIFIED);
        }
        return;
    case FILE_ACTION_RENAMED_OLD_NAME: node->moves = true; return;
    default:
        if (!node_is_there(node)) node->moves = true; /* followed when all has been seen */
    }
}

static enum ferry_change_kind kind_of(const struct seen *seen) {
    switch (seen->action) {
    case FILE_ACTION_ADDED: return FERRY_CHANGE_CREATED;
    case FILE_ACTION_REMOVED: return FERRY_CHANGE_DELETED;
    case FILE_ACTION_RENAMED_OLD_NAME: return FERRY_CHANGE_MOVED_FROM;
    case FILE_ACTION_RENAMED_NEW_NAME: return FERRY_CHANGE_MOVED_TO;
    default:
        return seen->subject == SUBJECT_ATTRIBUTES ? FERRY_CHANGE_ATTRIBUTES
                                                   : FERRY_CHANGE_MODIFIED;
    }
}

/* Of an entry of a node, by the eye inside it. */
static void seen_inside(struct ferry__watching *source, const struct ferry__node *node,
                        const struct seen *seen) {
    char name[NAME_BYTES + 1];
    struct record record = {.watch = node->number,
                            .pair = seen->pair,
                            .kind = (uint8_t)kind_of(seen),
                            .is_directory = seen->is_directory};
    /* Its entries have changed. */
    if (record.kind == FERRY_CHANGE_MODIFIED && seen->is_directory) return;
    record.name_len = (uint16_t)ferry__win_narrow(seen->name, seen->name_len, name, NAME_BYTES);
    put(source, &record, name);
}

static void seen_put(struct ferry__watching *source, struct seen *seen) {
    struct ferry__identity identity;
    if (!seen->knows_kind && seen->action == FILE_ACTION_MODIFIED) {
        (void)entry_identify(seen->eye, seen->name, seen->name_len, &identity, &seen->is_directory);
    }
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next) {
        if (node->over) continue;
        if (node->inside == seen->eye) seen_inside(source, node, seen);
        if (node->above == seen->eye) seen_above(source, node, seen);
    }
}

/* A rename has two records, one behind the other. */
static uint32_t pair_of(struct ferry__watching *source, DWORD action) {
    if (action == FILE_ACTION_RENAMED_OLD_NAME) return ++source->last_pair;
    return action == FILE_ACTION_RENAMED_NEW_NAME ? source->last_pair : 0;
}

/* Where a record begins is not said to suit what is in it. */
static DWORD take_extended(const unsigned char *at, struct seen *seen) {
    struct extended from;
    memcpy(&from, at, offsetof(struct extended, name));
    seen->action = from.action;
    seen->name = (const wchar_t *)(const void *)(at + offsetof(struct extended, name));
    seen->name_len = from.name_bytes / sizeof(wchar_t);
    seen->knows_kind = true;
    seen->is_directory = from.attributes & FILE_ATTRIBUTE_DIRECTORY;
    return from.next;
}

static DWORD take_plain(const unsigned char *at, enum ferry__subject subject, struct seen *seen) {
    FILE_NOTIFY_INFORMATION from;
    memcpy(&from, at, offsetof(FILE_NOTIFY_INFORMATION, FileName));
    seen->action = from.Action;
    seen->name = (const wchar_t *)(const void *)(at + offsetof(FILE_NOTIFY_INFORMATION, FileName));
    seen->name_len = from.FileNameLength / sizeof(wchar_t);
    seen->knows_kind = subject == SUBJECT_DIRECTORIES;
    seen->is_directory = seen->knows_kind;
    return from.NextEntryOffset;
}

void ferry__eye_told(struct ferry__watching *source, const struct ferry__eye *eye,
                     enum ferry__subject subject, const unsigned char *records) {
    DWORD next;
    do {
        struct seen seen = {.eye = eye, .subject = subject};
        next = subject == SUBJECT_ALL ? take_extended(records, &seen)
                                      : take_plain(records, subject, &seen);
        seen.pair = pair_of(source, seen.action);
        seen_put(source, &seen);
        records += next;
    } while (next != 0);
}

void ferry__eye_overflowed(struct ferry__watching *source, const struct ferry__eye *eye) {
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next) {
        const struct record record = {.watch = node->number, .kind = FERRY_CHANGE_OVERFLOW};
        if (node->over) continue;
        if (node->inside == eye || (node->above == eye && !node->is_directory)) {
            put(source, &record, "");
        }
        if (node->above == eye && !node_is_there(node)) node->moves = true;
    }
}

void ferry__eye_gone(struct ferry__watching *source, const struct ferry__eye *eye) {
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next) {
        if (node->inside == eye || (node->above == eye && !node->is_directory)) {
            node_end(source, node);
        }
    }
}

static void sweep(struct ferry__watching *source) {
    for (struct ferry__node **at = &source->nodes; *at != NULL;) {
        struct ferry__node *node = *at;
        if (!node->over) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        node_free(node);
    }
}

static bool is_found(const struct ferry__watching *source) {
    return source->found_at < source->found_bytes || source->lost;
}

void ferry__eye_done(struct ferry__watching *source) {
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next) {
        if (node->moves && !node->over) node_follow(source, node);
        node->moves = false;
    }
    sweep(source);
    if (is_found(source)) (void)SetEvent(source->event);
}

/* ---- For the core -------------------------------------------------------------------------- */

ferry_fd ferry__os_watch_open(void) {
    struct ferry__watching *source = calloc(1, sizeof *source);
    if (source == NULL) return FERRY_ENOMEM;
    source->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (source->event == NULL) {
        free(source);
        return ferry__win_last_error();
    }
    source->last_at = SIZE_MAX;
    source->users = 1;
    InitializeSRWLock(&source->lock);
    InitializeConditionVariable(&source->quiet);
    AcquireSRWLockExclusive(&sources_lock);
    source->next = sources;
    sources = source;
    ReleaseSRWLockExclusive(&sources_lock);
    return ferry__win_fd(source->event);
}

/* Waits for the calls that were cancelled. Should the system keep one, it keeps the memory, too. */
void ferry__os_watch_close(ferry_fd event) {
    struct ferry__watching *source = source_of(event);
    AcquireSRWLockExclusive(&sources_lock);
    struct ferry__watching **at = &sources;
    while (*at != source) at = &(*at)->next;
    *at = source->next;
    ReleaseSRWLockExclusive(&sources_lock);
    AcquireSRWLockExclusive(&source->lock);
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next)
        node->over = true;
    sweep(source);
    bool waits = true;
    while (source->users > 1 && waits) {
        waits = SleepConditionVariableSRW(&source->quiet, &source->lock, PATIENCE, 0);
    }
    bool alone = source->users == 1;
    (void)CloseHandle(source->event);
    source->event = NULL;
    ReleaseSRWLockExclusive(&source->lock);
    if (!alone) return;
    free(source->found);
    free(source);
}

int64_t ferry__os_watch_add(ferry_fd event, const char *text) {
    struct ferry__watching *source = source_of(event);
    struct ferry__win_path path;
    HANDLE handle = NULL;
    struct ferry__eye *inside, *above;
    int error = ferry__win_path_make(&path, FERRY_FD_NONE, text);
    if (error != 0) return error;
    NTSTATUS status = ferry__win_open(&path, FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES, FILE_OPEN,
                                      0, &handle);
    if (status != STATUS_SUCCESS) error = ferry__win_path_error(&path, status);
    ferry__win_path_end(&path);
    if (error != 0) return error;
    struct ferry__node *node = calloc(1, sizeof *node);
    error = node == NULL ? FERRY_ENOMEM
                         : ferry__identify(handle, &node->identity, &node->is_directory);
    if (error != 0) {
        (void)CloseHandle(handle);
    } else {
        error = node_look(handle, node, &inside, &above);
    }
    if (error == 0) return node_add(source, node, inside, above);
    if (node != NULL) free(node->name);
    free(node);
    return error;
}

void ferry__os_watch_remove(ferry_fd event, int32_t watch) {
    struct ferry__watching *source = source_of(event);
    AcquireSRWLockExclusive(&source->lock);
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next) {
        if (node->number == watch) node->over = true;
    }
    sweep(source);
    ReleaseSRWLockExclusive(&source->lock);
}

int ferry__os_watch_each(ferry_fd event, void (*fn)(void *context, int32_t watch), void *context) {
    struct ferry__watching *source = source_of(event);
    AcquireSRWLockShared(&source->lock);
    for (struct ferry__node *node = source->nodes; node != NULL; node = node->next) {
        if (!node->over) fn(context, node->number);
    }
    ReleaseSRWLockShared(&source->lock);
    return 0;
}

/* Whole records, as many as fit. */
static size_t found_take(struct ferry__watching *source, unsigned char *buf, size_t len) {
    size_t taken = 0;
    while (source->found_at < source->found_bytes) {
        struct record record;
        memcpy(&record, source->found + source->found_at, sizeof record);
        size_t bytes = record_bytes(&record);
        if (bytes > len - taken) break;
        memcpy(buf + taken, source->found + source->found_at, bytes);
        source->found_at += bytes;
        taken += bytes;
    }
    source->last_at = SIZE_MAX;
    return taken;
}

int64_t ferry__os_watch_read(ferry_fd event, void *buf, size_t len) {
    struct ferry__watching *source = source_of(event);
    AcquireSRWLockExclusive(&source->lock);
    size_t taken = found_take(source, buf, len);
    if (taken == 0 && source->lost) {
        const struct record record = {.watch = -1, .kind = FERRY_CHANGE_OVERFLOW};
        source->lost = false;
        put(source, &record, "");
        taken = found_take(source, buf, len);
    }
    if (!is_found(source)) (void)ResetEvent(source->event);
    ReleaseSRWLockExclusive(&source->lock);
    return (int64_t)taken;
}

size_t ferry__os_watch_parse(const void *buf, size_t at, struct ferry__change *change) {
    struct record record;
    const char *from = (const char *)buf + at;
    memcpy(&record, from, sizeof record);
    *change = (struct ferry__change){
        .watch = record.watch,
        .ends = record.ends,
        .about = {.kind = (enum ferry_change_kind)record.kind,
                  .is_directory = record.is_directory,
                  .pair = record.pair,
                  .name = from + sizeof record,
                  .name_len = record.name_len},
    };
    return at + record_bytes(&record);
}
