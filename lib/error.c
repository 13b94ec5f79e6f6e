/* error.c - our error numbers as names and texts, from the one list in ferry.h; and the version.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ferry.h"

#include <stdio.h>

static const struct {
    const char *name, *text;
} words[] = {
#define ERROR_WORDS(name, number, text) [number] = {#name, text},
    FERRY_ERROR_LIST(ERROR_WORDS)
#undef ERROR_WORDS
};

#define WORDS ((int64_t)(sizeof words / sizeof words[0]))

static int is_ours(int64_t error) {
    return error < 0 && error > -WORDS && words[-error].name != NULL;
}

const char *ferry_strerror(int64_t error) {
    if (error >= 0) return "success";
    if (is_ours(error)) return words[-error].text;
    if (error <= FERRY_ESYSTEM) return "an error of the system that has no name here";
    return "not an error number of Ferry";
}

const char *ferry_error_name(int64_t error) {
    if (error >= 0) return "FERRY_OK";
    if (is_ours(error)) return words[-error].name;
    return error <= FERRY_ESYSTEM ? "FERRY_ESYSTEM" : "FERRY_E?";
}

size_t ferry_error_format(int64_t error, char *buf, size_t len) {
    int code = ferry_error_system(error);
    int wrote = code == 0
                    ? snprintf(buf, len, "%s: %s", ferry_error_name(error), ferry_strerror(error))
                    : snprintf(buf, len, "%s: %s (system error %d)", ferry_error_name(error),
                               ferry_strerror(error), code);
    return wrote > 0 ? (size_t)wrote : 0;
}

const char *ferry_version(void) {
    return FERRY_VERSION_STRING;
}
