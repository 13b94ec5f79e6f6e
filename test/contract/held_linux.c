/* held_linux.c - a worker of the library that waits until the test lets it go
 *
 * What it is asked for is a path, and where it is to be written is a page of memory that the test
 * has not filled in yet.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trouble_stage.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE (30 * SECOND)
#define HELD_BYTES 4096u

void worker_hold(ferry_loop *loop, struct held_worker *held) {
    struct uffdio_api api = {.api = UFFD_API};
    memset(held, 0, sizeof *held);
    held->fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    assert_true(held->fault_fd >= 0);
    assert_int_equal(ioctl(held->fault_fd, UFFDIO_API, &api), 0);
    held->page = mmap(NULL, HELD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(held->page != MAP_FAILED);
    struct uffdio_register range = {.range = {.start = (uintptr_t)held->page, .len = HELD_BYTES},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    assert_int_equal(ioctl(held->fault_fd, UFFDIO_REGISTER, &range), 0);
    ferry_realpath(loop, &held->p.op, "/", held->page, HELD_BYTES, 0, probe_done);
    struct pollfd fault = {.fd = held->fault_fd, .events = POLLIN};
    uint64_t start_ns = clock_ns();
    while (poll(&fault, 1, 0) <= 0 || fault.revents != POLLIN) {
        run_for(loop, MS / 4);
        assert_true(clock_ns() - start_ns < PATIENCE);
    }
    assert_int_equal(held->p.calls, 0);
}

void worker_let_go(struct held_worker *held) {
    struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)held->page, .len = HELD_BYTES}};
    assert_int_equal(ioctl(held->fault_fd, UFFDIO_ZEROPAGE, &zero), 0);
}

void worker_end(ferry_loop *loop, struct held_worker *held) {
    expect(loop, &held->p, 1);
    assert_string_equal(held->page, "/");
    assert_int_equal(munmap(held->page, HELD_BYTES), 0);
    close_far(held->fault_fd);
}
