"""Prometheus's own linter reads the manager's page. Needs promtool; scripts/install-full installs it."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from manager.telemetry.manager_metrics import ManagerMetrics
from tests.unit.manager.telemetry.fleet import fleet_metrics, target

pytestmark = pytest.mark.full


def adapter_page() -> bytes:
    """As an adapter written with prometheus_client answers it, `_created` series included."""
    registry = CollectorRegistry()
    Gauge("agent_task_running", "Tasks running now.", registry=registry).set(1)
    Counter("agent_tasks_total", "Tasks done.", ["outcome"], registry=registry).labels('o"\\\n').inc()
    Histogram("agent_task_duration_seconds", "Durations.", registry=registry).observe(0.2)
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def foreign_page() -> bytes:
    """As an adapter in another language might answer it: no HELP, a clash of labels, types that contradict."""
    return (
        b"# TYPE agent_tasks_total gauge\nagent_tasks_total 5\n"
        b'custom_ratio{agent_id="planner",instance_id="x"} NaN\n'
        b'# TYPE calls summary\ncalls{quantile="0.5"} 1\ncalls_sum 1\ncalls_count 1\n'
        b"agent_up 1\nagent_task_duration_seconds_count 7\n"
    )


def promtool(page: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)


def rendered() -> bytes:
    metrics = ManagerMetrics(version="1.2.3")
    metrics.observe_request(method="GET", route="/metrics", status=200, seconds=0.01)
    targets = [target("planner"), target("executor"), target("foreign"), target("broken"), target("gone")]
    pages = {
        "planner-1": adapter_page(),
        "executor-1": adapter_page(),
        "foreign-1": foreign_page(),
        "broken-1": b'agent_task_running{a="\\t"} 1e999\n',
    }
    return asyncio.run(fleet_metrics(targets, pages, metrics=metrics).render())


def test_promtool_has_no_complaint_about_the_managers_page() -> None:
    page = rendered()
    for line in (
        b'agent_task_running{agent_id="planner",instance_id="planner-1"} 1.0',
        b'custom_ratio{agent_id="foreign",instance_id="foreign-1",exported_agent_id="planner"',
        b'agent_up{agent_id="broken"} 0',
        b'agent_up{agent_id="gone"} 0',
    ):
        assert line in page
    assert b"_created" not in page

    checked = promtool(page)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_promtool_does_complain_about_a_page_that_is_not_valid() -> None:
    assert promtool(rendered() + b'x{a="\\t"} 1\n').returncode != 0
