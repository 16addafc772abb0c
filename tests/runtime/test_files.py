#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is found in the files of every CPython of this machine: the same with and without symbols, and what
DWARF says where there is any.

usage: test_files.py LOCATE_PYTHON. Prints TAP."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pythons

TOOL = sys.argv[1]
GDB = r"""
import gdb
FIELDS = {
    "runtime.interp_head": ("_PyRuntimeState", "interpreters.head"),
    "runtime.tstate_current": ("_PyRuntimeState", "gilstate.tstate_current"),
    "runtime.key": ("_PyRuntimeState", "gilstate.autoTSSkey._key", "autoTSSkey._key"),
    "interp.next": ("PyInterpreterState", "next"),
    "interp.id": ("PyInterpreterState", "id"),
    "interp.tstate_head": ("PyInterpreterState", "threads.head", "tstate_head"),
    "tstate.next": ("PyThreadState", "next"),
    "tstate.interp": ("PyThreadState", "interp"),
    "tstate.frame": ("PyThreadState", "current_frame", "frame", "cframe"),
    "tstate.thread_id": ("PyThreadState", "thread_id"),
    "tstate.native_tid": ("PyThreadState", "native_thread_id"),
    "cframe.current": ("_PyCFrame", "current_frame"),
    "frame.back": ("FRAME", "previous", "f_back"),
    "frame.code": ("FRAME", "f_executable", "f_code"),
    "frame.lasti": ("FRAME", "instr_ptr", "prev_instr", "f_lasti"),
    "frame.entry": ("FRAME", "is_entry", "owner"),
    "code.argcount": ("PyCodeObject", "co_argcount"),
    "code.kwonly": ("PyCodeObject", "co_kwonlyargcount"),
    "code.flags": ("PyCodeObject", "co_flags"),
    "code.firstlineno": ("PyCodeObject", "co_firstlineno"),
    "code.adaptive": ("PyCodeObject", "co_code_adaptive"),
    "code.filename": ("PyCodeObject", "co_filename"),
    "code.name": ("PyCodeObject", "co_name"),
    "code.qualname": ("PyCodeObject", "co_qualname"),
    "code.lines": ("PyCodeObject", "co_linetable", "co_lnotab"),
    "bytes.data": ("BYTES", "ob_sval"),
}


def offset(struct, field):
    try:
        return int(gdb.parse_and_eval("(long)&((%s *)0)->%s" % (struct, field)))
    except gdb.error:
        return None


def has(struct):
    try:
        gdb.parse_and_eval("sizeof(%s)" % struct)
        return True
    except gdb.error:
        return False


names = {"FRAME": "_PyInterpreterFrame" if has("_PyInterpreterFrame") else "PyFrameObject",
         "BYTES": "PyBytesObject" if has("PyBytesObject") else "PyStringObject"}
for key, (struct, *fields) in FIELDS.items():
    for field in fields:
        value = offset(names.get(struct, struct), field)
        if value is not None:
            print("OFFSET", key, value)
            break
"""


def locate(*paths):
    out = subprocess.run([TOOL, *paths], capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in out.splitlines()]


def interpreter_file(python):
    """The file with the interpreter: a libpython beside the program, or the program itself."""
    real = os.path.realpath(python)
    libs = glob.glob(os.path.join(os.path.dirname(os.path.dirname(real)), "lib", "libpython[0-9].*.so.*"))
    for path in [*libs, real]:
        if locate(path)[0].get("eval"):
            return path
    raise AssertionError("no interpreter in %s" % [*libs, real])


def check_stripped(python, version):
    path = interpreter_file(python)
    whole = locate(path)[0]
    number = [int(x) for x in version.split(".")]
    assert whole["refused"] == 0, whole
    assert [whole["hex"] >> 24, whole["hex"] >> 16 & 255, whole["hex"] >> 8 & 255] == number, hex(whole["hex"])
    assert whole["key"] and whole["interp_head"], whole
    assert (whole["tls"][0] != 0) == (number >= [3, 12]), whole
    with tempfile.TemporaryDirectory() as d:
        copy = os.path.join(d, "some.so")  # the name says nothing
        shutil.copy(path, copy)
        subprocess.run(["strip", copy], check=True)
        stripped = locate(copy)[0]
    # An outlined part of an instruction or two (calls that never return) cannot be told without its name.
    whole["eval"] = [e for e in whole["eval"] if e[1] - e[0] > 64]
    assert stripped == whole, (stripped, whole)
    return "%s, %d eval ranges" % (os.path.basename(path), len(whole["eval"]))


def check_dwarf(python):
    path = interpreter_file(python)
    found = locate(path)[0]
    ours = found["offsets"]
    if not ours["runtime.key"] and found["runtime"]:
        ours["runtime.key"] = found["key"] - found["runtime"]  # read from the code of its accessor
    with tempfile.TemporaryDirectory() as d:
        script = os.path.join(d, "offsets.py")
        with open(script, "w") as f:
            f.write(GDB)
        out = subprocess.run(["gdb", "-batch", "-nx", "-x", script, path], capture_output=True, text=True,
                             timeout=120).stdout
    dwarf = {k: int(v) for k, v in re.findall(r"^OFFSET (\S+) (\d+)$", out, re.M)}
    if not dwarf:
        return "SKIP %s has no DWARF" % os.path.basename(path)
    wrong = {k: (ours[k], v) for k, v in dwarf.items() if ours[k] != v}
    assert not wrong, wrong
    assert len(dwarf) > 12, dwarf
    return "%d offsets" % len(dwarf)


def check_others():
    """Files that are no interpreter are not taken for one, though they have Python in their name."""
    others = glob.glob("/usr/lib/python3*/lib-dynload/*.so")[:40] + ["/bin/true", "/bin/sh"]
    others = [o for o in others if os.path.exists(o)]
    for path, found in zip(others, locate(*others)):
        assert "eval" not in found, (path, found)
    return "%d files" % len(others)


def check_libc():
    """The C libraries of this machine say where their thread-specific values are."""
    libs = [p for p in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/lib/ld-musl-x86_64.so.1")
            if os.path.exists(p)]
    if not libs:
        return "SKIP no C library at a known place"
    for path, found in zip(libs, locate(*libs)):
        expect = [2, 8] if "musl" in path else [1, 16]
        assert found.get("slot") and [found["slot"][0], found["slot"][2]] == expect, (path, found)
    return ", ".join(libs)


cases = [("files__no_interpreter", check_others), ("files__c_library", check_libc)]
for text, exe in pythons.found():
    cases.append(("files__stripped: " + text, lambda p=exe, v=text: check_stripped(p, v)))
    if shutil.which("gdb"):
        cases.append(("files__offsets_as_dwarf: " + text, lambda p=exe: check_dwarf(p)))
sys.exit(pythons.run(cases))
