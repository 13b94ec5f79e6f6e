/* http_words.c - see http.h
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *http_status(int status) {
    switch (status) {
    case 200: return "200 OK";
    case 206: return "206 Partial Content";
    case 301: return "301 Moved Permanently";
    case 304: return "304 Not Modified";
    case 400: return "400 Bad Request";
    case 403: return "403 Forbidden";
    case 404: return "404 Not Found";
    case 405: return "405 Method Not Allowed";
    case 412: return "412 Precondition Failed";
    case 413: return "413 Content Too Large";
    case 414: return "414 URI Too Long";
    case 416: return "416 Range Not Satisfiable";
    case 431: return "431 Request Header Fields Too Large";
    case 503: return "503 Service Unavailable";
    case 505: return "505 HTTP Version Not Supported";
    default: return "500 Internal Server Error";
    }
}

void http_tag(uint64_t inode, uint64_t size, int64_t modified_ns, char tag[HTTP_TAG_BYTES]) {
    uint64_t mixed = (uint64_t)modified_ns * 0x9e3779b97f4a7c15u ^ inode;
    snprintf(tag, HTTP_TAG_BYTES, "\"%" PRIx64 "-%" PRIx64 "\"", mixed, size);
}

const char *http_type(const char *path) {
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".htm", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".md", "text/markdown; charset=utf-8"},
        {".c", "text/plain; charset=utf-8"},
        {".h", "text/plain; charset=utf-8"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".svg", "image/svg+xml"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".pdf", "application/pdf"},
        {".wasm", "application/wasm"},
        {".mp4", "video/mp4"},
        {".woff2", "font/woff2"},
    };
    const char *name = strrchr(path, '/');
    const char *end = strrchr(name != NULL ? name : path, '.');
    for (size_t i = 0; end != NULL && i < sizeof types / sizeof *types; i++) {
        if (strcasecmp(end, types[i][0]) == 0) return types[i][1];
    }
    return "application/octet-stream";
}

static char *append(char *to, const char *text) {
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

size_t http_escape_html(const char *text, char *to) {
    char *at = to;
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': at = append(at, "&amp;"); break;
        case '<': at = append(at, "&lt;"); break;
        case '>': at = append(at, "&gt;"); break;
        case '"': at = append(at, "&quot;"); break;
        default: *at++ = *text;
        }
    }
    return (size_t)(at - to);
}

size_t http_escape_path(const char *text, char *to) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    static const char digits[] = "0123456789ABCDEF";
    char *at = to;
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (strchr(plain, *text) != NULL) {
            *at++ = *text;
        } else {
            *at++ = '%';
            *at++ = digits[byte >> 4];
            *at++ = digits[byte & 15];
        }
    }
    return (size_t)(at - to);
}
