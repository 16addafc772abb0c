# SPDX-License-Identifier: Apache-2.0
"""Podman itself: our image loaded and run by it as its user would, and containers by the names that it leaves on disk,
chosen by the groups that it makes. Alone on the machine: it has one store of images and containers."""
import contextlib
import os
import re
import shutil
import subprocess

import lib
from test_packages import ROOT, copy_with_libraries, own_build, run

# No daemon, no network, no overlay: what works in a container, too.
PODMAN = ["podman", "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]
# Without CAP_SYS_RESOURCE nobody can have what podman gives by default.
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--network=none"]


def podman(*argv, check=True):
    return run(*PODMAN, *argv, check=check, timeout=300)


def runtime():
    """One that starts a container here: crun refuses machines with both versions of cgroups."""
    said = []
    for name in ("runc", "crun"):
        if shutil.which(name):
            r = podman("--runtime", name, "run", "--rm", *LIMITS, busy_image(), "/true", check=False)
            if r.returncode == 0:
                return ["--runtime", name]
            said.append(f"{name}: {r.stderr.strip().splitlines()[-1] if r.stderr.strip() else r.returncode}")
    lib.skip("podman starts no container here: " + "; ".join(said))


def busy_image():
    return f"localhost/gprofiler-test-busy:{os.getpid()}"


def make_busy_image():
    root = os.path.join(lib.env.dir, "busy")
    copy_with_libraries(root, lib.workload("split"), "/bin/true")
    os.symlink(lib.workload("split"), os.path.join(root, lib.comm("split")))
    shutil.copy("/bin/true", os.path.join(root, "true"))
    run("tar", "-C", root, "-cf", root + ".tar", ".")
    podman("import", root + ".tar", busy_image())


@contextlib.contextmanager
def images():
    """The store without what this test puts there, whatever happens."""
    lib.need_root()
    if not shutil.which("podman"):
        lib.skip("podman is not installed")
    loaded = [busy_image()]
    try:
        make_busy_image()
        yield loaded
    finally:
        for image in loaded:
            podman("rmi", "-f", image, check=False)


@contextlib.contextmanager
def container(how, name):
    """A busy one."""
    podman(*how, "run", "-d", "--name", name, *LIMITS, busy_image(), "/" + lib.comm("split"), "600")
    try:
        yield
    finally:
        podman("rm", "-f", "-t", "0", name, check=False)


def test_our_image_and_names_of_containers():
    name = f"gprofiler-test-web-{os.getpid()}"
    with images() as loaded:
        how = runtime()
        loaded.append(re.search(r"localhost/gprofiler:\S+", podman("load", "-q", "-i", run(
            "build-aux/make-image", own_build(), cwd=ROOT, timeout=300).stdout.strip()).stdout).group(0))
        lib.note(f"{podman('--version').stdout.strip()} with {how[1]}: {loaded[-1]}")
        out = os.path.join(lib.env.dir, "out")
        os.mkdir(out)
        lib.start("threads", 600)
        with container(how, name):
            r = podman(*how, "run", "--rm", "--privileged", "--pid=host", *LIMITS, "-v", out + ":/out", "-e",
                       f"GPROFILER_LOCK_NAME=gprofiler-test-podman-{os.getpid()}", "-e", "GPROFILER_CLOUD_METADATA=off", loaded[-1],
                       "-o", "/out", "-d", "3", "-f", "199")
            assert "] ERROR: " not in r.stdout and "Saved flamegraph to /out/" in r.stdout, (r.stdout, r.stderr)
            prof = lib.Profile(os.path.join(out, "last_profile.col"))
            busy, host = prof.of("workload_split"), prof.of("workload_threads")
            lib.note(f"from inside: {prof.total(busy)} samples of {name}, {prof.total(host)} of the host's")
            assert {s.container for s in busy} == {name} and {s.container for s in host} == {""}
            assert prof.total([s for s in busy if "main" in s.frames]) > 0.9 * prof.total(busy) > 20, busy[:3]
            assert prof.total(host) > 20 and name in prof.header["containers"]
            assert prof.header["metadata"]["run_mode"] == "container"
            # From the host: its group is one of containers', and the only one that is wanted.
            prof = lib.gprofiler("-d", 2, "-f", 199, "--no-flamegraph", "--no-python", "--perf-use-cgroups", "--perf-max-docker-containers", 1,
                                 "--perf-max-cgroups", 0, out="chosen")
            assert {s.container for s in prof.stacks} == {name} and prof.total() > 20, {(s.container, s.comm) for s in prof.stacks}
            left = subprocess.run([*PODMAN, "ps", "--format", "{{.Names}}"], capture_output=True, text=True).stdout.split()
            assert name in left, left


if __name__ == "__main__":
    lib.main(globals())
