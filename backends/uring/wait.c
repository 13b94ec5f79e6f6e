/* wait.c - one io_uring_enter per turn, which hands over and waits; completion entries to records.
 *
 * The submission queue is published here and nowhere else, and liburing's own way of entering is
 * not used: with NO_SQARRAY the 2.3 of Debian 12 would leave the tail where it is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../posix/calls.h"
#include "../posix/messages.h"

#include <errno.h>

#define NS_PER_S 1000000000u

/* ---- Entering ---------------------------------------------------------------------------- */

/* What the kernel returns: entries taken, or -errno. */
static int enter(struct uring *uring, unsigned wait, unsigned flags,
                 struct io_uring_getevents_arg *arg) {
    io_uring_smp_store_release(uring->ring.sq.ktail, uring->sq_tail);
    flags |= uring->enter_flags;
    uring->uses[URING_REGISTERED_RING] += (flags & IORING_ENTER_REGISTERED_RING) != 0;
    uring->uses[URING_NO_IOWAIT] += (flags & IORING_ENTER_NO_IOWAIT) != 0;
    return uring->calls->enter(uring, uring_unsubmitted(uring), wait, flags, arg);
}

/* Errors that are the ring's business: interrupted, timed out, short of memory for the moment. */
static int passing(ferry_loop *loop, int result) {
    if (result >= 0 || result == -EINTR || result == -ETIME) return 0;
    if (result == -EBUSY || result == -EAGAIN) {
        loop->stats.busy_retries++;
        return 0;
    }
    return ferry_error_from_system(-result);
}

/* ---- Completion entries to records ------------------------------------------------------- */

static void wake_arm(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return; /* the next wait tries again */
    io_uring_prep_read(sqe, uring->wake_fd, &uring->wake_value, sizeof uring->wake_value, 0);
    sqe->user_data = (uint64_t)(uintptr_t)&uring->wakes;
    uring->wake_armed = true;
}

/* Codes that the kernel means for itself: a call that it would have started again. */
static bool interrupted(int error) {
    enum { ERESTARTSYS_ = 512, ERESTARTNOINTR_, ERESTARTNOHAND_, ERESTART_RESTARTBLOCK_ = 516 };
    return error == EINTR || error == ERESTARTSYS_ || error == ERESTARTNOINTR_ ||
           error == ERESTARTNOHAND_ || error == ERESTART_RESTARTBLOCK_;
}

_Static_assert(sizeof(struct ferry__record) == sizeof(struct io_uring_cqe), "one is the other");
_Static_assert(offsetof(struct ferry__record, result) == offsetof(struct io_uring_cqe, res), "so");
_Static_assert(offsetof(struct ferry__record, flags) == offsetof(struct io_uring_cqe, flags), "so");
_Static_assert(RECORD_BUFFER == IORING_CQE_F_BUFFER, "a flag of the kernel's");
_Static_assert(RECORD_MORE == IORING_CQE_F_MORE, "a flag of the kernel's");
_Static_assert(RECORD_MORE_THERE == IORING_CQE_F_SOCK_NONEMPTY, "a flag of the kernel's");
_Static_assert(RECORD_NOTICE == IORING_CQE_F_NOTIF, "a flag of the kernel's");
_Static_assert((int)RECORD_BUFFER_SHIFT == IORING_CQE_BUFFER_SHIFT, "a place of the kernel's");

/* The kernel ends with ECANCELED also what it could not find a worker for: nobody asked for that.
 */
static bool unasked(const ferry_op *op, int error) {
    return error == ECANCELED && !(op->bits & (BIT_CANCEL | BIT_EXPIRED));
}

/* Opening: somebody renamed a directory while the kernel looked whether ".." leads out of another;
 * or what was there is not what was seen there a moment ago, but a FIFO without a reader. */
static bool raced(const ferry_op *op, int error) {
    return op->code == FERRY_OP_OPEN &&
           ((error == EAGAIN && op->asked & FERRY_BENEATH) || (error == ENXIO && op->more != 0));
}

static void read_error(ferry_loop *loop, struct ferry__record *record) {
    int error = -record->result;
    uint32_t more = record->flags & RECORD_MORE; /* of a zero-copy send that failed */
    if (ferry__uring_zerocopy_refused(loop, record->op, error)) {
        record->result = 0;
        record->flags = more | RECORD_INTERRUPTED;
    } else if (error == ETIME && record->op->bits & BIT_POLLING) {
        record->result = 0; /* the pause is over */
        record->flags = 0;
    } else if (interrupted(error) && record->op->code == FERRY_OP_CLOSE) {
        record->result = 0; /* closed all the same (close(2)) */
        record->flags = 0;
    } else if (interrupted(error) || unasked(record->op, error) || raced(record->op, error)) {
        record->result = 0;
        record->flags = more | RECORD_INTERRUPTED;
    } else if (error == ENOBUFS && ferry__op_row(record->op)->result == RESULT_LENT) {
        record->result = 0;
        record->flags = RECORD_NO_BUFFER;
    } else if (error == EAGAIN && ferry__uring_poll_events(record->op) != 0) {
        record->result = 0; /* opened elsewhere as nonblocking: the ring does not wait for it */
        record->flags = more | RECORD_NOT_READY;
    } else {
        record->result = ferry_error_from_system(error);
        record->flags = more;
    }
}

bool ferry__uring_read(ferry_loop *loop, struct ferry__record *record) {
    struct uring *uring = uring_of(loop);
    if (record->op == &uring->wakes) uring->wake_armed = false;
    if (record->op == &uring->probes && !(record->flags & RECORD_NOTICE)) {
        uring->probe_result = record->result;
    }
    /* Between two tries of its own the kernel has a request on no list where a cancel would find
     * it. Most often, though, it is not found because it has just ended. */
    if (record->op == &uring->cancels && record->result == -ENOENT) loop->cancel_missed = true;
    if (record->op == &uring->wakes || record->op == &uring->probes ||
        record->op == &uring->cancels) {
        return false;
    }
    if (record->flags & RECORD_NOTICE) {
        bool copied = (uint32_t)record->result & IORING_NOTIF_USAGE_ZC_COPIED;
        record->result = copied || !uring_has(uring, URING_ZC_USAGE);
        record->flags = RECORD_NOTICE;
        return true;
    }
    record->flags &= RECORD_BUFFER | RECORD_MORE | RECORD_MORE_THERE |
                     (UINT32_MAX << RECORD_BUFFER_SHIFT);
    if (record->op->bits & BIT_PUNTED) {
        record->op->bits &= (uint16_t)~BIT_PUNTED;
        uring->punted--;
        uring->kick_after = URING_KICK_NS;
        uring->kick_at = 0;
    }
    if (record->op->code == FERRY_OP_SENDFILE && !ferry__uring_sendfile_read(loop, record)) {
        return false;
    }
    if (record->result < 0) {
        read_error(loop, record);
    } else if (record->op->code == FERRY_OP_STAT || record->op->code == FERRY_OP_STAT_FD) {
        ferry__uring_finish_stat(record->op);
    } else if (record->op->code == FERRY_OP_POLL) {
        ferry__uring_finish_poll(record);
    } else if (record->op->code == FERRY_OP_RECVMSG_POOL && !(record->op->bits & BIT_POLLING)) {
        ferry__uring_finish_recvmsg_pool(loop, record);
    } else if (record->op->code == FERRY_OP_RECVMSG && !(record->op->bits & BIT_POLLING)) {
        ferry__posix_msg_received(loop, record->op);
    } else if (record->op->code == FERRY_OP_OPEN) {
        ferry__uring_finish_open(record);
    }
    if (record->op->code == FERRY_OP_PROCESS) ferry__uring_finish_process(uring, record);
    return true;
}

/* What the loop has taken may be written over. */
static void give_back(const ferry_loop *loop) {
    io_uring_smp_store_release(uring_of(loop)->ring.cq.khead, loop->records.head);
}

static void look(ferry_loop *loop) {
    loop->records.tail = io_uring_smp_load_acquire(uring_of(loop)->ring.cq.ktail);
}

/* Takes what is the ring's own, while the loop has nothing in it. */
static void take_own(ferry_loop *loop) {
    look(loop);
    while (ferry__records_any(loop)) {
        struct ferry__record record = loop->records.at[loop->records.head++ & loop->records.mask];
        (void)ferry__uring_read(loop, &record);
    }
    give_back(loop);
}

/* ---- A free entry ------------------------------------------------------------------------ */

bool ferry__uring_make_room(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    loop->stats.system_submits++;
    give_back(loop);
    int result = enter(uring, 0, 0, NULL);
    if (result == -EBUSY || result == -EAGAIN)
        loop->stats.busy_retries++; /* the next turn's flush */
    return uring_unsubmitted(uring) != uring->sq_entries;
}

/* ---- Waiting ----------------------------------------------------------------------------- */

/* Would entering without waiting bring or hand over anything? */
static bool worth_entering(ferry_loop *loop, const struct uring *uring) {
    unsigned flags = IO_URING_READ_ONCE(*uring->ring.sq.kflags);
    if (flags & IORING_SQ_CQ_OVERFLOW) {
        loop->stats.overflows++;
        FERRY__PROBE1(overflow, loop);
        return true;
    }
    return uring_unsubmitted(uring) > 0 || flags & IORING_SQ_TASKRUN ||
           !uring_has(uring, URING_TASKRUN_FLAG);
}

/* The argument for a wait until deadline, NULL if it has passed already. */
static struct io_uring_getevents_arg *wait_arg(struct uring *uring, uint64_t deadline) {
    uring->wait_arg = (struct io_uring_getevents_arg){.sigmask_sz = 0};
    if (deadline != UINT64_MAX) {
        uint64_t now = ferry__os_clock();
        if (deadline <= now) return NULL;
        uring->timeout.tv_sec = (int64_t)((deadline - now) / NS_PER_S);
        uring->timeout.tv_nsec = (int64_t)((deadline - now) % NS_PER_S);
        uring->wait_arg.ts = (uint64_t)(uintptr_t)&uring->timeout;
    }
    return &uring->wait_arg;
}

/* The kernel makes a worker for what it punts, and gives up on that when a signal comes in between;
 * if all others wait, for FIFOs say, nobody is left to see that there is work. So while anything is
 * with the workers and nothing has come of it for a while, they get something to look at again, and
 * there may be more of them. */
static void kick(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *sqe = uring_sqe(loop);
    unsigned workers[2] = {uring->punted + URING_WORKERS, 0};
    if (uring->kick_after < URING_KICK_MAX_NS) uring->kick_after *= 2;
    (void)uring->calls->register_(uring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
    if (sqe == NULL) return;
    io_uring_prep_nop(sqe);
    sqe->flags |= IOSQE_ASYNC;
    sqe->user_data = (uint64_t)(uintptr_t)&uring->cancels;
}

uint64_t ferry__uring_kick_time(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    uint64_t now = ferry__os_clock();
    if (uring->kick_at != 0 && now >= uring->kick_at) {
        kick(loop);
        uring->kick_at = 0;
    }
    if (uring->kick_at == 0) uring->kick_at = now + uring->kick_after;
    return uring->kick_at;
}

static int wait_until(ferry_loop *loop, uint64_t deadline, bool worth) {
    struct uring *uring = uring_of(loop);
    if (uring->punted > 0) {
        uint64_t kick_at = ferry__uring_kick_time(loop);
        if (kick_at < deadline) deadline = kick_at;
    }
    struct io_uring_getevents_arg *arg = wait_arg(uring, deadline);
    if (arg == NULL && !worth) return 0;
    loop->stats.system_waits++;
    unsigned flags = IORING_ENTER_GETEVENTS | (arg != NULL ? IORING_ENTER_EXT_ARG : 0);
    return passing(loop, enter(uring, arg != NULL, flags, arg));
}

int ferry__uring_wait(ferry_loop *loop, uint64_t deadline) {
    struct uring *uring = uring_of(loop);
    int error = 0;
    give_back(loop);
    if (FERRY__UNLIKELY(!uring_is_settled(uring))) {
        bool wants_wake = deadline != 0 || !uring->embed.is_open;
        if (!uring->wake_armed && wants_wake) wake_arm(loop);
        if (!uring->wake_armed) deadline = 0; /* nobody could wake it */
        ferry__uring_sendfile_resume(loop);
    }
    bool worth = worth_entering(loop, uring);
    if (deadline != 0) {
        error = wait_until(loop, deadline, worth);
    } else if (worth) {
        loop->stats.system_waits++;
        error = passing(loop, enter(uring, 0, IORING_ENTER_GETEVENTS, NULL));
    }
    look(loop);
    return error;
}

/* ---- The wake-up ------------------------------------------------------------------------- */

void ferry__uring_wake(ferry_loop *loop) {
    uint64_t one = 1;
    int before = errno; /* may run in a signal handler */
    ssize_t wrote = ferry__calls.write(uring_of(loop)->wake_fd, &one, sizeof one);
    (void)wrote; /* it fails only when the counter is full, and then it wakes all the same */
    errno = before;
}

void ferry__uring_wake_end(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *sqe = uring->wake_armed ? uring_sqe(loop) : NULL;
    if (sqe != NULL) {
        io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)&uring->wakes, 0);
        sqe->user_data = (uint64_t)(uintptr_t)&uring->cancels;
    }
    /* Bounded, in case that the system refuses: closing the ring ends it too, only later. */
    for (int i = 0; uring->wake_armed && i < 1000; i++) {
        (void)enter(uring, 1, IORING_ENTER_GETEVENTS, NULL);
        take_own(loop);
    }
}

/* Flags are looked at before the descriptor: one that is no socket tells the two answers apart. */
bool ferry__uring_probe(ferry_loop *loop, void (*prep)(struct io_uring_sqe *sqe, int fd)) {
    struct uring *uring = uring_of(loop);
    struct io_uring_sqe *sqe = uring_sqe(loop);
    if (sqe == NULL) return false;
    prep(sqe, uring->wake_fd);
    sqe->user_data = (uint64_t)(uintptr_t)&uring->probes;
    uring->probe_result = 0;
    ferry__uring_wake(loop);
    for (int i = 0; uring->probe_result == 0 && i < 1000; i++) {
        (void)enter(uring, 1, IORING_ENTER_GETEVENTS, NULL);
        take_own(loop);
    }
    return uring->probe_result == -ENOTSOCK;
}
