# SPDX-License-Identifier: Apache-2.0
"""gprofiler top: as text, and on a pseudo terminal."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import lib

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", "truth.py")
ENVIRON = dict(os.environ, GPROFILER_SYSTEM_CONFIG="", TERM="xterm")
ROW = re.compile(r"^ *([0-9.]+)% +([0-9.]+)% +(\d+)  (.*)$")
ENTER, LEAVE = "\033[?1049h", "\033[?1049l"


def top(*args, timeout=60, **kw):
    return subprocess.run([lib.GPROFILER, "top", *[str(a) for a in args]], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=ENVIRON, **kw)


def python(mode="paths", seconds=300):
    return lib.env.start(sys.executable, PROGRAM, mode, seconds)


class Screen:
    """gprofiler top on a pseudo terminal of its own, its picture kept as lines."""

    def __init__(self, *args, columns=150, lines=50):
        self.master, self.slave = pty.openpty()
        self.size(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.raw, self.mark = "", 0
        self.process = lib.env.start(
            lib.GPROFILER, "top", *args, stdout=self.slave, stderr=self.slave, env=ENVIRON,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0), os.dup2(self.slave, 0)))

    def size(self, columns, lines):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds):
        """The last picture that ended within this time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.raw += os.read(self.master, 1 << 16).decode(errors="replace")
                except OSError:
                    break
        pictures = list(re.finditer(r"\033\[H(.*?)\033\[J", self.raw[self.mark:], re.S))
        if not pictures:
            return []
        self.mark += pictures[-1].end()
        return pictures[-1].group(1).replace("\033[K", "").replace("\r", "").split("\n")

    def wait_for_picture(self, check, seconds=30):
        """The first picture from now on of which check(lines) is true; or the last one."""
        lines, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            picture = self.read(0.1)
            lines = picture or lines
            if picture and check(picture):
                break
        return lines

    def wait_for_rows(self, seconds=60):
        lines = self.wait_for_picture(lambda lines: any(ROW.match(line) for line in lines), seconds)
        assert any(ROW.match(line) for line in lines), "no rows: " + repr(self.raw[-2000:])
        return lines

    def press(self, keys):
        os.write(self.master, keys.encode())

    def restored(self):
        self.read(0.3)
        assert self.raw.count(ENTER) == self.raw.count(LEAVE) == 1, repr(self.raw[-300:])
        assert self.raw.rindex("\033[?25h") > self.raw.rindex("\033[?25l") and self.raw.rindex("\033[?7h") > self.raw.rindex("\033[?7l")
        assert termios.tcgetattr(self.slave) == self.before

    def close(self):
        os.close(self.master)
        os.close(self.slave)


def rows(lines):
    """(self, total, pid, rest) of the functions."""
    return [(float(m.group(1)), float(m.group(2)), int(m.group(3)), m.group(4)) for m in map(ROW.match, lines) if m]


def last_refresh(r):
    return r.stdout[r.stdout.rindex("gprofiler top "):]


def test_batch_of_a_known_program():
    lib.need_root()
    p = python()
    lib.wait_for_cpu(p, 0.5)
    r = top("-b", "-n", 4, "-p", p.pid, "--rows", 400)
    assert r.returncode == 0, r
    refreshes = re.split(r"^(?=gprofiler top )", r.stdout, flags=re.M)[1:]
    assert len(refreshes) == 4, r.stdout[:2000]
    seen = 0
    for text in refreshes:
        lines = text.splitlines()
        assert re.match(r"gprofiler top \d\d:\d\d:\d\d  CPU +\d+% of \d+%  through \w+: \S+ 99 Hz  own ", lines[0]), lines[0]
        assert re.match(r"lost \d+ of \d+ ticks", lines[1]), lines[1]
        table = rows(lines)
        assert all(pid == p.pid for _, _, pid, _ in table), table
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
        selves = [x[0] for x in table]
        assert selves == sorted(selves, reverse=True)
        totals = {re.sub(r".*?  (\S+) \(.*", r"\1", rest): total for _, total, _, rest in table if rest.endswith("_[p]")}
        seen += 1 if 45 < totals.get("path_seventy", 0) < 95 and totals.get("main", 0) > 90 else 0
    lib.note(f"{seen} of 4 refreshes with path_seventy between 45 and 95 % and main above 90 %")
    assert seen >= 3, r.stdout[:4000]


def test_batch_orders():
    lib.need_root()
    p = python()
    lib.wait_for_cpu(p, 0.3)
    r = top("-b", "-n", 2, "-s", "total", "--rows", 50, "-p", p.pid)
    table = rows(last_refresh(r).splitlines())
    assert r.returncode == 0 and len(table) > 5 and [x[1] for x in table] == sorted((x[1] for x in table), reverse=True), r
    r = top("-b", "-n", 2, "-s", "process", "--rows", 100000)
    # Each process stands in one piece; one that called exec is two, by name.
    found = [(x[2], x[3].split("  ", 1)[0]) for x in rows(last_refresh(r).splitlines())]
    assert len(found) > 10 and sum(a != b for a, b in zip(found, found[1:])) == len(set(found)) - 1, found
    r = top("-b", "-n", 2, "-s", "function", "--rows", 100000)
    names = [x[3].split("  ", 1)[1].strip() for x in rows(last_refresh(r).splitlines())]
    assert len(names) > 10 and sum(a != b for a, b in zip(names, names[1:])) == len(set(names)) - 1


def test_processes_and_kernel_of_the_machine():
    lib.need_root()
    p = python()
    lib.start("split", 200)
    lib.start("syscalls", 200)
    lib.wait_for_cpu(p, 0.3)
    r = top("-b", "-n", 3, "--rows", 100000)
    last = last_refresh(r)
    for part in ("_[k]", "_[p]", "w_split", lib.comm("syscalls")):
        assert part in last, (part, last[:3000])
    shares = [float(m) for m in re.findall(r"^ *([0-9.]+)% +\d+  \S", last[:last.index("by self")], re.M)]
    assert shares and shares == sorted(shares, reverse=True) and sum(shares) < 110 * os.cpu_count(), shares


def test_no_terminal_is_batch():
    lib.need_root()
    r = top("-n", 1)
    assert r.returncode == 0 and r.stdout.startswith("gprofiler top ") and "\033" not in r.stdout, r


def test_end_of_the_process():
    lib.need_root()
    p = python("paths", 3)
    r = top("-b", "-p", p.pid)
    assert r.returncode == 0 and "has ended" in r.stderr, r
    p.wait()
    r = top("-b", "-p", p.pid)
    assert r.returncode == 1 and "no such process" in r.stderr, r


def test_wrong_options():
    assert top("more").returncode == 2
    assert top("-s", "size").returncode == 2
    assert top("-n", "x").returncode == 2
    r = top("--help")
    assert r.returncode == 0 and "--iterations" in r.stdout and "--batch" in r.stdout and "Keys:" in r.stdout, r


def test_rows_and_keys():
    lib.need_root()
    p = python()
    s = Screen("-p", f"{p.pid},{lib.start('split', 300).pid}")
    s.wait_for_rows()
    orders = {}
    for key, word in (("t", "by total"), ("s", "by self"), ("p", "by process"), ("f", "by function")):
        s.press(key)
        # A full one: there may be few functions in a second of a busy machine.
        lines = s.wait_for_picture(lambda lines: len(lines) == 50 and any(line.startswith(word + ";") for line in lines), 60)
        assert any(line.startswith(word + ";") for line in lines), (key, lines)
        orders[key] = rows(lines)
        assert len(orders[key]) > 5 and len(lines) == 50
    assert [x[1] for x in orders["t"]] == sorted((x[1] for x in orders["t"]), reverse=True)
    assert [x[0] for x in orders["s"]] == sorted((x[0] for x in orders["s"]), reverse=True)
    assert any(x[2] == p.pid and x[3].endswith("_[p]") for x in orders["t"]), orders["t"]
    pids = [x[2] for x in orders["p"]]
    assert sum(a != b for a, b in zip(pids, pids[1:])) == len(set(pids)) - 1, pids
    s.press("q")
    assert s.process.wait(30) == 0
    s.restored()
    s.close()


def test_small_terminals():
    lib.need_root()
    python()
    s = Screen()
    s.wait_for_rows()
    for columns, lines in ((20, 5), (80, 24), (10, 2), (3, 1), (300, 100), (20, 5)):
        s.size(columns, lines)
        s.read(0.3)  # what was being drawn
        picture = s.wait_for_picture(lambda lines: True)
        assert picture and len(picture) <= lines and max(map(len, picture)) <= columns, (columns, lines, picture)
        if lines == 1:
            assert picture == ["too"], picture
        elif lines == 5:
            assert len(picture) == 5 and picture[-1].startswith("not shown: ") and picture[1].startswith("lost "), picture
    s.press("q")
    assert s.process.wait(30) == 0
    s.restored()
    s.close()


def ended_by(act, status):
    lib.need_root()
    s = Screen()
    s.wait_for_rows()
    act(s)
    assert s.process.wait(30) == status, s.process.returncode
    s.restored()
    s.close()


def test_control_c():
    ended_by(lambda s: s.press("\x03"), 0)


def test_sigterm():
    ended_by(lambda s: s.process.terminate(), 0)


def test_crash():
    ended_by(lambda s: s.process.send_signal(signal.SIGSEGV), -signal.SIGSEGV)


def test_hangup():
    lib.need_root()
    s = Screen()
    s.wait_for_rows()
    s.process.send_signal(signal.SIGHUP)
    assert s.process.wait(30) == 0
    s.close()


def test_suspend_and_go_on():
    lib.need_root()
    python()
    s = Screen()
    s.wait_for_rows()
    s.press("\x1a")

    def state():
        return open(f"/proc/{s.process.pid}/stat").read().rpartition(")")[2].split()[0]
    lib.wait_for("a stop", lambda: (s.read(0.1), state())[1] == "T", 60)
    s.read(0.2)
    assert s.raw.endswith(LEAVE) and termios.tcgetattr(s.slave) == s.before, s.raw[-100:]
    s.process.send_signal(signal.SIGCONT)
    mark = len(s.raw)
    s.wait_for_rows()
    assert ENTER in s.raw[mark:]
    s.press("q")
    assert s.process.wait(30) == 0
    assert termios.tcgetattr(s.slave) == s.before and s.raw.count(ENTER) == 2
    s.close()


def test_own_cost():
    """Naming every second is cheap once everything on the machine has been met."""
    lib.need_root()
    python()
    r = top("-b", "-n", 16, "--rows", 1)
    own = [float(x) for x in re.findall(r"own ([0-9.]+)%", r.stdout)]
    lib.note("of one CPU, by second: " + " ".join(map(str, own)))
    assert len(own) == 16 and sorted(own[6:])[len(own[6:]) // 2] < 10, own


if __name__ == "__main__":
    lib.main(globals())
