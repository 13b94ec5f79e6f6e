/* ops_zerocopy_veth.c - a send that really is not copied: over a pair of virtual Ethernet devices
 *
 * What is delivered to a socket of the same machine is copied on its way in, on loopback and on
 * virtual Ethernet alike, unless the receiving device makes packets of its own out of it, as it
 * does when a program is attached to it (XDP). So each end stands in a network namespace of its own
 * and the far one has a program that lets everything pass. All of it is gone with the processes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN (64 * KIB)
#define COUNT 20
#define FAR "10.213.77.2"

/* Attaches a program that passes everything on to a device of this namespace; 0, or -1. */
static int pass_all(const char *device) {
    const struct bpf_insn program[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = (uint64_t)(uintptr_t)program;
    attr.insn_cnt = 2;
    attr.license = (uint64_t)(uintptr_t) "MIT";
    long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (fd < 0) return -1;
    memset(&attr, 0, sizeof attr);
    attr.link_create.prog_fd = (uint32_t)fd;
    attr.link_create.target_ifindex = if_nametoindex(device);
    attr.link_create.attach_type = BPF_XDP;
    attr.link_create.flags = XDP_FLAGS_DRV_MODE;
    return syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof attr) < 0 ? -1 : 0;
}

static int shell(const char *command) {
    int status = system(command);
    return status == 0 ? 0 : -1;
}

/* A word to the other process, and waiting for one. */
static void tell(int fd) {
    while (write(fd, "x", 1) < 0 && errno == EINTR) {
    }
}

static int hear(int fd) {
    char word;
    ssize_t n;
    do {
        n = read(fd, &word, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 ? 0 : -1;
}

static void put_port(ferry_addr *addr, const struct sockaddr_in *in) {
    memset(addr, 0, sizeof *addr);
    addr->len = sizeof *in;
    memcpy(addr->data.bytes, in, sizeof *in);
}

/* The far process: takes one connection and checks what comes. */
static int far_run(int to, int from) {
    static unsigned char buf[LEN];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7777)};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNET) != 0) return 1;
    tell(to);
    if (hear(from) != 0) return 2;
    if (shell("ip link set ferry1 up && ip addr add " FAR "/24 dev ferry1") != 0) return 3;
    if (pass_all("ferry1") != 0) return 4;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&in, sizeof in) != 0) return 5;
    if (listen(listener, 1) != 0) return 5;
    tell(to);
    int fd;
    do {
        fd = accept(listener, NULL, NULL);
    } while (fd < 0 && errno == EINTR);
    for (size_t got = 0; got < COUNT * LEN;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 6;
        if (!is_filled(buf, (size_t)n, got)) return 7;
        got += (size_t)n;
    }
    return 0;
}

/* Two namespaces, a device in each; the far process. Ends the test as skipped if this may not be
 * done here. */
static pid_t namespaces_make(int *from) {
    int to_far[2], to_near[2];
    char command[256];
    if (shell("ip -V >/dev/null 2>&1") != 0) test_skip("there is no command ip");
    if (unshare(CLONE_NEWNET) != 0) test_skip("network namespaces cannot be made");
    assert_int_equal(pipe(to_far), 0);
    assert_int_equal(pipe(to_near), 0);
    pid_t far = test_fork();
    if (far == 0) _exit(far_run(to_near[1], to_far[0]));
    close(to_near[1]);
    close(to_far[0]);
    snprintf(command, sizeof command,
             "ip link add ferry0 type veth peer name ferry1 netns %d 2>/dev/null &&"
             " ip addr add 10.213.77.1/24 dev ferry0 && ip link set ferry0 up",
             (int)far);
    if (hear(to_near[0]) != 0) test_skip("network namespaces cannot be made");
    if (shell(command) != 0) test_skip("virtual Ethernet devices cannot be made");
    tell(to_far[1]);
    if (hear(to_near[0]) != 0) test_skip("no program can be attached to a device");
    close(to_far[1]);
    *from = to_near[0];
    return far;
}

static void ops_zerocopy_over_ethernet_is_not_copied(void **state) {
    (void)state;
    int from, status;
    struct probe p[COUNT] = {{.calls = 0}}, connected = {.calls = 0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7777)};
    ferry_addr addr;
    ferry_fd fd;
    char *out = malloc(COUNT * LEN);
    assert_non_null(out);
    fill(out, COUNT * LEN, 0);
    pid_t far = namespaces_make(&from);
    assert_int_equal(inet_pton(AF_INET, FAR, &in.sin_addr), 1);
    put_port(&addr, &in);
    ferry_loop *loop = test_loop();
    assert_int_equal(ferry_socket(loop, &fd, FERRY_INET, FERRY_STREAM), 0);
    ferry_connect(loop, &connected.op, fd, &addr, 0, probe_done);
    expect(loop, &connected, 0);
    size_t spared = 0;
    for (size_t i = 0; i < COUNT; i++) {
        ferry_vec vecs[2] = {{out + i * LEN, 30000}, {out + i * LEN + 30000, LEN - 30000}};
        if (i % 2) {
            ferry_sendv(loop, &p[i].op, fd, vecs, 2, FERRY_ZEROCOPY, probe_done);
        } else {
            ferry_send(loop, &p[i].op, fd, out + i * LEN, LEN, FERRY_ZEROCOPY, probe_done);
        }
        probe_wait(loop, &p[i]);
        probe_check(&p[i], LEN);
        assert_int_equal(p[i].flags & ~FERRY_ZEROCOPY, 0);
        spared += (p[i].flags & FERRY_ZEROCOPY) != 0;
    }
    /* Single packets are copied where the system sees fit. */
    if (feature_uses(loop, "zc_usage") > 0) {
        assert_true(spared > COUNT / 2);
    } else {
        assert_int_equal(spared, 0);
    }
    pid_t ended;
    do {
        ended = waitpid(far, &status, 0);
    } while (ended < 0 && errno == EINTR);
    assert_int_equal(ended, far);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close_near(loop, fd);
    close(from);
    free(out);
    finish(loop);
}

const struct contract_test ops_zerocopy_veth_tests[] = {
    {"ops_zerocopy_over_ethernet_is_not_copied", ops_zerocopy_over_ethernet_is_not_copied, 60},
    {NULL, NULL, 0}};
