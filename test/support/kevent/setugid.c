/* setugid.c - issetugid(2), which the C library does not have here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sys/event.h"

#include <sys/auxv.h>

int issetugid(void) {
    return getauxval(AT_SECURE) != 0;
}
