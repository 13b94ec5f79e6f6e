/* trouble_fifo.c - opening a FIFO waits for the other end, as open(2) does, and can be given up
 *
 * The system may keep a thread waiting for each such open, so the tests also look at what else must
 * go on meanwhile. That cancelling leaves no descriptor behind is the runner's check.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_fifo(char path[320], const char *name) {
    snprintf(path, 320, "%s", temp_path(name));
    assert_int_equal(mkfifo(path, 0600), 0);
}

/* Both directions wait, meet each other, and carry data. */
static void trouble_fifo_ends_meet(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320], buf[8] = "";
    struct probe in = {.calls = 0}, out = {.calls = 0}, write = {.calls = 0}, read = {.calls = 0};
    make_fifo(path, "fifo");
    ferry_open(loop, &in.op, path, FERRY_OPEN_READ, 0, 0, probe_done);
    run_for(loop, 20 * MS);
    assert_int_equal(in.calls, 0);
    ferry_open(loop, &out.op, path, FERRY_OPEN_WRITE, 0, 0, probe_done);
    probe_wait(loop, &in);
    probe_wait(loop, &out);
    assert_true(in.result >= 0 && out.result >= 0);
    ferry_fd reads = (ferry_fd)in.result, writes = (ferry_fd)out.result;
    assert_int_equal(fcntl(reads, F_GETFD), FD_CLOEXEC);
    ferry_write(loop, &write.op, writes, "through", 7, FERRY_CURRENT, 0, probe_done);
    ferry_read(loop, &read.op, reads, buf, 7, FERRY_CURRENT, FERRY_ALL, probe_done);
    expect_all(loop, &write, 7, 7, 0);
    expect_all(loop, &read, 7, 7, 0);
    assert_string_equal(buf, "through");
    close_near(loop, writes);
    struct probe end = {.calls = 0};
    ferry_read(loop, &end.op, reads, buf, 7, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &end, 0, 0, FERRY_EOF);
    close_near(loop, reads);
    finish(loop);
}

static void trouble_fifo_writer_waits_for_reader(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    struct probe out = {.calls = 0};
    make_fifo(path, "fifo");
    ferry_open(loop, &out.op, path, FERRY_OPEN_WRITE, 0, 0, probe_done);
    run_for(loop, 20 * MS);
    assert_int_equal(out.calls, 0);
    ferry_fd reads = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reads >= 0);
    probe_wait(loop, &out);
    assert_true(out.result >= 0);
    /* It is an ordinary, blocking descriptor, as open(2) gives. */
    assert_int_equal(fcntl((ferry_fd)out.result, F_GETFL) & O_NONBLOCK, 0);
    close_near(loop, (ferry_fd)out.result);
    close_far(reads);
    finish(loop);
}

static void trouble_fifo_both_ways_waits_for_nobody(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    struct probe p = {.calls = 0};
    make_fifo(path, "fifo");
    ferry_open(loop, &p.op, path, FERRY_OPEN_READ | FERRY_OPEN_WRITE, 0, 0, probe_done);
    probe_wait(loop, &p);
    assert_true(p.result >= 0);
    close_near(loop, (ferry_fd)p.result);
    finish(loop);
}

/* Many waiting opens must not use up what carries out the work of others. */
static void trouble_fifo_many_hold_up_nobody(void **state) {
    (void)state;
    enum { COUNT = 24 };
    ferry_loop *loop = test_loop();
    char path[COUNT][320], buf[4];
    struct probe open[COUNT], others[3];
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    ferry_file about;
    memset(open, 0, sizeof open);
    memset(others, 0, sizeof others);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "fifo%d", i);
        make_fifo(path[i], name);
        unsigned how = i % 2 ? FERRY_OPEN_WRITE : FERRY_OPEN_READ;
        ferry_open(loop, &open[i].op, path[i], how, 0, 0, probe_done);
    }
    run_for(loop, 10 * MS);
    ferry_read(loop, &others[0].op, file, buf, 4, 0, 0, probe_done);
    ferry_sync(loop, &others[1].op, file, 0, probe_done);
    ferry_stat(loop, &others[2].op, path[0], &about, 0, probe_done);
    expect_all(loop, &others[0], 4, 4, 0);
    expect_all(loop, &others[1], 0, 0, 0);
    expect_all(loop, &others[2], 0, 0, 0);
    assert_int_equal(about.type, FERRY_FILE_FIFO);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(open[i].calls, 0);
        ferry_cancel(loop, &open[i].op);
    }
    for (int i = 0; i < COUNT; i++) expect_all(loop, &open[i], FERRY_ECANCELED, 0, 0);
    close_near(loop, file);
    finish(loop);
}

/* A cancelled open does not hold the other end up, nor does it count as one. */
static void contract_05_fifo_cancelled_is_gone(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    struct probe in = {.calls = 0};
    make_fifo(path, "fifo");
    ferry_open(loop, &in.op, path, FERRY_OPEN_READ, 0, 0, probe_done);
    run_for(loop, 20 * MS);
    ferry_cancel(loop, &in.op);
    expect_all(loop, &in, FERRY_ECANCELED, 0, 0);
    assert_int_equal(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
    assert_int_equal(errno, ENXIO);
    finish(loop);
}

/* Cancel and the other end arrive together: a descriptor or FERRY_ECANCELED, never both or none. */
static void contract_05_fifo_cancel_race(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char path[320];
    make_fifo(path, "fifo");
    for (int i = 0; i < 40; i++) {
        struct probe in = {.calls = 0};
        ferry_open(loop, &in.op, path, FERRY_OPEN_READ, 0, 0, probe_done);
        if (i % 4 < 2) run_for(loop, MS);
        ferry_fd other = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        assert_true(other >= 0);
        if (i % 2) sleep_ns(MS / 20 * (uint64_t)i);
        ferry_cancel(loop, &in.op);
        probe_wait(loop, &in);
        assert_int_equal(in.calls, 1);
        if (in.result >= 0) close_near(loop, (ferry_fd)in.result);
        else assert_int_equal(in.result, FERRY_ECANCELED);
        close_far(other);
    }
    finish(loop);
}

const struct contract_test trouble_fifo_tests[] = {
    {"trouble_fifo_ends_meet", trouble_fifo_ends_meet, 0},
    {"trouble_fifo_writer_waits_for_reader", trouble_fifo_writer_waits_for_reader, 0},
    {"trouble_fifo_both_ways_waits_for_nobody", trouble_fifo_both_ways_waits_for_nobody, 0},
    {"trouble_fifo_many_hold_up_nobody", trouble_fifo_many_hold_up_nobody, 0},
    {"contract_05_fifo_cancelled_is_gone", contract_05_fifo_cancelled_is_gone, 0},
    {"contract_05_fifo_cancel_race", contract_05_fifo_cancel_race, 0},
    {NULL, NULL, 0},
};
