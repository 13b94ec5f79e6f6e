/* thread.c - the threads of os.h on pthreads, and the count of forks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "os.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

_Static_assert(sizeof(pthread_t) <= sizeof(struct ferry__thread), "room for a thread");
_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct ferry__lock), "room for a lock");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(struct ferry__signal), "room for a signal");

static pthread_mutex_t *mutex_of(struct ferry__lock *lock) {
    return (pthread_mutex_t *)(void *)lock;
}

static pthread_cond_t *condition_of(struct ferry__signal *signal) {
    return (pthread_cond_t *)(void *)signal;
}

/* Errors here are broken invariants: nothing that a caller could do about them. */
static void must(int error) {
    if (error != 0) abort();
}

/* ---- Threads ----------------------------------------------------------------------------- */

int ferry__os_thread_start(struct ferry__thread *thread, void *(*fn)(void *), void *arg) {
    sigset_t all, before;
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before)); /* the new thread inherits it */
    int error = ferry__calls.thread_create((pthread_t *)(void *)thread, NULL, fn, arg);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    return ferry_error_from_system(error);
}

void ferry__os_thread_join(struct ferry__thread *thread) {
    must(pthread_join(*(pthread_t *)(void *)thread, NULL));
}

void ferry__os_thread_detach(struct ferry__thread *thread) {
    must(pthread_detach(*(pthread_t *)(void *)thread));
}

void ferry__os_interrupts_allow(int number) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    must(pthread_sigmask(SIG_UNBLOCK, &one, NULL));
}

void ferry__os_interrupts_settle(void) {
    sigset_t now;
    /* Whatever waits for a thread comes before a system call of its own returns. */
    must(pthread_sigmask(SIG_BLOCK, NULL, &now));
}

/* ---- Locks and signals ------------------------------------------------------------------- */

void ferry__os_lock_init(struct ferry__lock *lock) {
    must(pthread_mutex_init(mutex_of(lock), NULL));
}

void ferry__os_lock_end(struct ferry__lock *lock) {
    must(pthread_mutex_destroy(mutex_of(lock)));
}

void ferry__os_lock(struct ferry__lock *lock) {
    must(pthread_mutex_lock(mutex_of(lock)));
}

void ferry__os_unlock(struct ferry__lock *lock) {
    must(pthread_mutex_unlock(mutex_of(lock)));
}

/* macOS has no choice of clocks, but can wait for a span. */
static struct timespec time_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

void ferry__os_signal_init(struct ferry__signal *signal) {
#if FERRY__HAS_PTHREAD_CONDATTR_SETCLOCK
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)); /* as ferry__os_clock() */
    must(pthread_cond_init(condition_of(signal), &attributes));
    must(pthread_condattr_destroy(&attributes));
#else
    must(pthread_cond_init(condition_of(signal), NULL));
#endif
}

void ferry__os_signal_end(struct ferry__signal *signal) {
    must(pthread_cond_destroy(condition_of(signal)));
}

void ferry__os_signal_wait(struct ferry__signal *signal, struct ferry__lock *lock) {
    must(pthread_cond_wait(condition_of(signal), mutex_of(lock)));
}

bool ferry__os_signal_wait_until(struct ferry__signal *signal, struct ferry__lock *lock,
                                 uint64_t until_ns) {
#if !FERRY__HAS_PTHREAD_CONDATTR_SETCLOCK && defined(__APPLE__)
    uint64_t now = ferry__os_clock();
    const struct timespec span = time_of(until_ns > now ? until_ns - now : 0);
    int error = pthread_cond_timedwait_relative_np(condition_of(signal), mutex_of(lock), &span);
#else
    const struct timespec until = time_of(until_ns);
    int error = pthread_cond_timedwait(condition_of(signal), mutex_of(lock), &until);
#endif
    if (error != ETIMEDOUT) must(error);
    return error == 0;
}

void ferry__os_signal_one(struct ferry__signal *signal) {
    must(pthread_cond_signal(condition_of(signal)));
}

void ferry__os_signal_all(struct ferry__signal *signal) {
    must(pthread_cond_broadcast(condition_of(signal)));
}

/* ---- Forks ------------------------------------------------------------------------------- */

uint32_t ferry__os_fork_count;
static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t watched = PTHREAD_ONCE_INIT;

struct ferry__lock *ferry__os_process_lock(void) {
    return (struct ferry__lock *)(void *)&process_lock;
}

/* Held over the fork, so that the child does not inherit it locked by a thread it has not. */
static void before_fork(void) {
    must(pthread_mutex_lock(&process_lock));
}

static void after_fork(void) {
    must(pthread_mutex_unlock(&process_lock));
}

static void in_child(void) {
    ferry__os_fork_count++;
    ferry__os_interrupts_forked();
    ferry__signals_forked();
    after_fork();
}

static void watch(void) {
    must(pthread_atfork(before_fork, after_fork, in_child));
}

void ferry__os_watch_forks(void) {
    must(pthread_once(&watched, watch));
}
