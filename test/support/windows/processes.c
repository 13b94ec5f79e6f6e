/* processes.c - processes, threads and memory as the tests know them
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include <process.h>
#include <stdio.h>
#include <time.h>

typedef int64_t posix_pid;

/* Numbers as posix.h has them. */
enum { KILLED = 9, ABORTED = 22, FAULT = 11 };

struct posix_thread {
    void *started;
    unsigned id;
};
struct posix_rlimit {
    uint64_t cur, max;
};

posix_pid posix_waitpid(posix_pid pid, int *status, int flags);
int posix_kill(posix_pid pid, int number);
posix_pid posix_getpid(void);
unsigned posix_getuid(void);
long posix_sysconf(int name);
int posix_setenv(const char *name, const char *value, int replace);
int posix_unsetenv(const char *name);
const char *posix_strsignal(int number);
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

static BOOL start(const wchar_t *program, wchar_t *line, wchar_t *block, HANDLE out, HANDLE null,
                  PROCESS_INFORMATION *made) {
    HANDLE handed[2] = {out, null};
    SIZE_T size = 0;
    InitializeProcThreadAttributeList(NULL, 1, 0, &size);
    LPPROC_THREAD_ATTRIBUTE_LIST list = malloc(size);
    if (!list || !InitializeProcThreadAttributeList(list, 1, 0, &size)) return FALSE;
    UpdateProcThreadAttribute(list, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handed, sizeof handed,
                              NULL, NULL);
    STARTUPINFOEXW how = {.StartupInfo = {.cb = sizeof how,
                                          .dwFlags = STARTF_USESTDHANDLES,
                                          .hStdInput = null,
                                          .hStdOutput = out,
                                          .hStdError = out},
                          .lpAttributeList = list};
    BOOL ok = CreateProcessW(program, line, NULL, NULL, TRUE,
                             EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT, block, NULL,
                             &how.StartupInfo, made);
    DeleteProcThreadAttributeList(list);
    free(list);
    return ok;
}

posix_pid process_start(const char *program, char *const argv[], char *const env[],
                        posix_fd *output) {
    static wchar_t line[8192];
    posix_fd ends[2];
    PROCESS_INFORMATION made;
    size_t place = 0;
    while (place < CHILDREN_MAX && children[place].pid != 0) place++;
    if (place == CHILDREN_MAX || posix_pipe(ends) < 0) return -1;

    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE null = CreateFileW(L"NUL", GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherited,
                              OPEN_EXISTING, 0, NULL);
    wchar_t *block = environment_make(env);
    SetHandleInformation((HANDLE)ends[1], HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    BOOL ok = FALSE;
    /* Under Wine, on a busy machine, one start in thousands was seen to fail. */
    for (int tries = 0; block && !ok && tries < 3; tries++) {
        if (tries > 0) Sleep(100);
        command_make(line, 8192, argv); /* the system may write to it */
        ok = start(wide(program), line, block, (HANDLE)ends[1], null, &made);
        if (ok) break;
        failed();
        fprintf(stderr, "%s was not started: error %d\n", program, errno);
    }
    free(block);
    CloseHandle(null);
    CloseHandle((HANDLE)ends[1]);
    if (!ok) {
        CloseHandle((HANDLE)ends[0]);
        return -1;
    }
    CloseHandle(made.hThread);
    children[place].pid = made.dwProcessId;
    children[place].process = made.hProcess;
    *output = ends[0];
    return made.dwProcessId;
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

int posix_kill(posix_pid pid, int number) {
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

const char *posix_strsignal(int number) {
    return number == ABORTED ? "aborted" : number == KILLED ? "killed" : "a fault";
}

/* ---- This process --------------------------------------------------------------------------- */

posix_pid posix_getpid(void) {
    return GetCurrentProcessId();
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
