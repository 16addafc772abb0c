# SPDX-License-Identifier: Apache-2.0
"""The alert rules and the dashboard: each rule fires past its threshold and is silent before it, by the real
promtool; and both name only what a live agent exports."""
import json
import os
import re
import shutil
import subprocess

import lib
import watch_lib
import yaml_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = os.path.join(ROOT, "packaging", "prometheus", "gprofiler-agent.rules.yml")
DASHBOARD = os.path.join(ROOT, "packaging", "grafana", "gprofiler-agent.json")
P = "gprofiler_agent_"
WHO = 'job="gprofiler",instance="a"'
MB = 1048576
DAY = 1440  # minutes


def series(name, values, labels=""):
    return {"series": "%s{%s%s}" % (name if name == "up" else P + name, labels + "," if labels else "", WHO), "values": str(values)}


def level(v):
    """A gauge that stays."""
    return f"{v}+0x{DAY}"


def rising(total):
    """A counter that rises to this over a day."""
    return f"0+{total / DAY}x{DAY}"


def memory(kind, mb, sampling):
    return [series("memory_bytes", level(int(mb * MB)), f'kind="{kind}"'), series("sampling", level(sampling))]


def runs(bad, clean, cause="killed"):
    return [series("runs_ended_total", rising(bad), f'cause="{cause}"'), series("runs_ended_total", rising(clean), 'cause="clean"')]


# alert: [(series that fire it, series just below)]
CASES = {
    "GprofilerAgentActiveMemory": [(memory("anonymous", 30.1, 1), memory("anonymous", 29.9, 1)), (memory("resident", 45.1, 1), memory("resident", 44.9, 1)),
                                   (memory("bpf", 24.1, 1), memory("bpf", 23.9, 1)), (memory("bpf", 24.1, 1), memory("bpf", 24.1, 0))],
    "GprofilerAgentActiveMemoryHigh": [(memory("anonymous", 37.6, 1), memory("anonymous", 37.4, 1)), (memory("resident", 56.3, 1), memory("resident", 56.2, 1)),
                                       (memory("bpf", 30.1, 1), memory("bpf", 29.9, 1))],
    "GprofilerAgentIdleMemory": [(memory("anonymous", 4.1, 0), memory("anonymous", 3.9, 0)), (memory("resident", 12.1, 0), memory("resident", 11.9, 0)),
                                 (memory("bpf", 1, 0), memory("bpf", 0, 0)), (memory("anonymous", 4.1, 0), memory("anonymous", 4.1, 1))],
    "GprofilerAgentIdleMemoryHigh": [(memory("anonymous", 5.34, 0), memory("anonymous", 5.33, 0)), (memory("resident", 16.1, 0), memory("resident", 15.9, 0))],
    "GprofilerAgentPeakMemory": [(memory("peak_anonymous", 40.1, 1), memory("peak_anonymous", 39.9, 1))],
    "GprofilerAgentPeakMemoryHigh": [(memory("peak_anonymous", 48.1, 1), memory("peak_anonymous", 47.9, 1))],
    "GprofilerAgentOutOfMemory": [([series("runs_ended_total", "0+0x1420 1+0x20", 'cause="oom"')], [series("runs_ended_total", "0+0x1420 1+0x20", 'cause="reboot"')])],
    "GprofilerAgentPipes": [([series("pipes", level(101))], [series("pipes", level(100))])],
    "GprofilerAgentPipesHigh": [([series("pipes", level(201))], [series("pipes", level(200))])],
    "GprofilerAgentChildren": [([series("child_processes", level(2))], [series("child_processes", level(1))])],
    "GprofilerAgentChildrenGrow": [([series("child_processes", f"0+10.5x{DAY}")], [series("child_processes", f"0+9.5x{DAY}")])],
    "GprofilerAgentDiskWrites": [([series("disk_written_bytes_total", rising(20.1e9))], [series("disk_written_bytes_total", rising(19.9e9))])],
    "GprofilerAgentErrors": [([series("log_lines_total", rising(101), 'level="error"')], [series("log_lines_total", rising(99), 'level="error"')]),
                             ([series("log_lines_total", rising(101), 'level="error"')], [series("log_lines_total", rising(999), 'level="warning"')])],
    "GprofilerAgentErrorsHigh": [([series("log_lines_total", rising(201), 'level="error"')], [series("log_lines_total", rising(199), 'level="error"')])],
    "GprofilerAgentPidErrors": [([series("pid_errors_total", rising(51))], [series("pid_errors_total", rising(49))])],
    "GprofilerAgentPidErrorsHigh": [([series("pid_errors_total", rising(101))], [series("pid_errors_total", rising(99))])],
    "GprofilerAgentCrash": [([series("runs_ended_total", "3+0x1420 4+0x20", 'cause="crash"')], [series("runs_ended_total", level(3), 'cause="crash"')])],
    "GprofilerAgentRestarts": [(runs(6, 94), runs(4, 96)), (runs(6, 94, "crash"), runs(50, 50, "reboot"))],
    "GprofilerAgentRestartsHigh": [(runs(11, 89), runs(9, 91)), (runs(11, 89, "failed"), runs(50, 50, "reboot"))],
    "GprofilerAgentCoverage": [([series("coverage_ratio", level(0.94)), series("sampling", level(1))], [series("coverage_ratio", level(0.96)), series("sampling", level(1))])],
    "GprofilerAgentPaused": [([series("governor_level", level(5))], [series("governor_level", level(4))])],
    # The clock of these tests starts at 0: the last window ended then, or goes along.
    "GprofilerAgentStalled": [([series("last_window_time_seconds", level(60)), series("sampling", level(1))],
                               [series("last_window_time_seconds", f"60+60x{DAY}"), series("sampling", level(1))])],
    "GprofilerAgentNotSending": [([series("spool_profiles", level(3)), series("last_upload_time_seconds", level(60))],
                                  [series("spool_profiles", level(3)), series("last_upload_time_seconds", f"60+60x{DAY}")]),
                                 ([series("spool_profiles", level(3)), series("last_upload_time_seconds", level(60))],
                                  [series("spool_profiles", level(0)), series("last_upload_time_seconds", level(60))])],
    "GprofilerAgentProfilesLost": [([series("spool_lost_total", "0+0x1420 1+0x20", 'reason="age"'), series("profiles_total", level(0), 'result="dropped"')],
                                    [series("spool_lost_total", level(1), 'reason="age"'), series("profiles_total", level(7), 'result="dropped"')])],
    "GprofilerAgentCommandHistory": [([series("command_history", level(1001))], [series("command_history", level(1000))])],
    "GprofilerAgentCommandHistoryHigh": [([series("command_history", level(1201))], [series("command_history", level(1200))])],
    "GprofilerAgentDown": [([series("up", level(0))], [series("up", level(1))])],
}


def rules():
    return [r for g in yaml_file.load(RULES)["groups"] for r in g["rules"]]


def promtool():
    if not shutil.which("promtool"):
        lib.skip("promtool is not installed (Debian: prometheus)")
    return "promtool"


def test_every_rule_has_a_summary_and_a_case():
    names = [r["alert"] for r in rules()]
    assert len(names) == len(set(names))
    assert set(names) == set(CASES), set(names) ^ set(CASES)
    for r in rules():
        assert r["labels"]["severity"] in ("warning", "critical"), r
        assert r["annotations"]["summary"] and r["annotations"]["description"], r


def test_every_rule_fires_past_its_threshold_and_not_before():
    fleet, expected = [], []
    by_name = {r["alert"]: r for r in rules()}
    for name, cases in CASES.items():
        assert "{{" in by_name[name]["annotations"]["summary"], name  # as it is told to whoever is on duty: the text renders
        for fires, silent in cases:
            for inputs, value in ((fires, 1), (silent, 0)):
                # A host of its own each: one day of a fleet, in which every alert is about one host.
                host = f'instance="{name}-{len(expected)}"'
                fleet += [dict(s, series=s["series"].replace('instance="a"', host)) for s in inputs]
                expected.append({"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing",{host}}}) or vector(0)',
                                 "eval_time": f"{DAY}m", "exp_samples": [{"labels": "{}", "value": value}]})
    path = os.path.join(lib.env.dir, "cases.yml")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"rule_files": [RULES], "evaluation_interval": "10m",
                   "tests": [{"interval": "1m", "input_series": fleet, "promql_expr_test": expected}]}, f)
    r = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True)
    lib.note(f"{len(expected)} cases of {len(CASES)} rules")
    assert r.returncode == 0, (r.stdout + r.stderr)[-6000:]


def metric_names(expression):
    return set(re.findall(r"\bgprofiler_agent_\w+", expression))


def test_rules_and_dashboard_name_only_what_a_live_agent_exports():
    check = subprocess.run([promtool(), "check", "rules", RULES], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    with watch_lib.agent("-d", 1, "-f", 99) as agent:
        samples = agent.metrics()
    exported = {name.split("{")[0] for name in watch_lib.values(samples)}
    used = set()
    for r in rules():
        used |= metric_names(r["expr"])
        for name, label, value in re.findall(r'(gprofiler_agent_\w+)\{(\w+)="(\w+)"\}', r["expr"]):
            assert re.search(r'^%s\{[^}]*%s="%s"' % (name, label, value), samples, re.M), (name, label, value)
    dashboard = json.load(open(DASHBOARD, encoding="utf-8"))
    expressions = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
    assert len(expressions) > 15
    # Grafana's variable filled in, each is an expression that Prometheus takes.
    path = os.path.join(lib.env.dir, "dashboard.yml")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"groups": [{"name": "dashboard", "rules": [{"record": f"panel:{i}", "expr": e.replace("$instance", ".*")}
                                                              for i, e in enumerate(expressions)]}]}, f)
    check = subprocess.run([promtool(), "check", "rules", path], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    for e in expressions:
        used |= metric_names(e)
    variables = [v["query"]["query"] if isinstance(v["query"], dict) else v["query"] for v in dashboard["templating"]["list"]]
    for q in variables:
        used |= metric_names(q)
    assert used <= exported, used - exported
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(ids) == len(set(ids))


if __name__ == "__main__":
    lib.main(globals())
