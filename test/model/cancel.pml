/* cancel.pml - one descriptor: its events, operations, their cancelling, closing, the number's
 * reuse.
 *
 * The loop submits three operations, one after the other: a whole receive of two bytes, a receive
 * of one byte from the same file, and, after a close, a poll of another file that has got the same
 * number. Each may be cancelled at any time; a deadline that passes is the same call. Bytes come in
 * whenever they like, and each that comes in while the descriptor is registered is an edge.
 *
 * Names in the code:
 *   baton           as in wake.pml; loop_wants is what makes it 6
 *   pending         submitted, not yet started: the loop's own list
 *   registered, latch, parked, generation
 *                   the descriptor's slot: known to the poller; something may be there; the
 *                   operation that waits; advanced by each close
 *   ready           the slot's event has been consumed, the system call is still to come
 *   event           an edge that lies in the poller; batch: in an array of the thread's own
 *   landed, ring    records put down by the thread, and those that the loop has, as bits
 *   file            what the number means to the system
 *
 * Without a definition: auto mode, in which events are consumed with the baton. DEDICATED: the
 * thread consumes first and takes the baton then, so that an event may be long out of date when it
 * is looked at.
 *
 * Left out: the other direction and other descriptors, sleeping (the loop goes round and round),
 * and tries for the sake of luck: a receive is tried if the latch says so, else parked at once. A
 * descriptor that is registered reports what is there already.
 *
 * Checked: one record for each operation (ended); no system call for one that is not parked, has
 * its record, or has been cancelled; every byte that was read is in the record of the one that read
 * it; what a poll says is true of its own file; an edge is never forgotten: each operation ends,
 * cancelled or not (finished).
 *
 * Memory orders: all is ordinary memory that the baton orders; acquire and release do.
 */
#define OPS 3
#define NONE 9
#define POLL 2       /* the operation that is one */
#define WANTED(op) (op == 0 -> 2 : 1)
#define FILE(op) (op == POLL -> 1 : 0)
#define ECANCELED 7

#define LOOP 1
#define THREAD 2

byte baton, users;
bool loop_wants, thread_wants;
byte pending = NONE, parked = NONE;
bool registered, latch, ready, event;
bit generation;
byte file;
byte there[2], sent[2]; /* bytes in the system, and all that came */
byte landed, ring;
byte achieved[OPS], outcome[OPS];
bool ended[OPS], cancelled[OPS];
bool stop, thread_ended, finished;

inline take(mine, wants) {
    atomic { if :: baton == 0 -> baton = mine :: else -> wants = true fi }
    atomic { baton == mine -> assert(users == 0); users++ }
}

inline release(other, wanted) {
    atomic {
        users--;
        if :: wanted -> baton = other; wanted = false :: else -> baton = 0 fi
    }
}

/* The record of an operation; list: whose. */
inline end_op(op, value, list) {
    atomic {
        assert(!ended[op]);
        ended[op] = true;
        outcome[op] = value;
        list = list | (1 << op)
    }
}

/* A system call for one byte: got says whether there was one. */
inline call(op) {
    atomic {
        assert(!ended[op] && !cancelled[op]);
        assert(file == FILE(op));
        if
        :: there[file] > 0 -> there[file] = there[file] - 1; achieved[op]++; got = true
        :: else -> got = false
        fi
    }
}

/* An event has been consumed; with the baton. */
inline note(list) {
    latch = true;
    if
    :: parked == POLL ->
       assert(sent[FILE(POLL)] > 0);
       end_op(POLL, 1, list);
       parked = NONE
    :: parked < POLL -> ready = true
#ifdef MUTATION_FORGETS_EDGE
    :: parked == NONE -> latch = false
#else
    :: parked == NONE
#endif
    fi
}

/* The system calls of what is ready; with the baton. */
inline step(yields, list) {
    do
    :: ready && !(yields && loop_wants) ->
       if
       :: parked < POLL ->
          call(parked);
          if
#ifdef MUTATION_FORGETS_REST
          :: got -> latch = false;
#else
          :: got ->
#endif
             if
             :: achieved[parked] == WANTED(parked) ->
                end_op(parked, achieved[parked], list);
                parked = NONE;
                ready = false
             :: else
             fi
          :: else -> latch = false; ready = false
          fi
       :: else -> ready = false
       fi
    :: !ready || (yields && loop_wants) -> break
    od;
    got = false
}

inline register() {
    atomic { registered = true; event = (there[file] > 0) }
}

/* ---- The loop */

/* First the try, then the parking. */
inline start(op) {
    if
    :: registered -> skip
    :: else -> register()
    fi;
    parked = op;
#ifdef MUTATION_TRIES_OUTSIDE
    latch = false;
#endif
    if
    :: op < POLL && latch -> ready = true; step(false, ring)
    :: else
    fi
}

#ifdef MUTATION_TRIES_OUTSIDE
/* A try without the baton. That it met nothing is out of date when the operation is parked. */
inline try_outside(op) {
    do
    :: op < POLL && registered && !ended[op] ->
       call(op);
       if
       :: !got -> break
       :: got && achieved[op] == WANTED(op) -> end_op(op, achieved[op], ring); pending = NONE
       :: else
       fi
    :: else -> break
    od;
    got = false
}
#endif

inline wait() {
#ifdef MUTATION_TRIES_OUTSIDE
    if :: pending != NONE -> try_outside(pending) :: else fi;
#endif
    take(LOOP, loop_wants);
    ring = ring | landed; landed = 0;
    if
    :: pending != NONE -> start(pending); pending = NONE
    :: else
    fi;
#ifndef DEDICATED
    if
    :: atomic { event -> event = false } note(ring)
    :: else
    fi;
#endif
    step(false, ring);
    release(THREAD, thread_wants)
}

inline cancel(op) {
    if
    :: pending == op -> pending = NONE; end_op(op, ECANCELED, ring)
    :: else ->
       take(LOOP, loop_wants);
       if
#ifdef MUTATION_CANCELS_BLINDLY
       :: true ->
#else
       :: parked == op ->
#endif
          parked = NONE;
          ready = false;
#ifdef MUTATION_LOSES_ACHIEVED
          end_op(op, ECANCELED, ring)
#else
          if
          :: achieved[op] > 0 -> end_op(op, achieved[op], ring)
          :: else -> end_op(op, ECANCELED, ring)
          fi
#endif
       :: else
       fi;
       release(THREAD, thread_wants)
    fi;
    cancelled[op] = true
}

/* In wait(), too. The number goes to another file at once. */
inline close_and_open() {
    take(LOOP, loop_wants);
    assert(parked == NONE);
    atomic { registered = false; event = false }
    latch = false;
    ready = false;
    generation = 1 - generation;
    file = 1;
    release(THREAD, thread_wants)
}

active proctype loop() {
    byte op;
    bool got;
    do
    :: op == OPS -> break
    :: else ->
       if
       :: op == POLL -> close_and_open()
       :: else
       fi;
       pending = op;
       do
       :: ring & (1 << op) -> break
       :: else ->
          if
          :: !cancelled[op] && !(ring & (1 << op)) -> cancel(op)
          :: true
          fi;
          wait()
       od;
       assert(ended[op] && parked == NONE);
       assert(op == POLL || outcome[op] == (achieved[op] > 0 -> achieved[op] : ECANCELED));
       op++
    od;
    stop = true;
    (thread_ended);
    assert(sent[0] == there[0] + achieved[0] + achieved[1]);
    finished = true
}

/* ---- The thread */

active proctype thread() {
    bool got;
#ifdef DEDICATED
    bit batch;
    do
    :: atomic { event && !stop -> event = false; batch = generation }
       take(THREAD, thread_wants);
#ifdef MUTATION_STALE_EVENT
       note(landed);
#else
       if :: batch == generation -> note(landed) :: else fi;
#endif
       batch = 0;
       step(true, landed);
       release(LOOP, loop_wants)
    :: stop -> break
    od;
#else
#ifdef MUTATION_PICKS_EARLY
    byte picked = NONE;
#endif
    do
    :: stop -> break
    :: atomic { !stop && baton == 0 -> baton = THREAD; assert(users == 0); users++ }
       if
       :: atomic { event -> event = false } note(landed)
       :: else
       fi;
#ifdef MUTATION_PICKS_EARLY
       if
       :: ready && parked < POLL -> picked = parked; ready = false
       :: else
       fi;
       release(LOOP, loop_wants);
       if
       :: picked != NONE ->
          call(picked);
          take(THREAD, thread_wants);
          ready = got;
          if
          :: achieved[picked] == WANTED(picked) ->
             end_op(picked, achieved[picked], landed);
             parked = NONE
          :: else
          fi;
          picked = NONE;
          got = false;
          release(LOOP, loop_wants)
       :: else
       fi
#else
       step(true, landed);
       release(LOOP, loop_wants)
#endif
    od;
#endif
    thread_ended = true
}

/* Enough for all. */
active proctype world() {
    do
    :: atomic {
           sent[0] < 3 && file == 0 -> sent[0] = sent[0] + 1; there[0] = there[0] + 1;
           event = event || registered
       }
    :: atomic {
           sent[1] < 1 && file == 1 -> sent[1] = sent[1] + 1; there[1] = there[1] + 1;
           event = event || registered
       }
    :: finished -> break
    od
}

ltl finishes { <> finished }
