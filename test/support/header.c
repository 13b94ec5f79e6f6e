/* header.c - ferry.h alone, in C99 and C11: no other header, no macro of ours
 *
 * SPDX-License-Identifier: MIT
 */
#include "ferry.h"

int main(void) {
    ferry_config config = {0};
    ferry_op op = {0};
    config.size = sizeof config;
    return ferry_version()[0] == '0' + FERRY_VERSION_MAJOR && op.result == 0 &&
                   ferry_error_system(0) == 0
               ? 0
               : 1;
}
