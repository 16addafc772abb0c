# SPDX-License-Identifier: Apache-2.0
"""The command line as a person or a script meets it: exit status, where text goes, check on each rung."""
import json
import os
import shutil
import subprocess
import time

import lib

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def run(*args, prefix=(), environ=None, exe=None, **kw):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GPROFILER_")}
    env.update({"GPROFILER_SYSTEM_CONFIG": ""}, **(environ or {}))
    return subprocess.run([*prefix, exe or lib.GPROFILER, *args], text=True, timeout=60, env=env,
                          **({"capture_output": True} | kw))


def refused(*args, part, **kw):
    r = run(*args, **kw)
    assert r.returncode == 2, (args, r)
    assert r.stdout == "", r.stdout
    assert r.stderr.startswith("usage: gprofiler"), r.stderr
    assert "\ngprofiler: error: " in r.stderr, r.stderr
    assert part in r.stderr, r.stderr
    return r


def open_copy():
    """A copy of the program that uid nobody may run, wherever the build tree lies."""
    exe = os.path.join(lib.env.dir, "gprofiler")
    shutil.copy(lib.GPROFILER, exe)
    os.chmod(exe, 0o755)
    return exe


def test_version_and_help():
    r = run("--version")
    assert (r.returncode, r.stdout, r.stderr) == (0, "2.0.0\n", "")
    for args in (["--help"], ["-h"], ["help"], ["-o", "x", "-h"]):
        r = run(*args)
        assert r.returncode == 0 and r.stderr == "", r
        assert r.stdout.startswith("usage: gprofiler -o DIR"), r.stdout
        assert "--profiling-frequency" in r.stdout
    for args in (["check", "--help"], ["help", "check"]):
        r = run(*args)
        assert r.returncode == 0, r
        assert r.stdout.startswith("usage: gprofiler check [--json]"), r.stdout
        assert "--output-dir" not in r.stdout


def test_usage_errors_are_status_2():
    refused(part="add -o DIR")
    refused("-u", "--service-name", "s", part="Must provide --token when --upload-results is passed")
    refused("-o", "x", "--frequency", "9", part="did you mean --profiling-frequency?")
    refused("upload-file", part="required: --file-path")
    refused("check", "--dialect", "x", part="unrecognized arguments: --dialect")
    r = run("ls")
    assert r.returncode == 2 and "gprofiler -- ls" in r.stderr, r
    r = run("check", "more")
    assert r.returncode == 2 and "unrecognized arguments: more" in r.stderr, r


def test_environment_and_files_are_read():
    refused(environ={"GPROFILER_PROFILING_FREQUENCY": "many"}, part="GPROFILER_PROFILING_FREQUENCY")
    path = os.path.join(lib.env.dir, "config.ini")
    with open(path, "w") as f:
        f.write("[gprofiler]\nprofiling-frequency = 5000\n")
    refused(environ={"GPROFILER_SYSTEM_CONFIG": path}, part=path)
    refused("--config", path, part="expected 1 to 1000")
    assert run("--help", environ={"GPROFILER_SYSTEM_CONFIG": path}).returncode == 0


def test_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        for args in (["--help"], ["--version"], ["check"], ["check", "--json"]):
            r = run(*args, stdout=full, stderr=subprocess.PIPE, capture_output=False)
            assert r.returncode == 1, (args, r)
    # A reader that goes away ends it without a word.
    r = subprocess.run(f"'{lib.GPROFILER}' check | head -n 1 >/dev/null; "
                       "echo ${PIPESTATUS[0]}", shell=True, executable="/bin/bash", capture_output=True,
                       text=True, timeout=60)
    assert r.stderr == "", r
    # Without standard descriptors no file of ours takes their place.
    r = subprocess.run(f"exec '{lib.GPROFILER}' check <&- >&- 2>&-", shell=True, timeout=60)
    assert r.returncode in (0, 10, 11, 12), r


def test_check_table():
    r = run("check")
    assert r.returncode in (0, 10, 11, 12, 1), r
    lines = r.stdout.splitlines()
    assert all(len(line) < 80 for line in lines), [x for x in lines if len(x) >= 80]
    for fact in ("load a BPF program", "hardware cycles", "CAP_PERFMON", "cgroups", "seccomp",
                 "pressure information", "perf_event_paranoid", "open files limit"):
        assert any(line[9:].startswith(fact) for line in lines), fact
    assert any(line.startswith("Rung: ") for line in lines), r.stdout


STATUS = {"bpf": 0, "ring": 10, "ring for own processes": 11, "reader": 12, "none": 1}


def check_json(*args, **kw):
    r = run("check", "--json", *args, **kw)
    doc = json.loads(r.stdout)
    assert r.returncode == doc["status"] == STATUS[doc["rung"]], r
    assert (doc["obstacle"] is None) == (doc["rung"] == "bpf"), doc
    ids = [f["id"] for f in doc["facts"]]
    assert len(ids) == len(set(ids)) > 30
    for f in doc["facts"]:
        assert f["verdict"] in ("ok", "note", "limited", "missing"), f
        if f["verdict"] in ("limited", "missing"):
            assert f["consequence"] and f["remedy"], f
    # The layout of Python's json.dumps.
    assert r.stdout == json.dumps(doc) + "\n"
    return doc


def test_check_as_others():
    lib.need_root()
    if check_json()["rung"] != "bpf":
        lib.skip("this process itself has not the rung bpf")
    exe = open_copy()
    caps = ["--inh-caps=-all,+bpf,+perfmon", "--ambient-caps=-all,+bpf,+perfmon"]
    assert check_json(exe=exe, prefix=[*NOBODY, *caps])["rung"] == "bpf"
    caps = ["--inh-caps=-all,+perfmon", "--ambient-caps=-all,+perfmon"]
    doc = check_json(exe=exe, prefix=[*NOBODY, *caps])
    assert doc["rung"] == "ring" and doc["obstacle"] == "bpf_load", doc
    paranoid = int(open("/proc/sys/kernel/perf_event_paranoid").read())
    if paranoid not in (1, 2):
        lib.skip(f"perf_event_paranoid is {paranoid}, not 1 or 2")
    doc = check_json(exe=exe, prefix=[*NOBODY, "--inh-caps=-all"])
    assert doc["rung"] == "ring for own processes", doc
    held = {f["id"]: f["value"] for f in doc["facts"] if f["id"].startswith("cap_")}
    assert set(held.values()) == {"not held"}, held


def test_check_takes_no_lock_and_is_quick():
    began = time.monotonic()
    both = [subprocess.Popen([lib.GPROFILER, "check"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [p.communicate(timeout=60)[0] for p in both]
    assert both[0].returncode == both[1].returncode
    assert all("Rung: " in t for t in texts)
    lib.note(f"two checks at once: {time.monotonic() - began:.2f} s")


def test_secret_is_shown_nowhere():
    lib.need_root()
    p = lib.start_gprofiler("-d", 2, "--token", "hush-hush", "-v")
    seen = b""
    while p.poll() is None and b"***" not in seen:
        try:
            seen = open(f"/proc/{p.pid}/cmdline", "rb").read()
        except OSError:
            break
        time.sleep(0.01)
    stdout, stderr = p.communicate(timeout=60)
    assert p.returncode == 0, stdout + stderr
    assert b"--token" in seen and b"hush" not in seen, seen
    assert "hush" not in stdout + stderr
    for name in os.listdir(p.out):
        path = os.path.join(p.out, name)
        if os.path.isfile(path):
            assert b"hush" not in open(path, "rb").read(), name


def test_man_page_renders():
    r = run("--help-man")
    assert r.returncode == 0
    if not shutil.which("groff"):
        lib.skip("groff is not installed")
    page = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-P-cbou"], input=r.stdout, capture_output=True, text=True,
                          timeout=60)
    assert page.returncode == 0 and page.stderr == "", page.stderr[:500]
    for part in ("--profiling-frequency", "EXIT STATUS", "gprofiler check"):
        assert part in page.stdout, part


if __name__ == "__main__":
    lib.main(globals())
