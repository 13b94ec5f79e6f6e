/* private.c - files and directories of a new name that nobody but this user may open.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"

#include <ntsecapi.h>
#include <stdlib.h>

#define TRIES 1000
#define PATTERN_LEN 6

/* ---- Who may open it ----------------------------------------------------------------------- */

struct guard {
    SECURITY_DESCRIPTOR descriptor;
    alignas(8) unsigned char user[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    alignas(8) unsigned char list[sizeof(ACL) + sizeof(ACCESS_ALLOWED_ACE) + SECURITY_MAX_SID_SIZE];
};

/* The user that this thread acts for, or the process runs as. */
static bool user_find(struct guard *guard) {
    HANDLE token = NULL;
    DWORD bytes = 0;
    if (!OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, TRUE, &token) &&
        !OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        return false;
    }
    bool found = GetTokenInformation(token, TokenUser, guard->user, sizeof guard->user, &bytes) !=
                 0;
    (void)CloseHandle(token);
    return found;
}

/* What lies in a directory inherits it. */
static int guard_make(struct guard *guard) {
    TOKEN_USER *user = (TOKEN_USER *)(void *)guard->user;
    ACL *list = (ACL *)(void *)guard->list;
    DWORD inherits = OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE;
    if (user_find(guard) && InitializeAcl(list, sizeof guard->list, ACL_REVISION) &&
        AddAccessAllowedAceEx(list, ACL_REVISION, inherits, FILE_ALL_ACCESS, user->User.Sid) &&
        InitializeSecurityDescriptor(&guard->descriptor, SECURITY_DESCRIPTOR_REVISION) &&
        SetSecurityDescriptorDacl(&guard->descriptor, TRUE, list, FALSE) &&
        SetSecurityDescriptorControl(&guard->descriptor, SE_DACL_PROTECTED, SE_DACL_PROTECTED)) {
        return 0;
    }
    return ferry__win_last_error();
}

/* ---- Making one ---------------------------------------------------------------------------- */

static uint64_t random_number(int try) {
    uint64_t number;
    if (RtlGenRandom(&number, sizeof number)) return number;
    /* Good enough: a name that somebody has is not used but tried again. */
    return (ferry__os_clock() + (uint64_t)try) * 0x9e3779b97f4a7c15u;
}

/* The last letters of the name, in both its forms: they are the end of the path, too. */
static void letters_set(char *pattern, struct ferry__win_path *path, int try) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789"; /* cases are the same */
    uint64_t number = random_number(try);
    for (size_t i = 0; i < PATTERN_LEN; i++, number /= 36) {
        pattern[i] = letters[number % 36];
        path->name[path->len - PATTERN_LEN + i] = (wchar_t)pattern[i];
    }
}

static int64_t make(const ferry_op *op, struct ferry__win_path *path, struct guard *guard) {
    char *pattern = (char *)(uintptr_t)op->buf;
    bool directory = op->code == FERRY_OP_TEMP_DIR;
    struct ferry__win_opening opening = {
        .access = directory ? FILE_LIST_DIRECTORY : FILE_GENERIC_READ | FILE_GENERIC_WRITE,
        .disposition = FILE_CREATE,
        .options = directory ? FILE_DIRECTORY_FILE : FILE_NON_DIRECTORY_FILE,
        .attributes = FILE_ATTRIBUTE_NORMAL,
        .security = &guard->descriptor,
    };
    NTSTATUS result = STATUS_OBJECT_NAME_COLLISION;
    pattern += strlen(pattern) - PATTERN_LEN;
    for (int i = 0; i < TRIES && result == STATUS_OBJECT_NAME_COLLISION; i++) {
        letters_set(pattern, path, i);
        result = ferry__win_open_as(path, &opening);
    }
    if (result == STATUS_SUCCESS && !directory) return ferry__win_fd(opening.handle);
    if (result == STATUS_SUCCESS) {
        (void)CloseHandle(opening.handle);
        return 0;
    }
    memset(pattern, 'X', PATTERN_LEN);
    return ferry__win_path_error(path, result);
}

int64_t ferry__win_make_private(const ferry_op *op) {
    struct ferry__win_path path;
    struct guard guard;
    int64_t result = guard_make(&guard);
    if (result == 0) result = ferry__win_path_make(&path, op->fd, op->buf);
    if (result != 0) return result;
    result = make(op, &path, &guard);
    ferry__win_path_end(&path);
    return result;
}
