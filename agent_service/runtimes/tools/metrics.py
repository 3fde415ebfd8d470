"""The metrics of servers of tools. A series for each server and outcome, never for each tool: there may be hundreds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent_service.contract import ToolServerHealth, ToolServerState

# Seconds. A local tool answers within milliseconds, one that searches or builds takes minutes.
CALL_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class CallOutcome(StrEnum):
    """How a call ended. `tool_error`: the tool itself said that it failed. `failed`: what came was no valid result."""

    SUCCEEDED = "succeeded"
    TOOL_ERROR = "tool_error"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"


class ToolMetrics(Collector):
    """Counts calls, and asks `health` at every scrape. To be registered with the adapter's registry."""

    def __init__(self, health: Callable[[], Sequence[ToolServerHealth]]) -> None:
        self._health = health
        self._calls = Counter(
            "agent_mcp_calls_total",
            "Calls of tools by how they ended.",
            labelnames=("server", "outcome"),
            registry=None,
        )
        self._duration = Histogram(
            "agent_mcp_call_duration_seconds",
            "Time from a call of a tool to its end, retries and waiting for the server included.",
            labelnames=("server",),
            buckets=CALL_BUCKETS,
            registry=None,
        )

    def observe(self, server: str, outcome: CallOutcome, seconds: float) -> None:
        """Count a call that ended."""
        self._calls.labels(server=server, outcome=outcome.value).inc()
        self._duration.labels(server=server).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Every family, also without servers and calls."""
        up = GaugeMetricFamily("agent_mcp_server_up", "Whether the server of tools is connected.", labels=["server"])
        reconnects = CounterMetricFamily(
            "agent_mcp_reconnects", "Connections to the server of tools after the first.", labels=["server"]
        )
        for server in self._health():
            up.add_metric([server.name], float(server.state is ToolServerState.READY))
            reconnects.add_metric([server.name], server.reconnects)
        yield up
        yield reconnects
        yield from self._calls.collect()
        yield from self._duration.collect()
