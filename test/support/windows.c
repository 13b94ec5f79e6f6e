/* windows.c - what the tests ask Windows about this process
 *
 * What is counted as a descriptor is all that has a handle and can be left over: files, sockets,
 * pipes, ports, events, timers, processes, threads. The system opens some of its own at the first
 * use of something; run_one.c has a loop opened and closed before it counts, and what is of a kind
 * that Ferry never makes is left out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "windows/inside.h"

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <tlhelp32.h>
#include <winternl.h>

#include "support.h"

int program_find(char *path, size_t size);
void fd_describe(ferry_fd fd, char *text, size_t size);
void threads_settle(void);
size_t list_threads(long *list, size_t max);
uint64_t count_sleeps(const long *but, size_t but_count);
void process_warm(void);
void tree_remove(const wchar_t *path);
void remove_tree(const char *path);
int posix_pipe(posix_fd fds[2]);
int posix_socketpair(int family, int type, int protocol, posix_fd fds[2]);

/* The first call of all: what is printed is to have the lines' ends that the tests look for. */
int program_find(char *path, size_t size) {
    _setmode(1, _O_BINARY);
    _setmode(2, _O_BINARY);
    wchar_t at[512];
    DWORD len = GetModuleFileNameW(NULL, at, 512);
    if (len == 0 || len >= 512) return -1;
    return WideCharToMultiByte(CP_UTF8, 0, at, -1, path, (int)size, NULL, NULL) > 0 ? 0 : -1;
}

void remove_tree(const char *path) {
    const wchar_t *name = wide(path);
    if (name) tree_remove(name);
}

/* ---- Descriptors ---------------------------------------------------------------------------- */

static bool kind_of(HANDLE handle, char *text, size_t size) {
    union {
        PUBLIC_OBJECT_TYPE_INFORMATION about;
        char room[1024];
    } type;
    memset(&type, 0, sizeof type);
    if (NtQueryObject(handle, ObjectTypeInformation, &type, sizeof type, NULL) != 0) return false;
    if (!type.about.TypeName.Buffer) return false;
    snprintf(text, size, "%ls", type.about.TypeName.Buffer);
    return true;
}

static bool is_counted(HANDLE handle) {
    static const char *const kinds[] = {
        "File", "IoCompletion", "Event", "Timer", "Process", "Thread", "WaitCompletionPacket"};
    char kind[64];
    DWORD flags;
    if (!GetHandleInformation(handle, &flags) || !kind_of(handle, kind, sizeof kind)) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0) return true;
    }
    return false;
}

size_t list_fds(ferry_fd *list, size_t max) {
    size_t count = 0;
    unsigned unused = 0; /* numbers one after the other: the system gives low ones first */
    for (uintptr_t number = 4; unused < 1024; number += 4) {
        DWORD flags;
        unused = GetHandleInformation((HANDLE)number, &flags) ? 0 : unused + 1;
        if (unused > 0) continue;
        if (!is_counted((HANDLE)number) || is_child_handle((HANDLE)number)) continue;
        if (list && count < max) list[count] = (ferry_fd)number;
        count++;
    }
    return count;
}

void fd_describe(ferry_fd fd, char *text, size_t size) {
    char kind[64] = "unknown";
    kind_of((HANDLE)fd, kind, sizeof kind);
    snprintf(text, size, "%s%s, of type %lu", kind, is_socket(fd) ? ", a socket" : "",
             (unsigned long)GetFileType((HANDLE)fd));
}

/* ---- Threads -------------------------------------------------------------------------------- */

/* Those of the system's own pools stay for a while after their work is done: they begin in ntdll.
 */
static bool is_of_the_system(DWORD id) {
    HANDLE thread = OpenThread(THREAD_QUERY_INFORMATION, FALSE, id);
    HMODULE module = NULL;
    void *begin = NULL;
    if (!thread) return true; /* It ended just now. */
    NtQueryInformationThread(thread, (THREADINFOCLASS)9, &begin, sizeof begin, NULL);
    CloseHandle(thread);
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                           GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       begin, &module);
    return module && module == GetModuleHandleW(L"ntdll.dll");
}

size_t count_threads(void) {
    THREADENTRY32 thread = {.dwSize = sizeof thread};
    size_t count = 0;
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    if (all == INVALID_HANDLE_VALUE) return 0;
    for (BOOL more = Thread32First(all, &thread); more; more = Thread32Next(all, &thread)) {
        if (thread.th32OwnerProcessID != GetCurrentProcessId()) continue;
        if (thread.th32ThreadID == GetCurrentThreadId()) count++;
        else if (!is_of_the_system(thread.th32ThreadID)) count++;
    }
    CloseHandle(all);
    return count;
}

size_t list_threads(long *list, size_t max) {
    (void)list;
    (void)max;
    return 0;
}

uint64_t count_sleeps(const long *but, size_t but_count) {
    (void)but;
    (void)but_count;
    return UINT64_MAX;
}

void threads_settle(void) {}

/* ---- The process ---------------------------------------------------------------------------- */

/* What is reserved, in use or not. */
uint64_t address_space(void) {
    MEMORY_BASIC_INFORMATION about;
    uint64_t all = 0;
    for (char *at = NULL; VirtualQuery(at, &about, sizeof about) != 0;) {
        if (about.State != MEM_FREE) all += about.RegionSize;
        char *next = (char *)about.BaseAddress + about.RegionSize;
        if (next <= at) break;
        at = next;
    }
    return all;
}

void allow_tracing(void) {}

int is_wine(void) {
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    return ntdll && GetProcAddress(ntdll, "wine_get_version") != NULL;
}

static VOID CALLBACK came(PTP_CALLBACK_INSTANCE instance, PVOID context, PVOID overlapped,
                          ULONG error, ULONG_PTR bytes, PTP_IO io) {
    (void)instance;
    (void)context;
    (void)overlapped;
    (void)error;
    (void)bytes;
    (void)io;
}

static VOID CALLBACK signalled(PVOID context, BOOLEAN is_late) {
    (void)context;
    (void)is_late;
}

/* The system's pools of threads, for what is read and what is waited for. */
static void pools_warm(void) {
    posix_fd fds[2];
    HANDLE wait, event = CreateEventW(NULL, TRUE, TRUE, NULL);
    if (RegisterWaitForSingleObject(&wait, event, signalled, NULL, INFINITE, WT_EXECUTEONLYONCE)) {
        Sleep(5);
        UnregisterWaitEx(wait, INVALID_HANDLE_VALUE);
    }
    CloseHandle(event);
    if (posix_pipe(fds) != 0) return;
    OVERLAPPED overlapped = {.hEvent = NULL};
    char byte = 0;
    PTP_IO io = CreateThreadpoolIo((HANDLE)fds[0], came, NULL, NULL);
    if (io) {
        StartThreadpoolIo(io);
        (void)ReadFile((HANDLE)fds[0], &byte, 1, NULL, &overlapped);
        (void)WriteFile((HANDLE)fds[1], &byte, 1, NULL, &(OVERLAPPED){.hEvent = NULL});
        Sleep(5);
        WaitForThreadpoolIoCallbacks(io, FALSE);
        CloseThreadpoolIo(io);
    }
    CloseHandle((HANDLE)fds[0]);
    CloseHandle((HANDLE)fds[1]);
}

/* What the system opens at the first use of a thing, and keeps. */
void process_warm(void) {
    ferry_loop *loop = NULL;
    ferry_config config;
    memset(&config, 0, sizeof config);
    if (test_open(&loop, &config) != 0) return;
    (void)ferry_run(loop, FERRY_RUN_NOWAIT);
    (void)ferry_loop_close(loop);
    pools_warm();
    posix_fd fds[2];
    if (posix_socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0) {
        closesocket((SOCKET)fds[0]);
        closesocket((SOCKET)fds[1]);
    }
}
