# SPDX-License-Identifier: Apache-2.0
"""What belongs to an architecture stands apart: every file of src/ compiles for aarch64, but for the two whose headers say that its
registers and its walker are still to be written, and these fail by that #error alone."""
import json
import os
import re
import shlex
import shutil
import subprocess

import lib

CC = "aarch64-linux-gnu-gcc"
BUILD = os.path.dirname(os.path.abspath(lib.GPROFILER))
# Who includes the header of which a second one is to be written.
ASK = {"src/capture/sample_decode.c": "registers of this architecture", "src/unwind/native.c": "no walker for this architecture"}


def compiled(command):
    """Return the errors of one file: its command for this machine, with the other's compiler, and this one's headers last."""
    words, kept = shlex.split(command), []
    while words:
        w = words.pop(0)
        if w in ("-o", "-MQ", "-MF"):
            words.pop(0)
        elif w.startswith("-") and w != "-MD" and w != "-c" and not w.startswith("-I/usr"):
            kept.append(w)
    multiarch = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    source = shlex.split(command)[-1]
    r = subprocess.run([CC, "-fsyntax-only", *kept, "-fdiagnostics-color=never", "-idirafter", "/usr/include", "-idirafter",
                        "/usr/include/" + multiarch, source], capture_output=True, text=True, cwd=BUILD)
    return [line for line in r.stderr.splitlines() if re.search(r"\berror:", line)]


def test_aarch64_lacks_two_files():
    if not shutil.which(CC):
        lib.skip(f"no {CC} (gcc-aarch64-linux-gnu)")
    table = subprocess.run(["ninja", "-t", "compdb"], capture_output=True, text=True, cwd=BUILD, check=True).stdout
    wrong, seen = {}, 0
    for c in json.loads(table):
        path = os.path.relpath(os.path.join(BUILD, c["file"]), os.path.dirname(BUILD))
        if not path.startswith("src/") or not path.endswith(".c"):
            continue
        seen += 1
        errors = compiled(c["command"])
        if errors:
            wrong[path] = errors
    lib.note(f"{seen} files, {sorted(wrong)} do not compile")
    assert seen > 200
    assert set(wrong) == set(ASK), {p: e[:3] for p, e in wrong.items() if p not in ASK}
    for path, why in ASK.items():
        assert why in wrong[path][0], wrong[path][:3]


if __name__ == "__main__":
    lib.main(globals())
