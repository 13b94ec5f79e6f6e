/* choice.h - what the tests of choosing a backend share
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_CHOICE_H
#define FERRY_TEST_CHOICE_H

#define TEST_UID_ALONE 64123 /* that nothing else runs as */

/* Opens a loop on whichever backend is chosen, prints all about it, closes it. An exit status. */
int helper_open_auto(void);

#endif
