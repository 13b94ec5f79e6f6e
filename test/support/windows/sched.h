/* sched.h - posix.h has all of it, given before each file
 *
 * SPDX-License-Identifier: MIT
 */
