# SPDX-License-Identifier: Apache-2.0
"""docs/compatibility.md against the program: every flag in it is given, every flag of the reference is in it."""
import os
import re
import socket
import subprocess

import lib

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DOC = os.path.join(ROOT, "docs", "compatibility.md")
ROWS = os.path.join(ROOT, "src", "config", "options.def")
LOCK = f"gprofiler-test-compat-{os.getpid()}"


def rows():
    """(example, word) of each flag in the tables."""
    for line in open(DOC, encoding="utf-8"):
        cells = [c.strip() for c in line.strip().split("|")]
        if len(cells) < 5 or not cells[1].startswith("`-"):
            continue
        for example in re.findall(r"`([^`]+)`", cells[1]):
            yield example, cells[2]


def answer(example):
    """What the program says to a flag; with its lock taken it goes no further than reading it."""
    args = example.split()
    if "-o" not in args and "--output-dir" not in args:
        args = ["-o", os.path.join(lib.env.dir, "out"), *args]
    env = {k: v for k, v in os.environ.items() if not k.startswith("GPROFILER_")}
    env.update(GPROFILER_LOCK_NAME=LOCK, GPROFILER_SYSTEM_CONFIG="")
    p = subprocess.run([lib.GPROFILER, *args], env=env, capture_output=True, text=True, timeout=90,
                       stdin=subprocess.DEVNULL)
    if p.returncode != 2:
        return "taken"
    return "refused" if "is not in this version" in p.stderr + p.stdout else p.stderr


def test_every_flag_is_answered_as_the_table_says():
    lib.need_root()
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    lock.bind(b"\0\0" + LOCK.encode())
    wrong, n = [], 0
    for example, word in rows():
        assert word in ("works", "accepted", "refused"), (example, word)
        n += 1
        said = answer(example)
        if said != ("refused" if word == "refused" else "taken"):
            wrong.append(f"{example}: {word} in docs/compatibility.md, {said}")
    lock.close()
    assert n > 120, n
    assert not wrong, "\n".join(wrong)


def test_every_flag_of_the_reference_is_in_the_table():
    names, accepted, later = set(), set(), set()
    for line in open(ROWS, encoding="utf-8"):
        if re.match(r"(OPT|ALIAS)\(", line) and re.search(r"\bREF\b", line):
            name = re.search(r'"([a-z0-9-]+)"', line)[1]
            names.add(name)
            if re.search(r"\b(ACCEPTED|LATER)\b", line):
                accepted.add(name)
            later |= {f"--{name} {v}" for v in re.findall(r"([a-z-]+)~", line)}
    said = {flag for example, _ in rows() for flag in re.findall(r"--([a-z0-9-]+)", example)}
    missing = sorted(names - said - {"help"})
    unknown = sorted(said - names)
    assert len(names) > 100
    assert not missing, f"not in docs/compatibility.md: {missing}"
    assert not unknown, f"no flag of the reference: {unknown}"
    for example, word in rows():
        first = re.match(r"--([a-z0-9-]+)", example)
        if first and word != "refused":
            assert (word == "accepted") == (first[1] in accepted or example in later), f"{example} is not {word}: see options.def"


# gprofiler-agent.md section 4, by the heading and the first column of docs/compatibility.md; what is sent is compared with
# these tables where it is received (tests/delivery, test_machine.py).
FIELDS = {
    ("Requests with a token", "header"): "GPROFILER-API-KEY GPROFILER-SERVICE-NAME Content-Encoding Content-Type Content-Length",
    ("Requests with a token", "query"): "key service hostname timestamp version",
    ("Upload", "body"): "start_time end_time hostname profile cpu_avg mem_avg spawn_time gpid",
    ("Log batch", "batch"): "batch_id metadata lost_logs_count logs",
    ("Log batch", "line"): "severity timestamp text",
    ("Log batch", "text"): "logger_name serial_no message truncated lineno pathname funcname thread timestamp exception extra",
    ("Heartbeat", "body"): "ip_address hostname service_name last_command_id status timestamp received_command_ids executed_command_ids "
                           "perf_supported_events agent_version run_mode namespace pod_name containers",
    ("Heartbeat", "container"): "container_id container_name runtime namespace pod_name workload_name workload_kind processes",
    ("Command", "combined_config"): "duration frequency profiling_mode target_hostnames pids continuous enable_perfspect max_processes "
                                    "profiler_configs stop_level",
    ("Command", "profiler_configs"): "perf async_profiler pyperf pyspy phpspy rbspy dotnet_trace nodejs_perf",
    ("Command", "perf` as an object"): "mode events",
    ("Command", "async_profiler` as an object"): "enabled time alloc_interval",
    ("Answers", "of a heartbeat"): "success message profiling_command command_id",
    ("Answers", "profiling_command"): "command_type combined_config",
    ("Answers", "of a completion"): "success message",
    ("Completion", "body"): "command_id hostname status execution_time error_message results_path",
    ("Metrics", "tag"): "service hostname component severity metric_type os_type python_version run_id cycle_id method_name profiler_name "
                        "error_category response_type status_code error",
}


def test_every_field_of_the_protocols_is_in_the_tables():
    for (heading, column), names in FIELDS.items():
        there = lib.documented(heading, column)
        assert there == set(names.split()), (heading, column, there ^ set(names.split()))


def test_what_is_said_to_be_tested_is():
    """docs/acceptance.md names tests; `*.py` are files, there or here."""
    there = set()
    for directory, _, files in os.walk(os.path.join(ROOT, "tests")):
        for name in files:
            if name.endswith((".py", ".c")):
                text = open(os.path.join(directory, name), encoding="utf-8").read()
                there |= set(re.findall(r"(?:def|void) ((?:test_|[a-z_0-9]+__)[a-z_0-9]+)\(", text))
    named = re.findall(r"`((?:test_[a-z_0-9]+|[a-z]\w*__\w+))`", open(os.path.join(ROOT, "docs", "acceptance.md"), encoding="utf-8").read())
    assert len(named) > 50, len(named)
    assert not set(named) - there, sorted(set(named) - there)


def test_what_has_no_effect_yet_is_named_once():
    """A deployment that asks for every runtime is profiled all the same, and one line says what it does not get."""
    lib.need_root()
    prof = lib.gprofiler("-d", 1, "--java-mode", "ap", "--php-mode", "phpspy", "--ruby-mode", "rbspy", "--no-dotnet")
    said = [l for l in lib.log(prof.process).splitlines() if "No effect yet" in l]
    assert len(said) == 1 and "--java-mode ap, --php-mode phpspy, --ruby-mode rbspy." in said[0], said
    assert "] ERROR: " not in lib.log(prof.process) and prof.ledger["entries"] > 0


if __name__ == "__main__":
    lib.main(globals())
