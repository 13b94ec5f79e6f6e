/* abi.h - what the kernel's io_uring interface has and the header of liburing 2.3 has not.
 *
 * Values are the kernel's (include/uapi/linux/io_uring.h). Each is used only where a probe found
 * it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_URING_ABI_H
#define FERRY_URING_ABI_H

#include <liburing.h>

#ifndef IORING_SETUP_NO_SQARRAY /* Linux 6.6 */
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
#ifndef IORING_ENTER_NO_IOWAIT /* Linux 6.15 */
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif
#ifndef IORING_FEAT_NO_IOWAIT /* Linux 6.15 */
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

#ifndef IORING_SEND_ZC_REPORT_USAGE /* Linux 6.2 */
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

/* Opcodes are an enum there, so that nothing tells whether it has one. */
#define URING_OP_WAITID 50    /* Linux 6.7 */
#define URING_OP_FTRUNCATE 55 /* Linux 6.9 */
#define URING_OP_INVALID 255  /* none; the kernel answers EINVAL */

#endif
