/* child.c - this program as somebody's child: it does what its arguments say, one after the other
 *
 *     contract --child WORD [VALUE]...
 *
 * So that tests have children that every system can execute, and that do the same on each:
 *
 *     say TEXT, err TEXT   writes a line to its output, to its errors
 *     args ...             writes all that is left, each with a "|" behind it, on one line
 *     env NAME             writes what the environment says, nothing if it has no such, and a "-"
 *     where                writes its directory as a line
 *     pid                  writes its number, as text of 12 characters
 *     group                leads a process group of its own from now on
 *     cat                  copies its input to its output
 *     wait                 waits until there is a byte to be read, or nobody left who could write
 *     make PATH            makes a directory
 *     pause MS             does nothing for so long
 *     leave CODE ...       begins a child that does all that is left, and ends with CODE
 *     crash                touches memory that is not there
 *     exit CODE            ends
 *
 * What ends without having been told to ends with 0; 98 is a word that nobody knows, 97 a call that
 * failed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALONE "FERRY_TEST_ALONE"

enum { CALL_FAILED = 97, WORD_UNKNOWN = 98 };

static void put(ferry_fd fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(CALL_FAILED);
        text += n;
        len -= (size_t)n;
    }
}

static void put_text(ferry_fd fd, const char *text, const char *end) {
    put(fd, text, strlen(text));
    put(fd, end, strlen(end));
}

static size_t get(char *buf, size_t len) {
    for (;;) {
        ssize_t n = read(0, buf, len);
        if (n >= 0) return (size_t)n;
        if (errno != EINTR) _exit(CALL_FAILED);
    }
}

static void copy(void) {
    static char buf[65536];
    for (size_t n; (n = get(buf, sizeof buf)) > 0;) put(1, buf, n);
}

static void tell_directory(void) {
    char path[4096];
    if (!getcwd(path, sizeof path)) _exit(CALL_FAILED);
    put_text(1, path, "\n");
}

static void tell_number(void) {
    char text[16];
    snprintf(text, sizeof text, "%12ld", (long)getpid());
    put(1, text, 12);
}

static void leave(const char *code, char **rest) {
    const char *argv[32] = {"contract", "--child"};
    size_t count = 2;
    while (*rest && count < 31) argv[count++] = *rest++;
    if (plain_child(argv, NULL) <= 0) _exit(CALL_FAILED);
    _exit(atoi(code));
}

/* Those that take nothing; 0 if word is none of them. */
static int do_alone(const char *word) {
    char byte;
    if (strcmp(word, "where") == 0) return tell_directory(), 1;
    if (strcmp(word, "pid") == 0) return tell_number(), 1;
    if (strcmp(word, "cat") == 0) return copy(), 1;
    if (strcmp(word, "wait") == 0) return (void)get(&byte, 1), 1;
    if (strcmp(word, "group") == 0) return setpgid(0, 0) == 0 ? 1 : (_exit(CALL_FAILED), 1);
    if (strcmp(word, "crash") == 0) return process_crash(), 1;
    return 0;
}

static void do_with(const char *word, const char *value, char **rest) {
    const char *found;
    if (strcmp(word, "say") == 0) {
        put_text(1, value, "\n");
    } else if (strcmp(word, "err") == 0) {
        put_text(2, value, "\n");
    } else if (strcmp(word, "env") == 0) {
        found = getenv(value);
        put_text(1, found ? found : "", "-");
    } else if (strcmp(word, "make") == 0) {
        if (mkdir(value, 0700) != 0) _exit(CALL_FAILED);
    } else if (strcmp(word, "pause") == 0) {
        sleep_ns((uint64_t)atoi(value) * MS);
    } else if (strcmp(word, "leave") == 0) {
        leave(value, rest);
    } else if (strcmp(word, "exit") == 0) {
        _exit(atoi(value));
    } else {
        _exit(WORD_UNKNOWN);
    }
}

/* argv of main(). A program that was given no argument at all is told by its environment. */
int is_child(int argc, char **argv) {
    return argc == 1 ? getenv(ALONE) != NULL : argc > 1 && strcmp(argv[1], "--child") == 0;
}

int child_main(char **argv) {
    char **at = argv[1] ? argv + 2 : argv + 1;
    while (*at) {
        const char *word = *at++;
        if (strcmp(word, "args") == 0) {
            while (*at) put_text(1, *at++, "|");
            put(1, "\n", 1);
        } else if (!do_alone(word)) {
            if (!*at) return WORD_UNKNOWN;
            const char *value = *at++;
            do_with(word, value, at);
        }
    }
    return 0;
}
