# SPDX-License-Identifier: Apache-2.0
"""Limits and refusals: descriptors, locked memory, unknown events, many threads; a recording replayed without privileges."""
import os
import re
import shutil
import subprocess

import lib
from test_python import chosen
from test_python_hosts import begins, check_running, start_python, wait_for_burning
from test_python_places import LOOP, TRUTH

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
OUTCOMES = ("idle", "filtered", "kernel_only", "complete", "handoff", "truncated", "broken", "bits32", "no_user", "lost_ring")


def log_of(p):
    return open(os.path.join(p.out, "log")).read()


def check_sum(ledger):
    assert ledger["entries"] == sum(ledger[k] for k in OUTCOMES), ledger


def test_unknown_event_is_left_out_and_named():
    """The reference leaves unknown names out without a word; here each is named, and the others are measured."""
    lib.start("split", 20)
    prof = lib.gprofiler("-d", 1, "-f", 99, "--perf-events", "task-clock,unicorns")
    assert "'unicorns'" in prof.process.stdout_text, prof.process.stdout_text
    assert prof.header["sampling_event"] == "task-clock"
    prof = lib.gprofiler("-d", 1, "-f", 99, "--perf-events", "unicorns", out="only")
    assert "'unicorns'" in prof.process.stdout_text and prof.total() > 0


def test_event_that_this_machine_has_not_is_an_error():
    """Virtual machines have no hardware counters: said, and not replaced by another event."""
    p = lib.gprofiler("-d", 1, "-f", 99, "--perf-events", "cache-misses", expect=None)
    process = getattr(p, "process", p)
    if process.returncode == 0:
        lib.skip("this machine has hardware counters")
    assert "cache-misses" in process.stdout_text + process.stderr_text


def test_ledger_of_many_events():
    names = ["cpu-clock", "task-clock", "page-faults", "context-switches"]
    lib.start("split", 60)
    lib.start("syscalls", 60)
    lib.start("crowd", 60, 20)
    lib.start("faults", 60)
    p = lib.start_gprofiler("-d", 4, "-f", 199, "--perf-events", ",".join(names))
    out, err = p.communicate(timeout=90)
    assert p.returncode == 0, out + err
    for name in names:
        files = [f for f in os.listdir(p.out) if f.startswith("profile_") and f.endswith(f".{name}.col")]
        assert len(files) == 1, (name, os.listdir(p.out))
        prof = lib.Profile(os.path.join(p.out, files[0]))
        lib.note(f"{name}: {prof.total()} samples, {prof.ledger}")
        check_sum(prof.ledger)
        assert prof.header["sampling_event"] == name
        assert prof.total() > 20, (name, prof.total())
        assert prof.ledger["lost_ring"] == 0
        # The ledger is that of this event alone: what it sampled is what its profile holds.
        held = sum(prof.ledger[k] for k in ("kernel_only", "complete", "handoff", "truncated", "broken", "bits32", "no_user"))
        assert held == prof.total(), (name, held, prof.total())
    switches = lib.Profile(os.path.join(p.out, [f for f in os.listdir(p.out) if f.endswith(".context-switches.col")
                                                and f.startswith("profile_")][0]))
    crowd = switches.of(lib.comm("crowd"))
    assert switches.total(crowd) > 20, "sleepers switch"
    assert any("schedule" in f for s in crowd for f in s.frames), crowd[:3]


def test_few_descriptors():
    for source in ("bpf", "ring"):
        lib.start("split", 200)
        prof = lib.gprofiler_until(lambda prof: prof.total(prof.of(lib.comm("split"))) > 100, "-f", 199, "--source", source, seconds=3,
                                   prefix=("prlimit", "--nofile=64:64"), out="out" + source)
        stacks = prof.of(lib.comm("split"))
        assert prof.total(stacks) > 100
        named = prof.total([s for s in stacks if "main" in s.frames and s.frames[0] == "_start"])
        assert named > 0.97 * prof.total(stacks), stacks[:5]
        check_sum(prof.ledger)


def test_fewer_descriptors_than_any_source_needs():
    p = lib.gprofiler("-d", 1, "-f", 99, prefix=("prlimit", "--nofile=8:8"), expect=None)
    process = getattr(p, "process", p)
    assert process.returncode == 1, process.returncode
    assert "descriptors" in process.stdout_text + process.stderr_text or "open files" in process.stdout_text + process.stderr_text, \
        process.stdout_text + process.stderr_text


def test_ring_with_two_hundred_threads():
    """Threads times CPUs descriptors: with enough of them, and with too few."""
    lib.need_root()
    child = lib.start("crowd", 300, 200)
    lib.wait_for("its threads", lambda: len(os.listdir(f"/proc/{child.pid}/task")) == 201)
    for what, prefix in (("enough", ()), ("few", ("prlimit", "--nofile=100:100"))):
        prof = lib.gprofiler_until(lambda prof: prof.total() > 100, "-f", 399, "--source", "ring", "-p", child.pid, seconds=2, prefix=prefix, out=what)
        total = prof.total()
        work = prof.with_frame("crowd_work")
        assert total > 100, (what, total)
        assert {s.comm for s in prof.stacks} == {lib.comm("crowd")}
        whole = [s for s in work if s.frames[0].startswith(("clone", "__clone"))]
        assert prof.total(whole) > 0.97 * prof.total(work), work[:5]
        lib.note(f"{what}: {total} samples, {prof.total(whole)} of {prof.total(work)} whole; {prof.ledger}")


def test_own_process_of_many_threads_with_few_descriptors():
    """An ordinary user cannot filter a whole CPU: what is left out is said."""
    lib.need_root()
    os.chmod(lib.env.dir, 0o777)
    exe, target = (os.path.join(lib.env.dir, n) for n in ("gprofiler", "crowd"))
    shutil.copy(lib.GPROFILER, exe)
    shutil.copy(lib.workload("crowd"), target)
    child = lib.env.start(*NOBODY, target, 300, 200)
    lib.wait_for("its threads", lambda: len(os.listdir(f"/proc/{child.pid}/task")) == 201)
    out = os.path.join(lib.env.dir, "o")
    r = subprocess.run(["prlimit", "--nofile=256:256", *NOBODY, exe, "--rootless", "-d", "3", "-f", "199", "-p", str(child.pid), "-o", out,
                        "--log-file", out + "/log", "--pid-file", out + "/pid"], capture_output=True, text=True, timeout=60,
                       env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-few-{os.getpid()}", GPROFILER_SYSTEM_CONFIG=""))
    text = r.stdout + r.stderr
    assert "threads" in text, text
    assert r.returncode == 0, text
    left_out = int(re.search(r"sampling: (\d+) of 201 threads are not seen", text).group(1))
    total = lib.Profile(out + "/last_profile.col").total()
    lib.note(f"{201 - left_out} of 201 threads seen, {total} samples")
    assert left_out < 201 - 20 and total > 5, text


def test_little_locked_memory_for_an_ordinary_user():
    """perf_event_mlock_kb is charged a user: smaller rings, or an error that names the limit."""
    lib.need_root()
    os.chmod(lib.env.dir, 0o777)
    exe, target = (os.path.join(lib.env.dir, n) for n in ("gprofiler", "split"))
    shutil.copy(lib.GPROFILER, exe)
    shutil.copy(lib.workload("split"), target)
    child = lib.env.start(*NOBODY, target, 60)
    runs = []
    for i in range(3):  # at the same time: they share the user's allowance
        out = os.path.join(lib.env.dir, f"o{i}")
        runs.append((out, lib.env.start(
            "prlimit", "--memlock=0:0", *NOBODY, exe, "--rootless", "-d", "4", "-f", "199", "-p", str(child.pid), "-o", out,
            "--log-file", out + "/log", "--pid-file", out + "/pid", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-lock{i}-{os.getpid()}", GPROFILER_SYSTEM_CONFIG=""))))
    good = 0
    for out, p in runs:
        text = p.communicate(timeout=60)[0]
        if p.returncode == 0:
            prof = lib.Profile(out + "/last_profile.col")
            stacks = prof.of("split")
            assert prof.total(stacks) > 50
            assert prof.total([s for s in stacks if s.frames[0] == "_start"]) > 0.97 * prof.total(stacks)
            good += 1
        else:
            assert p.returncode == 1 and "perf_event_mlock_kb" in text, text
    lib.note(f"{good} of 3 ran within the limit")
    assert good >= 1


def replayed_by_nobody(record):
    """The profile of a recording, made without privileges."""
    os.chmod(lib.env.dir, 0o777)
    exe, out = (os.path.join(lib.env.dir, n) for n in ("gprofiler", "o"))
    shutil.copy(lib.GPROFILER, exe)
    os.chmod(record, 0o644)
    r = subprocess.run([*NOBODY, exe, "--rootless", "--replay", record, "-o", out, "--log-file", out + "/log", "--pid-file", out + "/pid"],
                       capture_output=True, text=True, timeout=60, cwd="/",
                       env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-replay-{os.getpid()}", GPROFILER_SYSTEM_CONFIG=""))
    assert r.returncode == 0, r.stdout + r.stderr
    return lib.Profile(out + "/last_profile.col")


def test_replay_through_the_vdso():
    """The vDSO is in no file and its process is gone: the recording carries it, for its tables and its names."""
    lib.need_root()
    record = os.path.join(lib.env.dir, "record")
    load = lib.start("syscalls", 200)

    def through(p):
        # Nobody may not see the kernel's names.
        return [s for s in p.of(lib.comm("syscalls"))
                if any("clock_gettime" in f for f in s.frames) and not s.frames[-1].endswith(("_[k]", "(kernel.kallsyms)"))]

    def profile(seconds):
        if os.path.exists(record):
            os.unlink(record)
        # Every stack of this rung is walked in user space, in the replay again.
        return lib.gprofiler("-d", seconds, "-f", 299, "--source", "ring", "-p", load.pid, "--record", record)
    prof = lib.until(lambda prof: prof.total(through(prof)) > 100, profile, 2)
    load.kill()
    load.wait()
    again = replayed_by_nobody(record)

    def whole(stacks):
        return [s for s in stacks if s.frames[0] == "_start" and "ask_time" in s.frames]

    lib.note(f"{prof.total(through(prof))} samples in clock_gettime, {prof.total(through(again))} in the replay")
    assert prof.total(through(prof)) > 50
    # Some of libc's own clock_gettime() are among them; in the vDSO itself the frame is the leaf.
    leaves = [s for s in through(again) if "vdso" in s.frames[-1]]
    assert again.total(leaves) > 25, [s.frames[-3:] for s in through(again)][:5]
    assert prof.total(through(again)) == prof.total(through(prof))
    assert prof.total(whole(through(again))) == prof.total(whole(through(prof))) > 0.97 * prof.total(through(prof))


def test_recording_of_root_replayed_by_nobody():
    """The same stacks, without privileges and without the processes."""
    lib.need_root()
    loads = ("split", "signals", "templates", "spin_go", "syscalls")
    started = [lib.start(w, 60) for w in loads]
    record = os.path.join(lib.env.dir, "record")
    prof = lib.gprofiler("-d", 5, "-f", 299, "--record", record)
    for p in started:
        p.kill()
        p.wait()
    again = replayed_by_nobody(record)

    def stacks(p, comm):
        """User parts: nobody may not read kernel addresses."""
        count = {}
        for s in p.of(comm):
            key = ";".join(f for f in s.frames if not f.endswith("_[k]") and not f.startswith("(kernel."))
            count[key] = count.get(key, 0) + s.count
        return count

    assert again.total() == prof.total(), (again.total(), prof.total())
    for w in loads:
        one, two = stacks(prof, lib.comm(w)), stacks(again, lib.comm(w))
        total = sum(one.values())
        assert total > 10, (w, total)
        same = sum(min(n, two.get(k, 0)) for k, n in one.items())
        lib.note(f"{w}: {same} of {total} samples have the same stack")
        # Nor can a replay read what the copied stack did not hold.
        assert total - same <= prof.ledger["finished_late"], "\n".join(f"{n} -> {two.get(k, 0)} {k}" for k, n in one.items() if two.get(k) != n)[:3000] + \
            "\nnew:\n" + "\n".join(f"{n} {k}" for k, n in two.items() if k not in one)[:2000]
    check_sum(again.ledger)


def test_recording_of_interpreters():
    """Walked in the kernel although recorded; in the replay named as they were, without the processes."""
    lib.need_root()
    pythons = {f"py{v}"[:15]: path for v, path in chosen()[::max(1, len(chosen()) - 1)]}    # the oldest and the newest
    started = [start_python(comm, path, "-c", LOOP) for comm, path in pythons.items()]
    for p in started:
        wait_for_burning(p, 0.2)
    record = os.path.join(lib.env.dir, "record")
    prof = lib.gprofiler_until(lambda p: all(p.total(p.of(comm)) > 100 for comm in pythons), "-f", 499, "--record", record,
                               *[a for p in started for a in ("-p", p.pid)], seconds=1)
    for p in started:
        p.kill()
        p.wait()
    again = lib.gprofiler("--replay", record, out="again")
    for comm in pythons:
        assert again.total(again.of(comm)) == prof.total(prof.of(comm))
        # Whole stacks: native frames below those of Python.
        check_running(prof, comm, lambda f: begins(f, TRUTH))
        check_running(again, comm, lambda f: begins(f, TRUTH))
        one, two = ({";".join(s.frames): s.count for s in p.of(comm)} for p in (prof, again))
        same = sum(min(n, two.get(stack, 0)) for stack, n in one.items())
        assert sum(one.values()) - same <= prof.ledger["finished_late"], [s for s in one if s not in two][:3]


if __name__ == "__main__":
    lib.main(globals())
