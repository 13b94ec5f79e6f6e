/* command.c - a child's arguments and its environment, each as the one text that CreateProcessW()
 * takes. The child takes its arguments apart again by the rules of Microsoft's C library.
 *
 * SPDX-License-Identifier: MIT
 */
#include "files.h"
#include "process.h"

#include <stdlib.h>
#include <wchar.h>

#define TEXT_MAX 32767u /* units of a command line, its 0 included */

/* ---- A text --------------------------------------------------------------------------------- */

void ferry__text_end(struct ferry__text *text) {
    free(text->units);
}

void ferry__text_add(struct ferry__text *text, const wchar_t *units, size_t count) {
    if (text->failed || count == 0) return; /* there may be no memory to copy to */
    if (text->room - text->len < count) {
        size_t room = (text->len + count) * 2;
        wchar_t *more = realloc(text->units, room * sizeof *more);
        text->failed = more == NULL;
        if (text->failed) return;
        text->units = more;
        text->room = room;
    }
    memcpy(text->units + text->len, units, count * sizeof *units);
    text->len += count;
}

static void add_one(struct ferry__text *text, wchar_t unit) {
    ferry__text_add(text, &unit, 1);
}

static void add_repeated(struct ferry__text *text, wchar_t unit, size_t count) {
    while (count-- > 0) add_one(text, unit);
}

/* ---- Arguments ----------------------------------------------------------------------------- */

/* Between quotes; backslashes mean themselves, but for those before a quote, which are doubled. */
static void add_quoted(struct ferry__text *text, const wchar_t *argument) {
    add_one(text, L'"');
    for (;;) {
        size_t slashes = wcsspn(argument, L"\\");
        argument += slashes;
        add_repeated(text, L'\\', *argument == L'"' || *argument == L'\0' ? 2 * slashes : slashes);
        if (*argument == L'\0') break;
        if (*argument == L'"') add_one(text, L'\\');
        add_one(text, *argument++);
    }
    add_one(text, L'"');
}

static void add_argument(struct ferry__text *text, const wchar_t *argument) {
    if (*argument != L'\0' && argument[wcscspn(argument, L" \t\n\v\"")] == L'\0') {
        ferry__text_add(text, argument, wcslen(argument));
    } else {
        add_quoted(text, argument);
    }
}

/* The first, the program's name, ends at the next quote, whatever stands before that. */
static int add_name(struct ferry__text *text, const wchar_t *name) {
    if (wcschr(name, L'"') != NULL) return FERRY_EINVAL;
    bool quoted = *name == L'\0' || name[wcscspn(name, L" \t\n\v")] != L'\0';
    if (quoted) add_one(text, L'"');
    ferry__text_add(text, name, wcslen(name));
    if (quoted) add_one(text, L'"');
    return 0;
}

int ferry__process_command(const ferry_child *asked, struct ferry__text *text) {
    const char *const alone[] = {asked->program, NULL};
    const char *const *argv = asked->argv != NULL ? asked->argv : alone;
    int error = 0;
    for (size_t i = 0; argv[i] != NULL && error == 0; i++) {
        wchar_t *argument = NULL;
        int64_t len = ferry__win_wide(argv[i], &argument);
        if (len < 0) return (int)len;
        if (i > 0) add_one(text, L' ');
        if (i > 0) {
            add_argument(text, argument);
        } else {
            error = add_name(text, argument);
        }
        free(argument);
        if (text->len >= TEXT_MAX) error = FERRY_E2BIG;
    }
    add_one(text, L'\0');
    return error != 0 ? error : text->failed ? FERRY_ENOMEM : 0;
}

/* ---- Environment --------------------------------------------------------------------------- */

static size_t name_len(const wchar_t *variable) {
    return variable[0] == L'\0' ? 0 : 1 + wcscspn(variable + 1, L"="); /* some begin with "=" */
}

/* The system wants them in order. */
static int compare(const void *left, const void *right) {
    const wchar_t *a = *(wchar_t *const *)left, *b = *(wchar_t *const *)right;
    return CompareStringOrdinal(a, (int)name_len(a), b, (int)name_len(b), TRUE) - CSTR_EQUAL;
}

static int block_make(wchar_t **variables, size_t count, struct ferry__text *block) {
    qsort(variables, count, sizeof *variables, compare);
    for (size_t i = 0; i < count; i++)
        ferry__text_add(block, variables[i], wcslen(variables[i]) + 1);
    if (count == 0) add_one(block, L'\0');
    add_one(block, L'\0');
    return block->failed ? FERRY_ENOMEM : 0;
}

/* Nothing at all if it is to be ours. */
int ferry__process_environment(const ferry_child *asked, struct ferry__text *block) {
    size_t count = 0, made = 0;
    int error = 0;
    if (asked->envp == NULL) return 0;
    while (asked->envp[count] != NULL) count++;
    wchar_t **variables = calloc(count + 1, sizeof *variables);
    if (variables == NULL) return FERRY_ENOMEM;
    for (size_t i = 0; i < count && error == 0; i++) {
        if (asked->envp[i][0] == '\0') continue; /* the block would end there */
        int64_t len = ferry__win_wide(asked->envp[i], &variables[made]);
        error = len < 0 ? (int)len : 0;
        if (error == 0) made++;
    }
    if (error == 0) error = block_make(variables, made, block);
    for (size_t i = 0; i < made; i++) free(variables[i]);
    free(variables);
    return error;
}
