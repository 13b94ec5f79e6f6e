/* names.c - host names: threads of their own that ask the system, so that files and the user's work
 * never wait behind a name server, nor names behind them.
 *
 * The system's call can be neither interrupted nor told to forget about it, and may take half a
 * minute. So a thread works on memory of its own: it takes the names along, and what it found is
 * copied to the caller's under the lock, unless the operation was taken back before. A lookup that
 * was cancelled, timed out or drained thus ends at once; its thread is left to itself until the
 * system returns. Such a thread does not count against the number of those that may work, so that a
 * dead name server does not shut out the others, but there is a limit to them all (SLOTS): at it,
 * lookups wait.
 *
 * One set of threads per process, kept by the loops that have resolved something. Threads that have
 * had nothing to do for a while end, and so do all with the last of those loops; but one that
 * is at an abandoned lookup cannot. It is detached, and it alone keeps the set's memory then.
 *
 * All is under the process's lock, which is held over a fork. A child starts with a new set.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define SLOTS 64 /* threads at most, those at abandoned lookups included */

/* op->more: where a lookup is. From SLOT_0 on: with that thread. */
enum { AT_DONE, AT_QUEUE, AT_SLOT_0 };

enum slot_state {
    SLOT_FREE,
    SLOT_IDLE,    /* waits for a lookup, or is about to look for one */
    SLOT_LOOKING, /* is at one */
    SLOT_ENDING,  /* was told to end; who told it joins it */
    SLOT_ENDED    /* has ended by itself; whoever comes by joins it */
};

struct resolver {
    struct names *names;
    enum slot_state state;
    bool detached; /* left over by the last loop of its time */
    ferry_op *op;  /* NULL: its lookup is abandoned */
    ferry_loop *loop;
    struct ferry__thread thread;
    struct ferry__lookup lookup;
};

struct names {
    struct ferry__signal has_work;
    struct ferry__list queue; /* OP_LOOKUP; op->transferred: the loop */
    uint32_t queued;          /* its length */
    uint32_t users;           /* loops */
    uint32_t threads;         /* idle or looking, not detached */
    uint32_t threads_max;     /* of those that are not at abandoned lookups */
    uint32_t idle, abandoned; /* of the threads */
    uint32_t detached;        /* besides them */
    uint32_t fork_count;      /* in which process its threads run */
    struct resolver slot[SLOTS];
};

static struct names *process_names;

uint64_t ferry__names_idle_ns = UINT64_C(10000000000);

static void lock(void) {
    ferry__os_lock(ferry__os_process_lock());
}

static void unlock(void) {
    ferry__os_unlock(ferry__os_process_lock());
}

/* ---- Threads ----------------------------------------------------------------------------- */

static void *resolver(void *arg);

/* They are past their last look at anything of ours. */
static void join_ended(struct names *names) {
    for (unsigned i = 0; i < SLOTS; i++) {
        if (names->slot[i].state != SLOT_ENDED) continue;
        ferry__os_thread_join(&names->slot[i].thread);
        names->slot[i].state = SLOT_FREE;
    }
}

static bool start_one(struct names *names) {
    join_ended(names);
    struct resolver *self = names->slot;
    while (self < names->slot + SLOTS && self->state != SLOT_FREE) self++;
    if (self == names->slot + SLOTS) return false;
    self->names = names;
    self->detached = false;
    self->op = NULL;
    if (ferry__os_thread_start(&self->thread, resolver, self) != 0) return false;
    self->state = SLOT_IDLE;
    names->threads++;
    names->idle++;
    return true;
}

static void start_missing(struct names *names) {
    while (names->queued > names->idle && names->threads - names->abandoned < names->threads_max &&
           start_one(names)) {
    }
}

/* Looks whether the last loop and the last thread are gone. */
static void free_unused(struct names *names) {
    if (names->users > 0 || names->detached > 0) return;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (names->slot[i].state != SLOT_FREE) return;
    }
    process_names = NULL;
    ferry__os_signal_end(&names->has_work);
    ferry__os_unreserve(names, sizeof *names);
}

/* ---- A thread's life: all but the asking under the lock ---------------------------------- */

/* Waits for a lookup. False: time to end. */
static bool finds_work(struct names *names, struct resolver *self) {
    if (self->detached) { /* it goes, unless nobody else can be had for what waits */
        start_missing(names);
        return names->queue.head != NULL && names->threads == 0;
    }
    /* Back from an abandoned lookup, in whose stead another was started. */
    if (names->threads - names->abandoned > names->threads_max) return false;
    uint64_t until = ferry__time_add(ferry__os_clock(), ferry__names_idle_ns);
    bool waited = true;
    while (self->state == SLOT_IDLE && names->queue.head == NULL && waited) {
        waited = ferry__os_signal_wait_until(&names->has_work, ferry__os_process_lock(), until);
    }
    return self->state == SLOT_IDLE && names->queue.head != NULL;
}

/* Never past the room, although the length was checked at the submit. */
static bool text_copy(char *to, size_t max, const char *from) {
    size_t len = 0;
    while (from != NULL && len < max && from[len] != '\0') {
        to[len] = from[len];
        len++;
    }
    to[len] = '\0';
    return from != NULL;
}

static bool is_number(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
    }
    return true;
}

/* Whose it is, while it waits in the queue. */
static ferry_loop *loop_of(const ferry_op *op) {
    return (ferry_loop *)(uintptr_t)op->transferred;
}

static void take(struct names *names, struct resolver *self) {
    ferry_op *op = names->queue.head;
    const ferry_query *query = op->buf;
    ferry__list_remove(&names->queue, op);
    names->queued--;
    op->more = AT_SLOT_0 + (uint64_t)(self - names->slot);
    self->op = op;
    self->loop = loop_of(op);
    op->transferred = 0;
    if (!self->detached) names->idle--;
    self->state = SLOT_LOOKING;
    struct ferry__lookup *lookup = &self->lookup;
    lookup->has_host = text_copy(lookup->host, FERRY__HOST_MAX, query->host);
    lookup->has_service = text_copy(lookup->service, FERRY__SERVICE_MAX, query->service);
    lookup->service_is_number = query->service != NULL && is_number(query->service);
    lookup->wants_canonical = query->canonical != NULL;
    lookup->family = query->family;
    lookup->type = query->type;
    lookup->how = query->how;
}

/* Back with what was found. Here it is decided who was first, this or a cancel. */
static void hand_in(struct names *names, struct resolver *self, int error) {
    ferry_op *op = self->op;
    self->op = NULL;
    if (op != NULL) {
        ferry_addr *addrs = (ferry_addr *)(uintptr_t)op->offset;
        int64_t outcome = error;
        if (error == 0) {
            outcome = ferry__os_lookup_copy(&self->lookup, op->buf, addrs, (size_t)op->len,
                                            &op->transferred);
        }
        op->more = AT_DONE;
        op->link.prev = (ferry_op *)(intptr_t)outcome; /* an error, or a count: it is wide enough */
        ferry__inbox_push(self->loop, op);
    }
    if (self->detached) return;
    if (op == NULL) names->abandoned--;
    self->state = SLOT_IDLE;
    names->idle++;
}

static void end(struct names *names, struct resolver *self) {
    if (self->detached) {
        self->state = SLOT_FREE;
        names->detached--;
        start_missing(names); /* in its place, should there have been no other */
        free_unused(names);
    } else if (self->state == SLOT_IDLE) {
        names->idle--;
        names->threads--;
        join_ended(names); /* so that at most one lies about */
        self->state = SLOT_ENDED;
    }
}

static void *resolver(void *arg) {
    struct resolver *self = arg;
    struct names *names = self->names;
    lock();
    while (finds_work(names, self)) {
        take(names, self);
        unlock();
        int error = ferry__os_lookup(&self->lookup);
        lock();
        hand_in(names, self, error);
        ferry__os_lookup_free(&self->lookup);
    }
    end(names, self);
    unlock();
    return NULL;
}

/* ---- The set of threads, and who keeps it ------------------------------------------------ */

static struct names *names_make(void) {
    struct names *names = ferry__os_reserve(sizeof *names);
    if (names == NULL) return NULL;
    ferry__os_signal_init(&names->has_work);
    names->fork_count = ferry__os_fork_count;
    return names;
}

static bool names_join(ferry_loop *loop) {
    if (loop->resolves) return true;
    if (process_names != NULL && process_names->fork_count != ferry__os_fork_count) {
        /* The parent's: its threads are not here, and nobody else knows of it. */
        ferry__os_unreserve(process_names, sizeof *process_names);
        process_names = NULL;
    }
    if (process_names == NULL) process_names = names_make();
    if (process_names == NULL) return false;
    if (process_names->users++ == 0) {
        uint32_t max = loop->resolver_threads;
        process_names->threads_max = max < SLOTS ? max : SLOTS;
    }
    loop->resolves = true;
    return true;
}

/* The last loop has gone: idle threads are told to end, and returned as a mask of their slots;
 * those at abandoned lookups go their own way. */
static uint64_t send_away(struct names *names) {
    uint64_t told = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct resolver *self = &names->slot[i];
        if (self->state == SLOT_LOOKING && !self->detached) {
            FERRY__ASSERT(self->op == NULL);
            ferry__os_thread_detach(&self->thread);
            self->detached = true;
            names->detached++;
        } else if (self->state == SLOT_IDLE || self->state == SLOT_ENDED) {
            self->state = SLOT_ENDING;
            told |= UINT64_C(1) << i;
        }
    }
    names->threads = names->idle = names->abandoned = 0;
    ferry__os_signal_all(&names->has_work);
    return told;
}

void ferry__names_close(ferry_loop *loop) {
    if (!loop->resolves) return;
    loop->resolves = false;
    lock();
    struct names *names = process_names;
    if (--names->users == 0) {
        uint64_t told = send_away(names);
        unlock();
        for (unsigned i = 0; i < SLOTS; i++) {
            if (told >> i & 1) ferry__os_thread_join(&names->slot[i].thread);
        }
        lock();
        for (unsigned i = 0; i < SLOTS; i++) {
            if (told >> i & 1) names->slot[i].state = SLOT_FREE;
        }
        free_unused(names);
    }
    unlock();
}

/* ---- The loop's side --------------------------------------------------------------------- */

static int text_check(const char *text, size_t max) {
    if (text == NULL) return 0;
    if (*text == '\0') return FERRY_EINVAL;
    for (size_t len = 0; text[len] != '\0'; len++) {
        unsigned char c = (unsigned char)text[len];
        if (c <= ' ' || c == 0x7f) return FERRY_EINVAL;
        if (len == max) return FERRY_ENAMETOOLONG;
    }
    return 0;
}

/* Systems differ in what they make of numbers out of range, and of signs. */
static int service_check(const char *service) {
    int error = text_check(service, FERRY__SERVICE_MAX);
    if (service == NULL || error != 0) return error;
    if (*service == '+' || *service == '-') return FERRY_EINVAL;
    if (!is_number(service)) return 0;
    uint32_t port = 0;
    for (; *service != '\0'; service++) {
        port = port * 10 + (uint32_t)(*service - '0');
        if (port > 65535) return FERRY_ERANGE;
    }
    return 0;
}

int ferry__names_check(const ferry_op *op) {
    const ferry_query *query = op->buf;
    unsigned known = FERRY_RESOLVE_PASSIVE | FERRY_RESOLVE_NUMERIC | FERRY_RESOLVE_CONFIGURED;
    if (query == NULL || op->offset == 0) return FERRY_EFAULT;
    if (op->len == 0 || query->how & ~known) return FERRY_EINVAL;
    if ((unsigned)query->family > FERRY_UNIX || (unsigned)query->type > FERRY_SEQPACKET) {
        return FERRY_EINVAL;
    }
    if (query->family == FERRY_UNIX) return FERRY_EAFNOSUPPORT;
    if (query->host == NULL && query->service == NULL) return FERRY_EINVAL;
    if (query->canonical != NULL && query->canonical_len == 0) return FERRY_EINVAL;
    int error = text_check(query->host, FERRY__HOST_MAX);
    return error != 0 ? error : service_check(query->service);
}

/* An address in figures and a port: nobody needs to be asked, so it waits behind nobody. */
static bool is_address(const ferry_query *query, ferry_addr *addr) {
    char text[96];
    const char *host = query->host, *port = query->service != NULL ? query->service : "0";
    if (host == NULL || query->canonical != NULL || !is_number(port)) return false;
    bool six = strchr(host, ':') != NULL;
    if (!six && (*host < '0' || *host > '9')) return false;
    if (query->family != 0 && query->family != (six ? FERRY_INET6 : FERRY_INET)) return false;
    size_t host_len = strlen(host), port_len = strlen(port), at = 0;
    if (host_len + port_len + sizeof "[]:" > sizeof text) return false;
    if (six) text[at++] = '[';
    memcpy(text + at, host, host_len);
    at += host_len;
    if (six) text[at++] = ']';
    text[at++] = ':';
    memcpy(text + at, port, port_len + 1);
    return ferry_addr_parse(addr, text) == 0;
}

/* Under the lock, and not done yet: nobody knows of op afterwards. */
static void take_back(struct names *names, ferry_op *op) {
    if (op->more == AT_QUEUE) {
        ferry__list_remove(&names->queue, op);
        names->queued--;
        op->transferred = 0;
        return;
    }
    struct resolver *self = &names->slot[op->more - AT_SLOT_0];
    self->op = NULL;
    if (!self->detached) names->abandoned++;
}

/* 0, or why there is nobody to take it. */
static int enqueue(ferry_loop *loop, ferry_op *op) {
    if (!names_join(loop)) return FERRY_ENOMEM;
    struct names *names = process_names;
    op->more = AT_QUEUE;
    op->transferred = (uint64_t)(uintptr_t)loop;
    ferry__list_push(&names->queue, op);
    names->queued++;
    start_missing(names);
    if (names->threads + names->detached == 0) {
        take_back(names, op);
        return FERRY_EAGAIN;
    }
    if (names->queued > names->idle) loop->stats.names_waited++;
    ferry__os_signal_one(&names->has_work);
    return 0;
}

void ferry__names_submit(ferry_loop *loop, ferry_op *op) {
    ferry_addr addr;
    if (is_address(op->buf, &addr)) {
        *(ferry_addr *)(uintptr_t)op->offset = addr;
        op->transferred = 1;
        ferry__op_end(loop, op, 1, 0);
        return;
    }
    ferry__op_move(op, OP_LOOKUP);
    loop->lookups++;
    lock();
    int error = enqueue(loop, op);
    unlock();
    if (error == 0) return;
    loop->lookups--;
    ferry__op_end(loop, op, error, 0);
}

bool ferry__names_cancel(ferry_loop *loop, ferry_op *op) {
    lock();
    bool taken = op->more != AT_DONE;
    if (taken) {
        take_back(process_names, op);
        start_missing(process_names); /* a thread less for those that wait */
    }
    unlock();
    loop->lookups -= taken;
    return taken;
}

void ferry__names_cancel_all(ferry_loop *loop) {
    struct ferry__list taken = {NULL, NULL};
    if (loop->lookups == 0) return;
    lock();
    struct names *names = process_names;
    ferry_op *next;
    for (ferry_op *op = names->queue.head; op != NULL; op = next) {
        next = ferry__list_next(&names->queue, op);
        if (loop_of(op) != loop) continue;
        take_back(names, op);
        ferry__list_push(&taken, op);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        ferry_op *op = names->slot[i].op;
        if (op == NULL || names->slot[i].loop != loop) continue;
        take_back(names, op);
        ferry__list_push(&taken, op);
    }
    start_missing(names);
    unlock();
    while (taken.head != NULL) {
        ferry_op *op = taken.head;
        ferry__list_remove(&taken, op);
        loop->lookups--;
        ferry__op_end(loop, op, FERRY_ECANCELED, 0);
    }
}

int64_t ferry__names_outcome(const ferry_op *op) {
    return (int64_t)(intptr_t)op->link.prev;
}

void ferry__names_find(const ferry_loop *loop, struct ferry__found *found) {
    const struct ferry__list *queue = &process_names->queue;
    for (ferry_op *op = queue->head; op != NULL; op = ferry__list_next(queue, op)) {
        if (loop_of(op) == loop) ferry__found_add(found, op, "waiting for a resolver");
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct resolver *resolver = &process_names->slot[i];
        if (resolver->op != NULL && resolver->loop == loop) {
            ferry__found_add(found, resolver->op, "being looked up");
        }
    }
}

ferry_worker_stats ferry__names_load(const ferry_loop *loop) {
    ferry_worker_stats load = {.queued = 0};
    lock();
    const struct names *names = process_names;
    if (loop->resolves && names != NULL && names->fork_count == ferry__os_fork_count) {
        load.queued = names->queued;
        load.threads = (uint64_t)names->threads + names->detached;
        load.busy = load.threads - names->idle;
    }
    unlock();
    return load;
}

void ferry_resolve(ferry_loop *loop, ferry_op *op, const ferry_query *query, ferry_addr *addrs,
                   size_t max, unsigned flags, ferry_cb *cb) {
    ferry__fill(op, FERRY_OP_RESOLVE, FERRY_FD_NONE, query, max, flags, cb);
    op->offset = (uint64_t)(uintptr_t)addrs;
    ferry__submit(loop, op);
}
