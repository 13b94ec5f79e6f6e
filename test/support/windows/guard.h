/* guard.h - memory that ends at a page that nobody may touch, and stays unusable when it is freed
 *
 * Included before everything else of library and tests where that is wanted (see .ci/run), so that
 * what they allocate is of guard.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_GUARD_H
#define FERRY_TEST_GUARD_H

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void *guard_malloc(size_t size);
void *guard_calloc(size_t count, size_t size);
void *guard_realloc(void *old, size_t size);
char *guard_strdup(const char *text);
void guard_free(void *block); /* or what the C library has allocated */

#ifndef GUARD_ITSELF
#define malloc guard_malloc
#define calloc guard_calloc
#define realloc guard_realloc
#undef strdup
#define strdup guard_strdup
#define free guard_free
#endif

#endif
