/* copy.c - copies a file with several reads and writes in flight
 *
 *     copy FROM TO        (TO must not exist yet)
 *
 * Eight carriers work side by side. Each takes the next chunk of the file that nobody has taken,
 * reads it, writes it at the same offset of the copy, and takes another, until it finds the end.
 * Everything runs on one thread: a carrier is an operation and a buffer, nothing more.
 */
#include <ferry.h>

#include <stdint.h>
#include <stdio.h>

enum { CARRIER_COUNT = 8, CHUNK_BYTES = 128 * 1024 };

struct carrier {
    ferry_op op; /* a read, then the write of what was read, and so on */
    struct copy *copy;
    uint64_t offset; /* of the chunk under way */
    char chunk[CHUNK_BYTES];
};

struct copy {
    ferry_loop *loop;
    ferry_op op; /* opening and closing, one after the other */
    const char *from, *to;
    ferry_fd source, target; /* FERRY_FD_NONE until they are open */
    uint64_t next_offset;    /* of the first chunk that nobody has taken */
    uint64_t bytes;          /* written so far */
    unsigned busy_count;     /* carriers at work */
    int64_t error;           /* the first one, 0 if all went well */
    struct carrier carriers[CARRIER_COUNT];
};

static void chunk_read(ferry_op *op);
static void chunk_written(ferry_op *op);

/* The first error counts. Those that it brings about tell nothing new. */
static void fail(struct copy *copy, const char *what, int64_t error) {
    if (copy->error < 0) return;
    copy->error = error;
    fprintf(stderr, "copy: %s: %s\n", what, ferry_strerror(error));
}

static void target_closed(ferry_op *op) {
    struct copy *copy = ferry_container(op, struct copy, op);

    /* A full disk or a lost server may come to light here only. */
    if (op->result < 0) fail(copy, copy->to, op->result);
}

static void carrier_stop(struct carrier *carrier) {
    struct copy *copy = carrier->copy;

    if (--copy->busy_count > 0) return;
    ferry_close(copy->loop, NULL, copy->source, 0, NULL);
    ferry_close(copy->loop, &copy->op, copy->target, 0, target_closed);
}

static void chunk_take(struct carrier *carrier) {
    struct copy *copy = carrier->copy;

    carrier->offset = copy->next_offset;
    copy->next_offset += CHUNK_BYTES;
    ferry_read(copy->loop, &carrier->op, copy->source, carrier->chunk, CHUNK_BYTES, carrier->offset,
               FERRY_ALL, chunk_read);
}

static void chunk_read(ferry_op *op) {
    struct carrier *carrier = ferry_container(op, struct carrier, op);
    struct copy *copy = carrier->copy;

    if (op->result < 0) fail(copy, copy->from, op->result);
    if (op->result == 0 || copy->error < 0) {
        carrier_stop(carrier); /* the end of the file, or of the attempt */
        return;
    }
    ferry_write(copy->loop, op, copy->target, carrier->chunk, (size_t)op->result, carrier->offset,
                0, chunk_written);
}

static void chunk_written(ferry_op *op) {
    struct carrier *carrier = ferry_container(op, struct carrier, op);
    struct copy *copy = carrier->copy;

    copy->bytes += op->transferred;
    if (op->result < 0) fail(copy, copy->to, op->result);
    if (copy->error < 0) carrier_stop(carrier);
    else chunk_take(carrier);
}

static void target_opened(ferry_op *op) {
    struct copy *copy = ferry_container(op, struct copy, op);

    if (op->result < 0) {
        fail(copy, copy->to, op->result);
        ferry_close(copy->loop, NULL, copy->source, 0, NULL);
        return;
    }
    copy->target = (ferry_fd)op->result;
    copy->busy_count = CARRIER_COUNT;
    for (int i = 0; i < CARRIER_COUNT; i++) {
        copy->carriers[i].copy = copy;
        chunk_take(&copy->carriers[i]);
    }
}

static void source_opened(ferry_op *op) {
    struct copy *copy = ferry_container(op, struct copy, op);

    if (op->result < 0) {
        fail(copy, copy->from, op->result);
        return;
    }
    copy->source = (ferry_fd)op->result;
    ferry_open(copy->loop, op, copy->to,
               FERRY_OPEN_WRITE | FERRY_OPEN_CREATE | FERRY_OPEN_EXCLUSIVE, 0666, 0, target_opened);
}

int main(int argc, char **argv) {
    /* One megabyte of buffers is too much for a stack; everything else starts as zero. */
    static struct copy copy = {.source = FERRY_FD_NONE, .target = FERRY_FD_NONE};
    int error;

    if (argc != 3) {
        fprintf(stderr, "usage: copy FROM TO\n");
        return 2;
    }
    copy.from = argv[1];
    copy.to = argv[2];
    error = ferry_loop_open(&copy.loop, NULL);
    if (error < 0) {
        fprintf(stderr, "copy: %s\n", ferry_strerror(error));
        return 1;
    }
    ferry_open(copy.loop, &copy.op, copy.from, FERRY_OPEN_READ, 0, 0, source_opened);
    error = ferry_run(copy.loop, FERRY_RUN_DONE);
    if (error < 0) fail(&copy, "the loop", error);
    if (ferry_loop_close(copy.loop) < 0) fail(&copy, "closing the loop", FERRY_EBUSY);

    if (copy.error < 0) {
        if (copy.target != FERRY_FD_NONE) remove(copy.to); /* half a copy is no copy */
        return 1;
    }
    printf("%llu bytes\n", (unsigned long long)copy.bytes);
    return 0;
}
