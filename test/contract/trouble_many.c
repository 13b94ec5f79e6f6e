/* trouble_many.c - many descriptors of which few do something, one that does all, peers that die
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "portable.h"
#include "tables.h"
#include "trouble_stage.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Ten thousand, one in a hundred active ------------------------------------------------------
 */

/* Fewer on Windows: there it is TCP, and its ends are with the system for a while. */
#define MANY (TEST_WINDOWS ? 1000 : 10000)
#define ACTIVE 100
#define ROUNDS 20

static struct many {
    struct probe probe;
    ferry_fd fds[2];
    char byte;
} many[MANY];

/* 37 has no divisor in common with either number: no two of a round are the same, and they lie
 * apart. */
static int active_at(int round, int k) {
    return (7 * round + 37 * k) % MANY;
}

/* This program as a helper, which begins to run at once; what it is told stands in its environment,
 * where its input comes from is told, too. */
static pid_t helper_begin(const char *name, const ferry_addr *addr, ferry_fd input) {
    char text[400], config[96];
    snprintf(config, sizeof config, "%s", test_config());
    assert_true(ferry_addr_format(addr, text, sizeof text) < sizeof text);
    assert_int_equal(setenv("FERRY_TEST_PEER", text, 1), 0);
    const char *const argv[] = {"contract",    "--helper",       name, "--config", config,
                                "--directory", test_directory(), NULL};
    return plain_child(argv, (const ferry_fd[]){input, FERRY_FD_NONE, FERRY_FD_NONE});
}

/* A process of its own, for its descriptors: connects them all in order, and sends on the active
 * ones of each round that it reads the number of. */
static int helper_many_peers(void) {
    static ferry_fd fds[MANY];
    ferry_addr addr;
    unsigned char round;
    if (ferry_addr_parse(&addr, getenv("FERRY_TEST_PEER")) != 0) return 1;
    for (int i = 0; i < MANY; i++) {
        fds[i] = plain_socket(TEST_WINDOWS ? AF_INET : AF_UNIX, SOCK_STREAM);
        plain_connect(fds[i], &addr);
    }
    for (;;) {
        ssize_t n = read(0, &round, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n != 1) return 0;
        for (int k = 0; k < ACTIVE; k++) plain_send(fds[active_at(round, k)], &round, 1);
    }
}

/* Where they connect to: a Unix socket, of which a system may have as many as it likes, or TCP. */
static ferry_fd many_listener(ferry_addr *addr) {
    char text[400];
    if (TEST_WINDOWS) return tcp_listener(addr);
    snprintf(text, sizeof text, "unix:%s", temp_path("many"));
    assert_int_equal(ferry_addr_parse(addr, text), 0);
    ferry_fd listener = plain_socket(AF_UNIX, SOCK_STREAM);
    assert_int_equal(bind(listener, (const void *)addr->data.bytes, addr->len), 0);
    assert_int_equal(listen(listener, 100), 0);
    return listener;
}

static void trouble_many_of_which_few_are_active(void **state) {
    (void)state;
    ferry_addr addr;
    ferry_fd commands[2];
    int status = 1;
    if (set_fd_limit(MANY + 200) != 0) test_skip("10,200 descriptors are not allowed");
    memset(many, 0, sizeof many);
    ferry_fd listener = many_listener(&addr);
    plain_pipe(commands);
    pid_t pid = helper_begin("many_peers", &addr, commands[0]);
    close_far(commands[0]);
    ferry_loop *loop = test_loop();
    for (int i = 0; i < MANY; i++) {
        while ((many[i].fds[0] = accept(listener, NULL, NULL)) < 0) assert_int_equal(errno, EINTR);
        ferry_recv(loop, &many[i].probe.op, many[i].fds[0], &many[i].byte, 1, 0, probe_done);
    }
    for (unsigned char round = 0; round < ROUNDS; round++) {
        assert_int_equal(write(commands[1], &round, 1), 1);
        for (int k = 0; k < ACTIVE; k++) {
            struct many *active = &many[active_at(round, k)];
            expect_all(loop, &active->probe, 1, 1, 0);
            assert_int_equal(active->byte, round);
            active->probe.calls = active->probe.finals = 0;
            ferry_again(loop, &active->probe.op);
        }
    }
    for (int i = 0; i < MANY; i++) assert_int_equal(many[i].probe.calls, 0);
    close_far(commands[1]);
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_int_equal(status, 0);
    for (int i = 0; i < MANY; i++) expect_all(loop, &many[i].probe, 0, 0, FERRY_EOF);
    for (int i = 0; i < MANY; i++) close_near(loop, many[i].fds[0]);
    close_far(listener);
    finish(loop);
}

/* ---- One flooded, a hundred that wait
 * ------------------------------------------------------------
 */

#define WAITING 100
#define TURNS_MAX 4

static struct {
    ferry_loop *loop;
    ferry_op op;
    char bytes[4096];
    atomic_int stop, ended;
    uint64_t calls;
    unsigned turn, last; /* of the loop; the one in which the last of those that wait was called */
    int served;
} flood;

static void *flood_sends(void *arg) {
    static const char bytes[65536];
    const ferry_fd *fd = arg;
    while (!atomic_load(&flood.stop)) (void)!send(*fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    atomic_store(&flood.ended, 1);
    return NULL;
}

static void flood_came(ferry_op *op) {
    flood.calls++;
    if (op->result > 0) ferry_again(flood.loop, op);
}

static void waiting_came(ferry_op *op) {
    probe_done(op);
    flood.served++;
    flood.last = flood.turn;
}

/* Each of those that wait is served in one of the next turns, though another always has more. A
 * thread of the library's may need a while to see what has come: while it has not been there, the
 * turns go on with what it found before. So the best of some tries counts. */
static void contract_14_a_hundred_beside_a_flood(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    pthread_t thread;
    unsigned turns_least = UINT32_MAX;
    memset(&flood, 0, sizeof flood);
    flood.loop = loop;
    memset(many, 0, sizeof many);
    tcp_pair(loop, fds);
    for (int i = 0; i < WAITING; i++) {
        unix_pair(many[i].fds, SOCK_STREAM);
        ferry_recv(loop, &many[i].probe.op, many[i].fds[0], &many[i].byte, 1, 0, waiting_came);
    }
    ferry_recv(loop, &flood.op, fds[0], flood.bytes, sizeof flood.bytes, 0, flood_came);
    assert_int_equal(pthread_create(&thread, NULL, flood_sends, &fds[1]), 0);
    for (int try = 0; try < 50 && turns_least > TURNS_MAX; try++) {
        uint64_t before = flood.calls;
        while (flood.calls < before + 100) ferry_run(loop, FERRY_RUN_ONCE);
        for (int i = 0; i < WAITING; i++) plain_send(many[i].fds[1], "w", 1);
        flood.served = 0;
        for (flood.turn = 1; flood.served < WAITING; flood.turn++) {
            ferry_run(loop, FERRY_RUN_ONCE);
            assert_true(flood.turn < 1000000);
        }
        assert_true(flood.calls > before);
        if (flood.last < turns_least) turns_least = flood.last;
        for (int i = 0; i < WAITING; i++) {
            assert_int_equal(many[i].probe.result, 1);
            ferry_again(loop, &many[i].probe.op);
        }
    }
    if (turns_least > TURNS_MAX) fail_msg("the last was served in turn %u", turns_least);
    atomic_store(&flood.stop, 1);
    /* Wine does not reset who sends to a peer that shut down both ways: there he is read out. */
    while (is_wine() && !atomic_load(&flood.ended)) ferry_run(loop, FERRY_RUN_NOWAIT);
    assert_int_equal(shutdown(fds[0], SHUT_RDWR), 0);
    run_for(loop, MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < WAITING; i++) {
        close_near(loop, many[i].fds[0]);
        close_far(many[i].fds[1]);
    }
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- Peers that are killed
 * -----------------------------------------------------------------------
 */

#define TRANSFERS 8
#define TRANSFER_BYTES (8 * MIB)

/* A process of its own, which makes its connections, each told by its number. It sends a part of
 * what the one half of its peers wait for, takes a part of what the others send, and tells so by
 * one connection more. */
static int helper_peer_in_transfer(void) {
    static char bytes[100000];
    ferry_addr addr;
    ferry_fd fds[TRANSFERS + 1];
    if (ferry_addr_parse(&addr, getenv("FERRY_TEST_PEER")) != 0) return 1;
    for (int i = 0; i <= TRANSFERS; i++) {
        char number = (char)('0' + i);
        fds[i] = plain_socket(AF_INET, SOCK_STREAM);
        plain_connect(fds[i], &addr);
        plain_send(fds[i], &number, 1);
    }
    for (int i = 0; i < TRANSFERS; i++) {
        if (i % 2 == 0) plain_send(fds[i], bytes, sizeof bytes);
        else plain_recv(fds[i], bytes, 1000);
    }
    plain_send(fds[TRANSFERS], "x", 1);
    sleep_ns(60 * SECOND); /* to be killed in, long before */
    return 0;
}

/* The next connection that says this number. */
static ferry_fd accept_number(ferry_fd listener, char number) {
    for (;;) {
        char byte = 0;
        ferry_fd fd = plain_accept(listener);
        assert_true(fd >= 0);
        if (recv(fd, &byte, 1, 0) == 1 && byte == number) return fd;
        close_far(fd); /* somebody else's, who took the port for that of another */
    }
}

/* Its sockets go with it: who waits for the rest is told, whatever had come counts. */
static void trouble_peer_is_killed_in_transfer(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd fds[TRANSFERS + 1], listener = tcp_listener(&addr);
    struct probe p[TRANSFERS];
    char *bytes = malloc(TRANSFERS * TRANSFER_BYTES);
    int status = 0;
    assert_non_null(bytes);
    memset(bytes, 0, TRANSFERS * TRANSFER_BYTES);
    memset(p, 0, sizeof p);
    pid_t pid = helper_begin("peer_in_transfer", &addr, FERRY_FD_NONE);
    for (int i = 0; i <= TRANSFERS; i++) fds[i] = accept_number(listener, (char)('0' + i));
    for (size_t i = 0; i < TRANSFERS; i++) {
        char *at = bytes + i * TRANSFER_BYTES;
        if (i % 2 == 0) {
            ferry_recv(loop, &p[i].op, fds[i], at, TRANSFER_BYTES, FERRY_ALL, probe_done);
        } else {
            ferry_send(loop, &p[i].op, fds[i], at, TRANSFER_BYTES, 0, probe_done);
        }
    }
    char byte;
    uint64_t start_ns = clock_ns();
    while (plain_take(fds[TRANSFERS], &byte, 1) != 1) { /* the peer has done its part */
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
        run_for(loop, MS);
    }
    run_for(loop, 20 * MS);
    for (int i = 0; i < TRANSFERS; i++) assert_int_equal(p[i].calls, 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    probe_wait_all(loop, p, TRANSFERS);
    for (int i = 0; i < TRANSFERS; i++) {
        int ended = i % 2 == 0 && p[i].result == 100000;
        int reset = p[i].result == FERRY_ECONNRESET || p[i].result == FERRY_EPIPE;
        assert_int_equal(p[i].finals, 1);
        if (!ended && !reset) {
            fail_msg("transfer %d: result %lld, %llu bytes", i, (long long)p[i].result,
                     (unsigned long long)p[i].transferred);
        }
        assert_true(p[i].transferred < TRANSFER_BYTES);
    }
    for (int i = 0; i < TRANSFERS; i++) close_near(loop, fds[i]);
    close_far(fds[TRANSFERS]);
    close_far(listener);
    free(bytes);
    finish(loop);
}

/* ---- Nothing to do
 * -------------------------------------------------------------------------------
 */

#define OTHERS_MAX 16
#define IDLE_NS SECOND

static struct {
    ferry_loop *loop;
    struct probe posted;
    long others[OTHERS_MAX]; /* threads that were there before the loop */
    size_t other_count;
    uint64_t sleeps[2];
} idle;

static void *idle_count(void *arg) {
    (void)arg;
    sleep_ns(200 * MS); /* until all sleep */
    idle.sleeps[0] = count_sleeps(idle.others, idle.other_count);
    sleep_ns(IDLE_NS);
    idle.sleeps[1] = count_sleeps(idle.others, idle.other_count);
    if (ferry_post(idle.loop, &idle.posted.op, probe_done) != 0) abort();
    return NULL;
}

/* All wait, and nobody looks around meanwhile, neither the loop nor any thread of the library's:
 * who did would go to sleep again, and be counted. A machine that is busy may have put off the
 * going to sleep: once is enough. */
static void ops_idle_wakes_nobody(void **state) {
    (void)state;
    const struct itimerval never = {.it_value = {.tv_sec = 0}};
    memset(&idle, 0, sizeof idle);
    memset(many, 0, sizeof many);
    setitimer(ITIMER_REAL, &never, NULL); /* of the configuration with an alarm */
    idle.other_count = list_threads(idle.others, OTHERS_MAX);
    if (count_sleeps(idle.others, idle.other_count) == COUNT_UNKNOWN) {
        test_skip("threads are not told apart");
    }
    idle.loop = test_loop();
    for (int i = 0; i < WAITING; i++) {
        unix_pair(many[i].fds, SOCK_STREAM);
        ferry_recv(idle.loop, &many[i].probe.op, many[i].fds[0], &many[i].byte, 1, 0, probe_done);
    }
    run_for(idle.loop, 5 * MS);
    for (int try = 0; try == 0 || idle.sleeps[0] != idle.sleeps[1]; try++) {
        pthread_t thread;
        assert_true(try < 5);
        memset(&idle.posted, 0, sizeof idle.posted);
        assert_int_equal(pthread_create(&thread, NULL, idle_count, NULL), 0);
        while (idle.posted.finals == 0) ferry_run(idle.loop, FERRY_RUN_ONCE);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    for (int i = 0; i < WAITING; i++) {
        close_near(idle.loop, many[i].fds[0]);
        close_far(many[i].fds[1]);
    }
    finish(idle.loop);
}

const struct contract_helper trouble_many_helpers[] = {
    {"many_peers", helper_many_peers},
    {"peer_in_transfer", helper_peer_in_transfer},
    {NULL, NULL},
};

const struct contract_test trouble_many_tests[] = {
    {"trouble_many_of_which_few_are_active", trouble_many_of_which_few_are_active, 60},
    {"contract_14_a_hundred_beside_a_flood", contract_14_a_hundred_beside_a_flood, 60},
    {"trouble_peer_is_killed_in_transfer", trouble_peer_is_killed_in_transfer, 0},
    {"ops_idle_wakes_nobody", ops_idle_wakes_nobody, 60},
    {NULL, NULL, 0},
};
