# SPDX-License-Identifier: Apache-2.0
"""Processes that come, change and go in mid-profile; the agent that is stopped, killed or short of disk."""
import os
import shutil
import signal
import subprocess
import time

import lib


def names(stacks):
    return {f for s in stacks for f in s.frames}


wait_for, started = lib.wait_for, lib.started


def test_dlopen_in_mid_profile():
    plugin = os.path.join(lib.WORKLOADS, "libworkload_plugin.so")
    p = lib.start_gprofiler("-d", 300, "-f", 399)
    started(p)
    assert lib.start("dlopener", 2, plugin, env=lib.BY_CPU).wait(120) == 0
    prof = lib.finish(p)
    stacks = prof.of("workload_dlopener")
    inner = prof.with_frame("plugin_inner", stacks)
    assert prof.total(prof.with_frame("before_plugin", stacks)) > 50
    assert prof.total(inner) > 50, "\n".join(f"{s.count} {';'.join(s.frames)}" for s in stacks[:20])
    whole = [s for s in inner if s.frames[0] == "_start" and "plugin_work" in s.frames and "main" in s.frames]
    lib.check_near("whole", lib.share(prof.total(whole), prof.total(inner)), 1.0, 0.01)


def test_exec_in_mid_profile():
    p = lib.start_gprofiler("-d", 300, "-f", 399)
    started(p)
    # A life by the CPU goes on over exec: one second of two as the first program.
    assert lib.start("execer", 1, lib.workload("split"), 1, env=lib.BY_CPU).wait(120) == 0
    prof = lib.finish(p)
    before, after = prof.of("workload_execer"), prof.of("workload_split")
    assert prof.total(before) > 100 and prof.total(after) > 100, (prof.total(before), prof.total(after))
    assert "before_exec" in names(before) and "path_seventy" in names(after)
    assert "path_seventy" not in names(before) and "before_exec" not in names(after)


def test_short_processes_are_all_accounted_for():
    """600 processes of 20 ms: their samples are whole and named, down to the last process."""
    p = lib.start_gprofiler("-d", 600, "-f", 499)
    started(p)
    s = lib.start("spawn", 600, 20, stdout=subprocess.PIPE, text=True)
    pids = s.communicate(timeout=300)[0].split()
    prof = lib.finish(p)
    assert len(set(pids)) == 600
    # The child calls exec of /proc/self/exe: its comm is "exe".
    stacks = [s for s in prof.stacks if "child_work" in s.frames]
    total = prof.total(stacks)
    lib.note(f"{total} samples in child_work; {prof.ledger}")
    lib.check_near("samples against CPU time", total / (600 * 20 * 0.499), 1.0, 0.15)
    whole = [s for s in stacks if s.frames[0] == "_start" and "main" in s.frames]
    lib.check_near("whole", lib.share(prof.total(whole), total), 1.0, 0.01)
    assert prof.ledger["side_band_lost"] == 0
    assert prof.ledger["lost_ring"] == 0


def test_deleted_and_replaced_binary():
    copy = os.path.join(lib.env.dir, "victim")
    shutil.copy(lib.workload("split"), copy)
    lib.env.start(copy, 200)
    os.unlink(copy)
    shutil.copy(lib.workload("deep"), copy)    # another program under the same name
    prof = lib.gprofiler_until(lambda prof: prof.total(prof.of("victim")) > 100, "-f", 799, seconds=2)
    stacks = prof.of("victim")
    assert prof.total(stacks) > 100
    good = [s for s in stacks if "path_seventy" in s.frames or "path_twenty" in s.frames or "path_ten" in s.frames]
    lib.check_near("named", lib.share(prof.total(good), prof.total(stacks)), 1.0, 0.03)
    assert not {"descend", "bottom"} & names(stacks)


def test_binary_deleted_in_mid_profile():
    copy = os.path.join(lib.env.dir, "victim2")
    shutil.copy(lib.workload("split"), copy)
    p = lib.start_gprofiler("-d", 300, "-f", 399)
    started(p)
    child = lib.env.start(copy, 200)
    lib.wait_for_cpu(child, 1)
    os.unlink(copy)
    child.kill()
    prof = lib.finish(p)
    stacks = prof.of("victim2")
    assert prof.total(stacks) > 100
    assert "path_seventy" in names(stacks)


def test_command_is_profiled_and_its_status_passed_on():
    prof = lib.gprofiler("-f", 399, "--", lib.workload("split"), "2", "7", expect=7, environ=lib.BY_CPU)
    stacks = prof.of("workload_split")
    assert prof.total(stacks) > 300
    assert prof.total(stacks) >= 0.99 * prof.total(), "others are in the profile of a command"
    assert any(s.frames[0] == "_start" for s in stacks)


def test_command_includes_what_it_starts():
    script = f"{lib.workload('split')} 1 & {lib.workload('deep')} 1; wait"
    prof = lib.gprofiler("-f", 399, "--", "sh", "-c", script, environ=lib.BY_CPU)
    assert prof.total(prof.of("workload_split")) > 100
    assert prof.total(prof.of("workload_deep")) > 100


def test_command_that_does_not_exist():
    p = lib.gprofiler("-f", 99, "--", "/nonexistent/program", expect=127)
    process = getattr(p, "process", p)
    assert "/nonexistent/program" in process.stderr_text


def test_pids_dead_and_living():
    child = lib.start("split", 200)
    other = lib.start("deep", 200)
    dead = subprocess.Popen(["true"])
    dead.wait()
    prof = lib.gprofiler_until(lambda prof: prof.total() > 100, "-f", 399, "-p", f"{child.pid},{dead.pid}", seconds=2)
    assert prof.total(prof.of("workload_split")) > 100
    assert not prof.of("workload_deep")
    assert prof.total() == prof.total(prof.of("workload_split"))
    assert str(dead.pid) in open(os.path.join(prof.process.out, "log")).read()
    p = lib.gprofiler("-d", 3, "-p", str(dead.pid), expect=1, out="none")
    assert "--pids" in p.stdout_text and "Traceback" not in p.stderr_text
    assert other.poll() is None


def test_target_that_ends_is_no_error():
    child = lib.start("split", 1, env=lib.BY_CPU)
    child.send_signal(signal.SIGSTOP)
    p = lib.start_gprofiler("-d", 60, "-f", 399, "-p", child.pid)
    started(p)
    child.send_signal(signal.SIGCONT)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0, out + err
    prof = lib.Profile(os.path.join(p.out, "last_profile.col"))
    assert prof.total(prof.of("workload_split")) > 50
    assert "] ERROR" not in lib.log(p), lib.log(p)


def test_signals_write_what_was_sampled():
    for sig in (signal.SIGTERM, signal.SIGINT):
        child = lib.start("split", 200)
        p = lib.start_gprofiler("-d", 60, "-f", 399, out=f"out{sig}")
        started(p)
        lib.wait_for_cpu(child, 0.6)
        begin = time.monotonic()
        p.send_signal(sig)
        p.communicate(timeout=20)
        assert p.returncode == 0, p.returncode
        assert time.monotonic() - begin < 5
        prof = lib.Profile(os.path.join(p.out, "last_profile.col"))
        assert prof.total(prof.of("workload_split")) > 100
        assert os.path.exists(os.path.join(p.out, "last_flamegraph.html"))
        child.kill()


def test_kill_leaves_nothing_behind():
    p = lib.start_gprofiler("-d", 60, "-f", 99)
    started(p)
    time.sleep(0.5)
    p.kill()
    p.communicate()
    assert not [f for f in os.listdir(p.out) if f.startswith("profile_")]
    prof = lib.gprofiler("-d", 1, "-f", 99)
    assert prof.ledger["entries"] > 0
    assert not [f for f in os.listdir(prof.process.out) if ".tmp" in f]


def test_second_agent_leaves_with_status_zero():
    environ = {"GPROFILER_LOCK_NAME": f"gprofiler-test-lock-{os.getpid()}"}
    first = lib.start_gprofiler("-d", 30, environ=environ)
    started(first)
    second = lib.gprofiler("-d", 1, environ=environ, out="second")
    assert "Could not acquire gProfiler's lock. Is it already running?" in second.stderr_text
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)


def test_full_disk_is_a_clear_error_and_old_files_stay():
    lib.need_root()
    small = os.path.join(lib.env.dir, "small")
    os.mkdir(small)
    # A mount namespace of its own: nothing is left mounted.
    script = f"""mount -t tmpfs -o size=64k tmpfs {small} && mkdir -p {small}/o && echo old >{small}/o/profile_old.col &&
ln -s profile_old.col {small}/o/last_profile.col && head -c 60000 /dev/zero >{small}/fill 2>/dev/null
{lib.GPROFILER} -o {small}/o -d 1 -f 99 --log-file '' --pid-file '' ; echo "status $?"; cat {small}/o/last_profile.col; ls {small}/o"""
    r = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60,
                       env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-disk-{os.getpid()}", GPROFILER_SYSTEM_CONFIG=""))
    out = r.stdout + r.stderr
    assert "status 1" in out, out
    assert "No space left" in out and "untouched" in out, out
    assert "\nold" in out and ".tmp" not in out, out


def test_rotating_output_keeps_the_newest():
    first = os.path.realpath(lib.gprofiler("-d", 1, "-f", 99, "--rotating-output").path)
    prof = lib.gprofiler("-d", 1, "-f", 99, "--rotating-output")
    assert os.path.realpath(prof.path) != first and not os.path.exists(first)
    files = [f for f in os.listdir(prof.process.out) if f.startswith("profile_")]
    assert sorted(os.path.splitext(f)[1] for f in files) == [".col", ".html"], files


def test_every_format():
    prof = lib.gprofiler("-d", 1, "-f", 99, "--format", "collapsed,html,pprof,speedscope")
    files = os.listdir(prof.process.out)
    for suffix in (".col", ".html", ".pb.gz", ".speedscope.json"):
        assert any(f.startswith("profile_") and f.endswith(suffix) for f in files), files


def test_several_events_are_never_pooled():
    child = lib.start("split", 200)
    p = lib.start_gprofiler("-d", 200, "-f", 199, "--perf-events", "cpu-clock,task-clock")
    started(p)
    lib.wait_for_cpu(child, 1.5)
    p.send_signal(signal.SIGTERM)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, out + err
    files = os.listdir(p.out)
    for event in ("cpu-clock", "task-clock"):
        col = [f for f in files if f.startswith("profile_") and f.endswith(f".{event}.col")]
        assert len(col) == 1, files
        prof = lib.Profile(os.path.join(p.out, col[0]))
        assert prof.header["sampling_event"] == event
        assert prof.total(prof.of("workload_split")) > 100, event


def test_no_child_and_no_pipe_of_ours():
    p = lib.start_gprofiler("-d", 30, "-f", 99)
    started(p)
    wait_for("the first sample", lambda: "First sample" in lib.log(p))
    with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
        assert f.read() == ""
    fds = [os.readlink(f"/proc/{p.pid}/fd/{f}") for f in os.listdir(f"/proc/{p.pid}/fd") if int(f) > 2]
    assert not [f for f in fds if f.startswith("pipe:")], fds
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=20)


if __name__ == "__main__":
    lib.main(globals())
