/* support.c - the loop under test, its masks, and probes
 *
 * The runner tells a process once what it tests (test_setup()); from then on every loop that a test
 * opens here has that backend and those masks. Closing checks what can be checked at no cost to the
 * test: that closing succeeds, and that a masked feature was not used in all of the loop's life.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define WAIT_MAX (20 * SECOND * TEST_STRETCH)

static char config_name[128];
static char program_path[512];
static char directory_path[256];
static char backend_name[32];
static char masked_names[96];
static enum ferry_adapter adapter_mode;
static const char *skip_reason;

static int backend_number(const char *name) {
    if (strcmp(name, "uring") == 0) return FERRY_URING;
    if (strcmp(name, "epoll") == 0) return FERRY_EPOLL;
    if (strcmp(name, "kqueue") == 0) return FERRY_KQUEUE;
    if (strcmp(name, "iocp") == 0) return FERRY_IOCP;
    return strcmp(name, "none") == 0 ? FERRY_NONE : -1;
}

int test_setup(const struct test_setup *setup) {
    snprintf(config_name, sizeof config_name, "%s", setup->config);
    snprintf(program_path, sizeof program_path, "%s", setup->program);
    snprintf(directory_path, sizeof directory_path, "%s", setup->directory);

    char name[128];
    snprintf(name, sizeof name, "%s", setup->config);
    char *alarm = strstr(name, "+alarm");
    if (alarm) *alarm = 0;
    char *masked = strstr(name, "-no-");
    if (masked) {
        *masked = 0;
        snprintf(masked_names, sizeof masked_names, "%.95s", masked + strlen("-no-"));
    }
    char *mode = strchr(name, '-'); /* of the adapter: "epoll-inline" */
    if (mode) *mode++ = 0;
    adapter_mode = !mode                         ? FERRY_ADAPTER_AUTO
                   : strcmp(mode, "inline") == 0 ? FERRY_ADAPTER_INLINE
                                                 : FERRY_ADAPTER_DEDICATED;
    if (mode && strcmp(mode, "inline") != 0 && strcmp(mode, "dedicated") != 0) return -1;
    if (backend_number(name) < 0) return -1;
    snprintf(backend_name, sizeof backend_name, "%.31s", name);
    if (alarm) alarm_start();
    return 0;
}

const char *test_backend(void) {
    return backend_name;
}

const char *test_masked(void) {
    return masked_names;
}

const char *test_config(void) {
    return config_name;
}

const char *test_program(void) {
    return program_path;
}

const char *test_directory(void) {
    return directory_path;
}

const char *test_skip_reason(void) {
    return skip_reason;
}

void test_skip(const char *reason) {
    skip_reason = reason;
    skip();
}

/* ---- The loop ------------------------------------------------------------------------------- */

int test_open(ferry_loop **loop, ferry_config *config) {
    char disable[256];
    const char *asked = config->disable ? config->disable : "";
    const char *comma = *asked && *masked_names ? "," : "";
    snprintf(disable, sizeof disable, "%s%s%s", asked, comma, masked_names);

    config->size = sizeof *config;
    config->backend = (enum ferry_backend)backend_number(backend_name);
    config->adapter = adapter_mode;
    config->disable = disable;
    int err = ferry_loop_open(loop, config);
    config->disable = *asked ? asked : NULL;
    return err;
}

ferry_loop *test_loop_with(ferry_config *config) {
    char why[512] = "";
    ferry_loop *loop = NULL;
    if (!config->why) {
        config->why = why;
        config->why_len = sizeof why;
    }
    int err = test_open(&loop, config);
    if (err < 0) {
        fail_msg("opening a loop: %s: %s", ferry_strerror(err), config->why);
    }
    if (config->why == why) {
        config->why = NULL;
        config->why_len = 0;
    }
    assert_non_null(loop);
    return loop;
}

ferry_loop *test_loop(void) {
    ferry_config config;
    memset(&config, 0, sizeof config);
    return test_loop_with(&config);
}

/* Whether a name is in a list as ferry_config.disable has it. */
static int is_listed(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; *at;) {
        const char *end = strchr(at, ',');
        size_t part = end ? (size_t)(end - at) : strlen(at);
        if (part == 3 && memcmp(at, "all", 3) == 0) return 1;
        if (part == len && memcmp(at, name, len) == 0) return 1;
        at += part + (end ? 1 : 0);
    }
    return 0;
}

/* A masked feature that the system has must say so, and must never have been used: the mask stands
 * where the system calls are made, so a use would have been refused, or would be counted. */
static void masks_check(const ferry_description *about) {
    for (size_t i = 0; i < about->feature_count; i++) {
        const ferry_feature *feature = &about->features[i];
        if (!is_listed(masked_names, feature->name)) continue;
        if (feature->state == FERRY_FEATURE_FOUND) {
            fail_msg("feature %s is masked but reported as found", feature->name);
        }
        if (feature->uses != 0) {
            fail_msg("feature %s is masked but was used %llu times", feature->name,
                     (unsigned long long)feature->uses);
        }
    }
}

/* Leaves the counters for the runner, which sums them over all tests: in a run without masks each
 * feature that the system has must have been used somewhere. */
static void uses_report(const ferry_description *about) {
    if (!*directory_path) return;
    char path[300];
    snprintf(path, sizeof path, "%s/" FEATURES_FILE, directory_path);
    ferry_fd fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return; /* The test may have used up the descriptors. Others will report. */
    char text[2048];
    size_t len = 0;
    for (size_t i = 0; i < about->feature_count && len < sizeof text - 128; i++) {
        const ferry_feature *feature = &about->features[i];
        int n = snprintf(text + len, sizeof text - len, "%s %d %llu\n", feature->name,
                         (int)feature->state, (unsigned long long)feature->uses);
        if (n > 0) len += (size_t)n;
    }
    if (write(fd, text, len) < 0) perror("writing the uses of features");
    close(fd);
}

void test_close(ferry_loop *loop) {
    const ferry_description *about = ferry_loop_describe(loop);
    assert_non_null(about);
    masks_check(about);
    uses_report(about);
    assert_int_equal(ferry_loop_close(loop), 0);
}

uint64_t feature_uses(ferry_loop *loop, const char *feature) {
    const ferry_description *about = ferry_loop_describe(loop);
    for (size_t i = 0; i < about->feature_count; i++) {
        if (strcmp(about->features[i].name, feature) == 0) return about->features[i].uses;
    }
    return 0;
}

/* ---- Probes --------------------------------------------------------------------------------- */

void probe_done(ferry_op *op) {
    /* Two loops in two threads may complete at once. */
    static int order;
    struct probe *p = ferry_container(op, struct probe, op);
    p->calls++;
    if (!(op->flags & FERRY_MORE)) p->finals++;
    p->result = op->result;
    p->transferred = op->transferred;
    p->flags = op->flags;
    p->called_ns = clock_ns();
    p->order = __atomic_add_fetch(&order, 1, __ATOMIC_RELAXED);
}

/* Runs turns under a timer, so that a completion that never comes is a message and not a test that
 * hangs. The timer keeps the loop running like any operation, and is gone when this returns. */
static void turns_until_final(ferry_loop *loop, const struct probe *p, size_t count) {
    struct probe guard = {.finals = 0};
    uint64_t start_ns = clock_ns();
    size_t next = 0;
    while (next < count && p[next].finals > 0) next++;
    if (next == count) return;
    ferry_timer(loop, &guard.op, WAIT_MAX, 0, 0, probe_done);
    while (next < count) {
        int more = ferry_run(loop, FERRY_RUN_ONCE);
        if (more < 0) fail_msg("ferry_run: %s", ferry_strerror(more));
        while (next < count && p[next].finals > 0) next++;
        if (next < count && (guard.finals > 0 || clock_ns() - start_ns > WAIT_MAX + SECOND)) {
            fail_msg("no final completion of a %s in time (operation %llu of %llu, %d callbacks)",
                     ferry_op_name(p[next].op.code), (unsigned long long)next + 1,
                     (unsigned long long)count, p[next].calls);
        }
    }
    ferry_cancel(loop, &guard.op);
    while (guard.finals == 0) {
        assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
        assert_true(clock_ns() - start_ns < WAIT_MAX + 2 * SECOND);
    }
}

void probe_wait(ferry_loop *loop, struct probe *p) {
    turns_until_final(loop, p, 1);
}

void probe_wait_all(ferry_loop *loop, struct probe *p, size_t count) {
    turns_until_final(loop, p, count);
}

void probe_check(const struct probe *p, int64_t result) {
    assert_int_equal(p->calls, 1);
    assert_int_equal(p->finals, 1);
    if (p->result != result) {
        fail_msg("%s ended with %lld (%s), not with %lld (%s)", ferry_op_name(p->op.code),
                 (long long)p->result, ferry_error_name(p->result), (long long)result,
                 ferry_error_name(result));
    }
}

void run_for(ferry_loop *loop, uint64_t ns) {
    struct probe timer = {.finals = 0};
    ferry_timer(loop, &timer.op, ns, 0, 0, probe_done);
    probe_wait(loop, &timer);
}

void run_done(ferry_loop *loop) {
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
}

ferry_stats loop_stats(const ferry_loop *loop) {
    ferry_stats stats;
    memset(&stats, 0xff, sizeof stats);
    ferry_loop_stats(loop, &stats, sizeof stats);
    return stats;
}
