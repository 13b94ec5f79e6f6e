/* files.h - files, as the worker threads open, ask and change them.
 *
 * The kernel's own calls take a path relative to the handle of a directory, say exactly what went
 * wrong, and know no limit of length: names are opened by them, and what is then done is done to
 * what is open. Handles made here are never inherited.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_WIN_FILES_H
#define FERRY_WIN_FILES_H

#include "core.h"
#include "win.h"

#include <winioctl.h>

FERRY__OWN_BEGIN

/* ---- Paths (paths.c) ------------------------------------------------------------------------ */

/* UTF-8 to UTF-16 with a 0, malloc()ed: its length, or FERRY_EILSEQ, FERRY_ENOMEM. */
int64_t ferry__win_wide(const char *text, wchar_t **wide);
/* UTF-16 to UTF-8, without a 0: the bytes that all of it has, written as far as whole characters
 * fit into the room. */
size_t ferry__win_narrow(const wchar_t *wide, size_t len, char *buf, size_t room);

/* A path as the kernel takes it. */
struct ferry__win_path {
    HANDLE dir;        /* to which it is relative; NULL: it is absolute, "\??\C:\..." */
    wchar_t *name;     /* malloc()ed */
    size_t len;        /* characters */
    bool is_directory; /* it ended with a slash */
};

/* dir may be FERRY_FD_NONE. 0 and a path to be ended, or an error. */
int ferry__win_path_make(struct ferry__win_path *path, ferry_fd dir, const char *text);
void ferry__win_path_end(struct ferry__win_path *path);
/* Our number for what opening it came to. */
int ferry__win_path_error(const struct ferry__win_path *path, NTSTATUS status);
/* Where what is open lies now, "\\?\C:\...", malloc()ed: 0 or an error. */
int ferry__win_path_of(HANDLE handle, wchar_t **text);

/* ---- Opening (open.c, beneath.c, private.c) -------------------------------------------------- */

/* Classes of information that not every header names. */
#define FERRY__DISPOSITION_EX ((FILE_INFORMATION_CLASS)64)
#define FERRY__RENAME_EX ((FILE_INFORMATION_CLASS)65)
#define FERRY__LINK_EX ((FILE_INFORMATION_CLASS)72)

#define FERRY__WIN_SHARED (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

/* What is asked of an open, and what it came to. */
struct ferry__win_opening {
    ACCESS_MASK access; /* and SYNCHRONIZE in any case */
    ULONG disposition;  /* FILE_OPEN, ... */
    ULONG options;      /* without FILE_SYNCHRONOUS_IO_...: overlapped */
    ULONG attributes;   /* of a file that is made */
    void *security;     /* its SECURITY_DESCRIPTOR; NULL: as the directory says */
    HANDLE handle;      /* out */
    bool existed;       /* out: it was there before */
};

NTSTATUS ferry__win_open_as(const struct ferry__win_path *path, struct ferry__win_opening *opening);
NTSTATUS ferry__win_open(const struct ferry__win_path *path, ACCESS_MASK access, ULONG disposition,
                         ULONG options, HANDLE *handle);
/* Another handle for what is open, by which calls wait, or an overlapped one: 0 or an error. */
int ferry__win_reopen(HANDLE handle, ACCESS_MASK access, HANDLE *again);
int ferry__win_reopen_overlapped(HANDLE handle, ACCESS_MASK access, HANDLE *again);
/* Opens for what is asked of a name: calls wait. With FERRY_NOFOLLOW links themselves. */
int ferry__win_open_name(const ferry_op *op, ACCESS_MASK access, HANDLE *handle);
int64_t ferry__win_open_file(const ferry_op *op);
/* A file (or directory) that nobody else may open: its descriptor, or 0; an error. */
int64_t ferry__win_make_private(const ferry_op *op);
/* Opens what path, in UTF-8, means beneath dir, as opening says. Where a link stood in the last
 * place that is not to be followed: FERRY_ELOOP. */
int ferry__win_open_beneath(HANDLE dir, const char *path, bool follows,
                            struct ferry__win_opening *opening);

/* What stands where, by the tag of what is there instead of a file: 0, a link of either kind. */
bool ferry__win_is_link(DWORD attributes, DWORD tag);
/* The same of what is open. */
int ferry__win_tag(HANDLE handle, FILE_ATTRIBUTE_TAG_INFO *about);
enum ferry_file_type ferry__win_type(DWORD attributes, DWORD tag);

/* Where a link leads, as it is stored, without a 0: malloc()ed, its length; FERRY_EINVAL if it is
 * no link. *absolute: not relative to where it is. */
int64_t ferry__win_link_target(HANDLE handle, wchar_t **target, bool *absolute);

/* ---- Names and what is open (entries.c, files.c, list.c) ----------------------------------- */

int64_t ferry__win_rename(const ferry_op *op);
int64_t ferry__win_hard_link(const ferry_op *op);
int64_t ferry__win_symlink(const ferry_op *op);
int64_t ferry__win_remove(const ferry_op *op, bool directory);
int64_t ferry__win_mkdir(const ferry_op *op);

int64_t ferry__win_stat(const ferry_op *op);
int64_t ferry__win_times(const ferry_op *op);
int64_t ferry__win_chmod(const ferry_op *op);
int64_t ferry__win_chown(const ferry_op *op);
int64_t ferry__win_access(const ferry_op *op);
int64_t ferry__win_truncate(HANDLE handle, uint64_t length);
int64_t ferry__win_allocate(HANDLE handle, uint64_t offset, uint64_t len);
int64_t ferry__win_sync(HANDLE handle, bool data_only);
int64_t ferry__win_list(HANDLE handle, char *buf, size_t len, bool restart);
/* The handle is about to be closed. */
void ferry__win_list_forget(HANDLE handle);
/* May it be read or written at an offset: is it a file, of those that lie in a directory? */
bool ferry__win_is_on_disk(HANDLE handle);

/* ---- Transfers (transfer.c, console.c) ------------------------------------------------------ */

/* What op, a read or write, wants from op->transferred on, by calls that wait: bytes, 0 at the end,
 * or an error. Whatever kind of handle. */
int64_t ferry__win_transfer(const ferry_op *op, bool reads);
/* One piece at an offset. */
int64_t ferry__win_read_at(HANDLE handle, void *buf, size_t len, uint64_t offset);
int64_t ferry__win_write_at(HANDLE handle, const void *buf, size_t len, uint64_t offset);
int64_t ferry__win_copy(const ferry_op *op);
int64_t ferry__win_console_read(HANDLE handle, char *buf, size_t len);
int64_t ferry__win_console_write(HANDLE handle, const char *buf, size_t len);

/* ---- Calls of the kernel's that not every header has ---------------------------------------- */

NTSTATUS NTAPI NtQueryDirectoryFile(HANDLE, HANDLE, PIO_APC_ROUTINE, PVOID, PIO_STATUS_BLOCK, PVOID,
                                    ULONG, FILE_INFORMATION_CLASS, BOOLEAN, PUNICODE_STRING,
                                    BOOLEAN);

FERRY__OWN_END

#endif
