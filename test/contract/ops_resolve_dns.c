/* ops_resolve_dns.c - host names with name servers: good ones, bad ones, and one that never answers
 *
 * The system asks port 53 of the servers in /etc/resolv.conf. So each test here moves into a
 * network and a mount namespace of its own, where /etc is what it says and the loopback is all
 * there is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tables.h"
#include "trouble_stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE (100 * MS) /* how long a lookup that was called back may take */
#define TRIES 20

/* ---- A network of our own -------------------------------------------------------------- */

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void become_root_here(unsigned uid, unsigned gid) {
    char map[32];
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_file("/proc/self/gid_map", map);
}

static void loopback_up(void) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    assert_int_equal(close(fd), 0);
}

/* hosts: more lines for /etc/hosts. */
static void own_network(const char *hosts) {
    static char text[4096];
    unsigned uid = getuid(), gid = getgid();
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0) {
            test_skip("no namespaces for this user");
        }
        become_root_here(uid, gid);
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/etc", "tmpfs", 0, NULL) != 0) {
        test_skip("no mounts for this user");
    }
    loopback_up();
    snprintf(text, sizeof text, "127.0.0.1 localhost\n::1 localhost\n%s", hosts);
    write_file("/etc/hosts", text);
    write_file("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n");
    write_file("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n");
    write_file("/etc/services", "ferry-test 4321/tcp\nferry-udp 4322/udp\n");
    write_file("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
    write_file("/etc/group", "root:x:0:\n");
}

/* ---- A name server: dnsmasq ------------------------------------------------------------ */

/* As no daemon it stays who it is: in a namespace of an ordinary user's it may become nobody else.
 * The user that it is told of only has to exist. */
static pid_t dnsmasq_start(void) {
    static const char *const arguments[] = {"dnsmasq",
                                            "--no-daemon",
                                            "--conf-file=/dev/null",
                                            "--pid-file=",
                                            "--no-resolv",
                                            "--user=root",
                                            "--no-hosts",
                                            "--bind-interfaces",
                                            "--listen-address=127.0.0.1",
                                            "--host-record=both.example,10.1.2.3,fd00::3",
                                            "--host-record=four.example,127.0.0.1",
                                            "--cname=alias.example,four.example",
                                            "--local=/example/",
                                            NULL};
    pid_t parent = getpid(), pid = test_fork();
    if (pid == 0) {
        /* It must not outlive the test, however that ends. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(126);
        execv("/usr/sbin/dnsmasq", (char *const *)(uintptr_t)arguments);
        execvp("dnsmasq", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    return pid;
}

static void dnsmasq_end(pid_t pid) {
    int status = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_true(WIFSIGNALED(status)); /* it was there all the time */
}

/* ---- A name server of our own: says nothing, or what it is told to --------------------- */

static ferry_fd server_open(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Answers all questions that are there with this code and nothing else: how many. */
static unsigned server_answer(ferry_fd fd, unsigned code) {
    unsigned char message[1500];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    unsigned count = 0;
    ssize_t len;
    while ((len = recvfrom(fd, message, sizeof message, MSG_DONTWAIT, (struct sockaddr *)&from,
                           &from_len)) > 0) {
        if (len < 12) continue;
        message[2] |= 0x80;                                              /* an answer */
        message[3] = (unsigned char)((message[3] & 0x70) | 0x80 | code); /* and no more */
        (void)sendto(fd, message, (size_t)len, 0, (const struct sockaddr *)&from, from_len);
        count++;
    }
    return count;
}

/* Runs the loop, the server answering, until p has ended. */
static void run_with_server(ferry_loop *loop, ferry_fd server, unsigned code, struct probe *p) {
    uint64_t start_ns = clock_ns();
    while (p->finals == 0) {
        server_answer(server, code);
        run_for(loop, MS);
        assert_true(clock_ns() - start_ns < 20 * SECOND * TEST_STRETCH);
    }
}

/* Lets all abandoned lookups end, which a thread each is still at. Until then these open and close
 * descriptors of their own at any time. */
static void server_release(ferry_fd server) {
    uint64_t start_ns = clock_ns();
    while (count_threads() > THREADS_ALONE) {
        server_answer(server, 3);
        sleep_ns(MS);
        assert_true(clock_ns() - start_ns < 25 * SECOND);
    }
    close_far(server);
}

/* Until so many different questions have arrived. */
static void server_until_asked(ferry_fd server) {
    struct pollfd ready = {.fd = server, .events = POLLIN};
    uint64_t start_ns = clock_ns();
    while (poll(&ready, 1, 100) <= 0) assert_true(clock_ns() - start_ns < 20 * SECOND);
}

/* ---- Lookups --------------------------------------------------------------------------- */

struct name {
    struct probe p;
    ferry_query query;
    ferry_addr addrs[8];
    char canonical[FERRY_CANONICAL_MAX];
};

static void ask(ferry_loop *loop, struct name *n, const char *host, const char *service) {
    ferry_query query = n->query;
    memset(n, 0, sizeof *n);
    n->query = query;
    n->query.host = host;
    n->query.service = service;
    ferry_resolve(loop, &n->p.op, &n->query, n->addrs, 8, 0, probe_done);
}

static void ask_and_expect(ferry_loop *loop, struct name *n, const char *host, const char *service,
                           int64_t result) {
    ask(loop, n, host, service);
    expect(loop, &n->p, result);
}

static void text_is(const ferry_addr *addr, const char *want) {
    char text[128];
    ferry_addr_format(addr, text, sizeof text);
    assert_string_equal(text, want);
}

/* ---- Good servers ---------------------------------------------------------------------- */

static void ops_resolve_by_dnsmasq(void **state) {
    (void)state;
    own_network("");
    pid_t server = dnsmasq_start();
    ferry_loop *loop = test_loop();
    struct name n = {.query = {.host = NULL}};
    uint64_t start_ns = clock_ns();
    do { /* nobody may be listening yet */
        sleep_ns(10 * MS);
        ask(loop, &n, "both.example", "443");
        probe_wait(loop, &n.p);
        assert_true(clock_ns() - start_ns < 20 * SECOND);
    } while (n.p.result == FERRY_EAGAIN);
    probe_check(&n.p, 2);
    assert_int_equal(n.p.transferred, 2);
    size_t six = ((const struct sockaddr *)(const void *)n.addrs[0].data.bytes)->sa_family ==
                         AF_INET6
                     ? 0
                     : 1;
    text_is(&n.addrs[six], "[fd00::3]:443");
    text_is(&n.addrs[1 - six], "10.1.2.3:443");

    n.query.family = FERRY_INET;
    ask_and_expect(loop, &n, "both.example", NULL, 1);
    text_is(&n.addrs[0], "10.1.2.3:0");
    ask_and_expect(loop, &n, "BOTH.example.", "ferry-test", 1);
    text_is(&n.addrs[0], "10.1.2.3:4321");
    ask_and_expect(loop, &n, "both.example", "ferry-udp", FERRY_ENOSERVICE);
    n.query.type = FERRY_DATAGRAM;
    ask_and_expect(loop, &n, "both.example", "ferry-udp", 1);
    text_is(&n.addrs[0], "10.1.2.3:4322");
    n.query.family = FERRY_INET6;
    ask_and_expect(loop, &n, "four.example", NULL, FERRY_ENONAME); /* has none of these */
    memset(&n.query, 0, sizeof n.query);
    ask_and_expect(loop, &n, "nobody.example", NULL, FERRY_ENONAME);
    n.query.canonical = n.canonical;
    n.query.canonical_len = sizeof n.canonical;
    ask_and_expect(loop, &n, "alias.example", "1", 1);
    assert_string_equal(n.canonical, "four.example");
    text_is(&n.addrs[0], "127.0.0.1:1");
    finish(loop);
    dnsmasq_end(server);
}

/* What it is for: a name, and a connection. */
static void ops_resolve_and_connect(void **state) {
    (void)state;
    own_network("127.0.0.1 service.local\n");
    ferry_loop *loop = test_loop();
    ferry_addr addr;
    ferry_fd fd, listener = tcp_listener(&addr);
    char port[16];
    struct name n = {.query = {.family = FERRY_INET}};
    struct probe connect = {.calls = 0};
    snprintf(port, sizeof port, "%u", ferry_addr_port(&addr));
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    ask_and_expect(loop, &n, "service.local", port, 1);
    ferry_connect(loop, &connect.op, fd, &n.addrs[0], 0, probe_done);
    expect(loop, &connect, 0);
    close_near(loop, fd);
    close_far(listener);
    finish(loop);
}

/* ---- Lengths --------------------------------------------------------------------------- */

/* "aaaa.aaaa. ...", so many characters, labels of at most 63. */
static const char *long_name(char *name, size_t len) {
    memset(name, 'a', len);
    for (size_t i = 63; i < len - 1; i += 64) name[i] = '.';
    name[len] = '\0';
    return name;
}

static void ops_resolve_lengths(void **state) {
    (void)state;
    static const size_t lengths[] = {253, 254, 255, 256, 257, 300, 512, 1000, 1023, 1024};
    static char name[1100], hosts[2048];
    long_name(name, 1000);
    snprintf(hosts, sizeof hosts, "10.9.8.7 %s\n10.9.8.6 %.250s\n", name, name);
    own_network(hosts);
    ferry_fd server = server_open();
    ferry_loop *loop = test_loop();
    struct name n = {.query = {.host = NULL}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        long_name(name, lengths[i]);
        name[0] = 'b'; /* not in the file */
        ask(loop, &n, name, NULL);
        run_with_server(loop, server, 3, &n.p);
        probe_check(&n.p, lengths[i] <= 253 ? FERRY_ENONAME : FERRY_ENAMETOOLONG);
    }
    long_name(name, 1000); /* what the system knows by another way passes whole */
    ask_and_expect(loop, &n, name, "1", 1);
    text_is(&n.addrs[0], "10.9.8.7:1");
    long_name(name, 999);
    ask_and_expect(loop, &n, name, "1", FERRY_ENAMETOOLONG);
    long_name(name, 250);
    ask_and_expect(loop, &n, name, "1", 1);
    text_is(&n.addrs[0], "10.9.8.6:1");
    close_far(server);
    finish(loop);
}

/* ---- Bad servers ----------------------------------------------------------------------- */

static void ops_resolve_server_errors(void **state) {
    (void)state;
    static const struct {
        unsigned code;
        int64_t error;
    } cases[] = {
        {2, FERRY_EAGAIN}, /* "something is wrong here" */
        {5, FERRY_EAGAIN}, /* "not for you": another server might */
        {3, FERRY_ENONAME},
        {0, FERRY_ENONAME}, /* it exists, and has no address */
    };
    own_network("");
    struct name n = {.query = {.host = NULL}};
    ferry_loop *loop = test_loop();
    ask_and_expect(loop, &n, "any.example", NULL, FERRY_EAGAIN); /* nobody listens */
    ferry_fd server = server_open();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(loop, &n, "any.example", NULL);
        run_with_server(loop, server, cases[i].code, &n.p);
        probe_check(&n.p, cases[i].error);
    }
    close_far(server);
    finish(loop);
}

/* Cancelled, past its deadline or drained, a lookup ends at once though its server never answers.
 * The machine may be busy: of many tries one is as quick as it is said to be. */
static void contract_05_lookup_ends_at_once(void **state) {
    (void)state;
    own_network("");
    ferry_fd server = server_open();
    uint64_t best_ns = UINT64_MAX;
    ferry_loop *loop = test_loop();
    for (int i = 0; i < TRIES && best_ns >= AT_ONCE; i++) {
        struct name n = {.query = {.host = NULL}};
        ask(loop, &n, "never.example", NULL);
        server_until_asked(server);
        uint64_t start_ns = clock_ns();
        ferry_cancel(loop, &n.p.op);
        expect(loop, &n.p, FERRY_ECANCELED);
        if (n.p.called_ns - start_ns < best_ns) best_ns = n.p.called_ns - start_ns;
    }
    assert_true(best_ns < AT_ONCE);
    struct name late = {.query = {.host = NULL}};
    memset(&late, 0, sizeof late);
    late.p.op.deadline_ns = 30 * MS;
    late.query.host = "never.example";
    uint64_t start_ns = clock_ns();
    ferry_resolve(loop, &late.p.op, &late.query, late.addrs, 8, 0, probe_done);
    expect(loop, &late.p, FERRY_ETIMEDOUT);
    assert_true(late.p.called_ns - start_ns >= 30 * MS);
    assert_true(late.p.called_ns - start_ns < 4 * SECOND); /* before the system's own timeout */
    test_close(loop);
    server_release(server);
}

static void contract_11_drain_does_not_wait_for_name_servers(void **state) {
    (void)state;
    own_network("");
    ferry_fd server = server_open();
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < TRIES && best_ns >= AT_ONCE; i++) {
        struct name n[20];
        memset(n, 0, sizeof n);
        ferry_loop *loop = test_loop();
        for (size_t k = 0; k < 20; k++) ask(loop, &n[k], "never.example", NULL);
        server_until_asked(server);
        uint64_t start_ns = clock_ns();
        assert_int_equal(ferry_loop_drain(loop, 60 * SECOND), 0);
        test_close(loop);
        uint64_t took_ns = clock_ns() - start_ns;
        if (took_ns < best_ns) best_ns = took_ns;
        for (size_t k = 0; k < 20; k++) probe_check(&n[k].p, FERRY_ECANCELED);
    }
    assert_true(best_ns < AT_ONCE);
    server_release(server);
}

static int64_t work_five(void *arg) {
    (void)arg;
    return 5;
}

/* All resolver threads wait for an answer: neither work nor files wait for them. */
static void ops_resolve_holds_up_nobody(void **state) {
    (void)state;
    enum { COUNT = 40 };
    static struct name n[COUNT];
    own_network("");
    ferry_fd server = server_open();
    ferry_loop *loop = test_loop();
    memset(n, 0, sizeof n);
    for (size_t i = 0; i < COUNT; i++) ask(loop, &n[i], "never.example", NULL);
    server_until_asked(server);
    struct probe p[4] = {{.calls = 0}};
    struct name figures = {.query = {.host = NULL}};
    ferry_file about;
    ferry_fd file = temp_file("cut", 100, 1);
    ferry_work(loop, &p[0].op, work_five, NULL, 0, probe_done);
    ferry_stat(loop, &p[1].op, "/", &about, 0, probe_done);
    ferry_truncate(loop, &p[2].op, file, 10, 0, probe_done);
    ferry_sync(loop, &p[3].op, file, 0, probe_done);
    ask_and_expect(loop, &figures, "::1", "1", 1);
    probe_wait_all(loop, p, 4);
    probe_check(&p[0], 5);
    for (int i = 1; i < 4; i++) probe_check(&p[i], 0);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(n[i].p.calls, 0);
    assert_true(count_threads() <= THREADS_ALONE + 8 + 2 * 4 + 1); /* work, files; an adapter */
    for (size_t i = 0; i < COUNT; i++) ferry_cancel(loop, &n[i].p.op);
    for (size_t i = 0; i < COUNT; i++) expect(loop, &n[i].p, FERRY_ECANCELED);
    memset(p, 0, sizeof p);
    ferry_close(loop, &p[0].op, file, 0, probe_done);
    expect(loop, &p[0], 0);
    test_close(loop);
    server_release(server);
}

const struct contract_test ops_resolve_dns_tests[] = {
    {"ops_resolve_by_dnsmasq", ops_resolve_by_dnsmasq, 60},
    {"ops_resolve_and_connect", ops_resolve_and_connect, 0},
    {"ops_resolve_lengths", ops_resolve_lengths, 60},
    {"ops_resolve_server_errors", ops_resolve_server_errors, 60},
    {"contract_05_lookup_ends_at_once", contract_05_lookup_ends_at_once, 60},
    {"contract_11_drain_does_not_wait_for_name_servers",
     contract_11_drain_does_not_wait_for_name_servers, 60},
    {"ops_resolve_holds_up_nobody", ops_resolve_holds_up_nobody, 60},
    {NULL, NULL, 0}};
