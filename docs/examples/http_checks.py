"""docs/examples/http_checks.py: what http-server serves"""
import email.utils
import html.parser
import os
import socket
import time
import urllib.parse

from harness import expect, path
from http_client import (ANSWER_BYTES, Client, ask, curl, curl_finish, curl_start, digest,
                         expect_status, put, request, root, serve, url, wait_for)


# ---- Files ---------------------------------------------------------------------------------


def http_serves_files():
    """All sizes around where the way changes, to several clients at once."""
    with serve() as server:
        put("16000", os.urandom(16000))
        small_max = ANSWER_BYTES - ask(server, "/16000").head_len
        sizes = [0, 1, 2, 1024, small_max - 1, small_max, small_max + 1, ANSWER_BYTES - 1,
                 ANSWER_BYTES, ANSWER_BYTES + 1, 1 << 20, (1 << 20) + 1, 5 << 20]
        hashes = {}
        for size in sizes:
            data = os.urandom(size)
            hashes[str(size)] = digest(data)
            put(str(size), data)
        clients = []
        for number in range(4):
            os.mkdir(path(f"client{number}"))
            fetches = [word for name in hashes for word in
                       ("-o", path(f"client{number}/{name}"), url(server, "/" + name))]
            parallel = ["-Z", "--parallel-immediate"] if number % 2 else []
            clients.append(curl_start("-f", *parallel, *fetches))
        for client in clients:
            curl_finish(client)
        for number in range(4):
            for name, value in hashes.items():
                with open(path(f"client{number}/{name}"), "rb") as file:
                    expect(digest(file.read()) == value, f"{name} bytes came wrong")


def http_keeps_connections():
    put("small", b"small")
    put("large", os.urandom(1 << 20))
    with serve() as server:
        targets = ["/small", "/large", "/", "/nowhere", "/small"]
        fetches = [word for target in targets for word in ("-o", "/dev/null", url(server, target))]
        told = ["-w", "%{http_code} %{num_connects}\n"]
        output = curl(*told, *fetches).split(b"\n")
        expect(output == [b"200 1", b"200 0", b"200 0", b"404 0", b"200 0", b""], f"{output}")
        output = curl(*told, "-H", "Connection: close", *fetches).split(b"\n")
        expect(output == [b"200 1", b"200 1", b"200 1", b"404 1", b"200 1", b""], f"{output}")


def http_answers_head():
    put("small", b"small")
    put("large", b"x" * 100000)
    os.mkdir(root("directory"))
    with serve() as server, Client(server) as client:
        for target in ("/small", "/large", "/directory", "/directory/", "/nowhere"):
            whole = client.ask(target)
            head = client.ask(target, method="HEAD")
            for answer in (whole, head):
                answer.fields.pop("date")  # a second may have passed
            expect(head.status == whole.status and head.fields == whole.fields,
                   f"{target}: {head.status} {head.fields}, {whole.status} {whole.fields}")
        expect(client.ask("/small").body == b"small", "a body went with an answer to HEAD")
        answer = client.ask("/small", "Range: bytes=0-1", method="HEAD")
        expect(answer.status == 200 and answer.length() == 5, "a range of a HEAD")


def http_sends_ranges():
    data = os.urandom(300000)
    put("file", data)
    put("empty", b"")
    size = len(data)
    with serve() as server, Client(server) as client:
        for text, first, end in (("0-0", 0, 1), ("1-4", 1, 5), ("100-", 100, size),
                                 ("-7", size - 7, size), (f"-{size + 1}", 0, size),
                                 (f"{size - 1}-", size - 1, size), (f"5-{size - 1}", 5, size),
                                 (f"5-{size}", 5, size), (f"5-{10 ** 30}", 5, size),
                                 ("100000-199999", 100000, 200000)):
            answer = client.ask("/file", f"Range: bytes={text}")
            expect_status(answer, 206)
            expect(answer.body == data[first:end], f"{text}: other bytes")
            expect(answer["content-range"] == f"bytes {first}-{end - 1}/{size}",
                   f"{text}: {answer['content-range']}")
        for text in (f"{size}-", f"{size}-{size + 5}", "-0", f"{10 ** 30}-"):
            answer = client.ask("/file", f"Range: bytes={text}")
            expect_status(answer, 416)
            expect(answer["content-range"] == f"bytes */{size}", f"{answer['content-range']}")
        expect_status(client.ask("/empty", "Range: bytes=0-"), 416)
        for text in ("bytes=0-1,4-5", "bytes=5-4", "bytes=-", "bytes=a-b", "bytes=1-2x", "bytes=",
                     "lines=1-2", "bytes", "bytes=--1", "bytes=+1-2"):
            answer = client.ask("/file", f"Range: {text}")
            expect(answer.status == 200 and answer.body == data, f"{text}: {answer.status}")
        expect(curl("-r", "10-19", url(server, "/file")) == data[10:20], "curl got other bytes")


def http_heeds_conditions():
    put("file", b"0123456789")
    os.utime(root("file"), (1e9, 1e9))
    with serve() as server, Client(server) as client:
        fresh = client.ask("/file")
        tag, date = fresh["etag"], fresh["last-modified"]
        expect(date == "Sun, 09 Sep 2001 01:46:40 GMT", f"modified {date}")
        later, earlier = "Sun, 09 Sep 2001 01:46:41 GMT", "Sun, 09 Sep 2001 01:46:39 GMT"
        part = "Range: bytes=2-3"
        for status, *fields in (
                (304, f"If-None-Match: {tag}"),
                (304, f"If-None-Match: W/{tag}"),
                (304, f'If-None-Match: "a", {tag}, "b"'),
                (304, "If-None-Match: *"),
                (200, 'If-None-Match: "a"'),
                (200, 'If-None-Match: ' + ", ".join(['"a"'] * 500)),
                (200, 'If-None-Match: "a"', f"If-Modified-Since: {date}"),
                (304, f"If-None-Match: {tag}", f"If-Modified-Since: {earlier}"),
                (304, f"If-Modified-Since: {date}"),
                (304, f"If-Modified-Since: {later}"),
                (304, "If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT"),
                (304, "If-Modified-Since: Sun Sep  9 01:46:40 2001"),
                (200, f"If-Modified-Since: {earlier}"),
                (200, "If-Modified-Since: yesterday"),
                (206, part, f"If-Range: {tag}"),
                (206, part, f"If-Range: {date}"),
                (200, part, f"If-Range: W/{tag}"),
                (200, part, 'If-Range: "a"'),
                (200, part, f"If-Range: {later}"),
                (200, part, 'If-Range: "' + "a" * 500 + '"'),
                (304, part, f"If-None-Match: {tag}"),
                (200, f"If-Match: {tag}"),
                (200, f'If-Match: "a", {tag}'),
                (200, "If-Match: *"),
                (206, part, f"If-Match: {tag}"),
                (412, 'If-Match: "a"'),
                (412, f"If-Match: W/{tag}"),
                (412, part, 'If-Match: "a"'),
                (412, 'If-Match: "a"', f"If-None-Match: {tag}"),
                (200, f"If-Match: {tag}", f"If-Unmodified-Since: {earlier}"),
                (200, f"If-Unmodified-Since: {date}"),
                (200, "If-Unmodified-Since: tomorrow"),
                (412, f"If-Unmodified-Since: {earlier}")):
            answer = client.ask("/file", *fields)
            expect(answer.status == status, f"{fields}: {answer.status}")
            body = {200: b"0123456789", 206: b"23", 304: b""}.get(status, answer.body)
            expect(answer.body == body, f"{fields}: {answer.body!r}")
            expect(status == 412 or answer["etag"] == tag, f"{fields}: another tag")
        put("new", b"from the future")
        os.utime(root("new"), (4e9, 4e9))
        answer = client.ask("/new")
        modified, now = (email.utils.mktime_tz(email.utils.parsedate_tz(answer[name]))
                         for name in ("last-modified", "date"))
        expect(modified <= now + 1, f"modified {modified}, after {now}")
        put("file", b"9876543210")
        os.utime(root("file"), (1e9, 1e9 + 1e-3))  # within the same second
        wait_for(lambda: client.ask("/file", f"If-None-Match: {tag}").body == b"9876543210")


# ---- Requests ------------------------------------------------------------------------------


def http_speaks_1_0():
    put("file", b"text")
    with serve() as server:
        for fields in ([], ["Connection: close"], ["Connection: close, keep-alive"]):
            with Client(server) as client:
                client.send(request("/file", *fields, version="1.0", host=None))
                answer = client.answer()
                expect(answer.body == b"text" and answer["connection"] == "close", "answered")
                client.expect_end()
        with Client(server) as client:
            for _ in range(2):
                client.send(request("/file", "Connection: Keep-Alive", version="1.0", host=None))
                answer = client.answer()
                expect(answer.body == b"text" and answer["connection"] == "keep-alive",
                       f"{answer.fields}")
            client.send(request("/", "Connection: keep-alive", version="1.0", host=None))
            answer = client.answer()  # its length is not known before
            expect(answer["transfer-encoding"] is None, "chunks for a client that knows none")
            expect(answer.body.endswith(b"</ul>\n"), f"{answer.body!r}")


def http_answers_pipelined_requests():
    large = os.urandom(200000)
    put("small", b"small")
    put("large", large)
    targets = [("GET", "/small"), ("HEAD", "/large"), ("GET", "/large"), ("GET", "/nowhere"),
               ("GET", "/"), ("HEAD", "/"), ("GET", "/small")] * 40
    with serve() as server, Client(server) as client:
        requests = b"".join(request(target, method=method) for method, target in targets)
        client.send(requests + request("/small", "Connection: close"))
        for method, target in targets + [("GET", "/small")]:
            answer = client.answer(method)
            expect_status(answer, 404 if target == "/nowhere" else 200)
            if method == "GET" and target == "/large":
                expect(answer.body == large, "another body")
            elif method == "GET" and target == "/small":
                expect(answer.body == b"small", "another body")
        client.expect_end()


def http_puts_pieces_together():
    put("small", b"small")
    whole = request("/small", "X: " + "x" * 50) + b"\r\n" + request("/small")
    with serve() as server, Client(server) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in whole:
            client.send(bytes([byte]))
            time.sleep(0.002)  # else they might arrive together
        for _ in range(2):
            expect(client.answer().body == b"small", "byte by byte")
        for at in range(1, len(whole), 7):
            client.send(whole[:at])
            time.sleep(0.01)
            client.send(whole[at:])
            for _ in range(2):
                expect(client.answer().body == b"small", f"in two pieces, the first of {at} bytes")
        long = request("/small", *(["X: " + "x" * 90] * 80))  # longer than a buffer
        client.send(long + long)
        for _ in range(2):
            expect(client.answer().body == b"small", "long requests")


def http_understands_targets():
    put("a file", b"1")
    put("größe", b"2")
    put("sub/file", b"3")
    put("100%", b"4")
    with serve() as server, Client(server) as client:
        for target, body in (
                ("/a%20file", b"1"), ("/%61%20f%69le", b"1"), ("/gr%C3%B6%c3%9fe", b"2"),
                ("/größe".encode().decode("latin-1"), b"2"), ("/100%25", b"4"),
                ("/sub/file?query=/../..", b"3"), ("/sub/file?", b"3"), ("//sub//file", b"3"),
                ("/sub/../sub/./file", b"3"), ("/sub%2ffile", b"3"),
                ("http://example.org/sub/file", b"3"),
                ("HTTP://example.org:8080/sub/file?x", b"3")):
            answer = client.ask(target)
            expect(answer.status == 200 and answer.body == body, f"{target!r}: {answer.status}")
        for target in ("http://example.org", "http://example.org?x", "/?x", "/sub/.."):
            expect_status(client.ask(target), 200, 301)
        for target in ("/nowhere", "/a+file", "/sub/file/", "/sub/file/x", "/" + "x" * 300):
            expect_status(client.ask(target), 404)
        for target, status in (("sub/file", 400), ("*", 400), ("/%", 400), ("/%4", 400),
                               ("/%zz", 400), ("/sub%00/file", 400), ("http:///sub/file", 400),
                               ("/" + "x" * 2000, 414), ("/" + "%41" * 2000, 414)):
            expect_status(ask(server, target), status)
        expect(curl(url(server, "/größe?x")) == b"2", "curl got something else")


# ---- Directories ---------------------------------------------------------------------------

ODD_NAMES = [b"a b", b"<i>", b"a&b", b"&amp;", b'"', b"'", b"a:b", b"100%", b"%41", b"new\nline",
             b"\xff\xfe", "größe".encode(), b"?q", b"#f", b"+", b"\\", b"a;b", b"~",
             b"javascript:x"]


class Links(html.parser.HTMLParser):
    """The links of a page: where they lead to, and what they say."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.is_in_link = False
        self.feed(page.decode("utf-8", "surrogateescape"))
        self.close()

    def handle_starttag(self, tag, attributes):
        expect(tag in ("meta", "title", "ul", "li", "a"), f"an element <{tag}> in the page")
        self.is_in_link = tag == "a"
        if self.is_in_link:
            self.found.append((dict(attributes)["href"], ""))

    def handle_endtag(self, tag):
        self.is_in_link = False

    def handle_data(self, data):
        if self.is_in_link:
            href, text = self.found[-1]
            self.found[-1] = (href, text + data)


def http_lists_odd_names():
    directory = os.fsencode(root()) + b"/<odd> & \xff"
    os.makedirs(directory + b"/sub <dir>")
    for name in ODD_NAMES:
        with open(directory + b"/" + name, "wb") as file:
            file.write(b"in " + name)
    base = "/" + urllib.parse.quote(os.path.basename(directory))
    with serve() as server, Client(server) as client:
        answer = client.ask(base)
        expect(answer.status == 301 and answer["location"] == base + "/", f"{answer.fields}")
        answer = client.ask(base + "/")
        expect(answer["content-type"].startswith("text/html"), f"{answer['content-type']}")
        links = Links(answer.body).found
        told = sorted(text.encode("utf-8", "surrogateescape") for _, text in links)
        expect(told == sorted(ODD_NAMES + [b"sub <dir>/"]), f"lists {told}")
        for href, text in links:
            target = urllib.parse.urljoin(url(server, base + "/"), href)
            expect(target.startswith(url(server, base + "/")), f"{href} leads to {target}")
            answer = client.ask(target[len(url(server, "")):])
            expect_status(answer, 200)
            expect(text.endswith("/") or
                   answer.body == b"in " + text.encode("utf-8", "surrogateescape"),
                   f"{href} leads to {answer.body!r}")


def http_lists_whole():
    names = {f"{number:05}-" + "<&>" * (number % 60) for number in range(3000)}
    for name in names:
        put("many/" + name, b"")
    with serve() as server, Client(server) as client:
        for version in ("1.1", "1.0"):
            client.send(request("/many/", version=version))
            page = client.answer().body
            told = [text for _, text in Links(page).found]
            expect(len(told) == len(names) and set(told) == names, f"{len(told)} of {len(names)}")
        client.expect_end()
        os.mkdir(root("empty"))
        expect(Links(curl(url(server, "/empty/"))).found == [], "lists what is not there")


def http_prefers_the_index():
    put("site/index.html", b"<p>welcome")
    put("odd/index.html/file", b"")
    put("empty/index.html", b"")
    with serve() as server, Client(server) as client:
        answer = client.ask("/site/?x")
        expect(answer.body == b"<p>welcome", f"{answer.body!r}")
        expect(answer["content-type"] == "text/html; charset=utf-8", f"{answer['content-type']}")
        expect(client.ask("/empty/").body == b"", "lists in spite of an index")
        expect(client.ask("/site/", f"If-None-Match: {answer['etag']}").status == 304, "not known")
        expect_status(client.ask("/site"), 301)
        expect(b"index.html/" in client.ask("/odd/").body, "does not list")
        expect(curl("-L", url(server, "/site")) == b"<p>welcome", "curl was led elsewhere")


CHECKS = [http_serves_files, http_keeps_connections, http_answers_head, http_sends_ranges,
          http_heeds_conditions, http_speaks_1_0, http_answers_pipelined_requests,
          http_puts_pieces_together, http_understands_targets, http_lists_odd_names,
          http_lists_whole, http_prefers_the_index]
