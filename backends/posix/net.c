/* net.c - sockets and addresses: the ordinary functions of ferry.h that never wait.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

_Static_assert(sizeof(struct sockaddr_un) <= sizeof(((ferry_addr *)0)->data), "addresses fit");

static const struct sockaddr *sockaddr_of(const ferry_addr *addr) {
    return (const struct sockaddr *)(const void *)addr->data.bytes;
}

static int family_of(const ferry_addr *addr) {
    return addr->len >= offsetof(struct sockaddr, sa_data) ? sockaddr_of(addr)->sa_family
                                                           : AF_UNSPEC;
}

/* ---- Sockets ----------------------------------------------------------------------------- */

static int system_family(enum ferry_family family) {
    switch (family) {
    case FERRY_INET: return AF_INET;
    case FERRY_INET6: return AF_INET6;
    case FERRY_UNIX: return AF_UNIX;
    }
    return -1;
}

static int system_type(enum ferry_socket_type type) {
    switch (type) {
    case FERRY_STREAM: return SOCK_STREAM;
    case FERRY_DATAGRAM: return SOCK_DGRAM;
    case FERRY_SEQPACKET: return SOCK_SEQPACKET;
    }
    return -1;
}

static enum ferry__fd_kind kind_of(int type) {
    if (type == SOCK_STREAM) return KIND_STREAM;
    return type == SOCK_SEQPACKET ? KIND_SEQPACKET : KIND_MESSAGE;
}

int ferry_socket(ferry_loop *loop, ferry_fd *fd, enum ferry_family family,
                 enum ferry_socket_type type) {
    ferry__loop_check(loop, NULL);
    int domain = system_family(family), kind = system_type(type);
    if (fd == NULL || domain < 0 || kind < 0) return FERRY_EINVAL;
    *fd = ferry__calls.socket(domain, kind, 0);
    if (*fd < 0) return ferry__errno();
    ferry__slot_claim(loop, *fd, kind_of(kind));
    return 0;
}

int ferry_socketpair(ferry_loop *loop, ferry_fd fds[2], enum ferry_socket_type type) {
    ferry__loop_check(loop, NULL);
    int kind = system_type(type);
    if (fds == NULL || kind < 0) return FERRY_EINVAL;
    if (ferry__calls.socketpair(AF_UNIX, kind, 0, fds) != 0) return ferry__errno();
    ferry__slot_claim(loop, fds[0], KIND_UNKNOWN);
    ferry__slot_claim(loop, fds[1], KIND_UNKNOWN);
    return 0;
}

int ferry_pipe(ferry_loop *loop, ferry_fd fds[2]) {
    ferry__loop_check(loop, NULL);
    if (fds == NULL) return FERRY_EINVAL;
    if (ferry__calls.pipe(fds) != 0) return ferry__errno();
    ferry__slot_claim(loop, fds[0], KIND_PIPE);
    ferry__slot_claim(loop, fds[1], KIND_PIPE);
    return 0;
}

int ferry__os_addr_check(const ferry_addr *addr) {
    size_t least = offsetof(struct sockaddr, sa_data);
    if (addr->len < least || addr->len > sizeof addr->data.bytes) return FERRY_EINVAL;
    if (family_of(addr) == AF_INET) least = sizeof(struct sockaddr_in);
    if (family_of(addr) == AF_INET6) least = sizeof(struct sockaddr_in6);
    return addr->len < least ? FERRY_EINVAL : 0;
}

static bool addr_valid(const ferry_addr *addr) {
    return addr != NULL && ferry__os_addr_check(addr) == 0;
}

int ferry_bind(ferry_loop *loop, ferry_fd fd, const ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    if (!addr_valid(addr)) return FERRY_EINVAL;
    return ferry__calls.bind(fd, sockaddr_of(addr), addr->len) == 0 ? 0 : ferry__errno();
}

static int listen_prepare(int fd, const ferry_addr *addr, int backlog) {
    int on = 1;
    int family = family_of(addr);
    if (family != AF_UNIX &&
        ferry__calls.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        return ferry__errno();
    }
    if (family == AF_INET6 &&
        ferry__calls.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
        return ferry__errno();
    }
    if (ferry__calls.bind(fd, sockaddr_of(addr), addr->len) != 0) return ferry__errno();
    return ferry__calls.listen(fd, backlog > 0 ? backlog : SOMAXCONN) == 0 ? 0 : ferry__errno();
}

int ferry_listen(ferry_loop *loop, ferry_fd *fd, const ferry_addr *addr, int backlog) {
    ferry__loop_check(loop, NULL);
    if (fd == NULL || !addr_valid(addr) || backlog < 0) return FERRY_EINVAL;
    *fd = FERRY_FD_NONE;
    int made = ferry__calls.socket(family_of(addr), SOCK_STREAM, 0);
    if (made < 0) return ferry__errno();
    int error = listen_prepare(made, addr, backlog);
    if (error != 0) {
        (void)ferry__calls.close(made);
        return error;
    }
    ferry__slot_claim(loop, made, KIND_STREAM);
    *fd = made;
    return 0;
}

int ferry_listen_fd(ferry_loop *loop, ferry_fd fd, int backlog) {
    ferry__loop_check(loop, NULL);
    if (backlog < 0) return FERRY_EINVAL;
    return ferry__calls.listen(fd, backlog > 0 ? backlog : SOMAXCONN) == 0 ? 0 : ferry__errno();
}

typedef int get_name(int, struct sockaddr *, socklen_t *);

static int name_get(ferry_fd fd, ferry_addr *addr, get_name *get) {
    if (addr == NULL) return FERRY_EINVAL;
    memset(addr, 0, sizeof *addr);
    socklen_t len = sizeof addr->data.bytes;
    if (get(fd, (struct sockaddr *)(void *)addr->data.bytes, &len) != 0) return ferry__errno();
    addr->len = len;
    return 0;
}

int ferry_local_addr(ferry_loop *loop, ferry_fd fd, ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    return name_get(fd, addr, ferry__calls.getsockname);
}

int ferry_peer_addr(ferry_loop *loop, ferry_fd fd, ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    return name_get(fd, addr, ferry__calls.getpeername);
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
        sin6.sin6_scope_id = if_nametoindex(scope);
        if (sin6.sin6_scope_id == 0 && number_parse(scope, UINT32_MAX, &sin6.sin6_scope_id) != 0) {
            return FERRY_EINVAL;
        }
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
