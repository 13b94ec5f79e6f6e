"""The copy of a file: one program after the other copies the same cached file to a new one."""

import os
import random
import re
import shutil
import subprocess
import time

from echo import callgrind_total
from system import Failure, cores, environment, settle

FILE_BYTES = 256 << 20
# For the count of instructions, of which the difference counts.
COUNTED_FEW, COUNTED_MANY = 16 << 20, 112 << 20
MIB = 1 << 20


class Copy:
    """What one program did in one round."""

    def __init__(self, wall_s, cpu_s, p50_ns, p99_ns):
        self.rate = FILE_BYTES / wall_s
        self.wall_ns = wall_s * 1e9
        self.cpu_ns = cpu_s * 1e9 / (FILE_BYTES / MIB)
        self.p50_ns = p50_ns
        self.p99_ns = p99_ns


class Files:
    """The file that is copied, beginnings of it, and the room for copies: on the disk, since a file
    system in memory is another matter. Gone after the with."""

    def __init__(self, folder):
        self.folder = folder
        self.source = f"{folder}/source"
        self.few = f"{folder}/few"
        self.many = f"{folder}/many"
        self.target = f"{folder}/target"

    def __enter__(self):
        os.makedirs(self.folder, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        # The source, its two beginnings, a copy, and as much again so as not to fill the disk.
        if free < 5 * FILE_BYTES:
            raise Failure(f"{self.folder} has {free // MIB} MiB free, "
                          f"{5 * FILE_BYTES // MIB} MiB are needed")
        data = random.Random(1)
        with open(self.source, "wb") as source, open(self.few, "wb") as few, \
                open(self.many, "wb") as many:
            for offset in range(0, FILE_BYTES, MIB):
                part = data.randbytes(MIB)
                source.write(part)
                if offset < COUNTED_FEW:
                    few.write(part)
                if offset < COUNTED_MANY:
                    many.write(part)
        os.sync()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def drop_target(self):
        if os.path.exists(self.target):
            os.unlink(self.target)

    def copy(self, name, command, check):
        """Copies once, to a new file, with nothing left to be written from before."""
        self.drop_target()
        os.sync()
        out = f"{self.folder}/out"
        with open(out, "w+", encoding="ascii") as file:
            began = time.monotonic()
            process = subprocess.Popen(command + [self.source, self.target], stdout=file,
                                       stdin=subprocess.DEVNULL, env=environment(),
                                       preexec_fn=lambda: settle(set(cores()), False))
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            file.seek(0)
            found = re.search(r"^blocks \d+ (\d+) (\d+)$", file.read(), re.MULTILINE)
        if process.returncode != 0:
            raise Failure(f"{name} could not copy")
        if check and subprocess.run(["cmp", self.source, self.target], check=False).returncode != 0:
            raise Failure(f"{name}: the copy differs from the source")
        p50_ns, p99_ns = (int(found.group(1)), int(found.group(2))) if found else (None, None)
        return Copy(wall_s, usage.ru_utime + usage.ru_stime, p50_ns, p99_ns)

    def instructions(self, command):
        """User-space instructions per MiB, by callgrind."""
        totals = []
        out = f"{self.folder}/callgrind.out"
        for source in self.few, self.many:
            self.drop_target()
            done = subprocess.run(["valgrind", "-q", "--tool=callgrind",
                                   f"--callgrind-out-file={out}"] + command + [source, self.target],
                                  stdout=subprocess.DEVNULL, env=environment(), check=False)
            if done.returncode != 0:
                raise Failure(f"{command[0]} could not copy under callgrind")
            totals.append(callgrind_total(out))
        return (totals[1] - totals[0]) / ((COUNTED_MANY - COUNTED_FEW) / MIB)


def measure(files, commands, rounds, progress):
    """Rounds of copies, a list of {name: Copy}. The first copy of each program is compared with the
    source byte for byte, and does not count."""
    step = f"copy {FILE_BYTES // MIB} MiB"
    for name, command in commands.items():
        progress.show(step, f"comparing what {name} copies")
        files.copy(name, command, check=True)
    kept = []
    while len(kept) < rounds:
        progress.show(step, f"round {len(kept) + 1} of {rounds}")
        order = list(commands.items())
        random.shuffle(order)
        kept.append({name: files.copy(name, command, check=False) for name, command in order})
    files.drop_target()
    return kept
