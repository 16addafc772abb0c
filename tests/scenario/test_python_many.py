# SPDX-License-Identifier: Apache-2.0
"""Many Pythons at once: five hundred processes of fork servers, and several interpreters in one process."""
import json
import os
import re
import signal
import subprocess

import lib
import test_python
from test_python import PREFIX, chosen, expect, python_frames, total, whole

SERVER = os.path.join(os.path.dirname(test_python.PROGRAM), "fork_server.py")
PROCESSES, BUSY = 500, 40
EXECED = 4  # of each server's children, among those that burn
ANONYMOUS = 30 << 10  # KiB: the budget of the agent beside 500 processes
LEAST = 10  # samples of each that burns; there are some fifty


class Server:
    def __init__(self, version, path, children, busy):
        self.comm = f"many{version}"[:15]
        self.base = os.path.join(lib.env.dir, self.comm)
        link = self.base + "-py/" + self.comm
        os.mkdir(os.path.dirname(link))
        os.symlink(os.path.realpath(path), link)
        self.children, self.busy = children, busy
        self.process = lib.env.start(link, SERVER, self.base, children - EXECED, EXECED, busy, 150)

    def is_there(self, what):
        assert self.process.poll() is None, f"{self.comm} has ended"
        return os.path.exists(f"{self.base}.{what}")

    def truths(self):
        forked = PREFIX + ["serve", "fork_children", "child"]
        execed = PREFIX + ["child"]
        turns = {n: (forked if n < self.children - EXECED else execed) + [f"turn_{n}", "burn"]
                 for n in range(self.children - self.busy, self.children)}
        return turns, [*turns.values(), PREFIX + ["serve", "wait_for"]]


def anonymous(pid):
    return sum(lib.status_of(pid, "RssAnon", "RssShmem").values())


def said(text):
    """Lines of the log that a person would have to look at: errors, and whatever the Python part says."""
    return [line for line in text.splitlines() if re.search(r"\] (ERROR|CRITICAL): ", line)
            or re.search(r"\] (INFO|WARNING): gprofiler\.python", line)]


def test_five_hundred_processes():
    """Nearly all sleep; forty, forked and exec'ed ones, burn in turns. Each of these is seen, by name and whole."""
    lib.need_root()
    found = chosen()
    servers = [Server(v, path, PROCESSES // len(found), max(BUSY // len(found), EXECED)) for v, path in found]
    for s in servers:
        lib.wait_for(f"{s.comm} and its children", lambda s=s: s.is_there("up"), 120)
    g = lib.start_gprofiler("-d", 200, "-f", 499)
    lib.started(g)
    for s in servers:
        open(s.base + ".go", "w").close()
    most = 0

    def done():
        nonlocal most
        most = max(most, anonymous(g.pid))
        return all(s.is_there("done") for s in servers)

    lib.wait_for("the turns", done, 120)
    g.send_signal(signal.SIGTERM)
    stdout, stderr = g.communicate(timeout=60)
    assert g.returncode == 0, stdout + stderr
    p = lib.Profile(os.path.join(g.out, "last_profile.col"))
    lib.note(f"{sum(s.children for s in servers)} processes of {len(servers)} versions: {most} KiB of anonymous memory")
    problems = []
    for s in servers:
        stacks = p.of(s.comm)
        turns, truths = s.truths()
        problems.append(expect(s.comm, stacks, truths, samples=s.busy * LEAST))
        for n, truth in turns.items():
            seen = total([x for x in stacks if python_frames(x) == truth and whole(x)])
            if seen < LEAST:
                problems.append(f"{s.comm}: turn_{n} has {seen} samples")
    test_python.check(problems)
    assert most < ANONYMOUS, most
    assert not said(lib.log(g)), said(lib.log(g))


INNER = {"inner_one": ["<module>", "inner_one", "in_sub", "burn"], "inner_two": ["<module>", "inner_two", "in_sub", "burn"]}
OUTER = PREFIX + ["interpreters", "outer", "burn"]


def check_interpreters(profile, process, least, native):
    """Each stack is of one interpreter, and each interpreter has its share. The outer frames of a thread that runs an
    inner interpreter may stand below its own."""
    stacks = profile.of(process.comm)
    n = total(stacks)
    shares, wrong = dict.fromkeys([*INNER, "outer"], 0), []
    for s in stacks:
        frames = python_frames(s)
        inner = [name for name in INNER if name in frames]
        ok = not native or whole(s)
        if len(inner) == 1 and ok and frames[frames.index(inner[0]) - 1:] == INNER[inner[0]][:len(frames) - frames.index(inner[0]) + 1]:
            shares[inner[0]] += s.count
        elif not inner and ok and frames and frames == OUTER[:len(frames)]:
            shares["outer"] += s.count
        else:
            wrong.append(s)
    lib.note(f"{process.comm}: {n} samples, {shares}, {total(wrong)} other")
    if n < 60 or sum(shares.values()) < least * n or min(shares.values()) < 0.1 * n:
        test_python.show(sorted(wrong, key=lambda s: -s.count), 4)
        return f"{process.comm}: {shares} of {n}"
    return None


def check_inner(profile, process):
    """One thread in two interpreters, read from outside: it is shown in the inner one."""
    stacks = profile.of(process.comm)
    good = total([s for s in stacks if python_frames(s)[:2] == ["<module>", "in_sub"]])
    lib.note(f"{process.comm}: {good} of {total(stacks)} in the inner interpreter")
    return None if total(stacks) > 30 and good >= 0.97 * total(stacks) else f"{process.comm}: {good} of {total(stacks)}"


def start_mode(mode, least):
    """In versions that have a module for it: in others the program ends."""
    processes = [test_python.start(v, path, mode, 90) for v, path in chosen(least)]
    for p in processes:
        lib.wait_for(f"{p.comm} to run", lambda p=p: p.poll() is not None or lib.cpu_of(p.pid) > 0.5, 90)
    return [p for p in processes if p.poll() is None]


def dump_shows_all(process):
    """Is every interpreter in one dump? A thread is listed once for each that knows it."""
    r = subprocess.run([lib.GPROFILER, "dump", "-p", str(process.pid), "--json"], stdout=subprocess.PIPE, text=True)
    assert r.returncode == 0, r
    seen = {(t.get("interpreter", 0) > 0, name) for t in json.loads(r.stdout)["threads"]
            for name in [*INNER, "outer"] if name in [f["name"] for f in t.get("frames", []) if f["kind"] == "python"]}
    return seen >= {(True, "inner_one"), (True, "inner_two"), (False, "outer")}


def test_interpreters_in_a_process():
    """Three in threads, from 3.12 on each with a lock of its own, so that they run at the same time: in the kernel, through the reader, dumped."""
    lib.need_root()
    # With one lock for all of them (to 3.11) interpreters in several threads may lock each other out, in imports.
    processes, inner = start_mode("interpreters", (3, 12)), start_mode("subinterpreter", (3, 8))
    if not inner:
        lib.skip("no Python here makes interpreters")
    args = ("-d", 6, "-f", 299, "--min-profiling-duration", 1)
    both = [lib.start_gprofiler(*args, out="kernel"),
            lib.start_gprofiler(*args, "--python-mode", "pyspy", "--no-perf", out="reader")]
    for p in processes:
        lib.wait_for(f"a whole dump of {p.comm}", lambda p=p: dump_shows_all(p), 60)	# a thread that calls all the time may be torn
    problems = []
    for g, least in zip(both, (0.98, 0.97)):
        stdout, stderr = g.communicate(timeout=90)
        assert g.returncode == 0, stdout + stderr
        profile = lib.Profile(os.path.join(g.out, "last_profile.col"))
        problems += [check_interpreters(profile, p, least, native=least == 0.98) for p in processes]
        problems += [check_inner(profile, p) for p in inner]
    test_python.check(problems)


if __name__ == "__main__":
    lib.main({n: f for n, f in globals().items() if getattr(f, "__module__", None) == __name__})
