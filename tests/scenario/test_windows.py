# SPDX-License-Identifier: Apache-2.0
"""Continuous runs: windows without gaps, bounded in memory and descriptors, and how they end."""
import glob
import os
import signal
import stat
import time

import lib

OUTCOMES = ("idle", "filtered", "kernel_only", "complete", "handoff", "truncated", "broken", "bits32",
            "no_user", "lost_ring")


wait_for = lib.wait_for


def profiles(p):
    return sorted(glob.glob(os.path.join(p.out, "profile_*.col")))


def log(p):
    path = os.path.join(p.out, "log")
    return open(path).read() if os.path.exists(path) else ""


def started(p):
    wait_for("sampling", lambda: "Sampling" in log(p))


def finish(p, seconds=5, sig=signal.SIGTERM):
    """Ends it and says how long that took."""
    begin = time.monotonic()
    p.send_signal(sig)
    out, err = p.communicate(timeout=30)
    took = time.monotonic() - begin
    assert p.returncode == 0, (p.returncode, out[-2000:], err[-2000:])
    assert took < seconds, f"{took:.2f} s from the signal to the exit"
    return took


def status(pid, *keys):
    values = {}
    for line in open(f"/proc/{pid}/status"):
        key, _, value = line.partition(":")
        if key in keys:
            values[key] = int(value.split()[0])
    return values


def descriptors(pid):
    """Kinds of open descriptors; files are those of sampled modules (kept open up to a cap) and the log."""
    kinds = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        kind = "file" if target.startswith("/") and not target.startswith("/dev/") else target.partition(":")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def cpu_of(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_sample_falls_between_windows():
    """A thread that always runs is sampled by its CPU time; the sum over all windows is that, and the
    sum of all outcomes is what the sampler counted."""
    freq = 499
    w = lib.start("split", 60)
    p = lib.start_gprofiler("-c", "-d", 1, "-f", freq, "--no-flamegraph", "--max-cpu", 0)
    wait_for("the first window", lambda: profiles(p))
    first = lib.Profile(profiles(p)[0])
    wait_for("twelve windows", lambda: len(profiles(p)) >= 12, 40)
    finish(p)
    ran = cpu_of(w.pid)
    windows = [lib.Profile(path) for path in profiles(p)]
    assert windows[0].path == first.path
    entries = sum(x.ledger["entries"] for x in windows)
    said = sum(sum(x.ledger[o] for o in OUTCOMES) for x in windows)
    assert entries == said, (entries, said)
    for x in windows:
        # What was delivered for this window is in this window, to the last sample.
        lost = x.ledger["lost_ring"] + x.ledger["aggregation_full"]
        delivered = x.ledger["entries"] - x.ledger["idle"] - x.ledger["filtered"] - lost
        assert x.total() == delivered, (x.total(), x.ledger)
    # Length of every window but the last, by the file names: they follow each other exactly.
    names = [os.path.basename(x.path) for x in windows]
    seconds = [int(n[-6:-4]) for n in names]
    gaps = {(b - a) % 60 for a, b in zip(seconds[:-1], seconds[1:-1])}
    assert gaps == {1}, names
    whole = windows[1:-1]
    expected = sum(x.ledger["expected"] for x in whole)
    lib.note(f"{len(windows)} windows, {entries} entries, {expected} by the clock in {len(whole)}; workload {ran} s")
    lib.check_near("entries against the clock",
                   sum(x.ledger["entries"] + x.ledger["idle_silent"] for x in whole) / expected, 1.0, 0.1)


def test_thirty_windows_take_no_more_memory_than_ten():
    lib.start("threads", 60) if os.path.exists(os.path.join(lib.WORKLOADS, "workload_threads")) else None
    spawner = lib.start("spawn", 3000, 5)
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 199, "--rotating-output")
    seen = []
    while len(seen) < 30 and p.poll() is None:
        n = log(p).count("Saved collapsed stacks")
        if n > len(seen):
            s = status(p.pid, "RssAnon", "RssShmem")
            seen.append((s["RssAnon"] + s["RssShmem"], descriptors(p.pid)))
        time.sleep(0.05)
    assert spawner.pid
    finish(p)
    assert len(seen) >= 30, (len(seen), log(p)[-2000:])
    memory = [m for m, _ in seen]
    fds = [f for _, f in seen]
    early, late = max(memory[5:12]), max(memory[-7:])
    lib.note(f"anonymous memory {early} kB in windows 6 to 12, {late} kB in the last 7; descriptors {fds[5]} and {fds[-1]}")
    assert late <= early * 1.15 + 1024, memory
    # The output file of a window is open for a moment; modules stay open, up to a cap.
    others = [{k: n for k, n in f.items() if k != "file"} for f in fds]
    assert others[-1] == others[5], (others[5], others[-1])
    assert max(f["file"] for f in fds) < 520, fds
    assert len(profiles(p)) == 1, "--rotating-output keeps the newest only"
    assert "] ERROR: " not in log(p), log(p)[-3000:]


def test_sigterm_writes_the_running_window():
    w = lib.start("split", 30)
    p = lib.start_gprofiler("-c", "-d", 60, "-f", 199)
    started(p)
    before = cpu_of(w.pid)
    time.sleep(2)
    ran = cpu_of(w.pid) - before
    took = finish(p)
    lib.note(f"{took:.2f} s")
    prof = lib.Profile(os.path.join(p.out, "last_profile.col"))
    assert prof.total(prof.of("workload_split")) > ran * 199 * 0.8, (prof.total(), ran)
    assert os.path.exists(os.path.join(p.out, "last_flamegraph.html"))
    assert open(os.path.join(p.out, "pid")).read() == str(p.pid)


def test_the_controller_ends_it():
    controller = lib.env.start("sleep", "3")
    p = lib.start_gprofiler("-c", "-d", 60, "-f", 99, "--controller-pid", controller.pid)
    # Not reaped until it is waited for: a zombie counts as gone.
    out, err = p.communicate(timeout=20)
    assert p.returncode == 0, (out, err)
    assert f"Controller process {controller.pid} has exited; gProfiler stopping..." in log(p)
    assert profiles(p)


def test_a_controller_that_does_not_run_is_refused():
    gone = lib.env.start("true")
    gone.wait()
    p = lib.gprofiler("-c", "-d", 60, "--controller-pid", gone.pid, expect=1)
    assert f"Controller process {gone.pid}" in log(p)


def test_heartbeat_file():
    beat = os.path.join(lib.env.dir, "beat")
    old = os.umask(0o077)
    try:
        p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, "--no-flamegraph", "--heartbeat-file", beat)
    finally:
        os.umask(old)
    wait_for("the file", lambda: os.path.exists(beat))
    assert stat.S_IMODE(os.stat(beat).st_mode) == 0o644, oct(os.stat(beat).st_mode)
    times = set()
    wait_for("three windows", lambda: times.add(os.stat(beat).st_mtime_ns) or len(times) >= 3)
    finish(p)


def test_sighup_reopens_the_log():
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, "--no-flamegraph")
    started(p)
    path = os.path.join(p.out, "log")
    os.rename(path, path + ".old")
    p.send_signal(signal.SIGHUP)
    wait_for("a new log", lambda: "Log file reopened" in log(p))
    wait_for("windows in it", lambda: "Saved collapsed" in log(p))
    finish(p)


if __name__ == "__main__":
    lib.main(globals())
