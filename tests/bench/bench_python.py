# SPDX-License-Identifier: Apache-2.0
"""What Python frames cost: in the kernel, to the agent's memory, to the program that is profiled."""
import os
import re
import shutil
import subprocess
import sys
import time

import lib

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", "truth.py")
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def kernel_cost():
    """Run time of the sampling program a sample, for a Python program that goes through C now and then."""
    stats = "/proc/sys/kernel/bpf_stats_enabled"
    before = open(stats).read().strip()
    try:
        open(stats, "w").write("1")
        with lib.Load([sys.executable, PROGRAM, "climb", "60", "12"]) as load:
            a = lib.Agent("-d", 6, "-f", 997, "-p", load.procs[0].pid)
            try:
                time.sleep(5.5)
                total_ns = 0
                for fd in os.listdir(f"/proc/{a.pid}/fdinfo"):
                    m = re.search(r"run_time_ns:\s+(\d+)", open(f"/proc/{a.pid}/fdinfo/{fd}").read())
                    total_ns += int(m.group(1)) if m else 0
                a.wait()
                header, stacks = a.profile()
            finally:
                a.close()
    finally:
        open(stats, "w").write(before)
    runs = header["ledger"]["complete"] + header["ledger"]["handoff"]
    samples = max(sum(n for _, _, n in stacks), 1)
    python = sum(n * sum(f.endswith("_[p]") for f in frames) for _, frames, n in stacks) / samples
    native = sum(n * sum(not f.endswith(("_[p]", "_[k]")) for f in frames) for _, frames, n in stacks) / samples
    lib.row(f"in-kernel cost of a sample, {python:.0f} Python and {native:.0f} native frames",
            f"{total_ns / max(runs, 1) / 1000:.2f} us", "-", "-", "< 40 us",
            f"bpf_stats, gprofiler -f 997 -p {PYTHON} truth.py climb 60 12")


def agent_memory():
    """Anonymous memory of the agent beside one Python process, and beside a hundred."""
    taken = []
    for n in (1, 100):
        with lib.Load(*[[sys.executable, PROGRAM, "paths", "60"]] * n):
            time.sleep(1 + n / 20)
            a = lib.Agent("-d", 12, "-f", 99)
            try:
                time.sleep(11)
                taken.append(lib.memory(a.pid)["anonymous"])
                a.wait()
            finally:
                a.close()
    lib.row("memory for 100 Python processes, more than for one", lib.mb(taken[1] - taken[0]), "-", "-", "< 5 MB",
            f"RssAnon + RssShmem of gprofiler -f 99 beside 1 and 100 of {PYTHON} truth.py paths")


def reader_cost():
    """CPU of the agent while it reads twenty busy Python processes from outside, and beside it py-spy's for one of them."""
    with lib.Load(*[[sys.executable, PROGRAM, "paths", "90"]] * 20) as load:
        time.sleep(4)
        a = lib.Agent("-d", 40, "-f", 50, "--python-mode", "pyspy", "--no-perf", "--min-profiling-duration", 1, "--no-flamegraph")
        try:
            time.sleep(4)
            begin, cpu = time.monotonic(), lib.cpu_seconds(a.pid)
            time.sleep(20)
            ours = (lib.cpu_seconds(a.pid) - cpu) / (time.monotonic() - begin)
            a.wait()
            header, _ = a.profile()
        finally:
            a.close()
        peer = "-"
        if shutil.which("py-spy"):
            spy = subprocess.Popen(["py-spy", "record", "-r", "50", "-d", "25", "--nonblocking", "-f", "raw", "-o", "/dev/null",
                                    "-p", str(load.procs[0].pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(4)
            begin, cpu = time.monotonic(), lib.cpu_seconds(spy.pid)
            time.sleep(15)
            peer = f"{100 * (lib.cpu_seconds(spy.pid) - cpu) / (time.monotonic() - begin):.1f} % for one (py-spy)"
            spy.wait()
    led = header["ledger"]
    lib.row("CPU of the reader, 20 Python processes at 50 Hz", f"{100 * ours:.2f} % of one CPU", peer, "-", "< 5 %",
            f"gprofiler -f 50 --python-mode pyspy --no-perf beside 20 of {PYTHON} truth.py paths; {led['read_stacks']} stacks for "
            f"{led['read']} samples, {led['read_torn']} torn")


def work(seconds):
    """Rounds of a fixed Python load in so much CPU time of it."""
    code = ("import time, sys\nsys.path.insert(0, %r)\nimport truth\nend = time.process_time() + %r\nn = 0\n"
            "while time.process_time() < end:\n    truth.burn(2000)\n    truth.path_ten()\n    n += 1\nprint(n)\n"
            % (os.path.dirname(PROGRAM), seconds))
    return int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)


def slowdown():
    """A Python load with and without the profiler, ten interleaved pairs."""
    pairs = []
    for _ in range(10):
        without = work(2)
        a = lib.Agent("-d", 30, "-f", 99)
        try:
            time.sleep(1)
            pairs.append((without, work(2)))
        finally:
            a.close()
    ratios = sorted(w / p - 1 for w, p in pairs)
    lib.row("slowdown of a Python program at 99 Hz", f"{100 * (ratios[4] + ratios[5]) / 2:.2f} % ({100 * ratios[0]:.2f} to {100 * ratios[-1]:.2f})",
            "-", "-", "< 1 %", "rounds in 2 s of CPU time, ten interleaved pairs, their median")


if __name__ == "__main__":
    only = sys.argv[1:]
    for fn in (kernel_cost, agent_memory, reader_cost, slowdown):
        if not only or fn.__name__ in only:
            fn()
