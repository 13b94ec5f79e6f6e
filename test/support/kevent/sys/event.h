/* sys/event.h - kevent's names on a system that has no kevent
 *
 * Found as <sys/event.h> where test/support/kevent is on the include path. Names, values and the
 * layout of struct kevent are those of FreeBSD 12; the functions are the fake's (fake.h says how it
 * works and what it leaves out). On a system that has kqueue this file must not be found.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FERRY_TEST_SYS_EVENT_H
#define FERRY_TEST_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

/* For tests that have to know that this is not a kernel. */
#define FERRY_TEST_FAKE_KEVENT 1

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
    uint64_t ext[4];
};

_Static_assert(sizeof(void *) != 8 || sizeof(struct kevent) == 64, "FreeBSD's layout");

#define EV_SET(event, id, which, what, notes, value, user)                                         \
    (*(event) = (struct kevent){.ident = (uintptr_t)(id),                                          \
                                .filter = (short)(which),                                          \
                                .flags = (unsigned short)(what),                                   \
                                .fflags = (unsigned int)(notes),                                   \
                                .data = (int64_t)(value),                                          \
                                .udata = (void *)(user)})

int kqueue(void);
int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout);

/* Of <unistd.h> on those systems, and not here. */
int issetugid(void);

/* ---- Filters ----------------------------------------------------------------------------- */

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_AIO (-3) /* not in the fake, as those that are marked so below */
#define EVFILT_VNODE (-4)
#define EVFILT_PROC (-5)
#define EVFILT_SIGNAL (-6)
#define EVFILT_TIMER (-7)
#define EVFILT_PROCDESC (-8) /* not in the fake */
#define EVFILT_FS (-9)       /* not in the fake */
#define EVFILT_LIO (-10)     /* not in the fake */
#define EVFILT_USER (-11)
#define EVFILT_SENDFILE (-12) /* not in the fake */
#define EVFILT_EMPTY (-13)    /* not in the fake */

/* ---- Flags ------------------------------------------------------------------------------- */

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008

#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_DISPATCH 0x0080

#define EV_ERROR 0x4000
#define EV_EOF 0x8000

/* ---- Notes: fflags ----------------------------------------------------------------------- */

/* EVFILT_USER */
#define NOTE_FFNOP 0x00000000u
#define NOTE_FFAND 0x40000000u
#define NOTE_FFOR 0x80000000u
#define NOTE_FFCOPY 0xc0000000u
#define NOTE_FFCTRLMASK 0xc0000000u
#define NOTE_FFLAGSMASK 0x00ffffffu
#define NOTE_TRIGGER 0x01000000u

/* EVFILT_READ, EVFILT_WRITE */
#define NOTE_LOWAT 0x0001u
#define NOTE_FILE_POLL 0x0002u

/* EVFILT_VNODE */
#define NOTE_DELETE 0x0001u
#define NOTE_WRITE 0x0002u
#define NOTE_EXTEND 0x0004u
#define NOTE_ATTRIB 0x0008u
#define NOTE_LINK 0x0010u
#define NOTE_RENAME 0x0020u
#define NOTE_REVOKE 0x0040u
#define NOTE_OPEN 0x0080u
#define NOTE_CLOSE 0x0100u
#define NOTE_CLOSE_WRITE 0x0200u
#define NOTE_READ 0x0400u

/* EVFILT_PROC */
#define NOTE_EXIT 0x80000000u
#define NOTE_FORK 0x40000000u /* not in the fake, as the next ones */
#define NOTE_EXEC 0x20000000u
#define NOTE_PCTRLMASK 0xf0000000u
#define NOTE_PDATAMASK 0x000fffffu
#define NOTE_TRACK 0x00000001u
#define NOTE_TRACKERR 0x00000002u
#define NOTE_CHILD 0x00000004u

/* EVFILT_TIMER */
#define NOTE_SECONDS 0x0001u
#define NOTE_MSECONDS 0x0002u
#define NOTE_USECONDS 0x0004u
#define NOTE_NSECONDS 0x0008u
#define NOTE_ABSTIME 0x0010u

#endif
