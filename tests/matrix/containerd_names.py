# SPDX-License-Identifier: Apache-2.0
"""containerd itself: a pod that is started over CRI, as kubelet does it, and a container of `ctr` with nerdctl's
annotation. What it leaves in /run/containerd gives them their names; their groups are chosen as containers'."""
import contextlib
import glob
import os
import shutil
import struct
import subprocess
import sys

import lib

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "packaging"))
import test_podman
from test_packages import run

STATE = "/run/containerd"	# where it always is; the test has its own of the rest
UID = f"00000000-1111-2222-3333-{os.getpid():012d}"
NAMESPACE, POD, NAME = "gprofiler-test", "web-pod", "app"
CONFIG = """version = 2
root = "{dir}/root"
state = "{state}"
[grpc]
  address = "{dir}/socket"
[ttrpc]
  address = "{dir}/socket.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  sandbox_image = "{image}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""


def number(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def message(*fields):
    """Protobuf of (number, value): integers, texts, and messages as bytes."""
    out = b""
    for n, value in fields:
        if isinstance(value, int):
            out += number(n << 3) + number(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += number(n << 3 | 2) + number(len(data)) + data
    return out


class Containerd:
    def __init__(self, image, archive):
        self.dir = os.path.join(lib.env.dir, "containerd")
        os.mkdir(self.dir)
        self.socket, self.image, self.sandbox, self.ids = self.dir + "/socket", image, None, []
        with open(self.dir + "/config.toml", "w", encoding="utf-8") as f:
            f.write(CONFIG.format(dir=self.dir, state=STATE, image=image))
        self.log = open(self.dir + "/log", "wb")
        self.process = lib.env.start("containerd", "--config", self.dir + "/config.toml", stdout=self.log, stderr=subprocess.STDOUT)
        lib.wait_for("containerd", lambda: self.process.poll() is not None or (
            os.path.exists(self.socket) and self.call("Version", b"", check=False)), 60)
        if self.process.poll() is not None:
            lib.skip("containerd does not start here: " + open(self.dir + "/log").read().strip().splitlines()[-1][-300:])
        self.ctr("-n", "k8s.io", "images", "import", "--snapshotter", "native", archive)

    def ctr(self, *argv, check=True):
        return run("ctr", "-a", self.socket, *argv, check=check)

    def call(self, method, body, check=True):
        """A call of CRI by gRPC: one message, with its length before it, over HTTP/2. Return the answer's message."""
        r = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", self.socket, "-H", "content-type: application/grpc",
                            "-H", "te: trailers", "-D", self.dir + "/headers", "--data-binary", "@-",
                            "http://localhost/runtime.v1.RuntimeService/" + method],
                           input=b"\0" + struct.pack(">I", len(body)) + body, capture_output=True, timeout=120)
        said = open(self.dir + "/headers").read() if os.path.exists(self.dir + "/headers") else ""
        assert not check or (r.returncode == 0 and "grpc-status: 0" in said), (method, r.stderr, said, open(self.dir + "/log").read()[-2000:])
        return r.stdout[5:]

    def start_pod(self):
        """A pod in the host's network namespace, and its one container, started for the fourth time."""
        in_host = message((1, message((1, 2), (2, 1), (3, 2))))	# NODE, CONTAINER, NODE
        config = message((1, message((1, POD), (2, UID), (3, NAMESPACE), (4, 0))), (3, f"/var/log/pods/{NAMESPACE}_{POD}_{UID}"),
                         (8, message((2, in_host))))
        text = lambda answer: answer[2:2 + answer[1]].decode()
        self.sandbox = text(self.call("RunPodSandbox", message((1, config))))
        container = message((1, message((1, NAME), (2, 3))), (2, message((1, self.image))), (3, "/" + lib.comm("split")), (4, "600"),
                            (11, f"{NAME}/3.log"))
        self.call("StartContainer", message((1, text(self.call("CreateContainer", message((1, self.sandbox), (2, container), (3, config)))))))

    def start_plain(self, name):
        """As nerdctl does: an id, and its name in an annotation."""
        self.ids.append(f"{os.getpid():064x}")
        self.ctr("-n", "k8s.io", "run", "-d", "--null-io", "--snapshotter", "native", "--annotation", "nerdctl/name=" + name, self.image, self.ids[-1],
                 "/" + lib.comm("split"), "600")

    def close(self):
        if self.process.poll() is None:
            if self.sandbox:
                self.call("StopPodSandbox", message((1, self.sandbox)), check=False)
                self.call("RemovePodSandbox", message((1, self.sandbox)), check=False)
            for i in self.ids:
                self.ctr("-n", "k8s.io", "task", "rm", "-f", i, check=False)
                self.ctr("-n", "k8s.io", "container", "rm", i, check=False)
            self.process.terminate()
            self.process.wait(60)
        self.log.close()
        shutil.rmtree(f"/var/log/pods/{NAMESPACE}_{POD}_{UID}", ignore_errors=True)


@contextlib.contextmanager
def containerd():
    for tool in ("containerd", "ctr", "curl", "podman"):
        if not shutil.which(tool):
            lib.skip(f"{tool} is not installed")
    if glob.glob(STATE + "/io.containerd.runtime.v2.task/*/*"):
        lib.skip("a containerd works here")
    with test_podman.images() as loaded:
        image = f"localhost/gprofiler-test-pod:{os.getpid()}"
        test_podman.podman("import", "-c", 'ENTRYPOINT ["/' + lib.comm("split") + '", "600"]', os.path.join(lib.env.dir, "busy.tar"), image)
        loaded.append(image)
        archive = os.path.join(lib.env.dir, "busy.oci")
        test_podman.podman("save", "--format", "oci-archive", "-o", archive, image)
        c = Containerd(image, archive)
        try:
            yield c
        finally:
            c.close()


def test_names_of_a_pod_and_of_a_container():
    with containerd() as c:
        lib.note(run("containerd", "--version").stdout.strip())
        c.start_pod()
        c.start_plain("plain-web")
        lib.start("threads", 600)
        prof = lib.gprofiler("-d", 4, "-f", 199, "--no-flamegraph")
        counts = {}
        for s in (s for s in prof.of("workload_split") if s.container):
            counts[s.container] = counts.get(s.container, 0) + s.count
        lib.note(counts)
        six = f"k8s_{NAME}_{POD}_{NAMESPACE}_{UID}_3"
        # The pod's own container has the least share of the CPU there is, and may not run at all.
        busy = {six, "plain-web"}
        assert busy <= set(counts) <= busy | {f"k8s_POD_{POD}_{NAMESPACE}_{UID}_0"} and min(counts[b] for b in busy) > 5, counts
        assert {s.container for s in prof.of("workload_threads")} == {""} and six in prof.header["containers"]
        # The groups of the two that work, and nothing else.
        prof = lib.gprofiler("-d", 2, "-f", 199, "--no-flamegraph", "--no-python", "--perf-use-cgroups", "--perf-max-docker-containers", 2,
                             "--perf-max-cgroups", 0, out="chosen")
        assert {s.container for s in prof.stacks} == busy, {(s.container, s.comm) for s in prof.stacks}


if __name__ == "__main__":
    lib.main({n: f for n, f in globals().items() if getattr(f, "__module__", None) == __name__})
