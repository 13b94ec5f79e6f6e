/* os.c - what os.h asks of the BSDs and macOS.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "../posix/calls.h"
#include "../posix/system.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *ferry__os_environment(const char *name) {
    return issetugid() ? NULL : getenv(name);
}

/* ---- Threads ----------------------------------------------------------------------------- */

/* Each system has numbers for its threads, in a way of its own, and few tell whether one is still
 * in use. So they are counted here, and a thread that ends says so. */

struct alive {
    struct alive *next;
    uint64_t id;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct alive *living; /* under the lock */
static _Atomic uint64_t last_id;

static void at_end(void *of_thread) {
    struct alive *self = of_thread, **at = &living;
    (void)pthread_mutex_lock(&lock);
    while (*at != self) at = &(*at)->next;
    *at = self->next;
    (void)pthread_mutex_unlock(&lock);
    free(self);
}

static void before_fork(void) {
    (void)pthread_mutex_lock(&lock);
}

static void after_fork(void) {
    (void)pthread_mutex_unlock(&lock);
}

static void begin(void) {
    has_key = pthread_key_create(&key, at_end) == 0 &&
              pthread_atfork(before_fork, after_fork, after_fork) == 0;
}

/* Without memory a thread is none: to others it has ended, to itself it is a stranger each time. */
struct ferry__thread_id ferry__os_thread_self(void) {
    (void)pthread_once(&once, begin);
    struct alive *self = has_key ? pthread_getspecific(key) : NULL;
    if (self != NULL) return (struct ferry__thread_id){self->id};
    uint64_t id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    self = has_key ? malloc(sizeof *self) : NULL;
    if (self == NULL) return (struct ferry__thread_id){id};
    self->id = id;
    if (pthread_setspecific(key, self) != 0) {
        free(self);
        return (struct ferry__thread_id){id};
    }
    (void)pthread_mutex_lock(&lock);
    self->next = living;
    living = self;
    (void)pthread_mutex_unlock(&lock);
    return (struct ferry__thread_id){id};
}

bool ferry__os_thread_ended(struct ferry__thread_id thread) {
    (void)pthread_mutex_lock(&lock);
    const struct alive *at = living;
    while (at != NULL && at->id != thread.id) at = at->next;
    (void)pthread_mutex_unlock(&lock);
    return at == NULL;
}

/* ---- Sockets ----------------------------------------------------------------------------- */

/* The close that follows ends the connection. */
void ferry__os_abandon(ferry_fd fd) {
    const struct linger at_once = {.l_onoff = 1};
    (void)ferry__calls.setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

/* What was sent and is not acknowledged yet; 0 where nobody can tell (OpenBSD). */
static int bytes_unsent(int fd) {
    int bytes = 0;
#if defined(SO_NWRITE)
    socklen_t len = sizeof bytes;
    if (ferry__calls.getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &len) != 0) return 0;
#elif defined(FIONWRITE)
    if (ferry__calls.ioctl(fd, FIONWRITE, &bytes) != 0) return 0;
#elif defined(TIOCOUTQ)
    if (ferry__calls.ioctl(fd, TIOCOUTQ, &bytes) != 0) return 0;
#endif
    return bytes;
}

bool ferry__os_settled(ferry_fd fd) {
    char discarded[16384];
    for (int i = 0; i < 64; i++) { /* bounded, for the others' sake */
        ssize_t got = ferry__calls.recv(fd, discarded, sizeof discarded, MSG_DONTWAIT);
        if (got == 0) return true;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno != EAGAIN) return true;
        if (got < 0) break;
    }
    return bytes_unsent(fd) == 0 && ferry__posix_unread(fd) == 0;
}

/* EV_EOF tells, even while there is something to read. */
bool ferry__system_hung_up(int fd) {
    const struct timespec none = {0, 0};
    struct kevent change, event;
    int queue = kqueue();
    if (queue < 0) return false;
    EV_SET(&change, (uintptr_t)fd, EVFILT_READ, EV_ADD, 0, 0, 0);
    int count = kevent(queue, &change, 1, &event, 1, &none);
    (void)ferry__calls.close(queue);
    return count == 1 && !(event.flags & EV_ERROR) && event.flags & EV_EOF;
}
