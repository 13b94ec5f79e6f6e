/* watch.c - waiting for changes of files: one source of changes per loop, dealt out to all watches.
 *
 * An operation goes to a worker first, which names its path to the system: that may wait. Back from
 * there it waits in loop->served, its struct ferry_watcher in the bucket of the number that the
 * system gave the watch. Several watches of one file share a number. An operation of the loop's own
 * waits until the source is readable; the loop then reads a buffer full of changes and copies each
 * into the buffers of those whom it concerns, as the caller's memory belongs to the library until
 * the final completion.
 *
 * The number that a worker brings may be void by then: the file was deleted meanwhile, or another
 * watch that shared the number was the last one that the loop knew of and took it away. So the
 * numbers that end are remembered, the last GONE_MAX of them, and if a new watch's may be one of
 * those, a worker is asked again. (The system gives a number once only: inotify counts up.)
 *
 * All on the loop's thread, but for ferry__watch_add().
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define BUCKETS 256u
#define GONE_MAX 64u
#define SOURCE_BYTES 16384u
#define QUIET_NS 1000000u
#define QUIET_TRIES 1000u

/* A watcher's room. */
struct watch {
    ferry_op *op;
    struct watch *prev, *next; /* in its bucket */
    ferry_fd source;
    int32_t error;       /* 0, or with what it ends after its next completion */
    uint64_t ends;       /* how many numbers had ended when a worker was asked */
    uint64_t head, tail; /* of the changes in its buffer: bytes */
    uint32_t waiting;    /* how many there are */
    uint8_t lost;        /* changes are missing behind them */
    uint8_t linked;      /* in its bucket */
    uint8_t unmounted;
    uint8_t lives; /* the system says so: see end_the_dead() */
};

_Static_assert(sizeof(struct watch) <= sizeof(((ferry_watcher *)0)->room), "room for a watch");

/* How a change lies in the caller's buffer: this, then its name with a 0. */
struct record {
    uint32_t pair;
    uint16_t name_len;
    uint8_t kind, is_directory;
    uint32_t reserved;
};

_Static_assert(sizeof(struct record) == 12, "as ferry.h says");

/* What a loop with watches has. */
struct ferry__watches {
    ferry_op ready; /* OP_OWN while armed: waits until the source is readable */
    ferry_fd source;
    bool armed;
    uint32_t linked;        /* watches in buckets */
    uint64_t ends;          /* numbers that have ended */
    int32_t gone[GONE_MAX]; /* the last of them */
    size_t read, at;        /* bytes read from the source, and where the next change begins */
    struct watch *bucket[BUCKETS];
    alignas(16) unsigned char changes[SOURCE_BYTES];
};

static ferry_watcher *watcher_of(const ferry_op *op) {
    return (ferry_watcher *)(uintptr_t)op->len;
}

static struct watch *watch_of(const ferry_op *op) {
    return (struct watch *)(void *)watcher_of(op)->room;
}

/* The system's number is in op->offset, one higher; 0: none. */
static int32_t number_of(const ferry_op *op) {
    return (int32_t)(op->offset - 1);
}

/* ---- Numbers ----------------------------------------------------------------------------- */

static struct watch **bucket_of(struct ferry__watches *all, int32_t number) {
    return &all->bucket[(uint32_t)number % BUCKETS];
}

static void link_in(struct ferry__watches *all, struct watch *watch) {
    struct watch **bucket = bucket_of(all, number_of(watch->op));
    watch->prev = NULL;
    watch->next = *bucket;
    if (*bucket != NULL) (*bucket)->prev = watch;
    *bucket = watch;
    watch->linked = true;
    all->linked++;
}

static void link_out(struct ferry__watches *all, struct watch *watch) {
    if (!watch->linked) return;
    if (watch->next != NULL) watch->next->prev = watch->prev;
    if (watch->prev != NULL) {
        watch->prev->next = watch->next;
    } else {
        *bucket_of(all, number_of(watch->op)) = watch->next;
    }
    watch->linked = false;
    all->linked--;
}

static void number_ended(struct ferry__watches *all, int32_t number) {
    all->gone[all->ends++ % GONE_MAX] = number;
}

/* May its number have ended since a worker was asked for it? One that has is forgotten. */
static bool may_be_gone(const struct ferry__watches *all, struct watch *watch) {
    if (all->ends - watch->ends > GONE_MAX) return true;
    for (uint64_t i = watch->ends; i != all->ends; i++) {
        if (all->gone[i % GONE_MAX] == number_of(watch->op)) {
            watch->op->offset = 0;
            return true;
        }
    }
    return false;
}

/* Takes a number from the system unless another watch has it. */
static void number_release(struct ferry__watches *all, int32_t number) {
    for (struct watch *other = *bucket_of(all, number); other != NULL; other = other->next) {
        if (number_of(other->op) == number) return;
    }
    ferry__os_watch_remove(all->source, number);
    number_ended(all, number);
}

/* ---- Beginning --------------------------------------------------------------------------- */

static int watches_make(ferry_loop *loop) {
    struct ferry__watches *all = ferry__os_reserve(sizeof *all);
    if (all == NULL) return FERRY_ENOMEM;
    ferry_fd source = ferry__os_watch_open();
    int error = source < 0 ? (int)source : ferry__slot_provide(loop, source);
    if (error != 0) {
        if (source >= 0) ferry__os_watch_close(source);
        ferry__os_unreserve(all, sizeof *all);
        return error;
    }
    all->source = source;
    loop->watches = all;
    return 0;
}

static int watcher_check(const ferry_watcher *watcher) {
    if (watcher == NULL || watcher->buf == NULL) return FERRY_EFAULT;
    return watcher->len < FERRY_WATCH_BYTES_MIN ? FERRY_EINVAL : 0;
}

void ferry__watch_submit(ferry_loop *loop, ferry_op *op) {
    int error = watcher_check(watcher_of(op));
    if (error == 0 && loop->watches == NULL) error = watches_make(loop);
    if (error != 0) {
        ferry__op_end(loop, op, error, 0);
        return;
    }
    struct watch *watch = watch_of(op);
    *watch = (struct watch){.op = op, .source = loop->watches->source, .ends = loop->watches->ends};
    ferry__work_submit(loop, op);
}

int64_t ferry__watch_add(const ferry_op *op) {
    return ferry__os_watch_add(watch_of(op)->source, op->buf);
}

void ferry__watch_arrived(ferry_loop *loop, ferry_op *op, int64_t result) {
    struct ferry__watches *all = loop->watches;
    struct watch *watch = watch_of(op);
    if (result >= 0) {
        uint64_t before = op->offset;
        op->offset = (uint64_t)result + 1;
        if (before != 0 && before != op->offset) number_release(all, (int32_t)(before - 1));
    }
    if (loop->gate & GATE_DRAIN || op->bits & (BIT_CANCEL | BIT_EXPIRED)) {
        if (result >= 0) result = op->bits & BIT_EXPIRED ? FERRY_ETIMEDOUT : FERRY_ECANCELED;
    }
    if (result < 0) {
        ferry__op_end(loop, op, result, 0);
    } else if (may_be_gone(all, watch)) {
        watch->ends = all->ends;
        ferry__work_submit(loop, op);
    } else {
        link_in(all, watch);
        ferry__served_wait(loop, op);
        ferry__served_result(loop, op, 0, true);
    }
}

/* ---- Dealing out ------------------------------------------------------------------------- */

static size_t record_bytes(const struct ferry__change *change) {
    return sizeof(struct record) + change->about.name_len + 1;
}

static bool fits(const struct watch *watch, const struct ferry__change *change) {
    return watcher_of(watch->op)->len - (watch->tail - watch->head) >= record_bytes(change);
}

static void tell(ferry_loop *loop, struct watch *watch) {
    /* Else its completion is due already, and tells of all that has come by then. */
    if (watch->op->state == OP_SERVED) ferry__served_result(loop, watch->op, 0, true);
}

static void append(ferry_loop *loop, struct watch *watch, const struct ferry__change *change) {
    ferry_watcher *watcher = watcher_of(watch->op);
    char *buf = watcher->buf;
    if (watch->lost) return;
    if (change->about.kind == FERRY_CHANGE_OVERFLOW || !fits(watch, change)) {
        watch->lost = true;
        tell(loop, watch);
        return;
    }
    if (watcher->len - watch->tail < record_bytes(change)) {
        memmove(buf, buf + watch->head, (size_t)(watch->tail - watch->head));
        watch->tail -= watch->head;
        watch->head = 0;
    }
    struct record record = {
        .pair = change->about.pair,
        .name_len = (uint16_t)change->about.name_len,
        .kind = (uint8_t)change->about.kind,
        .is_directory = change->about.is_directory != 0,
    };
    memcpy(buf + watch->tail, &record, sizeof record);
    memcpy(buf + watch->tail + sizeof record, change->about.name, change->about.name_len);
    watch->tail += record_bytes(change);
    buf[watch->tail - 1] = '\0';
    watch->waiting++;
    if (change->about.kind == FERRY_CHANGE_UNMOUNTED) watch->unmounted = true;
    tell(loop, watch);
}

/* The system watches it no more. */
static void end(ferry_loop *loop, struct watch *watch, int error) {
    ferry_op *op = watch->op;
    if (watch->unmounted && error == FERRY_ENOENT) error = FERRY_ENODEV;
    link_out(loop->watches, watch);
    op->offset = 0;
    if (op->state == OP_SERVED) {
        ferry__served_end(loop, op, error);
    } else {
        watch->error = error; /* after the completion that is due */
    }
}

static bool concerns(const struct ferry__change *change, const struct watch *watch) {
    return change->watch < 0 || change->watch == number_of(watch->op);
}

static void deal_to(ferry_loop *loop, struct watch *watch, const struct ferry__change *change) {
    struct watch *next;
    for (; watch != NULL; watch = next) {
        next = watch->next;
        if (!concerns(change, watch)) continue;
        if (change->ends != 0) {
            end(loop, watch, change->ends);
        } else {
            append(loop, watch, change);
        }
    }
}

static void mark_living(void *context, int32_t number) {
    struct watch *watch = *bucket_of(context, number);
    for (; watch != NULL; watch = watch->next) {
        if (number_of(watch->op) == number) watch->lives = true;
    }
}

/* The system's queue was full. What is missing may be that watches have ended: a look at those that
 * have not. */
static void end_the_dead(ferry_loop *loop) {
    struct ferry__watches *all = loop->watches;
    all->ends += GONE_MAX + 1; /* any number may have ended */
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct watch *at = all->bucket[i]; at != NULL; at = at->next) at->lives = false;
    }
    if (ferry__os_watch_each(all->source, mark_living, all) != 0) return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        struct watch *next;
        for (struct watch *at = all->bucket[i]; at != NULL; at = next) {
            next = at->next;
            if (!at->lives) end(loop, at, FERRY_ENOENT);
        }
    }
}

static void deal(ferry_loop *loop, const struct ferry__change *change) {
    struct ferry__watches *all = loop->watches;
    if (change->watch >= 0) {
        deal_to(loop, *bucket_of(all, change->watch), change);
        if (change->ends != 0) number_ended(all, change->watch);
        return;
    }
    for (unsigned i = 0; i < BUCKETS; i++) deal_to(loop, all->bucket[i], change);
    if (change->ends == 0) end_the_dead(loop);
}

/* Is there somebody without room for it who has not had a chance to make some? */
static bool must_wait(struct ferry__watches *all, const struct ferry__change *change) {
    if (change->watch < 0 || change->ends != 0) return false;
    for (struct watch *watch = *bucket_of(all, change->watch); watch != NULL; watch = watch->next) {
        if (concerns(change, watch) && watch->op->state == OP_DONE && !watch->lost &&
            !fits(watch, change)) {
            return true;
        }
    }
    return false;
}

/* Deals out what was read, as far as there is room for it. */
static void deal_all(ferry_loop *loop) {
    struct ferry__watches *all = loop->watches;
    struct ferry__list *before = loop->ending;
    loop->ending = &loop->due;
    while (all->at < all->read) {
        struct ferry__change change;
        size_t next = ferry__os_watch_parse(all->changes, all->at, &change);
        if (must_wait(all, &change)) break;
        deal(loop, &change);
        all->at = next;
    }
    loop->ending = before;
}

/* ---- The source -------------------------------------------------------------------------- */

bool ferry__watch_is_due(const ferry_loop *loop) {
    const struct ferry__watches *all = loop->watches;
    return all->at < all->read || (all->linked > 0 && !all->armed);
}

static void arm(ferry_loop *loop) {
    struct ferry__watches *all = loop->watches;
    all->ready = (ferry_op){.code = FERRY_OP_READ,
                            .fd = all->source,
                            .bits = BIT_POLLING, /* only that it is readable, not to read */
                            .state = OP_OWN};
    all->armed = loop->backend->submit(loop, &all->ready);
}

void ferry__watch_flush(ferry_loop *loop) {
    struct ferry__watches *all = loop->watches;
    if (all->at < all->read) deal_all(loop);
    if (all->linked > 0 && !all->armed && all->at == all->read) arm(loop);
}

void ferry__watch_ready(ferry_loop *loop, const struct ferry__record *record) {
    struct ferry__watches *all = loop->watches;
    all->armed = false;
    if (record->flags & (RECORD_INTERRUPTED | RECORD_NOT_READY) || all->linked == 0) return;
    int64_t got = record->result < 0
                      ? record->result
                      : ferry__os_watch_read(all->source, all->changes, sizeof all->changes);
    all->at = 0;
    all->read = got > 0 ? (size_t)got : 0;
    if (got >= 0) {
        deal_all(loop);
    } else {
        struct ferry__list *before = loop->ending;
        const struct ferry__change broken = {.watch = -1, .ends = (int32_t)got};
        loop->ending = &loop->due;
        deal(loop, &broken);
        loop->ending = before;
    }
}

/* ---- Operations -------------------------------------------------------------------------- */

int64_t ferry__watch_count(const ferry_op *op) {
    const struct watch *watch = watch_of(op);
    return (int64_t)watch->waiting + watch->lost;
}

void ferry__watch_continued(ferry_loop *loop, ferry_op *op) {
    int error = watch_of(op)->error;
    if (error != 0) ferry__served_end(loop, op, error);
}

void ferry__watch_leave(ferry_loop *loop, ferry_op *op) {
    link_out(loop->watches, watch_of(op));
}

void ferry__watch_over(ferry_loop *loop, ferry_op *op) {
    if (op->offset == 0) return; /* nothing was begun, or the system has ended it */
    int32_t number = number_of(op);
    op->offset = 0;
    number_release(loop->watches, number);
}

void ferry_watch(ferry_loop *loop, ferry_op *op, const char *path, ferry_watcher *watcher,
                 unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_WATCH, FERRY_FD_NONE, path, (uint64_t)(uintptr_t)watcher, flags, cb);
    op->offset = 0;
    ferry__submit(loop, op);
}

int ferry_watch_next(ferry_watcher *watcher, ferry_change *change) {
    struct watch *watch = (struct watch *)(void *)watcher->room;
    *change = (ferry_change){.name = ""};
    if (watch->waiting == 0) {
        if (!watch->lost) return 0;
        watch->lost = false;
        change->kind = FERRY_CHANGE_OVERFLOW;
        return 1;
    }
    struct record record;
    char *place = (char *)watcher->buf + watch->head;
    memcpy(&record, place, sizeof record);
    change->kind = (enum ferry_change_kind)record.kind;
    change->is_directory = record.is_directory;
    change->pair = record.pair;
    change->name = place + sizeof record;
    change->name_len = record.name_len;
    watch->head += sizeof record + record.name_len + 1u;
    if (--watch->waiting == 0) watch->head = watch->tail = 0;
    return 1;
}

/* ---- The loop closes --------------------------------------------------------------------- */

void ferry__watch_quiet(ferry_loop *loop) {
    struct ferry__watches *all = loop->watches;
    if (!all->armed) return;
    all->ready.bits |= BIT_CANCEL;
    /* Bounded, in case that the system refuses: closing the backend ends it too, only later. */
    for (unsigned i = 0; all->armed && i < QUIET_TRIES; i++) {
        if (loop->backend->begin != NULL) loop->backend->begin(loop);
        if (i % 16 == 0) (void)loop->backend->cancel(loop, &all->ready);
        (void)loop->backend->wait(loop, ferry__time_add(ferry__os_clock(), QUIET_NS));
        while (ferry__records_any(loop)) {
            struct ferry__record record =
                loop->records.at[loop->records.head++ & loop->records.mask];
            if (loop->backend->read(loop, &record)) (void)ferry__op_land(loop, &record);
        }
    }
}

void ferry__watch_close(ferry_loop *loop) {
    ferry__os_watch_close(loop->watches->source);
    ferry__os_unreserve(loop->watches, sizeof *loop->watches);
    loop->watches = NULL;
}
