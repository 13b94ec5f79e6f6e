/* deviations.c - where the fake answers otherwise than FreeBSD, and why that is left so
 *
 * SPDX-License-Identifier: MIT
 */
#include "probe.h"

const struct probe_deviation probe_deviations[] = {
    {"own_shutdown.write_side", "READ CLEAR data=1, WRITE CLEAR EOF",
     "Linux wakes all who wait for a socket when its state changes, and for an EV_CLEAR knote that "
     "looks like another arrival; one that is too many does less harm than one that is missing"},
    {"own_shutdown.read_side", "READ CLEAR EOF data=1",
     "Linux keeps what had arrived and lets it be read, where FreeBSD throws it away"},
    {"pty.master_wrote", "READ CLEAR data=3, READ CLEAR data=4, WRITE CLEAR",
     "Linux wakes the writer of a terminal when the other side has taken in what it wrote, though "
     "there was room all the time"},
};

const size_t probe_deviation_count = sizeof probe_deviations / sizeof probe_deviations[0];

_Static_assert(sizeof probe_deviations / sizeof probe_deviations[0] <= 3, "a fake, not a cousin");
