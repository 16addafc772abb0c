# SPDX-License-Identifier: Apache-2.0
"""Python read from outside by a timer: the same truth as in the kernel, weighted as CPU time, nobody stopped; what is
chosen, how it is merged with what was sampled, and when it takes over."""
import os
import re
import signal
import subprocess
import threading
import time

import lib
import test_python
from test_python import PATHS, PREFIX, chosen, expect, python_frames, start
from test_rungs import open_dir, run_until
from test_windows import finish, log, profiles, wait_for

TRUTHS = [PREFIX + frames for _, frames in PATHS.values()]
YOUNG = ("--min-profiling-duration", 1)


def wait_for_cpu(process, seconds):
    """Until it has used so much: it is up then, and old enough."""
    wait_for(f"{process.comm} to run", lambda: lib.cpu_of(process.pid) > seconds, 60)


def text(profile):
    return profile.process.stdout_text


def total(profile, process):
    return profile.total(profile.of(process.comm))


class Watch(threading.Thread):
    """Who traces processes, and whether they stand, seen again and again."""

    def __init__(self, pids):
        super().__init__()
        self.pids, self.on, self.seen, self.looks = pids, True, set(), 0
        self.start()

    def run(self):
        while self.on:
            for pid in self.pids:
                with open(f"/proc/{pid}/status") as f:
                    status = f.read()
                self.seen.add((re.search(r"TracerPid:\t(\d+)", status)[1], re.search(r"State:\t(\w)", status)[1]))
                self.looks += 1
            time.sleep(0.002)

    def end(self):
        self.on = False
        self.join()
        lib.note(f"TracerPid and state of {len(self.pids)} processes: {sorted(self.seen)} in {self.looks} looks")
        assert {tracer for tracer, _ in self.seen} == {"0"}, self.seen
        assert not {state for _, state in self.seen} & {"T", "t"}, self.seen


def test_truth_of_every_version():
    """Alone, without native stacks: nothing is sampled then. Counts are CPU time, whatever the number of processes."""
    lib.need_root()
    started_ = [start(v, path, "paths", 120) for v, path in chosen()]
    for p in started_:
        wait_for_cpu(p, 0.3)
    watch = Watch([p.pid for p in started_])
    before = {p.pid: lib.cpu_of(p.pid) for p in started_}
    profile = lib.gprofiler("-d", 12, "-f", 99, "--python-mode", "pyspy", "--no-perf", *YOUNG)
    used = {p.pid: lib.cpu_of(p.pid) - before[p.pid] for p in started_}
    watch.end()
    assert "through reader" in text(profile), text(profile)
    problems = []
    for p in started_:
        stacks = profile.of(p.comm)
        problems.append(expect(p.comm, stacks, TRUTHS, least=0.97, samples=30))
        n = profile.total(stacks)
        for path, (share, _) in PATHS.items():
            seen = profile.total([s for s in stacks if path in python_frames(s)]) / max(n, 1)
            if abs(seen - share) > 0.10:
                problems.append(f"{p.comm}: {path} has {seen:.3f} of the time, not {share}")
        # It used a little more CPU time than was looked at: the program starts and ends within it.
        lib.note(f"{p.comm}: {n} samples, {99 * used[p.pid]:.0f} periods of CPU time")
        if not 0.7 * 99 * used[p.pid] <= n <= 1.05 * 99 * used[p.pid]:
            problems.append(f"{p.comm}: {n} samples for {used[p.pid]:.2f} s of CPU time")
        if not all(f.endswith("_[p]") for s in stacks for f in s.frames):
            problems.append(f"{p.comm}: a frame that is not Python's")
    test_python.check(problems)
    assert profile.ledger["read_stacks"] > 0 and profile.ledger["entries"] == 0, profile.ledger
    assert profile.ledger["read_failed"] == 0, profile.ledger


def test_merged_with_what_was_sampled():
    """Where both saw a process, it has the reader's stacks and the sampler's count; the others are as they were."""
    lib.need_root()
    version, path = chosen()[-1]
    process = start(version, path, "paths", 200)
    lib.start("split", 200)
    wait_for_cpu(process, 0.3)
    before, used = lib.cpu_of(process.pid), 0

    def enough(profile):
        nonlocal before, used
        now = lib.cpu_of(process.pid)
        before, used = now, now - before
        return used > 2 and profile.total(profile.of("workload_split")) > 50
    profile = lib.gprofiler_until(enough, "-f", 199, "--python-mode", "pyspy", *YOUNG, seconds=5)
    stacks = profile.of(process.comm)
    test_python.check([expect(process.comm, stacks, TRUTHS, least=0.97, samples=20)])
    assert all(f.endswith("_[p]") for s in stacks for f in s.frames), "the sampler's stacks are replaced"
    # The sampler sees nearly all of the time that the process used while we waited.
    n = profile.total(stacks)
    lib.note(f"{n} samples, {199 * used:.0f} periods of CPU time, {profile.ledger['read']} read")
    assert 0.5 * 199 * used <= n <= 1.1 * 199 * used, (n, used)
    split = profile.of("workload_split")
    assert profile.total(split) > 20 and profile.total(profile.with_frame("path_seventy", split)) > 0.5 * profile.total(split)


def test_without_any_way_to_sample():
    """Root without BPF, PERFMON and SYS_ADMIN: the lowest rung, and what it loses."""
    lib.need_root()
    version, path = chosen()[-1]
    process = start(version, path, "paths", 200)
    wait_for_cpu(process, 0.3)
    drop = "-bpf,-sys_admin,-perfmon"
    r, profile = run_until(open_dir(), ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"], process.comm, "-f", 99, *YOUNG)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "Sampling is not possible" in r.stdout and "read from outside" in r.stdout, r.stdout
    test_python.check([expect(process.comm, profile.of(process.comm), TRUTHS, least=0.97, samples=20)])


def test_ring_has_python():
    lib.need_root()
    version, path = chosen()[-1]
    process = start(version, path, "paths", 200)
    lib.start("split", 200)
    wait_for_cpu(process, 0.3)
    args = ("-f", 99, "--source", "ring", *YOUNG)
    profile, only = lib.at_once_until(lambda p: total(p, process) > 20 and p.total(p.of("workload_split")) > 5,
                                      args, (*args, "--python-mode", "pyperf"), seconds=3)
    test_python.check([expect(process.comm, profile.of(process.comm), TRUTHS, least=0.97, samples=10)])
    assert profile.total(profile.of("workload_split")) > 5
    assert not any(f.endswith("_[p]") for s in only.stacks for f in s.frames), "pyperf is in the kernel or not at all"


def test_busiest_processes():
    """The N with the highest CPU rate, by two readings, and others when those rest."""
    lib.need_root()
    version, path = chosen()[-1]
    busy = start(version, path, "paths", 60)
    idle = [start(version, path, "part", 60, 0.1 * n) for n in (1, 2)]
    for p in (busy, *idle):
        wait_for_cpu(p, 0.1)
    profile = lib.gprofiler("-d", 3, "-f", 99, "--python-mode", "pyspy", "--no-perf", *YOUNG,
                            "--max-processes-runtime-profiler", 1)
    seen = {s.comm for s in profile.stacks}
    # Other Pythons of the machine may be busier than those that rest, hardly busier than one that never does.
    assert len(seen) == 1, seen
    assert busy.comm in seen, seen


def test_too_many_for_the_kernel():
    """--python-skip-pyperf-profiler-above is asked before anything is attached, and falls back."""
    lib.need_root()
    version, path = chosen()[-1]
    started_ = [start(version, path, "paths", 200), start(version, path, "deep", 200, 20)]
    for p in started_:
        wait_for_cpu(p, 0.3)
    args = ("-f", 99, *YOUNG, "--python-skip-pyperf-profiler-above")
    few, many = lib.at_once_until(lambda found: all(total(found, p) > 5 for p in started_), (*args, 1), (*args, 1000), seconds=3)
    assert "--python-skip-pyperf-profiler-above" in text(few)
    for p in started_:
        stacks = few.of(p.comm)
        assert few.total(stacks) > 5 and all(f.endswith("_[p]") for s in stacks for f in s.frames), p.comm
    assert "--python-skip-pyperf-profiler-above" not in text(many)
    for p in started_:
        assert any(f.endswith("_[pn]") for s in many.of(p.comm) for f in s.frames), p.comm


def test_one_process_beside_the_kernel():
    lib.need_root()
    version, path = chosen()[-1]
    by_reader, in_kernel = start(version, path, "paths", 200), start(version, path, "deep", 200, 20)
    for p in (by_reader, in_kernel):
        wait_for_cpu(p, 0.3)
    profile = lib.gprofiler_until(lambda found: min(total(found, by_reader), total(found, in_kernel)) > 20,
                                  "-f", 99, "--python-pyspy-process", by_reader.pid, "--python-pyspy-process", 4194303, seconds=3)
    assert "Process 4194303 of --python-pyspy-process is left out" in text(profile)
    read, walked = profile.of(by_reader.comm), profile.of(in_kernel.comm)
    test_python.check([expect(by_reader.comm, read, TRUTHS, least=0.97, samples=10)])
    assert all(f.endswith("_[p]") for s in read for f in s.frames)
    assert any(f.endswith("_[pn]") for s in walked for f in s.frames)


def test_young_and_spawned_processes():
    """Windows of a continuous run: too young, then old enough; and in mid-window only if that is asked for."""
    lib.need_root()
    version, path = chosen()[-1]
    args = ("-d", 300, "-f", 99, "--python-mode", "pyspy", "--no-perf", "--min-profiling-duration", 2)
    without = lib.start_gprofiler(*args, out="without")
    with_them = lib.start_gprofiler(*args, "--profile-spawned-processes", out="with")
    for g in (without, with_them):
        wait_for("sampling", lambda g=g: "through reader" in log(g))
        # Answered by the loop, which runs when the window has begun.
        g.send_signal(signal.SIGHUP)
        wait_for("the window", lambda g=g: "Log file reopened" in log(g))
    late = start(version, path, "paths", 200)
    time.sleep(3)	# it is old enough then
    lib.wait_for_cpu(late, 1)
    for g, spawned in ((without, False), (with_them, True)):
        n = total(lib.finish(g), late)
        lib.note(f"spawned {spawned}: {n} samples")
        assert (n > 5) == spawned, n


def test_threads_and_the_lock():
    """Threads that wait cost nothing and show nothing; with --gil those alone that hold the lock."""
    lib.need_root()
    version, path = chosen()[-1]
    process, sleeper = start(version, path, "threads", 200), start(version, path, "part", 200, 0)
    wait_for_cpu(process, 0.3)
    args = ("-f", 99, "--python-mode", "pyspy", "--no-perf", *YOUNG)
    before, used = lib.cpu_of(process.pid), 0

    def run(seconds):
        nonlocal before, used
        found = lib.at_once(("-d", seconds, *args), ("-d", seconds, *args, "--gil"))
        now = lib.cpu_of(process.pid)
        before, used = now, now - before
        return found
    found = lib.until(lambda found: used > 2, run, 4)
    for args, profile in zip(([], ["--gil"]), found):
        stacks = profile.of(process.comm)
        n = profile.total(stacks)
        good = profile.total([s for s in stacks if "in_thread" in python_frames(s)])
        lib.note(f"{args}: {n} samples for {99 * used:.0f} periods, {good} in threads")
        assert n > (0.2 if args else 0.5) * 99 * used and good >= 0.97 * n
        assert total(profile, sleeper) <= 5, "a process that sleeps"


def test_exec_without_records():
    """On the lowest rung nothing tells of an exec but what is read."""
    found = chosen()
    if len(found) < 2:
        lib.skip("one Python only")
    lib.need_root()
    (v1, first), (_, second) = found[0], found[-1]
    g = lib.start_gprofiler("-c", "-d", 2, "-f", 99, "--source", "reader", *YOUNG, "--no-flamegraph")
    wait_for("the window", lambda: "through reader" in log(g))
    process = start(v1, first, "exec", 200, second)

    def after():
        names = {"python", os.path.basename(second), os.path.basename(os.path.realpath(second)), process.comm}
        return [s for p in profiles(g) for s in lib.Profile(p).stacks if s.comm in names and "paths" in python_frames(s)]

    wait_for("the second program", lambda: sum(s.count for s in after()) > 50, 120)
    finish(g)
    right = [s for s in after() if any(python_frames(s) == t[:len(python_frames(s))] for t in TRUTHS)]
    assert sum(s.count for s in right) >= 0.97 * sum(s.count for s in after())


BROKEN = """
import ctypes, time
# The list of interpreters, as this process keeps it, leads nowhere: nothing of it is used while it runs.
main = ctypes.pythonapi.PyInterpreterState_Main
main.restype = ctypes.c_void_p
words = (ctypes.c_uint64 * 64).in_dll(ctypes.pythonapi, "_PyRuntime")
words[list(words).index(main())] = 0x1000
end = time.time() + 120
while time.time() < end: pass
"""
SPIN = "import time\nend = time.time() + 120\nwhile time.time() < end: pass\n"


def interpreter_of_another_version(path):
    """A copy that says that it is 3.5.2, and runs as before. Return False: there is none that keeps its version there."""
    source = os.path.realpath("/usr/bin/python3")
    symbols = subprocess.run(["nm", "-D", source], capture_output=True, text=True).stdout
    loads = subprocess.run(["readelf", "-lW", source], capture_output=True, text=True).stdout
    at = re.search(r"^(\w+) R Py_Version$", symbols, re.M)
    if not at or "_PyRuntime" not in symbols:
        return False
    at = int(at[1], 16)
    for off, addr, size in re.findall(r"LOAD\s+(0x\w+) (0x\w+) 0x\w+ (0x\w+)", loads):
        off, addr, size = (int(x, 16) for x in (off, addr, size))
        if addr <= at < addr + size:
            data = bytearray(open(source, "rb").read())
            data[off + at - addr:off + at - addr + 4] = bytes((0xf0, 2, 5, 3))
            with open(path, "wb") as f:
                f.write(data)
            os.chmod(path, 0o755)
            return True
    return False


def test_who_cannot_be_read_says_so():
    """Structures that are not as known, and a version that nobody knows: the reason stands in front of the native
    stacks; without those, it is a sample of its own."""
    lib.need_root()
    other, broken = os.path.join(lib.env.dir, "py352"), os.path.join(lib.env.dir, "pybroken")
    if not interpreter_of_another_version(other):
        lib.skip("/usr/bin/python3 is 3.10 or older, or has a libpython")
    os.symlink(os.path.realpath("/usr/bin/python3"), broken)
    started_ = [lib.env.start(other, "-S", "-c", SPIN), lib.env.start(broken, "-S", "-c", BROKEN)]
    for p, comm in zip(started_, ("py352", "pybroken")):
        p.comm = comm
        wait_for_cpu(p, 0.3)
    told = {"py352": "[Profiling skipped: profiling CPython 3.5.2 is not supported]",
            "pybroken": "[Profiling error: the structures of its interpreter are not as known]"}
    # All at once: what is looked at is who says what, not how much.
    args = ("-f", 99, "--no-flamegraph", *YOUNG)

    def enough(found):
        return all(found[0].total(found[0].of(comm)) > 20 for comm in told)
    merged, alone, kernel = lib.until(enough, lambda s: lib.at_once(*(("-d", s, *args, *mode) for mode in (
        ("--python-mode", "pyspy"), ("--python-mode", "pyspy", "--no-perf"), ()))), 4)
    for comm, reason in told.items():
        stacks = merged.of(comm)
        with_reason = [s for s in stacks if s.frames[0] == reason]
        assert merged.total(stacks) > 20 and with_reason == stacks, (stacks[:3], text(merged))
        assert sum(s.count for s in stacks if len(s.frames) > 3) > 0.9 * merged.total(stacks), "its native frames stay behind it"
        assert [(s.frames, s.count) for s in alone.of(comm)] == [([reason], 1)], alone.of(comm)
    assert "] ERROR: " not in text(merged) + text(alone)
    # Whoever is walked in the kernel has no such frame: nobody was asked to read it.
    assert not [s for comm in told for s in kernel.of(comm) if any("[Profiling" in f for f in s.frames)]


def test_nothing_to_read_is_said():
    lib.need_root()
    for mode in ("pyperf", "disabled"):
        p = lib.gprofiler("-d", 1, "--source", "reader", "--python-mode", mode, expect=1)
        assert "nothing would be read" in p.stdout_text, p.stdout_text


def test_command():
    version, path = chosen()[-1]
    lib.need_root()
    profile = lib.gprofiler("-f", 99, "--python-mode", "pyspy", "--", path, test_python.PROGRAM, "paths", 2, environ=lib.BY_CPU)
    stacks = [s for s in profile.stacks if "paths" in python_frames(s)]
    assert profile.total(stacks) > 10, profile.stacks[:9]


if __name__ == "__main__":
    lib.main({n: f for n, f in globals().items() if getattr(f, "__module__", None) == __name__})
