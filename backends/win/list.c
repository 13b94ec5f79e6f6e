/* list.c - the entries of a directory, in batches. The place that was reached is in the handle.
 *
 * The system's entries are asked for into memory of our own and copied from there as ours. Asked
 * for as many as two thirds of the caller's memory hold, they fit into it: a name of n units takes
 * 104 + 2n bytes there, and 12 + 3n here at most. Where that is less than the longest name may take
 * they are asked for one by one, and one that does not fit is kept for the next time, by its
 * directory's handle: the system has gone past it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>

#define NAME_AT offsetof(FILE_ID_BOTH_DIRECTORY_INFORMATION, FileName)
#define NAME_MAX_UNITS 255u
#define ONE_BYTES 1024u /* enough for any entry of either kind */
#define BATCH_BYTES 65536u
#define KEPT_MAX 16u
#define LOOK_MS 1u
#define LOCKS 16u

_Static_assert(offsetof(struct ferry__entry, type) + 1 == FERRY__ENTRY_HEAD, "our layout");
_Static_assert(NAME_AT + 2 * NAME_MAX_UNITS + 8 <= ONE_BYTES * 2 / 3, "any entry of the system's");
_Static_assert(FERRY__ENTRY_HEAD + 3 * NAME_MAX_UNITS + 1 <= ONE_BYTES, "any entry of ours");
_Static_assert((FERRY__ENTRY_HEAD + 1) * 2 < NAME_AT * 3, "two thirds are enough");

/* ---- Kept for the next time ---------------------------------------------------------------- */

struct kept {
    HANDLE handle; /* NULL: free */
    uint64_t directory;
    size_t bytes;
    char entry[ONE_BYTES];
};

static SRWLOCK list_locks[LOCKS];
static SRWLOCK kept_lock = SRWLOCK_INIT;
static struct kept kept[KEPT_MAX];
static unsigned kept_next;

/* Another directory may have a handle of the same number by now. Asked without the lock, as it may
 * take its time and a loop's thread takes the lock when it closes. */
static uint64_t number_of(HANDLE handle) {
    BY_HANDLE_FILE_INFORMATION about;
    if (!GetFileInformationByHandle(handle, &about)) return 0;
    return (uint64_t)about.nFileIndexHigh << 32 | about.nFileIndexLow;
}

static struct kept *kept_find(HANDLE handle) {
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        if (kept[i].handle == handle) return &kept[i];
    }
    return NULL;
}

static void keep(HANDLE handle, const char *entry, size_t bytes) {
    uint64_t directory = number_of(handle);
    AcquireSRWLockExclusive(&kept_lock);
    struct kept *place = kept_find(handle);
    if (place == NULL) place = kept_find(NULL);
    if (place == NULL) place = &kept[kept_next++ % KEPT_MAX];
    place->handle = handle;
    place->directory = directory;
    place->bytes = bytes;
    memcpy(place->entry, entry, bytes);
    ReleaseSRWLockExclusive(&kept_lock);
}

/* The bytes that it has, 0 if there is none; FERRY_ENOROOM, and it stays. */
static int64_t kept_take(HANDLE handle, char *buf, size_t len) {
    int64_t result = 0;
    uint64_t directory = number_of(handle);
    AcquireSRWLockExclusive(&kept_lock);
    struct kept *place = kept_find(handle);
    if (place != NULL && place->directory != directory) {
        place->handle = NULL;
    } else if (place != NULL && place->bytes > len) {
        result = FERRY_ENOROOM;
    } else if (place != NULL) {
        memcpy(buf, place->entry, place->bytes);
        result = (int64_t)place->bytes;
        place->handle = NULL;
    }
    ReleaseSRWLockExclusive(&kept_lock);
    return result;
}

void ferry__win_list_forget(HANDLE handle) {
    AcquireSRWLockExclusive(&kept_lock);
    struct kept *place = kept_find(handle);
    if (place != NULL) place->handle = NULL;
    ReleaseSRWLockExclusive(&kept_lock);
}

/* ---- Ours out of the system's -------------------------------------------------------------- */

static bool is_dots(const wchar_t *name, size_t len) {
    return (len == 1 || (len == 2 && name[1] == L'.')) && name[0] == L'.';
}

/* Its bytes. */
static size_t entry_convert(const FILE_ID_BOTH_DIRECTORY_INFORMATION *from, char *to, size_t room) {
    size_t units = from->FileNameLength / sizeof(wchar_t);
    if (is_dots(from->FileName, units)) return 0;
    char *name = to + FERRY__ENTRY_HEAD;
    size_t bytes = ferry__win_narrow(from->FileName, units, name, room - FERRY__ENTRY_HEAD - 1);
    name[bytes] = '\0';
    struct ferry__entry entry = {
        .inode = (uint64_t)from->FileId.QuadPart,
        .size = (uint16_t)(FERRY__ENTRY_HEAD + bytes + 1),
        .type = (uint8_t)ferry__win_type(from->FileAttributes, from->EaSize), /* the tag */
    };
    memcpy(to, &entry, FERRY__ENTRY_HEAD);
    return entry.size;
}

static size_t entries_convert(const unsigned char *from, char *buf, size_t len) {
    const FILE_ID_BOTH_DIRECTORY_INFORMATION *entry;
    size_t end = 0;
    do {
        entry = (const FILE_ID_BOTH_DIRECTORY_INFORMATION *)(const void *)from;
        end += entry_convert(entry, buf + end, len - end);
        from += entry->NextEntryOffset;
    } while (entry->NextEntryOffset != 0);
    return end;
}

/* ---- Asking -------------------------------------------------------------------------------- */

/* Once; waits, whether the handle is overlapped or not. Nothing comes to a port, since nothing is
 * said that should. The handle is signalled by whatever ends on it: hence the loop. */
static NTSTATUS query(HANDLE handle, void *memory, size_t bytes, bool one, bool restart) {
    union {
        IO_STATUS_BLOCK block;
        volatile NTSTATUS status;
    } end = {.block = {.Status = STATUS_PENDING}};
    NTSTATUS result = NtQueryDirectoryFile(handle, NULL, NULL, NULL, &end.block, memory,
                                           (ULONG)bytes, FileIdBothDirectoryInformation,
                                           (BOOLEAN)one, NULL, (BOOLEAN)restart);
    if (result != STATUS_PENDING) return result;
    while (end.status == STATUS_PENDING) (void)WaitForSingleObject(handle, LOOK_MS);
    return end.status;
}

static int64_t error_of(HANDLE handle, NTSTATUS result) {
    if (result == STATUS_NO_MORE_FILES || result == STATUS_NO_SUCH_FILE) return 0;
    if (result == STATUS_BUFFER_OVERFLOW) return FERRY_EIO; /* a name longer than they are */
    if (result == STATUS_DELETE_PENDING || result == STATUS_FILE_DELETED) return FERRY_ENOENT;
    FILE_STANDARD_INFO about = {.Directory = TRUE};
    if (GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about)) {
        if (!about.Directory) return FERRY_ENOTDIR;
    } else if (result != STATUS_INVALID_HANDLE) {
        return FERRY_ENOTDIR; /* pipes and the like */
    }
    return ferry__win_status(result);
}

/* One after the other: the bytes of buf in use. */
static int64_t list_few(HANDLE handle, unsigned char *memory, char *buf, size_t len, bool restart) {
    char entry[ONE_BYTES];
    int64_t end = kept_take(handle, buf, len);
    while (end >= 0) {
        NTSTATUS result = query(handle, memory, BATCH_BYTES, true, restart);
        if (result != STATUS_SUCCESS) return end > 0 ? end : error_of(handle, result);
        size_t bytes = entries_convert(memory, entry, sizeof entry);
        restart = false;
        if (bytes > len - (size_t)end) {
            keep(handle, entry, bytes);
            return end > 0 ? end : FERRY_ENOROOM;
        }
        memcpy(buf + end, entry, bytes);
        end += (int64_t)bytes;
    }
    return end;
}

static int64_t list_many(HANDLE handle, unsigned char *memory, char *buf, size_t len,
                         bool restart) {
    int64_t end = kept_take(handle, buf, len);
    if (end != 0) return end;
    size_t ask = len / 3 * 2 < BATCH_BYTES ? len / 3 * 2 : BATCH_BYTES;
    for (;;) {
        NTSTATUS result = query(handle, memory, ask, false, restart);
        if (result != STATUS_SUCCESS) return error_of(handle, result);
        size_t bytes = entries_convert(memory, buf, len);
        restart = false;
        if (bytes > 0) return (int64_t)bytes; /* else there were only "." and ".." */
    }
}

/* One at a time through one handle, so that no more than one entry has to be kept. */
int64_t ferry__win_list(HANDLE handle, char *buf, size_t len, bool restart) {
    SRWLOCK *lock = &list_locks[((uintptr_t)handle >> 2) % LOCKS];
    unsigned char *memory = malloc(BATCH_BYTES);
    if (memory == NULL) return FERRY_ENOMEM;
    AcquireSRWLockExclusive(lock);
    if (restart) ferry__win_list_forget(handle);
    int64_t result = len < ONE_BYTES ? list_few(handle, memory, buf, len, restart)
                                     : list_many(handle, memory, buf, len, restart);
    ReleaseSRWLockExclusive(lock);
    free(memory);
    return result;
}
