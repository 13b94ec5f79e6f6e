/* open.c - opening files: by a path, for another use of what is open, as ferry_open() asks.
 *
 * Everything is shared with everybody, to be deleted as well: so what is open can be renamed and
 * deleted, as on other systems. Nothing is overwritten while it is opened, which would take
 * attributes and streams from a file: it is opened, and then made empty.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>
#include <wchar.h>

#define LX_SYMLINK 0xa000001dul /* what WSL makes: tags that not every header has */
#define LX_FIFO 0x80000024ul
#define LX_CHARACTER 0x80000025ul
#define LX_BLOCK 0x80000026ul
#define UNIX_SOCKET 0x80000023ul
#define LINK_IS_RELATIVE 1u

/* ---- By a path --------------------------------------------------------------------------- */

static NTSTATUS create(HANDLE dir, wchar_t *text, size_t len, struct ferry__win_opening *opening) {
    UNICODE_STRING name = {.Buffer = text};
    name.Length = name.MaximumLength = (USHORT)(len * sizeof *text);
    OBJECT_ATTRIBUTES object = {.Length = sizeof object,
                                .RootDirectory = dir,
                                .ObjectName = &name,
                                .Attributes = OBJ_CASE_INSENSITIVE,
                                .SecurityDescriptor = opening->security};
    IO_STATUS_BLOCK status = {.Information = 0};
    HANDLE handle = NULL;
    NTSTATUS result = NtCreateFile(&handle, opening->access | SYNCHRONIZE, &object, &status, NULL,
                                   opening->attributes, FERRY__WIN_SHARED, opening->disposition,
                                   opening->options, NULL, 0);
    if (result == STATUS_SUCCESS) {
        opening->handle = handle;
        opening->existed = status.Information != FILE_CREATED;
    }
    return result;
}

/* With a slash at its end it is what a link leads to, and a directory. */
NTSTATUS ferry__win_open_as(const struct ferry__win_path *path,
                            struct ferry__win_opening *opening) {
    struct ferry__win_opening asked = *opening;
    bool wrong = path->is_directory && asked.options & FILE_NON_DIRECTORY_FILE;
    if (path->is_directory) {
        asked.options &= ~(ULONG)(FILE_OPEN_REPARSE_POINT | FILE_NON_DIRECTORY_FILE);
        asked.options |= FILE_DIRECTORY_FILE;
    }
    NTSTATUS result = create(path->dir, path->name, path->len, &asked);
    if (result == STATUS_SUCCESS && wrong) {
        (void)CloseHandle(asked.handle);
        return STATUS_FILE_IS_A_DIRECTORY;
    }
    opening->handle = asked.handle;
    opening->existed = asked.existed;
    return result;
}

NTSTATUS ferry__win_open(const struct ferry__win_path *path, ACCESS_MASK access, ULONG disposition,
                         ULONG options, HANDLE *handle) {
    struct ferry__win_opening opening = {.access = access,
                                         .disposition = disposition,
                                         .options = options,
                                         .attributes = FILE_ATTRIBUTE_NORMAL};
    NTSTATUS result = ferry__win_open_as(path, &opening);
    if (result == STATUS_SUCCESS) *handle = opening.handle;
    return result;
}

static int reopen(HANDLE handle, ACCESS_MASK access, ULONG options, HANDLE *again) {
    wchar_t nothing[1] = L"";
    struct ferry__win_opening opening = {
        .access = access,
        .disposition = FILE_OPEN,
        .options = options | FILE_OPEN_REPARSE_POINT,
    };
    NTSTATUS result = create(handle, nothing, 0, &opening);
    if (result != STATUS_SUCCESS) return ferry__win_status(result);
    *again = opening.handle;
    return 0;
}

int ferry__win_reopen(HANDLE handle, ACCESS_MASK access, HANDLE *again) {
    return reopen(handle, access, FILE_SYNCHRONOUS_IO_NONALERT, again);
}

int ferry__win_reopen_overlapped(HANDLE handle, ACCESS_MASK access, HANDLE *again) {
    return reopen(handle, access, 0, again);
}

int ferry__win_open_name(const ferry_op *op, ACCESS_MASK access, HANDLE *handle) {
    struct ferry__win_path path;
    ULONG options = FILE_SYNCHRONOUS_IO_NONALERT;
    if (op->asked & FERRY_NOFOLLOW) options |= FILE_OPEN_REPARSE_POINT;
    int error = ferry__win_path_make(&path, op->fd, op->buf);
    if (error != 0) return error;
    NTSTATUS result = ferry__win_open(&path, access, FILE_OPEN, options, handle);
    if (result != STATUS_SUCCESS) error = ferry__win_path_error(&path, result);
    ferry__win_path_end(&path);
    return error;
}

/* ---- What stands in the place of a file ---------------------------------------------------- */

bool ferry__win_is_link(DWORD attributes, DWORD tag) {
    if (!(attributes & FILE_ATTRIBUTE_REPARSE_POINT)) return false;
    return tag == (DWORD)IO_REPARSE_TAG_SYMLINK || tag == (DWORD)IO_REPARSE_TAG_MOUNT_POINT ||
           tag == LX_SYMLINK;
}

enum ferry_file_type ferry__win_type(DWORD attributes, DWORD tag) {
    if (ferry__win_is_link(attributes, tag)) return FERRY_FILE_SYMLINK;
    if (attributes & FILE_ATTRIBUTE_DIRECTORY) return FERRY_FILE_DIRECTORY;
    if (!(attributes & FILE_ATTRIBUTE_REPARSE_POINT)) return FERRY_FILE_REGULAR;
    switch (tag) {
    case UNIX_SOCKET: return FERRY_FILE_SOCKET;
    case LX_FIFO: return FERRY_FILE_FIFO;
    case LX_CHARACTER: return FERRY_FILE_CHARACTER;
    case LX_BLOCK: return FERRY_FILE_BLOCK;
    default: return FERRY_FILE_REGULAR; /* kept elsewhere, compressed, ... */
    }
}

/* File systems without such tags do not know the question. */
int ferry__win_tag(HANDLE handle, FILE_ATTRIBUTE_TAG_INFO *about) {
    FILE_BASIC_INFO basic;
    if (GetFileInformationByHandleEx(handle, FileAttributeTagInfo, about, sizeof *about)) return 0;
    if (!GetFileInformationByHandleEx(handle, FileBasicInfo, &basic, sizeof basic)) {
        return ferry__win_last_error();
    }
    about->FileAttributes = basic.FileAttributes & ~(DWORD)FILE_ATTRIBUTE_REPARSE_POINT;
    about->ReparseTag = 0;
    return 0;
}

/* How the system stores a link. */
struct link {
    ULONG tag;
    USHORT bytes, reserved;
    USHORT substitute_at, substitute_bytes, print_at, print_bytes;
    ULONG flags; /* of a symbolic link; of a mount point the names begin here */
};

/* Both names of a link lie in there: as it is to be shown if there is that, else as it is followed.
 */
static int64_t target_take(const unsigned char *data, size_t bytes, wchar_t **target,
                           bool *absolute) {
    struct link link;
    if (bytes < offsetof(struct link, flags)) return FERRY_EINVAL;
    memset(&link, 0, sizeof link);
    memcpy(&link, data, bytes < sizeof link ? bytes : sizeof link);
    bool mounts = link.tag == (ULONG)IO_REPARSE_TAG_MOUNT_POINT;
    if (!mounts && link.tag != (ULONG)IO_REPARSE_TAG_SYMLINK) return FERRY_EINVAL;
    size_t names = mounts ? offsetof(struct link, flags) : sizeof link;
    size_t at = link.print_at, len = link.print_bytes;
    *absolute = mounts || !(link.flags & LINK_IS_RELATIVE);
    if (len == 0) {
        at = link.substitute_at;
        len = link.substitute_bytes;
    }
    if (names + at + len > bytes) return FERRY_EIO;
    *target = malloc(len + sizeof **target);
    if (*target == NULL) return FERRY_ENOMEM;
    memcpy(*target, data + names + at, len);
    return (int64_t)(len / sizeof **target);
}

int64_t ferry__win_link_target(HANDLE handle, wchar_t **target, bool *absolute) {
    unsigned char *data = malloc(MAXIMUM_REPARSE_DATA_BUFFER_SIZE);
    DWORD bytes = 0;
    if (data == NULL) return FERRY_ENOMEM;
    int64_t result;
    if (DeviceIoControl(handle, FSCTL_GET_REPARSE_POINT, NULL, 0, data,
                        MAXIMUM_REPARSE_DATA_BUFFER_SIZE, &bytes, NULL)) {
        result = target_take(data, bytes, target, absolute);
    } else {
        DWORD code = GetLastError();
        bool none = code == ERROR_NOT_A_REPARSE_POINT || code == ERROR_INVALID_FUNCTION ||
                    code == ERROR_NOT_SUPPORTED;
        result = none ? FERRY_EINVAL : ferry__win_error(code);
    }
    free(data);
    return result;
}

/* ---- As ferry_open() asks ------------------------------------------------------------------ */

/* Past the cache the system refuses the right to append, which whoever may write does not need. */
static ACCESS_MASK access_of(unsigned how) {
    ACCESS_MASK access = FILE_READ_ATTRIBUTES;
    if (how & FERRY_OPEN_READ) access |= FILE_GENERIC_READ;
    if (how & FERRY_OPEN_WRITE) access |= FILE_GENERIC_WRITE;
    if (how & FERRY_OPEN_APPEND) {
        access &= ~(ACCESS_MASK)FILE_WRITE_DATA;
    } else if (how & FERRY_OPEN_DIRECT) {
        access &= ~(ACCESS_MASK)FILE_APPEND_DATA;
    }
    return access;
}

static ULONG options_of(unsigned how) {
    ULONG options = 0;
    if (how & FERRY_OPEN_DIRECTORY) {
        options |= FILE_DIRECTORY_FILE;
    } else if (how & (FERRY_OPEN_WRITE | FERRY_OPEN_CREATE)) {
        options |= FILE_NON_DIRECTORY_FILE;
    }
    if (how & FERRY_OPEN_DIRECT) options |= FILE_NO_INTERMEDIATE_BUFFERING;
    if (how & FERRY_OPEN_DSYNC) options |= FILE_WRITE_THROUGH;
    /* A new file is made, or nothing: not what a link leads to. */
    if (how & FERRY_OPEN_CREATE && how & FERRY_OPEN_EXCLUSIVE) options |= FILE_OPEN_REPARSE_POINT;
    return options;
}

static ULONG disposition_of(unsigned how) {
    if (!(how & FERRY_OPEN_CREATE)) return FILE_OPEN;
    return how & FERRY_OPEN_EXCLUSIVE ? FILE_CREATE : FILE_OPEN_IF;
}

/* Not what a link leads to. What else may stand in the place of a file is opened as usual. */
static int open_unfollowed(const struct ferry__win_path *path, struct ferry__win_opening *opening) {
    FILE_ATTRIBUTE_TAG_INFO about;
    struct ferry__win_opening first = *opening;
    first.options |= FILE_OPEN_REPARSE_POINT;
    NTSTATUS result = ferry__win_open_as(path, &first);
    if (result != STATUS_SUCCESS) return ferry__win_path_error(path, result);
    opening->handle = first.handle;
    opening->existed = first.existed;
    int error = ferry__win_tag(first.handle, &about);
    if (error == 0 && !(about.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)) return 0;
    (void)CloseHandle(first.handle);
    if (error != 0) return error;
    if (ferry__win_is_link(about.FileAttributes, about.ReparseTag)) return FERRY_ELOOP;
    result = ferry__win_open_as(path, opening);
    return result == STATUS_SUCCESS ? 0 : ferry__win_path_error(path, result);
}

/* The console has names that are no paths. */
static bool is_console(const char *path) {
    return _stricmp(path, "CONIN$") == 0 || _stricmp(path, "CONOUT$") == 0;
}

static int open_console(const char *path, struct ferry__win_opening *opening) {
    HANDLE handle = CreateFileA(path, GENERIC_READ | GENERIC_WRITE,
                                FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (handle == INVALID_HANDLE_VALUE) return ferry__win_last_error();
    opening->handle = handle;
    opening->existed = false; /* nothing to be made empty */
    return 0;
}

static int open_path(const ferry_op *op, struct ferry__win_opening *opening) {
    struct ferry__win_path path;
    unsigned how = (unsigned)op->offset;
    int error = ferry__win_path_make(&path, op->fd, op->buf);
    if (error != 0) return error;
    if (path.is_directory && how & FERRY_OPEN_CREATE) {
        error = FERRY_EISDIR;
    } else if (how & FERRY_OPEN_NOFOLLOW && !path.is_directory) {
        error = open_unfollowed(&path, opening);
    } else {
        NTSTATUS result = ferry__win_open_as(&path, opening);
        if (result != STATUS_SUCCESS) error = ferry__win_path_error(&path, result);
    }
    ferry__win_path_end(&path);
    return error;
}

static int open_beneath(const ferry_op *op, struct ferry__win_opening *opening) {
    struct ferry__win_path path;
    bool follows = !(op->offset & FERRY_OPEN_NOFOLLOW);
    HANDLE dir = ferry__win_handle(op->fd);
    if (op->fd != FERRY_FD_NONE) return ferry__win_open_beneath(dir, op->buf, follows, opening);
    int error = ferry__win_path_make(&path, FERRY_FD_NONE, ".");
    if (error != 0) return error;
    NTSTATUS result = ferry__win_open(&path, FILE_TRAVERSE, FILE_OPEN,
                                      FILE_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT, &dir);
    ferry__win_path_end(&path);
    if (result != STATUS_SUCCESS) return ferry__win_status(result);
    error = ferry__win_open_beneath(dir, op->buf, follows, opening);
    (void)CloseHandle(dir);
    return error;
}

int64_t ferry__win_open_file(const ferry_op *op) {
    unsigned how = (unsigned)op->offset;
    if (how & FERRY_OPEN_CREATE && how & FERRY_OPEN_DIRECTORY) return FERRY_EINVAL;
    if (how & FERRY_OPEN_APPEND && how & FERRY_OPEN_DIRECT) return FERRY_EINVAL;
    bool wrong = how & FERRY_OPEN_DIRECTORY && how & FERRY_OPEN_WRITE;
    struct ferry__win_opening opening = {
        .access = access_of(wrong ? FERRY_OPEN_READ : how),
        .disposition = disposition_of(how),
        .options = options_of(how),
        .attributes = how & FERRY_OPEN_CREATE && !(op->len & 0200u) ? FILE_ATTRIBUTE_READONLY
                                                                    : FILE_ATTRIBUTE_NORMAL,
    };
    int error = op->asked & FERRY_BENEATH ? open_beneath(op, &opening)
                : is_console(op->buf)     ? open_console(op->buf, &opening)
                                          : open_path(op, &opening);
    if (error != 0) return error;
    if (wrong) {
        error = FERRY_EISDIR;
    } else if (how & FERRY_OPEN_TRUNCATE && opening.existed) {
        error = ferry__win_is_on_disk(opening.handle) ? (int)ferry__win_truncate(opening.handle, 0)
                                                      : 0;
    }
    if (error == 0) return ferry__win_fd(opening.handle);
    (void)CloseHandle(opening.handle);
    return error;
}
