# SPDX-License-Identifier: Apache-2.0
"""The real agent against a studio of the test's own: honest, slow, dying and lying ones."""
import copy
import gzip
import http.client
import json
import os
import random
import signal
import threading
import time

import lib
import studio_server as S

SERVICE = "test-service"


def spool():
    return os.path.join(lib.env.dir, "spool")


def spooled():
    return sorted(n for n in os.listdir(spool()) if n.endswith(".upload")) if os.path.isdir(spool()) else []


def arguments(studio, *args, token=None):
    return ["-u", "--token", token or studio.token, "--service-name", SERVICE, "--server-host", studio.url,
            "--spool-dir", spool(), *args]


def run(studio, *args, token=None, expect=0, environ=None, **kw):
    """One short profile of this machine, uploaded. A Profile, or with several events or a failure the process;
    either has .process, whose .log is the log."""
    lib.need_root()
    log = os.path.join(lib.env.dir, "out", "log")
    len_before = len(open(log).read()) if os.path.exists(log) else 0
    p = lib.gprofiler("-d", 1, "-f", 49, *arguments(studio, *args, token=token), expect=expect,
                      environ=environ or {}, **kw)
    p.process = process = getattr(p, "process", p)
    process.log = open(os.path.join(process.out, "log")).read()[len_before:]
    return p


def errors(process):
    return [line for line in process.log.split("\n") if "] ERROR: " in line or "] CRITICAL: " in line]


def posts(studio):
    return [r for r in studio.requests if r[0] == "POST"]


def closed_url():
    studio = S.Studio()
    studio.close()
    return studio


wait_for = lib.wait_for


def post(studio, body, headers=None, raw=None):
    data = raw if raw is not None else gzip.compress(json.dumps(body).encode())
    c = http.client.HTTPConnection("localhost", studio.port, timeout=10)
    h = {"GPROFILER-API-KEY": studio.token, "GPROFILER-SERVICE-NAME": SERVICE, "Content-Encoding": "gzip",
         "Content-Type": "application/json"}
    h.update(headers or {})
    chunked = h.get("Transfer-Encoding") == "chunked"
    try:
        c.request("POST", "/api/v2/profiles?key=x", iter([data]) if chunked else data, h, encode_chunked=chunked)
        return c.getresponse().status
    except ConnectionError:
        return 413 if len(data) > studio.limit else 0
    finally:
        c.close()


def test_the_studio_itself_holds_its_rules():
    studio = S.Studio()
    assert post(studio, S.golden_body()) == 200
    assert studio.uploads[0].samples == 10 and not studio.uploads[0].broken

    def with_metadata(**changes):
        header, body = S.golden_header(), S.golden_body()
        for key, value in changes.items():
            if value is None:
                del header["metadata"][key]
            else:
                header["metadata"][key] = value
        body["profile"] = "# " + json.dumps(header) + "\n0;;a;b 1"
        return body

    def with_body(**changes):
        return dict(S.golden_body(), **changes)

    for body, want in [
            (with_metadata(mac_address="02:00"), 400), (with_metadata(run_mode="standalone"), 400),
            (with_metadata(agent_version="1.2"), 400), (with_metadata(spawn_time="2026-01-02T03:04:05+00:00"), 400),
            (with_metadata(libc_type=None), 400), (with_metadata(processors=0), 400), (with_body(gpid=None), 422),
            (with_body(gpid="x"), 400), (with_body(gpid=99), 400), (with_body(start_time="2026-01-02T03:04:05Z"), 422),
            (with_body(profile="0;;a;b 1"), 400), (with_body(profile=5), 422)]:
        got = post(studio, body)
        assert got == want, (got, want, body)
    for key in S.METADATA:
        assert post(studio, with_metadata(**{key: None})) == 400, key
    assert post(studio, S.golden_body(), {"Transfer-Encoding": "chunked"}) == 411
    assert post(studio, None, raw=os.urandom((4 << 20) + 1)) == 413
    assert post(studio, S.golden_body(), {"GPROFILER-API-KEY": "wrong"}) == 400
    assert post(studio, S.golden_body(), {"GPROFILER-SERVICE-NAME": "___"}) == 400
    head = S.golden_body()["profile"].split("\n")[0]
    for bad in ("", "#x;y;z 1", "nothing", "0;;a;b x", "0;;a;b 1.5", "0;;a;b 0"):
        assert S.index_lines(head + "\n" + bad)[1], bad
    studio.close()


def test_a_profile_of_this_machine():
    studio = S.Studio()
    lib.env.start("sh", "-c", "while :; do :; done")
    prof = run(studio, "-v", "--curlify-requests")
    assert len(studio.uploads) == 1 and not studio.refused, studio.refused
    u = studio.uploads[0]
    assert not u.broken, u.broken[:5]
    # What is uploaded is what is on disk, but for the page in the header.
    assert u.text.split("\n")[1:] == prof.text.split("\n")[1:]
    assert u.samples == prof.total() > 0
    assert u.header.pop("flamegraph_html").lower().startswith("<!doctype html>")
    assert dict(u.header, flamegraph_html=None) == prof.header and u.header["metadata"]["continuous"] is False
    assert set(u.body) == lib.documented("Upload", "body")
    assert u.body["gpid"] == "" and u.body["hostname"] == os.uname().nodename
    assert S.naive_time(u.body["spawn_time"]) <= S.naive_time(u.body["start_time"]) < S.naive_time(u.body["end_time"])
    assert set(u.query) == lib.documented("Requests with a token", "query") | {"__path"}
    assert not lib.documented("Requests with a token", "header") - set(u.headers)
    assert u.query["service"] == SERVICE and u.query["version"].count(".") == 2 and S.naive_time(u.query["timestamp"])
    assert int(u.headers["Content-Length"]) == u.compressed and u.headers["Content-Encoding"] == "gzip"
    assert "application/json" in u.headers["Content-Type"]
    health = studio.requests[0]
    assert health[0] == "GET" and health[1].startswith("/api/v1/health_check?") and "version=" not in health[1]
    assert health[2]["GPROFILER-API-KEY"] == studio.token
    # One connection for all.
    assert studio.connections == 1, studio.connections
    log = prof.process.log
    for phrase in (f"The connection to the server was successfully established (service '{SERVICE}')",
                   "Successfully uploaded profiling data to the server", "curl -X POST", "curl -X GET"):
        assert phrase in log, phrase
    assert not errors(prof.process)
    # The token is in a header and nowhere else.
    everything = log + prof.text + u.text + prof.process.stdout_text + prof.process.stderr_text
    assert studio.token not in everything
    assert not any(studio.token in path for _, path, _ in studio.requests)
    assert spooled() == []
    studio.close()


def test_without_an_output_directory():
    studio = S.Studio()
    lib.need_root()
    environ = dict(os.environ, GPROFILER_LOCK_NAME=f"u{os.getpid()}", GPROFILER_SYSTEM_CONFIG="",
                   GPROFILER_TOKEN=studio.token, GPROFILER_SERVICE_NAME=SERVICE)
    p = lib.env.start(lib.GPROFILER, "-u", "-d", 1, "-f", 49, "--server-host", studio.url + "/", "--spool-dir", spool(),
                      "--no-flamegraph", "--log-file", "", "--pid-file", "", env=environ, cwd=lib.env.dir)
    assert p.wait(90) == 0
    assert os.listdir(lib.env.dir) == ["spool"] and len(studio.uploads) == 1
    assert studio.uploads[0].header["flamegraph_html"] is None
    studio.close()


def test_a_wrong_token_ends_the_program_at_start():
    studio = S.Studio()
    p = run(studio, token="wrong-token", expect=1)
    assert "Invalid API key" in p.process.log and "--token" in p.process.log
    assert not any(n.endswith(".col") for n in os.listdir(p.process.out)) and not posts(studio)
    assert "wrong-token" not in p.process.log
    studio.close()


def test_a_server_that_is_away_loses_nothing():
    studio = closed_url()
    samples = []
    for n in (1, 2):
        prof = run(studio)
        samples.append(prof.total())
        assert len(spooled()) == n and not errors(prof.process)
        assert "is kept" in prof.process.log or "are kept" in prof.process.log
    assert oct(os.stat(spool()).st_mode & 0o777) == "0o700"
    assert studio.token.encode() not in b"".join(open(os.path.join(spool(), n), "rb").read() for n in spooled())
    studio = S.Studio()
    samples.append(run(studio).total())
    assert [u.samples for u in studio.uploads] == samples and spooled() == []
    # The gpid of this run is not that of an earlier one.
    assert [u.body["gpid"] for u in studio.uploads] == ["", "", ""]
    studio.close()


EVENTS = ("--perf-events", "cpu-clock,task-clock,context-switches", "--no-flamegraph")


def test_gpid_is_echoed_and_forgotten():
    for as_text in (False, True):
        studio = S.Studio()
        studio.gpid_as_text = as_text
        run(studio, *EVENTS)
        first = studio.uploads[0]
        assert [u.body["gpid"] for u in studio.uploads] == ["", *2 * ["4001" if as_text else 4001]], as_text
        studio.close()
    # A new database behind the same address: introduced again, nothing lost.
    studio = S.Studio()

    def new_database(h):
        studio.gpids.clear()
        return False
    studio.script = [None, None, new_database]
    prof = run(studio, *EVENTS)
    assert [u.body["gpid"] for u in studio.uploads] == ["", "", 4002], [u.body["gpid"] for u in studio.uploads]
    assert len(studio.refused) == 1
    assert not errors(prof.process) and spooled() == []
    studio.close()
    # Answers that are no gpid.
    for body in ({"message": "ok"}, {"message": "ok", "gpid": None}, {"gpid": 1.5}, {"gpid": [1]},
                 {"gpid": "x" * 1000, "message": "ok"}):
        studio = S.Studio()
        studio.script = [None, S.status(200, body)]
        run(studio, *EVENTS)
        assert len(posts(studio)) == 3 and [u.body["gpid"] for u in studio.uploads] == ["", 4001], body
        studio.close()


def test_refused_for_good_is_dropped_with_an_error():
    for code in (400, 422, 411):
        studio = S.Studio()
        studio.script = [None, S.status(code)]
        prof = run(studio)
        assert spooled() == [] and len(posts(studio)) == 1
        assert len(errors(prof.process)) == 1 and f"told to say {code}" in errors(prof.process)[0]
        studio.close()


def test_denied_is_kept_with_one_error():
    studio = S.Studio()
    bad_key = S.status(400, {"message": "Invalid GPROFILER-SERVICE-NAME header"})
    for n, deed in enumerate((S.status(401), S.status(403), bad_key, S.status(404), S.status(307, b"", [("Location", "http://localhost:1/")])), 1):
        studio.script, studio.always = [None], deed
        prof = run(studio, *EVENTS)
        assert len(spooled()) == 3 * n and len(errors(prof.process)) == 1, (n, spooled(), errors(prof.process))
    studio.script, studio.always = [], None
    run(studio)
    assert len(studio.uploads) == 16 and spooled() == []
    studio.close()


def test_bad_servers_lose_nothing():
    deeds = {
        "500": S.status(500), "503": S.status(503, headers=[("Retry-After", "1")]), "429": S.status(429),
        "408": S.status(408), "dies at once": S.die_at_once, "dies after the body": S.die_after_body,
        "dies in its answer": S.die_in_answer, "login page": S.lie(b"<html>Please log in</html>"),
        "JSON, no object": S.lie(b"[1]"), "empty": S.lie(b""), "no HTTP": S.garbage, "endless": S.endless,
        "endless headers": S.endless_headers,
    }
    studio = S.Studio()
    samples = 0
    for n, (name, deed) in enumerate(deeds.items(), 1):
        studio.script, studio.always = [None], deed
        prof = run(studio)
        samples += prof.total()
        assert len(spooled()) == n, (name, prof.process.log[-1500:])
        assert not errors(prof.process), (name, errors(prof.process))
    # A health check that goes wrong is no reason not to profile.
    for n, deed in enumerate((S.status(500), S.die_at_once, S.lie(b"<html>"), S.endless), len(deeds) + 1):
        studio.script, studio.always = [deed], S.status(500)
        samples += run(studio).total()
        assert len(spooled()) == n
    studio.script, studio.always = [], None
    samples += run(studio).total()
    assert spooled() == [] and studio.samples() == samples
    assert len(studio.uploads) == len(deeds) + 5 and not any(u.broken for u in studio.uploads)
    studio.close()


def test_the_server_comes_back_in_mid_run():
    studio = S.Studio()
    studio.script = [S.status(503)]
    run(closed_url())
    # What waits is tried while the next profile is taken, and again with patience.
    studio.script = [None, S.status(503), S.status(503, headers=[("Retry-After", "2")])]
    lib.need_root()
    p = lib.start_gprofiler("-d", 300, "-f", 49, *arguments(studio), out="second")
    wait_for("the upload of what waited", lambda: studio.uploads)
    assert p.poll() is None and "Saved collapsed" not in lib.log(p), "sent only after the run"
    lib.finish(p)
    assert len(studio.uploads) == 2 and spooled() == []
    studio.close()


def test_one_that_is_never_taken_holds_up_no_other():
    studio = S.Studio()
    run(closed_url(), "--service-name", "poison")
    poison = spooled()
    error = S.status(500)
    studio.always = lambda h: h.headers.get("GPROFILER-SERVICE-NAME") == "poison" and "profiles" in h.path and error(h)
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, *arguments(studio), out="second")
    wait_for("uploads behind the one that is not taken", lambda: len(studio.uploads) >= 2)
    lib.finish(p)
    p.log = lib.log(p)
    assert set(poison) <= set(spooled()) and not errors(p), (poison, spooled())
    assert p.log.count("others go first") == 1
    # It is lost no more than any other.
    studio.always = None
    run(studio)
    assert spooled() == [] and any(u.headers.get("GPROFILER-SERVICE-NAME") == "poison" for u in studio.uploads)
    studio.close()


def test_too_large_is_split_by_process():
    # Kernel stacks in plenty, of two processes.
    for n in ("one", "two"):
        os.symlink("/usr/bin/find", os.path.join(lib.env.dir, n))
        lib.env.start("sh", "-c", f"while :; do {lib.env.dir}/{n} /usr /proc -xdev -size +1 -name '*x*'; done",
                      stderr=lib.subprocess.DEVNULL, start_new_session=True)
    # A server that takes half of what comes without the page.
    studio, sizes = S.Studio(), []

    def none_of_it(h):
        studio.limit = 1
        return False

    def half_of_it(h):
        sizes.append(int(h.headers["Content-Length"]))
        studio.limit = sizes[0] // 2
        return False
    studio.script = [None, none_of_it, half_of_it]
    try:
        prof = run(studio, "-f", 999)
    finally:
        for p in lib.env.children[:2]:
            os.killpg(p.pid, signal.SIGKILL)
    limit = studio.limit
    lib.note(f"{sizes} bytes whole, limit {limit}: parts of {[u.compressed for u in studio.uploads]}")
    assert len(studio.uploads) >= 2 and spooled() == [], [str(e)[:60] for e in studio.refused]
    assert all(u.compressed <= limit and not u.broken for u in studio.uploads)
    # The page is the first to go.
    assert all(u.header["flamegraph_html"] is None for u in studio.uploads)
    assert dict(studio.uploads[0].header) == prof.header
    lines = sorted(line for u in studio.uploads for line in u.text.split("\n")[1:])
    assert lines == sorted(prof.text.split("\n")[1:])
    assert all(u.header["metadata"]["hostname"] == os.uname().nodename for u in studio.uploads)
    assert {u.body["start_time"] for u in studio.uploads} == {studio.uploads[0].body["start_time"]}
    studio.close()


def test_tls_and_client_certificates():
    ca, other = S.make_ca(lib.env.dir), S.make_ca(lib.env.dir, "other")
    server = S.make_cert(lib.env.dir, ca, "server")
    studio = S.Studio(tls=server)
    for args, sent, word in [((), 0, "certificate"), (("--tls-ca-bundle", other[0]), 0, "certificate"),
                             (("--tls-ca-bundle", other[0], "--no-verify"), 0, "certificate"),
                             (("--tls-ca-bundle", ca[0]), 4, ""), (("--no-verify",), 5, "")]:
        prof = run(studio, *args)
        assert len(studio.uploads) == sent and word in prof.process.log, (args, len(studio.uploads))
        assert len(spooled()) == (0 if sent else len(spooled()))
    prof = run(studio, environ={"REQUESTS_CA_BUNDLE": ca[0]})
    assert len(studio.uploads) == 6
    p = run(studio, "--tls-ca-bundle", "/nonexistent/ca.pem", expect=1)
    assert "/nonexistent/ca.pem" in p.process.log
    studio.close()
    wrong = S.make_cert(lib.env.dir, ca, "wrong", "elsewhere.example")
    studio = S.Studio(tls=wrong)
    run(studio, "--tls-ca-bundle", ca[0])
    assert not studio.uploads and len(spooled()) == 1
    studio.close()
    client = S.make_cert(lib.env.dir, ca, "client", "agent")
    studio = S.Studio(tls=server, client_ca=ca[0])
    run(studio, "--tls-ca-bundle", ca[0])
    assert not studio.uploads and len(spooled()) == 2
    prof = run(studio, "--tls-ca-bundle", ca[0], "--tls-client-cert", client[0])
    assert "only work together" in prof.process.log and not studio.uploads
    run(studio, "--tls-ca-bundle", ca[0], "--tls-client-cert", client[0], "--tls-client-key", client[1])
    assert len(studio.uploads) == 4 and spooled() == []
    p = run(studio, "--tls-client-cert", client[0], "--tls-client-key", "/nonexistent/key", expect=1)
    studio.close()


def test_certificates_rotated_in_mid_run():
    ca = S.make_ca(lib.env.dir)
    server, first, second = (S.make_cert(lib.env.dir, ca, n, s) for n, s in
                             [("server", "localhost"), ("first", "agent-1"), ("second", "agent-2")])
    studio = S.Studio(tls=server, client_ca=ca[0])
    seen = []

    def who(h):
        subject = dict(x[0] for x in h.connection.getpeercert()["subject"])
        seen.append((h.command, subject["commonName"]))
        return False
    studio.always = who
    live = [os.path.join(lib.env.dir, n) for n in ("live.pem", "live.key")]

    def put(n, source):
        with open(live[n] + ".new", "w") as f:
            f.write(open(source[n]).read())
        os.rename(live[n] + ".new", live[n])
    for n in (0, 1):
        put(n, first)
    lib.need_root()
    args = arguments(studio, "--tls-ca-bundle", ca[0], "--tls-client-cert", live[0], "--tls-client-key", live[1])
    p = lib.start_gprofiler("-d", 2, "-f", 49, *args)
    wait_for("the health check", lambda: seen)
    for n in (0, 1):
        put(n, second)
    p.communicate(timeout=60)
    assert seen == [("GET", "agent-1"), ("POST", "agent-2")], seen
    # Half of the pair is new when the upload comes: the old pair goes on.
    seen.clear()
    for n in (0, 1):
        put(n, first)
    p = lib.start_gprofiler("-d", 2, "-f", 49, *args)
    wait_for("the health check", lambda: seen)
    put(0, second)
    p.communicate(timeout=60)
    assert seen == [("GET", "agent-1"), ("POST", "agent-1")], seen
    assert "do not fit" in open(os.path.join(p.out, "log")).read() and spooled() == []
    studio.close()


def test_proxies():
    proxy, direct = S.Studio(), S.Studio()
    away = closed_url()
    away.url = "http://studio.invalid:8080"
    run(away, environ={"http_proxy": proxy.url})
    assert len(proxy.uploads) == 1 and proxy.requests[0][1].startswith("http://studio.invalid:8080/api/v1/health_check")
    run(away, environ={"HTTP_PROXY": proxy.url})
    assert len(proxy.uploads) == 2
    run(direct, environ={"http_proxy": proxy.url, "no_proxy": "localhost"})
    assert len(proxy.uploads) == 2 and len(direct.uploads) == 1
    for s in (proxy, direct):
        s.close()


def test_the_old_protocol():
    studio = S.Studio(v1=True)
    lib.need_root()
    lib.env.start("sh", "-c", "while :; do :; done")	# an idle machine may give a second without a sample
    p = lib.start_gprofiler("-d", 1, "-f", 49, *arguments(studio, "--profile-api-version", "v1"))
    p.communicate(timeout=60)
    u = studio.uploads[0]
    assert u.query["__path"] == "/api/v1/profiles" and not u.broken and u.samples > 0
    assert u.header["metadata"]["run_arguments"]["profile_api_version"] == "v1"
    assert not any(p[0].isdigit() and p[1] == "" for p, _ in u.stacks)
    studio.close()


def test_a_slow_server():
    studio = S.Studio()
    studio.script = [None, S.slow(3)]
    prof = run(studio, "--server-upload-timeout", 1)
    assert "Upload of profile to server timed out." in prof.process.log and len(spooled()) == 1
    studio.script = [S.slow(1), S.slow(2)]
    run(studio, "--server-upload-timeout", 20)
    assert spooled() == []
    studio.close()


def test_sigterm_does_not_wait_for_the_server():
    lib.need_root()
    for when in ("sampling", "sending"):
        studio = S.Studio()
        studio.script, studio.always = [None], S.silent(30)
        p = lib.start_gprofiler("-d", 60 if when == "sampling" else 1, "-f", 49, *arguments(studio))
        if when == "sampling":
            wait_for("the health check", lambda: studio.requests)
            wait_for("the first sample", lambda: "First sample" in lib.log(p))
        else:
            wait_for("the upload", lambda: posts(studio))
        start = time.monotonic()
        lib.send(p, lib.SIGTERM)
        p.communicate(timeout=30)
        took = time.monotonic() - start
        assert took < 5, f"{when}: {took:.1f} s"
        assert p.returncode == 0 and len(spooled()) == 1, (when, p.returncode, spooled())
        for n in spooled():
            os.unlink(os.path.join(spool(), n))
        studio.close()


def test_kill_9_leaves_whole_uploads():
    """Killed around the moment when the window goes into the spool."""
    lib.need_root()
    away, rng = closed_url(), random.Random(7)
    for n in range(8):
        p = lib.start_gprofiler("-d", 1, "-f", 49, "--no-flamegraph", *arguments(away), out=f"out{n}")
        log = os.path.join(p.out, "log")
        wait_for("the end of the window", lambda: os.path.exists(log) and "Saved collapsed" in open(log).read())
        time.sleep(rng.random() * 0.03)
        lib.send(p, lib.SIGKILL)
        p.communicate()
    kept = len(spooled())
    lib.note(f"{kept} of 8 killed runs left an upload")
    studio = S.Studio()
    prof = run(studio)
    assert len(studio.uploads) == kept + 1 and spooled() == [] and os.listdir(spool()) == []
    assert not any(u.broken for u in studio.uploads) and "damaged" not in prof.process.log
    studio.close()


def test_damaged_files_in_the_spool():
    run(closed_url())
    name = spooled()[0]
    path = os.path.join(spool(), name)
    data = open(path, "rb").read()
    stamp = int(name.split(".")[0], 16)
    damaged = [b"", b"x", data[:100], data[:-1], data + b"x", data[:2000] + b"\0" * (len(data) - 2000),
               b"gprofiler-upload 1 {}\nxx", b"gprofiler-upload 1 {\n" + data]
    for i, d in enumerate(damaged, 1):
        with open(os.path.join(spool(), f"{stamp - i:016x}.upload"), "wb") as f:
            f.write(d)
    os.symlink("/etc/passwd", os.path.join(spool(), f"{stamp - 50:016x}.upload"))
    open(os.path.join(spool(), "other"), "w").close()
    os.mkdir(os.path.join(spool(), f"{stamp - 51:016x}.upload"))
    studio = S.Studio()
    run(studio)
    assert len(studio.uploads) == 2, len(studio.uploads)
    assert not any(os.path.isfile(os.path.join(spool(), n)) and not os.path.islink(os.path.join(spool(), n))
                   for n in spooled())
    studio.close()


def test_no_spool():
    studio = closed_url()
    prof = run(studio, "--spool-size", 0)
    assert not os.path.exists(spool()) and "there was no spool" in prof.process.log
    os.mkdir(spool(), 0o777)
    os.chmod(spool(), 0o777)
    prof = run(studio)
    assert spooled() == [] and "kept in memory only" in prof.process.log
    live = S.Studio()
    run(live)
    assert len(live.uploads) == 1
    live.close()


def test_continuous_through_an_outage():
    lib.need_root()
    studio = S.Studio()
    lib.env.start("sh", "-c", "while :; do :; done")
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, *arguments(studio))
    wait_for("two uploads", lambda: len(studio.uploads) >= 2, 30)
    studio.always = S.status(503)
    wait_for("a failed upload", lambda: len(posts(studio)) > len(studio.uploads) + 1, 30)
    wait_for("windows in the spool", lambda: len(spooled()) >= 2, 30)
    studio.always = None
    n = len(studio.uploads)
    wait_for("the rest", lambda: len(studio.uploads) >= n + 4, 60)
    lib.send(p, lib.SIGTERM)
    start = time.monotonic()
    p.communicate(timeout=30)
    assert p.returncode == 0 and time.monotonic() - start < 6
    files = {n: open(os.path.join(p.out, n)).read() for n in os.listdir(p.out)
             if n.startswith("profile_") and n.endswith(".col")}
    samples = sum(int(line.rpartition(" ")[2]) for t in files.values() for line in t.split("\n")[1:])
    left = len(spooled())
    lib.note(f"{len(files)} windows, {len(studio.uploads)} delivered, {left} in the spool")
    # Each window once, by what is in it: the last one, cut short, may end in the same second as the one before.
    # One that the server took while we were told to end may be in the spool, too.
    ends = [u.body["end_time"] for u in studio.uploads]
    sent = [u.text.split("\n")[1:] for u in studio.uploads]
    missing = [n for n, t in files.items() if t.split("\n")[1:] not in sent]
    assert len(missing) <= left, (missing, left, ends)
    assert len(set(ends[:-1])) == len(ends) - 1, ends
    assert missing or studio.samples() >= samples, (studio.samples(), samples)
    gpids = [u.body["gpid"] for u in studio.uploads]
    assert gpids[0] == "" and gpids[1] == 4001 and gpids.count("") == 2, gpids
    assert all(u.header["flamegraph_html"] is None and u.header["metadata"]["continuous"] for u in studio.uploads)
    log = open(os.path.join(p.out, "log")).read()
    assert "ERROR" not in log and "which is back" in log
    studio.close()


def test_continuous_killed_loses_the_running_window():
    lib.need_root()
    away = closed_url()
    p = lib.start_gprofiler("-c", "-d", 1, "-f", 49, "--no-flamegraph", *arguments(away))
    wait_for("three windows in the spool", lambda: len(spooled()) >= 3, 30)
    lib.send(p, lib.SIGKILL)
    p.communicate()
    files = [n for n in os.listdir(p.out) if n.startswith("profile_") and n.endswith(".col")]
    kept = len(spooled())
    assert len(files) - 1 <= kept <= len(files), (files, kept)
    studio = S.Studio()
    run(studio)
    assert len(studio.uploads) == kept + 1 and spooled() == [], (len(studio.uploads), kept, spooled(), studio.refused)
    studio.close()


def test_log_lines_go_to_the_server():
    studio = S.Studio()
    prof = run(studio, "--api-server", studio.url + "/some/path")
    lines = [line for _, body in studio.logs for line in body["logs"]]
    headers, body = studio.logs[0]
    assert headers["X-Token"] == studio.token and headers["X-Application-Name"] == "gprofiler"
    assert int(headers["Content-Length"]) > 0 and headers["Content-Encoding"] == "gzip"
    assert set(body) == lib.documented("Log batch", "batch") and body["lost_logs_count"] == 0
    assert set(body["metadata"]) == {"run_id", "gprofiler_version", "service_name", "hostname"}
    assert len(body["batch_id"]) == 32 and len(body["metadata"]["run_id"]) == 36
    assert [line["text"]["serial_no"] for line in lines] == list(range(len(lines)))
    for line in lines:
        assert set(line) == lib.documented("Log batch", "line") and line["severity"] in range(1, 7)
        assert abs(line["timestamp"] / 1000 - time.time()) < 600
        assert set(line["text"]) == lib.documented("Log batch", "text")
        assert S.naive_time(line["text"]["timestamp"]) and "cycle_id" in line["text"]["extra"]
    local = prof.process.log
    texts = [(line["severity"], line["text"]["message"]) for line in lines]
    assert any(s == 3 and m.startswith("Successfully uploaded") for s, m in texts) and any(s == 2 for s, m in texts)
    assert all(m in local for _, m in texts) and studio.token not in json.dumps(body)
    # Not with the switch, not with the old protocol, and not to an address nobody gave.
    n = len(studio.logs)
    run(studio, "--api-server", studio.url, "--dont-send-logs")
    run(studio)
    assert len(studio.logs) == n
    # A log service that is away, or says no, is nobody's trouble.
    away = closed_url()
    assert not errors(run(studio, "--api-server", away.url).process)
    studio.close()


def upload_file(studio, path, *args, token=None):
    environ = dict(os.environ, GPROFILER_SYSTEM_CONFIG="")
    p = lib.env.start(lib.GPROFILER, "upload-file", "--file-path", path, "--token", token or studio.token,
                      "--service-name", SERVICE, "--server-host", studio.url, "--log-file",
                      os.path.join(lib.env.dir, "upload.log"), *args, env=environ)
    p.wait(60)
    p.log = open(os.path.join(lib.env.dir, "upload.log")).read()
    return p


def test_upload_file():
    studio = S.Studio()
    path = os.path.join(lib.env.dir, "a.col")
    header = copy.deepcopy(S.golden_header())
    header.update(start_time="2026-01-02T03:04:05", end_time="2026-01-02T03:05:05")
    header["metadata"]["run_arguments"].update(server_token="hush-hush", func="x")
    with open(path, "w") as f:
        f.write("# " + json.dumps(header) + "\n0;;nginx;main;caf\u00e9 \U0001f600 \\\"x\" 7\n\n0;;java;Main.run_[j] 3\n")
    assert upload_file(studio, path).returncode == 0
    u = studio.uploads[0]
    assert u.stacks == [(["0", "", "nginx", "main", "caf\u00e9 \U0001f600 \\\"x\""], 7), (["0", "", "java", "Main.run_[j]"], 3)]
    assert not u.broken and u.body["start_time"] == "2026-01-02T03:04:05" and u.body["end_time"] == "2026-01-02T03:05:05"
    assert u.body["gpid"] == "" and "hush-hush" not in u.text and "func" not in u.header["metadata"]["run_arguments"]
    # Not taken: said, and status 0 as with the reference.
    studio.script = [None, S.status(500)]
    p = upload_file(studio, path)
    assert p.returncode == 0 and "Error occurred sending profile to server: told to say 500" in p.log
    assert upload_file(studio, path, token="wrong").returncode == 1
    assert upload_file(studio, "/nonexistent").returncode == 1
    with open(path, "w") as f:
        f.write("no header\n")
    p = upload_file(studio, path)
    assert p.returncode == 1 and "is no .col file" in p.log
    studio.close()


def test_a_large_profile_is_sent_in_parts():
    studio = S.Studio(limit=1 << 20)
    path = os.path.join(lib.env.dir, "large.col")
    rng = random.Random(3)
    names = [f"function_{rng.getrandbits(64):x}" for _ in range(20000)]
    total = 0
    with open(path, "w") as f:
        f.write("# " + json.dumps(S.golden_header()))
        for i in range(50000):
            process = "hog" if i % 2 else f"p{i % 300}"
            f.write(f"\n0;;{process};" + ";".join(rng.choice(names) for _ in range(12)) + f" {i % 9 + 1}")
            total += i % 9 + 1
    start = time.monotonic()
    p = upload_file(studio, path)
    lib.note(f"{os.path.getsize(path) >> 20} MiB of text in {len(studio.uploads)} uploads of at most "
             f"{max(u.compressed for u in studio.uploads)} bytes, {time.monotonic() - start:.1f} s")
    assert p.returncode == 0 and studio.samples() == total and not studio.refused, studio.refused
    # Only the process that is too large by itself is in more than one part.
    places = {}
    for n, u in enumerate(studio.uploads):
        for parts, _ in u.stacks:
            places.setdefault(parts[2], set()).add(n)
    assert len(places["hog"]) > 1
    assert len([p for p in places if len(places[p]) > 1]) <= 60, len([p for p in places if len(places[p]) > 1])
    studio.close()


if __name__ == "__main__":
    lib.main(globals())
