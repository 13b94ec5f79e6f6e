/* The io_uring backend at its seam of system calls: old kernels, short memory, calls that are
 * refused for the moment, and masked features.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "posix/calls.h"
#include "uring/uring.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- A seam that fails ------------------------------------------------------------------- */

static struct {
    unsigned setup_flags_known; /* others: EINVAL, as an older kernel says */
    unsigned entries_max;       /* more: ENOMEM */
    unsigned features_hidden;
    int setup_error;
    int opcode_hidden;  /* the kernel says that it has no such operation; -1: none is hidden */
    int register_error; /* what it says when it is asked which it has */
    unsigned enter_calls;
    unsigned refuse_every; /* of the enters: with one of the errors below, in turn */
    unsigned refused;
} seam;

static int seam_setup(struct uring *uring, unsigned entries, struct io_uring_params *params) {
    if (seam.setup_error != 0) return seam.setup_error;
    if (params->flags & ~seam.setup_flags_known) return -EINVAL;
    if (params->cq_entries > seam.entries_max || entries > seam.entries_max) return -ENOMEM;
    int fd = ferry__uring_calls_plain.setup(uring, entries, params);
    params->features &= ~seam.features_hidden;
    return fd;
}

static int seam_enter(struct uring *uring, unsigned submit, unsigned wait, unsigned flags,
                      struct io_uring_getevents_arg *arg) {
    static const int errors[] = {-EBUSY, -EINTR, -EAGAIN};
    if (seam.refuse_every != 0 && ++seam.enter_calls % seam.refuse_every != 0) {
        return errors[seam.refused++ % 3];
    }
    return ferry__uring_calls_plain.enter(uring, submit, wait, flags, arg);
}

static int seam_register(struct uring *uring, unsigned opcode, const void *arg, unsigned count) {
    if (opcode != IORING_REGISTER_PROBE) {
        return ferry__uring_calls_plain.register_(uring, opcode, arg, count);
    }
    if (seam.register_error != 0) return seam.register_error;
    int result = ferry__uring_calls_plain.register_(uring, opcode, arg, count);
    struct io_uring_probe *probe = (struct io_uring_probe *)(uintptr_t)arg;
    if (seam.opcode_hidden >= 0) probe->ops[seam.opcode_hidden].flags = 0;
    return result;
}

static const struct uring_calls seam_calls = {seam_setup, seam_enter, seam_register};

static int seam_begin(void **state) {
    (void)state;
    memset(&seam, 0, sizeof seam);
    seam.setup_flags_known = UINT32_MAX;
    seam.entries_max = UINT32_MAX;
    seam.opcode_hidden = -1;
    ferry__uring_calls = &seam_calls;
    return 0;
}

static int seam_end(void **state) {
    (void)state;
    ferry__uring_calls = &ferry__uring_calls_plain;
    return 0;
}

static ferry_loop *open_small(uint32_t submissions, uint32_t completions) {
    ferry_config config = {.size = sizeof config,
                           .backend = FERRY_URING,
                           .submission_entries = submissions,
                           .completion_entries = completions};
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    return loop;
}

/* ---- Opening ----------------------------------------------------------------------------- */

static const ferry_feature *feature(ferry_loop *loop, const char *name) {
    const ferry_description *about = ferry_loop_describe(loop);
    for (size_t i = 0; i < about->feature_count; i++) {
        if (strcmp(about->features[i].name, name) == 0) return &about->features[i];
    }
    fail_msg("no feature %s", name);
    return NULL;
}

static void an_old_kernel_will_do(void **state) {
    (void)state;
    seam.setup_flags_known = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;
    ferry_loop *loop = open_small(64, 256);
    assert_int_equal(feature(loop, "r_disabled")->state, FERRY_FEATURE_FOUND);
    assert_int_equal(feature(loop, "defer_taskrun")->state, FERRY_FEATURE_MISSING);
    assert_int_equal(feature(loop, "single_issuer")->state, FERRY_FEATURE_MISSING);
    assert_int_equal(feature(loop, "no_sqarray")->state, FERRY_FEATURE_MISSING);
    ferry_op op = {.state = 0};
    ferry_timer(loop, &op, 1000, 0, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void a_middling_kernel_keeps_what_it_knows(void **state) {
    (void)state;
    seam.setup_flags_known = ~(IORING_SETUP_NO_SQARRAY | IORING_SETUP_DEFER_TASKRUN);
    ferry_loop *loop = open_small(64, 256);
    assert_int_equal(feature(loop, "single_issuer")->state, FERRY_FEATURE_FOUND);
    assert_int_equal(feature(loop, "defer_taskrun")->state, FERRY_FEATURE_MISSING);
    assert_int_equal(feature(loop, "no_sqarray")->state, FERRY_FEATURE_MISSING);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static void short_memory_means_smaller_queues(void **state) {
    (void)state;
    seam.entries_max = 64;
    ferry_loop *loop = open_small(1024, 8192);
    const ferry_description *about = ferry_loop_describe(loop);
    assert_in_range(about->submission_entries, 32, 64);
    assert_in_range(about->completion_entries, 32, 64);
    assert_int_equal(ferry_loop_close(loop), 0);
}

static int open_refused(char *why, size_t why_len) {
    ferry_loop *loop = (ferry_loop *)(void *)why;
    ferry_config config = {.size = sizeof config,
                           .backend = FERRY_URING, /* which has no other beside it */
                           .why = why,
                           .why_len = why_len};
    int error = ferry_loop_open(&loop, &config);
    assert_null(loop);
    return error;
}

static void refusals_have_reasons(void **state) {
    (void)state;
    static const struct {
        int from_kernel, error;
        const char *reason;
    } cases[] = {{-ENOSYS, FERRY_ENOTSUP, "no io_uring"},
                 {-EPERM, FERRY_ENOTSUP, "forbidden"},
                 {-ENOMEM, FERRY_ENOTSUP, "memory"},
                 {-EINVAL, FERRY_ENOTSUP, "parameters"},
                 {-EMFILE, FERRY_EMFILE, "descriptors"},
                 {-ENFILE, FERRY_ENFILE, "descriptors"},
                 {-EOPNOTSUPP, FERRY_ENOTSUP, "io_uring_setup failed"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[256] = "";
        seam.setup_error = cases[i].from_kernel;
        assert_int_equal(open_refused(why, sizeof why), cases[i].error);
        assert_non_null(strstr(why, cases[i].reason));
    }
    char why[256] = "";
    seam.setup_error = 0;
    seam.features_hidden = IORING_FEAT_EXT_ARG;
    assert_int_equal(open_refused(why, sizeof why), FERRY_ENOTSUP);
    assert_non_null(strstr(why, "too old"));
}

/* ---- Another backend instead --------------------------------------------------------------- */

#define FALL_BACK_NS 10000000u

static const uint8_t indispensable[] = {
    IORING_OP_READV,  IORING_OP_WRITEV, IORING_OP_FSYNC,        IORING_OP_POLL_ADD,
    IORING_OP_ACCEPT, IORING_OP_SEND,   IORING_OP_SENDMSG,      IORING_OP_CONNECT,
    IORING_OP_RECV,   IORING_OP_OPENAT, IORING_OP_RECVMSG,      IORING_OP_CLOSE,
    IORING_OP_READ,   IORING_OP_STATX,  IORING_OP_ASYNC_CANCEL, IORING_OP_OPENAT2,
    IORING_OP_WRITE,
};

static int descriptors(void) {
    int fd = dup(0); /* the lowest that is free */
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

/* Opens whatever is best, and asserts that it carries something out; how long the opening took. */
static uint64_t open_best(ferry_loop **loop) {
    ferry_config config = {.size = sizeof config};
    uint64_t start = ferry__os_clock();
    assert_int_equal(ferry_loop_open(loop, &config), 0);
    uint64_t took = ferry__os_clock() - start;
    ferry_op op = {.state = 0};
    ferry_timer(*loop, &op, 1000, 0, 0, NULL);
    assert_int_equal(ferry_run(*loop, FERRY_RUN_DONE), 0);
    assert_int_equal(op.result, 0);
    return took;
}

static void falls_back(const char *reason) {
    uint64_t took = UINT64_MAX;
    /* A machine that is busy may be slow each time but one. */
    for (unsigned tries = 0; took >= FALL_BACK_NS; tries++) {
        ferry_loop *loop;
        int before = descriptors();
        assert_true(tries < 100);
        took = open_best(&loop);
        const ferry_description *about = ferry_loop_describe(loop);
        assert_string_equal(about->backend, "epoll");
        assert_int_equal(about->refusal_count, 1);
        assert_string_equal(about->refusals[0].backend, "uring");
        assert_int_equal(about->refusals[0].error, FERRY_ENOTSUP);
        assert_non_null(strstr(about->refusals[0].reason, reason));
        assert_int_equal(ferry_loop_close(loop), 0);
        assert_int_equal(descriptors(), before);
    }
}

static void a_missing_operation_means_another_backend(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof indispensable; i++) {
        char why[256] = "";
        seam.opcode_hidden = indispensable[i];
        falls_back("lacks an operation");
        assert_int_equal(open_refused(why, sizeof why), FERRY_ENOTSUP); /* if nothing else may be */
        assert_non_null(strstr(why, "lacks an operation"));
    }
}

static void a_kernel_that_does_not_tell_means_another_backend(void **state) {
    (void)state;
    static const int errors[] = {-EINVAL, -EPERM, -ENOSYS, -ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        seam.register_error = errors[i];
        falls_back("does not tell");
    }
}

/* Any other may be missing: what it would have done is done in another way. */
static void an_operation_that_is_optional_may_be_missing(void **state) {
    (void)state;
    for (int opcode = 0; opcode < IORING_OP_LAST; opcode++) {
        ferry_loop *loop;
        if (memchr(indispensable, opcode, sizeof indispensable) != NULL) continue;
        seam.opcode_hidden = opcode;
        (void)open_best(&loop);
        const ferry_description *about = ferry_loop_describe(loop);
        assert_string_equal(about->backend, "uring");
        assert_int_equal(about->refusal_count, 0);
        assert_int_equal(ferry_loop_close(loop), 0);
    }
}

/* ---- Calls refused for the moment -------------------------------------------------------- */

#define TRANSFERS 600

static struct {
    ferry_op ops[TRANSFERS];
    char bytes[TRANSFERS];
    int64_t result_wanted;
    int done, wrong;
} many;

static void transfer_done(ferry_op *op) {
    many.done++;
    if (op->result != many.result_wanted) many.wrong++;
}

static void refused_enters_are_nobodys_business(void **state) {
    (void)state;
    for (unsigned every = 2; every <= 5; every++) {
        char path[] = "/tmp/ferry-seam-XXXXXX";
        memset(&many, 0, sizeof many);
        many.result_wanted = 1;
        ferry_loop *loop = open_small(8, 16);
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(unlink(path), 0);
        for (int i = 0; i < TRANSFERS; i++) {
            many.bytes[i] = (char)i;
            ferry_write(loop, &many.ops[i], fd, &many.bytes[i], 1, (uint64_t)i, 0, transfer_done);
        }
        assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1); /* adopted: from here on refused */
        seam.refuse_every = every;
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        for (int i = 0; i < TRANSFERS; i++) {
            many.bytes[i] = 0;
            ferry_read(loop, &many.ops[i], fd, &many.bytes[i], 1, (uint64_t)i, 0, transfer_done);
        }
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        assert_int_equal(many.done, 2 * TRANSFERS);
        assert_int_equal(many.wrong, 0);
        for (int i = 0; i < TRANSFERS; i++) assert_int_equal(many.bytes[i], (char)i);
        ferry_stats stats;
        ferry_loop_stats(loop, &stats, sizeof stats);
        assert_true(stats.busy_retries > 0);
        seam.refuse_every = 0;
        assert_int_equal(ferry_loop_close(loop), 0);
        assert_int_equal(close(fd), 0);
    }
}

/* Cancels for which there is no room must not be lost. */
static void refused_cancels_are_made_up_for(void **state) {
    (void)state;
    memset(&many, 0, sizeof many);
    many.result_wanted = FERRY_ECANCELED;
    ferry_loop *loop = open_small(8, 16);
    ferry_addr addr;
    ferry_fd fd;
    assert_int_equal(ferry_addr_parse(&addr, "127.0.0.1:0"), 0);
    assert_int_equal(ferry_listen(loop, &fd, &addr, 0), 0);
    for (int i = 0; i < TRANSFERS; i++) {
        ferry_accept(loop, &many.ops[i], fd, NULL, 0, transfer_done);
    }
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 1);
    seam.refuse_every = 4;
    for (int i = 0; i < TRANSFERS; i++) ferry_cancel(loop, &many.ops[i]);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(many.done, TRANSFERS);
    assert_int_equal(many.wrong, 0);
    seam.refuse_every = 0;
    ferry_close(loop, NULL, fd, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* What found no room must not lie there while the loop sleeps. */
static void what_found_no_room_keeps_the_loop_awake(void **state) {
    (void)state;
    enum { SOCKETS = 20 };
    static ferry_op ops[SOCKETS];
    static char bytes[SOCKETS];
    int fds[SOCKETS][2];
    ferry_loop *loop = open_small(8, 16);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    memset(ops, 0, sizeof ops);
    memset(&many, 0, sizeof many);
    many.result_wanted = 1;
    for (int i = 0; i < SOCKETS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
    }
    seam.refuse_every = UINT32_MAX; /* each enter, until the loop runs */
    for (int i = 0; i < SOCKETS; i++) {
        ferry_recv(loop, &ops[i], fds[i][0], &bytes[i], 1, 0, transfer_done);
    }
    seam.refuse_every = 3;
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(many.done, SOCKETS);
    assert_int_equal(many.wrong, 0);
    seam.refuse_every = 0;
    assert_int_equal(ferry_loop_close(loop), 0);
    for (int i = 0; i < SOCKETS; i++) {
        assert_int_equal(close(fds[i][0]), 0);
        assert_int_equal(close(fds[i][1]), 0);
    }
}

/* ---- Files into sockets -------------------------------------------------------------------- */

enum { FILES = 300, FILE_BYTES = 5000 };

static int file_make(void) {
    static char bytes[FILE_BYTES];
    char path[] = "/tmp/ferry-seam-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    return fd;
}

/* Each step of each finds no room now and then; half of them are cancelled meanwhile. */
static void sendfiles_find_their_way_through_refused_enters(void **state) {
    (void)state;
    static int fds[FILES][2];
    for (unsigned every = 2; every <= 5; every++) {
        int file = file_make(), wrong = 0;
        memset(&many, 0, sizeof many);
        many.result_wanted = FILE_BYTES;
        ferry_loop *loop = open_small(8, 16);
        assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
        for (int i = 0; i < FILES; i++) {
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
            ferry_sendfile(loop, &many.ops[i], fds[i][0], file, 0, FILE_BYTES, 0, transfer_done);
        }
        seam.refuse_every = every;
        for (unsigned i = 0; i < 2 * every; i++) ferry_run(loop, FERRY_RUN_NOWAIT);
        for (int i = 0; i < FILES; i += 2) ferry_cancel(loop, &many.ops[i]);
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        seam.refuse_every = 0;
        assert_int_equal(many.done, FILES);
        for (int i = 0; i < FILES; i++) {
            int64_t result = many.ops[i].result;
            wrong += result != FILE_BYTES && (i % 2 != 0 || result != FERRY_ECANCELED);
            ferry_close(loop, NULL, fds[i][0], 0, NULL);
            assert_int_equal(close(fds[i][1]), 0);
        }
        assert_int_equal(wrong, 0);
        assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
        assert_int_equal(ferry_loop_close(loop), 0);
        assert_int_equal(close(file), 0);
    }
}

static void *no_memory(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    (void)at, (void)len, (void)protection, (void)flags, (void)fd, (void)offset;
    return MAP_FAILED;
}

static void a_sendfile_without_memory_ends_and_may_be_repeated(void **state) {
    (void)state;
    ferry_op op = {.state = 0};
    int fds[2], file = file_make();
    ferry_loop *loop = open_small(8, 16);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ferry_sendfile(loop, &op, fds[0], file, 0, FILE_BYTES, 0, NULL);
    ferry__calls.mmap = no_memory;
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    ferry__calls.mmap = mmap;
    assert_int_equal(op.result, FERRY_ENOMEM);
    ferry_again(loop, &op);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    assert_int_equal(op.result, FILE_BYTES);
    assert_int_equal(ferry_loop_close(loop), 0);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
    assert_int_equal(close(file), 0);
}

/* ---- A ring for another thread ----------------------------------------------------------- */

static int run_results[2];

static void *run_on_another_thread(void *arg) {
    ferry_loop *loop = arg;
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_results[0] = ferry_run(loop, FERRY_RUN_NOWAIT);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    run_results[1] = ferry_run(loop, FERRY_RUN_NOWAIT);
    ferry_op op = {.state = 0};
    ferry_timer(loop, &op, 1000, 0, 0, NULL);
    assert_int_equal(ferry_run(loop, FERRY_RUN_DONE), 0);
    return NULL;
}

/* Without R_DISABLED the thread that runs a loop makes the ring again. If that fails, all is as
 * before: it can be tried again, and closing closes nothing that is somebody else's. */
static void a_ring_that_cannot_be_remade_stays(void **state) {
    (void)state;
    ferry_config config = {.size = sizeof config, .backend = FERRY_URING, .disable = "r_disabled"};
    ferry_loop *loop = NULL;
    pthread_t thread;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_on_another_thread, loop), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(run_results[0], FERRY_EMFILE);
    assert_int_equal(run_results[1], 0);
    int mine[8];
    for (int i = 0; i < 8; i++) mine[i] = dup(0);
    assert_int_equal(ferry_loop_close(loop), 0);
    for (int i = 0; i < 8; i++) assert_int_equal(close(mine[i]), 0); /* still there */
}

/* ---- Masked features --------------------------------------------------------------------- */

static ferry_loop *open_masked(const char *disable) {
    ferry_config config = {.size = sizeof config, .backend = FERRY_URING, .disable = disable};
    ferry_loop *loop = NULL;
    assert_int_equal(ferry_loop_open(&loop, &config), 0);
    assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
    return loop;
}

static void masked_setup_flags_are_refused(void **state) {
    (void)state;
    for (unsigned i = 0; i < URING_FEATURES; i++) {
        unsigned flag = ferry__uring_setup_flag(i);
        ferry_loop *plain = open_masked(NULL);
        ferry_loop *loop = open_masked(ferry_loop_describe(plain)->features[i].name);
        if (flag != 0) {
            struct io_uring_params params = {.flags = flag};
            struct uring *uring = uring_of(loop);
            assert_int_equal(uring->calls->setup(uring, 8, &params), -EINVAL);
        }
        assert_int_equal(ferry_loop_close(loop), 0);
        assert_int_equal(ferry_loop_close(plain), 0);
    }
}

static void masked_calls_are_refused(void **state) {
    (void)state;
    ferry_loop *loop = open_masked("registered_ring,no_iowait");
    struct uring *uring = uring_of(loop);
    struct io_uring_rsrc_update update = {.offset = UINT32_MAX,
                                          .data = (unsigned)uring->ring.ring_fd};
    assert_int_equal(uring->calls->register_(uring, IORING_REGISTER_RING_FDS, &update, 1), -EINVAL);
    assert_int_equal(uring->calls->enter(uring, 0, 0, IORING_ENTER_REGISTERED_RING, NULL), -EINVAL);
    assert_int_equal(uring->calls->enter(uring, 0, 0, IORING_ENTER_NO_IOWAIT, NULL), -EINVAL);
    assert_int_equal(ferry_loop_close(loop), 0);
}

/* What the library would never do with these masked: hand the entry over all the same. */
static void masked_entries_are_refused(void **state) {
    (void)state;
    ferry_loop *loop = open_masked("ftruncate,poll_first,waitid,send_zc,fixed_buffers");
    struct uring *uring = uring_of(loop);
    char path[] = "/tmp/ferry-seam-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    const int opcodes[] = {URING_OP_FTRUNCATE, IORING_OP_RECV,       URING_OP_WAITID,
                           IORING_OP_SEND_ZC,  IORING_OP_SENDMSG_ZC, IORING_OP_READ_FIXED};
    for (int i = 0; i < 6; i++) {
        struct io_uring_sqe *sqe = uring_sqe(loop);
        assert_non_null(sqe);
        io_uring_prep_rw(opcodes[i], sqe, fd, NULL, 0, 1);
        if (i == 1) sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
        if (i == 2) sqe->file_index = 4; /* WEXITED: valid but for the mask, there is no child */
        if (i == 2) sqe->off = 0;
        sqe->user_data = (uint64_t)(uintptr_t)&uring->probes;
        uring->probe_result = 0;
        for (int k = 0; k < 100 && uring->probe_result == 0; k++) {
            assert_int_equal(ferry_run(loop, FERRY_RUN_NOWAIT), 0);
        }
        assert_int_equal(uring->probe_result, -EINVAL);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(ferry_loop_close(loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_old_kernel_will_do, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(a_middling_kernel_keeps_what_it_knows, seam_begin,
                                        seam_end),
        cmocka_unit_test_setup_teardown(short_memory_means_smaller_queues, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(refusals_have_reasons, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(a_missing_operation_means_another_backend, seam_begin,
                                        seam_end),
        cmocka_unit_test_setup_teardown(a_kernel_that_does_not_tell_means_another_backend,
                                        seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(an_operation_that_is_optional_may_be_missing, seam_begin,
                                        seam_end),
        cmocka_unit_test_setup_teardown(refused_enters_are_nobodys_business, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(refused_cancels_are_made_up_for, seam_begin, seam_end),
        cmocka_unit_test_setup_teardown(what_found_no_room_keeps_the_loop_awake, seam_begin,
                                        seam_end),
        cmocka_unit_test_setup_teardown(sendfiles_find_their_way_through_refused_enters, seam_begin,
                                        seam_end),
        cmocka_unit_test_setup_teardown(a_sendfile_without_memory_ends_and_may_be_repeated,
                                        seam_begin, seam_end),
        cmocka_unit_test(a_ring_that_cannot_be_remade_stays),
        cmocka_unit_test(masked_setup_flags_are_refused),
        cmocka_unit_test(masked_calls_are_refused),
        cmocka_unit_test(masked_entries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
