/* trouble_shared.c - what must not spread: from one operation, descriptor or file to the next
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Sends that share a call ------------------------------------------------------------- */

static struct {
    ferry_loop *loop;
    ferry_fd fd;
    struct probe closes;
} ended;

/* What servers do when a receive fails. */
static void close_on_error(ferry_op *op) {
    probe_done(op);
    ferry_close(ended.loop, &ended.closes.op, ended.fd, 0, probe_done);
}

static void contract_07_close_after_a_reset_of_shared_sends(void **state) {
    (void)state;
    static char junk[65536];
    static struct probe send[5], recv;
    struct linger at_once = {1, 0};
    char byte;
    ferry_fd fds[2];
    memset(&ended, 0, sizeof ended);
    ended.loop = test_loop();
    tcp_pair(ended.loop, fds);
    ended.fd = fds[0];
    plain_stuff(fds[0]);
    ferry_recv(ended.loop, &recv.op, fds[0], &byte, 1, 0, close_on_error);
    for (int i = 0; i < 5; i++) {
        ferry_send(ended.loop, &send[i].op, fds[0], junk, 1000, 0, probe_done);
    }
    run_for(ended.loop, 20 * MS);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close_far(fds[1]);
    probe_wait(ended.loop, &recv);
    assert_true(recv.result < 0);
    probe_wait(ended.loop, &ended.closes);
    probe_check(&ended.closes, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(send[i].finals, 1);
        assert_true(send[i].result < 0);
    }
    finish(ended.loop);
}

static void contract_09_bad_memory_is_one_sends_own(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p[3];
    char in[32] = "";
    ferry_fd fds[2];
    void *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(bad != MAP_FAILED);
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    ferry_send(loop, &p[0].op, fds[0], "before", 6, 0, probe_done);
    ferry_send(loop, &p[1].op, fds[0], bad, 10, 0, probe_done);
    ferry_send(loop, &p[2].op, fds[0], "behind", 6, 0, probe_done);
    expect_all(loop, &p[0], 6, 6, 0);
    expect_all(loop, &p[1], FERRY_EFAULT, 0, 0);
    expect_all(loop, &p[2], 6, 6, 0);
    far_expect(loop, fds[1], in, 12);
    assert_string_equal(in, "beforebehind");
    assert_int_equal(munmap(bad, 4096), 0);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

static void contract_09_a_cancelled_connect_spares_what_was_before(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe send[2] = {{.calls = 0}}, connects = {.calls = 0};
    struct probe recv[2] = {{.calls = 0}}, after = {.calls = 0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    ferry_addr addr = {.len = 0};
    char byte;
    ferry_fd fd = plain_socket(AF_INET, SOCK_DGRAM);
    ferry_fd far = plain_socket(AF_INET, SOCK_DGRAM);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(far, (struct sockaddr *)(void *)&in, sizeof in), 0);
    assert_int_equal(getsockname(far, (struct sockaddr *)(void *)&in, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&in, sizeof in), 0);
    addr.len = sizeof in;
    memcpy(addr.data.bytes, &in, sizeof in);
    for (int i = 0; i < 2; i++) {
        ferry_send(loop, &send[i].op, fd, "x", 1, 0, probe_done);
        ferry_recv(loop, &recv[i].op, fd, &byte, 1, 0, probe_done);
    }
    ferry_connect(loop, &connects.op, fd, &addr, 0, probe_done);
    ferry_send(loop, &after.op, fd, "x", 1, 0, probe_done);
    ferry_cancel(loop, &connects.op);
    expect(loop, &connects, FERRY_ECANCELED);
    expect(loop, &after, FERRY_ECANCELED);
    for (int i = 0; i < 2; i++) expect(loop, &send[i], 1);
    ferry_cancel_fd(loop, fd);
    for (int i = 0; i < 2; i++) expect(loop, &recv[i], FERRY_ECANCELED);
    close_near(loop, fd);
    close_far(far);
    finish(loop);
}

/* ---- Descriptors and files --------------------------------------------------------------- */

static void ops_a_failed_listen_leaves_the_number_alone(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    struct probe p = {.calls = 0};
    ferry_addr addr;
    ferry_fd taken = tcp_listener(&addr), fd = 77;
    char in[4];
    assert_int_equal(ferry_listen(loop, &fd, &addr, 0), FERRY_EADDRINUSE);
    assert_int_equal(fd, FERRY_FD_NONE);
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    ferry_read(loop, &p.op, file, in, 4, 0, 0, probe_done);
    expect_all(loop, &p, 4, 4, 0);
    assert_memory_equal(in, "data", 4);
    close_near(loop, file);
    close_far(taken);
    finish(loop);
}

/* More pieces of nothing than one call takes come before those that count. */
static void trouble_vectors_begin_with_nothing(void **state) {
    (void)state;
    enum { EMPTY = 3000 };
    static ferry_vec vecs[EMPTY + 1];
    static char out[] = "bytes", in[6];
    ferry_loop *loop = test_loop();
    struct probe p[4];
    ferry_fd fds[2], file = make_file(temp_path("file"), "", 0);
    memset(p, 0, sizeof p);
    tcp_pair(loop, fds);
    vecs[EMPTY] = (ferry_vec)VEC(out, 5);
    ferry_writev(loop, &p[0].op, file, vecs, EMPTY + 1, 0, 0, probe_done);
    expect_all(loop, &p[0], 5, 5, 0);
    ferry_sendv(loop, &p[1].op, fds[0], vecs, EMPTY + 1, 0, probe_done);
    expect_all(loop, &p[1], 5, 5, 0);
    vecs[EMPTY] = (ferry_vec)VEC(in, 5);
    ferry_readv(loop, &p[2].op, file, vecs, EMPTY + 1, 0, 0, probe_done);
    expect_all(loop, &p[2], 5, 5, 0);
    assert_string_equal(in, "bytes");
    memset(in, 0, sizeof in);
    ferry_recvv(loop, &p[3].op, fds[1], vecs, EMPTY + 1, 0, probe_done);
    expect_all(loop, &p[3], 5, 5, 0);
    assert_string_equal(in, "bytes");
    close_near(loop, file);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

static int64_t work_sleeps(void *arg) {
    (void)arg;
    sleep_ns(500 * MS);
    return 0;
}

/* Some systems truncate on a worker: what waits for one ends with its descriptor. */
static void contract_07_close_does_not_wait_for_workers(void **state) {
    (void)state;
    ferry_loop *loop = stage_loop(); /* with one worker */
    struct probe work = {.calls = 0}, truncates = {.calls = 0}, closes = {.calls = 0};
    ferry_fd file = make_file(temp_path("file"), "data", 4);
    ferry_work(loop, &work.op, work_sleeps, NULL, 0, probe_done);
    run_for(loop, 10 * MS);
    ferry_truncate(loop, &truncates.op, file, 100, 0, probe_done);
    ferry_close(loop, &closes.op, file, 0, probe_done);
    expect(loop, &closes, 0);
    assert_int_equal(truncates.finals, 1);
    assert_true(truncates.result == 0 || truncates.result == FERRY_ECANCELED);
    assert_int_equal(work.calls, 0);
    expect(loop, &work, 0);
    finish(loop);
}

static void trouble_many_fifos_hold_up_no_file(void **state) {
    (void)state;
    enum { FIFOS = 100 };
    static struct probe open[FIFOS];
    static char path[FIFOS][320];
    ferry_loop *loop = test_loop();
    struct probe other = {.calls = 0};
    for (int i = 0; i < FIFOS; i++) {
        char name[16];
        snprintf(name, sizeof name, "fifo%d", i);
        snprintf(path[i], sizeof path[i], "%s", temp_path(name));
        assert_int_equal(mkfifo(path[i], 0600), 0);
        ferry_open(loop, &open[i].op, path[i], FERRY_OPEN_READ, 0, 0, probe_done);
    }
    run_for(loop, 5 * MS);
    ferry_open(loop, &other.op, "/dev/null", FERRY_OPEN_READ, 0, 0, probe_done);
    probe_wait(loop, &other);
    assert_true(other.result >= 0);
    for (int i = 0; i < FIFOS; i++) assert_int_equal(open[i].calls, 0);
    close_near(loop, (ferry_fd)other.result);
    for (int i = 0; i < FIFOS; i++) ferry_cancel(loop, &open[i].op);
    for (int i = 0; i < FIFOS; i++) expect_all(loop, &open[i], FERRY_ECANCELED, 0, 0);
    finish(loop);
}

const struct contract_test trouble_shared_tests[] = {
    {"contract_07_close_after_a_reset_of_shared_sends",
     contract_07_close_after_a_reset_of_shared_sends, 0},
    {"contract_09_bad_memory_is_one_sends_own", contract_09_bad_memory_is_one_sends_own, 0},
    {"contract_09_a_cancelled_connect_spares_what_was_before",
     contract_09_a_cancelled_connect_spares_what_was_before, 0},
    {"ops_a_failed_listen_leaves_the_number_alone", ops_a_failed_listen_leaves_the_number_alone, 0},
    {"trouble_vectors_begin_with_nothing", trouble_vectors_begin_with_nothing, 0},
    {"contract_07_close_does_not_wait_for_workers", contract_07_close_does_not_wait_for_workers, 0},
    {"trouble_many_fifos_hold_up_no_file", trouble_many_fifos_hold_up_no_file, 60},
    {NULL, NULL, 0}};
