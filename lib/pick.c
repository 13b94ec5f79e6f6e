/* pick.c - the choice of a backend: the best first, and the reasons why better ones were refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <stdio.h>
#include <string.h>

#define REFUSALS_MAX (sizeof((ferry_loop *)NULL)->refusals / sizeof(ferry_refusal))

static bool is_named(const char *list, const char *name) {
    size_t len = strlen(name);
    while (list != NULL && *list != '\0') {
        size_t word = strcspn(list, ", ");
        if (word == 3 && memcmp(list, "all", 3) == 0) return true;
        if (word == len && memcmp(list, name, len) == 0) return true;
        list += word;
        list += strspn(list, ", ");
    }
    return false;
}

bool ferry__disabled(const struct ferry__options *options, const char *name) {
    return is_named(options->disable[0], name) || is_named(options->disable[1], name);
}

static bool has_feature(const struct ferry__backend *backend, const char *name, size_t len) {
    const char *known = NULL;
    for (unsigned i = 0; backend->feature != NULL && (known = backend->feature(i)) != NULL; i++) {
        if (strlen(known) == len && memcmp(name, known, len) == 0) return true;
    }
    return false;
}

static bool is_known(const char *name, size_t len) {
    if (len == 0 || (len == 3 && memcmp(name, "all", 3) == 0)) return true;
    for (unsigned i = 0; ferry__backends[i] != NULL; i++) {
        if (has_feature(ferry__backends[i], name, len)) return true;
    }
    return false;
}

/* Is each name that of a feature, of whichever backend? It may turn out that another one is used.
 */
static bool all_known(const char *list) {
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ", ");
        if (!is_known(list, len)) return false;
        list += len;
        list += strspn(list, ", ");
    }
    return true;
}

static void tell_why(const ferry_loop *loop, char *why, size_t len) {
    if (why == NULL || len == 0) return;
    size_t at = 0;
    why[0] = '\0';
    for (size_t i = 0; i < loop->description.refusal_count && at < len; i++) {
        const ferry_refusal *refusal = &loop->refusals[i];
        int wrote = snprintf(why + at, len - at, "%s%s: %s (%s)", i > 0 ? "; " : "",
                             refusal->backend, refusal->reason, ferry_error_name(refusal->error));
        at += wrote > 0 ? (size_t)wrote : 0;
    }
}

static bool wanted(enum ferry_backend choice, const struct ferry__backend *backend) {
    bool is_none = strcmp(backend->name, "none") == 0;
    switch (choice) {
    case FERRY_AUTO: return !is_none || ferry__backends[0] == backend;
    case FERRY_URING: return strcmp(backend->name, "uring") == 0;
    case FERRY_EPOLL: return strcmp(backend->name, "epoll") == 0;
    case FERRY_KQUEUE: return strcmp(backend->name, "kqueue") == 0;
    case FERRY_IOCP: return strcmp(backend->name, "iocp") == 0;
    case FERRY_NONE: return is_none;
    }
    return false;
}

/* Only FERRY_ENOTSUP is about the backend. A full descriptor table, no memory, or a name that means
 * nothing would be the same with any other. */
static bool ends_search(int error) {
    return error != FERRY_ENOTSUP;
}

int ferry__pick(ferry_loop *loop, const struct ferry__options *options, enum ferry_backend choice,
                char *why, size_t why_len) {
    ferry_description *description = &loop->description;
    description->refusals = loop->refusals;
    if ((unsigned)choice > FERRY_NONE) return FERRY_EINVAL;
    if (!all_known(options->disable[0]) || !all_known(options->disable[1])) {
        loop->refusals[description->refusal_count++] = (ferry_refusal){
            .backend = "every backend",
            .error = FERRY_EINVAL,
            .reason = "an unknown feature is named in config.disable or FERRY_DISABLE"};
        tell_why(loop, why, why_len);
        return FERRY_EINVAL;
    }
    for (unsigned i = 0; ferry__backends[i] != NULL; i++) {
        const struct ferry__backend *backend = ferry__backends[i];
        struct ferry__refused refused = {0, ""};
        if (!wanted(choice, backend)) continue;
        loop->backend = backend;
        int error = backend->open(loop, options, &refused);
        if (error == 0) {
            description->backend = backend->name;
            return 0;
        }
        if (description->refusal_count < REFUSALS_MAX) {
            loop->refusals[description->refusal_count++] = (ferry_refusal){
                .backend = backend->name, .error = refused.error, .reason = refused.reason};
        }
        if (ends_search(error)) {
            tell_why(loop, why, why_len);
            return error;
        }
    }
    if (description->refusal_count == 0) {
        loop->refusals[description->refusal_count++] = (ferry_refusal){
            .backend = choice == FERRY_URING    ? "uring"
                       : choice == FERRY_EPOLL  ? "epoll"
                       : choice == FERRY_KQUEUE ? "kqueue"
                       : choice == FERRY_IOCP   ? "iocp"
                                                : "none",
            .error = FERRY_ENOTSUP,
            .reason = "this build of the library does not have it"};
    }
    tell_why(loop, why, why_len);
    return FERRY_ENOTSUP;
}
