/* probe.h - static probe points (USDT), for tracers such as bpftrace, perf and SystemTap.
 *
 * A probe is a single nop in the code and a note in the file, which tells where it is and where its
 * arguments lie. So a probe takes only what is at hand anyway. docs/insight.md lists them all, and
 * test/unit/probes.c compares that list with the notes. Without the system's header, or with
 * -Dusdt=disabled there is nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_PROBE_H
#define FERRY_PROBE_H

#ifndef FERRY__USDT
#define FERRY__USDT 0
#endif

#if FERRY__USDT
#include <sys/sdt.h>

#define FERRY__PROBE1(name, a) DTRACE_PROBE1(ferry, name, a)
#define FERRY__PROBE2(name, a, b) DTRACE_PROBE2(ferry, name, a, b)
#define FERRY__PROBE3(name, a, b, c) DTRACE_PROBE3(ferry, name, a, b, c)
#define FERRY__PROBE5(name, a, b, c, d, e) DTRACE_PROBE5(ferry, name, a, b, c, d, e)
#else
#define FERRY__PROBE1(name, a) ((void)0)
#define FERRY__PROBE2(name, a, b) ((void)0)
#define FERRY__PROBE3(name, a, b, c) ((void)0)
#define FERRY__PROBE5(name, a, b, c, d, e) ((void)0)
#endif

#endif
