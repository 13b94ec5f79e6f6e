"""docs/examples/harness.py: what the checks of the examples have in common, see run"""
import os
import re
import signal
import socket
import subprocess
import threading

LIMIT_S = 120  # for anything at all: the machine may be slow, the examples must not hang

WINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/wine/wine64-run")

programs = None  # the directory in which the examples were built
scratch = None   # a fresh one for each check


class Failure(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failure(text)


def is_windows():
    return os.path.exists(os.path.join(programs, "hello.exe"))


def start(name, *arguments, **options):
    command = [os.path.join(programs, name), *arguments]
    if is_windows():
        command[0] += ".exe"
        command.insert(0, WINE)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def finish(process, given=None):
    """What it printed, and its exit status. Kills it if it hangs."""
    try:
        output, _ = process.communicate(given, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise Failure(f"did not end within {LIMIT_S} s; it said: {output!r}")
    text = output.decode(errors="replace")
    return text.replace("\r\n", "\n") if is_windows() else text, process.returncode


def run(name, *arguments):
    return finish(start(name, *arguments, stdin=subprocess.DEVNULL))


def path(name):
    return os.path.join(scratch, name)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data)
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


class Server:
    """A server on a free port of the loopback, stopped at the end as Ctrl-C would."""

    def __init__(self, name, *arguments, **options):
        self.process = start(name, "127.0.0.1:0", *arguments, stdin=subprocess.DEVNULL, **options)
        watch = threading.Timer(LIMIT_S, self.process.kill)
        watch.start()
        first = self.process.stdout.readline().decode()
        watch.cancel()
        found = re.search(r" on (127\.0\.0\.1):(\d+)$", first.strip())
        if not found:
            self.process.kill()
            self.process.wait()
            raise Failure(f"said {first!r} instead of where it listens")
        self.address = (found[1], int(found[2]))

    def connect(self):
        return socket.create_connection(self.address, LIMIT_S)

    def text(self):
        return "%s:%d" % self.address

    def stop(self, number=signal.SIGINT):
        if is_windows():  # where Ctrl-C is a matter of consoles: it is ended from outside
            self.process.kill()
            output, _ = finish(self.process)
            expect(output == "", f"said {output!r}")
            return
        self.process.send_signal(number)
        output, status = finish(self.process)
        expect(status == 0 and output == "", f"ended with {status} and said {output!r}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        elif self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def everything(connection):
    """All bytes until the peer closes."""
    pieces = []
    while True:
        piece = connection.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
