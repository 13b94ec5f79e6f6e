/* hello.c - the example that the README begins with: one read, with a deadline */
#include <ferry.h>
#include <stdio.h>

static char name[100];

static void landed(ferry_op *op) {
    if (op->result < 0) printf("%s\n", ferry_strerror(op->result));
    else printf("Hello, %.*s", (int)op->result, name);
}

int main(void) {
    ferry_loop *loop;
    ferry_op op = {.deadline_ns = 5000000000u};

    if (ferry_loop_open(&loop, NULL) < 0) return 1;
    puts("Your name, within five seconds?");
    ferry_read(loop, &op, ferry_standard_fd(0), name, sizeof name, FERRY_CURRENT, 0, landed);
    ferry_run(loop, FERRY_RUN_DONE);
    return ferry_loop_close(loop) < 0;
}
