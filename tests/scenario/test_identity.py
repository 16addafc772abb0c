# SPDX-License-Identifier: Apache-2.0
"""Who the sampled processes are: application ids, application metadata, names of containers. Real
interpreters, a Docker socket of the test's own, and a monitor as Podman starts one."""
import contextlib
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import time

import lib
from test_guards import cgroup, start_in, V2

ID = "c3" * 32
SPIN = "import time\nend = time.time() + %d\nwhile time.time() < end: pass\n"


def write(name, text, mode=0o644):
    path = os.path.join(lib.env.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def python_as(name):
    """The interpreter under another name: comm and argv[0] are the link's."""
    link = os.path.join(lib.env.dir, name)
    if not os.path.islink(link):
        os.symlink(os.path.realpath(sys.executable), link)
    return link


def appids(prof):
    """{comm: frames that stand first and are application ids}."""
    found = {}
    for s in prof.stacks:
        assert not any(frame.startswith("appid: ") for frame in s.frames), s
        if s.appid:
            found.setdefault(s.comm, set()).add(s.appid)
    return found


def index_of(prof, comm):
    """The index column of a process's lines."""
    lines = [l for l in prof.text.split("\n")[1:] if l.split(";")[2:3] == [comm]]
    return {int(l.split(";", 1)[0]) for l in lines}


def metadata_of(prof, comm):
    found = index_of(prof, comm)
    assert len(found) == 1, (comm, found)
    return prof.header["application_metadata"][found.pop()]


def until_seen(*comms, args=(), **kw):
    """A profile in which each of these processes has samples enough."""
    return lib.gprofiler_until(lambda p: all(p.total(p.of(c)) > 5 for c in comms), "-f", 99, *args, seconds=2, **kw)


def test_python_and_its_servers():
    app = write("app/lister.py", SPIN % 300)
    lib.env.start(python_as("python3.77"), "lister.py", cwd=os.path.dirname(app))
    write("gunicorn", SPIN % 300)
    lib.env.start(python_as("python2.77"), os.path.join(lib.env.dir, "gunicorn"), "-b", ":80", "my.wsgi:app",
                  cwd=lib.env.dir)
    prof = until_seen("python3.77", "python2.77")
    found = appids(prof)
    assert found["python3.77"] == {f"appid: python: lister.py ({os.path.realpath(app)})"}, found
    assert found["python2.77"] == {f"appid: gunicorn: my.wsgi:app ({os.path.realpath(lib.env.dir)}/my/wsgi.py)"}, found
    # Every line of the process carries it.
    assert all(s.appid for s in prof.of("python3.77"))
    meta = metadata_of(prof, "python3.77")
    version = subprocess.run([sys.executable, "-V"], capture_output=True, text=True).stdout.strip()
    assert list(meta) == ["python_version", "exe_elfid", "libpython_elfid", "sys_maxunicode", "exe", "execfn", "arch"]
    assert meta["python_version"] == version, meta
    assert re.fullmatch(r"(buildid|sha1):[0-9a-f]{40}", meta["exe_elfid"]), meta
    assert meta["exe"] == os.path.realpath(sys.executable) and meta["execfn"] == os.path.join(lib.env.dir, "python3.77")
    assert meta["arch"] == os.uname().machine and meta["sys_maxunicode"] is None
    assert prof.header["application_metadata"][0] is None
    assert prof.header["application_metadata_enabled"] is True
    # Equal metadata is one entry.
    listed = [json.dumps(m, sort_keys=True) for m in prof.header["application_metadata"]]
    assert len(listed) == len(set(listed))


def test_node():
    node = shutil.which("node")
    if not node:
        lib.skip("no node here")
    script = write("fibonacci.js", "const t = Date.now(); while (Date.now() - t < 300000);\n")
    target = lib.env.start(node, "--require=fs", "-r", "os", script)
    prof = until_seen("node", args=("-p", target.pid))
    assert appids(prof)["node"] == {f"appid: nodejs: {script} ({os.path.realpath(script)})"}, appids(prof)
    meta = metadata_of(prof, "node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    assert meta["node_version"] == version and meta["link"] == "dynamic" and meta["libc"] == "glibc", meta


def test_java():
    java = shutil.which("java")
    if not java:
        lib.skip("no java here")
    source = write("Fibonacci.java", """
public class Fibonacci {
    public static void main(String[] a) {
        long end = System.currentTimeMillis() + 300000;
        while (System.currentTimeMillis() < end) Math.sqrt(end);
    }
}
""")
    first = lib.env.start(java, "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Dmy.role=web", source)
    lib.wait_for_cpu(first, 1)
    prof = until_seen("java", args=("-p", first.pid, "--app-id-args-filter", r"^-Dmy\.role="))
    assert appids(prof)["java"] == {f"appid: java: {source} (-Dmy.role=web)"}, appids(prof)
    meta = metadata_of(prof, "java")
    assert meta["libjvm_elfid"].startswith("buildid:"), meta
    assert {"name": "UseSerialGC", "type": "bool", "value": "true", "origin": "command line", "kind": []} \
        in meta["jvm_flags"], meta
    # What was said elsewhere than on the command line, too: just as the JVM itself understands it.
    arguments = write("arguments", "-XX:NewRatio=3 # old\n-Xss512k '-Dmy.text=a b'\n")
    environ = dict(os.environ, JAVA_TOOL_OPTIONS="-XX:MaxMetaspaceSize=128m -XX:-UsePerfData", _JAVA_OPTIONS="-XX:NewRatio=4",
                   JDK_JAVA_OPTIONS=f"-XX:ReservedCodeCacheSize=64m @{arguments}")
    told = ("-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:MinHeapFreeRatio=33", "-XX:ErrorFile=/nowhere/x", "-XX:SurvivorRatio=7")
    own = subprocess.run([java, *told, "-XX:+PrintFlagsFinal", "-version"], capture_output=True, text=True, env=environ).stdout
    lines = re.findall(r"^ *(\S+) +(\w+) += (\S*) +\{([^}]*)\} \{(command line|environment)\}$", own, re.M)
    expected = [(name, value, origin) for kind, name, value, which, origin in sorted(lines, key=lambda l: l[1])
                if not kind.startswith("ccstr") and which != "manageable" and name != "PrintFlagsFinal"]
    third = lib.env.start(java, *told, source, "-XX:+NotForTheJvm", env=environ, stderr=subprocess.DEVNULL)
    lib.wait_for_cpu(third, 1)
    prof = until_seen("java", args=("-p", third.pid), out="third")
    flags = metadata_of(prof, "java")["jvm_flags"]
    assert [(f["name"], f["value"], f["origin"]) for f in flags] == expected and len(expected) >= 9, (flags, expected)
    # With what a JVM publishes the lines are those of `java -version`, and the command is the JVM's own.
    second = lib.env.start(java, "-cp", os.path.dirname(source), source)
    lib.wait_for_cpu(second, 1)
    prof = until_seen("java", args=("-p", second.pid), out="second")
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr.strip()
    assert metadata_of(prof, "java")["java_version"].split(", mixed")[0] == said.split(", mixed")[0], meta
    assert list(appids(prof)["java"])[0].startswith("appid: java: jdk.compiler/com.sun.tools.javac"), appids(prof)


def test_go():
    path = lib.workload("spin_go")
    link = os.path.join(lib.env.dir, "spin_go")
    shutil.copy(path, link)
    lib.env.start(link, "200")
    prof = until_seen("spin_go")
    meta = metadata_of(prof, "spin_go")
    assert meta["golang_version"].startswith("go1."), meta
    assert meta["link"] in ("static", "dynamic") and meta["stripped"] in (True, False), meta


def test_who_died_in_mid_window_is_known():
    script = write("short.py", SPIN % 1000)
    p = lib.start_gprofiler("-d", 300, "-f", 99)
    lib.started(p)
    short = lib.env.start(python_as("python3.77"), script)
    lib.wait_for_cpu(short, 1)
    short.kill()
    short.wait()
    prof = lib.finish(p)
    assert appids(prof)["python3.77"] == {f"appid: python: {script} ({os.path.realpath(script)})"}, appids(prof)
    assert metadata_of(prof, "python3.77")["python_version"].startswith("Python 3."), prof.header


def test_what_is_switched_off_is_not_there():
    lib.env.start(python_as("python3.77"), write("app.py", SPIN % 300))
    prof = until_seen("python3.77", args=("--disable-application-identifiers",))
    assert prof.of("python3.77") and not appids(prof)
    p = lib.start_gprofiler("-d", 4, "-f", 99, "--disable-application-metadata", out="none")
    assert p.wait(60) == 0
    text = open(os.path.join(p.out, "last_profile.col"), encoding="utf-8").read().split("\n")
    header = json.loads(text[0][2:])
    assert header["application_metadata_enabled"] is False and header["application_metadata"] == [None]
    mine = [l for l in text if ";python3.77;" in l or l.startswith("python3.77;")]
    assert mine and all(l.startswith(";python3.77;appid: python: ") for l in mine), mine[:3]
    bad = lib.start_gprofiler("-d", 1, "--app-id-args-filter", "(", out="bad")
    assert bad.wait(60) == 1
    assert "not a regular expression" in bad.stdout.read()


class Docker(socketserver.BaseRequestHandler):
    """GET /containers/json and /containers/ID/json as the Engine answers them."""

    def handle(self):
        data = b""
        while b"\r\n\r\n" not in data:
            got = self.request.recv(4096)
            if not got:
                return
            data += got
        path = data.split(b" ")[1].decode()
        self.server.asked.append(path)
        listed = self.server.names
        if path == "/containers/json":
            body = [{"Id": i, "Names": ["/" + n], "Image": "x", "State": "running", "Labels": {}}
                    for i, n in listed.items()]
        elif path.startswith("/containers/") and path.split("/")[2] in listed:
            body = {"Id": path.split("/")[2], "Name": "/" + listed[path.split("/")[2]], "Config": {"Labels": {}}}
        else:
            body = {"message": "No such container"}
        status = "404 Not Found" if "message" in body else "200 OK"
        text = json.dumps(body).encode()
        # The Engine streams longer lists in chunks.
        self.request.sendall(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(text), 100):
            part = text[at:at + 100]
            self.request.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.request.sendall(b"0\r\n\r\n")
        self.server.answered.append(path)


@contextlib.contextmanager
def docker(names):
    path = "/run/docker.sock"
    if os.path.lexists(path):
        lib.skip("a Docker is here")
    with contextlib.suppress(PermissionError):
        if os.stat("/proc/1/root/run").st_ino != os.stat("/run").st_ino:
            lib.skip("/run is not the host's")
    server = socketserver.ThreadingUnixStreamServer(path, Docker)
    server.daemon_threads = True
    server.names, server.asked, server.answered = names, [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        os.unlink(path)


def test_containers_of_docker():
    """The name is in the line, in the header, and stays when the container died; and can be left out."""
    lib.need_root()
    with cgroup(V2, f"gp-id-docker/{ID}") as group, docker({ID: "web-1", "d4" * 32: "other"}) as server:
        busy = start_in(group, "split", 200)
        p = lib.start_gprofiler("-d", 300, "-f", 99)
        lib.started(p)
        lib.wait_for_cpu(busy, 0.5)
        # The list of containers is in the agent's socket, if it has not read it yet.
        lib.wait_for("a list of containers", lambda: "/containers/json" in server.answered)
        busy.kill()
        busy.wait()
        server.names.clear()
        prof = lib.finish(p)
        assert {s.container for s in prof.of("workload_split")} == {"web-1"}
        assert prof.header["containers"] == ["web-1"] and prof.header["container_names_enabled"] is True
        assert server.asked[0] == "/containers/json", server.asked
        start_in(group, "split", 200)
        off = until_seen(lib.comm("split"), args=("--disable-container-names",), out="off")
        assert {s.container for s in off.of("workload_split")} == {""}
        assert off.header["containers"] == [] and off.header["container_names_enabled"] is False


def test_a_docker_that_hangs_costs_a_name():
    """It accepts and says nothing: the profile is there in time, with the id in the name's place."""
    lib.need_root()
    with cgroup(V2, f"gp-id-hang/{ID}") as group, docker({}) as server:
        server.RequestHandlerClass = type("Hang", (socketserver.BaseRequestHandler,), {
            "handle": lambda self: (self.server.asked.append("hung"), time.sleep(8))})
        start_in(group, "split", 200)
        prof = until_seen(lib.comm("split"))
        assert server.asked
        assert {s.container for s in prof.of("workload_split")} == {ID[:12]}


def test_a_container_of_podman():
    """No socket, no file: the monitor above the container says its name."""
    lib.need_root()
    with cgroup(V2, f"gp-id-libpod/libpod-{ID}.scope") as group:
        inside = write("inside.py", SPIN % 300)
        script = write("monitor.py", "import subprocess, sys\n"
                       "def enter(): open(%r, 'w').write('0')\n"
                       "subprocess.Popen(sys.argv[-2:], preexec_fn=enter).wait()\n"
                       % os.path.join(group, "cgroup.procs"))
        monitor = lib.env.start(python_as("conmon"), script, "--api-version", "1", "-c", ID, "-n", "brave_web",
                                python_as("inside"), inside)
        lib.wait_for("the container's program", lambda: lib.descendants(monitor.pid), 60)
        prof = until_seen("inside")
        assert {s.container for s in prof.of("inside")} == {"brave_web"}
        assert "brave_web" in prof.header["containers"]
        assert monitor.poll() is None


if __name__ == "__main__":
    lib.main(globals())
