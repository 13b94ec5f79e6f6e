/* letters.c - messages with their memory around them
 *
 * SPDX-License-Identifier: MIT
 */
#include "letters.h"

#include <string.h>

static void cut(struct letter *l, size_t len) {
    size_t head = len < 3 ? len : 3;
    l->vecs[0] = (ferry_vec)VEC(l->data, head);
    l->vecs[1] = (ferry_vec)VEC(l->data + head, len - head);
    l->msg = (ferry_msg){.vecs = l->vecs,
                         .count = 2,
                         .addr = &l->addr,
                         .control = l->control,
                         .control_room = sizeof l->control};
}

void letter_blank(struct letter *l, size_t len) {
    memset(l, 0xee, sizeof *l);
    assert_true(len <= sizeof l->data);
    cut(l, len);
}

void letter_write(struct letter *l, const char *text) {
    memset(l, 0, sizeof *l);
    assert_true(strlen(text) <= sizeof l->data);
    memcpy(l->data, text, strlen(text));
    cut(l, strlen(text));
}

void letter_enclose(struct letter *l, const ferry_fd *fds, size_t count) {
    const ferry_control item = {.kind = FERRY_CONTROL_FDS, .fds = fds, .count = count};
    assert_int_equal(ferry_control_add(&l->msg, &item), 0);
}

void letter_recv(ferry_loop *loop, struct letter *l, ferry_fd fd, unsigned flags) {
    memset(&l->p, 0, sizeof l->p);
    ferry_recvmsg(loop, &l->p.op, fd, &l->msg, flags, probe_done);
}

void letter_send(ferry_loop *loop, struct letter *l, ferry_fd fd, unsigned flags) {
    memset(&l->p, 0, sizeof l->p);
    ferry_sendmsg(loop, &l->p.op, fd, &l->msg, flags, probe_done);
}

void letter_pass(ferry_loop *loop, struct letter *out, ferry_fd from, struct letter *in,
                 ferry_fd to, const char *text) {
    int64_t len = (int64_t)strlen(text);
    letter_recv(loop, in, to, 0);
    letter_send(loop, out, from, 0);
    expect_all(loop, &out->p, len, (uint64_t)len, 0);
    expect_all(loop, &in->p, len, (uint64_t)len, 0);
    letter_reads(in, text);
}

void letter_reads(const struct letter *l, const char *text) {
    assert_int_equal(l->p.result, strlen(text));
    assert_memory_equal(l->data, text, strlen(text));
}

int letter_find(const struct letter *l, enum ferry_control_kind kind, ferry_control *item) {
    memset(item, 0, sizeof *item);
    while (ferry_control_next(l->msg.control, l->msg.control_len, item)) {
        if (item->kind == kind) return 1;
    }
    return 0;
}

size_t letter_count(const struct letter *l, enum ferry_control_kind kind) {
    ferry_control item = {.at = 0};
    size_t count = 0;
    while (ferry_control_next(l->msg.control, l->msg.control_len, &item)) {
        count += item.kind == kind;
    }
    return count;
}

int64_t option_of(ferry_loop *loop, ferry_fd fd, enum ferry_option option) {
    int64_t value = -77;
    assert_int_equal(ferry_socket_get(loop, fd, option, &value), 0);
    return value;
}

ferry_fd udp_at(ferry_loop *loop, const char *text, ferry_addr *addr) {
    ferry_fd fd = FERRY_FD_NONE;
    enum ferry_family family = text[0] == '[' ? FERRY_INET6 : FERRY_INET;
    int error = ferry_socket(loop, &fd, family, FERRY_DATAGRAM);
    if (error == FERRY_EAFNOSUPPORT && family == FERRY_INET6) return FERRY_FD_NONE;
    assert_int_equal(error, 0);
    assert_int_equal(ferry_addr_parse(addr, text), 0);
    error = ferry_bind(loop, fd, addr);
    if (error == FERRY_EADDRNOTAVAIL && family == FERRY_INET6) {
        close_near(loop, fd);
        return FERRY_FD_NONE;
    }
    assert_int_equal(error, 0);
    assert_int_equal(ferry_local_addr(loop, fd, addr), 0);
    return fd;
}

void assert_same_addr(const ferry_addr *a, const ferry_addr *b) {
    char one[128], other[128];
    (void)ferry_addr_format(a, one, sizeof one);
    (void)ferry_addr_format(b, other, sizeof other);
    assert_string_equal(one, other);
    assert_int_equal(a->len, b->len);
}

size_t count_fds(void) {
    return list_fds(NULL, 0);
}
