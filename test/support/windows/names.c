/* names.c - what has a name: files looked at, made and removed by path
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include <stdio.h>
#include <time.h>
#include <winioctl.h>

#include "support.h"

#define SHARED (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

/* As posix.h has it. */
struct posix_stat {
    uint64_t st_dev, st_ino, st_nlink, st_rdev;
    unsigned st_mode, st_uid, st_gid;
    int64_t st_size, st_blksize, st_blocks;
    struct timespec st_atim, st_mtim, st_ctim;
};

int posix_fstat(posix_fd fd, struct posix_stat *about);
int posix_stat(const char *path, struct posix_stat *about);
int posix_lstat(const char *path, struct posix_stat *about);
int posix_fstatat(posix_fd dir, const char *path, struct posix_stat *about, int flags);
int posix_mkdir(const char *path, unsigned mode);
int posix_mkdirat(posix_fd dir, const char *path, unsigned mode);
int posix_rmdir(const char *path);
int posix_unlink(const char *path);
int posix_unlinkat(posix_fd dir, const char *path, int flags);
int posix_rename(const char *from, const char *to);
int posix_link(const char *from, const char *to);
int posix_symlink(const char *to, const char *path);
int posix_symlinkat(const char *to, posix_fd dir, const char *path);
intptr_t posix_readlink(const char *path, char *buf, size_t len);
int posix_access(const char *path, int how);
int posix_chdir(const char *path);
char *posix_getcwd(char *path, size_t size);
char *posix_realpath(const char *path, char *resolved);
char *posix_mkdtemp(char *path);
int posix_chmod(const char *path, unsigned mode);
int posix_fchmod(posix_fd fd, unsigned mode);
int posix_fchown(posix_fd fd, unsigned user, unsigned group);
unsigned posix_umask(unsigned mask);
int posix_utimensat(posix_fd dir, const char *path, const struct timespec times[2], int flags);
void tree_remove(const wchar_t *path);
int has_links(void);

/* ---- Looking -------------------------------------------------------------------------------- */

static struct timespec time_of(LARGE_INTEGER time) {
    int64_t since = time.QuadPart - INT64_C(116444736000000000);
    return (struct timespec){since / 10000000, (long)(since % 10000000 * 100)};
}

static unsigned mode_of(HANDLE handle, DWORD attributes) {
    FILE_ATTRIBUTE_TAG_INFO tag = {0, 0};
    unsigned rights = attributes & FILE_ATTRIBUTE_READONLY ? 0444 : 0666;
    if (attributes & FILE_ATTRIBUTE_REPARSE_POINT &&
        GetFileInformationByHandleEx(handle, FileAttributeTagInfo, &tag, sizeof tag) &&
        tag.ReparseTag == IO_REPARSE_TAG_SYMLINK) {
        return 0xa000 | 0777;
    }
    return attributes & FILE_ATTRIBUTE_DIRECTORY ? 0x4000 | 0111 | rights : 0x8000 | rights;
}

static int look(HANDLE handle, struct posix_stat *about) {
    BY_HANDLE_FILE_INFORMATION file;
    FILE_BASIC_INFO basic;
    FILE_STANDARD_INFO standard;
    memset(about, 0, sizeof *about);
    switch (GetFileType(handle)) {
    case FILE_TYPE_CHAR: about->st_mode = 0x2000 | 0666; return 0;
    case FILE_TYPE_PIPE:
        about->st_mode = (is_socket((posix_fd)handle) ? 0xc000 : 0x1000) | 0600;
        return 0;
    default: break;
    }
    if (!GetFileInformationByHandle(handle, &file) ||
        !GetFileInformationByHandleEx(handle, FileBasicInfo, &basic, sizeof basic) ||
        !GetFileInformationByHandleEx(handle, FileStandardInfo, &standard, sizeof standard)) {
        return failed();
    }
    about->st_dev = file.dwVolumeSerialNumber;
    about->st_ino = (uint64_t)file.nFileIndexHigh << 32 | file.nFileIndexLow;
    about->st_nlink = file.nNumberOfLinks;
    about->st_mode = mode_of(handle, file.dwFileAttributes);
    about->st_size = standard.EndOfFile.QuadPart;
    about->st_blksize = 4096;
    about->st_blocks = standard.AllocationSize.QuadPart / 512;
    about->st_atim = time_of(basic.LastAccessTime);
    about->st_mtim = time_of(basic.LastWriteTime);
    about->st_ctim = time_of(basic.ChangeTime);
    return 0;
}

static HANDLE look_open(const char *path, DWORD access, DWORD flags) {
    const wchar_t *name = wide(path);
    if (!name) return INVALID_HANDLE_VALUE;
    HANDLE handle = CreateFileW(name, access, SHARED, NULL, OPEN_EXISTING,
                                FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
    if (handle == INVALID_HANDLE_VALUE) failed();
    return handle;
}

static int look_at(const char *path, struct posix_stat *about, DWORD flags) {
    HANDLE handle = look_open(path, FILE_READ_ATTRIBUTES, flags);
    if (handle == INVALID_HANDLE_VALUE) return -1;
    int result = look(handle, about);
    CloseHandle(handle);
    return result;
}

int posix_fstat(posix_fd fd, struct posix_stat *about) {
    DWORD flags;
    if (fd == -1 || !GetHandleInformation(handle_of(fd), &flags)) {
        errno = ERROR_INVALID_HANDLE;
        return -1;
    }
    return look(handle_of(fd), about);
}

int posix_stat(const char *path, struct posix_stat *about) {
    return look_at(path, about, 0);
}

int posix_lstat(const char *path, struct posix_stat *about) {
    return look_at(path, about, FILE_FLAG_OPEN_REPARSE_POINT);
}

/* The path of what a handle has open, with a name behind it. */
static const char *behind(posix_fd dir, const char *path) {
    static __thread char texts[2][2048];
    static __thread unsigned next;
    wchar_t at[1024];
    char text[1024] = "";
    if (dir == -100) return path;
    DWORD len = GetFinalPathNameByHandleW(handle_of(dir), at, 1024, 0);
    if (len == 0 || len >= 1024) return "";
    WideCharToMultiByte(CP_UTF8, 0, at, -1, text, sizeof text, NULL, NULL);
    char *whole = texts[next++ % 2];
    snprintf(whole, sizeof texts[0], "%s\\%s", text, path);
    return whole;
}

int posix_fstatat(posix_fd dir, const char *path, struct posix_stat *about, int flags) {
    return look_at(behind(dir, path), about, flags & 1 ? FILE_FLAG_OPEN_REPARSE_POINT : 0);
}

int posix_access(const char *path, int how) {
    struct posix_stat about;
    (void)how;
    return posix_stat(path, &about);
}

/* ---- Making and removing -------------------------------------------------------------------- */

int posix_mkdir(const char *path, unsigned mode) {
    const wchar_t *name = wide(path);
    (void)mode;
    return name && CreateDirectoryW(name, NULL) ? 0 : failed();
}

int posix_mkdirat(posix_fd dir, const char *path, unsigned mode) {
    return posix_mkdir(behind(dir, path), mode);
}

int posix_rmdir(const char *path) {
    const wchar_t *name = wide(path);
    return name && RemoveDirectoryW(name) ? 0 : failed();
}

/* The name is gone at once, though it is open, where the system can do that. */
static int unlink_at_once(const wchar_t *name) {
    struct {
        DWORD flags;
    } how = {3}; /* FILE_DISPOSITION_FLAG_DELETE, POSIX_SEMANTICS */
    HANDLE handle = CreateFileW(name, DELETE, SHARED, NULL, OPEN_EXISTING,
                                FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    if (handle == INVALID_HANDLE_VALUE) return failed();
    BOOL ok = SetFileInformationByHandle(handle, (FILE_INFO_BY_HANDLE_CLASS)21, &how, sizeof how);
    CloseHandle(handle);
    return ok ? 0 : -1;
}

int posix_unlink(const char *path) {
    const wchar_t *name = wide(path);
    if (!name) return -1;
    if (unlink_at_once(name) == 0 || DeleteFileW(name)) return 0;
    return RemoveDirectoryW(name) ? 0 : failed(); /* a link to a directory */
}

int posix_unlinkat(posix_fd dir, const char *path, int flags) {
    path = behind(dir, path);
    return flags & 2 ? posix_rmdir(path) : posix_unlink(path);
}

/* Though what is of the new name is open. */
static BOOL rename_over(const wchar_t *from, const wchar_t *to) {
    union {
        FILE_RENAME_INFO how;
        char room[sizeof(FILE_RENAME_INFO) + 2 * 1024];
    } rename;
    wchar_t whole[1024];
    DWORD len = GetFullPathNameW(to, 1024, whole, NULL);
    if (len == 0 || len >= 1000) return FALSE;
    HANDLE handle = CreateFileW(from, DELETE | SYNCHRONIZE, SHARED, NULL, OPEN_EXISTING,
                                FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    if (handle == INVALID_HANDLE_VALUE) return FALSE;
    memset(&rename, 0, sizeof rename);
    *(DWORD *)&rename.how = 3; /* FILE_RENAME_FLAG_REPLACE_IF_EXISTS, POSIX_SEMANTICS */
    rename.how.FileNameLength = len * 2;
    memcpy(rename.how.FileName, whole, len * 2);
    BOOL ok = SetFileInformationByHandle(handle, (FILE_INFO_BY_HANDLE_CLASS)22, &rename,
                                         sizeof rename);
    CloseHandle(handle);
    return ok;
}

int posix_rename(const char *from, const char *to) {
    const wchar_t *one = wide(from), *other = wide(to);
    if (!one || !other) return -1;
    if (rename_over(one, other)) return 0;
    return MoveFileExW(one, other, MOVEFILE_REPLACE_EXISTING) ? 0 : failed();
}

int posix_link(const char *from, const char *to) {
    const wchar_t *one = wide(from), *other = wide(to);
    return one && other && CreateHardLinkW(other, one, NULL) ? 0 : failed();
}

/* Wine says that it has, and has not. */
int posix_symlink(const char *to, const char *path) {
    const wchar_t *target = wide(to), *name = wide(path);
    DWORD attributes = GetFileAttributesW(target);
    DWORD kind = attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY;
    BOOL ok = CreateSymbolicLinkW(name, target,
                                  kind | SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE);
    if (!ok && GetLastError() == ERROR_ALREADY_EXISTS) return failed();
    if (ok && GetFileAttributesW(name) != INVALID_FILE_ATTRIBUTES) return 0;
    return missing("symbolic links cannot be made here");
}

int has_links(void) {
    static int known = -1;
    const wchar_t *name = wide(temp_path("a link to be removed"));
    if (known >= 0) return known;
    known = CreateSymbolicLinkW(name, L"nowhere", SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE) &&
            GetFileAttributesW(name) != INVALID_FILE_ATTRIBUTES;
    DeleteFileW(name);
    return known;
}

int posix_symlinkat(const char *to, posix_fd dir, const char *path) {
    return posix_symlink(to, behind(dir, path));
}

intptr_t posix_readlink(const char *path, char *buf, size_t len) {
    (void)path;
    (void)buf;
    (void)len;
    return missing("the tests cannot read symbolic links here");
}

/* ---- The rest ------------------------------------------------------------------------------- */

int posix_chdir(const char *path) {
    const wchar_t *name = wide(path);
    return name && SetCurrentDirectoryW(name) ? 0 : failed();
}

char *posix_getcwd(char *path, size_t size) {
    wchar_t at[1024];
    DWORD len = GetCurrentDirectoryW(1024, at);
    if (len == 0 || len >= 1024) return NULL;
    return WideCharToMultiByte(CP_UTF8, 0, at, -1, path, (int)size, NULL, NULL) > 0 ? path : NULL;
}

/* With slashes, as the tests put names together, and without what makes a path long. */
char *posix_realpath(const char *path, char *resolved) {
    wchar_t at[1024];
    char text[1024] = "";
    HANDLE handle = look_open(path, FILE_READ_ATTRIBUTES, 0);
    if (handle == INVALID_HANDLE_VALUE) return NULL;
    DWORD len = GetFinalPathNameByHandleW(handle, at, 1024, 0);
    CloseHandle(handle);
    if (len == 0 || len >= 1024) return NULL;
    const wchar_t *from = wcsncmp(at, L"\\\\?\\", 4) == 0 ? at + 4 : at;
    WideCharToMultiByte(CP_UTF8, 0, from, -1, text, sizeof text, NULL, NULL);
    if (!resolved) return _strdup(text);
    strcpy(resolved, text);
    return resolved;
}

/* The six X at the end become a number that nobody else has. */
char *posix_mkdtemp(char *path) {
    static LONG count;
    char *end = path + strlen(path) - 6;
    for (int i = 0; i < 1000; i++) {
        unsigned number = (unsigned)GetCurrentProcessId() * 31 + GetTickCount() * 7 +
                          (unsigned)InterlockedIncrement(&count);
        snprintf(end, 7, "%06x", number & 0xffffffu);
        if (posix_mkdir(path, 0700) == 0) return path;
    }
    return NULL;
}

int posix_chmod(const char *path, unsigned mode) {
    const wchar_t *name = wide(path);
    if (!name) return -1;
    DWORD attributes = GetFileAttributesW(name);
    if (attributes == INVALID_FILE_ATTRIBUTES) return failed();
    attributes &= ~(DWORD)FILE_ATTRIBUTE_READONLY;
    if (!(mode & 0222)) attributes |= FILE_ATTRIBUTE_READONLY;
    return SetFileAttributesW(name, attributes) ? 0 : failed();
}

int posix_fchmod(posix_fd fd, unsigned mode) {
    (void)fd;
    (void)mode;
    return 0;
}

int posix_fchown(posix_fd fd, unsigned user, unsigned group) {
    (void)fd;
    (void)user;
    (void)group;
    return missing("files have no owner's number on Windows");
}

unsigned posix_umask(unsigned mask) {
    (void)mask;
    return 0;
}

static FILETIME time_to(struct timespec time) {
    uint64_t all = (uint64_t)(time.tv_sec * 10000000 + time.tv_nsec / 100 +
                              INT64_C(116444736000000000));
    return (FILETIME){(DWORD)all, (DWORD)(all >> 32)};
}

int posix_utimensat(posix_fd dir, const char *path, const struct timespec times[2], int flags) {
    FILETIME access = time_to(times[0]), write = time_to(times[1]);
    (void)flags;
    HANDLE handle = look_open(behind(dir, path), FILE_WRITE_ATTRIBUTES, 0);
    if (handle == INVALID_HANDLE_VALUE) return -1;
    BOOL ok = SetFileTime(handle, NULL, &access, &write);
    CloseHandle(handle);
    return ok ? 0 : failed();
}

/* A directory with all that is in it. */
void tree_remove(const wchar_t *path) {
    wchar_t inside[2048];
    WIN32_FIND_DATAW entry;
    if (wcslen(path) > 1500) return;
    swprintf(inside, 2048, L"%ls\\*", path);
    HANDLE find = FindFirstFileW(inside, &entry);
    for (BOOL more = find != INVALID_HANDLE_VALUE; more; more = FindNextFileW(find, &entry)) {
        if (wcscmp(entry.cFileName, L".") == 0 || wcscmp(entry.cFileName, L"..") == 0) continue;
        swprintf(inside, 2048, L"%ls\\%ls", path, entry.cFileName);
        if (entry.dwFileAttributes & FILE_ATTRIBUTE_READONLY) {
            SetFileAttributesW(inside, FILE_ATTRIBUTE_NORMAL);
        }
        bool is_link = entry.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT;
        if (entry.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY && !is_link) {
            tree_remove(inside);
        } else if (!DeleteFileW(inside)) {
            RemoveDirectoryW(inside);
        }
    }
    if (find != INVALID_HANDLE_VALUE) FindClose(find);
    RemoveDirectoryW(path);
}
