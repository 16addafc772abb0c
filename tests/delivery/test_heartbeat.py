# SPDX-License-Identifier: Apache-2.0
"""Control from afar: the real agent told by a studio of the test's own to start and stop profiles."""
import json
import os
import signal
import subprocess
import time
import urllib.request
import uuid

import lib
import studio_server as S

SERVICE = "test-service"


wait_for, log = lib.wait_for, lib.log


def start(studio, *args, **kw):
    lib.need_root()
    return lib.start_gprofiler(
        "-u", "--token", studio.token, "--service-name", SERVICE, "--server-host", studio.url, "--api-server", studio.url,
        "--dont-send-logs", "--enable-heartbeat-server", "--heartbeat-interval", 1, "--spool-dir",
        os.path.join(lib.env.dir, "spool"), "--state-dir", os.path.join(lib.env.dir, "state"), "--no-flamegraph", *args, **kw)


def end(p, sig=signal.SIGTERM):
    begin = time.monotonic()
    lib.send(p, sig)
    out, err = p.communicate(timeout=60)
    took = time.monotonic() - begin
    if sig == signal.SIGTERM:
        assert p.returncode == 0, (p.returncode, out[-2000:], err[-2000:], log(p)[-3000:])
    return took


def beats(studio, n=1):
    """n more heartbeats than there were."""
    before = len(studio.heartbeats)
    wait_for(f"{n} heartbeats", lambda: len(studio.heartbeats) >= before + n)
    return studio.heartbeats[-1][2]


def completed(studio, command, seconds=60):
    wait_for("the completion", lambda: studio.completion(command), seconds)
    return studio.completion(command)


def latency(studio, command, u):
    """Seconds from handing out a command to its first sample, at most: its upload is later than its last one."""
    return u.time - studio.handed[command] - u.header["duration_ns"] / 1e9


def config(u):
    return u.header["metadata"]["run_arguments"]


def bpf_and_anon(pid):
    """What the agent takes: descriptors of BPF, kB of anonymous memory."""
    bpf = [t for t in lib.links(pid) if "bpf" in t or "perf_event" in t]
    anon = sum(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith(("RssAnon", "RssShmem")))
    return bpf, anon


def resident(pid):
    return next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS"))


def test_the_studio_itself_holds_its_rules():
    """The mutations of gprofiler-studio.md 8.4 that are about heartbeats."""
    good = {"ip_address": "10.0.0.1", "hostname": "h", "service_name": "s", "received_command_ids": [str(uuid.uuid4())]}
    S.check_heartbeat_shape(good)
    assert S.heartbeat_nonsense(good) is None
    for bad in ({"ip_address": "10.0.0"}, {"received_command_ids": ["x"]}, {"last_command_id": "1"}, {"status": "fine"},
                {"timestamp": "2031-01-02T03:04:05"}):
        assert S.heartbeat_nonsense(dict(good, **bad)), bad
    for bad in ({"hostname": None}, {"containers": [{"container_name": None}]}, {"received_command_ids": None},
                {"containers": [{"container_name": "a", "processes": [{"pid": "1", "process_name": "x"}]}]}):
        try:
            S.check_heartbeat_shape(dict(good, **bad))
        except S.Refused:
            continue
        raise AssertionError(bad)


def test_idle_until_told_and_idle_after_stop():
    """S1, S5, S9, S13, AT-A6, AT-A9: nothing is touched before the first command; start, windows, stop; memory comes back."""
    studio = S.Studio()
    p = start(studio, "-f", 49)
    body = beats(studio, 3)
    bpf, idle = bpf_and_anon(p.pid)
    assert not bpf, bpf
    assert "Sampling" not in log(p) and not studio.uploads
    assert set(body) == lib.documented("Heartbeat", "body")
    assert all(set(c) == lib.documented("Heartbeat", "container") for c in body["containers"])
    assert body["hostname"] == os.uname().nodename and body["service_name"] == SERVICE and body["status"] == "active"
    assert body["last_command_id"] is None and body["received_command_ids"] == [] == body["executed_command_ids"]
    assert body["perf_supported_events"] == sorted(body["perf_supported_events"]) and body["namespace"] is None
    headers = studio.heartbeats[-1][1]
    assert headers["Authorization"] == f"Bearer {studio.token}" and "json" in headers["Content-Type"]
    assert not studio.refused, studio.refused
    command = studio.order(continuous=True, duration=2, frequency=99, profiling_mode="cpu")
    told = completed(studio, command)
    assert set(told) == lib.documented("Completion", "body")
    assert told["status"] == "completed" and told["error_message"] is None and told["results_path"] is None
    wait_for("two windows", lambda: len(studio.uploads) >= 2)
    u = studio.uploads[0]
    assert u.header["metadata"]["continuous"] is True and u.header["sampling_frequency"] == 99
    assert config(u)["profiling_frequency"] == "99" and config(u)["profiling_duration"] == "2", config(u)
    span = S.naive_time(u.body["end_time"]) - S.naive_time(u.body["start_time"])
    assert 1 <= span.total_seconds() <= 3, span
    body = beats(studio)
    assert body["last_command_id"] == command and body["received_command_ids"] == [command]
    assert bpf_and_anon(p.pid)[0]
    stop = studio.order("stop", stop_level="host")
    assert completed(studio, stop)["status"] == "completed"
    assert not bpf_and_anon(p.pid)[0]
    n = wait_for("the last window", lambda: len(studio.uploads))
    wait_for("the memory", lambda: bpf_and_anon(p.pid)[1] <= idle + 1024, 10)
    lib.note(f"{idle} kB anonymous idle, {bpf_and_anon(p.pid)[1]} kB after the stop; {resident(p.pid)} kB resident")
    beats(studio)
    assert len(studio.uploads) <= n + 1
    assert studio.heartbeats[-1][2]["executed_command_ids"] == [command, stop]
    # The stop is handed out again and again, and answered once.
    assert len(studio.completions) == 2, studio.completions
    end(p)
    assert "ERROR" not in log(p) and studio.token not in log(p), log(p)[-3000:]
    studio.close()


def test_an_ad_hoc_profile_beside_a_continuous_one():
    """TC1, TC2, AT-A7, AT-A8: side by side from one sampler; each has its own rate, processes and length."""
    studio = S.Studio()
    w = lib.start("split", 600)
    lib.start("split", 600)
    p = start(studio)
    first = studio.order(continuous=True, duration=1, frequency=20)
    completed(studio, first)
    n = len(studio.uploads)
    once = studio.order(continuous=False, duration=3, frequency=200, pids=[w.pid])
    told = completed(studio, once)
    assert told["status"] == "completed" and told["error_message"] is None and 2 <= told["execution_time"] <= 7, told
    wait_for("the ad-hoc upload", lambda: [u for u in studio.uploads if not u.header["metadata"]["continuous"]])
    adhoc = [u for u in studio.uploads if not u.header["metadata"]["continuous"]]
    assert len(adhoc) == 1 and adhoc[0].header["sampling_frequency"] == 200
    lib.note(f"at most {latency(studio, once, adhoc[0]):.2f} s from the heartbeat to the first sample")
    comms = {parts[2] for parts, _ in adhoc[0].stacks}
    assert comms <= {"w_split", "workload_split", "split"}, comms
    wait_for("two windows after it", lambda: len(studio.uploads) >= n + 4)
    stop = studio.order("stop", stop_level="host")
    completed(studio, stop)
    windows = [u for u in studio.uploads if u.header["metadata"]["continuous"]]
    for u in windows:
        assert u.header["sampling_frequency"] == 20 and config(u)["profiling_frequency"] == "20"
    ledgers = [u.header["ledger"] for u in windows]
    assert any(l["left_out"] for l in ledgers), "no window ran beside the ad-hoc profile"
    for u in windows:
        l = u.header["ledger"]
        taken = l["entries"] - l["idle"] - l["filtered"] - l["lost_ring"] - l["aggregation_full"] - l["left_out"]
        assert u.samples == taken, (u.samples, l)
    # Thinned to its own rate: at most that many on each CPU, whatever the sampler did meanwhile.
    cpus = os.cpu_count()
    for u in windows:
        limit = u.header["duration_ns"] / 1e9 * 20 * cpus
        assert u.samples <= limit * 1.15 + 5, (u.samples, limit)
    end(p)
    assert "ERROR" not in log(p), log(p)[-3000:]
    studio.close()


def test_profilers_that_overlap_in_part():
    """TC4, S10: a start that waits for a host's first heartbeat; native stacks for both, Python for one: nothing is
    paused, each has what it asked for."""
    studio = S.Studio()
    lib.start("split", 600)
    first = studio.order(continuous=True, duration=1, frequency=20,
                         profiler_configs={"perf": "enabled_restricted", "pyperf": "disabled", "pyspy": "disabled"})
    # However many processes there are: the guard rail of "enabled_restricted" is another test's.
    p = start(studio, "--heartbeat-perf-restricted-max-processes", 100000)
    completed(studio, first)
    once = studio.order(continuous=False, duration=2, frequency=20,
                        profiler_configs={"perf": "enabled_aggressive", "pyperf": "enabled", "pyspy": "disabled"})
    wait_for("it began", lambda: f"Command {once} began" in log(p))
    n = len(studio.uploads)
    assert completed(studio, once)["status"] == "completed"
    wait_for("windows beside and after it", lambda: len(studio.uploads) >= n + 4)
    adhoc = [u for u in studio.uploads if not u.header["metadata"]["continuous"]]
    windows = [u for u in studio.uploads if u.header["metadata"]["continuous"]]
    assert len(adhoc) == 1 and config(adhoc[0])["python_mode"] == "pyperf", config(adhoc[0])
    assert all(config(u)["python_mode"] == "disabled" for u in windows)
    assert windows[0].samples and adhoc[0].samples
    # Python's walker was not there when it began, and is not needed after it: twice another sampler, and no gap. Slices
    # of a window add up to its length, to the microsecond.
    lengths = [u.header["duration_ns"] for u in windows]
    lib.note(f"{log(p).count('Sampling')} samplers, windows of {[round(n / 1e9, 6) for n in lengths]} s")
    assert log(p).count("Sampling") >= 2 and "No second sampler" not in log(p), log(p)[-3000:]
    assert abs(sum(lengths) / 1e9 - len(lengths)) < 0.001, lengths
    assert studio.completion(first)["status"] == "completed" and len(studio.completions) == 2
    assert "ERROR" not in log(p), log(p)[-3000:]
    end(p)
    studio.close()


def post(studio, path, **body):
    request = urllib.request.Request(f"{studio.url}/api/metrics/{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_start_of_a_service():
    """S6: a start of a service is one command for each of its hosts. This host does its own, and says so once, though
    the server answers 500 as long as others have not done theirs; another service's is not for it; who comes later is
    told with its first heartbeat."""
    studio = S.Studio()
    p = start(studio)
    beats(studio)
    for host, service in (("other-host", SERVICE), ("third-host", "another-service")):
        post(studio, "heartbeat", ip_address="10.0.0.2", hostname=host, service_name=service)
    foreign = studio.order_service("another-service", duration=1, frequency=20)
    assert set(foreign) == {"third-host"}
    assert beats(studio, 2)["received_command_ids"] == []
    ids = studio.order_service(SERVICE, duration=1, frequency=49, target_entities=[{"serviceName": SERVICE}])
    own = os.uname().nodename
    assert set(ids) == {own, "other-host"} and len(set(ids.values())) == 2
    told = completed(studio, ids[own])
    assert told["status"] == "completed" and told["hostname"] == own, told
    assert any(e.status == 500 for e in studio.refused), studio.refused
    wait_for("windows go on", lambda: len(studio.uploads) >= 3)
    assert all(u.headers["GPROFILER-SERVICE-NAME"] == SERVICE for u in studio.uploads)
    assert config(studio.uploads[0])["profiling_frequency"] == "49"
    # The other host's is not this one's to answer, and ours is not sent again.
    answer = post(studio, "heartbeat", ip_address="10.0.0.2", hostname="other-host", service_name=SERVICE)
    assert answer["command_id"] == ids["other-host"]
    answer = post(studio, "heartbeat", ip_address="10.0.0.3", hostname="late-host", service_name=SERVICE)
    assert answer["profiling_command"]["combined_config"]["target_scope"] == "service"
    assert beats(studio, 2)["executed_command_ids"] == [ids[own]] and len(studio.completions) == 1
    end(p)
    studio.close()


def test_what_fails_to_begin_ends_nothing():
    """A newer continuous command that cannot be, or asks for what the machine lacks, fails, and so does an ad-hoc one:
    the one that runs has no gap, and goes on after a restart."""
    studio = S.Studio()
    p = start(studio)
    lacks = {"perf": {"mode": "enabled_restricted", "events": ["stalled-cycles-frontend", "stalled-cycles-backend"]}}
    bad = [dict(continuous=True, duration="long"), dict(continuous=False, duration=1, frequency=0)]
    if "stalled-cycles-backend" not in beats(studio)["perf_supported_events"]:
        bad += [dict(continuous=False, duration=1, profiler_configs=lacks),
                dict(continuous=True, duration=1, profiler_configs=lacks)]
    command = studio.order(continuous=True, duration=1, frequency=49)
    completed(studio, command)
    for config in bad:
        told = completed(studio, studio.order(**config))
        assert told["status"] == "failed" and told["error_message"], (config, told)
    n = len(studio.uploads)
    wait_for("windows go on", lambda: len(studio.uploads) >= n + 2)
    lengths = [u.header["duration_ns"] / 1e9 for u in studio.uploads]
    assert abs(sum(lengths) - len(lengths)) < 0.001 and log(p).count("Sampling") == 1, (lengths, log(p)[-3000:])
    assert "ERROR" not in log(p), log(p)[-3000:]
    end(p, signal.SIGKILL)
    n = len(studio.uploads)
    p = start(studio, out="out2")
    wait_for("windows after a restart", lambda: len(studio.uploads) > n)
    assert f"{command} is in force" in log(p), log(p)[-3000:]
    end(p)
    studio.close()


def test_a_state_that_cannot_be_kept():
    """Commands are carried out all the same, it is said once, and kept as soon as that is possible again. An id that no
    studio made costs its lists' place where the server cannot hold it, and not the host's."""
    studio = S.Studio()
    path = os.path.join(lib.env.dir, "state", "commands.json")
    os.makedirs(path)
    p = start(studio)
    beats(studio)
    once = studio.order(continuous=False, duration=1, frequency=49)
    assert completed(studio, once)["status"] == "completed"
    stop = studio.order("stop")
    completed(studio, stop)
    beats(studio, 2)
    assert log(p).count("cannot be kept") == 1, log(p)[-3000:]
    os.rmdir(path)
    wait_for("the state", lambda: os.path.isfile(path))
    end(p, signal.SIGKILL)
    state = json.load(open(path))
    assert state["version"] == 1 and len(state["commands"]) == 2
    state["commands"].insert(0, {"id": "of-another-server", "kind": 1, "executed": True})
    with open(path, "w") as f:
        json.dump(state, f)
    p = start(studio, out="out2")
    body = wait_for("a heartbeat that the server can read",
                    lambda: [b for _, _, b in studio.heartbeats if b["executed_command_ids"] == [once, stop]])[-1]
    assert body["received_command_ids"] == [once, stop] and body["last_command_id"] == stop
    wait_for("it was said", lambda: "failed to check" in log(p))
    beats(studio, 2)
    assert studio.heartbeats[-1][2]["received_command_ids"] == [once, stop]
    assert log(p).count("failed to check") == 1 and len(studio.completions) == 2
    # A proxy that takes no more than this: what is large is left out.
    studio.limit = 10
    wait_for("it was said", lambda: "left out from now on" in log(p))
    studio.limit = 4 << 20
    wait_for("without containers", lambda: studio.heartbeats[-1][2]["containers"] == [])
    end(p)
    studio.close()


def test_replacement_and_the_queue():
    """TC3, TC5: a newer continuous command replaces the running one; ad-hoc profiles go one after the other."""
    studio = S.Studio()
    p = start(studio)
    a = studio.order(continuous=True, duration=1, frequency=20)
    completed(studio, a)
    b = studio.order(continuous=True, duration=1, frequency=40)
    completed(studio, b)
    wait_for("a window of the new one", lambda: studio.uploads and studio.uploads[-1].header["sampling_frequency"] == 40)
    once = []
    for _ in range(3):
        once.append(studio.order(continuous=False, duration=1, frequency=40))
        wait_for("it is received", lambda: once[-1] in studio.heartbeats[-1][2]["received_command_ids"])
    for c in once:
        assert completed(studio, c)["status"] == "completed"
    order = [b["command_id"] for b, _ in studio.completions]
    assert order == [a, b] + once, order

    def adhoc():
        return len([u for u in studio.uploads if not u.header["metadata"]["continuous"]])
    # A profile may be on its way when the word of its end is there.
    wait_for("three ad-hoc profiles", lambda: adhoc() >= 3)
    assert adhoc() == 3
    # A stop interrupts: the one that runs is given out, the ones that wait are not.
    long = studio.order(continuous=False, duration=600, frequency=40)
    wait_for("it began", lambda: f"Command {long} began" in log(p))
    waits = studio.order(continuous=False, duration=600, frequency=40)
    wait_for("it is received", lambda: waits in studio.heartbeats[-1][2]["received_command_ids"])
    stop = studio.order("stop")
    assert completed(studio, stop)["status"] == "completed"
    told = completed(studio, long)
    assert told["status"] == "completed" and told["execution_time"] < 600
    assert completed(studio, waits)["status"] == "failed" and "before it began" in completed(studio, waits)["error_message"]
    wait_for("what was sampled of the one that ran", lambda: adhoc() >= 4)
    assert adhoc() == 4
    # A second stop is as good as the first.
    again = studio.order("stop", stop_level="host")
    assert completed(studio, again)["status"] == "completed"
    assert all(accepted for _, accepted in studio.completions)
    end(p)
    studio.close()


def test_commands_that_fail_say_why():
    studio = S.Studio()
    gone = subprocess.Popen(["true"])
    gone.wait()
    p = start(studio)
    beats(studio)
    for bad, why in [
            ({"profiling_mode": "allocation"}, "allocation"), ({"duration": "long"}, "duration"), ({"frequency": 0}, "frequency"),
            ({"pids": [gone.pid]}, "alive"), ({"pids": ["x"]}, "pids"), ({"pids": [-1]}, "pids"),
            ({"target_hostnames": ["another"]}, "target_hostnames"),
            ({"profiler_configs": {"perf": {"mode": "enabled_restricted", "events": ["nonsense"]}}}, "nonsense"),
            ({"profiler_configs": {"async_profiler": {"enabled": True, "time": "sometimes"}}}, "sometimes"),
            ({"profiler_configs": {"perf": "disabled", "pyperf": "disabled", "pyspy": "disabled"}}, "disabled")]:
        command = studio.order(**dict({"continuous": False, "duration": 1, "frequency": 11}, **bad))
        told = completed(studio, command)
        assert told["status"] == "failed" and why in told["error_message"], (bad, told)
    command = studio.order("dance")
    assert "Unknown command type: dance" in completed(studio, command)["error_message"]
    # Nothing of that was tried, and the agent is as good as before.
    assert "Sampling" not in log(p)
    command = studio.order(continuous=False, duration=1, frequency=99, max_processes=10, enable_perfspect=True,
                           target_hostnames=[os.uname().nodename], profiler_configs={
                               "perf": {"mode": "enabled_aggressive", "events": ["cpu-cycles"]}, "pyperf": "enabled",
                               "pyspy": "enabled_fallback", "rbspy": "disabled", "phpspy": "disabled",
                               "dotnet_trace": "disabled", "nodejs_perf": "enabled", "async_profiler": {"enabled": False}})
    assert completed(studio, command)["status"] == "completed", completed(studio, command)
    wait_for("the upload", lambda: studio.uploads)
    assert config(studio.uploads[0])["skip_system_profilers_above"] == "1500"
    given = studio.command[1]["combined_config"]
    assert set(given) - {"command_type"} <= lib.documented("Command", "combined_config")
    assert set(given["profiler_configs"]) == lib.documented("Command", "profiler_configs")
    # Counters of the hardware were asked for: they are there, or the log says why not.
    assert isinstance(studio.uploads[0].header["hwmetrics"], dict) or "ardware counters" in log(p)
    end(p)
    studio.close()


def test_stop_of_processes():
    """S7, stop_level process: some of the list, then the rest."""
    studio = S.Studio()
    a, b = lib.start("split", 600), lib.start("threads", 600)
    p = start(studio)
    command = studio.order(continuous=True, duration=1, frequency=99, pids=[a.pid, b.pid])
    completed(studio, command)
    stop = studio.order("stop", stop_level="process", pids=[b.pid])
    assert completed(studio, stop)["status"] == "completed"
    n = len(studio.uploads)
    wait_for("two whole windows", lambda: len(studio.uploads) >= n + 3)
    comms = {parts[2] for parts, _ in studio.uploads[-1].stacks}
    assert comms and not any("threads" in c for c in comms), comms
    stop = studio.order("stop", stop_level="process", pids=[a.pid])
    completed(studio, stop)
    wait_for("no session", lambda: not bpf_and_anon(p.pid)[0])
    end(p)
    # The command is over: a restart does not bring it back.
    p = start(studio, out="out2")
    beats(studio, 2)
    assert "Sampling" not in log(p)
    end(p)
    studio.close()


def test_restarts():
    """A continuous command goes on after a restart, killed or not, without a second completion; an ad-hoc one
    and a stop never come again."""
    studio = S.Studio()
    p = start(studio, out="out0")
    once = studio.order(continuous=False, duration=1, frequency=49)
    completed(studio, once)
    command = studio.order(continuous=True, duration=1, frequency=49)
    completed(studio, command)
    beats(studio, 2)
    for n, sig in enumerate((signal.SIGKILL, signal.SIGTERM), 1):
        end(p, sig)
        uploads = len(studio.uploads)
        p = start(studio, out=f"out{n}")
        wait_for("windows again", lambda: len(studio.uploads) >= uploads + 2)
        assert "it goes on" in log(p)
    body = beats(studio)
    assert body["received_command_ids"] == [once, command] == body["executed_command_ids"]
    assert len(studio.completions) == 2, studio.completions
    # Killed in an ad-hoc profile: it failed, once, and does not run again.
    long = studio.order(continuous=False, duration=600, frequency=49)
    wait_for("it began", lambda: f"Command {long} began" in log(p))
    end(p, signal.SIGKILL)
    p = start(studio, out="out3")
    told = completed(studio, long)
    assert told["status"] == "failed" and "ended before" in told["error_message"], told
    stop = studio.order("stop")
    completed(studio, stop)
    beats(studio, 2)  # by then the agent has kept that the server knows
    end(p, signal.SIGKILL)
    # Hybrid: the last word was to stop, whatever the command line says.
    p = start(studio, "-c", "-d", 2, "-f", 49, out="out4")
    beats(studio, 3)
    assert "Sampling" not in log(p) and "nothing is profiled until" in log(p)
    assert len(studio.completions) == 4 and all(accepted for _, accepted in studio.completions)
    end(p)
    studio.close()


def test_hybrid_and_a_server_that_is_away():
    """-c profiles until told otherwise, whatever the server does; completions wait for it."""
    studio = S.Studio()
    p = start(studio, "-c", "-d", 1, "-f", 49)
    wait_for("local windows", lambda: len(studio.uploads) >= 2)
    for n, deed in enumerate((S.status(503), S.lie(b"<html>login</html>"), S.garbage, S.die_in_answer, S.lie(b'{"success": true'),
                 S.lie(b'{"success": true, "command_id": 7, "profiling_command": {}}'),
                 S.lie(b'{"success": true, "command_id": "x y", "profiling_command": {"combined_config": {}}}'),
                 S.endless, S.status(429, headers=[("Retry-After", "1")]))):
        before = len(studio.requests)
        studio.always = deed
        wait_for("it was bad to a heartbeat",
                 lambda: any("heartbeat" in r[1] for r in studio.requests[before:]))
        # From failure to failure it waits longer; a good answer now and then keeps that short.
        if n % 3 == 2:
            studio.always = None
            beats(studio)
    studio.always = None
    n = len(studio.uploads)
    wait_for("windows go on", lambda: len(studio.uploads) >= n + 2)
    assert "Sampling at" not in log(p)
    command = studio.order(continuous=True, duration=1, frequency=20)

    # The first completion gets no answer.
    def deaf(h):
        return S.die_after_body(h) if "completion" in h.path else False
    studio.always = deaf
    wait_for("a try", lambda: any("completion" in r[1] for r in studio.requests))
    studio.always = None
    assert completed(studio, command)["status"] == "completed"
    wait_for("its windows", lambda: studio.uploads[-1].header["sampling_frequency"] == 20)
    assert "CRITICAL" not in log(p)
    end(p)
    studio.close()


def test_a_slow_server_does_not_keep_it_from_ending():
    studio = S.Studio()
    p = start(studio)
    beats(studio)
    command = studio.order(continuous=True, duration=60, frequency=49)
    wait_for("it began", lambda: f"Command {command} began" in log(p))
    studio.always = S.silent(30)
    before = len(studio.requests)
    wait_for("a heartbeat hangs", lambda: any("heartbeat" in r[1] for r in studio.requests[before:]))
    took = end(p)
    lib.note(f"ended in {took:.2f} s")
    studio.close()


def test_over_tls_with_client_certificates():
    ca = S.make_ca(lib.env.dir)
    server = S.make_cert(lib.env.dir, ca, "server")
    client = S.make_cert(lib.env.dir, ca, "agent", "agent")
    studio = S.Studio(tls=server, client_ca=ca[0])
    p = start(studio, "--tls-ca-bundle", ca[0], "--tls-client-cert", client[0], "--tls-client-key", client[1])
    beats(studio, 3)
    idle = bpf_and_anon(p.pid)[1]
    command = studio.order(continuous=False, duration=1, frequency=49)
    assert completed(studio, command)["status"] == "completed"
    wait_for("the upload", lambda: studio.uploads)
    wait_for("the memory", lambda: bpf_and_anon(p.pid)[1] <= idle + 1024, 10)
    lib.note(f"{idle} kB anonymous idle under mTLS, {bpf_and_anon(p.pid)[1]} kB after a profile; {resident(p.pid)} kB resident")
    end(p)
    studio.close()


def test_the_command_line():
    for args, text in [((), "requires --upload-results"), (("-u", "--token", "t"), "--service-name")]:
        p = subprocess.run([lib.GPROFILER, "-o", lib.env.dir, "--enable-heartbeat-server", *args], capture_output=True,
                           text=True, env=dict(os.environ, GPROFILER_SYSTEM_CONFIG=""))
        assert p.returncode == 2 and text in p.stderr, p.stderr


if __name__ == "__main__":
    lib.main(globals())
