# SPDX-License-Identifier: Apache-2.0
"""Two continuous runs beside each other: windows without gaps, and windows that take no more memory or descriptors
the longer they go on. Alone on the machine: what others start is sampled, too, and takes its place."""
import os
import time

import lib
from test_windows import finish, profiles

OUTCOMES = ("idle", "filtered", "kernel_only", "complete", "handoff", "truncated", "broken", "bits32",
            "no_user", "lost_ring")
WINDOWS = 30


def check_no_gap(p, ran):
    """The sum over all windows is what the sampler counted, and each begins where the last one ended."""
    windows = [lib.Profile(path) for path in profiles(p)]
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


def check_no_growth(p, seen):
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
    assert "] ERROR: " not in lib.log(p), lib.log(p)[-3000:]


def test_thirty_windows_lose_nothing_and_take_no_more_memory_than_ten():
    w = lib.start("split", 300)
    lib.start("threads", 300) if os.path.exists(os.path.join(lib.WORKLOADS, "workload_threads")) else None
    lib.start("spawn", 3000, 5)
    all_kept = lib.start_gprofiler("-c", "-d", 1, "-f", 499, "--no-flamegraph", "--max-cpu", 0, out="kept")
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 199, "--rotating-output")
    seen, end = [], time.monotonic() + 300
    while len(seen) < WINDOWS and p.poll() is None and time.monotonic() < end:
        n = lib.log(p).count("Saved collapsed stacks")
        if n > len(seen):
            s = lib.status_of(p.pid, "RssAnon", "RssShmem")
            seen.append((s["RssAnon"] + s["RssShmem"], lib.descriptors(p.pid)))
        time.sleep(0.05)
    finish(p)
    assert len(seen) >= WINDOWS, (len(seen), lib.log(p)[-2000:])
    lib.wait_for("twelve windows", lambda: len(profiles(all_kept)) >= 12)
    finish(all_kept)
    check_no_growth(p, seen)
    check_no_gap(all_kept, lib.cpu_of(w.pid))


if __name__ == "__main__":
    lib.main(globals())
