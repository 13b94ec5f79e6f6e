"""The HTTP example against nginx: wrk on one core, the server on another, a file of 1 KiB.

nginx has one worker, and keeps files open, not their content; so does the example. The directives
are those that were cheapest per request here: without tcp_nopush head and file go out in two
segments, which costs it a fifth more.
"""

import os
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

from system import Failure, cores, cpu_times, environment, settle, start

FILE_BYTES = 1024
CONNECTIONS = 100
CHECK_S = 5
SLICE_S = 1
PATIENCE_S = 60
PEER = "nginx"

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ use epoll; worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=1000 inactive=60s;
    open_file_cache_valid 1s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
    }}
}}
"""

# Looks at every reply; only for the check, since it makes wrk the slower one. A thread of wrk has a
# Lua of its own, in which response() runs; done() asks it for what it has counted.
CHECK = """
good, bad = 0, 0
function response(status, headers, body)
    if status == 200 and #body == {bytes} then good = good + 1 else bad = bad + 1 end
end
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function done(summary)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    for _, thread in ipairs(threads) do
        print("checked", thread:get("good"), thread:get("bad"), failed)
    end
end
"""


class Server:
    """A server on core 0. Without a port it chooses one, and says which."""

    def __init__(self, name, command, folder, port=None):
        self.name = name
        with open(f"{folder}/errors", "a", encoding="utf-8") as errors:
            self.process = start(command, {cores()[0]}, stdout=subprocess.PIPE, stderr=errors)
        if port is None:
            line = self.process.stdout.readline()
            found = re.search(r":(\d+)\n", line)
            if not found:
                self.stop()
                raise Failure(f"{name} does not serve")
            port = int(found.group(1))
        self.url = f"http://127.0.0.1:{port}/file"

    def wait_until_up(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url, timeout=PATIENCE_S) as answer:
                    if len(answer.read()) == FILE_BYTES:
                        return
            except urllib.error.URLError:
                time.sleep(0.02)
        raise Failure(f"{self.name} does not serve")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.stdout.close()
        return self.process.wait(PATIENCE_S)


def wrk(server, seconds, script=None):
    """(how many requests, what wrk said)"""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", script] if script else []
    done = subprocess.run(command + [server.url], text=True, capture_output=True, check=False,
                          env=environment(), preexec_fn=lambda: settle({cores()[1]}, False))
    found = re.search(r"^ +(\d+) requests in ", done.stdout, re.M)
    if done.returncode != 0 or not found or re.search("Non-2xx|Socket errors", done.stdout):
        raise Failure(f"{server.name}: wrk says {done.stdout}{done.stderr}")
    return int(found.group(1)), done.stdout


def latency_ns(output, percent):
    """What wrk said of the latencies."""
    found = re.search(rf"^ +{percent}% +([\d.]+)(us|ms|s)$", output, re.M)
    return float(found.group(1)) * {"us": 1e3, "ms": 1e6, "s": 1e9}[found.group(2)]


class Slice:
    """What one server did in one slice."""

    def __init__(self, server):
        before = cpu_times(server.process.pid)[0]
        requests, output = wrk(server, SLICE_S)
        self.p50_ns, self.p99_ns = latency_ns(output, 50), latency_ns(output, 99)
        self.cpu_ns = (cpu_times(server.process.pid)[0] - before) / requests
        self.rate = requests / SLICE_S


def check(server, folder):
    """Seconds in which each reply is looked at: how many there were, all of them good."""
    script = f"{folder}/check.lua"
    with open(script, "w", encoding="ascii") as file:
        file.write(CHECK.format(bytes=FILE_BYTES))
    requests, output = wrk(server, CHECK_S, script)
    found = re.search(r"^checked\t(\d+)\t0\t0$", output, re.M)
    if not found or int(found.group(1)) < requests:
        raise Failure(f"{server.name}: not every reply was good: {output}")
    return requests


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def servers_start(build, backends, folder):
    """Ferry's servers, then nginx. Each is in the list as soon as it runs."""
    os.makedirs(f"{folder}/root")
    with open(f"{folder}/root/file", "wb") as file:
        file.write(random.Random(1).randbytes(FILE_BYTES))
    for name in backends:
        yield Server(f"ferry {name}", ["env", f"FERRY_BACKEND={name}",
                                       f"{build}/docs/examples/http-server", "127.0.0.1:0",
                                       f"{folder}/root"], folder)
    port = free_port()
    with open(f"{folder}/nginx.conf", "w", encoding="ascii") as file:
        file.write(NGINX.format(folder=folder, port=port))
    yield Server(PEER, ["nginx", "-c", f"{folder}/nginx.conf"], folder, port)


def measure(build, backends, rounds, progress):
    """Rounds of slices: a list of {name: Slice}; and how many replies of each server were looked
    at."""
    folder = os.path.abspath(f"{build}/tmp/http")
    servers, kept, checked = [], [], {}
    try:
        for server in servers_start(build, backends, folder):
            servers.append(server)
        for server in servers:
            server.wait_until_up()
            progress.show("http", f"looking at what {server.name} replies")
            checked[server.name] = check(server, folder)
        for number in range(rounds):
            progress.show("http", f"round {number + 1} of {rounds}")
            random.shuffle(servers)
            kept.append({server.name: Slice(server) for server in servers})
    finally:
        failed = [server.name for server in servers if server.stop() != 0]
    if failed:
        raise Failure(f"did not end well: {', '.join(failed)}")
    return kept, checked
