/* features.c - what all tests of a configuration together say about the backend's features
 *
 * Each closed loop leaves lines of "name state uses" (support.c). Summed over a configuration they
 * prove two things that no single test can: without masks, each feature that the system has was
 * used by something; with a mask, the mask arrived.
 *
 * SPDX-License-Identifier: MIT
 */
#include "runner.h"

#include <stdio.h>
#include <string.h>

#define FEATURES_MAX 64

struct sum {
    char name[48];
    unsigned loops[3]; /* by enum ferry_feature_state */
    unsigned long long uses;
};

static struct sum sums[FEATURES_MAX];
static size_t sum_count;
static char collected[128]; /* the configuration that the sums are of */

static struct sum *sum_of(const char *name) {
    for (size_t i = 0; i < sum_count; i++) {
        if (strcmp(sums[i].name, name) == 0) return &sums[i];
    }
    if (sum_count == FEATURES_MAX) return NULL;
    struct sum *sum = &sums[sum_count++];
    memset(sum, 0, sizeof *sum);
    snprintf(sum->name, sizeof sum->name, "%s", name);
    return sum;
}

void features_collect(const char *config, const char *directory) {
    char path[300], name[48];
    int state = 0;
    unsigned long long uses = 0;
    if (strcmp(config, collected) != 0) {
        snprintf(collected, sizeof collected, "%s", config);
        sum_count = 0;
    }
    snprintf(path, sizeof path, "%s/" FEATURES_FILE, directory);
    FILE *file = fopen(path, "re");
    if (!file) return; /* A test that closed no loop. */
    while (fscanf(file, "%47s %d %llu", name, &state, &uses) == 3) {
        struct sum *sum = sum_of(name);
        if (!sum || state < 0 || state > 2) continue;
        sum->loops[state]++;
        sum->uses += uses;
    }
    fclose(file);
}

/* The name that a configuration masks: "" for none, "all". */
static void masked_by(const char *config, char *name, size_t size) {
    const char *mask = strstr(config, "-no-");
    snprintf(name, size, "%s", mask ? mask + strlen("-no-") : "");
    char *alarm = strchr(name, '+');
    if (alarm) *alarm = 0;
}

int features_judge(const char *config) {
    char masked[64];
    int good = 1;
    if (strcmp(config, collected) != 0) sum_count = 0;
    if (strncmp(config, "none", 4) == 0) return 1;
    masked_by(config, masked, sizeof masked);
    if (sum_count == 0) {
        printf("FAIL %s features: no loop was ever closed\n", config);
        return 0;
    }
    for (size_t i = 0; i < sum_count; i++) {
        const struct sum *sum = &sums[i];
        int is_masked = strcmp(masked, "all") == 0 || strcmp(masked, sum->name) == 0;
        if (is_masked && (sum->loops[FERRY_FEATURE_FOUND] || sum->uses)) {
            printf("FAIL %s features: %s is masked, but %u loops found it and it was used %llu "
                   "times\n",
                   config, sum->name, sum->loops[FERRY_FEATURE_FOUND], sum->uses);
            good = 0;
        }
        if (is_masked && sum->loops[FERRY_FEATURE_MASKED] == 0 &&
            sum->loops[FERRY_FEATURE_MISSING] == 0) {
            printf("FAIL %s features: %s was never seen masked\n", config, sum->name);
            good = 0;
        }
        if (!*masked && sum->loops[FERRY_FEATURE_FOUND] && sum->uses == 0) {
            printf("FAIL %s features: %s was found by %u loops but never used\n", config, sum->name,
                   sum->loops[FERRY_FEATURE_FOUND]);
            good = 0;
        }
    }
    return good;
}
