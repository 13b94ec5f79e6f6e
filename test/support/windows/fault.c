/* fault.c - a page of memory whose first user waits until the test has it go on
 *
 * The page is closed to everybody. Who touches it comes to a handler of exceptions, which waits,
 * then opens the page and has the access made again. There is one such page at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inside.h"

#include "support.h"

#define PAGE ((size_t)4096)

void *fault_page(void);
int fault_page_is_touched(void);
void fault_page_open(void);
void fault_page_end(void);

static char *page;
static HANDLE touched, opened;
static void *handler;

static LONG CALLBACK on_exception(EXCEPTION_POINTERS *about) {
    const EXCEPTION_RECORD *record = about->ExceptionRecord;
    DWORD before;
    if (record->ExceptionCode != (DWORD)EXCEPTION_ACCESS_VIOLATION ||
        record->NumberParameters < 2 || record->ExceptionInformation[1] - (ULONG_PTR)page >= PAGE) {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    SetEvent(touched);
    WaitForSingleObject(opened, INFINITE);
    VirtualProtect(page, PAGE, PAGE_READWRITE, &before);
    return EXCEPTION_CONTINUE_EXECUTION;
}

void *fault_page(void) {
    page = VirtualAlloc(NULL, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
    touched = CreateEventW(NULL, TRUE, FALSE, NULL);
    opened = CreateEventW(NULL, TRUE, FALSE, NULL);
    handler = AddVectoredExceptionHandler(TRUE, on_exception);
    assert_true(page && touched && opened && handler);
    return page;
}

int fault_page_is_touched(void) {
    return WaitForSingleObject(touched, 0) == WAIT_OBJECT_0;
}

void fault_page_open(void) {
    SetEvent(opened);
}

void fault_page_end(void) {
    RemoveVectoredExceptionHandler(handler);
    CloseHandle(touched);
    CloseHandle(opened);
    VirtualFree(page, 0, MEM_RELEASE);
    page = NULL;
}
