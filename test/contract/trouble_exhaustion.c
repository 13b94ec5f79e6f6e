/* trouble_exhaustion.c - descriptors run out
 *
 * For what makes a descriptor that is an error. An accept waits inside the library instead: a
 * server at its limit must neither spin nor fall silent once descriptors are free again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define FILLERS_MAX 64

/* Every number below the limit is in use: opened by us, so that they can be given back. */
struct fillers {
    ferry_fd fds[FILLERS_MAX];
    size_t count;
};

/* Leaves a few free numbers below the limit, and takes them. What is open above it stays open. */
static void fill_up(struct fillers *f) {
    int lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    assert_true(lowest >= 0);
    close_far(lowest);
    assert_int_equal(set_fd_limit((unsigned)lowest + 4), 0);
    f->count = 0;
    for (;;) {
        ferry_fd fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) break;
        assert_true(f->count < FILLERS_MAX);
        f->fds[f->count++] = fd;
    }
    assert_int_equal(errno, EMFILE);
    assert_true(f->count >= 2);
}

static void limit_restore(void) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(set_fd_limit((unsigned)limit.rlim_max), 0);
}

static void fillers_close(struct fillers *f) {
    while (f->count > 0) close_far(f->fds[--f->count]);
    limit_restore();
}

static ferry_fd client_of(const ferry_addr *addr) {
    ferry_fd fd = plain_socket(AF_INET, SOCK_STREAM);
    set_nonblocking(fd);
    int done = connect(fd, (const struct sockaddr *)(const void *)addr->data.bytes,
                       (socklen_t)addr->len);
    assert_true(done == 0 || errno == EINPROGRESS);
    return fd;
}

static ferry_stats stats_of(ferry_loop *loop) {
    ferry_stats stats;
    memset(&stats, 0, sizeof stats);
    ferry_loop_stats(loop, &stats, sizeof stats);
    return stats;
}

static void accepted_check(ferry_loop *loop, struct probe *accept) {
    probe_wait(loop, accept);
    assert_int_equal(accept->calls, 1);
    if (accept->result < 0) fail_msg("accept: %s", ferry_error_name(accept->result));
    close_near(loop, (ferry_fd)accept->result);
}

/* A second and a half at the limit: few attempts, and none reported. */
static void trouble_exhaustion_accept_waits(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr), client = client_of(&addr);
    struct probe accept = {.calls = 0};
    struct fillers f;
    fill_up(&f);
    ferry_accept(loop, &accept.op, listener, NULL, 0, probe_done);
    run_for(loop, 50 * MS);
    ferry_stats before = stats_of(loop);
    uint64_t start_ns = clock_ns();
    run_for(loop, 1500 * MS);
    ferry_stats after = stats_of(loop);
    uint64_t tenths = (clock_ns() - start_ns) / (100 * MS) + 1;
    assert_int_equal(accept.calls, 0);
    assert_true(after.accept_pauses >= 1);
    assert_true(after.accept_attempts - before.accept_attempts <= 10 * tenths);
    /* The back-off is half a second at most. */
    assert_true(after.accept_attempts - before.accept_attempts >= 2);
    /* And waiting is not spinning, but for the signals of the configuration that has them. */
    struct itimerval alarm;
    assert_int_equal(getitimer(ITIMER_REAL, &alarm), 0);
    if (alarm.it_interval.tv_usec == 0) assert_true(after.turns - before.turns <= 20 * tenths);

    ferry_cancel(loop, &accept.op);
    expect(loop, &accept, FERRY_ECANCELED);
    fillers_close(&f);
    close_near(loop, listener);
    close_far(client);
    finish(loop);
}

/* Frees a descriptor when attempts are 500 ms apart, just after one of them, and asserts that the
 * accept is served within limit_ns. A machine may be busy for once: one of three rounds suffices.
 */
static void served_within(uint64_t limit_ns, int by_the_loop) {
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr);
    int prompt = 0;
    for (int round = 0; round < 3 && !prompt; round++) {
        struct probe accept = {.calls = 0};
        struct fillers f;
        ferry_fd client = client_of(&addr);
        fill_up(&f);
        ferry_accept(loop, &accept.op, listener, NULL, 0, probe_done);
        run_for(loop, 700 * MS); /* 5 + 10 + ... + 320 ms */
        uint64_t attempts = stats_of(loop).accept_attempts;
        for (int i = 0; i < 200 && stats_of(loop).accept_attempts == attempts; i++) {
            run_for(loop, 5 * MS);
        }
        uint64_t freed_ns = clock_ns();
        if (by_the_loop) ferry_close(loop, NULL, f.fds[--f.count], 0, NULL);
        else close_far(f.fds[--f.count]);
        probe_wait(loop, &accept);
        prompt = accept.called_ns - freed_ns < limit_ns;
        accepted_check(loop, &accept);
        fillers_close(&f);
        close_far(client);
    }
    assert_true(prompt);
    close_near(loop, listener);
    finish(loop);
}

/* Anybody in the process may free one: it is found within a second. */
static void trouble_exhaustion_accept_is_served(void **state) {
    (void)state;
    served_within(1 * SECOND, 0);
}

/* A close on this loop is noticed at once: well before the next attempt would have been due. */
static void trouble_exhaustion_accept_wakes_on_close(void **state) {
    (void)state;
    served_within(300 * MS, 1);
}

/* A connection that waits for a descriptor can still be given up, or run out of time. */
static void trouble_exhaustion_accept_ends(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr), client = client_of(&addr);
    struct probe cancelled = {.calls = 0}, late = {.calls = 0}, closed = {.calls = 0};
    struct probe closer = {.calls = 0};
    struct fillers f;
    fill_up(&f);
    ferry_accept(loop, &cancelled.op, listener, NULL, 0, probe_done);
    late.op.deadline_ns = 40 * MS;
    uint64_t start_ns = clock_ns();
    ferry_accept(loop, &late.op, listener, NULL, 0, probe_done);
    ferry_accept(loop, &closed.op, listener, NULL, 0, probe_done);
    expect_all(loop, &late, FERRY_ETIMEDOUT, 0, 0);
    assert_true(late.called_ns - start_ns >= 40 * MS);
    assert_int_equal(cancelled.calls, 0);
    ferry_cancel(loop, &cancelled.op);
    expect_all(loop, &cancelled, FERRY_ECANCELED, 0, 0);
    ferry_close(loop, &closer.op, listener, 0, probe_done);
    expect_all(loop, &closer, 0, 0, 0);
    probe_check(&closed, FERRY_ECANCELED);
    assert_true(closed.order < closer.order);
    fillers_close(&f);
    close_far(client);
    finish(loop);
}

/* Several accepts wait, one descriptor becomes free: one is served, the others wait on. */
static void trouble_exhaustion_one_for_many(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr), clients[3];
    struct probe accept[3];
    struct fillers f;
    memset(accept, 0, sizeof accept);
    for (int i = 0; i < 3; i++) clients[i] = client_of(&addr);
    fill_up(&f);
    for (int i = 0; i < 3; i++) {
        ferry_accept(loop, &accept[i].op, listener, NULL, 0, probe_done);
    }
    run_for(loop, 30 * MS);
    for (int i = 0; i < 3; i++) assert_int_equal(accept[i].calls, 0);
    ferry_close(loop, NULL, f.fds[--f.count], 0, NULL);
    run_for(loop, 50 * MS);
    int served = accept[0].finals + accept[1].finals + accept[2].finals;
    assert_in_range(served, 0, 1);
    fillers_close(&f);
    for (int i = 0; i < 3; i++) accepted_check(loop, &accept[i]);
    for (int i = 0; i < 3; i++) close_far(clients[i]);
    close_near(loop, listener);
    finish(loop);
}

/* Everything else that makes descriptors tells, and works again afterwards. */
static void trouble_exhaustion_is_told(void **state) {
    (void)state;
    ferry_loop *loop = test_loop(), *second = NULL;
    ferry_fd fd = FERRY_FD_NONE, fds[2];
    ferry_addr addr;
    struct probe open = {.calls = 0}, again = {.calls = 0}, about = {.calls = 0};
    ferry_file file;
    ferry_config config;
    struct fillers f;
    memset(&config, 0, sizeof config);
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    fill_up(&f);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), FERRY_EMFILE);
    assert_int_equal(ferry_listen(loop, &fd, &addr, 0), FERRY_EMFILE);
    assert_int_equal(ferry_pipe(loop, fds), FERRY_EMFILE);
    assert_int_equal(ferry_socketpair(loop, fds, FERRY_STREAM), FERRY_EMFILE);
    assert_int_equal(test_open(&second, &config), FERRY_EMFILE);
    assert_null(second);
    ferry_open(loop, &open.op, "/dev/null", FERRY_OPEN_READ, 0, 0, probe_done);
    expect_all(loop, &open, FERRY_EMFILE, 0, 0);
    /* What makes none goes on. */
    ferry_stat(loop, &about.op, "/dev/null", &file, 0, probe_done);
    expect_all(loop, &about, 0, 0, 0);
    fillers_close(&f);
    ferry_open(loop, &again.op, "/dev/null", FERRY_OPEN_READ, 0, 0, probe_done);
    probe_wait(loop, &again);
    assert_true(again.result >= 0);
    close_near(loop, (ferry_fd)again.result);
    finish(loop);
}

const struct contract_test trouble_exhaustion_tests[] = {
    {"trouble_exhaustion_accept_waits", trouble_exhaustion_accept_waits, 0},
    {"trouble_exhaustion_accept_is_served", trouble_exhaustion_accept_is_served, 0},
    {"trouble_exhaustion_accept_wakes_on_close", trouble_exhaustion_accept_wakes_on_close, 0},
    {"trouble_exhaustion_accept_ends", trouble_exhaustion_accept_ends, 0},
    {"trouble_exhaustion_one_for_many", trouble_exhaustion_one_for_many, 0},
    {"trouble_exhaustion_is_told", trouble_exhaustion_is_told, 0},
    {NULL, NULL, 0},
};
