#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The decoders of line tables compared with each interpreter's own, over thousands of functions of its library.

usage: test_line_tables.py DECODE_LINES. Prints TAP."""
import json
import os
import subprocess
import sys

import pythons

TOOL = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))


def check(path):
    out = subprocess.run([path, os.path.join(HERE, "line_tables.py")], capture_output=True, check=True, timeout=120)
    rows = json.loads(out.stdout)
    text = "".join("%d %d %s\n%s\n" % (f, first, table, " ".join(lines)) for f, first, table, lines in rows)
    got = subprocess.run([TOOL], input=text, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert len(got) == len(rows), (len(got), len(rows))
    compared = 0
    for line, (fmt, first, table, lines) in zip(got, rows):
        ours = [int(x) for x in line.split()]
        wrong = [(off, theirs, mine) for (off, theirs), mine in zip(lines.items(), ours) if theirs != mine]
        assert len(ours) == len(lines) and not wrong, (fmt, first, table[:80], wrong[:5])
        compared += len(ours)
    assert compared > 10000, compared
    return "%d instructions of %d functions" % (compared, len(rows))


cases = [("line_tables__as_dis: " + v, lambda p=p: check(p)) for v, p in pythons.found()]
sys.exit(pythons.run(cases))
