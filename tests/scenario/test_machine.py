# SPDX-License-Identifier: Apache-2.0
"""What the header says of the machine: every key in its place, averages, the external file, the clouds; and
the agent's own metrics over TCP."""
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import lib

# gprofiler-agent.md 5.1, cloud_info where there is a cloud
KEYS = ["cloud_provider", "agent_version", "spawn_time", "python_version", "run_mode", "deployment_type",
        "kernel_release", "kernel_version", "system_name", "processors", "cpu_model_name", "cpu_flags",
        "memory_capacity_mb", "hostname", "system", "os_name", "os_release", "os_codename", "libc_type",
        "libc_version", "hardware_type", "pid", "mac_address", "private_ip", "spawn_uptime_ms", "run_arguments",
        "big_data", "external_metadata", "current_time", "profiling_mode", "continuous"]


def test_every_key_in_its_order():
    before = float(open("/proc/uptime").read().split()[0]) * 1000
    prof = lib.gprofiler("-d", 2, "--token", "very-secret-token")
    after = float(open("/proc/uptime").read().split()[0]) * 1000
    m = prof.header["metadata"]
    assert list(m) == KEYS, list(m)
    assert before - 2000 <= m["spawn_uptime_ms"] <= after, (before, m["spawn_uptime_ms"], after)
    assert re.fullmatch(r"([0-9A-F]{2}:){5}[0-9A-F]{2}", m["mac_address"]), m["mac_address"]
    assert m["hardware_type"] == os.uname().machine and m["processors"] == os.cpu_count()
    assert m["libc_type"] in ("glibc", "musl") and m["libc_version"] != "unknown", m
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", m["current_time"])
    for key in ("service_name", "profile_api_version", "perf_events", "perf_mode"):
        assert key in m["run_arguments"], m["run_arguments"]
    assert "very-secret-token" not in prof.text
    metrics = prof.header["metrics"]
    assert 0 < metrics["cpu_avg"] <= 100 and 0 < metrics["mem_avg"] < 100, metrics


def test_switched_off():
    prof = lib.gprofiler("-d", 1, "--disable-metadata-collection", "--disable-metrics-collection")
    assert set(prof.header["metadata"]) == {"hostname", "profiling_mode", "continuous"}
    assert prof.header["metrics"] == {"cpu_avg": None, "mem_avg": None}


def test_external_metadata():
    path = os.path.join(lib.env.dir, "external.json")
    child = lib.env.start(sys.executable, "-c", "while True: pass")
    with open(path, "w") as f:
        json.dump({"static": {"cluster": "c1"}, "application": {str(child.pid): {"team": "t", "arch": "mine"}}}, f)
    prof = lib.gprofiler("-d", 2, "-f", 99, "-p", child.pid, "--external-metadata", path)
    assert prof.header["metadata"]["external_metadata"] == {"cluster": "c1"}
    listed = prof.header["application_metadata"]
    assert len(listed) == 2 and listed[0] is None, listed
    assert listed[1]["team"] == "t" and listed[1]["arch"] == "mine", listed
    assert listed[1]["python_version"].startswith("Python "), listed
    os.utime(path, (time.time() - 400, time.time() - 400))
    old = lib.gprofiler("-d", 1, "--external-metadata", path, expect=1, out="old")
    assert "not written for 5 minutes" in old.stdout_text, old.stdout_text


def test_diagnostics_and_hardware_counters():
    lib.need_root()
    prof = lib.gprofiler("-d", 1, "--diagnostics", "--enable-hw-metrics-collection", "--perfspect-path", "/nonexistent")
    log = open(os.path.join(prof.process.out, "log"), encoding="utf-8").read()
    assert re.search(r"DEBUG: gprofiler\.diagnostics: Process \d+ \(.*\) state R", log), "no list of processes"
    n = int(re.search(r"DEBUG: gprofiler\.diagnostics: (\d+) containers", log)[1])
    assert log.count("gprofiler.diagnostics: Container ") == n
    assert ("gprofiler.diagnostics: Kernel: " in log) == ("The kernel's log: " not in log)
    hw = prof.header["hwmetrics"]
    if "no hardware counters" in log or "Hardware counters cannot be had" in log:
        assert hw is None
    else:
        assert 0 < float(hw["IPC"]) < 16 and 0 <= float(hw["branch misprediction ratio"]) < 1, hw
    assert lib.gprofiler("-d", 1, out="without").header["hwmetrics"] is None


CLOUD = """
import http.server, sys
TOKEN = "tok"
class H(http.server.BaseHTTPRequestHandler):
    def answer(self, code, text=""):
        self.send_response(code); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
    def do_PUT(self):
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self.answer(*((200, TOKEN) if self.path == "/latest/api/token" and ttl == "120" and MODE == "aws" else (404,)))
    def do_GET(self):
        aws = self.headers.get("X-aws-ec2-metadata-token") == TOKEN and MODE == "aws"
        if aws and self.path == "/latest/dynamic/instance-identity/document":
            self.answer(200, '{"region": "us-east-1", "availabilityZone": "us-east-1a", "instanceType": "m5.large",'
                             '"accountId": "1", "imageId": "ami-1", "instanceId": "i-1"}')
        elif aws and self.path == "/latest/meta-data/instance-life-cycle":
            self.answer(200, "on-demand")
        elif (MODE == "gcp" and self.path == "/computeMetadata/v1/instance/?recursive=true"
              and self.headers.get("Metadata-Flavor") == "Google"):
            self.answer(200, '{"id": 7, "zone": "projects/1/zones/z", "machineType": "projects/1/machineTypes/n1"}')
        elif (MODE == "azure" and self.path == "/metadata/instance/compute/?api-version=2019-08-15"
              and self.headers.get("Metadata") == "true"):
            self.answer(200, '{"vmId": "v", "vmSize": "D2", "location": "westus"}')
        else:
            self.answer(404)
    def log_message(self, *a): pass
MODE = sys.argv[1]
server = http.server.ThreadingHTTPServer(("169.254.169.254", 80), H)
print("ready", flush=True)
server.serve_forever()
"""

# In a network namespace of its own, whose pid 1 is in it too: the agent looks where pid 1 is.
INSIDE = r"""
set -e
ip link set lo up
ip addr add 169.254.169.254/32 dev lo
"$PYTHON" "$DIR/cloud.py" "$1" >"$DIR/ready" &
while ! grep -q ready "$DIR/ready"; do sleep 0.05; done
"$GPROFILER" -o "$DIR/$1" -d 2 --disable-pidns-check --log-file "$DIR/$1.log" --pid-file "$DIR/pid" || true
kill $!
"""


def ask_cloud(mode):
    if not shutil.which("ip") or not shutil.which("unshare"):
        lib.skip("ip and unshare are needed")
    lib.need_root()
    with open(os.path.join(lib.env.dir, "cloud.py"), "w") as f:
        f.write(CLOUD)
    env = dict(os.environ, GPROFILER_CLOUD_METADATA="auto", GPROFILER_SYSTEM_CONFIG="", DIR=lib.env.dir,
               GPROFILER_STATE_DIR=os.path.join(lib.env.dir, "state"),
               GPROFILER_LOCK_NAME=f"gprofiler-test-cloud-{os.getpid()}-{mode}", PYTHON=sys.executable)
    r = subprocess.run(["unshare", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", INSIDE, "sh", mode], env=env,
                       capture_output=True, text=True, timeout=90)
    path = os.path.join(lib.env.dir, mode, "last_profile.col")
    if not os.path.exists(path):
        raise AssertionError(r.stdout[-2000:] + r.stderr[-2000:])
    return json.loads(open(path, encoding="utf-8").readline()[2:])["metadata"]


def test_clouds():
    m = ask_cloud("aws")
    assert m["cloud_provider"] == "aws", m
    assert m["cloud_info"] == {"region": "us-east-1", "zone": "us-east-1a", "instance_type": "m5.large",
                               "life_cycle": "on-demand", "account_id": "1", "image_id": "ami-1",
                               "instance_id": "i-1"}, m
    assert list(m) == KEYS[:25] + ["cloud_info"] + KEYS[25:], list(m)
    m = ask_cloud("gcp")
    assert m["cloud_provider"] == "gcp" and m["cloud_info"]["instance_type"] == "n1", m
    m = ask_cloud("azure")
    assert m["cloud_provider"] == "azure" and m["cloud_info"]["instance_type"] == "D2", m
    m = ask_cloud("none")
    assert m["cloud_provider"] == "unknown" and "cloud_info" not in m, m


class Lines:
    """A TCP server that keeps what each connection sent."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.lines = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            data = b""
            with c:
                while chunk := c.recv(4096):
                    data += chunk
            self.lines.append(data.decode())


def studio(status, heartbeats=()):
    """A studio that is well, and takes no profile; heartbeats: its answers to those, the last one again and again."""
    left = list(heartbeats)

    class H(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, b'{"message": "ok"}')

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if left and self.path == "/api/metrics/heartbeat":
                self.answer(left[0], b'{"success": true, "message": "ok", "profiling_command": null, "command_id": null}')
                del left[:len(left) > 1]
            else:
                self.answer(status, b'{"message": "no"}')

        def answer(self, code, body):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *a):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def test_metrics_of_failed_uploads():
    server, host = Lines(), studio(400)
    spool = os.path.join(lib.env.dir, "spool")
    lib.gprofiler("-d", 1, "-u", "--token", "t", "--service-name", "svc", "--server-host",
                  f"http://127.0.0.1:{host.server_address[1]}", "--spool-dir", spool, "--enable-publish-metrics",
                  "--metrics-server-url", f"tcp://127.0.0.1:{server.port}")
    deadline = time.monotonic() + 20
    while not server.lines and time.monotonic() < deadline:
        time.sleep(0.05)
    host.shutdown()
    assert server.lines, "no metric came"
    assert tags(server.lines[0]) <= lib.documented("Metrics", "tag")
    assert re.fullmatch(
        r"put gprofiler\.api_client\.upload_error\.error \d+ 1 service=svc hostname=\S+ component=api_client "
        r"severity=error metric_type=counter os_type=linux python_version=\S+ run_id=[0-9a-f-]{36} cycle_id=none "
        r"method_name=\S+ error_category=upload_api_error\n", server.lines[0]), server.lines


def tags(line):
    return {word.partition("=")[0] for word in line.split()[4:]}


def published(server):
    return ["--enable-publish-metrics", "--metrics-server-url", f"tcp://127.0.0.1:{server.port}", "--service-name", "svc"]


def test_metrics_of_heartbeats():
    """A line a heartbeat: taken, refused with a status, and not answered at all."""
    server, host = Lines(), studio(400, [200, 503])
    url = f"http://127.0.0.1:{host.server_address[1]}"
    p = lib.start_gprofiler("-u", "--token", "very-secret-token", "--server-host", url, "--api-server", url, "--dont-send-logs",
                            "--enable-heartbeat-server", "--heartbeat-interval", 1, "--spool-dir",
                            os.path.join(lib.env.dir, "spool"), "--sli-metric-uuid", "u-1", *published(server))
    lib.wait_for("two answers", lambda: len(server.lines) >= 2, 60)
    host.shutdown()
    host.server_close()
    lib.wait_for("no answer", lambda: "error=" in server.lines[-1], 60)
    lib.send(p, signal.SIGTERM)
    p.communicate(timeout=60)
    assert p.returncode == 0
    base = r"put error-budget\.counters\.u-1 \d+ 1 response_type=%s method_name=send_heartbeat metric_type=counter service=svc hostname=\S+%s\n"
    assert re.fullmatch(base % ("success", ""), server.lines[0]), server.lines
    assert re.fullmatch(base % ("failure", " status_code=503"), server.lines[1]), server.lines
    assert re.fullmatch(base % ("failure", r" error=\S+"), server.lines[-1]), server.lines
    assert not any("very-secret" in line for line in server.lines), server.lines
    assert set().union(*map(tags, server.lines)) <= lib.documented("Metrics", "tag")


def test_metrics_of_profilers_that_fail():
    """Root without the capabilities: what cannot be sampled is told, by the reference's names."""
    lib.need_root()
    if not shutil.which("setpriv"):
        lib.skip("setpriv is needed")
    middle = (r" \d+ 1 service=svc hostname=\S+ component=%s severity=%s metric_type=counter os_type=linux "
              r"python_version=\S+ run_id=\S+ cycle_id=none method_name=GProfiler\._snapshot%s\n")
    perf = r"put gprofiler\.system_profiler\.perf_failure\.error" + middle % ("system_profiler", "critical", "")
    python = (r"put gprofiler\.profiler_Python\.process_profiler_failure\.error"
              + middle % ("profiler_Python", "error", " profiler_name=Python"))

    def lines(drop, *args, expect):
        server = Lines()
        lib.gprofiler("-d", 1, *args, *published(server), expect=expect, out=f"out{len(args)}{expect}",
                      prefix=["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"])
        lib.wait_for("the lines", lambda: len(server.lines) > expect, 30)
        return server.lines

    # The run fails with it, which is a line of its own.
    got = lines("-bpf,-sys_admin", "--source", "bpf", expect=1)
    assert re.fullmatch(perf, got[0]) and "gprofiler_main.profiling_run_failure" in got[1] and len(got) == 2, got
    got = lines("-bpf,-sys_admin", "--source", "bpf", "--no-perf", "--python-mode", "pyperf", expect=1)
    assert re.fullmatch(python, got[0]) and "gprofiler_main.profiling_run_failure" in got[1] and len(got) == 2, got
    # Interpreters are still read, so the run goes on.
    got = lines("-bpf,-sys_admin,-perfmon", expect=0)
    assert re.fullmatch(perf, got[0]) and len(got) == 1, got


def test_a_metrics_server_that_is_away_or_nonsense():
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    p = lib.gprofiler("-d", 1, "--enable-publish-metrics", "--metrics-server-url", f"tcp://127.0.0.1:{port}")
    assert p.total() >= 0
    bad = lib.gprofiler("-d", 1, "--enable-publish-metrics", "--metrics-server-url", "http://x", expect=1, out="bad")
    assert "tcp://host[:port]" in bad.stdout_text
    lib.gprofiler("-d", 1, "--enable-publish-metrics", expect=2, out="none")


if __name__ == "__main__":
    lib.main(globals())
