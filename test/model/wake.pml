/* wake.pml - nobody sleeps beside something to do: posts, landed records, parking, an outer loop.
 *
 * The loop goes to sleep in the poller or, in dedicated mode, on its own descriptor. Awake it must
 * be for events, posts of other threads, and records that the adapter's thread has put down. That
 * thread sleeps, too: between ticks, parked while the loop sits in the poller, and, when an outer
 * loop has the loop's thread, until the poller has something.
 *
 * Names in the code:   asleep, posts   loop->inbox.asleep and .top (lib/post.c)   wake_set
 * the wake-up descriptor is readable: backend->wake()   baton           as in baton.pml, which
 * proves what is an atomic step here: to take it, to say                   that one wants it
 * (loop_wants, thread_wants), to hand it over   turn            counts the loop's turns   parked
 * the adapter's thread waits, or is about to, until the loop lets go of the baton;
 * park_asleep: it lies in the system's queue for that word   poller, ready   events not consumed;
 * consumed, with the system call still to come   landed          records that the thread has put
 * down; records: those that the loop has   outside         the loop is embedded, and has told the
 * outer loop that it has nothing to do   watching        the thread waits for the poller to have
 * something, consuming nothing, or in                   dedicated mode simply waits there; kicked:
 * a descriptor of the thread's own                   that ends this   pending         a callback
 * has submitted an operation whose first two calls succeed (a multishot                   one): the
 * loop starts it in its next turn, whose share may be one call   raised, shows   the loop's
 * descriptor is readable: because somebody said so, or because the                   poller is in
 * it and has something (which it shows once, until clear())   edge            it has become
 * readable, or once more, since the outer loop last looked; for                   outer loops that
 * wait for that (edge_triggered) rather than look at its state
 *
 * Without a definition: auto mode, with a wake-up descriptor that stays readable until the loop
 * itself reads it. EATS_WAKE: one that is consumed by being looked at, by the thread, too.
 * DEDICATED: the thread waits in the poller. EMBEDDED: an outer loop waits for the loop's
 * descriptor; settle() is that of lib/loop.c.
 *
 * Left out: deadlines (a turn that does not wait can come at any time instead), what an event is
 * about, the doubling of ticks, all but two of the eight ticks before the thread parks, and parking
 * in an embedded loop (the outer loop, not the poller, is where that sleeps).
 *
 * Checked: everything gets through, events, a callback's own operation and posts, though there are
 * callbacks (and outer loops) that do not return before all that was started has been carried out;
 * then loop and thread end (finished).
 *
 * Memory orders. Two pairs are of the kind "I write mine, then look at yours", where both may miss
 * each other unless all four steps are seq_cst: asleep and posts; parked and the baton (the loop's
 * release, then its look at parked; the thread's store to parked, then its look at the baton). What
 * a weaker order would let happen are the mistakes NO_SECOND_LOOK, UNPARKS_FIRST and PARKS_BLINDLY.
 * Everything else hangs on the baton, and acquire and release do: landed, ready, outside and
 * watching are ordinary variables; asleep is set before the baton is let go of, so that a thread
 * that has the baton later sees it set, and one that had it before has put down its records before.
 */
#ifndef EVENTS
#define EVENTS 1 /* with 2 the search takes five times as long, and has found nothing more */
#endif
#define POSTS 1
#define OWN 2
#define ALL (EVENTS + OWN + POSTS)

#define LOOP 1
#define THREAD 2

bool asleep, wake_set;
byte posts;
byte baton;
bit turn;
bool loop_wants, thread_wants, parked, park_asleep;
byte poller, ready, landed, records;
bool outside, watching, kicked;
bool raised = true, shows, edge = true;
bool edge_triggered;
bool submitted, pending;
byte due = EVENTS; /* system calls to be made */
byte carried, delivered;
bool stop, thread_ended, finished;

#define READABLE (raised || (shows && poller > 0))

inline raise() { atomic { raised = true; edge = true } }

inline wake() {
    atomic {
        wake_set = true;
#ifdef EMBEDDED
        raised = true; edge = true
#endif
    }
}

/* ferry__inbox_wake() */
inline inbox_wake() {
    if
    :: asleep ->
       atomic { was = asleep; asleep = false }
       if :: was -> wake() :: else fi
    :: else
    fi;
    was = false
}

inline take(mine, wants) {
    atomic { if :: baton == 0 -> baton = mine :: else -> wants = true fi }
    (baton == mine)
}

inline release(other, wanted) {
    atomic { if :: wanted -> baton = other; wanted = false :: else -> baton = 0 fi }
}

inline loop_take() {
    take(LOOP, loop_wants)
}

/* Each release of the loop, not only that of wait(). */
inline loop_release() {
#if (defined EMBEDDED || defined DEDICATED) && !defined MUTATION_NO_KICK
    if :: watching && ready > 0 -> watching = false; kicked = true :: else fi;
#endif
    release(THREAD, thread_wants)
}

inline unpark() {
    if
    :: parked ->
       atomic { was = parked; parked = false }
       if :: was -> park_asleep = false :: else fi
    :: else
    fi;
    was = false
}

/* ferry__inbox_sleep() */
inline inbox_sleep(sleeps) {
#ifdef MUTATION_NO_SECOND_LOOK
    sleeps = (posts == 0);
    asleep = sleeps
#else
    asleep = true;
    if
    :: posts == 0 -> sleeps = true
    :: else -> sleeps = false; asleep = false
    fi
#endif
}

/* backend->wait(), inside a run or (settling) at its end. backend->begin() has taken the baton. */
inline wait(sleeps, settling) {
#ifdef MUTATION_DRAINS_FIRST
    wake_set = false;
#endif
    outside = false;
    had = records;
    records = records + landed; landed = 0;
    if
    :: pending -> atomic { pending = false; ready = ready + OWN; due = due + OWN }
    :: else
    fi;
#ifndef DEDICATED
    if
    :: sleeps && records == 0 && ready == 0 -> (poller > 0 || wake_set)
    :: else
    fi;
    atomic { wake_set = false; ready = ready + poller; poller = 0 }
#endif
    if /* a turn does not do more than its share */
    :: ready > 0 -> ready--; carried++; records++
    :: else
    fi;
    turn = 1 - turn;
#ifdef MUTATION_UNPARKS_FIRST
    unpark();
    loop_release();
#else
    loop_release();
    unpark();
#endif
#ifdef DEDICATED
    if :: sleeps && records == 0 -> (wake_set); wake_set = false :: else fi;
#endif
#ifndef MUTATION_SETTLES_SILENTLY
    if :: settling && records > had -> raise() :: else fi;
#endif
    had = 0
}

inline one_turn() {
    sleeps = false;
#ifndef MUTATION_SLEEPS_FIRST
    loop_take(); /* backend->begin() */
#endif
    if
    :: records == 0 -> inbox_sleep(sleeps)
    :: true
    fi;
#ifdef MUTATION_SLEEPS_FIRST
    loop_take();
#endif
    wait(sleeps, false);
    sleeps = false;
    asleep = false;
    atomic { delivered = delivered + posts; posts = 0 }
    delivered = delivered + records;
    if
    :: records > 0 && !submitted -> submitted = true; pending = true
    :: else
    fi;
    records = 0;
    /* Callbacks: one may cancel, one may compute until all events have been carried out. */
#ifndef EMBEDDED
    if
    :: loop_take();
       loop_release();
#ifndef MUTATION_CANCELS_SILENTLY
       unpark()
#endif
    :: true
    fi;
#endif
    if
    :: true -> (carried == due)
    :: true
    fi
}

#ifdef EMBEDDED
/* embed->clear() */
inline clear(nothing) {
    loop_take();
    atomic { raised = false; shows = false; edge = false }
#ifdef MUTATION_CLEARS_BLINDLY
    nothing = true;
#else
    nothing = (landed == 0 && ready == 0 && poller == 0);
#endif
    outside = nothing;
    loop_release();
    unpark()
}

inline settle() {
    loop_take();
    settled_with = records;
    wait(false, true);
    if
    :: records > 0 -> if :: records == settled_with -> raise() :: else fi
    :: else ->
       clear(nothing);
       if :: nothing -> inbox_sleep(nothing) :: else fi;
       if :: !nothing -> raise() :: else fi
    fi;
    nothing = false; settled_with = 0
}
#endif

active proctype loop() {
    bool sleeps, was, nothing;
    byte had, settled_with;
#ifdef EMBEDDED
    if :: edge_triggered = true :: true fi;
#endif
    do
    :: delivered == ALL -> break
    :: else ->
#ifdef EMBEDDED
       if
       :: true -> (carried == due)
       :: true
       fi;
       if
       :: edge_triggered -> atomic { edge && READABLE -> edge = false }
       :: else -> (READABLE)
       fi;
       asleep = false;
       one_turn();
       settle()
#else
       one_turn()
#endif
    od;
    stop = true;
    unpark();
    (thread_ended);
    finished = true
}

/* Makes the system calls, with the baton, until the loop wants it. */
inline thread_step() {
    do
    :: ready > 0 && !loop_wants ->
       ready--; carried++; landed++;
       count = 1
    :: ready == 0 || loop_wants -> break
    od;
#if defined EMBEDDED && !defined MUTATION_RAISES_IF_ASLEEP
    if :: count > 0 && outside -> raise() :: else fi;
#endif
    count = 0
}

#ifdef DEDICATED
active proctype thread() {
    byte batch;
    bit count;
    bool was, more;
    do
    :: atomic {
           !stop && (poller > 0 || kicked || more) -> batch = poller; poller = 0; kicked = false
       }
#ifdef MUTATION_WAKES_FIRST
       inbox_wake();
#endif
       take(THREAD, thread_wants);
       ready = ready + batch;
       batch = 0;
       thread_step();
       more = (ready > 0);
       watching = !more;
       release(LOOP, loop_wants);
#ifndef MUTATION_WAKES_FIRST
       inbox_wake()
#endif
    :: stop -> break
    od;
    thread_ended = true
}
#else
active proctype thread() {
    bit seen, count;
    byte same;
    bool watches;
    do
    :: stop -> break
    :: !stop && turn != seen -> seen = turn; same = 0
    :: !stop && turn == seen ->
       if
       :: atomic { baton == 0 -> baton = THREAD }
          same = 0;
          atomic { ready = ready + poller; poller = 0 }
#ifdef EATS_WAKE
          wake_set = false;
#endif
          thread_step();
#ifdef EMBEDDED
          watches = outside && ready == 0;
          watching = watches;
#endif
          release(LOOP, loop_wants);
#ifdef EMBEDDED
          if
          :: watches -> (poller > 0 || kicked || stop); kicked = false; watches = false
          :: else
          fi
#endif
#ifndef EMBEDDED
       :: baton == LOOP && same < 2 -> same++
       :: baton == LOOP && same == 2 ->
          parked = true;
          if
#ifdef MUTATION_PARKS_BLINDLY
          :: true ->
#else
          :: baton == LOOP ->
#endif
             do
             :: atomic { parked -> park_asleep = true } (!park_asleep)
             :: atomic { !parked -> break }
             od
          :: else
          fi;
          parked = false;
          same = 0
#endif
       :: else
       fi
    od;
    thread_ended = true
}
#endif

active proctype world() {
    byte made;
    do
    :: made < EVENTS ->
       atomic {
           poller++; made++;
#if defined EMBEDDED && !defined DEDICATED
           shows = true; edge = true
#endif
       }
    :: else -> break
    od
}

active proctype poster() {
    byte made;
    bool was;
    do
    :: made < POSTS -> made++; posts++; inbox_wake()
    :: else -> break
    od
}

ltl finishes { <> finished }
