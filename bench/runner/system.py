"""What the runner asks of the system: cores, CPU times, programs that end when the runner ends."""

import os
import subprocess
import sys


class Failure(Exception):
    """The measurement cannot go on. The text says why."""


def cores():
    """The core of the servers and the core of the load generator; one and the same if there is
    only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def environment():
    """What the programs get to see: nothing that chooses another backend than the one named."""
    kept = dict(os.environ)
    kept.pop("FERRY_BACKEND", None)
    return kept


def settle(used_cores, takes_turns):
    """What a program that is measured does before it starts. In a session of its own it is a
    scheduling group of its own where the system makes such (and a Ctrl-C goes to the runner alone);
    if it may, it goes before other work, so that on a shared machine its own cost is seen. One that
    takes turns with others on a core lets them finish what they do when it wakes up."""
    os.setsid()
    os.sched_setaffinity(0, used_cores)
    if takes_turns:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("-15")
    except OSError:
        pass


def start(command, used_cores, takes_turns=False, **options):
    """Starts a program that may use these cores."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(command, text=True, env=environment(),
                            preexec_fn=lambda: settle(used_cores, takes_turns), **options)


def cpu_times(pid):
    """(ns on a CPU, ns ready but waiting for one), all threads of a process together."""
    ran = waited = 0
    folder = f"/proc/{pid}/task"
    for task in os.listdir(folder):
        with open(f"{folder}/{task}/schedstat", encoding="ascii") as file:
            fields = file.read().split()
        ran += int(fields[0])
        waited += int(fields[1])
    return ran, waited


class Progress:
    """One line that says what is going on: rewritten on a terminal, else a new one each time the
    step changes, with a dot for each round."""

    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self.step = None

    def show(self, step, part=""):
        if self.terminal:
            print(f"\r\033[K{step} {part}", end="", flush=True)
        elif step != self.step:
            print(("" if self.step is None else "\n") + step, end=" ", flush=True)
        else:
            print(".", end="", flush=True)
        self.step = step

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", flush=True)
        elif self.step is not None:
            print(flush=True)
        self.step = None
