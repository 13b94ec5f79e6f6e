/* op_table.c - the one table: a row per kind of operation, all that the core knows about it.
 *
 * A new operation is a row here, a submit function in op.c and a case in each backend.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#define ANY (FERRY_BACKGROUND | FERRY_ABSOLUTE)

/* clang-format off: a table is read by its columns. */
const struct ferry__op_row ferry__op_table[FERRY_OP_COUNT] = {
    /* code               name        flags               lane           result       cancel checked
     */
    [FERRY_OP_NONE] = {"none", 0, LANE_FREE, RESULT_NONE, CANCEL_NEVER, 0},
    [FERRY_OP_NOP] = {"nop", ANY, LANE_FREE, RESULT_NONE, CANCEL_ALWAYS, 0},
    [FERRY_OP_TIMER] = {"timer", ANY, LANE_FREE, RESULT_NONE, CANCEL_ALWAYS, 0},
    [FERRY_OP_POST] = {"post", 0, LANE_FREE, RESULT_NONE, CANCEL_NEVER, 0},
    [FERRY_OP_WORK] = {"work", ANY, LANE_FREE, RESULT_NONE, CANCEL_UNTIL_STARTED, ARG_CALL},
    [FERRY_OP_ACCEPT] = {"accept", ANY, LANE_FREE, RESULT_FD, CANCEL_ALWAYS, ARG_FD},
    [FERRY_OP_CONNECT] = {"connect", ANY, LANE_BOTH, RESULT_NONE, CANCEL_ALWAYS, ARG_FD | ARG_ADDR},
    [FERRY_OP_RECV] = {"recv", ANY | FERRY_ALL, LANE_READ, RESULT_IN, CANCEL_ALWAYS,
                       ARG_FD | ARG_BUFFER},
    [FERRY_OP_RECVV] = {"recvv", ANY | FERRY_ALL, LANE_READ, RESULT_IN, CANCEL_ALWAYS,
                        ARG_FD | ARG_VECTORS},
    [FERRY_OP_SEND] = {"send", ANY | FERRY_SOME, LANE_WRITE, RESULT_OUT, CANCEL_ALWAYS,
                       ARG_FD | ARG_BUFFER},
    [FERRY_OP_SENDV] = {"sendv", ANY | FERRY_SOME, LANE_WRITE, RESULT_OUT, CANCEL_ALWAYS,
                        ARG_FD | ARG_VECTORS},
    [FERRY_OP_SHUTDOWN] = {"shutdown", ANY, LANE_WRITE, RESULT_NONE, CANCEL_UNTIL_STARTED,
                           ARG_FD | ARG_HOW},
    [FERRY_OP_OPEN] = {"open", ANY, LANE_FREE, RESULT_FD, CANCEL_ALWAYS, ARG_PATH},
    [FERRY_OP_READ] = {"read", ANY | FERRY_ALL, LANE_POSITION, RESULT_IN, CANCEL_UNTIL_STARTED,
                       ARG_FD | ARG_BUFFER},
    [FERRY_OP_READV] = {"readv", ANY | FERRY_ALL, LANE_POSITION, RESULT_IN, CANCEL_UNTIL_STARTED,
                        ARG_FD | ARG_VECTORS},
    [FERRY_OP_WRITE] = {"write", ANY | FERRY_SOME, LANE_POSITION, RESULT_OUT, CANCEL_UNTIL_STARTED,
                        ARG_FD | ARG_BUFFER},
    [FERRY_OP_WRITEV] = {"writev", ANY | FERRY_SOME, LANE_POSITION, RESULT_OUT,
                         CANCEL_UNTIL_STARTED, ARG_FD | ARG_VECTORS},
    [FERRY_OP_SYNC] = {"sync", ANY | FERRY_DATA, LANE_FREE, RESULT_NONE, CANCEL_UNTIL_STARTED,
                       ARG_FD},
    [FERRY_OP_TRUNCATE] = {"truncate", ANY, LANE_FREE, RESULT_NONE, CANCEL_UNTIL_STARTED,
                           ARG_FD | ARG_LENGTH},
    [FERRY_OP_STAT] = {"stat", ANY, LANE_FREE, RESULT_NONE, CANCEL_UNTIL_STARTED,
                       ARG_PATH | ARG_FILE},
    [FERRY_OP_CLOSE] = {"close", ANY, LANE_CLOSE, RESULT_NONE, CANCEL_NEVER, ARG_FD},
};
/* clang-format on */

const char *ferry_op_name(unsigned code) {
    return code < FERRY_OP_COUNT && code != FERRY_OP_NONE ? ferry__op_table[code].name : "?";
}
