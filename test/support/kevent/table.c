/* table.c - which descriptors are queues, and what becomes of knotes as descriptors are closed
 *
 * A kernel sees each close() and dup(). The fake is told by the linker (-Wl,--wrap): what a program
 * calls close() is __wrap_close() here, and the C library's is __real_close(). A queue lives as
 * long as it has a number or somebody is in kevent() with it: closing wakes no waiter. A forked
 * child has no queues: it closes all that is the fake's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

int __real_dup(int fd);
int __real_dup2(int fd, int number);
int __real_dup3(int fd, int number, int flags);
int __real_fcntl(int fd, int command, ...);
int __real_fcntl64(int fd, int command, ...);

int __wrap_close(int fd);
int __wrap_dup(int fd);
int __wrap_dup2(int fd, int number);
int __wrap_dup3(int fd, int number, int flags);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Guarded by lock. */
static struct fake_queue **by_number; /* NULL: that is no queue */
static size_t by_number_count;
static struct fake_queue *first_queue;
static struct fake_queue *inherited; /* a child's: memory of the parent's queues, never used */

/* ---- Descriptors of our own ------------------------------------------------------------------ */

enum { OWN_LOWEST = 256, OWN_LIMIT = 65536 };

/* One bit each; a child reads them without a lock, which may be anybody's at the fork. */
static _Atomic uint64_t owned[OWN_LIMIT / 64];

int fake_own(int fd) {
    if (fd < 0) return -1;
    int high = __real_fcntl(fd, F_DUPFD_CLOEXEC, OWN_LOWEST);
    if (high >= 0) {
        __real_close(fd);
        fd = high;
    } else { /* the limit is low: where it is, then */
        (void)__real_fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (fd < OWN_LIMIT) atomic_fetch_or(&owned[fd / 64], UINT64_C(1) << (fd % 64));
    return fd;
}

void fake_own_close(int *fd) {
    if (*fd < 0) return;
    if (*fd < OWN_LIMIT) atomic_fetch_and(&owned[*fd / 64], ~(UINT64_C(1) << (*fd % 64)));
    __real_close(*fd);
    *fd = -1;
}

static void close_owned(void) {
    for (int i = 0; i < OWN_LIMIT / 64; i++) {
        uint64_t bits = atomic_exchange(&owned[i], 0);
        for (int k = 0; bits != 0; k++, bits >>= 1) {
            if (bits & 1) __real_close(64 * i + k);
        }
    }
}

/* ---- Forks ----------------------------------------------------------------------------------- */

static void before_fork(void) {
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&lock);
}

/* Other threads may have been in the queues, so they are left alone. */
static void after_fork_in_child(void) {
    close_owned();
    fake_signal_forget();
    for (size_t i = 0; i < by_number_count; i++) {
        if (by_number[i] != NULL) __real_close((int)i);
        by_number[i] = NULL;
    }
    if (first_queue != NULL) inherited = first_queue;
    first_queue = NULL;
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void) {
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static struct fake_queue *find(int number) {
    if (number < 0 || (size_t)number >= by_number_count) return NULL;
    return by_number[number];
}

static int make_room(int number) {
    if ((size_t)number < by_number_count) return 0;
    size_t count = by_number_count == 0 ? 64 : by_number_count;
    while (count <= (size_t)number) count *= 2;
    struct fake_queue **larger = realloc(by_number, count * sizeof(struct fake_queue *));
    if (larger == NULL) return ENOMEM;
    memset(larger + by_number_count, 0, (count - by_number_count) * sizeof(struct fake_queue *));
    by_number = larger;
    by_number_count = count;
    return 0;
}

static void unlink_queue(struct fake_queue *queue) {
    if (queue->previous_queue != NULL) queue->previous_queue->next_queue = queue->next_queue;
    else first_queue = queue->next_queue;
    if (queue->next_queue != NULL) queue->next_queue->previous_queue = queue->previous_queue;
    if (first_queue == NULL) { /* nothing is left behind for those who count memory */
        free(by_number);
        by_number = NULL;
        by_number_count = 0;
    }
}

/* Returns the queue if nobody knows it any more: it is to be destroyed, without the lock. */
static struct fake_queue *unlink_if_unused(struct fake_queue *queue) {
    if (queue->numbers > 0 || queue->calls > 0) return NULL;
    unlink_queue(queue);
    return queue;
}

static struct fake_queue *remove_number(int number) {
    struct fake_queue *queue = find(number);
    if (queue == NULL) return NULL;
    by_number[number] = NULL;
    queue->numbers--;
    return unlink_if_unused(queue);
}

int fake_table_add(struct fake_queue *queue, int number) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    /* It had another queue if it was closed behind our back. */
    struct fake_queue *unused = remove_number(number);
    int error = make_room(number);
    if (error == 0) {
        by_number[number] = queue;
        if (queue->numbers++ == 0) {
            queue->next_queue = first_queue;
            queue->previous_queue = NULL;
            if (first_queue != NULL) first_queue->previous_queue = queue;
            first_queue = queue;
        }
    }
    pthread_mutex_unlock(&lock);
    if (unused != NULL) fake_queue_destroy(unused);
    return error;
}

struct fake_queue *fake_table_hold(int number) {
    pthread_mutex_lock(&lock);
    struct fake_queue *queue = find(number);
    if (queue != NULL) queue->calls++;
    pthread_mutex_unlock(&lock);
    return queue;
}

void fake_table_release(struct fake_queue *queue) {
    pthread_mutex_lock(&lock);
    queue->calls--;
    struct fake_queue *unused = unlink_if_unused(queue);
    pthread_mutex_unlock(&lock);
    if (unused != NULL) fake_queue_destroy(unused);
}

struct fake_queue *fake_table_lock_if(int number) {
    pthread_mutex_lock(&lock);
    struct fake_queue *queue = find(number);
    if (queue == NULL) pthread_mutex_unlock(&lock);
    return queue;
}

void fake_table_unlock(void) {
    pthread_mutex_unlock(&lock);
}

/* ---- Closing --------------------------------------------------------------------------------- */

/* A number is about to mean nothing: it goes from all queues, and if it is one's, from that. */
static void forget(int number) {
    if (number < 0) return;
    pthread_mutex_lock(&lock);
    struct fake_queue *unused = remove_number(number);
    for (struct fake_queue *queue = first_queue; queue != NULL; queue = queue->next_queue) {
        pthread_mutex_lock(&queue->lock);
        fake_knote_forget(queue, number);
        pthread_mutex_unlock(&queue->lock);
    }
    pthread_mutex_unlock(&lock);
    if (unused != NULL) fake_queue_destroy(unused);
}

int __wrap_close(int fd) {
    forget(fd);
    return __real_close(fd);
}

/* ---- Duplicates ------------------------------------------------------------------------------ */

/* copy: of fd, or -1. A duplicate of a queue is that queue. */
static int copied(int fd, int copy) {
    if (copy < 0) return copy;
    struct fake_queue *queue = fake_table_hold(fd);
    if (queue == NULL) return copy;
    int error = fake_table_add(queue, copy);
    fake_table_release(queue);
    if (error == 0) return copy;
    __real_close(copy);
    errno = error;
    return -1;
}

int __wrap_dup(int fd) {
    return copied(fd, __real_dup(fd));
}

int __wrap_dup2(int fd, int number) {
    if (fd == number || __real_fcntl(fd, F_GETFD) == -1) return __real_dup2(fd, number);
    forget(number);
    return copied(fd, __real_dup2(fd, number));
}

int __wrap_dup3(int fd, int number, int flags) {
    if (fd == number || __real_fcntl(fd, F_GETFD) == -1) return __real_dup3(fd, number, flags);
    forget(number);
    return copied(fd, __real_dup3(fd, number, flags));
}

/* The third argument, if there is one, is an int or a pointer; as a pointer it gets through on all
 * machines that Linux passes variable arguments on. */
int __wrap_fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    int result = __real_fcntl(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}

int __wrap_fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    int result = __real_fcntl64(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
