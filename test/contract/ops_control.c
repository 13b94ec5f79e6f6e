/* ops_control.c - control data: descriptors and credentials over Unix sockets, and the writing and
 * reading of it as such
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"
#include "portable.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Writing and reading --------------------------------------------------------------- */

static int add_number(ferry_msg *msg, enum ferry_control_kind kind, enum ferry_family family,
                      int32_t number) {
    const ferry_control item = {.kind = kind, .family = family, .number = number};
    return ferry_control_add(msg, &item);
}

static void ops_control_reads_what_it_wrote(void **state) {
    (void)state;
    int passing = !omits_on_windows("no descriptors and credentials, and no classes, on Windows");
    struct letter l;
    ferry_control item;
    const ferry_fd fds[3] = {4, 5, 6};
    letter_write(&l, "");
    if (passing) letter_enclose(&l, fds, 3);
    item = (ferry_control){
        .kind = FERRY_CONTROL_CREDENTIALS, .pid = 77, .user = 4000000000u, .group = 8};
    assert_int_equal(ferry_control_add(&l.msg, &item), passing ? 0 : FERRY_ENOTSUP);
    item = (ferry_control){.kind = FERRY_CONTROL_PACKET, .interface_index = 3};
    assert_int_equal(ferry_addr_parse(&item.local, "[2001:db8::9]:0"), 0);
    assert_int_equal(ferry_control_add(&l.msg, &item), 0);
    assert_int_equal(add_number(&l.msg, FERRY_CONTROL_HOPS, FERRY_INET, 9), 0);
    int error = add_number(&l.msg, FERRY_CONTROL_CLASS, FERRY_INET6, 255);
    assert_int_equal(error, passing ? 0 : FERRY_ENOTSUP);
    assert_int_equal(add_number(&l.msg, FERRY_CONTROL_SEGMENT, 0, 65535), 0);
    item = (ferry_control){
        .kind = FERRY_CONTROL_OTHER, .level = 1234, .type = 5, .data = "five!", .len = 5};
    assert_int_equal(ferry_control_add(&l.msg, &item), 0);

    if (passing) {
        assert_true(letter_find(&l, FERRY_CONTROL_FDS, &item));
        assert_int_equal(item.count, 3);
        assert_memory_equal(item.fds, fds, sizeof fds);
        assert_true(letter_find(&l, FERRY_CONTROL_CREDENTIALS, &item));
        assert_int_equal(item.pid, 77);
        assert_int_equal(item.user, 4000000000u);
        assert_int_equal(item.group, 8);
    }
    assert_true(letter_find(&l, FERRY_CONTROL_PACKET, &item));
    assert_int_equal(item.family, FERRY_INET6);
    assert_int_equal(item.interface_index, 3);
    char text[64];
    ferry_addr_format(&item.local, text, sizeof text);
    assert_string_equal(text, "[2001:db8::9]:0");
    assert_true(letter_find(&l, FERRY_CONTROL_HOPS, &item));
    assert_int_equal(item.family, FERRY_INET);
    assert_int_equal(item.number, 9);
    assert_int_equal(letter_find(&l, FERRY_CONTROL_CLASS, &item), passing);
    if (passing) {
        assert_int_equal(item.family, FERRY_INET6);
        assert_int_equal(item.number, 255);
    }
    assert_true(letter_find(&l, FERRY_CONTROL_SEGMENT, &item));
    assert_int_equal(item.number, 65535);
    assert_true(letter_find(&l, FERRY_CONTROL_OTHER, &item));
    assert_int_equal(item.level, 1234);
    assert_int_equal(item.type, 5);
    assert_int_equal(item.len, 5);
    assert_memory_equal(item.data, "five!", 5);
}

/* Descriptors, or what takes the same room where none are passed. */
static ferry_control anything(const ferry_fd *fds, size_t count) {
    if (TEST_WINDOWS) {
        return (ferry_control){.kind = FERRY_CONTROL_OTHER,
                               .level = 1234,
                               .type = 5,
                               .data = fds,
                               .len = count * sizeof *fds};
    }
    return (ferry_control){.kind = FERRY_CONTROL_FDS, .fds = fds, .count = count};
}

/* The words that the header counts are enough, and one less is not. */
static void ops_control_room(void **state) {
    (void)state;
    const ferry_fd fds[FERRY_CONTROL_FDS_MAX] = {1};
    uint64_t control[FERRY_CONTROL_WORDS(sizeof fds)];
    for (size_t count = 1; count <= FERRY_CONTROL_FDS_MAX; count += 63) {
        const ferry_control item = anything(fds, count);
        size_t room = FERRY_CONTROL_WORDS(count * sizeof *fds) * sizeof *control;
        ferry_msg msg = {.control = control, .control_room = room};
        assert_int_equal(ferry_control_add(&msg, &item), 0);
        assert_int_equal(msg.control_len, room);
        assert_int_equal(ferry_control_add(&msg, &item), FERRY_EOVERFLOW);
        assert_int_equal(msg.control_len, room);
        msg = (ferry_msg){.control = control, .control_room = room - 1};
        assert_int_equal(ferry_control_add(&msg, &item), FERRY_EOVERFLOW);
        assert_int_equal(msg.control_len, 0);
    }
    ferry_msg none = {.vecs = NULL};
    const ferry_control item = anything(fds, 1);
    assert_int_equal(ferry_control_add(&none, &item), FERRY_EOVERFLOW);
}

static void ops_control_refuses(void **state) {
    (void)state;
    struct letter l;
    const ferry_fd fds[FERRY_CONTROL_FDS_MAX + 1] = {1};
    ferry_addr inet, inet6, small = {.len = 1};
    assert_int_equal(ferry_addr_parse(&inet, "127.0.0.1:1"), 0);
    assert_int_equal(ferry_addr_parse(&inet6, "[::1]:1"), 0);
    const ferry_control bad[] = {
        {.kind = FERRY_CONTROL_FDS, .fds = fds, .count = 0},
        {.kind = FERRY_CONTROL_FDS, .fds = NULL, .count = 1},
        {.kind = FERRY_CONTROL_FDS, .fds = fds, .count = FERRY_CONTROL_FDS_MAX + 1},
        {.kind = FERRY_CONTROL_FDS, .fds = fds, .count = SIZE_MAX},
        {.kind = FERRY_CONTROL_CREDENTIALS, .pid = -1},
        {.kind = FERRY_CONTROL_CREDENTIALS, .pid = INT64_MAX},
        {.kind = FERRY_CONTROL_PACKET},
        {.kind = FERRY_CONTROL_PACKET, .family = FERRY_UNIX},
        {.kind = FERRY_CONTROL_PACKET, .family = FERRY_INET, .interface_index = UINT32_MAX},
        {.kind = FERRY_CONTROL_PACKET, .family = FERRY_INET, .local = inet6},
        {.kind = FERRY_CONTROL_PACKET, .family = FERRY_INET6, .local = inet},
        {.kind = FERRY_CONTROL_PACKET, .local = small},
        {.kind = FERRY_CONTROL_HOPS, .number = 1},
        {.kind = FERRY_CONTROL_HOPS, .family = FERRY_INET, .number = -1},
        {.kind = FERRY_CONTROL_HOPS, .family = FERRY_INET, .number = 256},
        {.kind = FERRY_CONTROL_CLASS, .family = FERRY_UNIX, .number = 1},
        {.kind = FERRY_CONTROL_CLASS, .family = FERRY_INET6, .number = 256},
        {.kind = FERRY_CONTROL_SEGMENT, .number = -1},
        {.kind = FERRY_CONTROL_SEGMENT, .number = 65536},
        {.kind = FERRY_CONTROL_OTHER, .data = NULL, .len = 1},
        {.kind = (enum ferry_control_kind)99},
    };
    letter_write(&l, "");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (ferry_control_add(&l.msg, &bad[i]) != FERRY_EINVAL) fail_msg("row %zu", i);
        assert_int_equal(l.msg.control_len, 0);
    }
    assert_int_equal(ferry_control_add(NULL, &bad[0]), FERRY_EINVAL);
    assert_int_equal(ferry_control_add(&l.msg, NULL), FERRY_EINVAL);
    const ferry_control huge = {.kind = FERRY_CONTROL_OTHER, .data = "", .len = SIZE_MAX};
    assert_int_equal(ferry_control_add(&l.msg, &huge), FERRY_EOVERFLOW);
    l.msg.control_len = 3; /* not by us */
    assert_int_equal(add_number(&l.msg, FERRY_CONTROL_SEGMENT, 0, 1), FERRY_EINVAL);
}

/* Whatever lies there, going through it ends and reads nothing beyond it. */
static void ops_control_of_garbage(void **state) {
    (void)state;
    struct letter l;
    const ferry_fd fds[5] = {1, 2, 3, 4, 5};
    const ferry_control first = anything(fds, 5);
    for (unsigned round = 0; round < 3000; round++) {
        letter_write(&l, "");
        assert_int_equal(ferry_control_add(&l.msg, &first), 0);
        assert_int_equal(add_number(&l.msg, FERRY_CONTROL_SEGMENT, 0, 1), 0);
        size_t len = (round / 3) % (l.msg.control_len + 1);
        unsigned char *copy = malloc(len + 1); /* so that AddressSanitizer sees the end */
        assert_non_null(copy);
        if (round % 3 == 0) fill(l.control, sizeof l.control, round);
        if (round % 3 == 1) ((unsigned char *)l.control)[round % 16] ^= (unsigned char)round;
        memcpy(copy, l.control, len);
        unsigned char *end = realloc(copy, len > 0 ? len : 1);
        assert_non_null(end);
        ferry_control item = {.at = 0};
        size_t items = 0, sum = 0;
        while (ferry_control_next(end, len, &item)) {
            items++;
            const unsigned char *data = item.data;
            for (size_t i = 0; i < item.len; i++) sum += data[i];
            assert_true((uintptr_t)data + item.len <= (uintptr_t)end + len);
        }
        assert_true(items <= len / 16 + 1);
        assert_true(sum < SIZE_MAX);
        assert_int_equal(ferry_control_next(end, len, &item), 0);
        free(end);
    }
    ferry_control item = {.at = 0};
    assert_int_equal(ferry_control_next(NULL, 100, &item), 0);
    assert_int_equal(ferry_control_next(l.control, 100, NULL), 0);
}

/* ---- Descriptors ----------------------------------------------------------------------- */

/* What is written into the descriptor that came can be read from the pipe. */
static void works(ferry_loop *loop, ferry_fd came, ferry_fd pipe_end) {
    struct probe write = {.calls = 0};
    char in[8] = "";
    assert_int_equal(fcntl(came, F_GETFD), FD_CLOEXEC);
    ferry_write(loop, &write.op, came, "through", 7, FERRY_CURRENT, 0, probe_done);
    expect(loop, &write, 7);
    assert_int_equal(read(pipe_end, in, 7), 7);
    assert_string_equal(in, "through");
}

static void ops_control_passes_descriptors(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 2 + TEST_SEQPACKET; i++) {
        ferry_fd fds[2], pipe_fds[2], sent[2];
        ferry_control item;
        struct letter out, in;
        size_t before = count_fds();
        unix_pair(fds, types[i]);
        plain_pipe(pipe_fds);
        letter_write(&out, "a pipe for you");
        letter_blank(&in, 100);
        sent[0] = sent[1] = pipe_fds[1];
        letter_enclose(&out, sent, 2);
        letter_pass(loop, &out, fds[0], &in, fds[1], "a pipe for you");
        assert_int_equal(in.msg.flags, 0);
        assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
        assert_int_equal(item.count, 2);
        close_far(pipe_fds[1]);
        works(loop, item.fds[0], pipe_fds[0]);
        works(loop, item.fds[1], pipe_fds[0]);
        close_near(loop, item.fds[0]);
        close_near(loop, item.fds[1]);
        assert_int_equal(read(pipe_fds[0], &(char){0}, 1), 0); /* the last that wrote is gone */
        close_far(pipe_fds[0]);
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
        assert_int_equal(count_fds(), before);
    }
    finish(loop);
}

static void ops_control_passes_as_many_as_go(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    static ferry_fd sent[FERRY_CONTROL_FDS_MAX];
    static uint64_t control[2][FERRY_CONTROL_WORDS(sizeof sent)];
    ferry_fd fds[2];
    ferry_control item;
    struct letter out, in;
    size_t before = count_fds();
    unix_pair(fds, SOCK_STREAM);
    for (size_t i = 0; i < FERRY_CONTROL_FDS_MAX; i++) sent[i] = fds[0];
    letter_write(&out, "x");
    letter_blank(&in, 1);
    out.msg.control = control[0];
    in.msg.control = control[1];
    out.msg.control_room = in.msg.control_room = sizeof control[0];
    letter_enclose(&out, sent, FERRY_CONTROL_FDS_MAX);
    letter_pass(loop, &out, fds[0], &in, fds[1], "x");
    assert_int_equal(in.msg.flags, 0);
    assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
    assert_int_equal(item.count, FERRY_CONTROL_FDS_MAX);
    for (size_t i = 0; i < item.count; i++) close_far(item.fds[i]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    assert_int_equal(count_fds(), before);
    finish(loop);
}

/* Those that do not fit are closed: `room` bytes of control data give `fit` of four descriptors. */
static void cut_at(ferry_loop *loop, int type, size_t room, size_t fit) {
    ferry_fd fds[2], pipe_fds[2];
    ferry_control item;
    struct letter out, in;
    size_t before = count_fds();
    unix_pair(fds, type);
    plain_pipe(pipe_fds);
    letter_write(&out, "four");
    letter_blank(&in, 100);
    const ferry_fd sent[4] = {pipe_fds[1], pipe_fds[1], pipe_fds[1], pipe_fds[1]};
    letter_enclose(&out, sent, 4);
    in.msg.control_room = room;
    if (room == 0) in.msg.control = NULL;
    letter_pass(loop, &out, fds[0], &in, fds[1], "four");
    assert_int_equal(in.msg.flags, fit == 4 ? 0 : FERRY_MSG_CONTROL_TRUNCATED);
    assert_int_equal(count_fds(), before + 4 + fit);
    assert_int_equal(letter_find(&in, FERRY_CONTROL_FDS, &item), fit > 0);
    if (fit > 0) assert_int_equal(item.count, fit);
    for (size_t i = 0; i < fit; i++) close_near(loop, item.fds[i]);
    close_far(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &(char){0}, 1), 0);
    close_far(pipe_fds[0]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    assert_int_equal(count_fds(), before);
}

static void ops_control_truncated_leaks_nothing(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int i = 0; i < 2; i++) {
        cut_at(loop, types[i], 0, 0);
        cut_at(loop, types[i], 8, 0);
        cut_at(loop, types[i], 16, 0);
        cut_at(loop, types[i], 20, 1);
        cut_at(loop, types[i], 24, 2);
        cut_at(loop, types[i], 28, 3);
        cut_at(loop, types[i], 32, 4);
        cut_at(loop, types[i], 200, 4);
    }
    finish(loop);
}

/* With no number left for them the descriptors are gone, but not the data. */
static void ops_control_descriptors_run_out(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter out, in;
    ferry_control item;
    unix_pair(fds, SOCK_STREAM);
    letter_write(&out, "data");
    letter_blank(&in, 100);
    const ferry_fd sent[2] = {fds[0], fds[0]};
    letter_enclose(&out, sent, 2);
    size_t before = count_fds();
    ferry_fd top = dup(0);
    assert_true(top >= 0);
    close_far(top);
    assert_int_equal(set_fd_limit((unsigned)top + 1), 0); /* one is left */
    letter_pass(loop, &out, fds[0], &in, fds[1], "data");
    assert_int_equal(in.msg.flags, FERRY_MSG_CONTROL_TRUNCATED);
    assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
    assert_int_equal(item.count, 1);
    close_near(loop, item.fds[0]);
    assert_int_equal(set_fd_limit(1000), 0);
    assert_int_equal(count_fds(), before);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* Whatever the loop knew of a number is void when the number comes with a message. */
static void ops_control_descriptors_are_new(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], pipe_fds[2];
    char buf[8] = "";
    struct probe write = {.calls = 0}, read = {.calls = 0};
    struct letter out, in;
    ferry_control item;
    unix_pair(fds, SOCK_STREAM);
    ferry_fd file = make_file(temp_path("file"), "contents", 8);
    assert_int_equal(ferry_pipe(loop, pipe_fds), 0);
    ferry_write(loop, &write.op, pipe_fds[1], "x", 1, FERRY_CURRENT, 0, probe_done);
    expect(loop, &write, 1);
    close_near(loop, pipe_fds[1]);
    close_far(pipe_fds[0]); /* behind the loop's back, which takes the number for a pipe */
    letter_write(&out, "a file");
    letter_blank(&in, 100);
    letter_enclose(&out, &file, 1);
    letter_pass(loop, &out, fds[0], &in, fds[1], "a file");
    assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
    assert_int_equal(item.fds[0], pipe_fds[0]);
    ferry_read(loop, &read.op, item.fds[0], buf, 8, 0, 0, probe_done); /* ESPIPE on a pipe */
    expect(loop, &read, 8);
    close_near(loop, item.fds[0]);
    close_near(loop, file);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

/* ---- Over streams, in pieces ----------------------------------------------------------- */

/* Control data goes with the first piece, though the rest takes many calls. */
static void contract_08_control_data_is_sent_once(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    static char data[600 * KIB];
    ferry_fd fds[2];
    struct letter out, in;
    size_t got = 0, descriptors = 0, before = count_fds();
    unix_pair(fds, SOCK_STREAM);
    set_buffers(fds[0], 8192);
    fill(data, sizeof data, 21);
    letter_write(&out, "");
    letter_enclose(&out, &fds[0], 1);
    out.vecs[0] = (ferry_vec)VEC(data, 100 * KIB);
    out.vecs[1] = (ferry_vec)VEC(data + 100 * KIB, 500 * KIB);
    letter_send(loop, &out, fds[0], 0);
    for (unsigned i = 0; got < sizeof data; i++) {
        ferry_control item;
        letter_blank(&in, sizeof in.data);
        letter_recv(loop, &in, fds[1], 0);
        probe_wait(loop, &in.p);
        assert_true(in.p.result > 0);
        assert_true(is_filled(in.data, (size_t)in.p.result, 21 + got));
        got += (size_t)in.p.result;
        if (!letter_find(&in, FERRY_CONTROL_FDS, &item)) continue;
        assert_int_equal(i, 0);
        descriptors += item.count;
        close_near(loop, item.fds[0]);
    }
    expect_all(loop, &out.p, sizeof data, sizeof data, 0);
    assert_int_equal(descriptors, 1);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    assert_int_equal(count_fds(), before);
    finish(loop);
}

/* Receiving all, what came with each piece is there, in order. */
static void contract_08_recvmsg_all_gathers_control_data(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    ferry_fd fds[2], pipe_fds[3][2];
    struct letter out, in;
    size_t before = count_fds(), descriptors = 0;
    unix_pair(fds, SOCK_STREAM);
    letter_blank(&in, 30);
    letter_recv(loop, &in, fds[1], FERRY_ALL);
    for (size_t i = 0; i < 3; i++) {
        plain_pipe(pipe_fds[i]);
        letter_write(&out, "ten bytes.");
        letter_enclose(&out, &pipe_fds[i][1], 1);
        letter_send(loop, &out, fds[0], 0);
        expect(loop, &out.p, 10);
        close_far(pipe_fds[i][1]);
        run_for(loop, i == 0 ? 5 * MS : 1);
    }
    expect_all(loop, &in.p, 30, 30, 0);
    assert_memory_equal(in.data, "ten bytes.ten bytes.ten bytes.", 30);
    assert_int_equal(in.msg.flags, 0);
    ferry_control item = {.at = 0};
    while (ferry_control_next(in.msg.control, in.msg.control_len, &item)) {
        if (item.kind != FERRY_CONTROL_FDS) continue;
        for (size_t i = 0; i < item.count; i++) {
            works(loop, item.fds[i], pipe_fds[descriptors++][0]);
            close_near(loop, item.fds[i]);
        }
    }
    assert_int_equal(descriptors, 3);
    for (size_t i = 0; i < 3; i++) close_far(pipe_fds[i][0]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    assert_int_equal(count_fds(), before);
    finish(loop);
}

/* An error that cuts the transfer short does not take the descriptors that have come. */
static void contract_05_descriptors_that_came_are_not_lost(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    struct letter out, in;
    ferry_control item;
    size_t before = count_fds();
    unix_pair(fds, SOCK_STREAM);
    letter_blank(&in, 30);
    letter_write(&out, "ten bytes.");
    letter_enclose(&out, &fds[0], 1);
    letter_recv(loop, &in, fds[1], FERRY_ALL);
    letter_send(loop, &out, fds[0], 0);
    expect(loop, &out.p, 10);
    run_for(loop, 5 * MS);
    ferry_cancel(loop, &in.p.op);
    expect_all(loop, &in.p, FERRY_ECANCELED, 10, 0);
    assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
    close_near(loop, item.fds[0]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    assert_int_equal(count_fds(), before);
    finish(loop);
}

/* ---- Credentials ----------------------------------------------------------------------- */

static void ops_control_passes_credentials(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 2 + TEST_SEQPACKET; i++) {
        ferry_fd fds[2];
        ferry_control item = {.kind = FERRY_CONTROL_CREDENTIALS};
        struct letter out, in;
        unix_pair(fds, types[i]);
        letter_write(&out, "who am I?");
        letter_blank(&in, 100);
        letter_pass(loop, &out, fds[0], &in, fds[1], "who am I?");
        assert_int_equal(letter_count(&in, FERRY_CONTROL_CREDENTIALS), 0);
        assert_int_equal(ferry_socket_set(loop, fds[1], FERRY_OPT_PASS_CREDENTIALS, 1), 0);
        for (int given = 0; given < 2; given++) {
            if (given) { /* one's own may be given as well, and nobody else's by most */
                item = (ferry_control){.kind = FERRY_CONTROL_CREDENTIALS,
                                       .pid = getpid(),
                                       .user = getuid(),
                                       .group = getgid()};
                assert_int_equal(ferry_control_add(&out.msg, &item), 0);
            }
            letter_pass(loop, &out, fds[0], &in, fds[1], "who am I?");
            assert_true(letter_find(&in, FERRY_CONTROL_CREDENTIALS, &item));
            assert_int_equal(item.pid, getpid());
            assert_int_equal(item.user, getuid());
            assert_int_equal(item.group, getgid());
            assert_int_equal(in.msg.flags, 0);
        }
        in.msg.control_room = 24; /* half of them: they say nothing */
        letter_pass(loop, &out, fds[0], &in, fds[1], "who am I?");
        assert_int_equal(in.msg.flags, FERRY_MSG_CONTROL_TRUNCATED);
        assert_int_equal(letter_count(&in, FERRY_CONTROL_CREDENTIALS), 0);
        close_near(loop, fds[0]);
        close_near(loop, fds[1]);
    }
    finish(loop);
}

static void ops_control_descriptors_and_credentials(void **state) {
    (void)state;
    need_passing();
    ferry_loop *loop = test_loop();
    ferry_fd fds[2];
    ferry_control item;
    struct letter out, in;
    unix_pair(fds, SOCK_STREAM);
    assert_int_equal(ferry_socket_set(loop, fds[1], FERRY_OPT_PASS_CREDENTIALS, 1), 0);
    letter_write(&out, "both");
    letter_blank(&in, 100);
    letter_enclose(&out, &fds[0], 1);
    letter_pass(loop, &out, fds[0], &in, fds[1], "both");
    assert_int_equal(letter_count(&in, FERRY_CONTROL_CREDENTIALS), 1);
    assert_true(letter_find(&in, FERRY_CONTROL_FDS, &item));
    assert_int_equal(item.count, 1);
    close_near(loop, item.fds[0]);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    finish(loop);
}

const struct contract_test ops_control_tests[] = {
    {"ops_control_reads_what_it_wrote", ops_control_reads_what_it_wrote, 0},
    {"ops_control_room", ops_control_room, 0},
    {"ops_control_refuses", ops_control_refuses, 0},
    {"ops_control_of_garbage", ops_control_of_garbage, 0},
    {"ops_control_passes_descriptors", ops_control_passes_descriptors, 0},
    {"ops_control_passes_as_many_as_go", ops_control_passes_as_many_as_go, 0},
    {"ops_control_truncated_leaks_nothing", ops_control_truncated_leaks_nothing, 0},
    {"ops_control_descriptors_run_out", ops_control_descriptors_run_out, 0},
    {"ops_control_descriptors_are_new", ops_control_descriptors_are_new, 0},
    {"contract_08_control_data_is_sent_once", contract_08_control_data_is_sent_once, 0},
    {"contract_08_recvmsg_all_gathers_control_data", contract_08_recvmsg_all_gathers_control_data,
     0},
    {"contract_05_descriptors_that_came_are_not_lost",
     contract_05_descriptors_that_came_are_not_lost, 0},
    {"ops_control_passes_credentials", ops_control_passes_credentials, 0},
    {"ops_control_descriptors_and_credentials", ops_control_descriptors_and_credentials, 0},
    {NULL, NULL, 0},
};
