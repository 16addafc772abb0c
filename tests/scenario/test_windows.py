# SPDX-License-Identifier: Apache-2.0
"""Continuous runs: how they begin and end, and what they leave (what they lose and take: test_continuous.py)."""
import glob
import os
import resource
import shutil
import signal
import stat
import time

import lib

wait_for, log, started = lib.wait_for, lib.log, lib.started


def profiles(p):
    return sorted(glob.glob(os.path.join(p.out, "profile_*.col")))


def finish(p, seconds=5, sig=signal.SIGTERM):
    """Ends it and says how long that took."""
    begin = time.monotonic()
    p.send_signal(sig)
    out, err = p.communicate(timeout=30)
    took = time.monotonic() - begin
    assert p.returncode == 0, (p.returncode, out[-2000:], err[-2000:])
    assert took < seconds, f"{took:.2f} s from the signal to the exit"
    return took


def test_sigterm_writes_the_running_window():
    w = lib.start("split", 200)
    p = lib.start_gprofiler("-c", "-d", 600, "-f", 199)
    started(p)
    before = lib.cpu_of(w.pid)
    lib.wait_for_cpu(w, 1)
    ran = lib.cpu_of(w.pid) - before
    took = finish(p)
    lib.note(f"{took:.2f} s")
    prof = lib.Profile(os.path.join(p.out, "last_profile.col"))
    assert prof.total(prof.of("workload_split")) > ran * 199 * 0.8, (prof.total(), ran)
    assert os.path.exists(os.path.join(p.out, "last_flamegraph.html"))
    assert open(os.path.join(p.out, "pid")).read() == str(p.pid)


def core_limit(p):
    line = next(l for l in open(f"/proc/{p.pid}/limits") if l.startswith("Max core file size"))
    return line.split()[4:6]


def test_core_files_are_off_unless_they_are_wanted():
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    ours = ["unlimited" if n == resource.RLIM_INFINITY else str(n) for n in limits]
    for args, want in (((), ["0", "0"]), (("--dont-disable-core-files",), ours)):
        p = lib.start_gprofiler("-c", "-d", 600, "-f", 49, "--no-flamegraph", *args, out=f"out{len(args)}")
        started(p)
        assert core_limit(p) == want, (args, core_limit(p), want)
        finish(p)


def test_outside_the_initial_pid_namespace():
    """gprofiler-agent.md 2.1: two lines on standard error, status 1, and nothing was begun."""
    lib.need_root()
    inside = ["unshare", "-p", "-f", "--mount-proc"]
    p = lib.gprofiler("-d", 1, "-f", 49, expect=1, prefix=inside)
    assert p.stderr_text == ("Please run me in the init PID namespace! In Docker, make sure you pass '--pid=host'.\n"
                             "You can disable this check with --disable-pidns-check.\n"), p.stderr_text
    assert not profiles(p)
    p = lib.start_gprofiler("-d", 1, "-f", 49, "--no-flamegraph", "--disable-pidns-check", prefix=inside, out="unchecked")
    out, err = p.communicate(timeout=60)
    assert "init PID namespace" not in err and "Running gProfiler" in out, (out, err)


def test_a_lock_that_cannot_be_had():
    """What is no other agent: an error, as a container without privileges gives the reference."""
    strace = shutil.which("strace")
    if not strace:
        lib.skip("strace is absent")
    p = lib.gprofiler("-d", 1, "-f", 49, expect=1, prefix=[strace, "-o", "/dev/null", "-e", "trace=bind", "-e", "inject=bind:error=EPERM:when=1"])
    assert "Could not acquire gProfiler's lock due to an error. Are you running gProfiler in privileged mode?\n" in p.stderr_text, p.stderr_text
    assert not profiles(p)


def test_the_controller_ends_it():
    controller = lib.env.start("sleep", "600")
    p = lib.start_gprofiler("-c", "-d", 600, "-f", 99, "--controller-pid", controller.pid)
    started(p)
    # Not reaped until it is waited for: a zombie counts as gone.
    controller.kill()
    out, err = p.communicate(timeout=60)
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


def test_sighup_reopens_the_log_and_reads_the_files_again():
    config = os.path.join(lib.env.dir, "config")

    def say(text):
        with open(config, "w", encoding="utf-8") as f:
            f.write(text)
        p.send_signal(signal.SIGHUP)

    with open(config, "w", encoding="utf-8") as f:
        f.write("max-cpu = 50\nmax-memory = 200mb\nprofiling-duration = 600\n")
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, "--no-flamegraph", "--config", config, "--max-memory", "100mb")
    started(p)
    path = os.path.join(p.out, "log")
    os.rename(path, path + ".old")
    p.send_signal(signal.SIGHUP)
    wait_for("a new log", lambda: "Log file reopened" in log(p))
    wait_for("windows in it", lambda: "Saved collapsed" in log(p))
    assert "Options are others" not in log(p)
    # What the command line says holds, and what needs a restart is left alone.
    say("max-cpu = 0\nmax-memory = 1mb\nverbose = true\nprofiling-duration = 5\n")
    wait_for("the new ones", lambda: "Options are others from now on: " in log(p))
    said = next(l for l in log(p).splitlines() if "Options are others" in l)
    assert said.split("now on: ")[1] == "max-cpu = 0, verbose = true", said
    # A file with a mistake changes nothing, and neither does one that is gone.
    say("max-cpu = many\n")
    wait_for("the mistake", lambda: "Options stay as they are: " in log(p) and "max-cpu" in log(p).split("Options stay as they are: ")[1])
    os.unlink(config)
    p.send_signal(signal.SIGHUP)
    wait_for("the absence", lambda: log(p).count("Options stay as they are: ") == 2)
    n = len(profiles(p))
    wait_for("windows go on", lambda: len(profiles(p)) >= n + 2)
    p.send_signal(signal.SIGTERM)
    out, _ = p.communicate(timeout=30)
    assert p.returncode == 0 and "] DEBUG: " in out and "] ERROR: " not in out, out[-2000:]


if __name__ == "__main__":
    lib.main(globals())
