/* pidfd.h - children by descriptor, for what cannot wait for one by its number.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_LINUX_PIDFD_H
#define FERRY_LINUX_PIDFD_H

#include "ferry.h"
#include "port.h"

FERRY__OWN_BEGIN

/* A descriptor that is readable once this child has ended; or FERRY_ECHILD, FERRY_EMFILE, ... */
int ferry__pidfd_open(int64_t pid);

/* Takes the child from the system's table: 0; 1 if it is not there to be taken yet; or an error.
 * how: NULL if nobody wants to know. */
int ferry__pidfd_take(int fd, ferry_exit *how);

FERRY__OWN_END

#endif
