/* ops_spawns.c - beginning children
 *
 * The program is this one, as a child (support/child.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "portable.h"
#include "tables.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Short forms ----------------------------------------------------------------------- */

#define CHILD(...)                                                                                 \
    { "contract", "--child", __VA_ARGS__, NULL }
#define SHELL(script)                                                                              \
    { "sh", "-c", script, NULL }

/* A program with arguments that have the static storage of a macro's literal. */
static ferry_child child_of(const char *const *argv) {
    return (ferry_child){.program = test_program(), .argv = argv};
}

static void spawn_expect(ferry_loop *loop, ferry_child *child, int64_t result) {
    struct probe p = {.calls = 0};
    ferry_spawn(loop, &p.op, child, 0, probe_done);
    expect_all(loop, &p, result, 0, 0);
}

/* Waits for the child; its exit status, or the signal's number less 1000. */
static int ended(ferry_loop *loop, const ferry_child *child) {
    struct probe p = {.calls = 0};
    ferry_exit how;
    ferry_wait_process(loop, &p.op, child->pid, &how, 0, probe_done);
    expect_all(loop, &p, 0, 0, 0);
    return how.signal != 0 ? how.signal - 1000 : how.status;
}

static int run(ferry_loop *loop, ferry_child *child) {
    spawn_expect(loop, child, 0);
    assert_true(child->pid > 1);
    return ended(loop, child);
}

/* What a child prints, without the last line's end. Static memory. */
static const char *output_with(ferry_loop *loop, ferry_child *child) {
    static char text[4096];
    struct probe p = {.calls = 0};
    child->stdio[1].kind = FERRY_STDIO_PIPE;
    spawn_expect(loop, child, 0);
    ferry_read(loop, &p.op, child->stdio[1].fd, text, sizeof text - 1, FERRY_CURRENT, FERRY_ALL,
               probe_done);
    probe_wait(loop, &p);
    assert_true(p.result >= 0);
    text[p.result > 0 ? p.result - 1 : 0] = 0;
    assert_int_equal(ended(loop, child), 0);
    close_near(loop, child->stdio[1].fd);
    return text;
}

/* ---- A program ------------------------------------------------------------------------- */

/* What is found along our PATH is this program alone; without arguments it ends at once if the
 * environment says so. */
static void path_is_ours(void) {
    char directory[2048];
    snprintf(directory, sizeof directory, "%s", test_program());
    size_t len = strlen(directory);
    while (len > 0 && directory[len - 1] != '/' && directory[len - 1] != '\\') len--;
    directory[len > 1 ? len - 1 : len] = 0;
    assert_int_equal(setenv("PATH", directory, 1), 0);
    assert_int_equal(setenv("FERRY_TEST_ALONE", "1", 1), 0);
}

/* The last part of our path, which is what the program's name is. */
static const char *name_of_ours(void) {
    const char *name = test_program();
    for (const char *at = name; *at; at++) {
        if (*at == '/' || *at == '\\') name = at + 1;
    }
    return name;
}

static void ops_spawn(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("exit", "7");
    path_is_ours();
    ferry_child by_name = {.program = name_of_ours(), .argv = argv};
    ferry_child by_path = {.program = test_program(), .argv = argv};
    ferry_child alone = {.program = name_of_ours()};
    assert_int_equal(run(loop, &by_name), 7);
    assert_int_equal(run(loop, &by_path), 7);
    assert_int_equal(run(loop, &alone), 0);
    assert_int_equal(run(loop, &by_name), 7); /* once more, as it is */
    no_child_left();
    finish(loop);
}

static void ops_spawn_arguments(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("args", "a b", "", "c\n", "\"d\\\" e\\", "\\\\f\\", "*?$g'%");
    ferry_child child = child_of(argv);
    assert_string_equal(output_with(loop, &child), "a b||c\n|\"d\\\" e\\|\\\\f\\|*?$g'%|");
    finish(loop);
}

static void ops_spawn_environment(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("env", "FERRY_TEST_A", "env", "FERRY_TEST_B", "env",
                                     "FERRY_TEST_C", "say", "");
    const char *const mine[] = {"FERRY_TEST_A=1", NULL}, *const none[] = {NULL};
    assert_int_equal(setenv("FERRY_TEST_B", "2", 1), 0);
    assert_int_equal(setenv("FERRY_TEST_C", "a b=c", 1), 0);
    ferry_child inherits = child_of(argv), given = child_of(argv), empty = child_of(argv);
    given.envp = mine;
    empty.envp = none;
    assert_string_equal(output_with(loop, &inherits), "-2-a b=c-");
    assert_string_equal(output_with(loop, &given), "1---");
    assert_string_equal(output_with(loop, &empty), "---");
    finish(loop);
}

/* A copy of this program. */
static void program_copy(const char *path) {
    static char buf[65536];
    ssize_t n;
    ferry_fd from = open(test_program(), O_RDONLY | O_CLOEXEC);
    ferry_fd to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    assert_true(from >= 0 && to >= 0);
    while ((n = read(from, buf, sizeof buf)) != 0) {
        if (n < 0) assert_int_equal(errno, EINTR);
        else assert_int_equal(write(to, buf, (size_t)n), n);
    }
    close_far(from);
    close_far(to);
}

static void script_make(const char *path, const char *text, mode_t mode) {
    ferry_fd fd = make_file(path, text, strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close_far(fd);
}

static void ops_spawn_directory(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char directory[320];
    snprintf(directory, sizeof directory, "%s", temp_path("within"));
    assert_int_equal(mkdir(directory, 0700), 0);
    char *real = realpath(directory, NULL);
    assert_non_null(real);
    const char *const where[] = CHILD("where"), *const exits[] = CHILD("exit", "23");
    ferry_child child = child_of(where);
    child.directory = directory;
    assert_string_equal(output_with(loop, &child), real);
    program_copy(temp_path("within/here.exe"));
    ferry_child relative = {.program = "./here.exe", .argv = exits, .directory = directory};
    assert_int_equal(run(loop, &relative), 23);
    ferry_child elsewhere = {.program = "./here.exe", .argv = exits};
    spawn_expect(loop, &elsewhere, FERRY_ENOENT);
    free(real);
    finish(loop);
}

/* Nothing but this system knows scripts: who reads them is named in their first line. */
static void ops_spawn_script(void **state) {
    (void)state;
    differs_on_windows("no shell of POSIX on Windows");
    ferry_loop *loop = test_loop();
    const char *const argv[] = SHELL("exit 7");
    ferry_child by_name = {.program = "sh", .argv = argv}, alone = {.program = "true"};
    ferry_child script = {.program = temp_path("script")};
    assert_int_equal(run(loop, &by_name), 7);
    assert_int_equal(run(loop, &alone), 0);
    script_make(script.program, "#!/bin/sh\nexit 23\n", 0700);
    assert_int_equal(run(loop, &script), 23);
    finish(loop);
}

/* ---- Its streams ----------------------------------------------------------------------- */

static void ops_spawn_pipes(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("cat");
    ferry_child child = {.program = test_program(),
                         .argv = argv,
                         .stdio = {{FERRY_STDIO_PIPE, 0}, {FERRY_STDIO_PIPE, 0}}};
    struct probe wrote = {.calls = 0}, read = {.calls = 0}, end = {.calls = 0};
    char *out = malloc(MIB), *in = malloc(MIB), more[1];
    assert_true(out && in);
    fill(out, MIB, 5);
    spawn_expect(loop, &child, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fcntl(child.stdio[i].fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_true(child.stdio[i].fd > 2);
    }
    ferry_write(loop, &wrote.op, child.stdio[0].fd, out, MIB, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &read.op, child.stdio[1].fd, in, MIB, FERRY_CURRENT, FERRY_ALL, probe_done);
    expect_all(loop, &wrote, MIB, MIB, 0);
    expect_all(loop, &read, MIB, MIB, 0);
    assert_true(is_filled(in, MIB, 5));
    close_near(loop, child.stdio[0].fd);
    ferry_read(loop, &end.op, child.stdio[1].fd, more, 1, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &end, 0, 0, FERRY_EOF);
    close_near(loop, child.stdio[1].fd);
    assert_int_equal(ended(loop, &child), 0);
    free(out);
    free(in);
    finish(loop);
}

static void ops_spawn_streams(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("say", "out", "err", "err", "cat"), *const cat[] = CHILD(
                                                                             "cat");
    /* Both in one pipe, nothing to be read. */
    ferry_child same = {
        .program = test_program(),
        .argv = argv,
        .stdio = {{FERRY_STDIO_NULL, 0}, {FERRY_STDIO_PIPE, 0}, {FERRY_STDIO_SAME, 1}}};
    assert_string_equal(output_with(loop, &same), "out\nerr");
    ferry_child reverse = same;
    reverse.stdio[1] = (ferry_stdio){FERRY_STDIO_SAME, 2};
    reverse.stdio[2] = (ferry_stdio){FERRY_STDIO_PIPE, 0};
    spawn_expect(loop, &reverse, 0);
    char buf[64] = "";
    struct probe p = {.calls = 0};
    ferry_read(loop, &p.op, reverse.stdio[2].fd, buf, sizeof buf, FERRY_CURRENT, FERRY_ALL,
               probe_done);
    expect_all(loop, &p, 8, 8, 0);
    assert_memory_equal(buf, "out\nerr\n", 8);
    assert_int_equal(ended(loop, &reverse), 0);
    close_near(loop, reverse.stdio[2].fd);
    /* A file to be read, a file to be written. */
    close_far(make_file(temp_path("in"), "hello\n", 6));
    ferry_fd in = open(temp_path("in"), O_RDONLY | O_CLOEXEC);
    ferry_fd into = make_file(temp_path("out"), "", 0);
    ferry_child files = {.program = test_program(),
                         .argv = cat,
                         .stdio = {{FERRY_STDIO_FD, in}, {FERRY_STDIO_FD, into}}};
    assert_int_equal(run(loop, &files), 0);
    assert_int_equal(files.stdio[0].fd, in);
    assert_int_equal(pread(into, buf, sizeof buf, 0), 6);
    assert_memory_equal(buf, "hello\n", 6);
    close_far(in); /* they stay ours */
    close_far(into);
    /* Neither, three times. */
    ferry_child nothing = child_of(argv);
    for (int i = 0; i < 3; i++) nothing.stdio[i].kind = FERRY_STDIO_NULL;
    assert_int_equal(run(loop, &nothing), 0);
    finish(loop);
}

/* A program that has none of its own: pipes must not be mistaken for them. */
static int helper_spawn_without_streams(void) {
    ferry_loop *loop = test_loop();
    const char *const argv[] = SHELL("cat; echo err >&2");
    ferry_child child = {.program = "sh", .argv = argv};
    char in[8] = "", err[8] = "";
    struct probe wrote = {.calls = 0}, read[2] = {{.calls = 0}};
    for (int i = 0; i < 3; i++) {
        if (close(i) != 0) return 1;
        child.stdio[i].kind = FERRY_STDIO_PIPE;
    }
    spawn_expect(loop, &child, 0);
    for (int i = 0; i < 3; i++) {
        if (child.stdio[i].fd < 3 || is_open(i)) return 2;
    }
    ferry_write(loop, &wrote.op, child.stdio[0].fd, "abcd", 4, FERRY_CURRENT, 0, probe_done);
    probe_wait(loop, &wrote);
    close_near(loop, child.stdio[0].fd);
    ferry_read(loop, &read[0].op, child.stdio[1].fd, in, 8, FERRY_CURRENT, FERRY_ALL, probe_done);
    ferry_read(loop, &read[1].op, child.stdio[2].fd, err, 8, FERRY_CURRENT, FERRY_ALL, probe_done);
    probe_wait_all(loop, read, 2);
    if (read[0].result != 4 || memcmp(in, "abcd", 4) != 0) return 3;
    if (read[1].result != 4 || memcmp(err, "err\n", 4) != 0) return 4;
    if (ended(loop, &child) != 0) return 5;
    close_near(loop, child.stdio[1].fd);
    close_near(loop, child.stdio[2].fd);
    /* And a child that inherits nothing has nothing. */
    const char *const without[] = SHELL("if true >&2; then exit 1; fi");
    ferry_child bare = {.program = "sh", .argv = without};
    if (run(loop, &bare) != 0) return 6;
    test_close(loop);
    return 0;
}

/* Its output is our errors, and its errors our output. */
static int helper_spawn_crossed(void) {
    ferry_fd out[2], err[2];
    char text[8] = "";
    const char *const argv[] = SHELL("echo out; echo err >&2");
    plain_pipe(out);
    plain_pipe(err);
    ferry_loop *loop = test_loop();
    if (dup2(out[1], 1) != 1 || dup2(err[1], 2) != 2) return 2;
    ferry_child child = {
        .program = "sh",
        .argv = argv,
        .stdio = {{FERRY_STDIO_NULL, 0}, {FERRY_STDIO_FD, 2}, {FERRY_STDIO_FD, 1}}};
    if (run(loop, &child) != 0) return 3;
    if (read(out[0], text, 8) != 4 || memcmp(text, "err\n", 4) != 0) return 4;
    if (read(err[0], text, 8) != 4 || memcmp(text, "out\n", 4) != 0) return 5;
    test_close(loop);
    return 0;
}

static void ops_spawn_numbers_of_streams(void **state) {
    (void)state;
    differs_on_windows("streams have no numbers on Windows");
    struct helper_result result;
    static const char *const names[] = {"spawn_without_streams", "spawn_crossed"};
    for (int i = 0; i < 2; i++) {
        helper_run(names[i], NULL, &result);
        if (!result.exited || result.status != 0) {
            fail_msg("%s: status %d, signal %d:\n%s", names[i], result.status, result.signal,
                     result.output);
        }
    }
}

/* ---- What it inherits ------------------------------------------------------------------ */

/* This program as a child that tells what it has inherited: a line for each signal that is blocked
 * or ignored, and each open descriptor, and then one that this was all. */
static int helper_spawn_inherited(void) {
    static ferry_fd fds[512];
    sigset_t blocked = {0};
    if (!TEST_WINDOWS && pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0) return 1;
    for (int i = 1; !TEST_WINDOWS && i < NSIG; i++) {
        struct sigaction action;
        if (sigismember(&blocked, i) == 1) printf("blocked %d\n", i);
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
            printf("ignored %d\n", i);
        }
    }
    size_t count = list_fds(fds, 512);
    for (size_t i = 0; i < count && i < 512; i++)
        printf("open %*d\n", TEST_WINDOWS ? 6 : 0, (int)fds[i]);
    printf("that is all\n");
    return 0;
}

/* The lines that such a child writes and that begin so, with a space after each. */
static const char *inherited(ferry_loop *loop, const char *kind) {
    static char found[4096];
    char config[96]; /* without the alarm */
    snprintf(config, sizeof config, "%.*s", (int)strcspn(test_config(), "+"), test_config());
    const char *const argv[] = {"contract", "--helper",    "spawn_inherited", "--config",
                                config,     "--directory", test_directory(),  NULL};
    ferry_child child = {.program = test_program(), .argv = argv};
    const char *text = output_with(loop, &child);
    assert_non_null(strstr(text, "that is all"));
    found[0] = 0;
    for (const char *at = text; (at = strstr(at, kind)) != NULL; at++) {
        size_t len = strcspn(at, "\n");
        assert_true(strlen(found) + len + 2 < sizeof found);
        strncat(found, at, len);
        strcat(found, " ");
    }
    return found;
}

/* Nothing is blocked or ignored, whatever we do; SIGPIPE above all. */
static void ops_spawn_signals(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    sigset_t some, before;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigaddset(&some, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &some, &before), 0);
    assert_true(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    assert_true(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    struct sigaction pipes;
    assert_int_equal(sigaction(SIGPIPE, NULL, &pipes), 0);
    assert_true(pipes.sa_handler == SIG_IGN);
    assert_string_equal(inherited(loop, "blocked "), "");
    assert_string_equal(inherited(loop, "ignored "), "");
    const char *const dies[] = SHELL("kill -PIPE $$; exit 1");
    ferry_child piped = {.program = "sh", .argv = dies};
    assert_int_equal(run(loop, &piped), SIGPIPE - 1000);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    finish(loop);
}

/* No descriptor, not even those that others have left without close-on-exec. */
static void ops_spawn_descriptors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd left_open[8];
    char *before = strdup(inherited(loop, "open "));
    assert_non_null(before);
    for (int i = 0; i < 8; i++) {
        left_open[i] = open("/dev/null", O_RDONLY);
        assert_true(left_open[i] > 2);
        assert_int_equal(fcntl(left_open[i], F_SETFD, 0), 0);
        assert_int_equal(fcntl(left_open[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    if (TEST_WINDOWS) { /* handles of its own have other numbers each time */
        assert_int_equal(strlen(inherited(loop, "open ")), strlen(before));
    } else {
        assert_int_equal(dup2(left_open[0], 500), 500);
        assert_string_equal(before, "open 0 open 1 open 2 ");
        assert_string_equal(inherited(loop, "open "), "open 0 open 1 open 2 ");
        close_far(500);
    }
    for (int i = 0; i < 8; i++) close_far(left_open[i]);
    free(before);
    finish(loop);
}

static void ops_spawn_groups(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("cat");
    const unsigned how[] = {0, FERRY_CHILD_GROUP, FERRY_CHILD_SESSION,
                            FERRY_CHILD_GROUP | FERRY_CHILD_SESSION};
    for (int i = 0; i < 4; i++) {
        ferry_child child = child_of(argv);
        child.stdio[0].kind = FERRY_STDIO_PIPE;
        child.how = how[i];
        spawn_expect(loop, &child, 0);
        pid_t pid = (pid_t)child.pid;
        if (!TEST_WINDOWS) {
            assert_int_equal(getpgid(pid), how[i] ? pid : getpgrp());
            assert_int_equal(getsid(pid), how[i] & FERRY_CHILD_SESSION ? pid : getsid(0));
        }
        if (how[i] != 0) {
            assert_int_equal(ferry_kill(loop, -child.pid, SIGKILL), 0);
            assert_int_equal(ended(loop, &child), SIGKILL - 1000);
            close_near(loop, child.stdio[0].fd);
        } else {
            close_near(loop, child.stdio[0].fd);
            assert_int_equal(ended(loop, &child), 0);
        }
    }
    finish(loop);
}

/* ---- What cannot be executed ----------------------------------------------------------- */

/* It leaves no process and no descriptor. */
static void fails(ferry_loop *loop, ferry_child child, int64_t error) {
    static ferry_fd fds[64];
    for (int i = 0; i < 3; i++) {
        if (child.stdio[i].kind == FERRY_STDIO_INHERIT) child.stdio[i].kind = FERRY_STDIO_PIPE;
    }
    spawn_expect(loop, &child, error); /* and there is a worker, which has a handle on Windows */
    size_t before = list_fds(fds, 64);
    child.pid = 77;
    spawn_expect(loop, &child, error);
    if (error != FERRY_EINVAL && error != FERRY_EBADF && error != FERRY_EFAULT) {
        assert_int_equal(child.pid, 0);
        assert_int_equal(child.stdio[0].fd, -1);
    }
    size_t after = list_fds(fds, 64);
    if (!TEST_WINDOWS || after > before) assert_int_equal(after, before); /* its pools give back */
    no_child_left();
}

static void trouble_spawn_of_what_is_no_program(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char text[320], closed[320], file[330], huge[4100];
    snprintf(text, sizeof text, "%s", temp_path("text"));
    snprintf(closed, sizeof closed, "%s", temp_path("closed"));
    snprintf(file, sizeof file, "%s/below", text);
    memset(huge, 'a', sizeof huge - 1);
    huge[0] = '/';
    huge[sizeof huge - 1] = 0;
    script_make(text, "\1\2\3 not a program", 0700);
    /* A directory there that is closed to us would be FERRY_EACCES. */
    path_is_ours();
    const char *ours = test_program();
    fails(loop, (ferry_child){.program = "ferry-no-such-program"}, FERRY_ENOENT);
    fails(loop, (ferry_child){.program = "/ferry/no/such"}, FERRY_ENOENT);
    fails(loop, (ferry_child){.program = ""}, FERRY_ENOENT);
    fails(loop, (ferry_child){.program = file}, FERRY_ENOTDIR);
    if (!TEST_WINDOWS) { /* where every file may be executed */
        script_make(closed, "#!/bin/sh\nexit 0\n", 0600);
        fails(loop, (ferry_child){.program = closed}, FERRY_EACCES);
    }
    fails(loop, (ferry_child){.program = "/"}, FERRY_EACCES);
    fails(loop, (ferry_child){.program = text}, FERRY_ENOEXEC);
    fails(loop, (ferry_child){.program = huge}, FERRY_ENAMETOOLONG);
    fails(loop, (ferry_child){.program = ours, .directory = "/ferry/no/such"}, FERRY_ENOENT);
    fails(loop, (ferry_child){.program = ours, .directory = text}, FERRY_ENOTDIR);
    ferry_child unaffected = {.program = ours};
    assert_int_equal(run(loop, &unaffected), 0);
    finish(loop);
}

static void trouble_spawn_with_too_much(void **state) {
    (void)state;
    enum { COUNT = 64 };
    ferry_loop *loop = test_loop();
    size_t len = 256 * KIB;
    char *word = malloc(len + 1);
    const char *words[COUNT + 1] = {"contract"};
    assert_non_null(word);
    memset(word, 'x', len);
    word[len] = 0; /* longer than one may be */
    words[1] = word;
    words[2] = NULL;
    fails(loop, (ferry_child){.program = test_program(), .argv = words}, FERRY_E2BIG);
    if (!TEST_WINDOWS) { /* where an environment is as long as memory goes */
        fails(loop, (ferry_child){.program = test_program(), .envp = words}, FERRY_E2BIG);
    }
    len = 100 * KIB;
    word[len] = 0; /* together more than all may be */
    for (int i = 0; i < COUNT; i++) words[i] = word;
    words[COUNT] = NULL;
    fails(loop, (ferry_child){.program = test_program(), .argv = words}, FERRY_E2BIG);
    free(word);
    finish(loop);
}

static void trouble_spawn_arguments(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    const char *const empty[] = {NULL};
    const ferry_fd gone = closed_fd();
    ferry_spawn(loop, &p.op, NULL, 0, probe_done);
    expect_all(loop, &p, FERRY_EFAULT, 0, 0);
    fails(loop, (ferry_child){.program = NULL}, FERRY_EFAULT);
    fails(loop, (ferry_child){.program = test_program(), .argv = empty}, FERRY_EINVAL);
    fails(loop, (ferry_child){.program = test_program(), .how = 4}, FERRY_EINVAL);
    const struct {
        ferry_stdio stdio;
        int64_t error;
    } rows[] = {
        {{(enum ferry_stdio_kind)5, 0}, FERRY_EINVAL},
        {{(enum ferry_stdio_kind)77, 0}, FERRY_EINVAL},
        {{FERRY_STDIO_SAME, 1}, FERRY_EINVAL},
        {{FERRY_STDIO_SAME, 2}, FERRY_EINVAL},
        {{FERRY_STDIO_SAME, 3}, FERRY_EINVAL},
        {{FERRY_STDIO_SAME, -1}, FERRY_EINVAL},
        {{FERRY_STDIO_FD, FERRY_FD_NONE}, FERRY_EBADF},
        {{FERRY_STDIO_FD, gone}, FERRY_EBADF},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ferry_child child = {.program = test_program()};
        child.stdio[1] = rows[i].stdio;
        child.stdio[2] = (ferry_stdio){FERRY_STDIO_SAME, 1};
        if (rows[i].stdio.kind != FERRY_STDIO_SAME) child.stdio[2].kind = FERRY_STDIO_NULL;
        fails(loop, child, rows[i].error);
    }
    finish(loop);
}

static void trouble_spawn_without_descriptors(void **state) {
    (void)state;
    differs_on_windows("no limits to what a process may have on Windows");
    ferry_loop *loop = test_loop();
    struct rlimit limit;
    ferry_child warm = {.program = "true"}, child = {.program = "true"};
    for (int i = 0; i < 3; i++) child.stdio[i].kind = FERRY_STDIO_PIPE;
    assert_int_equal(run(loop, &warm), 0); /* a worker is there */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ferry_fd free_number = 3;
    for (unsigned more = 0; more < 6; free_number++) { /* room for some of the six */
        if (is_open(free_number)) continue;
        struct probe p = {.calls = 0};
        assert_int_equal(set_fd_limit((unsigned)free_number), 0);
        ferry_spawn(loop, &p.op, &child, 0, probe_done);
        probe_wait(loop, &p);
        assert_int_equal(set_fd_limit((unsigned)limit.rlim_cur), 0);
        probe_check(&p, FERRY_EMFILE);
        assert_int_equal(child.pid, 0);
        for (int i = 0; i < 3; i++) assert_int_equal(child.stdio[i].fd, FERRY_FD_NONE);
        more++;
    }
    no_child_left();
    finish(loop);
}

/* ---- Many, cancelled, drained ---------------------------------------------------------- */

struct begun {
    ferry_child child;
    struct probe spawn, wait;
    ferry_exit how;
    ferry_loop *loop;
    char number[8];
    const char *argv[6];
};

static void on_begun(ferry_op *op) {
    struct begun *b = ferry_container(op, struct begun, spawn.op);
    probe_done(op);
    if (op->result != 0) return;
    ferry_wait_process(b->loop, &b->wait.op, b->child.pid, &b->how, 0, probe_done);
}

static void ops_spawn_many(void **state) {
    (void)state;
    enum { COUNT = 100 };
    static struct begun b[COUNT];
    ferry_loop *loop = test_loop();
    for (int i = 0; i < COUNT; i++) {
        b[i].loop = loop;
        snprintf(b[i].number, sizeof b[i].number, "%d", i);
        const char *const argv[6] = CHILD("exit", b[i].number);
        memcpy(b[i].argv, argv, sizeof argv);
        b[i].child.program = test_program();
        b[i].child.argv = b[i].argv;
        ferry_spawn(loop, &b[i].spawn.op, &b[i].child, 0, on_begun);
    }
    run_done(loop);
    for (int i = 0; i < COUNT; i++) {
        probe_check(&b[i].spawn, 0);
        probe_check(&b[i].wait, 0);
        assert_int_equal(b[i].how.status, i);
    }
    no_child_left();
    finish(loop);
}

/* A child that has ended, though its own child goes on and holds the pipe. */
static void ops_spawn_grandchild(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    const char *const argv[] = CHILD("leave", "3", "cat");
    ferry_child child = {.program = test_program(),
                         .argv = argv,
                         .stdio = {{FERRY_STDIO_PIPE, 0}, {FERRY_STDIO_PIPE, 0}}};
    char buf[8];
    struct probe wrote = {.calls = 0}, read = {.calls = 0};
    assert_int_equal(run(loop, &child), 3);
    ferry_write(loop, &wrote.op, child.stdio[0].fd, "abcd", 4, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &wrote, 4, 4, 0);
    close_near(loop, child.stdio[0].fd);
    ferry_read(loop, &read.op, child.stdio[1].fd, buf, 8, FERRY_CURRENT, FERRY_ALL, probe_done);
    expect_all(loop, &read, 4, 4, 0);
    assert_memory_equal(buf, "abcd", 4);
    close_near(loop, child.stdio[1].fd);
    no_child_left();
    finish(loop);
}

/* Before a worker has it there is nothing; after that it ends with its result. */
static void contract_05_cancelled_spawn_leaves_no_process(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    struct held_worker held;
    const char *const argv[] = CHILD("exit", "0");
    ferry_child child = child_of(argv);
    child.stdio[0].kind = FERRY_STDIO_PIPE;
    struct probe p = {.calls = 0}, late = {.op = {.deadline_ns = MS}};
    worker_hold(loop, &held);
    ferry_spawn(loop, &p.op, &child, 0, probe_done);
    ferry_spawn(loop, &late.op, &child, 0, probe_done);
    run_for(loop, 2 * MS);
    ferry_cancel(loop, &p.op);
    expect_all(loop, &p, FERRY_ECANCELED, 0, 0);
    expect_all(loop, &late, FERRY_ETIMEDOUT, 0, 0);
    worker_let_go(&held);
    worker_end(loop, &held);
    no_child_left();
    for (int i = 0; i < 20; i++) {
        memset(&p, 0, sizeof p);
        ferry_spawn(loop, &p.op, &child, 0, probe_done);
        run_for(loop, (uint64_t)i * MS / 20);
        ferry_cancel(loop, &p.op);
        probe_wait(loop, &p);
        if (p.result == 0) {
            assert_int_equal(ended(loop, &child), 0);
            close_near(loop, child.stdio[0].fd);
        } else {
            probe_check(&p, FERRY_ECANCELED);
        }
        no_child_left();
    }
    finish(loop);
}

static void contract_11_drain_with_spawns(void **state) {
    (void)state;
    enum { COUNT = 20 };
    static ferry_child child[COUNT];
    const char *const argv[] = CHILD("cat");
    struct probe p[COUNT] = {{.calls = 0}}, late = {.calls = 0};
    ferry_loop *loop = stage_loop();
    for (int i = 0; i < COUNT; i++) {
        child[i] = child_of(argv);
        child[i].stdio[0].kind = FERRY_STDIO_PIPE;
        ferry_spawn(loop, &p[i].op, &child[i], 0, probe_done);
    }
    while (p[0].calls == 0) ferry_run(loop, FERRY_RUN_ONCE);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].finals, 1);
        if (p[i].result == 0) { /* it has begun, and is told */
            ferry_close(loop, NULL, child[i].stdio[0].fd, 0, NULL);
        } else {
            probe_check(&p[i], FERRY_ECANCELED);
            child[i].pid = 0;
        }
    }
    assert_int_equal(p[0].result, 0);
    ferry_spawn(loop, &late.op, &child[0], 0, probe_done);
    assert_int_equal(ferry_loop_drain(loop, 5 * SECOND), 0);
    probe_check(&late, FERRY_ECLOSED);
    test_close(loop);
    ferry_loop *other = test_loop(); /* another loop can take them */
    for (int i = 0; i < COUNT; i++) {
        if (child[i].pid != 0) assert_int_equal(ended(other, &child[i]), 0);
    }
    no_child_left();
    finish(other);
}

const struct contract_helper ops_spawns_helpers[] = {
    {"spawn_without_streams", helper_spawn_without_streams},
    {"spawn_crossed", helper_spawn_crossed},
    {"spawn_inherited", helper_spawn_inherited},
    {NULL, NULL},
};

const struct contract_test ops_spawns_tests[] = {
    {"ops_spawn", ops_spawn, 0},
    {"ops_spawn_arguments", ops_spawn_arguments, 0},
    {"ops_spawn_environment", ops_spawn_environment, 0},
    {"ops_spawn_directory", ops_spawn_directory, 0},
    {"ops_spawn_script", ops_spawn_script, 0},
    {"ops_spawn_pipes", ops_spawn_pipes, 0},
    {"ops_spawn_streams", ops_spawn_streams, 0},
    {"ops_spawn_numbers_of_streams", ops_spawn_numbers_of_streams, 0},
    {"ops_spawn_signals", ops_spawn_signals, 0},
    {"ops_spawn_descriptors", ops_spawn_descriptors, 0},
    {"ops_spawn_groups", ops_spawn_groups, 0},
    {"trouble_spawn_of_what_is_no_program", trouble_spawn_of_what_is_no_program, 0},
    {"trouble_spawn_with_too_much", trouble_spawn_with_too_much, 0},
    {"trouble_spawn_arguments", trouble_spawn_arguments, 0},
    {"trouble_spawn_without_descriptors", trouble_spawn_without_descriptors, 0},
    {"ops_spawn_many", ops_spawn_many, 120},
    {"ops_spawn_grandchild", ops_spawn_grandchild, 0},
    {"contract_05_cancelled_spawn_leaves_no_process", contract_05_cancelled_spawn_leaves_no_process,
     0},
    {"contract_11_drain_with_spawns", contract_11_drain_with_spawns, 0},
    {NULL, NULL, 0},
};
