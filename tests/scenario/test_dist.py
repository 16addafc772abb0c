# SPDX-License-Identifier: Apache-2.0
"""The tarball runs where there is nothing: an empty folder as root, with /proc and /sys."""
import os
import shutil
import subprocess

import lib

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def unpack():
    lib.need_root()
    build = os.path.join(lib.env.dir, "build")
    os.mkdir(build)
    for name in ("gprofiler", "gprofiler.1"):
        shutil.copy(os.path.join(os.path.dirname(lib.GPROFILER), name), build)
    path = subprocess.run(["build-aux/make-dist", build], cwd=SOURCE, capture_output=True, text=True, check=True).stdout.strip()
    root = os.path.join(lib.env.dir, "root")
    for d in ("proc", "sys"):
        os.makedirs(os.path.join(root, d))
    subprocess.run(["tar", "-C", root, "-xzf", path], check=True)
    lib.note(f"{os.path.basename(path)}: {os.path.getsize(path) / 1e6:.1f} MB")
    return root, "/" + os.path.basename(path)[:-len(".tar.gz")] + "/gprofiler"


def run(root, exe, *args):
    """A mount namespace of its own: nothing is left mounted."""
    script = f'mount --rbind /proc {root}/proc && mount --rbind /sys {root}/sys && exec chroot {root} {exe} "$@"'
    return subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *map(str, args)], capture_output=True, text=True, timeout=60,
                          env={"GPROFILER_LOCK_NAME": f"gprofiler-test-dist-{os.getpid()}", "PATH": os.environ["PATH"]})


def test_tarball_in_an_empty_chroot():
    root, exe = unpack()
    version = run(root, exe, "--version")
    assert version.returncode == 0 and version.stdout.startswith("2."), version
    check = run(root, exe, "check")
    assert check.returncode in (0, 10, 11, 12), check.stdout + check.stderr
    assert "perf events" in check.stdout
    lib.start("split", 300)

    def profile(seconds):
        r = run(root, exe, "-o", "/out", "-d", seconds, "-f", 399, "--log-file", "/out/log", "--pid-file", "/out/pid")
        assert r.returncode == 0, r.stdout + r.stderr
        return lib.Profile(os.path.join(root, "out", "last_profile.col"))
    prof = lib.until(lambda prof: prof.total(prof.of(lib.comm("split"))) > 100, profile, 2)
    stacks = prof.of(lib.comm("split"))
    named = prof.total([s for s in stacks if s.frames[0] == "_start" and "main" in s.frames])
    assert named > 0.97 * prof.total(stacks) > 50, stacks[:4]
    assert os.path.exists(os.path.join(root, "out", "last_flamegraph.html"))


def test_install_into_a_directory():
    build = os.path.dirname(lib.GPROFILER)
    dest = os.path.join(lib.env.dir, "dest")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", dest], check=True, capture_output=True)
    files = {os.path.relpath(os.path.join(d, f), dest) for d, _, names in os.walk(dest) for f in names}
    assert any(f.endswith("bin/gprofiler") for f in files), files
    assert any(f.endswith("man/man1/gprofiler.1") for f in files), files
    unit = [f for f in files if f.endswith("systemd/system/gprofiler.service")]
    assert unit, files
    text = open(os.path.join(dest, unit[0])).read()
    exe = text.split("ExecStart=", 1)[1].split()[0]
    assert os.path.exists(dest + exe), exe


if __name__ == "__main__":
    lib.main(globals())
