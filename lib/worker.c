/* worker.c - the worker pools: blocking work, and operations that a backend cannot do natively.
 *
 * One pool of each class per process, made by the first loop that has such work and gone with the
 * last; or a loop's own. A loop hands over at most work_max operations at a time, the others wait
 * in the loop; so its own results always make room for its own work, and no loop can fill the queue
 * for the others. Workers send results back through the loop's inbox.
 *
 * What a worker is at can be asked to end: it is marked, and the thread gets a signal whose handler
 * does nothing, so that the system call that it waits in ends with EINTR. The signal may come
 * before that call begins, so it is sent again, at growing spans, for as long as the thread is
 * there; in between the worker looks at the mark. It is sent under the pool's lock, to a thread
 * that is at that operation, and a worker that was marked waits for what was sent before it goes on
 * to the next. So nobody else's call is ended, and no function of the program's: those have threads
 * of their own, which take no signal at all.
 *
 * The pool's queue is under its lock; everything else here is the loop's thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <stdatomic.h>

#define THREADS_MAX 64
#define INTERRUPT_FIRST_NS 1000000u /* before a signal is sent once more; doubled each time */
#define INTERRUPT_MOST_NS 10000000u

struct worker {
    struct ferry__workers *pool;
    struct ferry__thread thread;
    const ferry_loop *serves; /* whose work it is at, until it has let go of it */
    ferry_op *at;             /* what it carries out, until that is in its loop's inbox */
    _Atomic bool stop;        /* that is asked to end; written under the lock */
};

struct ferry__workers {
    struct ferry__lock lock;
    struct ferry__signal has_work;
    ferry_op *first, *last; /* the queue, through link.next: OP_WORKING, no worker has it */
    uint32_t queued;        /* its length */
    uint32_t threads, threads_max;
    uint32_t idle;
    uint32_t users;      /* loops; guarded by the process's lock for the shared pool */
    uint32_t fork_count; /* in which process its threads run */
    bool ends, shared;
    int interrupt; /* the signal that its threads take; 0: none */
    enum ferry__work_class class;
    struct worker worker[THREADS_MAX];
    struct ferry__signal served;
};

static struct ferry__workers *shared_pools[WORK_CLASSES]; /* guarded by ferry__os_process_lock() */

enum ferry__work_class ferry__work_class(const ferry_op *op) {
    return op->code == FERRY_OP_WORK && op->state != OP_OWN ? WORK_USER : WORK_FILES;
}

/* ---- The queue --------------------------------------------------------------------------- */

/* Whose it is, while it is in the queue: in link.prev. All else is the operation's own, to be used
 * again by a second try and by ferry_again(), or the loop's, which looks at it meanwhile. */
static ferry_loop *loop_of(const ferry_op *op) {
    return (ferry_loop *)(void *)op->link.prev;
}

static void queue_push(struct ferry__workers *pool, ferry_loop *loop, ferry_op *op) {
    op->link.prev = (ferry_op *)(void *)loop;
    op->link.next = NULL;
    if (pool->last != NULL) {
        pool->last->link.next = op;
    } else {
        pool->first = op;
    }
    pool->last = op;
    pool->queued++;
}

/* Takes out what comes after before, NULL for the first. */
static void queue_take(struct ferry__workers *pool, ferry_op *before) {
    ferry_op **link = before != NULL ? &before->link.next : &pool->first;
    if (*link == pool->last) pool->last = before;
    *link = (*link)->link.next;
    pool->queued--;
}

/* What came of it, from the worker to the loop: in fields that nobody needs meanwhile. What users'
 * functions return may be any number; else it is an error, a descriptor or a length. */
static void outcome_put(ferry_op *op, int64_t outcome) {
    if (op->code == FERRY_OP_WORK) {
        op->more = (uint64_t)outcome;
    } else {
        op->link.prev = (ferry_op *)(intptr_t)outcome;
    }
}

int64_t ferry__work_outcome(const ferry_op *op) {
    return op->code == FERRY_OP_WORK ? (int64_t)op->more : (int64_t)(intptr_t)op->link.prev;
}

/* ---- A worker ---------------------------------------------------------------------------- */

static _Thread_local const struct worker *this_worker;

bool ferry__work_stopped(void) {
    /* relaxed: nothing is handed over; one who looks too early is interrupted once more. */
    return this_worker != NULL && atomic_load_explicit(&this_worker->stop, memory_order_relaxed);
}

static int64_t carry_out(ferry_op *op) {
    if (op->code == FERRY_OP_WATCH) return ferry__watch_add(op);
    if (op->code != FERRY_OP_WORK) return ferry__os_perform(op);
    ferry_work_fn *fn = (ferry_work_fn *)(uintptr_t)op->offset;
    return fn((void *)(uintptr_t)op->buf);
}

static void work(struct worker *self, ferry_op *op) {
    struct ferry__workers *pool = self->pool;
    ferry_loop *loop = loop_of(op);
    queue_take(pool, NULL);
    self->serves = loop;
    self->at = op;
    atomic_store_explicit(&self->stop, false, memory_order_relaxed);
    ferry__os_unlock(&pool->lock);
    FERRY__PROBE3(work_begin, loop, op, op->code);
    int64_t outcome = carry_out(op);
    outcome_put(op, outcome);
    FERRY__PROBE3(work_end, loop, op, outcome);
    ferry__os_lock(&pool->lock); /* so that ferry__each() sees it in one place */
    self->at = NULL;
    bool interrupted = ferry__work_stopped();
    ferry__inbox_put(loop, op);
    ferry__os_unlock(&pool->lock);
    ferry__inbox_wake(loop);
    if (interrupted) ferry__os_interrupts_settle();
    ferry__os_lock(&pool->lock);
    self->serves = NULL;
    ferry__os_signal_all(&pool->served);
}

static void *worker_run(void *arg) {
    struct worker *self = arg;
    struct ferry__workers *pool = self->pool;
    this_worker = self;
    if (pool->interrupt != 0) ferry__os_interrupts_allow(pool->interrupt);
    ferry__os_lock(&pool->lock);
    for (;;) {
        if (pool->first != NULL) {
            work(self, pool->first);
        } else if (pool->ends) {
            break;
        } else {
            pool->idle++;
            ferry__os_signal_wait(&pool->has_work, &pool->lock);
            pool->idle--;
        }
    }
    ferry__os_unlock(&pool->lock);
    return NULL;
}

/* ---- The pool ---------------------------------------------------------------------------- */

/* Under the process's lock. */
static struct ferry__workers *pool_make(ferry_loop *loop, enum ferry__work_class class,
                                        bool shared) {
    struct ferry__workers *pool = ferry__os_reserve(sizeof *pool);
    if (pool == NULL) return NULL;
    ferry__os_lock_init(&pool->lock);
    ferry__os_signal_init(&pool->has_work);
    ferry__os_signal_init(&pool->served);
    uint32_t threads = loop->work_threads[class];
    pool->threads_max = threads < THREADS_MAX ? threads : THREADS_MAX;
    pool->class = class;
    pool->shared = shared;
    pool->fork_count = ferry__os_fork_count;
    int number = class == WORK_FILES ? loop->cancel_signal : 0;
    if (number > 0 && ferry__os_interrupts_begin(number)) pool->interrupt = number;
    return pool;
}

static void pool_join(ferry_loop *loop, enum ferry__work_class class) {
    ferry__os_lock(ferry__os_process_lock());
    if (loop->own_workers) {
        loop->workers[class] = pool_make(loop, class, false);
    } else {
        struct ferry__workers **shared = &shared_pools[class];
        /* After a fork the parent's pool has no threads here: its memory is left behind. */
        if (*shared == NULL || (*shared)->fork_count != ferry__os_fork_count) {
            *shared = pool_make(loop, class, true);
        }
        loop->workers[class] = *shared;
        if (*shared != NULL) (*shared)->users++;
    }
    ferry__os_unlock(ferry__os_process_lock());
}

static void pool_end(struct ferry__workers *pool) {
    ferry__os_lock(&pool->lock);
    pool->ends = true;
    ferry__os_signal_all(&pool->has_work);
    ferry__os_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->threads; i++) ferry__os_thread_join(&pool->worker[i].thread);
    if (pool->interrupt != 0) {
        ferry__os_lock(ferry__os_process_lock());
        ferry__os_interrupts_end(pool->interrupt);
        ferry__os_unlock(ferry__os_process_lock());
    }
    ferry__os_signal_end(&pool->has_work);
    ferry__os_signal_end(&pool->served);
    ferry__os_lock_end(&pool->lock);
    ferry__os_unreserve(pool, sizeof *pool);
}

/* A worker that has sent a result back may still be on its way out of the loop's inbox. */
static void wait_until_let_go(struct ferry__workers *pool, const ferry_loop *loop) {
    ferry__os_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->threads; i++) {
        while (pool->worker[i].serves == loop) ferry__os_signal_wait(&pool->served, &pool->lock);
    }
    ferry__os_unlock(&pool->lock);
}

static void pool_leave(ferry_loop *loop, struct ferry__workers *pool) {
    if (pool == NULL || pool->fork_count != ferry__os_fork_count) return;
    wait_until_let_go(pool, loop);
    if (pool->shared) {
        ferry__os_lock(ferry__os_process_lock());
        bool last = --pool->users == 0;
        if (last && shared_pools[pool->class] == pool) shared_pools[pool->class] = NULL;
        ferry__os_unlock(ferry__os_process_lock());
        if (!last) return;
    }
    pool_end(pool);
}

void ferry__work_close(ferry_loop *loop) {
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        pool_leave(loop, loop->workers[class]);
        loop->workers[class] = NULL;
    }
}

void ferry__work_abandon(ferry_loop *loop) {
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        struct ferry__workers *pool = loop->workers[class];
        loop->workers[class] = NULL;
        /* A shared one may be of use to others here, which find out that it has no threads. */
        if (pool != NULL && !pool->shared) ferry__os_unreserve(pool, sizeof *pool);
    }
}

/* Puts op into the queue. False if there is no thread to take it. */
static bool pool_push(struct ferry__workers *pool, ferry_loop *loop, ferry_op *op) {
    ferry__os_lock(&pool->lock);
    if (pool->queued >= pool->idle && pool->threads < pool->threads_max) {
        struct worker *next = &pool->worker[pool->threads];
        next->pool = pool;
        if (ferry__os_thread_start(&next->thread, worker_run, next) == 0) pool->threads++;
    }
    bool taken = pool->threads > 0;
    if (taken) {
        queue_push(pool, loop, op);
        ferry__os_signal_one(&pool->has_work);
    }
    ferry__os_unlock(&pool->lock);
    return taken;
}

/* ---- The loop's side --------------------------------------------------------------------- */

static void hand_over(ferry_loop *loop, ferry_op *op, enum ferry__work_class class) {
    if (loop->workers[class] == NULL) pool_join(loop, class);
    enum ferry__op_state before = (enum ferry__op_state)op->state;
    ferry__op_move(op, OP_WORKING);
    if (loop->workers[class] != NULL && pool_push(loop->workers[class], loop, op)) {
        loop->work_out[class]++;
    } else {
        ferry__op_move(op, before);
        ferry__op_end(loop, op, FERRY_EAGAIN, 0);
    }
}

void ferry__work_submit(ferry_loop *loop, ferry_op *op) {
    enum ferry__work_class class = ferry__work_class(op);
    struct ferry__list *waiting = &loop->work_waiting[class];
    if (loop->work_out[class] < loop->work_max && waiting->head == NULL) {
        hand_over(loop, op, class);
    } else {
        loop->stats.work_waited++;
        loop->work_in_loop[class]++;
        ferry__op_move(op, OP_WORK_WAIT);
        ferry__list_push(waiting, op);
    }
}

bool ferry__work_own(ferry_loop *loop, ferry_op *op) {
    if (loop->workers[WORK_FILES] == NULL) pool_join(loop, WORK_FILES);
    struct ferry__workers *pool = loop->workers[WORK_FILES];
    if (pool == NULL || !pool_push(pool, loop, op)) return false;
    loop->work_out[WORK_FILES]++;
    return true;
}

static void work_back(ferry_loop *loop, enum ferry__work_class class) {
    struct ferry__list *waiting = &loop->work_waiting[class];
    loop->work_out[class]--;
    while (waiting->head != NULL && loop->work_out[class] < loop->work_max) {
        ferry_op *op = waiting->head;
        ferry__list_remove(waiting, op);
        loop->work_in_loop[class]--;
        hand_over(loop, op, class);
    }
}

void ferry__work_back(ferry_loop *loop, const ferry_op *op) {
    work_back(loop, ferry__work_class(op));
}

/* ---- Asking it to end -------------------------------------------------------------------- */

/* Not the program's own functions, nor what would be half done: a child that has begun, a number
 * that is closed all the same, a watch that nobody knows of. */
static bool can_interrupt(const ferry_op *op) {
    if (op->code == FERRY_OP_WORK) return op->state == OP_OWN;
    return op->code != FERRY_OP_SPAWN && op->code != FERRY_OP_CLOSE && op->code != FERRY_OP_WATCH;
}

/* Sends it the signal. False if that is no use: the program has taken it for itself. */
static bool interrupt(ferry_loop *loop, const struct worker *worker) {
    if (!ferry__os_interrupt(&worker->thread, worker->pool->interrupt)) return false;
    loop->stats.interrupts++;
    return true;
}

/* What the worker is at is to end. Under the lock. */
static void worker_stop(ferry_loop *loop, struct worker *worker) {
    if (worker->pool->interrupt == 0 || !can_interrupt(worker->at) ||
        atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
        return;
    }
    atomic_store_explicit(&worker->stop, true, memory_order_relaxed);
    if (!interrupt(loop, worker)) return;
    uint64_t again_at = ferry__time_add(loop->now, INTERRUPT_FIRST_NS);
    loop->interrupt_ns = INTERRUPT_FIRST_NS;
    if (again_at < loop->interrupt_at) loop->interrupt_at = again_at;
}

void ferry__work_interrupt(ferry_loop *loop) {
    struct ferry__workers *pool = loop->workers[WORK_FILES];
    bool some = false;
    ferry__os_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->threads; i++) {
        struct worker *worker = &pool->worker[i];
        if (worker->serves == loop && worker->at != NULL &&
            atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
            some |= interrupt(loop, worker);
        }
    }
    ferry__os_unlock(&pool->lock);
    loop->interrupt_ns *= 2;
    if (loop->interrupt_ns > INTERRUPT_MOST_NS) loop->interrupt_ns = INTERRUPT_MOST_NS;
    loop->interrupt_at = some ? ferry__time_add(loop->now, loop->interrupt_ns) : UINT64_MAX;
}

bool ferry__work_cancel(ferry_loop *loop, ferry_op *op) {
    struct ferry__workers *pool = loop->workers[ferry__work_class(op)];
    ferry__os_lock(&pool->lock);
    ferry_op *before = NULL, *queued = pool->first;
    for (; queued != NULL && queued != op; queued = queued->link.next) before = queued;
    if (queued != NULL) queue_take(pool, before);
    for (uint32_t i = 0; queued == NULL && i < pool->threads; i++) {
        if (pool->worker[i].at == op) worker_stop(loop, &pool->worker[i]);
    }
    ferry__os_unlock(&pool->lock);
    if (queued == NULL) return false;
    ferry__work_back(loop, op);
    return true;
}

static bool is_wanted(const ferry_op *op, ferry_fd fd) {
    return op->state != OP_OWN && op->code != FERRY_OP_CLOSE &&
           (fd == FERRY_FD_NONE || ferry__op_uses(op, fd));
}

static void stop_any(ferry_loop *loop, struct ferry__workers *pool, ferry_fd fd) {
    for (uint32_t i = 0; i < pool->threads; i++) {
        struct worker *worker = &pool->worker[i];
        if (worker->serves != loop || worker->at == NULL || !is_wanted(worker->at, fd)) continue;
        if (can_interrupt(worker->at) && ferry__op_stopped(worker->at) == 0) {
            worker->at->bits |= BIT_CANCEL;
        }
        worker_stop(loop, worker);
    }
}

static bool cancel_any(ferry_loop *loop, struct ferry__workers *pool, ferry_fd fd) {
    ferry__os_lock(&pool->lock);
    ferry_op *before = NULL, *op = pool->first;
    while (op != NULL && !(loop_of(op) == loop && is_wanted(op, fd))) {
        before = op;
        op = op->link.next;
    }
    if (op != NULL) queue_take(pool, before);
    if (op == NULL) stop_any(loop, pool, fd);
    ferry__os_unlock(&pool->lock);
    if (op == NULL) return false;
    work_back(loop, pool->class);
    ferry__op_end(loop, op, FERRY_ECANCELED, 0);
    return true;
}

bool ferry__work_cancel_any(ferry_loop *loop, ferry_fd fd) {
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        if (loop->work_out[class] > 0 && cancel_any(loop, loop->workers[class], fd)) return true;
    }
    return false;
}

/* ---- For those who look ------------------------------------------------------------------ */

/* A fork may have left the lock taken, by a thread that is not here. */
static struct ferry__workers *pool_here(const ferry_loop *loop, unsigned class) {
    struct ferry__workers *pool = loop->workers[class];
    return pool != NULL && pool->fork_count == ferry__os_fork_count ? pool : NULL;
}

void ferry__work_lock(const ferry_loop *loop) {
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        if (pool_here(loop, class) != NULL) ferry__os_lock(&loop->workers[class]->lock);
    }
}

void ferry__work_unlock(const ferry_loop *loop) {
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        if (pool_here(loop, class) != NULL) ferry__os_unlock(&loop->workers[class]->lock);
    }
}

static void pool_find(const ferry_loop *loop, const struct ferry__workers *pool,
                      struct ferry__found *found) {
    for (ferry_op *op = pool->first; op != NULL; op = op->link.next) {
        if (loop_of(op) == loop && op->state != OP_OWN) {
            ferry__found_add(found, op, "waiting for a worker");
        }
    }
    for (uint32_t i = 0; i < pool->threads; i++) {
        ferry_op *op = pool->worker[i].at;
        if (op != NULL && pool->worker[i].serves == loop && op->state != OP_OWN) {
            ferry__found_add(found, op, "with a worker");
        }
    }
}

void ferry__work_find(const ferry_loop *loop, struct ferry__found *found) {
    for (unsigned class = 0; class < WORK_CLASSES; class ++) {
        if (pool_here(loop, class) != NULL) pool_find(loop, loop->workers[class], found);
    }
}

ferry_worker_stats ferry__work_load(const ferry_loop *loop, enum ferry__work_class class) {
    ferry_worker_stats load = {.in_loop = loop->work_in_loop[class]};
    struct ferry__workers *pool = pool_here(loop, class);
    if (pool == NULL) return load;
    ferry__os_lock(&pool->lock);
    load.queued = pool->queued;
    load.threads = pool->threads;
    for (uint32_t i = 0; i < pool->threads; i++) load.busy += pool->worker[i].at != NULL;
    ferry__os_unlock(&pool->lock);
    return load;
}
