"""docs/examples/http_trials.py: what http-server must bear, and must not give away"""
import ctypes
import os
import resource
import signal
import socket
import struct

from harness import Server, expect, path, write
from http_client import (ANSWER_BYTES, MANY_BYTES, Client, ask, curl, digest, expect_alive,
                         expect_status, put, request, root, serve, url, wait_for)


# ---- What is not to be had -----------------------------------------------------------------


def http_stays_beneath_its_root():
    secret = b"a secret"
    outside = write("secret", secret)
    os.mkdir(path("outside"))
    write("outside/secret", secret)
    write("root.secret", secret)
    put("sub/inside", b"inside")
    for name, target in (("absolute", outside), ("relative", "../secret"),
                         ("sub/relative", "../../secret"), ("directory", path("outside")),
                         ("directory2", "../outside"), ("up", ".."), ("slash", "/"),
                         ("proc", "/proc/self"), ("loop", "loop"), ("ping", "pong"),
                         ("pong", "ping"), ("self", root())):
        os.symlink(target, root(name))
    ups = ("../", "%2e%2e/", "..%2f", "%2e.%2F", ".%2e/", "sub/../../")
    targets = [way + "secret" for up in ups
               for way in ("/" + up, "/" + up * 2, "/" + up * 20, "//" + up, "/sub/../" + up)]
    targets += ["/.." + path("secret"), "/%2f" + outside[1:], "/" + outside, "/%2e%2e/root.secret",
                "/../root.secret", "/../outside/secret", "/..", "/../", "/%2e%2e", "/sub/../../",
                "/absolute", "/relative", "/sub/relative", "/directory/secret", "/directory/",
                "/directory", "/directory2/secret", "/directory2/", "/up/secret", "/up/", "/slash/",
                "/slash/" + outside, "/proc/", "/proc/root" + outside, "/proc/cwd/", "/proc/fd/0",
                "/loop", "/ping/x", "/self/sub/inside", "/..\\secret", "/..%5csecret",
                "/%c0%ae%c0%ae/secret", "/%252e%252e/secret", "http://x/../secret", "/.../secret",
                "/..;/secret", "/sub/..%00/secret"]
    with serve() as server:
        for target in targets:
            answer = ask(server, target)
            expect_status(answer, 400, 403, 404)
            expect(secret not in answer.body, f"{target} gives it away")
        expect(curl("--path-as-is", "-o", path("got"), "-w", "%{http_code}",
                    url(server, "/../secret")) == b"403", "curl got something")
    if os.path.isdir("/proc/self"):  # where links need no name to lead anywhere
        with Server("http-server", "/proc/self") as server:
            for target in ("/cwd/", "/root/", "/root" + outside, "/exe", "/fd/0", "/fd/1"):
                expect_status(ask(server, target), 403)
            expect_status(ask(server, "/status"), 200)


def http_follows_links_within():
    put("sub/file", b"inside")
    os.symlink("sub/file", root("link"))
    os.symlink("sub", root("directory"))
    os.symlink("../link", root("sub/chain"))
    os.symlink("nowhere", root("dangling"))
    with serve() as server, Client(server) as client:
        for target in ("/link", "/directory/file", "/sub/chain", "/directory/chain"):
            expect(client.ask(target).body == b"inside", f"does not follow {target}")
        expect_status(client.ask("/dangling"), 404)


def obey_permissions():
    """The superuser too: what is executed has no CAP_DAC_OVERRIDE and no CAP_DAC_READ_SEARCH."""
    for capability in (1, 2):
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) != 0 and os.getuid() == 0:
            raise OSError("cannot give up a capability")


def reset_after(server, data):
    with Client(server) as client:
        client.send(data)
        linger = struct.pack("ii", 1, 0)  # so that its end is a reset
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def http_serves_nothing_but_files():
    put("denied", b"secret")
    os.chmod(root("denied"), 0)
    put("closed/file", b"secret")
    os.chmod(root("closed"), 0)
    os.mkfifo(root("fifo"))
    expected = {"/denied": [403], "/closed/": [403], "/closed/file": [403], "/socket": [403],
                "/fifo": [403, 503], "/device": [403]}
    try:
        os.mknod(root("device"), 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        del expected["/device"]  # that takes a superuser
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(root())  # the path may be longer than the address of a socket takes
        listener.bind("socket")
        os.chdir("/")
        listener.listen()
        with serve(preexec_fn=obey_permissions) as server:
            clients = {target: Client(server) for target in expected}
            for target, client in clients.items():
                client.send(request(target))
            reset_after(server, request("/fifo"))
            expect_alive(server)  # while the FIFO is waited for
            for target, client in clients.items():
                answer = client.answer()
                expect(answer.status in expected[target], f"{target}: {answer.status}")
                client.close()
            writer = os.open(root("fifo"), os.O_RDWR)
            os.write(writer, b"secret")
            wait_for(lambda: ask(server, "/fifo").status == 403)
            expect(os.read(writer, 100) == b"secret", "has read from the FIFO")
            os.close(writer)
    os.chmod(root("closed"), 0o700)  # so that it can be removed


# ---- Files that change ---------------------------------------------------------------------


def http_sees_changes():
    """Each answer is one of the two files, whole; and the second comes soon."""
    old, new = os.urandom(300000), os.urandom(5000)
    put("file", old)
    with serve() as server, Client(server) as client:
        tag = client.ask("/file")["etag"]
        os.replace(put("file.new", new), root("file"))

        def is_new():
            answer = client.ask("/file")
            expect(answer.body in (old, new), "neither the old nor the new file")
            expect((answer["etag"] == tag) == (answer.body == old), "a tag of another file")
            return answer.body == new

        wait_for(is_new)
        os.unlink(root("file"))
        wait_for(lambda: client.ask("/file").status == 404)
        put("file", old)
        wait_for(lambda: client.ask("/file").status == 200)
        expect(client.ask("/file").body == old, "not what is there now")
        for size in (70, 5000, 60, 100000, 200):  # other bytes, while what is known of it is old
            data = os.urandom(size)
            put("file", data)
            length, body = ask_in_part(server, "/file")
            expect(data.startswith(body), "bytes that are not in the file")
            expect(len(body) == length or length > ANSWER_BYTES, "a small file came in part")
            wait_for(lambda: ask_in_part(server, "/file") == (size, data))


def ask_in_part(server, target):
    """How long the body should be, and what came of it before the connection ended."""
    with Client(server) as client:
        client.send(request(target))
        length = client.head().length()
        return length, client.stream.read(length)


def http_ends_what_was_truncated():
    size = MANY_BYTES
    with serve() as server:
        for keep in (0, 100000, size // 2, size - 1):
            with open(put("file", b""), "wb") as file:
                file.truncate(size)
            wait_for(lambda: ask(server, "/file", method="HEAD").length() == size)
            with Client(server, receive_bytes=8192) as client:
                client.send(request("/file") + request("/file"))
                expect(client.head().length() == size, "not all of it")
                os.truncate(root("file"), keep)
                got = len(client.stream.read())
                expect(got < size, f"{got} bytes of a file that had only {keep}")
            expect(len(ask(server, "/file").body) == keep, "does not know its new size")
        expect_alive(server)


def http_sends_on_what_was_removed():
    """A file that was removed or has grown is sent as it was promised."""
    data = os.urandom(MANY_BYTES)
    put("removed", data)
    put("grown", data)
    with serve() as server:
        for name in ("removed", "grown"):
            with Client(server, receive_bytes=65536) as client:
                client.send(request("/" + name) + request("/alive"))
                answer = client.head()
                if name == "removed":
                    os.unlink(root(name))
                else:
                    with open(root(name), "ab") as file:
                        file.write(b"more")
                expect(answer.length() == len(data), "another length")
                expect(digest(client.exactly(answer.length())) == digest(data), "other bytes")
                put("alive", b"alive")
                expect(client.answer().status in (200, 404), "lost its place")
        wait_for(lambda: ask(server, "/removed").status == 404)
        wait_for(lambda: ask(server, "/grown").body == data + b"more")


# ---- Clients that are not nice -------------------------------------------------------------


def http_refuses():
    put("file", b"text")
    cases = [
        ([400], request("/file", host=None)),
        ([400], request("/file", "Host: y")),
        ([400], request("/file", host="Host: a b")),
        ([400], request("/file", host="Host: a/b")),
        ([400], request("/file", "Host: y", version="1.0")),
        ([400], b"GET /file HTTP/1.1\nHost: x\n\n"),
        ([400], b"GET /file HTTP/1.1\r\nHost: x\n\r\n"),
        ([400], b"GET /file HTTP/1.1\r\nHost: x\r\nA: b\n\nGET /file HTTP/1.1\r\n\r\n"),
        ([400], b"GET /file HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 5\r\n\r\n"),
        ([400], b"GET /file HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n"),
        ([400], b"GET /fi\0le HTTP/1.1\r\nHost: x\r\n\r\n"),
        ([400], request("/file", "A : b")),
        ([400], request("/file", "A b: c")),
        ([400], request("/file", "A(): c")),
        ([400], request("/file", "A\x80: c")),
        ([400], request("/file", " folded: value")),
        ([400], request("/file", "no colon")),
        ([400], request("/file", ": no name")),
        ([400], request("/a file")),
        ([400], request("/file ")),
        ([400], request(" /file")),
        ([400], request("/fi\tle")),
        ([400], request("/fi\x7fle")),
        ([400], request("")),
        ([400], b"GET /file\r\n\r\n"),
        ([400], b"GET  HTTP/1.1\r\nHost: x\r\n\r\n"),
        ([400], b"/file HTTP/1.1\r\nHost: x\r\n\r\n"),
        ([400], b"GET /file FTP/1.1\r\nHost: x\r\n\r\n"),
        ([400], b"GET /file HTTP/1.10\r\nHost: x\r\n\r\n"),
        ([400], b"GET /file HTTP/1.x\r\nHost: x\r\n\r\n"),
        ([400], b"GET /file http/1.1\r\nHost: x\r\n\r\n"),
        ([505], request("/file", version="2.0")),
        ([505], request("/file", version="0.9")),
        ([505], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])),
        ([400], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500) + b"\r\n\r\n"),
        ([431], request("/file", "X: " + "x" * 9000)),
        ([431], request("/file", *["X: y"] * 2000)),
        ([431, 400], os.urandom(100).replace(b"\n", b"") + b"x" * 20000),
        ([405, 501], request("/file", method="DELETE")),
        ([405, 501], request("/file", method="get")),
        ([405, 501], request("/file", method="TRACE")),
        ([405, 501], request("*", method="OPTIONS")),
        ([405, 501], request("x:443", method="CONNECT")),
        ([405, 501], request("/file", "Content-Length: 4", method="POST") + b"text"),
        ([405, 501], request("/file", method="X" * 3000)),
        ([413], request("/file", "Content-Length: 4") + b"text"),
        ([413], request("/file", "Content-Length: -1")),
        ([413], request("/file", "Content-Length: 0, 4") + b"text"),
        ([413], request("/file", "Content-Length: 99999999999999999999") + b"x" * 100000),
        ([413], request("/file", "Content-Length: 0", "Transfer-Encoding: chunked")),
        ([413], request("/file", "Transfer-Encoding: identity", version="1.0")),
    ]
    with serve() as server:
        for statuses, data in cases:
            with Client(server) as client:
                client.send(data + request("/file"))  # what follows is not to be believed
                answer = client.answer("HEAD" if data.startswith(b"HEAD") else "GET")
                expect(answer.status in statuses, f"{data[:70]!r}: {answer.status}")
                expect(answer["connection"] == "close", f"{data[:70]!r}: it goes on")
                expect(answer.status != 405 or answer["allow"] == "GET, HEAD", "does not say what")
                client.expect_end()
        for data in (request("/file", host="Host:"), request("/file", host="Host: [::1]:80"),
                     request("/file", "Content-Length: 0"), b"\r\n\r\n" + request("/file"),
                     request("/file", "Expect: 100-continue", "Empty:", "X:y", "Y: \x80\xff\ty "),
                     request("/file", host="hOST:x"), b"GET /file HTTP/1.0\r\n\r\n"):
            with Client(server) as client:
                client.send(data)
                expect(client.answer().body == b"text", f"refuses {data!r}")


def http_bears_those_who_leave():
    put("small", b"small")
    put("large", b"x" * MANY_BYTES)
    large, small = request("/large"), request("/small")
    with serve() as server:
        for data in (b"", b"G", b"GET /small HTTP/1.1\r\nHo", b"\r\n", small, small * 50, large,
                     large * 3, request("/"), request("/large", method="HEAD")):
            for wait in (False, True):
                with Client(server) as client:  # closed, with what comes unread: reset
                    client.send(data)
                    if wait and b"\r\n\r\n" in data:
                        client.stream.readline()
        for data, count in ((small, 1), (small * 100, 100), (b"", 0), (small + small[:10], 1)):
            with Client(server) as client:  # says that it sends no more, and still reads
                client.send(data)
                client.socket.shutdown(socket.SHUT_WR)
                for _ in range(count):
                    expect(client.answer().body == b"small", "half closed")
                client.expect_end()
        with Client(server) as client:
            client.send(large)
            client.socket.shutdown(socket.SHUT_WR)
            expect(len(client.answer().body) == MANY_BYTES, "half closed")
        expect_alive(server)


def http_serves_beside_a_crowd():
    """500 that are silent, half of them in the midst of a request; all are served in the end."""
    put("file", os.urandom(100000))
    whole = request("/file")
    with serve() as server:
        crowd = [Client(server) for _ in range(500)]
        for number, client in enumerate(crowd):
            client.send(whole[:number % 2 * 10])
        for _ in range(3):
            expect(len(curl(url(server, "/file"))) == 100000, "cut short")
        for number, client in enumerate(crowd):
            client.send(whole[number % 2 * 10:])
        for client in crowd:
            expect(len(client.answer().body) == 100000, "cut short")
            client.close()


def http_serves_beside_those_who_never_read():
    """600 that send more and more requests, and read nothing: others still get their answers."""
    with open(put("large", b""), "wb") as file:
        file.truncate(MANY_BYTES)
    put("small", b"small")
    with serve() as server:
        crowd = []
        for _ in range(600):
            client = Client(server, receive_bytes=2048)
            client.send(request("/large") + request("/small") * 200)
            crowd.append(client)
        for _ in range(3):
            output = curl("--max-time", "60", url(server, "/small"))  # less than their deadline
            expect(output == b"small", f"{output!r}")
        for client in crowd:
            client.close()
        expect_alive(server)


def http_lets_go():
    """No descriptor stays open, whatever became of the request."""
    put("large", b"x" * MANY_BYTES)
    put("directory/file", b"")
    with serve() as server:
        where = f"/proc/{server.process.pid}/fd"
        if not os.path.isdir(where):
            return
        few = len(os.listdir(where)) + 5  # the loop opens some of its own
        for number in range(50):
            put(f"small/{number}", b"small")
            for target in (f"/small/{number}", "/directory/", "/directory", "/nowhere"):
                for method in ("GET", "HEAD"):
                    ask(server, target, method=method)
            reset_after(server, request("/directory/") + request("/large"))
        wait_for(lambda: len(os.listdir(where)) <= few)


def limit_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))


def http_survives_without_descriptors():
    put("small", b"small")
    with serve(preexec_fn=limit_descriptors) as server:
        crowd = [Client(server) for _ in range(100)]
        for client in crowd:
            client.send(request("/small"))
        expect_status(crowd[0].answer(), 200, 503)
        for client in crowd[:90]:
            client.close()
        for client in crowd[90:]:
            expect_status(client.answer(), 200, 503)
            client.close()
        wait_for(lambda: ask(server, "/small").status == 200)
        expect_alive(server)


def http_stops():
    for number in range(400):
        put(f"many/{number:0200}", b"")
    put("large", b"x" * MANY_BYTES)
    put("small", b"small")
    os.mkfifo(root("fifo"))
    for stop in (signal.SIGINT, signal.SIGTERM):
        with serve() as server:
            clients = []
            for data in (b"", b"GET /", request("/large"), request("/many/") * 200,
                         request("/small") * 200, request("/fifo"), request("/large") * 50) * 5:
                client = Client(server, receive_bytes=4096)
                client.send(data)
                clients.append(client)
            clients[0].send(request("/small"))
            expect(clients[0].answer().body == b"small", "is not served any more")
            expect_alive(server)
            server.stop(stop)
            clients[0].expect_end()
            for client in clients:
                client.close()
            server.stop = lambda: None  # it has ended already


CHECKS = [http_stays_beneath_its_root, http_follows_links_within, http_serves_nothing_but_files,
          http_sees_changes, http_ends_what_was_truncated, http_sends_on_what_was_removed,
          http_refuses, http_bears_those_who_leave, http_serves_beside_a_crowd,
          http_serves_beside_those_who_never_read, http_lets_go,
          http_survives_without_descriptors, http_stops]
