# SPDX-License-Identifier: Apache-2.0
"""What benches share: starting loads, measuring processes, printing rows.

A bench prints rows `what | ours | peer | ratio | budget | verdict`; nothing here fails a test. Peers come
from Debian's packages and run in the same minute on the same load: these machines are noisy, ratios are not."""
import os
import re
import shutil
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

    def __init__(self, *commands):
        self.procs = [subprocess.Popen([str(a) for a in c], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL) for c in commands]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for p in self.procs:
            p.kill()
            p.wait()


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
