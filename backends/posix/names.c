/* names.c - host and service names to addresses: getaddrinfo(3), which waits, and its errors in our
 * words.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "os.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

_Static_assert(FERRY__HOST_MAX >= NI_MAXHOST - 1, "what the system takes has room");
_Static_assert(FERRY__SERVICE_MAX >= NI_MAXSERV - 1, "what the system takes has room");

#define DNS_NAME_MAX 253 /* characters of a name, without the dot at its end (RFC 1035) */

/* ---- Errors ------------------------------------------------------------------------------ */

static const struct {
    int ours, theirs;
} pairs[] = {
    {FERRY_ENONAME, EAI_NONAME},
#ifdef EAI_NODATA
    {FERRY_ENONAME, EAI_NODATA},
#endif
#ifdef EAI_ADDRFAMILY
    {FERRY_ENONAME, EAI_ADDRFAMILY},
#endif
    {FERRY_EAGAIN, EAI_AGAIN},        {FERRY_ENAMESERVER, EAI_FAIL},
    {FERRY_ENOSERVICE, EAI_SERVICE},  {FERRY_EAFNOSUPPORT, EAI_FAMILY},
    {FERRY_EPROTOTYPE, EAI_SOCKTYPE}, {FERRY_EINVAL, EAI_BADFLAGS},
    {FERRY_ENOMEM, EAI_MEMORY},
#ifdef EAI_OVERFLOW
    {FERRY_EOVERFLOW, EAI_OVERFLOW},
#endif
/* Of the asynchronous kind, which is not used, and of encodings; should they come. */
#ifdef EAI_INPROGRESS
    {FERRY_EAGAIN, EAI_INPROGRESS},   {FERRY_ECANCELED, EAI_CANCELED},
    {FERRY_EBUSY, EAI_NOTCANCELED},   {FERRY_EALREADY, EAI_ALLDONE},
    {FERRY_EAGAIN, EAI_INTR},         {FERRY_EILSEQ, EAI_IDN_ENCODE},
#endif
};

int ferry__os_lookup_error(int code, int system_error) {
    if (code == 0) return 0;
    if (code == EAI_SYSTEM) {
        return system_error != 0 ? ferry_error_from_system(system_error) : FERRY_ENAMESERVER;
    }
    for (unsigned i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i].theirs == code) return pairs[i].ours;
    }
    return FERRY_ENAMESERVER; /* these numbers are no errno, and cannot survive as one */
}

/* ---- Asking ------------------------------------------------------------------------------ */

static struct addrinfo hints_of(const struct ferry__lookup *lookup) {
    static const int families[] = {
        [0] = AF_UNSPEC, [FERRY_INET] = AF_INET, [FERRY_INET6] = AF_INET6, [FERRY_UNIX] = AF_UNIX};
    static const int types[] = {[0] = SOCK_STREAM,
                                [FERRY_STREAM] = SOCK_STREAM,
                                [FERRY_DATAGRAM] = SOCK_DGRAM,
                                [FERRY_SEQPACKET] = SOCK_SEQPACKET};
    struct addrinfo hints = {.ai_family = families[lookup->family],
                             .ai_socktype = types[lookup->type]};
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

int ferry__os_lookup(struct ferry__lookup *lookup) {
    const struct addrinfo hints = hints_of(lookup);
    struct addrinfo *found = NULL;
    errno = 0;
    int code = ferry__calls.getaddrinfo(lookup->has_host ? lookup->host : NULL,
                                        lookup->has_service ? lookup->service : NULL, &hints,
                                        &found);
    int error = ferry__os_lookup_error(code, errno);
    bool about_name = error == FERRY_ENONAME || error == FERRY_ENAMESERVER || error == FERRY_EAGAIN;
    if (about_name && is_too_long(lookup)) error = FERRY_ENAMETOOLONG;
    lookup->found = error == 0 ? found : NULL;
    return error;
}

/* ---- What was found ---------------------------------------------------------------------- */

static int canonical_copy(const struct addrinfo *found, char *name, size_t len) {
    const char *canonical = found->ai_canonname != NULL ? found->ai_canonname : "";
    size_t needed = strlen(canonical) + 1;
    if (needed > len) return FERRY_EOVERFLOW;
    memcpy(name, canonical, needed);
    return 0;
}

int64_t ferry__os_lookup_copy(const struct ferry__lookup *lookup, const ferry_query *query,
                              ferry_addr *addrs, size_t max, uint64_t *count) {
    size_t wrote = 0;
    *count = 0;
    for (const struct addrinfo *at = lookup->found; at != NULL; at = at->ai_next) {
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
    if (lookup->found != NULL) ferry__calls.freeaddrinfo(lookup->found);
    lookup->found = NULL;
}
