/* http.h - as much of HTTP/1.1 as a server of static files needs: no input, no output, no memory
 *
 *   http_parse.c  what a client asks for (RFC 9110, RFC 9112)
 *   http_words.c  the words of answers: dates, tags, media types, names in links
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_HEAD_MAX = 8192, /* bytes of a request's head */
    HTTP_PATH_MAX = 1024, /* of a path, with its 0 */
    HTTP_TAGS_BYTES = 256,
    HTTP_TAG_BYTES = 40,
    HTTP_DATE_BYTES = 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and its 0 */
};

#define HTTP_NEVER INT64_MIN /* in the place of a date: there is none */

enum http_parsed { HTTP_INCOMPLETE, HTTP_REQUEST, HTTP_BAD };

/* The part of a file that is asked for; first and last byte are both included. */
struct http_range {
    enum { HTTP_WHOLE, HTTP_FROM_TO, HTTP_FROM, HTTP_SUFFIX } kind;
    uint64_t first; /* of a SUFFIX: how many bytes */
    uint64_t last;
};

struct http_request {
    int status;      /* 200, or what is wrong with it */
    bool is_head;    /* HEAD: the answer has no body */
    bool is_1_0;     /* HTTP/1.0 */
    bool keep_alive; /* other requests may follow on this connection */
    bool says_close; /* none will: whatever else it says */
    bool has_host;
    struct http_range range;
    int64_t if_modified_since, if_unmodified_since; /* seconds since 1970 */
    size_t path_len;
    char path[HTTP_PATH_MAX];            /* decoded, without the slashes in front: "" is the root */
    char if_match[HTTP_TAGS_BYTES];      /* a list of tags; "" for none */
    char if_none_match[HTTP_TAGS_BYTES]; /* the same */
    char if_range[HTTP_TAG_BYTES];       /* a tag or a date; "" for none */
};

/* Looks for a whole request head in len bytes at text, and tells in *used how many bytes it was.
 * BAD: request->status tells why, and nothing more can be read from this connection. INCOMPLETE:
 * *used bytes of empty lines in front of it can be dropped. */
enum http_parsed http_parse(const char *text, size_t len, struct http_request *request,
                            size_t *used);

/* What is sent of a file of size bytes: 200, 206 or 416; *first and *count tell which bytes. */
int http_range_resolve(const struct http_range *range, uint64_t size, uint64_t *first,
                       uint64_t *count);

/* "404 Not Found" */
const char *http_status(int status);

/* Writes seconds since 1970 as a date; returns its length. */
size_t http_date(int64_t seconds, char date[HTTP_DATE_BYTES]);
/* Seconds since 1970, or HTTP_NEVER if that is no date. */
int64_t http_date_parse(const char *text);

/* Writes a tag, with its quotes, that another state of the file would not have. */
void http_tag(uint64_t inode, uint64_t size, int64_t modified_ns, char tag[HTTP_TAG_BYTES]);

/* The media type that goes with the end of a name. */
const char *http_type(const char *path);

/* Write text as it may stand in HTML, or in the path of a link: at most 6, or 3, bytes for each of
 * its own, without a 0. Return how many. */
size_t http_escape_html(const char *text, char *to);
size_t http_escape_path(const char *text, char *to);

#endif
