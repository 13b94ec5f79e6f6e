/* Host names at the seam of system calls: a resolver that answers what and when a test says.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support.h"

#include "core.h"
#include "posix/calls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_HARD 64u

/* ---- A resolver of our own --------------------------------------------------------------- */

/* What it does is in the name: "slow" waits until it is let go, "error-N" gives that code, "many-N"
 * so many addresses; others give one. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;      /* the slow ones may go */
    unsigned let;   /* and so many of them may, one by one */
    unsigned in;    /* at the resolver now */
    unsigned asked; /* in all */
    unsigned made, freed;
    int threads_refused; /* to be started; -1: all */
    int system_error;
    char host[2000], service[100];
    struct addrinfo hints;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct addrinfo *address(unsigned number, struct addrinfo *next) {
    struct sockaddr_in *sin = calloc(1, sizeof *sin);
    struct addrinfo *made = calloc(1, sizeof *made);
    sin->sin_family = AF_INET;
    sin->sin_port = htons(80);
    sin->sin_addr.s_addr = htonl(0x0a000000u + number);
    made->ai_addr = (struct sockaddr *)(void *)sin;
    made->ai_addrlen = sizeof *sin;
    made->ai_canonname = number == 0 ? strdup("canonical.example") : NULL;
    made->ai_next = next;
    return made;
}

static void wait_if_slow(const char *host) {
    if (strncmp(host, "slow", 4) != 0) return;
    while (!fake.open && fake.let == 0) pthread_cond_wait(&fake.changed, &fake.lock);
    if (!fake.open) fake.let--;
}

static int fake_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                            struct addrinfo **found) {
    int code = 0;
    unsigned count = 1;
    if (host == NULL) host = "";
    pthread_mutex_lock(&fake.lock);
    snprintf(fake.host, sizeof fake.host, "%s", host);
    snprintf(fake.service, sizeof fake.service, "%s", service != NULL ? service : "");
    fake.hints = *hints;
    fake.in++;
    fake.asked++;
    pthread_cond_broadcast(&fake.changed);
    wait_if_slow(host);
    fake.in--;
    if (strncmp(host, "error", 5) == 0) code = atoi(host + 5);
    if (strncmp(host, "many", 4) == 0) count = (unsigned)atoi(host + 5);
    errno = fake.system_error;
    if (code == 0) fake.made++;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    for (*found = NULL; code == 0 && count > 0; count--) *found = address(count - 1, *found);
    return code;
}

static void fake_freeaddrinfo(struct addrinfo *found) {
    pthread_mutex_lock(&fake.lock);
    fake.freed++;
    pthread_mutex_unlock(&fake.lock);
    while (found != NULL) {
        struct addrinfo *next = found->ai_next;
        free(found->ai_addr);
        free(found->ai_canonname);
        free(found);
        found = next;
    }
}

static int fake_thread_create(pthread_t *thread, const pthread_attr_t *attributes,
                              void *(*fn)(void *), void *arg) {
    if (fake.threads_refused != 0) {
        if (fake.threads_refused > 0) fake.threads_refused--;
        return EAGAIN;
    }
    return pthread_create(thread, attributes, fn, arg);
}

static void idle_after(uint64_t ns) {
    ferry__os_lock(ferry__os_process_lock());
    ferry__names_idle_ns = ns;
    ferry__os_unlock(ferry__os_process_lock());
}

/* Those of the last test are all gone before the slow ones are slow again. */
static int begin(void **state) {
    (void)state;
    idle_after(10 * SECOND);
    pthread_mutex_lock(&fake.lock);
    fake.open = true;
    pthread_cond_broadcast(&fake.changed);
    while (fake.in > 0) pthread_cond_wait(&fake.changed, &fake.lock);
    fake.open = false;
    fake.let = fake.asked = fake.made = fake.freed = 0;
    fake.threads_refused = fake.system_error = 0;
    pthread_mutex_unlock(&fake.lock);
    return 0;
}

/* Waits until so many are at the resolver. */
static void until_in(unsigned count) {
    pthread_mutex_lock(&fake.lock);
    while (fake.in != count) pthread_cond_wait(&fake.changed, &fake.lock);
    pthread_mutex_unlock(&fake.lock);
}

static unsigned count_now(const unsigned *count) {
    pthread_mutex_lock(&fake.lock);
    unsigned now = *count;
    pthread_mutex_unlock(&fake.lock);
    return now;
}

static void all_are_freed(void) {
    assert_int_equal(count_now(&fake.made), count_now(&fake.freed));
}

static void let_go(unsigned count) { /* 0: all */
    pthread_mutex_lock(&fake.lock);
    fake.open = count == 0;
    fake.let += count;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static size_t threads_now(void) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[300], name[32] = "";
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL) continue; /* it ended just now */
        if (fgets(name, sizeof name, file) != NULL && strncmp(name, "iou-", 4) != 0) count++;
        fclose(file);
    }
    closedir(dir);
    return count;
}

/* One that was joined may be seen a moment longer. */
static void until_threads(size_t count) {
    uint64_t start = ferry__os_clock();
    while (threads_now() != count + THREADS_ALONE - 1) {
        ferry__os_sleep(MS);
        assert_true(ferry__os_clock() - start < 20 * SECOND);
    }
}

/* ---- Lookups ----------------------------------------------------------------------------- */

struct lookup {
    ferry_op op;
    ferry_query query;
    ferry_addr addrs[4];
    char host[32], canonical[32];
    int calls;
    int64_t result;
};

static void done(ferry_op *op) {
    struct lookup *l = ferry_container(op, struct lookup, op);
    l->calls++;
    l->result = op->result;
}

static void ask(ferry_loop *loop, struct lookup *l, const char *host) {
    memset(l, 0, sizeof *l);
    snprintf(l->host, sizeof l->host, "%s", host);
    l->query.host = l->host;
    ferry_resolve(loop, &l->op, &l->query, l->addrs, 4, 0, done);
}

static ferry_loop *loop_of(uint32_t threads) {
    ferry_config config = {.size = sizeof config, .resolver_threads = threads};
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    return loop;
}

static void run(ferry_loop *loop) {
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
}

static void close_loop(ferry_loop *loop) {
    assert_int_equal(ferry_loop_close(loop), 0);
}

static uint64_t waited(const ferry_loop *loop) {
    ferry_stats stats;
    ferry_loop_stats(loop, &stats, sizeof stats);
    return stats.names_waited;
}

static void expect(const struct lookup *l, int64_t result) {
    assert_int_equal(l->calls, 1);
    assert_int_equal(l->result, result);
}

/* ---- Errors ------------------------------------------------------------------------------ */

static const struct {
    int theirs, ours;
} table[] = {
    {EAI_NONAME, FERRY_ENONAME},      {EAI_NODATA, FERRY_ENONAME},
    {EAI_ADDRFAMILY, FERRY_ENONAME},  {EAI_AGAIN, FERRY_EAGAIN},
    {EAI_FAIL, FERRY_ENAMESERVER},    {EAI_SERVICE, FERRY_ENOSERVICE},
    {EAI_FAMILY, FERRY_EAFNOSUPPORT}, {EAI_SOCKTYPE, FERRY_EPROTOTYPE},
    {EAI_BADFLAGS, FERRY_EINVAL},     {EAI_MEMORY, FERRY_ENOMEM},
    {EAI_OVERFLOW, FERRY_EOVERFLOW},  {EAI_INPROGRESS, FERRY_EAGAIN},
    {EAI_CANCELED, FERRY_ECANCELED},  {EAI_NOTCANCELED, FERRY_EBUSY},
    {EAI_ALLDONE, FERRY_EALREADY},    {EAI_INTR, FERRY_EAGAIN},
    {EAI_IDN_ENCODE, FERRY_EILSEQ},   {-12345, FERRY_ENAMESERVER},
    {12345, FERRY_ENAMESERVER},       {INT_MIN, FERRY_ENAMESERVER},
};

/* Each arrives as the operation's result. */
static void errors_are_ours(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(1);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct lookup l;
        char host[32];
        snprintf(host, sizeof host, "error%d", table[i].theirs);
        fake.system_error = EIO; /* means something to one code alone */
        ask(loop, &l, host);
        run(loop);
        expect(&l, table[i].ours);
        assert_int_equal(l.op.transferred, 0);
    }
    all_are_freed();
    close_loop(loop);
}

static void errors_of_the_system(void **state) {
    (void)state;
    const int codes[] = {ENOMEM, EMFILE, EACCES, 4095};
    ferry_loop *loop = loop_of(1);
    char host[32];
    struct lookup l;
    snprintf(host, sizeof host, "error%d", EAI_SYSTEM);
    for (size_t i = 0; i < 4; i++) {
        fake.system_error = codes[i];
        ask(loop, &l, host);
        run(loop);
        expect(&l, ferry_error_from_system(codes[i]));
    }
    fake.system_error = 0; /* it says "see errno", and there is none */
    ask(loop, &l, host);
    run(loop);
    expect(&l, FERRY_ENAMESERVER);
    close_loop(loop);
}

/* ---- What is asked and what comes back ----------------------------------------------------- */

static void questions_arrive(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(0);
    static char longest[FERRY__HOST_MAX + 1];
    memset(longest, 'a', FERRY__HOST_MAX);
    struct lookup l = {.query = {.host = longest,
                                 .service = "https",
                                 .family = FERRY_INET6,
                                 .type = FERRY_DATAGRAM,
                                 .how = FERRY_RESOLVE_PASSIVE | FERRY_RESOLVE_CONFIGURED,
                                 .canonical = l.canonical,
                                 .canonical_len = sizeof l.canonical}};
    ferry_resolve(loop, &l.op, &l.query, l.addrs, 4, 0, done);
    run(loop);
    expect(&l, 1);
    assert_string_equal(fake.host, longest); /* whole */
    assert_string_equal(fake.service, "https");
    assert_int_equal(fake.hints.ai_family, AF_INET6);
    assert_int_equal(fake.hints.ai_socktype, SOCK_DGRAM);
    assert_int_equal(fake.hints.ai_flags, AI_PASSIVE | AI_ADDRCONFIG | AI_CANONNAME);
    assert_string_equal(l.canonical, "canonical.example");
    l.query = (ferry_query){.service = "65535", .how = FERRY_RESOLVE_NUMERIC};
    ferry_again(loop, &l.op);
    run(loop);
    assert_string_equal(fake.host, "");
    assert_string_equal(fake.service, "65535");
    assert_int_equal(fake.hints.ai_family, AF_UNSPEC);
    assert_int_equal(fake.hints.ai_socktype, SOCK_STREAM);
    assert_int_equal(fake.hints.ai_flags, AI_NUMERICHOST | AI_NUMERICSERV);
    close_loop(loop);
}

static void more_than_there_is_room_for(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(0);
    struct lookup l;
    char text[64];
    ask(loop, &l, "many-100");
    run(loop);
    expect(&l, 4);
    assert_int_equal(l.op.transferred, 100);
    for (unsigned i = 0; i < 4; i++) {
        char want[64];
        snprintf(want, sizeof want, "10.0.0.%u:80", i);
        ferry_addr_format(&l.addrs[i], text, sizeof text);
        assert_string_equal(text, want);
    }
    ask(loop, &l, "many-0"); /* a system that says "found" and gives none */
    run(loop);
    expect(&l, FERRY_ENONAME);
    close_loop(loop);
}

static void canonical_name_is_whole_or_not_there(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(0);
    struct lookup l = {.query = {.host = "name", .canonical = l.canonical, .canonical_len = 17}};
    memset(l.canonical, '#', sizeof l.canonical);
    ferry_resolve(loop, &l.op, &l.query, l.addrs, 4, 0, done);
    run(loop);
    expect(&l, FERRY_EOVERFLOW);
    assert_int_equal(l.op.transferred, 1);
    assert_int_equal(l.canonical[0], '#');
    l.query.canonical_len = 18;
    ferry_again(loop, &l.op);
    run(loop);
    assert_int_equal(l.result, 1);
    assert_string_equal(l.canonical, "canonical.example");
    close_loop(loop);
}

/* ---- Ending early ------------------------------------------------------------------------ */

/* The caller's memory is the caller's again at once, and whatever comes later does not touch it. */
static void cancelled_at_once(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(0);
    struct lookup l, before;
    ask(loop, &l, "slow");
    until_in(1);
    uint64_t start = ferry__os_clock();
    ferry_cancel(loop, &l.op);
    ferry_cancel(loop, &l.op);
    run(loop);
    assert_true(ferry__os_clock() - start < 5 * SECOND);
    expect(&l, FERRY_ECANCELED);
    memset(&l, 0xa5, sizeof l);
    before = l;
    let_go(0);
    until_in(0);
    while (count_now(&fake.freed) == 0) ferry__os_sleep(MS);
    assert_memory_equal(&l, &before, sizeof l);
    ask(loop, &l, "quick");
    run(loop);
    expect(&l, 1);
    close_loop(loop);
    until_threads(1);
}

static void deadline_and_drain_at_once(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(2);
    struct lookup l[10];
    memset(l, 0, sizeof l);
    l[0].op.deadline_ns = 20 * MS;
    l[0].query.host = "slow";
    uint64_t start = ferry__os_clock();
    ferry_resolve(loop, &l[0].op, &l[0].query, l[0].addrs, 4, 0, done);
    until_in(1);
    run(loop);
    expect(&l[0], FERRY_ETIMEDOUT);
    assert_true(ferry__os_clock() - start >= 20 * MS);
    assert_true(ferry__os_clock() - start < 5 * SECOND);
    for (size_t i = 0; i < 10; i++) ask(loop, &l[i], "slow");
    until_in(3); /* two, and the one from before */
    assert_int_equal(waited(loop), 8);
    start = ferry__os_clock();
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    assert_true(ferry__os_clock() - start < 5 * SECOND);
    for (size_t i = 0; i < 10; i++) expect(&l[i], FERRY_ECANCELED);
    close_loop(loop);
    assert_int_equal(count_now(&fake.asked), 3); /* those that waited never went */
    let_go(0);
    until_threads(1);
    all_are_freed();
}

/* One of two loops goes, the other's lookups go on. */
static void drained_beside_another_loop(void **state) {
    (void)state;
    ferry_loop *mine = loop_of(2), *other = loop_of(2);
    struct lookup a[4], b[4];
    for (size_t i = 0; i < 4; i++) {
        ask(mine, &a[i], "slow");
        ask(other, &b[i], "slow");
    }
    until_in(2);
    assert_int_equal(ferry_loop_drain(mine, 10 * SECOND), 0);
    close_loop(mine);
    for (size_t i = 0; i < 4; i++) expect(&a[i], FERRY_ECANCELED);
    let_go(0);
    run(other);
    for (size_t i = 0; i < 4; i++) expect(&b[i], 1);
    close_loop(other);
    until_threads(1);
    all_are_freed();
}

/* Cancels that race with answers: one completion each, and a result is one or the other. */
static void cancel_races_with_the_answer(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(4);
    unsigned cancelled = 0;
    for (unsigned round = 0; round < 2000; round++) {
        struct lookup l;
        ask(loop, &l, "quick");
        for (volatile unsigned i = 0; i < round % 500 * 100; i++) {
        }
        ferry_cancel(loop, &l.op);
        run(loop);
        assert_int_equal(l.calls, 1);
        assert_true(l.result == 1 || l.result == FERRY_ECANCELED);
        assert_int_equal(l.addrs[0].len != 0, l.result == 1);
        cancelled += l.result != 1;
    }
    print_message("%u of 2000 cancelled\n", cancelled);
    close_loop(loop);
    until_threads(1);
    all_are_freed();
}

/* ---- Threads ----------------------------------------------------------------------------- */

static void as_many_as_configured(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(3);
    struct lookup l[20];
    for (size_t i = 0; i < 20; i++) ask(loop, &l[i], "slow");
    until_in(3);
    ferry__os_sleep(20 * MS);
    assert_int_equal(count_now(&fake.in), 3);
    until_threads(4);
    assert_int_equal(waited(loop), 17);
    /* An address in figures waits behind nobody, nor does work. */
    struct lookup figures;
    ask(loop, &figures, "::1");
    assert_int_equal(ferry_run(loop, FERRY_RUN_ONCE), 1);
    expect(&figures, 1);
    let_go(0);
    run(loop);
    for (size_t i = 0; i < 20; i++) expect(&l[i], 1);
    until_threads(4);
    close_loop(loop);
    until_threads(1);
}

/* A dead name server does not shut out the others. */
static void abandoned_ones_are_replaced(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(2);
    struct lookup dead[10], alive;
    for (unsigned i = 0; i < 10; i++) {
        ask(loop, &dead[i], "slow");
        until_in(i + 1);
        ferry_cancel(loop, &dead[i].op);
    }
    ask(loop, &alive, "quick");
    run(loop);
    expect(&alive, 1);
    for (unsigned i = 0; i < 10; i++) expect(&dead[i], FERRY_ECANCELED);
    until_threads(12);
    /* Once they are back, those too many end. */
    let_go(0);
    until_threads(3);
    ask(loop, &alive, "quick");
    run(loop);
    expect(&alive, 1);
    close_loop(loop);
    until_threads(1);
}

/* One that waits takes over when the one before it is abandoned. */
static void cancelling_lets_the_next_go(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(1);
    struct lookup dead, next;
    ask(loop, &dead, "slow");
    until_in(1);
    ask(loop, &next, "quick");
    assert_int_equal(waited(loop), 1);
    ferry_cancel(loop, &dead.op);
    run(loop);
    expect(&dead, FERRY_ECANCELED);
    expect(&next, 1);
    let_go(0);
    close_loop(loop);
    until_threads(1);
}

/* At the limit of all threads lookups wait, and go on when the first is back. */
static void at_the_limit_they_wait(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(8);
    struct lookup dead, next;
    for (unsigned i = 0; i < THREADS_HARD; i++) {
        ask(loop, &dead, "slow");
        until_in(i + 1);
        ferry_cancel(loop, &dead.op);
        run(loop);
        expect(&dead, FERRY_ECANCELED);
    }
    until_threads(THREADS_HARD + 1);
    ask(loop, &next, "quick");
    for (int i = 0; i < 3; i++) assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(next.calls, 0);
    assert_int_equal(waited(loop), 1);
    let_go(1);
    run(loop);
    expect(&next, 1);
    close_loop(loop);
    /* The next life of it all begins with the 63 of the last. */
    loop = loop_of(8);
    ask(loop, &next, "quick");
    run(loop);
    expect(&next, 1);
    ask(loop, &dead, "slow");
    until_in(THREADS_HARD);
    ferry_cancel(loop, &dead.op);
    ask(loop, &next, "quick");
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    assert_int_equal(next.calls, 0);
    let_go(1);
    run(loop);
    expect(&next, 1);
    close_loop(loop);
    let_go(0);
    until_threads(1);
    all_are_freed();
}

/* All threads are left over, and no other can be had: one of them serves what waits. */
static void left_over_threads_serve_if_they_must(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(8);
    struct lookup dead, next;
    ask(loop, &dead, "slow");
    until_in(1);
    ferry_cancel(loop, &dead.op);
    run(loop);
    close_loop(loop);
    loop = loop_of(8);
    fake.threads_refused = -1;
    ask(loop, &next, "quick");
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    let_go(1);
    run(loop);
    expect(&next, 1);
    until_threads(1); /* and goes */
    fake.threads_refused = 0;
    ask(loop, &next, "quick");
    run(loop);
    expect(&next, 1);
    close_loop(loop);
    until_threads(1);
}

static void no_thread_to_be_had(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(8);
    struct lookup l[3];
    fake.threads_refused = 1;
    ask(loop, &l[0], "quick");
    run(loop);
    expect(&l[0], FERRY_EAGAIN);
    ask(loop, &l[0], "slow");
    until_in(1);
    fake.threads_refused = -1; /* the one that there is does them all */
    ask(loop, &l[1], "quick");
    ask(loop, &l[2], "quick");
    let_go(0);
    run(loop);
    for (size_t i = 0; i < 3; i++) expect(&l[i], 1);
    close_loop(loop);
    until_threads(1);
}

static void check_workers(const ferry_loop *loop, uint64_t queued, uint64_t busy,
                          uint64_t threads) {
    ferry_stats stats;
    ferry_loop_stats(loop, &stats, sizeof stats);
    assert_int_equal(stats.names.in_loop, 0);
    assert_int_equal(stats.names.queued, queued);
    assert_int_equal(stats.names.busy, busy);
    assert_int_equal(stats.names.threads, threads);
    assert_int_equal(stats.workers, 0); /* those are others */
}

static void counters_tell(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(2), *other = loop_of(1);
    struct lookup l[5];
    check_workers(loop, 0, 0, 0);
    for (int i = 0; i < 5; i++) ask(loop, &l[i], "slow");
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    until_in(2);
    check_workers(loop, 3, 2, 2);
    check_workers(other, 0, 0, 0); /* it has looked up nothing */
    let_go(0);
    run(loop);
    check_workers(loop, 0, 0, 2);
    close_loop(loop);
    close_loop(other);
}

static void idle_threads_end(void **state) {
    (void)state;
    ferry_loop *loop = loop_of(5);
    for (int round = 0; round < 3; round++) {
        struct lookup l[5];
        begin(state);
        idle_after(50 * MS);
        for (size_t i = 0; i < 5; i++) ask(loop, &l[i], "slow");
        until_in(5);
        until_threads(6);
        let_go(0);
        run(loop);
        for (size_t i = 0; i < 5; i++) expect(&l[i], 1);
        until_threads(1);
    }
    close_loop(loop);
}

/* ThreadSanitizer does not see that the kernel gives the memory of one ring to the next: it is to
 * take opening and closing for what orders them. */
static void rings(int (*order)(pthread_mutex_t *)) {
    static pthread_mutex_t memory = PTHREAD_MUTEX_INITIALIZER;
#ifdef TEST_TSAN
    order(&memory);
#else
    (void)order, (void)memory;
#endif
}

/* Threads that end by themselves, loops that close, others that open: all at once. */
static void *open_ask_close(void *arg) {
    (void)arg;
    for (int round = 0; round < 100; round++) {
        rings(pthread_mutex_lock);
        ferry_loop *loop = loop_of(4);
        rings(pthread_mutex_unlock);
        struct lookup l[6];
        for (size_t i = 0; i < 6; i++) ask(loop, &l[i], i % 3 == 2 ? "slow" : "quick");
        ferry_cancel(loop, &l[2].op);
        if (round % 2 == 0) {
            assert_int_equal(ferry_loop_drain(loop, 20 * SECOND), 0);
        } else {
            ferry_cancel(loop, &l[5].op);
            run(loop);
        }
        for (size_t i = 0; i < 6; i++) assert_int_equal(l[i].calls, 1);
        rings(pthread_mutex_lock);
        close_loop(loop);
        rings(pthread_mutex_unlock);
        let_go(1);
    }
    return NULL;
}

static void loops_come_and_go(void **state) {
    (void)state;
    idle_after(MS / 10);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_ask_close, NULL), 0);
    }
    for (size_t i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    let_go(0);
    until_threads(1);
    all_are_freed();
}

int main(void) {
    ferry__calls.getaddrinfo = fake_getaddrinfo;
    ferry__calls.freeaddrinfo = fake_freeaddrinfo;
    ferry__calls.thread_create = fake_thread_create;
#define TEST(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        TEST(errors_are_ours),
        TEST(errors_of_the_system),
        TEST(questions_arrive),
        TEST(more_than_there_is_room_for),
        TEST(canonical_name_is_whole_or_not_there),
        TEST(cancelled_at_once),
        TEST(deadline_and_drain_at_once),
        TEST(drained_beside_another_loop),
        TEST(cancel_races_with_the_answer),
        TEST(as_many_as_configured),
        TEST(abandoned_ones_are_replaced),
        TEST(cancelling_lets_the_next_go),
        TEST(at_the_limit_they_wait),
        TEST(left_over_threads_serve_if_they_must),
        TEST(no_thread_to_be_had),
        TEST(counters_tell),
        TEST(idle_threads_end),
        TEST(loops_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
