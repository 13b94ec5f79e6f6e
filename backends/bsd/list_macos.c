/* list_macos.c - the entries of a directory, in batches, on macOS: getattrlistbulk(2), which keeps
 * its place in the descriptor and leaves out "." and "..".
 *
 * SPDX-License-Identifier: MIT
 */
#include "../posix/calls.h"
#include "../posix/file_calls.h"
#include "../posix/system.h"
#include "core.h"

#include <errno.h>
#include <limits.h>
#include <sys/attr.h>
#include <unistd.h>

/* What one entry begins with, in the order of the attributes' bits; all four are asked for, and
 * what a file system does not have is filled up. */
struct attributes {
    uint32_t bytes;
    attribute_set_t returned;
    attrreference_t name; /* offset from here */
    fsobj_type_t type;
    uint64_t inode;
} __attribute__((packed, aligned(4)));

_Static_assert(FERRY__ENTRY_HEAD <= sizeof(struct attributes), "ours takes the place of one");

/* enum vtype of <sys/vnode.h>, which not every SDK has. */
enum { VREG = 1, VDIR, VBLK, VCHR, VLNK, VSOCK, VFIFO };

static enum ferry_file_type type_of(fsobj_type_t type) {
    switch (type) {
    case VREG: return FERRY_FILE_REGULAR;
    case VDIR: return FERRY_FILE_DIRECTORY;
    case VLNK: return FERRY_FILE_SYMLINK;
    case VFIFO: return FERRY_FILE_FIFO;
    case VSOCK: return FERRY_FILE_SOCKET;
    case VCHR: return FERRY_FILE_CHARACTER;
    case VBLK: return FERRY_FILE_BLOCK;
    default: return FERRY_FILE_OTHER;
    }
}

/* Makes the system's entries ours, in place: their bytes. */
static size_t entries_convert(char *buf, int count) {
    size_t at = 0, end = 0;
    for (int i = 0; i < count; i++) {
        struct attributes from;
        memcpy(&from, buf + at, sizeof from);
        const char *name = buf + at + offsetof(struct attributes, name) + from.name.attr_dataoffset;
        size_t name_len = strlen(name) + 1;
        struct ferry__entry to = {.inode = from.inode,
                                  .size = (uint16_t)(FERRY__ENTRY_HEAD + name_len),
                                  .type = (uint8_t)type_of(from.type)};
        memcpy(buf + end, &to, FERRY__ENTRY_HEAD);
        memmove(buf + end + FERRY__ENTRY_HEAD, name, name_len);
        end += to.size;
        at += from.bytes;
    }
    return end;
}

int64_t ferry__system_list(int fd, char *buf, size_t len, bool restart) {
    struct attrlist wanted = {.bitmapcount = ATTR_BIT_MAP_COUNT,
                              .commonattr = ATTR_CMN_RETURNED_ATTRS | ATTR_CMN_NAME |
                                            ATTR_CMN_OBJTYPE | ATTR_CMN_FILEID};
    if (len > INT_MAX) len = INT_MAX;
    if (restart && ferry__file_calls.lseek(fd, 0, SEEK_SET) < 0) {
        return errno == ESPIPE ? FERRY_ENOTDIR : ferry__errno();
    }
    int count = getattrlistbulk(fd, &wanted, buf, len, FSOPT_PACK_INVAL_ATTRS);
    if (count < 0) return errno == ERANGE ? FERRY_ENOROOM : ferry__errno();
    return (int64_t)entries_convert(buf, count);
}
