/* ops_foreign.c - descriptors that were opened elsewhere, with O_NONBLOCK set
 *
 * They work like blocking ones: what would wait, waits, and the flag stays as it was. Nobody gets
 * to see FERRY_EAGAIN.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* All ways to wait, on descriptors that would rather not. */
static void ops_nonblocking_waits(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        if (s.fd == FERRY_FD_NONE || strcmp(kind->name, "work") == 0) {
            stage_close(&s); /* no descriptor that it waits on */
            continue;
        }
        set_nonblocking(s.fd);
        stage_submit(&s, 0);
        stage_waits(&s);
        if (kind->let) {
            stage_let(&s);
        } else {
            ferry_cancel(loop, &s.p.op);
            stage_expect(&s, FERRY_ECANCELED);
        }
        assert_true(fcntl(s.fd, F_GETFL) & O_NONBLOCK);
        stage_close(&s);
    }
    finish(loop);
}

/* And can be cancelled while they wait. */
static void ops_nonblocking_cancelled(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        if (s.fd != FERRY_FD_NONE && strcmp(kind->name, "work") != 0) {
            set_nonblocking(s.fd);
            stage_submit(&s, 0);
            stage_waits(&s);
            ferry_cancel(loop, &s.p.op);
            stage_expect(&s, FERRY_ECANCELED);
            assert_int_equal(s.p.transferred, 0);
        }
        stage_close(&s);
    }
    finish(loop);
}

static void ops_nonblocking_connect(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr, dead;
    ferry_fd listener = tcp_listener(&addr), fd = FERRY_FD_NONE, refused = FERRY_FD_NONE;
    struct probe p[3];
    memset(p, 0, sizeof p);
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    set_nonblocking(fd);
    ferry_connect(loop, &p[0].op, fd, &addr, 0, probe_done);
    ferry_send(loop, &p[1].op, fd, "behind", 6, 0, probe_done);
    expect_all(loop, &p[0], 0, 0, 0);
    expect_all(loop, &p[1], 6, 6, 0);
    ferry_fd nobody = dead_address(&dead);
    assert_int_equal(ferry_socket(loop, &refused, FERRY_INET, FERRY_STREAM), 0);
    set_nonblocking(refused);
    ferry_connect(loop, &p[2].op, refused, &dead, 0, probe_done);
    expect_all(loop, &p[2], FERRY_ECONNREFUSED, 0, 0);
    close_near(loop, fd);
    close_near(loop, refused);
    close_far(nobody);
    close_far(listener);
    finish(loop);
}

/* A Unix socket that is not connected is always ready, and its connect still has to wait: nobody
 * may take that for a reason to try without pause. */
static void ops_nonblocking_connect_does_not_spin(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop();
    for (const struct stage_kind *kind = stages; kind->name; kind++) {
        if (stage_is_absent(kind)) continue;
        if (strncmp(kind->name, "connect", 7) != 0) continue;
        struct stage s;
        stage_open(&s, kind, loop);
        set_nonblocking(s.fd);
        stage_submit(&s, 0);
        stage_waits(&s);
        struct timespec before, after;
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before), 0);
        run_for(loop, 300 * MS);
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
        int64_t used_ns = (int64_t)(after.tv_sec - before.tv_sec) * (int64_t)SECOND +
                          (after.tv_nsec - before.tv_nsec);
        assert_true(used_ns < (int64_t)(100 * MS));
        assert_int_equal(s.p.calls, 0);
        ferry_cancel(loop, &s.p.op);
        stage_expect(&s, FERRY_ECANCELED);
        stage_close(&s);
    }
    finish(loop);
}

/* Whole transfers of many parts, each of which the system breaks off. */
static void whole_transfer(ferry_loop *loop, ferry_fd out_fd, ferry_fd in_fd, int is_pipe) {
    size_t len = 800 * KIB;
    char *out = malloc(len), *in = malloc(len);
    struct probe send = {.calls = 0}, recv = {.calls = 0};
    assert_true(out && in);
    fill(out, len, 3);
    set_nonblocking(out_fd);
    set_nonblocking(in_fd);
    if (is_pipe) {
        ferry_write(loop, &send.op, out_fd, out, len, FERRY_CURRENT, 0, probe_done);
        ferry_read(loop, &recv.op, in_fd, in, len, FERRY_CURRENT, FERRY_ALL, probe_done);
    } else {
        ferry_send(loop, &send.op, out_fd, out, len, 0, probe_done);
        ferry_recv(loop, &recv.op, in_fd, in, len, FERRY_ALL, probe_done);
    }
    expect_all(loop, &send, (int64_t)len, len, 0);
    expect_all(loop, &recv, (int64_t)len, len, 0);
    assert_true(is_filled(in, len, 3));
    close_near(loop, out_fd);
    close_near(loop, in_fd);
    free(out);
    free(in);
}

static void contract_08_nonblocking_whole_transfers(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    tcp_pair(loop, fds);
    set_buffers(fds[0], 16 * 1024);
    whole_transfer(loop, fds[0], fds[1], 0);
    unix_pair(fds, SOCK_STREAM);
    set_buffers(fds[0], 16 * 1024);
    whole_transfer(loop, fds[0], fds[1], 0);
    plain_pipe(fds);
    whole_transfer(loop, fds[1], fds[0], 1);
    finish(loop);
}

/* A terminal is read as a stream: what waits is told when a line comes. */
static void ops_terminal(void **state) {
    (void)state;
    ferry_fd master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
        if (master >= 0) close_far(master);
        test_skip("no pseudo-terminals on this machine");
    }
    ferry_loop *loop = test_loop();
    char in[16] = "";
    struct probe line = {.calls = 0}, cancelled = {.calls = 0}, prompt = {.calls = 0};
    ferry_fd terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    ferry_read(loop, &line.op, terminal, in, sizeof in, FERRY_CURRENT, 0, probe_done);
    ferry_write(loop, &prompt.op, terminal, "prompt", 6, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &prompt, 6, 6, 0);
    run_for(loop, 2 * MS);
    assert_int_equal(line.calls, 0);
    assert_int_equal(write(master, "line\n", 5), 5);
    expect_all(loop, &line, 5, 5, 0);
    assert_memory_equal(in, "line\n", 5);
    ferry_read(loop, &cancelled.op, terminal, in, sizeof in, FERRY_CURRENT, 0, probe_done);
    run_for(loop, 2 * MS);
    ferry_cancel(loop, &cancelled.op);
    expect_all(loop, &cancelled, FERRY_ECANCELED, 0, 0);
    close_near(loop, terminal);
    close_far(master);
    finish(loop);
}

const struct contract_test ops_foreign_tests[] = {
    {"ops_nonblocking_waits", ops_nonblocking_waits, 0},
    {"ops_nonblocking_cancelled", ops_nonblocking_cancelled, 0},
    {"ops_nonblocking_connect", ops_nonblocking_connect, 0},
    {"ops_nonblocking_connect_does_not_spin", ops_nonblocking_connect_does_not_spin, 0},
    {"contract_08_nonblocking_whole_transfers", contract_08_nonblocking_whole_transfers, 0},
    {"ops_terminal", ops_terminal, 0},
    {NULL, NULL, 0},
};
