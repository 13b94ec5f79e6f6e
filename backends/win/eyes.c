/* eyes.c - looking at directories: ReadDirectoryChangesW(), one call in flight per directory and
 * subject. Which thing is concerned is for watch.c to know.
 *
 * The system does not say whether an attribute was changed or the content, so that each is asked
 * for by a handle of its own; nor, before Windows 10 1709 and of file systems other than NTFS,
 * whether an entry is a directory, so that there files and directories are asked for apart, too.
 * Changes that come by different handles are told in the order of the handles, not in that in which
 * they were made.
 *
 * Between two calls the system keeps what fits into one call's memory. So they are begun again by
 * threads of the system's pool, at once, whatever the loop is at. An eye that nobody needs any more
 * closes its handles; its memory goes with the last call that comes back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "watch.h"

#include <stdlib.h>

#define LOOK_BYTES 8192u
#define LOOKS_MAX 3
#define NAMES (FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_DIR_NAME)
#define CONTENT (FILE_NOTIFY_CHANGE_SIZE | FILE_NOTIFY_CHANGE_LAST_WRITE)
#define ATTRIBUTES (FILE_NOTIFY_CHANGE_ATTRIBUTES | FILE_NOTIFY_CHANGE_SECURITY)
#define EXTENDED 2     /* ReadDirectoryNotifyExtendedInformation */
#define CLEANED_UP 745 /* ERROR_NOTIFY_CLEANUP, which not every header has */
#define LOOK_ACCESS (FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES)

/* One call. */
struct look {
    OVERLAPPED overlapped;
    struct ferry__eye *eye;
    HANDLE handle; /* NULL: closed */
    TP_IO *pool;
    enum ferry__subject subject;
    alignas(8) unsigned char found[LOOK_BYTES];
};

struct ferry__eye {
    struct ferry__eye *next;
    struct ferry__watching *source;
    struct ferry__identity identity;
    unsigned users, flies; /* nodes that have it; calls that have not come back */
    bool blind;            /* its directory is gone */
    int count;
    struct look looks[LOOKS_MAX];
};

typedef BOOL WINAPI look_extended_fn(HANDLE, LPVOID, DWORD, BOOL, DWORD, LPDWORD, LPOVERLAPPED,
                                     LPOVERLAPPED_COMPLETION_ROUTINE, int);

/* NULL before Windows 10 1709. */
static look_extended_fn *look_extended(void) {
    union {
        FARPROC found;
        look_extended_fn *call;
    } looks;
    looks.found = GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "ReadDirectoryChangesExW");
    return looks.call;
}

int ferry__identify(HANDLE handle, struct ferry__identity *identity, bool *is_directory) {
    BY_HANDLE_FILE_INFORMATION about;
    if (!GetFileInformationByHandle(handle, &about)) return ferry__win_last_error();
    identity->volume = about.dwVolumeSerialNumber;
    identity->number = (uint64_t)about.nFileIndexHigh << 32 | about.nFileIndexLow;
    *is_directory = about.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY;
    return 0;
}

HANDLE ferry__eye_directory(const struct ferry__eye *eye) {
    return eye->looks[0].handle;
}

/* ---- One call ------------------------------------------------------------------------------ */

static DWORD filter_of(enum ferry__subject subject) {
    switch (subject) {
    case SUBJECT_ALL: return NAMES | CONTENT;
    case SUBJECT_FILES: return FILE_NOTIFY_CHANGE_FILE_NAME | CONTENT;
    case SUBJECT_DIRECTORIES: return FILE_NOTIFY_CHANGE_DIR_NAME;
    case SUBJECT_ATTRIBUTES: break;
    }
    return ATTRIBUTES;
}

/* The code of Windows if it is refused. */
static DWORD look_once(struct look *look) {
    look_extended_fn *extended = look->subject == SUBJECT_ALL ? look_extended() : NULL;
    DWORD filter = filter_of(look->subject);
    memset(&look->overlapped, 0, sizeof look->overlapped);
    StartThreadpoolIo(look->pool);
    bool begun = extended != NULL
                     ? extended(look->handle, look->found, LOOK_BYTES, FALSE, filter, NULL,
                                &look->overlapped, NULL, EXTENDED)
                     : ReadDirectoryChangesW(look->handle, look->found, LOOK_BYTES, FALSE, filter,
                                             NULL, &look->overlapped, NULL);
    if (begun) {
        look->eye->flies++;
        return NO_ERROR;
    }
    DWORD code = GetLastError();
    CancelThreadpoolIo(look->pool);
    return code;
}

static void CALLBACK came_back(PTP_CALLBACK_INSTANCE instance, void *context, void *overlapped,
                               ULONG code, ULONG_PTR bytes, PTP_IO pool);

/* Takes the handle. */
static int look_make(struct ferry__eye *eye, HANDLE handle, enum ferry__subject subject) {
    struct look *look = &eye->looks[eye->count++];
    look->eye = eye;
    look->subject = subject;
    look->handle = handle;
    look->pool = CreateThreadpoolIo(handle, came_back, look, NULL);
    return look->pool != NULL ? 0 : ferry__win_last_error();
}

/* What tells more is known to NTFS alone. A share may say that it is that and be asked elsewhere,
 * so that a try tells, in the call or in what comes of it. */
static bool is_unknown(const struct look *look, DWORD code) {
    return look->subject == SUBJECT_ALL &&
           (code == ERROR_INVALID_FUNCTION || code == ERROR_NOT_SUPPORTED ||
            code == ERROR_INVALID_PARAMETER || code == ERROR_CALL_NOT_IMPLEMENTED);
}

/* Then by two handles. */
static DWORD look_apart(struct look *look, DWORD code) {
    struct ferry__eye *eye = look->eye;
    struct look *second = &eye->looks[eye->count];
    HANDLE again = NULL;
    if (ferry__win_reopen_overlapped(look->handle, LOOK_ACCESS, &again) != 0 ||
        look_make(eye, again, SUBJECT_DIRECTORIES) != 0) {
        return code;
    }
    look->subject = SUBJECT_FILES;
    code = look_once(look);
    return code == NO_ERROR ? look_once(second) : code;
}

static DWORD look_begin(struct look *look) {
    DWORD code = look_once(look);
    return is_unknown(look, code) ? look_apart(look, code) : code;
}

static void look_take(struct look *look, DWORD code, ULONG_PTR bytes) {
    struct ferry__eye *eye = look->eye;
    if (code == ERROR_NOTIFY_ENUM_DIR || (code == NO_ERROR && bytes == 0)) {
        ferry__eye_overflowed(eye->source, eye);
    } else if (code == NO_ERROR) {
        ferry__eye_told(eye->source, eye, look->subject, look->found);
    }
    /* A call may be cancelled for the thread that it was begun by. */
    bool goes_on = code == NO_ERROR || code == ERROR_NOTIFY_ENUM_DIR ||
                   code == ERROR_OPERATION_ABORTED || code == CLEANED_UP;
    if (goes_on) {
        code = look_begin(look);
    } else if (is_unknown(look, code)) {
        code = look_apart(look, code);
    }
    if (code != NO_ERROR && !eye->blind) {
        eye->blind = true;
        ferry__eye_gone(eye->source, eye);
    }
    ferry__eye_done(eye->source);
}

/* ---- Eyes ---------------------------------------------------------------------------------- */

static void pools_close(struct ferry__eye *eye) {
    for (int i = 0; i < eye->count; i++) {
        if (eye->looks[i].pool != NULL) CloseThreadpoolIo(eye->looks[i].pool);
    }
}

static void free_if_done(struct ferry__eye *eye) {
    if (eye->users > 0 || eye->flies > 0) return;
    struct ferry__watching *source = eye->source;
    pools_close(eye);
    free(eye);
    source->users--;
    WakeAllConditionVariable(&source->quiet);
}

/* On a thread of the system's. While a call flies, its eye is there, and so is its source. */
static void CALLBACK came_back(PTP_CALLBACK_INSTANCE instance, void *context, void *overlapped,
                               ULONG code, ULONG_PTR bytes, PTP_IO pool) {
    struct look *look = context;
    struct ferry__eye *eye = look->eye;
    struct ferry__watching *source = eye->source;
    (void)instance, (void)overlapped, (void)pool;
    AcquireSRWLockExclusive(&source->lock);
    eye->users++; /* until we have done with it */
    eye->flies--;
    if (eye->users > 1) look_take(look, code, bytes);
    ferry__eye_leave(eye);
    ReleaseSRWLockExclusive(&source->lock);
}

static void handles_close(struct ferry__eye *eye) {
    for (int i = 0; i < eye->count; i++) {
        struct look *look = &eye->looks[i];
        if (look->handle == NULL) continue;
        (void)CancelIoEx(look->handle, NULL);
        (void)CloseHandle(look->handle);
        look->handle = NULL;
    }
}

void ferry__eye_drop(struct ferry__eye *eye) {
    handles_close(eye);
    pools_close(eye);
    free(eye);
}

struct ferry__eye *ferry__eye_make(HANDLE handle, int *error) {
    static const enum ferry__subject newer[] = {SUBJECT_ALL, SUBJECT_ATTRIBUTES};
    static const enum ferry__subject older[] = {SUBJECT_FILES, SUBJECT_DIRECTORIES,
                                                SUBJECT_ATTRIBUTES};
    bool is_new = look_extended() != NULL, is_directory;
    struct ferry__eye *eye = calloc(1, sizeof *eye);
    if (eye == NULL) {
        (void)CloseHandle(handle);
        *error = FERRY_ENOMEM;
        return NULL;
    }
    *error = look_make(eye, handle, is_new ? newer[0] : older[0]);
    if (*error == 0) *error = ferry__identify(handle, &eye->identity, &is_directory);
    for (int i = 1; i < (is_new ? 2 : 3) && *error == 0; i++) {
        HANDLE again = NULL;
        *error = ferry__win_reopen_overlapped(handle, LOOK_ACCESS, &again);
        if (*error == 0) *error = look_make(eye, again, is_new ? newer[i] : older[i]);
    }
    if (*error == 0) return eye;
    ferry__eye_drop(eye);
    return NULL;
}

struct ferry__eye *ferry__eye_join(struct ferry__watching *source, struct ferry__eye *made,
                                   int *error) {
    for (struct ferry__eye *eye = source->eyes; eye != NULL; eye = eye->next) {
        if (!ferry__is_same(&eye->identity, &made->identity) || eye->blind) continue;
        ferry__eye_drop(made);
        eye->users++;
        return eye;
    }
    DWORD code = NO_ERROR;
    int count = made->count; /* there may be one more then */
    made->source = source;
    made->users = 1;
    made->next = source->eyes;
    source->eyes = made;
    source->users++;
    for (int i = 0; i < count && code == NO_ERROR; i++) code = look_begin(&made->looks[i]);
    if (code == NO_ERROR) return made;
    *error = ferry__win_error(code);
    ferry__eye_leave(made);
    return NULL;
}

void ferry__eye_leave(struct ferry__eye *eye) {
    if (--eye->users > 0) return;
    struct ferry__eye **at = &eye->source->eyes;
    while (*at != NULL && *at != eye) at = &(*at)->next;
    if (*at != NULL) *at = eye->next; /* not there: it had been left before */
    handles_close(eye);
    free_if_done(eye);
}
