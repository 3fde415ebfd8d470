"""The time series over HTTP, as the dashboard's own object has them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from manager.api.operation import routes_of
from manager.api.problem import Problems
from manager.api.series import SeriesEndpoints
from manager.errors import UnknownAgent
from manager.telemetry.series import AGENT_SERIES, MANAGER_SERIES, FleetSeries
from manager.telemetry.traffic import Traffic
from tests.unit.manager.fakes.clock import FakeClock


class Fleet:
    """Knows one agent."""

    def agent(self, agent_id: str) -> Any:
        if agent_id != "echo":
            raise UnknownAgent("There is no such agent.", agent_id=agent_id)
        return reading("echo")


def reading(agent_id: str) -> Any:
    return SimpleNamespace(id=agent_id, in_flight=1, queued=0, cpu_percent=None, rss_bytes=2048)


@pytest.fixture
def series() -> FleetSeries:
    """Two points, with two requests in the first."""
    clock, traffic = FakeClock(), Traffic()
    found = FleetSeries(
        agents=lambda: [reading("echo")],
        traffic=traffic,
        vitals=lambda _: dict.fromkeys(MANAGER_SERIES, 1.0),
        clock=clock,
    )
    traffic.observe("echo", failed=False, seconds=0.1)
    traffic.observe("echo", failed=True, seconds=0.1)
    for _ in range(2):
        clock.advance(10)
        found.take_point()
    return found


def ask(series: FleetSeries, path: str, tmp_path: Any) -> httpx.Response:
    problems = Problems(tmp_path / "manager.log")
    endpoints = SeriesEndpoints(series, Fleet())  # type: ignore[arg-type]
    app = Starlette(routes=[*routes_of(endpoints.operations(), [])], exception_handlers=problems.handlers())

    async def answered() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.get(path)

    return asyncio.run(answered())


RECENT = {"requests": 2, "requests_per_second": 0.1, "errors": 1, "error_ratio": 0.5, "p50_ms": 95.8, "p95_ms": 95.8}


def test_one_agents_series_and_its_last_minutes(series: FleetSeries, tmp_path: Any) -> None:
    answer = ask(series, "/api/agent-services/echo/series", tmp_path).json()
    assert tuple(answer["series"]) == AGENT_SERIES
    assert answer["series"]["requests_per_second"] == [0.2, 0.0]
    assert answer["series"]["error_ratio"] == [0.5, None]
    assert answer["recent"] == pytest.approx(RECENT, rel=0.06)
    assert (answer["agent_id"], answer["interval_seconds"]) == ("echo", 10.0)
    assert answer["ended_at"] == "2026-01-02T03:04:25.000Z"


def test_as_many_points_as_asked_for(series: FleetSeries, tmp_path: Any) -> None:
    answer = ask(series, "/api/agent-services/echo/series?points=1", tmp_path).json()
    assert answer["series"]["requests_per_second"] == [0.0]


def test_all_agents_with_the_series_that_were_named_in_their_own_order(series: FleetSeries, tmp_path: Any) -> None:
    answer = ask(series, "/api/series?names=rss_bytes,+requests_per_second&points=1", tmp_path).json()
    (agent,) = answer["agents"].items()
    assert agent[0] == "echo"
    assert list(agent[1]["series"].items()) == [("requests_per_second", [0.0]), ("rss_bytes", [2048.0])]
    assert agent[1]["recent"]["requests"] == 2


def test_the_managers_own(series: FleetSeries, tmp_path: Any) -> None:
    answer = ask(series, "/api/manager/series", tmp_path).json()
    assert answer["series"] == {name: [1.0, 1.0] for name in MANAGER_SERIES}


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/api/agent-services/nobody/series", 404, "There is no such agent."),
        ("/api/agent-services/echo/series?points=0", 400, "points is '0'; give a whole number from 1 to 360."),
        ("/api/series?names=cpu", 400, f"names has 'cpu'; give some of {', '.join(AGENT_SERIES)}."),
        ("/api/series?names=,", 400, f"names has nothing; give some of {', '.join(AGENT_SERIES)}."),
        ("/api/manager/series?points=361", 400, "points is '361'; give a whole number from 1 to 360."),
    ],
)
def test_a_wrong_question_is_told_what_to_ask(
    series: FleetSeries, tmp_path: Any, path: str, status: int, detail: str
) -> None:
    answer = ask(series, path, tmp_path)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
