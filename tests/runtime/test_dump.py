#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gprofiler dump, and interpreters in odd places: embedded, loaded late, renamed, deleted, several in a process,
run by exec.

usage: test_dump.py GPROFILER. Prints TAP."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pythons

GPROFILER = sys.argv[1]
HELD = """
import os, sys, threading, time
def inner():
    sys.stdout.write("up\\n"); sys.stdout.flush(); os.read(0, 1)
def outer(): inner()
"""
HOST = r"""
#include <dlfcn.h>
#include <stdio.h>
static void *run(void *lib, const char *script) {
  void (*init)(void) = (void (*)(void))dlsym(lib, "Py_Initialize");
  int (*string)(const char *) = (int (*)(const char *))dlsym(lib, "PyRun_SimpleString");
  init();
  string(script);
  return lib;
}
int main(int argc, char **argv) {
  void *lib = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  if (!lib) { fputs(dlerror(), stderr); return 1; }
  return argc > 2 && !run(lib, argv[2]);
}
"""


def gprofiler(*args, **kw):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GPROFILER_")}
    env["GPROFILER_SYSTEM_CONFIG"] = ""
    prefix = kw.pop("prefix", [])
    return subprocess.run([*prefix, GPROFILER, "dump", *args], capture_output=True, text=True, timeout=60, env=env)


def dump(pid):
    r = gprofiler("-p", str(pid), "--json")
    assert r.returncode == 0, r
    return json.loads(r.stdout)


class Held:
    """A process that printed a line and waits."""

    def __init__(self, *argv, **kw):
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kw)
        self.pid = self.p.pid

    def __enter__(self):
        line = self.p.stdout.readline()
        assert line == b"up\n", line
        pythons.wait_asleep(self.pid)
        return self

    def __exit__(self, *unused):
        pythons.end(self.p)


def names(thread):
    """Of the Python frames; native ones stand between them."""
    return [f["name"] for f in thread.get("frames", []) if f["kind"] == "python"]


def check_text(python, version):
    script = HELD + "t = threading.Thread(target=time.sleep, args=(60,)); t.daemon = True; t.start()\nouter()\n"
    with Held(python, "-c", script) as h:
        r = gprofiler("-p", str(h.pid))
        assert r.returncode == 0 and r.stderr == "", r
        head, *threads = r.stdout.split("\n\n")
        head, *note = head.split("\n")
        assert re.fullmatch(r'Process %d "python.*": CPython %s' % (h.pid, re.escape(version)), head), head
        assert not note or "native stacks may end early" in note[0], note
        assert len(threads) == 2, r.stdout
        main = next(t for t in threads if t.startswith("Thread %d " % h.pid))
        lines = main.splitlines()
        assert re.match(r'Thread \d+ "python.*": sleeping$', lines[0]), lines
        python_lines = [line for line in lines if "(<string>:" in line]
        assert python_lines == ["    inner (<string>:4)", "    outer (<string>:5)", "    <module> (<string>:7)"], lines
        # The native frames of read() above, those of the interpreter's start below.
        assert note or (lines[1] not in python_lines and lines[-1] not in python_lines), lines
        assert "threading.py:" in r.stdout and "[standard-library==%s]" % version in r.stdout, r.stdout


def check_refusals():
    r = gprofiler()
    assert (r.returncode, r.stdout) == (2, ""), r
    r = gprofiler("-p", "4194303")
    assert (r.returncode, r.stdout) == (1, "") and "there is no process" in r.stderr, r
    with subprocess.Popen(["sleep", "60"]) as p:
        try:
            pythons.wait_asleep(p.pid)
            r = gprofiler("-p", str(p.pid))
            assert r.returncode == 0 and "no Python interpreter" in r.stdout, r
            d = dump(p.pid)
            assert d["runtime"] is None and [t["tid"] for t in d["threads"]] == [p.pid], d
        finally:
            pythons.end(p)


def check_rights(python, version):
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return "SKIP needs root and setpriv"
    exe = shutil.copy(GPROFILER, "/tmp/gprofiler-test-%d" % os.getpid())
    try:
        os.chmod(exe, 0o755)
        with Held(python, "-c", HELD + "outer()") as h:
            r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", exe, "dump", "-p",
                                str(h.pid)], capture_output=True, text=True, timeout=60)
            assert r.returncode == 1 and "CAP_SYS_PTRACE" in r.stderr, r
    finally:
        os.unlink(exe)


def check_interpreters(python, version):
    number = [int(x) for x in version.split(".")]
    if number < [3, 8]:
        return "SKIP %s has no module for interpreters" % version
    script = HELD + """
import importlib
m = None
for name in ("_interpreters", "_xxsubinterpreters"):
    try:
        m = importlib.import_module(name); break
    except ImportError: pass
i = m.create()
m.run_string(i, '''
import os
def of_the_other():
    os.write(1, b"up\\\\n"); os.read(0, 1)
of_the_other()
''')
"""
    with Held(python, "-c", script) as h:
        stacks = [(t.get("interpreter", 0), names(t)) for t in dump(h.pid)["threads"] if t.get("frames")]
        assert any(i and n[:2] == ["of_the_other", "<module>"] for i, n in stacks), stacks


def check_exec(python, version):
    script = "import os, sys; os.execv(sys.argv[1], [sys.argv[1], '-c', sys.argv[2]])"
    with Held("/usr/bin/env", python, "-c", script, python, HELD + "outer()") as h:
        assert names(dump(h.pid)["threads"][0]) == ["inner", "outer", "<module>"]


def library(python):
    root = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    libs = glob.glob(os.path.join(root, "lib", "libpython[0-9].*.so.*"))
    return (root, libs[0]) if libs else (root, None)


def check_deleted(python, version):
    root, lib = library(python)
    if not lib:
        return "SKIP %s is one file" % python
    with tempfile.TemporaryDirectory() as d:
        copy = os.path.join(d, os.path.basename(lib))
        shutil.copy(lib, copy)
        exe = os.path.join(d, "renamed")
        shutil.copy(os.path.realpath(python), exe)
        env = dict(os.environ, LD_LIBRARY_PATH=d, PYTHONHOME=root)
        with Held(exe, "-c", HELD + "outer()", env=env) as h:
            with open("/proc/%d/maps" % h.pid) as f:
                assert copy in f.read()
            os.unlink(copy)
            os.unlink(exe)
            d = dump(h.pid)
            assert d["runtime"] == "CPython " + version, d
            assert names(d["threads"][0]) == ["inner", "outer", "<module>"], d


def check_embedded(python, version):
    root, lib = library(python)
    if not lib or not shutil.which("gcc"):
        return "SKIP %s has no library to load, or there is no gcc" % python
    with tempfile.TemporaryDirectory() as d:
        exe = os.path.join(d, "host")
        subprocess.run(["gcc", "-O1", "-x", "c", "-", "-o", exe, "-ldl"], input=HOST.encode(), check=True)
        env = dict(os.environ, PYTHONHOME=root)
        with Held(exe, lib, HELD + "outer()\n", env=env) as h:
            d = dump(h.pid)
            assert d["runtime"] == "CPython " + version, d
            assert names(d["threads"][0]) == ["inner", "outer", "<module>"], d


cases = [("dump__refusals", check_refusals)]
for text, exe in pythons.found():
    for name, fn in (("text", check_text), ("interpreters", check_interpreters), ("exec", check_exec),
                     ("deleted", check_deleted), ("embedded", check_embedded)):
        cases.append(("dump__%s: %s" % (name, text), lambda f=fn, p=exe, v=text: f(p, v)))
cases.append(("dump__rights", lambda: check_rights(*reversed(pythons.found()[-1]))))
sys.exit(pythons.run(cases))
