# SPDX-License-Identifier: Apache-2.0
"""The agent watched from outside: --metrics-listen, `gprofiler status`, the service manager, restarts."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import lib
import watch_lib
from watch_lib import wait_for

TOKEN = "t0ps3cret-token-of-nobody"


def process_numbers(pid):
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return {key: int(status[key].split()[0]) * 1024 for key in ("RssAnon", "RssShmem", "VmRSS")}, int(status["Threads"])


def test_metrics_are_what_the_process_is():
    lib.start("split", 120)
    with watch_lib.agent("-d", 1, "-f", 199) as a:
        a.windows(3)
        status, headers, text = a.get("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers
        if shutil.which("promtool"):
            r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
            assert r.returncode == 0, r.stdout + r.stderr
        else:
            lib.note("promtool is not installed: the text is only read by this test")
        # The copy that is served is up to a second old; modules are opened and threads begin meanwhile.
        def as_it_is():
            v = watch_lib.values(a.get("/metrics")[2])
            held = len(os.listdir(f"/proc/{a.process.pid}/fd"))
            memory, threads = process_numbers(a.process.pid)
            return abs(v["gprofiler_agent_descriptors"] - held) <= 40 and v["gprofiler_agent_threads"] == threads and (v, memory)
        first, memory = wait_for("numbers of descriptors and threads that are the process's", as_it_is)
        anonymous = first['gprofiler_agent_memory_bytes{kind="anonymous"}']
        assert 0.5 < anonymous / (memory["RssAnon"] + memory["RssShmem"]) < 2, (anonymous, memory)
        assert 0.5 < first['gprofiler_agent_memory_bytes{kind="resident"}'] / memory["VmRSS"] < 2
        assert first['gprofiler_agent_memory_bytes{kind="peak_anonymous"}'] >= anonymous
        if 'rung="bpf"' in text:
            assert first['gprofiler_agent_memory_bytes{kind="bpf"}'] > 1 << 20
        assert first["gprofiler_agent_pipes"] == 0
        assert first["gprofiler_agent_child_processes"] == 0
        assert first["gprofiler_agent_sampling"] == 1 and first["gprofiler_agent_frequency_hertz"] <= 199
        a.windows(6)
        second = a.values()
        for name, value in first.items():
            if re.match(r"\w+_total\b", name):
                assert second[name] >= value, (name, value, second[name])
        # The ledger's identity, over all windows.
        outcomes = sum(v for n, v in second.items() if n.startswith("gprofiler_agent_samples_total{"))
        assert outcomes == second['gprofiler_agent_ledger_total{count="entries"}'] > 0, second
        assert 0 <= second["gprofiler_agent_coverage_ratio"] <= 1
        assert a.get("/-/healthy")[::2] == (200, "gprofiler is healthy.\n")
        assert a.get("/")[0] == 404 and a.get("/metrics", "POST", b"x" * 100000)[0] == 405
        assert a.get("/metrics", "HEAD")[::2] == (200, "")
        # Whoever scrapes badly harms nobody: half a request, and many connections that say nothing.
        host, port = a.url()[len("http://"):].split(":")
        idle = [socket.create_connection((host, int(port)), timeout=30) for _ in range(30)]
        idle[0].sendall(b"GET /metr")
        windows = second['gprofiler_agent_windows_total{result="named"}']
        for s in idle:
            s.close()
        a.windows(windows + 2)
        a.stop()
        assert "] ERROR: " not in a.log(), a.log()


def test_short_programs_cost_no_look_at_them():
    """Sampled at one Hz hardly any of them is hit: nobody wakes for the others, and nobody reads of them."""
    with watch_lib.agent("-d", 60, "-f", 1) as a:
        wait_for("sampling", lambda: a.values()["gprofiler_agent_sampling"] == 1)
        if 'rung="bpf"' not in a.metrics():
            lib.skip("the sampler of this rung does not tell who was hit")
        timed = lambda: a.values()['gprofiler_agent_wakeups_total{cause="time"}']
        def work():
            before = timed()
            wait_for("a look at what there is by now", lambda: timed() >= before + 4)
            v = a.values()
            return v['gprofiler_agent_wakeups_total{cause="call"}'], v["gprofiler_agent_processes_read_total"]
        called, read = work()
        assert read > 0  # what ran already
        subprocess.run([sys.executable, "-c", "import os\nfor _ in range(1500): os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)"], check=True)
        after = work()
        # What else runs beside the test is sampled now and then, too.
        assert after[0] - called < 500 and after[1] - read < 500, (called, read, after)
        a.stop()


def test_secrets_and_paths_stay_out():
    # Nobody listens on the studio's port, so uploads fail and wait.
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    spool = os.path.join(lib.env.dir, "spool")
    with watch_lib.agent("-d", 1, "-f", 49, "-u", "--token", TOKEN, "--service-name", "svc-name-9", "--server-host",
                         f"http://user:pass9word@127.0.0.1:{closed.getsockname()[1]}", "--spool-dir", spool) as a:
        a.windows(2)
        # Two counters, one after the other.
        wait_for("an upload that fails, counted twice", lambda: (v := a.values())['gprofiler_agent_uploads_total{result="failed"}'] > 0 and
                 v['gprofiler_agent_errors_total{kind="upload"}'] == v['gprofiler_agent_uploads_total{result="failed"}'])
        text, status = a.metrics(), a.status("--json").stdout + a.status().stdout
        v = watch_lib.values(text)
        waiting = [n for n in os.listdir(spool) if n.endswith(".upload")]
        assert v["gprofiler_agent_spool_profiles"] >= 1 and v["gprofiler_agent_spool_bytes"] > 100 and waiting, (v, waiting)
        for secret in (TOKEN, "pass9word", "svc-name-9", lib.env.dir):
            assert secret not in text and secret not in status, secret


def test_an_address_that_cannot_be_had_is_said_and_profiling_goes_on():
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    for address, why in ((f"127.0.0.1:{port}", "another program listens there"), ("nonsense:99999", "not an address and port"),
                         ("192.0.2.1:9203", "no such address")):
        with watch_lib.agent("-d", 1, "-f", 49, listen=address) as a:
            wait_for("the reason", lambda: f"--metrics-listen {address}: " in a.log() and why in a.log())
            wait_for("a window", lambda: "Saved collapsed stacks" in a.log())
            a.stop()


def test_not_asked_for_it_is_not_loaded():
    with watch_lib.agent("-d", 1, "-f", 49, listen=None) as a:
        wait_for("a window", lambda: "Saved collapsed stacks" in a.log())
        maps = open(f"/proc/{a.process.pid}/maps").read()
        assert "microhttpd" not in maps and "gnutls" not in maps
        assert a.status_json()["state"] == "sampling"
        a.stop()


def test_status_tells_how_it_is():
    lib.start("split", 120)
    with watch_lib.agent("-d", 1, "-f", 99) as a:
        none = subprocess.run([lib.GPROFILER, "status"], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-none-{os.getpid()}"))
        assert none.returncode == 3 and none.stderr == "gprofiler status: no agent runs on this machine\n", none
        a.windows(2)
        j = a.status_json()
        v = a.values()
        assert j["pid"] == a.process.pid and j["state"] == "sampling" and j["rung"] in ("bpf", "ring") and j["scope"] == "machine", j
        assert 2 <= j["numbers"]["windows"] <= v['gprofiler_agent_windows_total{result="named"}']
        assert j["ledger"]["entries"] > 0 and j["loop_silent_seconds"] < 60
        r = a.status()
        lib.note(r.stdout)
        for word in ("gprofiler 2.", f"pid {a.process.pid}", "State", "sampling: machine through rung", "Memory", "anonymous", "Governor",
                     "Losses", "Uploads", "Spool", "Heartbeats", "Earlier runs"):
            assert word in r.stdout, word
        # Another user is not answered, and says so.
        if shutil.which("setpriv"):
            shutil.copy(lib.GPROFILER, os.path.join(lib.env.dir, "gprofiler"))
            other = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", os.path.join(lib.env.dir, "gprofiler"),
                                    "status"], capture_output=True, text=True, timeout=60, env=a.environ)
            assert other.returncode == 1 and "another user's" in other.stderr, other
        assert subprocess.run([lib.GPROFILER, "status", "x"], capture_output=True).returncode == 2
        a.stop()
    assert a.status().returncode == 3


def test_a_lock_that_does_not_answer_is_told_from_none():
    """The Python agent binds the same name and does not listen."""
    name = f"gprofiler-test-mute-{os.getpid()}"
    s = socket.socket(socket.AF_UNIX)
    s.bind("\0\0" + name)
    r = subprocess.run([lib.GPROFILER, "status"], capture_output=True, text=True, timeout=60, env=dict(os.environ, GPROFILER_LOCK_NAME=name))
    assert r.returncode == 1 and "does not answer" in r.stderr, r


# An agent in a pod of least privilege: a network namespace of its own, and no way into that of pid 1.
POD = ("unshare", "--net", "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
# A node of its own, whose process 1 has the machine's name, and in it a pod, which has its own.
NODE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
        """unshare --uts sh -c 'hostname gprofiler-x7k2p && exec "$@"' sh "$@"; exit $?""", "sh")
STRANGER = """
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind("\\0\\0" + sys.argv[1])
print("bound", flush=True)
time.sleep(600)
"""


def test_a_pod_says_the_name_of_its_node():
    """A pod's own name is another after each restart; the studio knows hosts by their names, and commands them so."""
    lib.need_root()
    if subprocess.run([*NODE, *POD, "test", "-s", "/etc/hostname"], capture_output=True).returncode:
        lib.skip("no namespaces can be made, or no /etc/hostname")
    for out, prefix, name in (("closed", (*NODE, *POD), open("/etc/hostname", encoding="utf-8").read().split()[0]),
                              ("entered", NODE, socket.gethostname())):
        prof = lib.gprofiler("-d", 1, "--disable-pidns-check", prefix=prefix, out=out)
        assert prof.header["metadata"]["hostname"] == name, (out, prof.header["metadata"]["hostname"])


def test_two_agents_in_two_network_namespaces():
    """Only one runs, whichever was first, and `status` finds it; a container's own process of that name is no agent."""
    lib.need_root()
    if subprocess.run([*POD, "true"], capture_output=True).returncode:
        lib.skip("no network namespace can be made")
    with watch_lib.agent("-d", 1, "-f", 49, "--disable-pidns-check", listen=None, prefix=POD) as a:
        wait_for("a window", lambda: "Saved collapsed stacks" in a.log())
        name = {"GPROFILER_LOCK_NAME": a.environ["GPROFILER_LOCK_NAME"]}
        for n, prefix in enumerate(((), POD)):
            second = lib.gprofiler("-d", 1, "--disable-pidns-check", environ=name, prefix=prefix, out=f"second{n}")
            assert "Is it already running?" in second.stderr_text, (prefix, second.stdout_text, second.stderr_text)
        assert a.status_json()["pid"] == a.process.pid
        a.stop()
    assert a.status().returncode == 3
    # The other way round, and beside somebody who only took the name in namespaces of his own.
    with watch_lib.agent("-d", 1, "-f", 49, listen=None) as a:
        wait_for("a window", lambda: "Saved collapsed stacks" in a.log())
        name = {"GPROFILER_LOCK_NAME": a.environ["GPROFILER_LOCK_NAME"]}
        second = lib.gprofiler("-d", 1, "--disable-pidns-check", environ=name, prefix=POD, out="third")
        assert "Is it already running?" in second.stderr_text, (second.stdout_text, second.stderr_text)
        a.stop()
    stranger = lib.env.start("unshare", "--net", "--pid", "--fork", "--kill-child", "python3", "-c", STRANGER, name["GPROFILER_LOCK_NAME"],
                             stdout=subprocess.PIPE, text=True)
    assert stranger.stdout.readline() == "bound\n"
    lib.gprofiler("-d", 1, "-f", 49, environ=name, out="fourth")
    assert os.path.exists(os.path.join(lib.env.dir, "fourth", "last_profile.col"))


def test_the_service_manager_is_told():
    for abstract in (False, True):
        m = watch_lib.Manager(abstract)
        with watch_lib.agent("-d", 1, "-f", 49, listen=None, environ={"NOTIFY_SOCKET": m.name, "WATCHDOG_USEC": "2000000"}) as a:
            m.wait("READY=1")
            m.wait("STATUS=Sampling the machine at 49 Hz through ")
            wait_for("four watchdog messages", lambda: m.read().count("WATCHDOG=1") >= 4)
            assert "STOPPING=1" not in m.lines
            a.process.send_signal(signal.SIGHUP)
            m.wait("RELOADING=1")
            assert any(re.fullmatch(r"MONOTONIC_USEC=\d+", l) for l in m.lines), m.lines
            wait_for("READY after it", lambda: m.read().count("READY=1") == 2)
            a.stop()
        m.wait("STOPPING=1")
        m.close()
    # The watchdog of another process is none of ours.
    m = watch_lib.Manager(True)
    with watch_lib.agent("-d", 1, "-f", 49, listen=None, environ={"NOTIFY_SOCKET": m.name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}) as a:
        m.wait("READY=1")
        wait_for("a window", lambda: "Saved collapsed stacks" in a.log())
        assert "WATCHDOG=1" not in m.read()
        a.stop()


def ended(a):
    return {n.split('"')[1]: int(v) for n, v in a.values().items() if n.startswith("gprofiler_agent_runs_ended_total{") and v}


def test_how_runs_ended_is_counted():
    state = {"GPROFILER_STATE_DIR": os.path.join(lib.env.dir, "state")}
    record = os.path.join(lib.env.dir, "state", "last_run")
    expected = {}
    for how in ("clean", "killed", "crash", "reboot", "oom", None):
        with watch_lib.agent("-d", 1, "-f", 49, environ=state) as a:
            wait_for("sampling", lambda: a.values()["gprofiler_agent_sampling"] == 1)
            assert ended(a) == expected, (how, ended(a), expected)
            assert "state running" in open(record).read()
            if how == "clean" or not how:
                a.stop()
                assert "state clean" in open(record).read()
            elif how == "crash":
                a.process.send_signal(signal.SIGSEGV)
                a.process.communicate(timeout=60)
                assert a.process.returncode == -signal.SIGSEGV and "state crash    11" in open(record).read()
            else:
                a.process.kill()
                a.process.communicate(timeout=60)
        text = open(record).read()
        if how == "reboot":  # the record of a machine that went down
            boot = re.search(r"^boot (\S+)", text, re.M).group(1)
            text = text.replace(boot, "0" * len(boot))
        if how == "oom":  # the kernel's count has grown since
            kills = int(re.search(r"^oom_kill (\d+)", open("/proc/vmstat").read(), re.M).group(1))
            if not kills:
                lib.note("this machine has never killed for memory: that case is left to the unit test")
                how = "killed"
            else:
                text = re.sub(r"^oom_kills \d+", "oom_kills " + "%020d" % (kills - 1), text, flags=re.M)
        with open(record, "w") as f:
            f.write(text)
        if how:
            expected[how] = expected.get(how, 0) + 1
    assert sum(expected.values()) == 5, expected
    # What is no record is replaced, and counted as nothing.
    with open(record, "wb") as f:
        f.write(os.urandom(300))
    with watch_lib.agent("-d", 1, "-f", 49, environ=state) as a:
        wait_for("sampling", lambda: a.values()["gprofiler_agent_sampling"] == 1)
        assert ended(a) == {}
        a.stop()


def test_a_bare_option_listens_where_the_issue_says():
    """9203 may be taken on a machine that runs tests side by side: then that is what is said."""
    name = f"gprofiler-test-bare-{os.getpid()}"
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, "--no-flamegraph", "--metrics-listen", environ={"GPROFILER_LOCK_NAME": name})
    path = os.path.join(p.out, "log")
    log = lambda: open(path).read() if os.path.exists(path) else ""
    wait_for("an answer", lambda: "http://127.0.0.1:9203/metrics" in log() or "--metrics-listen 127.0.0.1:9203: another program" in log())
    p.terminate()
    p.communicate(timeout=60)


if __name__ == "__main__":
    lib.main(globals())
