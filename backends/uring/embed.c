/* embed.c - a ring inside somebody else's loop.
 *
 * With DEFER_TASKRUN the ring's own descriptor never wakes an epoll, since completions are worked
 * out only when the loop enters; an eventfd that is registered with the ring is told when there is
 * something to work out. It is told of each completion, too, those that our own entering brings
 * included, so that it has to be cleared after entering, and before the last look.
 *
 * A trap: whoever writes to an eventfd cannot signal another from within that call. Then the kernel
 * puts the signal off (for tens of milliseconds), and up to 6.18 at least does so only once in the
 * life of a registration: the next ones are lost. So the wake-up, which is such a write, has a
 * place in the outer epoll of its own, and so has each eventfd, or epoll, that an operation waits
 * for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>

int ferry__uring_embed_register(struct uring *uring) {
    if (!uring->embed.is_open) return 0;
    int done = uring->calls->register_(uring, IORING_REGISTER_EVENTFD, &uring->embed.event_fd, 1);
    /* EBUSY: an adoption that failed later on had come this far. */
    return done >= 0 || done == -EBUSY ? 0 : ferry_error_from_system(-done);
}

void ferry__uring_embed_watch(ferry_loop *loop, ferry_op *op) {
    struct uring *uring = uring_of(loop);
    if (op->fd < 0 || (ferry__uring_poll_events(op) == 0 && op->code != FERRY_OP_POLL)) return;
    if (!(uring->setup_flags & IORING_SETUP_DEFER_TASKRUN)) return;
    int kind = ferry__slot(loop, op->fd)->kind;
    if (kind == KIND_UNKNOWN) kind = ferry__os_fd_kind(op->fd);
    /* EPERM: nothing that an epoll could watch, such as a directory. */
    if (kind == KIND_OTHER) (void)ferry__embed_watch(&uring->embed, op->fd, false);
}

static int embed_make(ferry_loop *loop, struct uring *uring) {
    int error = ferry__embed_open(&uring->embed);
    if (error != 0) return error;
    error = ferry__embed_watch(&uring->embed, uring->wake_fd, true);
    /* Who adopts the ring may have to make it again, and registers the event then. */
    if (error == 0 && uring->adopted) error = ferry__uring_embed_register(uring);
    if (error != 0) {
        ferry__embed_close(&uring->embed, false);
        return error;
    }
    ferry__each_running(loop, ferry__uring_embed_watch);
    return 0;
}

static ferry_fd embed_open(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    int error = uring->embed.is_open ? 0 : embed_make(loop, uring);
    return error != 0 ? error : uring->embed.fd;
}

static bool embed_clear(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    uint32_t tail = loop->records.tail;
    ferry__embed_clear(&uring->embed);
    if (ferry__uring_wait(loop, 0) != 0) return false; /* makes no call if the ring is quiet */
    unsigned flags = IO_URING_READ_ONCE(*uring->ring.sq.kflags);
    return loop->records.tail == tail && uring_unsubmitted(uring) == 0 &&
           !(flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static void embed_raise(ferry_loop *loop) {
    ferry__embed_raise(&uring_of(loop)->embed);
}

static void embed_alarm(ferry_loop *loop, uint64_t deadline) {
    struct uring *uring = uring_of(loop);
    if (uring->punted > 0) {
        uint64_t kick_at = ferry__uring_kick_time(loop);
        if (kick_at < deadline) deadline = kick_at;
        if (uring_unsubmitted(uring) > 0) (void)ferry__uring_wait(loop, 0); /* it has kicked */
    }
    ferry__embed_alarm(&uring->embed, deadline);
}

const struct ferry__embedding ferry__uring_embedding = {
    .open = embed_open,
    .clear = embed_clear,
    .raise = embed_raise,
    .alarm = embed_alarm,
};
