"""A real Prometheus scrapes a real manager, and its queries give the numbers of the requests that were made.

Needs prometheus and promtool; scripts/install-full installs them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.manager_process import ROOT, ManagerProcess, running_manager, until, write_config
from tests.integration.prometheus_process import Prometheus, labels, running_prometheus

pytestmark = [pytest.mark.full, pytest.mark.timeout(180)]

MONITORING = ROOT / "docs" / "monitoring"
SCRIPT = [{"tool_calls": [{"name": "echo", "args": {"text": "hello"}}]}, "It said hello."]
ASSISTANT = {
    "behavior": {"model_parameters": {"provider": "scripted", "model": "script", "script": SCRIPT, "retries": 0}},
    "capabilities": {
        "mcp_servers": [
            {
                "name": "local",
                "transport": "stdio",
                "command": sys.executable,
                "args": ["-m", "tests.fixtures.mcp_server"],
                "env": {"PYTHONPATH": str(ROOT)},
            }
        ]
    },
}
AGENTS: list[dict[str, Any]] = [
    {"id": "planner"},
    {"id": "pair", "instances": 2},
    {"id": "mortal"},
    {"id": "assistant", "entryPoint": "react", "definition": ASSISTANT},
    {"id": "broken", "entryPoint": "no.such.module:thing"},
]
RUNNING = ("planner", "pair", "mortal", "assistant")
# Of these a healthy fleet has nothing: a scripted model has no price, and nothing has failed.
MAY_BE_EMPTY = {"Cost per hour", "Restarts", "Exits by reason"}


@dataclass(frozen=True)
class Watched:
    manager: ManagerProcess
    prometheus: Prometheus

    def execute(self, agent_id: str, times: int, status: int = 200, **parameters: Any) -> None:
        for _ in range(times):
            answer = self.manager.execute(agent_id, **parameters)
            assert answer.status_code == status, answer.text

    def stream(self, agent_id: str) -> None:
        path, accept = f"/api/agent-services/{agent_id}/execute", {"Accept": "text/event-stream"}
        answer = self.manager.http.post(path, json={"parameters": {"input": "go"}}, headers=accept)
        assert "event: result" in answer.text, answer.text

    def restart(self, agent_id: str) -> None:
        """Return once a successor serves and its predecessor has gone."""
        old = self.manager.agent(agent_id)["instance_id"]
        self.manager.act(agent_id, "restart")

        def replaced() -> bool:
            row = self.manager.agent(agent_id)
            (ready, *older) = [instance["ready"] for instance in row["instances"]] or [False]
            return row["state"] == "running" and row["instance_id"] != old and ready and not older

        until(replaced, f"{agent_id} is restarted")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A fleet that runs, and a Prometheus that has read it once, by the manager's page and by the adapters' own."""
    directory = tmp_path_factory.mktemp("prometheus")
    with running_manager(write_config(directory, AGENTS)) as manager:
        for agent_id in RUNNING:
            manager.wait_for(agent_id, "running")
        address = manager.url.removeprefix("http://")
        jobs = [
            {"job_name": "agent-manager", "static_configs": [{"targets": [address]}]},
            {
                "job_name": "adapters",
                "http_sd_configs": [{"url": f"{manager.url}/api/prometheus-targets", "refresh_interval": "500ms"}],
            },
        ]
        config = {"rule_files": [str(MONITORING / "alerts.yml")], "scrape_configs": jobs}
        with running_prometheus(directory, config) as prometheus:
            prometheus.until('sum(up{job="agent-manager"})', {frozenset(): 1})
            yield Watched(manager, prometheus)


def test_requests_are_counted_right_through_a_restart_of_the_agent(watched: Watched) -> None:
    prometheus = watched.prometheus
    forwarded = 'sum by (outcome) (manager_forward_requests_total{agent_id="planner"}) > 0'
    told = 'sum by (outcome) (agent_tasks_total{agent_id="planner", job="agent-manager"}) > 0'
    ever = 'sum by (outcome) (max_over_time(agent_tasks_total{agent_id="planner", job="agent-manager"}[1h])) > 0'
    instances = 'count(agent_task_running{agent_id="planner", job="agent-manager"})'
    done, failed = labels(outcome="2xx"), labels(outcome="5xx")
    succeeded, broken = labels(outcome="succeeded"), labels(outcome="failed")

    watched.execute("planner", 5)
    watched.execute("planner", 2, status=500, fail="on purpose")
    prometheus.until(forwarded, {done: 5, failed: 2})
    prometheus.until(told, {succeeded: 5, broken: 2})

    watched.restart("planner")
    watched.execute("planner", 7)
    prometheus.until(forwarded, {done: 12, failed: 2})
    # The old process' series have ended with it; the new one counts for itself.
    prometheus.until(told, {succeeded: 7})
    prometheus.until(instances, {frozenset(): 1})
    prometheus.until(ever, {succeeded: 12, broken: 2})
    for once in ("agent_restarts_total", "agent_exits_total", "agent_drain_duration_seconds_count"):
        prometheus.until(f'sum({once}{{agent_id="planner"}})', {frozenset(): 1})
    prometheus.until('sum(agent_start_duration_seconds_count{agent_id="planner"})', {frozenset(): 2})


def test_latencies_are_measured_right(watched: Watched) -> None:
    watched.execute("mortal", 4, sleep_ms=300)
    query = 'sum(manager_forward_duration_seconds_count{agent_id="mortal"})'
    watched.prometheus.until(query, {frozenset(): 4})
    quick = 'sum(manager_forward_duration_seconds_bucket{agent_id="mortal", le="0.25"})'
    watched.prometheus.until(quick, {frozenset(): 0})
    # Timers are exact to a millisecond.
    watched.prometheus.until(
        'sum(manager_forward_duration_seconds_sum{agent_id="mortal"}) >= bool 1.19', {frozenset(): 1}
    )


def test_two_processes_of_an_agent_add_up_and_are_never_counted_twice(watched: Watched) -> None:
    watched.execute("pair", 20)
    tasks = 'agent_tasks_total{agent_id="pair", outcome="succeeded", job="agent-manager"}'
    watched.prometheus.until(f"sum({tasks})", {frozenset(): 20})
    watched.prometheus.until(f"count({tasks})", {frozenset(): 2})
    watched.prometheus.until('sum(manager_forward_requests_total{agent_id="pair"})', {frozenset(): 20})
    watched.prometheus.until('sum(agent_instances_ready{agent_id="pair"})', {frozenset(): 2})


def test_a_crash_is_an_exit_by_its_reason(watched: Watched) -> None:
    before = watched.manager.agent("mortal")
    os.kill(before["pid"], signal.SIGKILL)
    exits = 'sum by (reason) (agent_exits_total{agent_id="mortal"}) > 0'
    watched.prometheus.until(exits, {labels(reason="signal"): 1})
    watched.prometheus.until('sum(agent_restarts_total{agent_id="mortal"})', {frozenset(): 1})
    watched.prometheus.until('sum(agent_ready{agent_id="mortal"})', {frozenset(): 1})


def test_adapters_that_prometheus_finds_by_itself_say_the_same(watched: Watched) -> None:
    processes = {agent_id: len(watched.manager.agent(agent_id)["instances"]) for agent_id in RUNNING}
    watched.prometheus.until(
        'count by (agent_id) (up{job="adapters"} == 1)',
        {labels(agent_id=agent_id): count for agent_id, count in processes.items()},
    )
    assert processes["pair"] == 2
    # The very same series, but for the address that they were read from: of three processes four outcomes each.
    both = 'count by (agent_id, instance_id, outcome) (agent_tasks_total{agent_id=~"planner|pair"})'
    watched.prometheus.until(f"count({both} == 2)", {frozenset(): 12})
    watched.prometheus.until(f"{both} != 2", {})


def test_the_shipped_alerts_fire_for_what_is_wrong_and_for_nothing_else(watched: Watched) -> None:
    watched.manager.wait_for("broken", "failed")
    alerts = 'count by (alertname, agent_id, severity) (ALERTS{alertstate="firing"})'
    watched.prometheus.until(alerts, {labels(alertname="AgentFailed", agent_id="broken", severity="critical"): 1})


def test_every_panel_of_the_shipped_dashboard_shows_something(watched: Watched) -> None:
    watched.execute("assistant", 1, input="go")
    watched.restart("assistant")
    watched.execute("assistant", 1, input="go")
    watched.stream("assistant")
    shown = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))["panels"]
    wanted = {
        (panel["title"], target["expr"])
        for panel in shown
        if panel["type"] != "row" and panel["title"] not in MAY_BE_EMPTY
        for target in panel["targets"]
    }
    assert len(wanted) > 30
    for title, expression in sorted(wanted):
        query = filled_in(expression)
        until(lambda query=query: watched.prometheus.ask(query), f"{title}: {query}")  # type: ignore[misc]


def test_the_panels_that_may_be_empty_are_at_least_understood(watched: Watched) -> None:
    shown = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))["panels"]
    expressions = [target["expr"] for panel in shown if panel["title"] in MAY_BE_EMPTY for target in panel["targets"]]
    assert len(expressions) >= len(MAY_BE_EMPTY)
    for expression in expressions:
        watched.prometheus.ask(filled_in(expression))


def test_every_variable_of_the_shipped_dashboard_has_its_values(watched: Watched) -> None:
    """As Grafana asks for them."""
    address = watched.manager.url.removeprefix("http://")
    expected = {"job": {"agent-manager"}, "instance": {address}, "agent": {agent["id"] for agent in AGENTS}}
    found = {}
    for variable in json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))["templating"]["list"]:
        if variable["type"] == "query":
            (asked,) = re.findall(r"^label_values\((.+), (\w+)\)$", variable["query"]["query"])
            found[variable["name"]] = watched.prometheus.values(filled_in(asked[0]), asked[1])
    assert found == expected


def test_no_scrape_was_refused(watched: Watched) -> None:
    """Not one sample twice, out of order or too late."""
    page = watched.prometheus.http.get("/metrics").text
    refused = [
        line
        for line in page.splitlines()
        if line.startswith(("prometheus_target_scrapes_sample_", "prometheus_target_scrapes_exceeded_"))
    ]
    assert refused and all(line.endswith(" 0") for line in refused), refused


def filled_in(expression: str) -> str:
    """A query of the dashboard with its variables set to everything."""
    for name, value in (("$job", "agent-manager"), ("$instance", ".*"), ("$agent", ".*"), ("$__rate_interval", "1m")):
        expression = expression.replace(name, value)
    return expression


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def test_promtool_finds_no_fault_with_the_shipped_rules_and_their_tests_pass() -> None:
    checked = promtool("check", "rules", MONITORING / "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", MONITORING / "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_rule_that_is_wrong_does_not_pass(tmp_path: Path) -> None:
    rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yml").write_text(rules.replace('agent_state{state="failed"} == 1', "agent_ready == 0"))
    (tmp_path / "alerts.test.yml").write_text((MONITORING / "alerts.test.yml").read_text(encoding="utf-8"))
    assert promtool("test", "rules", tmp_path / "alerts.test.yml").returncode != 0
    (tmp_path / "alerts.yml").write_text(rules.replace("agent_ready == 0", "agent_ready === 0"))
    assert promtool("check", "rules", tmp_path / "alerts.yml").returncode != 0


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    shown = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))["panels"]
    queries = [filled_in(target["expr"]) for panel in shown for target in panel.get("targets", ())]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
