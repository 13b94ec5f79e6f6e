/* backend.c - Ferry's backends by name
 *
 * SPDX-License-Identifier: MIT
 */
#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum ferry_backend backend;
} known[] = {
    {"uring", FERRY_URING},
    {"epoll", FERRY_EPOLL},
    {"kqueue", FERRY_KQUEUE},
    {"none", FERRY_NONE},
};

ferry_loop *backend_open(const char *name) {
    char why[512] = "";
    ferry_config config = {.size = sizeof config, .why = why, .why_len = sizeof why};
    ferry_loop *loop;
    size_t i = 0;

    if (name != NULL) {
        while (i < sizeof known / sizeof *known && strcmp(known[i].name, name) != 0) i++;
        if (i == sizeof known / sizeof *known) {
            fprintf(stderr, "not in this version\n");
            exit(1);
        }
        config.backend = known[i].backend;
    }
    int error = ferry_loop_open(&loop, &config);
    if (error < 0) {
        fprintf(stderr, "ferry_loop_open: %s: %s\n", ferry_strerror(error), why);
        exit(1);
    }
    const char *got = ferry_loop_describe(loop)->backend;
    if (name != NULL && strcmp(got, name) != 0) {
        fprintf(stderr, "%s was asked for, %s came (FERRY_BACKEND?)\n", name, got);
        exit(1);
    }
    return loop;
}
