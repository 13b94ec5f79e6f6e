/* errno.c - errno to our numbers and back, in one table. Unknown ones survive.
 *
 * SPDX-License-Identifier: MIT
 */
#include "calls.h"
#include "ferry.h"

#include <errno.h>

static const struct {
    int ours, theirs;
} pairs[] = {
    /* The first row of ours is the one that ferry_error_system() gives. */
    {FERRY_ECANCELED, ECANCELED},
    {FERRY_ETIMEDOUT, ETIMEDOUT},
#ifdef ETIME /* not on FreeBSD, OpenBSD */
    {FERRY_ETIMEDOUT, ETIME},
#endif
    {FERRY_EBUSY, EBUSY},
    {FERRY_ENOTSUP, EOPNOTSUPP},
    {FERRY_ENOTSUP, ENOTSUP},
    {FERRY_ENOTSUP, ENOSYS},
    {FERRY_EINVAL, EINVAL},
    {FERRY_EBADF, EBADF},
    {FERRY_EFAULT, EFAULT},
    {FERRY_ENOMEM, ENOMEM},
    {FERRY_EMFILE, EMFILE},
    {FERRY_EMFILE, ETOOMANYREFS}, /* descriptors on their way through Unix sockets */
    {FERRY_ENFILE, ENFILE},
    {FERRY_EACCES, EACCES},
    {FERRY_EPERM, EPERM},
    {FERRY_ENOENT, ENOENT},
    {FERRY_EEXIST, EEXIST},
    {FERRY_EISDIR, EISDIR},
    {FERRY_ENOTDIR, ENOTDIR},
    {FERRY_ENOTEMPTY, ENOTEMPTY},
    {FERRY_ENAMETOOLONG, ENAMETOOLONG},
    {FERRY_ELOOP, ELOOP},
    {FERRY_EXDEV, EXDEV},
    {FERRY_EROFS, EROFS},
    {FERRY_ENOSPC, ENOSPC},
    {FERRY_EDQUOT, EDQUOT},
    {FERRY_EFBIG, EFBIG},
    {FERRY_EIO, EIO},
    {FERRY_ESPIPE, ESPIPE},
    {FERRY_ETXTBSY, ETXTBSY},
    {FERRY_ENXIO, ENXIO},
    {FERRY_ENODEV, ENODEV},
    {FERRY_EPIPE, EPIPE},
    {FERRY_EPIPE, ESHUTDOWN},
    {FERRY_ECONNRESET, ECONNRESET},
    {FERRY_ECONNREFUSED, ECONNREFUSED},
    {FERRY_ECONNABORTED, ECONNABORTED},
    {FERRY_ENOTCONN, ENOTCONN},
    {FERRY_EISCONN, EISCONN},
    {FERRY_EALREADY, EALREADY},
    {FERRY_EADDRINUSE, EADDRINUSE},
    {FERRY_EADDRNOTAVAIL, EADDRNOTAVAIL},
    {FERRY_EAFNOSUPPORT, EAFNOSUPPORT},
    {FERRY_EAFNOSUPPORT, EPFNOSUPPORT},
    {FERRY_EDESTADDRREQ, EDESTADDRREQ},
    {FERRY_EMSGSIZE, EMSGSIZE},
    {FERRY_ENETUNREACH, ENETUNREACH},
    {FERRY_EHOSTUNREACH, EHOSTUNREACH},
    {FERRY_ENETDOWN, ENETDOWN},
    {FERRY_EHOSTDOWN, EHOSTDOWN},
    {FERRY_ENOBUFS, ENOBUFS},
    {FERRY_ENOTSOCK, ENOTSOCK},
    {FERRY_EPROTO, EPROTO},
    {FERRY_EPROTONOSUPPORT, EPROTONOSUPPORT},
    {FERRY_EPROTOTYPE, EPROTOTYPE},
    {FERRY_ENOPROTOOPT, ENOPROTOOPT},
    {FERRY_EAGAIN, EAGAIN},
    {FERRY_EAGAIN, EWOULDBLOCK},
    {FERRY_ENOLCK, ENOLCK},
    {FERRY_EOVERFLOW, EOVERFLOW},
    {FERRY_ERANGE, ERANGE},
    {FERRY_ESTALE, ESTALE},
    {FERRY_EILSEQ, EILSEQ},
    {FERRY_EMLINK, EMLINK},
    {FERRY_ECHILD, ECHILD},
    {FERRY_ESRCH, ESRCH},
    {FERRY_E2BIG, E2BIG},
    {FERRY_ENOEXEC, ENOEXEC},
};

#define PAIRS (sizeof pairs / sizeof pairs[0])

int ferry_error_from_system(int code) {
    if (code == 0) return 0;
    for (unsigned i = 0; i < PAIRS; i++) {
        if (pairs[i].theirs == code) return pairs[i].ours;
    }
    return FERRY_ESYSTEM - (code < 0 ? 0 : code);
}

int ferry_error_system(int64_t error) {
    if (error <= FERRY_ESYSTEM) return (int)(FERRY_ESYSTEM - error);
    for (unsigned i = 0; i < PAIRS; i++) {
        if (pairs[i].ours == error) return pairs[i].theirs;
    }
    return 0;
}

int ferry__errno(void) {
    return ferry_error_from_system(errno);
}
