/* port.h - what differs between compilers and builds; the only place that asks which it is.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_PORT_H
#define FERRY_PORT_H

#include <stdalign.h>
#include <stddef.h>

#if defined(__GNUC__)
/* What the headers between these two declare is the library's own: reached without detour. */
#define FERRY__OWN_BEGIN _Pragma("GCC visibility push(hidden)")
#define FERRY__OWN_END _Pragma("GCC visibility pop")
#define FERRY__NORETURN __attribute__((noreturn))
#define FERRY__NOINLINE                                                                            \
    __attribute__((noinline)) /* what is rare, out of the way of what is not                       \
                               */
#define FERRY__ALWAYS_INLINE inline __attribute__((always_inline))
#define FERRY__PRINTF(text, rest) __attribute__((format(printf, text, rest)))
#define FERRY__LIKELY(x) __builtin_expect(!!(x), 1)
#define FERRY__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FERRY__HIGHEST_BIT(x) (63u - (unsigned)__builtin_clzll(x)) /* of a uint64_t, not 0 */
#define FERRY__LOWEST_BIT(x) ((unsigned)__builtin_ctzll(x))
#endif

/* Internal checks on every turn, thread checks on every call, and the trace ring. */
#ifndef FERRY__DEBUG
#define FERRY__DEBUG 0
#endif

/* Sanitizers do not see what the kernel writes: at completion the library looks itself whether the
 * buffer is still its owner's memory. */
#if defined(__SANITIZE_ADDRESS__)
#define FERRY__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FERRY__ASAN 1
#endif
#endif
#ifndef FERRY__ASAN
#define FERRY__ASAN 0
#endif

#if FERRY__ASAN
void *__asan_region_is_poisoned(void *begin, size_t size);
#define FERRY__POISONED(begin, size) (__asan_region_is_poisoned((void *)(begin), (size)) != NULL)
#else
#define FERRY__POISONED(begin, size) ((void)(begin), (void)(size), 0)
#endif

#endif
