from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from agent_service.contract import ToolServerHealth, ToolServerState
from agent_service.runtimes.tools.metrics import CallOutcome, ToolMetrics


def server(name: str, state: ToolServerState) -> ToolServerHealth:
    return ToolServerHealth(
        name=name,
        transport="stdio",
        state=state,
        tools=3,
        last_error=None,
        since=datetime(2026, 1, 1, tzinfo=UTC),
        ping_ms=None,
        reconnects=2,
        calls_total=0,
        calls_failed=0,
        warnings=[],
    )


def test_servers_and_their_calls_are_counted_by_outcome_and_never_by_tool() -> None:
    metrics = ToolMetrics(lambda: [server("a", ToolServerState.READY), server("b", ToolServerState.UNAVAILABLE)])
    registry = CollectorRegistry()
    registry.register(metrics)
    metrics.observe("a", CallOutcome.SUCCEEDED, 0.02)
    metrics.observe("a", CallOutcome.TIMED_OUT, 30)
    page = generate_latest(registry).decode()
    for line in (
        'agent_mcp_server_up{server="a"} 1.0',
        'agent_mcp_server_up{server="b"} 0.0',
        'agent_mcp_reconnects_total{server="a"} 2.0',
        'agent_mcp_calls_total{outcome="succeeded",server="a"} 1.0',
        'agent_mcp_calls_total{outcome="timed_out",server="a"} 1.0',
        'agent_mcp_call_duration_seconds_bucket{le="0.025",server="a"} 1.0',
        'agent_mcp_call_duration_seconds_count{server="a"} 2.0',
    ):
        assert line in page.splitlines(), page


def test_every_family_is_there_before_the_first_call() -> None:
    names = {family.name for family in ToolMetrics(lambda: []).collect()}
    assert names == {
        "agent_mcp_server_up",
        "agent_mcp_reconnects",
        "agent_mcp_calls",
        "agent_mcp_call_duration_seconds",
    }


def test_every_family_label_and_outcome_is_documented() -> None:
    page = (Path(__file__).parents[5] / "docs" / "writing-agents.md").read_text(encoding="utf-8")
    metrics = ToolMetrics(lambda: [server("a", ToolServerState.READY)])
    metrics.observe("a", CallOutcome.SUCCEEDED, 1)
    for family in metrics.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels if label != "le")
        assert f"| `{name}` | {family.type} | {labels} |" in page
    assert ", ".join(f"`{outcome}`" for outcome in CallOutcome) in page
