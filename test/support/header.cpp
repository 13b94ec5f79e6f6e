/* header.cpp - ferry.h alone, in C++17: no other header, no macro of ours
 *
 * SPDX-License-Identifier: MIT
 */
#include "ferry.h"

int main() {
    ferry_config config{};
    ferry_op op{};
    config.size = sizeof config;
    return ferry_version()[0] == '0' + FERRY_VERSION_MAJOR && op.result == 0 &&
                   ferry_error_system(0) == 0
               ? 0
               : 1;
}
