/* letters.h - messages with their memory around them, for the tests of recvmsg and sendmsg
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_LETTERS_H
#define FERRY_TEST_LETTERS_H

#include "trouble_stage.h"

/* A message, two vectors (the first of 3 bytes), an address and room for control data. */
struct letter {
    struct probe p;
    ferry_msg msg;
    ferry_vec vecs[2];
    ferry_addr addr;
    uint64_t control[FERRY_CONTROL_WORDS_ALL + FERRY_CONTROL_WORDS(64)];
    char data[4096];
};

/* Empties it for a receive of at most len bytes, and for a send of text. */
void letter_blank(struct letter *l, size_t len);
void letter_write(struct letter *l, const char *text);
void letter_enclose(struct letter *l, const ferry_fd *fds, size_t count);

/* Submit it anew; the probe is emptied. */
void letter_recv(ferry_loop *loop, struct letter *l, ferry_fd fd, unsigned flags);
void letter_send(ferry_loop *loop, struct letter *l, ferry_fd fd, unsigned flags);

/* Both at once, and asserts that text came whole. */
void letter_pass(ferry_loop *loop, struct letter *out, ferry_fd from, struct letter *in,
                 ferry_fd to, const char *text);

/* Asserts that text was received. */
void letter_reads(const struct letter *l, const char *text);

/* Finds the one item of that kind in what was received: 1, or 0 if there is none. */
int letter_find(const struct letter *l, enum ferry_control_kind kind, ferry_control *item);
size_t letter_count(const struct letter *l, enum ferry_control_kind kind);

/* The value of an option; asserts that it can be told. */
int64_t option_of(ferry_loop *loop, ferry_fd fd, enum ferry_option option);

/* A datagram socket bound to text; fills *addr with what it became. FERRY_FD_NONE where there is no
 * IPv6. */
ferry_fd udp_at(ferry_loop *loop, const char *text, ferry_addr *addr);

/* Asserts that two addresses are the same, port included. */
void assert_same_addr(const ferry_addr *a, const ferry_addr *b);

/* Open descriptors of this process, and the assertion that there are as many as before. */
size_t count_fds(void);

#endif
