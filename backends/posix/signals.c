/* signals.c - the process's handlers and what they replace; who is told is lib/signals.c's affair.
 *
 * There are two: one that tells of deliveries, and one that does nothing, for ending system calls
 * of our own threads. Where a number is wanted for both, the first has it, and calls are not ended
 * meanwhile. What the program had there is kept once, and put back when neither is needed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "os.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

_Static_assert(NSIG <= FERRY__SIGNALS, "numbers fit");

static struct sigaction before[FERRY__SIGNALS]; /* guarded by the process's lock, as this is: */
static uint32_t interrupts[FERRY__SIGNALS];     /* who needs the one that does nothing, by number */
/* Whose loops are told: a child that has not come to its fork handlers yet, or that shares this
 * memory (vfork), must not wake them. Relaxed: set before the handler is. */
static _Atomic pid_t process;

static void on_signal(int number) {
    int error = errno;
    if (atomic_load_explicit(&process, memory_order_relaxed) == getpid()) {
        ferry__signal_came(number);
    }
    errno = error;
}

/* It has come: that is all. */
static void on_interrupt(int number) {
    (void)number;
}

static bool is(const struct sigaction *action, void (*handler)(int)) {
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == handler;
}

static bool has(int number, void (*handler)(int)) {
    struct sigaction now;
    return ferry__calls.sigaction(number, NULL, &now) == 0 && is(&now, handler);
}

/* Without SA_RESTART: that is what it is for. */
static struct sigaction interrupt_action(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_ONSTACK;
    sigfillset(&action.sa_mask);
    return action;
}

int ferry__os_catchable(uint64_t number) {
    static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    if (number < 1 || number >= NSIG) return FERRY_EINVAL;
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if ((int)number == refused[i]) return FERRY_EINVAL;
    }
    return 0;
}

int ferry__os_catch(int number) {
    struct sigaction ours, replaced;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = on_signal;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&ours.sa_mask); /* one handler at a time: some stacks are small */
    atomic_store_explicit(&process, getpid(), memory_order_relaxed);
    if (ferry__calls.sigaction(number, &ours, &replaced) != 0) return ferry__errno();
    /* Somebody who had replaced ours may have put it back after we had let go of it. */
    if (!is(&replaced, on_signal) && !is(&replaced, on_interrupt)) before[number] = replaced;
    return 0;
}

void ferry__os_uncatch(int number) {
    const struct sigaction other = interrupt_action();
    if (!has(number, on_signal)) return;
    (void)ferry__calls.sigaction(number, interrupts[number] > 0 ? &other : &before[number], NULL);
}

/* ---- Ending calls ------------------------------------------------------------------------ */

/* One that nobody sends, and that does no harm where it has no handler: to be ignored is its
 * default. */
int ferry__os_interrupts_default(void) {
    return SIGURG;
}

bool ferry__os_interrupts_begin(int number) {
    struct sigaction now;
    const struct sigaction ours = interrupt_action();
    if (ferry__calls.sigaction(number, NULL, &now) != 0) return false;
    bool free = is(&now, SIG_DFL);
    if (!free && !is(&now, on_signal) && !is(&now, on_interrupt)) return false;
    if (free && ferry__calls.sigaction(number, &ours, &before[number]) != 0) return false;
    interrupts[number]++;
    return true;
}

void ferry__os_interrupts_end(int number) {
    if (--interrupts[number] > 0 || !has(number, on_interrupt)) return;
    (void)ferry__calls.sigaction(number, &before[number], NULL);
}

bool ferry__os_interrupt(const struct ferry__thread *thread, int number) {
    return has(number, on_interrupt) &&
           pthread_kill(*(const pthread_t *)(const void *)thread, number) == 0;
}

void ferry__os_interrupts_forked(void) {
    for (int number = 1; number < FERRY__SIGNALS; number++) {
        if (interrupts[number] == 0) continue;
        interrupts[number] = 1;
        ferry__os_interrupts_end(number);
    }
}
