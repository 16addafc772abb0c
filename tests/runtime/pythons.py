# SPDX-License-Identifier: Apache-2.0
"""The interpreters of this machine, and TAP. None is required: a machine without Python but the one that
runs this tests that one."""
import glob
import os
import subprocess
import sys
import time
import traceback

VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


def found():
    """(version as text, path) of each CPython, by version."""
    paths = glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python"))
    paths += glob.glob("/usr/bin/python3") + glob.glob("/usr/local/bin/python3")
    paths += os.environ.get("GPROFILER_TEST_PYTHONS", "").split()
    out = {}
    for path in paths:
        try:
            version = subprocess.run([path, "-c", VERSION], capture_output=True, text=True, timeout=60).stdout.strip()
        except OSError:
            continue
        if version:
            out.setdefault(os.path.realpath(path), (version, path))
    if not out:
        out[sys.executable] = ("%d.%d.%d" % sys.version_info[:3], sys.executable)
    return sorted(out.values(), key=lambda v: [int(x) for x in v[0].split(".")])


def wait_asleep(pid, seconds=60):
    """All threads are: the stacks stand, and what reported them has returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = []
        for tid in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, tid)) as f:
                states.append(f.read().rsplit(")", 1)[1].split()[0])
        if set(states) == {"S"}:
            return
        time.sleep(0.001)
    raise AssertionError("process %d did not rest in %d s" % (pid, seconds))


def end(p):
    """Ends a program and closes its pipes."""
    p.kill()
    with p:
        pass


def run(cases):
    """cases: (name, function). Prints TAP, returns the exit status."""
    failed = 0
    print("1..%d" % len(cases))
    for i, (name, fn) in enumerate(cases, 1):
        try:
            note = fn() or ""
            if note.startswith("SKIP "):
                print("# SKIP-REASON %s: %s" % (name, note[5:]))
            print("ok %d - %s" % (i, name) + (" # " + note if note else ""))
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines()[-12:]:
                print("# " + line[:400])
            print("not ok %d - %s" % (i, name))
        sys.stdout.flush()
    return 1 if failed else 0
