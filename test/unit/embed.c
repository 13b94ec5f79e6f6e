/* The descriptor of an embedded loop, at the seams of system calls: what a turn costs, what happens
 * when calls fail, and that a forked child leaves the parent's ring alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "linux/calls.h"
#include "posix/calls.h"
#include "uring/uring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The seams ------------------------------------------------------------------------- */

static struct ferry__calls plain;
static struct ferry__linux_calls plain_linux;
static struct {
    unsigned enters, clears, timers, raises, registers;
    int fail;         /* errno, 0: none */
    unsigned fail_in; /* calls that still work */
    int register_error;
} seam;

static int failing(void) {
    if (seam.fail == 0 || seam.fail_in-- > 0) return 0;
    errno = seam.fail;
    seam.fail_in = 0;
    return 1;
}

static int seam_setup(struct uring *uring, unsigned entries, struct io_uring_params *params) {
    return ferry__uring_calls_plain.setup(uring, entries, params);
}

static int seam_enter(struct uring *uring, unsigned submit, unsigned wait, unsigned flags,
                      struct io_uring_getevents_arg *arg) {
    seam.enters++;
    return ferry__uring_calls_plain.enter(uring, submit, wait, flags, arg);
}

static int seam_register(struct uring *uring, unsigned opcode, const void *arg, unsigned count) {
    seam.registers++;
    if (opcode == IORING_REGISTER_EVENTFD && seam.register_error) return seam.register_error;
    return ferry__uring_calls_plain.register_(uring, opcode, arg, count);
}

static const struct uring_calls seam_calls = {seam_setup, seam_enter, seam_register};

static int seam_epoll_create(int flags) {
    return failing() ? -1 : plain_linux.epoll_create(flags);
}

static int seam_eventfd(unsigned count, int flags) {
    return failing() ? -1 : plain_linux.eventfd(count, flags);
}

static int seam_timerfd_create(int clock, int flags) {
    return failing() ? -1 : plain_linux.timerfd_create(clock, flags);
}

static int seam_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event) {
    return failing() ? -1 : plain_linux.epoll_ctl(epoll, what, fd, event);
}

static int seam_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout) {
    seam.clears++;
    return plain_linux.epoll_wait(epoll, events, max, timeout);
}

static int seam_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old) {
    seam.timers++;
    return failing() ? -1 : plain_linux.timerfd_settime(fd, flags, when, old);
}

static ssize_t seam_write(int fd, const void *data, size_t len) {
    seam.raises++;
    return plain.write(fd, data, len);
}

static int seam_begin(void **state) {
    (void)state;
    memset(&seam, 0, sizeof seam);
    plain = ferry__calls;
    plain_linux = ferry__linux_calls;
    ferry__uring_calls = &seam_calls;
    ferry__linux_calls.epoll_create = seam_epoll_create;
    ferry__linux_calls.eventfd = seam_eventfd;
    ferry__linux_calls.timerfd_create = seam_timerfd_create;
    ferry__linux_calls.epoll_ctl = seam_epoll_ctl;
    ferry__linux_calls.epoll_wait = seam_epoll_wait;
    ferry__linux_calls.timerfd_settime = seam_settime;
    ferry__calls.write = seam_write;
    return 0;
}

static int seam_end(void **state) {
    (void)state;
    ferry__uring_calls = &ferry__uring_calls_plain;
    ferry__calls = plain;
    ferry__linux_calls = plain_linux;
    return 0;
}

static ferry_loop *open_loop(void) {
    ferry_config config = {.size = sizeof config, .backend = FERRY_URING};
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    return loop;
}

static int is_readable(ferry_fd fd, int timeout_ms) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, timeout_ms);
}

/* ---- What a turn costs ----------------------------------------------------------------- */

struct peer {
    ferry_op recv, send;
    ferry_loop *loop;
    int fd, echoes;
    char buf[8];
};

static void sent(ferry_op *op) {
    struct peer *peer = ferry_container(op, struct peer, send);
    peer->echoes++;
    ferry_again(peer->loop, &peer->recv);
}

static void received(ferry_op *op) {
    struct peer *peer = ferry_container(op, struct peer, recv);
    if (op->result > 0) ferry_send(peer->loop, &peer->send, peer->fd, peer->buf, 8, 0, sent);
}

/* An echo is two turns: the message that has come, and the answer that has gone. Together they take
 * at most three enters and one look that clears; a deadline that only moves on costs nothing more.
 */
static void a_turn_is_cheap(void **state) {
    (void)state;
    for (int deadline = 0; deadline < 2; deadline++) {
        int fds[2];
        char answer[8];
        ferry_loop *loop = open_loop();
        ferry_fd fd = ferry_loop_fd(loop);
        assert_true(fd >= 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        unsigned timers = 0;
        struct peer peer = {.loop = loop, .fd = fds[0]};
        if (deadline) peer.recv.deadline_ns = peer.send.deadline_ns = UINT64_C(60000000000);
        ferry_recv(loop, &peer.recv, fds[0], peer.buf, 8, FERRY_ALL, received);
        for (int i = 0; i < 100; i++) {
            while (is_readable(fd, 0)) assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
            unsigned registers = seam.registers;
            seam.enters = seam.clears = seam.timers = seam.raises = 0;
            assert_int_equal(write(fds[1], "abcdefgh", 8), 8);
            int turns = 0;
            do {
                assert_int_equal(is_readable(fd, 10000), 1);
                assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
                turns++;
            } while (is_readable(fd, 0));
            assert_int_equal(peer.echoes, i + 1);
            assert_int_equal(read(fds[1], answer, 8), 8);
            assert_in_range(turns, 1, 2);
            assert_in_range(seam.enters, 1, 3);
            assert_int_equal(seam.clears, 1);
            timers += seam.timers;
            assert_int_equal(seam.raises, 0);
            assert_int_equal(seam.registers, registers);
        }
        assert_in_range(timers, 0, 2); /* the wheel knows the nearest better as it turns */
        ferry_close(loop, NULL, fds[0], 0, NULL);
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        assert_int_equal(ferry_loop_close(loop), 0);
        close(fds[1]);
    }
}

/* Nobody else pays: no call of these without a descriptor, and one write for many submits with. */
static void others_do_not_pay(void **state) {
    (void)state;
    static ferry_op ops[100];
    ferry_loop *loop = open_loop();
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    seam.raises = 0;
    for (int i = 0; i < 100; i++) ferry_nop(loop, &ops[i], 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(seam.clears + seam.timers + seam.raises, 0);
    assert_true(ferry_loop_fd(loop) >= 0);
    assert_int_equal(seam.raises, 0);
    for (int i = 0; i < 100; i++) ferry_nop(loop, &ops[i], 0, NULL);
    assert_int_equal(seam.raises, 1);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    assert_int_equal(seam.raises, 1);
    assert_int_equal(seam.clears, 1);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- Calls that fail ------------------------------------------------------------------- */

static void failures_are_told(void **state) {
    (void)state;
    ferry_op op = {.state = 0};
    ferry_loop *loop = open_loop();
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    seam.fail = ENOMEM;
    for (unsigned works = 0; works < 6; works++) { /* create, event, timer, three to watch */
        seam.fail_in = works;
        assert_int_equal(ferry_loop_fd(loop), FERRY_ENOMEM);
    }
    seam.fail = 0;
    seam.register_error = -EPERM;
    assert_int_equal(ferry_loop_fd(loop), FERRY_EPERM);
    seam.register_error = 0;
    ferry_fd fd = ferry_loop_fd(loop);
    assert_true(fd >= 0);
    /* Without a timer it is readable rather than never. */
    seam.fail = EINVAL;
    ferry_timer(loop, &op, 1000000, 0, 0, NULL);
    while (ferry_run(loop, FERRY_RUN_NOWAIT) == 1) assert_int_equal(is_readable(fd, 10000), 1);
    seam.fail = 0;
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* The ring of a new loop learns of it when it is adopted, and that may fail and be tried again. */
static void adopting_can_be_tried_again(void **state) {
    (void)state;
    ferry_loop *loop = open_loop();
    assert_true(ferry_loop_fd(loop) >= 0);
    seam.register_error = -EPERM;
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), FERRY_EPERM);
    seam.register_error = 0;
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void some_backends_have_none(void **state) {
    (void)state;
    ferry_loop *loop = open_loop();
    const struct ferry__backend *backend = loop->backend;
    struct ferry__backend without = *backend;
    without.embed = NULL;
    loop->backend = &without;
    assert_int_equal(ferry_loop_fd(loop), FERRY_ENOTSUP);
    loop->backend = backend;
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* ---- A forked child -------------------------------------------------------------------- */

static void a_child_leaves_the_ring_alone(void **state) {
    (void)state;
    ferry_op op = {.state = 0};
    char buf[4];
    int fds[2], status = 0;
    ferry_loop *loop = open_loop();
    assert_true(ferry_loop_fd(loop) >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ferry_recv(loop, &op, fds[0], buf, 4, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        seam.enters = seam.registers = seam.clears = seam.timers = seam.raises = 0;
        if (ferry_run(loop, FERRY_RUN_DONE) != FERRY_EFORKED) _exit(1);
        ferry_stop(loop);
        if (ferry_loop_close(loop) != 0) _exit(2);
        _exit(seam.enters + seam.registers + seam.clears + seam.timers + seam.raises ? 3 : 0);
    }
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(write(fds[1], "abcd", 4), 4);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(op.result, 4);
    assert_int_equal(ferry_loop_close(loop), 0);
    close(fds[0]);
    close(fds[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, seam_begin, seam_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_turn_is_cheap),         TEST(others_do_not_pay),
        TEST(failures_are_told),       TEST(adopting_can_be_tried_again),
        TEST(some_backends_have_none), TEST(a_child_leaves_the_ring_alone),
    };
    return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
