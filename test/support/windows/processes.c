/* processes.c - processes, threads and memory as the tests know them
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include <process.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <tlhelp32.h>
#include <winternl.h>

#include "support.h"

typedef int64_t posix_pid;

/* Numbers as posix.h has them. */
enum { KILLED = 9, ABORTED = 22, FAULT = 11 };

int program_find(char *path, size_t size);
void process_crash(void);

struct posix_thread {
    void *started;
    unsigned id;
};
struct posix_rlimit {
    uint64_t cur, max;
};

/* What a process ended with, as waitid() tells it. */
struct posix_siginfo {
    int si_status;
};

posix_pid posix_waitpid(posix_pid pid, int *status, int flags);
int posix_waitid(int kind, unsigned id, struct posix_siginfo *about, int flags);
posix_pid posix_getppid(void);
int posix_kill(posix_pid pid, int number);
posix_pid posix_getpid(void);
unsigned posix_getuid(void);
long posix_sysconf(int name);
int posix_setenv(const char *name, const char *value, int replace);
int posix_unsetenv(const char *name);
const char *posix_strsignal(int number);
struct posix_sigaction {
    void (*handler)(int);
    unsigned mask;
    int flags;
};
int posix_sigaction(int number, const struct posix_sigaction *to, struct posix_sigaction *was);
int posix_raise(int number);
void (*posix_signal(int number, void (*handler)(int)))(int);
posix_pid process_start(const char *program, char *const argv[], char *const env[],
                        posix_fd *output);
int posix_thread_create(struct posix_thread *thread, const void *attributes, void *(*run)(void *),
                        void *arg);
int posix_thread_join(struct posix_thread thread, void **result);
struct posix_thread posix_thread_self(void);
int posix_yield(void);
int posix_clock_gettime(int clock, struct timespec *now);
int posix_nanosleep(const struct timespec *span, struct timespec *left);
void *posix_mmap(void *at, size_t len, int protection, int flags, posix_fd fd, posix_off offset);
int posix_munmap(void *at, size_t len);
int posix_mprotect(void *at, size_t len, int protection);
int posix_pipe(posix_fd fds[2]);

/* ---- Children ------------------------------------------------------------------------------- */

#define CHILDREN_MAX 256

static struct {
    DWORD pid;
    HANDLE process;
} children[CHILDREN_MAX];

/* One argument, quoted as a program's start takes it apart again. */
static size_t quote(wchar_t *to, size_t at, const wchar_t *argument) {
    size_t slashes = 0;
    to[at++] = L'"';
    for (; *argument; argument++) {
        if (*argument == L'\\') {
            slashes++;
        } else {
            if (*argument == L'"') {
                for (size_t i = 0; i <= slashes; i++) to[at++] = L'\\';
            }
            slashes = 0;
        }
        to[at++] = *argument;
    }
    for (size_t i = 0; i < slashes; i++) to[at++] = L'\\';
    to[at++] = L'"';
    return at;
}

static void command_make(wchar_t *line, size_t size, char *const argv[]) {
    size_t at = 0;
    for (size_t i = 0; argv[i]; i++) {
        wchar_t argument[1024];
        MultiByteToWideChar(CP_UTF8, 0, argv[i], -1, argument, 1024);
        if (at + 2 * wcslen(argument) + 4 > size) break;
        if (i > 0) line[at++] = L' ';
        at = quote(line, at, argument);
    }
    line[at] = 0;
}

/* The environment as one block, to be freed. */
static wchar_t *environment_make(char *const env[]) {
    size_t all = 2, at = 0;
    for (size_t i = 0; env[i]; i++) all += strlen(env[i]) + 1;
    wchar_t *block = calloc(all, sizeof *block);
    if (!block) return NULL;
    for (size_t i = 0; env[i]; i++) {
        at += (size_t)MultiByteToWideChar(CP_UTF8, 0, env[i], -1, block + at, (int)(all - at));
    }
    return block;
}

/* With copies of three handles, made to be inherited, and no other. */
static BOOL start(const wchar_t *program, wchar_t *line, wchar_t *block, const HANDLE streams[3],
                  PROCESS_INFORMATION *made) {
    HANDLE handed[3], self = GetCurrentProcess();
    SIZE_T size = 0;
    InitializeProcThreadAttributeList(NULL, 1, 0, &size);
    LPPROC_THREAD_ATTRIBUTE_LIST list = malloc(size);
    if (!list || !InitializeProcThreadAttributeList(list, 1, 0, &size)) return FALSE;
    for (int i = 0; i < 3; i++) {
        DuplicateHandle(self, streams[i], self, &handed[i], 0, TRUE, DUPLICATE_SAME_ACCESS);
    }
    UpdateProcThreadAttribute(list, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handed, sizeof handed,
                              NULL, NULL);
    STARTUPINFOEXW how = {.StartupInfo = {.cb = sizeof how,
                                          .dwFlags = STARTF_USESTDHANDLES,
                                          .hStdInput = handed[0],
                                          .hStdOutput = handed[1],
                                          .hStdError = handed[2]},
                          .lpAttributeList = list};
    BOOL ok = CreateProcessW(program, line, NULL, NULL, TRUE,
                             EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT, block, NULL,
                             &how.StartupInfo, made);
    DWORD error = GetLastError();
    DeleteProcThreadAttributeList(list);
    free(list);
    for (int i = 0; i < 3; i++) CloseHandle(handed[i]);
    SetLastError(error);
    return ok;
}

/* Begins it and keeps a handle of it. -1 with errno. */
static posix_pid begin(const char *program, char *const argv[], char *const env[],
                       const HANDLE streams[3]) {
    static wchar_t line[8192];
    PROCESS_INFORMATION made;
    size_t place = 0;
    while (place < CHILDREN_MAX && children[place].pid != 0) place++;
    if (place == CHILDREN_MAX) return failed_with(ERROR_TOO_MANY_SEMAPHORES);
    wchar_t *block = env ? environment_make(env) : NULL;
    BOOL ok = FALSE;
    /* Under Wine, on a busy machine, one start in thousands was seen to fail. */
    for (int tries = 0; !ok && tries < 3; tries++) {
        if (tries > 0) Sleep(100);
        command_make(line, 8192, argv); /* the system may write to it */
        ok = start(wide(program), line, block, streams, &made);
        if (ok) break;
        failed();
        fprintf(stderr, "%s was not started: error %d\n", program, errno);
    }
    free(block);
    if (!ok) return -1;
    CloseHandle(made.hThread);
    children[place].pid = made.dwProcessId;
    children[place].process = made.hProcess;
    return made.dwProcessId;
}

posix_pid process_start(const char *program, char *const argv[], char *const env[],
                        posix_fd *output) {
    posix_fd ends[2];
    if (posix_pipe(ends) < 0) return -1;
    HANDLE null = CreateFileW(L"NUL", GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_EXISTING, 0, NULL);
    HANDLE out = (HANDLE)ends[1];
    posix_pid pid = begin(program, argv, env, (const HANDLE[]){null, out, out});
    CloseHandle(null);
    CloseHandle(out);
    if (pid < 0) {
        CloseHandle((HANDLE)ends[0]);
        return -1;
    }
    *output = ends[0];
    return pid;
}

posix_pid plain_child(const char *const argv[], const posix_fd streams[3]) {
    HANDLE handles[3];
    char program[2048];
    for (int i = 0; i < 3; i++) {
        handles[i] = handle_of(streams && streams[i] != -1 ? streams[i] : i);
    }
    assert_int_equal(program_find(program, sizeof program), 0);
    posix_pid pid = begin(program, (char **)(uintptr_t)argv, NULL, handles);
    if (pid < 0) fail_msg("beginning a child: error %d", errno);
    return pid;
}

/* What has ended may still be known by a handle, of ours among others: that is nobody's loss. */
void no_child_left(void) {
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    assert_true(all != INVALID_HANDLE_VALUE);
    for (BOOL more = Process32FirstW(all, &entry); more; more = Process32NextW(all, &entry)) {
        if (entry.th32ParentProcessID != GetCurrentProcessId()) continue;
        HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, entry.th32ProcessID);
        if (!process) continue;
        DWORD state = WaitForSingleObject(process, 0);
        CloseHandle(process);
        if (state == WAIT_TIMEOUT) fail_msg("child %lu lives", (unsigned long)entry.th32ProcessID);
    }
    CloseHandle(all);
}

/* The handles of children that nobody has waited for by a call of POSIX: ours alone. */
bool is_child_handle(HANDLE handle) {
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (children[i].pid != 0 && children[i].process == handle) return true;
    }
    return false;
}

void process_crash(void) {
    /* Not NULL, at which a build with traps would end itself, and otherwise. */
    volatile int *volatile nowhere = (volatile int *)(uintptr_t)64;
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    *nowhere = 1;
}

/* How a process ends that the C library or the system has ended, in the terms of the tests. */
static int status_of(DWORD code) {
    if (code == 3 || code == STATUS_STACK_BUFFER_OVERRUN) return ABORTED << 8;
    if (code == 0xf3440009u) return KILLED << 8; /* posix_kill() below */
    if (code >= 0xc0000000u || code == STATUS_BREAKPOINT) return FAULT << 8;
    return (int)(code & 0xff);
}

posix_pid posix_waitpid(posix_pid pid, int *status, int flags) {
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        DWORD code = 0;
        if (children[i].pid == 0 || (pid > 0 && children[i].pid != (DWORD)pid)) continue;
        if (WaitForSingleObject(children[i].process, flags & 1 ? 0 : INFINITE) != WAIT_OBJECT_0) {
            return 0;
        }
        GetExitCodeProcess(children[i].process, &code);
        CloseHandle(children[i].process);
        posix_pid ended = children[i].pid;
        children[i].pid = 0;
        if (status) *status = status_of(code);
        return ended;
    }
    errno = ERROR_WAIT_NO_CHILDREN;
    return -1;
}

/* Waits for its end, and leaves it where it is. */
int posix_waitid(int kind, unsigned id, struct posix_siginfo *about, int flags) {
    (void)kind;
    if (!(flags & 0x1000000)) return missing("children are looked at, not taken by waitid()");
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        DWORD code = 0;
        if (children[i].pid != id) continue;
        WaitForSingleObject(children[i].process, INFINITE);
        GetExitCodeProcess(children[i].process, &code);
        about->si_status = status_of(code);
        return 0;
    }
    errno = ERROR_WAIT_NO_CHILDREN;
    return -1;
}

/* Those of the C library that a program can send to itself. */
static bool is_raised(int number) {
    return number == SIGINT || number == SIGBREAK || number == SIGTERM;
}

int posix_kill(posix_pid pid, int number) {
    if (pid == posix_getpid() && is_raised(number)) return raise(number);
    if (number != KILLED && number != 0) return missing("no signals for processes on Windows");
    HANDLE process = OpenProcess(PROCESS_TERMINATE, FALSE, (DWORD)pid);
    if (!process) {
        errno = ERROR_INVALID_PARAMETER;
        return -1;
    }
    BOOL ok = number == 0 || TerminateProcess(process, 0xf3440009u);
    CloseHandle(process);
    return ok ? 0 : failed();
}

int posix_sigaction(int number, const struct posix_sigaction *to, struct posix_sigaction *was) {
    if (!is_raised(number)) return missing("no signals of POSIX on Windows");
    void (*handler)(int) = signal(number, to ? to->handler : SIG_DFL);
    if (!to) (void)signal(number, handler);
    if (was) *was = (struct posix_sigaction){.handler = handler};
    return 0;
}

int posix_raise(int number) {
    if (!is_raised(number)) return missing("no signals of POSIX on Windows");
    return raise(number);
}

/* What is sent to a pipe that nobody reads is an error here, and no signal. */
void (*posix_signal(int number, void (*handler)(int)))(int) {
    enum { PIPE = 13 };
    if (number == PIPE) return SIG_DFL;
    if (!is_raised(number)) missing("no signals of POSIX on Windows");
    return signal(number, handler);
}

const char *posix_strsignal(int number) {
    return number == ABORTED ? "aborted" : number == KILLED ? "killed" : "a fault";
}

/* ---- This process --------------------------------------------------------------------------- */

posix_pid posix_getpid(void) {
    return GetCurrentProcessId();
}

/* PROCESS_BASIC_INFORMATION, whose members have a name in no two headers. */
struct basic {
    NTSTATUS status;
    void *environment;
    ULONG_PTR processors;
    LONG priority;
    ULONG_PTR pid, begun_by;
};

posix_pid posix_getppid(void) {
    struct basic about = {.status = 0};
    NtQueryInformationProcess(GetCurrentProcess(), ProcessBasicInformation, &about, sizeof about,
                              NULL);
    return (posix_pid)about.begun_by;
}

/* As the administrator that tests are in Wine, and mostly on Windows. */
unsigned posix_getuid(void) {
    return 0;
}

long posix_sysconf(int name) {
    SYSTEM_INFO about;
    GetSystemInfo(&about);
    return name == 1 ? (long)about.dwPageSize : (long)about.dwNumberOfProcessors;
}

/* Both of the process's environments: the C library's and the system's. */
int posix_setenv(const char *name, const char *value, int replace) {
    if (!replace && getenv(name)) return 0;
    if (*value == 0) { /* which the C library takes for "remove it" */
        _putenv_s(name, "");
        return SetEnvironmentVariableA(name, "") ? 0 : failed();
    }
    return _putenv_s(name, value) == 0 ? 0 : -1;
}

int posix_unsetenv(const char *name) {
    return _putenv_s(name, "") == 0 ? 0 : -1;
}

/* ---- Threads -------------------------------------------------------------------------------- */

struct started {
    void *(*run)(void *);
    void *arg, *result;
    HANDLE handle;
};

static unsigned __stdcall thread_main(void *arg) {
    struct started *started = arg;
    started->result = started->run(started->arg);
    return 0;
}

int posix_thread_create(struct posix_thread *thread, const void *attributes, void *(*run)(void *),
                        void *arg) {
    struct started *started = malloc(sizeof *started);
    (void)attributes;
    if (!started) return ENOMEM;
    *started = (struct started){run, arg, NULL, NULL};
    started->handle = (HANDLE)_beginthreadex(NULL, 0, thread_main, started, CREATE_SUSPENDED,
                                             &thread->id);
    if (!started->handle) {
        free(started);
        return EAGAIN;
    }
    thread->started = started;
    ResumeThread(started->handle);
    return 0;
}

int posix_thread_join(struct posix_thread thread, void **result) {
    struct started *started = thread.started;
    WaitForSingleObject(started->handle, INFINITE);
    CloseHandle(started->handle);
    if (result) *result = started->result;
    free(started);
    return 0;
}

struct posix_thread posix_thread_self(void) {
    return (struct posix_thread){NULL, GetCurrentThreadId()};
}

int posix_yield(void) {
    SwitchToThread();
    return 0;
}

/* ---- Time ----------------------------------------------------------------------------------- */

static struct timespec since(FILETIME time, int64_t epoch) {
    int64_t all = (int64_t)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) - epoch;
    return (struct timespec){all / 10000000, (long)(all % 10000000 * 100)};
}

static struct timespec processor_time(void) {
    FILETIME made, ended, system, user;
    GetProcessTimes(GetCurrentProcess(), &made, &ended, &system, &user);
    struct timespec one = since(system, 0), other = since(user, 0);
    int64_t ns = (one.tv_sec + other.tv_sec) * INT64_C(1000000000) + one.tv_nsec + other.tv_nsec;
    return (struct timespec){ns / 1000000000, (long)(ns % 1000000000)};
}

int posix_clock_gettime(int clock, struct timespec *now) {
    LARGE_INTEGER count, frequency;
    FILETIME time;
    switch (clock) {
    case 0:
        GetSystemTimePreciseAsFileTime(&time);
        *now = since(time, INT64_C(116444736000000000));
        return 0;
    case 2: *now = processor_time(); return 0;
    default: break;
    }
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    now->tv_sec = count.QuadPart / frequency.QuadPart;
    now->tv_nsec = (long)(count.QuadPart % frequency.QuadPart * 1000000000 / frequency.QuadPart);
    return 0;
}

/* Whole milliseconds are what the system is good for here; who asks for less gives way. */
int posix_nanosleep(const struct timespec *span, struct timespec *left) {
    int64_t ns = span->tv_sec * INT64_C(1000000000) + span->tv_nsec;
    (void)left;
    Sleep((DWORD)(ns / 1000000));
    return 0;
}

/* ---- Memory --------------------------------------------------------------------------------- */

void *posix_mmap(void *at, size_t len, int protection, int flags, posix_fd fd, posix_off offset) {
    (void)offset;
    if (at || fd != -1) {
        missing("no files in memory at a chosen place on Windows");
        return NULL;
    }
    /* MAP_NORESERVE, 16, is asked for more than there may be: pages that nobody touches. */
    (void)flags;
    void *got = VirtualAlloc(NULL, len, MEM_RESERVE | MEM_COMMIT,
                             protection ? PAGE_READWRITE : PAGE_NOACCESS);
    if (got) return got;
    errno = ERROR_NOT_ENOUGH_MEMORY;
    return (void *)-1;
}

int posix_munmap(void *at, size_t len) {
    MEMORY_BASIC_INFORMATION about;
    if (VirtualQuery(at, &about, sizeof about) == 0) return failed();
    if (about.AllocationBase == at) return VirtualFree(at, 0, MEM_RELEASE) ? 0 : failed();
    return VirtualFree(at, len, MEM_DECOMMIT) ? 0 : failed();
}

int posix_mprotect(void *at, size_t len, int protection) {
    DWORD before;
    DWORD now = protection & 2 ? PAGE_READWRITE : protection ? PAGE_READONLY : PAGE_NOACCESS;
    return VirtualProtect(at, len, now, &before) ? 0 : failed();
}
