# SPDX-License-Identifier: Apache-2.0
"""Python of Debian bullseye, bookworm, trixie and forky, each in a chroot in mount and pid namespaces of its own, as an
ordinary user, profiled from outside. `make matrix` makes the chroots; the ordinary run takes one that is there."""
import os
import re
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
FRAME = re.compile(r"^(.*) \((.*):(\d+)( \[[^\]]*\])?\)_\[p\]$")
SECONDS = 20
SAMPLES = 100  # least; the machine may be shared


def python_frames(stack):
    return [m.group(1).split(".")[-1] for m in map(FRAME.match, stack.frames) if m]


def is_right(stack, truths, files):
    """Whole to its native root, and the Python frames equal to a truth, or to the part of one that has begun; of these files."""
    frames = python_frames(stack)
    return (bool(frames) and not stack.frames[0].startswith("[") and any(t[:len(frames)] == frames for t in truths) and
            all(m.group(2) in files for m in map(FRAME.match, stack.frames) if m))


def measure(profile, comm, truths, inside, least=0.99):
    stacks = profile.of(comm)
    total = profile.total(stacks)
    good = profile.total([s for s in stacks if is_right(s, truths, {inside})])
    leaf = profile.total([s for s in stacks if python_frames(s) in truths])
    lib.note(f"{comm}: {total} samples, {100 * good / max(total, 1):.2f} % equal to the truth, "
             f"{100 * leaf / max(total, 1):.1f} % in its innermost function")
    if total < SAMPLES or good < least * total:
        for s in sorted((s for s in stacks if not is_right(s, truths, {inside})), key=lambda s: -s.count)[:6]:
            lib.note(f"{s.count} {';'.join(s.frames)[-500:]}")
        raise AssertionError(f"{comm}: {good} of {total}")
    return stacks, total


def run(suite, mode, truths, *args):
    path = chroots.cached(suite) or chroots.make(suite)
    lib.need_root()
    version = chroots.version(path)
    assert tuple(int(x) for x in version.split(".")[:2]) == chroots.SUITES[suite], (suite, version)
    inside = chroots.install(path, PROGRAM)
    comm = f"{suite[:7]}-{mode[:7]}"
    process = chroots.start(path, comm, inside, mode, SECONDS + 15, *args)
    time.sleep(2)
    assert process.poll() is None, f"{suite}: the program has ended"
    p = lib.gprofiler("-d", SECONDS, "-f", 199)
    lib.note(f"{suite}: Python {version}")
    return measure(p, comm, truths, inside), p


def paths(suite):
    truths = [PREFIX + frames for _, frames in PATHS.values()]
    (stacks, total), p = run(suite, "paths", truths)
    for path, (share, _) in PATHS.items():
        lib.check_near(path, p.total([s for s in stacks if path in python_frames(s)]) / total, share, 0.08)


def threads(suite):
    path = chroots.make(suite)
    inside = chroots.install(path, PROGRAM)
    comm = f"{suite[:7]}-threads"
    chroots.start(path, comm, inside, "threads", SECONDS + 15)
    time.sleep(2)
    p = lib.gprofiler("-d", SECONDS, "-f", 199)
    stacks = p.of(comm)
    total = p.total(stacks)
    truth = ["_bootstrap", "_bootstrap_inner", "run", "in_thread", "burn"]
    # 3.14 runs threads in a context of their own.
    good = p.total([s for s in stacks if not s.frames[0].startswith("[") and python_frames(s) and
                    [f for f in python_frames(s) if f != "_context_run"] == truth[:len(python_frames(s))]])
    lib.note(f"{comm}: {total} samples, {100 * good / max(total, 1):.2f} % in threads of their own")
    assert total >= SAMPLES and good >= 0.97 * total, [(s.count, s.frames) for s in stacks if "in_thread" not in python_frames(s)][:4]


def deep(suite):
    run(suite, "deep", [PREFIX + ["descend"] * 101 + ["burn"]], 100)


def test_one_cached_chroot():
    """For the ordinary run: whatever was made by `make matrix`, the newest."""
    for suite in reversed(chroots.SUITES):
        if chroots.cached(suite):
            return paths(suite)
    lib.skip("no chroot is cached; make matrix makes them")


def add(suite, mode):
    globals()[f"test_{suite}_{mode.__name__}"] = lambda: mode(suite)


for _suite in chroots.SUITES:
    for _mode in (paths, threads, deep):
        add(_suite, _mode)


if __name__ == "__main__":
    lib.main(globals())
