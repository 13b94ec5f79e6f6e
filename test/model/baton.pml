/* baton.pml - who may use the state of the adapter: take, wanted, release, and taking over.
 *
 * Two threads share what turns readiness into completion: slots, latches, parked operations, the
 * events of the poller, the system calls of parked operations, and the records that the adapter's
 * thread has put down. One word guards all of it. The model has the word as the code has it, both
 * sides' ways of taking it and letting go of it, and around them as much of a turn and of a tick as
 * decides who wants it when.
 *
 * Names in the code:
 *   baton           the word: 0 free, 1 the loop's, 2 the thread's; 4 more: the other one wants it
 *   loop_asleep,    whether a waiter lies in the system's queue for the word (a futex or its like).
 *   thread_asleep   To look at the word and to lie down is one step there, as in the system
 *   turn            counts the loop's turns; only the loop writes it
 *   poller          events that nobody has consumed
 *   ready           events that were consumed and noted, and whose system call is still to come
 *   landed          records that the thread has put down and the loop has not collected
 *   stop            the loop closes
 *
 * Without a definition the mode is auto: the thread takes the baton when it finds it free and the
 * turn as it was a tick before. With DEDICATED the thread waits in the poller without the baton,
 * and then takes it in any case.
 *
 * Left out: what an event is about (cancel.pml), sleeping and waking (wake.pml; here the loop may
 * wait in the poller, since it holds the baton meanwhile, and else goes round and round), and time:
 * a tick may be over at any moment, so that the thread is as bold as it can be.
 *
 * Checked: never do both use the state (users); a loop that wants the baton waits for one system
 * call of the thread at most (late); no waiter is forgotten, no event lost, and both sides get on:
 * all events are carried out and delivered and the loop closes (finished), though callbacks cancel,
 * and though one does not return before everything has been carried out behind its back.
 *
 * Memory orders: a take acquires, a release releases, and that is all that this model needs. (The
 * loop's release has to be seq_cst as well, for the sake of `parked`: wake.pml.) `turn` is relaxed:
 * it is a hint, and the safety of nothing depends on it.
 */
#define EVENTS 2

#define LOOP 1
#define THREAD 2
#define WANTED 4

byte baton;
bool loop_asleep, thread_asleep;
bit turn;
bool stop, thread_ended, finished;

byte users;     /* how many use the state */
byte poller, ready, landed;
byte carried;   /* system calls made */
byte delivered; /* callbacks run */
byte late;      /* system calls that the loop has been waiting for: one at most */

inline use_begin() { atomic { assert(users == 0); users++ } }
inline use_end() { users-- }

/* ---- The word, for either side */

/* Compares and swaps, after a look that saw `old`: got is 1 if the baton was free and is mine, 2 if
 * the other one had it and knows now that it is wanted. */
inline attempt(mine, other) {
    if
    :: baton == old && old == 0 -> baton = mine; got = 1
    :: baton == old && old == other -> baton = other + WANTED; got = 2
#ifdef MUTATION_FETCH_OR
    :: baton != old && old == other -> baton = baton | WANTED; got = 2
#endif
    :: else
    fi
}

/* That nobody starts over for ever is an assumption: the other one would have to take the baton or
 * let go of it between the look and the swap, each time. Here it can once. */
inline take(mine, other, asleep) {
    got = 0; tried = false;
    do
    :: got == 0 && !tried -> old = baton; atomic { attempt(mine, other); tried = true }
    :: atomic { got == 0 && tried -> old = baton; attempt(mine, other) }
    :: got == 1 -> break
    :: got == 2 ->
       do
       :: atomic { baton == other + WANTED -> asleep = true } (!asleep)
       :: atomic { baton != other + WANTED -> break }
       od;
#ifdef MUTATION_STARTS_OVER
       got = 0
#else
       assert(baton == mine || baton == mine + WANTED); /* it was handed over */
       break
#endif
    od;
    use_begin()
}

/* A baton that is wanted is not laid down but handed over. */
inline release(mine, other, other_asleep) {
    use_end();
#if defined MUTATION_PLAIN_RELEASE
    baton = 0;
#elif defined MUTATION_STARTS_OVER
    atomic { old = baton; baton = 0 }
    if :: old == mine + WANTED -> other_asleep = false :: else fi;
#else
    atomic { old = baton; if :: old == mine -> baton = 0 :: else fi }
    if
    :: old != mine ->
       baton = other;
#ifndef MUTATION_NO_WAKE
       other_asleep = false
#endif
    :: else
    fi;
#endif
    old = 0; got = 0
}

/* ---- The loop */

active proctype loop() {
    byte old, got, records, batch;
    bool tried;
    do
    :: delivered == EVENTS -> break
    :: else ->
       /* backend->begin(), backend->wait() */
       take(LOOP, THREAD, loop_asleep);
       records = landed; landed = 0;
#ifndef DEDICATED
       if
       :: records == 0 && ready == 0 -> (poller > 0) /* as long as it takes, with the baton */
       :: true
       fi;
       atomic { batch = poller; poller = 0 }
       do /* a call may be made as the event is noted: it lets go of the baton for nobody */
       :: batch > 0 -> batch--; carried++; records++
       :: batch > 0 -> batch--; ready++
       :: batch == 0 -> break
       od;
#endif
       do
       :: ready > 0 -> ready--; carried++; records++
       :: else -> break
       od;
       turn = 1 - turn;
       release(LOOP, THREAD, thread_asleep);
       /* Callbacks: one may cancel, one may compute until all is done. */
       delivered = delivered + records;
       records = 0;
       if
       :: take(LOOP, THREAD, loop_asleep);
          release(LOOP, THREAD, thread_asleep)
       :: true
       fi;
       if
       :: true -> (carried == EVENTS)
       :: true
       fi
    od;
    stop = true;
    (thread_ended);
    finished = true
}

/* ---- The thread */

/* Makes the calls of what is ready, for as long as nobody wants the baton. What is left then stays
 * noted, for whoever has the baton next. */
inline step() {
    do
#ifdef MUTATION_NEVER_YIELDS
    :: ready > 0 ->
#else
    :: ready > 0 && baton == THREAD ->
#endif
       atomic { ready--; carried++; landed++; late = late + (baton != THREAD); assert(late < 2) }
#ifdef MUTATION_NEVER_YIELDS
    :: ready == 0 -> break
#else
    :: ready == 0 || baton != THREAD -> break
#endif
    od;
#ifdef MUTATION_DROPS_REST
    ready = 0;
#endif
    late = 0
}

#ifdef DEDICATED
active proctype thread() {
    byte old, got, batch;
    bool tried, more;
    do
    :: atomic { !stop && (poller > 0 || more) -> batch = poller; poller = 0 }
       take(THREAD, LOOP, thread_asleep);
       ready = ready + batch;
       batch = 0;
       step();
#ifndef MUTATION_LEAVES_REST
       more = (ready > 0); /* it yielded: it comes back without waiting */
#endif
       release(THREAD, LOOP, loop_asleep)
    :: stop -> break
    od;
    thread_ended = true
}
#else
active proctype thread() {
    byte old, got;
    bit seen;
    do
    :: stop -> break
    :: !stop && turn != seen -> seen = turn
    :: !stop && turn == seen ->
#ifdef MUTATION_LOOKS_THEN_STORES
       if :: baton == 0 -> got = 1; baton = THREAD :: else fi;
#else
       atomic { if :: baton == 0 -> baton = THREAD; got = 1 :: else fi }
#endif
       if
       :: got == 1 ->
          use_begin();
          atomic { ready = ready + poller; poller = 0 }
          step();
          release(THREAD, LOOP, loop_asleep)
       :: else
       fi
    od;
    thread_ended = true
}
#endif

active proctype world() {
    byte made;
    do
    :: made < EVENTS -> atomic { poller++; made++ }
    :: else -> break
    od
}

ltl finishes { <> finished }
