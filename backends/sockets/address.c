/* address.c - addresses of sockets: what is one, and how they are written. Ordinary functions on
 * memory of the caller's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "socket_names.h"

#include <stdio.h>
#include <string.h>

static int family_of(const ferry_addr *addr) {
    struct sockaddr any;
    if (addr->len < offsetof(struct sockaddr, sa_data)) return AF_UNSPEC;
    memcpy(&any, addr->data.bytes, offsetof(struct sockaddr, sa_data));
    return any.sa_family;
}

int ferry__os_addr_check(const ferry_addr *addr) {
    size_t least = offsetof(struct sockaddr, sa_data);
    if (addr->len < least || addr->len > sizeof addr->data.bytes) return FERRY_EINVAL;
    if (family_of(addr) == AF_INET) least = sizeof(struct sockaddr_in);
    if (family_of(addr) == AF_INET6) least = sizeof(struct sockaddr_in6);
    return addr->len < least ? FERRY_EINVAL : 0;
}

/* ---- Addresses from text ----------------------------------------------------------------- */

/* Decimal digits only, up to max, the whole text. */
static int number_parse(const char *text, uint32_t max, uint32_t *number) {
    uint64_t value = 0;
    if (*text == '\0') return FERRY_EINVAL;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return FERRY_EINVAL;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max) return FERRY_EINVAL;
    }
    *number = (uint32_t)value;
    return 0;
}

static int unix_parse(ferry_addr *addr, const char *path) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || (path[0] == '@' && len == 1)) return FERRY_EINVAL;
    bool abstract = path[0] == '@';
    if (abstract && !HAS_ABSTRACT_NAMES) return FERRY_EINVAL;
    /* A path keeps room for its 0, which systems differ in needing; an abstract name has none. */
    if (len > sizeof sun.sun_path - !abstract) return FERRY_ENAMETOOLONG;
    memcpy(sun.sun_path, path, len);
    if (abstract) sun.sun_path[0] = '\0';
    addr->len = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
    memcpy(addr->data.bytes, &sun, addr->len < sizeof sun ? addr->len : sizeof sun);
    return 0;
}

static int inet6_parse(ferry_addr *addr, char *host, uint32_t port) {
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    char *scope = strchr(host, '%');
    if (scope != NULL) {
        *scope++ = '\0';
        uint32_t index = if_nametoindex(scope);
        if (index == 0 && number_parse(scope, UINT32_MAX, &index) != 0) return FERRY_EINVAL;
        sin6.sin6_scope_id = index;
    }
    if (inet_pton(AF_INET6, host, &sin6.sin6_addr) != 1) return FERRY_EINVAL;
    addr->len = sizeof sin6;
    memcpy(addr->data.bytes, &sin6, sizeof sin6);
    return 0;
}

static int inet_parse(ferry_addr *addr, const char *host, uint32_t port) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &sin.sin_addr) != 1) return FERRY_EINVAL;
    addr->len = sizeof sin;
    memcpy(addr->data.bytes, &sin, sizeof sin);
    return 0;
}

int ferry_addr_parse(ferry_addr *addr, const char *text) {
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 4];
    if (addr == NULL || text == NULL) return FERRY_EINVAL;
    memset(addr, 0, sizeof *addr);
    if (strncmp(text, "unix:", 5) == 0) return unix_parse(addr, text + 5);
    const char *colon = strrchr(text, ':');
    uint32_t port;
    if (colon == NULL || number_parse(colon + 1, 65535, &port) != 0) return FERRY_EINVAL;
    size_t len = (size_t)(colon - text);
    if (len >= sizeof host) return FERRY_EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';
    if (len < 2 || host[0] != '[') return inet_parse(addr, host, port);
    if (host[len - 1] != ']') return FERRY_EINVAL;
    host[len - 1] = '\0';
    return inet6_parse(addr, host + 1, port);
}

/* ---- Addresses to text ------------------------------------------------------------------- */

static int inet6_format(const ferry_addr *addr, char *buf, size_t len) {
    struct sockaddr_in6 sin6;
    char host[INET6_ADDRSTRLEN] = "", scope[IF_NAMESIZE + 12] = "";
    memcpy(&sin6, addr->data.bytes, sizeof sin6);
    (void)inet_ntop(AF_INET6, &sin6.sin6_addr, host, sizeof host);
    if (sin6.sin6_scope_id != 0) {
        char name[IF_NAMESIZE];
        if (if_indextoname(sin6.sin6_scope_id, name) != NULL) {
            (void)snprintf(scope, sizeof scope, "%%%s", name);
        } else {
            (void)snprintf(scope, sizeof scope, "%%%u", (unsigned)sin6.sin6_scope_id);
        }
    }
    return snprintf(buf, len, "[%s%s]:%u", host, scope, (unsigned)ntohs(sin6.sin6_port));
}

static int unix_format(const ferry_addr *addr, char *buf, size_t len) {
    const char *path = (const char *)addr->data.bytes + offsetof(struct sockaddr_un, sun_path);
    size_t bytes = addr->len - offsetof(struct sockaddr_un, sun_path);
    if (bytes == 0) return snprintf(buf, len, "%s", "");
    if (path[0] == '\0') return snprintf(buf, len, "unix:@%.*s", (int)(bytes - 1), path + 1);
    return snprintf(buf, len, "unix:%.*s", (int)bytes, path);
}

size_t ferry_addr_format(const ferry_addr *addr, char *buf, size_t len) {
    int wrote;
    if (family_of(addr) == AF_INET && addr->len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in sin;
        char host[INET_ADDRSTRLEN] = "";
        memcpy(&sin, addr->data.bytes, sizeof sin);
        (void)inet_ntop(AF_INET, &sin.sin_addr, host, sizeof host);
        wrote = snprintf(buf, len, "%s:%u", host, (unsigned)ntohs(sin.sin_port));
    } else if (family_of(addr) == AF_INET6 && addr->len >= sizeof(struct sockaddr_in6)) {
        wrote = inet6_format(addr, buf, len);
    } else if (family_of(addr) == AF_UNIX && addr->len <= sizeof addr->data.bytes) {
        wrote = unix_format(addr, buf, len);
    } else {
        wrote = snprintf(buf, len, "%s", "");
    }
    return wrote > 0 ? (size_t)wrote : 0;
}

unsigned ferry_addr_port(const ferry_addr *addr) {
    if (family_of(addr) == AF_INET && addr->len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in sin;
        memcpy(&sin, addr->data.bytes, sizeof sin);
        return ntohs(sin.sin_port);
    }
    if (family_of(addr) == AF_INET6 && addr->len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 sin6;
        memcpy(&sin6, addr->data.bytes, sizeof sin6);
        return ntohs(sin6.sin6_port);
    }
    return 0;
}
