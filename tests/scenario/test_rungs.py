# SPDX-License-Identifier: Apache-2.0
"""The ladder: what is sampled with fewer privileges, and what is said about it."""
import os
import shutil
import subprocess
import sys
import time

import lib

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def open_dir():
    """A directory and a program copy that uid nobody can use, wherever the build tree lies."""
    os.chmod(lib.env.dir, 0o777)
    exe = os.path.join(lib.env.dir, "gprofiler")
    shutil.copy(lib.GPROFILER, exe)
    return exe


def run_until(exe, prefix, comm, *args):
    """Three seconds, and where other programs keep the CPUs busy more, until there are samples of the program."""
    for seconds in (3, 9, 27):
        r, prof = run(exe, prefix, "-d", seconds, *args)
        if prof is None or prof.total(prof.of(comm)) > 150:
            break
    return r, prof


def run(exe, prefix, *args, timeout=90):
    out = os.path.join(lib.env.dir, "o")
    argv = [*prefix, exe, "-o", out, "--log-file", out + "/log", "--pid-file", out + "/pid", *map(str, args)]
    r = subprocess.run(argv, capture_output=True, text=True, timeout=timeout,
                       env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-rungs-{time.monotonic_ns()}",
                                GPROFILER_SYSTEM_CONFIG=""))
    path = os.path.join(out, "last_profile.col")
    return r, lib.Profile(path) if os.path.exists(path) else None


def whole(prof, comm, samples=100, least=0.98):
    stacks = prof.of(comm)
    total = prof.total(stacks)
    assert total >= samples, f"{comm}: {total} samples"
    good = prof.total([s for s in stacks if s.frames[0] == "_start"])
    lib.note(f"{comm}: {total} samples, {100 * good / total:.1f} % whole")
    assert good >= least * total, "\n".join(f"{s.count} {';'.join(s.frames)}" for s in stacks[:8])


def test_ordinary_user_own_process():
    lib.need_root()
    exe = open_dir()
    w = os.path.join(lib.env.dir, "workload_split")
    shutil.copy(lib.workload("split"), w)
    child = lib.env.start(*NOBODY, w, 200)
    lib.wait_for_comm(child, "workload_split"[:15])
    r, prof = run_until(exe, NOBODY, "workload_split", "--rootless", "-f", 399, "-p", child.pid)
    assert r.returncode == 0, r.stdout + r.stderr
    whole(prof, "workload_split")
    assert "BPF" in r.stdout


def test_ordinary_user_without_rootless_is_told():
    lib.need_root()
    r, _ = run(open_dir(), NOBODY, "-d", 1)
    assert r.returncode == 1
    assert "Not running as root, rerun with --rootless or as root." in r.stderr


def test_root_with_rootless_is_told():
    lib.need_root()
    r, _ = run(open_dir(), [], "--rootless", "-d", 1)
    assert r.returncode == 1
    assert "Conflict, running with --rootless and as root" in r.stderr


def test_nobody_with_just_the_capabilities():
    """uid nobody with BPF, PERFMON and what reading other processes takes: the whole machine."""
    lib.need_root()
    exe = open_dir()
    lib.start("split", 200)
    caps = "+bpf,+perfmon,+sys_ptrace,+dac_read_search,+syslog,+checkpoint_restore"
    r, prof = run_until(exe, [*NOBODY, f"--inh-caps={caps}", f"--ambient-caps={caps}"], "workload_split", "--rootless", "-f", 399)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "bpf" in r.stdout
    whole(prof, "workload_split")


def test_bpf_denied_falls_to_ring():
    """Root without CAP_BPF and CAP_SYS_ADMIN, but with PERFMON."""
    lib.need_root()
    exe = open_dir()
    lib.start("split", 200)
    drop = "-bpf,-sys_admin"
    r, prof = run_until(exe, ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"], "workload_split", "-f", 399)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "Sampling without BPF" in r.stdout, r.stdout
    whole(prof, "workload_split")


def test_ring_rung_by_request():
    lib.need_root()
    lib.start("split", 200)
    lib.start("signals", 200)
    prof = lib.gprofiler_until(lambda prof: all(prof.total(prof.of(lib.comm(w))) > 200 for w in ("split", "signals")), "-f", 499, "--source", "ring",
                               seconds=3)
    whole(prof, "workload_split")
    whole(prof, "workload_signals")
    assert any(f.endswith("_[k]") for s in prof.stacks for f in s.frames), "no kernel frames"


def test_container_by_hand():
    """A chroot with mount and pid namespaces of its own: named through the target's namespace."""
    lib.need_root()
    root = os.path.join(lib.env.dir, "root")
    os.makedirs(root + "/app")
    shutil.copy(lib.workload("split_musl"), root + "/app/inside")
    child = lib.env.start("unshare", "-m", "-p", "-f", "chroot", root, "/app/inside", "200")
    lib.wait_for_comm(child, "inside")
    prof = lib.gprofiler_until(lambda prof: prof.total(prof.of("inside")) > 100, "-f", 599, seconds=2)
    stacks = prof.of("inside")
    assert prof.total(stacks) > 100
    named = [s for s in stacks if {"path_seventy", "path_twenty", "path_ten"} & set(s.frames)]
    lib.check_near("named", lib.share(prof.total(named), prof.total(stacks)), 1.0, 0.03)
    assert child.poll() is None


def test_device_mapping_is_never_opened():
    """A process that maps a device executable: sampled, never opened by us."""
    lib.need_root()
    script = """
import ctypes, mmap, os, sys, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
fd = os.open('/dev/zero', os.O_RDWR)
libc.mmap(None, ctypes.c_size_t(4096), 5, 2, fd, ctypes.c_long(0))
end = time.time() + 200
while time.time() < end: sum(range(10000))
"""
    child = lib.env.start(sys.executable, "-c", script)
    lib.wait_for("the mapping", lambda: "/dev/zero" in open(f"/proc/{child.pid}/maps").read())
    strace = shutil.which("strace")
    if not strace:
        lib.skip("strace is absent")
    log = os.path.join(lib.env.dir, "strace")
    prof = lib.gprofiler_until(lambda prof: prof.total() > 20, "-f", 199, "-p", child.pid, seconds=2,
                               prefix=(strace, "-f", "-o", log, "-e", "trace=open,openat,openat2"))
    assert prof.total() > 20
    opened = [l for l in open(log) if "/dev/zero" in l]
    assert not opened, opened[:5]
    maps = [l for l in open(log) if "map_files" in l]
    assert maps, "the trace saw nothing"


if __name__ == "__main__":
    lib.main(globals())
