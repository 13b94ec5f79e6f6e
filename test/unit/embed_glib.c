/* A loop inside GLib's main loop, with all features of the backend and without.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ferry.h"

#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 500

static struct {
    ferry_loop *loop;
    GMainLoop *main;
    ferry_op recv, send, timer, post;
    int fds[2], echoes, ticks, posts;
    unsigned g_ticks;
    char in[4], out[4];
} all;

static gboolean on_readable(gint fd, GIOCondition condition, gpointer loop) {
    (void)fd, (void)condition;
    assert_true(ferry_run(loop, FERRY_RUN_NOWAIT) >= 0);
    return G_SOURCE_CONTINUE;
}

static void end_if_enough(void) {
    if (all.echoes == ROUNDS && all.ticks >= 5 && all.g_ticks >= 5 && all.posts == 3) {
        g_main_loop_quit(all.main);
    }
}

static void sent(ferry_op *op) {
    assert_int_equal(op->result, 4);
}

static void received(ferry_op *op) {
    assert_int_equal(op->result, 4);
    assert_memory_equal(all.in, "ping", 4);
    if (++all.echoes < ROUNDS) {
        ferry_again(all.loop, &all.send);
        ferry_again(all.loop, op);
    }
    end_if_enough();
}

static void ticked(ferry_op *op) {
    if (!(op->flags & FERRY_MORE)) return;
    all.ticks++;
    end_if_enough();
}

static void posted(ferry_op *op);

static gpointer post(gpointer unused) {
    (void)unused;
    g_usleep(3000);
    assert_int_equal(ferry_post(all.loop, &all.post, posted), 0);
    return NULL;
}

static void posted(ferry_op *op) {
    (void)op;
    all.posts++;
    if (all.posts < 3) g_thread_unref(g_thread_new("post", post, NULL));
    end_if_enough();
}

/* GLib's own sources go on beside it, and may submit. */
static gboolean on_g_tick(gpointer unused) {
    (void)unused;
    if (++all.g_ticks == 1) {
        ferry_recv(all.loop, &all.recv, all.fds[0], all.in, 4, FERRY_ALL, received);
        ferry_send(all.loop, &all.send, all.fds[1], all.out, 4, 0, sent);
    }
    end_if_enough();
    return G_SOURCE_CONTINUE;
}

static gboolean on_late(gpointer unused) {
    (void)unused;
    fail_msg("%d echoes, %d ticks, %u of GLib's, %d posts", all.echoes, all.ticks, all.g_ticks,
             all.posts);
    return G_SOURCE_REMOVE;
}

static void play(const char *disable) {
    ferry_config config = {.size = sizeof config, .disable = disable};
    memset(&all, 0, sizeof all);
    memcpy(all.out, "ping", 4);
    assert_int_equal(ferry_loop_open(&all.loop, &config), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, all.fds), 0);
    all.main = g_main_loop_new(NULL, FALSE);
    guint sources[] = {
        g_unix_fd_add(ferry_loop_fd(all.loop), G_IO_IN, on_readable, all.loop),
        g_timeout_add(10, on_g_tick, NULL),
        g_timeout_add_seconds(60, on_late, NULL),
    };
    ferry_timer(all.loop, &all.timer, 1000000, 1000000, 0, ticked);
    g_thread_unref(g_thread_new("post", post, NULL));
    g_main_loop_run(all.main);
    for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) g_source_remove(sources[i]);
    g_main_loop_unref(all.main);
    assert_int_equal(ferry_loop_drain(all.loop, UINT64_C(10000000000)), 0);
    assert_int_equal(ferry_loop_close(all.loop), 0);
    close(all.fds[0]);
    close(all.fds[1]);
}

static void inside_glib(void **state) {
    (void)state;
    play(NULL);
}

static void inside_glib_without_features(void **state) {
    (void)state;
    play("all");
}

static void inside_glib_without_deferring(void **state) {
    (void)state;
    play("defer_taskrun");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inside_glib),
        cmocka_unit_test(inside_glib_without_features),
        cmocka_unit_test(inside_glib_without_deferring),
    };
    return cmocka_run_group_tests_name("embed_glib", tests, NULL, NULL);
}
