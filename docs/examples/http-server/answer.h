/* answer.h - what is answered to a request
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ANSWER_H
#define ANSWER_H

#include "connection.h"

#define SEND_NS 120000000000u /* how long a client may take to accept a MiB, or less */

/* Each ends with exchange_end(). */
void answer(struct exchange *x);

/* A line of text that tells what the matter is. fields: more of the head, each with its CRLF. */
void answer_status(struct exchange *x, int status, const char *fields);

/* ---- For those who make an answer ------------------------------------------------------ */

/* Begins a head in x->bytes: the status, and what stands in every head. */
void head_begin(struct exchange *x, int status);
void head_add(struct exchange *x, const char *text, size_t len);
void head_add_text(struct exchange *x, const char *text);

#endif
