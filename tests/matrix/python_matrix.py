# SPDX-License-Identifier: Apache-2.0
"""Python of Debian bullseye, bookworm, trixie and forky, each in a chroot in mount and pid namespaces of its own, as an
ordinary user, profiled from outside: in the kernel and by the reader. `make matrix` makes the chroots; the ordinary run
takes one that is there."""
import collections
import functools
import json
import os
import re
import subprocess
import time

import chroots
import lib

PROGRAM = os.path.join(chroots.ROOT, "tests", "workloads", "truth.py")
PREFIX = ["<module>", "main"]
PATHS = {
    "path_seventy": (0.70, ["paths", "path_seventy", "key_seventy", "burn"]),
    "path_twenty": (0.20, ["paths", "path_twenty", "fold_twenty", "burn"]),
    "path_ten": (0.10, ["paths", "path_ten", "generate_ten", "burn"]),
}
MODES = {"paths": (), "threads": (), "deep": (100,)}
THREAD = ["_bootstrap", "_bootstrap_inner", "run", "in_thread", "burn"]
TRUTHS = {"paths": [PREFIX + frames for _, frames in PATHS.values()], "threads": [THREAD],
          "deep": [PREFIX + ["descend"] * 101 + ["burn"]]}
FRAME = re.compile(r"^(.*) \((.*):(\d+)( \[[^\]]*\])?\)_\[p\]$")
SECONDS = 16
SAMPLES = 100  # least in the kernel; the machine may be shared
LIFE = 120

Run = collections.namedtuple("Run", "kernel reader inside pids dumped")


def python_frames(stack):
    """Names of the Python frames, root first; 3.14 runs threads in a context of their own."""
    names = [m.group(1).split(".")[-1] for m in map(FRAME.match, stack.frames) if m]
    return [n for n in names if n != "_context_run"]


def is_right(stack, mode, inside, native):
    """The Python frames equal to a truth, or to the part of one that has begun, and of the program's file; native: whole to the
    native root, too."""
    frames = python_frames(stack)
    files = {m.group(2) for m in map(FRAME.match, stack.frames) if m and (mode != "threads" or m.group(1) == "in_thread")}
    return (bool(frames) and any(t[:len(frames)] == frames for t in TRUTHS[mode]) and files <= {inside} and
            not (native and stack.frames[0].startswith("[")))


def comm_of(suite, mode):
    return f"{suite[:7]}-{mode[:7]}"


def inner_pid(process):
    """Of the program, which is the child of the unshare that was started."""
    found = []
    lib.wait_for("the program in its namespace", lambda: found.extend(lib.descendants(process.pid)) or found, 30)
    return found[0]


@functools.lru_cache(None)
def run(suite):
    """All modes beside each other, seen by two agents, and each dumped."""
    path = chroots.make(suite)
    lib.need_root()
    version = chroots.version(path)
    assert tuple(int(x) for x in version.split(".")[:2]) == chroots.SUITES[suite], (suite, version)
    inside = chroots.install(path, PROGRAM)
    started = {mode: chroots.start(path, comm_of(suite, mode), inside, mode, LIFE, *args) for mode, args in MODES.items()}
    pids = {mode: inner_pid(p) for mode, p in started.items()}
    time.sleep(2)
    assert all(p.poll() is None for p in started.values()), f"{suite}: a program has ended"
    kernel, reader = lib.at_once(("-d", SECONDS, "-f", 499),
                             ("-d", SECONDS, "-f", 99, "--python-mode", "pyspy", "--no-perf", "--min-profiling-duration", 1))
    r = subprocess.run([lib.GPROFILER, "dump", "-p", str(pids["threads"]), "--json"], stdout=subprocess.PIPE, text=True)
    lib.note(f"{suite}: Python {version}")
    return Run(kernel, reader, inside, pids, json.loads(r.stdout) if r.returncode == 0 else r)


def measure(suite, mode, profile, native, least, samples):
    inside, stacks = run(suite).inside, profile.of(comm_of(suite, mode))
    total = profile.total(stacks)
    good = profile.total([s for s in stacks if is_right(s, mode, inside, native)])
    leaf = profile.total([s for s in stacks if python_frames(s) in TRUTHS[mode]])
    lib.note(f"{comm_of(suite, mode)} {'in the kernel' if native else 'by the reader'}: {total} samples, "
             f"{100 * good / max(total, 1):.2f} % equal to the truth, {100 * leaf / max(total, 1):.1f} % in its innermost function")
    if total < samples or good < least * total:
        for s in sorted((s for s in stacks if not is_right(s, mode, inside, native)), key=lambda s: -s.count)[:6]:
            lib.note(f"{s.count} {';'.join(s.frames)[-500:]}")
        raise AssertionError(f"{comm_of(suite, mode)}: {good} of {total}")
    return stacks, total


def check(suite, mode):
    r = run(suite)
    # Threads change hands all the time: the frames of one that is about to are its own, its stack may be on its way.
    stacks, total = measure(suite, mode, r.kernel, True, 0.97 if mode == "threads" else 0.99, SAMPLES)
    measure(suite, mode, r.reader, False, 0.97, SAMPLES // 4)
    if mode == "paths":
        for path, (share, _) in PATHS.items():
            lib.check_near(path, r.kernel.total([s for s in stacks if path in python_frames(s)]) / total, share, 0.08)
    if mode == "threads":
        # Its threads have other numbers inside; here they are ours.
        assert isinstance(r.dumped, dict), r.dumped
        names = [[f["name"].split(".")[-1] for f in t.get("frames", []) if f["kind"] == "python"] for t in r.dumped["threads"]]
        assert sum("in_thread" in n for n in names) == 3 and r.pids[mode] in [t["tid"] for t in r.dumped["threads"]], r.dumped


def test_one_cached_chroot():
    """For the ordinary run: whatever was made by `make matrix`, the newest."""
    for suite in reversed(chroots.SUITES):
        if chroots.cached(suite):
            for mode in MODES:
                check(suite, mode)
            return
    lib.skip("no chroot is cached; make matrix makes them")


def add(suite, mode):
    globals()[f"test_{suite}_{mode}"] = lambda: check(suite, mode)


for _suite in chroots.SUITES:
    for _mode in MODES:
        add(_suite, _mode)


if __name__ == "__main__":
    lib.main(globals())
