# SPDX-License-Identifier: Apache-2.0
"""Podman itself: our image loaded and run by it as its user would, and containers by the names that it leaves on disk,
chosen by the groups that it makes. Alone on the machine: it has one store of images and containers."""
import contextlib
import os
import re
import shutil

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


def check_busy(prof, name):
    busy = [s for s in prof.of("workload_split") if s.container == name]
    assert prof.total([s for s in busy if "main" in s.frames]) > 0.9 * prof.total(busy) > 20, busy[:3]
    return prof.total(busy)


def test_names_of_containers():
    """Its group is one of containers', and the only one that is wanted."""
    name = f"gprofiler-test-web-{os.getpid()}"
    with images():
        how = runtime()
        lib.start("threads", 600)
        with container(how, name):
            prof = lib.gprofiler("-d", 2, "-f", 199, "--no-flamegraph", "--no-python", "--perf-use-cgroups", "--perf-max-docker-containers", 1,
                                 "--perf-max-cgroups", 0)
            lib.note(f"{podman('--version').stdout.strip()} with {how[1]}: {check_busy(prof, name)} samples of {name}")
            assert {s.container for s in prof.stacks} == {name} and prof.header["containers"] == [name], prof.stacks[:3]
            assert name in podman("ps", "--format", "{{.Names}}").stdout.split(), "the container has ended"


def test_our_image_profiles_the_host():
    """make image, podman load, podman run --privileged --pid=host."""
    name = f"gprofiler-test-db-{os.getpid()}"
    with images() as loaded:
        how = runtime()
        archive = run("build-aux/make-image", own_build(), cwd=ROOT, timeout=300).stdout.strip()
        loaded.append(re.search(r"localhost/gprofiler:\S+", podman("load", "-q", "-i", archive).stdout).group(0))
        out = os.path.join(lib.env.dir, "out")
        os.mkdir(out)
        lib.start("threads", 600)
        with container(how, name):
            r = podman(*how, "run", "--rm", "--privileged", "--pid=host", *LIMITS, "-v", out + ":/out", "-e",
                       f"GPROFILER_LOCK_NAME=gprofiler-test-podman-{os.getpid()}", "-e", "GPROFILER_CLOUD_METADATA=off", loaded[-1],
                       "-o", "/out", "-d", "3", "-f", "199")
        assert "] ERROR: " not in r.stdout and "Saved flamegraph to /out/" in r.stdout, (r.stdout, r.stderr)
        prof = lib.Profile(os.path.join(out, "last_profile.col"))
        host = [s for s in prof.of("workload_threads") if not s.container]
        lib.note(f"{loaded[-1]}, from inside: {check_busy(prof, name)} samples of {name}, {prof.total(host)} of the host's")
        assert prof.total(host) > 20 and name in prof.header["containers"]
        assert prof.header["metadata"]["run_mode"] == "container"


if __name__ == "__main__":
    lib.main(globals())
