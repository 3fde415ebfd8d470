"""A fleet of adapters that answer from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import httpx

from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.metrics import FleetMetrics
from manager.telemetry.target import Target

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATES = ("running", "paused", "stopped")


class FixedClock:
    """Stands at `NOW`; `monotonic` moves only by hand."""

    seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


def target(agent_id: str, **changes: object) -> Target:
    values: dict[str, object] = {
        "agent_id": agent_id,
        "instance_id": f"{agent_id}-1",
        "service_url": f"http://{agent_id}:1/",
        "state": "running",
        "desired_state": "running",
        "ready": True,
        "restarts": 2,
        "in_flight": 1,
        "cpu_percent": 150.0,
        "rss_bytes": 1024,
        "last_heartbeat_at": NOW - timedelta(seconds=1.5),
    }
    return Target(**(values | changes))  # type: ignore[arg-type]


def fleet_metrics(
    targets: list[Target],
    answers: Mapping[str, bytes] | Callable[[httpx.Request], httpx.Response],
    *,
    metrics: ManagerMetrics | None = None,
    timeout_seconds: float = 2.0,
) -> FleetMetrics:
    """`answers`: host → the page it answers; a host that is not in it refuses the connection."""

    def from_memory(request: httpx.Request) -> httpx.Response:
        if callable(answers):
            return answers(request)
        assert request.url.path == "/metrics"
        if request.url.host not in answers:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, content=answers[request.url.host])

    return FleetMetrics(
        targets=lambda: targets,
        states=STATES,
        desired_states=STATES,
        registry=(metrics or ManagerMetrics(version="1.2.3")).registry,
        client=httpx.AsyncClient(transport=httpx.MockTransport(from_memory)),
        clock=FixedClock(),
        timeout_seconds=timeout_seconds,
    )
