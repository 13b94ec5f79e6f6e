/* Rule 5, continued: a worker that waits in a system call leaves it when its operation is to end.
 *
 * A worker is where such operations are on backends that know readiness alone; a ring has threads
 * of the kernel's there. What comes of it is the same, so these tests run everywhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void plain_write(ferry_fd fd, const void *buf, size_t len) {
    while (write(fd, buf, len) < 0) assert_int_equal(errno, EINTR);
}

static ssize_t plain_read(ferry_fd fd, void *buf, size_t len) {
    ssize_t n;
    while ((n = read(fd, buf, len)) < 0) assert_int_equal(errno, EINTR);
    return n;
}

static int on_a_ring(void) {
    return strncmp(test_config(), "uring", 5) == 0;
}

/* ---- Ways to end ------------------------------------------------------------------------- */

enum way { CANCEL, CANCEL_FD, DEADLINE, CLOSE, DRAIN, WAYS };

/* Ends p, which waits, in one of the ways; the error with which it is to have ended. */
static int end_it(ferry_loop *loop, struct probe *p, enum way way, ferry_fd fd) {
    struct probe closed = {.calls = 0};
    switch (way) {
    case CANCEL: ferry_cancel(loop, &p->op); break;
    case CANCEL_FD: ferry_cancel_fd(loop, fd); break;
    case CLOSE:
        ferry_close(loop, &closed.op, fd, 0, probe_done);
        expect(loop, &closed, 0);
        break;
    case DRAIN: assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0); break;
    case DEADLINE:
    case WAYS: break;
    }
    probe_wait(loop, p);
    return way == DEADLINE ? FERRY_ETIMEDOUT : FERRY_ECANCELED;
}

/* A loop with one worker for files of its own, or one of those that share the process's. */
static ferry_loop *loop_for(enum way way) {
    return way % 2 ? stage_loop() : test_loop();
}

/* ---- Terminals --------------------------------------------------------------------------- */

static void contract_05_write_to_a_full_terminal(void **state) {
    (void)state;
    enum { SIZE = 5000 };
    static char out[SIZE], in[SIZE];
    fill(out, sizeof out, 3);
    for (enum way way = CANCEL; way < WAYS; way++) {
        ferry_fd near, far;
        int ended = 0;
        size_t got = 0, n;
        struct probe p = {.calls = 0};
        terminal_pair(&near, &far);
        size_t before = terminal_stuff(near, far);
        ferry_loop *loop = loop_for(way);
        if (way == DEADLINE) p.op.deadline_ns = 20 * MS;
        ferry_write(loop, &p.op, near, out, SIZE, FERRY_CURRENT, 0, probe_done);
        run_for(loop, 5 * MS);
        assert_true(p.calls == 0 || way == DEADLINE);
        /* Some of it goes: that is told. */
        for (size_t taken = 0; way != DEADLINE && taken < 2000; taken += n) {
            n = far_take(far, in, before < 2000 ? before : 2000, &ended);
            assert_true(n <= before);
            before -= n;
            run_for(loop, MS / 4);
        }
        run_for(loop, 5 * MS);
        assert_true(p.calls == 0 || way == DEADLINE);
        int error = end_it(loop, &p, way, near);
        probe_check(&p, error);
        assert_true(p.transferred < SIZE);
        while (before > 0) {
            before -= far_take(far, in, before < SIZE ? before : SIZE, &ended);
            assert_int_equal(ended, 0);
        }
        uint64_t start_ns = clock_ns();
        while (got < p.transferred) {
            got += far_take(far, in + got, SIZE - got, &ended);
            assert_true(clock_ns() - start_ns < 10 * SECOND);
        }
        assert_true(is_filled(in, got, 3));
        if (way != CLOSE) { /* nothing comes after it, either */
            sleep_ns(2 * MS);
            assert_int_equal(far_take(far, in, SIZE, &ended), 0);
            assert_int_equal(ended, 0);
            assert_int_equal(ferry_forget(loop, near), 0);
            close_far(near);
        }
        close_far(far);
        test_close(loop);
    }
}

/* ---- Opening a file that somebody has a lease on ------------------------------------------ */

#ifdef F_SETLEASE /* Linux */

/* open(2) waits until the lease is given back, for 45 s. */
static ferry_fd leased_file(void) {
    ferry_fd fd = temp_file("leased", 10, 0);
    signal(SIGIO, SIG_IGN); /* which tells that somebody wants it */
    assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    return fd;
}

static void contract_05_open_behind_a_lease(void **state) {
    (void)state;
    for (enum way way = CANCEL; way < WAYS; way++) {
        struct probe p = {.calls = 0};
        ferry_fd fd = leased_file(), dir;
        dir = open(temp_path("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(dir >= 0);
        ferry_loop *loop = loop_for(way);
        if (way == DEADLINE) p.op.deadline_ns = 20 * MS;
        ferry_open_at(loop, &p.op, dir, "leased", FERRY_OPEN_READ, 0, 0, probe_done);
        run_for(loop, 10 * MS);
        assert_true(p.calls == 0 || way == DEADLINE);
        uint64_t start_ns = clock_ns();
        int error = end_it(loop, &p, way, dir);
        probe_check(&p, error);
        assert_true(clock_ns() - start_ns < 5 * SECOND);
        close_far(fd);
        if (way != CLOSE) {
            assert_int_equal(ferry_forget(loop, dir), 0);
            close_far(dir);
        }
        test_close(loop);
        assert_int_equal(unlink(temp_path("leased")), 0);
    }
}

/* Left alone it goes on when the lease is given back. */
static void ops_open_waits_for_a_lease(void **state) {
    (void)state;
    struct probe p = {.calls = 0};
    ferry_fd fd = leased_file();
    ferry_loop *loop = test_loop();
    ferry_open(loop, &p.op, temp_path("leased"), FERRY_OPEN_READ, 0, 0, probe_done);
    run_for(loop, 10 * MS);
    assert_int_equal(p.calls, 0);
    assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    probe_wait(loop, &p);
    assert_true(p.result >= 0);
    close_near(loop, (ferry_fd)p.result);
    close_far(fd);
    finish(loop);
}

#endif

/* ---- A race ------------------------------------------------------------------------------- */

#define TRIES 10000
#define TIME_MAX (6 * SECOND)
#define WAIT_MAX_NS (4 * MS)

static struct {
    ferry_fd near, far, filler; /* the last: near once more, not waiting */
    ferry_fd asks[2], tells[2]; /* the reader is to make room, and has: pipes */
    size_t written, taken;
    uint64_t wait_ns; /* until the cancel */
    unsigned whole, cancelled;
} race;

/* Takes what there is each time that it is asked to. */
static void *reader_runs(void *arg) {
    char block[4096], byte;
    int ended = 0;
    (void)arg;
    while (plain_read(race.asks[0], &byte, 1) == 1) {
        race.taken += far_take(race.far, block, sizeof block, &ended);
        plain_write(race.tells[1], &byte, 1);
    }
    return NULL;
}

static void race_open(void) {
    memset(&race, 0, sizeof race);
    terminal_pair(&race.near, &race.far);
    set_nonblocking(race.far);
    race.written = terminal_stuff(race.near, race.far);
    race.filler = open(ptsname(race.far), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    assert_true(race.filler >= 0);
    plain_pipe(race.asks);
    plain_pipe(race.tells);
    race.wait_ns = MS / 10;
}

static void race_close(ferry_loop *loop) {
    assert_int_equal(ferry_forget(loop, race.near), 0);
    close_far(race.near);
    close_far(race.filler);
    close_far(race.far);
    for (int i = 0; i < 2; i++) close_far(race.tells[i]);
    close_far(race.asks[0]);
}

/* The wait before the cancel finds by itself where either may win. */
static void count_winner(const struct probe *p, uint64_t len) {
    race.written += p->transferred;
    if (p->result == (int64_t)len) {
        assert_int_equal(p->transferred, len);
        race.whole++;
        race.wait_ns -= race.wait_ns / 8;
    } else {
        probe_check(p, FERRY_ECANCELED);
        assert_true(p->transferred < len);
        race.cancelled++;
        race.wait_ns += race.wait_ns / 8 + 100;
        if (race.wait_ns > WAIT_MAX_NS) race.wait_ns = WAIT_MAX_NS;
    }
}

/* Room is made before the wait, or with the cancel. Another operation is carried out by the same
 * worker at once, and must not feel what was meant for the one before. */
static void race_once(ferry_loop *loop, int room_first) {
    static char out[1024], block[4096];
    struct probe p = {.calls = 0}, next = {.calls = 0};
    char byte = 0;
    ferry_write(loop, &p.op, race.near, out, sizeof out, FERRY_CURRENT, 0, probe_done);
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    if (room_first) plain_write(race.asks[1], &byte, 1);
    run_for(loop, race.wait_ns);
    if (!room_first) plain_write(race.asks[1], &byte, 1);
    ferry_cancel(loop, &p.op);
    ferry_access(loop, &next.op, FERRY_FD_NONE, "/", FERRY_MAY_READ, 0, probe_done);
    probe_wait(loop, &p);
    count_winner(&p, sizeof out);
    expect(loop, &next, 0);
    (void)plain_read(race.tells[0], &byte, 1);
    for (ssize_t n; (n = write(race.filler, block, sizeof block)) > 0;) race.written += (size_t)n;
}

/* Of a write that waits for room and a cancel one is first. All that was told to be written comes
 * out at the other end, and no more. */
static void contract_05_a_cancel_against_room_in_a_terminal(void **state) {
    (void)state;
    char block[4096];
    int ended = 0;
    pthread_t thread;
    race_open();
    ferry_loop *loop = stage_loop();
    assert_int_equal(pthread_create(&thread, NULL, reader_runs, NULL), 0);
    uint64_t start_ns = clock_ns();
    unsigned tries = 0;
    for (; tries < TRIES && clock_ns() - start_ns < TIME_MAX; tries++) race_once(loop, tries % 2);
    close_far(race.asks[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    start_ns = clock_ns();
    while (race.taken < race.written && clock_ns() - start_ns < 5 * SECOND) {
        race.taken += far_take(race.far, block, sizeof block, &ended);
    }
    sleep_ns(2 * MS);
    race.taken += far_take(race.far, block, sizeof block, &ended);
    assert_int_equal(race.taken, race.written);
    assert_true(tries >= 200);
    assert_in_range(race.whole, tries / 100, TRIES);
    assert_in_range(race.cancelled, tries / 100, TRIES);
    race_close(loop);
    finish(loop);
}

/* ---- Whose signal it is ------------------------------------------------------------------- */

static atomic_uint handled;

static void on_handled(int number) {
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static struct sigaction disposition(int number) {
    struct sigaction action;
    assert_int_equal(sigaction(number, NULL, &action), 0);
    return action;
}

static void handler_set(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    assert_int_equal(sigaction(number, &action, NULL), 0);
}

static ferry_loop *loop_with_signal(int number) {
    ferry_config config = {.size = 0};
    config.cancel_signal = number;
    return test_loop_with(&config);
}

/* A read that a worker waits in is cancelled: does it end before there is something to be read? */
static int is_read_interrupted(ferry_loop *loop) {
    ferry_fd fds[2];
    char byte = 'x';
    struct probe p = {.calls = 0};
    waiting_pipe(fds);
    ferry_read(loop, &p.op, fds[0], &byte, 1, FERRY_CURRENT, 0, probe_done);
    do run_for(loop, 5 * MS);
    while (loop_stats(loop).workers_busy == 0);
    assert_int_equal(p.calls, 0);
    ferry_cancel(loop, &p.op);
    uint64_t start_ns = clock_ns();
    while (p.calls == 0 && clock_ns() - start_ns < 400 * MS * TEST_STRETCH) run_for(loop, MS);
    int interrupted = p.calls == 1;
    if (!interrupted) plain_write(fds[1], &byte, 1);
    probe_wait(loop, &p);
    assert_int_equal(p.result, interrupted ? FERRY_ECANCELED : 1);
    assert_int_equal(ferry_forget(loop, fds[0]), 0);
    for (int i = 0; i < 2; i++) close_far(fds[i]);
    return interrupted;
}

/* A write that waits is cancelled: does it end before there is room? */
static int is_interrupted(ferry_loop *loop) {
    if (TEST_WINDOWS) return is_read_interrupted(loop);
    ferry_fd near, far;
    int ended = 0;
    char block[4096];
    struct probe p = {.calls = 0};
    terminal_pair(&near, &far);
    (void)terminal_stuff(near, far);
    ferry_write(loop, &p.op, near, "x", 1, FERRY_CURRENT, 0, probe_done);
    do run_for(loop, 5 * MS);
    while (!on_a_ring() && loop_stats(loop).workers_busy == 0);
    assert_int_equal(p.calls, 0);
    ferry_cancel(loop, &p.op);
    uint64_t start_ns = clock_ns();
    while (p.calls == 0 && clock_ns() - start_ns < 400 * MS * TEST_STRETCH) run_for(loop, MS);
    int interrupted = p.calls == 1;
    while (p.calls == 0) {
        (void)far_take(far, block, sizeof block, &ended);
        run_for(loop, MS);
    }
    assert_int_equal(p.result, interrupted ? FERRY_ECANCELED : 1);
    assert_int_equal(ferry_forget(loop, near), 0);
    close_far(near);
    close_far(far);
    return interrupted;
}

/* What the program has there, or puts there later, stays, and is not called. */
static void contract_05_a_handler_of_the_programs_stays(void **state) {
    (void)state;
    handler_set(SIGURG, on_handled);
    ferry_loop *loop = test_loop();
    assert_int_equal(is_interrupted(loop), on_a_ring());
    assert_int_equal(loop_stats(loop).interrupts, 0);
    assert_ptr_equal(disposition(SIGURG).sa_handler, on_handled);
    assert_true(disposition(SIGURG).sa_flags & SA_RESTART);
    test_close(loop);
    assert_ptr_equal(disposition(SIGURG).sa_handler, on_handled);
    handler_set(SIGURG, SIG_DFL);

    loop = test_loop();
    assert_int_equal(is_interrupted(loop), 1);
    handler_set(SIGURG, on_handled);
    assert_int_equal(is_interrupted(loop), on_a_ring());
    test_close(loop);
    assert_ptr_equal(disposition(SIGURG).sa_handler, on_handled);
    assert_int_equal(atomic_load(&handled), 0);
}

/* From the first operation that a worker has to the last loop's close; a child never has it. */
static void contract_05_what_the_signal_did_is_put_back(void **state) {
    (void)state;
    assert_ptr_equal(disposition(SIGURG).sa_handler, SIG_DFL);
    ferry_loop *first = test_loop(), *second = stage_loop();
    assert_ptr_equal(disposition(SIGURG).sa_handler, SIG_DFL);
    assert_int_equal(is_interrupted(first), 1);
    assert_int_equal(is_interrupted(second), 1);
    pid_t pid = test_fork();
    if (pid == 0) {
        int is_default = disposition(SIGURG).sa_handler == SIG_DFL;
        int closed = ferry_loop_close(first) == 0 && ferry_loop_close(second) == 0;
        _exit(is_default && closed && disposition(SIGURG).sa_handler == SIG_DFL ? 7 : 8);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    test_close(first);
    assert_int_equal(is_interrupted(second), 1);
    if (!on_a_ring()) assert_ptr_not_equal(disposition(SIGURG).sa_handler, SIG_DFL);
    test_close(second);
    assert_ptr_equal(disposition(SIGURG).sa_handler, SIG_DFL);
}

#ifndef TEST_TSAN
/* And one that has loops of its own has it anew. (Nothing for ThreadSanitizer, see
 * rule_11_processes.c.) */
static void contract_11_workers_of_a_child_are_interrupted(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    assert_int_equal(is_interrupted(loop), 1);
    pid_t pid = test_fork();
    if (pid == 0) {
        ferry_loop *own = test_loop();
        int interrupted = is_interrupted(own);
        int closed = ferry_loop_close(own) == 0 && ferry_loop_close(loop) == 0;
        _exit(interrupted && closed && disposition(SIGURG).sa_handler == SIG_DFL ? 7 : 8);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(is_interrupted(loop), 1);
    test_close(loop);
}
#endif

static void contract_05_the_signal_is_chosen(void **state) {
    (void)state;
    ferry_loop *loop = NULL;
    static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, 100000};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        ferry_config config = {.size = 0};
        config.cancel_signal = refused[i];
        assert_int_equal(test_open(&loop, &config), FERRY_EINVAL);
    }
    loop = loop_with_signal(-1);
    assert_int_equal(is_interrupted(loop), on_a_ring());
    assert_int_equal(loop_stats(loop).interrupts, 0);
    test_close(loop);
    /* One that would end the process where nobody handles it. */
    loop = loop_with_signal(SIGNAL_ONE);
    assert_int_equal(is_interrupted(loop), 1);
    if (!on_a_ring()) assert_true(loop_stats(loop).interrupts > 0);
    if (omits_on_windows("there is no signal in it on Windows")) {
        test_close(loop);
        return;
    }
    assert_ptr_equal(disposition(SIGURG).sa_handler, SIG_DFL);
    test_close(loop);
    assert_ptr_equal(disposition(SIGNAL_ONE).sa_handler, SIG_DFL);
}

/* Somebody waits for the same signal: deliveries are the program's alone, and are all told. */
static void contract_05_the_signal_is_waited_for(void **state) {
    (void)state;
    differs_on_windows("there is no signal in it on Windows");
    for (int first = 0; first < 2; first++) {
        struct probe p = {.calls = 0};
        ferry_loop *loop = test_loop();
        if (first) assert_int_equal(is_interrupted(loop), 1);
        ferry_signal(loop, &p.op, SIGURG, 0, probe_done);
        run_for(loop, MS);
        assert_int_equal(is_interrupted(loop), on_a_ring());
        assert_int_equal(p.calls, 0);
        assert_int_equal(raise(SIGURG), 0);
        expect(loop, &p, 1);
        assert_int_equal(is_interrupted(loop), 1); /* nobody waits any more */
        memset(&p, 0, sizeof p);
        ferry_signal(loop, &p.op, SIGURG, 0, probe_done);
        run_for(loop, MS);
        ferry_cancel(loop, &p.op);
        expect(loop, &p, FERRY_ECANCELED);
        test_close(loop);
        assert_ptr_equal(disposition(SIGURG).sa_handler, SIG_DFL);
    }
}

/* ---- Whose call it ends -------------------------------------------------------------------- */

static atomic_bool sleeps;

static int64_t sleep_whole(void *arg) {
    const struct timespec span = {.tv_nsec = 60000000};
    (void)arg;
    atomic_store(&sleeps, true);
    return nanosleep(&span, NULL) == 0 ? 1 : -errno;
}

/* The program's functions are not: neither by a cancel of theirs nor by those of others. */
static void contract_05_work_is_not_interrupted(void **state) {
    (void)state;
    struct probe work = {.calls = 0};
    ferry_loop *loop = stage_loop();
    ferry_work(loop, &work.op, sleep_whole, NULL, 0, probe_done);
    while (!atomic_load(&sleeps)) run_for(loop, MS / 4);
    ferry_cancel(loop, &work.op);
    while (work.calls == 0) assert_int_equal(is_interrupted(loop), 1);
    probe_check(&work, 1);
    finish(loop);
}

/* ---- What nothing ends ---------------------------------------------------------------------- */

/* A close that waits for a worker is carried out, whoever asks it to end. */
static void contract_05_a_close_in_a_queue_is_never_cancelled(void **state) {
    (void)state;
    for (enum way way = CANCEL; way < WAYS && !on_a_ring(); way++) {
        struct held_worker held;
        struct probe closed = {.calls = 0}, opened = {.calls = 0};
        ferry_loop *loop = stage_loop();
        ferry_open(loop, &opened.op, temp_path("file"), FERRY_OPEN_WRITE | FERRY_OPEN_CREATE, 0600,
                   0, probe_done);
        probe_wait(loop, &opened);
        ferry_fd fd = (ferry_fd)opened.result;
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "data", 4), 4); /* may have to be written back */
        worker_hold(loop, &held);
        if (way == DEADLINE) closed.op.deadline_ns = 5 * MS;
        ferry_close(loop, &closed.op, fd, 0, probe_done);
        run_for(loop, 10 * MS);
        if (way == CANCEL) ferry_cancel(loop, &closed.op);
        if (way == CANCEL_FD) ferry_cancel_fd(loop, fd);
        if (way == DRAIN) assert_int_equal(ferry_loop_drain(loop, 5 * MS), FERRY_EBUSY);
        sleep_ns(5 * MS);
        worker_let_go(&held);
        while (ferry_loop_drain(loop, SECOND) != 0) continue;
        probe_check(&closed, 0);
        assert_false(is_open(fd));
        worker_end(loop, &held);
        test_close(loop);
    }
}

const struct contract_test rule_05_worker_tests[] = {
    {"contract_05_write_to_a_full_terminal", contract_05_write_to_a_full_terminal, 0},
#ifdef F_SETLEASE
    {"contract_05_open_behind_a_lease", contract_05_open_behind_a_lease, 0},
    {"ops_open_waits_for_a_lease", ops_open_waits_for_a_lease, 0},
#endif
    {"contract_05_a_cancel_against_room_in_a_terminal",
     contract_05_a_cancel_against_room_in_a_terminal, 60},
    {"contract_05_a_handler_of_the_programs_stays", contract_05_a_handler_of_the_programs_stays, 0},
    {"contract_05_what_the_signal_did_is_put_back", contract_05_what_the_signal_did_is_put_back, 0},
#ifndef TEST_TSAN
    {"contract_11_workers_of_a_child_are_interrupted",
     contract_11_workers_of_a_child_are_interrupted, 0},
#endif
    {"contract_05_the_signal_is_chosen", contract_05_the_signal_is_chosen, 0},
    {"contract_05_the_signal_is_waited_for", contract_05_the_signal_is_waited_for, 0},
    {"contract_05_work_is_not_interrupted", contract_05_work_is_not_interrupted, 0},
    {"contract_05_a_close_in_a_queue_is_never_cancelled",
     contract_05_a_close_in_a_queue_is_never_cancelled, 0},
    {NULL, NULL, 0},
};
