/* os.c - the POSIX side of os.h: clock, memory, environment, descriptors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int ioctl_int(int fd, unsigned long request, int *value) {
    return ioctl(fd, request, value);
}

/* The C library's own types for these are not plain pointers. */
static int bind_plain(int fd, const struct sockaddr *addr, socklen_t len) {
    return bind(fd, addr, len);
}

static int connect_plain(int fd, const struct sockaddr *addr, socklen_t len) {
    return connect(fd, addr, len);
}

static int getsockname_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return getsockname(fd, addr, len);
}

static int getpeername_plain(int fd, struct sockaddr *addr, socklen_t *len) {
    return getpeername(fd, addr, len);
}

static int getrlimit_plain(int which, struct rlimit *limit) {
    return getrlimit((__rlimit_resource_t)which, limit);
}

static int eventfd_int(unsigned count, int flags) {
    return eventfd(count, flags);
}

static int pidfd_open_plain(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int duplicate(int fd, int lowest) {
    return fcntl(fd, F_DUPFD_CLOEXEC, lowest);
}

static int open_to_read(const char *path) {
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int timerfd_create_plain(int clock, int flags) {
    return timerfd_create((__clockid_t)clock, flags);
}

static int accept_plain(int fd, struct sockaddr *addr, socklen_t *len, int flags) {
    return accept4(fd, addr, len, flags);
}

static int ppoll_plain(struct pollfd *fds, nfds_t count, const struct timespec *span) {
    return ppoll(fds, count, span, NULL);
}

static ssize_t sendmsg_plain(int fd, const struct msghdr *header, int flags) {
    return sendmsg(fd, header, flags);
}

static int set_blocking(int fd, int blocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    int was = !(flags & O_NONBLOCK);
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return wanted == flags || fcntl(fd, F_SETFL, wanted) == 0 ? was : -1;
}

static int epoll_pwait2_plain(int fd, struct epoll_event *events, int max,
                              const struct timespec *span) {
    return epoll_pwait2(fd, events, max, span, NULL);
}

struct ferry__calls ferry__calls = {
    .clock_gettime = clock_gettime,
    .mmap = mmap,
    .munmap = munmap,
    .getrlimit = getrlimit_plain,
    .sigaction = sigaction,
    .fstat = fstat,
    .getsockopt = getsockopt,
    .setsockopt = setsockopt,
    .ioctl = ioctl_int,
    .recv = recv,
    .recvmsg = recvmsg,
    .send = send,
    .sendmsg = sendmsg_plain,
    .accept = accept_plain,
    .poll = poll,
    .ppoll = ppoll_plain,
    .shutdown = shutdown,
    .socket = socket,
    .socketpair = socketpair,
    .connect = connect_plain,
    .bind = bind_plain,
    .listen = listen,
    .getsockname = getsockname_plain,
    .getpeername = getpeername_plain,
    .pipe = pipe2,
    .open_to_read = open_to_read,
    .close = close,
    .ftruncate = ftruncate,
    .read = read,
    .write = write,
    .readv = readv,
    .writev = writev,
    .preadv = preadv,
    .pwritev = pwritev,
    .preadv2 = preadv2,
    .pwritev2 = pwritev2,
    .set_blocking = set_blocking,
    .eventfd = eventfd_int,
    .duplicate = duplicate,
    .spawn = posix_spawnp,
    .waitid = waitid,
    .pidfd_open = pidfd_open_plain,
    .kill = kill,
    .inotify_init = inotify_init1,
    .inotify_add_watch = inotify_add_watch,
    .inotify_rm_watch = inotify_rm_watch,
    .epoll_create = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .epoll_wait = epoll_wait,
    .epoll_pwait2 = epoll_pwait2_plain,
    .timerfd_create = timerfd_create_plain,
    .timerfd_settime = timerfd_settime,
    .getaddrinfo = getaddrinfo,
    .freeaddrinfo = freeaddrinfo,
    .thread_create = pthread_create,
};

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
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void ferry__os_unreserve(void *memory, size_t bytes) {
    if (memory != NULL) (void)ferry__calls.munmap(memory, bytes);
}

const char *ferry__os_environment(const char *name) {
    return secure_getenv(name);
}

uint32_t ferry__os_fd_limit(void) {
    struct rlimit limit;
    uint64_t count = 65536;
    if (ferry__calls.getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > count) {
        count = limit.rlim_max;
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

void ferry__os_abandon(ferry_fd fd) {
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    (void)ferry__calls.connect(fd, &nowhere, sizeof nowhere); /* connect(2): dissolves it */
}

static int bytes_unread(int fd) {
    int bytes = 0;
    return ferry__calls.ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

/* Has the program asked for a reset (FERRY_OPT_LINGER_S of 0)? */
static bool reset_wanted(int fd) {
    struct linger linger = {.l_onoff = 0};
    socklen_t len = sizeof linger;
    return ferry__calls.getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 &&
           linger.l_onoff != 0 && linger.l_linger == 0;
}

bool ferry__os_unread(ferry_fd fd) {
    if (bytes_unread(fd) == 0 || reset_wanted(fd)) return false;
    int protocol = 0;
    socklen_t len = sizeof protocol;
    return ferry__calls.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
           protocol == IPPROTO_TCP;
}

bool ferry__os_settled(ferry_fd fd) {
    /* MSG_TRUNC discards on TCP without copying (tcp(7)). Bounded, for the others' sake. */
    for (int i = 0; i < 32; i++) {
        ssize_t got = ferry__calls.recv(fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);
        if (got == 0) return true;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno != EAGAIN) return true;
        if (got < 0) break;
    }
    int unsent = 0;
    bool acknowledged = ferry__calls.ioctl(fd, SIOCOUTQ, &unsent) != 0 || unsent == 0;
    return acknowledged && bytes_unread(fd) == 0;
}
