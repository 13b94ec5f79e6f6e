"""Measures what bench/run has built, and prints one table: main.py BUILD [--full]"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

import echo
import files
import http_server
import report
from system import Failure, Progress, environment

# Every backend that Ferry may have. Those that the library does not know, or that the system
# refuses, are left out; the first line of the output tells which those are.
BACKENDS = ("uring", "epoll", "kqueue")

ECHO = echo.Case(50, 64)
FULL_ECHOES = (ECHO, echo.Case(500, 64), echo.Case(50, 4096), echo.Case(50, 65536),
               echo.Case(50, 64, depth=8), echo.Case(50, 64, two_cores=True))


def usable_backends(build):
    """The backends on which a loop can be opened here, and why not on the others."""
    usable, refused = [], []
    for name in BACKENDS:
        tried = subprocess.run([f"{build}/bench/backend_try", name], env=environment(), text=True,
                               capture_output=True, check=False)
        if tried.returncode == 0:
            usable.append(name)
        else:
            refused.append(f"{name}: {tried.stderr.strip()}")
    return usable, refused


def echo_commands(build, backends):
    bench = f"{build}/bench"
    commands = {}
    for name in backends:
        commands[f"ferry {name}, pool"] = [f"{bench}/echo_pool", "--backend", name]
        commands[f"ferry {name}"] = [f"{bench}/echo_ferry", "--backend", name]
    commands["liburing"] = [f"{bench}/echo_uring"]
    commands["epoll"] = [f"{bench}/echo_epoll"]
    commands["libuv"] = [f"{bench}/echo_uv"]
    return commands


def copy_commands(build, backends):
    bench = f"{build}/bench"
    commands = {f"ferry {name}": [f"{bench}/copy_ferry", "--backend", name] for name in backends}
    commands["liburing"] = [f"{bench}/copy_uring"]
    commands["read/write (epoll)"] = [f"{bench}/copy_plain"]
    commands["libuv"] = [f"{bench}/copy_uv"]
    commands["cp"] = ["cp", "--reflink=never"]
    return commands


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    system = os.uname()
    return (f"{models[0] if models else system.machine}, {os.cpu_count()} CPUs, "
            f"{system.sysname} {system.release}")


def measure_echo(build, backends, full, progress):
    commands = echo_commands(build, backends)
    subjects = [name for name in commands if name.startswith("ferry ")]
    lines, goals, notes = [], [], []
    for case in FULL_ECHOES if full else (ECHO,):
        rounds, dropped = echo.measure(build, commands, case, 21 if full else 15,
                                       400 if full else 250, progress)
        if dropped:
            notes.append(f"{case.name()}: {dropped} rounds repeated, because other work had taken "
                         "part of a core")
        instructions = {}
        if case is ECHO:
            for name, command in commands.items():
                progress.show("counting instructions", f"of {name}")
                instructions[name] = echo.instructions(build, command, case, f"{build}/tmp")
        for subject in subjects:
            if subject.startswith("ferry uring"):
                goals += report.echo_goals(rounds, subject, instructions) if case is ECHO else []
            else:
                counted = {} if "pool" in subject else instructions
                goals += report.adapter_goals(rounds, subject, case.name(), counted)
        lines += report.echo_section(case, rounds, list(commands), instructions)
    return lines, goals, notes


def measure_modes(build, backends, progress):
    """What the adapter's modes cost beside each other: a line for each case."""
    goals = []
    for name in backends:
        if name == "uring":
            continue
        commands = {mode: ["env", f"FERRY_ADAPTER={mode}", f"{build}/bench/echo_ferry", "--backend",
                           name] for mode in ("auto", "inline", "dedicated")}
        for case in echo.Case(1, 64), ECHO:
            rounds, _ = echo.measure(build, commands, case, 21, 250, progress)
            goals += report.mode_goals(rounds, f"ferry {name}", case.name(), case is not ECHO)
    return goals


def measure_copy(build, backends, full, progress):
    commands = copy_commands(build, backends)
    instructions, goals = {}, []
    with files.Files(f"{build}/tmp/files") as room:
        rounds = files.measure(room, commands, 15 if full else 9, progress)
        for name, command in commands.items():
            progress.show("counting instructions of the copies", f"of {name}")
            instructions[name] = room.instructions(command)
    for name in backends:
        if name == "uring":
            goals += report.copy_goals(rounds, f"ferry {name}")
    title = f"copy {files.FILE_BYTES // files.MIB} MiB, cached"
    return report.copy_section(title, rounds, list(commands), instructions), goals


def measure_http(build, backends, full, progress):
    rounds, checked = http_server.measure(build, backends, 21 if full else 11, progress)
    goals = []
    for name in backends:
        goals += report.http_goals(rounds, f"ferry {name}", http_server.PEER, checked)
    title = f"http GET of {http_server.FILE_BYTES // 1024} KiB x {http_server.CONNECTIONS}"
    return report.http_section(title, rounds, list(checked), http_server.PEER), goals


def measure_idle(build, backends, progress):
    """Memory of idle connections: a line for each backend."""
    goals = []
    for name in backends:
        progress.show("measuring idle connections", f"on {name}")
        done = subprocess.run([f"{build}/bench/idle", name], env=environment(), text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise Failure(f"idle on {name}: {done.stderr.strip() or 'failed'}")
        _, memory, connections = done.stdout.split()
        goals += report.idle_goals(f"ferry {name}", float(memory), int(connections))
    return goals


def measure_reads(build, backends, progress):
    """A cached read beside a plain one: a line for each backend."""
    goals = []
    for name in backends:
        progress.show("measuring cached reads", f"on {name}")
        done = subprocess.run([f"{build}/bench/read", name, f"{build}/tmp/read"],
                              env=environment(), text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise Failure(f"read on {name}: {done.stderr.strip() or 'failed'}")
        rounds = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
        goals += report.read_goals(f"ferry {name}", rounds, name != "uring")
    return goals


def measure_parts(build, backends, progress):
    """Ferry's own parts, without a peer: a line for each backend."""
    lines = []
    for name in backends:
        figures = {}
        for program in "nop", "timers", "post":
            progress.show("measuring parts", f"{program} on {name}")
            tries = []
            for _ in range(7):
                done = subprocess.run([f"{build}/bench/{program}", name], env=environment(),
                                      text=True, capture_output=True, check=False)
                if done.returncode != 0:
                    raise Failure(f"{program} on {name}: {done.stderr.strip() or 'failed'}")
                tries.append([float(word) for word in done.stdout.split()[1:]])
            figures[program] = [statistics.median(column) for column in zip(*tries)]
        insert, cancel, fire = figures["timers"]
        lines.append(f"  ferry {name}: nop in batches of 256 {figures['nop'][0]:.0f} ns; a million "
                     f"timers, insert {insert:.0f}, cancel {cancel:.0f}, fire {fire:.0f} ns each; "
                     f"{1e3 / figures['post'][0]:.1f} million posts/s from another thread")
    return lines


def run(build, full):
    began = time.monotonic()
    progress = Progress()
    backends, refused = usable_backends(build)
    print(machine())
    print(f"Ferry's backends here: {', '.join(backends) or 'none'}"
          + "".join(f"; no {text}" for text in refused))
    if not backends:
        raise Failure("there is nothing to measure")
    if os.environ.get("FERRY_DISABLE"):
        print(f"FERRY_DISABLE={os.environ['FERRY_DISABLE']}: not what Ferry can do")
    os.makedirs(f"{build}/tmp", exist_ok=True)
    try:
        lines, goals, notes = measure_echo(build, backends, full, progress)
        copy_lines, copy_goals = measure_copy(build, backends, full, progress)
        http_lines, http_goals = measure_http(build, backends, full, progress)
        idle_goals = measure_idle(build, backends, progress)
        read_goals = measure_reads(build, backends, progress)
        mode_goals = measure_modes(build, backends, progress) if full else []
        parts = measure_parts(build, backends, progress) if full else []
    finally:
        progress.end()
        if os.path.isdir(f"{build}/tmp"):
            shutil.rmtree(f"{build}/tmp", ignore_errors=True)
    print()
    print("\n".join([report.head()] + lines + copy_lines + http_lines))
    if parts:
        print("\nparts, median of 7 runs\n" + "\n".join(parts))
    print("\ngoals (the lower and upper quartile in brackets)")
    print("\n".join(goals + mode_goals + copy_goals + http_goals + idle_goals + read_goals
                    + notes))
    print(f"every byte was compared; it took {time.monotonic() - began:.0f} s")


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    arguments = sys.argv[1:]
    full = "--full" in arguments
    signal.signal(signal.SIGTERM, interrupt)
    try:
        run(arguments[0], full)
    except Failure as failure:
        print(f"bench/run: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
