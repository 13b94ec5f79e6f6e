/* server.h - what all parts of the server share
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SERVER_H
#define SERVER_H

#include <ferry.h>

#include <stdint.h>

extern ferry_loop *loop; /* the only one: all happens on its thread */

/* Ends the program, telling why. */
_Noreturn void fail(const char *what, int64_t error);

/* Memory as it is, or the end of the program if there is none. */
void *need(void *memory);

#endif
