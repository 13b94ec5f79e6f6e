/* setup.c - opens and closes the port, binds handles to it, tells of features.
 *
 * A handle is bound at its first use here, and that is remembered in the table. It is bound for
 * life (unless the system can take it off, for ferry_forget()), so that one which somebody has
 * bound to another port is refused: its packets would never come here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "iocp.h"

#define RECORDS_MAX 32768u
#define RECORDS_MIN 256u
#define SLOTS_MORE 4096u /* made usable at once */
/* The helper of an embedded loop waits at the port, too. */
#define PORT_THREADS 64u

static const char *const feature_names[IOCP_FEATURES] = {
    [IOCP_SKIP] = "skip",
    [IOCP_AFD] = "afd",
    [IOCP_WAIT_PACKETS] = "wait_packets",
    [IOCP_HIRES_TIMER] = "hires_timer",
    [IOCP_TRANSMIT] = "transmit_file",
};

/* ---- Open -------------------------------------------------------------------------------- */

static void find(struct iocp *iocp, const struct ferry__options *options) {
    iocp->timer = ferry__win_timer_make();
    const bool there[IOCP_FEATURES] = {
        [IOCP_SKIP] = true,
        [IOCP_AFD] = true,
        [IOCP_WAIT_PACKETS] = ferry__win.packet_create != NULL &&
                              ferry__win.packet_associate != NULL &&
                              ferry__win.packet_cancel != NULL,
        [IOCP_HIRES_TIMER] = iocp->timer != NULL,
        [IOCP_TRANSMIT] = ferry__iocp_transmits(),
    };
    for (unsigned i = 0; i < IOCP_FEATURES; i++) {
        iocp->features[i].name = feature_names[i];
        iocp->found[i] = there[i] ? FERRY_FEATURE_FOUND : FERRY_FEATURE_MISSING;
        if (ferry__disabled(options, feature_names[i])) iocp->found[i] = FERRY_FEATURE_MASKED;
    }
    if (!iocp_has(iocp, IOCP_HIRES_TIMER) && iocp->timer != NULL) {
        (void)CloseHandle(iocp->timer);
        iocp->timer = NULL;
    }
}

static uint32_t power_of_two(uint32_t wanted) {
    uint32_t size = RECORDS_MIN;
    while (size < wanted && size < RECORDS_MAX) size *= 2;
    return size;
}

static size_t records_bytes(const ferry_loop *loop) {
    return (loop->records.mask + 1u) * sizeof *loop->records.at;
}

static size_t slots_bytes(const struct iocp *iocp) {
    return iocp->slot_limit * sizeof *iocp->slots;
}

static void iocp_free(ferry_loop *loop, struct iocp *iocp) {
    if (iocp->port != NULL) (void)CloseHandle(iocp->port);
    if (iocp->timer != NULL) (void)CloseHandle(iocp->timer);
    ferry__os_unreserve(iocp->slots, slots_bytes(iocp));
    ferry__os_unreserve(iocp->records, records_bytes(loop));
    loop->release(iocp, loop->allocator_context);
    loop->system = NULL;
}

static void support_set(ferry_loop *loop) {
    for (unsigned code = FERRY_OP_NONE + 1; code < FERRY_OP_COUNT; code++) {
        const struct iocp_kind *kind = &ferry__iocp_kinds[code];
        loop->support[code] = kind->begin != NULL ? SUPPORT_NATIVE : kind->otherwise;
    }
}

static int open_parts(ferry_loop *loop, struct iocp *iocp, uint32_t records,
                      struct ferry__refused *why) {
    loop->records = (struct ferry__records){.mask = records - 1};
    iocp->slot_limit = loop->slot_limit;
    iocp->records = ferry__os_reserve(records_bytes(loop));
    iocp->slots = ferry__os_reserve_table(slots_bytes(iocp));
    loop->records.at = iocp->records;
    if (iocp->records == NULL || iocp->slots == NULL) return FERRY_ENOMEM;
    iocp->port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, PORT_THREADS);
    if (iocp->port != NULL) return 0;
    why->error = ferry__win_last_error();
    why->reason = "the system gives no completion port";
    return why->error == FERRY_EMFILE ? FERRY_EMFILE : FERRY_ENOTSUP;
}

static int iocp_open(ferry_loop *loop, const struct ferry__options *options,
                     struct ferry__refused *why) {
    int error = ferry__win_start();
    if (error != 0) {
        *why = (struct ferry__refused){error, "Winsock does not start"};
        return FERRY_ENOTSUP;
    }
    struct iocp *iocp = loop->allocate(sizeof *iocp, loop->allocator_context);
    if (iocp == NULL) return FERRY_ENOMEM;
    loop->stats.allocations++;
    memset(iocp, 0, sizeof *iocp);
    atomic_init(&iocp->woken, false);
    loop->system = iocp;
    error = open_parts(loop, iocp, power_of_two(options->completion_entries), why);
    if (error != 0) {
        if (error == FERRY_ENOMEM) *why = (struct ferry__refused){error, "out of memory"};
        iocp_free(loop, iocp);
        return error;
    }
    find(iocp, options);
    support_set(loop);
    return 0;
}

static int iocp_adopt(ferry_loop *loop) {
    (void)loop; /* requests may be issued by any thread, and are cancelled whoever has issued them
                 */
    return 0;
}

/* ---- Handles ----------------------------------------------------------------------------- */

int ferry__iocp_slot_provide(ferry_loop *loop, ferry_fd fd) {
    struct iocp *iocp = iocp_of(loop);
    uint64_t number = ferry__fd_number(fd);
    if (FERRY__LIKELY(number < iocp->slot_count)) return 0;
    if (number >= iocp->slot_limit) return FERRY_EMFILE;
    uint64_t count = (number / SLOTS_MORE + 1) * SLOTS_MORE;
    if (count > iocp->slot_limit) count = iocp->slot_limit;
    size_t more = (size_t)count - iocp->slot_count;
    if (!ferry__os_commit(&iocp->slots[iocp->slot_count], more * sizeof *iocp->slots)) {
        return FERRY_ENOMEM;
    }
    iocp->slot_count = (uint32_t)count;
    return 0;
}

/* Layered providers that are not the file system's own break the rule that what is done at once
 * brings no packet: then it comes all the same, or the one of something else does not. */
static bool keeps_to_skipping(SOCKET socket) {
    WSAPROTOCOL_INFOW info;
    int len = sizeof info;
    return getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&info, &len) == 0 &&
           (info.dwServiceFlags1 & XP1_IFS_HANDLES) != 0;
}

/* A read that gets a part of a message is neither success nor failure: whether its packet comes all
 * the same nobody says, so that such pipes do not skip. */
static bool has_messages(HANDLE pipe) {
    DWORD state = 0;
    return GetNamedPipeHandleStateW(pipe, &state, NULL, NULL, NULL, NULL, 0) &&
           (state & PIPE_READMODE_MESSAGE) != 0;
}

/* The modes are the file's, whoever has set them, and are not taken back. */
static bool skips_already(HANDLE handle) {
    IO_STATUS_BLOCK block;
    ULONG modes = 0;
    const int completion_notification_information = 41;
    NTSTATUS status = NtQueryInformationFile(
        handle, &block, &modes, sizeof modes,
        (FILE_INFORMATION_CLASS)completion_notification_information);
    return NT_SUCCESS(status) && modes & FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;
}

static void modes_set(ferry_loop *loop, ferry_fd fd, struct iocp_slot *slot, bool skip) {
    struct iocp *iocp = iocp_of(loop);
    UCHAR modes = FILE_SKIP_SET_EVENT_ON_HANDLE; /* nobody waits for the handle itself */
    bool is_socket = ferry__slot_is_there(loop, fd) && ferry__slot(loop, fd)->kind == KIND_STREAM;
    skip = skip && iocp_has(iocp, IOCP_SKIP) &&
           (is_socket ? keeps_to_skipping(ferry__win_socket(fd))
                      : !has_messages(ferry__win_handle(fd)));
    if (skip) modes |= FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;
    bool set = SetFileCompletionNotificationModes(ferry__win_handle(fd), modes) != 0;
    if (set && skip) slot->flags |= HANDLE_SKIPS;
    if (!skip && skips_already(ferry__win_handle(fd))) slot->flags |= HANDLE_SKIPS;
}

typedef BOOL(WINAPI compare_fn)(HANDLE, HANDLE);

/* Do two handles stand for the same? Windows 10 and later can tell. */
static compare_fn *comparer(void) {
    typedef void function(void);
    HMODULE module = GetModuleHandleW(L"kernelbase.dll");
    if (module == NULL) return NULL;
    return (compare_fn *)(function *)GetProcAddress(module, "CompareObjectHandles");
}

/* Duplicates are one file to the system, and have one port: is this a duplicate of a handle that is
 * bound to the loop's? Looked for only where the other answer is an error. */
static bool is_bound_as_another(const struct iocp *iocp, ferry_fd fd) {
    compare_fn *same = comparer();
    for (uint32_t i = 0; same != NULL && i < iocp->slot_count; i++) {
        struct iocp_slot *slot = &iocp->slots[i];
        if (!(slot->flags & HANDLE_BOUND)) continue;
        if (!same(ferry__win_handle(ferry__fd_of(i)), ferry__win_handle(fd))) continue;
        slot->flags |= HANDLE_SHARED;
        return true;
    }
    return false;
}

int ferry__iocp_bind(ferry_loop *loop, ferry_fd fd, bool skip) {
    struct iocp_slot *slot = iocp_slot(loop, fd);
    if (FERRY__LIKELY(slot->flags & HANDLE_BOUND)) return 0;
    HANDLE port = CreateIoCompletionPort(ferry__win_handle(fd), iocp_of(loop)->port, 0, 0);
    if (port == NULL) {
        DWORD code = GetLastError();
        if (code != ERROR_INVALID_PARAMETER) return ferry__win_error(code);
        if (is_bound_as_another(iocp_of(loop), fd)) {
            slot->flags |= HANDLE_SHARED;
        } else if (!(slot->flags & HANDLE_WAS_BOUND)) {
            /* Else it is forgotten, and the system did not take it off the port: it is ours. */
            return FERRY_EINVAL;
        }
    }
    slot->flags |= HANDLE_BOUND;
    slot->flags &= ~(uint32_t)HANDLE_WAS_BOUND;
    modes_set(loop, fd, slot, skip);
    return 0;
}

/* Whatever was known of the number is void. */
static void slot_reset(ferry_loop *loop, ferry_fd fd) {
    struct iocp_slot *slot = iocp_slot(loop, fd);
    ferry__iocp_files_forget(loop, fd, slot);
    ferry__iocp_listener_free(slot);
    *slot = (struct iocp_slot){.flags = 0};
}

static void iocp_claimed(ferry_loop *loop, ferry_fd fd) {
    if (ferry__fd_number(fd) < iocp_of(loop)->slot_count) slot_reset(loop, fd);
}

void ferry__iocp_closed(ferry_loop *loop, ferry_fd fd) {
    iocp_claimed(loop, fd);
}

/* Windows 8.1 and later take an idle handle off its port. */
static bool unbind(ferry_fd fd) {
    struct {
        HANDLE port;
        void *key;
    } none = {NULL, NULL};
    IO_STATUS_BLOCK block;
    const int replace_completion_information = 61;
    NTSTATUS status = NtSetInformationFile(ferry__win_handle(fd), &block, &none, sizeof none,
                                           (FILE_INFORMATION_CLASS)replace_completion_information);
    return NT_SUCCESS(status);
}

static void iocp_forget(ferry_loop *loop, ferry_fd fd) {
    if (ferry__fd_number(fd) >= iocp_of(loop)->slot_count) return;
    struct iocp_slot *slot = iocp_slot(loop, fd);
    bool shared = slot->flags & HANDLE_SHARED;
    bool stays = slot->flags & HANDLE_BOUND && (shared || !unbind(fd));
    slot_reset(loop, fd);
    if (stays) slot->flags = HANDLE_WAS_BOUND;
}

/* ---- Close, describe --------------------------------------------------------------------- */

static void iocp_close(ferry_loop *loop, bool forked) {
    (void)forked; /* there are no forks */
    struct iocp *iocp = iocp_of(loop);
    for (uint32_t i = 0; i < iocp->slot_count; i++) {
        if (iocp->slots[i].flags != 0) slot_reset(loop, ferry__fd_of(i));
    }
    ferry__iocp_embed_close(loop);
    ferry__iocp_poll_close(loop);
    ferry__iocp_files_close(loop);
    ferry__iocp_sendfile_close(loop);
    iocp_free(loop, iocp);
}

static const char *feature(unsigned index) {
    return index < IOCP_FEATURES ? feature_names[index] : NULL;
}

static void iocp_describe(ferry_loop *loop) {
    struct iocp *iocp = iocp_of(loop);
    for (unsigned i = 0; i < IOCP_FEATURES; i++) {
        iocp->features[i].state = (enum ferry_feature_state)iocp->found[i];
        iocp->features[i].uses = iocp->uses[i];
    }
    loop->description.features = iocp->features;
    loop->description.feature_count = IOCP_FEATURES;
    loop->description.submission_entries = 0;
    loop->description.completion_entries = loop->records.mask + 1;
}

const struct ferry__backend ferry__backend_iocp = {
    .name = "iocp",
    .open = iocp_open,
    .close = iocp_close,
    .adopt = iocp_adopt,
    .submit = ferry__iocp_submit,
    .submit_receive = ferry__iocp_submit,
    .submit_send = ferry__iocp_submit,
    .submit_gathered = ferry__iocp_submit_gathered,
    .cancel = ferry__iocp_cancel,
    .wait = ferry__iocp_wait,
    .read = ferry__iocp_read,
    .wake = ferry__iocp_wake,
    .feature = feature,
    .describe = iocp_describe,
    .forget = iocp_forget,
    .claimed = iocp_claimed,
    .worked = ferry__iocp_worked,
    .gather_max = IOCP_GATHER_MAX,
    .embed = &ferry__iocp_embedding,
};
