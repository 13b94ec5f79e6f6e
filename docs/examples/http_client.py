"""docs/examples/http_client.py: http-server, its directory, and its clients

A client that speaks HTTP by hand, and is strict about what comes, and curl; for http_checks.py and
http_trials.py.
"""
import hashlib
import os
import re
import socket
import subprocess
import time

from harness import LIMIT_S, Failure, Server, expect, path, write

ANSWER_BYTES = 16384  # EXCHANGE_BYTES: so long may head and small file be, which go out together
MANY_BYTES = 32 << 20  # more than the system takes in for a client that does not read


def root(name=""):
    return path("root" + ("/" + name if name else ""))


def put(name, data):
    os.makedirs(os.path.dirname(root(name)), exist_ok=True)
    return write("root/" + name, data)


def serve(**options):
    os.makedirs(root(), exist_ok=True)
    return Server("http-server", root(), **options)


def url(server, target):
    return f"http://{server.text()}{target}"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def wait_for(condition):
    end = time.monotonic() + LIMIT_S
    while not condition():
        expect(time.monotonic() < end, "what was changed is never seen")
        time.sleep(0.02)


def expect_status(answer, *statuses):
    expect(answer.status in statuses, f"{answer.status} where {statuses} was expected")


def expect_alive(server):
    put("alive", b"alive")
    expect(curl(url(server, "/alive")) == b"alive", "serves no more")


class Answer:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 (\d{3}) \S.*", lines[0])
        expect(found, f"a status line {lines[0]!r}")
        self.status = int(found[1])
        self.head_len = len(head)
        self.fields = {}
        for line in lines[1:-2]:
            found = re.fullmatch(r"([!-9;-~]+): (.*\S)", line)
            expect(found and "\n" not in line, f"a field {line!r}")
            expect(found[1].lower() not in self.fields, f"a field twice: {line!r}")
            self.fields[found[1].lower()] = found[2]
        self.body = b""

    def __getitem__(self, name):
        return self.fields.get(name)

    def length(self):
        return int(self.fields["content-length"])


class Client:
    """A connection. receive_bytes: how little of what is not read the system takes in."""

    def __init__(self, server, receive_bytes=None):
        self.socket = socket.socket()
        self.socket.settimeout(LIMIT_S)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(server.address)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, target, *fields, method="GET"):
        self.send(request(target, *fields, method=method))
        return self.answer(method)

    def head(self):
        """All but the body."""
        lines = []
        while not lines or lines[-1] != b"\r\n":
            lines.append(self.stream.readline())
            expect(lines[-1].endswith(b"\n"), f"the connection ended after {b''.join(lines)!r}")
        return Answer(b"".join(lines))

    def answer(self, method="GET"):
        answer = self.head()
        if method == "HEAD" or answer.status == 304:
            return answer
        if answer["transfer-encoding"] == "chunked":
            answer.body = self.chunks()
        elif answer["content-length"] is not None:
            answer.body = self.exactly(answer.length())
        else:
            expect(answer["connection"] == "close", f"a body without an end: {answer.fields}")
            answer.body = self.stream.read()
        return answer

    def exactly(self, length):
        data = self.stream.read(length)
        expect(len(data) == length, f"the connection ended after {len(data)} of {length} bytes")
        return data

    def chunks(self):
        pieces = []
        while not pieces or pieces[-1]:
            line = self.stream.readline()
            expect(re.fullmatch(rb"[0-9a-fA-F]+\r\n", line), f"a chunk's head {line!r}")
            pieces.append(self.exactly(int(line, 16)))
            expect(self.exactly(2) == b"\r\n", "a chunk's end is not where it should be")
        return b"".join(pieces)

    def expect_end(self):
        """Nothing more comes, and the connection was closed in an orderly way."""
        try:
            rest = self.stream.read()
        except ConnectionResetError:
            raise Failure("the connection was reset")
        expect(rest == b"", f"more came: {rest[:200]!r}")


def request(target, *fields, method="GET", version="1.1", host="Host: x"):
    lines = [f"{method} {target} HTTP/{version}", *([host] if host else []), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def ask(server, target, *fields, method="GET"):
    """One request, on a connection of its own."""
    with Client(server) as client:
        return client.ask(target, *fields, method=method)


def curl_start(*arguments):
    command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", str(LIMIT_S), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def curl_finish(process):
    output, complaints = process.communicate()
    expect(process.returncode == 0, f"curl ended with {process.returncode}: {complaints!r}")
    return output


def curl(*arguments):
    return curl_finish(curl_start(*arguments))
