/* posix.h - what the tests ask of the system, by the names that they know, on Windows
 *
 * The tests of the contract are written once, with calls of POSIX around those of Ferry. Here are
 * these calls over handles and sockets: a descriptor is a ferry_fd. The compiler is given this file
 * before each of the tests; the headers of POSIX that Windows lacks are empty ones beside it.
 *
 * Declared here is all that tests see of the system: neither windows.h with its names, nor
 * winsock2.h. The layouts and numbers are those of Windows. What is implemented (files.c,
 * sockets.c,
 * ...) has the name posix_...; what Windows cannot do ends the test as skipped, with the reason
 * (missing.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_POSIX_H
#define FERRY_TEST_POSIX_H

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

/* ---- Errors: errno is a code of Windows ----------------------------------------------------- */

#undef ECHILD
#define ECHILD 128
#undef ESRCH
#define ESRCH 87
#undef EPERM
#define EPERM 1314
#undef ENOENT
#define ENOENT 2
#undef EIO
#define EIO 1117
#undef EBADF
#define EBADF 6
#undef EAGAIN
#define EAGAIN 10035
#undef ENOMEM
#define ENOMEM 8
#undef EACCES
#define EACCES 5
#undef EFAULT
#define EFAULT 998
#undef EBUSY
#define EBUSY 170
#undef EEXIST
#define EEXIST 183
#undef EXDEV
#define EXDEV 17
#undef ENODEV
#define ENODEV 55
#undef ENOTDIR
#define ENOTDIR 267
#undef EISDIR
#define EISDIR 336
#undef EINVAL
#define EINVAL 87
#undef EMFILE
#define EMFILE 4
#undef ENFILE
#define ENFILE 36
#undef ENOSPC
#define ENOSPC 112
#undef ESPIPE
#define ESPIPE 132
#undef EPIPE
#define EPIPE 109
#undef ENAMETOOLONG
#define ENAMETOOLONG 206
#undef ENOTEMPTY
#define ENOTEMPTY 145
#undef ELOOP
#define ELOOP 1921
#undef ECANCELED
#define ECANCELED 995
#undef ETIMEDOUT
#define ETIMEDOUT 10060
#undef ECONNRESET
#define ECONNRESET 10054
#undef ECONNREFUSED
#define ECONNREFUSED 10061
#undef ECONNABORTED
#define ECONNABORTED 10053
#undef ENOTCONN
#define ENOTCONN 10057
#undef EISCONN
#define EISCONN 10056
#undef EADDRINUSE
#define EADDRINUSE 10048
#undef EADDRNOTAVAIL
#define EADDRNOTAVAIL 10049
#undef EAFNOSUPPORT
#define EAFNOSUPPORT 10047
#undef EDESTADDRREQ
#define EDESTADDRREQ 10039
#undef EMSGSIZE
#define EMSGSIZE 10040
#undef ENOTSOCK
#define ENOTSOCK 10038
#undef EOPNOTSUPP
#define EOPNOTSUPP 50
#undef EINPROGRESS
#define EINPROGRESS 10036

/* ---- Types ---------------------------------------------------------------------------------- */

typedef intptr_t posix_fd; /* as ferry_fd, SOCKET and HANDLE */
typedef int64_t posix_off;
typedef unsigned uid_t, gid_t, id_t; /* mode_t as well */
typedef unsigned socklen_t;
typedef unsigned long nfds_t;
typedef unsigned short sa_family_t;
typedef uint64_t rlim_t, posix_ino;
#define off_t posix_off
#define ino_t posix_ino
#define mode_t unsigned

/* ---- Files ---------------------------------------------------------------------------------- */

#define O_RDONLY 0x0
#define O_WRONLY 0x1
#define O_RDWR 0x2
#define O_ACCMODE 0x3
#define O_APPEND 0x8
#define O_CREAT 0x100
#define O_TRUNC 0x200
#define O_EXCL 0x400
#define O_NONBLOCK 0x1000
#define O_DIRECTORY 0x2000
#define O_SYNC 0x4000
#define O_DSYNC 0x4000
#define O_DIRECT 0x8000
#define O_PATH 0x10000
#define O_NOCTTY 0
#define O_CLOEXEC 0 /* all of ours are */
#define O_NOFOLLOW 0x20000

#define F_DUPFD_CLOEXEC 1
#define F_GETFD 2
#define F_SETFD 3
#define F_GETFL 4
#define F_SETFL 5
#define F_SETLEASE 6
#define F_UNLCK 0
#define F_WRLCK 1
#define FD_CLOEXEC 1

#define AT_FDCWD ((posix_fd)-100)
#define AT_SYMLINK_NOFOLLOW 1
#define AT_REMOVEDIR 2

#define F_OK 0
#define X_OK 1
#define W_OK 2
#define R_OK 4

#define STDIN_FILENO 0
#define STDOUT_FILENO 1
#define STDERR_FILENO 2

#define S_IFMT 0xf000
#define S_IFIFO 0x1000
#define S_IFCHR 0x2000
#define S_IFDIR 0x4000
#define S_IFBLK 0x6000
#define S_IFREG 0x8000
#define S_IFLNK 0xa000
#define S_IFSOCK 0xc000
#define S_ISFIFO(mode) (((mode)&S_IFMT) == S_IFIFO)
#define S_ISCHR(mode) (((mode)&S_IFMT) == S_IFCHR)
#define S_ISDIR(mode) (((mode)&S_IFMT) == S_IFDIR)
#define S_ISBLK(mode) (((mode)&S_IFMT) == S_IFBLK)
#define S_ISREG(mode) (((mode)&S_IFMT) == S_IFREG)
#define S_ISLNK(mode) (((mode)&S_IFMT) == S_IFLNK)
#define S_ISSOCK(mode) (((mode)&S_IFMT) == S_IFSOCK)

struct posix_stat {
    uint64_t st_dev, st_ino, st_nlink, st_rdev;
    unsigned st_mode, st_uid, st_gid;
    int64_t st_size, st_blksize, st_blocks;
    struct timespec st_atim, st_mtim, st_ctim;
};

posix_fd posix_open(const char *path, int flags, ...);
posix_fd posix_openat(posix_fd dir, const char *path, int flags, ...);
int posix_close(posix_fd fd);
posix_fd posix_dup(posix_fd fd);
posix_fd posix_dup2(posix_fd fd, posix_fd number);
int posix_pipe(posix_fd fds[2]);
int posix_fcntl(posix_fd fd, int command, ...);
ssize_t posix_read(posix_fd fd, void *buf, size_t len);
ssize_t posix_write(posix_fd fd, const void *buf, size_t len);
ssize_t posix_pread(posix_fd fd, void *buf, size_t len, posix_off at);
ssize_t posix_pwrite(posix_fd fd, const void *buf, size_t len, posix_off at);
posix_off posix_lseek(posix_fd fd, posix_off to, int from);
int posix_ftruncate(posix_fd fd, posix_off len);
int posix_fstat(posix_fd fd, struct posix_stat *about);
int posix_stat(const char *path, struct posix_stat *about);
int posix_lstat(const char *path, struct posix_stat *about);
int posix_fstatat(posix_fd dir, const char *path, struct posix_stat *about, int flags);
int posix_mkdir(const char *path, unsigned mode);
int posix_mkdirat(posix_fd dir, const char *path, unsigned mode);
int posix_rmdir(const char *path);
int posix_unlink(const char *path);
int posix_unlinkat(posix_fd dir, const char *path, int flags);
int posix_rename(const char *from, const char *to);
int posix_link(const char *from, const char *to);
int posix_symlink(const char *to, const char *path);
int posix_symlinkat(const char *to, posix_fd dir, const char *path);
ssize_t posix_readlink(const char *path, char *buf, size_t len);
int posix_access(const char *path, int how);
int posix_chdir(const char *path);
char *posix_getcwd(char *path, size_t size);
char *posix_realpath(const char *path, char *resolved);
char *posix_mkdtemp(char *path);
int posix_mkostemp(char *path, int flags);
FILE *posix_fopen(const char *path, const char *how);
int posix_chmod(const char *path, unsigned mode);
int posix_fchmod(posix_fd fd, unsigned mode);
int posix_fchown(posix_fd fd, unsigned user, unsigned group);
unsigned posix_umask(unsigned mask);
int posix_utimensat(posix_fd dir, const char *path, const struct timespec times[2], int flags);

#define stat posix_stat
#define fstat posix_fstat
#define lstat posix_lstat
#define fstatat posix_fstatat
#define open posix_open
#define openat posix_openat
#define close posix_close
#define dup posix_dup
#define dup2 posix_dup2
#define pipe posix_pipe
#define fcntl posix_fcntl
#define read posix_read
#define write posix_write
#define pread posix_pread
#define pwrite posix_pwrite
#define lseek posix_lseek
#define ftruncate posix_ftruncate
#define mkdir posix_mkdir
#define mkdirat posix_mkdirat
#define rmdir posix_rmdir
#define unlink posix_unlink
#define unlinkat posix_unlinkat
#define rename posix_rename
#define link posix_link
#define symlink posix_symlink
#define symlinkat posix_symlinkat
#define readlink posix_readlink
#define access posix_access
#define chdir posix_chdir
#define getcwd posix_getcwd
#define realpath posix_realpath
#define mkdtemp posix_mkdtemp
#define mkostemp posix_mkostemp
#define fopen posix_fopen
#define chmod posix_chmod
#define fchmod posix_fchmod
#define fchown posix_fchown
#define umask posix_umask
#define utimensat posix_utimensat

/* ---- Sockets -------------------------------------------------------------------------------- */

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 23
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define SOL_SOCKET 0xffff
#define SO_REUSEADDR 0x4
#define SO_REUSEPORT 0x10000 /* there is none */
#define SO_KEEPALIVE 0x8
#define SO_BROADCAST 0x20
#define SO_LINGER 0x80
#define SO_SNDBUF 0x1001
#define SO_RCVBUF 0x1002
#define SO_ERROR 0x1007
#define SO_TYPE 0x1008
#define SOMAXCONN 0x7fffffff
#define IPPROTO_IP 0
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_IPV6 41
#define IP_TOS 3
#define IP_TTL 4
#define TCP_NODELAY 1
#define TCP_KEEPIDLE 3
#define TCP_KEEPCNT 16
#define TCP_KEEPINTVL 17
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_DONTROUTE 0x4
#define MSG_WAITALL 0x8
#define MSG_DONTWAIT 0x1000000 /* ours: taken out */
#define MSG_NOSIGNAL 0
#define SHUT_RD 0
#define SHUT_WR 1
#define SHUT_RDWR 2
#define INADDR_ANY 0u
#define INADDR_LOOPBACK 0x7f000001u
#define FIONREAD 0x4004667f
#define INET6_ADDRSTRLEN 65

#define POLLERR 0x1
#define POLLHUP 0x2
#define POLLNVAL 0x4
#define POLLOUT 0x10
#define POLLIN 0x300
#define POLLPRI 0x400

struct sockaddr {
    sa_family_t sa_family;
    char sa_data[14];
};
struct in_addr {
    uint32_t s_addr;
};
struct sockaddr_in {
    sa_family_t sin_family;
    uint16_t sin_port;
    struct in_addr sin_addr;
    char sin_zero[8];
};
struct in6_addr {
    unsigned char s6_addr[16];
};
struct sockaddr_in6 {
    sa_family_t sin6_family;
    uint16_t sin6_port;
    uint32_t sin6_flowinfo;
    struct in6_addr sin6_addr;
    uint32_t sin6_scope_id;
};
struct sockaddr_un {
    sa_family_t sun_family;
    char sun_path[108];
};
struct sockaddr_storage {
    sa_family_t ss_family;
    char ss_pad[6];
    int64_t ss_align;
    char ss_rest[112];
};
struct linger {
    unsigned short l_onoff, l_linger;
};
struct pollfd {
    posix_fd fd;
    short events, revents;
};

posix_fd posix_socket(int family, int type, int protocol);
int posix_socketpair(int family, int type, int protocol, posix_fd fds[2]);
int posix_bind(posix_fd fd, const struct sockaddr *addr, socklen_t len);
int posix_listen(posix_fd fd, int backlog);
posix_fd posix_accept(posix_fd fd, struct sockaddr *addr, socklen_t *len);
int posix_connect(posix_fd fd, const struct sockaddr *addr, socklen_t len);
int posix_shutdown(posix_fd fd, int how);
int posix_getsockname(posix_fd fd, struct sockaddr *addr, socklen_t *len);
int posix_getpeername(posix_fd fd, struct sockaddr *addr, socklen_t *len);
int posix_getsockopt(posix_fd fd, int level, int name, void *value, socklen_t *len);
int posix_setsockopt(posix_fd fd, int level, int name, const void *value, socklen_t len);
ssize_t posix_send(posix_fd fd, const void *buf, size_t len, int flags);
ssize_t posix_recv(posix_fd fd, void *buf, size_t len, int flags);
ssize_t posix_sendto(posix_fd fd, const void *buf, size_t len, int flags,
                     const struct sockaddr *addr, socklen_t addr_len);
ssize_t posix_recvfrom(posix_fd fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                       socklen_t *addr_len);
int posix_poll(struct pollfd *fds, nfds_t count, int ms);
int posix_ioctl(posix_fd fd, long what, void *value);
int posix_inet_pton(int family, const char *text, void *addr);
unsigned posix_if_nametoindex(const char *name);
const char *posix_loopback(void); /* its name */

#define socket posix_socket
#define socketpair posix_socketpair
#define bind posix_bind
#define listen posix_listen
#define accept posix_accept
#define connect posix_connect
#define shutdown posix_shutdown
#define getsockname posix_getsockname
#define getpeername posix_getpeername
#define getsockopt posix_getsockopt
#define setsockopt posix_setsockopt
#define send posix_send
#define recv posix_recv
#define sendto posix_sendto
#define recvfrom posix_recvfrom
#define poll posix_poll
#define ioctl posix_ioctl
#define inet_pton posix_inet_pton
#define if_nametoindex posix_if_nametoindex

static inline uint16_t htons(uint16_t host) {
    return (uint16_t)(host << 8 | host >> 8);
}
static inline uint32_t htonl(uint32_t host) {
    return __builtin_bswap32(host);
}
#define ntohs htons
#define ntohl htonl

/* ---- Memory --------------------------------------------------------------------------------- */

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_FIXED 4
#define MAP_ANONYMOUS 8
#define MAP_NORESERVE 16
#define MAP_FAILED ((void *)-1)

void *posix_mmap(void *at, size_t len, int protection, int flags, posix_fd fd, posix_off offset);
int posix_munmap(void *at, size_t len);
int posix_mprotect(void *at, size_t len, int protection);
#define posix_memalign(at, alignment, len) ((*(at) = _aligned_malloc(len, alignment)) ? 0 : ENOMEM)
#define mmap posix_mmap
#define munmap posix_munmap
#define mprotect posix_mprotect

/* ---- Processes ------------------------------------------------------------------------------ */

/* A status is what the process ended with, or the number of a signal above it: what stands for one
 * on Windows is told as one (processes.c). */
#define WIFEXITED(status) (((status)&0xff00) == 0)
#define WEXITSTATUS(status) ((status)&0xff)
#define WIFSIGNALED(status) (((status)&0xff00) != 0)
#define WTERMSIG(status) ((status) >> 8 & 0xff)
#define WCOREDUMP(status) 0
#define WNOHANG 1
#define WEXITED 4
#define WNOWAIT 0x1000000
#define P_PID 1

#define SIGHUP 1
#define SIGKILL 9
#define SIGPIPE 13
#define SIGALRM 14
#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define SIGURG 23
#define SIGIO 29
#define SIGUSR1 30
#define SIGUSR2 31
#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define SA_RESTART 1
#define SA_NOCLDWAIT 2
#define SA_SIGINFO 4
#define SA_ONSTACK 8
#define SA_NODEFER 16
#define SIGBUS 10

typedef unsigned posix_sigset;
#define sigset_t posix_sigset
typedef struct posix_siginfo {
    int si_status;
} siginfo_t;
struct posix_sigaction {
    void (*sa_handler)(int);
    sigset_t sa_mask;
    int sa_flags;
};
struct timeval; /* time.h and winsock have it */
struct posix_timeval {
    long tv_sec, tv_usec;
};
#define timeval posix_timeval
struct itimerval {
    struct timeval it_interval, it_value;
};
#define ITIMER_REAL 0
struct rlimit {
    rlim_t rlim_cur, rlim_max;
};
#define RLIMIT_NOFILE 1
#define RLIMIT_CORE 2
#define RLIMIT_MEMLOCK 3
#define _SC_PAGESIZE 1
#define _SC_NPROCESSORS_ONLN 2

pid_t posix_waitpid(pid_t pid, int *status, int flags);
int posix_waitid(int kind, id_t id, siginfo_t *about, int flags);
int posix_kill(pid_t pid, int number);
pid_t posix_fork(void);
int posix_execvp(const char *program, char *const argv[]);
int posix_execv(const char *program, char *const argv[]);
int posix_execlp(const char *program, const char *arg, ...);
int posix_system(const char *command);
pid_t posix_getpid(void);
pid_t posix_getppid(void);
uid_t posix_getuid(void);
int posix_setuid(uid_t user);
int posix_setreuid(uid_t real, uid_t effective);
int posix_setgroups(size_t count, const gid_t *groups);
pid_t posix_getpgid(pid_t pid);
pid_t posix_getsid(pid_t pid);
int posix_setpgid(pid_t pid, pid_t group);
int posix_sigaction(int number, const struct posix_sigaction *to, struct posix_sigaction *before);
int posix_sigprocmask(int how, const sigset_t *to, sigset_t *before);
int posix_setitimer(int which, const struct itimerval *to, struct itimerval *before);
int posix_getitimer(int which, struct itimerval *now);
int posix_getrlimit(int which, struct rlimit *limit);
int posix_setrlimit(int which, const struct rlimit *limit);
long posix_sysconf(int name);
int posix_setenv(const char *name, const char *value, int replace);
int posix_unsetenv(const char *name);
int posix_pause(void);
int posix_raise(int number);
void (*posix_signal(int number, void (*handler)(int)))(int);
const char *posix_strsignal(int number);

#define waitpid posix_waitpid
#define waitid posix_waitid
#define kill posix_kill
#define fork posix_fork
#define execv posix_execv
#define execvp posix_execvp
#define execlp posix_execlp
#define system posix_system
#define getpid posix_getpid
#define getppid posix_getppid
#define getuid posix_getuid
#define geteuid posix_getuid
#define getgid posix_getuid
#define getegid posix_getuid
#define setuid posix_setuid
#define setgid posix_setuid
#define seteuid posix_setuid
#define setreuid posix_setreuid
#define setgroups posix_setgroups
#define getpgid posix_getpgid
#define getpgrp() posix_getpgid(0)
#define getsid posix_getsid
#define setpgid posix_setpgid
#define sigaction posix_sigaction
#define sigprocmask posix_sigprocmask
#undef pthread_sigmask
#define pthread_sigmask posix_sigprocmask
#define sigemptyset(set) (*(set) = 0)
#define sigaddset(set, number) (*(set) |= 1u << (number))
#define sigismember(set, number) ((int)(*(set) >> (number)&1u))
#define setitimer posix_setitimer
#define getitimer posix_getitimer
#define getrlimit posix_getrlimit
#define setrlimit posix_setrlimit
#define sysconf posix_sysconf
#define setenv posix_setenv
#define unsetenv posix_unsetenv
#define pause posix_pause
#define raise posix_raise
#define signal posix_signal
#define strsignal posix_strsignal

/* ---- Threads, time -------------------------------------------------------------------------- */

typedef struct posix_thread {
    void *started; /* NULL: not by pthread_create() */
    unsigned id;
} pthread_t;

int posix_thread_create(pthread_t *thread, const void *attributes, void *(*run)(void *), void *arg);
int posix_thread_join(pthread_t thread, void **result);
pthread_t posix_thread_self(void);
int posix_thread_kill(pthread_t thread, int number);
int posix_yield(void);
#define pthread_create posix_thread_create
#define pthread_join posix_thread_join
#define pthread_self posix_thread_self
#define pthread_kill posix_thread_kill
#define pthread_equal(one, other) ((one).id == (other).id)
#define sched_yield posix_yield

#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define CLOCK_PROCESS_CPUTIME_ID 2
int posix_clock_gettime(int clock, struct timespec *now);
int posix_nanosleep(const struct timespec *span, struct timespec *left);
#define clock_gettime posix_clock_gettime
#define nanosleep posix_nanosleep

/* ---- Terminals, and what else Windows has not ----------------------------------------------- */

struct termios {
    int nothing;
};
posix_fd posix_openpt(int flags);
int posix_grantpt(posix_fd fd);
char *posix_ptsname(posix_fd fd);
int posix_tcgetattr(posix_fd fd, struct termios *terminal);
int posix_mkfifo(const char *path, unsigned mode);
#define grantpt posix_grantpt
#define unlockpt posix_grantpt
#define ptsname posix_ptsname
#define tcgetattr posix_tcgetattr
#define tcsetattr(fd, when, terminal) posix_tcgetattr(fd, terminal)
#define TCSANOW 0
#define cfmakeraw(terminal) ((void)(terminal))
#define mkfifo posix_mkfifo

#endif
