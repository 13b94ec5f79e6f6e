/* tables.h - the tables of tests, one per file of tests, that the runner collects
 *
 * A file of tests ends with `const struct contract_test rule_03_tests[]` and is named here once.
 * One that brings helpers (programs within the program) has `const struct contract_helper
 * rule_03_helpers[]` and is named in the list of helpers as well.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_TABLES_H
#define FERRY_TEST_TABLES_H

#include "support.h"

/* The contract, rule by rule. */
#define RULE_TABLES(X)                                                                             \
    X(choice_tests)                                                                                \
    X(rule_01_tests)                                                                               \
    X(rule_01_queue_tests)                                                                         \
    X(rule_02_tests)                                                                               \
    X(rule_02_work_tests)                                                                          \
    X(rule_03_tests)                                                                               \
    X(rule_03_running_tests)                                                                       \
    X(rule_04_tests)                                                                               \
    X(rule_05_tests)                                                                               \
    X(rule_05_race_tests)                                                                          \
    X(rule_05_worker_tests)                                                                        \
    X(rule_06_tests)                                                                               \
    X(rule_06_timer_tests)                                                                         \
    X(rule_07_tests)                                                                               \
    X(rule_08_tests)                                                                               \
    X(rule_08_file_tests)                                                                          \
    X(rule_09_tests)                                                                               \
    X(rule_09_broken_tests)                                                                        \
    X(rule_10_tests)                                                                               \
    X(rule_11_tests)                                                                               \
    X(rule_11_process_tests)                                                                       \
    X(rule_12_tests)                                                                               \
    X(rule_13_tests)                                                                               \
    X(rule_14_tests)

/* Bad input and trouble (trouble_*.c), and each operation by itself (ops_*.c). */
#define TROUBLE_TABLES(X)                                                                          \
    X(trouble_descriptors_tests)                                                                   \
    X(trouble_edges_tests)                                                                         \
    X(trouble_many_tests)                                                                          \
    X(trouble_arguments_tests)                                                                     \
    X(trouble_lengths_tests)                                                                       \
    X(trouble_vectors_tests)                                                                       \
    X(trouble_connect_tests)                                                                       \
    X(trouble_peer_tests)                                                                          \
    X(trouble_exhaustion_tests)                                                                    \
    X(trouble_cancel_tests)                                                                        \
    X(trouble_deadline_tests)                                                                      \
    X(trouble_whole_send_tests)                                                                    \
    X(trouble_close_tests)                                                                         \
    X(trouble_shared_tests)                                                                        \
    X(trouble_watch_tests)                                                                         \
    X(ops_basic_tests)                                                                             \
    X(ops_embed_tests)                                                                             \
    X(ops_embed_loops_tests)                                                                       \
    X(ops_dump_tests)                                                                              \
    X(ops_histograms_tests)                                                                        \
    X(ops_errors_tests)                                                                            \
    X(ops_accepts_tests)                                                                           \
    X(ops_adapter_tests)                                                                           \
    X(ops_addresses_tests)                                                                         \
    X(ops_polls_tests)                                                                             \
    X(ops_processes_tests)                                                                         \
    X(ops_spawns_tests)                                                                            \
    X(ops_link_tests)                                                                              \
    X(ops_resolve_tests)                                                                           \
    X(ops_streams_tests)                                                                           \
    X(ops_watch_tests)                                                                             \
    X(ops_messages_tests)                                                                          \
    X(ops_pool_messages_tests)                                                                     \
    X(ops_recvmsg_tests)                                                                           \
    X(ops_control_tests)                                                                           \
    X(ops_options_tests)                                                                           \
    X(ops_udp_tests)                                                                               \
    X(ops_multicast_tests)                                                                         \
    X(trouble_recvmsg_tests)                                                                       \
    X(ops_files_tests)                                                                             \
    X(ops_signals_tests)                                                                           \
    X(ops_reap_tests)                                                                              \
    X(ops_stat_tests)                                                                              \
    X(ops_open_at_tests)                                                                           \
    X(ops_names_tests)                                                                             \
    X(ops_directories_tests)                                                                       \
    X(ops_copy_tests)                                                                              \
    X(trouble_files_tests)                                                                         \
    X(ops_zerocopy_tests)                                                                          \
    X(ops_sendfile_tests)                                                                          \
    X(ops_registered_tests)                                                                        \
    X(ops_foreign_tests)

/* What only one system has. */
#ifdef __linux__
#define SYSTEM_TABLES(X)                                                                           \
    X(choice_linux_tests)                                                                          \
    X(trouble_files_linux_tests)                                                                   \
    X(watched_linux_tests)                                                                         \
    X(ops_linux_tests)                                                                             \
    X(ops_calls_tests)                                                                             \
    X(ops_resolve_dns_tests)                                                                       \
    X(ops_zerocopy_veth_tests)
#define SYSTEM_HELPER_TABLES(X)                                                                    \
    X(choice_linux_helpers)                                                                        \
    X(trouble_files_linux_helpers)                                                                 \
    X(ops_linux_helpers)                                                                           \
    X(ops_calls_helpers)
#else
#define SYSTEM_TABLES(X)
#define SYSTEM_HELPER_TABLES(X)
#endif

/* What Windows has not: it knows neither forks nor FIFOs nor signals. */
#ifdef _WIN32
#define POSIX_TABLES(X)
#define POSIX_HELPER_TABLES(X)
#else
#define POSIX_TABLES(X)                                                                            \
    X(rule_11_fork_tests)                                                                          \
    X(trouble_fifo_tests)                                                                          \
    X(trouble_signals_tests)
#define POSIX_HELPER_TABLES(X) X(rule_11_fork_helpers)
#endif

#define HELPER_TABLES(X)                                                                           \
    X(choice_helpers)                                                                              \
    X(ops_link_helpers)                                                                            \
    X(ops_dump_helpers)                                                                            \
    X(rule_01_helpers)                                                                             \
    X(rule_03_helpers)                                                                             \
    X(rule_04_helpers)                                                                             \
    X(rule_10_helpers)                                                                             \
    X(rule_11_helpers)                                                                             \
    X(trouble_files_helpers)                                                                       \
    X(rule_13_helpers)                                                                             \
    X(ops_spawns_helpers)                                                                          \
    X(trouble_many_helpers)

#define TABLE_DECLARE(name) extern const struct contract_test name[];
RULE_TABLES(TABLE_DECLARE)
TROUBLE_TABLES(TABLE_DECLARE)
SYSTEM_TABLES(TABLE_DECLARE)
POSIX_TABLES(TABLE_DECLARE)
TABLE_DECLARE(none_tests) /* for the backend that refuses everything */
#undef TABLE_DECLARE

#define TABLE_DECLARE(name) extern const struct contract_helper name[];
HELPER_TABLES(TABLE_DECLARE)
SYSTEM_HELPER_TABLES(TABLE_DECLARE)
POSIX_HELPER_TABLES(TABLE_DECLARE)
#undef TABLE_DECLARE

#endif
