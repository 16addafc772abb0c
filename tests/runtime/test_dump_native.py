#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Native and kernel stacks of gprofiler dump, against programs that say where they are; what they notice of it.

usage: test_dump_native.py GPROFILER. Prints TAP. GPROFILER_WORKLOADS: where the workloads were built."""
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pythons

GPROFILER = sys.argv[1]
WORKLOADS = os.environ["GPROFILER_WORKLOADS"]
PATIENCE = 60  # seconds for a process to come where it blocks
DESCENTS = 900  # of tests/workloads/blocked.c
CHAINS = {"reader": ["read_inner", "read_outer", "reader"], "sleeper": ["sleep_inner", "sleep_outer", "sleeper"],
          "waiter": ["lock_inner", "lock_outer", "waiter"]}
BETWEEN = """
import os, sys, time
def sleeps(x):
    sys.stdout.write("up\\n"); sys.stdout.flush(); time.sleep(1000)
    return x
def sorts(): sorted([1], key=sleeps)
def outer(): sorts()
outer()
"""


def gprofiler(*args, prefix=()):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GPROFILER_")}
    env["GPROFILER_SYSTEM_CONFIG"] = ""
    return subprocess.run([*prefix, GPROFILER, "dump", *args], capture_output=True, text=True, timeout=120, env=env)


def dump(pid, *args, prefix=()):
    r = gprofiler("-p", str(pid), "--json", *args, prefix=prefix)
    assert r.returncode == 0, r
    return json.loads(r.stdout)


class Target:
    """A process, waited for until it printed `up`, if it does."""

    def __init__(self, *argv, up=True):
        self.up = up
        self.p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.pid = self.p.pid

    def __enter__(self):
        line = self.p.stdout.readline() if self.up else b"up\n"
        assert line == b"up\n", line
        return self

    def __exit__(self, *unused):
        pythons.end(self.p)


def workload(name, *args, **kw):
    return Target(os.path.join(WORKLOADS, "workload_" + name), "100", *args, **kw)


def names(thread, key="frames", kind=None):
    return [f["name"] for f in thread.get(key, []) if kind is None or f["kind"] == kind]


def until(pid, good, *args, prefix=()):
    """The first dump that is `good`; the last one after a long wait."""
    end = time.monotonic() + PATIENCE
    while True:
        d = dump(pid, *args, prefix=prefix)
        if good(d) or time.monotonic() > end:
            return d
        time.sleep(0.1)


def by_name(d):
    return {t["name"]: t for t in d["threads"]}


def has_chain(frames, chain):
    """Are these names there, one right after the other?"""
    return any(frames[i:i + len(chain)] == chain for i in range(len(frames)))


def all_blocked(d):
    threads = by_name(d)
    return all(n in threads and has_chain(names(threads[n]), c) for n, c in CHAINS.items()) and \
        names(threads.get("faller", {})).count("fall") == DESCENTS + 1 and \
        has_chain(names(threads.get("workload_blocke", {})), ["read_inner", "main"]) and \
        all(t["state"] == "sleeping" and t["native"] == "still" for t in d["threads"])


def iterator_works():
    """Can this kernel be asked by BPF, by us? Then nothing may be missing."""
    with workload("blocked") as t:
        note = dump(t.pid)["note"]
    return not note, note


WORKS, NOTE = iterator_works()


def needs_bpf(fn):
    return fn if WORKS else lambda: "SKIP " + NOTE


@needs_bpf
def check_blocked():
    with workload("blocked") as t:
        d = until(t.pid, all_blocked)
        assert all_blocked(d), d
        assert d["runtime"] is None and d["note"] is None, d
        for name, chain in CHAINS.items():
            thread = by_name(d)[name]
            frames = names(thread, kind="native")
            at = frames.index(chain[0])
            # Above it the C library, below it the start of the thread: a whole stack.
            assert 1 <= at < len(frames) - len(chain), frames
        assert not any(names(x, kind="note") for x in d["threads"]), d
        # Beyond what is copied of a stack, not a frame is lost or made up.
        assert has_chain(names(by_name(d)["faller"]), ["read_inner"] + ["fall"] * (DESCENTS + 1) + ["faller"]), d


@needs_bpf
def check_kernel():
    if os.getuid() != 0:
        return "SKIP kernel names take root"
    with workload("blocked") as t:
        d = until(t.pid, all_blocked)
        for name in CHAINS:
            frames = by_name(d)[name]["frames"]
            kinds = [f["kind"] for f in frames]
            assert "kernel" in kinds and kinds == sorted(kinds), kinds  # kernel first, native then
        # What each waits in, as kernels of all versions call it.
        assert any("pipe_read" in n for n in names(by_name(d)["reader"], kind="kernel")), d
        assert any("nanosleep" in n for n in names(by_name(d)["sleeper"], kind="kernel")), d
        assert any("futex" in n for n in names(by_name(d)["waiter"], kind="kernel")), d


@needs_bpf
def check_lines():
    with workload("blocked") as t:
        d = until(t.pid, all_blocked, "--line-numbers")
        frame = next(f for f in by_name(d)["reader"]["frames"] if f["name"] == "read_inner")
        assert frame["file"].endswith("blocked.c") and frame["line"] > frame["first_line"] > 0, frame
        text = gprofiler("-p", str(t.pid), "--line-numbers").stdout
        line = next(x for x in text.splitlines() if x.startswith("    read_outer "))
        assert "blocked.c:" in line and line.endswith(" [workload_blocked]"), line
        assert 'Thread %d "workload_blocke": sleeping\n' % t.pid in text, text


def stat(pid):
    """What a process knows of being looked at: of each thread its tracer, its state, its switches."""
    out = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, tid)) as f:
            s = dict(line.split(":", 1) for line in f if ":" in line)
        switches = [int(s[k]) for k in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")]
        out[int(tid)] = (s["TracerPid"].strip(), s["State"].strip()[0], switches)
    return out


def check_untouched():
    with workload("blocked") as t:
        until(t.pid, all_blocked)
        before, seen, done = stat(t.pid), [], threading.Event()

        def watch():
            while not done.is_set():
                seen.append(stat(t.pid))

        w = threading.Thread(target=watch)
        w.start()
        try:
            for _ in range(5):
                dump(t.pid)
        finally:
            done.set()
            w.join()
        # Never traced, never stopped, not even woken: no thread was scheduled.
        assert seen and all(s == before for s in seen), (before, seen[-1])
        assert all(tracer == "0" and state == "S" for tracer, state, _ in before.values()), before


TRUTH = [["path_seventy", "main"], ["twenty_inner", "path_twenty", "main"], ["ten_leaf", "ten_inner", "path_ten", "main"]]


@needs_bpf
def check_running():
    def good(d):
        t = d["threads"][0]
        return t["native"] == "running" and any(has_chain(names(t), c) for c in TRUTH)

    with workload("split", up=False) as t:
        d = until(t.pid, good)
        assert good(d), d
        text = gprofiler("-p", str(t.pid)).stdout
        assert "running" in text and text.startswith("Process %d " % t.pid), text


@needs_bpf
def check_threads():
    truth = {"alpha": "work_of_alpha", "beta": "work_of_beta"}
    seen = set()

    def good(d):
        threads = by_name(d)
        for name, fn in truth.items():
            frames = names(threads.get(name, {}))
            others = [f for n, f in truth.items() if n != name]
            assert not any(o in frames for o in others), d  # never the other's
            if fn in frames:
                seen.add(name)
        return seen == set(truth)

    with workload("threads", up=False) as t:
        assert good(until(t.pid, good)), seen


def check_woven(python, version):
    def good(d):
        t = d["threads"][0]
        return t["native"] == "still" and names(t, kind="python") == ["sleeps", "sorts", "outer", "<module>"]

    with Target(python, "-c", BETWEEN) as t:
        d = until(t.pid, good)
        assert good(d), d
        kinds = [f["kind"] for f in d["threads"][0]["frames"] if f["kind"] != "kernel"]
        frames = [f["name"] for f in d["threads"][0]["frames"] if f["kind"] != "kernel"]
        first, sorts, last = frames.index("sleeps"), frames.index("sorts"), frames.index("<module>")
        # The sleep above, sorted() between, the start of the interpreter below.
        assert "native" in kinds[:first], frames
        assert "native" in kinds[first + 1:sorts], frames
        assert "native" in kinds[last + 1:], frames
        assert not names(d["threads"][0], kind="note"), frames


def check_without_bpf():
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return "SKIP needs root and setpriv"
    prefix = ("setpriv", "--bounding-set", "-sys_admin,-bpf,-perfmon")
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        return "SKIP this setpriv does not know these capabilities"
    with workload("blocked") as t:
        def good(d):
            return has_chain(names(by_name(d).get("reader", {})), CHAINS["reader"])

        d = until(t.pid, good, prefix=prefix)
        assert good(d), d
        assert "CAP_BPF" in d["note"], d
        assert not any(names(x, kind="kernel") for x in d["threads"]), d
        text = gprofiler("-p", str(t.pid), prefix=prefix)
        assert text.returncode == 0 and "CAP_BPF" in text.stdout.splitlines()[1], text


cases = [("dump_native__blocked", check_blocked), ("dump_native__kernel", check_kernel),
         ("dump_native__lines", check_lines), ("dump_native__untouched", check_untouched),
         ("dump_native__running", check_running), ("dump_native__threads", check_threads),
         ("dump_native__without_bpf", check_without_bpf)]
for text, exe in pythons.found():
    cases.append(("dump_native__woven: " + text, needs_bpf(lambda p=exe, v=text: check_woven(p, v))))
sys.exit(pythons.run(cases))
