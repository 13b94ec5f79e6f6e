/* backend.h - Ferry's backends by name, for the programs that are measured on each of them
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_BACKEND_H
#define BENCH_BACKEND_H

#include <ferry.h>

/* Opens a loop on the backend of that name, or on the best one if it is NULL. Leaves with a message
 * and status 1 if that cannot be had: a table must not show one backend under another's name. */
ferry_loop *backend_open(const char *name);

#endif
