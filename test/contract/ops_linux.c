/* ops_linux.c - counters of events, files of /proc, and a look through strace: what only Linux has
 *
 * SPDX-License-Identifier: MIT
 */
#include "embed_stage.h"
#include "internal.h"
#include "outer.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Counters of events ---------------------------------------------------------------- */

static void *write_it(void *arg) {
    uint64_t one = 1;
    sleep_ns(10 * MS);
    assert_int_equal(write(*(int *)arg, &one, sizeof one), sizeof one);
    return NULL;
}

static void wait_for_event(struct embedded *e, struct probe *p, int event, uint64_t *count,
                           int polls) {
    if (polls) {
        ferry_poll(e->loop, &p->op, event, FERRY_POLL_IN, 0, probe_done);
    } else {
        ferry_read(e->loop, &p->op, event, count, sizeof *count, FERRY_CURRENT, 0, probe_done);
    }
}

/* Linux does not always tell one eventfd from within a write to another. */
static void ops_embed_eventfd(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        int late = way % 2; /* the loop's descriptor is there first, or later */
        int polls = way / 2;
        struct embedded e = {.loop = test_loop()};
        int event = eventfd(0, EFD_CLOEXEC);
        uint64_t count = 0;
        if (!late) embedded_watch(&e, 0);
        for (int round = 0; round < 5; round++) {
            pthread_t thread;
            struct probe p = {.calls = 0};
            wait_for_event(&e, &p, event, &count, polls);
            if (late && round == 0) {
                assert_int_equal(ferry_run(e.loop, FERRY_RUN_NOWAIT), 1);
                embedded_watch(&e, 0);
            }
            embedded_rest(&e);
            assert_int_equal(p.calls, 0);
            assert_int_equal(pthread_create(&thread, NULL, write_it, &event), 0);
            embedded_run_until(&e, &p);
            assert_int_equal(pthread_join(thread, NULL), 0);
            probe_check(&p, polls ? FERRY_POLL_IN : (int64_t)sizeof count);
            if (polls) assert_int_equal(read(event, &count, sizeof count), sizeof count);
            assert_int_equal(count, 1);
        }
        close_near(e.loop, event);
        embedded_close(&e);
    }
}

/* Queues of others: a counter, an epoll. */
static void ops_poll_of_other_queues(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd event = eventfd(0, EFD_CLOEXEC), queue = outer_open();
    struct probe p[2] = {{.calls = 0}};
    uint64_t one = 1;
    outer_watch(queue, event, 0);
    ferry_poll(loop, &p[0].op, queue, FERRY_POLL_IN, 0, probe_done);
    run_for(loop, 5 * MS);
    assert_int_equal(p[0].calls, 0);
    assert_int_equal(write(event, &one, sizeof one), sizeof one);
    expect_all(loop, &p[0], FERRY_POLL_IN, 0, 0);
    ferry_poll(loop, &p[1].op, event, FERRY_POLL_IN, 0, probe_done);
    expect_all(loop, &p[1], FERRY_POLL_IN, 0, 0);
    close_far(queue);
    close_far(event);
    finish(loop);
}

/* ---- Files of /proc -------------------------------------------------------------------- */

/* They say that they are empty. */
static void ops_copy_of_a_file_without_length(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char out[4096] = "", in[4096] = "";
    ferry_fd from = open("/proc/version", O_RDONLY | O_CLOEXEC), to = temp_file("to", 0, 0);
    ssize_t len = read(from, in, sizeof in);
    assert_true(len > 0);
    struct probe p = {.calls = 0};
    ferry_copy(loop, &p.op, from, 0, to, 0, INT64_MAX, FERRY_ALL, probe_done);
    expect_all(loop, &p, len, (uint64_t)len, 0);
    assert_int_equal(pread(to, out, sizeof out, 0), len);
    assert_string_equal(in, out);
    close_near(loop, from);
    close_near(loop, to);
    finish(loop);
}

/* Links of /proc to what is open lead anywhere. */
static void ops_open_beneath_proc(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char name[32];
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    ferry_fd fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct probe p[2] = {{.calls = 0}};
    snprintf(name, sizeof name, "%d", (int)file);
    for (int i = 0; i < 2; i++) {
        ferry_open_at(loop, &p[i].op, fds, name, FERRY_OPEN_READ, 0, i ? FERRY_BENEATH : 0,
                      probe_done);
        probe_wait(loop, &p[i]);
    }
    assert_true(p[0].result >= 0 && p[1].result < 0);
    close_near(loop, (ferry_fd)p[0].result);
    close_near(loop, fds);
    close_near(loop, file);
    finish(loop);
}

/* ---- Nothing to do --------------------------------------------------------------------- */

#define MARK_BEGIN "idle begins\n"
#define MARK_END "idle ends\n"

/* For strace: marks where an idle time of five seconds begins and ends, after some of everything.
 */
static int helper_idle(void) {
    struct embedded e;
    struct itimerval never = {{0, 0}, {0, 0}};
    struct probe p = {.calls = 0}, waits = {.calls = 0}, far = {.calls = 0};
    char buf[8];
    int fds[2];
    setitimer(ITIMER_REAL, &never, NULL); /* of the configuration with an alarm */
    embedded_open(&e, 0);
    unix_pair(fds, SOCK_STREAM);
    ferry_timer(e.loop, &p.op, 10 * MS, 0, 0, probe_done);
    embedded_run_until(&e, &p);
    memset(&p, 0, sizeof p);
    assert_int_equal(ferry_post(e.loop, &p.op, probe_done), 0);
    embedded_run_until(&e, &p);
    ferry_recv(e.loop, &waits.op, fds[0], buf, 8, FERRY_ALL, probe_done);
    plain_send(fds[1], "abcd", 4);
    ferry_timer(e.loop, &far.op, 1000 * SECOND, 0, 0, probe_done);
    embedded_rest(&e);
    /* What is late, and what the wheel wants to look at, comes now. */
    while (embedded_turn(&e, 300 * MS)) {
    }
    assert_int_equal(write(1, MARK_BEGIN, sizeof MARK_BEGIN - 1), sizeof MARK_BEGIN - 1);
    ferry_fd fd = outer_wait(e.outer, 5000);
    assert_int_equal(write(1, MARK_END, sizeof MARK_END - 1), sizeof MARK_END - 1);
    _exit(fd == FERRY_FD_NONE ? 0 : 1);
}

static pid_t strace_start(const char *trace) {
    char config[96]; /* without the alarm */
    snprintf(config, sizeof config, "%.*s", (int)strcspn(test_config(), "+"), test_config());
    pid_t pid = test_fork();
    if (pid != 0) return pid;
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which would be a tracer, too */
    execlp("strace", "strace", "-f", "-qq", "-o", trace, test_program(), "--helper", "embed_idle",
           "--config", config, "--directory", test_directory(), (char *)NULL);
    _exit(127);
}

/* The lines of a trace between the marks that are no waits of the outer loop's. */
static int calls_between(const char *trace) {
    char line[512];
    int inside = 0, ended = 0, calls = 0;
    FILE *file = fopen(trace, "re");
    assert_non_null(file);
    while (!ended && fgets(line, sizeof line, file)) {
        if (strstr(line, "idle ends")) ended = 1;
        int is_outer = strstr(line, "epoll_wait") || strstr(line, "epoll_pwait");
#ifdef TEST_TSAN /* which has a thread of its own, that ticks */
        is_outer |= strstr(line, "nanosleep") || strstr(line, "gettimeofday");
#endif
        if (inside && !ended && !is_outer) {
            calls++;
            printf("%s", line);
        }
        if (strstr(line, "idle begins")) inside = 1;
    }
    fclose(file);
    assert_true(inside && ended);
    return calls;
}

static void ops_embed_idle_makes_no_call(void **state) {
    (void)state;
    int status = 0;
    char *trace = temp_path("trace");
    pid_t pid = strace_start(trace);
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("strace of an idle loop: wait status %x", (unsigned)status);
    }
    assert_int_equal(calls_between(trace), 0);
}

const struct contract_helper ops_linux_helpers[] = {{"embed_idle", helper_idle}, {NULL, NULL}};

const struct contract_test ops_linux_tests[] = {
    {"ops_embed_eventfd", ops_embed_eventfd, 0},
    {"ops_poll_of_other_queues", ops_poll_of_other_queues, 0},
    {"ops_copy_of_a_file_without_length", ops_copy_of_a_file_without_length, 0},
    {"ops_open_beneath_proc", ops_open_beneath_proc, 0},
    {"ops_embed_idle_makes_no_call", ops_embed_idle_makes_no_call, 60},
    {NULL, NULL, 0}};
