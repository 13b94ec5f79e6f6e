/* network.h - a network of a test's own
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_NETWORK_H
#define FERRY_TEST_NETWORK_H

/* From here on this process is alone in a network with the loopback interface and "site", which has
 * 10.7.7.1 and 10.7.7.2 and leads nowhere. Before the first loop. 0 if it cannot be made. */
int network_make(void);

#endif
