# SPDX-License-Identifier: Apache-2.0
"""Debian's suites as folders with a Python in them, made by debootstrap from where apt of this machine gets its packages.

A suite that is made once stays in .cache/matrix/SUITE (ignored by git). Programs run in it by a shell in its
own mount and pid namespaces, as an ordinary user."""
import glob
import os
import re
import shutil
import subprocess

import lib

SUITES = {"bullseye": (3, 9), "bookworm": (3, 11), "trixie": (3, 13), "forky": (3, 14)}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("GPROFILER_MATRIX_CACHE") or os.path.join(ROOT, ".cache", "matrix")
USER = 65534  # nobody, in every Debian
HOME = "/tmp"


def mirror():
    """Where the machine's main Debian packages come from."""
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        try:
            text = open(path, encoding="utf-8", errors="replace").read()
        except OSError:
            continue
        found = re.findall(r"^URIs:\s*(\S+)", text, re.M) + re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)", text, re.M)
        for uri in found:
            if uri.rstrip("/").endswith("/debian"):
                return uri
    return None


def cached(suite):
    """The folder of a suite, None if it was not made."""
    path = os.path.join(CACHE, suite)
    return path if os.path.exists(os.path.join(path, "usr/bin/python3")) else None


def make(suite):
    """Its folder; skips the test if it cannot be made."""
    if cached(suite):
        return cached(suite)
    lib.need_root()
    if not shutil.which("debootstrap"):
        lib.skip("debootstrap is not installed")
    uri = mirror()
    if not uri:
        lib.skip("apt of this machine has no Debian mirror")
    os.makedirs(CACHE, exist_ok=True)
    part = os.path.join(CACHE, suite + ".part")
    shutil.rmtree(part, ignore_errors=True)
    scripts = "/usr/share/debootstrap/scripts"
    # A suite that is younger than this debootstrap is made as the newest it knows.
    script = [s for s in (suite, "sid") if os.path.exists(os.path.join(scripts, s))]
    r = subprocess.run(["debootstrap", "--variant=minbase", "--include=python3", suite, part, uri,
                        os.path.join(scripts, script[0])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        lib.skip(f"debootstrap {suite}: {r.stdout.strip().splitlines()[-1] if r.stdout.strip() else r.returncode}")
    shutil.rmtree(os.path.join(part, "var/cache/apt"), ignore_errors=True)
    os.rename(part, os.path.join(CACHE, suite))
    return cached(suite)


def version(path):
    r = subprocess.run(["chroot", path, "/usr/bin/python3", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
                       stdout=subprocess.PIPE, text=True, check=True)
    return r.stdout.strip()


def install(path, program):
    """A file of the tree where the chroot's user can read it. Return its name inside."""
    inside = "/opt/" + os.path.basename(program)
    shutil.copy(program, path + inside)
    os.chmod(path + inside, 0o644)
    return inside


def start(path, comm, *args):
    """python3 ARGS inside, as user nobody in mount and pid namespaces of its own, under this comm. Return the Popen of
    the unshare outside."""
    link = f"/opt/{comm}"
    if not os.path.lexists(path + link):
        os.symlink("/usr/bin/python3", path + link)
    return lib.env.start("unshare", "--mount", "--pid", "--fork", "--kill-child", "--root", path, "--wd", HOME,
                         "--mount-proc", "--setgid", str(USER), "--setuid", str(USER),
                         link, *args, cwd="/")
