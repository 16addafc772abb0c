# SPDX-License-Identifier: Apache-2.0
"""What is shipped runs where it is meant to: the systemd unit, the Debian package in a root of its own, the container
image with the DaemonSet's privileges, and the Helm chart says what the DaemonSet says."""
import copy
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile

import lib
import yaml_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHART = os.path.join(ROOT, "packaging", "helm", "gprofiler")
BUILD = os.path.dirname(lib.GPROFILER)
# Keys of a unit that this systemd may be too old for: it says so and goes on.
NEWER = re.compile(r"Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)'")


def run(*argv, check=True, **kw):
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=kw.pop("timeout", 120), **kw)
    assert not check or r.returncode == 0, (argv, r.returncode, r.stdout[-3000:], r.stderr[-3000:])
    return r


def own_build():
    """The built program in a folder of the test's own, where packages are made."""
    path = os.path.join(lib.env.dir, "build")
    os.mkdir(path)
    for name in ("gprofiler", "gprofiler.1"):
        shutil.copy(os.path.join(BUILD, name), path)
    return path


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            lib.skip(f"{tool} is not installed")


def test_unit():
    need("systemd-analyze")
    path = os.path.join(lib.env.dir, "gprofiler.service")
    text = open(os.path.join(ROOT, "packaging", "gprofiler.service.in"), encoding="utf-8").read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace("@bindir@", BUILD))
    r = run("systemd-analyze", "verify", "--man=no", path, check=False)
    said = [l for l in (r.stdout + r.stderr).splitlines() if "gprofiler.service" in l and not NEWER.search(l)]
    assert r.returncode == 0 and not said, (r.returncode, said)
    for key in ("Type=notify", "WatchdogSec=", "NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_PERFMON", "StateDirectory=gprofiler"):
        assert "\n" + key in text, key


def copy_with_libraries(root, *programs):
    """Programs of this machine with what they are linked against: no distribution, only files."""
    files = set(programs)
    for p in programs:
        for line in run("ldd", p, check=False).stdout.splitlines():
            m = re.search(r"(/\S+) \(0x", line)
            if m:
                files.add(m.group(1))
    for f in files:
        os.makedirs(root + os.path.dirname(f), exist_ok=True)
        shutil.copy(os.path.realpath(f), root + f)


def in_root(root, *argv, check=True):
    """In a mount namespace of its own: nothing is left mounted."""
    mounts = f"mount --rbind /proc {root}/proc && mount --rbind /sys {root}/sys && exec chroot {root} \"$@\""
    return run("unshare", "-m", "sh", "-c", mounts, "sh", *argv, check=check,
               env={"PATH": os.environ["PATH"], "GPROFILER_LOCK_NAME": f"gprofiler-test-package-{os.getpid()}"})


def profile_of_split(root, *program):
    """Runs a program in the root; the workload outside is seen and named."""
    lib.start("split", 300)

    def profile(seconds):
        in_root(root, *program, "-o", "/var/lib/gprofiler/out", "-d", str(seconds), "-f", "399", "--no-flamegraph")
        return lib.Profile(os.path.join(root, "var/lib/gprofiler/out/last_profile.col"))
    prof = lib.until(lambda prof: prof.total(prof.of(lib.comm("split"))) > 50, profile, 2)
    stacks = prof.of(lib.comm("split"))
    assert prof.total([s for s in stacks if "main" in s.frames]) > 0.9 * prof.total(stacks) > 20, stacks[:3]


def test_debian_package():
    lib.need_root()
    need("dpkg-deb", "dpkg-shlibdeps")
    deb = run("build-aux/make-deb", own_build(), cwd=ROOT).stdout.strip()
    fields = dict(l.split(": ", 1) for l in run("dpkg-deb", "-f", deb).stdout.splitlines() if ": " in l and l[0] != " ")
    assert fields["Package"] == "gprofiler" and re.fullmatch(r"2\.\d+\.\d+", fields["Version"]), fields
    for library in ("libc6 (", "libbpf1", "libdw1", "libelf1", "libjansson4", "zlib1g", "libcurl4"):
        assert library in fields["Depends"], (library, fields["Depends"])
    root = os.path.join(lib.env.dir, "root")
    for d in ("proc", "sys", "tmp", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc"):
        os.makedirs(os.path.join(root, d))
    for f in ("status", "available"):
        open(os.path.join(root, "var/lib/dpkg", f), "w").close()
    copy_with_libraries(root, "/bin/sh", "/bin/rm", lib.GPROFILER)
    dpkg = ["dpkg", f"--root={root}", "--force-depends", f"--log={lib.env.dir}/dpkg.log"]
    run(*dpkg, "-i", deb)
    assert run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Status}", "gprofiler").stdout == "install ok installed"
    audit = run(*dpkg, "--verify", "gprofiler")
    assert audit.stdout == "", audit.stdout
    assert os.stat(root + "/etc/default/gprofiler").st_mode & 0o777 == 0o640
    unit = open(root + "/lib/systemd/system/gprofiler.service").read()
    assert "ExecStart=/usr/bin/gprofiler --continuous" in unit and "@" not in unit
    assert in_root(root, "/usr/bin/gprofiler", "--version").stdout.startswith("2.")
    profile_of_split(root, "/usr/bin/gprofiler")
    # The options of the service are ones that the program knows.
    with open(root + "/etc/default/gprofiler") as f:
        for name in re.findall(r"^#?(GPROFILER_\w+)=", f.read(), re.M):
            option = "--" + name[len("GPROFILER_"):].lower().replace("_", "-")
            assert option in run(lib.GPROFILER, "--help").stdout, option
    with open(root + "/etc/default/gprofiler", "a") as f:
        f.write("# mine\n")
    run(*dpkg, "-i", deb)
    assert "# mine" in open(root + "/etc/default/gprofiler").read(), "an upgrade keeps what the owner wrote"
    run(*dpkg, "--purge", "gprofiler")
    left = [p for p in ("usr/bin/gprofiler", "etc/default/gprofiler", "var/lib/gprofiler", "lib/systemd/system/gprofiler.service") if os.path.exists(os.path.join(root, p))]
    assert not left, left


def blob(layout, descriptor):
    data = open(os.path.join(layout, "blobs", *descriptor["digest"].split(":")), "rb").read()
    assert len(data) == descriptor["size"] and "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"], descriptor
    return data


def unpack_image(path):
    """Checks an OCI archive against its digests. Return (rootfs, image config)."""
    layout, rootfs = os.path.join(lib.env.dir, "layout"), os.path.join(lib.env.dir, "bundle", "rootfs")
    os.makedirs(rootfs)
    with tarfile.open(path) as t:
        t.extractall(layout)
    assert json.load(open(os.path.join(layout, "oci-layout")))["imageLayoutVersion"] == "1.0.0"
    index = json.load(open(os.path.join(layout, "index.json")))
    assert index["schemaVersion"] == 2 and len(index["manifests"]) == 1
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].startswith("gprofiler:2.")
    manifest = json.loads(blob(layout, index["manifests"][0]))
    config = json.loads(blob(layout, manifest["config"]))
    assert config["os"] == "linux" and config["architecture"] in ("amd64", "arm64")
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
    plain = gzip.decompress(blob(layout, manifest["layers"][0]))
    assert "sha256:" + hashlib.sha256(plain).hexdigest() == config["rootfs"]["diff_ids"][0]
    layer = os.path.join(lib.env.dir, "layer.tar")
    with open(layer, "wb") as f:
        f.write(plain)
    run("tar", "-C", rootfs, "-xpf", layer)
    return rootfs, config


# capability.h; those of the DaemonSet.
NUMBERS = {"CAP_DAC_READ_SEARCH": 2, "CAP_SYS_PTRACE": 19, "CAP_SYS_RESOURCE": 24, "CAP_SYSLOG": 34, "CAP_PERFMON": 38, "CAP_BPF": 39,
           "CAP_CHECKPOINT_RESTORE": 40}


def daemonset():
    return yaml_file.load(os.path.join(ROOT, "packaging", "kubernetes", "daemonset.yaml"))


def runtime_spec(image, context, out):
    """A container as the DaemonSet asks for it: the host's pid namespace, its capabilities, a read-only root."""
    capabilities = ["CAP_" + c for c in context["capabilities"]["add"]]
    bounding = int(re.search(r"^CapBnd:\s*(\w+)", open("/proc/self/status").read(), re.M).group(1), 16)
    for name in [c for c, bit in NUMBERS.items() if c in capabilities and not bounding >> bit & 1]:
        lib.note(f"this machine has no {name} to give: left out")
        capabilities.remove(name)
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": context["readOnlyRootFilesystem"]},
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": not context["allowPrivilegeEscalation"],
                    "env": image["config"]["Env"] + [f"GPROFILER_LOCK_NAME=gprofiler-test-image-{os.getpid()}"],
                    "args": image["config"]["Entrypoint"] + ["-o", "/var/lib/gprofiler", "-d", "2", "-f", "399"],
                    "capabilities": {kind: capabilities for kind in ("bounding", "effective", "permitted", "inheritable")}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]},
                   {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]},
                   {"destination": "/var/lib/gprofiler", "type": "bind", "source": out, "options": ["bind", "rw"]},
                   *({"destination": d, "type": "tmpfs", "source": "tmpfs"} for d in ("/run", "/tmp", "/var/log/gprofiler"))],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    }


def test_image_with_the_privileges_of_the_daemonset():
    lib.need_root()
    rootfs, image = unpack_image(run("build-aux/make-image", own_build(), cwd=ROOT).stdout.strip())
    lib.start("split", 90)
    out = os.path.join(lib.env.dir, "out")
    os.mkdir(out)
    runtime = shutil.which("runc") or shutil.which("crun")
    context = daemonset()["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    if runtime:
        bundle = os.path.dirname(rootfs)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as f:
            json.dump(runtime_spec(image, context, out), f)
        name = f"gprofiler-test-{os.getpid()}"
        manager = ["--cgroup-manager=disabled"] if runtime.endswith("crun") else []
        r = run(runtime, "--root", os.path.join(lib.env.dir, "state"), *manager, "run", "--bundle", bundle, name, check=False)
        lib.note(f"{os.path.basename(runtime)}: exit status {r.returncode}")
    if not runtime:
        lib.note("neither crun nor runc is installed: by chroot")
        r = in_root(rootfs, *image["config"]["Entrypoint"], "-o", "/var/lib/gprofiler", "-d", "2", "-f", "399", check=False)
        out = rootfs + "/var/lib/gprofiler"
    assert r.returncode == 0, (r.stdout[-3000:], r.stderr[-3000:])
    prof = lib.Profile(os.path.join(out, "last_profile.col"))
    stacks = prof.of(lib.comm("split"))
    rung = re.search(r"through (\w+)", r.stdout)
    lib.note(f"rung {rung.group(1) if rung else '?'}, {prof.total(stacks)} samples of the workload")
    assert prof.total([s for s in stacks if "main" in s.frames]) > 0.9 * prof.total(stacks) > 20, (stacks[:3], r.stdout[-3000:])


def check_pod(d, capabilities):
    assert (d["apiVersion"], d["kind"]) == ("apps/v1", "DaemonSet")
    pod = d["spec"]["template"]["spec"]
    assert d["spec"]["selector"]["matchLabels"].items() <= d["spec"]["template"]["metadata"]["labels"].items()
    assert pod["hostPID"] is True and pod["automountServiceAccountToken"] is False and "hostNetwork" not in pod
    assert pod["terminationGracePeriodSeconds"] >= 10
    (c,) = pod["containers"]
    s = c["securityContext"]
    assert s["privileged"] is False and s["allowPrivilegeEscalation"] is False and s["readOnlyRootFilesystem"] is True
    assert s["capabilities"]["drop"] == ["ALL"] and sorted(s["capabilities"]["add"]) == sorted(capabilities)
    assert {"cpu", "memory"} <= set(c["resources"]["limits"]) and {"cpu", "memory"} <= set(c["resources"]["requests"])
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert {m["name"] for m in c["volumeMounts"]} == set(volumes)
    hosts = [v["hostPath"]["path"] for v in volumes.values() if "hostPath" in v]
    assert hosts in ([], ["/var/lib/gprofiler"]), hosts
    token = [e for e in c["env"] if e["name"] == "GPROFILER_TOKEN"]
    assert len(token) == 1 and "secretKeyRef" in token[0]["valueFrom"]
    fields = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in c["env"] if "fieldRef" in e.get("valueFrom", {})}
    assert fields == {"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}, fields
    args = [a.replace("$(GPROFILER_SERVICE)", "svc") for a in c["args"]]
    # The program takes every argument: it gets as far as it gets without being root in this machine's namespaces.
    r = run(lib.GPROFILER, *args, "--token", "t", "--help", check=False)
    assert r.returncode == 0, (args, r.stderr)
    return c


LEAST = ["PERFMON", "BPF", "SYS_PTRACE", "DAC_READ_SEARCH", "SYSLOG", "CHECKPOINT_RESTORE", "SYS_RESOURCE"]


def test_daemonset():
    check_pod(daemonset(), LEAST)


def render(name, values):
    data = {"Values": values, "Release": {"Name": "gp", "Namespace": "ns"}, "Chart": {"AppVersion": yaml_file.load(CHART + "/Chart.yaml")["appVersion"]}}
    text = open(os.path.join(CHART, "templates", name), encoding="utf-8").read()
    program = os.path.join(lib.env.dir, "render")
    if not os.path.exists(program):
        run("go", "build", "-o", program, os.path.join(ROOT, "tests", "packaging", "render_chart.go"), timeout=300,
            env=dict(os.environ, GOFLAGS="-mod=mod", GO111MODULE="off"))
    r = run(program, input=json.dumps({"Template": text, "Data": data}), check=False)
    return yaml_file.load_all(r.stdout) if r.returncode == 0 else r.stderr


def test_chart():
    need("go")
    values = yaml_file.load(CHART + "/values.yaml")
    values["token"] = "tok\"en"
    (d,) = render("daemonset.yaml", values)
    c = check_pod(d, LEAST)
    plain = daemonset()["spec"]["template"]["spec"]["containers"][0]
    for key in ("securityContext", "resources", "livenessProbe", "volumeMounts"):
        assert c[key] == plain[key], key
    assert sorted(c["args"]) == sorted(plain["args"])
    assert c["image"] == "gprofiler:" + yaml_file.load(CHART + "/Chart.yaml")["appVersion"]
    (secret,) = render("secret.yaml", values)
    import base64
    assert base64.b64decode(secret["data"]["token"]).decode() == values["token"] and secret["metadata"]["name"] == "gp"
    # The other way round of every condition.
    other = copy.deepcopy(values)
    other.update(existingSecret="mine", serverHost="https://studio:8080", apiServer="https://api", statePath="", imagePullSecrets=[{"name": "r"}],
                 nodeSelector={"a": "b"}, extraArgs=[], capabilities=["SYS_ADMIN"])
    other["metrics"]["enabled"] = False
    (d,) = render("daemonset.yaml", other)
    c = check_pod(d, ["SYS_ADMIN"])
    pod = d["spec"]["template"]["spec"]
    assert "livenessProbe" not in c and "--server-host=https://studio:8080" in c["args"] and not any("metrics" in a for a in c["args"])
    assert pod["nodeSelector"] == {"a": "b"} and pod["imagePullSecrets"] == [{"name": "r"}]
    assert [e for e in c["env"] if e["name"] == "GPROFILER_TOKEN"][0]["valueFrom"]["secretKeyRef"]["name"] == "mine"
    assert render("secret.yaml", other) == []
    assert "token or existingSecret is needed" in render("secret.yaml", dict(values, token=""))
    if shutil.which("helm"):
        run("helm", "lint", CHART, "--set", "token=x")


if __name__ == "__main__":
    lib.main(globals())
