/* run_all.c - every test in a process of its own
 *
 * A few children at a time. Each has a time limit, a directory of its own, and a pipe for what it
 * prints, which is shown if it fails. The children's exit statuses are the only verdict.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX 64
#define OUTPUT_MAX 65536
#define PATH_LEN 256

extern char **environ;

struct child {
    pid_t pid;       /* 0: this place is free */
    ferry_fd output; /* FERRY_FD_NONE: its end was read */
    int overran;
    const struct job *job;
    uint64_t start_ns, until_ns;
    size_t len;
    char text[OUTPUT_MAX];
    char directory[PATH_LEN];
};

static struct child children[CHILDREN_MAX];
static char base_directory[PATH_LEN / 2];

/* ---- The list of skips that are right here --------------------------------------------- */

/* Lines are "test" or "configuration test"; # begins a comment. */
static int is_allowed_skip(const char *path, const struct job *job) {
    char line[256], first[128], second[128];
    int found = 0;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        char *comment = strchr(line, '#');
        if (comment) *comment = 0;
        int words = sscanf(line, "%127s %127s", first, second);
        if (words == 1) found = strcmp(first, job->test->name) == 0;
        if (words == 2) {
            found = strcmp(first, job->config) == 0 && strcmp(second, job->test->name) == 0;
        }
    }
    fclose(file);
    return found;
}

/* ---- Children
 * ------------------------------------------------------------------------------------ */

static void child_tell(const struct child *child, const char *verdict, const char *why) {
    printf("%s %s %s%s%s\n", verdict, child->job->config, child->job->test->name, *why ? ": " : "",
           why);
}

static void child_show_output(const struct child *child) {
    const char *end = child->text + child->len;
    for (const char *line = child->text; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline ? newline : end;
        printf("    %.*s\n", (int)(stop - line), line);
        line = stop + 1;
    }
}

static void child_start(const struct options *options, struct child *child, const struct job *job,
                        unsigned number) {
    memset(child, 0, offsetof(struct child, text));
    child->job = job;
    snprintf(child->directory, sizeof child->directory, "%s/%u", base_directory, number);
    if (mkdir(child->directory, 0700) < 0) {
        perror(child->directory);
        exit(EXIT_USAGE);
    }
    const char *const arguments[] = {options->program, "--one",       job->test->name,  "--config",
                                     job->config,      "--directory", child->directory, NULL};
    char *argv[8];
    for (size_t i = 0; i < 8; i++) argv[i] = (char *)(uintptr_t)arguments[i];

    unsigned seconds = job->test->seconds_max ? job->test->seconds_max : 30;
    child->start_ns = clock_ns();
    child->until_ns = child->start_ns + (uint64_t)seconds * TEST_STRETCH * SECOND;
    child->pid = process_start(options->program, argv, environ, &child->output);
    if (child->pid < 0) {
        perror("starting a test");
        exit(EXIT_USAGE);
    }
}

/* What a test left out (support.h) is told though it passed: each reason once. */
static void child_tell_omissions(const struct child *child) {
    const char *line = child->text;
    while ((line = strstr(line, "left out: ")) != NULL) {
        char whole[256];
        snprintf(whole, sizeof whole, "%.*s\n", (int)strcspn(line, "\n"), line);
        if (strstr(child->text, whole) == line) {
            printf("PART %s %s: %s", child->job->config, child->job->test->name,
                   whole + strlen("left out: "));
        }
        line += strlen("left out: ");
    }
}

static void verdict_passed(const struct options *options, struct child *child,
                           struct counts *counts) {
    counts->passed++;
    child_tell_omissions(child);
    char time[32];
    snprintf(time, sizeof time, "%.2f s", (double)(clock_ns() - child->start_ns) / 1e9);
    if (options->verbose) child_tell(child, "pass", time);
}

static void verdict_skipped(const struct options *options, struct child *child,
                            struct counts *counts) {
    char reason[256] = "";
    const char *line = strstr(child->text, "SKIP: ");
    if (line) snprintf(reason, sizeof reason, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
    if (is_allowed_skip(options->skips, child->job)) {
        counts->skipped++;
        child_tell(child, "SKIP", reason);
    } else {
        counts->failed++;
        child_tell(child, "FAIL", "it was skipped, and the list of skips does not have it");
        printf("    %s\n", reason);
    }
}

static void verdict_failed(struct child *child, int status, struct counts *counts) {
    char why[128];
    counts->failed++;
    if (child->overran) {
        snprintf(why, sizeof why, "it did not end within %.0f s and was killed",
                 (double)(child->until_ns - child->start_ns) / 1e9);
    } else if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        snprintf(why, sizeof why, "exit status %d", WEXITSTATUS(status));
    }
    child_tell(child, "FAIL", why);
    child_show_output(child);
}

static void child_ended(const struct options *options, struct child *child, int status,
                        struct counts *counts) {
    child->text[child->len] = 0;
    if (child->output >= 0) close(child->output);
    child->output = FERRY_FD_NONE;
    child->pid = 0;
    int status_code = !child->overran && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
    if (status_code == EXIT_PASSED) {
        verdict_passed(options, child, counts);
    } else if (status_code == EXIT_SKIPPED) {
        verdict_skipped(options, child, counts);
    } else {
        verdict_failed(child, status, counts);
    }
    features_collect(child->job->config, child->directory);
    remove_tree(child->directory);
    fflush(stdout);
}

static void child_read(struct child *child) {
    char scrap[4096];
    size_t room = OUTPUT_MAX - 1 - child->len;
    ssize_t n = room ? read(child->output, child->text + child->len, room)
                     : read(child->output, scrap, sizeof scrap);
    if (n < 0 && errno == EINTR) return;
    if (n > 0) {
        if (room) child->len += (size_t)n;
        return;
    }
    close(child->output);
    child->output = FERRY_FD_NONE;
}

/* Takes in what the children print, ends those that take too long, judges those that have ended.
 * Returns how many have ended. A process that a test left behind may hold the pipe open, so the
 * process's end counts, not the pipe's. */
static size_t children_step(const struct options *options, struct counts *counts) {
    struct pollfd polled[CHILDREN_MAX];
    nfds_t n = 0;
    size_t ended = 0;
    for (size_t i = 0; i < options->children; i++) {
        if (children[i].pid == 0 || children[i].output < 0) continue;
        polled[n++] = (struct pollfd){.fd = children[i].output, .events = POLLIN};
    }
    int all_open = 1;
    for (size_t i = 0; i < options->children; i++) {
        if (children[i].pid != 0 && children[i].output < 0) all_open = 0;
    }
    poll(polled, n, all_open ? 100 : 1);

    for (size_t i = 0; i < options->children; i++) {
        struct child *child = &children[i];
        int status = 0;
        if (child->pid == 0) continue;
        for (nfds_t k = 0; k < n; k++) {
            if (polled[k].fd == child->output && polled[k].revents) child_read(child);
        }
        if (!child->overran && clock_ns() > child->until_ns) {
            child->overran = 1;
            kill(child->pid, SIGKILL);
        }
        if (child->output >= 0 && !child->overran) continue;
        if (waitpid(child->pid, &status, WNOHANG) != child->pid) continue;
        child_ended(options, child, status, counts);
        ended++;
    }
    return ended;
}

/* ---- All of them
 * ---------------------------------------------------------------------------------- */

/* Runs the jobs of one configuration, which stand one after the other. */
static void config_run(const struct options *options, const struct job *jobs, size_t count,
                       struct counts *counts) {
    static unsigned number;
    struct counts before = *counts;
    uint64_t start_ns = clock_ns();
    size_t started = 0, ended = 0;
    while (ended < count) {
        for (size_t i = 0; i < options->children && started < count; i++) {
            if (children[i].pid != 0) continue;
            child_start(options, &children[i], &jobs[started++], number++);
        }
        ended += children_step(options, counts);
    }
    if (options->complete) {
        unsigned *verdict = features_judge(jobs[0].config) ? &counts->passed : &counts->failed;
        ++*verdict;
    }
    printf("%-32s %4u passed, %u failed, %u skipped (%.1f s)\n", jobs[0].config,
           counts->passed - before.passed, counts->failed - before.failed,
           counts->skipped - before.skipped, (double)(clock_ns() - start_ns) / 1e9);
    fflush(stdout);
}

char *temp_make(char *path, size_t size, const char *name) {
    const char *where = getenv(TEST_TEMP_VARIABLE);
    snprintf(path, size, "%s/ferry-%s-XXXXXX",
             where && *where && strlen(where) < 64 ? where : "/tmp", name);
    return mkdtemp(path);
}

/* Tests compare paths: the one to their directories leads through no symbolic link, as that of
 * macOS's /tmp would. */
static void base_resolve(void) {
    char *resolved = realpath(base_directory, NULL);
    if (resolved && strlen(resolved) < sizeof base_directory) strcpy(base_directory, resolved);
    free(resolved);
}

void run_all(const struct options *options, const struct job *jobs, size_t count,
             struct counts *counts) {
    if (!temp_make(base_directory, sizeof base_directory, "contract")) {
        perror(base_directory);
        exit(EXIT_USAGE);
    }
    base_resolve();
    for (size_t first = 0; first < count;) {
        size_t end = first;
        while (end < count && jobs[end].config == jobs[first].config) end++;
        config_run(options, jobs + first, end - first, counts);
        first = end;
    }
    remove_tree(base_directory);
}
