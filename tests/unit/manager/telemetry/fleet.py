"""A fleet of adapters that answer from memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from errno import ECONNREFUSED
from urllib.parse import urlsplit

import httpx

from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.metrics import FleetMetrics, Source
from manager.telemetry.target import InstanceUsage, Page, Target

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATES = ("running", "paused", "stopped")


class FixedClock:
    """Stands at `NOW`; `monotonic` moves only by hand."""

    seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


def target(agent_id: str, *instances: str, **changes: object) -> Target:
    """An agent whose processes, `{agent_id}-1` if none is named, answer at hosts that are called as they are."""
    values: dict[str, object] = {
        "agent_id": agent_id,
        "state": "running",
        "desired_state": "running",
        "ready": True,
        "restarts": 2,
        "in_flight": 1,
        "queued": 0,
        "is_answering": True,
        "cpu_percent": 150.0,
        "rss_bytes": 1024,
        "last_heartbeat_at": NOW - timedelta(seconds=1.5),
        "wanted_instances": 1,
        "ready_instances": 1,
        "pages": tuple(Page(agent_id, each, f"http://{each}:1") for each in instances or (f"{agent_id}-1",)),
        "usage": tuple(InstanceUsage(each, 2.5, 7) for each in instances or (f"{agent_id}-1",)),
    }
    return Target(**(values | changes))  # type: ignore[arg-type]


class PlayedConnection:
    """Answers one request from memory."""

    def __init__(self, answer_to: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer_to = answer_to

    def begin(self, head: bytes, body: bytes) -> PlayedAnswer:
        request, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        method, path, _ = request.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        assert (method, path, body) == ("GET", "/metrics", b"")
        return PlayedAnswer(self._answer_to(httpx.Request(method, f"http://{headers['Host']}{path}", headers=headers)))

    def abort(self) -> None:
        pass


class PlayedAnswer:
    """A response as the connection tells of it: names in lower case, the body as it was sent."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]

    async def until_head(self) -> None:
        pass

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, httpx.AsyncByteStream)
        return self._response.stream.__aiter__()


def fleet_metrics(
    targets: list[Target],
    answers: Mapping[str, bytes] | Callable[[httpx.Request], httpx.Response],
    *,
    metrics: ManagerMetrics | None = None,
    sources: Sequence[Source] = (),
    timeout_seconds: float = 2.0,
) -> FleetMetrics:
    """`answers`: host (as `target` calls it) → the page it answers; one that is not in it refuses the connection."""

    async def connect(url: str) -> PlayedConnection:
        host = urlsplit(url).hostname
        if not callable(answers) and host not in answers:
            raise ConnectionRefusedError(ECONNREFUSED, "Connection refused")
        return PlayedConnection(answers if callable(answers) else lambda _: httpx.Response(200, content=answers[host]))

    return FleetMetrics(
        targets=lambda: targets,
        states=STATES,
        desired_states=STATES,
        registry=(metrics or ManagerMetrics(version="1.2.3")).registry,
        connect=connect,  # type: ignore[arg-type]
        clock=FixedClock(),
        sources=sources,
        timeout_seconds=timeout_seconds,
    )
