# SPDX-License-Identifier: Apache-2.0
"""The Debian package as its user meets it: a Debian of debootstrap, `apt-get install ./gprofiler.deb` with whatever it
depends on, check, profiles, an upgrade, removal and purge. For the release that the package was built on."""
import contextlib
import glob
import gzip
import json
import os
import re
import shutil
import subprocess
import sys

import chroots
import lib

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "packaging"))
from test_packages import own_build, run

MOUNTS = """set -e
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
for d in null zero random urandom tty; do touch "$ROOT/dev/$d"; mount --bind /dev/$d "$ROOT/dev/$d"; done
exec chroot "$ROOT" "$@"
"""
SPIN = "import time\ndef busy_in_the_chroot():\n    end = time.time() + 600\n    while time.time() < end: pass\nbusy_in_the_chroot()\n"


class Debian:
    """A root of its own, copied from a cached chroot; what is mounted in it is seen by what runs in it alone."""

    def __init__(self, suite):
        base = chroots.make(suite)
        self.root = os.path.join(lib.env.dir, "root")
        run("cp", "-a", "--reflink=auto", base, self.root, timeout=600)
        for name in ("resolv.conf", "hosts"):
            with contextlib.suppress(OSError):
                shutil.copy("/etc/" + name, os.path.join(self.root, "etc", name))
        os.makedirs(os.path.join(self.root, "var/cache/apt/archives/partial"), exist_ok=True)
        # The way to the mirror is this machine's.
        ways = [l for l in run("apt-config", "dump", "Acquire").stdout.splitlines() if re.match(r"Acquire::https?::Proxy", l)]
        with open(os.path.join(self.root, "etc/apt/apt.conf.d/90test"), "w", encoding="utf-8") as f:
            f.write("\n".join(ways) + "\n")

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def has(self, name):
        return os.path.lexists(self.path(name))

    def environ(self):
        return {**{k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "GPROFILER_CLOUD_METADATA": "off", "ROOT": self.root,
                "GPROFILER_LOCK_NAME": f"gprofiler-test-deb-{os.getpid()}"}

    def run(self, *argv, check=True, timeout=300):
        return run("unshare", "--mount", "sh", "-c", MOUNTS, "sh", *argv, check=check, timeout=timeout, env=self.environ())

    def start(self, *argv, **kw):
        return lib.env.start("unshare", "--mount", "sh", "-c", MOUNTS, "sh", *argv, env=self.environ(), **kw)

    def apt(self, *argv):
        return self.run("apt-get", "-q", "-y", *argv, timeout=900).stdout

    def status(self, package):
        """dpkg's three words, "" of what it has never heard of."""
        return self.run("dpkg-query", "-W", "-f", "${Status}", package, check=False).stdout


def this_suite():
    text = open("/etc/os-release", encoding="utf-8").read()
    name = re.search(r"^VERSION_CODENAME=(\w+)", text, re.M)
    if not name or name.group(1) not in chroots.SUITES:
        lib.skip("the package is for the Debian that it is built on, and this is none that the matrix knows")
    return name.group(1)


def install(debian):
    deb = run("build-aux/make-deb", own_build(), cwd=chroots.ROOT).stdout.strip()
    shutil.copy(deb, debian.path("/srv/gprofiler.deb"))
    assert debian.status("libbpf1") == "", "what it depends on is there already: nothing would be proven"
    debian.apt("update")
    said = debian.apt("install", "/srv/gprofiler.deb")
    lib.note(next(l for l in said.splitlines() if "newly installed" in l))
    for package in ("gprofiler", "libbpf1", "libcurl4", "libmicrohttpd12"):
        assert debian.status(package) == "install ok installed", (package, debian.status(package))
    assert debian.run("dpkg", "--verify", "gprofiler").stdout == ""
    assert debian.run("dpkg", "--audit").stdout == ""


def check_files(debian):
    missing = [l for l in debian.run("ldd", "/usr/bin/gprofiler").stdout.splitlines() if "not found" in l]
    assert not missing, missing
    listed = debian.run("dpkg", "-L", "gprofiler").stdout.splitlines()
    unit = "/lib/systemd/system/gprofiler.service"
    for path in ("/usr/bin/gprofiler", unit, "/etc/default/gprofiler", "/usr/share/man/man1/gprofiler.1.gz",
                 "/usr/share/gprofiler/gprofiler-agent.rules.yml", "/usr/share/doc/gprofiler/copyright"):
        assert path in listed and debian.has(path), path
    text = open(debian.path(unit), encoding="utf-8").read()
    assert "ExecStart=/usr/bin/gprofiler --continuous" in text and "EnvironmentFile=-/etc/default/gprofiler" in text and "@" not in text
    conf = os.stat(debian.path("/etc/default/gprofiler"))
    assert (conf.st_mode & 0o777, conf.st_uid) == (0o640, 0)
    assert "/etc/default/gprofiler" in debian.run("dpkg-query", "-W", "-f", "${Conffiles}", "gprofiler").stdout
    assert b".TH" in gzip.open(debian.path("/usr/share/man/man1/gprofiler.1.gz")).read()
    # Installed is not started: nothing was written, and no service was made to begin at the next boot.
    assert not debian.has("/var/lib/gprofiler") and not glob.glob(debian.path("/etc/systemd/system/*/gprofiler.service"))


def check_program(debian):
    version = debian.run("/usr/bin/gprofiler", "--version").stdout.strip()
    assert version == debian.run("dpkg-query", "-W", "-f", "${Version}", "gprofiler").stdout, version
    inside = debian.run("/usr/bin/gprofiler", "check", "--json", check=False)
    outside = run(lib.GPROFILER, "check", "--json", check=False)
    a, b = json.loads(inside.stdout), json.loads(outside.stdout)
    assert (inside.returncode, a["rung"]) == (outside.returncode, b["rung"]) and a["status"] == inside.returncode, (a["rung"], b["rung"])
    table = debian.run("/usr/bin/gprofiler", "check", check=False).stdout
    assert f"Rung: {a['rung']}" in table, table
    assert debian.run("/usr/bin/gprofiler", "status", check=False).returncode == 3


def check_profile(debian):
    """What runs inside and outside is seen from inside, and a page is drawn; what is loaded by name is found."""
    with open(debian.path("/srv/busy.py"), "w", encoding="utf-8") as f:
        f.write(SPIN)
    lib.start("split", 600)
    debian.start("/usr/bin/python3", "/srv/busy.py")
    out = "/var/lib/gprofiler/profiles"
    r = debian.run("/usr/bin/gprofiler", "-o", out, "-d", "4", "-f", "199", "--metrics-listen", "127.0.0.1:0")
    assert "Metrics about this agent at http://127.0.0.1:" in r.stdout and "] ERROR: " not in r.stdout, r.stdout[-3000:]
    prof = lib.Profile(debian.path(out + "/last_profile.col"))
    split, python = prof.of("workload_split"), prof.of("python3")
    lib.note(f"{prof.total(split)} samples of the program outside, {prof.total(python)} of Python inside")
    assert prof.total([s for s in split if "main" in s.frames]) > 0.9 * prof.total(split) > 20, split[:3]
    assert any("busy_in_the_chroot" in frame for s in python for frame in s.frames), python[:3]
    assert os.path.getsize(debian.path(out + "/last_flamegraph.html")) > 50000


def test_install_use_remove():
    lib.need_root()
    for tool in ("apt-config", "dpkg-deb", "dpkg-shlibdeps"):
        if not shutil.which(tool):
            lib.skip(f"{tool} is not installed")
    debian = Debian(this_suite())
    install(debian)
    check_files(debian)
    check_program(debian)
    check_profile(debian)
    with open(debian.path("/etc/default/gprofiler"), "a", encoding="utf-8") as f:
        f.write("# mine\n")
    debian.apt("install", "--reinstall", "/srv/gprofiler.deb")
    assert "# mine" in open(debian.path("/etc/default/gprofiler"), encoding="utf-8").read()
    debian.apt("remove", "gprofiler")
    assert debian.status("gprofiler") == "deinstall ok config-files"
    assert not debian.has("/usr/bin/gprofiler") and not debian.has("/lib/systemd/system/gprofiler.service")
    assert debian.has("/etc/default/gprofiler") and debian.has("/var/lib/gprofiler/profiles/last_profile.col"), "profiles stay until purge"
    debian.apt("purge", "gprofiler")
    assert debian.status("gprofiler") in ("", "unknown ok not-installed")
    left = [p for p in ("/etc/default/gprofiler", "/var/lib/gprofiler", "/var/log/gprofiler") if debian.has(p)]
    assert not left, left
    debian.apt("autoremove")
    assert debian.status("libbpf1") in ("", "unknown ok not-installed", "deinstall ok config-files"), "a dependency was left behind"


if __name__ == "__main__":
    lib.main(globals())
