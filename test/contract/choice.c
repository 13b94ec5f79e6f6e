/* Choosing a backend (the design's section 5): what a loop tells about itself, what config and
 * environment may ask for, and what happens when the system refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "choice.h"
#include "internal.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void contract_00_describes_itself(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const ferry_description *about = ferry_loop_describe(loop);
    assert_non_null(about);
    assert_string_equal(about->backend, test_backend());
    for (size_t i = 0; i < about->feature_count; i++) {
        const ferry_feature *feature = &about->features[i];
        assert_true(feature->name && *feature->name);
        /* A name has to survive in a list of names. */
        assert_int_equal(strcspn(feature->name, ", \t\n+"), strlen(feature->name));
        assert_string_not_equal(feature->name, "all");
        assert_true(feature->state <= FERRY_FEATURE_FOUND);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(feature->name, about->features[k].name);
        }
    }
    int has_queue = strcmp(test_backend(), "uring") == 0; /* for submissions */
    assert_true(has_queue ? about->submission_entries >= 256 : about->submission_entries == 0);
    assert_true(about->completion_entries >= 8192);
    assert_true(about->completion_entries >= about->submission_entries);
    for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_COUNT; code++) {
        if (!ferry_supports(loop, code)) fail_msg("%s is not supported", ferry_op_name(code));
    }
    assert_int_equal(ferry_supports(loop, FERRY_OP_NONE), 0);
    assert_int_equal(ferry_supports(loop, FERRY_OP_COUNT), 0);
    assert_int_equal(ferry_supports(loop, 0xffffffffu), 0);
    test_close(loop);
}

static void contract_00_sizes_are_taken_from_the_config(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{64, 64}, {32, 4096}, {1, 2}, {4096, 16384}, {100, 100}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ferry_config config;
        struct probe p = {.calls = 0};
        memset(&config, 0, sizeof config);
        config.submission_entries = sizes[i][0];
        config.completion_entries = sizes[i][1];
        ferry_loop *loop = test_loop_with(&config);
        const ferry_description *about = ferry_loop_describe(loop);
        if (strcmp(test_backend(), "uring") == 0) {
            assert_true(about->submission_entries >= sizes[i][0]);
            assert_true(about->submission_entries <= 2 * sizes[i][0] + 32);
        }
        assert_true(about->completion_entries >= sizes[i][1]);
        ferry_nop(loop, &p.op, 0, probe_done);
        run_done(loop);
        probe_check(&p, 0);
        test_close(loop);
    }
}

static void refused(ferry_config *config, int expected) {
    char why[300] = "";
    ferry_loop *loop = (ferry_loop *)why; /* to see that it is set */
    config->why = why;
    config->why_len = sizeof why;
    int err = ferry_loop_open(&loop, config);
    if (err != expected) {
        fail_msg("opening gave %d (%s), not %s: %s", err, ferry_error_name(err),
                 ferry_error_name(expected), why);
    }
    assert_null(loop);
}

static void *some_allocate(size_t bytes, void *context) {
    (void)context;
    return malloc(bytes);
}

static void contract_00_bad_configs(void **state) {
    (void)state;
    ferry_config config;
    memset(&config, 0, sizeof config);
    refused(&config, FERRY_EINVAL); /* no size */
    config.size = 3;
    refused(&config, FERRY_EINVAL);
    config.size = sizeof config + 4096;
    refused(&config, FERRY_EINVAL);
    config.size = sizeof config;
    config.backend = (enum ferry_backend)77;
    refused(&config, FERRY_EINVAL);
    config.backend = FERRY_AUTO;
    config.allocate = some_allocate;
    refused(&config, FERRY_EINVAL);
    config.allocate = NULL;
    config.disable = "no_such_feature";
    refused(&config, FERRY_EINVAL);
    config.disable = "all,no_such_feature";
    refused(&config, FERRY_EINVAL);
    assert_int_equal(ferry_loop_open(NULL, NULL), FERRY_EINVAL);
}

static void contract_00_masks_by_config(void **state) {
    (void)state;
    char names[512] = "";
    ferry_loop *loop = test_loop();
    const ferry_description *about = ferry_loop_describe(loop);
    for (size_t i = 0; i < about->feature_count && i < 3; i++) {
        strcat(names, i ? "," : "");
        strcat(names, about->features[i].name);
    }
    test_close(loop);
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.disable = names;
    loop = test_loop_with(&config);
    about = ferry_loop_describe(loop);
    struct probe p = {.calls = 0};
    ferry_timer(loop, &p.op, MS, 0, 0, probe_done);
    run_done(loop);
    probe_check(&p, 0);
    for (size_t i = 0; i < about->feature_count && i < 3; i++) {
        assert_int_not_equal(about->features[i].state, FERRY_FEATURE_FOUND);
        assert_int_equal(about->features[i].uses, 0);
    }
    test_close(loop);
}

/* Full descriptor tables are reported, not worked around. */
static void contract_00_full_descriptor_table(void **state) {
    (void)state;
    static ferry_fd fds[64];
    size_t count = 0;
    ferry_config config;
    ferry_loop *loop = NULL;
    assert_int_equal(set_fd_limit(40), 0);
    while (count < 64 && (fds[count] = dup(1)) >= 0) count++;
    assert_true(count > 0);
    for (;;) {
        memset(&config, 0, sizeof config);
        int err = test_open(&loop, &config);
        if (err == 0) break;
        assert_int_equal(err, FERRY_EMFILE);
        assert_null(loop);
        assert_true(count > 0);
        close(fds[--count]);
    }
    while (count > 0) close(fds[--count]);
    test_close(loop);
}

/* ---- The environment
 * ----------------------------------------------------------------------------- */

int helper_open_auto(void) {
    char why[400] = "";
    ferry_loop *loop = NULL;
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.why = why;
    config.why_len = sizeof why;
    int err = ferry_loop_open(&loop, &config);
    printf("outcome %s\nwhy %s\n", ferry_error_name(err), why);
    if (err < 0) return loop ? 1 : 0;
    const ferry_description *about = ferry_loop_describe(loop);
    printf("backend %s\n", about->backend);
    for (size_t i = 0; i < about->refusal_count; i++) {
        printf("refused %s\n", about->refusals[i].backend);
    }
    for (size_t i = 0; i < about->feature_count; i++) {
        printf("feature %s %d\n", about->features[i].name, (int)about->features[i].state);
    }
    return ferry_loop_close(loop) == 0 ? 0 : 1;
}

static void helper_opens(const char *const *env, const char *expected) {
    static struct helper_result result;
    helper_run("open_auto", env, &result);
    if (!result.exited || result.status != 0 || !strstr(result.output, expected)) {
        fail_msg("no \"%s\" in (status %d):\n%s", expected, result.status, result.output);
    }
}

/* What is chosen where there is a choice, the first of those that were built, and another. */
#define BEST                                                                                       \
    (FERRY_TEST_URING ? "uring" : FERRY_TEST_EPOLL ? "epoll" : FERRY_TEST_IOCP ? "iocp" : "kqueue")
#define OTHER (FERRY_TEST_EPOLL ? "epoll" : "kqueue")

static const char *chosen(const char *backend, int is_built) {
    static char text[4][64];
    static unsigned next;
    char *line = text[next++ % 4];
    if (is_built) snprintf(line, sizeof text[0], "backend %s\n", backend);
    else snprintf(line, sizeof text[0], "outcome FERRY_ENOTSUP");
    return line;
}

static void contract_00_environment_chooses_the_backend(void **state) {
    (void)state;
    const char *const none[] = {"FERRY_BACKEND=none", NULL};
    const char *const automatic[] = {"FERRY_BACKEND=auto", NULL};
    const char *const uring[] = {"FERRY_BACKEND=uring", NULL};
    const char *const epoll[] = {"FERRY_BACKEND=epoll", NULL};
    const char *const kqueue[] = {"FERRY_BACKEND=kqueue", NULL};
    const char *const iocp[] = {"FERRY_BACKEND=iocp", NULL};
    const char *const single[] = {FERRY_TEST_EPOLL ? epoll[0] : kqueue[0], "FERRY_ADAPTER=inline",
                                  NULL};
    const char *const strange[] = {"FERRY_BACKEND=epol", NULL};
    const char *const odd[] = {"FERRY_ADAPTER=both", NULL};
    helper_opens(epoll, chosen("epoll", FERRY_TEST_EPOLL));
    helper_opens(kqueue, chosen("kqueue", FERRY_TEST_KQUEUE));
    helper_opens(iocp, chosen("iocp", FERRY_TEST_IOCP));
    if (!FERRY_TEST_IOCP) helper_opens(single, chosen(OTHER, 1));
    helper_opens(strange, "outcome FERRY_EINVAL");
    helper_opens(odd, "outcome FERRY_EINVAL");
    helper_opens(NULL, chosen(BEST, 1));
    helper_opens(none, "outcome FERRY_ENOTSUP");
    helper_opens(automatic, chosen(BEST, 1));
    helper_opens(uring, chosen("uring", FERRY_TEST_URING));
}

static void contract_00_environment_masks_features(void **state) {
    (void)state;
    char mask[128], expected[128], backend[64];
    ferry_loop *loop = test_loop();
    snprintf(backend, sizeof backend, "FERRY_BACKEND=%s", test_backend());
    const ferry_description *about = ferry_loop_describe(loop);
    for (size_t i = 0; i < about->feature_count; i++) {
        if (about->features[i].state == FERRY_FEATURE_MISSING) continue;
        snprintf(mask, sizeof mask, "FERRY_DISABLE=%s", about->features[i].name);
        snprintf(expected, sizeof expected, "feature %s %d\n", about->features[i].name,
                 (int)FERRY_FEATURE_MASKED);
        const char *const one[] = {mask, backend, NULL};
        const char *const all[] = {"FERRY_DISABLE=all", backend, NULL};
        helper_opens(one, expected);
        if (i < 3) helper_opens(all, expected);
    }
    test_close(loop);
}

static int helper_open_masked(void) {
    ferry_loop *loop = NULL;
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.disable = getenv("FERRY_TEST_MASK");
    if (test_open(&loop, &config) != 0) return 1;
    const ferry_description *about = ferry_loop_describe(loop);
    for (size_t i = 0; i < about->feature_count; i++) {
        printf("feature %s %d\n", about->features[i].name, (int)about->features[i].state);
    }
    return ferry_loop_close(loop) == 0 ? 0 : 1;
}

/* FERRY_DISABLE adds to what the config turns off. */
static void contract_00_environment_adds_to_the_config(void **state) {
    (void)state;
    static struct helper_result result;
    char by_config[96], by_environment[96], expected[96];
    ferry_loop *loop = test_loop();
    const ferry_description *about = ferry_loop_describe(loop);
    assert_true(about->feature_count >= 2);
    const char *names[] = {about->features[0].name, about->features[1].name};
    snprintf(by_config, sizeof by_config, "FERRY_TEST_MASK=%s", names[0]);
    snprintf(by_environment, sizeof by_environment, "FERRY_DISABLE=%s", names[1]);
    const char *const env[] = {by_config, by_environment, NULL};
    helper_run("open_masked", env, &result);
    assert_int_equal(result.status, 0);
    for (int i = 0; i < 2; i++) {
        snprintf(expected, sizeof expected, "feature %s %d\n", names[i], (int)FERRY_FEATURE_MASKED);
        if (!strstr(result.output, expected)) fail_msg("no \"%s\" in %s", expected, result.output);
    }
    test_close(loop);
}

static void copy_program(const char *to) {
    static char bytes[1 << 16];
    ferry_fd source = open(test_program(), O_RDONLY | O_CLOEXEC);
    ferry_fd copy = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    ssize_t count;
    assert_true(source >= 0 && copy >= 0);
    while ((count = read(source, bytes, sizeof bytes)) > 0) {
        assert_int_equal(write(copy, bytes, (size_t)count), count);
    }
    assert_int_equal(count, 0);
    assert_int_equal(fchown(copy, TEST_UID_ALONE, (gid_t)-1), 0);
    assert_int_equal(fchmod(copy, 04755), 0);
    close(source);
    close(copy);
}

static int helper_open_set_uid(void) {
    /* A sanitizer looks for leaks as a debugger would, which needs one user and the right to. That
     * the program was started as privileged stays. */
    uid_t user = geteuid();
    if (setreuid(user, user) != 0) return 1;
    allow_tracing();
    return helper_open_auto();
}

/* Who runs a program with another's rights has no say in how it does its work. */
static void contract_00_a_set_uid_program_ignores_the_environment(void **state) {
    (void)state;
    static struct helper_result result;
    const char *const env[] = {"FERRY_BACKEND=none", NULL};
    const char *copy = temp_path("set-uid");
    if (geteuid() != 0) test_skip("only root can make a program run as another user");
    copy_program(copy);
    helper_run_copy(copy, "open_set_uid", env, &result);
    if (result.status != 0 || !strstr(result.output, "outcome FERRY_OK")) {
        fail_msg("status %d:\n%s", result.status, result.output);
    }
}

/* ---- The backend that refuses everything
 * ------------------------------------------------------------- */

static void none_refuses_with_a_reason(void **state) {
    (void)state;
    char why[300] = "";
    ferry_loop *loop = NULL;
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.why = why;
    config.why_len = sizeof why;
    assert_int_equal(test_open(&loop, &config), FERRY_ENOTSUP);
    assert_null(loop);
    assert_true(strlen(why) > 0);
    /* The reason is cut to the room there is. */
    memset(why, 'x', sizeof why);
    config.why_len = 5;
    assert_int_equal(test_open(&loop, &config), FERRY_ENOTSUP);
    assert_true(strlen(why) < 5);
    assert_int_equal(why[5], 'x');
}

static void none_leaves_the_words_usable(void **state) {
    (void)state;
    ferry_addr addr;
    char text[64];
    assert_string_equal(ferry_version(), FERRY_VERSION_STRING);
    assert_string_equal(ferry_error_name(FERRY_ENOTSUP), "FERRY_ENOTSUP");
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:80"), 0);
    assert_int_equal(ferry_addr_port(&addr), 80);
    ferry_addr_format(&addr, text, sizeof text);
    assert_string_equal(text, "127.0.0.1:80");
    assert_int_equal(ferry_loop_close(NULL), 0);
}

const struct contract_helper choice_helpers[] = {{"open_auto", helper_open_auto},
                                                 {"open_masked", helper_open_masked},
                                                 {"open_set_uid", helper_open_set_uid},
                                                 {NULL, NULL}};

const struct contract_test choice_tests[] = {
    {"contract_00_describes_itself", contract_00_describes_itself, 0},
    {"contract_00_sizes_are_taken_from_the_config", contract_00_sizes_are_taken_from_the_config, 0},
    {"contract_00_bad_configs", contract_00_bad_configs, 0},
    {"contract_00_masks_by_config", contract_00_masks_by_config, 0},
    {"contract_00_full_descriptor_table", contract_00_full_descriptor_table, 0},
    {"contract_00_environment_chooses_the_backend", contract_00_environment_chooses_the_backend, 0},
    {"contract_00_environment_masks_features", contract_00_environment_masks_features, 60},
    {"contract_00_environment_adds_to_the_config", contract_00_environment_adds_to_the_config, 0},
    {"contract_00_a_set_uid_program_ignores_the_environment",
     contract_00_a_set_uid_program_ignores_the_environment, 0},
    {NULL, NULL, 0}};

const struct contract_test none_tests[] = {
    {"none_refuses_with_a_reason", none_refuses_with_a_reason, 0},
    {"none_leaves_the_words_usable", none_leaves_the_words_usable, 0},
    {NULL, NULL, 0}};
