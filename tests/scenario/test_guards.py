# SPDX-License-Identifier: Apache-2.0
"""Guard rails: chosen processes by identity, limits on the machine's size, cgroups of every hierarchy, and
the agent's own budget."""
import contextlib
import os
import signal
import subprocess
import time

import lib
from test_windows import finish, profiles

log, started, wait_for = lib.log, lib.started, lib.wait_for

V2 = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
V1 = "/sys/fs/cgroup/cpuacct"
ID_A, ID_B = "a1" * 32, "b2" * 32


@contextlib.contextmanager
def cgroup(root, name):
    """A control group made by hand; removed when its processes are gone."""
    made = []
    path = root
    try:
        for part in name.split("/"):
            path = os.path.join(path, part)
            if not os.path.isdir(path):
                os.mkdir(path)
                made.append(path)
    except OSError as e:
        lib.skip(f"no cgroup can be made in {root}: {e}")
    try:
        yield path
    finally:
        for d in reversed(made):
            for pid in open(os.path.join(d, "cgroup.procs")).read().split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)
            for _ in range(100):
                with contextlib.suppress(OSError):
                    os.rmdir(d)
                    break
                time.sleep(0.02)


def start_in(path, name, *args):
    """A workload born in a group, under a name of its own (comm)."""
    def enter():
        with open(os.path.join(path, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))
    return lib.start(name, *args, preexec_fn=enter)


def busy_in(path, name):
    """Two of them, so that no other group is as busy."""
    for _ in range(2):
        lib.wait_for_cpu(start_in(path, name, 200), 0.05)


def comms(prof):
    return {s.comm for s in prof.stacks}


def count_processes():
    return sum(d.isdigit() for d in os.listdir("/proc"))


def test_a_recycled_pid_is_somebody_else():
    lib.need_root()
    first = lib.start("split", 60)
    pid = first.pid
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 199, "--no-flamegraph", "-p", pid)
    wait_for("a window with it", lambda: any(lib.Profile(f).of("workload_split") for f in profiles(p)))
    first.kill()
    first.wait()
    wait_for("word of its end", lambda: "All processes given by --pids have ended" in log(p))
    second = None
    for _ in range(200):
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w") as f:
                f.write(str(pid - 1))
        except OSError as e:
            lib.skip(f"pids cannot be chosen here: {e}")
        child = lib.start("deep", 60)
        if child.pid == pid:
            second = child
            break
        child.kill()
        child.wait()
    if not second:
        finish(p)
        lib.skip("the pid was not given again")
    n = len(profiles(p))
    wait_for("three windows more", lambda: len(profiles(p)) >= n + 3)
    finish(p)
    windows = [lib.Profile(f) for f in profiles(p)]
    assert any(w.of("workload_split") for w in windows)
    assert not any(w.of("workload_deep") for w in windows), "samples of another process under the pid"
    assert windows[-2].total() == 0, "with all gone, windows are empty"
    assert "] ERROR: " not in log(p), log(p)[-2000:]


def test_a_single_run_ends_with_its_processes():
    child = lib.start("split", 1, env=lib.BY_CPU)
    prof = lib.gprofiler("-d", 600, "-f", 199, "-p", child.pid, timeout=200)
    assert prof.of("workload_split")


def test_none_of_the_pids_lives():
    dead = subprocess.Popen(["true"])
    dead.wait()
    p = lib.gprofiler("-d", 3, "-p", dead.pid, expect=1)
    assert "There aren't any alive processes provided via --pid PID list" in p.stdout_text
    assert str(dead.pid) in log(p)


def test_too_many_processes_nothing_starts():
    p = lib.gprofiler("-d", 30, "--no-python", "--skip-system-profilers-above", 3, expect=1)
    text = log(p)
    assert "Skipping native stacks" in text and "--skip-system-profilers-above" in text
    assert "Nothing is left to sample" in text
    assert "Sampling" not in text, "it was started first and skipped then"


def test_too_many_processes_beats_cgroups():
    p = lib.gprofiler("-d", 30, "--no-python", "--perf-use-cgroups", "--skip-system-profilers-above", 3, expect=1)
    assert "Skipping native stacks" in log(p) and "cgroups of" not in log(p)


def test_native_stacks_go_off_and_on_with_the_number_of_processes():
    lib.start("split", 300)
    now = count_processes()
    # Others come and go on this machine; what this test adds is far more.
    limit = int(now * 1.25) + 200
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 99, "--no-flamegraph", "--no-python",
                            "--skip-system-profilers-above", limit)
    wait_for("windows", lambda: len(profiles(p)) >= 2)
    crowd = [lib.env.start("sleep", "120") for _ in range(limit - now + 200)]
    wait_for("stacks off", lambda: "Skipping native stacks" in log(p))
    n = len(profiles(p))
    time.sleep(2.5)
    assert len(profiles(p)) <= n + 1
    for c in crowd:
        c.kill()
    for c in crowd:
        c.wait()
    wait_for("stacks on", lambda: "Native stacks again" in log(p))
    n = len(profiles(p))
    wait_for("stacks again", lambda: any(lib.Profile(f).of("workload_split") for f in profiles(p)[n + 1:]))
    finish(p)
    assert "] ERROR: " not in log(p), log(p)[-2000:]


def only_of(name, other, *args):
    """The profile of a run with cgroups holds `name` and not `other`."""
    prof = lib.gprofiler("-d", 2, "-f", 199, "--no-python", "--perf-use-cgroups", *args)
    lib.note(f"{sorted(comms(prof))}, {prof.total()} samples, {prof.ledger['filtered']} of others")
    assert prof.of(name), log(prof.process)[-2000:]
    assert not prof.of(other), comms(prof)
    return prof


def test_cgroup_v2():
    lib.need_root()
    with cgroup(V2, f"gprofiler-test-v2-{os.getpid()}") as g:
        lib.start("deep", 200)
        busy_in(g, "split")
        prof = only_of("workload_split", "workload_deep", "--perf-max-cgroups", 1)
        assert comms(prof) == {lib.comm("split")}
        assert "Sampling 1 cgroups" in log(prof.process)


def test_cgroup_v2_groups_made_later_belong_to_their_parent():
    lib.need_root()
    with cgroup(V2, f"gprofiler-test-later-{os.getpid()}") as g:
        busy_in(g, "split")
        p = lib.start_gprofiler("-d", 300, "-f", 199, "--no-python", "--perf-use-cgroups", "--perf-max-cgroups", 1)
        started(p)
        wait_for("the first sample", lambda: "First sample" in log(p))
        with cgroup(g, "below") as below:
            lib.wait_for_cpu(start_in(below, "deep", 200), 0.5)
            prof = lib.finish(p)
        assert prof.of("workload_deep") and prof.of("workload_split"), comms(prof)


def test_cgroup_that_exists_only_in_v1():
    lib.need_root()
    if not os.path.isdir(V1):
        lib.skip("no v1 cpuacct controller here")
    with cgroup(V1, f"gprofiler-test-v1-{os.getpid()}") as g:
        lib.start("deep", 200)
        busy_in(g, "split")
        prof = only_of("workload_split", "workload_deep", "--perf-max-cgroups", 1)
        assert comms(prof) == {lib.comm("split")}


def test_containers_before_other_groups():
    """The operators' row "1 container, 0 cgroups": the busier one of two containers, nobody else."""
    lib.need_root()
    own = f"gp{os.getpid()}"
    with cgroup(V2, f"{own}-kubepods.slice/gp-pod.slice/cri-containerd-{ID_A}.scope") as a, \
            cgroup(V2, f"{own}-docker/{ID_B}/init") as b, cgroup(V2, f"{own}-busy") as busy:
        start_in(a, "split", 200)
        idle = lib.env.start("sleep", "60")
        open(os.path.join(b, "cgroup.procs"), "w").write(str(idle.pid))
        start_in(busy, "signals", 200)
        busy_in(busy, "deep")
        prof = only_of("workload_split", "workload_deep", "--perf-max-cgroups", 0, "--perf-max-docker-containers", 1)
        assert "1 of them containers" in log(prof.process)
        # And D = 1 with a total of 2: the container and the busiest other group.
        both = lib.gprofiler("-d", 2, "-f", 199, "--no-python", "--perf-use-cgroups", "--perf-max-cgroups", 2,
                             "--perf-max-docker-containers", 1, out="both")
        assert both.of("workload_split") and both.of("workload_deep"), comms(both)


def test_no_cgroup_found_is_not_the_whole_machine():
    lib.start("split", 60)
    p = lib.gprofiler("-d", 3, "--no-python", "--perf-use-cgroups", "--perf-max-cgroups", 0, expect=1)
    assert "No cgroup to sample" in log(p) and "Nothing is left to sample" in log(p)
    assert not profiles(p)


def test_the_governor_gives_way_step_by_step():
    """A limit that cannot be held: the rate is halved three times, samples count for more, then it pauses."""
    lib.start("split", 60)
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 800, "--no-flamegraph", "--max-memory", "1mb", "--max-cpu", 0,
                            "--enable-memory-management", "--log-usage")
    wait_for("the pause", lambda: ": paused (" in log(p), 40)
    def paused():
        g = lib.Profile(os.path.join(p.out, "last_profile.col")).header["governor"]
        return g["level"] == "paused" and not g["paused"]
    wait_for("a window of the pause", paused)
    n = len(profiles(p))
    wait_for("two more", lambda: len(profiles(p)) >= n + 2)
    finish(p)
    windows = [lib.Profile(f) for f in profiles(p)]
    quiet = {}
    for w in windows[1:-1]:
        g = w.header["governor"]
        if not g["slowed"] and not g["paused"]:
            quiet.setdefault(g["level"], []).append(w)
    for level, times in (("half the rate", 2), ("a quarter of the rate", 4), ("an eighth of the rate", 8)):
        # In the first second after a step the last samples of the old rate may still come in.
        for w in quiet[level][1:]:
            led = w.ledger
            delivered = led["entries"] - led["idle"] - led["filtered"] - led["lost_ring"]
            assert w.total() == times * delivered, (level, w.total(), led)
            assert delivered <= led["expected"] * 1.1, led
            lib.check_near(level, led["expected"], 800 / times * os.cpu_count(), 4)
    assert quiet["paused"][-1].ledger["entries"] == 0, quiet["paused"][-1].ledger
    assert any(w.header["governor"]["slowed"] for w in windows)
    assert log(p).count("Sampling goes on at another level") == 4
    assert "Own usage: CPU" in log(p)


if __name__ == "__main__":
    lib.main(globals())
