/* internal.h - what the files of test/support/ and the runner share, and no test needs
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_INTERNAL_H
#define FERRY_TEST_INTERNAL_H

#include <sys/types.h>

#include "support.h"

/* In a test's directory: lines of "name state uses", one for each feature of each closed loop. */
#define FEATURES_FILE "features"

/* Exit statuses of a process that runs one test. */
enum { EXIT_PASSED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SKIPPED = 77 };

const char *test_config(void);
const char *test_program(void);
const char *test_directory(void);

/* The path of this program, to be run again. 0, or -1. */
int program_find(char *path, size_t size);

/* What a descriptor is, for messages. */
void fd_describe(ferry_fd fd, char *text, size_t size);

/* Waits a while for the threads of this process to have nothing to do, where they can be seen. */
void threads_settle(void);

/* The threads there are, the first max of them in list; how many. 0 where they have no names. */
size_t list_threads(long *list, size_t max);

/* How often the threads of this process have gone to sleep, without the one that calls and those in
 * the list, of which the first of the process is never one. COUNT_UNKNOWN where the system does not
 * tell them apart. */
uint64_t count_sleeps(const long *but, size_t but_count);
#define COUNT_UNKNOWN UINT64_MAX

/* From here on SIGALRM interrupts this process 1,000 times a second, with a handler that does
 * nothing and that restarts nothing. */
void alarm_start(void);

/* Does what makes the system open things that it keeps, before they are counted. */
void process_warm(void);

/* Removes a directory with all in it. */
void remove_tree(const char *path);

/* Starts this program again with arguments (argv[0] included, NULL-ended) and environment, both its
 * outputs going to *output, a descriptor to read from. Signals are as a fresh process has them.
 * Returns the process or -1. */
pid_t process_start(const char *program, char *const argv[], char *const env[], ferry_fd *output);

/* Whether the system has Unix sockets of that type; whether it makes symbolic links. */
int has_unix(int type);
int has_links(void);

/* Ends this process as one ends that touches memory that is not there, without anybody's window or
 * report. */
void process_crash(void);

/* child.c: whether this program was begun as somebody's child, and what it is then. argv as main()
 * has it. */
int is_child(int argc, char **argv);
int child_main(char **argv);

#endif
