/* guard.c - see guard.h
 *
 * A block has pages of its own: one for what is known of it, then the block, which ends where its
 * last page does, up to the alignment; the bytes between are looked at when it is freed. Then a
 * page that is not there. What is freed loses its pages, and its addresses only after many others.
 *
 * SPDX-License-Identifier: MIT
 */
#define GUARD_ITSELF
#include "guard.h"

#include <stdint.h>

#include <windows.h>

#define PAGE ((size_t)4096)
#define ALIGNMENT ((size_t)16)
#define PARKED 4096u
#define MAGIC UINT64_C(0x6665727279677264)
#define FRESH 0xa5 /* what is in a new block */
#define SLACK 0x5a /* between its end and that of its page */

struct head {
    uint64_t magic;
    size_t size, pages; /* its size, and the bytes of its pages */
    unsigned char *block;
};

static LONG volatile turn;
static PVOID volatile parked[PARKED];

static void bad(const char *what) {
    DWORD written;
    HANDLE errors = GetStdHandle(STD_ERROR_HANDLE);
    (void)WriteFile(errors, what, (DWORD)strlen(what), &written, NULL);
    __builtin_trap();
}

/* NULL if it is not one of ours. */
static struct head *head_of(const void *block) {
    MEMORY_BASIC_INFORMATION about;
    if (VirtualQuery(block, &about, sizeof about) == 0) bad("guard: memory of nobody\n");
    if (about.State != MEM_COMMIT) bad("guard: this has been freed\n");
    struct head *head = about.AllocationBase;
    if ((const unsigned char *)block < (unsigned char *)head + PAGE) return NULL;
    MEMORY_BASIC_INFORMATION first;
    if (VirtualQuery(head, &first, sizeof first) == 0 || first.State != MEM_COMMIT ||
        (first.Protect & (PAGE_NOACCESS | PAGE_GUARD)) != 0 || head->magic != MAGIC) {
        return NULL;
    }
    if (head->block != block) bad("guard: this is not the beginning of a block\n");
    return head;
}

static void *allocate(size_t size, int byte) {
    if (size > SIZE_MAX / 2) return NULL;
    size_t whole = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    size_t pages = (whole + PAGE - 1) & ~(PAGE - 1);
    unsigned char *base = VirtualAlloc(NULL, PAGE + pages + PAGE, MEM_RESERVE, PAGE_NOACCESS);
    if (base == NULL) return NULL;
    if (VirtualAlloc(base, PAGE + pages, MEM_COMMIT, PAGE_READWRITE) == NULL) {
        (void)VirtualFree(base, 0, MEM_RELEASE);
        return NULL;
    }
    struct head *head = (struct head *)(void *)base;
    *head = (struct head){MAGIC, size, pages, base + PAGE + pages - whole};
    /* Pages are fresh, so that large blocks that are to be 0 need not be touched. */
    if (byte != 0) memset(head->block, byte, size);
    memset(head->block + size, SLACK, whole - size);
    return head->block;
}

void *guard_malloc(size_t size) {
    return allocate(size, size <= 16 * PAGE ? FRESH : 0);
}

void *guard_calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    return allocate(count * size, 0);
}

void guard_free(void *block) {
    if (block == NULL) return;
    struct head *head = head_of(block);
    if (head == NULL) {
        free(block);
        return;
    }
    size_t whole = (head->size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    for (size_t at = head->size; at < whole; at++) {
        if (head->block[at] != SLACK) bad("guard: written behind the end of a block\n");
    }
    (void)VirtualFree(head, PAGE + head->pages, MEM_DECOMMIT);
    ULONG place = (ULONG)InterlockedIncrement(&turn) % PARKED;
    void *oldest = InterlockedExchangePointer(&parked[place], head);
    if (oldest != NULL) (void)VirtualFree(oldest, 0, MEM_RELEASE);
}

void *guard_realloc(void *old, size_t size) {
    if (old == NULL) return guard_malloc(size);
    struct head *head = head_of(old);
    if (head == NULL) return realloc(old, size);
    void *block = guard_malloc(size);
    if (block == NULL) return NULL;
    memcpy(block, old, head->size < size ? head->size : size);
    guard_free(old);
    return block;
}

char *guard_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = guard_malloc(size);
    if (copy != NULL) memcpy(copy, text, size);
    return copy;
}
