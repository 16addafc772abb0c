#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the end of a large window to its delivered upload: CPU and memory of the agent. And the agent idle beside its metrics."""
import os
import re
import sys
import time

import lib

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "delivery"))
import studio_server as S

# Nearly every sample is a stack of its own (workloads/paths.c); the tables take 65,536 a window.
WINDOW = int(os.environ.get("BENCH_WINDOW_SECONDS", "34"))
MB = 1e6


def wait_for(check, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not check():
        time.sleep(0.01)
    return check()


def one(*args):
    """(distinct stacks, CPU seconds, bytes of anonymous memory more at most, seconds) of one window and its upload."""
    studio = S.Studio()
    spool = os.path.join("/tmp", f"gprofiler-bench-spool-{os.getpid()}")
    agent = lib.Agent("-c", "-d", WINDOW, "-f", 1000, "--max-cpu", 0, "--max-memory", 0, "-u", "--token", studio.token, "--service-name", "bench",
                      "--server-host", studio.url, "--spool-dir", spool, *args)
    log = agent.dir + "/log"
    read = lambda: open(log, encoding="utf-8").read() if os.path.exists(log) else ""
    wait_for(lambda: "Sampling" in read(), 30)
    begin = time.monotonic()
    with lib.Load(*([lib.workload("paths"), str(WINDOW + 10), str(i * 65536)] for i in range(os.cpu_count()))):
        time.sleep(max(0, begin + WINDOW - 0.5 - time.monotonic()))
        cpu, before = lib.cpu_seconds(agent.pid), lib.anonymous(agent.pid)
    start, most = time.monotonic(), before
    uploads = lambda: len(studio.uploads)
    while time.monotonic() - start < 60 and not (uploads() and "Successfully uploaded" in read()):
        most = max(most, lib.anonymous(agent.pid))
        time.sleep(0.005)
    took, used = time.monotonic() - start, lib.cpu_seconds(agent.pid) - cpu
    last = os.path.join(agent.dir, "last_profile.col")
    with open(last, encoding="utf-8") as f:
        distinct = sum(1 for line in f if line[0] != "#")
    parts = uploads()
    agent.proc.terminate()
    agent.proc.communicate(timeout=60)
    studio.close()
    os.system(f"rm -rf {spool} {agent.dir}")
    return distinct, used, most - before, took, parts


for what, args in (("no page", ["--no-flamegraph"]), ("page too", [])):
    distinct, used, more, took, parts = one(*args)
    how = f"gprofiler -c -d {WINDOW} -f 1000 -u {' '.join([*args, ''])}beside {os.cpu_count()} workload_paths; {distinct} distinct stacks, {parts} uploads, {took:.1f} s"
    print(f"window of 50,000 stacks to its upload, {what}: CPU | {used:.2f} s | - | - | < 2 s | {how}")
    print(f"window of 50,000 stacks to its upload, {what}: anonymous memory more | {more / MB:.1f} MB | - | - | < 30 MB | the same", flush=True)
