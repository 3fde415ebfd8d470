"""The time series of the last hour, which the dashboard draws: of one agent, of all, of the manager itself."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import Timestamp
from manager.api.operation import Operation, QueryParameter, json_response, whole_number
from manager.errors import BadRequest
from manager.supervision.fleet import Fleet
from manager.telemetry.series import AGENT_SERIES, CAPACITY, INTERVAL_SECONDS, SPARKLINE_POINTS, FleetSeries
from manager.telemetry.traffic import Recent


class RecentRequests(BaseModel):
    """Executes through the manager in the last five minutes. `error_ratio`, `p50_ms`, `p95_ms`: null without any."""

    requests: int
    requests_per_second: float
    errors: int
    error_ratio: float | None
    p50_ms: float | None
    p95_ms: float | None


class SeriesAnswer(BaseModel):
    """Points oldest first, all lists equally long, null for what is not known. `ended_at`: of the newest one."""

    interval_seconds: float
    ended_at: Timestamp | None
    series: dict[str, list[float | None]]


class AgentSeriesAnswer(SeriesAnswer):
    """Answer of `GET /api/agent-services/{id}/series`."""

    agent_id: str
    recent: RecentRequests


class AgentPoints(BaseModel):
    """One agent among all."""

    recent: RecentRequests
    series: dict[str, list[float | None]]


class FleetSeriesAnswer(BaseModel):
    """Answer of `GET /api/series`, by agent id."""

    interval_seconds: float
    ended_at: Timestamp | None
    agents: dict[str, AgentPoints]


class SeriesEndpoints:
    """They ask the very object that the dashboard asks."""

    def __init__(self, series: FleetSeries, fleet: Fleet) -> None:
        self._series = series
        self._fleet = fleet

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "GET",
                "/api/agent-services/{agent_id}/series",
                "What happened to one agent in the last hour, in points of 10 s",
                self.one,
                AgentSeriesAnswer,
                problems=(400, 404),
                query=(_points(CAPACITY),),
            ),
            Operation(
                "GET",
                "/api/series",
                "The same of every agent",
                self.all,
                FleetSeriesAnswer,
                problems=(400,),
                query=(
                    _points(SPARKLINE_POINTS),
                    QueryParameter("names", "Which series, separated by commas; else all.", {"type": "string"}),
                ),
            ),
            Operation(
                "GET",
                "/api/manager/series",
                "How the manager itself fared in the last hour",
                self.manager,
                SeriesAnswer,
                problems=(400,),
                query=(_points(CAPACITY),),
            ),
        ]

    async def one(self, request: Request) -> Response:
        agent_id = self._fleet.agent(request.path_params["agent_id"]).id
        found = self._series.of(agent_id, points=_asked(request, CAPACITY))
        return json_response(
            AgentSeriesAnswer(
                agent_id=agent_id,
                interval_seconds=found.interval_seconds,
                ended_at=found.ended_at,
                recent=_recent(self._series.recent(agent_id)),
                series=found.values,
            )
        )

    async def all(self, request: Request) -> Response:
        points = self._series.all(_names(request), points=_asked(request, SPARKLINE_POINTS))
        recents = self._series.recents()
        agents = {
            agent_id: AgentPoints(recent=_recent(recents[agent_id]), series=series)
            for agent_id, series in points.items()
        }
        return json_response(
            FleetSeriesAnswer(interval_seconds=INTERVAL_SECONDS, ended_at=self._series.ended_at, agents=agents)
        )

    async def manager(self, request: Request) -> Response:
        found = self._series.manager(points=_asked(request, CAPACITY))
        return json_response(
            SeriesAnswer(interval_seconds=found.interval_seconds, ended_at=found.ended_at, series=found.values)
        )


def _points(default: int) -> QueryParameter:
    schema = {"type": "integer", "minimum": 1, "maximum": CAPACITY, "default": default}
    return QueryParameter("points", "At most so many of the newest points.", schema)


def _asked(request: Request, default: int) -> int:
    return whole_number(request, "points", default=default, lowest=1, highest=CAPACITY) or default


def _names(request: Request) -> tuple[str, ...]:
    """In the order that they have, so that two spellings of one question are one. Raises `BadRequest`."""
    text = request.query_params.get("names")
    if text is None:
        return AGENT_SERIES
    asked = {name.strip() for name in text.split(",") if name.strip()}
    wrong = sorted(asked.difference(AGENT_SERIES))
    if wrong or not asked:
        found = repr(wrong[0][:40]) if wrong else "nothing"
        raise BadRequest(f"names has {found}; give some of {', '.join(AGENT_SERIES)}.")
    return tuple(name for name in AGENT_SERIES if name in asked)


def _recent(recent: Recent) -> RecentRequests:
    return RecentRequests(**asdict(recent))
