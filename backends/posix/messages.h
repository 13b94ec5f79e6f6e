/* messages.h - between a struct ferry_msg and the system's struct msghdr, for every POSIX backend.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_POSIX_MESSAGES_H
#define FERRY_POSIX_MESSAGES_H

#include "ferry.h"
#include "port.h"

#include <sys/socket.h>

FERRY__OWN_BEGIN

/* The numbers in a header are of different types on different systems. */
static inline void ferry__posix_msg_vectors(struct msghdr *header, struct iovec *vecs,
                                            size_t count) {
    header->msg_iov = vecs;
    header->msg_iovlen = (__typeof__(header->msg_iovlen))count;
}

static inline void ferry__posix_msg_control(struct msghdr *header, void *control, size_t len) {
    header->msg_control = control;
    header->msg_controllen = (__typeof__(header->msg_controllen))len;
}

/* The header of a call that receives the message, all but its vectors; and, when that has received,
 * what the system wrote into it. It lies in the message, since systems write to it when they
 * complete. */
struct msghdr *ferry__posix_msg_header(ferry_msg *msg);
void ferry__posix_msg_finish(ferry_loop *loop, ferry_msg *msg);
/* The header of the next call that receives for op, all but its vectors. */
struct msghdr *ferry__posix_msg_receive(const ferry_op *op);
/* That call has received something: takes over what the system wrote into the header. */
void ferry__posix_msg_received(ferry_loop *loop, const ferry_op *op);
/* Fills the header of the next call that sends for op, all but its vectors. */
void ferry__posix_msg_send(const ferry_op *op, struct msghdr *header);

FERRY__OWN_END

#endif
