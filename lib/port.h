/* port.h - what differs between compilers and builds; the only place that asks which it is.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_PORT_H
#define FERRY_PORT_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

/* What the headers between these two declare is the library's own: reached without detour. */
#if defined(__GNUC__) && !defined(_WIN32)
#define FERRY__OWN_BEGIN _Pragma("GCC visibility push(hidden)")
#define FERRY__OWN_END _Pragma("GCC visibility pop")
#else
#define FERRY__OWN_BEGIN
#define FERRY__OWN_END
#endif

#if defined(__GNUC__)
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
#elif defined(_MSC_VER)
#include <intrin.h>
#define FERRY__NORETURN __declspec(noreturn)
#define FERRY__NOINLINE __declspec(noinline)
#define FERRY__ALWAYS_INLINE __forceinline
#define FERRY__PRINTF(text, rest)
#define FERRY__LIKELY(x) (x)
#define FERRY__UNLIKELY(x) (x)
static __forceinline unsigned ferry__highest_bit(uint64_t x) {
    unsigned long bit = 0;
    (void)_BitScanReverse64(&bit, x);
    return bit;
}
static __forceinline unsigned ferry__lowest_bit(uint64_t x) {
    unsigned long bit = 0;
    (void)_BitScanForward64(&bit, x);
    return bit;
}
#define FERRY__HIGHEST_BIT(x) ferry__highest_bit(x)
#define FERRY__LOWEST_BIT(x) ferry__lowest_bit(x)
#endif

/* How descriptors are numbered: by one, or, handles of Windows, by four; and what an operation may
 * take with what the system needs of it. */
#if defined(_WIN32)
#define FERRY__FD_SHIFT 2
#define FERRY__OP_BYTES 192
#define FERRY__SLOTS_MORE 4096u /* made usable at once */
#else
#define FERRY__FD_SHIFT 0
#define FERRY__OP_BYTES 128
#define FERRY__SLOTS_MORE UINT32_MAX
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
