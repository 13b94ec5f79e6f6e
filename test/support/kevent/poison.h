/* poison.h - comes before every file of the library in the build that has nothing but what all of
 * the BSDs and macOS have (plain=true): from here on the names that one of them lacks are errors.
 *
 * All headers that the library includes come first, and then find that they are there already.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What Linux alone has. */
#undef RWF_NOWAIT
#undef O_PATH
#undef O_TMPFILE
#undef AT_EMPTY_PATH
#undef RENAME_NOREPLACE
#undef TCP_QUICKACK
#undef TCP_CORK
#undef MSG_MORE
#undef SOCK_CLOEXEC
#undef SOCK_NONBLOCK
#pragma GCC poison epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
#pragma GCC poison eventfd eventfd_read eventfd_write signalfd timerfd_create timerfd_settime
#pragma GCC poison inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
#pragma GCC poison pidfd_open pidfd_getfd pidfd_send_signal P_PIDFD prctl
#pragma GCC poison preadv2 pwritev2 RWF_NOWAIT splice tee vmsplice sendfile sendfile64
#pragma GCC poison statx openat2 renameat2 fallocate copy_file_range memfd_create
#pragma GCC poison syscall gettid tgkill O_PATH O_TMPFILE AT_EMPTY_PATH RENAME_NOREPLACE
#pragma GCC poison TCP_QUICKACK TCP_CORK SIOCOUTQ SIOCINQ MSG_MORE
#pragma GCC poison clone unshare setns getauxval program_invocation_name
#pragma GCC poison strchrnul mempcpy memrchr qsort_r get_nprocs canonicalize_file_name

/* What macOS lacks. */
#pragma GCC poison accept4 pipe2 dup3 SOCK_CLOEXEC SOCK_NONBLOCK ppoll fdatasync
#pragma GCC poison posix_fallocate posix_fadvise secure_getenv recvmmsg sendmmsg
#pragma GCC poison clock_nanosleep pthread_barrier_init pthread_setaffinity_np
#pragma GCC poison posix_spawn_file_actions_addclosefrom_np

/* What OpenBSD or an older FreeBSD lacks. */
#pragma GCC poison posix_spawn_file_actions_addchdir_np

/* C11's threads: not on macOS, not in the oldest of the others. */
#pragma GCC poison thrd_create thrd_join thrd_sleep mtx_init mtx_lock mtx_unlock cnd_init cnd_wait
#pragma GCC poison tss_create tss_set call_once
