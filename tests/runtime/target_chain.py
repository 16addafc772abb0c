# -*- coding: utf-8 -*-
# SPDX-License-Identifier: Apache-2.0
"""Runs known chains of calls, one after the other, on command: reads a line, prints its own stack as the
interpreter's traceback module sees it (JSON, leaf first), and stays there until the next line.
Compatible with 2.7 and 3.6 on."""
import json
import os
import sys
import threading
import traceback

FILE = sys._getframe().f_code.co_filename


def report():
    stack = traceback.extract_stack(sys._getframe(1))
    frame = sys._getframe(1)
    first = []
    while frame is not None:
        first.append(frame.f_code.co_firstlineno)
        frame = frame.f_back
    rows = [[s[2], s[0], s[1]] for s in stack][::-1]
    out = json.dumps([r + [f] for r, f in zip(rows, first)])
    sys.stdout.write(out + "\n")
    sys.stdout.flush()


def leaf():
    report(); os.read(0, 1)  # one line: both are the line that runs


class Widget(object):
    def method(self):
        leaf()

    @classmethod
    def maker(cls):
        cls().method()

    class Inner(object):
        def deep(self): return Widget.maker()


def generator(n):
    for i in range(n):
        leaf()
        yield i


def with_generator():
    return [x for x in generator(1)]


def with_key():
    return sorted([3, 1], key=lambda v: (v, leaf() if v == 3 else 0))


def many_lines(a,
               b,
               c=None):
    text = ("a"
            "b")
    value = max(
        len(text),
        leaf() or 0,
        1)
    return value


def recursion(n):
    if n:
        return recursion(n - 1)
    return leaf()


def with_exec():
    exec(compile("\n\nleaf()\n", "<string>", "exec"), {"leaf": leaf})


def with_except():
    try:
        raise ValueError
    except ValueError:
        leaf()


def far_lines():
    # The steps between lines are more than a byte holds.
    source = "def far(leaf):\n" + "\n" * 300 + "  x = 1\n" + "\n" * 500 + "  leaf()\n"
    space = {}
    exec(compile(source, "/nowhere/far.py", "exec"), space)
    space["far"](leaf)


def wide_code():
    # More than 255 bytes of code between two lines.
    source = "def wide(leaf):\n  x = [" + ",".join(str(i) for i in range(2000)) + "]\n  leaf()\n"
    source += "".join("  x = %d\n" % i for i in range(400)) + "  leaf()\n"
    space = {}
    exec(compile(source, "/nowhere/wide.py", "exec"), space)
    space["wide"](leaf)


if sys.version_info[0] >= 3:
    exec("def žluťoučký():\n  leaf()\n\ndef 𐌰𐌱():\n  žluťoučký()\n\ndef naïve():\n  𐌰𐌱()\n")


def other_alphabets():
    globals()["naïve"]() if sys.version_info[0] >= 3 else leaf()


def in_thread():
    t = threading.Thread(target=Widget.Inner().deep)
    t.start()
    t.join()


CHAINS = [leaf, Widget.maker, Widget.Inner().deep, with_generator, with_key, lambda: many_lines(1, 2),
          lambda: recursion(40), with_exec, with_except, far_lines, wide_code, other_alphabets, in_thread]


def main():
    for chain in CHAINS:
        chain()


main()
