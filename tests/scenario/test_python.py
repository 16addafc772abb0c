# SPDX-License-Identifier: Apache-2.0
"""Python frames read in the kernel, woven into native stacks, for every CPython on the machine."""
import collections
import functools
import glob
import os
import re
import subprocess

import lib

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", "truth.py")
PREFIX = ["<module>", "main"]
PATHS = {
    "path_seventy": (0.70, ["paths", "path_seventy", "key_seventy", "burn"]),
    "path_twenty": (0.20, ["paths", "path_twenty", "fold_twenty", "burn"]),
    "path_ten": (0.10, ["paths", "path_ten", "generate_ten", "burn"]),
}
FRAME = re.compile(r"^(.*) \((.*):(\d+)( \[[^\]]*\])?\)_\[p\]$")


@functools.lru_cache(None)
def pythons():
    """{version: path} of what is installed; none of it is required."""
    found = {}
    for path in sorted(glob.glob("/usr/bin/python[23].[0-9]*")) + sorted(
            glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python"))):
        if not re.search(r"python[0-9.]*$", path):
            continue
        try:
            text = subprocess.run([path, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30).stdout.decode().strip()
        except (OSError, subprocess.TimeoutExpired):
            continue
        if text and text not in found:
            found[text] = path
    if not found:
        lib.skip("no Python of a known place")
    if os.environ.get("GPROFILER_ALL_PYTHONS"):
        return found	# `make matrix`
    # One of each kind of frame chain keeps the ordinary run short: frame objects (the oldest and the last),
    # _PyCFrame (3.11), shim frames (3.12 and the newest); abi/python.h.
    numbers = {v: tuple(int(x) for x in v.split(".")) for v in found}
    order = sorted(found, key=lambda v: numbers[v])
    old = [v for v in order if numbers[v] < (3, 11)]
    cframe = [v for v in order if (3, 11) <= numbers[v] < (3, 12)]
    shim = [v for v in order if numbers[v] >= (3, 12)]
    kept = set(old[:1] + old[-1:] + cframe[:1] + shim[:1] + shim[-1:])
    return {v: path for v, path in found.items() if v in kept}


def chosen(least=(0, 0)):
    """Those at least this new, oldest first."""
    numbers = {v: tuple(int(x) for x in v.split(".")) for v in pythons()}
    found = [(v, path) for v, path in pythons().items() if numbers[v] >= least]
    if not found:
        lib.skip("no Python from %d.%d on" % least)
    return sorted(found, key=lambda f: numbers[f[0]])


def start(version, path, *args, **kw):
    """Under the comm py<version>-<mode>, of 15 characters at most."""
    name = f"py{version}-{args[0]}"[:15]
    link = os.path.join(lib.env.dir, name)
    if not os.path.lexists(link):
        os.symlink(os.path.realpath(path), link)
    p = lib.env.start(link, PROGRAM, *args, **kw)
    p.comm = name
    return p


def python_frames(stack):
    """Names of the Python frames, root first."""
    return [m.group(1).split(".")[-1] for m in map(FRAME.match, stack.frames) if m]


def is_prefix(part, whole):
    return whole[:len(part)] == part


def whole(stack):
    return bool(stack.frames) and not stack.frames[0].startswith("[")


def gone(stack):
    """On its way out with its memory given back: no user stack is left, of whatever language."""
    return "do_exit_[k]" in stack.frames and all(f.endswith("_[k]") for f in stack.frames)


def show(stacks, most):
    for s in stacks[:most]:
        lib.note(f"{s.count} {';'.join(s.frames)[-400:]}")


def expect(comm, stacks, truths, least=0.99, prefixes=True, samples=60, native=0.97):
    """Share of the samples that are whole and whose Python frames are one of the truths (or on the way to one)."""
    stacks = [s for s in stacks if not gone(s)]
    total = sum(s.count for s in stacks)
    if total < samples:
        return f"{comm}: only {total} samples"

    def right(s):
        frames = python_frames(s)
        return bool(frames) and any(
            frames == t or (prefixes and is_prefix(frames, t)) for t in truths)

    good = sum(s.count for s in stacks if right(s))
    complete = sum(s.count for s in stacks if whole(s))
    none = sum(s.count for s in stacks if not python_frames(s))
    stray = sum(s.count for s in stacks if any("EvalFrame" in f for f in s.frames))
    lib.note(f"{comm}: {total} samples, {100 * good / total:.2f} % equal to the truth, "
             f"{100 * complete / total:.2f} % from the thread's first frame, "
             f"{none} without Python frames, {stray} with an eval frame of no run")
    # While a machine is busy the tables of a file just met may come late: a matter of native stacks.
    if complete / total < native:
        show(sorted((s for s in stacks if not whole(s)), key=lambda s: -s.count), 4)
        return f"{comm}: {complete} of {total} whole"
    if good / total < least:
        bad = sorted((s for s in stacks if not right(s)), key=lambda s: -s.count)
        show(bad, 6)
        return f"{comm}: {good} of {total} equal to the truth"
    return None


def check(problems):
    problems = [p for p in problems if p]
    assert not problems, "\n".join(problems)


Beside = collections.namedtuple("Beside", "profile processes ended")
MODES = {"paths": (), "deep": (200,), "abyss": (900,), "threads": (), "sleepy": (), "subinterpreter": ()}


def has_mode(version, mode):
    """To 3.10 a call of Python is several native frames, more than a sample holds of 900; to 3.7 nothing makes interpreters."""
    number = tuple(int(x) for x in version.split("."))
    return number >= {"abyss": (3, 11), "subinterpreter": (3, 8)}.get(mode, (0, 0))


@functools.lru_cache(None)
def beside():
    """One profile of all programs that only have to run, in all versions side by side: many cases look at it."""
    # The shares of paths are counted: those programs get three times the CPU of the others.
    started = {(mode, v): start(v, path, mode, 300, *args, preexec_fn=None if mode == "paths" else lambda: os.nice(5))
               for mode, args in MODES.items() for v, path in chosen() if has_mode(v, mode)}
    for p in started.values():
        lib.wait_for(f"{p.comm} to run", lambda p=p: p.poll() is not None or lib.cpu_of(p.pid) > 0.2, 90)

    def enough(profile):
        return all(total(profile.of(p.comm)) >= (300 if mode == "paths" else 100) for (mode, _), p in started.items() if p.poll() is None)
    profile = lib.gprofiler_until(enough, "-f", 499, seconds=12)
    return Beside(profile, started, {k for k, p in started.items() if p.poll() is not None})


def comm_of(pid):
    with open(f"/proc/{pid}/comm") as f:
        return f.read().strip()


def of_mode(mode):
    """(version, comm, stacks) of each version."""
    run = beside()
    return [(v, p.comm, run.profile.of(p.comm)) for (m, v), p in run.processes.items() if m == mode]


def total(stacks):
    return sum(s.count for s in stacks)


def test_paths_of_every_version():
    problems = []
    truths = [PREFIX + frames for _, frames in PATHS.values()]
    for _, comm, stacks in of_mode("paths"):
        problems.append(expect(comm, stacks, truths, samples=60))
        n = total(stacks) or 1
        for path, (share, frames) in PATHS.items():
            seen = total([s for s in stacks if path in python_frames(s)]) / n
            if abs(seen - share) > 0.08:
                problems.append(f"{comm}: {path} has {seen:.3f} of the time, not {share}")
        # The function of C stands between the Python frames that it joins.
        joined = [s for s in stacks if "key_seventy" in python_frames(s)]
        between = 0
        for s in joined:
            names = [m.group(1).split(".")[-1] if m else None for m in map(FRAME.match, s.frames)]
            a, b = names.index("path_seventy"), names.index("key_seventy")
            if b > a + 1 and all(f.endswith("_[pn]") or f.startswith("(") for f in s.frames[a + 1:b]):
                between += s.count
        if joined and between < 0.98 * total(joined):
            problems.append(f"{comm}: sorted() is between its caller and its key in {between} of {total(joined)}")
        if not all(f.endswith(("_[p]", "_[pn]", "_[k]")) or f.startswith(("(", "[")) for s in joined for f in s.frames):
            problems.append(f"{comm}: a frame without a suffix")
    check(problems)


def first_lines():
    return {name: i for i, text in enumerate(open(PROGRAM, encoding="utf-8"), 1)
            for name in re.findall(r"^def (\w+)\(", text)}


def test_first_lines_and_files():
    lines = first_lines()
    for _, comm, stacks in of_mode("paths"):
        seen = 0
        for s in stacks:
            for f in s.frames:
                m = FRAME.match(f)
                if m and m.group(1) in lines:
                    assert m.group(2) == PROGRAM and int(m.group(3)) == lines[m.group(1)], f
                    seen += s.count
        assert seen > 100, (comm, seen)


def test_deep_recursion():
    truth = PREFIX + ["descend"] * 201 + ["burn"]
    check([expect(comm, stacks, [truth], samples=60) for _, comm, stacks in of_mode("deep")])


def test_nine_hundred_frames():
    found = of_mode("abyss")
    if not found:
        lib.skip("no Python from 3.11 on")
    truth = PREFIX + ["descend"] * 901 + ["burn"]
    check([expect(comm, stacks, [truth], samples=60) for _, comm, stacks in found])


def test_threads():
    problems = []
    for _, comm, stacks in of_mode("threads"):
        n = total(stacks)
        good = total([s for s in stacks if whole(s) and "in_thread" in python_frames(s) and "threads" not in python_frames(s)])
        lib.note(f"{comm}: {good} of {n}")
        if n < 60 or good < 0.97 * n:
            problems.append(f"{comm}: {good} of {n} in threads of their own")
            show(sorted((s for s in stacks if "in_thread" not in python_frames(s)), key=lambda s: -s.count), 4)
    check(problems)


def test_forked_children():
    found = chosen()
    # Every child is a new process to the tables: few at a time, so that each gets its share of a CPU.
    for some in (found[i:i + 3] for i in range(0, len(found), 3)):
        started = [(v, start(v, path, "fork", 300)) for v, path in some]
        for _, x in started:
            lib.wait_for(f"the first child of {x.comm}", lambda x=x: lib.descendants(x.pid), 60)
        p = lib.gprofiler_until(lambda p, started=started: all(total(p.of(x.comm)) >= 200 for _, x in started), "-f", 399, seconds=5)
        truth = PREFIX + ["fork", "in_child", "burn"]
        check([expect(x.comm, p.of(x.comm), [truth]) for _, x in started])
        for _, x in started:
            lib.env.end(x)


def test_lock_released_in_system_calls():
    truth = PREFIX + ["sleepy", "read_zero"]
    check([expect(comm, stacks, [truth], samples=60) for _, comm, stacks in of_mode("sleepy")])


def test_exec_of_another_python():
    found = chosen()
    if len(found) < 2:
        lib.skip("one Python only")
    (v1, first), (v2, second) = found[0], found[-1]
    names = {"python", os.path.basename(second), os.path.basename(os.path.realpath(second))}
    g = lib.start_gprofiler("-d", 300, "-f", 199)
    lib.started(g)
    process = start(v1, first, "exec", 200, second)
    lib.wait_for("the second program", lambda: comm_of(process.pid) in {n[:15] for n in names}, 60)
    lib.wait_for_cpu(process, 1.5)
    p = lib.finish(g)
    before = [s for s in p.of(process.comm) if "burn" in python_frames(s)]
    after = [s for s in p.stacks if s.comm in names and "paths" in python_frames(s)]
    lib.note(f"{v1}: {p.total(before)} samples, then {v2}: {p.total(after)}")
    assert p.total(before) > 30 and p.total(after) > 60
    check([expect("after exec", after, [PREFIX + f for _, f in PATHS.values()], samples=60)])


def test_subinterpreter():
    problems = []
    ended = beside().ended
    for version, comm, stacks in of_mode("subinterpreter"):
        if ("subinterpreter", version) in ended:
            lib.note(f"{version}: has no module for it")
            continue
        n = total(stacks)
        good = total([s for s in stacks if whole(s) and is_prefix(["<module>", "in_sub"], python_frames(s)[-3:])
                      or python_frames(s)[-2:] == ["<module>", "in_sub"]])
        lib.note(f"{comm}: {good} of {n} with the frames of the inner interpreter")
        if n < 60 or good < 0.97 * n:
            problems.append(f"{comm}: {good} of {n}")
            show(sorted(stacks, key=lambda s: -s.count), 3)
    check(problems)


def test_a_process_that_lives_half_a_second():
    version, path = chosen()[-1]
    g = lib.start_gprofiler("-d", 300, "-f", 199)
    lib.started(g)
    for _ in range(8):
        process = start(version, path, "paths", 0.5, env=lib.BY_CPU)
        process.wait()
    p = lib.finish(g)
    stacks = p.of(process.comm)
    total = p.total(stacks)
    ours = [s for s in stacks if python_frames(s) and python_frames(s)[0] == "<module>" and "paths" in python_frames(s)]
    lib.note(f"{process.comm}: {total} samples, {p.total(ours)} in paths()")
    assert total > 200 and p.total(ours) > 0.6 * total


def test_no_python():
    version, path = chosen()[-1]
    process = start(version, path, "paths", 200)
    lib.wait_for("it to run", lambda: lib.cpu_of(process.pid) > 0.3, 60)
    p = lib.gprofiler_until(lambda p: total(p.of(process.comm)) > 50, "-f", 199, "--no-python", seconds=2)
    stacks = p.of(process.comm)
    assert p.total(stacks) > 50
    assert not any(f.endswith(("_[p]", "_[pn]")) for s in stacks for f in s.frames)
    assert any("EvalFrame" in f for s in stacks for f in s.frames)


def test_python_without_native_stacks():
    version, path = chosen()[-1]
    process = start(version, path, "paths", 200)
    lib.start("split", 200)
    lib.wait_for("it to run", lambda: lib.cpu_of(process.pid) > 0.3, 60)
    p = lib.gprofiler_until(lambda p: total(p.of(process.comm)) > 100, "-f", 199, "--perf-mode", "disabled", seconds=3)
    stacks = p.of(process.comm)
    truths = [PREFIX + frames for _, frames in PATHS.values()]
    check([expect(process.comm, stacks, truths)])
    assert not any(f.endswith("_[pn]") for s in stacks for f in s.frames)
    assert not p.of(lib.comm("split")), "a process without an interpreter"


if __name__ == "__main__":
    lib.main(globals())
