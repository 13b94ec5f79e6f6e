/* iocp_port.c - what only a completion port has: handles that are another port's or not overlapped,
 * nothing that children inherit, requests that are cancelled at any moment, packets of requests
 * that the issuing call had told of already, many sockets, waits that end in time.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "win/win.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000u
#define SECOND 1000000000u
#define COUNT(of) (sizeof of / sizeof of[0])

/* ---- Help -------------------------------------------------------------------------------- */

struct probe {
    ferry_op op;
    int64_t result;
    uint32_t flags;
    unsigned calls, finals;
};

static void probed(ferry_op *op) {
    struct probe *probe = ferry_container(op, struct probe, op);
    probe->result = op->result;
    probe->flags = op->flags;
    probe->calls++;
    if (!(op->flags & FERRY_MORE)) probe->finals++;
}

static void probe_wait(ferry_loop *loop, const struct probe *probe) {
    while (probe->finals == 0) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    assert_int_equal(probe->finals, 1);
}

static void run_for(ferry_loop *loop, uint64_t ns) {
    struct probe timer = {.calls = 0};
    ferry_timer(loop, &timer.op, ns, 0, 0, probed);
    probe_wait(loop, &timer);
}

static ferry_loop *loop_open(void) {
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, NULL), 0);
    return loop;
}

static void loop_close(ferry_loop *loop) {
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void fd_close(ferry_loop *loop, ferry_fd fd) {
    struct probe probe = {.calls = 0};
    ferry_close(loop, &probe.op, fd, 0, probed);
    probe_wait(loop, &probe);
    assert_int_equal(probe.result, 0);
}

static ferry_fd listener_open(ferry_loop *loop, ferry_addr *addr) {
    ferry_fd fd;
    assert_int_equal(ferry_addr_parse(addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_listen(loop, &fd, addr, 0), 0);
    assert_int_equal(ferry_local_addr(loop, fd, addr), 0);
    return fd;
}

static void pair_open(ferry_loop *loop, ferry_fd fds[2]) {
    struct probe accept = {.calls = 0}, connect = {.calls = 0};
    ferry_addr addr;
    ferry_fd listener = listener_open(loop, &addr);
    assert_int_equal(ferry_socket(loop, &fds[0], FERRY_INET, FERRY_STREAM), 0);
    ferry_accept(loop, &accept.op, listener, NULL, 0, probed);
    ferry_connect(loop, &connect.op, fds[0], &addr, 0, probed);
    probe_wait(loop, &accept);
    probe_wait(loop, &connect);
    assert_int_equal(connect.result, 0);
    assert_true(accept.result > 0);
    fds[1] = (ferry_fd)accept.result;
    fd_close(loop, listener);
}

static void pair_close(ferry_loop *loop, const ferry_fd fds[2]) {
    fd_close(loop, fds[0]);
    fd_close(loop, fds[1]);
}

/* ---- Handles ----------------------------------------------------------------------------- */

static int64_t received(ferry_loop *loop, ferry_fd fd) {
    struct probe probe = {.calls = 0};
    char byte;
    ferry_recv(loop, &probe.op, fd, &byte, 1, 0, probed);
    probe_wait(loop, &probe);
    return probe.result;
}

/* Its packets would never come here. */
static void a_handle_of_another_port_is_refused(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    HANDLE other = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    SOCKET socket = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
    assert_non_null(other);
    assert_ptr_equal(CreateIoCompletionPort((HANDLE)socket, other, 0, 0), other);
    assert_int_equal(received(loop, ferry__win_socket_fd(socket)), FERRY_EINVAL);
    assert_int_equal(received(loop, ferry__win_socket_fd(socket)), FERRY_EINVAL);
    fd_close(loop, ferry__win_socket_fd(socket));
    CloseHandle(other);
    loop_close(loop);
}

static void a_socket_that_is_not_overlapped_is_refused(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    SOCKET socket = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, 0);
    assert_int_equal(received(loop, ferry__win_socket_fd(socket)), FERRY_EINVAL);
    fd_close(loop, ferry__win_socket_fd(socket));
    loop_close(loop);
}

static void an_event_is_no_socket(void **state) {
    (void)state;
    struct probe accept = {.calls = 0};
    ferry_loop *loop = loop_open();
    ferry_fd event = ferry__win_fd(CreateEventW(NULL, FALSE, FALSE, NULL));
    assert_int_equal(received(loop, event), FERRY_ENOTSOCK);
    ferry_accept(loop, &accept.op, event, NULL, 0, probed);
    probe_wait(loop, &accept);
    assert_int_equal(accept.result, FERRY_ENOTSOCK);
    fd_close(loop, event);
    loop_close(loop);
}

/* Once bound to the port it may be forgotten, and used again here. */
static void a_forgotten_handle_is_used_again(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    pair_open(loop, fds);
    for (int i = 0; i < 3; i++) {
        struct probe send = {.calls = 0};
        ferry_send(loop, &send.op, fds[0], "x", 1, 0, probed);
        assert_int_equal(received(loop, fds[1]), 1);
        probe_wait(loop, &send);
        assert_int_equal(ferry_forget(loop, fds[1]), 0);
    }
    pair_close(loop, fds);
    loop_close(loop);
}

static void assert_own(ferry_fd fd) {
    DWORD flags = HANDLE_FLAG_INHERIT;
    assert_true(GetHandleInformation(ferry__win_handle(fd), &flags));
    assert_int_equal(flags & HANDLE_FLAG_INHERIT, 0);
}

static void what_is_accepted_is_not_inherited(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    pair_open(loop, fds);
    assert_own(fds[0]);
    assert_own(fds[1]);
    pair_close(loop, fds);
    loop_close(loop);
}

/* A socket is connected and knows it: names, and a shutdown, which Windows refuses before the
 * UPDATE options are set. */
static void both_ends_know_their_names(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    ferry_addr name[4];
    pair_open(loop, fds);
    assert_int_equal(ferry_local_addr(loop, fds[0], &name[0]), 0);
    assert_int_equal(ferry_peer_addr(loop, fds[0], &name[1]), 0);
    assert_int_equal(ferry_peer_addr(loop, fds[1], &name[2]), 0);
    assert_int_equal(ferry_local_addr(loop, fds[1], &name[3]), 0);
    assert_memory_equal(name[0].data.bytes, name[2].data.bytes, sizeof(struct sockaddr_in));
    assert_memory_equal(name[1].data.bytes, name[3].data.bytes, sizeof(struct sockaddr_in));
    for (int i = 0; i < 2; i++) {
        struct probe shut = {.calls = 0};
        ferry_shutdown(loop, &shut.op, fds[i], FERRY_SHUT_WRITE, 0, probed);
        probe_wait(loop, &shut);
        assert_int_equal(shut.result, 0);
    }
    pair_close(loop, fds);
    loop_close(loop);
}

/* ---- Requests that are cancelled ----------------------------------------------------------- */

enum { RACES = 10000, OUTCOMES = 2 }; /* received, cancelled */

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void dawdle(uint32_t turns) {
    for (volatile uint32_t i = 0; i < turns; i++) {
    }
}

/* Each gives one completion, and its byte is either there or still to come. */
static void each_cancel_gives_one_completion(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_fd fds[2];
    unsigned count[OUTCOMES] = {0, 0};
    uint32_t seed = 27;
    char byte;
    pair_open(loop, fds);
    for (int i = 0; i < RACES; i++) {
        struct probe recv = {.calls = 0}, send = {.calls = 0};
        ferry_recv(loop, &recv.op, fds[1], &byte, 1, 0, probed);
        ferry_send(loop, &send.op, fds[0], "x", 1, 0, probed);
        if (next_random(&seed) % 2) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        dawdle(next_random(&seed) % 20000);
        ferry_cancel(loop, &recv.op);
        probe_wait(loop, &recv);
        probe_wait(loop, &send);
        assert_int_equal(recv.calls, 1);
        assert_int_equal(send.result, 1);
        assert_true(recv.result == 1 || recv.result == FERRY_ECANCELED);
        count[recv.result == 1 ? 0 : 1]++;
        if (recv.result != 1) assert_int_equal(received(loop, fds[1]), 1);
    }
    for (unsigned i = 0; i < OUTCOMES; i++) assert_true(count[i] >= RACES / 100);
    pair_close(loop, fds);
    loop_close(loop);
}

/* A connection that was accepted is delivered, one that was not is accepted by the next. */
static void no_cancelled_accept_loses_a_connection(void **state) {
    (void)state;
    enum { TIMES = 500 };
    ferry_loop *loop = loop_open();
    ferry_addr addr;
    ferry_fd listener = listener_open(loop, &addr);
    uint32_t seed = 5;
    for (int i = 0; i < TIMES; i++) {
        struct probe accept = {.calls = 0}, connect = {.calls = 0}, again = {.calls = 0};
        ferry_fd fd;
        assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
        ferry_accept(loop, &accept.op, listener, NULL, 0, probed);
        ferry_connect(loop, &connect.op, fd, &addr, 0, probed);
        for (uint32_t turns = next_random(&seed) % 3; turns > 0; turns--) {
            assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
        }
        dawdle(next_random(&seed) % 50000);
        ferry_cancel(loop, &accept.op);
        probe_wait(loop, &accept);
        probe_wait(loop, &connect);
        assert_int_equal(connect.result, 0);
        if (accept.result < 0) {
            assert_int_equal(accept.result, FERRY_ECANCELED);
            ferry_accept(loop, &again.op, listener, NULL, 0, probed);
            probe_wait(loop, &again);
            accept.result = again.result;
        }
        assert_true(accept.result > 0);
        fd_close(loop, (ferry_fd)accept.result);
        fd_close(loop, fd);
    }
    fd_close(loop, listener);
    loop_close(loop);
}

/* More accepts than a listener has blocks for: the others wait in line, and all end with it. */
static void accepts_beyond_the_blocks_wait_in_line(void **state) {
    (void)state;
    enum { ACCEPTS = 150, CONNECTS = 100 };
    static struct probe accepts[ACCEPTS], connects[CONNECTS];
    static ferry_fd fds[CONNECTS];
    ferry_loop *loop = loop_open();
    ferry_addr addr;
    unsigned accepted = 0;
    ferry_fd listener = listener_open(loop, &addr);
    for (int i = 0; i < ACCEPTS; i++) {
        ferry_accept(loop, &accepts[i].op, listener, NULL, 0, probed);
    }
    ferry_cancel(loop, &accepts[0].op);           /* with the system */
    ferry_cancel(loop, &accepts[ACCEPTS - 1].op); /* in line */
    for (int i = 0; i < CONNECTS; i++) {
        assert_int_equal(ferry_socket(loop, &fds[i], FERRY_INET, FERRY_STREAM), 0);
        ferry_connect(loop, &connects[i].op, fds[i], &addr, 0, probed);
        probe_wait(loop, &connects[i]);
    }
    run_for(loop, 50 * MS);
    fd_close(loop, listener);
    for (int i = 0; i < ACCEPTS; i++) {
        assert_int_equal(accepts[i].calls, 1);
        assert_true(accepts[i].result > 0 || accepts[i].result == FERRY_ECANCELED);
        if (accepts[i].result <= 0) continue;
        accepted++;
        fd_close(loop, (ferry_fd)accepts[i].result);
    }
    assert_int_equal(accepts[ACCEPTS - 1].result, FERRY_ECANCELED);
    assert_int_equal(accepted, CONNECTS);
    for (int i = 0; i < CONNECTS; i++) fd_close(loop, fds[i]);
    loop_close(loop);
}

/* ---- Datagrams ----------------------------------------------------------------------------- */

/* One that is cut is an error to Windows, told by the call and by a packet: it is received once. */
static void cut_datagrams_come_once(bool skips) {
    ferry_loop *loop = loop_open();
    const UCHAR modes = skips ? FILE_SKIP_COMPLETION_PORT_ON_SUCCESS : 0;
    ferry_addr addr;
    ferry_fd from, to;
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_socket(loop, &to, FERRY_INET, FERRY_DATAGRAM), 0);
    assert_int_equal(ferry_socket(loop, &from, FERRY_INET, FERRY_DATAGRAM), 0);
    assert_true(SetFileCompletionNotificationModes(ferry__win_handle(to), modes));
    assert_int_equal(ferry_bind(loop, to, &addr), 0);
    assert_int_equal(ferry_local_addr(loop, to, &addr), 0);
    for (int i = 0; i < 20; i++) {
        char out[] = "longer than that", in[4];
        ferry_vec vec = {.len = sizeof out, .data = out}, room = {.len = sizeof in, .data = in};
        ferry_msg msg = {.vecs = &vec, .count = 1, .addr = &addr};
        ferry_msg got = {.vecs = &room, .count = 1};
        struct probe recv = {.calls = 0}, send = {.calls = 0};
        bool waits = i % 2, with_message = i / 2 % 2;
        if (!waits) ferry_sendmsg(loop, &send.op, from, &msg, 0, probed);
        if (!waits) probe_wait(loop, &send);
        if (with_message) {
            ferry_recvmsg(loop, &recv.op, to, &got, 0, probed);
        } else {
            ferry_recv(loop, &recv.op, to, in, sizeof in, 0, probed);
        }
        if (waits) ferry_sendmsg(loop, &send.op, from, &msg, 0, probed);
        probe_wait(loop, &recv);
        probe_wait(loop, &send);
        run_for(loop, 2 * MS);
        assert_int_equal(recv.calls, 1);
        assert_int_equal(recv.result, sizeof in);
        assert_int_equal(got.flags, with_message ? FERRY_MSG_TRUNCATED : 0);
        assert_memory_equal(in, "long", sizeof in);
    }
    fd_close(loop, from);
    fd_close(loop, to);
    loop_close(loop);
}

static void a_datagram_that_is_cut_comes_once(void **state) {
    (void)state;
    cut_datagrams_come_once(false);
}

/* The program has said of its socket that what is done at once shall bring no packet. */
static void a_datagram_that_is_cut_comes_without_a_packet(void **state) {
    (void)state;
    cut_datagrams_come_once(true);
}

/* Elsewhere it waits, and so it does here. */
static void an_unbound_datagram_socket_waits(void **state) {
    (void)state;
    struct probe recv = {.calls = 0};
    ferry_loop *loop = loop_open();
    ferry_fd fd;
    char byte;
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET6, FERRY_DATAGRAM), 0);
    ferry_recv(loop, &recv.op, fd, &byte, 1, 0, probed);
    run_for(loop, 5 * MS);
    assert_int_equal(recv.calls, 0);
    fd_close(loop, fd);
    assert_int_equal(recv.result, FERRY_ECANCELED);
    loop_close(loop);
}

/* ---- Many ---------------------------------------------------------------------------------- */

enum { MANY = 2000 };

static struct {
    struct probe accept, connect[MANY], recv[MANY], send[MANY];
    ferry_fd client[MANY], server[MANY];
    char in[MANY];
    unsigned accepted;
} many;

static void many_accepted(ferry_op *op) {
    if (op->flags & FERRY_MORE) many.server[many.accepted++] = (ferry_fd)op->result;
    probed(op);
}

static void two_thousand_sockets_at_once(void **state) {
    (void)state;
    ferry_loop *loop = loop_open();
    ferry_addr addr;
    ferry_fd listener = listener_open(loop, &addr);
    ferry_accept(loop, &many.accept.op, listener, NULL, FERRY_MULTI, many_accepted);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(ferry_socket(loop, &many.client[i], FERRY_INET, FERRY_STREAM), 0);
        ferry_connect(loop, &many.connect[i].op, many.client[i], &addr, 0, probed);
        while (many.accepted + 100 < i) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    }
    while (many.accepted < MANY) assert_true(ferry_run(loop, FERRY_RUN_ONCE) >= 0);
    for (unsigned i = 0; i < MANY; i++) {
        probe_wait(loop, &many.connect[i]);
        assert_int_equal(many.connect[i].result, 0);
        ferry_recv(loop, &many.recv[i].op, many.server[i], &many.in[i], 1, 0, probed);
        ferry_send(loop, &many.send[i].op, many.client[i], "x", 1, 0, probed);
    }
    for (unsigned i = 0; i < MANY; i++) {
        probe_wait(loop, &many.recv[i]);
        probe_wait(loop, &many.send[i]);
        assert_int_equal(many.recv[i].result, 1);
        assert_int_equal(many.in[i], 'x');
    }
    memset(many.recv, 0, sizeof many.recv);
    for (unsigned i = 0; i < MANY; i++) {
        ferry_recv(loop, &many.recv[i].op, many.server[i], &many.in[i], 1, 0, probed);
    }
    ferry_cancel(loop, &many.accept.op);
    for (unsigned i = 0; i < MANY; i++) {
        fd_close(loop, many.server[i]);
        fd_close(loop, many.client[i]);
        assert_int_equal(many.recv[i].result, FERRY_ECANCELED);
    }
    probe_wait(loop, &many.accept);
    fd_close(loop, listener);
    loop_close(loop);
}

/* ---- Room ------------------------------------------------------------------------------------ */

#define PIPES 240
#define TAKERS 128

static struct {
    HANDLE reads[PIPES], writes[PIPES];
    ferry_fd takers[TAKERS];
    ferry_addr addrs[TAKERS];
    struct probe polls[PIPES], recvs[TAKERS];
    char in[TAKERS];
} crowd;

static void crowd_make(ferry_loop *loop) {
    memset(&crowd, 0, sizeof crowd);
    for (unsigned i = 0; i < PIPES; i++) {
        assert_true(CreatePipe(&crowd.reads[i], &crowd.writes[i], NULL, 0));
        ferry_poll(loop, &crowd.polls[i].op, ferry__win_fd(crowd.reads[i]), FERRY_POLL_IN, 0,
                   probed);
    }
    for (unsigned i = 0; i < TAKERS; i++) {
        assert_int_equal(ferry_addr_parse(&crowd.addrs[i], "127.0.0.1:0"), 0);
        assert_int_equal(ferry_socket(loop, &crowd.takers[i], FERRY_INET, FERRY_DATAGRAM), 0);
        assert_int_equal(ferry_bind(loop, crowd.takers[i], &crowd.addrs[i]), 0);
        assert_int_equal(ferry_local_addr(loop, crowd.takers[i], &crowd.addrs[i]), 0);
        ferry_recv(loop, &crowd.recvs[i].op, crowd.takers[i], &crowd.in[i], 1, 0, probed);
    }
}

static void crowd_feed(void) {
    SOCKET from = socket(AF_INET, SOCK_DGRAM, 0);
    DWORD put;
    assert_true(from != INVALID_SOCKET);
    for (unsigned i = 0; i < PIPES; i++) {
        assert_true(WriteFile(crowd.writes[i], "x", 1, &put, NULL));
    }
    for (unsigned i = 0; i < TAKERS; i++) {
        const ferry_addr *to = &crowd.addrs[i];
        assert_int_equal(
            sendto(from, "y", 1, 0, (const struct sockaddr *)to->data.bytes, (int)to->len), 1);
    }
    assert_int_equal(closesocket(from), 0);
}

/* One packet after which many polls are done, and many packets behind it: each finds room. */
static void many_polls_leave_room(void **state) {
    (void)state;
    ferry_config small = {.size = sizeof small, .completion_entries = 256};
    ferry_loop *loop;
    assert_int_equal(ferry_loop_open(&loop, &small), 0);
    crowd_make(loop);
    for (int i = 0; i < 4; i++) assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    Sleep(60); /* it is time to look at the pipes, */
    crowd_feed();
    Sleep(60); /* and all has come */
    for (unsigned i = 0; i < PIPES; i++) {
        probe_wait(loop, &crowd.polls[i]);
        assert_int_equal(crowd.polls[i].result, FERRY_POLL_IN);
        assert_true(CloseHandle(crowd.reads[i]));
        assert_true(CloseHandle(crowd.writes[i]));
    }
    for (unsigned i = 0; i < TAKERS; i++) {
        probe_wait(loop, &crowd.recvs[i]);
        assert_int_equal(crowd.recvs[i].result, 1);
        fd_close(loop, crowd.takers[i]);
    }
    loop_close(loop);
}

/* ---- Waits --------------------------------------------------------------------------------- */

static uint64_t clock_ns(void) {
    LARGE_INTEGER now, frequency;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    return (uint64_t)((double)now.QuadPart * 1e9 / (double)frequency.QuadPart);
}

static void timers_are_in_time(ferry_loop *loop, uint64_t late) {
    static const uint64_t spans[] = {1,       100000,  700000,  1500000,
                                     16 * MS, 39 * MS, 41 * MS, 90 * MS};
    for (unsigned i = 0; i < COUNT(spans); i++) {
        uint64_t start = clock_ns();
        run_for(loop, spans[i]);
        uint64_t took = clock_ns() - start;
        assert_true(took + 1000 >= spans[i]); /* the two clocks are rounded each in its way */
        assert_true(took < spans[i] + late);
    }
}

static void waits_end_in_time(void **state) {
    (void)state;
    ferry_config coarse = {.size = sizeof coarse, .disable = "hires_timer"};
    ferry_loop *loop = loop_open();
    timers_are_in_time(loop, SECOND);
    loop_close(loop);
    assert_int_equal(ferry_loop_open(&loop, &coarse), 0);
    timers_are_in_time(loop, SECOND);
    loop_close(loop);
}

static struct {
    ferry_loop *loop;
    struct probe probe;
} posted;

static DWORD WINAPI poster(void *arg) {
    Sleep((DWORD)(uintptr_t)arg);
    assert_int_equal(ferry_post(posted.loop, &posted.probe.op, probed), 0);
    return 0;
}

/* Also after one that came while nobody waited. */
static void another_thread_ends_a_wait(void **state) {
    (void)state;
    posted.loop = loop_open();
    ferry_hold(posted.loop);
    for (unsigned i = 0; i < 40; i++) {
        memset(&posted.probe, 0, sizeof posted.probe);
        HANDLE thread = CreateThread(NULL, 0, poster, (void *)(uintptr_t)(i % 3), 0, NULL);
        assert_non_null(thread);
        if (i % 4 == 0) WaitForSingleObject(thread, INFINITE);
        probe_wait(posted.loop, &posted.probe);
        WaitForSingleObject(thread, INFINITE);
        CloseHandle(thread);
    }
    ferry_release(posted.loop);
    loop_close(posted.loop);
}

/* The queued calls of a thread run while it waits alertably, and end such a wait: it goes on. */
static void CALLBACK queued(ULONG_PTR arg) {
    ++*(unsigned *)arg;
}

static void a_queued_call_ends_no_wait(void **state) {
    (void)state;
    unsigned calls = 0;
    ferry_loop *loop = loop_open();
    assert_true(QueueUserAPC(queued, GetCurrentThread(), (ULONG_PTR)&calls));
    uint64_t start = clock_ns();
    run_for(loop, 20 * MS);
    assert_true(clock_ns() - start + 1000 >= 20 * MS);
    assert_true(calls <= 1);
    SleepEx(0, TRUE);
    assert_int_equal(calls, 1);
    loop_close(loop);
}

static void features_are_told(void **state) {
    (void)state;
    ferry_config config = {.size = sizeof config, .disable = "skip"};
    ferry_loop *loop;
    ferry_fd fds[2];
    unsigned found = 0;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    pair_open(loop, fds);
    pair_close(loop, fds);
    const ferry_description *is = ferry_loop_describe(loop);
    assert_string_equal(is->backend, "iocp");
    for (size_t i = 0; i < is->feature_count; i++) {
        if (strcmp(is->features[i].name, "skip") != 0) continue;
        found++;
        assert_int_equal(is->features[i].state, FERRY_FEATURE_MASKED);
        assert_int_equal(is->features[i].uses, 0);
    }
    assert_int_equal(found, 1);
    loop_close(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_of_another_port_is_refused),
        cmocka_unit_test(a_socket_that_is_not_overlapped_is_refused),
        cmocka_unit_test(an_event_is_no_socket),
        cmocka_unit_test(a_forgotten_handle_is_used_again),
        cmocka_unit_test(what_is_accepted_is_not_inherited),
        cmocka_unit_test(both_ends_know_their_names),
        cmocka_unit_test(each_cancel_gives_one_completion),
        cmocka_unit_test(no_cancelled_accept_loses_a_connection),
        cmocka_unit_test(accepts_beyond_the_blocks_wait_in_line),
        cmocka_unit_test(a_datagram_that_is_cut_comes_once),
        cmocka_unit_test(a_datagram_that_is_cut_comes_without_a_packet),
        cmocka_unit_test(an_unbound_datagram_socket_waits),
        cmocka_unit_test(two_thousand_sockets_at_once),
        cmocka_unit_test(many_polls_leave_room),
        cmocka_unit_test(waits_end_in_time),
        cmocka_unit_test(another_thread_ends_a_wait),
        cmocka_unit_test(a_queued_call_ends_no_wait),
        cmocka_unit_test(features_are_told),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
