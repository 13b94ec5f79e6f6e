/* perform.c - operations on files that a backend leaves to worker threads, as plain calls that may
 * wait. What the fields of each mean: lib/files.c, lib/paths.c.
 *
 * Of signals these threads take only the one that ends a call with EINTR (lib/worker.c). What has
 * moved nothing then is begun anew at the end of this file, unless it is to end. Results are 0 or
 * more, or a negative FERRY_E....
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "core.h"
#include "file_calls.h"
#include "missing.h"
#include "process.h"
#include "rest.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define COPY_PIECE ((size_t)16 << 20) /* between two looks whether it is to end */
#define COPY_BUFFER 65536u
#define TEMP_TRIES 1000
#define LINK_MAX_BYTES ((size_t)1 << 20)

static int dir_of(const ferry_op *op) {
    return op->fd == FERRY_FD_NONE ? AT_FDCWD : op->fd;
}

static const char *second_path(const ferry_op *op) {
    return (const char *)(uintptr_t)op->offset;
}

static int64_t told(int result) {
    return result == 0 ? 0 : ferry__errno();
}

static int nofollow(const ferry_op *op) {
    return op->asked & FERRY_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
}

/* ---- What is known of a file ------------------------------------------------------------- */

enum ferry_file_type ferry__posix_type_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return FERRY_FILE_REGULAR;
    case S_IFDIR: return FERRY_FILE_DIRECTORY;
    case S_IFLNK: return FERRY_FILE_SYMLINK;
    case S_IFIFO: return FERRY_FILE_FIFO;
    case S_IFSOCK: return FERRY_FILE_SOCKET;
    case S_IFCHR: return FERRY_FILE_CHARACTER;
    case S_IFBLK: return FERRY_FILE_BLOCK;
    default: return FERRY_FILE_OTHER;
    }
}

static struct timespec time_of(uint64_t given) {
    int64_t ns = (int64_t)given;
    if (ns == FERRY_TIME_NOW) return (struct timespec){.tv_nsec = UTIME_NOW};
    if (ns == FERRY_TIME_LEAVE) return (struct timespec){.tv_nsec = UTIME_OMIT};
    int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
    if (rest < 0) { /* before 1970 */
        seconds--;
        rest += 1000000000;
    }
    return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)rest};
}

static int64_t times(const ferry_op *op) {
    const struct timespec both[2] = {time_of(op->offset), time_of(op->more)};
    if (op->code == FERRY_OP_TIMES_FD) return told(ferry__file_calls.futimens(op->fd, both));
    return told(ferry__file_calls.utimensat(dir_of(op), op->buf, both, nofollow(op)));
}

static int64_t change_mode(const ferry_op *op) {
    mode_t mode = (mode_t)op->len;
    if (op->code == FERRY_OP_CHMOD_FD) return told(ferry__file_calls.fchmod(op->fd, mode));
    return told(ferry__file_calls.fchmodat(dir_of(op), op->buf, mode, nofollow(op)));
}

static int64_t change_owner(const ferry_op *op) {
    uid_t user = (uid_t)op->len;
    gid_t group = (gid_t)op->offset;
    if (op->code == FERRY_OP_CHOWN_FD) return told(ferry__file_calls.fchown(op->fd, user, group));
    return told(ferry__file_calls.fchownat(dir_of(op), op->buf, user, group, nofollow(op)));
}

static int64_t may(const ferry_op *op) {
    int mode = F_OK;
    if (op->len & FERRY_MAY_READ) mode |= R_OK;
    if (op->len & FERRY_MAY_WRITE) mode |= W_OK;
    if (op->len & FERRY_MAY_EXECUTE) mode |= X_OK;
    return told(ferry__file_calls.faccessat(dir_of(op), op->buf, mode, AT_EACCESS | nofollow(op)));
}

/* ---- Answers in the caller's memory -------------------------------------------------------- */

/* An answer that fills the buffer may have been cut, and has no room for its 0 in any case. */
static int64_t read_link(const ferry_op *op) {
    char *buf = (char *)(uintptr_t)op->more;
    size_t len = op->len < LINK_MAX_BYTES ? (size_t)op->len : LINK_MAX_BYTES;
    ssize_t got = ferry__file_calls.readlinkat(dir_of(op), op->buf, buf, len);
    if (got < 0) return ferry__errno();
    if ((size_t)got == len) return FERRY_ENOROOM;
    buf[got] = '\0';
    return got;
}

static int64_t real_path(const ferry_op *op) {
    char resolved[PATH_MAX];
    if (ferry__file_calls.realpath(op->buf, resolved) == NULL) return ferry__errno();
    size_t len = strlen(resolved);
    if (len >= op->len) return FERRY_ENOROOM;
    memcpy((char *)(uintptr_t)op->more, resolved, len + 1);
    return (int64_t)len;
}

/* ---- Temporary files --------------------------------------------------------------------- */

static uint64_t random_number(int try) {
    uint64_t number;
    if (ferry__file_calls.getentropy(&number, sizeof number) == 0) return number;
    /* Good enough: a name that somebody has is not used but tried again. */
    return (ferry__os_clock() + (uint64_t)try) * 0x9e3779b97f4a7c15u;
}

static int temp_try(const ferry_op *op) {
    if (op->code == FERRY_OP_TEMP_DIR) return ferry__file_calls.mkdirat(dir_of(op), op->buf, 0700);
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    return ferry__file_calls.openat(dir_of(op), op->buf, flags, 0600);
}

static int64_t temp(const ferry_op *op) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    char *pattern = (char *)(uintptr_t)op->buf;
    pattern += strlen(pattern) - 6;
    int result = -1, error = FERRY_EEXIST;
    for (int i = 0; i < TEMP_TRIES && error == FERRY_EEXIST; i++) {
        uint64_t number = random_number(i);
        for (int k = 0; k < 6; k++, number /= 62) pattern[k] = letters[number % 62];
        result = temp_try(op);
        error = result >= 0 ? 0 : ferry__errno();
    }
    if (error == 0) return result;
    memset(pattern, 'X', 6);
    return error;
}

/* ---- Copying a range --------------------------------------------------------------------- */

/* Two ranges of one file that overlap: a copy in pieces would read what it has written. */
static bool overlaps(const ferry_op *op) {
    struct stat from, to;
    uint64_t apart = op->offset > op->more ? op->offset - op->more : op->more - op->offset;
    if (apart >= op->len) return false;
    return ferry__calls.fstat(op->fd, &from) == 0 &&
           ferry__calls.fstat(ferry__op_second(op), &to) == 0 && from.st_dev == to.st_dev &&
           from.st_ino == to.st_ino;
}

/* By a signal that was for somebody else. */
static bool is_interrupted(void) {
    return errno == EINTR && !ferry__work_stopped();
}

static ssize_t read_some(int fd, void *buf, size_t len, uint64_t offset) {
    ssize_t got;
    do {
        got = ferry__file_calls.pread(fd, buf, len, (off_t)offset);
    } while (got < 0 && is_interrupted());
    return got;
}

/* 0, or an error; *written tells how much was. */
static int write_all(int fd, const char *buf, size_t len, uint64_t offset, size_t *written) {
    for (*written = 0; *written < len;) {
        ssize_t put = ferry__file_calls.pwrite(fd, buf + *written, len - *written,
                                               (off_t)(offset + *written));
        if (put < 0 && is_interrupted()) continue;
        if (put < 0) return ferry__errno();
        if (put == 0) return FERRY_EIO;
        *written += (size_t)put;
    }
    return 0;
}

/* Through this process. An error after some of it is met again by the next try. */
static int64_t copy_by_hand(const ferry_op *op, uint64_t from, uint64_t to, size_t len) {
    char buf[COPY_BUFFER];
    size_t done = 0;
    while (done < len && !(done > 0 && ferry__work_stopped())) {
        size_t piece = len - done < sizeof buf ? len - done : sizeof buf, written;
        ssize_t got = read_some(op->fd, buf, piece, from + done);
        if (got == 0) break;
        if (got < 0) return done > 0 ? (int64_t)done : ferry__errno();
        int error = write_all(ferry__op_second(op), buf, (size_t)got, to + done, &written);
        done += written;
        if (error != 0) return done > 0 ? (int64_t)done : error;
    }
    return (int64_t)done;
}

/* Answers of the system that say "not like this" rather than "not at all". One of 0 bytes is among
 * them: files of /proc have no length, and yet can be read. */
static bool by_hand_instead(int64_t result) {
    return result == 0 || result == FERRY_EXDEV || result == FERRY_EINVAL ||
           result == FERRY_ENOTSUP;
}

static int64_t copy_piece(const ferry_op *op) {
    uint64_t rest = op->len - op->transferred;
    size_t len = rest < COPY_PIECE ? (size_t)rest : COPY_PIECE;
    uint64_t from = op->offset + op->transferred, to = op->more + op->transferred;
    if (len == 0) return 0;
    if (op->transferred == 0 && overlaps(op)) return FERRY_EINVAL;
    if (from > INT64_MAX - len) len = INT64_MAX - from; /* no file goes further */
    if (to > INT64_MAX - len) return FERRY_EFBIG;
    int64_t moved = ferry__system_copy(op->fd, from, ferry__op_second(op), to, len);
    return by_hand_instead(moved) ? copy_by_hand(op, from, to, len) : moved;
}

/* ---- Opening ----------------------------------------------------------------------------- */

int ferry__posix_open_flags(unsigned how) {
    int flags = O_CLOEXEC | O_NOCTTY;
    if (how & FERRY_OPEN_READ && how & FERRY_OPEN_WRITE) {
        flags |= O_RDWR;
    } else if (how & FERRY_OPEN_WRITE) {
        flags |= O_WRONLY;
    }
    if (how & FERRY_OPEN_CREATE) flags |= O_CREAT;
    if (how & FERRY_OPEN_EXCLUSIVE) flags |= O_EXCL;
    if (how & FERRY_OPEN_TRUNCATE) flags |= O_TRUNC;
    if (how & FERRY_OPEN_APPEND) flags |= O_APPEND;
    if (how & FERRY_OPEN_DIRECTORY) flags |= O_DIRECTORY;
    if (how & FERRY_OPEN_NOFOLLOW) flags |= O_NOFOLLOW;
    if (how & FERRY_OPEN_DIRECT) flags |= O_DIRECT;
    if (how & FERRY_OPEN_DSYNC) flags |= O_DSYNC;
    return flags;
}

/* What is said of a link that is not to be followed. */
static bool is_refused_link(int error) {
#ifdef EFTYPE /* NetBSD */
    if (error == EFTYPE) return true;
#endif
    return error == EMLINK; /* FreeBSD, DragonFly */
}

static int open_at(const ferry_op *op, int flags) {
    mode_t mode = flags & O_CREAT ? (mode_t)(op->len & 07777u) : 0;
    int fd = op->asked & FERRY_BENEATH
                 ? ferry__system_open_beneath(dir_of(op), op->buf, flags, mode)
                 : ferry__file_calls.openat(dir_of(op), op->buf, flags, mode);
    if (fd < 0 && flags & O_NOFOLLOW && is_refused_link(errno)) errno = ELOOP;
    return fd;
}

#define HELD_SHIFT 32 /* below: the backend's */

/* The descriptor that is open meanwhile; -1: none. */
static int held(const ferry_op *op) {
    return (int)(op->more >> HELD_SHIFT) - 1;
}

static bool is_fifo(const ferry_op *op) {
    struct stat about;
    return ferry__file_calls.fstatat(dir_of(op), op->buf, &about, 0) == 0 &&
           S_ISFIFO(about.st_mode);
}

/* With nothing to be read, a pipe without writers is at its end, and one with writers is not. Asked
 * to read into memory that is not there, the system takes nothing out of it. */
static bool has_writer(int fd) {
    void *volatile nowhere = (void *)(uintptr_t)1;
    struct pollfd look = {.fd = fd, .events = POLLIN};
    /* There is something, or one has come and gone since we opened (POLLHUP tells just that). */
    return ferry__calls.poll(&look, 1, 0) > 0 || ferry__calls.read(fd, nowhere, 1) != 0;
}

/* Opened without waiting: is that what was asked for? Not if it is a FIFO that nobody writes to. */
static int64_t opened(ferry_op *op, int fd, int flags) {
    struct stat about;
    if (ferry__calls.fstat(fd, &about) == 0 && S_ISFIFO(about.st_mode) &&
        (flags & O_ACCMODE) == O_RDONLY && !has_writer(fd)) {
        /* Kept open: a writer that comes now has found us, as if we were waiting in open(2). */
        op->more = ((uint64_t)fd + 1) << HELD_SHIFT;
        return FERRY__NOT_YET;
    }
    op->more = 0;
    (void)ferry__calls.set_blocking(fd, 1);
    return fd;
}

/* Past the cache, where that is not asked for when it is opened: 0, or what the open comes to. */
static int set_direct(int fd) {
#if O_DIRECT != 0
    (void)fd;
    return 0;
#elif defined(F_NOCACHE) /* macOS */
    return fcntl(fd, F_NOCACHE, 1) == 0 ? 0 : ferry__errno();
#else                    /* OpenBSD */
    (void)fd;
    return FERRY_ENOTSUP;
#endif
}

/* Opening a FIFO waits for its other end, for ever if need be. A worker does not: it looks, and is
 * asked again. */
static int64_t open_file(ferry_op *op) {
    int flags = ferry__posix_open_flags((unsigned)op->offset);
    if (held(op) >= 0) return opened(op, held(op), flags);
    int fd = open_at(op, flags | O_NONBLOCK);
    if (fd < 0 && errno == EAGAIN) fd = open_at(op, flags); /* somebody has a lease on it */
    if (fd < 0 && errno == ENXIO && (flags & O_ACCMODE) == O_WRONLY && is_fifo(op)) {
        return FERRY__NOT_YET;
    }
    if (fd < 0) return ferry__errno();
    int error = op->offset & FERRY_OPEN_DIRECT ? set_direct(fd) : 0;
    if (error == 0) return opened(op, fd, flags);
    (void)ferry__calls.close(fd);
    return error;
}

void ferry__os_open_abandon(ferry_op *op) {
    if (held(op) >= 0) (void)ferry__calls.close(held(op));
    op->more = 0;
}

/* ---- Transfers, and what else is done to what is open ------------------------------------- */

/* One call at a place in a file. */
static int64_t transfer(const ferry_op *op, bool reads) {
    struct iovec one = {posix_rest_begin(op, op->transferred), posix_rest_len(op, op->transferred)};
    struct posix_rest rest = {.vecs = &one, .count = 1};
    off_t offset = (off_t)(op->offset + op->transferred);
    if (ferry__op_row(op)->checked & ARG_VECTORS) {
        rest = posix_rest_vecs(op, op->transferred);
        if (rest.piece != NULL) {
            one = (struct iovec){rest.piece, rest.piece_len};
            rest = (struct posix_rest){.vecs = &one, .count = 1};
        }
    }
    ssize_t moved = reads ? ferry__calls.preadv(op->fd, rest.vecs, (int)rest.count, offset)
                          : ferry__calls.pwritev(op->fd, rest.vecs, (int)rest.count, offset);
    return moved >= 0 ? moved : ferry__errno();
}

static int64_t stat_file(const ferry_op *op) {
    ferry_file *file = (ferry_file *)(uintptr_t)op->more;
    if (op->code == FERRY_OP_STAT_FD) return ferry__system_stat(op->fd, NULL, false, file);
    return ferry__system_stat(dir_of(op), op->buf, !(op->asked & FERRY_NOFOLLOW), file);
}

/* ---- Each in its place ------------------------------------------------------------------- */

/* Closed all the same if it was interrupted (close(2)). */
static int64_t close_fd(const ferry_op *op) {
    return ferry__calls.close(op->fd) == 0 || errno == EINTR ? 0 : ferry__errno();
}

static int64_t sync_file(const ferry_op *op) {
    return told(op->asked & FERRY_DATA ? ferry__file_calls.sync_data(op->fd)
                                       : ferry__file_calls.sync_all(op->fd));
}

static int64_t advise(const ferry_op *op) {
    static const int advices[] = {
        [FERRY_ADVICE_NORMAL] = POSIX_FADV_NORMAL,
        [FERRY_ADVICE_SEQUENTIAL] = POSIX_FADV_SEQUENTIAL,
        [FERRY_ADVICE_RANDOM] = POSIX_FADV_RANDOM,
        [FERRY_ADVICE_WILL_NEED] = POSIX_FADV_WILLNEED,
        [FERRY_ADVICE_DONT_NEED] = POSIX_FADV_DONTNEED,
        [FERRY_ADVICE_ONCE] = POSIX_FADV_NOREUSE,
    };
    return ferry_error_from_system(
        ferry__file_calls.fadvise(op->fd, (off_t)op->offset, (off_t)op->len, advices[op->more]));
}

static int64_t change_names(const ferry_op *op) {
    const struct ferry__file_calls *calls = &ferry__file_calls;
    int dir = dir_of(op), new_dir = (int)(int64_t)op->more;
    if (new_dir == FERRY_FD_NONE) new_dir = AT_FDCWD;
    switch (op->code) {
    case FERRY_OP_RENAME: return ferry__system_rename(op, dir, new_dir);
    case FERRY_OP_HARD_LINK: return told(calls->linkat(dir, op->buf, new_dir, second_path(op), 0));
    case FERRY_OP_SYMLINK: return told(calls->symlinkat(op->buf, dir, second_path(op)));
    case FERRY_OP_UNLINK: return told(calls->unlinkat(dir, op->buf, 0));
    case FERRY_OP_MKDIR: return told(calls->mkdirat(dir, op->buf, (mode_t)op->len));
    case FERRY_OP_RMDIR: return told(calls->unlinkat(dir, op->buf, AT_REMOVEDIR));
    default: return FERRY_ENOTSUP;
    }
}

static int64_t perform(ferry_op *op) {
    switch (op->code) {
    case FERRY_OP_OPEN: return open_file(op);
    case FERRY_OP_READ:
    case FERRY_OP_READV: return transfer(op, true);
    case FERRY_OP_WRITE:
    case FERRY_OP_WRITEV: return transfer(op, false);
    case FERRY_OP_SYNC: return sync_file(op);
    case FERRY_OP_STAT:
    case FERRY_OP_STAT_FD: return stat_file(op);
    case FERRY_OP_CLOSE: return close_fd(op);
    case FERRY_OP_TRUNCATE: return told(ferry__calls.ftruncate(op->fd, (off_t)op->len));
    case FERRY_OP_SPAWN: return ferry__process_spawn(op);
    case FERRY_OP_CHMOD:
    case FERRY_OP_CHMOD_FD: return change_mode(op);
    case FERRY_OP_CHOWN:
    case FERRY_OP_CHOWN_FD: return change_owner(op);
    case FERRY_OP_TIMES:
    case FERRY_OP_TIMES_FD: return times(op);
    case FERRY_OP_ACCESS: return may(op);
    case FERRY_OP_ALLOCATE: return ferry__system_allocate(op->fd, op->offset, op->len);
    case FERRY_OP_ADVISE: return advise(op);
    case FERRY_OP_READLINK: return read_link(op);
    case FERRY_OP_REALPATH: return real_path(op);
    case FERRY_OP_TEMP_FILE:
    case FERRY_OP_TEMP_DIR: return temp(op);
    case FERRY_OP_LIST:
        return ferry__system_list(op->fd, (char *)(uintptr_t)op->buf, (size_t)op->len,
                                  op->asked & FERRY_RESTART);
    case FERRY_OP_COPY: return copy_piece(op);
    default: return change_names(op);
    }
}

int64_t ferry__os_perform(ferry_op *op) {
    const int interrupted = ferry_error_from_system(EINTR);
    int64_t result;
    do {
        result = perform(op);
    } while (result == interrupted && !ferry__work_stopped());
    return result == interrupted ? FERRY_ECANCELED : result;
}
