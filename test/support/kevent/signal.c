/* signal.c - EVFILT_SIGNAL: counts signals, beside what the program does about them
 *
 * Linux has nothing that counts signals which are handled or ignored. While a knote asks for a
 * signal its real handler is the one here, which counts, rings the bells of the queues that have
 * such a knote, and goes on to the program's own; sigaction() and signal() are wrapped, so that the
 * program sees and sets what it believes to be there. Where the default ends the process it is left
 * as it is, and so is an ignored SIGCHLD, which FreeBSD does not count either.
 *
 * A handler may run at any time in any thread: what it reads is atomic. The lock is held with all
 * signals blocked, since handlers may call sigaction().
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef void (*plain_handler)(int);
typedef void (*informed_handler)(int, siginfo_t *, void *);

int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);
plain_handler __real_signal(int number, plain_handler handler);

int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old);
plain_handler __wrap_signal(int number, plain_handler handler);

enum { NUMBERS = 65, BELLS = 64 };

static struct {
    unsigned knotes;         /* guarded by lock, as the next one; nothing else counts if it is 0 */
    struct sigaction theirs; /* what the program wants */

    /* For the handler. Sequentially consistent, all of it: nothing here has to be fast. */
    _Atomic(plain_handler) plain; /* one of these two is the program's, or neither */
    _Atomic(informed_handler) informed;
    _Atomic uint64_t count;
    _Atomic int bells[BELLS]; /* eventfds, 1 added; 0: free */
} watched[NUMBERS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned ringing; /* handlers that may be about to write to a bell */

static _Thread_local volatile unsigned ignored;

unsigned fake_signal_ignored(void) {
    return ignored;
}

static void take_lock(sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    pthread_mutex_lock(&lock);
}

static void leave_lock(const sigset_t *before) {
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* ---- The handler ----------------------------------------------------------------------------- */

static void ring(int number) {
    const uint64_t one = 1;
    atomic_fetch_add(&ringing, 1);
    for (int i = 0; i < BELLS; i++) {
        int bell = atomic_load(&watched[number].bells[i]) - 1;
        if (bell >= 0) (void)!write(bell, &one, sizeof one);
    }
    atomic_fetch_sub(&ringing, 1);
}

static void on_signal(int number, siginfo_t *info, void *context) {
    int error = errno;
    atomic_fetch_add(&watched[number].count, 1);
    ring(number);
    plain_handler plain = atomic_load(&watched[number].plain);
    informed_handler informed = atomic_load(&watched[number].informed);
    errno = error;
    if (informed != NULL) informed(number, info, context);
    else if (plain != NULL) plain(number);
    else ignored++;
}

/* ---- What is really installed ---------------------------------------------------------------- */

static bool is_ignored_by_default(int number) {
    return number == SIGCHLD || number == SIGURG || number == SIGWINCH || number == SIGCONT;
}

static int install(int number, const struct sigaction *theirs) {
    struct sigaction real = *theirs;
    bool is_informed = (theirs->sa_flags & SA_SIGINFO) != 0;
    bool is_default = !is_informed && theirs->sa_handler == SIG_DFL;
    bool is_ignored = !is_informed && theirs->sa_handler == SIG_IGN;
    bool is_left = (is_default && !is_ignored_by_default(number)) ||
                   (is_ignored && number == SIGCHLD);
    bool is_handled = !is_default && !is_ignored;
    if (!is_left) {
        real.sa_sigaction = on_signal;
        real.sa_flags |= SA_SIGINFO;
        if (!is_handled) real.sa_flags |= SA_RESTART;
    }
    atomic_store(&watched[number].informed,
                 is_handled && is_informed ? theirs->sa_sigaction : NULL);
    atomic_store(&watched[number].plain, is_handled && !is_informed ? theirs->sa_handler : NULL);
    if (__real_sigaction(number, &real, NULL) != 0) return errno;
    watched[number].theirs = *theirs;
    return 0;
}

int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (number < 1 || number >= NUMBERS) return __real_sigaction(number, action, old);
    sigset_t before;
    take_lock(&before);
    int error = 0;
    if (watched[number].knotes == 0) {
        if (__real_sigaction(number, action, old) != 0) error = errno;
    } else {
        struct sigaction was = watched[number].theirs; /* action and old may be one */
        if (action != NULL) error = install(number, action);
        if (error == 0 && old != NULL) *old = was;
    }
    leave_lock(&before);
    if (error != 0) errno = error;
    return error != 0 ? -1 : 0;
}

plain_handler __wrap_signal(int number, plain_handler handler) {
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    if (__wrap_sigaction(number, &action, &old) != 0) return SIG_ERR;
    return old.sa_handler;
}

/* ---- Who is told ----------------------------------------------------------------------------- */

static int subscribe(int number, int bell) {
    int error = ENOMEM;
    sigset_t before;
    take_lock(&before);
    for (int i = 0; i < BELLS && error == ENOMEM; i++) {
        if (atomic_load(&watched[number].bells[i]) != 0) continue;
        struct sigaction now = watched[number].theirs;
        error = 0;
        if (watched[number].knotes == 0) {
            if (__real_sigaction(number, NULL, &now) != 0) error = errno;
            if (error == 0) error = install(number, &now);
        }
        if (error != 0) break;
        watched[number].knotes++;
        atomic_store(&watched[number].bells[i], bell + 1);
    }
    leave_lock(&before);
    return error;
}

static void unsubscribe(int number, int bell) {
    sigset_t before;
    take_lock(&before);
    for (int i = 0; i < BELLS; i++) {
        if (atomic_load(&watched[number].bells[i]) != bell + 1) continue;
        atomic_store(&watched[number].bells[i], 0);
        break;
    }
    if (--watched[number].knotes == 0) {
        (void)__real_sigaction(number, &watched[number].theirs, NULL);
    }
    while (atomic_load(&ringing) != 0) sched_yield(); /* the bell may be closed after this */
    leave_lock(&before);
}

void fake_signal_forget(void) {
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&ringing, 0);
    for (int number = 1; number < NUMBERS; number++) {
        if (watched[number].knotes == 0) continue;
        (void)__real_sigaction(number, &watched[number].theirs, NULL);
        watched[number].knotes = 0;
        for (int i = 0; i < BELLS; i++) atomic_store(&watched[number].bells[i], 0);
    }
}

/* ---- The filter ------------------------------------------------------------------------------ */

static int open_bell(struct fake_queue *queue) {
    if (queue->signal_bell >= 0) return 0;
    int bell = fake_own(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (bell < 0) return errno;
    /* An edge for each ring: nobody reads it. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.ptr = &queue->signal_bell}};
    if (epoll_ctl(queue->read_set, EPOLL_CTL_ADD, bell, &event) != 0) {
        int error = errno;
        fake_own_close(&bell);
        return error;
    }
    queue->signal_bell = bell;
    return 0;
}

static int attach(struct fake_knote *knote) {
    struct fake_queue *queue = knote->queue;
    if (knote->ident < 1 || knote->ident >= NUMBERS) return EINVAL;
    int number = (int)knote->ident;
    int error = open_bell(queue);
    knote->of.signal.seen = atomic_load(&watched[number].count);
    if (error == 0) error = subscribe(number, queue->signal_bell);
    if (error != 0) return error;
    knote->flags |= EV_CLEAR;
    knote->of.signal.next = queue->signals;
    if (queue->signals != NULL) queue->signals->of.signal.previous = knote;
    queue->signals = knote;
    return 0;
}

static void detach(struct fake_knote *knote) {
    struct fake_queue *queue = knote->queue;
    struct fake_of_signal *signal = &knote->of.signal;
    unsubscribe((int)knote->ident, queue->signal_bell);
    if (signal->previous != NULL) signal->previous->of.signal.next = signal->next;
    else queue->signals = signal->next;
    if (signal->next != NULL) signal->next->of.signal.previous = signal->previous;
}

static int touch(struct fake_knote *knote, const struct kevent *change) {
    (void)knote, (void)change;
    return 0;
}

static bool ready(struct fake_knote *knote) {
    uint64_t count = atomic_load(&watched[knote->ident].count);
    knote->data = (int64_t)(count - knote->of.signal.seen);
    return knote->data > 0;
}

static void taken(struct fake_knote *knote) {
    knote->of.signal.seen += (uint64_t)knote->data;
}

void fake_signal_collect(struct fake_queue *queue) {
    for (struct fake_knote *knote = queue->signals; knote != NULL; knote = knote->of.signal.next) {
        if (ready(knote)) fake_knote_list(knote);
    }
}

const struct fake_filter fake_signal = {
    .number = EVFILT_SIGNAL,
    .attach = attach,
    .detach = detach,
    .touch = touch,
    .ready = ready,
    .taken = taken,
};
