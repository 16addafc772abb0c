# SPDX-License-Identifier: Apache-2.0
"""A running agent that is looked at: its metrics, its status, a service manager of the test's own."""
import contextlib
import json
import os
import re
import socket
import subprocess
import time
import urllib.request

import lib


wait_for = lib.wait_for


def values(text):
    """{'name{labels}': value} of an exposition."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line and line[0] != "#"}


class Agent:
    def __init__(self, process, environ):
        self.process, self.environ, self.before = process, environ, 0

    def log(self):
        """Of this run: another may have written to the same file before."""
        path = os.path.join(self.process.out, "log")
        return open(path, encoding="utf-8", errors="replace").read()[self.before:] if os.path.exists(path) else ""

    def url(self):
        found = wait_for("metrics", lambda: re.search(r"Metrics about this agent at (http://\S+)/metrics", self.log()))
        return found.group(1)

    def get(self, path, method="GET", data=None):
        """(status, headers, text)"""
        request = urllib.request.Request(self.url() + path, method=method, data=data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as r:
                return r.status, r.headers, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read().decode()

    def metrics(self):
        return self.get("/metrics")[2]

    def values(self):
        return values(self.metrics())

    def status(self, *args):
        return subprocess.run([lib.GPROFILER, "status", *args], capture_output=True, text=True, timeout=60, env=self.environ)

    def status_json(self):
        r = self.status("--json")
        assert r.returncode == 0, r
        return json.loads(r.stdout)

    def windows(self, n):
        """Waits until it has named n windows."""
        wait_for(f"{n} windows", lambda: self.process.poll() is None and self.values()["gprofiler_agent_windows_total{result=\"named\"}"] >= n, 120)

    def stop(self, expect=0):
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        assert expect is None or self.process.returncode == expect, (self.process.returncode, out[-2000:], err[-2000:])
        return out, err


@contextlib.contextmanager
def agent(*args, listen="127.0.0.1:0", environ=None, **kw):
    """A continuous agent whose metrics are served; ended by the test's end at the latest."""
    lib.need_root()
    name = f"gprofiler-test-watch-{os.getpid()}-{time.monotonic_ns()}"
    extra = dict(environ or {}, GPROFILER_LOCK_NAME=name)
    path = os.path.join(lib.env.dir, kw.get("out", "out"), "log")
    before = len(open(path, encoding="utf-8", errors="replace").read()) if os.path.exists(path) else 0
    p = lib.start_gprofiler("-c", "--no-flamegraph", *(["--metrics-listen", listen] if listen else []), *args, environ=extra, **kw)
    a = Agent(p, dict(os.environ, GPROFILER_SYSTEM_CONFIG="", GPROFILER_LOCK_NAME=name))
    a.before = before
    try:
        yield a
    finally:
        if p.poll() is None:
            p.kill()
        p.communicate()


class Manager:
    """A service manager: the datagrams that come to its socket."""

    def __init__(self, abstract=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"gprofiler-test-notify-{os.getpid()}-{time.monotonic_ns()}"
        self.socket.bind("\0" + name if abstract else os.path.join(lib.env.dir, "notify"))
        self.name = "@" + name if abstract else os.path.join(lib.env.dir, "notify")
        self.lines = []

    def read(self):
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.lines += self.socket.recv(4096).decode().split("\n")
        return self.lines

    def wait(self, line, seconds=60):
        wait_for(line, lambda: any(l.startswith(line) for l in self.read()), seconds)

    def close(self):
        self.socket.close()
