/* net.c - sockets, pairs and pipes: the ordinary functions of ferry.h that never wait.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "core.h"
#include "sockets/kinds.h"

#include <string.h>

static int family_of(const ferry_addr *addr) {
    return addr->len >= offsetof(struct sockaddr, sa_data) ? ferry__sockaddr(addr)->sa_family
                                                           : AF_UNSPEC;
}

/* ---- Sockets ----------------------------------------------------------------------------- */

int ferry_socket(ferry_loop *loop, ferry_fd *fd, enum ferry_family family,
                 enum ferry_socket_type type) {
    ferry__loop_check(loop, NULL);
    int domain = ferry__system_family(family), kind = ferry__system_type(type);
    if (fd == NULL || domain < 0 || kind < 0) return FERRY_EINVAL;
    *fd = ferry__calls.socket(domain, kind, 0);
    if (*fd < 0) return ferry__errno();
    ferry__slot_claim(loop, *fd, ferry__kind_of_type(kind));
    return 0;
}

int ferry_socketpair(ferry_loop *loop, ferry_fd fds[2], enum ferry_socket_type type) {
    ferry__loop_check(loop, NULL);
    int kind = ferry__system_type(type);
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

static bool addr_valid(const ferry_addr *addr) {
    return addr != NULL && ferry__os_addr_check(addr) == 0;
}

int ferry_bind(ferry_loop *loop, ferry_fd fd, const ferry_addr *addr) {
    ferry__loop_check(loop, NULL);
    if (!addr_valid(addr)) return FERRY_EINVAL;
    return ferry__calls.bind(fd, ferry__sockaddr(addr), addr->len) == 0 ? 0 : ferry__errno();
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
    if (ferry__calls.bind(fd, ferry__sockaddr(addr), addr->len) != 0) return ferry__errno();
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
