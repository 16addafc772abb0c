#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stacks read from outside, compared with what the programs say of themselves, on every CPython found.

usage: test_reader.py READ_THREADS. Prints TAP."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import pythons

TOOL = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
LEAST = 0.97
READINGS = 1500


def read(pid, count=1, ms=0):
    out = subprocess.run([TOOL, str(pid), str(count), str(ms)], capture_output=True, timeout=120)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.decode("utf-8", "replace").splitlines()]


def names_match(version, ours, theirs):
    if version >= (3, 11):  # ours are qualified names
        return ours == theirs or ours.endswith("." + theirs)
    return ours == theirs


class Target:
    def __init__(self, path, script, directory=None):
        self.dir = tempfile.mkdtemp(prefix="gprofiler-test-", dir=directory)
        inner = os.path.join(self.dir, "příklad π")
        os.mkdir(inner)
        self.script = os.path.join(inner, script)
        shutil.copy(os.path.join(HERE, script), self.script)
        env = dict(os.environ, LC_ALL="C.UTF-8", PYTHONIOENCODING="utf-8")
        self.p = subprocess.Popen([path, self.script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  cwd=self.dir, env=env)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pythons.end(self.p)
        shutil.rmtree(self.dir, ignore_errors=True)


def check_chains(path, version):
    """Every name, file, line and first line of every chain is what the traceback module says."""
    chains = 0
    with Target(path, "target_chain.py") as t:
        for line in t.p.stdout:
            truth = json.loads(line.decode("utf-8"))
            pythons.wait_asleep(t.p.pid)
            threads = read(t.p.pid)
            stacks = [x["frames"] for x in threads if any(f[0].endswith("leaf") for f in x["frames"])]
            assert len(stacks) == 1, threads
            assert not any(x["torn"] for x in threads), threads
            got = stacks[0]
            assert len(got) == len(truth), (got, truth)
            for ours, theirs in zip(got, truth):
                assert names_match(version, ours[0], theirs[0]), (ours, theirs)
                assert ours[1] == theirs[1], (ours, theirs)
                assert ours[2] == theirs[3], ("first line", ours, theirs)
                assert ours[3] == theirs[2], ("line", ours, theirs)
                assert not ours[5], ours
            tids = {x["tid"] for x in threads}
            assert t.p.pid in tids and 0 not in tids, threads
            assert len(tids) == len(threads), threads
            chains += 1
            t.p.stdin.write(b"x")
            t.p.stdin.flush()
    assert chains == 14, chains  # wide_code stops twice
    return "%d chains" % chains


class Tracer(threading.Thread):
    """Watches TracerPid and the state of the main thread while it is read."""

    def __init__(self, pid):
        super().__init__()
        self.pid, self.on, self.seen, self.looks = pid, True, set(), 0

    def run(self):
        while self.on:
            with open("/proc/%d/status" % self.pid) as f:
                text = f.read()
            self.seen.add((re.search(r"TracerPid:\t(\d+)", text).group(1), re.search(r"State:\t(\w)", text).group(1)))
            self.looks += 1


def plausible(frames):
    """Is this a moment of target_moving.py?"""
    names = [f[0] for f in frames]
    if not names or names[-1] != "<module>" or (len(names) > 1 and names[-2] != "main"):
        return False
    tops = {0: 11, 1: 7, 2: 3}
    expect = None
    for name in names[:-2][::-1]:
        m = re.match(r"f_(\d)_(\d+)$", name)
        if not m:
            return False
        chain, depth = int(m.group(1)), int(m.group(2))
        if expect is None:
            if depth != tops[chain]:
                return False
        elif (chain, depth) != expect:
            return False
        expect = (chain, depth - 1)
    return True


def check_moving(path, version):
    """A program that calls and returns all the time, read without being stopped."""
    with Target(path, "target_moving.py") as t:
        assert t.p.stdout.readline() == b"up\n"
        watch = Tracer(t.p.pid)
        watch.start()
        threads = read(t.p.pid, READINGS, 1)
        watch.on = False
        watch.join()
        good = sum(1 for x in threads if not x["torn"] and plausible(x["frames"]))
        torn = sum(1 for x in threads if x["torn"])
        wrong = [x for x in threads if not x["torn"] and not plausible(x["frames"])]
        depths = {len(x["frames"]) for x in threads}
        assert len(threads) == READINGS, len(threads)
        assert len(depths) > 5, depths
        assert {s for s, _ in watch.seen} == {"0"}, watch.seen
        assert not {s for _, s in watch.seen} & {"T", "t"}, watch.seen
        share = good / len(threads)
        note = "%.2f %% right, %d torn, %d wrong of %d; TracerPid 0 in %d looks" % (
            share * 100, torn, len(wrong), len(threads), watch.looks)
        assert share >= LEAST, (note, wrong[:2])
        return note


cases = []
for text, python in pythons.found():
    number = tuple(int(x) for x in text.split("."))
    label = text + (" system" if python.startswith("/usr/bin") else "")
    cases.append(("reader__chains: " + label, lambda p=python, v=number: check_chains(p, v)))
    cases.append(("reader__moving: " + label, lambda p=python, v=number: check_moving(p, v)))
sys.exit(pythons.run(cases))
