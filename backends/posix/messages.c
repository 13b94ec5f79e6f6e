/* messages.c - between a struct ferry_msg and the system's struct msghdr.
 *
 * A transfer may take several calls (FERRY_ALL, whole sends). Address and control data of a send go
 * with the first of them; a receive has its address from the first, and each puts its control data
 * behind that of those before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "messages.h"

#include "core.h"
#include "missing.h"

#include <string.h>

_Static_assert(sizeof(struct msghdr) <= sizeof(((ferry_msg *)0)->room), "room for a header");

struct msghdr *ferry__posix_msg_header(ferry_msg *msg) {
    struct msghdr *header = (struct msghdr *)(void *)msg->room;
    size_t left = msg->control_room - msg->control_len;
    *header = (struct msghdr){.msg_name = NULL};
    if (left > 0) {
        ferry__posix_msg_control(header, (char *)msg->control + msg->control_len, left);
    }
    if (msg->addr != NULL) {
        header->msg_name = msg->addr->data.bytes;
        header->msg_namelen = sizeof msg->addr->data.bytes;
    }
    return header;
}

struct msghdr *ferry__posix_msg_receive(const ferry_op *op) {
    struct msghdr *header = ferry__posix_msg_header(ferry__msg(op));
    if (op->transferred > 0) { /* the rest of one whose sender is known */
        header->msg_name = NULL;
        header->msg_namelen = 0;
    }
    return header;
}

/* Whatever the loop knew of the numbers that came is void. A child is not to have them. */
static void claim(ferry_loop *loop, const void *control, size_t len) {
    ferry_control item = {.at = 0};
    while (ferry_control_next(control, len, &item)) {
        if (item.kind != FERRY_CONTROL_FDS) continue;
        for (size_t i = 0; i < item.count; i++) {
            if (MSG_CMSG_CLOEXEC == 0) (void)fcntl(item.fds[i], F_SETFD, FD_CLOEXEC);
            ferry__slot_claim(loop, item.fds[i], KIND_UNKNOWN);
        }
    }
}

void ferry__posix_msg_received(ferry_loop *loop, const ferry_op *op) {
    ferry__posix_msg_finish(loop, ferry__msg(op));
}

void ferry__posix_msg_finish(ferry_loop *loop, ferry_msg *msg) {
    const struct msghdr *header = (const struct msghdr *)(const void *)msg->room;
    if (header->msg_name != NULL) {
        socklen_t most = sizeof msg->addr->data.bytes;
        msg->addr->len = header->msg_namelen < most ? header->msg_namelen : most;
    }
    if (header->msg_controllen > 0) {
        claim(loop, (char *)msg->control + msg->control_len, header->msg_controllen);
        msg->control_len += header->msg_controllen;
    }
    if (header->msg_flags & MSG_TRUNC) msg->flags |= FERRY_MSG_TRUNCATED;
    if (header->msg_flags & MSG_CTRUNC) msg->flags |= FERRY_MSG_CONTROL_TRUNCATED;
}

void ferry__posix_msg_send(const ferry_op *op, struct msghdr *header) {
    const ferry_msg *msg = ferry__msg(op);
    *header = (struct msghdr){.msg_name = NULL};
    if (op->transferred > 0) return;
    if (msg->addr != NULL && msg->addr->len > 0) {
        header->msg_name = msg->addr->data.bytes;
        header->msg_namelen = msg->addr->len;
    }
    if (msg->control_len > 0) ferry__posix_msg_control(header, msg->control, msg->control_len);
}
