#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Control from afar: from the heartbeat that brings a command to its first sample; memory idle and ten seconds after a stop."""
import os
import statistics
import sys
import tempfile
import time

import lib

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "delivery"))
import studio_server as S

ROUNDS = int(os.environ.get("BENCH_HEARTBEAT_ROUNDS", "5"))


def wait_for(check, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not check():
        time.sleep(0.01)
    return check()


def one_profile(studio):
    """At most how long it took to the first sample: until the upload has come, less the profile's own length."""
    before = len(studio.uploads)
    command = studio.order(continuous=False, duration=1, frequency=99)
    if not wait_for(lambda: len(studio.uploads) > before and studio.completion(command)):
        raise RuntimeError("no upload")
    u = studio.uploads[before]
    return u.time - studio.handed[command] - u.header["duration_ns"] / 1e9


with tempfile.TemporaryDirectory(prefix="gprofiler-bench-") as directory:
    ca = S.make_ca(directory)
    studio = S.Studio(tls=S.make_cert(directory, ca, "server"))
    agent = lib.Agent("-u", "--token", studio.token, "--service-name", "bench", "--server-host", studio.url, "--api-server", studio.url,
                      "--tls-ca-bundle", ca[0], "--enable-heartbeat-server", "--heartbeat-interval", 1,
                      "--spool-dir", directory + "/spool", "--state-dir", directory + "/state", "--no-flamegraph")
    try:
        wait_for(lambda: len(studio.heartbeats) >= 3)
        time.sleep(0.5)
        idle = lib.memory(agent.pid)
        with lib.Load(*([lib.workload("split"), "300"] for _ in range(os.cpu_count()))):
            took = [one_profile(studio) for _ in range(ROUNDS)]
            start = studio.order(continuous=True, duration=2, frequency=99)
            wait_for(lambda: studio.completion(start))
        stop = studio.order("stop", stop_level="host")
        wait_for(lambda: studio.completion(stop))
        time.sleep(10)
        after = lib.memory(agent.pid)
    finally:
        agent.close()
        studio.close()
lib.row("from the heartbeat that brings a command to its first sample", f"{statistics.median(took) * 1000:.0f} ms", budget="< 1 s",
        command=f"idle agent under TLS, {ROUNDS} ad-hoc profiles beside busy CPUs, the median ({min(took) * 1000:.0f} to "
                f"{max(took) * 1000:.0f}); until the upload has come, less the profile's length")
lib.row("idle under TLS heartbeats: anonymous memory", lib.mb(idle["anonymous"]), budget="4 MB", command="the same, before the first command")
lib.row("idle under TLS heartbeats: resident", lib.mb(idle["resident"]), budget="12 MB", command="the same")
lib.row("idle under TLS heartbeats: BPF and rings", lib.mb(idle["bpf"]), budget="0 MB", command="the same")
lib.row("10 s after a stop: anonymous memory", lib.mb(after["anonymous"]), budget="idle + 1 MB", command="the same, after all that")
lib.row("10 s after a stop: BPF and rings", lib.mb(after["bpf"]), budget="0 MB", command="the same")
