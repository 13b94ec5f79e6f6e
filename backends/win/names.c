/* names.c - host and service names to addresses: GetAddrInfoW(), which waits, and its errors in our
 * words.
 *
 * SPDX-License-Identifier: MIT
 */
#include "os.h"

#include "win.h"

#include <string.h>

_Static_assert(FERRY__HOST_MAX >= NI_MAXHOST - 1, "what the system takes has room");
_Static_assert(FERRY__SERVICE_MAX >= NI_MAXSERV - 1, "what the system takes has room");

#define DNS_NAME_MAX 253 /* characters of a name, without the dot at its end (RFC 1035) */

/* Its errors are Winsock's, some of which mean something else here. */
int ferry__os_lookup_error(int code, int system_error) {
    (void)system_error;
    if (code == EAI_SOCKTYPE) return FERRY_EPROTOTYPE;
    if (code == WSASYSNOTREADY || code == WSAENETDOWN) return FERRY_EAGAIN;
    int error = ferry_error_from_system(code);
    return error > FERRY_ESYSTEM ? error : FERRY_ENAMESERVER;
}

/* ---- Asking ------------------------------------------------------------------------------ */

static ADDRINFOW hints_of(const struct ferry__lookup *lookup) {
    static const int families[] = {
        [0] = AF_UNSPEC, [FERRY_INET] = AF_INET, [FERRY_INET6] = AF_INET6, [FERRY_UNIX] = AF_UNIX};
    static const int types[] = {[0] = SOCK_STREAM,
                                [FERRY_STREAM] = SOCK_STREAM,
                                [FERRY_DATAGRAM] = SOCK_DGRAM,
                                [FERRY_SEQPACKET] = SOCK_SEQPACKET};
    ADDRINFOW hints = {.ai_family = families[lookup->family], .ai_socktype = types[lookup->type]};
    if (lookup->how & FERRY_RESOLVE_PASSIVE) hints.ai_flags |= AI_PASSIVE;
    if (lookup->how & FERRY_RESOLVE_NUMERIC) hints.ai_flags |= AI_NUMERICHOST;
    if (lookup->how & FERRY_RESOLVE_CONFIGURED) hints.ai_flags |= AI_ADDRCONFIG;
    if (lookup->service_is_number) hints.ai_flags |= AI_NUMERICSERV;
    /* Without a name there is none to be told. */
    if (lookup->wants_canonical && lookup->has_host) hints.ai_flags |= AI_CANONNAME;
    return hints;
}

/* A name that DNS cannot carry may stand in the hosts file. Where it does not, the system's words
 * differ, and tell less than its length. */
static bool is_too_long(const struct ferry__lookup *lookup) {
    size_t len = lookup->has_host ? strlen(lookup->host) : 0;
    if (len > 0 && lookup->host[len - 1] == '.') len--;
    return len > DNS_NAME_MAX;
}

static int ask(struct ferry__lookup *lookup) {
    wchar_t host[FERRY__HOST_MAX + 1], service[FERRY__SERVICE_MAX + 1];
    const ADDRINFOW hints = hints_of(lookup);
    ADDRINFOW *found = NULL;
    /* Strictly: what is no UTF-8 is no name. */
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, lookup->has_host ? lookup->host : "", -1,
                            host, FERRY__HOST_MAX + 1) == 0 ||
        MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS,
                            lookup->has_service ? lookup->service : "", -1, service,
                            FERRY__SERVICE_MAX + 1) == 0) {
        return FERRY_ENONAME;
    }
    int code = GetAddrInfoW(lookup->has_host ? host : NULL, lookup->has_service ? service : NULL,
                            &hints, &found);
    lookup->found = code == 0 ? found : NULL;
    return ferry__os_lookup_error(code, 0);
}

int ferry__os_lookup(struct ferry__lookup *lookup) {
    lookup->found = NULL;
    int error = ferry__win_start();
    if (error == 0) error = ask(lookup);
    bool about_name = error == FERRY_ENONAME || error == FERRY_ENAMESERVER || error == FERRY_EAGAIN;
    if (about_name && is_too_long(lookup)) return FERRY_ENAMETOOLONG;
    return error;
}

/* ---- What was found ---------------------------------------------------------------------- */

static int canonical_copy(const ADDRINFOW *found, char *name, size_t len) {
    const wchar_t *canonical = found->ai_canonname != NULL ? found->ai_canonname : L"";
    int room = len < INT32_MAX ? (int)len : INT32_MAX;
    if (WideCharToMultiByte(CP_UTF8, 0, canonical, -1, NULL, 0, NULL, NULL) > room) {
        return FERRY_EOVERFLOW;
    }
    (void)WideCharToMultiByte(CP_UTF8, 0, canonical, -1, name, room, NULL, NULL);
    return 0;
}

int64_t ferry__os_lookup_copy(const struct ferry__lookup *lookup, const ferry_query *query,
                              ferry_addr *addrs, size_t max, uint64_t *count) {
    size_t wrote = 0;
    *count = 0;
    for (const ADDRINFOW *at = lookup->found; at != NULL; at = at->ai_next) {
        if (at->ai_addr == NULL || at->ai_addrlen > sizeof addrs->data) continue;
        ++*count;
        if (wrote == max) continue;
        memset(&addrs[wrote], 0, sizeof addrs[wrote]);
        addrs[wrote].len = (uint32_t)at->ai_addrlen;
        memcpy(addrs[wrote].data.bytes, at->ai_addr, at->ai_addrlen);
        wrote++;
    }
    if (wrote == 0) return FERRY_ENONAME;
    if (query->canonical == NULL) return (int64_t)wrote;
    int error = canonical_copy(lookup->found, query->canonical, query->canonical_len);
    return error != 0 ? error : (int64_t)wrote;
}

void ferry__os_lookup_free(struct ferry__lookup *lookup) {
    if (lookup->found != NULL) FreeAddrInfoW(lookup->found);
    lookup->found = NULL;
}
