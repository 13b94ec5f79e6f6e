/* spawn.c - beginning a child with CreateProcessW(): its program and its directory are found, its
 * texts are made (command.c), and what it inherits is named.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"
#include "process.h"

#include <stdlib.h>
#include <wchar.h>

/* ---- The program --------------------------------------------------------------------------- */

/* Command files are read by another program, whose rules for arguments nobody can keep. */
static bool is_command_file(const wchar_t *path, size_t len) {
    while (len > 0 && (path[len - 1] == L'.' || path[len - 1] == L' ')) len--;
    return len > 4 && (_wcsnicmp(path + len - 4, L".bat", 4) == 0 ||
                       _wcsnicmp(path + len - 4, L".cmd", 4) == 0);
}

/* As CreateProcessW() takes it: a short path as everybody knows it, a long one with "\\?\". */
static int found_make(struct ferry__win_path *path, wchar_t **found) {
    bool server = wcsncmp(path->name, L"\\??\\UNC\\", 8) == 0, is_long = path->len >= MAX_PATH;
    path->name[1] = L'\\';
    if (server && !is_long) path->name[6] = L'\\';
    *found = _wcsdup(path->name + (is_long ? 0 : server ? 6 : 4));
    return *found != NULL ? 0 : FERRY_ENOMEM;
}

/* Is that a file? 0 and its path, or an error. */
static int try(const wchar_t *text, wchar_t **found) {
    struct ferry__win_path path;
    HANDLE handle = NULL;
    size_t bytes = ferry__win_narrow(text, wcslen(text), NULL, 0);
    char *narrow = malloc(bytes + 1);
    if (narrow == NULL) return FERRY_ENOMEM;
    (void)ferry__win_narrow(text, wcslen(text), narrow, bytes);
    narrow[bytes] = '\0';
    int error = ferry__win_path_make(&path, FERRY_FD_NONE, narrow);
    free(narrow);
    if (error != 0) return error;
    NTSTATUS status = ferry__win_open(&path, FILE_READ_ATTRIBUTES, FILE_OPEN,
                                      FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE,
                                      &handle);
    if (status == STATUS_SUCCESS) {
        (void)CloseHandle(handle);
        error = is_command_file(path.name, path.len) ? FERRY_ENOEXEC : found_make(&path, found);
    } else {
        error = ferry__win_path_error(&path, status);
        if (error == FERRY_EISDIR) error = FERRY_EACCES;
    }
    ferry__win_path_end(&path);
    return error;
}

/* As it stands, and with what programs' names end with. */
static int try_endings(const wchar_t *dir, size_t dir_len, const wchar_t *name, wchar_t **found) {
    static const wchar_t *const endings[] = {L"", L".com", L".exe"};
    int first = FERRY_ENOENT;
    for (size_t i = 0; i < 3; i++) {
        struct ferry__text text = {.units = NULL};
        ferry__text_add(&text, dir, dir_len);
        if (dir_len > 0) ferry__text_add(&text, L"\\", 1);
        ferry__text_add(&text, name, wcslen(name));
        ferry__text_add(&text, endings[i], wcslen(endings[i]) + 1);
        int error = text.failed ? FERRY_ENOMEM : try(text.units, found);
        ferry__text_end(&text);
        if (error == 0 || error == FERRY_ENOEXEC || error == FERRY_ENOMEM) return error;
        if (i == 0) first = error;
    }
    return first;
}

/* Along our PATH: names between semicolons, with quotes around those that have one. */
static int search(const wchar_t *name, wchar_t **found) {
    DWORD room = GetEnvironmentVariableW(L"PATH", NULL, 0);
    int error = FERRY_ENOENT, told = FERRY_ENOENT;
    wchar_t *path = calloc(room + 1, sizeof *path);
    if (path == NULL) return FERRY_ENOMEM;
    if (room > 0 && GetEnvironmentVariableW(L"PATH", path, room) >= room) path[0] = L'\0';
    for (const wchar_t *at = path; error != 0 && *at != L'\0';) {
        bool quoted = *at == L'"';
        if (quoted) at++;
        size_t len = wcscspn(at, quoted ? L"\"" : L";");
        error = len > 0 ? try_endings(at, len, name, found) : FERRY_ENOENT;
        if (error != FERRY_ENOENT && error != FERRY_ENOTDIR && told == FERRY_ENOENT) told = error;
        if (error == FERRY_ENOEXEC || error == FERRY_ENOMEM) break;
        at += len;
        at += wcscspn(at, L";");
        while (*at == L';') at++;
    }
    free(path);
    return error == 0 ? 0 : told;
}

static bool is_relative(const wchar_t *name) {
    return name[0] != L'\\' && name[0] != L'/' && name[1] != L':';
}

static int program_find(const ferry_child *asked, const wchar_t *dir, wchar_t **found) {
    wchar_t *name = NULL;
    int64_t len = ferry__win_wide(asked->program, &name);
    if (len < 0) return (int)len;
    int error;
    if (len == 0) {
        error = FERRY_ENOENT;
    } else if (wcspbrk(name, L"\\/:") == NULL) {
        error = search(name, found);
    } else {
        bool below = dir != NULL && is_relative(name);
        error = try_endings(dir, below ? wcslen(dir) : 0, name, found);
    }
    free(name);
    return error;
}

/* ---- Where it runs ------------------------------------------------------------------------- */

/* NULL: where we do. */
static int directory_find(const ferry_child *asked, wchar_t **found) {
    struct ferry__win_path path;
    HANDLE handle = NULL;
    *found = NULL;
    if (asked->directory == NULL) return 0;
    int error = ferry__win_path_make(&path, FERRY_FD_NONE, asked->directory);
    if (error != 0) return error;
    NTSTATUS status = ferry__win_open(&path, FILE_TRAVERSE, FILE_OPEN,
                                      FILE_SYNCHRONOUS_IO_NONALERT | FILE_DIRECTORY_FILE, &handle);
    if (status == STATUS_SUCCESS) {
        (void)CloseHandle(handle);
        error = found_make(&path, found);
    } else {
        error = ferry__win_path_error(&path, status);
    }
    ferry__win_path_end(&path);
    return error;
}

/* ---- Begin --------------------------------------------------------------------------------- */

/* What CreateProcessW() is given besides. */
struct more {
    STARTUPINFOEXW start;
    HANDLE inherited[PROCESS_STREAMS];
    DWORD count, flags;
};

static int attribute_add(struct more *more, DWORD_PTR which, void *value, size_t bytes) {
    return UpdateProcThreadAttribute(more->start.lpAttributeList, 0, which, value, bytes, NULL,
                                     NULL)
               ? 0
               : ferry__win_last_error();
}

/* Of all that could be inherited nothing is but the streams. */
static int attributes_make(struct more *more, HANDLE *job) {
    SIZE_T bytes = 0;
    (void)InitializeProcThreadAttributeList(NULL, 2, 0, &bytes);
    LPPROC_THREAD_ATTRIBUTE_LIST list = malloc(bytes);
    if (list == NULL) return FERRY_ENOMEM;
    if (!InitializeProcThreadAttributeList(list, 2, 0, &bytes)) {
        free(list);
        return ferry__win_last_error();
    }
    more->start.lpAttributeList = list;
    int error = 0;
    if (more->count > 0) {
        error = attribute_add(more, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, more->inherited,
                              more->count * sizeof *more->inherited);
    }
    if (error == 0 && *job != NULL) {
        error = attribute_add(more, PROC_THREAD_ATTRIBUTE_JOB_LIST, job, sizeof *job);
    }
    return error;
}

static void attributes_end(struct more *more) {
    if (more->start.lpAttributeList == NULL) return;
    DeleteProcThreadAttributeList(more->start.lpAttributeList);
    free(more->start.lpAttributeList);
}

/* A group is a job, which ends as a whole if it is to. Whoever wants to may leave it. */
static int group_make(HANDLE *job) {
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {
        .BasicLimitInformation = {.LimitFlags = JOB_OBJECT_LIMIT_BREAKAWAY_OK}};
    *job = CreateJobObjectW(NULL, NULL);
    if (*job == NULL) return ferry__win_last_error();
    (void)SetInformationJobObject(*job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    return 0;
}

static void more_fill(struct more *more, const ferry_child *asked,
                      HANDLE streams[PROCESS_STREAMS]) {
    STARTUPINFOW *start = &more->start.StartupInfo;
    *more = (struct more){.flags = CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT};
    start->cb = sizeof more->start;
    start->dwFlags = STARTF_USESTDHANDLES;
    start->hStdInput = streams[0];
    start->hStdOutput = streams[1];
    start->hStdError = streams[2];
    for (int i = 0; i < PROCESS_STREAMS; i++) {
        if (streams[i] != NULL) more->inherited[more->count++] = streams[i];
    }
    if (asked->how != 0) more->flags |= CREATE_NEW_PROCESS_GROUP;
    if (asked->how & FERRY_CHILD_SESSION) more->flags |= DETACHED_PROCESS;
}

static int error_of(DWORD code) {
    switch (code) {
    case ERROR_BAD_EXE_FORMAT:
    case ERROR_EXE_MACHINE_TYPE_MISMATCH:
    case ERROR_BAD_FORMAT: return FERRY_ENOEXEC;
    case ERROR_DIRECTORY: return FERRY_ENOTDIR;
    case ERROR_FILENAME_EXCED_RANGE: return FERRY_E2BIG;
    default: return ferry__win_error(code);
    }
}

static int create(const wchar_t *program, wchar_t *command, void *environment,
                  const wchar_t *directory, struct more *more, struct ferry__child *child) {
    PROCESS_INFORMATION made;
    if (!CreateProcessW(program, command, NULL, NULL, more->count > 0, more->flags, environment,
                        directory, &more->start.StartupInfo, &made)) {
        return error_of(GetLastError());
    }
    (void)CloseHandle(made.hThread);
    child->process = made.hProcess;
    child->pid = (int64_t)made.dwProcessId;
    return 0;
}

int ferry__process_begin(const ferry_child *asked, HANDLE streams[PROCESS_STREAMS],
                         struct ferry__child *child) {
    struct ferry__text command = {.units = NULL}, environment = {.units = NULL};
    struct more more;
    wchar_t *program = NULL, *directory = NULL;
    more_fill(&more, asked, streams);
    int error = directory_find(asked, &directory);
    if (error == 0) error = program_find(asked, directory, &program);
    if (error == 0) error = ferry__process_command(asked, &command);
    if (error == 0) error = ferry__process_environment(asked, &environment);
    if (error == 0 && asked->how != 0) error = group_make(&child->job);
    if (error == 0) error = attributes_make(&more, &child->job);
    if (error == 0) {
        error = create(program, command.units, environment.units, directory, &more, child);
    }
    if (error != 0 && child->job != NULL) {
        (void)CloseHandle(child->job);
        child->job = NULL;
    }
    attributes_end(&more);
    ferry__text_end(&command);
    ferry__text_end(&environment);
    free(program);
    free(directory);
    return error;
}
