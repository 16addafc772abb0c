# SPDX-License-Identifier: Apache-2.0
"""Targets that are hard to name: JIT code that leaves with its /tmp, memfds, replaced files, other libcs, 32 bits."""
import errno
import os
import re
import shutil
import subprocess

import lib

PATHS = {"path_seventy", "path_twenty", "path_ten"}


def show(stacks, n=8):
    return "\n".join(f"{s.count} {';'.join(s.frames)}" for s in sorted(stacks, key=lambda s: -s.count)[:n])


def check_named(prof, stacks, names=PATHS, samples=100, least=0.97):
    total = prof.total(stacks)
    assert total >= samples, f"{total} samples"
    named = prof.total([s for s in stacks if names & set(s.frames)])
    lib.note(f"{total} samples, {100 * named / total:.1f} % named")
    assert named >= least * total, show(stacks)


def check_whole(prof, stacks, least=0.98, roots=("_start",)):
    whole = prof.total([s for s in stacks if s.frames[0] in roots])
    assert whole >= least * prof.total(stacks), show([s for s in stacks if s.frames[0] not in roots])


def node():
    exe = shutil.which("node")
    if not exe:
        lib.skip("node is absent")
    return exe, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "workloads", "fib.js")


def test_perf_map_in_a_tmp_that_is_gone():
    """Node in a mount and pid namespace with its own /tmp ends before the profile does."""
    lib.need_root()
    exe, script = node()
    p = lib.start_gprofiler("-d", 300, "-f", 399)
    lib.started(p)
    # The tree itself may lie in /tmp: the program comes along into the new one.
    text = open(script, encoding="utf-8").read()
    inner = ("mount -t tmpfs tmpfs /tmp && cat >/tmp/fib.js <<'END'\n" + text + "\nEND\n"
             f"exec {exe} --perf-basic-prof --no-turbo-inlining /tmp/fib.js 3")
    child = lib.env.start("unshare", "-m", "-p", "-f", "sh", "-c", inner, cwd="/", env=lib.BY_CPU)
    assert child.wait(200) == 0
    prof = lib.finish(p)
    stacks = [s for s in prof.stacks if any("jsLeaf" in f for f in s.frames)]
    total = prof.total([s for s in prof.of("node") if not s.frames[-1].endswith("_[k]")])
    assert total > 300, total
    lib.note(f"{prof.total(stacks)} of {total} user samples of node are in jsLeaf")
    assert prof.total(stacks) > 0.6 * total, show(prof.of("node"))
    for name in ("jsMiddle", "jsOuter"):
        assert any(name in f for s in stacks for f in s.frames), show(stacks)


def test_perf_map_of_a_living_node():
    exe, script = node()
    child = lib.env.start(exe, "--perf-basic-prof", "--no-turbo-inlining", script, 200, cwd=lib.env.dir)
    lib.wait_for_cpu(child, 1)
    prof = lib.gprofiler_until(lambda prof: prof.total() > 400, "-f", 399, "-p", child.pid, seconds=3)
    os.path.exists(f"/tmp/perf-{child.pid}.map") and os.unlink(f"/tmp/perf-{child.pid}.map")
    stacks = [s for s in prof.stacks if any("jsLeaf" in f for f in s.frames)]
    assert prof.total(stacks) > 0.7 * prof.total(), show(prof.stacks)
    whole = [s for s in stacks if s.frames[0] == "_start" and any("jsOuter" in f for f in s.frames)]
    assert prof.total(whole) > 0.9 * prof.total(stacks), show([s for s in stacks if s not in whole])


def memfd_of(path, cloexec):
    fd = os.memfd_create("hidden", os.MFD_CLOEXEC if cloexec else 0)
    with open(path, "rb") as f:
        os.write(fd, f.read())
    return fd


def opened_by_agent(log, pattern):
    return [l for l in open(log) if re.search(pattern, l) and "ENOENT" not in l]


def profile_traced(pid):
    strace = shutil.which("strace")
    if not strace:
        lib.skip("strace is absent")
    log = os.path.join(lib.env.dir, "strace")
    prof = lib.gprofiler_until(lambda prof: prof.total() > 150, "-f", 399, "-p", pid, seconds=2, prefix=(strace, "-f", "-o", log, "-e", "trace=open,openat,openat2"))
    assert [l for l in open(log) if "libc.so.6" in l or "map_files" in l], "the trace saw nothing"
    return prof, log


def test_library_in_a_memfd():
    """The descriptor stays open in the target: nobody else opens it, and the stack goes through it."""
    lib.need_root()
    fd = memfd_of(os.path.join(lib.WORKLOADS, "libworkload_plugin.so"), False)
    child = lib.start("dlopener", 200, f"/proc/self/fd/{fd}", 0, pass_fds=(fd,))
    os.close(fd)
    lib.wait_for("the mapping", lambda: "memfd:hidden" in open(f"/proc/{child.pid}/maps").read(), 60)
    lib.wait_for_cpu(child, 0.2)
    ranges = [l.split()[0].lstrip("0") for l in open(f"/proc/{child.pid}/maps") if "memfd:hidden" in l]
    prof, log = profile_traced(child.pid)
    stacks = [s for s in prof.stacks if any("memfd:hidden" in f for f in s.frames)]
    assert prof.total(stacks) > 100, show(prof.stacks)
    assert not opened_by_agent(log, "memfd|" + "|".join(re.escape(r) for r in ranges))
    lib.note(show(stacks, 3))
    assert not [f for s in prof.stacks for f in s.frames if f.startswith("0x")], "a bare address"


def test_program_in_a_deleted_memfd():
    """fexecve of a memfd that is closed by it: only the mapping is left of the file."""
    lib.need_root()
    fd = memfd_of(lib.workload("split"), True)
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(fd, ["hidden", "200"], {})
        finally:
            os._exit(127)
    os.close(fd)
    try:
        lib.wait_for("the program", lambda: "memfd:hidden" in open(f"/proc/{pid}/maps").read(), 60)
        ranges = [l.split()[0].lstrip("0") for l in open(f"/proc/{pid}/maps") if "memfd:hidden" in l]
        assert ranges
        prof, log = profile_traced(pid)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert prof.total() > 100
    stacks = [s for s in prof.stacks if any("memfd:hidden" in f for f in s.frames)]
    assert prof.total(stacks) > 0.9 * prof.total(), show(prof.stacks)
    assert not opened_by_agent(log, "memfd|/exe\"|" + "|".join(re.escape(r) for r in ranges))
    lib.note(show(stacks, 3))


def test_32_bit_program_is_counted_and_named_as_such():
    try:
        child = lib.start("split_m32", 200)
    except OSError as e:
        if e.errno != errno.ENOEXEC:
            raise
        lib.skip("this kernel runs no 32-bit programs")
    prof = lib.gprofiler_until(lambda prof: prof.total() > 100, "-f", 399, "-p", child.pid, seconds=2)
    assert prof.total() > 100
    user = [s for s in prof.stacks if s.frames]
    marked = [s for s in user if "32" in s.frames[0]]
    assert prof.total(marked) > 0.95 * prof.total(), show(prof.stacks)
    assert prof.ledger["bits32"] >= prof.total(marked), prof.ledger
    lib.note(show(marked, 2))


def test_vfork_child():
    lib.start("vforker", 200)
    prof = lib.gprofiler_until(lambda prof: prof.total(prof.of(lib.comm("vforker"))) > 600, "-f", 399, seconds=3)
    stacks = prof.of(lib.comm("vforker"))
    for name in ("vfork_child_work", "vfork_parent_work"):
        mine = prof.with_frame(name, stacks)
        assert prof.total(mine) > 150, (name, show(stacks))
        whole = [s for s in mine if s.frames[0] == "_start" and "main" in s.frames]
        assert prof.total(whole) >= 0.98 * prof.total(mine), show(mine)
    lib.check_near("child's share", lib.share(prof.total(prof.with_frame("vfork_child_work", stacks)), prof.total(stacks)), 0.5, 0.1)


def copy_with_libraries(program, root):
    """The program and what it is linked with, at the same places below root."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    for path in re.findall(r"(/\S+) \(0x", text):
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    os.makedirs(root + "/app")
    shutil.copy(program, root + "/app/inside")


def change_build_id(path):
    text = subprocess.run(["readelf", "-n", path], capture_output=True, text=True).stdout
    old = bytes.fromhex(re.search(r"Build ID: ([0-9a-f]+)", text).group(1))
    with open(path, "rb") as f:
        data = f.read()
    assert data.count(old) == 1
    with open(path, "wb") as f:
        f.write(data.replace(old, bytes(255 - b for b in old)))


def in_chroot(root):
    child = lib.env.start("unshare", "-m", "-p", "-f", "chroot", root, "/app/inside", "200")
    lib.wait_for_comm(child, "inside")
    prof = lib.gprofiler_until(lambda prof: prof.total(prof.of("inside")) > 100, "-f", 599, seconds=2)
    return prof, prof.of("inside")


def test_chroot_with_a_libc_of_its_own():
    """Its libc lies at the path of ours but is another file: ours must not be taken for it."""
    lib.need_root()
    root = os.path.join(lib.env.dir, "root")
    copy_with_libraries(lib.workload("split"), root)
    libc = root + "/lib/x86_64-linux-gnu/libc.so.6"
    subprocess.run(["objcopy", "--strip-all", "--remove-section=.gnu_debuglink", "--remove-section=.gnu_debugdata", libc, libc], check=True)
    change_build_id(libc)
    prof, stacks = in_chroot(root)
    check_named(prof, stacks)
    check_whole(prof, stacks)
    assert prof.total(prof.with_frame("main", stacks)) >= 0.97 * prof.total(stacks)
    assert prof.total([s for s in stacks if any(f.startswith("__libc_start_main") for f in s.frames)]) > 0.97 * prof.total(stacks), show(stacks)


def test_chroot_with_dynamic_musl():
    lib.need_root()
    root = os.path.join(lib.env.dir, "root")
    program = lib.workload("split_musl_dynamic")
    os.makedirs(root + "/app")
    os.makedirs(root + "/lib")
    shutil.copy("/lib/ld-musl-x86_64.so.1", root + "/lib/")
    shutil.copy(program, root + "/app/inside")
    prof, stacks = in_chroot(root)
    check_named(prof, stacks)
    # Debian's musl is stripped: its first frame has no name but the file's.
    check_whole(prof, stacks, roots=("_start", "_start_c", "_dlstart", *(f"({d}/lib/ld-musl-x86_64.so.1)" for d in ("", root))))


def test_binary_replaced_by_rename_in_mid_run():
    """An upgrade under a running program: the old one keeps its names, the new one has its own."""
    path, fresh = os.path.join(lib.env.dir, "upgraded"), os.path.join(lib.env.dir, "fresh")
    shutil.copy(lib.workload("split"), path)
    shutil.copy(lib.workload("deep"), fresh)
    p = lib.start_gprofiler("-d", 300, "-f", 399)
    lib.started(p)
    old = lib.env.start(path, 300)
    lib.wait_for_cpu(old, 1)
    os.rename(fresh, path)
    new = lib.env.start(path, 300, 20)
    lib.wait_for_cpu(new, 1)
    prof = lib.finish(p)
    assert old.poll() is None and new.poll() is None
    stacks = prof.of("upgraded")
    of_old = [s for s in stacks if PATHS & set(s.frames)]
    of_new = [s for s in stacks if "descend" in s.frames]
    assert prof.total(of_old) > 200 and prof.total(of_new) > 200, show(stacks)
    assert prof.total(of_old) + prof.total(of_new) > 0.97 * prof.total(stacks), show([s for s in stacks if s not in of_old + of_new])
    check_whole(prof, of_old + of_new)
    assert not [s for s in of_old if "descend" in s.frames]


def test_binary_replaced_by_rename_before_it_is_sampled():
    """The first sample comes when the path already leads to another program."""
    path, fresh = os.path.join(lib.env.dir, "upgraded"), os.path.join(lib.env.dir, "fresh")
    shutil.copy(lib.workload("split"), path)
    shutil.copy(lib.workload("deep"), fresh)
    lib.env.start(path, 200)
    os.rename(fresh, path)
    prof = lib.gprofiler_until(lambda prof: prof.total(prof.of("upgraded")) > 100, "-f", 599, seconds=2)
    stacks = prof.of("upgraded")
    check_named(prof, stacks)
    check_whole(prof, stacks)


if __name__ == "__main__":
    lib.main(globals())
