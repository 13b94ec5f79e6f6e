/* signals.c - the process's handler and what it replaces; who is told is lib/signals.c's affair.
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

static struct sigaction before[FERRY__SIGNALS]; /* guarded by the process's lock */
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

static bool is_ours(const struct sigaction *action) {
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == on_signal;
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
    if (!is_ours(&replaced)) before[number] = replaced;
    return 0;
}

void ferry__os_uncatch(int number) {
    struct sigaction now;
    if (ferry__calls.sigaction(number, NULL, &now) == 0 && is_ours(&now)) {
        (void)ferry__calls.sigaction(number, &before[number], NULL);
    }
}
