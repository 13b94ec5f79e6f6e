/* listing.h - a page with the names in a directory
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef LISTING_H
#define LISTING_H

#include "connection.h"

/* Answers with what is in the directory x->file. Ends with exchange_end(). */
void listing_begin(struct exchange *x);

#endif
