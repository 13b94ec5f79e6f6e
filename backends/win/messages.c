/* messages.c - between a struct ferry_msg and the system's WSAMSG.
 *
 * A transfer may take several calls (FERRY_ALL, whole sends). Address and control data of a send go
 * with the first of them; a receive has its address from the first, and each puts its control data
 * behind that of those before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include "win.h"

_Static_assert(sizeof(WSAMSG) <= sizeof(((ferry_msg *)0)->room), "room for a header");

/* The system's lengths have 32 bits: what is beyond them would be of no use to it. */
static ULONG ulong_of(size_t len) {
    return len < UINT32_MAX ? (ULONG)len : UINT32_MAX;
}

WSAMSG *ferry__win_msg_header(ferry_msg *msg) {
    WSAMSG *header = (WSAMSG *)(void *)msg->room;
    size_t left = msg->control_room - msg->control_len;
    *header = (WSAMSG){.name = NULL};
    if (left > 0) {
        header->Control.buf = (char *)msg->control + msg->control_len;
        header->Control.len = ulong_of(left);
    }
    if (msg->addr != NULL) {
        header->name = (struct sockaddr *)(void *)msg->addr->data.bytes;
        header->namelen = sizeof msg->addr->data.bytes;
    }
    return header;
}

WSAMSG *ferry__win_msg_receive(const ferry_op *op) {
    WSAMSG *header = ferry__win_msg_header(ferry__msg(op));
    if (op->transferred > 0) { /* the rest of one whose sender is known */
        header->name = NULL;
        header->namelen = 0;
    }
    return header;
}

void ferry__win_msg_finish(ferry_msg *msg) {
    const WSAMSG *header = (const WSAMSG *)(const void *)msg->room;
    if (header->name != NULL) {
        uint32_t most = sizeof msg->addr->data.bytes, len = (uint32_t)header->namelen;
        msg->addr->len = len < most ? len : most;
    }
    if (header->Control.buf != NULL) msg->control_len += header->Control.len;
    if (header->dwFlags & MSG_TRUNC) msg->flags |= FERRY_MSG_TRUNCATED;
    if (header->dwFlags & MSG_CTRUNC) msg->flags |= FERRY_MSG_CONTROL_TRUNCATED;
}

void ferry__win_msg_send(const ferry_op *op, WSAMSG *header) {
    const ferry_msg *msg = ferry__msg(op);
    *header = (WSAMSG){.name = NULL};
    if (op->transferred > 0) return;
    if (msg->addr != NULL && msg->addr->len > 0) {
        header->name = (struct sockaddr *)(void *)msg->addr->data.bytes;
        header->namelen = (INT)msg->addr->len;
    }
    if (msg->control_len > 0) {
        header->Control.buf = msg->control;
        header->Control.len = ulong_of(msg->control_len);
    }
}
