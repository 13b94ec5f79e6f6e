/* ops_calls.c - which system calls a server makes, counted by strace
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "trouble_stage.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS 50
#define ROUNDS 2000       /* of one message on each connection */
#define ROUNDS_TRACED 400 /* the same where each message is a few calls that strace writes down */
#define SERVER_FD 600     /* and on: the connections in the process that is traced */

static int rounds(void) {
    return strcmp(test_backend(), "uring") == 0 ? ROUNDS : ROUNDS_TRACED;
}

/* ---- The server, traced -------------------------------------------------------------------- */

struct echoing {
    ferry_op receive;
    char bytes[64];
};

static ferry_loop *loop;
static ferry_pool *pool;
static struct echoing clients[CONNECTIONS];
static size_t ended;

static void on_received(ferry_op *op) {
    ferry_buffer *buffer = ferry_lent(op);
    if (buffer != NULL) {
        ferry_send(loop, &buffer->op, op->fd, buffer->data, buffer->len, FERRY_PUT, NULL);
    }
    if (!(op->flags & FERRY_MORE) && ++ended == CONNECTIONS) ferry_stop(loop);
}

/* What strace writes between two of these is what counts. */
static void mark(void) {
    kill(getpid(), 0);
}

/* The other ends are with the process that started strace. */
static int helper_echo_counted(void) {
    loop = test_loop();
    assert_int_equal(ferry_pool_open(loop, &pool, 2 * CONNECTIONS, 256, 0, 0), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        ferry_recv_pool(loop, &clients[i].receive, SERVER_FD + i, pool, FERRY_MULTI, on_received);
    }
    ferry_run(loop, FERRY_RUN_NOWAIT);
    ferry_stats before = loop_stats(loop);
    mark();
    assert_true(ferry_run(loop, FERRY_RUN_DONE) >= 0);
    mark();
    ferry_stats after = loop_stats(loop);
    printf("turns %llu completed %llu\n", (unsigned long long)(after.turns - before.turns),
           (unsigned long long)(after.completed - before.completed));
    return 0;
}

const struct contract_helper ops_calls_helpers[] = {{"echo_counted", helper_echo_counted},
                                                    {NULL, NULL}};

/* ---- The clients ---------------------------------------------------------------------------- */

static pid_t strace_start(const char *trace, const ferry_fd *server, int output) {
    pid_t pid = test_fork();
    if (pid > 0) return pid;
    for (int i = 0; i < CONNECTIONS; i++) {
        if (dup2(server[i], SERVER_FD + i) < 0) _exit(99);
    }
    if (dup2(output, 1) < 0) _exit(99);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which would be a tracer, too */
    execlp("strace", "strace", "-qq", "-o", trace, test_program(), "--helper", "echo_counted",
           "--config", test_config(), "--directory", test_directory(), (char *)NULL);
    _exit(99);
}

static void echo_all(const ferry_fd *far) {
    for (int round = 0; round < rounds(); round++) {
        char out[64], in[64];
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            fill(out, sizeof out, (uint64_t)round * CONNECTIONS + i);
            plain_send(far[i], out, sizeof out);
        }
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            plain_recv(far[i], in, sizeof in);
            assert_true(is_filled(in, sizeof in, (uint64_t)round * CONNECTIONS + i));
        }
    }
}

struct calls {
    unsigned long enters, transfers, others;
};

static int begins(const char *line, const char *with) {
    return strncmp(line, with, strlen(with)) == 0;
}

/* Not the server's: signals of the configuration with an alarm, and in debug builds the question
 * which thread it is that calls. */
static int is_foreign(const char *line) {
#ifdef FERRY_TEST_DEBUG
    if (begins(line, "gettid(")) return 1;
#endif
    return begins(line, "---") || begins(line, "rt_sigreturn(");
}

static struct calls calls_read(const char *trace) {
    struct calls calls = {0, 0, 0};
    FILE *file = fopen(trace, "r");
    static char line[65536]; /* an answer of epoll_wait(2) with many events is a long one */
    int marks = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (begins(line, "kill(")) {
            marks++;
        } else if (marks == 1 && (begins(line, "io_uring_enter(") || begins(line, "epoll_"))) {
            calls.enters++;
        } else if (marks == 1 && (begins(line, "recvfrom(") || begins(line, "sendto("))) {
            calls.transfers++;
        } else if (marks == 1 && !is_foreign(line)) {
            calls.others++;
        }
    }
    fclose(file);
    assert_int_equal(marks, 2);
    return calls;
}

/* 100,000 echoes on a ring: one call per turn, many results in each, and next to nothing else. */
static void ops_calls_of_an_echo_server(void **state) {
    (void)state;
    const int echoes = CONNECTIONS * rounds();
    ferry_fd near[CONNECTIONS], far[CONNECTIONS], output[2];
    for (int i = 0; i < CONNECTIONS; i++) {
        ferry_fd fds[2];
        tcp_pair(NULL, fds);
        near[i] = fds[0];
        far[i] = fds[1];
    }
    assert_int_equal(pipe(output), 0);
    char *trace = temp_path("trace");
    pid_t pid = strace_start(trace, near, output[1]);
    close(output[1]);
    for (int i = 0; i < CONNECTIONS; i++) close(near[i]);
    echo_all(far);
    for (int i = 0; i < CONNECTIONS; i++) close(far[i]);
    FILE *told = fdopen(output[0], "r");
    unsigned long turns = 0, completed = 0;
    char line[256];
    int found = 0;
    while (!feof(told)) {
        if (fgets(line, sizeof line, told) != NULL) {
            found |= sscanf(line, "turns %lu completed %lu", &turns, &completed) == 2;
        } else if (ferror(told)) {
            assert_int_equal(errno, EINTR);
            clearerr(told);
        }
    }
    fclose(told);
    int status = -1;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_int_equal(status, 0);
    assert_true(found);
    struct calls calls = calls_read(trace);
    /* Each echo is two completions: of the receive, with FERRY_MORE, and of the send. */
    print_message("%d echoes: %lu turns, %lu enters, %lu other calls\n", echoes, turns,
                  calls.enters, calls.others);
    assert_true(completed >= (unsigned long)echoes);
    int is_ring = strcmp(test_backend(), "uring") == 0;
    assert_true(calls.enters <= turns + 2 && (!is_ring || calls.enters + 2 >= turns));
    assert_true(calls.enters <= 2 * (unsigned long)echoes / 4);
    /* Where the system only tells of readiness, each transfer is a call, and none is for nothing;
     * but kqueue does not tell of urgent data, before which a receive stops short, so that there
     * another looks for more. */
    unsigned each = strcmp(test_backend(), "kqueue") == 0 ? 3 : 2;
    if (is_ring) assert_int_equal(calls.transfers, 0);
    assert_true(calls.transfers <= each * (unsigned long)echoes + 2 * CONNECTIONS);
#if !defined(TEST_ASAN) && !defined(TEST_TSAN) /* which make calls of their own */
    if (is_ring) assert_true(calls.others <= 50);
    /* A descriptor is looked at, and registered, once. With a thread there are futexes, too, and
     * the fake of kevent asks each descriptor how it is. */
    int is_fake = strcmp(test_backend(), "kqueue") == 0;
    if (strstr(test_config(), "inline") && !is_fake) {
        assert_true(calls.others <= 50 + 4 * CONNECTIONS);
    }
#endif
}

const struct contract_test ops_calls_tests[] = {
    {"ops_calls_of_an_echo_server", ops_calls_of_an_echo_server, 120}, {NULL, NULL, 0}};
