#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`perf script` text folded: speed and memory, beside an awk and a perl fold of the same text.

No Debian package has FlameGraph's scripts, so the peers are the shortest programs that do their core: cut
offsets, join frames, count. They know none of the grammar's special cases. CONVERT_MB sets the size (1024)."""
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

import lib

MB = int(os.environ.get("CONVERT_MB", "1024"))
PEER_MB = min(MB, 128)  # they are slow, and their speed does not depend on the size
DISTINCT = 10000

AWK = r"""/^$/ { if (n) { s = comm; while (n) s = s ";" f[n--]; c[s]++ } next }
/^[^\t #]/ { comm = $1; n = 0; next }
/^\t/ { g = $2; sub(/\+0x[0-9a-f]+$/, "", g); if ($NF ~ /^\(\[/) g = g "_[k]"; f[++n] = g }
END { for (s in c) print s, c[s] }"""

PERL = r"""while (<>) { chomp;
if ($_ eq "") { $c{join(";", $comm, reverse @f)}++ if @f; @f = (); next }
if (/^(\S.*?)\s+\d+\/?\d*\s/) { $comm = $1; @f = (); next }
if (/^\s+([0-9a-f]+)\s+(.+) \((.*)\)$/) { my ($s, $m) = ($2, $3); $s =~ s/\+0x[0-9a-f]+$//; $s .= "_[k]" if $m =~ /^\[/; push @f, $s } }
print "$_ $c{$_}\n" for sort keys %c"""


def generate(path, size):
    """Stacks that share their outer frames, as real ones do; no two of the distinct ones are equal."""
    rnd = random.Random(1)
    word = "abcdefghijklm_"
    user = [("fn_%05d_%s" % (i, "".join(rnd.choices(word, k=rnd.randint(4, 40)))),
             rnd.choice(["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/bin/python3.11", "/usr/lib/libfoo.so.1.2"])) for i in range(6000)]
    kernel = [("k_%d_%s" % (i, "".join(rnd.choices(word, k=rnd.randint(4, 20)))), "[kernel.kallsyms]") for i in range(1500)]
    stacks = []
    while len(stacks) < DISTINCT:
        if stacks and rnd.random() < 0.9:
            base = rnd.choice(stacks)
            s = base[:rnd.randint(len(base) // 2, len(base) - 1)] + rnd.choices(user, k=rnd.randint(1, 8))
        else:
            s = rnd.choices(user, k=rnd.randint(10, 40))
        s = s[:60]
        if rnd.random() < 0.3:
            s = s + rnd.choices(kernel, k=rnd.randint(1, 10))
        stacks.append(s)
    comms = ["python3", "nginx", "java", "kworker/0:1", "Web-Content"]
    blocks = []
    for i, s in enumerate(stacks):
        frames = "".join("\t%16x %s+0x%x (%s)\n" % (rnd.randint(0xffffffff81000000, 0xffffffff82000000) if m[0] == "[" else
                                                  rnd.randint(0x7f0000000000, 0x7fffffffffff), f, rnd.randint(0, 0xfff), m)
                         for f, m in reversed(s))
        blocks.append(("%s %7d/%d [%03d] %d.%06d:   10101010 cpu-clock: \n%s\n" % (
            comms[i % 5], 1000 + i % 50, 2000 + i % 97, i % 8, 100 + i, i, frames)).encode())
    with open(path, "wb") as f:
        done = 0
        while done < size:
            done += f.write(rnd.choice(blocks))


def run(argv, path, out):
    """Seconds, peak resident kB."""
    with open(path, "rb") as i, open(out, "wb") as o:
        start = time.monotonic()
        p = subprocess.Popen(argv, stdin=i, stdout=o)
        peak = 0
        while p.poll() is None:
            try:
                peak = max(peak, int((re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{p.pid}/status").read()) or [0, 0])[1]))
            except (OSError, ProcessLookupError):
                pass
            time.sleep(0.005)
        wall = time.monotonic() - start
    assert p.returncode == 0, argv
    return wall, peak


def best(argv, path, out, times=3):
    runs = [run(argv, path, out) for _ in range(times)]
    return min(w for w, _ in runs), max(m for _, m in runs)


def main():
    d = tempfile.mkdtemp(dir=os.environ.get("TMPDIR", "/tmp"))
    try:
        big, small = d + "/big", d + "/small"
        generate(big, MB << 20)
        with open(big, "rb") as src, open(small, "wb") as dst:
            text = src.read(PEER_MB << 20)
            dst.write(text[:text.rfind(b"\n\n") + 2])
            del text
        ours, rss = best([lib.GPROFILER, "convert"], big, d + "/ours")
        speed = os.path.getsize(big) / ours / 1e6
        peers = {}
        for name, argv in [("mawk", ["mawk", AWK]), ("perl", ["perl", "-e", PERL])]:
            if shutil.which(argv[0]):
                wall, peak = best(argv, small, d + "/" + name, 1)
                peers[name] = (os.path.getsize(small) / wall / 1e6, peak)
        for name, (peer, peak) in peers.items():
            print(f"perf script text folded, {MB} MB, {DISTINCT} stacks | {speed:.0f} MB/s | {name}: {peer:.0f} MB/s | {speed / peer:.1f} | "
                  f"> 300 MB/s | gprofiler convert < text; peer on {PEER_MB} MB")
            print(f"peak resident of it | {rss / 1024:.1f} MB | {name}: {peak / 1024:.0f} MB | {rss / peak:.2f} | < 8 MB | VmHWM")
        wall, peak = best([lib.GPROFILER, "convert", "--memory", "512kb"], big, d + "/spill", 1)
        with open(d + "/ours", "rb") as a, open(d + "/spill", "rb") as b:
            same = a.read() == b.read()
        print(f"the same through sorted runs (--memory 512kb) | {os.path.getsize(big) / wall / 1e6:.0f} MB/s, {peak / 1024:.1f} MB | "
              f"in memory: {speed:.0f} MB/s | {wall / ours:.2f} | same output | {'same' if same else 'DIFFERENT'}")
    finally:
        shutil.rmtree(d)


main()
