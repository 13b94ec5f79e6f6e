/* setup.c - opening, adopting and closing a ring.
 *
 * Features are found by trying, never by the kernel's version: the ladder asks for all setup flags,
 * drops the newest until the kernel agrees, halves the queues while memory is short, and gives up
 * with a reason. Anything but a full descriptor table means that the next backend is tried.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "../linux/calls.h"
#include "../posix/system.h"
#include "../posix/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#define ENTRIES_MIN 32u
#define PROBED_OPS 256u
#define GIVEN_BACK_NS 100000000u
#define NAP_NS 1000000u
#define NAPS_MAX 100u
#define NAPS_FEW 2u /* when there is another backend */
#define ROOM_BYTES 65536u

static const struct {
    const char *name;
    unsigned setup_flag;
} features[URING_FEATURES] = {
    [URING_R_DISABLED] = {"r_disabled", IORING_SETUP_R_DISABLED},
    [URING_SUBMIT_ALL] = {"submit_all", IORING_SETUP_SUBMIT_ALL},
    [URING_COOP_TASKRUN] = {"coop_taskrun", IORING_SETUP_COOP_TASKRUN},
    [URING_TASKRUN_FLAG] = {"taskrun_flag", IORING_SETUP_TASKRUN_FLAG},
    [URING_REGISTERED_RING] = {"registered_ring", 0},
    [URING_BUFFER_RING] = {"buffer_ring", 0},
    [URING_CACHED_FILES] = {"cached_files", 0},
    [URING_FS_OPS] = {"fs_ops", 0},
    [URING_MULTI_ACCEPT] = {"multi_accept", 0},
    [URING_MULTI_RECV] = {"multi_recv", 0},
    [URING_POLL_FIRST] = {"poll_first", 0},
    [URING_SINGLE_ISSUER] = {"single_issuer", IORING_SETUP_SINGLE_ISSUER},
    [URING_DEFER_TASKRUN] = {"defer_taskrun", IORING_SETUP_DEFER_TASKRUN},
    [URING_NO_SQARRAY] = {"no_sqarray", IORING_SETUP_NO_SQARRAY},
    [URING_WAITID] = {"waitid", 0},
    [URING_FTRUNCATE] = {"ftruncate", 0},
    [URING_SEND_ZC] = {"send_zc", 0},
    [URING_ZC_USAGE] = {"zc_usage", 0},
    [URING_FIXED_BUFFERS] = {"fixed_buffers", 0},
    [URING_NO_IOWAIT] = {"no_iowait", 0},
};

unsigned ferry__uring_setup_flag(enum uring_feature feature) {
    return features[feature].setup_flag;
}

/* ---- The ladder -------------------------------------------------------------------------- */

/* Flags that make no sense without another. */
static unsigned consistent(unsigned flags) {
    if (!(flags & IORING_SETUP_SINGLE_ISSUER)) flags &= ~IORING_SETUP_DEFER_TASKRUN;
    if (!(flags & (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN))) {
        flags &= ~IORING_SETUP_TASKRUN_FLAG;
    }
    return flags;
}

/* The flags less the newest optional one that is left; unchanged if none is. */
static unsigned without_newest(unsigned flags) {
    for (unsigned i = URING_FEATURES; i-- > 0;) {
        if (flags & features[i].setup_flag) return consistent(flags & ~features[i].setup_flag);
    }
    return flags;
}

static unsigned wanted_flags(const struct uring *uring) {
    unsigned flags = 0;
    for (unsigned i = 0; i < URING_FEATURES; i++) {
        if (uring->found[i] != FERRY_FEATURE_MASKED) flags |= features[i].setup_flag;
    }
    return consistent(flags);
}

/* A ring's memory is given back a while after it was closed (15 ms were seen), and until then
 * counts against RLIMIT_MEMLOCK: who opens and closes loops in quick succession is not short of
 * memory. */
static _Atomic uint64_t last_closed; /* on the monotonic clock; relaxed: nothing hangs on it */

static bool closed_lately(void) {
    uint64_t closed = atomic_load_explicit(&last_closed, memory_order_relaxed);
    return closed != 0 && ferry__os_clock() < closed + GIVEN_BACK_NS;
}

/* Is there room for a ring at all? Then others of the same user have it, perhaps not for long. */
static bool limit_has_room(void) {
    struct rlimit limit;
    return ferry__linux_calls.locked_limit(&limit) == 0 && limit.rlim_cur >= ROOM_BYTES;
}

/* The ring's descriptor, or -errno. */
static int ladder(struct uring *uring, unsigned entries_wanted, unsigned completions_wanted,
                  struct io_uring_params *params) {
    unsigned entries = entries_wanted, completions = completions_wanted, naps = 0;
    unsigned naps_max = uring->has_alternative ? NAPS_FEW : NAPS_MAX;
    unsigned flags = wanted_flags(uring);
    for (;;) {
        memset(params, 0, sizeof *params);
        params->flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        params->cq_entries = completions > entries ? completions : entries;
        int fd = uring->calls->setup(uring, entries, params);
        if (fd >= 0) {
            uring->setup_flags = flags;
            return fd;
        }
        bool smallest = completions <= ENTRIES_MIN && entries <= ENTRIES_MIN;
        if (fd == -EINVAL && without_newest(flags) != flags) {
            flags = without_newest(flags);
        } else if (fd == -ENOMEM && naps < naps_max &&
                   (closed_lately() || (smallest && limit_has_room()))) {
            ferry__os_sleep(NAP_NS);
            naps++;
            entries = entries_wanted;
            completions = completions_wanted;
        } else if (fd == -ENOMEM && completions > ENTRIES_MIN) {
            completions /= 2;
        } else if (fd == -ENOMEM && entries > ENTRIES_MIN) {
            entries /= 2;
        } else {
            return fd;
        }
    }
}

/* ---- What the kernel has ----------------------------------------------------------------- */

static const uint8_t required_ops[] = {
    IORING_OP_READV,   IORING_OP_WRITEV,  IORING_OP_FSYNC,  IORING_OP_POLL_ADD,
    IORING_OP_SENDMSG, IORING_OP_RECVMSG, IORING_OP_ACCEPT, IORING_OP_ASYNC_CANCEL,
    IORING_OP_CONNECT, IORING_OP_OPENAT,  IORING_OP_CLOSE,  IORING_OP_STATX,
    IORING_OP_READ,    IORING_OP_WRITE,   IORING_OP_SEND,   IORING_OP_RECV,
    IORING_OP_OPENAT2,
};

#define REQUIRED_FEATURES                                                                          \
    (IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG |                        \
     IORING_FEAT_SINGLE_MMAP | IORING_FEAT_FAST_POLL | IORING_FEAT_RW_CUR_POS)

static void find(struct uring *uring, enum uring_feature feature, bool has) {
    if (uring->found[feature] == FERRY_FEATURE_MASKED) return;
    uring->found[feature] = has ? FERRY_FEATURE_FOUND : FERRY_FEATURE_MISSING;
}

static void find_setup_features(struct uring *uring, const struct io_uring_params *params) {
    for (unsigned i = 0; i < URING_FEATURES; i++) {
        if (features[i].setup_flag == 0) continue;
        find(uring, i, (params->flags & features[i].setup_flag) != 0);
        if (uring_has(uring, i)) uring->uses[i] = 1;
    }
    find(uring, URING_NO_IOWAIT, (params->features & IORING_FEAT_NO_IOWAIT) != 0);
}

static bool has_fs_ops(const struct io_uring_probe *probe) {
    static const uint8_t opcodes[] = URING_FS_OPCODES;
    for (unsigned i = 0; i < sizeof opcodes; i++) {
        if (!(probe->ops[opcodes[i]].flags & IO_URING_OP_SUPPORTED)) return false;
    }
    return true;
}

/* NULL if the kernel has all that is required, else what is missing. */
static const char *probe(ferry_loop *loop, struct uring *uring) {
    size_t bytes = sizeof(struct io_uring_probe) + PROBED_OPS * sizeof(struct io_uring_probe_op);
    struct io_uring_probe *probe = ferry__os_reserve(bytes);
    if (probe == NULL) return "there is no memory to ask what the kernel can do";
    const char *missing = NULL;
    if (uring->calls->register_(uring, IORING_REGISTER_PROBE, probe, PROBED_OPS) < 0) {
        missing = "the kernel does not tell which operations it has";
    }
    for (unsigned i = 0; missing == NULL && i < sizeof required_ops; i++) {
        if (!(probe->ops[required_ops[i]].flags & IO_URING_OP_SUPPORTED)) {
            missing = "the kernel lacks an operation that is required (5.11 has them all)";
        }
    }
    bool truncates = missing == NULL &&
                     probe->ops[URING_OP_FTRUNCATE].flags & IO_URING_OP_SUPPORTED;
    find(uring, URING_FTRUNCATE, truncates);
    find(uring, URING_WAITID,
         missing == NULL && probe->ops[URING_OP_WAITID].flags & IO_URING_OP_SUPPORTED);
    find(uring, URING_FS_OPS, missing == NULL && has_fs_ops(probe));
    if (uring->found[URING_CACHED_FILES] != FERRY_FEATURE_MASKED) {
        find(uring, URING_CACHED_FILES, ferry__system_knows_caches());
    }
    find(uring, URING_FIXED_BUFFERS,
         missing == NULL && probe->ops[IORING_OP_READ_FIXED].flags & IO_URING_OP_SUPPORTED &&
             probe->ops[IORING_OP_WRITE_FIXED].flags & IO_URING_OP_SUPPORTED);
    for (unsigned code = FERRY_OP_NOP; code < FERRY_OP_COUNT; code++) {
        const struct uring_kind *kind = &ferry__uring_kinds[code];
        bool has = kind->opcode == 0 || probe->ops[kind->opcode].flags & IO_URING_OP_SUPPORTED;
        loop->support[code] = kind->prep != NULL && has ? SUPPORT_NATIVE : kind->otherwise;
    }
    ferry__os_unreserve(probe, bytes);
    return missing;
}

/* ---- Open -------------------------------------------------------------------------------- */

static const char *setup_reason(int error) {
    switch (error) {
    case ENOSYS: return "the kernel has no io_uring";
    case EPERM:
    case EACCES: return "io_uring is forbidden here (seccomp, or sysctl kernel.io_uring_disabled)";
    case ENOMEM: return "no memory for a ring: see ulimit -l (RLIMIT_MEMLOCK)";
    case EMFILE: return "this process has too many open descriptors";
    case ENFILE: return "the system has too many open descriptors";
    case EINVAL: return "the kernel does not take the ring's parameters";
    default: return "io_uring_setup failed";
    }
}

/* Full descriptor tables are reported as such; anything else means that another backend be tried.
 */
static int refuse(struct ferry__refused *why, int error, const char *reason) {
    why->error = error;
    why->reason = reason;
    return error == FERRY_EMFILE || error == FERRY_ENFILE ? error : FERRY_ENOTSUP;
}

/* The program's own allocator failed: no other backend would fare better. */
static int no_memory(struct ferry__refused *why) {
    (void)refuse(why, FERRY_ENOMEM, "out of memory");
    return FERRY_ENOMEM;
}

/* Makes a ring and maps it. */
static int ring_make(ferry_loop *loop, struct uring *uring, unsigned entries, unsigned completions,
                     struct ferry__refused *why) {
    struct io_uring_params params;
    int fd = ladder(uring, entries, completions, &params);
    if (fd < 0) return refuse(why, ferry_error_from_system(-fd), setup_reason(-fd));
    if ((params.features & REQUIRED_FEATURES) != REQUIRED_FEATURES) {
        (void)ferry__calls.close(fd);
        return refuse(why, FERRY_ENOTSUP, "the kernel's io_uring is too old (5.11 is enough)");
    }
    int mapped = io_uring_queue_mmap(fd, &params, &uring->ring);
    if (mapped < 0) {
        (void)ferry__calls.close(fd);
        return refuse(why, ferry_error_from_system(-mapped), "the ring could not be mapped");
    }
    (void)io_uring_ring_dontfork(&uring->ring);
    uring->enter_fd = fd;
    uring->enter_flags = 0;
    uring->sq_tail = *uring->ring.sq.ktail;
    uring->sq_entries = params.sq_entries;
    uring->sq_mask = params.sq_entries - 1;
    loop->records = (struct ferry__records){
        .at = (const struct ferry__record *)(const void *)uring->ring.cq.cqes,
        .mask = params.cq_entries - 1,
        .head = *uring->ring.cq.khead,
        .tail = *uring->ring.cq.khead,
    };
    find_setup_features(uring, &params);
    if (!(uring->setup_flags & IORING_SETUP_NO_SQARRAY)) {
        /* Entry i is always in place i, so that publishing the tail is all there is to do. */
        for (unsigned i = 0; i < params.sq_entries; i++) uring->ring.sq.array[i] = i;
    }
    return 0;
}

static void masks_read(struct uring *uring, const struct ferry__options *options) {
    uring->calls = ferry__uring_calls;
    for (unsigned i = 0; i < URING_FEATURES; i++) {
        uring->features[i].name = features[i].name;
        if (!ferry__disabled(options, features[i].name)) continue;
        uring->found[i] = FERRY_FEATURE_MASKED;
        uring->calls = &ferry__uring_calls_masked;
    }
}

static void uring_free(ferry_loop *loop, struct uring *uring) {
    ferry__uring_sendfile_close(uring);
    if (uring->scratch != NULL) loop->release(uring->scratch, loop->allocator_context);
    loop->release(uring, loop->allocator_context);
    loop->system = NULL;
}

static int open_parts(ferry_loop *loop, struct uring *uring, const struct ferry__options *options,
                      struct ferry__refused *why) {
    int error = ring_make(loop, uring, options->submission_entries, options->completion_entries,
                          why);
    if (error != 0) return error;
    const char *missing = probe(loop, uring);
    if (missing != NULL) {
        io_uring_queue_exit(&uring->ring);
        return refuse(why, FERRY_ENOTSUP, missing);
    }
    uring->scratch = loop->allocate(uring->sq_entries * sizeof *uring->scratch,
                                    loop->allocator_context);
    loop->stats.allocations++;
    if (uring->scratch == NULL) {
        io_uring_queue_exit(&uring->ring);
        return no_memory(why);
    }
    uring->wake_fd = ferry__linux_calls.eventfd(0, EFD_CLOEXEC);
    if (uring->wake_fd < 0) {
        error = refuse(why, ferry__errno(), "no descriptor for wake-ups");
        io_uring_queue_exit(&uring->ring);
        return error;
    }
    return 0;
}

int ferry__uring_open(ferry_loop *loop, const struct ferry__options *options,
                      struct ferry__refused *why) {
    struct uring *uring = loop->allocate(sizeof *uring, loop->allocator_context);
    if (uring == NULL) return no_memory(why);
    loop->stats.allocations++;
    memset(uring, 0, sizeof *uring);
    uring->wake_fd = -1;
    uring->line_empty = true;
    uring->kick_after = URING_KICK_NS;
    uring->opener = ferry__os_thread_self();
    uring->has_alternative = options->has_alternative;
    masks_read(uring, options);
    int error = open_parts(loop, uring, options, why);
    if (error != 0) {
        uring_free(loop, uring);
        return error;
    }
    loop->system = uring;
    return 0;
}

/* ---- Adopt ------------------------------------------------------------------------------- */

/* Without R_DISABLED a ring of a single issuer is its maker's: another thread needs its own. */
static int ring_remake(ferry_loop *loop, struct uring *uring) {
    struct ferry__refused why;
    struct uring before = *uring;
    struct ferry__records records = loop->records;
    int error = ring_make(loop, uring, before.sq_entries, before.ring.cq.ring_entries, &why);
    if (error == 0 && uring->sq_entries != before.sq_entries) { /* scratch is per entry */
        io_uring_queue_exit(&uring->ring);
        error = FERRY_ENOMEM;
    }
    if (error == 0 && (!ferry__uring_pools_again(loop) || ferry__uring_buffers_renew(loop) != 0)) {
        io_uring_queue_exit(&uring->ring);
        error = FERRY_ENOMEM;
    }
    if (error == 0) {
        io_uring_queue_exit(&before.ring);
    } else {
        *uring = before;
        loop->records = records;
    }
    return error;
}

static void ring_register(struct uring *uring) {
    struct io_uring_rsrc_update update = {.offset = UINT32_MAX,
                                          .data = (unsigned)uring->ring.ring_fd};
    bool done = uring->found[URING_REGISTERED_RING] != FERRY_FEATURE_MASKED &&
                uring->calls->register_(uring, IORING_REGISTER_RING_FDS, &update, 1) == 1;
    find(uring, URING_REGISTERED_RING, done);
    if (done) {
        uring->enter_fd = (int)update.offset;
        uring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    }
}

static void probe_poll_first(struct io_uring_sqe *sqe, int fd) {
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

static void probe_multi_recv(struct io_uring_sqe *sqe, int fd) {
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->ioprio |= IORING_RECV_MULTISHOT;
}

static void probe_multi_accept(struct io_uring_sqe *sqe, int fd) {
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, 0);
}

/* A kernel that knows the call looks at its argument, which is nowhere. */
static bool has_buffer_rings(struct uring *uring) {
    return uring->calls->register_(uring, IORING_REGISTER_PBUF_RING, (void *)1, 1) == -EFAULT;
}

static void probe_send_zc(struct io_uring_sqe *sqe, int fd) {
    static struct msghdr nothing;
    io_uring_prep_sendmsg_zc(sqe, fd, &nothing, 0); /* later than, hence with, the one of a buffer
                                                     */
}

static void probe_zc_usage(struct io_uring_sqe *sqe, int fd) {
    probe_send_zc(sqe, fd);
    sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
}

/* What only a try can tell. */
static void find_by_trying(ferry_loop *loop, struct uring *uring) {
    static const struct {
        enum uring_feature feature;
        void (*prep)(struct io_uring_sqe *sqe, int fd);
    } tries[] = {
        {URING_POLL_FIRST, probe_poll_first}, {URING_MULTI_ACCEPT, probe_multi_accept},
        {URING_MULTI_RECV, probe_multi_recv}, {URING_SEND_ZC, probe_send_zc},
        {URING_ZC_USAGE, probe_zc_usage},
    };
    for (unsigned i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        if (uring->found[tries[i].feature] == FERRY_FEATURE_MASKED) continue;
        if (tries[i].feature == URING_ZC_USAGE && !uring_has(uring, URING_SEND_ZC)) continue;
        find(uring, tries[i].feature, ferry__uring_probe(loop, tries[i].prep));
    }
}

int ferry__uring_adopt(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    int error = 0;
    if (uring->setup_flags & IORING_SETUP_R_DISABLED) {
        error = ferry__uring_embed_register(uring);
        if (error != 0) return error;
        int enabled = uring->calls->register_(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        if (enabled < 0) return ferry_error_from_system(-enabled);
    } else {
        if (uring->setup_flags & IORING_SETUP_SINGLE_ISSUER &&
            uring->opener.id != ferry__os_thread_self().id) {
            error = ring_remake(loop, uring);
        }
        if (error == 0) error = ferry__uring_embed_register(uring);
        if (error != 0) return error;
    }
    ring_register(uring);
    if (uring_has(uring, URING_NO_IOWAIT)) uring->enter_flags |= IORING_ENTER_NO_IOWAIT;
    /* Opening a FIFO holds one of the kernel's bounded workers for as long as nobody opens the
     * other end. Its default of four per processor would soon leave none for other files. */
    unsigned workers[2] = {URING_WORKERS, 0};
    (void)uring->calls->register_(uring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
    uring->adopted = true;
    find_by_trying(loop, uring);
    find(uring, URING_BUFFER_RING, has_buffer_rings(uring));
    return 0;
}

/* ---- Close and describe ------------------------------------------------------------------ */

static void ring_unregister(struct uring *uring) {
    if (!(uring->enter_flags & IORING_ENTER_REGISTERED_RING)) return;
    struct io_uring_rsrc_update update = {.offset = (uint32_t)uring->enter_fd};
    (void)uring->calls->register_(uring, IORING_UNREGISTER_RING_FDS, &update, 1);
    uring->enter_fd = uring->ring.ring_fd;
    uring->enter_flags &= ~IORING_ENTER_REGISTERED_RING;
}

void ferry__uring_close(ferry_loop *loop, bool forked) {
    struct uring *uring = uring_of(loop);
    if (forked) {
        /* The ring's memory was not inherited; its descriptor was. */
        (void)ferry__calls.close(uring->ring.ring_fd);
    } else {
        /* Another thread may not enter the ring, and what its own had registered has ended with it:
         * then the kernel ends the wake-up's read when the ring is closed. */
        if (uring->adopted && loop->owner.id == ferry__os_thread_self().id) {
            ferry__uring_wake_end(loop);
            ring_unregister(uring);
        }
        io_uring_queue_exit(&uring->ring);
        atomic_store_explicit(&last_closed, ferry__os_clock(), memory_order_relaxed);
    }
    ferry__embed_close(&uring->embed, forked);
    (void)ferry__calls.close(uring->wake_fd);
    uring_free(loop, uring);
}

static const char *feature(unsigned index) {
    return index < URING_FEATURES ? features[index].name : NULL;
}

void ferry__uring_describe(ferry_loop *loop) {
    struct uring *uring = uring_of(loop);
    for (unsigned i = 0; i < URING_FEATURES; i++) {
        uring->features[i].state = (enum ferry_feature_state)uring->found[i];
        uring->features[i].uses = uring->uses[i];
    }
    loop->description.features = uring->features;
    loop->description.feature_count = URING_FEATURES;
    loop->description.submission_entries = uring->sq_entries;
    loop->description.completion_entries = uring->ring.cq.ring_entries;
}

const struct ferry__backend ferry__backend_uring = {
    .name = "uring",
    .open = ferry__uring_open,
    .close = ferry__uring_close,
    .adopt = ferry__uring_adopt,
    .submit = ferry__uring_submit,
    .submit_receive = ferry__uring_submit_receive,
    .submit_send = ferry__uring_submit_send,
    .submit_gathered = ferry__uring_submit_gathered,
    .cancel = ferry__uring_cancel,
    .wait = ferry__uring_wait,
    .read = ferry__uring_read,
    .wake = ferry__uring_wake,
    .pool_open = ferry__uring_pool_open,
    .pool_picks = ferry__uring_pool_picks,
    .pool_offer = ferry__uring_pool_offer,
    .pool_close = ferry__uring_pool_close,
    .buffers_register = ferry__uring_buffers_register,
    .buffers_unregister = ferry__uring_buffers_unregister,
    .feature = feature,
    .describe = ferry__uring_describe,
    .gather_max = URING_GATHER_MAX,
    .embed = &ferry__uring_embedding,
};
