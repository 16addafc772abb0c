# SPDX-License-Identifier: Apache-2.0
"""What scenario tests share: TAP, running gprofiler, reading its .col files, starting workloads.

A test file defines functions test_*() and calls lib.main(globals()). A function passes unless it raises;
lib.skip("reason") skips it. Everything a test starts is ended by pid when the test ends."""
import collections
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

GPROFILER = os.environ["GPROFILER"]
WORKLOADS = os.environ["GPROFILER_WORKLOADS"]

Stack = collections.namedtuple("Stack", "container comm frames count appid")	# frames: without the appid


class Skip(Exception):
    pass


def descendants(pid):
    found = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError):
            for child in open(task).read().split():
                found += [int(child), *descendants(int(child))]
    return found


class Env:
    """One test's directory and children."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="gprofiler-test-")
        os.chmod(self.dir, 0o755)
        self.children = []

    def start(self, *argv, **kw):
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                             stdout=kw.pop("stdout", subprocess.DEVNULL), **kw)
        self.children.append(p)
        return p

    def end(self, p):
        """Ends a process and what it started: one left behind keeps our standard error, and so the run, open."""
        if p.poll() is None:
            family = descendants(p.pid)
            p.kill()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        p.wait()

    def close(self):
        for p in self.children:
            self.end(p)
        shutil.rmtree(self.dir, ignore_errors=True)


env = None


def skip(reason):
    raise Skip(reason)


def workload(name):
    path = os.path.join(WORKLOADS, "workload_" + name)
    if not os.path.exists(path):
        skip(f"workload {name} was not built (its compiler is absent)")
    return path


def start(name, *args, **kw):
    """Starts a workload under the comm that comm() says: the kernel keeps 15 characters of a file name."""
    link = os.path.join(env.dir, comm(name))
    if not os.path.islink(link):
        os.symlink(workload(name), link)
    return env.start(link, *args, **kw)


def documented(heading, column):
    """What docs/compatibility.md lists of the wire: names in the first cells of a table, by its heading and the title of
    that column."""
    doc = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "compatibility.md")
    text = open(doc, encoding="utf-8").read().partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    names, title = set(), None
    for line, after in zip(text.splitlines(), text.splitlines()[1:] + [""]):
        cell = line.split("|")[1].strip(" `") if line.startswith("|") else None
        title = cell if after.startswith("|---") else title if cell else None
        if title == column and cell != column and not cell.startswith("-"):
            names.add(cell)
    assert names, (heading, column)
    return names


def comm(name):
    return ("w_" + name)[:15]


def start_gprofiler(*args, prefix=(), **kw):
    out = os.path.join(env.dir, kw.pop("out", "out"))
    environ = dict(os.environ, GPROFILER_LOCK_NAME=f"gprofiler-test-{os.getpid()}-{time.monotonic_ns()}",
                   GPROFILER_SYSTEM_CONFIG="", GPROFILER_CLOUD_METADATA="off",
                   GPROFILER_STATE_DIR=os.path.join(env.dir, "state"))
    environ.update(kw.pop("environ", {}))
    argv = [*prefix, GPROFILER, "-o", out, "--log-file", os.path.join(out, "log"),
            "--pid-file", os.path.join(out, "pid"), *[str(a) for a in args]]
    p = env.start(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True, **kw)
    p.out = out
    return p


def gprofiler(*args, expect=0, timeout=90, **kw):
    """Runs gprofiler to its end and returns the Profile it left (or the process if it left none)."""
    p = start_gprofiler(*args, **kw)
    stdout, stderr = p.communicate(timeout=timeout)
    p.stdout_text, p.stderr_text = stdout, stderr
    if expect is not None and p.returncode != expect:
        raise AssertionError(f"exit status {p.returncode}, not {expect}\n{stdout[-3000:]}\n{stderr[-3000:]}")
    path = os.path.join(p.out, "last_profile.col")
    return Profile(path, p) if os.path.exists(path) else p


def at_once(*runs):
    """Several agents beside each other, each with its arguments: their profiles."""
    agents = [start_gprofiler(*args, out=f"out{i}") for i, args in enumerate(runs)]
    found = []
    for g in agents:
        g.stdout_text, g.stderr_text = g.communicate(timeout=300)
        if g.returncode:
            raise AssertionError(f"exit status {g.returncode}\n{g.stdout_text[-3000:]}\n{g.stderr_text[-3000:]}")
        found.append(Profile(os.path.join(g.out, "last_profile.col"), g))
    return found


class Profile:
    def __init__(self, path, process=None):
        self.path, self.process = path, process
        self.text = open(path, encoding="utf-8").read()
        lines = self.text.split("\n")
        assert lines[0].startswith("# "), lines[0][:80]
        self.header = json.loads(lines[0][2:])
        self.ledger = self.header.get("ledger", {})
        self.stacks = []
        for line in lines[1:]:
            if not line:
                continue
            stack, _, count = line.rpartition(" ")
            parts = stack.split(";")
            assert parts[0].isdigit(), line
            appid = parts.pop(3) if len(parts) > 3 and parts[3].startswith("appid: ") else None
            self.stacks.append(Stack(parts[1], parts[2], parts[3:], int(count), appid))

    def of(self, comm):
        """Stacks of a process name (the kernel keeps 15 characters of it); of a workload under either name."""
        names = {comm[:15]}
        if comm.startswith("workload_"):
            names.add(globals()["comm"](comm[len("workload_"):]))
        return [s for s in self.stacks if s.comm in names]

    def total(self, stacks=None):
        return sum(s.count for s in (self.stacks if stacks is None else stacks))

    def with_frame(self, name, stacks=None):
        return [s for s in (self.stacks if stacks is None else stacks) if name in s.frames]


def until(enough, run, seconds):
    """run(so many seconds); where other programs keep the CPUs busy three and nine times as many, until enough(what it
    returned). Return that: what it must hold is for the caller to say."""
    for times in (1, 3, 9):
        found = run(times * seconds)
        if enough(found):
            break
        note(f"too few samples in {times * seconds} s")
    return found


def gprofiler_until(enough, *args, seconds, **kw):
    """Profiles until enough(profile)."""
    return until(enough, lambda s: gprofiler("-d", s, *args, timeout=90 + s, **kw), seconds)


def at_once_until(enough, *runs, seconds):
    """Agents beside each other until enough(profile) of each of them."""
    return until(lambda found: all(map(enough, found)), lambda s: at_once(*(("-d", s, *args) for args in runs)), seconds)


def log(p):
    """What an agent has logged so far."""
    path = os.path.join(p.out, "log")
    return open(path, encoding="utf-8", errors="replace").read() if os.path.exists(path) else ""


def started(p):
    wait_for("sampling", lambda: "Sampling" in log(p) or p.poll() is not None, 60)
    assert p.poll() is None, log(p)[-3000:]


def finish(p, sig=signal.SIGTERM):
    """Tells an agent to end. Return its last profile."""
    p.send_signal(sig)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, (p.returncode, out[-3000:], err[-3000:])
    return Profile(os.path.join(p.out, "last_profile.col"), p)


def cpu_of(pid):
    """Seconds of the CPU that a process has spent."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def links(pid):
    """What its descriptors lead to."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def descriptors(pid):
    """{kind: how many} of its open descriptors: "file" (those of sampled modules are kept open, up to a cap), "socket" and
    "pipe", devices and the rest by name."""
    return dict(collections.Counter("file" if t.startswith("/") and not t.startswith("/dev/") else re.sub(r":\[\d+\]$", "", t)
                                    for t in links(pid)))


def status_of(pid, *keys):
    """Numbers of /proc/PID/status; memory is in KiB."""
    values = {}
    for line in open(f"/proc/{pid}/status"):
        key, _, value = line.partition(":")
        if key in keys:
            values[key] = int(value.split()[0])
    return values


def wait_for_cpu(process, seconds):
    """Waits until a process has spent so much of the CPU from now on."""
    begin = cpu_of(process.pid)
    wait_for(f"{seconds} s of the CPU for process {process.pid}", lambda: cpu_of(process.pid) >= begin + seconds, 120)


def wait_for_comm(process, comm):
    """Waits until a process, or one that it started, has become a program of that name. Return its pid."""
    def look():
        for pid in [process.pid, *descendants(process.pid)]:
            with contextlib.suppress(OSError):
                if open(f"/proc/{pid}/comm").read().strip() == comm:
                    found.append(pid)
                    return True
        assert process.poll() is None, f"it ended with status {process.returncode}"
        return False
    found = []
    wait_for(f"the program {comm}", look, 60)
    return found[0]


# For workloads whose life is told in time of the CPU: as many samples on a busy machine as on a quiet one.
BY_CPU = dict(os.environ, WORKLOAD_LIFE="cpu")


def share(part, whole):
    return part / whole if whole else 0.0


def check_near(what, value, expected, tolerance):
    assert abs(value - expected) <= tolerance, f"{what}: {value:.4f}, expected {expected} +- {tolerance}"


def note(text):
    print("# " + str(text).replace("\n", "\n# "), flush=True)


def main(names):
    global env
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f)]
    # Arguments: the cases of such a name; with a minus in front, all but those.
    only, but = ([a.lstrip("-") for a in sys.argv[1:] if a.startswith("-") == minus] for minus in (False, True))
    tests = [(n, f) for n, f in tests if (not only or any(o in n for o in only)) and not any(b in n for b in but)]
    # "1/2": the first half of the cases, for files whose cases mostly wait.
    part, parts = map(int, os.environ.get("GPROFILER_TEST_PART", "1/1").split("/"))
    tests = tests[part - 1::parts]
    print(f"1..{len(tests)}")
    failed = 0
    for i, (name, fn) in enumerate(tests, 1):
        case = os.path.basename(sys.argv[0])[:-3].removeprefix("test_") + "__" + name[5:]
        env = Env()
        begin = time.monotonic()
        try:
            fn()
            print(f"ok {i} - {case}", flush=True)
        except Skip as e:
            print(f"ok {i} - {case} # SKIP {e}", flush=True)
        except BaseException as e:
            failed += 1
            print(f"not ok {i} - {case}", flush=True)
            note(traceback.format_exc())
            if isinstance(e, KeyboardInterrupt):
                raise
        finally:
            env.close()
            note(f"{case} took {time.monotonic() - begin:.1f} s")
    sys.exit(1 if failed else 0)


def wait_for(what, check, seconds=60):
    """Return what check() says once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {seconds} s")


def need_root():
    if os.geteuid() != 0:
        skip("needs root")


def send(process, sig):
    os.kill(process.pid, sig)


SIGTERM, SIGINT, SIGKILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
