# SPDX-License-Identifier: Apache-2.0
"""What benches share: starting loads, measuring processes, printing rows.

A bench prints rows `what | ours | peer | ratio | budget | verdict`; nothing here fails a test. Peers come
from Debian's packages and run in the same minute on the same load: these machines are noisy, ratios are not."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

GPROFILER = os.environ["GPROFILER"]
WORKLOADS = os.environ["GPROFILER_WORKLOADS"]
PERF = shutil.which("perf")


def workload(name):
    return os.path.join(WORKLOADS, "workload_" + name)


class Load:
    """Processes that run while a measurement does."""

    def __init__(self, *commands, own_groups=False):
        """own_groups: what they start is ended with them."""
        self.own_groups = own_groups
        self.procs = [subprocess.Popen([str(a) for a in c], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=own_groups) for c in commands]

    def __enter__(self):
        return self

    def running(self):
        """How many of the commands still do: a measurement that says what it ran beside asks at its end."""
        return sum(p.poll() is None for p in self.procs)

    def __exit__(self, *exc):
        for p in self.procs:
            if self.own_groups:
                try:
                    os.killpg(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            p.kill()
            p.wait()


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_exact(pid):
    """The same by the scheduler's clock, in nanoseconds and not in ticks; threads that have ended are not in it."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
        except OSError:
            pass
    return total / 1e9


def bpf_runs(pid):
    """(seconds, runs) of the BPF programs that a process holds; counted while kernel.bpf_stats_enabled is 1."""
    programs = {}
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            text = open(f"/proc/{pid}/fdinfo/{fd}").read()
        except OSError:
            continue
        found = {k: int(v) for k, v in re.findall(r"^(prog_id|run_time_ns|run_cnt):\s+(\d+)", text, re.M)}
        if len(found) == 3:
            programs[found["prog_id"]] = (found["run_time_ns"], found["run_cnt"])
    return sum(t for t, _ in programs.values()) / 1e9, sum(n for _, n in programs.values())


class BpfStats:
    path = "/proc/sys/kernel/bpf_stats_enabled"

    def __enter__(self):
        self.before = open(self.path).read().strip()
        open(self.path, "w").write("1")

    def __exit__(self, *exc):
        open(self.path, "w").write(self.before)


# Two-sided 95 % of Student's t by degrees of freedom; beyond the table the normal distribution's.
T95 = [0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09, 2.09]


def interval(values):
    """Mean and half the width of its 95 % confidence interval."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, 0.0
    var = sum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, (T95[n - 1] if n - 1 < len(T95) else 1.96) * (var / n) ** 0.5


def memory(pid):
    """RssAnon + RssShmem, VmRSS, BPF maps and rings, in bytes."""
    status = open(f"/proc/{pid}/status").read()

    def field(name):
        m = re.search(rf"^{name}:\s+(\d+) kB", status, re.M)
        return int(m.group(1)) * 1024 if m else 0

    bpf = 0
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            m = re.search(r"^memlock:\s+(\d+)", open(f"/proc/{pid}/fdinfo/{fd}").read(), re.M)
            bpf += int(m.group(1)) if m else 0
        except OSError:
            pass
    for line in open(f"/proc/{pid}/maps"):
        if "[perf_event]" in line:
            lo, hi = line.split()[0].split("-")
            bpf += int(hi, 16) - int(lo, 16)
    return {"anonymous": field("RssAnon") + field("RssShmem"), "resident": field("VmRSS"), "bpf": bpf, "peak": field("VmHWM")}


def anonymous(pid):
    """RssAnon + RssShmem, bytes; 0 once it is gone."""
    text = open(f"/proc/{pid}/status").read()
    return sum(int(n) for n in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", text, re.M)) * 1024


class Agent:
    """gprofiler in the background."""

    def __init__(self, *args):
        self.dir = tempfile.mkdtemp(prefix="gprofiler-bench-")
        self.begin = time.monotonic()
        self.proc = subprocess.Popen(
            [GPROFILER, "-o", self.dir, "--log-file", self.dir + "/log", "--pid-file", self.dir + "/pid", *map(str, args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-bench-{os.getpid()}-{time.monotonic_ns()}",
                     GPROFILER_SYSTEM_CONFIG=""))
        self.pid = self.proc.pid

    def wait(self):
        self.output = self.proc.communicate(timeout=300)[0]
        self.elapsed = time.monotonic() - self.begin
        if self.proc.returncode:
            raise RuntimeError(self.output)
        return self

    def profile(self):
        import json
        path = os.path.join(self.dir, "last_profile.col")
        lines = open(path, encoding="utf-8").read().split("\n")
        stacks = []
        for line in lines[1:]:
            stack, _, count = line.rpartition(" ")
            parts = stack.split(";")
            stacks.append((parts[2], parts[3:], int(count)))
        return json.loads(lines[0][2:]), stacks

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def row(what, ours, peer="-", ratio="-", budget="-", command=""):
    print(f"{what} | {ours} | {peer} | {ratio} | {budget} | {command}", flush=True)


def mb(n):
    return f"{n / 1048576:.1f} MB"
