/* trouble_recvmsg.c - messages that are wrong, peers that are gone, and operations that are ended
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"
#include "portable.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Bad input ------------------------------------------------------------------------- */

static void refused(ferry_loop *loop, ferry_fd fd, ferry_msg *msg, int64_t recv_error,
                    int64_t send_error) {
    struct probe recv = {.calls = 0}, send = {.calls = 0};
    ferry_sendmsg(loop, &send.op, fd, msg, 0, probe_done);
    expect_all(loop, &send, send_error, 0, 0);
    if (recv_error == 0) return;
    ferry_recvmsg(loop, &recv.op, fd, msg, 0, probe_done);
    expect_all(loop, &recv, recv_error, 0, 0);
}

static void trouble_message_bad_input(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    char data[8] = "data";
    uint64_t control[4] = {0};
    ferry_addr small = {.len = 1}, large = {.len = 129}, cut;
    const ferry_vec vec = VEC(data, 8), null = VEC(NULL, 8);
    const ferry_vec vast[2] = {VEC(data, SIZE_MAX / 2), VEC(data, SIZE_MAX / 2)};
    unix_pair(fds, SOCK_DGRAM);
    assert_int_equal(ferry_addr_parse(&cut, "127.0.0.1:1"), 0);
    cut.len = 8;
    ferry_msg none = {.vecs = NULL, .count = 1}, empty = {.vecs = &null, .count = 1};
    ferry_msg much = {.vecs = vast, .count = 2};
    refused(loop, fds[0], NULL, FERRY_EFAULT, FERRY_EFAULT);
    refused(loop, fds[0], &none, FERRY_EFAULT, FERRY_EFAULT);
    refused(loop, fds[0], &empty, FERRY_EFAULT, FERRY_EFAULT);
    if (sizeof vec.len == sizeof(size_t)) {
        refused(loop, fds[0], &much, FERRY_EINVAL, FERRY_EINVAL);
    }
    ferry_msg nowhere = {.vecs = &vec, .count = 1, .control_room = 32, .control_len = 32};
    refused(loop, fds[0], &nowhere, FERRY_EFAULT, FERRY_EFAULT);
    ferry_msg askew = {.vecs = &vec,
                       .count = 1,
                       .control = (char *)control + 4,
                       .control_room = 16,
                       .control_len = 16};
    refused(loop, fds[0], &askew, FERRY_EINVAL, FERRY_EINVAL);
    int sends = !omits_on_wine("Wine sends no control data");
    ferry_msg over = {
        .vecs = &vec, .count = 1, .control = control, .control_room = 16, .control_len = 24};
    if (sends) refused(loop, fds[0], &over, 0, FERRY_EINVAL);
    const ferry_msg garbage = {
        .vecs = &vec, .count = 1, .control = control, .control_room = 32, .control_len = 32};
    ferry_msg copy = garbage; /* zeros are no control data */
    if (sends) refused(loop, fds[0], &copy, 0, FERRY_EINVAL);
    ferry_addr *addrs[] = {&small, &large, &cut};
    for (int i = 0; i < 3; i++) {
        ferry_msg strange = {.vecs = &vec, .count = 1, .addr = addrs[i]};
        refused(loop, fds[0], &strange, 0, FERRY_EINVAL);
    }
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* Memory that is not there: the error, and the socket goes on. */
static void trouble_message_bad_memory(void **state) {
    (void)state;
    int sends = !omits_on_wine("Wine sends no control data");
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter out, in;
    void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(none != MAP_FAILED);
    unix_pair(fds, SOCK_DGRAM);
    letter_write(&out, "message");
    out.msg.control = none;
    out.msg.control_room = out.msg.control_len = 32;
    if (sends) letter_send(loop, &out, fds[0], 0);
    if (sends) expect(loop, &out.p, FERRY_EFAULT);
    letter_write(&out, "message");
    out.vecs[1].data = none;
    letter_send(loop, &out, fds[0], 0);
    expect(loop, &out.p, FERRY_EFAULT);
    letter_write(&out, "message");
    letter_blank(&in, 100);
    letter_pass(loop, &out, fds[0], &in, fds[1], "message");
    assert_int_equal(munmap(none, 4096), 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* A descriptor that is none is not passed, and nothing goes instead. */
static void trouble_message_of_bad_descriptor(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], sent[2] = {STDERR_FILENO, closed_fd()};
    struct letter out, in;
    unix_pair(fds, SOCK_STREAM);
    letter_write(&out, "bad");
    letter_enclose(&out, sent, 2);
    letter_send(loop, &out, fds[0], 0);
    expect_all(loop, &out.p, FERRY_EBADF, 0, 0);
    letter_write(&out, "good");
    letter_blank(&in, 100);
    letter_pass(loop, &out, fds[0], &in, fds[1], "good");
    assert_int_equal(in.msg.control_len, 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* On a stream there must be a byte that the control data goes with; it would be lost in silence. */
static void trouble_control_data_without_data(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int i = 0; i < 2; i++) {
        ferry_fd fds[2];
        ferry_control item;
        struct letter out, in;
        unix_pair(fds, types[i]);
        letter_write(&out, "");
        letter_enclose(&out, &fds[0], 1);
        letter_send(loop, &out, fds[0], 0);
        expect_all(loop, &out.p, i == 0 ? FERRY_EINVAL : 0, 0, 0);
        if (i == 1) {
            letter_blank(&in, 100);
            letter_recv(loop, &in, fds[1], 0);
            expect_all(loop, &in.p, 0, 0, 0);
            assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
            close_near(loop, item.fds[0]);
        }
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
    }
    finish(loop);
}

/* Values that the system does not take, and an address that leads nowhere. */
static void trouble_control_data_that_is_refused(void **state) {
    (void)state;
    differs_on_wine("Wine sends no control data");
    ferry_loop *loop = test_loop();
    ferry_addr addr, other;
    struct letter out;
    ferry_fd udp = udp_at(loop, "127.0.0.1:0", &addr), fds[2];
    unix_pair(fds, SOCK_DGRAM);
    letter_write(&out, "a header that is not to be had");
    out.addr = addr;
    const ferry_control none = {.kind = FERRY_CONTROL_HOPS, .family = FERRY_INET, .number = 0};
    assert_int_equal(ferry_control_add(&out.msg, &none), 0);
    letter_send(loop, &out, udp, 0);
    expect_all(loop, &out.p, FERRY_EINVAL, 0, 0);
    letter_write(&out, "credentials that are not ours");
    const ferry_control item = {.kind = FERRY_CONTROL_CREDENTIALS, .pid = INT32_MAX};
    assert_int_equal(ferry_control_add(&out.msg, &item), 0);
    letter_send(loop, &out, fds[0], 0);
    probe_wait(loop, &out.p);
    if (geteuid() != 0) assert_int_equal(out.p.result, FERRY_EPERM);
    else assert_true(out.p.result < 0); /* there is no such process */
    letter_write(&out, "an address where the socket has one");
    assert_int_equal(ferry_addr_parse(&other, "unix:/nowhere/at/all"), 0);
    out.addr = other;
    letter_send(loop, &out, fds[0], 0);
    probe_wait(loop, &out.p);
    assert_int_equal(out.p.result, FERRY_ENOENT);
    close_near(loop, udp);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- The peer is gone ------------------------------------------------------------------ */

/* The descriptor that was to be passed is not kept by anybody: its pipe ends. */
static void trouble_descriptors_to_a_peer_that_is_gone(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 2 + TEST_SEQPACKET; i++) {
        ferry_fd fds[2], pipe_fds[2];
        struct letter out;
        size_t before = count_fds();
        unix_pair(fds, types[i]);
        assert_int_equal(pipe(pipe_fds), 0);
        close_far(fds[1]);
        for (int again = 0; again < 2; again++) {
            letter_write(&out, "for nobody");
            letter_enclose(&out, &pipe_fds[1], 1);
            letter_send(loop, &out, fds[0], 0);
            probe_wait(loop, &out.p);
            assert_int_equal(out.p.transferred, 0);
            if (types[i] == SOCK_DGRAM) assert_int_equal(out.p.result, FERRY_ECONNREFUSED);
            else assert_true(out.p.result == FERRY_EPIPE || out.p.result == FERRY_ECONNRESET);
            if (types[i] == SOCK_DGRAM) break; /* the pair is none any more */
        }
        close_far(pipe_fds[1]);
        assert_int_equal(read(pipe_fds[0], &(char){0}, 1), 0);
        close_far(pipe_fds[0]);
        close_near(loop, fds[0]);
        assert_int_equal(count_fds(), before);
    }
    finish(loop);
}

/* On their way when both ends are closed, and sent from a full lane that is closed. */
static void trouble_descriptors_nobody_takes(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    for (int full = 0; full < 2; full++) {
        ferry_fd fds[2], pipe_fds[2];
        struct letter out;
        struct probe close = {.calls = 0};
        size_t before = count_fds();
        unix_pair(fds, SOCK_STREAM);
        assert_int_equal(pipe(pipe_fds), 0);
        if (full) plain_stuff(fds[0]);
        letter_write(&out, "on its way");
        letter_enclose(&out, &pipe_fds[1], 1);
        letter_send(loop, &out, fds[0], 0);
        run_for(loop, 5 * MS);
        assert_int_equal(out.p.calls, full ? 0 : 1);
        ferry_close(loop, &close.op, fds[0], 0, probe_done);
        expect(loop, &close, 0);
        probe_check(&out.p, full ? FERRY_ECANCELED : 10);
        close_far(fds[1]);
        close_far(pipe_fds[1]);
        assert_int_equal(read(pipe_fds[0], &(char){0}, 1), 0);
        close_far(pipe_fds[0]);
        assert_int_equal(count_fds(), before);
    }
    finish(loop);
}

static void trouble_recvmsg_reset(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter in, out;
    tcp_pair(loop, fds);
    letter_blank(&in, 100);
    letter_recv(loop, &in, fds[0], FERRY_ALL);
    run_for(loop, 2 * MS);
    reset_far(fds[1]);
    expect_all(loop, &in.p, FERRY_ECONNRESET, 0, 0);
    letter_write(&out, "too late");
    out.msg.addr = NULL;
    letter_send(loop, &out, fds[0], 0);
    expect_all(loop, &out.p, FERRY_EPIPE, 0, 0);
    close_near(loop, fds[0]);
    finish(loop);
}

/* ---- Broken streams -------------------------------------------------------------------- */

/* A message that was cut leaves a hole, after which nothing follows. */
static void contract_09_sendmsg_cut_short_breaks_the_stream(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    static char data[MIB];
    ferry_fd fds[2];
    struct letter out, behind, later;
    unix_pair(fds, SOCK_STREAM);
    letter_write(&out, "");
    out.vecs[0] = (ferry_vec)VEC(data, sizeof data);
    letter_write(&behind, "behind");
    letter_write(&later, "later");
    letter_send(loop, &out, fds[0], 0);
    letter_send(loop, &behind, fds[0], 0);
    run_for(loop, 5 * MS);
    ferry_cancel(loop, &out.p.op);
    expect(loop, &out.p, FERRY_ECANCELED);
    assert_true(out.p.transferred > 0 && out.p.transferred < sizeof data);
    expect(loop, &behind.p, FERRY_ECANCELED);
    letter_send(loop, &later, fds[0], 0);
    expect(loop, &later.p, FERRY_EPIPE);
    close_near(loop, fds[0]);
    close_far(fds[1]);
    finish(loop);
}

/* ---- In callbacks ---------------------------------------------------------------------- */

struct lone {
    struct letter letter;
    int *freed;
};

static void on_lone(ferry_op *op) {
    struct lone *lone = ferry_container(op, struct lone, letter.p.op);
    ++*lone->freed;
    memset(lone, 0xdd, sizeof *lone);
    free(lone);
}

/* The message is freed with its operation: nothing of it is touched any more. */
static void contract_04_message_freed_in_its_callback(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    int freed = 0;
    unix_pair(fds, SOCK_STREAM);
    for (int i = 0; i < 4; i++) {
        struct lone *lone = malloc(sizeof *lone);
        assert_non_null(lone);
        if (i & 1) letter_write(&lone->letter, "out");
        else letter_blank(&lone->letter, 3);
        memset(&lone->letter.p, 0, sizeof lone->letter.p);
        lone->freed = &freed;
        if (i & 1) {
            ferry_sendmsg(loop, &lone->letter.p.op, fds[0], &lone->letter.msg, 0, on_lone);
        } else if (i == 0) {
            ferry_recvmsg(loop, &lone->letter.p.op, fds[1], &lone->letter.msg, 0, on_lone);
        } else { /* ended by its deadline */
            lone->letter.p.op.deadline_ns = MS;
            ferry_recvmsg(loop, &lone->letter.p.op, fds[0], &lone->letter.msg, 0, on_lone);
        }
    }
    while (freed < 4) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* A drained loop ends them all. */
static void contract_11_messages_are_drained(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter in[3], out;
    unix_pair(fds, SOCK_STREAM);
    plain_stuff(fds[0]);
    for (int i = 0; i < 3; i++) {
        letter_blank(&in[i], 100);
        letter_recv(loop, &in[i], fds[0], 0);
    }
    letter_write(&out, "no room");
    letter_send(loop, &out, fds[0], 0);
    run_for(loop, 2 * MS);
    assert_int_equal(ferry_loop_drain(loop, 10 * SECOND), 0);
    for (int i = 0; i < 3; i++) probe_check(&in[i].p, FERRY_ECANCELED);
    probe_check(&out.p, FERRY_ECANCELED);
    close_far(fds[0]);
    close_far(fds[1]);
    test_close(loop);
}

const struct contract_test trouble_recvmsg_tests[] = {
    {"trouble_message_bad_input", trouble_message_bad_input, 0},
    {"trouble_message_bad_memory", trouble_message_bad_memory, 0},
    {"trouble_message_of_bad_descriptor", trouble_message_of_bad_descriptor, 0},
    {"trouble_control_data_without_data", trouble_control_data_without_data, 0},
    {"trouble_control_data_that_is_refused", trouble_control_data_that_is_refused, 0},
    {"trouble_descriptors_to_a_peer_that_is_gone", trouble_descriptors_to_a_peer_that_is_gone, 0},
    {"trouble_descriptors_nobody_takes", trouble_descriptors_nobody_takes, 0},
    {"trouble_recvmsg_reset", trouble_recvmsg_reset, 0},
    {"contract_09_sendmsg_cut_short_breaks_the_stream",
     contract_09_sendmsg_cut_short_breaks_the_stream, 0},
    {"contract_04_message_freed_in_its_callback", contract_04_message_freed_in_its_callback, 0},
    {"contract_11_messages_are_drained", contract_11_messages_are_drained, 0},
    {NULL, NULL, 0},
};
