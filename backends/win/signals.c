/* signals.c - what happens to the process: events of its console, and what its C library's raise()
 * sends; who is told is lib/signals.c's affair.
 *
 * Console events come on a thread of the system's: Ctrl-C is SIGINT, Ctrl-Break SIGBREAK, the
 * window's being closed SIGHUP (which <signal.h> has not: 1), the end of the system SIGTERM, which
 * a service sees. Of what is raised there are SIGINT, SIGBREAK and SIGTERM; the C library puts its
 * default back before it calls a handler, which puts itself there again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "win.h"

#include <signal.h>
#include <stdatomic.h>

#define CLOSED 1 /* SIGHUP, as other systems number it */

typedef void handler(int);

/* Relaxed: who is told is looked up behind this with an order of its own. */
static _Atomic bool caught[FERRY__SIGNALS];
static handler *before[FERRY__SIGNALS]; /* guarded by the process's lock, as this is: */
static unsigned caught_count;

static bool can_raise(int number) {
    return number == SIGINT || number == SIGBREAK || number == SIGTERM;
}

int ferry__os_catchable(uint64_t number) {
    return number == CLOSED || (number < FERRY__SIGNALS && can_raise((int)number)) ? 0
                                                                                   : FERRY_EINVAL;
}

static bool is_caught(int number) {
    return atomic_load_explicit(&caught[number], memory_order_relaxed);
}

/* ---- What comes ---------------------------------------------------------------------------- */

static int number_of(DWORD event) {
    switch (event) {
    case CTRL_C_EVENT: return SIGINT;
    case CTRL_BREAK_EVENT: return SIGBREAK;
    case CTRL_CLOSE_EVENT: return CLOSED;
    case CTRL_SHUTDOWN_EVENT: return SIGTERM;
    }
    return 0; /* somebody logs off: a service hears that of everybody */
}

/* Once it returns from these the system ends the process; so it does some seconds later, if the
 * program does not by itself. */
static bool is_last(DWORD event) {
    return event == CTRL_CLOSE_EVENT || event == CTRL_SHUTDOWN_EVENT;
}

static BOOL WINAPI on_event(DWORD event) {
    int number = number_of(event);
    if (number == 0 || !is_caught(number)) return FALSE;
    ferry__signal_came(number);
    if (is_last(event)) Sleep(INFINITE);
    return TRUE;
}

static void on_raise(int number) {
    if (signal(number, on_raise) == SIG_ERR) return;
    if (is_caught(number)) ferry__signal_came(number);
}

/* ---- Who wants it -------------------------------------------------------------------------- */

int ferry__os_catch(int number) {
    if (caught_count == 0 && !SetConsoleCtrlHandler(on_event, TRUE)) {
        return ferry__win_last_error();
    }
    caught_count++;
    if (can_raise(number)) {
        handler *was = signal(number, on_raise);
        if (was != on_raise && was != SIG_ERR) before[number] = was;
    }
    atomic_store_explicit(&caught[number], true, memory_order_relaxed);
    return 0;
}

void ferry__os_uncatch(int number) {
    atomic_store_explicit(&caught[number], false, memory_order_relaxed);
    if (can_raise(number)) {
        handler *now = signal(number, before[number]);
        /* The program has set its own meanwhile. */
        if (now != on_raise && now != SIG_ERR) (void)signal(number, now);
    }
    if (--caught_count == 0) (void)SetConsoleCtrlHandler(on_event, FALSE);
}
