# SPDX-License-Identifier: Apache-2.0
"""A studio for tests: holds every rule of the real one that an agent can break (gprofiler-studio.md
1.2 to 1.6, 1.12, 2.3), and behaves badly when told to. Standard library only; TLS by the openssl command."""
import datetime
import gzip
import http.server
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid

METADATA = """current_time spawn_time spawn_uptime_ms private_ip hostname cloud_provider processors memory_capacity_mb
    system_name os_name os_release kernel_release kernel_version hardware_type pid mac_address agent_version libc_type
    libc_version python_version run_mode deployment_type run_arguments""".split()
NUMBERS = {"spawn_uptime_ms", "processors", "memory_capacity_mb", "pid"}
RUN_MODES = {"k8s", "container", "standalone_executable", "local_python"}
CLOUDS = {"aws", "gcp", "azure", "unknown"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LINE_MAX = 25 << 20


class Refused(Exception):
    def __init__(self, status, body, why=""):
        super().__init__(f"{status} {body} {why}")
        self.status, self.body, self.why = status, body, why


def naive_time(text):
    """Naive UTC with whole seconds, as everything behind the real server needs it."""
    if not isinstance(text, str) or not TIME.fullmatch(text):
        return None
    return datetime.datetime.fromisoformat(text)


def clean_service(name):
    return re.sub(r"[^A-Za-z0-9_.-]", "", name).lstrip("_")


def check_metadata(header):
    bad = lambda why: Refused(400, {"message": "Failed to parse v2 metadata"}, why)
    metadata = header.get("metadata")
    if not isinstance(metadata, dict):
        raise bad("no metadata")
    for key in METADATA:
        if metadata.get(key) is None:
            raise bad(f"{key} is missing or null")
        if key in NUMBERS and (isinstance(metadata[key], bool) or not isinstance(metadata[key], (int, float))):
            raise bad(f"{key} is no number")
        if key not in NUMBERS and key != "run_arguments" and not isinstance(metadata[key], str):
            raise bad(f"{key} is no text")
    version = metadata["agent_version"].split(".")
    if len(version) != 3 or not all(p.isdigit() for p in version[:2]) or not version[2].split("-")[0].isdigit():
        raise bad("agent_version")
    if tuple(int(p.split("-")[0]) for p in version) < (1, 2, 3):
        raise bad("agent_version is before gpids")
    if not MAC.fullmatch(metadata["mac_address"]):
        raise bad("mac_address")
    if metadata["run_mode"] not in RUN_MODES:
        raise bad("run_mode")
    if metadata["cloud_provider"].lower() not in CLOUDS:
        raise bad("cloud_provider")
    if metadata["processors"] <= 0 or metadata["memory_capacity_mb"] <= 0 or metadata["pid"] < 0:
        raise bad("processors, memory_capacity_mb or pid")
    if not isinstance(metadata["run_arguments"], dict):
        raise bad("run_arguments")
    if "cloud_info" in metadata and not isinstance(metadata["cloud_info"], dict):
        raise bad("cloud_info")
    for key in ("current_time", "spawn_time"):
        if not naive_time(metadata[key]):
            raise bad(key)
    return metadata


def check_heartbeat_shape(body):
    """What the server's model refuses with 422."""
    bad = lambda why: Refused(422, {"detail": [{"msg": why}]}, why)
    if not isinstance(body, dict):
        raise bad("no object")
    for key in ("ip_address", "hostname", "service_name"):
        if not isinstance(body.get(key), str):
            raise bad(key)
    for key in ("received_command_ids", "executed_command_ids", "perf_supported_events"):
        if not isinstance(body.get(key, []), list) or not all(isinstance(v, str) for v in body.get(key, [])):
            raise bad(key)
    for c in body.get("containers") or []:
        if not isinstance(c.get("container_name"), str):
            raise bad("container_name")
        for p in c.get("processes", []):
            if type(p.get("pid")) is not int or not isinstance(p.get("process_name"), str):
                raise bad("processes")


def heartbeat_nonsense(body):
    """What its database refuses, which it hides behind success: why, or None."""
    try:
        ipaddress.ip_address(body["ip_address"])
    except ValueError:
        return "ip_address"
    if body.get("status", "active") not in ("active", "idle", "error", "offline"):
        return "status"
    ids = body.get("received_command_ids", []) + body.get("executed_command_ids", [])
    if body.get("last_command_id") is not None:
        ids.append(body["last_command_id"])
    if not all(UUID.fullmatch(i) for i in ids):
        return "an id is no UUID"
    stamp = body.get("timestamp")
    if stamp is not None:
        sent = datetime.datetime.fromisoformat(stamp)
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        if sent.tzinfo or abs((now - sent).total_seconds()) > 120:
            return "timestamp: the host is not seen"
    return None


def index_lines(text, v1=False):
    """What the indexer behind the queue makes of a profile: (stacks, what it would choke on)."""
    lines = text.split("\n")
    header = json.loads(lines[0][1:])
    columns = 0 if v1 else 2 if header.get("application_metadata_enabled") else 1
    stacks, broken = [], []
    for n, line in enumerate(lines[1:], 2):
        if not line or line.startswith("#"):
            broken.append(f"line {n}: blank or '#'")
            continue
        if len(line.encode()) > LINE_MAX:
            broken.append(f"line {n}: too long")
            continue
        stack, _, count = line.rpartition(" ")
        parts = stack.split(";")
        if not re.fullmatch(r"[0-9]+", count) or int(count) < 1:
            broken.append(f"line {n}: count {count!r}")
        elif len(parts) < columns + 1:
            broken.append(f"line {n}: {len(parts)} fields")
        elif columns == 2 and not parts[0].isdigit():
            broken.append(f"line {n}: index {parts[0]!r}")
        else:
            stacks.append((parts, int(count)))
    return stacks, broken


class Upload:
    def __init__(self, query, headers, compressed, body, header):
        self.query, self.headers, self.compressed, self.body, self.header = query, headers, compressed, body, header
        self.time = time.monotonic()
        self.text = body["profile"]
        self.stacks, self.broken = index_lines(self.text, v1=query["__path"].startswith("/api/v1"))
        self.samples = sum(n for _, n in self.stacks)


class Studio:
    """server.url; server.uploads; server.requests. script: what to do to the next requests, a list of
    functions (handler) -> True if they answered; None stands for an honest answer. always: done when the
    script is empty."""

    def __init__(self, token="secret-token-0123456789", tls=None, limit=4 << 20, client_ca=None, v1=False, port=0):
        self.token, self.limit, self.v1 = token, limit, v1
        self.uploads, self.requests, self.refused, self.gpids, self.logs = [], [], [], {}, []
        # The control plane: one current command a host, handed out with every heartbeat; heartbeats as they came;
        # completions as (body, accepted).
        self.command, self.heartbeats, self.completions, self.executions = None, [], [], {}
        self.handed = {}  # when a command was first handed out
        # Commands of single hosts by (hostname, service), where a request was for more than one; what a service's hosts
        # are to do, those that come later, too; which host a command was handed to.
        self.host_commands, self.services, self.owners = {}, {}, {}
        self.connections = 0
        self.script, self.always = [], None
        self.next_gpid = 4000
        self.gpid_as_text = False
        self.lock = threading.Lock()
        studio = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self):
                with studio.lock:
                    studio.connections += 1
                super().setup()

            def log_message(self, *args):
                pass

            def do_GET(self):
                studio.handle(self)

            def do_POST(self):
                studio.handle(self)

            def answer(self, status, body, headers=()):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                return True

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                pass

            def finish_request(self, request, client_address):
                if studio.context:
                    request.settimeout(20)
                    request = studio.context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls[0], tls[1])
            if client_ca:
                self.context.load_verify_locations(client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def samples(self):
        return sum(u.samples for u in self.uploads)

    def handle(self, h):
        with self.lock:
            self.requests.append((h.command, h.path, dict(h.headers)))
            deed = self.script.pop(0) if self.script else self.always
        try:
            if deed and deed(h):
                return
            url = urllib.parse.urlsplit(h.path)
            query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
            query["__path"] = url.path
            if url.path in ("/api/v1/health_check", "/api/v2/health_check") and h.command == "GET":
                status, body = 200, self.health(h)
            elif url.path == f"/api/{'v1' if self.v1 else 'v2'}/profiles" and h.command == "POST":
                status, body = 200, self.upload(h, query)
            elif url.path == "/api/metrics/heartbeat" and h.command == "POST":
                status, body = 200, self.heartbeat(h)
            elif url.path == "/api/metrics/command_completion" and h.command == "POST":
                status, body = 200, self.complete(h)
            elif url.path == "/api/v1/logs" and h.command == "POST":
                status, body = 201, self.take_logs(h)
            else:
                raise Refused(404, {"message": "Not Found"})
        except Refused as e:
            with self.lock:
                self.refused.append(e)
            h.close_connection = True
            status, body = e.status, e.body
        except (ConnectionError, socket.timeout):
            return
        h.answer(status, body)

    def health(self, h):
        key, service = h.headers.get("GPROFILER-API-KEY"), h.headers.get("GPROFILER-SERVICE-NAME")
        if key is not None and service is not None and key != self.token:
            raise Refused(400, {"message": "Invalid API key"})
        return {"message": "ok"}

    def body(self, h):
        if h.headers.get("Content-Length") is None:
            raise Refused(411, {"message": "Length required"})
        length = int(h.headers["Content-Length"])
        if length > self.limit:
            # As a proxy does: it throws away what comes (nginx calls it a lingering close).
            while length > 0:
                length -= len(h.rfile.read(min(length, 1 << 16))) or length
            raise Refused(413, b"<html>413 Request Entity Too Large</html>")
        data = h.rfile.read(length)
        if len(data) != length:
            raise ConnectionError("cut")
        if "gzip" in (h.headers.get("Content-Encoding") or ""):
            try:
                data = gzip.decompress(data)
            except Exception as e:
                raise Refused(400, {"message": "bad gzip"}, str(e))
        try:
            return length, json.loads(data)
        except ValueError as e:
            raise Refused(422, {"detail": [{"msg": str(e)}]})

    def upload(self, h, query):
        length, body = self.body(h)
        key, service = h.headers.get("GPROFILER-API-KEY"), h.headers.get("GPROFILER-SERVICE-NAME")
        if key is None or service is None:
            raise Refused(422, {"detail": [{"msg": "field required"}]})
        if key != self.token or not clean_service(service):
            raise Refused(400, {"message": "Invalid GPROFILER-SERVICE-NAME header"})
        if not isinstance(body, dict) or not isinstance(body.get("profile"), str) or body.get("gpid") is None:
            raise Refused(422, {"detail": [{"msg": "field required"}]})
        if not naive_time(body.get("start_time")):
            raise Refused(422, {"detail": [{"msg": "start_time"}]})
        first = body["profile"].split("\n", 1)[0]
        try:
            assert first.startswith("#")
            header = json.loads(first[1:])
        except (AssertionError, ValueError):
            raise Refused(400, {"message": "Failed to parse metadata"})
        metadata = check_metadata(header)
        gpid = self.identify(str(body["gpid"]), clean_service(service), metadata)
        with self.lock:
            self.uploads.append(Upload(query, dict(h.headers), length, body, header))
        return {"message": "ok", "gpid": str(gpid) if self.gpid_as_text else gpid}

    def identify(self, gpid, service, metadata):
        if gpid in ("", "0"):
            with self.lock:
                self.next_gpid += 1
                self.gpids[self.next_gpid] = service
                return self.next_gpid
        if not gpid.isdigit() or int(gpid) not in self.gpids:
            raise Refused(400, {"message": "Unknown process"}, gpid)
        return int(gpid)

    def order(self, command_type="start", command_id=None, **config):
        """Replaces the host's current command. Returns its id."""
        command_id = command_id or str(uuid.uuid4())
        config = dict({"command_type": command_type}, **config)
        with self.lock:
            self.command = (command_id, {"command_type": command_type, "combined_config": config})
            self.executions[command_id] = "assigned"
        return command_id

    def order_service(self, service, **config):
        """A continuous start of a service: a command of its own for each of its hosts that was seen, and for each
        that comes. Returns the ids by hostname."""
        config = dict({"command_type": "start", "continuous": True, "target_scope": "service"}, **config)
        with self.lock:
            self.services[service] = config
            hosts = {b["hostname"] for _, _, b in self.heartbeats if b["service_name"] == service}
            return {host: self.subscribe(host, service) for host in hosts}

    def subscribe(self, host, service):
        command_id = str(uuid.uuid4())
        self.host_commands[host, service] = (
            command_id, {"command_type": "start", "combined_config": self.services[service]})
        self.executions[command_id] = "assigned"
        return command_id

    def current(self, host, service):
        """The one command of a host, with the lock."""
        if (host, service) not in self.host_commands and not self.command and service in self.services:
            self.subscribe(host, service)
        return self.host_commands.get((host, service)) or self.command or (None, None)

    def others_wait(self, command_id):
        """Whether another host of the same request has not completed: the real one then stores a completion, and
        answers 500 (gprofiler-studio.md 1.8)."""
        mine = next((k for k, (i, _) in self.host_commands.items() if i == command_id), None)
        return mine and any(k[1] == mine[1] and k != mine and self.executions[i] == "assigned"
                            for k, (i, _) in self.host_commands.items())

    def heartbeat(self, h):
        if "gzip" in (h.headers.get("Content-Encoding") or ""):
            raise Refused(422, {"detail": [{"msg": "not JSON"}]}, "heartbeats are plain")
        _, body = self.body(h)
        check_heartbeat_shape(body)
        with self.lock:
            self.heartbeats.append((time.monotonic(), dict(h.headers), body))
            why = heartbeat_nonsense(body)
            if why:
                self.refused.append(Refused(200, {}, why))
                return {"success": True, "message": "Heartbeat received, but failed to check for commands",
                        "profiling_command": None, "command_id": None}
            command_id, command = self.current(body["hostname"], body["service_name"])
            self.handed.setdefault(command_id, time.monotonic())
            self.owners.setdefault(command_id, body["hostname"])
        return {"success": True, "message": "Heartbeat received", "profiling_command": command,
                "command_id": command_id}

    def complete(self, h):
        _, body = self.body(h)
        if not isinstance(body, dict) or body.get("status") not in ("completed", "failed") or \
                not isinstance(body.get("command_id"), str) or not isinstance(body.get("hostname"), str):
            raise Refused(422, {"detail": [{"msg": "field required"}]})
        if body.get("execution_time") is not None and type(body["execution_time"]) is not int:
            raise Refused(422, {"detail": [{"msg": "execution_time"}]})
        if not UUID.fullmatch(body["command_id"]):
            raise Refused(500, {"message": "Internal Server Error"}, "command_id is no UUID")
        with self.lock:
            accepted = self.executions.get(body["command_id"]) == "assigned" and \
                self.owners.get(body["command_id"]) == body["hostname"]
            if accepted:
                self.executions[body["command_id"]] = body["status"]
            self.completions.append((body, accepted))
            if accepted and self.others_wait(body["command_id"]):
                raise Refused(500, {"message": "Internal Server Error"}, "other hosts have not completed")
        return {"success": accepted, "message": "ok" if accepted else "no assigned execution"}

    def completion(self, command_id):
        """The one completion of a command, or None; more than one is a failure."""
        with self.lock:
            found = [b for b, _ in self.completions if b["command_id"] == command_id]
        assert len(found) <= 1, found
        return found[0] if found else None

    def take_logs(self, h):
        _, body = self.body(h)
        with self.lock:
            self.logs.append((dict(h.headers), body))
        return {"status": "ok"}


# What a bad server does. Each takes its arguments and gives a deed for Studio.script.

def status(code, body=None, headers=()):
    def deed(h):
        h.rfile.read(int(h.headers.get("Content-Length") or 0))
        return h.answer(code, {"message": f"told to say {code}"} if body is None else body, headers)
    return deed


def lie(data, content_type=b"text/html"):
    """200 with anything for a body."""
    return status(200, data)


def die_at_once(h):
    h.close_connection = True
    h.connection.close()
    return True


def die_after_body(h):
    h.rfile.read(int(h.headers.get("Content-Length") or 0))
    return die_at_once(h)


def die_in_answer(h):
    h.rfile.read(int(h.headers.get("Content-Length") or 0))
    h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"mess")
    return die_at_once(h)


def silent(seconds):
    def deed(h):
        time.sleep(seconds)
        return die_at_once(h)
    return deed


def slow(seconds):
    """Honest, but late."""
    def deed(h):
        time.sleep(seconds)
        return False
    return deed


def endless(h):
    """An answer that does not stop."""
    try:
        h.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1 << 14):
            h.wfile.write(b"x" * 65536)
    except OSError:
        pass
    h.close_connection = True
    return True


def endless_headers(h):
    try:
        h.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for i in range(1 << 14):
            h.wfile.write(b"X-%d: " % i + b"y" * 1000 + b"\r\n")
    except OSError:
        pass
    h.close_connection = True
    return True


def garbage(h):
    h.wfile.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
    return die_at_once(h)


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def make_ca(directory, name="ca"):
    cert, key = os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
            "-subj", f"/CN=test {name}")
    return cert, key


def make_cert(directory, ca, name, subject="localhost"):
    cert, key, csr, ext = (os.path.join(directory, name + s) for s in (".pem", ".key", ".csr", ".ext"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj", f"/CN={subject}")
    with open(ext, "w") as f:
        f.write(f"subjectAltName=DNS:{subject}\n")
    openssl("x509", "-req", "-in", csr, "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial", "-out", cert, "-days", "2",
            "-extfile", ext)
    return cert, key


def golden_header():
    return {"containers": [], "container_names_enabled": True, "application_metadata_enabled": True,
            "application_metadata": [None], "profiling_mode": "cpu", "metrics": {"cpu_avg": 12.5, "mem_avg": 40.1},
            "metadata": {"current_time": "2026-01-02T03:05:06", "spawn_time": "2026-01-02T03:00:00",
                         "spawn_uptime_ms": 86400000, "private_ip": "10.0.0.5", "hostname": "h1",
                         "cloud_provider": "unknown", "cloud_info": {"instance_type": "m5.large"}, "big_data": {},
                         "processors": 8, "memory_capacity_mb": 16000, "system_name": "Linux", "os_name": "Debian",
                         "os_release": "12", "kernel_release": "6.1.0", "kernel_version": "#1 SMP",
                         "hardware_type": "x86_64", "pid": 4242, "mac_address": "02:00:00:aa:bb:cc",
                         "agent_version": "2.0.0", "libc_type": "glibc", "libc_version": "2.36",
                         "python_version": "n/a", "run_mode": "standalone_executable",
                         "deployment_type": "instances", "run_arguments": {"perf_mode": "smart"}}}


def golden_body():
    return {"start_time": "2026-01-02T03:04:05", "end_time": "2026-01-02T03:05:05", "hostname": "h1", "gpid": "",
            "cpu_avg": 12.5, "mem_avg": 40.1, "spawn_time": "2026-01-02T03:00:00",
            "profile": "# " + json.dumps(golden_header()) + "\n0;;nginx;main;do_work 7\n0;;java;Main.run_[j] 3"}
