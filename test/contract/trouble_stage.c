/* trouble_stage.c - the far side, short forms, and every operation that takes a descriptor
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include "file_kinds.h"
#include "portable.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define PATIENCE (30 * SECOND * TEST_STRETCH)

/* ---- Short forms ----------------------------------------------------------------------- */

void expect(ferry_loop *loop, struct probe *p, int64_t result) {
    probe_wait(loop, p);
    probe_check(p, result);
}

void expect_all(ferry_loop *loop, struct probe *p, int64_t result, uint64_t transferred,
                uint32_t flags) {
    expect(loop, p, result);
    assert_int_equal(p->transferred, transferred);
    assert_int_equal(p->flags, flags);
}

void close_near(ferry_loop *loop, ferry_fd fd) {
    struct probe p = {.calls = 0};
    ferry_close(loop, &p.op, fd, 0, probe_done);
    expect(loop, &p, 0);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

void close_far(ferry_fd fd) {
    assert_int_equal(close(fd), 0);
}

void reset_far(ferry_fd fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    assert_int_equal(close(fd), 0);
}

void finish(ferry_loop *loop) {
    ferry_stats stats;
    memset(&stats, 0, sizeof stats);
    ferry_loop_stats(loop, &stats, sizeof stats);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.submitted, stats.completed);

    ferry_fd fds[2];
    char there[16], back[16];
    struct probe nop = {.calls = 0}, send = {.calls = 0}, recv = {.calls = 0};
    assert_int_equal(ferry_socketpair(loop, fds, FERRY_STREAM), 0);
    fill(there, sizeof there, 7);
    ferry_nop(loop, &nop.op, 0, probe_done);
    ferry_recv(loop, &recv.op, fds[1], back, sizeof back, FERRY_ALL, probe_done);
    ferry_send(loop, &send.op, fds[0], there, sizeof there, 0, probe_done);
    expect(loop, &nop, 0);
    expect_all(loop, &send, sizeof there, sizeof there, 0);
    expect_all(loop, &recv, sizeof back, sizeof back, 0);
    assert_memory_equal(there, back, sizeof there);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    test_close(loop);
}

/* ---- The far side ---------------------------------------------------------------------- */

void set_buffers(ferry_fd fd, int bytes) {
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

/* A pipe's end has no flag for a single call, so its file is made non-blocking for the while. */
static ssize_t write_now(ferry_fd fd, const void *buf, size_t len) {
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    if (!(flags & O_NONBLOCK)) assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    ssize_t n;
    do {
        n = write(fd, buf, len);
    } while (n < 0 && errno == EINTR);
    int err = errno;
    if (!(flags & O_NONBLOCK)) assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
    errno = err;
    return n;
}

static size_t stuff_now(ferry_fd fd) {
    static const char block[4096];
    size_t total = 0;
    /* Large pieces until they do not fit, then single bytes: nothing is left for a partial send.
     * Where a byte fits there may be room for more: singly TCP could take them for a minute. */
    for (size_t len = sizeof block; len > 0;) {
        ssize_t n = write_now(fd, block, len);
        if (n > 0) {
            total += (size_t)n;
            len = sizeof block;
        } else {
            assert_int_equal(errno, EAGAIN);
            len = len > 1 ? 1 : 0;
        }
    }
    return total;
}

/* Where a pair is TCP, what was sent moves on for a while and makes room once more. */
size_t stuff(ferry_fd fd) {
    size_t total = 0, n;
    do {
        n = stuff_now(fd);
        total += n;
        if (TEST_WINDOWS) sleep_ns(50 * MS);
    } while (TEST_WINDOWS && n > 0);
    return total;
}

size_t far_take(ferry_fd fd, void *buf, size_t len, int *ended) {
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    if (!(flags & O_NONBLOCK)) assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    ssize_t n;
    do {
        n = read(fd, buf, len);
    } while (n < 0 && errno == EINTR);
    if (n == 0 && len > 0) *ended = -1;
    if (n < 0 && errno != EAGAIN) *ended = errno;
    if (!(flags & O_NONBLOCK)) assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
    return n > 0 ? (size_t)n : 0;
}

#define TERMINAL_FULL 4095 /* bytes at the far end, unread */

void terminal_pair(ferry_fd *near, ferry_fd *far) {
    struct termios plain;
    *far = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*far >= 0);
    assert_int_equal(grantpt(*far), 0);
    assert_int_equal(unlockpt(*far), 0);
    *near = open(ptsname(*far), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*near >= 0);
    assert_int_equal(tcgetattr(*near, &plain), 0);
    cfmakeraw(&plain);
    assert_int_equal(tcsetattr(*near, TCSANOW, &plain), 0);
}

/* What has been written moves on to the far end by and by, and makes room once more, until that has
 * all that it takes. */
size_t terminal_stuff(ferry_fd near, ferry_fd far) {
    size_t count = 0;
    uint64_t start_ns = clock_ns();
    for (int there = 0, was_there = 0; !was_there;) {
        was_there = there >= TERMINAL_FULL;
        while (write_now(near, "-", 1) == 1) count++;
        assert_int_equal(ioctl(far, FIONREAD, &there), 0);
        assert_true(clock_ns() - start_ns < PATIENCE);
        if (there < TERMINAL_FULL) sleep_ns(MS / 4);
    }
    return count;
}

size_t far_take_all(ferry_loop *loop, ferry_fd fd, void *buf, size_t len, int *ended) {
    uint64_t start_ns = clock_ns();
    size_t total = 0;
    *ended = 0;
    while (*ended == 0) {
        char over[64];
        size_t n = total < len ? far_take(fd, (char *)buf + total, len - total, ended)
                               : far_take(fd, over, sizeof over, ended);
        assert_true(total + n <= len);
        total += n;
        if (n == 0 && *ended == 0) sleep_ns(MS / 10);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        assert_true(clock_ns() - start_ns < PATIENCE);
    }
    return total;
}

void far_expect(ferry_loop *loop, ferry_fd fd, void *buf, size_t len) {
    uint64_t start_ns = clock_ns();
    int ended = 0;
    for (size_t total = 0; total < len;) {
        size_t n = far_take(fd, (char *)buf + total, len - total, &ended);
        assert_int_equal(ended, 0);
        total += n;
        if (n == 0) sleep_ns(MS / 10);
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        assert_true(clock_ns() - start_ns < PATIENCE);
    }
}

void far_send(ferry_loop *loop, ferry_fd fd, const void *buf, size_t len) {
    uint64_t start_ns = clock_ns();
    for (size_t total = 0; total < len;) {
        ssize_t n = write_now(fd, (const char *)buf + total, len - total);
        if (n < 0) assert_int_equal(errno, EAGAIN);
        if (n > 0) total += (size_t)n;
        assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        assert_true(clock_ns() - start_ns < PATIENCE);
    }
}

/* ---- Things to point at ---------------------------------------------------------------- */

ferry_fd make_file(const char *path, const void *data, size_t len) {
    ferry_fd fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t total = 0; total < len;) {
        ssize_t n = pwrite(fd, (const char *)data + total, len - total, (off_t)total);
        assert_true(n > 0);
        total += (size_t)n;
    }
    return fd;
}

ferry_fd closed_fd(void) {
    ferry_fd fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 1000);
    assert_true(fd >= 1000);
    assert_int_equal(close(fd), 0);
    return fd;
}

ferry_fd dead_address(ferry_addr *addr) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ferry_fd fd = plain_socket(AF_INET, SOCK_STREAM);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    memset(addr, 0, sizeof *addr);
    addr->len = (uint32_t)len;
    memcpy(addr->data.bytes, &in, sizeof in);
    return fd;
}

void *vast_map(size_t len) {
    void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

void vast_unmap(void *map, size_t len) {
    assert_int_equal(munmap(map, len), 0);
}

void limit_memlock(void) {
    struct rlimit little = {65536, 65536};
    if (geteuid() == 0) assert_int_equal(seteuid(65534), 0);
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &little), 0);
}

void unlimit_memlock(void) {
    if (getuid() == 0) assert_int_equal(seteuid(0), 0);
    allow_tracing(); /* which the change of user took away; sanitizers need it */
}

/* ---- Every operation that takes a descriptor ------------------------------------------- */

/* Static, since an operation that is refused is refused later, when the caller's frame may be gone.
 */
static char scratch[16];
static ferry_vec scratch_vecs[2] = {VEC(scratch, 8), VEC(scratch + 8, 8)};

static void kind_accept(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_accept(loop, op, fd, NULL, flags, probe_done);
}

static void kind_connect(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    static ferry_addr addr;
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:9"), 0);
    ferry_connect(loop, op, fd, &addr, flags, probe_done);
}

static void kind_recv(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_recv(loop, op, fd, scratch, sizeof scratch, flags, probe_done);
}

static void kind_recvv(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_recvv(loop, op, fd, scratch_vecs, 2, flags, probe_done);
}

static void kind_send(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_send(loop, op, fd, scratch, sizeof scratch, flags, probe_done);
}

static void kind_sendv(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_sendv(loop, op, fd, scratch_vecs, 2, flags, probe_done);
}

static ferry_msg scratch_msg = {.vecs = scratch_vecs, .count = 2};

static void kind_recvmsg(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_recvmsg(loop, op, fd, &scratch_msg, flags, probe_done);
}

static void kind_sendmsg(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_sendmsg(loop, op, fd, &scratch_msg, flags, probe_done);
}

static void kind_sendfile(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    /* Of no file: what is wrong with fd or the flags is told first, or is the same. */
    ferry_sendfile(loop, op, fd, FERRY_FD_NONE, 0, sizeof scratch, flags, probe_done);
}

static void kind_shutdown(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_shutdown(loop, op, fd, FERRY_SHUT_BOTH, flags, probe_done);
}

static void kind_read(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_read(loop, op, fd, scratch, sizeof scratch, FERRY_CURRENT, flags, probe_done);
}

static void kind_read_at(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_read(loop, op, fd, scratch, sizeof scratch, 0, flags, probe_done);
}

static void kind_readv(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_readv(loop, op, fd, scratch_vecs, 2, FERRY_CURRENT, flags, probe_done);
}

static void kind_write(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_write(loop, op, fd, scratch, sizeof scratch, FERRY_CURRENT, flags, probe_done);
}

static void kind_write_at(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_write(loop, op, fd, scratch, sizeof scratch, 0, flags, probe_done);
}

static void kind_writev(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_writev(loop, op, fd, scratch_vecs, 2, FERRY_CURRENT, flags, probe_done);
}

static void kind_sync(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_sync(loop, op, fd, flags, probe_done);
}

static void kind_truncate(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_truncate(loop, op, fd, 0, flags, probe_done);
}

static void kind_poll(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_poll(loop, op, fd, FERRY_POLL_IN, flags, probe_done);
}

static struct file_target file_targets[FERRY_OP_COUNT];

#define FILE_KIND(name, code)                                                                      \
    static void kind_##name(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {         \
        file_targets[code].fd = fd;                                                                \
        assert_true(file_kind_submit(loop, code, op, &file_targets[code], flags));                 \
    }
FILE_KIND(stat_fd, FERRY_OP_STAT_FD)
FILE_KIND(chmod_fd, FERRY_OP_CHMOD_FD)
FILE_KIND(chown_fd, FERRY_OP_CHOWN_FD)
FILE_KIND(times_fd, FERRY_OP_TIMES_FD)
FILE_KIND(allocate, FERRY_OP_ALLOCATE)
FILE_KIND(advise, FERRY_OP_ADVISE)
FILE_KIND(list, FERRY_OP_LIST)
FILE_KIND(copy, FERRY_OP_COPY)

static void kind_close(ferry_loop *loop, ferry_op *op, ferry_fd fd, unsigned flags) {
    ferry_close(loop, op, fd, flags, probe_done);
}

const struct fd_kind fd_kinds[] = {
    {"accept", kind_accept, 0},
    {"connect", kind_connect, 0},
    {"recv", kind_recv, FERRY_ALL},
    {"recvv", kind_recvv, FERRY_ALL},
    {"recvmsg", kind_recvmsg, FERRY_ALL},
    {"send", kind_send, FERRY_SOME | FERRY_ZEROCOPY},
    {"sendv", kind_sendv, FERRY_SOME | FERRY_ZEROCOPY},
    {"sendmsg", kind_sendmsg, FERRY_SOME | FERRY_ZEROCOPY},
    {"sendfile", kind_sendfile, FERRY_SOME},
    {"shutdown", kind_shutdown, 0},
    {"read", kind_read, FERRY_ALL},
    {"read at an offset", kind_read_at, FERRY_ALL},
    {"readv", kind_readv, FERRY_ALL},
    {"write", kind_write, FERRY_SOME},
    {"write at an offset", kind_write_at, FERRY_SOME},
    {"writev", kind_writev, FERRY_SOME},
    {"sync", kind_sync, FERRY_DATA},
    {"truncate", kind_truncate, 0},
    {"poll", kind_poll, FERRY_MULTI},
    {"stat_fd", kind_stat_fd, 0},
    {"chmod_fd", kind_chmod_fd, 0},
    {"chown_fd", kind_chown_fd, 0},
    {"times_fd", kind_times_fd, 0},
    {"allocate", kind_allocate, 0},
    {"advise", kind_advise, 0},
    {"list", kind_list, FERRY_RESTART},
    {"copy", kind_copy, FERRY_ALL},
    {"close", kind_close, 0},
    {NULL, NULL, 0},
};
