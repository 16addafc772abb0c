#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bytes the C writer puts into a page, read by code that shares nothing with it or with
ui/model.js, against the stacks the page was made of.

    check_page.py MAKE_PAGE       (TAP on stdout)"""
import base64
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter

CONTAINER, PROCESS, THREAD = range(3)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        v = shift = 0
        while True:
            b = self.data[self.at]
            self.at += 1
            v |= (b & 0x7f) << shift
            shift += 7
            if b < 0x80:
                return v

    def signed(self):
        v = self.varint()
        return v >> 1 if v % 2 == 0 else -(v + 1 >> 1)


def container(page):
    m = re.search(rb'<script type="text/plain" id="profile">([A-Za-z0-9+/]*=*)</script>', page)
    data = gzip.decompress(base64.b64decode(m.group(1), validate=True))
    assert data[:4] == b"GPF1"
    version, n = struct.unpack_from("<II", data, 4)
    assert version == 1
    out, end = {}, 12 + 12 * n
    for i in range(n):
        section, offset, length = struct.unpack_from("<III", data, 12 + 12 * i)
        assert offset == end, "sections follow each other"
        out[section] = data[offset:offset + length]
        end = offset + length
    assert end == len(data), "nothing stands after the last section"
    return out


def decode(page):
    s = container(page)
    meta = json.loads(s[1])
    r = Reader(s[2])
    n = r.varint()
    strings = s[2][r.at:].split(b"\0")
    assert len(strings) == n + 1 and strings[-1] == b"" and strings[0] == b""
    strings.pop()
    body = strings[:-1] if meta["folded"] else strings
    assert body == sorted(body), "strings are sorted"
    r = Reader(s[3])
    nfun, name, names = r.varint(), 0, []
    for _ in range(nfun):
        name += r.signed()
        names.append(strings[name])
    for _ in range(4 * nfun):
        r.varint()
    kinds = [r.varint() for _ in range(nfun)]
    assert r.at == len(s[3])
    r = Reader(s[4])
    nctx = r.varint()
    columns = [[r.varint() for _ in range(nctx)] for _ in range(7)]
    assert r.at == len(s[4])
    contexts = [(kind, strings[name], pid, tid) for kind, name, _, _, pid, tid, _ in zip(*columns)]
    r = Reader(s[5])
    n, ntypes = r.varint(), r.varint()
    items = [r.varint() for _ in range(n)]
    children = [r.varint() for _ in range(n)]
    flags = [r.varint() for _ in range(n)]
    values = [[r.signed() for _ in range(n)] for _ in range(ntypes)]
    assert r.at == len(s[5]) and len(flags) == n
    return meta, names, kinds, contexts, items, children, values, times(s.get(6), n)


def times(data, nodes):
    """None, or (microseconds of a slot, slots, [(node, slot, samples)])."""
    if data is None:
        return None
    r = Reader(data)
    slot_us, _, slots, n = r.varint(), r.varint(), r.varint(), r.varint()
    node, at, last = 0, [], None
    for _ in range(n):
        node += r.varint()
        at.append(node)
    slot, rows = 0, []
    for node in at:
        slot = slot + r.varint() if node == last else r.varint()
        last = node
        rows.append((node, slot))
    rows = [(node, slot, r.varint()) for node, slot in rows]
    assert r.at == len(data), "nothing stands after the times"
    assert all(node < nodes and slot < slots and count > 0 for node, slot, count in rows)
    assert rows == sorted(rows), "by node, then slot"
    return slot_us, slots, rows


def stacks(page):
    meta, names, kinds, contexts, items, children, values, when = decode(page)
    out, path, left = Counter(), [], []
    at, by_slot = [], Counter()
    for i, item in enumerate(items):
        while left and left[-1] == 0:
            left.pop()
            path.pop()
        if i:
            left[-1] -= 1
            if item < len(names):
                path.append(names[item] + b"|%d" % kinds[item])
            else:
                kind, name, pid, tid = contexts[item - len(names)]
                path.append(name if kind == CONTAINER else name + b"/%d" % (pid if kind == PROCESS else tid))
        else:
            path.append(b"")
        left.append(children[i])
        at.append(b";".join(path[1:]))
        if values and values[0][i]:
            out[at[i]] += values[0][i]
    for node, slot, count in when[2] if when else []:
        by_slot[b"%d;%s" % (slot, at[node])] += count
    if when:
        assert sum(by_slot.values()) == sum(out.values()), "every sample has its time"
        meta["times"] = when[:2], by_slot
    while left and left[-1] == 0:
        left.pop()
    assert not left, "the tree closes"
    return meta, out


def oracle(path, skip=0):
    out = Counter()
    with open(path, "rb") as f:
        for line in f.read().split(b"\n")[skip:]:
            stack, _, count = line.rpartition(b" ")
            if stack:
                out[stack] += int(count)
    return out


def same_stacks(make, kind, tmp):
    page, col, slots = (os.path.join(tmp, kind + end) for end in (".html", ".col", ".times"))
    subprocess.run([make, kind, page, col, slots], check=True)
    meta, got = stacks(open(page, "rb").read())
    want = oracle(col)
    assert sum(got.values()) == sum(want.values()), "sums differ"
    if not meta["folded"]:
        assert got == want, f"stacks differ: {list((got - want) + (want - got))[:3]}"
        same_times(meta, slots)
    return meta, page


def same_times(meta, path):
    with open(path, "rb") as f:
        head = f.readline().split()
    want = oracle(path, 1)
    if not want:
        assert "times" not in meta, "no times, no section"
        return
    (slot_us, slots), got = meta["times"]
    assert [slots, slot_us] == [int(v) for v in head], head
    assert got == want, f"times differ: {list((got - want) + (want - got))[:3]}"


def case_small(make, tmp):
    meta, _ = same_stacks(make, "small", tmp)
    assert meta["processes"] == 4 and meta["containers"] == 1 and meta["host"] == "test-host"
    assert meta["ledger"]["idle"] > 0 and meta["values"] == [{"name": "samples", "unit": "count"}]


def case_tiny(make, tmp):
    same_stacks(make, "tiny", tmp)


def case_short_keeps_its_times(make, tmp):
    meta, _ = same_stacks(make, "short", tmp)
    (slot_us, slots), got = meta["times"]
    assert slot_us == 5000 and slots == 239, (slot_us, slots)
    assert got[b"0;;app/7;app/7;main|1;load|3"] == 1 and sum(got.values()) == 140


def case_folded_keeps_its_times(make, tmp):
    meta, _ = same_stacks(make, "folded", tmp)
    assert meta["folded"] and meta["times"][0][1] <= 512


def case_deep(make, tmp):
    same_stacks(make, "deep", tmp)


def case_wide(make, tmp):
    same_stacks(make, "wide", tmp)


def case_negative(make, tmp):
    same_stacks(make, "bytes", tmp)


def case_empty(make, tmp):
    meta, page = same_stacks(make, "empty", tmp)
    assert meta["nodes"] == 1


def case_huge_keeps_its_sums(make, tmp):
    meta, page = same_stacks(make, "huge", tmp)
    assert meta["nodes"] <= 300000
    assert os.path.getsize(page) < 3 * 1000000


def case_hostile_bytes_stay_data(make, tmp):
    page = os.path.join(tmp, "hostile.html")
    subprocess.run([make, "hostile", page], check=True)
    raw = open(page, "rb").read()
    head, _, _ = raw.partition(b'<script type="text/plain" id="profile">')
    body = head.split(b"<body>")[1]
    assert raw.count(b"<script") == 2, "the data and the program, nothing else"
    for bad in (b"<img", b"<svg", b"onerror=window.pwned=3>", b"\x07", b"\x1b", b"\xe2\x80\xae", b"\xff"):
        assert bad not in body.split(b"</div>", 1)[1] or bad == b"onerror=window.pwned=3>", bad
    names = decode(raw)[1]
    assert any(n.startswith(b"</script><script>") for n in names)
    assert any(len(n) == 65536 for n in names)
    assert b"bad \xff\xfe\xc3( utf-8 \xed\xa0\x80" in names


def main():
    make = sys.argv[1]
    cases = [(k[5:], v) for k, v in globals().items() if k.startswith("case_")]
    print(f"1..{len(cases)}")
    failed = 0
    for n, (name, case) in enumerate(cases, 1):
        with tempfile.TemporaryDirectory() as tmp:
            try:
                case(make, tmp)
                print(f"ok {n} - page__{name}", flush=True)
            except (AssertionError, IndexError, AttributeError, subprocess.CalledProcessError, ValueError) as e:
                failed = 1
                print(f"not ok {n} - page__{name}\n# {type(e).__name__}: {e}", flush=True)
    return failed


sys.exit(main())
