/* system_call.h - a system call with six arguments, in the place where it is made; the only file
 * that asks which processor it is.
 *
 * The C library's syscall() moves all arguments by a register or through memory, which for calls as
 * frequent as receive and send is half of what they cost outside the kernel.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_LINUX_SYSTEM_CALL_H
#define FERRY_LINUX_SYSTEM_CALL_H

#include "port.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)

/* A result, or -errno. */
static FERRY__ALWAYS_INLINE long ferry__system_call(long number, long a, long b, long c, long d,
                                                    long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

#elif defined(__aarch64__) && defined(__LP64__)

static FERRY__ALWAYS_INLINE long ferry__system_call(long number, long a, long b, long c, long d,
                                                    long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}

#else

static FERRY__ALWAYS_INLINE long ferry__system_call(long number, long a, long b, long c, long d,
                                                    long e, long f) {
    long result = syscall(number, a, b, c, d, e, f);
    return result >= 0 ? result : -errno;
}

#endif

#endif
