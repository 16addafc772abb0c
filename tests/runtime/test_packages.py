#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packages of source files, by what is installed beside them.

usage: test_packages.py READ_THREADS. Prints TAP."""
import json
import os
import subprocess
import sys
import tempfile

import pythons

TOOL = sys.argv[1]
CALL = "def call(rest):\n    return rest[0](rest[1:])\n"
TARGET = """
import os, sys, json
sys.path.insert(0, sys.argv[1])
import owned, named.inner, egg_one, nobodys, shared.a, shared.b
def stop(rest):
    sys.stdout.write("up\\n"); sys.stdout.flush(); os.read(0, 1)
def encode(rest):
    return json.JSONEncoder(default=lambda o: stop(None)).encode(object)
owned.call([named.inner.call, egg_one.call, nobodys.call, shared.a.call, shared.b.call, encode])
"""


def put(directory, name, text):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def install(site):
    for name in ("owned.py", "named/__init__.py", "named/inner.py", "egg_one.py", "nobodys.py",
                 "shared/__init__.py", "shared/a.py", "shared/b.py"):
        put(site, name, CALL)
    put(site, "Owned-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: Owned\nVersion: 1.0\n\nName: wrong\n")
    put(site, "Owned-1.0.dist-info/RECORD", "owned.py,sha256=x,1\r\nOwned-1.0.dist-info/METADATA,,\r\n")
    put(site, "na_med-2.1.post1.dist-info/METADATA", "Name: na.med\nVersion: 2.1.post1\n")
    put(site, "na_med-2.1.post1.dist-info/RECORD", '"named/a,b.py",,\nnamed/__init__.py,,\nnamed/inner.py,,')
    put(site, "egg_one-0.3-py3.egg-info/PKG-INFO", "Name: egg-one\nVersion: 0.3\n")
    put(site, "egg_one-0.3-py3.egg-info/installed-files.txt", "../egg_one.py\nPKG-INFO\n")
    for part in "ab":
        put(site, "shared_%s-%s.dist-info/METADATA" % (part, ord(part)),
            "Name: shared-%s\nVersion: %d\n" % (part, ord(part)))
        put(site, "shared_%s-%s.dist-info/RECORD" % (part, ord(part)), "shared/%s.py,,\n" % part)
    # What must neither be opened nor waited for, and what is no package.
    os.mkdir(os.path.join(site, "fifo-1.dist-info"))
    os.mkfifo(os.path.join(site, "fifo-1.dist-info/METADATA"))
    os.symlink("/etc/shadow", os.path.join(site, "link-1.dist-info"))
    put(site, "void-1.dist-info/METADATA", "Name:\nVersion: 1\n")


def check(path, version):
    with tempfile.TemporaryDirectory() as d:
        site = os.path.join(d, "lib", "site-packages")
        install(site)
        put(d, "target.py", TARGET)
        p = subprocess.Popen([path, os.path.join(d, "target.py"), site], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        try:
            assert p.stdout.readline() == b"up\n"
            out = subprocess.run([TOOL, str(p.pid), "1", "0"], capture_output=True, text=True, check=True,
                                 timeout=60).stdout
        finally:
            pythons.end(p)
    frames = json.loads(out.splitlines()[0])["frames"]
    got = {os.path.relpath(f[1], site): f[4] for f in frames if f[1].startswith(site)}
    assert got == {
        "owned.py": "[Owned==1.0]", "named/inner.py": "[na.med==2.1.post1]", "egg_one.py": "[egg-one==0.3]",
        "nobodys.py": "", "shared/a.py": "[shared-a==97]", "shared/b.py": "[shared-b==98]"}, got
    library = {f[4] for f in frames if f[1].endswith("json/encoder.py")}
    assert library == {"[standard-library==%s]" % version}, library
    assert {f[4] for f in frames if f[1].endswith("target.py")} == {""}, frames
    return "%d frames" % len(frames)


cases = [("packages__of_files: " + v, lambda p=p, v=v: check(p, v)) for v, p in pythons.found()]
sys.exit(pythons.run(cases))
