/* network_linux.c - a network of a test's own, in a namespace
 *
 * SPDX-License-Identifier: MIT
 */
#include "network.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    close(fd);
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

int network_make(void) {
    char map[32];
    if (geteuid() != 0) {
        snprintf(map, sizeof map, "0 %u 1", (unsigned)geteuid());
        if (unshare(CLONE_NEWUSER) != 0 || write_text("/proc/self/uid_map", map) != 0) return 0;
    }
    return unshare(CLONE_NEWNET) == 0 &&
           system("ip link set lo up && ip link add site type veth peer name nowhere &&"
                  " ip address add 10.7.7.1/24 dev site && ip address add 10.7.7.2/24 dev site &&"
                  " ip link set nowhere up && ip link set site up") == 0;
}
