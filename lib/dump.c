/* dump.c - what is in flight, told to those who ask: a callback for each operation, or text.
 *
 * Nothing changes meanwhile: the gate (core.h) stops who submits or cancels from inside. On the
 * loop's thread; what other threads have at the moment is told from fields that they do not write.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TARGET_MAX 192
#define LINE_BYTES_MAX 320

struct dump {
    ferry_loop *loop;
    uint64_t now;
    ferry_dump_fn *fn;
    void *context;
    int64_t count;
    char target[TARGET_MAX];
};

/* ---- An operation to an entry ------------------------------------------------------------ */

static const char *fd_kind_name(unsigned kind) {
    static const char *const names[] = {
        [KIND_UNKNOWN] = "",
        [KIND_STREAM] = "stream socket",
        [KIND_MESSAGE] = "datagram socket",
        [KIND_SEQPACKET] = "packet socket",
        [KIND_PIPE] = "pipe",
        [KIND_CHARACTER] = "terminal or device",
        [KIND_FILE] = "file",
        [KIND_OTHER] = "other descriptor",
    };
    return kind < sizeof names / sizeof names[0] ? names[kind] : "";
}

static const char *second_path(const ferry_op *op) {
    return (const char *)(uintptr_t)op->offset;
}

static void target_of_path(char *text, const ferry_op *op) {
    const char *path = op->buf;
    switch (op->code) {
    case FERRY_OP_RENAME:
    case FERRY_OP_HARD_LINK:
    case FERRY_OP_SYMLINK: snprintf(text, TARGET_MAX, "%s -> %s", path, second_path(op)); break;
    case FERRY_OP_TEMP_FILE: /* a worker may be writing to it */
    case FERRY_OP_TEMP_DIR: break;
    default: snprintf(text, TARGET_MAX, "%s", path);
    }
}

/* Those kinds of which the descriptor, if they have one, does not say it all. False for the others.
 */
static bool target_of_kind(char *text, const ferry_op *op) {
    unsigned checked = ferry__op_row(op)->checked;
    if (checked & ARG_PATH) {
        target_of_path(text, op);
    } else if (checked & ARG_ADDR) {
        (void)ferry_addr_format(op->buf, text, TARGET_MAX);
    } else if (op->code == FERRY_OP_WORK) {
        snprintf(text, TARGET_MAX, "function 0x%" PRIx64, op->offset);
    } else if (op->code == FERRY_OP_TIMER && op->len > 0) {
        snprintf(text, TARGET_MAX, "every %.3f ms", (double)op->len / 1e6);
    } else if (op->code == FERRY_OP_SIGNAL) {
        snprintf(text, TARGET_MAX, "signal %" PRIu64, op->len);
    } else if (op->code == FERRY_OP_PROCESS) {
        snprintf(text, TARGET_MAX, "process %" PRIu64, op->len);
    } else if (op->code == FERRY_OP_SPAWN) {
        snprintf(text, TARGET_MAX, "%s", ((const ferry_child *)op->buf)->program);
    } else if (op->code == FERRY_OP_RESOLVE) {
        const ferry_query *query = op->buf;
        snprintf(text, TARGET_MAX, "%s:%s", query->host != NULL ? query->host : "",
                 query->service != NULL ? query->service : "");
    } else if (op->code == FERRY_OP_COPY) {
        snprintf(text, TARGET_MAX, "to fd %" PRIdPTR, (intptr_t)ferry__op_second(op));
    } else {
        return false;
    }
    return true;
}

/* The arguments of one that has ended may be what it was refused for: they are not looked at. */
static void target_write(struct dump *dump, const ferry_op *op) {
    char *text = dump->target;
    text[0] = '\0';
    bool told = op->state != OP_DONE && target_of_kind(text, op);
    if (!told && op->fd >= 0 && ferry__slot_is_there(dump->loop, op->fd)) {
        snprintf(text, TARGET_MAX, "%s", fd_kind_name(ferry__slot(dump->loop, op->fd)->kind));
    }
    for (; *text != '\0'; text++) { /* a name may hold anything: one line stays one line */
        if ((unsigned char)*text < ' ' || *text == 127) *text = '?';
    }
}

static uint64_t left(const struct dump *dump, const ferry_op *op) {
    if (op->state == OP_DONE) return UINT64_MAX;
    if (op->bits & BIT_TIMED) return op->timer.when > dump->now ? op->timer.when - dump->now : 0;
    if (!(op->bits & BIT_STAMP)) return UINT64_MAX;
    uint64_t deadline = op->deadline_ns != 0 ? op->deadline_ns : UINT64_MAX; /* not yet begun */
    return op->code == FERRY_OP_TIMER && op->offset < deadline ? op->offset : deadline;
}

static uint64_t age(const struct dump *dump, const ferry_op *op) {
    uint64_t began = ferry__op_began(dump->loop, op);
    return began != 0 && began < dump->now ? dump->now - began : 0;
}

static uint32_t flags_of(const ferry_op *op) {
    bool repeats = (op->code == FERRY_OP_TIMER && op->len > 0) || op->code == FERRY_OP_WATCH;
    uint32_t flags = 0;
    if (op->bits & BIT_BACKGROUND) flags |= FERRY_DUMP_BACKGROUND;
    if (repeats || op->asked & FERRY_MULTI) flags |= FERRY_DUMP_MULTI;
    if (op->bits & (BIT_CANCEL | BIT_EXPIRED)) flags |= FERRY_DUMP_STOPPING;
    return flags;
}

static void show(void *context, ferry_op *op, const char *where) {
    struct dump *dump = context;
    target_write(dump, op);
    const ferry_dump_entry entry = {
        .op = op,
        .kind = ferry_op_name(op->code),
        .state = where,
        .target = dump->target,
        .age_ns = age(dump, op),
        .left_ns = left(dump, op),
        .fd = op->fd,
        .code = op->code,
        .flags = flags_of(op),
    };
    dump->count++;
    dump->fn(&entry, dump->context);
}

static int refused(const ferry_loop *loop) {
    if (loop->fork_count != ferry__os_fork_count) return FERRY_EFORKED;
    if (loop->gate & GATE_DUMP) return FERRY_EBUSY;
    ferry__loop_check(loop, NULL);
    return 0;
}

int64_t ferry_dump(ferry_loop *loop, ferry_dump_fn *fn, void *context) {
    int error = refused(loop);
    if (error == 0 && fn == NULL) error = FERRY_EFAULT;
    if (error != 0) return error;
    struct dump dump = {
        .loop = loop, .now = ferry__os_clock(), .fn = fn, .context = context, .count = 0};
    loop->gate |= GATE_DUMP;
    bool shown = ferry__each(loop, show, &dump);
    loop->gate &= ~(uint32_t)GATE_DUMP;
    return shown ? dump.count : FERRY_ENOMEM;
}

/* ---- Text -------------------------------------------------------------------------------- */

/* What is written piece by piece: its whole length, of which the first len bytes are kept. */
struct text {
    char *buf;
    size_t len, at;
};

FERRY__PRINTF(2, 3) static void add(struct text *text, const char *format, ...) {
    size_t room = text->at < text->len ? text->len - text->at : 0;
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(room > 0 ? text->buf + text->at : NULL, room, format, args);
    va_end(args);
    if (wrote > 0) text->at += (size_t)wrote;
}

/* The unit that leaves one to three digits before the point. */
static void add_time(struct text *text, uint64_t ns) {
    if (ns < 1000000) {
        add(text, "%7.3f us", (double)ns / 1e3);
    } else if (ns < 1000000000) {
        add(text, "%7.3f ms", (double)ns / 1e6);
    } else {
        add(text, "%7.3f s ", (double)ns / 1e9);
    }
}

static void add_entry(struct text *text, const ferry_dump_entry *entry) {
    add(text, "%-10s ", entry->kind);
    if (entry->fd == FERRY_FD_NONE) {
        add(text, "%-10s ", "-");
    } else {
        add(text, "fd %-7" PRIdPTR " ", (intptr_t)entry->fd);
    }
    add_time(text, entry->age_ns);
    add(text, "  %s", entry->state);
    if (entry->flags & FERRY_DUMP_BACKGROUND) add(text, ", background");
    if (entry->flags & FERRY_DUMP_MULTI) add(text, ", goes on");
    if (entry->flags & FERRY_DUMP_STOPPING) add(text, ", asked to end");
    if (entry->left_ns != UINT64_MAX) {
        add(text, ", left ");
        add_time(text, entry->left_ns);
    }
    if (entry->target[0] != '\0') add(text, ": %s", entry->target);
    add(text, "\n");
}

size_t ferry_dump_format(const ferry_dump_entry *entry, char *buf, size_t len) {
    struct text text = {.buf = buf, .len = len, .at = 0};
    add_entry(&text, entry);
    return text.at;
}

static void add_head(struct text *text, const ferry_loop *loop) {
    add(text, "ferry loop %p on %s: %" PRIu64 " in flight, %" PRIu64 " of them in the background\n",
        (const void *)loop, loop->backend->name, loop->in_flight, loop->background);
}

static void to_text(const ferry_dump_entry *entry, void *context) {
    add_entry(context, entry);
}

int64_t ferry_dump_text(ferry_loop *loop, char *buf, size_t len) {
    struct text text = {.buf = buf, .len = buf != NULL ? len : 0, .at = 0};
    if (text.len > 0) buf[0] = '\0';
    int error = refused(loop);
    if (error != 0) return error;
    add_head(&text, loop);
    int64_t count = ferry_dump(loop, to_text, &text);
    return count < 0 ? count : (int64_t)text.at;
}

struct printer {
    ferry_fd fd;
    int error;
};

static void print(struct printer *printer, const struct text *text) {
    size_t len = text->at < text->len ? text->at : text->len - 1;
    if (printer->error == 0) printer->error = ferry__os_write(printer->fd, text->buf, len);
}

static void to_fd(const ferry_dump_entry *entry, void *context) {
    char line[LINE_BYTES_MAX];
    struct text text = {.buf = line, .len = sizeof line, .at = 0};
    add_entry(&text, entry);
    if (text.at >= sizeof line) line[sizeof line - 2] = '\n';
    print(context, &text);
}

int64_t ferry_dump_print(ferry_loop *loop, ferry_fd fd) {
    char line[LINE_BYTES_MAX];
    struct text text = {.buf = line, .len = sizeof line, .at = 0};
    struct printer printer = {.fd = fd, .error = 0};
    int error = refused(loop);
    if (error != 0) return error;
    add_head(&text, loop);
    print(&printer, &text);
    int64_t count = ferry_dump(loop, to_fd, &printer);
    return printer.error != 0 ? printer.error : count;
}
