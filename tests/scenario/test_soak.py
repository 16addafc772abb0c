# SPDX-License-Identifier: Apache-2.0
"""An agent through what months bring: fork storms, containers that come and go, a server that is away, a full disk,
clocks that are set. Memory, descriptors and pipes stay, no window is lost, no error is logged.

GPROFILER_SOAK_SECONDS: how long (`make soak` takes ten minutes)."""
import glob
import os
import random
import re
import subprocess
import sys
import threading
import time

import lib
import watch_lib

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "delivery"))
import studio_server as S

SECONDS = int(os.environ.get("GPROFILER_SOAK_SECONDS") or 60)
PROCESSES = max(10000, 150 * SECONDS)
DISK_MB, KEEP_MB = 12, 4
FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
MB = 1048576


class Trouble:
    """Threads that make trouble until told to stop; what goes wrong in one fails the test."""

    def __init__(self):
        self.stop, self.threads, self.failures, self.counts = threading.Event(), [], [], {}

    def start(self, deed, *args):
        def run():
            try:
                deed(*args)
            except Exception as e:
                self.failures.append((deed.__name__, repr(e)))
        t = threading.Thread(target=run, name=deed.__name__, daemon=True)
        t.start()
        self.threads.append(t)

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    def wait(self, seconds):
        return self.stop.wait(seconds)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive(), t.name
        assert not self.failures, self.failures


def fork_storms(trouble):
    """So many processes come and go, most of them in bursts, some as programs of their own."""
    left, storm, spawn = PROCESSES, lib.workload("storm"), lib.workload("spawn")
    begin = time.monotonic()
    while left > 0 and not (trouble.stop.is_set() and SECONDS > 60):
        subprocess.run([storm, "990", "90"], check=True)
        subprocess.run([spawn, "10", "1"], check=True, stdout=subprocess.DEVNULL)
        left -= 1000
        trouble.count("processes", 1000)
        # Spread over two thirds of the time.
        trouble.wait(max(0, begin + SECONDS * 0.66 * (PROCESSES - left) / PROCESSES - time.monotonic()))


def hierarchy():
    """Where a group can be made: cgroup v1's memory controller, else v2."""
    for path in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.exists(os.path.join(path, "cgroup.procs")) and os.access(path, os.W_OK):
            return path
    return None


def containers(trouble, root):
    """A container: a group of a name that Docker would give, with a process that works for a moment."""
    spawn = lib.workload("spawn")
    parent = os.path.join(root, f"gprofiler-soak-{os.getpid()}")
    os.mkdir(parent)
    try:
        while not trouble.wait(0.5):
            group = os.path.join(parent, "docker-%064x.scope" % random.getrandbits(256))
            os.mkdir(group)
            subprocess.run(["sh", "-c", f"echo $$ > {group}/cgroup.procs && exec {spawn} 2 20"], stdout=subprocess.DEVNULL, check=True)
            watch_lib.wait_for("an empty group", lambda: remove_group(group), 30)
            trouble.count("containers")
    finally:
        watch_lib.wait_for("an empty group", lambda: remove_group(parent), 30)


def remove_group(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def outages(trouble, studio):
    """The server dies in every way, now and then, for seconds."""
    ways = [S.die_at_once, S.die_after_body, S.die_in_answer, S.status(503), S.status(429), S.silent(1)]
    while not trouble.wait(4):
        studio.always = random.choice(ways)
        trouble.wait(3)
        studio.always = None
        trouble.count("outages")


def full_disk(trouble, directory):
    """Somebody else takes all that is free, for seconds."""
    path = os.path.join(directory, "somebody-elses")
    while not trouble.wait(3):
        with open(path, "wb") as f:
            try:
                while True:
                    os.write(f.fileno(), bytes(1 << 16))
            except OSError:
                trouble.count("times the disk was full")
        trouble.wait(2)
        os.unlink(path)


def clock_steps(trouble, path):
    """Somebody sets the clock, an hour forth, half an hour back."""
    steps = ["+3600s", "+1800s", "-1700s", "+0s"]
    while not trouble.wait(3):
        set_clock(path, steps[trouble.counts.get("clock steps", 0) % len(steps)])
        trouble.count("clock steps")


def set_clock(path, offset):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(offset + "\n")
    os.rename(path + ".new", path)


def median(values):
    return sorted(values)[len(values) // 2]


def judge(rows):
    """Nothing grows: the last third against the one before it."""
    third = len(rows) // 3
    assert third >= 5, len(rows)
    middle, last = rows[third:2 * third], rows[2 * third:]
    for name, factor, slack in (('gprofiler_agent_memory_bytes{kind="anonymous"}', 1.10, 1.5 * MB), ('gprofiler_agent_memory_bytes{kind="bpf"}', 1, MB / 16)):
        a, b = median([r[name] for r in middle]), median([r[name] for r in last])
        lib.note(f"{name}: {a / MB:.2f} MB, then {b / MB:.2f} MB")
        assert b <= a * factor + slack, (name, a, b)
    assert {r["gprofiler_agent_pipes"] for r in rows} == {0}
    assert {r["gprofiler_agent_child_processes"] for r in rows} == {0}


def mounted(directory):
    os.makedirs(directory)
    r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", directory], capture_output=True, text=True)
    if r.returncode:
        lib.skip(f"no tmpfs can be mounted: {r.stderr.strip()}")


def soak(directory, studio, trouble):
    clock = os.path.join(lib.env.dir, "clock")
    set_clock(clock, "+0s")
    environ = {"XDG_STATE_HOME": lib.env.dir}
    if FAKETIME:
        environ.update(LD_PRELOAD=FAKETIME[0], FAKETIME_TIMESTAMP_FILE=clock, FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1",
                       DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1")
    spool = os.path.join(lib.env.dir, "spool")
    log = os.path.join(lib.env.dir, "out", "log")
    args = ["-o", directory, "-d", 1, "-f", 99, "--max-cpu", 0, "--keep-output", f"{KEEP_MB}mb", "-u", "--token", studio.token, "--service-name", "soak",
            "--server-host", studio.url, "--spool-dir", spool, "--flamegraph"]
    with watch_lib.agent(*args, environ=environ) as a:
        a.windows(2)
        trouble.start(fork_storms, trouble)
        trouble.start(outages, trouble, studio)
        trouble.start(full_disk, trouble, directory)
        if FAKETIME:
            trouble.start(clock_steps, trouble, clock)
        if hierarchy():
            trouble.start(containers, trouble, hierarchy())
        rows, most, kinds = [], 0, []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or trouble.counts.get("processes", 0) < 10000:
            assert a.process.poll() is None, a.log()[-3000:]
            rows.append(a.values())
            kinds.append(lib.descriptors(a.process.pid))
            results = [os.path.join(directory, n) for n in os.listdir(directory) if n.startswith("profile_")]
            most = max(most, sum(os.stat(p).st_size for p in results if os.path.exists(p)))
            time.sleep(0.5)
        trouble.end()
        studio.always = None
        a.stop()
        text = a.log()
    return rows, most, kinds, text, spool


def test_nothing_grows_and_nothing_is_lost():
    lib.need_root()
    directory = os.path.join(lib.env.dir, "disk")
    mounted(directory)
    studio, trouble = S.Studio(), Trouble()
    try:
        rows, most, kinds, log, spool = soak(directory, studio, trouble)
    finally:
        trouble.stop.set()
        studio.close()
        subprocess.run(["umount", "-l", directory], check=True)
    lib.note(f"{len(rows)} looks in {SECONDS} s or more; " + ", ".join(f"{n} {what}" for what, n in trouble.counts.items()))
    assert trouble.counts["processes"] >= 10000 and trouble.counts.get("outages") and trouble.counts.get("times the disk was full"), trouble.counts
    if not FAKETIME:
        lib.note("libfaketime is not installed: the clock was not set")
    bad = [l for l in log.splitlines() if "] ERROR: " in l or "] CRITICAL: " in l]
    assert not bad, bad[:10]
    judge(rows)
    others = [{k: n for k, n in f.items() if k not in ("file", "socket")} for f in kinds]
    third = len(others) // 3
    for kind in {k for f in others for k in f}:
        middle, last = (median([f.get(kind, 0) for f in part]) for part in (others[third:2 * third], others[2 * third:]))
        assert last == middle, (kind, middle, last)
    assert max(f.get("file", 0) for f in kinds) < 520
    assert max(f.get("socket", 0) for f in kinds) <= 16, max(f.get("socket", 0) for f in kinds)
    assert most <= KEEP_MB * MB, f"{most} bytes of results, more than --keep-output"
    # Every window that ended is at the server or waits for it.
    written, brief, failed, lost = map(int, re.search(r"(\d+) profiles written, (\d+) of them without their page, (\d+) failed, (\d+) lost", log).groups())
    last = rows[-1]
    assert failed == 0 and lost == 0, log[-2000:]
    assert last["gprofiler_agent_windows_total{result=\"failed\"}"] == 0
    waiting = len(glob.glob(os.path.join(spool, "*.upload")))
    lib.note(f"{written} windows, {brief} without a page; {len(studio.uploads)} uploads taken, {waiting} wait")
    assert len(studio.uploads) + waiting >= written, (len(studio.uploads), waiting, written)
    lost_in_spool = [n for n, v in last.items() if n.startswith("gprofiler_agent_spool_lost_total") and v]
    assert not lost_in_spool, lost_in_spool
    cores = glob.glob(os.path.join(lib.env.dir, "**", "core*"), recursive=True) + glob.glob("core*")
    assert not cores, cores


if __name__ == "__main__":
    lib.main(globals())
