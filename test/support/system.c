/* system.c - time, limits, descriptors and data for the tests, on plain system calls
 *
 * Nothing here goes through Ferry: what a test compares Ferry with must not be Ferry. All of it
 * stands being interrupted by signals at any moment (the configuration with +alarm).
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "portable.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* ---- Time ----------------------------------------------------------------------------------- */

uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void sleep_ns(uint64_t ns) {
    uint64_t now = clock_ns(), until = now + ns;
    for (; now < until; now = clock_ns()) {
        struct timespec left = {(time_t)((until - now) / SECOND), (long)((until - now) % SECOND)};
        (void)nanosleep(&left, NULL); /* not all of it if a signal comes */
    }
}

static void on_alarm(int number) {
    (void)number;
}

void alarm_start(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval every = {{0, 1000}, {0, 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

/* ---- Limits ------------------------------------------------------ */

int set_fd_limit(unsigned n) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    limit.rlim_cur = n;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

pid_t test_fork(void) {
#ifdef TEST_ASAN
    threads_settle();
#endif
    pid_t pid = fork();
    assert_true(pid >= 0);
    return pid;
}

/* ---- Sockets --------------------------------------------------------------------------- */

/* Not at once as well, for systems that cannot: nobody else executes anything meanwhile. */
static ferry_fd close_on_exec(ferry_fd fd) {
    if (fd >= 0) assert_int_equal(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    return fd;
}

void set_nonblocking(ferry_fd fd) {
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
}

ferry_fd plain_socket(int family, int type) {
    ferry_fd fd = close_on_exec(socket(family, type, 0));
    assert_true(fd >= 0);
    return fd;
}

void plain_pipe(ferry_fd fds[2]) {
    assert_int_equal(pipe(fds), 0);
    close_on_exec(fds[0]);
    close_on_exec(fds[1]);
}

ferry_fd plain_accept(ferry_fd listener) {
    ferry_fd fd;
    do {
        fd = accept(listener, NULL, NULL);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0) assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    return close_on_exec(fd); /* and blocking: on the BSDs it takes after the listener */
}

ferry_fd tcp_listener(ferry_addr *addr) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ferry_fd fd = plain_socket(AF_INET, SOCK_STREAM);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    memset(addr, 0, sizeof *addr);
    addr->len = (uint32_t)len;
    memcpy(addr->data.bytes, &in, sizeof in);
    return fd;
}

/* A connect that a signal interrupts goes on by itself. */
void plain_connect(ferry_fd fd, const ferry_addr *addr) {
    const struct sockaddr *to = (const struct sockaddr *)(const void *)addr->data.bytes;
    int connected;
    do { /* of a Unix socket that a signal has interrupted nothing is under way */
        connected = connect(fd, to, (socklen_t)addr->len);
    } while (connected != 0 && errno == EINTR && to->sa_family == AF_UNIX);
    if (connected == 0) return;
    assert_int_equal(errno, EINTR);
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    while (poll(&ready, 1, -1) < 0) assert_int_equal(errno, EINTR);
    int err = -1;
    socklen_t len = sizeof err;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
    assert_int_equal(err, 0);
}

/* Is this the other end of that? The tests that run beside this one connect to ports as well, also
 * to some that nobody listens at any more, and that may have become ours. */
static int is_other_end(ferry_fd fd, ferry_fd of) {
    struct sockaddr_in far = {.sin_port = 0}, near = {.sin_port = 1};
    socklen_t far_len = sizeof far, near_len = sizeof near;
    return getpeername(fd, (struct sockaddr *)&far, &far_len) == 0 &&
           getsockname(of, (struct sockaddr *)&near, &near_len) == 0 &&
           far.sin_port == near.sin_port;
}

void tcp_pair(ferry_loop *loop, ferry_fd fds[2]) {
    (void)loop;
    ferry_addr addr;
    ferry_fd listener = tcp_listener(&addr);
    fds[0] = plain_socket(AF_INET, SOCK_STREAM);
    plain_connect(fds[0], &addr);
    fds[1] = plain_accept(listener);
    while (fds[1] >= 0 && !is_other_end(fds[1], fds[0])) {
        close(fds[1]);
        fds[1] = plain_accept(listener);
    }
    assert_true(fds[1] >= 0);
    assert_int_equal(close(listener), 0);
}

void unix_pair(ferry_fd fds[2], int type) {
    assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
    close_on_exec(fds[0]);
    close_on_exec(fds[1]);
}

void plain_send(ferry_fd fd, const void *buf, size_t len) {
    for (const char *at = buf; len > 0;) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_msg("send: %s", strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

void plain_recv(ferry_fd fd, void *buf, size_t len) {
    for (char *at = buf; len > 0;) {
        ssize_t n = recv(fd, at, len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_msg("recv: %s", strerror(errno));
        if (n == 0) fail_msg("recv: the stream ended with %zu bytes to come", len);
        at += n;
        len -= (size_t)n;
    }
}

long plain_take(ferry_fd fd, void *buf, size_t len) {
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n = poll(&ready, 1, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        ssize_t got = read(fd, buf, len);
        if (got > 0) return (long)got;
        if (got == 0) return -1;
        if (errno != EINTR) return errno == EAGAIN ? 0 : -2;
    }
}

static size_t stuff_once(ferry_fd fd) {
    static const char zeros[65536];
    size_t all = 0, len = sizeof zeros;
    while (len > 0) {
        ssize_t n = send(fd, zeros, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            all += (size_t)n;
            len = sizeof zeros; /* room again: a byte at a time TCP may have it for a minute */
        } else if (n < 0 && errno != EINTR) {
            assert_true(errno == EAGAIN);
            len /= 2; /* Less may still fit, on sockets that keep messages whole. */
        }
    }
    return all;
}

/* Where a pair is TCP, what was sent moves on for a while, which makes room once more. */
size_t plain_stuff(ferry_fd fd) {
    size_t all = stuff_once(fd);
    for (size_t more = TEST_WINDOWS; more > 0; all += more) {
        sleep_ns(50 * MS);
        more = stuff_once(fd);
    }
    return all;
}

int is_open(ferry_fd fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

/* ---- What not all systems have ----------------------------------------------------------- */

void differs_on_windows(const char *how) {
    if (TEST_WINDOWS) test_skip(how);
}

void differs_on_wine(const char *how) {
    if (is_wine()) test_skip(how);
}

static int omit(int omits, const char *how) {
    if (omits) printf("left out: %s\n", how);
    return omits;
}

int omits_on_windows(const char *how) {
    return omit(TEST_WINDOWS, how);
}

int omits_on_wine(const char *how) {
    return omit(is_wine(), how);
}

int omits_unix(int type) {
    return omit(!has_unix(type), "no Unix sockets of this kind");
}

int omits_links(void) {
    return omit(!has_links(), "symbolic links cannot be made here");
}

void need_unix(int type) {
    assert_int_equal(close(plain_socket(AF_UNIX, type)), 0);
}

void need_links(void) {
    const char *path = temp_path("a link to be removed");
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(unlink(path), 0);
}

void need_signals(void) {
    sigset_t mask;
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
}

void need_passing(void) {
    differs_on_windows("no descriptors are passed through sockets on Windows");
}

void need_modes(void) {
    differs_on_windows("no bits of permission on Windows");
}

/* ---- Files ------------------------------------------------------------------------------- */

void position_check(ferry_loop *loop, ferry_fd fd, uint64_t at) {
    char is[64], should[64];
    struct probe p = {.calls = 0};
    if (!TEST_WINDOWS) {
        assert_int_equal(lseek(fd, 0, SEEK_CUR), at);
        return;
    }
    ssize_t len = pread(fd, should, sizeof should, (off_t)at);
    assert_true(len >= 0);
    ferry_read(loop, &p.op, fd, is, sizeof is, FERRY_CURRENT, FERRY_ALL, probe_done);
    probe_wait(loop, &p);
    probe_check(&p, len);
    assert_memory_equal(is, should, (size_t)len);
}

ferry_fd rewound(ferry_fd fd, const char *path) {
    if (TEST_WINDOWS) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
    } else {
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    }
    return fd;
}

/* ---- Paths and data -------------------------------------------------------------------- */

char *temp_path(const char *name) {
    static char paths[8][320];
    static unsigned next;
    char *path = paths[next++ % 8];
    assert_true(*test_directory() != 0);
    int len = snprintf(path, sizeof paths[0], "%s/%s", test_directory(), name);
    assert_true(len > 0 && (size_t)len < sizeof paths[0]);
    return path;
}

ferry_fd temp_file(const char *name, size_t len, uint64_t seed) {
    ferry_fd fd = open(temp_path(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    char *data = malloc(len + 1);
    assert_non_null(data);
    fill(data, len, seed);
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, data + done, len - done, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        assert_true(n > 0);
        done += (size_t)n;
    }
    free(data);
    return fd;
}

/* The upper byte of a multiplication by an odd number with well-mixed bits. */
static unsigned char byte_at(uint64_t place) {
    return (unsigned char)((place * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

void fill(void *buf, size_t len, uint64_t seed) {
    unsigned char *at = buf;
    for (size_t i = 0; i < len; i++) at[i] = byte_at(seed + i);
}

int is_filled(const void *buf, size_t len, uint64_t seed) {
    const unsigned char *at = buf;
    for (size_t i = 0; i < len; i++) {
        if (at[i] != byte_at(seed + i)) return 0;
    }
    return 1;
}
