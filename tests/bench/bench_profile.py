#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Completeness, cost and memory of profiling, beside perf on the same load."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import lib

SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
MIXED = ["split", "threads", "templates", "spin_go", "spin_rust", "split_musl", "signals", "syscalls"]


def mixed():
    return [[lib.workload(w), "120"] for w in MIXED if os.path.exists(lib.workload(w))] + [[lib.workload("deep"), "120", "60"]]


def is_root(frame):
    frame = re.sub(r"\+0x[0-9a-f]+$", "", frame)
    return frame in ("_start", "_dl_start_user", "clone3", "__clone3", "clone", "__clone", "_start_c", "runtime.goexit", "runtime.goexit.abi0",
                     "runtime.mstart", "runtime.rt0_go.abi0", "runtime.rt0_go", "_rt0_amd64_linux", "ret_from_fork")


def is_whole(frames):
    """A thread's first frame; in a stripped program it has no name, and the stack no mark of ours that it is cut."""
    return is_root(frames[0]) or frames[0].startswith("(")


def has_user(frames):
    return bool(frames) and not frames[0].endswith("_[k]")


def perf_complete(mode):
    """Share of user stacks whose last frame is a thread's first, over the workloads."""
    d = tempfile.mkdtemp()
    try:
        for _ in range(3):  # Debian's perf dies of SIGABRT now and then
            r = subprocess.run([lib.PERF, "record", "-q", "-F", "99", "-a", "-e", "cpu-clock", "--call-graph", mode, "-o", d + "/data",
                                "--", "sleep", str(SECONDS)], capture_output=True)
            if not r.returncode:
                break
        else:
            return None
        text = subprocess.run([lib.PERF, "script", "-i", d + "/data", "-F", "comm,ip,sym"], capture_output=True, text=True).stdout
    finally:
        shutil.rmtree(d)
    whole = total = 0
    for block in text.split("\n\n"):
        lines = block.strip("\n").split("\n")
        # The kernel keeps 15 characters of a name.
        if not lines[0].strip().startswith("workload_") or len(lines) < 2:
            continue
        frames = [l.split(None, 1)[1] if len(l.split(None, 1)) > 1 else "" for l in lines[1:] if l.strip()]
        total += 1
        whole += is_root(frames[-1])
    return whole / total if total else 0


def completeness():
    with lib.Load(*mixed()):
        time.sleep(0.5)
        a = lib.Agent("-d", SECONDS, "-f", 99)
        try:
            a.wait()
            _, stacks = a.profile()
        finally:
            a.close()
        ours = [(f, n) for comm, f, n in stacks if comm.startswith("workload_") and has_user(f)]
        whole = sum(n for f, n in ours if f and is_root(f[0]))
        total = sum(n for _, n in ours)
        peer = {m: perf_complete(m) for m in ("dwarf", "fp")} if lib.PERF else {}
    command = f"gprofiler -d {SECONDS} -f 99; perf record -F 99 -a --call-graph dwarf|fp, on {', '.join(MIXED)}, deep"
    for mode, value in peer.items():
        lib.row(f"stacks whole, mixed load (peer: perf {mode})", f"{100 * whole / total:.2f} %", f"{100 * value:.2f} %" if value is not None else "perf died",
                f"{whole / total / value:.2f}x" if value else "-", "> 99 %", command)


def bpf_seconds(pid):
    """Run time of the programs that a process holds; counted while kernel.bpf_stats_enabled is 1."""
    total = 0
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        m = re.search(r"run_time_ns:\s+(\d+)", open(f"/proc/{pid}/fdinfo/{fd}").read())
        total += int(m.group(1)) if m else 0
    return total / 1e9


class BpfStats:
    path = "/proc/sys/kernel/bpf_stats_enabled"

    def __enter__(self):
        self.before = open(self.path).read().strip()
        open(self.path, "w").write("1")

    def __exit__(self, *exc):
        open(self.path, "w").write(self.before)


def bpf_cost():
    """Run time of the sampling program a sample, 30 native frames, warm."""
    stats = "/proc/sys/kernel/bpf_stats_enabled"
    before = open(stats).read().strip()
    try:
        open(stats, "w").write("1")
        with lib.Load([lib.workload("deep"), "60", "27"]) as load:
            a = lib.Agent("-d", 6, "-f", 997, "-p", load.procs[0].pid)
            try:
                time.sleep(5.5)
                total_ns = runs = 0
                for fd in os.listdir(f"/proc/{a.pid}/fdinfo"):
                    text = open(f"/proc/{a.pid}/fdinfo/{fd}").read()
                    m = re.search(r"run_time_ns:\s+(\d+)", text)
                    c = re.search(r"run_cnt:\s+(\d+)", text)
                    if m and c and int(c.group(1)):
                        total_ns += int(m.group(1))
                a.wait()
                header, _ = a.profile()
                led = header["ledger"]
                runs = led["complete"] + led["handoff"]
            finally:
                a.close()
    finally:
        open(stats, "w").write(before)
    lib.row("in-kernel cost of a sample, 30 frames, warm", f"{total_ns / max(runs, 1) / 1000:.2f} us", "-", "-", "< 6 us",
            "bpf_stats, gprofiler -f 997 -p workload_deep 27")


def agent_cpu():
    """CPU of the agent at 99 Hz with two busy CPUs, against perf record of the same."""
    with lib.Load([lib.workload("split"), "120"], [lib.workload("templates"), "120"]), BpfStats():
        a = lib.Agent("-d", 3 * SECONDS, "-f", 99)
        try:
            time.sleep(2)
            start = lib.cpu_seconds(a.pid) + bpf_seconds(a.pid)
            c0, b0, t0 = lib.cpu_seconds(a.pid), bpf_seconds(a.pid), time.monotonic()
            time.sleep(3 * SECONDS - 4)
            elapsed = time.monotonic() - t0
            bpf = (bpf_seconds(a.pid) - b0) / elapsed
            ours = (lib.cpu_seconds(a.pid) - c0) / elapsed + bpf
            m = lib.memory(a.pid)
            a.wait()
        finally:
            a.close()
        peer = None
        if lib.PERF:
            d = tempfile.mkdtemp()
            p = subprocess.Popen([lib.PERF, "record", "-q", "-F", "99", "-a", "-e", "cpu-clock", "--call-graph", "dwarf", "-o", d + "/data",
                                  "--", "sleep", str(SECONDS)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(2)
            c0, t0 = lib.cpu_seconds(p.pid), time.monotonic()
            time.sleep(SECONDS - 4)
            peer = (lib.cpu_seconds(p.pid) - c0) / (time.monotonic() - t0)
            pm = lib.memory(p.pid)
            p.wait()
            shutil.rmtree(d)
    lib.row("CPU of the agent at 99 Hz, 2 CPUs busy, BPF run time included", f"{100 * ours:.2f} % of a CPU",
            f"{100 * peer:.2f} %" if peer is not None else "-", f"{ours / peer:.2f}x" if peer else "-", "< 1 %",
            f"gprofiler -d {3 * SECONDS} -f 99, {100 * bpf:.2f} % of it BPF; perf record -F 99 -a --call-graph dwarf")
    lib.row("CPU of its first two seconds", f"{start:.2f} s", "-", "-", "-", "the same: start, tables of what runs, first samples")
    lib.row("memory while profiling, anonymous", lib.mb(m["anonymous"]), lib.mb(pm["anonymous"]) if peer else "-", "-", "20 MB", "the same")
    lib.row("memory while profiling, resident", lib.mb(m["resident"]), lib.mb(pm["resident"]) if peer else "-", "-", "35 MB", "the same")
    lib.row("memory while profiling, BPF and rings", lib.mb(m["bpf"]), "-", "-", "16 MB", "the same")


def start_up():
    """From exec to the first sample, by the agent's own log."""
    import datetime
    best = None
    for _ in range(3):
        a = lib.Agent("-d", 1, "-f", 99, "-v")
        wall = time.time()
        try:
            a.wait()
        finally:
            log = open(a.dir + "/log").read()
            a.close()
        m = re.search(r"\[([\d-]+ [\d:]+),(\d+)\].*First sample", log)
        if m:
            t = datetime.datetime.strptime(m.group(1), "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc).timestamp() + int(m.group(2)) / 1000
            best = min(best or 9, t - wall)
    lib.row("from start to first sample", f"{1000 * best:.0f} ms" if best else "not logged", "-", "-", "< 300 ms", "gprofiler -d 1 -v")


def storm():
    a = lib.Agent("-d", 34, "-f", 99)
    try:
        time.sleep(1)
        out = subprocess.run([lib.workload("spawn"), "2000", "20"], capture_output=True, text=True, timeout=120).stdout
        a.proc.send_signal(15)
        a.wait()
        header, stacks = a.profile()
    finally:
        a.close()
    mine = [(f, n) for _, f, n in stacks if "child_work" in f]
    total = sum(n for _, n in mine)
    whole = sum(n for f, n in mine if f[0] == "_start")
    led = header["ledger"]
    lib.row("2000 processes of 20 ms: samples whole", f"{100 * whole / max(total, 1):.2f} % of {total}", "-", "-", "all",
            f"side band lost {led['side_band_lost']}, ring lost {led['lost_ring']}, {len(out.split())} started")


def big_binary():
    """clang compiles a large file: libLLVM and libclang-cpp are the large tables."""
    clang = shutil.which("clang")
    if not clang:
        return
    d = tempfile.mkdtemp()
    src = d + "/big.cc"
    with open(src, "w") as f:
        f.write("#include <map>\n#include <string>\n#include <vector>\n#include <algorithm>\n#include <regex>\n")
        for i in range(60):
            f.write(f"int f{i}(std::map<std::string, std::vector<int>> &m) {{ std::regex r(\"a{i}\"); return (int)m.size() + std::count_if(m.begin(), m.end(), [](auto &p) {{ return p.second.size() > {i}; }}); }}\n")
    a = lib.Agent("-d", 40, "-f", 199)
    try:
        time.sleep(1)
        c0 = lib.cpu_seconds(a.pid)
        subprocess.run([clang, "-x", "c++", "-O2", "-c", src, "-o", d + "/big.o"], capture_output=True, timeout=120)
        cpu = lib.cpu_seconds(a.pid) - c0
        m = lib.memory(a.pid)
        a.proc.send_signal(15)
        a.wait()
        header, stacks = a.profile()
    finally:
        a.close()
        shutil.rmtree(d)
    mine = [(f, n) for c, f, n in stacks if c.startswith("clang") and has_user(f)]
    total = sum(n for _, n in mine)
    whole = sum(n for f, n in mine if f and is_root(f[0]))
    lib.row("clang -O2 of a large file: stacks whole", f"{100 * whole / max(total, 1):.2f} % of {total}", "-", "-", "> 99 %", "gprofiler -f 199")
    lib.row("clang: agent CPU during it, tables built from nothing", f"{cpu:.2f} s", "-", "-", "< 1 s", "the same")
    lib.row("clang: anonymous memory at its end", lib.mb(m["anonymous"]), "-", "-", "40 MB", "the same")


def thousand():
    """500 processes that sleep and 200 that work a little, all mapped, all sampled."""
    sleepers = [["sleep", "90"]] * 500
    busy = [[lib.workload("crowd"), "60", "1"]] * 200
    with lib.Load(*sleepers, *busy):
        time.sleep(2)
        a = lib.Agent("-d", 3 * SECONDS, "-f", 99)
        try:
            time.sleep(3 * SECONDS - 2)
            m, cpu = lib.memory(a.pid), lib.cpu_seconds(a.pid)
            a.wait()
            header, stacks = a.profile()
        finally:
            a.close()
    how = f"gprofiler -d {3 * SECONDS} -f 99 beside 500 sleeping and 200 working processes"
    led = header["ledger"]
    lib.row("700 processes: anonymous memory", lib.mb(m["anonymous"]), "-", "-", "30 MB", how)
    lib.row("700 processes: resident", lib.mb(m["resident"]), "-", "-", "45 MB", "the same")
    lib.row("700 processes: BPF and rings", lib.mb(m["bpf"]), "-", "-", "24 MB", "the same")
    lib.row("700 processes: CPU of the agent, start included", f"{100 * cpu / (3 * SECONDS - 2):.2f} % of a CPU", "-", "-", "< 1 %", "the same")
    nameable = led["frames"] - led["frames_no_symbols"]
    unnamed = led["frames_unnamed"] - led["frames_no_symbols"]
    lib.row("frames named where symbols exist, whole machine", f"{100 * (1 - unnamed / max(nameable, 1)):.2f} % of {nameable}", "-", "-", "> 99.5 %",
            f"its ledger; besides, {led['frames_no_symbols']} frames lie in stripped files and in code without a map")



def writing():
    """From SIGTERM to the exit: names, .col, page."""
    with lib.Load(*mixed()):
        times = {}
        for formats in ("collapsed", "collapsed,html"):
            a = lib.Agent("-d", 60, "-f", 199, "--format", formats, *(["--no-flamegraph"] if "html" not in formats else []))
            try:
                time.sleep(5)
                t0 = time.monotonic()
                a.proc.send_signal(15)
                a.wait()
                times[formats] = time.monotonic() - t0
                header, stacks = a.profile()
            finally:
                a.close()
    n = len(stacks)
    lib.row("stop to exit: naming and .col", f"{1000 * times['collapsed']:.0f} ms", "-", "-", "-", f"SIGTERM after 5 s of the mixed load, {n} stacks")
    lib.row("page write, besides", f"{1000 * (times['collapsed,html'] - times['collapsed']):.0f} ms", "-", "-", "-", "the same with --format collapsed,html, the difference")


def peak_while(name, command, seconds):
    """Highest anonymous memory while a large program is first seen, sampled every 20 ms."""
    a = lib.Agent("-d", 120, "-f", 199)
    try:
        time.sleep(1.5)
        base = lib.memory(a.pid)["anonymous"]
        c0 = lib.cpu_seconds(a.pid)
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        peak, end = base, time.monotonic() + seconds
        while time.monotonic() < end and p.poll() is None:
            peak = max(peak, lib.anonymous(a.pid))
            time.sleep(0.02)
        cpu = lib.cpu_seconds(a.pid) - c0
        if p.poll() is None:
            os.killpg(p.pid, 9)
        p.wait()
        a.proc.send_signal(15)
        while a.proc.poll() is None:
            try:
                peak = max(peak, lib.anonymous(a.pid))
            except (OSError, ProcessLookupError):
                break
            time.sleep(0.005)
        a.wait()
        header, stacks = a.profile()
    finally:
        a.close()
    led = header["ledger"]
    mine = [(f, n) for c, f, n in stacks if c.startswith(name) and has_user(f)]
    total = sum(n for _, n in mine)
    whole = sum(n for f, n in mine if is_whole(f))
    lib.row(f"{name} first seen: peak anonymous, naming included", lib.mb(peak), "-", "-", "40 MB", " ".join(os.path.basename(c) if c.startswith("/") else c for c in command)[:80])
    lib.row(f"{name} first seen: agent CPU meanwhile", f"{cpu:.2f} s", "-", "-", "< 1 s", f"the same; {total} samples, {100 * whole / max(total, 1):.1f} % whole")


def first_seen():
    d = tempfile.mkdtemp()
    try:
        src = d + "/big.cc"
        with open(src, "w") as f:
            f.write("#include <map>\n#include <string>\n#include <vector>\n#include <regex>\n")
            f.writelines(f"int f{i}(std::map<std::string, std::vector<int>> &m) {{ std::regex r(\"a{i}\"); return (int)m.size() + {i}; }}\n" for i in range(30))
        if shutil.which("clang"):
            peak_while("clang", ["clang", "-x", "c++", "-O2", "-c", src, "-o", d + "/big.o"], 30)
        if shutil.which("node"):
            peak_while("node", ["node", "-e", "let s=0;const e=Date.now()+4000;while(Date.now()<e)s+=JSON.stringify({a:[1,2,3],b:'x'.repeat(100)}).length"], 8)
        if shutil.which("chromium"):
            page = d + "/page.html"
            with open(page, "w") as f:
                f.write("<canvas id=c></canvas><script>const x=c.getContext('2d');function t(){for(let i=0;i<300;i++){x.fillRect(Math.random()*300,Math.random()*150,9,9)}requestAnimationFrame(t)}t()</script>")
            peak_while("chromium", ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={d}/c", "--remote-debugging-port=0", "file://" + page], 10)
    finally:
        shutil.rmtree(d, ignore_errors=True)


if __name__ == "__main__":
    only = sys.argv[1:]
    for fn in (completeness, bpf_cost, agent_cpu, start_up, writing, thousand, storm, big_binary, first_seen):
        if not only or fn.__name__ in only:
            fn()
