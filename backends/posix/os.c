/* os.c - the POSIX side of os.h: clock, memory, environment, descriptors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "calls.h"
#include "missing.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Time, memory, environment ----------------------------------------------------------- */

uint64_t ferry__os_clock(void) {
    struct timespec now;
    (void)ferry__calls.clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void ferry__os_sleep(uint64_t ns) {
    const struct timespec span = {.tv_sec = (time_t)(ns / 1000000000u),
                                  .tv_nsec = (long)(ns % 1000000000u)};
    (void)nanosleep(&span, NULL);
}

void *ferry__os_reserve(size_t bytes) {
    void *memory = ferry__calls.mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void ferry__os_unreserve(void *memory, size_t bytes) {
    if (memory != NULL) (void)ferry__calls.munmap(memory, bytes);
}

void *ferry__os_reserve_table(size_t bytes) {
    return ferry__os_reserve(bytes);
}

bool ferry__os_commit(void *memory, size_t bytes) {
    (void)memory, (void)bytes;
    return true;
}

uint32_t ferry__os_fd_limit(void) {
    struct rlimit limit;
    uint64_t count = 65536;
    if (ferry__calls.fd_limit(&limit) == 0 && (uint64_t)limit.rlim_max > count) {
        count = (uint64_t)limit.rlim_max;
    }
    return count > (1u << 24) ? 1u << 24 : (uint32_t)count;
}

void ferry__os_ignore_sigpipe(void) {
    struct sigaction action;
    if (ferry__calls.sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)ferry__calls.sigaction(SIGPIPE, &action, NULL);
    }
}

void ferry__os_complain(const char *text, size_t len) {
    ssize_t wrote = ferry__calls.write(STDERR_FILENO, text, len);
    (void)wrote; /* nowhere left to complain */
}

int ferry__os_write(ferry_fd fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t wrote = ferry__calls.write(fd, text, len);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return ferry__errno();
        text += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

_Noreturn void ferry__os_abort(void) {
    abort();
}

/* ---- Descriptors ------------------------------------------------------------------------- */

static int socket_kind(int fd) {
    int type = 0;
    socklen_t len = sizeof type;
    if (ferry__calls.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) return KIND_OTHER;
    if (type == SOCK_STREAM) return KIND_STREAM;
    return type == SOCK_SEQPACKET ? KIND_SEQPACKET : KIND_MESSAGE;
}

ferry_fd ferry_standard_fd(int which) {
    return which >= 0 && which <= 2 ? which : FERRY_EINVAL;
}

int ferry__os_fd_kind(ferry_fd fd) {
    struct stat about;
    if (ferry__calls.fstat(fd, &about) != 0) return ferry__errno();
    switch (about.st_mode & S_IFMT) {
    case S_IFSOCK: return socket_kind(fd);
    case S_IFIFO: return KIND_PIPE;
    case S_IFCHR: return KIND_CHARACTER;
    case S_IFREG:
    case S_IFBLK: return KIND_FILE;
    default: return KIND_OTHER;
    }
}

int ferry__os_shutdown(ferry_fd fd, int how) {
    static const int hows[] = {
        [FERRY_SHUT_READ] = SHUT_RD, [FERRY_SHUT_WRITE] = SHUT_WR, [FERRY_SHUT_BOTH] = SHUT_RDWR};
    return ferry__calls.shutdown(fd, hows[how]) == 0 ? 0 : ferry__errno();
}

int ferry__posix_unread(int fd) {
    int bytes = 0;
    return ferry__calls.ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

bool ferry__posix_is_tcp(int fd) {
    int protocol = 0;
    socklen_t len = sizeof protocol;
#ifdef SO_PROTOCOL
    return ferry__calls.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
           protocol == IPPROTO_TCP;
#else /* macOS, NetBSD before 10: only TCP knows of this one */
    return ferry__calls.getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &protocol, &len) == 0;
#endif
}

/* Has the program asked for a reset (FERRY_OPT_LINGER_S of 0)? */
static bool reset_wanted(int fd) {
    struct linger linger = {.l_onoff = 0};
    socklen_t len = sizeof linger;
    return ferry__calls.getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 &&
           linger.l_onoff != 0 && linger.l_linger == 0;
}

bool ferry__os_unread(ferry_fd fd) {
    return ferry__posix_unread(fd) > 0 && !reset_wanted(fd) && ferry__posix_is_tcp(fd);
}
