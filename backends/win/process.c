/* process.c - beginning a child (a worker does it), sending it a signal, and how it ended.
 *
 * Windows keeps nothing of a process that has ended but for those who have a handle of it. So that
 * a child's number stays its own, and how it ended can be told, a handle of each that was begun
 * here is kept until somebody has waited for it. Its streams are inherited as copies made for the
 * purpose, which are closed again at once; nothing else is inherited (spawn.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "process.h"

#include "core.h"
#include "files.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#define KILL 9 /* as other systems number them: <signal.h> here has not all of them */
#define QUIT 3
#define SIGNAL_MAX 64
#define LIST_MAX 64u
#define PIPE_BYTES 65536
#define ENDED_BY 128u /* and the signal's number: the exit code of a process that we end */

/* ---- Children ------------------------------------------------------------------------------ */

static SRWLOCK children_lock = SRWLOCK_INIT;
static struct ferry__child *children;

/* The last of a kind: processes that no other has the number and the time of. */
struct list {
    struct {
        int64_t pid;
        uint64_t begun;
    } of[LIST_MAX];
    unsigned next;
};

/* Those that were waited for: while others have handles of them the system has them, too. And those
 * among the children that somebody else began that were sent a signal. */
static struct list taken, killed;

/* Under the lock. */
static struct ferry__child **child_find(int64_t pid) {
    struct ferry__child **at = &children;
    while (*at != NULL && (*at)->pid != pid) at = &(*at)->next;
    return at;
}

static void remember(struct ferry__child *child) {
    AcquireSRWLockExclusive(&children_lock);
    child->next = children;
    children = child;
    ReleaseSRWLockExclusive(&children_lock);
}

static void forget(struct ferry__child *child) {
    if (child->job != NULL) (void)CloseHandle(child->job);
    (void)CloseHandle(child->process);
    free(child);
}

/* When a process began, in 100 ns; 0: nobody knows. */
static uint64_t begun_at(HANDLE process) {
    FILETIME begun, ended, kernel, user;
    if (!GetProcessTimes(process, &begun, &ended, &kernel, &user)) return 0;
    return (uint64_t)begun.dwHighDateTime << 32 | begun.dwLowDateTime;
}

/* Under the lock, both. */
static bool list_has(const struct list *list, int64_t pid, uint64_t begun) {
    for (unsigned i = 0; i < LIST_MAX; i++) {
        if (list->of[i].pid == pid && list->of[i].begun == begun) return true;
    }
    return false;
}

static void list_add(struct list *list, int64_t pid, uint64_t begun) {
    list->of[list->next % LIST_MAX].pid = pid;
    list->of[list->next++ % LIST_MAX].begun = begun;
}

/* PROCESS_BASIC_INFORMATION, whose members have a name in no two headers. */
struct basic {
    NTSTATUS status;
    void *environment;
    ULONG_PTR processors;
    LONG priority;
    ULONG_PTR pid, begun_by;
};

/* Begun by this process: by another whose number we have now it would be older than we are. */
static bool is_ours(HANDLE process) {
    struct basic about;
    if (NtQueryInformationProcess(process, ProcessBasicInformation, &about, sizeof about, NULL) !=
        STATUS_SUCCESS) {
        return false;
    }
    return about.begun_by == GetCurrentProcessId() &&
           begun_at(process) >= begun_at(GetCurrentProcess());
}

/* A copy of the handle that we have of it: NULL if we have none. */
static HANDLE handle_of(int64_t pid) {
    HANDLE self = GetCurrentProcess(), copy = NULL;
    AcquireSRWLockShared(&children_lock);
    struct ferry__child *child = *child_find(pid);
    if (child != NULL &&
        !DuplicateHandle(self, child->process, self, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS)) {
        copy = NULL;
    }
    ReleaseSRWLockShared(&children_lock);
    return copy;
}

/* A handle of any process, NULL and GetLastError(). The system passes over a number's last two
 * bits, and opens 100 for 102. */
static HANDLE process_open(int64_t pid, DWORD access) {
    HANDLE process = OpenProcess(access | PROCESS_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)pid);
    if (process == NULL || GetProcessId(process) == (DWORD)pid) return process;
    (void)CloseHandle(process);
    SetLastError(ERROR_INVALID_PARAMETER); /* as of a number that nobody has */
    return NULL;
}

HANDLE ferry__win_child_open(int64_t pid, int *error) {
    HANDLE process = handle_of(pid);
    *error = FERRY_ECHILD;
    if (process != NULL) return process;
    process = process_open(pid, SYNCHRONIZE);
    if (process == NULL) return NULL;
    AcquireSRWLockShared(&children_lock);
    bool ours = is_ours(process) && !list_has(&taken, pid, begun_at(process));
    ReleaseSRWLockShared(&children_lock);
    if (ours) return process;
    (void)CloseHandle(process);
    return NULL;
}

/* ---- How it ended -------------------------------------------------------------------------- */

/* What would have been a signal elsewhere. */
static int signal_of(DWORD code) {
    switch (code) {
    case (DWORD)STATUS_ACCESS_VIOLATION:
    case (DWORD)STATUS_IN_PAGE_ERROR:
    case (DWORD)STATUS_STACK_OVERFLOW: return SIGSEGV;
    case (DWORD)STATUS_ILLEGAL_INSTRUCTION:
    case (DWORD)STATUS_PRIVILEGED_INSTRUCTION: return SIGILL;
    case (DWORD)STATUS_INTEGER_DIVIDE_BY_ZERO:
    case (DWORD)STATUS_INTEGER_OVERFLOW:
    case (DWORD)STATUS_FLOAT_DIVIDE_BY_ZERO:
    case (DWORD)STATUS_FLOAT_INVALID_OPERATION: return SIGFPE;
    case (DWORD)STATUS_STACK_BUFFER_OVERRUN: return SIGABRT; /* what ends itself at once, too */
    case (DWORD)STATUS_CONTROL_C_EXIT: return SIGINT;
    default: return 0;
    }
}

/* Codes that are numbers above 0 are told whole. */
static void tell(ferry_exit *how, DWORD code, int signal) {
    if (signal == 0) signal = signal_of(code);
    how->status = signal != 0 ? -1 : code <= INT32_MAX ? (int32_t)code : (int32_t)(code & 0xffu);
    how->signal = signal;
    how->core = 0;
    how->reserved = 0;
}

int ferry__win_child_take(int64_t pid, HANDLE process, ferry_exit *how) {
    DWORD code = 0;
    uint64_t begun = begun_at(process);
    AcquireSRWLockExclusive(&children_lock);
    struct ferry__child **at = child_find(pid), *child = *at;
    bool late = list_has(&taken, pid, begun);
    bool was_killed = child != NULL ? child->killed : list_has(&killed, pid, begun);
    if (!late) {
        list_add(&taken, pid, begun);
        if (child != NULL) *at = child->next;
    }
    ReleaseSRWLockExclusive(&children_lock);
    if (late) return FERRY_ECHILD;
    if (child != NULL) forget(child);
    (void)GetExitCodeProcess(process, &code);
    /* It may have ended by itself before we could. */
    was_killed = was_killed && code > ENDED_BY && code <= ENDED_BY + SIGNAL_MAX;
    if (how != NULL) tell(how, code, was_killed ? (int)(code - ENDED_BY) : 0);
    return 0;
}

/* ---- The streams --------------------------------------------------------------------------- */

/* What is open while a child begins; NULL: none. */
struct ends {
    HANDLE theirs[PROCESS_STREAMS]; /* can be inherited, closed at the end */
    HANDLE ours[PROCESS_STREAMS];   /* of pipes: kept if all goes well */
};

static void close_all(HANDLE handles[PROCESS_STREAMS]) {
    for (int i = 0; i < PROCESS_STREAMS; i++) {
        if (handles[i] != NULL) (void)CloseHandle(handles[i]);
        handles[i] = NULL;
    }
}

static int inheritable(HANDLE handle, HANDLE *copy) {
    HANDLE self = GetCurrentProcess();
    if (DuplicateHandle(self, handle, self, copy, 0, TRUE, DUPLICATE_SAME_ACCESS)) return 0;
    *copy = NULL;
    return ferry__win_last_error();
}

/* One of ours that is not there, or is void, is not there in the child either. */
static int inherit(int which, HANDLE *theirs) {
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE ours = GetStdHandle(names[which]);
    if (ours == NULL || ours == INVALID_HANDLE_VALUE) return 0;
    int error = inheritable(ours, theirs);
    return error == FERRY_EBADF ? 0 : error;
}

/* Programs read and write their streams by calls that wait, which an overlapped file refuses: they
 * get the file by another handle, at its beginning (or at its end, to append). */
static int give(HANDLE handle, HANDLE *theirs) {
    FILE_ACCESS_INFORMATION granted;
    FILE_STANDARD_INFO about = {.Directory = TRUE};
    FILE_MODE_INFORMATION mode = {.Mode = FILE_SYNCHRONOUS_IO_NONALERT};
    IO_STATUS_BLOCK status;
    HANDLE again = NULL;
    const ULONG waits = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    if (!ferry__win_is_on_disk(handle) ||
        !GetFileInformationByHandleEx(handle, FileStandardInfo, &about, sizeof about) ||
        about.Directory ||
        NtQueryInformationFile(handle, &status, &mode, sizeof mode, FileModeInformation) !=
            STATUS_SUCCESS ||
        mode.Mode & waits ||
        NtQueryInformationFile(handle, &status, &granted, sizeof granted, FileAccessInformation) !=
            STATUS_SUCCESS) {
        return inheritable(handle, theirs);
    }
    int error = ferry__win_reopen(handle, granted.AccessFlags, &again);
    if (error != 0) return inheritable(handle, theirs);
    error = inheritable(again, theirs);
    (void)CloseHandle(again);
    return error;
}

static int nothing_open(int which, HANDLE *theirs) {
    SECURITY_ATTRIBUTES inherits = {.nLength = sizeof inherits, .bInheritHandle = TRUE};
    HANDLE handle = CreateFileW(L"NUL", which == 0 ? GENERIC_READ : GENERIC_WRITE,
                                FILE_SHARE_READ | FILE_SHARE_WRITE, &inherits, OPEN_EXISTING, 0,
                                NULL);
    if (handle == INVALID_HANDLE_VALUE) return ferry__win_last_error();
    *theirs = handle;
    return 0;
}

/* Our end is overlapped, theirs is not, and can be inherited. */
static int pipe_open(struct ends *ends, int which) {
    static _Atomic uint32_t count; /* relaxed: just different ones */
    SECURITY_ATTRIBUTES inherits = {.nLength = sizeof inherits, .bInheritHandle = TRUE};
    DWORD ours = which == 0 ? PIPE_ACCESS_OUTBOUND : PIPE_ACCESS_INBOUND;
    DWORD theirs = which == 0 ? GENERIC_READ | FILE_WRITE_ATTRIBUTES
                              : GENERIC_WRITE | FILE_READ_ATTRIBUTES;
    wchar_t name[96];
    unsigned number = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    (void)_snwprintf(name, sizeof name / sizeof name[0], L"\\\\.\\pipe\\ferry-child-%lx-%x-%llx",
                     GetCurrentProcessId(), number, (unsigned long long)ferry__os_clock());
    HANDLE end = CreateNamedPipeW(name, ours | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
                                  PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS, 1, PIPE_BYTES,
                                  PIPE_BYTES, 0, NULL);
    if (end == INVALID_HANDLE_VALUE) return ferry__win_last_error();
    ends->ours[which] = end;
    end = CreateFileW(name, theirs, 0, &inherits, OPEN_EXISTING,
                      SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS, NULL);
    if (end == INVALID_HANDLE_VALUE) return ferry__win_last_error();
    ends->theirs[which] = end;
    return 0;
}

static int stream_open(const ferry_stdio *stdio, struct ends *ends, int which) {
    switch (stdio->kind) {
    case FERRY_STDIO_INHERIT: return inherit(which, &ends->theirs[which]);
    case FERRY_STDIO_NULL: return nothing_open(which, &ends->theirs[which]);
    case FERRY_STDIO_PIPE: return pipe_open(ends, which);
    case FERRY_STDIO_FD: return give(ferry__win_handle(stdio->fd), &ends->theirs[which]);
    case FERRY_STDIO_SAME: return 0;
    }
    return FERRY_EINVAL;
}

static int streams_open(const ferry_child *asked, struct ends *ends) {
    int error = 0;
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        error = stream_open(&asked->stdio[i], ends, i);
    }
    for (int i = 0; i < PROCESS_STREAMS && error == 0; i++) {
        const ferry_stdio *stdio = &asked->stdio[i];
        if (stdio->kind != FERRY_STDIO_SAME || ends->theirs[stdio->fd] == NULL) continue;
        error = inheritable(ends->theirs[stdio->fd], &ends->theirs[i]);
    }
    return error;
}

/* ---- Begin --------------------------------------------------------------------------------- */

int ferry__process_spawn(const ferry_op *op) {
    ferry_child *asked = (ferry_child *)(uintptr_t)op->buf;
    struct ends ends = {.theirs = {NULL}, .ours = {NULL}};
    struct ferry__child *child = calloc(1, sizeof *child);
    if (child == NULL) return FERRY_ENOMEM;
    int error = streams_open(asked, &ends);
    if (error == 0) error = ferry__process_begin(asked, ends.theirs, child);
    close_all(ends.theirs);
    if (error != 0) close_all(ends.ours);
    asked->pid = error == 0 ? child->pid : 0;
    for (int i = 0; i < PROCESS_STREAMS; i++) {
        if (asked->stdio[i].kind != FERRY_STDIO_PIPE) continue;
        asked->stdio[i].fd = error == 0 ? ferry__win_fd(ends.ours[i]) : FERRY_FD_NONE;
    }
    if (error == 0) {
        remember(child);
    } else {
        free(child);
    }
    return error;
}

/* ---- Signals ------------------------------------------------------------------------------- */

static bool ends_it(int signal) {
    return signal == SIGINT || signal == QUIT || signal == KILL || signal == SIGTERM;
}

/* Remembered, as the system does not: it knows an exit code only. */
static void note(int64_t pid, HANDLE process) {
    AcquireSRWLockExclusive(&children_lock);
    struct ferry__child *child = *child_find(pid);
    if (child != NULL) {
        child->killed = true;
    } else {
        list_add(&killed, pid, begun_at(process));
    }
    ReleaseSRWLockExclusive(&children_lock);
}

static bool leads_group(int64_t pid) {
    AcquireSRWLockShared(&children_lock);
    const struct ferry__child *child = *child_find(pid);
    bool leads = child != NULL && child->job != NULL;
    ReleaseSRWLockShared(&children_lock);
    return leads;
}

/* A process that has ended and waits to be waited for takes any signal. Ctrl-Break goes to groups:
 * by the number of one that leads none it would come to all that share the console, us included. */
static int send_to(int64_t pid, HANDLE process, bool is_child, int signal) {
    if (WaitForSingleObject(process, 0) == WAIT_OBJECT_0) return is_child ? 0 : FERRY_ESRCH;
    if (signal == 0) return 0;
    if (signal == SIGBREAK && leads_group(pid)) {
        return GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, (DWORD)pid) ? 0 : FERRY_ENOTSUP;
    }
    if (!ends_it(signal)) return FERRY_ENOTSUP;
    note(pid, process);
    if (TerminateProcess(process, ENDED_BY + (unsigned)signal)) return 0;
    int error = ferry__win_last_error();
    /* It is about to end. */
    return WaitForSingleObject(process, 0) == WAIT_OBJECT_0 ? 0 : error;
}

static int kill_process(int64_t pid, int signal) {
    HANDLE process = handle_of(pid);
    bool is_child = process != NULL;
    if (process == NULL) {
        DWORD access = SYNCHRONIZE | (ends_it(signal) ? PROCESS_TERMINATE : 0);
        process = process_open(pid, access);
    }
    if (process == NULL) {
        DWORD code = GetLastError();
        return code == ERROR_INVALID_PARAMETER ? FERRY_ESRCH
               : code == ERROR_ACCESS_DENIED   ? FERRY_EPERM
                                               : ferry__win_error(code);
    }
    int error = send_to(pid, process, is_child, signal);
    (void)CloseHandle(process);
    return error;
}

/* A group is known by the child that leads it, until that has been waited for. */
static int kill_group(int64_t pid, int signal) {
    int error = FERRY_ESRCH;
    AcquireSRWLockExclusive(&children_lock);
    struct ferry__child *child = *child_find(pid);
    if (child != NULL && child->job != NULL) {
        error = 0;
        if (signal == SIGBREAK) {
            if (!GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, (DWORD)pid)) error = FERRY_ENOTSUP;
        } else if (ends_it(signal)) {
            child->killed = true;
            if (!TerminateJobObject(child->job, ENDED_BY + (unsigned)signal)) {
                error = ferry__win_last_error();
            }
        } else if (signal != 0) {
            error = FERRY_ENOTSUP;
        }
    }
    ReleaseSRWLockExclusive(&children_lock);
    return error;
}

/* Those that a program can wait for come as its C library sends them. */
static int kill_self(int signal) {
    if (signal == 0) return 0;
    if (ferry__os_catchable((uint64_t)signal) == 0 && signal >= SIGINT) {
        return raise(signal) == 0 ? 0 : FERRY_EINVAL;
    }
    if (!ends_it(signal)) return FERRY_ENOTSUP;
    return TerminateProcess(GetCurrentProcess(), ENDED_BY + (unsigned)signal)
               ? 0
               : ferry__win_last_error();
}

int ferry_kill(ferry_loop *loop, int64_t pid, int signal) {
    ferry__loop_check(loop, NULL);
    if (pid == 0 || pid == -1 || pid > INT32_MAX || pid < -INT32_MAX) return FERRY_EINVAL;
    if (signal < 0 || signal > SIGNAL_MAX) return FERRY_EINVAL;
    if (pid < 0) return kill_group(-pid, signal);
    return pid == (int64_t)GetCurrentProcessId() ? kill_self(signal) : kill_process(pid, signal);
}
