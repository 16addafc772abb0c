# SPDX-License-Identifier: Apache-2.0
"""Python inside of other things: uwsgi, greenlets, event loops, another C library. What they need comes from Debian's packages;
where one is not installed, its test says so."""
import glob
import os
import re
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


def check_running(p, comm, is_right, least=0.99, samples=60):
    """Of the samples with Python frames, those that are right; of all, those in which the interpreter runs without any."""
    stacks = p.of(comm)
    ours = [s for s in stacks if python_frames(s)]
    total, all_of_them = p.total(ours), p.total(stacks)
    good = p.total([s for s in ours if whole(s) and is_right(python_frames(s))])
    blind = p.total([s for s in stacks if not python_frames(s) and any("EvalFrame" in f for f in s.frames)])
    lib.note(f"{comm}: {all_of_them} samples, {total} with Python frames, {100 * good / max(total, 1):.2f} % of them right, "
             f"{blind} in the interpreter without any")
    if total < samples or good < least * total or blind > 0.01 * all_of_them:
        for s in sorted((s for s in ours if not (whole(s) and is_right(python_frames(s)))), key=lambda s: -s.count)[:6]:
            lib.note(f"{s.count} {python_frames(s)} {s.frames[0]} ... {s.frames[-1]}")
        raise AssertionError(f"{comm}: {good} of {total}, {blind} blind")
    return ours


def begins(frames, truth):
    return frames == truth[:len(frames)]


def uwsgi(*args):
    lib.need_root()
    if not shutil.which("uwsgi") or not os.path.exists("/usr/lib/uwsgi/plugins/python3_plugin.so"):
        lib.skip("uwsgi-plugin-python3 is not installed")
    port = free_port()
    app = write("app.py", WSGI)
    process = lib.env.start("uwsgi", "--plugin", "python3", "--http-socket", f"127.0.0.1:{port}", "--wsgi-file", app, "--master",
                            "--die-on-term", *args, stderr=subprocess.DEVNULL)
    wait_for_port(port, process)

    def ask(clients):
        while not clients.stop:
            yield urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=30).read()

    clients = Clients(ask)
    try:
        lib.wait_for("answers", lambda: clients.answers > 1)	# what it imports is not asked for
        p = lib.gprofiler("-d", 6, "-f", 399)
    finally:
        clients.end()
        # Its workers end with it.
        process.terminate()
        process.wait(20)
    assert clients.answers > 20, clients.answers
    ours = check_running(p, "uwsgi", lambda frames: begins(frames, ["application", "handle", "burn"]))
    assert p.total([s for s in ours if any("uwsgi_request_wsgi" in f for f in s.frames)]) > 0.98 * p.total(ours), \
        "frames of uwsgi below those of Python"


def test_uwsgi_processes():
    uwsgi("--processes", "2")


def test_uwsgi_threads():
    uwsgi("--threads", "2")


def greenlets(name, text):
    lib.need_root()
    need_module(name)
    process = start_python("py-" + name, DEBIAN, write("program.py", text), 40)
    time.sleep(1.5)
    assert process.poll() is None
    p = lib.gprofiler("-d", 6, "-f", 399)
    truths = [["first", "of_first", "burn"], ["second", "of_second", "burn"], ["first", "sleep"], ["second", "sleep"]]
    main = ["<module>", "main"]

    def is_right(frames):
        own = frames[2:] if frames[:2] == main else frames
        return any(begins(own, t) for t in truths) or begins(frames, main)

    ours = check_running(p, "py-" + name, is_right)
    # Both have their turn, and none is seen in the other's functions.
    for own, other in (("first", "second"), ("second", "first")):
        mine = [s for s in ours if "of_" + own in python_frames(s)]
        assert p.total(mine) > 0.3 * p.total(ours), own
        assert not any(other in python_frames(s) for s in mine), own


def test_greenlet():
    greenlets("greenlet", GREENLET)


def test_gevent():
    greenlets("gevent", GEVENT)


def test_asyncio_server():
    lib.need_root()
    problems = 0
    for version, path in [c for c in chosen((3, 7))]:
        port = free_port()
        name = f"aio{version}"
        process = start_python(name, path, write(name + ".py", ASYNCIO), port)
        wait_for_port(port, process)

        def ask(clients):
            with socket.create_connection(("127.0.0.1", port), 30) as s, s.makefile("rwb") as f:
                while not clients.stop:
                    f.write(b"go\n")
                    f.flush()
                    yield f.readline()

        clients = Clients(ask)
        try:
            p = lib.gprofiler("-d", 5, "-f", 299, out="out-" + name)
        finally:
            clients.end()
            process.kill()
            process.wait()
        truth = ["_run_once", "_run", "handle", "work", "burn"]

        def is_right(frames):
            at = frames.index("_run_once") if "_run_once" in frames else len(frames)
            own = frames[at:]
            # The loop's own work, and that of its streams, is right as it is.
            return frames[0] == "<module>" and "run_forever" in frames and (
                begins(own, truth) or own[:2] != truth[:2] or "burn" not in own)

        ours = check_running(p, name, is_right)
        burning = [s for s in ours if "burn" in python_frames(s)]
        assert p.total(burning) > 0.7 * p.total(ours)
        problems += any(python_frames(s)[-5:] != truth for s in burning)
    assert not problems


EMBEDDER = r"""
#include <Python.h>
int main(int argc, char **argv)
{
	(void)argc;
	Py_Initialize();
	return PyRun_SimpleString(argv[1]);
}
"""
LOOP = BURN + "def main():\n    while True:\n        burn(20000)\n\nmain()\n"
TRUTH = ["<module>", "main", "burn"]


def shared_pythons():
    """(version, prefix) of those that come with a shared library and headers in a folder of their own."""
    found = []
    for version, path in chosen((3, 8)):
        prefix = os.path.dirname(os.path.dirname(path))
        short = ".".join(version.split(".")[:2])
        lib_ = os.path.join(prefix, "lib", f"libpython{short}.so.1.0")
        if os.path.exists(lib_) and os.path.exists(os.path.join(prefix, "include", f"python{short}", "Python.h")):
            found.append((short, prefix, lib_))
    if not found:
        lib.skip("no Python with a shared library and headers")
    return found


def test_embedder():
    """A program of C that links libpython, under a name that says nothing."""
    lib.need_root()
    short, prefix, lib_ = shared_pythons()[-1]
    source, program = write("embedder.c", EMBEDDER), os.path.join(lib.env.dir, "calculator")
    if not shutil.which("cc"):
        lib.skip("no C compiler")
    subprocess.run(["cc", "-o", program, source, f"-I{prefix}/include/python{short}", lib_, f"-Wl,-rpath,{prefix}/lib"], check=True)
    lib.env.start(program, LOOP, env=dict(os.environ, PYTHONHOME=prefix))
    time.sleep(1.5)
    p = lib.gprofiler("-d", 5, "-f", 199)
    check_running(p, "calculator", lambda f: begins(f, TRUTH))


def own_library(lib_):
    """A copy of a library in a folder of its own, and the environment that prefers it."""
    folder = os.path.join(lib.env.dir, "lib")
    os.makedirs(folder)
    path = os.path.join(folder, os.path.basename(lib_))
    shutil.copy(lib_, path)
    return path, dict(os.environ, LD_LIBRARY_PATH=folder)


def test_deleted_library():
    """An upgrade took the file away; what is mapped is what is read."""
    lib.need_root()
    short, prefix, lib_ = shared_pythons()[-1]
    path, environ = own_library(lib_)
    link = os.path.join(lib.env.dir, "py-deleted")
    os.symlink(os.path.join(prefix, "bin", f"python{short}"), link)
    process = lib.env.start(link, "-c", LOOP, env=environ)
    time.sleep(1.5)
    if path not in open(f"/proc/{process.pid}/maps").read():
        lib.skip("this Python does not take its library from LD_LIBRARY_PATH")
    os.unlink(path)
    p = lib.gprofiler("-d", 5, "-f", 199)
    check_running(p, "py-deleted", lambda f: begins(f, TRUTH))


def test_free_threaded_is_refused_politely():
    """A library that says of itself that it is free-threaded: one line, and its native stacks stay."""
    lib.need_root()
    shared = [s for s in shared_pythons() if s[0] in ("3.13", "3.14")]
    if not shared:
        lib.skip("no Python that tells its offsets")
    short, prefix, lib_ = shared[-1]
    path, environ = own_library(lib_)
    with open(path, "r+b") as f:
        data = f.read()
        # Cookie, version and 0: other places have the cookie, too.
        at = re.search(rb"xdebugpy\xf0.[\x0d\x0e]\x03\0{4}\0{8}", data, re.S).start()
        f.seek(at + 16)	# _Py_DebugOffsets.free_threaded
        f.write(b"\1")
    link = os.path.join(lib.env.dir, "py-free")
    os.symlink(os.path.join(prefix, "bin", f"python{short}"), link)
    for _ in range(2):
        process = lib.env.start(link, "-c", LOOP, env=environ)
    time.sleep(1.5)
    if path not in open(f"/proc/{process.pid}/maps").read():
        lib.skip("this Python does not take its library from LD_LIBRARY_PATH")
    for mode in ("auto", "pyspy"):
        p = lib.gprofiler("-d", 3, "-f", 199, "--python-mode", mode, "--min-profiling-duration", 1, out=mode)
        said = [line for line in p.process.stdout_text.splitlines() if "free-threaded" in line]
        assert len(said) == 1 and "INFO" in said[0], said
        stacks = p.of("py-free")
        assert p.total(stacks) > 20 and not any(f.endswith("_[p]") for s in stacks for f in s.frames)
        assert any("EvalFrame" in f for s in stacks for f in s.frames)


def musl_pythons():
    """Interpreters whose program interpreter is musl's."""
    for path in glob.glob("/usr/bin/python3*") + glob.glob("/usr/lib/musl/bin/python3*") + glob.glob("/usr/local/musl/bin/python3*"):
        try:
            if b"/lib/ld-musl-" in open(os.path.realpath(path), "rb").read(4096):
                yield path
        except OSError:
            pass


def test_musl():
    lib.need_root()
    found = sorted(musl_pythons())
    if not found:
        lib.skip("Debian packages musl, but no Python that is built against it")
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", "truth.py")
    start_python("py-musl", found[0], program, "deep", 30, 20)
    time.sleep(1.5)
    p = lib.gprofiler("-d", 8, "-f", 199)
    check_running(p, "py-musl", lambda f: begins(f, ["<module>", "main"] + ["descend"] * 21 + ["burn"]))


if __name__ == "__main__":
    lib.main(globals())
