/* thread.c - the threads of os.h: threads, locks and conditions of Windows; and how a call that a
 * worker waits in is ended.
 *
 * There are no forks and no masks of signals: what os.h has of those does nothing here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "win.h"

#include <process.h>
#include <signal.h>
#include <stdlib.h>

_Static_assert(sizeof(HANDLE) <= sizeof(struct ferry__thread), "room for a thread");
_Static_assert(sizeof(SRWLOCK) <= sizeof(struct ferry__lock), "room for a lock");
_Static_assert(sizeof(CONDITION_VARIABLE) <= sizeof(struct ferry__signal), "room for a signal");

static SRWLOCK *lock_of(struct ferry__lock *lock) {
    return (SRWLOCK *)(void *)lock;
}

static CONDITION_VARIABLE *condition_of(struct ferry__signal *signal) {
    return (CONDITION_VARIABLE *)(void *)signal;
}

static HANDLE handle_of(const struct ferry__thread *thread) {
    return *(const HANDLE *)(const void *)thread;
}

/* Errors here are broken invariants: nothing that a caller could do about them. */
static void must(bool done) {
    if (!done) ferry__os_abort();
}

/* ---- Threads ----------------------------------------------------------------------------- */

struct beginning {
    void *(*fn)(void *);
    void *arg;
};

static unsigned __stdcall run(void *memory) {
    const struct beginning begins = *(struct beginning *)memory;
    free(memory);
    (void)begins.fn(begins.arg);
    return 0;
}

int ferry__os_thread_start(struct ferry__thread *thread, void *(*fn)(void *), void *arg) {
    struct beginning *begins = malloc(sizeof *begins);
    if (begins == NULL) return FERRY_ENOMEM;
    *begins = (struct beginning){.fn = fn, .arg = arg};
    /* The C library's own, which gives the thread what that needs. */
    uintptr_t handle = _beginthreadex(NULL, 0, run, begins, 0, NULL);
    if (handle == 0) {
        free(begins);
        return FERRY_EAGAIN;
    }
    *(HANDLE *)(void *)thread = (HANDLE)handle;
    return 0;
}

void ferry__os_thread_join(struct ferry__thread *thread) {
    must(WaitForSingleObject(handle_of(thread), INFINITE) == WAIT_OBJECT_0);
    must(CloseHandle(handle_of(thread)));
}

void ferry__os_thread_detach(struct ferry__thread *thread) {
    must(CloseHandle(handle_of(thread)));
}

/* Numbers of threads are used again soon: with when it began one means the same for ever. */
static uint64_t id_of(HANDLE thread, DWORD number) {
    FILETIME began = {0}, ended, in_kernel, in_user;
    (void)GetThreadTimes(thread, &began, &ended, &in_kernel, &in_user);
    return (uint64_t)began.dwLowDateTime << 32 | number;
}

struct ferry__thread_id ferry__os_thread_self(void) {
    static _Thread_local uint64_t id;
    if (id == 0) id = id_of(GetCurrentThread(), GetCurrentThreadId());
    return (struct ferry__thread_id){id};
}

bool ferry__os_thread_ended(struct ferry__thread_id thread) {
    DWORD number = (DWORD)thread.id;
    HANDLE handle = OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, number);
    if (handle == NULL) return true;
    bool ended = id_of(handle, number) != thread.id ||
                 WaitForSingleObject(handle, 1000) == WAIT_OBJECT_0;
    (void)CloseHandle(handle);
    return ended;
}

/* ---- Locks and signals ------------------------------------------------------------------- */

void ferry__os_lock_init(struct ferry__lock *lock) {
    InitializeSRWLock(lock_of(lock));
}

void ferry__os_lock_end(struct ferry__lock *lock) {
    (void)lock; /* it holds nothing */
}

void ferry__os_lock(struct ferry__lock *lock) {
    AcquireSRWLockExclusive(lock_of(lock));
}

void ferry__os_unlock(struct ferry__lock *lock) {
    ReleaseSRWLockExclusive(lock_of(lock));
}

void ferry__os_signal_init(struct ferry__signal *signal) {
    InitializeConditionVariable(condition_of(signal));
}

void ferry__os_signal_end(struct ferry__signal *signal) {
    (void)signal;
}

void ferry__os_signal_wait(struct ferry__signal *signal, struct ferry__lock *lock) {
    must(SleepConditionVariableSRW(condition_of(signal), lock_of(lock), INFINITE, 0));
}

/* Waits end early, by up to one of the system's ticks; whoever asks again does so by our clock. */
bool ferry__os_signal_wait_until(struct ferry__signal *signal, struct ferry__lock *lock,
                                 uint64_t until_ns) {
    for (;;) {
        uint64_t now = ferry__os_clock();
        if (now >= until_ns) return false;
        uint64_t ms = (until_ns - now + 999999) / 1000000;
        DWORD span = ms < INFINITE - 1 ? (DWORD)ms : INFINITE - 1;
        if (SleepConditionVariableSRW(condition_of(signal), lock_of(lock), span, 0)) return true;
        must(GetLastError() == ERROR_TIMEOUT);
    }
}

void ferry__os_signal_one(struct ferry__signal *signal) {
    WakeConditionVariable(condition_of(signal));
}

void ferry__os_signal_all(struct ferry__signal *signal) {
    WakeAllConditionVariable(condition_of(signal));
}

static struct ferry__lock process_lock; /* zeroed is unlocked */

struct ferry__lock *ferry__os_process_lock(void) {
    return &process_lock;
}

/* ---- Forks ------------------------------------------------------------------------------- */

uint32_t ferry__os_fork_count;

void ferry__os_watch_forks(void) {}

/* ---- Ending a call that a worker waits in ------------------------------------------------- */

/* It takes no signal: any number that a program may wait for, and it may at the same time. */
int ferry__os_interrupts_default(void) {
    return SIGTERM;
}

bool ferry__os_interrupts_begin(int number) {
    (void)number;
    return true;
}

void ferry__os_interrupts_end(int number) {
    (void)number;
}

void ferry__os_interrupts_allow(int number) {
    (void)number;
}

void ferry__os_interrupts_settle(void) {}

void ferry__os_interrupts_forked(void) {}

/* Ends what the thread waits in as if it had been cancelled, with ERROR_OPERATION_ABORTED. If it is
 * not there yet, nothing is: the same again later. */
bool ferry__os_interrupt(const struct ferry__thread *thread, int number) {
    (void)number;
    return CancelSynchronousIo(handle_of(thread)) || GetLastError() == ERROR_NOT_FOUND;
}
