# SPDX-License-Identifier: Apache-2.0
"""A Python program whose stacks are known, for every CPython from 2.7 on.

Modes: paths (70 / 20 / 10 % of the time in three paths, each through a C function), deep N, abyss N (the same), climb N
(through C now and then), part SHARE, threads, fork, exec PROGRAM, subinterpreter, interpreters, sleepy. First argument: the mode; second: seconds to live."""
import functools
import os
import sys
import time

UNIT = 4000
# WORKLOAD_LIFE=cpu, as for the programs of C: the seconds to live are of the CPU (not for fork, whose parent waits).
# Either is a function of C, so no frame.
now = time.time if os.environ.get("WORKLOAD_LIFE") != "cpu" else getattr(time, "process_time", None) or time.clock


def burn(n):
    x = 0
    for i in range(n):
        x = (x + i * i) & 0xffffff
    return x


def key_seventy(v):
    return burn(7 * UNIT // 2)


def path_seventy():
    return sorted([1, 2], key=key_seventy)


def fold_twenty(a, b):
    return burn(UNIT)


def path_twenty():
    return functools.reduce(fold_twenty, [0, 1, 2])


def generate_ten():
    for _ in range(2):
        yield burn(UNIT // 2)


def path_ten():
    return list(generate_ten())


def paths(end):
    while now() < end:
        for _ in range(10):
            path_seventy()
            path_twenty()
            path_ten()


def descend(n, end):
    if n:
        return descend(n - 1, end)
    while now() < end:
        burn(UNIT)


def rung(n, end):
    if n % 9 == 0:
        return sorted([n - 1], key=lambda m: climb(m, end))
    return climb(n - 1, end)


def climb(n, end):
    if n > 0:
        return rung(n, end)
    while now() < end:
        burn(UNIT)


def in_thread(end):
    while now() < end:
        burn(UNIT)


def threads(end):
    import threading
    workers = [threading.Thread(target=in_thread, args=(end,)) for _ in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()


def in_child(end):
    while time.time() < end and sum(os.times()[:2]) < 2:
        burn(UNIT)


def fork(end):
    """A child now and then, each of two seconds of the CPU, however many share it: what Python itself does after a fork
    (threading's and random's hooks, some milliseconds) is little of that. The parent waits."""
    while time.time() < end:
        pid = os.fork()
        if not pid:
            in_child(end)
            os._exit(0)
        os.waitpid(pid, 0)


def in_sub(end):
    while now() < end:
        burn(UNIT)


def subinterpreter(end):
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        import _interpreters as interpreters
    code = "import sys; sys.argv = %r; sys.path.insert(0, %r)\nimport truth, time\ntruth.in_sub(%r)\n" % (
        ["truth.py"], os.path.dirname(os.path.abspath(__file__)), end)
    made = interpreters.create()
    interpreters.run_string(made, code)


def inner_one(end):
    in_sub(end)


def inner_two(end):
    in_sub(end)


def in_interpreter(end, name):
    """In a thread of its own: from 3.12 on with a lock of its own, too."""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    code = "import sys; sys.argv = %r; sys.path.insert(0, %r)\nimport truth\ntruth.%s(%r)\n" % (
        ["truth.py"], os.path.dirname(os.path.abspath(__file__)), name, end)
    interpreters.run_string(interpreters.create(), code)


def interpreters(end):
    """Two more interpreters and the main one, each burning in a thread of its own."""
    import threading
    workers = [threading.Thread(target=in_interpreter, args=(end, name)) for name in ("inner_one", "inner_two")]
    for w in workers:
        w.start()
    outer(end)


def outer(end):
    while now() < end:
        burn(UNIT)


def sleepy(end):
    """Mostly in system calls, with the interpreter lock released."""
    zero = os.open("/dev/zero", os.O_RDONLY)
    while now() < end:
        read_zero(zero)


def read_zero(zero):
    return len(os.read(zero, 4 << 20))


def part(end, share):
    """That share of a CPU."""
    while now() < end:
        begin = time.time()
        while time.time() < begin + 0.05 * share:
            burn(UNIT // 4)
        time.sleep(0.05 * (1 - share))


def main():
    mode, seconds = sys.argv[1], float(sys.argv[2])
    end = now() + seconds
    if mode in ("deep", "abyss"):
        sys.setrecursionlimit(100000)
        descend(int(sys.argv[3]), end)
    elif mode == "part":
        part(end, float(sys.argv[3]))
    elif mode == "climb":
        climb(int(sys.argv[3]), end)
    elif mode == "exec":
        while sum(os.times()[:2]) < 1:
            burn(UNIT)
        os.execv(sys.argv[3], [sys.argv[3], __file__, "paths", str(seconds - 1)])
    else:
        globals()[mode](end)


if __name__ == "__main__":
    main()
