/* http_parse.c - see http.h
 *
 * What a parser lets pass that others read differently is how requests are smuggled past proxies:
 * so lines that are not clearly right are refused, and after a bad request the connection ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <string.h>
#include <strings.h>

/* A piece of the request, where it lies. */
struct text {
    const char *at;
    size_t len;
};

static bool is(struct text text, const char *word) {
    return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static void skip(struct text *text, size_t bytes) {
    text->at += bytes;
    text->len -= bytes;
}

/* Nothing but letters, digits and such marks. */
static bool is_made_of(struct text text, const char *marks) {
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.at[i], lower = byte | 0x20;
        bool is_plain = (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9');
        if (!is_plain && strchr(marks, byte) == NULL) return false;
    }
    return true;
}

/* Neither blanks nor control characters. */
static bool is_visible(struct text text) {
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] <= ' ' || text.at[i] == 0x7f) return false;
    }
    return true;
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static struct text trimmed(struct text text) {
    while (text.len > 0 && is_blank(text.at[0])) skip(&text, 1);
    while (text.len > 0 && is_blank(text.at[text.len - 1])) text.len--;
    return text;
}

/* Takes what stands before the next comma off a list. */
static bool element_take(struct text *list, struct text *element) {
    if (list->len == 0) return false;
    const char *comma = memchr(list->at, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->at) : list->len;
    *element = trimmed((struct text){list->at, len});
    skip(list, comma != NULL ? len + 1 : len);
    return true;
}

/* ---- The request line ------------------------------------------------------------------ */

static int hex(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* "http://host/path", as proxies are asked, means the same here as "/path" (RFC 9112, 3.2.2). */
static struct text without_host(struct text target) {
    if (target.len < 7 || strncasecmp(target.at, "http://", 7) != 0) return target;
    skip(&target, 7);
    const char *host = target.at;
    while (target.len > 0 && target.at[0] != '/' && target.at[0] != '?') skip(&target, 1);
    if (target.at == host) return (struct text){"", 0}; /* RFC 9110, 4.2.1 */
    if (target.len == 0 || target.at[0] == '?') return (struct text){"/", 1};
    return target;
}

static int path_parse(struct text target, struct http_request *request) {
    size_t len = 0;
    target = without_host(target);
    if (target.len == 0 || target.at[0] != '/') return 400;
    while (target.len > 0 && target.at[0] == '/') skip(&target, 1);
    while (target.len > 0 && target.at[0] != '?' && target.at[0] != '#') {
        char byte = target.at[0];
        if (byte == '%') {
            if (target.len < 3 || hex(target.at[1]) < 0 || hex(target.at[2]) < 0) return 400;
            byte = (char)(hex(target.at[1]) * 16 + hex(target.at[2]));
            skip(&target, 2);
        }
        if (byte == '\0') return 400; /* a path would end here, and be another one */
        if (len == HTTP_PATH_MAX - 1) return 414;
        request->path[len++] = byte;
        skip(&target, 1);
    }
    request->path[len] = '\0';
    request->path_len = len;
    return 200;
}

/* "GET /path HTTP/1.1" */
static int line_parse(struct text line, struct http_request *request) {
    const char *first = memchr(line.at, ' ', line.len);
    if (first == NULL) return 400;
    const char *last = line.at + line.len - 1;
    while (*last != ' ') last--;
    if (first == last) return 400;
    struct text method = {line.at, (size_t)(first - line.at)};
    struct text target = {first + 1, (size_t)(last - first - 1)};
    struct text version = {last + 1, (size_t)(line.at + line.len - last - 1)};
    if (version.len != 8 || memcmp(version.at, "HTTP/", 5) != 0) return 400;
    if (memcmp(version.at + 5, "1.", 2) != 0) return 505;
    if (version.at[7] < '0' || version.at[7] > '9') return 400;
    request->is_1_0 = version.at[7] == '0';
    request->keep_alive = !request->is_1_0;
    request->is_head = method.len == 4 && memcmp(method.at, "HEAD", 4) == 0;
    if (!request->is_head && (method.len != 3 || memcmp(method.at, "GET", 3) != 0)) return 405;
    if (!is_visible(target)) return 400;
    return path_parse(target, request);
}

/* ---- The fields ------------------------------------------------------------------------ */

/* Digits at the beginning. What is too large for any file stays so. */
static bool number_take(struct text *text, uint64_t *number) {
    bool has_digits = false;
    *number = 0;
    while (text->len > 0 && text->at[0] >= '0' && text->at[0] <= '9') {
        uint64_t digit = (uint64_t)(text->at[0] - '0');
        *number = *number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *number * 10 + digit;
        has_digits = true;
        skip(text, 1);
    }
    return has_digits;
}

/* One range; several, and what is not understood, mean the whole file, as they may (RFC 9110,
 * 14.2). */
static struct http_range range_parse(struct text value) {
    struct http_range range = {.kind = HTTP_WHOLE}, whole = range;
    if (value.len < 6 || strncasecmp(value.at, "bytes=", 6) != 0) return whole;
    skip(&value, 6);
    bool has_first = number_take(&value, &range.first);
    if (value.len == 0 || value.at[0] != '-') return whole;
    skip(&value, 1);
    bool has_last = number_take(&value, &range.last);
    if (value.len > 0) return whole;
    if (has_first && has_last) {
        range.kind = range.first <= range.last ? HTTP_FROM_TO : HTTP_WHOLE;
    } else if (has_first) {
        range.kind = HTTP_FROM;
    } else if (has_last) {
        range.kind = HTTP_SUFFIX;
        range.first = range.last;
    }
    return range;
}

/* What is too long to be one of ours becomes something that matches nothing. */
static void copy(struct text value, char *to, size_t room) {
    if (value.len == 0 || value.len >= room) value = (struct text){"-", 1};
    memcpy(to, value.at, value.len);
    to[value.len] = '\0';
}

static int64_t date_parse(struct text value) {
    char date[64];
    if (value.len >= sizeof date) return HTTP_NEVER;
    memcpy(date, value.at, value.len);
    date[value.len] = '\0';
    return http_date_parse(date);
}

static void connection_parse(struct text list, struct http_request *request) {
    struct text option;
    while (element_take(&list, &option)) {
        if (is(option, "close")) request->says_close = true;
        if (is(option, "keep-alive")) request->keep_alive = true;
    }
}

static int field_parse(struct text name, struct text value, struct http_request *request) {
    switch (name.len) { /* so that most names are told apart without being looked at */
    case 4:
        if (!is(name, "host")) break;
        if (request->has_host || !is_made_of(value, "-._~%!$&'()*+,;=:[]")) return 400;
        request->has_host = true;
        break;
    case 5:
        if (is(name, "range")) request->range = range_parse(value);
        break;
    case 8:
        if (is(name, "if-range")) copy(value, request->if_range, sizeof request->if_range);
        if (is(name, "if-match")) copy(value, request->if_match, sizeof request->if_match);
        break;
    case 10:
        if (is(name, "connection")) connection_parse(value, request);
        break;
    case 13:
        if (!is(name, "if-none-match")) break;
        copy(value, request->if_none_match, sizeof request->if_none_match);
        break;
    case 14: /* nobody here would read a body */
        if (is(name, "content-length") && !is(value, "0")) return 413;
        break;
    case 17:
        if (is(name, "transfer-encoding")) return 413;
        if (is(name, "if-modified-since")) request->if_modified_since = date_parse(value);
        break;
    case 19:
        if (is(name, "if-unmodified-since")) request->if_unmodified_since = date_parse(value);
        break;
    default: break;
    }
    return 200;
}

/* "Name: value" */
static int field_line_parse(struct text line, struct http_request *request) {
    const char *colon = memchr(line.at, ':', line.len);
    if (colon == NULL) return 400;
    struct text name = {line.at, (size_t)(colon - line.at)};
    struct text value = {colon + 1, (size_t)(line.at + line.len - colon - 1)};
    if (name.len == 0 || !is_made_of(name, "!#$%&'*+-.^_`|~")) return 400;
    return field_parse(name, trimmed(value), request);
}

/* ---- The head -------------------------------------------------------------------------- */

/* The bytes up to and with the empty line, 0 if it has not come yet. A line that ends with LF alone
 * is refused, but only once the end is found: so its sender is told. */
static size_t head_len(const char *text, size_t len) {
    const char *at = text, *end = text + len;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (end - at >= 1 && at[0] == '\n') return (size_t)(at + 1 - text);
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n') return (size_t)(at + 2 - text);
    }
    return 0;
}

static int head_parse(struct text head, struct http_request *request) {
    int status = 200;
    if (memchr(head.at, '\0', head.len) != NULL) return 400;
    for (bool is_first = true; status == 200; is_first = false) {
        const char *line_end = memchr(head.at, '\n', head.len);
        struct text line = {head.at, (size_t)(line_end - head.at)};
        skip(&head, line.len + 1);
        if (line.len == 0 || memchr(line.at, '\r', line.len) != line_end - 1) return 400;
        if (--line.len == 0) break;
        status = is_first ? line_parse(line, request) : field_line_parse(line, request);
    }
    if (request->says_close) request->keep_alive = false;
    if (status == 200 && !request->is_1_0 && !request->has_host) return 400; /* RFC 9112, 3.2 */
    return status;
}

enum http_parsed http_parse(const char *text, size_t len, struct http_request *request,
                            size_t *used) {
    *used = 0;
    while (*used < len && (text[*used] == '\r' || text[*used] == '\n')) ++*used;
    struct text head = {text + *used, head_len(text + *used, len - *used)};
    if (head.len == 0 && len - *used < HTTP_HEAD_MAX) return HTTP_INCOMPLETE;
    request->path_len = 0;
    request->path[0] = request->if_range[0] = '\0';
    request->if_match[0] = request->if_none_match[0] = '\0';
    request->range.kind = HTTP_WHOLE;
    request->if_modified_since = request->if_unmodified_since = HTTP_NEVER;
    request->is_head = request->is_1_0 = request->has_host = request->says_close = false;
    request->keep_alive = true;
    bool is_long = head.len == 0 || head.len > HTTP_HEAD_MAX;
    request->status = is_long ? 431 : head_parse(head, request);
    *used += head.len;
    if (request->status == 200) return HTTP_REQUEST;
    request->keep_alive = false;
    return HTTP_BAD;
}

/* ---- Ranges ---------------------------------------------------------------------------- */

int http_range_resolve(const struct http_range *range, uint64_t size, uint64_t *first,
                       uint64_t *count) {
    *first = 0;
    *count = size;
    switch (range->kind) {
    case HTTP_WHOLE: return 200;
    case HTTP_SUFFIX:
        if (range->first == 0 || size == 0) return 416;
        if (range->first < size) *first = size - range->first;
        *count = size - *first;
        return 206;
    case HTTP_FROM:
    case HTTP_FROM_TO:
        if (range->first >= size) return 416;
        *first = range->first;
        *count = size - range->first;
        if (range->kind == HTTP_FROM_TO && range->last < size) {
            *count = range->last - range->first + 1;
        }
        return 206;
    }
    return 200;
}
