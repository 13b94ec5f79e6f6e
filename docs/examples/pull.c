/* pull.c - completions in batches instead of callbacks: how fast does each host answer?
 *
 *     pull 127.0.0.1:80 '[::1]:8080' ...
 *
 * Connects to all of them at once, each with two seconds of time, and tells of each as it ends. A
 * language binding or a scheduler of coroutines would do the same: submit with FERRY_PULL, and look
 * at what ferry_reap() brings.
 */
#include <ferry.h>
#include <stdio.h>

#define HOSTS_MAX 64

struct host {
    ferry_op op;
    ferry_addr addr;
    const char *name;
};

static struct host hosts[HOSTS_MAX];

static int try_host(ferry_loop *loop, struct host *host, const char *name) {
    ferry_fd fd;
    enum ferry_family family = name[0] == '[' ? FERRY_INET6 : FERRY_INET;
    host->name = name;
    host->op.deadline_ns = 2 * UINT64_C(1000000000);
    if (ferry_addr_parse(&host->addr, name) < 0) return -1;
    if (ferry_socket(loop, &fd, family, FERRY_STREAM) < 0) return -1;
    ferry_connect(loop, &host->op, fd, &host->addr, 0, FERRY_PULL);
    return 0;
}

static void tell(ferry_loop *loop, const ferry_completion *completion, uint64_t start_ns) {
    struct host *host = ferry_container(completion->op, struct host, op);
    double ms = (double)(ferry_now(loop) - start_ns) / 1e6;
    const char *how = completion->result < 0 ? ferry_strerror(completion->result) : "connected";
    printf("%s: %s after %.1f ms\n", host->name, how, ms);
    ferry_close(loop, NULL, host->op.fd, 0, NULL);
}

int main(int argc, char **argv) {
    ferry_loop *loop;
    ferry_completion batch[16];
    int64_t count;

    if (argc < 2 || argc > HOSTS_MAX || ferry_loop_open(&loop, NULL) < 0) return 2;
    uint64_t start_ns = ferry_now(loop);
    for (int i = 1; i < argc; i++) {
        if (try_host(loop, &hosts[i - 1], argv[i]) < 0) printf("%s: no address\n", argv[i]);
    }
    while ((count = ferry_reap(loop, batch, 16, UINT64_MAX)) > 0) {
        for (int64_t i = 0; i < count; i++) tell(loop, &batch[i], start_ns);
    }
    ferry_run(loop, FERRY_RUN_DONE); /* the closes */
    return ferry_loop_close(loop) < 0;
}
