/* list.c - the entries of a directory, in batches: by the call that readdir(3) is made of, since
 * that leaves the place in the descriptor.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "core.h"
#include "file_calls.h"
#include "system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define NAME_AT offsetof(struct dirent, d_name)

_Static_assert(offsetof(struct ferry__entry, type) + 1 == FERRY__ENTRY_HEAD, "our layout");
_Static_assert(FERRY__ENTRY_HEAD <= NAME_AT, "an entry of ours takes the place of one");

/* Not every file system tells the type in passing: then it is asked for. */
static enum ferry_file_type type_of(int fd, const char *name, uint8_t type) {
    struct stat about;
    if (type != DT_UNKNOWN) return ferry__posix_type_of((mode_t)DTTOIF(type));
    if (ferry__file_calls.fstatat(fd, name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
        return FERRY_FILE_OTHER; /* it has gone meanwhile */
    }
    return ferry__posix_type_of(about.st_mode);
}

static bool is_dots(const char *name) {
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Makes the kernel's entries ours, in place: their bytes. */
static size_t entries_convert(int fd, char *buf, size_t bytes) {
    size_t at = 0, end = 0;
    while (at < bytes) {
        struct dirent from;
        memcpy(&from, buf + at, NAME_AT);
        char *name = buf + at + NAME_AT;
        at += from.d_reclen;
        /* Without a number: deleted, on some of the BSDs. */
        if (from.d_ino == 0 || is_dots(name)) continue;
        size_t name_len = strlen(name) + 1;
        struct ferry__entry to = {.inode = from.d_ino,
                                  .size = (uint16_t)(FERRY__ENTRY_HEAD + name_len),
                                  .type = (uint8_t)type_of(fd, name, from.d_type)};
        memcpy(buf + end, &to, FERRY__ENTRY_HEAD);
        memmove(buf + end + FERRY__ENTRY_HEAD, name, name_len);
        end += to.size;
    }
    return end;
}

int64_t ferry__system_list(int fd, char *buf, size_t len, bool restart) {
    if (len > INT_MAX) len = INT_MAX;
    if (restart && ferry__file_calls.lseek(fd, 0, SEEK_SET) < 0) {
        return errno == ESPIPE ? FERRY_ENOTDIR : ferry__errno();
    }
    for (;;) {
        ssize_t got = ferry__file_calls.getdents(fd, buf, len);
        if (got < 0) return errno == EINVAL ? FERRY_ENOROOM : ferry__errno();
        size_t bytes = entries_convert(fd, buf, (size_t)got);
        if (got == 0 || bytes > 0) return (int64_t)bytes; /* else there were only "." and ".." */
    }
}
