/* run_one.c - what a process that runs one test does
 *
 * Around the test stands a census: the same descriptors are open afterwards as before, and no
 * thread is left. Both are promises of the contract (rule 11), so every test proves them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "runner.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FDS_MAX 4096

static const struct contract_test *running;
static const struct contract_helper *helping;
static int helper_status = 99;
static int came_to_its_end;

struct census {
    ferry_fd fds[FDS_MAX];
    size_t fd_count;
    size_t thread_count;
};

static void census_take(struct census *census) {
    census->fd_count = list_fds(census->fds, FDS_MAX);
    census->thread_count = count_threads();
}

static int census_has(const struct census *census, ferry_fd fd) {
    for (size_t i = 0; i < census->fd_count && i < FDS_MAX; i++) {
        if (census->fds[i] == fd) return 1;
    }
    return 0;
}

static void fds_tell(const char *what, const struct census *in, const struct census *not_in) {
    for (size_t i = 0; i < in->fd_count && i < FDS_MAX; i++) {
        if (census_has(not_in, in->fds[i])) continue;
        char target[256];
        fd_describe(in->fds[i], target, sizeof target);
        printf("%s descriptor %lld %s\n", what, (long long)in->fds[i], target);
    }
}

/* Compares the process with what it was. A thread that was joined is still listed for an instant,
 * so threads get two seconds to be gone. */
static int census_compare(const struct census *before) {
    static struct census after;
    uint64_t start_ns = clock_ns();
    do {
        census_take(&after);
        if (after.thread_count <= before->thread_count) break;
        sleep_ns(1 * MS);
    } while (clock_ns() - start_ns < 2 * SECOND);

    int same = 1;
    if (after.thread_count > before->thread_count) {
        printf("%zu threads before the test, %zu after it\n", before->thread_count,
               after.thread_count);
        same = 0;
    }
    /* The pools of Windows give back by themselves what they have no use for. */
    if (after.fd_count > before->fd_count || (!TEST_WINDOWS && after.fd_count < before->fd_count)) {
        printf("%zu open descriptors before the test, %zu after it\n", before->fd_count,
               after.fd_count);
        fds_tell("left open:", &after, before);
        fds_tell("closed, although not the test's:", before, &after);
        same = 0;
    }
    return same;
}

/* The functions that cmocka sees, so that a skip can be told from a pass. */
static void test_under_cmocka(void **state) {
    running->run(state);
    came_to_its_end = 1;
}

static void helper_under_cmocka(void **state) {
    (void)state;
    helper_status = helping->run();
}

static void *thread_nothing(void *arg) {
    return arg;
}

/* ThreadSanitizer starts a thread of its own beside the first of the program's, which stays: it
 * must be there before threads are counted. */
static void first_thread_start(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_nothing, NULL) == 0) pthread_join(thread, NULL);
}

int run_one(const struct contract_test *test) {
    static struct census before;
    const struct CMUnitTest group[] = {{test->name, test_under_cmocka, NULL, NULL, NULL}};

    setvbuf(stdout, NULL, _IOLBF, 0);
    running = test;
    first_thread_start();
    process_warm();
    census_take(&before);
    int failures = _cmocka_run_group_tests(test->name, group, 1, NULL, NULL);
    if (failures != 0) return EXIT_FAILED;
    if (!came_to_its_end) {
        printf("SKIP: %s\n", test_skip_reason() ? test_skip_reason() : "no reason given");
        return EXIT_SKIPPED;
    }
    return census_compare(&before) ? EXIT_PASSED : EXIT_FAILED;
}

int run_helper(const struct contract_helper *helper) {
    const struct CMUnitTest group[] = {{helper->name, helper_under_cmocka, NULL, NULL, NULL}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    helping = helper;
    int failures = _cmocka_run_group_tests(helper->name, group, 1, NULL, NULL);
    return failures ? 99 : helper_status;
}
