#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`gprofiler diff A B`: the text, the page, and what it says when it cannot.

    check_diff.py GPROFILER       (TAP on stdout)"""
import os
import subprocess
import sys
import tempfile

A = "app;main;hot 1000\napp;main;cold 300\n"
B = "app;main;hot 1000\napp;main;cold 310\napp;main;bad\x1b[31mname 400\n"


def run(program, *args, cwd):
    return subprocess.run([program, "diff", *args], cwd=cwd, capture_output=True, text=True)


def case_text_and_page(program, tmp):
    r = run(program, "a.col", "b.col", cwd=tmp)
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    assert lines[0].startswith("1300 samples in A, 1710 in B"), lines[0]
    assert "+23.39%" in lines[2] and "\x1b" not in r.stdout, lines[2]
    page = open(os.path.join(tmp, "diff.html"), encoding="utf-8").read()
    assert "<title>Comparison" in page and 'id="profile"' in page


def case_equal_profiles_have_no_change(program, tmp):
    r = run(program, "a.col", "a.col", "-o", "-", cwd=tmp)
    assert r.returncode == 0 and "0 functions changed" in r.stdout, r.stdout + r.stderr
    assert not os.path.exists(os.path.join(tmp, "diff.html"))


def case_top_limits_rows(program, tmp):
    r = run(program, "a.col", "b.col", "--top", "1", "-o", "-", cwd=tmp)
    assert r.returncode == 0 and "and 2 more" in r.stdout, r.stdout + r.stderr


def case_what_cannot_be_read_is_named(program, tmp):
    for bad, why in (("absent", "No such file"), ("junk", "is no"), ("empty", "is no")):
        r = run(program, "a.col", bad, cwd=tmp)
        assert r.returncode == 1 and bad in r.stderr, r.stderr
        assert not r.stdout and not os.path.exists(os.path.join(tmp, "diff.html"))
    assert run(program, "a.col", cwd=tmp).returncode == 2


def case_unwritable_page_is_an_error(program, tmp):
    r = run(program, "a.col", "b.col", "-o", "absent/folder/x.html", cwd=tmp)
    assert r.returncode == 1 and "absent/folder/x.html" in r.stderr, r.stderr


def main():
    program = os.path.abspath(sys.argv[1])
    cases = [(k[5:], v) for k, v in globals().items() if k.startswith("case_")]
    print(f"1..{len(cases)}")
    failed = 0
    for n, (name, case) in enumerate(cases, 1):
        with tempfile.TemporaryDirectory() as tmp:
            for path, text in (("a.col", A), ("b.col", B), ("junk", "\x00\x01\x02 no profile\n"), ("empty", "")):
                with open(os.path.join(tmp, path), "w", encoding="utf-8") as f:
                    f.write(text)
            try:
                case(program, tmp)
                print(f"ok {n} - diff__{name}", flush=True)
            except (AssertionError, OSError, ValueError) as e:
                failed = 1
                print(f"not ok {n} - diff__{name}\n# {type(e).__name__}: {e}", flush=True)
    return failed


sys.exit(main())
