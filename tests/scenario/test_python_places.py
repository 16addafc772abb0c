# SPDX-License-Identifier: Apache-2.0
"""Interpreters in odd places (embedded, renamed, stripped, deleted, refused), files that only look like one, and what is said
of a frame beside its name: exact lines, packages, the standard library."""
import glob
import os
import re
import shutil
import subprocess

import lib
from test_python import FRAME, chosen, total
from test_python_hosts import BURN, begins, check_running, enough_of, start_python, wait_for_burning, write

EMBEDDER = r"""
#include <Python.h>
int main(int argc, char **argv)
{
	(void)argc;
	Py_Initialize();
	return PyRun_SimpleString(argv[1]);
}
"""
LOOP = BURN + "def main():\n    while True:\n        burn(20000)\n\nmain()\n"
TRUTH = ["<module>", "main", "burn"]


def shared_pythons():
    """(version, prefix) of those that come with a shared library and headers in a folder of their own."""
    found = []
    for version, path in chosen((3, 8)):
        prefix = os.path.dirname(os.path.dirname(path))
        short = ".".join(version.split(".")[:2])
        lib_ = os.path.join(prefix, "lib", f"libpython{short}.so.1.0")
        if os.path.exists(lib_) and os.path.exists(os.path.join(prefix, "include", f"python{short}", "Python.h")):
            found.append((short, prefix, lib_))
    return found


def start_embedder():
    """A program of C that links libpython, under a name that says nothing; None: nothing to make it of."""
    if not shared_pythons() or not shutil.which("cc"):
        lib.note("no Python with a shared library and headers, or no C compiler: nothing is embedded")
        return None
    short, prefix, lib_ = shared_pythons()[-1]
    source, program = write("embedder.c", EMBEDDER), os.path.join(lib.env.dir, "calculator")
    subprocess.run(["cc", "-o", program, source, f"-I{prefix}/include/python{short}", lib_, f"-Wl,-rpath,{prefix}/lib"], check=True)
    process = lib.env.start(program, LOOP, env=dict(os.environ, PYTHONHOME=prefix))
    wait_for_burning(process)
    return process


def own_library(lib_):
    """A copy of a library in a folder of its own, and the environment that prefers it."""
    folder = os.path.join(lib.env.dir, "lib")
    os.makedirs(folder)
    path = os.path.join(folder, os.path.basename(lib_))
    shutil.copy(lib_, path)
    return path, dict(os.environ, LD_LIBRARY_PATH=folder)


def start_deleted():
    """An upgrade took the library away; what is mapped is what is read. None: there is none that we can delete."""
    if not shared_pythons():
        return None
    short, prefix, lib_ = shared_pythons()[-1]
    path, environ = own_library(lib_)
    link = os.path.join(lib.env.dir, "py-deleted")
    os.symlink(os.path.join(prefix, "bin", f"python{short}"), link)
    process = lib.env.start(link, "-c", LOOP, env=environ)
    wait_for_burning(process)
    taken = path in open(f"/proc/{process.pid}/maps").read()
    os.unlink(path)
    return process if taken else None


def start_renamed():
    """Interpreters without symbols, program and library under names that say nothing: {comm: process}."""
    started = {}
    for version, path in chosen():
        real = os.path.realpath(path)
        prefix = os.path.dirname(os.path.dirname(real))
        comm = f"worker-{len(started)}"
        folder = os.path.join(lib.env.dir, comm + "-lib")
        os.mkdir(folder)
        copies = {real: os.path.join(lib.env.dir, comm)}
        for library in glob.glob(os.path.join(prefix, "lib", "libpython[0-9].[0-9]*.so.*")):
            copies[library] = os.path.join(folder, "blob.so")
            os.symlink("blob.so", os.path.join(folder, os.path.basename(library)))
        for source, copy in copies.items():
            shutil.copy(source, copy)
            subprocess.run(["strip", "--strip-all", copy], check=True)
        started[comm] = lib.env.start(os.path.join(lib.env.dir, comm), "-c", LOOP,
                                      env=dict(os.environ, PYTHONHOME=prefix, LD_LIBRARY_PATH=folder))
        lib.note(f"{comm} is {version}")
    for comm, process in started.items():
        wait_for_burning(process, 0.3)
        with open(f"/proc/{process.pid}/maps") as f:
            lib.note(f"{comm} is in a {'library' if 'blob.so' in f.read() else 'program'} of its own")
    return started


def test_odd_places():
    """Embedded, renamed and stripped, with a library that was deleted."""
    lib.need_root()
    renamed = start_renamed() if shutil.which("strip") else {}
    embedder, deleted = start_embedder(), start_deleted()
    p = enough_of([*renamed, *(["calculator"] if embedder else []), *(["py-deleted"] if deleted else [])])
    for comm in renamed:
        check_running(p, comm, lambda f: begins(f, TRUTH))
    if embedder:
        check_running(p, "calculator", lambda f: begins(f, TRUTH))
    if deleted:
        check_running(p, "py-deleted", lambda f: begins(f, TRUTH))


NO_PYTHON = r"""
#include <stdint.h>
#ifdef RUNTIME	/* names of an interpreter, and none behind them */
char _PyRuntime[8192];
uint32_t Py_Version = 0x030c00f0;
#endif
__attribute__((noinline)) uint64_t _PyEval_EvalFrameDefault(uint64_t n)
{
	volatile uint64_t x = 0;
	for (uint64_t i = 0; i < n; i++)
		x += i * i;
	if (x == 1)	/* as large as one */
		__asm__ volatile(".skip 8192, 0x90");
	return x;
}
"""
CALLER = "#include <stdint.h>\nuint64_t _PyEval_EvalFrameDefault(uint64_t);\nint main(void) { for (;;) _PyEval_EvalFrameDefault(100000); }\n"
UNUSED = "int main(void) { volatile unsigned x = 0; for (;;) x++; }\n"


def start_fake(soname, *flags):
    """A program that burns in a library which is called like Python's. Return its comm."""
    comm = f"fake{soname[9:13]}"
    library, program = os.path.join(lib.env.dir, soname), os.path.join(lib.env.dir, comm)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", *flags, "-o", library, write(comm + ".c", NO_PYTHON)], check=True)
    subprocess.run(["cc", "-O1", "-o", program, write(comm + "_main.c", CALLER), library, f"-Wl,-rpath,{lib.env.dir}"], check=True)
    wait_for_burning(lib.env.start(program), 0.1)
    return comm


def start_unused():
    """A program that is linked with a libpython and never starts it, as bazel's and envoy's may be. Return its comms."""
    if not shared_pythons():
        return []
    _, prefix, library = shared_pythons()[-1]
    program = os.path.join(lib.env.dir, "unused")
    subprocess.run(["cc", "-o", program, write("unused.c", UNUSED), "-Wl,--no-as-needed", library, f"-Wl,-rpath,{prefix}/lib"], check=True)
    wait_for_burning(lib.env.start(program), 0.1)
    return ["unused"]


def test_names_without_an_interpreter():
    """Libraries of the name, and with the symbols, of an interpreter: native stacks as ever, and nothing is said."""
    lib.need_root()
    if not shutil.which("cc"):
        lib.skip("no C compiler")
    comms = [start_fake("libpython3.10.so.1.0"), start_fake("libpython3.12.so.1.0", "-DRUNTIME")]
    unused = start_unused()
    profiles = lib.until(
        lambda found: all(total(found[0].of(c)) > 50 for c in comms + unused),
        lambda s: lib.at_once(("-d", s, "-f", 199), ("-d", s, "-f", 99, "--no-perf", "--python-mode", "pyspy", "--min-profiling-duration", 1)), 3)
    for comm, inner in [*((c, ["main", "_PyEval_EvalFrameDefault"]) for c in comms), *((c, ["main"]) for c in unused)]:
        stacks = profiles[0].of(comm)
        good = [s for s in stacks if [f for f in s.frames if not f.endswith("_[k]")][-len(inner):] == inner]
        lib.note(f"{comm}: {total(good)} of {total(stacks)}")
        assert total(stacks) > 20 and total(good) > 0.98 * total(stacks), stacks[:4]
        assert not profiles[1].of(comm), profiles[1].of(comm)
    for p in profiles:
        with open(os.path.join(p.process.out, "log")) as f:
            said = [line for line in f if ("gprofiler.python" in line or "gprofiler.reader" in line) and "] DEBUG: " not in line]
        assert not said, said


PACKAGE = BURN + "def run(end):\n    import time\n    while time.time() < end:\n        burn(20000)\n"
LINES = {"burn": {3, 4, 5, 6}, "run": {9, 10, 11}}	# of the bodies of PACKAGE
ENTRY = 2	# of burn()'s def: the line of its first instruction, at which a thread may wait for its turn
USER = """import json, sys, time
sys.path.insert(0, sys.argv[1])
import owned
def main():
    json.JSONEncoder(default=lambda o: owned.run(time.time() + 300)).encode(object)
main()
"""


def start_annotated(version, path):
    """A program whose frames are of the standard library, of a package and of neither."""
    comm = f"notes{version}"[:15]
    site = os.path.join(lib.env.dir, "site-" + comm, "lib", "site-packages")
    os.makedirs(os.path.join(site, "owned-1.5.dist-info"))
    for name, text in (("owned.py", PACKAGE), ("owned-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: owned\nVersion: 1.5\n"),
                       ("owned-1.5.dist-info/RECORD", "owned.py,,\n")):
        with open(os.path.join(site, name), "w") as f:
            f.write(text)
    return comm, start_python(comm, path, write(comm + "_user.py", USER), site)


def check_annotated(p, comm, version):
    """Exact lines, and whose each file is."""
    stacks = p.of(comm)
    n, good, entered, lines = p.total(stacks), 0, 0, set()
    for s in stacks:
        frames = [(m[1].split(".")[-1], m[2], int(m[3]), (m[4] or "").strip()) for m in map(FRAME.match, s.frames) if m]
        own = {name: (line, note) for name, file, line, note in frames if not file.endswith("json/encoder.py")}
        if "burn" not in own:
            continue
        assert own["run"][0] in LINES["run"], frames
        lines.add(own["burn"][0])
        entered += s.count * (own["burn"][0] == ENTRY)
        library = {note for _, file, _, note in frames if file.endswith("json/encoder.py")}
        good += s.count * (own["burn"][1] == own["run"][1] == "[owned==1.5]" and own["main"][1] == "" and
                           library == {f"[standard-library=={version}]"})
    lib.note(f"{comm}: {good} of {n} annotated, lines {sorted(lines)} of burn(), {entered} at its entry")
    assert n > 60 and good > 0.97 * n, [s.frames for s in stacks][:3]
    assert lines - {ENTRY} <= LINES["burn"] and len(lines & LINES["burn"]) > 1 and entered <= 0.01 * n, (lines, entered)


def pprof_lines(path):
    """Lines of burn() in a pprof file, as its own tool reads it, else as we do."""
    if shutil.which("go"):
        r = subprocess.run(["go", "tool", "pprof", "-raw", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return re.findall(r"(\w+\.)*burn \S*/site-(notes[^/]*)/\S*owned\.py:(\d+)", r.stdout)
    r = subprocess.run([lib.GPROFILER, "convert", "--line-numbers", path], stdout=subprocess.PIPE, text=True)
    return re.findall(r"(\w+\.)*burn \([^;()]*/site-(notes[^/]*)/[^;()]*owned\.py:(\d+)", r.stdout)


def test_lines_and_annotations():
    """Exact lines in pprof always, in collapsed stacks with --line-numbers; packages and the standard library are named."""
    lib.need_root()
    comms, processes = {}, []
    for version, path in chosen():
        comm, process = start_annotated(version, path)
        comms[comm] = version
        processes.append(process)
    for process in processes:
        wait_for_burning(process, 0.2)
    with_lines, without = lib.at_once_until(lambda p: all(p.total(p.of(c)) > 200 for c in comms), ("-f", 499, "--line-numbers"),
                                            ("-f", 499, "--format", "collapsed,pprof", "--rotating-output"), seconds=5)
    for comm, version in comms.items():
        check_annotated(with_lines, comm, version)
        first = {int(m[3]) for s in without.of(comm) for m in map(FRAME.match, s.frames) if m and m[1] == "burn"}
        assert first == {ENTRY}, (comm, first)
    found = pprof_lines(glob.glob(os.path.join(without.process.out, "profile_*.pb.gz"))[0])
    for comm in comms:
        lines = {int(n) for _, c, n in found if c == comm}
        assert lines - {ENTRY} <= LINES["burn"] and len(lines & LINES["burn"]) > 1, (comm, lines)


def test_free_threaded_is_refused_politely():
    """A library that says of itself that it is free-threaded: one line, and its native stacks stay."""
    lib.need_root()
    shared = [s for s in shared_pythons() if s[0] in ("3.13", "3.14")]
    if not shared:
        lib.skip("no Python that tells its offsets")
    short, prefix, lib_ = shared[-1]
    path, environ = own_library(lib_)
    with open(path, "r+b") as f:
        data = f.read()
        # Cookie, version and 0: other places have the cookie, too.
        at = re.search(rb"xdebugpy\xf0.[\x0d\x0e]\x03\0{4}\0{8}", data, re.S).start()
        f.seek(at + 16)	# _Py_DebugOffsets.free_threaded
        f.write(b"\1")
    link = os.path.join(lib.env.dir, "py-free")
    os.symlink(os.path.join(prefix, "bin", f"python{short}"), link)
    for _ in range(2):
        process = lib.env.start(link, "-c", LOOP, env=environ)
    wait_for_burning(process)
    if path not in open(f"/proc/{process.pid}/maps").read():
        lib.skip("this Python does not take its library from LD_LIBRARY_PATH")
    for mode in ("auto", "pyspy"):
        p = lib.gprofiler_until(lambda p: p.total(p.of("py-free")) > 50, "-f", 199, "--python-mode", mode, "--min-profiling-duration", 1, seconds=2,
                                out=mode)
        said = [line for line in p.process.stdout_text.splitlines() if "free-threaded" in line]
        assert len(said) == 1 and "INFO" in said[0], said
        stacks = p.of("py-free")
        assert p.total(stacks) > 20 and not any(f.endswith("_[p]") for s in stacks for f in s.frames)
        assert any("EvalFrame" in f for s in stacks for f in s.frames)


def musl_pythons():
    """Interpreters whose program interpreter is musl's."""
    for path in glob.glob("/usr/bin/python3*") + glob.glob("/usr/lib/musl/bin/python3*") + glob.glob("/usr/local/musl/bin/python3*"):
        try:
            if b"/lib/ld-musl-" in open(os.path.realpath(path), "rb").read(4096):
                yield path
        except OSError:
            pass


def test_musl():
    lib.need_root()
    found = sorted(musl_pythons())
    if not found:
        lib.skip("Debian packages musl, but no Python that is built against it")
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", "truth.py")
    process = start_python("py-musl", found[0], program, "deep", 30, 20)
    wait_for_burning(process)
    p = lib.gprofiler("-d", 8, "-f", 199)
    check_running(p, "py-musl", lambda f: begins(f, ["<module>", "main"] + ["descend"] * 21 + ["burn"]))


if __name__ == "__main__":
    lib.main({n: f for n, f in globals().items() if getattr(f, "__module__", None) == __name__})
