/* user.c - EVFILT_USER: events that a program triggers itself
 *
 * As on FreeBSD, a trigger in the change that adds the knote is ignored, EV_CLEAR in a change that
 * triggers an existing one takes the trigger back, and one that is EV_ONESHOT tells neither fflags
 * nor data.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake.h"

static int attach(struct fake_knote *knote) {
    knote->of.user.is_triggered = false;
    return 0;
}

static void detach(struct fake_knote *knote) {
    (void)knote;
}

static int touch(struct fake_knote *knote, const struct kevent *change) {
    struct fake_of_user *user = &knote->of.user;
    unsigned given = change->fflags & NOTE_FFLAGSMASK;
    switch (change->fflags & NOTE_FFCTRLMASK) {
    case NOTE_FFNOP: break;
    case NOTE_FFAND: user->fflags &= given; break;
    case NOTE_FFOR: user->fflags |= given; break;
    case NOTE_FFCOPY: user->fflags = given; break;
    }
    user->data = change->data;
    if (change->fflags & NOTE_TRIGGER) user->is_triggered = true;
    if (change->flags & EV_CLEAR) {
        *user = (struct fake_of_user){.is_triggered = false};
        fake_knote_unlist(knote);
    }
    return 0;
}

static bool ready(struct fake_knote *knote) {
    bool tells = !(knote->flags & EV_ONESHOT);
    knote->fflags = tells ? knote->of.user.fflags : 0;
    knote->data = tells ? knote->of.user.data : 0;
    return knote->of.user.is_triggered;
}

static void taken(struct fake_knote *knote) {
    knote->of.user.is_triggered = false;
}

const struct fake_filter fake_user = {
    .number = EVFILT_USER,
    .attach = attach,
    .detach = detach,
    .touch = touch,
    .ready = ready,
    .taken = taken,
};
