/* answer.c - see answer.h
 *
 *     request -> file -> head -> small file: read behind the head, one send
 *                             -> large file: send the head, ferry_sendfile() in pieces
 *                     -> directory: its index.html, or listing.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "answer.h"
#include "listing.h"
#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A large file goes out in pieces, so that the deadline tells slow clients from large files. */
#define PIECE_BYTES ((uint64_t)1 << 20)

/* ---- Heads ----------------------------------------------------------------------------- */

void head_add(struct exchange *x, const char *text, size_t len) {
    if (len > sizeof x->bytes - x->head_len) fail("a head", FERRY_EOVERFLOW);
    memcpy(x->bytes + x->head_len, text, len);
    x->head_len += len;
}

void head_add_text(struct exchange *x, const char *text) {
    head_add(x, text, strlen(text));
}

/* Fields that are the same for a second; looked at four times in one. */
static void common_fields_add(struct exchange *x) {
    static char fields[64];
    static size_t len;
    static uint64_t good_until_ns;
    if (ferry_now(loop) >= good_until_ns) {
        char date[HTTP_DATE_BYTES];
        http_date(time(NULL), date);
        len = (size_t)snprintf(fields, sizeof fields, "Server: ferry\r\nDate: %s\r\n", date);
        good_until_ns = ferry_now(loop) + 250000000u;
    }
    head_add(x, fields, len);
}

void head_begin(struct exchange *x, int status) {
    x->head_len = 0;
    head_add_text(x, "HTTP/1.1 ");
    head_add_text(x, http_status(status));
    head_add_text(x, "\r\n");
    common_fields_add(x);
    if (!x->request.keep_alive) {
        head_add_text(x, "Connection: close\r\n");
    } else if (x->request.is_1_0) {
        head_add_text(x, "Connection: keep-alive\r\n");
    }
}

/* ---- Sending --------------------------------------------------------------------------- */

static void piece_send(struct exchange *x);

/* An operation that sends has ended. */
static void sent(struct exchange *x, const ferry_op *op) {
    if (op->result < 0) x->is_cut = true;
    if (--x->flying > 0) return;
    if (x->is_cut || x->left == 0) {
        exchange_end(x, !x->is_cut);
    } else {
        piece_send(x);
    }
}

static void on_bytes_sent(ferry_op *op) {
    sent(ferry_container(op, struct exchange, op), op);
}

static void on_piece_sent(ferry_op *op) {
    struct exchange *x = ferry_container(op, struct exchange, body);
    if (op->flags & FERRY_EOF) { /* shorter than was told: only the end of all can tell that */
        x->is_cut = true;
        file_forget(x->file);
    }
    sent(x, op);
}

static void bytes_send(struct exchange *x, size_t len) {
    x->flying++;
    x->op.deadline_ns = SEND_NS;
    ferry_send(loop, &x->op, exchange_fd(x), x->bytes, len, 0, on_bytes_sent);
}

static void piece_send(struct exchange *x) {
    uint64_t bytes = x->left < PIECE_BYTES ? x->left : PIECE_BYTES;
    x->flying++;
    x->body.deadline_ns = SEND_NS;
    ferry_sendfile(loop, &x->body, exchange_fd(x), x->file->fd, x->offset, (size_t)bytes, 0,
                   on_piece_sent);
    x->offset += bytes;
    x->left -= bytes;
}

void answer_status(struct exchange *x, int status, const char *fields) {
    char text[128];
    const char *what = http_status(status);
    head_begin(x, status);
    head_add_text(x, fields);
    if (status == 405) head_add_text(x, "Allow: GET, HEAD\r\n");
    snprintf(text, sizeof text,
             "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n\r\n",
             strlen(what) + 1);
    head_add_text(x, text);
    if (!x->request.is_head) {
        head_add_text(x, what);
        head_add_text(x, "\n");
    }
    bytes_send(x, x->head_len);
}

/* ---- A file ---------------------------------------------------------------------------- */

static void on_file(struct file_user *user, struct file *file);

/* A small file is there, behind its head. Or it has become shorter since it was asked for its size:
 * nothing was sent yet, so it is looked at anew. */
static void on_read(ferry_op *op) {
    struct exchange *x = ferry_container(op, struct exchange, op);
    if (op->result == (int64_t)x->small_len) {
        bytes_send(x, x->head_len + x->small_len);
    } else if (op->result < 0 || x->is_second_try) {
        answer_status(x, 500, "");
    } else {
        struct file *file = x->file;
        x->is_second_try = true;
        x->file = NULL;
        x->user.ready = on_file;
        file_forget(file);
        file_put(file);
        file_get(x->request.path, &x->user);
    }
}

/* Sends the head and what follows it: bytes of the file, from first on. */
static void file_send(struct exchange *x, uint64_t first, uint64_t bytes) {
    if (x->request.is_head || bytes == 0) {
        bytes_send(x, x->head_len);
    } else if (bytes <= sizeof x->bytes - x->head_len) {
        x->small_len = (size_t)bytes;
        x->op.deadline_ns = 0;
        ferry_read(loop, &x->op, x->file->fd, x->bytes + x->head_len, x->small_len, first,
                   FERRY_ALL, on_read);
    } else {
        x->offset = first;
        x->left = bytes;
        bytes_send(x, x->head_len);
        piece_send(x);
    }
}

/* The head of an answer that is not all of the file. */
static void part_head(struct exchange *x, int status, uint64_t first, uint64_t bytes) {
    char text[192];
    const struct file *file = x->file;
    head_begin(x, status);
    head_add(x, file->fields, file->state_len);
    if (status == 206) {
        snprintf(text, sizeof text,
                 "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n"
                 "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                 file_type(file), bytes, first, first + bytes - 1, file->size);
        head_add_text(x, text);
    }
    head_add_text(x, "\r\n");
}

/* What a weak tag names ("W/" stands before it) means the same, but maybe in other bytes. */
static bool is_listed(const struct file *file, const char *tags, bool weak_counts) {
    if (strcmp(tags, "*") == 0) return true;
    const char *at = strstr(tags, file->tag); /* its quotes are its ends */
    return at != NULL && (weak_counts || at == tags || at[-1] != '/');
}

/* Does the client want another state than the present one? RFC 9110, 13.2.2, tells in which order
 * these questions are asked. */
static bool is_unwanted(const struct http_request *request, const struct file *file) {
    if (request->if_match[0] != '\0') return !is_listed(file, request->if_match, false);
    return request->if_unmodified_since != HTTP_NEVER &&
           request->if_unmodified_since < file->modified;
}

/* Has it the present one already? */
static bool is_known(const struct http_request *request, const struct file *file) {
    if (request->if_none_match[0] != '\0') return is_listed(file, request->if_none_match, true);
    return request->if_modified_since >= file->modified;
}

/* A range of another state than the client's would not fit to what it has. */
static bool wants_range(const struct http_request *request, const struct file *file) {
    if (request->range.kind == HTTP_WHOLE || request->is_head) return false;
    return request->if_range[0] == '\0' || strcmp(request->if_range, file->tag) == 0 ||
           strcmp(request->if_range, file->modified_date) == 0;
}

static void answer_file(struct exchange *x) {
    const struct http_request *request = &x->request;
    const struct file *file = x->file;
    uint64_t first = 0, bytes = file->size;
    if (is_unwanted(request, file)) {
        answer_status(x, 412, "");
        return;
    }
    if (is_known(request, file)) {
        part_head(x, 304, 0, 0);
        bytes_send(x, x->head_len);
        return;
    }
    int status = 200;
    if (wants_range(request, file)) {
        status = http_range_resolve(&request->range, file->size, &first, &bytes);
    }
    if (status == 416) {
        char field[64];
        snprintf(field, sizeof field, "Content-Range: bytes */%" PRIu64 "\r\n", file->size);
        answer_status(x, 416, field);
        return;
    }
    if (status == 206) {
        part_head(x, 206, first, bytes);
    } else {
        head_begin(x, 200);
        head_add(x, file->fields, file->fields_len);
    }
    file_send(x, first, bytes);
}

/* ---- A directory ----------------------------------------------------------------------- */

static void on_index(struct file_user *user, struct file *file) {
    struct exchange *x = ferry_container(user, struct exchange, user);
    if (file->status == 404 || (file->status == 200 && file->is_directory)) {
        file_put(file);
        listing_begin(x);
        return;
    }
    file_put(x->file);
    x->file = file;
    if (file->status == 200) {
        answer_file(x);
    } else {
        answer_status(x, file->status, "");
    }
}

/* Links in a page are relative to the directory only if the path ends with a slash. */
static void answer_redirect(struct exchange *x) {
    char fields[3 * HTTP_PATH_MAX + 32] = "Location: /";
    size_t len = strlen(fields);
    len += http_escape_path(x->request.path, fields + len);
    memcpy(fields + len, "/\r\n", 4);
    answer_status(x, 301, fields);
}

static void answer_directory(struct exchange *x) {
    static const char name[] = "index.html";
    char path[HTTP_PATH_MAX + sizeof name];
    memcpy(path, x->request.path, x->request.path_len);
    memcpy(path + x->request.path_len, name, sizeof name);
    x->user.ready = on_index;
    file_get(path, &x->user);
}

/* ---- Requests -------------------------------------------------------------------------- */

static void on_file(struct file_user *user, struct file *file) {
    struct exchange *x = ferry_container(user, struct exchange, user);
    const struct http_request *request = &x->request;
    bool has_slash = request->path_len == 0 || request->path[request->path_len - 1] == '/';
    x->file = file;
    if (file->status != 200) {
        answer_status(x, file->status, "");
    } else if (!file->is_directory) {
        answer_file(x); /* its path does not end with a slash: it would not have been opened */
    } else if (has_slash) {
        answer_directory(x);
    } else {
        answer_redirect(x);
    }
}

void answer(struct exchange *x) {
    x->user.ready = on_file;
    file_get(x->request.path, &x->user);
}
