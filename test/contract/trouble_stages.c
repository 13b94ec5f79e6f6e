/* trouble_stages.c - every way in which an operation can wait
 *
 * A row of the table prepares what is needed, submits, and can let the operation go on. None of
 * them depends on time: each waits until it is let, cancelled, timed out or closed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Accept and connect ---------------------------------------------------------------- */

/* On this side of a signal's interruption the connect goes on by itself, which is all that is asked
 * here: it was started. */
static ferry_fd connect_started(const ferry_addr *addr) {
    const struct sockaddr *to = (const struct sockaddr *)(const void *)addr->data.bytes;
    ferry_fd fd = plain_socket(to->sa_family, SOCK_STREAM);
    set_nonblocking(fd);
    if (connect(fd, to, (socklen_t)addr->len) < 0) assert_int_equal(errno, EINPROGRESS);
    return fd;
}

/* A path of its own for each stage, since all of them may be open at once. */
static const char *stage_path(void) {
    static unsigned count;
    char name[32];
    snprintf(name, sizeof name, "stage%u", count++);
    return temp_path(name);
}

static void unix_listener(struct stage *s, int backlog) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const char *path = stage_path();
    assert_true(strlen(path) < sizeof at.sun_path);
    strcpy(at.sun_path, path);
    ferry_fd fd = plain_socket(AF_UNIX, SOCK_STREAM);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    s->addr.len = sizeof at;
    memcpy(s->addr.data.bytes, &at, sizeof at);
    s->far = fd;
}

static void accept_prepare(struct stage *s) {
    s->fd = tcp_listener(&s->addr);
}

static void accept_unix_prepare(struct stage *s) {
    unix_listener(s, 8);
    s->fd = s->far;
    s->far = FERRY_FD_NONE;
}

static void accept_submit(struct stage *s, unsigned flags) {
    ferry_accept(s->loop, &s->p.op, s->fd, NULL, flags, probe_done);
}

static void accept_let(struct stage *s) {
    s->extra = connect_started(&s->addr);
}

/* A listener whose queue is full: TCP drops what comes, Unix sockets let it wait. */
static void connect_prepare(struct stage *s) {
    s->far = tcp_listener(&s->addr);
    assert_int_equal(listen(s->far, 0), 0);
    s->extra = connect_started(&s->addr);
    s->fd = plain_socket(AF_INET, SOCK_STREAM);
}

static void connect_unix_prepare(struct stage *s) {
    unix_listener(s, 0);
    s->extra = connect_started(&s->addr);
    s->fd = plain_socket(AF_UNIX, SOCK_STREAM);
}

static void connect_submit(struct stage *s, unsigned flags) {
    ferry_connect(s->loop, &s->p.op, s->fd, &s->addr, flags, probe_done);
}

static void connect_let(struct stage *s) {
    ferry_fd fd;
    fd = plain_accept(s->far);
    assert_true(fd >= 0);
    close_far(fd);
}

/* ---- Receiving and reading ------------------------------------------------------------- */

static void tcp_prepare(struct stage *s) {
    ferry_fd fds[2];
    tcp_pair(s->loop, fds);
    s->fd = fds[0];
    s->far = fds[1];
}

static void stream_prepare(struct stage *s) {
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    s->fd = fds[0];
    s->far = fds[1];
}

static void datagram_prepare(struct stage *s) {
    ferry_fd fds[2];
    unix_pair(fds, SOCK_DGRAM);
    s->fd = fds[0];
    s->far = fds[1];
}

static void pipe_read_prepare(struct stage *s) {
    ferry_fd fds[2];
    plain_pipe(fds);
    s->fd = fds[0];
    s->far = fds[1];
}

/* The one before it takes a single byte, so that what comes then is for the one behind. */
static void second_recv_prepare(struct stage *s) {
    tcp_prepare(s);
    ferry_recv(s->loop, &s->first.op, s->fd, s->buf + 60, 1, 0, probe_done);
}

static void recv_submit(struct stage *s, unsigned flags) {
    ferry_recv(s->loop, &s->p.op, s->fd, s->buf, 8, flags, probe_done);
}

static void recvv_submit(struct stage *s, unsigned flags) {
    s->vecs[0] = (ferry_vec)VEC(s->buf, 3);
    s->vecs[1] = (ferry_vec)VEC(s->buf + 3, 5);
    ferry_recvv(s->loop, &s->p.op, s->fd, s->vecs, 2, flags, probe_done);
}

static void read_submit(struct stage *s, unsigned flags) {
    ferry_read(s->loop, &s->p.op, s->fd, s->buf, 8, FERRY_CURRENT, flags, probe_done);
}

static void readv_submit(struct stage *s, unsigned flags) {
    s->vecs[0] = (ferry_vec)VEC(s->buf, 3);
    s->vecs[1] = (ferry_vec)VEC(s->buf + 3, 5);
    ferry_readv(s->loop, &s->p.op, s->fd, s->vecs, 2, FERRY_CURRENT, flags, probe_done);
}

static void msg_fill(struct stage *s) {
    s->vecs[0] = (ferry_vec)VEC(s->buf, 3);
    s->vecs[1] = (ferry_vec)VEC(s->buf + 3, 5);
    s->msg = (ferry_msg){.vecs = s->vecs, .count = 2};
}

static void recvmsg_submit(struct stage *s, unsigned flags) {
    msg_fill(s);
    s->msg.addr = &s->addr;
    s->msg.control = s->control;
    s->msg.control_room = sizeof s->control;
    ferry_recvmsg(s->loop, &s->p.op, s->fd, &s->msg, flags, probe_done);
}

static void recv_let(struct stage *s) {
    assert_int_equal(write(s->far, "12345678", 8), 8);
}

static void second_recv_let(struct stage *s) {
    assert_int_equal(write(s->far, "012345678", 9), 9);
}

/* ---- Sending and writing --------------------------------------------------------------- */

static void full_stream_prepare(struct stage *s) {
    stream_prepare(s);
    assert_true(stuff(s->fd) > 0);
}

static void full_datagram_prepare(struct stage *s) {
    datagram_prepare(s);
    assert_true(stuff(s->fd) > 0);
}

static void pipe_write_prepare(struct stage *s) {
    pipe_read_prepare(s);
    ferry_fd read_end = s->fd;
    s->fd = s->far;
    s->far = read_end;
    assert_true(stuff(s->fd) > 0);
}

static void send_submit(struct stage *s, unsigned flags) {
    ferry_send(s->loop, &s->p.op, s->fd, s->buf, 8, flags, probe_done);
}

/* Eight bytes of a file of its own. */
static void sendfile_submit(struct stage *s, unsigned flags) {
    if (s->extra == FERRY_FD_NONE) s->extra = make_file(stage_path(), s->buf, 8);
    ferry_sendfile(s->loop, &s->p.op, s->fd, s->extra, 0, 8, flags, probe_done);
}

static void sendv_submit(struct stage *s, unsigned flags) {
    s->vecs[0] = (ferry_vec)VEC(s->buf, 3);
    s->vecs[1] = (ferry_vec)VEC(s->buf + 3, 5);
    ferry_sendv(s->loop, &s->p.op, s->fd, s->vecs, 2, flags, probe_done);
}

static void sendmsg_submit(struct stage *s, unsigned flags) {
    msg_fill(s);
    ferry_sendmsg(s->loop, &s->p.op, s->fd, &s->msg, flags, probe_done);
}

/* With a descriptor, which must not be lost nor stay behind, whatever becomes of the send. */
static void sendmsg_fd_submit(struct stage *s, unsigned flags) {
    const ferry_fd fd = STDERR_FILENO;
    const ferry_control item = {.kind = FERRY_CONTROL_FDS, .fds = &fd, .count = 1};
    msg_fill(s);
    s->msg.control = s->control;
    s->msg.control_room = sizeof s->control;
    assert_int_equal(ferry_control_add(&s->msg, &item), 0);
    ferry_sendmsg(s->loop, &s->p.op, s->fd, &s->msg, flags, probe_done);
}

static void write_submit(struct stage *s, unsigned flags) {
    ferry_write(s->loop, &s->p.op, s->fd, s->buf, 8, FERRY_CURRENT, flags, probe_done);
}

static void writev_submit(struct stage *s, unsigned flags) {
    s->vecs[0] = (ferry_vec)VEC(s->buf, 3);
    s->vecs[1] = (ferry_vec)VEC(s->buf + 3, 5);
    ferry_writev(s->loop, &s->p.op, s->fd, s->vecs, 2, FERRY_CURRENT, flags, probe_done);
}

static void full_terminal_prepare(struct stage *s) {
    terminal_pair(&s->fd, &s->far);
    (void)terminal_stuff(s->fd, s->far);
}

static void send_let(struct stage *s) {
    char block[4096];
    int ended = 0;
    while (far_take(s->far, block, sizeof block, &ended) > 0) assert_int_equal(ended, 0);
}

/* ---- Opening a FIFO, timers, work ------------------------------------------------------ */

static void fifo_prepare(struct stage *s) {
    snprintf(s->path, sizeof s->path, "%s", stage_path());
    assert_int_equal(mkfifo(s->path, 0600), 0);
}

static void open_read_submit(struct stage *s, unsigned flags) {
    ferry_open(s->loop, &s->p.op, s->path, FERRY_OPEN_READ, 0, flags, probe_done);
}

static void open_write_submit(struct stage *s, unsigned flags) {
    ferry_open(s->loop, &s->p.op, s->path, FERRY_OPEN_WRITE, 0, flags, probe_done);
}

/* Both ends at once never waits, and is the other end for whoever does. */
static void open_let(struct stage *s) {
    s->extra = open(s->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(s->extra >= 0);
}

static void nothing_prepare(struct stage *s) {
    (void)s;
}

static void timer_submit(struct stage *s, unsigned flags) {
    ferry_timer(s->loop, &s->p.op, UINT64_MAX, 0, flags, probe_done);
}

static void signal_submit(struct stage *s, unsigned flags) {
    ferry_signal(s->loop, &s->p.op, SIGUSR2, flags, probe_done);
}

static void signal_let(struct stage *s) {
    (void)s;
    assert_int_equal(raise(SIGUSR2), 0);
}

/* The pool's one thread waits for a byte, what is submitted next waits for the thread. */
static int64_t take_byte(void *arg) {
    ferry_fd fd = *(ferry_fd *)arg;
    char byte;
    ssize_t n;
    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    return n;
}

static int64_t answer(void *arg) {
    return *(int64_t *)arg;
}

static void work_prepare(struct stage *s) {
    stream_prepare(s);
    ferry_work(s->loop, &s->first.op, take_byte, &s->fd, 0, probe_done);
    run_for(s->loop, 20 * MS);
}

static void work_submit(struct stage *s, unsigned flags) {
    static int64_t number = 8;
    ferry_work(s->loop, &s->p.op, answer, &number, flags, probe_done);
}

static void poll_submit(struct stage *s, unsigned flags) {
    ferry_poll(s->loop, &s->p.op, s->fd, FERRY_POLL_IN, flags, probe_done);
}

/* A child that ends when it gets a byte. */
static void process_prepare(struct stage *s) {
    ferry_fd fds[2];
    unix_pair(fds, SOCK_STREAM);
    const char *const argv[] = {"contract", "--child", "wait", NULL};
    s->pid = plain_child(argv, (const ferry_fd[]){fds[1], FERRY_FD_NONE, FERRY_FD_NONE});
    close_far(fds[1]);
    s->far = fds[0];
}

static void process_submit(struct stage *s, unsigned flags) {
    ferry_wait_process(s->loop, &s->p.op, s->pid, &s->how, flags, probe_done);
}

/* If nobody has waited for it, it is still ours to end. */
static void process_end(struct stage *s) {
    pid_t pid = (pid_t)s->pid;
    s->pid = 0;
    if (waitpid(pid, NULL, WNOHANG) != 0) return;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (waitpid(pid, NULL, 0) < 0) assert_int_equal(errno, EINTR);
}

/* ---- The table, and walking through a row
 * -------------------------------------------------------- */

const struct stage_kind stages[] = {
    /* With the one worker that there may be, which others behind it want as well. */
    {"write to a terminal", full_terminal_prepare, write_submit, send_let, 8, 1},
    {"accept", accept_prepare, accept_submit, accept_let, -1, 0},
    {"accept (Unix)", accept_unix_prepare, accept_submit, accept_let, -1, 1},
    {"connect", connect_prepare, connect_submit, NULL, 0, 0},
    {"connect (Unix)", connect_unix_prepare, connect_submit, connect_let, 0, 1},
    {"recv", tcp_prepare, recv_submit, recv_let, 8, 0},
    {"recv behind another", second_recv_prepare, recv_submit, second_recv_let, 8, 0},
    {"recv of a datagram", datagram_prepare, recv_submit, recv_let, 8, 0},
    {"recvv", stream_prepare, recvv_submit, recv_let, 8, 0},
    {"recvmsg", tcp_prepare, recvmsg_submit, recv_let, 8, 0},
    {"recvmsg of a datagram", datagram_prepare, recvmsg_submit, recv_let, 8, 0},
    {"recvmsg behind another", second_recv_prepare, recvmsg_submit, second_recv_let, 8, 0},
    {"read of a pipe", pipe_read_prepare, read_submit, recv_let, 8, 0},
    {"readv of a pipe", pipe_read_prepare, readv_submit, recv_let, 8, 0},
    {"read of a socket", tcp_prepare, read_submit, recv_let, 8, 0},
    {"send", full_stream_prepare, send_submit, send_let, 8, 0},
    {"send of a datagram", full_datagram_prepare, send_submit, send_let, 8, 1},
    {"sendfile", full_stream_prepare, sendfile_submit, send_let, 8, 0},
    {"sendfile into a pipe", pipe_write_prepare, sendfile_submit, send_let, 8, 0},
    {"sendv", full_stream_prepare, sendv_submit, send_let, 8, 0},
    {"sendmsg", full_stream_prepare, sendmsg_submit, send_let, 8, 0},
    {"sendmsg of a datagram", full_datagram_prepare, sendmsg_submit, send_let, 8, 1},
    {"sendmsg of a descriptor", full_stream_prepare, sendmsg_fd_submit, send_let, 8, 1},
    {"write to a pipe", pipe_write_prepare, write_submit, send_let, 8, 0},
    {"writev to a pipe", pipe_write_prepare, writev_submit, send_let, 8, 0},
    {"write to a socket", full_stream_prepare, write_submit, send_let, 8, 0},
    {"open of a FIFO to read", fifo_prepare, open_read_submit, open_let, -1, 1},
    {"open of a FIFO to write", fifo_prepare, open_write_submit, open_let, -1, 1},
    {"timer", nothing_prepare, timer_submit, NULL, 0, 0},
    {"signal", nothing_prepare, signal_submit, signal_let, 1, 1},
    {"work", work_prepare, work_submit, recv_let, 8, 0},
    {"poll", tcp_prepare, poll_submit, recv_let, FERRY_POLL_IN, 0},
    {"process", process_prepare, process_submit, recv_let, 0, 0},
    {NULL, NULL, NULL, NULL, 0, 0},
};

ferry_loop *stage_loop(void) {
    ferry_config config;
    memset(&config, 0, sizeof config);
    config.flags = FERRY_OWN_WORKERS;
    config.worker_threads = config.file_threads = 1;
    return test_loop_with(&config);
}

void stage_open(struct stage *s, const struct stage_kind *kind, ferry_loop *loop) {
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->loop = loop;
    s->fd = s->far = s->extra = FERRY_FD_NONE;
    kind->prepare(s);
}

void stage_submit(struct stage *s, unsigned flags) {
    s->kind->submit(s, flags);
}

void stage_waits(struct stage *s) {
    run_for(s->loop, 5 * MS);
    if (s->p.calls != 0) {
        fail_msg("%s: ended with %lld (%s) although it should wait", s->kind->name,
                 (long long)s->p.result, ferry_error_name(s->p.result));
    }
}

static void stage_wait(struct stage *s) {
    uint64_t start_ns = clock_ns();
    while (s->p.finals == 0) {
        if (clock_ns() - start_ns > 20 * SECOND * TEST_STRETCH)
            fail_msg("%s: does not end", s->kind->name);
        run_for(s->loop, MS / 5);
    }
    assert_int_equal(s->p.calls, 1);
}

void stage_expect(struct stage *s, int64_t result) {
    stage_wait(s);
    if (s->p.result != result) {
        fail_msg("%s: ended with %lld (%s), not with %lld (%s)", s->kind->name,
                 (long long)s->p.result, ferry_error_name(s->p.result), (long long)result,
                 ferry_error_name(result));
    }
}

/* What a successful accept or open made is ours to close. */
static void success_check(struct stage *s) {
    /* There are no reads into several pieces there: one that is cancelled after the first is short.
     */
    if (TEST_WINDOWS && s->p.op.code == FERRY_OP_READV && s->p.result == (int64_t)s->vecs[0].len)
        return;
    if (s->kind->result >= 0) {
        stage_expect(s, s->kind->result);
        return;
    }
    if (s->p.result < 0) {
        fail_msg("%s: ended with %s, not with a descriptor", s->kind->name,
                 ferry_error_name(s->p.result));
    }
    close_near(s->loop, (ferry_fd)s->p.result);
}

void stage_let(struct stage *s) {
    s->kind->let(s);
    stage_wait(s);
    success_check(s);
}

void stage_expect_or_success(struct stage *s, int64_t error) {
    stage_wait(s);
    if (s->p.result != error) success_check(s);
}

int stage_is_absent(const struct stage_kind *kind) {
    return TEST_WINDOWS && kind->posix_only;
}

int stage_goes_on(const struct stage *s) {
    return !TEST_WINDOWS || !strstr(s->kind->name, "to a pipe");
}

void stage_close(struct stage *s) {
    /* Work that waits for a byte is not ended by a close of the descriptor it uses. */
    if (s->first.op.code == FERRY_OP_WORK && s->first.finals == 0) {
        recv_let(s);
        probe_wait(s->loop, &s->first);
        probe_check(&s->first, 1);
    }
    if (s->pid > 0) process_end(s);
    if (s->fd != FERRY_FD_NONE) close_near(s->loop, s->fd);
    if (s->first.op.code == FERRY_OP_RECV) assert_int_equal(s->first.finals, 1);
    if (s->far != FERRY_FD_NONE) close_far(s->far);
    if (s->extra != FERRY_FD_NONE) {
        assert_int_equal(ferry_forget(s->loop, s->extra), 0);
        close_far(s->extra);
    }
    s->fd = s->far = s->extra = FERRY_FD_NONE;
}
