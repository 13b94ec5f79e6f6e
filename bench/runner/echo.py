"""The TCP echo: all servers are alive at once, the load generator turns to one after the other.

Server and generator take turns on one core: the generator sends on all its connections and sleeps,
the server answers them all and sleeps. So every server meets the same batches, and its CPU time is
its cost. On two cores they work at the same time, and a message costs about the same on either
side: a server that is cheaper than the generator then does not rest, it works in smaller batches,
and all servers seem to cost what the generator costs. A case with two_cores shows that for once:
latency and throughput there are nearer to life.
"""

import os
import random
import re
import signal
import socket
import subprocess
import time

from system import Failure, cpu_times, cores, start

# The part of a slice that other work may have taken of a core before the slice does not count.
DISTURBED = 0.05
# For the count of instructions. The difference of the two is what is counted; the start, the
# connections and the end are in both.
COUNTED_FEW, COUNTED_MANY = 2000, 12000
PATIENCE_S = 60


class Case:
    def __init__(self, connections, message_bytes, depth=1, two_cores=False):
        self.connections = connections
        self.message_bytes = message_bytes
        self.depth = depth
        self.two_cores = two_cores

    def server_core(self):
        return cores()[0]

    def load_core(self):
        return cores()[1] if self.two_cores else cores()[0]

    def name(self):
        size = self.message_bytes
        text = f"{size} B" if size < 1024 else f"{size // 1024} KiB"
        text = f"echo {text} x {self.connections}"
        text += f", {self.depth} in flight" if self.depth > 1 else ""
        return text + (", on two cores" if self.two_cores else "")


class Server:
    def __init__(self, name, command, case):
        self.name = name
        self.process = start(command + ["--connections", str(case.connections)],
                             {case.server_core()}, takes_turns=not case.two_cores,
                             stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"port (\d+)\n", line)
        if not found:
            self.process.kill()
            self.process.wait()
            raise Failure(f"{name} does not serve")
        self.port = int(found.group(1))

    def stop(self):
        """Ends it as its users would; one that then does not end well has failed. A connection
        wakes it: valgrind holds back signals while a program waits in io_uring_enter()."""
        deadline = time.monotonic() + PATIENCE_S
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                pass
            time.sleep(0.02)
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdout.close()
        return self.process.wait()


class Load:
    """The load generator. It checks every byte that comes back, and ends if one is wrong."""

    def __init__(self, build, case):
        self.case = case
        self.process = start([f"{build}/bench/load"], {case.load_core()},
                             takes_turns=not case.two_cores, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        words = self.process.stdout.readline().split()
        if not words:
            raise Failure(f"the load generator gave up at: {command}")
        return [int(word) for word in words[1:]]

    def open(self, port):
        case = self.case
        return self.ask(f"open {port} {case.connections} {case.message_bytes} {case.depth}")[0]

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(PATIENCE_S)


class Slice:
    """What one server did in one slice."""

    def __init__(self, load, target, server, milliseconds):
        server_before, load_before = cpu_times(server.process.pid), cpu_times(load.process.pid)
        self.messages, self.wall_ns, self.p50_ns, self.p99_ns = load.ask(
            f"slice {target} {milliseconds}")
        # The server may still be on its way to sleep.
        time.sleep(0.002)
        server_after, load_after = cpu_times(server.process.pid), cpu_times(load.process.pid)
        cpu_ns = server_after[0] - server_before[0]
        if load.case.two_cores:
            lost_ns = max(server_after[1] - server_before[1], load_after[1] - load_before[1])
        else:
            lost_ns = self.wall_ns - cpu_ns - (load_after[0] - load_before[0])
        self.cpu_ns = cpu_ns / self.messages
        self.rate = self.messages * 1e9 / self.wall_ns
        self.disturbed = lost_ns > DISTURBED * self.wall_ns


def measure(build, commands, case, rounds, milliseconds, progress):
    """Rounds of slices: a list of {name: Slice}, and how many rounds were dropped because other
    work had disturbed them. commands: {name: command of its server}."""
    kept, dropped = [], 0
    load, servers = Load(build, case), []
    try:
        for name, command in commands.items():
            servers.append(Server(name, command, case))
        targets = {server: load.open(server.port) for server in servers}
        for server in servers:
            Slice(load, targets[server], server, 50)
        while len(kept) < rounds:
            progress.show(case.name(), f"round {len(kept) + 1} of {rounds}")
            random.shuffle(servers)
            results = {s.name: Slice(load, targets[s], s, milliseconds) for s in servers}
            # On a machine that is never quiet, disturbed rounds are better than none.
            if dropped < rounds and any(result.disturbed for result in results.values()):
                dropped += 1
            else:
                kept.append(results)
    finally:
        load.stop()
        failed = [server.name for server in servers if server.stop() != 0]
    if failed:
        raise Failure(f"did not end well: {', '.join(failed)}")
    return kept, dropped


def instructions(build, command, case, scratch):
    """User-space instructions per message, by callgrind."""
    totals = []
    for messages in COUNTED_FEW, COUNTED_MANY:
        out = f"{scratch}/callgrind.out"
        load = Load(build, case)
        server = None
        try:
            server = Server(command[0], ["valgrind", "-q", "--tool=callgrind",
                                         f"--callgrind-out-file={out}"] + command, case)
            target = load.open(server.port)
            load.ask(f"count {target} {messages}")
        finally:
            load.stop()
            status = server.stop() if server else 0
        if status != 0:
            raise Failure(f"{command[0]} did not end well under callgrind")
        totals.append(callgrind_total(out))
        os.unlink(out)
    return (totals[1] - totals[0]) / (COUNTED_MANY - COUNTED_FEW)


def callgrind_total(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        found = re.findall(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE)
    if not found:
        raise Failure("callgrind has counted nothing")
    return int(found[-1])
