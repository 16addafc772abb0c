# SPDX-License-Identifier: Apache-2.0
"""Prints the line tables of many code objects of the interpreter that runs this, with the lines that its dis
module finds in them: JSON rows [format, first line, table in hex, {offset: line}]. Runs on 2.7 and 3.6 on."""
import dis
import json
import os
import sys

MODULES = ["argparse", "ast", "collections", "ctypes", "difflib", "email.message", "json.decoder", "logging",
           "os", "pickle", "subprocess", "tarfile", "threading", "typing", "unittest.case", "xml.dom.minidom"]
LIMIT = 3000


def tables(code, out):
    version = sys.version_info[:2]
    if version < (3, 6):
        fmt, table = 0, code.co_lnotab
    elif version < (3, 10):
        fmt, table = 1, code.co_lnotab
    else:
        fmt, table = 2 if version == (3, 10) else 3, code.co_linetable
    size = len(code.co_code)
    lines = {}
    if hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            for off in range(start, end, 2):
                lines[off] = line or 0
    else:
        starts = sorted(dis.findlinestarts(code))
        for i, (off, line) in enumerate(starts):
            stop = starts[i + 1][0] if i + 1 < len(starts) else size
            # From 3.6 on instructions are of two bytes.
            for k in range(off, stop, 2 if version >= (3, 6) else 1):
                lines[k] = line
    out.append([fmt, code.co_firstlineno, "".join("%02x" % b for b in bytearray(table)), lines])
    for const in code.co_consts:
        if hasattr(const, "co_code"):
            tables(const, out)


def main():
    out = []
    for name in MODULES:
        try:
            module = __import__(name, fromlist=["x"])
            path = module.__file__.replace(".pyc", ".py")
            with open(path, "rb") as f:
                code = compile(f.read(), path, "exec", dont_inherit=True)
        except (ImportError, IOError):
            continue
        tables(code, out)
    # Lines that go back, far steps, no lines: what optimised and generated code has.
    tables(compile("x = [\n1,\n2\n]\n" + "\n" * 1000 + "def f(a,\n b):\n  try:\n    return (a +\n b)\n  finally:\n"
                   "    a()\n", "far", "exec"), out)
    json.dump(out[:LIMIT], sys.stdout)


main()
