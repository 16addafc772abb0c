#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names of thousands of random addresses of freshly built programs, compared with nm.

usage: test_against_nm.py NAME_ADDRESSES. Prints TAP. An address inside a function must have the name
of a function that covers it; one between functions must have none, or that of a symbol without
a size."""
import bisect
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

ADDRESSES = 4000
TOOL = sys.argv[1]

CPP = r"""
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <vector>
template <class T> struct Sum { T v; Sum operator+(const Sum &o) const { return {v + o.v}; } };
template struct Sum<long>;
int main(int argc, char **argv) {
  std::map<std::string, std::vector<int>> m;
  std::regex r("a+b*");
  for (int i = 0; i < argc; i++) m[argv[i]].push_back(i);
  std::function<int(int)> f = [&](int x) { return x + argc; };
  std::cout << m.size() << std::regex_match("aab", r) << f(2) << "\n";
}
"""
RUST = r"""
use std::collections::HashMap;
fn main() {
    let mut m: HashMap<String, Vec<u64>> = HashMap::new();
    for a in std::env::args() { m.entry(a).or_default().push(1); }
    println!("{:?}", m);
}
"""
# A stable rustc takes the old mangling only with this.
ENV = dict(os.environ, RUSTC_BOOTSTRAP="1")
C = "#include <stdio.h>\nint main(void) { return puts(\"x\") < 0; }\n"

BUILDS = [
    ("cpp", "g++", CPP, ["g++", "-O1", "-x", "c++", "SRC", "-o", "OUT"], "4"),
    ("rust_legacy", "rustc", RUST, ["rustc", "-O", "-C", "symbol-mangling-version=legacy", "-Z",
                                    "unstable-options", "SRC", "-o", "OUT"], "5"),
    ("rust_v0", "rustc", RUST, ["rustc", "-O", "-C", "symbol-mangling-version=v0", "SRC", "-o", "OUT"], "5"),
    ("c_static", "gcc", C, ["gcc", "-O1", "-static", "-x", "c", "SRC", "-o", "OUT"], "0"),
]


def run(args, text=None):
    return subprocess.run(args, input=text, capture_output=True, text=True, check=True).stdout


def text_range(path):
    m = re.search(r"\s\.text\s+PROGBITS\s+(\w+)\s+(\w+)\s+(\w+)", run(["readelf", "-SW", path]))
    return int(m[1], 16), int(m[3], 16)


def functions(path):
    """[(start, size, name)] sorted, with the starts of symbols without a size."""
    sized, unsized = [], set()
    for line in run(["nm", "-S", "--defined-only", path]).splitlines():
        p = line.split()
        if len(p) == 4 and p[2] in "tTwWi":
            sized.append((int(p[0], 16), int(p[1], 16), p[3].split("@")[0]))
        elif len(p) == 3:
            unsized.add(p[2].split("@")[0])
    names = run([TOOL, "--demangle"], "\n".join(s[2] for s in sized) + "\n").splitlines()
    return sorted((a, n, name) for (a, n, _), name in zip(sized, names)), unsized


def compare(path, kind):
    random.seed(path.rsplit("/", 1)[1])
    start, size = text_range(path)
    addrs = sorted({start + random.randrange(size) for _ in range(ADDRESSES)})
    answers = {}
    for line in run([TOOL, path], "\n".join("%x" % a for a in addrs) + "\n").splitlines():
        addr, name, k = line.split("\t")
        answers[int(addr, 16)] = name, k
    table, unsized = functions(path)
    good, wrong, of_kind = 0, [], 0
    for a in addrs:
        name, k = answers[a]
        cover = {f for s, n, f in table[:bisect.bisect(table, (a, 1 << 63, ""))] if s <= a < s + n}
        of_kind += k == kind
        if name in cover:
            good += 1
        elif cover or (name and name not in unsized):
            wrong.append("%x is %r, nm has %s" % (a, name, sorted(cover)[:3]))
    return good, len(addrs), of_kind, wrong


def main():
    print("1..%d" % len(BUILDS))
    with tempfile.TemporaryDirectory() as tmp:
        for i, (name, compiler, source, command, kind) in enumerate(BUILDS, 1):
            src, out = os.path.join(tmp, name + ".src"), os.path.join(tmp, name)
            if not shutil.which(compiler):
                print("ok %d against_nm__%s # SKIP no %s" % (i, name, compiler))
                continue
            with open(src, "w") as f:
                f.write(source)
            r = subprocess.run([{"SRC": src, "OUT": out}.get(c, c) for c in command],
                               capture_output=True, text=True, env=ENV)
            if r.returncode:
                reason = (r.stderr.strip().splitlines() or ["?"])[0]
                print("ok %d against_nm__%s # SKIP cannot build: %s" % (i, name, reason))
                continue
            good, n, of_kind, wrong = compare(out, kind)
            ok = not wrong and good > n * 0.9 and of_kind > n * 0.8
            print("%s %d against_nm__%s" % ("ok" if ok else "not ok", i, name))
            print("# %d of %d addresses in functions, %d of the language" % (good, n, of_kind))
            for w in wrong[:10]:
                print("# " + w)


main()
