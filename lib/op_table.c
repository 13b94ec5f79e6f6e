/* op_table.c - the one table: a row per kind of operation, all that the core knows about it.
 *
 * A new operation is a row here, a submit function in op.c and a case in each backend.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define ANY (FERRY_BACKGROUND | FERRY_ABSOLUTE)
#define ANY_IN (ANY | FERRY_ALL)
#define ANY_MORE (ANY | FERRY_MULTI)
#define ANY_OUT (ANY | FERRY_SOME)
#define ANY_SEND (ANY_OUT | FERRY_PUT | FERRY_ZEROCOPY)
#define ANY_SYNC (ANY | FERRY_DATA)
#define ANY_OPEN (ANY | FERRY_BENEATH)
#define ANY_LINK (ANY | FERRY_NOFOLLOW)
#define ANY_MOVE (ANY | FERRY_NOREPLACE | FERRY_EXCHANGE)
#define ANY_LIST (ANY | FERRY_RESTART)
#define NAME (ARG_DIR | ARG_PATH)
#define NAMES (NAME | ARG_SECOND | ARG_FILES)

/* A table is read by its columns. */
/* clang-format off */
#define ROWS(X) \
    /* code      name        flags     lane      result cancel  checked */ \
    X(NONE,     "none",     0,        FREE,     NONE,  NEVER,  0) \
    X(NOP,      "nop",      ANY,      FREE,     NONE,  ALWAYS, 0) \
    X(TIMER,    "timer",    ANY,      FREE,     NONE,  ALWAYS, 0) \
    X(POST,     "post",     0,        FREE,     NONE,  NEVER,  0) \
    X(WORK,     "work",     ANY,      FREE,     NONE,  EARLY,  ARG_CALL) \
    X(SIGNAL,   "signal",   ANY_MORE, SERVED,   NONE,  ALWAYS, 0) \
    X(WATCH,    "watch",    ANY,      SERVED,   NONE,  ALWAYS, ARG_PATH) \
    X(RESOLVE,  "resolve",  ANY,      FREE,     NONE,  ALWAYS, ARG_QUERY) \
    X(ACCEPT,   "accept",   ANY_MORE, FREE,     FD,    ALWAYS, ARG_FD) \
    X(CONNECT,  "connect",  ANY,      BOTH,     NONE,  ALWAYS, ARG_FD | ARG_ADDR) \
    X(RECV,     "recv",     ANY_IN,   READ,     IN,    ALWAYS, ARG_FD | ARG_BUFFER) \
    X(RECVV,    "recvv",    ANY_IN,   READ,     IN,    ALWAYS, ARG_FD | ARG_VECTORS) \
    X(RECVMSG,  "recvmsg",  ANY_IN,   READ,     IN,    ALWAYS, ARG_FD | ARG_VECTORS | ARG_MSG) \
    X(RECVMSG_POOL, "recvmsg_pool", ANY_MORE, READ, LENT, ALWAYS, ARG_FD | ARG_POOL) \
    X(RECV_POOL, "recv_pool", ANY_MORE, READ, LENT, ALWAYS, ARG_FD | ARG_POOL) \
    X(SEND,     "send",     ANY_SEND, WRITE,    OUT,   ALWAYS, ARG_FD | ARG_BUFFER) \
    X(SENDV,    "sendv",    ANY_SEND, WRITE,    OUT,   ALWAYS, ARG_FD | ARG_VECTORS) \
    X(SENDMSG,  "sendmsg",  ANY_SEND, WRITE,    OUT,   ALWAYS, ARG_FD | ARG_VECTORS | ARG_MSG) \
    X(SENDFILE, "sendfile", ANY_OUT,  WRITE,    OUT,   ALWAYS, ARG_FD) \
    X(SHUTDOWN, "shutdown", ANY,      WRITE,    NONE,  EARLY,  ARG_FD | ARG_HOW) \
    X(OPEN,     "open",     ANY_OPEN, FREE,     FD,    ALWAYS, NAME | ARG_FILES) \
    X(READ,     "read",     ANY_IN,   POSITION, IN,    EARLY,  ARG_FD | ARG_BUFFER) \
    X(READV,    "readv",    ANY_IN,   POSITION, IN,    EARLY,  ARG_FD | ARG_VECTORS) \
    X(READ_POOL, "read_pool", ANY_MORE, READ, LENT, ALWAYS, ARG_FD | ARG_POOL) \
    X(WRITE,    "write",    ANY_OUT,  POSITION, OUT,   EARLY,  ARG_FD | ARG_BUFFER) \
    X(WRITEV,   "writev",   ANY_OUT,  POSITION, OUT,   EARLY,  ARG_FD | ARG_VECTORS) \
    X(SYNC,     "sync",     ANY_SYNC, FREE,     NONE,  EARLY,  ARG_FD) \
    X(TRUNCATE, "truncate", ANY,      FREE,     NONE,  EARLY,  ARG_FD | ARG_LENGTH) \
    X(STAT,     "stat",     ANY_LINK, FREE,     NONE,  EARLY,  NAME | ARG_FILE) \
    X(STAT_FD,  "stat_fd",  ANY,      FREE,     NONE,  EARLY,  ARG_FD | ARG_FILE) \
    X(CHMOD,    "chmod",    ANY_LINK, FREE,     NONE,  EARLY,  NAME | ARG_FILES) \
    X(CHMOD_FD, "chmod_fd", ANY,      FREE,     NONE,  EARLY,  ARG_FD | ARG_FILES) \
    X(CHOWN,    "chown",    ANY_LINK, FREE,     NONE,  EARLY,  NAME) \
    X(CHOWN_FD, "chown_fd", ANY,      FREE,     NONE,  EARLY,  ARG_FD) \
    X(TIMES,    "times",    ANY_LINK, FREE,     NONE,  EARLY,  NAME) \
    X(TIMES_FD, "times_fd", ANY,      FREE,     NONE,  EARLY,  ARG_FD) \
    X(ACCESS,   "access",   ANY_LINK, FREE,     NONE,  EARLY,  NAME | ARG_FILES) \
    X(ALLOCATE, "allocate", ANY,      FREE,     NONE,  EARLY,  ARG_FD | ARG_FILES) \
    X(ADVISE,   "advise",   ANY,      FREE,     NONE,  EARLY,  ARG_FD | ARG_FILES) \
    X(RENAME,   "rename",   ANY_MOVE, FREE,     NONE,  EARLY,  NAMES) \
    X(HARD_LINK, "hard_link", ANY,    FREE,     NONE,  EARLY,  NAMES) \
    X(SYMLINK,  "symlink",  ANY,      FREE,     NONE,  EARLY,  NAME | ARG_FILES) \
    X(UNLINK,   "unlink",   ANY,      FREE,     NONE,  EARLY,  NAME) \
    X(MKDIR,    "mkdir",    ANY,      FREE,     NONE,  EARLY,  NAME | ARG_FILES) \
    X(RMDIR,    "rmdir",    ANY,      FREE,     NONE,  EARLY,  NAME) \
    X(READLINK, "readlink", ANY,      FREE,     NONE,  EARLY,  NAME | ARG_FILES) \
    X(REALPATH, "realpath", ANY,      FREE,     NONE,  EARLY,  ARG_PATH | ARG_FILES) \
    X(TEMP_FILE, "temp_file", ANY,    FREE,     FD,    EARLY,  NAME | ARG_FILES) \
    X(TEMP_DIR, "temp_dir", ANY,      FREE,     NONE,  EARLY,  NAME | ARG_FILES) \
    X(LIST,     "list",     ANY_LIST, FREE,     NONE,  EARLY,  ARG_FD | ARG_BUFFER) \
    X(COPY,     "copy",     ANY_IN,   FREE,     NONE,  EARLY,  ARG_FD | ARG_SECOND | ARG_FILES) \
    X(POLL,     "poll",     ANY_MORE, ALOOF,    NONE,  ALWAYS, ARG_FD | ARG_WAIT) \
    X(PROCESS,  "process",  ANY,      FREE,     NONE,  ALWAYS, ARG_WAIT) \
    X(SPAWN,    "spawn",    ANY,      FREE,     NONE,  EARLY,  ARG_WAIT) \
    X(CLOSE,    "close",    ANY,      CLOSE,    NONE,  NEVER,  ARG_FD)
/* clang-format on */

const struct ferry__op_row ferry__op_table[FERRY_OP_COUNT] = {
#define ROW(code, called, applying, ordered, result_is, until, looked_at)                          \
    [FERRY_OP_##code] = {                                                                          \
        .name = called,                                                                            \
        .flags = applying,                                                                         \
        .lane = LANE_##ordered,                                                                    \
        .result = RESULT_##result_is,                                                              \
        .cancel = CANCEL_##until,                                                                  \
        .checked = looked_at,                                                                      \
    },
    ROWS(ROW)
#undef ROW
};

/* Complete: a row given twice is a warning, so that as many rows as kinds are all of them. */
#define COUNT_ROW(code, called, applying, ordered, result_is, until, looked_at) +1
_Static_assert(0 ROWS(COUNT_ROW) == FERRY_OP_COUNT, "each kind of operation has its row");
#undef COUNT_ROW

/* On 64-bit POSIX systems; what I/O touches without a deadline lies in the first line. */
_Static_assert(sizeof(ferry_op) <= FERRY__OP_BYTES, "an operation is two cache lines, or three");
_Static_assert(sizeof(void *) != 8 || offsetof(ferry_op, len) + 8 <= 64, "I/O stays in the first");

const char *ferry_op_name(unsigned code) {
    return code < FERRY_OP_COUNT && code != FERRY_OP_NONE ? ferry__op_table[code].name : "?";
}
