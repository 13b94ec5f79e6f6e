/* paths.c - paths: UTF-8 at the API, UTF-16 below, as the kernel's own calls take them.
 *
 * A path is made absolute by the rules that every program knows (the current directory, drives,
 * "/" as good as "\", "." and ".." by name, devices such as NUL) and is then past all limits of
 * length, or it stays relative to the handle of a directory. Names are sequences of 16-bit units
 * which need not be UTF-16: one half of a pair alone is written as the three bytes that a character
 * of its number would have, and read back from them, so that every file can be reached.
 *
 * Memory is the C library's: only workers come here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <stdlib.h>
#include <wchar.h>

#define UNITS_MAX 32767u /* of a UNICODE_STRING, less one */
#define NAME_MAX_UNITS 255u
#define PREFIX L"\\??\\"
#define PREFIX_UNITS 4u
#define PREFIX_UNC L"\\??\\UNC\\"
#define PREFIX_UNC_UNITS 8u

/* ---- UTF-8 and back ------------------------------------------------------------------------ */

static bool follows(unsigned char byte) {
    return (byte & 0xc0u) == 0x80u;
}

/* The character at text and how many bytes it has; 0: that is none. A 0 ends it everywhere. */
static unsigned character(const unsigned char *text, uint32_t *value) {
    if (text[0] < 0x80u) {
        *value = text[0];
        return 1;
    }
    if (text[0] >= 0xc2u && text[0] < 0xe0u && follows(text[1])) {
        *value = (text[0] & 0x1fu) << 6 | (text[1] & 0x3fu);
        return 2;
    }
    if (text[0] >= 0xe0u && text[0] < 0xf0u && follows(text[1]) && follows(text[2])) {
        *value = (text[0] & 0xfu) << 12 | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu);
        return *value >= 0x800u ? 3 : 0;
    }
    if (text[0] >= 0xf0u && text[0] < 0xf5u && follows(text[1]) && follows(text[2]) &&
        follows(text[3])) {
        *value = (text[0] & 7u) << 18 | (text[1] & 0x3fu) << 12 | (text[2] & 0x3fu) << 6 |
                 (text[3] & 0x3fu);
        return *value >= 0x10000u && *value < 0x110000u ? 4 : 0;
    }
    return 0;
}

int64_t ferry__win_wide(const char *text, wchar_t **wide) {
    size_t room = strlen(text) + 1, len = 0; /* never more units than bytes */
    const unsigned char *at = (const unsigned char *)text;
    wchar_t *units = malloc(room * sizeof *units);
    if (units == NULL) return FERRY_ENOMEM;
    while (*at != 0) {
        uint32_t value = 0;
        unsigned bytes = character(at, &value);
        if (bytes == 0) {
            free(units);
            return FERRY_EILSEQ;
        }
        at += bytes;
        if (value >= 0x10000u) {
            units[len++] = (wchar_t)(0xd7c0u + (value >> 10));
            value = 0xdc00u + (value & 0x3ffu);
        }
        units[len++] = (wchar_t)value;
    }
    units[len] = L'\0';
    *wide = units;
    return (int64_t)len;
}

static uint32_t value_at(const wchar_t *wide, size_t len, size_t *at) {
    uint32_t value = (uint16_t)wide[(*at)++];
    if ((value & 0xfc00u) != 0xd800u || *at == len) return value;
    uint32_t second = (uint16_t)wide[*at];
    if ((second & 0xfc00u) != 0xdc00u) return value;
    ++*at;
    return ((value - 0xd7c0u) << 10) + (second & 0x3ffu);
}

static unsigned bytes_of(uint32_t value) {
    return value < 0x80u ? 1 : value < 0x800u ? 2 : value < 0x10000u ? 3 : 4;
}

static void put(unsigned char *to, uint32_t value, unsigned bytes) {
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (unsigned i = bytes - 1; i > 0; i--, value >>= 6)
        to[i] = (unsigned char)(0x80u | (value & 0x3fu));
    to[0] = (unsigned char)(first[bytes] | value);
}

size_t ferry__win_narrow(const wchar_t *wide, size_t len, char *buf, size_t room) {
    size_t end = 0;
    bool fits = true;
    for (size_t at = 0; at < len;) {
        uint32_t value = value_at(wide, len, &at);
        unsigned bytes = bytes_of(value);
        fits = fits && end + bytes <= room;
        if (fits) put((unsigned char *)buf + end, value, bytes);
        end += bytes;
    }
    return end;
}

/* ---- By name ------------------------------------------------------------------------------- */

static bool is_slash(wchar_t unit) {
    return unit == L'\\' || unit == L'/';
}

static bool has_drive(const wchar_t *text) {
    wchar_t letter = (wchar_t)(text[0] | 0x20);
    return letter >= L'a' && letter <= L'z' && text[1] == L':';
}

static bool is_relative(const wchar_t *text) {
    return !is_slash(text[0]) && !has_drive(text);
}

/* One whose name is taken as it stands: "\\?\...". */
static bool is_literal(const wchar_t *text) {
    return wcsncmp(text, L"\\\\?\\", 4) == 0 || wcsncmp(text, L"\\??\\", 4) == 0;
}

/* A name of too many units is "not a name" to the system, which would mean that it is not there. */
static bool names_fit(const wchar_t *name) {
    while (*name != L'\0') {
        size_t len = wcscspn(name, L"\\");
        if (len > NAME_MAX_UNITS) return false;
        name += len + (name[len] != L'\0');
    }
    return true;
}

/* As the system does it to paths that it is given: dots at the end of a name vanish, and spaces at
 * the end of the last. */
static size_t name_trim(const wchar_t *name, size_t len, bool last) {
    while (len > 0 && (name[len - 1] == L'.' || (last && name[len - 1] == L' '))) len--;
    return len;
}

/* Takes "." and ".." out of a relative path, in place: its length. *up: how many steps above where
 * it begins it goes first. */
static size_t simplify(wchar_t *text, unsigned *up) {
    size_t end = 0;
    *up = 0;
    for (const wchar_t *at = text; *at != L'\0';) {
        size_t len = wcscspn(at, L"\\/");
        const wchar_t *next = at + len;
        while (is_slash(*next)) next++;
        if (len == 2 && at[0] == L'.' && at[1] == L'.') {
            if (end == 0) ++*up;
            while (end > 0 && text[--end] != L'\\') {
            }
        } else if (len > 0 && !(len == 1 && at[0] == L'.')) {
            size_t kept = name_trim(at, len, *next == L'\0');
            if (end > 0) text[end++] = L'\\';
            memmove(text + end, at, kept * sizeof *text);
            end += kept;
        }
        at = next;
    }
    text[end] = L'\0';
    return end;
}

/* ---- A path of the kernel's ---------------------------------------------------------------- */

/* Takes the text: an absolute path without anything to be resolved, behind what says that it is
 * one. */
static int set_absolute(struct ferry__win_path *path, const wchar_t *text, size_t len) {
    const wchar_t *prefix = PREFIX;
    size_t units = PREFIX_UNITS;
    if (is_literal(text) || wcsncmp(text, L"\\\\.\\", 4) == 0) {
        text += 4;
        len -= 4;
    } else if (len > 2 && is_slash(text[0]) && is_slash(text[1])) {
        prefix = PREFIX_UNC;
        units = PREFIX_UNC_UNITS;
        text += 2;
        len -= 2;
    }
    if (units + len > UNITS_MAX || !names_fit(text)) return FERRY_ENAMETOOLONG;
    path->name = malloc((units + len + 1) * sizeof *path->name);
    if (path->name == NULL) return FERRY_ENOMEM;
    memcpy(path->name, prefix, units * sizeof *prefix);
    memcpy(path->name + units, text, len * sizeof *text);
    path->len = units + len;
    path->name[path->len] = L'\0';
    return 0;
}

static int make_absolute(struct ferry__win_path *path, const wchar_t *text) {
    if (is_literal(text)) return set_absolute(path, text, wcslen(text));
    DWORD room = GetFullPathNameW(text, 0, NULL, NULL);
    if (room == 0) return ferry__win_last_error();
    if (room > UNITS_MAX) return FERRY_ENAMETOOLONG;
    wchar_t *full = malloc((room + 1) * sizeof *full);
    if (full == NULL) return FERRY_ENOMEM;
    DWORD len = GetFullPathNameW(text, room + 1, full, NULL);
    int error = len == 0 || len > room ? ferry__win_last_error() : 0; /* the directory has changed
                                                                       */
    if (error == 0) {
        while (len > 3 && is_slash(full[len - 1])) full[--len] = L'\0';
        error = set_absolute(path, full, len);
    }
    free(full);
    return error;
}

int ferry__win_path_of(HANDLE handle, wchar_t **text) {
    DWORD flags = FILE_NAME_NORMALIZED | VOLUME_NAME_DOS;
    DWORD room = GetFinalPathNameByHandleW(handle, NULL, 0, flags);
    while (room > 0) {
        wchar_t *full = malloc((room + 1) * sizeof *full);
        if (full == NULL) return FERRY_ENOMEM;
        DWORD len = GetFinalPathNameByHandleW(handle, full, room + 1, flags);
        if (len > 0 && len <= room) {
            *text = full;
            return 0;
        }
        free(full); /* renamed meanwhile: longer, or gone */
        room = len;
    }
    return ferry__win_last_error();
}

/* The path of the directory that many steps above one, "\\?\C:\..."; not above the drive. */
static int climb(HANDLE dir, unsigned up, wchar_t **text) {
    int error = ferry__win_path_of(dir, text);
    if (error != 0) return error;
    size_t len = wcslen(*text), root = PREFIX_UNITS + 2;
    if (wcsncmp(*text, L"\\\\?\\UNC\\", 8) == 0) {
        root = 8 + wcscspn(*text + 8, L"\\"); /* the server, and what it shares */
        if ((*text)[root] != L'\0') root += 1 + wcscspn(*text + root + 1, L"\\");
    }
    while (len > root && (*text)[len - 1] == L'\\') len--;
    for (; up > 0 && len > root; up--) {
        while (len > root && (*text)[--len] != L'\\') {
        }
    }
    (*text)[len] = L'\0';
    return 0;
}

/* Out of the directory by "..": from where it is now. */
static int make_above(struct ferry__win_path *path, HANDLE dir, const wchar_t *below, unsigned up) {
    wchar_t *base = NULL;
    int error = climb(dir, up, &base);
    if (error != 0) return error;
    size_t base_len = wcslen(base), len = base_len + 1 + wcslen(below);
    wchar_t *full = malloc((len + 1) * sizeof *full);
    error = full == NULL ? FERRY_ENOMEM : 0;
    if (error == 0) {
        memcpy(full, base, base_len * sizeof *full);
        full[base_len] = L'\\';
        memcpy(full + base_len + 1, below, (len - base_len) * sizeof *full);
        error = set_absolute(path, full, len);
    }
    free(full);
    free(base);
    return error;
}

/* Takes the text. */
static int make_relative(struct ferry__win_path *path, HANDLE dir, wchar_t **text) {
    FILE_STANDARD_INFO about;
    unsigned up;
    if (!GetFileInformationByHandleEx(dir, FileStandardInfo, &about, sizeof about)) {
        int error = ferry__win_last_error();
        return error == FERRY_EBADF ? error : FERRY_ENOTDIR;
    }
    if (!about.Directory) return FERRY_ENOTDIR;
    size_t len = simplify(*text, &up);
    if (up > 0) return make_above(path, dir, *text, up);
    if (len > UNITS_MAX || !names_fit(*text)) return FERRY_ENAMETOOLONG;
    path->dir = dir;
    path->name = *text;
    path->len = len;
    *text = NULL;
    return 0;
}

int ferry__win_path_make(struct ferry__win_path *path, ferry_fd dir, const char *text) {
    wchar_t *wide = NULL;
    *path = (struct ferry__win_path){.dir = NULL};
    int64_t len = ferry__win_wide(text, &wide);
    if (len < 0) return (int)len;
    int error;
    if (len == 0) {
        error = FERRY_ENOENT;
    } else {
        path->is_directory = is_slash(wide[len - 1]);
        error = dir != FERRY_FD_NONE && is_relative(wide)
                    ? make_relative(path, ferry__win_handle(dir), &wide)
                    : make_absolute(path, wide);
    }
    free(wide);
    return error;
}

void ferry__win_path_end(struct ferry__win_path *path) {
    free(path->name);
    path->name = NULL;
}

/* ---- What the system means ----------------------------------------------------------------- */

static bool is_file(const struct ferry__win_path *path) {
    HANDLE handle = NULL;
    FILE_STANDARD_INFO about = {.Directory = TRUE};
    if (ferry__win_open(path, FILE_READ_ATTRIBUTES, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT,
                        &handle) != STATUS_SUCCESS) {
        return false;
    }
    (void)GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about);
    (void)CloseHandle(handle);
    return !about.Directory;
}

/* "Path not found" is also said when a file stands where a directory has to be. */
static bool leads_through_file(const struct ferry__win_path *path) {
    struct ferry__win_path above = {.dir = path->dir, .len = path->len};
    size_t root = path->dir == NULL ? PREFIX_UNITS : 0;
    above.name = malloc((path->len + 1) * sizeof *above.name);
    if (above.name == NULL) return false;
    memcpy(above.name, path->name, (path->len + 1) * sizeof *above.name);
    bool found = false;
    while (!found) {
        while (above.len > root && above.name[above.len - 1] != L'\\') above.len--;
        if (above.len <= root) break;
        above.name[--above.len] = L'\0';
        found = is_file(&above);
    }
    free(above.name);
    return found;
}

int ferry__win_path_error(const struct ferry__win_path *path, NTSTATUS status) {
    if (status == STATUS_OBJECT_PATH_NOT_FOUND && leads_through_file(path)) return FERRY_ENOTDIR;
    return ferry__win_status(status);
}
