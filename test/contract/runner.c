/* runner.c - runs the contract suite on every configuration of every backend
 *
 *     contract                       everything; the last line is "N passed, N failed, N skipped"
 *     contract --list                the configurations and tests, one pair to a line
 *     contract --filter 09 --config uring --verbose
 *     contract --one NAME --config CFG   this test, in this process (for a debugger)
 *
 * Configurations are a backend with all its features, the same with each optional feature masked
 * off, with all of them masked off, and with everything but under a signal 1,000 times a second.
 * The names of the features come from the backend itself. What the other files do: runner.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "runner.h"
#include "tables.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CONFIGS_MAX 64
#define CHOICES_MAX 32
#define TESTS_MAX 1024
#define DESCRIPTORS 1024 /* that the tests count on */

#define CONFIG_DEFAULT                                                                             \
    (FERRY_TEST_URING ? "uring" : FERRY_TEST_EPOLL ? "epoll" : FERRY_TEST_IOCP ? "iocp" : "kqueue")

struct arguments {
    struct options options;
    const char *one, *helper, *directory;
    const char *filters[CHOICES_MAX];
    size_t filter_count;
    const char *wanted[CHOICES_MAX]; /* configurations */
    size_t wanted_count;
    int list, alarm;
};

static const struct contract_test *const test_tables[] = {
#define TABLE_NAME(name) name,
    RULE_TABLES(TABLE_NAME) TROUBLE_TABLES(TABLE_NAME) SYSTEM_TABLES(TABLE_NAME)
        POSIX_TABLES(TABLE_NAME)};

static const struct contract_helper *const helper_tables[] = {
    HELPER_TABLES(TABLE_NAME) SYSTEM_HELPER_TABLES(TABLE_NAME) POSIX_HELPER_TABLES(TABLE_NAME)};
#undef TABLE_NAME

#define TABLE_COUNT(tables) (sizeof(tables) / sizeof(tables)[0])

static char config_names[CONFIGS_MAX][96];
static size_t config_count;

/* ---- Configurations -------------------------------------------------------------------- */

static void config_add(const char *name, const char *suffix) {
    if (config_count == CONFIGS_MAX) return;
    snprintf(config_names[config_count++], sizeof config_names[0], "%s%s", name, suffix);
}

/* Asks a loop for the names of its optional features, to be masked each by itself if masks_each,
 * else only all together. Returns 0 if the backend does not work here, and tells why. */
static int configs_find(const char *backend, enum ferry_backend number, int masks_each) {
    char why[512] = "", name[96];
    ferry_loop *loop = NULL;
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.backend = number;
    config.why = why;
    config.why_len = sizeof why;
    int err = ferry_loop_open(&loop, &config);
    if (err < 0) {
        printf("%s cannot be used here: %s: %s\n", backend, ferry_strerror(err), why);
        return 0;
    }
    /* Some features are found once the loop runs. */
    if (ferry_run(loop, FERRY_RUN_NOWAIT) < 0) printf("the loop that was asked does not run\n");
    const ferry_description *about = ferry_loop_describe(loop);
    config_add(backend, "");
    for (size_t i = 0; masks_each && i < about->feature_count; i++) {
        if (about->features[i].state != FERRY_FEATURE_FOUND) continue;
        snprintf(name, sizeof name, "%s-no-%s", backend, about->features[i].name);
        config_add(name, "");
    }
    config_add(backend, "-no-all");
    if (!FERRY_TEST_IOCP) config_add(backend, "+alarm");
    if (ferry_loop_close(loop) != 0) printf("the loop that was asked could not be closed\n");
    return 1;
}

static int is_wanted_config(const struct arguments *arguments, const char *name) {
    for (size_t i = 0; i < arguments->wanted_count; i++) {
        if (strcmp(arguments->wanted[i], name) == 0) return 1;
    }
    return arguments->wanted_count == 0;
}

/* Drops what is not wanted, and puts all of it under the alarm if that is wanted. */
static void configs_choose(const struct arguments *arguments) {
    size_t kept = 0;
    for (size_t i = 0; i < config_count; i++) {
        char name[96];
        memcpy(name, config_names[i], sizeof name);
        if (!is_wanted_config(arguments, name)) continue;
        const char *suffix = arguments->alarm && !strchr(name, '+') ? "+alarm" : "";
        snprintf(config_names[kept++], sizeof name, "%.80s%s", name, suffix);
    }
    config_count = kept;
}

/* ---- Tests ----------------------------------------------------------------------------- */

static const struct contract_test *test_find(const char *name) {
    for (size_t t = 0; t < TABLE_COUNT(test_tables); t++) {
        for (const struct contract_test *test = test_tables[t]; test->name; test++) {
            if (strcmp(test->name, name) == 0) return test;
        }
    }
    for (const struct contract_test *test = none_tests; test->name; test++) {
        if (strcmp(test->name, name) == 0) return test;
    }
    return NULL;
}

static const struct contract_helper *helper_find(const char *name) {
    for (size_t t = 0; t < TABLE_COUNT(helper_tables); t++) {
        for (const struct contract_helper *helper = helper_tables[t]; helper->name; helper++) {
            if (strcmp(helper->name, name) == 0) return helper;
        }
    }
    return NULL;
}

static int is_wanted_test(const struct arguments *arguments, const char *name) {
    for (size_t i = 0; i < arguments->filter_count; i++) {
        if (strstr(name, arguments->filters[i])) return 1;
    }
    return arguments->filter_count == 0;
}

static size_t table_add(const struct arguments *arguments, const struct contract_test *table,
                        const char *config, struct job *jobs, size_t count) {
    for (const struct contract_test *test = table; test->name; test++) {
        if (!is_wanted_test(arguments, test->name)) continue;
        jobs[count].test = test;
        jobs[count].config = config;
        count++;
    }
    return count;
}

/* The backend that refuses everything has a few tests of its own; the others have all the rest. */
static size_t jobs_make(const struct arguments *arguments, struct job *jobs) {
    size_t count = 0;
    for (size_t c = 0; c < config_count; c++) {
        const char *config = config_names[c];
        if (strncmp(config, "none", 4) == 0) {
            count = table_add(arguments, none_tests, config, jobs, count);
            continue;
        }
        for (size_t t = 0; t < TABLE_COUNT(test_tables); t++) {
            count = table_add(arguments, test_tables[t], config, jobs, count);
        }
    }
    return count;
}

/* ---- The program ----------------------------------------------------------------------- */

static int usage(void) {
    fprintf(stderr, "usage: contract [--list] [--filter TEXT]... [--config CFG]... [-j CHILDREN]\n"
                    "                [--alarm] [--skips FILE] [--verbose]\n"
                    "       contract --one NAME [--config CFG]\n");
    return EXIT_USAGE;
}

/* Takes the option at argv[at]; returns where the next one stands, 0 if there is no such option. */
static int argument_take(struct arguments *to, int argc, char **argv, int at) {
    const char *name = argv[at];
    const char *value = at + 1 < argc ? argv[at + 1] : NULL;
    if (strcmp(name, "--list") == 0) return to->list = 1, at + 1;
    if (strcmp(name, "--alarm") == 0) return to->alarm = 1, at + 1;
    if (strcmp(name, "--verbose") == 0) return to->options.verbose = 1, at + 1;
    if (!value) return 0;
    if (strcmp(name, "--one") == 0) return to->one = value, at + 2;
    if (strcmp(name, "--helper") == 0) return to->helper = value, at + 2;
    if (strcmp(name, "--directory") == 0) return to->directory = value, at + 2;
    if (strcmp(name, "--skips") == 0) return to->options.skips = value, at + 2;
    if (strcmp(name, "--filter") == 0 && to->filter_count < CHOICES_MAX) {
        to->filters[to->filter_count++] = value;
        return at + 2;
    }
    if (strcmp(name, "--config") == 0 && to->wanted_count < CHOICES_MAX) {
        to->wanted[to->wanted_count++] = value;
        return at + 2;
    }
    if (strcmp(name, "-j") == 0 && atoi(value) > 0 && atoi(value) <= 64) {
        to->options.children = (unsigned)atoi(value);
        return at + 2;
    }
    return 0;
}

/* One test or helper in this process. Without --directory one is made for it. */
static int main_one(const struct arguments *arguments) {
    char made[128];
    struct test_setup setup = {
        .program = arguments->options.program,
        .config = arguments->wanted_count ? arguments->wanted[0] : CONFIG_DEFAULT,
        .directory = arguments->directory ? arguments->directory
                                          : temp_make(made, sizeof made, "one"),
    };
    if (!setup.directory || test_setup(&setup) < 0) return usage();
    int status = EXIT_USAGE;
    if (arguments->helper) {
        const struct contract_helper *helper = helper_find(arguments->helper);
        if (helper) status = run_helper(helper);
    } else {
        const struct contract_test *test = test_find(arguments->one);
        if (test) status = run_one(test);
    }
    if (!arguments->directory) remove_tree(made);
    return status;
}

/* Some systems begin with as few as 256 descriptors. */
static void descriptors_allow(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS) {
        if (set_fd_limit(DESCRIPTORS) != 0) perror("allowing 1,024 descriptors");
    }
}

static int main_all(const struct arguments *arguments) {
    struct counts counts = {0, 0, 0};
    descriptors_allow();
    int usable = !FERRY_TEST_URING || configs_find("uring", FERRY_URING, 1);
    if (FERRY_TEST_EPOLL) {
        usable &= configs_find("epoll", FERRY_EPOLL, 0);
        config_add("epoll", "-inline");
        config_add("epoll", "-dedicated");
    }
    if (FERRY_TEST_KQUEUE) {
        usable &= configs_find("kqueue", FERRY_KQUEUE, 0);
        config_add("kqueue", "-inline");
        config_add("kqueue", "-dedicated");
    }
    if (FERRY_TEST_IOCP) usable &= configs_find("iocp", FERRY_IOCP, 1);
    config_add("none", "");
    configs_choose(arguments);

    struct job *jobs = calloc(CONFIGS_MAX * TESTS_MAX, sizeof *jobs);
    if (!jobs) return EXIT_FAILED;
    size_t count = jobs_make(arguments, jobs);
    if (arguments->list) {
        for (size_t i = 0; i < count; i++) printf("%s %s\n", jobs[i].config, jobs[i].test->name);
        free(jobs);
        return EXIT_PASSED;
    }
    run_all(&arguments->options, jobs, count, &counts);
    free(jobs);
    if (!usable) counts.failed++;
    if (count == 0) {
        printf("nothing is of that name\n");
        counts.failed++;
    }
    printf("%u passed, %u failed, %u skipped\n", counts.passed, counts.failed, counts.skipped);
    return counts.failed ? EXIT_FAILED : EXIT_PASSED;
}

/* Most tests wait half of their time. */
static unsigned children_default(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 2 : processors > 8 ? 16 : 2 * (unsigned)processors;
}

int main(int argc, char **argv) {
    if (is_child(argc, argv)) return child_main(argv);
    static char program[PATH_MAX];
    struct arguments arguments;
    memset(&arguments, 0, sizeof arguments);
    if (program_find(program, sizeof program) != 0) {
        fprintf(stderr, "contract: where is this program?\n");
        return EXIT_FAILED;
    }
    arguments.options.program = program;
    arguments.options.skips = FERRY_TEST_SKIPS;
    arguments.options.children = children_default();

    for (int at = 1; at < argc;) {
        at = argument_take(&arguments, argc, argv, at);
        if (at == 0) return usage();
    }
    if (arguments.one || arguments.helper) return main_one(&arguments);

    /* What the user's environment says about backends is not what is tested. */
    unsetenv("FERRY_BACKEND");
    unsetenv("FERRY_DISABLE");
    arguments.options.complete = arguments.filter_count == 0;
    return main_all(&arguments);
}
