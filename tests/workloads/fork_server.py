# -*- coding: utf-8 -*-
# SPDX-License-Identifier: Apache-2.0
"""A fork server with known stacks, for every CPython from 2.7 on.

usage: fork_server.py NAME FORKED EXECED BUSY SECONDS. Forks FORKED children, and EXECED that exec this program again.
The last BUSY of them, all that exec'ed included, burn each in a function of their own, turn_<number>, two at a time; the
others sleep. NAME.up is left when all are there; once NAME.go is, they burn; NAME.done is left when all have had their
turn. It stays, and with it its children, for SECONDS at most."""
import os
import select
import sys
import time

UNITS = 60
UNIT = 40000


def burn(n):
    x = 0
    for i in range(n):
        x = (x + i * i) & 0xffffff
    return x


def make_turn(number):
    """A function that tells by its name whose it is."""
    space = {"burn": burn, "UNITS": UNITS, "UNIT": UNIT}
    exec("def turn_%d():\n    for _ in range(UNITS):\n        burn(UNIT)\n" % number, space)
    return space["turn_%d" % number]


def child(number, busy, turns, reports, ends):
    """turns: a byte in it is leave to burn; ends: nothing ever comes, and its end is ours."""
    os.write(reports, b"u")
    if busy:
        turn = make_turn(number)
        leave = os.read(turns[0], 1)
        turn()
        os.write(turns[1], leave)
        os.write(reports, b"d")
    os.read(ends, 1)


def inherit(fd):
    if hasattr(os, "set_inheritable"):
        os.set_inheritable(fd, True)
    return str(fd)


def fork_children(forked, execed, busy, turns, reports, ends):
    for number in range(forked + execed):
        if os.fork():
            continue
        os.close(ends[1])
        if number < forked:
            child(number, number >= forked + execed - busy, turns, reports[1], ends[0])
            os._exit(0)
        fds = [inherit(fd) for fd in (turns[0], turns[1], reports[1], ends[0])]
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), "child", str(number)] + fds)


def wait_for(reports, what, n, end):
    while n and time.time() < end:
        if select.select([reports[0]], [], [], 0.1)[0]:
            n -= os.read(reports[0], 1) == what


def serve(name, forked, execed, busy, seconds):
    end = time.time() + seconds
    turns, reports, ends = os.pipe(), os.pipe(), os.pipe()
    fork_children(forked, execed, busy, turns, reports, ends)
    wait_for(reports, b"u", forked + execed, end)
    open(name + ".up", "w").close()
    while not os.path.exists(name + ".go") and time.time() < end:
        time.sleep(0.02)
    os.write(turns[1], b"LL")
    wait_for(reports, b"d", busy, end)
    open(name + ".done", "w").close()
    time.sleep(max(0, end - time.time()))


def main():
    if sys.argv[1] == "child":
        number, take, give, report, ends = [int(a) for a in sys.argv[2:]]
        child(number, True, (take, give), report, ends)
    else:
        serve(sys.argv[1], *[int(a) for a in sys.argv[2:]])


if __name__ == "__main__":
    main()
