/* The probe points: what docs/insight.md lists, and what the notes of the shared library say, are
 * the same, name for name and argument for argument. Without probes there are no notes.
 *
 * A note is of type 3 by "stapsdt": three addresses, then provider, name and arguments, each ended
 * by a 0; arguments are separated by spaces ("8@%rdi 4@$7 4@36(%rdi)").
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBES_MAX 64

struct probe {
    char name[32];
    unsigned arguments, places;
};

static struct probe noted[PROBES_MAX], listed[PROBES_MAX];
static size_t noted_count, listed_count;

static struct probe *probe_named(struct probe *probes, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(probes[i].name, name) == 0) return &probes[i];
    }
    return NULL;
}

static struct probe *probe_add(struct probe *probes, size_t *count, const char *name) {
    assert_true(*count < PROBES_MAX);
    struct probe *probe = &probes[(*count)++];
    snprintf(probe->name, sizeof probe->name, "%s", name);
    return probe;
}

static char *file_read(const char *path, size_t *len) {
    FILE *file = fopen(path, "rbe");
    if (file == NULL) fail_msg("cannot open %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *len = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*len + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, *len, file), *len);
    text[*len] = '\0';
    fclose(file);
    return text;
}

/* ---- The notes ------------------------------------------------------------------------------- */

/* How many words separated by spaces. A register-relative address holds none. */
static unsigned words(const char *text) {
    unsigned count = *text != '\0';
    for (; *text != '\0'; text++) count += *text == ' ';
    return count;
}

static void note_read(const char *text) {
    const char *provider = text + 3 * sizeof(ElfW(Addr));
    const char *name = provider + strlen(provider) + 1;
    const char *arguments = name + strlen(name) + 1;
    if (strcmp(provider, "ferry") != 0) return;
    struct probe *probe = probe_named(noted, noted_count, name);
    if (probe == NULL) {
        probe = probe_add(noted, &noted_count, name);
        probe->arguments = words(arguments);
    }
    if (probe->arguments != words(arguments)) fail_msg("%s: places differ", name);
    probe->places++;
}

static void notes_read(const char *from, size_t len) {
    size_t at = 0;
    while (at + sizeof(ElfW(Nhdr)) <= len) {
        ElfW(Nhdr) head;
        memcpy(&head, from + at, sizeof head);
        const char *owner = from + at + sizeof head;
        const char *text = owner + (head.n_namesz + 3) / 4 * 4;
        at = (size_t)(text - from) + (head.n_descsz + 3) / 4 * 4;
        assert_true(at <= len);
        if (head.n_type == 3 && strcmp(owner, "stapsdt") == 0) note_read(text);
    }
}

static void library_read(void) {
    size_t len;
    char *file = file_read(FERRY_TEST_LIBRARY, &len);
    ElfW(Ehdr) head;
    assert_true(len > sizeof head);
    memcpy(&head, file, sizeof head);
    assert_memory_equal(head.e_ident, ELFMAG, SELFMAG);
    assert_true(head.e_shoff + (size_t)head.e_shnum * sizeof(ElfW(Shdr)) <= len);
    const char *sections = file + head.e_shoff;
    ElfW(Shdr) names, section;
    memcpy(&names, sections + head.e_shstrndx * sizeof names, sizeof names);
    for (unsigned i = 0; i < head.e_shnum; i++) {
        memcpy(&section, sections + i * sizeof section, sizeof section);
        const char *name = file + names.sh_offset + section.sh_name;
        if (strcmp(name, ".note.stapsdt") != 0) continue;
        notes_read(file + section.sh_offset, section.sh_size);
    }
    free(file);
}

/* ---- The list: rows of "| `ferry:name` | `first, second` | when |"
 * ---------------------------------- */

static void row_read(const char *row) {
    char name[32], arguments[128];
    if (sscanf(row, "| `ferry:%31[a-z_]` | `%127[^`]` |", name, arguments) != 2) {
        fail_msg("a row that cannot be read: %.60s", row);
    }
    if (probe_named(listed, listed_count, name) != NULL) fail_msg("%s is listed twice", name);
    struct probe *probe = probe_add(listed, &listed_count, name);
    probe->arguments = 1;
    for (const char *at = arguments; *at != '\0'; at++) probe->arguments += *at == ',';
}

static void list_read(void) {
    size_t len;
    char *text = file_read(FERRY_TEST_LIST, &len);
    for (char *row = strstr(text, "\n| `ferry:"); row != NULL; row = strstr(row, "\n| `ferry:")) {
        row_read(++row);
    }
    free(text);
}

static void list_and_notes_agree(void **state) {
    (void)state;
    library_read();
    list_read();
    assert_true(listed_count >= 12);
    if (!FERRY_TEST_USDT) {
        assert_int_equal(noted_count, 0);
        return;
    }
    for (size_t i = 0; i < listed_count; i++) {
        const struct probe *probe = probe_named(noted, noted_count, listed[i].name);
        if (probe == NULL) fail_msg("%s is listed, the library has no note of it", listed[i].name);
        if (probe->arguments != listed[i].arguments) {
            fail_msg("%s: %u arguments listed, %u noted", listed[i].name, listed[i].arguments,
                     probe->arguments);
        }
    }
    for (size_t i = 0; i < noted_count; i++) {
        if (probe_named(listed, listed_count, noted[i].name) == NULL) {
            fail_msg("%s is in the library and not in the list", noted[i].name);
        }
    }
    /* Both ways of an operation in and out have them. */
    assert_true(probe_named(noted, noted_count, "submit")->places >= 2);
    assert_true(probe_named(noted, noted_count, "complete")->places >= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(list_and_notes_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
