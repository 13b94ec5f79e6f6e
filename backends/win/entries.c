/* entries.c - names in directories: renamed, linked, removed, made.
 *
 * What has a name is opened, itself and not what it leads to, and then given another or none.
 * Windows 10 does both as other systems do: a name is gone at once, and what is open does not stand
 * in the way. File systems that cannot do that (FAT, some of the network) do it in their own way.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>
#include <wchar.h>

#define WHOLE (FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_REPARSE_POINT)

/* Flags of FileDispositionInformationEx, FileRenameInformationEx, FileLinkInformationEx. */
#define REMOVE_DELETE 0x1u
#define REMOVE_POSIX 0x2u
#define REMOVE_READ_ONLY 0x10u
#define NAME_REPLACE 0x1u
#define NAME_POSIX 0x2u
#define NAME_REPLACE_READ_ONLY 0x40u

/* Not known to this file system, or to this system. */
static bool is_unknown(NTSTATUS result) {
    return result == STATUS_INVALID_INFO_CLASS || result == STATUS_INVALID_PARAMETER ||
           result == STATUS_NOT_SUPPORTED || result == STATUS_INVALID_DEVICE_REQUEST ||
           result == STATUS_NOT_IMPLEMENTED;
}

static NTSTATUS set(HANDLE handle, void *information, size_t bytes, FILE_INFORMATION_CLASS class) {
    IO_STATUS_BLOCK status;
    return NtSetInformationFile(handle, &status, information, (ULONG)bytes, class);
}

/* ---- Removing ------------------------------------------------------------------------------ */

/* Where a file that may not be written cannot be removed either: it may be. */
static NTSTATUS remove_plain(HANDLE handle, DWORD attributes) {
    FILE_DISPOSITION_INFORMATION disposition = {.DoDeleteFile = TRUE};
    FILE_BASIC_INFO basic = {.FileAttributes = attributes & ~(DWORD)FILE_ATTRIBUTE_READONLY};
    HANDLE changes = NULL;
    if (basic.FileAttributes == 0) basic.FileAttributes = FILE_ATTRIBUTE_NORMAL;
    if (attributes & FILE_ATTRIBUTE_READONLY &&
        ferry__win_reopen(handle, FILE_WRITE_ATTRIBUTES, &changes) == 0) {
        (void)SetFileInformationByHandle(changes, FileBasicInfo, &basic, sizeof basic);
    }
    NTSTATUS result = set(handle, &disposition, sizeof disposition, FileDispositionInformation);
    if (changes == NULL) return result;
    basic.FileAttributes = attributes;
    if (result != STATUS_SUCCESS) {
        (void)SetFileInformationByHandle(changes, FileBasicInfo, &basic, sizeof basic);
    }
    (void)CloseHandle(changes);
    return result;
}

static int remove_open(HANDLE handle, bool directory) {
    FILE_ATTRIBUTE_TAG_INFO about;
    ULONG flags = REMOVE_DELETE | REMOVE_POSIX | REMOVE_READ_ONLY;
    int error = ferry__win_tag(handle, &about);
    if (error != 0) return error;
    bool is_directory = about.FileAttributes & FILE_ATTRIBUTE_DIRECTORY &&
                        !ferry__win_is_link(about.FileAttributes, about.ReparseTag);
    if (directory && !is_directory) return FERRY_ENOTDIR;
    if (!directory && is_directory) return FERRY_EISDIR;
    NTSTATUS result = set(handle, &flags, sizeof flags, FERRY__DISPOSITION_EX);
    if (is_unknown(result)) {
        flags = REMOVE_DELETE | REMOVE_POSIX; /* before Windows 10 1809 */
        result = set(handle, &flags, sizeof flags, FERRY__DISPOSITION_EX);
    }
    if (is_unknown(result) || result == STATUS_CANNOT_DELETE) {
        result = remove_plain(handle, about.FileAttributes);
    }
    return ferry__win_status(result);
}

int64_t ferry__win_remove(const ferry_op *op, bool directory) {
    struct ferry__win_path path;
    HANDLE handle = NULL;
    int error = ferry__win_path_make(&path, op->fd, op->buf);
    if (error != 0) return error;
    NTSTATUS result = ferry__win_open(&path, DELETE | FILE_READ_ATTRIBUTES, FILE_OPEN, WHOLE,
                                      &handle);
    if (result != STATUS_SUCCESS) error = ferry__win_path_error(&path, result);
    ferry__win_path_end(&path);
    if (error != 0) return error;
    error = remove_open(handle, directory);
    (void)CloseHandle(handle);
    return error;
}

int64_t ferry__win_mkdir(const ferry_op *op) {
    struct ferry__win_path path;
    HANDLE handle = NULL;
    int error = ferry__win_path_make(&path, op->fd, op->buf);
    if (error != 0) return error;
    NTSTATUS result = ferry__win_open(&path, FILE_LIST_DIRECTORY, FILE_CREATE,
                                      FILE_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT, &handle);
    if (result != STATUS_SUCCESS) error = ferry__win_path_error(&path, result);
    ferry__win_path_end(&path);
    if (error == 0) (void)CloseHandle(handle);
    return error;
}

/* ---- Another name, a second one ------------------------------------------------------------ */

struct naming {
    union {
        BOOLEAN replace; /* of the older calls */
        ULONG flags;
    } how;
    HANDLE dir;
    ULONG bytes;
    wchar_t name[1];
};

/* Two names, of which the first is open. */
struct two {
    struct ferry__win_path from, to;
    HANDLE handle;
    struct naming *naming;
    size_t naming_bytes;
};

static void two_end(struct two *two) {
    if (two->handle != NULL) (void)CloseHandle(two->handle);
    free(two->naming);
    ferry__win_path_end(&two->from);
    ferry__win_path_end(&two->to);
}

static int naming_make(struct two *two) {
    size_t bytes = two->to.len * sizeof(wchar_t);
    two->naming_bytes = sizeof *two->naming + bytes;
    two->naming = calloc(1, two->naming_bytes);
    if (two->naming == NULL) return FERRY_ENOMEM;
    two->naming->dir = two->to.dir;
    two->naming->bytes = (ULONG)bytes;
    memcpy(two->naming->name, two->to.name, bytes);
    return 0;
}

/* To be ended in any case. */
static int two_make(struct two *two, const ferry_op *op, ACCESS_MASK access) {
    *two = (struct two){.handle = NULL};
    int error = ferry__win_path_make(&two->from, op->fd, op->buf);
    if (error != 0) return error;
    error = ferry__win_path_make(&two->to, (ferry_fd)(int64_t)op->more,
                                 (const char *)(uintptr_t)op->offset);
    if (error != 0) return error;
    NTSTATUS result = ferry__win_open(&two->from, access, FILE_OPEN, WHOLE, &two->handle);
    if (result != STATUS_SUCCESS) return ferry__win_path_error(&two->from, result);
    return naming_make(two);
}

/* The second name's: 0 or an error. */
static int look(const struct two *two, FILE_ATTRIBUTE_TAG_INFO *about, HANDLE *handle) {
    NTSTATUS result = ferry__win_open(&two->to, FILE_READ_ATTRIBUTES, FILE_OPEN, WHOLE, handle);
    if (result != STATUS_SUCCESS) return ferry__win_path_error(&two->to, result);
    int error = ferry__win_tag(*handle, about);
    if (error != 0) (void)CloseHandle(*handle);
    return error;
}

static bool is_directory(const FILE_ATTRIBUTE_TAG_INFO *about) {
    return about->FileAttributes & FILE_ATTRIBUTE_DIRECTORY &&
           !ferry__win_is_link(about->FileAttributes, about->ReparseTag);
}

/* A file does not take a directory's place, nor a directory a file's. */
static int places_fit(const struct two *two, bool from_is_directory, bool *to_is_directory) {
    FILE_ATTRIBUTE_TAG_INFO to;
    HANDLE handle = NULL;
    int error = look(two, &to, &handle);
    *to_is_directory = false;
    if (error == FERRY_ENOENT)
        return from_is_directory || !two->to.is_directory ? 0 : FERRY_ENOTDIR;
    if (error == FERRY_ENOTDIR || error == FERRY_EACCES) return error == FERRY_EACCES ? 0 : error;
    if (error != 0) return 0; /* the rename finds out for itself */
    (void)CloseHandle(handle);
    *to_is_directory = is_directory(&to);
    if (from_is_directory && !*to_is_directory) return FERRY_ENOTDIR;
    return !from_is_directory && *to_is_directory ? FERRY_EISDIR : 0;
}

/* Would a directory come to lie in itself? Its path is then where the other begins. */
static bool lies_in_itself(const struct two *two) {
    wchar_t *from = NULL, *to = NULL;
    struct ferry__win_path above = two->to;
    HANDLE dir = NULL;
    size_t root = above.dir == NULL ? 4 : 0; /* behind "\??\" */
    bool inside = false;
    while (above.len > root && above.name[above.len - 1] != L'\\') above.len--;
    if (above.len > root) above.len--;
    if (ferry__win_open(&above, FILE_READ_ATTRIBUTES, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT,
                        &dir) != STATUS_SUCCESS) {
        return false;
    }
    if (ferry__win_path_of(two->handle, &from) == 0 && ferry__win_path_of(dir, &to) == 0) {
        size_t len = wcslen(from);
        inside = _wcsnicmp(from, to, len) == 0 && (to[len] == L'\\' || to[len] == L'\0');
    }
    (void)CloseHandle(dir);
    free(from);
    free(to);
    return inside;
}

static NTSTATUS rename_once(const struct two *two, bool replaces) {
    two->naming->how.flags = NAME_POSIX | (replaces ? NAME_REPLACE | NAME_REPLACE_READ_ONLY : 0);
    NTSTATUS result = set(two->handle, two->naming, two->naming_bytes, FERRY__RENAME_EX);
    if (is_unknown(result)) { /* before Windows 10 1809 */
        two->naming->how.flags &= ~NAME_REPLACE_READ_ONLY;
        result = set(two->handle, two->naming, two->naming_bytes, FERRY__RENAME_EX);
    }
    if (!is_unknown(result)) return result;
    two->naming->how.flags = 0;
    two->naming->how.replace = replaces;
    return set(two->handle, two->naming, two->naming_bytes, FileRenameInformation);
}

/* A directory that is replaced by another has to be empty. File systems that cannot replace one do
 * so in two steps: whoever looks in between finds neither. */
static NTSTATUS directory_replace(const struct two *two, int *error) {
    HANDLE other = NULL;
    NTSTATUS result = ferry__win_open(&two->to, DELETE | FILE_READ_ATTRIBUTES, FILE_OPEN, WHOLE,
                                      &other);
    if (result != STATUS_SUCCESS) return result;
    *error = remove_open(other, true);
    (void)CloseHandle(other);
    return *error == 0 ? rename_once(two, false) : STATUS_SUCCESS;
}

static int rename_two(const struct two *two, unsigned asked) {
    FILE_ATTRIBUTE_TAG_INFO from;
    bool to_is_directory = false, replaces = !(asked & FERRY_NOREPLACE);
    int error = ferry__win_tag(two->handle, &from);
    if (error == 0 && two->from.is_directory && !is_directory(&from)) error = FERRY_ENOTDIR;
    if (error == 0 && replaces) error = places_fit(two, is_directory(&from), &to_is_directory);
    if (error != 0) return error;
    NTSTATUS result = rename_once(two, replaces);
    if (result == STATUS_SUCCESS) return 0;
    if (is_directory(&from) && lies_in_itself(two)) return FERRY_EINVAL;
    if (to_is_directory && result != STATUS_DIRECTORY_NOT_EMPTY && replaces) {
        result = directory_replace(two, &error);
        if (error != 0) return error;
    }
    return result == STATUS_SUCCESS ? 0 : ferry__win_path_error(&two->to, result);
}

int64_t ferry__win_rename(const ferry_op *op) {
    struct two two;
    if (op->asked & FERRY_EXCHANGE) return FERRY_ENOTSUP;
    int error = two_make(&two, op, DELETE | FILE_READ_ATTRIBUTES);
    if (error == 0) error = rename_two(&two, op->asked);
    two_end(&two);
    return error;
}

int64_t ferry__win_hard_link(const ferry_op *op) {
    struct two two;
    FILE_ATTRIBUTE_TAG_INFO from;
    int error = two_make(&two, op, FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES);
    if (error == 0) error = ferry__win_tag(two.handle, &from);
    if (error == 0 && is_directory(&from)) error = FERRY_EPERM;
    if (error == 0 && two.from.is_directory) error = FERRY_ENOTDIR;
    if (error == 0 && two.to.is_directory) error = FERRY_ENOENT;
    if (error == 0) {
        NTSTATUS result = set(two.handle, two.naming, two.naming_bytes, FileLinkInformation);
        if (result != STATUS_SUCCESS) error = ferry__win_path_error(&two.to, result);
    }
    two_end(&two);
    return error;
}

/* ---- Symbolic links ------------------------------------------------------------------------ */

/* A link says whether it leads to a directory: as it does now, if it leads anywhere. */
static bool leads_to_directory(const struct ferry__win_path *path, const wchar_t *target) {
    struct ferry__win_path above = *path;
    FILE_STANDARD_INFO about = {.Directory = FALSE};
    HANDLE handle = NULL;
    char text[4 * MAX_PATH];
    ferry_fd dir = FERRY_FD_NONE;
    size_t bytes = ferry__win_narrow(target, wcslen(target), text, sizeof text - 1);
    size_t root = above.dir == NULL ? 4 : 0;
    if (bytes == 0 || bytes >= sizeof text) return false;
    text[bytes] = '\0';
    while (above.len > root && above.name[above.len - 1] != L'\\') above.len--;
    if (ferry__win_open(&above, FILE_TRAVERSE, FILE_OPEN,
                        FILE_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT,
                        &handle) == STATUS_SUCCESS) {
        dir = ferry__win_fd(handle);
    }
    struct ferry__win_path to;
    if (ferry__win_path_make(&to, dir, text) == 0) {
        HANDLE end = NULL;
        if (ferry__win_open(&to, FILE_READ_ATTRIBUTES, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT,
                            &end) == STATUS_SUCCESS) {
            (void)GetFileInformationByHandleEx(end, FileStandardInfo, &about, sizeof about);
            (void)CloseHandle(end);
        }
        ferry__win_path_end(&to);
    }
    if (handle != NULL) (void)CloseHandle(handle);
    return about.Directory;
}

/* The path of a link as CreateSymbolicLinkW() takes it, malloc()ed: "\\?\C:\...". */
static int text_of(const struct ferry__win_path *path, wchar_t **text) {
    wchar_t *base = NULL;
    size_t base_len = 0;
    int error = path->dir == NULL ? 0 : ferry__win_path_of(path->dir, &base);
    if (error != 0) return error;
    if (base != NULL) base_len = wcslen(base);
    *text = malloc((base_len + path->len + 2) * sizeof **text);
    if (*text != NULL) {
        wchar_t *at = *text;
        if (base != NULL) {
            memcpy(at, base, base_len * sizeof *at);
            at += base_len;
            *at++ = L'\\';
        }
        memcpy(at, path->name, (path->len + 1) * sizeof *at);
        (*text)[1] = L'\\'; /* "\??\" is the kernel's for "\\?\" */
    }
    free(base);
    return *text != NULL ? 0 : FERRY_ENOMEM;
}

static int symlink_make(const struct ferry__win_path *path, wchar_t *target) {
    wchar_t *text = NULL;
    int error = text_of(path, &text);
    if (error != 0) return error;
    for (wchar_t *at = target; *at != L'\0'; at++) {
        if (*at == L'/') *at = L'\\'; /* as the system follows it */
    }
    DWORD flags = leads_to_directory(path, target) ? SYMBOLIC_LINK_FLAG_DIRECTORY : 0;
    if (!CreateSymbolicLinkW(text, target, flags | SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE) &&
        (GetLastError() != ERROR_INVALID_PARAMETER || /* the flag: before Windows 10 1703 */
         !CreateSymbolicLinkW(text, target, flags))) {
        DWORD code = GetLastError();
        error = code == ERROR_PRIVILEGE_NOT_HELD ? FERRY_EPERM : ferry__win_error(code);
    }
    free(text);
    return error;
}

int64_t ferry__win_symlink(const ferry_op *op) {
    struct ferry__win_path path;
    wchar_t *target = NULL;
    int64_t len = ferry__win_wide(op->buf, &target);
    if (len < 0) return len;
    int error = len == 0 ? FERRY_ENOENT
                         : ferry__win_path_make(&path, op->fd, (const char *)(uintptr_t)op->offset);
    if (error == 0) {
        error = path.is_directory ? FERRY_ENOENT : symlink_make(&path, target);
        ferry__win_path_end(&path);
    }
    free(target);
    return error;
}
