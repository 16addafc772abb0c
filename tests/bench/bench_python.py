# SPDX-License-Identifier: Apache-2.0
"""What Python frames cost: in the kernel, to the agent's memory, to the program that is profiled."""
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import lib

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", "truth.py")
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def bpf_time(*args):
    """Nanoseconds that the sampling program ran, and the profile, of a gprofiler beside a Python program with these arguments."""
    stats = "/proc/sys/kernel/bpf_stats_enabled"
    before = open(stats).read().strip()
    try:
        open(stats, "w").write("1")
        with lib.Load([sys.executable, PROGRAM, *args]) as load:
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
    return total_ns / max(header["ledger"]["complete"] + header["ledger"]["handoff"], 1), stacks


def depth(stacks):
    """Python and native frames of a sample, on average."""
    samples = max(sum(n for _, _, n in stacks), 1)
    python = sum(n * sum(f.endswith("_[p]") for f in frames) for _, frames, n in stacks) / samples
    native = sum(n * sum(not f.endswith(("_[p]", "_[k]")) for f in frames) for _, frames, n in stacks) / samples
    return f"{python:.0f} Python and {native:.0f} native frames"


def kernel_cost():
    """Run time of the sampling program a sample, for a Python program that goes through C now and then."""
    ns, stacks = bpf_time("climb", "60", "12")
    lib.row(f"in-kernel cost of a sample, {depth(stacks)}", f"{ns / 1000:.2f} us", "-", "-", "< 40 us",
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


SLICES = """
import resource, sys
sys.path.insert(0, %r)
import truth
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def work(rounds):
    for _ in range(rounds):
        truth.path_seventy(); truth.path_twenty(); truth.path_ten()
def slice(rounds):
    before = cpu()
    work(rounds)
    return cpu() - before
rounds = 1
while slice(rounds) < 0.4:
    rounds *= 2
for line in sys.stdin:
    print(slice(rounds), flush=True)
""" % os.path.dirname(PROGRAM)
QUADS = 24


class Sliced:
    """A Python program on one CPU that does the same work again and again, when asked, and says what CPU time that took."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", SLICES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        bufsize=1, preexec_fn=lambda: os.sched_setaffinity(0, {0}))
        self.slice()
        return self

    def slice(self):
        self.process.stdin.write("go\n")
        return float(self.process.stdout.readline())

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()


def ours(pid):
    a = lib.Agent("-d", 600, "-f", 99)
    log = os.path.join(a.dir, "log")
    while a.proc.poll() is None and not (os.path.exists(log) and "Sampling" in open(log).read()):
        time.sleep(0.05)
    return a.proc, a.close


def py_spy(pid):
    p = subprocess.Popen(["py-spy", "record", "-r", "99", "-d", "600", "--nonblocking", "-f", "raw", "-o", "/dev/null", "-p", str(pid)],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return p, p.wait


def compare(start):
    """Median of how much more CPU time the same work takes while `start` watches, in percent, and where it lies in 95 of 100."""
    found = []
    with Sliced() as s:
        for _ in range(QUADS):
            off = s.slice()
            process, close = start(s.process.pid)
            time.sleep(0.5)
            on = s.slice() + s.slice()
            process.send_signal(signal.SIGINT)
            process.communicate()
            close()
            off += s.slice()
            found.append(100 * (on / off - 1))
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(found, k=len(found))) for _ in range(4000))
    return f"{statistics.median(found):.2f} % ({medians[100]:.2f} to {medians[-101]:.2f})"


def slowdown():
    """What a Python program pays: its own CPU time for the same work with and without, and what the sampling program takes."""
    ns, stacks = bpf_time("paths", "60")
    lib.row("CPU of a Python program that sampling at 99 Hz takes", f"{99 * ns / 1e7:.2f} %", "-", "-", "< 1 %",
            f"bpf_stats: {ns / 1000:.1f} us a sample of {depth(stacks)}, 99 of them a second")
    peer = compare(py_spy) + " (py-spy)" if shutil.which("py-spy") else "-"
    lib.row("slowdown of a Python program at 99 Hz", compare(ours), peer, "-", "< 1 %",
            f"its own utime + stime for the same work, {QUADS} times without, with, with, without: median, and where it lies in 95 of 100")


if __name__ == "__main__":
    only = sys.argv[1:]
    for fn in (kernel_cost, agent_memory, reader_cost, slowdown):
        if not only or fn.__name__ in only:
            fn()
