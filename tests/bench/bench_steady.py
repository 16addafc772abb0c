#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory of a continuous run beside 500 processes, ten runtimes among them, over BENCH_STEADY_SECONDS: ten minutes; an hour by hand.

The slope is a least-squares line through the lowest reading of each window (at its end a window is named, which takes memory for a
moment), without the first third: until then caches fill."""
import os
import shutil
import sys
import tempfile
import time

import lib

SECONDS = int(os.environ.get("BENCH_STEADY_SECONDS", "600"))
WINDOW = 60 if SECONDS >= 600 else 15
SLEEPING, WORKING = 290, 200
BUDGET = {"anonymous": "30 MB", "resident": "45 MB", "bpf": "24 MB"}
NAMES = {"anonymous": "anonymous memory", "resident": "resident", "bpf": "BPF and rings"}

PYTHON = "import time\ndef work():\n    return sum(range(50000))\nwhile True:\n    work()\n    time.sleep(0.05)\n"
PERL = "sub work { my $s = 0; $s += $_ for 1 .. 50000; $s } while (1) { work(); select(undef, undef, undef, 0.05) }"
NODE = "function work() { let s = 0; for (let i = 0; i < 1e6; i++) s += i; return s } setInterval(work, 50)"
JAVA = """public class Steady { static long work() { long s = 0; for (int i = 0; i < 1000000; i++) s += i * s; return s; }
    public static void main(String[] a) throws Exception { while (work() != 1) Thread.sleep(50); } }"""


def runtimes(directory):
    """Commands of ten, by what is installed; Python makes up for the others."""
    life = str(SECONDS + 120)
    found = [[lib.workload(w), life] for w in ("spin_go", "spin_rust") if os.path.exists(lib.workload(w))]
    found += [["perl", "-e", PERL]] * 2 if shutil.which("perl") else []
    found += [["node", "-e", NODE]] if shutil.which("node") else []
    if shutil.which("javac"):
        with open(directory + "/Steady.java", "w", encoding="utf-8") as f:
            f.write(JAVA)
        found += [["java", directory + "/Steady.java"]]
    return found + [[sys.executable, "-c", PYTHON]] * (10 - len(found))


def slope(points):
    """Of (seconds, bytes), in bytes a second."""
    n = len(points)
    mean_t, mean_y = sum(t for t, _ in points) / n, sum(y for _, y in points) / n
    square = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (y - mean_y) for t, y in points) / square if square else 0


def lowest(readings, key):
    """(begin, bytes) of each window but the first third of them."""
    windows = {}
    for t, m in readings:
        at = int(t / WINDOW) * WINDOW
        windows[at] = min(windows.get(at, m[key]), m[key])
    return sorted(windows.items())[len(windows) // 3:]


def main():
    directory = tempfile.mkdtemp(prefix="gprofiler-bench-")
    life = str(SECONDS + 120)
    # Two new processes ten times a second, for as long as it takes.
    churn = ["sh", "-c", "while :; do /bin/true; sleep 0.1; done"]
    commands = [["sleep", life]] * SLEEPING + [[lib.workload("crowd"), life, "1"]] * (WORKING - 1) + [churn] + runtimes(directory)
    readings = []
    with lib.Load(*commands) as load:
        time.sleep(3)
        agent = lib.Agent("-c", "-d", WINDOW, "-f", 99, "--rotating-output")
        try:
            start, cpu = time.monotonic(), lib.cpu_seconds(agent.pid)
            while time.monotonic() - start < SECONDS:
                time.sleep(1)
                readings.append((time.monotonic() - start, lib.memory(agent.pid)))
            used = (lib.cpu_seconds(agent.pid) - cpu) / (time.monotonic() - start)
            fds = len(os.listdir(f"/proc/{agent.pid}/fd"))
            running = load.running()
            agent.proc.terminate()
            agent.proc.wait(timeout=60)
        finally:
            agent.close()
            shutil.rmtree(directory, ignore_errors=True)
    how = f"gprofiler -c -d {WINDOW} -f 99 --rotating-output beside {len(commands)} processes ({running} of them at the end), {SECONDS} s"
    for key, name in NAMES.items():
        floor = lowest(readings, key)
        per_hour = slope(floor) * 3600
        lib.row(f"500 processes, {SECONDS} s: {name}, most", lib.mb(max(m[key] for _, m in readings)), budget=BUDGET[key],
                command=f"{how}; between windows {lib.mb(floor[0][1])} at first and {lib.mb(floor[-1][1])} at last, slope {per_hour / 1048576:+.2f} MB an hour")
    lib.row(f"500 processes, {SECONDS} s: CPU of the agent, start included", f"{100 * used:.2f} % of a CPU", budget="< 1 %",
            command=f"the same, on a machine that is busy all the time; {fds} descriptors at the end")


main()
