#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gprofiler convert as its users run it: against an independent fold of the same grammar
(runtime-and-memory-anchors.md C1.3), the rules of speedscope's published schema, `go tool pprof`, and
what perf really prints."""
import collections
import gzip
import json
import os
import random
import re
import shutil
import subprocess

import lib


def convert(text, *args, status=0):
    r = subprocess.run([lib.GPROFILER, "convert", *args], input=text if isinstance(text, bytes) else text.encode(),
                       capture_output=True, timeout=120)
    assert r.returncode == status, (r.returncode, r.stderr.decode())
    return r.stdout


# The grammar once more, by regular expressions.
HEADER = re.compile(r"^\s*(\S.*?)\s+(?:(-?\d+)/)?(-?\d+)\s+(.*)$")
FRAME = re.compile(r"^\s+([0-9a-f]+)\s+(.*?)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)\s*$")


def flamegraph(text, pid=False, tid=False, kernel=False, jit=False, addrs=False, event=None):
    counts = collections.Counter()
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = [l for l in block.split("\n") if l.strip() and not l.startswith("#")]
        if not lines:
            continue
        comm, p, t, rest = HEADER.match(lines[0]).groups()
        name, period = "", 1
        m = re.search(r"\d+\.\d+:\s+(?:(\d+)\s+)?(\S+):", rest)
        if m:
            period, name = int(m.group(1) or 1), m.group(2)
        if event is None:
            event = name
        if name != event and not name.startswith(event + ":"):
            continue
        label = comm.replace(" ", "_")
        if pid or tid:
            label += "-" + (p or "?")
        if tid:
            label += "/" + t
        stack = []
        for line in lines[1:]:
            pc, raw, mod = FRAME.match(line).groups()
            raw = re.sub(r"\+0x[0-9a-f]+$", "", raw)
            if raw.startswith("("):
                continue
            names = []
            for func in [f for f in raw.split("->") if f]:
                if func == "[unknown]":
                    func = "unknown" if mod == "[unknown]" else mod.split("/")[-1]
                    func = f"[{func} <{pc}>]" if addrs else f"[{func}]"
                func = func.replace(";", ":")
                if not re.search(r"\.\(.*\)\.", func):
                    func = re.sub(r"\((?!anonymous namespace\)).*", "", func)
                func = re.sub("[\"']", "", func).rstrip()
                if label.startswith("java") and "/" in func:
                    func = re.sub("^L", "", func)
                if names:
                    func += "" if "_[i]" in func else "_[i]"
                elif kernel and (mod.startswith("[") or mod.endswith("vmlinux")) and "unknown" not in mod:
                    func += "_[k]"
                elif jit and re.search(r"/tmp/perf-\d+\.map", mod):
                    func += "_[j]"
                names.append(func)
            stack = names + stack
        counts[";".join([label, *stack])] += period
    return "".join(f"{s} {c}\n" for s, c in sorted(((s.encode(), c) for s, c in counts.items())) for s in [s.decode()])


def generated(seed, samples=400):
    rnd = random.Random(seed)
    names = ["main", "do_sys_poll", "std::vector<int, std::allocator<int> >::push_back(int const&)", "net/http.(*conn).serve",
             "n::(anonymous namespace)::f(int)", "La/b/C;.m(Ljava/lang/String;)V", "[unknown]", "operator+", "a->b->c->d",
             "operator() (x)", "quo'te\"d", "_ZN3foo3barEv", "LazyCompile:*fib /app/fib.js:1", "x;y", "(process)", "é", "f.cold"]
    mods = ["[kernel.kallsyms]", "/lib/x86_64-linux-gnu/libc.so.6", "/tmp/perf-123.map", "[vdso]", "/usr/lib/debug/vmlinux",
            "[unknown]", "/opt/App (x86)/lib.so", "/lib/y.so (deleted)", "inlined", "/home/kernel/prog", "[nf_conntrack]"]
    out = []
    for i in range(samples):
        comm = rnd.choice(["java", "java main", "bash", "Web Content", "kworker/0:1", "py-3.11", "x"])
        ids = rnd.choice([f"{rnd.randint(1, 9)}/{rnd.randint(1, 9)}", f"{rnd.randint(1, 99)}"])
        cpu = rnd.choice(["", f"[{rnd.randint(0, 99):03d}] "])
        period = rnd.choice(["", f"{rnd.randint(1, 10**9)} "])
        event = rnd.choice(["cycles:u", "cycles:u", "cycles:u", "page-faults"])
        eol = rnd.choice(["\n", "\n", "\r\n"])
        out.append(f"{comm} {ids} {cpu}{i}.{rnd.randint(0, 999999):06d}:   {period}{event}: {eol}")
        for _ in range(rnd.randint(0, 8)):
            off = rnd.choice(["", f"+0x{rnd.randint(0, 4095):x}"])
            out.append(f"\t{rnd.randint(0x100000, 1 << 47):16x} {rnd.choice(names)}{off} ({rnd.choice(mods)}){eol}")
        out.append(eol)
    if rnd.random() < 0.5:
        out.pop()  # the last sample without a blank line after it
    return "".join(out)


def test_flamegraph_dialect_equals_an_independent_fold():
    for seed in range(8):
        text = generated(seed)
        for flags in [{}, {"pid": True}, {"tid": True}, {"kernel": True, "jit": True}, {"addrs": True}, {"event": "page-faults"}]:
            args = ["--event-filter", flags["event"]] if "event" in flags else ["--" + f for f in flags]
            got = convert(text, "--from", "perf-script", "--dialect", "flamegraph", *args).decode()
            assert got == flamegraph(text, **flags), (seed, flags, list(zip(got.split("\n"), flamegraph(text, **flags).split("\n"))))
        small = convert((text + "\n") * 8, "--dialect", "flamegraph", "--all", "--memory", "65536").decode()
        assert small == flamegraph((text + "\n") * 8, kernel=True, jit=True), seed


def test_forms_and_suffixes_are_guessed():
    perf = "bash 77/77 [003] 12.345678: 1 cycles:\n\tffffffff8100 bar ([kernel.kallsyms])\n\t401000 foo (/bin/bash)\n\n"
    folded = b"bash;foo;bar_[k] 1"
    assert convert(perf) == folded
    with open(lib.env.dir + "/in", "w") as f:
        f.write(perf)
    for suffix, magic in [(".col", folded), (".pb.gz", b"\x1f\x8b"), (".json", b"{\"$schema\""), (".html", b"<!")]:
        out = lib.env.dir + "/out" + suffix
        convert("", lib.env.dir + "/in", "-o", out)
        assert open(out, "rb").read().lower().startswith(magic), suffix
    assert convert("", lib.env.dir + "/out.pb.gz") == folded
    assert convert(folded) == folded
    raw = gzip.decompress(open(lib.env.dir + "/out.pb.gz", "rb").read())
    assert convert(raw) == folded


def test_col_files_keep_their_header_and_lose_it_for_flamegraph():
    col = ('# {"metadata": {"hostname": "h"}, "application_metadata_enabled": true}\n1;web-1;my py;appid: x;f_[p];g_[k] 2\n'
           '0;;my py;a 1\n0;;my py;a b 1\n0;c;my py;a 4')
    assert convert(col).decode() == col
    assert convert(col, "--dialect", "flamegraph").decode() == "my_py;a 5\nmy_py;a b 1\nmy_py;f_[p];g_[k] 2\n"
    assert convert("x y-7/8;f 1\n", "--dialect", "flamegraph", "--tid").decode() == "x_y-7/8;f 1\n"


def test_statuses_and_messages():
    r = subprocess.run([lib.GPROFILER, "convert"], input=b"", capture_output=True)
    assert r.returncode == 1 and b"empty" in r.stderr
    r = subprocess.run([lib.GPROFILER, "convert", "/nonexistent/x"], capture_output=True)
    assert r.returncode == 1 and b"/nonexistent/x" in r.stderr
    r = subprocess.run([lib.GPROFILER, "convert", "--from", "perf-script", "-o", lib.env.dir + "/never"],
                       input=b"nothing\nof the kind\n", capture_output=True)
    assert r.returncode == 1 and b"(standard input):1:" in r.stderr, r.stderr
    assert not os.listdir(lib.env.dir), "an output file was left behind"
    bad = b"a 1/1 1.0: e:\n\t1 f (x)\n\n" + b"junk\n\n" * 50 + b"b 1/1 1.0: e:\n\t1 g (x)\n"
    r = subprocess.run([lib.GPROFILER, "convert", "--from", "perf-script"], input=bad, capture_output=True)
    assert r.returncode == 0 and r.stdout == b"a;f 1\nb;g 1", r
    assert b"(standard input):4: " in r.stderr and r.stderr.count(b"\n") < 20 and b"40 more" in r.stderr, r.stderr
    r = subprocess.run([lib.GPROFILER, "convert", "--to", "pprof"], input=b"\x1f\x8bjunk", capture_output=True)
    assert r.returncode == 1 and r.stdout == b""
    r = subprocess.run([lib.GPROFILER, "convert", "--to", "nonsense"], input=b"", capture_output=True)
    assert r.returncode == 2
    many = generated(1, 3000)
    lost = subprocess.run([lib.GPROFILER, "convert", "--memory", "65536"], input=many.encode(), capture_output=True,
                          env=dict(os.environ, TMPDIR="/nonexistent"))
    assert lost.returncode == 1 and b"$TMPDIR" in lost.stderr and lost.stdout == b"", lost.stderr
    full = subprocess.run([lib.GPROFILER, "convert", "--from", "perf-script"], input=bad, stdout=open("/dev/full", "wb"),
                          stderr=subprocess.PIPE)
    assert full.returncode == 1 and b"No space left" in full.stderr, full


def check_speedscope(doc):
    """The rules of https://www.speedscope.app/file-format-schema.json that concern what we write."""
    assert doc["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(doc) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    for key in ("name", "exporter"):
        assert isinstance(doc.get(key, ""), str)
    assert set(doc["shared"]) == {"frames"}
    for f in doc["shared"]["frames"]:
        assert set(f) <= {"name", "file", "line", "col"} and isinstance(f["name"], str) and f["name"]
        assert isinstance(f.get("file", ""), str) and isinstance(f.get("line", 0), int)
    assert doc["profiles"] and 0 <= doc.get("activeProfileIndex", 0) < len(doc["profiles"])
    for p in doc["profiles"]:
        assert set(p) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert p["type"] == "sampled" and isinstance(p["name"], str)
        assert p["unit"] in ("none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes")
        assert len(p["samples"]) == len(p["weights"])
        assert all(isinstance(w, int) and w > 0 for w in p["weights"])
        assert p["startValue"] == 0 and p["endValue"] == sum(p["weights"])
        for s in p["samples"]:
            assert all(isinstance(i, int) and 0 <= i < len(doc["shared"]["frames"]) for i in s)


def test_speedscope_holds_every_sample_once():
    text = generated(3)
    doc = json.loads(convert(text, "--to", "speedscope"))
    check_speedscope(doc)
    names = [f["name"] for f in doc["shared"]["frames"]]
    keys = [json.dumps(f) for f in doc["shared"]["frames"]]
    assert len(set(keys)) == len(keys), "frames that look the same are told apart"
    whole, parts = doc["profiles"][0], doc["profiles"][1:]
    assert whole["endValue"] == sum(p["endValue"] for p in parts)
    assert [p["endValue"] for p in parts] == sorted((p["endValue"] for p in parts), reverse=True)
    ends = collections.Counter()
    for s, w in zip(whole["samples"], whole["weights"]):
        ends[";".join(re.sub(r" \[\d+\]$", "", names[i]) if k == 0 else names[i] for k, i in enumerate(s))] += w
    folded = collections.Counter()
    for line in convert(text).decode().split("\n"):
        stack, _, n = line.rpartition(" ")
        folded[stack] += int(n)
    assert ends == folded
    one = json.loads(convert("a;b;c 3\na;b 1\n", "--to", "speedscope"))
    check_speedscope(one)
    assert len(one["profiles"]) == 1


def pprof(*args):
    if not shutil.which("go"):
        lib.skip("go is absent, and with it `go tool pprof`")
    env = dict(os.environ, HOME=lib.env.dir, PPROF_TMPDIR=lib.env.dir, GOFLAGS="-mod=mod")
    r = subprocess.run(["go", "tool", "pprof", *args], capture_output=True, text=True, env=env, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_go_tool_pprof_reads_our_files():
    perf = ("bash 77/78 [003] 12.000000:   10101010 cpu-clock: \n\tffffffff81000010 bar+0x1 ([kernel.kallsyms])\n"
            "\t401000 foo+0x4 (/bin/bash)\n\t401100 main (/bin/bash)\n\n") * 3 + \
           ("my comm 80 [003] 13.000000:   10101010 cpu-clock: \n\t401000 foo+0x4 (/bin/bash)\n\n") * 2
    path = lib.env.dir + "/p.pb.gz"
    with open(path, "wb") as f:
        f.write(convert(perf, "--to", "pprof"))
    top = pprof("-top", "-sample_index=samples", path)
    assert re.search(r"^\s*3\s+60\.00%.*\sbar$", top, re.M), top
    assert re.search(r"^\s*2\s+40\.00%\s+100%\s+5\s+100%\s+foo$", top, re.M), top
    raw = pprof("-raw", path)
    assert "samples/count cpu/nanoseconds" in raw, raw
    assert "Period: 10101010" in raw and "PeriodType: cpu nanoseconds" in raw, raw
    assert re.search(r"comm:\[bash\]", raw) and re.search(r"pid:\[77\]", raw) and re.search(r"tid:\[78\]", raw), raw
    assert "/bin/bash" in raw and "[kernel.kallsyms]" in raw, raw
    traces = pprof("-traces", "-sample_index=cpu", path)
    assert re.search(r"bar\n\s+foo\n\s+main", traces), traces
    focus = pprof("-top", "-sample_index=samples", "-tagfocus=comm=my comm", path)
    assert "bar" not in focus and "foo" in focus, focus
    # There and back: the same stacks and counts.
    assert sorted(convert("", path).split(b"\n")) == sorted(convert(perf).split(b"\n"))


def test_pprof_of_another_program():
    """A profile that Go's own runtime writes."""
    if not shutil.which("go"):
        lib.skip("go is absent")
    src = lib.env.dir + "/main.go"
    with open(src, "w") as f:
        f.write('package main\nimport ("os"; "runtime/pprof")\n'
                "var x int\n//go:noinline\nfunc burn() { for i := 0; i < 1000000; i++ { x += i } }\n"
                'func main() { f, _ := os.Create(os.Args[1]); pprof.StartCPUProfile(f)\n'
                "for i := 0; i < 3000; i++ { burn() }\npprof.StopCPUProfile(); f.Close() }\n")	# a second of the CPU or so
    env = dict(os.environ, HOME=lib.env.dir, GOFLAGS="-mod=mod", GO111MODULE="off")
    subprocess.run(["go", "run", src, lib.env.dir + "/go.pb.gz"], check=True, env=env, timeout=300, cwd=lib.env.dir)
    stacks = convert("", lib.env.dir + "/go.pb.gz").decode().split("\n")
    burn = sum(int(s.rpartition(" ")[2]) for s in stacks if "main.main;main.burn" in s)
    total = sum(int(s.rpartition(" ")[2]) for s in stacks)
    assert total > 10 and burn > total * 0.8, stacks


def test_what_perf_prints():
    if not shutil.which("perf"):
        lib.skip("perf is absent")
    data = lib.env.dir + "/perf.data"
    r = subprocess.run(["perf", "record", "-q", "-F", "199", "-g", "-a", "-e", "cpu-clock", "-o", data, "--", "sleep", "1"],
                       capture_output=True, text=True)
    if r.returncode:
        lib.skip("perf record -a does not work here: " + (r.stderr.strip().split("\n") or ["?"])[-1][:200])
    text = subprocess.run(["perf", "script", "-i", data], capture_output=True, check=True, timeout=120).stdout
    samples = len(re.findall(rb"cpu-clock:", text))
    assert samples > 50
    r = subprocess.run([lib.GPROFILER, "convert"], input=text, capture_output=True)
    complaints = [l for l in r.stderr.splitlines() if b"without frames" not in l]	# a tick in an exiting task
    assert r.returncode == 0 and not complaints, r.stderr
    total = sum(int(l.rpartition(b" ")[2]) for l in r.stdout.split(b"\n"))
    blocks = [b for b in re.split(rb"\n\s*\n", text) if b.strip() and not b.lstrip().startswith(b"#")]
    assert total == sum(1 for b in blocks if len(b.strip(b"\n").split(b"\n")) > 1), (total, len(blocks))
    got = convert(text, "--dialect", "flamegraph", "--all").decode(errors="replace")
    assert got == flamegraph(text.decode(errors="replace"), kernel=True, jit=True)
    assert b"<html" in convert(text, "--to", "html").lower()
    # One line a sample.
    lines = subprocess.run(["perf", "script", "-i", data, "-G", "-F", "comm,tid,time,event,ip,sym,dso"], capture_output=True,
                           check=True, timeout=120).stdout
    flat = convert(lines, "--from", "perf-script", "--dialect", "flamegraph")
    assert sum(int(l.rpartition(b" ")[2]) for l in flat.strip().split(b"\n")) == len(lines.strip().split(b"\n"))


def test_resident_memory_stays_small():
    """64 MB with 10,000 distinct stacks: under 8 MB resident (DESIGN.md), whatever the input's size."""
    rnd = random.Random(5)
    stacks = []
    for _ in range(10000):
        base = rnd.choice(stacks) if stacks and rnd.random() < 0.9 else []
        stacks.append(base[:rnd.randint(len(base) // 2, len(base))][:50] + [rnd.randint(0, 5000) for _ in range(rnd.randint(1, 10))])
    blocks = [("proc%d %7d/%d [000] 1.000000:   10101010 cpu-clock: \n" % (i % 5, i % 50 + 1, i % 90 + 1) + "".join(
        "\t%16x function_number_%d_of_some_length+0x%x (/usr/lib/x86_64-linux-gnu/lib%d.so.1)\n" % (
            0x7f0000000000 + f * 64, f, f % 77, f % 40) for f in reversed(s)) + "\n").encode() for i, s in enumerate(stacks)]
    p = subprocess.Popen([lib.GPROFILER, "convert"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    size = 0
    while size < 64 << 20:
        block = rnd.choice(blocks)
        p.stdin.write(block)
        size += len(block)
    p.stdin.close()
    # The first byte comes when everything is sorted; the rest does not fit in the pipe, so it waits for us.
    assert p.stdout.read(1)
    status = open(f"/proc/{p.pid}/status").read()
    rest = p.stdout.read()
    assert p.wait() == 0 and rest.count(b"\n") > 9000
    kb = int(re.search(r"VmHWM:\s+(\d+)", status).group(1))
    print(f"# peak resident: {kb} kB")
    assert kb < 8 * 1024, kb


lib.main(globals())
