/* epoll_embed.c - Ferry inside an epoll loop that is somebody else's
 *
 * The outer loop has a timer of its own and watches the descriptor of the Ferry loop beside it.
 * Ferry reads standard input; both end when that ends. Linux.
 */
#include <ferry.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static ferry_loop *loop;
static char text[4096];

static void landed(ferry_op *op) {
    if (op->result <= 0) return; /* nothing is in flight then */
    printf("ferry: %lld bytes\n", (long long)op->result);
    fflush(stdout);
    ferry_again(loop, op);
}

static int watch(int outer, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event);
}

int main(void) {
    ferry_op op = {0};
    struct epoll_event event;
    int outer = epoll_create1(EPOLL_CLOEXEC), ticks = 0, running = 1;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    const struct itimerspec every = {.it_interval = {.tv_nsec = 100000000},
                                     .it_value = {.tv_nsec = 100000000}};

    if (ferry_loop_open(&loop, NULL) < 0) return 1;
    ferry_fd inner = ferry_loop_fd(loop);
    if (inner < 0 || watch(outer, inner) < 0 || watch(outer, timer) < 0) return 1;
    timerfd_settime(timer, 0, &every, NULL);

    ferry_read(loop, &op, 0, text, sizeof text, FERRY_CURRENT, 0, landed);
    while (running) {
        if (epoll_wait(outer, &event, 1, -1) < 1) continue; /* a signal */
        if (event.data.fd == inner) {
            running = ferry_run(loop, FERRY_RUN_NOWAIT) > 0;
        } else {
            uint64_t passed;
            if (read(timer, &passed, sizeof passed) == sizeof passed) ticks += (int)passed;
        }
    }
    printf("outer: %d ticks\n", ticks);
    close(timer);
    close(outer);
    return ferry_loop_close(loop) < 0;
}
