/* console.c - the console's input and output, UTF-8 for the program whatever its code page is.
 *
 * A process has one console. What did not fit into the reader's memory, a part of a character or of
 * a line, is kept for the next read; the beginning of a character at the end of a write for the
 * next write.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#define UNITS_MAX 4096u /* at a time */
#define CHARACTER_MAX 4u
#define END_OF_FILE 0x1a /* Ctrl+Z, first in a line */

/* ---- Reading ------------------------------------------------------------------------------- */

static SRWLOCK read_lock = SRWLOCK_INIT;
static char left[CHARACTER_MAX * 2]; /* bytes that were read and not taken */
static size_t left_len;
static wchar_t half; /* of a pair, 0: none */

static size_t left_take(char *buf, size_t len) {
    size_t taken = left_len < len ? left_len : len;
    memcpy(buf, left, taken);
    left_len -= taken;
    memmove(left, left + taken, left_len);
    return taken;
}

static bool is_first_half(wchar_t unit) {
    return (unit & 0xfc00) == 0xd800;
}

/* Units of at most so many, with the half of before: 0 at the end, or an error. */
static int64_t units_read(HANDLE handle, wchar_t *units, size_t max) {
    DWORD got = 0;
    size_t len = 0;
    if (half != 0) units[len++] = half;
    half = 0;
    SetLastError(NO_ERROR);
    if (!ReadConsoleW(handle, units + len, (DWORD)(max - len), &got, NULL)) {
        return ferry__win_last_error();
    }
    /* Ended early: cancelled, or by Ctrl+C. */
    if (got == 0 && GetLastError() == ERROR_OPERATION_ABORTED) return FERRY_ECANCELED;
    if (got > 0 && len == 0 && units[0] == END_OF_FILE) return 0;
    len += got;
    if (got > 0 && is_first_half(units[len - 1])) half = units[--len];
    return (int64_t)len;
}

/* Of few bytes one character is read, and what does not fit is kept. */
static int64_t read_few(HANDLE handle, char *buf, size_t len) {
    wchar_t units[2];
    int64_t got;
    do {
        got = units_read(handle, units, half != 0 ? 2 : 1);
    } while (got == 0 && half != 0);
    if (got <= 0) return got;
    left_len = ferry__win_narrow(units, (size_t)got, left, sizeof left);
    return (int64_t)left_take(buf, len);
}

static int64_t read_many(HANDLE handle, char *buf, size_t len) {
    wchar_t units[UNITS_MAX];
    size_t max = len / 3 < UNITS_MAX ? len / 3 : UNITS_MAX; /* a unit is three bytes at most */
    int64_t got;
    do {
        got = units_read(handle, units, max);
    } while (got == 0 && half != 0);
    return got <= 0 ? got : (int64_t)ferry__win_narrow(units, (size_t)got, buf, len);
}

int64_t ferry__win_console_read(HANDLE handle, char *buf, size_t len) {
    AcquireSRWLockExclusive(&read_lock);
    int64_t result = (int64_t)left_take(buf, len);
    if (result == 0) {
        result = len < 3 * 2 ? read_few(handle, buf, len) : read_many(handle, buf, len);
    }
    ReleaseSRWLockExclusive(&read_lock);
    return result;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static SRWLOCK write_lock = SRWLOCK_INIT;
static char begun[CHARACTER_MAX]; /* a character of which more is to come */
static size_t begun_len;

/* How many bytes at the end are the beginning of a character. */
static size_t unfinished(const char *buf, size_t len) {
    for (size_t back = 1; back < CHARACTER_MAX && back <= len; back++) {
        unsigned char byte = (unsigned char)buf[len - back];
        if ((byte & 0xc0u) == 0x80u) continue;
        size_t whole = byte >= 0xf0u ? 4 : byte >= 0xe0u ? 3 : byte >= 0xc0u ? 2 : 1;
        return whole > back ? back : 0;
    }
    return 0;
}

/* What is no UTF-8 is shown as the sign that stands for that. */
static int units_write(HANDLE handle, const char *buf, size_t len) {
    wchar_t units[UNITS_MAX];
    int count = MultiByteToWideChar(CP_UTF8, 0, buf, (int)len, units, UNITS_MAX);
    for (int at = 0; at < count;) {
        DWORD put = 0;
        if (!WriteConsoleW(handle, units + at, (DWORD)(count - at), &put, NULL)) {
            return ferry__win_last_error();
        }
        at += (int)put;
    }
    return 0;
}

/* Goes on with a character that was begun: the bytes taken for it. */
static size_t begun_finish(const char *buf, size_t len) {
    size_t taken = 0;
    while (taken < len && begun_len > 0 && begun_len < CHARACTER_MAX &&
           unfinished(begun, begun_len) != 0) {
        begun[begun_len++] = buf[taken++];
    }
    return taken;
}

static int64_t write_under_lock(HANDLE handle, const char *buf, size_t len) {
    char piece[UNITS_MAX];
    size_t before = begun_len, taken = begun_finish(buf, len);
    if (begun_len > 0 && unfinished(begun, begun_len) != 0) return (int64_t)taken; /* still not */
    size_t piece_len = begun_len, room = sizeof piece - begun_len;
    memcpy(piece, begun, begun_len);
    size_t more = len - taken < room ? len - taken : room;
    memcpy(piece + piece_len, buf + taken, more);
    piece_len += more;
    size_t keeps = unfinished(piece, piece_len);
    int error = units_write(handle, piece, piece_len - keeps);
    if (error != 0) {
        begun_len = before;
        return error;
    }
    memcpy(begun, piece + piece_len - keeps, keeps);
    begun_len = keeps;
    return (int64_t)(taken + more);
}

int64_t ferry__win_console_write(HANDLE handle, const char *buf, size_t len) {
    int64_t total = 0;
    AcquireSRWLockExclusive(&write_lock);
    while ((size_t)total < len) {
        int64_t put = write_under_lock(handle, buf + total, len - (size_t)total);
        if (put < 0 && total == 0) total = put;
        if (put <= 0) break;
        total += put;
    }
    ReleaseSRWLockExclusive(&write_lock);
    return total;
}
