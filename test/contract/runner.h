/* runner.h - the parts of the contract runner
 *
 * runner.c reads the command line and knows the configurations, run_all.c runs each test in a
 * process of its own, run_one.c is what such a process does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_RUNNER_H
#define FERRY_TEST_RUNNER_H

#include "internal.h"

/* One test on one configuration. */
struct job {
    const struct contract_test *test;
    const char *config;
};

struct counts {
    unsigned passed, failed, skipped;
};

struct options {
    const char *program; /* this program, absolute */
    const char *skips;   /* the list of skips that are right here, a path */
    unsigned children;   /* how many at a time */
    int verbose;         /* tell every test, not only those that fail */
    int complete;        /* nothing is filtered: the uses of features can be judged */
};

/* Runs all jobs, tells failures, adds up. */
void run_all(const struct options *options, const struct job *jobs, size_t count,
             struct counts *counts);

/* Runs one test in this process: EXIT_PASSED, EXIT_FAILED or EXIT_SKIPPED. */
int run_one(const struct contract_test *test);

/* Runs one helper in this process; returns what it returns, 99 if it failed an assertion. */
int run_helper(const struct contract_helper *helper);

/* Makes a directory where the system has those that are thrown away. NULL, or its path. */
char *temp_make(char *path, size_t size, const char *name);

/* What the processes of one configuration leave behind about their features. */
void features_collect(const char *config, const char *directory);

/* Judges it once all tests of a configuration have run: without masks each feature that the system
 * has was used; with a mask the masked one was seen to be masked. Returns 1, or 0 and tells. */
int features_judge(const char *config);

#endif
