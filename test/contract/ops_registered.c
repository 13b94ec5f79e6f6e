/* ops_registered.c - memory registered for reads and writes of files
 *
 * SPDX-License-Identifier: MIT
 */
#include "portable.h"
#include "trouble_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

static void *pages(size_t count) {
    void *map = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                     0);
    assert_true(map != MAP_FAILED);
    return map;
}

static void read_whole(ferry_loop *loop, ferry_fd file, char *buf, size_t len, uint64_t offset,
                       uint64_t seed) {
    struct probe p = {.calls = 0};
    memset(buf, 0, len);
    ferry_read(loop, &p.op, file, buf, len, offset, FERRY_ALL, probe_done);
    expect_all(loop, &p, (int64_t)len, len, 0);
    assert_true(is_filled(buf, len, seed + offset));
}

/* The same bytes come and go, whether the memory is registered, half of it, or none. */
static void ops_registered_reads_and_writes(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    ferry_fd file = temp_file("file", 40 * PAGE, 3), copy = temp_file("copy", 0, 0);
    char *memory = pages(30);
    ferry_vec pieces[3] = {VEC(memory + 20 * PAGE, 5 * PAGE), VEC(memory, 4 * PAGE),
                           VEC(memory + 10 * PAGE + 7, PAGE)};
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(ferry_buffers_register(loop, pieces, 3), 0);
    uint64_t before = feature_uses(loop, "fixed_buffers");
    read_whole(loop, file, memory, 4 * PAGE, 0, 3);
    read_whole(loop, file, memory + 100, 3 * PAGE, 777, 3);
    read_whole(loop, file, memory + 10 * PAGE + 7, PAGE, 5, 3);
    read_whole(loop, file, memory + 24 * PAGE, PAGE, 9 * PAGE, 3);
    uint64_t used = feature_uses(loop, "fixed_buffers") - before;
    assert_true(used == 0 || used >= 4);
    before = feature_uses(loop, "fixed_buffers");
    read_whole(loop, file, memory + 3 * PAGE, 2 * PAGE, 0, 3);      /* beyond the end of one */
    read_whole(loop, file, memory + 10 * PAGE + 6, PAGE, 0, 3);     /* before its beginning */
    read_whole(loop, file, memory + 19 * PAGE, 7 * PAGE, 0, 3);     /* around it */
    read_whole(loop, file, memory + 26 * PAGE, PAGE, 10 * PAGE, 3); /* behind the last */
    assert_int_equal(feature_uses(loop, "fixed_buffers"), before);
    struct probe p = {.calls = 0};
    fill(memory, 4 * PAGE, 50);
    ferry_write(loop, &p.op, copy, memory + 1, 4 * PAGE - 1, FERRY_CURRENT, 0, probe_done);
    expect_all(loop, &p, 4 * (int64_t)PAGE - 1, 4 * PAGE - 1, 0);
    read_whole(loop, copy, memory + 20 * PAGE, 4 * PAGE - 1, 0, 51);
    struct probe end = {.calls = 0};
    ferry_read(loop, &end.op, file, memory, PAGE, 40 * PAGE, 0, probe_done);
    expect_all(loop, &end, 0, 0, FERRY_EOF);
    assert_int_equal(ferry_buffers_unregister(loop), 0);
    before = feature_uses(loop, "fixed_buffers");
    read_whole(loop, file, memory, 4 * PAGE, 0, 3);
    assert_int_equal(feature_uses(loop, "fixed_buffers"), before);
    close_near(loop, file);
    close_near(loop, copy);
    munmap(memory, 30 * PAGE);
    finish(loop);
}

/* Only files profit from it; others are read as ever. */
static void ops_registered_and_other_descriptors(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char *memory = pages(2);
    ferry_vec piece = VEC(memory, 2 * PAGE);
    ferry_fd fds[2], zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct probe p[3] = {{.calls = 0}};
    assert_int_equal(ferry_buffers_register(loop, &piece, 1), 0);
    unix_pair(fds, SOCK_STREAM);
    memcpy(memory, "word", 4);
    ferry_write(loop, &p[0].op, fds[0], memory, 4, FERRY_CURRENT, 0, probe_done);
    expect(loop, &p[0], 4);
    ferry_read(loop, &p[1].op, fds[1], memory + 10, 100, FERRY_CURRENT, 0, probe_done);
    expect(loop, &p[1], 4);
    assert_memory_equal(memory + 10, "word", 4);
    ferry_read(loop, &p[2].op, zero, memory, 10, 0, 0, probe_done);
    expect(loop, &p[2], 10);
    assert_int_equal(memory[0], 0);
    close_near(loop, fds[0]);
    close_near(loop, fds[1]);
    close_near(loop, zero);
    finish(loop); /* what is registered goes with the loop */
    munmap(memory, 2 * PAGE);
}

static void ops_registered_direct(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char *memory = pages(16);
    ferry_vec piece = VEC(memory, 16 * PAGE);
    close_far(temp_file("file", 16 * PAGE, 8));
    ferry_fd file = open(temp_path("file"), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (file >= 0) { /* else the file system has no such thing */
        assert_int_equal(ferry_buffers_register(loop, &piece, 1), 0);
        struct probe p[16] = {{.calls = 0}};
        for (size_t i = 0; i < 16; i++) {
            ferry_read(loop, &p[i].op, file, memory + i * PAGE, PAGE, i * PAGE, 0, probe_done);
        }
        probe_wait_all(loop, p, 16);
        for (size_t i = 0; i < 16; i++) probe_check(&p[i], PAGE);
        assert_true(is_filled(memory, 16 * PAGE, 8));
        close_near(loop, file);
    }
    finish(loop);
    munmap(memory, 16 * PAGE);
}

static void ops_registered_busy(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char *memory = pages(2), *other = pages(1);
    ferry_vec piece = VEC(memory, 2 * PAGE);
    ferry_fd file = temp_file("file", 10 * PAGE, 1);
    struct probe p[3] = {{.calls = 0}};
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    assert_int_equal(ferry_buffers_unregister(loop), FERRY_ENOENT);
    assert_int_equal(ferry_buffers_register(loop, &piece, 1), 0);
    assert_int_equal(ferry_buffers_register(loop, &piece, 1), FERRY_EBUSY);
    ferry_read(loop, &p[0].op, file, memory, PAGE, 0, 0, probe_done);
    ferry_write(loop, &p[1].op, file, memory + PAGE, PAGE, 2 * PAGE, 0, probe_done);
    /* Where they are the system's, too. */
    if (!TEST_WINDOWS) assert_int_equal(ferry_buffers_unregister(loop), FERRY_EBUSY);
    probe_wait_all(loop, p, 2);
    probe_check(&p[0], PAGE);
    probe_check(&p[1], PAGE);
    ferry_read(loop, &p[2].op, file, other, PAGE, 0, 0, probe_done); /* none of it */
    assert_int_equal(ferry_buffers_unregister(loop), 0);
    probe_wait(loop, &p[2]);
    assert_int_equal(ferry_buffers_unregister(loop), FERRY_ENOENT);
    assert_int_equal(ferry_buffers_register(loop, &piece, 1), 0);
    assert_int_equal(ferry_buffers_unregister(loop), 0);
    close_near(loop, file);
    finish(loop);
    munmap(memory, 2 * PAGE);
    munmap(other, PAGE);
}

/* Does the system hold what is registered, and so look at it? */
static int holds_memory(void) {
    return strcmp(test_backend(), "uring") == 0 && !strstr(test_masked(), "fixed_buffers") &&
           !strstr(test_masked(), "all");
}

static void ops_registered_bad_input(void **state) {
    (void)state;
    ferry_loop *loop = test_loop();
    char *memory = pages(8);
    ferry_vec overlap[2] = {VEC(memory + PAGE, PAGE), VEC(memory, PAGE + 1)};
    ferry_vec empty[2] = {VEC(memory, PAGE), VEC(memory + PAGE, 0)};
    ferry_vec nothing = VEC(NULL, PAGE), vast = VEC(memory, (size_t)1 << 40),
              good = VEC(memory, PAGE);
    ferry_vec around = VEC((void *)(UINTPTR_MAX - PAGE), 2 * PAGE);
    assert_int_equal(ferry_buffers_register(loop, &good, 0), FERRY_EINVAL);
    assert_int_equal(ferry_buffers_register(loop, &good, SIZE_MAX), FERRY_EINVAL);
    assert_int_equal(ferry_buffers_register(loop, NULL, 1), FERRY_EFAULT);
    assert_int_equal(ferry_buffers_register(loop, &nothing, 1), FERRY_EFAULT);
    assert_int_equal(ferry_buffers_register(loop, &around, 1), FERRY_EFAULT);
    assert_int_equal(ferry_buffers_register(loop, &vast, 1), FERRY_EINVAL);
    assert_int_equal(ferry_buffers_register(loop, overlap, 2), FERRY_EINVAL);
    assert_int_equal(ferry_buffers_register(loop, empty, 2), FERRY_EINVAL);
    assert_int_equal(ferry_buffers_unregister(loop), FERRY_ENOENT); /* nothing was left behind */
    if (holds_memory()) {
        assert_int_equal(munmap(memory + 4 * PAGE, PAGE), 0);
        ferry_vec hole = VEC(memory + 3 * PAGE, 3 * PAGE);
        assert_int_equal(ferry_buffers_register(loop, &hole, 1), FERRY_EFAULT);
    }
    assert_int_equal(ferry_buffers_register(loop, &good, 1), 0);
    finish(loop);
    munmap(memory, 8 * PAGE);
}

static void ops_registered_beyond_the_memory_that_may_be_locked(void **state) {
    (void)state;
    char *memory = pages(64);
    ferry_vec piece = VEC(memory, 64 * PAGE), small = VEC(memory, PAGE);
    limit_memlock();
    ferry_loop *loop = test_loop();
    int result = ferry_buffers_register(loop, &piece, 1);
    assert_true(result == FERRY_ENOMEM || (result == 0 && (*test_masked() || !holds_memory())));
    if (result == 0) assert_int_equal(ferry_buffers_unregister(loop), 0);
    assert_int_equal(ferry_buffers_register(loop, &small, 1), 0);
    finish(loop);
    unlimit_memlock();
    munmap(memory, 64 * PAGE);
}

/* ---- Before the first run, by whoever opened the loop
 * ---------------------------------------------
 */

struct elsewhere {
    ferry_loop *loop;
    ferry_fd file;
    char *memory;
};

static void *run_elsewhere(void *arg) {
    struct elsewhere *e = arg;
    assert_int_equal(ferry_run(e->loop, FERRY_RUN_NOWAIT), 0); /* this thread's, from here on */
    read_whole(e->loop, e->file, e->memory, PAGE, 0, 4);
    assert_int_equal(ferry_buffers_unregister(e->loop), 0);
    return NULL;
}

static void ops_registered_before_the_first_run(void **state) {
    (void)state;
    for (int threaded = 0; threaded < 2; threaded++) {
        struct elsewhere e = {.loop = test_loop(), .memory = pages(1)};
        ferry_vec piece = VEC(e.memory, PAGE);
        pthread_t thread;
        e.file = temp_file("file", PAGE, 4);
        assert_int_equal(ferry_buffers_register(e.loop, &piece, 1), 0);
        if (threaded) {
            assert_int_equal(pthread_create(&thread, NULL, run_elsewhere, &e), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
        } else {
            run_elsewhere(&e);
        }
        test_close(e.loop);
        close(e.file);
        munmap(e.memory, PAGE);
    }
}

static void ops_registered_in_a_forked_child(void **state) {
    (void)state;
    int status;
    ferry_loop *loop = test_loop();
    char *memory = pages(1);
    ferry_vec piece = VEC(memory, PAGE);
    assert_int_equal(ferry_buffers_register(loop, &piece, 1), 0);
    pid_t child = test_fork();
    if (child == 0) {
        int wrong = ferry_buffers_register(loop, &piece, 1) != FERRY_EFORKED;
        wrong += ferry_buffers_unregister(loop) != FERRY_EFORKED;
        wrong += ferry_loop_close(loop) != 0;
        _exit(wrong);
    }
    pid_t ended;
    do {
        ended = waitpid(child, &status, 0);
    } while (ended < 0 && errno == EINTR);
    assert_int_equal(ended, child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(ferry_buffers_unregister(loop), 0);
    finish(loop);
    munmap(memory, PAGE);
}

const struct contract_test ops_registered_tests[] = {
    {"ops_registered_reads_and_writes", ops_registered_reads_and_writes, 0},
    {"ops_registered_and_other_descriptors", ops_registered_and_other_descriptors, 0},
    {"ops_registered_direct", ops_registered_direct, 0},
    {"ops_registered_busy", ops_registered_busy, 0},
    {"ops_registered_bad_input", ops_registered_bad_input, 0},
    {"ops_registered_beyond_the_memory_that_may_be_locked",
     ops_registered_beyond_the_memory_that_may_be_locked, 0},
    {"ops_registered_before_the_first_run", ops_registered_before_the_first_run, 0},
    {"ops_registered_in_a_forked_child", ops_registered_in_a_forked_child, 0},
    {NULL, NULL, 0}};
