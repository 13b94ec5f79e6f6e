/* os.c - the Windows side of os.h: clock, memory, environment; and what a process has once of
 * Winsock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "win.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- Time -------------------------------------------------------------------------------- */

#define SECOND_NS 1000000000u

uint64_t ferry__os_clock(void) {
    static _Atomic int64_t frequency; /* relaxed: whoever asks gets the same number */
    LARGE_INTEGER now, per_second;
    per_second.QuadPart = atomic_load_explicit(&frequency, memory_order_relaxed);
    if (per_second.QuadPart == 0) {
        (void)QueryPerformanceFrequency(&per_second); /* neither fails since Windows XP */
        atomic_store_explicit(&frequency, per_second.QuadPart, memory_order_relaxed);
    }
    (void)QueryPerformanceCounter(&now);
    uint64_t ticks = (uint64_t)now.QuadPart, rate = (uint64_t)per_second.QuadPart;
    /* In two parts: ticks times a thousand million does not fit. */
    return ticks / rate * SECOND_NS + ticks % rate * SECOND_NS / rate;
}

HANDLE ferry__win_timer_make(void) {
    HANDLE timer = CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
                                          TIMER_ALL_ACCESS);
    return timer; /* NULL before Windows 10, 1803 */
}

/* A plain sleep lasts to the system's next tick, up to 16 ms away. */
void ferry__os_sleep(uint64_t ns) {
    HANDLE timer = ferry__win_timer_make();
    LARGE_INTEGER span = {.QuadPart = -(int64_t)((ns + 99) / 100)};
    if (timer != NULL && SetWaitableTimer(timer, &span, 0, NULL, NULL, FALSE)) {
        (void)WaitForSingleObject(timer, INFINITE);
    } else {
        Sleep((DWORD)((ns + 999999) / 1000000));
    }
    if (timer != NULL) (void)CloseHandle(timer);
}

/* ---- Memory ------------------------------------------------------------------------------ */

void *ferry__os_reserve(size_t bytes) {
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void ferry__os_unreserve(void *memory, size_t bytes) {
    (void)bytes;
    if (memory != NULL) (void)VirtualFree(memory, 0, MEM_RELEASE);
}

void *ferry__os_reserve_table(size_t bytes) {
    return VirtualAlloc(NULL, bytes, MEM_RESERVE, PAGE_READWRITE);
}

bool ferry__os_commit(void *memory, size_t bytes) {
    return VirtualAlloc(memory, bytes, MEM_COMMIT, PAGE_READWRITE) != NULL;
}

/* Numbers of handles, which go up by four; a table of that many must fit into the address space. */
uint32_t ferry__os_fd_limit(void) {
    return sizeof(void *) >= 8 ? 1u << 24 : 1u << 16;
}

/* ---- Environment ------------------------------------------------------------------------- */

char *ferry__win_utf8(const wchar_t *wide) {
    int len = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = len > 0 ? malloc((size_t)len) : NULL;
    if (text != NULL) (void)WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, len, NULL, NULL);
    return text;
}

/* What was once told stays where it is until the process ends: who asks may look at it for as long
 * as the environment's own would be there. One entry for each value that a variable has had. */
struct told {
    struct told *next;
    const char *name; /* a literal of ours */
    char value[];
};
static struct told *told;
static SRWLOCK told_lock = SRWLOCK_INIT;

static const char *told_value(const char *name, const char *value) {
    struct told *at = told;
    while (at != NULL && (strcmp(at->name, name) != 0 || strcmp(at->value, value) != 0)) {
        at = at->next;
    }
    if (at != NULL) return at->value;
    size_t bytes = strlen(value) + 1;
    at = malloc(sizeof *at + bytes);
    if (at == NULL) return NULL;
    at->name = name;
    at->next = told;
    memcpy(at->value, value, bytes);
    told = at;
    return at->value;
}

/* The wide text of one variable: malloc()ed, NULL if it is not set. */
static wchar_t *variable(const char *name) {
    wchar_t wide[64];
    if (MultiByteToWideChar(CP_UTF8, 0, name, -1, wide, 64) == 0) return NULL;
    DWORD room = GetEnvironmentVariableW(wide, NULL, 0);
    while (room != 0) {
        wchar_t *value = malloc(room * sizeof *value);
        if (value == NULL) return NULL;
        SetLastError(ERROR_SUCCESS); /* an empty one has no length either */
        DWORD len = GetEnvironmentVariableW(wide, value, room);
        if (len < room && (len != 0 || GetLastError() != ERROR_ENVVAR_NOT_FOUND)) return value;
        free(value); /* somebody else has changed it meanwhile */
        room = len;
    }
    return NULL;
}

/* A program that was given more rights has its environment from who gave them. */
const char *ferry__os_environment(const char *name) {
    wchar_t *wide = variable(name);
    char *value = wide != NULL ? ferry__win_utf8(wide) : NULL;
    free(wide);
    if (value == NULL) return NULL;
    AcquireSRWLockExclusive(&told_lock);
    const char *found = told_value(name, value);
    ReleaseSRWLockExclusive(&told_lock);
    free(value);
    return found;
}

/* ---- Complaints, and the end ------------------------------------------------------------- */

void ferry__os_ignore_sigpipe(void) {} /* there is none */

void ferry__os_complain(const char *text, size_t len) {
    (void)ferry__os_write(2, text, len); /* nowhere left to complain */
}

/* The numbers of C's standard streams are no handles, those being multiples of four. */
static HANDLE handle_to_write(ferry_fd fd) {
    if (fd == 1) return GetStdHandle(STD_OUTPUT_HANDLE);
    if (fd == 2) return GetStdHandle(STD_ERROR_HANDLE);
    return ferry__win_handle(fd);
}

static bool is_overlapped(HANDLE handle) {
    IO_STATUS_BLOCK status;
    ULONG mode = 0;
    NTSTATUS got = NtQueryInformationFile(handle, &status, &mode, sizeof mode, FileModeInformation);
    return NT_SUCCESS(got) &&
           (mode & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT)) == 0;
}

/* To the end: nobody but its loop knows a position. The event's lowest bit keeps the packet from a
 * port that the handle may belong to. */
static bool write_overlapped(HANDLE handle, const char *text, DWORD len, DWORD *wrote) {
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (event == NULL) return false;
    OVERLAPPED overlapped = {.hEvent = (HANDLE)((uintptr_t)event | 1)};
    overlapped.Offset = overlapped.OffsetHigh = UINT32_MAX;
    bool done = WriteFile(handle, text, len, NULL, &overlapped) ||
                GetLastError() == ERROR_IO_PENDING;
    if (done) done = GetOverlappedResult(handle, &overlapped, wrote, TRUE);
    DWORD error = GetLastError();
    (void)CloseHandle(event);
    SetLastError(error);
    return done;
}

int ferry__os_write(ferry_fd fd, const char *text, size_t len) {
    HANDLE handle = handle_to_write(fd);
    if (handle == NULL || handle == INVALID_HANDLE_VALUE) return FERRY_EBADF;
    bool overlapped = is_overlapped(handle);
    while (len > 0) {
        DWORD part = len < INT32_MAX ? (DWORD)len : INT32_MAX, wrote = 0;
        bool done = overlapped ? write_overlapped(handle, text, part, &wrote)
                               : WriteFile(handle, text, part, &wrote, NULL) != 0;
        if (!done) return ferry__win_last_error();
        text += wrote;
        len -= wrote;
    }
    return 0;
}

/* As abort(), which would end the process in good order: each library is told, and may wait for a
 * lock that a thread had which is no more. */
_Noreturn void ferry__os_abort(void) {
    void (*handler)(int) = signal(SIGABRT, SIG_DFL);
    if (handler != SIG_DFL && handler != SIG_IGN && handler != SIG_ERR) handler(SIGABRT);
    (void)TerminateProcess(GetCurrentProcess(), 3); /* as abort() tells its end */
    abort();
}

/* ---- Winsock, and what is not on every Windows -------------------------------------------- */

struct ferry__win_functions ferry__win;

/* Of functions without arguments, to be cast to what one is. */
typedef void function(void);

static function *function_of(const wchar_t *module, const char *name) {
    HMODULE loaded = GetModuleHandleW(module);
    return loaded != NULL ? (function *)GetProcAddress(loaded, name) : NULL;
}

static bool extension(SOCKET socket, GUID id, void *at, size_t bytes) {
    DWORD got = 0;
    return WSAIoctl(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, at, (DWORD)bytes,
                    &got, NULL, NULL) == 0;
}

static bool stream_extensions(SOCKET socket) {
    static const GUID accept_ex = WSAID_ACCEPTEX, addresses = WSAID_GETACCEPTEXSOCKADDRS,
                      connect_ex = WSAID_CONNECTEX, disconnect_ex = WSAID_DISCONNECTEX,
                      transmit_file = WSAID_TRANSMITFILE;
    struct ferry__win_functions *to = &ferry__win;
    return extension(socket, accept_ex, &to->accept_ex, sizeof to->accept_ex) &&
           extension(socket, addresses, &to->accept_addresses, sizeof to->accept_addresses) &&
           extension(socket, connect_ex, &to->connect_ex, sizeof to->connect_ex) &&
           extension(socket, disconnect_ex, &to->disconnect_ex, sizeof to->disconnect_ex) &&
           extension(socket, transmit_file, &to->transmit_file, sizeof to->transmit_file);
}

static bool message_extensions(SOCKET socket) {
    static const GUID recv_msg = WSAID_WSARECVMSG;
    return extension(socket, recv_msg, &ferry__win.recv_msg, sizeof ferry__win.recv_msg);
}

/* Asked of a socket of the kind that they are for: what is layered above one kind need not be above
 * the other. A Windows without any IP has no sockets that would need them. */
static int extensions_of(int type, bool (*find)(SOCKET)) {
    SOCKET socket = ferry__win_socket_make(AF_INET, type, 0);
    if (socket == INVALID_SOCKET) socket = ferry__win_socket_make(AF_INET6, type, 0);
    if (socket == INVALID_SOCKET) {
        int error = ferry__win_socket_error();
        return error == FERRY_EAFNOSUPPORT || error == FERRY_EPROTONOSUPPORT ? 0 : error;
    }
    int error = find(socket) ? 0 : ferry__win_socket_error();
    (void)closesocket(socket);
    return error;
}

static int extensions_find(void) {
    int error = extensions_of(SOCK_STREAM, stream_extensions);
    return error != 0 ? error : extensions_of(SOCK_DGRAM, message_extensions);
}

static void functions_find(void) {
    function *create = function_of(L"ntdll", "NtCreateWaitCompletionPacket");
    function *associate = function_of(L"ntdll", "NtAssociateWaitCompletionPacket");
    function *cancel = function_of(L"ntdll", "NtCancelWaitCompletionPacket");
    if (create != NULL && associate != NULL && cancel != NULL) {
        ferry__win.packet_create = (ferry__win_packet_create *)create;
        ferry__win.packet_associate = (ferry__win_packet_associate *)associate;
        ferry__win.packet_cancel = (ferry__win_packet_cancel *)cancel;
    }
    ferry__win.send_msg = WSASendMsg;
    ferry__win.wine = function_of(L"ntdll", "wine_get_version") != NULL;
}

static BOOL CALLBACK start(INIT_ONCE *once, void *parameter, void **context) {
    int *error = parameter;
    WSADATA about;
    (void)once, (void)context;
    *error = ferry__win_error((DWORD)WSAStartup(MAKEWORD(2, 2), &about));
    if (*error != 0) return FALSE;
    *error = extensions_find();
    if (*error != 0) (void)WSACleanup(); /* it counts */
    if (*error == 0) functions_find();
    return *error == 0; /* if not: once more at the next call */
}

int ferry__win_start(void) {
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    int error = 0;
    (void)InitOnceExecuteOnce(&once, start, &error, NULL);
    return error;
}
