# SPDX-License-Identifier: Apache-2.0
"""Python inside of other things: uwsgi, greenlets, event loops. What they need comes from Debian's packages;
where one is not installed, its test says so."""
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

import lib
from test_python import chosen, python_frames, whole

DEBIAN = "/usr/bin/python3"
BURN = """
def burn(n):
    x = 0
    for i in range(n):
        x = (x + i * i) & 0xffffff
    return x

"""
WSGI = BURN + """
def handle(path):
    return burn(200000)

def application(environ, start_response):
    text = str(handle(environ["PATH_INFO"])).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
"""
GREENLET = BURN + """
import sys, time
from greenlet import greenlet

end = time.time() + float(sys.argv[1])

def of_first():
    burn(20000)

def of_second():
    burn(20000)

def first():
    while time.time() < end:
        of_first()
        two.switch()

def second():
    while time.time() < end:
        of_second()
        one.switch()

def main():
    global one, two
    one, two = greenlet(first), greenlet(second)
    one.switch()

main()
"""
GEVENT = BURN + """
import sys, time
import gevent

end = time.time() + float(sys.argv[1])

def of_first():
    burn(20000)

def of_second():
    burn(20000)

def first():
    while time.time() < end:
        of_first()
        gevent.sleep(0)

def second():
    while time.time() < end:
        of_second()
        gevent.sleep(0)

def main():
    gevent.joinall([gevent.spawn(first), gevent.spawn(second)])

main()
"""
ASYNCIO = BURN + """
import asyncio, sys

async def work():
    await asyncio.sleep(0)
    return burn(100000)

async def handle(reader, writer):
    while await reader.readline():
        writer.write(b"%d\\n" % await work())
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()

asyncio.run(main())
"""


def write(name, text):
    path = os.path.join(lib.env.dir, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        assert process.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server does not listen")


class Clients:
    """Threads that ask again and again until stopped."""

    def __init__(self, ask, n=2):
        self.stop, self.answers = False, 0
        self.threads = [threading.Thread(target=self.loop, args=(ask,), daemon=True) for _ in range(n)]
        for t in self.threads:
            t.start()

    def loop(self, ask):
        for _ in ask(self):
            self.answers += 1

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join(10)


def need_module(name):
    if not os.path.exists(DEBIAN) or subprocess.run([DEBIAN, "-c", "import " + name], stderr=subprocess.DEVNULL).returncode:
        lib.skip(f"python3-{name} is not installed")


def start_python(name, path, *args):
    link = os.path.join(lib.env.dir, name)
    os.symlink(os.path.realpath(path), link)
    return lib.env.start(link, *args)


def blind_of(p, comm):
    """Samples in which the interpreter runs without a frame of Python."""
    return p.total([s for s in p.of(comm) if not python_frames(s) and any("EvalFrame" in f for f in s.frames)])


def check_running(p, comm, is_right, least=0.99, samples=60):
    """Of the samples with Python frames, those that are right; of all, those in which the interpreter runs without any."""
    stacks = p.of(comm)
    ours = [s for s in stacks if python_frames(s)]
    total, all_of_them = p.total(ours), p.total(stacks)
    good = p.total([s for s in ours if whole(s) and is_right(python_frames(s))])
    blind = blind_of(p, comm)
    lib.note(f"{comm}: {all_of_them} samples, {total} with Python frames, {100 * good / max(total, 1):.2f} % of them right, "
             f"{blind} in the interpreter without any")
    if total < samples or good < least * total or blind > 0.01 * all_of_them:
        for s in sorted((s for s in ours if not (whole(s) and is_right(python_frames(s)))), key=lambda s: -s.count)[:6]:
            lib.note(f"{s.count} {python_frames(s)} {s.frames[0]} ... {s.frames[-1]}")
        raise AssertionError(f"{comm}: {good} of {total}, {blind} blind")
    return ours


def enough_of(comms, samples=200):
    """A profile with so many samples of each. An interpreter under a name that does not say so is blind until its file was met,
    which a busy machine delays: with its first samples alone that is a large part. Who stays blind is so in the longest profile."""
    return lib.gprofiler_until(lambda p: all(p.total(p.of(c)) >= samples and blind_of(p, c) <= 0.01 * p.total(p.of(c)) for c in comms),
                               "-f", 499, seconds=5)


def begins(frames, truth):
    return frames == truth[:len(frames)]


def wait_for_burning(process, seconds=0.5):
    lib.wait_for("it to run", lambda: process.poll() is not None or lib.cpu_of(process.pid) > seconds, 60)
    assert process.poll() is None, "it has ended"


class Uwsgi:
    """A server of WSGI with clients, under a comm of its own."""

    def __init__(self, name, *args):
        port = free_port()
        self.comm = "uwsgi-" + name
        link = os.path.join(lib.env.dir, self.comm)
        os.symlink(shutil.which("uwsgi"), link)
        self.process = lib.env.start(link, "--plugin", "python3", "--http-socket", f"127.0.0.1:{port}", "--wsgi-file",
                                     write(f"{name}.py", WSGI), "--master", "--die-on-term", *args, stderr=subprocess.DEVNULL)
        wait_for_port(port, self.process)

        def ask(clients):
            while not clients.stop:
                yield urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=30).read()

        self.clients = Clients(ask)

    def end(self):
        self.clients.end()
        # Its workers end with it.
        self.process.terminate()
        self.process.wait(20)


def test_uwsgi():
    """Workers that are processes, and those that are threads."""
    lib.need_root()
    if not shutil.which("uwsgi") or not os.path.exists("/usr/lib/uwsgi/plugins/python3_plugin.so"):
        lib.skip("uwsgi-plugin-python3 is not installed")
    servers = []
    try:
        servers.append(Uwsgi("processes", "--processes", "2"))
        servers.append(Uwsgi("threads", "--threads", "2"))
        for s in servers:
            lib.wait_for("answers", lambda s=s: s.clients.answers > 1)	# what it imports is not asked for
        p = enough_of([s.comm for s in servers])
    finally:
        for s in servers:
            s.end()
    for s in servers:
        assert s.clients.answers > 10, s.clients.answers
        ours = check_running(p, s.comm, lambda frames: begins(frames, ["application", "handle", "burn"]))
        assert p.total([x for x in ours if any("uwsgi_request_wsgi" in f for f in x.frames)]) > 0.98 * p.total(ours), \
            "frames of uwsgi below those of Python"


def test_greenlets():
    """Bare ones and gevent's: the one that runs is seen, never another's functions."""
    lib.need_root()
    programs = {"greenlet": GREENLET, "gevent": GEVENT}
    for name in programs:
        need_module(name)
    started = {name: start_python("py-" + name, DEBIAN, write(name + "_program.py", text), 300) for name, text in programs.items()}
    for process in started.values():
        wait_for_burning(process)
    p = enough_of(["py-" + name for name in programs])
    truths = [["first", "of_first", "burn"], ["second", "of_second", "burn"], ["first", "sleep"], ["second", "sleep"]]
    main = ["<module>", "main"]

    def is_right(frames):
        own = frames[2:] if frames[:2] == main else frames
        return any(begins(own, t) for t in truths) or begins(frames, main)

    for name in programs:
        ours = check_running(p, "py-" + name, is_right)
        # Both have their turn, and none is seen in the other's functions.
        for own, other in (("first", "second"), ("second", "first")):
            mine = [s for s in ours if "of_" + own in python_frames(s)]
            assert p.total(mine) > 0.3 * p.total(ours), own
            assert not any(other in python_frames(s) for s in mine), own


class Loop:
    """An asyncio server of one version, with clients."""

    def __init__(self, version, path):
        port = free_port()
        self.comm = f"aio{version}"
        self.process = start_python(self.comm, path, write(self.comm + ".py", ASYNCIO), port)
        wait_for_port(port, self.process)

        def ask(clients):
            with socket.create_connection(("127.0.0.1", port), 30) as s, s.makefile("rwb") as f:
                while not clients.stop:
                    f.write(b"go\n")
                    f.flush()
                    yield f.readline()

        self.clients = Clients(ask)

    def end(self):
        self.clients.end()
        self.process.kill()
        self.process.wait()


def test_asyncio_server():
    lib.need_root()
    servers = []
    try:
        for version, path in chosen((3, 7)):
            servers.append(Loop(version, path))
        p = enough_of([s.comm for s in servers])
    finally:
        for s in servers:
            s.end()
    truth = ["_run_once", "_run", "handle", "work", "burn"]

    def is_right(frames):
        at = frames.index("_run_once") if "_run_once" in frames else len(frames)
        own = frames[at:]
        # The loop's own work, and that of its streams, is right as it is.
        return frames[0] == "<module>" and "run_forever" in frames and (
            begins(own, truth) or own[:2] != truth[:2] or "burn" not in own)

    for s in servers:
        ours = check_running(p, s.comm, is_right)
        burning = [x for x in ours if "burn" in python_frames(x)]
        assert p.total(burning) > 0.7 * p.total(ours)
        assert all(python_frames(x)[-5:] == truth for x in burning)


if __name__ == "__main__":
    lib.main(globals())
