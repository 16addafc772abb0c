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
PAIRS = int(os.environ.get("BENCH_PAIRS", "10"))
MIXED = ["split", "threads", "templates", "spin_go", "spin_rust", "split_musl", "signals", "syscalls"]


def mixed():
    return [[lib.workload(w), "120"] for w in MIXED if os.path.exists(lib.workload(w))] + [[lib.workload("deep"), "120", "60"]]


def is_root(frame):
    frame = re.sub(r"\+0x[0-9a-f]+$", "", frame)
    return frame in ("_start", "_dl_start_user", "clone3", "__clone3", "clone", "__clone", "_start_c", "runtime.goexit", "runtime.goexit.abi0",
                     "runtime.mstart", "runtime.rt0_go.abi0", "runtime.rt0_go", "_rt0_amd64_linux", "ret_from_fork")


def is_whole(frames):
    """A thread's first frame; in a stripped program _start has no name: the C library calls main() right above it."""
    return is_root(frames[0]) or (frames[0].startswith("(") and any(f.startswith("__libc_start") for f in frames[1:3]))


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


def bpf_cost():
    """Run time of the sampling program a sample, 30 native frames, warm."""
    with lib.BpfStats(), lib.Load([lib.workload("deep"), "60", "27"]) as load:
        a = lib.Agent("-d", 6, "-f", 997, "-p", load.procs[0].pid)
        try:
            time.sleep(5.5)
            seconds, _ = lib.bpf_runs(a.pid)
            a.wait()
            led = a.profile()[0]["ledger"]
        finally:
            a.close()
    lib.row("in-kernel cost of a sample, 30 frames, warm", f"{1e6 * seconds / max(led['complete'] + led['handoff'], 1):.2f} us", "-", "-", "< 6 us",
            "bpf_stats, gprofiler -f 997 -p workload_deep 27")


def forever(command):
    """A shell that runs a command again and again."""
    return ["sh", "-c", f"while :; do {command}; done >/dev/null 2>&1"]


def real_programs(d):
    """Programs as people run them, each again and again or for long: compilers, a browser, interpreters, Go."""
    page, src = write_page(d), write_templates(d, 30)
    found = {
        "clang": [forever(f"clang -x c++ -O2 -c {src} -o {d}/big.o")],
        "gcc": [forever(f"g++ -O2 -c {src} -o {d}/big2.o")],
        "chromium": [chromium(d, page)],
        "node": [["node", "-e", "let s=0;for(;;)s+=JSON.stringify({a:[1,2,3],b:'x'.repeat(100)}).length"]],
        "python3": [["python3", "-c", "import json\nwhile 1: json.loads(json.dumps([{'a': i, 'b': str(i)} for i in range(500)]))"]],
        "xz": [forever(f"xz -3 -c {lib.GPROFILER}")],
    }
    return {name: c for name, c in found.items() if shutil.which("g++" if name == "gcc" else name)}


def bpf_cost_load():
    """The same in real programs that compete for two CPUs: caches are cold, stacks are of all depths. When the agent begins it
    knows none of their tables, and is handed what they lack; what goes on for months is measured after a while."""
    seconds, later = max(SECONDS, 10), 40
    d = tempfile.mkdtemp()

    def runs_of(pid):
        """(seconds of the programs, runs) over the next while."""
        t0, n0 = lib.bpf_runs(pid)
        time.sleep(seconds)
        t1, n1 = lib.bpf_runs(pid)
        return t1 - t0, n1 - n0

    try:
        found = real_programs(d)
        with lib.BpfStats(), lib.Load(*[c for cs in found.values() for c in cs], own_groups=True):
            time.sleep(3)
            a = lib.Agent("-d", 2 * seconds + later + 6, "-f", 99)
            try:
                time.sleep(3)
                measured = [("in its first seconds", *runs_of(a.pid))]
                time.sleep(later)
                measured.append((f"{seconds + later} s later", *runs_of(a.pid)))
                a.wait()
                header, stacks = a.profile()
            finally:
                a.close()
    finally:
        shutil.rmtree(d, ignore_errors=True)
    led = header["ledger"]
    # The idle task's entries end at once: not samples.
    share = 1 - (led["idle"] + led["filtered"]) / max(led["entries"], 1)
    total = sum(n for _, _, n in stacks)
    depth = sum(len(f) * n for _, f, n in stacks) / max(total, 1)
    for when, spent, runs in measured:
        lib.row(f"in-kernel cost of a sample in real programs under load, {when}", f"{1e6 * spent / max(runs * share, 1):.2f} us", "-", "-", "< 15 us",
                f"bpf_stats, gprofiler -f 99, {seconds} s of it beside {', '.join(found)} on {os.cpu_count()} CPUs; {runs} entries, {100 * share:.0f} % samples, "
                f"{depth:.0f} frames on average, kernel frames among them, {100 * led['handoff'] / max(led['entries'], 1):.1f} % of all handed over")


def our_share(seconds):
    """(CPU of the agent in user space, of its BPF programs, memory), both a second, once it runs steadily."""
    a = lib.Agent("-d", seconds + 4, "-f", 99)
    try:
        time.sleep(2)
        start = lib.cpu_seconds(a.pid) + lib.bpf_runs(a.pid)[0]
        c0, b0, t0 = lib.cpu_exact(a.pid), lib.bpf_runs(a.pid)[0], time.monotonic()
        time.sleep(seconds)
        c1, b1, t1 = lib.cpu_exact(a.pid), lib.bpf_runs(a.pid)[0], time.monotonic()
        m = lib.memory(a.pid)
    finally:
        a.close()
    return (c1 - c0) / (t1 - t0), (b1 - b0) / (t1 - t0), m, start


def perf_share(seconds):
    """The same of perf."""
    d = tempfile.mkdtemp()
    p = subprocess.Popen([lib.PERF, "record", "-q", "-F", "99", "-a", "-e", "cpu-clock", "--call-graph", "dwarf", "-o", d + "/data"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        c0, t0 = lib.cpu_exact(p.pid), time.monotonic()
        time.sleep(seconds)
        share = (lib.cpu_exact(p.pid) - c0) / (time.monotonic() - t0)
        return share, lib.memory(p.pid)
    except (OSError, ProcessLookupError):
        return None  # Debian's perf dies of SIGABRT now and then
    finally:
        p.kill()
        p.wait()
        shutil.rmtree(d)


def percent(values):
    mean, half = lib.interval(values)
    return f"{100 * mean:.2f} +- {100 * half:.2f} %"


def agent_cpu():
    """CPU of the agent at 99 Hz with two busy CPUs, against perf record of the same: pairs, one after the other, with
    the 95 % confidence interval of their mean."""
    seconds = max(SECONDS // 2, 4)
    ours, bpf, peers = [], [], []
    pm = None
    with lib.Load([lib.workload("split"), "400"], [lib.workload("templates"), "400"]), lib.BpfStats():
        for _ in range(PAIRS):
            user, kernel, m, start = our_share(seconds)
            ours.append(user + kernel)
            bpf.append(kernel)
            peer = perf_share(seconds) if lib.PERF else None
            if peer:
                peers.append(peer[0])
                pm = peer[1]
    lib.row("CPU of the agent at 99 Hz, 2 CPUs busy, BPF run time included", f"{percent(ours)} of a CPU",
            percent(peers) if peers else "-", f"{sum(ours) / len(ours) / (sum(peers) / len(peers)):.2f}x" if peers else "-", "< 1 %",
            f"{PAIRS} pairs of {seconds} s, mean and 95 % interval: gprofiler -f 99, {percent(bpf)} of it BPF; perf record -F 99 -a --call-graph dwarf")
    lib.row("CPU of its first two seconds", f"{start:.2f} s", "-", "-", "-", "the same: start, tables of what runs, first samples")
    lib.row("memory while profiling, anonymous", lib.mb(m["anonymous"]), lib.mb(pm["anonymous"]) if pm else "-", "-", "20 MB", "the same")
    lib.row("memory while profiling, resident", lib.mb(m["resident"]), lib.mb(pm["resident"]) if pm else "-", "-", "35 MB", "the same")
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
    short, long = 3 * SECONDS, max(60, 3 * SECONDS)
    sleepers = [["sleep", "120"]] * 500
    busy = [[lib.workload("crowd"), "120", "1"]] * 200
    with lib.Load(*sleepers, *busy), lib.BpfStats():
        time.sleep(2)
        a = lib.Agent("-d", long, "-f", 99)
        try:
            time.sleep(2)
            at_start = lib.cpu_seconds(a.pid)
            time.sleep(short - 4)
            first = lib.cpu_seconds(a.pid) + lib.bpf_runs(a.pid)[0]
            time.sleep(long - short)
            m, cpu = lib.memory(a.pid), lib.cpu_seconds(a.pid)
            bpf = lib.bpf_runs(a.pid)[0]
            a.wait()
            header, stacks = a.profile()
        finally:
            a.close()
    how = f"gprofiler -d {long} -f 99 beside 500 sleeping and 200 working processes"
    led = header["ledger"]
    lib.row("700 processes: anonymous memory", lib.mb(m["anonymous"]), "-", "-", "30 MB", how)
    lib.row("700 processes: resident", lib.mb(m["resident"]), "-", "-", "45 MB", "the same")
    lib.row("700 processes: BPF and rings", lib.mb(m["bpf"]), "-", "-", "24 MB", "the same")
    lib.row(f"700 processes: CPU of the agent, start included, over {long} s", f"{100 * (cpu + bpf) / (long - 2):.2f} % of a CPU", "-", "-", "< 1 %",
            f"the same, {100 * bpf / (long - 2):.2f} % of it BPF")
    lib.row(f"the same over {short} s", f"{100 * first / (short - 2):.2f} % of a CPU", "-", "-", "-", f"the same; {at_start:.2f} s in the first two seconds")
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
    lib.row(f"{name} first seen: agent CPU meanwhile", f"{cpu:.2f} s", "-", "-", "< 1 s", f"the same; {total} samples, {100 * whole / max(total, 1):.2f} % whole")


def write_templates(d, n):
    src = d + "/big.cc"
    with open(src, "w") as f:
        f.write("#include <map>\n#include <string>\n#include <vector>\n#include <regex>\n")
        f.writelines(f"int f{i}(std::map<std::string, std::vector<int>> &m) {{ std::regex r(\"a{i}\"); return (int)m.size() + {i}; }}\n" for i in range(n))
    return src


def write_page(d):
    page = d + "/page.html"
    with open(page, "w") as f:
        f.write("<canvas id=c></canvas><script>const x=c.getContext('2d');function t(){for(let i=0;i<300;i++){x.fillRect(Math.random()*300,Math.random()*150,9,9)}requestAnimationFrame(t)}t()</script>")
    return page


def chromium(d, page):
    return ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={d}/c", "--remote-debugging-port=0", "file://" + page]


def first_seen():
    d = tempfile.mkdtemp()
    try:
        src = write_templates(d, 30)
        if shutil.which("clang"):
            peak_while("clang", ["clang", "-x", "c++", "-O2", "-c", src, "-o", d + "/big.o"], 30)
        if shutil.which("node"):
            peak_while("node", ["node", "-e", "let s=0;const e=Date.now()+4000;while(Date.now()<e)s+=JSON.stringify({a:[1,2,3],b:'x'.repeat(100)}).length"], 8)
        if shutil.which("chromium"):
            peak_while("chromium", chromium(d, write_page(d)), 10)
    finally:
        shutil.rmtree(d, ignore_errors=True)


if __name__ == "__main__":
    only = sys.argv[1:]
    for fn in (completeness, bpf_cost, bpf_cost_load, agent_cpu, start_up, writing, thousand, storm, big_binary, first_seen):
        if not only or fn.__name__ in only:
            fn()
