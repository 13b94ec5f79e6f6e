/* listing.c - see listing.h
 *
 * A batch of names is listed and sent, then the next, each a chunk of the page (RFC 9112, 7.1): a
 * directory with a million names takes no more memory than one with ten. That is why they are not
 * sorted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listing.h"
#include "answer.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_BYTES = 4096,
    /* A byte of a name becomes 9 at most, as link and as text; besides it an entry's constant text
     * is shorter than 9 times what an entry takes without its name. */
    PAGE_BYTES = 9 * ENTRIES_BYTES + 6 * HTTP_PATH_MAX + 1024,
    CHUNK_HEAD_LEN = 8 /* six digits and the end of the line */
};

struct listing {
    struct exchange *exchange;
    ferry_op op;
    ferry_fd fd;
    bool is_last; /* the page is complete */
    size_t chunk; /* where the chunk's head stands in the page */
    size_t page_len;
    char entries[ENTRIES_BYTES];
    char page[PAGE_BYTES];
};

static void listing_end(struct listing *l, bool is_sent) {
    struct exchange *x = l->exchange;
    if (l->fd != FERRY_FD_NONE) ferry_close(loop, NULL, l->fd, 0, NULL);
    free(l);
    exchange_end(x, is_sent);
}

static void listing_fail(struct listing *l, int64_t error) {
    struct exchange *x = l->exchange;
    if (l->fd != FERRY_FD_NONE) ferry_close(loop, NULL, l->fd, 0, NULL);
    free(l);
    answer_status(x, error == FERRY_EACCES ? 403 : 500, "");
}

/* ---- The page -------------------------------------------------------------------------- */

static void page_add(struct listing *l, const char *text) {
    size_t len = strlen(text);
    memcpy(l->page + l->page_len, text, len);
    l->page_len += len;
}

static void page_add_entry(struct listing *l, const ferry_entry *entry) {
    const char *slash = entry->type == FERRY_FILE_DIRECTORY ? "/" : "";
    page_add(l, "<li><a href=\"");
    l->page_len += http_escape_path(entry->name, l->page + l->page_len);
    page_add(l, slash);
    page_add(l, "\">");
    l->page_len += http_escape_html(entry->name, l->page + l->page_len);
    page_add(l, slash);
    page_add(l, "</a>\n");
}

/* Old clients know no chunks: for them the page ends with the connection. */
static bool is_chunked(const struct listing *l) {
    return !l->exchange->request.is_1_0;
}

static void chunk_begin(struct listing *l) {
    l->chunk = l->page_len;
    if (is_chunked(l)) l->page_len += CHUNK_HEAD_LEN;
}

static void chunk_end(struct listing *l) {
    char head[CHUNK_HEAD_LEN + 1];
    if (!is_chunked(l)) return;
    snprintf(head, sizeof head, "%06zx\r\n", (l->page_len - l->chunk - CHUNK_HEAD_LEN) & 0xffffff);
    memcpy(l->page + l->chunk, head, CHUNK_HEAD_LEN);
    page_add(l, l->is_last ? "\r\n0\r\n\r\n" : "\r\n");
}

static void page_begin(struct listing *l) {
    struct exchange *x = l->exchange;
    if (!is_chunked(l)) x->request.keep_alive = false;
    head_begin(x, 200);
    head_add_text(x, "Content-Type: text/html; charset=utf-8\r\n");
    if (is_chunked(l)) head_add_text(x, "Transfer-Encoding: chunked\r\n");
    head_add_text(x, "\r\n");
    memcpy(l->page, x->bytes, x->head_len);
    l->page_len = x->head_len;
    chunk_begin(l);
    page_add(l, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>/");
    l->page_len += http_escape_html(x->request.path, l->page + l->page_len);
    page_add(l, "</title>\n<ul>\n");
}

/* ---- Its way --------------------------------------------------------------------------- */

static void list_more(struct listing *l);

static void on_sent(ferry_op *op) {
    struct listing *l = ferry_container(op, struct listing, op);
    if (op->result < 0 || l->is_last) {
        listing_end(l, op->result >= 0);
        return;
    }
    l->page_len = 0;
    chunk_begin(l);
    list_more(l);
}

static void page_send(struct listing *l) {
    l->op.deadline_ns = SEND_NS;
    ferry_send(loop, &l->op, exchange_fd(l->exchange), l->page, l->page_len, 0, on_sent);
}

static void on_listed(ferry_op *op) {
    struct listing *l = ferry_container(op, struct listing, op);
    ferry_entry entry = {0};
    if (op->result < 0) {
        listing_end(l, false); /* the end of the connection tells that the page is not complete */
        return;
    }
    while (ferry_entry_next(l->entries, op->result, &entry)) page_add_entry(l, &entry);
    if (op->flags & FERRY_EOF) {
        l->is_last = true;
        page_add(l, "</ul>\n");
    }
    chunk_end(l);
    page_send(l);
}

static void list_more(struct listing *l) {
    l->op.deadline_ns = 0;
    ferry_list(loop, &l->op, l->fd, l->entries, sizeof l->entries, 0, on_listed);
}

static void on_opened(ferry_op *op) {
    struct listing *l = ferry_container(op, struct listing, op);
    if (op->result < 0) {
        listing_fail(l, op->result);
        return;
    }
    l->fd = (ferry_fd)op->result;
    page_begin(l);
    if (l->exchange->request.is_head) {
        l->is_last = true;
        l->page_len = l->exchange->head_len;
        page_send(l);
    } else {
        list_more(l);
    }
}

/* x->file may be in use by others, and a listing goes on where the last through the same descriptor
 * has ended: so the directory is opened once more. */
void listing_begin(struct exchange *x) {
    struct listing *l = need(malloc(sizeof *l));
    l->exchange = x;
    l->op = (ferry_op){0};
    l->fd = FERRY_FD_NONE;
    l->is_last = false;
    ferry_open_at(loop, &l->op, x->file->fd, ".", FERRY_OPEN_READ | FERRY_OPEN_DIRECTORY, 0, 0,
                  on_opened);
}
