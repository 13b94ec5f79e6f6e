/* glib_embed.c - Ferry inside GLib's main loop, as a desktop program would have it
 *
 * Prints what comes in on standard input, while GLib's own timeout ticks. Ends with its input.
 */
#include <ferry.h>
#include <glib-unix.h>
#include <stdio.h>

static ferry_loop *loop;
static GMainLoop *outer;
static char text[4096];

static void landed(ferry_op *op) {
    if (op->result <= 0) {
        g_main_loop_quit(outer);
        return;
    }
    printf("ferry: %lld bytes\n", (long long)op->result);
    fflush(stdout);
    ferry_again(loop, op);
}

static gboolean loop_is_readable(gint fd, GIOCondition condition, gpointer user) {
    (void)fd, (void)condition, (void)user;
    ferry_run(loop, FERRY_RUN_NOWAIT);
    return G_SOURCE_CONTINUE;
}

static gboolean tick(gpointer ticks) {
    ++*(int *)ticks;
    return G_SOURCE_CONTINUE;
}

int main(void) {
    ferry_op op = {0};
    int ticks = 0;

    if (ferry_loop_open(&loop, NULL) < 0) return 1;
    outer = g_main_loop_new(NULL, FALSE);
    guint source = g_unix_fd_add(ferry_loop_fd(loop), G_IO_IN, loop_is_readable, NULL);
    guint timeout = g_timeout_add(100, tick, &ticks);

    ferry_read(loop, &op, 0, text, sizeof text, FERRY_CURRENT, 0, landed);
    g_main_loop_run(outer);

    g_source_remove(timeout);
    g_source_remove(source); /* before the loop is closed, and its descriptor with it */
    g_main_loop_unref(outer);
    printf("outer: %d ticks\n", ticks);
    return ferry_loop_close(loop) < 0;
}
