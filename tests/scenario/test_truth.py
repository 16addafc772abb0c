# SPDX-License-Identifier: Apache-2.0
"""Programs with a known truth: shares of time, whole stacks to the thread's first frame, names."""
import lib

PATHS = {
    "path_seventy": (0.70, ["main", "path_seventy", "burn"]),
    "path_twenty": (0.20, ["main", "path_twenty", "twenty_inner", "burn"]),
    "path_ten": (0.10, ["main", "path_ten", "ten_inner", "ten_leaf", "burn"]),
}


def subsequence(part, whole):
    it = iter(whole)
    return all(any(p == w for w in it) for p in part)


def incomplete(stacks):
    return [s for s in stacks if s.frames and s.frames[0].startswith("[")]


def check_whole(profile, comm, least=0.99, samples=100, roots=("_start", "__libc_start", "clone")):
    """At least `least` of the samples begin at the thread's first frame."""
    stacks = profile.of(comm)
    total = profile.total(stacks)
    assert total >= samples, f"{comm}: only {total} samples"
    whole = sum(s.count for s in stacks if s.frames and any(s.frames[0].startswith(r) for r in roots))
    lib.note(f"{comm}: {total} samples, {100 * whole / total:.2f} % whole")
    if whole / total < least:
        worst = sorted((s for s in stacks if not (s.frames and s.frames[0].startswith(roots))), key=lambda s: -s.count)
        lib.note("\n".join(f"{s.count} {';'.join(s.frames)}" for s in worst[:8]))
    assert whole / total >= least, f"{comm}: {whole} of {total} whole"
    return stacks


def test_shares_of_ten_thousand_samples():
    lib.start("split", 300)
    lib.start("split", 300)
    p = lib.gprofiler_until(lambda p: p.total([s for s in p.stacks if any(f in PATHS for f in s.frames)]) >= 10000, "-f", 999, seconds=8)
    stacks = check_whole(p, lib.comm("split"))
    user = [s for s in stacks if any(f in PATHS for f in s.frames)]
    total = p.total(user)
    assert total >= 10000, total
    for path, (expected, frames) in PATHS.items():
        of_path = [s for s in user if path in s.frames]
        lib.check_near(path, lib.share(p.total(of_path), total), expected, 0.02)
        for s in of_path:
            if "burn" in s.frames:
                assert subsequence(frames, s.frames), s
    assert p.ledger["entries"] == sum(p.ledger[k] for k in (
        "idle", "filtered", "kernel_only", "complete", "handoff", "truncated", "broken", "bits32", "no_user", "lost_ring"))


def test_mixed_load_is_whole_and_named():
    """Many kinds of programs in one profile of the machine."""
    kinds = {
        "split_fp": ["main", "path_seventy", "burn"],
        "split_musl": ["main", "path_seventy", "burn"],
        "threads": ["work_of_alpha"],
        "templates": ["main", "shapes::Walker<shapes::Number>::step",
                      "shapes::Number::operator+"],
        "spin_go": ["main.recurse", "main.middle", "main.leaf"],
        "spin_go_stripped": ["main.recurse", "main.middle", "main.leaf"],
        "spin_rust": ["spin::main", "spin::apply", "<spin::Mixer as spin::Work>::run"],
        "syscalls": ["main", "read_zero"],
        "signals": ["main", "interrupted"],
    }
    roots = {"spin_go": ("runtime.goexit", "runtime.", "_rt0"), "spin_go_stripped": ("runtime.", "_rt0"),
             "split_musl": ("_start",)}
    started = []
    for kind in kinds:
        try:
            lib.start(kind, 300)
            started.append(kind)
        except lib.Skip as e:
            lib.note(f"left out: {e}")
    p = lib.gprofiler_until(lambda p: all(p.total(p.of(lib.comm(k))) >= 100 for k in started), "-f", 599, seconds=8)
    problems = []
    for kind in started:
        comm = lib.comm(kind)
        try:
            stacks = check_whole(p, comm, least=0.99, roots=roots.get(kind, ("_start", "__libc_start", "clone", "__clone", "start_thread")))
            found = any(subsequence(kinds[kind], [f for f in s.frames]) for s in stacks)
            assert found, f"{comm}: no stack with {kinds[kind]}:\n" + "\n".join(";".join(s.frames) for s in stacks[:5])
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, "\n".join(problems)


def test_deep_recursion_is_whole_to_five_hundred_frames_and_marked_beyond():
    lib.start("deep", 200, 500)
    p = lib.gprofiler_until(lambda p: p.total(p.of(lib.comm("deep"))) > 150, "-f", 399, seconds=2)
    stacks = [s for s in p.of(lib.comm("deep")) if "bottom" in s.frames]
    assert p.total(stacks) > 100
    whole = [s for s in stacks if s.frames.count("descend") >= 501 and s.frames[0] == "_start"]
    lib.check_near("whole", lib.share(p.total(whole), p.total(stacks)), 1.0, 0.01)


def test_too_deep_is_truncated_at_the_root():
    lib.start("deep", 200, 20000)
    p = lib.gprofiler_until(lambda p: p.total(p.of(lib.comm("deep"))) > 150, "-f", 399, seconds=2)
    stacks = [s for s in p.of(lib.comm("deep")) if "bottom" in s.frames]
    cut = [s for s in stacks if s.frames[0] == "[truncated]"]
    assert p.total(cut) >= 0.95 * p.total(stacks) > 50, (p.total(cut), p.total(stacks))
    assert min(len(s.frames) for s in cut) >= 512
    assert p.ledger["truncated"] + p.ledger["finished_truncated"] >= p.total(cut)


def test_signal_handler_stands_on_what_it_interrupted():
    lib.start("signals", 200)
    lib.start("signals", 200, "altstack")

    def handled(p):
        return [s for s in p.of(lib.comm("signals")) if "handler_work" in s.frames]
    p = lib.gprofiler_until(lambda p: p.total(handled(p)) > 200, "-f", 999, seconds=4)
    stacks = handled(p)
    assert p.total(stacks) > 200, p.total(stacks)
    right = [s for s in stacks if subsequence(["_start", "main", "handler_work"], s.frames)]
    lib.check_near("handler on main", lib.share(p.total(right), p.total(stacks)), 1.0, 0.01)
    both = [s for s in stacks if subsequence(["interrupted", "handler_work"], s.frames)]
    assert p.total(both) > 0.5 * p.total(stacks)


def test_kernel_and_vdso_frames():
    lib.start("syscalls", 200)
    p = lib.gprofiler_until(lambda p: p.total(p.of(lib.comm("syscalls"))) > 600, "-f", 599, seconds=3)
    stacks = p.of(lib.comm("syscalls"))
    kernel = [s for s in stacks if "read_zero" in s.frames and s.frames[-1].endswith("_[k]")]
    assert p.total(kernel) > 100
    assert all(subsequence(["_start", "main", "read_zero"], s.frames) for s in kernel if s.frames[0] == "_start")
    vdso = [s for s in stacks if any("clock_gettime" in f for f in s.frames) and not s.frames[-1].endswith("_[k]")]
    assert p.total(vdso) > 100, "no samples in clock_gettime"
    whole = [s for s in vdso if subsequence(["_start", "main", "ask_time"], s.frames)]
    lib.check_near("vdso whole", lib.share(p.total(whole), p.total(vdso)), 1.0, 0.02)


def test_stripped_binary_is_named_by_its_path():
    lib.start("split_stripped", 200)
    p = lib.gprofiler_until(lambda p: p.total(p.of(lib.comm("split_stripped"))) > 150, "-f", 799, seconds=2)
    stacks = check_whole(p, lib.comm("split_stripped"), roots=("_start", "(", "__libc_start"))
    path = "(" + lib.workload("split_stripped") + ")"
    assert all(path in s.frames for s in stacks if s.frames[-1] == path), stacks[:3]
    assert p.total([s for s in stacks if path in s.frames]) > 0.98 * p.total(stacks)
    assert not any(f.startswith("0x") for s in p.stacks for f in s.frames), "a bare address"


def test_frame_pointer_mode():
    lib.start("split_fp", 200)
    p = lib.gprofiler_until(lambda p: p.total(p.of(lib.comm("split_fp"))) > 150, "-f", 799, "--perf-mode", "fp", seconds=2)
    stacks = [s for s in p.of(lib.comm("split_fp")) if "burn" in s.frames]
    assert p.total(stacks) > 100
    good = [s for s in stacks if subsequence(["main", "path_seventy", "burn"], s.frames) or
            subsequence(["main", "path_twenty"], s.frames) or subsequence(["main", "path_ten"], s.frames)]
    lib.check_near("chains", lib.share(p.total(good), p.total(stacks)), 1.0, 0.05)


if __name__ == "__main__":
    lib.main(globals())
