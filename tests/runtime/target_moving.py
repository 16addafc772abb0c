# SPDX-License-Identifier: Apache-2.0
"""Calls all the time, along chains of which every moment is one of known form: whoever was called by whom
is told by the names, <name>_<number of its caller's chain>_<depth>."""
import sys


def make(chain, depth):
    name = "f_%d_%d" % (chain, depth)
    if depth == 0:
        body = "  x = 0\n  for i in range(%d):\n    x += i\n  return x\n" % (3 + chain * 5)
    else:
        body = "  y = f_%d_%d()\n  for i in range(%d):\n    y += i\n  return y\n" % (chain, depth - 1, 2 + depth)
    return "def %s():\n%s" % (name, body)


for c in range(3):
    for d in range(12):
        exec(make(c, d), globals())


def main():
    sys.stdout.write("up\n")
    sys.stdout.flush()
    while True:
        f_0_11()  # noqa: F821
        f_1_7()  # noqa: F821
        f_2_3()  # noqa: F821


main()
